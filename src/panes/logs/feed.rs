//! What the pane asked the log engine for, what came back, and which answers are too late.
//!
//! Two views are kept. The *tail* follows the newest records all the time, also while the person reads
//! further up: so `F` shows the newest line at once, and the title can say how many records are new. The *page*
//! holds the rows around the place being read. A newer request of a view cancels its older one, and an
//! answer with another generation than the last request's is dropped. Two more views are used for a
//! moment: what stands around a record that is pinned, and what a filter without one of its chips matches.

use crate::app::effect::Effect;
use crate::domain::ids::SourceId;
use crate::domain::log::{
    Anchor, ChipCount, Counts, Histogram, HistogramRequest, Look, Position, Record, Row, ViewId, Window, WindowRequest,
};
use crate::domain::request::Request;

/// The view that follows the newest records.
pub const TAIL: ViewId = ViewId(1);
/// The view around the place being read.
pub const PAGE: ViewId = ViewId(2);

/// The view on what stands around a record in the whole log, for a pin.
pub const PIN: ViewId = ViewId(3);
/// The view that counts what would match without one of the chips.
pub const TRY: ViewId = ViewId(4);
/// The view on the fields of the record that is shown in full.
pub const FIELDS: ViewId = ViewId(5);

/// Records asked for on each side of a place, at least: a held-down PgDn on a small pane outruns less.
const RECORDS_MIN: u32 = 100;
/// Records asked for on each side of a place, at most: bounds what one answer copies (about 1 MB of text).
const RECORDS_MAX: u32 = 500;

/// Newest rows that may still grow while they are read: the last record of each source.
const GROWING_ROWS: usize = 64;

/// Rows by which a view names a place: a record or the gap that stands at the same position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// Where.
    pub position: Position,
    /// The gap row there, not the record.
    pub gap: bool,
}

impl Spot {
    /// The place of a row; a break has none.
    pub fn of(row: &Row) -> Option<Self> {
        row.position().map(|it| Self { position: it.clone(), gap: matches!(row, Row::Gap(_)) })
    }

    /// True when this is the place of `row`.
    pub fn is(&self, row: &Row) -> bool {
        row.position() == Some(&self.position) && self.gap == matches!(row, Row::Gap(_))
    }
}

/// Why rows were asked for; decides what happens to selection and scroll when they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The newest rows, for as long as they come.
    Tail,
    /// More rows around the selection, which stays where it is on the screen.
    Around {
        /// The selection was not in the first answer, so this is the second try.
        again: bool,
    },
    /// The same place under another query.
    Requery,
    /// Another place, wherever it turns out to be.
    Jump,
}

/// The rows of one view.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// In display order.
    pub rows: Vec<Row>,
    /// Nothing older exists.
    pub at_head: bool,
    /// Nothing newer exists (as of the answer).
    pub at_tail: bool,
    /// An answer has come.
    pub loaded: bool,
}

impl Rows {
    /// Finds the row at a place.
    pub fn find(&self, spot: &Spot) -> Option<usize> {
        self.rows.iter().position(|row| spot.is(row))
    }

    /// The newest place.
    pub fn last(&self) -> Option<Spot> {
        self.rows.iter().rev().find_map(Spot::of)
    }
}

/// What is the same in every request: the query in force and how much to load.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ask {
    /// The query in its text form.
    pub query: String,
    /// The search, as a regex.
    pub search: String,
    /// Lines of context around matches.
    pub context: u32,
    /// Records on each side of the anchor.
    pub records: u32,
    /// As it is on disk, or readable.
    pub look: Look,
    /// Chips of the query.
    pub chips: usize,
    /// The only sources wanted; empty is all.
    pub sources: Vec<SourceId>,
    /// Sources not wanted.
    pub muted: Vec<SourceId>,
    /// Fields whose values are wanted.
    pub columns: Vec<String>,
    /// Counts by time that are wanted, of the tail only.
    pub histogram: Option<HistogramRequest>,
}

impl Ask {
    /// How many records to load for a body of this height.
    pub fn records_for(height: u16) -> u32 {
        // Four screens on each side: two to scroll through while the next answer is on its way.
        (u32::from(height) * 4).clamp(RECORDS_MIN, RECORDS_MAX)
    }
}

/// One view: its rows and the request that is out.
#[derive(Debug, Clone, Default)]
pub struct Slot {
    /// The rows of the last answer in time.
    pub rows: Rows,
    /// What is awaited; `None` when everything asked for has come.
    pub want: Option<Want>,
    generation: u64,
}

/// An answer that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Too late, or not for this pane.
    Stale,
    /// Only counts or words were news.
    Counts,
    /// The newest rows were replaced.
    Tail,
    /// The query could not be run; the rows stay as they were.
    Refused(String),
    /// How much would match without the chip that was tried.
    Counted(u64),
    /// What stands around a record that is being pinned.
    Neighbours(Vec<Row>),
    /// The record that is shown in full, with the values of fields.
    Fields(Box<Record>),
    /// Rows around a place.
    Page {
        /// Why they were asked for.
        want: Want,
        /// They.
        rows: Rows,
        /// Which of them is at the anchor.
        anchor_row: Option<usize>,
        /// What could not be found, in words.
        missing: Option<String>,
    },
}

