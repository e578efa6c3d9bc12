//! The services pane: every probe, red first; a detail view with the last outcomes and where the time went.
//!
//! State is here, `list` and `detail` draw. The selection is a probe, not a row: rows move as health changes.

mod detail;
mod list;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use crate::app::effect::{Effect, Notice};
use crate::app::event::{Mouse, MouseKind};
use crate::domain::board::Board;
use crate::domain::ids::ProbeId;
use crate::domain::probe::health::Health;
use crate::domain::request::{Inbound, Request};
use crate::panes::{Context, Pane};
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::scroll::{self, Scroll};

crate::commands! {
    /// Commands of the services pane.
    ServicesCommand {
        Down = "services.down", "Go down", ["j", "down"], "";
        Up = "services.up", "Go up", ["k", "up"], "";
        Top = "services.top", "Go to the first row", ["g", "home"], "";
        Bottom = "services.bottom", "Go to the last row", ["G", "end"], "";
        HalfDown = "services.half-down", "Go half a page down", ["ctrl-d", "pgdn"], "";
        HalfUp = "services.half-up", "Go half a page up", ["ctrl-u", "pgup"], "";
        Detail = "services.detail", "Show the last outcomes of the probe", ["enter"], "detail";
        RunNow = "services.run", "Run the probe now", ["r"], "run now";
        Burst = "services.burst", "Run the probe every second for a minute, or end that", ["B"], "burst";
    }
}

/// The services pane: every probe, red first.
#[derive(Debug, Default)]
pub struct ServicesPane {
    /// Chosen by a person; `None` is the first row, whichever probe that is.
    selected: Option<ProbeId>,
    top: usize,
    detail: Option<Scroll>,
}

impl ServicesPane {
    /// The probe that keys mean: the chosen one, else the first row.
    pub fn selected(&self, board: &Board) -> Option<ProbeId> {
        let chosen = self.selected.clone().filter(|it| board.probes.get(it).is_some());
        chosen.or_else(|| board.probes.red_first().first().map(|(id, _)| (*id).clone()))
    }

    /// The probe that `acknowledge` means: the selected one when it is in trouble, else the first that nobody has seen.
    pub fn to_acknowledge(&self, board: &Board) -> Option<ProbeId> {
        let in_trouble = |id: &ProbeId| {
            let state = board.probes.get(id)?;
            (!matches!(state.health(), Health::Up)).then_some(state)
        };
        let selected = self.selected(board).filter(|id| in_trouble(id).is_some_and(|it| it.acked.is_none()));
        selected.or_else(|| {
            let mut red = board.probes.red_first().into_iter();
            let unseen = |state: &crate::domain::probe::ProbeState| {
                matches!(state.health(), Health::Down | Health::Suspect | Health::Degraded) && state.acked.is_none()
            };
            red.find(|(_, state)| unseen(state)).map(|(id, _)| id.clone())
        })
    }

    fn step(&mut self, cx: &Context<'_>, step: i64) {
        if let Some(mut scroll) = self.detail {
            let total = self.detail_rows(cx);
            scroll.by(step, total, cx.height as usize);
            self.detail = Some(scroll);
            return;
        }
        let ids: Vec<ProbeId> = cx.board.probes.red_first().into_iter().map(|(id, _)| id.clone()).collect();
        let selected = self.selected(cx.board);
        self.selected = scroll::moved(&ids, selected.as_ref(), step).cloned();
        self.follow_selection(cx);
    }

    fn follow_selection(&mut self, cx: &Context<'_>) {
        let rows = cx.board.probes.red_first();
        let Some(selected) = self.selected(cx.board) else { return };
        let at = rows.iter().position(|(id, _)| **id == selected).unwrap_or_default();
        self.top = scroll::keep_visible(self.top, at, rows.len(), (cx.height as usize).max(1));
    }

    fn detail_rows(&self, cx: &Context<'_>) -> usize {
        let Some(id) = self.selected(cx.board) else { return 0 };
        // The text wraps by width and not by theme.
        cx.board.probes.get(&id).map_or(0, |state| detail::lines(cx, &Theme::mono(), &id, state).len())
    }

    fn ask(&self, cx: &Context<'_>, request: impl FnOnce(ProbeId) -> Request) -> Vec<Effect> {
        match self.selected(cx.board) {
            Some(probe) => vec![Effect::Request(request(probe))],
            None => vec![Notice::info("no probe is configured, see `hotseat init`")],
        }
    }
}

impl Pane for ServicesPane {
    type Command = ServicesCommand;
    const TITLE: &'static str = "SERVICES";

