//! JSON objects and entries of an export as a person reads them: `message key=value key2=value2`.
//!
//! Time and level have columns of their own and are left out. Objects in objects are written with dots,
//! strings with blanks in quotes. A string of several lines, such as a stack trace, goes on below.

use crate::domain::format;
use crate::domain::log::{MAX_LINE_CHARS, MAX_RECORD_LINES};
use crate::domain::query::level_word;
use crate::logstore::format::fields::{self, Body, message_rank, message_text};
use crate::logstore::format::{Reading, cri, export, otlp, text};
use crate::logstore::json::{self, Path, Value};
use crate::logstore::level::is_level_key;
use crate::logstore::stamp::keys::is_time_key;

/// Bytes of readable text made of one record: more could not be shown.
const MAX_BYTES: usize = MAX_LINE_CHARS * 4;
/// Keys of the columns that journald adds to every entry begin so.
const JOURNALD: &[u8] = b"__REALTIME_TIMESTAMP";

/// A record made readable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readable {
    /// Its lines, not sanitised yet.
    pub lines: Vec<Vec<u8>>,
    /// Bytes of the record that are not in them for their length.
    pub cut_bytes: u64,
}

/// What has a column of its own and need not be said again.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The record has a time.
    pub time: bool,
    /// It has a level.
    pub level: bool,
}

/// Makes a record readable. `None` when it is text already, or broken off.
pub fn read(record: &[u8], stamp_end: usize, reading: &Reading, known: Known) -> Option<Readable> {
    match fields::body(record, stamp_end, reading) {
        Body::Json(start) if otlp::is_laid_out(&record[start..]) => open_telemetry(&record[start..]),
        Body::Json(start) => {
            let head = cri::head(record, stamp_end).map_or(stamp_end, |(_, message)| message);
            object(record, head.min(start), start, known)
        }
        Body::Export => {
            let field = |name| export::field(record, name);
            let program = field("app").or_else(|| field("unit")).unwrap_or_default();
            Some(entry(program, field("pid"), field("message")?))
        }
        Body::User => None,
        Body::Text => {
            let (_, start) = cri::head(text::first_line(record), stamp_end).filter(|_| known.time)?;
            let mut text = Text { lines: vec![Vec::new()], more: Vec::new(), bytes: 0 };
            text.put_message(&record[start..]);
            Some(text.finish((record.len() - start).saturating_sub(MAX_BYTES) as u64))
        }
    }
}

/// `unit[pid]: message`.
fn entry(program: &[u8], pid: Option<&[u8]>, message: &[u8]) -> Readable {
    let mut first = program.to_vec();
    if let Some(pid) = pid {
        first.extend_from_slice(&[b"[", pid, b"]"].concat());
    }
    if !first.is_empty() {
        first.extend_from_slice(b": ");
    }
    let mut text = Text { lines: vec![first], more: Vec::new(), bytes: 0 };
    text.put_message(message);
    text.finish(0)
}

/// A line of OpenTelemetry: its worst record as any other, since the line is of its level, and the further ones of an
/// exporter's batch below it.
fn open_telemetry(object: &[u8]) -> Option<Readable> {
    // What is broken off is shown as it is.
    json::container_end(object, 0)?;
    let entries = otlp::entries(object);
    // Of those that are as bad as the others, the first.
    let worst = (0..entries.len()).rev().max_by_key(|it| entries[*it].level())?;
    let first = &entries[worst];
    let more = entries.len() - 1;
    let mut text = Text { lines: vec![Vec::new()], more: Vec::new(), bytes: 0 };
    if let Some(message) = first.message() {
        text.put_message(&message);
    }
    text.put_fields(first, true);
    if more > 0 {
        // The line has the time of the first.
        let time = first.time().filter(|it| entries[0].time() != Some(*it));
        let time = time.map_or_else(String::new, |it| format!("at {it}, "));
        let more = format::plural(more as u64, "more record");
        text.more.push(format!("  {time}and {more} on this line:").into_bytes());
    }
    for (index, entry) in entries.iter().enumerate().filter(|(index, _)| *index != worst) {
        if text.bytes > MAX_BYTES || text.more.len() >= MAX_RECORD_LINES {
            let unseen = object.len() - offset(object, Value::Raw(entry.record));
            let seen = if worst > index { first.record.len() } else { 0 };
            return Some(text.finish(unseen.saturating_sub(seen) as u64));
        }
        let mut part = Text { lines: vec![b"  ".to_vec()], more: Vec::new(), bytes: 0 };
        if let Some(time) = entry.time() {
            part.lines[0].extend_from_slice(time.to_string().as_bytes());
            part.lines[0].push(b' ');
        }
        if let Some(level) = entry.level() {
            part.lines[0].extend_from_slice(level_word(level).as_bytes());
            part.lines[0].push(b' ');
        }
        if let Some(message) = entry.message() {
            part.put_message(&message);
        }
        part.put_fields(entry, false);
        text.bytes += part.bytes;
        text.more.append(&mut part.lines);
        text.more.extend(part.more.into_iter().map(|it| [&b"    "[..], &it].concat()));
    }
    Some(text.finish(0))
}

