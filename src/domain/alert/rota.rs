//! Who is on call: people who take turns in civil time, and exceptions to it.
//!
//! Pure: given a time it answers with a person and until when. A handover is at a civil time of a zone, so
//! that it stays at nine in the morning when the clocks change; a handover that the clocks skip comes right
//! after the gap, one that they show twice comes the first time.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// People of one rotation: more than that is a telephone book.
pub const PEOPLE_MAX: usize = 64;
/// Exceptions of one rotation: years of holidays.
pub const OVERRIDES_MAX: usize = 512;

/// People who take turns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rotation {
    /// Unique among notifiers, people, rotations and ladders.
    pub name: String,
    /// In the order of their turns; never empty in a config that was read without mistakes.
    pub people: Vec<String>,
    /// How long a turn is: whole hours, at least one.
    pub every: Duration,
    /// The civil time at which the first person's turn began or begins; every other handover follows from it.
    pub from: DateTime,
    /// IANA name of the zone of `from`.
    pub zone: String,
    /// Somebody else in between; the last that fits counts.
    pub overrides: Vec<Override>,
}

/// Somebody else takes a part of the time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Override {
    /// Who.
    pub person: String,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// Who is on call and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Who.
    pub person: String,
    /// Since when.
    pub since: Timestamp,
    /// The next handover.
    pub until: Timestamp,
    /// It is an exception to the usual order.
    pub is_override: bool,
}

impl Rotation {
    /// Who is on call at a time. `None` when there is nobody, or the zone is unknown.
    pub fn who(&self, now: Timestamp) -> Option<Turn> {
        let zone = TimeZone::get(&self.zone).ok()?;
        let index = self.index(now, &zone)?;
        let count = i64::try_from(self.people.len()).ok().filter(|it| *it > 0)?;
        let usual = self.people.get(usize::try_from(index.rem_euclid(count)).ok()?)?;
        let (mut since, mut until) = (self.handover(index, &zone)?, self.handover(index + 1, &zone)?);
        let fits = |it: &&Override| it.from <= now && now < it.until;
        let over = self.overrides.iter().rposition(|it| fits(&it));
        // Whatever begins or ends before the next handover is a handover as well.
        for (at, it) in self.overrides.iter().enumerate() {
            if over.is_some_and(|over| at < over) {
                continue;
            }
            for edge in [it.from, it.until] {
                if edge <= now {
                    since = since.max(edge);
                } else {
                    until = until.min(edge);
                }
            }
        }
        let person = over.and_then(|at| self.overrides.get(at)).map_or(usual, |it| &it.person);
        if let Some(it) = over.and_then(|at| self.overrides.get(at)) {
            // The usual handovers do not end an exception.
            let later = self.overrides.iter().skip(over.map_or(0, |at| at + 1));
            until = later.map(|it| it.from).filter(|it| *it > now).fold(it.until, Timestamp::min);
            since = since.max(it.from);
        }
        Some(Turn { person: person.clone(), since, until, is_override: over.is_some() })
    }

    /// The next turns from a time on, at most `max`: what a person plans by.
    pub fn plan(&self, now: Timestamp, max: usize) -> Vec<Turn> {
        let mut turns = Vec::new();
        let mut at = now;
        while turns.len() < max {
            let Some(turn) = self.who(at).filter(|it| it.until > at) else { break };
            at = turn.until;
            turns.push(turn);
        }
        turns
    }

    /// A time in the zone of the turns: `Mon 2026-11-23 09:00`. A handover is a civil time there, and the day of the
    /// week is what people plan by.
    pub fn day(&self, at: Timestamp) -> String {
        let zone = TimeZone::get(&self.zone).unwrap_or(TimeZone::UTC);
        at.to_zoned(zone).strftime("%a %Y-%m-%d %H:%M").to_string()
    }

    /// The same with the zone, for where nothing beside it says which: `Mon 2026-11-23 09:00 (Europe/Berlin)`.
    pub fn day_and_zone(&self, at: Timestamp) -> String {
        format!("{} ({})", self.day(at), self.zone)
    }

    /// The number of the turn that runs at a time; the first is 0.
    fn index(&self, now: Timestamp, zone: &TimeZone) -> Option<i64> {
        let every_s = i64::try_from(self.every.as_secs()).ok().filter(|it| *it > 0)?;
        let civil = zone.to_datetime(now).duration_since(self.from).as_secs();
        let mut index = civil.div_euclid(every_s);
        // Around a change of the clocks the civil difference is an hour off.
        while self.handover(index, zone)? > now {
            index -= 1;
        }
        while self.handover(index + 1, zone)? <= now {
            index += 1;
        }
        Some(index)
    }

