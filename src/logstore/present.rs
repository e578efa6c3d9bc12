//! Makes rows of what a walk met: sanitised, bounded, with hits.

use std::borrow::Cow;
use std::ops::Range;

use crate::domain::log::{ALL_FIELDS, Gap, Look, MAX_LINE_CHARS, MAX_RECORD_LINES, Record, Row};
use crate::domain::query::matcher::{Matcher, Pattern};
use crate::domain::sanitise::{self, CleanLine, Tabs};
use crate::logstore::block::Block;
use crate::logstore::format::readable::{self, Known};
use crate::logstore::place::position;
use crate::logstore::source::Snapshot;
use crate::logstore::walk::{Found, Item, Placed};

/// Hits marked in one line: a screen of 200 columns has no room for more.
const MAX_LINE_HITS: usize = 200;

/// Columns of fields in one view: no screen has room for more.
pub const MAX_COLUMNS: usize = 16;
/// Fields shown of one record: more than anybody reads.
pub const MAX_FIELDS: usize = 500;
/// Characters kept of a field's value in a column.
pub const MAX_CELL_CHARS: usize = 200;

/// The value of a field as it may stand in a column, and where it stands in the record as it is there; empty where a
/// record lacks it.
fn cell(block: &Block, index: usize, name: &str) -> (String, Option<Range<usize>>) {
    let span = &block.spans()[index];
    let Some(value) = block.field_of(span, name) else { return (String::new(), None) };
    let head = &value[..value.len().min(MAX_CELL_CHARS * 4)];
    let text: String = sanitise::text(&String::from_utf8_lossy(head)).chars().take(MAX_CELL_CHARS).collect();
    let place = match &value {
        Cow::Borrowed(slice) if slice.len() == text.len() => {
            let record = block.bytes_of(span);
            (slice.as_ptr() as usize).checked_sub(record.as_ptr() as usize).map(|at| at..at + slice.len())
        }
        _ => None,
    };
    (text, place)
}

/// All fields of a record as they may be shown.
fn fields_of(block: &Block, index: usize) -> Vec<(String, String)> {
    let clean = |bytes: &[u8]| -> String {
        let head = &bytes[..bytes.len().min(MAX_LINE_CHARS * 4)];
        sanitise::text(&String::from_utf8_lossy(head)).chars().take(MAX_LINE_CHARS).collect()
    };
    let mut found: Vec<(String, String)> = Vec::new();
    block.fields_of(&block.spans()[index], &mut |name, value| {
        found.push((clean(name), clean(value)));
        found.len() < MAX_FIELDS
    });
    found
}

/// The places of values in a record's first line, as far as that stands there as it was written.
fn spans_in(record: &Record, body: &[u8], places: Vec<Option<Range<usize>>>) -> Vec<Option<Range<u32>>> {
    let first = record.lines.first().map_or("", String::as_str);
    if places.iter().all(Option::is_none) || !body.starts_with(first.as_bytes()) {
        return Vec::new();
    }
    let is_inside = |it: &Range<usize>| it.start < it.end && first.get(it.clone()).is_some();
    let small = |it: Range<usize>| Some(u32::try_from(it.start).ok()?..u32::try_from(it.end).ok()?);
    places.into_iter().map(|it| it.filter(is_inside).and_then(small)).collect()
}

/// True when a record is presented as it is: printable ASCII in lines, nothing cut.
pub fn is_plain(record: &[u8]) -> bool {
    // Without an early end the compiler looks at many bytes at a time.
    let is_printable = record.iter().fold(true, |plain, it| plain & (it.wrapping_sub(b' ') < 0x5f || *it == b'\n'));
    let is_short = |line: &[u8]| line.len() <= MAX_LINE_CHARS;
    let mut lines = record.split(|it| *it == b'\n');
    let mut fits = || lines.by_ref().take(MAX_RECORD_LINES).all(is_short) && lines.all(<[u8]>::is_empty);
    is_printable && (record.len() <= MAX_RECORD_LINES || fits())
}

/// What all rows of a view share.
pub struct Presenter<'a> {
    /// Sources of the view.
    pub snapshots: &'a [Snapshot],
    /// Its query, whose hits are marked.
    pub matcher: &'a Matcher,
    /// Its search, marked as well.
    pub search: Option<&'a Pattern>,
    /// How records are presented.
    pub look: Look,
    /// What becomes of the tabs in their lines.
    pub tabs: Tabs,
    /// Fields whose values are wanted beside them.
    pub columns: &'a [String],
}

