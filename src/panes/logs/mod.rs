//! The logs pane: a window on all log sources through a stack of filter chips.
//!
//! The pane reads nothing itself. It asks for windows of rows and keeps its place by position, so rows may
//! arrive, be filtered or be loaded again without anything jumping under the reader.
//!
//! | file | what belongs there |
//! |---|---|
//! | `mod` | the command table and the pane's ways in |
//! | `feed` | requests that are out, answers that came, what is stale |
//! | `motion` | following, pausing, moving, keeping rows loaded ahead |
//! | `chips` | the stack of filter chips |
//! | `chip_bar` | the chips in the title row, with what each leaves |
//! | `recall` | filters from before: undo, the last one, saved ones |
//! | `complete` | what Tab completes while a filter is typed |
//! | `object` | a record taken apart into members and fields |
//! | `inspect` | one record in full |
//! | `selection` | several records at once: copy, export |
//! | `example` | filters made of a record |
//! | `blame` | which chip leaves nothing |
//! | `histogram`, `bars` | records by time: cursor, range, rate of change; drawing |
//! | `sources` | the list of sources: states, muting, soloing, colours |
//! | `fields` | columns for chosen fields |
//! | `prompt` | the input line: filters, search, comment of a pin, marks |
//! | `actions` | jumps, the unfiltered detour, copy, pin |
//! | `layout` | rows to screen lines |
//! | `view`, `title`, `words` | drawing |

mod actions;
mod bars;
mod blame;
mod chip_bar;
mod chips;
mod complete;
mod example;
mod feed;
mod fields;
mod histogram;
mod inspect;
mod layout;
mod motion;
mod object;
mod prompt;
mod recall;
mod selection;
mod sources;
mod title;
mod view;
mod words;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod record_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position as Cell, Rect};
use ratatui::text::Line;

use crate::app::effect::{Effect, Notice};
use crate::app::event::{Mouse, MouseKind};
use crate::domain::fact::Fact;
use crate::domain::key::Key;
use crate::domain::log::{self, Find, Level, LogFact, Position};
use crate::domain::request::Inbound;
use crate::panes::logs::actions::{Detour, Pinning, Sought};
use crate::panes::logs::blame::Blame;
use crate::panes::logs::chips::Chips;
use crate::panes::logs::feed::{Answer, Ask, Feed, Spot};
use crate::panes::logs::fields::Fields;
use crate::panes::logs::histogram::Timeline;
use crate::panes::logs::inspect::Inspect;
use crate::panes::logs::motion::Reading;
use crate::panes::logs::prompt::{Inputs, Prompt};
use crate::panes::logs::recall::Recall;
use crate::panes::logs::selection::Selection;
use crate::panes::logs::sources::{Audible, SourceList};
use crate::panes::{Context, Pane};
use crate::theme::Theme;

