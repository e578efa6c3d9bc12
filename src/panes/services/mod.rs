//! The services pane: every probe, red first, below its group; a detail view with where the time went.
//!
//! State is here, `rows` says which rows there are, `moving` where keys go, `asking` what they ask of the world, `title`,
//! `list` and `detail` draw. The selection is a probe or a group, not a row: rows move as health changes.

mod asking;
mod detail;
mod list;
mod moving;
mod past;
mod prompt;
mod rows;
#[cfg(test)]
mod tests;
mod title;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::Line;

use crate::app::effect::{Effect, Notice, Sheet};
use crate::app::event::{Mouse, MouseKind};
use crate::app::several;
use crate::domain::board::Board;
use crate::domain::fact::Fact;
use crate::domain::ids::ProbeId;
use crate::domain::key::Key;
use crate::domain::probe::health::Health;
use crate::domain::probe::{ProbeFact, ProbeState};
use crate::domain::request::Inbound;
use crate::domain::sanitise;
use crate::panes::services::detail::Subject;
use crate::panes::services::list::List;
use crate::panes::services::past::{Move, Past};
use crate::panes::services::prompt::FilterPrompt;
use crate::panes::services::rows::{Arrangement, Filter, Picked, Row};
use crate::panes::{Context, Pane};
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::scroll::Scroll;

crate::commands! {
    /// Commands of the services pane.
    ServicesCommand {
        Down = "services.down", "Go down", ["j", "down"], "";
        Up = "services.up", "Go up", ["k", "up"], "";
        Top = "services.top", "Go to the first row", ["g", "home"], "";
        Bottom = "services.bottom", "Go to the last row", ["G", "end"], "";
        HalfDown = "services.half-down", "Go half a page down", ["ctrl-d", "pgdn"], "";
        HalfUp = "services.half-up", "Go half a page up", ["ctrl-u", "pgup"], "";
        Detail = "services.detail", "Show all that is known of the probe, or open and fold the group", ["enter"], "detail";
        RunNow = "services.run", "Run the probe now, or all of the group", ["r"], "run now";
        Beside = "services.here", "Run the probe from here as well, and set both runs beside each other", ["h"], "";
        Burst = "services.burst", "Run the probe, or all of the group, every second for a minute, or end that", ["B"], "";
        NextRed = "services.next-red", "Go to the next probe that is not well", ["n"], "";
        PreviousRed = "services.previous-red", "Go to the probe before that is not well", ["N"], "";
        Filter = "services.filter", "Show only probes that fit: words, `-word`, `red`, `group=edge`", ["/", "f"], "filter";
        Unfilter = "services.unfilter", "Show all probes again", ["X"], "";
        Sort = "services.sort", "Sort by state, name, latency, latest change", ["s"], "";
        Fold = "services.fold", "Fold the group, or open it", ["space"], "";
        FoldAll = "services.fold-all", "Fold all groups, or open them", ["o"], "";
        Grouping = "services.grouping", "Show probes below their groups, or in one list", ["v"], "";
        Explain = "services.explain", "Explain why somebody was paged about the probe, or nobody", ["x"], "why";
        AcknowledgeFor = "services.acknowledge-for", "Acknowledge until it is fine, or for a time", ["A"], "";
        Silence = "services.silence", "Silence the probe or the group for a time", ["S"], "silence";
        Maintain = "services.maintain", "Plan a maintenance of the probe or the group", ["m"], "";
        Quiets = "services.quiets", "Show silences and maintenances, and end one", ["Q"], "";
        Notifiers = "services.notifiers", "Show how the notifiers are doing, and send a test message", ["t"], "";
        Earlier = "services.earlier", "Look at an earlier part of the probe's past", ["<", "H"], "";
        Later = "services.later", "Look at a later part of the probe's past", [">", "L"], "";
        ZoomIn = "services.closer", "Look at less of the probe's past, closer", ["+", "="], "";
        ZoomOut = "services.wider", "Look at more of the probe's past", ["-"], "";
        ToNow = "services.to-now", "Follow the present of the probe again", ["0"], "";
    }
}

/// The services pane: every probe, red first.
#[derive(Debug, Default)]
pub struct ServicesPane {
    /// Chosen by a person; `None` is the first to look at, whichever that is.
    selected: Option<Picked>,
    top: usize,
    detail: Option<Scroll>,
    arrangement: Arrangement,
    prompt: Option<FilterPrompt>,
    past: Past,
}

