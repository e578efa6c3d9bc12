//! A text editor: soft wrap, undo, graphemes of any width. Pure state; the pane decides what saving means.
//!
//! | key | does |
//! |---|---|
//! | arrows, `ctrl-f` `ctrl-b` `ctrl-n` | move; up and down by rows of the screen |
//! | `ctrl-left` `ctrl-right`, `alt-b` `alt-f` | move by word |
//! | `home` `end` | start and end of the row |
//! | `ctrl-a` `ctrl-e` | start and end of the line |
//! | `ctrl-home` `ctrl-end`, `alt-<` `alt->` | start and end of the text |
//! | `pgup` `pgdn`, `ctrl-v` `alt-v` | a screen up and down |
//! | `backspace` `del`, `ctrl-h` `ctrl-d` | delete a character |
//! | `ctrl-w` `alt-backspace`, `alt-d` | delete a word before, after |
//! | `ctrl-u`, `ctrl-k` | delete to the start, to the end of the line |
//! | `ctrl-z` `ctrl-_` `alt-z` | undo |
//! | `ctrl-y` `alt-r` | redo |

pub mod buffer;
pub mod history;
pub mod view;
pub mod wrap;

#[cfg(test)]
mod tests;

use jiff::Timestamp;

use crate::domain::key::{Key, KeyCode};
use crate::domain::sanitise;
use crate::widgets::editor::buffer::{Buffer, Place};
use crate::widgets::editor::history::{Edit, History, Touch};
use crate::widgets::editor::wrap::{column_of, place_at_column, rows};

/// Columns that a Tab key moves to the next multiple of; typed as blanks, which look the same everywhere.
const INDENT: usize = 4;

/// What a key did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The text changed.
    Edited,
    /// At most the cursor moved.
    Moved,
    /// The key means nothing here.
    Ignored,
}

/// Text being edited, with its cursor and its past.
#[derive(Debug, Clone, Default)]
pub struct Editor {
    buffer: Buffer,
    cursor: Place,
    // Column that up and down try to return to, in cells of the row.
    goal: Option<usize>,
    history: History,
    // First row on the screen: line and row within the line's wrap.
    top: (usize, usize),
}

impl Editor {
    /// Starts with a text; the cursor stands at its beginning and nothing can be undone.
    pub fn new(text: &str) -> Self {
        Self { buffer: Buffer::new(text), ..Self::default() }
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.buffer.text()
    }

    /// Number of lines, at least one.
    pub fn line_count(&self) -> usize {
        self.buffer.lines().len()
    }

    /// Line and byte of the cursor; always at the boundary of a grapheme.
    pub fn cursor(&self) -> Place {
        self.cursor
    }

    /// Puts the cursor at the end of the text.
    pub fn move_to_end(&mut self) {
        self.cursor = self.buffer.end();
        self.goal = None;
    }

    /// Puts the cursor at the beginning of the first line that begins so, when there is one.
    pub fn move_to_line_beginning_with(&mut self, text: &str) {
        if let Some(line) = self.buffer.lines().iter().position(|it| it.starts_with(text)) {
            self.cursor = Place { line, byte: 0 };
            self.goal = None;
        }
    }

    /// Replaces the whole text as one undo step; the cursor stays near where it was.
    pub fn replace_all(&mut self, text: &str, now: Timestamp) {
        self.edit(Place::default(), self.buffer.end(), text, Touch::Whole, now);
        self.cursor = self.buffer.clamp(self.cursor);
    }

    /// Takes a paste in as one undo step.
    pub fn paste(&mut self, text: &str, now: Timestamp) {
        // A terminal sends line ends as CR; what looks like an escape sequence has no place in a note.
        let clean = sanitise::multiline(&text.replace("\r\n", "\n").replace('\r', "\n"));
        if !clean.is_empty() {
            self.edit(self.cursor, self.cursor, &clean, Touch::Whole, now);
        }
    }

    /// Takes a key. `width` and `height` are those of the area it is drawn in.
    pub fn key(&mut self, key: &Key, now: Timestamp, width: u16, height: u16) -> Outcome {
        let outcome = self.take(key, now, wrap_width(width), height.max(1) as usize);
        if outcome != Outcome::Ignored {
            self.fit(width, height);
        }
        outcome
    }

    /// Scrolls so that the cursor is visible in an area of this size.
    pub fn fit(&mut self, width: u16, height: u16) {
        self.top = self.top_for(wrap_width(width), height.max(1) as usize);
    }

