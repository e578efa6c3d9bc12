//! One window of several hosts: who was asked what, who has answered, and what is shown meanwhile.
//!
//! A slow host holds nobody up: after [`PATIENCE`] what the others have is shown, and a row says who is missing. A
//! jump is made in two steps: every host looks for its nearest hit, then all show the rows around the nearest of them.
//!
//! Of many hosts each is asked for its share of the rows and somewhat more. Where one of them has most of what is to be
//! shown, it is asked once more, for all of it; that is known when all have answered, or when those that still search
//! take much longer than the others did.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::agent::hub::Node;
use crate::domain::host::Way;
use crate::domain::ids::SourceId;
use crate::domain::log::merge::{self, Part};
use crate::domain::log::{
    Anchor, ChipCount, Counts, Cursor, Gap, GapKind, Histogram, Position, Row, ViewId, Window, WindowRequest,
};
use crate::domain::query::{ChipKind, Query};
use crate::domain::sanitise;

/// How long the others are waited for before what is there is shown: longer than a fast host takes, and not yet a wait
/// for a person.
const PATIENCE: Duration = Duration::from_millis(120);
/// How long a jump waits for hosts that have not found anything yet; the next one finds what they would have had.
const JUMP_PATIENCE: Duration = Duration::from_secs(3);
/// Hosts of which nothing is there that have a row each to say so; more share one.
const NOTES_MAX: usize = 2;
/// Of those that share a row so many are named.
const NOTED_MAX: usize = 3;
/// How long after the newest answer those that still search are waited for, at least, before others are asked for more
/// than their share in their place; who took longer than this is waited for as long again.
const WIDEN_PATIENCE: Duration = Duration::from_millis(500);
/// How many times its even share a host is asked for: hosts behind one balancer differ by less.
const SHARE_TIMES: u32 = 2;
/// Rows that a host is asked for beyond that, on each side of the anchor: shares of a few rows differ most.
const SHARE_SPARE: u32 = 8;
/// Views of one screen; it has a handful.
const VIEWS_MAX: usize = 16;

/// The views of a screen.
pub struct Windows {
    views: BTreeMap<ViewId, View>,
    /// Numbers what hosts are asked: an answer to anything older is not taken.
    ticket: u64,
}

struct View {
    /// As the screen asks.
    request: WindowRequest,
    ticket: u64,
    /// Where all hosts look; while a jump is made, from where.
    anchor: Anchor,
    /// Every host still looks for its own nearest hit.
    is_jump: bool,
    /// What a jump did not find, in words.
    missing: Option<String>,
    asked: Instant,
    asked_at: Timestamp,
    /// Nobody is waited for any more.
    is_late: bool,
    /// How many hosts have answered, and when the newest of them did.
    settled: (usize, Instant),
    /// The shares of some do not fill the page: when they are asked for more, whoever still searches.
    widens: Option<Instant>,
    /// By host; `None` for those that are not asked.
    answers: Vec<Option<Answer>>,
    rows_are_news: bool,
    /// They are put in order and can be shown.
    ready: Option<merge::Merged>,
    counts_are_news: bool,
    /// The query cannot be run, and that was said.
    is_refused: bool,
}

/// What a host has answered.
#[derive(Debug, Clone, Default)]
struct Answer {
    /// What it was asked last.
    ticket: u64,
    /// It is asked for all rows, not for its share.
    is_wide: bool,
    /// It was asked for more than it has given so far.
    is_owed: bool,
    /// Rows have come.
    is_there: bool,
    /// Since when it is lost.
    lost: Option<Timestamp>,
    rows: Vec<Row>,
    anchor_row: Option<usize>,
    at_head: bool,
    at_tail: bool,
    missing: Option<String>,
    counts: Counts,
    chip_counts: Vec<ChipCount>,
    histogram: Option<Histogram>,
    error: Option<String>,
}

impl Answer {
    /// True when it knows where it stands: not an answer in parts.
    fn is_settled(&self) -> bool {
        self.is_there
            && !self.is_owed
            && (self.anchor_row.is_some() || self.missing.is_some() || self.at_head || self.at_tail)
    }
}

