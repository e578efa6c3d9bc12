//! Following, pausing and moving: where the reader is, and which rows must be loaded before they are needed.

use jiff::{SignedDuration, Timestamp};

use crate::app::effect::{Effect, Notice};
use crate::domain::log::{Anchor, Find, Row};
use crate::domain::query::matcher::Pattern;
use crate::panes::Context;
use crate::panes::logs::actions::Sought;
use crate::panes::logs::feed::{Rows, Spot, Want};
use crate::panes::logs::layout::{self, Arranged, Layout};
use crate::panes::logs::{LogsPane, Look, SCROLL_COLUMNS};

/// Where the reader is.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Reading {
    /// At the newest records, wherever they come to stand.
    #[default]
    Following,
    /// At a place of the page.
    Paused(Place),
}

/// A place of the page.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Place {
    /// The selected row; `None` while no row passes the query.
    pub spot: Option<Spot>,
    /// Screen line of its first line; negative when that is scrolled out of a tall record.
    pub offset: i32,
    /// The row that the reader chose. It outlives a query that hides it, so that removing the query returns.
    pub home: Option<Spot>,
}

/// The key that looks the other way, where a search found nothing.
fn other_way(sought: &Anchor) -> Option<&'static str> {
    let Anchor::Find { backwards, find, .. } = sought else { return None };
    Some(match (find, backwards) {
        (Find::Search, false) => ": `N` looks back",
        (Find::Search, true) => ": `n` looks ahead",
        (Find::LevelAtLeast(_), false) => ": `E` looks back",
        (Find::LevelAtLeast(_), true) => ": `e` looks ahead",
    })
}

impl LogsPane {
    /// The rows on the screen.
    pub(super) fn rows(&self) -> &Rows {
        match self.reading {
            Reading::Following => &self.feed.tail.rows,
            Reading::Paused(_) => &self.feed.page.rows,
        }
    }

    /// Index of the row that commands act on: the selected one, or the newest while following.
    pub(super) fn current(&self) -> Option<usize> {
        let rows = self.rows();
        match &self.reading {
            Reading::Following => rows.rows.iter().rposition(|row| Spot::of(row).is_some()),
            Reading::Paused(place) => place.spot.as_ref().and_then(|it| rows.find(it)),
        }
    }

    /// The place of the current row.
    pub(super) fn current_spot(&self) -> Option<Spot> {
        self.current().and_then(|at| Spot::of(&self.rows().rows[at]))
    }

    /// Rows of the body that show records: an open input takes the lowest, histogram and column names the first.
    pub(super) fn body_height(&self, cx: &Context<'_>) -> u16 {
        cx.height.saturating_sub(self.prompt_height() + self.rows_above(cx)).max(1)
    }

    /// Rows of the body above the records.
    pub(super) fn rows_above(&self, cx: &Context<'_>) -> u16 {
        self.histogram_height(cx) + self.fields.height(cx)
    }

