//! Finds where the value of a field may pass, looking at sixty-four places at a time.
//!
//! Most values of a log do not pass, and most are short numbers: `status=200`, `"status":200,`, `" 200 ` behind the
//! request of an access line. Where nothing but such numbers stands nothing passes, and a few comparisons of bytes
//! tell. They are written so that the compiler makes each of them for sixteen places at once.

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
    name: Name,
    /// A number of at most three bytes that begins with a digit up to this one does not pass.
    low: u8,
}

/// Three bytes of a name.
struct Name {
    length: usize,
    first: Letter,
    middle: Letter,
    last: Letter,
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
        Some(Self { name: Name::of(name.as_bytes())?, low: test.low_digit()? })
    }

    /// The first stretch from `at` on in which the name may stand with a value that passes.
    pub(super) fn next_named(&self, bytes: &[u8], at: usize) -> Option<usize> {
        scan(bytes, at, |window| self.has_named(window).unwrap_or(true))
    }

    /// The first stretch from `at` on in which a line may give its status by its place and pass: behind a quote, as web
    /// servers write it, or somewhere behind the bracket of a time, as HAProxy does.
    pub(super) fn next_status(&self, bytes: &[u8], at: usize) -> Option<usize> {
        scan(bytes, at, |window| self.has_status(window).unwrap_or(true))
    }

    #[inline(always)]
    fn has_named(&self, window: &Window) -> Option<bool> {
        let Name { length, first, middle, last } = self.name;
        let column = |by: usize| window.get(by..)?.first_chunk::<WIDTH>();
        let (head, centre, tail) = (column(0)?, column(length / 2)?, column(length - 1)?);
        let (sign, one, two) = (column(length)?, column(length + 1)?, column(length + 2)?);
        let (four, five) = (column(length + 4)?, column(length + 5)?);
        let mut found = 0;
        for place in 0..WIDTH {
            let is_name = first.is(head[place]) & middle.is(centre[place]) & last.is(tail[place]);
            let is_end = is(four[place], b' ') | is(four[place], b'\n');
            let is_low_pair = is(sign[place], b'=') & self.is_low(one[place]) & is_end;
            let is_end = is(five[place], b',') | is(five[place], b'}');
            let is_low_key = is(sign[place], b'"') & is(one[place], b':') & self.is_low(two[place]) & is_end;
            found |= is_name & !(is_low_pair | is_low_key);
        }
        Some(found & 1 != 0)
    }

    #[inline(always)]
    fn has_status(&self, window: &Window) -> Option<bool> {
        let column = |by: usize| window.get(by..)?.first_chunk::<WIDTH>();
        let (zero, one, two, five) = (column(0)?, column(1)?, column(2)?, column(5)?);
        let mut found = 0;
        for place in 0..WIDTH {
            let is_quote = is(zero[place], b'"');
            let is_blank = is(one[place], b' ');
            let opens = is(two[place], b'"');
            // No number that passes begins with a byte behind the digits, or with a minus.
            let is_low = self.is_low(two[place]) & is(five[place], b' ');
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

impl Name {
    fn of(name: &[u8]) -> Option<Self> {
        let (first, middle, last) = (name.first()?, name.get(name.len() / 2)?, name.last()?);
        let [first, middle, last] = [first, middle, last]
            .map(|it| Letter { fold: if it.is_ascii_alphabetic() { 0x20 } else { 0 }, byte: it.to_ascii_lowercase() });
        Some(Self { length: name.len(), first, middle, last })
    }
}

impl Letter {
    #[inline(always)]
    fn is(self, byte: u8) -> u8 {
        u8::from(byte | self.fold == self.byte)
    }
}

#[inline(always)]
fn is(byte: u8, wanted: u8) -> u8 {
    u8::from(byte == wanted)
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
