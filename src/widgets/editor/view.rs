//! Draws an editor and says where the terminal's own cursor belongs: input methods open there.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use unicode_segmentation::UnicodeSegmentation;

use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::editor::wrap::{cells_of, rows, shown};
use crate::widgets::editor::{Editor, wrap_width};

/// Draws the rows around the cursor; returns where the cursor stands.
pub fn draw(theme: &Theme, editor: &Editor, area: Rect, buf: &mut Buffer) -> Option<Position> {
    if area.is_empty() {
        return None;
    }
    let width = wrap_width(area.width);
    let (text, head) = (theme.style(Role::Text), theme.style(Role::TextStrong));
    let (mut line, mut row) = editor.top_for(width, area.height as usize);
    let mut found = None;
    let (cursor_row, cursor_column) = editor.row_of(editor.cursor, width);
    let mut y = area.y;
    while y < area.bottom() && line < editor.line_count() {
        let content = editor.buffer.line(line);
        let style = if content.starts_with('#') { head } else { text };
        for (index, range) in rows(content, width).into_iter().enumerate().skip(row) {
            if y >= area.bottom() {
                break;
            }
            let mut column = 0;
            for grapheme in content[range].graphemes(true) {
                let cells = cells_of(grapheme, column);
                if column + cells > area.width as usize {
                    break;
                }
                if grapheme != "\t" {
                    buf.set_stringn(area.x + column as u16, y, shown(grapheme), cells, style);
                }
                column += cells;
            }
            if (line, index) == (editor.cursor.line, cursor_row) {
                let column = cursor_column.min(area.width as usize - 1) as u16;
                found = Some(Position::new(area.x + column, y));
            }
            y += 1;
        }
        line += 1;
        row = 0;
    }
    found
}
