//! Takes a changed config into use, or keeps the running one and says why.
//!
//! A reload that brings mistakes the running config did not have is refused as a whole: a slip of the
//! fingers in one entry must not stop a probe that was running. Mistakes that were there before stay what
//! they were, so that they can be mended one by one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};

use crate::config::{Config, Loaded};
use crate::domain::config_error::ConfigError;
use crate::domain::fact::{Fact, RuntimeFact};
use crate::domain::request::Inbound;
use crate::runtime::Services;
use crate::service::{Reply, ServiceSetup};

/// Reads the config again. Called on a thread that may block.
pub type ConfigReader = Arc<dyn Fn() -> Loaded + Send + Sync>;

/// Reloads that wait: one that runs and one that sees everything later.
const RELOADS_MAX: usize = 2;
/// Editors write a file in several steps; this long nothing must happen to it.
const SETTLE: Duration = Duration::from_millis(150);
/// A config on a file system that does not answer must not block the next reload for good; several
/// `${cmd:…}` of five seconds each must have time.
const READ_DEADLINE: Duration = Duration::from_secs(30);

/// Why the config is read again.
enum Cause {
    /// A person asked.
    Asked(Reply),
    /// The file changed.
    Changed,
    /// Entries were left out until their commands could be run.
    Deferred,
}

/// Where reloads are asked for. Cloning is cheap.
#[derive(Clone)]
pub struct Reloads {
    tx: mpsc::Sender<Cause>,
}

/// The other end of [`Reloads`].
pub struct ReloadQueue {
    rx: mpsc::Receiver<Cause>,
}

impl Reloads {
    /// Makes both ends.
    pub fn channel() -> (Self, ReloadQueue) {
        let (tx, rx) = mpsc::channel(RELOADS_MAX);
        (Self { tx }, ReloadQueue { rx })
    }

    /// Asks for a reload and for a word about it.
    pub fn ask(&self, reply: Reply) {
        if let Err(mpsc::error::TrySendError::Full(Cause::Asked(reply))) = self.tx.try_send(Cause::Asked(reply)) {
            // The reload that waits reads what is there then.
            let _ = reply(Inbound::Done("the config is being read already".into()));
        }
    }
}

impl ReloadQueue {
    /// Makes the first reload one that runs the commands which the start did not wait for.
    pub fn with_deferred(self, reloads: &Reloads) -> Self {
        // The queue is new and has room.
        let _ = reloads.tx.try_send(Cause::Deferred);
        self
    }
}

