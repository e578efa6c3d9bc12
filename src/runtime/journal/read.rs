//! Reads segments of the journal: their lines, what they began with, the events in them, and boards of the past.
//!
//! A writer may remove the oldest segment at any time, also between the look into the folder and the look into the
//! file: one that is gone is passed over. One that is open is read to its end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

use crate::domain::board::Board;
use crate::domain::fact::Envelope;
use crate::domain::past::PastEvent;
use crate::runtime::journal::segment::{is_packed, named_at, segments};
use crate::runtime::journal::{FOLDER, Line, VERSION};

/// A longer line is no line of ours: a snapshot of some thousands of probes is shorter.
const LINE_MAX_BYTES: u64 = 256 << 20;
/// What stands before the board in a first line is shorter: a version, a host, a time.
const HEAD_MAX_BYTES: u64 = 2 << 10;
/// How a snapshot begins, a line of events, and one of a fact.
const SNAPSHOT: &[u8] = b"{\"snapshot\"";
const EVENTS: &[u8] = b"{\"events\"";
const FACT: &[u8] = b"{\"fact\"";
/// Read at once.
const READ_BYTES: usize = 256 << 10;

/// The text of a segment.
struct Text {
    source: Source,
    /// It ended where it could not be unpacked, and that was not said yet.
    is_damaged: bool,
}

enum Source {
    Plain(File),
    Packed(Box<zstd::Decoder<'static, BufReader<File>>>),
    Ended,
}

impl Text {
    /// Opens a segment at a place of its text, in bytes.
    fn open(path: &Path, offset: u64) -> io::Result<BufReader<Self>> {
        let mut file = File::open(path)?;
        let text = |source| BufReader::with_capacity(READ_BYTES, Self { source, is_damaged: false });
        if !is_packed(path) {
            file.seek(SeekFrom::Start(offset))?;
            return Ok(text(Source::Plain(file)));
        }
        let mut reader = text(Source::Packed(Box::new(zstd::Decoder::new(file)?)));
        io::copy(&mut Read::take(&mut reader, offset), &mut io::sink())?;
        Ok(reader)
    }
}

impl Read for Text {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.source {
            Source::Plain(file) => return file.read(into),
            Source::Packed(packed) => packed.read(into),
            Source::Ended => return Ok(0),
        };
        read.or_else(|error| {
            if error.raw_os_error().is_some() {
                return Err(error);
            }
            // It is still being written, or its writer was killed: what is there is whole.
            self.is_damaged = error.kind() != io::ErrorKind::UnexpectedEof;
            self.source = Source::Ended;
            Ok(0)
        })
    }
}

/// Answers `None` where a segment made room since the folder was read.
fn if_there<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// A board of the past.
#[derive(Debug)]
pub struct Replay {
    /// What was known then.
    pub board: Board,
    /// When the last fact folded in was observed.
    pub at: Timestamp,
    /// Lines that could not be read: torn by a crash or damaged.
    pub skipped_lines: u32,
}

/// Folds back what was known at an instant; `None` when the journal does not reach back so far.
///
/// # Errors
/// When the journal is there but cannot be read.
pub fn replay(state_dir: &Path, until: Timestamp) -> io::Result<Option<Replay>> {
    for path in segments(&state_dir.join(FOLDER))?.into_iter().rev() {
        if let Some(Some(replay)) = if_there(replay_segment(&path, until))? {
            return Ok(Some(replay));
        }
    }
    Ok(None)
}

/// From when on the past is recorded, to the millisecond; `None` when nothing is.
///
/// # Errors
/// When the journal is there but cannot be read.
pub fn begins(state_dir: &Path) -> io::Result<Option<Timestamp>> {
    Ok(segments(&state_dir.join(FOLDER))?.iter().find_map(|it| named_at(it)))
}

/// Hands every fact in a stretch of time to `each`, oldest first, until it answers `false`. Lines that cannot be read
/// are passed over. Says how many segments made room while it read.
///
/// # Errors
/// When the journal is there but cannot be read.
pub fn facts(
    state_dir: &Path,
    range: std::ops::Range<Timestamp>,
    mut each: impl FnMut(Envelope) -> bool,
) -> io::Result<usize> {
    let paths = segments(&state_dir.join(FOLDER))?;
    let mut gone = 0;
    for (index, path) in paths.iter().enumerate() {
        // What the next one begins with is no earlier than what this one ends with.
        if paths.get(index + 1).and_then(|it| named_at(it)).is_some_and(|next| next < range.start) {
            continue;
        }
        let Some(mut reader) = if_there(Text::open(path, 0))? else {
            gone += 1;
            continue;
        };
        let mut text = Vec::new();
        while next_line(&mut reader, &mut text)? > 0 {
            let Ok(Line::Fact(envelope)) = serde_json::from_slice(&text) else { continue };
            if envelope.at >= range.end {
                return Ok(gone);
            }
            if envelope.at >= range.start && !each(*envelope) {
                return Ok(gone);
            }
        }
    }
    Ok(gone)
}

