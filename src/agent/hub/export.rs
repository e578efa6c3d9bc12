//! The records of several hosts in one file, which is written where the screen runs.
//!
//! Each host is asked for a page of its records after another, oldest first, and the pages are merged by time as they
//! come: of each host two pages are in hand at most. A host that is lost on the way is waited for, and goes on behind
//! its last record; when it does not come back, what the others have is written, and the end of the file says what is
//! missing, as does the screen. Records without any time before them stand first.

mod part;
mod pen;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::agent::hub::Node;
use crate::agent::hub::export::part::{Part, Until};
use crate::agent::hub::export::pen::Pen;
pub use crate::agent::hub::export::pen::Wrote;
use crate::agent::hub::windows::query_for;
use crate::domain::export::{ExportNews, ExportRequest};
use crate::domain::host::Way;
use crate::domain::ids::SourceId;
use crate::domain::log::{Anchor, Cursor, Gap, GapKind, Look, Position, Row, ViewId, Window, WindowRequest};

/// The view that pages are asked for in: the panes of a screen have the numbers below.
pub const VIEW: ViewId = ViewId(6);
/// How long a lost host is waited for: a way that was cut and is there again takes some seconds.
const RETURN_PATIENCE: Duration = Duration::from_secs(15);
/// How long a host that is there may look for a page: it may have to search all it has for the next match.
const PAGE_PATIENCE: Duration = Duration::from_secs(300);
/// How long until a host that had no room for a question is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// Least time between two words about how far it is.
const NEWS_GAP: Duration = Duration::from_millis(250);
/// Rows that are handed to the file at a time.
const BATCH_ROWS: usize = 512;
/// Batches on their way to the file.
const BATCHES_MAX: usize = 2;

/// An export that is under way.
pub struct Export {
    /// Which one; what is heard of an earlier one is not for this.
    pub number: u64,
    request: ExportRequest,
    /// By host; `None` for those that have nothing of what is wanted.
    parts: Vec<Option<Part>>,
    pen: Pen,
    /// Batches that the file has not taken yet.
    under_way: usize,
    ticket: u64,
    told_at: Instant,
    /// Everything was handed to the file.
    is_handed_over: bool,
}

/// What is to be done for an export.
#[derive(Debug, Default)]
pub struct Todo {
    /// Pages to ask hosts for.
    pub asked: Vec<(usize, WindowRequest)>,
    /// How it ended.
    pub ended: Option<ExportNews>,
}

impl Export {
    /// Begins to write. `ends` are the times of the first and the last record where these are known by their place.
    pub fn begin(
        number: u64,
        now: Instant,
        request: ExportRequest,
        ends: (Option<Timestamp>, Option<Timestamp>),
        nodes: &[Node],
        wrote_tx: mpsc::Sender<(u64, Wrote)>,
    ) -> Self {
        let mut request = request;
        let with_time = |position: &mut Option<Position>, time| {
            if let Some(it) = position {
                it.time = it.time.or(time);
            }
        };
        with_time(&mut request.from, ends.0);
        with_time(&mut request.until, ends.1);
        let is_meant = |node: &Node| {
            let host = node.name().as_str();
            node.requests_tx.is_some()
                && (request.sources.is_empty() || request.sources.iter().any(|it| it.host() == host))
        };
        let owner = |it: &Position| nodes.iter().position(|node| node.name().as_str() == it.source.host());
        let until = |index: usize| {
            let Some(position) = &request.until else { return Until::Unknown };
            match (owner(position), position.time) {
                (Some(of), _) if of == index => Until::At(position.clone()),
                // Of one time, hosts go in their order.
                (of, Some(time)) => Until::Time { time, is_included: of.is_none_or(|of| index < of) },
                (_, None) => Until::Unknown,
            }
        };
        let from = |index: usize| {
            let mut position = request.from.clone()?;
            if owner(&position).is_some_and(|of| index < of) {
                let next = |it: Timestamp| it.checked_add(SignedDuration::from_nanos(1)).unwrap_or(it);
                position.time = position.time.map(next);
            }
            Some(position)
        };
        let part = |(index, node): (usize, &Node)| {
            is_meant(node).then(|| {
                let mut part = Part::new(from(index), until(index), (!node.is_there()).then_some(now));
                // One that has been lost before is not waited for: who asks sees that it is.
                if matches!(node.way, Way::Lost { .. } | Way::Refused { .. }) {
                    part.give_up(node.absence());
                }
                part
            })
        };
        let parts: Vec<Option<Part>> = nodes.iter().enumerate().map(part).collect();
        let names_sources =
            parts.iter().flatten().count() > 1 || nodes.iter().map(|it| it.sources.len()).sum::<usize>() > 1;
        let pen = Pen::start(number, request.path.clone(), request.format, names_sources, wrote_tx);
        Self { number, request, parts, pen, under_way: 0, ticket: 0, told_at: now, is_handed_over: false }
    }

