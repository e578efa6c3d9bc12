//! What happened, on disk: snapshots of the board and the facts after each, for the range that can be replayed.
//!
//! A segment is one file of JSON lines. Its first line is a snapshot, every other line is a fact, so that a
//! segment stands alone: folding its facts over its snapshot gives the board of any instant in it. Behind a fact that
//! turned something stands what it turned, so that events are found without folding anything. A writer
//! that falls behind, a full disk or a crash therefore costs the rest of one segment, never the others.
//! The journal is operational data, not evidence: it is flushed, not synced (incidents have their own).

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::clock;
use crate::domain::board::Board;
use crate::domain::fact::{Envelope, Fact, RuntimeFact};
use crate::domain::ids::HostId;
use crate::domain::past::PastEvent;
use crate::service::{FactSender, ServiceSetup};

/// The folder in the state directory.
pub const FOLDER: &str = "journal";
/// Its name where it says that it failed.
const SERVICE: &str = "journal";
/// A segment that has reached this is closed: about two hours of forty probes at 15 s.
const SEGMENT_MAX_BYTES: u64 = 4 << 20;
/// Segments kept, 64 MiB in all: more than a day of forty probes at 15 s. The oldest goes first.
const SEGMENTS_MAX: usize = 16;
/// Facts that wait for the disk; past that the segment is given up and a new one starts with a snapshot.
const QUEUE_MAX: usize = 512;
/// A recorded fact is in the file this soon. Until then the writer sleeps, however many come, and where they come
/// steadily none of them wakes it: each wake-up costs an idle host, and who wants to read asks for a flush.
const FLUSH_AFTER: Duration = Duration::from_secs(3);
/// So many that wait are written at once.
const HURRY: usize = QUEUE_MAX / 2;
/// What a reader waits for a flush at most; a person stands behind it.
const FLUSH_DEADLINE: Duration = Duration::from_millis(500);
/// A longer line is no line of ours.
const LINE_MAX_BYTES: usize = 64 << 20;

/// What stands before the board in a first line is shorter: a version, a host, a time.
const HEAD_MAX_BYTES: u64 = 2 << 10;
/// How a line of events begins, and one of a fact, behind the end of the line before.
const EVENTS: &[u8] = b"\n{\"events\"";
const FACT: &[u8] = b"\n{\"fact\"";
/// A segment is not much longer than [`SEGMENT_MAX_BYTES`] and its snapshot; what is longer is none of ours.
const SEGMENT_READ_MAX_BYTES: u64 = 128 << 20;

/// Read at once.
const READ_BYTES: usize = 256 << 10;

/// A line of a segment.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    /// The first line: what was known when the segment began.
    Snapshot {
        version: u32,
        host: HostId,
        at: Timestamp,
        /// Events stand behind the facts that they came of. Not so in segments of older versions.
        #[serde(default)]
        marked: bool,
        /// A runtime began with it: nothing that an earlier one kept is in the board yet.
        #[serde(default)]
        is_first: bool,
        // Last: what stands before it is read without it.
        board: Box<Board>,
    },
    /// What came after.
    Fact(Box<Envelope>),
    /// What the fact before it turned.
    Events(Vec<PastEvent>),
}

const VERSION: u32 = 1;

enum Item {
    Line(Box<Line>),
    Close(oneshot::Sender<()>),
    Flush(SyncSender<()>),
}

/// Writes the journal on a thread of its own; recording never waits.
pub struct Journal {
    host: HostId,
    inlet: Inlet,
    /// The next thing recorded must be a snapshot.
    wants_snapshot: Arc<AtomicBool>,
    /// No snapshot was recorded yet.
    is_new: AtomicBool,
}

/// The way to the writer, which is woken up no more often than it must.
#[derive(Clone)]
struct Inlet {
    tx: SyncSender<Item>,
    wake_tx: SyncSender<()>,
    waiting: Arc<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Items under way, counted before they are sent.
    count: AtomicUsize,
    /// Somebody waits for one of them.
    urgent: AtomicBool,
    /// The writer looks by itself, and soon.
    looks: AtomicBool,
}

impl Inlet {
    /// Hands an item over; false when there is no room for it.
    fn send(&self, item: Item) -> bool {
        let is_urgent = !matches!(item, Item::Line(_));
        let before = self.waiting.count.fetch_add(1, Ordering::SeqCst);
        match self.tx.try_send(item) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.waiting.count.fetch_sub(1, Ordering::SeqCst);
                return false;
            }
            // Its thread is gone, which was said when it went.
            Err(TrySendError::Disconnected(_)) => return true,
        }
        if is_urgent {
            self.waiting.urgent.store(true, Ordering::SeqCst);
        }
        let is_first = before == 0 && !self.waiting.looks.load(Ordering::SeqCst);
        if is_urgent || is_first || before >= HURRY {
            // Full: it is about to look anyway.
            let _ = self.wake_tx.try_send(());
        }
        true
    }
}

