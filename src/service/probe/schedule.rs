//! Decides when a probe runs next.
//!
//! Pure: told the time, it answers with instants. Slots lie on a grid whose phase is the hash of the name,
//! in steps of a second, so forty probes
//! neither fire together nor wake the host forty times, and a restart does not move them. A deadline is absolute, never
//! "sleep after finish", so a slow service does not stretch its own cadence. Slots that passed while the
//! process could not run are counted as missed and never made up for.

use std::time::Duration;

use tokio::time::Instant;

/// Pace of a burst.
pub const BURST_PACE: Duration = Duration::from_secs(1);
/// A burst ends by itself: long enough to watch a restart, too short to be forgotten for good.
pub const BURST_LENGTH: Duration = Duration::from_secs(60);
/// The first runs after a start are spread over this: the screen is useful within a second, and the host is not hit by all at once.
const START_SPREAD: Duration = Duration::from_millis(500);

/// Slots lie this far apart at most, so that probes of one slot cost the host one wake-up and not one each.
const STEP_MAX: Duration = Duration::from_secs(1);
/// And no further than this part of the interval: short ones stay spread.
const STEPS: u32 = 16;

/// When one probe runs.
#[derive(Debug, Clone)]
pub struct Schedule {
    interval: Duration,
    retry: Duration,
    // Some slot of the grid; the others lie whole intervals away.
    anchor: Instant,
    due: Instant,
    // When the last run ended: what is due before it cannot begin before it.
    free_at: Instant,
    burst_until: Option<Instant>,
}

/// How a run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// How late, by our own fault.
    pub lag: Duration,
    /// Slots that passed before it.
    pub missed: u32,
}

impl Schedule {
    /// Starts the schedule of a probe; `unix` is the wall clock as a duration since the epoch.
    pub fn start(name: &str, interval: Duration, retry: Duration, unix: Duration, now: Instant) -> Self {
        let hash = Duration::from_millis(u64::from(crc32fast::hash(name.as_bytes())));
        let to_slot = forward(phase_of(unix, interval), stepped(phase_of(hash, interval), interval), interval);
        Self {
            interval,
            retry,
            anchor: now + to_slot,
            due: now + phase_of(hash, START_SPREAD.min(interval)),
            free_at: now,
            burst_until: None,
        }
    }

    /// Wants the next run then, when it is not due before.
    pub fn hasten(&mut self, at: Instant) {
        self.due = self.due.min(at);
    }

    /// The machine slept, and with it the clock that the schedule goes by: says how many slots passed.
    ///
    /// One run makes up for all of them, and the grid stays where it was on the wall.
    pub fn slept(&mut self, now: Instant, slept: Duration) -> u32 {
        let back = phase_of(slept, self.interval);
        self.anchor = self.anchor.checked_sub(back).unwrap_or(self.anchor + (self.interval - back));
        let passed = slept.as_nanos() / self.interval.as_nanos().max(1);
        if passed > 0 {
            // Spread as after a start: everything else wakes now too.
            self.due = self.due.min(now + phase_of(self.anchor.saturating_duration_since(now), START_SPREAD));
        }
        u32::try_from(passed).unwrap_or(u32::MAX)
    }

    /// When there is something to do: a run, or the end of a burst.
    pub fn wake_at(&self) -> Instant {
        self.burst_until.map_or(self.due, |until| until.min(self.due))
    }

    /// When the next run is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// True when a run is due.
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// A run begins now: says how late it is and what passed before it.
    pub fn begin(&self, now: Instant) -> Begun {
        let lag = now.saturating_duration_since(self.due.max(self.free_at));
        let missed = now.saturating_duration_since(self.due).as_nanos() / self.pace().as_nanos().max(1);
        Begun { lag, missed: u32::try_from(missed).unwrap_or(u32::MAX) }
    }

    /// A run that began at `begun_at` ended now.
    ///
    /// `is_calm` is false while the next result may decide something.
    pub fn end(&mut self, begun_at: Instant, now: Instant, is_calm: bool) {
        self.free_at = now;
        self.due = if self.burst_until.is_some() {
            (self.due.max(begun_at) + BURST_PACE).max(now)
        } else if is_calm {
            self.slot_after(begun_at)
        } else {
            (begun_at + self.retry).max(now)
        };
    }

    /// Starts a burst, or ends the one that runs; returns when it ends by itself.
    pub fn toggle_burst(&mut self, now: Instant, is_calm: bool) -> Option<Instant> {
        if self.burst_until.is_some() {
            self.end_burst(now, is_calm);
            return None;
        }
        self.burst_until = Some(now + BURST_LENGTH);
        self.due = now;
        self.burst_until
    }

    /// True when the burst is over and was not ended yet.
    pub fn burst_is_over(&self, now: Instant) -> bool {
        self.burst_until.is_some_and(|until| now >= until)
    }

    /// Goes back to the usual pace.
    pub fn end_burst(&mut self, now: Instant, is_calm: bool) {
        self.burst_until = None;
        self.due = if is_calm { self.slot_after(now) } else { now + self.retry };
    }

    // What counts as missed: whole intervals, or seconds of a burst. The retry pace is ours to stretch.
    fn pace(&self) -> Duration {
        if self.burst_until.is_some() { BURST_PACE } else { self.interval }
    }

