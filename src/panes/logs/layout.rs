//! Lays rows out into screen lines: what is cut, wrapped, folded, and which row stands where.
//!
//! Pure arithmetic over text and widths. Widths are counted in cells by grapheme, so a CJK character is never
//! split between two lines and never overflows the pane.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::domain::log::{Level, Record, Row};
use crate::domain::query::level_of_word;

/// Lines of text wrap no further than this per record line: a line of `MAX_LINE_CHARS` at 40 columns fits.
const WRAP_LINES_MAX: usize = 512;

/// Cells of a message below which the count of folded lines is only a number.
const NOTE_ROOM: usize = 40;

/// How records become screen lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout<'a> {
    /// Columns of the pane.
    pub width: u16,
    /// Long lines continue on the next screen line.
    pub wrap: bool,
    /// Lines are shown as they are on disk: nothing cut out, no columns before them.
    pub raw: bool,
    /// Cells of the time column; 0 is none.
    pub time: u16,
    /// Cells of the source column; 0 is none.
    pub source: u16,
    /// The columns for chosen fields: name and cells, in their order.
    pub fields: Vec<(&'a str, u16)>,
    /// Every record shows all its lines.
    pub unfold: bool,
}

/// One screen line of a record: which line of it and which bytes of that line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Index into `Record::lines`.
    pub line: usize,
    /// Byte ranges of that line, one after another; two where the timestamp was cut out.
    pub ranges: Vec<Range<usize>>,
    /// First screen line of its line (the first of the record carries time, level and source).
    pub start: bool,
}

impl Layout<'_> {
    /// Cells before the message: time, level, source and chosen fields with their blanks.
    pub fn prefix(&self) -> u16 {
        let column = |cells: u16| if cells > 0 { cells + 1 } else { 0 };
        if self.raw { 0 } else { column(self.time) + 2 + column(self.source) + self.field_cells() }
    }

    /// Cells of the columns for chosen fields, each with its blank.
    pub fn field_cells(&self) -> u16 {
        self.fields.iter().map(|(_, cells)| cells + 1).sum()
    }

    /// Cells for the message of a record.
    pub fn room(&self) -> usize {
        usize::from(self.width.saturating_sub(self.prefix())).max(1)
    }

    /// Screen lines that a row takes.
    pub fn height(&self, row: &Row, expanded: bool) -> usize {
        match row {
            Row::Gap(_) | Row::Break => 1,
            Row::Record(record) => {
                let open = expanded || self.unfold;
                let lines = if open { record.lines.len().max(1) } else { 1 };
                let cut = usize::from(open && record.cut_bytes > 0);
                if !self.wrap {
                    return lines + cut;
                }
                let wrapped = record.lines.iter().take(lines).enumerate();
                let wrapped: usize = wrapped.map(|(at, _)| self.wrapped(record, at, open).len()).sum();
                wrapped.max(1) + cut
            }
        }
    }

    /// The screen lines of a record without the horizontal scroll, which is the view's own.
    pub fn pieces(&self, record: &Record, expanded: bool) -> Vec<Piece> {
        let open = expanded || self.unfold;
        let lines = if open { record.lines.len() } else { record.lines.len().min(1) };
        let mut pieces = Vec::new();
        for line in 0..lines {
            let wrapped = if self.wrap { self.wrapped(record, line, open) } else { vec![self.shown(record, line)] };
            for (at, ranges) in wrapped.into_iter().enumerate() {
                pieces.push(Piece { line, ranges, start: at == 0 });
            }
        }
        if pieces.is_empty() {
            pieces.push(Piece { line: 0, ranges: Vec::new(), start: true });
        }
        pieces
    }

    /// The bytes of a line that are shown: all of them, less what the columns show of the first one.
    pub fn shown(&self, record: &Record, line: usize) -> Vec<Range<usize>> {
        let Some(text) = record.lines.get(line) else { return Vec::new() };
        let whole = || std::iter::once(0..text.len()).collect();
        if self.raw || line > 0 {
            return whole();
        }
        let mut ranges: Vec<Range<usize>> = match &record.time_span {
            Some(span) => {
                let cut = time_cut(text, span.clone());
                [0..cut.start, cut.end..text.len()].into_iter().filter(|it| !it.is_empty()).collect()
            }
            None => whole(),
        };
        if let Some(level) = record.level
            && let Some(first) = ranges.first_mut()
            && let Some(end) = level_end(&text[first.clone()], level).map(|it| first.start + it)
            && !record.hits.iter().any(|(line, hit)| *line == 0 && (hit.start as usize) < end)
        {
            first.start = end;
        }
        let (mut is_cut, mut by_place) = (false, Vec::new());
        for (at, ((name, cells), value)) in self.fields.iter().zip(&record.cells).enumerate() {
            // What a column cuts is read in the message, and so is what a query or a search was looking for.
            let is_hit = |pair: &Range<usize>| {
                let touches = |hit: &Range<u32>| (hit.start as usize) < pair.end && (hit.end as usize) > pair.start;
                record.hits.iter().any(|(line, hit)| *line == 0 && touches(hit))
            };
            if value.is_empty() || self::cells(value) > usize::from(*cells) {
                continue;
            }
            let place = || {
                let span = record.cell_spans.get(at)?.clone()?;
                placed(text, value, span.start as usize..span.end as usize)
            };
            let said = pair(text, name, value);
            if let (None, Some(place)) = (&said, place()) {
                by_place.extend(Some(place).filter(|it| !is_hit(it)));
                continue;
            }
            let said = said.or_else(|| leading(text, name, value));
            if let Some(said) = said.filter(|it| !is_hit(it)) {
                ranges = without(ranges, &said);
                is_cut = true;
            }
        }
        for said in standing_alone(text, by_place) {
            ranges = without(ranges, &said);
            is_cut = true;
        }
        if is_cut { closed_up(text, ranges) } else { ranges }
    }

    fn wrapped(&self, record: &Record, line: usize, open: bool) -> Vec<Vec<Range<usize>>> {
        let Some(text) = record.lines.get(line) else { return Vec::new() };
        // The folded count stands behind the text, so it must fit there.
        let note = if open { 0 } else { folded_note(record, self.room()).map_or(0, |it| it.width()) };
        let mut lines = wrap(text, &self.shown(record, line), self.room());
        let last = lines.last().map_or(0, |it| it.iter().map(|range| cells(slice(text, range))).sum::<usize>());
        if note > 0 && last + note > self.room() && lines.len() < WRAP_LINES_MAX {
            lines.push(Vec::new());
        }
        lines
    }
}

