//! The embedded database: probe history, what alerts know, the outbox. Operational data, bounded in size.
//!
//! One thread writes, another reads. Nobody waits for either: what is to be written is put into memory under
//! a short lock, and whoever must know that it is on disk is called when it is, or when it cannot be. On a
//! full disk, a locked or damaged file, everything goes on from memory, bounded, and is written when there is
//! room again. Outcomes are batched for three seconds; what alerts know and the outbox are committed at once and
//! wait for the disk.

pub mod alerts;
mod apart;
pub mod database;
pub mod file_system;
mod history;
pub mod inspect;
pub mod outbox;
mod pending;
pub mod reader;
mod renamed;
pub mod rollup;
pub mod samples;
mod spread;
mod tally;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::alert::delivery::Delivery;
use crate::domain::fact::Restored;
use crate::domain::ids::{HostId, ProbeId};
use crate::domain::probe::Sample;
use crate::domain::probe::outcome::Outcome;
use crate::store::outbox::{Kept, Mark};
pub use crate::store::pending::Done;
use crate::store::pending::{Mirror, Pending};
use crate::store::rollup::Limits;
use crate::store::samples::Known;
use crate::store::writer::Writer;

/// What the store has to say by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// It cannot keep what it should, and why; `None` when it can again.
    NotDurable(Option<String>),
    /// History was lost, in words: where the damaged file is.
    Damaged(String),
    /// What an earlier run left and could only be read now.
    Late(Box<Opened>),
}

/// Where news go; `false` when there is no room for them just now.
pub type NewsSink = Box<dyn Fn(&News) -> bool + Send>;

/// What a file held when it was opened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Opened {
    /// Health of probes and rows of the alert policy.
    pub restored: Restored,
    /// Deliveries that are still to be sent, in their order.
    pub deliveries: Vec<Kept>,
    /// Deliveries that were sent and of which it was not told that they are over.
    pub lasting: Vec<Delivery>,
    /// Deliveries that are done with, which the rows of the alert policy do not say: the process ended in between.
    pub settled: Vec<Kept>,
}

/// What alerts want kept, all of it or nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Commit {
    /// Rows by key; `None` removes one.
    pub rows: Vec<(String, Option<String>)>,
    /// New in the outbox.
    pub deliveries: Vec<Delivery>,
    /// Deliveries that are stale, and since when.
    pub superseded: Vec<(String, Timestamp)>,
    /// What became of deliveries.
    pub marks: Vec<Mark>,
}

/// The store. Cloning is cheap; the writer ends when the last one is dropped, after it has written everything.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    wake_tx: SyncSender<()>,
}

/// What is not known to be on disk.
#[derive(Default)]
struct Held {
    pending: Pending,
    /// Outcomes that the writer has taken and is writing.
    in_hand: Vec<Seen>,
}

/// An outcome that may not be on disk yet.
#[derive(Debug, Clone)]
struct Seen {
    probe: ProbeId,
    outcome: Arc<Outcome>,
    next: Option<Timestamp>,
}

impl Seen {
    fn of(sample: &Sample) -> Self {
        Self { probe: sample.probe.clone(), outcome: Arc::clone(&sample.outcome), next: sample.next }
    }
}

/// What the writer shares with everybody else.
struct Shared {
    held: Mutex<Held>,
    file_max_bytes: AtomicU64,
    /// Outcomes have been recorded.
    used: AtomicBool,
    /// The writer looks for outcomes by itself, and soon. Changed only while `held` is.
    looks: AtomicBool,
}

impl Store {
    /// Opens the file of a state directory on a thread of its own and calls `opened` with what it held.
    ///
    /// What is recorded or committed before that waits in memory.
    pub fn start(
        state_dir: &Path,
        limits: Limits,
        news: NewsSink,
        opened: impl FnOnce(Opened) + Send + 'static,
    ) -> Self {
        Self::begin(Duration::ZERO, state_dir, None, limits, news, opened)
    }

    /// As [`Store::start`], but leaves the disk and the processor to others for so long: making a new file takes some
    /// milliseconds and five waits for the disk. What a file kept of this host under a former name goes on under `host`.
    pub fn start_after(
        head_start: Duration,
        state_dir: &Path,
        host: &HostId,
        limits: Limits,
        news: NewsSink,
        opened: impl FnOnce(Opened) + Send + 'static,
    ) -> Self {
        Self::begin(head_start, state_dir, Some(host.clone()), limits, news, opened)
    }

