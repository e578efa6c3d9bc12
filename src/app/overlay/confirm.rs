//! A question that is answered with yes or no.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::app::effect::Effect;
use crate::app::overlay::Answer;
use crate::domain::key::{Key, KeyCode};
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::popup;
use crate::widgets::wrap::wrap;

/// A question that is answered with yes or no.
#[derive(Debug, Clone, PartialEq)]
pub struct Confirm {
    /// The question.
    pub question: String,
    /// What yes lets out.
    pub then: Vec<Effect>,
}

impl Confirm {
    /// Only `y` is yes: Enter is pressed too easily by somebody in a hurry.
    pub(super) fn key(&mut self, key: &Key) -> Answer {
        match key.code {
            KeyCode::Char('y' | 'Y') => Answer::Effects(std::mem::take(&mut self.then)),
            KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => Answer::Close,
            _ => Answer::Stay,
        }
    }

    pub(super) fn view(&self, theme: &Theme, area: Rect, buf: &mut Buffer) -> Option<Position> {
        let width = (self.question.width() as u16 + 4).clamp(24, area.width.clamp(24, 64));
        let rows = wrap(&self.question, usize::from(width.saturating_sub(4)));
        let inner = popup::frame(theme, "sure?", popup::centred(area, width, rows.len() as u16 + 4), buf);
        for (row, text) in inner.rows().zip(&rows) {
            buf.set_stringn(row.x, row.y, text, row.width as usize, theme.style(Role::TextStrong));
        }
        let last = Rect { y: inner.bottom().saturating_sub(1), height: inner.height.min(1), ..inner };
        let key = |text: &'static str| Span::styled(text, theme.style(Role::Key));
        let answers = Line::from(vec![key("y"), Span::raw(" yes   "), key("n"), Span::raw(" no")]);
        if !last.is_empty() {
            buf.set_line(last.x, last.y, &answers, last.width);
        }
        None
    }
}