/// More rows no screen has.
const URGENT_MAX: u16 = 1_000;
/// Rows of which the reasons are measured: at every fact, so no more than a high screen shows.
const SEEN_MAX: usize = 100;

/// How probes are counted in the title and at a group: health, word, role; the worst first.
const COUNTED: &[(Health, &str, Role)] = &[
    (Health::Down, "red", Role::ProbeDown),
    (Health::Suspect, "suspect", Role::ProbeSuspect),
    (Health::Degraded, "degraded", Role::ProbeDegraded),
    (Health::Unknown, "unknown", Role::ProbeUnknown),
    (Health::Up, "ok", Role::ProbeUp),
];

impl ServicesPane {
    /// The probe that keys mean: the chosen one, the first of the chosen group, else the first to look at.
    pub fn selected(&self, board: &Board) -> Option<ProbeId> {
        match self.chosen(board) {
            Some(Picked::Probe(id)) => Some(id.clone()),
            Some(Picked::Group(name)) => self.members(board, name).into_iter().next(),
            None => self.first(board),
        }
    }

    /// The probes that keys mean which make sense for a whole group.
    pub fn selected_all(&self, board: &Board) -> Vec<ProbeId> {
        match self.chosen(board) {
            Some(Picked::Group(name)) => self.members(board, name),
            _ => self.selected(board).into_iter().collect(),
        }
    }

    /// The group that is selected, when it is one.
    pub fn selected_group(&self, board: &Board) -> Option<&str> {
        match self.chosen(board) {
            Some(Picked::Group(name)) => Some(name),
            _ => None,
        }
    }

    /// What to do when a group is selected and a key makes sense for one probe only: `choose one of the 4 in `edge``.
    pub fn choice(&self, board: &Board) -> Option<String> {
        let group = self.selected_group(board)?;
        let count = self.members(board, group).len();
        Some(format!("choose one of the {}", several::what(count, Some(&sanitise::text(group)))))
    }

    /// What of the selected is in trouble that nobody has seen: of nothing else may a key say that it was seen.
    pub fn to_acknowledge(&self, board: &Board) -> Vec<ProbeId> {
        self.selected_all(board).into_iter().filter(|it| is_unseen(board, it, true)).collect()
    }

    /// What is selected and was seen by somebody, when nothing of it is left to be seen.
    pub fn acknowledged(&self, board: &Board) -> Vec<ProbeId> {
        let selected = self.selected_all(board);
        if selected.iter().any(|it| is_unseen(board, it, true)) {
            return Vec::new();
        }
        selected.into_iter().filter(|it| board.seen_by(it).is_some()).collect()
    }

    /// True when a person has chosen a row that is still there.
    pub fn is_chosen(&self, board: &Board) -> bool {
        self.chosen(board).is_some()
    }

    /// What a person chose, while it has a place in the list: a key must not mean what the filter hides.
    fn chosen(&self, board: &Board) -> Option<&Picked> {
        let passes = |id: &ProbeId, state: &ProbeState| self.arrangement.filter.keeps(id, state);
        self.selected.as_ref().filter(|it| match it {
            Picked::Probe(id) => board.probes.get(id).is_some_and(|state| self.detail.is_some() || passes(id, state)),
            Picked::Group(name) => {
                let is_member = |state: &ProbeState| group_of(state) == name;
                let has_members = board.probes.iter().any(|(id, state)| is_member(state) && passes(id, state));
                has_members && self.arrangement.is_grouped(board)
            }
        })
    }

    /// What keys mean while nobody has chosen: the first in trouble that nobody has seen, else the first of all.
    fn first(&self, board: &Board) -> Option<ProbeId> {
        let probes = self.arrangement.probes(board);
        // Nobody is there to be told that one of a lost host was seen.
        let is_live = |id: &ProbeId| board.lost_since(id.host()).is_none();
        let unseen = probes.iter().find(|(id, _)| is_live(id) && is_unseen(board, id, false));
        unseen.or(probes.first()).map(|(id, _)| (*id).clone())
    }

    fn members(&self, board: &Board, group: &str) -> Vec<ProbeId> {
        let probes = self.arrangement.probes(board).into_iter();
        probes.filter(|(_, state)| group_of(state) == group).map(|(id, _)| id.clone()).collect()
    }

