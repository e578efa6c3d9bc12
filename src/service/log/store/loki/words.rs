//! Parts of queries in LogQL.

use crate::service::log::store::NANOS_PER_SECOND;
use crate::service::log::store::loki::LEVEL_LABELS;
use crate::service::log::store::pushdown::{self, Re2};

/// Adds a line filter for a regex; true when it is exact.
pub(super) fn push_regex(text: &mut String, pattern: &str, ignore_case: bool, out: bool) -> bool {
    match pushdown::re2(pattern, ignore_case, out) {
        Some(Re2 { pattern, is_exact }) if is_exact || !out => {
            let sign = if out { "!~" } else { "|~" };
            text.push_str(&format!(" {sign} {}", quoted(&pattern)));
            is_exact
        }
        _ if out => false,
        _ => {
            for literal in pushdown::required(pattern) {
                if ignore_case {
                    text.push_str(&format!(" |~ {}", quoted(&format!("(?i){}", regex::escape(&literal)))));
                } else {
                    text.push_str(&format!(" |= {}", quoted(&literal)));
                }
            }
            false
        }
    }
}

/// Keeps lines whose labels name no level that is known here.
pub(super) fn without_level() -> String {
    let known = alternatives(pushdown::LEVEL_WORDS.iter().map(|(word, _)| *word));
    LEVEL_LABELS.iter().map(|label| format!(" | {label}!~{known}")).collect()
}

/// Words in any case, as the value of a label matcher: it stands for the whole label.
pub(super) fn alternatives(words: impl Iterator<Item = &'static str>) -> String {
    quoted(&format!("(?i)\\s*({})\\s*", words.collect::<Vec<_>>().join("|")))
}

/// A string of LogQL: quoted as in Go.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for it in text.chars() {
        match it {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            it if it.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(it))),
            it => quoted.push(it),
        }
    }
    quoted.push('"');
    quoted
}

/// A duration as LogQL writes it.
pub(super) fn duration(nanos: i64) -> String {
    if nanos % NANOS_PER_SECOND == 0 { format!("{}s", nanos / NANOS_PER_SECOND) } else { format!("{nanos}ns") }
}
