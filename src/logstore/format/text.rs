//! The fields of text lines: those that stand by their place in a known layout, then `key=value` pairs.

use crate::logstore::format::fields::FIELD_BYTES;
use crate::logstore::format::web;
use crate::logstore::format::{Format, cri};
use crate::logstore::json::Value;
use crate::logstore::level;

/// Takes a field; `false` when no more are wanted.
pub type Visit<'v, 'a> = &'v mut dyn FnMut(&'a [u8], Value<'a>) -> bool;

/// Calls `visit` with each field of a text record, until it says `false`.
pub fn fields<'a>(record: &'a [u8], stamp_end: usize, forced: Option<&Format>, visit: Visit<'_, 'a>) {
    let record = &record[..record.len().min(FIELD_BYTES)];
    let line = without_line_end(first_line(record));
    let stamp_end = stamp_end.min(line.len());
    let format = match forced {
        Some(Format::Text | Format::Plain | Format::User(_) | Format::Json | Format::Export) | None => {
            recognise(line, stamp_end)
        }
        Some(format) => format.clone(),
    };
    let mut fields = Fields { visit, goes_on: true };
    let done = match format {
        Format::Access => web::access(line, stamp_end, &mut fields),
        Format::WebError => web::error(line, stamp_end, &mut fields),
        Format::Haproxy => web::haproxy(line, stamp_end, &mut fields),
        Format::Syslog => syslog(line, stamp_end, &mut fields),
        Format::Klog => klog(line, stamp_end, &mut fields),
        Format::Log4j | Format::Python | Format::Text => match cri::head(line, stamp_end) {
            Some((stream, start)) => fields.put("stream", stream).and_then(|()| header(line, start, &mut fields)),
            None => header(line, stamp_end, &mut fields),
        },
        Format::Postgres => postgres(line, stamp_end, &mut fields),
        Format::Mysql => mysql(record, stamp_end, &mut fields),
        Format::Redis => redis(line, stamp_end, &mut fields),
        Format::Logfmt | Format::Plain | Format::Json | Format::Export | Format::User(_) => Some(()),
    };
    let _ = done;
    if fields.goes_on {
        pairs(record, &mut fields);
    }
}

/// Calls `visit` with the `key=value` pairs of a text record, until it says `false`.
pub fn written<'a>(record: &'a [u8], visit: Visit<'_, 'a>) {
    let _ = pairs(&record[..record.len().min(FIELD_BYTES)], &mut Fields { visit, goes_on: true });
}

/// Hands fields on until nobody wants more.
pub struct Fields<'v, 'a> {
    visit: Visit<'v, 'a>,
    goes_on: bool,
}

impl<'a> Fields<'_, 'a> {
    /// Hands a field on. `None` stops whoever reads the line.
    pub fn put(&mut self, name: &'static str, value: &'a [u8]) -> Option<()> {
        self.give(name.as_bytes(), Value::Raw(value))
    }

    fn give(&mut self, name: &'a [u8], value: Value<'a>) -> Option<()> {
        self.goes_on = self.goes_on && (self.visit)(name, value);
        self.goes_on.then_some(())
    }
}

/// What a text line is, by its first bytes and by what stands behind its timestamp.
pub fn recognise(line: &[u8], stamp_end: usize) -> Format {
    let rest = &line[stamp_end.min(line.len())..];
    match line.first() {
        Some(b'{') => return Format::Json,
        Some(b'_') if line.starts_with(super::export::START) => return Format::Export,
        Some(b'<') if priority_end(line).is_some() => return Format::Syslog,
        Some(b'#') if line.starts_with(b"# Time:") || line.starts_with(b"# User@Host:") => return Format::Mysql,
        Some(b'I' | b'W' | b'E' | b'F') if level::is_klog(line) => return Format::Klog,
        Some(b'[') if rest.starts_with(b"] [") && line.get(1).is_some_and(u8::is_ascii_uppercase) => {
            return Format::WebError;
        }
        Some(b'0'..=b'9') if redis_head(line).is_some() => return Format::Redis,
        _ => {}
    }
    if stamp_end == 0 {
        return if starts_with_pair(line) { Format::Logfmt } else { Format::Text };
    }
    match rest {
        [b']', b' ', b'"', ..] => return Format::Access,
        [b']', b' ', ..] if web::is_haproxy(&rest[2..]) => return Format::Haproxy,
        [b' ', b'[', ..] if web::is_nginx_error(&rest[2..]) => return Format::WebError,
        [b' ', b'0'..=b'9', ..] if is_mysql(&rest[1..]) => return Format::Mysql,
        _ => {}
    }
    if is_postgres(rest) {
        return Format::Postgres;
    }
    if let Some((_, tag)) = syslog_header(rest) {
        return if tag.name == b"haproxy" { Format::Haproxy } else { Format::Syslog };
    }
    if starts_with_pair(rest) || line.starts_with(b"ts=") || line.starts_with(b"time=") || starts_with_pair(line) {
        return Format::Logfmt;
    }
    Format::Text
}

