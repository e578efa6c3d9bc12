//! `Model::update`: one event in, effects out. Decides who gets the event; the work is in the files beside this.

mod across;
mod global;
mod keys;

use jiff::Timestamp;
use ratatui::layout::Position;

use crate::app::command::{Command, GlobalCommand};
use crate::app::effect::{Effect, Notice};
use crate::app::event::{Event, Mouse, MouseKind};
use crate::app::model::Model;
use crate::app::overlay::Overlay;
use crate::app::overlay::confirm::Confirm;
use crate::app::overlay::queries::QueryPicker;
use crate::domain::alert::AlertFact;
use crate::domain::fact::{Fact, RuntimeFact};
use crate::domain::format;
use crate::domain::past::FAILED;
use crate::domain::request::{Inbound, Request};
use crate::panes::{Context, PaneId, Panes};

impl Model {
    /// Folds one event in and says what the world should do about it.
    pub fn update(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        self.clock = now;
        self.now = self.past.at().unwrap_or(now);
        self.notices.expire(now);
        self.mark_dirty();
        let effects = match event {
            Event::Inbound(inbound) => self.on_inbound(&inbound),
            Event::Key(key) => self.on_key(&key),
            Event::Paste(text) => self.on_paste(&text),
            Event::Mouse(mouse) => self.on_mouse(mouse),
            Event::Resize { width, height } => {
                self.resize(width, height);
                Vec::new()
            }
            // What grew old was taken away above; what counts is drawn by the new time.
            Event::Wake => self.every_pane(|panes, pane, cx| panes.woken(pane, cx)),
            Event::EditorClosed { incident, text } => self.editor_closed(incident, text),
            Event::RanHere { probe, ran } => {
                for overlay in &mut self.overlays {
                    if let Overlay::Beside(it) = overlay {
                        it.ran_here(&probe, &ran);
                    }
                }
                Vec::new()
            }
            Event::Failed(text) => vec![Notice::error(text)],
            Event::Resumed => vec![Effect::Redraw],
            Event::Notice(notice) => vec![Effect::Notice(notice)],
            Event::Leaving => self.every_pane(|panes, pane, cx| panes.leaving(pane, cx)),
        };
        let mut effects = self.absorb(effects);
        let resized = self.arrange();
        effects.extend(self.absorb(resized));
        effects.extend(self.attend());
        if let Some(Effect::Notice(notice)) = self.give_up_several() {
            self.notify(notice);
        }
        effects
    }

    /// Carries out a command, whoever named it: keys, palette or command line.
    pub(crate) fn run(&mut self, command: Command) -> Vec<Effect> {
        if let Some(refusal) = self.refusal(command) {
            return vec![refusal];
        }
        match command {
            Command::Global(command) => self.run_global(command),
            Command::Pane(command) => {
                let pane = command.pane();
                self.go_to(pane);
                self.with_pane(pane, |panes, cx| panes.update(cx, command))
            }
        }
    }

    /// Gives a pane the keys.
    pub(crate) fn go_to(&mut self, pane: PaneId) {
        if self.focus != pane {
            self.focus = pane;
            self.pending.clear();
            // The command that follows must see the pane's new size; the panes are told after the event.
            self.divide_again();
        }
    }

    /// Keeps what the screen does itself and lets the rest out.
    fn absorb(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let mut out = Vec::new();
        for effect in effects.into_iter().flat_map(|it| self.in_past(it)).collect::<Vec<_>>() {
            if let Some(instead) = self.withhold(&effect) {
                for effect in instead {
                    if let Effect::Notice(notice) = effect {
                        self.notify(notice);
                    }
                }
                continue;
            }
            match effect {
                Effect::Notice(notice) => self.notify(notice),
                Effect::Focus(pane) => self.go_to(pane),
                Effect::Confirm { question, then } => {
                    self.overlays.push(Overlay::Confirm(Confirm { question, then }));
                }
                Effect::Show(sheet) => self.overlays.push(Overlay::of(sheet)),
                Effect::PickQuery(choices) => self.overlays.push(Overlay::Queries(QueryPicker::new(choices))),
                // Of several hosts' incidents evidence goes to the one that is shown; on one host its store decides.
                Effect::Request(Request::Pin(mut pin)) if self.board.is_of_several() && pin.incident.is_none() => {
                    pin.incident = self.with_pane(PaneId::Incident, |panes, cx| panes.incident.target(cx));
                    out.push(Effect::Request(Request::Pin(pin)));
                }
                Effect::Each { requests, what } => {
                    self.ask_several(&requests, &what);
                    out.push(Effect::Each { requests, what });
                }
                Effect::Mouse(on) => {
                    self.mouse = on;
                    out.push(Effect::Mouse(on));
                }
                other => out.push(other),
            }
        }
        out
    }

