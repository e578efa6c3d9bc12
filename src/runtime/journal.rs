//! What happened, on disk: snapshots of the board and the facts after each, for the range that can be replayed.
//!
//! A segment is one file of JSON lines, packed. Its first line is a snapshot, every other line is a fact, so that a
//! segment stands alone: folding its facts over its snapshot gives the board of any instant in it. Behind a fact that
//! turned something stands what it turned, so that events are found without folding anything. A writer
//! that falls behind, a full disk or a crash therefore costs the rest of one segment, never the others.
//!
//! A snapshot grows with the probes and says nothing that the facts before it do not, so that a segment goes on until
//! its facts are a multiple of it: what is written is little more than the facts, however many probes there are.
//! The journal is operational data, not evidence: it is flushed, not synced (incidents have their own).

mod read;
mod segment;

use std::io;
use std::path::PathBuf;
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
#[cfg(test)]
pub(super) use crate::runtime::journal::read::text;
pub(super) use crate::runtime::journal::read::{Entry, Lines, events, head};
pub use crate::runtime::journal::read::{Replay, begins, facts, replay};
use crate::runtime::journal::segment::Segment;
pub(super) use crate::runtime::journal::segment::{name_part, segments};
use crate::service::{FactSender, ServiceSetup};

/// The folder in the state directory.
pub const FOLDER: &str = "journal";
/// Its name where it says that it failed.
const SERVICE: &str = "journal";
/// Facts that wait for the disk; past that the segment is given up and a new one starts with a snapshot.
const QUEUE_MAX: usize = 512;
/// A recorded fact is in the file this soon. Until then the writer sleeps, however many come, and where they come
/// steadily none of them wakes it: each wake-up costs an idle host, and who wants to read asks for a flush.
const FLUSH_AFTER: Duration = Duration::from_secs(3);
/// So many that wait are written at once.
const HURRY: usize = QUEUE_MAX / 2;
/// What a reader waits for a flush at most; a person stands behind it.
const FLUSH_DEADLINE: Duration = Duration::from_millis(500);
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
            if let Some(segment) = self.segment.take() {
                segment.end()?;
            }
            self.segment = Some(Segment::begin(&self.folder, *at, board.seq, &text)?);
        } else if let Some(segment) = &mut self.segment {
            segment.write(&text)?;
        }
        // Without a segment the last one was given up; the snapshot that was asked for starts the next.
        let Some(segment) = &mut self.segment else { return Ok(()) };
        if segment.asks_for_next() {
            self.wants_snapshot.store(true, Ordering::Relaxed);
        }
        if std::mem::take(&mut self.failed) {
            // Without room it is said again with the next failure, and until then stands as failed: no harm.
            self.facts.try_send(Fact::Runtime(RuntimeFact::ServiceWorks { service: SERVICE.into() }));
        }
        Ok(())
    }

    fn flush(&mut self) {
        if let Err(error) = self.segment.as_mut().map_or(Ok(()), Segment::flush) {
            self.segment = None;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fact::Actor;
    use crate::domain::ids::ProbeId;
    use crate::domain::probe::health::Thresholds;
    use crate::domain::probe::outcome::{Evidence, Outcome, Phase, Phases, ProbeResult};
    use crate::domain::probe::{OUTCOMES_MAX, ProbeFact, ProbeRules, ProbeSetup};

    const PROBES: u64 = 200;
    const INTERVAL_MS: i64 = 2_000;

    /// An outcome as a healthy `http` probe has it: its times are never twice the same.
    fn outcome(seq: u64) -> Envelope {
        let mixed = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let nanos = |shift: u32| Duration::from_nanos(100_000 + (mixed >> shift) % 9_000_000);
        let begun = 1_800_000_000_000 + (seq * INTERVAL_MS as u64 / PROBES) as i64;
        let at = Timestamp::from_millisecond(begun).expect("a time");
        let after = |took: Duration| at + jiff::SignedDuration::try_from(took).expect("short");
        let mut phases = Phases::default();
        phases.add(Phase::Connect, nanos(3));
        phases.add(Phase::Wait, nanos(17));
        phases.add(Phase::Body, nanos(31));
        let evidence = Evidence {
            status: Some(200),
            address: Some("127.0.0.1:8080".into()),
            protocol: Some("HTTP/1.1".into()),
            ..Evidence::default()
        };
        let (at, result, trouble, lag) = (after(nanos(7)), ProbeResult::Ok, None, nanos(23));
        let outcome = Box::new(Outcome { at, result, phases, trouble, evidence, lag, latency_suspect: false });
        let host = HostId::new("h");
        let probe = ProbeId::new(&host, &format!("p{}", seq % PROBES));
        let fact = Fact::Probe(ProbeFact::Outcome { probe, outcome, next: Some(after(nanos(11))) });
        Envelope { host, seq, at: after(nanos(29)), actor: Actor::Runtime, fact }
    }

    fn setup(seq: u64) -> Envelope {
        let setup = ProbeSetup {
            kind: "http".into(),
            target: "http://127.0.0.1:8080/".into(),
            interval: Duration::from_secs(2),
            retry: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            thresholds: Thresholds::default(),
            expect: Vec::new(),
            prefer: Vec::new(),
            rules: ProbeRules::default(),
        };
        let host = HostId::new("h");
        let fact = Fact::Probe(ProbeFact::Configured { probe: ProbeId::new(&host, &format!("p{seq}")), setup });
        Envelope { host, seq, at: Timestamp::UNIX_EPOCH, actor: Actor::Runtime, fact }
    }

    #[test]
    fn what_is_written_is_little_more_than_the_facts_and_hours_of_a_thousand_probes_fit() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut board = Board::default();
        let take = |board: &mut Board, envelope: &Envelope| drop(board.fold(envelope.at, envelope));
        (0..PROBES).for_each(|it| take(&mut board, &setup(it)));
        let mut seq = 0;
        // Every probe has all the outcomes that a board keeps.
        while seq < PROBES * OUTCOMES_MAX as u64 {
            take(&mut board, &outcome(seq));
            seq += 1;
        }
        let wants_snapshot = Arc::new(AtomicBool::new(false));
        let mut writer = Writer {
            folder: dir.path().join(FOLDER),
            wants_snapshot: Arc::clone(&wants_snapshot),
            facts: FactSender::channel().0,
            segment: None,
            failed: false,
        };
        let snapshot = |board: &Board, at| Line::Snapshot {
            version: VERSION,
            host: HostId::new("h"),
            at,
            marked: true,
            is_first: false,
            board: Box::new(board.clone()),
        };
        writer.write(&snapshot(&board, outcome(seq).at)).expect("written");
        let path = segments(&writer.folder).expect("read").remove(0);
        let written = || std::fs::metadata(&path).expect("there").len();
        let (snapshot_bytes, first, mut fact_bytes, mut middle) = (written(), seq, 0, None);
        while !wants_snapshot.load(Ordering::Relaxed) {
            let envelope = outcome(seq);
            fact_bytes += serde_json::to_string(&envelope).expect("a fact").len() as u64;
            take(&mut board, &envelope);
            writer.write(&Line::Fact(Box::new(envelope))).expect("written");
            seq += 1;
            // As many as come between two flushes of probes at 30 s, of which there are a thousand.
            if seq.is_multiple_of(100) {
                writer.flush();
            }
            if seq == first + 5_000 {
                middle = Some((outcome(seq - 1).at, board.clone()));
            }
            assert!(seq - first < 200_000, "a segment ends");
        }
        let count = seq - first;
        assert!(4 * snapshot_bytes <= written(), "{snapshot_bytes} of {}", written());
        assert!(6 * written() <= fact_bytes, "{} for {fact_bytes}", written());
        let (at, then) = middle.expect("longer than that");
        let known = replay(dir.path(), at).expect("read").expect("known").board;
        assert!(known.probes == then.probes, "what was known then is folded back");

        let a_second = 1_000 / 30 * written() / count;
        let hours = segment::ROOM_BYTES / a_second / 3_600;
        assert!(hours >= 8, "{hours} h at {} bytes an outcome", written() / count);
        writer.write(&snapshot(&board, outcome(seq).at)).expect("written");
        assert_eq!(segments(&writer.folder).expect("read").len(), 2, "and the next one begins");
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