/// The bytes up to the first line end, which is included.
pub fn first_line(record: &[u8]) -> &[u8] {
    &record[..memchr::memchr(b'\n', record).map_or(record.len(), |it| it + 1)]
}

/// A line without its line end.
pub fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// True when a name names a key: all of it, or what stands behind one of its dots.
pub fn is_end_of(key: &[u8], name: &[u8]) -> bool {
    match key.len().checked_sub(name.len()) {
        Some(0) => key.eq_ignore_ascii_case(name),
        Some(front) => key[front - 1] == b'.' && key[front..].eq_ignore_ascii_case(name),
        None => false,
    }
}

/// What stands before a byte, and what behind it.
pub fn cut(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(byte, text)?;
    Some((&text[..at], &text[at + 1..]))
}

/// Without the blanks in front.
pub fn trim(text: &[u8]) -> &[u8] {
    &text[text.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(text.len())..]
}

/// What stands before the first blank, and what behind it.
pub fn token(text: &[u8]) -> (&[u8], &[u8]) {
    let text = trim(text);
    let length = text.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(text.len());
    (&text[..length], trim(&text[length..]))
}

/// What stands between the quote that a text begins with and the next, and what behind it.
pub fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let body = trim(text).strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', &body[at.min(body.len())..])?;
        if body[at] == b'"' {
            return Some((&body[..at], &body[at + 1..]));
        }
        at += 2;
    }
}

/// What stands in the brackets that a text begins with, and what behind them.
pub fn bracketed(text: &[u8]) -> Option<(&[u8], &[u8])> {
    cut(trim(text).strip_prefix(b"[")?, b']')
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn priority_end(line: &[u8]) -> Option<usize> {
    let close = line.iter().take(5).position(|byte| *byte == b'>')?;
    (close > 1 && digits(&line[1..]) == close - 1).then_some(close + 1)
}

/// A program's name and number before a colon: `sshd[12]:`.
struct Tag<'a> {
    name: &'a [u8],
    pid: &'a [u8],
    message: &'a [u8],
}

/// ` host tag[pid]: message`.
fn syslog_header(rest: &[u8]) -> Option<(&[u8], Tag<'_>)> {
    let (host, behind) = token(rest.strip_prefix(b" ")?);
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    if host.is_empty() || host.ends_with(b":") || !host.iter().all(is_host) || level::is_word(host) {
        return None;
    }
    // A host's name follows at once; a padded level (` INFO  x`) does not.
    Some((host, tag(behind)?))
}

fn tag(text: &[u8]) -> Option<Tag<'_>> {
    let is_tag = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/' | b'@');
    let length = text.iter().take(64).take_while(|it| is_tag(it)).count();
    let (name, behind) = text.split_at(length);
    if name.is_empty() || level::is_word(name) {
        return None;
    }
    let (pid, behind) = match behind.strip_prefix(b"[") {
        Some(inner) => cut(inner, b']')?,
        None => (&b""[..], behind),
    };
    let message = behind.strip_prefix(b":")?;
    (message.is_empty() || message.starts_with(b" ")).then(|| Tag { name, pid, message: trim(message) })
}

