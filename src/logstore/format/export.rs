//! Entries of `journalctl -o export`: a line a field, an empty line between entries.
//!
//! A field whose value has line ends or is no text is written as its name, a line end, the length as eight
//! bytes, and that many bytes.

use crate::logstore::stamp::STAMP_BYTES;

/// How an entry begins.
pub const START: &[u8] = b"__CURSOR=";

/// The microseconds since the epoch that an entry says, from its first lines.
pub fn micros(entry: &[u8]) -> Option<i64> {
    let head = &entry[..entry.len().min(STAMP_BYTES)];
    let value = field(head, "__REALTIME_TIMESTAMP")?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The value of a field of an entry.
pub fn field<'a>(entry: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let wanted = match name {
        "message" | "msg" => "MESSAGE",
        "unit" => "_SYSTEMD_UNIT",
        "host" => "_HOSTNAME",
        "pid" => "_PID",
        "app" => "SYSLOG_IDENTIFIER",
        other => other,
    };
    let mut found = None;
    fields(entry, &mut |key, value| {
        let fits = key.eq_ignore_ascii_case(wanted.as_bytes());
        if fits {
            found = Some(value);
        }
        !fits
    });
    found
}

/// Calls `visit` with each field of an entry, until it says `false`.
pub fn fields<'a>(entry: &'a [u8], visit: &mut dyn FnMut(&'a [u8], &'a [u8]) -> bool) {
    let mut at = 0;
    while at < entry.len() {
        let end = memchr::memchr(b'\n', &entry[at..]).map_or(entry.len(), |it| at + it);
        let line = &entry[at..end];
        if line.is_empty() {
            return;
        }
        let (key, value, next) = match memchr::memchr(b'=', line) {
            Some(equals) => (&line[..equals], &line[equals + 1..], end + 1),
            None => {
                let length = entry.get(end + 1..end + 9).and_then(|it| it.try_into().ok()).map(u64::from_le_bytes);
                let Some(length) = length.and_then(|it| usize::try_from(it).ok()) else { return };
                let start = end + 9;
                let stop = start.saturating_add(length).min(entry.len());
                (line, &entry[start..stop], stop.saturating_add(1))
            }
        };
        if !visit(key, value) {
            return;
        }
        at = next;
    }
}
