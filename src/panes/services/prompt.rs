//! The filter being typed: the list follows every letter, Esc brings back what was before.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use crate::domain::key::{Key, KeyCode};
use crate::panes::Context;
use crate::panes::services::ServicesPane;
use crate::panes::services::rows::Filter;
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::input::{self, LineInput};
use crate::widgets::wrap;

/// Characters of a filter, at most: a pasted file must not become one.
const INPUT_MAX_CHARS: usize = 200;

/// A filter being typed.
#[derive(Debug)]
pub(super) struct FilterPrompt {
    input: LineInput,
    // What is wrong with it; the list then shows what the last good text let pass.
    error: Option<String>,
    before: Filter,
}

impl FilterPrompt {
    pub(super) fn new(filter: &Filter) -> Self {
        let mut input = LineInput::default();
        input.set_text(filter.text());
        Self { input, error: None, before: filter.clone() }
    }

    /// Rows that it takes from the list.
    pub(super) fn height(&self) -> u16 {
        1 + u16::from(self.error.is_some())
    }

    pub(super) fn draw(&self, theme: &Theme, area: Rect, buf: &mut Buffer) -> Option<Position> {
        let mut rows = area.rows();
        let cursor = rows.next().map(|row| input::draw(theme, "/", &self.input, row, buf));
        if let (Some(row), Some(error)) = (rows.next(), &self.error) {
            let text = wrap::cut(error, row.width as usize, theme.ascii);
            buf.set_stringn(row.x, row.y, text, row.width as usize, theme.style(Role::NoticeError));
        }
        cursor
    }
}

impl ServicesPane {
    pub(super) fn filter_key(&mut self, cx: &Context<'_>, key: &Key) {
        let Some(prompt) = &mut self.prompt else { return };
        match key.code {
            KeyCode::Esc => {
                self.arrangement.filter = prompt.before.clone();
                self.prompt = None;
            }
            KeyCode::Enter => self.prompt = None,
            _ => {
                prompt.input.key(key);
                self.filter_typed();
            }
        }
        self.follow_selection(cx);
    }

    pub(super) fn filter_paste(&mut self, cx: &Context<'_>, text: &str) {
        if let Some(prompt) = &mut self.prompt {
            let cut: String = text.chars().take(INPUT_MAX_CHARS).collect();
            prompt.input.paste(&cut);
            self.filter_typed();
        }
        self.follow_selection(cx);
    }

    fn filter_typed(&mut self) {
        let Some(prompt) = &mut self.prompt else { return };
        match Filter::parse(prompt.input.text()) {
            Ok(filter) => {
                self.arrangement.filter = filter;
                prompt.error = None;
            }
            Err(error) => prompt.error = Some(error),
        }
    }
}
