//! Finds the level of a record in its first line.

use crate::domain::log::Level;
use crate::domain::sanitise::{ESCAPE, length_without_escapes, without_escapes};
use crate::logstore::format::user::UserFormat;
use crate::logstore::format::{Reading, cri, export, fields, otlp, web};
use crate::logstore::json;
use crate::logstore::shape::trace;
use crate::logstore::stamp::keys::logfmt_value;
use crate::logstore::stamp::postgres::precedes_process;

/// Bytes of the first line in which a level is looked for; behind that stands the message.
const LEVEL_BYTES: usize = 128;
/// Bytes behind the timestamp that are read without their colours: there are more of those than of text.
const COLOURED_BYTES: usize = 4096;
/// Bytes in which a date and a time of day end.
const CLOCK_BYTES: usize = 20;
/// JSON lines may carry the level behind other keys.
const JSON_BYTES: usize = 2048;

/// Returns the level of the record at the start of `bytes`, which may go on behind it.
///
/// `length` is that of its first line, `stamp_end` is where its timestamp ends, 0 without one. With a format
/// of the user's the regex has the first word.
///
/// What a process says when it dies joins the record that was written last, and that may be a calm one: then the
/// level is that of the trace behind the first line.
pub fn read(bytes: &[u8], length: usize, stamp_end: usize, user: Option<&UserFormat>) -> Option<Level> {
    or_of_trace(of_first_line(bytes, length, stamp_end, user), bytes, length, stamp_end)
}

/// The level of a record whose first line has `level`, with what stands behind that line.
pub fn or_of_trace(level: Option<Level>, bytes: &[u8], length: usize, stamp_end: usize) -> Option<Level> {
    if level.is_some_and(|it| it >= Level::Warn) {
        return level;
    }
    let rest = &bytes[length..];
    let has_end = bytes[..length].ends_with(b"\n");
    let rest = if has_end { rest } else { rest.strip_prefix(b"\n").unwrap_or_default() };
    let trace = if stamp_end > 0 { trace::behind(rest) } else { trace::at(bytes) };
    trace.or(level)
}

fn of_first_line(bytes: &[u8], length: usize, stamp_end: usize, user: Option<&UserFormat>) -> Option<Level> {
    let line = &bytes[..length];
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    match line.first()? {
        _ if user.is_some() => {
            if let Some((clean, stamp_end)) = without_colours(line, stamp_end) {
                return of_first_line(&clean, clean.len(), stamp_end, user);
            }
            let found = user?.captures(line)?;
            match found.name("level").map(|it| it.as_bytes()) {
                Some([letter]) if letter.is_ascii_alphabetic() => of_letter(letter.to_ascii_uppercase()),
                Some(text @ [b'0'..=b'9', ..]) => of_number(std::str::from_utf8(text).ok()?.parse().ok()?),
                Some(text) => of_word(word(text)),
                None => of(line, stamp_end),
            }
        }
        // What says it stands in a later line.
        b'{' if line.len() < 3 => {
            let head = &bytes[..bytes.len().min(JSON_BYTES)];
            of_json(&head[..json::container_end(head, 0).unwrap_or(head.len())])
        }
        b'_' if line.starts_with(export::START) => {
            let priority = std::str::from_utf8(export::field(bytes, "PRIORITY")?).ok()?;
            of_number(priority.parse().ok()?)
        }
        _ => of(line, stamp_end),
    }
}

/// Returns the level of a line without its line end. `stamp_end` is where its timestamp ends, 0 without one.
pub fn of(line: &[u8], stamp_end: usize) -> Option<Level> {
    match line.first()? {
        b'{' if otlp::is_export(line) => return otlp::worst_level(line),
        b'{' => return of_json(&line[..line.len().min(JSON_BYTES)]),
        b'<' => {
            if let Some(level) = of_priority(line) {
                return Some(level);
            }
        }
        letter @ (b'I' | b'W' | b'E' | b'F') if is_klog(line) => return of_letter(*letter),
        _ => {}
    }
    if let Some(level) = of_leading(line, stamp_end) {
        return Some(level);
    }
    let head = head(line, stamp_end);
    if memchr::memchr(ESCAPE, head).is_some()
        && let Some((clean, stamp_end)) = without_colours(line, stamp_end)
    {
        return of(&clean, stamp_end);
    }
    // The request of an access line says anything; its status tells.
    if let Some(rest) = line.get(stamp_end..).and_then(|it| it.strip_prefix(b"] ")) {
        match rest.first() {
            Some(b'"') => return of_access(rest),
            Some(b'[') | None => {}
            Some(_) => {
                if web::is_haproxy(rest) {
                    return of_haproxy(rest);
                }
            }
        }
    }
    if let Some(at) = in_pairs(head) {
        return of_word(word(&head[at..]));
    }
    of_body(line, stamp_end).unwrap_or_else(|| of_text(head, stamp_end))
}

