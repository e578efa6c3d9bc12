//! The fields of a record, whatever its format.
//!
//! What the line is, is looked at anew for each record: the first bytes and what stands behind the
//! timestamp tell it in a few comparisons. Numbers and names stay as they are written.

use std::borrow::Cow;

use crate::domain::query::field::{FieldTest, is_positional};
use crate::logstore::format::{Format, Reading, export, otlp, text};
use crate::logstore::json;

/// Bytes of a record's text in which fields are looked for; JSON and export entries are read whole.
pub const FIELD_BYTES: usize = 16 * 1024;
/// Bytes that may stand between a timestamp and a JSON object: a stream's name, a container, a tag.
const JSON_PREFIX_BYTES: usize = 200;

/// The value of a field. `stamp_end` is where the record's timestamp ends, 0 without one.
pub fn find<'a>(record: &'a [u8], stamp_end: usize, reading: &Reading, name: &str) -> Option<Cow<'a, [u8]>> {
    match body(record, stamp_end, reading) {
        Body::Json(start) => {
            let object = &record[start..];
            if otlp::is_export(object) {
                return in_batch(object, name);
            }
            let message = || if is_message(name) { message_of_json(object) } else { None };
            if let Some(found) = message().or_else(|| json::field(object, name).map(json::Value::text)) {
                return Some(found);
            }
            if otlp::is_record(object)
                && let Some(found) = otlp::entries(object).first().and_then(|it| field_of_entry(it, name))
            {
                return Some(found);
            }
            // What stands before the object is not lost: a container's prefix, syslog's header.
            if start == 0 { None } else { find_in_text(&record[..start], stamp_end, reading, name) }
        }
        Body::Export => export::field(record, name).map(Cow::Borrowed),
        Body::User => {
            let format = reading.user_format()?;
            let captures = format.captures(text::without_line_end(text::first_line(record)))?;
            let wanted = if is_message(name) { "message" } else { name };
            match format.groups().find(|it| it.eq_ignore_ascii_case(wanted)) {
                Some(group) => captures.name(group).map(|it| Cow::Borrowed(it.as_bytes())),
                None => find_in_text(captures.name("message")?.as_bytes(), 0, &Reading::default(), name),
            }
        }
        Body::Text => find_in_text(record, stamp_end, reading, name),
    }
}

/// True when a field of the record passes: in a line with several records, that of any of them.
pub fn passes(record: &[u8], stamp_end: usize, reading: &Reading, test: &FieldTest) -> bool {
    if let Body::Json(start) = body(record, stamp_end, reading)
        && otlp::is_export(&record[start..])
    {
        return otlp::entries(&record[start..]).iter().any(|it| test.passes_among(|name| field_of_entry(it, name)));
    }
    test.passes_among(|name| find(record, stamp_end, reading, name))
}

/// Calls `visit` with each field of a record but the members of a plain JSON object, until it says `false`.
pub fn all(record: &[u8], stamp_end: usize, reading: &Reading, visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
    match body(record, stamp_end, reading) {
        Body::Json(start) => {
            let object = &record[start..];
            if otlp::is_laid_out(object) {
                for entry in otlp::entries(object) {
                    let message = entry.message();
                    if !message.is_none_or(|it| visit(b"message", &it))
                        || !entry.fields(true, &mut |key, value, _| visit(key, &value))
                    {
                        return;
                    }
                }
            }
        }
        Body::Export => export::fields(record, &mut |key, value| visit(key, value)),
        Body::User => {
            let Some(format) = reading.user_format() else { return };
            let Some(captures) = format.captures(text::without_line_end(text::first_line(record))) else { return };
            let groups = format.groups().filter_map(|it| Some((it, captures.name(it)?.as_bytes())));
            for (name, value) in groups.filter(|(name, _)| !matches!(*name, "time" | "level")) {
                if !visit(name.as_bytes(), value) {
                    return;
                }
            }
        }
        Body::Text => {
            let mut put = |key: &[u8], value: json::Value<'_>| visit(key, &value.text());
            text::fields(record, stamp_end, reading.format.as_ref(), &mut put);
        }
    }
}

/// Different values of a field that are said of one line: more have no room in a column.
const MAX_VALUES: usize = 20;

/// The different values of a field in a line with many records, with commas; of the message the first.
fn in_batch<'a>(object: &'a [u8], name: &str) -> Option<Cow<'a, [u8]>> {
    let mut found: Vec<Cow<'a, [u8]>> = Vec::new();
    for value in otlp::entries(object).iter().filter_map(|it| field_of_entry(it, name)) {
        if !found.contains(&value) {
            found.push(value);
        }
        if is_message(name) || found.len() == MAX_VALUES {
            break;
        }
    }
    if found.len() < 2 { found.pop() } else { Some(Cow::Owned(found.join(&b", "[..]))) }
}

