//! Takes a changed config into use, or keeps the running one and says why.
//!
//! A reload that brings mistakes the running config did not have is refused as a whole: a slip of the
//! fingers in one entry must not stop a probe that was running. Mistakes that were there before stay what
//! they were, so that they can be mended one by one. The files that it names, a rotation or a secret, are watched
//! as it is. A config that is not there yet is waited for, and one
//! that went away keeps running: an editor, a mount or a slip may have taken it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use rustix::io::Errno;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{Config, Loaded, paths};
use crate::domain::alert::AlertFact;
use crate::domain::config_error::ConfigError;
use crate::domain::fact::{Actor, Fact, RuntimeFact};
use crate::domain::format;
use crate::domain::ids::HostId;
use crate::domain::request::Inbound;
use crate::registry::node::ReadFile;
use crate::runtime::{Services, state};
use crate::service::{Reply, ServiceSetup};

/// Reads the config again. Called on a thread that may block.
pub type ConfigReader = Arc<dyn Fn() -> Loaded + Send + Sync>;

/// Reloads that wait: one that runs and one that sees everything later.
const RELOADS_MAX: usize = 2;
/// Editors write a file in several steps, and whoever writes it may ask for a reload besides: what comes within this is
/// read once.
const SETTLE: Duration = Duration::from_millis(150);
/// Causes that one reading serves; more are served by the next.
const CAUSES_MAX: usize = 16;
/// A config on a file system that does not answer must not block the next reload for good; several
/// `${cmd:…}` of five seconds each must have time.
const READ_DEADLINE: Duration = Duration::from_secs(30);

/// What was refused because this host lacks something is read again after this, and after twice as long each time.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
/// The longest until it is read again: a person who waits for it looks after a minute.
const AGAIN_LAST: Duration = Duration::from_secs(60);

/// What a host runs out of for a while: descriptors, its own and everybody's, memory, and disks that answer.
const LACKS: [Errno; 6] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO, Errno::STALE, Errno::TIMEDOUT];

/// Why the config is read again.
enum Cause {
    /// A person asked; who, and whom to answer.
    Asked(Actor, Reply),
    /// The file changed.
    Changed,
    /// Entries were left out until their commands could be run.
    Deferred,
}

/// Everything that one reading is for.
#[derive(Default)]
struct Why {
    /// Who asked, and whom to answer.
    asked: Vec<(Actor, Reply)>,
    /// Entries wait for their commands.
    is_deferred: bool,
}

impl Why {
    fn add(&mut self, cause: Cause) {
        match cause {
            Cause::Asked(actor, reply) => self.asked.push((actor, reply)),
            Cause::Changed => {}
            Cause::Deferred => self.is_deferred = true,
        }
    }

    /// True when nobody has asked: what is as it was read before is no news.
    fn is_change(&self) -> bool {
        self.asked.is_empty() && !self.is_deferred
    }

    /// Who is named as the one who had it read.
    fn actor(&self) -> Actor {
        self.asked.first().map_or(Actor::Runtime, |(actor, _)| actor.clone())
    }

    fn answer(self, answer: &Inbound) {
        for (_, reply) in self.asked {
            // Who asked may be gone.
            let _ = reply(answer.clone());
        }
    }
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
    pub fn ask(&self, actor: Actor, reply: Reply) {
        let asked = self.tx.try_send(Cause::Asked(actor, reply));
        if let Err(mpsc::error::TrySendError::Full(Cause::Asked(_, reply))) = asked {
            // The reload that waits reads what is there then.
            let _ = reply(Inbound::Done("the config is being read already".into()));
        }
    }

