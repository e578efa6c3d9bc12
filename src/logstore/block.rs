//! Blocks: the unit in which a segment is read, split into records and searched.
//!
//! A block owns the records that begin in it. Where the first of them begins is worked out by looking
//! back as far as the grouping rule does, so a block can be read without the ones before it.

mod mesh;
pub mod reader;
mod region;
mod sieve;
mod subject;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::log::Level;
use crate::domain::query::matcher::{Matcher, Pattern};
use crate::domain::sanitise::{ESCAPE, length_without_escapes, without_escapes};
use crate::logstore::block::sieve::Sieve;
use crate::logstore::block::subject::RecordView;
use crate::logstore::format::text::is_end_of;
use crate::logstore::format::{Reading, fields};
use crate::logstore::glance::Layouts;
use crate::logstore::level;
use crate::logstore::record::{
    LINE_BYTES, NO_TIME, Reach, Span, collect, count_records, floor_second, offset, split_at,
};
use crate::logstore::stamp::StampReader;
use crate::logstore::store::{Aside, Entry};
use crate::logstore::summary::{Collector, Detail, MAX_STARTS, Summary};

/// Bytes of a block: read in 30 µs, split in about a millisecond, a summary for 4 GB stays near a megabyte.
pub const BLOCK_BYTES: u64 = 256 * 1024;
/// Bytes of a page, the part of a block that a window reads: a screen or two, so that the newest rows of 200
/// sources are there in some milliseconds.
pub const PAGE_BYTES: u64 = 32 * 1024;

/// What is done about the times of records that are found by a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// They are read.
    Read,
    /// Nobody looks at them.
    Skipped,
}

/// The records that begin in one block.
#[derive(Debug)]
pub struct Block {
    /// Offset of the first record.
    pub base: u64,
    /// Offset of the first record that belongs to a later block.
    pub next: u64,
    /// The bytes `base..next`, fewer when the last record is longer than `LINE_BYTES`.
    pub bytes: Vec<u8>,
    spans: OnceLock<Vec<Span>>,
    zone: TimeZone,
    reference: Timestamp,
    reading: Arc<Reading>,
    /// What a store knows of each record beside its bytes; empty for bytes that are here.
    asides: Vec<Aside>,
    /// Where in its bytes records begin whatever the lines look like, see [`Segment::begin_record`].
    ///
    /// [`Segment::begin_record`]: crate::logstore::segment::Segment::begin_record
    breaks: Vec<u32>,
}

impl Block {
    /// The records, split when first asked for.
    pub fn spans(&self) -> &[Span] {
        self.spans.get_or_init(|| split_at(&self.breaks, &self.bytes, self.base, &mut self.stamp_reader()))
    }

    /// How the bytes of its source are read.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Reads the timestamps of its lines.
    pub fn stamp_reader(&self) -> StampReader {
        self.reading.stamp_reader(&self.zone, self.reference)
    }

    /// Makes a block of a store's records, each one span.
    pub fn of_entries(entries: Vec<Entry>, zone: &TimeZone, reading: &Arc<Reading>) -> Self {
        let mut bytes = Vec::with_capacity(entries.iter().map(|it| it.line.len() + 1).sum());
        let (mut spans, mut asides) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
        let reference = Timestamp::UNIX_EPOCH;
        let mut reader = reading.stamp_reader(zone, reference);
        for entry in entries {
            let start = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let stamp = reader.read(&entry.line);
            bytes.extend_from_slice(&entry.line);
            bytes.push(b'\n');
            let end = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let stamp_end = stamp.map_or(0, |it| u16::try_from(it.range.end).unwrap_or(0));
            spans.push(Span { start, end, nanos: entry.nanos, stamp_end, has_time: true });
            asides.push(entry.aside);
        }
        let next = bytes.len() as u64;
        let (zone, reading, spans) = (zone.clone(), reading.clone(), OnceLock::from(spans));
        Self { base: 0, next, bytes, spans, zone, reference, reading, asides, breaks: Vec::new() }
    }

    /// What a store knows of a record beside its bytes.
    fn aside(&self, span: &Span) -> Option<&Aside> {
        if self.asides.is_empty() {
            return None;
        }
        self.asides.get(self.spans().binary_search_by_key(&span.start, |it| it.start).ok()?)
    }

    /// A record's bytes.
    pub fn bytes_of(&self, span: &Span) -> &[u8] {
        &self.bytes[span.start as usize..span.end as usize]
    }

