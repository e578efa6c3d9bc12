//! The shape of a line, by which lines without a timestamp are told to continue the one before.
//!
//! A traceback of Python ends with a line that is not indented, a panic of Go has its functions at the
//! margin, Rust's says why in a line of its own. Such a line alone could be anything, so what stands in
//! the two lines before it is asked as well. It is never more than two: then the answer is the same
//! wherever reading begins.

use crate::domain::sanitise::{ESCAPE, without_escapes};

pub mod trace;

/// Bytes of a line that its shape is told by.
pub const SHAPE_BYTES: usize = 256;
/// Lines before a line that are asked about it.
pub const LINES_BEFORE: usize = 2;

/// What a line looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape(u32);

/// Indented, part of a trace, or the end of an object: continues whatever is before it.
const CONTINUES: u32 = 1;
/// Nothing in it.
const EMPTY: u32 = 1 << 1;
/// A place in Python code, or the code there.
const PYTHON_FRAME: u32 = 1 << 2;
/// `ValueError: bad`: an exception with what it says.
const EXCEPTION: u32 = 1 << 3;
/// `Traceback (most recent call last):`
const TRACEBACK: u32 = 1 << 4;
/// `During handling of the above exception, …`
const PYTHON_CHAIN: u32 = 1 << 5;
/// `goroutine 1 [running]:`
const GOROUTINE: u32 = 1 << 6;
/// `\t/x/main.go:8 +0x1d`
const GO_PLACE: u32 = 1 << 7;
/// `main.f(0x1)`, `created by main.g`
const GO_FUNCTION: u32 = 1 << 8;
/// `thread 'main' panicked at src/main.rs:2:5:`, whose message is the next line.
const RUST_PANIC: u32 = 1 << 9;
/// `    ^`, below the code of Node.
const CARET: u32 = 1 << 10;
/// `exit status 2`
const EXIT_STATUS: u32 = 1 << 11;
/// `ERROR:app:lost` and the like: the message before a traceback.
const PYTHON_MESSAGE: u32 = 1 << 12;

impl Shape {
    /// Tells the shape of a line, which may be cut behind `SHAPE_BYTES`.
    pub fn of(line: &[u8]) -> Self {
        let line = &line[..line.len().min(SHAPE_BYTES)];
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.first() == Some(&ESCAPE) {
            return Self::of(&without_escapes(line).unwrap_or_default());
        }
        Self(match line.first() {
            None => CONTINUES | EMPTY,
            Some(b'\t') => CONTINUES | if memchr::memmem::find(line, b".go:").is_some() { GO_PLACE } else { 0 },
            Some(b' ') => CONTINUES | indented(line),
            Some(b'}' | b']' | b')') => flag(line.len() <= 3, CONTINUES),
            Some(b'#') => flag(line.get(1).is_some_and(u8::is_ascii_digit), CONTINUES),
            Some(b'-') => flag(line.starts_with(b"--- End of"), CONTINUES),
            Some(b'.') => flag(line.starts_with(b"... "), CONTINUES),
            Some(b'[') => flag(line.starts_with(b"[signal "), CONTINUES),
            Some(b'0'..=b'9' | b'{' | b'<' | b'"') => 0,
            Some(_) => word(line),
        })
    }

    /// True for what Rust says of a panic, before its message.
    pub fn is_panic(self) -> bool {
        self.0 & RUST_PANIC != 0
    }

    /// True for `ValueError: bad` and the like.
    pub fn is_exception(self) -> bool {
        self.0 & EXCEPTION != 0
    }

    /// True for a line that points at the line before.
    pub fn is_caret(self) -> bool {
        self.0 & CARET != 0
    }

    /// True when a line of this shape continues the record of the lines before it, the nearest one first.
    pub fn continues(self, before: Shape, before_that: Shape) -> bool {
        let (before, before_that) = (before.0, before_that.0);
        if self.0 & CONTINUES != 0 || before & RUST_PANIC != 0 {
            return true;
        }
        (self.0 & EXCEPTION != 0 && before & PYTHON_FRAME != 0)
            || (self.0 & EXCEPTION != 0 && before & EMPTY != 0 && before_that & CARET != 0)
            || (self.0 & TRACEBACK != 0 && before & EMPTY != 0 && before_that & PYTHON_CHAIN != 0)
            || (self.0 & TRACEBACK != 0 && before & PYTHON_MESSAGE != 0)
            || (self.0 & GO_FUNCTION != 0 && before & (GOROUTINE | GO_PLACE) != 0)
            || (self.0 & EXIT_STATUS != 0 && before & GO_PLACE != 0)
    }
}

