//! One entry of an incident's journal: what happened, when, who wrote it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::incident::{Severity, Status};

/// One entry. Never changed once written; a correction is another entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "RawEntry", into = "RawEntry")]
pub struct Entry {
    /// UUIDv7.
    pub id: Uuid,
    /// When it happened.
    pub at: Timestamp,
    /// When it was recorded.
    pub rec: Timestamp,
    /// Who wrote it: a person, or `agent` for a machine.
    pub by: String,
    /// Hex sha256 of the writer's line before this one in the same file; empty for the first.
    pub prev: String,
    /// What it says.
    pub body: EntryBody,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq)]
pub enum EntryBody {
    /// Opens the incident.
    Declare(Declare),
    /// A person's note.
    Note(Note),
    /// Log lines kept as evidence.
    Pin(Pin),
    /// A new status.
    Status {
        /// The status.
        status: Status,
    },
    /// A new severity.
    Severity {
        /// The severity.
        severity: Severity,
    },
    /// A new title.
    Title {
        /// The title.
        text: String,
    },
    /// What happened, in a sentence or two.
    Summary {
        /// The summary.
        text: String,
    },
    /// What was done about it.
    Action {
        /// In words.
        text: String,
    },
    /// A probe changed its health.
    Probe {
        /// Id of the probe.
        subject: String,
        /// In words.
        text: String,
    },
    /// A backup run ended.
    Backup {
        /// Id of the job.
        subject: String,
        /// In words.
        text: String,
    },
    /// Somebody was paged, or was not although something was the matter.
    Alert {
        /// Id of the probe, or what else it is about.
        subject: String,
        /// In words.
        text: String,
    },
    /// Corrects a person's entry.
    Amend(Amend),
    /// Takes a person's entry back.
    Retract {
        /// Which entry.
        entry: Uuid,
    },
    /// Written by a newer program: kept and shown as it is.
    Unknown {
        /// Its kind.
        kind: String,
        /// Its content.
        body: Value,
    },
}

/// Opens an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declare {
    /// One line.
    pub title: String,
    /// How bad.
    pub severity: Severity,
    /// When users began to suffer, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact_start: Option<Timestamp>,
    /// The host it was declared on; part of the incident's id.
    #[serde(default)]
    pub host: String,
}

impl Declare {
    /// Makes a declaration without a host.
    pub fn new(title: &str, severity: Severity, impact_start: Option<Timestamp>) -> Self {
        Self { title: title.to_string(), severity, impact_start, host: String::new() }
    }
}

/// A person's note.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// May have several lines.
    pub text: String,
    /// The log-book that it was written into before the incident was declared, which took a copy of it along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

impl Note {
    /// A note that was written where it stands.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), from: None }
    }
}

/// Log lines kept as evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pin {
    /// Name of the source of the pinned record.
    pub source: String,
    /// What the person says about it; may be empty.
    #[serde(default)]
    pub comment: String,
    /// Time of the pinned record, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// Lines of the pinned records, without their context.
    pub lines: u32,
    /// File below the incident's folder that holds everything.
    pub file: String,
    /// Hex sha256 of that file.
    pub sha256: String,
    /// The beginning of that file, so that the evidence can be read where only journals arrive.
    #[serde(default)]
    pub text: String,
    /// Bytes of the file that are not in `text`.
    #[serde(default)]
    pub cut_bytes: u64,
    /// Where the records can be found again in their sources: source, segment, device, inode, offset.
    #[serde(default)]
    pub places: Value,
}

