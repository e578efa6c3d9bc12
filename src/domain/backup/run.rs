//! One row of the history: a run that ended somehow, or one that should have been.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::backup::manifest::Manifest;
use crate::domain::ids::{JobId, RunId};

/// One execution of a job, or a slot that nothing ran for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// Its job.
    pub job: JobId,
    /// How it stands.
    pub state: RunState,
    /// The scheduled instant; `None` when a person asked for it.
    pub slot: Option<Timestamp>,
    /// When it started; the slot itself for a missed one.
    pub started: Timestamp,
    /// Data that was committed before this instant is inside.
    pub consistent_at: Option<Timestamp>,
    /// By the monotonic clock.
    pub duration_ms: Option<u64>,
    /// Bytes read from the source.
    pub raw_bytes: Option<u64>,
    /// Bytes of the artefact.
    pub stored_bytes: Option<u64>,
    /// What each destination holds.
    pub copies: Vec<CopyRow>,
    /// Why it failed, in words.
    pub error: Option<String>,
    /// What to know though it did not fail.
    pub warnings: Vec<String>,
    /// What is written beside the artefact.
    pub manifest: Option<Box<Manifest>>,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// At work now.
    Running,
    /// Every destination has it.
    Ok,
    /// Some destination has it, another does not.
    Partial,
    /// Stored, but the source kept changing while it was read.
    Inconsistent,
    /// There is no artefact.
    Failed,
    /// Nothing ran for this slot.
    Missed,
    /// Cut off by a kill, a reboot or a quit; nothing was left behind.
    Interrupted,
    /// It did not begin: another process was at the job.
    Skipped,
}

impl RunState {
    /// The word on the screen and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            RunState::Running => "running",
            RunState::Ok => "ok",
            RunState::Partial => "partial",
            RunState::Inconsistent => "inconsistent",
            RunState::Failed => "failed",
            RunState::Missed => "missed",
            RunState::Interrupted => "interrupted",
            RunState::Skipped => "skipped",
        }
    }

    /// True when an artefact was made.
    pub fn has_artefact(self) -> bool {
        matches!(self, RunState::Ok | RunState::Partial | RunState::Inconsistent)
    }
}

/// What one destination holds of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CopyRow {
    /// The destination's name.
    pub destination: String,
    /// Where the artefact is, as a person would type it.
    pub location: String,
    /// How it stands.
    pub state: CopyState,
}

/// How a copy stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CopyState {
    /// Written and synced, not read back yet.
    Stored,
    /// Read back, decoded and found whole.
    Verified {
        /// When.
        at: Timestamp,
    },
    /// It could not be written.
    Failed {
        /// Why.
        error: String,
    },
    /// Read back and found damaged.
    Corrupt {
        /// In what way.
        error: String,
    },
    /// It was there and is not, or its destination cannot be read.
    Missing {
        /// Why.
        error: String,
    },
}

impl CopyState {
    /// The word on the screen and in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            CopyState::Stored => "stored",
            CopyState::Verified { .. } => "verified",
            CopyState::Failed { .. } => "failed",
            CopyState::Corrupt { .. } => "corrupt",
            CopyState::Missing { .. } => "missing",
        }
    }

    /// Why it is not as it should be.
    pub fn error(&self) -> Option<&str> {
        match self {
            CopyState::Stored | CopyState::Verified { .. } => None,
            CopyState::Failed { error } | CopyState::Corrupt { error } | CopyState::Missing { error } => Some(error),
        }
    }
}

/// What is known of a whole run's copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Every copy was read back and found whole.
    Verified,
    /// At least one was, another was not looked at or is not there.
    Partly,
    /// None was looked at.
    NotVerified,
    /// At least one is damaged.
    Corrupt,
    /// There is no copy.
    NoCopy,
}

impl Verification {
    /// The word on the screen and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Verification::Verified => "verified",
            Verification::Partly => "partly verified",
            Verification::NotVerified => "not verified",
            Verification::Corrupt => "corrupt",
            Verification::NoCopy => "no copy",
        }
    }
}

