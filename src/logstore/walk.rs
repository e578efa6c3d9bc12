//! Walking through the matching records of a source, outward from a place.
//!
//! Nothing is sorted globally: each source is walked in its own order, and of several the walk with the next
//! time goes first (`merge`). A source whose clock jumps keeps its order.

pub mod ahead;
pub mod stretches;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::log::{GapKind, Level};
use crate::domain::query::matcher::Matcher;
use crate::logstore::block::reader::BlockReader;
use crate::logstore::block::{BLOCK_BYTES, Block, PAGE_BYTES};
use crate::logstore::place::{nanos_of, time_of};
use crate::logstore::scan::goal::{BlockId, Goal};
use crate::logstore::source::{GapMark, Snapshot};
use crate::logstore::store::StoreError;
use crate::logstore::store::pages::Pages;
use crate::logstore::store::reader::Leaf;
use crate::logstore::walk::stretches::{Next, Searched, StretchId, place_in};

/// A place between records of a source: index of the part, offset in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Index into `Snapshot::parts`.
    pub part: usize,
    /// Byte offset in its segment.
    pub offset: u64,
}

impl Place {
    /// Before everything.
    pub const START: Self = Self { part: 0, offset: 0 };

    /// Behind everything.
    pub fn end_of(snapshot: &Snapshot) -> Self {
        if snapshot.store.is_some() {
            return Self::STORE_END;
        }
        match snapshot.parts.last() {
            Some(last) => Self { part: snapshot.parts.len() - 1, offset: last.size_bytes },
            None => Self::START,
        }
    }
}

/// A record that passed.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where it is.
    pub place: Place,
    /// The block that owns it.
    pub block: Arc<Block>,
    /// Its index there.
    pub index: usize,
}

impl Found {
    /// Its level.
    pub fn level(&self) -> Option<Level> {
        self.block.level_of(&self.block.spans()[self.index])
    }

    /// Its bytes that can be shown and searched.
    pub fn length(&self) -> usize {
        let span = &self.block.spans()[self.index];
        (span.end - span.start) as usize
    }

    /// True when it passes a query.
    pub fn passes(&self, matcher: &Matcher, snapshot: &Snapshot) -> bool {
        let arrival = |offset| match snapshot.parts.get(self.place.part) {
            Some(part) => snapshot.arrival(part, offset),
            None => Timestamp::UNIX_EPOCH,
        };
        self.block.passes(self.index, matcher, &arrival)
    }

    /// Its own time.
    pub fn time(&self) -> Option<Timestamp> {
        Block::time_of(&self.block.spans()[self.index])
    }
}

/// What a walk meets.
#[derive(Debug, Clone)]
pub enum Item {
    /// A record that passed.
    Record(Found),
    /// Something missing; `is_tail` when it stands at the end of the source and may go away again.
    Gap {
        /// What.
        mark: GapMark,
        /// Where.
        place: Place,
        /// At the very end.
        is_tail: bool,
    },
}

/// An item with the time it is merged by.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Index of the source in the view.
    pub source: usize,
    /// Its time, or one that keeps it in its source's order.
    pub at: Timestamp,
    /// What was met.
    pub item: Item,
}

/// One step of a walk.
#[derive(Debug)]
pub enum Step {
    /// Something was met.
    Item(Placed),
    /// A block without matches was passed; there may be more.
    Pending,
    /// Nothing is left in this direction.
    End,
}

/// A time that the next item of a walk is not before (backward: not behind).
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// That time.
    pub at: Timestamp,
    /// A match has it.
    pub is_match: bool,
}

/// The way of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Towards newer records.
    Forward,
    /// Towards older records.
    Backward,
}

/// What all walks of a view share.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// Reads blocks.
    pub reader: &'a BlockReader,
    /// What passes.
    pub matcher: &'a Matcher,
    /// Blocks known to hold no match are passed without reading.
    pub known: Option<&'a Goal>,
    /// Bytes read at a time, a divisor of `BLOCK_BYTES`: pages for a window, blocks for a long way.
    pub unit: u64,
}

