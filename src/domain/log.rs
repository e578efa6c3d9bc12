//! Log data as it travels: positions, records, gaps, windows, and the facts a source reports.
//!
//! Bytes stay on disk. A pane asks for a window around a position; what it gets is owned, sanitised and
//! serialisable, so the answer may come from a file of this host, a store or another host's agent.

mod board;
mod clean;
mod histogram;
pub mod merge;

use std::ops::Range;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::format;
use crate::domain::ids::SourceId;

pub use board::{LogBoard, SourceStatus};
pub use histogram::{Bucket, Histogram, HistogramRequest, MAX_BUCKETS, bucket_lengths};

/// How bad a record says it is. Ordered: `Fatal` is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Finest detail.
    Trace,
    /// For developers.
    Debug,
    /// Normal work; also syslog notice.
    Info,
    /// Something to look at.
    Warn,
    /// Something failed.
    Error,
    /// The program or host gave up; also syslog crit, alert, emerg.
    Fatal,
}

/// A place in a source that stays valid while lines arrive, files rotate and screens come and go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Time of the record there, when it has one; merges sources on one clock.
    pub time: Option<Timestamp>,
    /// Which source.
    pub source: SourceId,
    /// Where in the source. Only the source that made it understands it.
    pub cursor: Cursor,
}

/// The opaque part of a position.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cursor {
    /// A byte offset in one generation of a file (or of a stream's spool).
    File {
        /// Counts the files that have stood under the source's name, oldest first: a rotation adds one.
        segment: u64,
        /// Device and inode, so that the place can be found again after a restart.
        device: u64,
        /// See `device`.
        inode: u64,
        /// Byte offset of the record's first byte.
        offset: u64,
    },
    /// A timestamp and a tie-break in a store that orders by time.
    Store {
        /// Nanoseconds since the Unix epoch.
        nanos: i64,
        /// Orders records of the same nanosecond.
        tie: String,
    },
}

/// One logical entry: a line with the lines that continue it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Where it starts.
    pub position: Position,
    /// Its level, when one was recognised.
    pub level: Option<Level>,
    /// Its lines, sanitised for drawing (`domain::sanitise`), at most `MAX_RECORD_LINES`, each cut at `MAX_LINE_CHARS`.
    pub lines: Vec<String>,
    /// Byte range of the timestamp in the first line, when one was recognised.
    pub time_span: Option<Range<usize>>,
    /// SGR colours kept from the source: line, byte range, colour.
    pub styles: Vec<SgrSpan>,
    /// Hits of the search and of the filter-in chips: line, byte range.
    pub hits: Vec<(u32, Range<u32>)>,
    /// Length on disk in bytes, whatever was cut above.
    pub length_bytes: u64,
    /// Bytes not in `lines` because of the bounds.
    pub cut_bytes: u64,
    /// True when it is here as context, not because it matched.
    pub context: bool,
    /// Its lines as they are in the source, sanitised, where `lines` shows a readable form of them (a JSON object).
    pub original: Option<Vec<String>>,
    /// The values of the fields that the request's `columns` name, in their order; empty where a record lacks one.
    pub cells: Vec<String>,
    /// Where each of `cells` stands in the first line, byte ranges; none where it stands otherwise than it is written.
    #[serde(default)]
    pub cell_spans: Vec<Option<Range<u32>>>,
    /// Its fields with their values, sanitised, when the request's `columns` ask for [`ALL_FIELDS`].
    #[serde(default)]
    pub fields: Vec<(String, String)>,
}

/// Among the names of `WindowRequest::columns`: all fields that a record has, whatever they are called.
pub const ALL_FIELDS: &str = "*";

/// A run of colour that the log itself asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SgrSpan {
    /// Index into `Record::lines`.
    pub line: u32,
    /// Byte range in that line.
    pub range: Range<u32>,
    /// Foreground: 0–15 named, 16–255 palette; `None` is the default.
    pub foreground: Option<u8>,
    /// Bold.
    pub bold: bool,
}

