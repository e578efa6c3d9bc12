//! Reads the time and the level of a line that is laid out like one read before, at a glance.
//!
//! A log says the same thing ten thousand times: the same hour, the same keys in the same order, the level in the
//! same place. What the careful reader found in one line is kept as a layout; a line that agrees with it byte by byte,
//! up to digits of the same number, would be read the same way. Where anything differs the answer is `None`, and
//! the careful reader has the word: a glance never knows better, it only knows sooner.

use crate::domain::log::{LINE_BYTES, Level};
use crate::domain::sanitise::ESCAPE;
use crate::logstore::level;
use crate::logstore::record::floor_second;
use crate::logstore::shape::trace;
use crate::logstore::stamp::{Stamp, StampReader};

/// Bytes from the time of a JSON line to its level, when that is the next thing it says.
const MAX_MIDDLE_BYTES: usize = 32;
/// Bytes before the time of an access line: two long addresses and a user.
const CLIENT_BYTES: usize = 64;
/// JSON heads that are known at a time, one for each level of a logger that writes it first.
const MAX_OBJECTS: usize = 8;
/// The same of lines of `key=value`.
const MAX_PAIRS: usize = 8;
/// Bytes before the time of a line of `key=value`: a level and its key fit.
const PAIRS_BYTES: usize = 32;
/// Nanoseconds of a second.
const NANOS: i64 = 1_000_000_000;
/// Places for level words, a power of two.
const WORDS: usize = 16;

/// A line that was read at a glance. It begins a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// Second since the epoch in which its time lies.
    pub second: i64,
    /// Its level.
    pub level: Option<Level>,
    /// Behind its line end.
    pub end: usize,
}

/// The time of a line that was read at a glance. It begins a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds since the epoch.
    pub nanos: i64,
    /// Where the time ends in the line.
    pub stamp_end: usize,
    /// Behind its line end.
    pub end: usize,
}

/// What the lines of a block have in common.
#[derive(Debug, Default)]
pub struct Layouts {
    /// Lines that begin with the time, then the level.
    text: Option<Hour>,
    /// Access lines.
    access: Option<Hour>,
    /// JSON lines.
    json: Option<Hour>,
    objects: Vec<Object>,
    /// The object of the last line.
    last: usize,
    words: Words,
    /// Lines of `key=value`.
    logfmt: Option<Hour>,
    pairs: Vec<Pairs>,
    /// The pairs of the last line.
    last_pairs: usize,
    /// Their level words, which are looked at in another way.
    pair_words: Words,
}

/// An hour as it is written, and what stands behind the seconds.
#[derive(Debug, Clone, Copy)]
struct Hour {
    /// Its first eight bytes and its last, which overlap.
    head: [[u8; 8]; 2],
    length: usize,
    /// When it begins.
    second: i64,
    /// `.` or `,` and zeros for the digits.
    fraction: Text,
    zone: Text,
}

/// A time in an hour.
#[derive(Debug, Clone, Copy)]
struct Clock {
    second: i64,
    /// The digits behind the sign of the fraction, a byte each.
    digits: u64,
    /// How many they are.
    count: usize,
    /// Behind the zone.
    end: usize,
}

/// Up to eight bytes.
#[derive(Debug, Clone, Copy)]
struct Text {
    word: u64,
    mask: u64,
    length: usize,
}

/// What JSON lines begin with.
#[derive(Debug)]
struct Object {
    /// Up to the time.
    lead: Vec<u8>,
    place: Place,
}

/// What lines of `key=value` begin with.
#[derive(Debug)]
struct Pairs {
    /// Up to the time, a quote included.
    lead: Vec<u8>,
    /// The level, when its key stands there.
    level: Option<Option<Level>>,
}

/// Where a JSON line says its level.
#[derive(Debug)]
enum Place {
    /// Before the time.
    Before(Option<Level>),
    /// Behind the time and this.
    Behind(Vec<u8>),
}

/// Level words and what stands around them, by their first eight bytes.
#[derive(Debug, Default)]
struct Words([(u64, Option<Level>); WORDS]);

