//! Notices when somebody else writes into the incident folders.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::service::incident::queue::Queue;

/// How old the picture may be where changes are not announced: network file systems, no inotify left.
const POLL: Duration = Duration::from_secs(1);
/// How often to look anyway. A queue that overflows says so itself; each look is heard by the watch as files that are
/// opened, and wakes an idle host several times.
const SAFETY: Duration = Duration::from_secs(60);
/// Directories watched at once; each costs a kernel watch of the user's limit.
const WATCHES_MAX: usize = 256;

/// The watched directories.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    reliable: bool,
}

impl Watch {
    /// Prepares to watch; nothing is watched yet.
    pub(super) fn new(root: &Path, queue: &Arc<Queue>) -> Self {
        let queue = queue.clone();
        let told = move |event: Result<notify::Event, notify::Error>| {
            // Opening and reading a file are events too; our own look must not cause the next one.
            if !event.is_ok_and(|it| matches!(it.kind, EventKind::Access(_))) {
                queue.push_look();
            }
        };
        let watcher = notify::recommended_watcher(told).ok();
        let reliable = watcher.is_some() && !is_network(root);
        Self { watcher, watched: BTreeSet::new(), reliable }
    }

    /// Watches exactly these directories. True when one of them is new: what was put there before was not announced,
    /// so it must be looked at once more.
    pub(super) fn set(&mut self, wanted: BTreeSet<PathBuf>) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        for gone in self.watched.difference(&wanted) {
            // A directory that was deleted has no watch any more.
            let _ = watcher.unwatch(gone);
        }
        let mut watched: BTreeSet<PathBuf> = self.watched.intersection(&wanted).cloned().collect();
        for new in wanted.difference(&self.watched) {
            let room = watched.len() < WATCHES_MAX;
            if room && watcher.watch(new, RecursiveMode::NonRecursive).is_ok() {
                watched.insert(new.clone());
            } else if new.is_dir() {
                self.reliable = false;
            }
        }
        let is_new = watched.difference(&self.watched).next().is_some();
        self.watched = watched;
        is_new
    }

    /// When to look at the disk without having been told.
    pub(super) fn look_after(&self) -> Duration {
        if self.reliable { SAFETY } else { POLL }
    }
}

/// True where changes made by another host are not announced.
#[cfg(target_os = "linux")]
fn is_network(root: &Path) -> bool {
    // NFS, SMB, CIFS, SMB2, FUSE (sshfs), 9p, Ceph, AFS: numbers of linux/magic.h.
    const NETWORK: [u32; 8] =
        [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x6573_5546, 0x0102_1997, 0x00c3_6400, 0x5346_414f];
    let existing = root.ancestors().find(|it| it.exists()).unwrap_or(root);
    rustix::fs::statfs(existing).is_ok_and(|it| NETWORK.contains(&(it.f_type as u32)))
}

/// True where changes made by another host are not announced; not known here, so look often.
#[cfg(not(target_os = "linux"))]
fn is_network(_root: &Path) -> bool {
    true
}