    /// Rows of the body that the list has.
    fn list_height(&self, cx: &Context<'_>) -> usize {
        let prompt = self.prompt.as_ref().map_or(0, FilterPrompt::height);
        usize::from(cx.height.saturating_sub(prompt))
    }

    fn rows<'a>(&self, cx: &Context<'a>) -> Vec<Row<'a>> {
        let selected = match &self.selected {
            Some(Picked::Probe(id)) => Some(id),
            _ => None,
        };
        self.arrangement.rows(cx.board, self.list_height(cx), selected)
    }

    /// Rows of the body that are needed so that everything in trouble is in sight, and those that its reasons take
    /// besides.
    pub fn urgent_rows(&self, cx: &Context<'_>) -> (u16, u16) {
        let prompt = self.prompt.as_ref().map_or(0, FilterPrompt::height);
        let rows = self.arrangement.rows(cx.board, 0, None);
        let urgent = rows::urgent_rows(cx.board, &rows);
        let seen = &rows[..urgent.min(SEEN_MAX)];
        let reasons = list::more_rows(cx, seen, usize::MAX).iter().sum::<usize>();
        let cells = |it: usize| u16::try_from(it).unwrap_or(URGENT_MAX).min(URGENT_MAX);
        (cells(urgent).saturating_add(prompt), cells(reasons))
    }

    /// How many further rows each row has for its reason. What is in trouble comes before what is well and has no room.
    fn more_rows(&self, cx: &Context<'_>, rows: &[Row<'_>]) -> Vec<usize> {
        let height = self.list_height(cx);
        if rows.len() <= height {
            return list::more_rows(cx, rows, height);
        }
        // Scrolled, every row counts one.
        let urgent = rows::urgent_rows(cx.board, rows);
        let shown = self.selected_at(cx, rows).map_or(urgent, |at| urgent.max(at + 1));
        if self.top > 0 || shown >= height {
            return vec![0; rows.len()];
        }
        let mut more = list::more_rows(cx, &rows[..shown], height);
        more.resize(rows.len(), 0);
        more
    }

    /// Which row is marked: that of what keys mean; the heading above it when that is folded.
    fn selected_at(&self, cx: &Context<'_>, rows: &[Row<'_>]) -> Option<usize> {
        let at_probe = |id: &ProbeId| {
            let own = rows.iter().position(|it| matches!(it, Row::Probe { id: other, .. } if *other == id));
            own.or_else(|| {
                rows.iter().position(|it| match it {
                    Row::Group(group) => group.members.iter().any(|(member, _)| *member == id),
                    Row::Probe { .. } => false,
                })
            })
        };
        let at = match self.chosen(cx.board) {
            Some(Picked::Probe(id)) => at_probe(id),
            Some(group) => rows.iter().position(|it| it.picked() == *group),
            None => self.first(cx.board).and_then(|id| at_probe(&id)),
        };
        at.or((!rows.is_empty()).then_some(0))
    }

    /// Chooses the row that is marked, before a key acts on it: a heading when what was chosen is folded away below
    /// it. From then on it stays marked, however the rows move.
    pub fn hold(&mut self, cx: &Context<'_>) {
        // Without rows nothing is marked; in a detail what is shown is meant.
        if self.detail.is_some() || cx.height == 0 {
            return;
        }
        let rows = self.rows(cx);
        if let Some(at) = self.selected_at(cx, &rows) {
            self.selected = Some(rows[at].picked());
            self.follow_selection(cx);
        }
    }

    /// The board was replaced by that of another time.
    pub fn turned(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        self.follow_selection(cx);
        self.past.forget();
        self.ask_past(cx, false)
    }

    fn detail_rows(&self, cx: &Context<'_>) -> usize {
        let Some(id) = self.selected(cx.board) else { return 0 };
        let Some(state) = cx.board.probes.get(&id) else { return 0 };
        // The text wraps by width and not by theme.
        detail::columns(cx, &Theme::mono(), &Subject { id: &id, state, past: &self.past }).rows()
    }
}

impl Pane for ServicesPane {
    type Command = ServicesCommand;
    const TITLE: &'static str = "SERVICES";

