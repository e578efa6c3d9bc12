//! Log records of OpenTelemetry as JSON: a record a line, or a line of a collector's file exporter with many.
//!
//! A line is one record of ours whatever it holds, because places in a file are those of lines. So nothing of the
//! others may be out of sight: all of them are shown, a field of any of them passes, the worst level counts.
//! Attributes are lists of `{"key":…,"value":{"stringValue":…}}` and are given as `key`, those of maps with dots.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::domain::log::Level;
use crate::logstore::format::text;
use crate::logstore::json::{self, Value};
use crate::logstore::level;

/// How a line of an exporter begins.
const EXPORT: &[u8] = b"\"resourceLogs\"";
/// Bytes in which that stands, and in which a single record says its time.
const HEAD_BYTES: usize = 1024;
/// Bytes of an export in which the time of its first record is looked for: the attributes of its resource come first.
const TIME_BYTES: usize = 64 * 1024;
/// Records of one line that are looked at: exporters send batches of some hundreds to some thousands.
const MAX_ENTRIES: usize = 10_000;
/// Maps and lists within values that are entered.
const MAX_DEPTH: usize = 8;

/// True when the object is a line of an exporter.
pub fn is_export(object: &[u8]) -> bool {
    let Some((b'{', rest)) = object.split_first() else { return false };
    rest.trim_ascii_start().starts_with(EXPORT)
}

/// True when the object may be a single record.
pub fn is_record(object: &[u8]) -> bool {
    memchr::memmem::find(&object[..object.len().min(HEAD_BYTES)], b"imeUnixNano\"").is_some()
}

/// True when its attributes are lists and its values have types, so that it is no text for a person.
pub fn is_laid_out(object: &[u8]) -> bool {
    let has_list = || memchr::memmem::find(object, b"\"attributes\":[{\"key\":").is_some();
    is_export(object) || (is_record(object) && has_list())
}

/// A log record with what stands around it.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The record itself.
    pub record: &'a [u8],
    /// The scope that wrote it.
    scope: Option<&'a [u8]>,
    /// The resource it is of.
    resource: Option<&'a [u8]>,
}

/// A field of a record: its name, its text, whether that is a string.
pub type Visit<'v, 'a> = &'v mut dyn FnMut(&[u8], Cow<'a, [u8]>, bool) -> bool;

/// The records of an object, the first `MAX_ENTRIES` of them.
pub fn entries(object: &[u8]) -> Vec<Entry<'_>> {
    if !is_export(object) {
        return vec![Entry { record: object, scope: None, resource: None }];
    }
    let mut entries = Vec::new();
    for of_resource in elements_of(object, "resourceLogs") {
        let resource = object_of(of_resource, "resource");
        for of_scope in elements_of(of_resource, "scopeLogs") {
            let scope = object_of(of_scope, "scope");
            for record in elements_of(of_scope, "logRecords") {
                if entries.len() >= MAX_ENTRIES {
                    return entries;
                }
                entries.push(Entry { record, scope, resource });
            }
        }
    }
    entries
}

impl<'a> Entry<'a> {
    /// Calls `visit` with each field but body, time and severity, until it says `false`. What is `shared` with the
    /// other records of the line (scope and resource) comes last.
    pub fn fields(&self, shared: bool, visit: Visit<'_, 'a>) -> bool {
        let has_level = self.level().is_some();
        let is_said = |key: &[u8]| match key {
            b"severityNumber" | b"severityText" => has_level,
            b"attributes" => true,
            _ => matches!(key, b"body" | b"timeUnixNano" | b"observedTimeUnixNano"),
        };
        let goes_on = attributes(self.record, b"", visit)
            && self.map_body(visit)
            && plain_members(self.record, b"", &is_said, visit);
        let Some(scope) = self.scope.filter(|_| goes_on && shared) else {
            return goes_on && (!shared || self.resource_fields(visit));
        };
        let is_attributes = |key: &[u8]| key == b"attributes";
        plain_members(scope, b"scope.", &is_attributes, visit)
            && attributes(scope, b"", visit)
            && self.resource_fields(visit)
    }

    fn resource_fields(&self, visit: Visit<'_, 'a>) -> bool {
        self.resource.is_none_or(|it| attributes(it, b"", visit))
    }

    /// A body that is a map is fields.
    fn map_body(&self, visit: Visit<'_, 'a>) -> bool {
        let Some(body) = object_of(self.record, "body") else { return true };
        map_of(body).is_none_or(|map| pairs(map, b"", 0, visit))
    }

