//! Filters by example: only records like this one, or none like it.

use crate::app::effect::{Effect, Notice};
use crate::domain::log::Record;
use crate::domain::query::{Chip, ChipKind};
use crate::panes::Context;
use crate::panes::logs::{LogsPane, layout, object};

/// Words shorter than this, all together, say too little about a record.
const LETTERS_MIN: usize = 4;
/// Keys under which loggers write the message.
const MESSAGE_KEYS: &[&str] = &["message", "msg", "@message", "log", "event", "text", "short_message"];

impl LogsPane {
    /// Shows only records like the current one, or hides them: a chip that can be edited.
    pub(super) fn by_example(&mut self, cx: &Context<'_>, out: bool) -> Vec<Effect> {
        let Some(record) = self.current_record() else { return vec![Notice::warn("no record here")] };
        let Some(text) = common_part(record) else {
            return vec![Notice::warn("nothing in this record is sure to stand in others: `f` takes a filter")];
        };
        let chip = Chip { out, enabled: true, kind: ChipKind::Text(text) };
        match self.chips.push(chip) {
            Ok(chips) => self.set_chips(cx, chips),
            Err(error) => vec![Notice::error(error)],
        }
    }
}

/// The longest run of words of a record that say what happened: no numbers, ids or values that change.
fn common_part(record: &Record) -> Option<String> {
    let message = message(record);
    let mut best: Option<&str> = None;
    let mut start = None;
    let mut end = 0;
    let mut at = 0;
    // The blank at the end closes the last run.
    for word in message.split_inclusive(' ').chain(["0"]) {
        let (from, bare) = (at, word.trim_end());
        at += word.len();
        if is_constant(bare) {
            start.get_or_insert(from);
            end = from + bare.len();
        } else if !bare.is_empty()
            && let Some(first) = start.take()
        {
            let run = message.get(first..end).unwrap_or_default();
            if best.is_none_or(|it| letters(it) < letters(run)) {
                best = Some(run);
            }
        }
    }
    best.map(|it| it.trim_matches(|it: char| matches!(it, ',' | ':' | ';' | ' ')).to_string())
        .filter(|it| letters(it) >= LETTERS_MIN)
}

fn letters(text: &str) -> usize {
    text.chars().filter(|it| it.is_alphabetic()).count()
}

/// Words with digits, pairs, quotes and escapes differ from record to record, or stand otherwise on disk.
fn is_constant(word: &str) -> bool {
    let changes = |it: char| it.is_ascii_digit() || matches!(it, '=' | '"' | '\\' | '[' | ']' | '{' | '}' | '/' | '@');
    !word.is_empty() && !word.contains(changes)
}

/// What the record says, without its time.
fn message(record: &Record) -> String {
    if let Some(original) = &record.original {
        let of_key = |key: &&str| {
            let quoted = format!("\"{key}\"");
            object::entries(original).into_iter().find(|it| it.key.as_deref() == Some(&quoted)).map(|it| it.value)
        };
        if let Some(message) = MESSAGE_KEYS.iter().find_map(of_key) {
            return message.trim_matches('"').to_string();
        }
    }
    let line = record.lines.first().map_or("", String::as_str);
    let start = record.time_span.as_ref().map_or(0, |it| layout::floor_char(line, it.end));
    line[start..].to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panes::logs::fixture::Desk;

    fn common(line: &str) -> Option<String> {
        let desk = Desk::new(80, 8, &[line]);
        let Some(crate::domain::log::Row::Record(record)) = desk.rows.first().cloned() else { panic!("a record") };
        common_part(&record)
    }

    #[test]
    fn the_words_that_stay_make_the_filter() {
        let check = |line: &str, expected: &str| assert_eq!(common(line).as_deref(), Some(expected), "{line}");
        check("ERROR [gateway] [worker-7] req=52fb upstream timeout after 30000 ms", "upstream timeout after");
        check("WARN pool nearly exhausted (60/64)", "WARN pool nearly exhausted");
        check("INFO GET /orders 200 in 12 ms", "INFO GET");
        check("ERROR 数据库连接失败: timeout after 30000 ms", "ERROR 数据库连接失败: timeout after");
        assert_eq!(common("12 34 a=b"), None);
    }
}
