//! Keeps what a stream said, so that it can be read at an offset like a file.
//!
//! Segments are unlinked files in the state directory: nobody else sees them and they are gone with the
//! process. When the disk is full they go to a smaller ring in memory, packed; an archive looks for another
//! disk before. Where somebody takes everything that comes, nothing falls out before it was taken: who brings
//! it waits. Else what falls out at the old end is counted in a gap row.

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
/// Bytes of text in one segment in memory.
const MEMORY_SEGMENT_BYTES: u64 = 4 << 20;
/// Memory of a stream when the disk is full: 16 MiB are no danger to a host in trouble, and hold 100 MiB of a log.
const MAX_MEMORY_BYTES: u64 = 16 << 20;
/// Memory that all archives of a process may take together when no disk has room.
const MAX_ARCHIVES_MEMORY_BYTES: u64 = 64 << 20;
/// Bytes that a stream may be ahead of who must see them all, also where the disk holds more.
const MAX_AHEAD_BYTES: u64 = 64 << 20;
/// Bytes of the disk that are reserved in one go, before they are written.
const RESERVE_BYTES: u64 = 1 << 20;
/// Bytes kept reserved behind what is written: a line that has begun is ended there when the disk is full.
const LINE_RESERVE_BYTES: u64 = 256 << 10;
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

/// What the archives of a process have taken of disks and memory, together.
#[derive(Debug, Clone, Default)]
pub struct Room {
    disk_bytes: Arc<AtomicU64>,
    memory_bytes: Arc<AtomicU64>,
    /// Where to unpack when the first directory has no room.
    elsewhere: Vec<PathBuf>,
}

/// Bytes taken of a [`Room`], given back when dropped.
#[derive(Debug)]
pub struct Lease {
    taken_bytes: Arc<AtomicU64>,
    bytes: AtomicU64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.taken_bytes.fetch_sub(self.bytes.load(Ordering::Acquire), Ordering::AcqRel);
    }
}

impl Lease {
    fn of(taken_bytes: &Arc<AtomicU64>, bytes: u64) -> Self {
        taken_bytes.fetch_add(bytes, Ordering::AcqRel);
        Self { taken_bytes: taken_bytes.clone(), bytes: AtomicU64::new(bytes) }
    }

    /// Says how many bytes it is now.
    pub fn resize(&self, bytes: u64) {
        let before = self.bytes.swap(bytes, Ordering::AcqRel);
        self.taken_bytes.fetch_add(bytes.wrapping_sub(before), Ordering::AcqRel);
    }
}

