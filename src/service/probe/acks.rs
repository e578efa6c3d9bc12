//! Acknowledgements on disk: how `hotseat ack` tells a screen that runs, and how a mark outlives a restart.
//!
//! One small JSON file in the state directory, replaced as a whole under a lock. The kernel says when it was
//! replaced, so a mark shows at once and nothing wakes up for it. Where a file system does not say so, a probe
//! that is not up looks at it after each of its runs.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::inotify;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use crate::domain::probe::Ack;
use crate::service::private_file;

/// The file in the state directory.
const FILE: &str = "acks.json";
/// Its lock; the file itself is replaced and cannot carry one.
const LOCK: &str = "acks.lock";
/// Marks kept, the newest ones: more probes than one screen is used for.
const ACKS_MAX: usize = 2_000;
/// Largest file that is read: `ACKS_MAX` marks with long names.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// Bytes of events that are read at a time: one with the longest name takes some 270.
const EVENTS_BYTES: usize = 1024;

/// Marks by the name of the probe.
pub type Acks = BTreeMap<String, Ack>;

/// Writes a mark down; it is on disk when this returns.
///
/// # Errors
/// When the state directory cannot be written.
pub fn record(state_dir: &Path, probe: &str, ack: Ack) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(state_dir.join(LOCK))?;
    lock.lock()?;
    // A file that cannot be understood is replaced: marks are worth less than being able to set one.
    let mut acks = read(state_dir).unwrap_or_default();
    acks.insert(probe.to_string(), ack);
    while acks.len() > ACKS_MAX {
        let oldest = acks.iter().min_by_key(|(_, it)| it.at).map(|(name, _)| name.clone());
        let Some(oldest) = oldest else { break };
        acks.remove(&oldest);
    }
    private_file::write(&state_dir.join(FILE), &serde_json::to_vec(&acks)?)
}

/// Takes a mark back; it is gone from the disk when this returns.
///
/// # Errors
/// When the state directory cannot be written.
pub fn forget(state_dir: &Path, probe: &str) -> io::Result<()> {
    let lock = match OpenOptions::new().write(true).open(state_dir.join(LOCK)) {
        // There never was one.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        lock => lock?,
    };
    lock.lock()?;
    let mut acks = read(state_dir).unwrap_or_default();
    if acks.remove(probe).is_none() {
        return Ok(());
    }
    private_file::write(&state_dir.join(FILE), &serde_json::to_vec(&acks)?)
}

/// Reads all marks; none when there is no file.
///
/// # Errors
/// When the file cannot be read or understood.
pub fn read(state_dir: &Path) -> io::Result<Acks> {
    let file = match File::open(state_dir.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Acks::new()),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(FILE_MAX_BYTES).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

/// Tells when marks were written.
///
/// The state directory is written to all the time, by the store above all. The kernel is asked for replaced files
/// alone, so that nobody wakes up for the rest.
pub struct AckWatch {
    inotify: AsyncFd<OwnedFd>,
}

impl AckWatch {
    /// Begins to watch. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When the directory cannot be made or watched.
    pub fn start(state_dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        inotify::add_watch(&inotify, state_dir, inotify::WatchFlags::MOVED_TO)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an owned descriptor stays open as long as it is registered"
        )]
        let inotify = AsyncFd::new(inotify)?;
        Ok(Self { inotify })
    }

    /// Waits until marks were written since the last call, or could have been.
    ///
    /// # Errors
    /// When nothing more will be told.
    pub async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
            let mut events = inotify::Reader::new(self.inotify.get_ref(), &mut buffer);
            let mut is_ours = false;
            loop {
                match events.next() {
                    // Too many at once: a mark may be among those that were dropped.
                    Ok(event) if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) => is_ours = true,
                    Ok(event) => is_ours |= event.file_name().is_some_and(|it| it.to_bytes() == FILE.as_bytes()),
                    Err(Errno::WOULDBLOCK) => break,
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            ready.clear_ready();
            if is_ours {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_mark_is_read_back_and_private() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path().join("state");
        let ack = Ack { by: "bob".into(), at: Timestamp::UNIX_EPOCH };
        record(&state, "api", ack.clone()).expect("written");
        record(&state, "db", ack.clone()).expect("written");
        assert_eq!(read(&state).expect("read").get("api"), Some(&ack));
        let mode = std::fs::metadata(state.join(FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_mark_is_told_and_nothing_else_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let watch = AckWatch::start(dir.path()).expect("watched");
        private_file::write(&dir.path().join("other"), b"x").expect("written");
        let told = tokio::select! {
            biased;
            it = watch.changed() => Some(it),
            () = std::future::ready(()) => None,
        };
        assert!(told.is_none(), "another file");
        record(dir.path(), "api", Ack { by: "bob".into(), at: Timestamp::UNIX_EPOCH }).expect("written");
        watch.changed().await.expect("told");
    }

    #[test]
    fn a_broken_file_does_not_stop_a_new_mark() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(FILE), "{").expect("written");
        assert!(read(dir.path()).is_err());
        record(dir.path(), "api", Ack { by: "bob".into(), at: Timestamp::UNIX_EPOCH }).expect("written");
        assert_eq!(read(dir.path()).expect("read").len(), 1);
    }
}
