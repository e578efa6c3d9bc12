//! The lines of web servers and proxies: nginx, Apache, HAProxy.

use crate::logstore::format::text::{Fields, bracketed, cut, quoted, token, trim};

/// `client ident user [time] "request" status bytes "referer" "agent"`, with or without the last two.
pub fn access<'a>(line: &'a [u8], stamp_end: usize, fields: &mut Fields<'_, 'a>) -> Option<()> {
    let open = memchr::memrchr(b'[', &line[..stamp_end])?;
    let (first, mut rest) = token(&line[..open]);
    let mut client = first;
    // `vhost_combined` has the server in front.
    if rest.split(|byte| *byte == b' ').filter(|it| !it.is_empty()).count() > 2 {
        fields.put("vhost", first)?;
        (client, rest) = token(rest);
    }
    let (ident, user) = token(rest);
    fields.put("client", client)?;
    fields.put("ident", ident)?;
    fields.put("user", token(user).0)?;
    let (request, rest) = quoted(line[stamp_end..].strip_prefix(b"]")?)?;
    let (status, rest) = token(rest);
    fields.put("status", status)?;
    let (bytes, rest) = token(rest);
    fields.put("bytes", bytes)?;
    self::request(request, fields)?;
    fields.put("message", request)?;
    let (referer, rest) = quoted(rest)?;
    fields.put("referer", referer)?;
    let (agent, _) = quoted(rest)?;
    fields.put("agent", agent)
}

/// `GET /path?query HTTP/1.1`.
fn request<'a>(request: &'a [u8], fields: &mut Fields<'_, 'a>) -> Option<()> {
    fields.put("request", request)?;
    let Some((method, rest)) = cut(request, b' ') else { return Some(()) };
    let (url, protocol) = match memchr::memrchr(b' ', rest) {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, &b""[..]),
    };
    fields.put("method", method)?;
    fields.put("url", url)?;
    let (path, query) = cut(url, b'?').unwrap_or((url, b""));
    fields.put("path", path)?;
    if !query.is_empty() {
        fields.put("query", query)?;
    }
    if !protocol.is_empty() {
        fields.put("protocol", protocol)?;
    }
    Some(())
}

/// `error] 7#7: `, behind the bracket.
pub fn is_nginx_error(rest: &[u8]) -> bool {
    let Some((level, behind)) = cut(&rest[..rest.len().min(60)], b']') else { return false };
    let count = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let behind = trim(behind);
    let pid = count(behind);
    level.iter().all(u8::is_ascii_lowercase) && pid > 0 && behind.get(pid) == Some(&b'#')
}

/// `[error] 7#7: *12 message, client: …, server: …`, or Apache's brackets.
pub fn error<'a>(line: &'a [u8], stamp_end: usize, fields: &mut Fields<'_, 'a>) -> Option<()> {
    let rest = &line[stamp_end..];
    if let Some(rest) = rest.strip_prefix(b"]") {
        return apache_error(rest, fields);
    }
    let (_, rest) = bracketed(rest)?;
    let (head, mut rest) = cut(rest, b':')?;
    let (pid, tid) = cut(trim(head), b'#')?;
    fields.put("pid", pid)?;
    fields.put("tid", tid)?;
    rest = trim(rest);
    if let Some(behind) = rest.strip_prefix(b"*") {
        let (connection, behind) = token(behind);
        fields.put("cid", connection)?;
        rest = behind;
    }
    let details = memchr::memmem::find(rest, b", client: ").unwrap_or(rest.len());
    fields.put("message", &rest[..details])?;
    let mut rest = &rest[details..];
    while let Some(behind) = rest.strip_prefix(b", ") {
        let (key, behind) = cut(behind, b':')?;
        let (value, behind) = match quoted(behind) {
            Some(found) => found,
            None => {
                let value = trim(behind);
                value.split_at(memchr::memchr(b',', value).unwrap_or(value.len()))
            }
        };
        match key {
            b"client" => fields.put("client", value)?,
            b"server" => fields.put("server", value)?,
            b"host" => fields.put("host", value)?,
            b"upstream" => fields.put("upstream", value)?,
            b"referrer" => fields.put("referer", value)?,
            b"request" => request(value, fields)?,
            _ => {}
        }
        rest = behind;
    }
    Some(())
}

