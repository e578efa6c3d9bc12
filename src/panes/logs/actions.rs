//! What is done with the record one is at: jumps, the unfiltered detour, copy, pin, marks.

use std::ops::Range;

use jiff::{SignedDuration, Timestamp};

use crate::app::effect::{Effect, Notice};
use crate::domain::format;
use crate::domain::ids::{HostId, SourceId};
use crate::domain::incident::{PinRequest, PinnedRecord};
use crate::domain::key::{Key, KeyCode};
use crate::domain::log::{Anchor, Find, Record, Row};
use crate::domain::request::Request;
use crate::panes::Context;
use crate::panes::logs::chips::Chips;
use crate::panes::logs::feed::{Rows, Spot, Want};
use crate::panes::logs::motion::{Place, Reading};
use crate::panes::logs::selection::original;
use crate::panes::logs::{EXPANDED_MAX, LogsPane};

/// Records kept on each side of a pinned one: what `grep -C3` shows.
const PIN_CONTEXT: usize = 3;
/// Pins that wait for their surroundings; past this a pin takes those on the screen.
const PINNING_MAX: usize = 8;

/// A record that is being pinned: its surroundings were asked for.
#[derive(Debug, Clone)]
pub struct Pinning {
    comment: String,
    spot: Spot,
    /// What stood on the screen, should nothing better come.
    records: Vec<PinnedRecord>,
}

/// A record so long behind a time that was asked for still counts as of that time.
const NEAR_TIME: SignedDuration = SignedDuration::from_mins(1);

/// Where a jump that is on its way goes.
#[derive(Debug, Clone)]
pub struct Sought {
    /// What was asked for.
    pub anchor: Anchor,
    /// How far behind a time a record may be that counts as of that time.
    pub near: SignedDuration,
}

/// What to come back to from the unfiltered log.
#[derive(Debug, Clone)]
pub struct Detour {
    reading: Reading,
    page: Rows,
    tail: Rows,
    /// What had come since reading was paused.
    new: (u64, bool),
}

impl LogsPane {
    /// The record that commands act on.
    pub(super) fn current_record(&self) -> Option<&Record> {
        match &self.rows().rows[self.current()?] {
            Row::Record(record) => Some(record),
            Row::Gap(_) | Row::Break => None,
        }
    }

    /// Asks for everything again, because what is asked for has changed; the place stays.
    pub(super) fn requery(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let ask = self.ask(cx);
        self.exhausted = None;
        self.queued = None;
        self.timeline.expect_another();
        let mut effects = vec![self.feed.ask_tail(&ask)];
        // A jump that is on its way would bring rows of the old query.
        self.feed.drop_page_request();
        if let Reading::Paused(place) = &self.reading {
            let anchor = place.home.as_ref().or(place.spot.as_ref());
            let anchor = anchor.map_or(Anchor::Tail, |it| Anchor::At(it.position.clone()));
            effects.push(self.feed.ask_page(&ask, anchor, Want::Requery));
        }
        effects
    }

    /// Takes another stack of chips into use; the one before can be had back.
    pub(super) fn set_chips(&mut self, cx: &Context<'_>, chips: Chips) -> Vec<Effect> {
        let before = self.chips.clone();
        let effects = self.use_chips(cx, chips);
        self.note_change(&before);
        effects
    }

    /// Takes another stack of chips into use.
    pub(super) fn use_chips(&mut self, cx: &Context<'_>, chips: Chips) -> Vec<Effect> {
        let changed = chips.query() != self.chips.query() || self.detour.is_some();
        self.chips = chips;
        self.detour = None;
        if changed { self.requery(cx) } else { Vec::new() }
    }

    /// Changes the stack of chips.
    pub(super) fn change_chips(&mut self, cx: &Context<'_>, change: impl FnOnce(&mut Chips)) -> Vec<Effect> {
        let mut chips = self.chips.clone();
        change(&mut chips);
        self.set_chips(cx, chips)
    }