/// `(+14 lines)` for a record whose further lines are folded away; `+14` where room is short. Says when what a query or
/// a search was looking for stands only there.
pub fn folded_note(record: &Record, room: usize) -> Option<String> {
    let more = record.lines.len().saturating_sub(1);
    let is_below = !record.hits.is_empty() && record.hits.iter().all(|(line, _)| *line > 0);
    match (more, room < NOTE_ROOM) {
        (1.., false) if is_below => Some(format!(" (+{more}, match)")),
        (0, _) => (record.cut_bytes > 0).then(|| " (cut)".to_string()),
        (_, true) => Some(format!(" +{more}")),
        (1, false) => Some(" (+1 line)".to_string()),
        (_, false) => Some(format!(" (+{more} lines)")),
    }
}

/// Returns the bytes to leave out so that a line does not show its time a second time.
///
/// Besides the timestamp itself these are its brackets or quotes, the key it stands behind (`time=`,
/// `"ts":`), and one separator after it. Where cutting would leave something odd, only the span goes.
fn time_cut(text: &str, span: Range<usize>) -> Range<usize> {
    let (mut start, mut end) = (floor_char(text, span.start), floor_char(text, span.end.max(span.start)));
    let bytes = text.as_bytes();
    let before = |at: usize| at.checked_sub(1).map(|it| bytes[it]);
    let pairs = [(b'[', b']'), (b'(', b')'), (b'"', b'"'), (b'<', b'>')];
    let pair = pairs.iter().find(|(open, close)| before(start) == Some(*open) && bytes.get(end) == Some(close));
    if pair.is_some() {
        (start, end) = (start - 1, end + 1);
    }
    // A key before it: `time=…` or `"time": …`.
    let head = text[..start].trim_end();
    if let Some(head) = head.strip_suffix('=') {
        start = head.rfind(|it: char| !it.is_ascii_alphanumeric() && it != '_').map_or(0, |at| at + 1);
        start = floor_next(text, start);
    } else if let Some(head) = head.strip_suffix(':').map(str::trim_end).and_then(|it| it.strip_suffix('"'))
        && let Some(quote) = head.rfind('"')
    {
        start = quote;
    }
    while bytes.get(end).is_some_and(|it| matches!(it, b' ' | b',' | b'|')) {
        end += 1;
    }
    start..end
}

