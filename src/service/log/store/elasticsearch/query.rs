//! Conditions of a query in the language of Elasticsearch and OpenSearch, and fields of their documents.

use std::fmt::Write as _;
use std::ops::Range;

use jiff::Timestamp;
use serde_json::{Value, json};

/// Words that one chip becomes: the longest say most, and each is looked for in all terms.
const MAX_WORDS: usize = 4;
/// Letters of a word that is worth asking for.
const MIN_WORD: usize = 2;
/// Letters of a word that surely stand in one term: longer ones are cut there by the standard analyser.
const LONGEST_WORD: usize = 120;
/// Nanoseconds of the unit of a `date`.
pub(super) const NANOS_PER_MS: i64 = 1_000_000;

/// What is known of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fields {
    /// Some index keeps nanoseconds.
    pub has_nanos: bool,
    /// How texts are looked for.
    pub message: Text,
    /// The level field holds whole words.
    pub level_is_word: bool,
}

/// How a field of text is indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Text {
    /// Not, or not in one way.
    #[default]
    Unknown,
    /// As words.
    Words,
    /// As a whole, unless it is long.
    Keyword,
    /// As a whole.
    Wildcard,
}

pub(super) fn said(filter: &[Value], must_not: &[Value]) -> String {
    json!({ "filter": filter, "must_not": must_not }).to_string()
}

/// Asks for a text in a field, before it is known how the field is indexed; see [`resolve`].
pub(super) fn contains(field: &str, text: &str, ignore_case: bool) -> Value {
    json!({ "contains": { "field": field, "text": text, "ignore_case": ignore_case } })
}

/// Asks for whole words in a field, in the ways in which loggers write them.
pub(super) fn words<'a>(field: &str, words: impl Iterator<Item = &'a str>) -> Value {
    let title = |it: &str| format!("{}{}", it[..1].to_ascii_uppercase(), &it[1..]);
    let forms: Vec<String> = words.flat_map(|it| [it.to_string(), it.to_ascii_uppercase(), title(it)]).collect();
    json!({ "words": { "field": field, "forms": forms } })
}

/// Says a condition in the query language, now that the fields are known; null where it cannot be said.
pub(super) fn resolve(condition: Value, fields: Fields) -> Value {
    if let Some(words) = condition.get("words") {
        let Some(field) = words["field"].as_str().filter(|_| fields.level_is_word) else { return Value::Null };
        return json!({ "terms": { field: words["forms"] } });
    }
    let Some(contains) = condition.get("contains") else { return condition };
    let (Some(field), Some(text)) = (contains["field"].as_str(), contains["text"].as_str()) else { return Value::Null };
    let wildcard = |text: &str, ignore_case: bool| json!({ "wildcard": { field: { "value": format!("*{}*", literal(text)), "case_insensitive": ignore_case } } });
    let ignore_case = contains["ignore_case"].as_bool().unwrap_or_default();
    match fields.message {
        Text::Unknown => Value::Null,
        Text::Wildcard => wildcard(text, ignore_case),
        // Longer values than `ignore_above` are in no index, but their documents say so.
        Text::Keyword => json!({ "bool": { "should": [
            wildcard(text, ignore_case), { "term": { "_ignored": field } }], "minimum_should_match": 1 } }),
        Text::Words => {
            let mut found: Vec<&str> = text.split(|it: char| !it.is_alphanumeric()).collect();
            // Other alphabets are cut into terms in other ways.
            found.retain(|it| it.is_ascii() && it.len() >= MIN_WORD && it.len() <= LONGEST_WORD);
            found.sort_by_key(|it| std::cmp::Reverse(it.len()));
            found.truncate(MAX_WORDS);
            match found.as_slice() {
                [] => Value::Null,
                [only] => wildcard(only, true),
                several => {
                    let all: Vec<Value> = several.iter().map(|it| wildcard(it, true)).collect();
                    json!({ "bool": { "filter": all } })
                }
            }
        }
    }
}