/// What of a line is read for its level.
pub(super) fn head(line: &[u8], stamp_end: usize) -> &[u8] {
    &line[..line.len().min(stamp_end + LEVEL_BYTES)]
}

/// Where the value of a level begins in `key=value` text.
pub(super) fn in_pairs(head: &[u8]) -> Option<usize> {
    logfmt_value(head, &[b"level=", b"lvl=", b"severity=", b"loglevel="])
}

/// The level of such a value, and how many bytes say so: those up to what ends the word, which is included.
pub(super) fn unquoted(value: &[u8]) -> Option<(Level, usize)> {
    let word = word(value);
    Some((of_word(word)?, word.len() + 1))
}

/// A line's text without colours, and where its timestamp ends there. `None` when it has none.
fn without_colours(line: &[u8], stamp_end: usize) -> Option<(Vec<u8>, usize)> {
    let stamp_end = stamp_end.min(line.len());
    let clean = without_escapes(&line[..line.len().min(stamp_end + COLOURED_BYTES)])?;
    let stamp_end = length_without_escapes(&line[..stamp_end]).min(clean.len());
    Some((clean, stamp_end))
}

/// The level of what stands behind a header: an object, HAProxy's line, PostgreSQL's and Redis' signs.
/// `None` is for all others.
fn of_body(line: &[u8], stamp_end: usize) -> Option<Option<Level>> {
    let rest = line.get(stamp_end..)?;
    match rest.get(..3)? {
        // Redis
        [b' ', sign @ (b'.' | b'-' | b'*' | b'#'), b' ']
            if line[..stamp_end].first().is_some_and(u8::is_ascii_digit) =>
        {
            let is_redis = line
                .iter()
                .take(10)
                .position(|byte| *byte == b':')
                .is_some_and(|at| matches!(line.get(at + 1..at + 3), Some([b'M' | b'S' | b'C' | b'X', b' '])));
            return is_redis.then_some(match sign {
                b'.' => Some(Level::Debug),
                b'#' => Some(Level::Warn),
                _ => Some(Level::Info),
            });
        }
        // What runs in Kubernetes' own containers.
        [b' ', b's', b't'] => {
            let message = cri::head(line, stamp_end).map(|(_, start)| &line[start..]);
            if let Some(message) = message.filter(|it| is_klog(it)) {
                return Some(of_letter(message[0]));
            }
        }
        _ => {}
    }
    if line.ends_with(b"}")
        && let fields::Body::Json(start) = fields::body(line, stamp_end, &Reading::default())
    {
        return Some(of_json(&line[start..line.len().min(start + JSON_BYTES)]));
    }
    let head = &rest[..rest.len().min(160)];
    if precedes_process(rest)
        && let Some(colon) = memchr::memmem::find(head, b":  ")
    {
        let word = head[..colon].rsplit(|byte| *byte == b' ').next()?;
        match word {
            b"LOG" | b"DETAIL" | b"HINT" | b"CONTEXT" | b"STATEMENT" => return Some(Some(Level::Info)),
            b"DEBUG1" | b"DEBUG2" | b"DEBUG3" | b"DEBUG4" | b"DEBUG5" => return Some(Some(Level::Debug)),
            _ => {}
        }
    }
    // Behind the host's name.
    let host = memchr::memchr(b' ', head.strip_prefix(b" ")?)?;
    let behind = head.get(host + 2..)?.starts_with(b"haproxy[").then(|| &rest[host + 1..])?;
    let open = memchr::memmem::find(behind, b": ")?;
    let bracket = memchr::memmem::find(&behind[open..], b"] ")?;
    let rest = &behind[open + bracket + 2..];
    web::is_haproxy(rest).then(|| of_haproxy(rest))
}

