//! Counts what passes queries in everything there is, newest block first, on all cores.
//!
//! Every block is summed up once per query and the summary kept, so that following adds only what is new,
//! a window passes over blocks without a match, and a narrower query skips what a wider one has ruled out.
//! The summaries of everything belong to the segments: queries for levels and times are answered from them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use jiff::Timestamp;

use crate::clock;
use crate::domain::log::{ChipCount, Counts, Histogram, HistogramRequest};
use crate::domain::query::matcher::Matcher;
use crate::logstore::block::{BLOCK_BYTES, Block, BlockReader};
use crate::logstore::record::floor_second;
use crate::logstore::segment::lock;
use crate::logstore::source::{Part, Snapshot};
use crate::logstore::summary::{Buckets, Collector, Detail, Summary};

/// Queries counted in one pass: everything, and what passes the chips up to each of them.
pub const MAX_GOALS: usize = 32;
/// Blocks summed up again for a histogram that is finer than their stripes (128 MiB, a tenth of a second).
/// There are more only where clocks run wild; then a stripe counts where it begins.
const MAX_REFINED_BLOCKS: usize = 512;
/// Below this many blocks the work is done before another thread has started.
const MIN_SHARED_BLOCKS: usize = 8;

/// Summaries of one query, by segment and block.
#[derive(Debug, Default)]
pub struct QueryCounts {
    segments: Mutex<HashMap<u64, SegmentCounts>>,
}

#[derive(Debug, Default)]
struct SegmentCounts {
    /// Blocks that can not change any more.
    closed: Vec<Option<Summary>>,
    /// The last blocks of a segment that was this long.
    open: Vec<(u64, u64, Summary)>,
}

/// One block of a segment as long as a snapshot says.
#[derive(Debug, Clone, Copy)]
pub struct BlockId {
    /// `Segment::uid`.
    pub segment: u64,
    /// Length of the segment.
    pub size: u64,
    /// Its number.
    pub block: u64,
}

impl QueryCounts {
    /// True when the block is known to hold no match.
    pub fn has_none(&self, id: BlockId) -> bool {
        self.with(id, |it| it.records == 0).unwrap_or(false)
    }

    /// Looks at a summary, when it is known.
    pub fn with<R>(&self, id: BlockId, look: impl FnOnce(&Summary) -> R) -> Option<R> {
        let segments = lock(&self.segments);
        let segment = segments.get(&id.segment)?;
        let closed = usize::try_from(id.block).ok().and_then(|it| segment.closed.get(it)?.as_ref());
        let open = || segment.open.iter().find(|(block, size, _)| (*block, *size) == (id.block, id.size));
        closed.or_else(|| open().map(|it| &it.2)).map(look)
    }

    fn put(&self, id: BlockId, is_closed: bool, summary: Summary) {
        let Ok(block) = usize::try_from(id.block) else { return };
        let mut segments = lock(&self.segments);
        let segment = segments.entry(id.segment).or_default();
        segment.open.retain(|(block, size, _)| *size == id.size && *block != id.block);
        if !is_closed {
            segment.open.push((id.block, id.size, summary));
            return;
        }
        if segment.closed.len() <= block {
            segment.closed.resize(block + 1, None);
        }
        segment.closed[block] = Some(summary);
    }

    /// Forgets segments that are gone.
    pub fn keep_only(&self, segments: &HashSet<u64>) {
        lock(&self.segments).retain(|uid, _| segments.contains(uid));
    }

    /// Memory it takes up.
    pub fn size_bytes(&self) -> usize {
        let of = |it: &Summary| size_of::<Option<Summary>>() + it.heap_bytes();
        let segments = lock(&self.segments);
        segments.values().map(|it| it.closed.iter().map(|it| it.as_ref().map_or(0, of)).sum::<usize>()).sum()
    }
}