    fn update(&mut self, cx: &Context<'_>, command: ServicesCommand) -> Vec<Effect> {
        let half = i64::from(cx.height / 2).max(1);
        match command {
            ServicesCommand::Down => self.step(cx, 1),
            ServicesCommand::Up => self.step(cx, -1),
            ServicesCommand::Top => self.step(cx, i64::MIN),
            ServicesCommand::Bottom => self.step(cx, i64::MAX),
            ServicesCommand::HalfDown => self.step(cx, half),
            ServicesCommand::HalfUp => self.step(cx, -half),
            ServicesCommand::Detail => {
                // Held by id from here on: the detail must not change its probe when rows move.
                self.selected = self.selected(cx.board);
                self.detail = match self.detail {
                    None if self.selected.is_some() => Some(Scroll::default()),
                    _ => None,
                };
            }
            ServicesCommand::RunNow => return self.ask(cx, Request::RunProbe),
            ServicesCommand::Burst => return self.ask(cx, Request::BurstProbe),
        }
        Vec::new()
    }

    fn inbound(&mut self, cx: &Context<'_>, _inbound: &Inbound) -> Vec<Effect> {
        if self.selected.as_ref().is_some_and(|it| cx.board.probes.get(it).is_none()) {
            self.selected = None;
            self.detail = None;
        }
        self.follow_selection(cx);
        Vec::new()
    }

    fn resized(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        self.follow_selection(cx);
        Vec::new()
    }

    fn mouse(&mut self, cx: &Context<'_>, mouse: Mouse) -> Vec<Effect> {
        match mouse.kind {
            MouseKind::WheelDown => self.step(cx, 1),
            MouseKind::WheelUp => self.step(cx, -1),
            MouseKind::Press if self.detail.is_none() => {
                let rows = cx.board.probes.red_first();
                let row = rows.get(self.top + mouse.row as usize);
                self.selected = row.map(|(id, _)| (*id).clone()).or(self.selected.take());
            }
            MouseKind::Press => {}
        }
        Vec::new()
    }

    fn back(&mut self, _cx: &Context<'_>) -> bool {
        self.detail.take().is_some()
    }

    fn wants_zoom(&self) -> bool {
        self.detail.is_some()
    }

    fn next_wake(&self, cx: &Context<'_>) -> Option<Timestamp> {
        // A burst shows its countdown; nothing else here moves by itself.
        let bursting = cx.board.probes.iter().any(|(_, it)| it.burst_until.is_some_and(|until| until > cx.now));
        bursting.then(|| cx.now.checked_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX))
    }

    fn wanted_rows(&self, cx: &Context<'_>) -> u16 {
        u16::try_from(cx.board.probes.len().max(1)).unwrap_or(u16::MAX)
    }

    fn title(&self, cx: &Context<'_>, theme: &Theme) -> Line<'static> {
        let probes = &cx.board.probes;
        if probes.is_empty() {
            return Line::default();
        }
        let mut spans = vec![Span::styled("red first (", theme.style(Role::TextDim))];
        let counted = [
            (Health::Down, "red", Role::ProbeDown),
            (Health::Suspect, "suspect", Role::ProbeSuspect),
            (Health::Degraded, "degraded", Role::ProbeDegraded),
            (Health::Unknown, "unknown", Role::ProbeUnknown),
            (Health::Up, "ok", Role::ProbeUp),
        ];
        for (health, word, role) in counted {
            let count = probes.count(health);
            if count == 0 {
                continue;
            }
            if spans.len() > 1 {
                spans.push(Span::styled(", ", theme.style(Role::TextDim)));
            }
            spans.push(Span::styled(format!("{count} {word}"), theme.style(role)));
        }
        spans.push(Span::styled(")", theme.style(Role::TextDim)));
        // What the pane has no row for must not look as if it were not there.
        let shown = usize::from(cx.height);
        let below = probes.len().saturating_sub(self.top + shown);
        if shown > 0 && below > 0 && self.detail.is_none() {
            let dot = if theme.ascii { "-" } else { "·" };
            spans.push(Span::styled(format!(" {dot} {below} more below"), theme.style(Role::TextDim)));
        }
        Line::from(spans)
    }

    fn view(&self, cx: &Context<'_>, theme: &Theme, area: Rect, buf: &mut Buffer) -> Option<Position> {
        let selected = self.selected(cx.board);
        if let (Some(scroll), Some(id)) = (self.detail, &selected)
            && let Some(state) = cx.board.probes.get(id)
        {
            detail::draw(cx, theme, id, state, scroll, area, buf);
        } else {
            list::draw(cx, theme, selected.as_ref(), self.top, area, buf);
        }
        None
    }
}

/// The mark that carries a health without colour.
fn mark(health: Health) -> &'static str {
    match health {
        Health::Down => "x",
        Health::Suspect => "?",
        Health::Degraded => "!",
        Health::Unknown => "-",
        Health::Up => "o",
    }
}

/// The role of a health.
fn role(health: Health) -> Role {
    match health {
        Health::Down => Role::ProbeDown,
        Health::Suspect => Role::ProbeSuspect,
        Health::Degraded => Role::ProbeDegraded,
        Health::Unknown => Role::ProbeUnknown,
        Health::Up => Role::ProbeUp,
    }
}
