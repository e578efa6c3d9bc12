//! How the store touches the disk: private modes, atomic replacement, and what every error says.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::service::private_file;

/// Mode of new directories: what is written in an outage is nobody else's business.
pub const DIR_MODE: u32 = 0o700;
/// Mode of new files.
pub const FILE_MODE: u32 = 0o600;

/// What failed, on what, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    /// What failed, on what: lower case, no full stop.
    pub message: String,
    /// Why; empty when the message says it.
    pub cause: String,
    /// What to do.
    pub hint: Option<String>,
}

impl StoreError {
    /// Makes an error that needs no further cause.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), cause: String::new(), hint: None }
    }

    /// Makes an error of a file operation: `what` is a verb in its base form.
    pub fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        let hint = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Some("free some space, then try again".into())
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Some("make the directory writable, or choose another one with `HOTSEAT_STATE_DIR`".into())
            }
            _ => None,
        };
        Self { message: format!("could not {what} `{}`", path.display()), cause: plain(error), hint }
    }
}

impl fmt::Display for StoreError {
    /// One line: message, cause and hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.cause.is_empty() {
            write!(f, ": {}", self.cause)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for StoreError {}

/// An I/O error in words, without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// Creates a directory and its parents, private, and makes the new names last.
pub fn create_dirs(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(path)
        .map_err(|error| StoreError::io("create the directory", path, &error))?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes the names in a directory last.
pub fn sync_dir(path: &Path) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|it| it.sync_all());
    synced.map_err(|error| StoreError::io("flush the directory", path, &error))
}

/// Opens options that make private files.
pub fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE_MODE);
    options
}

/// Writes a file that was not there; `Ok(false)` when it is there already.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<bool, StoreError> {
    let mut file = match private().write(true).create_new(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(StoreError::io("create", path, &error)),
    };
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a file would look like a whole one to the next reader.
        let _ = std::fs::remove_file(path);
        return Err(StoreError::io("write", path, &error));
    }
    path.parent().map_or(Ok(()), sync_dir)?;
    Ok(true)
}

/// Replaces a file so that a reader or a crash sees either the old text or the new one.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    private_file::write(path, bytes).map_err(|error| StoreError::io("write", path, &error))
}