/// Where a text goes on behind the level that it begins with; `None` when it begins with no level, or is nothing else.
///
/// Prose begins with such words as well (`Error: …`, `info about …`): only capitals, brackets and columns count.
fn level_end(text: &str, level: Level) -> Option<usize> {
    let begins = text.len() - text.trim_start_matches([' ', '\t']).len();
    let rest = &text[begins..];
    let close = match rest.as_bytes().first()? {
        b'[' => Some(']'),
        b'(' => Some(')'),
        b'<' => Some('>'),
        _ => None,
    };
    let rest = &rest[usize::from(close.is_some())..];
    let word = &rest[..rest.find(|it: char| !it.is_ascii_alphabetic()).unwrap_or(rest.len())];
    if level_of_word(word) != Some(level) {
        return None;
    }
    let padded = rest[word.len()..].trim_start_matches(' ');
    let after = match close {
        Some(close) => padded.strip_prefix(close)?,
        None if rest[word.len()..].starts_with('\t') => padded,
        None if word.bytes().all(|it| it.is_ascii_uppercase()) => {
            padded.strip_prefix(':').or((padded.len() < rest.len() - word.len()).then_some(padded))?
        }
        None => return None,
    };
    let message = after.trim_start_matches([' ', '\t']);
    (!message.is_empty()).then_some(text.len() - message.len())
}

/// Where a line says `name=value`, with the blanks behind it; the name may be the end of a path, the value quoted.
fn pair(text: &str, name: &str, value: &str) -> Option<Range<usize>> {
    let is_of_key = |it: char| it.is_alphanumeric() || matches!(it, '_' | '-' | '.' | '@');
    text.match_indices('=').find_map(|(sign, _)| {
        let start = text[..sign].rfind(|it| !is_of_key(it)).map_or(0, |at| at + char_length(text, at));
        let key = &text[start..sign];
        let is_named = key == name || key.strip_suffix(name).is_some_and(|it| it.ends_with('.'));
        // Behind a bracket it is part of something that would look odd without it.
        let begins = text[..start].is_empty() || text[..start].ends_with([' ', '\t']);
        if !is_named || !begins {
            return None;
        }
        let rest = &text[sign + 1..];
        let length = match rest.strip_prefix('"') {
            Some(quoted) => {
                let said: String = quoted_value(quoted)?;
                let length = quoted_length(quoted)?;
                (said == value).then_some(length + 2)?
            }
            None => {
                let length = rest.find([' ', '\t', ',']).unwrap_or(rest.len());
                (&rest[..length] == value).then_some(length)?
            }
        };
        let end = sign + 1 + length;
        let behind = text[end..].trim_start_matches([' ', '\t', ',']);
        Some(start..text.len() - behind.len())
    })
}

/// A value where the engine found it, with the quotes or brackets around it and the blanks behind it.
fn placed(text: &str, value: &str, span: Range<usize>) -> Option<Range<usize>> {
    let Range { mut start, mut end } = span;
    if text.get(start..end)? != value {
        return None;
    }
    let bytes = text.as_bytes();
    let around = start.checked_sub(1).map(|it| bytes[it]).zip(bytes.get(end));
    if matches!(around, Some((b'"', b'"') | (b'[', b']') | (b'(', b')'))) {
        (start, end) = (start - 1, end + 1);
    }
    let behind = text[end..].trim_start_matches([' ', '\t']);
    Some(start..text.len() - behind.len())
}