fn syslog<'a>(line: &'a [u8], stamp_end: usize, fields: &mut Fields<'_, 'a>) -> Option<()> {
    let versioned = priority_end(line).is_some_and(|it| line[it..].starts_with(b"1 "));
    if !versioned {
        let rest = &line[stamp_end..];
        let Some((host, tag)) = syslog_header(rest) else {
            return fields.put("message", trim(rest));
        };
        fields.put("host", host)?;
        fields.put("app", tag.name)?;
        if !tag.pid.is_empty() {
            fields.put("pid", tag.pid)?;
        }
        return fields.put("message", tag.message);
    }
    // Without a time the place of it holds a dash.
    let rest = if stamp_end > 0 { &line[stamp_end..] } else { token(&line[priority_end(line)? + 2..]).1 };
    let (host, rest) = token(rest);
    let (app, rest) = token(rest);
    let (pid, rest) = token(rest);
    let (msgid, mut rest) = token(rest);
    for (name, value) in [("host", host), ("app", app), ("pid", pid), ("msgid", msgid)] {
        if value != b"-" {
            fields.put(name, value)?;
        }
    }
    if let Some(behind) = rest.strip_prefix(b"-") {
        rest = behind;
    }
    while let Some(element) = rest.strip_prefix(b"[") {
        let mut inner = token(element).1;
        // An element without parameters ends at its name.
        if let Some((name, behind)) = cut(element, b']')
            && memchr::memchr(b' ', name).is_none()
        {
            rest = behind;
            continue;
        }
        loop {
            let (key, behind) = cut(inner, b'=')?;
            let (value, behind) = quoted(behind)?;
            fields.give(trim(key), Value::String(value))?;
            inner = trim(behind);
            if let Some(behind) = inner.strip_prefix(b"]") {
                rest = behind;
                break;
            }
        }
    }
    let message = trim(rest);
    fields.put("message", message.strip_prefix("\u{feff}".as_bytes()).unwrap_or(message))
}

/// `I0819 14:30:01.123456       1 main.go:10] message`.
fn klog<'a>(line: &'a [u8], stamp_end: usize, fields: &mut Fields<'_, 'a>) -> Option<()> {
    let (head, message) = cut(&line[stamp_end..], b']')?;
    let (thread, file) = token(head);
    fields.put("thread", thread)?;
    fields.put("file", file)?;
    fields.put("message", trim(message))
}

/// Level, `[thread]`, number, logger in any order, then the message.
fn header<'a>(line: &'a [u8], stamp_end: usize, fields: &mut Fields<'_, 'a>) -> Option<()> {
    let mut rest = &line[stamp_end..];
    if stamp_end == 0 {
        // Python's own layout without a time: `WARNING:root:careful`.
        if let Some((head, behind)) = cut(line, b':')
            && level::is_word(head)
            && let Some((logger, message)) = cut(behind, b':')
            && !logger.is_empty()
            && logger.iter().all(is_name)
        {
            fields.put("logger", logger)?;
            return fields.put("message", message);
        }
    }
    let (mut bracket, mut second) = (None, None);
    let mut logger = None;
    for _ in 0..8 {
        let before = rest;
        rest = trim(rest);
        if let Some(behind) = rest.strip_prefix(b"]") {
            rest = behind;
            continue;
        }
        if let Some((inner, behind)) = bracketed(rest) {
            let inner = inner.trim_ascii();
            if !level::is_word(inner) && !inner.is_empty() {
                match bracket {
                    None => bracket = Some(inner),
                    Some(_) => second = second.or(Some(inner)),
                }
            }
            rest = behind;
            continue;
        }
        let (word, behind) = token(rest);
        if matches!(word, b"-" | b"--" | b"---" | b":" | b"|") {
            rest = behind;
            continue;
        }
        let bare = word.strip_suffix(b":").unwrap_or(word);
        if level::is_word(bare) || (bare.len() == 1 && level::is_letter(bare[0])) {
            rest = behind;
            continue;
        }
        if !bare.is_empty() && digits(bare) == bare.len() && behind.starts_with(b"---") {
            fields.put("pid", bare)?;
            rest = behind;
            continue;
        }
        let is_named = word.len() > bare.len() || [&b"- "[..], b": ", b"| "].iter().any(|it| behind.starts_with(it));
        if is_named && !bare.is_empty() && bare.iter().all(is_name) {
            logger = Some(bare);
            rest = behind.strip_prefix(b"- ").or_else(|| behind.strip_prefix(b": ")).unwrap_or(behind);
            let (word, behind) = token(rest);
            if level::is_word(word.strip_suffix(b":").unwrap_or(word))
                && (word.ends_with(b":") || behind.starts_with(b"- "))
            {
                rest = behind.strip_prefix(b"- ").unwrap_or(behind);
            }
            break;
        }
        rest = before;
        break;
    }
    let (thread, other) = match (bracket, second) {
        (Some(first), Some(second)) if is_thread(first) && !is_thread(second) => (Some(first), Some(second)),
        (Some(first), Some(second)) => (Some(second), Some(first)),
        (first, _) => (first, None),
    };
    if let Some(thread) = thread {
        fields.put("thread", thread)?;
    }
    match (logger, other.filter(|it| it.iter().all(is_name))) {
        (Some(logger), app) => {
            fields.put("logger", logger)?;
            // Spring Boot writes `[app] [thread] logger : `.
            app.map_or(Some(()), |it| fields.put("app", it))?;
        }
        (None, Some(logger)) => fields.put("logger", logger)?,
        (None, None) => {}
    }
    fields.put("message", trim(rest))
}

