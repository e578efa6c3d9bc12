//! Wakes the tailer when a watched directory changes: a hint, never the truth.
//!
//! Directories are watched, not files, because a rotation happens in the directory. Where the kernel
//! tells nothing (network file systems, no inotify left) the tailer has to look once a second.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// The one watcher of the process, with the directories it watches.
pub struct Hints {
    watcher: Option<RecommendedWatcher>,
    watched: HashSet<PathBuf>,
    wake_tx: SyncSender<()>,
    wake_rx: Receiver<()>,
}

/// Wakes the tailer from elsewhere.
#[derive(Debug, Clone)]
pub struct Waker {
    wake_tx: SyncSender<()>,
}

impl Waker {
    /// Wakes it; several calls before it looks count as one.
    pub fn wake(&self) {
        let _ = self.wake_tx.try_send(());
    }
}

impl Default for Hints {
    fn default() -> Self {
        // One hint is enough: it says look, not at what.
        let (wake_tx, wake_rx) = sync_channel(1);
        let on_event = wake_tx.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own reads are events as well. An error or an overflow means: look at everything.
            if !matches!(event, Ok(notify::Event { kind: EventKind::Access(_), .. })) {
                let _ = on_event.try_send(());
            }
        });
        Self { watcher: watcher.ok(), watched: HashSet::new(), wake_tx, wake_rx }
    }
}

impl Hints {
    /// A handle that wakes [`Hints::wait`].
    pub fn waker(&self) -> Waker {
        Waker { wake_tx: self.wake_tx.clone() }
    }

    /// Watches exactly these directories. Returns true when all of them report their changes.
    pub fn watch(&mut self, directories: &HashSet<PathBuf>) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        self.watched.retain(|it| {
            let stays = directories.contains(it) && it.is_dir();
            if !stays {
                let _ = watcher.unwatch(it);
            }
            stays
        });
        for directory in directories {
            if !self.watched.contains(directory)
                && tells_changes(directory)
                && watcher.watch(directory, RecursiveMode::NonRecursive).is_ok()
            {
                self.watched.insert(directory.clone());
            }
        }
        directories.iter().all(|it| self.watched.contains(it))
    }

    /// Waits for a hint, at most so long; `None` waits for ever. Returns false when the time is over.
    pub fn wait(&self, at_most: Option<Duration>) -> bool {
        match at_most {
            None => self.wake_rx.recv().is_ok(),
            Some(limit) => !matches!(self.wake_rx.recv_timeout(limit), Err(RecvTimeoutError::Timeout)),
        }
    }
}

/// False for file systems on which another host's or the kernel's writes go unseen.
fn tells_changes(directory: &Path) -> bool {
    const SILENT: [u32; 7] = [
        0x6969,      // NFS
        0x517b,      // SMB
        0xff53_4d42, // CIFS
        0xfe53_4d42, // SMB2
        0x6573_5546, // FUSE
        0x0102_1997, // 9p
        0x9fa0,      // proc
    ];
    let kind = |it: rustix::fs::StatFs| u32::try_from(it.f_type & 0xffff_ffff).unwrap_or(0);
    rustix::fs::statfs(directory).is_ok_and(|it| !SILENT.contains(&kind(it)))
}
