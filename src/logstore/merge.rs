//! Several walks in one direction, merged by time.
//!
//! A walk whose next match is not known yet is searched no further than to the time of the next match that is
//! known: what lies behind that can not go first. Walks that have to read are stepped on all cores, and where matches are rare the blocks ahead of them are
//! searched on all cores as well, the nearest first. On a long way through everything what is found there is kept.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::logstore::scan::goal::Goal;
use crate::logstore::scan::scout;
use crate::logstore::segment::lock;
use crate::logstore::walk::ahead::Ahead;
use crate::logstore::walk::stretches::{Run, StretchId};
use crate::logstore::walk::{Bound, Direction, Ground, Place, Placed, Step, Walk};

/// Walks that have to read before they are stepped all at once, and before that is worth another thread: a step takes
/// some 30 µs, and a thread that has to wait for a busy core much longer.
const MIN_SHARED_WALKS: usize = 4;
const MIN_THREADED_WALKS: usize = 32;
/// Stretches without a match before the blocks ahead are searched.
const BARREN_STRETCHES: u32 = 4;
/// Blocks searched ahead at first, and at most: 4 and 64 MiB, the latter some milliseconds.
const FIRST_BLOCKS: usize = 16;
const MAX_BLOCKS: usize = 256;
/// A search ahead ends after so long, so that what was found before it is shown soon.
const MAX_LOOK: Duration = Duration::from_millis(8);
/// Blocks of a long way that are read ahead at first, and at most: 16 MiB, which take many times as long as starting
/// a thread does. So much is held where every record passes.
const FIRST_READ: usize = 4;
const MAX_READ: usize = 64;
/// Matches that end a search ahead: more than a screen.
const ENOUGH_MATCHES: u32 = 256;

/// A record is at most so much older than one before it: threads of a program overtake each other, and some
/// write late. A clock that is set back goes on in its source's order.
const DISORDER: SignedDuration = SignedDuration::from_secs(1);

/// Several walks in one direction, merged by time.
pub struct Merge<'a> {
    walks: Vec<Walk<'a>>,
    heads: Vec<Option<Placed>>,
    queue: Queue,
    /// Walks whose next item is not known yet.
    unknown: Vec<usize>,
    /// Walks whose next item is not known, but not before this time.
    later: Queue,
    direction: Direction,
    help: Option<Help<'a>>,
    barren: u32,
    ahead: usize,
    /// Blocks to read ahead of a walk next time.
    read: usize,
    /// Memory that the threads read blocks into, one time after the other.
    buffers: Mutex<Vec<Vec<u8>>>,
    /// Reads ahead of the only walk there is.
    reading: Option<&'a Ahead<'a>>,
}

/// What it takes to use all cores.
#[derive(Clone, Copy)]
pub struct Help<'a> {
    /// Threads at work.
    pub threads: usize,
    /// Nobody waits for the answer any more when this says so.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// Walks by the time of their next item. Of one time, the first source is the older.
enum Queue {
    Forward(BinaryHeap<Reverse<(Timestamp, usize)>>),
    Backward(BinaryHeap<(Timestamp, usize)>),
}

impl Queue {
    fn push(&mut self, at: Timestamp, walk: usize) {
        match self {
            Self::Forward(heap) => heap.push(Reverse((at, walk))),
            Self::Backward(heap) => heap.push((at, walk)),
        }
    }

    fn pop(&mut self) -> Option<usize> {
        match self {
            Self::Forward(heap) => heap.pop().map(|Reverse((_, walk))| walk),
            Self::Backward(heap) => heap.pop().map(|(_, walk)| walk),
        }
    }

    fn peek(&self) -> Option<Timestamp> {
        match self {
            Self::Forward(heap) => heap.peek().map(|Reverse((at, _))| *at),
            Self::Backward(heap) => heap.peek().map(|(at, _)| *at),
        }
    }

    /// True when an item of this time, or one that is out of order, may go before the first.
    fn may_be_preceded(&self, at: Timestamp) -> bool {
        self.peek().is_none_or(|first| self.may_precede(at, first))
    }

