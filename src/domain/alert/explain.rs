//! Why somebody was paged, or nobody: every outcome, threshold, dependency, silence, page and attempt.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::ids::ProbeId;

/// Asks why a probe was paged or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExplainRequest {
    /// Which.
    pub probe: ProbeId,
    /// At what time; `None` is now.
    pub at: Option<Timestamp>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Which.
    pub probe: ProbeId,
    /// At what time.
    pub at: Timestamp,
    /// In one line: `paged: …`, `not paged: …`.
    pub verdict: String,
    /// What led to it, in order of time.
    pub steps: Vec<Step>,
}

/// One thing that led to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When; `None` for what holds all the time.
    pub at: Option<Timestamp>,
    /// `outcome`, `health`, `after`, `maintenance`, `silence`, `ack`, `page`, `delivery`, `rule`.
    pub kind: String,
    /// In words.
    pub text: String,
}
