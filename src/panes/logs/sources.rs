//! The sources: which are heard, in which colour their names stand, and the list of them with their states.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position as Cell, Rect};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::app::effect::{Effect, Notice};
use crate::app::event::{Mouse, MouseKind};
use crate::domain::board::Board;
use crate::domain::format;
use crate::domain::ids::SourceId;
use crate::domain::key::{Key, KeyCode};
use crate::domain::log::{Doubt, SourceState, SourceStatus};
use crate::domain::sanitise;
use crate::panes::logs::LogsPane;
use crate::panes::{Context, PaneId};
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::input::{self, LineInput};
use crate::widgets::list::{self, Mark};
use crate::widgets::scroll::{keep_visible, moved};
use crate::widgets::wrap::cut;

/// Roles for the names of sources.
const COLOURS: [Role; 6] =
    [Role::LogSource1, Role::LogSource2, Role::LogSource3, Role::LogSource4, Role::LogSource5, Role::LogSource6];
/// Columns below which the list has no room for where a source comes from.
const ORIGIN_FROM: u16 = 72;

/// Which sources are heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audible {
    muted: Vec<SourceId>,
    solo: Option<SourceId>,
}

impl Audible {
    /// The only sources wanted, and those not wanted.
    pub fn asked(&self) -> (Vec<SourceId>, Vec<SourceId>) {
        match &self.solo {
            Some(solo) => (vec![solo.clone()], Vec::new()),
            None => (Vec::new(), self.muted.clone()),
        }
    }

    /// What the title says, so that nobody wonders where lines are.
    pub fn words(&self, board: &Board) -> Option<String> {
        if let Some(solo) = &self.solo {
            return Some(format!("solo {}", sanitise::text(super::words::source_name(board, solo))));
        }
        let muted = board.logs.sources.iter().filter(|it| self.muted.contains(&it.id)).count();
        (muted > 0).then(|| format!("{muted} muted"))
    }

    /// Every source there is was muted.
    pub fn is_silent(&self, board: &Board) -> bool {
        self.solo.is_none() && board.logs.sources.iter().all(|it| self.muted.contains(&it.id))
    }

    /// Neither muted nor silenced by the one that is heard alone.
    pub fn is_heard(&self, source: &SourceId) -> bool {
        self.solo.as_ref().map_or(!self.muted.contains(source), |it| it == source)
    }

    fn mute(&mut self, source: &SourceId) {
        match self.muted.iter().position(|it| it == source) {
            Some(at) => drop(self.muted.remove(at)),
            None => self.muted.push(source.clone()),
        }
        self.solo = None;
    }

    fn solo(&mut self, source: &SourceId) {
        self.solo = if self.solo.as_ref() == Some(source) { None } else { Some(source.clone()) };
    }
}

/// The role of each source's name.
///
/// A name begins at the colour of its hash and takes the next one that is free, so that few sources never share
/// one and a source that joins changes no other.
pub fn colours(board: &Board) -> HashMap<&SourceId, Role> {
    let mut used = [false; COLOURS.len()];
    let colour = |source: &'_ SourceStatus| {
        // FNV-1a: the same on every host and in every run.
        let hash = source
            .name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |sum, it| (sum ^ u64::from(it)).wrapping_mul(0x0000_0100_0000_01b3));
        let first = (hash % COLOURS.len() as u64) as usize;
        let free = (first..first + COLOURS.len()).map(|it| it % COLOURS.len()).find(|it| !used[*it]);
        let at = free.unwrap_or(first);
        used[at] = true;
        COLOURS[at]
    };
    let roles: Vec<Role> = board.logs.sources.iter().map(colour).collect();
    board.logs.sources.iter().map(|it| &it.id).zip(roles).collect()
}

/// The open list.
#[derive(Debug, Clone, Default)]
pub struct SourceList {
    selected: Option<SourceId>,
    input: LineInput,
    typing: bool,
    /// There are more sources than rows.
    pub zoomed: bool,
}

