//! One log view: a thread that answers the newest request and keeps following it.
//!
//! The thread sleeps until there is a request or a source has grown. A newer request makes the running
//! one stop at the next block. Counting runs on threads of its own and lets windows go first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clock;
use crate::domain::log::{Anchor, Find, Look, Row, Window, WindowRequest};
use crate::domain::query::matcher::{Matcher, Pattern};
use crate::domain::query::{Chip, ChipKind, Comparison, Query};
use crate::domain::sanitise::Tabs;
use crate::logstore::block::PAGE_BYTES;
use crate::logstore::engine::{Answer, Inner};
use crate::logstore::merge::Help;
use crate::logstore::place::unsettled;
use crate::logstore::present::{MAX_COLUMNS, Presenter};
use crate::logstore::scan::goal::Goal;
use crate::logstore::scan::tally::Tally;
use crate::logstore::scan::totals::Totals;
use crate::logstore::scan::{self, MAX_GOALS, Scan};
use crate::logstore::segment::lock;
use crate::logstore::source::Snapshot;
use crate::logstore::store::Stop;
use crate::logstore::walk::{Ground, Place};
use crate::logstore::window::{Builder, Built, Cancelled, Keyed, MAX_WINDOW_RECORDS, is_same_fault};

/// Least time between two windows of a followed tail: half of that between two frames, because on average a frame
/// shows one that is half of this old. A window of what has come takes a tenth of it.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(16);
/// A window that takes longer shows what it has: with a search ahead and a frame still behind it, within 50 ms.
const INTERIM_AFTER: Duration = Duration::from_millis(25);
/// Least time between two reports of counts.
const COUNTS_INTERVAL: Duration = Duration::from_millis(100);
/// How far counting stands back behind the threads of the screen: a third of their share when all are busy.
#[cfg(target_os = "linux")]
const COUNTING_NICENESS: i32 = 5;
/// New blocks counted between two windows (8 MiB, some milliseconds); more are counted aside.
const MAX_BACKLOG_BLOCKS: u64 = 32;
/// Times that count from now are taken to be the same for so long: what was counted for them can be used again.
const NOW_SECONDS: i64 = 5;

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

    /// Waits for something to do; growth counts only while following, and not before `not_before`. What is
    /// `owed` then counts as growth.
    fn wait(&self, follows: bool, not_before: Option<Instant>, owed: Option<Instant>) -> Wake {
        let mut slot = lock(&self.slot);
        loop {
            if slot.closed {
                return Wake::Closed;
            }
            if let Some(job) = slot.job.take() {
                slot.grown = false;
                return Wake::Job(Box::new(job));
            }
            let due = if follows && slot.grown { not_before } else { owed.filter(|_| follows) };
            let pause = due.map(|it| it.saturating_duration_since(clock::monotonic()));
            if pause.is_some_and(|it| it.is_zero()) {
                slot.grown = false;
                return Wake::Growth;
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
    /// Per source: the last records, which may still grow.
    floors: Vec<Place>,
    snapshots: Vec<Snapshot>,
    totals: SharedTotals,
    tally: Tally,
    counted_at: Instant,
    /// Something came since it was counted.
    owes_counts: bool,
    pushed_at: Instant,
}

impl Following {
    /// True when the sources had nothing yet, as at a start that is faster than their first look: the first rows wait
    /// for nothing.
    fn is_unopened(&self) -> bool {
        !self.snapshots.is_empty() && self.snapshots.iter().all(|it| it.store.is_none() && it.size_bytes() == 0)
    }
}

/// What was counted, once the thread that counts is done.
type SharedTotals = Arc<Mutex<Option<Totals>>>;

/// A request made ready to run.
#[derive(Clone)]
struct Plan {
    matcher: Arc<Matcher>,
    search: Option<Pattern>,
    error: Option<String>,
    /// Everything first, the query last; between them what passes the chips so far, when that is wanted.
    goals: Arc<[Goal]>,
    /// By chip: the goals before it and with it.
    chips: Vec<(usize, usize)>,
    /// What a jump looks for.
    find: Option<Goal>,
    look: Look,
    columns: Arc<[String]>,
}

impl Plan {
    fn new(inner: &Inner, request: &WindowRequest) -> Self {
        // Requests that follow each other mean the same time by `-30m`.
        let now = whole_seconds(clock::now());
        let by_group = request.histogram.is_some();
        let mut goals = vec![inner.everything(true)];
        let mut error = None;
        let mut chips = Vec::new();
        let compiled = Query::parse(&request.query).and_then(|query| {
            let matcher = Arc::new(Matcher::new(&query, now, &inner.zone)?);
            chips = add_prefixes(inner, request, &query, now, &mut goals);
            if !query.is_empty() {
                goals.push(inner.goal(&query, now, matcher.clone(), by_group));
            }
            Ok(matcher)
        });
        let matcher = compiled.unwrap_or_else(|mistake| {
            error = Some(mistake.to_string());
            Arc::default()
        });
        let search: Option<Pattern> = (!request.search.is_empty())
            .then(|| Pattern::regex(&request.search))
            .and_then(|it| it.map_err(|mistake| error.get_or_insert(format!("search: {mistake}")).truncate(400)).ok());
        let (look, columns) = (request.look, request.columns.iter().take(MAX_COLUMNS).cloned().collect());
        let find = find_chip(request, search.as_ref()).and_then(|chip| {
            let mut query = Query::parse(&request.query).unwrap_or_default();
            query.chips.push(Chip::keep(chip));
            let matcher = match &request.anchor {
                Anchor::Find { find: Find::LevelAtLeast(level), .. } => Matcher::clone(&matcher).and_level(*level),
                _ => Matcher::clone(&matcher).and_pattern(search.clone()?),
            };
            Some(inner.goal(&query, now, Arc::new(matcher), false))
        });
        Self { matcher, search, error, goals: goals.into(), chips, find, look, columns }
    }

    /// The query itself, as something to count.
    fn goal(&self) -> Option<&Goal> {
        self.goals.last()
    }

    fn scan<'a>(&'a self, inner: &'a Inner, request: &'a WindowRequest, threads: usize) -> Scan<'a> {
        Scan {
            reader: &inner.reader,
            goals: &self.goals,
            histogram: request.histogram.as_ref(),
            phase: inner.phase,
            threads,
            gate: Some(&inner.gate),
        }
    }

    /// The sources whose records may pass.
    fn taken(&self, snapshots: &[Snapshot]) -> Vec<Snapshot> {
        snapshots.iter().filter(|it| self.matcher.takes_source(&it.source.name)).cloned().collect()
    }
}

