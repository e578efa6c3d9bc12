//! Keeps what a stream said, so that it can be read at an offset like a file.
//!
//! Segments are unlinked files in the state directory: nobody else sees them and they are gone with the
//! process. When the disk is full a stream goes on in a smaller ring in memory; of an archive, which waits
//! on the disk anyway, the oldest part makes room for the newest. What falls out at the old end is counted
//! in a gap row.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use crate::domain::format;
use crate::domain::ids::SourceId;
use crate::domain::log::GapKind;
use crate::logstore::segment::Segment;
use crate::logstore::source::{GapMark, Source};

/// Bytes of one segment on disk.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Full segments on disk: 256 MiB hold an hour of a busy service and fit any state directory.
pub const MAX_SEGMENTS: usize = 16;
/// Segments that gaps cut short, for each full one: every segment holds an open file of the usual 1,024.
const SEGMENTS_PER_FULL: usize = 3;
/// Bytes of one segment in memory.
const MEMORY_SEGMENT_BYTES: u64 = 2 << 20;
/// Segments in memory when the disk is full: 16 MiB are no danger to a host in trouble.
const MAX_MEMORY_SEGMENTS: usize = 8;
/// Bytes taken from a stream in one go.
const READ_BYTES: usize = 64 * 1024;
/// Bytes of one segment of an archive, fewer but larger files than those of a stream.
const ARCHIVE_SEGMENT_BYTES: u64 = 64 << 20;
/// Segments of an archive: 4 GiB are a day's log of a busy service, unpacked.
const MAX_ARCHIVE_SEGMENTS: usize = 64;
/// Bytes that all archives of a process may take together.
const MAX_ARCHIVES_BYTES: u64 = 16 << 30;
/// Bytes that archives leave free on the disk, for those who have to write there.
const MIN_FREE_BYTES: u64 = 1 << 30;

/// Bounds of a spool; tests use small ones.
#[derive(Debug, Clone, Copy)]
pub struct SpoolBounds {
    /// Bytes of a segment on disk.
    pub segment_bytes: u64,
    /// Segments on disk.
    pub max_segments: usize,
}

impl Default for SpoolBounds {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES, max_segments: MAX_SEGMENTS }
    }
}

impl SpoolBounds {
    /// The bounds of an archive.
    pub const ARCHIVE: Self = Self { segment_bytes: ARCHIVE_SEGMENT_BYTES, max_segments: MAX_ARCHIVE_SEGMENTS };
}

/// What the archives of a process have taken of the disk, together.
#[derive(Debug, Clone, Default)]
pub struct Room {
    taken_bytes: Arc<AtomicU64>,
}

/// Bytes taken of a [`Room`], given back when dropped.
#[derive(Debug)]
pub struct Lease {
    room: Room,
    bytes: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.room.taken_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl Room {
    /// Takes bytes of a directory's disk.
    ///
    /// # Errors
    /// When archives have enough already, or the disk has too little: at most half of what was free is taken.
    fn take(&self, directory: &Path, bytes: u64) -> io::Result<Lease> {
        let disk = rustix::fs::statvfs(directory).map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(error.kind(), format!("could not unpack into `{}`: {error}", directory.display()))
        })?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let taken = self.taken_bytes.fetch_add(bytes, Ordering::AcqRel);
        let lease = Lease { room: self.clone(), bytes };
        if taken + bytes > MAX_ARCHIVES_BYTES {
            let limit = format::bytes(MAX_ARCHIVES_BYTES);
            return Err(io::Error::other(format!("archives have taken {limit} of the disk, which is all they may")));
        }
        if free < bytes + MIN_FREE_BYTES.max(taken) {
            let (free, directory) = (format::bytes(free), directory.display());
            return Err(io::Error::other(format!("no room to unpack: `{directory}` has {free} left")));
        }
        Ok(lease)
    }
}

