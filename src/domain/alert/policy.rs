//! Decides who is told what and when: a fold over facts, with time told to it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::rules::AlertRules;
use crate::domain::alert::{AlertFact, Change};
use crate::domain::ids::ProbeId;
use crate::domain::probe::ProbeBoard;

/// What the policy knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AlertBoard {
    rules: AlertRules,
}

impl AlertBoard {
    /// Takes back what [`Change::rows`] kept before a restart.
    pub fn restore(&mut self, _rows: &[(String, String)]) {}

    /// Folds a fact about alerts in.
    pub fn apply(&mut self, _now: Timestamp, fact: &AlertFact, _probes: &ProbeBoard) -> Change {
        if let AlertFact::Configured { rules } = fact {
            self.rules.clone_from(rules);
        }
        Change::default()
    }

    /// Looks at a probe after a fact about it was folded in.
    pub fn observe(&mut self, _now: Timestamp, _probe: &ProbeId, _probes: &ProbeBoard) -> Change {
        Change::default()
    }

    /// When something is due that no fact brings: a reminder, the end of a wait, of a silence, of a window.
    pub fn next_wake(&self) -> Option<Timestamp> {
        None
    }

    /// The rules in use.
    pub fn rules(&self) -> &AlertRules {
        &self.rules
    }
}
