//! The incident pane: the timeline of the open incident, its notes and its document.
//!
//! The newest row stands last and is followed. Nothing a person typed is thrown away: a request that could
//! not be carried out waits here to be sent again, an unsaved document is a draft on disk.

mod declare;
mod editing;
mod prompt;
mod view;

#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::Line;
use uuid::Uuid;

use crate::app::effect::{Effect, Notice};
use crate::app::event::{Mouse, MouseKind};
use crate::domain::fact::Fact;
use crate::domain::ids::IncidentId;
use crate::domain::incident::entry::EntryBody;
use crate::domain::incident::fold::Incident;
use crate::domain::incident::{IncidentChange, IncidentFact, NoteRequest, Severity};
use crate::domain::key::Key;
use crate::domain::request::{Inbound, Request};
use crate::domain::sanitise;
use crate::panes::incident::declare::DeclareForm;
use crate::panes::incident::editing::Editing;
use crate::panes::incident::prompt::NotePrompt;
use crate::panes::{Context, Pane};
use crate::theme::Theme;
use crate::widgets::scroll::{Scroll, moved};

/// Requests that wait to be sent again. Past that the oldest is told apart from the rest by a notice.
const UNSENT_MAX: usize = 32;
/// Rows that an open incident takes from its first entry on.
const OPEN_ROWS: u16 = 9;
/// How long "saved … ago" counts; after that it says when.
const SAVED_COUNTS: SignedDuration = SignedDuration::from_secs(60);

crate::commands! {
    /// Commands of the incident pane.
    IncidentCommand {
        Down = "incident.down", "Go down", ["j", "down"], "";
        Up = "incident.up", "Go up", ["k", "up"], "";
        PageDown = "incident.page-down", "Go down half a screen", ["ctrl-d", "pgdn"], "";
        PageUp = "incident.page-up", "Go up half a screen", ["ctrl-u", "pgup"], "";
        First = "incident.first", "Go to the oldest entry", ["g g", "home"], "";
        Last = "incident.last", "Go to the newest entry and follow", ["G", "end"], "";
        Open = "incident.open", "Show the entry in full", ["enter"], "show";
        Status = "incident.status", "Change the status: `s m` mitigated, `s r` resolved", ["s"], "status";
        Severity = "incident.severity", "Change the severity: `S 1` to `S 4`", ["S"], "severity";
        Worse = "incident.worse", "Make the severity one worse", ["+"], "";
        Better = "incident.better", "Make the severity one better", ["-"], "";
        Next = "incident.next", "Show the next incident", ["o"], "next";
        Previous = "incident.previous", "Show the incident before", ["O"], "";
        Copy = "incident.copy", "Copy the entry, or the whole timeline while following", ["y"], "";
        Retry = "incident.retry", "Send again what could not be saved", ["R"], "";
        Discard = "incident.discard", "Forget what could not be saved", ["X"], "";
    }
}

/// What owns the keys.
#[derive(Debug, Default)]
enum Mode {
    /// Nobody: the pane's commands do.
    #[default]
    Reading,
    /// The note prompt.
    Note,
    /// The form that declares.
    Declare(DeclareForm),
    /// Waits for the letter of a status.
    Status,
    /// Waits for the number of a severity.
    Severity,
    /// The editor.
    Editor,
}

/// The incident pane: the timeline of the open incident, its notes and its document.
#[derive(Debug, Default)]
pub struct IncidentPane {
    mode: Mode,
    // The incident a person chose to look at; without one it is the newest open one.
    chosen: Option<IncidentId>,
    // The selected entry; without one the newest is followed.
    selected: Option<Uuid>,
    // The selected entry is shown in full, scrolled so far.
    detail: Option<Scroll>,
    note: NotePrompt,
    editing: Option<Editing>,
    unsent: Vec<Request>,
}

impl IncidentPane {
    /// Opens the prompt of a one-line note.
    pub fn start_note(&mut self, _cx: &Context<'_>) -> Vec<Effect> {
        self.detail = None;
        self.mode = Mode::Note;
        self.note.opened().map(Effect::Request).into_iter().collect()
    }