/// What a jump looks for, as a chip behind those of the query.
fn find_chip(request: &WindowRequest, search: Option<&Pattern>) -> Option<ChipKind> {
    match &request.anchor {
        Anchor::Find { find: Find::LevelAtLeast(level), .. } => Some(ChipKind::Level(Comparison::AtLeast, *level)),
        Anchor::Find { find: Find::Search, .. } => search.map(|_| ChipKind::Regex(request.search.clone())),
        _ => None,
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second() / NOW_SECONDS * NOW_SECONDS).unwrap_or(time)
}

/// Adds what passes the chips up to each but the last enabled one; returns for each chip the goals before and with it.
fn add_prefixes(
    inner: &Inner,
    request: &WindowRequest,
    query: &Query,
    now: Timestamp,
    goals: &mut Vec<Goal>,
) -> Vec<(usize, usize)> {
    let enabled = query.chips.iter().filter(|it| it.enabled).count();
    if !request.chip_counts || enabled >= MAX_GOALS {
        return Vec::new();
    }
    let mut prefix = Query::default();
    let mut chips = Vec::new();
    for chip in &query.chips {
        let before = prefix.chips.len();
        if chip.enabled {
            prefix.chips.push(chip.clone());
            // The last one is the query itself.
            if prefix.chips.len() < enabled
                && let Ok(matcher) = Matcher::new(&prefix, now, &inner.zone)
            {
                goals.push(inner.goal(&prefix, now, Arc::new(matcher), false));
            }
        }
        chips.push((before, prefix.chips.len()));
    }
    chips
}

/// The view's thread.
pub fn run(inner: &Arc<Inner>, view: &Arc<View>) {
    let mut following: Option<Following> = None;
    loop {
        let not_before =
            following.as_ref().map(|it| if it.is_unopened() { it.pushed_at } else { it.pushed_at + FOLLOW_INTERVAL });
        let owed = following.as_ref().filter(|it| it.owes_counts).map(|it| it.counted_at + COUNTS_INTERVAL);
        following = match view.wait(following.is_some(), not_before, owed) {
            Wake::Closed => return,
            Wake::Job(job) => answer(inner, view, *job),
            Wake::Growth => following.take().and_then(|it| follow(inner, view, it)),
        };
    }
}

/// The sources as they are now; a store is waited for as long as the request is the newest.
fn requested(inner: &Inner, view: &Arc<View>, job: &Job) -> Vec<Snapshot> {
    let mut snapshots = inner.requested(&job.request);
    let (view, ticket) = (view.clone(), job.ticket);
    let stop = Stop::when(move || !view.is_current(ticket));
    for snapshot in &mut snapshots {
        snapshot.stop_when(&stop);
    }
    snapshots
}

