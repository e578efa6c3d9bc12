//! Meets every matching record once, oldest first: what `hotseat logs` prints.
//!
//! Unlike a view it owns no thread: the caller decides when to go on, and waits for growth in between.

pub mod charted;
mod growing;
mod kept;
mod met;
mod newest;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::ids::SourceId;
use crate::domain::log::{Counts, GapKind, HistogramRequest, Look};
use crate::domain::query::matcher::Matcher;
use crate::domain::sanitise::Tabs;
use crate::logstore::block::{BLOCK_BYTES, PAGE_BYTES};
use crate::logstore::engine::Engine;
use crate::logstore::merge::{Help, Merge};
use crate::logstore::place::last_record;
use crate::logstore::present::Presenter;
use crate::logstore::scan::goal::Goal;
use crate::logstore::scan::{self, Depth, Scan};
use crate::logstore::source::{GapMark, Part, Snapshot};
use crate::logstore::stream::charted::Charted;
use crate::logstore::stream::growing::{is_same_record, length_on_disk, placed, whole_lines};
use crate::logstore::stream::kept::Kept;
use crate::logstore::walk::ahead::{Ahead, Closing};
use crate::logstore::walk::stretches::Run;
use crate::logstore::walk::{Direction, Ground, Item, Place, Placed, Step, Walk};

/// A store may take so long to show a record that is older than the newest one.
const LATE_NANOS: i64 = 10_000_000_000;
/// Records of a store that are remembered before the old ones among them are forgotten.
const MAX_RECENT: usize = 10_000;

/// One thing met, with what it takes to show it.
pub struct Met<'a> {
    /// What and where.
    pub placed: Placed,
    /// It is here as context of a match.
    pub context: bool,
    /// Bytes of the record that were handed over before; more of it has come since.
    pub from_byte: usize,
    /// Its last line has no end yet: it is handed over again when it has one.
    pub unfinished: bool,
    /// Makes rows.
    pub presenter: Presenter<'a>,
}

/// How far a store was met.
#[derive(Default)]
struct MetStore {
    /// Nothing older is met.
    start: Option<Place>,
    /// Its newest record.
    newest: Option<Place>,
    /// Records near the newest, because others may still come in among them.
    recent: HashSet<Place>,
}

impl MetStore {
    /// Where to go on.
    fn from(&self) -> Place {
        let overlap = self.newest.map(|it| Place::of_instant(it.instant().saturating_sub(LATE_NANOS)));
        overlap.max(self.start).unwrap_or(Place::START)
    }

    /// Notes a record; false when it was met before.
    fn meet(&mut self, place: Place) -> bool {
        let is_news = self.recent.insert(place);
        if self.newest.is_none_or(|it| it < place) {
            self.newest = Some(place);
            let oldest = self.from();
            if self.recent.len() >= MAX_RECENT {
                self.recent.retain(|it| *it >= oldest);
            }
        }
        is_news
    }
}

/// What stands at the end of sources and is left for a later pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The last record of each source that has grown within this time, because it may still grow, and what
    /// [`Hold::Line`] leaves.
    Record(Duration),
    /// A last line without an end: what it is shows when it is whole.
    Line,
    /// Nothing: no more will come.
    Nothing,
}

/// Takes everything that is met; an error ends the pass.
pub trait Take {
    /// Takes one thing.
    ///
    /// # Errors
    /// Its own.
    fn met(&mut self, met: &Met<'_>) -> io::Result<()>;

    /// True when matches that need nothing done to them may come as runs.
    fn takes_runs(&self) -> bool {
        false
    }

    /// Takes matches of the only source there is.
    ///
    /// # Errors
    /// Its own.
    fn run(&mut self, _run: &Run) -> io::Result<()> {
        Ok(())
    }
}

impl<F: FnMut(&Met<'_>) -> io::Result<()>> Take for F {
    fn met(&mut self, met: &Met<'_>) -> io::Result<()> {
        self(met)
    }
}

/// One way through all sources of an engine.
pub struct Stream<'e> {
    engine: &'e Engine,
    matcher: Matcher,
    /// What is known of the matches: blocks are searched ahead on all cores.
    matches: Goal,
    context: usize,
    look: Look,
    tabs: Tabs,
    columns: Vec<String>,
    /// Per source: the segment and the offset up to which everything was met.
    met: HashMap<SourceId, (u64, u64)>,
    /// Per source: the number of that segment, and how far the older ones were met, by their uid.
    older: HashMap<SourceId, (u64, HashMap<u64, u64>)>,
    /// Per store: how far it was met.
    met_stores: HashMap<SourceId, MetStore>,
    /// Per source: the last record met and how much of it was handed over; nothing of one that did not pass so far.
    open: HashMap<SourceId, (Place, usize)>,
    /// Per source: where the unfinished line begins that was handed over before its time.
    unfinished: HashMap<SourceId, Place>,
    /// Per source: what was read and not handed over yet.
    kept: HashMap<SourceId, Kept>,
    /// Per source: how long it was when it was last looked at, and since when.
    sizes: HashMap<SourceId, (u64, Instant)>,
    /// The last records that did not match, for the context of the next match.
    before: VecDeque<Placed>,
    /// Records still wanted as context after the last match.
    after: usize,
    /// See [`Stream::let_go`].
    lets_go: bool,
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.engine.end_taking();
    }
}

