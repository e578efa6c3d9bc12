//! The note prompt: one line, dated back with `@-12m`, waiting for the disk.

use std::collections::VecDeque;

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

/// The prompt's text, and the notes that were sent and are not on disk yet.
#[derive(Debug, Default)]
pub(super) struct NotePrompt {
    pub(super) input: LineInput,
    waiting: VecDeque<String>,
}

impl NotePrompt {
    pub(super) fn paste(&mut self, text: &str) {
        self.input.paste(&sanitise::text(text));
    }

    /// Notes were sent and nothing is known of them yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A note of this text is on disk, or came back.
    pub(super) fn arrived(&mut self, text: &str) {
        if let Some(at) = self.waiting.iter().position(|it| it == text) {
            self.waiting.remove(at);
        }
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
                self.note.input.key(key);
                Vec::new()
            }
        }
    }

    fn submit_note(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let typed = match split_note(self.note.input.text(), cx.now, cx.zone) {
            Ok(typed) => typed,
            Err(error) => return vec![Notice::error(error)],
        };
        let text = sanitise::multiline(&typed.text);
        if text.trim().is_empty() {
            self.mode = Mode::Reading;
            self.note.input.set_text("");
            return vec![Notice::info("an empty note was not saved")];
        }
        self.note.input.submit();
        self.note.sent(text.trim());
        self.mode = Mode::Reading;
        self.selected = None;
        let request = NoteRequest { incident: self.target(cx), at: typed.at, text };
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
