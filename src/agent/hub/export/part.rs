//! One host's part of an export: where its pages begin and end, and what has come of them.

use std::collections::VecDeque;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::agent::hub::Node;
use crate::agent::hub::export::{PAGE_PATIENCE, RETURN_PATIENCE};
use crate::domain::log::{Anchor, Position, Row, Window};

/// Records of the first page; how many the next ones have goes by how long the records are.
const PAGE_FIRST: u32 = 200;
/// Most records of a page: what the engine gives at a time.
const PAGE_MAX: u32 = 2000;
/// A page of about this size: enough that the way to the host does not matter, and little to hold of many hosts.
const PAGE_BYTES: usize = 512 << 10;

/// Where a host's records end.
#[derive(Debug, Clone, PartialEq)]
pub enum Until {
    /// With its newest one as of the beginning; that is asked for first.
    Unknown,
    /// With this one of its own.
    At(Position),
    /// With what is no newer than a record of another host.
    Time {
        /// When that was.
        time: Timestamp,
        /// What is of the same time belongs to it.
        is_included: bool,
    },
}

/// One host's part.
#[derive(Debug)]
pub struct Part {
    from: Option<Position>,
    until: Until,
    /// What has come and is not written yet, by the time that it is merged by.
    pub rows: VecDeque<(Timestamp, Row)>,
    /// Time of the newest row that had one.
    pub clock: Option<Timestamp>,
    /// The last row that was taken, and whether it is a gap.
    last: Option<(Position, bool)>,
    /// Rows that were taken.
    pub taken: u64,
    /// Records of the next page.
    page: u32,
    /// The page that is waited for, and since when.
    pub asked: Option<(u64, Instant)>,
    /// Not to be asked before.
    pub ask_at: Option<Instant>,
    /// Since when it is not there.
    lost: Option<Instant>,
    /// Nothing more comes of it.
    pub is_over: bool,
    /// Why something of it is missing, in words.
    pub missing: Option<String>,
}

impl Part {
    /// A host of which nothing has come; `lost` since when it is not there.
    pub fn new(from: Option<Position>, until: Until, lost: Option<Instant>) -> Self {
        Self {
            from,
            until,
            rows: VecDeque::new(),
            clock: None,
            last: None,
            taken: 0,
            page: PAGE_FIRST,
            asked: None,
            ask_at: None,
            lost,
            is_over: false,
            missing: None,
        }
    }

    /// The host is there, or lost.
    pub fn mark(&mut self, is_there: bool, now: Instant) {
        self.lost = if is_there { None } else { self.lost.or(Some(now)) };
        if !is_there {
            self.asked = None;
        }
    }

    /// True when a page is to be asked for.
    pub fn wants_page(&self, now: Instant) -> bool {
        let has_room = self.rows.len() <= self.page as usize;
        !self.is_over && self.asked.is_none() && has_room && self.ask_at.is_none_or(|it| it <= now)
    }

