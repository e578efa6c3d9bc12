//! Finds the timestamp of a line, in the shapes that logs have.
//!
//! Hand-written over bytes: this runs once for every line of every block that is looked at, where a regex
//! or a general parser would cost ten times as much. Only civil times without an offset ask the zone, and
//! the answer is kept for the hour.

mod civil;
mod epoch;
mod finish;
pub mod keys;
mod names;
pub mod postgres;

use std::ops::Range;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::domain::log::Level;
use crate::domain::sanitise::{ESCAPE, offset_with_escapes, put_without_escapes};
use crate::logstore::format::user::UserFormat;
use crate::logstore::format::{Format, export, otlp};
use crate::logstore::stamp::civil::{Clock, Day, days_from_civil, is_date, is_weekday, month, number, two};
use crate::logstore::stamp::epoch::read_epoch;
use crate::logstore::stamp::keys::{is_time_key, value_behind};
use crate::logstore::stamp::postgres::{POSTGRES_PID_BYTES, SUBSECOND_BYTES, continues_postgres, may_be_postgres};
use crate::logstore::{json, level};

/// Bytes of a line in which a timestamp is looked for; JSON lines carry it behind other keys.
pub const STAMP_BYTES: usize = 1024;
/// A prefix (level word, container name, client address) before the timestamp is at most this long.
const PREFIX_BYTES: usize = 120;

/// A time of day without a date may be so far behind the last writing and still be of that day: clocks differ.
const CLOCK_SLACK_SECONDS: i64 = 300;

/// What stands before the time of a JSON line is remembered up to this length.
const JSON_LEAD_BYTES: usize = 64;

/// Bytes of a line without a timestamp in which a colour is looked for, which may hide it.
const COLOUR_BYTES: usize = 64;

/// The timestamp of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// When; `None` for a time of day without a date.
    pub time: Option<Timestamp>,
    /// Where it stands in the line.
    pub range: Range<usize>,
}

/// Reads timestamps. Keeps what it learnt about the zone and the year.
#[derive(Debug, Clone)]
pub struct StampReader {
    zone: TimeZone,
    /// Times without a year are taken to be the last before this instant.
    reference: Timestamp,
    /// Seconds to subtract for civil times of an hour (hours since the epoch).
    hour_offset: Option<(i64, i64)>,
    /// The last ISO date read, as it was written: a log says the same day ten thousand times.
    day: Option<Day>,
    /// What stood before the time in JSON lines: loggers write their keys in one order.
    leads: Vec<Lead>,
    /// The lead of the last line that was read, when it was a JSON line with one that is known.
    last_lead: Option<usize>,
    /// The last date that was read with its day first, as it was written.
    day_first: Option<([u8; 11], Day)>,
    /// The year of the reference in the zone.
    reference_year: Option<i64>,
    /// Added to every time.
    offset: SignedDuration,
    /// The format that was asked for.
    format: Option<Format>,
    /// Memory for the heads of coloured lines.
    clean: Vec<u8>,
}

/// What stands before the time of a JSON line.
#[derive(Debug, Clone)]
struct Lead {
    text: Vec<u8>,
    /// The level, where it stands before the time.
    level: Option<Option<Level>>,
}

/// Leads that are known at a time: one for each level of a logger that writes it first.
const MAX_LEADS: usize = 8;

impl StampReader {
    /// Civil times are in `zone`; times without a year lie before `reference` (a day of slack).
    pub fn new(zone: TimeZone, reference: Timestamp) -> Self {
        Self {
            zone,
            reference,
            hour_offset: None,
            day: None,
            leads: Vec::new(),
            last_lead: None,
            day_first: None,
            reference_year: None,
            offset: SignedDuration::ZERO,
            format: None,
            clean: Vec::new(),
        }
    }

    /// Adds so much to every time: the clock that wrote them is behind.
    #[must_use]
    pub fn with_offset(mut self, offset: SignedDuration) -> Self {
        self.offset = offset;
        self
    }

    /// Takes lines to be in this format.
    #[must_use]
    pub fn with_format(mut self, format: Option<Format>) -> Self {
        self.format = format;
        self
    }

