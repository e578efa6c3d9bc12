//! What the screen asks of the world around it.

use jiff::Timestamp;

use crate::domain::alert::Ring;
use crate::domain::ids::{IncidentId, ProbeId};
use crate::domain::probe::ProbeSetup;
use crate::domain::query::saved::SavedQuery;
use crate::domain::request::Request;
use crate::domain::sanitise;
use crate::panes::PaneId;

/// What the screen asks of the world around it. Data: tests compare it, replays discard it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask the runtime.
    Request(Request),
    /// Ask the runtime the same of several things, in this order.
    Each {
        /// What is asked.
        requests: Vec<Request>,
        /// What of, in words: "12 in `pay`".
        what: String,
    },
    /// Put text on the clipboard (OSC 52) and into `last-copy.txt`; `what` names it in the notice.
    Copy {
        /// Sanitised text.
        text: String,
        /// In words: `3 records`.
        what: String,
    },
    /// Hand the text to `$VISUAL`/`$EDITOR`; comes back as `Event::EditorClosed`.
    OpenEditor {
        /// Which incident's document; `None` is the day's log-book.
        incident: Option<IncidentId>,
        /// What to edit.
        text: String,
    },
    /// Show one line to the person.
    Notice(Notice),
    /// Go to a pane.
    Focus(PaneId),
    /// Ask the person first; the screen answers itself and lets `then` out when the answer is yes.
    Confirm {
        /// A question that yes answers: `resolve INC-0819-k7q2?`.
        question: String,
        /// What yes does.
        then: Vec<Effect>,
    },
    /// Let the person pick a query; the screen answers itself. One without a name was typed earlier.
    PickQuery(Vec<SavedQuery>),
    /// Lay something over the panes; the screen answers itself.
    Show(Sheet),
    /// Run the probe of this name once in this very process, by its own config, else as the agent shows it; comes back as
    /// `Event::RanHere`.
    RunHere(ProbeId, Option<Box<ProbeSetup>>),
    /// Paint everything again.
    Redraw,
    /// Sound the bell, or ask the terminal for a desktop notification.
    Ring(Ring),
    /// Switch mouse reporting.
    Mouse(bool),
    /// Remember the theme in the state directory.
    KeepTheme(String),
    /// Stop this process until `fg`.
    Suspend,
    /// Leave.
    Quit,
}

/// What a pane can lay over the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sheet {
    /// The form that silences what fits these matchers, as they are typed.
    Silence(String),
    /// The form that plans a maintenance of what fits these matchers.
    Maintenance(String),
    /// The form that acknowledges these for longer.
    Acknowledge(Vec<ProbeId>),
    /// Why a probe was paged or not; the question goes out beside this.
    Explain(ProbeId),
    /// A run of a probe here beside that of the agent; both runs go out beside this.
    Beside {
        /// Which probe.
        probe: ProbeId,
        /// When the agent ran it last: what is newer is its answer.
        before: Option<Timestamp>,
    },
    /// Silences and maintenances.
    Quiets,
    /// How the notifiers are doing.
    Notifiers,
}

/// One line to the person, with how serious it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How serious.
    pub severity: NoticeSeverity,
    /// The line.
    pub text: String,
}

/// How serious a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeSeverity {
    /// Something was done.
    Info,
    /// Something to know.
    Warn,
    /// Something failed.
    Error,
}

impl Effect {
    /// Copies a text, sanitised: a clipboard is pasted into terminals.
    pub fn copy(text: &str, what: impl Into<String>) -> Self {
        Self::Copy { text: sanitise::multiline(text), what: what.into() }
    }
}

impl Notice {
    /// A notice that something was done, as an effect.
    pub fn info(text: impl Into<String>) -> Effect {
        Effect::Notice(Self { severity: NoticeSeverity::Info, text: text.into() })
    }

    /// A warning, as an effect.
    pub fn warn(text: impl Into<String>) -> Effect {
        Effect::Notice(Self { severity: NoticeSeverity::Warn, text: text.into() })
    }

    /// A failure, as an effect.
    pub fn error(text: impl Into<String>) -> Effect {
        Effect::Notice(Self { severity: NoticeSeverity::Error, text: text.into() })
    }
}
