//! The kernel lock of the state directory: one runtime probes and backs up, the others stand by.
//!
//! The kernel drops the lock with the process, however it ends, so that there is no stale lock to clean up.
//! The file's text only says who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;

/// Name of the lock file in the state directory.
const FILE_NAME: &str = "runtime.lock";
/// A holder's line is much shorter; whatever else stands in the file is not worth reading.
const HOLDER_MAX_BYTES: u64 = 256;

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// What came of asking for the lock.
#[derive(Debug)]
pub enum Acquired {
    /// It is ours.
    Held(StateLock),
    /// Another process has it, in words: `pid 4242 since 2026-08-19T14:43:52Z`.
    Taken(String),
}

impl StateLock {
    /// Asks for the lock of a state directory without waiting for it.
    ///
    /// # Errors
    /// When the file cannot be opened or the file system has no locks.
    pub fn acquire(state_dir: &Path, now: Timestamp) -> io::Result<Acquired> {
        let path = state_dir.join(FILE_NAME);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Acquired::Taken(holder(&mut file))),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        // The sub-second part helps nobody.
        file.write_all(format!("pid {} since {now:.0}\n", std::process::id()).as_bytes())?;
        Ok(Acquired::Held(Self { _file: file }))
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // Unreadable or not yet written: the lock itself is what counts.
    let _ = file.take(HOLDER_MAX_BYTES).read_to_string(&mut text);
    let line: String = text.lines().next().unwrap_or_default().chars().filter(|it| !it.is_control()).collect();
    if line.is_empty() { "another process".to_string() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_learns_who_holds_it_and_gets_it_afterwards() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let now: Timestamp = "2026-08-19T14:43:52.5Z".parse().expect("timestamp");
        let first = StateLock::acquire(dir.path(), now).expect("lock");
        let Acquired::Held(first) = first else { panic!("nobody else holds it") };
        let Acquired::Taken(holder) = StateLock::acquire(dir.path(), now).expect("lock") else {
            panic!("it was given twice");
        };
        assert_eq!(holder, format!("pid {} since 2026-08-19T14:43:52Z", std::process::id()));
        drop(first);
        assert!(matches!(StateLock::acquire(dir.path(), now).expect("lock"), Acquired::Held(_)));
    }
}