impl Run {
    /// A run that begins now.
    pub fn begin(id: RunId, job: JobId, slot: Option<Timestamp>, started: Timestamp) -> Self {
        Self {
            id,
            job,
            state: RunState::Running,
            slot,
            started,
            consistent_at: None,
            duration_ms: None,
            raw_bytes: None,
            stored_bytes: None,
            copies: Vec::new(),
            error: None,
            warnings: Vec::new(),
            manifest: None,
        }
    }

    /// A slot that nothing ran for.
    pub fn missed(id: RunId, job: JobId, slot: Timestamp, why: &str) -> Self {
        Self { state: RunState::Missed, error: Some(why.to_string()), ..Self::begin(id, job, Some(slot), slot) }
    }

    /// A run that did not begin, because another process was at the job.
    pub fn skipped(id: RunId, job: JobId, slot: Option<Timestamp>, now: Timestamp, why: &str) -> Self {
        Self { state: RunState::Skipped, error: Some(why.to_string()), ..Self::begin(id, job, slot, now) }
    }

    /// The run that a manifest tells of, without copies.
    pub fn from_manifest(job: JobId, manifest: Manifest) -> Self {
        Self {
            state: if manifest.consistent { RunState::Ok } else { RunState::Inconsistent },
            consistent_at: Some(manifest.consistent_at),
            duration_ms: Some(manifest.duration_ms),
            raw_bytes: Some(manifest.raw_bytes),
            stored_bytes: Some(manifest.stored_bytes),
            manifest: Some(Box::new(manifest.clone())),
            ..Self::begin(manifest.run, job, manifest.slot, manifest.started)
        }
    }

    /// The instant its age is counted from: data is as old as the moment it was taken, not as the end of the run.
    pub fn data_at(&self) -> Timestamp {
        self.consistent_at.unwrap_or(self.started)
    }

    /// What is known of its copies.
    pub fn verification(&self) -> Verification {
        let count = |wanted: fn(&CopyState) -> bool| self.copies.iter().filter(|it| wanted(&it.state)).count();
        let verified = count(|it| matches!(it, CopyState::Verified { .. }));
        if count(|it| matches!(it, CopyState::Corrupt { .. })) > 0 {
            Verification::Corrupt
        } else if verified > 0 && verified == self.copies.len() {
            Verification::Verified
        } else if verified > 0 {
            Verification::Partly
        } else if count(|it| matches!(it, CopyState::Stored)) > 0 {
            Verification::NotVerified
        } else {
            Verification::NoCopy
        }
    }

    /// Milliseconds between its slot and its start, when that is a minute or more.
    pub fn late_ms(&self) -> Option<i64> {
        let slot = self.slot.filter(|_| self.state != RunState::Missed)?;
        let late = self.started.as_millisecond() - slot.as_millisecond();
        (late >= 60_000).then_some(late)
    }

    /// The copy at a destination.
    pub fn copy_mut(&mut self, destination: &str) -> Option<&mut CopyRow> {
        self.copies.iter_mut().find(|it| it.destination == destination)
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it does.
    pub stage: Stage,
    /// Bytes done in this stage.
    pub done_bytes: u64,
    /// Bytes of this stage, when known.
    pub total_bytes: Option<u64>,
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Takes a consistent copy of the source.
    Copying,
    /// Reads, compresses, hashes and writes.
    Storing,
    /// Reads back what was written.
    Verifying,
}

impl Stage {
    /// The word on the screen and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Stage::Copying => "copying",
            Stage::Storing => "storing",
            Stage::Verifying => "verifying",
        }
    }
}

impl Progress {
    /// From 0 to 1, when the total is known.
    pub fn ratio(&self) -> Option<f64> {
        let total = self.total_bytes.filter(|it| *it > 0)?;
        Some((self.done_bytes as f64 / total as f64).clamp(0.0, 1.0))
    }
}