/// Text as a wildcard query takes it.
pub(super) fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    for it in text.chars() {
        if matches!(it, '*' | '?' | '\\') {
            literal.push('\\');
        }
        literal.push(it);
    }
    literal
}

/// The bounds of a range query, in the unit of the field.
pub(super) fn time_range(range: &Range<i64>, fields: Fields) -> Value {
    if fields.has_nanos {
        let text = |nanos: i64| {
            let at = Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH);
            format!("{at:.9}")
        };
        return json!({ "gte": text(range.start), "lt": text(range.end), "format": "strict_date_optional_time_nanos" });
    }
    let ms = |nanos: i64| nanos.div_euclid(NANOS_PER_MS) + i64::from(nanos.rem_euclid(NANOS_PER_MS) > 0);
    json!({ "gte": ms(range.start), "lt": ms(range.end), "format": "epoch_millis" })
}

/// A field of a document: under its whole name or, dots being nested objects, down the path.
pub(super) fn value_at<'a>(source: &'a Value, field: &str) -> Option<&'a Value> {
    if let Some(found) = source.get(field) {
        return Some(found);
    }
    let at = field.find('.')?;
    // Objects and dotted names may be mixed: `log.level` may be in `log`, as `level`.
    field
        .match_indices('.')
        .map(|(at, _)| at)
        .chain([at])
        .find_map(|at| value_at(source.get(&field[..at])?, &field[at + 1..]))
}

/// An index expression in a path.
pub(super) fn path_of(index: &str) -> String {
    let mut path = String::new();
    for byte in index.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b',' | b':' => {
                path.push(char::from(byte))
            }
            other => {
                let _ = write!(path, "%{other:02X}");
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: Text) -> Fields {
        Fields { has_nanos: false, message, level_is_word: true }
    }

    #[test]
    fn a_text_is_asked_for_as_the_field_is_indexed() {
        let asked = |text: &str, message| resolve(contains("message", text, false), fields(message));
        assert_eq!(asked("a*b", Text::Unknown), Value::Null);
        assert_eq!(
            asked("a*b", Text::Wildcard),
            json!({ "wildcard": { "message": { "value": "*a\\*b*", "case_insensitive": false } } })
        );
        assert_eq!(
            asked("Timeout", Text::Words),
            json!({ "wildcard": { "message": { "value": "*Timeout*", "case_insensitive": true } } })
        );
        // Parts of words at its ends, other alphabets and single letters do not narrow.
        assert_eq!(asked("数据库 x", Text::Words), Value::Null);
        let several = asked("pool exhausted (64/64)", Text::Words);
        assert_eq!(several["bool"]["filter"].as_array().unwrap().len(), 4);
        assert!(asked("x", Text::Keyword)["bool"]["should"][1]["term"]["_ignored"] == "message");
    }

    #[test]
    fn bounds_are_in_the_unit_of_the_field() {
        let ms = time_range(&(1_000_000_001..2_000_000_000), fields(Text::Words));
        assert_eq!((&ms["gte"], &ms["lt"]), (&json!(1001), &json!(2000)));
        let nanos = time_range(&(1_000_000_001..2_000_000_000), Fields { has_nanos: true, ..fields(Text::Words) });
        assert_eq!(nanos["gte"], "1970-01-01T00:00:01.000000001Z");
    }

    #[test]
    fn fields_are_found_under_dotted_names_and_in_objects() {
        let source = json!({ "a.b": 1, "c": { "d": 2 }, "e": { "f.g": 3 } });
        assert_eq!(value_at(&source, "a.b"), Some(&json!(1)));
        assert_eq!(value_at(&source, "c.d"), Some(&json!(2)));
        assert_eq!(value_at(&source, "e.f.g"), Some(&json!(3)));
        assert_eq!(value_at(&source, "c.x"), None);
    }

    #[test]
    fn an_index_stays_within_its_part_of_the_path() {
        assert_eq!(path_of("logs-*,<x-{now/d}>"), "logs-*,%3Cx-%7Bnow%2Fd%7D%3E");
    }
}