    /// The user's own format, when one is forced.
    pub fn user_format(&self) -> Option<&UserFormat> {
        match &self.format {
            Some(Format::User(format)) => Some(format),
            _ => None,
        }
    }

    /// Finds the timestamp of a line.
    pub fn read(&mut self, line: &[u8]) -> Option<Stamp> {
        self.last_lead = None;
        let line = &line[..line.len().min(STAMP_BYTES)];
        // A regex of the user's is about the text; others mostly find the time before a colour comes.
        let is_coloured = match &self.format {
            Some(Format::User(_)) => memchr::memchr(ESCAPE, line).is_some(),
            _ => line.first() == Some(&ESCAPE),
        };
        let stamp = if is_coloured {
            self.read_coloured(line)
        } else {
            self.read_plain(line).or_else(|| {
                memchr::memchr(ESCAPE, &line[..line.len().min(COLOUR_BYTES)])?;
                self.read_coloured(line)
            })
        }?;
        if self.offset.is_zero() {
            return Some(stamp);
        }
        Some(Stamp { time: stamp.time.and_then(|it| it.checked_add(self.offset).ok()), ..stamp })
    }

    fn read_plain(&mut self, line: &[u8]) -> Option<Stamp> {
        match &self.format {
            Some(Format::Plain) => None,
            Some(Format::User(format)) => {
                let format = format.clone();
                self.read_user(line, &format)
            }
            Some(_) | None => self.read_any(line),
        }
    }

    /// Reads the line as if its escape sequences were not there.
    fn read_coloured(&mut self, line: &[u8]) -> Option<Stamp> {
        let mut clean = std::mem::take(&mut self.clean);
        put_without_escapes(line, &mut clean);
        let found = self.read_plain(&clean).map(|stamp| {
            let start = offset_with_escapes(line, stamp.range.start);
            // Behind its last byte, before the escape sequence that may follow.
            let end = stamp.range.end.checked_sub(1).map_or(0, |last| offset_with_escapes(line, last) + 1);
            let range = if stamp.range.is_empty() { 0..0 } else { start..end };
            Stamp { range, ..stamp }
        });
        self.clean = clean;
        // What stands before the time is known of lines without colours.
        self.last_lead = None;
        found
    }

    /// A line in the user's format begins a record, with or without a time.
    fn read_user(&mut self, line: &[u8], format: &UserFormat) -> Option<Stamp> {
        let groups = format.captures(line)?;
        let Some(time) = groups.name("time") else { return Some(Stamp { time: None, range: 0..0 }) };
        let range = time.range();
        let at = match format.time_format {
            Some(_) => format.time(time.as_bytes(), &self.zone, self.reference),
            None => self.read_any(time.as_bytes()).and_then(|it| it.time),
        };
        Some(Stamp { time: at, range })
    }

    fn read_any(&mut self, line: &[u8]) -> Option<Stamp> {
        match *line.first()? {
            // Indented: belongs to the line before.
            b' ' | b'\t' => None,
            // An object is a record, with or without a time; one that is written over many lines begins otherwise.
            b'{' => self.read_json(line).or_else(|| (line.get(1) == Some(&b'"')).then_some(UNTIMED)),
            b'<' => self.read_priority(line),
            b'_' => line.starts_with(export::START).then_some(UNTIMED),
            b'#' => self.read_slow_query(line),
            // A hole, left by a writer that went on where the file was before it was emptied: no record goes on in it.
            0 => {
                let skipped = line.iter().take_while(|it| **it == 0).count();
                let found = self.read_any(&line[skipped..]).filter(|it| !it.range.is_empty());
                let shift = |it: Stamp| Stamp { range: it.range.start + skipped..it.range.end + skipped, ..it };
                Some(found.map_or(UNTIMED, shift))
            }
            b'[' => self.read_at(line, 1).or_else(|| self.read_prefixed(line)),
            _ => self.read_at(line, 0).or_else(|| self.read_prefixed(line)),
        }
    }

