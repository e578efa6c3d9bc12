//! The kernel lock of the state directory: one runtime probes and backs up, the others stand by.
//!
//! The kernel drops the lock with the process, however it ends, so that there is no stale lock to clean up.
//! The text of one file only says who holds it, and by which socket screens get on.
//!
//! Three things are locked. The private file decides: nobody else can open it. The file with the text is read by the
//! group of a share, and an older hotseat locks it alone. The directory can be locked also when nothing can be made in
//! it, and may be opened to its owner while it is held. One that cannot be opened at all has a lock of its own below
//! the directory of temporary files.
//!
//! Whoever may read a file or list a directory may lock it. Where only our own account can write, a lock of another
//! account is no runtime's, and keeps nobody out.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{Pid, PidfdFlags, Signal};
use sha2::{Digest as _, Sha256};

use crate::clock;
use crate::config::paths;
use crate::store::file_system::{self, Kind};

/// Name of the lock file with the text in the state directory.
const FILE_NAME: &str = "runtime.lock";
/// Name of the lock file that nobody else can open.
const PRIVATE_NAME: &str = "private.lock";
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
    /// The lock file with the text; missing where it cannot be written.
    file: Option<File>,
    /// What else is locked: the private file, the directory, its lock apart, the file where it can only be read.
    #[expect(dead_code, reason = "held, not read: the kernel unlocks what is closed")]
    others: Vec<File>,
    /// Who we are.
    line: String,
    unusable: Option<String>,
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
    /// Makes a state directory where it is missing and asks for its lock without waiting for it.
    ///
    /// # Errors
    /// When nothing can be locked that would keep a second runtime out.
    pub fn acquire(state_dir: &Path, now: Timestamp) -> io::Result<Acquired> {
        if owner_beside_root(state_dir).is_some()
            && let Some(stranger) = stranger(state_dir)
        {
            return Ok(Acquired::Taken(stranger));
        }
        let (file, others, unusable) = match lock_inside(state_dir) {
            Ok(Some((file, others))) => (file, others, None),
            Ok(None) => return Ok(Acquired::Taken(holder_in_words(state_dir))),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && other_owner(state_dir).is_some() => {
                // Whether its account runs a hotseat now or not: probing, paging and backing up from there is its
                // business.
                return stranger(state_dir).map(Acquired::Taken).ok_or(error);
            }
            // It may have been held already when it was closed to us.
            Err(_) if !is_free(state_dir) => return Ok(Acquired::Taken(holder_in_words(state_dir))),
            Err(error) if is_out_of_reach(&error) => match lock_apart(state_dir) {
                Ok(Some(lock)) => (None, vec![lock], Some(error.to_string())),
                Ok(None) => return Ok(Acquired::Taken(holder_in_words(state_dir))),
                Err(apart) => return Err(io::Error::other(format!("{error}; and {apart}"))),
            },
            Err(error) => return Err(error),
        };
        if file.is_none()
            && let (name, Kind::Network) = file_system::of(state_dir)
        {
            tracing::warn!(
                "the lock of the state directory is this host's alone: it is on {name}, and nothing can be \
                            written there"
            );
        }
        // The sub-second part helps nobody.
        let line = format!("pid {} since {now:.0}\n", std::process::id());
        let lock = Self { file, others, line, unusable };
        lock.publish(None)?;
        Ok(Acquired::Held(lock))
    }

    /// Why nothing can be read or written in the state directory, when only a place apart from it could be locked.
    pub fn unusable(&self) -> Option<&str> {
        self.unusable.as_deref()
    }

    /// Lets the members of a group read who holds it and by which socket they get on. A lock of theirs keeps nobody out.
    ///
    /// # Errors
    /// When this account is not in the group.
    pub fn share(&self, gid: u32) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let found = file.metadata()?;
        if found.gid() != gid {
            fchown(file, None, Some(gid))?;
        }
        if found.mode() & 0o777 != SHARED_MODE {
            file.set_permissions(fs::Permissions::from_mode(SHARED_MODE))?;
        }
        Ok(())
    }

    /// Keeps it to our own account again.
    ///
    /// # Errors
    /// When its mode cannot be changed.
    pub fn unshare(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if file.metadata()?.mode() & 0o777 == PRIVATE_MODE {
            return Ok(());
        }
        file.set_permissions(fs::Permissions::from_mode(PRIVATE_MODE))
    }

    /// Writes down by which socket screens get on. Where the file cannot be written nothing is, and on a full disk what
    /// fits over what stood there; they find it by looking where it can be.
    ///
    /// # Errors
    /// When it cannot be written, or the path does not fit in a line.
    pub fn publish(&self, socket: Option<&Path>) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let socket = match socket.map(|it| it.to_str().filter(|it| !it.chars().any(char::is_control))) {
            Some(Some(path)) => format!("{SOCKET}{path}\n"),
            Some(None) => return Err(io::Error::other("the path of the socket is no text")),
            None => String::new(),
        };
        let text = format!("{}{socket}", self.line);
        // In this order a reader finds the holder at any moment.
        let written = file.write_all_at(text.as_bytes(), 0).and_then(|()| file.set_len(text.len() as u64));
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

