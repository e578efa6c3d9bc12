//! The rows: groups with their counts; of a probe mark, name, word, since, sparkline, and what is wrong or how long
//! the last answer took.

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::domain::alert::policy::alert::Why;
use crate::domain::alert::{Concern, Hold};
use crate::domain::format;
use crate::domain::host::NOBODY;
use crate::domain::ids::ProbeId;
use crate::domain::probe::health::Health;
use crate::domain::probe::outcome::ProbeResult;
use crate::domain::probe::{Glimpse, ProbeState};
use crate::domain::sanitise;
use crate::panes::Context;
use crate::panes::services::rows::{Group, Picked, Row};
use crate::panes::services::{COUNTED, mark, role};
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::list::{self, Mark};
use crate::widgets::spark::{self, Sample};
use crate::widgets::wrap;

/// Cells of a time of day.
const SINCE_CELLS: usize = 8;
/// Cells of the longest health word, `degraded`.
const WORD_CELLS: usize = 8;
/// Cells below which the beginning of a sentence says less than one word.
const WORDS_CELLS_MIN: usize = 24;
/// Rows that the rest of a reason takes at most; the detail has all of it.
const MORE_ROWS_MAX: usize = 3;
/// Cells below which the rest of a reason is not worth a row: the end of what was expected.
const REST_CELLS_MIN: usize = 12;
/// Marks the row of what went first.
const FIRST_RED: &str = "FIRST RED";
/// Behind what is not counted because its host is cut off.
const CUT_OFF: &str = "cut off";
/// Blanks before the rest of a reason.
const MORE_INDENT: usize = 4;

/// How wide each column is, for a width; 0 leaves it out.
struct Columns {
    name: usize,
    word: usize,
    brief: usize,
    spark: usize,
}

impl Columns {
    fn of(width: usize, longest_name: usize, several: bool) -> Self {
        // The host stands before the name.
        let host = if several { 8 } else { 0 };
        match width {
            // On a narrow screen the mark stands for the word, and what is wrong for the sparkline.
            0..60 => {
                let name = longest_name.min(width.saturating_sub(SINCE_CELLS + 4) / 2);
                Self { name, word: 0, brief: width.saturating_sub(name + SINCE_CELLS + 4), spark: 0 }
            }
            60..100 => Self { name: longest_name.clamp(8, 16 + host), word: WORD_CELLS, brief: 0, spark: 10 },
            100..160 => Self { name: longest_name.clamp(8, 24 + host), word: WORD_CELLS, brief: 0, spark: 20 },
            _ => Self { name: longest_name.clamp(8, 32 + host), word: WORD_CELLS, brief: 0, spark: 40 },
        }
    }
}

/// What the list shows.
pub struct List<'a> {
    /// All rows.
    pub rows: &'a [Row<'a>],
    /// How many further rows each of them has for its reason.
    pub more: &'a [usize],
    /// The selected one.
    pub selected: Option<&'a Picked>,
    /// The first that is shown.
    pub top: usize,
    /// Only what passes a filter.
    pub filtered: bool,
}

/// Draws the list.
pub fn draw(cx: &Context<'_>, theme: &Theme, list: &List<'_>, area: Rect, buf: &mut Buffer) {
    let rows = list.rows;
    if rows.is_empty() {
        if cx.board.probes.is_empty() && cx.draw_absent(theme, area, buf) {
            return;
        }
        let text = match cx.board.standby.as_deref() {
            _ if list.filtered && !cx.board.probes.is_empty() => "no probe passes the filter",
            Some(NOBODY) => "no probe runs: nobody watches this host; `hotseat agent` does, and a screen that may",
            Some(_) => "no probes here: another hotseat on this host runs them",
            None => "no probes: `hotseat init` writes a config to start from",
        };
        let text = wrap::cut(text, area.width as usize, theme.ascii);
        buf.set_stringn(area.x, area.y, text, area.width as usize, theme.style(Role::TextDim));
        return;
    }
    let width = area.width as usize;
    let columns = columns(cx, rows, width);
    let first_red = cx.board.first_red();
    let top = list.top.min(rows.len().saturating_sub(area.height as usize));
    let mut places = area.rows();
    for (it, more) in rows.iter().zip(list.more.iter().copied()).skip(top) {
        let (line, rest) = match it {
            Row::Group(group) => (group_row(theme, group, width), String::new()),
            Row::Probe { id, state, below_group } => {
                let subject = Subject { id, state, first_red: first_red == Some(*id), more: more > 0 };
                let (mut line, rest) = row(cx, theme, &columns, &subject, width - usize::from(*below_group));
                if *below_group {
                    line.spans.insert(0, Span::raw(" "));
                }
                (line, rest)
            }
        };
        let Some(here) = places.next() else { break };
        let selected = list.selected.is_some_and(|picked| *picked == it.picked());
        let mark = Mark::of(selected, cx.focused);
        list::row(theme, &line, mark, here, buf);
        let mut rest = wrap::wrap_at_blanks(&rest, width.saturating_sub(MORE_INDENT)).into_iter().peekable();
        for at in 1..=more {
            let (Some(mut text), Some(here)) = (rest.next(), places.next()) else { break };
            if at == more && rest.peek().is_some() {
                // What was cut must not read as if it were all.
                text =
                    wrap::cut(&format!("{text} {}", rest.next().unwrap_or_default()), width - MORE_INDENT, theme.ascii);
            }
            let line = Line::styled(format!("{}{text}", " ".repeat(MORE_INDENT)), theme.style(Role::Text));
            list::row(theme, &line, mark, here, buf);
        }
    }
}