/// Where a spool goes when it can not have another segment on disk.
#[derive(Debug)]
enum Shortage {
    /// Into memory.
    Memory,
    /// Over its own oldest segments, and when there are none, no further, for the reason given then.
    Stop(Room, Option<String>),
}

/// Writes a stream into segments of a source.
#[derive(Debug)]
pub struct Spool {
    source: Arc<Source>,
    directory: PathBuf,
    bounds: SpoolBounds,
    on_shortage: Shortage,
    newest: Option<Newest>,
    /// What each segment holds, oldest first.
    held: VecDeque<Held>,
    dropped_lines: u64,
    inside_line: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// Line ends.
    lines: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Newest {
    segment: Arc<Segment>,
    /// `None` in memory.
    file: Option<File>,
    size_bytes: u64,
}

impl Spool {
    /// Makes an empty spool with its source; segments go to `directory`.
    pub fn new(id: SourceId, name: &str, origin: &str, directory: &Path, bounds: SpoolBounds) -> Self {
        let source = Arc::new(Source::of_stream(id, name, origin, bounds.max_segments * SEGMENTS_PER_FULL + 1));
        Self::onto(source, directory, bounds, Shortage::Memory)
    }

    /// Makes an empty spool for what an archive unpacks to, in place of a source's segments.
    pub fn of_archive(source: Arc<Source>, directory: &Path, bounds: SpoolBounds, room: &Room) -> Self {
        source.keep_segments(bounds.max_segments * SEGMENTS_PER_FULL + 1);
        Self::onto(source, directory, bounds, Shortage::Stop(room.clone(), None))
    }

    fn onto(source: Arc<Source>, directory: &Path, bounds: SpoolBounds, on_shortage: Shortage) -> Self {
        Self {
            source,
            directory: directory.to_path_buf(),
            bounds,
            on_shortage,
            newest: None,
            held: VecDeque::new(),
            dropped_lines: 0,
            inside_line: false,
        }
    }

    /// Why nothing more is kept, when that is so.
    pub fn shortage(&self) -> Option<&str> {
        match &self.on_shortage {
            Shortage::Memory => None,
            Shortage::Stop(_, why) => why.as_deref(),
        }
    }

    /// The source that reads from this spool.
    pub fn source(&self) -> Arc<Source> {
        self.source.clone()
    }