/// Both views and what is known of the whole.
#[derive(Debug, Clone, Default)]
pub struct Feed {
    /// The newest records.
    pub tail: Slot,
    /// The place being read.
    pub page: Slot,
    /// Counts of the query in force.
    pub counts: Counts,
    /// Hosts whose records are not counted, in words.
    pub without: Option<String>,
    // Chips of the query in force.
    active_chips: usize,
    /// What each chip of the query leaves, as far as that is known.
    pub chip_counts: Vec<ChipCount>,
    /// Records that came since reading was paused; a lower bound when `new_more`.
    pub new: u64,
    /// More came at once than the tail holds.
    pub new_more: bool,
    /// Records asked for in the tail.
    pub tail_records: u32,
    // The first answer brings news to rows that were put aside for a detour.
    count_first: bool,
    /// The counts by time that came last, until they are taken.
    pub histogram: Option<Histogram>,
    /// The counts by time that were asked for.
    pub histogram_asked: Option<HistogramRequest>,
    generation: u64,
    // Of the request for a pin's neighbours that is out.
    pin_generation: Option<u64>,
    // Of the request for a record's fields that is out.
    fields_generation: Option<u64>,
    // Of the count that is out.
    try_generation: Option<u64>,
}

impl Feed {
    /// Asks for the newest rows, now and whenever more come.
    pub fn ask_tail(&mut self, ask: &Ask) -> Effect {
        self.counts = Counts::default();
        self.chip_counts.clear();
        self.active_chips = ask.chips;
        self.count_first = false;
        (self.new, self.new_more) = (0, false);
        self.tail.want = Some(Want::Tail);
        self.ask_tail_again(ask)
    }

    /// Asks for the same rows with other counts by time; what is known of the tail stays.
    pub fn ask_tail_again(&mut self, ask: &Ask) -> Effect {
        self.tail_records = ask.records;
        let generation = self.next();
        self.tail.generation = generation;
        self.histogram = None;
        self.histogram_asked = ask.histogram.clone();
        let request = request(TAIL, generation, ask, Anchor::Tail, (ask.records, 0));
        let (histogram, chip_counts) = (ask.histogram.clone(), ask.chips > 1);
        window(WindowRequest { follow: true, count: true, chip_counts, histogram, ..request })
    }

    /// Asks for rows at a place.
    pub fn ask_page(&mut self, ask: &Ask, anchor: Anchor, want: Want) -> Effect {
        let generation = self.next();
        self.page.generation = generation;
        self.page.want = Some(want);
        window(request(PAGE, generation, ask, anchor, (ask.records, ask.records)))
    }

    /// Asks for what stands around a record in the whole log, whatever the filter hides.
    pub fn ask_neighbours(&mut self, position: &Position, records: u32) -> Effect {
        let generation = self.next();
        self.pin_generation = Some(generation);
        let ask = Ask { records, ..Ask::default() };
        // The record itself is the first of those after the place.
        window(request(PIN, generation, &ask, Anchor::At(position.clone()), (records, records + 1)))
    }

    /// Asks for the values of fields of one record.
    pub fn ask_fields(&mut self, position: &Position, names: Vec<String>) -> Effect {
        let generation = self.next();
        self.fields_generation = Some(generation);
        let ask = Ask { columns: names, ..Ask::default() };
        window(request(FIELDS, generation, &ask, Anchor::At(position.clone()), (0, 1)))
    }

    /// Asks how much the query of `ask` matches; its rows are not wanted.
    pub fn ask_count(&mut self, ask: Ask) -> Effect {
        let generation = self.next();
        self.try_generation = Some(generation);
        let ask = Ask { search: String::new(), context: 0, records: 1, ..ask };
        let request = request(TRY, generation, &ask, Anchor::Tail, (ask.records, 0));
        window(WindowRequest { count: true, ..request })
    }

    /// What a chip leaves, by its place among those asked for.
    pub fn chip_count(&self, at: usize) -> Option<ChipCount> {
        let counts = self.counts;
        let only = ChipCount { matched: counts.matched, of: counts.scanned, complete: counts.complete };
        // The one chip there is leaves what the whole query leaves.
        let is_alone = self.active_chips == 1 && counts != Counts::default();
        self.chip_counts.get(at).copied().or(is_alone.then_some(only))
    }

    /// Goes on counting what is new since reading was paused, over rows that were put aside meanwhile.
    pub fn resume_count(&mut self, (new, more): (u64, bool)) {
        (self.new, self.new_more, self.count_first) = (new, more, true);
    }

    /// Starts reading at the newest rows, which stay loaded while more arrive.
    pub fn freeze(&mut self) {
        self.page.rows = self.tail.rows.clone();
        self.drop_page_request();
        (self.new, self.new_more) = (0, false);
    }

