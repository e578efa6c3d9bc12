//! The past as a screen asks for it: the board of an earlier instant, and what happened then.
//!
//! An *event* is a turn that a person cares about: a probe that went down, a page, a backup that ended, a note. One
//! steps from event to event; a step names an instant, so that several hosts can be asked for the same one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::AlertFact;
use crate::domain::backup::BackupFact;
use crate::domain::board::Board;
use crate::domain::fact::{Actor, Envelope, Fact, RuntimeFact};
use crate::domain::ids::{HostId, ProbeId};
use crate::domain::incident::entry::{Entry, EntryBody};
use crate::domain::incident::{IncidentFact, MachineEntry, MachineKind};
use crate::domain::sanitise;

/// Characters of an event's line: it stands in one row.
const TEXT_MAX: usize = 240;
/// Events of one instant that are answered; a fact seldom leads to more than a flip and a page.
pub const EVENTS_MAX: usize = 16;

/// How the line begins that says that a request could not be answered.
pub const FAILED: &str = "could not read the past";

/// Asks for the board of an earlier instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastRequest {
    /// Whose past; `None` asks every host that the screen is attached to.
    #[serde(default)]
    pub host: Option<HostId>,
    /// Counts the requests of a screen; the answer carries it back, stale answers are dropped.
    pub generation: u64,
    /// Which instant.
    pub step: Step,
    /// Only events about this probe are stepped to.
    #[serde(default)]
    pub about: Option<ProbeId>,
}

/// Which instant is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// This very instant.
    At(Timestamp),
    /// The last event before.
    Before(Timestamp),
    /// The first event after.
    After(Timestamp),
}

/// The answer to a [`PastRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// Whose past.
    pub host: HostId,
    /// Of the request.
    pub generation: u64,
    /// From when on it is recorded; `None` when nothing is.
    pub known_since: Option<Timestamp>,
    /// What was found.
    pub found: Found,
}

/// What was found of an instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// The instant is recorded.
    Moment(Box<Moment>),
    /// The record begins later, or has no such event.
    Beginning,
    /// Nothing happened after: what comes is the present.
    Present,
}

/// What was known at an instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// The instant.
    pub at: Timestamp,
    /// What happened at it, or last before it; at most [`EVENTS_MAX`].
    pub events: Vec<PastEvent>,
    /// Nothing was recorded from the first to the second, and the instant lies in between: the board is that of the first.
    pub gap: Option<(Timestamp, Timestamp)>,
    /// Of several hosts those that are not on the board, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<Absent>,
    /// What was known. Equal to the live board of that instant, but for how far logs had grown.
    pub board: Board,
}

/// A host of which nothing is known of an instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// Which.
    pub host: HostId,
    /// Why, in a word or two: `lost`, `not recorded then`.
    pub why: String,
}

/// A turn that a person cares about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastEvent {
    /// When it was observed.
    pub at: Timestamp,
    /// What kind it is of.
    pub kind: PastKind,
    /// What it is about, by name; empty when the text names it.
    pub subject: String,
    /// What happened, in one sanitised line.
    pub text: String,
    /// Who did it.
    pub actor: Actor,
    /// Since when nothing had been recorded, for a start.
    #[serde(default)]
    pub nothing_since: Option<Timestamp>,
}

/// What kind of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PastKind {
    /// A probe turned.
    Probe,
    /// Somebody was told, or could not be.
    Alert,
    /// A silence or a maintenance began or ended.
    Quiet,
    /// A backup ended.
    Backup,
    /// An incident was declared or changed.
    Incident,
    /// A person wrote or pinned something.
    Note,
    /// The config was read again.
    Config,
    /// Something of hotseat itself failed.
    Service,
    /// hotseat began to watch.
    Start,
}

impl PastEvent {
    /// True when it is about this probe.
    pub fn is_about(&self, probe: &ProbeId) -> bool {
        matches!(self.kind, PastKind::Probe | PastKind::Alert) && self.subject == probe.name()
    }
}

