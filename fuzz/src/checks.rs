//! What must hold for every input, one function a parser. They panic when it does not.
//!
//! `fuzz_targets/` run them under libFuzzer, `tests/it/fuzz_smoke.rs` on a few thousand seeded mutations.

use std::collections::HashSet;
use std::ops::Range;

use hotseat::agent::codec::{Decoded, decode, encode};
use hotseat::agent::protocol::{INBOUND_MAX_BYTES, ToAgent, ToScreen};
use hotseat::domain::ids::{HostId, SourceId};
use hotseat::domain::log::Level;
use hotseat::domain::query::Query;
use hotseat::domain::query::matcher::{Matcher, Subject};
use hotseat::domain::sanitise;
use hotseat::logstore::archive::{Packing, unpack};
use hotseat::logstore::format::fields::find;
use hotseat::logstore::format::{NAMES, Reading};
use hotseat::logstore::record::{count_records, split};
use hotseat::logstore::spool::{Spool, SpoolBounds};
use hotseat::logstore::stamp::{STAMP_BYTES, StampReader};
use hotseat::logstore::{json, level};
use hotseat::registry::node::Commands;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// One check.
pub type Check = fn(&[u8]);

/// All checks by the names of their targets and corpora.
pub const CHECKS: &[(&str, Check)] = &[
    ("stamp", stamp),
    ("record", record),
    ("level", level),
    ("sanitise", sanitise),
    ("query", query),
    ("json", json),
    ("fields", fields),
    ("archive", archive),
    ("config", config),
    ("protocol", protocol),
];

/// The reference of times without a year.
fn reader() -> StampReader {
    StampReader::new(TimeZone::UTC, Timestamp::from_second(1_800_000_000).unwrap_or_default())
}

/// A timestamp is found near the start of a line, and found again by a reader that has seen other lines.
pub fn stamp(data: &[u8]) {
    let mut used = reader();
    for line in data.split(|byte| *byte == b'\n') {
        let found = reader().read(line);
        if let Some(stamp) = &found {
            assert!(stamp.range.start <= stamp.range.end, "{:?}", stamp.range);
            assert!(stamp.range.end <= line.len().min(STAMP_BYTES), "{:?} of {}", stamp.range, line.len());
        }
        assert_eq!(reader().has_stamp(line), found.is_some(), "the two ways of looking differ");
        assert_eq!(used.has_stamp(line), found.is_some(), "lines before it decide");
        let again = used.read(line);
        assert_eq!(again.map(|it| it.range), found.map(|it| it.range), "lines before it decide where");
    }
}

/// Records stand one behind the other from the first byte to the last, and are as many as were counted.
pub fn record(data: &[u8]) {
    let spans = split(data, 0, &mut reader());
    let mut end = 0;
    for span in &spans {
        assert_eq!(span.start, end, "a hole between records");
        assert!(span.end > span.start, "an empty record");
        let bytes = &data[span.start as usize..span.end as usize];
        assert!(usize::from(span.stamp_end) <= bytes.len(), "a timestamp behind its record");
        level::of(bytes, usize::from(span.stamp_end));
        end = span.end;
    }
    assert_eq!(end as usize, data.len(), "bytes of no record");
    assert_eq!(count_records(data, 0, &mut reader()), spans.len(), "split and counted differently");
}

/// The first byte says how far the timestamp reached. Only levels that a line names are found.
pub fn level(data: &[u8]) {
    let Some((end, line)) = data.split_first() else { return };
    let end = usize::from(*end).min(line.len());
    let found = level::of(line, end);
    assert_eq!(found, level::of(line, end), "not the same twice");
    if let Some(found) = found
        && !line.iter().any(|it| it.is_ascii_alphanumeric() || *it == b'<')
    {
        panic!("{found:?} of nothing");
    }
}

/// Nothing that a terminal would act on is left, and cleaning what is clean changes nothing.
pub fn sanitise(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        let clean = sanitise::line(line);
        harmless(&clean.text);
        let mut end = 0;
        for span in &clean.styles {
            inside(&clean.text, &(span.range.start as usize..span.range.end as usize));
            assert!(span.range.start >= end, "colours overlap");
            end = span.range.end;
        }
        let again = sanitise::line(clean.text.as_bytes());
        assert_eq!(again.text, clean.text, "cleaning twice changes it");
        assert!(again.styles.is_empty(), "a colour is left");
    }
    let source = String::from_utf8_lossy(data);
    harmless(&sanitise::text(&source));
    assert!(sanitise::multiline(&source).split('\n').all(is_harmless), "multiline");
    let name = sanitise::file_name(&source);
    harmless(&name);
    assert!(!name.is_empty() && !name.contains('/') && !name.starts_with('.') && name.len() <= 255, "{name:?}");
}

fn harmless(text: &str) {
    assert!(is_harmless(text), "{text:?}");
}

fn is_harmless(text: &str) -> bool {
    text.chars().all(|it| {
        !it.is_control()
            && !matches!(it, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    })
}

fn inside(text: &str, range: &Range<usize>) {
    assert!(text.get(range.clone()).is_some_and(|it| !it.is_empty()), "{range:?} of {text:?}");
}

struct Line<'a>(&'a [u8]);