/// ` [core:error] [pid 7:tid 9] [client 10.0.0.1:1234] AH00124: message`.
fn apache_error<'a>(rest: &'a [u8], fields: &mut Fields<'_, 'a>) -> Option<()> {
    let mut rest = rest;
    while let Some((inner, behind)) = bracketed(rest) {
        let is_module = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        if let Some(numbers) = inner.strip_prefix(b"pid ") {
            let (pid, thread) = cut(numbers, b':').unwrap_or((numbers, b""));
            fields.put("pid", pid)?;
            if let Some(thread) = thread.strip_prefix(b"tid ") {
                fields.put("tid", thread)?;
            }
        } else if let Some(client) = inner.strip_prefix(b"client ") {
            let (client, port) =
                memchr::memrchr(b':', client).map_or((client, &b""[..]), |it| (&client[..it], &client[it + 1..]));
            fields.put("client", client)?;
            fields.put("port", port)?;
        } else if let Some((module, _)) = cut(inner, b':').filter(|(module, _)| module.iter().all(is_module)) {
            fields.put("module", module)?;
        } else if !crate::logstore::level::is_word(inner) {
            break;
        }
        rest = behind;
    }
    let rest = trim(rest);
    if let Some((code, message)) = cut(rest, b':').filter(|(code, _)| code.starts_with(b"AH") && code.len() == 7) {
        fields.put("code", code)?;
        return fields.put("message", trim(message));
    }
    fields.put("message", rest)
}

/// `frontend backend/server 1/2/3…`, behind the time.
pub fn is_haproxy(rest: &[u8]) -> bool {
    let (_, rest) = token(rest);
    let (backend, rest) = token(rest);
    let timers = token(rest).0;
    memchr::memchr(b'/', backend).is_some()
        && memchr::memchr_iter(b'/', timers).count() >= 2
        && timers.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'/' | b'-' | b'+'))
}

/// `client:port [time] frontend backend/server timers status bytes …`, with or without syslog's header.
pub fn haproxy<'a>(line: &'a [u8], stamp_end: usize, fields: &mut Fields<'_, 'a>) -> Option<()> {
    let (before, behind) = if line[stamp_end..].starts_with(b"]") {
        let open = memchr::memrchr(b'[', &line[..stamp_end])?;
        (&line[..open], &line[stamp_end + 1..])
    } else {
        let rest = &line[stamp_end..];
        let at = memchr::memmem::find(rest, b"haproxy[")?;
        let (pid, message) = cut(&rest[at + 8..], b']')?;
        fields.put("host", token(&rest[..at]).0)?;
        fields.put("app", &rest[at..at + 7])?;
        fields.put("pid", pid)?;
        let message = trim(message.strip_prefix(b":").unwrap_or(message));
        let known = cut(message, b'[').and_then(|(client, inner)| Some((client, cut(inner, b']')?.1)));
        match known.filter(|(_, behind)| is_haproxy(behind)) {
            Some(found) => found,
            // Starts, stops and alerts are sentences.
            None => return fields.put("message", message),
        }
    };
    let client = before.rsplit(|byte| *byte == b' ').find(|it| !it.is_empty()).unwrap_or_default();
    let (client, port) =
        memchr::memrchr(b':', client).map_or((client, &b""[..]), |it| (&client[..it], &client[it + 1..]));
    fields.put("client", client)?;
    fields.put("port", port)?;
    let (frontend, rest) = token(behind);
    fields.put("frontend", frontend.strip_suffix(b"~").unwrap_or(frontend))?;
    let (place, rest) = token(rest);
    let (backend, server) = cut(place, b'/')?;
    fields.put("backend", backend)?;
    fields.put("server", server)?;
    let (timers, rest) = token(rest);
    let parts: [&[u8]; 5] = {
        let mut parts = [&b""[..]; 5];
        let count = memchr::memchr_iter(b'/', timers).count() + 1;
        // TCP has three: waiting, connecting, all.
        let places: &[usize] = if count == 3 { &[1, 2, 4] } else { &[0, 1, 2, 3, 4] };
        for (place, part) in places.iter().zip(timers.split(|byte| *byte == b'/')) {
            parts[*place] = part;
        }
        parts
    };
    for (name, value) in ["wait_ms", "queue_ms", "connect_ms", "response_ms", "total_ms"].into_iter().zip(parts) {
        if !value.is_empty() {
            fields.put(name, value.strip_prefix(b"+").unwrap_or(value))?;
        }
    }
    let (number, rest) = token(rest);
    let is_http = memchr::memchr_iter(b'/', timers).count() > 2;
    if !is_http {
        fields.put("bytes", number)?;
        return fields.put("state", token(rest).0);
    }
    fields.put("status", number)?;
    let (bytes, rest) = token(rest);
    fields.put("bytes", bytes.strip_prefix(b"+").unwrap_or(bytes))?;
    let (_, state) = token(token(rest).1);
    fields.put("state", token(state).0)?;
    let open = memchr::memchr(b'"', rest)?;
    let body = &rest[open + 1..];
    // A long request is cut without its closing quote.
    let whole = &body[..memchr::memchr(b'"', body).unwrap_or(body.len())];
    request(whole, fields)?;
    fields.put("message", whole)
}