/// Of places of values those that are words of their own. What stands in quotes is taken out as a whole or not at all: a
/// request without its path is none.
fn standing_alone(text: &str, places: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let is_word = |it: &Range<usize>| {
        let before = it.start.checked_sub(1).map(|at| bytes[at]);
        let begins = matches!(before, None | Some(b' ' | b'\t' | b'[' | b'(')) || bytes.get(it.start) == Some(&b'"');
        let ends = matches!(bytes.get(it.end), None | Some(b']' | b')' | b',' | b';'));
        begins && (ends || it.end.checked_sub(1).is_some_and(|at| matches!(bytes[at], b' ' | b'\t')))
    };
    let mut alone = places;
    let mut at = 0;
    while let Some(open) = text.get(at..).and_then(|it| it.find('"')).map(|it| at + it) {
        let Some(close) = quoted_length(&text[open + 1..]).map(|it| open + 1 + it) else { break };
        at = close + 1;
        let (inside, others): (Vec<_>, Vec<_>) = alone.into_iter().partition(|it| open < it.start && it.start < close);
        alone = others;
        let mut rest: Vec<Range<usize>> = std::iter::once(open + 1..close).collect();
        for place in &inside {
            rest = without(rest, place);
        }
        if !inside.is_empty() && rest.iter().all(|it| slice(text, it).trim().is_empty()) {
            let behind = text[close + 1..].trim_start_matches([' ', '\t']);
            alone.push(open..text.len() - behind.len());
        }
    }
    alone.retain(is_word);
    alone
}

/// The message of a record that was made readable: what its line begins with.
fn leading(text: &str, name: &str, value: &str) -> Option<Range<usize>> {
    let is_message = ["message", "msg"].iter().any(|it| name.eq_ignore_ascii_case(it));
    let behind = text.strip_prefix(value).filter(|it| is_message && (it.is_empty() || it.starts_with(' ')))?;
    Some(0..text.len() - behind.trim_start().len())
}

/// Ranges without the quotes and brackets from between which all was cut.
fn closed_up(text: &str, ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut closed: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for mut range in ranges {
        if let Some(last) = closed.last_mut() {
            for pair in ["\"\"", "[]", "()"] {
                let (open, close) = pair.split_at(1);
                if slice(text, last).ends_with(open) && slice(text, &range).starts_with(close) {
                    (last.end, range.start) = (last.end - 1, range.start + 1);
                }
            }
            if slice(text, last).ends_with(' ') && slice(text, &range).starts_with(' ') {
                range.start += 1;
            }
        }
        closed.push(range);
    }
    closed.retain(|it| it.start < it.end);
    closed
}

/// Bytes up to the closing quote.
fn quoted_length(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|it| {
        let ends = it == b'"' && !is_escaped;
        is_escaped = it == b'\\' && !is_escaped;
        ends
    })
}

/// The value up to the closing quote, without the signs that keep quotes in it.
fn quoted_value(text: &str) -> Option<String> {
    let mut value = String::new();
    let mut chars = text[..quoted_length(text)?].chars();
    while let Some(it) = chars.next() {
        value.push(if it == '\\' { chars.next()? } else { it });
    }
    Some(value)
}

fn char_length(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(1, char::len_utf8)
}

/// Ranges less what lies in another one.
fn without(ranges: Vec<Range<usize>>, cut: &Range<usize>) -> Vec<Range<usize>> {
    let parts = ranges.into_iter().flat_map(|it| [it.start..it.end.min(cut.start), it.start.max(cut.end)..it.end]);
    parts.filter(|it| it.start < it.end).collect()
}

fn floor_next(text: &str, mut at: usize) -> usize {
    while at < text.len() && !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// The largest character boundary at or before `at`: ranges come from outside and are not trusted.
pub fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The bytes of a range, wherever it points.
pub fn slice<'a>(text: &'a str, range: &Range<usize>) -> &'a str {
    let (start, end) = (floor_char(text, range.start), floor_char(text, range.end));
    if start < end { &text[start..end] } else { "" }
}

/// Cells that a text takes when it is drawn.
pub fn cells(text: &str) -> usize {
    if text.is_ascii() {
        return text.bytes().filter(|it| !it.is_ascii_control()).count();
    }
    text.graphemes(true).map(grapheme_cells).sum()
}

fn grapheme_cells(grapheme: &str) -> usize {
    // The buffer leaves controls out, so they take no room here either.
    if grapheme.chars().any(char::is_control) { 0 } else { grapheme.width() }
}

