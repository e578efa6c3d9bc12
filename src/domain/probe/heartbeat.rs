//! What a heartbeat says: new, up, late, down, judged from the beats that came and from when one was due.
//!
//! As healthchecks.io does: a job reports when it is done, and its silence is the alarm. The next beat is due
//! one period, or at the next time of a cron line, after the last good one. Then it is late, and when the
//! grace time is over as well, down. A beat that reports a failure is down at once, and so is a job that
//! said it starts and has not ended within the grace time. One difference: a job that has never reported
//! since it was configured is not new for ever, but down when its first beat is overdue.
//!
//! What runs out while nobody looks, because the machine sleeps or hotseat is stopped, is put off by that time, a grace time
//! at most: a job of this host slept as well, and one that reports by HTTP found nobody to take its beat.
//!
//! Ages are measured by the clock that nobody can set, as long as the machine is not started anew: a wall clock that is
//! put back must not make a silent job look alive until it has caught up, nor one that is put ahead page at once.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::format;

/// The wall clock and the one that nobody can set are one when they differ by less: they are read one after the other,
/// and a time that is kept shall not change with each reading.
const DRIFT_MAX: SignedDuration = SignedDuration::from_secs(2);

/// A look comes so much behind the deadline it was meant for, when nothing keeps it: what is later was asleep or stopped.
const LOOK_LAG_MAX: SignedDuration = SignedDuration::from_secs(5);

/// Bytes of output kept of one beat, as many as healthchecks.io keeps.
pub const OUTPUT_MAX: usize = 10 << 10;

/// What a job reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// The heartbeat was configured: no job reports it, hotseat notes it so that the first beat can be overdue.
    Configured,
    /// No job reports it either: what came before and seemed to lie ahead is taken to have come now, see [`Beats::is_ahead`].
    Anchored,
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

/// A moment of the clock that nobody can set: it goes on while the machine sleeps, and ends with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootTime {
    /// Which start of the machine.
    pub boot: String,
    /// Milliseconds since that start.
    pub ms: u64,
}

/// One report of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Chosen by the sender: what is sent twice counts once.
    pub id: String,
    /// When it was taken.
    pub at: Timestamp,
    /// The same by the clock that nobody can set, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootTime>,
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

/// What the clocks say when beats are judged.
#[derive(Debug, Clone)]
pub struct Clocks {
    /// The wall clock.
    pub now: Timestamp,
    /// The one that nobody can set, where there is one.
    pub boot: Option<BootTime>,
}

impl Clocks {
    /// When something was that the clocks of then stand for, by the wall clock as it goes now.
    fn time_of(&self, at: Timestamp, boot: Option<&BootTime>) -> Timestamp {
        let (Some(then), Some(now)) = (boot, &self.boot) else { return at };
        let age_ms = now.ms.checked_sub(then.ms).filter(|_| now.boot == then.boot);
        let age = age_ms.and_then(|it| i64::try_from(it).ok()).map(SignedDuration::from_millis);
        let was = age.and_then(|it| self.now.checked_sub(it).ok()).unwrap_or(at);
        if was.duration_since(at).abs() < DRIFT_MAX { at } else { was }
    }
}

/// When somebody looked at a heartbeat.
#[derive(Debug, Default)]
pub struct Watch {
    looked: Option<Clocks>,
    // The last look before and the first after something ran out that nobody saw run out.
    away: Option<(Clocks, Clocks)>,
}

/// A time in which nobody looked, by the wall clock as it goes now.
///
/// What ran out in it runs out that much later, but by no more than a grace time: a dead man's switch is put off once
/// and not for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Away {
    /// The last look before.
    pub from: Timestamp,
    /// The first after.
    pub until: Timestamp,
}

impl Away {
    fn put_off(self, end: Timestamp, grace: Duration) -> Timestamp {
        if end <= self.from || end > self.until {
            return end;
        }
        let by = format::since(self.until, self.from).min(grace);
        self.until.checked_add(by).unwrap_or(Timestamp::MAX)
    }
}

impl Watch {
    /// Notes that somebody looks, and says which time before must be made up for.
    pub fn look(&mut self, beats: &Beats, rhythm: &Rhythm, clocks: &Clocks) -> Option<Away> {
        if let Some(before) = self.looked.replace(clocks.clone()) {
            let from = clocks.time_of(before.now, before.boot.as_ref());
            let is_missed = |it: Timestamp| from < it && clocks.now.duration_since(it) > LOOK_LAG_MAX;
            if beats.terms(rhythm, clocks.now, None).all().any(is_missed) {
                self.away = Some((before, clocks.clone()));
            }
        }
        let (from, until) = self.away.as_ref()?;
        let time = |it: &Clocks| clocks.time_of(it.now, it.boot.as_ref());
        Some(Away { from: time(from), until: time(until) })
    }
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
    pub fn of(beats: impl IntoIterator<Item = Beat>, clocks: &Clocks) -> Self {
        let mut result = Self::default();
        let mut ids = std::collections::HashSet::new();
        for beat in beats {
            if ids.insert(beat.id.clone()) {
                result.add(Beat { at: clocks.time_of(beat.at, beat.boot.as_ref()), ..beat });
            }
        }
        result
    }

