//! All keys of the focused pane and the ones that work everywhere, with a filter.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::app::command::Command;
use crate::app::model::Model;
use crate::app::overlay::Answer;
use crate::domain::key::{Key, KeyCode};
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::input::{self, LineInput};
use crate::widgets::popup;
use crate::widgets::scroll::Scroll;
use crate::widgets::wrap::wrap;

/// Columns of the box: keys and a line of words fit, and the eye finds the next row.
const WIDTH: u16 = 84;

/// The state of the help.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Help {
    /// Only rows with this text are shown.
    pub input: LineInput,
    /// The filter is being typed.
    pub filtering: bool,
    /// How far it was scrolled.
    pub scroll: Scroll,
}

impl Help {
    pub(super) fn key(&mut self, model: &Model, key: &Key) -> Answer {
        if self.filtering {
            match key.code {
                KeyCode::Enter => self.filtering = false,
                KeyCode::Esc => {
                    self.input.set_text("");
                    self.filtering = false;
                }
                _ => {
                    self.input.key(key);
                    self.scroll = Scroll::default();
                }
            }
            return Answer::Stay;
        }
        let (width, height) = model.size();
        let inner = area(Rect::new(0, 0, width, height));
        let (total, height) = (self.rows(model, inner.width).len(), usize::from(inner.height));
        let page = (height as i64 - 1).max(1);
        let step = match (key.code, key.ctrl) {
            (KeyCode::Char('j'), false) | (KeyCode::Down, _) | (KeyCode::Enter, _) => 1,
            (KeyCode::Char('k'), false) | (KeyCode::Up, _) => -1,
            (KeyCode::Char('d' | 'f'), true) | (KeyCode::PageDown, _) | (KeyCode::Char(' '), _) => page,
            (KeyCode::Char('u' | 'b'), true) | (KeyCode::PageUp, _) => -page,
            (KeyCode::Char('g'), false) | (KeyCode::Home, _) => i64::MIN,
            (KeyCode::Char('G'), false) | (KeyCode::End, _) => i64::MAX,
            (KeyCode::Char('/' | 'f' | '&'), false) => {
                self.filtering = true;
                return Answer::Stay;
            }
            (KeyCode::Esc, _) if !self.input.text().is_empty() => {
                self.input.set_text("");
                return Answer::Stay;
            }
            (KeyCode::Esc | KeyCode::Char('q' | '?') | KeyCode::F(1), _) => return Answer::Close,
            _ => return Answer::Stay,
        };
        self.scroll.by(step, total, height);
        Answer::Stay
    }

    pub(super) fn view(&self, model: &Model, theme: &Theme, screen: Rect, buf: &mut Buffer) -> Option<Position> {
        let outer = outer(screen);
        let mut inner = popup::frame(theme, "keys", outer, buf);
        let mut cursor = None;
        if (self.filtering || !self.input.text().is_empty()) && inner.height > 1 {
            let row = Rect { y: inner.bottom() - 1, height: 1, ..inner };
            let at = input::draw(theme, "/", &self.input, row, buf);
            cursor = self.filtering.then_some(at);
            inner.height -= 1;
        }
        let rows = self.rows_styled(model, theme, inner.width);
        let shown = self.scroll.window(rows.len(), usize::from(inner.height));
        for (row, line) in inner.rows().zip(&rows[shown.clone()]) {
            buf.set_line(row.x, row.y, line, row.width);
        }
        if rows.is_empty() && inner.height > 0 {
            let text = format!("no command has `{}` in its name, keys or words", self.input.text());
            buf.set_stringn(inner.x, inner.y, text, inner.width as usize, theme.style(Role::TextDim));
        }
        if rows.len() > shown.len() && outer.width > 20 {
            let place = format!(" {}-{} of {} ", shown.start + 1, shown.end, rows.len());
            let x = outer.right().saturating_sub(place.len() as u16 + 2);
            buf.set_string(x, outer.bottom() - 1, place, theme.style(Role::TextDim));
        }
        cursor
    }

    fn rows(&self, model: &Model, width: u16) -> Vec<Line<'static>> {
        self.rows_styled(model, model.theme(), width)
    }

    fn rows_styled(&self, model: &Model, theme: &Theme, width: u16) -> Vec<Line<'static>> {
        let all = Command::all();
        let of_pane: Vec<Command> = all.iter().copied().filter(|it| it.pane() == Some(model.focus)).collect();
        let global: Vec<Command> = all.into_iter().filter(|it| it.pane().is_none()).collect();
        let mut rows = Vec::new();
        for (title, commands) in [(model.focus.title(), of_pane), ("EVERYWHERE", global)] {
            let kept: Vec<Command> = commands.into_iter().filter(|it| self.keeps(model, *it)).collect();
            if kept.is_empty() {
                continue;
            }
            if !rows.is_empty() {
                rows.push(Line::default());
            }
            rows.push(Line::styled(title.to_string(), theme.style(Role::TextStrong)));
            for command in kept {
                rows.extend(self.command_rows(model, theme, command, usize::from(width)));
            }
        }
        rows
    }

    fn command_rows(&self, model: &Model, theme: &Theme, command: Command, width: usize) -> Vec<Line<'static>> {
        // Keys in a column of their own; the name stands at the right where there is room for it.
        let keys_width = if width >= 60 { 16 } else { 12 };
        let name = command.spec().name;
        let name_width = if width >= 60 { 22 } else { 0 };
        let doc_width = width.saturating_sub(keys_width + name_width).max(10);
        let keys = model.keymap.labels(command);
        let keys = if keys.is_empty() { "-".to_string() } else { keys };
        // Many keys push the words to the next row rather than out of their column.
        let long = keys.width() >= keys_width;
        let mut docs = wrap(command.spec().doc, doc_width).into_iter();
        let mut rows = Vec::new();
        let first = if long { String::new() } else { docs.next().unwrap_or_default() };
        let mut spans = vec![
            Span::styled(format!("{keys:<keys_width$}"), theme.style(Role::Key)),
            Span::styled(format!("{first:<doc_width$}"), theme.style(Role::Text)),
        ];
        if name_width > 0 && !long {
            spans.push(Span::styled(format!("{name:>name_width$}"), theme.style(Role::TextDim)));
        }
        rows.push(Line::from(spans));
        for doc in docs {
            let text = format!("{:keys_width$}{doc}", "");
            rows.push(Line::styled(text, theme.style(Role::Text)));
        }
        rows
    }

    fn keeps(&self, model: &Model, command: Command) -> bool {
        let wanted = self.input.text().to_lowercase();
        let spec = command.spec();
        let keys = model.keymap.labels(command);
        // One letter is most likely a key that somebody wonders about.
        if wanted.chars().count() == 1 && keys.split(", ").any(|it| it == self.input.text()) {
            return true;
        }
        spec.name.contains(&wanted) || spec.doc.to_lowercase().contains(&wanted) || keys.to_lowercase() == wanted
    }
}

fn outer(screen: Rect) -> Rect {
    popup::centred(screen, WIDTH, screen.height.saturating_sub(2))
}

/// What is inside of the frame; must agree with `popup::frame`.
fn area(screen: Rect) -> Rect {
    let outer = outer(screen);
    Rect {
        x: outer.x + 2,
        y: outer.y + 1,
        width: outer.width.saturating_sub(4),
        height: outer.height.saturating_sub(2),
    }
}