/// A walk through one source.
pub struct Walk<'a> {
    ground: Ground<'a>,
    snapshot: &'a Snapshot,
    source: usize,
    direction: Direction,
    /// Forward: next stretch to load. Backward: stretches below this one are left.
    stretch: u64,
    part: usize,
    /// Records before (backward: at or after) this place were passed already.
    from: Place,
    /// Backward: records before this place are not wanted.
    floor: Place,
    /// Forward: records at or behind this place are not wanted.
    ceiling: Place,
    loaded: Option<Arc<Block>>,
    /// See [`Searched::starts`].
    starts: Option<Vec<u64>>,
    /// The block that was searched last, and the part it is in.
    searched: Option<(usize, u64)>,
    /// Stretches that were read ahead, the next one first.
    ahead: VecDeque<(StretchId, io::Result<Searched>)>,
    /// Matches of the loaded stretch still to be met with their times, the next one last.
    hits: Vec<(u32, Option<Timestamp>)>,
    /// Of each of them whether it may be part of a run.
    plain: Vec<bool>,
    /// Runs are wanted.
    runs: bool,
    /// The gap between this part and the next one in the direction was met.
    gap_met: bool,
    tail_met: bool,
    ended: bool,
    last_at: Option<Timestamp>,
    /// The last time that a record had, not one by which it arrived.
    last_clock: Option<Timestamp>,
    /// The way through a store, instead of blocks.
    pages: Option<Pages>,
    /// The page that is loaded.
    leaf: Option<Arc<Leaf>>,
}

impl<'a> Walk<'a> {
    /// Starts at a place: forward meets records that begin at or after it, backward those before it.
    pub fn new(ground: Ground<'a>, snapshot: &'a Snapshot, source: usize, from: Place, direction: Direction) -> Self {
        let part = from.part.min(snapshot.parts.len().saturating_sub(1));
        let size = snapshot.parts.get(part).map_or(0, |it| it.size_bytes);
        let stretch = match direction {
            Direction::Forward => from.offset / ground.unit,
            Direction::Backward => from.offset.min(size).div_ceil(ground.unit),
        };
        Self {
            ground,
            snapshot,
            source,
            direction,
            stretch,
            part,
            from,
            floor: Place::START,
            ceiling: Place::STORE_END,
            loaded: None,
            starts: None,
            searched: None,
            ahead: VecDeque::new(),
            hits: Vec::new(),
            plain: Vec::new(),
            runs: false,
            gap_met: direction == Direction::Forward,
            tail_met: direction == Direction::Backward,
            ended: false,
            last_at: None,
            last_clock: None,
            pages: snapshot.store.as_ref().map(|it| Pages::new(it, ground.matcher, from, direction)),
            leaf: None,
        }
    }

    /// Starts at the very end (forward: at the very start) and meets the gap that stands there as well.
    #[must_use]
    pub fn from_the_edge(mut self) -> Self {
        match self.direction {
            Direction::Forward => self.gap_met = false,
            Direction::Backward => self.tail_met = false,
        }
        self
    }

    /// Forward: does not meet what is wrong at the end of the source.
    #[must_use]
    pub fn without_tail(mut self) -> Self {
        self.tail_met = true;
        self
    }

    /// Backward: leaves out records before this place.
    #[must_use]
    pub fn down_to(mut self, floor: Place) -> Self {
        self.floor = floor;
        if let Some(pages) = &mut self.pages {
            pages.down_to(floor);
        }
        self
    }

    /// Forward: leaves out records at or behind this place, and reads no further.
    #[must_use]
    pub fn up_to(mut self, ceiling: Place) -> Self {
        self.ceiling = ceiling;
        if let Some(pages) = &mut self.pages {
            pages.up_to(ceiling);
        }
        self
    }

    /// Forward: finds out which matches can be handed over at once, see [`Walk::take_run`]. Their times are not read
    /// where they need not be: it is the only walk, and nobody looks at them.
    #[must_use]
    pub fn in_runs(mut self) -> Self {
        self.runs = true;
        self
    }