impl Presenter<'_> {
    /// Makes a row.
    pub fn row(&self, placed: &Placed, context: bool) -> Row {
        match &placed.item {
            Item::Record(found) => Row::Record(self.record(placed.source, found, context)),
            Item::Gap { mark, place, .. } => Row::Gap(Gap {
                position: position(&self.snapshots[placed.source], *place, Some(mark.at)),
                kind: mark.kind.clone(),
            }),
        }
    }

    fn record(&self, source: usize, found: &Found, context: bool) -> Record {
        let span = &found.block.spans()[found.index];
        let bytes = found.block.bytes_of(span);
        let length_bytes = found.block.length_of(found.index);
        let mut record = Record {
            level: found.level(),
            length_bytes,
            cut_bytes: length_bytes.saturating_sub(bytes.len() as u64),
            context,
            ..Record::new(position(&self.snapshots[source], found.place, found.time()), Vec::new())
        };
        let stamp_end = usize::from(span.stamp_end);
        let (cells, places) = self.columns.iter().map(|name| cell(&found.block, found.index, name)).unzip();
        record.cells = cells;
        if self.columns.iter().any(|it| it == ALL_FIELDS) {
            record.fields = fields_of(&found.block, found.index);
        }
        let known = Known { time: record.position.time.is_some(), level: record.level.is_some() };
        let readable = match self.look {
            Look::Readable => readable::read(bytes, stamp_end, found.block.reading(), known),
            Look::Original => None,
        };
        let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if let Some(readable) = readable {
            let original = body.split(|byte| *byte == b'\n').take(MAX_RECORD_LINES);
            record.original = Some(original.map(|it| self.clean(it).text).collect());
            record.cut_bytes += readable.cut_bytes;
            for line in &readable.lines {
                self.push_line(&mut record, line);
            }
            return record;
        }
        for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
            if index >= MAX_RECORD_LINES {
                record.cut_bytes += line.len() as u64 + 1;
                continue;
            }
            self.push_line(&mut record, line);
        }
        record.cell_spans = spans_in(&record, body, places);
        if stamp_end > 0
            && let Some(first) = record.lines.first()
        {
            let mut reader = found.block.stamp_reader();
            record.time_span = reader.read(first.as_bytes()).map(|it| it.range);
        }
        record
    }

    /// A line that may be drawn, cut where it is too long for that.
    fn clean(&self, line: &[u8]) -> CleanLine {
        // A character has at most four bytes: what lies behind can not be shown.
        let mut clean = sanitise::line_with(&line[..line.len().min(MAX_LINE_CHARS * 4)], self.tabs);
        if let Some((at, _)) = clean.text.char_indices().nth(MAX_LINE_CHARS) {
            clean.text.truncate(at);
        }
        clean
    }

    fn push_line(&self, record: &mut Record, line: &[u8]) {
        let number = u32::try_from(record.lines.len()).unwrap_or(u32::MAX);
        // A character has at most four bytes: what lies behind can not be shown.
        let shown = &line[..line.len().min(MAX_LINE_CHARS * 4)];
        let mut clean = sanitise::line_with(shown, self.tabs);
        if let Some((at, _)) = clean.text.char_indices().nth(MAX_LINE_CHARS) {
            clean.text.truncate(at);
            record.cut_bytes += (line.len() as u64).saturating_sub(at as u64);
        } else {
            record.cut_bytes += (line.len() - shown.len()) as u64;
        }
        let length = u32::try_from(clean.text.len()).unwrap_or(u32::MAX);
        for mut span in clean.styles {
            span.line = number;
            span.range.end = span.range.end.min(length);
            if span.range.start < span.range.end {
                record.styles.push(span);
            }
        }
        let before = record.hits.len();
        for pattern in self.matcher.highlights().chain(self.search) {
            let mut at = 0;
            while let Some(hit) = pattern.find_at(clean.text.as_bytes(), at) {
                if record.hits.len() - before >= MAX_LINE_HITS {
                    break;
                }
                at = hit.end.max(hit.start + 1);
                let bounds = (u32::try_from(hit.start), u32::try_from(hit.end));
                if let ((Ok(start), Ok(end)), Some(false)) = (bounds, clean.text.get(hit.clone()).map(str::is_empty)) {
                    record.hits.push((number, start..end));
                }
            }
        }
        record.hits[before..].sort_by_key(|(_, range)| (range.start, range.end));
        record.lines.push(clean.text);
    }
}
