//! Keeps the source of one path true: growth, rotation, truncation, deletion, a file that comes later.
//!
//! A look costs two `stat`s. Identity is device and inode of the open file against the path's, and the
//! file's first bytes against what they were: a file that was emptied and written past its old size
//! between two looks has the same inode and a larger size.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::domain::log::{GapKind, LogFact, SourceState};
use crate::logstore::segment::{Change, Segment};
use crate::logstore::source::{GapMark, Source};

/// Least time between two facts that a source grew.
const GREW_INTERVAL: Duration = Duration::from_millis(50);

/// A path and the source that is read from it.
#[derive(Debug)]
pub struct FileTail {
    /// The source.
    pub source: Arc<Source>,
    /// Its path.
    pub path: PathBuf,
    state: Option<SourceState>,
    reported_bytes: Option<u64>,
    reported_at: Option<Instant>,
}

/// What a look found.
#[derive(Debug, Default)]
pub struct Look {
    /// What to report.
    pub facts: Vec<LogFact>,
    /// Windows may have changed.
    pub changed: bool,
    /// A fact was held back because the last one is too recent: look again soon.
    pub owes: bool,
}

impl FileTail {
    /// Starts on a path; nothing is opened before the first look.
    pub fn new(source: Arc<Source>, path: &Path) -> Self {
        Self { source, path: path.to_path_buf(), state: None, reported_bytes: None, reported_at: None }
    }

    /// Looks at the file: `now` goes into gap rows, `instant` spaces the facts.
    pub fn look(&mut self, now: Timestamp, instant: Instant) -> Look {
        let mut look = Look::default();
        for segment in self.source.older() {
            // Writers keep the old file open for a while after a rotation.
            look.changed |= matches!(segment.refresh(), Ok(Change::Grew));
        }
        self.look_at_open_file(now, &mut look);
        self.look_at_path(now, &mut look);
        let size_bytes = self.source.size_bytes();
        if self.reported_bytes != Some(size_bytes) {
            if self.reported_at.is_none_or(|it| instant.duration_since(it) >= GREW_INTERVAL) {
                self.reported_bytes = Some(size_bytes);
                self.reported_at = Some(instant);
                look.facts.push(LogFact::Grew { source: self.source.id.clone(), size_bytes });
            } else {
                look.owes = true;
            }
        }
        look
    }

    fn look_at_open_file(&mut self, now: Timestamp, look: &mut Look) {
        let Some(newest) = self.source.newest() else { return };
        match newest.refresh() {
            Ok(Change::Same) => {}
            Ok(Change::Grew) => {
                self.source.arrived(now);
                look.changed = true;
            }
            Ok(Change::Truncated { unread_bytes }) => {
                let kind = GapKind::Truncated { unread_bytes };
                match newest.restart() {
                    Ok(segment) => {
                        self.source.replace_newest(segment, GapMark { kind: kind.clone(), at: now });
                        look.facts.push(LogFact::Gap { source: self.source.id.clone(), kind });
                    }
                    Err(error) => self.fail(&error, now, look),
                }
                look.changed = true;
            }
            Err(error) => self.fail(&error, now, look),
        }
    }

    fn look_at_path(&mut self, now: Timestamp, look: &mut Look) {
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) => return self.fail(&error, now, look),
        };
        if !metadata.is_file() {
            let kind = if metadata.is_dir() { "it is a directory now" } else { "it is not a regular file" };
            return self.fail(&io::Error::other(kind), now, look);
        }
        let newest = self.source.newest();
        let is_open = newest.as_ref().is_some_and(|it| it.device == metadata.dev() && it.inode == metadata.ino());
        if !is_open {
            match open_regular(&self.path).and_then(|file| Segment::file(file, self.source.next_number())) {
                Ok(segment) => {
                    let gap = newest.map(|_| GapMark { kind: GapKind::Rotated, at: now });
                    if let Some(gap) = &gap {
                        look.facts.push(LogFact::Gap { source: self.source.id.clone(), kind: gap.kind.clone() });
                    }
                    self.source.push(segment, gap);
                    look.changed = true;
                }
                Err(error) => return self.fail(&error, now, look),
            }
        }
        look.changed |= self.source.set_tail(None);
        self.set_state(SourceState::Connected, look);
    }

    fn fail(&mut self, error: &io::Error, now: Timestamp, look: &mut Look) {
        let had = self.source.newest().is_some();
        let (kind, state) = match error.kind() {
            io::ErrorKind::NotFound if had => (
                GapKind::Deleted,
                SourceState::Waiting("the file was deleted; reading goes on if it comes back".into()),
            ),
            io::ErrorKind::NotFound => (GapKind::Missing, SourceState::Waiting("the file does not exist yet".into())),
            io::ErrorKind::PermissionDenied => (
                GapKind::PermissionDenied,
                SourceState::Failed("permission denied; run as a user who may read it".into()),
            ),
            _ => (GapKind::Failed(error.to_string()), SourceState::Failed(error.to_string())),
        };
        look.changed |= self.source.set_tail(Some(GapMark { kind, at: now }));
        self.set_state(state, look);
    }

    fn set_state(&mut self, state: SourceState, look: &mut Look) {
        if self.state.as_ref() != Some(&state) {
            self.state = Some(state.clone());
            look.facts.push(LogFact::State { source: self.source.id.clone(), state });
        }
    }
}

/// Opens without waiting: a FIFO that took the path's place would block until somebody writes.
fn open_regular(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::other("it is a pipe now"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{HostId, SourceId};

    /// The mapping only: no permission keeps root out, and tests may run as root.
    #[test]
    fn a_file_that_may_not_be_read_says_so_until_it_may() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "one\n").unwrap();
        let id = SourceId::new(&HostId::new("h"), "a");
        let mut tail = FileTail::new(Arc::new(Source::new(id, "a", "a")), &path);
        let (now, instant) = (Timestamp::UNIX_EPOCH, crate::clock::monotonic());
        let mut look = Look::default();
        tail.fail(&io::Error::from(io::ErrorKind::PermissionDenied), now, &mut look);
        let state = |it: &LogFact| match it {
            LogFact::State { state, .. } => Some(state.clone()),
            _ => None,
        };
        assert!(matches!(look.facts.iter().find_map(state), Some(SourceState::Failed(why)) if why.contains("run as")));
        let gap = tail.source.snapshot().tail.map(|it| it.kind);
        assert_eq!((gap, look.changed), (Some(GapKind::PermissionDenied), true));
        let mut again = Look::default();
        tail.fail(&io::Error::from(io::ErrorKind::PermissionDenied), now, &mut again);
        assert!(again.facts.is_empty() && !again.changed, "said twice: {again:?}");
        let look = tail.look(now, instant);
        assert_eq!(look.facts.iter().find_map(state), Some(SourceState::Connected));
        assert_eq!((tail.source.snapshot().tail, tail.source.size_bytes()), (None, 4));
    }
}
