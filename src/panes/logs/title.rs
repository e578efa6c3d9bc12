//! The title row: where the reader is, the chips, how much matches.

use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::domain::format;
use crate::domain::sanitise;
use crate::panes::Context;
use crate::panes::logs::LogsPane;
use crate::panes::logs::chip_bar::{self, SHORT_CHIP_CELLS, Shape};
use crate::panes::logs::feed::Want;
use crate::panes::logs::motion::Reading;
use crate::panes::logs::sources;
use crate::theme::Theme;
use crate::theme::role::Role;

/// Cells of a chip in a crowded title row.
const CHIP_CELLS: usize = 14;

/// What stands after the pane's word, in so many cells.
pub fn line(pane: &LogsPane, cx: &Context<'_>, theme: &Theme, room: usize) -> Line<'static> {
    let state = Span::raw(state(pane, cx, theme));
    let names = names(cx);
    let counts = chip_bar::total(pane, theme);
    let total = all_records(pane, theme);
    let place = place(pane);
    // What hides lines, and what fails, is never left out.
    let trouble = [sources::trouble_words(cx.board)].into_iter().filter(|it| !it.is_empty());
    let without = pane.feed.without.as_ref().map(|it| format!("without {}", sanitise::text(it)));
    let notable: Vec<String> = pane.audible.words(cx.board).into_iter().chain(trouble).chain(without).collect();
    if let Some(words) = pane.histogram_words(cx, theme) {
        let spans = [Span::styled(words, theme.style(Role::TextStrong)), Span::raw(separator(theme)), state];
        return Line::from(spans.to_vec());
    }
    if let Some(list) = &pane.list {
        return Line::from(list.title(cx.board, &notable, separator(theme)));
    }
    let build = |with_total: bool, with_sources: bool, shape: Shape| {
        let mut spans = Vec::new();
        if with_sources && !names.is_empty() {
            spans.extend([Span::raw(names.clone()), Span::raw(separator(theme))]);
        }
        spans.push(state.clone());
        for it in &notable {
            spans.extend([Span::raw(separator(theme)), Span::styled(it.clone(), theme.style(Role::NoticeWarn))]);
        }
        if let Some(place) = &place {
            spans.extend([Span::raw(separator(theme)), Span::styled(place.clone(), theme.style(Role::Chip))]);
        }
        let chips = chip_bar::chips(pane, cx, theme, shape).into_iter().flat_map(|it| [Span::raw(" "), it]);
        let counts = (!counts.is_empty()).then(|| Span::raw(format!(" {counts}")));
        match shape {
            // The end of the row is cut off.
            Shape::One => spans.extend(counts.into_iter().chain(chips)),
            _ => spans.extend(chips.chain(counts)),
        }
        if with_total && !total.is_empty() {
            spans.extend([Span::raw(separator(theme)), Span::raw(total.clone())]);
        }
        spans
    };
    // What says least goes first when the row is narrow. How much matches says more than a chip's whole text.
    for (with_total, with_sources, shape) in [
        (true, true, Shape::Counted),
        (false, true, Shape::Counted),
        (false, false, Shape::Counted),
        (false, false, Shape::Whole),
        (false, false, Shape::Plain(usize::MAX)),
        (false, false, Shape::Plain(CHIP_CELLS)),
        (false, false, Shape::Plain(SHORT_CHIP_CELLS)),
        (false, false, Shape::Number),
    ] {
        let spans = build(with_total, with_sources, shape);
        if spans.iter().map(|it| it.content.width()).sum::<usize>() <= room {
            return Line::from(spans);
        }
    }
    Line::from(build(false, false, Shape::One))
}

fn separator(theme: &Theme) -> &'static str {
    if theme.ascii { " - " } else { " · " }
}

fn state(pane: &LogsPane, cx: &Context<'_>, theme: &Theme) -> String {
    let mut text = match &pane.reading {
        Reading::Following => match &pane.away {
            Some(away) => format!("until {}", format::moment(cx.now, away.at, cx.zone)),
            None => "follow".to_string(),
        },
        Reading::Paused(_) if pane.feed.new == 0 => "paused".to_string(),
        Reading::Paused(_) => {
            let sign = if pane.feed.new_more { "over " } else { "+" };
            format!("paused {sign}{} new", format::count_short(pane.feed.new))
        }
    };
    if pane.selection.is_some() {
        text.push_str(separator(theme));
        text.push_str(&pane.selected_count().map_or("selecting".to_string(), |it| format!("{it} selected")));
    }
    if let Some((records, _)) = pane.exporting {
        text.push_str(separator(theme));
        text.push_str(&format!("writing {}", format::count_short(records)));
        text.push_str(if theme.ascii { "..." } else { "…" });
    }
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

fn names(cx: &Context<'_>) -> String {
    match cx.board.logs.sources.as_slice() {
        [] => String::new(),
        [only] => sanitise::text(&only.name),
        many => format::plural(many.len() as u64, "source"),
    }
}

/// `9.1M records`, or how far the count is; nothing while a filter says more.
fn all_records(pane: &LogsPane, theme: &Theme) -> String {
    let counts = pane.feed.counts;
    let is_filtered = pane.detour.is_none() && pane.chips.active() > 0;
    if is_filtered || counts.matched == 0 {
        return String::new();
    }
    let dots = if theme.ascii { "..." } else { "…" };
    if counts.complete {
        let noun = if counts.matched == 1 { "record" } else { "records" };
        return format!("{} {noun}", format::count_short(counts.matched));
    }
    let percent = u128::from(counts.scanned_bytes) * 100 / u128::from(counts.total_bytes.max(1));
    format!("{} records{dots} {}%", format::count_short(counts.matched), percent.min(99))
}