fn field_of_entry<'a>(entry: &otlp::Entry<'a>, name: &str) -> Option<Cow<'a, [u8]>> {
    let message = if is_message(name) { entry.message() } else { None };
    message.or_else(|| entry.field(name))
}

fn find_in_text<'a>(record: &'a [u8], stamp_end: usize, reading: &Reading, name: &str) -> Option<Cow<'a, [u8]>> {
    let mut found = None;
    let name = if is_message(name) { "message" } else { name };
    let mut visit = |key: &[u8], value: json::Value<'a>| {
        let fits = text::is_end_of(key, name.as_bytes()) || (name == "message" && key == b"msg");
        if fits {
            found = Some(value.text());
        }
        !fits
    };
    // Only MySQL's slow query log writes names otherwise than as `name=`.
    if is_positional(name) || record.first() == Some(&b'#') {
        text::fields(record, stamp_end, reading.format.as_ref(), &mut visit);
    } else {
        text::written(record, &mut visit);
    }
    found
}

/// Where a record's fields stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// In a JSON object that begins here.
    Json(usize),
    /// In the lines of an entry of `journalctl -o export`.
    Export,
    /// In the groups of the user's regex.
    User,
    /// In the text.
    Text,
}

/// Says where a record's fields stand.
pub fn body(record: &[u8], stamp_end: usize, reading: &Reading) -> Body {
    match &reading.format {
        None | Some(Format::Json | Format::Text) => {}
        Some(Format::User(_)) => return Body::User,
        Some(_) => return if record.starts_with(export::START) { Body::Export } else { Body::Text },
    }
    match record.first() {
        Some(b'{') => return Body::Json(0),
        Some(b'_') if record.starts_with(export::START) => return Body::Export,
        _ => {}
    }
    // `2026-08-19T14:30:01Z stdout F {"level":…`: at the end of its line stands an object.
    let line = text::without_line_end(text::first_line(record));
    if line.last() == Some(&b'}') {
        let from = stamp_end.min(line.len());
        let head = &line[from..line.len().min(from + JSON_PREFIX_BYTES)];
        if let Some(at) = memchr::memchr(b'{', head) {
            let start = from + at;
            let next = line.get(start + 1);
            let before = start.checked_sub(1).map(|it| line[it]);
            if matches!(next, Some(b'"' | b'}')) && matches!(before, None | Some(b' ' | b'\t' | b':' | b'|')) {
                return Body::Json(start);
            }
        }
    }
    Body::Text
}

/// Keys of the text that a person reads, the first one that is there wins.
pub const MESSAGE_KEYS: [&str; 13] = [
    "message",
    "msg",
    "MESSAGE",
    "@m",
    "fields.message",
    "short_message",
    "textPayload",
    "jsonPayload.message",
    "event",
    "log",
    "@mt",
    "body.stringValue",
    "body",
];

fn is_message(name: &str) -> bool {
    name.eq_ignore_ascii_case("message") || name.eq_ignore_ascii_case("msg")
}

/// The message of a JSON object.
pub fn message_of_json(object: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut best: Option<(usize, json::Value<'_>)> = None;
    json::members(object, &mut |path, value| {
        if let Some(rank) = message_rank(path)
            && !matches!(value, json::Value::Object(_))
            && best.is_none_or(|(it, _)| rank < it)
        {
            best = Some((rank, value));
        }
        best.is_none_or(|(rank, _)| rank > 0)
    });
    best.map(|(_, value)| message_text(value))
}

/// The rank of a path among the keys of messages.
pub fn message_rank(path: &json::Path<'_>) -> Option<usize> {
    let is_it = |name: &str| match path.keys() {
        [key] => *key == name.as_bytes(),
        [outer, inner] => {
            let it = name.as_bytes();
            it.len() == outer.len() + 1 + inner.len()
                && it.starts_with(outer)
                && it[outer.len()] == b'.'
                && it.ends_with(inner)
        }
        _ => false,
    };
    MESSAGE_KEYS.iter().position(|it| is_it(it))
}

/// The text of a message. journald writes one that is not UTF-8 as an array of bytes.
pub fn message_text(value: json::Value<'_>) -> Cow<'_, [u8]> {
    if let json::Value::Raw([b'[', numbers @ .., b']']) = value {
        let bytes = numbers.split(|it| *it == b',').map(|it| std::str::from_utf8(it).ok()?.trim().parse::<u8>().ok());
        if let Some(bytes) = bytes.collect::<Option<Vec<u8>>>() {
            return Cow::Owned(bytes);
        }
    }
    value.text()
}
