//! How many records there are by time and level: what a row of bars above a log shows.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::log::Level;

/// Asks how many records there are by time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistogramRequest {
    /// Start of the range; `None` is the oldest record.
    pub from: Option<Timestamp>,
    /// End of the range, not included; `None` is the newest record.
    pub until: Option<Timestamp>,
    /// Buckets wanted, at most `MAX_BUCKETS`. As many come or fewer, so that a bucket is a round span of time.
    pub buckets: u16,
}

/// Buckets of a histogram: one for each column of the widest terminal.
pub const MAX_BUCKETS: u16 = 1000;

/// Lengths of a bucket in seconds, all round: seconds, minutes, hours, then days.
pub fn bucket_lengths() -> impl Iterator<Item = i64> {
    const SHORT: [i64; 17] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200];
    let days = (0..5).flat_map(|power| [1, 2, 5].map(|it| it * 10_i64.pow(power) * 86_400));
    SHORT.into_iter().chain(days)
}

/// Records that pass the query, by time and level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// Start of the first bucket.
    pub from: Timestamp,
    /// Length of a bucket in seconds, at least 1.
    pub bucket_seconds: u64,
    /// The buckets, oldest first, without holes.
    pub buckets: Vec<Bucket>,
    /// Bytes looked at so far.
    pub scanned_bytes: u64,
    /// Bytes in all sources.
    pub total_bytes: u64,
    /// Everything there is was looked at.
    pub complete: bool,
}

/// One span of time of a histogram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Records without a level, then those of each level from `Trace` to `Fatal`.
    pub by_level: [u32; 7],
}

impl Bucket {
    /// The place of a level in `by_level`.
    pub fn index(level: Option<Level>) -> usize {
        level.map_or(0, |it| 1 + it as usize)
    }

    /// All records.
    pub fn total(&self) -> u64 {
        self.by_level.iter().map(|it| u64::from(*it)).sum()
    }

    /// Records at `Error` and above.
    pub fn errors(&self) -> u64 {
        self.by_level[Self::index(Some(Level::Error))..].iter().map(|it| u64::from(*it)).sum()
    }
}