/// One query with what is known of it.
#[derive(Debug, Clone)]
pub struct Goal {
    /// What passes.
    pub matcher: Arc<Matcher>,
    /// Its summaries.
    pub counts: Arc<QueryCounts>,
    /// Those of queries that let more pass: what they rule out need not be read.
    pub wider: Vec<Arc<QueryCounts>>,
    /// Those of everything.
    pub everything: Arc<QueryCounts>,
    /// Times and levels are wanted, not only how many.
    pub by_group: bool,
}

impl Goal {
    /// True when no record of the block passes, as far as is known without reading it.
    pub fn has_none(&self, id: BlockId) -> bool {
        self.counts.has_none(id)
            || self.wider.iter().any(|it| it.has_none(id))
            || self.everything.with(id, |it| it.rules_out(|group| self.decide(group))).unwrap_or(false)
    }

    /// Where in the block records may pass, when a wider query knows of few.
    fn starts_of_wider(&self, id: BlockId) -> Option<Box<[u32]>> {
        self.wider.iter().find_map(|it| it.with(id, |summary| summary.starts().map(Box::from)).flatten())
    }

    /// True when its matches in the block were counted.
    pub fn is_counted(&self, id: BlockId) -> bool {
        self.counts.with(id, |_| ()).is_some()
    }

    fn decide(&self, group: &crate::logstore::summary::Group) -> Option<bool> {
        self.matcher.passes_group(group.level(), (group.from, group.until))
    }

    /// Looks at the summary when it is known, as detailed as this and buckets of a length want it.
    fn with_known<R>(&self, id: BlockId, bucket_seconds: Option<i64>, look: impl FnOnce(&Summary) -> R) -> Option<R> {
        let suits =
            |it: &Summary| (!self.by_group || it.has_groups()) && bucket_seconds.is_none_or(|length| it.suits(length));
        self.counts.with(id, |it| suits(it).then(|| look(it))).flatten()
    }
}

/// Lets windows go before the work in the background.
#[derive(Debug, Default)]
pub struct Gate {
    windows: Mutex<usize>,
    free: Condvar,
}

/// A window is being built as long as this lives.
pub struct Passage<'a>(&'a Gate);

impl Gate {
    /// Holds the work in the background until the answer is dropped.
    pub fn hold(&self) -> Passage<'_> {
        *lock(&self.windows) += 1;
        Passage(self)
    }

    /// Waits while a window is being built.
    fn pass(&self) {
        let windows = lock(&self.windows);
        drop(self.free.wait_while(windows, |it| *it > 0).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        *lock(&self.0.windows) -= 1;
        self.0.free.notify_all();
    }
}

/// What is counted by [`Stream::count`](crate::logstore::stream::Stream::count).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Matches only: `Counts::scanned` stays 0 where the query need not know the records.
    Matches,
    /// All records as well.
    Records,
}

/// How and for what to count.
#[derive(Clone, Copy)]
pub struct Scan<'a> {
    /// Reads blocks.
    pub reader: &'a BlockReader,
    /// What is counted, at most `MAX_GOALS`; the last one is the query itself.
    pub goals: &'a [Goal],
    /// Wanted of the last goal.
    pub histogram: Option<&'a HistogramRequest>,
    /// Seconds that local time is ahead: days and hours of a histogram begin where those of the host do.
    pub phase: i64,
    /// Threads at work.
    pub threads: usize,
    /// Windows go first.
    pub gate: Option<&'a Gate>,
}

/// What was counted so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    goals: Vec<GoalTally>,
    buckets: Option<Buckets>,
    total_bytes: u64,
    /// The first goal is everything, which is what the others are a part of.
    begins_with_all: bool,
    complete: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct GoalTally {
    matched: u64,
    bytes: u64,
}

impl Tally {
    fn new(scan: Scan<'_>, snapshots: &[Snapshot]) -> Self {
        Self {
            goals: vec![GoalTally::default(); scan.goals.len()],
            buckets: scan.histogram.map(|it| buckets(scan, snapshots, it)),
            total_bytes: total_bytes(snapshots),
            begins_with_all: scan.goals.first().is_some_and(|it| it.matcher.is_empty()),
            complete: false,
        }
    }

