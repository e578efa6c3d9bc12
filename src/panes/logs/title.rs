//! The title row: where the reader is, the chips, how much matches.

use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::domain::format;
use crate::domain::log::SourceState;
use crate::domain::sanitise;
use crate::panes::Context;
use crate::panes::logs::LogsPane;
use crate::panes::logs::chip_bar::{self, SHORT_CHIP_CELLS, Shape};
use crate::panes::logs::feed::Want;
use crate::panes::logs::motion::Reading;
use crate::theme::Theme;
use crate::theme::role::Role;

/// Cells that the screen keeps for itself in the title row: ` LOGS ` and, at most, `[2 zoomed]`, with the rule.
const RESERVED: usize = 21;
/// Cells of a chip in a crowded title row.
const CHIP_CELLS: usize = 14;
/// What stands after the pane's word.
pub fn line(pane: &LogsPane, cx: &Context<'_>, theme: &Theme) -> Line<'static> {
    let room = usize::from(cx.width).saturating_sub(RESERVED);
    let state = Span::raw(state(pane, theme));
    let sources = sources(cx);
    let counts = chip_bar::total(pane, theme);
    let place = place(pane);
    let build = |with_sources: bool, shape: Shape| {
        let mut spans = Vec::new();
        if with_sources && !sources.is_empty() {
            spans.extend([Span::raw(sources.clone()), Span::raw(separator(theme))]);
        }
        spans.push(state.clone());
        if let Some(place) = &place {
            spans.extend([Span::raw(separator(theme)), Span::styled(place.clone(), theme.style(Role::Chip))]);
        }
        for chip in chip_bar::chips(pane, theme, shape) {
            spans.extend([Span::raw(" "), chip]);
        }
        if !counts.is_empty() {
            spans.push(Span::raw(format!(" {counts}")));
        }
        spans
    };
    // What says least goes first when the row is narrow. How much matches says more than a chip's whole text.
    for (with_sources, shape) in [
        (true, Shape::Counted),
        (false, Shape::Counted),
        (false, Shape::Whole),
        (false, Shape::Plain(usize::MAX)),
        (false, Shape::Plain(CHIP_CELLS)),
        (false, Shape::Plain(SHORT_CHIP_CELLS)),
    ] {
        let spans = build(with_sources, shape);
        if spans.iter().map(|it| it.content.width()).sum::<usize>() <= room {
            return Line::from(spans);
        }
    }
    Line::from(build(false, Shape::Number))
}

fn separator(theme: &Theme) -> &'static str {
    if theme.ascii { " - " } else { " · " }
}

fn state(pane: &LogsPane, theme: &Theme) -> String {
    let mut text = match &pane.reading {
        Reading::Following => "follow".to_string(),
        Reading::Paused(_) if pane.feed.new == 0 => "paused".to_string(),
        Reading::Paused(_) => {
            let sign = if pane.feed.new_more { "over " } else { "+" };
            format!("paused {sign}{} new", format::count_short(pane.feed.new))
        }
    };
    if matches!(pane.feed.page.want, Some(Want::Jump)) {
        text.push_str(separator(theme));
        text.push_str(if theme.ascii { "searching..." } else { "searching…" });
    }
    text
}

fn place(pane: &LogsPane) -> Option<String> {
    if pane.detour.is_some() {
        return Some("all records".to_string());
    }
    (pane.context > 0 && pane.chips.active() > 0).then(|| format!("±{} lines", pane.context))
}

fn sources(cx: &Context<'_>) -> String {
    let sources = &cx.board.logs.sources;
    let failed = sources.iter().filter(|it| matches!(it.state, SourceState::Failed(_))).count();
    let waiting = sources.iter().filter(|it| matches!(it.state, SourceState::Waiting(_))).count();
    let mut text = match sources.as_slice() {
        [] => return String::new(),
        [only] => sanitise::text(&only.name),
        many => format::plural(many.len() as u64, "source"),
    };
    if failed > 0 {
        text.push_str(&format!(", {failed} failed"));
    }
    if waiting > 0 {
        text.push_str(&format!(", {waiting} waiting"));
    }
    text
}