/// How wide each column is beside these rows.
fn columns(cx: &Context<'_>, rows: &[Row<'_>], width: usize) -> Columns {
    let several = cx.board.is_of_several();
    // As wide as [`Board::row_name`] makes it.
    let host = |id: &ProbeId| if several { id.host().width() + 1 } else { 0 };
    let longest = cx.board.probes.iter().map(|(id, _)| host(id) + id.name().width());
    let indent = usize::from(rows.iter().any(|it| matches!(it, Row::Probe { below_group: true, .. })));
    Columns::of(width.saturating_sub(indent), longest.max().unwrap_or_default(), several)
}

/// How many further rows each row has for a reason that is longer than its own, where the list is higher than its rows.
pub fn more_rows(cx: &Context<'_>, rows: &[Row<'_>], height: usize) -> Vec<usize> {
    let mut spare = height.saturating_sub(rows.len());
    let width = usize::from(cx.width);
    if spare == 0 || width <= MORE_INDENT {
        return vec![0; rows.len()];
    }
    let columns = columns(cx, rows, width);
    let (theme, first_red) = (Theme::mono(), cx.board.first_red());
    let mut more = |it: &Row<'_>| {
        let Row::Probe { id, state, below_group } = it else { return 0 };
        if state.health() == Health::Up {
            return 0;
        }
        let subject = Subject { id, state, first_red: first_red == Some(*id), more: true };
        let (_, rest) = row(cx, &theme, &columns, &subject, width - usize::from(*below_group));
        if rest.is_empty() {
            return 0;
        }
        let wanted = wrap::wrap_at_blanks(&rest, width - MORE_INDENT).len().min(MORE_ROWS_MAX).min(spare);
        spare -= wanted;
        wanted
    };
    rows.iter().map(&mut more).collect()
}

/// Which row stands at an offset below the top of a list of this height.
pub fn row_at(list: &List<'_>, height: usize, offset: usize) -> Option<usize> {
    let top = list.top.min(list.rows.len().saturating_sub(height));
    let mut below = 0;
    (top..list.rows.len()).find(|at| {
        below += 1 + list.more.get(*at).copied().unwrap_or_default();
        offset < below
    })
}

/// `▾ edge  2 red, 1 degraded, 3 ok`
fn group_row(theme: &Theme, group: &Group<'_>, width: usize) -> Line<'static> {
    let arrow = match (group.folded, theme.ascii) {
        (true, false) => "▸",
        (false, false) => "▾",
        (true, true) => "+",
        (false, true) => "-",
    };
    let name = if group.name.is_empty() { "(no group)" } else { group.name };
    let worst = group.worst();
    let mut spans = vec![
        Span::styled(format!("{arrow} "), theme.style(Role::TextDim)),
        Span::styled(format!("{} ", mark(worst)), theme.style(role(worst))),
        Span::styled(wrap::cut(name, (width / 2).max(8), theme.ascii), theme.style(Role::TextStrong)),
        Span::raw("  "),
    ];
    let mut is_first = true;
    for (health, word, role) in COUNTED {
        let count = group.count(*health);
        if count == 0 {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            spans.push(Span::styled(", ", theme.style(Role::TextDim)));
        }
        let folded = if group.is_short && *health == Health::Up { " folded" } else { "" };
        spans.push(Span::styled(format!("{count} {word}{folded}"), theme.style(*role)));
    }
    if group.lost() > 0 {
        let comma = if is_first { "" } else { ", " };
        spans.push(Span::styled(format!("{comma}{} of lost hosts", group.lost()), theme.style(Role::ProbeUnknown)));
    }
    // What began first in a folded group is worth a word: it is not to be seen otherwise.
    if group.folded
        && let Some((id, state)) = group.first_red()
    {
        let brief = state.why().map_or("", |it| it.brief.as_str());
        spans.push(Span::styled(format!("  {} {brief}", id.name()), theme.style(Role::Text)));
    }
    Line::from(spans)
}

/// What a row is about.
struct Subject<'a> {
    id: &'a ProbeId,
    state: &'a ProbeState,
    first_red: bool,
    /// There are further rows for the rest of a reason.
    more: bool,
}