/// What is locked of a state directory: the file when it can be written, and the rest.
type Locks = (Option<File>, Vec<File>);

/// Locks a state directory and the files in it; `None` when another process has one of them. An older hotseat locks the
/// file with the text alone.
fn lock_inside(state_dir: &Path) -> io::Result<Option<Locks>> {
    paths::make_private_dir(state_dir)?;
    let path = state_dir.join(FILE_NAME);
    let (file, mut failed) = match open_own(&path) {
        Ok(file) => (Some(file), None),
        // Before anything is locked that is another account's.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && other_owner(state_dir).is_some() => {
            return Err(error);
        }
        Err(error) if is_out_of_reach(&error) || is_full(&error) => (None, Some(error)),
        Err(error) => return Err(error),
    };
    let seen = if file.is_none() { File::open(&path).ok() } else { None };
    let mut common: Vec<File> = seen.into_iter().collect();
    match File::open(state_dir) {
        Ok(directory) => common.push(directory),
        Err(error) => failed = failed.or(Some(error)),
    }
    // While the directory could not be opened a lock apart may have been taken, and is held.
    let apart = apart_there(state_dir).and_then(|path| File::open(path).ok());
    let mut own: Vec<File> = open_private(state_dir).into_iter().chain(apart).collect();
    let (mut held, mut passed_over) = (0, false);
    for (it, is_own) in own.iter().map(|it| (it, true)).chain(common.iter().chain(&file).map(|it| (it, false))) {
        match it.try_lock() {
            Ok(()) => held += 1,
            Err(TryLockError::WouldBlock) => match foreign_holder(state_dir, it).filter(|_| !is_own) {
                Some(who) => {
                    tracing::warn!("{who} has locked `{}`, which keeps nobody out", state_dir.display());
                    passed_over = true;
                }
                None => return Ok(None),
            },
            // Not every file system locks directories, or files that are only read: one of them is enough.
            Err(TryLockError::Error(error)) => failed = Some(error),
        }
    }
    if passed_over && own.is_empty() {
        // What is left can be locked by others.
        match lock_apart(state_dir)? {
            Some(apart) => own.push(apart),
            None => return Ok(None),
        }
        held += 1;
    }
    match failed {
        Some(error) if held == 0 => Err(error),
        _ => {
            own.append(&mut common);
            Ok(Some((file, own)))
        }
    }
}

fn open_own(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(PRIVATE_MODE).open(path)
}

/// The file that only our account can open, where it can be made and is that.
fn open_private(state_dir: &Path) -> Option<File> {
    let file = open_own(&state_dir.join(PRIVATE_NAME)).ok()?;
    let found = file.metadata().ok()?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return None;
    }
    if found.mode() & 0o777 != PRIVATE_MODE {
        file.set_permissions(fs::Permissions::from_mode(PRIVATE_MODE)).ok()?;
    }
    Some(file)
}

/// Who has locked a file, in words, when it can be no runtime of this state directory: another account where nobody but
/// ours can write, or a process that has ended and left the lock to a child. `None` also when the kernel does not say.
fn foreign_holder(state_dir: &Path, file: &File) -> Option<String> {
    let found = file.metadata().ok()?;
    foreign_pid(state_dir, listed(&fs::read_to_string("/proc/locks").ok()?, found.dev(), found.ino())??)
}

fn foreign_pid(state_dir: &Path, pid: Pid) -> Option<String> {
    let us = rustix::process::geteuid().as_raw();
    let directory = fs::metadata(state_dir).ok()?;
    if directory.uid() != us || directory.mode() & 0o022 != 0 {
        return None;
    }
    let pid = pid.as_raw_nonzero();
    let status = match fs::read_to_string(format!("/proc/{pid}/status")) {
        Ok(status) => status,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(format!("pid {pid}, which has ended,")),
        Err(_) => return None,
    };
    // Real, effective, saved, and that of the file system, see `proc_pid_status(5)`.
    let uid = status.lines().find_map(|it| it.strip_prefix("Uid:")?.split_whitespace().nth(1)?.parse::<u32>().ok())?;
    let login = || paths::login_of(uid).unwrap_or_else(|| format!("uid-{uid}"));
    (uid != us).then(|| format!("the account `{}` (pid {pid})", login()))
}

