//! Keeps the source of one path true: growth, rotation, truncation, deletion, a file that comes later.
//!
//! A look costs two `stat`s. Identity is device and inode of the open file against the path's, and the
//! file's bytes at both ends of what is known against what they were: a file that was emptied and written
//! past its old size between two looks has the same inode and a larger size. What happened more than once
//! between two looks is found among the rotated files, where there are any: those that were not there when the
//! path was last opened came and went since, whatever their dates say.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use crate::domain::log::{GapKind, LogFact, SourceState};
use crate::domain::sanitise;
use crate::logstore::archive::{self, Packing};
use crate::logstore::history;
use crate::logstore::segment::{Change, FINGERPRINT_BYTES, Segment};
use crate::logstore::source::{GapMark, Source};

/// Least time between two facts that a source grew.
const GREW_INTERVAL: Duration = Duration::from_millis(50);
/// Rotated files looked at after a rotation, for those that came and went between two looks.
const MAX_BETWEEN: usize = 8;

/// A path and the source that is read from it.
#[derive(Debug)]
pub struct FileTail {
    /// The source.
    pub source: Arc<Source>,
    /// Its path.
    pub path: PathBuf,
    /// Where text goes that can not be read in its file.
    directory: PathBuf,
    /// The rotated files there were when somebody last looked among them, and their sizes.
    rotated: HashMap<Identity, u64>,
    state: Option<SourceState>,
    /// When the last look began.
    looked_at: Option<Timestamp>,
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
    /// Other files are read now than before.
    pub moved: bool,
    /// A fact was held back because the last one is too recent, or there is more to do: look again soon.
    pub owes: bool,
    /// The file is an archive, which must be unpacked to be read. It is looked at no more.
    pub archive: Option<(File, Packing)>,
}

/// What a file is, whatever it is called: an inode is given to another file when its own is gone, but not its birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
    /// `None` where the file system does not tell.
    born: Option<SystemTime>,
}

impl Identity {
    fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino(), born: metadata.created().ok() }
    }
}

/// The files that stood under a path between two looks.
#[derive(Debug, Default)]
struct Between {
    /// A copy of the file that was known.
    copy: Option<File>,
    /// Files that were never seen there, oldest first.
    missed: Vec<File>,
    /// Names of such files that are packed by now.
    packed: Vec<String>,
    /// All rotated files there are now, and their sizes.
    rotated: HashMap<Identity, u64>,
}

impl FileTail {
    /// Starts on a path; nothing is opened before the first look.
    pub fn new(source: Arc<Source>, path: &Path) -> Self {
        Self {
            source,
            path: path.to_path_buf(),
            directory: std::env::temp_dir(),
            rotated: HashMap::new(),
            state: None,
            looked_at: None,
            reported_bytes: None,
            reported_at: None,
        }
    }

    /// Keeps text that can not be read in its file in this directory.
    #[must_use]
    pub fn spooling_to(mut self, directory: &Path) -> Self {
        self.directory = directory.to_path_buf();
        self
    }

    /// True when it was not looked at yet.
    pub fn is_new(&self) -> bool {
        self.state.is_none()
    }

    /// True when the path can not be read now: no hint tells when that ends.
    pub fn is_failing(&self) -> bool {
        !matches!(self.state, None | Some(SourceState::Connected))
    }

    /// Looks at the file: `now` goes into gap rows, `instant` spaces the facts.
    pub fn look(&mut self, now: Timestamp, instant: Instant) -> Look {
        let mut look = Look::default();
        for segment in self.source.older() {
            match segment.refresh() {
                // Writers keep the old file open for a while after a rotation.
                Ok(Change::Grew) => {
                    self.source.disturbed();
                    look.changed = true;
                }
                Ok(Change::Truncated { unread_bytes }) => {
                    let gone_bytes = segment.size_bytes().saturating_sub(unread_bytes);
                    let looked_at = self.looked_at;
                    let kind = GapKind::Truncated { unread_bytes, gone_bytes, looked_at, times: 1 };
                    let gap = GapMark { kind, at: now };
                    look.facts.push(LogFact::Gap { source: self.source.id.clone(), kind: gap.kind.clone() });
                    self.source.give_up(segment.uid, gap);
                    look.changed = true;
                }
                Ok(Change::Same | Change::Recast) | Err(_) => {}
            }
        }
        self.look_at_open_file(now, &mut look);
        if look.archive.is_none() {
            self.look_at_path(now, &mut look);
        }
        self.looked_at = Some(now);
        look.owes |= self.source.newest().is_some_and(|it| it.is_behind());
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
        let (was_blank, since) = (newest.is_blank(), newest.modified());
        match newest.refresh() {
            Ok(Change::Same) => {}
            Ok(Change::Grew) => {
                self.source.arrived(now);
                look.changed = true;
                if was_blank && let Err(error) = self.insert_missed(&newest, since, now, look) {
                    self.fail(&error, now, look);
                }
            }
            Ok(Change::Truncated { unread_bytes }) => {
                look.changed = true;
                if let Err(error) = self.begin_again(&newest, (unread_bytes, since), now, look) {
                    self.fail(&error, now, look);
                }
            }
            Ok(Change::Recast) => {
                look.changed = true;
                match newest.restart(newest.number, &self.directory) {
                    Ok(segment) => self.take_first(segment, look),
                    Err(error) => self.fail(&error, now, look),
                }
            }
            Err(error) => self.fail(&error, now, look),
        }
    }

