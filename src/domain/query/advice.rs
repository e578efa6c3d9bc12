//! What to say when nothing passes a query: what its text was taken for, and how the other is written.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::query::field::FieldSign;
use crate::domain::query::matcher::Matcher;
use crate::domain::query::{Chip, ChipKind, Query, REGEX_SIGNS};
use crate::domain::sanitise;

/// Sources named in one line.
const NAMES_MAX: usize = 5;

/// One line for every chip that may have been meant in another way; `sources` are the names of those that are read.
pub fn of(query: &Query, sources: &[&str]) -> Vec<String> {
    let enabled = query.chips.iter().filter(|it| it.enabled);
    enabled.filter_map(|it| of_chip(it, sources)).map(|it| sanitise::text(&it)).collect()
}

fn of_chip(chip: &Chip, sources: &[&str]) -> Option<String> {
    let shown = &chip.kind;
    match &chip.kind {
        ChipKind::Text(text) => of_text(text),
        ChipKind::Regex(pattern) if chip.out => Some(format!("`{shown}` is a regex, `\"{pattern}\"` the plain text")),
        ChipKind::Regex(pattern) => {
            Some(format!("{shown} was searched as a regex; \"{pattern}\" finds the plain text"))
        }
        ChipKind::Source(name) if !chip.out && !is_called(chip, sources) => {
            let names: Vec<String> = sources.iter().take(NAMES_MAX).map(|it| format!("`{it}`")).collect();
            let more = if sources.len() > NAMES_MAX { ", …" } else { "" };
            Some(format!("no source is called `{name}`, there are {}{more}", names.join(", ")))
        }
        ChipKind::Field { name, sign: FieldSign::Is, .. } => {
            Some(format!("`{shown}` compares the field `{name}`; \"{shown}\" finds the text"))
        }
        _ => None,
    }
}

fn of_text(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let around = |word: &str| {
        let at = words.iter().position(|it| *it == word)?;
        Some((words[..at].join(" "), words[at + 1..].join(" ")))
    };
    if let Some((before, after)) = around("OR").filter(|(a, b)| !a.is_empty() && !b.is_empty()) {
        return Some(format!("`OR` was searched as text; /{before}|{after}/ finds one or the other"));
    }
    if let Some((before, after)) = around("AND").filter(|(a, b)| !a.is_empty() && !b.is_empty()) {
        return Some(format!("`AND` was searched as text; \"{before}\" \"{after}\" finds records that have both"));
    }
    if let Some((_, after)) = around("NOT").filter(|(_, b)| !b.is_empty()) {
        return Some(format!("`NOT` was searched as text; -\"{after}\" leaves such records out"));
    }
    if text.contains(REGEX_SIGNS) {
        return Some(format!("\"{text}\" was searched as plain text; /{text}/ is the regex"));
    }
    (words.len() > 1).then(|| {
        let each: Vec<String> = words.iter().map(|it| format!("\"{it}\"")).collect();
        format!(
            "`{}` was searched as one text; {} finds records that have all of them",
            words.join(" "),
            each.join(" ")
        )
    })
}

/// True when a chip for sources takes one of these names.
pub fn is_called(chip: &Chip, sources: &[&str]) -> bool {
    let query = Query { chips: vec![chip.clone()] };
    let matcher = Matcher::new(&query, Timestamp::UNIX_EPOCH, &TimeZone::UTC);
    matcher.is_ok_and(|it| sources.iter().any(|name| it.takes_source(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_meant_is_said_with_how_it_is_written() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(of(&Query::typed(text).unwrap(), &["api", "edge"]), expected, "{text}");
        };
        check("timeout", &[]);
        check("level>=warn timeout", &[]);
        check("ERROR.*timeout", &["/ERROR.*timeout/ was searched as a regex; \"ERROR.*timeout\" finds the plain text"]);
        check("\"a.*b\"", &["\"a.*b\" was searched as plain text; /a.*b/ is the regex"]);
        check("a OR b", &["`OR` was searched as text; /a|b/ finds one or the other"]);
        check("NOT b", &["`NOT` was searched as text; -\"b\" leaves such records out"]);
        check("a b", &["`a b` was searched as one text; \"a\" \"b\" finds records that have all of them"]);
        check("source:nope", &["no source is called `nope`, there are `api`, `edge`"]);
        check("source:a*", &[]);
        check("status=9", &["`status=9` compares the field `status`; \"status=9\" finds the text"]);
    }
}