crate::commands! {
    /// Commands of the logs pane.
    LogsCommand {
        Down = "logs.down", "Go down one record", ["j", "down"], "";
        Up = "logs.up", "Go up one record (pauses following)", ["k", "up"], "";
        HalfDown = "logs.half-page-down", "Go down half a page", ["ctrl-d", "d"], "";
        HalfUp = "logs.half-page-up", "Go up half a page", ["ctrl-u"], "";
        PageDown = "logs.page-down", "Go down a page", ["pgdn", "ctrl-f"], "";
        Space = "logs.space", "Go down a page; switch the selected chip on or off; mark a range in the histogram", ["space"], "";
        PageUp = "logs.page-up", "Go up a page", ["pgup", "ctrl-b", "b"], "";
        Oldest = "logs.oldest", "Go to the oldest record", ["g g", "home"], "";
        Newest = "logs.newest", "Go to the newest record and follow", ["G", "end"], "";
        Follow = "logs.follow", "Follow the newest record, or pause", ["F"], "follow";
        FilterIn = "logs.filter-in", "Show only records that match", ["f", "&"], "filter";
        FilterOut = "logs.filter-out", "Hide records that match; with a chip selected, invert it", ["!"], "";
        LevelDebug = "logs.level-debug", "Show debug and above", ["L d"], "";
        LevelInfo = "logs.level-info", "Show info and above", ["L i"], "";
        LevelWarn = "logs.level-warn", "Show warnings and above", ["L w"], "";
        LevelError = "logs.level-error", "Show errors and above", ["L e"], "";
        LevelAll = "logs.level-all", "Show every level", ["L a"], "";
        Chips = "logs.chips", "Select the next filter chip (then space, Enter, x, !, < >, ← →)", ["C"], "";
        ChipEarlier = "logs.chip-earlier", "Move the selected chip towards the beginning", ["<", "shift-left"], "";
        ChipLater = "logs.chip-later", "Move the selected chip towards the end", [">", "shift-right"], "";
        RemoveChip = "logs.remove-chip", "Remove the selected or the newest chip", ["x", "del"], "";
        ClearChips = "logs.clear-chips", "Remove all chips", ["X"], "";
        Undo = "logs.undo", "Take the last change of the filter back", ["u"], "";
        LastQuery = "logs.last-query", "Go to the last filter, and back to this one", ["R"], "";
        PickQuery = "logs.pick-query", "Pick a saved or an earlier query", ["Q"], "";
        Search = "logs.search", "Search; hits are highlighted", ["/"], "search";
        NextHit = "logs.next-hit", "Go to the next hit of the search", ["n"], "";
        PreviousHit = "logs.previous-hit", "Go to the previous hit of the search", ["N"], "";
        NextError = "logs.next-error", "Go to the next error", ["e"], "";
        PreviousError = "logs.previous-error", "Go to the previous error", ["E"], "error";
        Histogram = "logs.histogram", "Go into the histogram: ← → e E move, + - zoom, Enter goes there, space marks a range to filter to", ["H"], "times";
        ToggleHistogram = "logs.show-histogram", "Show records by time above the log, or hide that", ["B"], "";
        Sources = "logs.sources", "List the sources: state, mute, solo", ["S"], "sources";
        MoreContext = "logs.more-context", "Show more lines around each match", ["+"], "";
        LessContext = "logs.less-context", "Show fewer lines around each match", ["-"], "";
        Open = "logs.open", "Show the whole log around the record, or go back; edit the selected chip", ["enter"], "";
        Inspect = "logs.inspect", "Show the record in full: its fields, to copy or filter by; or go back", ["v", "J"], "";
        OnlyLike = "logs.only-like", "Show only records like this one", ["*"], "";
        HideLike = "logs.hide-like", "Hide records like this one", ["#"], "";
        Expand = "logs.expand", "Unfold the record, or fold it", ["o"], "";
        ExpandAll = "logs.expand-all", "Unfold all records, or fold them", ["O"], "";
        Left = "logs.left", "Scroll left, or select the chip before", ["h", "left"], "";
        Right = "logs.right", "Scroll right, or select the chip after", ["l", "right"], "";
        LineStart = "logs.line-start", "Scroll back to the start of the lines", ["0"], "";
        Wrap = "logs.wrap", "Wrap long lines, or cut them", ["w"], "";
        Columns = "logs.columns", "Choose which of time, level and source are shown", ["c"], "";
        Fields = "logs.fields", "Choose fields to show as columns, as in `status,user`", ["K"], "";
        Raw = "logs.raw", "Show lines as they are in the file, or tidied", ["r"], "";
        Mark = "logs.mark", "Mark this place with a letter", ["m"], "";
        GoToMark = "logs.go-to-mark", "Go to a marked place (`'` again: to the place before the last jump)", ["'"], "";
        Pin = "logs.pin", "Pin the record with its context to the incident", ["p"], "pin";
        PinComment = "logs.pin-comment", "Pin the record with a comment", ["P"], "";
        Select = "logs.select", "Select records from here to where you go, or stop selecting", ["V"], "";
        Copy = "logs.copy", "Copy the record, or the selected ones", ["y"], "";
        Export = "logs.export", "Write the selected records, or all that pass the filter, into a file", ["Y"], "";
        LastMinute = "logs.last-1m", "Go to -1m", ["t 1"], "";
        Last5Minutes = "logs.last-5m", "Go to -5m", ["t 2"], "";
        Last15Minutes = "logs.last-15m", "Go to -15m", ["t 3"], "";
        Last30Minutes = "logs.last-30m", "Go to -30m", ["t 4"], "";
        LastHour = "logs.last-1h", "Go to -1h", ["t 5"], "";
        Last6Hours = "logs.last-6h", "Go to -6h", ["t 6"], "";
        Now = "logs.now", "Go to now", ["t 0"], "";
    }
}