/// Reads a line and says how long it is; 0 at the end. A snapshot is as large as a board: of that only the length is.
fn next_line(reader: &mut impl BufRead, text: &mut Vec<u8>) -> io::Result<usize> {
    text.clear();
    if reader.fill_buf()?.starts_with(SNAPSHOT) {
        return reader.skip_until(b'\n');
    }
    Read::take(reader, LINE_MAX_BYTES).read_until(b'\n', text)
}

fn replay_segment(path: &Path, until: Timestamp) -> io::Result<Option<Replay>> {
    if head(path)?.is_some_and(|it| it.at > until) {
        return Ok(None);
    }
    let mut lines = Lines::open(path, 0)?;
    let mut replay: Option<Replay> = None;
    let mut skipped_lines = 0;
    while let Some(entry) = lines.next_entry()? {
        match (entry, &mut replay) {
            (Entry::Snapshot { at, board }, None) if at <= until => {
                replay = Some(Replay { board: *board, at, skipped_lines: 0 });
            }
            (Entry::Fact(envelope), Some(replay)) => {
                if envelope.at > until {
                    break;
                }
                // The world has seen these effects when they were new.
                let _ = replay.board.apply(envelope.at, &envelope);
                replay.at = envelope.at;
            }
            // A segment without a snapshot of its own, or one that begins later, says nothing.
            (_, None) => return Ok(None),
            (Entry::Events, Some(_)) => {}
            (Entry::Snapshot { .. } | Entry::Odd | Entry::Torn, Some(_)) => skipped_lines += 1,
        }
    }
    Ok(replay.map(|replay| Replay { skipped_lines, ..replay }))
}

/// What a line of a segment says.
pub(in crate::runtime) enum Entry {
    /// What was known when the segment began.
    Snapshot { at: Timestamp, board: Box<Board> },
    /// What came after.
    Fact(Box<Envelope>),
    /// What the fact before it turned.
    Events,
    /// Nothing that can be read.
    Odd,
    /// The beginning of a line: a crash tore it, or the rest is still being written.
    Torn,
}

/// The lines of a segment from a place on.
pub(in crate::runtime) struct Lines {
    reader: BufReader<Text>,
    text: Vec<u8>,
    /// Where the next line begins, in bytes of text.
    pub offset: u64,
}

impl Lines {
    /// Opens a segment at the beginning of one of its lines.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path, offset: u64) -> io::Result<Self> {
        Ok(Self { reader: Text::open(path, offset)?, text: Vec::new(), offset })
    }

    /// Reads the next line; `None` at the end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        self.text.clear();
        let length = Read::take(&mut self.reader, LINE_MAX_BYTES).read_until(b'\n', &mut self.text)?;
        let is_damaged = std::mem::take(&mut self.reader.get_mut().is_damaged);
        if length == 0 {
            return Ok(is_damaged.then_some(Entry::Torn));
        }
        if self.text.last() != Some(&b'\n') {
            return Ok(Some(Entry::Torn));
        }
        self.offset += length as u64;
        if self.text.starts_with(EVENTS) {
            return Ok(Some(Entry::Events));
        }
        Ok(Some(match serde_json::from_slice(&self.text) {
            Ok(Line::Snapshot { version: VERSION, at, board, .. }) => Entry::Snapshot { at, board },
            Ok(Line::Fact(envelope)) => Entry::Fact(envelope),
            Ok(Line::Snapshot { .. } | Line::Events(_)) | Err(_) => Entry::Odd,
        }))
    }
}

/// What the first line of a segment says before its board.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(in crate::runtime) struct Head {
    /// When the segment began.
    pub at: Timestamp,
    /// Events stand behind the facts that they came of.
    #[serde(default)]
    pub marked: bool,
    /// A runtime began with it.
    #[serde(default)]
    pub is_first: bool,
}

/// Reads the head of a segment; `None` when it cannot be read apart from the board, as in an older one.
///
/// # Errors
/// When the file cannot be read.
pub(in crate::runtime) fn head(path: &Path) -> io::Result<Option<Head>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum First {
        Snapshot(Head),
    }
    let mut text = Vec::new();
    Read::take(Text::open(path, 0)?, HEAD_MAX_BYTES).read_to_end(&mut text)?;
    let Some(end) = memchr::memmem::find(&text, br#","board":"#) else { return Ok(None) };
    text.truncate(end);
    text.extend_from_slice(b"}}");
    Ok(serde_json::from_slice(&text).ok().map(|First::Snapshot(head)| head).filter(|it| it.marked))
}

