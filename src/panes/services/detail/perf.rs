//! Performance data over the last runs: a small graph for each value, with the end of its range as a line across.

use ratatui::text::Line;

use crate::domain::format;
use crate::domain::probe::ProbeState;
use crate::domain::probe::outcome::{Outcome, Perf};
use crate::domain::probe::perfdata::Range;
use crate::domain::sanitise;
use crate::panes::Context;
use crate::panes::services::detail::Page;
use crate::theme::role::Role;
use crate::widgets::graph::{self, Bar, Graph};

/// Rows of one graph.
const GRAPH_ROWS: usize = 3;
/// Graphs: what a plugin says beyond that is read in the evidence.
const GRAPHS_MAX: usize = 8;

/// A graph for each value that the newest run with any of them has.
pub(super) fn graphs(cx: &Context<'_>, page: &mut Page<'_>, state: &ProbeState) {
    let runs: Vec<&Outcome> = state.outcomes.iter().map(AsRef::as_ref).collect();
    let Some(newest) = runs.iter().rev().find(|it| !it.evidence.perf.is_empty()) else { return };
    // One run is read in the evidence; a graph is of several.
    let from = runs.iter().find(|it| !it.evidence.perf.is_empty()).filter(|it| it.at != newest.at);
    let Some(from) = from else { return };
    let span = format::age(format::since(newest.at, from.at));
    page.heading(&format!("values over the last {}, {span}", format::plural(runs.len() as u64, "run")));
    for perf in newest.evidence.perf.iter().take(GRAPHS_MAX) {
        graph_of(page, perf, &runs);
    }
    let more = newest.evidence.perf.len().saturating_sub(GRAPHS_MAX);
    if more > 0 {
        page.plain(&format!("and {} without a graph", format::plural(more as u64, "value")), Role::TextDim);
    }
    let is_old = state.last().is_some_and(|it| it.at != newest.at);
    if is_old {
        let at = format::moment(cx.now, newest.at, cx.zone);
        page.plain(&format!("the newest of them is of {at}: later runs gave none"), Role::NoticeWarn);
    }
}

fn graph_of(page: &mut Page<'_>, perf: &Perf, runs: &[&Outcome]) {
    let value = |run: &&Outcome| run.evidence.perf.iter().find(|it| it.label == perf.label).map(|it| it.value);
    let values: Vec<Option<f64>> = runs.iter().map(value).collect();
    let known = || values.iter().flatten().copied();
    let (least, most) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    let alerts =
        |range: &Option<String>| range.as_deref().and_then(Range::parse).is_some_and(|it| it.alerts(perf.value));
    let (mark, role) = match (alerts(&perf.crit), alerts(&perf.warn)) {
        (true, _) => ("x ", Role::ProbeDown),
        (_, true) => ("! ", Role::ProbeDegraded),
        _ => ("", Role::Text),
    };
    let unit = &perf.unit;
    let (now, least, most) = (format::amount(perf.value), format::amount(least), format::amount(most));
    let text = format!("{mark}{}  {now}{unit}, from {least} to {most}", perf.label);
    page.plain(&sanitise::text(&text), role);
    let bars: Vec<Bar> = values.iter().map(|it| Bar { body: it.map(|it| it.max(0.0)), top: None }).collect();
    // The line where trouble begins, unless it is so far up that the values would be flat.
    let end = |range: &Option<String>| range.as_deref().and_then(Range::parse).and_then(|it| it.upper());
    let near = |it: &f64| *it > 0.0 && known().any(|value| value * 4.0 >= *it);
    let limit = end(&perf.warn).or_else(|| end(&perf.crit)).filter(near);
    let graph = Graph { bars: &bars, limit, label: format::amount };
    let lines: Vec<Line<'static>> = graph::lines(page.theme, &graph, page.width, GRAPH_ROWS);
    page.lines.extend(lines);
}