fn answer(inner: &Arc<Inner>, view: &Arc<View>, job: Job) -> Option<Following> {
    let plan = Plan::new(inner, &job.request);
    let requested = requested(inner, view, &job);
    let snapshots = plan.taken(&requested);
    inner.forget_gone();
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
        let built = so_far();
        // The first row that is found after that goes at once.
        if built.rows.is_empty() {
            return true;
        }
        *sent = clock::monotonic();
        (job.answer)(window(&job, &plan, Some(&built), None))
    };
    let stop = || !view.is_current(job.ticket);
    let built =
        build(inner, &plan, &snapshots, &go_on, &stop, |builder| builder.build(&job.request, plan.search.as_ref()))?;
    if !view.is_current(job.ticket) || !(job.answer)(window(&job, &plan, Some(&built), None)) {
        return None;
    }
    let totals = SharedTotals::default();
    count_aside(inner, view, &job, &plan, requested, &totals);
    if !job.request.follow || job.request.anchor != Anchor::Tail {
        return None;
    }
    let floors = floors(inner, &snapshots);
    let now = clock::monotonic();
    Some(Following {
        job,
        plan,
        rows: built.rows,
        floors,
        snapshots,
        totals,
        tally: Tally::default(),
        counted_at: now,
        owes_counts: false,
        pushed_at: now,
    })
}