impl<'e> Stream<'e> {
    /// Starts at the oldest record; `context` records stand around each match.
    pub fn new(engine: &'e Engine, matcher: Matcher, context: usize) -> Self {
        let everything = engine.inner().everything(false);
        let matches = Goal { matcher: Arc::new(matcher.clone()), counts: Arc::default(), ..everything };
        Self {
            engine,
            matcher,
            matches,
            context,
            // Programs that read on want the objects.
            look: Look::Original,
            tabs: Tabs::Blanks,
            columns: Vec::new(),
            met: HashMap::new(),
            older: HashMap::new(),
            met_stores: HashMap::new(),
            open: HashMap::new(),
            unfinished: HashMap::new(),
            kept: HashMap::new(),
            sizes: HashMap::new(),
            before: VecDeque::new(),
            after: 0,
            lets_go: false,
        }
    }

    /// From now on lets go of what was met of archives: there is no room for all of them at a time.
    pub fn let_go(&mut self) {
        self.lets_go = true;
    }

    /// Presents records so, with the values of these fields.
    #[must_use]
    pub fn with_look(mut self, look: Look, columns: Vec<String>) -> Self {
        self.look = look;
        self.columns = columns;
        self
    }

    /// Presents tabs so; without a word they are blanks.
    #[must_use]
    pub fn with_tabs(mut self, tabs: Tabs) -> Self {
        self.tabs = tabs;
        self
    }

