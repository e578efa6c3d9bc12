//! The thread that keeps all log sources true: it looks at files, finds new ones and starts readers of
//! streams.
//!
//! It sleeps until the kernel hints at a change. Only where no hint can come does it look by the clock.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::ids::{HostId, SourceId};
use crate::domain::log::{GapKind, LogFact, SourceState};
use crate::logstore::engine::Engine;
use crate::logstore::hints::{Hints, Waker};
use crate::logstore::segment::lock;
use crate::logstore::source::{GapMark, Source, Unfinished};
use crate::logstore::spool::{Spool, SpoolBounds};
use crate::logstore::tail::FileTail;
use crate::service::log::files::{self, LogFile};
use crate::service::log::glob;
use crate::service::log::producer;
use crate::service::log::producer::{Feed, Ground, Producing, Stop};
use crate::service::log::reading;
use crate::service::log::retry::FIRST_PAUSE;
use crate::service::log::spec::{LogInput, LogSpec, short_name};
use crate::service::log::store::Remote;
use crate::service::log::store::poll::{self, Leash};
use crate::service::log::unpacking::{Archive, Unpacking};

/// Files open at a time: each takes a descriptor or two of the usual 1,024.
pub const MAX_FILES: usize = 400;
/// Looks in a row are at least so far apart, however fast the hints come.
const LOOK_INTERVAL: Duration = Duration::from_millis(15);
/// New files of patterns and directories are looked for at most so often.
const SCAN_INTERVAL: Duration = Duration::from_secs(1);
/// Without hints: how often to look at files that rest, and at files that were just written.
const REST_INTERVAL: Duration = Duration::from_secs(1);
const BUSY_INTERVAL: Duration = Duration::from_millis(250);
/// A file counts as busy for so long after its last change.
const BUSY_FOR: Duration = Duration::from_secs(5);
/// A fact that was held back is sent after this.
const OWED_INTERVAL: Duration = Duration::from_millis(50);

/// Where the feeder's observations go.
pub type FactSink = Arc<dyn Fn(LogFact) + Send + Sync>;

/// What the feeder works with.
pub struct Feeder {
    /// Part of every source's id.
    pub host: HostId,
    /// Spools are kept below it.
    pub state_dir: PathBuf,
    /// Gets the sources and the news.
    pub engine: Arc<Engine>,
    /// Gets the facts.
    pub facts: FactSink,
    /// Ends the thread.
    pub cancel: CancellationToken,
    /// What is wanted; changed from outside, then the feeder is woken.
    pub specs: Arc<Mutex<Vec<LogSpec>>>,
    /// False when what is there now is wanted and then the end.
    pub follow: bool,
}

/// One wanted path with the name of its source.
struct Wanted {
    path: PathBuf,
    name: String,
}

