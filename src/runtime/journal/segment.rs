//! One file of the journal as it is written, and which of them are kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// How the name of a segment ends.
const SUFFIX: &str = ".ndjson.zst";
/// How that of one of an older version does, which is not packed. Such a one is read, and goes as any other.
const PLAIN_SUFFIX: &str = ".ndjson";
/// How hard is packed: facts are so much alike that more gains nothing (an outcome of 710 bytes takes 45).
const LEVEL: i32 = 1;
/// No segment ends before it holds so much text of facts: a jump reads that much in a few milliseconds.
const FACTS_MIN_BYTES: u64 = 4 << 20;
/// Nor before its facts take so many times the room of its snapshot: at most a quarter of what is written is snapshots.
const FACTS_PER_SNAPSHOT: u64 = 3;
/// What all segments take of the disk at most, where snapshots are of a usual size. The oldest goes first.
pub(super) const ROOM_BYTES: u64 = 128 << 20;
/// Where they are not (some thousands of probes) it is so many snapshots, which is four segments,
const ROOM_SNAPSHOTS: u64 = 16;
/// and never more than this.
const ROOM_MAX_BYTES: u64 = 512 << 20;
/// Segments kept, however small: one that starts again and again must not leave more than can be looked through.
const SEGMENTS_MAX: usize = 512;

/// A segment that is being written.
pub(super) struct Segment {
    packer: zstd::Encoder<'static, Counted>,
    /// What the snapshot takes of the disk.
    snapshot_bytes: u64,
    /// Text of facts behind it.
    facts_bytes: u64,
    /// The next one was asked for: what comes until it is there does not ask again.
    has_asked: bool,
}

/// Counts what reaches the file.
struct Counted {
    file: File,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Segment {
    /// Begins a segment with its snapshot; the oldest goes when the new one stands.
    ///
    /// The other way round a full disk would let each attempt remove one more of what can still be replayed.
    ///
    /// # Errors
    /// When it cannot be written, or what must go cannot be removed.
    pub fn begin(folder: &Path, at: Timestamp, seq: u64, snapshot: &str) -> io::Result<Self> {
        crate::config::paths::make_private_dir(folder)?;
        // Names sort by time; the process tells apart two starts in one millisecond.
        let path = folder.join(format!("{:014}-{seq}-{}{SUFFIX}", at.as_millisecond(), std::process::id()));
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        let mut packer = zstd::Encoder::new(Counted { file, bytes: 0 }, LEVEL)?;
        if let Err(error) = packer.write_all(snapshot.as_bytes()).and_then(|()| packer.flush()) {
            // Half a snapshot is worth nothing, and the next attempt has another name.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        let snapshot_bytes = packer.get_ref().bytes;
        make_room(folder, snapshot_bytes)?;
        Ok(Self { packer, snapshot_bytes, facts_bytes: 0, has_asked: false })
    }

    /// Adds lines.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, text: &str) -> io::Result<()> {
        self.facts_bytes += text.len() as u64;
        self.packer.write_all(text.as_bytes())
    }

    /// Has everything reach the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.packer.flush()
    }

    /// Closes it.
    ///
    /// # Errors
    /// When its end cannot be written.
    pub fn end(self) -> io::Result<()> {
        self.packer.finish().map(drop)
    }

    /// True when the next one should begin, once.
    pub fn asks_for_next(&mut self) -> bool {
        let facts = self.packer.get_ref().bytes - self.snapshot_bytes;
        let is_full = self.facts_bytes >= FACTS_MIN_BYTES && facts >= FACTS_PER_SNAPSHOT * self.snapshot_bytes;
        is_full && !std::mem::replace(&mut self.has_asked, true)
    }
}