impl Answer {
    /// True when it gave its share only and is lost since: what others have beside is shown without the rest of it.
    fn is_cut_short(&self) -> bool {
        self.lost.is_some() && !self.at_head && (self.is_owed || !self.is_wide)
    }
}

impl Windows {
    /// Nothing was asked so far.
    pub fn new() -> Self {
        Self { views: BTreeMap::new(), ticket: 0 }
    }

    /// Begins a request and says what is asked of whom.
    pub fn begin(
        &mut self,
        now: Instant,
        at: Timestamp,
        request: WindowRequest,
        nodes: &[Node],
    ) -> Vec<(usize, WindowRequest)> {
        let view = request.view;
        self.ticket += 1;
        let mut anchor = request.anchor.clone();
        if let Anchor::At(position) | Anchor::Find { from: Some(position), .. } = &mut anchor {
            // Other hosts find a place by its time alone.
            position.time = position.time.or_else(|| self.clock_of(position));
        }
        // A record is wanted, nothing around it: nobody but its host is asked.
        let only = match &anchor {
            Anchor::At(position) if request.before == 0 && request.after <= 1 => Some(position.source.host()),
            _ => None,
        };
        let is_meant = |host: &str| {
            only.is_none_or(|it| it == host)
                && (request.sources.is_empty() || request.sources.iter().any(|it| it.host() == host))
        };
        // Who had most of what was looked for has it on the next page as well.
        let is_same = |it: &&View| {
            let old = &it.request;
            (&old.query, &old.sources, &old.muted) == (&request.query, &request.sources, &request.muted)
        };
        let before = self.views.get(&view).filter(is_same);
        let was_wide = |index: usize| before.is_some_and(|it| it.answers[index].as_ref().is_some_and(|it| it.is_wide));
        let answer = |(index, node): (usize, &Node)| {
            let lost = (!node.is_there()).then_some(at);
            let (ticket, is_wide) = (self.ticket, was_wide(index));
            let is_asked = node.requests_tx.is_some() && is_meant(node.name().as_str());
            is_asked.then(|| Answer { ticket, is_wide, lost, ..Answer::default() })
        };
        let it = View {
            ticket: self.ticket,
            is_jump: matches!(anchor, Anchor::Find { .. }),
            anchor: anchor.clone(),
            missing: None,
            asked: now,
            asked_at: at,
            is_late: false,
            settled: (0, now),
            widens: None,
            answers: nodes.iter().enumerate().map(answer).collect(),
            rows_are_news: true,
            ready: None,
            counts_are_news: false,
            is_refused: false,
            request,
        };
        let asked = it.requests(nodes);
        if self.views.len() >= VIEWS_MAX && !self.views.contains_key(&view) {
            self.views.pop_first();
        }
        self.views.insert(view, it);
        asked
    }

    /// What to ask of a host that has just come, or come back.
    pub fn ask_again(&mut self, index: usize, nodes: &[Node]) -> Vec<WindowRequest> {
        let mut asked = Vec::new();
        for view in self.views.values_mut() {
            let host = nodes[index].name().as_str();
            let sources = &view.request.sources;
            if sources.is_empty() || sources.iter().any(|it| it.host() == host) {
                // What it said before stays until it has answered.
                let answer = view.answers[index].get_or_insert_default();
                (answer.lost, answer.ticket) = (None, view.ticket);
                asked.push(view.request_for(index, nodes));
            }
        }
        asked
    }

    /// Takes note that a host is there or lost.
    pub fn mark(&mut self, index: usize, is_there: bool, now: Timestamp) {
        for view in self.views.values_mut() {
            if let Some(answer) = &mut view.answers[index] {
                let was = answer.lost.is_some();
                answer.lost = (!is_there).then(|| answer.lost.unwrap_or(now));
                view.rows_are_news |= was != answer.lost.is_some();
            }
        }
    }

