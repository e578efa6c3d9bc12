//! Which lines make one record.
//!
//! A line with a timestamp begins a record, and the lines without one that follow it belong to it. Where
//! no timestamp is near, every line is a record, but a line that has the shape of a continuation (indented,
//! part of a trace, see `shape`) continues the one before. The rule looks back only so far, so the answer
//! is the same wherever reading begins.

use jiff::Timestamp;

pub use crate::domain::log::LINE_BYTES;
use crate::domain::log::MAX_RECORD_LINES;
use crate::logstore::glance::Layouts;
use crate::logstore::shape::{LINES_BEFORE, Shape};
use crate::logstore::stamp::StampReader;
use crate::logstore::summary::Collector;

/// Lines a record may have behind its first: as many as are shown of it, so that none is in a record and nowhere to be
/// seen.
pub const GROUP_LINES: u32 = MAX_RECORD_LINES as u32 - 1;
/// Bytes between the end of a record's first line and the start of a line that still belongs to it.
pub const GROUP_BYTES: u64 = 128 * 1024;

/// Decides line by line, going forward from the start of a record.
#[derive(Debug, Clone, Default)]
pub struct Grouping {
    stamped: Option<Reach>,
    plain: Option<Reach>,
    /// Shapes of the last two lines, the nearest one first.
    before: [Shape; LINES_BEFORE],
}

/// How far a first line reaches.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    /// Offset behind the first line.
    pub end: u64,
    /// Lines taken since.
    pub lines: u32,
}

impl Reach {
    /// True when a line that starts at `start` as number `lines` behind the first still belongs.
    pub fn holds(end: u64, lines: u32, start: u64) -> bool {
        lines <= GROUP_LINES && start.saturating_sub(end) <= GROUP_BYTES
    }

    fn take(&mut self, start: u64) -> bool {
        self.lines += 1;
        Self::holds(self.end, self.lines, start)
    }
}

impl Grouping {
    /// Goes on behind a first line, as found by looking back; `before` are the shapes of the last lines, the
    /// nearest one first.
    pub fn after(stamped: Option<Reach>, plain: Option<Reach>, before: [Shape; LINES_BEFORE]) -> Self {
        Self { stamped, plain, before }
    }

    /// Takes a line that ends at `end`, begins with a digit, a brace or a key, and has a timestamp: it begins a record.
    pub fn begins_stamped(&mut self, end: u64) {
        let [before, _] = self.before;
        self.before = [Shape::default(), before];
        (self.stamped, self.plain) = (Some(Reach { end, lines: 0 }), None);
    }

    /// Takes a line as [`Grouping::begins`] does that begins a record whatever it looks like: it is another's than the
    /// lines before it.
    pub fn restarts(&mut self, line: &[u8], has_stamp: bool, start: u64, end: u64) {
        *self = Self::default();
        self.begins(line, has_stamp, start, end);
        if self.stamped.is_none() {
            self.plain = Some(Reach { end, lines: 0 });
        }
    }

    /// Takes the next line (`start..end` in the file, `has_stamp` when a timestamp was found in it).
    ///
    /// Returns true when it begins a record.
    pub fn begins(&mut self, line: &[u8], has_stamp: bool, start: u64, end: u64) -> bool {
        let is_giant = end - start > LINE_BYTES;
        let shape = if is_giant { Shape::default() } else { Shape::of(line) };
        let [before, before_that] = self.before;
        self.before = [shape, before];
        if is_giant {
            (self.stamped, self.plain) = (None, Some(Reach { end, lines: 0 }));
            return true;
        }
        if has_stamp {
            (self.stamped, self.plain) = (Some(Reach { end, lines: 0 }), None);
            return true;
        }
        if let Some(reach) = &mut self.stamped {
            if reach.take(start) {
                return false;
            }
            (self.stamped, self.plain) = (None, None);
        }
        if !shape.continues(before, before_that) {
            self.plain = Some(Reach { end, lines: 0 });
            return true;
        }
        if self.plain.as_mut().is_some_and(|reach| reach.take(start)) {
            return false;
        }
        self.plain = None;
        true
    }
}

