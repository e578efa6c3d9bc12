//! The title: the order of the rows, how many are in which state, and what the pane has no row for.

use ratatui::text::{Line, Span};

use crate::panes::Context;
use crate::panes::services::{COUNTED, ServicesPane};
use crate::theme::Theme;
use crate::theme::role::Role;

impl ServicesPane {
    /// What stands in the title.
    pub(super) fn counts(&self, cx: &Context<'_>, theme: &Theme) -> Line<'static> {
        let probes = &cx.board.probes;
        if probes.is_empty() {
            return Line::default();
        }
        let mut spans = vec![Span::styled(format!("{} (", self.arrangement.sort.words()), theme.style(Role::TextDim))];
        for (health, word, role) in COUNTED {
            let count = cx.board.count(*health);
            if count == 0 {
                continue;
            }
            if spans.len() > 1 {
                spans.push(Span::styled(", ", theme.style(Role::TextDim)));
            }
            spans.push(Span::styled(format!("{count} {word}"), theme.style(*role)));
        }
        let lost = probes.len() - cx.board.live_probes().count();
        if lost > 0 {
            let comma = if spans.len() > 1 { ", " } else { "" };
            spans.push(Span::styled(format!("{comma}{lost} of lost hosts"), theme.style(Role::ProbeUnknown)));
        }
        spans.push(Span::styled(")", theme.style(Role::TextDim)));
        // What the pane has no row for must not look as if it were not there.
        let dot = if theme.ascii { "-" } else { "·" };
        let filter = &self.arrangement.filter;
        if !filter.is_empty() {
            let kept = self.arrangement.probes(cx.board).len();
            spans.push(Span::raw(" "));
            spans.push(Span::styled(format!("[{}]", filter.text()), theme.style(Role::Chip)));
            spans.push(Span::styled(format!(" {kept} of {}", probes.len()), theme.style(Role::TextDim)));
        }
        let rows = self.rows(cx);
        let reasons: usize = self.more_rows(cx, &rows).iter().sum();
        let shown = self.list_height(cx).saturating_sub(reasons);
        let below = rows.get(self.top + shown..).unwrap_or_default();
        if shown > 0 && !below.is_empty() && self.detail.is_none() {
            spans.push(Span::styled(format!(" {dot} {} more below", below.len()), theme.style(Role::TextDim)));
            let red = below.iter().filter(|it| it.is_red(cx.board)).count();
            if red > 0 {
                spans.push(Span::styled(format!(", {red} red"), theme.style(Role::ProbeDown)));
            }
        }
        Line::from(spans)
    }
}
