//! How slow a service usually is at this hour of the week, and whether it is slower now.
//!
//! One small histogram for each of the 168 hours of a week, in UTC, with buckets that grow by a fifth. An
//! hour is compared with itself in past weeks only: what it sees is added when it has ended, so that an
//! outage does not become what is usual while it lasts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Runs whose 95th percentile is compared: two slow ones of them count, one does not.
pub const RECENT: usize = 20;
/// Runs of this hour that must be known before it is judged.
const HISTORY_MIN: u32 = 20;
/// Runs of one hour at which the old ones count half: eight weeks of a check every 30 s.
const HISTORY_MAX: u32 = 960;
/// The band ends this much above the usual 95th percentile, as a factor.
const BAND_FACTOR: f64 = 1.5;
/// The band ends at least this much above it: two milliseconds instead of one are no news.
const BAND_LEAST: Duration = Duration::from_millis(10);
/// Buckets to a doubling.
const BUCKETS_PER_OCTAVE: f64 = 4.0;
/// The first bucket ends here, in microseconds.
const FIRST_US: f64 = 100.0;
/// The last bucket: longer than the longest deadline that makes sense.
const BUCKET_MAX: u8 = 120;
const HOUR_S: i64 = 3600;
const WEEK_HOURS: i64 = 168;

/// What is usual, by hour of the week.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    // Shared with what is on its way to the store; changes once an hour.
    past: Arc<BTreeMap<u8, Histogram>>,
    // The hour that lasts, as hours since the epoch, and what it saw.
    hour: i64,
    current: Histogram,
    // The last runs in microseconds, oldest first; at most `RECENT`.
    recent: VecDeque<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Histogram(BTreeMap<u8, u16>);

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Band {
    /// The usual 95th percentile of this hour of the week.
    pub usual: Duration,
    /// What is slower is out of the band.
    pub top: Duration,
}