    /// Opens the form that declares an incident.
    pub fn start_declare(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        self.detail = None;
        self.mode = Mode::Declare(DeclareForm::proposed(cx.board));
        Vec::new()
    }

    /// True while there is nothing to show but how to begin.
    pub fn is_idle(&self, cx: &Context<'_>) -> bool {
        self.incident(cx).is_none() && matches!(self.mode, Mode::Reading) && self.unsent.is_empty()
    }

    /// True while something a person typed is not saved.
    pub fn has_unsaved(&self) -> bool {
        self.editing.as_ref().is_some_and(Editing::is_changed) || !self.unsent.is_empty() || self.note.is_waiting()
    }

    /// What must be asked before the screen ends, so that nothing typed is lost.
    pub fn pending_drafts(&mut self) -> Vec<Request> {
        let draft = self.editing.as_mut().and_then(Editing::draft);
        draft.into_iter().chain(self.note.draft()).chain(std::mem::take(&mut self.unsent)).collect()
    }

    /// The incident that is shown.
    fn incident<'a>(&self, cx: &Context<'a>) -> Option<&'a Incident> {
        let board = &cx.board.incidents;
        let chosen = self.chosen.as_ref().and_then(|it| board.get(it));
        chosen.or_else(|| board.open_incidents().next()).or_else(|| board.incidents.last())
    }

    /// Whom a note or the editor addresses: what a person chose; else the store decides at the moment of writing.
    pub(crate) fn target(&self, cx: &Context<'_>) -> Option<IncidentId> {
        let open = || cx.board.incidents.open_incidents().next().map(|it| it.id.clone());
        self.chosen.clone().filter(|it| cx.board.incidents.get(it).is_some()).or_else(open)
    }

    fn entry_ids(&self, cx: &Context<'_>) -> Vec<Uuid> {
        self.incident(cx).map(|it| it.timeline().iter().map(|row| row.entry.id).collect()).unwrap_or_default()
    }

    fn go(&mut self, cx: &Context<'_>, step: i64) {
        if let Some(scroll) = self.detail {
            let rows = self.incident(cx).map_or(0, |it| view::detail_rows(cx, it, self.selected).len());
            let mut moved = scroll;
            moved.by(step, rows, cx.height as usize);
            self.detail = Some(moved);
            return;
        }
        let ids = self.entry_ids(cx);
        let from = self.selected.filter(|it| ids.contains(it)).or(ids.last().copied());
        let to = moved(&ids, from.as_ref(), step).copied();
        // Going down from the last row, or staying on it, follows again.
        self.selected = if to == ids.last().copied() && step > 0 { None } else { to };
    }

    fn turn(&mut self, cx: &Context<'_>, step: i64) -> Vec<Effect> {
        let open = cx.board.incidents.open_incidents();
        let closed = cx.board.incidents.incidents.iter().rev().filter(|it| !it.is_open());
        let ids: Vec<IncidentId> = open.chain(closed).map(|it| it.id.clone()).collect();
        let Some(at) = self.incident(cx).and_then(|shown| ids.iter().position(|it| *it == shown.id)) else {
            return vec![Notice::info("there is no incident yet")];
        };
        let next = (at as i64 + step).rem_euclid(ids.len() as i64) as usize;
        // The first one is what is shown anyway: then newer ones may take its place.
        self.chosen = (next > 0).then(|| ids[next].clone());
        self.selected = None;
        self.detail = None;
        let name = cx.board.row_name(ids[next].host(), ids[next].name());
        vec![Notice::info(format!("{name} ({} of {})", next + 1, ids.len()))]
    }

    fn change(&self, cx: &Context<'_>, change: IncidentChange) -> Vec<Effect> {
        match self.incident(cx) {
            Some(it) => vec![Effect::Request(Request::ChangeIncident(it.id.clone(), change))],
            None => vec![Notice::warn("there is no incident yet, declare one first")],
        }
    }

    fn confirm_severity(&self, cx: &Context<'_>, severity: Option<Severity>) -> Vec<Effect> {
        let Some(it) = self.incident(cx).filter(|it| !it.log_book) else {
            return vec![Notice::warn("there is no incident whose severity could change")];
        };
        match severity {
            Some(severity) if severity != it.severity => vec![Effect::Confirm {
                question: format!(
                    "change {} from {} to {severity} ({})?",
                    view::called(cx, &it.id),
                    it.severity,
                    severity.meaning()
                ),
                then: self.change(cx, IncidentChange::Severity(severity)),
            }],
            _ => vec![Notice::info(format!("{} stays {}", view::called(cx, &it.id), it.severity))],
        }
    }

    fn copy(&self, cx: &Context<'_>) -> Vec<Effect> {
        let Some(it) = self.incident(cx) else { return vec![Notice::info("nothing to copy")] };
        let rows = it.timeline();
        let chosen: Vec<String> = rows
            .iter()
            .filter(|row| self.selected.is_none_or(|id| row.entry.id == id))
            .map(|row| sanitise::multiline(&view::plain(cx, row)))
            .collect();
        let what = if self.selected.is_some() { "the entry" } else { "the timeline" };
        vec![Effect::copy(&chosen.join("\n"), what)]
    }

    /// How many requests could not be carried out and wait to be sent again.
    pub fn refused(&self) -> usize {
        self.unsent.len()
    }

    /// Keeps a request that could not be carried out, to be sent again.
    fn keep(&mut self, request: &Request) -> Vec<Effect> {
        if self.unsent.contains(request) {
            return Vec::new();
        }
        if self.unsent.len() >= UNSENT_MAX {
            return vec![Notice::error("too much waits to be saved: this one is not kept, copy it elsewhere")];
        }
        self.unsent.push(request.clone());
        Vec::new()
    }

    fn menu_key(&mut self, cx: &Context<'_>, key: &Key) -> Vec<Effect> {
        use crate::domain::incident::Status;
        let mode = std::mem::take(&mut self.mode);
        let Some(it) = key.typed() else { return Vec::new() };
        if matches!(mode, Mode::Severity) {
            let number = it.to_digit(10).and_then(|it| u8::try_from(it).ok());
            return match number.and_then(Severity::from_number) {
                Some(severity) => self.confirm_severity(cx, Some(severity)),
                None => vec![Notice::warn(format!("`{it}` is no severity, expected 1 to 4"))],
            };
        }
        let status = match it {
            'i' => Status::Investigating,
            'd' => Status::Identified,
            'm' => Status::Mitigated,
            'r' => Status::Resolved,
            _ => return vec![Notice::warn(format!("`{it}` is no status, expected i, d, m or r"))],
        };
        self.change(cx, IncidentChange::Status(status))
    }
}