/// Columns that one step of `h` and `l` scrolls: a third of an 80-column screen, so that words stay in sight.
const SCROLL_COLUMNS: usize = 24;
/// Unfolded records remembered; the oldest folds again past this.
const EXPANDED_MAX: usize = 256;
/// Lines that one turn of the wheel scrolls.
const WHEEL_LINES: i32 = 3;
/// Lines of context around each match, at most: past this, `Enter` shows the whole log.
const CONTEXT_MAX: u32 = 50;

/// Which columns stand before the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Columns {
    /// Time, level and, with several sources, the source.
    #[default]
    All,
    /// Time and level.
    NoSource,
    /// Level only: most room for the message, and the level is never left to colour.
    LevelOnly,
}

impl Columns {
    fn next(self) -> Self {
        match self {
            Columns::All => Columns::NoSource,
            Columns::NoSource => Columns::LevelOnly,
            Columns::LevelOnly => Columns::All,
        }
    }
}

/// How the rows are shown.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    wrap: bool,
    raw: bool,
    unfold: bool,
    columns: Columns,
    // Cells scrolled out to the left.
    scrolled: usize,
    // It was not the reader who scrolled, but a search that went to a hit.
    scrolled_to_hit: bool,
}

/// What is kept while the whole screen shows the past.
#[derive(Debug, Clone)]
struct Away {
    at: Timestamp,
    // Where the reader was, and before the last jump.
    reading: Reading,
    jumped_from: Option<Spot>,
}

/// The logs pane: a window on all log sources through a stack of filter chips.
#[derive(Debug, Default)]
pub struct LogsPane {
    feed: Feed,
    reading: Reading,
    chips: Chips,
    search: String,
    recall: Recall,
    context: u32,
    selection: Option<Selection>,
    inspected: Option<Inspect>,
    // Records and bytes of the export that is under way.
    exporting: Option<(u64, u64)>,
    prompt: Option<Prompt>,
    inputs: Inputs,
    detour: Option<Box<Detour>>,
    look: Look,
    expanded: VecDeque<Spot>,
    marks: BTreeMap<char, Position>,
    // Where the reader was before the last jump; `None` is the newest row.
    jumped_from: Option<Spot>,
    // While the whole screen shows the past: its instant, after which nothing is shown.
    away: Option<Away>,
    // The first snapshot has come.
    attached: bool,
    // Where the jump that is on its way goes.
    sought: Option<Sought>,
    // A jump pressed while another was on its way; the newest wins.
    queued: Option<(Find, bool)>,
    blame: Blame,
    timeline: Timeline,
    audible: Audible,
    list: Option<SourceList>,
    fields: Fields,
    // Records that wait for their surroundings before they are pinned, oldest first.
    pinning: VecDeque<Pinning>,
    // The selection and row count at which the last prefetch was asked for: asking again would bring the same.
    exhausted: Option<(Spot, usize)>,
}

impl Pane for LogsPane {
    type Command = LogsCommand;
    const TITLE: &'static str = "LOGS";

