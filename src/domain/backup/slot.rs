//! Decides when a backup is due.
//!
//! Pure: given a schedule in civil time, the time and what was attempted, it answers with a slot to run, an
//! instant to wait for, or nothing. A slot is named by its instant, so that the two 01:00 of an autumn
//! night are never confused. The thread that sleeps lives in `service::backup`.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

/// Runs of one slot before it is given up: the first and two retries. The next slot starts afresh.
pub const ATTEMPTS_MAX: usize = 3;

/// Wait before the first retry of a failed slot; the second waits four times as long.
pub const RETRY_DELAY: Duration = Duration::from_secs(5 * 60);

/// Missed slots listed per job: a month of daily backups says "it was off" as well as a year does.
pub const MISSED_MAX: usize = 31;

/// Days looked at around an instant: a weekly slot, and a day more for the zone's offset.
const SEARCH_DAYS: i32 = 9;

/// When a job runs, in the civil time of a zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    time: Time,
    weekday: Option<Weekday>,
    zone: TimeZone,
}

const WEEKDAYS: &[(&str, Weekday)] = &[
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

impl Schedule {
    /// Parses `daily 01:00` or `weekly sun 01:00`.
    ///
    /// # Errors
    /// In words, for the config error.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (weekday, time) = match words.as_slice() {
            ["daily", time] => (None, time),
            ["weekly", day, time] => {
                let found = WEEKDAYS.iter().find(|(name, _)| name == day);
                let Some((_, weekday)) = found else {
                    return Err(format!("unknown day `{day}`, expected one of mon, tue, wed, thu, fri, sat, sun"));
                };
                (Some(*weekday), time)
            }
            _ => return Err(format!("`{text}` is not a schedule")),
        };
        let Some(time) = parse_time(time) else {
            return Err(format!("`{time}` is not a time of day"));
        };
        Ok(Self { time, weekday, zone })
    }

    /// The zone whose civil time counts.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The schedule as it is written in a config.
    pub fn text(&self) -> String {
        let time = format!("{:02}:{:02}", self.time.hour(), self.time.minute());
        let day = self.weekday.and_then(|it| WEEKDAYS.iter().find(|(_, weekday)| *weekday == it));
        match day {
            Some((day, _)) => format!("weekly {day} {time}"),
            None => format!("daily {time}"),
        }
    }

    /// The zone's name, as it is written in a config.
    pub fn zone_name(&self) -> String {
        self.zone.iana_name().unwrap_or("the host's zone").to_string()
    }

    /// Returns the newest slot that is not after `now`.
    pub fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        self.around(now, 1).into_iter().rfind(|slot| *slot <= now)
    }

    /// Returns the first slot after `now`.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.around(now, SEARCH_DAYS).into_iter().find(|slot| *slot > now)
    }

    /// The newest slots after `after` and before `before`, at most `max`, oldest first.
    pub fn between(&self, after: Timestamp, before: Timestamp, max: usize) -> Vec<Timestamp> {
        let mut slots = Vec::new();
        let Ok(mut at) = before.checked_sub(1.nanosecond()) else { return slots };
        while slots.len() < max {
            let Some(slot) = self.latest(at).filter(|it| *it > after) else { break };
            slots.push(slot);
            let Ok(before) = slot.checked_sub(1.nanosecond()) else { break };
            at = before;
        }
        slots.reverse();
        slots
    }

    /// Slots from `SEARCH_DAYS` before the civil day of `now` to `ahead` days after it, oldest first.
    fn around(&self, now: Timestamp, ahead: i32) -> Vec<Timestamp> {
        let today = self.zone.to_datetime(now).date();
        let days = (-SEARCH_DAYS..=ahead).filter_map(|offset| today.checked_add(offset.days()).ok());
        days.filter(|date| self.weekday.is_none_or(|it| date.weekday() == it))
            .filter_map(|date| self.slot_on(date))
            .collect()
    }

    /// The instant of the slot of a civil day.
    ///
    /// A time that the day skips gives the first instant after the gap; a time that comes twice gives the
    /// first of the two.
    fn slot_on(&self, date: Date) -> Option<Timestamp> {
        let civil = date.to_datetime(self.time);
        match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok(),
            AmbiguousOffset::Gap { before, .. } => {
                let beyond = before.to_timestamp(civil).ok()?;
                let just_after = beyond.checked_add(1.second()).ok()?;
                Some(self.zone.preceding(just_after).next().map_or(beyond, |transition| transition.timestamp()))
            }
        }
    }
}