    /// True when an item of a time, or one that is out of order, may go before one of another.
    fn may_precede(&self, at: Timestamp, first: Timestamp) -> bool {
        match self {
            Self::Forward(_) => at.duration_since(first) <= DISORDER,
            Self::Backward(_) => first.duration_since(at) <= DISORDER,
        }
    }

    fn walks(&self) -> Vec<usize> {
        match self {
            Self::Forward(heap) => heap.iter().map(|Reverse((_, walk))| *walk).collect(),
            Self::Backward(heap) => heap.iter().map(|(_, walk)| *walk).collect(),
        }
    }
}

impl<'a> Merge<'a> {
    /// Merges walks; all go in `direction`.
    pub fn new(walks: Vec<Walk<'a>>, direction: Direction) -> Self {
        let queue = || match direction {
            Direction::Forward => Queue::Forward(BinaryHeap::with_capacity(walks.len())),
            Direction::Backward => Queue::Backward(BinaryHeap::with_capacity(walks.len())),
        };
        let (queue, later) = (queue(), queue());
        let heads = walks.iter().map(|_| None).collect();
        let unknown = (0..walks.len()).rev().collect();
        Self {
            walks,
            heads,
            queue,
            unknown,
            later,
            direction,
            help: None,
            barren: 0,
            ahead: FIRST_BLOCKS,
            read: FIRST_READ,
            buffers: Mutex::default(),
            reading: None,
        }
    }

    /// Meets what is read ahead of the only walk there is.
    #[must_use]
    pub fn with_reading(mut self, ahead: &'a Ahead<'a>) -> Self {
        self.reading = Some(ahead);
        self
    }

    /// Uses all cores.
    #[must_use]
    pub fn with_help(mut self, help: Help<'a>) -> Self {
        self.help = (help.threads > 1).then_some(help);
        self
    }

    /// The way all walks go.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// True when nothing is left, as far as can be told without reading.
    pub fn is_over(&self) -> bool {
        let is_over = |it: &usize| self.walks[*it].is_over();
        self.queue.peek().is_none() && self.unknown.iter().all(is_over) && self.later.walks().iter().all(is_over)
    }

    /// Goes on, through at most one stretch of each walk.
    pub fn step(&mut self) -> Step {
        self.recall();
        if self.queue.peek().is_none() && self.unknown.len() >= MIN_SHARED_WALKS {
            self.postpone();
        }
        if let Some(ahead) = self.reading {
            self.take_ahead(ahead);
        } else if let Some(help) = self.help {
            if self.reads_ahead() {
                self.read_ahead(help);
            } else if self.unknown.len() >= MIN_SHARED_WALKS {
                self.step_all(help);
                return Step::Pending;
            } else if self.barren >= BARREN_STRETCHES {
                self.barren = 0;
                self.look_ahead(help);
            }
        }
        while let Some(index) = self.unknown.last().copied() {
            let step = guarded(&mut self.walks[index], Walk::step);
            if matches!(step, Step::Pending) {
                self.barren += 1;
                self.postpone();
                return Step::Pending;
            }
            self.unknown.pop();
            self.know(index, step);
            self.postpone();
        }
        // The first that is known may stand behind what was postponed for another.
        if self.recall() {
            return Step::Pending;
        }
        let Some(index) = self.queue.pop() else { return Step::End };
        self.unknown.push(index);
        match self.heads[index].take() {
            Some(placed) => Step::Item(placed),
            None => Step::Pending,
        }
    }

    /// Meets all at once that can be met so, up to a place: matches of the only walk there is.
    pub fn take_run(&mut self, ceiling: Place) -> Option<Run> {
        match (self.walks.as_mut_slice(), self.unknown.as_slice()) {
            ([walk], [0]) => walk.take_run(ceiling),
            _ => None,
        }
    }