impl Layouts {
    /// Reads the line that begins at `start`.
    #[inline]
    pub fn glance(&mut self, bytes: &[u8], start: usize) -> Option<Glance> {
        let line = bytes.get(start..)?;
        let (second, level, length) = match line.first()? {
            b'{' => self.glance_at_json(line)?,
            b'0'..=b'9' => match &self.access {
                Some(hour) if line.get(4) != Some(&b'-') => glance_at_access(hour, line)?,
                _ => self.glance_at_text(line)?,
            },
            b'a'..=b'z' => self.glance_at_pairs(line)?,
            _ => return None,
        };
        // What follows may be the trace of a crash, which says more than the line. No trace begins with a key.
        let may_be_trace = line.get(length).is_some_and(|next| trace::may_begin(*next));
        if may_be_trace && !self.pairs.get(self.last_pairs).is_some_and(|it| line[length..].starts_with(&it.lead)) {
            return None;
        }
        (length as u64 <= LINE_BYTES).then_some(Glance { second, level, end: start + length })
    }

    /// Reads the time of the line that begins at `start`, and nothing else.
    #[inline]
    pub fn moment(&mut self, bytes: &[u8], start: usize) -> Option<Moment> {
        let line = bytes.get(start..)?;
        let (open, clock) = match line.first()? {
            b'{' => self.clock_of_json(line)?,
            b'0'..=b'9' => match &self.access {
                Some(hour) if line.get(4) != Some(&b'-') => clock_of_access(hour, line)?,
                _ => (0, self.clock_of_text(line)?),
            },
            b'a'..=b'z' => self.clock_of_pairs(line)?,
            _ => return None,
        };
        let stamp_end = open + clock.end;
        let length = stamp_end + line_end(&line[stamp_end..])?;
        let nanos = clock.second.checked_mul(NANOS)?.checked_add(clock.nanos())?;
        (length as u64 <= LINE_BYTES).then_some(Moment { nanos, stamp_end, end: start + length })
    }