/// Hands the events that stand in a segment from a place on to `each`, in order. Says where the last whole line ends
/// and when the last fact was observed. Nothing else is parsed.
///
/// # Errors
/// When the file cannot be read.
pub(in crate::runtime) fn events(
    path: &Path,
    offset: u64,
    mut each: impl FnMut(Vec<PastEvent>),
) -> io::Result<(u64, Option<Timestamp>)> {
    let mut reader = Text::open(path, offset)?;
    let (mut end, mut text, mut last) = (offset, Vec::new(), Vec::new());
    loop {
        let length = next_line(&mut reader, &mut text)?;
        // Of a snapshot there is no text, and it was whole before anything stood behind it.
        if length == 0 || text.last().is_some_and(|it| *it != b'\n') {
            break;
        }
        end += length as u64;
        if text.starts_with(FACT) {
            std::mem::swap(&mut text, &mut last);
        } else if text.starts_with(EVENTS)
            && let Ok(Line::Events(events)) = serde_json::from_slice(&text)
        {
            each(events);
        }
    }
    let last = match serde_json::from_slice(&last) {
        Ok(Line::Fact(envelope)) => Some(envelope.at),
        _ => None,
    };
    Ok((end, last))
}

/// The text of a segment as far as it can be read.
#[cfg(test)]
pub(in crate::runtime) fn text(path: &Path) -> String {
    let mut text = String::new();
    Text::open(path, 0).expect("opened").read_to_string(&mut text).expect("read");
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::domain::fact::{Actor, Fact, RuntimeFact};
    use crate::domain::ids::HostId;
    use crate::runtime::journal::segment::Segment;

    const FACTS: u64 = 40;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second as i64).expect("a time")
    }

    fn fact(seq: u64) -> Envelope {
        let fact = Fact::Runtime(RuntimeFact::ServiceFailed {
            service: "s".into(),
            error: format!("mistake {seq} of many"),
            retry_s: 0,
        });
        Envelope { host: HostId::new("h"), seq, at: at(seq), actor: Actor::Runtime, fact }
    }

    /// A journal of one segment: a fact each second, flushed at each.
    fn written(state_dir: &Path) -> std::path::PathBuf {
        let folder = state_dir.join(FOLDER);
        let line = |line: &Line| serde_json::to_string(line).expect("a line") + "\n";
        let (host, board) = (HostId::new("h"), Box::new(Board::default()));
        let snapshot = Line::Snapshot { version: VERSION, host, at: at(0), marked: true, is_first: false, board };
        let mut segment = Segment::begin(&folder, at(0), 0, &line(&snapshot)).expect("begun");
        for seq in 1..=FACTS {
            segment.write(&line(&Line::Fact(Box::new(fact(seq))))).expect("written");
            segment.flush().expect("written");
        }
        segments(&folder).expect("read").remove(0)
    }

    #[test]
    fn a_segment_that_was_cut_off_anywhere_is_read_to_where_it_was() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = written(dir.path());
        let whole = fs::read(&path).expect("read");
        let mut known = 0;
        for end in 0..=whole.len() {
            fs::write(&path, &whole[..end]).expect("written");
            let seq = replay(dir.path(), Timestamp::MAX).expect("read").map_or(0, |it| it.board.seq);
            assert!(seq == known || seq == known + 1, "{end}: {seq} after {known}");
            known = seq;
        }
        assert_eq!(known, FACTS);
        assert_eq!(replay(dir.path(), at(7)).expect("read").expect("known").board.seq, 7);
    }

    #[test]
    fn a_damaged_segment_is_counted_and_no_failure() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = written(dir.path());
        let mut damaged = fs::read(&path).expect("read");
        damaged.extend_from_slice(&[0xff; 64]);
        fs::write(&path, &damaged).expect("written");
        let mut lines = Lines::open(&path, 0).expect("opened");
        let mut torn = 0;
        while let Some(entry) = lines.next_entry().expect("read") {
            torn += usize::from(matches!(entry, Entry::Torn));
        }
        assert_eq!(torn, 1);
        replay(dir.path(), Timestamp::MAX).expect("no failure");
    }

    #[test]
    fn a_segment_that_makes_room_while_the_journal_is_read_is_passed_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = written(dir.path());
        // Found in the folder and no longer there when it is opened.
        let gone = path.with_file_name("00000000000001-0-1.ndjson.zst");
        std::os::unix::fs::symlink(dir.path().join("nothing"), &gone).expect("linked");
        assert_eq!(segments(&dir.path().join(FOLDER)).expect("read"), [gone, path]);
        let before = at(0) - jiff::SignedDuration::from_secs(1);
        assert!(replay(dir.path(), before).expect("no failure").is_none());
        assert_eq!(replay(dir.path(), at(3)).expect("read").expect("known").board.seq, 3);
        let mut seen = Vec::new();
        let count = facts(dir.path(), Timestamp::UNIX_EPOCH..at(4), |it| {
            seen.push(it.seq);
            true
        });
        assert_eq!((count.expect("no failure"), seen), (1, vec![1, 2, 3]));
        let count = facts(dir.path(), at(9)..at(9), |_| true);
        assert_eq!(count.expect("no failure"), 0, "what is of another time is not missed");
    }
}