    /// Takes back walks that may have an item before the first that is known. Returns true when there are any.
    fn recall(&mut self) -> bool {
        if self.queue.peek().is_none() && self.unknown.is_empty() {
            // Nothing is known: those with the nearest stretches go on.
            let nearest = self.later.peek();
            while nearest.zip(self.later.peek()).is_some_and(|(first, at)| first == at) {
                self.unknown.extend(self.later.pop());
            }
            return !self.unknown.is_empty();
        }
        let before = self.unknown.len();
        while self.queue.peek().is_some() && self.later.peek().is_some_and(|at| self.queue.may_be_preceded(at)) {
            self.unknown.extend(self.later.pop());
        }
        self.unknown.len() > before
    }

    /// Leaves walks for later that can not have an item before the first that is known, or before the nearest match of
    /// which it is known where it stands.
    fn postpone(&mut self) {
        let Self { walks, unknown, later, queue, direction, .. } = self;
        let bounds: Vec<Option<Bound>> = unknown.iter().map(|it| walks[*it].not_before()).collect();
        let matches = bounds.iter().flatten().filter(|it| it.is_match).map(|it| it.at);
        let nearest = match direction {
            Direction::Forward => matches.min(),
            Direction::Backward => matches.max(),
        };
        let Some(first) = queue.peek().or(nearest) else { return };
        let mut bounds = bounds.into_iter();
        unknown.retain(|walk| match bounds.next().flatten() {
            Some(Bound { at, .. }) if !queue.may_precede(at, first) => {
                later.push(at, *walk);
                false
            }
            _ => true,
        });
    }

    fn know(&mut self, index: usize, step: Step) {
        if let Step::Item(placed) = step {
            self.barren = 0;
            self.queue.push(placed.at, index);
            self.heads[index] = Some(placed);
        }
    }

