//! Which part of a probe's past is looked at, and what is known of it.
//!
//! The pane asks for a range and draws what came last until the answer is there. While it looks at the present
//! it asks again when a run ended. Until somebody zooms the range is the narrowest that holds all that is known.

use jiff::{SignedDuration, Timestamp};

use crate::domain::ids::ProbeId;
use crate::domain::probe::history::{History, HistoryRequest, POINTS_MAX};
use crate::domain::request::Request;
use crate::panes::Context;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// What can be looked at, with its word; zooming goes from one to the next.
const RANGES: &[(i64, &str)] = &[
    (15 * MINUTE, "15m"),
    (HOUR, "1h"),
    (6 * HOUR, "6h"),
    (DAY, "24h"),
    (7 * DAY, "7d"),
    (30 * DAY, "30d"),
    (90 * DAY, "90d"),
    (365 * DAY, "1y"),
];
/// Six hours show the deploy of this morning as well as the last minute.
const RANGE_FIRST: usize = 2;
/// The present is asked for no more often than this: its numbers stand beside a list that is always of now.
const REFRESH: SignedDuration = SignedDuration::from_secs(10);
/// A question without an answer is forgotten after this.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

/// Which part of a probe's past is looked at.
#[derive(Debug)]
pub(super) struct Past {
    zoom: usize,
    // Somebody zoomed.
    chosen: bool,
    // The end of the range; `None` follows the present.
    until: Option<Timestamp>,
    generation: u64,
    asked: Option<Asked>,
    answer: Option<Box<History>>,
    // Why there is no answer.
    refused: Option<String>,
}

impl Default for Past {
    fn default() -> Self {
        Self { zoom: RANGE_FIRST, chosen: false, until: None, generation: 0, asked: None, answer: None, refused: None }
    }
}

/// The last question.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    probe: ProbeId,
    zoom: usize,
    until: Option<Timestamp>,
    points: usize,
    at: Timestamp,
    answered: bool,
}

/// How the range moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Earlier,
    Later,
    In,
    Out,
    Now,
}

impl Past {
    /// What is known of a probe's past, maybe still of the range before.
    pub(super) fn of(&self, probe: &ProbeId) -> Option<&History> {
        self.answer.as_deref().filter(|it| it.probe == *probe)
    }

    /// Why there is no answer, when there will be none.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// An answer is on its way.
    pub(super) fn is_waiting(&self) -> bool {
        self.asked.as_ref().is_some_and(|it| !it.answered)
    }

