//! One writer's journal on disk: locked appends that share one hash chain, and reading what others appended.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::clock;
use crate::domain::incident::entry::{Entry, EntryBody};
use crate::domain::incident::journal::{JournalReader, encode, sha256_hex};
use crate::service::incident::files::{StoreError, follow_share, private, sync_dir};

/// Bytes of one journal that are read, counted from its end. A busy year of one writer is below 10 MiB.
const JOURNAL_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// How long a writer waits for the lock. Holders keep it for one fsync; seconds mean that one of them hangs.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How often it asks. Far below an fsync, so that waiting costs nothing that can be felt.
const LOCK_POLL: Duration = Duration::from_millis(2);
/// How often a file that is replaced while it is being locked is opened again.
const REOPEN_MAX: usize = 5;

/// What reading on found.
#[derive(Debug, Default)]
pub struct Grown {
    /// Entries that were not known.
    pub entries: Vec<Entry>,
    /// The file is another one or became shorter: `entries` are all there are, not what was added.
    pub replaced: bool,
}

/// Something to be appended.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// When it happened, when that is not now.
    pub at: Option<Timestamp>,
    /// Who says so.
    pub by: String,
    /// What.
    pub body: EntryBody,
}

/// A journal and how far it was read.
#[derive(Debug)]
pub struct JournalFile {
    path: PathBuf,
    reader: JournalReader,
    offset: u64,
    // Device and inode of the file that `offset` counts in.
    identity: Option<(u64, u64)>,
    last_rec: Option<Timestamp>,
}

impl JournalFile {
    /// Names a journal; nothing is opened.
    pub fn new(path: PathBuf) -> Self {
        Self { path, reader: JournalReader::default(), offset: 0, identity: None, last_rec: None }
    }

    /// How much of it is damaged: lines, links.
    pub fn damage(&self) -> (u32, u32) {
        (self.reader.damaged_with_tail(), self.reader.broken_links)
    }

    /// Reads what was appended since the last time. A journal that is not there is empty.
    pub fn refresh(&mut self) -> Result<Grown, StoreError> {
        // Cheap when nothing happened, which is nearly always.
        let fail = |error: &io::Error| StoreError::io("read", &self.path, error);
        let meta = match std::fs::metadata(&self.path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let replaced = self.identity.is_some();
                *self = Self::new(std::mem::take(&mut self.path));
                return Ok(Grown { entries: Vec::new(), replaced });
            }
            Err(error) => return Err(fail(&error)),
        };
        if self.identity == Some((meta.dev(), meta.ino())) && meta.len() == self.offset {
            return Ok(Grown::default());
        }
        let mut file = File::open(&self.path).map_err(|error| fail(&error))?;
        self.read_on(&mut file)
    }

    /// Appends entries with one write and waits until they are on disk.
    ///
    /// Returns what others had appended before, then the new entries.
    pub fn append(&mut self, news: &[NewEntry], now: Timestamp) -> Result<Grown, StoreError> {
        let path = self.path.clone();
        let fail = |error: &io::Error| StoreError::io("write", &path, error);
        let existed = path.exists();
        let mut file = self.locked()?;
        let mut grown = self.read_on(&mut file)?;
        let mut bytes = Vec::new();
        if self.reader.has_tail() {
            bytes.push(b'\n');
        }
        let mut prev = self.reader.last_hash().to_string();
        let mut last_rec = self.last_rec;
        for new in news {
            let rec = next_rec(last_rec, now);
            last_rec = Some(rec);
            let at = new.at.unwrap_or(rec);
            let entry = Entry { id: new_id(rec), at, rec, by: new.by.clone(), prev, body: new.body.clone() };
            let line = encode(&entry).map_err(StoreError::new)?;
            prev = sha256_hex(&line[..line.len() - 1]);
            bytes.extend_from_slice(&line);
        }
        let before = self.offset;
        // One write for everything: two would let a crash or another reader see half a record.
        let written = loop {
            match file.write(&bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let written = written.and_then(|count| {
            if count == bytes.len() { file.sync_data() } else { Err(io::ErrorKind::StorageFull.into()) }
        });
        if let Err(error) = written {
            // The lock is held, so nobody wrote behind us. If even this fails, the next writer's newline
            // ends the torn line.
            let _ = file.set_len(before);
            return Err(fail(&error));
        }
        if !existed {
            path.parent().map_or(Ok(()), sync_dir)?;
        }
        self.offset += bytes.len() as u64;
        let added = self.reader.feed(&bytes);
        self.last_rec = added.last().map(|it| it.rec).or(self.last_rec);
        grown.entries.extend(added);
        Ok(grown)
    }

    fn read_on(&mut self, file: &mut File) -> Result<Grown, StoreError> {
        let mut read = || -> io::Result<Grown> {
            let meta = file.metadata()?;
            let identity = (meta.dev(), meta.ino());
            let replaced = self.identity.is_some_and(|it| it != identity) || meta.len() < self.offset;
            if replaced {
                (self.reader, self.offset, self.last_rec) = (JournalReader::default(), 0, None);
            }
            self.identity = Some(identity);
            if self.offset == 0 {
                self.offset = meta.len().saturating_sub(JOURNAL_MAX_BYTES);
            }
            file.seek(SeekFrom::Start(self.offset))?;
            let mut entries = Vec::new();
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let count = match file.read(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    result => result?,
                };
                if count == 0 {
                    break;
                }
                self.offset += count as u64;
                entries.extend(self.reader.feed(&buffer[..count]));
            }
            self.last_rec = entries.last().map(|it: &Entry| it.rec).or(self.last_rec);
            Ok(Grown { entries, replaced })
        };
        read().map_err(|error| StoreError::io("read", &self.path, &error))
    }

    /// Opens the file for appending and holds its lock until it is dropped.
    fn locked(&self) -> Result<File, StoreError> {
        let fail = |error: &io::Error| StoreError::io("write", &self.path, error);
        for _ in 0..REOPEN_MAX {
            let file = private().read(true).append(true).create(true).open(&self.path).map_err(|error| fail(&error))?;
            lock(&file, &self.path)?;
            follow_share(&self.path, &file)?;
            let held = file.metadata().map_err(|error| fail(&error))?;
            // git or an editor may have put another file in its place while we waited.
            match std::fs::metadata(&self.path) {
                Ok(meta) if (meta.dev(), meta.ino()) == (held.dev(), held.ino()) => return Ok(file),
                _ => {}
            }
        }
        Err(StoreError::new(format!("could not write `{}`: it is replaced again and again", self.path.display())))
    }
}