    pub(super) fn select_chip(&mut self, step: i32) -> Vec<Effect> {
        if self.chips.is_empty() {
            return vec![Notice::info("no filter chips yet: `f` adds one, `!` hides what matches")];
        }
        self.chips.select_next(step);
        // The footer says what the keys mean now.
        Vec::new()
    }

    /// Moves the selected chip among the others: the counts say what each leaves of those before it.
    pub(super) fn shift_chip(&mut self, cx: &Context<'_>, step: i32) -> Vec<Effect> {
        if self.chips.selected().is_none() {
            return vec![Notice::info("no chip is selected: `C` selects one, then `<` and `>` move it")];
        }
        self.change_chips(cx, |it| it.shift(step))
    }

    pub(super) fn remove_chip(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        if self.chips.is_empty() {
            return vec![Notice::info("no filter chip to remove")];
        }
        self.change_chips(cx, Chips::remove)
    }

    pub(super) fn set_context(&mut self, cx: &Context<'_>, lines: u32) -> Vec<Effect> {
        if self.chips.query().is_empty() || self.detour.is_some() {
            return vec![Notice::info("context stands around the matches of a filter: add one with `f`")];
        }
        if lines == self.context {
            return Vec::new();
        }
        self.context = lines;
        let mut effects = self.requery(cx);
        effects.push(match lines {
            0 => Notice::info("matches only"),
            _ => Notice::info(format!("{} of context", format::plural(u64::from(lines), "line"))),
        });
        effects
    }

    /// Enter: the whole log at this record, and back again; without a filter the record unfolds.
    pub(super) fn open(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        if self.detour.is_some() {
            return self.leave_detour(cx);
        }
        if self.chips.query().is_empty() {
            return self.expand(cx);
        }
        let Some(spot) = self.current_spot() else { return vec![Notice::warn("no record here")] };
        self.detour = Some(Box::new(Detour {
            reading: self.reading.clone(),
            page: self.feed.page.rows.clone(),
            tail: self.feed.tail.rows.clone(),
            new: (self.feed.new, self.feed.new_more),
        }));
        self.pause(cx);
        if let Reading::Paused(place) = &mut self.reading {
            *place = Place { home: Some(spot.clone()), spot: Some(spot), offset: place.offset };
        }
        self.requery(cx)
    }

    fn leave_detour(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let Some(detour) = self.detour.take() else { return Vec::new() };
        self.reading = detour.reading;
        self.feed.page.rows = detour.page;
        self.feed.tail.rows = detour.tail;
        let effects = self.requery(cx);
        if matches!(self.reading, Reading::Paused(_)) {
            self.feed.resume_count(detour.new);
        }
        effects
    }

    /// Closes the innermost open thing; `None` when nothing was open.
    pub(super) fn step_back(&mut self, cx: &Context<'_>) -> Option<Vec<Effect>> {
        if self.prompt.is_some() {
            return Some(self.prompt_key(cx, &Key::plain(KeyCode::Esc)));
        }
        if self.inspected.take().is_some() || self.selection.take().is_some() {
            return Some(Vec::new());
        }
        if self.chips.selected().is_some() {
            self.chips.deselect();
            return Some(Vec::new());
        }
        if self.step_out_of_histogram() {
            return Some(self.keep_histogram(cx));
        }
        if matches!(self.feed.page.want, Some(Want::Jump)) {
            // A search through a large file may take a while; Esc stops it.
            self.feed.drop_page_request();
            self.queued = None;
            return Some(vec![Notice::info("search stopped")]);
        }
        if self.exporting.is_some() {
            return Some(vec![Effect::Request(Request::StopExport)]);
        }
        if self.detour.is_some() {
            return Some(self.leave_detour(cx));
        }
        if !self.search.is_empty() {
            self.search.clear();
            self.scroll_back_from_hit();
            return Some(self.requery(cx));
        }
        None
    }

