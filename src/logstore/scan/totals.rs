//! The sum of a count, kept so that following adds only what is new.

use std::collections::{HashMap, HashSet};

use crate::logstore::block::reader::BlockReader;
use crate::logstore::scan::stores::{Stores, epochs};
use crate::logstore::scan::tally::{GoalTally, Tally, has_stores, total_bytes};
use crate::logstore::scan::{Desk, MAX_REFINED_BLOCKS, Scan, known, length};
use crate::logstore::source::{Part, Snapshot};

/// The counts of everything that can not change any more, so that following adds only what is new.
#[derive(Debug, Default)]
pub struct Totals {
    closed: Option<Tally>,
    /// By segment: blocks at its beginning that are in `closed`.
    blocks: HashMap<u64, u64>,
    stores: Stores,
}

impl Totals {
    /// Nothing of files yet; what stores say stays until they are counted again.
    pub(super) fn new(stores: Stores) -> Self {
        Self { stores, ..Self::default() }
    }

    /// Blocks that [`Totals::advance`] would look at.
    pub fn backlog(&self, snapshots: &[Snapshot]) -> u64 {
        let parts = snapshots.iter().flat_map(|it| &it.parts);
        let known = |it: &Part| self.blocks.get(&it.segment.uid).copied().unwrap_or(0);
        parts.map(|it| BlockReader::blocks(it.size_bytes) - known(it).min(BlockReader::blocks(it.size_bytes))).sum()
    }

    /// True when a store has something new, which only `count` asks for.
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
        closed.has_stores = has_stores(snapshots);
        let mut open = Tally { goals: vec![GoalTally::default(); closed.goals.len()], ..closed.clone() };
        if let Some(buckets) = &mut open.buckets {
            buckets.clear();
        }
        let bucket_seconds = closed.buckets.as_ref().map(|it| it.length);
        let mut desk = Desk::default();
        let mut refinements = MAX_REFINED_BLOCKS;
        for snapshot in snapshots {
            for part in &snapshot.parts {
                let from = self.blocks.get(&part.segment.uid).copied().unwrap_or(0);
                let mut closed_to = from;
                for block in from..BlockReader::blocks(part.size_bytes) {
                    // What turns out to be closed while it is read is taken for closed the next time.
                    let is_closed = closed_to == block && BlockReader::is_closed(&part.segment, part.size_bytes, block);
                    closed_to += u64::from(is_closed);
                    let tally = if is_closed { &mut closed } else { &mut open };
                    add_block(scan, (snapshot, part, block), bucket_seconds, tally, (&mut desk, &mut refinements));
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
    (desk, refinements): (&mut Desk<'a>, &mut usize),
) {
    let bytes = length(part, block);
    for goal in 0..scan.goals.len() {
        // Another view may have left times that are too coarse for these buckets.
        let wanted = bucket_seconds.filter(|_| *refinements > 0);
        if known(scan, (snapshot, part, block), goal, wanted, |it| tally.add(goal, it, bytes)).is_some() {
            continue;
        }
        if desk.job.is_none() {
            desk.open(scan, snapshot, part, block);
        }
        let is_last = goal + 1 == scan.goals.len();
        let mut summary = desk.summarise(&scan.goals[goal], None);
        if let Some(length) = bucket_seconds.filter(|it| is_last && !summary.suits(*it)) {
            *refinements = refinements.saturating_sub(1);
            summary = desk.summarise(&scan.goals[goal], Some(length));
        }
        tally.add(goal, &summary, bytes);
    }
    desk.close();
}