/// The status behind the timers of HAProxy; a TCP line has none.
fn of_haproxy(rest: &[u8]) -> Option<Level> {
    let mut words = rest.split(|byte| *byte == b' ').skip(2);
    let timers = words.next()?;
    (memchr::memchr_iter(b'/', timers).count() > 2).then(|| of_status(words.next()?)).flatten()
}

/// An upper-case level word right behind the timestamp: where most loggers put it, and found without a search.
fn of_leading(line: &[u8], stamp_end: usize) -> Option<Level> {
    Some(leading(line.get(stamp_end..)?)?.0)
}

/// The level that the text behind a timestamp begins with, and how many bytes say so: those up to what ends the
/// word, which is included.
pub(super) fn leading(rest: &[u8]) -> Option<(Level, usize)> {
    let start = rest.iter().take(4).position(|byte| !matches!(byte, b' ' | b'\t' | b'[' | b']' | b'|' | b':'))?;
    let word = &rest[start..];
    let length = word.iter().take(12).position(|byte| !byte.is_ascii_uppercase()).unwrap_or(word.len().min(12));
    let ends = matches!(word.get(length), None | Some(b' ' | b'\t' | b']' | b'|' | b':'));
    let level = (ends && length > 2).then(|| of_word(&word[..length])).flatten()?;
    Some((level, start + length + 1))
}

/// The level of a JSON string that is one word, and how many bytes say so: those up to its quote, which is included.
pub(super) fn quoted(value: &[u8]) -> Option<(Level, usize)> {
    let word = word(value);
    let level = of_word(word)?;
    (value.get(word.len()) == Some(&b'"')).then_some((level, word.len() + 1))
}

/// The level that stands in the head of a JSON line, before its time; `None` when no level does.
pub fn before(head: &[u8]) -> Option<Option<Level>> {
    // The last key of the head is that of the time.
    let value = json::find_where(head, is_level_key).filter(|it| it.end < head.len())?;
    Some(of_json_value(&head[value]))
}

/// The level of a JSON line that has none before its time, which ends at `stamp_end`.
pub fn behind(line: &[u8], lead: usize, stamp_end: usize) -> Option<Level> {
    let line = &line[..line.len().min(JSON_BYTES)];
    let rest = line.get(behind_time(&line[..lead], stamp_end)..)?;
    match json::find_where(rest, is_level_key) {
        Some(value) => of_json_value(&rest[value]),
        None => of_json_without(line),
    }
}

/// Where the value that [`behind`] reads begins, behind its quote when it is a string.
pub(super) fn start_behind(line: &[u8], lead: &[u8], stamp_end: usize) -> Option<usize> {
    let start = behind_time(lead, stamp_end);
    let rest = line[..line.len().min(JSON_BYTES)].get(start..)?;
    Some(start + json::find_start(rest, is_level_key)?)
}

/// Where the keys behind the time begin: a string ends with a quote that is none of theirs.
fn behind_time(lead: &[u8], stamp_end: usize) -> usize {
    stamp_end + usize::from(lead.ends_with(b"\""))
}

fn of_json(line: &[u8]) -> Option<Level> {
    let Some(value) = json::find_where(line, is_level_key) else {
        return of_json_without(line);
    };
    of_json_value(&line[value])
}

/// The level of a JSON line that has no key for it.
fn of_json_without(line: &[u8]) -> Option<Level> {
    // Serilog leaves the level out when it is the usual one.
    if line.starts_with(b"{\"@t\":") {
        return Some(Level::Info);
    }
    // OTLP says the number with or without the word.
    let is_number = |key: &[u8]| matches!(key, b"severityNumber" | b"SeverityNumber" | b"severity_number");
    if let Some(number) = json::find_where(line, is_number) {
        return of_severity_number(std::str::from_utf8(&line[number]).ok()?.parse().ok()?);
    }
    // The files of Docker hold what a container wrote.
    let written = line.strip_prefix(b"{\"log\":\"")?;
    let written = json::unescape(&written[..written.len().min(JSON_BYTES)]);
    let end = memchr::memchr(b'\n', &written).unwrap_or(written.len());
    let clock = || written[..end].iter().take(CLOCK_BYTES).rposition(|it| *it == b':').map_or(0, |at| at + 3);
    let time = if written.first().is_some_and(u8::is_ascii_digit) { clock() } else { 0 };
    of(&written[..end], time.min(end))
}

