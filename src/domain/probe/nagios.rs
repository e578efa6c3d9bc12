//! Counts results as Nagios does: soft until enough attempts in a row are bad, up at the first good one.
//!
//! For those who come from there and rely on its exact behaviour. It does not see what fails every other
//! time, which is why windows are the default. The rules are those of `base/checks.c` and
//! `base/flapping.c`; a differential test runs both against the real program.

use serde::{Deserialize, Serialize};

use crate::domain::probe::flap::{StateHistory, is_flapping};
use crate::domain::probe::outcome::ProbeResult;

/// Exit code of a plugin that found everything in order.
pub const OK: u8 = 0;
/// Exit code of a plugin that found a warning threshold crossed.
pub const WARNING: u8 = 1;
/// Exit code of a plugin that found a critical threshold crossed.
pub const CRITICAL: u8 = 2;
/// Exit code of a plugin that could not look.
pub const UNKNOWN: u8 = 3;

/// What Nagios calls the state of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NagiosMachine {
    state: u8,
    hard: bool,
    attempt: u8,
    history: StateHistory,
    // Of the last result that was looked at for flapping.
    percent: f64,
    flapping: bool,
}

impl Default for NagiosMachine {
    fn default() -> Self {
        Self { state: OK, hard: true, attempt: 1, history: StateHistory::default(), percent: 0.0, flapping: false }
    }
}

impl NagiosMachine {
    /// Folds a result in: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
    pub fn apply(&mut self, state: u8, max_attempts: u8) {
        let max_attempts = max_attempts.max(1);
        let last = std::mem::replace(&mut self.state, state);
        if state == OK {
            // A soft recovery is hard at once: there is nothing to wait for.
            self.hard = true;
            self.attempt = 1;
        } else if last == OK {
            self.attempt = 1;
            self.hard = max_attempts == 1;
        } else if !self.hard {
            // Another problem does not begin to count anew.
            self.attempt = self.attempt.saturating_add(1).min(max_attempts);
            self.hard = self.attempt >= max_attempts;
        }
        // Soft problems are not looked at, also not for the percentage.
        if self.hard {
            self.history.push(state);
            self.percent = self.history.percent();
            self.flapping = is_flapping(self.flapping, self.percent);
        }
    }

    /// The state, as a plugin's exit code.
    pub fn state(&self) -> u8 {
        self.state
    }

    /// True when it has settled.
    pub fn is_hard(&self) -> bool {
        self.hard
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u8 {
        self.attempt
    }

    /// `percent_state_change`.
    pub fn percent(&self) -> f64 {
        self.percent
    }

    /// True while it flaps.
    pub fn is_flapping(&self) -> bool {
        self.flapping
    }
}

/// The exit code that a plugin would have given.
pub fn code_of(result: ProbeResult) -> u8 {
    match result {
        ProbeResult::Ok => OK,
        ProbeResult::Degraded => WARNING,
        ProbeResult::Fail => CRITICAL,
        ProbeResult::Unknown => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(max_attempts: u8, results: &[u8]) -> String {
        let mut machine = NagiosMachine::default();
        let step = |it: &u8| {
            machine.apply(*it, max_attempts);
            match machine.state() {
                OK => machine.attempt().to_string(),
                _ => format!("{}{}", machine.attempt(), if machine.is_hard() { 'H' } else { 's' }),
            }
        };
        results.iter().map(step).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_trace_of_a_real_nagios() {
        assert_eq!(trace(3, &[2, 0, 2, 2, 2, 2, 0]), "1s 1 1s 2s 3H 3H 1");
        assert_eq!(trace(3, &[2, 2, 2, 1, 0]), "1s 2s 3H 3H 1");
        assert_eq!(trace(3, &[1, 2, 1]), "1s 2s 3H", "another problem does not begin anew");
        assert_eq!(trace(1, &[2, 1, 0]), "1H 1H 1");
    }

    #[test]
    fn the_percentages_of_a_driven_service() {
        let mut machine = NagiosMachine::default();
        for (state, wanted) in [(2, 6.25), (2, 6.12), (0, 12.24), (0, 11.97), (2, 17.96), (0, 23.82), (2, 29.54)] {
            machine.apply(state, 1);
            assert!((machine.percent() - wanted).abs() < 0.01, "{} is not {wanted}", machine.percent());
        }
        assert!(!machine.is_flapping());
    }

    #[test]
    fn what_fails_every_other_time_is_never_seen() {
        let mut machine = NagiosMachine::default();
        for turn in 0..100 {
            machine.apply(if turn % 2 == 0 { 2 } else { 0 }, 3);
            assert!(machine.state() == OK || !machine.is_hard());
        }
        assert!(!machine.is_flapping());
    }
}