impl Pane for IncidentPane {
    type Command = IncidentCommand;
    const TITLE: &'static str = "INCIDENT";

    fn update(&mut self, cx: &Context<'_>, command: IncidentCommand) -> Vec<Effect> {
        let half = i64::from(cx.height / 2).max(1);
        let severity = self.incident(cx).map(|it| it.severity.number());
        match command {
            IncidentCommand::Down => self.go(cx, 1),
            IncidentCommand::Up => self.go(cx, -1),
            IncidentCommand::PageDown => self.go(cx, half),
            IncidentCommand::PageUp => self.go(cx, -half),
            IncidentCommand::First => self.go(cx, i64::from(i32::MIN)),
            IncidentCommand::Last if self.detail.is_some() => self.go(cx, i64::from(i32::MAX)),
            IncidentCommand::Last => self.selected = None,
            IncidentCommand::Open => {
                let ids = self.entry_ids(cx);
                self.selected = self.selected.filter(|it| ids.contains(it)).or(ids.last().copied());
                if self.selected.is_some() {
                    self.detail = Some(Scroll::default());
                }
            }
            IncidentCommand::Status | IncidentCommand::Severity => {
                if self.incident(cx).is_none_or(|it| it.log_book) {
                    return vec![Notice::warn("there is no incident yet, declare one first")];
                }
                self.mode = if command == IncidentCommand::Status { Mode::Status } else { Mode::Severity };
            }
            IncidentCommand::Worse => {
                return self.confirm_severity(cx, severity.and_then(|it| Severity::from_number(it - 1)));
            }
            IncidentCommand::Better => {
                return self.confirm_severity(cx, severity.and_then(|it| Severity::from_number(it + 1)));
            }
            IncidentCommand::Next => return self.turn(cx, 1),
            IncidentCommand::Previous => return self.turn(cx, -1),
            IncidentCommand::Copy => return self.copy(cx),
            IncidentCommand::Retry => {
                if self.unsent.is_empty() {
                    return vec![Notice::info("everything is saved")];
                }
                return std::mem::take(&mut self.unsent).into_iter().map(Effect::Request).collect();
            }
            IncidentCommand::Discard => {
                if let Some(last) = self.unsent.pop() {
                    return vec![Notice::warn(format!("forgotten: {}", prompt::words(&last)))];
                }
                return vec![Notice::info("everything is saved")];
            }
        }
        Vec::new()
    }

