//! Rows of a list: a line with its selection bar.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use unicode_width::UnicodeWidthStr;

use crate::theme::Theme;
use crate::theme::role::Role;

/// Whether a row is selected, and whether its pane has the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Not selected.
    None,
    /// Selected in the focused pane.
    Selected,
    /// Selected in another pane.
    Dim,
}

impl Mark {
    /// The mark of a row.
    pub fn of(selected: bool, focused: bool) -> Self {
        match (selected, focused) {
            (false, _) => Mark::None,
            (true, true) => Mark::Selected,
            (true, false) => Mark::Dim,
        }
    }
}

/// Draws a line into a row; the selection covers the whole row.
pub fn row(theme: &Theme, line: &Line<'_>, mark: Mark, area: Rect, buf: &mut Buffer) {
    let area = Rect { height: area.height.min(1), ..area };
    if area.is_empty() {
        return;
    }
    buf.set_line(area.x, area.y, line, area.width);
    let text: String = line.spans.iter().map(|it| it.content.as_ref()).collect();
    if text.trim_end().width() > usize::from(area.width) {
        // What was cut must not read as if it were all.
        let sign = if theme.ascii { "~" } else { "…" };
        buf.set_string(area.right() - 1, area.y, sign, theme.style(Role::TextDim));
    }
    match mark {
        Mark::None => {}
        Mark::Selected => buf.set_style(area, theme.style(Role::Selection)),
        Mark::Dim => buf.set_style(area, theme.style(Role::SelectionDim)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str) -> String {
        let area = Rect::new(0, 0, 6, 1);
        let mut buf = Buffer::empty(area);
        row(&Theme::mono(), &Line::from(text), Mark::None, area, &mut buf);
        buf.content.iter().map(|it| it.symbol()).collect()
    }

    #[test]
    fn a_row_that_is_cut_says_so() {
        assert_eq!(drawn("refused"), "refus…");
        assert_eq!(drawn("status"), "status");
        assert_eq!(drawn("502     "), "502   ");
    }
}