fn flag(holds: bool, flag: u32) -> u32 {
    if holds { flag } else { 0 }
}

fn indented(line: &[u8]) -> u32 {
    let depth = line.iter().take_while(|byte| **byte == b' ').count();
    let rest = &line[depth..];
    if rest.is_empty() {
        return EMPTY;
    }
    if rest.iter().all(|byte| matches!(byte, b'^' | b'~' | b' ')) {
        return CARET | flag(depth >= 4, PYTHON_FRAME);
    }
    // Java and Node write `    at f(…)`.
    let is_code = depth >= 4 && !rest.starts_with(b"at ");
    flag(rest.starts_with(b"File \"") || is_code, PYTHON_FRAME)
}

/// A line that begins with something else than a sign or a digit.
fn word(line: &[u8]) -> u32 {
    let starts: &[(&[u8], u32)] = match line[0] {
        b'C' => &[(b"Caused by:", CONTINUES)],
        b'a' => &[(b"at ", CONTINUES)],
        b'D' => &[(b"During handling of the above exception", CONTINUES | PYTHON_CHAIN)],
        b'T' => &[
            (b"Traceback (most recent call last)", TRACEBACK),
            (b"The above exception was the direct cause", CONTINUES | PYTHON_CHAIN),
        ],
        b'S' => &[(b"Stack trace:", CONTINUES), (b"Suppressed:", CONTINUES)],
        b's' => &[(b"stack backtrace:", CONTINUES)],
        b'n' => &[(b"note: run with `RUST_BACKTRACE", CONTINUES), (b"note: Some details are omitted", CONTINUES)],
        b'N' => &[(b"Node.js v", CONTINUES)],
        b'g' => &[(b"goroutine ", CONTINUES | GOROUTINE)],
        b'c' => &[(b"created by ", GO_FUNCTION)],
        b'e' => &[(b"exit status ", EXIT_STATUS)],
        b't' => &[(b"thread '", 0)],
        _ => &[],
    };
    if let Some((start, flags)) = starts.iter().find(|(it, _)| line.starts_with(it)) {
        return match line[0] {
            b'g' => flag(line.ends_with(b"]:") && memchr::memchr(b'[', line).is_some(), *flags),
            b't' => flag(line.ends_with(b":") && memchr::memmem::find(line, b" panicked at ").is_some(), RUST_PANIC),
            _ => flag(!start.is_empty(), *flags),
        };
    }
    python_message(line) | exception(line) | flag(is_go_function(line), GO_FUNCTION)
}

/// `ERROR:app:lost`, as Python's logging writes without a format.
fn python_message(line: &[u8]) -> u32 {
    let levels: [&[u8]; 3] = [b"ERROR:", b"CRITICAL:", b"WARNING:"];
    flag(levels.iter().any(|it| line.starts_with(it)), PYTHON_MESSAGE)
}

/// A dotted name that ends as exceptions do, alone or before a colon.
fn exception(line: &[u8]) -> u32 {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || *byte >= 0x80;
    let length = line.iter().position(|byte| !is_name(byte)).unwrap_or(line.len());
    let (name, rest) = line.split_at(length);
    let endings: [&[u8]; 10] = [
        b"Error",
        b"Exception",
        b"Warning",
        b"Interrupt",
        b"Exit",
        b"Group",
        b"Iteration",
        b"DoesNotExist",
        b"NotFound",
        b"Timeout",
    ];
    let is_one = line[0].is_ascii_alphabetic()
        && (rest.is_empty() || rest.starts_with(b": ") || rest == b":")
        && endings.iter().any(|it| name.ends_with(it));
    flag(is_one, EXCEPTION)
}

