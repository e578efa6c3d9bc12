//! Where the records go: standard output, or a file that belongs to the person alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::cli::failure::Failure;
use crate::domain::sanitise;
use crate::logstore::engine::Engine;

/// Logs hold what nobody else is to see.
const MODE: u32 = 0o600;

/// Creates the file that is exported to; with `force` one that is there is overwritten.
///
/// # Errors
/// When it exists, cannot be written, or is one of the logs that are read.
pub fn create(path: &Path, force: bool, engine: &Engine) -> Result<File, Failure> {
    let shown = sanitise::text(&path.to_string_lossy());
    let failed = |error: &io::Error| Failure::usage(format!("could not write `{shown}`")).caused_by(error);
    let mut options = OpenOptions::new();
    options.write(true).mode(MODE);
    match options.clone().create_new(true).open(path) {
        Ok(file) => return Ok(file),
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(&error)),
        Err(_) if !force => {
            return Err(Failure::usage(format!("`{shown}` is there already"))
                .hint("`--force` overwrites it, another name keeps it"));
        }
        Err(_) => {}
    }
    let file = options.open(path).map_err(|error| failed(&error))?;
    let metadata = file.metadata().map_err(|error| failed(&error))?;
    if is_read(engine, metadata.dev(), metadata.ino()) {
        return Err(Failure::usage(format!("`{shown}` is one of the logs that are read")).hint("name another file"));
    }
    // A device or a pipe has nothing to cut off, and its rights are not ours.
    if metadata.is_file() {
        file.set_permissions(std::fs::Permissions::from_mode(MODE)).map_err(|error| failed(&error))?;
        file.set_len(0).map_err(|error| failed(&error))?;
    }
    Ok(file)
}

fn is_read(engine: &Engine, device: u64, inode: u64) -> bool {
    engine.sources().iter().any(|source| {
        let segments = source.newest().into_iter().chain(source.older());
        segments.into_iter().any(|it| it.device == device && it.inode == inode)
    })
}

/// Counts what is written, to say how much it was.
pub struct Counted<'a> {
    /// Where it goes.
    pub inner: &'a mut dyn Write,
    /// Bytes so far.
    pub bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
