//! The log engine as others see it: sources in, windows out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::clock;
use crate::domain::ids::SourceId;
use crate::domain::log::{ViewId, Window, WindowRequest, WindowSource};
use crate::domain::query::matcher::Matcher;
use crate::domain::query::{self, Chip, ChipKind, Query};
use crate::logstore::block::reader::BlockReader;
use crate::logstore::scan::Gate;
use crate::logstore::scan::goal::{Goal, QueryCounts};
use crate::logstore::segment::lock;
use crate::logstore::source::{Snapshot, Source};
use crate::logstore::view::{self, View};

/// Views of a screen, each with a thread: it has one or two, and a few more for a moment.
pub const VIEWS_PER_SCREEN: u64 = 8;
/// Views at a time, of all screens that can be attached to a runtime.
const MAX_VIEWS: usize = 128 * VIEWS_PER_SCREEN as usize;
/// Queries whose counts are kept: clearing a chip and putting it back costs nothing.
const MAX_COUNTED_QUERIES: usize = 24;
/// Memory that the kept counts of queries may take up together, not counting the one in use.
const MAX_COUNTED_BYTES: usize = 16 << 20;

/// Where a view's windows go; `false` when nobody wants them any more.
pub type Answer = Arc<dyn Fn(Window) -> bool + Send + Sync>;

/// The log engine.
pub struct Engine {
    inner: Arc<Inner>,
}

/// What the engine's threads share.
pub struct Inner {
    /// Reads blocks.
    pub reader: Arc<BlockReader>,
    /// Times without a zone are read in it.
    pub zone: TimeZone,
    /// Threads for counting.
    pub threads: usize,
    sources: Mutex<Vec<Arc<Source>>>,
    /// Whoever brings bytes waits until they are taken.
    takes: AtomicBool,
    views: Mutex<HashMap<ViewId, Arc<View>>>,
    /// Counts the changes, for callers that wait for one.
    changes: Mutex<u64>,
    changed: Condvar,
    /// Windows go before counting.
    pub gate: Gate,
    /// Seconds that local time is ahead of UTC.
    pub phase: i64,
    everything: Arc<QueryCounts>,
    query_counts: Mutex<VecDeque<(ChipKeys, Arc<QueryCounts>)>>,
}

/// The enabled chips of a query that look at records, in text form, sorted: narrowing knows no order.
type ChipKeys = Vec<String>;

impl Default for Engine {
    fn default() -> Self {
        Self::new(clock::zone())
    }
}

impl Engine {
    /// An engine without sources; times without a zone are read in `zone`.
    pub fn new(zone: TimeZone) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let phase = i64::from(zone.to_offset(clock::now()).seconds());
        Self {
            inner: Arc::new(Inner {
                reader: Arc::new(BlockReader::new(zone.clone())),
                zone,
                threads,
                sources: Mutex::default(),
                takes: AtomicBool::new(false),
                views: Mutex::default(),
                changes: Mutex::default(),
                changed: Condvar::new(),
                gate: Gate::default(),
                phase,
                everything: Arc::default(),
                query_counts: Mutex::default(),
            }),
        }
    }

    /// From now on, of all sources, who brings bytes waits until they are taken.
    pub fn begin_taking(&self) {
        self.inner.takes.store(true, Ordering::Release);
        lock(&self.inner.sources).iter().for_each(|it| it.begin_taking());
    }

    /// Nobody takes anything any more, and nobody waits for that.
    pub fn end_taking(&self) {
        self.inner.takes.store(false, Ordering::Release);
        lock(&self.inner.sources).iter().for_each(|it| it.end_taking());
    }

    /// True when an archive is unpacked no further until some of what came out of it is taken.
    pub fn is_stuck(&self) -> bool {
        lock(&self.inner.sources).iter().any(|it| !it.is_stream() && it.is_waiting())
    }

    /// Adds a source.
    pub fn add(&self, source: Arc<Source>) {
        self.add_all(vec![source]);
    }

    /// Adds sources: views look again once for all of them.
    pub fn add_all(&self, sources: Vec<Arc<Source>>) {
        if sources.is_empty() {
            return;
        }
        {
            let mut known = lock(&self.inner.sources);
            if self.inner.takes.load(Ordering::Acquire) {
                sources.iter().for_each(|it| it.begin_taking());
            }
            sources.iter().for_each(|it| it.is_read_by(&self.inner.reader));
            known.extend(sources);
        }
        self.grew();
    }

    /// Removes a source.
    pub fn remove(&self, id: &SourceId) {
        lock(&self.inner.sources).retain(|it| it.id != *id);
        self.grew();
    }

    /// The sources in the order they were added.
    pub fn sources(&self) -> Vec<Arc<Source>> {
        lock(&self.inner.sources).clone()
    }

    /// Ends views: nobody wants their windows any more.
    pub fn close_views(&self, is_over: impl Fn(ViewId) -> bool) {
        lock(&self.inner.views).retain(|id, view| {
            let stays = !is_over(*id);
            if !stays {
                view.close();
            }
            stays
        });
    }

    /// Says that sources have changed: followed views look again.
    pub fn grew(&self) {
        for view in lock(&self.inner.views).values() {
            view.grew();
        }
        *lock(&self.inner.changes) += 1;
        self.inner.changed.notify_all();
    }

    /// True when every source has brought what was there before it was opened: archives are unpacked.
    pub fn is_settled(&self) -> bool {
        lock(&self.inner.sources).iter().all(|it| !it.is_unfinished())
    }

    /// Counts the changes so far.
    pub fn changes(&self) -> u64 {
        *lock(&self.inner.changes)
    }

    /// Waits until there were more changes than `seen`, at most so long. Returns false when the time is over.
    pub fn wait_for_change(&self, seen: u64, at_most: Duration) -> bool {
        let changes = lock(&self.inner.changes);
        let waited = self.inner.changed.wait_timeout_while(changes, at_most, |it| *it <= seen);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// What the engine's threads share.
    pub fn inner(&self) -> &Inner {
        &self.inner
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for (_, view) in lock(&self.inner.views).drain() {
            view.close();
        }
    }
}

