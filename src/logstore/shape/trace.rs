//! What a process writes when it dies, and how bad that is.
//!
//! An uncaught exception or a panic comes without a time and a level, behind whatever was logged last.

use crate::domain::log::Level;
use crate::logstore::shape::Shape;

/// True when a line that begins with this byte may be the beginning of a trace, or the empty line before one.
pub fn may_begin(first: u8) -> bool {
    matches!(first, b'p' | b'f' | b't' | b'T' | b'E' | b'U' | b'P' | b'S' | b'n' | b'/' | b'\n')
}

/// The level of the trace that begins at the start of `bytes`, which go on behind its first line.
pub fn at(bytes: &[u8]) -> Option<Level> {
    let line = first_line(bytes);
    let starts = |text: &str| line.starts_with(text.as_bytes());
    let found = match line.first()? {
        b'p' if starts("panic: ") => Some(Level::Fatal),
        b'f' if starts("fatal error: ") => Some(Level::Fatal),
        b't' if Shape::of(line).is_panic() => Some(Level::Fatal),
        b'T' if starts("Traceback (most recent call last)") => Some(Level::Error),
        b'E' if starts("Exception in thread \"") => Some(Level::Error),
        b'U' if starts("Unhandled exception") || starts("Uncaught ") => Some(Level::Fatal),
        b'P' if starts("PHP Fatal error:") => Some(Level::Error),
        b'S' if starts("Segmentation fault") => Some(Level::Fatal),
        // Node writes the place and the code before it says what is wrong.
        b'/' | b'n' | b'f' if is_place(line) => {
            let caret = lines(bytes).nth(2)?;
            Shape::of(caret).is_caret().then_some(Level::Error)
        }
        _ => None,
    };
    found.or_else(|| is_thrown(bytes, line).then_some(Level::Error))
}

/// The level of the trace behind a line, also behind an empty one.
pub fn behind(rest: &[u8]) -> Option<Level> {
    if !may_begin(*rest.first()?) {
        return None;
    }
    let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    at(rest)
}

/// `java.lang.IllegalStateException: a` with `\tat …` in the next line.
fn is_thrown(bytes: &[u8], line: &[u8]) -> bool {
    let Some(next) = lines(bytes).nth(1) else { return false };
    let is_frame =
        next.first().is_some_and(|it| matches!(it, b'\t' | b' ')) && next.trim_ascii_start().starts_with(b"at ");
    is_frame && Shape::of(line).is_exception()
}

/// `/app/index.js:10`, `node:internal/main:1`, `file:///app/a.mjs:3`
fn is_place(line: &[u8]) -> bool {
    let has_start = line.starts_with(b"/") || line.starts_with(b"node:") || line.starts_with(b"file://");
    let digits = line.iter().rev().take_while(|it| it.is_ascii_digit()).count();
    has_start && digits > 0 && line.len() > digits && line[line.len() - digits - 1] == b':'
}

fn first_line(bytes: &[u8]) -> &[u8] {
    lines(bytes).next().unwrap_or_default()
}

/// The lines of a text that may be long: only as many line ends are looked for as lines are asked for.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = memchr::memchr(b'\n', text);
        rest = end.map(|it| &text[it + 1..]);
        let line = &text[..end.unwrap_or(text.len())];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logstore::level;

    const TRACES: [(&str, Level); 9] = [
        (
            "panic: runtime error: index out of range\n\ngoroutine 1 [running]:\nmain.f(...)\n\t/a.go:1\nexit status 2\n",
            Level::Fatal,
        ),
        ("fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [chan receive]:\n", Level::Fatal),
        ("thread 'main' panicked at src/main.rs:4:5:\ncalled unwrap on None\n", Level::Fatal),
        ("Traceback (most recent call last):\n  File \"a.py\", line 1, in f\nValueError: x\n", Level::Error),
        ("Exception in thread \"main\" java.lang.NullPointerException: a\n\tat a.b(C.java:1)\n", Level::Error),
        (
            "/app/index.js:10\n    throw new Error('x');\n    ^\n\nError: x\n    at f (/app/index.js:1:1)\n",
            Level::Error,
        ),
        ("java.lang.IllegalStateException: a\n\tat x.Y.z(Y.java:1)\n", Level::Error),
        ("Unhandled exception. System.Exception: x\n   at A.B()\n", Level::Fatal),
        ("PHP Fatal error:  Uncaught Exception: x in /a.php:3\n", Level::Error),
    ];

    fn of(record: &str, stamp_end: usize) -> Option<Level> {
        let length = record.find('\n').map_or(record.len(), |it| it + 1);
        level::read(record.as_bytes(), length, stamp_end, None)
    }

    #[test]
    fn a_trace_has_a_level_and_gives_it_to_the_calm_record_that_it_joins() {
        for (text, expected) in TRACES {
            assert_eq!(of(text, 0), Some(expected), "{text}");
            // What was logged with an exception has the level that it was logged with.
            if text.starts_with("java") {
                continue;
            }
            for head in ["2026-08-19T00:00:00Z INFO got request\n", "2026-08-19T00:00:00Z got request\n\n"] {
                assert_eq!(of(&format!("{head}{text}"), 20), Some(expected), "{head}{text}");
            }
            let warned = format!("2026-08-19T00:00:00Z WARN tried in vain\n{text}");
            assert_eq!(of(&warned, 20), Some(Level::Warn), "{warned}");
        }
    }

    #[test]
    fn what_only_begins_like_a_trace_has_no_level_of_one() {
        for text in
            ["/app/index.js:10\nnext\nlast\n", "thread 'a' started\n", "Traceback\n", "java.lang.Exception\nnext\n"]
        {
            assert_eq!(of(&format!("2026-08-19T00:00:00Z INFO a\n{text}"), 20), Some(Level::Info), "{text}");
        }
        // Without a time the next line is a record of its own.
        assert_eq!(of("got request\npanic: x\n", 0), None);
        assert!(TRACES.iter().all(|(text, _)| may_begin(text.as_bytes()[0]) || text.starts_with("java")));
    }
}