    fn add(&mut self, goal: usize, summary: &Summary, bytes: u64) {
        self.goals[goal].matched += u64::from(summary.records);
        self.goals[goal].bytes += bytes;
        if goal + 1 == self.goals.len()
            && let Some(buckets) = &mut self.buckets
        {
            buckets.add(summary);
        }
    }

    /// The counts of the last goal, with those of the first as all there is.
    pub fn counts(&self) -> Counts {
        let (first, last) = (self.goals.first().copied(), self.goals.last().copied());
        Counts {
            matched: last.unwrap_or_default().matched,
            scanned: if self.begins_with_all { first.unwrap_or_default().matched } else { 0 },
            scanned_bytes: first.unwrap_or_default().bytes,
            total_bytes: self.total_bytes,
            complete: self.complete,
        }
    }

    /// The counts of chips: for each the goal before it and the one with it.
    pub fn chip_counts(&self, chips: &[(usize, usize)]) -> Vec<ChipCount> {
        let count = |(before, with): &(usize, usize)| {
            let (before, with) = (self.goals.get(*before)?, self.goals.get(*with)?);
            let complete = before.bytes.min(with.bytes) >= self.total_bytes;
            Some(ChipCount { matched: with.matched, of: before.matched, complete: self.complete || complete })
        };
        chips.iter().filter_map(count).collect()
    }

    /// The histogram, when one was asked for.
    pub fn histogram(&self) -> Option<Histogram> {
        let buckets = self.buckets.as_ref()?;
        Some(Histogram {
            from: Timestamp::from_second(buckets.from).unwrap_or_default(),
            bucket_seconds: u64::try_from(buckets.length).unwrap_or(1),
            buckets: buckets.buckets.clone(),
            scanned_bytes: self.goals.last().map_or(0, |it| it.bytes),
            total_bytes: self.total_bytes,
            complete: self.complete,
        })
    }
}

fn total_bytes(snapshots: &[Snapshot]) -> u64 {
    snapshots.iter().map(Snapshot::size_bytes).sum()
}

/// Empty buckets over the range that was asked for, as far as it is open over that of everything.
fn buckets(scan: Scan<'_>, snapshots: &[Snapshot], request: &HistogramRequest) -> Buckets {
    let edge_of = |snapshot: &Snapshot, last: bool| match &snapshot.store {
        Some(_) if last => Some(clock::now()),
        Some(look) => Timestamp::from_nanosecond(i128::from(look.reader.store().earliest())).ok(),
        None => scan.reader.edge_time(snapshot, last),
    };
    let edge = |last: bool| {
        let times = snapshots.iter().filter_map(|it| edge_of(it, last));
        if last { times.max() } else { times.min() }.map(floor_second)
    };
    let from = request.from.map(floor_second);
    // The end is not included.
    let until = request.until.map(|it| floor_second(it) - i64::from(it.subsec_nanosecond() == 0));
    let from_or_edge = from.or_else(|| edge(false)).or(until).unwrap_or(0);
    let range = (from_or_edge, until.or_else(|| edge(true)).unwrap_or(from_or_edge));
    Buckets::new(range, request.buckets, scan.phase, (from.is_none(), until.is_none()))
}

/// One block to count, and the goals it is not known for.
#[derive(Debug, Clone, Copy)]
struct Task {
    snapshot: usize,
    part: usize,
    block: u64,
    goals: u32,
}

