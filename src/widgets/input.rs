//! A one-line input: grapheme-aware, with history.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::domain::key::{Key, KeyCode};
use crate::theme::Theme;
use crate::theme::role::Role;

/// Entries kept in an input's history: an evening of searching.
pub const HISTORY_MAX: usize = 100;

/// The text of a one-line input and where its cursor stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineInput {
    text: String,
    // Byte offset, always at a grapheme boundary of `text`.
    cursor: usize,
    history: Vec<String>,
    // Index into `history` while looking back; the text before it started is kept in `pending`.
    looking: Option<usize>,
    pending: String,
    // The text is a proposal that nobody has touched: typing replaces it, moving the cursor keeps it.
    proposed: bool,
}

impl LineInput {
    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Replaces the text; the cursor goes to its end.
    pub fn set_text(&mut self, text: &str) {
        self.text = text.chars().filter(|it| !it.is_control()).collect();
        self.cursor = self.text.len();
        self.looking = None;
        self.proposed = false;
    }

    /// Proposes a text, as if it were selected: what is typed replaces it, a key that moves keeps it to be edited.
    pub fn propose(&mut self, text: &str) {
        self.set_text(text);
        self.proposed = !self.text.is_empty();
    }

    /// Removes a proposal that is about to be replaced.
    fn replace_proposal(&mut self) {
        if std::mem::take(&mut self.proposed) {
            self.text.clear();
            self.cursor = 0;
        }
    }

    /// Takes the text out and remembers it.
    pub fn submit(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        self.cursor = 0;
        self.looking = None;
        self.proposed = false;
        if !text.is_empty() && self.history.last() != Some(&text) {
            self.history.push(text.clone());
            if self.history.len() > HISTORY_MAX {
                self.history.remove(0);
            }
        }
        text
    }

    /// Types a text in; line breaks become blanks, other controls are left out.
    pub fn paste(&mut self, text: &str) {
        let clean: String = text
            .chars()
            .map(|it| if it == '\n' || it == '\t' { ' ' } else { it })
            .filter(|it| !it.is_control())
            .collect();
        self.replace_proposal();
        self.text.insert_str(self.cursor, &clean);
        self.cursor += clean.len();
    }

    /// Takes an editing key. Returns `false` for keys that mean nothing here (Enter, Esc, Tab, …).
    pub fn key(&mut self, key: &Key) -> bool {
        if let Some(it) = key.typed() {
            self.replace_proposal();
            self.text.insert(self.cursor, it);
            self.cursor += it.len_utf8();
            return true;
        }
        let removes = matches!(key.code, KeyCode::Backspace | KeyCode::Delete)
            || (key.ctrl && matches!(key.code, KeyCode::Char('h' | 'd' | 'w' | 'u' | 'k')));
        if removes && self.proposed {
            self.replace_proposal();
            return true;
        }
        let proposed = std::mem::take(&mut self.proposed);
        match (key.code, key.ctrl, key.alt) {
            (KeyCode::Left, false, false) | (KeyCode::Char('b'), true, _) => self.cursor = self.before(),
            (KeyCode::Right, false, false) | (KeyCode::Char('f'), true, _) => self.cursor = self.after(),
            (KeyCode::Left, true, _) | (KeyCode::Char('b'), false, true) => self.cursor = self.word_before(),
            (KeyCode::Right, true, _) | (KeyCode::Char('f'), false, true) => self.cursor = self.word_after(),
            (KeyCode::Home, ..) | (KeyCode::Char('a'), true, _) => self.cursor = 0,
            (KeyCode::End, ..) | (KeyCode::Char('e'), true, _) => self.cursor = self.text.len(),
            (KeyCode::Backspace, false, false) | (KeyCode::Char('h'), true, _) => {
                self.remove(self.before()..self.cursor)
            }
            (KeyCode::Delete, ..) | (KeyCode::Char('d'), true, _) => self.remove(self.cursor..self.after()),
            (KeyCode::Char('w'), true, _) | (KeyCode::Backspace, ..) => self.remove(self.word_before()..self.cursor),
            (KeyCode::Char('u'), true, _) => self.remove(0..self.cursor),
            (KeyCode::Char('k'), true, _) => self.remove(self.cursor..self.text.len()),
            (KeyCode::Up, ..) => self.look(-1),
            (KeyCode::Down, ..) => self.look(1),
            _ => {
                self.proposed = proposed;
                return false;
            }
        }
        true
    }