/// Builds. `None` when it was cancelled.
fn build(
    inner: &Inner,
    plan: &Plan,
    snapshots: &[Snapshot],
    go_on: &dyn Fn(&mut dyn FnMut() -> Built) -> bool,
    stop: &(dyn Fn() -> bool + Sync),
    work: impl FnOnce(&Builder<'_>) -> Result<Built, Cancelled>,
) -> Option<Built> {
    let _passage = inner.gate.hold();
    let presenter = Presenter {
        snapshots,
        matcher: &plan.matcher,
        search: plan.search.as_ref(),
        look: plan.look,
        tabs: Tabs::Blanks,
        columns: &plan.columns,
    };
    let ground = Ground { reader: &inner.reader, matcher: &plan.matcher, known: plan.goal(), unit: PAGE_BYTES };
    let help = Help { threads: inner.threads, stop };
    let builder = Builder { ground, snapshots, presenter: &presenter, find: plan.find.as_ref(), help, go_on };
    work(&builder).ok()
}

fn window(job: &Job, plan: &Plan, built: Option<&Built>, tally: Option<&Tally>) -> Window {
    Window {
        view: job.request.view,
        generation: job.request.generation,
        rows: built.map(|it| it.rows.iter().map(|keyed| keyed.row.clone()).collect()),
        anchor_row: built.and_then(|it| it.anchor_row),
        at_head: built.is_some_and(|it| it.at_head),
        at_tail: built.is_some_and(|it| it.at_tail),
        missing: built.and_then(|it| it.missing.clone()),
        counts: tally.filter(|_| job.request.count).map(Tally::counts).unwrap_or_default(),
        query_error: plan.error.clone(),
        chip_counts: tally.map(|it| it.chip_counts(&plan.chips)).unwrap_or_default(),
        histogram: tally.and_then(Tally::histogram),
        without: None,
    }
}

fn wants_counts(request: &WindowRequest) -> bool {
    request.count || request.chip_counts || request.histogram.is_some()
}

/// Counts on a thread of its own, and leaves the totals where following finds them.
fn count_aside(
    inner: &Arc<Inner>,
    view: &Arc<View>,
    job: &Job,
    plan: &Plan,
    snapshots: Vec<Snapshot>,
    shared: &SharedTotals,
) {
    if !wants_counts(&job.request) {
        return;
    }
    let (inner, view, job, plan, shared) = (inner.clone(), view.clone(), job.clone(), plan.clone(), shared.clone());
    // One such thread per view lives on: the newer ticket ends the older one at its next block.
    let spawned = std::thread::Builder::new().name("log-count".into()).spawn(move || {
        // On Linux this is the thread and those it starts, elsewhere it would be the screen as well.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(None, COUNTING_NICENESS);
        let sent = Mutex::new(clock::monotonic());
        let progress = |tally: &Mutex<Tally>| {
            if !view.is_current(job.ticket) {
                return false;
            }
            let mut sent = lock(&sent);
            if clock::monotonic().duration_since(*sent) < COUNTS_INTERVAL {
                return true;
            }
            *sent = clock::monotonic();
            let tally = lock(tally).clone();
            (job.answer)(window(&job, &plan, None, Some(&tally)))
        };
        let scan = plan.scan(&inner, &job.request, inner.threads);
        let Some(mut totals) = scan::count(scan, &snapshots, &progress).filter(|_| view.is_current(job.ticket)) else {
            return;
        };
        let tally = totals.advance(scan, &snapshots);
        // Before the totals are handed on: what is counted from them is newer and has to come after this.
        (job.answer)(window(&job, &plan, None, Some(&tally)));
        *lock(&shared) = Some(totals);
        // What arrived while counting is counted with the next window.
        view.grew();
    });
    if let Err(error) = spawned {
        tracing::warn!("could not start counting: {error}");
    }
}

/// Where each source may still change.
fn floors(inner: &Inner, snapshots: &[Snapshot]) -> Vec<Place> {
    snapshots.iter().map(|snapshot| unsettled(&inner.reader, snapshot)).collect()
}

fn follow(inner: &Arc<Inner>, view: &Arc<View>, mut following: Following) -> Option<Following> {
    let (job, plan) = (following.job.clone(), following.plan.clone());
    let requested = requested(inner, view, &job);
    let snapshots = plan.taken(&requested);
    let want = (job.request.before.min(MAX_WINDOW_RECORDS) + job.request.after.min(MAX_WINDOW_RECORDS)) as usize;
    let go_on = |_: &mut dyn FnMut() -> Built| view.is_current(job.ticket);
    let stop = || !view.is_current(job.ticket);
    let same_shape = same_shape(&following.snapshots, &snapshots);
    let is_same = |index: usize| same_shape && following.snapshots[index].size_bytes() == snapshots[index].size_bytes();
    let mut floors_then = std::mem::take(&mut following.floors);
    let floors_now: Vec<Place> = snapshots
        .iter()
        .enumerate()
        .map(|(index, it)| if is_same(index) { floors_then[index] } else { unsettled(&inner.reader, it) })
        .collect();
    // What has not grown has nothing new.
    for (index, floor) in floors_then.iter_mut().enumerate().filter(|(index, _)| is_same(*index)) {
        *floor = Place::end_of(&snapshots[index]);
    }
    let built = if same_shape && job.request.context == 0 {
        let fresh = build(inner, &plan, &snapshots, &go_on, &stop, |builder| builder.tail(want, Some(&floors_then)))?;
        let had = following.rows.len();
        extend(following.rows.clone(), fresh, &floors_then, want, had)
    } else {
        build(inner, &plan, &snapshots, &go_on, &stop, |builder| builder.build(&job.request, plan.search.as_ref()))?
    };
    following.floors = floors_now;
    let counted = count_growth(inner, view, &mut following, requested);
    let same_rows = built.rows.len() == following.rows.len()
        && built.rows.iter().zip(&following.rows).all(|(new, old)| new.row == old.row);
    if !same_rows || counted {
        let mut window = window(&job, &plan, (!same_rows).then_some(&built), Some(&following.tally));
        if !counted {
            window.histogram = None;
        }
        if !(job.answer)(window) {
            return None;
        }
    }
    following.rows = built.rows;
    following.snapshots = snapshots;
    following.pushed_at = clock::monotonic();
    Some(following)
}

/// Counts what has come, when it is time to; returns true when that is news.
fn count_growth(inner: &Arc<Inner>, view: &Arc<View>, following: &mut Following, snapshots: Vec<Snapshot>) -> bool {
    let (job, plan) = (&following.job, &following.plan);
    let mut shared = lock(&following.totals);
    // While everything is still being counted, that thread reports.
    let Some(totals) = shared.as_mut().filter(|_| wants_counts(&job.request)) else { return false };
    let now = clock::monotonic();
    following.owes_counts = now.duration_since(following.counted_at) < COUNTS_INTERVAL;
    if following.owes_counts {
        return false;
    }
    following.counted_at = now;
    let backlog = totals.backlog(&snapshots);
    if backlog > MAX_BACKLOG_BLOCKS + 2 * snapshots.len() as u64 || totals.is_outdated(&snapshots) {
        // Much has come at once, such as another file: not while the next window waits.
        *shared = None;
        drop(shared);
        count_aside(inner, view, job, plan, snapshots, &following.totals);
        return false;
    }
    let tally = totals.advance(plan.scan(inner, &job.request, 1), &snapshots);
    drop(shared);
    let is_news = tally != following.tally;
    following.tally = tally;
    is_news
}

fn same_shape(then: &[Snapshot], now: &[Snapshot]) -> bool {
    then.len() == now.len()
        && then.iter().zip(now).all(|(then, now)| then.source.id == now.source.id && then.epoch == now.epoch)
}

/// Joins the rows shown with those that came since the floors.
fn extend(shown: Vec<Keyed>, fresh: Built, floors: &[Place], want: usize, had: usize) -> Built {
    // The record at the floor was still growing, a gap at the end may be gone: both are in `fresh` again.
    let stays = |it: &Keyed| {
        !it.is_tail && it.place < floors[it.source] && !fresh.rows.iter().any(|other| is_same_fault(it, other))
    };
    let shown: Vec<Keyed> = shown.into_iter().filter(stays).collect();
    let mut old = shown.into_iter().peekable();
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