/// True when a place cannot be used as it is, by anybody of this account.
fn is_out_of_reach(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | NotADirectory | NotFound)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Locks a state directory that cannot be used by a file in a folder of ours; `None` when another process has it.
fn lock_apart(state_dir: &Path) -> io::Result<Option<File>> {
    let (folder, path) = apart(state_dir)?;
    paths::make_own_folder(&folder)?;
    let file = open_own(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The folder and the file of the lock apart, the same for everybody of this account who calls the directory by
/// whatever path.
fn apart(state_dir: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let real = fs::canonicalize(state_dir).or_else(|_| std::path::absolute(state_dir))?;
    let hash = Sha256::digest(real.as_os_str().as_bytes());
    let hex: String = hash.iter().take(8).map(|it| format!("{it:02x}")).collect();
    let folder = std::env::temp_dir().join(format!("hotseat-{}", rustix::process::geteuid().as_raw()));
    let path = folder.join(format!("{hex}.lock"));
    Ok((folder, path))
}

/// The file of the lock apart, when its folder is there and ours: what stands in another's may be anything.
fn apart_there(state_dir: &Path) -> Option<PathBuf> {
    let (folder, path) = apart(state_dir).ok()?;
    let found = fs::symlink_metadata(folder).ok()?;
    (found.is_dir() && found.uid() == rustix::process::geteuid().as_raw()).then_some(path)
}

/// Who holds a state directory: what they wrote, unless the kernel knows better.
fn holder_in_words(state_dir: &Path) -> String {
    let written = holder(state_dir).map(|it| it.line);
    let pid = holding(state_dir).map(|it| it.as_raw_nonzero().get());
    match (written, pid) {
        // Where the file cannot be written, who held it before stands in it.
        (Some(written), Some(pid)) if !written.starts_with(&format!("pid {pid} ")) => format!("pid {pid}"),
        (Some(written), _) => written,
        (None, Some(pid)) => format!("pid {pid}"),
        (None, None) => "another process".to_string(),
    }
}

/// Whose directory it is when it is not ours, by login.
pub fn other_owner(state_dir: &Path) -> Option<String> {
    let uid = fs::metadata(state_dir).ok()?.uid();
    let login = || paths::login_of(uid).unwrap_or_else(|| format!("uid-{uid}"));
    (uid != rustix::process::geteuid().as_raw()).then(login)
}

/// Whose directory it is, by login, when it is another account's and we are root.
///
/// Root may write everywhere; what it makes there its owner could not open any more.
pub fn owner_beside_root(state_dir: &Path) -> Option<String> {
    rustix::process::geteuid().is_root().then(|| other_owner(state_dir)).flatten()
}

/// Another owner in words.
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
    let Ok(locks) = fs::read_to_string("/proc/locks") else { return true };
    holders(state_dir, &locks).next().is_none()
}

/// The processes that hold a state directory, by number where the kernel tells it. Who keeps nobody out is none.
fn holders<'a>(state_dir: &'a Path, locks: &'a str) -> impl Iterator<Item = Option<Pid>> + 'a {
    let listed = lockable(state_dir).filter_map(|file| listed(locks, file.dev(), file.ino()));
    listed.filter(|pid| pid.is_none_or(|pid| foreign_pid(state_dir, pid).is_none()))
}

/// What is locked of a state directory, as far as it is there.
fn lockable(state_dir: &Path) -> impl Iterator<Item = fs::Metadata> {
    let inside = [FILE_NAME, PRIVATE_NAME].map(|it| Some(state_dir.join(it)));
    let places = inside.into_iter().chain([Some(state_dir.to_path_buf()), apart_there(state_dir)]);
    places.flatten().filter_map(|it| fs::metadata(it).ok())
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
    let locks = fs::read_to_string("/proc/locks").ok()?;
    holders(state_dir, &locks).flatten().next()
}

/// A process of ours that holds a state directory and that can be ended.
#[derive(Debug)]
pub struct Stuck {
    /// Names the process also when its number has gone to another.
    process: OwnedFd,
    /// In words: `pid 4242, which is stopped`.
    pub words: String,
    /// What can be done about it: it is continued, looked after, or asked again.
    pub hint: &'static str,
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
        let (how, hint) = match state {
            Some('T' | 't') => ("which is stopped", "continue it with `kill -CONT`, or end it"),
            Some('D') => ("which waits for a disk", "look at that disk, or at the server that it is on"),
            _ => ("which does not answer", "it may have just begun or be about to end: ask again, and read its log"),
        };
        Some(Self { process, words: format!("pid {}, {how}", pid.as_raw_nonzero()), hint })
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