/// Corrects a person's entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Amend {
    /// Which entry.
    pub entry: Uuid,
    /// When it really happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What it should say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl EntryBody {
    /// The word in the journal.
    pub fn kind(&self) -> &str {
        match self {
            EntryBody::Declare(_) => "declare",
            EntryBody::Note(_) => "note",
            EntryBody::Pin(_) => "pin",
            EntryBody::Status { .. } => "status",
            EntryBody::Severity { .. } => "severity",
            EntryBody::Title { .. } => "title",
            EntryBody::Summary { .. } => "summary",
            EntryBody::Action { .. } => "action",
            EntryBody::Probe { .. } => "probe",
            EntryBody::Backup { .. } => "backup",
            EntryBody::Alert { .. } => "alert",
            EntryBody::Amend(_) => "amend",
            EntryBody::Retract { .. } => "retract",
            EntryBody::Unknown { kind, .. } => kind,
        }
    }

    /// True for what a machine saw: it can be commented, never changed.
    pub fn is_machine(&self) -> bool {
        matches!(self, EntryBody::Probe { .. } | EntryBody::Backup { .. } | EntryBody::Alert { .. })
    }

    /// True for what an incident's header is made of; such entries are never left out to save room.
    pub fn is_header(&self) -> bool {
        match self {
            EntryBody::Declare(_)
            | EntryBody::Status { .. }
            | EntryBody::Severity { .. }
            | EntryBody::Title { .. }
            | EntryBody::Summary { .. }
            | EntryBody::Action { .. } => true,
            EntryBody::Note(_)
            | EntryBody::Pin(_)
            | EntryBody::Probe { .. }
            | EntryBody::Backup { .. }
            | EntryBody::Alert { .. }
            | EntryBody::Amend(_)
            | EntryBody::Retract { .. }
            | EntryBody::Unknown { .. } => false,
        }
    }

    /// The entry in words, for the timeline; may have several lines.
    pub fn words(&self) -> String {
        let of = |subject: &str, text: &str| {
            let name = subject.split_once('/').map_or(subject, |(_, name)| name);
            format!("{name} {text}")
        };
        match self {
            EntryBody::Declare(it) => format!("declared {} {}", it.severity, it.title),
            EntryBody::Note(Note { text, from: Some(from) }) => format!("{text} (from {from})"),
            EntryBody::Note(it) => it.text.clone(),
            EntryBody::Pin(it) => {
                let lines = if it.lines == 1 { "line" } else { "lines" };
                let what = if it.comment.is_empty() { it.headline() } else { &it.comment };
                format!("pinned {} {lines} {} ({what})", it.lines, it.source)
            }
            EntryBody::Status { status } => format!("status {status}"),
            EntryBody::Severity { severity } => format!("severity {severity}"),
            EntryBody::Title { text } => format!("title: {text}"),
            EntryBody::Summary { text } => format!("summary: {text}"),
            EntryBody::Action { text } => format!("action taken: {text}"),
            EntryBody::Probe { subject, text }
            | EntryBody::Backup { subject, text }
            | EntryBody::Alert { subject, text } => of(subject, text),
            EntryBody::Amend(_) => "corrected an entry".into(),
            EntryBody::Retract { .. } => "took an entry back".into(),
            EntryBody::Unknown { kind, .. } => format!("{kind} (not known to this version)"),
        }
    }

    fn parse(kind: &str, body: Value) -> Self {
        #[derive(Deserialize)]
        struct Text {
            text: String,
        }
        #[derive(Deserialize)]
        struct Machine {
            subject: String,
            text: String,
        }
        #[derive(Deserialize)]
        struct WithStatus {
            status: Status,
        }
        #[derive(Deserialize)]
        struct WithSeverity {
            severity: Severity,
        }
        #[derive(Deserialize)]
        struct Target {
            entry: Uuid,
        }
        fn read<T: serde::de::DeserializeOwned>(body: &Value, make: impl Fn(T) -> EntryBody) -> Option<EntryBody> {
            T::deserialize(body).ok().map(make)
        }
        let known = match kind {
            "declare" => read(&body, EntryBody::Declare),
            "note" => read(&body, EntryBody::Note),
            "pin" => read(&body, EntryBody::Pin),
            "status" => read(&body, |it: WithStatus| EntryBody::Status { status: it.status }),
            "severity" => read(&body, |it: WithSeverity| EntryBody::Severity { severity: it.severity }),
            "title" => read(&body, |it: Text| EntryBody::Title { text: it.text }),
            "summary" => read(&body, |it: Text| EntryBody::Summary { text: it.text }),
            "action" => read(&body, |it: Text| EntryBody::Action { text: it.text }),
            "probe" => read(&body, |it: Machine| EntryBody::Probe { subject: it.subject, text: it.text }),
            "backup" => read(&body, |it: Machine| EntryBody::Backup { subject: it.subject, text: it.text }),
            "alert" => read(&body, |it: Machine| EntryBody::Alert { subject: it.subject, text: it.text }),
            "amend" => read(&body, EntryBody::Amend),
            "retract" => read(&body, |it: Target| EntryBody::Retract { entry: it.entry }),
            _ => None,
        };
        // A known kind with an unknown shape is from another version as well: kept, never dropped.
        known.unwrap_or_else(|| EntryBody::Unknown { kind: kind.to_string(), body })
    }

    fn to_value(&self) -> Value {
        use serde_json::json;
        // Plain data with string keys: serialising it cannot fail.
        fn value(it: &impl Serialize) -> Value {
            serde_json::to_value(it).unwrap_or(Value::Null)
        }
        match self {
            EntryBody::Declare(it) => value(it),
            EntryBody::Note(it) => value(it),
            EntryBody::Pin(it) => value(it),
            EntryBody::Status { status } => json!({ "status": status }),
            EntryBody::Severity { severity } => json!({ "severity": severity }),
            EntryBody::Title { text } | EntryBody::Summary { text } | EntryBody::Action { text } => {
                json!({ "text": text })
            }
            EntryBody::Probe { subject, text }
            | EntryBody::Backup { subject, text }
            | EntryBody::Alert { subject, text } => {
                json!({ "subject": subject, "text": text })
            }
            EntryBody::Amend(it) => value(it),
            EntryBody::Retract { entry } => json!({ "entry": entry }),
            EntryBody::Unknown { body, .. } => body.clone(),
        }
    }
}

