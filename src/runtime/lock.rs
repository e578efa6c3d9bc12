//! The kernel lock of the state directory: one runtime probes and backs up, the others stand by.
//!
//! The kernel drops the lock with the process, however it ends, so that there is no stale lock to clean up.
//! The file's text only says who holds it, and by which socket screens get on.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::clock;
use crate::config::paths;

/// Name of the lock file in the state directory.
const FILE_NAME: &str = "runtime.lock";
/// A holder's line is much shorter and a socket's path has 107 bytes at most; whatever else stands in the file is not
/// worth reading.
const TEXT_MAX_BYTES: u64 = 512;
/// The group of `share` reads it; whose directory it is holds it.
const SHARED_MODE: u32 = 0o640;
/// Without a share it is its account's alone.
const PRIVATE_MODE: u32 = 0o600;
/// Begins the line that names the socket.
const SOCKET: &str = "socket ";

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct StateLock {
    file: File,
    /// Who we are.
    line: String,
    /// False on a file system that is read-only: there the file, or the directory itself, is locked as it is.
    is_writable: bool,
}

/// Who holds a state directory, by what they wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// In words: `pid 4242 since 2026-08-19T14:43:52Z`.
    pub line: String,
    /// By which socket screens get on.
    pub socket: Option<PathBuf>,
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
        // Root may write everywhere; what it made here its owner could not open any more.
        if rustix::process::geteuid().is_root()
            && let Some(stranger) = stranger(state_dir)
        {
            return Ok(Acquired::Taken(stranger));
        }
        let path = state_dir.join(FILE_NAME);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let (mut file, is_writable) = match opened {
            Ok(file) => (file, true),
            // Nothing can be kept there, but two runtimes must not page about the same things either.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                (File::open(path).or_else(|_| File::open(state_dir))?, false)
            }
            // Whether its account runs a hotseat now or not: probing, paging and backing up from there is its business.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return stranger(state_dir).map(Acquired::Taken).ok_or(error);
            }
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Acquired::Taken(line(&text(&mut file)))),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // The sub-second part helps nobody.
        let line = format!("pid {} since {now:.0}\n", std::process::id());
        let lock = Self { file, line, is_writable };
        lock.publish(None)?;
        Ok(Acquired::Held(lock))
    }

    /// Lets the members of a group read who holds it and by which socket they get on. They cannot hold it: what else
    /// stands in the directory is not theirs.
    ///
    /// # Errors
    /// When this account is not in the group.
    pub fn share(&self, gid: u32) -> io::Result<()> {
        if !self.is_writable {
            return Ok(());
        }
        let found = self.file.metadata()?;
        if found.gid() != gid {
            fchown(&self.file, None, Some(gid))?;
        }
        if found.mode() & 0o777 != SHARED_MODE {
            self.file.set_permissions(fs::Permissions::from_mode(SHARED_MODE))?;
        }
        Ok(())
    }

    /// Keeps it to our own account again.
    ///
    /// # Errors
    /// When its mode cannot be changed.
    pub fn unshare(&self) -> io::Result<()> {
        if !self.is_writable || self.file.metadata()?.mode() & 0o777 == PRIVATE_MODE {
            return Ok(());
        }
        self.file.set_permissions(fs::Permissions::from_mode(PRIVATE_MODE))
    }

    /// Writes down by which socket screens get on. On a read-only file system nothing is written, and on a full one what
    /// fits over what stood there; they find it by looking where it can be.
    ///
    /// # Errors
    /// When it cannot be written, or the path does not fit in a line.
    pub fn publish(&self, socket: Option<&Path>) -> io::Result<()> {
        if !self.is_writable {
            return Ok(());
        }
        let socket = match socket.map(|it| it.to_str().filter(|it| !it.chars().any(char::is_control))) {
            Some(Some(path)) => format!("{SOCKET}{path}\n"),
            Some(None) => return Err(io::Error::other("the path of the socket is no text")),
            None => String::new(),
        };
        let text = format!("{}{socket}", self.line);
        // In this order a reader finds the holder at any moment.
        let written = self.file.write_all_at(text.as_bytes(), 0).and_then(|()| self.file.set_len(text.len() as u64));
        match written {
            // It is held all the same, and two must not page about the same things.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                tracing::warn!("could not write down who holds the state directory: {error}");
                Ok(())
            }
            other => other,
        }
    }
}