/// The events in a fact; `turned` is what [`Board::fold`] says of it.
pub fn events(envelope: &Envelope, turned: &[MachineEntry]) -> Vec<PastEvent> {
    let event = |kind, subject: &str, text: &str| PastEvent {
        at: envelope.at,
        kind,
        subject: one_line(subject),
        text: one_line(text),
        actor: envelope.actor.clone(),
        nothing_since: None,
    };
    // Every start finds out anew that all is well.
    let is_news = |it: &&MachineEntry| !(it.kind == MachineKind::Probe && it.text.starts_with("unknown -> up"));
    let is_quiet = matches!(
        envelope.fact,
        Fact::Alert(
            AlertFact::Silenced(_)
                | AlertFact::Unsilenced { .. }
                | AlertFact::Maintained(_)
                | AlertFact::MaintenanceEnded { .. }
        )
    );
    let mut events: Vec<PastEvent> = turned
        .iter()
        .filter(is_news)
        .map(|it| {
            let kind = match it.kind {
                MachineKind::Probe => PastKind::Probe,
                MachineKind::Backup => PastKind::Backup,
                MachineKind::Alert if is_quiet => PastKind::Quiet,
                MachineKind::Alert => PastKind::Alert,
                MachineKind::Note => PastKind::Note,
            };
            // Ids name the host, which is said once for the whole screen.
            let subject = it.subject.split_once('/').map_or(it.subject.as_str(), |(_, name)| name);
            event(kind, subject, &it.text)
        })
        .collect();
    match &envelope.fact {
        Fact::Backup(BackupFact::Started { run }) => {
            events.push(event(PastKind::Backup, run.job.name(), "backup started"));
        }
        Fact::Incident(IncidentFact::EntryAppended { incident, entry }) => {
            events.extend(of_entry(entry).map(|(kind, text)| event(kind, incident.name(), &text)));
        }
        Fact::Runtime(fact) => events.extend(of_runtime(fact).map(|(kind, subject, text)| event(kind, subject, &text))),
        _ => {}
    }
    events
}

fn of_entry(entry: &Entry) -> Option<(PastKind, String)> {
    let by = &entry.by;
    Some(match &entry.body {
        EntryBody::Declare(it) => (PastKind::Incident, format!("declared by {by}: {}", it.title)),
        // It was an event when it was written.
        EntryBody::Note(it) if it.from.is_some() => return None,
        EntryBody::Note(it) => (PastKind::Note, format!("{by}: {}", it.text)),
        EntryBody::Pin(it) => (PastKind::Note, format!("{by} pinned {}", it.source)),
        EntryBody::Status { status } => (PastKind::Incident, format!("{} by {by}", status.word())),
        EntryBody::Severity { severity } => (PastKind::Incident, format!("SEV{} by {by}", severity.number())),
        EntryBody::Title { text } => (PastKind::Incident, format!("called `{text}` by {by}")),
        EntryBody::Summary { text } => (PastKind::Incident, format!("summed up by {by}: {text}")),
        EntryBody::Action { text } => (PastKind::Note, format!("action of {by}: {text}")),
        EntryBody::Amend(_) => (PastKind::Note, format!("corrected by {by}")),
        EntryBody::Retract { .. } => (PastKind::Note, format!("taken back by {by}")),
        // What the machines saw is an event of its own.
        EntryBody::Probe { .. } | EntryBody::Backup { .. } | EntryBody::Alert { .. } | EntryBody::Unknown { .. } => {
            return None;
        }
    })
}

fn of_runtime(fact: &RuntimeFact) -> Option<(PastKind, &str, String)> {
    Some(match fact {
        RuntimeFact::ConfigLoaded { errors, .. } if errors.is_empty() => {
            (PastKind::Config, "config", "taken into use".to_string())
        }
        RuntimeFact::ConfigLoaded { errors, .. } => {
            (PastKind::Config, "config", format!("taken into use but for {} of its entries", errors.len()))
        }
        RuntimeFact::ConfigRejected { errors } => {
            let first = errors.first().map(ToString::to_string).unwrap_or_default();
            (PastKind::Config, "config", format!("change not taken: {first}"))
        }
        RuntimeFact::NotDurable { why: Some(why) } => (PastKind::Service, "store", format!("not durable: {why}")),
        RuntimeFact::NotDurable { why: None } => (PastKind::Service, "store", "durable again".to_string()),
        RuntimeFact::ServiceFailed { service, error, .. } => (PastKind::Service, service, format!("failed: {error}")),
        RuntimeFact::ServiceWorks { service } => (PastKind::Service, service, "works again".to_string()),
        RuntimeFact::Active => (PastKind::Service, "hotseat", "took over the watch".to_string()),
        RuntimeFact::Stopping { waits_for, .. } => {
            (PastKind::Service, "hotseat", format!("told to end, waited for {waits_for}"))
        }
        RuntimeFact::Standby { .. } | RuntimeFact::Restored(_) | RuntimeFact::Waiting { .. } => return None,
    })
}

/// One sanitised line of bounded length.
fn one_line(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let first: String = first.chars().take(TEXT_MAX).collect();
    sanitise::text(&first)
}
