//! Blocks: the unit in which a segment is read, split into records and searched.
//!
//! A block owns the records that begin in it. Where the first of them begins is worked out by looking
//! back as far as the grouping rule does, so a block can be read without the ones before it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::log::Level;
use crate::domain::query::matcher::{Matcher, Pattern, Subject};
use crate::domain::sanitise::{ESCAPE, without_escapes};
use crate::logstore::format::text::is_end_of;
use crate::logstore::format::{Reading, fields};
use crate::logstore::level;
use crate::logstore::record::{
    GROUP_BYTES, GROUP_LINES, Grouping, LINE_BYTES, NO_TIME, Reach, Span, collect, count_records, floor_second, offset,
    split,
};
use crate::logstore::segment::{Segment, lock};
use crate::logstore::shape::{LINES_BEFORE, SHAPE_BYTES, Shape};
use crate::logstore::source::{Part, Snapshot};
use crate::logstore::stamp::{STAMP_BYTES, StampReader};
use crate::logstore::store::{Aside, Entry};
use crate::logstore::summary::{Collector, Detail, MAX_STARTS, Summary};

/// Bytes of a block: read in 30 µs, split in about a millisecond, a summary for 4 GB stays near a megabyte.
pub const BLOCK_BYTES: u64 = 256 * 1024;
/// Bytes of a page, the part of a block that a window reads: a screen or two, so that the newest rows of 200
/// sources are there in some milliseconds.
pub const PAGE_BYTES: u64 = 32 * 1024;
/// Pages in a block.
const BLOCK_PAGES: u64 = BLOCK_BYTES / PAGE_BYTES;
/// Bytes of pages and blocks kept after use: scrolling back and forth does not read again, not in 200 sources either.
const MAX_CACHED_BYTES: usize = 16 << 20;
/// Times of pages kept for the search for a time, some 3 MB.
const MAX_KNOWN_TIMES: usize = 50_000;
/// Last lines of a file of which one is the newest: threads of a program overtake each other.
const NEWEST_LINES: usize = 4;
/// Bytes read around a boundary in one go.
const MARGIN_BYTES: u64 = 4 * 1024;

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
}