/// Bytes of one line that are searched, 16 MiB: what lies behind is stepped over. A longer line begins a record of
/// its own, and none goes on behind it.
pub const LINE_BYTES: u64 = 16 << 20;
/// Lines kept of one record: a Java trace with its causes fits, a runaway dump does not.
pub const MAX_RECORD_LINES: usize = 500;
/// Characters kept of one line in a window: ten screens of 200 columns by 8 rows.
pub const MAX_LINE_CHARS: usize = 16_384;

impl Record {
    /// Returns a record of which nothing is known but its place and its lines.
    pub fn new(position: Position, lines: Vec<String>) -> Self {
        Self {
            position,
            level: None,
            lines,
            time_span: None,
            styles: Vec::new(),
            hits: Vec::new(),
            length_bytes: 0,
            cut_bytes: 0,
            context: false,
            original: None,
            cells: Vec::new(),
            cell_spans: Vec::new(),
            fields: Vec::new(),
        }
    }

    /// Says what of it is not shown, and what was not even searched: `84M of this record`.
    pub fn cut_words(&self) -> Option<String> {
        let cut = (self.cut_bytes > 0).then(|| format::bytes(self.cut_bytes))?;
        Some(match self.length_bytes > LINE_BYTES {
            true => format!("{cut} of this record, searched to its first {},", format::bytes(LINE_BYTES)),
            false => format!("{cut} of this record"),
        })
    }
}

/// Something that is not there, said in place of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// Where it stands.
    pub position: Position,
    /// What happened.
    pub kind: GapKind,
}

/// Why lines are missing or a source changed under the reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapKind {
    /// The file was renamed away or replaced; the old one was read to its end.
    Rotated,
    /// The file shrank; this many bytes were written and gone before they were read.
    Truncated {
        /// Bytes that are known to have been there and were never read.
        unread_bytes: u64,
        /// Bytes that were read and can not be shown any more; what was looked at last is kept.
        #[serde(default, skip_serializing_if = "is_none_gone")]
        gone_bytes: u64,
        /// When somebody last looked. What was written between then and the truncation is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        looked_at: Option<Timestamp>,
        /// How often, when it was again and again with nothing read in between.
        #[serde(default = "once", skip_serializing_if = "is_once")]
        times: u32,
    },
    /// The file was deleted; reading goes on if it comes back.
    Deleted,
    /// The file does not exist yet.
    Missing,
    /// The file may not be read.
    PermissionDenied,
    /// A stream's spool reached its bound and its oldest part was dropped.
    Dropped {
        /// Lines dropped.
        lines: u64,
    },
    /// The stream ended.
    Ended,
    /// The connection to the source was lost and is back.
    Reconnected {
        /// How long it was away.
        away_seconds: u64,
        /// Reading went on where it had stopped, so that nothing is missing.
        resumed: bool,
    },
    /// A line longer than the source's bound was cut.
    Cut {
        /// Bytes that are not there.
        bytes: u64,
    },
    /// An archive cannot be unpacked from here on.
    Broken {
        /// Bytes that could be unpacked before.
        read_bytes: u64,
        /// What is wrong with it, in words.
        why: String,
    },
    /// Anything else, in words.
    Failed(String),
}

fn once() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_none_gone(bytes: &u64) -> bool {
    *bytes == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_once(times: &u32) -> bool {
    *times == 1
}

/// A row of a window, in display order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    /// A record.
    Record(Record),
    /// A gap.
    Gap(Gap),
    /// Context of two matches that do not touch (`--` in grep).
    Break,
}

impl Row {
    /// Where the row stands; a break has no place of its own.
    pub fn position(&self) -> Option<&Position> {
        match self {
            Row::Record(record) => Some(&record.position),
            Row::Gap(gap) => Some(&gap.position),
            Row::Break => None,
        }
    }
}

