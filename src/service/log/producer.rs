//! Log sources that a program feeds: what a kind implements, and what it is given to do so.
//!
//! Each producer has a thread. What it hears goes into spools at once and nothing else is buffered, so a
//! program that is faster than the disk waits at its pipe. It is told to stop by its [`Stop`] being
//! dropped, and then takes all its child processes with it.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::ids::{HostId, SourceId};
use crate::domain::log::{GapKind, LogFact, SourceState};
use crate::domain::sanitise;
use crate::logstore::engine::Engine;
use crate::logstore::format::Reading;
use crate::logstore::source::{GapMark, Source};
use crate::logstore::spool::{Spool, SpoolBounds};
use crate::logstore::stamp::StampReader;
use crate::service::log::child::Pipe;
use crate::service::log::doubt::Doubter;
use crate::service::log::reading;
use crate::service::supervise::panic_text;
use crate::service::veil::Veil;

/// A source's size is told at most so often.
const REPORT_INTERVAL: Duration = Duration::from_millis(50);
/// A pause that is always long enough for what was held back.
pub const SETTLE_PAUSE: Duration = REPORT_INTERVAL;
/// Sources that one producer may open (pods, containers): each has a spool with open files.
pub const MAX_OUTLETS: usize = 40;

/// A wait without end, in steps that a clock can add.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// Feeds one or more sources, usually from a child process.
///
/// Its `Debug` text tells its settings apart: a reload keeps a producer whose text is the same.
pub trait Producer: fmt::Debug + Send + Sync {
    /// Where it reads from, in words, without secrets.
    fn origin(&self) -> String;

    /// The program that it needs, for `hotseat doctor`.
    fn program(&self) -> &str;

    /// Feeds until there is nothing more to come or `feed` is stopped.
    fn run(&self, feed: &mut Feed);
}

/// A producer in a spec.
#[derive(Debug, Clone)]
pub struct Producing {
    /// Put behind the log's name as `name:suffix`; empty is the name alone.
    pub suffix: String,
    /// Who feeds it.
    pub producer: Arc<dyn Producer>,
    /// Lies over what is said of it; not over the lines, which are another's words.
    pub veil: Veil,
}

impl PartialEq for Producing {
    fn eq(&self, other: &Self) -> bool {
        self.suffix == other.suffix && format!("{:?}", self.producer) == format!("{:?}", other.producer)
    }
}

/// Stops a producer when dropped.
#[derive(Debug)]
pub struct Stop {
    _write: OwnedFd,
}

/// What all outlets of a producer share.
#[derive(Clone)]
pub struct Ground {
    /// Part of every source's id.
    pub host: HostId,
    /// Spools and cursors are kept below it.
    pub state_dir: PathBuf,
    /// Gets the sources and the news.
    pub engine: Arc<Engine>,
    /// Gets the facts.
    pub facts: Arc<dyn Fn(LogFact) + Send + Sync>,
    /// How the lines of all its sources are read.
    pub reading: Arc<Reading>,
    /// Lies over where they come from and what is said of their state.
    pub veil: Veil,
    /// Everything ends: sources stay on the board then, as those of files do.
    pub cancel: CancellationToken,
    /// False when what is there now is wanted and then the end, as `hotseat logs` does without `--follow`.
    pub follow: bool,
    /// Pause after the first failure of a connection ([`retry::FIRST_PAUSE`](crate::service::log::retry::FIRST_PAUSE); shorter in tests).
    pub first_pause: Duration,
}

/// What a producer works with: its sources, its pause and the sign to stop.
pub struct Feed {
    ground: Ground,
    stopped: OwnedFd,
    /// The first one is the producer's own and always there.
    outlets: Vec<Outlet>,
}

impl Feed {
    /// Opens the producer's own source, named `name`.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn open(ground: Ground, name: &str, origin: &str) -> io::Result<(Self, Stop)> {
        let (stopped, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let outlet = Outlet::open(&ground, name, origin);
        Ok((Self { ground, stopped, outlets: vec![outlet] }, Stop { _write: write }))
    }