    fn update(&mut self, cx: &Context<'_>, command: LogsCommand) -> Vec<Effect> {
        let mut effects = self.start(cx);
        effects.extend(match self.inspect_command(cx, command).or_else(|| self.histogram_command(cx, command)) {
            Some(effects) => effects,
            None => self.command(cx, command),
        });
        effects.extend(self.prefetch(cx));
        effects.extend(self.keep_histogram(cx));
        effects
    }

    fn captures_keys(&self) -> bool {
        self.prompt.is_some() || self.list.is_some()
    }

    fn key(&mut self, cx: &Context<'_>, key: &Key) -> Vec<Effect> {
        if self.prompt.is_none() && self.list.is_some() {
            let mut effects = self.list_key(cx, key);
            effects.extend(self.keep_histogram(cx));
            return effects;
        }
        let mut effects = self.prompt_key(cx, key);
        // While one types, every letter may leave nothing; what was kept is worth a look.
        effects.extend(self.look_for_blame(cx));
        effects
    }

    fn paste(&mut self, cx: &Context<'_>, text: &str) -> Vec<Effect> {
        if self.prompt.is_none() && self.list.is_some() {
            return self.list_paste(text);
        }
        self.prompt_paste(cx, text)
    }

    fn inbound(&mut self, cx: &Context<'_>, inbound: &Inbound) -> Vec<Effect> {
        match inbound {
            // A second snapshot means that this screen was too slow: windows may have been lost as well.
            Inbound::Snapshot(_) if std::mem::replace(&mut self.attached, true) => {
                let mut effects = self.requery(cx);
                effects.extend(self.ask_neighbours());
                effects
            }
            Inbound::Snapshot(_) => {
                let mut effects = self.start(cx);
                effects.extend(self.adopt_columns(cx));
                effects
            }
            Inbound::Window(window) => {
                let answer = self.feed.take(window);
                self.take_histogram(cx);
                let mut effects = self.answered(cx, answer);
                self.measure_fields(cx);
                // The pane may have got room for a histogram while this answer was on its way.
                effects.extend(self.keep_histogram(cx));
                effects
            }
            Inbound::Fact(envelope) => match &envelope.fact {
                Fact::Log(LogFact::Closed { source }) => self.source_closed(cx, source),
                Fact::Log(LogFact::Columns { .. }) => self.adopt_columns(cx),
                _ => Vec::new(),
            },
            Inbound::Export(news) => self.export_news(news),
            _ => Vec::new(),
        }
    }

    fn resized(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let mut effects = self.start(cx);
        // A body that has grown past what was loaded would stay half empty.
        if self.feed.tail_records < u32::from(cx.height) {
            effects = self.requery(cx);
        }
        self.settle(cx);
        effects.extend(self.prefetch(cx));
        effects.extend(self.keep_histogram(cx));
        effects
    }

    fn next_wake(&self, cx: &Context<'_>) -> Option<Timestamp> {
        self.histogram_wake(cx).into_iter().chain(self.list_wake(cx)).min()
    }

    fn woken(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        self.histogram_woken(cx);
        Vec::new()
    }

    fn wants_zoom(&self) -> bool {
        self.inspected.is_some() || self.list.as_ref().is_some_and(|it| it.zoomed)
    }

    fn mouse(&mut self, cx: &Context<'_>, mouse: Mouse) -> Vec<Effect> {
        let mut effects = self.start(cx);
        if self.list.is_some() {
            self.list_mouse(cx, mouse);
            return effects;
        }
        match mouse.kind {
            MouseKind::Press if self.inspected.is_some() => self.inspect_mouse(cx, Some(mouse.row), 0),
            MouseKind::WheelUp if self.inspected.is_some() => self.inspect_mouse(cx, None, -i64::from(WHEEL_LINES)),
            MouseKind::WheelDown if self.inspected.is_some() => self.inspect_mouse(cx, None, i64::from(WHEEL_LINES)),
            MouseKind::Press if mouse.row < self.histogram_height(cx) => {
                effects.extend(self.click_histogram(cx, mouse.column));
            }
            MouseKind::Press => {
                if let Some(line) = mouse.row.checked_sub(self.rows_above(cx)) {
                    self.select_line(cx, line);
                }
            }
            MouseKind::WheelUp => effects.extend(self.scroll(cx, -WHEEL_LINES)),
            MouseKind::WheelDown => effects.extend(self.scroll(cx, WHEEL_LINES)),
        }
        effects.extend(self.prefetch(cx));
        effects
    }