    /// The range in words: `6h`.
    pub(super) fn word(&self) -> &'static str {
        RANGES[self.zoom].1
    }

    /// It follows the present.
    pub(super) fn is_now(&self) -> bool {
        self.until.is_none()
    }

    /// From when until when.
    pub(super) fn range(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        let until = self.until.unwrap_or(now);
        (until.checked_sub(self.length()).unwrap_or(Timestamp::MIN), until)
    }

    fn length(&self) -> SignedDuration {
        SignedDuration::from_secs(RANGES[self.zoom].0)
    }

    /// Moves the range; the present stays at the right end of it while it is looked at.
    pub(super) fn go(&mut self, now: Timestamp, how: Move) {
        let half = self.length() / 2;
        let end = self.until.unwrap_or(now);
        let until = match how {
            Move::Earlier => end.checked_sub(half).unwrap_or(end),
            Move::Later => end.checked_add(half).unwrap_or(end),
            Move::Now => now,
            Move::In | Move::Out => {
                let before = half;
                let next = if how == Move::In { self.zoom.checked_sub(1) } else { Some(self.zoom + 1) };
                self.chosen = true;
                self.zoom = next.unwrap_or_default().min(RANGES.len() - 1);
                if self.until.is_none() {
                    return;
                }
                // The middle stays where it is.
                end.checked_sub(before).and_then(|it| it.checked_add(self.length() / 2)).unwrap_or(end)
            }
        };
        self.until = (until < now).then_some(until);
    }

    /// The question to ask now, when there is one. `news`: a run of this probe ended.
    pub(super) fn question(&mut self, cx: &Context<'_>, probe: &ProbeId, cells: usize, news: bool) -> Option<Request> {
        if !self.chosen && self.asked.as_ref().is_some_and(|it| it.probe != *probe) {
            // How far back this one is known comes with the answer.
            self.zoom = RANGE_FIRST;
        }
        let points = (cells * crate::widgets::graph::POINTS_PER_CELL).clamp(1, POINTS_MAX);
        if let Some(asked) = &self.asked
            && asked.probe == *probe
            && (asked.zoom, asked.until, asked.points) == (self.zoom, self.until, points)
        {
            let age = cx.now.duration_since(asked.at);
            let is_patient = age < if asked.answered { REFRESH } else { PATIENCE };
            if !news || is_patient || !self.is_now() || self.refused.is_some() {
                return None;
            }
        }
        self.generation += 1;
        self.refused = None;
        let (from, until) = self.range(cx.now);
        self.asked = Some(Asked {
            probe: probe.clone(),
            zoom: self.zoom,
            until: self.until,
            points,
            at: cx.now,
            answered: false,
        });
        let zone = cx.zone.iana_name().unwrap_or("UTC").to_string();
        let (generation, probe) = (self.generation, probe.clone());
        Some(Request::History(Box::new(HistoryRequest {
            generation,
            probe,
            from,
            until,
            points,
            zone,
            as_of: Some(cx.now),
        })))
    }

    /// Takes an answer; what is known may call for another range, see [`Past::question`].
    pub(super) fn answered(&mut self, history: &History) {
        if history.generation == self.generation {
            self.answer = Some(Box::new(history.clone()));
            let Some(asked) = &mut self.asked else { return };
            asked.answered = true;
            if let (Some(since), Some(until)) = (history.known_since, self.until)
                && until <= since
            {
                // There is nothing so early: as far back as something is known.
                let until = since.checked_add(SignedDuration::from_secs(RANGES[self.zoom].0)).unwrap_or(asked.at);
                self.until = (until < asked.at).then_some(until);
            }
            if let Some(since) = history.known_since.filter(|_| !self.chosen && self.is_now()) {
                let known_s = history.until.duration_since(since).as_secs();
                let narrowest = RANGES.iter().position(|(length_s, _)| known_s < *length_s);
                self.zoom = narrowest.map_or(RANGE_FIRST, |it| it.min(RANGE_FIRST));
            }
        }
    }

    /// Something that was asked could not be done; it is about the past when that was asked last.
    pub(super) fn failed(&mut self, error: &str) {
        if let Some(asked) = self.asked.as_mut().filter(|it| !it.answered) {
            asked.answered = true;
            self.refused = Some(error.to_string());
        }
    }

    /// Answers of another runtime will not come.
    pub(super) fn forget(&mut self) {
        self.asked = None;
        self.answer = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panes::services::tests::{World, probe};

    fn asked(request: Option<Request>) -> Option<(String, SignedDuration, u64)> {
        match request? {
            Request::History(it) => {
                Some((it.probe.name().to_string(), it.until.duration_since(it.from), it.generation))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_is_not_asked_twice_and_the_present_again_when_a_run_ended() {
        let mut world = World::new(80, 24);
        let mut past = Past::default();
        let hours = |it| SignedDuration::from_hours(it);
        let api = probe("api");
        assert_eq!(asked(past.question(&world.cx(), &api, 60, false)), Some(("api".into(), hours(6), 1)));
        assert_eq!(past.question(&world.cx(), &api, 60, true), None, "it is on its way");
        past.answered(&world.past("api", 1));
        world.wait(9);
        assert_eq!(past.question(&world.cx(), &api, 60, true), None, "it was read just now");
        world.wait(1);
        assert_eq!(past.question(&world.cx(), &api, 60, false), None, "nothing new");
        assert_eq!(asked(past.question(&world.cx(), &api, 60, true)), Some(("api".into(), hours(6), 2)));
        past.go(world.now, Move::In);
        assert_eq!(asked(past.question(&world.cx(), &api, 60, false)), Some(("api".into(), hours(1), 3)));
        past.answered(&world.past("api", 2));
        assert!(past.is_waiting(), "an answer to an older question is not one");
    }

    #[test]
    fn the_range_is_the_narrowest_that_holds_what_is_known_until_somebody_zooms() {
        let world = World::new(80, 24);
        let mut past = Past::default();
        let api = probe("api");
        past.question(&world.cx(), &api, 60, false);
        let known = |minutes, generation| History {
            known_since: Some(world.now - SignedDuration::from_mins(minutes)),
            ..world.past("api", generation)
        };
        past.answered(&known(3, 1));
        let narrowed = asked(past.question(&world.cx(), &api, 60, false));
        assert_eq!(narrowed, Some(("api".into(), SignedDuration::from_mins(15), 2)));
        for (minutes, word) in [(14, "15m"), (15, "1h"), (100, "6h"), (60 * 24 * 40, "6h")] {
            past.answered(&known(minutes, 2));
            assert_eq!(past.word(), word);
        }
        past.answered(&known(3, 2));
        let other = asked(past.question(&world.cx(), &probe("db"), 60, false));
        assert_eq!(other, Some(("db".into(), SignedDuration::from_hours(6), 3)), "how old it is is not known yet");
        past.go(world.now, Move::Out);
        past.answered(&known(3, 3));
        assert_eq!(past.word(), "24h");
    }

    #[test]
    fn going_back_ends_where_what_is_known_begins() {
        let world = World::new(80, 24);
        let api = probe("api");
        let known = |minutes, generation| History {
            known_since: Some(world.now - SignedDuration::from_mins(minutes)),
            ..world.past("api", generation)
        };
        let mut past = Past::default();
        past.go(world.now, Move::Earlier);
        past.question(&world.cx(), &api, 60, false);
        past.answered(&known(30, 1));
        assert!(past.is_now(), "all that is known fits");
        let again = asked(past.question(&world.cx(), &api, 60, false));
        assert_eq!(again, Some(("api".into(), SignedDuration::from_hours(1), 2)));
        past.go(world.now, Move::In);
        (0..9).for_each(|_| past.go(world.now, Move::Earlier));
        past.question(&world.cx(), &api, 60, false);
        past.answered(&known(30, 3));
        let (from, until) = past.range(world.now);
        assert_eq!(from, world.now - SignedDuration::from_mins(30));
        assert_eq!(until, world.now - SignedDuration::from_mins(15));
    }

    #[test]
    fn going_back_and_zooming_keep_the_middle_and_come_back_to_now() {
        let world = World::new(80, 24);
        let mut past = Past::default();
        past.go(world.now, Move::Earlier);
        assert_eq!(past.range(world.now).1, world.now - SignedDuration::from_hours(3));
        past.go(world.now, Move::In);
        let (from, until) = past.range(world.now);
        assert_eq!(
            (from, until),
            (world.now - SignedDuration::from_mins(390), world.now - SignedDuration::from_mins(330))
        );
        past.go(world.now, Move::Now);
        assert!(past.is_now());
        for _ in 0..20 {
            past.go(world.now, Move::Out);
        }
        assert_eq!(past.word(), "1y");
        for _ in 0..20 {
            past.go(world.now, Move::In);
        }
        assert_eq!(past.word(), "15m");
        past.go(world.now, Move::Later);
        assert!(past.is_now(), "there is nothing after now");
    }
}
