//! The log engine as others see it: sources in, windows out.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::clock;
use crate::domain::ids::SourceId;
use crate::domain::log::{ViewId, Window, WindowRequest, WindowSource};
use crate::domain::query::matcher::Matcher;
use crate::logstore::block::BlockReader;
use crate::logstore::scan::QueryCounts;
use crate::logstore::segment::lock;
use crate::logstore::source::{Snapshot, Source};
use crate::logstore::view::{self, View};

/// Views at a time, each with a thread: a screen has one or two.
const MAX_VIEWS: usize = 8;
/// Queries whose counts are kept: clearing a chip and putting it back costs nothing.
const MAX_COUNTED_QUERIES: usize = 6;

/// Where a view's windows go; `false` when nobody wants them any more.
pub type Answer = Arc<dyn Fn(Window) -> bool + Send + Sync>;

/// The log engine.
pub struct Engine {
    inner: Arc<Inner>,
}

/// What the engine's threads share.
pub struct Inner {
    /// Reads blocks.
    pub reader: BlockReader,
    /// Times without a zone are read in it.
    pub zone: TimeZone,
    /// Threads for counting.
    pub threads: usize,
    sources: Mutex<Vec<Arc<Source>>>,
    views: Mutex<HashMap<ViewId, Arc<View>>>,
    /// Counts the changes, for callers that wait for one.
    changes: Mutex<u64>,
    changed: Condvar,
    query_counts: Mutex<VecDeque<(String, Arc<QueryCounts>)>>,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(clock::zone())
    }
}

impl Engine {
    /// An engine without sources; times without a zone are read in `zone`.
    pub fn new(zone: TimeZone) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            inner: Arc::new(Inner {
                reader: BlockReader::new(zone.clone()),
                zone,
                threads,
                sources: Mutex::default(),
                views: Mutex::default(),
                changes: Mutex::default(),
                changed: Condvar::new(),
                query_counts: Mutex::default(),
            }),
        }
    }

    /// Adds a source.
    pub fn add(&self, source: Arc<Source>) {
        lock(&self.inner.sources).push(source);
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

    /// Says that sources have changed: followed views look again.
    pub fn grew(&self) {
        for view in lock(&self.inner.views).values() {
            view.grew();
        }
        *lock(&self.inner.changes) += 1;
        self.inner.changed.notify_all();
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

    /// The counts of a query, kept from an earlier time when it was asked before.
    pub fn query_counts(&self, query: &str) -> Arc<QueryCounts> {
        let mut known = lock(&self.query_counts);
        // Times that count from now mean something else every time.
        let is_lasting = !query.contains("since:") && !query.contains("until:");
        let found = known.iter().position(|(it, _)| it == query && is_lasting).and_then(|at| known.remove(at));
        let entry = found.unwrap_or_else(|| (query.to_string(), Arc::new(QueryCounts::default())));
        let counts = entry.1.clone();
        if known.len() >= MAX_COUNTED_QUERIES {
            known.pop_front();
        }
        known.push_back(entry);
        counts
    }
}
