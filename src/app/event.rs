//! What the screen's loop sees. Closed: everything that can change the screen is in this list.

use crate::app::effect::Notice;
use crate::domain::ids::{IncidentId, ProbeId};
use crate::domain::key::Key;
use crate::domain::probe::outcome::Outcome;
use crate::domain::request::Inbound;

/// What the screen's loop sees.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Something from the runtime.
    Inbound(Inbound),
    /// A key.
    Key(Key),
    /// A bracketed paste, whole.
    Paste(String),
    /// A mouse press or wheel turn, in screen cells.
    Mouse(Mouse),
    /// A new size in cells.
    Resize {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// The instant asked for by `Model::next_wake` has come.
    Wake,
    /// `$EDITOR` was closed.
    EditorClosed {
        /// Which document.
        incident: Option<IncidentId>,
        /// The text, or why there is none.
        text: Result<String, String>,
    },
    /// A probe was run once in this process.
    RanHere {
        /// Which probe.
        probe: ProbeId,
        /// What was looked at and found, or why it could not be run here.
        ran: Result<Box<RanHere>, String>,
    },
    /// A task of the screen failed; in words.
    Failed(String),
    /// The process continues after Ctrl-Z.
    Resumed,
    /// The loop has one line for the person (what became of a copy, of a hand-off).
    Notice(Notice),
    /// The screen is about to end, for whatever reason: unsaved text must be given out as effects now.
    Leaving,
}

/// A run of a probe in this process.
#[derive(Debug, Clone, PartialEq)]
pub struct RanHere {
    /// Its kind, by this config.
    pub kind: String,
    /// What was spoken to, by this config, without secrets.
    pub target: String,
    /// What was found.
    pub outcome: Outcome,
    /// This config has no such probe: it was run as the agent shows it.
    pub as_shown: bool,
}

/// A mouse press or wheel turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mouse {
    /// What happened.
    pub kind: MouseKind,
    /// Column, from 0.
    pub column: u16,
    /// Row, from 0.
    pub row: u16,
}

/// What the mouse did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MouseKind {
    /// Left button pressed.
    Press,
    /// Wheel away from the person.
    WheelUp,
    /// Wheel towards the person.
    WheelDown,
}