    fn captures_keys(&self) -> bool {
        !matches!(self.mode, Mode::Reading)
    }

    fn key(&mut self, cx: &Context<'_>, key: &Key) -> Vec<Effect> {
        match self.mode {
            Mode::Reading => Vec::new(),
            Mode::Note => self.note_key(cx, key),
            Mode::Declare(_) => self.declare_key(key),
            Mode::Status | Mode::Severity => self.menu_key(cx, key),
            Mode::Editor => self.editor_key(cx, key),
        }
    }

    fn paste(&mut self, cx: &Context<'_>, text: &str) -> Vec<Effect> {
        match &mut self.mode {
            Mode::Note => self.note.paste(cx.now, text),
            Mode::Declare(form) => form.title.paste(text),
            Mode::Editor => return self.editor_paste(cx, text),
            Mode::Reading | Mode::Status | Mode::Severity => {}
        }
        Vec::new()
    }

    fn inbound(&mut self, cx: &Context<'_>, inbound: &Inbound) -> Vec<Effect> {
        match inbound {
            Inbound::Document { incident, text, sha256, draft } => {
                self.document(cx, incident.as_ref(), text, sha256, draft.as_deref())
            }
            Inbound::Fact(envelope) => {
                if let Fact::Incident(IncidentFact::EntryAppended { entry, .. }) = &envelope.fact
                    && let EntryBody::Note(note) = &entry.body
                    && note.from.is_none()
                    // Another person may write the same words.
                    && (cx.me.is_empty() || entry.by == cx.me)
                {
                    return self.note.saved(&note.text).map(Effect::Request).into_iter().collect();
                }
                Vec::new()
            }
            Inbound::Refused { request, .. } => match &**request {
                Request::Note(note) => {
                    self.note.refused(&note.text);
                    // Sent later it still stands where it was written.
                    let at = note.at.or(Some(cx.now));
                    self.keep(&Request::Note(NoteRequest { at, ..note.clone() }))
                }
                Request::Pin(_) | Request::Declare(_) | Request::ChangeIncident(..) => self.keep(request),
                Request::SaveDocument { .. } => {
                    if let Some(editing) = &mut self.editing {
                        editing.save_failed();
                    }
                    Vec::new()
                }
                _ => Vec::new(),
            },
            Inbound::Failed(_) => {
                // A document that cannot be loaded leaves nothing to edit.
                if self.editing.as_ref().is_some_and(Editing::is_loading) {
                    self.editing = None;
                    self.mode = Mode::Reading;
                }
                Vec::new()
            }
            Inbound::NoteDraft(text) => self.note_recovered(text),
            Inbound::Snapshot(_)
            | Inbound::Missed { .. }
            | Inbound::You(_)
            | Inbound::Host(_)
            | Inbound::HostNamed { .. }
            | Inbound::Window(_)
            | Inbound::History(_)
            | Inbound::Explanation(_)
            | Inbound::Past(_)
            | Inbound::Export(_)
            | Inbound::Settled(_)
            | Inbound::Outcomes { .. }
            | Inbound::Done(_) => Vec::new(),
        }
    }