impl SourceList {
    /// What its keys mean.
    pub fn hints(&self) -> &'static [(&'static str, &'static str)] {
        if self.typing {
            return &[("enter", "keep"), ("esc", "all sources"), ("text", "part of a name or path")];
        }
        &[
            ("m", "mute"),
            ("s", "solo"),
            ("M", "unmute all"),
            ("enter", "filter to it"),
            ("/", "narrow"),
            ("esc", "back"),
        ]
    }

    /// What stands in the title row: how many, and which are silent or in trouble.
    pub fn title(&self, board: &Board, notable: &[String], separator: &str) -> String {
        let all = board.logs.sources.len();
        let shown = self.shown(board).len();
        let sources = format::plural(all as u64, "source");
        let first = if shown == all { sources } else { format!("{shown} of {sources}") };
        std::iter::once(first.as_str()).chain(notable.iter().map(String::as_str)).collect::<Vec<_>>().join(separator)
    }

    /// The sources that are listed: those in trouble first, else as they were opened.
    fn shown<'a>(&self, board: &'a Board) -> Vec<&'a SourceStatus> {
        let text = self.input.text().to_lowercase();
        let has = |it: &str| it.to_lowercase().contains(&text);
        let mut shown: Vec<&SourceStatus> =
            board.logs.sources.iter().filter(|it| text.is_empty() || has(&it.name) || has(&it.origin)).collect();
        shown.sort_by_key(|it| rank(it));
        shown
    }

    fn current<'a>(&self, shown: &[&'a SourceStatus]) -> Option<&'a SourceStatus> {
        let selected = shown.iter().find(|it| Some(&it.id) == self.selected.as_ref());
        selected.or_else(|| shown.first()).copied()
    }

    fn step(&mut self, board: &Board, step: i64) {
        let shown = self.shown(board);
        let current = self.current(&shown).map(|it| it.id.clone());
        let ids: Vec<SourceId> = shown.into_iter().map(|it| it.id.clone()).collect();
        self.selected = moved(&ids, current.as_ref(), step).cloned();
    }
}

fn rank(source: &SourceStatus) -> u8 {
    match source.state {
        SourceState::Connected | SourceState::Ended if source.doubt.is_some() => 2,
        SourceState::Failed(_) => 0,
        SourceState::Reconnecting { .. } => 1,
        SourceState::Lagging { .. } => 2,
        SourceState::Waiting(_) => 3,
        SourceState::Connected => 4,
        SourceState::Ended => 5,
    }
}

/// A source's state in words.
pub fn state_words(state: &SourceState, now: Timestamp) -> String {
    let text = match state {
        SourceState::Connected => "connected".to_string(),
        SourceState::Waiting(why) => format!("waiting: {why}"),
        SourceState::Reconnecting { why, next } => {
            let seconds = next.as_second().saturating_sub(now.as_second());
            let when = if seconds > 0 { format!("in {seconds} s") } else { "now".to_string() };
            format!("reconnecting {when}: {why}")
        }
        SourceState::Lagging { bytes } => format!("lagging {}", format::bytes(*bytes)),
        SourceState::Ended => "ended".to_string(),
        SourceState::Failed(why) => format!("failed: {why}"),
    };
    sanitise::text(&text)
}

/// A source's state in words, with what is wrong with its text.
fn status_words(source: &SourceStatus, now: Timestamp) -> String {
    let state = state_words(&source.state, now);
    source.doubt.as_ref().map_or(state.clone(), |it| format!("{state}; {}", sanitise::text(&it.words())))
}

/// What the title says of sources that are in trouble: `1 failed, 2 reconnecting`.
pub fn trouble_words(board: &Board) -> String {
    let count = |is: fn(&SourceState) -> bool| board.logs.sources.iter().filter(|it| is(&it.state)).count();
    let counts = [
        (count(|it| matches!(it, SourceState::Failed(_))), "failed"),
        (count(|it| matches!(it, SourceState::Reconnecting { .. })), "reconnecting"),
        (count(|it| matches!(it, SourceState::Lagging { .. })), "lagging"),
        (count(|it| matches!(it, SourceState::Waiting(_))), "waiting"),
    ];
    let doubts =
        |is: fn(&Doubt) -> bool| board.logs.sources.iter().filter(|it| it.doubt.as_ref().is_some_and(is)).count();
    let counts = counts.into_iter().chain([
        (doubts(|it| matches!(it, Doubt::Binary)), "binary"),
        (doubts(|it| matches!(it, Doubt::OtherFormat(_))), "not in its format"),
    ]);
    let some: Vec<String> =
        counts.filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    some.join(", ")
}

impl LogsPane {
    /// Opens the list.
    pub(super) fn open_list(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let sources = &cx.board.logs.sources;
        if sources.is_empty() {
            return vec![Notice::info("there are no log sources")];
        }
        self.leave_histogram();
        let selected = self.current_spot().map(|it| it.position.source);
        let zoomed = sources.len() + 1 > usize::from(cx.height);
        self.list = Some(SourceList { selected, zoomed, ..SourceList::default() });
        Vec::new()
    }

