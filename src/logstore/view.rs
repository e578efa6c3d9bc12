//! One log view: a thread that answers the newest request and keeps following it.
//!
//! The thread sleeps until there is a request or a source has grown. A newer request makes the running
//! one stop at the next block.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::clock;
use crate::domain::log::{Anchor, Counts, Row, Window, WindowRequest};
use crate::domain::query::Query;
use crate::domain::query::matcher::{Matcher, Pattern};
use crate::logstore::engine::{Answer, Inner};
use crate::logstore::present::Presenter;
use crate::logstore::scan::{self, Depth, QueryCounts, Scan};
use crate::logstore::segment::lock;
use crate::logstore::source::Snapshot;
use crate::logstore::store::Stop;
use crate::logstore::walk::{Ground, Place, last_record};
use crate::logstore::window::{Builder, Built, Cancelled, Keyed, MAX_WINDOW_RECORDS};

/// Least time between two windows of a followed tail: thirty a second look like motion.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(33);
/// A window that takes longer shows what it has.
const INTERIM_AFTER: Duration = Duration::from_millis(40);
/// Least time between two reports of counts.
const COUNTS_INTERVAL: Duration = Duration::from_millis(100);

/// A view's thread, seen from outside.
#[derive(Default)]
pub struct View {
    slot: Mutex<Slot>,
    wake: Condvar,
    /// Counts the requests; work for an older one stops.
    ticket: AtomicU64,
}

#[derive(Default)]
struct Slot {
    job: Option<Job>,
    grown: bool,
    closed: bool,
}

/// A request with where its answers go.
#[derive(Clone)]
struct Job {
    request: WindowRequest,
    answer: Answer,
    ticket: u64,
}

enum Wake {
    Job(Box<Job>),
    Growth,
    Closed,
}

impl View {
    /// Replaces whatever the view was doing.
    pub fn request(&self, request: WindowRequest, answer: Answer) {
        let ticket = self.ticket.fetch_add(1, Ordering::AcqRel) + 1;
        let mut slot = lock(&self.slot);
        slot.job = Some(Job { request, answer, ticket });
        self.wake.notify_all();
    }

    /// Says that a source has changed.
    pub fn grew(&self) {
        let mut slot = lock(&self.slot);
        slot.grown = true;
        self.wake.notify_all();
    }

    /// Ends the thread.
    pub fn close(&self) {
        self.ticket.fetch_add(1, Ordering::AcqRel);
        lock(&self.slot).closed = true;
        self.wake.notify_all();
    }

    fn is_current(&self, ticket: u64) -> bool {
        self.ticket.load(Ordering::Acquire) == ticket
    }

    /// Waits for something to do; growth counts only while following, and not before `not_before`.
    fn wait(&self, follows: bool, not_before: Option<Instant>) -> Wake {
        let mut slot = lock(&self.slot);
        loop {
            if slot.closed {
                return Wake::Closed;
            }
            if let Some(job) = slot.job.take() {
                slot.grown = false;
                return Wake::Job(Box::new(job));
            }
            let mut pause = None;
            if follows && slot.grown {
                let left = not_before.map_or(Duration::ZERO, |it| it.saturating_duration_since(clock::monotonic()));
                if left.is_zero() {
                    slot.grown = false;
                    return Wake::Growth;
                }
                pause = Some(left);
            }
            slot = match pause {
                Some(pause) => match self.wake.wait_timeout(slot, pause) {
                    Ok((slot, _)) => slot,
                    Err(poisoned) => poisoned.into_inner().0,
                },
                None => self.wake.wait(slot).unwrap_or_else(std::sync::PoisonError::into_inner),
            };
        }
    }
}

/// A followed tail between two windows.
struct Following {
    job: Job,
    plan: Plan,
    rows: Vec<Keyed>,
    /// Per source: the last record, which may still grow.
    floors: Vec<Place>,
    snapshots: Vec<Snapshot>,
    counts_known: Arc<AtomicBool>,
    counts: Counts,
    pushed_at: Instant,
}

/// A request made ready to run.
#[derive(Clone)]
struct Plan {
    matcher: Arc<Matcher>,
    search: Option<Pattern>,
    error: Option<String>,
    counts: Arc<QueryCounts>,
}

impl Plan {
    fn scan<'a>(&'a self, inner: &'a Inner, threads: usize) -> Scan<'a> {
        Scan { reader: &inner.reader, matcher: &self.matcher, counts: &self.counts, depth: Depth::Records, threads }
    }
}

