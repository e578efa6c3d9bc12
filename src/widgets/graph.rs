//! A graph of bars over time: dots of braille, or plain characters in ASCII.
//!
//! Each point is a body from zero upwards and a mark above it (half of the runs, and nearly all of them): what
//! is usual and what is worst can be told apart in one colour. Nothing is drawn where nothing is known, which is
//! not the same as zero. The scale begins at zero and ends at the highest mark.

use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::theme::Theme;
use crate::theme::role::Role;

/// Cells at the left for the numbers of the scale, with the blank behind them.
pub const GUTTER_CELLS: usize = 8;
/// Points that a cell can tell apart, beside each other.
pub const POINTS_PER_CELL: usize = 2;

const DOTS_PER_CELL: usize = 4;
// The dots of a braille cell, by column, from the bottom up.
const DOTS: [[u32; DOTS_PER_CELL]; POINTS_PER_CELL] = [[0x40, 0x04, 0x02, 0x01], [0x80, 0x20, 0x10, 0x08]];
const BRAILLE_BLANK: u32 = 0x2800;

/// One point.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bar {
    /// Filled from zero up to here.
    pub body: Option<f64>,
    /// A mark here, at or above the body.
    pub top: Option<f64>,
}

/// What is drawn.
pub struct Graph<'a> {
    /// Oldest first; stretched or gathered to the width.
    pub bars: &'a [Bar],
    /// A line across at this height.
    pub limit: Option<f64>,
    /// Writes a height for the scale, in less than [`GUTTER_CELLS`] cells.
    pub label: fn(f64) -> String,
}

/// Draws the graph into `height` rows of `width` cells, the scale at the left.
pub fn lines(theme: &Theme, graph: &Graph<'_>, width: usize, height: usize) -> Vec<Line<'static>> {
    let cells = width.saturating_sub(GUTTER_CELLS);
    let heights = graph.bars.iter().flat_map(|it| [it.body, it.top]).chain([graph.limit]).flatten();
    let most = heights.filter(|it| it.is_finite()).fold(0.0, f64::max);
    if cells == 0 || height == 0 || most <= 0.0 {
        return Vec::new();
    }
    let columns = gathered(graph.bars, if theme.ascii { cells } else { cells * POINTS_PER_CELL });
    let steps = if theme.ascii { height } else { height * DOTS_PER_CELL };
    // A height of next to nothing is still something: the lowest step.
    let step = |it: f64| ((it / most * steps as f64).ceil() as usize).clamp(1, steps) - 1;
    let limit_row = graph.limit.map(|it| step(it) * height / steps);
    let row = |at: usize| {
        let up = height - 1 - at;
        let mut runs: Vec<(Role, String)> = Vec::new();
        for cell in 0..cells {
            let drawn = match theme.ascii {
                true => ascii_cell(columns[cell], up, step),
                false => braille_cell(&columns[cell * POINTS_PER_CELL..][..POINTS_PER_CELL], up, step),
            };
            let (role, symbol) = match drawn {
                Some(symbol) => (Role::Spark, symbol),
                None if limit_row == Some(up) => (Role::TextDim, if theme.ascii { '.' } else { '┄' }),
                None => (Role::Spark, ' '),
            };
            match runs.last_mut() {
                Some((last, text)) if *last == role => text.push(symbol),
                _ => runs.push((role, symbol.to_string())),
            }
        }
        let label = match at {
            0 => (graph.label)(most),
            _ if limit_row == Some(up) && up > 0 => (graph.label)(graph.limit.unwrap_or_default()),
            _ if at + 1 == height => "0".to_string(),
            _ => String::new(),
        };
        let pad = " ".repeat((GUTTER_CELLS - 1).saturating_sub(label.width()));
        let mut spans = vec![Span::styled(format!("{pad}{label} "), theme.style(Role::TextDim))];
        spans.extend(runs.into_iter().map(|(role, text)| Span::styled(text, theme.style(role))));
        Line::from(spans)
    };
    (0..height).map(row).collect()
}

/// As many points as there are columns: the highest of those that share one.
fn gathered(bars: &[Bar], columns: usize) -> Vec<Bar> {
    let highest = |of: &[Bar], what: fn(&Bar) -> Option<f64>| {
        of.iter().filter_map(what).filter(|it| it.is_finite()).max_by(f64::total_cmp)
    };
    let column = |at: usize| {
        if bars.is_empty() {
            return Bar::default();
        }
        let from = (at * bars.len() / columns).min(bars.len() - 1);
        let until = ((at + 1) * bars.len() / columns).clamp(from + 1, bars.len());
        let shared = &bars[from..until];
        Bar { body: highest(shared, |it| it.body), top: highest(shared, |it| it.top) }
    };
    (0..columns).map(column).collect()
}

fn ascii_cell(bar: Bar, up: usize, step: impl Fn(f64) -> usize) -> Option<char> {
    match (bar.body.map(&step), bar.top.map(&step)) {
        (Some(body), _) if up <= body => Some('#'),
        (_, Some(top)) if up == top => Some('\''),
        _ => None,
    }
}

fn braille_cell(bars: &[Bar], up: usize, step: impl Fn(f64) -> usize) -> Option<char> {
    let mut dots = 0;
    for (bar, of_column) in bars.iter().zip(DOTS) {
        for (dot, bit) in of_column.iter().enumerate() {
            let at = up * DOTS_PER_CELL + dot;
            if bar.body.is_some_and(|it| at <= step(it)) || bar.top.is_some_and(|it| at == step(it)) {
                dots |= bit;
            }
        }
    }
    if dots == 0 { None } else { char::from_u32(BRAILLE_BLANK + dots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(theme: &Theme, bars: &[Bar], limit: Option<f64>, width: usize, height: usize) -> Vec<String> {
        let graph = Graph { bars, limit, label: |it| format!("{it:.0}") };
        lines(theme, &graph, width, height).iter().map(ToString::to_string).collect()
    }

    fn bar(body: f64, top: f64) -> Bar {
        Bar { body: Some(body), top: Some(top) }
    }

    #[test]
    fn what_is_usual_and_what_is_worst_can_be_told_apart() {
        let bars = [bar(25.0, 100.0), bar(50.0, 50.0), Bar::default(), bar(100.0, 100.0)];
        let ascii = Theme::mono().with_ascii(true);
        assert_eq!(text(&ascii, &bars, None, 12, 4), ["    100 '  #", "           #", "         # #", "      0 ## #"]);
        assert_eq!(text(&Theme::mono(), &bars, None, 10, 2), ["    100 ⠁⢸", "      0 ⣼⢸"]);
    }

    #[test]
    fn a_limit_shows_where_nothing_covers_it() {
        let ascii = Theme::mono().with_ascii(true);
        let bars = [bar(10.0, 10.0), bar(40.0, 40.0)];
        assert_eq!(text(&ascii, &bars, Some(20.0), 10, 4), ["     40  #", "         #", "     20 .#", "      0 ##"]);
    }

    #[test]
    fn it_is_as_wide_as_asked_whatever_there_is_to_draw() {
        for width in [0, 3, 9, 20, 133] {
            for count in [0, 1, 7, 1024] {
                let bars = vec![bar(3.0, 5.0); count];
                for row in text(&Theme::mono(), &bars, None, width, 3) {
                    assert_eq!(row.width(), width, "{count} points");
                }
            }
        }
        let odd = [bar(f64::NAN, f64::INFINITY), bar(0.0, 0.0)];
        assert_eq!(text(&Theme::mono(), &odd, None, 20, 3), Vec::<String>::new());
    }
}