fn parse_time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let two_digits =
        |it: &str| (it.len() == 2 && it.bytes().all(|byte| byte.is_ascii_digit())).then(|| it.parse().ok());
    Time::new(two_digits(hour)??, two_digits(minute)??, 0, 0).ok()
}

/// How one attempt at a slot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The slot is done.
    Good,
    /// It failed and may be tried again after a while.
    Failed,
    /// It was cut off (a kill, a reboot, a quit) and may be tried again at once.
    Interrupted,
}

/// One attempt at a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Which slot.
    pub slot: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How.
    pub outcome: AttemptOutcome,
}

/// What a job does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Run now, for this slot.
    Due(Timestamp),
    /// Nothing before this instant.
    At(Timestamp),
    /// Nothing ever.
    Never,
}

/// Decides what a job does next. `since` is when this schedule was first seen: older slots were never ours.
///
/// Only the newest slot is ever run, so that a week of downtime is followed by one run, not by seven. A clock
/// that went backwards finds its slots done and waits for the first one that is new.
pub fn next(schedule: &Schedule, now: Timestamp, since: Timestamp, attempts: &[Attempt]) -> Next {
    let newest_tried = attempts.iter().map(|it| it.slot).max();
    let upcoming = || schedule.next(newest_tried.map_or(now, |it| it.max(now))).map_or(Next::Never, Next::At);
    let Some(latest) = schedule.latest(now).filter(|slot| *slot > since) else { return upcoming() };
    if newest_tried.is_some_and(|it| it > latest) {
        return upcoming();
    }
    let tried: Vec<&Attempt> = attempts.iter().filter(|it| it.slot == latest).collect();
    let Some(last) = tried.iter().max_by_key(|it| it.ended) else { return Next::Due(latest) };
    if tried.len() >= ATTEMPTS_MAX || tried.iter().any(|it| it.outcome == AttemptOutcome::Good) {
        return upcoming();
    }
    if last.outcome == AttemptOutcome::Interrupted {
        return Next::Due(latest);
    }
    let delay = RETRY_DELAY * if tried.len() == 1 { 1 } else { 4 };
    let retry = last.ended.checked_add(delay).unwrap_or(last.ended);
    if retry <= now { Next::Due(latest) } else { Next::At(retry) }
}

