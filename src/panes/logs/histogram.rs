//! The histogram row: what is shown of it, its cursor, the range that is chosen with it.
//!
//! Counts come with the windows of the tail, under a flood thirty times a second. What is drawn changes at most
//! once a second, so that the row costs the terminal little; between changes the pane asks to be woken once.

use std::ops::Range;

use jiff::{SignedDuration, Timestamp};

use crate::app::effect::{Effect, Notice};
use crate::domain::log::{Histogram, HistogramRequest, Row};
use crate::domain::query::{self, ChipKind, time};
use crate::panes::Context;
use crate::panes::logs::bars::{self, Grid, Marks};
use crate::panes::logs::{LogsCommand, LogsPane};

/// Rows of the body from which on the histogram is there by itself, with one row, with two, with three.
const ROWS_FROM: [u16; 3] = [12, 18, 28];
/// Rows of the body below which it is never there.
const ROWS_LEAST: u16 = 5;
/// Between two pictures of a histogram that grows.
const PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// Between two pictures while the logs are still being counted.
const SCAN_PAUSE: SignedDuration = SignedDuration::from_millis(250);
/// By how much one step zooms.
const ZOOM: i64 = 4;
/// The shortest range in seconds: a bucket is never shorter than a second.
const RANGE_LEAST: i64 = 10;
/// Buckets that PgUp and PgDn go.
const LEAP: i64 = 10;

/// Whether the row is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Visibility {
    /// Where there is room for it.
    #[default]
    Auto,
    Shown,
    Hidden,
}

/// The cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    /// A time in its bucket: buckets are divided anew while it stands. `None`: none was there yet.
    at: Option<Timestamp>,
    /// A time in the bucket where a range begins.
    anchor: Option<Timestamp>,
}

/// What the pane knows of its histogram.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    shown: Option<Histogram>,
    // Came after the one that is shown, and waits.
    latest: Option<Histogram>,
    shown_at: Option<Timestamp>,
    // Another query or range was asked for: its first answer need not wait.
    stale: bool,
    visibility: Visibility,
    /// The range that is zoomed into; `None` is all there is.
    range: Option<(Timestamp, Timestamp)>,
    /// All there is, as of the first zoom.
    whole: Option<(Timestamp, Timestamp)>,
    cursor: Option<Cursor>,
}

impl Timeline {
    /// The keys are the histogram's.
    pub fn is_entered(&self) -> bool {
        self.cursor.is_some()
    }

    /// What is drawn.
    pub fn shown(&self) -> Option<&Histogram> {
        self.shown.as_ref()
    }

    /// The next answer is one to another question.
    pub fn expect_another(&mut self) {
        self.stale = true;
        self.latest = None;
    }

    fn offer(&mut self, histogram: Histogram, now: Timestamp) {
        self.latest = Some(histogram).filter(|it| self.shown.as_ref() != Some(it));
        if self.stale && self.latest.is_some() {
            self.take_latest(now);
        }
        self.stale = false;
        self.refresh(now);
    }

    fn refresh(&mut self, now: Timestamp) {
        if self.due().is_some_and(|it| it <= now) {
            self.take_latest(now);
        }
    }

    fn take_latest(&mut self, now: Timestamp) {
        if let Some(latest) = self.latest.take() {
            self.shown = Some(latest);
            self.shown_at = Some(now);
        }
    }

    /// When the picture may change to what has come meanwhile.
    fn due(&self) -> Option<Timestamp> {
        let latest = self.latest.as_ref()?;
        let shown = self.shown.as_ref().filter(|it| !it.buckets.is_empty());
        let (Some(shown), Some(at)) = (shown, self.shown_at) else { return Some(Timestamp::MIN) };
        let pause = if shown.complete && latest.complete { PAUSE } else { SCAN_PAUSE };
        at.checked_add(pause).ok()
    }

    /// The bucket of the cursor.
    fn bucket(&self) -> Option<usize> {
        let (shown, cursor) = (self.shown.as_ref()?, self.cursor?);
        let last = shown.buckets.len().checked_sub(1)?;
        Some(cursor.at.and_then(|at| bars::bucket_of(shown, at)).unwrap_or(last))
    }

    /// The buckets between the cursor and where the range begins.
    fn chosen(&self) -> Option<Range<usize>> {
        let at = self.bucket()?;
        let anchor = bars::bucket_of(self.shown.as_ref()?, self.cursor?.anchor?)?;
        Some(at.min(anchor)..at.max(anchor) + 1)
    }

