//! Reads blocks and pages of segments and keeps the last ones, and finds the times they begin with.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::logstore::block::region::{MARGIN_BYTES, Region};
use crate::logstore::block::{BLOCK_BYTES, Block, PAGE_BYTES};
use crate::logstore::record::LINE_BYTES;
use crate::logstore::segment::{Segment, lock};
use crate::logstore::source::{Part, Snapshot};
use crate::logstore::stamp::STAMP_BYTES;

/// Pages in a block.
const BLOCK_PAGES: u64 = BLOCK_BYTES / PAGE_BYTES;
/// Bytes of pages and blocks kept after use: scrolling back and forth does not read again. A filter reads a page for
/// every match of its window, so that more would soon be all there is.
const MIN_CACHED_BYTES: usize = 4 << 20;
/// Bytes kept for each segment where there are many: the page of a place and those beside it, in 170 sources.
const CACHED_BYTES_EACH: usize = 96 << 10;
const MAX_CACHED_BYTES: usize = 16 << 20;
/// Bytes of pages that stay of a file when it is emptied: some screens, so that what is looked at does not go.
const MAX_REMAINS_BYTES: usize = 128 << 10;
/// Times of pages kept for the search for a time, and of records for that of what comes next: some 3 MB each.
const MAX_KNOWN_TIMES: usize = 50_000;
/// Last lines of a file of which one is the newest: threads of a program overtake each other.
const NEWEST_LINES: usize = 4;

/// Reads blocks and keeps the last ones.
#[derive(Debug)]
pub struct BlockReader {
    zone: TimeZone,
    cache: Mutex<Cache>,
    /// Time of the first record of a page, by segment and page.
    times: Mutex<HashMap<(u64, u64), Timestamp>>,
    /// Time of the record at an offset, by segment and offset.
    stamps: Mutex<HashMap<(u64, u64), Timestamp>>,
}