/// Lists the slots since `since` that nothing ran for, oldest first; the newest slot is not among them, because
/// it is still caught up.
pub fn missed(schedule: &Schedule, now: Timestamp, since: Timestamp, seen: &BTreeSet<Timestamp>) -> Vec<Timestamp> {
    let Some(latest) = schedule.latest(now) else { return Vec::new() };
    let slots = schedule.between(since, latest, MISSED_MAX);
    slots.into_iter().filter(|slot| !seen.contains(slot)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn daily(time: &str, zone: &str) -> Schedule {
        Schedule::parse(&format!("daily {time}"), TimeZone::get(zone).unwrap()).unwrap()
    }

    #[test]
    fn a_slot_in_the_gap_runs_once_at_the_first_instant_after_and_one_in_the_fold_once_at_the_first() {
        #[track_caller]
        fn check(zone: &str, time: &str, from: &str, to: &str, expected: &[&str]) {
            let slots = daily(time, zone).between(at(from), at(to), 10);
            assert_eq!(slots.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{zone} {time}");
        }
        let spring = ("2026-03-28T00:30:00Z", "2026-03-31T00:00:00Z");
        let london = ["2026-03-28T01:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"];
        check("Europe/London", "01:00", spring.0, spring.1, &london);
        let london = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
        check("Europe/London", "01:30", spring.0, spring.1, &london);
        let autumn = ("2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
        check("Europe/London", "01:00", autumn.0, autumn.1, &["2026-10-25T00:00:00Z", "2026-10-26T01:00:00Z"]);
        let november = ("2026-10-31T12:00:00Z", "2026-11-02T12:00:00Z");
        check("America/New_York", "01:00", november.0, november.1, &["2026-11-01T05:00:00Z", "2026-11-02T06:00:00Z"]);
    }

    #[test]
    fn downtime_of_a_week_is_followed_by_one_run_and_six_ghosts() {
        let schedule = daily("01:00", "UTC");
        let (since, now) = (at("2026-11-01T12:00:00Z"), at("2026-11-08T12:00:00Z"));
        assert_eq!(next(&schedule, now, since, &[]), Next::Due(at("2026-11-08T01:00:00Z")));
        let ghosts = missed(&schedule, now, since, &BTreeSet::new());
        assert_eq!((ghosts.len(), ghosts[0]), (6, at("2026-11-02T01:00:00Z")));
        let good = Attempt {
            slot: at("2026-11-08T01:00:00Z"),
            ended: at("2026-11-08T12:00:03Z"),
            outcome: AttemptOutcome::Good,
        };
        assert_eq!(next(&schedule, now, since, &[good]), Next::At(at("2026-11-09T01:00:00Z")));
    }

    #[test]
    fn a_clock_that_goes_back_runs_no_slot_twice() {
        let schedule = daily("01:00", "UTC");
        let since = at("2026-11-01T12:00:00Z");
        let good = Attempt {
            slot: at("2026-11-08T01:00:00Z"),
            ended: at("2026-11-08T01:00:03Z"),
            outcome: AttemptOutcome::Good,
        };
        for now in ["2026-11-08T00:30:00Z", "2026-11-07T12:00:00Z", "1970-01-02T00:00:00Z"] {
            assert_eq!(next(&schedule, at(now), since, &[good]), Next::At(at("2026-11-09T01:00:00Z")), "{now}");
        }
    }

    #[test]
    fn a_failed_slot_is_tried_three_times_and_then_left_to_the_next() {
        let schedule = daily("01:00", "UTC");
        let (since, slot) = (at("2026-11-01T12:00:00Z"), at("2026-11-08T01:00:00Z"));
        let failed = |ended| Attempt { slot, ended: at(ended), outcome: AttemptOutcome::Failed };
        let one = [failed("2026-11-08T01:00:10Z")];
        assert_eq!(next(&schedule, at("2026-11-08T01:01:00Z"), since, &one), Next::At(at("2026-11-08T01:05:10Z")));
        assert_eq!(next(&schedule, at("2026-11-08T01:06:00Z"), since, &one), Next::Due(slot));
        let three = [one[0], failed("2026-11-08T01:06:00Z"), failed("2026-11-08T01:30:00Z")];
        assert_eq!(next(&schedule, at("2026-11-08T09:00:00Z"), since, &three), Next::At(at("2026-11-09T01:00:00Z")));
        let cut = Attempt { slot, ended: at("2026-11-08T01:00:10Z"), outcome: AttemptOutcome::Interrupted };
        assert_eq!(next(&schedule, at("2026-11-08T01:00:11Z"), since, &[cut]), Next::Due(slot));
    }

    #[test]
    fn a_schedule_prints_as_it_is_written_and_nonsense_is_refused() {
        for text in ["daily 01:00", "weekly sun 23:59"] {
            assert_eq!(Schedule::parse(text, TimeZone::UTC).unwrap().text(), text);
        }
        for text in ["", "daily", "daily 25:00", "daily 1:00", "weekly 01:00", "weekly funday 01:00", "hourly 01:00"] {
            assert!(Schedule::parse(text, TimeZone::UTC).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_civil_day_has_one_slot_in_every_zone(
            zone in prop::sample::select(vec!["Europe/London", "America/New_York", "Australia/Lord_Howe", "UTC"]),
            hour in 0i8..24, minute in 0i8..60, second in 1_767_225_600i64..1_830_000_000,
        ) {
            let schedule = daily(&format!("{hour:02}:{minute:02}"), zone);
            let now = Timestamp::from_second(second).unwrap();
            let (latest, next) = (schedule.latest(now).unwrap(), schedule.next(now).unwrap());
            prop_assert!(latest <= now && now < next);
            let hours = (next.as_second() - latest.as_second()) as f64 / 3600.0;
            prop_assert!((22.9..=25.1).contains(&hours), "{latest} {next}");
            prop_assert_eq!(schedule.next(latest).unwrap(), next);
            prop_assert_eq!(schedule.latest(next).unwrap(), next);
        }
    }
}