/// Counts everything in the snapshots; `progress` hears of it after each block and cancels with `false`.
///
/// What it finds of files is kept with the goals; [`Totals::advance`] sums it up. Returns `None` when it was
/// cancelled. Blocks that can not be read count as empty.
pub fn count(
    scan: Scan<'_>,
    snapshots: &[Snapshot],
    progress: &(dyn Fn(&Mutex<Tally>) -> bool + Sync),
) -> Option<Totals> {
    let tally = Mutex::new(Tally::new(scan, snapshots));
    // The query itself first: its count and its histogram are looked at, the others are details. Where levels or
    // times tell, the summary of everything is on the way to it.
    let last = scan.goals.len().saturating_sub(1);
    let by_group = scan.goals.get(last).is_some_and(|it| it.matcher.asks_for_groups());
    let first_stage: u32 = (1 << last) | u32::from(by_group);
    let stages = [first_stage, ((1_u64 << (last + 1)) - 1) as u32 & !first_stage];
    let refined = AtomicUsize::new(0);
    for stage in stages.into_iter().filter(|it| *it != 0) {
        let tasks = tasks(scan, snapshots, stage, &tally);
        let next = AtomicUsize::new(0);
        let cancelled = AtomicBool::new(false);
        let work = |reports: bool| {
            let mut desk = Desk::default();
            while !cancelled.load(Ordering::Relaxed) {
                if let Some(gate) = scan.gate {
                    gate.pass();
                }
                let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                count_block(scan, snapshots, *task, &tally, &refined, &mut desk);
                if reports && !progress(&tally) {
                    cancelled.store(true, Ordering::Relaxed);
                }
            }
        };
        let helpers = if tasks.len() > MIN_SHARED_BLOCKS { scan.threads.saturating_sub(1) } else { 0 };
        std::thread::scope(|scope| {
            for _ in 0..helpers {
                scope.spawn(|| work(false));
            }
            work(true);
        });
        if cancelled.into_inner() {
            return None;
        }
    }
    let stores = count_stores(scan, snapshots, &tally, progress)?;
    Some(Totals { stores, ..Totals::default() })
}

/// What the stores among the sources say, which count themselves.
#[derive(Debug, Default)]
struct Stores {
    matched: Vec<u64>,
    buckets: Option<Buckets>,
    is_complete: bool,
    /// Their epochs: a store has something new when its is another.
    epochs: Vec<u64>,
}

fn epochs(snapshots: &[Snapshot]) -> Vec<u64> {
    snapshots.iter().filter(|it| it.store.is_some()).map(|it| it.epoch).collect()
}

fn count_stores(
    scan: Scan<'_>,
    snapshots: &[Snapshot],
    tally: &Mutex<Tally>,
    progress: &(dyn Fn(&Mutex<Tally>) -> bool + Sync),
) -> Option<Stores> {
    let mut stores = Stores {
        matched: vec![0; scan.goals.len()],
        buckets: scan.histogram.map(|it| buckets(scan, snapshots, it)),
        is_complete: true,
        epochs: epochs(snapshots),
    };
    for snapshot in snapshots {
        let Some(look) = &snapshot.store else { continue };
        for (index, goal) in scan.goals.iter().enumerate() {
            if !goal.matcher.takes_source(&snapshot.source.name) {
                continue;
            }
            let counted = look.reader.count(&goal.matcher, &look.stop);
            stores.is_complete &= counted.as_ref().is_ok_and(|it| it.is_complete);
            let matched = counted.map_or(0, |it| it.matched);
            stores.matched[index] += matched;
            lock(tally).goals[index].matched += matched;
            if let Some(buckets) = stores.buckets.as_mut().filter(|_| index + 1 == scan.goals.len()) {
                let added = look.reader.add_to(buckets, &goal.matcher, &look.stop);
                stores.is_complete &= added.unwrap_or(false);
            }
            if !progress(tally) {
                return None;
            }
        }
    }
    Some(stores)
}

