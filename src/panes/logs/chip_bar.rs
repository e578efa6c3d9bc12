//! The chips as the title row shows them, with what each of them leaves.

use std::ops::Range;

use jiff::{SignedDuration, Zoned};
use ratatui::text::Span;
use unicode_width::UnicodeWidthStr;

use crate::domain::format;
use crate::domain::log::ChipCount;
use crate::domain::query::{self, Chip, ChipKind};
use crate::domain::sanitise;
use crate::panes::Context;
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

/// The chips of the pane, one span each; two that are a range are one.
pub fn chips(pane: &LogsPane, cx: &Context<'_>, theme: &Theme, shape: Shape) -> Vec<Span<'static>> {
    let bar = Bar { pane, cx, theme, shape };
    let all = pane.chips.all();
    if matches!(shape, Shape::Number | Shape::One) && !all.is_empty() {
        let selected = pane.chips.selected().filter(|it| *it < all.len()).map(|at| bar.chip(at..at + 1));
        let text = format!("[{}]", format::plural(all.len() as u64, "chip"));
        let number = Span::styled(text, theme.style(Role::Chip));
        let number = (shape == Shape::Number || selected.is_none()).then_some(number);
        return number.into_iter().chain(selected).collect();
    }
    let mut spans = Vec::new();
    let mut at = 0;
    while at < all.len() {
        let end = if bar.range(at).is_some() { at + 2 } else { at + 1 };
        spans.push(bar.chip(at..end));
        at = end;
    }
    spans
}

struct Bar<'a> {
    pane: &'a LogsPane,
    cx: &'a Context<'a>,
    theme: &'a Theme,
    shape: Shape,
}

impl Bar<'_> {
    /// A chip, or two that are a range.
    fn chip(&self, chips: Range<usize>) -> Span<'static> {
        let (pane, theme, shape) = (self.pane, self.theme, self.shape);
        let (cells, close) = match shape {
            Shape::Counted | Shape::Whole => (usize::MAX, if theme.ascii { " x]" } else { " ×]" }),
            Shape::Plain(cells) => (cells, "]"),
            Shape::Number | Shape::One => (SHORT_CHIP_CELLS, "]"),
        };
        let Some(chip) = pane.chips.all().get(chips.start) else { return Span::default() };
        // While the whole log is shown the chips wait, and look like it.
        let role = match (chip.enabled && pane.detour.is_none(), chip.out) {
            (false, _) => Role::ChipOff,
            (true, true) => Role::ChipOut,
            (true, false) => Role::Chip,
        };
        let is_selected = pane.chips.selected().is_some_and(|it| chips.contains(&it));
        let mut style = theme.style(role);
        if is_selected {
            style = style.patch(theme.style(Role::Selection));
        }
        // A time that is cut says nothing.
        let range = if chips.len() > 1 { self.range(chips.start) } else { None };
        let mut text = match range.or_else(|| self.time(chip)) {
            Some(time) => sanitise::text(&time),
            None => shortened(&sanitise::text(&chip.to_string()), cells, theme),
        };
        let place = pane.chips.place_among_active(chips.end - 1);
        if let Some(place) = place.filter(|_| pane.detour.is_none() && shape != Shape::One) {
            let count = pane.feed.chip_count(place);
            if is_selected {
                text.push(' ');
                text.push_str(&count.map_or_else(|| dots(theme).to_string(), |it| of(&it, theme)));
            } else if shape == Shape::Counted && place + 1 < pane.chips.active() {
                // What the last one leaves is the count of the whole, which stands behind the chips.
                let short =
                    |it: ChipCount| format!(" {}{}", format::count_short(it.matched), open_end(it.complete, theme));
                text.push_str(&count.map_or_else(|| format!(" {}", dots(theme)), short));
            }
        }
        Span::styled(format!("[{text}{close}"), style)
    }

    /// `12:03–12:10` for a chip and the one behind it that are a range, while neither is worked on.
    fn range(&self, at: usize) -> Option<String> {
        let [first, second] = self.pane.chips.all().get(at..at + 2)? else { return None };
        let (ChipKind::Since(_), ChipKind::Until(_)) = (&first.kind, &second.kind) else { return None };
        let is_plain = |it: &Chip| it.enabled && !it.out;
        let is_selected = self.pane.chips.selected().is_some_and(|it| it == at || it == at + 1);
        if !is_plain(first) || !is_plain(second) || is_selected {
            return None;
        }
        let (from, to) = (self.steady(&first.kind)?, self.steady(&second.kind)?);
        let with_seconds = from.second() != 0 || to.second() != 0;
        let dash = if self.theme.ascii { "-" } else { "–" };
        let end = if from.date() == to.date() { clock(&to, with_seconds) } else { self.written(&to, with_seconds) };
        Some(format!("{}{dash}{end}", self.written(&from, with_seconds)))
    }

    /// `since 12:03` for a chip that looks at the time.
    fn time(&self, chip: &Chip) -> Option<String> {
        let (word, text) = match &chip.kind {
            ChipKind::Since(text) => ("since", text),
            ChipKind::Until(text) => ("until", text),
            _ => return None,
        };
        let at = self.steady(&chip.kind).map(|it| self.written(&it, it.second() != 0));
        let not = if chip.out { "-" } else { "" };
        let off = if chip.enabled { "" } else { "~" };
        Some(format!("{off}{not}{word} {}", at.unwrap_or_else(|| text.clone())))
    }

    /// A time as the clock here shows it; `None` for one that moves with the clock: that is shown as it was written
    /// (`-30m`).
    fn steady(&self, kind: &ChipKind) -> Option<Zoned> {
        let at = |now| query::moment(self.pane.chips.all(), kind, now, self.cx.zone)?.ok();
        let now = self.cx.now;
        let then = at(now)?;
        let later = now.checked_add(SignedDuration::from_secs(1)).ok()?;
        (at(later) == Some(then)).then(|| then.to_zoned(self.cx.zone.clone()))
    }

    /// A time of day, with its day when that is not today.
    fn written(&self, at: &Zoned, with_seconds: bool) -> String {
        let today = self.cx.now.to_zoned(self.cx.zone.clone());
        let day = match (at.date() == today.date(), at.year() == today.year()) {
            (true, _) => String::new(),
            (false, true) => at.strftime("%m-%d ").to_string(),
            (false, false) => at.strftime("%Y-%m-%d ").to_string(),
        };
        format!("{day}{}", clock(at, with_seconds))
    }
}