/// Whose directory it is when it is not ours, by login.
pub fn other_owner(state_dir: &Path) -> Option<String> {
    let uid = fs::metadata(state_dir).ok()?.uid();
    let login = || paths::login_of(uid).unwrap_or_else(|| format!("uid-{uid}"));
    (uid != rustix::process::geteuid().as_raw()).then(login)
}

/// The same in words.
fn stranger(state_dir: &Path) -> Option<String> {
    other_owner(state_dir).map(|it| format!("the account `{it}`, whose it is"))
}

/// Reads who holds a state directory or did so last; `None` when nobody ever did or it cannot be read.
///
/// The text outlives its writer. What it says is a place to look, no more.
pub fn holder(state_dir: &Path) -> Option<Holder> {
    let mut file = File::open(state_dir.join(FILE_NAME)).ok()?;
    let text = text(&mut file);
    let socket = text.lines().skip(1).find_map(|it| it.strip_prefix(SOCKET)).map(PathBuf::from);
    Some(Holder { line: line(&text), socket: socket.filter(|it| it.is_absolute()) })
}

/// True when nobody holds a state directory, as far as that can be seen without taking the lock.
///
/// Asking for the lock would keep a runtime that starts in this instant from getting it, so the kernel's list of locks
/// is read instead, see `proc_locks(5)`. Holders in another container are not in it; taking over then says who it is.
pub fn is_free(state_dir: &Path) -> bool {
    let file = fs::metadata(state_dir.join(FILE_NAME)).or_else(|_| fs::metadata(state_dir));
    let Ok(file) = file else { return true };
    let Ok(locks) = fs::read_to_string("/proc/locks") else { return true };
    listed(&locks, file.dev(), file.ino()).is_none()
}

/// Who has locked a file, in lines like `1: FLOCK  ADVISORY  WRITE 708 08:01:13 0 EOF`. A process of another namespace
/// has no number there that means anything here.
fn listed(locks: &str, device: u64, inode: u64) -> Option<Option<Pid>> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let wanted = format!("{major:02x}:{minor:02x}:{inode}");
    locks.lines().find_map(|line| {
        // Who waits for a lock is listed with an arrow behind the number.
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let is_it = words.first() == Some(&"FLOCK") && words.contains(&wanted.as_str());
        is_it.then(|| words.get(3)?.parse::<i32>().ok().filter(|it| *it > 0).and_then(Pid::from_raw))
    })
}

/// The process that holds a state directory, as far as the kernel tells it.
fn holding(state_dir: &Path) -> Option<Pid> {
    let file = fs::metadata(state_dir.join(FILE_NAME)).or_else(|_| fs::metadata(state_dir)).ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    listed(&locks, file.dev(), file.ino())?
}

/// A process of ours that holds a state directory and that can be ended.
#[derive(Debug)]
pub struct Stuck {
    /// Names the process also when its number has gone to another.
    process: OwnedFd,
    /// In words: `pid 4242, which is stopped`.
    pub words: String,
}

/// How long the one who is told to end gets for it, before it is ended by the kernel.
const END_WAIT: Duration = Duration::from_secs(3);
/// When it is told once more, which an agent takes for: at once.
const END_AT_ONCE: Duration = Duration::from_millis(300);
/// How often is looked whether it has ended.
const END_LOOK: Duration = Duration::from_millis(20);