    /// Forgets the request that is out: its answer would move the screen to a place no longer wanted.
    pub fn drop_page_request(&mut self) {
        self.page.generation = self.next();
        self.page.want = None;
    }

    /// Takes an answer in.
    pub fn take(&mut self, window: &Window) -> Answer {
        if window.view == PIN {
            return self.take_neighbours(window);
        }
        if window.view == FIELDS {
            let is_asked = self.fields_generation == Some(window.generation);
            let row = window.rows.as_ref().filter(|_| is_asked).and_then(|it| it.first());
            let Some(Row::Record(record)) = row else { return Answer::Stale };
            self.fields_generation = None;
            return Answer::Fields(Box::new(record.clone()));
        }
        if window.view == TRY {
            let is_asked = self.try_generation == Some(window.generation) && window.counts.complete;
            return if is_asked {
                self.try_generation = None;
                Answer::Counted(window.counts.matched)
            } else {
                Answer::Stale
            };
        }
        let slot = match window.view {
            TAIL => &mut self.tail,
            PAGE => &mut self.page,
            _ => return Answer::Stale,
        };
        if slot.generation != window.generation {
            return Answer::Stale;
        }
        if window.view == TAIL {
            self.without.clone_from(&window.without);
        }
        if window.view == TAIL && (window.rows.is_none() || window.counts != Counts::default()) {
            self.counts = window.counts;
        }
        if window.view == TAIL && !window.chip_counts.is_empty() {
            self.chip_counts.clone_from(&window.chip_counts);
        }
        if let Some(error) = &window.query_error {
            slot.want = None;
            return Answer::Refused(error.clone());
        }
        if window.view == TAIL && window.histogram.is_some() {
            self.histogram = window.histogram.clone();
        }
        let Some(rows) = &window.rows else { return Answer::Counts };
        // A slow answer comes in parts: the engine shows what it has before it knows where the ends are.
        let partial = window.anchor_row.is_none() && window.missing.is_none() && !window.at_head && !window.at_tail;
        let want = if partial { slot.want } else { slot.want.take() };
        if partial && window.view == PAGE && want != Some(Want::Requery) {
            return Answer::Counts;
        }
        let rows = Rows { rows: rows.clone(), at_head: window.at_head, at_tail: window.at_tail, loaded: true };
        if window.view == TAIL {
            if want.is_none() || std::mem::take(&mut self.count_first) {
                self.count_new(&rows);
            }
            self.renew(&rows);
            self.tail.rows = rows;
            return Answer::Tail;
        }
        // A second answer to one request can only bring fresher rows of the same place.
        let want = want.unwrap_or(Want::Around { again: true });
        Answer::Page { want, rows, anchor_row: window.anchor_row, missing: window.missing.clone() }
    }

    fn take_neighbours(&mut self, window: &Window) -> Answer {
        if self.pin_generation != Some(window.generation) {
            return Answer::Stale;
        }
        let partial = window.anchor_row.is_none() && window.missing.is_none() && !window.at_head && !window.at_tail;
        if partial && window.query_error.is_none() {
            return Answer::Stale;
        }
        self.pin_generation = None;
        Answer::Neighbours(window.rows.clone().unwrap_or_default())
    }

    /// Counts what stands behind the newest place that was known.
    fn count_new(&mut self, rows: &Rows) {
        let is_record = |row: &&Row| matches!(row, Row::Record(record) if !record.context);
        let known = self.tail.rows.last().and_then(|it| rows.find(&it));
        let added = rows.rows[known.map_or(0, |at| at + 1)..].iter().filter(is_record).count() as u64;
        self.new += added;
        self.new_more |= known.is_none() && !self.tail.rows.rows.is_empty();
        if added > 0 {
            self.page.rows.at_tail = false;
        }
    }

    /// What was still being written when reading was paused is read as what it has become.
    fn renew(&mut self, rows: &Rows) {
        for old in self.tail.rows.rows.iter().rev().take(GROWING_ROWS) {
            let Some(spot) = Spot::of(old) else { continue };
            let new = rows.rows.iter().rev().find(|it| spot.is(it)).filter(|it| *it != old);
            let kept = self.page.rows.rows.iter_mut().rev().find(|it| spot.is(it));
            if let (Some(new), Some(kept)) = (new, kept) {
                kept.clone_from(new);
            }
        }
    }

    fn next(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }
}

fn request(view: ViewId, generation: u64, ask: &Ask, anchor: Anchor, around: (u32, u32)) -> WindowRequest {
    WindowRequest {
        query: ask.query.clone(),
        search: ask.search.clone(),
        context: ask.context,
        sources: ask.sources.clone(),
        muted: ask.muted.clone(),
        columns: ask.columns.clone(),
        look: ask.look,
        ..WindowRequest::new(view, generation, anchor, around)
    }
}

fn window(request: WindowRequest) -> Effect {
    Effect::Request(Request::Window(Box::new(request)))
}