    /// Finds the status of the access line that begins at `start`, and where the line ends.
    #[inline]
    pub fn status<'b>(&self, bytes: &'b [u8], start: usize) -> Option<(&'b [u8], usize)> {
        let line = bytes.get(start..).filter(|it| it.first().is_some_and(u8::is_ascii_digit))?;
        let (open, clock) = clock_of_access(self.access.as_ref()?, line)?;
        let from = open + clock.end + b"] \"".len();
        let quote = from + memchr::memchr3(b'"', b'\\', b'\n', &line[from..])?;
        let value = line.get(quote..)?.strip_prefix(b"\" ")?;
        let length = value.iter().position(|it| matches!(it, b' ' | b'\t' | b'\r' | b'\n')).filter(|it| *it > 0)?;
        let end = quote + line_end(&line[quote..])?;
        (end as u64 <= LINE_BYTES).then(|| (&value[..length], start + end))
    }

    fn clock_of_text(&self, line: &[u8]) -> Option<Clock> {
        self.text.as_ref()?.read(line).filter(|it| !may_be_postgres(line, it.end))
    }

    fn glance_at_text(&mut self, line: &[u8]) -> Option<(i64, Option<Level>, usize)> {
        let Clock { second, end, .. } = self.clock_of_text(line)?;
        let rest = &line[end..];
        let level = self.words.find(rest.first_chunk()?, || level::leading(rest))?;
        Some((second, Some(level), end + line_end(&rest[2..])? + 2))
    }

    /// Where the time begins, which is said in quotes, and the time. The object is the last one then.
    fn clock_of_json(&mut self, line: &[u8]) -> Option<(usize, Clock)> {
        let hour = self.json.as_ref()?;
        let is_one = |it: &Object| line.starts_with(&it.lead);
        if !self.objects.get(self.last).is_some_and(is_one) {
            self.last = self.objects.iter().position(is_one)?;
        }
        let lead = self.objects[self.last].lead.len();
        let clock = hour.read(&line[lead..])?;
        (line.get(lead + clock.end) == Some(&b'"')).then_some((lead, clock))
    }

    fn glance_at_json(&mut self, line: &[u8]) -> Option<(i64, Option<Level>, usize)> {
        let (lead, Clock { second, end, .. }) = self.clock_of_json(line)?;
        let rest = &line[lead + end..];
        let level = match &self.objects[self.last].place {
            Place::Before(level) => *level,
            Place::Behind(middle) => {
                let value = rest.strip_prefix(middle.as_slice())?;
                Some(self.words.find(value.first_chunk()?, || level::quoted(value))?)
            }
        };
        Some((second, level, lead + end + line_end(rest)?))
    }

    /// Where the time begins in a line of `key=value`, and the time. The pairs are the last ones then.
    fn clock_of_pairs(&mut self, line: &[u8]) -> Option<(usize, Clock)> {
        let hour = self.logfmt.as_ref()?;
        let is_one = |it: &Pairs| line.starts_with(&it.lead);
        if !self.pairs.get(self.last_pairs).is_some_and(is_one) {
            self.last_pairs = self.pairs.iter().position(is_one)?;
        }
        let lead = self.pairs[self.last_pairs].lead.len();
        let clock = hour.read(&line[lead..])?;
        (!may_be_postgres(line, lead + clock.end)).then_some((lead, clock))
    }

    fn glance_at_pairs(&mut self, line: &[u8]) -> Option<(i64, Option<Level>, usize)> {
        let (lead, Clock { second, end, .. }) = self.clock_of_pairs(line)?;
        let stamp_end = lead + end;
        let rest = &line[stamp_end..];
        // A level in capitals right behind the time goes first, and a bracket begins something else.
        if !matches!(rest, [b'"', ..] | [b' ', b'a'..=b'z', ..]) {
            return None;
        }
        let length = stamp_end + memchr::memchr2(b'\n', ESCAPE, rest)?;
        if line[length] != b'\n' {
            return None;
        }
        let level = match self.pairs[self.last_pairs].level {
            Some(level) => level,
            None => {
                let head = level::head(&line[..length], stamp_end);
                let value = &head[level::in_pairs(head)?..];
                Some(self.pair_words.find(value.first_chunk()?, || level::unquoted(value))?)
            }
        };
        Some((second, level, length + 1))
    }

    /// Keeps how a line was read.
    pub fn learn(&mut self, line: &[u8], stamp: &Stamp, reader: &StampReader) {
        if !reader.is_plain() || stamp.range.is_empty() {
            return;
        }
        let (Some(first), Some(time)) = (line.first(), stamp.time) else { return };
        let text = &line[stamp.range.clone()];
        let hour = || Hour::of(text, floor_second(time));
        match first {
            b'{' => {
                if let Some(hour) = hour() {
                    self.json = Some(hour);
                    self.learn_object(line, stamp, reader);
                }
            }
            b'0'..=b'9' if stamp.range.start == 0 => self.text = hour().or(self.text),
            b'0'..=b'9' if line[..stamp.range.start].ends_with(b"[") => {
                self.access = hour().filter(|it| it.length == DAY_FIRST_BYTES).or(self.access);
            }
            b'a'..=b'z' => {
                if let Some(hour) = hour() {
                    self.logfmt = Some(hour);
                    self.learn_pairs(&line[..stamp.range.start]);
                }
            }
            _ => {}
        }
    }

    /// Keeps what stands before a time behind its key.
    fn learn_pairs(&mut self, lead: &[u8]) {
        let is_name = |it: &u8| it.is_ascii_alphanumeric() || *it == b'_';
        // A trace or a continuation begins otherwise.
        let first = lead.iter().position(|it| !is_name(it)).map(|it| lead[it]);
        let is_key = first == Some(b'=') && (lead.ends_with(b"=") || lead.ends_with(b"=\""));
        let is_plain = |it: &u8| !matches!(it, b'[' | b'\n' | &ESCAPE);
        if !is_key || lead.len() > PAIRS_BYTES || !lead.iter().all(is_plain) {
            return;
        }
        if self.pairs.len() >= MAX_PAIRS || self.pairs.iter().any(|it| it.lead == lead) {
            return;
        }
        let level = level::in_pairs(lead).map(|at| Some(level::unquoted(&lead[at..])?.0));
        self.pairs.push(Pairs { lead: lead.to_vec(), level });
    }

    fn learn_object(&mut self, line: &[u8], stamp: &Stamp, reader: &StampReader) {
        let Some((lead, before)) = reader.last_lead() else { return };
        let is_string = lead.ends_with(b"\"") && lead.len() == stamp.range.start;
        if !is_string || self.objects.len() >= MAX_OBJECTS || self.objects.iter().any(|it| it.lead == lead) {
            return;
        }
        let place = match before {
            Some(level) => Place::Before(level),
            None => {
                let Some(value) = level::start_behind(line, lead, stamp.range.end) else { return };
                let middle = &line[stamp.range.end..value];
                if !middle.ends_with(b"\"") || middle.len() > MAX_MIDDLE_BYTES {
                    return;
                }
                Place::Behind(middle.to_vec())
            }
        };
        self.objects.push(Object { lead: lead.to_vec(), place });
    }
}

