//! A plain file, read through one descriptor and compared before and after.
//!
//! A file that is a SQLite database is handed to the SQLite source: copying one that is in use gives a corrupt
//! copy most of the time.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::backup::source::sqlite::SqliteSource;
use crate::service::backup::source::{BackupSource, Consistency, Opened, SourceContext, SourceError, SourceReader};

/// `file = "/path"`.
pub const KIND: Kind<dyn BackupSource> = Kind {
    name: "file",
    summary: "a file; a SQLite database is recognised and copied safely",
    example: "[[backup]]\nname = \"app-config\"\nfile = \"/etc/app/config.toml\"\nat = \"daily 02:00\"\nto = \"/backup/app\"\n",
    build,
};

/// First bytes of every SQLite database.
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Timestamps of files move in steps of up to 10 ms (`CONFIG_HZ=100`): a file touched within two steps could
/// change again without a visible sign, so the first look waits that long.
const TIMESTAMP_STEP: Duration = Duration::from_millis(20);

fn build(node: &Node<'_>) -> Option<Box<dyn BackupSource>> {
    let path = super::read_path(node)?;
    Some(Box::new(FileSource { path }))
}

/// A plain file.
pub struct FileSource {
    /// Which.
    pub path: PathBuf,
}

impl BackupSource for FileSource {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn open(&self, cx: &SourceContext<'_>) -> Result<Opened, SourceError> {
        let file = open_regular(&self.path).map_err(|error| SourceError::io(&self.path, &error))?;
        let mut before = file.metadata().map_err(|error| SourceError::io(&self.path, &error))?;
        if before.size() == 0 {
            return Err(SourceError::Failed(format!("`{}` is empty", self.path.display())));
        }
        if is_sqlite(&file) {
            return SqliteSource { path: self.path.clone() }.open(cx);
        }
        let changed_ns = i128::from(before.mtime()) * 1_000_000_000 + i128::from(before.mtime_nsec());
        if clock::now().as_nanosecond() - changed_ns < TIMESTAMP_STEP.as_nanos() as i128 {
            std::thread::sleep(TIMESTAMP_STEP);
            before = file.metadata().map_err(|error| SourceError::io(&self.path, &error))?;
        }
        Ok(Opened {
            size_bytes: Some(before.size()),
            consistent_at: clock::now(),
            kind: KIND.name,
            version: format!("hotseat {}", env!("CARGO_PKG_VERSION")),
            consistency: "read through one descriptor; size, times and inode equal before and after".into(),
            extension: extension(&self.path),
            reader: Box::new(WatchedFile { path: self.path.clone(), file, before, read_bytes: 0 }),
        })
    }
}

/// Opens a regular file without ever waiting for a FIFO's writer.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

fn is_sqlite(file: &File) -> bool {
    use std::os::unix::fs::FileExt;
    let mut magic = [0; SQLITE_MAGIC.len()];
    file.read_exact_at(&mut magic, 0).is_ok() && magic == *SQLITE_MAGIC
}

fn extension(path: &Path) -> String {
    let found = path.extension().and_then(|it| it.to_str());
    let plain = |it: &&str| !it.is_empty() && it.len() <= 10 && it.bytes().all(|byte| byte.is_ascii_alphanumeric());
    found.filter(plain).unwrap_or("bin").to_string()
}

struct WatchedFile {
    path: PathBuf,
    file: File,
    before: Metadata,
    read_bytes: u64,
}

impl Read for WatchedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read_bytes += count as u64;
        Ok(count)
    }
}

impl SourceReader for WatchedFile {
    fn finish(&mut self) -> Result<Consistency, SourceError> {
        let after = self.file.metadata().map_err(|error| SourceError::io(&self.path, &error))?;
        let signs = |it: &Metadata| (it.size(), it.mtime(), it.mtime_nsec(), it.ino(), it.dev());
        let same = signs(&self.before) == signs(&after) && self.read_bytes == after.size();
        Ok(if same { Consistency::Consistent } else { Consistency::Changed })
    }
}