    fn place(&mut self, bucket: usize) {
        let at = self.shown.as_ref().map(|it| bars::start_of(it, bucket));
        if let Some(cursor) = &mut self.cursor {
            cursor.at = at;
        }
    }

    fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let shown = self.shown.as_ref()?;
        Some((bars::start_of(shown, 0), bars::start_of(shown, shown.buckets.len())))
    }

    /// Shows what is known of a range until its own counts come.
    fn crop(&mut self, from: Timestamp, until: Timestamp) {
        let Some(shown) = &mut self.shown else { return };
        let (Some(first), Some(last)) = (bars::bucket_of(shown, from), bars::bucket_of(shown, until)) else { return };
        shown.from = bars::start_of(shown, first);
        shown.buckets.truncate(last + 1);
        shown.buckets.drain(..first.min(last));
    }
}

impl LogsPane {
    /// Rows that the histogram takes from the body.
    pub(super) fn histogram_height(&self, cx: &Context<'_>) -> u16 {
        let room = ROWS_FROM.iter().filter(|it| cx.height >= **it).count() as u16;
        let rows = match self.timeline.visibility {
            Visibility::Auto => room,
            Visibility::Shown => room.max(1),
            Visibility::Hidden => 0,
        };
        // Logs without any time have nothing to draw. A filter that leaves nothing must not make the rows jump.
        let is_filtered = self.detour.is_none() && self.chips.active() > 0;
        // Without a source nothing is ever counted to its end, and what there is of a grid begins nowhere.
        let is_empty = |it: &Histogram| match cx.board.logs.sources.is_empty() {
            true => it.buckets.iter().all(|it| it.total() == 0),
            false => it.buckets.is_empty() && it.complete,
        };
        let is_empty = self.timeline.shown.as_ref().is_some_and(is_empty);
        let is_blank = is_empty && !is_filtered;
        if cx.height < ROWS_LEAST || (is_blank && !self.timeline.is_entered()) { 0 } else { rows }
    }

    /// What is to be counted by time; nothing while the row is not there.
    pub(super) fn histogram_request(&self, cx: &Context<'_>) -> Option<HistogramRequest> {
        let room = cx.height >= ROWS_LEAST
            && match self.timeline.visibility {
                Visibility::Auto => cx.height >= ROWS_FROM[0],
                Visibility::Shown => true,
                Visibility::Hidden => false,
            };
        let (from, until) = match self.timeline.range {
            Some((from, until)) => (Some(from), Some(until)),
            None => self.chip_range(cx),
        };
        room.then(|| HistogramRequest { from, until, buckets: bars::columns(cx.width) })
    }

    /// The range that chips leave: outside of it there is nothing to count.
    fn chip_range(&self, cx: &Context<'_>) -> (Option<Timestamp>, Option<Timestamp>) {
        if self.detour.is_some() {
            return (None, None);
        }
        let later = cx.now.checked_add(SignedDuration::from_secs(1)).unwrap_or(cx.now);
        // What moves with the clock is asked for anew once a minute, not with every key.
        let steady = |kind: &ChipKind, rounded_s: i64| {
            let resolved = |now| query::moment(self.chips.all(), kind, now, cx.zone)?.ok();
            let at = resolved(cx.now)?;
            let moves = resolved(later) != Some(at);
            let whole = Timestamp::from_second(at.as_second().div_euclid(60) * 60 + rounded_s).ok()?;
            Some(if moves { whole } else { at })
        };
        let mut range = (None, None);
        for chip in self.chips.all().iter().filter(|it| it.enabled && !it.out) {
            match &chip.kind {
                kind @ ChipKind::Since(_) => range.0 = range.0.max(steady(kind, 0)),
                kind @ ChipKind::Until(_) => {
                    let at = steady(kind, 60);
                    range.1 = range.1.map_or(at, |it: Timestamp| at.map(|at| at.min(it)).or(Some(it)));
                }
                _ => {}
            }
        }
        range
    }

