//! What tells that a file is still the one that was read: a few of its bytes, and when it was touched.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;

use jiff::Timestamp;

use crate::logstore::segment::bytes::{bytes_at, read_full};
use crate::logstore::segment::{FINGERPRINT_BYTES, FRESH_MS};

/// Bytes before a file's known end that tell whether it was emptied and written again behind a beginning that
/// is always the same (the header of an IIS log, the banner of a program).
const END_PRINT_BYTES: usize = 64;
/// A file system that tells fractions of a second has ticks far shorter than this.
const TICK_MS: i64 = 50;

/// What a file's bytes were at both ends of what is known of it.
#[derive(Debug, Default, Clone)]
pub(super) struct Prints {
    pub(super) beginning: Vec<u8>,
    pub(super) end: Vec<u8>,
    /// When the file was touched last, as of a look that found these bytes so long after it that a later write would
    /// have another time.
    pub(super) settled: Option<Touched>,
}

/// When a file was written and when anything of it was changed: seconds and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Touched {
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Touched {
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self { modified: (metadata.mtime(), metadata.mtime_nsec()), changed: (metadata.ctime(), metadata.ctime_nsec()) }
    }

    /// True when a write at `now` or later leaves another time behind.
    pub(super) fn is_settled(&self, now: Timestamp) -> bool {
        let is_coarse = self.modified.1 == 0 && self.changed.1 == 0;
        let changed_ms = self.changed.0.saturating_mul(1000).saturating_add(self.changed.1 / 1_000_000);
        now.as_millisecond().saturating_sub(changed_ms) > if is_coarse { FRESH_MS } else { TICK_MS }
    }
}

impl Prints {
    pub(super) fn of(file: &File, size: u64) -> io::Result<Self> {
        let beginning = bytes_at(file, 0, size.min(FINGERPRINT_BYTES as u64))?;
        let length = size.min(END_PRINT_BYTES as u64);
        let end = bytes_at(file, size - length, length)?;
        Ok(Self { beginning, end, settled: None })
    }

    /// True when a file still has these bytes, of which `known` were known.
    pub(super) fn hold(&self, file: &File, known: u64) -> io::Result<bool> {
        Ok(stands_at(file, 0, &self.beginning)? && stands_at(file, known - self.end.len() as u64, &self.end)?)
    }
}

/// True when a file has these bytes, at most [`FINGERPRINT_BYTES`], at an offset.
pub(super) fn stands_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<bool> {
    let mut buffer = [0; FINGERPRINT_BYTES];
    let buffer = &mut buffer[..bytes.len()];
    Ok(read_full(file, buffer, offset)? == bytes.len() && buffer == bytes)
}