    /// The time of a record that says it behind its first line: an entry of an export, an indented JSON object.
    ///
    /// `record` begins with the record and may be cut.
    pub fn read_late(&mut self, record: &[u8]) -> Option<Timestamp> {
        let head = &record[..record.len().min(STAMP_BYTES)];
        let found = match (&self.format, head) {
            (Some(Format::Plain | Format::User(_)), _) => None,
            (_, [b'_', ..]) if head.starts_with(export::START) => {
                export::micros(head).and_then(|it| Timestamp::from_microsecond(it).ok())
            }
            (_, [b'{', ..]) if otlp::is_export(head) => otlp::first_time(record),
            (_, [b'{', b'\n' | b'\r', ..]) => {
                let object = &head[..json::container_end(head, 0).unwrap_or(head.len())];
                self.read_json(object).and_then(|it| it.time)
            }
            _ => None,
        }?;
        if self.offset.is_zero() { Some(found) } else { found.checked_add(self.offset).ok() }
    }

    /// True when [`StampReader::read`] finds a timestamp, often without reading it.
    pub fn has_stamp(&mut self, line: &[u8]) -> bool {
        (self.format.is_none() && self.is_on_the_same_day(line)) || self.read(line).is_some()
    }

    /// A line that begins with the date of the one before and a time of day. Up to the 28th no month lacks the day.
    ///
    /// Where a line may continue a message of PostgreSQL, only reading it tells.
    fn is_on_the_same_day(&self, line: &[u8]) -> bool {
        let (Some(day), Some(head)) = (self.day, line.first_chunk::<19>()) else { return false };
        let digits = [11, 12, 14, 15, 17, 18].map(|at: usize| head[at]);
        head[..10] == day.text
            && day.date.2 <= 28
            && matches!(head[10], b'T' | b' ')
            && (head[13], head[16]) == (b':', b':')
            && digits.iter().all(u8::is_ascii_digit)
            && digits[..2] < b"24"[..]
            && digits[2] < b'6'
            && digits[4] < b'6'
            && !may_be_postgres(&line[19..], POSTGRES_PID_BYTES + SUBSECOND_BYTES)
    }

    fn read_at(&mut self, line: &[u8], at: usize) -> Option<Stamp> {
        match line.get(at)? {
            b'0'..=b'9' => {
                if let Some(stamp) = self.read_iso(line, at) {
                    return (!continues_postgres(&line[stamp.range.end..])).then_some(stamp);
                }
                self.read_day_first(line, at)
                    .or_else(|| self.read_numeric_date(line, at))
                    .or_else(|| read_epoch(line, at))
                    .or_else(|| self.read_clock(line, at))
            }
            b'A'..=b'Z' => self.read_month_first(line, at).or_else(|| self.read_klog(line, at)),
            _ => None,
        }
    }

    /// `20260819T143001`, `260819 14:30:01` (MySQL), `08-19 14:30:01.123` (Android), `19.08.2026 14:30:01`,
    /// and `812:M 19 Aug 2026 14:30:01.123` (Redis).
    fn read_numeric_date(&mut self, line: &[u8], at: usize) -> Option<Stamp> {
        let digits = line[at..].iter().take(9).take_while(|byte| byte.is_ascii_digit()).count();
        match (digits, *line.get(at + digits)?) {
            (8, b'T') => {
                let date = (number(line, at, 4)?, two(line, at + 4)?, two(line, at + 6)?);
                let clock = Clock::read_compact(line, at + 9)?;
                self.finish(line, at, date, clock)
            }
            (6, b' ') => {
                let date = (2000 + two(line, at)?, two(line, at + 2)?, two(line, at + 4)?);
                // MySQL pads the hour with a blank.
                let clock = match Clock::read(line, at + 7) {
                    Some(clock) => clock,
                    None if line.get(at + 7) == Some(&b' ') => Clock::read_short_hour(line, at + 8)?,
                    None => return None,
                };
                self.finish(line, at, date, clock)
            }
            (2, b'-') if line.get(at + 5) == Some(&b' ') => {
                let date = (two(line, at)?, two(line, at + 3)?);
                let clock = Clock::read(line, at + 6)?;
                self.finish_without_year(line, at, date, clock)
            }
            (2, b'.') if line.get(at + 5) == Some(&b'.') && matches!(line.get(at + 10), Some(b' ' | b',')) => {
                let date = (number(line, at + 6, 4)?, two(line, at + 3)?, two(line, at)?);
                let clock_at = if line.get(at + 11) == Some(&b' ') { at + 12 } else { at + 11 };
                let clock = Clock::read(line, clock_at)?;
                self.finish(line, at, date, clock)
            }
            (1..=8, b':')
                if matches!(line.get(at + digits + 1..at + digits + 3), Some([b'M' | b'S' | b'C' | b'X', b' '])) =>
            {
                self.read_day_first(line, at + digits + 3)
            }
            _ => None,
        }
    }

