//! Backup jobs, runs, slots and retention: when a run is due, what may be deleted, what a history row says.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::ids::JobId;

/// What is observed of a backup job or run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackupFact {
    /// It was removed from the config.
    Removed {
        /// Which.
        job: JobId,
    },
}

/// A finished or failed run, for the incident timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunNews {
    /// Which job.
    pub job: JobId,
    /// When.
    pub at: Timestamp,
    /// What happened, in words: `backup ok, 1.2 GB in 3m12s`.
    pub text: String,
}

/// What the board knows of backups.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BackupBoard {}

impl BackupBoard {
    /// Folds one fact in and says what the timeline should show.
    pub fn apply(&mut self, _now: Timestamp, _fact: &BackupFact) -> Vec<RunNews> {
        Vec::new()
    }
}