    /// A host is there, or lost.
    pub fn mark(&mut self, index: usize, is_there: bool, now: Instant) {
        if let Some(Some(part)) = self.parts.get_mut(index) {
            part.mark(is_there, now);
        }
    }

    /// True while a page of this host is waited for.
    pub fn awaits(&self, index: usize) -> bool {
        matches!(self.parts.get(index), Some(Some(part)) if part.asked.is_some())
    }

    /// A host's page was too large to be sent.
    pub fn too_large(&mut self, index: usize) {
        if let Some(Some(part)) = self.parts.get_mut(index) {
            part.too_large();
        }
    }

    /// A host has no room for the question now.
    pub fn unasked(&mut self, index: usize, now: Instant) {
        if let Some(Some(part)) = self.parts.get_mut(index) {
            part.asked = None;
            part.ask_at = Some(now + ASK_AGAIN);
        }
    }

    /// Takes a host's page. It ends the export when the query cannot be run.
    pub fn take(&mut self, index: usize, window: Window, now: Instant) -> Option<ExportNews> {
        let Some(Some(part)) = self.parts.get_mut(index) else { return None };
        if part.asked.is_none_or(|(ticket, _)| ticket != window.generation) {
            return None;
        }
        if let Some(error) = window.query_error {
            return Some(ExportNews::Failed(format!("could not export: {error}")));
        }
        part.take(window, now);
        None
    }

    /// Takes in what the file says; `None` while it goes on.
    pub fn wrote(&mut self, now: Instant, wrote: Wrote) -> Option<ExportNews> {
        match wrote {
            Wrote::Batch { records, bytes } => {
                self.under_way = self.under_way.saturating_sub(1);
                if now < self.told_at + NEWS_GAP {
                    return None;
                }
                self.told_at = now;
                Some(ExportNews::Writing { records, bytes })
            }
            Wrote::Ended(news) => Some(news),
        }
    }

    /// When something must happen although nobody says anything.
    pub fn deadline(&self) -> Option<Instant> {
        self.parts.iter().flatten().filter_map(Part::deadline).min()
    }

    /// Asks and merges as far as what has come allows.
    pub fn go_on(&mut self, now: Instant, nodes: &[Node]) -> Todo {
        let mut todo = Todo::default();
        if self.is_handed_over {
            return todo;
        }
        for (part, node) in self.parts.iter_mut().zip(nodes) {
            if let Some(part) = part
                && let Some(why) = part.patience_ended(now, node)
            {
                part.give_up(why);
                // It stands where its rows end as well: who reads there must know.
                if let (Some(why), Some(clock)) = (&part.missing, part.clock) {
                    part.rows.push_back((clock, missing_row(node, part.clock, why)));
                }
            }
        }
        if self.parts.iter().flatten().all(|it| it.missing.is_some() && it.taken == 0) {
            let why = self.parts.iter().flatten().find_map(|it| it.missing.clone());
            let why = why.unwrap_or_else(|| "no host has such logs".into());
            todo.ended = Some(ExportNews::Failed(format!("could not export: no host answers: {why}")));
            return todo;
        }
        for index in 0..self.parts.len() {
            let Some(part) = &mut self.parts[index] else { continue };
            if part.wants_page(now) && nodes[index].is_there() {
                self.ticket += 1;
                part.asked = Some((self.ticket, now));
                todo.asked.push((index, self.page(index, nodes)));
            }
        }
        while self.under_way < BATCHES_MAX {
            let batch = self.batch(nodes);
            if batch.is_empty() {
                break;
            }
            self.under_way += 1;
            self.pen.write(batch);
        }
        let is_over = |it: &Part| it.is_over && it.rows.is_empty();
        if self.under_way < BATCHES_MAX && self.parts.iter().flatten().all(is_over) {
            self.end(nodes);
        }
        todo
    }