    /// Takes a host's answer in.
    pub fn take(&mut self, index: usize, window: Window) {
        let Some(view) = self.views.get_mut(&window.view) else { return };
        let Some(answer) = view.answers[index].as_mut().filter(|it| it.ticket == window.generation) else { return };
        if window.rows.is_none() || window.counts != Counts::default() {
            answer.counts = window.counts;
            view.counts_are_news = true;
        }
        if !window.chip_counts.is_empty() {
            answer.chip_counts = window.chip_counts;
            view.counts_are_news = true;
        }
        if window.histogram.is_some() {
            answer.histogram = window.histogram;
            view.counts_are_news = true;
        }
        answer.error = window.query_error;
        if let Some(rows) = window.rows {
            (answer.is_there, answer.is_owed) = (true, false);
            answer.rows = rows;
            answer.anchor_row = window.anchor_row.filter(|it| *it < answer.rows.len());
            (answer.at_head, answer.at_tail) = (window.at_head, window.at_tail);
            answer.missing = window.missing;
            view.rows_are_news = true;
        }
    }

    /// When somebody has been waited for long enough.
    pub fn deadline(&self) -> Option<Instant> {
        let of = |it: &View| if it.is_late { it.widens.filter(|_| !it.is_refused) } else { Some(it.patience_ends()) };
        self.views.values().filter_map(of).min()
    }

    /// Goes on where time or answers allow it, and says what is asked of whom for that.
    pub fn go_on(&mut self, now: Instant, nodes: &[Node]) -> Vec<(usize, WindowRequest)> {
        let mut asked = Vec::new();
        for view in self.views.values_mut() {
            let is_done = view.awaited() == 0;
            view.is_late |= is_done || now >= view.patience_ends();
            view.note_settled(now);
            let widens = view.widens.is_some_and(|it| now >= it);
            if view.is_jump && view.is_late {
                self.ticket += 1;
                view.land(self.ticket, now);
                asked.extend(view.requests(nodes));
            } else if view.is_late && (view.rows_are_news || widens) && !view.is_refused {
                let (merged, narrow) = view.merged(nodes);
                // Those who still search may have what the others seem to lack.
                let at = if is_done { now } else { view.widens_at() };
                view.widens = (!narrow.is_empty() && now < at).then_some(at);
                if narrow.is_empty() || view.widens.is_some() {
                    view.ready = Some(merged).filter(|_| view.rows_are_news);
                    continue;
                }
                self.ticket += 1;
                for index in narrow {
                    let Some(answer) = &mut view.answers[index] else { continue };
                    (answer.ticket, answer.is_wide, answer.is_owed) = (self.ticket, true, true);
                    asked.push((index, view.request_for(index, nodes)));
                }
                (view.is_late, view.asked) = (false, now);
            }
        }
        asked
    }

    /// What is news for the screen.
    pub fn news(&mut self, nodes: &[Node]) -> Vec<Window> {
        self.views.values_mut().filter_map(|it| it.window(nodes)).collect()
    }

    /// The time by which a row without a time of its own was put in order.
    pub fn clock_of(&self, position: &Position) -> Option<Timestamp> {
        let answers = self.views.values().flat_map(|it| it.answers.iter().flatten());
        answers.filter_map(|it| merge::clock_of(&it.rows, position)).next()
    }
}

impl View {
    fn patience_ends(&self) -> Instant {
        self.asked + if self.is_jump { JUMP_PATIENCE } else { PATIENCE }
    }

    /// Takes note of when the newest answer came.
    fn note_settled(&mut self, now: Instant) {
        let count = self.answers.iter().flatten().filter(|it| it.is_settled()).count();
        if count != self.settled.0 {
            self.settled = (count, now);
        }
    }

    /// Until when those that still search are waited for before others are asked in their place.
    fn widens_at(&self) -> Instant {
        let newest = self.settled.1;
        newest + WIDEN_PATIENCE.max(newest.saturating_duration_since(self.asked))
    }

    /// How many hosts that could answer have not, or only in part.
    fn awaited(&self) -> usize {
        self.answers.iter().flatten().filter(|it| it.lost.is_none() && !it.is_settled()).count()
    }