    /// A record's length on disk.
    pub fn length_of(&self, index: usize) -> u64 {
        let spans = self.spans();
        let end = spans.get(index + 1).map_or(self.next, |it| self.base + u64::from(it.start));
        end.saturating_sub(self.base + u64::from(spans[index].start))
    }

    /// A record's own time.
    pub fn time_of(span: &Span) -> Option<Timestamp> {
        span.has_time.then(|| Self::near_time_of(span)).flatten()
    }

    /// A record's time, or that of the nearest record with one before it in the block.
    pub fn near_time_of(span: &Span) -> Option<Timestamp> {
        (span.nanos != NO_TIME).then(|| Timestamp::from_nanosecond(i128::from(span.nanos)).ok()).flatten()
    }

    /// The times by which records (their indices, ascending) are merged with those of other sources: the latest
    /// time so far in the block, so that a clock that goes back does not take the rest along. `None` before the
    /// first record with a time.
    pub fn clock_of(&self, records: &[u32]) -> Vec<(u32, Option<Timestamp>)> {
        let spans = self.spans();
        let (mut at, mut latest) = (0, NO_TIME);
        let clock = |record: &u32| {
            while at <= *record as usize && at < spans.len() {
                latest = latest.max(spans[at].nanos);
                at += 1;
            }
            let time = (latest != NO_TIME).then(|| Timestamp::from_nanosecond(i128::from(latest)).ok());
            (*record, time.flatten())
        };
        records.iter().map(clock).collect()
    }

    /// A record's level.
    pub fn level_of(&self, span: &Span) -> Option<Level> {
        let known = self.aside(span).and_then(|it| it.level);
        known.or_else(|| {
            let record = self.bytes_of(span);
            let line = memchr::memchr(b'\n', record).unwrap_or(record.len());
            level::read(record, line, usize::from(span.stamp_end), self.reading.user_format())
        })
    }