fn object(record: &[u8], prefix_start: usize, start: usize, known: Known) -> Option<Readable> {
    let object = &record[start..];
    let message = message(object);
    let mut text = Text { lines: vec![Vec::new()], more: Vec::new(), bytes: 0 };
    let prefix = record[prefix_start..start].trim_ascii();
    if !prefix.is_empty() {
        text.lines[0].extend_from_slice(prefix);
        text.lines[0].push(b' ');
    }
    if let Some(journald) = journald(object, message.as_deref()) {
        return Some(journald);
    }
    if let Some(message) = &message {
        text.put_message(message);
    }
    let best = best_rank(object);
    let (mut time, mut level, mut is_full) = (known.time && prefix_start == 0, known.level, false);
    let mut seen = 0;
    let end = json::members(object, &mut |path, value| {
        let Some(key) = path.keys().last() else { return true };
        let is_value = !matches!(value, Value::Object(_));
        if !is_value {
            return true;
        }
        seen = offset(object, value);
        if std::mem::take(&mut time) {
            if is_time_key(key) {
                return true;
            }
            time = true;
        }
        if level && is_level_key(key) {
            level = false;
            return true;
        }
        if best.is_some() && message_rank(path) == best {
            return true;
        }
        text.put_pair(path, value);
        is_full = text.bytes > MAX_BYTES;
        !is_full
    });
    if is_full {
        return Some(text.finish((object.len() - seen) as u64));
    }
    // An object that is broken off is shown as it is.
    let rest = object[end?..].trim_ascii();
    if !rest.is_empty() {
        text.more.push(rest[..rest.len().min(MAX_BYTES)].to_vec());
    }
    if text.lines[0].is_empty() && text.more.is_empty() {
        return None;
    }
    Some(text.finish(0))
}

/// Where a value stands in the object it is of.
fn offset(object: &[u8], value: Value<'_>) -> usize {
    let (Value::String(slice) | Value::Raw(slice) | Value::Object(slice)) = value;
    (slice.as_ptr() as usize).saturating_sub(object.as_ptr() as usize).min(object.len())
}

fn best_rank(object: &[u8]) -> Option<usize> {
    let mut best = None;
    json::members(object, &mut |path, value| {
        if let Some(rank) = message_rank(path).filter(|_| !matches!(value, Value::Object(_))) {
            best = Some(best.map_or(rank, |it: usize| it.min(rank)));
        }
        best != Some(0)
    });
    best
}

/// The message, with the values put in where Serilog left only their names.
fn message(object: &[u8]) -> Option<Vec<u8>> {
    let message = fields::message_of_json(object)?;
    let is_template = memchr::memchr(b'{', &message).is_some() && json::field(object, "@mt").is_some();
    if !is_template || json::field(object, "@m").is_some() {
        return Some(message.into_owned());
    }
    let mut filled = Vec::with_capacity(message.len());
    let mut rest = &message[..];
    while let Some(open) = memchr::memchr(b'{', rest) {
        filled.extend_from_slice(&rest[..open]);
        let hole = &rest[open + 1..];
        let Some(close) = memchr::memchr(b'}', hole) else {
            rest = &rest[open..];
            break;
        };
        let name = hole[..close].split(|byte| matches!(byte, b':' | b',')).next().unwrap_or_default();
        let name = name.strip_prefix(b"@").or_else(|| name.strip_prefix(b"$")).unwrap_or(name);
        let value = std::str::from_utf8(name).ok().filter(|it| !it.is_empty()).and_then(|it| json::field(object, it));
        match value {
            Some(value) if filled.len() < MAX_BYTES => filled.extend_from_slice(&value.text()),
            _ => filled.extend_from_slice(&rest[open..open + close + 2]),
        }
        rest = &hole[close + 1..];
    }
    filled.extend_from_slice(rest);
    Some(filled)
}