impl Stuck {
    /// Finds who holds a state directory; `None` when nobody does, when it is this very process, or not ours to end.
    pub fn find(state_dir: &Path) -> Option<Self> {
        let pid = holding(state_dir).filter(|it| *it != rustix::process::getpid())?;
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Its number may have gone to another in between.
        if holding(state_dir) != Some(pid) {
            return None;
        }
        let folder = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        if fs::metadata(&folder).ok()?.uid() != rustix::process::geteuid().as_raw() {
            return None;
        }
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        // The name in front may hold blanks and parentheses itself, see `proc_pid_stat(5)`.
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        let how = match state {
            Some('T' | 't') => "which is stopped",
            Some('D') => "which waits for a disk",
            _ => "which does not answer",
        };
        Some(Self { process, words: format!("pid {}, {how}", pid.as_raw_nonzero()) })
    }

    /// Ends it: in order when it can, else as the kernel does. Takes a few seconds at most.
    ///
    /// # Errors
    /// When it still holds the directory afterwards, in words.
    pub async fn end(self, state_dir: &Path) -> Result<(), String> {
        let send = |signal| rustix::process::pidfd_send_signal(&self.process, signal);
        // One that is stopped hears of it once it goes on.
        let _ = send(Signal::TERM);
        let _ = send(Signal::CONT);
        let began = clock::timer();
        let (mut again, mut killed) = (false, false);
        while !is_free(state_dir) {
            let waited = began.elapsed();
            if waited >= END_AT_ONCE && !std::mem::replace(&mut again, true) {
                let _ = send(Signal::TERM);
            }
            if waited >= END_WAIT && !std::mem::replace(&mut killed, true) {
                let _ = send(Signal::KILL);
            }
            if waited >= 2 * END_WAIT {
                return Err(format!("{}, does not end either", self.words));
            }
            tokio::time::sleep(END_LOOK).await;
        }
        Ok(())
    }
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    // Unreadable or not yet written: the lock itself is what counts.
    let _ = file.take(TEXT_MAX_BYTES).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn line(text: &str) -> String {
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
        let socket = dir.path().join("agent.sock");
        first.publish(Some(&socket)).expect("written");
        let published = super::holder(dir.path()).expect("read");
        assert_eq!(published, Holder { line: holder, socket: Some(socket) });
        first.publish(None).expect("written");
        assert_eq!(super::holder(dir.path()).expect("read").socket, None);
        drop(first);
        assert!(matches!(StateLock::acquire(dir.path(), now).expect("lock"), Acquired::Held(_)));
    }

    #[test]
    fn a_shared_lock_file_is_read_by_its_group_and_nobody_else() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let Acquired::Held(lock) = StateLock::acquire(dir.path(), Timestamp::UNIX_EPOCH).expect("lock") else {
            panic!("nobody else holds it");
        };
        let mode = || fs::metadata(dir.path().join(FILE_NAME)).expect("metadata").mode() & 0o777;
        assert_eq!(mode(), 0o600);
        let gid = rustix::process::getgid().as_raw();
        for _ in 0..2 {
            lock.share(gid).expect("shared");
            assert_eq!(mode(), 0o640);
        }
        lock.unshare().expect("private");
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn a_lock_is_seen_without_being_asked_for() {
        let locks = "1: POSIX  ADVISORY  WRITE 708 08:01:13 0 EOF\n2: FLOCK  ADVISORY  WRITE 709 fe:10:4711 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 710 fe:10:4712 0 EOF\n";
        let device = rustix::fs::makedev(0xfe, 0x10);
        assert_eq!(listed(locks, device, 4711), Some(Pid::from_raw(709)));
        assert!(listed(locks, device, 471).is_none() && listed(locks, device, 4712).is_none());
        assert!(listed(locks, rustix::fs::makedev(8, 1), 13).is_none(), "another kind of lock");

        let dir = tempfile::tempdir().expect("temporary directory");
        assert!(is_free(dir.path()), "nobody ever held it");
        let Acquired::Held(held) = StateLock::acquire(dir.path(), Timestamp::UNIX_EPOCH).expect("lock") else {
            panic!("nobody else holds it");
        };
        assert!(!is_free(dir.path()));
        assert_eq!(holding(dir.path()), Some(rustix::process::getpid()));
        assert!(Stuck::find(dir.path()).is_none(), "nobody ends themselves");
        drop(held);
        assert!(is_free(dir.path()));
    }
}
