//! The text of an editor as lines, and the places in it where a cursor may stand.

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

/// A place in a text. Ordered as the text is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 0.
    pub line: usize,
    /// Byte within the line.
    pub byte: usize,
}

impl Place {
    /// The place behind a text that begins here.
    #[must_use]
    pub fn after(self, text: &str) -> Place {
        match text.rfind('\n') {
            None => Place { line: self.line, byte: self.byte + text.len() },
            Some(last) => {
                let breaks = text.bytes().filter(|it| *it == b'\n').count();
                Place { line: self.line + breaks, byte: text.len() - last - 1 }
            }
        }
    }
}

/// Lines without their `\n`; there is always one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    lines: Vec<String>,
}

impl Default for Buffer {
    fn default() -> Self {
        Self { lines: vec![String::new()] }
    }
}

impl Buffer {
    /// Takes a text apart. Nothing in it is changed: what is not edited is saved as it was.
    pub fn new(text: &str) -> Self {
        Self { lines: text.split('\n').map(str::to_string).collect() }
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// The lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// One line.
    pub fn line(&self, line: usize) -> &str {
        self.lines.get(line).map_or("", String::as_str)
    }

    /// The place behind the last character.
    pub fn end(&self) -> Place {
        let line = self.lines.len() - 1;
        Place { line, byte: self.lines[line].len() }
    }

    /// Replaces what lies between two places and returns it.
    pub fn replace(&mut self, from: Place, to: Place, text: &str) -> String {
        let tail = self.lines[to.line][to.byte..].to_string();
        let removed = if from.line == to.line {
            self.lines[from.line][from.byte..to.byte].to_string()
        } else {
            let mut removed = self.lines[from.line][from.byte..].to_string();
            for line in &self.lines[from.line + 1..to.line] {
                removed.push('\n');
                removed.push_str(line);
            }
            removed.push('\n');
            removed.push_str(&self.lines[to.line][..to.byte]);
            removed
        };
        self.lines[from.line].truncate(from.byte);
        let mut pieces = text.split('\n');
        self.lines[from.line].push_str(pieces.next().unwrap_or_default());
        let mut new: Vec<String> = pieces.map(str::to_string).collect();
        match new.last_mut() {
            Some(last) => last.push_str(&tail),
            None => self.lines[from.line].push_str(&tail),
        }
        self.lines.splice(from.line + 1..=to.line, new);
        removed
    }

    /// The nearest place at or before `place` where a cursor may stand.
    pub fn clamp(&self, place: Place) -> Place {
        let line = place.line.min(self.lines.len() - 1);
        let text = self.line(line);
        let mut byte = place.byte.min(text.len());
        while !is_boundary(text, byte) {
            byte -= 1;
        }
        Place { line, byte }
    }

    /// The nearest place at or behind `place` where a cursor may stand.
    pub fn clamp_forward(&self, place: Place) -> Place {
        let line = place.line.min(self.lines.len() - 1);
        let text = self.line(line);
        let mut byte = place.byte.min(text.len());
        while !is_boundary(text, byte) {
            byte += 1;
        }
        Place { line, byte }
    }

    /// One grapheme back; the end of the line before at the start of a line.
    pub fn before(&self, place: Place) -> Place {
        match self.line(place.line)[..place.byte].grapheme_indices(true).next_back() {
            // The prefix alone may break where the whole line does not: regional indicators pair from the left.
            Some((byte, _)) => self.clamp(Place { byte, ..place }),
            None => self.line_end_before(place),
        }
    }

    /// One grapheme on; the start of the next line at the end of a line.
    pub fn after(&self, place: Place) -> Place {
        let text = self.line(place.line);
        match text[place.byte..].graphemes(true).next() {
            Some(it) => self.clamp_forward(Place { byte: place.byte + it.len(), ..place }),
            None if place.line + 1 < self.lines.len() => Place { line: place.line + 1, byte: 0 },
            None => place,
        }
    }

    /// The start of the word before.
    pub fn word_before(&self, place: Place) -> Place {
        let words = self.line(place.line)[..place.byte].split_word_bound_indices().rev();
        match words.into_iter().find(|(_, word)| !word.trim().is_empty()) {
            Some((byte, _)) => self.clamp(Place { byte, ..place }),
            None if place.byte > 0 => Place { byte: 0, ..place },
            None => self.line_end_before(place),
        }
    }

    /// The end of the next word.
    pub fn word_after(&self, place: Place) -> Place {
        let text = self.line(place.line);
        let mut words = text[place.byte..].split_word_bound_indices();
        match words.find(|(_, word)| !word.trim().is_empty()) {
            Some((byte, word)) => self.clamp_forward(Place { byte: place.byte + byte + word.len(), ..place }),
            None if place.byte < text.len() => Place { byte: text.len(), ..place },
            None => self.after(place),
        }
    }

    fn line_end_before(&self, place: Place) -> Place {
        match place.line.checked_sub(1) {
            Some(line) => Place { line, byte: self.line(line).len() },
            None => place,
        }
    }
}

fn is_boundary(text: &str, byte: usize) -> bool {
    // An incomplete answer is impossible with the whole line at hand.
    text.is_char_boundary(byte) && GraphemeCursor::new(byte, text.len(), true).is_boundary(text, 0).unwrap_or(true)
}