/// The row of a probe, and the rest of a reason that it has no room for.
fn row(
    cx: &Context<'_>,
    theme: &Theme,
    columns: &Columns,
    subject: &Subject<'_>,
    width: usize,
) -> (Line<'static>, String) {
    let Subject { id, state, first_red, more } = *subject;
    let health = state.health();
    let dim = theme.style(Role::TextDim);
    // What a host last said stays, in a colour that says nothing about now.
    let lost_since = cx.board.lost_since(id.host());
    let is_lost = lost_since.is_some();
    let style = if is_lost { dim } else { theme.style(role(health)) };
    let cell = |text: &str, cells: usize| {
        let text = wrap::cut(text, cells, theme.ascii);
        let pad = cells.saturating_sub(text.width());
        format!("{text}{} ", " ".repeat(pad))
    };
    let name_style = match health {
        _ if is_lost => dim,
        Health::Up => theme.style(Role::Text),
        _ => theme.style(Role::TextStrong),
    };
    let name = cx.board.row_name(id.host(), id.name());
    let mut spans = vec![
        Span::styled(if is_lost { "? ".to_string() } else { format!("{} ", mark(health)) }, style),
        Span::styled(cell(&name, columns.name), name_style),
    ];
    if columns.word > 0 {
        spans.push(Span::styled(cell(if is_lost { "lost" } else { health.word() }, columns.word), style));
    }
    if columns.brief > 0 {
        let brief = if is_lost { "lost".to_string() } else { brief(state) };
        spans.push(Span::styled(cell(&brief, columns.brief), if health == Health::Up { dim } else { style }));
    }
    let since = state.since().map_or_else(String::new, |it| moment(cx, it));
    spans.push(Span::styled(cell(&since, SINCE_CELLS), dim));
    if columns.spark > 0 {
        spans.extend(spark::spans(theme, &samples(state), columns.spark));
        spans.push(Span::raw(" "));
    }
    // A narrow row is full; the detail view has the rest.
    let mut tags = if columns.spark > 0 { tags(cx, id, state, first_red) } else { Vec::new() };
    let taken: usize = spans.iter().map(|it| it.content.width()).sum();
    let of_tags = |tags: &[(String, Role)]| tags.iter().map(|(text, _)| text.width() + 1).sum::<usize>();
    // What is wrong comes before what the header says as well.
    if taken + of_tags(&tags) + brief(state).width() > width {
        tags.retain(|(text, _)| text != FIRST_RED);
    }
    for (text, role) in tags {
        spans.push(Span::styled(format!("{text} "), theme.style(role)));
    }
    let used: usize = spans.iter().map(|it| it.content.width()).sum();
    let room = width.saturating_sub(used);
    let whole = if is_lost || health == Health::Up { String::new() } else { words(state) };
    let in_sight = if columns.spark > 0 { room } else { columns.brief };
    let goes_on = more && whole.width() > in_sight;
    let mut rest = String::new();
    if columns.spark > 0 {
        let style = if health == Health::Up { dim } else { theme.style(Role::Text) };
        let finding = match lost_since {
            // What it last said, and as of when: nobody knows how it is now.
            Some(at) => format!("was {} at {}: {}", health.word(), moment(cx, at), finding(state, room)),
            None if goes_on && room >= WORDS_CELLS_MIN => {
                let begin = wrap::wrap_at_blanks(&whole, room).swap_remove(0);
                rest = whole.strip_prefix(&begin).unwrap_or(&whole).trim_start().to_string();
                if rest.width() < REST_CELLS_MIN {
                    rest.clear();
                    whole
                } else {
                    begin
                }
            }
            None if goes_on => {
                rest = whole;
                brief(state)
            }
            None => finding(state, room),
        };
        let style = if is_lost { dim } else { style };
        spans.push(Span::styled(wrap::cut(finding.trim_end_matches(": "), room, theme.ascii), style));
    } else if goes_on && whole != brief(state) {
        rest = whole;
    }
    (Line::from(spans), rest)
}