    /// Asks for other counts when the row has another width or range than those that were asked for.
    pub(super) fn keep_histogram(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        if self.feed.tail.want.is_some() && !self.feed.tail.rows.loaded {
            return Vec::new();
        }
        let wanted = self.histogram_request(cx);
        if wanted == self.feed.histogram_asked {
            return Vec::new();
        }
        self.timeline.expect_another();
        let ask = self.ask(cx);
        vec![self.feed.ask_tail_again(&ask)]
    }

    /// Takes in the counts that came with a window.
    pub(super) fn take_histogram(&mut self, cx: &Context<'_>) {
        let height = self.histogram_height(cx);
        if let Some(histogram) = self.feed.histogram.take() {
            self.timeline.offer(histogram, cx.now);
        }
        if self.histogram_height(cx) != height {
            self.settle(cx);
        }
    }

    /// When the picture of the histogram changes though nothing happens.
    pub(super) fn histogram_wake(&self, cx: &Context<'_>) -> Option<Timestamp> {
        self.timeline.due().filter(|_| self.histogram_height(cx) > 0)
    }

    pub(super) fn histogram_woken(&mut self, cx: &Context<'_>) {
        self.timeline.refresh(cx.now);
    }

    /// What stands out in the histogram now.
    pub(super) fn histogram_marks(&self, cx: &Context<'_>) -> Marks {
        let first = self.arranged(cx).first;
        let rows = self.rows().rows.iter().skip(first).take(usize::from(self.body_height(cx)));
        let times = rows.filter_map(|row| match row {
            Row::Record(record) => record.position.time,
            Row::Gap(_) | Row::Break => None,
        });
        let window = times.fold(None, |range: Option<(Timestamp, Timestamp)>, it| {
            Some(range.map_or((it, it), |(first, last)| (first.min(it), last.max(it))))
        });
        // What lies outside of the range has no place in it.
        let window = window
            .filter(|(first, last)| self.timeline.span().is_some_and(|(from, until)| *last >= from && *first < until));
        Marks { window, cursor: self.timeline.bucket(), chosen: self.timeline.chosen() }
    }

    /// What the cursor stands on, in words.
    pub(super) fn histogram_words(&self, cx: &Context<'_>, theme: &crate::theme::Theme) -> Option<String> {
        if !self.timeline.is_entered() {
            return None;
        }
        let shown = self.timeline.shown.as_ref();
        let Some((shown, at)) = shown.zip(self.timeline.bucket()) else {
            let is_done = shown.is_some_and(|it| it.complete);
            return Some(if is_done { "no record has a time" } else { "counting" }.to_string());
        };
        let chosen = self.timeline.chosen().unwrap_or(at..at + 1);
        let words = bars::words(shown, &chosen, (cx.now, cx.zone), theme);
        let spike = self.timeline.chosen().is_none() && bars::spikes(&shown.buckets).get(at) == Some(&true);
        Some(if spike { format!("! {words}") } else { words })
    }

    /// Shows the histogram where it is hidden, and the reverse.
    pub(super) fn toggle_histogram(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        if cx.height < ROWS_LEAST {
            return vec![Notice::info("the pane is too low for a histogram: `z` gives it the whole screen")];
        }
        let is_there = self.histogram_height(cx) > 0;
        self.leave_histogram();
        self.timeline.visibility = if is_there { Visibility::Hidden } else { Visibility::Shown };
        self.settle(cx);
        Vec::new()
    }

    /// Gives the histogram the keys.
    fn enter_histogram(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        if cx.height < ROWS_LEAST {
            return vec![Notice::info("the pane is too low for a histogram: `z` gives it the whole screen")];
        }
        self.chips.deselect();
        if self.histogram_height(cx) == 0 {
            self.timeline.visibility = Visibility::Shown;
        }
        let at = self.current_spot().and_then(|it| it.position.time);
        self.timeline.cursor = Some(Cursor { at, anchor: None });
        self.settle(cx);
        Vec::new()
    }

    /// Gives the keys back to the rows; the whole range is shown again.
    pub(super) fn leave_histogram(&mut self) {
        self.timeline.cursor = None;
        self.timeline.range = None;
        self.timeline.whole = None;
    }

    /// Esc: the range that is being chosen, then the zoom, then the histogram. `false`: it has not the keys.
    pub(super) fn step_out_of_histogram(&mut self) -> bool {
        let Some(cursor) = &mut self.timeline.cursor else { return false };
        if cursor.anchor.take().is_none() {
            if self.timeline.range.is_some() {
                (self.timeline.range, self.timeline.whole) = (None, None);
            } else {
                self.leave_histogram();
            }
        }
        true
    }