    fn slot_after(&self, at: Instant) -> Instant {
        let interval_ns = self.interval.as_nanos().max(1);
        let slot = match at.checked_duration_since(self.anchor) {
            Some(past) => self.anchor + from_nanos((past.as_nanos() / interval_ns + 1) * interval_ns),
            // Before the first slot of the grid.
            None => self.anchor,
        };
        // A probe that was started a moment before its slot would run twice in a row.
        if slot.saturating_duration_since(at) < self.interval / 2 && at < self.anchor {
            slot + self.interval
        } else {
            slot
        }
    }
}

fn from_nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn phase_of(it: Duration, interval: Duration) -> Duration {
    from_nanos(it.as_nanos() % interval.as_nanos().max(1))
}

/// A phase on the step that it lies behind.
fn stepped(phase: Duration, interval: Duration) -> Duration {
    let step = (interval / STEPS).min(STEP_MAX);
    phase.saturating_sub(phase_of(phase, step))
}

/// How far it is from one phase forward to another.
fn forward(from: Duration, to: Duration, interval: Duration) -> Duration {
    if to >= from { to - from } else { to + interval - from }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule(now: Instant) -> Schedule {
        Schedule::start("api", SECOND * 10, SECOND * 2, Duration::from_secs(1_724_049_780), now)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_run_is_within_half_a_second_and_the_others_on_the_grid() {
        let now = crate::clock::timer();
        let mut schedule = schedule(now);
        assert!(schedule.due() < now + START_SPREAD);
        let begun_at = schedule.due();
        schedule.end(begun_at, begun_at + SECOND, true);
        let first = schedule.due();
        // The run took three seconds, the cadence does not notice.
        schedule.end(first, first + SECOND * 3, true);
        assert_eq!(schedule.due(), first + SECOND * 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_does_not_move_the_grid() {
        let now = crate::clock::timer();
        let unix = Duration::from_secs(1_724_049_780);
        let slots: Vec<Duration> = [0u64, 3, 8]
            .iter()
            .map(|later| {
                let start = now + SECOND * (*later as u32);
                let mut it = Schedule::start("api", SECOND * 10, SECOND, unix + Duration::from_secs(*later), start);
                it.end(start + SECOND * 20, start + SECOND * 20, true);
                phase_of(it.due().duration_since(now), SECOND * 10)
            })
            .collect();
        assert_eq!(slots[0], slots[1]);
        assert_eq!(slots[0], slots[2]);
    }

    #[tokio::test(start_paused = true)]
    async fn names_spread_over_the_interval() {
        let now = crate::clock::timer();
        let mut tenths: Vec<u64> = (0..40)
            .map(|index| {
                let name = format!("probe-{index}");
                let it = Schedule::start(&name, SECOND * 10, SECOND, Duration::ZERO, now);
                it.anchor.duration_since(now).as_secs()
            })
            .collect();
        tenths.sort_unstable();
        tenths.dedup();
        assert!(tenths.len() >= 8, "{tenths:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn forty_probes_share_fewer_wake_ups_than_they_are() {
        let now = crate::clock::timer();
        let slots: std::collections::BTreeSet<Duration> = (0..40)
            .map(|index| {
                let it = Schedule::start(&format!("probe-{index}"), SECOND * 15, SECOND, Duration::ZERO, now);
                it.anchor.duration_since(now)
            })
            .collect();
        assert!((10..=16).contains(&slots.len()), "{slots:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_long_stop_it_runs_once_and_counts_the_rest_as_missed() {
        let now = crate::clock::timer();
        let mut schedule = schedule(now);
        schedule.end(now, now, true);
        let due = schedule.due();
        let begun = schedule.begin(due + SECOND * 65);
        assert_eq!(begun, Begun { lag: SECOND * 65, missed: 6 });
        schedule.end(due + SECOND * 65, due + SECOND * 66, true);
        assert_eq!(schedule.due(), due + SECOND * 70);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_sleep_it_runs_once_and_the_grid_stays_on_the_wall() {
        let now = crate::clock::timer();
        let mut schedule = schedule(now);
        schedule.end(now, now, true);
        let to_slot = schedule.due() - now;
        assert_eq!(schedule.slept(now, SECOND * 3), 0, "no slot of its own passed");
        // By the wall 3 s have passed that the clock of the schedule has not seen.
        schedule.end(now + SECOND * 40, now + SECOND * 40, true);
        let phase = phase_of(schedule.due() - now, SECOND * 10);
        assert_eq!(phase, phase_of(to_slot + SECOND * 7, SECOND * 10));
        assert_eq!(schedule.slept(now + SECOND * 41, SECOND * 65), 6);
        assert!(schedule.due() <= now + SECOND * 41 + START_SPREAD);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_longer_than_the_retry_pace_is_neither_lag_nor_missed() {
        let now = crate::clock::timer();
        let mut schedule = schedule(now);
        schedule.end(now, now + SECOND * 5, false);
        assert_eq!(schedule.due(), now + SECOND * 5);
        assert_eq!(schedule.begin(now + SECOND * 5), Begun { lag: Duration::ZERO, missed: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_runs_every_second_and_ends_by_itself() {
        let now = crate::clock::timer();
        let mut schedule = schedule(now);
        assert_eq!(schedule.toggle_burst(now, true), Some(now + BURST_LENGTH));
        assert!(schedule.is_due(now));
        schedule.end(now, now, true);
        assert_eq!(schedule.due(), now + SECOND);
        assert!(!schedule.burst_is_over(now + SECOND * 59));
        assert!(schedule.burst_is_over(now + BURST_LENGTH));
        schedule.end_burst(now + BURST_LENGTH, true);
        assert!(schedule.due() > now + BURST_LENGTH);
    }
}