    fn back(&mut self, cx: &Context<'_>) -> bool {
        self.close(cx).is_some()
    }

    fn close(&mut self, cx: &Context<'_>) -> Option<Vec<Effect>> {
        self.step_back(cx)
    }

    fn typing_hints(&self) -> &'static [(&'static str, &'static str)] {
        match (&self.prompt, &self.list) {
            (None, Some(list)) => list.hints(),
            (prompt, _) => prompt::hints(prompt.as_ref()),
        }
    }

    fn mode_hints(&self) -> &'static [(LogsCommand, &'static str)] {
        use LogsCommand as C;
        if self.inspected.is_some() {
            return &[
                (C::Open, "only this value"),
                (C::FilterOut, "hide it"),
                (C::Copy, "copy it"),
                (C::Export, "copy all"),
                (C::Left, "record before"),
                (C::Right, "after"),
                (C::Inspect, "back"),
            ];
        }
        if self.chips.selected().is_some() {
            return &[
                (C::Space, "on or off"),
                (C::Open, "edit"),
                (C::FilterOut, "invert"),
                (C::RemoveChip, "remove"),
                (C::ChipEarlier, "to the left"),
                (C::ChipLater, "right"),
                (C::Chips, "next"),
            ];
        }
        if self.selection.is_some() {
            return &[(C::Copy, "copy"), (C::Export, "write a file"), (C::Pin, "pin"), (C::Select, "end selecting")];
        }
        if self.detour.is_some() && !self.timeline.is_entered() {
            return &[
                (C::Open, "back to the matches"),
                (C::Search, "search"),
                (C::Inspect, "in full"),
                (C::Copy, "copy"),
                (C::Pin, "pin"),
            ];
        }
        if !self.timeline.is_entered() {
            return &[];
        }
        &[
            (C::Left, "before"),
            (C::Right, "after"),
            (C::Open, "go there"),
            (C::Space, "mark a range"),
            (C::NextError, "next spike"),
            (C::PreviousError, "spike before"),
            (C::MoreContext, "zoom in"),
            (C::LessContext, "zoom out"),
        ]
    }

    fn title(&self, cx: &Context<'_>, theme: &Theme, room: usize) -> Line<'static> {
        title::line(self, cx, theme, room)
    }

    fn view(&self, cx: &Context<'_>, theme: &Theme, area: Rect, buf: &mut Buffer) -> Option<Cell> {
        view::draw(self, cx, theme, area, buf)
    }
}

