//! What people decide about alerts on a command line: a file each in the state directory, until it is taken in.
//!
//! The kernel says when one comes, so that it counts at once and nothing wakes up for it. Without a runtime it
//! waits for the next one. Where the kernel does not say so, it is looked at when the next file comes or at the
//! next start.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use notify::{EventKind, RecursiveMode, Watcher};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::domain::alert::AlertFact;
use crate::domain::fact::{Actor, Fact};
use crate::service::ServiceSetup;
use crate::service::supervise::supervise;

/// The folder in the state directory.
pub const FOLDER: &str = "asked";
/// Largest file: a silence with the most and longest matchers.
const FILE_MAX_BYTES: u64 = 256 << 10;
/// Files looked at in one go, the oldest first: more than a script leaves while nobody looks.
const FILES_MAX: usize = 4_096;
/// A file stays this long after it was taken in: until what it says is surely committed. Taken in twice it changes
/// nothing, because silences and maintenances go by their names.
const SETTLE: Duration = Duration::from_secs(2);

/// What somebody decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Who.
    pub by: String,
    /// What; only what a person may decide is taken in.
    pub fact: AlertFact,
}

impl Asked {
    fn is_allowed(&self) -> bool {
        matches!(
            self.fact,
            AlertFact::Silenced(_)
                | AlertFact::Unsilenced { .. }
                | AlertFact::Maintained(_)
                | AlertFact::MaintenanceEnded { .. }
                | AlertFact::Acknowledged { .. }
                | AlertFact::Unacknowledged { .. }
        )
    }
}

/// Leaves it for the runtime; it is on disk when this returns.
///
/// # Errors
/// When the state directory cannot be written.
pub fn leave(state_dir: &Path, asked: &Asked, now: Timestamp) -> io::Result<()> {
    let folder = state_dir.join(FOLDER);
    make(&folder)?;
    // Names sort by time; a hidden one is not looked at yet.
    let name = format!("{:018}-{}.json", now.as_microsecond(), Uuid::now_v7().simple());
    let hidden = folder.join(format!(".{name}"));
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&hidden)?;
    let written = serde_json::to_vec(asked)
        .map_err(io::Error::from)
        .and_then(|text| file.write_all(&text))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&hidden, folder.join(&name)));
    if written.is_err() {
        // Nothing is worse for that it stays.
        let _ = fs::remove_file(&hidden);
    }
    written?;
    fs::File::open(&folder)?.sync_all()
}

/// What waits, oldest first; a file that cannot be understood is passed over.
///
/// # Errors
/// When the folder is there but cannot be read.
pub fn waiting(state_dir: &Path) -> io::Result<Vec<(PathBuf, Asked)>> {
    let entries = match fs::read_dir(state_dir.join(FOLDER)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|it| Some(it.ok()?.path()))
        .filter(|it| it.file_name().and_then(|it| it.to_str()).is_some_and(|it| !it.starts_with('.')))
        .collect();
    paths.sort();
    paths.truncate(FILES_MAX);
    Ok(paths.into_iter().filter_map(|path| Some((read(&path)?, path))).map(|(asked, path)| (path, asked)).collect())
}

fn read(path: &Path) -> Option<Asked> {
    let mut text = Vec::new();
    let read = fs::File::open(path).and_then(|it| it.take(FILE_MAX_BYTES).read_to_end(&mut text));
    let asked = read
        .map_err(|it| it.to_string())
        .and_then(|_| serde_json::from_slice::<Asked>(&text).map_err(|it| it.to_string()));
    match asked {
        Ok(asked) if asked.is_allowed() => Some(asked),
        Ok(_) => None,
        Err(error) => {
            // Gone is taken in by now.
            tracing::debug!(error, "could not read {}", path.display());
            None
        }
    }
}

/// Takes in what waits and what comes, until `setup.cancel`. For the one who holds the state directory.
pub fn start(setup: &ServiceSetup) {
    let its = setup.clone();
    supervise(setup, "command line", move || take_in(its.clone()));
}

