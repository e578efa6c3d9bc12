//! Keeps what a stream said, so that it can be read at an offset like a file.
//!
//! Segments are unlinked files in the state directory: nobody else sees them and they are gone with the
//! process. When the disk is full the stream goes on in a smaller ring in memory. What falls out at the
//! old end is counted in a gap row.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

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

/// Writes a stream into segments of a source.
#[derive(Debug)]
pub struct Spool {
    source: Arc<Source>,
    directory: PathBuf,
    bounds: SpoolBounds,
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
        let source = Arc::new(Source::with_segments(id, name, origin, bounds.max_segments * SEGMENTS_PER_FULL + 1));
        Self {
            source,
            directory: directory.to_path_buf(),
            bounds,
            newest: None,
            held: VecDeque::new(),
            dropped_lines: 0,
            inside_line: false,
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

    /// Appends bytes. Never fails: without a disk they stay in memory.
    pub fn append(&mut self, mut bytes: &[u8], now: Timestamp) {
        while !bytes.is_empty() {
            if self.newest.is_none() {
                self.start_segment(tempfile::tempfile_in(&self.directory).ok(), None, now);
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
        let gap = GapMark { kind, at: now };
        self.start_segment(tempfile::tempfile_in(&self.directory).ok(), Some(gap), now);
    }

    /// True when the last line has no end yet.
    pub fn is_inside_line(&self) -> bool {
        self.inside_line
    }

    fn start_segment(&mut self, file: Option<File>, gap: Option<GapMark>, now: Timestamp) {
        let number = self.source.next_number();
        let on_disk = file.and_then(|file| {
            let reader = file.try_clone().ok()?;
            Some((Segment::file(reader, number).ok()?, file))
        });
        let (limit, segments) = if on_disk.is_some() {
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
            self.dropped_lines += self.held.pop_front().map_or(0, |it| it.lines);
            self.source.drop_oldest(GapMark { kind: GapKind::Dropped { lines: self.dropped_lines }, at: now });
        }
        let (segment, file) = match on_disk {
            Some((segment, file)) => (segment, Some(file)),
            None => (Segment::memory(number), None),
        };
        let segment = self.source.push(segment, gap);
        self.newest = Some(Newest { segment, file, size_bytes: 0 });
        self.held.push_back(Held::default());
    }

    fn put(&mut self, piece: &[u8], now: Timestamp) {
        let Some(newest) = &mut self.newest else { return };
        if let Some(file) = &mut newest.file
            && let Err(error) = file.write_all(piece)
        {
            tracing::warn!("the spool of {} goes on in memory: {error}", self.source.id);
            self.start_segment(None, None, now);
            return self.put(piece, now);
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
    fn a_line_longer_than_a_segment_is_kept_whole_across_segments() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = spool(directory.path());
        let line = "x".repeat(150);
        spool.append(line.as_bytes(), Timestamp::UNIX_EPOCH);
        assert_eq!(text(&spool.source()), line);
    }
}