    fn update(&mut self, cx: &Context<'_>, command: ServicesCommand) -> Vec<Effect> {
        let half = i64::from(cx.height / 2).max(1);
        if matches!(
            command,
            ServicesCommand::RunNow
                | ServicesCommand::Burst
                | ServicesCommand::Beside
                | ServicesCommand::Explain
                | ServicesCommand::Silence
                | ServicesCommand::Maintain
                | ServicesCommand::Earlier
                | ServicesCommand::Later
                | ServicesCommand::ZoomIn
                | ServicesCommand::ZoomOut
                | ServicesCommand::ToNow
        ) {
            self.hold(cx);
        }
        match command {
            ServicesCommand::Down => self.step(cx, 1),
            ServicesCommand::Up => self.step(cx, -1),
            ServicesCommand::Top => self.step(cx, i64::MIN),
            ServicesCommand::Bottom => self.step(cx, i64::MAX),
            ServicesCommand::HalfDown => self.step(cx, half),
            ServicesCommand::HalfUp => self.step(cx, -half),
            ServicesCommand::Detail => return self.open_detail(cx),
            ServicesCommand::RunNow => return self.run_now(cx),
            ServicesCommand::Burst => return self.burst(cx),
            ServicesCommand::Beside => return self.run_beside(cx),
            ServicesCommand::Explain => return self.explain(cx),
            ServicesCommand::AcknowledgeFor => return self.acknowledge_for(cx),
            ServicesCommand::Silence => return self.quieten(cx, Sheet::Silence),
            ServicesCommand::Maintain => return self.quieten(cx, Sheet::Maintenance),
            ServicesCommand::Quiets => return vec![Effect::Show(Sheet::Quiets)],
            ServicesCommand::Notifiers => return vec![Effect::Show(Sheet::Notifiers)],
            ServicesCommand::Earlier => return self.move_past(cx, Move::Earlier),
            ServicesCommand::Later => return self.move_past(cx, Move::Later),
            ServicesCommand::ZoomIn => return self.move_past(cx, Move::In),
            ServicesCommand::ZoomOut => return self.move_past(cx, Move::Out),
            ServicesCommand::ToNow => return self.move_past(cx, Move::Now),
            ServicesCommand::NextRed => return self.step_red(cx, true),
            ServicesCommand::PreviousRed => return self.step_red(cx, false),
            ServicesCommand::Filter => {
                self.detail = None;
                self.prompt = Some(FilterPrompt::new(&self.arrangement.filter));
            }
            ServicesCommand::Unfilter => self.arrangement.filter = Filter::default(),
            ServicesCommand::Sort => {
                self.arrangement.sort = self.arrangement.sort.next();
                self.follow_selection(cx);
                return vec![Notice::info(format!("sorted {}", self.arrangement.sort.words()))];
            }
            ServicesCommand::Fold => return self.fold(cx),
            ServicesCommand::FoldAll => return self.fold_all(cx),
            ServicesCommand::Grouping => self.arrangement.flat = !self.arrangement.flat,
        }
        self.follow_selection(cx);
        Vec::new()
    }

    fn captures_keys(&self) -> bool {
        self.prompt.is_some()
    }

    fn key(&mut self, cx: &Context<'_>, key: &Key) -> Vec<Effect> {
        self.filter_key(cx, key);
        Vec::new()
    }

    fn paste(&mut self, cx: &Context<'_>, text: &str) -> Vec<Effect> {
        self.filter_paste(cx, text);
        Vec::new()
    }