    /// Reads a stream to its end; `grew` is called after each piece and ends it with `false`.
    ///
    /// # Errors
    /// When the stream can not be read; what came before is kept.
    pub fn drain(&mut self, stream: &mut dyn Read, grew: &mut dyn FnMut(&Self) -> bool) -> io::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    self.append(&buffer[..count], crate::clock::now());
                    if !grew(self) {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Appends bytes. Never fails: without a disk a stream stays in memory, an archive ends ([`Spool::shortage`]).
    pub fn append(&mut self, mut bytes: &[u8], now: Timestamp) {
        let length = bytes.len() as u64;
        while !bytes.is_empty() {
            if self.newest.is_none() {
                self.start_segment(None, now);
            }
            if self.newest.is_none() {
                return;
            }
            let (count, is_full) = self.fitting(bytes);
            let (piece, rest) = bytes.split_at(count);
            self.put(piece, now);
            if is_full {
                self.newest = None;
            }
            bytes = rest;
        }
        self.source.arrived(now);
        self.source.came(length);
    }

    /// How many of the bytes go into the newest segment, and whether it is full then.
    ///
    /// A segment ends with a line, so that a record is not torn; for that it may grow to twice its size.
    fn fitting(&self, bytes: &[u8]) -> (usize, bool) {
        let Some(newest) = &self.newest else { return (bytes.len(), true) };
        let limit = match newest.file {
            Some(_) => self.bounds.segment_bytes,
            None => MEMORY_SEGMENT_BYTES.min(self.bounds.segment_bytes),
        };
        let left = |limit: u64| usize::try_from(limit.saturating_sub(newest.size_bytes)).unwrap_or(usize::MAX);
        let (soft, hard) = (left(limit), left(limit * 2).max(1));
        if bytes.len() < soft {
            return (bytes.len(), false);
        }
        let head = &bytes[..soft.min(bytes.len())];
        if let Some(at) = memchr::memrchr(b'\n', head) {
            return (at + 1, true);
        }
        match memchr::memchr(b'\n', &bytes[..hard.min(bytes.len())]) {
            Some(at) => (at + 1, true),
            None if bytes.len() < hard => (bytes.len(), false),
            None => (hard, true),
        }
    }

    /// Says that something is missing between what is here and what comes next.
    pub fn gap(&mut self, kind: GapKind, now: Timestamp) {
        self.start_segment(Some(GapMark { kind, at: now }), now);
    }

    /// True when the last line has no end yet.
    pub fn is_inside_line(&self) -> bool {
        self.inside_line
    }

    /// Starts the next segment on disk, or wherever a spool without one goes.
    fn start_segment(&mut self, gap: Option<GapMark>, now: Timestamp) {
        self.newest = None;
        loop {
            match (self.segment_on_disk(), &mut self.on_shortage) {
                (Ok((segment, file)), _) => return self.push(segment, Some(file), gap, now),
                (Err(_), Shortage::Memory) => return self.start_in_memory(gap, now),
                (Err(_), Shortage::Stop(..)) if self.held.len() > 1 => self.drop_oldest(now),
                (Err(error), Shortage::Stop(_, why)) => {
                    *why = Some(error.to_string());
                    return;
                }
            }
        }
    }

    fn start_in_memory(&mut self, gap: Option<GapMark>, now: Timestamp) {
        self.push(Segment::memory(self.source.next_number()), None, gap, now);
    }

    fn segment_on_disk(&self) -> io::Result<(Segment, File)> {
        let lease = match &self.on_shortage {
            Shortage::Memory => None,
            Shortage::Stop(room, _) => Some(room.take(&self.directory, self.bounds.segment_bytes)?),
        };
        let file = tempfile::tempfile_in(&self.directory)?;
        let segment = Segment::spooled(file.try_clone()?, self.source.next_number(), lease)?;
        Ok((segment, file))
    }

    fn push(&mut self, segment: Segment, file: Option<File>, gap: Option<GapMark>, now: Timestamp) {
        let (limit, segments) = if file.is_some() {
            (self.bounds.segment_bytes, self.bounds.max_segments)
        } else {
            (MEMORY_SEGMENT_BYTES.min(self.bounds.segment_bytes), MAX_MEMORY_SEGMENTS.min(self.bounds.max_segments))
        };
        // Room for a full segment. Those that a gap cut short count by what they hold, and by their number.
        let max_bytes = limit * (segments as u64 - 1).max(1);
        while self.held.len() > 1
            && (self.held.len() >= segments * SEGMENTS_PER_FULL
                || self.held.iter().map(|it| it.bytes).sum::<u64>() > max_bytes)
        {
            self.drop_oldest(now);
        }
        let segment = self.source.push(segment, gap);
        self.newest = Some(Newest { segment, file, size_bytes: 0 });
        self.held.push_back(Held::default());
    }

    fn drop_oldest(&mut self, now: Timestamp) {
        self.dropped_lines += self.held.pop_front().map_or(0, |it| it.lines);
        self.source.drop_oldest(GapMark { kind: GapKind::Dropped { lines: self.dropped_lines }, at: now });
    }

    fn put(&mut self, piece: &[u8], now: Timestamp) {
        let Some(newest) = &mut self.newest else { return };
        if let Some(file) = &mut newest.file
            && let Err(error) = file.write_all(piece)
        {
            match &mut self.on_shortage {
                Shortage::Memory => {
                    tracing::warn!("the spool of {} goes on in memory: {error}", self.source.id);
                    self.start_in_memory(None, now);
                    self.put(piece, now);
                }
                Shortage::Stop(_, why) => *why = Some(format!("no room to unpack: {error}")),
            }
            return;
        }
        newest.segment.append(piece, now);
        newest.size_bytes += piece.len() as u64;
        if let Some(held) = self.held.back_mut() {
            held.lines += memchr::memchr_iter(b'\n', piece).count() as u64;
            held.bytes += piece.len() as u64;
        }
        if let Some(last) = piece.last() {
            self.inside_line = *last != b'\n';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::HostId;

    fn spool(directory: &Path) -> Spool {
        let id = SourceId::new(&HostId::new("h"), "stdin");
        Spool::new(id, "stdin", "stdin", directory, SpoolBounds { segment_bytes: 64, max_segments: 3 })
    }

    fn text(source: &Arc<Source>) -> String {
        let snapshot = source.snapshot();
        let read = |it: &crate::logstore::source::Part| it.segment.read(0, it.size_bytes).unwrap();
        snapshot.parts.iter().map(|it| String::from_utf8(read(it)).unwrap()).collect()
    }

    fn check_that_every_line_is_there_or_counted(directory: &Path) {
        let mut spool = spool(directory);
        let lines: Vec<String> = (0..100).map(|it| format!("line {it}\n")).collect();
        for line in &lines {
            spool.append(line.as_bytes(), Timestamp::UNIX_EPOCH);
        }
        let source = spool.source();
        let kept = text(&source);
        let snapshot = source.snapshot();
        let Some(GapKind::Dropped { lines: dropped }) = snapshot.parts[0].gap.as_ref().map(|it| it.kind.clone()) else {
            panic!("no gap row");
        };
        assert_eq!(kept, lines[usize::try_from(dropped).unwrap()..].concat());
        assert!(snapshot.size_bytes() <= 3 * 2 * 64);
    }

    #[test]
    fn the_oldest_lines_fall_out_and_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        check_that_every_line_is_there_or_counted(directory.path());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "segments are visible to others");
    }

    #[test]
    fn without_a_disk_the_stream_stays_in_memory() {
        check_that_every_line_is_there_or_counted(Path::new("/nonexistent/spool"));
    }

    #[test]
    fn gaps_stand_between_the_lines_and_do_not_push_lines_out() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = spool(directory.path());
        for number in 0..6 {
            spool.append(format!("line {number}\n").as_bytes(), Timestamp::UNIX_EPOCH);
            spool.gap(GapKind::Failed(number.to_string()), Timestamp::UNIX_EPOCH);
        }
        let source = spool.source();
        assert_eq!(text(&source), (0..6).map(|it| format!("line {it}\n")).collect::<String>());
        let gaps: Vec<GapKind> = source.snapshot().parts.into_iter().filter_map(|it| Some(it.gap?.kind)).collect();
        assert_eq!(gaps, (0..6).map(|it| GapKind::Failed(it.to_string())).collect::<Vec<_>>());
        // However many there are, the number of open files has a bound, and what falls out is counted.
        for number in 6..100 {
            spool.append(format!("line {number}\n").as_bytes(), Timestamp::UNIX_EPOCH);
            spool.gap(GapKind::Failed(number.to_string()), Timestamp::UNIX_EPOCH);
        }
        let snapshot = source.snapshot();
        assert!(snapshot.parts.len() <= 3 * SEGMENTS_PER_FULL, "{}", snapshot.parts.len());
        let kept = text(&source).lines().count() as u64;
        assert_eq!(snapshot.parts[0].gap.as_ref().map(|it| &it.kind), Some(&GapKind::Dropped { lines: 100 - kept }));
    }

    #[test]
    fn a_line_longer_than_a_segment_is_kept_whole_across_segments() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = spool(directory.path());
        let line = "x".repeat(150);
        spool.append(line.as_bytes(), Timestamp::UNIX_EPOCH);
        assert_eq!(text(&spool.source()), line);
    }
}