/// A record in a stretch of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// First byte, counted from the start of the stretch.
    pub start: u32,
    /// Behind the last byte, line end included.
    pub end: u32,
    /// Nanoseconds since the epoch: its own time, else that of the record before it in the stretch, else `NO_TIME`.
    pub nanos: i64,
    /// Where the timestamp ends in the first line, 0 without one.
    pub stamp_end: u16,
    /// The time is its own.
    pub has_time: bool,
}

/// Stands for a record without a time that follows none with one.
pub const NO_TIME: i64 = i64::MIN;

/// Splits bytes that begin with a record; `base` is their offset in the file.
pub fn split(bytes: &[u8], base: u64, reader: &mut StampReader) -> Vec<Span> {
    split_at(&[], bytes, base, reader)
}

/// As [`split`], with records that begin at `breaks` (offsets in the bytes, ascending) whatever the lines look like.
pub fn split_at(breaks: &[u32], bytes: &[u8], base: u64, reader: &mut StampReader) -> Vec<Span> {
    split_with(Some(Layouts::default()), breaks, bytes, base, reader)
}

/// As [`split`], line by line without a glance: what that has to agree with.
#[cfg(test)]
pub fn split_carefully(bytes: &[u8], base: u64, reader: &mut StampReader) -> Vec<Span> {
    split_with(None, &[], bytes, base, reader)
}

fn split_with(
    mut layouts: Option<Layouts>,
    breaks: &[u32],
    bytes: &[u8],
    base: u64,
    reader: &mut StampReader,
) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut grouping = Grouping::default();
    let (mut at, mut last_nanos) = (0, NO_TIME);
    while at < bytes.len() {
        if let Some(seen) = layouts.as_mut().and_then(|it| it.moment(bytes, at)) {
            grouping.begins_stamped(base + seen.end as u64);
            last_nanos = seen.nanos;
            spans.push(Span {
                start: offset(at),
                end: offset(seen.end),
                nanos: seen.nanos,
                stamp_end: u16::try_from(seen.stamp_end).unwrap_or(0),
                has_time: true,
            });
            at = seen.end;
            continue;
        }
        let end = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |length| at + length + 1);
        let line = &bytes[at..end];
        let stamp = reader.read(line);
        let (line_start, line_end) = (base + at as u64, base + end as u64);
        let is_break = !breaks.is_empty() && breaks.binary_search(&offset(at)).is_ok();
        let begins = match is_break {
            true => {
                grouping.restarts(line, stamp.is_some(), line_start, line_end);
                true
            }
            false => grouping.begins(line, stamp.is_some(), line_start, line_end),
        };
        let (start, end_offset) = (offset(at), offset(end));
        match spans.last_mut() {
            Some(span) if !begins => span.end = end_offset,
            _ => {
                let time = stamp.as_ref().and_then(|it| it.time).or_else(|| reader.read_late(&bytes[at..]));
                let own = time.and_then(|it| i64::try_from(it.as_nanosecond()).ok());
                last_nanos = own.unwrap_or(last_nanos);
                if let (Some(layouts), Some(stamp)) = (&mut layouts, &stamp) {
                    layouts.learn(line, stamp, reader);
                }
                spans.push(Span {
                    start,
                    end: end_offset,
                    nanos: last_nanos,
                    stamp_end: stamp.map_or(0, |it| u16::try_from(it.range.end).unwrap_or(0)),
                    has_time: own.is_some(),
                });
            }
        }
        at = end;
    }
    spans
}

/// Counts the records that [`split`] would find.
pub fn count_records(bytes: &[u8], base: u64, reader: &mut StampReader) -> usize {
    let mut grouping = Grouping::default();
    let (mut count, mut start) = (0, 0);
    let ends = memchr::memchr_iter(b'\n', bytes).map(|it| it + 1);
    for end in ends.chain((!bytes.ends_with(b"\n")).then_some(bytes.len())) {
        let line = &bytes[start..end];
        if !line.is_empty() {
            let has_stamp = reader.has_stamp(line);
            let begins = grouping.begins(line, has_stamp, base + start as u64, base + end as u64);
            // The first line always does, as where a block begins was worked out before.
            count += usize::from(begins || count == 0);
        }
        start = end;
    }
    count
}