/// Names one log view of one screen; a newer request for the same view cancels the older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ViewId(pub u64);

/// Where a window is wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anchor {
    /// The newest rows; the window ends with the last record.
    Tail,
    /// The oldest rows.
    Head,
    /// Rows around this position; the record at it (or the next one after it) is `Window::anchor_row`.
    At(Position),
    /// Rows around the first record at or after this time.
    Time(Timestamp),
    /// The next record after (or before) this position that satisfies `find`, and the rows around it.
    Find {
        /// Start; the record there does not count.
        from: Option<Position>,
        /// Search towards older records.
        backwards: bool,
        /// What to find.
        find: Find,
    },
}

/// What a jump looks for among the records that pass the query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Find {
    /// A record at this level or above.
    LevelAtLeast(Level),
    /// A record that matches the request's `search`.
    Search,
}

/// Asks for the rows of a view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowRequest {
    /// Which view asks.
    pub view: ViewId,
    /// Counts the requests of the view; the answer carries it back, stale answers are dropped.
    pub generation: u64,
    /// The query in its text form (`domain::query`).
    pub query: String,
    /// Regex of the search (`/`), highlighted but not filtering; empty is none.
    pub search: String,
    /// Sources to read; empty is all.
    pub sources: Vec<SourceId>,
    /// Where.
    pub anchor: Anchor,
    /// Records wanted before the anchor.
    pub before: u32,
    /// Records wanted from the anchor on.
    pub after: u32,
    /// Lines of context around each match, before and after.
    pub context: u32,
    /// Keep sending fresh windows while the anchor is `Tail` and matching lines arrive.
    pub follow: bool,
    /// Also count all matches; progress arrives as further windows with the same rows' `counts`.
    pub count: bool,
    /// Sources left out, also of those that join later.
    pub muted: Vec<SourceId>,
    /// How records are presented.
    pub look: Look,
    /// Names of fields whose values are wanted as `Record::cells`.
    pub columns: Vec<String>,
    /// Also count after each chip (`Window::chip_counts`).
    pub chip_counts: bool,
    /// Also count by time and level (`Window::histogram`).
    pub histogram: Option<HistogramRequest>,
}

impl WindowRequest {
    /// Asks for `before` and `after` records around an anchor in everything, and for nothing else.
    pub fn new(view: ViewId, generation: u64, anchor: Anchor, (before, after): (u32, u32)) -> Self {
        Self {
            view,
            generation,
            query: String::new(),
            search: String::new(),
            sources: Vec::new(),
            anchor,
            before,
            after,
            context: 0,
            follow: false,
            count: false,
            muted: Vec::new(),
            look: Look::Readable,
            columns: Vec::new(),
            chip_counts: false,
            histogram: None,
        }
    }
}

/// How records are presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Look {
    /// A JSON object as `message key=value …` in one line.
    #[default]
    Readable,
    /// Every line as it is in the source.
    Original,
}

/// How many records pass the chips up to one of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChipCount {
    /// Records that pass this chip and all enabled ones before it.
    pub matched: u64,
    /// Records that pass the enabled ones before it.
    pub of: u64,
    /// Everything there is was counted.
    pub complete: bool,
}

/// The answer: owned rows with what is known about the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Which view asked.
    pub view: ViewId,
    /// Of which request.
    pub generation: u64,
    /// The rows, or `None` when only `counts` are news.
    pub rows: Option<Vec<Row>>,
    /// Index into `rows` of the record at the anchor.
    pub anchor_row: Option<usize>,
    /// No older matching record exists.
    pub at_head: bool,
    /// No newer matching record exists.
    pub at_tail: bool,
    /// What the anchor's `Find` or `At` could not give, in words ("no error before this").
    pub missing: Option<String>,
    /// Counts so far.
    pub counts: Counts,
    /// Why the query could not be run, in words; the rows are then those of no query.
    pub query_error: Option<String>,
    /// By chip of the query, disabled ones too (they count as passing everything); empty when not asked for or not known yet.
    pub chip_counts: Vec<ChipCount>,
    /// Records by time, when that was asked for and is news.
    pub histogram: Option<Histogram>,
    /// Of several hosts those whose records are not counted, and why, in words: `web1 (lost)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without: Option<String>,
}

