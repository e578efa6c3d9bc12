//! What the pane says in words: gaps, empty states, names.

use crate::domain::board::Board;
use crate::domain::format;
use crate::domain::ids::SourceId;
use crate::domain::log::{Gap, SourceState};
use crate::domain::log_words;
use crate::domain::query::{ChipKind, Query, advice};
use crate::domain::sanitise;
use crate::panes::logs::LogsPane;

/// Sources listed one by one when there is nothing else to show.
const LISTED_MAX: usize = 5;

/// The name under which a source is shown.
pub fn source_name<'a>(board: &'a Board, source: &'a SourceId) -> &'a str {
    board.logs.get(source).map_or_else(|| source.name(), |it| it.name.as_str())
}

/// What a gap row says.
pub fn gap(board: &Board, gap: &Gap) -> String {
    log_words::gap(source_name(board, &gap.position.source), &gap.kind)
}

/// What stands in the body when there is no row to show.
pub fn empty(pane: &LogsPane, board: &Board) -> Vec<String> {
    let sources = &board.logs.sources;
    if sources.is_empty() {
        return vec![
            "no log sources".to_string(),
            "name files on the command line, or add a [[log]] entry to the config (`hotseat init` writes one)"
                .to_string(),
        ];
    }
    if !pane.rows().loaded {
        return vec!["reading …".to_string()];
    }
    if pane.audible.is_silent(board) {
        return vec!["every source is muted: `S` lists them, `M` there unmutes all".to_string()];
    }
    if pane.detour.is_none() && !pane.chips.query().is_empty() {
        return nothing_matches(pane, board);
    }
    let mut lines = Vec::new();
    for source in sources.iter().take(LISTED_MAX) {
        let state = match &source.state {
            SourceState::Connected => "no lines yet".to_string(),
            SourceState::Waiting(why) => format!("waiting: {why}"),
            SourceState::Reconnecting { why, .. } => format!("reconnecting: {why}"),
            SourceState::Lagging { bytes } => format!("lagging {}", format::bytes(*bytes)),
            SourceState::Ended => "ended without a line".to_string(),
            SourceState::Failed(why) => format!("failed: {why}"),
        };
        lines.push(sanitise::text(&format!("{} ({}): {state}", source.name, source.origin)));
    }
    if sources.len() > LISTED_MAX {
        lines.push(format!("and {} more", format::plural((sources.len() - LISTED_MAX) as u64, "source")));
    }
    lines
}

/// Names a source that a chip asks for and nobody hears.
fn muted_source(pane: &LogsPane, board: &Board, query: &Query) -> Option<String> {
    let is_asked = |name: &str| {
        let mut asked = query.chips.iter().filter(|it| it.enabled && !it.out);
        asked.any(|it| matches!(it.kind, ChipKind::Source(_)) && advice::is_called(it, &[name]))
    };
    let sources = board.logs.sources.iter().filter(|it| !pane.audible.is_heard(&it.id));
    let name = sources.map(|it| it.name.as_str()).find(|it| is_asked(it))?;
    Some(sanitise::text(&format!("`{name}` is muted: `S` lists the sources, `M` there unmutes all")))
}

fn nothing_matches(pane: &LogsPane, board: &Board) -> Vec<String> {
    let counts = pane.feed.counts;
    let scanned = match (counts.complete, counts.scanned) {
        (_, 0) => "nothing matches".to_string(),
        (true, scanned) => format!("nothing matches in {}", format::plural(scanned, "record")),
        (false, scanned) => format!("nothing matches in {} so far …", format::plural(scanned, "record")),
    };
    let mut lines = vec![scanned];
    if let Ok(query) = Query::parse(&pane.chips.query())
        && counts.complete
    {
        let names: Vec<&str> = board.logs.sources.iter().map(|it| it.name.as_str()).collect();
        lines.extend(muted_source(pane, board, &query));
        lines.extend(advice::of(&query, &names).into_iter().take(1));
    }
    if pane.prompt.is_some() {
        return lines;
    }
    if pane.blame.is_about(&pane.chips.query()) && pane.chips.active() > 1 {
        if let Some((label, matched)) = pane.blame.worst() {
            let verb = if matched == 1 { "matches" } else { "match" };
            lines.push(format!("without [{}] {} {verb}", sanitise::text(label), format::plural(matched, "record")));
            lines.push("`C` selects a chip, space switches it off, `x` removes it".to_string());
            return lines;
        }
        if pane.blame.is_nobody() {
            lines.push("leaving out one chip is not enough: `X` removes all, `C` selects one".to_string());
            return lines;
        }
    }
    lines.push(match (pane.chips.newest().map(|it| sanitise::text(&it)), pane.chips.active()) {
        (Some(label), 1) => format!("`x` removes [{label}]"),
        (Some(label), _) => format!("`x` removes the newest chip [{label}], `C` selects another"),
        (None, _) => "`X` removes all chips".to_string(),
    });
    lines
}