    /// The producer's own source.
    pub fn main(&mut self) -> &mut Outlet {
        &mut self.outlets[0]
    }

    /// All sources, the producer's own first.
    pub fn outlets(&mut self) -> &mut [Outlet] {
        &mut self.outlets
    }

    /// The source `name:suffix`, opened when it is not there yet. The producer's own one when there are too many.
    pub fn outlet(&mut self, suffix: &str, origin: &str) -> &mut Outlet {
        if let Some(found) = self.outlets.iter().position(|it| it.suffix == suffix) {
            return &mut self.outlets[found];
        }
        if self.outlets.len() > MAX_OUTLETS {
            return &mut self.outlets[0];
        }
        let name = self.branch_name(suffix);
        let mut outlet = Outlet::open(&self.ground, &name, origin);
        outlet.suffix = suffix.to_string();
        self.outlets.push(outlet);
        let last = self.outlets.len() - 1;
        &mut self.outlets[last]
    }

    fn branch_name(&self, suffix: &str) -> String {
        format!("{}:{}", self.outlets[0].source.name, sanitise::text(suffix).replace([':', '/'], "-"))
    }

    /// Closes the source of a suffix.
    pub fn close(&mut self, suffix: &str) {
        if let Some(found) = self.outlets.iter().skip(1).position(|it| it.suffix == suffix) {
            self.outlets.remove(found + 1).close();
        }
    }

    /// False when only what is there now is wanted.
    pub fn follows(&self) -> bool {
        self.ground.follow
    }

    /// Pause after the first failure of a connection.
    pub fn first_pause(&self) -> Duration {
        self.ground.first_pause
    }

    /// Below which the producer may keep files.
    pub fn state_dir(&self) -> &Path {
        &self.ground.state_dir
    }

    /// Says the same of all sources.
    pub fn state(&mut self, state: &SourceState) {
        for outlet in &mut self.outlets {
            outlet.state(state.clone());
        }
    }

    /// Says at the end of all sources what is wrong; `None` when nothing is.
    pub fn tail(&mut self, kind: Option<&GapKind>) {
        for outlet in &mut self.outlets {
            outlet.tail(kind.cloned());
        }
    }

    /// Says in all sources that something is missing before what comes next.
    pub fn gap(&mut self, kind: &GapKind) {
        for outlet in &mut self.outlets {
            outlet.gap(kind.clone());
        }
    }

    /// Readable when the producer has to stop.
    pub fn stop_fd(&self) -> BorrowedFd<'_> {
        self.stopped.as_fd()
    }

    /// True when the producer has to stop.
    pub fn is_stopped(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits so long. Returns true, at once, when the producer has to stop.
    pub fn wait(&self, pause: Duration) -> bool {
        let until = clock::monotonic() + pause;
        loop {
            let left = until.saturating_duration_since(clock::monotonic());
            let mut fds = [PollFd::new(&self.stopped, PollFlags::IN)];
            match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
                Ok(0) => return false,
                Ok(_) => return true,
                Err(rustix::io::Errno::INTR) => {}
                // Nothing can be waited for: going on in a loop would burn the host.
                Err(_) => return true,
            }
        }
    }

    /// Waits until the producer has to stop.
    pub fn wait_for_stop(&self) {
        while !self.wait(LONG) {}
    }

    /// Tells the sizes that were held back. Returns true when one is still held back.
    pub fn settle(&mut self) -> bool {
        self.outlets.iter_mut().filter_map(|it| it.settle().then_some(())).count() > 0
    }

    /// Closes all sources.
    pub fn close_all(&mut self) {
        for outlet in self.outlets.drain(..) {
            outlet.close();
        }
    }
}

/// Producers that a producer has started for what it found, each with a source `name:suffix`.
#[derive(Default)]
pub struct Branches {
    open: Vec<Branch>,
}

