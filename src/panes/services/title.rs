//! The title: the order of the rows, how many are in which state, and what the pane has no row for.

use ratatui::text::{Line, Span};

use crate::domain::probe::health::Health;
use crate::panes::Context;
use crate::panes::services::{COUNTED, ServicesPane};
use crate::theme::Theme;
use crate::theme::role::Role;

/// What is left out where there is little room: with each step the next of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Without {
    Nothing,
    /// What the order is by.
    Order,
    /// How many have no row, where some of them are red: how many those are says more.
    All,
    /// How many are well.
    Well,
}

/// What the title says, counted once however often it is laid out.
struct Parts {
    /// How many are as each of [`COUNTED`].
    counts: Vec<usize>,
    lost: usize,
    all: usize,
    /// How many pass the filter, when there is one.
    kept: Option<usize>,
    /// Rows below the last that is shown, and those of them that are red.
    below: usize,
    red_below: usize,
}

impl ServicesPane {
    /// What stands in the title: as much of it as has room, and how many are red in any case.
    pub(super) fn counts(&self, cx: &Context<'_>, theme: &Theme, room: usize) -> Line<'static> {
        if cx.board.probes.is_empty() {
            return Line::default();
        }
        let parts = self.parts(cx);
        let line = |without| self.line(theme, &parts, without);
        let shorter = [Without::Nothing, Without::Order, Without::All].into_iter().map(line);
        shorter.into_iter().find(|it| it.width() <= room).unwrap_or_else(|| line(Without::Well))
    }

    /// How many probes there are below the last row that is shown, and how many of them are red.
    fn below(&self, cx: &Context<'_>) -> (usize, usize) {
        let rows = self.rows(cx);
        let reasons: usize = self.more_rows(cx, &rows).iter().sum();
        let shown = self.list_height(cx).saturating_sub(reasons);
        if shown == 0 || self.detail.is_some() {
            return (0, 0);
        }
        let below = rows.get(self.top + shown..).unwrap_or_default();
        below.iter().fold((0, 0), |(all, red), row| {
            let (of_row, red_of_row) = row.stands_for(cx.board);
            (all + of_row, red + red_of_row)
        })
    }

    fn parts(&self, cx: &Context<'_>) -> Parts {
        let board = cx.board;
        let (below, red_below) = self.below(cx);
        Parts {
            counts: COUNTED.iter().map(|(health, ..)| board.count(*health)).collect(),
            lost: board.probes.len() - board.live_probes().count(),
            all: board.probes.len(),
            kept: (!self.arrangement.filter.is_empty()).then(|| self.arrangement.probes(board).len()),
            below,
            red_below,
        }
    }

    fn line(&self, theme: &Theme, parts: &Parts, without: Without) -> Line<'static> {
        let dim = theme.style(Role::TextDim);
        let mut counts = Vec::new();
        for ((health, word, role), count) in COUNTED.iter().zip(&parts.counts) {
            if *count > 0 && (*health != Health::Up || without < Without::Well) {
                counts.push((format!("{count} {word}"), *role));
            }
        }
        if parts.lost > 0 {
            counts.push((format!("{} of lost hosts", parts.lost), Role::ProbeUnknown));
        }
        let with_order = without < Without::Order;
        let mut spans = Vec::new();
        if with_order {
            spans.push(Span::styled(format!("{} (", self.arrangement.sort.words()), dim));
        }
        for (at, (text, role)) in counts.into_iter().enumerate() {
            if at > 0 {
                spans.push(Span::styled(", ", dim));
            }
            spans.push(Span::styled(text, theme.style(role)));
        }
        if with_order {
            spans.push(Span::styled(")", dim));
        }
        // What the pane has no row for must not look as if it were not there.
        if let Some(kept) = parts.kept {
            spans.push(Span::raw(" "));
            spans.push(Span::styled(format!("[{}]", self.arrangement.filter.text()), theme.style(Role::Chip)));
            spans.push(Span::styled(format!(" {kept} of {}", parts.all), dim));
        }
        let dot = if theme.ascii { "-" } else { "·" };
        match (parts.below, parts.red_below) {
            (0, _) => {}
            (_, red @ 1..) if without >= Without::All => {
                spans.push(Span::styled(format!(" {dot} "), dim));
                spans.push(Span::styled(format!("{red} red below"), theme.style(Role::ProbeDown)));
            }
            (all, red) => {
                spans.push(Span::styled(format!(" {dot} {all} more below"), dim));
                if red > 0 {
                    spans.push(Span::styled(format!(", {red} red"), theme.style(Role::ProbeDown)));
                }
            }
        }
        Line::from(spans)
    }
}