impl WindowSource for Engine {
    fn request(&self, request: WindowRequest, answer: Box<dyn Fn(Window) -> bool + Send + Sync>) {
        let mut views = lock(&self.inner.views);
        if !views.contains_key(&request.view) {
            if views.len() >= MAX_VIEWS
                && let Some(oldest) = views.keys().min_by_key(|it| it.0).copied()
                && let Some(view) = views.remove(&oldest)
            {
                view.close();
            }
            let view = Arc::new(View::default());
            let (inner, its_view) = (self.inner.clone(), view.clone());
            let spawned =
                std::thread::Builder::new().name("log-view".into()).spawn(move || view::run(&inner, &its_view));
            if let Err(error) = spawned {
                tracing::error!("could not start a log view: {error}");
                return;
            }
            views.insert(request.view, view);
        }
        if let Some(view) = views.get(&request.view) {
            view.request(request, Arc::from(answer));
        }
    }
}

impl Inner {
    /// The wanted sources as they are now.
    pub fn snapshots(&self, wanted: &[SourceId], matcher: &Matcher) -> Vec<Snapshot> {
        let sources = lock(&self.sources).clone();
        let is_wanted =
            |it: &Arc<Source>| (wanted.is_empty() || wanted.contains(&it.id)) && matcher.takes_source(&it.name);
        sources.iter().filter(|it| is_wanted(it)).map(Source::snapshot).collect()
    }

    /// The sources that a request asks for as they are now, those that its query leaves out included.
    pub fn requested(&self, request: &WindowRequest) -> Vec<Snapshot> {
        let sources = lock(&self.sources).clone();
        let is_wanted = |it: &&Arc<Source>| {
            (request.sources.is_empty() || request.sources.contains(&it.id)) && !request.muted.contains(&it.id)
        };
        sources.iter().filter(is_wanted).map(Source::snapshot).collect()
    }

    /// Everything there is, as something to count.
    pub fn everything(&self, by_group: bool) -> Goal {
        Goal {
            matcher: Arc::default(),
            counts: self.everything.clone(),
            wider: Vec::new(),
            everything: self.everything.clone(),
            by_group,
        }
    }

    /// A query as something to count, with what is known of it and of wider ones from earlier times.
    pub fn goal(&self, query: &Query, now: Timestamp, matcher: Arc<Matcher>, by_group: bool) -> Goal {
        let mut goal = Goal { matcher, ..self.everything(by_group) };
        let keys = chip_keys(query, now, &self.zone);
        if keys.is_empty() {
            return goal;
        }
        let mut known = lock(&self.query_counts);
        let is_wider = |it: &ChipKeys| *it != keys && it.iter().all(|key| keys.binary_search(key).is_ok());
        goal.wider = known.iter().filter(|(it, _)| is_wider(it)).map(|(_, counts)| counts.clone()).collect();
        let found = known.iter().position(|(it, _)| *it == keys).and_then(|at| known.remove(at));
        let mut size_bytes: usize = known.iter().map(|(_, it)| it.size_bytes()).sum();
        while known.len() >= MAX_COUNTED_QUERIES || size_bytes > MAX_COUNTED_BYTES {
            let Some((_, oldest)) = known.pop_front() else { break };
            size_bytes -= oldest.size_bytes();
        }
        let entry = found.unwrap_or_else(|| (keys, Arc::default()));
        goal.counts = entry.1.clone();
        known.push_back(entry);
        goal
    }

    /// Lets the counts of segments go that no source has any more.
    pub fn forget_gone(&self) {
        let sources = lock(&self.sources).clone();
        let segments = sources.iter().flat_map(|it| it.older().into_iter().chain(it.newest()));
        let present: HashSet<u64> = segments.map(|it| it.uid).collect();
        self.everything.keep_only(&present);
        for (_, counts) in lock(&self.query_counts).iter() {
            counts.keep_only(&present);
        }
    }
}

/// Chips that mean the same have the same key; a time that counts from now is named by the instant it means.
fn chip_keys(query: &Query, now: Timestamp, zone: &TimeZone) -> ChipKeys {
    let key = |chip: &Chip| {
        if matches!(chip.kind, ChipKind::Source(_)) {
            return None;
        }
        let time = query::moment(&query.chips, &chip.kind, now, zone).and_then(Result::ok);
        Some(format!("{chip} {}", time.map_or_else(String::new, |it| it.to_string())))
    };
    let mut keys: ChipKeys = query.chips.iter().filter(|it| it.enabled).filter_map(key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