impl Room {
    /// Room that is also looked for in other directories. What they keep in memory is left out: that is scarce as well.
    pub fn with_elsewhere(directories: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { elsewhere: directories.into_iter().filter(|it| !is_in_memory(it)).collect(), ..Self::default() }
    }

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
        let taken = self.disk_bytes.load(Ordering::Acquire);
        let lease = Lease::of(&self.disk_bytes, bytes);
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

fn is_in_memory(directory: &Path) -> bool {
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58f6;
    let kind = |it: rustix::fs::StatFs| u32::try_from(it.f_type & 0xffff_ffff).unwrap_or(0);
    rustix::fs::statfs(directory).is_ok_and(|it| matches!(kind(it), TMPFS | RAMFS))
}

/// What a spool keeps.
#[derive(Debug)]
enum Kind {
    /// A stream, which has memory of its own when there is no disk.
    Stream,
    /// An archive, which shares disk and memory with others; it goes no further when they have all, for the reason
    /// given then.
    Archive(Room, Option<String>),
}

/// Called before a spool waits until something is taken, so that it is.
pub type Tell = Box<dyn Fn() + Send>;

/// Writes a stream into segments of a source.
pub struct Spool {
    source: Arc<Source>,
    directory: PathBuf,
    bounds: SpoolBounds,
    kind: Kind,
    tell: Tell,
    newest: Option<Newest>,
    /// What each segment holds, oldest first.
    held: VecDeque<Held>,
    /// Bytes of the segments that fell out.
    gone_bytes: u64,
    dropped_lines: u64,
    inside_line: bool,
    is_shortage_told: bool,
}

#[derive(Debug)]
struct Held {
    segment: Arc<Segment>,
    is_on_disk: bool,
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
    /// Bytes of the file that the disk can not refuse any more; all of them where a file system does not say.
    reserved_bytes: u64,
    /// The disk has no more than that: the segment ends with the line.
    is_short: bool,
}

impl Newest {
    /// Sees that the disk has room for so many bytes more, and for the end of the line behind them.
    fn reserve(&mut self, bytes: u64) {
        let Some(file) = self.file.as_ref().filter(|_| !self.is_short) else { return };
        let wanted = self.size_bytes + bytes + LINE_RESERVE_BYTES;
        if wanted <= self.reserved_bytes {
            return;
        }
        match reserve(file, wanted + RESERVE_BYTES) {
            Ok(true) => self.reserved_bytes = wanted + RESERVE_BYTES,
            Ok(false) => self.reserved_bytes = u64::MAX,
            // Less is reserved than was hoped for, but all that has been written so far.
            Err(_) => self.is_short = true,
        }
    }
}

/// Reserves the first bytes of a file on its disk. Returns false when the file system does not do such things.
fn reserve(file: &File, bytes: u64) -> io::Result<bool> {
    use rustix::fs::FallocateFlags;
    use rustix::io::Errno;
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes) {
        Ok(()) => Ok(true),
        Err(error @ (Errno::NOSPC | Errno::DQUOT)) => Err(error.into()),
        Err(_) => Ok(false),
    }
}

impl Spool {
    /// Makes an empty spool with its source; segments go to `directory`.
    pub fn new(id: SourceId, name: &str, origin: &str, directory: &Path, bounds: SpoolBounds) -> Self {
        let source = Arc::new(Source::of_stream(id, name, origin, bounds.max_segments * SEGMENTS_PER_FULL + 1));
        Self::onto(source, directory, bounds, Kind::Stream)
    }

    /// Makes an empty spool for what an archive unpacks to, in place of a source's segments.
    pub fn of_archive(source: Arc<Source>, directory: &Path, bounds: SpoolBounds, room: &Room) -> Self {
        source.keep_segments(bounds.max_segments * SEGMENTS_PER_FULL + 1);
        Self::onto(source, directory, bounds, Kind::Archive(room.clone(), None))
    }

    fn onto(source: Arc<Source>, directory: &Path, bounds: SpoolBounds, kind: Kind) -> Self {
        Self {
            source,
            directory: directory.to_path_buf(),
            bounds,
            kind,
            tell: Box::new(|| ()),
            newest: None,
            held: VecDeque::new(),
            gone_bytes: 0,
            dropped_lines: 0,
            inside_line: false,
            is_shortage_told: false,
        }
    }

    /// Calls this before it waits until something is taken.
    #[must_use]
    pub fn telling(mut self, tell: Tell) -> Self {
        self.tell = tell;
        self
    }

