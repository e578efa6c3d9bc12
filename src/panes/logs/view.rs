//! Draws the rows and the input line.

use std::collections::HashMap;
use std::ops::Range;

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position as Cell, Rect};
use ratatui::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr;

use crate::domain::ids::SourceId;
use crate::domain::log::{Level, Record, Row};
use crate::domain::sanitise;
use crate::panes::Context;
use crate::panes::logs::layout::{self, Layout, Piece};
use crate::panes::logs::motion::Reading;
use crate::panes::logs::prompt::PromptKind;
use crate::panes::logs::{Columns, LogsPane, bars, inspect, sources, words};
use crate::theme::role::Role;
use crate::theme::{NAMED_COLORS, Theme};
use crate::widgets::input;

/// `HH:MM:SS`
const TIME_CELLS: u16 = 8;
/// `MM-DD HH:MM:SS`
const DATE_CELLS: u16 = 14;
/// `MM-DD HH:MM:SS.mmm`
const DATE_MILLIS_CELLS: u16 = 18;
/// Columns of a pane that has room for milliseconds. Rows of today go without: they are looked at while they come in,
/// and every digit more is sent with every row.
const MILLIS_COLUMNS: u16 = 100;

/// Draws the pane's body.
pub fn draw(pane: &LogsPane, cx: &Context<'_>, theme: &Theme, area: Rect, buf: &mut Buffer) -> Option<Cell> {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return None;
    }
    // The pane's arithmetic and the area drawn into must agree even when the caller's do not.
    let cx = &Context { width: area.width, height: area.height, ..*cx };
    if let Some(list) = &pane.list {
        return sources::draw(list, &pane.audible, cx, theme, area, buf);
    }
    if let Some(shown) = &pane.inspected {
        let body = Rect { height: area.height.saturating_sub(pane.prompt_height()), ..area };
        inspect::draw(shown, cx, theme, body, buf);
        return draw_prompt(pane, theme, area, buf);
    }
    let above = pane.rows_above(cx).min(area.height);
    draw_above(pane, cx, theme, Rect { height: above, ..area }, buf);
    let body = Rect { y: area.y + above, height: pane.body_height(cx).min(area.height - above), ..area };
    if pane.rows().rows.is_empty() {
        draw_empty(pane, cx, theme, body, buf);
    } else {
        draw_rows(pane, cx, theme, body, buf);
        // Gap rows pass every filter; they must not keep it a secret that no record does.
        let rows = &pane.rows().rows;
        if pane.chips.active() > 0 && !rows.iter().any(|row| matches!(row, Row::Record(_))) {
            let lines: usize = rows.iter().map(|row| pane.layout(cx).height(row, false)).sum();
            let used = u16::try_from(lines).unwrap_or(u16::MAX).min(body.height);
            let below = Rect { y: body.y + used, height: body.height - used, ..body };
            draw_empty(pane, cx, theme, below, buf);
        }
    }
    draw_prompt(pane, theme, area, buf)
}

/// Draws what stands above the records: the histogram, and the names of the columns.
fn draw_above(pane: &LogsPane, cx: &Context<'_>, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let histogram = Rect { height: pane.histogram_height(cx).min(area.height), ..area };
    let nothing = pane.timeline.shown().is_some_and(|it| it.complete && it.buckets.is_empty());
    if nothing && !histogram.is_empty() {
        let style = theme.style(Role::TextDim);
        buf.set_stringn(area.x, area.y, "no records with a time", usize::from(area.width), style);
    } else if let Some(shown) = pane.timeline.shown().filter(|it| !it.buckets.is_empty()) {
        let marks = pane.histogram_marks(cx);
        bars::draw(shown, &marks, (cx.now, cx.zone), theme, histogram, buf);
    } else if !histogram.is_empty() {
        let text = if theme.ascii { "counting ..." } else { "counting …" };
        buf.set_stringn(area.x, area.y, text, usize::from(area.width), theme.style(Role::TextDim));
    }
    if area.height <= histogram.height || pane.look.raw {
        return;
    }
    let (layout, y) = (pane.layout(cx), histogram.bottom());
    let style = theme.style(Role::TextDim);
    let mut x = area.x + layout.prefix() - layout.field_cells();
    for (name, cells) in layout.fields.iter().copied() {
        buf.set_stringn(x, y, shortened(name, usize::from(cells), theme), usize::from(cells), style);
        x += cells + 1;
    }
    buf.set_stringn(x, y, "message", usize::from(area.right().saturating_sub(x)), style);
}