struct Entry {
    spec: LogSpec,
    tail: FileTail,
    /// The file is an archive: it is unpacked, not followed.
    archive: Option<Archive>,
    /// Its rotated files are wanted and were not looked for yet.
    wants_history: bool,
    /// Says so to others, while its file is there.
    unfinished: Option<Unfinished>,
    /// Ends what is done for it elsewhere.
    closed: CancellationToken,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

struct Stream {
    spec: LogSpec,
    source: Arc<Source>,
    origin: String,
    stopped: CancellationToken,
}

/// A producer at work. Its end closes its sources.
struct Running {
    spec: LogSpec,
    input: Producing,
    _stop: Stop,
    thread: Option<JoinHandle<()>>,
}

/// A store that is asked for windows and for news.
struct Asked {
    spec: LogSpec,
    source: Arc<Source>,
    _leash: Option<Leash>,
}

/// Ends producers and waits until their child processes are gone and their sources closed.
fn end(producers: Vec<Running>) {
    // All are told before the first is waited for.
    let threads: Vec<_> = producers.into_iter().map(|it| it.thread).collect();
    for thread in threads.into_iter().flatten() {
        // A panic is reported where it happens.
        let _ = thread.join();
    }
}

struct State {
    applied: Vec<LogSpec>,
    entries: Vec<Entry>,
    streams: Vec<Stream>,
    producers: Vec<Running>,
    /// Where files that match and are not opened are told of, by spec.
    surplus: Vec<(LogSpec, Arc<Source>, usize)>,
    stores: Vec<Asked>,
    scanned_at: Option<Instant>,
    busy_until: Option<Instant>,
    unpacking: Unpacking,
}

impl Feeder {
    /// Runs until cancelled. `first_look` is called when the sources that are there at the start are open.
    pub fn run(&self, mut hints: Hints, first_look: &mut dyn FnMut()) {
        let mut state = State {
            applied: Vec::new(),
            entries: Vec::new(),
            streams: Vec::new(),
            producers: Vec::new(),
            stores: Vec::new(),
            surplus: Vec::new(),
            scanned_at: None,
            busy_until: None,
            unpacking: Unpacking::new(self.engine.clone(), self.facts.clone(), &self.state_dir),
        };
        let waker = hints.waker();
        self.scan(&mut state, &waker);
        self.look(&mut state);
        first_look();
        loop {
            self.start_histories(&mut state);
            // Watched before the look, so that what happens between the two is not missed.
            let hears = hints.watch(&self.directories(&state));
            let owes = self.look(&mut state);
            let scan_owed = self.scan_is_owed(&state);
            let instant = clock::monotonic();
            let pause = match (owes, scan_owed, hears) {
                (true, _, _) => Some(OWED_INTERVAL),
                (_, true, _) => Some(SCAN_INTERVAL),
                (_, _, true) if self.waits(&state) => Some(REST_INTERVAL),
                (_, _, false) if state.busy_until.is_some_and(|it| it > instant) => Some(BUSY_INTERVAL),
                (_, _, false) => Some(REST_INTERVAL),
                (_, _, true) => None,
            };
            let hinted = hints.wait(pause);
            if self.cancel.is_cancelled() {
                for stream in &state.streams {
                    stream.stopped.cancel();
                }
                end(state.producers);
                return;
            }
            if hinted {
                std::thread::sleep(LOOK_INTERVAL);
            }
            let changed = *lock(&self.specs) != state.applied;
            let rested = state.scanned_at.is_none_or(|it| clock::monotonic().duration_since(it) >= SCAN_INTERVAL);
            if changed || rested {
                self.scan(&mut state, &waker);
            } else if self.has_patterns(&state) {
                state.scanned_at = state.scanned_at.filter(|_| !hinted);
            }
        }
    }

    /// True when something may change of which no hint tells.
    fn waits(&self, state: &State) -> bool {
        state.entries.iter().any(|it| it.archive.as_ref().map_or_else(|| it.tail.is_failing(), Archive::is_changing))
    }

    /// Looks for the rotated files of the logs that are open by now.
    fn start_histories(&self, state: &mut State) {
        for entry in state.entries.iter_mut().filter(|it| it.wants_history) {
            let unfinished = entry.unfinished.take();
            if entry.tail.source.newest().is_some() {
                entry.wants_history = false;
                state.unpacking.start_history(&entry.tail.source, &entry.tail.path, &entry.closed);
            }
            if unfinished.is_some() {
                drop(unfinished);
                self.engine.grew();
            }
        }
    }

    fn has_patterns(&self, state: &State) -> bool {
        state.applied.iter().flat_map(|it| &it.inputs).any(|input| match input {
            LogInput::Pattern(_) => true,
            LogInput::Path(path) => path.is_dir(),
            LogInput::Stdin | LogInput::Stream(_) | LogInput::Store(_) => false,
        })
    }

    fn scan_is_owed(&self, state: &State) -> bool {
        state.scanned_at.is_none()
    }

    /// The directories whose changes matter.
    fn directories(&self, state: &State) -> HashSet<PathBuf> {
        let mut directories = HashSet::new();
        let parent = |path: &Path| match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_path_buf(),
            None => PathBuf::from("/"),
        };
        for entry in &state.entries {
            directories.insert(parent(&entry.tail.path));
            // Writes go to where a link points.
            if let Ok(real) = fs::canonicalize(&entry.tail.path) {
                directories.insert(parent(&real));
            }
        }
        for input in state.applied.iter().flat_map(|it| &it.inputs) {
            match input {
                LogInput::Pattern(pattern) => directories.insert(glob::base(pattern)),
                LogInput::Path(path) if path.is_dir() => directories.insert(path.clone()),
                LogInput::Path(_) | LogInput::Stdin | LogInput::Stream(_) | LogInput::Store(_) => false,
            };
        }
        directories
    }