impl Subject for Line<'_> {
    fn bytes(&self) -> &[u8] {
        self.0
    }
    fn level(&self) -> Option<Level> {
        level::of(self.0, 0)
    }
    fn time(&self) -> Option<Timestamp> {
        reader().read(self.0).and_then(|it| it.time)
    }
}

/// The first line is a query, the rest a record: what is printed is read back as the same query, a mistake
/// points into the text, and what is read can be run.
pub fn query(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (text, record) = data.split_at(end);
    let text = String::from_utf8_lossy(text);
    match Query::parse(&text) {
        Ok(query) => {
            let printed = query.to_string();
            assert_eq!(Query::parse(&printed).as_ref(), Ok(&query), "{text:?} is printed as {printed:?}");
            let now = Timestamp::from_second(1_800_000_000).unwrap_or_default();
            if let Ok(matcher) = Matcher::new(&query, now, &TimeZone::UTC) {
                let passes = matcher.passes(&Line(record));
                let led = matcher.lead().is_none_or(|it| it.find_at(record, 0).is_some());
                assert!(!passes || led, "{text:?} passes without its leading pattern");
            }
        }
        Err(error) => {
            assert!(text.get(error.range.clone()).is_some(), "{:?} of {text:?}", error.range);
            assert!(!error.message.is_empty() && !error.message.contains('\n'), "{:?}", error.message);
        }
    }
}

/// The value of a key stands inside the line.
pub fn json(data: &[u8]) {
    for keys in [&["time", "ts", "@timestamp"][..], &["level", "severity"], &["msg"], &["log.level"]] {
        if let Some(range) = json::find(data, keys) {
            assert!(range.start <= range.end && range.end <= data.len(), "{range:?} of {}", data.len());
        }
    }
    for start in [0, data.len() / 2, data.len()] {
        if let Some(range) = json::value_from(data, start) {
            assert!(start <= range.start && range.start <= range.end && range.end <= data.len(), "{range:?}");
        }
    }
}

/// A field's value, the readable form and the level are found in any record of any format, forced or not.
pub fn fields(data: &[u8]) {
    let stamp_end = reader().read(data).map_or(0, |it| it.range.end);
    let forced = NAMES.iter().map(|(_, format)| Some(format.clone()));
    for format in std::iter::once(None).chain(forced) {
        let reading = Reading { format, ..Reading::default() };
        for name in ["status", "msg", "http.status", "", "\u{212a}"] {
            let found = find(data, stamp_end, &reading, name);
            assert_eq!(found, find(data, stamp_end, &reading, name), "not the same twice");
        }
        let stamp = reading.stamp_reader(&TimeZone::UTC, Timestamp::UNIX_EPOCH).read(data);
        assert!(stamp.is_none_or(|it| it.range.end <= data.len()), "a timestamp behind its record");
    }
}

/// Unpacking ends: with the text, or with words for what is wrong. So much at most is taken of a bomb.
pub fn archive(data: &[u8]) {
    const ENOUGH: u64 = 4 << 20;
    let Some(packing) = Packing::of(data) else { return };
    let Ok(directory) = tempfile::tempdir() else { return };
    let path = directory.path().join("packed");
    let Ok(file) = std::fs::write(&path, data).and_then(|()| std::fs::File::open(&path)) else { return };
    let id = SourceId::new(&HostId::new("fuzz"), "packed");
    let mut spool = Spool::new(id, "packed", "packed", directory.path(), SpoolBounds::default());
    let source = spool.source();
    let unpacked = unpack(file, packing, &mut spool, &mut || source.size_bytes() < ENOUGH);
    assert!(source.size_bytes() <= unpacked.read_bytes * 3 + 3, "more text than came out of it");
    assert!(unpacked.broken.is_none_or(|it| !it.is_empty()), "broken without a word");
}

/// Any text is a config or has mistakes, whose places are in it. No two are the same.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // These look at files and environment of the machine that fuzzes.
    if text.contains("${") {
        return;
    }
    let loaded = hotseat::config::read_text("fuzz.toml", &text, Commands::Defer);
    let lines = text.split('\n').count();
    let mut seen = HashSet::new();
    for error in &loaded.errors {
        assert!(error.line as usize <= lines, "line {} of {lines}: {}", error.line, error.message);
        assert!(!error.message.is_empty() && is_harmless(&error.message), "{:?}", error.message);
        assert!(seen.insert((error.line, error.column, &error.message)), "said twice: {}", error.message);
    }
}

/// A line is a frame, something newer, or an error in harmless words; a frame that is written down is read back.
pub fn protocol(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        match decode::<ToAgent>(line) {
            Ok(Decoded::Frame(frame)) => {
                let written = encode(&frame, INBOUND_MAX_BYTES).expect("a short line");
                let again = decode::<ToAgent>(&written).expect("JSON");
                assert!(matches!(again, Decoded::Frame(it) if it == frame), "it is read back as something else");
            }
            Ok(Decoded::Unknown { what, .. }) => assert!(is_harmless(&what), "{what:?}"),
            Err(error) => assert!(is_harmless(&error.to_string()), "{error:?}"),
        }
        if let Ok(Decoded::Frame(frame)) = decode::<ToScreen>(line) {
            let written = encode(&frame, INBOUND_MAX_BYTES).expect("a short line");
            assert!(written.iter().filter(|byte| **byte == b'\n').count() == 1, "a frame is one line");
        }
    }
}
