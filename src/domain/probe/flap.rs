//! Flapping: a state that turns to and fro more often than people want to be told.
//!
//! Nagios looks at 21 states and weighs each of the 20 changes between them, the newest most; 30 % and more
//! begins it, 20 % and less ends it (its `base/flapping.c`). [`StateHistory`] is that, entry by entry.
//! [`FlapWindow`] is the same sum over time instead of entries: it counts turns of the settled state, not
//! results, so that looking more often while something fails neither hides nor ages them.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// States looked at.
pub const ENTRIES: usize = 21;
/// Per cent at which flapping begins.
pub const START_PERCENT: f64 = 30.0;
/// Per cent at which it ends.
pub const STOP_PERCENT: f64 = 20.0;
/// Least and most weight of a change, oldest and newest.
const WEIGHTS: (f64, f64) = (0.75, 1.25);
/// Shortest slot of a window: ten minutes altogether, or a probe every second would forget at once.
const SLOT_SHORTEST: Duration = Duration::from_secs(30);
/// Longest slot of a window: a hundred minutes altogether, as Nagios has it with its usual five minutes.
const SLOT_LONGEST: Duration = Duration::from_secs(300);
/// Turns kept. 27 of the lightest weigh more than 100 per cent.
const TURNS_MAX: usize = 32;

/// Weight of the change into entry `x`, 1 the oldest and 20 the newest.
fn weight(x: usize) -> f64 {
    let (least, most) = WEIGHTS;
    least + (x - 1) as f64 * (most - least) / (ENTRIES - 2) as f64
}

/// What follows from a percentage: flapping begins, ends, or stays as it was.
pub fn is_flapping(was: bool, percent: f64) -> bool {
    if percent >= START_PERCENT {
        true
    } else if percent <= STOP_PERCENT {
        false
    } else {
        was
    }
}

/// The last 21 states, as Nagios keeps them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateHistory {
    // Oldest first; always `ENTRIES` long.
    states: VecDeque<u8>,
}

impl Default for StateHistory {
    fn default() -> Self {
        // As after a start without anything retained: all OK.
        Self { states: VecDeque::from([0; ENTRIES]) }
    }
}

impl StateHistory {
    /// Appends a state. Soft problem states are not to be appended.
    pub fn push(&mut self, state: u8) {
        self.states.pop_front();
        self.states.push_back(state);
    }

    /// Weighted share of changes among the states, 0 to 100.
    pub fn percent(&self) -> f64 {
        let changes = self.states.iter().zip(self.states.iter().skip(1)).enumerate();
        let sum: f64 = changes.filter(|(_, (one, other))| one != other).map(|(x, _)| weight(x + 1)).sum();
        sum * 100.0 / (ENTRIES - 1) as f64
    }
}

/// Turns of a settled state within a window that moves with time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FlapWindow {
    // Oldest first; at most `TURNS_MAX`.
    turns: VecDeque<Timestamp>,
    since: Option<Timestamp>,
}

impl FlapWindow {
    /// The state turned.
    pub fn turned(&mut self, at: Timestamp) {
        self.turns.push_back(at);
        if self.turns.len() > TURNS_MAX {
            self.turns.pop_front();
        }
    }

    /// Takes notice of the time; `interval` is the usual pace of results.
    pub fn look(&mut self, now: Timestamp, interval: Duration) {
        let slot = interval.clamp(SLOT_SHORTEST, SLOT_LONGEST);
        while self.turns.front().is_some_and(|at| age(now, *at) >= slot * (ENTRIES as u32 - 1)) {
            self.turns.pop_front();
        }
        let flaps = is_flapping(self.since.is_some(), self.percent(now, interval));
        match (flaps, self.since) {
            (true, None) => self.since = Some(self.turns.front().copied().unwrap_or(now)),
            (false, Some(_)) => self.since = None,
            _ => {}
        }
    }

    /// Weighted share of slots with a turn, 0 to 100: one turn in each slot is what Nagios calls 100.
    pub fn percent(&self, now: Timestamp, interval: Duration) -> f64 {
        let slot_ms = interval.clamp(SLOT_SHORTEST, SLOT_LONGEST).as_millis();
        let slots = ENTRIES - 1;
        let sum: f64 = self
            .turns
            .iter()
            .map(|at| usize::try_from(age(now, *at).as_millis() / slot_ms).unwrap_or(slots))
            .filter(|slot| *slot < slots)
            .map(|slot| weight(slots - slot))
            .sum();
        (sum * 100.0 / slots as f64).min(100.0)
    }