    fn typing_hints(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("enter", "keep"),
            ("esc", "as before"),
            ("red ok trouble", "states"),
            ("-word", "not"),
            ("group=edge", "label"),
        ]
    }

    fn inbound(&mut self, cx: &Context<'_>, inbound: &Inbound) -> Vec<Effect> {
        if let Some(Picked::Probe(id)) = &self.selected
            && cx.board.probes.get(id).is_none()
        {
            self.selected = None;
            self.detail = None;
        }
        self.follow_selection(cx);
        match inbound {
            Inbound::History(history) => {
                self.past.answered(history);
                return self.ask_past(cx, false);
            }
            Inbound::Failed(error) => self.past.failed(error),
            Inbound::Snapshot(_) => {
                self.past.forget();
                return self.ask_past(cx, false);
            }
            Inbound::Fact(envelope) => {
                if let Fact::Probe(ProbeFact::Outcome { probe, .. }) = &envelope.fact
                    && self.detail.is_some()
                    && self.selected(cx.board).as_ref() == Some(probe)
                {
                    return self.ask_past(cx, true);
                }
            }
            _ => {}
        }
        Vec::new()
    }

    fn resized(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        self.follow_selection(cx);
        self.ask_past(cx, false)
    }

    fn mode_hints(&self) -> &'static [(ServicesCommand, &'static str)] {
        if self.detail.is_none() {
            return &[];
        }
        &[
            (ServicesCommand::Down, "scroll"),
            (ServicesCommand::Earlier, "earlier"),
            (ServicesCommand::ZoomIn, "zoom"),
            (ServicesCommand::Explain, "why"),
            (ServicesCommand::RunNow, "run now"),
            (ServicesCommand::Beside, "here"),
            (ServicesCommand::Silence, "silence"),
            (ServicesCommand::NextRed, "next red"),
        ]
    }

    fn mouse(&mut self, cx: &Context<'_>, mouse: Mouse) -> Vec<Effect> {
        match mouse.kind {
            MouseKind::WheelDown => self.step(cx, 1),
            MouseKind::WheelUp => self.step(cx, -1),
            MouseKind::Press if self.detail.is_none() => {
                let rows = self.rows(cx);
                let more = self.more_rows(cx, &rows);
                let list = List { rows: &rows, more: &more, selected: None, top: self.top, filtered: false };
                let at = list::row_at(&list, self.list_height(cx), usize::from(mouse.row));
                let row = at.and_then(|it| rows.get(it)).map(Row::picked);
                // A second click opens what the first one chose.
                if row.is_some() && row == self.selected {
                    return self.open_detail(cx);
                }
                self.selected = row.or(self.selected.take());
            }
            MouseKind::Press => {}
        }
        Vec::new()
    }

    fn back(&mut self, cx: &Context<'_>) -> bool {
        if self.detail.take().is_some() {
            return true;
        }
        let filtered = !self.arrangement.filter.is_empty();
        self.arrangement.filter = Filter::default();
        self.follow_selection(cx);
        filtered
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
        // Folding must not move the panes about: as many as there are when everything is open.
        let groups: BTreeSet<Option<&str>> =
            cx.board.probes.iter().map(|(_, it)| it.setup.rules.group.as_deref()).collect();
        let headings = if groups.iter().any(Option::is_some) && !self.arrangement.flat { groups.len() } else { 0 };
        let rows = self.rows(cx);
        let reasons = list::more_rows(cx, &rows[..rows.len().min(SEEN_MAX)], usize::MAX).iter().sum::<usize>();
        // Hosts that are not reached say why, which may take two rows each.
        let absent = if cx.board.probes.is_empty() { 2 * cx.absent().len() } else { 0 };
        u16::try_from((cx.board.probes.len() + headings + reasons).max(absent).max(1)).unwrap_or(u16::MAX)
    }

    fn title(&self, cx: &Context<'_>, theme: &Theme, room: usize) -> Line<'static> {
        self.counts(cx, theme, room)
    }

    fn view(&self, cx: &Context<'_>, theme: &Theme, area: Rect, buf: &mut Buffer) -> Option<Position> {
        if let (Some(scroll), Some(id)) = (self.detail, &self.selected(cx.board))
            && let Some(state) = cx.board.probes.get(id)
        {
            detail::draw(cx, theme, &Subject { id, state, past: &self.past }, scroll, area, buf);
            return None;
        }
        let below = self.prompt.as_ref().map_or(0, FilterPrompt::height).min(area.height);
        let body = Rect { height: area.height - below, ..area };
        let rows = self.rows(cx);
        let selected = self.selected_at(cx, &rows).map(|at| rows[at].picked());
        let filtered = !self.arrangement.filter.is_empty();
        let more = self.more_rows(cx, &rows);
        let list = List { rows: &rows, more: &more, selected: selected.as_ref(), top: self.top, filtered };
        list::draw(cx, theme, &list, body, buf);
        let bottom = Rect { y: body.bottom(), height: below, ..area };
        self.prompt.as_ref().and_then(|it| it.draw(theme, bottom, buf))
    }
}

/// The group of a probe; empty for one that is in none.
fn group_of(state: &ProbeState) -> &str {
    state.setup.rules.group.as_deref().unwrap_or_default()
}

/// True for a probe in trouble that nobody has seen.
fn is_unseen(board: &Board, id: &ProbeId, also_unknown: bool) -> bool {
    board.probes.get(id).is_some_and(|it| {
        let in_trouble = match it.health() {
            Health::Up => false,
            Health::Unknown => also_unknown,
            Health::Down | Health::Suspect | Health::Degraded => true,
        };
        in_trouble && board.seen_by(id).is_none()
    })
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
