//! One stretch of bytes that stood under a source's name: a file until it was rotated, a part of a spool.

mod bytes;
mod marks;
mod prints;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::logstore::archive::Packing;
use crate::logstore::format::Reading;
use crate::logstore::packed::PackedText;
use crate::logstore::segment::bytes::{bytes_at, copy_from, is_kernel_file, modified_ms, read_full, read_kernel_file};
use crate::logstore::segment::prints::{Prints, Touched};
use crate::logstore::spool::Lease;
use crate::logstore::transcode::{SIGN_BYTES, UTF8_MARK, Utf16, Wide, utf16_of};

/// Bytes of a file's beginning that tell it from another with the same inode.
pub const FINGERPRINT_BYTES: usize = 256;
/// A file written so recently may be written again without another time: ticks are 1 to 10 ms, FAT has 2 s.
const FRESH_MS: i64 = 2_000;
/// Bytes of UTF-16 that are kept as UTF-8 in the state directory: as much as one archive may take.
pub const MAX_UTF16_BYTES: u64 = 1 << 30;
/// Bytes of UTF-16 turned into UTF-8 in one look (30 ms): the other files are looked at in between.
const UTF16_BYTES_PER_LOOK: u64 = 8 << 20;
/// Sizes that such files pretend to have.
const KERNEL_FILE_SIZES: [u64; 2] = [0, 4096];
/// Bytes of a file's beginning in which a line end is looked for, to tell which one it has.
const CR_BYTES: u64 = 64 << 10;
/// Of a file's first bytes, one in so many may be a control character before it counts as binary.
const CONTROL_SHARE: usize = 10;
/// So many it must have for that: a line may hold one or two.
const MIN_CONTROLS: usize = 8;
/// Bytes read in one go where that is not the reader's choice.
const PIECE_BYTES: usize = 64 * 1024;

/// One stretch of bytes, readable at an offset.
#[derive(Debug)]
pub struct Segment {
    /// Unique in this process; caches are keyed by it.
    pub uid: u64,
    /// Counts the segments of a source, oldest first.
    pub number: u64,
    /// Device of the file.
    pub device: u64,
    /// Inode of the file.
    pub inode: u64,
    /// How its bytes are read; set by the source that takes it.
    pub reading: Arc<Reading>,
    bytes: Bytes,
    /// Bytes that can be read.
    size_bytes: AtomicU64,
    /// Bytes of the file when it was last looked at: more than can be read when they are no text.
    file_bytes: AtomicU64,
    modified_ms: AtomicI64,
    read_to: AtomicU64,
    /// First record start at or after a page's boundary, where that can not change any more.
    boundaries: Mutex<HashMap<u64, u64>>,
    /// Stretches without a line end, met where lines are very long.
    unbroken: Mutex<Vec<Range<u64>>>,
    /// Where a record begins whatever its line looks like, ascending.
    breaks: Mutex<Vec<u64>>,
    /// See [`Segment::remains_from`].
    remains_from: Option<u64>,
    prints: Mutex<Prints>,
    /// Bytes that were read, for tests.
    #[cfg(test)]
    pub(crate) bytes_read: AtomicU64,
    /// Room that is given back with the segment.
    lease: Option<Lease>,
}

#[derive(Debug)]
enum Bytes {
    /// A file; its first `skip` bytes are a mark. With `cr` its lines end with a CR alone, which is read as LF.
    File {
        file: File,
        skip: u64,
        cr: bool,
    },
    Utf16(Box<Transcoded>),
    /// What a file of the kernel said when it was opened. Held open, it keeps its inode.
    Kernel {
        _file: File,
        text: Vec<u8>,
    },
    Memory(Mutex<PackedText>),
}

/// A file in UTF-16 with its text in an unlinked file.
#[derive(Debug)]
struct Transcoded {
    file: File,
    text: File,
    /// Bytes at the beginning that were passed over, because there are too many.
    skipped_bytes: u64,
    state: Mutex<TranscodedState>,
}

#[derive(Debug)]
struct TranscodedState {
    utf16: Utf16,
    done_bytes: u64,
}

/// What a look at a file says about the bytes that were known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing new.
    Same,
    /// More bytes behind the known ones.
    Grew,
    /// The known bytes are gone; this many of them were never read.
    Truncated {
        /// Known, never read.
        unread_bytes: u64,
    },
    /// The first bytes have come, and they say that the file must be read in another way.
    Recast,
}

static NEXT_UID: AtomicU64 = AtomicU64::new(1);

