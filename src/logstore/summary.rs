//! What is known of a block without reading it again: how many records pass a query, when, and at which level.
//!
//! A block's records are counted by stripes of time, fine where a block spans seconds and coarse where it
//! spans days, so that a summary stays at a fraction of a byte per line. The length of a stripe divides
//! every bucket of a histogram that is at least as long, and all of them begin at the same phase: buckets
//! are sums of stripes. Only where a histogram is finer than the stripes are blocks read again, and of
//! those there are few, because each spans many buckets.

use jiff::Timestamp;

use crate::domain::log::{Bucket, Histogram, Level, MAX_BUCKETS, bucket_lengths};

/// Different stripes kept of one block: with four levels each, 770 bytes for 1,800 lines, and mostly far less.
const MAX_STRIPES: usize = 24;
/// Records of a block whose places are kept: of a query that matches more often, a narrower one is not much faster.
pub const MAX_STARTS: usize = 16;
/// Seconds in a day.
const DAY: i64 = 86_400;
/// Lengths of a stripe in seconds. Each divides all [`bucket_lengths`] that are not shorter.
const STRIPE_SECONDS: [i64; 12] =
    [1, 5, 30, 300, 1800, 10_800, 43_200, DAY, 10 * DAY, 100 * DAY, 1000 * DAY, 10_000 * DAY];
/// Runs of one second that are looked at for a record whose clock went back: threads of a program overtake each other.
const OPEN_RUNS: usize = 4;

/// The next longer length of a stripe, in seconds.
pub fn coarser_stripe(seconds: i64) -> Option<i64> {
    STRIPE_SECONDS.into_iter().find(|it| *it > seconds)
}

/// What is wanted of the records of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// How many.
    Count,
    /// How many by time and level, see [`Collector::finish`].
    Groups {
        /// Seconds before the epoch at which stripes begin.
        phase: i64,
        /// Length of a stripe that is wanted; `None` for one that fits the block.
        stripe: Option<i64>,
    },
}

/// Records of a block that pass a query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many.
    pub records: u32,
    /// Length of a stripe in seconds; 0 when nobody asked by time and level.
    stripe_seconds: u32,
    /// Start of the first stripe, seconds since the epoch.
    first: i64,
    cells: Box<[Cell]>,
    /// Where the records begin in the block's bytes, when they are few: a narrower query looks only there.
    starts: Option<Box<[u32]>>,
}

/// Records of one level in one stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    /// Stripes since the first.
    stripe: u32,
    /// The count above three bits for the place of the level in `Bucket::by_level`.
    count_and_level: u32,
}

/// Records of one level in one stripe of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Start, seconds since the epoch.
    pub from: i64,
    /// End, not included.
    pub until: i64,
    /// Place of the level in `Bucket::by_level`.
    pub level: usize,
    /// How many.
    pub count: u32,
}

impl Group {
    /// The level.
    pub fn level(&self) -> Option<Level> {
        const LEVELS: [Level; 6] = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Fatal];
        self.level.checked_sub(1).and_then(|it| LEVELS.get(it)).copied()
    }
}

impl Summary {
    /// A count without times and levels.
    pub fn counted(records: usize) -> Self {
        Self { records: u32::try_from(records).unwrap_or(u32::MAX), ..Self::default() }
    }

    /// Also says where the records begin in the block's bytes, unless there are many.
    #[must_use]
    pub fn with_starts(mut self, starts: Vec<u32>) -> Self {
        let is_whole = starts.len() == self.records as usize && starts.len() <= MAX_STARTS;
        self.starts = is_whole.then(|| starts.into());
        self
    }

    /// Where the records begin in the block's bytes, when that is known.
    pub fn starts(&self) -> Option<&[u32]> {
        self.starts.as_deref()
    }

    /// True when it says when and at which level.
    pub fn has_groups(&self) -> bool {
        self.records == 0 || self.stripe_seconds > 0
    }

