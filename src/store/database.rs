//! The database file: opening, migrations, what a failure means.
//!
//! A file of a newer hotseat and a file that is none of ours are left alone; a damaged one is moved aside,
//! because a monitor that refuses to start for lost history is worse than lost history.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::store::{apart, file_system};

/// Name of the file in the state directory.
pub const FILE_NAME: &str = "store.db";
/// `hots`, so that `file` and we know whose it is.
const APPLICATION_ID: i32 = 0x686f_7473;
/// In order; the version of a file is how many it has been through. Never changed, only added to.
const MIGRATIONS: &[&str] = &[include_str!("migrations/001_start.sql")];
/// How long another process may hold the file before a write is given up for now.
pub(super) const BUSY_WAIT: Duration = Duration::from_secs(1);
/// Damaged files that are kept to be looked at.
const DAMAGED_MAX: usize = 2;
/// What a write-ahead log may keep on disk when it is idle.
const LOG_KEPT_BYTES: i64 = 16 << 20;
/// Pages held in memory, in KiB: the leaves that a thousand probes write to.
const CACHE_KIB: i64 = 8192;
/// Size of a page in bytes.
pub const PAGE_BYTES: u64 = 4096;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It was written by a newer hotseat.
    #[error(
        "`{path}` is of a newer hotseat (version {found}, this one knows {known}); use that one, or move the file away"
    )]
    Newer {
        /// Which file.
        path: String,
        /// Its version.
        found: usize,
        /// The newest version known here.
        known: usize,
    },
    /// It is somebody else's.
    #[error("`{path}` is not a store of hotseat; move it away")]
    Foreign {
        /// Which file.
        path: String,
    },
    /// Its disk is full.
    #[error("no room for `{path}`: make room on its disk")]
    NoRoom {
        /// Which file.
        path: String,
    },
    /// It can be read and not written.
    #[error("`{path}` cannot be written: {error}")]
    ReadOnly {
        /// Which file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// It is damaged.
    #[error("`{path}` is damaged: {error}")]
    Damaged {
        /// Which file.
        path: String,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// It cannot be opened or made.
    #[error("could not open `{path}`: {error}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// SQLite refuses.
    #[error("{}", describe(path, error))]
    Sqlite {
        /// Which file.
        path: String,
        /// What it says.
        error: rusqlite::Error,
    },
}

impl StoreError {
    /// Sorts an error of SQLite.
    pub fn of(path: &Path, error: rusqlite::Error) -> Self {
        let shown = path.display().to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged { path: shown, error },
            Some(ErrorCode::DiskFull) => Self::NoRoom { path: shown },
            // What cannot grow or be made beside it fails in words that say nothing of a full disk.
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)
                if path.parent().is_some_and(file_system::is_full) =>
            {
                Self::NoRoom { path: shown }
            }
            _ => Self::Sqlite { path: shown, error },
        }
    }

    fn of_io(path: &Path, error: io::Error) -> Self {
        let path = path.display().to_string();
        match error.kind() {
            io::ErrorKind::StorageFull => Self::NoRoom { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path, error },
            _ => Self::Io { path, error },
        }
    }

    /// True when it is the disk that refuses: what is there may be read all the same.
    fn is_of_the_disk(&self) -> bool {
        match self {
            Self::NoRoom { .. } | Self::ReadOnly { .. } | Self::Io { .. } => true,
            Self::Sqlite { error, .. } => matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::SystemIoFailure
                        | ErrorCode::CannotOpen
                        | ErrorCode::ReadOnly
                        | ErrorCode::PermissionDenied
                )
            ),
            Self::Newer { .. } | Self::Foreign { .. } | Self::Damaged { .. } => false,
        }
    }
}

/// What an error of SQLite means to a person, and what to do.
fn describe(path: &str, error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly) => format!("`{path}` cannot be written: it is read-only"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => format!("`{path}` is locked by another process"),
        Some(ErrorCode::SystemIoFailure) => format!("the disk of `{path}` fails: {error}"),
        _ => format!("`{path}`: {error}"),
    }
}

/// Inode and device of a file: another file under its name has others.
pub type Identity = (u64, u64);