    /// What a command means while the histogram has the keys; `None`: the same as ever.
    pub(super) fn histogram_command(&mut self, cx: &Context<'_>, command: LogsCommand) -> Option<Vec<Effect>> {
        use LogsCommand as C;
        if command == C::Histogram && !self.timeline.is_entered() {
            return Some(self.enter_histogram(cx));
        }
        if !self.timeline.is_entered() {
            return None;
        }
        match command {
            C::Histogram => self.leave_histogram(),
            C::Chips => {
                self.leave_histogram();
                return None;
            }
            C::Left => self.move_cursor(-1),
            C::Right => self.move_cursor(1),
            C::PageUp => self.move_cursor(-LEAP),
            C::PageDown => self.move_cursor(LEAP),
            C::Oldest | C::LineStart => self.move_cursor(i64::MIN),
            C::Newest => self.move_cursor(i64::MAX),
            C::NextError => return Some(self.go_to_spike(1)),
            C::PreviousError => return Some(self.go_to_spike(-1)),
            C::MoreContext => self.zoom_in(),
            C::LessContext => self.zoom_out(),
            C::Space | C::Expand | C::Inspect | C::Select => {
                let at = self.timeline.bucket().zip(self.timeline.shown.as_ref());
                let at = at.map(|(bucket, shown)| bars::start_of(shown, bucket));
                if let Some(cursor) = &mut self.timeline.cursor {
                    cursor.anchor = if cursor.anchor.is_some() { None } else { at };
                }
            }
            C::Open => return Some(self.open_bucket(cx)),
            _ => return None,
        }
        Some(Vec::new())
    }

    fn move_cursor(&mut self, step: i64) {
        let (Some(at), Some(shown)) = (self.timeline.bucket(), &self.timeline.shown) else { return };
        let last = shown.buckets.len() as i64 - 1;
        let next = (at as i64).saturating_add(step);
        let single = step.unsigned_abs() <= LEAP.unsigned_abs();
        if single && !(0..=last).contains(&next) {
            self.pan(step.signum());
        }
        self.timeline.place(next.clamp(0, last.max(0)) as usize);
    }

    /// Moves a zoomed range by half of itself.
    fn pan(&mut self, direction: i64) {
        let (Some((from, until)), Some(whole)) = (self.timeline.range, self.timeline.whole) else { return };
        let length = until.as_second() - from.as_second();
        let shift = (length / 2).max(1) * direction;
        let shift = shift
            .clamp((whole.0.as_second() - from.as_second()).min(0), (whole.1.as_second() - until.as_second()).max(0));
        self.timeline.range = range(from.as_second() + shift, length);
    }

    fn go_to_spike(&mut self, direction: i64) -> Vec<Effect> {
        let (Some(at), Some(shown)) = (self.timeline.bucket(), &self.timeline.shown) else { return Vec::new() };
        let spikes = bars::spikes(&shown.buckets);
        // An outage is one spike, however many buckets it fills.
        let mut starts = bars::spike_starts(&spikes);
        let found = if direction > 0 { starts.find(|it| *it > at) } else { starts.rfind(|it| *it < at) };
        match found {
            Some(bucket) => {
                self.timeline.place(bucket);
                Vec::new()
            }
            None => {
                let side = if direction > 0 { "after" } else { "before" };
                vec![Notice::info(format!("no error spike {side} this"))]
            }
        }
    }

    fn zoom_in(&mut self) {
        let timeline = &mut self.timeline;
        let (Some(bucket), Some((from, until)), Some(shown)) = (timeline.bucket(), timeline.span(), &timeline.shown)
        else {
            return;
        };
        let wanted = match timeline.chosen() {
            Some(chosen) => {
                let start = bars::start_of(shown, chosen.start).as_second();
                range(start, bars::start_of(shown, chosen.end).as_second() - start)
            }
            None => {
                let length = ((until.as_second() - from.as_second()) / ZOOM).max(RANGE_LEAST);
                let middle = bars::start_of(shown, bucket).as_second();
                let latest = (until.as_second() - length).max(from.as_second());
                range((middle - length / 2).clamp(from.as_second(), latest), length)
            }
        };
        let Some((start, end)) = wanted.filter(|it| *it != (from, until)) else { return };
        timeline.whole.get_or_insert((from, until));
        timeline.range = wanted;
        if let Some(cursor) = &mut timeline.cursor {
            cursor.anchor = None;
        }
        timeline.crop(start, end);
    }