    /// What is asked of every host that is there.
    fn requests(&self, nodes: &[Node]) -> Vec<(usize, WindowRequest)> {
        let is_asked = |index: &usize| self.answers[*index].as_ref().is_some_and(|it| it.lost.is_none());
        (0..self.answers.len()).filter(is_asked).map(|index| (index, self.request_for(index, nodes))).collect()
    }

    /// How many of the wanted rows a host is asked for first.
    fn share(&self, wanted: u32) -> u32 {
        let hosts = self.answers.iter().flatten().filter(|it| it.lost.is_none()).count();
        let hosts = u32::try_from(hosts).unwrap_or(u32::MAX).max(1);
        wanted.min((wanted * SHARE_TIMES).div_ceil(hosts) + SHARE_SPARE)
    }

    /// The part of the request that a host can answer.
    fn request_for(&self, index: usize, nodes: &[Node]) -> WindowRequest {
        let host = nodes[index].name().as_str();
        let mut request = self.request.clone();
        let answer = self.answers[index].as_ref();
        request.generation = answer.map_or(self.ticket, |it| it.ticket);
        if self.is_jump {
            // Only where it stands is compared.
            (request.before, request.after, request.context) = (0, 1, 0);
        } else if answer.is_none_or(|it| !it.is_wide) {
            (request.before, request.after) = (self.share(request.before), self.share(request.after));
        }
        request.query = query_for(host, &request.query);
        request.sources.retain(|it| it.host() == host);
        request.muted.retain(|it| it.host() == host);
        request.anchor = self.anchor.clone();
        if let Anchor::At(position) | Anchor::Find { from: Some(position), .. } = &mut request.anchor {
            let of = nodes.iter().position(|it| it.name().as_str() == position.source.host());
            // Of one time, hosts go in their order: what an earlier one has at this very time is older.
            if of.is_some_and(|of| index < of) {
                let next = |it: Timestamp| it.checked_add(SignedDuration::from_nanos(1)).unwrap_or(it);
                position.time = position.time.map(next);
            }
        }
        request
    }

    /// Ends a jump: all show what stands around the nearest hit, or where it began when there is none.
    fn land(&mut self, ticket: u64, now: Instant) {
        let Anchor::Find { from, backwards, .. } = &self.anchor else { return };
        let hit = |(index, answer): (usize, &Option<Answer>)| {
            let answer = answer.as_ref().filter(|it| it.missing.is_none())?;
            let Row::Record(record) = answer.rows.get(answer.anchor_row?)? else { return None };
            let mut position = record.position.clone();
            position.time = position.time.or_else(|| merge::clock_of(&answer.rows, &position));
            Some(((position.time, index), position))
        };
        let hits = self.answers.iter().enumerate().filter_map(hit);
        let nearest = if *backwards { hits.max_by_key(|it| it.0) } else { hits.min_by_key(|it| it.0) };
        self.missing = match nearest {
            Some(_) => None,
            None => self.answers.iter().flatten().find_map(|it| it.missing.clone()),
        };
        self.anchor = match (nearest, from) {
            (Some((_, position)), _) => Anchor::At(position),
            (None, Some(from)) => Anchor::At(from.clone()),
            (None, None) => Anchor::Tail,
        };
        (self.is_jump, self.is_late, self.ticket, self.asked) = (false, false, ticket, now);
        (self.settled, self.widens) = ((0, now), None);
        for answer in self.answers.iter_mut().flatten() {
            *answer = Answer { ticket, is_wide: answer.is_wide, lost: answer.lost, ..Answer::default() };
        }
        self.rows_are_news = true;
    }

