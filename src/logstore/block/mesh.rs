//! Finds where the value of a field may pass, looking at sixty-four places at a time.
//!
//! Most values of a log do not pass, and most are short numbers: `status=200`, `"status":200,`, `" 200 ` behind the
//! request of an access line. Where nothing but such numbers stands nothing passes, and a few comparisons of bytes
//! tell. They are written so that the compiler makes each of them for sixteen places at once.

use std::ops::Range;

use crate::domain::query::field::FieldTest;

/// Places that are looked at together.
pub(super) const WIDTH: usize = 64;
/// Bytes behind a place that are looked at.
const REACH: usize = 48;
/// Bytes of a name and of what stands behind it.
const MAX_NAME_BYTES: usize = REACH - 8;

/// The places that are looked at, with what stands behind them.
type Window = [u8; WIDTH + REACH];

/// What does not pass at a glance.
pub(super) struct Mesh {
    /// The last key of the field's name, in small letters.
    name: Vec<u8>,
    letters: [Letter; 3],
    /// A number of at most three bytes without an exponent that begins with a digit up to this one does not pass.
    low: u8,
}

/// A byte whose case does not matter.
#[derive(Clone, Copy)]
struct Letter {
    /// The bit that is another in capitals.
    fold: u8,
    byte: u8,
}

impl Mesh {
    /// For a comparison with a number; `None` when no digit tells. `name` is the last key of the field's name.
    pub(super) fn new(test: &FieldTest, name: &str) -> Option<Self> {
        if !name.is_ascii() || name.len() > MAX_NAME_BYTES {
            return None;
        }
        let low = test.low_digit()?;
        let name = name.to_ascii_lowercase().into_bytes();
        let letters = [*name.first()?, *name.get(name.len() / 2)?, *name.last()?].map(Letter::of);
        Some(Self { name, letters, low })
    }

    /// The first place of the name from `at` on where a value may stand that passes.
    pub(super) fn next_named(&self, bytes: &[u8], mut at: usize) -> Option<Range<usize>> {
        let has_named =
            |window: &Window| self.has_name(window).unwrap_or(true) && self.has_named(window).unwrap_or(true);
        while let Some(near) = scan(bytes, at, has_named) {
            let until = bytes.len().min(near + WIDTH);
            if let Some(place) = first_of(&self.name, bytes, near..until) {
                return Some(place);
            }
            at = until;
        }
        None
    }

    /// The first stretch from `at` on in which a line may give its status by its place and pass: behind a quote, as web
    /// servers write it, or somewhere behind the bracket of a time, as HAProxy does.
    pub(super) fn next_status(&self, bytes: &[u8], at: usize) -> Option<usize> {
        scan(bytes, at, |window| self.has_status(window).unwrap_or(true))
    }

    #[inline(always)]
    fn has_name(&self, window: &Window) -> Option<bool> {
        let [first, middle, last] = self.letters;
        let column = |by: usize| window.get(by..)?.first_chunk::<WIDTH>();
        let (head, centre, tail) = (column(0)?, column(self.name.len() / 2)?, column(self.name.len() - 1)?);
        let mut found = 0;
        for place in 0..WIDTH {
            found |= first.is(head[place]) & middle.is(centre[place]) & last.is(tail[place]);
        }
        Some(found & 1 != 0)
    }

    /// True when a name stands there, and not with a value that does not pass.
    fn has_named(&self, window: &Window) -> Option<bool> {
        let (length, [first, middle, last]) = (self.name.len(), self.letters);
        let column = |by: usize| window.get(by..)?.first_chunk::<WIDTH>();
        let (head, centre, tail) = (column(0)?, column(length / 2)?, column(length - 1)?);
        let (sign, one, two) = (column(length)?, column(length + 1)?, column(length + 2)?);
        let (three, four, five) = (column(length + 3)?, column(length + 4)?, column(length + 5)?);
        let mut found = 0;
        for place in 0..WIDTH {
            let is_name = first.is(head[place]) & middle.is(centre[place]) & last.is(tail[place]);
            let is_end = is(four[place], b' ') | is(four[place], b'\n');
            let is_low_pair = is(sign[place], b'=') & self.is_low(one[place]) & !is_exponent(two[place]) & is_end;
            let is_end = is(five[place], b',') | is(five[place], b'}');
            let is_low = self.is_low(two[place]) & !is_exponent(three[place]);
            let is_low_key = is(sign[place], b'"') & is(one[place], b':') & is_low & is_end;
            found |= is_name & !(is_low_pair | is_low_key);
        }
        Some(found & 1 != 0)
    }