/// Where the time of `10.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 …` begins, and the time.
#[inline]
fn clock_of_access(hour: &Hour, line: &[u8]) -> Option<(usize, Clock)> {
    let address = address_length(line)?;
    let open = match line.get(address..)?.first_chunk()? {
        b" - - [" => address + 5,
        _ => client_length(line)?,
    };
    let clock = hour.read(&line[open + 1..])?;
    line.get(open + 1 + clock.end..)?.starts_with(b"] \"").then_some((open + 1, clock))
}

#[inline]
fn glance_at_access(hour: &Hour, line: &[u8]) -> Option<(i64, Option<Level>, usize)> {
    let (open, clock) = clock_of_access(hour, line)?;
    let end = open + clock.end;
    let rest = &line[end..];
    // The request may hold quotes; the one that closes it is followed by a blank.
    let mut quote = 3;
    loop {
        quote += memchr::memchr3(b'"', b'\n', ESCAPE, &rest[quote..])?;
        match rest.get(quote..quote + 2)? {
            b"\" " => break,
            [b'"', _] => quote += 1,
            _ => return None,
        }
    }
    let status = rest.get(quote + 2..quote + 5)?;
    let behind = memchr::memchr2(b'\n', ESCAPE, &rest[quote + 2..])? + quote + 2;
    if rest[behind] != b'\n' || behind < quote + 5 {
        return None;
    }
    Some((clock.second, level::of_status(status), end + behind + 1))
}

/// The bytes of a line that may be those of an address: digits and dots, the first dot behind one to three digits.
/// No time begins so, unless a colon follows.
fn address_length(line: &[u8]) -> Option<usize> {
    let [_, b, c, d, ..] = line.first_chunk::<4>()?;
    let has_dot = *b == b'.' || (b.is_ascii_digit() && (*c == b'.' || (c.is_ascii_digit() && *d == b'.')));
    if !has_dot {
        return None;
    }
    for at in [0, 8] {
        let word = u64::from_le_bytes(*line.get(at..)?.first_chunk()?);
        // The top bit of each byte that is outside of `.`, `/` and the digits.
        let outside = (word.wrapping_add(LOW * 0x46) | !((word | HIGH).wrapping_sub(LOW * 0x2e)) | word) & HIGH;
        if outside != 0 {
            return Some(at + outside.trailing_zeros() as usize / 8);
        }
    }
    None
}

/// The bytes before the bracket of the time, when none of them could begin another time or hide one.
fn client_length(line: &[u8]) -> Option<usize> {
    let open = memchr::memchr(b'[', &line[..line.len().min(CLIENT_BYTES)])?;
    let is_plain = |byte: &u8| !matches!(byte, b':' | b'=' | b'\n' | &ESCAPE);
    (open >= b"1.1.1.1".len() && line[..open].iter().all(is_plain)).then_some(open)
}

/// PostgreSQL goes on with a message in lines with a time of their own. Also true where too little of the line is left
/// to tell.
#[inline]
fn may_be_postgres(line: &[u8], stamp_end: usize) -> bool {
    let Some(near) = line.get(stamp_end..).and_then(|it| it.first_chunk::<16>()) else { return true };
    let is_number = |it: &[u8]| (it[0] == b'[') & it[1].is_ascii_digit();
    near.windows(2).fold(false, |any, it| any | is_number(it))
}

/// Where a line ends, line end included.
fn line_end(rest: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', rest).map(|it| it + 1)
}

/// Length of `2026-08-19T14`.
const ISO_BYTES: usize = 13;
/// Length of `19/Aug/2026:14`.
const DAY_FIRST_BYTES: usize = 14;