    /// Undoes the last step; `false` when there is none.
    pub fn undo(&mut self) -> bool {
        let Some(edit) = self.history.undo() else { return false };
        self.buffer.replace(edit.at, edit.at.after(&edit.inserted), &edit.removed);
        self.cursor = edit.cursor_before;
        self.goal = None;
        true
    }

    /// Does again what was undone last; `false` when there is nothing.
    pub fn redo(&mut self) -> bool {
        let Some(edit) = self.history.redo() else { return false };
        self.buffer.replace(edit.at, edit.at.after(&edit.removed), &edit.inserted);
        self.cursor = edit.cursor_after;
        self.goal = None;
        true
    }

    fn take(&mut self, key: &Key, now: Timestamp, width: usize, height: usize) -> Outcome {
        if let Some(it) = key.typed() {
            let mut text = [0; 4];
            let touch = if it.is_whitespace() { Touch::Blank } else { Touch::Letter };
            return self.insert(it.encode_utf8(&mut text), touch, now);
        }
        let here = self.cursor;
        let buffer = &self.buffer;
        match (key.code, key.ctrl, key.alt) {
            (KeyCode::Enter, ..) => {
                let line = buffer.line(here.line);
                let indent: String = line[..here.byte].chars().take_while(|it| matches!(it, ' ' | '\t')).collect();
                self.insert(&format!("\n{indent}"), Touch::Whole, now)
            }
            (KeyCode::Tab, false, false) => {
                let column = column_of(buffer.line(here.line), here.byte);
                self.insert(&" ".repeat(INDENT - column % INDENT), Touch::Blank, now)
            }
            (KeyCode::Char('w'), true, _) | (KeyCode::Backspace, true, _) | (KeyCode::Backspace, _, true) => {
                self.delete(buffer.word_before(here), here, Touch::Whole, now)
            }
            (KeyCode::Backspace, ..) | (KeyCode::Char('h'), true, _) => {
                self.delete(buffer.before(here), here, Touch::Erase, now)
            }
            (KeyCode::Delete, ..) | (KeyCode::Char('d'), true, false) => {
                self.delete(here, buffer.after(here), Touch::Erase, now)
            }
            (KeyCode::Char('d'), false, true) => self.delete(here, buffer.word_after(here), Touch::Whole, now),
            (KeyCode::Char('u'), true, _) => self.delete(Place { byte: 0, ..here }, here, Touch::Whole, now),
            (KeyCode::Char('k'), true, _) => {
                let end = Place { byte: buffer.line(here.line).len(), ..here };
                // At the end of a line the line break goes, as in every shell and editor.
                let end = if end == here { buffer.after(here) } else { end };
                self.delete(here, end, Touch::Whole, now)
            }
            (KeyCode::Char('z' | '_' | '7' | '/' | '-'), true, _) | (KeyCode::Char('z'), _, true) => {
                if self.undo() {
                    Outcome::Edited
                } else {
                    Outcome::Moved
                }
            }
            (KeyCode::Char('y'), true, _) | (KeyCode::Char('r'), _, true) => {
                if self.redo() {
                    Outcome::Edited
                } else {
                    Outcome::Moved
                }
            }
            (KeyCode::Home, true, _) | (KeyCode::Char('<'), _, true) => self.go(Place::default()),
            (KeyCode::End, true, _) | (KeyCode::Char('>'), _, true) => self.go(buffer.end()),
            (KeyCode::Left, true, _) | (KeyCode::Left, _, true) | (KeyCode::Char('b'), false, true) => {
                self.go(buffer.word_before(here))
            }
            (KeyCode::Right, true, _) | (KeyCode::Right, _, true) | (KeyCode::Char('f'), false, true) => {
                self.go(buffer.word_after(here))
            }
            (KeyCode::Left, ..) | (KeyCode::Char('b'), true, _) => self.go(buffer.before(here)),
            (KeyCode::Right, ..) | (KeyCode::Char('f'), true, _) => self.go(buffer.after(here)),
            (KeyCode::Char('a'), true, _) => self.go(Place { byte: 0, ..here }),
            (KeyCode::Char('e'), true, _) => self.go(Place { byte: buffer.line(here.line).len(), ..here }),
            (KeyCode::Home, ..) => self.go_in_row(width, 0),
            (KeyCode::End, ..) => self.go_in_row(width, usize::MAX),
            (KeyCode::Up, ..) | (KeyCode::Char('p'), true, _) => self.go_rows(width, -1),
            (KeyCode::Down, ..) | (KeyCode::Char('n'), true, _) => self.go_rows(width, 1),
            (KeyCode::PageUp, ..) | (KeyCode::Char('v'), _, true) => self.go_rows(width, -(height as isize)),
            (KeyCode::PageDown, ..) | (KeyCode::Char('v'), true, _) => self.go_rows(width, height as isize),
            _ => Outcome::Ignored,
        }
    }