/// Cells of the time column: none when no loaded record has a time, more when one is of another day, and more again
/// when such records say milliseconds and there is room.
pub fn time_cells(pane: &LogsPane, cx: &Context<'_>) -> u16 {
    if pane.look.columns == Columns::LevelOnly {
        return 0;
    }
    let times = || {
        pane.rows().rows.iter().filter_map(|row| match row {
            Row::Record(record) => record.position.time,
            Row::Gap(_) | Row::Break => None,
        })
    };
    if times().next().is_none() {
        return 0;
    }
    let today = today(cx);
    if times().all(|it| today.contains(&it)) {
        return TIME_CELLS;
    }
    let says_millis = cx.width >= MILLIS_COLUMNS && times().any(|it| it.subsec_nanosecond() != 0);
    if says_millis { DATE_MILLIS_CELLS } else { DATE_CELLS }
}

fn today(cx: &Context<'_>) -> Range<Timestamp> {
    let start = cx.now.to_zoned(cx.zone.clone()).start_of_day();
    let end = start.as_ref().ok().and_then(|it| it.tomorrow().ok());
    match (start, end) {
        (Ok(start), Some(end)) => start.timestamp()..end.timestamp(),
        _ => Timestamp::MIN..Timestamp::MAX,
    }
}

/// Cells of the source column: none when there is one source, else as many as the longest name needs.
pub fn source_cells(pane: &LogsPane, cx: &Context<'_>) -> u16 {
    let sources = &cx.board.logs.sources;
    if sources.len() < 2 || pane.look.columns != Columns::All {
        return 0;
    }
    // The message keeps at least half of a narrow row.
    let most = match cx.width {
        0..60 => 8,
        60..120 => 12,
        _ => 20,
    };
    sources.iter().map(|it| it.name.width() as u16).max().unwrap_or_default().min(most)
}

fn draw_rows(pane: &LogsPane, cx: &Context<'_>, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let layout = pane.layout(cx);
    let arranged = pane.arranged(cx);
    let rows = &pane.rows().rows;
    let selected = match &pane.reading {
        // Nothing is highlighted while following: the highlight would have to be moved with every line.
        Reading::Following => None,
        Reading::Paused(_) => pane.current(),
    };
    let colours = sources::colours(cx.board);
    let chosen = pane.selected_rows().unwrap_or_default();
    let mut y = area.y;
    let mut skip = arranged.skip;
    for (at, row) in rows.iter().enumerate().skip(arranged.first) {
        if y >= area.bottom() {
            return;
        }
        let role = match selected == Some(at) {
            true if cx.focused => Some(Role::Selection),
            true => Some(Role::SelectionDim),
            false => chosen.contains(&at).then_some(Role::SelectionDim),
        };
        let (selection, is_chosen) = (role.map(|it| theme.style(it)), chosen.contains(&at));
        let painter = Painter { pane, cx, theme, layout: &layout, selection, colours: &colours, is_chosen };
        y = painter.row(row, skip, Rect { y, height: area.bottom() - y, ..area }, buf);
        skip = 0;
    }
}

struct Painter<'a> {
    pane: &'a LogsPane,
    cx: &'a Context<'a>,
    theme: &'a Theme,
    layout: &'a Layout<'a>,
    selection: Option<Style>,
    colours: &'a HashMap<&'a SourceId, Role>,
    /// One of several records that are selected.
    is_chosen: bool,
}