/// Reloads when asked or when the file changes, until `setup.cancel`.
pub async fn run(
    setup: ServiceSetup,
    services: Arc<Services>,
    reader: ConfigReader,
    config_tx: watch::Sender<Arc<Config>>,
    mut errors: Vec<ConfigError>,
    reloads: Reloads,
    mut queue: ReloadQueue,
) {
    let path = config_tx.borrow().path.clone();
    let watcher = match path.as_deref().map(|path| watch_file(Path::new(path), reloads.tx.clone())) {
        Some(Ok(watcher)) => Some(watcher),
        Some(Err(error)) => {
            let error = format!("{error}; press the reload key after a change");
            let fact = RuntimeFact::ServiceFailed { service: "config watcher".into(), error, retry_s: 0 };
            setup.facts.send(Fact::Runtime(fact)).await;
            None
        }
        None => None,
    };
    let mut text = config_tx.borrow().text.clone();
    loop {
        let cause = tokio::select! {
            () = setup.cancel.cancelled() => break,
            cause = queue.rx.recv() => match cause {
                Some(cause) => cause,
                None => break,
            },
        };
        if matches!(cause, Cause::Changed) {
            tokio::time::sleep(SETTLE).await;
        }
        let read = Arc::clone(&reader);
        let read = tokio::time::timeout(READ_DEADLINE, tokio::task::spawn_blocking(move || read())).await;
        let Ok(Ok(loaded)) = read else {
            if let Cause::Asked(reply) = cause {
                let _ = reply(Inbound::Failed("could not read the config: no answer within 30 s".into()));
            }
            continue;
        };
        if matches!(cause, Cause::Changed) && loaded.config.text == text {
            continue;
        }
        text.clone_from(&loaded.config.text);
        let verdict = match cause {
            // The start took its mistakes along with the good entries; these belong to it.
            Cause::Deferred if loaded.readable => Verdict::Take,
            _ => decide(&errors, &loaded),
        };
        let answer = match verdict {
            Verdict::Take => {
                errors.clone_from(&loaded.errors);
                let config = Arc::new(loaded.config);
                services.reload(&config);
                let path = config.path.clone();
                let _ = config_tx.send_replace(config);
                let fact = RuntimeFact::ConfigLoaded { path, errors: loaded.errors };
                setup.facts.send(Fact::Runtime(fact)).await;
                Inbound::Done("config read again".into())
            }
            Verdict::Keep => {
                let count = loaded.errors.len();
                let fact = RuntimeFact::ConfigRejected { errors: loaded.errors };
                setup.facts.send(Fact::Runtime(fact)).await;
                let mistakes = if count == 1 { "1 mistake".to_string() } else { format!("{count} mistakes") };
                Inbound::Failed(format!("config not taken into use: {mistakes} (run `hotseat check`)"))
            }
        };
        if let Cause::Asked(reply) = cause {
            let _ = reply(answer);
        }
    }
    drop(watcher);
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Take,
    Keep,
}

fn decide(running: &[ConfigError], loaded: &Loaded) -> Verdict {
    // Lines move when a file is edited, so the words tell old mistakes from new ones.
    let known = |error: &ConfigError| running.iter().any(|it| it.message == error.message);
    if loaded.readable && loaded.errors.iter().all(known) { Verdict::Take } else { Verdict::Keep }
}

/// Watches the folder of a config, because editors replace the file; both where its name stands and
/// where a symbolic link leads.
fn watch_file(path: &Path, tx: mpsc::Sender<Cause>) -> notify::Result<notify::RecommendedWatcher> {
    let mut files = vec![path.to_path_buf()];
    files.extend(std::fs::canonicalize(path));
    let mut folders: Vec<PathBuf> = files.iter().map(|it| folder_of(it)).collect();
    folders.dedup();
    let names: Vec<_> = files.iter().filter_map(|it| it.file_name().map(ToOwned::to_owned)).collect();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error (an overflow) may hide a change; reading once too often is harmless.
        let ours = event.map_or(true, |event| {
            !matches!(event.kind, notify::EventKind::Access(_))
                && event.paths.iter().any(|it| it.file_name().is_some_and(|name| names.iter().any(|it| it == name)))
        });
        if ours {
            // Full: a reload that waits sees this change too.
            let _ = tx.try_send(Cause::Changed);
        }
    })?;
    for folder in folders {
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(running: &[&str], readable: bool, found: &[&str], expected: &Verdict) {
        let errors = |messages: &[&str]| messages.iter().map(|it| ConfigError::whole_file("c", *it)).collect();
        let running: Vec<ConfigError> = errors(running);
        let loaded = Loaded { config: Config::default(), errors: errors(found), readable, deferred: false };
        assert_eq!(decide(&running, &loaded), *expected, "{running:?} {found:?}");
    }

    #[test]
    fn a_reload_with_new_mistakes_keeps_the_running_config() {
        check(&[], true, &[], &Verdict::Take);
        check(&[], true, &["unknown key `x`"], &Verdict::Keep);
        check(&[], false, &[], &Verdict::Keep);
    }

    #[test]
    fn mistakes_that_were_there_before_do_not_block_mending_the_others() {
        check(&["a", "b"], true, &["b"], &Verdict::Take);
        check(&["a", "b"], true, &["b", "c"], &Verdict::Keep);
    }
}
