//! Soft wrap: how a line becomes rows of the screen, and which column a byte stands in.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Columns between tab stops.
pub const TAB_COLUMNS: usize = 8;
/// Stands for what would be invisible or would act on the terminal.
pub const HIDDEN: &str = "·";

/// Bytes of each row of a line, at least one row. Breaks behind blanks where it can, else between graphemes.
///
/// No row is wider than `width`, which must be at least 2.
pub fn rows(line: &str, width: usize) -> Vec<Range<usize>> {
    let mut rows = Vec::new();
    let (mut start, mut column) = (0, 0);
    // Behind the last blank of this row, with the column there.
    let mut blank: Option<(usize, usize)> = None;
    for (byte, grapheme) in line.grapheme_indices(true) {
        let mut cells = cells_of(grapheme, column);
        while column + cells > width && byte > start {
            let (end, used) = blank.take().unwrap_or((byte, column));
            rows.push(start..end);
            start = end;
            column -= used;
            // A tab is as wide as its new column makes it.
            cells = cells_of(grapheme, column);
        }
        column += cells.min(width);
        if grapheme.chars().all(char::is_whitespace) {
            blank = Some((byte + grapheme.len(), column));
        }
    }
    rows.push(start..line.len());
    rows
}

/// The column of a byte in a row that begins the text.
pub fn column_of(row: &str, byte: usize) -> usize {
    row[..byte.min(row.len())].graphemes(true).fold(0, |column, it| column + cells_of(it, column))
}

/// The byte of a line at a column of one of its rows, or the last one of that row.
pub fn place_at_column(line: &str, width: usize, row: usize, goal: usize) -> usize {
    let rows = rows(line, width);
    let row = row.min(rows.len() - 1);
    let range = rows[row].clone();
    let mut column = 0;
    let mut last = range.start;
    for (byte, grapheme) in line[range.clone()].grapheme_indices(true) {
        last = range.start + byte;
        column += cells_of(grapheme, column);
        if column > goal {
            return last;
        }
    }
    // Behind the last grapheme of a wrapped row is the start of the next row.
    if row + 1 == rows.len() { range.end } else { last }
}

/// Cells that a grapheme takes when it is drawn at a column.
pub fn cells_of(grapheme: &str, column: usize) -> usize {
    match grapheme {
        "\t" => TAB_COLUMNS - column % TAB_COLUMNS,
        _ => shown(grapheme).width().max(1),
    }
}

/// What is drawn for a grapheme other than a tab.
pub fn shown(grapheme: &str) -> &str {
    let hidden = grapheme.chars().any(|it| it.is_control() || is_bidi(it)) || grapheme.width() == 0;
    if hidden { HIDDEN } else { grapheme }
}

fn is_bidi(it: char) -> bool {
    matches!(it, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