    #[inline(always)]
    fn has_status(&self, window: &Window) -> Option<bool> {
        let column = |by: usize| window.get(by..)?.first_chunk::<WIDTH>();
        let (zero, one, two, three, five) = (column(0)?, column(1)?, column(2)?, column(3)?, column(5)?);
        let mut found = 0;
        for place in 0..WIDTH {
            let is_quote = is(zero[place], b'"');
            let is_blank = is(one[place], b' ');
            let opens = is(two[place], b'"');
            // No number that passes begins with a byte behind the digits, or with a minus.
            let is_low = self.is_low(two[place]) & !is_exponent(three[place]) & is(five[place], b' ');
            let may_pass = u8::from(two[place] <= b'9') & !opens & !is_low;
            // A value that follows at once, or behind a tab.
            let is_near =
                u8::from(one[place].wrapping_sub(b'0') <= 9) | u8::from(one[place] | 5 == b'/') | is(one[place], b'\t');
            let is_behind_time = is(zero[place], b']') & is_blank & !opens;
            found |= (is_quote & ((is_blank & may_pass) | is_near)) | is_behind_time;
        }
        Some(found & 1 != 0)
    }

    #[inline(always)]
    fn is_low(&self, byte: u8) -> u8 {
        u8::from(byte.wrapping_sub(b'0') <= self.low)
    }
}

impl Letter {
    fn of(byte: u8) -> Self {
        Self { fold: if byte.is_ascii_alphabetic() { 0x20 } else { 0 }, byte: byte.to_ascii_lowercase() }
    }

    #[inline(always)]
    fn is(self, byte: u8) -> u8 {
        u8::from(byte | self.fold == self.byte)
    }
}

#[inline(always)]
fn is(byte: u8, wanted: u8) -> u8 {
    u8::from(byte == wanted)
}

/// The second byte of `9e9`.
#[inline(always)]
fn is_exponent(byte: u8) -> u8 {
    is(byte | 0x20, b'e')
}

/// The first place of a text in small letters that begins in a stretch.
fn first_of(text: &[u8], bytes: &[u8], stretch: Range<usize>) -> Option<Range<usize>> {
    let (first, mut at) = (*text.first()?, stretch.start);
    while let Some(by) = memchr::memchr2(first, first.to_ascii_uppercase(), &bytes[at..stretch.end]) {
        let place = at + by..at + by + text.len();
        if bytes.get(place.clone()).is_some_and(|it| it.eq_ignore_ascii_case(text)) {
            return Some(place);
        }
        at = place.start + 1;
    }
    None
}

/// The first stretch of `WIDTH` bytes from `at` on that has what is looked for.
#[inline(always)]
fn scan(bytes: &[u8], mut at: usize, has: impl Fn(&Window) -> bool) -> Option<usize> {
    while let Some(window) = bytes.get(at..).and_then(|it| it.first_chunk()) {
        if has(window) {
            return Some(at);
        }
        at += WIDTH;
    }
    while at < bytes.len() {
        let rest = &bytes[at..];
        let mut window = [0; WIDTH + REACH];
        window[..rest.len()].copy_from_slice(rest);
        if has(&window) {
            return Some(at);
        }
        at += WIDTH;
    }
    None
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::domain::query::Query;
    use crate::domain::query::matcher::Matcher;

    #[test]
    fn only_stretches_with_a_value_that_may_pass_are_looked_into() {
        let query = Query::parse("status>=500").unwrap();
        let matcher = Matcher::new(&query, Timestamp::UNIX_EPOCH, &TimeZone::UTC).unwrap();
        let mesh = Mesh::new(matcher.sieve().unwrap().0, "status").unwrap();
        let low = "a [t] \"GET /\" 200 7 \"-\" \"x\"\nts=1 Status=404 a=b\n{\"status\":301,\"code\":500}\n";
        for before in 0..2 * WIDTH {
            let bytes = |text: &str| format!("{}{low}{text} \n", " ".repeat(before)).into_bytes();
            let at = |text: &str, next: fn(&Mesh, &[u8], usize) -> Option<usize>| {
                let found = next(&mesh, &bytes(text), 0)?;
                let place = bytes(text).len() - text.len() - 2;
                Some(found < place + text.len() && place < found + WIDTH)
            };
            for text in [
                "status=500",
                "status=4e3",
                "\"status\":4E3,",
                "\"STATUS\": 200,",
                "status=4040",
                "\"status\":1000,",
                "status=\"1\"",
            ] {
                assert_eq!(
                    at(text, |mesh, bytes, at| mesh.next_named(bytes, at).map(|it| it.start)),
                    Some(true),
                    "{text}"
                );
            }
            assert!(mesh.next_named(&bytes("statue=500"), 0).is_none());
            assert!(mesh.next_named(b"status=1", 0).is_some(), "the end of the value has to be seen");
            for text in [
                "x\" 500 1",
                "x\" 1e3 1",
                "x\" 2000 1",
                "x\"502 1",
                "x\"\t502 1",
                "x\"  502 1",
                "t] f b/s 1/2/3/4/5 200 1",
            ] {
                assert_eq!(at(text, Mesh::next_status), Some(true), "{text}");
            }
            assert_eq!(at("x\" 404 1", Mesh::next_status), None);
        }
    }
}
