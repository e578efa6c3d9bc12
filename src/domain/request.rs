//! What a screen or a command asks of the runtime it is attached to, and what comes back.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::explain::{ExplainRequest, Explanation};
use crate::domain::alert::quiet::{Maintenance, Silence};
use crate::domain::board::Board;
use crate::domain::export::{ExportNews, ExportRequest};
use crate::domain::fact::Envelope;
use crate::domain::host::HostNews;
use crate::domain::ids::{HostId, IncidentId, JobId, ProbeId, RunId};
use crate::domain::incident::{DeclareRequest, IncidentChange, NoteRequest, PinRequest};
use crate::domain::log::{Window, WindowRequest};
use crate::domain::past::{Past, PastRequest};
use crate::domain::presence::{Spot, You};
use crate::domain::probe::history::{History, HistoryRequest};
use crate::domain::probe::outcome::Outcome;

/// What a screen asks of its runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Run a probe now, outside its schedule.
    RunProbe(ProbeId),
    /// Run a probe once a second until the burst ends by itself; a second request ends it early.
    BurstProbe(ProbeId),
    /// Mark a failing probe as seen by a person.
    AcknowledgeProbe(ProbeId),
    /// Mark a failing probe as seen by a person, until it is fine or for a time.
    Acknowledge {
        /// Which.
        probe: ProbeId,
        /// Until it is fine, whatever it turns to before; otherwise until it turns to something else.
        sticky: bool,
        /// No longer than this.
        until: Option<Timestamp>,
    },
    /// Take back that somebody has seen it: reminders and the next steps of ladders go on. Nothing to take back is no
    /// mistake. PagerDuty, which knows no such thing, keeps what it was told.
    Unacknowledge(ProbeId),
    /// Silence what fits, or change a silence with the same id.
    Silence(Box<Silence>),
    /// End a silence, by its id.
    Unsilence(String),
    /// Begin or plan a maintenance.
    Maintain(Box<Maintenance>),
    /// End a maintenance that did not come from the config, by its name.
    EndMaintenance(String),
    /// Ask for a probe's past; answered with `Inbound::History`.
    History(Box<HistoryRequest>),
    /// Ask why a probe was paged or not; answered with `Inbound::Explanation`.
    Explain(ExplainRequest),
    /// Ask for what was known at an earlier instant; answered with `Inbound::Past`.
    Past(PastRequest),
    /// Send a test message through a notifier, by its name.
    TestNotifier(String),
    /// Run a backup job now.
    RunBackup(JobId),
    /// Read a run's artefact back and compare its hashes.
    VerifyBackup(RunId),
    /// Open an incident.
    Declare(DeclareRequest),
    /// Add a note to an incident (or to the day's log-book when `incident` is `None`).
    Note(NoteRequest),
    /// Copy log lines into an incident as evidence.
    Pin(PinRequest),
    /// Change the title, severity, status or another field of an incident.
    ChangeIncident(IncidentId, IncidentChange),
    /// Save the incident's document (`incident.md`), unless it changed on disk since `base_sha256`.
    SaveDocument {
        /// Which incident; `None` is the day's log-book.
        incident: Option<IncidentId>,
        /// The whole text.
        text: String,
        /// Hex sha256 of the text that the edit started from.
        base_sha256: String,
    },
    /// Ask for the document's text; answered with `Inbound::Document`.
    LoadDocument(Option<IncidentId>),
    /// Keep the unsaved text of an editor; empty text removes the draft.
    SaveDraft {
        /// Which incident; `None` is the day's log-book.
        incident: Option<IncidentId>,
        /// The whole text.
        text: String,
    },
    /// Keep the half-typed text of the one-line note; empty text removes it.
    SaveNoteDraft(String),
    /// Ask for the half-typed note of an earlier session; answered with `Inbound::NoteDraft` when there is one.
    LoadNoteDraft,
    /// Ask for log rows; answered with `Inbound::Window`. A newer request of the same view cancels it.
    Window(Box<WindowRequest>),
    /// Write log records into a file; answered with `Inbound::Export`.
    Export(Box<ExportRequest>),
    /// Stop writing them.
    StopExport,
    /// Read the config again now.
    ReloadConfig,
    /// Say what the person looks at.
    Attend(Spot),
    /// The screen is about to be suspended: whatever it holds is given back, so that others can watch meanwhile. Carried
    /// out by what links the screen, never by a runtime.
    LetGo,
    /// Watch this host from now on, because nobody does. Carried out by what links the screen, never by a runtime.
    TakeOver,
    /// Try at once to reach what is lost or has refused. Carried out by what links the screen, never by a runtime.
    Reattach,
}

