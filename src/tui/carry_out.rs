//! What the screen asks of the world around it, carried out without waiting.

use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;

use crate::app::effect::{Effect, Notice, NoticeSeverity};
use crate::app::event::Event;
use crate::clock;
use crate::domain::ids::IncidentId;
use crate::domain::request::Request;
use crate::runtime::LINK_REQUESTS_MAX;
use crate::runtime::lock;
use crate::service::private_file;
use crate::tui::editor_handoff::Handoff;
use crate::tui::event_loop::{Due, Editing, EventLoop};
use crate::tui::input::Reader;
use crate::tui::run::{Exit, THEME_FILE};
use crate::tui::terminal;
use crate::tui::{bell, clipboard};

/// Tasks of the screen's own (files of copies and themes) at a time.
pub(super) const TASKS_MAX: usize = 16;

/// Requests of one key that wait for room: more than a person has probes in a group, and a few hundred bytes each.
const WAITING_MAX: usize = 4_096;

/// What a runtime of this process gets to end before the process is stopped: a little more than it takes.
const LET_GO_DEADLINE: Duration = Duration::from_millis(1_200);

impl EventLoop<'_> {
    pub(super) fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Request(request) => return self.request(request),
            Effect::Each { requests, .. } => return self.each(requests),
            Effect::RunHere(probe, shown) => return self.run_here(probe, shown.as_deref()),
            Effect::Copy { text, what } => return self.copy(text, &what),
            Effect::OpenEditor { incident, text } => return self.edit(incident, &text),
            Effect::Redraw => {
                self.painter.forget();
                self.due = Due::Now;
            }
            Effect::Ring(ring) => self.send(&bell::bytes(&ring, self.options.capabilities.tmux)),
            Effect::Mouse(on) => {
                self.mouse = on;
                self.send(terminal::mouse_bytes(on));
            }
            Effect::KeepTheme(name) => {
                if let Some(owner) = lock::owner_beside_root(&self.options.state_dir) {
                    return Some(warn(format!("the theme is not kept: the state directory is that of `{owner}`")));
                }
                let path = self.options.state_dir.join(THEME_FILE);
                return self.task(move || match private_file::write(&path, format!("{name}\n").as_bytes()) {
                    Ok(()) => Event::Notice(Notice { severity: NoticeSeverity::Info, text: format!("theme `{name}`") }),
                    Err(error) => Event::Failed(format!("could not keep the theme in `{}`: {error}", path.display())),
                });
            }
            Effect::Suspend => return self.suspend(),
            Effect::Quit => self.exit = Some(Exit::Quit),
            // The screen keeps these to itself.
            Effect::Notice(notice) => return Some(Event::Notice(notice)),
            Effect::Focus(_) | Effect::Confirm { .. } | Effect::PickQuery(_) | Effect::Show(_) => {}
        }
        None
    }

    /// Hands a request to the runtime; before there is one, keeps it.
    pub(super) fn request(&mut self, request: Request) -> Option<Event> {
        let Some(link) = &self.link else {
            if self.early.len() == LINK_REQUESTS_MAX {
                self.early.pop_front();
            }
            self.early.push_back(request);
            return None;
        };
        match link.requests_tx.try_send(request) {
            Ok(()) => None,
            Err(TrySendError::Full(_)) => Some(Event::Failed("too busy for that; press the key again".into())),
            Err(TrySendError::Closed(_)) => Some(Event::Failed("the services have ended; restart hotseat".into())),
        }
    }

    /// Hands many requests to the runtime, as fast as it takes them; none waits here.
    fn each(&mut self, requests: Vec<Request>) -> Option<Event> {
        let room = WAITING_MAX.saturating_sub(self.waiting.len());
        let dropped = requests.len().saturating_sub(room);
        self.waiting.extend(requests.into_iter().take(room));
        self.send_waiting();
        (dropped > 0).then(|| Event::Failed(format!("too much at once: {dropped} were not asked; press the key again")))
    }

    /// Hands over what waits, as far as there is room.
    pub(super) fn send_waiting(&mut self) {
        let Some(link) = &self.link else { return };
        while let Some(request) = self.waiting.pop_front() {
            match link.requests_tx.try_send(request) {
                Ok(()) => {}
                Err(TrySendError::Full(request)) => return self.waiting.push_front(request),
                // That the services have ended is said by the link.
                Err(TrySendError::Closed(_)) => return self.waiting.clear(),
            }
        }
    }

    fn copy(&mut self, text: String, what: &str) -> Option<Event> {
        let sequence = clipboard::sequence(&text);
        let (sent, multiplexed) = (sequence.is_some(), self.options.capabilities.multiplexed);
        if let Some(sequence) = sequence {
            self.send(&sequence);
        }
        let (state_dir, what) = (self.options.state_dir.clone(), what.to_string());
        self.task(move || {
            let kept = clipboard::keep(&state_dir, &text);
            let severity = if kept.is_ok() { NoticeSeverity::Info } else { NoticeSeverity::Warn };
            let text = clipboard::notice(&what, kept.as_deref(), sent, multiplexed);
            Event::Notice(Notice { severity, text })
        })
    }

    fn task(&mut self, work: impl FnOnce() -> Event + Send + 'static) -> Option<Event> {
        if self.tasks.len() >= TASKS_MAX {
            return Some(warn("the disk is too slow for that; try again".into()));
        }
        self.tasks.spawn_blocking(work);
        None
    }

    fn edit(&mut self, incident: Option<IncidentId>, text: &str) -> Option<Event> {
        if self.editing.is_some() {
            return None;
        }
        // Really stopped, not only left alone: otherwise it would steal keys from the editor.
        if let Some(reader) = self.reader.take() {
            reader.stop();
        }
        self.outlet.forget();
        terminal::leave();
        match Handoff::start(&self.options.state_dir, text) {
            Ok(handoff) => {
                self.editing = Some(Editing { handoff, incident });
                None
            }
            Err(error) => {
                self.take_back();
                Some(Event::EditorClosed { incident, text: Err(error) })
            }
        }
    }

    pub(super) fn editor_closed(&mut self, text: Result<String, String>) {
        let Some(editing) = self.editing.take() else { return };
        self.take_back();
        self.feed(Event::EditorClosed { incident: editing.incident, text });
        self.due = Due::Now;
    }

    /// Takes the terminal over again after somebody else had it.
    fn take_back(&mut self) {
        // The rest of a frame would tear what is written now.
        self.outlet.forget();
        let back = terminal::enter(self.tty, self.mouse).and_then(|()| {
            if self.reader.is_none() {
                self.reader = Some(Reader::start(self.tty, self.options.esc_wait)?);
            }
            Ok(())
        });
        if let Err(error) = back {
            tracing::error!("the terminal could not be taken back: {error}");
            self.exit = Some(Exit::HungUp);
        }
        self.painter.forget();
        self.fence.forget();
        self.due = Due::Now;
        self.resized();
    }

    /// Takes the terminal over again when somebody changed its mode; true when they had.
    pub(super) fn put_right(&mut self) -> bool {
        if self.editing.is_some() || self.suspended || !terminal::was_changed(self.tty) {
            return false;
        }
        if !std::mem::replace(&mut self.was_put_right, true) {
            let text = "another program changed the mode of this terminal: it was put right";
            tracing::warn!("{text}");
            self.feed(warn(text.into()));
        }
        self.take_back();
        true
    }

    /// Stops this process, after whatever it holds was given back: others can watch meanwhile.
    ///
    /// Without a shell that could continue it nothing is stopped, whoever asks: also an editor's Ctrl-Z asks us.
    pub(super) fn suspend(&mut self) -> Option<Event> {
        if self.stop_by.is_some() || self.suspended {
            return None;
        }
        if !terminal::can_suspend() {
            return Some(warn("no shell to come back from: suspend is off".into()));
        }
        let has_let_go = match &self.link {
            Some(link) if !self.inside.is_empty() => link.requests_tx.try_send(Request::LetGo).is_err(),
            _ => true,
        };
        if has_let_go {
            self.stop_now();
        } else {
            self.stop_by = Some(clock::timer() + LET_GO_DEADLINE);
        }
        None
    }

    pub(super) fn stop_now(&mut self) {
        self.stop_by = None;
        self.suspended = true;
        if self.editing.is_none() {
            self.outlet.forget();
            terminal::leave();
        }
        // Returns when somebody continued us; SIGCONT then takes the terminal back.
        if let Err(error) = terminal::stop_job() {
            tracing::error!("could not stop: {error}");
            self.resumed();
        }
    }

    pub(super) fn resumed(&mut self) {
        self.suspended = false;
        if self.editing.is_some() {
            return;
        }
        self.take_back();
        self.feed(Event::Resumed);
    }

    pub(super) fn resized(&mut self) {
        let (width, height) = self.tty.size();
        let area = self.painter.area();
        if (area.width, area.height) != (width, height) {
            self.painter.resize(width, height);
            self.feed(Event::Resize { width, height });
            self.due = self.due.max(Due::NextFrame);
        }
    }
}

pub(super) fn warn(text: String) -> Event {
    Event::Notice(Notice { severity: NoticeSeverity::Warn, text })
}