/// `main.f(0x1, {0x2, 0x3})`, `main.(*T).m(…)`, `panic({0x1})`.
fn is_go_function(line: &[u8]) -> bool {
    line.ends_with(b")")
        && memchr::memchr(b'(', line).is_some_and(|at| at > 0)
        && line.iter().take_while(|byte| **byte != b'(').all(|byte| !matches!(byte, b' ' | b'\t' | b':' | b'='))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    use crate::logstore::record::split;
    use crate::logstore::stamp::StampReader;

    /// Checks that each text is one record, with and without a timestamp before it, and that a plain line ends it.
    fn is_one_record(text: &str) {
        for head in ["", "2026-08-19T00:00:00Z ERROR it broke\n"] {
            let whole = format!("before\n{head}{text}\nplain line\n");
            let mut reader = StampReader::new(TimeZone::UTC, Timestamp::from_second(1_800_000_000).unwrap());
            let spans = split(whole.as_bytes(), 0, &mut reader);
            let records: Vec<&str> = spans.iter().map(|it| &whole[it.start as usize..it.end as usize]).collect();
            if head.is_empty() {
                assert_eq!(records, ["before\n", &format!("{text}\n"), "plain line\n"]);
            } else {
                assert_eq!(records, ["before\n", &format!("{head}{text}\nplain line\n")]);
            }
        }
    }

    #[test]
    fn a_trace_is_one_record_with_and_without_a_time_before_it() {
        is_one_record(
            "Exception in thread \"main\" java.lang.IllegalStateException: a\n\tat x.Y.z(Y.java:1)\nCaused by: java.io.IOException: b\n\tat q(Q.java:2)\n\t... 3 more",
        );
        is_one_record(
            "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\n    ~^^\nZeroDivisionError: division by zero",
        );
        is_one_record(
            "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n    g()\napp.errors.NotFound\n\nThe above exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n  File \"b.py\", line 2, in h\n    i()\nRuntimeError: x\n  with details",
        );
        is_one_record(
            "panic: runtime error: index out of range [5] with length 3\n[signal SIGSEGV: segmentation violation]\n\ngoroutine 1 [running]:\nmain.(*T).get(0x1, {0x2, 0x3})\n\t/src/main.go:8 +0x1d\nmain.main()\n\t/src/main.go:4 +0x1\ncreated by main.start in goroutine 7\n\t/src/main.go:3 +0x2\nexit status 2",
        );
        is_one_record(
            "thread 'main' panicked at src/main.rs:2:5:\nindex out of bounds: the len is 3 but the index is 99\nstack backtrace:\n   0: rust_begin_unwind\n             at /rustc/x/panicking.rs:1:5\nnote: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.",
        );
        is_one_record(
            "thread 'tokio-1' (812) panicked at src/a.rs:1:1:\nassertion `left == right` failed: why\n  left: 1\n right: 2\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
        );
        is_one_record(
            "/app/index.js:10\n    throw new Error('x');\n    ^\n\nError: x\n    at Object.<anonymous> (/app/index.js:10:9)\n    at node:internal/main:1:1 {\n  code: 'ENOENT'\n}\n\nNode.js v22.1.0",
        );
        is_one_record("TypeError: Cannot read properties of undefined\n    at f (/app/a.js:1:1)");
        is_one_record(
            "PHP Fatal error:  Uncaught Exception: x in /a.php:3\nStack trace:\n#0 /a.php(9): f()\n#1 {main}\n  thrown in /a.php on line 3",
        );
        is_one_record(
            "System.Exception: x\n   at A.B() in C.cs:line 1\n--- End of stack trace from previous location ---\n   at D.E()",
        );
        is_one_record("{\n  \"a\": {\n    \"b\": 1\n  }\n}");
    }

    #[test]
    fn traces_of_java_one_behind_the_other_are_records_of_their_own() {
        let text = "java.lang.RuntimeException: a\n\tat x\njava.lang.RuntimeException: b\n\tat y\n";
        let mut reader = StampReader::new(TimeZone::UTC, Timestamp::from_second(1_800_000_000).unwrap());
        assert_eq!(split(text.as_bytes(), 0, &mut reader).len(), 2);
    }
}