/// True for what programs call their threads: `main`, `worker-4`, `http-nio-8080-exec-1`, `Thread-7`, a number.
fn is_thread(name: &[u8]) -> bool {
    let has = |word: &[u8]| name.windows(word.len()).any(|it| it.eq_ignore_ascii_case(word));
    let words: [&[u8]; 5] = [b"thread", b"worker", b"pool", b"exec", b"nio"];
    let number = name.len() - name.iter().rev().take_while(|it| it.is_ascii_digit()).count();
    let is_numbered = number < name.len() && (number == 0 || matches!(name[number - 1], b'-' | b'#' | b'_'));
    name == b"main" || is_numbered || words.iter().any(|it| has(it))
}

fn is_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'$' | b':' | b'/')
}

/// The level words of PostgreSQL that are followed by a colon and two blanks.
const POSTGRES_WORDS: [&[u8]; 14] = [
    b"LOG",
    b"ERROR",
    b"FATAL",
    b"PANIC",
    b"WARNING",
    b"NOTICE",
    b"INFO",
    b"DEBUG",
    b"DETAIL",
    b"HINT",
    b"CONTEXT",
    b"STATEMENT",
    b"QUERY",
    b"LOCATION",
];

fn is_postgres(rest: &[u8]) -> bool {
    postgres_level(rest).is_some()
}

/// Where the level word stands behind the timestamp: its range.
fn postgres_level(rest: &[u8]) -> Option<(usize, usize)> {
    let head = &rest[..rest.len().min(160)];
    let colon = memchr::memmem::find(head, b":  ")?;
    let start = memchr::memrchr(b' ', &head[..colon])? + 1;
    let word = head[start..colon].strip_suffix(b"1").unwrap_or(&head[start..colon]);
    POSTGRES_WORDS.contains(&word).then_some((start, colon))
}

/// ` UTC [12] user@db LOG:  message`.
fn postgres<'a>(line: &'a [u8], stamp_end: usize, fields: &mut Fields<'_, 'a>) -> Option<()> {
    let rest = &line[stamp_end..];
    let (start, colon) = postgres_level(rest)?;
    let mut head = &rest[..start];
    while !trim(head).is_empty() {
        if let Some((pid, behind)) = bracketed(head) {
            fields.put("pid", pid)?;
            head = behind;
            continue;
        }
        let (word, behind) = token(head);
        if let Some((user, database)) = cut(word, b'@') {
            fields.put("user", user)?;
            fields.put("db", database)?;
        }
        head = behind;
    }
    let message = trim(&rest[colon + 1..]);
    // `duration: 12.345 ms  statement: …`
    if let Some(behind) = message.strip_prefix(b"duration: ")
        && let Some(at) = memchr::memmem::find(&behind[..behind.len().min(40)], b" ms")
    {
        fields.put("duration", &behind[..at + 3])?;
    }
    fields.put("message", message)
}

/// `0 [System] [MY-010116] [Server] …`, `12 [Note] …`.
fn is_mysql(rest: &[u8]) -> bool {
    let count = digits(rest);
    let Some(word) = rest[count..].strip_prefix(b" [") else { return false };
    [&b"Note]"[..], b"Warning]", b"ERROR]", b"System]"].iter().any(|it| word.starts_with(it))
}