    /// True when no stripe straddles buckets of this length.
    pub fn suits(&self, bucket_seconds: i64) -> bool {
        let stripe = i64::from(self.stripe_seconds);
        self.records == 0 || (stripe > 0 && bucket_seconds % stripe == 0)
    }

    /// Records by time and level.
    pub fn groups(&self) -> impl Iterator<Item = Group> + '_ {
        let stripe = i64::from(self.stripe_seconds);
        self.cells.iter().map(move |cell| {
            let from = self.first + i64::from(cell.stripe) * stripe;
            let level = (cell.count_and_level & 7) as usize;
            Group { from, until: from + stripe, level, count: cell.count_and_level >> 3 }
        })
    }

    /// The summary of those records that pass, when that can be told by group; `decide` says all, none or unknown.
    pub fn filtered(&self, mut decide: impl FnMut(&Group) -> Option<bool>) -> Option<Self> {
        if !self.has_groups() {
            return None;
        }
        let mut kept = Vec::new();
        let mut records = 0;
        for (cell, group) in self.cells.iter().zip(self.groups()) {
            if decide(&group)? {
                kept.push(*cell);
                records += group.count;
            }
        }
        let (stripe_seconds, first) = (self.stripe_seconds, self.first);
        Some(Self { records, stripe_seconds, first, cells: kept.into(), starts: None })
    }

    /// True when no record can pass.
    pub fn rules_out(&self, decide: impl Fn(&Group) -> Option<bool>) -> bool {
        self.has_groups() && self.groups().all(|it| decide(&it) == Some(false))
    }

    /// Bytes it takes up beside itself.
    pub fn heap_bytes(&self) -> usize {
        self.cells.len() * size_of::<Cell>() + self.starts.as_ref().map_or(0, |it| it.len() * size_of::<u32>())
    }
}

/// Gathers the records of a block. Its memory serves the next block as well.
#[derive(Debug, Default)]
pub struct Collector {
    runs: Vec<Run>,
    cells: Vec<Cell>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    second: i64,
    by_level: [u32; 7],
}

impl Collector {
    /// Takes a record.
    pub fn add(&mut self, second: i64, level: Option<Level>) {
        let index = Bucket::index(level);
        let known = self.runs.iter_mut().rev().take(OPEN_RUNS).find(|it| it.second == second);
        if let Some(run) = known {
            run.by_level[index] += 1;
            return;
        }
        let mut run = Run { second, by_level: [0; 7] };
        run.by_level[index] = 1;
        self.runs.push(run);
    }

    /// Sums up and begins anew. Stripes begin at multiples of their length after `phase` seconds before the epoch;
    /// with `stripe_seconds` they are of that length, as far as it is one, whatever it costs.
    pub fn finish(&mut self, phase: i64, stripe_seconds: Option<i64>) -> Summary {
        if !self.runs.is_sorted_by_key(|it| it.second) {
            self.runs.sort_by_key(|it| it.second);
        }
        let stripe = match stripe_seconds {
            Some(wanted) => STRIPE_SECONDS.into_iter().rfind(|it| wanted % it == 0).unwrap_or(1),
            None => self.stripe_that_fits(phase),
        };
        let start_of = |second: i64| (second + phase).div_euclid(stripe);
        let first = self.runs.first().map_or(0, |it| start_of(it.second));
        self.cells.clear();
        let mut records: u64 = 0;
        let mut runs = self.runs.iter().peekable();
        while let Some(run) = runs.next() {
            let at = start_of(run.second);
            let mut by_level = run.by_level;
            while let Some(more) = runs.next_if(|it| start_of(it.second) == at) {
                by_level.iter_mut().zip(more.by_level).for_each(|(sum, it)| *sum += it);
            }
            // A block holds far fewer records than 29 bits count.
            let stripe = u32::try_from(at - first).unwrap_or(u32::MAX);
            for (level, count) in (0..).zip(by_level).filter(|(_, count)| *count > 0) {
                records += u64::from(count);
                self.cells.push(Cell { stripe, count_and_level: count << 3 | level });
            }
        }
        self.runs.clear();
        Summary {
            records: u32::try_from(records).unwrap_or(u32::MAX),
            stripe_seconds: u32::try_from(stripe).unwrap_or(u32::MAX),
            first: first * stripe - phase,
            cells: self.cells.as_slice().into(),
            starts: None,
        }
    }