    /// Goes on with a file whose known bytes are gone: in a copy of it, or with a gap that says what is missing, and
    /// with what was copied of it since.
    fn begin_again(
        &mut self,
        old: &Segment,
        (unread_bytes, since): (u64, Timestamp),
        now: Timestamp,
        look: &mut Look,
    ) -> io::Result<()> {
        let mut between = self.between(since, |file| old.is_copied_in(file));
        // What stands in the file now may have been copied as well already.
        between.missed.pop_if(|it| old.is_being_copied_to(it));
        self.rotated = between.rotated;
        if let Some(copy) = between.copy {
            let copy = Segment::file_in(copy, old.number, &self.directory)?.in_place_of(old);
            self.source.swap_newest(copy);
            self.push_missed(between.missed, now, look)?;
            let segment = old.restart(self.source.next_number(), &self.directory)?;
            self.push(segment, GapKind::Rotated, now, look);
            return Ok(());
        }
        // A copy that lacks the last bytes: those before are known.
        between.missed.retain(|it| !old.begins_in(it));
        let kind = GapKind::Truncated { unread_bytes, gone_bytes: 0, looked_at: self.looked_at, times: 1 };
        self.replace(old, kind, between.missed, now, look)
    }

    /// Puts in what was written to a file that was empty at the last look, copied and emptied again since.
    fn insert_missed(&mut self, blank: &Segment, since: Timestamp, now: Timestamp, look: &mut Look) -> io::Result<()> {
        let mut between = self.between(since, |_| false);
        between.missed.pop_if(|it| blank.is_being_copied_to(it));
        self.rotated = between.rotated;
        let kind = match (between.missed.is_empty(), between.packed.is_empty()) {
            (true, true) => return Ok(()),
            (false, _) => GapKind::Rotated,
            (true, false) => {
                let names = between.packed.join("`, `");
                GapKind::Failed(format!("written and emptied between two looks; `{names}` was not read"))
            }
        };
        self.replace(blank, kind, between.missed, now, look)
    }

    /// Goes on with the same file behind a gap of this kind and files that were missed.
    fn replace(
        &mut self,
        old: &Segment,
        kind: GapKind,
        missed: Vec<File>,
        now: Timestamp,
        look: &mut Look,
    ) -> io::Result<()> {
        let directory = self.directory.clone();
        let mut missed = missed.into_iter();
        let first = missed.next();
        let is_alone = first.is_none();
        let make = |number| match first {
            Some(file) => Segment::file_in(file, number, &directory),
            None => old.restart(number, &directory),
        };
        let kind = self.source.replace_newest(make, GapMark { kind, at: now })?;
        look.facts.push(LogFact::Gap { source: self.source.id.clone(), kind });
        self.push_missed(missed.collect(), now, look)?;
        if !is_alone {
            let segment = old.restart(self.source.next_number(), &self.directory)?;
            self.push(segment, GapKind::Rotated, now, look);
        }
        Ok(())
    }

