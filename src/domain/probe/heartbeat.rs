//! What a heartbeat says: new, up, late, down, judged from the beats that came and from when one was due.
//!
//! As healthchecks.io does: a job reports when it is done, and its silence is the alarm. The next beat is due
//! one period, or at the next time of a cron line, after the last good one. Then it is late, and when the
//! grace time is over as well, down. A beat that reports a failure is down at once, and so is a job that
//! said it starts and has not ended within the grace time. One difference: a job that has never reported
//! since it was configured is not new for ever, but down when its first beat is overdue.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::domain::format;

/// Bytes of output kept of one beat, as many as healthchecks.io keeps.
pub const OUTPUT_MAX: usize = 10 << 10;

/// What a job reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// The heartbeat was configured: no job reports it, hotseat notes it so that the first beat can be overdue.
    Configured,
    /// The job begins.
    Start,
    /// The job is done and all is well.
    Success,
    /// The job failed.
    Fail,
    /// The job ended with this code; 0 is well.
    Exit(i32),
}

impl Signal {
    /// True when the job is done and all is well.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Success | Self::Exit(0))
    }

    /// True when the job is done, well or not.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Success | Self::Fail | Self::Exit(_))
    }
}

/// One report of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Chosen by the sender: what is sent twice counts once.
    pub id: String,
    /// When it was taken.
    pub at: Timestamp,
    /// What is reported.
    pub signal: Signal,
    /// What the job said, at most [`OUTPUT_MAX`] bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// When beats are due.
#[derive(Debug, Clone)]
pub struct Rhythm {
    /// How often, or at which times.
    pub pace: Pace,
    /// How long it may be late before it counts as down, and how long a started job may take.
    pub grace: Duration,
}

/// How often beats are due, or at which times.
#[derive(Debug, Clone)]
pub enum Pace {
    /// One period after the last good one.
    Every(Duration),
    /// At the next time of a cron line after the last good one, in a zone.
    At {
        /// The line as written.
        line: String,
        /// What it means.
        cron: Box<Cron>,
        /// In whose time.
        zone: TimeZone,
    },
}

impl Pace {
    /// Reads a cron line.
    ///
    /// # Errors
    /// In words, when it is none or never comes.
    pub fn at(line: &str, zone: TimeZone) -> Result<Self, String> {
        let cron = Cron::from_str(line).map_err(|error| format!("`{line}` is no cron line: {error}"))?;
        Ok(Self::At { line: line.to_string(), cron: Box::new(cron), zone })
    }

    /// When the beat after one at `last` is due; `None` when that is beyond all time.
    pub fn due(&self, last: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(every) => last.checked_add(*every).ok(),
            Self::At { cron, zone, .. } => {
                cron.find_next_occurrence(&last.to_zoned(zone.clone()), false).ok().map(|it| it.timestamp())
            }
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(every) => write!(f, "every {}", format::span(*every)),
            Self::At { line, zone, .. } => write!(f, "at {line} {}", zone.iana_name().unwrap_or_default()),
        }
    }
}

impl Hash for Rhythm {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pace.to_string().hash(state);
        self.grace.hash(state);
    }
}

/// What is thought of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulse {
    /// No beat has come yet, and none was due.
    New {
        /// When the first is due.
        due: Timestamp,
    },
    /// The last beat was good and none is overdue.
    Up {
        /// When the next is due.
        due: Timestamp,
    },
    /// A beat is overdue, but not for longer than the grace time.
    Late {
        /// When it was due.
        due: Timestamp,
    },
    /// A beat is overdue for longer than the grace time.
    Missing {
        /// When it was due.
        due: Timestamp,
    },
    /// The job started and has not ended within the grace time.
    Stuck {
        /// When it started.
        since: Timestamp,
    },
    /// The job reported a failure.
    Failed {
        /// When.
        at: Timestamp,
        /// Its exit code, where it gave one.
        exit: Option<i32>,
    },
}

