//! The thread that keeps all log sources true: it looks at files, finds new ones and starts readers of
//! streams.
//!
//! It sleeps until the kernel hints at a change. Only where no hint can come does it look by the clock.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::ids::{HostId, SourceId};
use crate::domain::log::{GapKind, LogFact, SourceState};
use crate::logstore::engine::Engine;
use crate::logstore::hints::{Hints, Interest, News, Waker};
use crate::logstore::segment::lock;
use crate::logstore::source::{GapMark, Source, Unfinished};
use crate::logstore::spool::{Spool, SpoolBounds};
use crate::logstore::tail::FileTail;
use crate::service::HEAD_START;
use crate::service::log::doubt::Doubter;
use crate::service::log::files::{self, FileId, LogFile, absolute, is_fifo, links_above, raise_file_limit, unique};
use crate::service::log::glob;
use crate::service::log::pipe::StreamReader;
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
/// Files that fit the usual limit with all that comes with them.
const FEW_FILES: usize = 100;
/// Looks in a row are at least so far apart, however fast the hints come: less than windows of a followed tail are.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
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

struct Entry {
    /// Unlike any other.
    serial: u64,
    spec: LogSpec,
    tail: FileTail,
    /// Whether its text is what it should be.
    doubter: Doubter,
    /// Paths whose changes are its own.
    watched: Vec<PathBuf>,
    /// It is to be looked at again soon.
    owes: bool,
    /// The file is an archive: it is unpacked, not followed.
    archive: Option<Archive>,
    /// Its rotated files are wanted and were not looked for yet.
    wants_history: bool,
    /// Says so to others, while its file is there.
    unfinished: Option<Unfinished>,
    /// Ends what is done for it elsewhere.
    closed: CancellationToken,
}