impl Pin {
    /// The first pinned line, without the mark that tells it from its context.
    pub fn headline(&self) -> &str {
        let first = self.text.lines().find_map(|it| it.strip_prefix(PIN_CHOSEN));
        first.or_else(|| self.text.lines().next()).unwrap_or_default().trim()
    }
}

/// Stands before the lines of a pinned record in a pin's file.
pub const PIN_CHOSEN: &str = "> ";
/// Stands before the lines around it.
pub const PIN_CONTEXT: &str = "  ";

/// The shape in the journal.
#[derive(Serialize, Deserialize)]
struct RawEntry {
    id: Uuid,
    at: Timestamp,
    rec: Timestamp,
    by: String,
    kind: String,
    #[serde(default)]
    prev: String,
    #[serde(default)]
    body: Value,
}

impl From<RawEntry> for Entry {
    fn from(raw: RawEntry) -> Self {
        let body = EntryBody::parse(&raw.kind, raw.body);
        Self { id: raw.id, at: raw.at, rec: raw.rec, by: raw.by, prev: raw.prev, body }
    }
}

impl From<Entry> for RawEntry {
    fn from(entry: Entry) -> Self {
        let (kind, body) = (entry.body.kind().to_string(), entry.body.to_value());
        Self { id: entry.id, at: entry.at, rec: entry.rec, by: entry.by, kind, prev: entry.prev, body }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An entry at a second, with an id that follows from it.
    pub(crate) fn entry(second: i64, body: EntryBody) -> Entry {
        let at = Timestamp::from_second(second).unwrap();
        Entry { id: Uuid::from_u128(second as u128 + 1), at, rec: at, by: "alice".into(), prev: String::new(), body }
    }

    #[test]
    fn every_kind_is_read_back() {
        let pin = Pin {
            source: "api".into(),
            comment: String::new(),
            time: None,
            lines: 2,
            file: "pins/0001-api.log".into(),
            sha256: "00".into(),
            text: "> a\n".into(),
            cut_bytes: 0,
            places: Value::Null,
        };
        let bodies = [
            EntryBody::Declare(Declare::new("edge 502", Severity::Sev2, Some(Timestamp::UNIX_EPOCH))),
            EntryBody::Note(Note::new("两行\nzwei")),
            EntryBody::Pin(pin),
            EntryBody::Status { status: Status::Mitigated },
            EntryBody::Severity { severity: Severity::Sev1 },
            EntryBody::Title { text: "t".into() },
            EntryBody::Summary { text: "s".into() },
            EntryBody::Action { text: "a".into() },
            EntryBody::Probe { subject: "h/api".into(), text: "down".into() },
            EntryBody::Backup { subject: "h/db".into(), text: "ok".into() },
            EntryBody::Amend(Amend { entry: Uuid::nil(), at: None, text: Some("x".into()) }),
            EntryBody::Retract { entry: Uuid::nil() },
            EntryBody::Unknown { kind: "role".into(), body: serde_json::json!({ "ic": "bob" }) },
        ];
        for body in bodies {
            let entry = entry(5, body);
            let text = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry, "{text}");
        }
    }

    #[test]
    fn a_known_kind_of_another_shape_is_kept() {
        let text = r#"{"id":"00000000-0000-0000-0000-000000000001","at":"2024-08-19T06:52:00Z","rec":"2024-08-19T06:52:00Z","by":"a","kind":"status","body":{"status":"cancelled"}}"#;
        let entry: Entry = serde_json::from_str(text).unwrap();
        assert!(matches!(&entry.body, EntryBody::Unknown { kind, .. } if kind == "status"));
        assert!(serde_json::to_string(&entry).unwrap().contains("cancelled"));
    }
}