    fn begin(
        head_start: Duration,
        state_dir: &Path,
        host: Option<HostId>,
        limits: Limits,
        news: NewsSink,
        opened: impl FnOnce(Opened) + Send + 'static,
    ) -> Self {
        // One is enough: whoever is woken looks at everything.
        let (wake_tx, wake_rx) = sync_channel(1);
        let shared = Arc::new(Shared {
            held: Mutex::default(),
            file_max_bytes: AtomicU64::new(limits.file_max_bytes),
            used: AtomicBool::new(false),
            looks: AtomicBool::new(false),
        });
        let mut writer = Writer {
            shared: Arc::clone(&shared),
            state_dir: state_dir.to_path_buf(),
            host,
            limits,
            news,
            database: None,
            known: Known::default(),
            mirror: Mirror::default(),
            failing: None,
            since: None,
            is_read: false,
            unsaid: std::collections::VecDeque::new(),
            chores: std::collections::VecDeque::new(),
        };
        let run = move || {
            std::thread::sleep(head_start);
            opened(writer.open());
            writer.run(&wake_rx);
        };
        if let Err(error) = std::thread::Builder::new().name("store".into()).spawn(run) {
            tracing::error!(%error, "could not start the store's thread");
        }
        Self { shared, wake_tx }
    }

    /// Keeps an outcome; it is on disk within about three seconds.
    pub fn record(&self, sample: Sample) {
        self.shared.used.store(true, Ordering::Relaxed);
        let mut held = self.shared.held();
        let was_empty = held.pending.samples.is_empty();
        held.pending.push_sample(sample);
        let is_looked_for = self.shared.looks.load(Ordering::Relaxed);
        drop(held);
        if was_empty && !is_looked_for {
            self.wake();
        }
    }

    /// Keeps what alerts want kept. `done` is called on the writer's thread: `true` when it is on disk, `false`
    /// when it is in memory until there is room.
    pub fn commit(&self, commit: Commit, done: Done) {
        let mut held = self.shared.held();
        let pending = &mut held.pending;
        pending.rows.extend(commit.rows);
        pending.deliveries.extend(commit.deliveries);
        pending.superseded.extend(commit.superseded);
        pending.marks.extend(commit.marks);
        pending.done.push(done);
        drop(held);
        self.wake();
    }

    /// Has everything written that waits; `done` is called as for [`Store::commit`].
    pub fn flush(&self, done: Done) {
        self.commit(Commit::default(), done);
    }

    /// Sets how large the file may grow, in bytes.
    pub fn set_file_max_bytes(&self, bytes: u64) {
        self.shared.file_max_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Outcomes of a probe (or of all) that may not be on disk yet, oldest first.
    fn unwritten(&self, probe: Option<&ProbeId>) -> Vec<Seen> {
        let held = self.shared.held();
        let waiting = held.pending.samples.iter().map(Seen::of);
        // What the writer has in hand came before what waits for it.
        let mut seen: Vec<Seen> = held
            .in_hand
            .iter()
            .cloned()
            .chain(waiting)
            .filter(|it| probe.is_none_or(|probe| *probe == it.probe))
            .collect();
        drop(held);
        seen.sort_by_key(|it| it.outcome.at);
        seen
    }

    fn wake(&self) {
        // Full: then it is about to look anyway.
        let _ = self.wake_tx.try_send(());
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing panics while it is held; should it, what is in there is still to be written.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out what waits. Who reads still sees it, until it is settled.
    fn take(&self) -> Pending {
        let mut held = self.held();
        let taken = std::mem::take(&mut held.pending);
        held.in_hand = taken.samples.iter().map(Seen::of).collect();
        taken
    }

    /// Says that what was taken is on disk, or gives it back: who reads never meets an instant at which it is nowhere.
    fn settle(&self, back: Option<Pending>) {
        let mut held = self.held();
        held.in_hand = Vec::new();
        if let Some(older) = back {
            held.pending.put_back(older);
        }
    }

    /// Whether there is nothing to write, and whether what there is cannot wait.
    fn look(&self) -> (bool, bool) {
        let pending = &self.held().pending;
        // While nothing can be written the rest is urgent only when somebody waits for an answer.
        (pending.is_empty(), pending.is_urgent())
    }

    /// Decides whether the writer goes on looking by itself: it does as long as it finds outcomes.
    fn keep_looking(&self, may: bool) -> bool {
        let held = self.held();
        let looks = may && !held.pending.samples.is_empty();
        self.looks.store(looks, Ordering::Relaxed);
        looks
    }

    fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    fn file_max_bytes(&self) -> u64 {
        self.file_max_bytes.load(Ordering::Relaxed)
    }
}
