//! Says of a source that its text is not what it was taken for: no text, or not in the format of its config.

use crate::domain::log::{Doubt, LogFact};
use crate::domain::sanitise::without_escapes;
use crate::logstore::segment::Segment;
use crate::logstore::source::Source;

/// Bytes at both ends of a file whose lines are tried: some hundred lines.
const TRIED_BYTES: u64 = 64 << 10;

/// What is known of one source so far.
#[derive(Debug, Default)]
pub struct Doubter {
    /// The segment that was judged, and its size then.
    judged: Option<(u64, u64)>,
    /// Its text is what it should be; that does not change.
    is_clear: bool,
    doubt: Option<Doubt>,
}

impl Doubter {
    /// Looks at what is new, unless that was done; says what is other than before.
    pub fn look(&mut self, source: &Source) -> Option<LogFact> {
        let newest = source.newest()?;
        let size_bytes = newest.size_bytes();
        if let Some((uid, then)) = self.judged
            && uid == newest.uid
            && (self.is_clear || size_bytes < then.saturating_mul(2).max(1))
        {
            return None;
        }
        self.judged = Some((newest.uid, size_bytes));
        let verdict = judge(&newest);
        self.is_clear = verdict == Verdict::Clear;
        let doubt = match verdict {
            Verdict::Doubtful(doubt) => Some(doubt),
            Verdict::Clear => None,
            Verdict::Open => return None,
        };
        if doubt == self.doubt {
            return None;
        }
        self.doubt.clone_from(&doubt);
        Some(LogFact::Doubt { source: source.id.clone(), doubt })
    }
}

/// What is wrong with the newest text of a source.
pub fn of(source: &Source) -> Option<Doubt> {
    match judge(&*source.newest()?) {
        Verdict::Doubtful(doubt) => Some(doubt),
        Verdict::Clear | Verdict::Open => None,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Clear,
    Doubtful(Doubt),
    /// There is nothing to tell it by yet.
    Open,
}

fn judge(segment: &Segment) -> Verdict {
    if segment.is_binary() {
        return Verdict::Doubtful(Doubt::Binary);
    }
    let size_bytes = segment.size_bytes();
    let Some(format) = segment.reading.user_format() else {
        return if size_bytes > 0 { Verdict::Clear } else { Verdict::Open };
    };
    let mut tried = 0;
    for (start, end) in [(0, size_bytes.min(TRIED_BYTES)), (size_bytes.saturating_sub(TRIED_BYTES), size_bytes)] {
        // What cannot be read is told elsewhere.
        let Ok(bytes) = segment.read(start, end) else { return Verdict::Open };
        // The first line of the second stretch may be cut, the last one of both may not be written yet.
        let skipped = if start > 0 { memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |it| it + 1) } else { 0 };
        let whole = memchr::memrchr(b'\n', &bytes).map_or(0, |it| it + 1).max(skipped);
        for line in bytes[skipped..whole].split(|it| *it == b'\n').filter(|it| !it.trim_ascii().is_empty()) {
            tried += 1;
            let clean = without_escapes(line);
            if format.captures(clean.as_deref().unwrap_or(line)).is_some() {
                return Verdict::Clear;
            }
        }
    }
    if tried == 0 { Verdict::Open } else { Verdict::Doubtful(Doubt::OtherFormat(format.name.clone())) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;
    use crate::domain::ids::{HostId, SourceId};
    use crate::logstore::format::user::UserFormat;
    use crate::logstore::format::{Format, Reading};

    #[test]
    fn a_format_that_no_line_is_in_is_doubted_until_one_is() {
        let format = UserFormat::new("app", r"(?<time>\d+)\|(?<message>.*)", None).unwrap();
        let reading = Reading { format: Some(Format::User(Arc::new(format))), ..Reading::default() };
        let source = Source::new(SourceId::new(&HostId::new("h"), "a"), "a", "a");
        source.set_reading(Arc::new(reading));
        let segment = source.push(Segment::memory(0), None);
        let mut doubter = Doubter::default();
        let mut step = |text: &str| {
            segment.append(text.as_bytes(), Timestamp::UNIX_EPOCH);
            doubter.look(&source).map(|it| matches!(it, LogFact::Doubt { doubt: Some(_), .. }))
        };
        assert_eq!(step(""), None, "nothing to tell it by");
        assert_eq!(step("\n no end"), None, "nothing whole");
        assert_eq!(step(" of this line, which is plain\n"), Some(true));
        assert_eq!(step("another\n"), None, "said already");
        assert_eq!(step(&format!("{}1700000000|x\n", "plain\n".repeat(40))), Some(false));
        assert_eq!(step(&"plain\n".repeat(400)), None, "it was clear once");
    }
}