    /// When something must happen although nobody says anything.
    pub fn deadline(&self) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        let lost = self.lost.map(|it| it + RETURN_PATIENCE);
        let stuck = self.asked.map(|(_, at)| at + PAGE_PATIENCE);
        let again = self.ask_at.filter(|_| self.asked.is_none() && self.lost.is_none());
        lost.or(stuck).or(again)
    }

    /// Why a host that was waited for long enough is given up, in words.
    pub fn patience_ended(&self, now: Instant, node: &Node) -> Option<String> {
        if self.is_over {
            return None;
        }
        if self.lost.is_some_and(|it| now >= it + RETURN_PATIENCE) {
            return Some(node.absence());
        }
        if self.asked.is_some_and(|(_, at)| now >= at + PAGE_PATIENCE) {
            return Some("it did not answer".into());
        }
        (self.page == 0).then(|| "a record of it is too long to be sent".into())
    }

    /// Takes what has come for all there is.
    pub fn give_up(&mut self, why: String) {
        self.missing = Some(match self.clock {
            Some(clock) => format!("{why}; what it has behind {clock:.0} is missing"),
            None => format!("{why}; nothing of it is here"),
        });
        self.asked = None;
        self.is_over = true;
    }

    /// The page did not fit in an answer: a smaller one is asked for.
    pub fn too_large(&mut self) {
        self.asked = None;
        self.page /= 2;
    }

    /// Where the next page stands, and how many records before and from there on.
    pub fn next_page(&self) -> (Anchor, (u32, u32)) {
        match (&self.until, &self.last, &self.from) {
            (Until::Unknown, ..) => (Anchor::Tail, (1, 0)),
            // The last one is there again, so that nothing can stand between unseen.
            (_, Some((last, _)), _) => (Anchor::At(last.clone()), (0, self.page + 1)),
            (_, None, Some(from)) => (Anchor::At(from.clone()), (0, self.page)),
            (_, None, None) => (Anchor::Head, (0, self.page)),
        }
    }

    /// Takes a page. An answer in parts only shows that the host is at work.
    pub fn take(&mut self, window: Window, now: Instant) {
        let is_settled = window.anchor_row.is_some() || window.missing.is_some() || window.at_head || window.at_tail;
        let Some(rows) = window.rows else { return };
        if !is_settled {
            self.asked = self.asked.map(|(ticket, _)| (ticket, now));
            return;
        }
        self.asked = None;
        if self.until == Until::Unknown {
            let newest = rows.iter().rev().find_map(|it| match it {
                Row::Record(record) => Some(record.position.clone()),
                Row::Gap(_) | Row::Break => None,
            });
            match newest {
                Some(newest) => self.until = Until::At(newest),
                None => self.is_over = true,
            }
            return;
        }
        let size_bytes: usize = rows.iter().map(size).sum();
        let records = rows.iter().filter(|it| matches!(it, Row::Record(_))).count();
        let fits = PAGE_BYTES * records / size_bytes.max(1);
        self.page = u32::try_from(fits).unwrap_or(PAGE_MAX).clamp(1, (self.page * 4).min(PAGE_MAX));
        let before = self.taken;
        self.append(rows, window.anchor_row);
        // Without anything new there would be no end.
        self.is_over |= window.at_tail || self.taken == before;
    }

    fn append(&mut self, rows: Vec<Row>, anchor_row: Option<usize>) {
        let start = self.first_new(&rows, anchor_row);
        let mut clock = self.clock.or_else(|| rows.iter().find_map(|it| it.position()?.time)).unwrap_or(Timestamp::MIN);
        for row in rows.into_iter().skip(start) {
            let Some(position) = row.position().cloned() else { continue };
            clock = position.time.unwrap_or(clock);
            let is_last = match &self.until {
                Until::At(last) => is_same(last, &position) && matches!(row, Row::Record(_)),
                Until::Time { time, is_included } => {
                    if clock > *time || (clock == *time && !is_included) {
                        self.is_over = true;
                        return;
                    }
                    false
                }
                Until::Unknown => false,
            };
            self.clock = position.time.or(self.clock);
            self.last = Some((position, matches!(row, Row::Gap(_))));
            self.rows.push_back((clock, row));
            self.taken += 1;
            if is_last {
                self.is_over = true;
                return;
            }
        }
    }

    /// The first of these rows that was not taken yet and belongs to the range.
    fn first_new(&self, rows: &[Row], anchor_row: Option<usize>) -> usize {
        let at = |wanted: &Position, is_gap: bool| {
            let is_it = |row: &Row| {
                row.position().is_some_and(|it| is_same(it, wanted)) && matches!(row, Row::Gap(_)) == is_gap
            };
            rows.iter().rposition(is_it)
        };
        let newer_than = |wanted: &Position| {
            // Its place is gone: what stands behind it in its own source, or has a later time, comes next.
            let is_newer = |row: &Row| {
                row.position().is_some_and(|it| {
                    if it.source == wanted.source { it.cursor > wanted.cursor } else { it.time >= wanted.time }
                })
            };
            let first = rows.iter().skip(anchor_row.unwrap_or(0)).position(is_newer);
            first.map_or(rows.len(), |it| it + anchor_row.unwrap_or(0))
        };
        match (&self.last, &self.from) {
            (Some((last, is_gap)), _) => at(last, *is_gap).map_or_else(|| newer_than(last), |it| it + 1),
            (None, Some(from)) => at(from, false).unwrap_or_else(|| newer_than(from)),
            (None, None) => 0,
        }
    }
}

fn is_same(one: &Position, other: &Position) -> bool {
    one.source == other.source && one.cursor == other.cursor
}

/// About how much a row takes.
fn size(row: &Row) -> usize {
    match row {
        Row::Record(record) => {
            let lines = record.lines.iter().chain(record.original.iter().flatten());
            lines.map(|it| it.len() + 1).sum::<usize>() + 100
        }
        Row::Gap(_) | Row::Break => 100,
    }
}