/// The view's thread.
pub fn run(inner: &Arc<Inner>, view: &Arc<View>) {
    let mut following: Option<Following> = None;
    loop {
        let not_before = following.as_ref().map(|it| it.pushed_at + FOLLOW_INTERVAL);
        following = match view.wait(following.is_some(), not_before) {
            Wake::Closed => return,
            Wake::Job(job) => answer(inner, view, *job),
            Wake::Growth => following.take().and_then(|it| follow(inner, view, it)),
        };
    }
}

fn plan(inner: &Inner, request: &WindowRequest) -> Plan {
    let mut error = None;
    let now = clock::now();
    let compiled = Query::parse(&request.query).and_then(|query| Matcher::new(&query, now, &inner.zone));
    let matcher = compiled.unwrap_or_else(|mistake| {
        error = Some(mistake.to_string());
        Matcher::default()
    });
    let search = (!request.search.is_empty())
        .then(|| Pattern::regex(&request.search))
        .and_then(|it| it.map_err(|mistake| error.get_or_insert(format!("search: {mistake}")).truncate(400)).ok());
    let key = if error.is_some() { String::new() } else { request.query.clone() };
    Plan { matcher: Arc::new(matcher), search, error, counts: inner.query_counts(&key) }
}

/// The sources as they are now; a store is waited for as long as the request is the newest.
fn snapshots(inner: &Inner, view: &Arc<View>, job: &Job, plan: &Plan) -> Vec<Snapshot> {
    let mut snapshots = inner.snapshots(&job.request.sources, &plan.matcher);
    let (view, ticket) = (view.clone(), job.ticket);
    let stop = Stop::when(move || !view.is_current(ticket));
    for snapshot in &mut snapshots {
        snapshot.stop_when(&stop);
    }
    snapshots
}

fn answer(inner: &Arc<Inner>, view: &Arc<View>, job: Job) -> Option<Following> {
    let plan = plan(inner, &job.request);
    let snapshots = snapshots(inner, view, &job, &plan);
    plan.counts.keep_only(&snapshots);
    let started = clock::monotonic();
    let sent = Mutex::new(started);
    let go_on = |so_far: &mut dyn FnMut() -> Built| {
        if !view.is_current(job.ticket) {
            return false;
        }
        let mut sent = lock(&sent);
        if clock::monotonic().duration_since(*sent) < INTERIM_AFTER {
            return true;
        }
        *sent = clock::monotonic();
        let built = so_far();
        built.rows.is_empty() || (job.answer)(window(&job, &plan, Some(&built), Counts::default()))
    };
    let built = build(inner, &plan, &snapshots, &go_on, |builder| builder.build(&job.request, plan.search.as_ref()))?;
    if !view.is_current(job.ticket) || !(job.answer)(window(&job, &plan, Some(&built), Counts::default())) {
        return None;
    }
    let counts_known = Arc::new(AtomicBool::new(false));
    if job.request.count {
        count_aside(inner, view, &job, &plan, &snapshots, &counts_known);
    }
    if !job.request.follow || job.request.anchor != Anchor::Tail {
        return None;
    }
    let floors = floors(inner, &snapshots);
    let rows = built.rows;
    let counts = Counts::default();
    Some(Following { job, plan, rows, floors, snapshots, counts_known, counts, pushed_at: clock::monotonic() })
}