    /// A key of the open list.
    pub(super) fn list_key(&mut self, cx: &Context<'_>, key: &Key) -> Vec<Effect> {
        let Some(list) = &mut self.list else { return Vec::new() };
        if list.typing {
            match key.code {
                KeyCode::Enter => list.typing = false,
                KeyCode::Esc => {
                    list.input.set_text("");
                    list.typing = false;
                }
                _ => {
                    list.input.key(key);
                }
            }
            return Vec::new();
        }
        let page = i64::from(cx.height.max(3)) - 2;
        match (key.code, key.ctrl) {
            (KeyCode::Char('j'), false) | (KeyCode::Down, _) => list.step(cx.board, 1),
            (KeyCode::Char('k'), false) | (KeyCode::Up, _) => list.step(cx.board, -1),
            (KeyCode::Char('d'), true) => list.step(cx.board, page / 2),
            (KeyCode::Char('u'), true) => list.step(cx.board, -page / 2),
            (KeyCode::Char('f'), true) | (KeyCode::PageDown, _) => list.step(cx.board, page),
            (KeyCode::Char('b'), true) | (KeyCode::PageUp, _) => list.step(cx.board, -page),
            (KeyCode::Char('g'), false) | (KeyCode::Home, _) => list.step(cx.board, i64::MIN),
            (KeyCode::Char('G'), false) | (KeyCode::End, _) => list.step(cx.board, i64::MAX),
            (KeyCode::Char('/' | 'f' | '&'), false) => list.typing = true,
            (KeyCode::Char('z'), false) => list.zoomed = !list.zoomed,
            (KeyCode::Tab, _) => return vec![Effect::Focus(PaneId::Backups)],
            (KeyCode::Esc, _) if !list.input.text().is_empty() => list.input.set_text(""),
            (KeyCode::Esc | KeyCode::Char('q' | 'S'), false) => self.list = None,
            (KeyCode::Char('m' | ' '), false) => return self.change_audible(cx, Audible::mute),
            (KeyCode::Char('s' | 'o'), false) => return self.change_audible(cx, Audible::solo),
            (KeyCode::Char('M' | 'u'), false) => {
                return self.change_audible(cx, |audible, _| *audible = Audible::default());
            }
            (KeyCode::Enter, _) => return self.filter_to_source(cx),
            _ => {}
        }
        Vec::new()
    }

    pub(super) fn list_paste(&mut self, text: &str) -> Vec<Effect> {
        if let Some(list) = self.list.as_mut().filter(|it| it.typing) {
            list.input.paste(text);
        }
        Vec::new()
    }

    pub(super) fn list_mouse(&mut self, cx: &Context<'_>, mouse: Mouse) {
        let Some(list) = &mut self.list else { return };
        match mouse.kind {
            MouseKind::WheelUp => list.step(cx.board, -1),
            MouseKind::WheelDown => list.step(cx.board, 1),
            MouseKind::Press => {
                let shown = list.shown(cx.board);
                let rows = list_rows(list, cx.height);
                let current = list.current(&shown).and_then(|it| shown.iter().position(|other| other.id == it.id));
                let top = keep_visible(0, current.unwrap_or_default(), shown.len(), rows);
                if usize::from(mouse.row) < rows
                    && let Some(source) = shown.get(top + usize::from(mouse.row))
                {
                    list.selected = Some(source.id.clone());
                }
            }
        }
    }

    /// A countdown on the screen moves with the clock.
    pub(super) fn list_wake(&self, cx: &Context<'_>) -> Option<Timestamp> {
        let list = self.list.as_ref()?;
        let counts = |it: &&SourceStatus| matches!(&it.state, SourceState::Reconnecting { next, .. } if *next > cx.now);
        list.shown(cx.board).iter().any(counts).then_some(())?;
        let second = Timestamp::from_second(cx.now.as_second()).ok()?;
        second.checked_add(SignedDuration::from_secs(1)).ok()
    }

    /// A source is gone: it cannot be the only one.
    pub(super) fn source_closed(&mut self, cx: &Context<'_>, source: &SourceId) -> Vec<Effect> {
        if self.audible.solo.as_ref() != Some(source) {
            return Vec::new();
        }
        self.audible.solo = None;
        self.requery(cx)
    }

