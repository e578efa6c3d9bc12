//! The one pass over a source: read, hash, compress, hash, write to every destination at once.
//!
//! Memory is a few hundred KiB whatever the size of the source.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::domain::backup::manifest::hex;
use crate::service::backup::destination::PlaceFile;

/// Bytes read at once: large enough that system calls do not show, small enough that a stop is felt at once.
pub const BLOCK_BYTES: usize = 256 * 1024;

/// What a pass counted and hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassSums {
    /// Bytes read.
    pub raw_bytes: u64,
    /// Bytes written to each destination.
    pub stored_bytes: u64,
    /// sha256 of what was read, in hex.
    pub sha256_raw: String,
    /// sha256 of what was written, in hex.
    pub sha256_stored: String,
}

/// Why a pass ended early.
#[derive(Debug)]
pub enum PassError {
    /// The run was told to stop.
    Cancelled,
    /// The source could not be read on.
    Read(io::Error),
    /// No destination is left that can be written to.
    Write(io::Error),
}

/// Reads `source` to its end into `out` at a zstd level; `progress` is told the bytes read so far.
///
/// # Errors
/// See [`PassError`].
pub fn run(
    source: &mut dyn Read,
    level: i32,
    out: &mut dyn Write,
    cancel: &CancellationToken,
    progress: &mut dyn FnMut(u64),
) -> Result<PassSums, PassError> {
    let mut raw = Sha256::new();
    let mut raw_bytes = 0;
    let stored = Hashing { inner: out, sha256: Sha256::new(), bytes: 0 };
    let mut encoder = zstd::Encoder::new(stored, level).map_err(PassError::Write)?;
    // The frame's own checksum lets `zstd -t` find damage without our manifest.
    encoder.include_checksum(true).map_err(PassError::Write)?;
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        if cancel.is_cancelled() {
            return Err(PassError::Cancelled);
        }
        let count = match source.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(PassError::Read(error)),
        };
        raw.update(&block[..count]);
        encoder.write_all(&block[..count]).map_err(PassError::Write)?;
        raw_bytes += count as u64;
        progress(raw_bytes);
        super::steps::reached("block");
    }
    let stored = encoder.finish().map_err(PassError::Write)?;
    Ok(PassSums {
        raw_bytes,
        stored_bytes: stored.bytes,
        sha256_raw: hex(&raw.finalize()),
        sha256_stored: hex(&stored.sha256.finalize()),
    })
}

/// Hashes and counts what goes through it.
pub struct Hashing<T> {
    inner: T,
    sha256: Sha256,
    bytes: u64,
}

impl<T> Hashing<T> {
    /// Wraps a reader or writer.
    pub fn new(inner: T) -> Self {
        Self { inner, sha256: Sha256::new(), bytes: 0 }
    }

    /// Bytes that went through.
    pub fn count(&self) -> u64 {
        self.bytes
    }

    /// Their sha256 in hex.
    pub fn finish(self) -> String {
        hex(&self.sha256.finalize())
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.sha256.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.sha256.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

/// Writes the same bytes to several files; one that fails is left out from then on.
#[derive(Default)]
pub struct FanOut {
    files: Vec<FanFile>,
}

struct FanFile {
    index: usize,
    file: Box<dyn PlaceFile>,
    error: Option<io::Error>,
}

impl FanOut {
    /// Adds a file; `index` names it in `finish`.
    pub fn push(&mut self, index: usize, file: Box<dyn PlaceFile>) {
        self.files.push(FanFile { index, file, error: None });
    }

    /// Syncs every file that is whole and gives each its result.
    pub fn finish(self) -> Vec<(usize, io::Result<()>)> {
        let finish = |mut it: FanFile| match it.error {
            Some(error) => (it.index, Err(error)),
            None => (it.index, it.file.sync()),
        };
        self.files.into_iter().map(finish).collect()
    }

    /// Closes every file as it is, for a pass that did not get to its end, and gives the errors there were.
    ///
    /// Syncing what is about to be removed would keep a person who quits waiting for the disk.
    pub fn abandon(self) -> Vec<(usize, io::Result<()>)> {
        self.files.into_iter().map(|it| (it.index, it.error.map_or(Ok(()), Err))).collect()
    }

    fn each(&mut self, mut action: impl FnMut(&mut dyn PlaceFile) -> io::Result<()>) -> io::Result<()> {
        for it in self.files.iter_mut().filter(|it| it.error.is_none()) {
            it.error = action(it.file.as_mut()).err();
        }
        if self.files.iter().all(|it| it.error.is_some()) {
            return Err(io::Error::other("no destination is left"));
        }
        Ok(())
    }
}

impl Write for FanOut {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.each(|file| file.write_all(buffer))?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.each(|file| file.flush())
    }
}