fn of_json_value(value: &[u8]) -> Option<Level> {
    match value.first()? {
        b'0'..=b'9' => of_number(std::str::from_utf8(value).ok()?.parse().ok()?),
        // Escapes, or a colour as it is.
        b'\\' | &ESCAPE => of_coloured_word(&value[..value.len().min(LEVEL_BYTES)]),
        _ => of_word(word(value)),
    }
}

/// The level of a word that was coloured before it was written as JSON: `\u001b[31merror\u001b[39m`.
fn of_coloured_word(value: &[u8]) -> Option<Level> {
    let plain = json::unescape(value);
    let plain = without_escapes(&plain).unwrap_or(plain);
    of_word(word(plain.trim_ascii_start()))
}

/// Keys under which loggers write the level.
pub fn is_level_key(key: &[u8]) -> bool {
    match key.len() {
        2 => key == b"@l",
        3 => matches!(key, b"lvl" | b"sev"),
        5 => matches!(key, b"level" | b"Level"),
        8 => matches!(key, b"severity" | b"loglevel" | b"PRIORITY" | b"logLevel" | b"Severity" | b"LogLevel"),
        9 => matches!(key, b"log.level" | b"levelname" | b"levelName"),
        12 => matches!(key, b"SeverityText" | b"severityText"),
        13 => key == b"severity_text",
        _ => false,
    }
}

/// Numbers of OpenTelemetry's log data model: four for each level.
pub fn of_severity_number(number: u32) -> Option<Level> {
    match number {
        1..=4 => Some(Level::Trace),
        5..=8 => Some(Level::Debug),
        9..=12 => Some(Level::Info),
        13..=16 => Some(Level::Warn),
        17..=20 => Some(Level::Error),
        21..=24 => Some(Level::Fatal),
        _ => None,
    }
}

/// Numbers as pino and bunyan write them (10 to 60) or syslog does (0 to 7).
fn of_number(number: u32) -> Option<Level> {
    match number {
        0..=2 | 60 => Some(Level::Fatal),
        3 | 50 => Some(Level::Error),
        4 | 40 => Some(Level::Warn),
        5 | 6 | 30 => Some(Level::Info),
        7 | 20 => Some(Level::Debug),
        10 => Some(Level::Trace),
        _ => None,
    }
}

fn of_priority(line: &[u8]) -> Option<Level> {
    let close = line.iter().take(5).position(|byte| *byte == b'>')?;
    let priority: u32 = std::str::from_utf8(&line[1..close]).ok()?.parse().ok()?;
    of_number(priority & 7)
}

/// True for the head of klog's lines, `I0819 14:…`, and of glog's, which may have the year: `I20260819 14:…`.
pub fn is_klog(line: &[u8]) -> bool {
    let digits = line.iter().skip(1).take(9).take_while(|it| it.is_ascii_digit()).count();
    matches!(digits, 4 | 8) && line.get(digits + 1) == Some(&b' ') && line.get(digits + 4) == Some(&b':')
}

/// The status of a web server's access line: it stands behind the quoted request.
fn of_access(rest: &[u8]) -> Option<Level> {
    let quote = memchr::memchr_iter(b'"', &rest[1..]).map(|it| it + 1).find(|it| rest.get(it + 1) == Some(&b' '))?;
    of_status(rest.get(quote + 2..quote + 5)?)
}

/// The level of an HTTP status.
pub(super) fn of_status(status: &[u8]) -> Option<Level> {
    match status {
        [b'5', _, _] => Some(Level::Error),
        [b'4', _, _] => Some(Level::Warn),
        [b'1'..=b'3', _, _] => Some(Level::Info),
        _ => None,
    }
}