fn clock(at: &Zoned, with_seconds: bool) -> String {
    at.strftime(if with_seconds { "%H:%M:%S" } else { "%H:%M" }).to_string()
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

#[cfg(test)]
mod tests {
    use crate::panes::logs::LogsPane;
    use crate::panes::logs::fixture::Desk;

    #[test]
    fn a_range_of_time_is_read_at_every_width() {
        // The last record of the desk is of 2024-08-19 14:51:30 UTC.
        for (query, expected) in [
            ("since:2024-08-19T14:03:00", "[since 14:03"),
            ("since:2024-08-19T14:03:10 until:2024-08-19T14:51:20", "[14:03:10–14:51:20"),
            ("since:14:03 until:14:51", "[14:03–14:51"),
            ("since:2024-08-18T14:03 until:2024-08-18T15:00", "[08-18 14:03–15:00"),
            ("since:2024-08-18T23:50 until:2024-08-19T00:10", "[08-18 23:50–00:10"),
            ("until:2023-08-18T23:50Z", "[until 2023-08-18 23:50"),
            ("since:-30m", "[since -30m"),
            ("-since:14:03", "[-since 14:03"),
            ("since:-30m until:14:51", "[since -30m"),
        ] {
            for width in [80, 120, 200] {
                let mut desk = Desk::numbered(width, 10, 40);
                desk.press("k");
                desk.with(|pane: &mut LogsPane, cx| pane.filter(cx, query));
                assert!(desk.title().contains(expected), "{query} at {width}: {}", desk.title());
            }
        }
    }

    #[test]
    fn the_ends_of_a_range_are_two_chips_while_one_is_worked_on() {
        let mut desk = Desk::numbered(120, 10, 40);
        desk.with(|pane: &mut LogsPane, cx| pane.filter(cx, "since:14:03 until:14:51"));
        desk.press("C");
        assert!(
            desk.title().contains("[since 14:03 40 of 40") && desk.title().contains("[until 14:51"),
            "{}",
            desk.title()
        );
        desk.press("space");
        assert!(desk.title().contains("[~since 14:03"), "{}", desk.title());
    }
}
