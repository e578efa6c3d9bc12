//! Probe outcomes and the health derived from them: k-of-n windows, backdated starts, degradation.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::ids::ProbeId;

/// What is observed of a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeFact {
    /// It was removed from the config.
    Removed {
        /// Which.
        probe: ProbeId,
    },
}

/// A change of health, for the incident timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flip {
    /// Which probe.
    pub probe: ProbeId,
    /// When it began (backdated to the first failing result).
    pub since: Timestamp,
    /// What changed, in words: `up -> down: refused`.
    pub text: String,
}

/// What the board knows of probes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeBoard {}

impl ProbeBoard {
    /// Folds one fact in and says which health changed.
    pub fn apply(&mut self, _now: Timestamp, _fact: &ProbeFact) -> Vec<Flip> {
        Vec::new()
    }
}