    /// Since when it flaps, dated back to the first of the turns that say so.
    pub fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Turns that are looked at.
    pub fn turns(&self) -> usize {
        self.turns.len()
    }
}

/// How old; nothing when the clock was set back.
fn age(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(at)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    fn history(changes: impl Fn(usize) -> bool) -> StateHistory {
        let mut history = StateHistory::default();
        let mut state = 0;
        history.push(state);
        for x in 1..ENTRIES {
            state ^= u8::from(changes(x));
            history.push(state);
        }
        history
    }

    #[track_caller]
    fn check(percent: f64, wanted: f64) {
        assert!((percent - wanted).abs() < 0.001, "{percent} is not {wanted}");
    }

    #[test]
    fn the_vectors_of_nagios() {
        check(history(|_| true).percent(), 100.0);
        check(history(|x| x == 20).percent(), 6.25);
        check(history(|x| x == 1).percent(), 3.75);
        for (newest, wanted) in [(2, 12.368), (3, 18.355), (4, 24.211), (5, 29.934), (6, 35.526)] {
            let percent = history(|x| x > 20 - newest).percent();
            check(percent, wanted);
            assert_eq!(is_flapping(false, percent), newest == 6, "{newest}");
        }
        check(history(|x| x <= 5).percent(), 20.066);
        check(history(|x| x <= 6).percent(), 24.474);
        for (equal, wanted, flaps) in [(15, 20.066, true), (16, 15.789, false), (20, 0.0, false)] {
            let mut it = history(|_| true);
            let last = it.states[ENTRIES - 1];
            (0..equal).for_each(|_| it.push(last));
            check(it.percent(), wanted);
            assert_eq!(is_flapping(true, it.percent()), flaps, "{equal}");
        }
    }

    #[test]
    fn a_window_with_one_turn_in_a_slot_is_the_formula_of_nagios() {
        let pace = Duration::from_secs(60);
        for newest in [2u32, 5, 6, 20] {
            let mut window = FlapWindow::default();
            for slot in (0..newest).rev() {
                window.turned(Timestamp::UNIX_EPOCH - pace * slot);
            }
            let same = history(|x| x > 20 - newest as usize);
            check(window.percent(Timestamp::UNIX_EPOCH, pace), same.percent());
        }
    }

    #[test]
    fn three_outages_in_ten_minutes_flap_and_quiet_ends_it() {
        let (start, pace) = (Timestamp::UNIX_EPOCH, Duration::from_secs(30));
        let at = |second: i64| start + SignedDuration::from_secs(second);
        let mut window = FlapWindow::default();
        for turn in 0..6 {
            assert_eq!(window.since(), None, "{turn}");
            window.turned(at(turn * 60));
            window.look(at(turn * 60), pace);
            if turn == 4 {
                assert_eq!(window.since(), None, "two outages and a half are none yet");
            }
        }
        // Six turns over five minutes have aged to less than the newest six of Nagios would weigh.
        let percent = window.percent(at(300), pace);
        assert_eq!(window.since().is_some(), percent >= START_PERCENT, "{percent}");
        window.turned(at(310));
        window.look(at(310), pace);
        assert_eq!(window.since(), Some(at(0)), "dated back to the first turn");
        window.look(at(500), pace);
        assert!(window.since().is_some(), "as long as more than 20 per cent are left");
        window.look(at(310 + 600), pace);
        assert_eq!((window.since(), window.turns()), (None, 0));
    }

    #[test]
    fn a_clock_that_is_set_back_counts_as_no_time() {
        let mut window = FlapWindow::default();
        window.turned(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1));
        check(window.percent(Timestamp::UNIX_EPOCH, SLOT_SHORTEST), 6.25);
    }

    proptest! {
        #[test]
        fn percentages_stay_between_none_and_all(
            states in proptest::collection::vec(0u8..4, 0..60),
            turns in proptest::collection::vec(0i64..4000, 0..60),
        ) {
            let mut history = StateHistory::default();
            states.iter().for_each(|it| history.push(*it));
            prop_assert!((0.0..=100.0).contains(&history.percent()));
            let mut window = FlapWindow::default();
            let mut turns = turns;
            turns.sort_unstable();
            for turn in &turns {
                let at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(*turn);
                window.turned(at);
                window.look(at, SLOT_SHORTEST);
                prop_assert!((0.0..=100.0).contains(&window.percent(at, SLOT_SHORTEST)));
            }
            prop_assert!(window.turns() <= TURNS_MAX);
            // Nothing more happens: it always ends.
            window.look(Timestamp::UNIX_EPOCH + SignedDuration::from_secs(10_000), SLOT_SHORTEST);
            prop_assert_eq!(window.since(), None);
        }
    }
}
