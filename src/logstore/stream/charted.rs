//! Counts records by time and level as they come: the histogram of a stream of which more comes than can be kept.

use std::collections::HashMap;

use crate::domain::log::{Bucket, Histogram, HistogramRequest, Level};
use crate::logstore::record::floor_second;
use crate::logstore::scan::tally::{edge_of, spanning};
use crate::logstore::stream::{Met, Stream};
use crate::logstore::summary::coarser_stripe;
use crate::logstore::walk::Item;

/// Stripes of time that are counted apart, a hundred of each of the most buckets there can be: 4 MB at the most.
const MAX_STRIPES: usize = 100_000;

/// What was counted so far.
#[derive(Debug)]
pub struct Charted {
    request: HistogramRequest,
    /// Seconds before the epoch at which stripes begin.
    phase: i64,
    /// Length of a stripe in seconds.
    stripe: i64,
    /// Records by the stripe they are in, counted from `phase` seconds before the epoch.
    stripes: HashMap<i64, Bucket>,
    /// Where the first and the last record are that were seen, passed or not; seconds since the epoch.
    edges: Option<(i64, i64)>,
}

impl Charted {
    /// Nothing yet. Buckets of hours and days begin `phase` seconds before the epoch, see `Engine`.
    pub fn new(request: HistogramRequest, phase: i64) -> Self {
        Self { request, phase, stripe: 1, stripes: HashMap::new(), edges: None }
    }

    /// Counts a record.
    pub fn add(&mut self, met: &Met<'_>) {
        if let Item::Record(found) = &met.placed.item {
            self.count(floor_second(met.placed.at), found.level());
        }
    }

    fn count(&mut self, second: i64, level: Option<Level>) {
        let bucket = self.stripes.entry((second + self.phase).div_euclid(self.stripe)).or_default();
        let count = &mut bucket.by_level[Bucket::index(level)];
        *count = count.saturating_add(1);
        if self.stripes.len() > MAX_STRIPES {
            self.coarsen();
        }
    }

    /// Looks how far the records that are there now reach: those that do not pass are part of the range as well.
    pub fn look_at_edges(&mut self, stream: &Stream<'_>) {
        let inner = stream.engine.inner();
        let snapshots = inner.snapshots(&[], &stream.matcher);
        for at in snapshots.iter().flat_map(|it| [false, true].map(|last| edge_of(&inner.reader, it, last))).flatten() {
            self.reach(floor_second(at));
        }
    }

    fn reach(&mut self, second: i64) {
        let (first, last) = self.edges.unwrap_or((second, second));
        self.edges = Some((first.min(second), last.max(second)));
    }

    /// The histogram of what was counted.
    pub fn histogram(&self) -> Histogram {
        let edge = |last: bool| self.edges.map(|it| if last { it.1 } else { it.0 });
        let mut buckets = spanning(&self.request, self.phase, edge);
        for (number, counted) in &self.stripes {
            buckets.add_bucket(number * self.stripe - self.phase, counted);
        }
        buckets.histogram()
    }

    /// Adds neighbours up. A bucket is never shorter than what comes of it: the stripes span that many already.
    fn coarsen(&mut self) {
        while self.stripes.len() > MAX_STRIPES
            && let Some(longer) = coarser_stripe(self.stripe)
        {
            for (number, counted) in std::mem::take(&mut self.stripes) {
                let sum = self.stripes.entry((number * self.stripe).div_euclid(longer)).or_default();
                sum.by_level.iter_mut().zip(counted.by_level).for_each(|(sum, it)| *sum = sum.saturating_add(it));
            }
            self.stripe = longer;
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn charted(records: impl IntoIterator<Item = (i64, Level)>, buckets: u16) -> Charted {
        let mut charted = Charted::new(HistogramRequest { from: None, until: None, buckets }, 3600);
        for (second, level) in records {
            charted.reach(second);
            charted.count(second, Some(level));
        }
        charted
    }

    #[test]
    fn what_comes_is_counted_by_time_and_level() {
        let noon = 1_793_534_400;
        let mut charted = charted([(noon + 1, Level::Info), (noon + 59, Level::Error), (noon + 130, Level::Warn)], 4);
        charted.reach(noon + 200);
        let found = charted.histogram();
        let rows: Vec<(u64, u64)> = found.buckets.iter().map(|it| (it.total(), it.errors())).collect();
        assert_eq!((found.bucket_seconds, found.from.as_second(), found.complete), (60, noon, true));
        assert_eq!(rows, [(2, 1), (0, 0), (1, 0), (0, 0)]);
    }

    #[test]
    fn more_stripes_than_are_kept_are_added_up_and_no_record_is_lost() {
        let count = i64::try_from(MAX_STRIPES).unwrap() + 50;
        let charted = charted((0..count).map(|it| (1_793_500_000 + it * 7, Level::Info)), 1000);
        assert!(charted.stripe > 1 && charted.stripes.len() <= MAX_STRIPES, "{}", charted.stripe);
        let found = charted.histogram();
        let length = i64::try_from(found.bucket_seconds).unwrap();
        assert_eq!(
            (found.buckets.iter().map(Bucket::total).sum::<u64>(), length % charted.stripe),
            (count.unsigned_abs(), 0)
        );
        let even = (length / 7).unsigned_abs();
        let inner = &found.buckets[1..found.buckets.len() - 1];
        assert!(inner.iter().all(|it| (even..=even + 1).contains(&it.total())), "{found:?}");
    }

    #[test]
    fn the_range_that_was_asked_for_is_kept() {
        let (from, until) = (Timestamp::from_second(1000).ok(), Timestamp::from_second(1040).ok());
        let mut charted = Charted::new(HistogramRequest { from, until, buckets: 4 }, 0);
        charted.reach(1020);
        charted.count(1020, None);
        let found = charted.histogram();
        assert_eq!((found.from.as_second(), found.bucket_seconds, found.buckets.len()), (1000, 10, 4));
        assert_eq!(found.buckets[2].total(), 1);
    }
}
