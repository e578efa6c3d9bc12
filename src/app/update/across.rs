//! Global commands and typed lines that reach into a pane.

use std::collections::BTreeSet;

use crate::app::effect::{Effect, Notice, Sheet};
use crate::app::model::Model;
use crate::app::overlay::verbs::{Line, parse_line};
use crate::app::several;
use crate::domain::alert::explain::ExplainRequest;
use crate::domain::config_error::did_you_mean;
use crate::domain::format::{parse_when, split_when};
use crate::domain::ids::{IncidentId, ProbeId};
use crate::domain::incident::{DeclareRequest, NoteRequest};
use crate::domain::request::Request;
use crate::domain::sanitise;
use crate::panes::PaneId;

impl Model {
    /// Says that what is marked in the services was seen, and of nothing else; while nobody has chosen a row that is
    /// the first in trouble that nobody has seen, and it is chosen by this.
    ///
    /// On a row that somebody has marked already it offers to take that back, when the services have the keys.
    pub(super) fn acknowledge(&mut self) -> Vec<Effect> {
        self.with_pane(PaneId::Services, |panes, cx| panes.services.hold_to_acknowledge(cx));
        let services = &self.panes.services;
        let probes = services.to_acknowledge(&self.board);
        if !probes.is_empty() {
            let what = several::what(probes.len(), services.selected_group(&self.board));
            return Effect::each(probes.into_iter().map(Request::AcknowledgeProbe).collect(), what);
        }
        let acknowledged = services.acknowledged(&self.board);
        if acknowledged.is_empty() {
            return vec![services.nothing_to_acknowledge(&self.board)];
        }
        if self.focus == PaneId::Services {
            return self.offer_to_take_back(acknowledged);
        }
        let said = self.who_acknowledged(&acknowledged);
        vec![Notice::info(format!("{said} already; what is selected in Services is meant"))]
    }

    /// Who has seen these: "bob acknowledged `api`".
    fn who_acknowledged(&self, probes: &[ProbeId]) -> String {
        let by: BTreeSet<&str> = probes.iter().filter_map(|it| self.board.seen_by(it)).collect();
        let by = sanitise::text(&by.into_iter().collect::<Vec<_>>().join(", "));
        let named = match probes {
            [one] => format!("`{}`", sanitise::text(one.name())),
            many => several::what(many.len(), self.panes.services.selected_group(&self.board)),
        };
        format!("{by} acknowledged {named}")
    }

    fn offer_to_take_back(&self, probes: Vec<ProbeId>) -> Vec<Effect> {
        if self.past.at().is_some() {
            return vec![self.is_past()];
        }
        let what = several::what(probes.len(), self.panes.services.selected_group(&self.board));
        let question = format!("{}. Take that back, so that reminders go on?", self.who_acknowledged(&probes));
        let then = Effect::each(probes.into_iter().map(Request::Unacknowledge).collect(), what);
        vec![Effect::Confirm { question, then }]
    }

    pub(super) fn start_note(&mut self) -> Vec<Effect> {
        self.go_to(PaneId::Incident);
        self.with_pane(PaneId::Incident, |panes, cx| panes.incident.start_note(cx))
    }

    pub(super) fn start_declare(&mut self) -> Vec<Effect> {
        self.go_to(PaneId::Incident);
        self.with_pane(PaneId::Incident, |panes, cx| panes.incident.start_declare(cx))
    }

    pub(super) fn open_editor(&mut self) -> Vec<Effect> {
        self.go_to(PaneId::Incident);
        self.with_pane(PaneId::Incident, |panes, cx| panes.incident.open_editor(cx))
    }

    pub(super) fn editor_closed(&mut self, incident: Option<IncidentId>, text: Result<String, String>) -> Vec<Effect> {
        self.with_pane(PaneId::Incident, |panes, cx| panes.incident.editor_closed(cx, incident, text))
    }

    /// Runs what was typed behind `:`.
    pub(super) fn run_line(&mut self, text: &str) -> Vec<Effect> {
        let line = match parse_line(text, self.focus) {
            Ok(line) => line,
            Err(error) => return vec![Notice::warn(error)],
        };
        match line {
            Line::Nothing => Vec::new(),
            Line::Command(command) => self.run(command),
            Line::Theme(name) => self.choose_theme(&name),
            Line::Note(text) => self.note(&text),
            Line::Declare { title, severity } => {
                let request = DeclareRequest { title, severity, impact_start: None };
                vec![Effect::Request(Request::Declare(request))]
            }
            Line::Filter(query) => {
                self.go_to(PaneId::Logs);
                self.with_pane(PaneId::Logs, |panes, cx| panes.logs.filter(cx, &query))
            }
            Line::Columns(names) => {
                self.go_to(PaneId::Logs);
                self.with_pane(PaneId::Logs, |panes, cx| panes.logs.set_fields(cx, &names))
            }
            Line::Explain { probe, at } => self.explain(&probe, &at),
            // Counted from now, also while the past is shown.
            Line::Past(time) => match parse_when(&time, self.clock, &self.zone) {
                Ok(at) => self.visit_past(at),
                Err(error) => vec![Notice::warn(error)],
            },
            Line::TestNotify(name) => vec![Effect::Request(Request::TestNotifier(name))],
            Line::Goto(time) => match parse_when(&time, self.now, &self.zone) {
                Ok(at) => {
                    self.go_to(PaneId::Logs);
                    self.with_pane(PaneId::Logs, |panes, cx| panes.logs.goto(cx, at))
                }
                Err(error) => vec![Notice::warn(error)],
            },
        }
    }

    fn explain(&mut self, name: &str, at: &str) -> Vec<Effect> {
        let Some((probe, _)) = self.board.probes.iter().find(|(id, _)| id.name() == name) else {
            let names = self.board.probes.iter().map(|(id, _)| id.name());
            let near = did_you_mean(name, names).map_or_else(String::new, |it| format!(", did you mean `{it}`?"));
            return vec![Notice::warn(format!("there is no probe `{name}`{near}"))];
        };
        let at = match at {
            "" => None,
            text => match parse_when(text, self.now, &self.zone) {
                Ok(at) => Some(at),
                Err(error) => return vec![Notice::warn(error)],
            },
        };
        let probe = probe.clone();
        let request = ExplainRequest { probe: probe.clone(), at };
        vec![Effect::Show(Sheet::Explain(probe)), Effect::Request(Request::Explain(request))]
    }

    fn note(&mut self, text: &str) -> Vec<Effect> {
        match split_when(text, self.now, &self.zone) {
            Ok((_, "")) => vec![Notice::warn("a note needs a text: `:note asked storage to fail over`")],
            Ok((at, text)) => {
                let text = text.to_string();
                // Of several hosts' incidents it goes to the one that is shown; on one host its store decides.
                let shown = self.with_pane(PaneId::Incident, |panes, cx| panes.incident.target(cx));
                let incident = shown.filter(|_| self.board.is_of_several());
                let request = NoteRequest { incident, at, text };
                vec![Effect::Request(Request::Note(request))]
            }
            Err(error) => vec![Notice::warn(error)],
        }
    }
}
