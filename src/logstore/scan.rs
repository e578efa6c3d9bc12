//! Counts what passes queries in everything there is, newest block first, on all cores.
//!
//! Every block is summed up once per query and the summary kept, so that following adds only what is new,
//! a window passes over blocks without a match, and a narrower query skips what a wider one has ruled out.
//! The summaries of everything belong to the segments: queries for levels and times are answered from them.

pub mod goal;
mod stores;
pub mod tally;
pub mod totals;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::domain::log::HistogramRequest;
use crate::domain::query::matcher::Matcher;
use crate::logstore::block::reader::BlockReader;
use crate::logstore::block::{BLOCK_BYTES, Block};
use crate::logstore::scan::goal::{BlockId, Goal};
use crate::logstore::scan::stores::count_stores;
use crate::logstore::scan::tally::Tally;
use crate::logstore::scan::totals::Totals;
use crate::logstore::segment::lock;
use crate::logstore::source::{Part, Snapshot};
use crate::logstore::summary::{Collector, Detail, Summary};

/// Queries counted in one pass: everything, and what passes the chips up to each of them.
pub const MAX_GOALS: usize = 32;
/// Blocks summed up again for a histogram that is finer than their stripes (128 MiB, a tenth of a second).
/// There are more only where clocks run wild; then a stripe counts where it begins.
const MAX_REFINED_BLOCKS: usize = 512;
/// Below this many blocks the work is done before another thread has started.
const MIN_SHARED_BLOCKS: usize = 8;

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
    Some(Totals::new(stores))
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

/// Searches one block, unless that took a split of it, and keeps how many records pass and where they begin. Times and
/// levels are left to a count.
pub fn search((reader, goal): (&BlockReader, &Goal), snapshot: &Snapshot, part: &Part, block: u64) {
    thread_local! {
        // Fresh memory for every block would cost as much as the search.
        static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    let id = id(part, block);
    let Ok(read) = reader.block_once(&part.segment, part.size_bytes, block, BUFFER.take()) else { return };
    if let Some(summary) = read.count_near(&goal.matcher, &|offset| snapshot.arrival(part, offset)) {
        goal.counts.put(id, BlockReader::is_closed(&part.segment, part.size_bytes, block), summary);
    }
    // That of a block with a giant record is not kept.
    if read.bytes.capacity() as u64 <= 2 * BLOCK_BYTES {
        BUFFER.set(read.bytes);
    }
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
        let is_closed = || BlockReader::is_closed(segment, id.size, id.block);
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

#[cfg(test)]
mod tests;
