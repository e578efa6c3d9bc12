//! What stands in which row of the header, by priority: what is red first, and nothing that matters is cut.
//!
//! Pure: model and size give rows. The layout asks how many there are, the view draws them. Pieces flow over as few
//! rows as hold everything that matters; what matters less is left out before what matters more is cut.

use unicode_width::UnicodeWidthStr;

use crate::app::model::Model;
use crate::app::summary::{self, FirstRed, Piece};
use crate::app::ways;
use crate::domain::sanitise;
use crate::theme::role::Role;
use crate::widgets::wrap;

/// Screens of fewer rows have one row for everything.
const ONE_ROW_BELOW: u16 = 14;
/// Screens of fewer rows have one row and a banner of one.
const FULL_FROM: u16 = 20;
/// Rows that all but the incident may take.
const ROWS_MAX: usize = 2;
/// Rows of a banner on a screen that has room for it: the cause, what to do, and when it is tried again.
const BANNER_ROWS_MAX: usize = 2;
/// Cells that a piece keeps when it gives way: less says nothing.
const FLEXIBLE_MIN: usize = 12;
/// Cells that a reason must gain before it takes the place of its word.
const REASON_MIN: usize = 16;
/// Blanks between two pieces.
const GAP: usize = 2;

/// The header, row by row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strip {
    /// The rows above the banner.
    pub rows: Vec<Row>,
    /// The rows of the banner; none when nothing stands in the way.
    pub banner: Vec<String>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The ground it stands on.
    pub role: Role,
    /// Its pieces, from the left.
    pub pieces: Vec<Piece>,
    /// What stands at its right end.
    pub corner: Option<String>,
}

/// A piece, and what becomes of it when there is little room.
#[derive(Debug, Clone)]
struct Item {
    role: Role,
    text: String,
    keep: Keep,
    /// May be cut down to `FLEXIBLE_MIN`.
    flexible: bool,
}

/// What is left out first, to what is never left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Keep {
    /// Good to know, where a row has room for it.
    Filler,
    /// Worth the rest of a row, and no row of its own.
    Detail,
    /// Worth a row of its own.
    News,
    /// Cut before it is left out.
    Always,
}

impl Item {
    fn new(keep: Keep, (role, text): Piece) -> Self {
        Self { role, text: sanitise::text(&text), keep, flexible: false }
    }

    fn flexible(keep: Keep, piece: Piece) -> Self {
        Self { flexible: true, ..Self::new(keep, piece) }
    }

    fn cells(&self) -> usize {
        self.text.width()
    }
}

/// The header of a screen of this size.
pub fn strip(model: &Model) -> Strip {
    let (width, height) = model.size();
    let width = usize::from(width);
    let banner_rows = match height {
        // There is one row; what is lost needs it more than what was red then.
        0..ONE_ROW_BELOW if ways::is_lost(model) && model.past.at().is_none() => 1,
        0..ONE_ROW_BELOW => 0,
        ONE_ROW_BELOW..FULL_FROM => 1,
        _ => BANNER_ROWS_MAX,
    };
    let banner = if model.past.at().is_some() { None } else { summary::banner(model) };
    let banner = banner.filter(|_| banner_rows > 0).map_or_else(Vec::new, |it| banner_lines(&it, width, banner_rows));
    let mut strip = Strip { rows: Vec::new(), banner };
    if height < ONE_ROW_BELOW && !strip.banner.is_empty() {
        return strip;
    }
    let incident = summary::incident(model);
    let mut items = Vec::new();
    if model.readonly() {
        items.push(Item::new(Keep::Always, (Role::NoticeWarn, "read-only".to_string())));
    }
    let is_full = height >= FULL_FROM;
    if !incident.is_empty() && is_full {
        let row = fit(items, incident_items(incident), width);
        strip.rows.push(Row { role: Role::HeaderIncident, pieces: row, corner: None });
        items = Vec::new();
    } else if !incident.is_empty() {
        // In one row with everything what is red comes before how the incident is called.
        let keep = [Keep::Always, Keep::Detail];
        items.extend(incident.into_iter().zip(keep).map(|(it, keep)| Item::new(keep, it)));
    } else if model.board.first_red().is_none() {
        items.push(Item::new(Keep::Filler, (Role::HeaderStrong, "hotseat".to_string())));
    }
    let first = items.len();
    items.extend(services(model));
    if items.len() == first && ways::all_known(model) && model.board.standby.is_none() {
        items.push(Item::new(Keep::Detail, (Role::Header, "no probes are configured".to_string())));
    }
    if model.fleet.is_of_several() && is_full {
        items.extend(summary::hosts(model, width).into_iter().map(|it| {
            let keep = if it.0 == Role::ProbeUp { Keep::Detail } else { Keep::News };
            Item::new(keep, it)
        }));
    }
    let rows_max = if is_full { ROWS_MAX } else { 1 };
    strip.rows.extend(flowing(model, items, width, rows_max));
    corner(model, &mut strip.rows, width);
    strip
}

