//! Decides which lines of a container keep the time that the container engine gave them.
//!
//! The engine puts its time before every line, also before the lines of a stack trace, which would make a
//! record of each. A line that has a time of its own does without the engine's, and so does one that
//! continues the line before it; any other line needs it.

use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::logstore::stamp::StampReader;

/// A line without a time of its own that comes so soon after the one before it is its continuation.
const CONTINUES: SignedDuration = SignedDuration::from_millis(50);

/// One container's lines.
pub struct Dress {
    reader: StampReader,
    /// The last line that began a record had a time of its own.
    has_own: bool,
    last: Option<Timestamp>,
}

impl Default for Dress {
    fn default() -> Self {
        Self { reader: StampReader::new(clock::zone(), clock::now()), has_own: false, last: None }
    }
}

impl Dress {
    /// Puts the line `message`, written at `at`, behind what is in `out`: with the engine's `time` in front when it needs one.
    pub fn put(&mut self, at: Timestamp, time: &[u8], message: &[u8], out: &mut Vec<u8>) {
        if self.needs_time(at, message) {
            out.extend_from_slice(time);
            out.push(b' ');
        }
        out.extend_from_slice(message);
        out.push(b'\n');
    }

    /// True when the line `message`, written at `at`, needs the engine's time in front.
    fn needs_time(&mut self, at: Timestamp, message: &[u8]) -> bool {
        let before = self.last.replace(at);
        if self.reader.has_stamp(message) {
            self.has_own = true;
            return false;
        }
        let is_soon = before.is_some_and(|it| at.duration_since(it) <= CONTINUES);
        let continues = before.is_some() && looks_continued(message) || self.has_own && is_soon;
        if !continues {
            self.has_own = false;
        }
        !continues
    }
}

/// Indented lines, closing brackets and the words between the parts of a stack trace.
fn looks_continued(message: &[u8]) -> bool {
    match message.first() {
        None | Some(b' ' | b'\t' | b'}' | b']' | b')') => true,
        Some(_) => message.starts_with(b"Caused by:") || message.starts_with(b"Suppressed:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(lines: &[(i64, &str)]) -> Vec<bool> {
        let mut dress = Dress::default();
        let at = |ms: i64| Timestamp::from_millisecond(1_714_979_289_000 + ms).unwrap();
        lines.iter().map(|(ms, line)| dress.needs_time(at(*ms), line.as_bytes())).collect()
    }

    #[test]
    fn lines_with_their_own_time_and_those_that_continue_them_do_without() {
        let own = "2024-05-06 07:08:09,123 ERROR boom";
        let trace =
            [(0, own), (1, "java.lang.IllegalStateException: boom"), (2, "\tat a.B.c(B.java:1)"), (3, "Caused by: x")];
        assert_eq!(kept(&trace), [false; 4]);
        // Long after it, a plain line is a record of its own.
        assert_eq!(kept(&[(0, own), (900, "shutting down")]), [false, true]);
    }

    #[test]
    fn plain_lines_keep_the_engines_time_and_their_indented_rest_does_not() {
        assert_eq!(kept(&[(0, "hello"), (1, "world"), (2, "  more"), (3, "next")]), [true, true, false, true]);
        assert_eq!(kept(&[(0, "  first"), (1, "")]), [true, false]);
    }
}