    /// What the file says of hosts that are missing, then its end.
    fn end(&mut self, nodes: &[Node]) {
        let lost: Vec<(&Node, &Part, &String)> = nodes
            .iter()
            .zip(&self.parts)
            .filter_map(|(node, part)| Some((node, part.as_ref()?, part.as_ref()?.missing.as_ref()?)))
            .collect();
        let named =
            |(node, part, why): &(&Node, &Part, &String)| (node.name().to_string(), missing_row(node, part.clock, why));
        let rows: Vec<(String, Row)> = lost.iter().map(named).collect();
        let missing = lost.iter().map(|(node, _, why)| format!("{}: {why}", node.name())).collect();
        self.is_handed_over = true;
        self.pen.write(rows);
        self.pen.finish(missing);
    }

    /// The next rows of all, oldest first, as far as it is known that nothing comes between.
    fn batch(&mut self, nodes: &[Node]) -> Vec<(String, Row)> {
        let mut batch = Vec::new();
        while batch.len() < BATCH_ROWS {
            let mut first: Option<(Timestamp, usize)> = None;
            for (index, part) in self.parts.iter().enumerate() {
                let Some(part) = part else { continue };
                match part.rows.front() {
                    Some((clock, _)) => {
                        let is_first = first.is_none_or(|it| (*clock, index) < it);
                        first = if is_first { Some((*clock, index)) } else { first };
                    }
                    None if part.is_over => {}
                    // Its next row may be the oldest.
                    None => return batch,
                }
            }
            let Some((_, index)) = first else { break };
            let Some((_, row)) = self.parts[index].as_mut().and_then(|it| it.rows.pop_front()) else { break };
            batch.push((self.source_name(&nodes[index], &row), row));
        }
        batch
    }

    /// As the screen calls it: with its host in front where there are several.
    fn source_name(&self, node: &Node, row: &Row) -> String {
        let Some(position) = row.position().filter(|it| !it.source.name().is_empty()) else {
            return node.name().to_string();
        };
        let known = node.sources.get(&position.source);
        let name = known.map_or_else(|| position.source.name(), String::as_str);
        if self.parts.len() > 1 { format!("{}:{name}", node.name()) } else { name.to_string() }
    }

    /// The next page of a host.
    fn page(&self, index: usize, nodes: &[Node]) -> WindowRequest {
        let host = nodes[index].name().as_str();
        let (anchor, count) = match &self.parts[index] {
            Some(part) => part.next_page(),
            None => (Anchor::Tail, (1, 0)),
        };
        let mut request = WindowRequest {
            query: query_for(host, &self.request.query),
            sources: self.request.sources.clone(),
            muted: self.request.muted.clone(),
            look: Look::Original,
            ..WindowRequest::new(VIEW, self.ticket, anchor, count)
        };
        request.sources.retain(|it| it.host() == host);
        request.muted.retain(|it| it.host() == host);
        request
    }
}

/// Says what of a host is missing behind this time.
fn missing_row(node: &Node, time: Option<Timestamp>, why: &str) -> Row {
    let source = SourceId::new(node.name(), "");
    let position = Position { time, source, cursor: Cursor::Store { nanos: 0, tie: String::new() } };
    Row::Gap(Gap { position, kind: GapKind::Failed(why.to_string()) })
}