    fn look(&self, state: &mut State) -> bool {
        let (now, instant) = (clock::now(), clock::monotonic());
        let mut owes = false;
        let mut changed = false;
        let mut replaced = Vec::new();
        for (index, entry) in state.entries.iter_mut().enumerate() {
            if let Some(archive) = &mut entry.archive {
                if archive.is_replaced(&entry.tail.path, instant) {
                    replaced.push(index);
                }
                continue;
            }
            let look = entry.tail.look(now, instant);
            owes |= look.owes;
            changed |= look.changed;
            for fact in look.facts {
                (self.facts)(fact);
            }
            if let Some((file, packing)) = look.archive {
                let source = &entry.tail.source;
                entry.archive = Some(state.unpacking.start(source, file, packing, &entry.closed));
                entry.wants_history = false;
                entry.unfinished = None;
            }
        }
        for index in replaced.into_iter().rev() {
            let entry = state.entries.remove(index);
            self.close(&entry.tail.source);
            state.scanned_at = None;
        }
        if changed {
            state.busy_until = Some(instant + BUSY_FOR);
            self.engine.grew();
        }
        owes
    }

    /// Brings the open sources in line with what is wanted and what is there.
    fn scan(&self, state: &mut State, waker: &Waker) {
        state.scanned_at = Some(clock::monotonic());
        let specs = lock(&self.specs).clone();
        let (gone, kept): (Vec<Entry>, Vec<Entry>) =
            std::mem::take(&mut state.entries).into_iter().partition(|it| !specs.contains(&it.spec));
        state.entries = kept;
        for entry in gone {
            self.close(&entry.tail.source);
        }
        for (_, source, _) in state.surplus.extract_if(.., |(it, ..)| !specs.contains(it)) {
            self.close(&source);
        }
        let (gone, kept): (Vec<Stream>, Vec<Stream>) =
            std::mem::take(&mut state.streams).into_iter().partition(|it| !specs.contains(&it.spec));
        state.streams = kept;
        for stream in gone {
            stream.stopped.cancel();
            self.close(&stream.source);
        }
        let (gone, kept): (Vec<Asked>, Vec<Asked>) =
            std::mem::take(&mut state.stores).into_iter().partition(|it| !specs.contains(&it.spec));
        state.stores = kept;
        for asked in gone {
            self.close(&asked.source);
        }
        let (gone, kept): (Vec<Running>, Vec<Running>) =
            std::mem::take(&mut state.producers).into_iter().partition(|it| !specs.contains(&it.spec));
        state.producers = kept;
        // Waited for, because what replaces them may have their names.
        end(gone);
        for spec in &specs {
            let mut surplus = 0;
            for input in &spec.inputs {
                let found = match input {
                    LogInput::Stream(input) => {
                        self.open_producer(state, spec, input);
                        continue;
                    }
                    LogInput::Store(remote) => {
                        self.open_store(state, spec, remote);
                        continue;
                    }
                    LogInput::Stdin => {
                        self.open_stream(state, spec, "stdin", None, waker);
                        continue;
                    }
                    LogInput::Path(path) if is_fifo(path) => {
                        self.open_stream(state, spec, &path.to_string_lossy(), Some(path), waker);
                        continue;
                    }
                    LogInput::Path(path) if path.is_dir() => files::of_directory(path),
                    LogInput::Path(path) => vec![LogFile { path: path.clone(), has_named_history: false }],
                    LogInput::Pattern(pattern) => files::of_pattern(pattern),
                };
                surplus += self.open_files(state, spec, found);
            }
            self.tell_surplus(state, spec, surplus);
        }
        state.applied = specs;
    }

    /// Opens files that are not open yet; returns how many there are too many.
    fn open_files(&self, state: &mut State, spec: &LogSpec, found: Vec<LogFile>) -> usize {
        let is_single = matches!(spec.inputs.as_slice(), [LogInput::Path(path)] if !path.is_dir());
        let known: HashSet<PathBuf> = state.entries.iter().map(|it| it.tail.path.clone()).collect();
        let mut surplus = 0;
        for LogFile { path, has_named_history } in found {
            if known.contains(&path) {
                continue;
            }
            if state.entries.len() >= MAX_FILES {
                surplus += 1;
                continue;
            }
            // A file that was rotated away under a pattern is still read as the old part of its source.
            if !is_single && fs::metadata(&path).is_ok_and(|it| is_read(&state.entries, it.dev(), it.ino())) {
                continue;
            }
            let file = short_name(&path);
            let name = match (is_single, spec.name.is_empty()) {
                (true, false) => spec.name.clone(),
                (_, true) => file,
                (false, false) => format!("{}:{file}", spec.name),
            };
            let wanted = Wanted { name: self.unique(&name, &path), path };
            let id = SourceId::new(&self.host, &wanted.name);
            let origin = crate::domain::sanitise::text(&wanted.path.to_string_lossy());
            let source = Arc::new(Source::new(id, &wanted.name, &origin));
            source.set_reading(spec.reading.clone());
            let wants_history = spec.history || has_named_history;
            let unfinished = wants_history.then(|| source.begin());
            self.open(&source);
            let tail = FileTail::new(source, &wanted.path).spooling_to(state.unpacking.directory());
            let closed = self.cancel.child_token();
            state.entries.push(Entry { spec: spec.clone(), tail, archive: None, wants_history, unfinished, closed });
        }
        surplus
    }