/// Breaks the ranges of a text into lines of at most `room` cells; never empty.
fn wrap(text: &str, ranges: &[Range<usize>], room: usize) -> Vec<Vec<Range<usize>>> {
    let mut lines: Vec<Vec<Range<usize>>> = vec![Vec::new()];
    let mut used = 0;
    'ranges: for range in ranges {
        let mut start = range.start;
        // Most long lines are ASCII, where a cell is a byte: they must not cost a walk over graphemes.
        if slice(text, range).bytes().all(|it| it.is_ascii_graphic() || it == b' ') {
            while range.end - start > room - used.min(room) {
                let at = start + (room - used.min(room));
                push(&mut lines, start..at);
                if lines.len() == WRAP_LINES_MAX {
                    break 'ranges;
                }
                lines.push(Vec::new());
                (start, used) = (at, 0);
            }
            used += range.end - start;
            push(&mut lines, start..range.end);
            continue;
        }
        for (at, grapheme) in slice(text, range).grapheme_indices(true) {
            let width = grapheme_cells(grapheme);
            if used + width > room && used > 0 {
                let at = range.start + at;
                push(&mut lines, start..at);
                if lines.len() == WRAP_LINES_MAX {
                    break 'ranges;
                }
                lines.push(Vec::new());
                (start, used) = (at, 0);
            }
            used += width;
        }
        push(&mut lines, start..range.end);
    }
    lines
}

/// Breaks our own words into lines of at most `room` cells, at blanks.
pub fn wrap_words(text: &str, room: usize) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let (mut start, mut end) = (0, 0);
    for (at, word) in text.split_word_bound_indices() {
        let next = at + word.len();
        if cells(&text[start..next]) > room && !word.trim().is_empty() && end > start {
            lines.push(start..end);
            start = at;
        }
        end = next;
    }
    lines.push(start..end);
    lines
}

fn push(lines: &mut [Vec<Range<usize>>], range: Range<usize>) {
    if let Some(line) = lines.last_mut()
        && !range.is_empty()
    {
        line.push(range);
    }
}

/// What of a line is visible after `skip` cells in `room` cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    /// Byte ranges to draw.
    pub ranges: Vec<Range<usize>>,
    /// Blank cells before them: half of a wide character that is scrolled out.
    pub pad: usize,
    /// Text is hidden to the left.
    pub more_left: bool,
    /// Text is hidden to the right.
    pub more_right: bool,
}

/// Cuts the ranges of a text to a window of cells.
pub fn visible(text: &str, ranges: &[Range<usize>], skip: usize, room: usize) -> Visible {
    let mut visible = Visible { ranges: Vec::new(), pad: 0, more_left: false, more_right: false };
    let mut column = 0;
    for range in ranges {
        let mut start = None;
        let mut end = range.start;
        for (at, grapheme) in slice(text, range).grapheme_indices(true) {
            let (at, width) = (range.start + at, grapheme_cells(grapheme));
            if column < skip {
                visible.more_left = true;
                column += width;
                if column > skip {
                    visible.pad = column - skip;
                }
                continue;
            }
            if column + width > skip + room {
                visible.more_right = true;
                break;
            }
            start.get_or_insert(at);
            end = at + grapheme.len();
            column += width;
        }
        if let Some(start) = start {
            visible.ranges.push(start..end);
        }
        if visible.more_right {
            break;
        }
    }
    visible
}

/// Which row stands at the top of the body and where the selected one stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arranged {
    /// Index of the topmost row.
    pub first: usize,
    /// Screen lines of it that are scrolled out.
    pub skip: usize,
    /// Screen line of the selected row's first line; negative when that is scrolled out.
    pub offset: i32,
}

/// Arranges rows so that `selected` begins at screen line `offset`, without blank lines while there are rows.
pub fn arrange(
    rows: usize,
    height_of: impl Fn(usize) -> usize,
    selected: usize,
    offset: i32,
    height: usize,
) -> Arranged {
    if rows == 0 || height == 0 {
        return Arranged::default();
    }
    let selected = selected.min(rows - 1);
    let own = height_of(selected) as i32;
    let offset = offset.clamp(1 - own, height as i32 - 1);
    let mut at = Arranged { first: selected, skip: (-offset).max(0) as usize, offset };
    let unfilled = climb(&mut at, &height_of, offset.max(0) as usize);
    at.offset -= unfilled as i32;
    let mut below = 0;
    for row in at.first..rows {
        below += height_of(row);
        if below - at.skip >= height {
            return at;
        }
    }
    let missing = height - (below - at.skip);
    let unfilled = climb(&mut at, &height_of, missing);
    at.offset += (missing - unfilled) as i32;
    at
}