    /// `# Time: 2026-08-19T06:30:01.123456Z`, the first line of an entry in MySQL's slow query log.
    fn read_slow_query(&mut self, line: &[u8]) -> Option<Stamp> {
        let at = b"# Time: ".len();
        line.starts_with(b"# Time: ").then(|| self.read_at(line, at)).flatten()
    }

    /// `<34>1 2003-…` and `<34>Oct 11 …`.
    fn read_priority(&mut self, line: &[u8]) -> Option<Stamp> {
        let close = line.iter().take(6).position(|byte| *byte == b'>')?;
        let at = close + 1;
        let versioned = line.get(at).is_some_and(u8::is_ascii_digit) && line.get(at + 1) == Some(&b' ');
        if versioned && line.get(at + 2..at + 4) == Some(b"- ") {
            return Some(UNTIMED);
        }
        self.read_at(line, if versioned { at + 2 } else { at })
    }

    fn read_json(&mut self, line: &[u8]) -> Option<Stamp> {
        if otlp::is_export(line) {
            // Its level is that of all its records, so what stands before the time is not worth knowing.
            let value = json::find(line, &["timeUnixNano"])?;
            let time = read_epoch(line, value.start).and_then(|it| it.time);
            return time.map(|time| Stamp { time: Some(time), range: value });
        }
        let known = self
            .leads
            .iter()
            .position(|it| line.starts_with(&it.text) && line.get(it.text.len()).is_some_and(u8::is_ascii_digit));
        let start = match known {
            Some(index) => {
                self.last_lead = Some(index);
                self.leads[index].text.len()
            }
            None => {
                let start = json::find_start(line, is_time_key)?;
                if start <= JSON_LEAD_BYTES
                    && self.leads.len() < MAX_LEADS
                    && line.get(start).is_some_and(u8::is_ascii_digit)
                {
                    self.last_lead = Some(self.leads.len());
                    let text = line[..start].to_vec();
                    let level = level::before(&text);
                    self.leads.push(Lead { text, level });
                }
                start
            }
        };
        let stamp = self.read_at(line, start)?;
        // Mostly the value ends where the time does.
        let range = match line.get(stamp.range.end) {
            Some(b'"' | b',' | b'}') => start..stamp.range.end,
            _ => json::value_from(line, start)?,
        };
        Some(Stamp { range, ..stamp })
    }

    /// What stood before the time of the line that was read last, a JSON line, and the level in it.
    pub fn last_lead(&self) -> Option<(&[u8], Option<Option<Level>>)> {
        let lead = self.leads.get(self.last_lead?)?;
        Some((&lead.text, lead.level))
    }

    /// True when lines are taken as they are, and times to the second as they are written.
    pub fn is_plain(&self) -> bool {
        self.format.is_none() && self.offset.subsec_nanos() == 0
    }

    /// The level of the record at the start of `bytes`, whose first line, so long, is the one that was read last.
    pub fn level(&self, bytes: &[u8], length: usize, stamp_end: usize) -> Option<Level> {
        if bytes.first() == Some(&b'{')
            && stamp_end > 0
            && let Some(lead) = self.last_lead.and_then(|it| self.leads.get(it))
        {
            let level = match lead.level {
                Some(level) => level,
                None => level::behind(&bytes[..length], lead.text.len(), stamp_end),
            };
            return level::or_of_trace(level, bytes, length, stamp_end);
        }
        level::read(bytes, length, stamp_end, self.user_format())
    }