    /// Unfolds the current record, or folds it.
    pub(super) fn expand(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let Some(spot) = self.current_spot() else { return Vec::new() };
        self.pause(cx);
        match self.expanded.iter().position(|it| *it == spot) {
            Some(at) => drop(self.expanded.remove(at)),
            None => {
                self.expanded.push_back(spot);
                if self.expanded.len() > EXPANDED_MAX {
                    self.expanded.pop_front();
                }
            }
        }
        self.reveal_current(cx);
        Vec::new()
    }

    /// Looks for the next record of a kind and goes there.
    pub(super) fn find(&mut self, cx: &Context<'_>, find: Find, backwards: bool) -> Vec<Effect> {
        if find == Find::Search && self.search.is_empty() {
            return vec![Notice::info("nothing to search for yet: `/` starts a search")];
        }
        if matches!(self.reading, Reading::Following) && !backwards {
            let key = if find == Find::Search { "N" } else { "E" };
            return vec![Notice::info(format!("nothing is newer than the newest record: `{key}` looks back"))];
        }
        if matches!(self.feed.page.want, Some(Want::Jump)) {
            self.queued = Some((find, backwards));
            return Vec::new();
        }
        let from = match self.reading {
            Reading::Following => None,
            Reading::Paused(_) => self.current_spot().map(|it| it.position),
        };
        self.jump(cx, Anchor::Find { from, backwards, find })
    }

    /// Asks for the rows of another place; the screen goes there when they come.
    pub(super) fn jump(&mut self, cx: &Context<'_>, anchor: Anchor) -> Vec<Effect> {
        self.sought = Some(Sought { anchor: anchor.clone(), near: NEAR_TIME });
        vec![self.feed.ask_page(&self.ask(cx), anchor, Want::Jump)]
    }

    pub(super) fn jump_to_time(&mut self, cx: &Context<'_>, at: Timestamp) -> Vec<Effect> {
        self.jump(cx, Anchor::Time(at))
    }

    /// As [`Self::jump_to_time`], into a span of time: any record in it is one that was meant.
    pub(super) fn jump_into(&mut self, cx: &Context<'_>, at: Timestamp, length: SignedDuration) -> Vec<Effect> {
        let effects = self.jump_to_time(cx, at);
        if let Some(sought) = &mut self.sought {
            sought.near = length;
        }
        effects
    }

    pub(super) fn jump_back(&mut self, cx: &Context<'_>, seconds: i64) -> Vec<Effect> {
        match cx.now.checked_sub(SignedDuration::from_secs(seconds)) {
            Ok(at) => self.jump_to_time(cx, at),
            Err(_) => Vec::new(),
        }
    }

    pub(super) fn set_mark(&mut self, letter: char) -> Vec<Effect> {
        let Some(spot) = self.current_spot() else { return Vec::new() };
        self.marks.insert(letter, spot.position);
        vec![Notice::info(format!("marked: `'{letter}` comes back here"))]
    }

    pub(super) fn jump_to_mark(&mut self, cx: &Context<'_>, letter: char) -> Vec<Effect> {
        match self.marks.get(&letter).cloned() {
            Some(position) => self.jump(cx, Anchor::At(position)),
            None if self.marks.is_empty() => vec![Notice::warn("no marks yet: `m` and a letter sets one")],
            None => {
                let letters: Vec<String> = self.marks.keys().map(char::to_string).collect();
                vec![Notice::warn(format!("no mark `{letter}`; there are: {}", letters.join(" ")))]
            }
        }
    }

    /// Goes to where the reader was before the last jump.
    pub(super) fn jump_home(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        match self.jumped_from.clone() {
            Some(spot) => self.jump(cx, Anchor::At(spot.position)),
            None => vec![Notice::warn("no jump to go back from")],
        }
    }

