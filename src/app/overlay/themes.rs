//! Chooses a theme. The selected one is worn at once; Esc takes the one before back.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use crate::app::effect::Effect;
use crate::app::model::Model;
use crate::app::overlay::Answer;
use crate::domain::key::{Key, KeyCode};
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::list::{self, Mark};
use crate::widgets::popup;
use crate::widgets::scroll::{keep_visible, moved};

/// The state of the picker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThemePicker {
    // The theme to take back.
    before: String,
}

impl ThemePicker {
    pub(crate) fn new(worn: &str) -> Self {
        Self { before: worn.to_string() }
    }

    pub(super) fn key(&mut self, model: &mut Model, key: &Key) -> Answer {
        let step = match key.code {
            KeyCode::Char('j') | KeyCode::Down | KeyCode::Tab => 1,
            KeyCode::Char('k') | KeyCode::Up | KeyCode::BackTab => -1,
            KeyCode::Char('g') | KeyCode::Home => i64::MIN,
            KeyCode::Char('G') | KeyCode::End => i64::MAX,
            KeyCode::Enter => return Answer::Effects(vec![Effect::KeepTheme(model.theme().name.clone())]),
            KeyCode::Esc | KeyCode::Char('q') => {
                model.set_theme(&self.before);
                return Answer::Close;
            }
            _ => return Answer::Stay,
        };
        let names: Vec<String> = model.themes.iter().map(|it| it.name.clone()).collect();
        if let Some(name) = moved(&names, Some(&model.theme().name), step) {
            model.set_theme(name);
        }
        Answer::Stay
    }

    pub(super) fn view(&self, model: &Model, theme: &Theme, screen: Rect, buf: &mut Buffer) -> Option<Position> {
        // At the right, so that most of what the theme changes stays in sight.
        let width = 24.min(screen.width);
        let height = (model.themes.len() as u16 + 2).min(screen.height.saturating_sub(2));
        let area = Rect { x: screen.right() - width, y: screen.y + 1, width, height };
        let inner = popup::frame(theme, "theme", area.intersection(screen), buf);
        let selected = model.themes.iter().position(|it| it.name == theme.name).unwrap_or(0);
        let top = keep_visible(0, selected, model.themes.len(), usize::from(inner.height));
        for ((at, it), row) in model.themes.iter().enumerate().skip(top).zip(inner.rows()) {
            let was = if it.name == self.before { " (now)" } else { "" };
            let line = Line::from(vec![
                Span::styled(it.name.clone(), theme.style(Role::Text)),
                Span::styled(was, theme.style(Role::TextDim)),
            ]);
            list::row(theme, &line, Mark::of(at == selected, true), row, buf);
        }
        None
    }
}