    fn handover(&self, index: i64, zone: &TimeZone) -> Option<Timestamp> {
        let every_s = i64::try_from(self.every.as_secs()).ok()?;
        let civil = self.from.checked_add(SignedDuration::from_secs(every_s.checked_mul(index)?)).ok()?;
        zone.to_timestamp(civil).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_handover_is_told_in_the_zone_of_the_turns() {
        let told = weekly().day_and_zone(at("2026-03-09T08:00:00Z"));
        assert_eq!(told, "Mon 2026-03-09 09:00 (Europe/Berlin)");
    }

    fn weekly() -> Rotation {
        Rotation {
            name: "primary".into(),
            people: vec!["alice".into(), "bob".into(), "carol".into()],
            every: Duration::from_secs(7 * 86_400),
            from: "2026-03-02T09:00".parse().expect("civil"),
            zone: "Europe/Berlin".into(),
            overrides: Vec::new(),
        }
    }

    fn check(rotation: &Rotation, now: &str, person: &str, until: &str) {
        let turn = rotation.who(at(now)).expect("somebody");
        assert_eq!((turn.person.as_str(), turn.until), (person, at(until)), "{now}");
        assert!(turn.since <= at(now) && at(now) < turn.until, "{turn:?}");
    }

    #[test]
    fn the_handover_stays_at_nine_when_the_clocks_change() {
        let rotation = weekly();
        check(&rotation, "2026-03-02T07:59:59Z", "carol", "2026-03-02T08:00:00Z");
        check(&rotation, "2026-03-02T08:00:00Z", "alice", "2026-03-09T08:00:00Z");
        check(&rotation, "2026-03-29T12:00:00Z", "alice", "2026-03-30T07:00:00Z");
        check(&rotation, "2026-03-30T07:00:00Z", "bob", "2026-04-06T07:00:00Z");
        check(&rotation, "2026-10-26T07:59:00Z", "alice", "2026-10-26T08:00:00Z");
    }

    #[test]
    fn a_handover_in_a_skipped_hour_comes_after_the_gap_and_one_in_a_doubled_hour_once() {
        let mut rotation = weekly();
        rotation.every = Duration::from_secs(86_400);
        rotation.from = "2026-03-02T02:30".parse().expect("civil");
        // 02:30 is skipped on the 29th: 01:00Z is 03:00.
        let before = rotation.who(at("2026-03-29T00:59:00Z")).expect("somebody");
        let after = rotation.who(at("2026-03-29T01:31:00Z")).expect("somebody");
        assert_eq!(before.until, after.since);
        assert_ne!(before.person, after.person);
        // 02:30 comes twice on 25 October: 00:30Z and 01:30Z.
        let first = rotation.who(at("2026-10-25T00:30:00Z")).expect("somebody");
        let second = rotation.who(at("2026-10-25T01:30:00Z")).expect("somebody");
        assert_eq!(first, second);
        assert_eq!(first.since, at("2026-10-25T00:30:00Z"));
    }

    #[test]
    fn an_override_takes_its_part_and_the_last_written_wins() {
        let mut rotation = weekly();
        let over = |person: &str, from: &str, until: &str| Override {
            person: person.into(),
            from: at(from),
            until: at(until),
        };
        rotation.overrides.push(over("dave", "2026-03-03T10:00:00Z", "2026-03-10T10:00:00Z"));
        rotation.overrides.push(over("erin", "2026-03-04T10:00:00Z", "2026-03-05T10:00:00Z"));
        check(&rotation, "2026-03-03T09:00:00Z", "alice", "2026-03-03T10:00:00Z");
        check(&rotation, "2026-03-03T11:00:00Z", "dave", "2026-03-04T10:00:00Z");
        check(&rotation, "2026-03-04T11:00:00Z", "erin", "2026-03-05T10:00:00Z");
        check(&rotation, "2026-03-09T08:30:00Z", "dave", "2026-03-10T10:00:00Z");
        check(&rotation, "2026-03-10T10:00:00Z", "bob", "2026-03-16T08:00:00Z");
        let plan: Vec<String> = rotation.plan(at("2026-03-03T09:00:00Z"), 5).into_iter().map(|it| it.person).collect();
        assert_eq!(plan, ["alice", "dave", "erin", "dave", "bob"]);
    }

    #[test]
    fn an_unknown_zone_and_an_empty_rotation_have_nobody() {
        let now = at("2026-03-03T09:00:00Z");
        assert_eq!(Rotation { zone: "Mars/Base".into(), ..weekly() }.who(now), None);
        assert_eq!(Rotation { people: Vec::new(), ..weekly() }.who(now), None);
        assert_eq!(Rotation { every: Duration::ZERO, ..weekly() }.who(now), None);
    }
}