    fn change_audible(&mut self, cx: &Context<'_>, change: impl FnOnce(&mut Audible, &SourceId)) -> Vec<Effect> {
        let Some(list) = &mut self.list else { return Vec::new() };
        let shown = list.shown(cx.board);
        let Some(current) = list.current(&shown).map(|it| it.id.clone()) else { return Vec::new() };
        list.selected = Some(current.clone());
        let before = self.audible.clone();
        change(&mut self.audible, &current);
        if before == self.audible { Vec::new() } else { self.requery(cx) }
    }

    /// Enter: only records of the selected source pass, by a chip that can be seen and removed.
    fn filter_to_source(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let Some(list) = self.list.take() else { return Vec::new() };
        let shown = list.shown(cx.board);
        let Some(current) = list.current(&shown) else { return Vec::new() };
        let name = current.name.clone();
        if !self.audible.is_heard(&current.id) {
            self.audible = Audible::default();
        }
        self.change_chips(cx, |it| it.set_source(&name))
    }
}

/// Rows of the list itself.
fn list_rows(list: &SourceList, height: u16) -> usize {
    usize::from(height.saturating_sub(u16::from(has_input(list))))
}

fn has_input(list: &SourceList) -> bool {
    list.typing || !list.input.text().is_empty()
}

/// Cells of a row beside name, state and origin: mark, sign, muted, size, gaps.
const FIXED_CELLS: usize = 28;