/// What the beats of one heartbeat add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beats {
    /// When it was configured, as far as is known.
    pub configured: Option<Timestamp>,
    /// The last end of a job, well or not.
    pub last: Option<Beat>,
    /// The last good end.
    pub good: Option<Timestamp>,
    /// A job has started and not ended.
    pub running_since: Option<Timestamp>,
    /// How long the last job took that said when it started.
    pub took: Option<Duration>,
}

impl Beats {
    /// Adds up beats in the order in which they came.
    pub fn of(beats: impl IntoIterator<Item = Beat>) -> Self {
        let mut result = Self::default();
        let mut ids = std::collections::HashSet::new();
        for beat in beats {
            if ids.insert(beat.id.clone()) {
                result.add(beat);
            }
        }
        result
    }

    fn add(&mut self, beat: Beat) {
        match beat.signal {
            Signal::Configured => self.configured = self.configured.or(Some(beat.at)),
            Signal::Start => self.running_since = Some(beat.at),
            Signal::Success | Signal::Fail | Signal::Exit(_) => {
                let started = self.running_since.take();
                self.took = started.map(|it| format::since(beat.at, it));
                if beat.signal.is_good() {
                    self.good = Some(beat.at);
                }
                self.last = Some(beat);
            }
        }
    }

    /// When they are judged otherwise next, if no other comes; `None` when they are not.
    pub fn turns_at(&self, rhythm: &Rhythm, now: Timestamp) -> Option<Timestamp> {
        let after_grace = |it: Timestamp| it.checked_add(rhythm.grace).ok();
        let due = rhythm.pace.due(self.good.or(self.configured)?);
        let turns = [self.running_since.and_then(after_grace), due, due.and_then(after_grace)];
        turns.into_iter().flatten().filter(|it| *it >= now).min()
    }

    /// Judges them at a time.
    pub fn pulse(&self, rhythm: &Rhythm, now: Timestamp) -> Pulse {
        let after_grace = |it: Timestamp| it.checked_add(rhythm.grace).unwrap_or(Timestamp::MAX);
        if let Some(last) = self.last.as_ref().filter(|it| !it.signal.is_good()) {
            let exit = if let Signal::Exit(code) = last.signal { Some(code) } else { None };
            return Pulse::Failed { at: last.at, exit };
        }
        if let Some(since) = self.running_since.filter(|it| now > after_grace(*it)) {
            return Pulse::Stuck { since };
        }
        let due = self.good.or(self.configured).unwrap_or(now);
        let due = rhythm.pace.due(due).unwrap_or(Timestamp::MAX);
        if now > after_grace(due) {
            return Pulse::Missing { due };
        }
        match (now > due, self.good) {
            (true, _) => Pulse::Late { due },
            (false, Some(_)) => Pulse::Up { due },
            (false, None) => Pulse::New { due },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * MINUTE).expect("a time")
    }

    fn beats(list: &[(i64, Signal)]) -> Beats {
        let beat = |(minute, signal): &(i64, Signal)| Beat {
            id: format!("{minute}{signal:?}"),
            at: at(*minute),
            signal: *signal,
            text: String::new(),
        };
        Beats::of(list.iter().map(beat))
    }

    fn pulse(list: &[(i64, Signal)], now: i64) -> String {
        let grace = Duration::from_secs(10 * 60);
        let rhythm = Rhythm { pace: Pace::Every(Duration::from_secs(3600)), grace };
        let minute = |it: Timestamp| (it.as_second() - 1_800_000_000) / MINUTE;
        match beats(list).pulse(&rhythm, at(now)) {
            Pulse::New { due } => format!("new {}", minute(due)),
            Pulse::Up { due } => format!("up {}", minute(due)),
            Pulse::Late { due } => format!("late {}", minute(due)),
            Pulse::Missing { due } => format!("missing {}", minute(due)),
            Pulse::Stuck { since } => format!("stuck {}", minute(since)),
            Pulse::Failed { at, exit } => format!("failed {} {exit:?}", minute(at)),
        }
    }