/// A time of day, or how long ago when it was another day: the column has no room for a date.
fn moment(cx: &Context<'_>, at: Timestamp) -> String {
    let day = |it: Timestamp| it.to_zoned(cx.zone.clone()).date();
    if day(at) == day(cx.now) { format::clock(at, cx.zone) } else { format::ago(cx.now, at) }
}

/// What is wrong, in a sentence where it fits, else in a word; for a healthy probe how long the answer took.
fn finding(state: &ProbeState, room: usize) -> String {
    let words = words(state);
    let is_up = state.health() == Health::Up && !state.is_broken();
    if is_up || words.is_empty() || (words.width() > room && room < WORDS_CELLS_MIN) { brief(state) } else { words }
}

/// In a word: what is wrong, or how long the last answer took.
fn brief(state: &ProbeState) -> String {
    if state.is_broken() {
        return "broken".into();
    }
    if state.health() != Health::Up
        && let Some(why) = state.why()
    {
        return why.brief.clone();
    }
    state.last().map_or_else(|| "not run yet".to_string(), |it| format::duration(it.total()))
}

/// What is wrong, in words.
fn words(state: &ProbeState) -> String {
    let text = state.why().map_or_else(String::new, |it| sanitise::text(&it.text));
    if state.is_broken() { format!("probe broken: {text}") } else { text }
}

fn tags(cx: &Context<'_>, id: &ProbeId, state: &ProbeState, first_red: bool) -> Vec<(String, Role)> {
    let mut tags = Vec::new();
    // What a person has just asked for stands first: it is short-lived, and the row may be cut.
    if let Some(until) = state.burst_until.filter(|it| *it > cx.now) {
        tags.push((format!("burst {}", format::age(format::since(until, cx.now))), Role::NoticeInfo));
    }
    if state.asked {
        tags.push(("running".to_string(), Role::NoticeInfo));
    }
    if state.is_of_earlier_run() {
        tags.push(("not run yet".to_string(), Role::ProbeUnknown));
    }
    if first_red {
        tags.push((FIRST_RED.to_string(), Role::ProbeDown));
    }
    if let Some(by) = cx.board.seen_by(id) {
        tags.push((format!("ack {by}"), Role::TextStrong));
    }
    if state.flapping().is_some() {
        tags.push(("flapping".to_string(), Role::ProbeDegraded));
    }
    if cx.board.alerts.open(id).any(|it| matches!(it.concern(), Concern::Burn | Concern::SlowBurn)) {
        tags.push(("burns".to_string(), Role::ProbeDegraded));
    }
    match withheld(cx, id) {
        Some(why) => tags.push((why, Role::NoticeInfo)),
        None if state.last().is_some_and(|it| it.is_cut_off()) => tags.push((CUT_OFF.to_string(), Role::NoticeInfo)),
        None => {}
    }
    tags
}

/// Why nobody is told although something is the matter, in a word or two.
fn withheld(cx: &Context<'_>, id: &ProbeId) -> Option<String> {
    let why = cx.board.alerts.open(id).find_map(|it| it.withheld.as_ref())?;
    Some(match &why.why {
        Why::Hold(Hold::After(parent)) => format!("after: {}", parent.name()),
        Why::Hold(Hold::AfterSuspect(parent, _)) => format!("after: {}?", parent.name()),
        Why::Hold(Hold::CutOff) => CUT_OFF.to_string(),
        // That stands there already.
        Why::Hold(Hold::Flapping) => return None,
        Why::Settling => "settling".to_string(),
        Why::Silence(_) => "silenced".to_string(),
        Why::Maintenance(_) => "maintenance".to_string(),
    })
}

/// The last outcomes as samples of a sparkline.
pub fn samples(state: &ProbeState) -> Vec<Sample> {
    let sample = |Glimpse(result, took_us)| match result {
        ProbeResult::Ok | ProbeResult::Degraded => Sample::Value(took_us as f64 / 1e6),
        ProbeResult::Fail => Sample::Fail,
        ProbeResult::Unknown => Sample::Missing,
    };
    state.at_a_glance().map(sample).collect()
}