    /// The window of all hosts, when there is news to show.
    fn window(&mut self, nodes: &[Node]) -> Option<Window> {
        if self.is_jump || self.is_refused || !(self.rows_are_news || self.counts_are_news) {
            return None;
        }
        let answers = || self.answers.iter().flatten();
        let error = answers().find_map(|it| it.error.clone());
        // Before that the first rows would be those of whoever is fastest.
        let shows_rows = self.rows_are_news && self.is_late;
        if !shows_rows && !self.counts_are_news && error.is_none() {
            return None;
        }
        self.is_refused = error.is_some();
        // What a lost host counted is not known to be so any more, and nothing more comes of it: it is left out.
        let counted = || answers().filter(|it| it.lost.is_none());
        let is_whole = counted().all(Answer::is_settled);
        let chips: Vec<&[ChipCount]> = counted().map(|it| it.chip_counts.as_slice()).collect();
        let has_chips = chips.iter().any(|it| !it.is_empty());
        let histograms: Vec<&Histogram> = counted().filter_map(|it| it.histogram.as_ref()).collect();
        let all_counted = is_whole && histograms.len() == counted().count();
        let wanted = self.request.histogram.as_ref().map(|it| it.buckets);
        let ready = self.ready.take();
        let merged = shows_rows.then(|| ready.unwrap_or_else(|| self.merged(nodes).0));
        let window = Window {
            view: self.request.view,
            generation: self.request.generation,
            anchor_row: merged.as_ref().and_then(|it| it.anchor_row),
            at_head: merged.as_ref().is_some_and(|it| it.at_head),
            at_tail: merged.as_ref().is_some_and(|it| it.at_tail),
            missing: self.missing.clone().filter(|_| merged.is_some()),
            counts: merge::counts(counted().map(|it| it.counts), is_whole),
            query_error: error,
            chip_counts: if has_chips { merge::chip_counts(chips.into_iter(), is_whole) } else { Vec::new() },
            histogram: wanted.and_then(|wanted| merge::histogram(&histograms, wanted, all_counted)),
            rows: merged.map(|it| it.rows),
            without: self.without(nodes),
        };
        self.counts_are_news = false;
        self.rows_are_news &= !shows_rows;
        Some(window)
    }

    /// Whose records are not counted, and why.
    fn without(&self, nodes: &[Node]) -> Option<String> {
        let lost = |(node, answer): (&Node, &Option<Answer>)| {
            answer.as_ref()?.lost?;
            let is_lost = matches!(node.way, Way::Lost { .. });
            Some((sanitise::text(node.name().as_str()), if is_lost { "lost" } else { "not attached" }))
        };
        let lost: Vec<(String, &str)> = nodes.iter().zip(&self.answers).filter_map(lost).collect();
        match lost.as_slice() {
            [] => None,
            few @ ([_] | [_, _]) => {
                Some(few.iter().map(|(host, why)| format!("{host} ({why})")).collect::<Vec<_>>().join(", "))
            }
            many => Some(format!("{} of {} hosts", many.len(), self.answers.iter().flatten().count())),
        }
    }