    /// What it says; `None` when it is a map of fields without a message.
    pub fn message(&self) -> Option<Cow<'a, [u8]>> {
        let body = match member(self.record, "body")? {
            Value::Object(body) => body,
            other => return Some(other.text()),
        };
        if let Some(map) = map_of(body) {
            let mut message = None;
            pairs(map, b"", 0, &mut |key, text, _| {
                let is_it = matches!(key, b"message" | b"msg");
                if is_it {
                    message = Some(text);
                }
                !is_it
            });
            return message;
        }
        text_of(body, 0).map(|(text, _)| text)
    }

    /// The value of a field. A name stands for the end of a path too; the whole path comes first.
    pub fn field(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        let (mut whole, mut end) = (None, None);
        self.fields(true, &mut |key, text, _| {
            if key.eq_ignore_ascii_case(name.as_bytes()) {
                whole = Some(text);
                return false;
            }
            if end.is_none() && text::is_end_of(key, name.as_bytes()) {
                end = Some(text);
            }
            true
        });
        let own = || json::field(self.record, name).filter(|it| !matches!(it, Value::Object(_))).map(Value::text);
        whole.or(end).or_else(own)
    }

    /// When it was written, or seen where that is not known.
    pub fn time(&self) -> Option<Timestamp> {
        ["timeUnixNano", "observedTimeUnixNano"].into_iter().find_map(|key| nanos(&member(self.record, key)?.text()))
    }

    /// How bad it says it is.
    pub fn level(&self) -> Option<Level> {
        let word = member(self.record, "severityText").and_then(|it| level::of_name(&it.text()));
        word.or_else(|| {
            let number = member(self.record, "severityNumber")?.text();
            level::of_severity_number(std::str::from_utf8(&number).ok()?.parse().ok()?)
        })
    }
}

/// The worst level of the records in a line of an exporter.
pub fn worst_level(export: &[u8]) -> Option<Level> {
    entries(export).iter().filter_map(Entry::level).max()
}

/// When the first record in a line of an exporter was written. The line may be cut.
pub fn first_time(export: &[u8]) -> Option<Timestamp> {
    let head = &export[..export.len().min(TIME_BYTES)];
    let time = |key: &str| nanos(&head[json::find(head, &[key])?]);
    time("timeUnixNano").or_else(|| time("observedTimeUnixNano"))
}

fn nanos(text: &[u8]) -> Option<Timestamp> {
    let nanos: i128 = std::str::from_utf8(text).ok()?.parse().ok()?;
    // Zero is how a time that is not known is written.
    Timestamp::from_nanosecond(nanos).ok().filter(|_| nanos > 0)
}

/// The value of a member of an object, not of those in it.
fn member<'a>(object: &'a [u8], name: &str) -> Option<Value<'a>> {
    let mut found = None;
    json::members(object, &mut |path, value| {
        let is_it = path.keys() == [name.as_bytes()];
        if is_it {
            found = Some(value);
        }
        !is_it
    });
    match found? {
        Value::Object(from) => Some(Value::Object(&from[..json::container_end(from, 0)?])),
        value => Some(value),
    }
}

fn object_of<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    match member(object, name)? {
        Value::Object(found) => Some(found),
        _ => None,
    }
}

/// The objects in the array under a key.
fn elements_of<'a>(object: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let array = match member(object, name) {
        Some(Value::Raw(array @ [b'[', ..])) => array,
        _ => b"",
    };
    let mut at = 1;
    std::iter::from_fn(move || {
        at += memchr::memchr(b'{', array.get(at..)?)?;
        let end = json::container_end(array, at)?;
        let element = &array[at..end];
        at = end;
        Some(element)
    })
}

/// The plain members of an object: strings, numbers, words. Objects and what `is_said` elsewhere are left out.
fn plain_members<'a>(object: &'a [u8], prefix: &[u8], is_said: &dyn Fn(&[u8]) -> bool, visit: Visit<'_, 'a>) -> bool {
    let mut goes_on = true;
    json::members(object, &mut |path, value| {
        let [key] = path.keys() else { return true };
        let is_empty = matches!(value, Value::String(b""));
        if !matches!(value, Value::Object(_)) && !is_said(key) && !is_empty {
            goes_on = visit(&[prefix, key].concat(), value.text(), matches!(value, Value::String(_)));
        }
        goes_on
    });
    goes_on
}

fn attributes<'a>(object: &'a [u8], prefix: &[u8], visit: Visit<'_, 'a>) -> bool {
    elements_of(object, "attributes").all(|it| pair(it, prefix, 0, &mut *visit))
}

/// The pairs of a map.
fn pairs<'a>(map: &'a [u8], prefix: &[u8], depth: usize, visit: Visit<'_, 'a>) -> bool {
    elements_of(map, "values").all(|it| pair(it, prefix, depth, &mut *visit))
}