    fn resized(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        if let Some(editing) = &mut self.editing {
            editing.fit(cx);
        }
        Vec::new()
    }

    fn mouse(&mut self, cx: &Context<'_>, mouse: Mouse) -> Vec<Effect> {
        match mouse.kind {
            MouseKind::WheelUp => self.go(cx, -1),
            MouseKind::WheelDown => self.go(cx, 1),
            MouseKind::Press => {}
        }
        Vec::new()
    }

    fn back(&mut self, _cx: &Context<'_>) -> bool {
        if self.detail.take().is_some() {
            return true;
        }
        self.selected.take().is_some()
    }

    fn wants_zoom(&self) -> bool {
        matches!(self.mode, Mode::Editor) || self.detail.is_some()
    }

    fn next_wake(&self, cx: &Context<'_>) -> Option<Timestamp> {
        let draft = self.editing.as_ref().and_then(Editing::draft_due);
        let note = self.note.draft_due();
        let counts = cx.board.incidents.saved_at.filter(|it| cx.now.duration_since(*it) < SAVED_COUNTS);
        let second = counts.and_then(|_| cx.now.checked_add(SignedDuration::from_secs(1)).ok());
        [draft, note, second].into_iter().flatten().min()
    }

    fn woken(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let due = self.editing.as_ref().and_then(Editing::draft_due).is_some_and(|it| it <= cx.now);
        let draft = if due { self.editing.as_mut().and_then(Editing::draft) } else { None };
        let note = self.note.draft_due().filter(|it| *it <= cx.now).and_then(|_| self.note.draft());
        draft.into_iter().chain(note).map(Effect::Request).collect()
    }

    fn wanted_rows(&self, cx: &Context<'_>) -> u16 {
        let Some(incident) = self.incident(cx) else { return view::idle_rows(cx.width) };
        // In steps, so that not every note moves the border; one row for the prompt. People write here while
        // an incident is open, so it begins with some room.
        let rows = incident.entries.len().div_ceil(4) * 4 + 1;
        u16::try_from(rows).unwrap_or(u16::MAX).max(OPEN_ROWS)
    }

    fn unsaved(&self) -> Option<String> {
        if let Some(editing) = self.editing.as_ref().filter(|it| it.is_changed()) {
            return Some(format!("the document of {}", editing.name()));
        }
        self.unsent.first().map(prompt::words)
    }

    fn typing_hints(&self) -> &'static [(&'static str, &'static str)] {
        match self.mode {
            Mode::Reading => &[],
            Mode::Note => &[("enter", "save"), ("esc", "leave"), ("@-12m …", "earlier"), ("up", "last notes")],
            Mode::Declare(_) => {
                &[("enter", "declare"), ("end", "edit title"), ("up/down", "severity"), ("esc", "cancel")]
            }
            Mode::Status => &[("i", "investigating"), ("d", "identified"), ("m", "mitigated"), ("r", "resolved")],
            Mode::Severity => &[("1", "worst"), ("2", "critical"), ("3", "partly"), ("4", "minor"), ("esc", "cancel")],
            Mode::Editor => {
                &[("ctrl-s", "save"), ("esc", "leave"), ("ctrl-x", "$EDITOR"), ("ctrl-z", "undo"), ("ctrl-y", "redo")]
            }
        }
    }

    fn leaving(&mut self, _cx: &Context<'_>) -> Vec<Effect> {
        self.pending_drafts().into_iter().map(Effect::Request).collect()
    }

    fn title(&self, cx: &Context<'_>, theme: &Theme, _room: usize) -> Line<'static> {
        view::title(self, cx, theme)
    }

    fn view(&self, cx: &Context<'_>, theme: &Theme, area: Rect, buf: &mut Buffer) -> Option<Position> {
        view::draw(self, cx, theme, area, buf)
    }
}