    /// The rows of all with a row for each host whose rows are not among them, and whom to ask for more.
    fn merged(&self, nodes: &[Node]) -> (merge::Merged, Vec<usize>) {
        let is_tail = self.anchor == Anchor::Tail;
        let mut notes: Vec<Row> = Vec::new();
        let mut rows: Vec<(usize, Cow<'_, [Row]>, &Answer)> = Vec::new();
        // Many that are not there at all must not fill the pane.
        let unseen = |it: &Answer| it.lost.is_some() && it.rows.is_empty();
        let all_unseen: Vec<usize> =
            (0..nodes.len()).filter(|it| self.answers[*it].as_ref().is_some_and(unseen)).collect();
        let together = if all_unseen.len() > NOTES_MAX { all_unseen.as_slice() } else { &[] };
        for (index, answer) in self.answers.iter().enumerate() {
            let Some(answer) = answer else { continue };
            // Of the newest rows those that were found first can be shown; around a place they may be far from it.
            let shown = if answer.is_settled() || is_tail { answer.rows.as_slice() } else { &[] };
            let one = |since, why: &str| note(&nodes[index], Some(since), &format!("its lines are not here: {why}"));
            let absence = match answer.lost {
                Some(since) if together.first() == Some(&index) => Some(note_of_all(together, nodes, since)),
                Some(_) if together.contains(&index) => None,
                Some(since) => Some(one(since, &nodes[index].absence())),
                None if !answer.is_there => Some(one(self.asked_at, "has not answered yet")),
                None if shown.is_empty() && !answer.rows.is_empty() => Some(one(self.asked_at, "is still searched")),
                None => None,
            };
            let of_host = match absence {
                // It stands where its rows end: what others say later comes behind it.
                Some(note) if is_tail => {
                    let mut all = Vec::with_capacity(shown.len() + 2);
                    if let Some(since) = first_time(shown).filter(|_| answer.is_cut_short()) {
                        all.push(self::note(&nodes[index], Some(since), "its older lines are not here either"));
                    }
                    all.extend_from_slice(shown);
                    all.push(note);
                    Cow::Owned(all)
                }
                absence => {
                    notes.extend(absence);
                    Cow::Borrowed(shown)
                }
            };
            rows.push((index, of_host, answer));
        }
        let parts: Vec<Part<'_>> = rows
            .iter()
            .map(|(_, rows, answer)| {
                // One without rows of its own hides nothing of the others, nor does one that can give no more.
                let hides_nothing = !answer.is_there || rows.is_empty() || answer.is_cut_short();
                Part {
                    rows,
                    anchor_row: answer.anchor_row,
                    at_head: answer.at_head || hides_nothing,
                    at_tail: answer.at_tail || hides_nothing,
                }
            })
            .collect();
        let request = WindowRequest { anchor: self.anchor.clone(), ..self.request.clone() };
        let mut merged = merge::rows(&request, &parts);
        let first = merged.rows.first().and_then(|it| it.position()?.time).unwrap_or(self.asked_at);
        merged.anchor_row = merged.anchor_row.map(|it| it + notes.len());
        for it in &mut notes {
            if let Row::Gap(gap) = it {
                gap.position = at(gap.position.source.clone(), Some(first));
            }
        }
        merged.rows.splice(0..0, notes);
        let can_widen = |it: &Answer| it.is_settled() && !it.is_wide && it.lost.is_none();
        let narrow = merged.narrow.iter().filter(|it| can_widen(rows[**it].2)).map(|it| rows[*it].0);
        let narrow = narrow.collect();
        (merged, narrow)
    }
}

fn first_time(rows: &[Row]) -> Option<Timestamp> {
    rows.iter().find_map(|it| it.position()?.time)
}

/// A row that says something of a host in place of its rows.
fn note(node: &Node, time: Option<Timestamp>, text: &str) -> Row {
    let source = SourceId::new(node.name(), node.name().as_str());
    Row::Gap(Gap { position: at(source, time), kind: GapKind::Failed(text.to_string()) })
}

/// A row that says that nothing of many hosts is here.
fn note_of_all(hosts: &[usize], nodes: &[Node], time: Timestamp) -> Row {
    let names: Vec<&str> = hosts.iter().take(NOTED_MAX).map(|it| nodes[*it].name().as_str()).collect();
    let more = match hosts.len() - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let are_lost = hosts.iter().all(|it| matches!(nodes[*it].way, Way::Lost { .. }));
    let why = if are_lost { "lost" } else { "lost or not attached" };
    // The row is of the first of them, under the name of all.
    let source = SourceId::new(nodes[hosts[0]].name(), &format!("{}{more}", names.join(", ")));
    let kind = GapKind::Failed(format!("their lines are not here: {why}"));
    Row::Gap(Gap { position: at(source, Some(time)), kind })
}

fn at(source: SourceId, time: Option<Timestamp>) -> Position {
    let nanos = time.map_or(0, |it| i64::try_from(it.as_nanosecond()).unwrap_or(i64::MAX));
    Position { time, source, cursor: Cursor::Store { nanos, tie: String::new() } }
}

/// A query as a host understands it: there a source is called `syslog`, here `db1:syslog`.
pub(super) fn query_for(host: &str, text: &str) -> String {
    // Most queries name no source, and one that cannot be read is refused by every host in its own words.
    if !text.contains("source:") {
        return text.to_string();
    }
    let Ok(mut query) = Query::parse(text) else { return text.to_string() };
    for chip in &mut query.chips {
        if let ChipKind::Source(name) = &mut chip.kind
            && let Some((of, own)) = name.split_once(':')
            && (of == host || of == "*")
        {
            *name = own.to_string();
        }
    }
    query.to_string()
}