    /// True when something seems to have come later than now: the clock was put back while the machine was off, so how
    /// old it is cannot be known. Noted once as [`Signal::Anchored`], it grows old from then on.
    pub fn is_ahead(&self, now: Timestamp) -> bool {
        let times = [self.configured, self.good, self.running_since, self.last.as_ref().map(|it| it.at)];
        times.into_iter().flatten().any(|it| it.duration_since(now) >= DRIFT_MAX)
    }

    fn add(&mut self, beat: Beat) {
        match beat.signal {
            Signal::Configured => self.configured = self.configured.or(Some(beat.at)),
            Signal::Anchored => {
                let last = self.last.as_mut().map(|it| &mut it.at);
                let times = [&mut self.configured, &mut self.good, &mut self.running_since];
                for time in times.into_iter().flatten().chain(last) {
                    *time = (*time).min(beat.at);
                }
            }
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
    pub fn turns_at(&self, rhythm: &Rhythm, now: Timestamp, away: Option<Away>) -> Option<Timestamp> {
        self.good.or(self.configured)?;
        self.terms(rhythm, now, away).all().filter(|it| *it >= now && *it < Timestamp::MAX).min()
    }

    /// Judges them at a time. What ran out while nobody looked is put off, see [`Away`].
    pub fn pulse(&self, rhythm: &Rhythm, now: Timestamp, away: Option<Away>) -> Pulse {
        if let Some(last) = self.last.as_ref().filter(|it| !it.signal.is_good()) {
            let exit = if let Signal::Exit(code) = last.signal { Some(code) } else { None };
            return Pulse::Failed { at: last.at, exit };
        }
        let terms = self.terms(rhythm, now, away);
        if let Some(since) = self.running_since.filter(|_| terms.stuck.is_some_and(|it| now > it)) {
            return Pulse::Stuck { since };
        }
        if now > terms.missing {
            return Pulse::Missing { due: terms.due };
        }
        match (now > terms.late, self.good) {
            (true, _) => Pulse::Late { due: terms.due },
            (false, Some(_)) => Pulse::Up { due: terms.late },
            (false, None) => Pulse::New { due: terms.late },
        }
    }

    fn terms(&self, rhythm: &Rhythm, now: Timestamp, away: Option<Away>) -> Terms {
        let after_grace = |it: Timestamp| it.checked_add(rhythm.grace).unwrap_or(Timestamp::MAX);
        let put_off = |it: Timestamp| away.map_or(it, |away| away.put_off(it, rhythm.grace));
        let due = rhythm.pace.due(self.good.or(self.configured).unwrap_or(now)).unwrap_or(Timestamp::MAX);
        let late = put_off(due);
        let missing = put_off(after_grace(due)).max(late);
        Terms { due, late, missing, stuck: self.running_since.map(|it| put_off(after_grace(it))) }
    }
}

/// When beats are judged otherwise without another.
struct Terms {
    /// When the next beat is due.
    due: Timestamp,
    /// After which it is late.
    late: Timestamp,
    /// After which it is missing.
    missing: Timestamp,
    /// After which the job that runs should have ended.
    stuck: Option<Timestamp>,
}

impl Terms {
    fn all(&self) -> impl Iterator<Item = Timestamp> {
        [self.late, self.missing].into_iter().chain(self.stuck)
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
            boot: None,
            signal: *signal,
            text: String::new(),
        };
        Beats::of(list.iter().map(beat), &Clocks { now: at(0), boot: None })
    }

    fn pulse(list: &[(i64, Signal)], now: i64) -> String {
        let grace = Duration::from_secs(10 * 60);
        let rhythm = Rhythm { pace: Pace::Every(Duration::from_secs(3600)), grace };
        let minute = |it: Timestamp| (it.as_second() - 1_800_000_000) / MINUTE;
        match beats(list).pulse(&rhythm, at(now), None) {
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
        use Signal::{Anchored, Configured, Exit, Fail, Start, Success};
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
            // The clock was put back while the machine was off: noted once, the beat is as old as the note.
            (&[(1440, Success), (0, Anchored)], 60, "up 60"),
            (&[(1440, Success), (0, Anchored)], 71, "missing 60"),
            (&[(1440, Configured), (0, Anchored)], 71, "missing 60"),
            (&[(0, Success), (1440, Start), (5, Anchored)], 16, "stuck 5"),
            (&[(1440, Success), (0, Anchored), (30, Success)], 61, "up 90"),
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
            while let Some(turn) = beats.turns_at(&rhythm, now, None) {
                assert_eq!(beats.pulse(&rhythm, now, None), beats.pulse(&rhythm, turn, None), "{list:?}: not before");
                now = turn + jiff::SignedDuration::from_millis(1);
                turns += 1;
            }
            assert!((2..=3).contains(&turns), "{list:?}");
            let last = beats.pulse(&rhythm, now, None);
            assert!(matches!(last, Pulse::Missing { .. } | Pulse::Stuck { .. }), "{last:?}");
        }
        assert_eq!(beats(&[]).turns_at(&rhythm, at(0), None), None);
    }

    #[test]
    fn what_runs_out_while_nobody_looks_is_put_off_once_and_by_a_grace_time_at_most() {
        use Signal::{Start, Success};
        let rhythm = Rhythm { pace: Pace::Every(Duration::from_secs(3600)), grace: Duration::from_secs(10 * 60) };
        let looks = |list: &[(i64, Signal)], minutes: &[i64]| -> Vec<String> {
            let mut watch = Watch::default();
            let look = |minute: &i64| {
                let clocks = Clocks { now: at(*minute), boot: None };
                let beats = beats(list);
                let away = watch.look(&beats, &rhythm, &clocks);
                let turns = beats.turns_at(&rhythm, clocks.now, away);
                let turns = turns.map_or(-1, |it| (it.as_second() - 1_800_000_000) / MINUTE);
                match beats.pulse(&rhythm, clocks.now, away) {
                    Pulse::Missing { .. } => "missing".to_string(),
                    Pulse::Stuck { .. } => "stuck".to_string(),
                    Pulse::Late { .. } => format!("late until {turns}"),
                    _ => format!("up until {turns}"),
                }
            };
            minutes.iter().map(look).collect()
        };
        let beat = [(0, Success)];
        // Due at 60, looked at whenever something turns.
        assert_eq!(
            looks(&beat, &[1, 60, 61, 70, 71]),
            ["up until 60", "up until 60", "late until 70", "late until 70", "missing"]
        );
        // Nobody looks from 50 to 300, or from 62 on, when it was late already.
        assert_eq!(looks(&beat, &[50, 300, 310, 311]), ["up until 60", "up until 310", "up until 310", "missing"]);
        assert_eq!(
            looks(&beat, &[62, 300, 310, 311]),
            ["late until 70", "late until 310", "late until 310", "missing"]
        );
        // A short while is made up for and no more.
        assert_eq!(
            looks(&beat, &[59, 62, 64, 66, 70, 71]),
            ["up until 60", "up until 65", "up until 65", "late until 70", "late until 70", "missing"]
        );
        // Seldom looked at afterwards: nothing is put off twice.
        assert_eq!(looks(&beat, &[50, 300, 400, 401]), ["up until 60", "up until 310", "missing", "missing"]);
        // It was missing before, and the first look after a start knows of none before.
        assert_eq!(looks(&beat, &[60, 70, 71, 300])[2..], ["missing", "missing"]);
        assert_eq!(looks(&beat, &[300]), ["missing"]);
        let runs = [(0, Success), (20, Start)];
        assert_eq!(
            looks(&runs, &[25, 42, 51, 52, 53]),
            ["up until 30", "up until 52", "up until 52", "up until 52", "stuck"]
        );
    }

    #[test]
    fn a_wall_clock_that_is_set_changes_neither_when_a_beat_is_overdue_nor_for_how_long() {
        let grace = Duration::from_secs(10 * 60);
        let rhythm = Rhythm { pace: Pace::Every(Duration::from_secs(3600)), grace };
        let boot = |boot: &str, minute: u64| Some(BootTime { boot: boot.into(), ms: minute * 60_000 });
        let beat = |wall: i64, up: u64| Beat {
            id: format!("{wall}"),
            at: at(wall),
            boot: boot("a", up),
            signal: Signal::Success,
            text: String::new(),
        };
        // It came at 0 by the wall, 100 minutes after the start.
        let judged = |wall: i64, boot: Option<BootTime>| {
            let clocks = Clocks { now: at(wall), boot };
            let beats = Beats::of([beat(0, 100)], &clocks);
            assert!(!beats.is_ahead(clocks.now) || clocks.boot.as_ref().is_none_or(|it| it.boot != "a"));
            match beats.pulse(&rhythm, clocks.now, None) {
                Pulse::Up { due } => format!("up, due in {:#}", due.duration_since(clocks.now)),
                Pulse::Missing { due } => format!("missing for {:#}", clocks.now.duration_since(due)),
                pulse => format!("{pulse:?}"),
            }
        };
        assert_eq!(judged(20, boot("a", 120)), "up, due in 40m");
        // Put back by a day, and ahead by a day.
        assert_eq!(judged(20 - 1440, boot("a", 120)), "up, due in 40m");
        assert_eq!(judged(72 - 1440, boot("a", 172)), "missing for 12m");
        assert_eq!(judged(20 + 1440, boot("a", 120)), "up, due in 40m");
        assert_eq!(judged(72 + 1440, boot("a", 172)), "missing for 12m");
        // Since then the machine was started anew: the wall clock is all there is.
        assert_eq!(judged(72, boot("b", 2)), "missing for 12m");
        let clocks = Clocks { now: at(-1440), boot: boot("b", 2) };
        assert!(Beats::of([beat(0, 100)], &clocks).is_ahead(clocks.now));
        // What two readings differ by changes no time.
        let clocks = Clocks { now: at(20) + SignedDuration::from_millis(700), boot: boot("a", 120) };
        assert_eq!(Beats::of([beat(0, 100)], &clocks).good, Some(at(0)));
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
