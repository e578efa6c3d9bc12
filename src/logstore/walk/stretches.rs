//! The stretches of a source that a walk reads: which of them may hold a match, and what they hold.
//!
//! What a count or a search knows of a block is used to pass over its pages. On a window's way blocks are searched
//! before pages of them are read, on a long way they are read ahead, by whoever has a core to spare.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;

use crate::logstore::block::reader::BlockReader;
use crate::logstore::block::{BLOCK_BYTES, Block, Times};
use crate::logstore::present;
use crate::logstore::scan;
use crate::logstore::scan::goal::Goal;
use crate::logstore::source::{Part, Snapshot};
use crate::logstore::walk::{Direction, Ground, Place, Walk};

/// The next stretch of a walk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    /// Its number (backward: of the one behind it), or the end of the part.
    pub(super) stretch: u64,
    /// Where in the segment the next match begins, when that is known.
    pub(super) hit: Option<u64>,
}

/// What is known of some stretches of a block without reading it.
enum Near {
    /// No record that passes begins there.
    Nothing,
    /// The nearest begins here.
    Hit(u64),
    /// Nothing is known.
    Unknown,
}

/// A stretch that was read and searched.
pub struct Searched {
    /// What holds the matches; missing when there are none.
    block: Option<Arc<Block>>,
    /// Matches with their times, in the walk's order, the next one last.
    hits: Vec<(u32, Option<Timestamp>)>,
    /// Where its records begin in their segment, when the block holds only those that pass.
    starts: Option<Vec<u64>>,
    /// Matches that may be part of a [`Run`], when runs are wanted.
    plain: Vec<bool>,
}

/// Matches that stand one behind the other and are presented as they are: they are handed over at once.
pub struct Run {
    block: Arc<Block>,
    range: Range<usize>,
    /// How many they are.
    pub records: u64,
    /// Where the last of them begins.
    pub last: Place,
    /// Its bytes.
    pub last_bytes: usize,
}

impl Run {
    /// The bytes of all, each with its line end.
    pub fn bytes(&self) -> &[u8] {
        &self.block.bytes[self.range.clone()]
    }
}

/// What it takes to read and search stretches of a walk.
#[derive(Clone, Copy)]
pub struct Search<'a> {
    ground: Ground<'a>,
    snapshot: &'a Snapshot,
    direction: Direction,
    from: Place,
    floor: Place,
    ceiling: Place,
    is_long: bool,
    runs: bool,
}

/// A part of a source, and a stretch of that.
pub type StretchId = (usize, u64);

impl<'a> Walk<'a> {
    /// The first stretch from here on that may hold a match, or the end.
    pub(super) fn next(&self) -> Next {
        let (per_block, stretches) = (self.per_block(), self.stretches());
        let mut stretch = self.stretch;
        match self.direction {
            Direction::Forward => {
                while stretch < stretches {
                    let end = (stretch / per_block + 1) * per_block;
                    match self.near(stretch / per_block, stretch..end) {
                        Near::Nothing => stretch = end,
                        Near::Hit(hit) => return Next { stretch: hit / self.ground.unit, hit: Some(hit) },
                        Near::Unknown => break,
                    }
                }
            }
            Direction::Backward => {
                while stretch > 0 {
                    let start = (stretch - 1) / per_block * per_block;
                    match self.near(start / per_block, start..stretch) {
                        Near::Nothing => stretch = start,
                        Near::Hit(hit) => return Next { stretch: hit / self.ground.unit + 1, hit: Some(hit) },
                        Near::Unknown => break,
                    }
                }
            }
        }
        Next { stretch, hit: None }
    }

    /// What is known of these stretches of a block of this part.
    fn near(&self, block: u64, stretches: Range<u64>) -> Near {
        let Some(goal) = self.ground.known else { return Near::Unknown };
        let id = self.block_id(self.part, block);
        if goal.has_none(id) {
            return Near::Nothing;
        }
        if self.per_block() == 1 {
            return Near::Unknown;
        }
        let Ok(base) = self.ground.reader.start_of_block(&self.snapshot.parts[self.part], block) else {
            return Near::Unknown;
        };
        // What lies below a floor is left in: a followed tail has no need to know all that was counted before it.
        let is_ahead = |offset: &u64| {
            let place = Place { part: self.part, offset: *offset };
            stretches.contains(&(offset / self.ground.unit))
                && (place < self.from) == (self.direction == Direction::Backward)
        };
        let nearest = goal.with_starts(id, |starts| {
            let mut offsets = starts.iter().map(|it| base + u64::from(*it)).filter(is_ahead);
            match self.direction {
                Direction::Forward => offsets.next(),
                Direction::Backward => offsets.next_back(),
            }
        });
        match nearest {
            Some(Some(hit)) => Near::Hit(hit),
            Some(None) => Near::Nothing,
            None => Near::Unknown,
        }
    }