    fn insert(&mut self, text: &str, touch: Touch, now: Timestamp) -> Outcome {
        self.edit(self.cursor, self.cursor, text, touch, now);
        Outcome::Edited
    }

    fn delete(&mut self, from: Place, to: Place, touch: Touch, now: Timestamp) -> Outcome {
        if from == to {
            return Outcome::Moved;
        }
        self.edit(from, to, "", touch, now);
        Outcome::Edited
    }

    fn edit(&mut self, from: Place, to: Place, text: &str, touch: Touch, now: Timestamp) {
        let cursor_before = self.cursor;
        let removed = self.buffer.replace(from, to, text);
        // A combining mark typed after a letter joins it: the cursor must not stand inside.
        self.cursor = self.buffer.clamp_forward(from.after(text));
        self.goal = None;
        let edit = Edit { at: from, removed, inserted: text.to_string(), cursor_before, cursor_after: self.cursor };
        self.history.push(edit, touch, now);
    }

    fn go(&mut self, place: Place) -> Outcome {
        self.cursor = place;
        self.goal = None;
        self.history.pause();
        Outcome::Moved
    }

    fn go_in_row(&mut self, width: usize, column: usize) -> Outcome {
        let (row, _) = self.row_of(self.cursor, width);
        let byte = place_at_column(self.buffer.line(self.cursor.line), width, row, column);
        self.go(Place { byte, ..self.cursor })
    }

    fn go_rows(&mut self, width: usize, by: isize) -> Outcome {
        let (mut row, column) = self.row_of(self.cursor, width);
        let goal = self.goal.unwrap_or(column);
        let mut line = self.cursor.line;
        for _ in 0..by.unsigned_abs() {
            if by < 0 {
                if row > 0 {
                    row -= 1;
                } else if line > 0 {
                    line -= 1;
                    row = rows(self.buffer.line(line), width).len() - 1;
                } else {
                    break;
                }
            } else if row + 1 < rows(self.buffer.line(line), width).len() {
                row += 1;
            } else if line + 1 < self.buffer.lines().len() {
                line += 1;
                row = 0;
            } else {
                break;
            }
        }
        let byte = place_at_column(self.buffer.line(line), width, row, goal);
        self.go(Place { line, byte });
        self.goal = Some(goal);
        Outcome::Moved
    }

    /// Row within the line's wrap, and column, of a place.
    fn row_of(&self, place: Place, width: usize) -> (usize, usize) {
        let line = self.buffer.line(place.line);
        let rows = rows(line, width);
        let row = rows.iter().rposition(|it| it.start <= place.byte).unwrap_or_default();
        (row, column_of(&line[rows[row].start..], place.byte - rows[row].start))
    }

    fn top_for(&self, width: usize, height: usize) -> (usize, usize) {
        let (row, _) = self.row_of(self.cursor, width);
        let cursor = (self.cursor.line, row);
        // A smaller width has more rows: the old top may not exist any more.
        let top_line = self.top.0.min(self.buffer.lines().len() - 1);
        let top = (top_line, self.top.1.min(rows(self.buffer.line(top_line), width).len() - 1));
        if cursor <= top {
            return cursor;
        }
        // The lowest top that still shows the cursor in the last row.
        let mut lowest = cursor;
        for _ in 1..height {
            if lowest.1 > 0 {
                lowest.1 -= 1;
            } else if lowest.0 > 0 {
                lowest.0 -= 1;
                lowest.1 = rows(self.buffer.line(lowest.0), width).len() - 1;
            } else {
                break;
            }
        }
        top.max(lowest)
    }
}

/// Columns for text: the last one stays free, so that the cursor behind a full row is still on the screen.
fn wrap_width(width: u16) -> usize {
    (width as usize).saturating_sub(1).max(2)
}
