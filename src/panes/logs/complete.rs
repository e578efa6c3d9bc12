//! What Tab completes while a filter is typed: levels, sources, times, saved queries, fields of the rows in sight.

use crate::domain::log::Row;
use crate::panes::Context;
use crate::panes::logs::{LogsPane, object};

/// Rows whose fields are offered: a screen or two.
const ROWS_MAX: usize = 100;
/// Fields offered: more is no help to anyone.
const FIELDS_MAX: usize = 60;
/// Chips worth offering in any log.
const COMMON: &[&str] =
    &["level>=warn", "level>=error", "level>=info", "level=info", "since:-5m", "since:-15m", "since:-1h", "until:-5m"];

/// A word that is being completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// What stands before the word.
    head: String,
    /// What it can become.
    words: Vec<String>,
    at: usize,
}

impl Completion {
    /// Begins to complete the last word of a text; `None` when nothing begins like it.
    pub fn begin(pane: &LogsPane, cx: &Context<'_>, text: &str) -> Option<Self> {
        let start = text.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let word = &text[start..];
        let signs = word.len() - word.trim_start_matches(['~', '-', '!']).len();
        let (head, word) = text.split_at(start + signs);
        let mut words: Vec<String> = candidates(pane, cx).into_iter().filter(|it| it.starts_with(word)).collect();
        words.retain(|it| it != word);
        (!words.is_empty()).then(|| Self { head: head.to_string(), words, at: 0 })
    }

    /// The whole text with the word completed.
    pub fn text(&self) -> String {
        format!("{}{}", self.head, self.words[self.at])
    }

    /// Goes on to another word.
    pub fn step(&mut self, forwards: bool) {
        let count = self.words.len();
        self.at = (self.at + if forwards { 1 } else { count - 1 }) % count;
    }
}

fn candidates(pane: &LogsPane, cx: &Context<'_>) -> Vec<String> {
    let mut words: Vec<String> = COMMON.iter().map(|it| it.to_string()).collect();
    words.extend(cx.board.logs.sources.iter().map(|it| {
        let name = &it.name;
        if name.contains([' ', '"']) { format!("source:\"{name}\"") } else { format!("source:{name}") }
    }));
    words.extend(pane.recall.saved().iter().map(|it| format!("@{}", it.name)));
    let mut fields: Vec<String> = Vec::new();
    let records = pane.rows().rows.iter().rev().filter_map(|row| match row {
        Row::Record(record) => Some(record.original.as_ref().unwrap_or(&record.lines)),
        Row::Gap(_) | Row::Break => None,
    });
    for lines in records.take(ROWS_MAX) {
        for name in object::field_names(lines) {
            let word = format!("{name}=");
            if fields.len() < FIELDS_MAX && !fields.contains(&word) && !word.starts_with("level=") {
                fields.push(word);
            }
        }
    }
    words.extend(fields);
    words
}