struct Branch {
    suffix: String,
    stop: Stop,
    thread: JoinHandle<()>,
}

impl Branches {
    /// Starts one unless there is one of that suffix.
    pub fn open(&mut self, feed: &mut Feed, suffix: &str, producer: Arc<dyn Producer>) {
        if self.open.len() >= MAX_OUTLETS || self.open.iter().any(|it| it.suffix == suffix) {
            return;
        }
        let name = feed.branch_name(suffix);
        let opened = Feed::open(feed.ground.clone(), &name, &producer.origin());
        let started = opened.and_then(|(its_feed, stop)| {
            let spawn = std::thread::Builder::new().name("log-producer".into());
            let thread = spawn.spawn(move || run(producer.as_ref(), its_feed))?;
            Ok(Branch { suffix: suffix.to_string(), stop, thread })
        });
        match started {
            Ok(branch) => self.open.push(branch),
            Err(error) => tracing::error!("could not start reading `{name}`: {error}"),
        }
    }

    /// The suffixes of those that run.
    pub fn names(&self) -> Vec<String> {
        self.open.iter().map(|it| it.suffix.clone()).collect()
    }

    /// Ends one with its source.
    pub fn close(&mut self, suffix: &str) {
        if let Some(found) = self.open.iter().position(|it| it.suffix == suffix) {
            let Branch { stop, thread, .. } = self.open.remove(found);
            drop(stop);
            let _ = thread.join();
        }
    }

    /// Ends all.
    pub fn end(&mut self) {
        let (stops, threads): (Vec<_>, Vec<_>) = self.open.drain(..).map(|it| (it.stop, it.thread)).unzip();
        drop(stops);
        for thread in threads {
            // A panic is reported where it happens.
            let _ = thread.join();
        }
    }
}

/// Runs a producer until it is stopped; what it said stays readable until then.
pub fn run(producer: &dyn Producer, mut feed: Feed) {
    let ran = catch_unwind(AssertUnwindSafe(|| producer.run(&mut feed)));
    if let Err(payload) = ran {
        let why = panic_text(payload.as_ref());
        let origin = feed.ground.veil.text(&producer.origin());
        tracing::error!("the reader of {origin} ended: {}", feed.ground.veil.text(&why));
        feed.tail(Some(&GapKind::Failed(why.clone())));
        feed.state(&SourceState::Failed(why));
    }
    while feed.settle() {
        if feed.wait(SETTLE_PAUSE) {
            break;
        }
    }
    feed.wait_for_stop();
    if !feed.ground.cancel.is_cancelled() {
        feed.close_all();
    }
}

/// One source that is fed.
pub struct Outlet {
    /// Behind the producer's name; empty for its own source.
    pub suffix: String,
    source: Arc<Source>,
    spool: Spool,
    engine: Arc<Engine>,
    facts: Arc<dyn Fn(LogFact) + Send + Sync>,
    veil: Veil,
    state: SourceState,
    /// The pipe that the last lines came by.
    pipe: Option<Pipe>,
    stamps: StampReader,
    reported_at: Option<Instant>,
    reported_bytes: u64,
    /// Whether its text is what it should be.
    doubter: Doubter,
}

impl Outlet {
    fn open(ground: &Ground, name: &str, origin: &str) -> Self {
        let directory = ground.state_dir.join("spool");
        // Without the directory the spool stays in memory, which is all that can be done.
        let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        let id = SourceId::new(&ground.host, name);
        let engine = ground.engine.clone();
        let spool =
            Spool::new(id, name, &sanitise::text(&ground.veil.text(origin)), &directory, SpoolBounds::default())
                .telling(Box::new(move || engine.grew()));
        let source = spool.source();
        source.set_reading(ground.reading.clone());
        reading::opening(&source).for_each(|fact| (ground.facts)(fact));
        ground.engine.add(source.clone());
        Self {
            suffix: String::new(),
            source,
            spool,
            engine: ground.engine.clone(),
            facts: ground.facts.clone(),
            veil: ground.veil.clone(),
            // What the board takes a new source for.
            state: SourceState::Connected,
            pipe: None,
            stamps: ground.reading.stamp_reader(&clock::zone(), clock::now()),
            reported_at: None,
            reported_bytes: 0,
            doubter: Doubter::default(),
        }
    }