    /// Copies the current record and those around it into the incident.
    ///
    /// What stands around it is evidence as well, so it comes from the whole log and not from what a filter left.
    pub(super) fn pin(&mut self, cx: &Context<'_>, comment: &str) -> Vec<Effect> {
        let rows = &self.rows().rows;
        let Some(at) = self.current().filter(|at| matches!(rows[*at], Row::Record(_))) else {
            return vec![Notice::warn("no record to pin here")];
        };
        let records = match self.selected_rows() {
            Some(range) => with_neighbours(cx, rows, range),
            None => with_neighbours(cx, rows, at..at + 1),
        };
        let host = match &rows[at] {
            Row::Record(record) => host_of(cx, &record.position.source),
            Row::Gap(_) | Row::Break => None,
        };
        if self.selection.take().is_some() {
            // What a filter left around them did not really stand there.
            let is_filtered = !self.ask(cx).query.is_empty();
            let records = records.into_iter().filter(|it| it.chosen || !is_filtered).collect();
            return vec![pin_request(comment.trim().to_string(), records, host)];
        }
        let rows = &self.rows().rows;
        let comment = comment.trim().to_string();
        if self.ask(cx).query.is_empty() {
            return vec![pin_request(comment, records, host)];
        }
        let Some(spot) = Spot::of(&rows[at]) else { return Vec::new() };
        if self.pinning.len() >= PINNING_MAX {
            return vec![pin_request(comment, records, host)];
        }
        self.pinning.push_back(Pinning { comment, spot, records });
        if self.pinning.len() == 1 { self.ask_neighbours() } else { Vec::new() }
    }

    /// Asks for the surroundings of the record whose pin waits longest.
    pub(super) fn ask_neighbours(&mut self) -> Vec<Effect> {
        let Some(pinning) = self.pinning.front() else { return Vec::new() };
        vec![self.feed.ask_neighbours(&pinning.spot.position, PIN_CONTEXT as u32)]
    }

    /// Pins the record that waits longest with what stands around it in the whole log.
    pub(super) fn neighbours_came(&mut self, cx: &Context<'_>, rows: &[Row]) -> Vec<Effect> {
        let Some(pinning) = self.pinning.pop_front() else { return Vec::new() };
        // A record that is gone meanwhile is pinned as it stood on the screen.
        let found = rows.iter().position(|row| pinning.spot.is(row));
        let records = found.map_or(pinning.records, |at| with_neighbours(cx, rows, at..at + 1));
        let host = host_of(cx, &pinning.spot.position.source);
        let mut effects = vec![pin_request(pinning.comment, records, host)];
        effects.extend(self.ask_neighbours());
        effects
    }
}

fn pin_request(comment: String, records: Vec<PinnedRecord>, host: Option<HostId>) -> Effect {
    Effect::Request(Request::Pin(PinRequest { incident: None, host, comment, records }))
}

/// Of several hosts the one that a source is on.
fn host_of(cx: &Context<'_>, source: &SourceId) -> Option<HostId> {
    cx.board.is_of_several().then(|| HostId::new(source.host()))
}

/// The records of some rows and the nearest ones on both sides of them.
fn with_neighbours(cx: &Context<'_>, rows: &[Row], chosen: Range<usize>) -> Vec<PinnedRecord> {
    // Context ends where rows that stand together do not belong together.
    let joined = |row: &&Row| !matches!(row, Row::Break);
    let record = |row: &Row, chosen: bool| match row {
        Row::Record(record) => Some(pinned(cx, record, chosen)),
        Row::Gap(_) | Row::Break => None,
    };
    let before = rows[..chosen.start].iter().rev().take_while(joined).filter_map(|row| record(row, false));
    let mut records: Vec<_> = before.take(PIN_CONTEXT).collect();
    records.reverse();
    records.extend(rows[chosen.clone()].iter().filter_map(|row| record(row, true)));
    let after = rows[chosen.end..].iter().take_while(joined).filter_map(|row| record(row, false));
    records.extend(after.take(PIN_CONTEXT));
    records
}

fn pinned(cx: &Context<'_>, record: &Record, chosen: bool) -> PinnedRecord {
    PinnedRecord {
        source: super::words::source_name(cx.board, &record.position.source).to_string(),
        time: record.position.time,
        level: record.level,
        cursor: record.position.cursor.clone(),
        text: original(record).join("\n"),
        chosen,
    }
}