impl Entry {
    /// True when no hint tells of what may change.
    fn waits(&self) -> bool {
        self.archive.as_ref().map_or_else(|| self.tail.is_failing(), Archive::is_changing)
    }
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
    serials: u64,
    scanned_at: Option<Instant>,
    /// Files may have come or gone since.
    wants_scan: bool,
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
            serials: 0,
            scanned_at: None,
            wants_scan: false,
            busy_until: None,
            unpacking: Unpacking::new(self.engine.clone(), self.facts.clone(), &self.state_dir),
        };
        let waker = hints.waker();
        self.scan(&mut state, &waker);
        self.look(&mut state, &News::default());
        first_look();
        // Setting up a watch in a directory of many files takes milliseconds.
        if self.follow && hints.wait(Some(HEAD_START)) {
            // Whoever woke it is heard below.
            waker.wake();
        }
        let (mut news, mut is_stale, mut hears) = (News::default(), true, false);
        while !self.cancel.is_cancelled() {
            self.start_histories(&mut state);
            if is_stale {
                // Watched before the look, so that what happens between the two is not missed.
                hears = hints.watch(self.interest(&mut state));
                news.lost = true;
            }
            // Other files are read now than before: they are to be watched, and then looked at again.
            is_stale = self.look(&mut state, &news);
            let looked = clock::monotonic();
            news = News::default();
            if is_stale {
                continue;
            }
            let hinted = hints.wait(self.pause(&state, hears));
            // The first hint of a while is followed at once: what is emptied next was read before.
            if hinted && let Some(rest) = LOOK_INTERVAL.checked_sub(clock::monotonic().duration_since(looked)) {
                std::thread::sleep(rest);
            }
            news = hints.news();
            // What is not heard of is looked for, with the directories that may be there by now.
            let polls = !hinted && (!hears || self.waits(&state));
            news.lost |= polls || !hears;
            is_stale = news.moved || news.lost;
            state.wants_scan |= news.listed || is_stale;
            let rested = state.scanned_at.is_none_or(|it| clock::monotonic().duration_since(it) >= SCAN_INTERVAL);
            if *lock(&self.specs) != state.applied || (state.wants_scan && rested) {
                is_stale |= self.scan(&mut state, &waker);
            }
        }
        for stream in &state.streams {
            stream.stopped.cancel();
        }
        end(state.producers);
    }

    /// How long to wait when no hint comes; `None` is for ever.
    fn pause(&self, state: &State, hears: bool) -> Option<Duration> {
        let instant = clock::monotonic();
        if state.entries.iter().any(|it| it.owes) {
            return Some(OWED_INTERVAL);
        }
        if !hears && state.busy_until.is_some_and(|it| it > instant) {
            return Some(BUSY_INTERVAL);
        }
        if state.wants_scan {
            let since = state.scanned_at.map_or(SCAN_INTERVAL, |it| instant.duration_since(it));
            return Some(SCAN_INTERVAL.saturating_sub(since));
        }
        (!hears || self.waits(state)).then_some(REST_INTERVAL)
    }

    /// True when something may change of which no hint tells.
    fn waits(&self, state: &State) -> bool {
        state.entries.iter().any(Entry::waits)
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

    /// What there is to hear of.
    fn interest(&self, state: &mut State) -> Interest {
        let mut interest = Interest::default();
        let mut links: HashMap<PathBuf, Vec<PathBuf>> = HashMap::new();
        for entry in &mut state.entries {
            let path = absolute(&entry.tail.path);
            let mut files = vec![path.clone()];
            // Writes go to where a link points, and the link may be made to point elsewhere.
            files.extend(fs::canonicalize(&path).ok());
            if let Some(parent) = path.parent() {
                files.extend_from_slice(links.entry(parent.to_path_buf()).or_insert_with(|| links_above(&path)));
            }
            // A writer may keep the rotated file open, wherever it is now.
            files.extend(entry.tail.source.older().iter().filter_map(|it| it.path_now()));
            interest.files.extend(files.iter().cloned());
            entry.watched = files;
        }
        for input in state.applied.iter().flat_map(|it| &it.inputs) {
            match input {
                LogInput::Pattern(pattern) => {
                    interest.listings.extend(glob::directories(pattern).iter().map(|it| absolute(it)));
                }
                LogInput::Path(path) if path.is_dir() => {
                    interest.listings.insert(absolute(path));
                }
                LogInput::Path(_) | LogInput::Stdin | LogInput::Stream(_) | LogInput::Store(_) => {}
            }
        }
        interest
    }

    /// Looks at the files that are in the news. Returns true when other files are read now than before.
    fn look(&self, state: &mut State, news: &News) -> bool {
        let (now, instant) = (clock::now(), clock::monotonic());
        let (mut changed, mut moved) = (false, false);
        let mut replaced = Vec::new();
        for (index, entry) in state.entries.iter_mut().enumerate() {
            let is_due = news.lost
                || entry.owes
                || entry.waits()
                || entry.tail.is_new()
                || entry.watched.iter().any(|it| news.files.contains(it));
            if !is_due {
                continue;
            }
            if let Some(archive) = &mut entry.archive {
                if archive.is_replaced(&entry.tail.path, instant) {
                    replaced.push(index);
                }
                continue;
            }
            let look = entry.tail.look(now, instant);
            let doubt = if look.changed { entry.doubter.look(&entry.tail.source) } else { None };
            entry.owes = look.owes;
            changed |= look.changed;
            moved |= look.moved;
            for fact in look.facts.into_iter().chain(doubt) {
                (self.facts)(fact);
            }
            if let Some((file, packing)) = look.archive {
                let source = &entry.tail.source;
                entry.archive = Some(state.unpacking.start(source, file, packing, &entry.closed));
                entry.owes = false;
                entry.wants_history = false;
                entry.unfinished = None;
            }
        }
        for index in replaced.into_iter().rev() {
            let entry = state.entries.remove(index);
            self.close(&entry.tail.source);
            state.wants_scan = true;
        }
        if changed {
            state.busy_until = Some(instant + BUSY_FOR);
            self.engine.grew();
        }
        moved
    }

    /// Brings the open sources in line with what is wanted and what is there. Returns true when others are open now.
    fn scan(&self, state: &mut State, waker: &Waker) -> bool {
        state.scanned_at = Some(clock::monotonic());
        state.wants_scan = false;
        let before: Vec<u64> = state.entries.iter().map(|it| it.serial).collect();
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
        let is_changed = state.applied != specs || !state.entries.iter().map(|it| it.serial).eq(before);
        state.applied = specs;
        is_changed
    }

    /// Opens files that are not open yet; returns how many there are too many.
    fn open_files(&self, state: &mut State, spec: &LogSpec, found: Vec<LogFile>) -> usize {
        let is_single = matches!(spec.inputs.as_slice(), [LogInput::Path(path)] if !path.is_dir());
        let known: HashSet<PathBuf> = state.entries.iter().map(|it| it.tail.path.clone()).collect();
        let read: HashSet<(u64, u64)> = state.entries.iter().flat_map(|it| it.tail.source.identities()).collect();
        let mut names: HashSet<String> = self.engine.sources().iter().map(|it| it.name.clone()).collect();
        // One file under several names: a link, or a path that is written in another way.
        let is_shared = |it: &&Entry| it.spec == *spec || (it.spec.is_operand && spec.is_operand);
        let open = state.entries.iter().filter(is_shared).map(|it| it.tail.path.clone());
        let open: Vec<PathBuf> =
            if found.iter().all(|it| known.contains(&it.path)) { Vec::new() } else { open.collect() };
        let mut claimed: HashSet<FileId> = open.iter().filter_map(|it| files::identity(it)).collect();
        let spool = state.unpacking.directory().to_path_buf();
        let mut opened = Vec::new();
        let mut surplus = 0;
        for LogFile { path, has_named_history } in found {
            // A file that was rotated away under a pattern is still read as the old part of its source.
            let is_read = || fs::metadata(&path).is_ok_and(|it| read.contains(&(it.dev(), it.ino())));
            if known.contains(&path) || (!is_single && !read.is_empty() && is_read()) {
                continue;
            }
            if let Some(id) = files::identity(&path)
                && !claimed.insert(id)
            {
                continue;
            }
            if state.entries.len() >= MAX_FILES {
                surplus += 1;
                continue;
            }
            let file = short_name(&path);
            let name = match (is_single, spec.name.is_empty()) {
                (true, false) => spec.name.clone(),
                (_, true) => file,
                // The one file of a pattern that is called as its log is.
                (false, false) if file == spec.name => file,
                (false, false) => format!("{}:{file}", spec.name),
            };
            let name = unique(&names, &name, &path);
            names.insert(name.clone());
            let id = SourceId::new(&self.host, &name);
            let origin = crate::domain::sanitise::text(&path.to_string_lossy());
            let source = Arc::new(Source::new(id, &name, &origin));
            source.set_reading(spec.reading.clone());
            self.tell_opened(&source);
            opened.push(source.clone());
            let wants_history = spec.history || has_named_history;
            state.serials += 1;
            state.entries.push(Entry {
                serial: state.serials,
                spec: spec.clone(),
                doubter: Doubter::default(),
                watched: Vec::new(),
                owes: false,
                archive: None,
                wants_history,
                unfinished: wants_history.then(|| source.begin()),
                closed: self.cancel.child_token(),
                tail: FileTail::new(source, &path).spooling_to(&spool),
            });
        }
        if state.entries.len() > FEW_FILES {
            raise_file_limit();
        }
        self.engine.add_all(opened);
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

    fn unique(&self, name: &str, path: &Path) -> String {
        unique(&self.engine.sources().iter().map(|it| it.name.clone()).collect(), name, path)
    }

    fn open(&self, source: &Arc<Source>) {
        self.tell_opened(source);
        self.engine.add(source.clone());
    }

    fn tell_opened(&self, source: &Arc<Source>) {
        reading::opening(source).for_each(|fact| (self.facts)(fact));
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
        let engine = self.engine.clone();
        let spool = Spool::new(id, &name, &origin_shown, &directory, SpoolBounds::default())
            .telling(Box::new(move || engine.grew()));
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
            doubter: Doubter::default(),
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
            veil: input.veil.clone(),
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
