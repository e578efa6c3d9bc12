//! What a person wrote and nobody has said to be on disk yet.
//!
//! A runtime of another process can be gone between taking a note and saving it. What it had not said to be saved by
//! then comes back to the screen, which keeps it and offers to send it again.

use std::collections::VecDeque;

use crate::domain::board::Board;
use crate::domain::fact::Fact;
use crate::domain::incident::entry::EntryBody;
use crate::domain::incident::{IncidentChange, IncidentFact};
use crate::domain::request::{Inbound, Request};

/// Requests remembered: as many as may wait for a runtime. Nobody types faster than a disk for so long.
const UNANSWERED_MAX: usize = 64;

/// Requests with a person's words that were sent, oldest first.
#[derive(Debug, Default)]
pub struct Unanswered {
    requests: VecDeque<Request>,
}

impl Unanswered {
    /// True for a request that must come back whole when it is not carried out.
    pub fn is_worded(request: &Request) -> bool {
        matches!(
            request,
            Request::Note(_)
                | Request::Pin(_)
                | Request::Declare(_)
                | Request::ChangeIncident(..)
                | Request::SaveDocument { .. }
        )
    }

    /// Remembers a request that goes out.
    pub fn sent(&mut self, request: &Request) {
        if !Self::is_worded(request) {
            return;
        }
        if self.requests.len() >= UNANSWERED_MAX {
            self.requests.pop_front();
        }
        self.requests.push_back(request.clone());
    }

    /// Looks at what came back and forgets what it answers.
    pub fn heard(&mut self, inbound: &Inbound) {
        if self.requests.is_empty() {
            return;
        }
        match inbound {
            Inbound::Fact(envelope) => {
                if let Fact::Incident(IncidentFact::EntryAppended { entry, .. }) = &envelope.fact {
                    self.forget_first(|it| says(&entry.body, it));
                }
            }
            Inbound::Refused { request, .. } => self.forget_first(|it| it == &**request),
            // The answer to saving is the document as it is then.
            Inbound::Document { .. } => self.forget_first(|it| matches!(it, Request::SaveDocument { .. })),
            Inbound::Snapshot(board) => self.requests.retain(|it| !holds(board, it)),
            _ => {}
        }
    }

    /// Gives out what nobody has answered.
    pub fn take(&mut self) -> impl Iterator<Item = Request> {
        std::mem::take(&mut self.requests).into_iter()
    }

    fn forget_first(&mut self, is_it: impl Fn(&Request) -> bool) {
        if let Some(at) = self.requests.iter().position(is_it) {
            self.requests.remove(at);
        }
    }
}

/// True when an entry is what was asked to be written.
fn says(body: &EntryBody, request: &Request) -> bool {
    match (body, request) {
        (EntryBody::Note(note), Request::Note(asked)) => note.text.trim() == asked.text.trim(),
        (EntryBody::Pin(pin), Request::Pin(asked)) => pin.comment.trim() == asked.comment.trim(),
        (EntryBody::Declare(declare), Request::Declare(asked)) => declare.title.trim() == asked.title.trim(),
        (body, Request::ChangeIncident(_, change)) => match (body, change) {
            (EntryBody::Title { text }, IncidentChange::Title(asked))
            | (EntryBody::Summary { text }, IncidentChange::Summary(asked))
            | (EntryBody::Action { text }, IncidentChange::ActionTaken(asked)) => text.trim() == asked.trim(),
            (EntryBody::Severity { severity }, IncidentChange::Severity(asked)) => severity == asked,
            (EntryBody::Status { status }, IncidentChange::Status(asked)) => status == asked,
            _ => false,
        },
        _ => false,
    }
}

fn holds(board: &Board, request: &Request) -> bool {
    board.incidents.incidents.iter().any(|incident| incident.entries.iter().any(|it| says(&it.body, request)))
}