    fn remove(&mut self, range: std::ops::Range<usize>) {
        self.cursor = range.start;
        self.text.replace_range(range, "");
    }

    fn before(&self) -> usize {
        self.text[..self.cursor].grapheme_indices(true).next_back().map_or(0, |(at, _)| at)
    }

    fn after(&self) -> usize {
        self.text[self.cursor..].graphemes(true).next().map_or(self.cursor, |it| self.cursor + it.len())
    }

    fn word_before(&self) -> usize {
        let words = self.text[..self.cursor].split_word_bound_indices().rev();
        words.into_iter().find(|(_, word)| !word.trim().is_empty()).map_or(0, |(at, _)| at)
    }

    fn word_after(&self) -> usize {
        let mut words = self.text[self.cursor..].split_word_bound_indices();
        words
            .find(|(_, word)| !word.trim().is_empty())
            .map_or(self.text.len(), |(at, word)| self.cursor + at + word.len())
    }

    fn look(&mut self, step: i32) {
        let next = match (self.looking, step) {
            (None, -1) if !self.history.is_empty() => {
                self.pending = self.text.clone();
                Some(self.history.len() - 1)
            }
            (Some(at), -1) => Some(at.saturating_sub(1)),
            (Some(at), 1) if at + 1 < self.history.len() => Some(at + 1),
            (Some(_), 1) => None,
            _ => return,
        };
        self.text = next.map_or_else(|| self.pending.clone(), |at| self.history[at].clone());
        self.looking = next;
        self.cursor = self.text.len();
    }
}

/// Draws `prefix` and the input into one row, scrolled so that the cursor is visible; returns where it stands.
pub fn draw(theme: &Theme, prefix: &str, input: &LineInput, area: Rect, buf: &mut Buffer) -> Position {
    let style = theme.style(Role::Input);
    buf.set_style(Rect { height: 1, ..area }, style);
    let (start, _) = buf.set_stringn(area.x, area.y, prefix, area.width as usize, theme.style(Role::Key));
    let room = area.right().saturating_sub(start) as usize;
    let to_cursor = input.text[..input.cursor].width();
    let mut hidden = 0;
    let mut skipped = 0;
    for grapheme in input.text.graphemes(true) {
        if to_cursor - hidden < room.max(1) {
            break;
        }
        hidden += grapheme.width();
        skipped += grapheme.len();
    }
    let style = if input.proposed { theme.style(Role::Selection) } else { style };
    buf.set_stringn(start, area.y, &input.text[skipped..], room, style);
    Position::new(start + (to_cursor - hidden) as u16, area.y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backspace_takes_a_whole_grapheme() {
        let mut input = LineInput::default();
        input.paste("ae\u{301}");
        input.key(&Key::plain(KeyCode::Backspace));
        assert_eq!(input.text(), "a");
    }

    #[test]
    fn a_proposal_is_replaced_by_what_is_typed_and_kept_by_what_moves() {
        let proposed = |keys: &[Key]| {
            let mut input = LineInput::default();
            input.propose("web 503");
            for key in keys {
                input.key(key);
            }
            input.text().to_string()
        };
        assert_eq!(proposed(&[Key::char('e'), Key::char('d')]), "ed");
        assert_eq!(proposed(&[Key::plain(KeyCode::End), Key::char('!')]), "web 503!");
        assert_eq!(proposed(&[Key::plain(KeyCode::Left), Key::char('!')]), "web 50!3");
        assert_eq!(proposed(&[Key::plain(KeyCode::Backspace)]), "");
        assert_eq!(
            proposed(&[Key::plain(KeyCode::Tab), Key::char('x')]),
            "x",
            "a key that means nothing touches nothing"
        );
        let mut input = LineInput::default();
        input.propose("web 503");
        input.paste("edge");
        assert_eq!(input.text(), "edge");
    }

    #[test]
    fn looking_back_and_forth_returns_to_what_was_typed() {
        let mut input = LineInput::default();
        input.paste("one");
        input.submit();
        input.paste("tw");
        input.key(&Key::plain(KeyCode::Up));
        assert_eq!(input.text(), "one");
        input.key(&Key::plain(KeyCode::Down));
        assert_eq!(input.text(), "tw");
    }
}
