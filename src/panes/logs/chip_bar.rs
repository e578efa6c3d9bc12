//! The chips as the title row shows them, with what each of them leaves.

use ratatui::text::Span;
use unicode_width::UnicodeWidthStr;

use crate::domain::format;
use crate::domain::log::ChipCount;
use crate::domain::query::Chip;
use crate::domain::sanitise;
use crate::panes::logs::LogsPane;
use crate::theme::Theme;
use crate::theme::role::Role;

/// Cells of a chip where many stand side by side.
pub const SHORT_CHIP_CELLS: usize = 7;

/// How the chips are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// With how much each leaves, and a cross that says that they can be removed.
    Counted,
    /// With the cross.
    Whole,
    /// Without it, cut to so many cells.
    Plain(usize),
    /// How many there are, and the selected one.
    Number,
    /// The selected one without its count, or how many there are.
    One,
}

/// The chips of the pane, one span each.
pub fn chips(pane: &LogsPane, theme: &Theme, shape: Shape) -> Vec<Span<'static>> {
    let all = pane.chips.all();
    if matches!(shape, Shape::Number | Shape::One) && !all.is_empty() {
        let selected = pane.chips.selected().and_then(|at| Some(chip(pane, theme, shape, at, all.get(at)?)));
        let text = format!("[{}]", format::plural(all.len() as u64, "chip"));
        let number = Span::styled(text, theme.style(Role::Chip));
        let number = (shape == Shape::Number || selected.is_none()).then_some(number);
        return number.into_iter().chain(selected).collect();
    }
    all.iter().enumerate().map(|(at, it)| chip(pane, theme, shape, at, it)).collect()
}

fn chip(pane: &LogsPane, theme: &Theme, shape: Shape, at: usize, chip: &Chip) -> Span<'static> {
    let (cells, close) = match shape {
        Shape::Counted | Shape::Whole => (usize::MAX, if theme.ascii { " x]" } else { " ×]" }),
        Shape::Plain(cells) => (cells, "]"),
        Shape::Number | Shape::One => (SHORT_CHIP_CELLS, "]"),
    };
    // While the whole log is shown the chips wait, and look like it.
    let role = match (chip.enabled && pane.detour.is_none(), chip.out) {
        (false, _) => Role::ChipOff,
        (true, true) => Role::ChipOut,
        (true, false) => Role::Chip,
    };
    let is_selected = pane.chips.selected() == Some(at);
    let mut style = theme.style(role);
    if is_selected {
        style = style.patch(theme.style(Role::Selection));
    }
    let mut text = shortened(&sanitise::text(&chip.to_string()), cells, theme);
    if let Some(place) = pane.chips.place_among_active(at).filter(|_| pane.detour.is_none() && shape != Shape::One) {
        let count = pane.feed.chip_count(place);
        if is_selected {
            text.push(' ');
            text.push_str(&count.map_or_else(|| dots(theme).to_string(), |it| of(&it, theme)));
        } else if shape == Shape::Counted && place + 1 < pane.chips.active() {
            // What the last one leaves is the count of the whole, which stands behind the chips.
            let short = |it: ChipCount| format!(" {}{}", format::count_short(it.matched), open_end(it.complete, theme));
            text.push_str(&count.map_or_else(|| format!(" {}", dots(theme)), short));
        }
    }
    Span::styled(format!("[{text}{close}"), style)
}

/// `1,204 of 9.1M`, both with `…` while they grow.
fn of(count: &ChipCount, theme: &Theme) -> String {
    let open = open_end(count.complete, theme);
    format!("{}{open} of {}{open}", format::count(count.matched), format::count_short(count.of))
}

/// How much matches all chips, of how much.
pub fn total(pane: &LogsPane, theme: &Theme) -> String {
    let counts = pane.feed.counts;
    if pane.detour.is_some() || pane.chips.active() == 0 {
        return String::new();
    }
    if counts.scanned == 0 && !counts.complete {
        return dots(theme).to_string();
    }
    // The second number is not final either while the first is not.
    of(&ChipCount { matched: counts.matched, of: counts.scanned, complete: counts.complete }, theme)
}

fn open_end(complete: bool, theme: &Theme) -> &'static str {
    if complete { "" } else { dots(theme) }
}

fn dots(theme: &Theme) -> &'static str {
    if theme.ascii { "..." } else { "…" }
}

fn shortened(text: &str, cells: usize, theme: &Theme) -> String {
    if text.width() <= cells {
        return text.to_string();
    }
    let mut short = String::new();
    for it in text.chars() {
        if short.width() + 2 > cells {
            break;
        }
        short.push(it);
    }
    short.push(if theme.ascii { '>' } else { '…' });
    short
}
