//! The embedded database: probe history, what alerts know, the outbox. Operational data, bounded in size.
//!
//! One thread writes, another reads. Nobody waits for either: what is to be written is put into memory under
//! a short lock, and whoever must know that it is on disk is called when it is, or when it cannot be. On a
//! full disk, a locked or damaged file, everything goes on from memory, bounded, and is written when there is
//! room again. Outcomes are batched by the second; what alerts know and the outbox are committed at once and
//! wait for the disk.

pub mod alerts;
pub mod database;
pub mod file_system;
mod history;
pub mod inspect;
pub mod outbox;
mod pending;
pub mod reader;
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
use crate::domain::probe::Sample;
use crate::store::outbox::{Kept, Mark};
pub use crate::store::pending::Done;
use crate::store::pending::{Mirror, Pending};
use crate::store::rollup::Limits;
use crate::store::samples::{Known, Raw};
use crate::store::writer::Writer;

/// What the store has to say by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// It cannot keep what it should, and why; `None` when it can again.
    NotDurable(Option<String>),
    /// History was lost, in words: where the damaged file is.
    Damaged(String),
    /// Deliveries of an earlier run that could only be read now.
    Late(Vec<Kept>),
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

/// What the writer shares with everybody else.
struct Shared {
    pending: Mutex<Pending>,
    file_max_bytes: AtomicU64,
    /// Outcomes have been recorded.
    used: AtomicBool,
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
        Self::start_after(Duration::ZERO, state_dir, limits, news, opened)
    }

    /// As [`Store::start`], but leaves the disk and the processor to others for so long: making a new file takes some
    /// milliseconds and five waits for the disk.
    pub fn start_after(
        head_start: Duration,
        state_dir: &Path,
        limits: Limits,
        news: NewsSink,
        opened: impl FnOnce(Opened) + Send + 'static,
    ) -> Self {
        // One is enough: whoever is woken looks at everything.
        let (wake_tx, wake_rx) = sync_channel(1);
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            file_max_bytes: AtomicU64::new(limits.file_max_bytes),
            used: AtomicBool::new(false),
        });
        let mut writer = Writer {
            shared: Arc::clone(&shared),
            state_dir: state_dir.to_path_buf(),
            limits,
            news,
            database: None,
            known: Known::default(),
            mirror: Mirror::default(),
            failing: None,
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

    /// Keeps an outcome; it is on disk within about a second.
    pub fn record(&self, sample: Sample) {
        self.shared.used.store(true, Ordering::Relaxed);
        let mut pending = self.shared.pending();
        let was_empty = pending.samples.is_empty();
        pending.push_sample(sample);
        drop(pending);
        if was_empty {
            self.wake();
        }
    }

    /// Keeps what alerts want kept. `done` is called on the writer's thread: `true` when it is on disk, `false`
    /// when it is in memory until there is room.
    pub fn commit(&self, commit: Commit, done: Done) {
        let mut pending = self.shared.pending();
        pending.rows.extend(commit.rows);
        pending.deliveries.extend(commit.deliveries);
        pending.superseded.extend(commit.superseded);
        pending.marks.extend(commit.marks);
        pending.done.push(done);
        drop(pending);
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

    /// Outcomes of a probe that are not on disk yet, oldest first.
    fn unwritten(&self, probe: &crate::domain::ids::ProbeId) -> Vec<Raw> {
        self.shared.pending().samples.iter().filter(|it| it.probe == *probe).map(Raw::of).collect()
    }

    fn wake(&self) {
        // Full: then it is about to look anyway.
        let _ = self.wake_tx.try_send(());
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        // Nothing panics while it is held; should it, what is in there is still to be written.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Pending {
        std::mem::take(&mut *self.pending())
    }

    fn put_back(&self, older: Pending) {
        self.pending().put_back(older);
    }

    /// Whether there is nothing to write, and whether what there is cannot wait.
    fn look(&self) -> (bool, bool) {
        let pending = self.pending();
        // While nothing can be written the rest is urgent only when somebody waits for an answer.
        (pending.is_empty(), pending.is_urgent())
    }

    fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    fn file_max_bytes(&self) -> u64 {
        self.file_max_bytes.load(Ordering::Relaxed)
    }
}