    /// Something short stands before it: a level, a container, a client (`host - - [10/Oct/2000:…`), `time=`.
    fn read_prefixed(&mut self, line: &[u8]) -> Option<Stamp> {
        let prefix = &line[..line.len().min(PREFIX_BYTES)];
        // Belongs to the entry of MySQL's slow query log that it stands in.
        if line.starts_with(b"SET timestamp=") {
            return None;
        }
        let mut brackets = 0;
        for at in memchr::memchr2_iter(b'[', b'=', prefix) {
            if prefix[at] == b'=' {
                if let Some(value) = value_behind(prefix, at, &[b"time=", b"ts=", b"timestamp=", b"t="]) {
                    return self.read_at(line, value);
                }
                continue;
            }
            brackets += 1;
            if brackets <= 3
                && line.get(at + 1).is_some_and(u8::is_ascii_digit)
                && let Some(stamp) = self.read_iso(line, at + 1).or_else(|| self.read_day_first(line, at + 1))
            {
                return Some(stamp);
            }
        }
        // `INFO 2026-…`, `api-1  | 2026-…`: after the first word and what separates it.
        let word = prefix.iter().position(|byte| matches!(byte, b' ' | b'\t' | b':' | b'|'))?;
        let gap = prefix[word..].iter().position(|byte| !matches!(byte, b' ' | b'\t' | b':' | b'|' | b'['))?;
        let at = word + gap;
        self.read_iso(line, at).or_else(|| self.read_month_first(line, at))
    }

    /// `2026-08-19T14:30:01.123+08:00`, `2026-08-19 14:30:01,123`, `2026/08/19 14:30:01`, `20260819T143001`.
    fn read_iso(&mut self, line: &[u8], at: usize) -> Option<Stamp> {
        let text: [u8; 10] = line.get(at..at + 10)?.try_into().ok()?;
        let day = if let Some(day) = self.day.filter(|it| it.text == text) {
            day
        } else {
            let separator = text[4];
            if !matches!(separator, b'-' | b'/') || text[7] != separator {
                return None;
            }
            let date = (number(&text, 0, 4)?, two(&text, 5)?, two(&text, 8)?);
            if !is_date(date) {
                return None;
            }
            *self.day.insert(Day { text, date, number: days_from_civil(date.0, date.1, date.2) })
        };
        if !matches!(line.get(at + 10)?, b'T' | b't' | b' ' | b'_' | b':' | b'-') {
            return None;
        }
        // An old MySQL pads the hour with a blank.
        let clock = match line.get(at + 10..at + 12) {
            Some(b"  ") => Clock::read_short_hour(line, at + 12)?,
            _ => Clock::read(line, at + 11)?,
        };
        self.finish_on(line, at, day, clock)
    }

    /// `10/Oct/2000:13:55:36 -0700`, `22-Nov-2026 10:00:00.123`, `22 Nov 2026 10:00:00`.
    fn read_day_first(&mut self, line: &[u8], at: usize) -> Option<Stamp> {
        let text: [u8; 11] = line.get(at..at + 11)?.try_into().ok()?;
        let day = match self.day_first.filter(|(known, _)| *known == text) {
            Some((_, day)) => day,
            None => {
                let separator = text[2];
                if !matches!(separator, b'/' | b'-' | b' ') || text[6] != separator {
                    return None;
                }
                let date = (number(&text, 7, 4)?, month(&text, 3)?, two(&text, 0)?);
                if !is_date(date) {
                    return None;
                }
                let day = Day { text: [0; 10], date, number: days_from_civil(date.0, date.1, date.2) };
                self.day_first.insert((text, day)).1
            }
        };
        let clock = Clock::read(line, at + 12)?;
        self.finish_on(line, at, day, clock)
    }