    fn zoom_out(&mut self) {
        let timeline = &mut self.timeline;
        let (Some((from, until)), Some((first, last))) = (timeline.range, timeline.whole) else { return };
        let length = (until.as_second() - from.as_second()).saturating_mul(ZOOM);
        let whole = last.as_second() - first.as_second();
        // Nearly all is all.
        if length >= whole / 4 * 3 {
            (timeline.range, timeline.whole) = (None, None);
            return;
        }
        let middle = from.as_second() + (until.as_second() - from.as_second()) / 2;
        let start = (middle - length / 2).clamp(first.as_second(), last.as_second() - length);
        timeline.range = range(start, length);
    }

    /// Enter: the log at the cursor's time; with a range, only the records in it.
    fn open_bucket(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let Some((bucket, shown)) = self.timeline.bucket().zip(self.timeline.shown.as_ref()) else {
            return vec![Notice::info("nothing is counted yet")];
        };
        if let Some(chosen) = self.timeline.chosen() {
            let since = written(cx, bars::start_of(shown, chosen.start));
            let until = written(cx, bars::start_of(shown, chosen.end));
            self.leave_histogram();
            return self.change_chips(cx, |it| it.set_times(&since, &until));
        }
        let (at, length) = (bars::start_of(shown, bucket), bars::length(shown));
        self.jump_into(cx, at, length)
    }

    /// A click on the histogram: the log at the time of that column.
    pub(super) fn click_histogram(&mut self, cx: &Context<'_>, column: u16) -> Vec<Effect> {
        let Some(shown) = &self.timeline.shown else { return Vec::new() };
        let Some(bucket) = Grid::new(cx.width, shown.buckets.len()).bucket_at(column) else { return Vec::new() };
        let (at, length) = (bars::start_of(shown, bucket), bars::length(shown));
        if let Some(cursor) = &mut self.timeline.cursor {
            cursor.at = Some(at);
        }
        self.jump_into(cx, at, length)
    }
}

fn range(start: i64, length: i64) -> Option<(Timestamp, Timestamp)> {
    Some((Timestamp::from_second(start).ok()?, Timestamp::from_second(start.checked_add(length)?).ok()?))
}