/// The file that stands in a state directory now; `None` when there is none.
pub fn identity(state_dir: &Path) -> Option<Identity> {
    identity_of(&state_dir.join(FILE_NAME))
}

fn identity_of(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|it| (it.ino(), it.dev()))
}

/// An open file.
pub struct Database {
    /// The connection.
    pub connection: Connection,
    /// Where it is.
    pub path: PathBuf,
    /// To notice that the file was replaced.
    identity: Identity,
}

impl Database {
    /// Opens the file of a state directory, makes it when it is not there, and brings it up to date.
    ///
    /// # Errors
    /// See [`StoreError`]; a damaged file is left where it is.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join(FILE_NAME);
        let io = |error| StoreError::of_io(&path, error);
        // SQLite would make it for everybody to read; its other files take over the mode of this one.
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let sqlite = |error| StoreError::of(&path, error);
        let mut connection = Connection::open_with_flags(&path, flags).map_err(sqlite)?;
        let (_, kind) = file_system::of(state_dir);
        // Before anything is read: pragmas read the file as well.
        connection.busy_timeout(BUSY_WAIT).map_err(sqlite)?;
        let version = version(&connection, &path)?;
        prepare(&connection, kind).map_err(sqlite)?;
        migrate(&mut connection, version).map_err(sqlite)?;
        Ok(Self { connection, identity: (metadata.ino(), metadata.dev()), path })
    }

    /// True while the file that was opened still stands under its name.
    pub fn is_in_place(&self) -> bool {
        identity_of(&self.path) == Some(self.identity)
    }

    /// Makes the next commits wait for the disk, or leaves that to the next checkpoint.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn set_synchronous(&self, full: bool) -> rusqlite::Result<()> {
        self.connection.execute_batch(if full { "PRAGMA synchronous=FULL" } else { "PRAGMA synchronous=NORMAL" })
    }
}

/// Writes the version that is there again: the least that asks the disk for something.
///
/// # Errors
/// When SQLite refuses.
pub fn touch(connection: &Connection) -> rusqlite::Result<()> {
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    connection.pragma_update(None, "user_version", version)
}

/// A file opened to be read.
pub struct Opened {
    /// The connection.
    pub connection: Connection,
    /// Nobody else can open the file meanwhile: it is to be closed soon.
    pub is_apart: bool,
}

/// Opens a file for reading only; `None` when there is none. On a disk that takes nothing it is read all the same.
///
/// # Errors
/// See [`StoreError`].
pub fn open_to_read(state_dir: &Path) -> Result<Option<Opened>, StoreError> {
    let path = state_dir.join(FILE_NAME);
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let ordinary = || {
        let connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(BUSY_WAIT)?;
        Ok(connection)
    };
    let sqlite = |error| StoreError::of(&path, error);
    let opened = ordinary().map_err(sqlite).and_then(|it| Ok((version(&it, &path)?, it, false)));
    let opened = match opened {
        Err(error) if error.is_of_the_disk() => {
            apart::open(&path).map_err(sqlite).and_then(|it| Ok((version(&it, &path)?, it, true))).map_err(|_| error)
        }
        other => other,
    };
    match opened? {
        // It is being made just now.
        (0, ..) => Ok(None),
        (_, connection, is_apart) => Ok(Some(Opened { connection, is_apart })),
    }
}

/// True when a process died with the file open and the log that it had is gone: what was written last is lost.
pub fn lost_its_log(state_dir: &Path) -> bool {
    let path = state_dir.join(FILE_NAME);
    // The last one to close it removes both, the log first.
    path.exists() && apart::beside(&path, "-shm").exists() && !apart::beside(&path, "-wal").exists()
}

/// Moves a damaged file and what belongs to it aside, and says where to.
///
/// # Errors
/// When it cannot be renamed.
pub fn move_aside(state_dir: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let path = state_dir.join(FILE_NAME);
    let prefix = format!("{FILE_NAME}.damaged-");
    let mut before: Vec<PathBuf> = fs::read_dir(state_dir)?
        .filter_map(|it| Some(it.ok()?.path()))
        .filter(|it| it.file_name().and_then(|it| it.to_str()).is_some_and(|it| it.starts_with(&prefix)))
        .collect();
    before.sort();
    while before.len() >= DAMAGED_MAX {
        fs::remove_file(before.remove(0))?;
    }
    let aside = state_dir.join(format!("{prefix}{}", now.strftime("%Y%m%dT%H%M%S%.3fZ")));
    fs::rename(&path, &aside)?;
    for ending in ["-wal", "-shm", "-journal"] {
        // A log without its file would be played into the new one.
        let _ = fs::remove_file(state_dir.join(format!("{FILE_NAME}{ending}")));
    }
    Ok(aside)
}