    #[test]
    fn a_heartbeat_is_new_then_up_then_late_then_down() {
        use Signal::{Configured, Exit, Fail, Start, Success};
        for (list, now, wanted) in [
            (&[][..], 0, "new 60"),
            (&[(0, Configured)], 60, "new 60"),
            (&[(0, Configured)], 61, "late 60"),
            (&[(0, Configured)], 71, "missing 60"),
            (&[(0, Configured), (30, Success)], 90, "up 90"),
            (&[(30, Success)], 91, "late 90"),
            (&[(30, Success)], 100, "late 90"),
            (&[(30, Success)], 101, "missing 90"),
            (&[(30, Success), (102, Success)], 110, "up 162"),
            (&[(30, Success), (40, Fail)], 41, "failed 40 None"),
            (&[(30, Success), (40, Exit(3))], 41, "failed 40 Some(3)"),
            // A failure is not forgotten because the next run has begun.
            (&[(30, Success), (40, Exit(3)), (50, Start)], 51, "failed 40 Some(3)"),
            (&[(40, Exit(3)), (50, Start), (55, Exit(0))], 56, "up 115"),
            (&[(30, Success), (40, Start)], 50, "up 90"),
            (&[(30, Success), (40, Start)], 51, "stuck 40"),
            // The clock was put back: what is ahead is not overdue.
            (&[(30, Success)], 0, "up 90"),
        ] {
            assert_eq!(pulse(list, now), wanted, "{list:?} at {now}");
        }
    }

    #[test]
    fn what_is_judged_otherwise_by_time_alone_is_so_right_after_the_time_that_is_named() {
        use Signal::{Configured, Start, Success};
        let grace = Duration::from_secs(10 * 60);
        let rhythm = Rhythm { pace: Pace::Every(Duration::from_secs(3600)), grace };
        for list in [&[(0, Configured)][..], &[(0, Success)], &[(0, Success), (3, Start)], &[(0, Success), (55, Start)]]
        {
            let beats = beats(list);
            let mut now = at(list.last().expect("one").0);
            let mut turns = 0;
            while let Some(turn) = beats.turns_at(&rhythm, now) {
                assert_eq!(beats.pulse(&rhythm, now), beats.pulse(&rhythm, turn), "{list:?}: not before");
                now = turn + jiff::SignedDuration::from_millis(1);
                turns += 1;
            }
            assert!((2..=3).contains(&turns), "{list:?}");
            let last = beats.pulse(&rhythm, now);
            assert!(matches!(last, Pulse::Missing { .. } | Pulse::Stuck { .. }), "{last:?}");
        }
        assert_eq!(beats(&[]).turns_at(&rhythm, at(0)), None);
    }

    #[test]
    fn a_beat_that_is_sent_twice_counts_once_and_the_duration_is_from_start_to_end() {
        let beats = beats(&[(0, Signal::Start), (7, Signal::Success), (7, Signal::Success)]);
        assert_eq!(beats.took, Some(Duration::from_secs(7 * 60)));
        assert_eq!(beats.running_since, None);
    }

    #[test]
    fn a_cron_line_is_due_in_its_own_zone_also_when_clocks_change() {
        let zone = TimeZone::get("Europe/Berlin").expect("a zone");
        let pace = Pace::at("30 2 * * *", zone).expect("a cron line");
        let due = |last: &str| pace.due(last.parse().expect("a time")).map(|it| it.to_string());
        assert_eq!(due("2026-11-22T01:40:00Z").as_deref(), Some("2026-11-23T01:30:00Z"));
        // In the night of 29 March there is no 02:30; the day after there is.
        assert!(due("2026-03-28T01:40:00Z").is_some_and(|it| it.as_str() <= "2026-03-30T00:30:00Z"));
        assert!(Pace::at("61 2 * * *", TimeZone::UTC).is_err());
    }
}
