//! A progress bar in one row, drawn in eighths of a cell.

use ratatui::text::Span;

use crate::theme::Theme;
use crate::theme::role::Role;

const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// Draws `done` (0.0 to 1.0) as a bar of `width` cells: `█████▌    `, `[#####    ]` in ASCII.
pub fn bar(theme: &Theme, done: f64, width: usize) -> Vec<Span<'static>> {
    let done = if done.is_finite() { done.clamp(0.0, 1.0) } else { 0.0 };
    if theme.ascii {
        let inner = width.saturating_sub(2);
        let full = (done * inner as f64) as usize;
        let text = format!("[{}{}]", "#".repeat(full), " ".repeat(inner - full));
        return vec![Span::styled(text, theme.style(Role::Progress))];
    }
    let eighths = (done * width as f64 * 8.0) as usize;
    let mut text = "█".repeat(eighths / 8);
    let mut cells = eighths / 8;
    if !eighths.is_multiple_of(8) {
        text.push(EIGHTHS[eighths % 8 - 1]);
        cells += 1;
    }
    let rest = "░".repeat(width.saturating_sub(cells));
    vec![Span::styled(text, theme.style(Role::Progress)), Span::styled(rest, theme.style(Role::TextDim))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(theme: &Theme, done: f64, width: usize) -> String {
        bar(theme, done, width).iter().map(|it| it.content.as_ref()).collect()
    }

    #[test]
    fn a_bar_is_as_wide_as_asked_at_any_value() {
        let ascii = Theme::mono().with_ascii(true);
        for step in 0..=100 {
            let done = f64::from(step) / 100.0;
            assert_eq!(text(&Theme::mono(), done, 10).chars().count(), 10, "{done}");
            assert_eq!(text(&ascii, done, 10).chars().count(), 10, "{done}");
        }
    }

    #[test]
    fn only_a_finished_bar_is_full() {
        assert_eq!(text(&Theme::mono(), 0.56, 10), "█████▌░░░░");
        assert_eq!(text(&Theme::mono(), 1.0, 4), "████");
        assert_eq!(text(&Theme::mono(), f64::NAN, 4), "░░░░");
    }
}