impl Painter<'_> {
    /// Draws a row without its first `skip` lines; returns the line after it.
    fn row(&self, row: &Row, skip: usize, area: Rect, buf: &mut Buffer) -> u16 {
        match row {
            Row::Record(record) => self.record(row, record, skip, area, buf),
            Row::Gap(gap) => {
                let text = words::gap(self.cx.board, gap);
                self.words(&text, Role::LogGap, area, buf)
            }
            Row::Break => self.words("--", Role::TextDim, area, buf),
        }
    }

    fn words(&self, text: &str, role: Role, area: Rect, buf: &mut Buffer) -> u16 {
        let style = self.theme.style(role).patch(self.selection.unwrap_or_default());
        self.highlight(area, buf);
        let text = if self.theme.ascii { text.replace('…', "...") } else { text.to_string() };
        let text = shortened(&text, usize::from(area.width), self.theme);
        buf.set_stringn(area.x, area.y, text, usize::from(area.width), style);
        area.y + 1
    }

    fn record(&self, row: &Row, record: &Record, skip: usize, area: Rect, buf: &mut Buffer) -> u16 {
        let open = self.pane.is_expanded(row) || self.layout.unfold;
        let pieces = self.layout.pieces(record, open);
        let mut y = area.y;
        let last = pieces.len() - 1;
        for (at, piece) in pieces.iter().enumerate().skip(skip) {
            if y >= area.bottom() {
                return y;
            }
            let line = Rect { y, height: 1, ..area };
            self.highlight(line, buf);
            if at == 0 {
                self.prefix(record, line, buf);
            }
            if self.is_chosen && self.layout.prefix() > 0 {
                // The blank before the message carries the mark, so that it is seen without colours.
                let x = area.x + self.layout.prefix() - 1;
                mark(buf, x.min(area.right() - 1), y, if self.theme.ascii { ">" } else { "▌" }, self.style(Role::Key));
            }
            let note = if at == last && !open { layout::folded_note(record, self.layout.room()) } else { None };
            self.message(record, piece, note.as_deref(), line, buf);
            y += 1;
        }
        if open
            && y < area.bottom()
            && let Some(cut) = record.cut_words()
        {
            let text = format!("({cut} not shown)");
            let indent = self.layout.prefix().min(area.width);
            let line = Rect { x: area.x + indent, y, width: area.width - indent, height: 1 };
            self.highlight(Rect { y, height: 1, ..area }, buf);
            y = self.words(&text, Role::LogGap, line, buf);
        }
        y
    }

    /// Lays the selection under a line.
    fn highlight(&self, area: Rect, buf: &mut Buffer) {
        if let Some(style) = self.selection {
            buf.set_style(Rect { height: 1, ..area }, style);
        }
    }

    fn style(&self, role: Role) -> Style {
        self.theme.style(role).patch(self.selection.unwrap_or_default())
    }

    fn prefix(&self, record: &Record, area: Rect, buf: &mut Buffer) {
        if self.layout.raw {
            return;
        }
        let mut x = area.x;
        let mut put = |text: &str, cells: u16, style: Style| {
            let room = usize::from(area.right().saturating_sub(x).min(cells));
            buf.set_stringn(x, area.y, text, room, style);
            x = x.saturating_add(cells + 1).min(area.right());
        };
        let cells = self.layout.time;
        if cells > 0 {
            let hit = record.time_span.as_ref().is_some_and(|span| {
                record
                    .hits
                    .iter()
                    .any(|(line, hit)| *line == 0 && (hit.start as usize) < span.end && (hit.end as usize) > span.start)
            });
            let role = match (hit, record.context) {
                (true, _) => Role::LogHit,
                (false, true) => Role::LogContext,
                (false, false) => Role::LogTime,
            };
            let form = match cells {
                TIME_CELLS => "%H:%M:%S",
                DATE_CELLS => "%m-%d %H:%M:%S",
                _ => "%m-%d %H:%M:%S%.3f",
            };
            let time = record.position.time.map(|it| it.to_zoned(self.cx.zone.clone()).strftime(form).to_string());
            put(&time.unwrap_or_default(), cells, self.style(role));
        }
        let (letter, role) = level(record.level);
        put(letter, 1, self.style(if record.context { Role::LogContext } else { role }));
        let cells = self.layout.source;
        if cells > 0 {
            let name = sanitise::text(words::source_name(self.cx.board, &record.position.source));
            let colour = self.colours.get(&record.position.source).copied().unwrap_or(Role::LogSource);
            let role = if record.context { Role::LogContext } else { colour };
            put(&shortened(&name, usize::from(cells), self.theme), cells, self.style(role));
        }
        let role = if record.context { Role::LogContext } else { Role::TextStrong };
        for (at, (_, cells)) in self.layout.fields.iter().copied().enumerate() {
            let cell = record.cells.get(at).map_or("", String::as_str);
            put(&shortened(&sanitise::text(cell), usize::from(cells), self.theme), cells, self.style(role));
        }
    }

    fn message(&self, record: &Record, piece: &Piece, note: Option<&str>, area: Rect, buf: &mut Buffer) {
        let indent = self.layout.prefix().min(area.width);
        let mut x = area.x + indent;
        let end = area.right();
        let base = match (record.context, record.level) {
            (true, _) => Role::LogContext,
            (false, Some(Level::Fatal)) => Role::LogFatal,
            _ => Role::Text,
        };
        let base = self.theme.style(base);
        let Some(text) = record.lines.get(piece.line) else { return };
        let note_cells = note.map_or(0, UnicodeWidthStr::width).min(usize::from(end - x) / 2);
        let room = usize::from(end - x).saturating_sub(note_cells);
        let dim = self.style(Role::TextDim);
        if self.layout.wrap {
            for range in &piece.ranges {
                x = self.run(record, piece.line, range, base, (x, area.y, end), buf);
            }
        } else {
            let visible = layout::visible(text, &piece.ranges, self.pane.look.scrolled, room);
            let start = x;
            x += visible.pad as u16;
            for range in &visible.ranges {
                x = self.run(record, piece.line, range, base, (x, area.y, start + room as u16), buf);
            }
            let more = if self.theme.ascii { ">" } else { "…" };
            if visible.more_left && room > 1 {
                mark(buf, start, area.y, if self.theme.ascii { "<" } else { "…" }, dim);
            }
            if visible.more_right && room > 0 {
                // The last cell may hold the right half of a wide character: the mark stands behind what fits.
                x = x.min(start + room as u16 - 1);
                mark(buf, x, area.y, more, dim);
                x += 1;
            }
        }
        if let Some(note) = note {
            buf.set_stringn(x, area.y, note, usize::from(end.saturating_sub(x)), dim);
        }
    }

    /// Draws bytes of a line in the log's own colours with the hits on top; returns the column after them.
    fn run(
        &self,
        record: &Record,
        line: usize,
        range: &Range<usize>,
        base: Style,
        (mut x, y, end): (u16, u16, u16),
        buf: &mut Buffer,
    ) -> u16 {
        let text = &record.lines[line];
        let of_line = |it: u32| it as usize == line;
        let mut edges = vec![range.start, range.end];
        let spans = record.styles.iter().filter(|it| of_line(it.line)).map(|it| &it.range);
        let hits = record.hits.iter().filter(|it| of_line(it.0)).map(|it| &it.1);
        for span in spans.chain(hits) {
            edges.extend([span.start as usize, span.end as usize].into_iter().filter(|it| range.contains(it)));
        }
        edges.sort_unstable();
        edges.dedup();
        for pair in edges.windows(2) {
            if x >= end {
                break;
            }
            let covers = |it: &Range<u32>| it.start as usize <= pair[0] && pair[0] < it.end as usize;
            let mut style = base;
            if !record.context {
                for span in record.styles.iter().filter(|it| of_line(it.line) && covers(&it.range)) {
                    style = style.patch(sgr(span.foreground, span.bold));
                }
            }
            style = style.patch(self.selection.unwrap_or_default());
            if record.hits.iter().any(|it| of_line(it.0) && covers(&it.1)) {
                style = style.patch(self.theme.style(Role::LogHit));
            }
            let piece = layout::slice(text, &(pair[0]..pair[1]));
            (x, _) = buf.set_stringn(x, y, piece, usize::from(end - x), style);
        }
        x
    }
}