/// A level word that is set off from the text: upper case, in brackets, before a colon, or the first word.
fn of_text(head: &[u8], stamp_end: usize) -> Option<Level> {
    let mut at = 0;
    let mut is_first = true;
    while at < head.len() {
        if !head[at].is_ascii_alphabetic() {
            at += 1;
            continue;
        }
        let token = word(&head[at..]);
        let end = at + token.len();
        let before = at.checked_sub(1).map(|it| head[it]);
        let after = head.get(end).copied();
        // Inside the timestamp stand only names of days and months.
        let counts = at >= stamp_end || end <= 8;
        let starts =
            before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'_' | b'/' | b'-' | b'.'));
        let ends = after.is_none_or(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'_' | b'=' | b'-' | b'.'));
        if counts && starts && ends {
            let in_brackets =
                matches!(before, Some(b'[' | b'<' | b'(' | b'|')) && matches!(after, Some(b']' | b'>' | b')' | b'|'));
            // Apache writes `[core:error]`.
            let after_colon = before == Some(b':') && after == Some(b']');
            let leads = is_first && at >= stamp_end && matches!(after, None | Some(b' ' | b'\t' | b':' | b'|'));
            if token.len() == 1 {
                if (in_brackets || (leads && stamp_end > 0))
                    && let Some(level) = of_letter(token[0])
                {
                    return Some(level);
                }
            } else if let Some(level) = of_word(token) {
                let upper = token.iter().all(u8::is_ascii_uppercase);
                if upper || in_brackets || after_colon || leads || after == Some(b':') {
                    return Some(level);
                }
            }
        }
        is_first &= at < stamp_end;
        at = end;
    }
    None
}

/// True when a word names a level.
pub fn is_word(word: &[u8]) -> bool {
    of_word(word).is_some()
}

/// True when a letter stands for a level.
pub fn is_letter(letter: u8) -> bool {
    of_letter(letter).is_some()
}

/// The level of a name that stands alone: `ERROR`, `Warning`.
pub fn of_name(text: &[u8]) -> Option<Level> {
    of_word(word(text))
}

fn word(text: &[u8]) -> &[u8] {
    let length = text.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(text.len());
    &text[..length]
}

fn of_letter(letter: u8) -> Option<Level> {
    match letter {
        b'T' | b'V' => Some(Level::Trace),
        b'D' => Some(Level::Debug),
        b'I' => Some(Level::Info),
        b'W' => Some(Level::Warn),
        b'E' => Some(Level::Error),
        b'F' | b'C' => Some(Level::Fatal),
        _ => None,
    }
}