    /// Steps all walks whose next item is not known, until it is or a stretch was read.
    fn step_all(&mut self, help: Help<'_>) {
        let mut is_unknown = vec![false; self.walks.len()];
        self.unknown.iter().for_each(|it| is_unknown[*it] = true);
        let mut walks: Vec<(usize, &mut Walk<'a>)> =
            self.walks.iter_mut().enumerate().filter(|(index, _)| is_unknown[*index]).collect();
        let step = |(index, walk): &mut (usize, &mut Walk<'a>)| {
            // A block is searched with the first step, a stretch of it read with the second, and its first match met
            // with the third.
            let step = guarded(walk, |walk| {
                let mut step = walk.step();
                for _ in 0..2 {
                    if matches!(step, Step::Pending) && !(help.stop)() {
                        step = walk.step();
                    }
                }
                step
            });
            (*index, step)
        };
        let threads = if walks.len() < MIN_THREADED_WALKS { 1 } else { help.threads };
        let share = walks.len().div_ceil(threads);
        let steps: Vec<(usize, Step)> = std::thread::scope(|scope| {
            let (own, others) = walks.split_at_mut(share);
            let others: Vec<_> = others
                .chunks_mut(share)
                .map(|walks| scope.spawn(move || walks.iter_mut().map(step).collect::<Vec<_>>()))
                .collect();
            let own: Vec<(usize, Step)> = own.iter_mut().map(step).collect();
            // No thread panics: what a walk does is guarded.
            own.into_iter().chain(others.into_iter().filter_map(|it| it.join().ok()).flatten()).collect()
        });
        let mut is_barren = true;
        for (index, step) in steps {
            if matches!(step, Step::Pending) {
                continue;
            }
            is_barren = false;
            is_unknown[index] = false;
            self.know(index, step);
        }
        self.unknown.retain(|it| is_unknown[*it]);
        self.postpone();
        self.barren += u32::from(is_barren);
        if self.barren >= BARREN_STRETCHES {
            self.barren = 0;
            self.look_ahead(help);
        }
    }

    /// Takes what was read ahead, when the walk has to read.
    fn take_ahead(&mut self, ahead: &Ahead<'_>) {
        let ([walk], [0]) = (self.walks.as_mut_slice(), self.unknown.as_slice()) else { return };
        if walk.is_dry() {
            let mut buffer = lock(&self.buffers).pop().unwrap_or_default();
            if let Some((stretch, searched)) = ahead.next(walk.next_id(), &mut buffer) {
                walk.keep_ahead(stretch, searched);
            }
            lock(&self.buffers).push(buffer);
        }
    }

    /// True when there is a long way to go, and few walks: what is read ahead of all of them is held in memory.
    fn reads_ahead(&self) -> bool {
        self.walks.len() * FIRST_READ <= MAX_READ && self.walks.iter().any(Walk::is_long)
    }

    /// Reads and searches the next blocks of the walks that have nothing left, on all cores.
    fn read_ahead(&mut self, help: Help<'_>) {
        let each = self.read.min(MAX_READ / self.walks.len().max(1));
        let stretches = |walk: usize| self.walks[walk].to_read(each).into_iter().map(move |it| (walk, it));
        let tasks: Vec<(usize, StretchId)> = self.unknown.iter().copied().flat_map(stretches).collect();
        if tasks.len() < 2 {
            return;
        }
        self.read = (self.read * 2).min(MAX_READ);
        let (walks, buffers, next) = (&self.walks, &self.buffers, AtomicUsize::new(0));
        let work = || {
            let (mut done, mut buffer) = (Vec::new(), lock(buffers).pop().unwrap_or_default());
            while !(help.stop)() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((walk, stretch)) = tasks.get(index) else { break };
                // What panics is read again when it is its turn, and is said then.
                let search = || walks[*walk].search().read(*stretch, &mut buffer);
                let Ok(searched) = catch_unwind(AssertUnwindSafe(search)) else { break };
                done.push((index, searched));
            }
            lock(buffers).push(buffer);
            done
        };
        let helpers = help.threads.min(tasks.len()) - 1;
        let mut done = std::thread::scope(|scope| {
            let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(work)).collect();
            let mut done = work();
            // No thread panics: what it searches is guarded.
            done.extend(helpers.into_iter().filter_map(|it| it.join().ok()).flatten());
            done
        });
        done.sort_unstable_by_key(|(index, _)| *index);
        for (index, searched) in done {
            let (walk, stretch) = tasks[index];
            self.walks[walk].keep_ahead(stretch, searched);
        }
    }

    /// Searches the next blocks of all walks that have to read, taking turns among them.
    fn look_ahead(&mut self, help: Help<'_>) {
        let Some((ground, goal)) = self.walks.first().and_then(Walk::ground_with_goal) else { return };
        let each = self.ahead.div_ceil(self.unknown.len().max(1));
        let ways: Vec<_> = self.unknown.iter().map(|it| self.walks[*it].unknown(each)).collect();
        let turns = ways.iter().map(Vec::len).max().unwrap_or(0);
        let blocks: Vec<_> =
            (0..turns).flat_map(|turn| ways.iter().filter_map(move |it| it.get(turn).copied())).collect();
        if blocks.is_empty() {
            return;
        }
        let (reader, goal): (_, &Goal) = (ground.reader, goal);
        let started = clock::monotonic();
        let stop = || (help.stop)() || clock::monotonic().duration_since(started) >= MAX_LOOK;
        scout((reader, goal), &blocks, help.threads, ENOUGH_MATCHES, &stop);
        self.ahead = (self.ahead * 4).min(MAX_BLOCKS);
    }
}

/// Steps a walk. One that panics ends with a gap: stepped again it would panic again, and others go on without it.
fn guarded<'a>(walk: &mut Walk<'a>, step: impl FnOnce(&mut Walk<'a>) -> Step) -> Step {
    match catch_unwind(AssertUnwindSafe(|| step(&mut *walk))) {
        Ok(step) => step,
        Err(_) => walk.give_up("not read on from here: hotseat made a mistake"),
    }
}

impl<'a> Walk<'a> {
    /// Its ground, when blocks can be searched ahead on it.
    fn ground_with_goal(&self) -> Option<(Ground<'a>, &'a Goal)> {
        let ground = self.ground();
        let goal = ground.known.filter(|it| !it.matcher.takes_all_records())?;
        Some((ground, goal))
    }
}
