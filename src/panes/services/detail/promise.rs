//! What is promised of a probe and how fast its error budget goes; what is usual of it, and whether it flaps.

use ratatui::text::Span;

use crate::domain::format;
use crate::domain::probe::slo::Burn;
use crate::domain::probe::{ProbeState, waterfall};
use crate::panes::Context;
use crate::panes::services::detail::Page;
use crate::panes::services::detail::history::{moment, percent};
use crate::theme::role::Role;
use crate::widgets::progress;

/// What is promised and what is usual, and whether it turns to and fro.
pub(super) fn promise(cx: &Context<'_>, page: &mut Page<'_>, state: &ProbeState) {
    if let Some(report) = state.slo() {
        let over = format::span(report.slo.over);
        page.heading(&format!("promise: {} good over {over}", percent(report.slo.share)));
        let left = report.left;
        let words = format!(
            "{} of {} bad time used, {} left",
            format::duration(report.bad),
            format::duration(report.budget),
            if left < 0.0 { "nothing is".to_string() } else { percent(left) },
        );
        let role = if left <= 0.0 { Role::ProbeDown } else { Role::Text };
        let mut bar = progress::bar(page.theme, (1.0 - left).clamp(0.0, 1.0), page.room().min(20));
        bar.push(Span::styled(format!(" {}", percent((1.0 - left).max(0.0))), page.theme.style(role)));
        page.drawn("budget", bar);
        page.field("", &words, role);
        for burn in &report.burns {
            let role = if burn.fires { Role::ProbeDown } else { Role::Text };
            page.field(if burn.fires { "! burns" } else { "burns" }, &burn_words(burn), role);
        }
    }
    let flapping = state.flapping();
    let band = state.band(cx.now);
    if flapping.is_none() && band.is_none() {
        return;
    }
    page.heading("habits");
    if let Some(since) = flapping {
        page.field("! flapping", &format!("since {}: its turns are not told", moment(cx, since)), Role::ProbeDegraded);
    }
    if let Some(band) = band {
        let (usual, top) = (waterfall::precise(band.usual), waterfall::precise(band.top));
        page.field("usual", &format!("{usual} at this hour of the week, up to {top}"), Role::Text);
    }
}

fn burn_words(burn: &Burn) -> String {
    let times = |it: Option<f64>| it.map_or_else(|| "?".to_string(), |it| format!("{it:.1}×"));
    let windows = format!("{}/{}", format::span(burn.long), format::span(burn.short));
    let now = format!("{} and {}", times(burn.over_long), times(burn.over_short));
    let rings = if burn.fires { "rings" } else { "rings at" };
    format!("{windows}: {now}, {rings} {:.1}×, {}", burn.factor, format::plural(u64::from(burn.count), "bad result"))
}