/// journald writes thirty fields with every entry; a person wants to know who said what.
fn journald(object: &[u8], message: Option<&[u8]>) -> Option<Readable> {
    memchr::memmem::find(&object[..object.len().min(4096)], JOURNALD)?;
    let field = |name: &str| json::field(object, name).map(|it| message_text(it).into_owned());
    field("__REALTIME_TIMESTAMP")?;
    let program = field("SYSLOG_IDENTIFIER").or_else(|| field("_SYSTEMD_UNIT")).or_else(|| field("_COMM"));
    Some(entry(&program.unwrap_or_default(), field("_PID").as_deref(), message.unwrap_or_default()))
}

/// Text as it grows: one line, and what goes below it.
struct Text {
    lines: Vec<Vec<u8>>,
    more: Vec<Vec<u8>>,
    bytes: usize,
}

impl Text {
    fn put_message(&mut self, message: &[u8]) {
        let message = message.trim_ascii_end();
        let message = &message[..message.len().min(MAX_BYTES)];
        self.bytes += message.len();
        let mut lines = message.split(|byte| *byte == b'\n');
        self.lines[0].extend_from_slice(lines.next().unwrap_or_default());
        self.more.extend(lines.take(MAX_RECORD_LINES).map(<[u8]>::to_vec));
    }

    fn put_pair(&mut self, path: &Path<'_>, value: Value<'_>) {
        let keys = match path.keys() {
            // tracing keeps all fields of an event in `fields`.
            [b"fields", rest @ ..] if !rest.is_empty() => rest,
            keys => keys,
        };
        self.put(&keys.join(&b'.'), &value.text(), matches!(value, Value::String(_)));
    }

    /// The fields of a record of OpenTelemetry; `shared` also those it has in common with the others of its line.
    fn put_fields(&mut self, entry: &otlp::Entry<'_>, shared: bool) {
        entry.fields(shared, &mut |key, text, is_string| {
            self.put(key, &text, is_string);
            self.bytes <= MAX_BYTES
        });
    }