    /// Asks for a reload and waits for the word about it.
    ///
    /// # Errors
    /// The word, when the config could not be taken into use.
    pub async fn asked(&self) -> Result<String, String> {
        let (said_tx, said_rx) = oneshot::channel();
        let said_tx = Mutex::new(Some(said_tx));
        let reply: Reply = Arc::new(move |inbound| {
            let said_tx = said_tx.lock().unwrap_or_else(PoisonError::into_inner).take();
            // The first answer is the only one, and who asked may be gone.
            said_tx.is_some_and(|it| it.send(inbound).is_ok())
        });
        // Waits for room: that another reload is under way says nothing about what this one finds.
        let _ = self.tx.send(Cause::Asked(Actor::Runtime, reply)).await;
        match said_rx.await {
            Ok(Inbound::Done(said)) => Ok(said),
            Ok(Inbound::Failed(why)) => Err(why),
            _ => Err("there is nothing that the config could be read from".into()),
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

impl ReloadQueue {
    /// Waits for a cause, and for what comes with it; `None` when nobody can ask any more.
    ///
    /// A file that was written and a signal about it come within an instant of each other, in any order.
    async fn next(&mut self) -> Option<Why> {
        let first = self.rx.recv().await?;
        // The commands that the start did not wait for are waited for by a person.
        if !matches!(first, Cause::Deferred) {
            tokio::time::sleep(SETTLE).await;
        }
        let mut why = Why::default();
        why.add(first);
        for _ in 1..CAUSES_MAX {
            let Ok(cause) = self.rx.try_recv() else { break };
            why.add(cause);
        }
        Some(why)
    }
}

/// What runs before the first reload.
pub struct Start {
    /// The mistakes of the config that runs.
    pub errors: Vec<ConfigError>,
    /// Where a config was looked for that is not there.
    pub missing: Option<PathBuf>,
}

/// What a changed config asks for and only a start can take, as a service that fails.
const HOST_NAME: &str = "reload of `[host] name`";

/// What the config calls this host when that is not what it is called: ids begin with its name until the end.
///
/// A config that named nobody at the start named the host itself.
fn other_name(running: &HostId, named_before: bool, config: &Config) -> Option<HostId> {
    let wanted = match &config.host {
        Some(name) => HostId::new(name),
        None if named_before => HostId::new(&paths::host_name()),
        None => return None,
    };
    (wanted != *running).then_some(wanted)
}

/// Reloads when asked or when the file changes, until `setup.cancel`.
pub async fn run(
    setup: ServiceSetup,
    services: Arc<Services>,
    reader: ConfigReader,
    config_tx: watch::Sender<Arc<Config>>,
    start: Start,
    reloads: Reloads,
    mut queue: ReloadQueue,
) {
    let mut errors = start.errors;
    let mut watched = config_tx.borrow().path.as_ref().map(PathBuf::from).or(start.missing);
    let mut watch: Option<FileWatch> = None;
    let mut read = as_read(&config_tx.borrow());
    // With what is read: who may read the file, or a disk that answers again, changes these and not a letter.
    let mut found = errors.clone();
    let named_before = config_tx.borrow().host.is_some();
    let mut renamed: Option<HostId> = None;
    let mut again: Option<Duration> = None;
    loop {
        // Each time: folders on the way to the file may have come, gone or been replaced meanwhile.
        if let Some(path) = &watched {
            // Those of a config that was refused as well: one of them may be what is missing.
            let places = all_places(path, read.1.iter().chain(&config_tx.borrow().files));
            if watch.as_ref().is_none_or(|it| it.places != places) {
                let failed_before = watch.as_ref().is_some_and(|it| it.watcher.is_none());
                let (watcher, failure) = match watch_places(&places, reloads.tx.clone()) {
                    Ok(watcher) => (Some(watcher), None),
                    Err(error) => (None, Some(format!("{error}; press the reload key after a change"))),
                };
                watch = Some(FileWatch { places, watcher });
                // What happened between the last look and this watch was seen by nobody. A reload that waits sees it.
                if queue.rx.is_empty() {
                    let _ = reloads.tx.try_send(Cause::Changed);
                }
                if let Some(error) = failure.filter(|_| !failed_before) {
                    let fact = RuntimeFact::ServiceFailed { service: "config watcher".into(), error, retry_s: 0 };
                    setup.facts.send(Fact::Runtime(fact)).await;
                }
            }
        }
        let why = tokio::select! {
            () = setup.cancel.cancelled() => break,
            why = queue.next() => match why {
                Some(why) => why,
                None => break,
            },
            () = tokio::time::sleep(again.unwrap_or_default()), if again.is_some() => Why::default(),
        };
        let reader = Arc::clone(&reader);
        let answer = tokio::time::timeout(READ_DEADLINE, tokio::task::spawn_blocking(move || reader())).await;
        let Ok(Ok(loaded)) = answer else {
            let error = "could not read the config: no answer within 30 s";
            tracing::error!("{error}");
            why.answer(&Inbound::Failed(error.into()));
            continue;
        };
        let mut loaded = loaded;
        again = lacks(&mut loaded.errors).then(|| again.map_or(AGAIN_FIRST, |it| (it * 2).min(AGAIN_LAST)));
        let running = config_tx.borrow().path.clone();
        let is_as_before = as_read(&loaded.config) == read && loaded.errors == found;
        if why.is_change() && is_as_before && loaded.config.path == running {
            continue;
        }
        if let (Some(missing), None) = (&loaded.missing, &running) {
            let shown = missing.display();
            tracing::warn!("there is no config yet: {shown}");
            why.answer(&Inbound::Failed(format!("there is no config yet: {shown} (run `hotseat init`)")));
            watched.clone_from(&loaded.missing);
            continue;
        }
        read = as_read(&loaded.config);
        found.clone_from(&loaded.errors);
        let actor = why.actor();
        let verdict = match why.is_deferred && loaded.readable {
            // The start took its mistakes along with the good entries; these belong to it.
            true => Verdict::Take,
            false => decide(running.is_some(), &errors, &loaded),
        };
        let answer = match verdict {
            Verdict::Take => {
                errors.clone_from(&loaded.errors);
                let config = Arc::new(loaded.config);
                // Only the holder has anything to share.
                if config.share != config_tx.borrow().share && services.keeper.get().is_some() {
                    let (setup, config) = (setup.clone(), Arc::clone(&config));
                    let sharing = tokio::task::spawn_blocking(move || state::share(&setup, config.share.as_ref()));
                    // A panic of it was written by the hook.
                    let _ = sharing.await;
                }
                services.reload(&config);
                let wanted = other_name(&setup.host, named_before, &config);
                let (path, rules) = (config.path.clone(), Box::new(config.alerts.clone()));
                watched = path.as_ref().map(PathBuf::from).or(watched);
                let _ = config_tx.send_replace(config);
                let said = match path.as_ref().filter(|_| running.is_none()) {
                    Some(path) => format!("config `{path}` taken into use"),
                    None => "config read again".to_string(),
                };
                // Before, the start is under way and tells the newest itself.
                if services.active.get().is_some() {
                    setup.facts.send_as(actor.clone(), Fact::Alert(AlertFact::Configured { rules })).await;
                }
                let digest = config_tx.borrow().digest();
                let fact = RuntimeFact::ConfigLoaded { path, errors: loaded.errors, digest };
                setup.facts.send_as(actor, Fact::Runtime(fact)).await;
                let still = wanted.as_ref().map(|it| {
                    format!(
                        "the host is still called `{}`, not `{it}`: restart the agent, or whatever watches",
                        setup.host
                    )
                });
                if wanted != renamed {
                    let service = HOST_NAME.to_string();
                    let fact = match &still {
                        Some(still) => RuntimeFact::ServiceFailed { service, error: still.clone(), retry_s: 0 },
                        None => RuntimeFact::ServiceWorks { service },
                    };
                    setup.facts.send(Fact::Runtime(fact)).await;
                    renamed = wanted;
                }
                Inbound::Done(still.map_or(said.clone(), |still| format!("{said}, but {still}")))
            }
            Verdict::Keep => {
                let mut errors = loaded.errors;
                if let Some(missing) = &loaded.missing {
                    errors.push(ConfigError::whole_file(&missing.display().to_string(), "no such file any more"));
                }
                let said = format!("config not taken into use: {}", refused(&errors));
                if let Some(it) = again {
                    tracing::warn!(seconds = it.as_secs(), "the config is read again: this host lacks something");
                }
                let fact = RuntimeFact::ConfigRejected { errors };
                setup.facts.send_as(actor, Fact::Runtime(fact)).await;
                Inbound::Failed(said)
            }
        };
        why.answer(&answer);
    }
}

/// True when a config was not refused for what stands in it: this host was short of something, or a disk did not answer.
/// Says so with each of these mistakes.
fn lacks(errors: &mut [ConfigError]) -> bool {
    let mut lacks = false;
    for error in errors {
        if LACKS.iter().any(|it| error.message.contains(&format!("(os error {})", it.raw_os_error()))) {
            error.hint.get_or_insert_with(|| "it is read again by itself until that is over".to_string());
            lacks = true;
        }
    }
    lacks
}

/// Why, in a few words: one that is about no line of the file is the whole of it, `check` would find no more.
fn refused(errors: &[ConfigError]) -> String {
    match errors {
        [whole] if whole.line == 0 => whole.to_string(),
        errors => format!("{} (run `hotseat check`)", format::plural(errors.len() as u64, "mistake")),
    }
}

/// What was read: the config's text and the files besides it.
fn as_read(config: &Config) -> (String, Vec<ReadFile>) {
    (config.text.clone(), config.files.clone())
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Take,
    Keep,
}

fn decide(has_config: bool, running: &[ConfigError], loaded: &Loaded) -> Verdict {
    let gone = has_config && loaded.missing.is_some();
    // Lines move when a file is edited, so the words tell old mistakes from new ones.
    let known = |error: &ConfigError| running.iter().any(|it| it.message == error.message);
    if loaded.readable && !gone && loaded.errors.iter().all(known) { Verdict::Take } else { Verdict::Keep }
}

/// A watch and what it is on.
struct FileWatch {
    places: Vec<Place>,
    /// `None` when it could not be set up.
    watcher: Option<notify::RecommendedWatcher>,
}

/// A folder and the name in it that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    folder: PathBuf,
    name: OsString,
}

/// Where changes of a file can be seen: in its folder, because editors replace the file, both where its name
/// stands and where a symbolic link leads. While folders on the way are missing, the nearest one that is there.
fn places(path: &Path) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for file in [Some(path.to_path_buf()), std::fs::canonicalize(path).ok()].into_iter().flatten() {
        let mut below = file.as_path();
        while let Some(name) = below.file_name() {
            let folder = folder_of(below);
            if folder.is_dir() {
                places.push(Place { folder, name: name.to_os_string() });
                break;
            }
            let Some(parent) = below.parent() else { break };
            below = parent;
        }
    }
    places.dedup();
    places
}

/// The same for the config and the files that it names.
fn all_places<'a>(path: &Path, files: impl Iterator<Item = &'a ReadFile>) -> Vec<Place> {
    let mut all = places(path);
    for place in files.flat_map(|it| places(&it.path)) {
        if !all.contains(&place) {
            all.push(place);
        }
    }
    all
}