/// How many migrations a file has been through; 0 for one that is empty.
fn version(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let sqlite = |error| StoreError::of(path, error);
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(sqlite);
    let (application, found) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(sqlite)?;
    let shown = path.display().to_string();
    if application != APPLICATION_ID && (application != 0 || found != 0 || tables > 0) {
        return Err(StoreError::Foreign { path: shown });
    }
    let found = usize::try_from(found).unwrap_or(0);
    if found > MIGRATIONS.len() {
        return Err(StoreError::Newer { path: shown, found, known: MIGRATIONS.len() });
    }
    Ok(found)
}

fn prepare(connection: &Connection, kind: file_system::Kind) -> rusqlite::Result<()> {
    // Only an empty file takes it; it lets the file shrink again without being rewritten.
    connection.execute_batch("PRAGMA auto_vacuum=INCREMENTAL")?;
    let journal = if kind == file_system::Kind::Local { "WAL" } else { "TRUNCATE" };
    connection.pragma_update_and_check(None, "journal_mode", journal, |_| Ok(()))?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-{CACHE_KIB}; \
         PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON"
    ))?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_KEPT_BYTES, |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn migrate(connection: &mut Connection, version: usize) -> rusqlite::Result<()> {
    for (at, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        // Both are part of the transaction: a crash leaves the file as it was.
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", at as i32 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_file_is_private_and_opens_again() {
        let dir = tempfile::tempdir().expect("a directory");
        drop(Database::open(dir.path()).expect("made"));
        let mode = fs::metadata(dir.path().join(FILE_NAME)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = Database::open(dir.path()).expect("opened");
        assert_eq!(version(&again.connection, &again.path).expect("read"), MIGRATIONS.len());
        assert!(again.is_in_place());
        let wal = fs::metadata(dir.path().join(format!("{FILE_NAME}-wal"))).expect("there").permissions().mode();
        assert_eq!(wal & 0o777, 0o600);
    }

    #[test]
    fn a_newer_file_and_a_foreign_one_are_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let made = Database::open(dir.path()).expect("made");
        made.connection.pragma_update(None, "user_version", 99).expect("set");
        drop(made);
        let error = Database::open(dir.path()).err().expect("refused").to_string();
        assert!(error.contains("newer hotseat (version 99, this one knows"), "{error}");

        let dir = tempfile::tempdir().expect("a directory");
        Connection::open(dir.path().join(FILE_NAME)).expect("made").execute_batch("CREATE TABLE t(a)").expect("made");
        assert!(matches!(Database::open(dir.path()), Err(StoreError::Foreign { .. })));
        assert!(matches!(open_to_read(dir.path()), Err(StoreError::Foreign { .. })));
    }

    #[test]
    fn a_damaged_file_is_moved_aside_and_a_few_are_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        for second in 0..4 {
            fs::write(dir.path().join(FILE_NAME), vec![b'x'; 8192]).expect("written");
            assert!(matches!(Database::open(dir.path()), Err(StoreError::Damaged { .. })));
            let now = Timestamp::from_second(1_800_000_000 + second).expect("a time");
            assert!(move_aside(dir.path(), now).expect("moved").is_file());
            drop(Database::open(dir.path()).expect("made anew"));
        }
        let kept = fs::read_dir(dir.path()).expect("read").filter_map(|it| it.ok()?.file_name().into_string().ok());
        assert_eq!(kept.filter(|it| it.contains("damaged")).count(), DAMAGED_MAX);
    }

    #[test]
    fn what_cannot_be_read_is_no_file_to_be_moved() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(open_to_read(dir.path()).expect("nothing there").is_none());
        fs::create_dir(dir.path().join(FILE_NAME)).expect("made");
        assert!(matches!(Database::open(dir.path()), Err(StoreError::Io { .. })));
    }
}