/// The stretches that were used last.
#[derive(Debug, Default)]
struct Cache {
    kept: HashMap<Key, (u64, Arc<Block>)>,
    /// Uses so far; each entry has the number of its last.
    uses: u64,
    bytes: usize,
    /// What they may come to, as of the last time that there was more.
    bound_bytes: usize,
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
        if self.bytes <= MIN_CACHED_BYTES.max(self.bound_bytes) {
            return;
        }
        let segments: HashSet<u64> = self.kept.keys().map(|it| it.segment).collect();
        self.bound_bytes = (segments.len() * CACHED_BYTES_EACH).clamp(MIN_CACHED_BYTES, MAX_CACHED_BYTES);
        if self.bytes > self.bound_bytes {
            // A quarter goes at once, so that a long way through a log does not sort at every step.
            let mut by_use: Vec<(u64, Key)> = self.kept.iter().map(|(key, (used, _))| (*used, *key)).collect();
            by_use.sort_unstable_by_key(|it| it.0);
            for (_, key) in by_use {
                if self.bytes <= self.bound_bytes / 4 * 3 {
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
        Self { zone, cache: Mutex::default(), times: Mutex::default(), stamps: Mutex::default() }
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

    /// What was read last of a segment whose bytes are gone, whole records: where they began, and their bytes.
    pub fn remains(&self, segment: &Segment) -> Option<(u64, Vec<u8>)> {
        let cache = lock(&self.cache);
        let is_its = |key: &Key| key.segment == segment.uid && key.unit == PAGE_BYTES;
        let its = cache.kept.iter().filter(|(key, _)| is_its(key));
        let mut pages: Vec<&Block> = its.map(|(_, (_, page))| page.as_ref()).collect();
        pages.sort_unstable_by_key(|it| std::cmp::Reverse((it.next, it.base)));
        let (mut next, mut bytes) = (pages.first()?.next, 0);
        let fits = |it: &&Block| {
            let is_next = it.next == next && it.next == it.base + it.bytes.len() as u64;
            next = it.base;
            bytes += it.bytes.len();
            is_next && bytes <= MAX_REMAINS_BYTES
        };
        let last: Vec<&Block> = pages.into_iter().take_while(fits).collect();
        let text: Vec<u8> = last.iter().rev().flat_map(|it| &it.bytes).copied().collect();
        Some((last.last()?.base, text)).filter(|it| !it.1.is_empty())
    }

    fn read(&self, segment: &Segment, size: u64, key: Key, next: u64, buffer: Vec<u8>) -> io::Result<Block> {
        let base = self.first_record(segment, size, key.boundary)?.min(next);
        let end = next.min(key.boundary + key.unit + LINE_BYTES);
        let bytes = segment.read_into(buffer, base, end)?;
        let (zone, reference, reading) = (self.zone.clone(), segment.modified(), segment.reading.clone());
        let (breaks, asides) = (segment.breaks_in(base..base + bytes.len() as u64), Vec::new());
        Ok(Block { base, next, bytes, spans: OnceLock::new(), zone, reference, reading, asides, breaks })
    }

    /// The time of the first record from the boundary of a page on, when it says one in its first line.
    pub fn stamp_of_page(&self, part: &Part, page: u64) -> Option<Timestamp> {
        let key = (part.segment.uid, page);
        if let Some(known) = lock(&self.times).get(&key) {
            return Some(*known);
        }
        let offset = self.first_record(&part.segment, part.size_bytes, page * PAGE_BYTES).ok()?;
        let found = self.stamp_at(part, offset).ok().flatten()?;
        self.keep_time(part, page, found);
        Some(found)
    }

    /// The time of the record at an offset, when it says one in its first line. It is kept: the next match of each
    /// source is asked for with every window.
    pub fn stamp_of_record(&self, part: &Part, offset: u64) -> Option<Timestamp> {
        let key = (part.segment.uid, offset);
        if let Some(known) = lock(&self.stamps).get(&key) {
            return Some(*known);
        }
        let found = self.stamp_at(part, offset).ok().flatten()?;
        // What is still written may turn out to say something else.
        if part.segment.boundary(offset / PAGE_BYTES + 1).is_some() {
            let mut stamps = lock(&self.stamps);
            if stamps.len() >= MAX_KNOWN_TIMES {
                stamps.clear();
            }
            stamps.insert(key, found);
        }
        Some(found)
    }

    /// The time of the record at an offset, when it says one in its first line.
    fn stamp_at(&self, part: &Part, offset: u64) -> io::Result<Option<Timestamp>> {
        let end = part.size_bytes.min(offset + STAMP_BYTES as u64);
        let line = part.segment.read(offset, end)?;
        let line = &line[..memchr::memchr(b'\n', &line).map_or(line.len(), |it| it + 1)];
        let mut reader = part.segment.reading.stamp_reader(&self.zone, part.segment.modified());
        Ok(reader.read(line).and_then(|it| it.time))
    }

    fn keep_time(&self, part: &Part, page: u64, found: Timestamp) {
        if page > 0 && part.segment.boundary(page).is_none() {
            return;
        }
        let mut times = lock(&self.times);
        if times.len() >= MAX_KNOWN_TIMES {
            times.clear();
        }
        times.insert((part.segment.uid, page), found);
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
        let found = match self.stamp_at(part, offset)? {
            Some(time) => Some(time),
            None => {
                let page =
                    self.page_at(&part.segment, part.size_bytes, offset.min(part.size_bytes.saturating_sub(1)))?;
                page.spans().iter().find_map(Block::time_of)
            }
        };
        if let Some(found) = found {
            self.keep_time(part, page, found);
        }
        Ok(found.unwrap_or_else(|| snapshot.arrival(part, offset)))
    }

    /// The times by which records of a block (their indices, ascending) are merged, see [`Block::clock_of`]: also of
    /// those before its first time. They go with what stands before them in their source. Where that has no time
    /// either they go where they arrived, but not behind the first time after them. `None` where no time is near.
    pub fn clocks(
        &self,
        snapshot: &Snapshot,
        part: &Part,
        block: &Block,
        records: &[u32],
    ) -> Vec<(u32, Option<Timestamp>)> {
        let mut clocks = block.clock_of(records);
        if clocks.first().is_none_or(|(_, at)| at.is_some()) {
            return clocks;
        }
        let before = self.clock_before(part, block);
        let after = block.spans().iter().find_map(Block::near_time_of);
        for (index, at) in clocks.iter_mut().take_while(|(_, at)| at.is_none()) {
            let arrived = || snapshot.arrival(part, block.base + u64::from(block.spans()[*index as usize].start));
            *at = before.or_else(|| after.map(|it| it.min(arrived())));
        }
        clocks
    }

    /// The time by which the last record before a block is merged, as far as the page before it tells.
    fn clock_before(&self, part: &Part, block: &Block) -> Option<Timestamp> {
        let page = (block.base / PAGE_BYTES).checked_sub(1)?;
        let page = self.stretch(&part.segment, part.size_bytes, page, PAGE_BYTES).ok()?;
        let last = u32::try_from(page.spans().len()).ok()?.checked_sub(1)?;
        page.clock_of(&[last]).first()?.1
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

    /// Where the first record of a block begins.
    ///
    /// # Errors
    /// When the file can not be read.
    pub fn start_of_block(&self, part: &Part, block: u64) -> io::Result<u64> {
        self.first_record(&part.segment, part.size_bytes, block * BLOCK_BYTES)
    }

    /// True when a segment of this size has all of the records of a block, and nothing that comes can change them. The
    /// boundary behind it alone does not tell: who looked later may have found that in a longer file.
    pub fn is_closed(segment: &Segment, size: u64, block: u64) -> bool {
        segment.boundary((block + 1) * BLOCK_PAGES).is_some_and(|it| it <= size)
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
        // Boundaries in one line have the same record behind them.
        let last = (line_start - 1) / PAGE_BYTES;
        if last > number
            && let Some(known) = segment.boundary(last)
        {
            segment.keep_boundary(number, known);
            return Ok(known);
        }
        let found = region.first_record_from(line_start, &mut reader)?;
        // The line must be whole, or long enough that what comes cannot change what it is.
        if region.line_end(found)? < size || size - found > STAMP_BYTES as u64 {
            segment.keep_boundary(number, found);
            // A record longer than a page covers the boundaries behind it as well.
            for covered in number + 1..=found.saturating_sub(1) / PAGE_BYTES {
                if segment.boundary(covered).is_some() {
                    break;
                }
                segment.keep_boundary(covered, found);
            }
        }
        Ok(found)
    }
}