    /// `Oct 11 22:14:15`, `Fri Sep 09 10:42:29.902 2011`, `Sun Nov 22 21:10:16 UTC 2026`, `Oct 11 2026 22:14:15`.
    fn read_month_first(&mut self, line: &[u8], start: usize) -> Option<Stamp> {
        let mut at = start;
        if is_weekday(line, at) {
            at += if line.get(at + 3) == Some(&b',') { 5 } else { 4 };
            if line.get(at).is_some_and(u8::is_ascii_digit) {
                return self.read_day_first(line, at).map(|stamp| Stamp { range: start..stamp.range.end, ..stamp });
            }
        }
        let month = month(line, at)?;
        if line.get(at + 3) != Some(&b' ') {
            return None;
        }
        let day = if line.get(at + 4) == Some(&b' ') { number(line, at + 5, 1)? } else { number(line, at + 4, 2)? };
        at += 7;
        let early_year = (line.get(at + 4) == Some(&b' ')).then(|| number(line, at, 4)).flatten();
        if early_year.is_some() {
            at += 5;
        }
        let clock = Clock::read(line, at)?;
        let mut end = clock.end;
        let mut year = early_year;
        if year.is_none() && line.get(end) == Some(&b' ') {
            let zone = line[end + 1..].iter().take_while(|byte| byte.is_ascii_uppercase()).count();
            let year_at = if zone > 0 { end + 1 + zone + 1 } else { end + 1 };
            let ends = line.get(year_at + 4).is_none_or(|byte| !byte.is_ascii_alphanumeric());
            year = number(line, year_at, 4).filter(|it| ends && (1970..2200).contains(it));
            if year.is_some() {
                end = year_at + 4;
            }
        }
        let stamp = match year {
            Some(year) => self.finish(line, start, (year, month, day), clock)?,
            None => self.finish_without_year(line, start, (month, day), clock)?,
        };
        Some(Stamp { range: start..stamp.range.end.max(end), ..stamp })
    }

    /// `I0819 14:30:01.123456`.
    fn read_klog(&mut self, line: &[u8], at: usize) -> Option<Stamp> {
        if !matches!(line.get(at)?, b'I' | b'W' | b'E' | b'F') {
            return None;
        }
        // glog writes the year when it is told to.
        if line.get(at + 9) == Some(&b' ') && line.get(at + 5).is_some_and(u8::is_ascii_digit) {
            let date = (number(line, at + 1, 4)?, two(line, at + 5)?, two(line, at + 7)?);
            let clock = Clock::read(line, at + 10)?;
            return self.finish(line, at + 1, date, clock);
        }
        if line.get(at + 5) != Some(&b' ') {
            return None;
        }
        let (month, day) = (number(line, at + 1, 2)?, number(line, at + 3, 2)?);
        let clock = Clock::read(line, at + 6)?;
        self.finish_without_year(line, at + 1, (month, day), clock)
    }

    /// `14:30:01` without a date: the last such time before the reference, which of a file is its last writing.
    fn read_clock(&mut self, line: &[u8], at: usize) -> Option<Stamp> {
        let clock = Clock::read(line, at).filter(|it| it.end >= at + 8)?;
        let limit = self.reference.as_second() + CLOCK_SLACK_SECONDS;
        for days_back in 0..2 {
            let back = SignedDuration::from_hours(24 * days_back);
            let date = self.zone.to_datetime(self.reference).date().checked_sub(back).ok()?;
            let date = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
            let stamp = self.finish(line, at, date, clock)?;
            if stamp.time.is_some_and(|it| it.as_second() <= limit) {
                return Some(stamp);
            }
        }
        None
    }
}