/// Rows of the header.
pub fn rows(model: &Model) -> u16 {
    let strip = strip(model);
    let past = u16::from(model.past.at().is_some() && model.size().1 >= ONE_ROW_BELOW);
    u16::try_from(strip.rows.len() + strip.banner.len()).unwrap_or(u16::MAX).saturating_add(past).max(1)
}

/// What is red and what went first, what else is the matter, who is here, how much is well.
fn services(model: &Model) -> Vec<Item> {
    let mut items = Vec::new();
    let summary = summary::services(model);
    items.extend(summary.red.map(|it| Item::new(Keep::Always, it)));
    if let Some(it) = &summary.first {
        items.push(Item::flexible(Keep::Always, (Role::HeaderStrong, it.text(&it.word))));
    }
    // That somebody was not told is never left out; why may be.
    items.extend(summary.unsent.map(|it| Item::new(Keep::Always, it)));
    items.extend(summary.failing.map(|it| Item::flexible(Keep::News, it)));
    items.extend(summary.seen.map(|it| Item::new(Keep::Detail, it)));
    items.extend(summary.other.into_iter().map(|it| Item::new(Keep::News, it)));
    if let Some(company) = model.company() {
        items.push(Item::new(Keep::Always, (Role::HeaderStrong, company.names)));
    }
    items.extend(summary.up.map(|it| Item::new(Keep::Filler, it)));
    items
}

fn incident_items(incident: Vec<Piece>) -> Vec<Item> {
    // Severity, name, title, how long, status, impact, how many more.
    let keep = [Keep::Always, Keep::News, Keep::Always, Keep::Always, Keep::News, Keep::Filler, Keep::News];
    let items = incident.into_iter().zip(keep).enumerate();
    items.map(|(at, (it, keep))| Item { flexible: at == 2, ..Item::new(keep, it) }).collect()
}

/// One row: what matters least is left out, then the title is cut.
fn fit(before: Vec<Item>, items: Vec<Item>, width: usize) -> Vec<Piece> {
    let mut items = [before, items].concat();
    settle(&mut items, width, 1);
    // How it is called is cut before its name and its state are left out.
    cut(&mut items, width, 1, |_| true);
    drop_news(&mut items, width, 1);
    items.into_iter().map(|it| (it.role, it.text)).collect()
}

/// Lets pieces flow over as few rows as hold what matters.
fn flowing(model: &Model, items: Vec<Item>, width: usize, rows_max: usize) -> Vec<Row> {
    let mut rows_needed = rows_max;
    for rows in 1..=rows_max {
        if has_room(&items, width, rows) {
            rows_needed = rows;
            break;
        }
    }
    let mut items = items;
    if flow(&items, width).len() > rows_needed
        && let Some(company) = model.company()
        && let Some(at) = items.iter().position(|it| it.text == sanitise::text(&company.names))
    {
        // Names before where they look, and how many before whom, when not even the news have room.
        for text in [company.people, company.count] {
            if has_room(&items, width, rows_needed) {
                break;
            }
            items[at].text = sanitise::text(&text);
        }
    }
    if let Some(first) = summary::services(model).first
        && !has_room(&items, width, rows_needed)
        && let Some(it) = items.iter_mut().find(|it| it.text == first.text(&first.word))
    {
        // Since when it is so stands in its row as well.
        it.text = format!("{} {}", first.name, first.word);
    }
    settle(&mut items, width, rows_needed);
    // What is red, and why, is cut when nothing else is left to give.
    cut(&mut items, width, rows_needed, |it| it.keep == Keep::News);
    drop_news(&mut items, width, rows_needed);
    cut(&mut items, width, rows_needed, |_| true);
    widen(model, &mut items, width, rows_needed);
    let rows = flow(&items, width);
    let rows = rows.into_iter().map(|row| {
        let pieces = row.into_iter().map(|at| (items[at].role, items[at].text.clone())).collect();
        Row { role: Role::Header, pieces, corner: None }
    });
    let rows: Vec<Row> = rows.take(rows_max).collect();
    if rows.is_empty() { vec![Row { role: Role::Header, pieces: Vec::new(), corner: None }] } else { rows }
}

/// True when so many rows hold all that is news.
fn has_room(items: &[Item], width: usize, rows: usize) -> bool {
    let news: Vec<Item> = items.iter().filter(|it| it.keep > Keep::Detail).cloned().collect();
    flow(&news, width).len() <= rows
}

/// Leaves out what is no news until the pieces fit into so many rows.
fn settle(items: &mut Vec<Item>, width: usize, rows: usize) {
    for keep in [Keep::Filler, Keep::Detail] {
        while flow(items, width).len() > rows {
            let Some(at) = items.iter().rposition(|it| it.keep == keep) else { break };
            items.remove(at);
        }
    }
}