fn watch_places(places: &[Place], tx: mpsc::Sender<Cause>) -> notify::Result<notify::RecommendedWatcher> {
    let names: Vec<OsString> = places.iter().map(|it| it.name.clone()).collect();
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
    for place in places {
        watcher.watch(&place.folder, RecursiveMode::NonRecursive)?;
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
        let loaded = Loaded { errors: errors(found), readable, ..Loaded::default() };
        assert_eq!(decide(true, &running, &loaded), *expected, "{running:?} {found:?}");
    }

    #[test]
    fn a_reload_with_new_mistakes_keeps_the_running_config() {
        check(&[], true, &[], &Verdict::Take);
        check(&[], true, &["unknown key `x`"], &Verdict::Keep);
        check(&[], false, &[], &Verdict::Keep);
    }

    #[test]
    fn a_config_that_cannot_be_read_is_refused_with_the_reason_and_mistakes_with_their_number() {
        let whole = ConfigError::whole_file("/c.toml", "could not be read: Too many open files (os error 24)");
        assert_eq!(refused(&[whole]), "/c.toml: could not be read: Too many open files (os error 24)");
        let at = ConfigError::at("/c.toml", "a = 1", 0..1, "unknown key `a`");
        assert_eq!(refused(std::slice::from_ref(&at)), "1 mistake (run `hotseat check`)");
        assert_eq!(refused(&[at.clone(), at]), "2 mistakes (run `hotseat check`)");
    }

    #[test]
    fn what_this_host_lacks_is_no_mistake_for_good() {
        let whole = |why: &str| ConfigError::whole_file("/c.toml", format!("could not be read: {why}"));
        for (why, wanted) in [
            ("Too many open files (os error 24)", true),
            ("Too many open files in system (os error 23)", true),
            ("Input/output error (os error 5)", true),
            ("permission denied", false),
            ("Permission denied (os error 13)", false),
        ] {
            let mut errors = [whole(why)];
            assert_eq!(lacks(&mut errors), wanted, "{why}");
            assert_eq!(errors[0].hint.is_some(), wanted, "{why}");
        }
        assert!(!lacks(&mut []));
    }

    #[test]
    fn a_name_that_only_a_start_can_take_is_told_and_one_that_was_never_set_is_not() {
        let (vm, db1) = (HostId::new("vm"), HostId::new("db1"));
        let named = |name: Option<&str>| Config { host: name.map(Into::into), ..Config::default() };
        assert_eq!(other_name(&vm, false, &named(Some("db1"))), Some(db1));
        assert_eq!(other_name(&vm, false, &named(Some("vm"))), None);
        assert_eq!(other_name(&vm, false, &named(None)), None);
        let here = HostId::new(&paths::host_name());
        assert_eq!(other_name(&HostId::new("no-such-name"), true, &named(None)), Some(here.clone()));
        assert_eq!(other_name(&here, true, &named(None)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_and_a_word_about_it_are_read_once_in_whatever_order_they_come() {
        let (reloads, mut queue) = Reloads::channel();
        let (said_tx, mut said_rx) = mpsc::channel(4);
        let ask = |by: &str| {
            let said_tx = said_tx.clone();
            let reply: Reply = Arc::new(move |inbound| said_tx.try_send(inbound).is_ok());
            reloads.ask(Actor::Person(by.to_string()), reply);
        };
        for changed_first in [true, false] {
            if !changed_first {
                ask("alice");
            }
            reloads.tx.try_send(Cause::Changed).expect("room");
            if changed_first {
                ask("alice");
            }
            let why = queue.next().await.expect("a cause");
            assert!(!why.is_change() && why.actor() == Actor::Person("alice".into()));
            why.answer(&Inbound::Done("read".into()));
            assert_eq!(said_rx.try_recv(), Ok(Inbound::Done("read".into())));
            assert!(queue.rx.is_empty(), "it would be read twice");
        }
        // Both who ask are answered by one reading.
        ask("alice");
        let late = async {
            tokio::time::sleep(SETTLE / 2).await;
            ask("bob");
        };
        let (why, ()) = tokio::join!(queue.next(), late);
        assert_eq!(why.map(|it| it.asked.len()), Some(2));
    }

    #[test]
    fn mistakes_that_were_there_before_do_not_block_mending_the_others() {
        check(&["a", "b"], true, &["b"], &Verdict::Take);
        check(&["a", "b"], true, &["b", "c"], &Verdict::Keep);
    }

    #[test]
    fn a_config_that_went_away_keeps_running() {
        let loaded = Loaded { readable: true, missing: Some("c.toml".into()), ..Loaded::default() };
        assert_eq!(decide(true, &[], &loaded), Verdict::Keep);
        assert_eq!(decide(false, &[], &loaded), Verdict::Take);
    }

    #[test]
    fn a_file_is_looked_for_in_the_nearest_folder_that_is_there() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let root = std::fs::canonicalize(dir.path()).expect("there");
        let file = root.join("a/b/config.toml");
        let place = |folder: &Path, name: &str| vec![Place { folder: folder.to_path_buf(), name: name.into() }];
        assert_eq!(places(&file), place(&root, "a"));
        std::fs::create_dir_all(root.join("a/b")).expect("made");
        assert_eq!(places(&file), place(&root.join("a/b"), "config.toml"));
        std::fs::write(&file, "").expect("written");
        assert_eq!(places(&file), place(&root.join("a/b"), "config.toml"));
    }
}