/// `{"key":…,"value":…}`
fn pair<'a>(pair: &'a [u8], prefix: &[u8], depth: usize, visit: Visit<'_, 'a>) -> bool {
    let (Some(key), Some(value)) = (member(pair, "key"), object_of(pair, "value")) else { return true };
    let key = [prefix, &key.text()].concat();
    match map_of(value).filter(|_| depth < MAX_DEPTH) {
        Some(map) => pairs(map, &[&key[..], b"."].concat(), depth + 1, visit),
        None => text_of(value, depth).is_none_or(|(text, is_string)| visit(&key, text, is_string)),
    }
}

fn map_of(value: &[u8]) -> Option<&[u8]> {
    object_of(value, "kvlistValue")
}

/// The text of `{"stringValue":…}` and the like, and whether it is a string.
fn text_of(value: &[u8], depth: usize) -> Option<(Cow<'_, [u8]>, bool)> {
    let mut first = None;
    json::members(value, &mut |path, value| {
        first = path.keys().first().map(|key| (*key, value));
        false
    });
    let (kind, inner) = first?;
    if kind == b"arrayValue"
        && depth < MAX_DEPTH
        && let Some(array) = object_of(value, "arrayValue")
    {
        let items: Vec<Cow<'_, [u8]>> =
            elements_of(array, "values").filter_map(|it| Some(text_of(it, depth + 1)?.0)).collect();
        return Some((Cow::Owned([b"[", &items.join(&b","[..])[..], b"]"].concat()), false));
    }
    let whole = match inner {
        Value::Object(from) => Value::Object(&from[..json::container_end(from, 0)?]),
        other => other,
    };
    // Numbers of 64 bits are strings in JSON.
    Some((whole.text(), matches!(whole, Value::String(_)) && kind != b"intValue"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXPORT: &str = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"api"}}]},"scopeLogs":[{"scope":{"name":"orders","version":""},"logRecords":[
        {"timeUnixNano":"0","observedTimeUnixNano":"1787121001000000000","severityNumber":9,"body":{"stringValue":"taken"},"attributes":[{"key":"order","value":{"intValue":"7"}},{"key":"http","value":{"kvlistValue":{"values":[{"key":"status","value":{"intValue":200}},{"key":"tags","value":{"arrayValue":{"values":[{"stringValue":"a"},{"boolValue":true}]}}}]}}}],"traceId":"5b8e","spanId":""},
        {"timeUnixNano":"1787121002000000000","severityText":"ERROR","body":{"kvlistValue":{"values":[{"key":"message","value":{"stringValue":"lost"}},{"key":"user","value":{"stringValue":"sid"}}]}},"attributes":[{"key":"order","value":{"intValue":"8"}}]}]}]}]}"#;

    #[test]
    fn every_record_of_a_line_has_its_fields_and_those_around_it() {
        let found = entries(EXPORT.as_bytes());
        assert_eq!(found.len(), 2);
        let field = |index: usize, name: &str| {
            found[index].field(name).map(|it| String::from_utf8(it.into_owned()).unwrap_or_default())
        };
        for (name, first, second) in [
            ("order", Some("7"), Some("8")),
            ("http.status", Some("200"), None),
            ("status", Some("200"), None),
            ("tags", Some("[a,true]"), None),
            ("traceId", Some("5b8e"), None),
            ("spanId", None, None),
            ("user", None, Some("sid")),
            ("scope.name", Some("orders"), Some("orders")),
            ("service.name", Some("api"), Some("api")),
        ] {
            assert_eq!(field(0, name).filter(|it| !it.is_empty()).as_deref(), first, "{name}");
            assert_eq!(field(1, name).as_deref(), second, "{name}");
        }
        let message = |index: usize| found[index].message().map(|it| String::from_utf8_lossy(&it).into_owned());
        assert_eq!((message(0).as_deref(), message(1).as_deref()), (Some("taken"), Some("lost")));
        let seconds = |index: usize| found[index].time().map(Timestamp::as_second);
        assert_eq!((seconds(0), seconds(1)), (Some(1_787_121_001), Some(1_787_121_002)));
        assert_eq!((found[0].level(), worst_level(EXPORT.as_bytes())), (Some(Level::Info), Some(Level::Error)));
    }

    proptest! {
        #[test]
        fn any_damage_is_read_without_a_panic(cut in 0..EXPORT.len(), at in 0..EXPORT.len(), byte in any::<u8>()) {
            let mut bytes = EXPORT.as_bytes()[..cut].to_vec();
            if let Some(it) = bytes.get_mut(at) {
                *it = byte;
            }
            for entry in entries(&bytes) {
                let _ = (entry.message(), entry.field("order"), entry.level(), entry.time());
            }
            let _ = first_time(&bytes);
        }
    }
}