    /// Says how many files match that are not opened, in a source of its own.
    fn tell_surplus(&self, state: &mut State, spec: &LogSpec, surplus: usize) {
        let known = state.surplus.iter().position(|(it, ..)| it == spec);
        if known.map_or(0, |it| state.surplus[it].2) == surplus {
            return;
        }
        if let Some(index) = known {
            let (_, source, _) = state.surplus.remove(index);
            self.close(&source);
        }
        if surplus == 0 {
            return;
        }
        let name = if spec.name.is_empty() { "more".to_string() } else { format!("{}:more", spec.name) };
        let name = self.unique(&name, Path::new("more"));
        let source = Arc::new(Source::new(SourceId::new(&self.host, &name), &name, "files that are not opened"));
        let files = crate::domain::format::plural(surplus as u64, "more file");
        let why = format!("{files} match and are not opened: {MAX_FILES} are as many as hotseat reads at a time");
        source.set_tail(Some(GapMark { kind: GapKind::Failed(why.clone()), at: clock::now() }));
        self.open(&source);
        (self.facts)(LogFact::State { source: source.id.clone(), state: SourceState::Failed(why) });
        state.surplus.push((spec.clone(), source, surplus));
    }

    /// Two files of one name get their directory, then a number.
    fn unique(&self, name: &str, path: &Path) -> String {
        let sources = self.engine.sources();
        let is_free = |name: &str| sources.iter().all(|it| it.name != name);
        if is_free(name) {
            return name.to_string();
        }
        let parent = path.parent().map(short_name).unwrap_or_default();
        let long = format!("{parent}-{name}");
        if is_free(&long) {
            return long;
        }
        (2..=MAX_FILES + 1).map(|number| format!("{name}-{number}")).find(|it| is_free(it)).unwrap_or(long)
    }

    fn open(&self, source: &Arc<Source>) {
        reading::opening(source).for_each(|fact| (self.facts)(fact));
        self.engine.add(source.clone());
    }

    fn close(&self, source: &Arc<Source>) {
        self.engine.remove(&source.id);
        (self.facts)(LogFact::Closed { source: source.id.clone() });
    }

    fn open_stream(&self, state: &mut State, spec: &LogSpec, origin: &str, path: Option<&Path>, waker: &Waker) {
        // There is one standard input, however often it is named.
        if state.streams.iter().any(|it| it.origin == origin) {
            return;
        }
        let directory = self.state_dir.join("spool");
        // Without the directory the spool stays in memory, which is all that can be done.
        let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        let name = self.unique(if spec.name.is_empty() { "stdin" } else { &spec.name }, Path::new(origin));
        let id = SourceId::new(&self.host, &name);
        let origin_shown = crate::domain::sanitise::text(origin);
        let spool = Spool::new(id, &name, &origin_shown, &directory, SpoolBounds::default());
        let source = spool.source();
        source.set_reading(spec.reading.clone());
        self.open(&source);
        let stopped = self.cancel.child_token();
        let reader = StreamReader {
            engine: self.engine.clone(),
            facts: self.facts.clone(),
            stopped: stopped.clone(),
            path: path.map(Path::to_path_buf),
            reported_at: None,
        };
        let spawned = std::thread::Builder::new().name("log-stream".into()).spawn(move || reader.run(spool));
        if let Err(error) = spawned {
            tracing::error!("could not start reading {origin_shown}: {error}");
        }
        state.streams.push(Stream { spec: spec.clone(), source, origin: origin.to_string(), stopped });
        waker.wake();
    }

