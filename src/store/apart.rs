//! Reads a store whose disk takes nothing: it is full, or it is read-only.
//!
//! A database with a write-ahead log is read by way of an index of that log, which lies in shared memory: a file of its
//! own. Where that file cannot be made, the database cannot be opened in the ordinary way although everything is there.
//! With `locking_mode=EXCLUSIVE` the index is held in the memory of this process instead ("Use of WAL Without
//! Shared-Memory" in SQLite's documentation): nobody else is let in meanwhile. Nothing is written here, ever.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// Takes no locks: for files that nobody can write to.
const LOCKLESS: &str = "unix-none";

/// Opens a file to read it, whatever state its disk is in.
///
/// # Errors
/// When SQLite cannot read it that way either.
pub fn open(path: &Path) -> rusqlite::Result<Connection> {
    let locked = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .and_then(|it| if it.is_readonly("main")? { Ok(None) } else { hold(it).map(Some) });
    let error = match locked {
        Ok(Some(connection)) => return Ok(connection),
        Ok(None) => None,
        Err(error) if is_final(&error) => return Err(error),
        Err(error) => Some(error),
    };
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let is_there = |ending: &str| fs::metadata(beside(path, ending)).is_ok_and(|it| it.len() > 0);
    match (is_there("-wal"), is_there("-journal"), error) {
        // It can be written, and yet it cannot be read.
        (true, _, Some(error)) | (_, true, Some(error)) => Err(error),
        (true, ..) => Connection::open_with_flags_and_vfs(path, read_only, LOCKLESS).and_then(hold),
        // Without a log the file is all there is, and is read as it stands.
        _ => Connection::open_with_flags(unchanging(path), read_only | OpenFlags::SQLITE_OPEN_URI).and_then(look),
    }
}

/// A file that belongs to a database.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(ending);
    name.into()
}

/// True when another way of opening would meet the same.
fn is_final(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase
        )
    )
}

/// Keeps the index of the log in memory, and everybody else out.
fn hold(connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(super::database::BUSY_WAIT)?;
    // The last one to close a database writes its log into it. On a full disk that is no business of a reader.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
    look(connection)
}

/// The first look finds out whether it can be read.
fn look(connection: Connection) -> rusqlite::Result<Connection> {
    connection.execute_batch("PRAGMA query_only=ON; PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF")?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// The name by which SQLite takes a file for one that does not change.
fn unchanging(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            _ => uri += &format!("%{byte:02X}"),
        }
    }
    uri + "?immutable=1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_a_folder_with_an_odd_name_is_read_as_it_stands_and_nothing_is_made_beside_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = dir.path().join("50% of? #1 ü");
        fs::create_dir(&folder).expect("made");
        let path = folder.join("x.db");
        let made = Connection::open(&path).expect("made");
        made.execute_batch("CREATE TABLE t(a); INSERT INTO t VALUES (7)").expect("filled");
        drop(made);
        let read = |connection: Connection| -> i64 {
            connection.query_row("SELECT a FROM t", [], |row| row.get(0)).expect("read")
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        assert_eq!(read(Connection::open_with_flags(unchanging(&path), flags).expect("opened")), 7);
        assert_eq!(read(open(&path).expect("opened")), 7);
        assert_eq!(fs::read_dir(&folder).expect("read").count(), 1);
    }

    #[test]
    fn a_log_is_read_without_shared_memory_and_left_as_it_was() {
        let dir = tempfile::tempdir().expect("a directory");
        let (live, copy) = (dir.path().join("live.db"), dir.path().join("copy.db"));
        let made = Connection::open(&live).expect("made");
        made.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES (7)").expect("filled");
        // As a kill leaves it: the log holds what the file does not.
        for ending in ["", "-wal"] {
            fs::copy(beside(&live, ending), beside(&copy, ending)).expect("copied");
        }
        let before = fs::read(beside(&copy, "-wal")).expect("there");
        let connection = open(&copy).expect("opened");
        let found: i64 = connection.query_row("SELECT a FROM t", [], |row| row.get(0)).expect("read");
        assert_eq!(found, 7);
        assert!(connection.execute("INSERT INTO t VALUES (8)", []).is_err(), "nothing is written");
        drop(connection);
        assert_eq!(fs::read(beside(&copy, "-wal")).expect("there"), before);
        assert!(!beside(&copy, "-shm").exists());
    }

    #[test]
    fn a_file_that_another_process_writes_is_not_read_past_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.db");
        let writer = Connection::open(&path).expect("made");
        writer.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t(a)").expect("filled");
        let error = open(&path).expect_err("refused");
        assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
    }
}