/// Puts a mark over a cell; half of a wide character that it covers becomes a blank.
fn mark(buf: &mut Buffer, x: u16, y: u16, symbol: &str, style: Style) {
    if let Some(cell) = buf.cell_mut((x, y)) {
        let wide = cell.symbol().width() > 1;
        cell.set_symbol(symbol).set_style(style);
        if wide && let Some(next) = buf.cell_mut((x + 1, y)) {
            next.set_symbol(" ");
        }
    }
}

/// The log's own colour. The sixteen named ones stay named, so that the terminal's palette decides.
fn sgr(foreground: Option<u8>, bold: bool) -> Style {
    let mut style = Style::default();
    if let Some(code) = foreground {
        style = style.fg(NAMED_COLORS.get(usize::from(code)).copied().unwrap_or(Color::Indexed(code)));
    }
    if bold { style.add_modifier(Modifier::BOLD) } else { style }
}

/// The letter and the role of a level.
fn level(level: Option<Level>) -> (&'static str, Role) {
    match level {
        None => (" ", Role::Text),
        Some(Level::Trace) => ("T", Role::LogTrace),
        Some(Level::Debug) => ("D", Role::LogDebug),
        Some(Level::Info) => ("I", Role::LogInfo),
        Some(Level::Warn) => ("W", Role::LogWarn),
        Some(Level::Error) => ("E", Role::LogError),
        Some(Level::Fatal) => ("F", Role::LogFatal),
    }
}