    /// The value of a record's field, see [`fields::find`].
    pub fn field_of(&self, span: &Span, name: &str) -> Option<Cow<'_, [u8]>> {
        let known = self.aside(span).and_then(|it| it.fields.as_deref()).unwrap_or_default();
        if let Some((_, value)) = known.iter().find(|(key, _)| is_end_of(key.as_bytes(), name.as_bytes())) {
            return Some(Cow::Borrowed(value.as_bytes()));
        }
        let (record, stamp_end) = (self.bytes_of(span), usize::from(span.stamp_end));
        let Some(clean) = without_escapes(record) else {
            return fields::find(record, stamp_end, &self.reading, name);
        };
        let stamp_end = length_without_escapes(&record[..stamp_end.min(record.len())]).min(clean.len());
        fields::find(&clean, stamp_end, &self.reading, name).map(|it| Cow::Owned(it.into_owned()))
    }

    /// Calls `visit` with the fields of a record that are not the members of a JSON object, until it says `false`.
    pub fn fields_of(&self, span: &Span, visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        let known = self.aside(span).and_then(|it| it.fields.as_deref()).unwrap_or_default();
        if !known.iter().all(|(key, value)| visit(key.as_bytes(), value.as_bytes())) {
            return;
        }
        let (record, stamp_end) = (self.bytes_of(span), usize::from(span.stamp_end));
        match without_escapes(record) {
            None => fields::all(record, stamp_end, &self.reading, visit),
            Some(clean) => {
                let stamp_end = length_without_escapes(&record[..stamp_end.min(record.len())]).min(clean.len());
                fields::all(&clean, stamp_end, &self.reading, visit);
            }
        }
    }

    /// True when a record passes.
    pub fn passes(&self, index: usize, matcher: &Matcher, arrival: &dyn Fn(u64) -> Timestamp) -> bool {
        matcher.passes(&RecordView::new(self, &self.spans()[index], arrival))
    }

    /// Sums up the records that pass, without splitting the block where that can be helped.
    pub fn summarise(
        &self,
        matcher: &Matcher,
        detail: Detail,
        arrival: &dyn Fn(u64) -> Timestamp,
        collector: &mut Collector,
    ) -> Summary {
        if let Some(summary) = self.summarise_all(matcher, detail, arrival, collector) {
            return summary;
        }
        if let Some(hits) = self.near_hits(matcher, detail, Times::Read, arrival) {
            return self.sum_up(hits, detail, arrival, collector);
        }
        let found = self.matches(matcher, arrival);
        let spans: Vec<Span> = match detail {
            Detail::Count => Vec::new(),
            Detail::Groups { .. } => found.iter().map(|it| self.spans()[*it as usize].clone()).collect(),
        };
        let hits = Hits { records: found.len(), spans, starts: Vec::new() };
        self.sum_up(hits, detail, arrival, collector)
    }

    /// As [`Block::summarise`], of the records that begin at `starts`. `None` when those can not be told without
    /// the ones around them.
    pub fn summarise_at(
        &self,
        starts: &[u32],
        matcher: &Matcher,
        detail: Detail,
        arrival: &dyn Fn(u64) -> Timestamp,
        collector: &mut Collector,
    ) -> Option<Summary> {
        if !self.breaks.is_empty() {
            return None;
        }
        let mut reader = NearReader::of(self);
        let mut hits = Hits::default();
        for start in starts {
            let start = *start as usize;
            let length = memchr::memchr(b'\n', self.bytes.get(start..)?);
            let span =
                self.record_from(start, 0, length.map_or(self.bytes.len(), |it| start + it), Times::Read, &mut reader)?;
            if matcher.passes(&RecordView::new(self, &span, arrival)) {
                hits.take(span, detail);
            }
        }
        Some(self.sum_up(hits, detail, arrival, collector))
    }

    /// Counts the records that pass and says where they begin, when that takes no split of the block.
    pub fn count_near(&self, matcher: &Matcher, arrival: &dyn Fn(u64) -> Timestamp) -> Option<Summary> {
        let hits = self.near_hits(matcher, Detail::Count, Times::Read, arrival)?;
        Some(Summary::counted(hits.records).with_starts(hits.starts))
    }

    fn sum_up(
        &self,
        hits: Hits,
        detail: Detail,
        arrival: &dyn Fn(u64) -> Timestamp,
        collector: &mut Collector,
    ) -> Summary {
        let summary = match detail {
            Detail::Count => Summary::counted(hits.records),
            Detail::Groups { phase, stripe } => {
                for span in &hits.spans {
                    let arrived = || arrival(self.base + u64::from(span.start));
                    let time = Self::near_time_of(span).unwrap_or_else(arrived);
                    collector.add(floor_second(time), self.level_of(span));
                }
                collector.finish(phase, stripe)
            }
        };
        summary.with_starts(hits.starts)
    }

    /// As [`Block::summarise`], when every record passes.
    fn summarise_all(
        &self,
        matcher: &Matcher,
        detail: Detail,
        arrival: &dyn Fn(u64) -> Timestamp,
        collector: &mut Collector,
    ) -> Option<Summary> {
        if !matcher.takes_all_records() || !self.breaks.is_empty() {
            return None;
        }
        let mut reader = self.stamp_reader();
        Some(match detail {
            Detail::Count => match self.spans.get() {
                Some(spans) => Summary::counted(spans.len()),
                None => Summary::counted(count_records(&self.bytes, self.base, &mut reader)),
            },
            Detail::Groups { phase, stripe } => {
                collect(&self.bytes, self.base, &mut reader, arrival, collector);
                collector.finish(phase, stripe)
            }
        })
    }

    /// Finds the records that pass by the lines around the hits of the leading pattern. `None` when those do not
    /// tell: nothing leads, a hit spans lines, or no line with a timestamp is near before it.
    fn near_hits(
        &self,
        matcher: &Matcher,
        detail: Detail,
        times: Times,
        arrival: &dyn Fn(u64) -> Timestamp,
    ) -> Option<Hits> {
        let mut finder = self.finder(matcher)?;
        // Text may stand on both sides of a colour: then the records tell, as they are read without it. Where records
        // begin that the lines do not tell of, they tell as well.
        if !self.breaks.is_empty() || memchr::memchr(ESCAPE, &self.bytes).is_some() {
            return None;
        }
        let is_lone = matcher.only_lead().is_some();
        // Other conditions may be about the time.
        let times = if is_lone { times } else { Times::Read };
        let mut reader = NearReader::of(self);
        let mut hits = Hits::default();
        // Where matches are dense the next one mostly stands in the line that ended the record of the last.
        let (mut at, mut last, mut stamped) = (0, None, None);
        while at < self.bytes.len() {
            let Some(hit) = finder.find_at(&self.bytes, at) else { break };
            let start = memchr::memrchr(b'\n', &self.bytes[at..hit.start]).map_or(at, |it| at + it + 1);
            let end = memchr::memchr(b'\n', &self.bytes[hit.start..]).map_or(self.bytes.len(), |it| hit.start + it);
            if hit.end > end || (end - start) as u64 > LINE_BYTES {
                return None;
            }
            let known = stamped.filter(|it| *it == start).map(|it| (it, 0));
            let (first, lines) = known.or_else(|| self.stamped_line_of(start, end, &mut reader))?;
            if is_lone && detail == Detail::Count {
                if last.replace(first) != Some(first) {
                    hits.records += 1;
                    hits.note(offset(first));
                }
                at = end + 1;
                continue;
            }
            let span = self.record_from(first, lines, end, times, &mut reader)?;
            at = span.end as usize;
            stamped = Some(at);
            if is_lone || matcher.passes(&RecordView::new(self, &span, arrival)) {
                hits.take(span, detail);
            }
        }
        Some(hits)
    }

    /// The records that pass, copied out of the block, and the offsets where they begin in their segment. Neither
    /// splits the block nor keeps the rest of it in memory. `None` when the lines around the hits do not tell.
    pub fn gather(
        &self,
        matcher: &Matcher,
        times: Times,
        arrival: &dyn Fn(u64) -> Timestamp,
    ) -> Option<(Self, Vec<u64>)> {
        let wanted = Detail::Groups { phase: 0, stripe: None };
        let mut spans = self.near_hits(matcher, wanted, times, arrival)?.spans;
        let is_whole = self.next == self.base + self.bytes.len() as u64;
        if !is_whole && spans.last().is_some_and(|it| it.end as usize == self.bytes.len()) {
            return None;
        }
        let mut bytes = Vec::with_capacity(spans.iter().map(|it| self.bytes_of(it).len()).sum());
        let mut starts = Vec::with_capacity(spans.len());
        for span in &mut spans {
            starts.push(self.base + u64::from(span.start));
            let start = offset(bytes.len());
            bytes.extend_from_slice(self.bytes_of(span));
            (span.start, span.end) = (start, offset(bytes.len()));
        }
        let gathered = Self {
            base: 0,
            next: bytes.len() as u64,
            bytes,
            spans: OnceLock::from(spans),
            zone: self.zone.clone(),
            reference: self.reference,
            reading: self.reading.clone(),
            asides: Vec::new(),
            breaks: Vec::new(),
        };
        Some((gathered, starts))
    }

    /// Where the nearest line with a timestamp begins: the line `start..end`, or one that it continues as so
    /// many lines behind it.
    fn stamped_line_of(&self, start: usize, end: usize, reader: &mut NearReader) -> Option<(usize, u32)> {
        let (mut line, mut line_end, mut lines) = (start, end, 0);
        while !reader.has_stamp(&self.bytes, line..line_end) {
            line_end = line.checked_sub(1)?;
            line = memchr::memrchr(b'\n', &self.bytes[..line_end]).map_or(0, |it| it + 1);
            lines += 1;
            if !Reach::holds(line_end as u64 + 1, lines, start as u64) {
                return None;
            }
        }
        Some((line, lines))
    }

    /// The record whose first line begins at `start` and that goes on, `lines` lines further, to `end` at least.
    fn record_from(
        &self,
        start: usize,
        mut lines: u32,
        end: usize,
        times: Times,
        reader: &mut NearReader,
    ) -> Option<Span> {
        let line_end = |at: usize| memchr::memchr(b'\n', &self.bytes[at..]).map_or(self.bytes.len(), |it| at + it);
        let first_end = line_end(start);
        let (nanos, stamp_end) = match times {
            Times::Read => {
                let (nanos, stamp_end) = reader.read(&self.bytes, start..first_end)?;
                (nanos, u16::try_from(stamp_end).unwrap_or(0))
            }
            Times::Skipped => (NO_TIME, 0),
        };
        let mut at = end + 1;
        while at < self.bytes.len() {
            let end = line_end(at);
            if reader.has_stamp(&self.bytes, at..end) {
                break;
            }
            lines += 1;
            if !Reach::holds(first_end as u64 + 1, lines, at as u64) || (end - at) as u64 > LINE_BYTES {
                return None;
            }
            at = end + 1;
        }
        Some(Span {
            start: offset(start),
            end: offset(at.min(self.bytes.len())),
            nanos,
            stamp_end,
            has_time: times == Times::Read,
        })
    }

    /// What finds the places of records that may pass, when that can be told without the fields of each.
    fn finder<'m>(&self, matcher: &'m Matcher) -> Option<Finder<'m>> {
        // Fields that a store knows of, and those that a format says, stand elsewhere.
        let is_usual = self.asides.is_empty() && self.reading.format.is_none();
        match matcher.sieve().filter(|_| is_usual) {
            Some((test, name)) => Some(Finder::Sieve(Box::new(Sieve::new(test, name, self.stamp_reader())))),
            None => self.lead(matcher).map(Finder::Lead),
        }
    }

    /// The pattern that every record that passes holds.
    fn lead<'m>(&self, matcher: &'m Matcher) -> Option<&'m Pattern> {
        // A user's format gives names to fields that do not stand in the line.
        if self.reading.user_format().is_some() { matcher.lead_without_names() } else { matcher.lead() }
    }

    /// Indices of the records that pass. `arrival` places records without a time of their own.
    pub fn matches(&self, matcher: &Matcher, arrival: &dyn Fn(u64) -> Timestamp) -> Vec<u32> {
        let all = || 0..u32::try_from(self.spans().len()).unwrap_or(u32::MAX);
        if matcher.takes_all_records() {
            return all().collect();
        }
        let passes = |index: u32| {
            let span = &self.spans()[index as usize];
            matcher.passes(&RecordView::new(self, span, arrival))
        };
        let Some(lead) = self.lead(matcher).filter(|_| self.asides.is_empty()) else {
            return all().filter(|it| passes(*it)).collect();
        };
        let mut found = Vec::new();
        let mut at = 0;
        let hit_from = |at: usize| lead.find_at(&self.bytes, at).map(|it| it.start);
        let escape_from = |at: usize| memchr::memchr(ESCAPE, &self.bytes[at..]).map(|it| at + it);
        let (mut hit, mut escape) = (hit_from(0), escape_from(0));
        while at < self.bytes.len() {
            hit = hit.filter(|it| *it >= at).or_else(|| hit.and_then(|_| hit_from(at)));
            escape = escape.filter(|it| *it >= at).or_else(|| escape.and_then(|_| escape_from(at)));
            // A record with escape sequences is asked as well: the pattern may stand on both sides of one.
            let Some(near) = [hit, escape].into_iter().flatten().min() else { break };
            let spans = self.spans();
            let index = spans.partition_point(|it| (it.start as usize) <= near).saturating_sub(1);
            let Some(span) = spans.get(index) else { break };
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            if passes(index) {
                found.push(index);
            }
            at = span.end as usize;
        }
        found
    }
}