fn mysql<'a>(record: &'a [u8], stamp_end: usize, fields: &mut Fields<'_, 'a>) -> Option<()> {
    if !record.starts_with(b"#") {
        let line = without_line_end(first_line(record));
        let (thread, mut rest) = token(&line[stamp_end..]);
        fields.put("thread", thread)?;
        rest = bracketed(rest)?.1;
        if let Some((code, behind)) = bracketed(rest).filter(|(code, _)| code.starts_with(b"MY-")) {
            fields.put("code", code)?;
            rest = behind;
            if let Some((subsystem, behind)) = bracketed(rest) {
                fields.put("subsystem", subsystem)?;
                rest = behind;
            }
        }
        return fields.put("message", trim(rest));
    }
    let mut at = 0;
    for line in record.split(|byte| *byte == b'\n') {
        let next = at + line.len() + 1;
        let line = without_line_end(line);
        if let Some(rest) = line.strip_prefix(b"# User@Host: ") {
            fields.put("user", rest.split(|byte| *byte == b'[').next()?)?;
            let host = memchr::memchr(b'@', rest).map(|it| token(&rest[it + 1..]).0);
            fields.put("host", host.unwrap_or_default())?;
        } else if let Some(rest) = line.strip_prefix(b"# ") {
            // `Query_time: 2.000  Lock_time: 0.000 …`
            let mut rest = rest;
            while let Some((key, behind)) = cut(rest, b':') {
                let (value, behind) = token(behind);
                if key != b"Time" {
                    fields.give(trim(key), Value::Raw(value))?;
                }
                rest = behind;
            }
        } else if !line.is_empty() && !line.starts_with(b"SET timestamp=") && !line.starts_with(b"use ") {
            return fields.put("message", without_line_end(&record[at..]));
        }
        at = next;
    }
    Some(())
}

/// `12:M ` before the time: process and role.
fn redis_head(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let count = digits(&line[..line.len().min(10)]);
    match line.get(count..count + 3)? {
        [b':', b'M' | b'S' | b'C' | b'X', b' '] => Some((&line[..count], &line[count + 1..count + 2])),
        _ => None,
    }
}

fn redis<'a>(line: &'a [u8], stamp_end: usize, fields: &mut Fields<'_, 'a>) -> Option<()> {
    let (pid, role) = redis_head(line)?;
    fields.put("pid", pid)?;
    fields.put("role", role)?;
    let (_, message) = token(&line[stamp_end..]);
    fields.put("message", message)
}

fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/' | b'@') || byte >= 0x80
}

fn starts_with_pair(text: &[u8]) -> bool {
    let text = trim(text);
    let length = text.iter().take_while(|byte| is_key(**byte)).count();
    length > 0 && text.get(length) == Some(&b'=')
}

/// Hands on the `key=value` pairs of a text, wherever they stand.
fn pairs<'a>(text: &'a [u8], fields: &mut Fields<'_, 'a>) -> Option<()> {
    let mut at = 0;
    while let Some(equals) = memchr::memchr(b'=', &text[at..]).map(|it| at + it) {
        let length = text[at..equals].iter().rev().take_while(|byte| is_key(**byte)).count();
        let mut start = equals - length;
        let mut key = &text[start..equals];
        // `"key"="value"`, as klog writes it.
        if key.is_empty()
            && text[at..equals].ends_with(b"\"")
            && let Some(open) = memchr::memrchr(b'"', &text[at..equals - 1])
        {
            start = at + open;
            key = &text[start + 1..equals - 1];
        }
        let is_set_off = start.checked_sub(1).is_none_or(|it| {
            matches!(text[it], b' ' | b'\t' | b',' | b'(' | b'[' | b'{' | b'\n' | b';' | b'|' | b'&' | b'?')
        });
        at = equals + 1;
        if key.is_empty() || !is_set_off {
            continue;
        }
        if text.get(at) == Some(&b'"') {
            let Some((value, behind)) = quoted(&text[at..]) else { return Some(()) };
            fields.give(key, Value::String(value))?;
            at = text.len() - behind.len();
            continue;
        }
        let rest = &text[at..];
        let length = rest.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).unwrap_or(rest.len());
        let value = &rest[..length];
        let end =
            value.iter().rposition(|byte| !matches!(byte, b',' | b';' | b')' | b']' | b'}')).map_or(0, |it| it + 1);
        fields.give(key, Value::Raw(&value[..end]))?;
        at += end;
    }
    Some(())
}