impl Segment {
    /// Takes an open file. What its text is kept in, when that is not the file, goes to `directory`.
    ///
    /// # Errors
    /// When its metadata or its beginning can not be read, or there is no room for its text.
    pub fn file_in(file: File, number: u64, directory: &Path) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let size = metadata.size();
        let prints = Prints::of(&file, size)?;
        let skip = if prints.beginning.starts_with(UTF8_MARK) { UTF8_MARK.len() as u64 } else { 0 };
        let bytes = match utf16_of(&prints.beginning) {
            Some(wide) => Bytes::Utf16(Box::new(Transcoded::new(file, size, wide, directory)?)),
            None if KERNEL_FILE_SIZES.contains(&size) && is_kernel_file(&file) => {
                let text = read_kernel_file(&file)?;
                Bytes::Kernel { _file: file, text }
            }
            None => {
                let cr = ends_lines_with_cr(&file, &prints.beginning, size)?;
                Bytes::File { file, skip, cr }
            }
        };
        let text_bytes = match &bytes {
            Bytes::File { .. } => size - skip,
            Bytes::Utf16(_) => 0,
            Bytes::Kernel { text, .. } => text.len() as u64,
            Bytes::Memory(_) => 0,
        };
        let mut segment = Self::new(number, metadata.dev(), metadata.ino(), bytes);
        segment.size_bytes = AtomicU64::new(text_bytes);
        segment.file_bytes = AtomicU64::new(size);
        segment.modified_ms = AtomicI64::new(modified_ms(&metadata));
        segment.prints = Mutex::new(prints);
        segment.transcode()?;
        Ok(segment)
    }

    /// Takes an open file, as [`Segment::file_in`] does with the system's directory for such things.
    ///
    /// # Errors
    /// As there.
    pub fn file(file: File, number: u64) -> io::Result<Self> {
        Self::file_in(file, number, &std::env::temp_dir())
    }

    /// Takes an unlinked file of a spool. `lease` goes with the segment.
    ///
    /// # Errors
    /// When its metadata can not be read.
    pub fn spooled(file: File, number: u64, lease: Option<Lease>) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let mut segment = Self::new(number, metadata.dev(), metadata.ino(), Bytes::File { file, skip: 0, cr: false });
        segment.lease = lease;
        Ok(segment)
    }

    /// Makes an empty segment in memory.
    pub fn memory(number: u64) -> Self {
        Self::new(number, 0, 0, Bytes::Memory(Mutex::default()))
    }

    /// Makes an empty segment in memory; `lease` goes with it and says how much it takes.
    pub fn leased(number: u64, lease: Option<Lease>) -> Self {
        Self { lease, ..Self::memory(number) }
    }

    /// Makes a segment in memory of what is left of another one, from an offset there on.
    pub fn remains_of(other: &Self, from: u64, bytes: &[u8]) -> Self {
        let mut text = PackedText::default();
        text.append(bytes);
        let size_bytes = bytes.len() as u64;
        Self {
            size_bytes: AtomicU64::new(size_bytes),
            read_to: AtomicU64::new(size_bytes),
            modified_ms: AtomicI64::new(other.modified_ms.load(Ordering::Acquire)),
            remains_from: Some(from),
            ..Self::new(other.number, other.device, other.inode, Bytes::Memory(Mutex::new(text)))
        }
    }

    /// Of what is left of a file that was emptied: the offset in it where that began.
    pub fn remains_from(&self) -> Option<u64> {
        self.remains_from
    }

    /// True when it holds a file open.
    pub fn is_file(&self) -> bool {
        self.inode != 0 && self.remains_from.is_none()
    }

    /// True when its file had no bytes at the last look.
    pub fn is_blank(&self) -> bool {
        self.file_bytes.load(Ordering::Acquire) == 0 && self.its_file().is_some()
    }

    fn new(number: u64, device: u64, inode: u64, bytes: Bytes) -> Self {
        Self {
            uid: NEXT_UID.fetch_add(1, Ordering::Relaxed),
            number,
            device,
            inode,
            reading: Arc::default(),
            bytes,
            size_bytes: AtomicU64::new(0),
            file_bytes: AtomicU64::new(0),
            modified_ms: AtomicI64::new(0),
            read_to: AtomicU64::new(0),
            boundaries: Mutex::default(),
            unbroken: Mutex::default(),
            breaks: Mutex::default(),
            remains_from: None,
            prints: Mutex::default(),
            #[cfg(test)]
            bytes_read: AtomicU64::new(0),
            lease: None,
        }
    }

    /// Stands in for another segment whose bytes it has: what is known of those stays true.
    #[must_use]
    pub fn in_place_of(mut self, other: &Self) -> Self {
        self.uid = other.uid;
        self.number = other.number;
        self.read_to = AtomicU64::new(other.read_to.load(Ordering::Acquire));
        self
    }

    /// Bytes known to be readable.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Acquire)
    }

    /// Memory that its text takes; nothing of what is on disk.
    pub fn memory_bytes(&self) -> u64 {
        match &self.bytes {
            Bytes::Memory(text) => lock(text).memory_bytes(),
            Bytes::File { .. } | Bytes::Utf16(_) | Bytes::Kernel { .. } => 0,
        }
    }

    /// When it was last written, as far as is known.
    pub fn modified(&self) -> Timestamp {
        Timestamp::from_millisecond(self.modified_ms.load(Ordering::Acquire)).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// What it is packed with, when it is an archive.
    pub fn packing(&self) -> Option<Packing> {
        Packing::of(&lock(&self.prints).beginning)
    }

    /// True when its first bytes are no text. Zeros at the very beginning are a hole that a writer left.
    pub fn is_binary(&self) -> bool {
        if !matches!(self.bytes, Bytes::File { .. }) {
            return false;
        }
        let prints = lock(&self.prints);
        let start = prints.beginning.iter().position(|it| *it != 0).unwrap_or(prints.beginning.len());
        let head = &prints.beginning[start..];
        let is_control = |it: &&u8| **it < 0x20 && !matches!(**it, b'\t' | b'\n' | b'\r' | 0x08 | 0x0c | 0x1b);
        let count = head.iter().filter(is_control).count();
        count >= MIN_CONTROLS && count * CONTROL_SHARE > head.len()
    }

    /// Bytes at its beginning that are left out, because there is no room for their text.
    pub fn skipped_bytes(&self) -> u64 {
        match &self.bytes {
            Bytes::Utf16(it) => it.skipped_bytes,
            Bytes::File { .. } | Bytes::Kernel { .. } | Bytes::Memory(_) => 0,
        }
    }

    /// True when its file has more text than was made readable so far: look again at once.
    pub fn is_behind(&self) -> bool {
        match &self.bytes {
            Bytes::Utf16(it) => lock(&it.state).done_bytes < self.file_bytes.load(Ordering::Acquire),
            Bytes::File { .. } | Bytes::Kernel { .. } | Bytes::Memory(_) => false,
        }
    }

    /// Its file.
    fn its_file(&self) -> Option<&File> {
        match &self.bytes {
            Bytes::File { file, .. } => Some(file),
            Bytes::Utf16(it) => Some(&it.file),
            Bytes::Kernel { .. } | Bytes::Memory(_) => None,
        }
    }

    /// Another handle of its file.
    ///
    /// # Errors
    /// When there is none left, or it is in memory.
    pub fn reopened(&self) -> io::Result<File> {
        self.its_file().ok_or(io::ErrorKind::Unsupported)?.try_clone()
    }

    /// True when its file was deleted and only this process keeps it on disk.
    pub fn is_deleted(&self) -> bool {
        self.its_file().is_some_and(|file| file.metadata().is_ok_and(|it| it.nlink() == 0))
    }

    /// Where its file is now, after renames. `None` when it was deleted or the system does not tell.
    pub fn path_now(&self) -> Option<PathBuf> {
        let file = self.its_file()?;
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
        fs::metadata(&path).is_ok_and(|it| it.ino() == self.inode && it.dev() == self.device).then_some(path)
    }

    /// True when bytes are the beginning of its file.
    pub fn begins_as(&self, bytes: &[u8]) -> bool {
        let prints = lock(&self.prints);
        !prints.beginning.is_empty() && bytes.starts_with(&prints.beginning)
    }

    /// True when a file begins with the bytes of this one and has all of them: a copy, made before this one was
    /// emptied.
    pub fn is_copied_in(&self, copy: &File) -> bool {
        let prints = lock(&self.prints);
        let known = self.file_bytes.load(Ordering::Acquire);
        known > 0 && copy.metadata().is_ok_and(|it| it.size() >= known) && prints.hold(copy, known).unwrap_or(false)
    }

    /// True when a file begins as this one did.
    pub fn begins_in(&self, file: &File) -> bool {
        bytes_at(file, 0, FINGERPRINT_BYTES as u64).is_ok_and(|it| self.begins_as(&it))
    }

    /// True when its file has all bytes of another one at its beginning: a copy, made before this one is emptied.
    pub fn is_being_copied_to(&self, copy: &File) -> bool {
        let (Some(file), Ok(copied)) = (self.its_file(), copy.metadata()) else { return false };
        let size = copied.size();
        size > 0
            && file.metadata().is_ok_and(|it| it.size() >= size)
            && Prints::of(copy, size).is_ok_and(|it| it.hold(file, size).unwrap_or(false))
    }

    /// Looks at the file again.
    ///
    /// # Errors
    /// When the file can not be asked any more (a network mount that went away).
    pub fn refresh(&self) -> io::Result<Change> {
        let Some(file) = self.its_file() else { return Ok(Change::Same) };
        let metadata = file.metadata()?;
        let (known, size) = (self.file_bytes.load(Ordering::Acquire), metadata.size());
        let modified = modified_ms(&metadata);
        let is_same = size == known && modified == self.modified_ms.load(Ordering::Acquire);
        if is_same && (!is_fresh(modified) || lock(&self.prints).hold(file, known)?) {
            return Ok(if self.transcode()? { Change::Grew } else { Change::Same });
        }
        let mut prints = lock(&self.prints);
        // Emptied and written past the old size between two looks: only the bytes themselves tell. What was empty and is
        // empty again was written meanwhile, and emptied.
        if size < known || !prints.hold(file, known)? || (known == 0 && size == 0 && !is_same) {
            return Ok(Change::Truncated { unread_bytes: self.unread_bytes() });
        }
        let fresh = Prints::of(file, size)?;
        let is_recast = |it: &[u8]| utf16_of(it).is_some() || it.starts_with(UTF8_MARK) || Packing::of(it).is_some();
        if known < FIRST_BYTES && !is_recast(&prints.beginning) && is_recast(&fresh.beginning) {
            return Ok(Change::Recast);
        }
        if let Bytes::File { cr, .. } = &self.bytes
            && known < CR_BYTES
            && *cr != ends_lines_with_cr(file, &fresh.beginning, size)?
        {
            return Ok(Change::Recast);
        }
        *prints = fresh;
        self.modified_ms.store(modified, Ordering::Release);
        self.file_bytes.store(size, Ordering::Release);
        drop(prints);
        let grew = match &self.bytes {
            Bytes::File { skip, .. } => {
                self.size_bytes.store(size.saturating_sub(*skip), Ordering::Release);
                size > known
            }
            Bytes::Utf16(_) => self.transcode()?,
            Bytes::Kernel { .. } | Bytes::Memory(_) => false,
        };
        Ok(if grew { Change::Grew } else { Change::Same })
    }

    /// True while the known bytes of its file are still there. They are gone when it was emptied since the last look,
    /// which the next one will find; a file that does not answer says nothing about that.
    pub fn is_intact(&self) -> bool {
        let Bytes::File { file, .. } = &self.bytes else { return true };
        // What is known changes under this lock.
        let mut prints = lock(&self.prints);
        let known = self.file_bytes.load(Ordering::Acquire);
        let now = crate::clock::now();
        let Ok(metadata) = file.metadata() else { return true };
        if metadata.size() < known {
            return false;
        }
        let touched = Touched::of(&metadata);
        if prints.settled == Some(touched) {
            return true;
        }
        let holds = prints.hold(file, known).unwrap_or(true);
        prints.settled = (holds && touched.is_settled(now)).then_some(touched);
        holds
    }

    /// Says that what was read behind an offset was not met before it went.
    pub fn read_only_to(&self, offset: u64) {
        self.read_to.fetch_min(offset, Ordering::AcqRel);
    }

    /// Known bytes that nobody has read.
    pub fn unread_bytes(&self) -> u64 {
        self.size_bytes().saturating_sub(self.read_to.load(Ordering::Acquire))
    }

    /// Makes more of a file in UTF-16 readable. Returns true when there is more.
    fn transcode(&self) -> io::Result<bool> {
        let Bytes::Utf16(it) = &self.bytes else { return Ok(false) };
        let mut state = lock(&it.state);
        let until = self.file_bytes.load(Ordering::Acquire).min(state.done_bytes + UTF16_BYTES_PER_LOOK);
        let mut bytes = vec![0; PIECE_BYTES];
        let mut text = Vec::new();
        let mut size = self.size_bytes();
        let before = size;
        while state.done_bytes < until {
            let length = PIECE_BYTES.min(usize::try_from(until - state.done_bytes).unwrap_or(PIECE_BYTES));
            let filled = read_full(&it.file, &mut bytes[..length], state.done_bytes)?;
            if filled == 0 {
                break;
            }
            text.clear();
            state.utf16.push(&bytes[..filled], &mut text);
            state.done_bytes += filled as u64;
            it.text.write_all_at(&text, size)?;
            size += text.len() as u64;
        }
        self.size_bytes.store(size, Ordering::Release);
        Ok(size > before)
    }

    /// Opens the same file again as a new segment, after its bytes were replaced.
    ///
    /// # Errors
    /// As [`Segment::file_in`].
    pub fn restart(&self, number: u64, directory: &Path) -> io::Result<Self> {
        Self::file_in(self.reopened()?, number, directory)
    }

    /// Appends to a segment in memory, or tells that the spool behind it has grown.
    pub fn append(&self, bytes: &[u8], now: Timestamp) {
        if let Bytes::Memory(text) = &self.bytes {
            let mut text = lock(text);
            text.append(bytes);
            if let Some(lease) = &self.lease {
                lease.resize(text.memory_bytes());
            }
        }
        self.modified_ms.store(now.as_millisecond(), Ordering::Release);
        self.size_bytes.fetch_add(bytes.len() as u64, Ordering::AcqRel);
    }

    /// Reads `start..end`, less when the file is shorter by now.
    ///
    /// # Errors
    /// When the file can not be read.
    pub fn read(&self, start: u64, end: u64) -> io::Result<Vec<u8>> {
        self.read_into(Vec::new(), start, end)
    }

    /// Reads `start..end` as [`Segment::read`] does, into the memory of a buffer that is no longer needed.
    ///
    /// # Errors
    /// When the file can not be read.
    pub fn read_into(&self, mut buffer: Vec<u8>, start: u64, end: u64) -> io::Result<Vec<u8>> {
        let length = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
        if buffer.capacity() < length {
            // Fresh memory is zero already; growing the old would copy it first.
            buffer = vec![0; length];
        }
        buffer.resize(length, 0);
        let filled = match &self.bytes {
            Bytes::File { file, skip, cr } => {
                let filled = read_full(file, &mut buffer, start + skip)?;
                // Asked behind the reading: what was emptied before that is not what stood there.
                if !self.is_intact() {
                    return Err(io::Error::other("the file was emptied while it was read"));
                }
                if *cr {
                    buffer[..filled].iter_mut().filter(|it| **it == b'\r').for_each(|it| *it = b'\n');
                }
                filled
            }
            Bytes::Utf16(it) => read_full(&it.text, &mut buffer, start)?,
            Bytes::Kernel { text, .. } => copy_from(text, &mut buffer, start),
            Bytes::Memory(text) => lock(text).read(&mut buffer, start),
        };
        buffer.truncate(filled);
        #[cfg(test)]
        self.bytes_read.fetch_add(filled as u64, Ordering::Relaxed);
        self.read_to.fetch_max(start + filled as u64, Ordering::AcqRel);
        Ok(buffer)
    }
}