    /// Searches the block of a stretch, when nothing is known of it and a pattern leads: what it holds is known to the
    /// windows around as well. Returns true when it did.
    pub(super) fn search_block(&mut self, stretch: u64) -> bool {
        let Some(goal) = self.ground.known.filter(|it| it.matcher.is_searched() && !it.matcher.asks_for_groups())
        else {
            return false;
        };
        let block = stretch / self.per_block();
        let here = Some((self.part, block));
        if self.per_block() == 1 || self.searched == here || goal.is_counted(self.block_id(self.part, block)) {
            return false;
        }
        self.searched = here;
        scan::search((self.ground.reader, goal), self.snapshot, &self.snapshot.parts[self.part], block);
        true
    }

    /// The next blocks of which nothing is known, the nearest first; none when something is known of the next one.
    pub fn unknown(&self, at_most: usize) -> Vec<(&'a Snapshot, &'a Part, u64)> {
        let mut found = Vec::new();
        let Some(goal) = self.ground.known.filter(|_| self.hits.is_empty() && self.pages.is_none() && !self.ended)
        else {
            return found;
        };
        let snapshot = self.snapshot;
        let parts: Vec<usize> = match self.direction {
            Direction::Forward => (self.part..snapshot.parts.len()).collect(),
            Direction::Backward => (self.floor.part..=self.part).rev().collect(),
        };
        for index in parts {
            let Some(part) = snapshot.parts.get(index) else { continue };
            let all = BlockReader::blocks(part.size_bytes);
            let is_first = index == self.part;
            let mut blocks: Box<dyn Iterator<Item = u64>> = match self.direction {
                Direction::Forward => Box::new(if is_first { self.stretch / self.per_block() } else { 0 }..all),
                Direction::Backward => {
                    let end = if is_first { self.stretch.div_ceil(self.per_block()).min(all) } else { all };
                    let floor = if index == self.floor.part { self.floor.offset / BLOCK_BYTES } else { 0 };
                    Box::new((floor..end).rev())
                }
            };
            while found.len() < at_most
                && let Some(block) = blocks.next()
            {
                let id = self.block_id(index, block);
                if goal.has_none(id) {
                    continue;
                }
                if goal.is_counted(id) {
                    return found;
                }
                found.push((snapshot, part, block));
            }
        }
        found
    }

    /// True when all of the source is gone through, a block at a time.
    pub fn is_long(&self) -> bool {
        self.ground.unit == BLOCK_BYTES && self.direction == Direction::Forward && self.pages.is_none()
    }

    /// The next stretches that have to be read, the nearest first; none while something that was read is left.
    pub fn to_read(&self, at_most: usize) -> Vec<StretchId> {
        let mut found = Vec::new();
        if !self.is_long() || self.ended || !self.hits.is_empty() || !self.ahead.is_empty() {
            return found;
        }
        for (index, part) in self.snapshot.parts.iter().enumerate().skip(self.part) {
            let first = if index == self.part { self.stretch } else { 0 };
            for stretch in first..part.size_bytes.div_ceil(self.ground.unit) {
                let place = Place { part: index, offset: stretch * self.ground.unit };
                if found.len() >= at_most || place >= self.ceiling {
                    return found;
                }
                let is_out = |it: &Goal| it.has_none(self.block_id(index, stretch / self.per_block()));
                if !self.ground.known.is_some_and(is_out) {
                    found.push((index, stretch));
                }
            }
        }
        found
    }

    /// Keeps what was read ahead, in order. What is missing between is read when it is its turn, and what follows again.
    pub fn keep_ahead(&mut self, stretch: StretchId, searched: io::Result<Searched>) {
        self.ahead.push_back((stretch, searched));
    }

    /// Meets all at once that is loaded and can be met so, up to a place.
    pub fn take_run(&mut self, ceiling: Place) -> Option<Run> {
        let block = self.loaded.clone()?;
        let mut run: Option<Run> = None;
        while let (Some((index, at)), Some(true)) = (self.hits.last().copied(), self.plain.last()) {
            let (span, last) =
                (&block.spans()[index as usize], place_in(self.part, &block, self.starts.as_deref(), index as usize));
            let (start, end) = (span.start as usize, span.end as usize);
            if last >= ceiling || run.as_ref().is_some_and(|it| it.range.end != start) {
                break;
            }
            let (from, records) = run.map_or((start, 0), |it| (it.range.start, it.records));
            run = Some(Run {
                block: block.clone(),
                range: from..end,
                records: records + 1,
                last,
                last_bytes: end - start,
            });
            self.last_clock = at.or(self.last_clock);
            self.last_at = at.or(self.last_at);
            self.hits.pop();
            self.plain.pop();
        }
        run
    }