impl Journal {
    /// Starts writing below the state directory.
    pub fn start(setup: &ServiceSetup, host: &HostId) -> Self {
        let (tx, rx) = sync_channel(QUEUE_MAX);
        let (wake_tx, wake_rx) = sync_channel(1);
        let waiting = Arc::new(Waiting::default());
        let wants_snapshot = Arc::new(AtomicBool::new(true));
        let writer = Writer {
            folder: setup.state_dir.join(FOLDER),
            wants_snapshot: Arc::clone(&wants_snapshot),
            facts: setup.facts.clone(),
            segment: None,
            failed: false,
        };
        let inlet = Inlet { tx, wake_tx, waiting: Arc::clone(&waiting) };
        let run = move || writer.run(&rx, &wake_rx, &waiting);
        let spawned = std::thread::Builder::new().name("journal".into()).spawn(run);
        if let Err(error) = spawned {
            report(&setup.facts, format!("could not start its thread: {error}"));
        }
        Self { host: host.clone(), inlet, wants_snapshot, is_new: AtomicBool::new(true) }
    }

    /// Records a fact that is about to be folded into `board`.
    ///
    /// Before, so that a segment begins with what was known and the fact that began it is not lost among the rest.
    pub fn record(&self, envelope: &Envelope, board: &Board) {
        if !envelope.fact.is_journalled() {
            return;
        }
        if self.wants_snapshot.swap(false, Ordering::Relaxed) {
            let (host, board) = (self.host.clone(), Box::new(board.clone()));
            let is_first = self.is_new.load(Ordering::Relaxed);
            let snapshot = Line::Snapshot { version: VERSION, host, at: envelope.at, marked: true, is_first, board };
            if !self.send(snapshot) {
                return;
            }
            self.is_new.store(false, Ordering::Relaxed);
        }
        self.send(Line::Fact(Box::new(envelope.clone())));
    }

    /// Records what the last fact recorded has turned.
    pub fn mark(&self, events: Vec<PastEvent>) {
        if !events.is_empty() && !self.wants_snapshot.load(Ordering::Relaxed) {
            self.send(Line::Events(events));
        }
    }

    /// Says that the last fact recorded was not folded in after all: what comes next begins anew.
    pub fn forget_last(&self) {
        self.wants_snapshot.store(true, Ordering::Relaxed);
    }

    fn send(&self, line: Line) -> bool {
        let is_sent = self.inlet.send(Item::Line(Box::new(line)));
        if !is_sent {
            self.wants_snapshot.store(true, Ordering::Relaxed);
        }
        is_sent
    }

    /// Brings what was recorded into the file, for one who is about to read it.
    pub fn flusher(&self) -> Flusher {
        Flusher { inlet: self.inlet.clone() }
    }

    /// Waits until everything recorded is in the file.
    pub async fn close(&self) {
        let (done_tx, done_rx) = oneshot::channel();
        if self.inlet.send(Item::Close(done_tx)) {
            let _ = done_rx.await;
        }
    }
}

/// Has a [`Journal`] write what it was given so far.
pub struct Flusher {
    inlet: Inlet,
}

impl Flusher {
    /// Waits until that is in the file, or until the disk has taken too long. Blocks.
    pub fn flush(&self) {
        let (done_tx, done_rx) = sync_channel(1);
        if self.inlet.send(Item::Flush(done_tx)) {
            // A journal that does not answer is read as far as it is written.
            let _ = done_rx.recv_timeout(FLUSH_DEADLINE);
        }
    }
}

struct Writer {
    folder: PathBuf,
    wants_snapshot: Arc<AtomicBool>,
    facts: FactSender,
    segment: Option<Segment>,
    /// Said once; the next segment that works takes it back.
    failed: bool,
}

struct Segment {
    file: BufWriter<File>,
    bytes: u64,
}