/// True for text whose lines end with a CR alone, as those of some devices do.
fn ends_lines_with_cr(file: &File, beginning: &[u8], size: u64) -> io::Result<bool> {
    if beginning.iter().any(|it| matches!(it, b'\n' | 0)) || Packing::of(beginning).is_some() {
        return Ok(false);
    }
    let head = bytes_at(file, 0, size.min(CR_BYTES))?;
    // One at the very end may be the first half of CRLF.
    let inside = head.strip_suffix(b"\r").unwrap_or(&head);
    Ok(memchr::memchr(b'\n', &head).is_none() && memchr::memchr(b'\r', inside).is_some())
}

/// Written again to the same size within one tick of the file system's clock: only the bytes tell that of a file that
/// was written at such a time, in ms.
fn is_fresh(modified: i64) -> bool {
    (crate::clock::now().as_millisecond() - modified).abs() < FRESH_MS
}

/// Bytes that tell what a file is: the longest sign of all.
const FIRST_BYTES: u64 = SIGN_BYTES as u64;

impl Transcoded {
    fn new(file: File, size: u64, wide: Wide, directory: &Path) -> io::Result<Self> {
        let mark = wide.mark_bytes as u64;
        // Of a giant the newest part: that is where somebody looks first.
        let start = if size > MAX_UTF16_BYTES { (size - MAX_UTF16_BYTES) & !1 } else { mark };
        let state = Mutex::new(TranscodedState { utf16: Utf16::new(wide.order), done_bytes: start });
        Ok(Self { file, text: tempfile::tempfile_in(directory)?, skipped_bytes: start - mark, state })
    }
}

/// Locks; a panic of another thread while it held the lock leaves plain data behind, which stays usable.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
