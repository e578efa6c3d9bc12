//! Incidents, folded from append-only journals of entries, and what people ask to be written into them.
//!
//! [`entry`] is one line of truth, [`journal`] how it stands in a file, [`fold`] what the entries add up
//! to, [`name`] how incidents are called, [`when`] how a note says that it happened earlier, [`merge`]
//! how two edits of one document meet.

pub mod board;
pub mod entry;
pub mod fold;
pub mod journal;
pub mod merge;
pub mod name;
pub mod when;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::ids::{HostId, IncidentId};
use crate::domain::incident::entry::Entry;
use crate::domain::incident::fold::Incident;
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

impl Severity {
    /// All severities, the worst first.
    pub const ALL: [Severity; 4] = [Severity::Sev1, Severity::Sev2, Severity::Sev3, Severity::Sev4];

    /// The number that people say: 1 to 4.
    pub fn number(self) -> u8 {
        match self {
            Severity::Sev1 => 1,
            Severity::Sev2 => 2,
            Severity::Sev3 => 3,
            Severity::Sev4 => 4,
        }
    }

    /// The severity of a number, `None` outside 1 to 4.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.number() == number)
    }

    /// What it means, for the declare form and help.
    pub fn meaning(self) -> &'static str {
        match self {
            Severity::Sev1 => "everything is down for everybody",
            Severity::Sev2 => "a critical function is down",
            Severity::Sev3 => "partly down or slow",
            Severity::Sev4 => "minor",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SEV{}", self.number())
    }
}

impl FromStr for Severity {
    type Err = String;

    /// Parses `2`, `sev2` or `SEV2`.
    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let digits = lower.strip_prefix("sev").unwrap_or(&lower);
        let number = digits.trim_start_matches('-').parse().ok().and_then(Self::from_number);
        number.ok_or_else(|| format!("unknown severity `{text}`, expected 1, 2, 3 or 4 (1 is the worst)"))
    }
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

impl Status {
    /// All statuses in the order in which an incident goes through them.
    pub const ALL: [Status; 4] = [Status::Investigating, Status::Identified, Status::Mitigated, Status::Resolved];

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Status::Investigating => "investigating",
            Status::Identified => "identified",
            Status::Mitigated => "mitigated",
            Status::Resolved => "resolved",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Status {
    type Err = String;

    /// Parses the word.
    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let found = Self::ALL.into_iter().find(|it| it.word() == lower);
        found.ok_or_else(|| {
            format!("unknown status `{text}`, expected one of investigating, identified, mitigated, resolved")
        })
    }
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
    /// Of several hosts the one whose log-book takes it while no incident is open; for whoever routes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostId>,
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

/// What a machine saw, or saw a person do, for the timeline of an open incident.
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
    /// The person whose doing it is: it stands in their journal. `None` is what only a machine saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Which machine part saw something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineKind {
    /// A probe changed its health.
    Probe,
    /// A backup run ended.
    Backup,
    /// Somebody was paged, or was not although something was the matter.
    Alert,
    /// Somebody noted something before the incident was declared; the subject is the log-book that it stands in.
    Note,
}

/// What is observed of an incident.
///
/// A start sends each incident whole; after that every entry travels alone, so a busy incident never
/// sends its history again. `EntryAppended` is sent only for what is on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IncidentFact {
    /// It was read from disk (at the start, or because its files were replaced); replaces what was known.
    Loaded(Box<Incident>),
    /// One more entry is on disk, written by this process or by another one.
    EntryAppended {
        /// Which incident.
        incident: IncidentId,
        /// The entry.
        entry: Box<Entry>,
    },
    /// Its document on disk has another text.
    DocumentChanged {
        /// Which incident.
        incident: IncidentId,
        /// Hex sha256 of the text.
        sha256: String,
    },
    /// How much of its journals cannot be read or does not fit together; counts, not differences.
    Damaged {
        /// Which incident.
        incident: IncidentId,
        /// Lines that are not intact.
        lines: u32,
        /// Intact lines whose predecessor is missing or was changed.
        broken_links: u32,
    },
    /// Writing or reading fails, in words, or works again (`None`).
    Storage {
        /// What fails, on what, why.
        trouble: Option<String>,
    },
    /// Its folder is gone.
    Removed {
        /// Which.
        incident: IncidentId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_is_read_as_people_write_it() {
        for text in ["2", "sev2", "SEV2", "sev-2", " 2 "] {
            assert_eq!(text.parse(), Ok(Severity::Sev2), "{text}");
        }
        assert!("0".parse::<Severity>().is_err());
        assert!("sev5".parse::<Severity>().is_err());
    }

    #[test]
    fn every_status_word_is_read_back() {
        for status in Status::ALL {
            assert_eq!(status.word().parse(), Ok(status));
        }
        assert!("done".parse::<Status>().is_err());
    }
}