/// Moves the top up by some screen lines; returns how many there were no rows for.
fn climb(at: &mut Arranged, height_of: &impl Fn(usize) -> usize, lines: usize) -> usize {
    let mut wanted = lines;
    while wanted > 0 {
        if at.skip >= wanted {
            at.skip -= wanted;
            return 0;
        }
        wanted -= at.skip;
        at.skip = 0;
        if at.first == 0 {
            return wanted;
        }
        at.first -= 1;
        at.skip = height_of(at.first);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_cut(line: &str, time: &str, expected: &str) {
        let start = line.find(time).expect("the fixture contains its time");
        let cut = time_cut(line, start..start + time.len());
        assert_eq!(format!("{}{}", &line[..cut.start], &line[cut.end..]), expected);
    }

    #[test]
    fn the_time_is_cut_with_its_brackets_and_key() {
        check_cut("2024-08-19T14:51:30Z E pool", "2024-08-19T14:51:30Z", "E pool");
        check_cut("[2024-08-19 14:51:30] E pool", "2024-08-19 14:51:30", "E pool");
        check_cut("1.2.3.4 - [19/Aug/2024:14:51:30 +0800] \"GET", "19/Aug/2024:14:51:30 +0800", "1.2.3.4 - \"GET");
        check_cut("time=14:51:30 level=warn", "14:51:30", "level=warn");
        check_cut("time=\"14:51:30\" level=warn", "14:51:30", "level=warn");
        check_cut("{\"ts\":\"14:51:30\",\"msg\":\"x\"}", "14:51:30", "{\"msg\":\"x\"}");
        check_cut("{\"ts\": 1724050290, \"msg\":\"x\"}", "1724050290", "{\"msg\":\"x\"}");
    }

    #[test]
    fn what_stands_in_columns_by_its_place_is_not_said_again() {
        let line = "10.0.0.1 - bob \"GET /a?b HTTP/1.1\" 200 512 \"-\" \"curl/8\"";
        let check = |names: &[(&str, &str)], expected: &str| {
            let mut record = record_of(line);
            record.cells = names.iter().map(|(_, value)| (*value).to_string()).collect();
            let place = |value: &str| line.find(value).map(|at| at as u32..(at + value.len()) as u32);
            record.cell_spans = names.iter().map(|(_, value)| place(value)).collect();
            let fields = names.iter().map(|(name, _)| (*name, 24)).collect();
            let layout = Layout { width: 200, wrap: false, raw: false, time: 8, source: 0, fields, unfold: false };
            let shown: String = layout.shown(&record, 0).iter().map(|it| slice(line, it)).collect();
            assert_eq!(shown, expected, "{names:?}");
        };
        check(&[("status", "200"), ("bytes", "512")], "10.0.0.1 - bob \"GET /a?b HTTP/1.1\" \"-\" \"curl/8\"");
        check(&[("agent", "curl/8"), ("url", "/a?b")], "10.0.0.1 - bob \"GET /a?b HTTP/1.1\" 200 512 \"-\" ");
        check(
            &[("protocol", "HTTP/1.1"), ("method", "GET"), ("path", "/a?b")],
            "10.0.0.1 - bob 200 512 \"-\" \"curl/8\"",
        );
        check(
            &[("status", "200"), ("path", "/a?b"), ("method", "GET")],
            "10.0.0.1 - bob \"GET /a?b HTTP/1.1\" 512 \"-\" \"curl/8\"",
        );
        check(&[("version", "1.1"), ("tool", "curl")], line);
        check(&[("request", "GET /a?b HTTP/1.1")], "10.0.0.1 - bob 200 512 \"-\" \"curl/8\"");
        check(&[("client", "10.0.0.1"), ("user", "bob")], "- \"GET /a?b HTTP/1.1\" 200 512 \"-\" \"curl/8\"");
    }

    fn record_of(line: &str) -> Record {
        let source = crate::domain::ids::SourceId::new(&crate::domain::ids::HostId::new("h"), "a");
        let cursor = crate::domain::log::Cursor::Store { nanos: 0, tie: String::new() };
        Record::new(crate::domain::log::Position { time: None, source, cursor }, vec![line.to_string()])
    }

    #[test]
    fn a_level_that_the_column_shows_is_not_said_again() {
        let check = |text: &str, level: Level, expected: &str| {
            assert_eq!(&text[level_end(text, level).unwrap_or(0)..], expected, "{text}");
        };
        check("INFO start", Level::Info, "start");
        check("[warn] 12#0: slow", Level::Warn, "12#0: slow");
        check(" [INFO ] [main] x", Level::Info, "[main] x");
        check("ERROR: pool", Level::Error, "pool");
        check("info\tstart", Level::Info, "start");
        for kept in
            ["Error: cannot", "info about it", "INFO", "INFO[0001] x", "ERROR-7 x", "level=info x", "[info", "WARN x"]
        {
            check(kept, Level::Info, kept);
        }
        check("Error: cannot", Level::Error, "Error: cannot");
        check("", Level::Info, "");
    }

    #[test]
    fn what_a_column_shows_is_found_in_the_line() {
        let check = |text: &str, name: &str, value: &str, expected: Option<&str>| {
            let left = pair(text, name, value).map(|it| format!("{}{}", &text[..it.start], &text[it.end..]));
            assert_eq!(left.as_deref(), expected, "{text}");
        };
        check("pool status=502 user=wei", "status", "502", Some("pool user=wei"));
        check("pool http.status=502", "status", "502", Some("pool "));
        check("status=502, user=wei", "status", "502", Some("user=wei"));
        check(r#"x path="/a b" n=1"#, "path", "/a b", Some("x n=1"));
        check(r#"x path="say \"a\"" n=1"#, "path", r#"say "a""#, Some("x n=1"));
        check("数据 status=502 库", "status", "502", Some("数据 库"));
        for kept in ["pool laststatus=502", "pool status=5021", "pool status=", "(status=502)", "status: 502", "\"=502"]
        {
            check(kept, "status", "502", None);
        }
        let cut = without(vec![0..4, 6..20], &(8..10));
        assert_eq!(cut, [0..4, 6..8, 10..20]);
    }

    #[test]
    fn wide_characters_are_never_split_between_lines() {
        let text = "a数据库b";
        let lines = wrap(text, std::slice::from_ref(&(0..text.len())), 4);
        let lines: Vec<String> = lines.iter().map(|it| it.iter().map(|range| slice(text, range)).collect()).collect();
        assert_eq!(lines, ["a数", "据库", "b"]);
    }

    #[test]
    fn ascii_wraps_as_other_text_does() {
        let count = |text: &str, room| wrap(text, std::slice::from_ref(&(0..text.len())), room).len();
        assert_eq!((count("", 4), count("abcd", 4), count("abcde", 4), count("abcdefghi", 4)), (1, 1, 2, 3));
        let lines = wrap("ab12345", &[0..2, 2..7], 4);
        assert_eq!(lines.concat(), [0..2, 2..4, 4..7]);
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn half_a_wide_character_becomes_a_blank_when_scrolled() {
        let text = "数据";
        let shown = visible(text, std::slice::from_ref(&(0..text.len())), 1, 4);
        assert_eq!((shown.pad, slice(text, &shown.ranges[0]), shown.more_left), (1, "据", true));
    }

    #[test]
    fn rows_fill_the_body_from_the_tail_and_from_the_head() {
        let one = |_: usize| 1;
        assert_eq!(arrange(100, one, 99, 4, 5), Arranged { first: 95, skip: 0, offset: 4 });
        // The last row asked for at the top: there is nothing below it, so it goes to the bottom.
        assert_eq!(arrange(100, one, 99, 0, 5), Arranged { first: 95, skip: 0, offset: 4 });
        assert_eq!(arrange(100, one, 1, 4, 5), Arranged { first: 0, skip: 0, offset: 1 });
        assert_eq!(arrange(2, one, 1, 4, 5), Arranged { first: 0, skip: 0, offset: 1 });
    }

    #[test]
    fn a_row_taller_than_the_body_scrolls_inside() {
        let height_of = |row: usize| if row == 1 { 20 } else { 1 };
        assert_eq!(arrange(3, height_of, 1, -7, 5), Arranged { first: 1, skip: 7, offset: -7 });
        assert_eq!(arrange(3, height_of, 2, 4, 5), Arranged { first: 1, skip: 16, offset: 4 });
    }
}
