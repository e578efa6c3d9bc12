//! One stretch of bytes that stood under a source's name: a file until it was rotated, a part of a spool.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::logstore::format::Reading;

/// Bytes of a file's beginning that tell it from another with the same inode.
pub const FINGERPRINT_BYTES: usize = 256;

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
    size_bytes: AtomicU64,
    modified_ms: AtomicI64,
    read_to: AtomicU64,
    /// First record start at or after a block's boundary, where that can not change any more.
    boundaries: Mutex<HashMap<u64, u64>>,
    fingerprint: Mutex<Vec<u8>>,
}

#[derive(Debug)]
enum Bytes {
    File(File),
    Memory(Mutex<Vec<u8>>),
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
}

static NEXT_UID: AtomicU64 = AtomicU64::new(1);

impl Segment {
    /// Takes an open file.
    ///
    /// # Errors
    /// When its metadata or its beginning can not be read.
    pub fn file(file: File, number: u64) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let segment = Self::new(number, metadata.dev(), metadata.ino(), Bytes::File(file));
        segment.size_bytes.store(metadata.size(), Ordering::Release);
        segment.modified_ms.store(modified_ms(&metadata), Ordering::Release);
        let fingerprint = segment.read_fingerprint(metadata.size())?;
        *lock(&segment.fingerprint) = fingerprint;
        Ok(segment)
    }

    /// Makes an empty segment in memory.
    pub fn memory(number: u64) -> Self {
        Self::new(number, 0, 0, Bytes::Memory(Mutex::default()))
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
            modified_ms: AtomicI64::new(0),
            read_to: AtomicU64::new(0),
            boundaries: Mutex::default(),
            fingerprint: Mutex::default(),
        }
    }

    /// Bytes known to be readable.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Acquire)
    }

    /// When it was last written, as far as is known.
    pub fn modified(&self) -> Timestamp {
        Timestamp::from_millisecond(self.modified_ms.load(Ordering::Acquire)).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// True when its file was deleted and only this process keeps it on disk.
    pub fn is_deleted(&self) -> bool {
        match &self.bytes {
            Bytes::File(file) => file.metadata().is_ok_and(|it| it.nlink() == 0),
            Bytes::Memory(_) => false,
        }
    }

    /// Looks at the file again.
    ///
    /// # Errors
    /// When the file can not be asked any more (a network mount that went away).
    pub fn refresh(&self) -> io::Result<Change> {
        let Bytes::File(file) = &self.bytes else { return Ok(Change::Same) };
        let metadata = file.metadata()?;
        let (known, size) = (self.size_bytes(), metadata.size());
        let modified = modified_ms(&metadata);
        if size == known && modified == self.modified_ms.load(Ordering::Acquire) {
            return Ok(Change::Same);
        }
        // Emptied and written past the old size between two looks: only the bytes themselves tell.
        let beginning = self.read_fingerprint(size)?;
        let mut fingerprint = lock(&self.fingerprint);
        if size < known || !beginning.starts_with(&fingerprint) {
            return Ok(Change::Truncated { unread_bytes: known.saturating_sub(self.read_to.load(Ordering::Acquire)) });
        }
        *fingerprint = beginning;
        self.modified_ms.store(modified, Ordering::Release);
        self.size_bytes.store(size, Ordering::Release);
        Ok(if size > known { Change::Grew } else { Change::Same })
    }

    /// Opens the same file again as a new segment, after its bytes were replaced.
    ///
    /// # Errors
    /// As [`Segment::file`].
    pub fn restart(&self) -> io::Result<Self> {
        match &self.bytes {
            Bytes::File(file) => Self::file(file.try_clone()?, self.number + 1),
            Bytes::Memory(_) => Ok(Self::memory(self.number + 1)),
        }
    }

    /// Appends to a segment in memory, or tells that the spool behind it has grown.
    pub fn append(&self, bytes: &[u8], now: Timestamp) {
        if let Bytes::Memory(buffer) = &self.bytes {
            lock(buffer).extend_from_slice(bytes);
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
            Bytes::File(file) => read_full(file, &mut buffer, start)?,
            Bytes::Memory(bytes) => {
                let bytes = lock(bytes);
                let from = usize::try_from(start).unwrap_or(usize::MAX).min(bytes.len());
                let count = length.min(bytes.len() - from);
                buffer[..count].copy_from_slice(&bytes[from..from + count]);
                count
            }
        };
        buffer.truncate(filled);
        self.read_to.fetch_max(start + filled as u64, Ordering::AcqRel);
        Ok(buffer)
    }

    /// A boundary that was worked out before.
    pub fn boundary(&self, block: u64) -> Option<u64> {
        lock(&self.boundaries).get(&block).copied()
    }

    /// Keeps a boundary that can not change any more.
    pub fn keep_boundary(&self, block: u64, offset: u64) {
        lock(&self.boundaries).insert(block, offset);
    }

    fn read_fingerprint(&self, size: u64) -> io::Result<Vec<u8>> {
        let Bytes::File(file) = &self.bytes else { return Ok(Vec::new()) };
        let mut buffer = vec![0; FINGERPRINT_BYTES.min(usize::try_from(size).unwrap_or(usize::MAX))];
        let filled = read_full(file, &mut buffer, 0)?;
        buffer.truncate(filled);
        Ok(buffer)
    }
}

fn read_full(file: &File, buffer: &mut [u8], start: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], start + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn modified_ms(metadata: &std::fs::Metadata) -> i64 {
    metadata.mtime().saturating_mul(1000).saturating_add(metadata.mtime_nsec() / 1_000_000)
}

/// Locks; a panic of another thread while it held the lock leaves plain data behind, which stays usable.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