impl Baseline {
    /// Folds the time of a good run in.
    pub fn push(&mut self, at: Timestamp, took: Duration) {
        let hour = at.as_second().div_euclid(HOUR_S);
        if hour != self.hour {
            let ended = std::mem::take(&mut self.current);
            if !ended.0.is_empty() {
                let past = Arc::make_mut(&mut self.past);
                past.entry(of_week(self.hour)).or_default().take_in(&ended);
            }
            self.hour = hour;
        }
        self.current.add(bucket_of(took), 1);
        self.recent.push_back(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// The band of an hour; `None` while too little is known of it.
    pub fn band(&self, at: Timestamp) -> Option<Band> {
        let histogram = self.past.get(&of_week(at.as_second().div_euclid(HOUR_S)))?;
        if histogram.total() < HISTORY_MIN {
            return None;
        }
        let usual = histogram.p95()?;
        Some(Band { usual, top: usual.mul_f64(BAND_FACTOR).max(usual + BAND_LEAST) })
    }

    /// The 95th percentile of the last [`RECENT`] runs; `None` until there are so many.
    pub fn recent(&self) -> Option<Duration> {
        if self.recent.len() < RECENT {
            return None;
        }
        let mut sorted: Vec<u32> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        Some(Duration::from_micros(u64::from(sorted[RECENT * 95 / 100 - 1])))
    }

    /// The band that the last runs have left, and their 95th percentile.
    pub fn left(&self, at: Timestamp) -> Option<(Band, Duration)> {
        let (band, recent) = (self.band(at)?, self.recent()?);
        (recent > band.top).then_some((band, recent))
    }
}

impl Histogram {
    fn add(&mut self, bucket: u8, count: u16) {
        let slot = self.0.entry(bucket).or_default();
        *slot = slot.saturating_add(count);
    }

    fn take_in(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            self.add(*bucket, *count);
        }
        while self.total() > HISTORY_MAX {
            self.0.retain(|_, count| {
                *count /= 2;
                *count > 0
            });
        }
    }

    fn total(&self) -> u32 {
        self.0.values().map(|it| u32::from(*it)).sum()
    }

    /// The upper end of the bucket in which the 95th percentile lies.
    fn p95(&self) -> Option<Duration> {
        let wanted = (f64::from(self.total()) * 0.95).ceil() as u32;
        let mut seen = 0;
        let bucket = self.0.iter().find(|(_, count)| {
            seen += u32::from(**count);
            seen >= wanted
        });
        bucket.map(|(bucket, _)| end_of(*bucket))
    }
}

fn of_week(hour: i64) -> u8 {
    hour.rem_euclid(WEEK_HOURS) as u8
}

fn bucket_of(took: Duration) -> u8 {
    let doublings = (took.as_secs_f64() * 1e6 / FIRST_US).max(1.0).log2();
    (doublings * BUCKETS_PER_OCTAVE).ceil().min(f64::from(BUCKET_MAX)) as u8
}

fn end_of(bucket: u8) -> Duration {
    Duration::from_secs_f64(FIRST_US * (f64::from(bucket) / BUCKETS_PER_OCTAVE).exp2() / 1e6)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(week: i64, hour: i64, second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs((week * WEEK_HOURS + hour) * HOUR_S + second)
    }

    /// Weeks in which every hour of a day takes as many milliseconds as it is late, at least one.
    fn learned(weeks: i64) -> Baseline {
        let mut baseline = Baseline::default();
        for week in 0..weeks {
            for hour in 0..WEEK_HOURS {
                for run in 0..30 {
                    baseline.push(at(week, hour, run * 120), MS * (hour % 24 + 1) as u32 * 10);
                }
            }
        }
        baseline
    }

    #[test]
    fn an_hour_is_judged_when_it_is_known_from_a_past_week() {
        let baseline = learned(1);
        assert_eq!(Baseline::default().band(at(0, 0, 0)), None);
        let band = baseline.band(at(1, 4, 0)).expect("known");
        assert!((50..60).contains(&(band.usual.as_millis() as u64)), "{band:?}");
        assert_eq!(band.top, band.usual.mul_f64(1.5));
        // The last hour has not ended.
        assert_eq!(baseline.band(at(1, 167, 0)), None);
    }

    #[test]
    fn what_is_usual_at_one_hour_is_slow_at_another() {
        let runs = |hour: i64| {
            let mut baseline = learned(2);
            for run in 0..RECENT as i64 {
                baseline.push(at(2, hour, run * 30), MS * 200);
            }
            baseline.left(at(2, hour, 1200)).is_some()
        };
        assert!(runs(3), "the usual 40 ms have become 200");
        assert!(!runs(19), "200 ms are usual");
    }

    #[test]
    fn one_slow_run_of_twenty_is_none_and_two_are() {
        let mut baseline = learned(2);
        for run in 0..RECENT as i64 {
            baseline.push(at(2, 3, run), MS * if run == 5 { 900 } else { 40 });
        }
        assert_eq!(baseline.left(at(2, 3, 60)), None);
        baseline.push(at(2, 3, 60), MS * 900);
        let (band, recent) = baseline.left(at(2, 3, 60)).expect("left");
        assert_eq!(recent, MS * 900);
        assert!(recent > band.top && band.top > band.usual);
    }

    #[test]
    fn an_hour_that_is_slow_does_not_become_usual_while_it_lasts() {
        let mut baseline = learned(2);
        let before = baseline.band(at(2, 3, 0));
        for run in 0..100 {
            baseline.push(at(2, 3, run * 30), MS * 900);
        }
        assert_eq!(baseline.band(at(2, 3, 3599)), before);
        assert!(baseline.left(at(2, 3, 3599)).is_some());
        baseline.push(at(2, 4, 0), MS * 50);
        assert_ne!(baseline.band(at(3, 3, 0)), before, "but it is remembered");
    }

    #[test]
    fn a_year_stays_small_and_survives_being_written_down() {
        let mut baseline = learned(2);
        for week in 2..54 {
            for run in 0..240 {
                baseline.push(at(week, 5, run * 15), MS * (40 + run as u32 % 20));
            }
        }
        baseline.push(at(54, 6, 0), MS);
        let total = baseline.past.get(&5).expect("known").total();
        assert!((HISTORY_MAX / 2 - 20..=HISTORY_MAX).contains(&total), "{total}");
        let text = serde_json::to_string(&baseline).expect("serialises");
        assert!(text.len() < 12_000, "{}", text.len());
        assert_eq!(serde_json::from_str::<Baseline>(&text).expect("reads"), baseline);
    }

    #[test]
    fn buckets_hold_what_they_are_for() {
        for us in [1u64, 99, 100, 101, 250, 1_000, 40_000, 5_000_000, 3_600_000_000] {
            let took = Duration::from_micros(us);
            let end = end_of(bucket_of(took));
            assert!(end >= took || bucket_of(took) == BUCKET_MAX, "{us}");
            assert!(end <= took.mul_f64(1.2).max(Duration::from_micros(101)), "{us}: {end:?}");
        }
    }
}