/// The blocks that are not known; what is known is added to the tally.
fn tasks(scan: Scan<'_>, snapshots: &[Snapshot], stage: u32, tally: &Mutex<Tally>) -> Vec<Task> {
    let mut tally = lock(tally);
    let length_of_buckets = tally.buckets.as_ref().map(|it| it.length);
    let mut tasks = Vec::new();
    for (index, snapshot) in snapshots.iter().enumerate() {
        for (part_index, part) in snapshot.parts.iter().enumerate() {
            for block in 0..BlockReader::blocks(part.size_bytes) {
                let mut missing = 0;
                for goal in (0..scan.goals.len()).filter(|it| stage & (1 << it) != 0) {
                    let bytes = length(part, block);
                    let add = |it: &Summary| tally.add(goal, it, bytes);
                    if known(scan, (snapshot, part, block), goal, length_of_buckets, add).is_none() {
                        missing |= 1 << goal;
                    }
                }
                if missing != 0 {
                    tasks.push(Task { snapshot: index, part: part_index, block, goals: missing });
                }
            }
        }
    }
    // Newest blocks first: counted from the end of each source, taking turns among them.
    tasks.sort_by_cached_key(|it| {
        let parts = &snapshots[it.snapshot].parts;
        let newer: u64 = parts[it.part + 1..].iter().map(|it| BlockReader::blocks(it.size_bytes)).sum();
        newer + BlockReader::blocks(parts[it.part].size_bytes) - it.block
    });
    tasks
}

/// Looks at what is known of a block for a goal.
fn known<R>(
    scan: Scan<'_>,
    (snapshot, part, block): (&Snapshot, &Part, u64),
    goal: usize,
    bucket_seconds: Option<i64>,
    look: impl FnOnce(&Summary) -> R,
) -> Option<R> {
    let is_last = goal + 1 == scan.goals.len();
    let goal = &scan.goals[goal];
    if !goal.matcher.takes_source(&snapshot.source.name) {
        return Some(look(&Summary::default()));
    }
    goal.with_known(id(part, block), bucket_seconds.filter(|_| is_last), look)
}

fn id(part: &Part, block: u64) -> BlockId {
    BlockId { segment: part.segment.uid, size: part.size_bytes, block }
}

fn length(part: &Part, block: u64) -> u64 {
    (part.size_bytes - block * BLOCK_BYTES).min(BLOCK_BYTES)
}

fn count_block<'a>(
    scan: Scan<'a>,
    snapshots: &'a [Snapshot],
    task: Task,
    tally: &Mutex<Tally>,
    refined: &AtomicUsize,
    desk: &mut Desk<'a>,
) {
    let snapshot = &snapshots[task.snapshot];
    let part = &snapshot.parts[task.part];
    desk.open(scan, snapshot, part, task.block);
    let bucket_seconds = lock(tally).buckets.as_ref().map(|it| it.length);
    for goal in (0..scan.goals.len()).filter(|it| task.goals & (1 << it) != 0) {
        let is_last = goal + 1 == scan.goals.len();
        let mut summary = desk.summarise(&scan.goals[goal], None);
        if let Some(length) = bucket_seconds.filter(|it| is_last && !summary.suits(*it))
            && refined.fetch_add(1, Ordering::Relaxed) < MAX_REFINED_BLOCKS
        {
            summary = desk.summarise(&scan.goals[goal], Some(length));
        }
        lock(tally).add(goal, &summary, length(part, task.block));
    }
    desk.close();
}

/// Counts blocks ahead of a walk, the nearest first, so that it passes over those without a match.
///
/// Ends early when `want` matches were found or `stop` says so.
pub fn scout(
    (reader, goal): (&BlockReader, &Goal),
    blocks: &[(&Snapshot, &Part, u64)],
    threads: usize,
    want: u32,
    stop: &(dyn Fn() -> bool + Sync),
) {
    let goals = std::slice::from_ref(goal);
    let scan = Scan { reader, goals, histogram: None, phase: 0, threads, gate: None };
    let (next, found) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let mut desk = Desk::default();
        while found.load(Ordering::Relaxed) < want as usize && !stop() {
            let Some((snapshot, part, block)) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            desk.open(scan, snapshot, part, *block);
            let summary = desk.summarise(goal, None);
            desk.close();
            found.fetch_add(summary.records as usize, Ordering::Relaxed);
        }
    };
    let helpers = if blocks.len() > MIN_SHARED_BLOCKS { threads.saturating_sub(1) } else { 0 };
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(work);
        }
        work();
    });
}