impl Request {
    /// True for what a person wrote or decided: when it cannot be carried out it comes back as `Inbound::Refused`
    /// and is never lost without a word.
    pub fn is_decision(&self) -> bool {
        matches!(
            self,
            Self::Note(_)
                | Self::Pin(_)
                | Self::Declare(_)
                | Self::ChangeIncident(..)
                | Self::SaveDocument { .. }
                | Self::SaveDraft { .. }
                | Self::SaveNoteDraft(_)
                | Self::Silence(_)
                | Self::Unsilence(_)
                | Self::Maintain(_)
                | Self::EndMaintenance(_)
                | Self::AcknowledgeProbe(_)
                | Self::Acknowledge { .. }
                | Self::Unacknowledge(_)
        )
    }

    /// True for what the incident pane keeps when it comes back as refused, to be sent again.
    pub fn is_written(&self) -> bool {
        matches!(self, Self::Note(_) | Self::Pin(_) | Self::Declare(_) | Self::ChangeIncident(..))
    }

    /// True when it changes something that others see or that stays; a screen that is read-only may not ask it.
    pub fn changes(&self) -> bool {
        match self {
            Self::History(_)
            | Self::Explain(_)
            | Self::Past(_)
            | Self::LoadDocument(_)
            | Self::LoadNoteDraft
            | Self::Window(_)
            | Self::LetGo
            | Self::Reattach
            | Self::Attend(_) => false,
            Self::RunProbe(_)
            | Self::BurstProbe(_)
            | Self::AcknowledgeProbe(_)
            | Self::Acknowledge { .. }
            | Self::Unacknowledge(_)
            | Self::Silence(_)
            | Self::Unsilence(_)
            | Self::Maintain(_)
            | Self::EndMaintenance(_)
            | Self::TestNotifier(_)
            | Self::RunBackup(_)
            | Self::VerifyBackup(_)
            | Self::Declare(_)
            | Self::Note(_)
            | Self::Pin(_)
            | Self::ChangeIncident(..)
            | Self::SaveDocument { .. }
            | Self::SaveDraft { .. }
            | Self::SaveNoteDraft(_)
            // It writes a file on the runtime's host.
            | Self::Export(_)
            | Self::StopExport
            | Self::ReloadConfig
            | Self::TakeOver => true,
        }
    }
}

/// What comes from the runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inbound {
    /// The whole board; sent first, and again when a slow screen missed facts.
    Snapshot(Box<Board>),
    /// What stands in the place of a probe's glimpses: all its last outcomes, oldest first. Comes behind a snapshot that
    /// has glimpses, as long as there is nothing newer to say.
    Outcomes {
        /// Which.
        probe: ProbeId,
        /// What its last runs found.
        outcomes: Vec<Arc<Outcome>>,
    },
    /// The screen was too slow for so many facts; a snapshot follows.
    Missed {
        /// How many.
        facts: u64,
    },
    /// Who the screen is to the runtime; comes once, behind the first snapshot.
    You(Box<You>),
    /// How the screen is connected with a host; said by what links the screen, never by a runtime.
    Host(Box<HostNews>),
    /// A host has said its name; before that it was called as on the command line. Said by what links the screen.
    HostNamed {
        /// What it was called.
        was: HostId,
        /// The name that its ids have.
        host: HostId,
    },
    /// One more fact.
    Fact(Box<Envelope>),
    /// Log rows that were asked for.
    Window(Box<Window>),
    /// A probe's past.
    History(Box<History>),
    /// Why a probe was paged or not.
    Explanation(Box<Explanation>),
    /// What was known at an earlier instant.
    Past(Box<Past>),
    /// How writing log records into a file goes.
    Export(ExportNews),
    /// An incident's document.
    Document {
        /// Which incident; `None` is the day's log-book.
        incident: Option<IncidentId>,
        /// The text on disk.
        text: String,
        /// Its sha256 in hex.
        sha256: String,
        /// Unsaved text of an earlier session, newer than the document.
        draft: Option<String>,
    },
    /// A one-line note that an earlier session left half typed.
    NoteDraft(String),
    /// Something asked for was done, in words for the notice line ("note saved").
    Done(String),
    /// Something asked for could not be done, in words: what, on what, why, what to do.
    Failed(String),
    /// A request with a person's words in it could not be carried out. It comes back whole, so that nothing is lost.
    Refused {
        /// What was asked.
        request: Box<Request>,
        /// What failed, on what, why, what to do.
        error: String,
    },
    /// No more is answered to the request with this number. Said to what carries a link, which keeps it to itself.
    Settled(u64),
}
