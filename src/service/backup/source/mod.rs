//! Where a backup's bytes come from: the trait and its kinds, one file each.

pub mod file;
pub mod sqlite;

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::domain::backup::run::Progress;
use crate::domain::format;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::backup::folder::io_text;

/// Every kind of source that a `[[backup]]` can name.
pub const KINDS: &[Kind<dyn BackupSource>] = &[file::KIND, sqlite::KIND];

/// What a job copies.
pub trait BackupSource: Send + Sync {
    /// The key in the config.
    fn kind(&self) -> &'static str;

    /// What it reads, in words: usually a path.
    fn describe(&self) -> String;

    /// Takes a consistent state and opens it for reading.
    ///
    /// # Errors
    /// When there is nothing to read or no consistent state can be had.
    fn open(&self, cx: &SourceContext<'_>) -> Result<Opened, SourceError>;
}

/// What a source may use while it opens.
pub struct SourceContext<'a> {
    /// A private folder that is removed after the run, for copies; or why it could not be made.
    pub scratch: Result<&'a Path, &'a io::Error>,
    /// Where that folder is or would be.
    pub scratch_path: &'a Path,
    /// Ends the run.
    pub cancel: &'a CancellationToken,
    /// Told how far a copy is.
    pub progress: &'a dyn Fn(Progress),
}

/// A source that is open for one pass.
pub struct Opened {
    /// The bytes.
    pub reader: Box<dyn SourceReader>,
    /// Their number, when it is known beforehand.
    pub size_bytes: Option<u64>,
    /// Data that was committed before this instant is inside.
    pub consistent_at: Timestamp,
    /// What the bytes are, for the manifest: `file`, `sqlite`.
    pub kind: &'static str,
    /// Version of what reads it.
    pub version: String,
    /// How a consistent state was taken.
    pub consistency: String,
    /// File name extension of the bytes.
    pub extension: String,
}

/// Bytes of a source, with a verdict at the end.
pub trait SourceReader: Read {
    /// Says whether what was read is one consistent state; called after the last byte.
    ///
    /// # Errors
    /// When that cannot be told.
    fn finish(&mut self) -> Result<Consistency, SourceError>;
}

/// Whether what was read is one state of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// It is.
    Consistent,
    /// The source changed while it was read.
    Changed,
}

/// Why a source could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceError {
    /// The run was told to stop.
    Cancelled,
    /// In words.
    Failed(String),
}

impl SourceError {
    /// A failed system call on a path.
    pub fn io(path: &Path, error: &io::Error) -> Self {
        Self::on(path, io_text(error))
    }

    /// A failure on a path.
    pub fn on(path: &Path, error: impl fmt::Display) -> Self {
        Self::Failed(format!("could not read `{}`: {error}", path.display()))
    }
}

impl SourceContext<'_> {
    /// A copy in the scratch folder that could not be written: what is at fault is the disk of the state directory, not
    /// the source.
    fn not_copied(&self, source: &Path, needed_bytes: Option<u64>, why: impl fmt::Display) -> SourceError {
        let folder = self.scratch_path.parent().unwrap_or(self.scratch_path);
        let (source, place) = (source.display(), folder.display());
        let room = folder_space(folder).map(|it| format!("{} free", format::bytes(it)));
        let needed = needed_bytes.map(|it| format!("about {} needed", format::bytes(it)));
        let sizes: Vec<String> = needed.into_iter().chain(room).collect();
        let sizes = if sizes.is_empty() { String::new() } else { format!(" ({})", sizes.join(", ")) };
        SourceError::Failed(format!(
            "could not copy `{source}` into the state directory at `{place}`: {why}{sizes}; make room there, or set \
             HOTSEAT_STATE_DIR to a larger disk"
        ))
    }
}

/// Bytes free where a folder is.
fn folder_space(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Reads a path that is written as a string or as `{ path = "…" }`.
fn read_path(node: &Node<'_>) -> Option<std::path::PathBuf> {
    let value = if node.is_table() {
        let value = node.require("path");
        node.finish(&[]);
        value?
    } else {
        node.clone()
    };
    super::spec::absolute_path(&value)
}