    /// How rows are laid out now.
    pub(super) fn layout(&self, cx: &Context<'_>) -> Layout<'_> {
        Layout {
            width: cx.width,
            wrap: self.look.wrap,
            raw: self.look.raw,
            time: super::view::time_cells(self, cx),
            source: super::view::source_cells(self, cx),
            fields: self.fields.columns(cx),
            unfold: self.look.unfold,
        }
    }

    /// Which row stands where.
    pub(super) fn arranged(&self, cx: &Context<'_>) -> Arranged {
        let height = usize::from(self.body_height(cx));
        let rows = &self.rows().rows;
        let layout = self.layout(cx);
        let height_of = |at: usize| layout.height(&rows[at], self.is_expanded(&rows[at]));
        match &self.reading {
            Reading::Following => {
                let last = rows.len().saturating_sub(1);
                let own = rows.last().map_or(1, |_| height_of(last));
                layout::arrange(rows.len(), height_of, last, height as i32 - own as i32, height)
            }
            Reading::Paused(place) => {
                layout::arrange(rows.len(), height_of, self.current().unwrap_or_default(), place.offset, height)
            }
        }
    }

    /// True when all lines of the row's record are shown.
    pub(super) fn is_expanded(&self, row: &Row) -> bool {
        self.expanded.iter().any(|it| it.is(row))
    }

    fn height_of(&self, cx: &Context<'_>, at: usize) -> i32 {
        let row = &self.rows().rows[at];
        self.layout(cx).height(row, self.is_expanded(row)) as i32
    }

    /// Starts reading at the newest rows, as they stand on the screen.
    pub(super) fn pause(&mut self, cx: &Context<'_>) {
        if matches!(self.reading, Reading::Paused(_)) {
            return;
        }
        let spot = self.current_spot();
        let offset = self.arranged(cx).offset;
        self.feed.freeze();
        self.reading = Reading::Paused(Place { home: spot.clone(), spot, offset });
        self.settle(cx);
    }

    /// Goes to the newest rows and stays there.
    pub(super) fn follow(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        if matches!(self.reading, Reading::Paused(_)) {
            self.jumped_from = self.current_spot();
        }
        self.resume();
        self.start(cx)
    }

    pub(super) fn resume(&mut self) {
        self.scroll_back_from_hit();
        self.reading = Reading::Following;
        self.queued = None;
        self.feed.drop_page_request();
        self.feed.page.rows = Rows::default();
        (self.feed.new, self.feed.new_more) = (0, false);
    }

    pub(super) fn toggle_follow(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        match self.reading {
            Reading::Following => {
                self.pause(cx);
                Vec::new()
            }
            Reading::Paused(_) => self.follow(cx),
        }
    }

    /// Selects another row of those loaded and keeps it on the screen line given.
    pub(super) fn select(&mut self, cx: &Context<'_>, at: usize, offset: i32) {
        let spot = self.rows().rows.get(at).and_then(Spot::of);
        self.reading = Reading::Paused(Place { home: spot.clone(), spot, offset });
        self.settle(cx);
    }

    /// Goes one row down or up; inside a record that is taller than the body, one line.
    pub(super) fn step(&mut self, cx: &Context<'_>, direction: i32) -> Vec<Effect> {
        if direction > 0 && matches!(self.reading, Reading::Following) {
            return Vec::new();
        }
        self.pause(cx);
        let (Some(at), Reading::Paused(place)) = (self.current(), &self.reading) else { return Vec::new() };
        let (offset, own, height) = (place.offset, self.height_of(cx, at), i32::from(self.body_height(cx)));
        if direction < 0 && offset < 0 {
            self.select(cx, at, offset + 1);
            return Vec::new();
        }
        if direction > 0 && own > height && offset + own > height {
            self.select(cx, at, offset - 1);
            return Vec::new();
        }
        let Some(next) = self.neighbour(at, direction) else {
            return if direction > 0 { self.past_the_end(cx) } else { Vec::new() };
        };
        let offset = if direction > 0 {
            offset + (at..next).map(|row| self.height_of(cx, row)).sum::<i32>()
        } else {
            offset - (next..at).map(|row| self.height_of(cx, row)).sum::<i32>()
        };
        self.select(cx, next, self.revealed(cx, next, offset));
        Vec::new()
    }

    /// Goes down or up by screen lines; the selection keeps its place on the screen.
    pub(super) fn travel(&mut self, cx: &Context<'_>, lines: i32) -> Vec<Effect> {
        if lines > 0 && matches!(self.reading, Reading::Following) {
            return Vec::new();
        }
        self.pause(cx);
        let (Some(start), Reading::Paused(place)) = (self.current(), &self.reading) else { return Vec::new() };
        let (offset, direction) = (place.offset, lines.signum());
        let (mut at, mut left) = (start, lines.abs());
        while left > 0 {
            let Some(next) = self.neighbour(at, direction) else { break };
            let (low, high) = if direction > 0 { (at, next) } else { (next, at) };
            left -= (low..high).map(|row| self.height_of(cx, row)).sum::<i32>();
            at = next;
        }
        if at == start && direction > 0 && offset + self.height_of(cx, at) <= i32::from(self.body_height(cx)) {
            return self.past_the_end(cx);
        }
        if at == start {
            // One tall record fills the screen: travel inside it.
            self.select(cx, at, offset - lines);
        } else {
            self.select(cx, at, self.revealed(cx, at, offset));
        }
        Vec::new()
    }

    /// Scrolls by screen lines; the selection moves only when it would leave the screen (the wheel).
    pub(super) fn scroll(&mut self, cx: &Context<'_>, lines: i32) -> Vec<Effect> {
        if lines > 0 && matches!(self.reading, Reading::Following) {
            return Vec::new();
        }
        self.pause(cx);
        let before = self.arranged(cx);
        let (Some(mut at), Reading::Paused(place)) = (self.current(), &self.reading) else { return Vec::new() };
        let height = i32::from(self.body_height(cx));
        let mut offset = place.offset - lines;
        while offset < 0 && offset + self.height_of(cx, at) <= 0 {
            let Some(next) = self.neighbour(at, 1) else { break };
            offset += (at..next).map(|row| self.height_of(cx, row)).sum::<i32>();
            at = next;
        }
        while offset >= height {
            let Some(next) = self.neighbour(at, -1) else { break };
            offset -= (next..at).map(|row| self.height_of(cx, row)).sum::<i32>();
            at = next;
        }
        self.select(cx, at, offset);
        let after = self.arranged(cx);
        if lines > 0 && (after.first, after.skip) == (before.first, before.skip) {
            return self.past_the_end(cx);
        }
        Vec::new()
    }

    /// Going down at the newest record follows it again.
    fn past_the_end(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let rows = self.rows();
        if rows.loaded && rows.at_tail && self.feed.page.want.is_none() { self.follow(cx) } else { Vec::new() }
    }

    /// The next row that can be selected.
    fn neighbour(&self, at: usize, direction: i32) -> Option<usize> {
        let rows = &self.rows().rows;
        let selectable = |at: &usize| Spot::of(&rows[*at]).is_some();
        if direction > 0 { (at + 1..rows.len()).find(selectable) } else { (0..at).rev().find(selectable) }
    }

    /// The offset nearest to the one given at which the row is on the screen.
    fn revealed(&self, cx: &Context<'_>, at: usize, offset: i32) -> i32 {
        let (height, own) = (i32::from(self.body_height(cx)), self.height_of(cx, at));
        if own >= height {
            // Coming from below one sees its end first, from above its beginning.
            return if offset < 0 { height - own } else { 0 };
        }
        offset.clamp(0, height - own)
    }

    /// Brings the current row onto the screen as a whole, as far as it fits.
    pub(super) fn reveal_current(&mut self, cx: &Context<'_>) {
        if let (Some(at), Reading::Paused(place)) = (self.current(), &self.reading) {
            let height = i32::from(self.body_height(cx));
            let offset = place.offset.min(height - self.height_of(cx, at)).max(0);
            self.select(cx, at, offset);
        }
    }

    /// Brings the offset into what the loaded rows allow.
    pub(super) fn settle(&mut self, cx: &Context<'_>) {
        let arranged = self.arranged(cx);
        let has_rows = !self.rows().rows.is_empty();
        if let Reading::Paused(place) = &mut self.reading
            && has_rows
        {
            place.offset = arranged.offset;
        }
    }

    /// Selects the row at a screen line (a click).
    pub(super) fn select_line(&mut self, cx: &Context<'_>, line: u16) {
        if line >= self.body_height(cx) {
            return;
        }
        let arranged = self.arranged(cx);
        let mut top = -(arranged.skip as i32);
        for at in arranged.first..self.rows().rows.len() {
            let next = top + self.height_of(cx, at);
            if next > i32::from(line) {
                if Spot::of(&self.rows().rows[at]).is_some() {
                    self.pause(cx);
                    self.select(cx, at, top);
                }
                return;
            }
            top = next;
        }
    }

    pub(super) fn oldest(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        if self.rows().at_head && !self.rows().rows.is_empty() {
            self.jumped_from = self.current_spot();
            self.pause(cx);
            self.feed.drop_page_request();
            let first = self.rows().rows.iter().position(|row| Spot::of(row).is_some());
            self.select(cx, first.unwrap_or_default(), 0);
            return Vec::new();
        }
        self.jump(cx, Anchor::Head)
    }

    /// Asks for more rows before the reader runs out of them; one request is out at a time.
    pub(super) fn prefetch(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let Reading::Paused(place) = &self.reading else { return Vec::new() };
        let Some(spot) = place.spot.clone() else { return Vec::new() };
        let rows = self.rows();
        if self.feed.page.want.is_some() || !rows.loaded {
            return Vec::new();
        }
        // Two screens ahead on both sides: at PgDn's repeat rate that is more time than an answer takes.
        let margin = usize::from(cx.height.max(1)) * 2;
        let first = self.arranged(cx).first;
        let below = rows.rows.len() - (first + usize::from(cx.height)).min(rows.rows.len());
        let needs = (first < margin && !rows.at_head) || (below < margin && !rows.at_tail);
        // An answer that held nothing further than what is loaded must not be asked for again and again.
        if !needs || self.exhausted == Some((spot.clone(), rows.rows.len())) {
            return Vec::new();
        }
        self.exhausted = Some((spot.clone(), rows.rows.len()));
        vec![self.feed.ask_page(&self.ask(cx), Anchor::At(spot.position), Want::Around { again: false })]
    }

    /// Takes rows of the page in.
    pub(super) fn arrived(
        &mut self,
        cx: &Context<'_>,
        want: Want,
        rows: Rows,
        anchor_row: Option<usize>,
        missing: Option<String>,
    ) -> Vec<Effect> {
        if want == Want::Jump {
            return self.landed(cx, rows, anchor_row, missing);
        }
        let Reading::Paused(place) = &self.reading else { return Vec::new() };
        let place = place.clone();
        let kept = place.spot.as_ref().and_then(|it| rows.find(it));
        let anchored = anchor_row.filter(|at| rows.rows.get(*at).is_some_and(|row| Spot::of(row).is_some()));
        let nearest = anchored.or_else(|| rows.rows.iter().rposition(|row| Spot::of(row).is_some()));
        match want {
            Want::Around { again } => {
                if kept.is_none()
                    && !again
                    && let Some(spot) = &place.spot
                {
                    // The reader went on while these rows were on their way, past all of them.
                    let anchor = Anchor::At(spot.position.clone());
                    return vec![self.feed.ask_page(&self.ask(cx), anchor, Want::Around { again: true })];
                }
                self.feed.page.rows = rows;
                match (kept, nearest) {
                    (Some(_), _) => self.settle(cx),
                    (None, Some(at)) => self.select(cx, at, place.offset),
                    (None, None) => {}
                }
                Vec::new()
            }
            Want::Tail | Want::Requery | Want::Jump => {
                self.feed.page.rows = rows;
                let home = place.home.as_ref().and_then(|it| self.feed.page.rows.find(it));
                let at = home.or(nearest);
                let spot = at.and_then(|at| Spot::of(&self.feed.page.rows.rows[at]));
                self.reading = Reading::Paused(Place { spot, ..place });
                self.settle(cx);
                Vec::new()
            }
        }
    }

    /// Goes where a jump led, or says why it led nowhere.
    fn landed(
        &mut self,
        cx: &Context<'_>,
        rows: Rows,
        anchor_row: Option<usize>,
        missing: Option<String>,
    ) -> Vec<Effect> {
        let sought = self.sought.take();
        let target = anchor_row.or_else(|| rows.rows.iter().position(|row| Spot::of(row).is_some()));
        let target = target.and_then(|at| Some((at, Spot::of(rows.rows.get(at)?)?)));
        let Some((at, spot)) = target.filter(|_| missing.is_none()) else {
            self.queued = None;
            let other = sought.as_ref().and_then(|it| other_way(&it.anchor)).unwrap_or_default();
            let missing = missing.unwrap_or_else(|| "no such record".to_string());
            return vec![Notice::warn(format!("{missing}{other}"))];
        };
        self.jumped_from = self.current_spot();
        self.pause(cx);
        // A target that is on the screen already is selected where it stands; another comes to the upper
        // third, where what followed it can be read.
        let height = i32::from(self.body_height(cx));
        let offset = self.line_of(cx, &spot).filter(|it| (0..height).contains(it)).unwrap_or(height / 3);
        self.feed.page.rows = rows;
        self.select(cx, at, offset);
        if matches!(sought, Some(Sought { anchor: Anchor::Find { find: Find::Search, .. }, .. })) {
            self.show_hit(cx);
        }
        let mut effects = self.inspect_again(cx);
        if let Some(Sought { anchor: Anchor::Time(at), near }) = sought {
            effects.extend(self.missed_time(cx, at, near).map(Notice::info));
        }
        if let Some((find, backwards)) = self.queued.take() {
            effects.extend(self.find(cx, find, backwards));
        }
        effects
    }

    /// What to say when a jump to a time led to a record of another time.
    fn missed_time(&self, cx: &Context<'_>, at: Timestamp, near: SignedDuration) -> Option<String> {
        let found = self.current_record()?.position.time?;
        let passing = if self.ask(cx).query.is_empty() { "no record" } else { "no match" };
        // To the second, and to the day where that is another one.
        let words = |it: Timestamp| {
            let day = it.to_zoned(cx.zone.clone()).date() != cx.now.to_zoned(cx.zone.clone()).date();
            it.to_zoned(cx.zone.clone()).strftime(if day { "%Y-%m-%d %H:%M:%S" } else { "%H:%M:%S" }).to_string()
        };
        if found < at {
            return Some(format!("{passing} at {} or later: this one, the newest, is of {}", words(at), words(found)));
        }
        let is_far = found.duration_since(at) > near;
        is_far.then(|| format!("{passing} at {}: the next one is of {}", words(at), words(found)))
    }

    /// Scrolls to where the current record's first line holds the hit of the search, when that is cut off.
    fn show_hit(&mut self, cx: &Context<'_>) {
        let pattern = Pattern::regex(&self.search).ok().filter(|_| !self.look.wrap);
        let (Some(pattern), Some(record)) = (pattern, self.current_record()) else { return };
        let Some(text) = record.lines.first() else { return };
        let Some(hit) = pattern.find_at(text.as_bytes(), 0) else { return };
        let layout = self.layout(cx);
        let before: usize = layout
            .shown(record, 0)
            .iter()
            .map(|it| layout::cells(layout::slice(text, &(it.start..it.end.min(hit.start).max(it.start)))))
            .sum();
        let end = before + layout::cells(layout::slice(text, &hit));
        // A mark of what is cut takes a cell at each end, the number of folded lines some more.
        let note = layout::folded_note(record, layout.room()).map_or(0, |it| layout::cells(&it));
        let room = layout.room().saturating_sub(note).max(2);
        let is_seen = |scrolled: usize| before >= scrolled + usize::from(scrolled > 0) && end < scrolled + room;
        if is_seen(self.look.scrolled) {
            return;
        }
        self.look.scrolled = if is_seen(0) { 0 } else { before.saturating_sub(room / 3) };
        self.look.scrolled_to_hit = self.look.scrolled > 0;
    }

    /// Shows the beginnings of the lines again, when a search has scrolled away from them.
    pub(super) fn scroll_back_from_hit(&mut self) {
        if std::mem::take(&mut self.look.scrolled_to_hit) {
            self.look.scrolled = 0;
        }
    }

    /// The screen line at which a loaded row begins, when that is not above the screen.
    fn line_of(&self, cx: &Context<'_>, spot: &Spot) -> Option<i32> {
        let (at, arranged) = (self.rows().find(spot)?, self.arranged(cx));
        let above: i32 = (arranged.first..at).map(|row| self.height_of(cx, row)).sum();
        (at >= arranged.first).then_some(above - arranged.skip as i32)
    }

    /// Changes how rows are shown; the selected one keeps its place.
    pub(super) fn look(&mut self, cx: &Context<'_>, change: impl FnOnce(&mut Look)) -> Vec<Effect> {
        change(&mut self.look);
        self.settle(cx);
        Vec::new()
    }

    /// Scrolls right, no further than the longest visible line.
    pub(super) fn scroll_right(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let (layout, arranged) = (self.layout(cx), self.arranged(cx));
        let visible = self.rows().rows.iter().skip(arranged.first).take(usize::from(cx.height));
        let longest = visible.filter_map(|row| match row {
            Row::Record(record) => record.lines.iter().map(|line| layout::cells(line)).max(),
            _ => None,
        });
        let longest = longest.max().unwrap_or_default();
        if !self.look.wrap && self.look.scrolled + layout.room() < longest {
            self.look.scrolled += SCROLL_COLUMNS;
        }
        Vec::new()
    }
}