async fn take_in(setup: ServiceSetup) {
    let changed = Arc::new(Notify::new());
    let folder = setup.state_dir.join(FOLDER);
    let watched = make(&folder).map_err(notify::Error::io).and_then(|()| watch(&folder, Arc::clone(&changed)));
    if let Err(error) = &watched {
        tracing::warn!(%error, "could not watch {}", folder.display());
    }
    let mut taken: Vec<PathBuf> = Vec::new();
    loop {
        let state_dir = setup.state_dir.clone();
        let found = tokio::task::spawn_blocking(move || waiting(&state_dir)).await;
        let found = found.ok().and_then(Result::ok).unwrap_or_default();
        for (path, asked) in found {
            if taken.contains(&path) {
                continue;
            }
            setup.facts.send_as(Actor::Person(asked.by), Fact::Alert(asked.fact)).await;
            taken.push(path);
        }
        tokio::select! {
            () = setup.cancel.cancelled() => return,
            () = changed.notified() => {}
            () = tokio::time::sleep(SETTLE), if !taken.is_empty() => {
                let settled = std::mem::take(&mut taken);
                let removed = tokio::task::spawn_blocking(move || {
                    settled.iter().filter(|it| fs::remove_file(it).is_err() && it.exists()).cloned().collect()
                });
                // What cannot be removed must not be taken in over and over.
                let stuck: Vec<PathBuf> = removed.await.unwrap_or_default();
                if !stuck.is_empty() {
                    tracing::warn!("could not remove {} files below {}", stuck.len(), folder.display());
                    taken = stuck;
                    tokio::select! {
                        () = setup.cancel.cancelled() => return,
                        () = changed.notified() => {}
                    }
                }
            }
        }
    }
}

fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn watch(folder: &Path, changed: Arc<Notify>) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error (an overflow) may hide a change; looking once too often is harmless.
        if event.map_or(true, |it| !matches!(it.kind, EventKind::Access(_) | EventKind::Remove(_))) {
            changed.notify_one();
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn end(id: &str) -> Asked {
        let fact = AlertFact::Unsilenced { id: id.into(), by: "bob".into(), at: Timestamp::UNIX_EPOCH };
        Asked { by: "bob".into(), fact }
    }

    #[test]
    fn what_is_left_waits_in_order_and_private() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(waiting(dir.path()).expect("nothing there").len(), 0);
        for second in [2, 1, 3] {
            let now = Timestamp::from_second(second).expect("a time");
            leave(dir.path(), &end(&second.to_string()), now).expect("left");
        }
        let found = waiting(dir.path()).expect("read");
        assert_eq!(found.iter().map(|it| it.1.clone()).collect::<Vec<_>>(), ["1", "2", "3"].map(end));
        let mode = fs::metadata(&found[0].0).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn nobody_can_ask_for_what_only_the_runtime_says() {
        let dir = tempfile::tempdir().expect("a directory");
        let tick = Asked { by: "bob".into(), fact: AlertFact::Tick { at: Timestamp::UNIX_EPOCH } };
        leave(dir.path(), &tick, Timestamp::UNIX_EPOCH).expect("left");
        fs::write(dir.path().join(FOLDER).join("0.json"), "{").expect("written");
        assert_eq!(waiting(dir.path()).expect("read"), []);
    }

    #[tokio::test]
    async fn a_runtime_takes_in_what_waited_and_what_comes() {
        let dir = tempfile::tempdir().expect("a directory");
        let (facts, mut facts_rx) = crate::service::FactSender::channel();
        let setup = ServiceSetup {
            host: crate::domain::ids::HostId::new("h"),
            user: "alice".into(),
            state_dir: dir.path().to_path_buf(),
            facts,
            cancel: tokio_util::sync::CancellationToken::new(),
        };
        leave(dir.path(), &end("before"), Timestamp::UNIX_EPOCH).expect("left");
        start(&setup);
        let mut next = async || facts_rx.recv().await.expect("running");
        assert_eq!(next().await, (Actor::Person("bob".into()), Fact::Alert(end("before").fact)));
        leave(dir.path(), &end("after"), Timestamp::from_second(9).expect("a time")).expect("left");
        assert_eq!(next().await.1, Fact::Alert(end("after").fact));
        setup.cancel.cancel();
    }
}