/// The stamp of a line that begins a record without saying when.
const UNTIMED: Stamp = Stamp { time: None, range: 0..0 };

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> StampReader {
        StampReader::new(TimeZone::fixed(jiff::tz::offset(8)), "2026-08-20T00:00:00Z".parse().unwrap())
    }

    #[test]
    fn the_common_shapes_are_read() {
        let check = |line: &str, expected: &str, text: &str| {
            let stamp = reader().read(line.as_bytes()).unwrap_or_else(|| panic!("no stamp in {line}"));
            assert_eq!(stamp.time.map(|it| it.to_string()).as_deref(), Some(expected), "{line}");
            assert_eq!(&line[stamp.range], text, "{line}");
        };
        let t = "2026-08-19T06:30:01Z";
        let ms = "2026-08-19T06:30:01.123Z";
        check("2026-08-19T06:30:01Z x", t, "2026-08-19T06:30:01Z");
        check("2026-08-19T14:30:01.123+08:00 x", ms, "2026-08-19T14:30:01.123+08:00");
        check("2026-08-19 14:30:01,123 ERROR x", ms, "2026-08-19 14:30:01,123");
        check("2026-08-19 06:30:01.123 UTC [12] LOG: x", ms, "2026-08-19 06:30:01.123 UTC");
        check("[2026-08-19 14:30:01 +0800] x", t, "2026-08-19 14:30:01 +0800");
        check("2026/08/19 14:30:01 [error] 7#7: x", t, "2026/08/19 14:30:01");
        check("Aug 19 14:30:01 host sshd[1]: x", t, "Aug 19 14:30:01");
        check("<34>Aug 19 14:30:01 host x", t, "Aug 19 14:30:01");
        check("Dec 31 14:30:01 host x", "2025-12-31T06:30:01Z", "Dec 31 14:30:01");
        check("<34>1 2026-08-19T06:30:01.123Z host app - - - x", ms, "2026-08-19T06:30:01.123Z");
        check("10.0.0.1 - bob [19/Aug/2026:14:30:01 +0800] \"GET / HTTP/1.1\" 200 1", t, "19/Aug/2026:14:30:01 +0800");
        check("[Wed Aug 19 14:30:01.123 2026] [core:error] x", ms, "Wed Aug 19 14:30:01.123 2026");
        check("Wed, 19 Aug 2026 06:30:01 GMT x", t, "Wed, 19 Aug 2026 06:30:01 GMT");
        check("19-Aug-2026 14:30:01.123 INFO [main] x", ms, "19-Aug-2026 14:30:01.123");
        check("I0819 14:30:01.123000       1 main.go:1] x", ms, "0819 14:30:01.123000");
        check(r#"{"level":"info","ts":1787121001.123,"msg":"x"}"#, ms, "1787121001.123");
        check(r#"{"time":"2026-08-19T06:30:01Z","msg":"x"}"#, t, "2026-08-19T06:30:01Z");
        check(r#"{"@timestamp": "2026-08-19T06:30:01.123Z"}"#, ms, "2026-08-19T06:30:01.123Z");
        check("level=info ts=2026-08-19T06:30:01Z msg=x", t, "2026-08-19T06:30:01Z");
        check("time=\"2026-08-19T06:30:01Z\" level=info", t, "2026-08-19T06:30:01Z");
        check("1787121001.123    12 10.0.0.1 TCP_MISS/200", ms, "1787121001.123");
        check("1787121001123 x", ms, "1787121001123");
        check("INFO  [2026-08-19 14:30:01,123] x", ms, "2026-08-19 14:30:01,123");
        check("api-1  | 2026-08-19T06:30:01Z x", t, "2026-08-19T06:30:01Z");
    }

    #[test]
    fn a_zone_that_is_named_is_the_one_that_is_meant() {
        let check = |zone: &str, line: &str, expected: &str| {
            let zone = TimeZone::get(zone).unwrap();
            let stamp = StampReader::new(zone, "2026-11-24T00:00:00Z".parse().unwrap()).read(line.as_bytes()).unwrap();
            assert_eq!(stamp.time.map(|it| it.to_string()).as_deref(), Some(expected), "{line}");
        };
        let (york, nine) = ("America/New_York", "2026-11-23T09:00:01.123Z");
        check(york, "2026-11-23 10:00:01.123 CET [812] ERROR:  x", nine);
        check(york, "2026-11-23 06:00:01.123 -03 [812] ERROR:  x", nine);
        check(york, "2026-11-23 01:00:01.123 PST [812] ERROR:  x", nine);
        check(york, "[23-Nov-2026 12:00:01.123 MSK] x", nine);
        check(york, "Mon Nov 23 10:00:01.123 CET 2026 x", nine);
        check(york, "{\"time\":\"2026-11-23 18:00:01.123 JST\"}", nine);
        // The hour that comes twice.
        check(york, "2026-11-01 01:30:00 EDT [8] x", "2026-11-01T05:30:00Z");
        check(york, "2026-11-01 01:30:00 EST [8] x", "2026-11-01T06:30:00Z");
        check("Asia/Shanghai", "2026-11-23 17:00:01.123 CST [812] ERROR:  x", nine);
        check("Asia/Kolkata", "2026-11-23 14:30:01.123 IST [812] ERROR:  x", nine);
        // Words of a message, and names that mean several things.
        check(york, "2026-11-23 04:00:01.123 CET is short", nine);
        check(york, "2026-11-23 04:00:01.123 IST [812] ERROR:  x", nine);
    }

    #[test]
    fn other_lines_have_no_timestamp() {
        for line in [
            "",
            "\tat java.lang.X(2026-08-19 10:00:00)",
            "java.lang.Foo: x",
            "12345 items",
            "2026-13-40 99:00",
            "10.0.0.1 x",
        ] {
            assert_eq!(reader().read(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_time_of_day_is_the_last_one_before_the_reference() {
        let read = |line: &str| {
            let stamp = reader().read(line.as_bytes()).unwrap();
            (stamp.time.unwrap().to_string(), stamp.range)
        };
        // It is eight in the morning of the 20th where the log is.
        assert_eq!(read("14:30:01 x"), ("2026-08-19T06:30:01Z".into(), 0..8));
        assert_eq!(read("07:59:59.250 [main] INFO x"), ("2026-08-19T23:59:59.25Z".into(), 0..12));
        assert_eq!(read("08:04:00 x"), ("2026-08-20T00:04:00Z".into(), 0..8));
    }

    proptest::proptest! {
        #[test]
        fn what_is_remembered_of_one_line_changes_nothing_for_the_next(
            picks in proptest::collection::vec((0_usize..15, 10_u32..33, 0_u32..70), 1..12),
        ) {
            let mut shared = reader();
            for (shape, day, second) in picks {
                let (iso, second) = (format!("2026-08-{day}T14:30:{second:02}"), 1_787_121_000 + second);
                let line = match shape {
                    0 => format!("{iso}Z x"),
                    1 => format!("{iso} ERROR x"),
                    2 => format!("{{\"ts\":\"{iso}Z\",\"level\":\"info\"}}"),
                    3 => format!("{{\"ts\":{second},\"level\":\"info\"}}"),
                    4 => format!("{{\"ts\": \"{iso}Z\"}}"),
                    5 => format!("{{\"level\":\"info\",\"time\":\"{iso}+08:00\"}}"),
                    6 => format!("{{\"ts\":null,\"time\":\"{iso}Z\"}}"),
                    7 => format!("INFO {iso} x"),
                    8 => format!("{{\"level\":\"warn\",\"ts\":{second},\"level\":\"x\"}}"),
                    9 => format!("{{\"@t\":\"{iso}Z\",\"@l\":\"Error\"}}"),
                    10 => format!("{{\"@t\":\"{iso}Z\",\"@m\":\"level\"}}"),
                    11 => format!("{{\"ts\":\"{iso}Z\",\"level\":\"\\u001b[31merror\\u001b[39m\"}}"),
                    12 => format!("{{\"level\":\"\\u001b[33mwarn\\u001b[39m\",\"ts\":{second}}}"),
                    13 => format!("10.0.0.1 - - [{day}/Aug/2026:14:30:{:02} +0000] \"GET /?a=b\" 502 1", second % 70),
                    _ => "\0\0\0\0\0\0\0\0\0\0T14:30:01".into(),
                };
                let alone = reader().read(line.as_bytes());
                let end = alone.as_ref().map_or(0, |it| it.range.end);
                let level = level::read(line.as_bytes(), line.len(), end, None);
                proptest::prop_assert_eq!(shared.has_stamp(line.as_bytes()), alone.is_some(), "{}", line);
                proptest::prop_assert_eq!(shared.read(line.as_bytes()), alone, "{}", line);
                proptest::prop_assert_eq!(shared.level(line.as_bytes(), line.len(), end), level, "{}", line);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(line in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            if let Some(stamp) = reader().read(&line) {
                proptest::prop_assert!(stamp.range.end <= line.len());
            }
        }

        #[test]
        fn damaged_stamps_are_read_without_a_panic(cut in 0_usize..60, extra in "[0-9:. +Z-]{0,12}") {
            let line = "10.0.0.1 - bob [19/Aug/2026:14:30:01 +0800] 2026-08-19T14:30:01.123456789+08:00";
            let damaged = format!("{}{extra}", &line[cut..]);
            if let Some(stamp) = reader().read(damaged.as_bytes()) {
                proptest::prop_assert!(stamp.range.end <= damaged.len());
            }
        }
    }
}