    pub(super) fn load(&mut self, stretch: u64) -> io::Result<()> {
        let wanted = (self.part, stretch);
        let mut found = None;
        while found.is_none()
            && let Some((at, searched)) = self.ahead.pop_front()
        {
            // What is known by now to hold no match was passed.
            found = (at == wanted).then_some(searched);
        }
        let searched = match found {
            Some(searched) => searched?,
            None => self.search().read(wanted, &mut Vec::new())?,
        };
        (self.loaded, self.hits, self.starts) = (searched.block, searched.hits, searched.starts);
        self.plain = searched.plain;
        Ok(())
    }

    /// What it takes to read and search stretches, by whoever has a core to spare.
    pub fn search(&self) -> Search<'a> {
        Search {
            ground: self.ground,
            snapshot: self.snapshot,
            direction: self.direction,
            from: self.from,
            floor: self.floor,
            ceiling: self.ceiling,
            is_long: self.is_long(),
            runs: self.runs,
        }
    }

    /// Where it reads on.
    pub fn next_id(&self) -> StretchId {
        (self.part, self.next().stretch)
    }

    /// True when it has nothing more to meet without reading.
    pub fn is_dry(&self) -> bool {
        !self.ended && self.hits.is_empty() && self.ahead.is_empty()
    }
}

impl Search<'_> {
    /// Reads and searches a stretch; `buffer` is memory that serves one after the other.
    ///
    /// # Errors
    /// When the file can not be read.
    pub fn read(&self, (index, stretch): StretchId, buffer: &mut Vec<u8>) -> io::Result<Searched> {
        let (part, reader) = (&self.snapshot.parts[index], self.ground.reader);
        let arrival = |offset| self.snapshot.arrival(part, offset);
        let mut starts = None;
        let times = if self.runs { Times::Skipped } else { Times::Read };
        let block = if self.is_long {
            let block = reader.block_once(&part.segment, part.size_bytes, stretch, std::mem::take(buffer))?;
            match block.gather(self.ground.matcher, times, &arrival) {
                Some((gathered, its_starts)) => {
                    *buffer = block.bytes;
                    starts = Some(its_starts);
                    Arc::new(gathered)
                }
                None => Arc::new(block),
            }
        } else {
            reader.stretch(&part.segment, part.size_bytes, stretch, self.ground.unit)?
        };
        // Matches are looked for before the records are split: most stretches of a rare match end here.
        let mut hits = match &starts {
            Some(starts) => (0..u32::try_from(starts.len()).unwrap_or(u32::MAX)).collect(),
            None => block.matches(self.ground.matcher, &arrival),
        };
        if hits.is_empty() {
            return Ok(Searched { block: None, hits: Vec::new(), starts: None, plain: Vec::new() });
        }
        let place = |it: u32| place_in(index, &block, starts.as_deref(), it as usize);
        match self.direction {
            Direction::Forward => hits.retain(|it| place(*it) >= self.from && place(*it) < self.ceiling),
            Direction::Backward => hits.retain(|it| place(*it) < self.from && place(*it) >= self.floor),
        }
        // What was copied out of a block has been found by its times.
        let mut hits = match starts.is_some() || self.runs {
            true => block.clock_of(&hits),
            false => reader.clocks(self.snapshot, part, &block, &hits),
        };
        let is_whole = block.next == block.base + block.bytes.len() as u64;
        let is_plain = |it: &u32| {
            let span = &block.spans()[*it as usize];
            let record = block.bytes_of(span);
            record.ends_with(b"\n")
                && present::is_plain(record)
                && (is_whole || (span.end as usize) < block.bytes.len())
        };
        if self.direction == Direction::Forward {
            hits.reverse();
        }
        let plain = if self.runs { hits.iter().map(|(index, _)| is_plain(index)).collect() } else { Vec::new() };
        Ok(Searched { block: Some(block), hits, starts, plain })
    }
}

/// The place of a record of a block; `starts` says where its records begin when it holds only some of them.
pub(super) fn place_in(part: usize, block: &Block, starts: Option<&[u64]>, index: usize) -> Place {
    let own = || block.base + u64::from(block.spans()[index].start);
    Place { part, offset: starts.and_then(|it| it.get(index).copied()).unwrap_or_else(own) }
}