impl Window {
    /// Returns an answer to a request that says nothing yet: neither rows nor counts.
    pub fn answering(request: &WindowRequest) -> Self {
        Self {
            view: request.view,
            generation: request.generation,
            rows: None,
            anchor_row: None,
            at_head: false,
            at_tail: false,
            missing: None,
            counts: Counts::default(),
            query_error: None,
            chip_counts: Vec::new(),
            histogram: None,
            without: None,
        }
    }
}

/// How much matches, as far as is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records that pass the query in the part that was scanned.
    pub matched: u64,
    /// Records in the part that was scanned.
    pub scanned: u64,
    /// Bytes scanned.
    pub scanned_bytes: u64,
    /// Bytes in all sources.
    pub total_bytes: u64,
    /// Everything there is was scanned.
    pub complete: bool,
}

/// What a source reports. Never its text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFact {
    /// A source was added (config, command line, a new file of a glob).
    Opened {
        /// Its id.
        source: SourceId,
        /// Short name for the row prefix.
        name: String,
        /// Where it reads from, in words: a path, `stdin`.
        origin: String,
    },
    /// Its config names fields to show as columns. Comes right behind `Opened`.
    Columns {
        /// Its id.
        source: SourceId,
        /// The names.
        columns: Vec<String>,
    },
    /// The source is gone from the config.
    Closed {
        /// Its id.
        source: SourceId,
    },
    /// More bytes are there. Coalesced: at most 20 a second and source.
    Grew {
        /// Its id.
        source: SourceId,
        /// Size in bytes of everything readable.
        size_bytes: u64,
    },
    /// Something is missing from here on.
    Gap {
        /// Its id.
        source: SourceId,
        /// What.
        kind: GapKind,
    },
    /// Its state changed.
    State {
        /// Its id.
        source: SourceId,
        /// The state.
        state: SourceState,
    },
    /// Its text is not what it was taken for, or is so after all.
    Doubt {
        /// Its id.
        source: SourceId,
        /// In what way it is not.
        doubt: Option<Doubt>,
    },
}

/// What is wrong with the text of a source that can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doubt {
    /// It is no text.
    Binary,
    /// None of the lines that were looked at is in the format of this name, which its config says they are in.
    OtherFormat(String),
}

impl Doubt {
    /// Says it, and what comes of it.
    pub fn words(&self) -> String {
        match self {
            Self::Binary => "binary data, shown as far as it is text".to_string(),
            Self::OtherFormat(name) => format!("no line is in its format `{name}`: read as text without times"),
        }
    }
}

/// Whether lines can arrive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceState {
    /// Being read.
    Connected,
    /// Not there yet or not any more; looked for again and again.
    Waiting(String),
    /// The connection is lost and is tried again.
    Reconnecting {
        /// Why it was lost, in words.
        why: String,
        /// When the next try is made.
        next: Timestamp,
    },
    /// Lines arrive faster than they are read.
    Lagging {
        /// Bytes known to wait.
        bytes: u64,
    },
    /// Will not say more (stdin closed).
    Ended,
    /// Cannot be read, in words.
    Failed(String),
}

/// Answers window requests: the local byte engine, a store, another host's agent.
///
/// `answer` may be called many times for one request: first rows, then fresh counts, then (following)
/// fresh rows. Returning `false` from it cancels. The call itself must not block.
pub trait WindowSource: Send + Sync {
    /// Starts answering; a newer request of the same view cancels this one.
    fn request(&self, request: WindowRequest, answer: Box<dyn Fn(Window) -> bool + Send + Sync>);
}
