//! What a count has come to: the numbers of each query, and the buckets of the histogram.

use jiff::Timestamp;

use crate::clock;
use crate::domain::log::{ChipCount, Counts, Histogram, HistogramRequest};
use crate::logstore::block::reader::BlockReader;
use crate::logstore::record::floor_second;
use crate::logstore::scan::Scan;
use crate::logstore::source::Snapshot;
use crate::logstore::summary::{Buckets, Summary};

/// What was counted so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    pub(super) goals: Vec<GoalTally>,
    pub(super) buckets: Option<Buckets>,
    pub(super) total_bytes: u64,
    pub(super) has_stores: bool,
    /// The first goal is everything, which is what the others are a part of.
    pub(super) begins_with_all: bool,
    pub(super) complete: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct GoalTally {
    pub(super) matched: u64,
    pub(super) bytes: u64,
}

impl Tally {
    pub(super) fn new(scan: Scan<'_>, snapshots: &[Snapshot]) -> Self {
        Self {
            goals: vec![GoalTally::default(); scan.goals.len()],
            buckets: scan.histogram.map(|it| buckets(scan, snapshots, it)),
            total_bytes: total_bytes(snapshots),
            has_stores: has_stores(snapshots),
            begins_with_all: scan.goals.first().is_some_and(|it| it.matcher.is_empty()),
            complete: false,
        }
    }

    pub(super) fn add(&mut self, goal: usize, summary: &Summary, bytes: u64) {
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
            // A store has no bytes to tell by.
            let complete = !self.has_stores && before.bytes.min(with.bytes) >= self.total_bytes;
            Some(ChipCount { matched: with.matched, of: before.matched, complete: self.complete || complete })
        };
        chips.iter().filter_map(count).collect()
    }

    /// The histogram, when one was asked for.
    pub fn histogram(&self) -> Option<Histogram> {
        let scanned_bytes = self.goals.last().map_or(0, |it| it.bytes);
        let (total_bytes, complete) = (self.total_bytes, self.complete);
        Some(Histogram { scanned_bytes, total_bytes, complete, ..self.buckets.as_ref()?.histogram() })
    }
}

pub(super) fn has_stores(snapshots: &[Snapshot]) -> bool {
    snapshots.iter().any(|it| it.store.is_some())
}

pub(super) fn total_bytes(snapshots: &[Snapshot]) -> u64 {
    snapshots.iter().map(Snapshot::size_bytes).sum()
}

/// Empty buckets over the range that was asked for, as far as it is open over that of everything.
pub(super) fn buckets(scan: Scan<'_>, snapshots: &[Snapshot], request: &HistogramRequest) -> Buckets {
    spanning(request, scan.phase, |last| {
        let times = snapshots.iter().filter_map(|it| edge_of(scan.reader, it, last));
        if last { times.max() } else { times.min() }.map(floor_second)
    })
}

/// The time of the first or the last record of a source.
pub(in crate::logstore) fn edge_of(reader: &BlockReader, snapshot: &Snapshot, last: bool) -> Option<Timestamp> {
    match &snapshot.store {
        Some(_) if last => Some(clock::now()),
        Some(look) => Timestamp::from_nanosecond(i128::from(look.reader.store().earliest())).ok(),
        None => reader.edge_time(snapshot, last),
    }
}

/// Empty buckets over the range that was asked for. Where it is open, `edge` says where the first or the last of all
/// records is, in seconds since the epoch.
pub(in crate::logstore) fn spanning(
    request: &HistogramRequest,
    phase: i64,
    edge: impl Fn(bool) -> Option<i64>,
) -> Buckets {
    let from = request.from.map(floor_second);
    // The end is not included.
    let until = request.until.map(|it| floor_second(it) - i64::from(it.subsec_nanosecond() == 0));
    let from_or_edge = from.or_else(|| edge(false)).or(until).unwrap_or(0);
    let range = (from_or_edge, until.or_else(|| edge(true)).unwrap_or(from_or_edge));
    Buckets::new(range, request.buckets, phase, (from.is_none(), until.is_none()))
}