impl Hour {
    /// The hour of a whole time as it is written.
    fn of(text: &[u8], second: i64) -> Option<Self> {
        let length = match text.get(4)? {
            b'-' | b'/' => ISO_BYTES,
            _ if text.get(2) == text.get(6) && matches!(text[2], b'/' | b'-' | b' ') => DAY_FIRST_BYTES,
            _ => return None,
        };
        let (clock, behind) = text.get(length..)?.split_first_chunk::<6>()?;
        let past = minutes(&[*clock, [0; 6]].concat())?;
        let digits = behind.iter().skip(1).take_while(|it| it.is_ascii_digit()).count();
        let (fraction, zone) = match behind.first() {
            Some(sign @ (b'.' | b',')) => {
                let mut zeros = [b'0'; 8];
                zeros[0] = *sign;
                // Nanoseconds are left to others.
                (Text::of(zeros.get(..=digits).filter(|_| digits > 0)?)?, &behind[digits + 1..])
            }
            _ => (Text::of(b"")?, behind),
        };
        // What stands behind the name of a zone says whether it is one.
        if matches!(zone, [b' ', b'A'..=b'F' | b'H'..=b'T' | b'V'..=b'Z', ..]) {
            return None;
        }
        let head = [*text.first_chunk()?, *text[length - 8..].first_chunk()?];
        Some(Self { head, length, second: second - past, fraction, zone: Text::of(zone)? })
    }

    /// The second of a time in this hour at the start of a text, and where it ends.
    #[inline(always)]
    fn read(&self, text: &[u8]) -> Option<Clock> {
        if text.first_chunk()? != &self.head[0] || text.get(self.length - 8..)?.first_chunk()? != &self.head[1] {
            return None;
        }
        let past = minutes(&text[self.length..])?;
        let mut end = self.length + 6;
        let digits = self.fraction.differs(text.get(end..)?)?;
        // The sign is the same, and digits differ from zero by less than ten.
        if (digits.wrapping_add(LOW * 0x76) | digits) & HIGH != 0 || digits & 0xff != 0 {
            return None;
        }
        end += self.fraction.length;
        if self.zone.differs(&text[end..])? != 0 {
            return None;
        }
        end += self.zone.length;
        let goes_on = match text[end..] {
            // Digits or a zone that the other time did not have.
            [b'0'..=b'9' | b':' | b'.' | b',' | b'+' | b'-' | b'Z' | b'z', ..] => true,
            [b' ', next, _, c, d, ..] if self.zone.length == 0 => {
                // Names of zones end with T, or are `MSK`: hardly any level does.
                matches!(next, b'+' | b'-' | b'U' | b'G') | matches!(c, b'T' | b'K') | (d == b'T')
            }
            [] | [b' '] => true,
            _ => false,
        };
        let count = self.fraction.length.saturating_sub(1);
        (!goes_on).then_some(Clock { second: self.second + past, digits: digits >> 8, count, end })
    }
}

impl Clock {
    /// Nanoseconds behind the second.
    fn nanos(&self) -> i64 {
        let (mut nanos, mut unit) = (0, NANOS);
        for digit in self.digits.to_le_bytes().into_iter().take(self.count) {
            unit /= 10;
            nanos += i64::from(digit) * unit;
        }
        nanos
    }
}

impl Text {
    fn of(text: &[u8]) -> Option<Self> {
        let mut word = [0; 8];
        word.get_mut(..text.len())?.copy_from_slice(text);
        let mask = if text.len() == 8 { u64::MAX } else { (1 << (8 * text.len())) - 1 };
        Some(Self { word: u64::from_le_bytes(word), mask, length: text.len() })
    }

    /// The bits in which the start of a text, of at least eight bytes, differs.
    fn differs(&self, text: &[u8]) -> Option<u64> {
        Some((u64::from_le_bytes(*text.first_chunk()?) ^ self.word) & self.mask)
    }
}

/// One in each byte, and the top bit of each.
const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = LOW << 7;