    /// Why nothing more is kept, when that is so.
    pub fn shortage(&self) -> Option<&str> {
        match &self.kind {
            Kind::Stream => None,
            Kind::Archive(_, why) => why.as_deref(),
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

    /// Appends bytes. Never fails: without a disk they stay in memory, and an archive ends where there is none
    /// ([`Spool::shortage`]). Waits while whoever must see everything is far behind.
    pub fn append(&mut self, mut bytes: &[u8], now: Timestamp) {
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
        if matches!(self.kind, Kind::Stream)
            && let Some(behind) = self.source.bytes_came().checked_sub(MAX_AHEAD_BYTES)
        {
            self.source.wait_until_taken(behind, &*self.tell);
        }
    }

    /// How many of the bytes go into the newest segment, and whether it is full then.
    ///
    /// A segment ends with a line, so that a record is not torn; for that it may grow to twice its size.
    fn fitting(&mut self, bytes: &[u8]) -> (usize, bool) {
        let Some(newest) = &mut self.newest else { return (bytes.len(), true) };
        let limit = match newest.file {
            Some(_) => self.bounds.segment_bytes,
            None => MEMORY_SEGMENT_BYTES.min(self.bounds.segment_bytes),
        };
        newest.reserve(bytes.len() as u64);
        let limits = match newest.is_short {
            true => (newest.reserved_bytes.saturating_sub(LINE_RESERVE_BYTES), newest.reserved_bytes),
            false => (limit, limit * 2),
        };
        let left = |limit: u64| usize::try_from(limit.saturating_sub(newest.size_bytes)).unwrap_or(usize::MAX);
        let (soft, hard) = (left(limits.0), left(limits.1).max(1));
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

    /// Says that what is appended next begins a record, whatever it looks like, and ends the line before it.
    pub fn begin_record(&mut self, now: Timestamp) {
        if self.inside_line {
            self.append(b"\n", now);
        }
        if self.newest.as_ref().is_some_and(|it| !it.segment.begin_record()) {
            self.newest = None;
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

    /// Starts the next segment on disk, or in memory where there is none.
    fn start_segment(&mut self, gap: Option<GapMark>, now: Timestamp) {
        self.newest = None;
        let error = loop {
            match self.segment_on_disk() {
                Ok((segment, file)) => return self.push(segment, Some(file), gap, now),
                // The disk's own ring holds more than memory.
                Err(_) if self.is_archive() && self.held.iter().filter(|it| it.is_on_disk).count() > 1 => {
                    self.drop_oldest(now);
                }
                Err(error) => break error,
            }
        };
        self.start_in_memory(&error, gap, now);
    }

    fn start_in_memory(&mut self, error: &io::Error, gap: Option<GapMark>, now: Timestamp) {
        self.newest = None;
        let limit = match self.kind {
            Kind::Stream => MAX_MEMORY_BYTES,
            Kind::Archive(..) => MAX_ARCHIVES_MEMORY_BYTES,
        };
        // Room for the segment that is begun, in the small bounds of tests as well.
        let limit = limit.min(self.bounds.segment_bytes * (self.bounds.max_segments as u64 - 1).max(1));
        while self.held.len() > 1 && self.memory_taken() >= limit {
            self.drop_oldest(now);
        }
        let over = self.memory_taken() >= limit;
        let lease = match &mut self.kind {
            Kind::Archive(_, why) if over && self.held.iter().all(|it| it.segment.memory_bytes() == 0) => {
                *why = Some(error.to_string());
                return;
            }
            Kind::Archive(room, _) => Some(Lease::of(&room.memory_bytes, 0)),
            Kind::Stream => None,
        };
        let gap = gap.or_else(|| self.shortage_told(error, now));
        self.push(Segment::leased(self.source.next_number(), lease), None, gap, now);
    }

    /// Memory that counts against the limit: its own, or that of all archives.
    fn memory_taken(&self) -> u64 {
        match &self.kind {
            Kind::Stream => self.held.iter().map(|it| it.segment.memory_bytes()).sum(),
            Kind::Archive(room, _) => room.memory_bytes.load(Ordering::Acquire),
        }
    }

    /// Says once that there is no disk.
    fn shortage_told(&mut self, error: &io::Error, now: Timestamp) -> Option<GapMark> {
        if std::mem::replace(&mut self.is_shortage_told, true) {
            return None;
        }
        tracing::warn!("the spool of {} goes on in memory: {error}", self.source.id);
        let kind = GapKind::Failed(format!("kept in memory, as far as that goes: {error}"));
        Some(GapMark { kind, at: now })
    }

    fn is_archive(&self) -> bool {
        matches!(self.kind, Kind::Archive(..))
    }

    fn segment_on_disk(&self) -> io::Result<(Segment, File)> {
        let at = |directory: &Path, lease: Option<Lease>| {
            let file = tempfile::tempfile_in(directory)?;
            reserve(&file, self.first_reserve())?;
            let segment = Segment::spooled(file.try_clone()?, self.source.next_number(), lease)?;
            Ok((segment, file))
        };
        let Kind::Archive(room, _) = &self.kind else { return at(&self.directory, None) };
        let take = |directory: &Path| {
            let lease = room.take(directory, self.bounds.segment_bytes)?;
            at(directory, Some(lease))
        };
        let first = take(&self.directory);
        // Why it is not elsewhere either is the same in most cases, and the first directory is the one that was chosen.
        first.or_else(|error| room.elsewhere.iter().find_map(|it| take(it).ok()).ok_or(error))
    }

    fn push(&mut self, segment: Segment, file: Option<File>, gap: Option<GapMark>, now: Timestamp) {
        if file.is_some() {
            // Room for a full segment. Those that a gap cut short count by what they hold, and by their number.
            let max_bytes = self.bounds.segment_bytes * (self.bounds.max_segments as u64 - 1).max(1);
            while self.held.len() > 1 && self.disk_taken() > max_bytes {
                self.drop_oldest(now);
            }
        }
        while self.held.len() > 1 && self.held.len() >= self.bounds.max_segments * SEGMENTS_PER_FULL {
            self.drop_oldest(now);
        }
        let segment = self.source.push(segment, gap);
        self.held.push_back(Held { segment: segment.clone(), is_on_disk: file.is_some(), lines: 0, bytes: 0 });
        let reserved_bytes = self.first_reserve();
        self.newest = Some(Newest { segment, file, size_bytes: 0, reserved_bytes, is_short: false });
    }

    /// Bytes that a segment on disk has at least.
    fn first_reserve(&self) -> u64 {
        RESERVE_BYTES.min(self.bounds.segment_bytes)
    }

    fn disk_taken(&self) -> u64 {
        self.held.iter().filter(|it| it.is_on_disk).map(|it| it.bytes).sum()
    }

    /// Lets the oldest segment go, when whoever must see everything has seen it. Seen by nobody, it is counted.
    fn drop_oldest(&mut self, now: Timestamp) {
        let Some(oldest) = self.held.front() else { return };
        let end = self.gone_bytes + oldest.bytes;
        if !self.source.wait_until_taken(end, &*self.tell) {
            self.dropped_lines += oldest.lines;
        }
        self.gone_bytes = end;
        self.held.pop_front();
        let lines = self.dropped_lines;
        self.source.drop_oldest((lines > 0).then_some(GapMark { kind: GapKind::Dropped { lines }, at: now }));
    }

    fn put(&mut self, piece: &[u8], now: Timestamp) {
        let Some(newest) = &mut self.newest else { return };
        if let Some(file) = &mut newest.file
            && let Err(error) = file.write_all(piece)
        {
            self.start_in_memory(&error, None, now);
            return self.put(piece, now);
        }
        newest.segment.append(piece, now);
        newest.size_bytes += piece.len() as u64;
        if let Some(held) = self.held.back_mut() {
            held.lines += memchr::memchr_iter(b'\n', piece).count() as u64;
            held.bytes += piece.len() as u64;
        }
        self.source.came(piece.len() as u64);
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

    #[test]
    fn nothing_falls_out_before_it_was_taken_with_and_without_a_disk() {
        let disk = tempfile::tempdir().unwrap();
        for directory in [disk.path(), Path::new("/nonexistent")] {
            let (told_tx, told_rx) = std::sync::mpsc::sync_channel(1000);
            let mut spool = spool(directory).telling(Box::new(move || {
                let _ = told_tx.try_send(());
            }));
            let source = spool.source();
            source.begin_taking();
            let lines: Vec<String> = (0..500).map(|it| format!("line {it}\n")).collect();
            let all = lines.concat();
            let brings = std::thread::spawn(move || {
                lines.iter().for_each(|it| spool.append(it.as_bytes(), Timestamp::UNIX_EPOCH))
            });
            let mut taken = String::new();
            while taken.len() < all.len() {
                // It waits for room, or has brought everything and is gone with its end of the channel.
                let _ = told_rx.recv_timeout(std::time::Duration::from_secs(60));
                let (came, kept) = (source.bytes_came(), text(&source));
                let new = usize::try_from(came).unwrap() - taken.len();
                taken.push_str(&kept[kept.len() - new..]);
                source.take_up_to(came);
            }
            brings.join().unwrap();
            assert_eq!(taken, all);
            let gaps: Vec<GapKind> = source.snapshot().parts.into_iter().filter_map(|it| Some(it.gap?.kind)).collect();
            assert!(!gaps.iter().any(|it| matches!(it, GapKind::Dropped { .. })), "{gaps:?}");
        }
    }

    #[test]
    fn an_archive_for_which_others_left_neither_disk_nor_memory_ends_in_words() {
        let source = Arc::new(Source::new(SourceId::new(&HostId::new("h"), "a"), "a", "a"));
        let room = Room::default();
        let others = Lease::of(&room.memory_bytes, MAX_ARCHIVES_MEMORY_BYTES);
        let mut spool = Spool::of_archive(source.clone(), Path::new("/nonexistent"), SpoolBounds::ARCHIVE, &room);
        spool.append(b"one\n", Timestamp::UNIX_EPOCH);
        assert!(spool.shortage().is_some_and(|it| it.contains("/nonexistent")));
        assert_eq!(source.size_bytes(), 0);
        drop(others);
        assert_eq!(room.memory_bytes.load(Ordering::Acquire), 0);
    }

    #[test]
    fn an_archive_goes_where_there_is_room() {
        let elsewhere = tempfile::tempdir().unwrap();
        let source = Arc::new(Source::new(SourceId::new(&HostId::new("h"), "a"), "a", "a"));
        let room = Room { elsewhere: vec![elsewhere.path().to_path_buf()], ..Room::default() };
        let bounds = SpoolBounds { segment_bytes: 64, max_segments: 3 };
        let mut spool = Spool::of_archive(source.clone(), Path::new("/nonexistent"), bounds, &room);
        spool.append(b"one\n", Timestamp::UNIX_EPOCH);
        assert_eq!((spool.shortage(), text(&source).as_str()), (None, "one\n"));
        assert!(source.snapshot().parts[0].segment.inode != 0, "not on disk");
        drop((spool, source));
        assert_eq!(room.disk_bytes.load(Ordering::Acquire), 0);
    }

    #[test]
    fn an_archive_that_does_not_fit_is_met_whole_as_it_comes() {
        use crate::domain::query::matcher::Matcher;
        use crate::logstore::engine::Engine;
        use crate::logstore::stream::{Hold, Met, Stream};
        let engine = Arc::new(Engine::default());
        engine.begin_taking();
        let source = Arc::new(Source::new(SourceId::new(&HostId::new("h"), "a"), "a", "a"));
        engine.add(source.clone());
        let (bounds, told) = (SpoolBounds { segment_bytes: 64, max_segments: 3 }, engine.clone());
        let room = Room::default();
        let mut spool = Spool::of_archive(source.clone(), Path::new("/nonexistent"), bounds, &room)
            .telling(Box::new(move || told.grew()));
        let lines: Vec<String> = (0..200).map(|it| format!("line {it}\n")).collect();
        let (all, unfinished, ended) = (lines.concat(), source.begin(), engine.clone());
        let brings = std::thread::spawn(move || {
            lines.iter().for_each(|it| spool.append(it.as_bytes(), Timestamp::UNIX_EPOCH));
            drop((unfinished, spool));
            ended.grew();
        });
        let mut stream = Stream::new(&engine, Matcher::default(), 0);
        stream.let_go();
        let mut met = Vec::new();
        loop {
            let (seen, is_last) = (engine.changes(), engine.is_settled());
            stream
                .advance(Hold::Line, &mut |it: &Met<'_>| {
                    met.extend_from_slice(it.bytes());
                    Ok(())
                })
                .unwrap();
            if is_last {
                break;
            }
            assert!(engine.wait_for_change(seen, std::time::Duration::from_secs(60)), "nobody brings more");
        }
        brings.join().unwrap();
        assert_eq!(String::from_utf8(met).unwrap(), all);
        assert_eq!(source.parts().len(), 1, "what was taken is let go");
    }
}
