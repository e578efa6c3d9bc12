//! The rows: mark, name, word, since, sparkline, what is wrong or how long the last answer took.

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::domain::format;
use crate::domain::ids::ProbeId;
use crate::domain::probe::ProbeState;
use crate::domain::probe::health::Health;
use crate::domain::probe::outcome::ProbeResult;
use crate::panes::Context;
use crate::panes::services::{mark, role};
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

/// How wide each column is, for a width; 0 leaves it out.
struct Columns {
    name: usize,
    word: usize,
    brief: usize,
    spark: usize,
}

impl Columns {
    fn of(width: usize, longest_name: usize) -> Self {
        match width {
            // On a narrow screen the mark stands for the word, and what is wrong for the sparkline.
            0..60 => {
                let name = longest_name.min(width.saturating_sub(SINCE_CELLS + 4) / 2);
                Self { name, word: 0, brief: width.saturating_sub(name + SINCE_CELLS + 4), spark: 0 }
            }
            60..100 => Self { name: longest_name.clamp(8, 16), word: WORD_CELLS, brief: 0, spark: 10 },
            100..160 => Self { name: longest_name.clamp(8, 24), word: WORD_CELLS, brief: 0, spark: 20 },
            _ => Self { name: longest_name.clamp(8, 32), word: WORD_CELLS, brief: 0, spark: 40 },
        }
    }
}

/// Draws the rows from `top`.
pub fn draw(cx: &Context<'_>, theme: &Theme, selected: Option<&ProbeId>, top: usize, area: Rect, buf: &mut Buffer) {
    let probes = cx.board.probes.red_first();
    if probes.is_empty() {
        let text = match cx.board.standby {
            Some(_) => "no probes here: another hotseat on this host runs them",
            None => "no probes: `hotseat init` writes a config to start from",
        };
        let text = wrap::cut(text, area.width as usize, theme.ascii);
        buf.set_stringn(area.x, area.y, text, area.width as usize, theme.style(Role::TextDim));
        return;
    }
    let longest = probes.iter().map(|(id, _)| id.name().width()).max().unwrap_or_default();
    let columns = Columns::of(area.width as usize, longest);
    let first_red = cx.board.probes.first_red();
    let top = top.min(probes.len().saturating_sub(area.height as usize));
    for (offset, (id, state)) in probes.iter().skip(top).take(area.height as usize).enumerate() {
        let line = row(cx, theme, &columns, id, state, first_red == Some(*id), area.width as usize);
        let here = Rect { y: area.y + offset as u16, height: 1, ..area };
        list::row(theme, &line, Mark::of(selected == Some(*id), cx.focused), here, buf);
    }
}

fn row(
    cx: &Context<'_>,
    theme: &Theme,
    columns: &Columns,
    id: &ProbeId,
    state: &ProbeState,
    first_red: bool,
    width: usize,
) -> Line<'static> {
    let health = state.health();
    let style = theme.style(role(health));
    let dim = theme.style(Role::TextDim);
    let cell = |text: &str, cells: usize| {
        let text = wrap::cut(text, cells, theme.ascii);
        let pad = cells.saturating_sub(text.width());
        format!("{text}{} ", " ".repeat(pad))
    };
    let name_style = if health == Health::Up { theme.style(Role::Text) } else { theme.style(Role::TextStrong) };
    let mut spans = vec![
        Span::styled(format!("{} ", mark(health)), style),
        Span::styled(cell(id.name(), columns.name), name_style),
    ];
    if columns.word > 0 {
        spans.push(Span::styled(cell(health.word(), columns.word), style));
    }
    if columns.brief > 0 {
        spans.push(Span::styled(cell(&brief(state), columns.brief), if health == Health::Up { dim } else { style }));
    }
    let since = state.since().map_or_else(String::new, |it| moment(cx, it));
    spans.push(Span::styled(cell(&since, SINCE_CELLS), dim));
    if columns.spark > 0 {
        spans.extend(spark::spans(theme, &samples(state), columns.spark));
        spans.push(Span::raw(" "));
    }
    // A narrow row is full; the detail view has the rest.
    let tags = if columns.spark > 0 { tags(cx, state, first_red) } else { Vec::new() };
    for (text, role) in tags {
        spans.push(Span::styled(format!("{text} "), theme.style(role)));
    }
    let used: usize = spans.iter().map(|it| it.content.width()).sum();
    let room = width.saturating_sub(used);
    if columns.spark > 0 {
        let style = if health == Health::Up { dim } else { theme.style(Role::Text) };
        spans.push(Span::styled(wrap::cut(&finding(state, room), room, theme.ascii), style));
    }
    Line::from(spans)
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
        && let Some(outcome) = state.last_trouble()
    {
        return outcome.brief().to_string();
    }
    state.last().map_or_else(String::new, |it| format::duration(it.total()))
}

/// What is wrong, in words.
fn words(state: &ProbeState) -> String {
    let trouble = state.last_trouble().and_then(|it| it.trouble.as_ref());
    let text = trouble.map_or_else(String::new, |it| it.text.clone());
    if state.is_broken() { format!("probe broken: {text}") } else { text }
}

fn tags(cx: &Context<'_>, state: &ProbeState, first_red: bool) -> Vec<(String, Role)> {
    let mut tags = Vec::new();
    // What a person has just asked for stands first: it is short-lived, and the row may be cut.
    if let Some(until) = state.burst_until.filter(|it| *it > cx.now) {
        tags.push((format!("burst {}", format::age(format::since(until, cx.now))), Role::NoticeInfo));
    }
    if state.asked {
        tags.push(("running".to_string(), Role::NoticeInfo));
    }
    if first_red {
        tags.push(("FIRST RED".to_string(), Role::ProbeDown));
    }
    if let Some(ack) = &state.acked {
        tags.push((format!("ack {}", ack.by), Role::TextStrong));
    }
    tags
}

/// The last outcomes as samples of a sparkline.
pub fn samples(state: &ProbeState) -> Vec<Sample> {
    let sample = |it: &crate::domain::probe::outcome::Outcome| match it.result {
        ProbeResult::Ok | ProbeResult::Degraded => Sample::Value(it.total().as_secs_f64()),
        ProbeResult::Fail => Sample::Fail,
        ProbeResult::Unknown => Sample::Missing,
    };
    state.outcomes.iter().map(|it| sample(it)).collect()
}
