//! How the store touches the disk: private modes, atomic replacement, and what every error says.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::service::private_file;

/// Mode of new directories: what is written in an outage is nobody else's business.
pub const DIR_MODE: u32 = 0o700;
/// Mode of new files.
pub const FILE_MODE: u32 = 0o600;
/// Mode of directories that are shared with a group; what is made in them is the group's as well.
pub const SHARED_DIR_MODE: u32 = 0o2770;
/// Mode of files in them.
pub const SHARED_FILE_MODE: u32 = 0o660;

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

/// Creates a directory and its parents, private or shared as the one they stand in, and makes the new names last.
pub fn create_dirs(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let missing: Vec<&Path> = path.ancestors().take_while(|it| !it.exists()).collect();
    DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(path)
        .map_err(|error| StoreError::io("create the directory", path, &error))?;
    // From the outermost inwards: each follows the one it stands in.
    for it in missing.into_iter().rev() {
        if is_shared(it) {
            set_mode(it, SHARED_DIR_MODE)?;
        }
    }
    path.parent().map_or(Ok(()), sync_dir)
}

/// True when what is made at this path belongs to a group: the directory it stands in is open to one.
fn is_shared(path: &Path) -> bool {
    let mode = path.parent().and_then(|it| fs::metadata(it).ok()).map_or(0, |it| it.mode());
    mode & 0o7777 == SHARED_DIR_MODE
}

fn set_mode(path: &Path, mode: u32) -> Result<(), StoreError> {
    let set = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    set.map_err(|error| StoreError::io("share", path, &error))
}

/// Opens a file to the group when the directory it stands in is; only whoever made it can, so nobody else need.
pub fn follow_share(path: &Path, file: &File) -> Result<(), StoreError> {
    let meta = file.metadata().map_err(|error| StoreError::io("read", path, &error))?;
    let is_ours = meta.uid() == rustix::process::geteuid().as_raw();
    if is_ours && meta.mode() & 0o777 != SHARED_FILE_MODE && is_shared(path) {
        let opened = file.set_permissions(fs::Permissions::from_mode(SHARED_FILE_MODE));
        return opened.map_err(|error| StoreError::io("share", path, &error));
    }
    Ok(())
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
    follow_share(path, &file)?;
    path.parent().map_or(Ok(()), sync_dir)?;
    Ok(true)
}

/// Replaces a file so that a reader or a crash sees either the old text or the new one.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mode = if is_shared(path) { SHARED_FILE_MODE } else { FILE_MODE };
    private_file::write_with(path, bytes, mode).map_err(|error| StoreError::io("write", path, &error))
}