/// A time as a query takes it: as the clock on the wall shows it, where that says which one is meant.
fn written(cx: &Context<'_>, at: Timestamp) -> String {
    let civil = at.to_zoned(cx.zone.clone()).strftime("%Y-%m-%dT%H:%M:%S").to_string();
    if time::resolve(&civil, cx.now, cx.zone) == Ok(at) { civil } else { at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;

    use crate::app::event::{Mouse, MouseKind};
    use crate::panes::Pane;
    use crate::panes::logs::LogsPane;
    use crate::panes::logs::fixture::Desk;
    use crate::theme::Theme;

    /// Ten minutes of one record a second; for a minute in the middle two of three are errors.
    fn outage(width: u16, height: u16) -> Desk {
        let lines: Vec<String> = (0..600)
            .map(|at| match at {
                300..360 if at % 3 > 0 => format!("ERROR number {at}"),
                _ => format!("INFO number {at}"),
            })
            .collect();
        Desk::new(width, height, &lines.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn check_selected(desk: &Desk, end: &str) {
        let selected = desk.selected();
        assert!(selected.as_ref().is_some_and(|it| it.ends_with(end)), "{end} in {selected:?}\n{}", desk.screen());
    }

    #[test]
    fn without_a_source_there_is_no_histogram_and_no_time_at_its_ends() {
        let mut desk = outage(80, 12);
        desk.board.logs.sources.clear();
        desk.with(|pane, _| {
            let shown = pane.timeline.shown.as_mut().expect("counted");
            (shown.from, shown.complete) = (jiff::Timestamp::UNIX_EPOCH, false);
            // As the engine answers.
            shown.buckets = vec![crate::domain::log::Bucket::default()];
            Vec::new()
        });
        assert!(!desk.screen().contains("01-01"), "{}", desk.screen());
        assert!(desk.lines()[0].contains("number"), "{}", desk.screen());
        desk.with(|pane, _| {
            pane.timeline.shown.as_mut().expect("counted").buckets.clear();
            Vec::new()
        });
        assert!(desk.lines()[0].contains("number"), "{}", desk.screen());
    }

    #[test]
    fn the_row_is_there_where_there_is_room() {
        for (height, rows) in [(4, 0), (11, 0), (12, 1), (18, 2), (28, 3), (60, 3)] {
            let desk = outage(80, height);
            let first = desk.lines().iter().position(|it| it.contains("number")).expect("records");
            assert_eq!(first, rows, "{height}\n{}", desk.screen());
        }
    }

    #[test]
    fn a_small_pane_shows_it_when_it_is_asked_to_and_the_smallest_never() {
        let mut desk = outage(80, 8);
        desk.press("B");
        assert!(desk.lines()[0].contains('▁') || desk.lines()[0].contains('█'), "{}", desk.screen());
        desk.press("B");
        assert!(desk.lines()[0].contains("number"), "{}", desk.screen());
        let mut desk = outage(80, 4);
        desk.press("B H");
        assert!(desk.lines()[0].contains("number"), "{}", desk.screen());
        assert!(desk.notices()[1].contains("too low"), "{:?}", desk.notices());
    }

    #[test]
    fn a_pane_that_grows_while_the_first_rows_are_on_their_way_still_counts() {
        let mut desk = Desk::numbered(80, 8, 7);
        desk.pane = LogsPane::default();
        desk.answers = false;
        for height in [8, 20] {
            desk.size = (80, height);
            desk.with(|pane, cx| pane.resized(cx));
        }
        desk.answers = true;
        desk.with(|_, _| Vec::new());
        assert!(desk.lines()[0].contains("peak 1"), "{}", desk.screen());
    }

    #[test]
    fn spikes_are_walked_and_enter_goes_there() {
        let mut desk = outage(80, 20);
        desk.press("H");
        assert!(desk.title().contains("14:51:30–14:51:45 1 record"), "{}", desk.title());
        desk.press("E");
        assert!(desk.title().starts_with("! 14:46:30–14:46:45 15 records, 9 errors"), "{}", desk.title());
        desk.press("G e");
        assert_eq!(desk.notices(), ["no error spike after this"]);
        desk.effects.clear();
        desk.press("0 e");
        assert!(desk.title().starts_with("! 14:46:30"), "{}", desk.title());
        desk.press("E");
        assert_eq!(desk.notices(), ["no error spike before this"]);
        desk.press("enter");
        check_selected(&desk, "number 299");
        desk.press("j esc");
        check_selected(&desk, "number 300");
        assert!(desk.title().starts_with("api · paused"), "{}", desk.title());
    }

    #[test]
    fn a_range_becomes_two_chips_and_a_new_one_takes_their_place() {
        let mut desk = outage(80, 20);
        desk.press("H E v l l l");
        assert!(desk.title().starts_with("14:46:30–14:47:30 60 records, 39 errors"), "{}", desk.title());
        desk.press("enter");
        let query = desk.pane.chips.query();
        assert_eq!(query, "since:2024-08-19T14:46:30 until:2024-08-19T14:47:30");
        assert!(desk.title().contains("60 of 600"), "{}", desk.title());
        desk.press("H 0 space enter");
        assert_eq!(desk.pane.chips.query(), "since:2024-08-19T14:46:30 until:2024-08-19T14:46:32");
        desk.press("X H space esc esc");
        assert!(!desk.title().contains('–'), "{}", desk.title());
    }

    #[test]
    fn zooming_in_shows_more_detail_around_the_cursor_and_out_shows_all_again() {
        let mut desk = outage(80, 20);
        desk.press("H E +");
        let asked = desk.pane.feed.histogram_asked.clone().expect("counts are asked for");
        assert_eq!(asked.from.map(|it| it.to_string()).as_deref(), Some("2024-08-19T14:45:14Z"));
        assert_eq!(asked.until.map(|it| it.to_string()).as_deref(), Some("2024-08-19T14:47:47Z"));
        assert!(desk.title().starts_with("14:46:30–14:46:35 5 records, 2 errors"), "{}", desk.title());
        desk.press("-");
        let asked = desk.pane.feed.histogram_asked.clone().expect("counts are asked for");
        assert_eq!((asked.from, asked.until), (None, None));
        // Esc leaves the zoom before it leaves the histogram.
        desk.press("+ esc");
        assert!(desk.title().contains('–'), "{}", desk.title());
        desk.press("esc");
        assert!(!desk.title().contains('–'), "{}", desk.title());
    }

    #[test]
    fn going_past_the_end_of_a_zoomed_range_moves_the_range() {
        let mut desk = outage(80, 20);
        desk.press("H E + 0 h");
        let asked = desk.pane.feed.histogram_asked.clone().expect("counts are asked for");
        assert_eq!(asked.from.map(|it| it.to_string()).as_deref(), Some("2024-08-19T14:43:58Z"));
        desk.press("0 h 0 h 0 h 0 h");
        let asked = desk.pane.feed.histogram_asked.clone().expect("counts are asked for");
        assert_eq!(asked.from.map(|it| it.to_string()).as_deref(), Some("2024-08-19T14:41:30Z"));
    }

    #[test]
    fn a_click_goes_to_the_time_of_its_column() {
        let mut desk = outage(80, 20);
        let press = Mouse { kind: MouseKind::Press, column: 12, row: 0 };
        desk.with(|pane, cx| pane.mouse(cx, press));
        check_selected(&desk, "number 0");
        let press = Mouse { kind: MouseKind::Press, column: 12, row: 2 };
        desk.with(|pane, cx| pane.mouse(cx, press));
        check_selected(&desk, "number 0");
    }

    #[test]
    fn what_a_filter_leaves_is_what_is_drawn() {
        let mut desk = outage(80, 20);
        desk.press("L e H");
        assert!(desk.title().contains("14:47:30–14:47:32 1 record, 1 error"), "{}", desk.title());
    }

    #[test]
    fn a_filter_that_leaves_nothing_keeps_the_row_where_it_is() {
        let mut desk = outage(80, 20);
        desk.press("f \"nowhere\"");
        assert!(desk.lines()[0].contains("no records with a time"), "{}", desk.screen());
        assert!(desk.lines()[2].contains("nothing matches"), "{}", desk.screen());
        desk.press("esc H");
        assert!(desk.lines()[0].contains("peak 15"), "{}", desk.screen());
    }

    #[test]
    fn a_flood_changes_the_picture_once_a_second_and_a_quiet_log_wakes_nobody() {
        let mut desk = outage(80, 20);
        let wake = |desk: &mut Desk| {
            let mut wake = None;
            desk.with(|pane, cx| {
                wake = pane.next_wake(cx);
                Vec::new()
            });
            wake
        };
        assert_eq!(wake(&mut desk), None);
        let bars = |desk: &Desk| desk.lines()[0].clone();
        desk.arrives("ERROR first");
        let before = bars(&desk);
        let now = desk.now;
        for at in 0..40 {
            desk.now = now - SignedDuration::from_secs(1);
            desk.arrives(&format!("ERROR flood {at}"));
        }
        assert_eq!(bars(&desk), before, "the picture waits");
        let due = wake(&mut desk).expect("a wake");
        assert!(due > now && due.as_second() - now.as_second() <= 1, "{due} {now}");
        desk.now = due;
        desk.with(|pane, cx| pane.woken(cx));
        assert_ne!(bars(&desk), before);
        assert_eq!(wake(&mut desk), None);
    }

    #[test]
    fn every_size_and_key_is_survived() {
        for (width, height) in [(1, 1), (3, 5), (10, 12), (40, 12), (80, 24), (400, 60)] {
            let mut desk = outage(width, height);
            for script in ["H h h space l l +", "- - l", "enter", "H e E pgup pgdn G 0", "B", "B esc", "X"] {
                desk.press(script);
                desk.screen();
            }
            desk.size = (width / 2 + 1, height / 2 + 1);
            desk.with(|pane, cx| pane.resized(cx));
            desk.screen();
        }
    }

    #[test]
    fn ascii_is_ascii() {
        let mut desk = outage(80, 20);
        desk.press("H space h");
        let area = Rect::new(0, 0, 80, 20);
        let mut buf = Buffer::empty(area);
        desk.with(|pane, cx| {
            pane.view(cx, &Theme::mono().with_ascii(true), area, &mut buf);
            Vec::new()
        });
        let text: String = buf.content.iter().map(|it| it.symbol()).collect();
        assert!(text.is_ascii() && text.contains('!') && text.contains('^'), "{text}");
    }
}
