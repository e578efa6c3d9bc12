//! Incidents, folded from append-only journals of entries, and what people ask to be written into them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::ids::IncidentId;
use crate::domain::log::{Cursor, Level};

/// How bad an incident is; `Sev1` is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Everything is down for everybody.
    Sev1,
    /// A critical function is down, or everything for some.
    Sev2,
    /// Partly down or slow; a workaround exists.
    Sev3,
    /// Minor.
    Sev4,
}

/// Where an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Declared, the cause is unknown.
    Investigating,
    /// The cause is known.
    Identified,
    /// Users are fine again; being watched.
    Mitigated,
    /// Over.
    Resolved,
}

/// Opens an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeclareRequest {
    /// One line.
    pub title: String,
    /// How bad.
    pub severity: Severity,
    /// When users began to suffer, if known; may lie in the past.
    pub impact_start: Option<Timestamp>,
}

/// Adds a note.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NoteRequest {
    /// Which incident; `None` is the open one, else the day's log-book.
    pub incident: Option<IncidentId>,
    /// When it happened, when that is not now (`@-12m`).
    pub at: Option<Timestamp>,
    /// The text; may have several lines.
    pub text: String,
}

/// Copies log lines into an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PinRequest {
    /// Which incident; `None` is the open one, else the day's log-book.
    pub incident: Option<IncidentId>,
    /// What the person says about it; may be empty.
    pub comment: String,
    /// The record and the records around it, in order.
    pub records: Vec<PinnedRecord>,
}

/// One pinned record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PinnedRecord {
    /// The source's name.
    pub source: String,
    /// Its time, when it has one.
    pub time: Option<Timestamp>,
    /// Its level, when it has one.
    pub level: Option<Level>,
    /// Where it can be found again.
    pub cursor: Cursor,
    /// The sanitised text; lines are separated by `\n`.
    pub text: String,
    /// True for the record that was pinned, false for its context.
    pub chosen: bool,
}

/// Changes one field of an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IncidentChange {
    /// A new title.
    Title(String),
    /// What happened, in a sentence or two.
    Summary(String),
    /// What was done about it ("Switched to backup server").
    ActionTaken(String),
    /// A new severity.
    Severity(Severity),
    /// A new status.
    Status(Status),
}

/// What a machine saw, for the timeline of an open incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachineEntry {
    /// When it happened (may be earlier than it was recorded).
    pub at: Timestamp,
    /// What saw it.
    pub kind: MachineKind,
    /// Id of the probe or job.
    pub subject: String,
    /// In words.
    pub text: String,
}

/// Which machine part saw something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineKind {
    /// A probe changed its health.
    Probe,
    /// A backup run ended.
    Backup,
}

/// What is observed of an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IncidentFact {
    /// Its folder is gone.
    Removed {
        /// Which.
        incident: IncidentId,
    },
}

/// What the board knows of incidents.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IncidentBoard {}

impl IncidentBoard {
    /// Folds one fact in.
    pub fn apply(&mut self, _now: Timestamp, _fact: &IncidentFact) {}

    /// The incidents that are open now, newest first.
    pub fn open(&self) -> Vec<IncidentId> {
        Vec::new()
    }
}