    fn stripe_that_fits(&self, phase: i64) -> i64 {
        let coarsest = STRIPE_SECONDS[STRIPE_SECONDS.len() - 1];
        let (Some(first), Some(last)) = (self.runs.first(), self.runs.last()) else { return 1 };
        let fits = |stripe: &i64| {
            let mut stripes = 0;
            let mut previous = None;
            for run in &self.runs {
                let at = (run.second + phase).div_euclid(*stripe);
                stripes += usize::from(previous.replace(at) != Some(at));
                if stripes > MAX_STRIPES {
                    return false;
                }
            }
            (last.second - first.second) / stripe < i64::from(u32::MAX)
        };
        STRIPE_SECONDS.into_iter().find(fits).unwrap_or(coarsest)
    }
}

/// Counts by time: what becomes a `Histogram`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets {
    /// Start of the first bucket, seconds since the epoch.
    pub from: i64,
    /// Length of a bucket in seconds.
    pub length: i64,
    /// The buckets.
    pub buckets: Vec<Bucket>,
    /// Records before the first and behind the last bucket count there: nobody has set that end of the range.
    is_open: (bool, bool),
}

impl Buckets {
    /// Buckets that cover `from..=last` (seconds), as many as `wanted` or fewer. A record outside,
    /// whose clock was wrong, counts in the first or last of them where that end `is_open`.
    pub fn new((from, last): (i64, i64), wanted: u16, phase: i64, is_open: (bool, bool)) -> Self {
        let wanted = i64::from(wanted.clamp(1, MAX_BUCKETS));
        let number = |second: i64, length: i64| (second + phase).div_euclid(length);
        let last = last.max(from);
        let count = |length: i64| number(last, length) - number(from, length) + 1;
        let coarsest = bucket_lengths().last().unwrap_or(DAY);
        let length = bucket_lengths().find(|it| count(*it) <= wanted).unwrap_or(coarsest);
        let buckets = usize::try_from(count(length).min(i64::from(MAX_BUCKETS))).unwrap_or(1);
        Self { from: number(from, length) * length - phase, length, buckets: vec![Bucket::default(); buckets], is_open }
    }

    /// Adds what a summary says; a stripe that straddles buckets goes where it begins.
    pub fn add(&mut self, summary: &Summary) {
        for group in summary.groups() {
            if let Some(bucket) = self.bucket_at(group.from) {
                bucket.by_level[group.level] += group.count;
            }
        }
    }

    /// Adds a count that begins at a second.
    pub fn add_bucket(&mut self, second: i64, counted: &Bucket) {
        if let Some(bucket) = self.bucket_at(second) {
            bucket.by_level.iter_mut().zip(counted.by_level).for_each(|(sum, it)| *sum += it);
        }
    }

    /// Adds other counts by time, which may begin elsewhere.
    pub fn add_all(&mut self, other: &Buckets) {
        let starts = (0..).map(|it| other.from + it * other.length);
        starts.zip(&other.buckets).for_each(|(second, it)| self.add_bucket(second, it));
    }

    /// As a histogram of which nothing else is known than that it is complete.
    pub fn histogram(&self) -> Histogram {
        Histogram {
            from: Timestamp::from_second(self.from).unwrap_or_default(),
            bucket_seconds: u64::try_from(self.length).unwrap_or(1),
            buckets: self.buckets.clone(),
            scanned_bytes: 0,
            total_bytes: 0,
            complete: true,
        }
    }