    fn look_at_path(&mut self, now: Timestamp, look: &mut Look) {
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) => {
                if error.kind() == io::ErrorKind::NotFound
                    && let Some(newest) = self.source.newest()
                {
                    // It may have been rotated more than once before it went.
                    let since = newest.modified();
                    let Between { missed, rotated, .. } = self.between(since, |file| is_file_of(&newest, file));
                    self.rotated = rotated;
                    if let Err(error) = self.push_missed(missed, now, look) {
                        return self.fail(&error, now, look);
                    }
                }
                return self.fail(&error, now, look);
            }
        };
        if !metadata.is_file() {
            let kind = if metadata.is_dir() { "it is a directory now" } else { "it is not a regular file" };
            return self.fail(&io::Error::other(kind), now, look);
        }
        let newest = self.source.newest();
        let is_open = newest.as_ref().is_some_and(|it| it.device == metadata.dev() && it.inode == metadata.ino());
        if !is_open && let Err(error) = self.open(newest.as_deref(), now, look) {
            return self.fail(&error, now, look);
        }
        look.changed |= self.source.set_tail(None);
        self.set_state(SourceState::Connected, look);
    }

    /// Opens the file that stands at the path now.
    fn open(&mut self, old: Option<&Segment>, now: Timestamp, look: &mut Look) -> io::Result<()> {
        if old.is_none() {
            // Before the path is opened: what is rotated from then on is not among them.
            self.rotated = identities_of(&history::files_of(&self.path).0);
        }
        let file = open_regular(&self.path)?;
        let Some(old) = old else {
            let segment = Segment::file_in(file, self.source.next_number(), &self.directory)?;
            self.take_first(segment, look);
            return Ok(());
        };
        let between = self.between(old.modified(), |file| is_file_of(old, file));
        self.push_missed(between.missed, now, look)?;
        self.rotated = between.rotated;
        let segment = Segment::file_in(file, self.source.next_number(), &self.directory)?;
        let kind = if between.packed.is_empty() {
            GapKind::Rotated
        } else {
            let names = between.packed.join("`, `");
            GapKind::Failed(format!("rotated more than once between two looks; `{names}` was not read"))
        };
        self.push(segment, kind, now, look);
        Ok(())
    }

    /// Takes the first segment there is, or what was an empty one.
    fn take_first(&mut self, segment: Segment, look: &mut Look) {
        look.changed = true;
        look.moved = true;
        if let Some(packing) = segment.packing()
            && let Ok(file) = segment.reopened()
        {
            self.source.clear();
            look.archive = Some((file, packing));
            return;
        }
        let skipped = left_out(&segment);
        if self.source.newest().is_some() {
            self.source.swap_newest(segment);
        } else {
            let at = segment.modified();
            self.source.push(segment, skipped.map(|kind| GapMark { kind, at }));
        }
    }

    fn push_missed(&mut self, missed: Vec<File>, now: Timestamp, look: &mut Look) -> io::Result<()> {
        for file in missed {
            let segment = Segment::file_in(file, self.source.next_number(), &self.directory)?;
            self.push(segment, GapKind::Rotated, now, look);
        }
        Ok(())
    }

    fn push(&mut self, segment: Segment, kind: GapKind, now: Timestamp, look: &mut Look) {
        let kind = left_out(&segment).filter(|_| kind == GapKind::Rotated).unwrap_or(kind);
        look.facts.push(LogFact::Gap { source: self.source.id.clone(), kind: kind.clone() });
        self.source.push(segment, Some(GapMark { kind, at: now }));
        look.changed = true;
        look.moved = true;
    }

    /// Looks among the rotated files for the one that was known, and for those that are newer than it: written `since`.
    fn between(&self, since: Timestamp, is_known: impl Fn(&File) -> bool) -> Between {
        let mut between = Between::default();
        let mut is_found = false;
        let mut newer = Vec::new();
        let files = history::files_of(&self.path).0;
        between.rotated = identities_of(&files);
        for path in files.into_iter().take(MAX_BETWEEN) {
            let Ok(file) = open_regular(&path) else { continue };
            if is_known(&file) {
                is_found = true;
                between.copy = Some(file);
                break;
            }
            newer.push((path, file));
        }
        for (path, file) in newer.into_iter().rev() {
            let Ok(metadata) = file.metadata() else { continue };
            // Without the known one to count from, a file that was left alone since is older: one that was packed or
            // brought here is not a rotation. One that was there and is shorter was written anew, as `cp` does.
            let size_before = self.rotated.get(&Identity::of(&metadata)).copied();
            let is_newer = match is_found {
                true => size_before.is_none(),
                false => modified_of(&metadata) >= since && size_before.is_none_or(|it| metadata.size() < it),
            };
            if !is_newer || self.source.holds(metadata.dev(), metadata.ino()) {
                continue;
            }
            if packing_of(&file).is_some() {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                between.packed.push(sanitise::text(&name));
            } else {
                between.missed.push(file);
            }
        }
        between
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

/// True for the file of a segment, also when it was packed since.
fn is_file_of(segment: &Segment, file: &File) -> bool {
    if file.metadata().is_ok_and(|it| it.dev() == segment.device && it.ino() == segment.inode) {
        return true;
    }
    packing_of(file)
        .and_then(|packing| archive::beginning(file, packing, FINGERPRINT_BYTES))
        .is_some_and(|it| segment.begins_as(&it))
}

fn identities_of(paths: &[PathBuf]) -> HashMap<Identity, u64> {
    let identity = |it: fs::Metadata| (Identity::of(&it), it.size());
    paths.iter().filter_map(|it| fs::metadata(it).ok().map(identity)).collect()
}

fn packing_of(file: &File) -> Option<Packing> {
    use std::os::unix::fs::FileExt;
    let mut first = [0; 8];
    let count = file.read_at(&mut first, 0).ok()?;
    Packing::of(&first[..count])
}

fn modified_of(metadata: &fs::Metadata) -> Timestamp {
    let nanos = i32::try_from(metadata.mtime_nsec()).unwrap_or(0);
    Timestamp::new(metadata.mtime(), nanos).unwrap_or_default()
}

/// What is missing before a segment because there is no room for it.
fn left_out(segment: &Segment) -> Option<GapKind> {
    if segment.is_binary() {
        return Some(GapKind::Failed("binary data, shown as far as it is text".into()));
    }
    let bytes = segment.skipped_bytes();
    let shown = crate::domain::format::bytes(bytes);
    (bytes > 0).then(|| GapKind::Failed(format!("the first {shown} of this UTF-16 file are left out")))
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