    fn put(&mut self, key: &[u8], text: &[u8], is_string: bool) {
        let text = &text[..text.len().min(MAX_BYTES)];
        self.bytes += key.len() + text.len() + 2;
        let trimmed = text.trim_ascii_end();
        if is_string && memchr::memchr(b'\n', trimmed).is_some() {
            let mut head = [b"  ", key, b": "].concat();
            let mut lines = trimmed.split(|byte| *byte == b'\n');
            head.extend_from_slice(lines.next().unwrap_or_default());
            self.more.push(head);
            self.more.extend(lines.take(MAX_RECORD_LINES).map(|it| [b"    ", it].concat()));
            return;
        }
        let line = &mut self.lines[0];
        if !line.is_empty() && !line.ends_with(b" ") {
            line.push(b' ');
        }
        line.extend_from_slice(key);
        line.push(b'=');
        let needs_quotes = text.is_empty() || text.iter().any(|byte| matches!(byte, b' ' | b'"' | b'=' | b'\n'));
        if is_string && needs_quotes {
            line.push(b'"');
            for byte in text {
                match byte {
                    b'"' | b'\\' => line.extend_from_slice(&[b'\\', *byte]),
                    b'\n' => line.extend_from_slice(b"\\n"),
                    other => line.push(*other),
                }
            }
            line.push(b'"');
        } else {
            // A value over many lines is an array of an indented object.
            line.extend(text.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
        }
    }

    fn finish(mut self, cut_bytes: u64) -> Readable {
        self.lines.append(&mut self.more);
        self.lines.truncate(MAX_RECORD_LINES);
        Readable { lines: self.lines, cut_bytes }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(record: &str) -> Option<Vec<String>> {
        let known = Known { time: true, level: true };
        let found = read(record.as_bytes(), 0, &Reading::default(), known)?;
        Some(found.lines.iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect())
    }

    #[test]
    fn an_object_becomes_its_message_and_its_fields() {
        let check = |record: &str, expected: &[&str]| {
            assert_eq!(lines(record).unwrap_or_default(), expected, "{record}");
        };
        check(
            r#"{"level":"error","ts":1.5,"msg":"pool exhausted","http":{"status":502,"path":"/a b"},"tags":["x","y"],"n":null,"e":""}"#,
            &[r#"pool exhausted http.status=502 http.path="/a b" tags=["x","y"] n=null e="""#],
        );
        check(r#"{"a":1,"b":{"c":"d"}}"#, &["a=1 b.c=d"]);
        check(
            r#"{"time":"t","level":"error","msg":"two\nlines","stack":"Error: x\n    at f\n    at g\n","k":"v"}"#,
            &["two k=v", "lines", "  stack: Error: x", "        at f", "        at g"],
        );
        check(
            r#"{"timestamp":"t","level":"INFO","fields":{"message":"begin","user":"x"},"target":"app"}"#,
            &["begin user=x target=app"],
        );
        check(
            r#"{"@t":"t","@mt":"User {User} did {@What:j} {Nope}","User":"bob","What":{"a":1}}"#,
            &[r#"User bob did {"a":1} {Nope} User=bob What.a=1"#],
        );
        check(
            r#"{"__REALTIME_TIMESTAMP":"1","PRIORITY":"3","_PID":"7","SYSLOG_IDENTIFIER":"sshd","MESSAGE":"no\nkeys"}"#,
            &["sshd[7]: no", "keys"],
        );
        check("__CURSOR=x\n_PID=7\nSYSLOG_IDENTIFIER=sshd\nMESSAGE=hi\n", &["sshd[7]: hi"]);
        check("{\n  \"msg\": \"x\",\n  \"list\": [\n    1\n  ]\n}", &["x list=[     1   ]"]);
        check(r#"{"msg":"x"} tail"#, &["x", "tail"]);
    }

    #[test]
    fn a_line_of_a_container_runtime_is_its_message() {
        let check = |rest: &str, expected: Option<&[&str]>| {
            let record = format!("2026-08-19T06:30:01Z{rest}");
            let known = Known { time: true, level: true };
            let found = read(record.as_bytes(), 20, &Reading::default(), known);
            let found: Option<Vec<String>> =
                found.map(|it| it.lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect());
            assert_eq!(found, expected.map(|it| it.iter().map(ToString::to_string).collect()), "{rest}");
        };
        check(" stderr F boom: x\n\tat y\n", Some(&["boom: x", "\tat y"]));
        check(" stdout F {\"msg\":\"x\",\"status\":500}\n", Some(&["x status=500"]));
        check(" stdout is full\n", None);
    }

    #[test]
    fn what_is_no_whole_object_stays_as_it_is() {
        for record in [r#"{"msg":"cut"#, "{}", "text", "{not json}"] {
            assert_eq!(lines(record), None, "{record}");
        }
    }

    #[test]
    fn an_object_without_end_is_bounded() {
        let record = format!("{{\"msg\":\"x\",{}\"z\":1}}", "\"key\":\"value\",".repeat(20_000));
        let found = read(record.as_bytes(), 0, &Reading::default(), Known { time: false, level: false }).unwrap();
        assert!(found.lines[0].len() < 2 * MAX_BYTES && found.cut_bytes > 100_000, "{}", found.cut_bytes);
    }

    proptest! {
        #[test]
        fn any_bytes_are_made_readable_without_a_panic(text in "[{}\\[\\]\",:a1 \\\\un_C\n]{0,80}") {
            let _ = lines(&text);
            let _ = lines(&format!("{{\"msg\":{text}}}"));
        }
    }
}