/// Removes the oldest segments until there is room for the newest to grow to its end.
fn make_room(folder: &Path, snapshot_bytes: u64) -> io::Result<()> {
    let room = snapshot_bytes.saturating_mul(ROOM_SNAPSHOTS).clamp(ROOM_BYTES, ROOM_MAX_BYTES);
    // What is not packed yet is longer than what will be.
    let mut taken = snapshot_bytes.saturating_mul(FACTS_PER_SNAPSHOT).max(FACTS_MIN_BYTES);
    let segments = segments(folder)?;
    for (age, path) in segments.iter().rev().enumerate() {
        taken = taken.saturating_add(fs::symlink_metadata(path)?.len());
        if age > 0 && (taken > room || age >= SEGMENTS_MAX) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The segments, oldest first.
///
/// # Errors
/// When the folder is there and cannot be read.
pub(in crate::runtime) fn segments(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
        if name.ends_with(SUFFIX) || name.ends_with(PLAIN_SUFFIX) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// True for one whose lines are packed.
pub(super) fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "zst")
}

/// A part of the name, `milliseconds-seq-process`.
pub(in crate::runtime) fn name_part(path: &Path, part: usize) -> Option<&str> {
    path.file_name()?.to_str()?.split('.').next()?.split('-').nth(part)
}

/// When a segment began, by its name: up to a millisecond before it did.
pub(super) fn named_at(path: &Path) -> Option<Timestamp> {
    Timestamp::from_millisecond(name_part(path, 0)?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment of an earlier time that takes so many bytes, without taking them.
    fn old(folder: &Path, number: usize, bytes: u64) -> PathBuf {
        let path = folder.join(format!("{number:014}-0-1{SUFFIX}"));
        File::create(&path).and_then(|it| it.set_len(bytes)).expect("written");
        path
    }

    #[test]
    fn a_full_disk_takes_nothing_of_what_can_be_replayed() {
        const OLD: u64 = 16;
        let dir = tempfile::tempdir().expect("a directory");
        let first = old(dir.path(), 0, ROOM_BYTES / OLD);
        (1..OLD as usize).for_each(|number| drop(old(dir.path(), number, ROOM_BYTES / OLD)));
        let at = Timestamp::from_second(9).expect("a time");
        let path =
            |seq: u64| dir.path().join(format!("{:014}-{seq}-{}{SUFFIX}", at.as_millisecond(), std::process::id()));
        std::os::unix::fs::symlink("/dev/full", path(1)).expect("linked");
        let error = Segment::begin(dir.path(), at, 1, "{}\n").err().expect("no room");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(segments(dir.path()).expect("read").len(), OLD as usize, "neither more nor less than before");

        drop(Segment::begin(dir.path(), at, 2, "{}\n").expect("there is room"));
        let left = segments(dir.path()).expect("read");
        assert_eq!(left.len(), OLD as usize);
        assert!(!first.exists(), "the oldest made room");
        assert_eq!(left.last(), Some(&path(2)));
    }

    #[test]
    fn the_whole_grows_with_the_snapshots_up_to_a_bound_and_the_newest_always_stays() {
        // Of a snapshot, of each older segment; how many stay of forty.
        let cases = [
            (1 << 20, 4 << 20, 30),
            (16 << 20, 64 << 20, 3),
            (32 << 20, 128 << 20, 3),
            (256 << 20, 1 << 30, 0),
            (1 << 10, 0, 40),
        ];
        for (snapshot, each, stay) in cases {
            let dir = tempfile::tempdir().expect("a directory");
            (0..40).for_each(|number| drop(old(dir.path(), number, each)));
            let newest = old(dir.path(), 40, snapshot);
            make_room(dir.path(), snapshot).expect("made");
            let left = segments(dir.path()).expect("read");
            assert_eq!(left.len(), stay + 1, "{snapshot}");
            assert_eq!(left.last(), Some(&newest));
            let bytes: u64 = left.iter().map(|it| fs::metadata(it).expect("there").len()).sum();
            assert!(bytes + FACTS_PER_SNAPSHOT * snapshot <= (16 * snapshot).clamp(ROOM_BYTES, 1 << 30), "{bytes}");
        }
        let dir = tempfile::tempdir().expect("a directory");
        (0..=SEGMENTS_MAX).for_each(|number| drop(old(dir.path(), number, 0)));
        make_room(dir.path(), 0).expect("made");
        assert_eq!(segments(dir.path()).expect("read").len(), SEGMENTS_MAX);
    }
}