/// Finds what may pass.
enum Finder<'m> {
    Lead(&'m Pattern),
    Sieve(Box<Sieve<'m>>),
}

impl Finder<'_> {
    fn find_at(&mut self, bytes: &[u8], at: usize) -> Option<Range<usize>> {
        match self {
            Self::Lead(pattern) => pattern.find_at(bytes, at),
            Self::Sieve(sieve) => sieve.find_at(bytes, at),
        }
    }
}

/// Reads the timestamps of lines here and there in a block, at a glance where they are laid out alike.
struct NearReader {
    reader: StampReader,
    layouts: Layouts,
}

impl NearReader {
    fn of(block: &Block) -> Self {
        Self { reader: block.stamp_reader(), layouts: Layouts::default() }
    }

    fn has_stamp(&mut self, bytes: &[u8], line: Range<usize>) -> bool {
        // What begins with its time is told sooner without it.
        let is_early = bytes.get(line.start..line.start + 5).is_some_and(|it| it[0].is_ascii_digit() && it[4] == b'-');
        (!is_early && self.layouts.moment(bytes, line.start).is_some()) || self.reader.has_stamp(&bytes[line])
    }

    /// The time of a line, in nanoseconds since the epoch, and where that ends in it.
    fn read(&mut self, bytes: &[u8], line: Range<usize>) -> Option<(i64, usize)> {
        if let Some(seen) = self.layouts.moment(bytes, line.start) {
            return Some((seen.nanos, seen.stamp_end));
        }
        let line = &bytes[line];
        let stamp = self.reader.read(line)?;
        self.layouts.learn(line, &stamp, &self.reader);
        Some((i64::try_from(stamp.time?.as_nanosecond()).ok()?, stamp.range.end))
    }
}

/// Records found without splitting a block.
#[derive(Default)]
struct Hits {
    records: usize,
    /// The records, unless only their number was wanted.
    spans: Vec<Span>,
    /// Where they begin; some of them when there are many.
    starts: Vec<u32>,
}

impl Hits {
    fn take(&mut self, span: Span, detail: Detail) {
        self.records += 1;
        self.note(span.start);
        if detail != Detail::Count {
            self.spans.push(span);
        }
    }

    fn note(&mut self, start: u32) {
        if self.starts.len() <= MAX_STARTS {
            self.starts.push(start);
        }
    }
}