impl LogsPane {
    /// What can be done with a filter, for the footer: these keys come before those that are always there.
    pub fn filter_hints(&self) -> &'static [(LogsCommand, &'static str)] {
        use LogsCommand as C;
        if self.chips.active() == 0 {
            return &[];
        }
        &[(C::Open, "all around"), (C::MoreContext, "context"), (C::RemoveChip, "remove"), (C::Chips, "chips")]
    }

    /// Goes to the first record at or after a time (`:goto`).
    pub fn goto(&mut self, cx: &Context<'_>, at: Timestamp) -> Vec<Effect> {
        let mut effects = self.start(cx);
        effects.extend(self.jump_to_time(cx, at));
        effects
    }

    /// Shows the newest records of an instant of the past that the whole screen shows, and none after it; where the
    /// reader was is kept.
    pub fn visit(&mut self, cx: &Context<'_>, at: Timestamp) -> Vec<Effect> {
        match &mut self.away {
            Some(away) => away.at = at,
            None => {
                let (reading, jumped_from) = (self.reading.clone(), self.jumped_from.clone());
                self.away = Some(Away { at, reading, jumped_from });
            }
        }
        self.resume();
        self.requery(cx)
    }

    /// Goes back to where the reader was before the past was shown.
    pub fn come_back(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let Some(away) = self.away.take() else { return Vec::new() };
        self.jumped_from = away.jumped_from;
        match away.reading {
            Reading::Following => self.resume(),
            paused => self.reading = paused,
        }
        self.requery(cx)
    }

    /// Replaces all chips by a query in its text form or `@name` (`:filter`); an empty one removes them, one behind
    /// a `+` comes on top of those that are there.
    pub fn filter(&mut self, cx: &Context<'_>, query: &str) -> Vec<Effect> {
        let (adds, query) = query.strip_prefix("+ ").map_or((false, query), |rest| (true, rest.trim()));
        let read = |it: &str| if it == query { Chips::typed(it) } else { Chips::parse(it) };
        let chips = self.recall.expand(query).and_then(|it| read(&it));
        let chips = chips.and_then(|it| if adds { it.on_top_of(&self.chips) } else { Ok(it) });
        match chips {
            Ok(chips) => {
                self.prompt = None;
                self.set_chips(cx, chips)
            }
            Err(error) => vec![Notice::error(error)],
        }
    }

    /// Asks for the first rows, once.
    fn start(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        if self.feed.tail.rows.loaded || self.feed.tail.want.is_some() {
            return Vec::new();
        }
        vec![self.feed.ask_tail(&self.ask(cx))]
    }

    /// What every request has in common: the query in force and the amount.
    fn ask(&self, cx: &Context<'_>) -> Ask {
        let (mut query, chips, context) = match self.detour {
            Some(_) => (String::new(), 0, 0),
            None => (self.chips.query(), self.chips.active(), self.context),
        };
        if let Some(away) = &self.away {
            // The record of the very instant is part of it.
            let end = away.at.saturating_add(SignedDuration::from_nanos(1)).unwrap_or(away.at);
            query = format!("{query} until:{end}").trim_start().to_string();
        }
        let (sources, muted) = self.audible.asked();
        Ask {
            look: if self.look.raw { log::Look::Original } else { log::Look::Readable },
            query,
            chips,
            search: self.search.clone(),
            context,
            records: Ask::records_for(cx.height),
            sources,
            muted,
            columns: self.fields.names().to_vec(),
            histogram: self.histogram_request(cx),
        }
    }

    fn command(&mut self, cx: &Context<'_>, command: LogsCommand) -> Vec<Effect> {
        use LogsCommand as C;
        let page = i32::from(self.body_height(cx).max(2)) - 1;
        match command {
            C::Down => self.step(cx, 1),
            C::Up => self.step(cx, -1),
            C::HalfDown => self.travel(cx, (page + 1) / 2),
            C::HalfUp => self.travel(cx, -(page + 1) / 2),
            C::Expand | C::Space if self.chips.selected().is_some() => self.change_chips(cx, Chips::toggle),
            C::PageDown | C::Space => self.travel(cx, page),
            C::PageUp => self.travel(cx, -page),
            C::Oldest => self.oldest(cx),
            C::Newest | C::Now => self.follow(cx),
            C::Follow => self.toggle_follow(cx),
            C::FilterIn => self.open_filter(cx, false),
            C::FilterOut if self.chips.selected().is_some() => self.change_chips(cx, Chips::invert),
            C::FilterOut => self.open_filter(cx, true),
            C::LevelDebug => self.change_chips(cx, |it| it.set_level(Some(Level::Debug))),
            C::LevelInfo => self.change_chips(cx, |it| it.set_level(Some(Level::Info))),
            C::LevelWarn => self.change_chips(cx, |it| it.set_level(Some(Level::Warn))),
            C::LevelError => self.change_chips(cx, |it| it.set_level(Some(Level::Error))),
            C::LevelAll => self.change_chips(cx, |it| it.set_level(None)),
            C::Chips => self.select_chip(1),
            C::RemoveChip => self.remove_chip(cx),
            C::ClearChips => self.change_chips(cx, Chips::clear),
            C::ChipEarlier => self.shift_chip(cx, -1),
            C::ChipLater => self.shift_chip(cx, 1),
            C::Undo => self.undo(cx),
            C::LastQuery => self.last_query(cx),
            C::PickQuery => self.pick_query(),
            C::Search => self.open_search(cx),
            C::NextHit => self.find(cx, Find::Search, false),
            C::PreviousHit => self.find(cx, Find::Search, true),
            C::Histogram => Vec::new(),
            C::ToggleHistogram => self.toggle_histogram(cx),
            C::Sources => self.open_list(cx),
            C::Fields => self.open_fields(cx),
            C::NextError => self.find(cx, Find::LevelAtLeast(Level::Error), false),
            C::PreviousError => self.find(cx, Find::LevelAtLeast(Level::Error), true),
            C::MoreContext => self.set_context(cx, (self.context + 1).min(CONTEXT_MAX)),
            C::LessContext => self.set_context(cx, self.context.saturating_sub(1)),
            C::Open if self.chips.selected().is_some() => self.edit_chip(cx),
            C::Open => self.open(cx),
            C::Inspect => self.inspect(cx),
            C::OnlyLike => self.by_example(cx, false),
            C::HideLike => self.by_example(cx, true),
            C::Expand => self.expand(cx),
            C::ExpandAll => self.look(cx, |look| look.unfold = !look.unfold),
            C::Left if self.chips.selected().is_some() => self.select_chip(-1),
            C::Right if self.chips.selected().is_some() => self.select_chip(1),
            C::Left => self.look(cx, |look| look.scrolled = look.scrolled.saturating_sub(SCROLL_COLUMNS)),
            C::Right => self.scroll_right(cx),
            C::LineStart => self.look(cx, |look| look.scrolled = 0),
            C::Wrap => self.look(cx, |look| (look.wrap, look.scrolled) = (!look.wrap, 0)),
            C::Columns => self.look(cx, |look| look.columns = look.columns.next()),
            C::Raw => {
                self.look.raw = !self.look.raw;
                // What is on disk may be other lines than the readable ones.
                self.requery(cx)
            }
            C::Mark => self.open_mark(cx, false),
            C::GoToMark => self.open_mark(cx, true),
            C::Pin => self.pin(cx, ""),
            C::PinComment => self.open_comment(cx),
            C::Select => self.select_records(cx),
            C::Copy => self.copy(cx),
            C::Export => self.open_export(cx),
            C::LastMinute => self.jump_back(cx, 60),
            C::Last5Minutes => self.jump_back(cx, 5 * 60),
            C::Last15Minutes => self.jump_back(cx, 15 * 60),
            C::Last30Minutes => self.jump_back(cx, 30 * 60),
            C::LastHour => self.jump_back(cx, 3600),
            C::Last6Hours => self.jump_back(cx, 6 * 3600),
        }
    }

    /// Takes an answer into the state.
    fn answered(&mut self, cx: &Context<'_>, answer: Answer) -> Vec<Effect> {
        match answer {
            Answer::Stale => Vec::new(),
            Answer::Counts => self.look_for_blame(cx),
            Answer::Counted(matched) => self.tried(cx, matched),
            Answer::Tail => {
                // Rows may have come that were not there when the end of the page was asked for.
                self.exhausted = None;
                self.look_for_blame(cx)
            }
            Answer::Refused(error) => match &mut self.prompt {
                Some(prompt) => {
                    prompt.error = Some(error);
                    Vec::new()
                }
                None => vec![Notice::error(error)],
            },
            Answer::Neighbours(rows) => self.neighbours_came(cx, &rows),
            Answer::Fields(record) => self.fields_came(&record),
            Answer::Page { want, rows, anchor_row, missing } => {
                let mut effects = self.arrived(cx, want, rows, anchor_row, missing);
                effects.extend(self.prefetch(cx));
                effects
            }
        }
    }
}
