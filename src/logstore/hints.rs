//! Wakes the tailer when something it reads changes: a hint, never the truth.
//!
//! Directories are watched, not files, because a rotation happens in the directory. What else is written
//! there wakes nobody. Where the kernel tells nothing (network file systems, no inotify left) the tailer
//! has to look once a second.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use notify::event::ModifyKind;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::logstore::segment::lock;

/// The one watcher of the process, with the directories it watches.
pub struct Hints {
    watcher: Option<RecommendedWatcher>,
    /// With device and inode: another directory may stand at the path by now.
    watched: HashMap<PathBuf, (u64, u64)>,
    shared: Arc<Mutex<Shared>>,
    wake_tx: SyncSender<()>,
    wake_rx: Receiver<()>,
}

/// What the tailer wants to hear of.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Interest {
    /// Every change of these, and that they come and go.
    pub files: HashSet<PathBuf>,
    /// That files come to and go from these.
    pub listings: HashSet<PathBuf>,
}

/// What was heard since the last time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Files that have changed.
    pub files: HashSet<PathBuf>,
    /// Wanted files came or went, or were renamed.
    pub moved: bool,
    /// A listing has changed.
    pub listed: bool,
    /// Hints were lost: everything may have changed.
    pub lost: bool,
}

#[derive(Default)]
struct Shared {
    interest: Interest,
    /// No more than there are files of interest.
    news: News,
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
        // One hint is enough: what it is about stands in the news.
        let (wake_tx, wake_rx) = sync_channel(1);
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (on_event, heard) = (wake_tx.clone(), shared.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if lock(&heard).hear(event) {
                let _ = on_event.try_send(());
            }
        });
        Self { watcher: watcher.ok(), watched: HashMap::new(), shared, wake_tx, wake_rx }
    }
}

impl Shared {
    /// Returns true when an event is of interest.
    fn hear(&mut self, event: notify::Result<notify::Event>) -> bool {
        let Ok(event) = event else {
            self.news.lost = true;
            return true;
        };
        if event.need_rescan() {
            self.news.lost = true;
            return true;
        }
        // Our own reads are events as well.
        if matches!(event.kind, EventKind::Access(_)) {
            return false;
        }
        let is_written = matches!(event.kind, EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)));
        let mut is_news = false;
        for path in event.paths {
            if self.interest.files.contains(&path) {
                self.news.moved |= !is_written;
                self.news.files.insert(path);
                is_news = true;
            } else if !is_written && path.parent().is_some_and(|it| self.interest.listings.contains(it)) {
                self.news.listed = true;
                is_news = true;
            } else if !is_written && self.interest.listings.contains(&path) {
                // The watched directory itself went away.
                self.news.lost = true;
                is_news = true;
            }
        }
        is_news
    }
}

impl Hints {
    /// A handle that wakes [`Hints::wait`].
    pub fn waker(&self) -> Waker {
        Waker { wake_tx: self.wake_tx.clone() }
    }

    /// Watches the directories of exactly these. Returns true when all of them report their changes.
    pub fn watch(&mut self, interest: Interest) -> bool {
        let mut directories: HashSet<PathBuf> = interest.listings.clone();
        directories.extend(interest.files.iter().filter_map(|it| it.parent()).map(Path::to_path_buf));
        lock(&self.shared).interest = interest;
        let Some(watcher) = &mut self.watcher else { return false };
        self.watched.retain(|path, identity| {
            let stays = directories.contains(path) && identity_of(path) == Some(*identity);
            if !stays {
                let _ = watcher.unwatch(path);
            }
            stays
        });
        for directory in &directories {
            if !self.watched.contains_key(directory)
                && let Some(identity) = identity_of(directory)
                && tells_changes(directory)
                && watcher.watch(directory, RecursiveMode::NonRecursive).is_ok()
            {
                self.watched.insert(directory.clone(), identity);
            }
        }
        directories.iter().all(|it| self.watched.contains_key(it))
    }

    /// Waits for a hint, at most so long; `None` waits for ever. Returns false when the time is over.
    pub fn wait(&self, at_most: Option<Duration>) -> bool {
        match at_most {
            None => self.wake_rx.recv().is_ok(),
            Some(limit) => !matches!(self.wake_rx.recv_timeout(limit), Err(RecvTimeoutError::Timeout)),
        }
    }

    /// What was heard since the last call.
    pub fn news(&self) -> News {
        std::mem::take(&mut lock(&self.shared).news)
    }
}

fn identity_of(directory: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(directory).ok().filter(std::fs::Metadata::is_dir).map(|it| (it.dev(), it.ino()))
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

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, Flag, RemoveKind, RenameMode};

    use super::*;

    #[test]
    fn only_what_is_of_interest_wakes_the_tailer() {
        let interest = Interest { files: [PathBuf::from("/l/a.log")].into(), listings: [PathBuf::from("/g")].into() };
        let check = |kind: EventKind, path: &str, expected: Option<News>| {
            let mut shared = Shared { interest: interest.clone(), news: News::default() };
            let is_news = shared.hear(Ok(notify::Event::new(kind).add_path(path.into())));
            assert_eq!(is_news.then_some(shared.news), expected, "{kind:?} {path}");
        };
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::From));
        let file = || HashSet::from([PathBuf::from("/l/a.log")]);
        check(written, "/l/a.log", Some(News { files: file(), ..News::default() }));
        check(renamed, "/l/a.log", Some(News { files: file(), moved: true, ..News::default() }));
        check(written, "/l/b.log", None);
        check(EventKind::Create(CreateKind::File), "/l/b.log", None);
        check(written, "/g/c.log", None);
        check(EventKind::Create(CreateKind::File), "/g/c.log", Some(News { listed: true, ..News::default() }));
        check(EventKind::Remove(RemoveKind::Folder), "/g", Some(News { lost: true, ..News::default() }));
        check(EventKind::Access(notify::event::AccessKind::Any), "/l/a.log", None);
        let mut shared = Shared::default();
        assert!(shared.hear(Ok(notify::Event::new(EventKind::Other).set_flag(Flag::Rescan))) && shared.news.lost);
        assert!(shared.hear(Err(notify::Error::generic("x"))));
    }
}