/// Draws the list over the rows; returns where the cursor belongs while it is narrowed.
pub fn draw(
    list: &SourceList,
    audible: &Audible,
    cx: &Context<'_>,
    theme: &Theme,
    area: Rect,
    buf: &mut Buffer,
) -> Option<Cell> {
    let shown = list.shown(cx.board);
    let rows = list_rows(list, area.height);
    let colours = colours(cx.board);
    let current = list.current(&shown).map(|it| &it.id);
    let at = shown.iter().position(|it| Some(&it.id) == current).unwrap_or_default();
    let top = keep_visible(0, at, shown.len(), rows);
    let widest = |text: &dyn Fn(&SourceStatus) -> usize| shown.iter().map(|it| text(it)).max().unwrap_or_default();
    let share = |percent: usize| usize::from(area.width) * percent / 100;
    let name_cells = widest(&|it| sanitise::text(&it.name).width()).min(share(30)).max(4);
    let wanted = widest(&|it| status_words(it, cx.now).width());
    // What the mark, the name, muted, size and gaps leave; where origins are shown, they get some of it.
    let origin =
        if area.width >= ORIGIN_FROM { widest(&|it| sanitise::text(&it.origin).width() + 1).min(share(25)) } else { 0 };
    let state_cells = wanted.min(usize::from(area.width).saturating_sub(name_cells + FIXED_CELLS + origin)).max(9);
    for (row, source) in area.rows().zip(shown.iter().skip(top).take(rows)) {
        let (sign, role) = match &source.state {
            SourceState::Failed(_) => ("x", Role::ProbeDown),
            SourceState::Reconnecting { .. } | SourceState::Lagging { .. } => ("!", Role::ProbeDegraded),
            SourceState::Waiting(_) => ("?", Role::ProbeUnknown),
            SourceState::Connected | SourceState::Ended if source.doubt.is_some() => ("!", Role::ProbeDegraded),
            SourceState::Connected => ("o", Role::ProbeUp),
            SourceState::Ended => ("-", Role::TextDim),
        };
        let colour = colours.get(&source.id).copied().unwrap_or(Role::LogSource);
        let heard = match (&audible.solo, audible.is_heard(&source.id)) {
            (Some(_), true) => "solo ",
            (None, false) => "muted",
            _ => "     ",
        };
        let padded = |text: &str, cells: usize| {
            let text = cut(text, cells, theme.ascii);
            format!("{text}{}", " ".repeat(cells.saturating_sub(text.width())))
        };
        let name_role = if audible.is_heard(&source.id) { colour } else { Role::TextDim };
        let gaps = if source.gaps > 0 { format::plural(u64::from(source.gaps), "gap") } else { String::new() };
        let mut spans = vec![
            Span::styled(format!("{sign} "), theme.style(role)),
            Span::styled(padded(&sanitise::text(&source.name), name_cells), theme.style(name_role)),
            Span::styled(format!(" {heard} "), theme.style(Role::TextStrong)),
            Span::styled(padded(&status_words(source, cx.now), state_cells), theme.style(role)),
            Span::raw(format!(" {:>8}", format::bytes(source.size_bytes))),
            Span::styled(format!(" {gaps:<8}"), theme.style(Role::LogGap)),
        ];
        if area.width >= ORIGIN_FROM {
            spans.push(Span::styled(format!(" {}", sanitise::text(&source.origin)), theme.style(Role::TextDim)));
        }
        list::row(theme, &Line::from(spans), Mark::of(Some(&source.id) == current, cx.focused), row, buf);
    }
    if shown.is_empty() && rows > 0 {
        let text = format!("no source has `{}` in its name or path", list.input.text());
        buf.set_stringn(area.x, area.y, text, usize::from(area.width), theme.style(Role::TextDim));
    }
    if !has_input(list) || area.is_empty() {
        return None;
    }
    let row = Rect { y: area.bottom() - 1, height: 1, ..area };
    let cursor = input::draw(theme, "/", &list.input, row, buf);
    list.typing.then_some(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::HostId;
    use crate::domain::log::LogFact;
    use crate::panes::logs::fixture::Desk;

    fn board(names: &[&str]) -> Board {
        let mut board = Board::default();
        for name in names {
            let source = SourceId::new(&HostId::new("h"), name);
            board.logs.apply(&LogFact::Opened { source, name: (*name).into(), origin: format!("/var/log/{name}") });
        }
        board
    }

    /// Records of three sources, one after the other.
    fn desk(width: u16, height: u16) -> Desk {
        let mut desk = Desk::new(width, height, &["INFO one of api"]);
        desk.append("edge", "WARN one of edge");
        desk.append("search", "INFO one of search");
        desk.append("api", "ERROR two of api");
        desk.with(|pane, cx| pane.requery(cx));
        desk
    }

    fn set_state(desk: &mut Desk, source: &str, state: SourceState) {
        let source = desk.source(source);
        desk.board.logs.apply(&LogFact::State { source, state });
    }

    #[test]
    fn a_source_whose_text_is_not_what_it_should_be_is_counted_in_the_title_and_named_in_the_list() {
        let mut desk = desk(100, 8);
        for (name, doubt) in [("edge", Doubt::Binary), ("search", Doubt::OtherFormat("till".into()))] {
            let source = desk.source(name);
            desk.board.logs.apply(&LogFact::Doubt { source, doubt: Some(doubt) });
        }
        assert!(desk.title().contains("follow · 1 binary, 1 not in its format"), "{}", desk.title());
        desk.press("S");
        let lines = desk.lines();
        assert!(lines[0].starts_with(" ! edge") && lines[0].contains("connected; binary data, shown as"), "{lines:?}");
        assert!(lines[1].contains("search") && lines[1].contains("no line is in its format `till`"), "{lines:?}");
        assert!(lines[2].contains("o api"), "{lines:?}");
        let source = desk.source("edge");
        desk.board.logs.apply(&LogFact::Doubt { source, doubt: None });
        assert!(!desk.title().contains("binary"), "{}", desk.title());
    }

    #[test]
    fn the_list_says_each_state_and_what_is_in_trouble_stands_first() {
        let mut desk = desk(90, 8);
        let next = desk.now + SignedDuration::from_secs(3);
        set_state(&mut desk, "edge", SourceState::Reconnecting { why: "connection refused".into(), next });
        set_state(&mut desk, "search", SourceState::Lagging { bytes: 1_258_291 });
        assert!(desk.title().contains("3 sources · follow · 1 reconnecting, 1 lagging"), "{}", desk.title());
        let api = desk.source("api");
        desk.board.logs.apply(&LogFact::Grew { source: api.clone(), size_bytes: 95_683_604 });
        desk.board.logs.apply(&LogFact::Gap { source: api, kind: crate::domain::log::GapKind::Rotated });
        desk.press("S s");
        insta::assert_snapshot!(desk.screen(), @r#"
        3 sources · solo api · 1 reconnecting, 1 lagging
         ! edge         reconnecting in 3 s: connection refused       0B          /var/log/edge
         ! search       lagging 1.2M                                  0B          /var/log/search
        >o api    solo  connected                                    91M 1 gap    /var/log/api
        "#);
        let mut wake = None;
        desk.with(|pane, cx| {
            wake = crate::panes::Pane::next_wake(pane, cx);
            Vec::new()
        });
        assert_eq!(wake.map(|it| it.as_second()), Some(desk.now.as_second() + 1), "the countdown moves");
    }

    #[test]
    fn a_muted_source_is_gone_from_the_rows_and_the_title_says_so() {
        let mut desk = desk(80, 8);
        desk.press("S g m");
        assert!(desk.title().contains("1 muted") && desk.lines()[0].contains("muted"), "{}", desk.screen());
        desk.press("esc");
        assert!(desk.title().contains("1 muted"), "{}", desk.title());
        assert!(!desk.screen().contains("of api") && desk.screen().contains("of edge"), "{}", desk.screen());
        desk.press("S g j m j m esc");
        assert!(desk.screen().contains("every source is muted"), "{}", desk.screen());
        desk.press("S M esc");
        assert!(desk.screen().contains("two of api") && !desk.title().contains("muted"), "{}", desk.screen());
    }

    #[test]
    fn solo_hears_one_source_until_it_is_pressed_again_or_the_source_is_gone() {
        let mut desk = desk(80, 8);
        desk.press("S g j s esc");
        assert!(desk.title().contains("solo edge") && !desk.screen().contains("of api"), "{}", desk.screen());
        desk.press("S g j s s esc");
        assert!(desk.title().contains("solo edge"), "{}", desk.title());
        let source = desk.source("edge");
        desk.with(|pane, cx| pane.source_closed(cx, &source));
        assert!(!desk.title().contains("solo") && desk.screen().contains("of api"), "{}", desk.screen());
    }

    #[test]
    fn the_list_is_narrowed_by_typing_and_enter_filters_to_a_source() {
        let mut desk = desk(80, 8);
        desk.press("S / \"EAR\" enter");
        assert!(desk.title().starts_with("1 of 3 sources"), "{}", desk.title());
        desk.press("enter");
        assert!(desk.title().contains("[source:search"), "{}", desk.title());
        assert!(desk.screen().contains("of search") && !desk.screen().contains("of api"), "{}", desk.screen());
        desk.press("S / \"edg\" enter enter");
        assert_eq!(desk.pane.chips.query(), "source:edge");
    }

    #[test]
    fn many_sources_take_the_whole_screen_and_can_be_walked() {
        let mut desk = Desk::new(80, 6, &["INFO one"]);
        for number in 0..200 {
            desk.source(&format!("worker-{number:03}"));
        }
        desk.press("S");
        assert!(crate::panes::Pane::wants_zoom(&desk.pane));
        desk.press("G");
        assert!(desk.selected().is_some_and(|it| it.contains("worker-199")), "{}", desk.screen());
        desk.press("g / \"17\" enter G m");
        assert!(desk.selected().is_some_and(|it| it.contains("worker-179")), "{}", desk.screen());
        desk.press("esc esc");
        assert!(!crate::panes::Pane::captures_keys(&desk.pane));
    }

    #[test]
    fn few_sources_never_share_a_colour_and_joining_changes_none() {
        let few = board(&["edge", "api", "search", "storage", "auth"]);
        let more = board(&["edge", "api", "search", "storage", "auth", "x", "y", "z"]);
        let before = colours(&few);
        let distinct: std::collections::HashSet<Role> = before.values().copied().collect();
        assert_eq!(distinct.len(), 5);
        for (source, role) in &before {
            assert_eq!(colours(&more).get(source), Some(role), "{source:?}");
        }
    }

    #[test]
    fn muting_ends_a_solo_and_solo_hears_one_source() {
        let board = board(&["api", "edge"]);
        let (api, edge) = (&board.logs.sources[0].id, &board.logs.sources[1].id);
        let mut audible = Audible::default();
        audible.mute(api);
        assert_eq!(audible.asked(), (vec![], vec![api.clone()]));
        assert_eq!(audible.words(&board).as_deref(), Some("1 muted"));
        audible.solo(api);
        assert_eq!(audible.asked(), (vec![api.clone()], vec![]));
        assert_eq!(audible.words(&board).as_deref(), Some("solo api"));
        audible.solo(api);
        audible.mute(edge);
        assert!(audible.is_silent(&board));
        audible.mute(api);
        audible.mute(edge);
        assert_eq!(audible, Audible::default());
    }

    #[test]
    fn states_are_said_in_words() {
        let now = Timestamp::from_second(100).unwrap();
        let next = Timestamp::from_second(103).unwrap();
        let say = |state| state_words(&state, now);
        assert_eq!(say(SourceState::Connected), "connected");
        assert_eq!(
            say(SourceState::Reconnecting { why: "connection refused".into(), next }),
            "reconnecting in 3 s: connection refused"
        );
        assert_eq!(say(SourceState::Reconnecting { why: "eof".into(), next: now }), "reconnecting now: eof");
        assert_eq!(say(SourceState::Lagging { bytes: 1_258_291 }), "lagging 1.2M");
        assert_eq!(say(SourceState::Failed("no\x1b[31m".into())), "failed: no");
    }
}