    fn presenter<'p>(&self, snapshots: &'p [Snapshot], matcher: &'p Matcher, columns: &'p [String]) -> Presenter<'p> {
        Presenter { snapshots, matcher, search: None, look: self.look, tabs: self.tabs, columns }
    }

    /// Counts what is met from now on, for this histogram.
    pub fn charted(&self, request: HistogramRequest) -> Charted {
        Charted::new(request, self.engine.inner().phase)
    }

    /// Counts all matches.
    pub fn count(&self, depth: Depth) -> Counts {
        let inner = self.engine.inner();
        let snapshots = inner.snapshots(&[], &self.matcher);
        let matches = self.matches.clone();
        let goals = if depth == Depth::Records { vec![inner.everything(false), matches] } else { vec![matches] };
        let scan = Scan {
            reader: &inner.reader,
            goals: &goals,
            histogram: None,
            phase: inner.phase,
            threads: inner.threads,
            gate: None,
        };
        let counted = scan::count(scan, &snapshots, &|_| true);
        counted.map_or_else(Counts::default, |mut totals| totals.advance(scan, &snapshots).counts())
    }

    /// True when every stream has said that it ended. Files and stores have all they will have at any time.
    pub fn is_ended(&self) -> bool {
        let snapshots = self.engine.inner().snapshots(&[], &self.matcher);
        let is_end = |it: &GapKind| matches!(it, GapKind::Ended | GapKind::Failed(_) | GapKind::Broken { .. });
        let mut streams = snapshots.iter().filter(|it| it.source.is_stream());
        streams.all(|it| it.tail.as_ref().is_some_and(|mark| is_end(&mark.kind)))
    }

    /// What stands at the end of sources, with their names: that one ended, is missing or cannot be read.
    pub fn ends(&self) -> Vec<(String, GapKind)> {
        let snapshots = self.engine.inner().snapshots(&[], &self.matcher);
        snapshots.into_iter().filter_map(|it| Some((it.source.name.clone(), it.tail?.kind))).collect()
    }

    /// Meets what has come since the last call and is not held back.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn advance(&mut self, hold: Hold, take: &mut dyn Take) -> io::Result<()> {
        let sources = self.engine.sources();
        let came: Vec<u64> = sources.iter().map(|it| it.bytes_came()).collect();
        sources.iter().for_each(|it| it.begin_taking());
        if !self.pass(hold, take)? {
            return Ok(());
        }
        for (source, came) in sources.iter().zip(came) {
            source.take_up_to(came);
            if self.lets_go {
                source.let_go_of_taken();
            }
        }
        Ok(())
    }

    /// Hands over the last line of each source whose end has not come for a while, once: a prompt is waited for. It
    /// counts as not met, and is handed over again when it is whole.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn show_unfinished(&mut self, take: &mut dyn Take) -> io::Result<()> {
        let inner = self.engine.inner();
        let snapshots = inner.snapshots(&[], &self.matcher);
        for (index, snapshot) in snapshots.iter().enumerate() {
            let Some(part) = snapshot.parts.last().filter(|_| snapshot.store.is_none()) else { continue };
            let line = Place { part: snapshot.parts.len() - 1, offset: whole_lines(snapshot) };
            let id = snapshot.source.id.clone();
            if line.offset == part.size_bytes || self.unfinished.get(&id) == Some(&line) {
                continue;
            }
            let Some(found) = self.found_at(snapshot, last_record(&inner.reader, snapshot)) else { continue };
            if !found.passes(&self.matcher, snapshot) {
                continue;
            }
            // A record that passes only with this line was not handed over at all.
            let from_byte = self.open.get(&id).filter(|it| it.0 == found.place).map_or(0, |it| it.1);
            self.unfinished.insert(id, line);
            let placed = placed(index, snapshot, found);
            let presenter = self.presenter(&snapshots, &self.matcher, &self.columns);
            take.met(&Met { placed, context: false, from_byte, unfinished: true, presenter })?;
        }
        Ok(())
    }

    /// Returns false when nothing was done: a file was emptied, and the look that is about to find that finds where
    /// its bytes are now.
    fn pass(&mut self, hold: Hold, take: &mut dyn Take) -> io::Result<bool> {
        let engine = self.engine;
        let inner = engine.inner();
        let mut snapshots = inner.snapshots(&[], &self.matcher);
        let is_whole = |it: &Snapshot| it.parts.last().is_none_or(|part| part.segment.is_intact());
        if hold != Hold::Nothing && !snapshots.iter().all(is_whole) {
            return Ok(false);
        }
        self.rescue(&snapshots, take)?;
        let whole = if hold == Hold::Nothing { Vec::new() } else { snapshots.clone() };
        if hold != Hold::Nothing {
            for snapshot in &mut snapshots {
                let whole = whole_lines(snapshot);
                if let Some(part) = snapshot.parts.last_mut() {
                    part.size_bytes = whole;
                }
            }
        }
        let snapshots = snapshots;
        let holds: Vec<bool> = snapshots.iter().map(|it| self.holds(hold, it)).collect();
        let everything = Matcher::default();
        let matcher = self.matcher.clone();
        let matches = self.matches.clone();
        let (walked, ruled_out) = if self.context > 0 { (&everything, None) } else { (&matcher, Some(&matches)) };
        let unit = if self.is_long_way(&snapshots) { BLOCK_BYTES } else { PAGE_BYTES };
        let (look, tabs, columns) = (self.look, self.tabs, self.columns.clone());
        let presenter =
            || Presenter { snapshots: &snapshots, matcher: &matcher, search: None, look, tabs, columns: &columns };
        for (index, snapshot) in snapshots.iter().enumerate() {
            let Some((placed, from_byte)) = self.grown(index, snapshot) else { continue };
            if from_byte == 0 {
                // It begins to pass only now: what was kept as context ends with it.
                self.before.retain(|it| !is_same_record(it, &placed));
                for placed in self.begin_match(snapshots.len()) {
                    let presenter = presenter();
                    take.met(&Met { placed, context: true, from_byte: 0, unfinished: false, presenter })?;
                }
            }
            take.met(&Met { placed, context: false, from_byte, unfinished: false, presenter: presenter() })?;
        }
        for (index, snapshot) in snapshots.iter().enumerate() {
            let ground = Ground { reader: &inner.reader, matcher: &matcher, known: None, unit: PAGE_BYTES };
            for (placed, from_byte) in self.late(ground, index, snapshot) {
                take.met(&Met { placed, context: false, from_byte, unfinished: false, presenter: presenter() })?;
            }
        }
        let mut limits = Vec::new();
        let mut walks = Vec::new();
        let mut starts = vec![Place::START; snapshots.len()];
        for (index, snapshot) in snapshots.iter().enumerate() {
            let end = Place::end_of(snapshot);
            let limit = if holds[index] { last_record(&inner.reader, snapshot) } else { end };
            let known = self.met.get(&snapshot.source.id).copied();
            let part = known.and_then(|(uid, _)| snapshot.parts.iter().position(|it| it.segment.uid == uid));
            let ground = Ground { reader: &inner.reader, matcher: walked, known: ruled_out, unit };
            if snapshot.store.is_some() {
                let from = self.met_stores.entry(snapshot.source.id.clone()).or_default().from();
                walks.push(Walk::new(ground, snapshot, index, from, Direction::Forward).without_tail());
                limits.push((Place::STORE_END, false));
                continue;
            }
            let walk = match (part, known) {
                (Some(part), Some((_, offset))) => {
                    starts[index] = Place { part, offset };
                    Walk::new(ground, snapshot, index, Place { part, offset }, Direction::Forward)
                }
                _ => {
                    // The segment is gone, what was behind it is not: to begin at the start would say it twice.
                    let gone =
                        self.older.get(&snapshot.source.id).filter(|_| known.is_some()).map(|(number, _)| *number);
                    let is_newer = |it: &Part| gone.is_none_or(|gone| it.segment.number > gone);
                    match snapshot.parts.iter().position(is_newer) {
                        Some(part) => {
                            let start = Place { part, offset: 0 };
                            starts[index] = start;
                            Walk::new(ground, snapshot, index, start, Direction::Forward).from_the_edge()
                        }
                        None => Walk::new(ground, snapshot, index, end, Direction::Forward),
                    }
                }
            };
            walks.push(walk.without_tail());
            limits.push((limit, holds[index]));
            // The last record may have been met already, when it was quiet for a while.
            let was_met = part.zip(known).is_some_and(|(part, (_, offset))| Place { part, offset } > limit);
            if let (Some(part), false) = (snapshot.parts.get(limit.part), was_met) {
                self.met.insert(snapshot.source.id.clone(), (part.segment.uid, limit.offset));
            }
            if !snapshot.parts.is_empty() {
                self.keep_older(snapshot, limit.part.min(snapshot.parts.len() - 1));
            }
        }
        let id = match snapshots.as_slice() {
            [only] if only.store.is_none() => Some(only.source.id.clone()),
            _ => None,
        };
        let in_runs = take.takes_runs() && self.context == 0 && look == Look::Original;
        let run_of = id.filter(|_| in_runs);
        if run_of.is_some() {
            walks = walks.into_iter().map(Walk::in_runs).collect();
        }
        let ahead = match walks.as_slice() {
            [only] if unit == BLOCK_BYTES && inner.threads > 1 => Some(Ahead::of(only)).filter(Ahead::is_long),
            _ => None,
        };
        let emptied = std::thread::scope(|scope| {
            let help = Help { threads: inner.threads, stop: &never };
            let mut merge = Merge::new(walks, Direction::Forward).with_help(help);
            let _closing = ahead.as_ref().map(Closing);
            if let Some(ahead) = &ahead {
                (1..inner.threads).for_each(|_| drop(scope.spawn(|| ahead.work())));
                merge = merge.with_reading(ahead);
            }
            self.meet(merge, &snapshots, (&limits, run_of.as_ref(), hold), &matcher, take)
        })?;
        for (index, place) in &emptied {
            self.go_back(&snapshots[*index], starts[*index].max(*place));
        }
        let is_emptied = |index: usize| emptied.iter().any(|it| it.0 == index);
        if hold != Hold::Nothing {
            // A record that does not pass may do so with the lines that come.
            let is_met = |(index, it): &(usize, &Snapshot)| {
                !holds[*index] && !is_emptied(*index) && it.store.is_none() && it.size_bytes() > 0
            };
            for (_, snapshot) in snapshots.iter().enumerate().filter(is_met) {
                let last = last_record(&inner.reader, snapshot);
                let id = &snapshot.source.id;
                if self.open.get(id).is_none_or(|it| it.0 != last)
                    && let Some(found) = self.found_at(snapshot, last)
                {
                    let met_bytes = if found.passes(&matcher, snapshot) { length_on_disk(&found) } else { 0 };
                    self.open.insert(id.clone(), (last, met_bytes));
                }
            }
        }
        for (index, whole) in whole.iter().enumerate().filter(|it| !is_emptied(it.0)) {
            self.keep(whole, &snapshots[index], holds[index]);
        }
        Ok(true)
    }

    /// Meets what several walks bring, up to a limit for each source that holds something back. What is of the source
    /// `run_of` may come in runs. Returns the sources whose file was emptied meanwhile, and how far they were met.
    fn meet(
        &mut self,
        mut merge: Merge<'_>,
        snapshots: &[Snapshot],
        (limits, run_of, hold): (&[(Place, bool)], Option<&SourceId>, Hold),
        matcher: &Matcher,
        take: &mut dyn Take,
    ) -> io::Result<Vec<(usize, Place)>> {
        let mut emptied = Vec::new();
        let (look, tabs, columns) = (self.look, self.tabs, self.columns.clone());
        let presenter = || Presenter { snapshots, matcher, search: None, look, tabs, columns: &columns };
        loop {
            if let Some(id) = run_of
                && let Some(run) = merge.take_run(if limits[0].1 { limits[0].0 } else { Place::STORE_END })
            {
                self.open.insert(id.clone(), (run.last, run.last_bytes));
                take.run(&run)?;
                continue;
            }
            let placed = match merge.step() {
                Step::Item(placed) => placed,
                Step::Pending => continue,
                Step::End => return Ok(emptied),
            };
            let (limit, holds) = limits[placed.source];
            match &placed.item {
                Item::Record(found) if holds && found.place >= limit => continue,
                Item::Record(found) => {
                    let found = found.clone();
                    let snapshot = &snapshots[placed.source];
                    if snapshot.store.is_some()
                        && !self.met_stores.entry(snapshot.source.id.clone()).or_default().meet(found.place)
                    {
                        continue;
                    }
                    let passes = self.context == 0 || found.passes(matcher, snapshot);
                    if passes || self.after > 0 {
                        let length = length_on_disk(&found);
                        match self.open.get_mut(&snapshot.source.id) {
                            Some(open) => *open = (found.place, length),
                            None => drop(self.open.insert(snapshot.source.id.clone(), (found.place, length))),
                        }
                    }
                    if passes {
                        for placed in self.begin_match(snapshots.len()) {
                            let presenter = presenter();
                            take.met(&Met { placed, context: true, from_byte: 0, unfinished: false, presenter })?;
                        }
                    } else if self.after > 0 {
                        self.after -= 1;
                    } else {
                        self.before.push_back(placed);
                        // One more: the last of them may turn out to match.
                        if self.before.len() > self.context + 1 {
                            self.before.pop_front();
                        }
                        continue;
                    }
                    take.met(&Met {
                        placed,
                        context: !passes,
                        from_byte: 0,
                        unfinished: false,
                        presenter: presenter(),
                    })?;
                }
                // The next look finds a copy of it, or says what is missing.
                Item::Gap { mark: GapMark { kind: GapKind::Failed(_), .. }, place, .. }
                    if hold != Hold::Nothing
                        && snapshots[placed.source].parts.get(place.part).is_some_and(|it| !it.segment.is_intact()) =>
                {
                    emptied.push((placed.source, *place));
                }
                Item::Gap { .. } => {
                    take.met(&Met { placed, context: false, from_byte: 0, unfinished: false, presenter: presenter() })?
                }
            }
        }
    }

    /// The context before a match that is met now, of the first `sources`; what follows it is context too.
    fn begin_match(&mut self, sources: usize) -> Vec<Placed> {
        self.after = self.context;
        let surplus = self.before.len().saturating_sub(self.context);
        self.before.drain(..).skip(surplus).filter(|it| it.source < sources).collect()
    }

    /// True when there is much that was not met yet.
    fn is_long_way(&self, snapshots: &[Snapshot]) -> bool {
        let left = |it: &Snapshot| match self.met.get(&it.source.id) {
            Some((uid, offset)) => {
                let newer = it.parts.iter().skip_while(|part| part.segment.uid != *uid);
                newer.map(|part| part.size_bytes).sum::<u64>().saturating_sub(*offset)
            }
            None => it.size_bytes(),
        };
        snapshots.iter().any(|it| left(it) > BLOCK_BYTES)
    }
}

/// Nobody but the caller ends a pass.
fn never() -> bool {
    false
}
