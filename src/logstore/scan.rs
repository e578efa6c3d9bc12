//! Counts what passes a query in everything there is, newest block first, on all cores.
//!
//! A block that is only searched is not split into records, unless somebody wants to know how many there
//! are. Counts are kept per block and query, so that following adds only what is new and a window can pass
//! over blocks without a match.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::domain::log::Counts;
use crate::domain::query::matcher::Matcher;
use crate::logstore::block::BlockReader;
use crate::logstore::segment::lock;
use crate::logstore::source::Snapshot;

/// Counts of one query, by block.
#[derive(Debug, Default)]
pub struct QueryCounts {
    segments: Mutex<HashMap<u64, Vec<Option<BlockCount>>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct BlockCount {
    matched: u32,
    records: u32,
}

impl QueryCounts {
    /// True when the block is known to hold no match.
    pub fn has_none(&self, segment: u64, block: u64) -> bool {
        self.get(segment, block).is_some_and(|it| it.matched == 0)
    }

    fn get(&self, segment: u64, block: u64) -> Option<BlockCount> {
        let segments = lock(&self.segments);
        *segments.get(&segment)?.get(usize::try_from(block).ok()?)?
    }

    fn put(&self, segment: u64, block: u64, count: BlockCount) {
        let Ok(block) = usize::try_from(block) else { return };
        let mut segments = lock(&self.segments);
        let blocks = segments.entry(segment).or_default();
        if blocks.len() <= block {
            blocks.resize(block + 1, None);
        }
        blocks[block] = Some(count);
    }

    /// Forgets segments that are gone.
    pub fn keep_only(&self, snapshots: &[Snapshot]) {
        lock(&self.segments).retain(|uid, _| {
            snapshots.iter().any(|snapshot| snapshot.parts.iter().any(|part| part.segment.uid == *uid))
        });
    }
}

/// One block to count.
#[derive(Debug, Clone, Copy)]
struct Task {
    snapshot: usize,
    part: usize,
    block: u64,
}

/// What is counted.
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
    /// What passes.
    pub matcher: &'a Matcher,
    /// Keeps the counts by block. Belongs to one query and one depth.
    pub counts: &'a QueryCounts,
    /// What is counted.
    pub depth: Depth,
    /// Threads at work.
    pub threads: usize,
}

/// Counts everything in the snapshots; `progress` hears of it now and then and cancels with `false`.
///
/// Returns `None` when it was cancelled. Blocks that can not be read count as empty.
pub fn count(scan: Scan<'_>, snapshots: &[Snapshot], progress: &(dyn Fn(Counts) -> bool + Sync)) -> Option<Counts> {
    let tally = Tally::new(snapshots);
    let mut tasks = Vec::new();
    for (index, snapshot) in snapshots.iter().enumerate() {
        for (part_index, part) in snapshot.parts.iter().enumerate() {
            let blocks = BlockReader::blocks(part.size_bytes);
            for block in 0..blocks {
                // The last block is still being written, it is counted every time.
                match scan.counts.get(part.segment.uid, block).filter(|_| block + 1 < blocks) {
                    Some(known) => tally.add(known, crate::logstore::block::BLOCK_BYTES),
                    None => tasks.push(Task { snapshot: index, part: part_index, block }),
                }
            }
        }
    }
    // Newest blocks first: counted from the end of each file, taking turns among the sources.
    tasks.sort_by_key(|it| {
        let parts = &snapshots[it.snapshot].parts;
        let newer: u64 = parts[it.part + 1..].iter().map(|it| BlockReader::blocks(it.size_bytes)).sum();
        newer + BlockReader::blocks(parts[it.part].size_bytes) - it.block
    });
    let next = AtomicUsize::new(0);
    let cancelled = AtomicBool::new(false);
    let work = |reports: bool| {
        let mut buffer = Vec::new();
        while !cancelled.load(Ordering::Relaxed) {
            let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            buffer = count_block(scan, snapshots, *task, &tally, buffer);
            if reports && !progress(tally.counts(false)) {
                cancelled.store(true, Ordering::Relaxed);
            }
        }
    };
    // A handful of blocks is done before a thread has started.
    let helpers = if tasks.len() > 8 { scan.threads.saturating_sub(1) } else { 0 };
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|| work(false));
        }
        work(true);
    });
    let mut complete = true;
    for look in snapshots.iter().filter_map(|it| it.store.as_ref()).filter(|_| !cancelled.load(Ordering::Relaxed)) {
        let matched = look.reader.count(scan.matcher, &look.stop);
        let records = match scan.depth {
            Depth::Records if !scan.matcher.takes_all_records() => look.reader.count(&Matcher::default(), &look.stop),
            _ => matched.clone(),
        };
        complete &= matched.as_ref().is_ok_and(|it| it.is_complete);
        tally.add_store(matched.map_or(0, |it| it.matched), records.map_or(0, |it| it.matched));
        cancelled.fetch_or(!progress(tally.counts(false)), Ordering::Relaxed);
    }
    (!cancelled.into_inner()).then(|| tally.counts(complete))
}

/// Counts one block, read into `buffer`; returns the memory for the next one.
fn count_block(scan: Scan<'_>, snapshots: &[Snapshot], task: Task, tally: &Tally, buffer: Vec<u8>) -> Vec<u8> {
    let snapshot = &snapshots[task.snapshot];
    let part = &snapshot.parts[task.part];
    let is_last = task.block + 1 >= BlockReader::blocks(part.size_bytes);
    let mut count = BlockCount::default();
    let mut buffer = buffer;
    if let Ok(block) = scan.reader.block_once(&part.segment, part.size_bytes, task.block, std::mem::take(&mut buffer)) {
        let records = if scan.depth == Depth::Records { block.count_records() } else { 0 };
        let matched = block.count(scan.matcher, &|offset| snapshot.arrival(part, offset));
        let bound = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        count = BlockCount { matched: bound(matched), records: bound(records) };
        buffer = block.bytes;
    }
    if !is_last {
        scan.counts.put(part.segment.uid, task.block, count);
    }
    let bytes = crate::logstore::block::BLOCK_BYTES;
    tally.add(count, if is_last { part.size_bytes - task.block * bytes } else { bytes });
    buffer
}

struct Tally {
    matched: AtomicU64,
    scanned: AtomicU64,
    scanned_bytes: AtomicU64,
    total_bytes: u64,
}

impl Tally {
    fn new(snapshots: &[Snapshot]) -> Self {
        Self {
            matched: AtomicU64::new(0),
            scanned: AtomicU64::new(0),
            scanned_bytes: AtomicU64::new(0),
            total_bytes: snapshots.iter().map(Snapshot::size_bytes).sum(),
        }
    }

    fn add(&self, count: BlockCount, bytes: u64) {
        self.matched.fetch_add(u64::from(count.matched), Ordering::Relaxed);
        self.scanned.fetch_add(u64::from(count.records), Ordering::Relaxed);
        self.scanned_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn add_store(&self, matched: u64, records: u64) {
        self.matched.fetch_add(matched, Ordering::Relaxed);
        self.scanned.fetch_add(records, Ordering::Relaxed);
    }

    fn counts(&self, complete: bool) -> Counts {
        Counts {
            matched: self.matched.load(Ordering::Relaxed),
            scanned: self.scanned.load(Ordering::Relaxed),
            scanned_bytes: self.scanned_bytes.load(Ordering::Relaxed),
            total_bytes: self.total_bytes,
            complete,
        }
    }
}