/// The block at work, with memory that serves one block after the other.
#[derive(Default)]
struct Desk<'a> {
    job: Option<Job<'a>>,
    buffer: Vec<u8>,
    collector: Collector,
}

struct Job<'a> {
    scan: Scan<'a>,
    snapshot: &'a Snapshot,
    part: &'a Part,
    id: BlockId,
    /// Read when it is needed; `None` inside when it can not be.
    block: Option<Option<Block>>,
}

impl<'a> Desk<'a> {
    fn open(&mut self, scan: Scan<'a>, snapshot: &'a Snapshot, part: &'a Part, block: u64) {
        self.job = Some(Job { scan, snapshot, part, id: id(part, block), block: None });
    }

    fn close(&mut self) {
        if let Some(Job { block: Some(Some(block)), .. }) = self.job.take() {
            self.buffer = block.bytes;
        }
    }

    /// Sums up what passes in the block and keeps that; stripes as they fit, or of a length.
    fn summarise(&mut self, goal: &Goal, stripe: Option<i64>) -> Summary {
        let Some(job) = &mut self.job else { return Summary::default() };
        let (id, phase) = (job.id, job.scan.phase);
        if !goal.matcher.takes_source(&job.snapshot.source.name) {
            return Summary::default();
        }
        let arrival = |offset| job.snapshot.arrival(job.part, offset);
        // Reading the block is what finds out where the next one begins.
        let segment = &job.part.segment;
        let is_closed = || BlockReader::is_closed(segment, id.block);
        let by_group = Detail::Groups { phase, stripe };
        if stripe.is_none() && !goal.matcher.takes_all_records() {
            if goal.has_none(id) {
                goal.counts.put(id, is_closed(), Summary::default());
                return Summary::default();
            }
            if goal.matcher.asks_for_groups()
                && goal.everything.with(id, Summary::has_groups) != Some(true)
                && let Some(block) = job.block(&mut self.buffer)
            {
                let everything = block.summarise(&Matcher::default(), by_group, &arrival, &mut self.collector);
                goal.everything.put(id, is_closed(), everything);
            }
            let derived = goal.everything.with(id, |it| it.filtered(|group| goal.decide(group))).flatten();
            if let Some(summary) = derived {
                goal.counts.put(id, is_closed(), summary.clone());
                return summary;
            }
        }
        // A block that can not be read counts as empty, but a walk has to meet it and say so.
        let Some(block) = job.block(&mut self.buffer) else { return Summary::default() };
        let detail = if goal.by_group { by_group } else { Detail::Count };
        let matcher = goal.matcher.as_ref();
        let near = goal.starts_of_wider(id);
        let near = near.and_then(|it| block.summarise_at(&it, matcher, detail, &arrival, &mut self.collector));
        let summary = near.unwrap_or_else(|| block.summarise(matcher, detail, &arrival, &mut self.collector));
        goal.counts.put(id, is_closed(), summary.clone());
        summary
    }
}

impl Job<'_> {
    /// The block, read once.
    fn block(&mut self, buffer: &mut Vec<u8>) -> Option<&Block> {
        let (reader, part, number) = (self.scan.reader, self.part, self.id.block);
        let read = || {
            let memory = std::mem::take(buffer);
            reader.block_once(&part.segment, part.size_bytes, number, memory).ok()
        };
        self.block.get_or_insert_with(read).as_ref()
    }
}

/// The counts of everything that can not change any more, so that following adds only what is new.
#[derive(Debug, Default)]
pub struct Totals {
    closed: Option<Tally>,
    /// By segment: blocks at its beginning that are in `closed`.
    blocks: HashMap<u64, u64>,
    stores: Stores,
}

impl Totals {
    /// Blocks that [`Totals::advance`] would look at.
    pub fn backlog(&self, snapshots: &[Snapshot]) -> u64 {
        let parts = snapshots.iter().flat_map(|it| &it.parts);
        let known = |it: &Part| self.blocks.get(&it.segment.uid).copied().unwrap_or(0);
        parts.map(|it| BlockReader::blocks(it.size_bytes) - known(it).min(BlockReader::blocks(it.size_bytes))).sum()
    }

