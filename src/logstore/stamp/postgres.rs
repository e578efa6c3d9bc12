//! Lines of PostgreSQL, which gives what belongs to a message (`DETAIL:`, `STATEMENT:`) a timestamp of its own.

use crate::logstore::stamp::PREFIX_BYTES;

/// How far behind a timestamp PostgreSQL's process id begins at most: ` UTC [`, ` America/Lima [`.
pub(super) const POSTGRES_PID_BYTES: usize = 16;
/// What may stand between the seconds and the end of a timestamp: `.123456789+08:00`.
pub(super) const SUBSECOND_BYTES: usize = 17;

/// True where ` UTC [812] …` or ` [812] …` may follow a timestamp.
pub(super) fn may_be_postgres(rest: &[u8], within: usize) -> bool {
    let head = &rest[..rest.len().min(within)];
    memchr::memchr(b'[', head).is_some_and(|at| head.get(at + 1).is_some_and(u8::is_ascii_digit))
}

/// True behind a timestamp that PostgreSQL's process id may follow.
pub fn precedes_process(rest: &[u8]) -> bool {
    may_be_postgres(rest, POSTGRES_PID_BYTES)
}

/// True behind the timestamp of a line by which PostgreSQL goes on with the message of the line before.
pub(super) fn continues_postgres(rest: &[u8]) -> bool {
    if !precedes_process(rest) {
        return false;
    }
    let head = &rest[..rest.len().min(PREFIX_BYTES)];
    let Some(colon) = memchr::memmem::find(head, b":  ") else { return false };
    let word = head[..colon].rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    matches!(word, b"DETAIL" | b"HINT" | b"CONTEXT" | b"STATEMENT" | b"QUERY" | b"LOCATION")
}