impl Block {
    /// The records, split when first asked for.
    pub fn spans(&self) -> &[Span] {
        self.spans.get_or_init(|| split(&self.bytes, self.base, &mut self.stamp_reader()))
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
        Self { base: 0, next, bytes, spans, zone, reference, reading, asides }
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
        fields::find(self.bytes_of(span), usize::from(span.stamp_end), &self.reading, name)
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
        if let Some(hits) = self.near_hits(matcher, detail, arrival) {
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
        let mut reader = self.stamp_reader();
        let mut hits = Hits::default();
        for start in starts {
            let start = *start as usize;
            let length = memchr::memchr(b'\n', self.bytes.get(start..)?);
            let span = self.record_from(start, 0, length.map_or(self.bytes.len(), |it| start + it), &mut reader)?;
            if matcher.passes(&RecordView::new(self, &span, arrival)) {
                hits.take(span, detail);
            }
        }
        Some(self.sum_up(hits, detail, arrival, collector))
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
        if !matcher.takes_all_records() {
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
    fn near_hits(&self, matcher: &Matcher, detail: Detail, arrival: &dyn Fn(u64) -> Timestamp) -> Option<Hits> {
        let lead = self.lead(matcher)?;
        // Text may stand on both sides of a colour: then the records tell, as they are read without it.
        if memchr::memchr(ESCAPE, &self.bytes).is_some() {
            return None;
        }
        let is_lone = matcher.only_lead().is_some();
        let mut reader = self.stamp_reader();
        let mut hits = Hits::default();
        let (mut at, mut last) = (0, None);
        while at < self.bytes.len() {
            let Some(hit) = lead.find_at(&self.bytes, at) else { break };
            let start = memchr::memrchr(b'\n', &self.bytes[..hit.start]).map_or(0, |it| it + 1);
            let end = memchr::memchr(b'\n', &self.bytes[hit.start..]).map_or(self.bytes.len(), |it| hit.start + it);
            if hit.end > end || (end - start) as u64 > LINE_BYTES {
                return None;
            }
            let (first, lines) = self.stamped_line_of(start, end, &mut reader)?;
            if is_lone && detail == Detail::Count {
                if last.replace(first) != Some(first) {
                    hits.records += 1;
                    hits.note(offset(first));
                }
                at = end + 1;
                continue;
            }
            let span = self.record_from(first, lines, end, &mut reader)?;
            at = span.end as usize;
            if is_lone || matcher.passes(&RecordView::new(self, &span, arrival)) {
                hits.take(span, detail);
            }
        }
        Some(hits)
    }

    /// Where the nearest line with a timestamp begins: the line `start..end`, or one that it continues as so
    /// many lines behind it.
    fn stamped_line_of(&self, start: usize, end: usize, reader: &mut StampReader) -> Option<(usize, u32)> {
        let (mut line, mut line_end, mut lines) = (start, end, 0);
        while !reader.has_stamp(&self.bytes[line..line_end]) {
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
    fn record_from(&self, start: usize, mut lines: u32, end: usize, reader: &mut StampReader) -> Option<Span> {
        let line_end = |at: usize| memchr::memchr(b'\n', &self.bytes[at..]).map_or(self.bytes.len(), |it| at + it);
        let first_end = line_end(start);
        let stamp = reader.read(&self.bytes[start..first_end])?;
        let nanos = i64::try_from(stamp.time?.as_nanosecond()).ok()?;
        let mut at = end + 1;
        while at < self.bytes.len() {
            let end = line_end(at);
            if reader.has_stamp(&self.bytes[at..end]) {
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
            stamp_end: u16::try_from(stamp.range.end).unwrap_or(0),
            has_time: true,
        })
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

struct RecordView<'a> {
    block: &'a Block,
    span: &'a Span,
    arrival: &'a dyn Fn(u64) -> Timestamp,
    /// Its bytes without escape sequences, when it has some.
    clean: OnceCell<Option<Vec<u8>>>,
}

impl<'a> RecordView<'a> {
    fn new(block: &'a Block, span: &'a Span, arrival: &'a dyn Fn(u64) -> Timestamp) -> Self {
        Self { block, span, arrival, clean: OnceCell::new() }
    }

    fn raw(&self) -> &[u8] {
        let bytes = self.block.bytes_of(self.span);
        match self.block.aside(self.span) {
            // A store's record ends where its text does.
            Some(aside) => aside.text.as_deref().unwrap_or_else(|| bytes.strip_suffix(b"\n").unwrap_or(bytes)),
            None => bytes,
        }
    }
}

impl Subject for RecordView<'_> {
    fn bytes(&self) -> &[u8] {
        self.clean.get_or_init(|| without_escapes(self.raw())).as_deref().unwrap_or_else(|| self.raw())
    }
    fn level(&self) -> Option<Level> {
        self.block.level_of(self.span)
    }
    fn time(&self) -> Option<Timestamp> {
        Block::near_time_of(self.span).or_else(|| Some((self.arrival)(self.block.base + u64::from(self.span.start))))
    }
    fn field(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.block.field_of(self.span, name)
    }
}

/// Reads blocks and keeps the last ones.
#[derive(Debug)]
pub struct BlockReader {
    zone: TimeZone,
    cache: Mutex<Cache>,
    /// Time of the first record of a page, by segment and page.
    times: Mutex<HashMap<(u64, u64), Timestamp>>,
}

/// The stretches that were used last.
#[derive(Debug, Default)]
struct Cache {
    kept: HashMap<Key, (u64, Arc<Block>)>,
    /// Uses so far; each entry has the number of its last.
    uses: u64,
    bytes: usize,
}

impl Cache {
    fn get(&mut self, key: &Key, next: u64) -> Option<Arc<Block>> {
        self.uses += 1;
        let (used, found) = self.kept.get_mut(key)?;
        if found.next != next {
            return None;
        }
        *used = self.uses;
        Some(found.clone())
    }

    /// Also takes the place of an earlier, shorter state of the stretch that is being written.
    fn put(&mut self, key: Key, found: &Arc<Block>) {
        // A stretch that holds a giant record is not kept: there could be many of them.
        if found.bytes.len() as u64 > 4 * BLOCK_BYTES {
            return;
        }
        self.uses += 1;
        self.bytes += found.bytes.len();
        if let Some((_, old)) = self.kept.insert(key, (self.uses, found.clone())) {
            self.bytes -= old.bytes.len();
        }
        if self.bytes > MAX_CACHED_BYTES {
            // A quarter goes at once, so that a long way through a log does not sort at every step.
            let mut by_use: Vec<(u64, Key)> = self.kept.iter().map(|(key, (used, _))| (*used, *key)).collect();
            by_use.sort_unstable_by_key(|it| it.0);
            for (_, key) in by_use {
                if self.bytes <= MAX_CACHED_BYTES / 4 * 3 {
                    break;
                }
                self.bytes -= self.kept.remove(&key).map_or(0, |it| it.1.bytes.len());
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    segment: u64,
    /// First byte that is in it.
    boundary: u64,
    /// Bytes up to the next boundary.
    unit: u64,
}

impl BlockReader {
    /// Times without a zone are read in `zone`.
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, cache: Mutex::default(), times: Mutex::default() }
    }

    /// Reads the records that begin in the stretch `number` of `unit` bytes (a multiple of `PAGE_BYTES`) of a
    /// segment that is `size` bytes long, and keeps them for the next who asks.
    ///
    /// # Errors
    /// When the file can not be read.
    pub fn stretch(&self, segment: &Segment, size: u64, number: u64, unit: u64) -> io::Result<Arc<Block>> {
        let next = self.first_record(segment, size, (number + 1) * unit)?;
        let key = Key { segment: segment.uid, boundary: number * unit, unit };
        if let Some(found) = lock(&self.cache).get(&key, next) {
            return Ok(found);
        }
        let found = Arc::new(self.read(segment, size, key, next, Vec::new())?);
        lock(&self.cache).put(key, &found);
        Ok(found)
    }

    /// The page that owns the record at an offset.
    ///
    /// # Errors
    /// When the file can not be read.
    pub fn page_at(&self, segment: &Segment, size: u64, offset: u64) -> io::Result<Arc<Block>> {
        self.stretch(segment, size, offset / PAGE_BYTES, PAGE_BYTES)
    }

    /// Reads a block for one pass over everything, past the cache and into the memory of the block before.
    ///
    /// # Errors
    /// When the file can not be read.
    pub fn block_once(&self, segment: &Segment, size: u64, block: u64, buffer: Vec<u8>) -> io::Result<Block> {
        let next = self.first_record(segment, size, (block + 1) * BLOCK_BYTES)?;
        let key = Key { segment: segment.uid, boundary: block * BLOCK_BYTES, unit: BLOCK_BYTES };
        self.read(segment, size, key, next, buffer)
    }

    fn read(&self, segment: &Segment, size: u64, key: Key, next: u64, buffer: Vec<u8>) -> io::Result<Block> {
        let base = self.first_record(segment, size, key.boundary)?.min(next);
        let end = next.min(key.boundary + key.unit + LINE_BYTES);
        let bytes = segment.read_into(buffer, base, end)?;
        let (zone, reference, reading) = (self.zone.clone(), segment.modified(), segment.reading.clone());
        Ok(Block { base, next, bytes, spans: OnceLock::new(), zone, reference, reading, asides: Vec::new() })
    }

    /// The time of the first record with one from the boundary of a page on, or when the bytes there arrived.
    ///
    /// # Errors
    /// When the file can not be read.
    pub fn time_of_page(&self, snapshot: &Snapshot, part: &Part, page: u64) -> io::Result<Timestamp> {
        let key = (part.segment.uid, page);
        if let Some(known) = lock(&self.times).get(&key) {
            return Ok(*known);
        }
        let offset = self.first_record(&part.segment, part.size_bytes, page * PAGE_BYTES)?;
        let end = part.size_bytes.min(offset + STAMP_BYTES as u64);
        let line = part.segment.read(offset, end)?;
        let line = &line[..memchr::memchr(b'\n', &line).map_or(line.len(), |it| it + 1)];
        let mut reader = part.segment.reading.stamp_reader(&self.zone, part.segment.modified());
        let found = match reader.read(line).and_then(|it| it.time) {
            Some(time) => Some(time),
            None => {
                let page =
                    self.page_at(&part.segment, part.size_bytes, offset.min(part.size_bytes.saturating_sub(1)))?;
                page.spans().iter().find_map(Block::time_of)
            }
        };
        if let Some(found) = found
            && (page == 0 || part.segment.boundary(page).is_some())
        {
            let mut times = lock(&self.times);
            if times.len() >= MAX_KNOWN_TIMES {
                times.clear();
            }
            times.insert(key, found);
        }
        Ok(found.unwrap_or_else(|| snapshot.arrival(part, offset)))
    }

    /// The time of a source's first or last record, as far as a look at its edge tells.
    pub fn edge_time(&self, snapshot: &Snapshot, last: bool) -> Option<Timestamp> {
        let has_bytes = |it: &&Part| it.size_bytes > 0;
        let part = if last { snapshot.parts.iter().rfind(has_bytes) } else { snapshot.parts.iter().find(has_bytes) }?;
        let mut reader = part.segment.reading.stamp_reader(&self.zone, part.segment.modified());
        let mut time_of = |line: &[u8]| reader.read(line).and_then(|it| it.time);
        let (mut length, mut found) = (MARGIN_BYTES, None);
        // A record longer than this has no time that matters to a histogram.
        while found.is_none() && length <= BLOCK_BYTES {
            let start = if last { part.size_bytes.saturating_sub(length) } else { 0 };
            let bytes = part.segment.read(start, (start + length).min(part.size_bytes)).ok()?;
            // What stands before the first line end may be the rest of a line.
            let whole = if start > 0 { memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |it| it + 1) } else { 0 };
            let mut lines = bytes[whole..].split(|it| *it == b'\n');
            // The very last line may stand behind one that is newer.
            found = if last {
                lines.rev().filter_map(&mut time_of).take(NEWEST_LINES).max()
            } else {
                lines.find_map(&mut time_of)
            };
            if length >= part.size_bytes {
                break;
            }
            length *= 8;
        }
        let edge = if last { part.size_bytes - 1 } else { 0 };
        found.or_else(|| Some(snapshot.arrival(part, edge)))
    }

    /// Number of blocks in a segment of this size.
    pub fn blocks(size: u64) -> u64 {
        size.div_ceil(BLOCK_BYTES)
    }

    /// True when nothing that comes can change the records of a block.
    pub fn is_closed(segment: &Segment, block: u64) -> bool {
        segment.boundary((block + 1) * BLOCK_PAGES).is_some()
    }

    /// Where the first record begins that starts at or after a boundary, a multiple of `PAGE_BYTES`.
    ///
    /// # Errors
    /// When the file can not be read.
    fn first_record(&self, segment: &Segment, size: u64, boundary: u64) -> io::Result<u64> {
        if boundary == 0 || boundary >= size {
            return Ok(boundary.min(size));
        }
        let number = boundary / PAGE_BYTES;
        if let Some(known) = segment.boundary(number) {
            return Ok(known);
        }
        let mut region = Region::new(segment, size, boundary);
        let mut reader = segment.reading.stamp_reader(&self.zone, segment.modified());
        let Some(line_start) = region.line_start_from(boundary)? else { return Ok(size) };
        let found = region.first_record_from(line_start, &mut reader)?;
        // The line must be whole, or long enough that what comes cannot change what it is.
        if region.line_end(found)? < size || size - found > STAMP_BYTES as u64 {
            segment.keep_boundary(number, found);
            // A record longer than a page covers the boundaries behind it as well.
            for covered in number + 1..=found.saturating_sub(1) / PAGE_BYTES {
                segment.keep_boundary(covered, found);
            }
        }
        Ok(found)
    }
}

/// A growing stretch of a segment around a boundary.
struct Region<'a> {
    segment: &'a Segment,
    size: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Region<'a> {
    fn new(segment: &'a Segment, size: u64, around: u64) -> Self {
        Self { segment, size, start: around, bytes: Vec::new() }
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Extends the stretch to hold `start..end`; returns false when the bytes are not there any more.
    fn cover(&mut self, start: u64, end: u64) -> io::Result<bool> {
        let end = end.min(self.size);
        if self.bytes.is_empty() {
            self.start = start.saturating_sub(MARGIN_BYTES);
            self.bytes = self.segment.read(self.start, (end + MARGIN_BYTES).min(self.size))?;
        }
        if start < self.start {
            // At least doubling keeps the copying linear.
            let length = (self.bytes.len() as u64).max(self.start - start);
            let from = self.start.saturating_sub(length);
            let mut bytes = self.segment.read(from, self.start)?;
            bytes.append(&mut self.bytes);
            self.bytes = bytes;
            self.start = from;
        }
        if end > self.end() {
            let to = (end + self.bytes.len() as u64).min(self.size);
            let more = self.segment.read(self.end(), to)?;
            self.bytes.extend_from_slice(&more);
        }
        Ok(self.start <= start && end <= self.end())
    }

    fn slice(&self, start: u64, end: u64) -> &[u8] {
        let at = |offset: u64| usize::try_from(offset.saturating_sub(self.start)).unwrap_or(0).min(self.bytes.len());
        &self.bytes[at(start)..at(end).max(at(start))]
    }

    /// The first line that starts at or after an offset, `None` when there is none.
    fn line_start_from(&mut self, offset: u64) -> io::Result<Option<u64>> {
        let end = self.line_end(offset - 1)?;
        Ok((end < self.size).then_some(end))
    }

    /// Behind the line end of the line around an offset; the size when there is none.
    ///
    /// Lines longer than the stretch are read through in pieces that are not kept.
    fn line_end(&mut self, offset: u64) -> io::Result<u64> {
        self.cover(offset, offset + MARGIN_BYTES)?;
        if let Some(at) = memchr::memchr(b'\n', self.slice(offset, self.end())) {
            return Ok(offset + at as u64 + 1);
        }
        let mut at = self.end();
        while at < self.size {
            let piece = self.segment.read(at, (at + BLOCK_BYTES).min(self.size))?;
            if let Some(found) = memchr::memchr(b'\n', &piece) {
                return Ok(at + found as u64 + 1);
            }
            if piece.is_empty() {
                break;
            }
            at += piece.len() as u64;
        }
        Ok(self.size)
    }

    /// The start of the line that ends at `end` (behind its line end), or `None` when it is too long to matter.
    fn line_start_before(&mut self, end: u64) -> io::Result<Option<u64>> {
        let mut reach = MARGIN_BYTES;
        loop {
            let from = end.saturating_sub(reach);
            if !self.cover(from, end)? {
                return Ok(None);
            }
            if let Some(at) = memchr::memrchr(b'\n', self.slice(from, end - 1)) {
                return Ok(Some(from + at as u64 + 1));
            }
            if from == 0 {
                return Ok(Some(0));
            }
            if reach > LINE_BYTES {
                return Ok(None);
            }
            reach *= 4;
        }
    }

    fn has_stamp(&mut self, start: u64, reader: &mut StampReader) -> io::Result<bool> {
        self.cover(start, start + STAMP_BYTES as u64)?;
        let line = self.slice(start, start + STAMP_BYTES as u64);
        let line = &line[..memchr::memchr(b'\n', line).map_or(line.len(), |it| it + 1)];
        Ok(reader.has_stamp(line))
    }

    fn shape(&mut self, start: u64) -> io::Result<Shape> {
        self.cover(start, start + SHAPE_BYTES as u64)?;
        let line = self.slice(start, start + SHAPE_BYTES as u64);
        Ok(Shape::of(&line[..memchr::memchr(b'\n', line).map_or(line.len(), |it| it + 1)]))
    }

    /// The shapes of the lines before a line, the nearest one first.
    fn shapes_before(&mut self, start: u64) -> io::Result<[Shape; LINES_BEFORE]> {
        let mut shapes = [Shape::default(); LINES_BEFORE];
        let mut end = start;
        for shape in &mut shapes {
            if end == 0 {
                break;
            }
            let Some(line) = self.line_start_before(end)? else { break };
            if end - line <= LINE_BYTES {
                *shape = self.shape(line)?;
            }
            end = line;
        }
        Ok(shapes)
    }

    fn shape_continues(&mut self, start: u64) -> io::Result<bool> {
        let shape = self.shape(start)?;
        let [before, before_that] = self.shapes_before(start)?;
        Ok(shape.continues(before, before_that))
    }

    /// The first record at or after a line start.
    fn first_record_from(&mut self, start: u64, reader: &mut StampReader) -> io::Result<u64> {
        if self.has_stamp(start, reader)? {
            return Ok(start);
        }
        let (stamped, plain) = self.look_back(start, reader)?;
        let mut grouping = Grouping::after(stamped, plain, self.shapes_before(start)?);
        let mut at = start;
        while at < self.size {
            let end = self.line_end(at)?;
            let has_stamp = self.has_stamp(at, reader)?;
            let length = (end - at).min(STAMP_BYTES as u64);
            if grouping.begins(self.slice(at, at + length), has_stamp, at, end) {
                return Ok(at);
            }
            at = end;
        }
        Ok(self.size)
    }

    /// Finds the first line that the line at `start` may belong to, as going forward would have.
    fn look_back(&mut self, start: u64, reader: &mut StampReader) -> io::Result<(Option<Reach>, Option<Reach>)> {
        let stamped = self.stamped_before(start, reader)?;
        if stamped.is_some() || !self.shape_continues(start)? {
            return Ok((stamped, None));
        }
        let mut end = start;
        let mut lines = 0;
        while end > 0 && Reach::holds(end, lines + 1, start) {
            let Some(line) = self.line_start_before(end)? else {
                return Ok((None, Some(Reach { end, lines })));
            };
            if end - line > LINE_BYTES {
                return Ok((None, Some(Reach { end, lines })));
            }
            if !self.shape_continues(line)? {
                // That line may itself belong to a record with a timestamp further up; then it leads nothing.
                let swallowed = self.stamped_before(line, reader)?.is_some();
                return Ok((None, (!swallowed).then_some(Reach { end, lines })));
            }
            lines += 1;
            end = line;
        }
        Ok((None, None))
    }

    fn stamped_before(&mut self, start: u64, reader: &mut StampReader) -> io::Result<Option<Reach>> {
        let mut end = start;
        let mut lines = 0;
        while end > 0 && lines < GROUP_LINES && start - end <= GROUP_BYTES {
            let Some(line) = self.line_start_before(end)? else { return Ok(None) };
            if end - line > LINE_BYTES {
                return Ok(None);
            }
            if self.has_stamp(line, reader)? {
                return Ok(Some(Reach { end, lines }));
            }
            lines += 1;
            end = line;
        }
        Ok(None)
    }
}