    /// True when a store has something new, which only [`count`] asks for.
    pub fn is_outdated(&self, snapshots: &[Snapshot]) -> bool {
        self.stores.epochs != epochs(snapshots)
    }

    /// Adds what has come to files since the last time; the answer is complete.
    pub fn advance(&mut self, scan: Scan<'_>, snapshots: &[Snapshot]) -> Tally {
        let fresh = Tally::new(scan, snapshots);
        let parts: HashSet<u64> = snapshots.iter().flat_map(|it| &it.parts).map(|it| it.segment.uid).collect();
        let goes_on = self.blocks.keys().all(|it| parts.contains(it));
        let mut closed = self.closed.take().filter(|_| goes_on).unwrap_or_else(|| fresh.clone());
        let same_buckets = match (&mut closed.buckets, &fresh.buckets) {
            (Some(known), Some(wanted)) => known.extend_to(wanted),
            (None, None) => true,
            _ => false,
        };
        if !goes_on || !same_buckets || closed.goals.len() != fresh.goals.len() {
            closed = fresh;
            self.blocks.clear();
        }
        closed.total_bytes = total_bytes(snapshots);
        let mut open = Tally { goals: vec![GoalTally::default(); closed.goals.len()], ..closed.clone() };
        if let Some(buckets) = &mut open.buckets {
            buckets.clear();
        }
        let bucket_seconds = closed.buckets.as_ref().map(|it| it.length);
        let mut desk = Desk::default();
        for snapshot in snapshots {
            for part in &snapshot.parts {
                let from = self.blocks.get(&part.segment.uid).copied().unwrap_or(0);
                let mut closed_to = from;
                for block in from..BlockReader::blocks(part.size_bytes) {
                    // What turns out to be closed while it is read is taken for closed the next time.
                    let is_closed = closed_to == block && BlockReader::is_closed(&part.segment, block);
                    closed_to += u64::from(is_closed);
                    let tally = if is_closed { &mut closed } else { &mut open };
                    add_block(scan, (snapshot, part, block), bucket_seconds, tally, &mut desk);
                }
                self.blocks.insert(part.segment.uid, closed_to);
            }
        }
        let mut tally = open;
        for (sum, it) in tally.goals.iter_mut().zip(&closed.goals) {
            sum.matched += it.matched;
            sum.bytes += it.bytes;
        }
        if let (Some(sum), Some(it)) = (&mut tally.buckets, &closed.buckets) {
            sum.add_all(it);
        }
        self.closed = Some(closed);
        for (goal, matched) in tally.goals.iter_mut().zip(&self.stores.matched) {
            goal.matched += matched;
        }
        if let (Some(buckets), Some(counted)) = (&mut tally.buckets, &self.stores.buckets) {
            buckets.add_all(counted);
        }
        tally.complete = self.stores.is_complete;
        tally
    }
}

/// Adds a block for all goals: what is known of it, or what is worked out now.
fn add_block<'a>(
    scan: Scan<'a>,
    (snapshot, part, block): (&'a Snapshot, &'a Part, u64),
    bucket_seconds: Option<i64>,
    tally: &mut Tally,
    desk: &mut Desk<'a>,
) {
    let bytes = length(part, block);
    for goal in 0..scan.goals.len() {
        if known(scan, (snapshot, part, block), goal, None, |it| tally.add(goal, it, bytes)).is_some() {
            continue;
        }
        if desk.job.is_none() {
            desk.open(scan, snapshot, part, block);
        }
        let is_last = goal + 1 == scan.goals.len();
        let mut summary = desk.summarise(&scan.goals[goal], None);
        if let Some(length) = bucket_seconds.filter(|it| is_last && !summary.suits(*it)) {
            summary = desk.summarise(&scan.goals[goal], Some(length));
        }
        tally.add(goal, &summary, bytes);
    }
    desk.close();
}

#[cfg(test)]
mod tests;
