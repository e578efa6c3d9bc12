//! What is wrong in a file a person wrote, and where.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::sanitise;

/// One mistake in a config or theme file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigError {
    /// The file as the user named it.
    pub file: String,
    /// 1-based line, 0 when the file as a whole is meant.
    pub line: u32,
    /// 1-based column in characters, 0 when the file as a whole is meant.
    pub column: u32,
    /// What is wrong, lower case, no full stop, names in backticks.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line itself, for the caret display; empty when there is none.
    pub snippet: String,
    /// Characters underlined below the snippet.
    pub width: u32,
}

impl ConfigError {
    /// Makes an error about the file as a whole (unreadable, too large).
    pub fn whole_file(file: &str, message: impl Into<String>) -> Self {
        Self {
            file: file.to_string(),
            line: 0,
            column: 0,
            message: message.into(),
            hint: None,
            snippet: String::new(),
            width: 0,
        }
    }

    /// Makes an error at a byte range of the file's text. What the message quotes of the file is sanitised.
    pub fn at(file: &str, text: &str, span: std::ops::Range<usize>, message: impl Into<String>) -> Self {
        let start = floor_char(text, span.start.min(text.len()));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor_char(text, span.end.clamp(start, line_end));
        Self {
            file: file.to_string(),
            line: text[..start].bytes().filter(|byte| *byte == b'\n').count() as u32 + 1,
            column: text[line_start..start].chars().count() as u32 + 1,
            message: sanitise::text(&message.into()),
            hint: None,
            snippet: text[line_start..line_end].to_string(),
            width: (text[start..end].chars().count() as u32).max(1),
        }
    }

    /// What [`fmt::Display`] says, with the file's name alone in place of its path: for a line with little room, where
    /// the mistake counts. The host in front of a path stays.
    pub fn brief(&self) -> String {
        let host = self.file.split_once(":/").map(|(host, _)| host).filter(|it| !it.contains('/'));
        let name = self.file.rsplit('/').next().unwrap_or_default();
        let file = host.map_or_else(|| name.to_string(), |host| format!("{host}:{name}"));
        Self { file, ..self.clone() }.to_string()
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(sanitise::multiline(&hint.into()));
        self
    }
}

impl fmt::Display for ConfigError {
    /// One line, for the banner: `file:line:column: message (hint)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

fn floor_char(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Returns the candidate closest to `word`, for "did you mean", or `None` when nothing is near.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let best = candidates.into_iter().map(|it| (distance(word, it), it)).min_by_key(|(distance, _)| *distance)?;
    // A third of the word may be wrong: `htpp` finds `http`, `x` finds nothing.
    (best.0 <= (word.chars().count() / 3).max(1)).then_some(best.1)
}

/// Optimal string alignment distance: edits and swaps of neighbours.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows = vec![vec![0usize; right.len() + 1]; left.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=right.len()).collect();
    for i in 1..=left.len() {
        for j in 1..=right.len() {
            let substitute = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = substitute.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swapped_letter_finds_the_word() {
        assert_eq!(did_you_mean("htpp", ["tcp", "http", "command"]), Some("http"));
        assert_eq!(did_you_mean("zzz", ["tcp", "http"]), None);
    }

    #[test]
    fn in_brief_the_path_is_left_out_and_not_the_mistake() {
        for (file, brief) in [
            ("/home/alice/.config/hotseat/config.toml", "config.toml"),
            ("config.toml", "config.toml"),
            ("db1:/etc/hotseat/config.toml", "db1:config.toml"),
        ] {
            assert_eq!(ConfigError::whole_file(file, "no such file").brief(), format!("{brief}: no such file"));
        }
    }

    #[test]
    fn the_position_counts_characters_not_bytes() {
        let error = ConfigError::at("c.toml", "a = 1\n日本 = 2\n", 13..14, "x");
        assert_eq!((error.line, error.column, error.width), (2, 4, 1));
    }
}