    fn open_store(&self, state: &mut State, spec: &LogSpec, remote: &Remote) {
        // A spec names one store.
        if state.stores.iter().any(|it| it.spec == *spec) {
            return;
        }
        let name = self.unique(&spec.name, Path::new(&spec.name));
        let id = SourceId::new(&self.host, &name);
        let (source, store) = remote.open((id, &name), self.engine.inner().zone.clone(), spec.reading.clone());
        self.open(&source);
        let follow = self.follow;
        let leash = follow.then(|| poll::start(remote, store, &source, self.engine.clone(), self.facts.clone()));
        state.stores.push(Asked { spec: spec.clone(), source, _leash: leash });
    }

    fn open_producer(&self, state: &mut State, spec: &LogSpec, input: &Producing) {
        if state.producers.iter().any(|it| it.spec == *spec && it.input == *input) {
            return;
        }
        let name = if input.suffix.is_empty() { spec.name.clone() } else { format!("{}:{}", spec.name, input.suffix) };
        let origin = input.producer.origin();
        let ground = Ground {
            host: self.host.clone(),
            state_dir: self.state_dir.clone(),
            engine: self.engine.clone(),
            facts: self.facts.clone(),
            reading: spec.reading.clone(),
            cancel: self.cancel.clone(),
            follow: self.follow,
            first_pause: FIRST_PAUSE,
        };
        let (feed, stop) = match Feed::open(ground, &self.unique(&name, Path::new(&name)), &origin) {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!("could not start reading `{name}`: {error}");
                return;
            }
        };
        let producer = input.producer.clone();
        let spawned = std::thread::Builder::new()
            .name("log-producer".into())
            .spawn(move || producer::run(producer.as_ref(), feed));
        if let Err(error) = &spawned {
            tracing::error!("could not start reading `{name}`: {error}");
        }
        state.producers.push(Running { spec: spec.clone(), input: input.clone(), _stop: stop, thread: spawned.ok() });
    }
}

fn is_read(entries: &[Entry], device: u64, inode: u64) -> bool {
    entries.iter().any(|entry| entry.tail.source.holds(device, inode))
}

fn is_fifo(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|it| it.file_type().is_fifo() || it.file_type().is_char_device())
}

/// Reads one stream into its spool.
struct StreamReader {
    engine: Arc<Engine>,
    facts: FactSink,
    stopped: CancellationToken,
    /// `None` is standard input.
    path: Option<PathBuf>,
    reported_at: Option<Instant>,
}

impl StreamReader {
    fn run(mut self, mut spool: Spool) {
        let source = spool.source();
        loop {
            let opened = match &self.path {
                None => std::io::stdin().as_fd().try_clone_to_owned().map(File::from),
                // Waits until somebody writes.
                Some(path) => File::open(path),
            };
            let result = opened.and_then(|mut stream| {
                self.state(&source, SourceState::Connected);
                spool.drain(&mut stream, &mut |spool| self.grew(&spool.source()))
            });
            if self.stopped.is_cancelled() {
                return;
            }
            self.report(&source);
            let (kind, state) = match (result, &self.path) {
                (Ok(()), None) => (GapKind::Ended, SourceState::Ended),
                // The next writer of a pipe may come at any time.
                (Ok(()), Some(_)) => (GapKind::Ended, SourceState::Waiting("the writer closed the pipe".into())),
                (Err(error), _) => (GapKind::Failed(error.to_string()), SourceState::Failed(error.to_string())),
            };
            let goes_on = matches!(state, SourceState::Waiting(_));
            source.set_tail(Some(GapMark { kind: kind.clone(), at: clock::now() }));
            (self.facts)(LogFact::Gap { source: source.id.clone(), kind });
            self.state(&source, state);
            self.engine.grew();
            if !goes_on {
                return;
            }
        }
    }

    fn grew(&mut self, source: &Arc<Source>) -> bool {
        source.set_tail(None);
        self.engine.grew();
        if self.reported_at.is_none_or(|it| clock::monotonic().duration_since(it) >= OWED_INTERVAL) {
            self.report(source);
        }
        !self.stopped.is_cancelled()
    }

    fn report(&mut self, source: &Arc<Source>) {
        self.reported_at = Some(clock::monotonic());
        (self.facts)(LogFact::Grew { source: source.id.clone(), size_bytes: source.size_bytes() });
    }

    fn state(&self, source: &Arc<Source>, state: SourceState) {
        (self.facts)(LogFact::State { source: source.id.clone(), state });
    }
}