/// Collects the times and levels of the records that [`split`] would find. `arrival` places a record (by its
/// offset in the file) that has no time and follows none with one.
pub fn collect(
    bytes: &[u8],
    base: u64,
    reader: &mut StampReader,
    arrival: &dyn Fn(u64) -> Timestamp,
    collector: &mut Collector,
) {
    collect_with(Some(Layouts::default()), bytes, base, reader, arrival, collector);
}

/// As [`collect`], line by line without a glance: what that has to agree with.
#[cfg(test)]
pub fn collect_carefully(
    bytes: &[u8],
    base: u64,
    reader: &mut StampReader,
    arrival: &dyn Fn(u64) -> Timestamp,
    collector: &mut Collector,
) {
    collect_with(None, bytes, base, reader, arrival, collector);
}

fn collect_with(
    mut layouts: Option<Layouts>,
    bytes: &[u8],
    base: u64,
    reader: &mut StampReader,
    arrival: &dyn Fn(u64) -> Timestamp,
    collector: &mut Collector,
) {
    let mut grouping = Grouping::default();
    let mut last_second = None;
    let mut start = 0;
    while start < bytes.len() {
        if let Some(seen) = layouts.as_mut().and_then(|it| it.glance(bytes, start)) {
            grouping.begins_stamped(base + seen.end as u64);
            last_second = Some(seen.second);
            collector.add(seen.second, seen.level);
            start = seen.end;
            continue;
        }
        let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |length| start + length + 1);
        let line = &bytes[start..end];
        let offset = base + start as u64;
        let stamp = reader.read(line);
        let begins = grouping.begins(line, stamp.is_some(), offset, base + end as u64);
        if begins || start == 0 {
            let time = stamp.as_ref().and_then(|it| it.time).or_else(|| reader.read_late(&bytes[start..]));
            last_second = time.map(floor_second).or(last_second);
            let second = last_second.unwrap_or_else(|| floor_second(arrival(offset)));
            let stamp_end = stamp.as_ref().map_or(0, |it| it.range.end);
            if let (Some(layouts), Some(stamp)) = (&mut layouts, &stamp) {
                layouts.learn(line, stamp, reader);
            }
            collector.add(second, reader.level(&bytes[start..], line.len(), stamp_end));
        }
        start = end;
    }
}

/// The second in which a time lies, also before the epoch.
pub fn floor_second(time: Timestamp) -> i64 {
    time.as_second() - i64::from(time.subsec_nanosecond() < 0)
}

/// An offset in a stretch. Stretches are blocks with one record of at most `LINE_BYTES` behind them: far below 4 GiB.
pub fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    use super::*;

    fn records(text: &str) -> Vec<&str> {
        let mut reader = StampReader::new(TimeZone::UTC, Timestamp::from_second(1_800_000_000).unwrap());
        split(text.as_bytes(), 0, &mut reader).iter().map(|it| &text[it.start as usize..it.end as usize]).collect()
    }

    #[test]
    fn a_stack_trace_is_one_record() {
        let text = "2026-08-19T00:00:00Z ERROR x\njava.lang.X: y\n\tat a\nCaused by: z\n2026-08-19T00:00:01Z INFO k\n";
        assert_eq!(records(text).len(), 2);
    }

    #[test]
    fn without_timestamps_only_indented_lines_continue() {
        assert_eq!(records("a\nb\n  c\nCaused by: d\ne"), ["a\n", "b\n  c\nCaused by: d\n", "e"]);
        assert_eq!(records("  c\n d\n"), ["  c\n", " d\n"]);
    }

    #[test]
    fn a_runaway_record_ends_at_the_bound() {
        let mut text = "2026-08-19T00:00:00Z dump\n".to_string();
        for _ in 0..GROUP_LINES + 2 {
            text.push_str("x\n");
        }
        let found = records(&text);
        // As many as are shown of one.
        assert_eq!((found.len(), found[0].lines().count()), (3, MAX_RECORD_LINES));
    }
}