impl Writer {
    fn run(mut self, rx: &Receiver<Item>, wake_rx: &Receiver<()>, waiting: &Waiting) {
        let mut flush_at: Option<Instant> = None;
        loop {
            let woken = match flush_at {
                Some(at) => wake_rx.recv_timeout(at.saturating_duration_since(clock::monotonic())),
                None => wake_rx.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let hurries = waiting.urgent.swap(false, Ordering::SeqCst) || waiting.count.load(Ordering::SeqCst) >= HURRY;
            if woken.is_ok() && !hurries {
                flush_at.get_or_insert_with(|| clock::monotonic() + FLUSH_AFTER);
                continue;
            }
            let mut found = false;
            while let Ok(item) = rx.try_recv() {
                waiting.count.fetch_sub(1, Ordering::SeqCst);
                self.take(item);
                found = true;
            }
            self.flush();
            if woken == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            waiting.looks.store(found, Ordering::SeqCst);
            // What was counted before that and not yet sent wakes nobody.
            let looks = found || waiting.count.load(Ordering::SeqCst) > 0;
            flush_at = looks.then(|| clock::monotonic() + FLUSH_AFTER);
        }
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Line(line) => {
                if let Err(error) = self.write(&line) {
                    self.segment = None;
                    self.fail(&error);
                }
            }
            // Who waits may be gone.
            Item::Close(done_tx) => {
                self.flush();
                let _ = done_tx.send(());
            }
            Item::Flush(done_tx) => {
                self.flush();
                let _ = done_tx.try_send(());
            }
        }
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        if let Line::Snapshot { at, board, .. } = line {
            self.flush();
            self.segment = Some(begin_segment(&self.folder, *at, board.seq, &text)?);
        } else if let Some(segment) = &mut self.segment {
            segment.file.write_all(text.as_bytes())?;
            segment.bytes += text.len() as u64;
        }
        // Without a segment the last one was given up; the snapshot that was asked for starts the next.
        let Some(segment) = &self.segment else { return Ok(()) };
        if segment.bytes >= SEGMENT_MAX_BYTES {
            self.wants_snapshot.store(true, Ordering::Relaxed);
        }
        if std::mem::take(&mut self.failed) {
            // Without room it is said again with the next failure, and until then stands as failed: no harm.
            self.facts.try_send(Fact::Runtime(RuntimeFact::ServiceWorks { service: SERVICE.into() }));
        }
        Ok(())
    }

    fn flush(&mut self) {
        let flushed = self.segment.as_mut().map_or(Ok(()), |it| it.file.flush());
        if let Err(error) = flushed {
            // What is still in the buffer would be written again by dropping it.
            if let Some(segment) = self.segment.take() {
                let _ = segment.file.into_parts();
            }
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.wants_snapshot.store(true, Ordering::Relaxed);
        if !std::mem::replace(&mut self.failed, true) {
            report(&self.facts, format!("{}: {error}; the past cannot be replayed", self.folder.display()));
        }
    }
}

fn report(facts: &FactSender, error: String) {
    // Full: then there is more to say than this; the journal tries again with the next fact anyway.
    facts.try_send(Fact::Runtime(RuntimeFact::ServiceFailed { service: SERVICE.into(), error, retry_s: 0 }));
}

/// Begins a segment with its snapshot; the oldest goes when the new one stands.
///
/// The other way round a full disk would let each attempt remove one more of what can still be replayed.
fn begin_segment(folder: &Path, at: Timestamp, seq: u64, snapshot: &str) -> io::Result<Segment> {
    crate::config::paths::make_private_dir(folder)?;
    // Names sort by time; the process tells apart two starts in one millisecond.
    let path = folder.join(format!("{:014}-{seq}-{}.ndjson", at.as_millisecond(), std::process::id()));
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
    if let Err(error) = file.write_all(snapshot.as_bytes()) {
        // Half a snapshot is worth nothing, and the next attempt has another name.
        let _ = fs::remove_file(&path);
        return Err(error);
    }
    let mut segments = segments(folder)?;
    while segments.len() > SEGMENTS_MAX {
        fs::remove_file(segments.remove(0))?;
    }
    Ok(Segment { file: BufWriter::new(file), bytes: snapshot.len() as u64 })
}

/// The segments, oldest first.
pub(super) fn segments(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "ndjson") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
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
        if let Some(replay) = replay_segment(&path, until)? {
            return Ok(Some(replay));
        }
    }
    Ok(None)
}

