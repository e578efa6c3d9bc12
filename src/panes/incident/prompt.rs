//! The note prompt: one line, dated back with `@-12m`, waiting for the disk.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use crate::app::effect::{Effect, Notice};
use crate::domain::incident::NoteRequest;
use crate::domain::incident::when::split_note;
use crate::domain::key::{Key, KeyCode};
use crate::domain::request::Request;
use crate::domain::sanitise;
use crate::panes::Context;
use crate::panes::incident::{IncidentPane, Mode};
use crate::widgets::input::LineInput;

/// Notes on their way to the disk that are remembered; more cannot be typed while a disk hangs.
const WAITING_MAX: usize = 64;

/// How long what was typed may stay in memory only.
const DRAFT_AFTER: SignedDuration = SignedDuration::from_secs(1);

/// The prompt's text, and the notes that were sent and are not on disk yet.
#[derive(Debug, Default)]
pub(super) struct NotePrompt {
    pub(super) input: LineInput,
    waiting: VecDeque<String>,
    // A half-typed note of an earlier session was asked for.
    asked: bool,
    // The first change that no draft holds.
    edited_at: Option<Timestamp>,
    // A draft lies on disk.
    drafted: bool,
}

impl NotePrompt {
    pub(super) fn paste(&mut self, now: Timestamp, text: &str) {
        self.input.paste(&sanitise::text(text));
        self.edited(now);
    }

    /// The prompt is open: once a session, asks for what an earlier one left half typed.
    pub(super) fn opened(&mut self) -> Option<Request> {
        (!std::mem::replace(&mut self.asked, true)).then_some(Request::LoadNoteDraft)
    }

    fn edited(&mut self, now: Timestamp) {
        self.edited_at.get_or_insert(now);
    }

    /// When the draft must be written at the latest.
    pub(super) fn draft_due(&self) -> Option<Timestamp> {
        self.edited_at.and_then(|it| it.checked_add(DRAFT_AFTER).ok())
    }

    /// Asks to keep what is typed, when no draft holds it, or to remove a draft that nothing is left of.
    pub(super) fn draft(&mut self) -> Option<Request> {
        self.edited_at.take()?;
        let text = self.input.text();
        if text.trim().is_empty() && !self.drafted {
            return None;
        }
        self.drafted = !text.trim().is_empty();
        Some(Request::SaveNoteDraft(text.to_string()))
    }

    /// Nothing is typed any more: asks to remove its draft, when there is one.
    fn forget_draft(&mut self) -> Option<Request> {
        self.edited_at = None;
        std::mem::take(&mut self.drafted).then(|| Request::SaveNoteDraft(String::new()))
    }

    /// Notes were sent and nothing is known of them yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A note of this text came back.
    pub(super) fn refused(&mut self, text: &str) {
        if let Some(at) = self.waiting.iter().position(|it| it == text) {
            self.waiting.remove(at);
        }
    }

    /// A note of this text is on disk: its draft is not needed any more, unless the next note is being typed.
    pub(super) fn saved(&mut self, text: &str) -> Option<Request> {
        let count = self.waiting.len();
        self.refused(text);
        if self.waiting.len() == count || !self.input.text().is_empty() {
            return None;
        }
        self.forget_draft()
    }

    fn sent(&mut self, text: &str) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(text.to_string());
    }
}

impl IncidentPane {
    pub(super) fn note_key(&mut self, cx: &Context<'_>, key: &Key) -> Vec<Effect> {
        match key.code {
            KeyCode::Esc => {
                // The text stays: the next `i` finds it again.
                self.mode = Mode::Reading;
                Vec::new()
            }
            KeyCode::Enter => self.submit_note(cx),
            _ => {
                let before = self.note.input.text().len();
                self.note.input.key(key);
                // Moving the cursor changes nothing.
                if self.note.input.text().len() != before {
                    self.note.edited(cx.now);
                }
                Vec::new()
            }
        }
    }

    /// Takes what an earlier session left half typed. What was typed meanwhile stays, and Up shows the other.
    pub(super) fn note_recovered(&mut self, text: &str) -> Vec<Effect> {
        let text = sanitise::text(text);
        let typed = self.note.input.text().to_string();
        self.note.input.set_text(&text);
        self.note.drafted = true;
        if typed.is_empty() {
            return vec![Notice::warn("recovered a note that was not sent: enter saves it, ctrl-u clears it")];
        }
        self.note.input.submit();
        self.note.input.set_text(&typed);
        vec![Notice::warn("recovered a note that was not sent: up shows it")]
    }

    fn submit_note(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let typed = match split_note(self.note.input.text(), cx.now, cx.zone) {
            Ok(typed) => typed,
            Err(error) => return vec![Notice::warn(error)],
        };
        let text = sanitise::multiline(&typed.text);
        if text.trim().is_empty() {
            self.mode = Mode::Reading;
            self.note.input.set_text("");
            let forget = self.note.forget_draft().map(Effect::Request);
            return forget.into_iter().chain([Notice::info("an empty note was not saved")]).collect();
        }
        self.note.input.submit();
        self.note.sent(text.trim());
        self.mode = Mode::Reading;
        self.selected = None;
        let request = NoteRequest { incident: self.target(cx), at: typed.at, text };
        // Its draft stays until the note is on disk.
        self.note.edited_at = None;
        vec![Effect::Request(Request::Note(request))]
    }
}

/// A request in words, for the list of what is not saved.
pub(super) fn words(request: &Request) -> String {
    let text = match request {
        Request::Note(it) => format!("the note \"{}\"", it.text),
        Request::Pin(it) => format!("a pin of {} records", it.records.len()),
        Request::Declare(it) => format!("the declaration of \"{}\"", it.title),
        Request::ChangeIncident(it, _) => format!("a change of {}", it.name()),
        _ => "a request".into(),
    };
    sanitise::text(&text)
}