    /// What it shares with the other walks of its view.
    pub fn ground(&self) -> Ground<'a> {
        self.ground
    }

    /// True while it goes through the part of this index.
    pub fn is_at(&self, part: usize) -> bool {
        self.part == part
    }

    /// The time that its next item is not before (backward: not behind), as far as a look at one line tells: that
    /// of the next match, when it is known where that stands, else that of the record at the edge of what it reads next.
    pub fn not_before(&self) -> Option<Bound> {
        if self.ended || self.pages.is_some() || !self.hits.is_empty() {
            return None;
        }
        let part = self.snapshot.parts.get(self.part)?;
        let Next { stretch, hit } = self.next();
        match self.direction {
            Direction::Forward => {
                let offset = stretch.saturating_mul(self.ground.unit);
                if !self.gap_met || (Place { part: self.part, offset }) >= self.ceiling {
                    return None;
                }
            }
            Direction::Backward => {
                if !self.tail_met || stretch == 0 {
                    return None;
                }
            }
        }
        let reader = self.ground.reader;
        if let Some(own) = hit.and_then(|it| reader.stamp_of_record(part, it)) {
            // Where a clock was set back in between, a match is merged by the time before that.
            let before = hit.filter(|_| self.direction == Direction::Backward);
            let before = before.and_then(|it| reader.stamp_of_page(part, it / PAGE_BYTES));
            return Some(Bound { at: before.map_or(own, |it| it.max(own)), is_match: true });
        }
        if stretch >= self.stretches() {
            return None;
        }
        let at = reader.stamp_of_page(part, stretch * self.ground.unit / PAGE_BYTES)?;
        Some(Bound { at, is_match: false })
    }

    /// True when nothing is left, as far as can be told without reading.
    pub fn is_over(&self) -> bool {
        if let Some(pages) = &self.pages {
            return self.ended
                || (self.hits.is_empty()
                    && pages.is_over()
                    && (self.direction == Direction::Backward || self.tail_is_met()));
        }
        self.ended
            || (self.hits.is_empty()
                && match self.direction {
                    Direction::Forward => {
                        self.part + 1 >= self.snapshot.parts.len()
                            && self.stretch >= self.stretches()
                            && self.tail_is_met()
                    }
                    Direction::Backward => self.part == 0 && self.stretch == 0,
                })
    }

    fn tail_is_met(&self) -> bool {
        self.tail_met || self.snapshot.tail.is_none()
    }

    fn stretches(&self) -> u64 {
        self.snapshot.parts.get(self.part).map_or(0, |it| it.size_bytes.div_ceil(self.ground.unit))
    }

    /// Stretches in a block.
    fn per_block(&self) -> u64 {
        BLOCK_BYTES / self.ground.unit
    }

    fn block_id(&self, part: usize, block: u64) -> BlockId {
        let part = &self.snapshot.parts[part];
        BlockId { segment: part.segment.uid, size: part.size_bytes, block }
    }

    /// Goes on to the next item, through at most one block.
    ///
    /// A block that can not be read is met as a gap and ends the walk: other sources go on without this one.
    pub fn step(&mut self) -> Step {
        if self.ended {
            return Step::End;
        }
        if self.direction == Direction::Backward && !self.tail_met {
            self.tail_met = true;
            if let Some(mark) = self.snapshot.tail.clone() {
                return Step::Item(self.gap(mark, Place::end_of(self.snapshot), true));
            }
        }
        if let Some(placed) = self.next_hit() {
            return Step::Item(placed);
        }
        if self.pages.is_some() {
            return self.step_pages();
        }
        match self.direction {
            Direction::Forward => self.step_forward(),
            Direction::Backward => self.step_backward(),
        }
    }

    fn step_forward(&mut self) -> Step {
        let offset = self.stretch.saturating_mul(self.ground.unit);
        if (Place { part: self.part, offset }) >= self.ceiling {
            self.ended = true;
            return Step::End;
        }
        if !self.gap_met {
            self.gap_met = true;
            if let Some(mark) = self.snapshot.parts.get(self.part).and_then(|it| it.gap.clone()) {
                return Step::Item(self.gap(mark, Place { part: self.part, offset: 0 }, false));
            }
        }
        self.stretch = self.next().stretch;
        if self.stretch < self.stretches() {
            if self.search_block(self.stretch) {
                return Step::Pending;
            }
            if let Err(error) = self.load(self.stretch) {
                return self.unreadable(&error);
            }
            self.stretch += 1;
            return Step::Pending;
        }
        if self.part + 1 < self.snapshot.parts.len() {
            self.part += 1;
            self.stretch = 0;
            self.gap_met = false;
            return Step::Pending;
        }
        if !self.tail_met {
            self.tail_met = true;
            if let Some(mark) = self.snapshot.tail.clone() {
                return Step::Item(self.gap(mark, Place::end_of(self.snapshot), true));
            }
        }
        self.ended = true;
        Step::End
    }

    fn step_backward(&mut self) -> Step {
        self.stretch = self.next().stretch;
        let offset = self.stretch.saturating_mul(self.ground.unit);
        let below_floor = (Place { part: self.part, offset }) <= self.floor;
        if self.stretch > 0 && !below_floor {
            if self.search_block(self.stretch - 1) {
                return Step::Pending;
            }
            self.stretch -= 1;
            if let Err(error) = self.load(self.stretch) {
                return self.unreadable(&error);
            }
            return Step::Pending;
        }
        if self.part < self.floor.part || (self.part == self.floor.part && self.floor.offset > 0) {
            self.ended = true;
            return Step::End;
        }
        if !self.gap_met {
            self.gap_met = true;
            if let Some(mark) = self.snapshot.parts.get(self.part).and_then(|it| it.gap.clone()) {
                return Step::Item(self.gap(mark, Place { part: self.part, offset: 0 }, false));
            }
        }
        if self.part > 0 {
            self.part -= 1;
            self.stretch = self.stretches();
            self.gap_met = false;
            return Step::Pending;
        }
        self.ended = true;
        Step::End
    }

    fn step_pages(&mut self) -> Step {
        let (Some(pages), Some(look)) = (&mut self.pages, &self.snapshot.store) else { return Step::End };
        let direction = self.direction;
        if let Some((kind, place)) = pages.take_gap(direction) {
            let mark = GapMark { kind, at: time_of(place) };
            return Step::Item(self.gap(mark, place, false));
        }
        if !pages.is_over() {
            return match pages.next(look, self.ground.matcher, self.floor, direction) {
                Ok((leaf, mut hits)) => {
                    hits.retain(|it| leaf.places[*it as usize] < self.ceiling);
                    let spans = leaf.block.spans();
                    self.hits = hits.iter().map(|it| (*it, Block::near_time_of(&spans[*it as usize]))).collect();
                    self.loaded = Some(leaf.block.clone());
                    self.leaf = Some(leaf);
                    Step::Pending
                }
                // Nobody looks at what was found so far.
                Err(StoreError::Stopped) => {
                    self.ended = true;
                    Step::End
                }
                Err(StoreError::Failed(why)) => self.unanswered(why),
            };
        }
        if direction == Direction::Forward && !self.tail_met {
            self.tail_met = true;
            if let Some(mark) = self.snapshot.tail.clone() {
                return Step::Item(self.gap(mark, Place::end_of(self.snapshot), true));
            }
        }
        self.ended = true;
        Step::End
    }

    /// Ends with a gap that says why.
    pub fn give_up(&mut self, why: &str) -> Step {
        self.hits.clear();
        if self.pages.is_some() {
            return self.unanswered(why.to_string());
        }
        if self.part < self.snapshot.parts.len() {
            return self.unreadable(&io::Error::other(why));
        }
        self.ended = true;
        Step::End
    }

    /// A store that does not answer: other sources go on without it.
    fn unanswered(&mut self, why: String) -> Step {
        self.ended = true;
        let kind = GapKind::Failed(why);
        // The source's own look at the store says so in the same words: once is enough.
        if self.snapshot.tail.as_ref().is_some_and(|it| it.kind == kind) {
            return Step::End;
        }
        let at = self.last_at.unwrap_or_else(|| time_of(self.from));
        let place = if self.last_at.is_some() { Place::of_instant(nanos_of(at)) } else { self.from };
        Step::Item(self.gap(GapMark { kind, at }, place, false))
    }

    fn unreadable(&mut self, error: &io::Error) -> Step {
        self.ended = true;
        let part = &self.snapshot.parts[self.part];
        let offset = (self.stretch * self.ground.unit).min(part.size_bytes);
        // A look at the file says so in the same words when it fails as well.
        let kind = GapKind::Failed(error.to_string());
        let mark = GapMark { kind, at: self.last_at.unwrap_or_else(|| part.segment.modified()) };
        Step::Item(self.gap(mark, Place { part: self.part, offset }, false))
    }

    fn next_hit(&mut self) -> Option<Placed> {
        let (index, at) = self.hits.pop()?;
        self.plain.pop();
        let index = index as usize;
        let block = self.loaded.clone()?;
        let place = match &self.leaf {
            Some(leaf) => leaf.places[index],
            None => place_in(self.part, &block, self.starts.as_deref(), index),
        };
        self.last_clock = at.or(self.last_clock);
        let at = at.unwrap_or_else(|| {
            // Without any time before it, it stands where it arrived, but with the records met before that have one.
            let part = self.snapshot.parts.get(self.part);
            let arrived = part.map_or(Timestamp::UNIX_EPOCH, |it| self.snapshot.arrival(it, place.offset));
            match self.direction {
                Direction::Forward => self.last_clock.unwrap_or(arrived),
                Direction::Backward => self.last_clock.map_or(arrived, |it| it.min(arrived)),
            }
        });
        self.last_at = Some(at);
        Some(Placed { source: self.source, at, item: Item::Record(Found { place, block, index }) })
    }

    fn gap(&mut self, mark: GapMark, place: Place, is_tail: bool) -> Placed {
        // A gap never stands before what it follows: the records have been met already.
        let at = match (self.last_at, self.direction) {
            (Some(last), _) if !is_tail => last,
            (Some(last), Direction::Forward) => mark.at.max(last),
            (Some(last), Direction::Backward) => mark.at.min(last),
            (None, _) => mark.at,
        };
        if !is_tail {
            self.last_at = Some(at);
        }
        Placed { source: self.source, at, item: Item::Gap { mark, place, is_tail } }
    }
}