/// Hands every fact in a stretch of time to `each`, oldest first, until it answers `false`. Lines that cannot be read
/// are passed over.
///
/// # Errors
/// When the journal is there but cannot be read.
pub fn facts(
    state_dir: &Path,
    range: std::ops::Range<Timestamp>,
    mut each: impl FnMut(Envelope) -> bool,
) -> io::Result<()> {
    for path in segments(&state_dir.join(FOLDER))? {
        let mut reader = BufReader::new(File::open(&path)?);
        let mut text = Vec::new();
        loop {
            text.clear();
            if Read::take(&mut reader, LINE_MAX_BYTES as u64).read_until(b'\n', &mut text)? == 0 {
                break;
            }
            // A snapshot is as large as a board: it is not read here.
            if text.starts_with(b"{\"snapshot\"") {
                continue;
            }
            let Ok(Line::Fact(envelope)) = serde_json::from_slice(&text) else { continue };
            if envelope.at >= range.end {
                return Ok(());
            }
            if envelope.at >= range.start && !each(*envelope) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn replay_segment(path: &Path, until: Timestamp) -> io::Result<Option<Replay>> {
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
pub(super) enum Entry {
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
pub(super) struct Lines {
    reader: BufReader<File>,
    text: Vec<u8>,
    /// Where the next line begins, in bytes.
    pub offset: u64,
}

impl Lines {
    /// Opens a segment at the beginning of one of its lines.
    pub fn open(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self { reader: BufReader::with_capacity(READ_BYTES, file), text: Vec::new(), offset })
    }

    /// Reads the next line; `None` at the end.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        self.text.clear();
        let length = Read::take(&mut self.reader, LINE_MAX_BYTES as u64).read_until(b'\n', &mut self.text)?;
        if length == 0 {
            return Ok(None);
        }
        if self.text.last() != Some(&b'\n') {
            return Ok(Some(Entry::Torn));
        }
        self.offset += length as u64;
        if self.text.starts_with(&EVENTS[1..]) {
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
pub(super) struct Head {
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
pub(super) fn head(path: &Path) -> io::Result<Option<Head>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum First {
        Snapshot(Head),
    }
    let mut text = Vec::new();
    Read::take(File::open(path)?, HEAD_MAX_BYTES).read_to_end(&mut text)?;
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
pub(super) fn events(
    path: &Path,
    offset: u64,
    mut each: impl FnMut(Vec<PastEvent>),
) -> io::Result<(u64, Option<Timestamp>)> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    // So that the first line begins as every other.
    let mut text = vec![b'\n'];
    file.take(SEGMENT_READ_MAX_BYTES).read_to_end(&mut text)?;
    let end = memchr::memrchr(b'\n', &text).unwrap_or_default();
    text.truncate(end + 1);
    let line = |start: usize| {
        let line = text.get(start + 1..).unwrap_or_default();
        line.get(..memchr::memchr(b'\n', line).unwrap_or(line.len())).unwrap_or_default()
    };
    for start in memchr::memmem::find_iter(&text, EVENTS) {
        if let Ok(Line::Events(events)) = serde_json::from_slice(line(start)) {
            each(events);
        }
    }
    let last = memchr::memmem::rfind(&text, FACT).and_then(|it| match serde_json::from_slice(line(it)) {
        Ok(Line::Fact(envelope)) => Some(envelope.at),
        _ => None,
    });
    Ok((offset + end as u64, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_takes_nothing_of_what_can_be_replayed() {
        let dir = tempfile::tempdir().expect("a directory");
        for number in 0..SEGMENTS_MAX {
            fs::write(dir.path().join(format!("{number:014}-0-1.ndjson")), "{}\n").expect("written");
        }
        let at = Timestamp::from_second(9).expect("a time");
        let path =
            |seq: u64| dir.path().join(format!("{:014}-{seq}-{}.ndjson", at.as_millisecond(), std::process::id()));
        std::os::unix::fs::symlink("/dev/full", path(1)).expect("linked");
        let error = begin_segment(dir.path(), at, 1, "{}\n").err().expect("no room");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(segments(dir.path()).expect("read").len(), SEGMENTS_MAX, "neither more nor less than before");

        begin_segment(dir.path(), at, 2, "{}\n").expect("there is room");
        let left = segments(dir.path()).expect("read");
        assert_eq!(left.len(), SEGMENTS_MAX);
        assert_eq!(left.last(), Some(&path(2)));
    }

    #[test]
    fn facts_that_come_steadily_wake_nobody() {
        let (tx, rx) = sync_channel(QUEUE_MAX);
        let (wake_tx, wake_rx) = sync_channel(1);
        let waiting = Arc::new(Waiting::default());
        let inlet = Inlet { tx, wake_tx, waiting: Arc::clone(&waiting) };
        let record = || {
            let board = Box::new(Board::default());
            let (host, at) = (HostId::new("h"), Timestamp::UNIX_EPOCH);
            let line = Line::Snapshot { version: VERSION, host, at, marked: true, is_first: false, board };
            assert!(inlet.send(Item::Line(Box::new(line))));
            wake_rx.try_recv().is_ok()
        };
        assert!(record(), "the first one begins a wait");
        assert!(!record(), "the next one is found at its end");
        let drain = || {
            while rx.try_recv().is_ok() {
                waiting.count.fetch_sub(1, Ordering::SeqCst);
            }
        };
        drain();
        waiting.looks.store(true, Ordering::SeqCst);
        assert!(!record(), "the writer looks by itself");
        drain();
        waiting.looks.store(false, Ordering::SeqCst);
        assert!(record(), "nobody would look for this one");
        let (done_tx, _done_rx) = sync_channel(1);
        waiting.looks.store(true, Ordering::SeqCst);
        assert!(inlet.send(Item::Flush(done_tx)));
        assert!(wake_rx.try_recv().is_ok(), "somebody waits");
    }
}
