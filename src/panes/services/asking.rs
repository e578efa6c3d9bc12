//! What keys ask of the world: runs, acknowledgements, silences, explanations, the past.

use crate::app::effect::{Effect, Notice, Sheet};
use crate::app::overlay::{alert_form, beside};
use crate::app::several;
use crate::domain::alert::explain::ExplainRequest;
use crate::domain::board::Board;
use crate::domain::ids::ProbeId;
use crate::domain::request::Request;
use crate::domain::sanitise;
use crate::panes::Context;
use crate::panes::services::detail::Subject;
use crate::panes::services::past::Move;
use crate::panes::services::rows::Picked;
use crate::panes::services::{ServicesPane, detail};
use crate::theme::Theme;
use crate::widgets::scroll::Scroll;

fn nothing_there() -> Vec<Effect> {
    vec![Notice::info("no probe is configured, see `hotseat init`")]
}

impl ServicesPane {
    /// Has what is selected run now; of more than one it is said how many.
    pub(super) fn run_now(&self, cx: &Context<'_>) -> Vec<Effect> {
        self.each(cx, self.selected_all(cx.board), Request::RunProbe, |what| format!("running {what} now"))
    }

    /// Begins a burst of what is selected and has none, else ends theirs.
    pub(super) fn burst(&self, cx: &Context<'_>) -> Vec<Effect> {
        let all = self.selected_all(cx.board);
        let has_burst = |id: &ProbeId| {
            let until = cx.board.probes.get(id).and_then(|it| it.burst_until);
            until.is_some_and(|until| until > cx.now)
        };
        let without: Vec<ProbeId> = all.iter().filter(|it| !has_burst(it)).cloned().collect();
        if without.is_empty() {
            return self.each(cx, all, Request::BurstProbe, |what| format!("the bursts of {what} end"));
        }
        self.each(cx, without, Request::BurstProbe, |what| format!("running {what} every second for a minute"))
    }

    fn each(
        &self,
        cx: &Context<'_>,
        probes: Vec<ProbeId>,
        request: impl Fn(ProbeId) -> Request,
        said: impl Fn(&str) -> String,
    ) -> Vec<Effect> {
        if probes.is_empty() {
            return nothing_there();
        }
        let what = several::what(probes.len(), self.selected_group(cx.board));
        let said = (probes.len() > 1).then(|| Notice::info(said(&what)));
        let mut effects = Effect::each(probes.into_iter().map(request).collect(), what);
        effects.extend(said);
        effects
    }

    pub(super) fn explain(&self, cx: &Context<'_>) -> Vec<Effect> {
        if let Some(choice) = self.choice(cx.board) {
            return vec![Notice::info(format!("one probe at a time is explained: {choice}"))];
        }
        let Some(probe) = self.selected(cx.board) else { return nothing_there() };
        let request = ExplainRequest { probe: probe.clone(), at: None };
        vec![Effect::Show(Sheet::Explain(probe)), Effect::Request(Request::Explain(request))]
    }

    /// Has a probe run by the agent and here, to tell a service that is down from an agent that cannot see it.
    pub(super) fn run_beside(&self, cx: &Context<'_>) -> Vec<Effect> {
        if let Some(choice) = self.choice(cx.board) {
            return vec![Notice::info(format!("one probe at a time is run from here: {choice}"))];
        }
        let Some(probe) = self.selected(cx.board) else { return nothing_there() };
        beside::ask(probe, cx.board)
    }

    /// Opens the form that acknowledges: what is in trouble of what is selected, also when somebody has seen it.
    pub(super) fn acknowledge_for(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        self.hold_to_acknowledge(cx);
        let mut probes = self.to_acknowledge(cx.board);
        if probes.is_empty() {
            probes = self.acknowledged(cx.board);
        }
        if probes.is_empty() {
            return vec![self.nothing_to_acknowledge(cx.board)];
        }
        vec![Effect::Show(Sheet::Acknowledge(probes))]
    }

    /// Chooses the marked row before it is acknowledged. While nobody has chosen and there is nothing to acknowledge, the
    /// next trouble is still what is marked.
    pub fn hold_to_acknowledge(&mut self, cx: &Context<'_>) {
        let board = cx.board;
        if self.is_chosen(board) || !self.to_acknowledge(board).is_empty() || !self.acknowledged(board).is_empty() {
            self.hold(cx);
        }
    }

    /// Says that nothing of what is selected is in trouble.
    pub fn nothing_to_acknowledge(&self, board: &Board) -> Effect {
        let group = self.selected_group(board).map(ToString::to_string);
        let probe = || self.selected(board).filter(|_| self.is_chosen(board)).map(|it| it.name().to_string());
        Notice::info(match (&group, group.is_none().then(probe).flatten()) {
            (Some(name), _) if name.is_empty() => "nothing is the matter with these".to_string(),
            (Some(name), _) => format!("nothing is the matter in `{}`", sanitise::text(name)),
            (None, Some(name)) => format!("nothing is the matter with `{}`", sanitise::text(&name)),
            (None, None) => "nothing is red that was not seen".to_string(),
        })
    }

    /// Opens a form with a matcher for what is selected.
    pub(super) fn quieten(&self, cx: &Context<'_>, sheet: impl Fn(String) -> Sheet) -> Vec<Effect> {
        let matcher = match (self.selected_group(cx.board), self.selected(cx.board)) {
            (Some(name), Some(_)) if self.detail.is_none() => alert_form::matcher("group", name),
            // Of its name there may be one on each host.
            (_, Some(probe)) if cx.board.is_of_several() => {
                let host = alert_form::matcher("host", probe.host());
                format!("{} {host}", alert_form::matcher("probe", probe.name()))
            }
            (_, Some(probe)) => alert_form::matcher("probe", probe.name()),
            (_, None) => return nothing_there(),
        };
        vec![Effect::Show(sheet(matcher))]
    }

    /// Moves the part of the past that is looked at; shows it when it is not in sight.
    pub(super) fn move_past(&mut self, cx: &Context<'_>, how: Move) -> Vec<Effect> {
        if let Some(choice) = self.choice(cx.board) {
            return vec![Notice::info(format!("the past is shown of one probe: {choice}"))];
        }
        if self.detail.is_none() {
            self.selected = self.selected(cx.board).map(Picked::Probe);
            if self.selected.is_none() {
                return nothing_there();
            }
            self.detail = Some(Scroll::default());
        }
        self.past.go(cx.now, how);
        self.reveal_past(cx);
        self.ask_past(cx, false)
    }

    /// Scrolls the detail so that the past that was just moved is in sight.
    fn reveal_past(&mut self, cx: &Context<'_>) {
        let Some(id) = self.selected(cx.board) else { return };
        let (Some(scroll), Some(state)) = (self.detail.as_mut(), cx.board.probes.get(&id)) else { return };
        // The text wraps by width and not by theme.
        let columns = detail::columns(cx, &Theme::mono(), &Subject { id: &id, state, past: &self.past });
        if let Some(rows) = columns.past() {
            scroll.reveal(rows, columns.rows(), usize::from(cx.height));
        }
    }

    /// Asks for the past of the probe whose detail is open. `news`: a run of it ended.
    pub(super) fn ask_past(&mut self, cx: &Context<'_>, news: bool) -> Vec<Effect> {
        if self.detail.is_none() {
            return Vec::new();
        }
        let Some(probe) = self.selected(cx.board) else { return Vec::new() };
        let cells = detail::graph_cells(cx.width);
        self.past.question(cx, &probe, cells, news).map(Effect::Request).into_iter().collect()
    }
}
