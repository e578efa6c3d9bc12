//! The keys by which a logger says the time, and where the value of a key begins in `key=value` text.

/// Keys under which loggers write the time.
pub fn is_time_key(key: &[u8]) -> bool {
    match key.len() {
        1 => key == b"t",
        2 => matches!(key, b"ts" | b"@t"),
        4 => matches!(key, b"time" | b"Time"),
        7 => key == b"asctime",
        8 => key == b"datetime",
        9 => matches!(key, b"timestamp" | b"Timestamp" | b"eventTime" | b"TimeStamp"),
        10 => key == b"@timestamp",
        // OTLP in JSON
        12 => key == b"timeUnixNano",
        20 => matches!(key, b"__REALTIME_TIMESTAMP" | b"observedTimeUnixNano"),
        _ => false,
    }
}

/// Where the value of a logfmt key begins.
pub fn logfmt_value(line: &[u8], keys: &[&[u8]]) -> Option<usize> {
    memchr::memchr_iter(b'=', line).find_map(|equals| value_behind(line, equals, keys))
}

/// Where the value behind an equals sign begins, when one of the keys stands before it.
pub(super) fn value_behind(line: &[u8], equals: usize, keys: &[&[u8]]) -> Option<usize> {
    let is_key = |key: &&[u8]| {
        let Some(start) = (equals + 1).checked_sub(key.len()) else { return false };
        (start == 0 || line[start - 1] == b' ') && line[start..].starts_with(key)
    };
    keys.iter().any(is_key).then(|| equals + 1 + usize::from(line.get(equals + 1) == Some(&b'"')))
}
