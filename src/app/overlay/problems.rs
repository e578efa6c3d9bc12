//! Everything that is wrong with the config, the keys and the themes, with the lines themselves.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::Line;

use crate::app::model::Model;
use crate::app::overlay::Answer;
use crate::domain::config_error::ConfigError;
use crate::domain::key::{Key, KeyCode};
use crate::domain::sanitise;
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::popup;
use crate::widgets::scroll::Scroll;
use crate::widgets::wrap::wrap;

/// The state of the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Problems {
    /// How far it was scrolled.
    pub scroll: Scroll,
}

impl Problems {
    pub(super) fn key(&mut self, model: &Model, key: &Key) -> Answer {
        let (width, height) = model.size();
        let outer = outer(Rect::new(0, 0, width, height));
        let total = rows(model, model.theme(), outer.width.saturating_sub(4)).len();
        let height = usize::from(outer.height.saturating_sub(2));
        let step = match key.code {
            KeyCode::Char('j') | KeyCode::Down => 1,
            KeyCode::Char('k') | KeyCode::Up => -1,
            KeyCode::PageDown | KeyCode::Char(' ') => height as i64,
            KeyCode::PageUp => -(height as i64),
            KeyCode::Char('g') | KeyCode::Home => i64::MIN,
            KeyCode::Char('G') | KeyCode::End => i64::MAX,
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q') => return Answer::Close,
            _ => return Answer::Stay,
        };
        self.scroll.by(step, total, height);
        Answer::Stay
    }

    pub(super) fn view(&self, model: &Model, theme: &Theme, screen: Rect, buf: &mut Buffer) -> Option<Position> {
        let inner = popup::frame(theme, "problems", outer(screen), buf);
        let rows = rows(model, theme, inner.width);
        let shown = self.scroll.window(rows.len(), usize::from(inner.height));
        for (row, line) in inner.rows().zip(&rows[shown]) {
            buf.set_line(row.x, row.y, line, row.width);
        }
        None
    }
}

fn outer(screen: Rect) -> Rect {
    popup::centred(screen, 100, screen.height.saturating_sub(4))
}

fn rows(model: &Model, theme: &Theme, width: u16) -> Vec<Line<'static>> {
    let mut rows = Vec::new();
    if !model.board.config.rejected.is_empty() {
        let text = "The changed config was not taken into use; the one before it keeps running.";
        rows.extend(wrap(text, width.into()).into_iter().map(|it| Line::styled(it, theme.style(Role::NoticeWarn))));
        rows.push(Line::default());
    }
    for problem in model.config_problems() {
        rows.extend(problem_rows(theme, problem, width.into()));
        rows.push(Line::default());
    }
    rows.pop();
    rows
}

fn problem_rows(theme: &Theme, problem: &ConfigError, width: usize) -> Vec<Line<'static>> {
    let styled = |text: &str, role: Role| -> Vec<Line<'static>> {
        wrap(text, width).into_iter().map(|it| Line::styled(it, theme.style(role))).collect()
    };
    let place = match problem.line {
        0 => problem.file.clone(),
        line => format!("{}:{line}:{}", problem.file, problem.column),
    };
    let mut rows = styled(&place, Role::TextDim);
    rows.extend(styled(&sanitise::text(&problem.message), Role::NoticeError));
    if !problem.snippet.is_empty() {
        let number = problem.line.to_string();
        let snippet = sanitise::text(&problem.snippet);
        rows.push(Line::styled(format!("{number} | {snippet}"), theme.style(Role::Text)));
        let before = " ".repeat(number.len() + 3 + problem.column.saturating_sub(1) as usize);
        let caret = "^".repeat(problem.width as usize);
        rows.push(Line::styled(format!("{before}{caret}"), theme.style(Role::NoticeError)));
    }
    if let Some(hint) = &problem.hint {
        rows.extend(styled(&sanitise::text(hint), Role::Text));
    }
    rows
}
