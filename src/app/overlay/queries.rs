//! Picks a log query: those with a name in the config, and those used before.

use std::cmp::Reverse;

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::app::overlay::Answer;
use crate::domain::key::{Key, KeyCode};
use crate::domain::query::saved::SavedQuery;
use crate::domain::sanitise;
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::input::{self, LineInput};
use crate::widgets::list::{self, Mark};
use crate::widgets::popup;
use crate::widgets::scroll::keep_visible;
use crate::widgets::wrap::cut;

/// What stands where a name would, for a query that was typed.
const UNNAMED: &str = "(earlier)";

/// The state of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryPicker {
    input: LineInput,
    choices: Vec<SavedQuery>,
    // Among those found; the best match after every letter.
    selected: usize,
}

impl QueryPicker {
    /// A list of queries in this order.
    pub fn new(choices: Vec<SavedQuery>) -> Self {
        Self { input: LineInput::default(), choices, selected: 0 }
    }

    pub(super) fn paste(&mut self, text: &str) {
        self.input.paste(text);
        self.selected = 0;
    }

    pub(super) fn key(&mut self, key: &Key) -> Answer {
        let found = self.found();
        let last = found.len().saturating_sub(1);
        let chosen = found.get(self.selected.min(last)).map(|it| it.query.clone());
        match (key.code, key.ctrl) {
            (KeyCode::Enter, _) => return chosen.map_or(Answer::Stay, |it| Answer::Line(format!("filter {it}"))),
            (KeyCode::Tab, _) => return chosen.map_or(Answer::Stay, |it| Answer::Line(format!("filter + {it}"))),
            (KeyCode::Esc, _) => return Answer::Close,
            (KeyCode::Down, _) | (KeyCode::Char('n' | 'j'), true) => self.selected = (self.selected + 1).min(last),
            (KeyCode::Up, _) | (KeyCode::Char('k'), true) => self.selected = self.selected.saturating_sub(1),
            (KeyCode::PageDown, _) => self.selected = (self.selected + 10).min(last),
            (KeyCode::PageUp, _) => self.selected = self.selected.saturating_sub(10),
            _ => {
                self.input.key(key);
                self.selected = 0;
            }
        }
        Answer::Stay
    }

    /// The queries that match, best first; without letters all of them.
    fn found(&self) -> Vec<&SavedQuery> {
        let pattern = Pattern::parse(self.input.text(), CaseMatching::Smart, Normalization::Smart);
        if pattern.atoms.is_empty() {
            return self.choices.iter().collect();
        }
        let mut matcher = Matcher::new(Config::DEFAULT);
        let mut chars = Vec::new();
        let mut score = |it: &SavedQuery| {
            let name = pattern.score(Utf32Str::new(&it.name, &mut chars), &mut matcher);
            let query = pattern.score(Utf32Str::new(&it.query, &mut chars), &mut matcher);
            name.map(|it| it + it / 2).max(query)
        };
        let mut scored: Vec<_> = self.choices.iter().filter_map(|it| Some((it, score(it)?))).collect();
        scored.sort_by_key(|(_, score)| Reverse(*score));
        scored.into_iter().map(|(it, _)| it).collect()
    }

    pub(super) fn view(&self, theme: &Theme, screen: Rect, buf: &mut Buffer) -> Option<Position> {
        let height = (self.choices.len() as u16).saturating_add(3).clamp(8, (screen.height * 2 / 3).max(8));
        let inner = popup::frame(theme, "queries", popup::centred(screen, 84, height), buf);
        if inner.height < 2 {
            return None;
        }
        let found = self.found();
        let selected = self.selected.min(found.len().saturating_sub(1));
        let cursor = input::draw(theme, "> ", &self.input, Rect { height: 1, ..inner }, buf);
        let rows = Rect { y: inner.y + 1, height: inner.height - 1, ..inner };
        let top = keep_visible(0, selected, found.len(), usize::from(rows.height));
        let names = found.iter().map(|it| name(it).width()).max().unwrap_or(0).min(usize::from(rows.width) / 3);
        for ((at, query), row) in found.iter().enumerate().skip(top).zip(rows.rows()) {
            let label = cut(&sanitise::text(name(query)), names, theme.ascii);
            let pad = " ".repeat(names.saturating_sub(label.width()) + 2);
            let role = if query.name.is_empty() { Role::TextDim } else { Role::TextStrong };
            let line = Line::from(vec![
                Span::styled(format!("{label}{pad}"), theme.style(role)),
                Span::styled(sanitise::text(&query.query), theme.style(Role::Text)),
            ]);
            list::row(theme, &line, Mark::of(at == selected, true), row, buf);
        }
        if found.is_empty() {
            buf.set_stringn(rows.x, rows.y, "no query matches", rows.width as usize, theme.style(Role::TextDim));
        }
        Some(cursor)
    }
}

fn name(query: &SavedQuery) -> &str {
    if query.name.is_empty() { UNNAMED } else { &query.name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_letters_find_a_query_by_its_name_or_its_text() {
        let query = |name: &str, query: &str| SavedQuery { name: name.into(), query: query.into() };
        let mut picker =
            QueryPicker::new(vec![query("slow", "timeout"), query("5xx", "status>=500"), query("", "pool")]);
        assert_eq!(picker.key(&Key::plain(KeyCode::Enter)), Answer::Line("filter timeout".into()));
        picker.key(&Key::plain(KeyCode::Down));
        assert_eq!(picker.key(&Key::plain(KeyCode::Tab)), Answer::Line("filter + status>=500".into()));
        picker.paste("pol");
        assert_eq!(picker.key(&Key::plain(KeyCode::Enter)), Answer::Line("filter pool".into()));
        picker.paste("xyz");
        assert_eq!(picker.key(&Key::plain(KeyCode::Enter)), Answer::Stay);
    }
}