fn shortened(text: &str, cells: usize, theme: &Theme) -> String {
    if text.width() <= cells {
        return text.to_string();
    }
    let mut short = String::new();
    for it in text.chars() {
        let mut longer = short.clone();
        longer.push(it);
        if longer.width() + 1 > cells {
            break;
        }
        short = longer;
    }
    short.push(if theme.ascii { '>' } else { '…' });
    short
}

fn draw_empty(pane: &LogsPane, cx: &Context<'_>, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let style = theme.style(Role::TextDim);
    let mut y = area.y;
    for text in words::empty(pane, cx.board) {
        let text = if theme.ascii { text.replace('…', "...") } else { text };
        let ranges: Vec<_> = layout::wrap_words(&text, usize::from(area.width));
        for range in ranges {
            if y >= area.bottom() {
                return;
            }
            buf.set_stringn(area.x, y, &text[range], usize::from(area.width), style);
            y += 1;
        }
    }
}

fn draw_prompt(pane: &LogsPane, theme: &Theme, area: Rect, buf: &mut Buffer) -> Option<Cell> {
    let prompt = pane.prompt.as_ref()?;
    let row = Rect { y: area.bottom() - 1, height: 1, ..area };
    if let Some(error) = &prompt.error
        && area.height > 1
    {
        let line = Rect { y: row.y - 1, ..row };
        for x in line.left()..line.right() {
            buf[(x, line.y)].reset();
        }
        buf.set_stringn(line.x, line.y, error, usize::from(line.width), theme.style(Role::NoticeError));
    }
    for x in row.left()..row.right() {
        buf[(x, row.y)].reset();
    }
    match pane.input() {
        Some(text) => Some(input::draw(theme, prompt.label(), text, row, buf)),
        None => {
            let marks: Vec<String> = pane.marks.keys().map(char::to_string).collect();
            let hint = match prompt.kind {
                PromptKind::GoToMark if marks.is_empty() => "' goes back to before the last jump".to_string(),
                PromptKind::GoToMark => format!("{} or '", marks.join(" ")),
                _ => String::new(),
            };
            let (x, y) = buf.set_stringn(row.x, row.y, prompt.label(), usize::from(row.width), theme.style(Role::Key));
            let room = usize::from(row.right().saturating_sub(x));
            buf.set_stringn(x, y, hint, room, theme.style(Role::InputHint));
            Some(Cell::new(x.min(row.right() - 1), y))
        }
    }
}