/// Cuts those that may be cut until the pieces fit into so many rows.
fn cut(items: &mut [Item], width: usize, rows: usize, which: impl Fn(&Item) -> bool) {
    for at in (0..items.len()).rev() {
        let may_be_cut = items[at].flexible && which(&items[at]);
        while flow(items, width).len() > rows && may_be_cut && items[at].cells() > FLEXIBLE_MIN {
            items[at].text = wrap::cut(&items[at].text, items[at].cells() - 1, false);
        }
    }
}

/// Leaves out news, the last first, until the pieces fit into so many rows.
fn drop_news(items: &mut Vec<Item>, width: usize, rows: usize) {
    while flow(items, width).len() > rows {
        let Some(at) = items.iter().rposition(|it| it.keep == Keep::News) else { break };
        items.remove(at);
    }
}

/// Says what failed first in a sentence where the rows have room for it: whole, else as much as they have.
fn widen(model: &Model, items: &mut [Item], width: usize, rows: usize) {
    let Some(first) = summary::services(model).first else { return };
    let Some(at) = items.iter().position(|it| it.text == sanitise::text(&first.text(&first.word))) else { return };
    let short = std::mem::take(&mut items[at].text);
    let least = first.word.width() + REASON_MIN;
    for cells in (least..=first.words.width().min(width)).rev() {
        items[at].text = sanitise::text(&first.text(&wrap::cut(&first.words, cells, false)));
        if flow(items, width).len() <= rows {
            return;
        }
    }
    items[at].text = short;
}

/// Which pieces stand in which row.
fn flow(items: &[Item], width: usize) -> Vec<Vec<usize>> {
    let mut rows: Vec<Vec<usize>> = Vec::new();
    let mut used = 0;
    for (at, it) in items.iter().enumerate() {
        match rows.last_mut() {
            Some(row) if used + GAP + it.cells() < width => {
                row.push(at);
                used += GAP + it.cells();
            }
            _ => {
                rows.push(vec![at]);
                used = it.cells();
                if used >= width {
                    // It is longer than a row: one row too many says so.
                    rows.push(Vec::new());
                }
            }
        }
    }
    rows
}

/// Puts who watches at the end of the first row that has room. Whole or not at all: it is no news.
fn corner(model: &Model, rows: &mut [Row], width: usize) {
    let Some(text) = ways::corner(model) else { return };
    let text = sanitise::text(&text);
    let used = |row: &Row| row.pieces.iter().map(|(_, text)| text.width() + GAP).sum::<usize>() + 1;
    if let Some(row) = rows.iter_mut().find(|it| used(it) + text.width() < width) {
        row.corner = Some(text);
    }
}

/// The banner in rows, with room for its mark.
fn banner_lines(text: &str, width: usize, rows_max: usize) -> Vec<String> {
    let room = width.saturating_sub(4).max(1);
    let text = sanitise::text(text);
    let mut rows = wrap::wrap_at_blanks(&text, room);
    if rows.len() > rows_max {
        let rest = rows.split_off(rows_max - 1).join(" ");
        rows.push(rest);
    }
    rows
}

impl FirstRed {
    fn text(&self, reason: &str) -> String {
        format!("{}{} {reason} {}", self.first, self.name, self.since).trim_end().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(width: usize, settle_them: impl Fn(&mut Vec<Item>, usize)) -> Vec<String> {
        let item = |keep, text: &str| Item::new(keep, (Role::Header, text.to_string()));
        let mut items = vec![
            item(Keep::Always, "x 6 of 41 red"),
            Item { flexible: true, ..item(Keep::Always, "first storage-a refused") },
            item(Keep::Always, "! 3 unsent"),
            Item { flexible: true, ..item(Keep::News, "x chat fails: 502 Bad Gateway") },
            item(Keep::News, "! 2 degraded"),
            item(Keep::Filler, "33 ok"),
        ];
        settle_them(&mut items, width);
        items.into_iter().map(|it| it.text).collect()
    }

    #[test]
    fn why_something_is_red_is_cut_after_all_else_has_given_way() {
        let one_row = |items: &mut Vec<Item>, width: usize| {
            settle(items, width, 1);
            cut(items, width, 1, |it| it.keep == Keep::News);
            drop_news(items, width, 1);
            cut(items, width, 1, |_| true);
        };
        let whole = ["x 6 of 41 red", "first storage-a refused", "! 3 unsent"];
        assert_eq!(shown(60, one_row), whole);
        let wider = shown(80, one_row);
        assert!(wider[..3] == whole && wider[3].starts_with("x chat fails"), "{wider:?}");
        let narrow = shown(45, one_row);
        assert!(
            narrow[1].starts_with("first stora") && narrow[1].ends_with('…') && narrow[2] == whole[2],
            "{narrow:?}"
        );
    }
}
