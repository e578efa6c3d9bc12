//! Walking through the matching records of sources, outward from a place, merged by time.
//!
//! Nothing is sorted globally: each source is walked in its own order, and the walk with the next time
//! goes first. A source whose clock jumps keeps its order, because its time never runs against the walk.

use std::io;
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::log::{Cursor, GapKind, Level, Position};
use crate::domain::query::matcher::Matcher;
use crate::logstore::block::{BLOCK_BYTES, Block, BlockReader};
use crate::logstore::scan::{BlockId, Goal};
use crate::logstore::source::{GapMark, Snapshot};
use crate::logstore::store::StoreError;
use crate::logstore::store::pages::Pages;
use crate::logstore::store::reader::Leaf;

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
}

/// A walk through one source.
pub struct Walk<'a> {
    ground: Ground<'a>,
    snapshot: &'a Snapshot,
    source: usize,
    direction: Direction,
    /// Forward: next block to load. Backward: blocks below this one are left.
    block: u64,
    part: usize,
    /// Records before (backward: at or after) this place were passed already.
    from: Place,
    /// Backward: records before this place are not wanted.
    floor: Place,
    loaded: Option<Arc<Block>>,
    /// Matches of the loaded block still to be met, the next one last.
    hits: Vec<u32>,
    /// The gap between this part and the next one in the direction was met.
    gap_met: bool,
    tail_met: bool,
    ended: bool,
    last_at: Option<Timestamp>,
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
        let block = match direction {
            Direction::Forward => BlockReader::block_at(from.offset),
            Direction::Backward if from.offset == 0 => 0,
            Direction::Backward => BlockReader::block_at(from.offset).saturating_add(1).min(BlockReader::blocks(size)),
        };
        Self {
            ground,
            snapshot,
            source,
            direction,
            block,
            part,
            from,
            floor: Place::START,
            loaded: None,
            hits: Vec::new(),
            gap_met: direction == Direction::Forward,
            tail_met: direction == Direction::Backward,
            ended: false,
            last_at: None,
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
                        self.part + 1 >= self.snapshot.parts.len() && self.block >= self.blocks() && self.tail_is_met()
                    }
                    Direction::Backward => self.part == 0 && self.block == 0,
                })
    }

    fn tail_is_met(&self) -> bool {
        self.tail_met || self.snapshot.tail.is_none()
    }

    fn blocks(&self) -> u64 {
        self.snapshot.parts.get(self.part).map_or(0, |it| BlockReader::blocks(it.size_bytes))
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
        if !self.gap_met {
            self.gap_met = true;
            if let Some(mark) = self.snapshot.parts.get(self.part).and_then(|it| it.gap.clone()) {
                return Step::Item(self.gap(mark, Place { part: self.part, offset: 0 }, false));
            }
        }
        if self.block < self.blocks() {
            if let Err(error) = self.load(self.block) {
                return self.unreadable(&error);
            }
            self.hits.reverse();
            self.block += 1;
            return Step::Pending;
        }
        if self.part + 1 < self.snapshot.parts.len() {
            self.part += 1;
            self.block = 0;
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
        let below_floor = (Place { part: self.part, offset: self.block.saturating_mul(BLOCK_BYTES) }) <= self.floor;
        if self.block > 0 && !below_floor {
            self.block -= 1;
            if let Err(error) = self.load(self.block) {
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
            self.block = self.blocks();
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
                Ok((leaf, hits)) => {
                    self.loaded = Some(leaf.block.clone());
                    self.leaf = Some(leaf);
                    self.hits = hits;
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
        let offset = (self.block * BLOCK_BYTES).min(part.size_bytes);
        // A look at the file says so in the same words when it fails as well.
        let kind = GapKind::Failed(error.to_string());
        let mark = GapMark { kind, at: self.last_at.unwrap_or_else(|| part.segment.modified()) };
        Step::Item(self.gap(mark, Place { part: self.part, offset }, false))
    }

    fn load(&mut self, block: u64) -> io::Result<()> {
        let part = &self.snapshot.parts[self.part];
        let id = BlockId { segment: part.segment.uid, size: part.size_bytes, block };
        if self.ground.known.is_some_and(|it| it.has_none(id)) {
            return Ok(());
        }
        // Matches are looked for before the records are split: most blocks of a rare match end here.
        let loaded = self.ground.reader.block(&part.segment, part.size_bytes, block)?;
        self.hits = loaded.matches(self.ground.matcher, &|offset| self.snapshot.arrival(part, offset));
        if !self.hits.is_empty() {
            let (index, from, floor) = (self.part, self.from, self.floor);
            let place =
                |it: u32| Place { part: index, offset: loaded.base + u64::from(loaded.spans()[it as usize].start) };
            match self.direction {
                Direction::Forward => self.hits.retain(|it| place(*it) >= from),
                Direction::Backward => self.hits.retain(|it| place(*it) < from && place(*it) >= floor),
            }
        }
        self.loaded = Some(loaded);
        Ok(())
    }

    fn next_hit(&mut self) -> Option<Placed> {
        let index = self.hits.pop()? as usize;
        let block = self.loaded.clone()?;
        let span = &block.spans()[index];
        let place = match &self.leaf {
            Some(leaf) => leaf.places[index],
            None => Place { part: self.part, offset: block.base + u64::from(span.start) },
        };
        let own = Block::time_of(span);
        let at = own.unwrap_or_else(|| match self.direction {
            // Lines without a time stay with the timed ones before them; without any, they stand where they arrived.
            Direction::Forward => {
                let arrived = self.snapshot.arrival(&self.snapshot.parts[self.part], place.offset);
                self.last_at.unwrap_or(arrived)
            }
            Direction::Backward => self.snapshot.arrival(&self.snapshot.parts[self.part], place.offset),
        });
        let at = self.in_order(at);
        Some(Placed { source: self.source, at, item: Item::Record(Found { place, block, index }) })
    }

    fn gap(&mut self, mark: GapMark, place: Place, is_tail: bool) -> Placed {
        let at = if is_tail { mark.at } else { self.last_at.unwrap_or(mark.at) };
        let at = self.in_order(at);
        Placed { source: self.source, at, item: Item::Gap { mark, place, is_tail } }
    }

    fn in_order(&mut self, at: Timestamp) -> Timestamp {
        let at = match (self.last_at, self.direction) {
            (Some(last), Direction::Forward) => at.max(last),
            (Some(last), Direction::Backward) => at.min(last),
            (None, _) => at,
        };
        self.last_at = Some(at);
        at
    }
}

/// Several walks in one direction, merged by time.
pub struct Merge<'a> {
    walks: Vec<Walk<'a>>,
    heads: Vec<Head>,
    direction: Direction,
}

enum Head {
    Unknown,
    Item(Placed),
    End,
}

impl<'a> Merge<'a> {
    /// Merges walks; all go in `direction`.
    pub fn new(walks: Vec<Walk<'a>>, direction: Direction) -> Self {
        let heads = walks.iter().map(|_| Head::Unknown).collect();
        Self { walks, heads, direction }
    }

    /// The way all walks go.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// True when nothing is left, as far as can be told without reading.
    pub fn is_over(&self) -> bool {
        self.heads.iter().zip(&self.walks).all(|(head, walk)| match head {
            Head::Unknown => walk.is_over(),
            Head::Item(_) => false,
            Head::End => true,
        })
    }

    /// Goes on, through at most one block.
    pub fn step(&mut self) -> Step {
        for (head, walk) in self.heads.iter_mut().zip(&mut self.walks) {
            if matches!(head, Head::Unknown) {
                match walk.step() {
                    Step::Item(placed) => *head = Head::Item(placed),
                    Step::End => *head = Head::End,
                    Step::Pending => return Step::Pending,
                }
            }
        }
        let heads = self.heads.iter().enumerate().filter_map(|(index, head)| match head {
            Head::Item(placed) => Some((placed.at, index)),
            _ => None,
        });
        let chosen = match self.direction {
            Direction::Forward => heads.min(),
            Direction::Backward => heads.max(),
        };
        let Some((_, index)) = chosen else { return Step::End };
        match std::mem::replace(&mut self.heads[index], Head::Unknown) {
            Head::Item(placed) => Step::Item(placed),
            Head::Unknown | Head::End => Step::Pending,
        }
    }
}

/// The place of a source's last record, or where the last block begins when it can not be read.
pub fn last_record(reader: &BlockReader, snapshot: &Snapshot) -> Place {
    if snapshot.store.is_some() {
        // A store's records do not grow, and new ones come with a new epoch.
        return Place::STORE_END;
    }
    let Some(part) = snapshot.parts.last() else { return Place::START };
    let index = snapshot.parts.len() - 1;
    let mut block = BlockReader::blocks(part.size_bytes);
    while block > 0 {
        block -= 1;
        let Ok(read) = reader.block(&part.segment, part.size_bytes, block) else {
            return Place { part: index, offset: block * BLOCK_BYTES };
        };
        if let Some(span) = read.spans().last() {
            return Place { part: index, offset: read.base + u64::from(span.start) };
        }
    }
    Place { part: index, offset: 0 }
}

fn nanos_of(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

fn time_of(place: Place) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(place.instant())).unwrap_or(Timestamp::MAX)
}

/// The position of a place, as others see it.
pub fn position(snapshot: &Snapshot, place: Place, time: Option<Timestamp>) -> Position {
    if let Some(look) = &snapshot.store {
        let tie = look.reader.tie_at(place).map_or_else(String::new, |it| format!("{it:016x}"));
        let cursor = Cursor::Store { nanos: place.instant(), tie };
        return Position { time, source: snapshot.source.id.clone(), cursor };
    }
    let segment = snapshot.parts.get(place.part).map(|it| &it.segment);
    Position {
        time,
        source: snapshot.source.id.clone(),
        cursor: Cursor::File {
            segment: segment.map_or(0, |it| it.number),
            device: segment.map_or(0, |it| it.device),
            inode: segment.map_or(0, |it| it.inode),
            offset: place.offset,
        },
    }
}

/// The place of a position of this source; the nearest one when its segment is gone.
pub fn place(snapshot: &Snapshot, cursor: &Cursor) -> Place {
    if let (Some(look), Cursor::Store { nanos, tie }) = (&snapshot.store, cursor) {
        return match u64::from_str_radix(tie, 16) {
            Ok(tie) => look.reader.place_of(*nanos, tie, &look.stop),
            Err(_) => Place::of_instant(*nanos),
        };
    }
    let Cursor::File { segment, device, inode, offset } = cursor else { return Place::START };
    let is_same = |it: &crate::logstore::source::Part| it.segment.device == *device && it.segment.inode == *inode;
    let by_number = snapshot.parts.iter().position(|it| it.segment.number == *segment && is_same(it));
    // After a restart the numbers begin again, but the file is still the same one.
    let part = by_number.or_else(|| snapshot.parts.iter().position(is_same));
    match part {
        Some(part) => Place { part, offset: (*offset).min(snapshot.parts[part].size_bytes) },
        None if snapshot.parts.first().is_some_and(|it| *segment < it.segment.number) => Place::START,
        None => Place::end_of(snapshot),
    }
}

/// The place before the first record at or after a time (`after_equal`: after those of the same time).
///
/// A block that can not be read counts as later, so that a walk from the place meets it.
pub fn seek(reader: &BlockReader, snapshot: &Snapshot, time: Timestamp, after_equal: bool) -> Place {
    if snapshot.store.is_some() {
        return Place::of_instant(nanos_of(time).saturating_add(i64::from(after_equal)));
    }
    let is_before = |it: Timestamp| if after_equal { it <= time } else { it < time };
    for (index, part) in snapshot.parts.iter().enumerate().rev() {
        // Blocks `..low` begin before the time.
        let (mut low, mut high) = (0, BlockReader::blocks(part.size_bytes));
        while low < high {
            let middle = low + (high - low) / 2;
            let first = reader.block(&part.segment, part.size_bytes, middle).ok().map(|block| {
                block.spans().iter().find_map(Block::time_of).unwrap_or_else(|| snapshot.arrival(part, block.base))
            });
            if first.is_some_and(is_before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low == 0 {
            continue;
        }
        let Ok(block) = reader.block(&part.segment, part.size_bytes, low - 1) else {
            return Place { part: index, offset: (low - 1) * BLOCK_BYTES };
        };
        let mut last = None;
        for span in block.spans() {
            let offset = block.base + u64::from(span.start);
            let at = Block::time_of(span).or(last).unwrap_or_else(|| snapshot.arrival(part, offset));
            last = Some(at);
            if !is_before(at) {
                return Place { part: index, offset };
            }
        }
        return Place { part: index, offset: block.next };
    }
    Place::START
}