    fn close(self) {
        self.engine.remove(&self.source.id);
        (self.facts)(LogFact::Closed { source: self.source.id.clone() });
    }

    /// The source's name.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// The source.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Appends bytes, which need not be whole lines.
    pub fn append(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.source.set_tail(None);
        self.spool.append(bytes, clock::now());
        self.engine.grew();
        if self.reported_at.is_none_or(|it| clock::monotonic().duration_since(it) >= REPORT_INTERVAL) {
            self.report();
        }
    }

    /// Appends whole lines that came by one pipe of a program. They are no part of a record that came by the other one.
    pub fn append_from(&mut self, pipe: Pipe, lines: &[u8]) {
        let line = &lines[..memchr::memchr(b'\n', lines).map_or(lines.len(), |it| it + 1)];
        if line.is_empty() {
            return;
        }
        // A line with a time begins a record in any case, and blocks without such marks are faster to search.
        if self.pipe.replace(pipe).is_some_and(|it| it != pipe) && !self.stamps.has_stamp(line) {
            self.spool.begin_record(clock::now());
        }
        self.append(lines);
    }

    /// Ends a line that has no end yet, so that what comes next is not taken for its rest.
    pub fn end_line(&mut self) {
        if self.spool.is_inside_line() {
            self.append(b"\n");
        }
    }

    /// Says that something is missing between what is here and what comes next.
    pub fn gap(&mut self, kind: GapKind) {
        let kind = self.veiled(kind);
        self.end_line();
        self.source.set_tail(None);
        self.spool.gap(kind.clone(), clock::now());
        (self.facts)(LogFact::Gap { source: self.source.id.clone(), kind });
        self.engine.grew();
    }

    /// Says what is wrong at the end; `None` when nothing is.
    pub fn tail(&mut self, kind: Option<GapKind>) {
        let kind = kind.map(|it| self.veiled(it));
        let mark = kind.clone().map(|kind| GapMark { kind, at: clock::now() });
        if self.source.set_tail(mark) {
            if let Some(kind) = kind {
                (self.facts)(LogFact::Gap { source: self.source.id.clone(), kind });
            }
            self.engine.grew();
        }
    }

    /// Says whether lines can arrive.
    pub fn state(&mut self, mut state: SourceState) {
        if let SourceState::Waiting(why) | SourceState::Reconnecting { why, .. } | SourceState::Failed(why) = &mut state
        {
            self.veil.cover(why);
        }
        if self.state != state {
            self.state = state.clone();
            (self.facts)(LogFact::State { source: self.source.id.clone(), state });
            self.engine.grew();
        }
    }

    fn veiled(&self, mut kind: GapKind) -> GapKind {
        if let GapKind::Failed(why) = &mut kind {
            self.veil.cover(why);
        }
        kind
    }

    fn settle(&mut self) -> bool {
        if self.source.size_bytes() == self.reported_bytes {
            return false;
        }
        let is_early = self.reported_at.is_some_and(|it| clock::monotonic().duration_since(it) < REPORT_INTERVAL);
        if !is_early {
            self.report();
        }
        is_early
    }

    fn report(&mut self) {
        self.reported_at = Some(clock::monotonic());
        self.reported_bytes = self.source.size_bytes();
        (self.facts)(LogFact::Grew { source: self.source.id.clone(), size_bytes: self.reported_bytes });
        if let Some(doubt) = self.doubter.look(&self.source) {
            (self.facts)(doubt);
        }
    }
}