fn of_word(word: &[u8]) -> Option<Level> {
    let is = |names: &[&str]| names.iter().any(|it| word.eq_ignore_ascii_case(it.as_bytes()));
    // The length sorts out nearly every word before any comparison.
    match word.len() {
        3 if is(&["err"]) => Some(Level::Error),
        3 if is(&["wrn"]) => Some(Level::Warn),
        3 if is(&["inf"]) => Some(Level::Info),
        3 if is(&["dbg"]) => Some(Level::Debug),
        3 if is(&["trc"]) => Some(Level::Trace),
        4 if is(&["info", "note"]) => Some(Level::Info),
        4 if is(&["warn"]) => Some(Level::Warn),
        4 if is(&["erro", "eror"]) => Some(Level::Error),
        4 if is(&["crit"]) => Some(Level::Fatal),
        4 if is(&["fine"]) => Some(Level::Debug),
        5 if is(&["error"]) => Some(Level::Error),
        5 if is(&["debug"]) => Some(Level::Debug),
        5 if is(&["trace"]) => Some(Level::Trace),
        5 if is(&["fatal", "panic", "alert", "emerg"]) => Some(Level::Fatal),
        6 if is(&["severe"]) => Some(Level::Error),
        6 if is(&["notice"]) => Some(Level::Info),
        7 if is(&["warning"]) => Some(Level::Warn),
        7 if is(&["verbose"]) => Some(Level::Trace),
        8 if is(&["critical"]) => Some(Level::Fatal),
        9 if is(&["emergency"]) => Some(Level::Fatal),
        11 if is(&["information"]) => Some(Level::Info),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::logstore::stamp::StampReader;

    #[test]
    fn levels_are_found_where_loggers_put_them() {
        let mut reader = StampReader::new(TimeZone::UTC, Timestamp::from_second(1_800_000_000).unwrap());
        let mut check = |line: &str, expected: Option<Level>| {
            let stamp_end = reader.read(line.as_bytes()).map_or(0, |it| it.range.end);
            assert_eq!(of(line.as_bytes(), stamp_end), expected, "{line}");
        };
        check("2026-08-19 14:30:01,123 ERROR api: x", Some(Level::Error));
        check("2026-08-19T14:30:01Z  WARN api: no error here", Some(Level::Warn));
        check("2026-08-19T14:30:01Z ERROR api: client asked for level=debug", Some(Level::Error));
        check("2026-08-19T14:30:01Z INFORMED level=warn", Some(Level::Warn));
        check("2026-08-19T14:30:01Z info api started", Some(Level::Info));
        check("2026-08-19T14:30:01Z [main] [debug] x", Some(Level::Debug));
        check("14:30:01 E api   pool exhausted", Some(Level::Error));
        check("2026/08/19 14:30:01 [crit] 7#7: x", Some(Level::Fatal));
        check("[Wed Aug 19 14:30:01.1 2026] [core:error] [pid 7] x", Some(Level::Error));
        check("I0819 14:30:01.123456       1 main.go:1] x", Some(Level::Info));
        check("<11>Aug 19 14:30:01 host app: x", Some(Level::Error));
        check(r#"{"ts":1,"level":"warning","msg":"fatal"}"#, Some(Level::Warn));
        check(r#"{"level":50,"msg":"x"}"#, Some(Level::Error));
        check("ts=2026-08-19T06:30:01Z level=debug msg=\"an ERROR\"", Some(Level::Debug));
        check("10.0.0.1 - - [19/Aug/2026:14:30:01 +0800] \"GET /error HTTP/1.1\" 502 1 \"-\"", Some(Level::Error));
        check("10.0.0.1 - - [19/Aug/2026:14:30:01 +0800] \"GET / HTTP/1.1\" 200 1 \"-\"", Some(Level::Info));
        check("Aug 19 14:30:01 host sshd[1]: error: no keys", Some(Level::Error));
        check("Aug 19 14:30:01 host sshd[1]: the error was small", None);
        check("INFO  [2026-08-19 14:30:01,123] x", Some(Level::Info));
        check("WARNING:root:careful", Some(Level::Warn));
        check("plain text", None);
        check("\x1b[2m2026-08-19T14:30:01Z\x1b[0m \x1b[31mERROR\x1b[0m \x1b[2mapi\x1b[0m: x", Some(Level::Error));
        check("\x1b[33mapi-1  | \x1b[0m2026-08-19T14:30:01Z \x1b[1m\x1b[33m WARN\x1b[0m x", Some(Level::Warn));
        check("2026-08-19T14:30:01Z \x1b[34mINFO\x1b[0m no ERROR here", Some(Level::Info));
        check("2026-08-19 14:30:01.123 \x1b[35mDEBUG\x1b[0;39m [main] x", Some(Level::Debug));
        check("[\x1b[90m14:30:01\x1b[0m] \x1b[36mdebug\x1b[0m: x", Some(Level::Debug));
        check("\x1b[90m2:30PM\x1b[0m \x1b[31mERR\x1b[0m x", Some(Level::Error));
        check("\x1b[31m<11>Aug 19 14:30:01 host app: x\x1b[0m", Some(Level::Error));
        check("\x1b[0mI0819 14:30:01.123456       1 main.go:1] x", Some(Level::Info));
        check("\x1b[32m{\"level\":50,\"msg\":\"x\"}\x1b[0m", Some(Level::Error));
        check(r#"{"level":"\u001b[31merror\u001b[39m","message":"x"}"#, Some(Level::Error));
        check(r#"{"message":"x","level":"\u001B[1m\u001b[33m warn\u001b[0m"}"#, Some(Level::Warn));
        check("{\"level\":\"\x1b[31merror\x1b[39m\",\"message\":\"x\"}", Some(Level::Error));
        check(r#"{"log":"ERROR lost\n","stream":"stderr","time":"2026-08-19T06:30:01Z"}"#, Some(Level::Error));
        check(r#"{"log":"2026-08-19 06:30:01 [warn] x\n","time":"2026-08-19T06:30:01Z"}"#, Some(Level::Warn));
        check(r#"{"log":"{\"level\":\"debug\"}\n","time":"2026-08-19T06:30:01Z"}"#, Some(Level::Debug));
        check(r#"{"log":"said\n","stream":"ERROR","time":"2026-08-19T06:30:01Z"}"#, None);
        check(r#"{"level":"\u001b[31m\u001b[39m","message":"error"}"#, None);
        check(r#"{"level":"\u001b[31","message":"error"}"#, None);
        check(r#"2026-08-19T14:30:01Z api {"level":"\u001b[36mdebug\u001b[39m","message":"x"}"#, Some(Level::Debug));
        check("\x1b[36mjust a colour\x1b[0m", None);
        check("2026-08-19T14:30:01Z level-headed error_count=3", None);
    }
}