    /// Forgets the counts.
    pub fn clear(&mut self) {
        self.buckets.fill(Bucket::default());
    }

    fn bucket_at(&mut self, second: i64) -> Option<&mut Bucket> {
        let last = self.buckets.len() - 1;
        let at = (second - self.from).div_euclid(self.length);
        let index = match usize::try_from(at) {
            Ok(index) if index <= last => index,
            Ok(_) if self.is_open.1 => last,
            Err(_) if self.is_open.0 => 0,
            _ => return None,
        };
        self.buckets.get_mut(index)
    }

    /// Takes over a range that only reaches further. Returns false when the buckets are others.
    pub fn extend_to(&mut self, wider: &Buckets) -> bool {
        let fits = (self.from, self.length, self.is_open) == (wider.from, wider.length, wider.is_open)
            && self.buckets.len() <= wider.buckets.len();
        if fits {
            self.buckets.resize(wider.buckets.len(), Bucket::default());
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(seconds: &[i64], phase: i64, stripe: Option<i64>) -> Summary {
        let mut collector = Collector::default();
        for second in seconds {
            collector.add(*second, Some(Level::Info));
        }
        collector.finish(phase, stripe)
    }

    #[test]
    fn every_bucket_is_a_sum_of_the_stripes_that_are_not_longer() {
        for bucket in bucket_lengths() {
            for stripe in STRIPE_SECONDS.into_iter().filter(|it| *it <= bucket) {
                assert_eq!(bucket % stripe, 0, "stripes of {stripe} s in buckets of {bucket} s");
            }
        }
    }

    #[test]
    fn stripes_are_as_fine_as_the_block_is_short() {
        let stripe = |seconds: i64| {
            let seconds: Vec<i64> = (0..=seconds).step_by(usize::try_from(seconds / 100).unwrap().max(1)).collect();
            summary(&seconds, 0, None).stripe_seconds
        };
        assert_eq!([stripe(20), stripe(100), stripe(600), stripe(3600), stripe(90 * DAY)], [1, 5, 30, 300, 864_000]);
    }

    #[test]
    fn a_clock_gone_wrong_does_not_make_the_other_stripes_coarse() {
        assert_eq!(summary(&[0, 1_800_000_000, 1_800_000_001, 1_800_000_000], 0, None).stripe_seconds, 1);
    }

    #[test]
    fn groups_keep_what_was_added_whatever_the_stripe() {
        for stripe in [None, Some(60), Some(1)] {
            let summary = summary(&[-7, 3, 3, 59, 60, 100_000], 1800, stripe);
            assert_eq!(summary.records, 6);
            assert_eq!(summary.groups().map(|it| it.count).sum::<u32>(), 6);
            assert!(summary.groups().all(|it| (it.from + 1800) % (it.until - it.from) == 0), "{summary:?}");
        }
    }

    #[test]
    fn buckets_cover_the_range_with_a_round_length() {
        let buckets = Buckets::new((100, 1000), 20, 0, (false, false));
        assert_eq!((buckets.from, buckets.length, buckets.buckets.len()), (60, 60, 16));
        let eastern = Buckets::new((0, 10 * DAY), 20, 8 * 3600, (false, false));
        assert_eq!((eastern.from, eastern.length), (-8 * 3600, 43_200 * 2));
    }

    #[test]
    fn a_record_outside_counts_at_an_open_end_and_not_at_a_given_one() {
        let cases =
            [((true, true), [2, 1]), ((false, false), [1, 0]), ((true, false), [2, 0]), ((false, true), [1, 1])];
        for (is_open, expected) in cases {
            let mut buckets = Buckets::new((100, 101), 2, 0, is_open);
            buckets.add(&summary(&[5, 100, 5000], 0, None));
            assert_eq!(buckets.buckets.iter().map(Bucket::total).collect::<Vec<_>>(), expected);
        }
    }
}