/// Seconds of `:55:36` at the start of a text of at least eight bytes. A leap second is left to others.
fn minutes(text: &[u8]) -> Option<i64> {
    const ZERO: u64 = u64::from_le_bytes(*b":00:00\0\0");
    // A byte that is too large for its place gets its top bit: signs from 1 on, tens from 6, ones from 10.
    const ROOM: u64 = u64::from_le_bytes([0x7f, 0x7a, 0x76, 0x7f, 0x7a, 0x76, 0, 0]);
    let word = (u64::from_le_bytes(*text.first_chunk()?) ^ ZERO) & (u64::MAX >> 16);
    if (word.wrapping_add(ROOM) | word) & HIGH != 0 {
        return None;
    }
    let [_, a, b, _, c, d, ..] = word.to_le_bytes();
    Some(i64::from(a) * 600 + i64::from(b) * 60 + i64::from(c) * 10 + i64::from(d))
}

impl Words {
    /// The level that a text begins with; `read` says it and how many bytes it looked at.
    fn find(&mut self, text: &[u8; 8], read: impl FnOnce() -> Option<(Level, usize)>) -> Option<Level> {
        let key = u64::from_le_bytes(*text);
        let place = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize % WORDS;
        if self.0[place].0 == key
            && let Some(level) = self.0[place].1
        {
            return Some(level);
        }
        let (level, looked_at) = read()?;
        if looked_at <= text.len() {
            self.0[place] = (key, Some(level));
        }
        Some(level)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;
    use crate::logstore::record::{collect, collect_carefully, split, split_carefully};
    use crate::logstore::summary::Collector;
    use crate::logstore::tests::hurt;

    /// A line of each format that the engine knows, and some that only look like one of them.
    const LINES: &[&str] = &[
        "2026-11-22T10:20:30.123Z INFO  [auth] [main] handled",
        "2026-11-22T10:20:31.123Z WARN  [auth] [main] slow",
        "2026-11-22T10:20:31.12Z ERROR [auth] [main] other digits",
        "2026-11-22T10:20:31.123+08:00 ERROR zone",
        "2026-11-22 10:20:31,123 WARNING root: python",
        "2026-11-22 10:20:31,123 UTC ERROR zone behind",
        "2026-11-22 10:20:31 +0800 ERROR zone behind",
        "2026-11-22 10:20:31 ERROR no fraction",
        "2026-11-22 10:20:31.123 UTC [812] ERROR:  relation \"x\" does not exist",
        "2026-11-22 10:20:31.123 UTC [812] STATEMENT:  select ERROR",
        "2026-11-22 10:20:31 [3] DETAIL:  more",
        "2026-11-22T10:59:60Z ERROR leap",
        "2026-11-22T10:20:30.123Z error lower",
        "2026-11-22T10:20:30.123Z [E] letter",
        "2026-11-22T10:20:30.123Z \x1b[31mERROR\x1b[0m coloured",
        "\x1b[2m2026-11-22T10:20:30.123Z\x1b[0m \x1b[31mERROR\x1b[0m coloured",
        "2026/11/22 10:20:31 [error] 12#12: *3 connect() failed",
        "{\"level\":\"info\",\"time\":\"2026-11-22T10:20:30.123Z\",\"msg\":\"a\"}",
        "{\"level\":\"error\",\"time\":\"2026-11-22T10:20:31.123Z\",\"msg\":\"b\"}",
        "{\"level\":50,\"time\":1795342831123,\"msg\":\"pino\"}",
        "{\"ts\":\"2026-11-22T10:20:31.123Z\",\"level\":\"warn\",\"msg\":\"c\"}",
        "{\"ts\":\"2026-11-22T10:20:32.123Z\",\"level\":\"error\",\"msg\":\"d\"}",
        "{\"ts\":\"2026-11-22T10:20:32.123Z\",\"level\":\"err or\",\"msg\":\"d\"}",
        "{\"ts\":\"2026-11-22T10:20:32.123Z\",\"level\":40,\"msg\":\"d\"}",
        "{\"ts\":\"2026-11-22T10:20:32.123Z\",\"msg\":\"no level\"}",
        "{\"ts\":\"2026-11-22T10:20:32.123Z\",\"level\":\"\\u001b[31merror\\u001b[39m\",\"msg\":\"winston\"}",
        "{\"ts\":\"2026-11-22T10:20:33.123Z\",\"level\":\"\\u001b[32minfo\\u001b[39m\",\"msg\":\"winston\"}",
        "{\"level\":\"\\u001b[31merror\\u001b[39m\",\"time\":\"2026-11-22T10:20:33.123Z\",\"msg\":\"winston\"}",
        "{\"level\":\"\\u001b[32minfo\\u001b[39m\",\"time\":\"2026-11-22T10:20:33.123Z\",\"msg\":\"winston\"}",
        "{\"@t\":\"2026-11-22T10:20:32.123Z\",\"@m\":\"serilog\"}",
        "{\"@t\":\"2026-11-22T10:20:32.123Z\",\"@l\":\"Error\",\"@m\":\"serilog\"}",
        "10.0.0.1 - - [22/Nov/2026:10:20:30 +0000] \"GET / HTTP/1.1\" 200 12 \"-\" \"curl\"",
        "10.0.0.12 - - [22/Nov/2026:10:20:31 +0000] \"GET /a\\\"b HTTP/1.1\" 404 12 \"-\" \"curl\"",
        "10.10.10.12 - bob [22/Nov/2026:10:20:31 +0000] \"GET / HTTP/1.1\" 503 12 \"-\" \"curl\"",
        "10.20.3000 10:20:31 [22/Nov/2026:10:20:31 +0000] \"GET / HTTP/1.1\" 503 1",
        "10.0.0.1 - - [22/Nov/2026:10:20:31 +0000] \"\" 400 0 \"-\" \"-\"",
        "10.0.0.1 - - [22/Nov/2026:10:20:31 +0000] \"GET / \x1b[31mHTTP/1.1\" 500 0",
        "10.0.0.1 - - [22/Nov/2026:10:20:31 +0000] \"GET /",
        "10.0.0.1:41 [22/Nov/2026:10:20:31.123] front back/srv 1/2/3/4/5 503 12 - - ---- 1/1/1/1/0 0/0 \"GET /\"",
        "[Sun Nov 22 10:20:31.123 2026] [core:error] [pid 9] AH1: x",
        "Nov 22 10:20:31 host app[12]: ERROR x",
        "<11>1 2026-11-22T10:20:31Z host app 1 - - x",
        "<12>Nov 22 10:20:31 host app: x",
        "E1122 10:20:31.123456       1 main.go:10] klog",
        "812:M 22 Nov 2026 10:20:31.123 # redis",
        "ts=2026-11-22T10:20:31Z level=error msg=logfmt",
        "level=warn ts=2026-11-22T10:20:31Z msg=logfmt",
        "level=info ts=2026-11-22T10:20:31Z msg=logfmt",
        "level=info ts=2026-11-22T10:20:31Z ERROR level=info msg=capitals",
        "ts=2026-11-22T10:20:31Z caller=a.go:1 level=error msg=logfmt",
        "ts=2026-11-22T10:20:31Z caller=a.go:1 level=critical msg=logfmt",
        "ts=2026-11-22T10:20:31Z level=notalevel msg=logfmt",
        "ts=2026-11-22T10:20:31Z level=\"warn\" msg=\"\x1b[31mred\"",
        "ts=2026-11-22T10:20:31Z msg=\"no level\" error=lost",
        "time=\"2026-11-22T10:20:31+08:00\" level=warning msg=logrus",
        "time=2026-11-22T10:20:31.123+08:00 level=INFO msg=slog",
        "time=2026-11-22T10:20:31.123+08:00 level=ERROR msg=\"a long text behind which a level comes too late to be seen, as it is that of another one\" lvl=warn",
        "thread 'main' panicked at src/main.rs:2:5:",
        "panic: runtime error",
        "1795342831 ERROR epoch",
        "ERROR:root:python without a time",
        "    at a.b.c(D.java:1)",
        "Caused by: java.lang.X",
        "",
        "plain ERROR text",
        "2026-11-22 10:20:31.123 CET [812] ERROR:  zone by name",
        "2026-11-22 10:20:31 CEST] ERROR zone by name",
        "2026-11-22 10:20:31 CET ERROR no zone",
    ];

    /// What is put instead of bytes.
    const BITS: &[&str] =
        &["0", "9", " ", "[", "]", "\"", ":", ".", ",", "Z", "+", "-", "E", "\n", "\x1b[31m", "\r", "{"];

    /// Both ways over the same bytes, block by block as the scan does.
    fn is_read_alike(text: &str, zone: &TimeZone) -> Result<(), TestCaseError> {
        let reference = Timestamp::from_second(1_800_000_000).unwrap();
        let arrival = |_| Timestamp::UNIX_EPOCH;
        let (mut quick, mut careful) = (Collector::default(), Collector::default());
        collect(text.as_bytes(), 0, &mut StampReader::new(zone.clone(), reference), &arrival, &mut quick);
        collect_carefully(text.as_bytes(), 0, &mut StampReader::new(zone.clone(), reference), &arrival, &mut careful);
        prop_assert_eq!(quick.finish(0, Some(1)), careful.finish(0, Some(1)), "{}", text);
        let quick = split(text.as_bytes(), 0, &mut StampReader::new(zone.clone(), reference));
        let careful = split_carefully(text.as_bytes(), 0, &mut StampReader::new(zone.clone(), reference));
        prop_assert_eq!(quick, careful, "{}", text);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_glance_sees_what_a_careful_reader_does(
            chosen in prop::collection::vec((0..LINES.len(), 1..4_usize), 1..12),
            hurts in prop::collection::vec((0..2000_usize, 0..BITS.len(), 0..3_usize), 0..6),
            is_civil in any::<bool>(),
        ) {
            let text = hurt((LINES, &chosen), (BITS, &hurts));
            let zone = if is_civil { TimeZone::get("Asia/Shanghai").unwrap() } else { TimeZone::UTC };
            is_read_alike(&text, &zone)?;
        }
    }

    #[test]
    fn lines_laid_out_alike_are_read_at_a_glance() {
        let mut reader = StampReader::new(TimeZone::UTC, Timestamp::from_second(1_800_000_000).unwrap());
        let glances = [
            (LINES[0], "2026-11-22T10:59:01.007Z ERROR [b] x\n", Level::Error),
            (LINES[4], "2026-11-22 10:59:01,007 ERROR b x\n", Level::Error),
            (LINES[17], "{\"level\":\"info\",\"time\":\"2026-11-22T10:59:01.007Z\"}\n", Level::Info),
            (
                "ts=2026-11-22T10:20:31Z level=info a=b\n",
                "ts=2026-11-22T10:59:01Z level=error msg=\"x\"\n",
                Level::Error,
            ),
            (
                "ts=2026-11-22T10:20:31Z a=b level=info\n",
                "ts=2026-11-22T10:59:01Z caller=x.go level=warn msg=\"x\"\n",
                Level::Warn,
            ),
            (
                "level=info ts=2026-11-22T10:20:31Z a=b\n",
                "level=info ts=2026-11-22T10:59:01Z msg=\"x\" level=warn\n",
                Level::Info,
            ),
            (
                "time=\"2026-11-22T10:20:31Z\" level=info\n",
                "time=\"2026-11-22T10:59:01Z\" level=warning msg=\"x\"\n",
                Level::Warn,
            ),
            (LINES[20], "{\"ts\":\"2026-11-22T10:59:01.007Z\",\"level\":\"error\",\"a\":1}\n", Level::Error),
            (LINES[31], "172.16.0.9 - - [22/Nov/2026:10:59:01 +0000] \"GET /\" 404 1\n", Level::Warn),
        ];
        for (known, line, level) in glances {
            let mut layouts = Layouts::default();
            let stamp = reader.read(known.as_bytes()).unwrap();
            layouts.learn(known.as_bytes(), &stamp, &reader);
            let second = "2026-11-22T10:59:01Z".parse::<Timestamp>().unwrap().as_second();
            let expected = Glance { second, level: Some(level), end: line.len() };
            // The last line of a block is left to others.
            assert_eq!(layouts.glance(line.repeat(2).as_bytes(), 0), Some(expected), "{line}");
            let stamp = reader.read(line.as_bytes()).unwrap();
            let nanos = i64::try_from(stamp.time.unwrap().as_nanosecond()).unwrap();
            let expected = Moment { nanos, stamp_end: stamp.range.end, end: line.len() };
            assert_eq!(layouts.moment(line.repeat(2).as_bytes(), 0), Some(expected), "{line}");
        }
    }
}