/// Takes the exclusive lock of a file or directory; it is given back when the file is closed.
pub fn lock(file: &File, path: &Path) -> Result<(), StoreError> {
    let start = clock::monotonic();
    loop {
        match rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(StoreError::io("lock", path, &error.into())),
        }
        if start.elapsed() > LOCK_WAIT {
            let text = format!("could not lock `{}`: another process has held it for 5 seconds", path.display());
            return Err(StoreError::new(text));
        }
        std::thread::sleep(LOCK_POLL);
    }
}

/// The recording time: now, or just after the entry before it, so that one writer's entries keep their order.
fn next_rec(last: Option<Timestamp>, now: Timestamp) -> Timestamp {
    match last {
        // More than a second means that the clock was set back: then the order is the chain's, the time the clock's.
        Some(last) if last >= now && last.duration_since(now) < SignedDuration::from_secs(1) => {
            last.checked_add(SignedDuration::from_nanos(1)).unwrap_or(now)
        }
        _ => now,
    }
}

fn new_id(rec: Timestamp) -> Uuid {
    let seconds = u64::try_from(rec.as_second()).unwrap_or_default();
    let nanos = u32::try_from(rec.subsec_nanosecond()).unwrap_or_default();
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::incident::entry::Note;

    fn note(text: &str) -> NewEntry {
        NewEntry { at: None, by: "alice".into(), body: EntryBody::Note(Note::new(text)) }
    }

    fn words(entries: &[Entry]) -> Vec<String> {
        entries.iter().map(|it| it.body.words()).collect()
    }

    #[test]
    fn two_writers_of_one_file_share_one_chain_and_see_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a@h.ndjson");
        let (mut first, mut second) = (JournalFile::new(path.clone()), JournalFile::new(path.clone()));
        let now = Timestamp::UNIX_EPOCH;
        for turn in 0..3 {
            first.append(&[note(&format!("first {turn}"))], now).unwrap();
            let seen = second.append(&[note(&format!("second {turn}"))], now).unwrap();
            assert_eq!(words(&seen.entries), [format!("first {turn}"), format!("second {turn}")]);
        }
        let mut reader = JournalFile::new(path);
        let entries = reader.refresh().unwrap().entries;
        assert_eq!((entries.len(), reader.damage()), (6, (0, 0)));
        assert!(entries.is_sorted_by_key(|it| (it.at, it.rec)), "one writer's order is kept within one instant");
    }

    #[test]
    fn a_torn_tail_is_ended_before_the_next_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a@h.ndjson");
        JournalFile::new(path.clone()).append(&[note("one")], Timestamp::UNIX_EPOCH).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [whole.as_slice(), &whole[..20]].concat()).unwrap();
        JournalFile::new(path.clone()).append(&[note("two")], Timestamp::UNIX_EPOCH).unwrap();
        let mut reader = JournalFile::new(path);
        assert_eq!(words(&reader.refresh().unwrap().entries), ["one", "two"]);
        assert_eq!(reader.damage(), (1, 0));
    }

    #[test]
    fn a_replaced_file_is_read_again_from_its_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a@h.ndjson");
        let mut reader = JournalFile::new(path.clone());
        reader.append(&[note("one"), note("two")], Timestamp::UNIX_EPOCH).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.lines().next().unwrap().to_string() + "\n").unwrap();
        let grown = reader.refresh().unwrap();
        assert!(grown.replaced);
        assert_eq!(words(&grown.entries), ["one"]);
    }
}