    fn on_inbound(&mut self, inbound: &Inbound) -> Vec<Effect> {
        let mut effects = Vec::new();
        match inbound {
            Inbound::Snapshot(board) => {
                let is_past = self.past.at().is_some();
                self.fleet.take(self.past.live_mut().unwrap_or(&mut self.board), board);
                if is_past {
                    // The panes look at the past; they are told when they look at the present again.
                    return effects;
                }
            }
            Inbound::Outcomes { probe, outcomes } => {
                self.fleet.fill(self.past.live_mut().unwrap_or(&mut self.board), probe, outcomes);
            }
            Inbound::Fact(envelope) => {
                self.fleet.fold(self.clock, self.past.live_mut().unwrap_or(&mut self.board), envelope);
                effects.extend(self.done_by_others(envelope));
                if let Fact::Alert(AlertFact::Rang(ring)) = &envelope.fact {
                    effects.push(Effect::Ring(ring.clone()));
                }
                if let Fact::Runtime(RuntimeFact::ServiceFailed { service, error, retry_s: retry_s @ 1.. }) =
                    &envelope.fact
                {
                    effects.push(Notice::error(format!("{service} failed: {error} (starts again in {retry_s} s)")));
                }
            }
            // The runtime writes times as it computes with them.
            Inbound::Done(text) => {
                let text = format::local_times(text, self.now, &self.zone);
                let text = match self.answer_of_several(&text) {
                    Some(Some(all)) => all,
                    // The others are still to come.
                    Some(None) => return effects,
                    None => text,
                };
                effects.push(Notice::info(format!("{text}{}", self.undo(&text))));
            }
            Inbound::Failed(error) => {
                if error.starts_with(FAILED) {
                    self.past.give_up();
                }
                for overlay in &mut self.overlays {
                    if let Overlay::Explain(it) = overlay {
                        it.failed(error);
                    }
                }
                effects.push(Notice::error(error));
            }
            Inbound::Refused { error, .. } => effects.push(Notice::error(error)),
            Inbound::Past(past) => effects.extend(self.on_past(past)),
            Inbound::Explanation(explanation) => {
                let size = self.size();
                for overlay in &mut self.overlays {
                    if let Overlay::Explain(it) = overlay {
                        it.answered(size, (self.now, &self.zone), explanation);
                    }
                }
            }
            Inbound::Window(_)
            | Inbound::History(_)
            | Inbound::Export(_)
            | Inbound::Document { .. }
            | Inbound::NoteDraft(_)
            | Inbound::Settled(_) => {}
            // The snapshot that follows has what they said.
            Inbound::Missed { facts } => {
                effects.push(Notice::info(format!(
                    "this screen was too slow for {facts} facts; it shows the newest again"
                )));
            }
            Inbound::You(you) => {
                self.you.insert(you.host.clone(), (**you).clone());
                self.forget_attention();
            }
            Inbound::Host(news) => {
                self.fleet.heed(self.past.live_mut().unwrap_or(&mut self.board), &news.host, &news.way);
                self.ways.insert(news.host.clone(), news.way.clone());
            }
            Inbound::HostNamed { was, host } => {
                self.fleet.rename(was, host);
                self.ways.remove(was);
            }
        }
        effects.extend(self.drop_take_over());
        effects.extend(self.every_pane(|panes, pane, cx| panes.inbound(pane, cx, inbound)));
        effects
    }

    fn every_pane(&mut self, change: impl Fn(&mut Panes, PaneId, &Context<'_>) -> Vec<Effect>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for pane in PaneId::ALL {
            effects.extend(self.with_pane(*pane, |panes, cx| change(panes, *pane, cx)));
        }
        effects
    }

    fn on_paste(&mut self, text: &str) -> Vec<Effect> {
        if let Some(overlay) = self.overlays.last_mut() {
            overlay.paste(text);
            return Vec::new();
        }
        if self.panes.captures_keys(self.focus) {
            let focus = self.focus;
            return self.with_pane(focus, |panes, cx| panes.paste(focus, cx, text));
        }
        let note = self.keymap.label(Command::Global(GlobalCommand::Note));
        let way_out = note.map_or(String::new(), |key| format!(", press {key} to write a note first"));
        vec![Notice::warn(format!("nothing takes text here{way_out}"))]
    }

    fn on_mouse(&mut self, mouse: Mouse) -> Vec<Effect> {
        self.notices.go_on(self.clock);
        if let Some(overlay) = self.overlays.last() {
            return overlay.wheel(mouse.kind).map(|key| self.on_key(&key)).unwrap_or_default();
        }
        let Some(area) = self.areas().pane_at(Position::new(mouse.column, mouse.row)).copied() else {
            return Vec::new();
        };
        // While something is being typed, a stray touch must not take the keys away from it.
        if mouse.kind == MouseKind::Press && area.pane != self.focus && !self.panes.captures_keys(self.focus) {
            self.go_to(area.pane);
        }
        if !area.body.contains(Position::new(mouse.column, mouse.row)) {
            return Vec::new();
        }
        let inner = Mouse { column: mouse.column - area.body.x, row: mouse.row - area.body.y, ..mouse };
        self.with_pane(area.pane, |panes, cx| panes.mouse(area.pane, cx, inner))
    }
}