/// Builds. `None` when it was cancelled.
fn build(
    inner: &Inner,
    plan: &Plan,
    snapshots: &[Snapshot],
    go_on: &dyn Fn(&mut dyn FnMut() -> Built) -> bool,
    work: impl FnOnce(&Builder<'_>) -> Result<Built, Cancelled>,
) -> Option<Built> {
    let presenter = Presenter { snapshots, matcher: &plan.matcher, search: plan.search.as_ref() };
    let ground = Ground { reader: &inner.reader, matcher: &plan.matcher, counts: Some(&plan.counts) };
    let builder = Builder { ground, snapshots, presenter: &presenter, go_on };
    work(&builder).ok()
}

fn window(job: &Job, plan: &Plan, built: Option<&Built>, counts: Counts) -> Window {
    Window {
        view: job.request.view,
        generation: job.request.generation,
        rows: built.map(|it| it.rows.iter().map(|keyed| keyed.row.clone()).collect()),
        anchor_row: built.and_then(|it| it.anchor_row),
        at_head: built.is_some_and(|it| it.at_head),
        at_tail: built.is_some_and(|it| it.at_tail),
        missing: built.and_then(|it| it.missing.clone()),
        counts,
        query_error: plan.error.clone(),
        chip_counts: Vec::new(),
        histogram: None,
    }
}

fn count_aside(
    inner: &Arc<Inner>,
    view: &Arc<View>,
    job: &Job,
    plan: &Plan,
    snapshots: &[Snapshot],
    known: &Arc<AtomicBool>,
) {
    let (inner, view, job, plan, known) = (inner.clone(), view.clone(), job.clone(), plan.clone(), known.clone());
    let snapshots = snapshots.to_vec();
    // One such thread per view lives on: the newer ticket ends the older one at its next block.
    let spawned = std::thread::Builder::new().name("log-count".into()).spawn(move || {
        let sent = Mutex::new(clock::monotonic());
        let progress = |counts: Counts| {
            if !view.is_current(job.ticket) {
                return false;
            }
            let mut sent = lock(&sent);
            if clock::monotonic().duration_since(*sent) < COUNTS_INTERVAL {
                return true;
            }
            *sent = clock::monotonic();
            (job.answer)(window(&job, &plan, None, counts))
        };
        let counted = scan::count(plan.scan(&inner, inner.threads), &snapshots, &progress);
        if let Some(counts) = counted
            && view.is_current(job.ticket)
        {
            (job.answer)(window(&job, &plan, None, counts));
            known.store(true, Ordering::Release);
            // What arrived while counting is counted with the next window.
            view.grew();
        }
    });
    if let Err(error) = spawned {
        tracing::warn!("could not start counting: {error}");
    }
}

/// The last record of each source.
fn floors(inner: &Inner, snapshots: &[Snapshot]) -> Vec<Place> {
    snapshots.iter().map(|snapshot| last_record(&inner.reader, snapshot)).collect()
}

fn follow(inner: &Arc<Inner>, view: &Arc<View>, mut following: Following) -> Option<Following> {
    let (job, plan) = (following.job.clone(), following.plan.clone());
    let snapshots = snapshots(inner, view, &job, &plan);
    let want = (job.request.before.min(MAX_WINDOW_RECORDS) + job.request.after.min(MAX_WINDOW_RECORDS)) as usize;
    let go_on = |_: &mut dyn FnMut() -> Built| view.is_current(job.ticket);
    let same_shape = same_shape(&following.snapshots, &snapshots);
    let floors_then = std::mem::take(&mut following.floors);
    let built = if same_shape && job.request.context == 0 {
        let fresh = build(inner, &plan, &snapshots, &go_on, |builder| builder.tail(want, Some(&floors_then)))?;
        let had = following.rows.len();
        extend(following.rows.clone(), fresh, &floors_then, want, had)
    } else {
        build(inner, &plan, &snapshots, &go_on, |builder| builder.build(&job.request, plan.search.as_ref()))?
    };
    following.floors = floors(inner, &snapshots);
    let mut counts = following.counts;
    if job.request.count && following.counts_known.load(Ordering::Acquire) {
        let go_on = |_| view.is_current(job.ticket);
        counts = scan::count(plan.scan(inner, 1), &snapshots, &go_on)?;
    }
    let same_rows = built.rows.len() == following.rows.len()
        && built.rows.iter().zip(&following.rows).all(|(new, old)| new.row == old.row);
    let is_news = !same_rows || counts != following.counts;
    if is_news && !(job.answer)(window(&job, &plan, (!same_rows).then_some(&built), counts)) {
        return None;
    }
    following.rows = built.rows;
    following.counts = counts;
    following.snapshots = snapshots;
    following.pushed_at = clock::monotonic();
    Some(following)
}

fn same_shape(then: &[Snapshot], now: &[Snapshot]) -> bool {
    then.len() == now.len()
        && then.iter().zip(now).all(|(then, now)| then.source.id == now.source.id && then.epoch == now.epoch)
}

/// Joins the rows shown with those that came since the floors.
fn extend(shown: Vec<Keyed>, fresh: Built, floors: &[Place], want: usize, had: usize) -> Built {
    // The record at the floor was still growing, a gap at the end may be gone: both are in `fresh` again.
    let mut old = shown.into_iter().filter(|it| !it.is_tail && it.place < floors[it.source]).peekable();
    let mut rows: Vec<Keyed> = Vec::with_capacity(had + fresh.rows.len());
    for keyed in fresh.rows {
        while let Some(older) =
            old.next_if(|it| (it.at, it.source) <= (keyed.at, keyed.source) || it.source == keyed.source)
        {
            rows.push(older);
        }
        rows.push(keyed);
    }
    rows.extend(old);
    let mut surplus = rows.iter().filter(|it| matches!(it.row, Row::Record(_))).count().saturating_sub(want);
    let cut = surplus > 0;
    rows.retain(|it| {
        let drops = surplus > 0;
        surplus -= usize::from(drops && matches!(it.row, Row::Record(_)));
        !drops
    });
    Built { rows, at_tail: true, at_head: fresh.at_head && !cut, ..Built::default() }
}
