//! One probe: its health and settings, why it fails, where the time went, the evidence, its past.
//!
//! `run` writes what one run found, `history` what is known of many. On a wide screen they stand side by side.

mod history;
mod perf;
mod promise;
mod run;

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::domain::alert::policy::alert::{Alert, Contact, Stage};
use crate::domain::format;
use crate::domain::ids::ProbeId;
use crate::domain::probe::ProbeState;
use crate::domain::probe::health::Health;
use crate::domain::sanitise;
use crate::panes::Context;
use crate::panes::services::list::samples;
use crate::panes::services::past::Past;
use crate::panes::services::{mark, role};
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::scroll::Scroll;
use crate::widgets::{graph, spark, wrap};

/// How the heading of the past begins.
const PAST: &str = "past ";
/// Cells of a label at the left.
const LABEL_CELLS: usize = 10;
/// From this width on there are two columns.
const TWO_COLUMNS: u16 = 116;
/// Cells between them.
const BETWEEN: u16 = 3;

/// All rows of the detail: what one run found, and what is known of many.
pub struct Columns {
    /// The only column of a narrow screen.
    pub left: Vec<Line<'static>>,
    /// The other one, on a wide screen.
    pub right: Vec<Line<'static>>,
}

impl Columns {
    /// The rows of the past: from its heading to the blank row behind it.
    pub fn past(&self) -> Option<Range<usize>> {
        let column = if self.right.is_empty() { &self.left } else { &self.right };
        let is_heading = |it: &Line<'_>| it.spans.first().is_some_and(|it| it.content.starts_with(PAST));
        let start = column.iter().position(is_heading)?;
        let rows = column[start..].iter().position(|it| it.width() == 0).unwrap_or(column.len() - start);
        Some(start..start + rows)
    }

    /// Rows of the longer one.
    pub fn rows(&self) -> usize {
        self.left.len().max(self.right.len())
    }
}

/// Cells of the two columns; 0 when there is but one.
fn widths(width: u16) -> (u16, u16) {
    if width < TWO_COLUMNS {
        return (width, 0);
    }
    let left = (width - BETWEEN) / 2;
    (left, width - BETWEEN - left)
}

/// Cells that the graph has for its points, for a body of this width.
pub fn graph_cells(width: u16) -> usize {
    let (left, right) = widths(width);
    usize::from(if right > 0 { right } else { left }).saturating_sub(graph::GUTTER_CELLS)
}

/// What the detail is about.
pub struct Subject<'a> {
    /// Which probe.
    pub id: &'a ProbeId,
    /// What is known of it.
    pub state: &'a ProbeState,
    /// Its past.
    pub past: &'a Past,
}

/// Draws the detail of a probe.
pub fn draw(cx: &Context<'_>, theme: &Theme, subject: &Subject<'_>, scroll: Scroll, area: Rect, buf: &mut Buffer) {
    let columns = columns(cx, theme, subject);
    let (left, right) = widths(area.width);
    let shown = scroll.window(columns.rows(), area.height as usize);
    for (offset, at) in shown.enumerate() {
        let y = area.y + offset as u16;
        if let Some(line) = columns.left.get(at) {
            buf.set_line(area.x, y, line, left);
        }
        if let Some(line) = columns.right.get(at) {
            buf.set_line(area.x + left + BETWEEN, y, line, right);
        }
    }
}

/// All rows of the detail.
pub fn columns(cx: &Context<'_>, theme: &Theme, subject: &Subject<'_>) -> Columns {
    let (left, right) = widths(cx.width);
    let page = |width: u16| Page { theme, width: usize::from(width), lines: Vec::new() };
    let mut one = page(left);
    head(cx, &mut one, subject.id, subject.state);
    run::why(cx, &mut one, subject.state);
    alerts(cx, &mut one, subject.id);
    if right == 0 {
        history::past(cx, &mut one, subject);
        promise::promise(cx, &mut one, subject.state);
        run::evidence(cx, &mut one, subject.state);
        perf::graphs(cx, &mut one, subject.state);
        settings(cx, &mut one, subject.state);
        history::outcomes(cx, &mut one, subject.state);
        return Columns { left: one.lines, right: Vec::new() };
    }
    run::evidence(cx, &mut one, subject.state);
    settings(cx, &mut one, subject.state);
    let mut other = page(right);
    history::past(cx, &mut other, subject);
    perf::graphs(cx, &mut other, subject.state);
    promise::promise(cx, &mut other, subject.state);
    history::outcomes(cx, &mut other, subject.state);
    Columns { left: one.lines, right: other.lines }
}

struct Page<'a> {
    theme: &'a Theme,
    width: usize,
    lines: Vec<Line<'static>>,
}

impl Page<'_> {
    /// A heading, with a blank row before it unless it is the first.
    fn heading(&mut self, text: &str) {
        if !self.lines.is_empty() {
            self.lines.push(Line::default());
        }
        let text = wrap::cut(text, self.width, self.theme.ascii);
        self.lines.push(Line::styled(text, self.theme.style(Role::TextStrong)));
    }

    fn plain(&mut self, text: &str, role: Role) {
        let text = wrap::cut(text, self.width, self.theme.ascii);
        self.lines.push(Line::styled(text, self.theme.style(role)));
    }

    /// A text of any length, whole.
    fn wrapped(&mut self, text: &str, role: Role) {
        for row in wrap::wrap(text, self.width) {
            self.lines.push(Line::styled(row, self.theme.style(role)));
        }
    }

    /// A labelled value, wrapped below itself.
    fn field(&mut self, label: &str, value: &str, role: Role) {
        let room = self.width.saturating_sub(LABEL_CELLS).max(10);
        // A long label keeps a blank before what it is about.
        let first = format!("{label:<0$} ", LABEL_CELLS - 1);
        let room = room.saturating_sub(first.width().saturating_sub(LABEL_CELLS)).max(10);
        for (row, text) in wrap::wrap(value, room).into_iter().enumerate() {
            let label = if row == 0 { first.clone() } else { " ".repeat(first.width()) };
            self.lines.push(Line::from(vec![
                Span::styled(label, self.theme.style(Role::TextDim)),
                Span::styled(text, self.theme.style(role)),
            ]));
        }
    }

    /// A label with what was drawn elsewhere behind it.
    fn drawn(&mut self, label: &str, spans: Vec<Span<'static>>) {
        let mut line = vec![Span::styled(format!("{label:<LABEL_CELLS$}"), self.theme.style(Role::TextDim))];
        line.extend(spans);
        self.lines.push(Line::from(line));
    }

    /// Cells behind a label.
    fn room(&self) -> usize {
        self.width.saturating_sub(LABEL_CELLS)
    }
}

fn head(cx: &Context<'_>, page: &mut Page<'_>, id: &ProbeId, state: &ProbeState) {
    let (health, setup, theme) = (state.health(), &state.setup, page.theme);
    let since = state.since().map_or_else(String::new, |it| format!(" since {}", format::moment(cx.now, it, cx.zone)));
    let word = if state.is_broken() { "unknown: the probe is broken" } else { health.word() };
    let name = Span::styled(cx.board.row_name(id.host(), id.name()), theme.style(Role::TextStrong));
    page.lines.push(match cx.board.lost_since(id.host()) {
        None => Line::from(vec![
            Span::styled(format!("{} ", mark(health)), theme.style(role(health))),
            name,
            Span::styled(format!("  {word}{since}"), theme.style(role(health))),
        ]),
        // What its host last said stays, in a colour that says nothing about now.
        Some(at) => {
            let text = format!("  lost: {word}{since} when last heard of, {}", format::moment(cx.now, at, cx.zone));
            let dim = theme.style(Role::TextDim);
            Line::from(vec![Span::styled("? ", dim), name, Span::styled(text, dim)])
        }
    });
    page.field(&setup.kind, &setup.target, Role::Text);
    if !setup.rules.after.is_empty() {
        after(cx, page, id, &setup.rules.after);
    }
    if let Some(until) = state.burst_until.filter(|it| *it > cx.now) {
        let left = format::age(format::since(until, cx.now));
        page.field("burst", &format!("every second for another {left} (`B` ends it)"), Role::NoticeInfo);
    }
    if state.asked {
        page.field("now", "running", Role::NoticeInfo);
    }
    if let Some(ack) = &state.acked {
        page.field("seen by", &format!("{} at {}", ack.by, format::moment(cx.now, ack.at, cx.zone)), Role::TextStrong);
    }
    if let Some(quiet) = cx.board.alerts.quiet(cx.now, id, &cx.board.probes) {
        let until = format::moment(cx.now, quiet.until, cx.zone);
        let by = if quiet.by.is_empty() { String::new() } else { format!(", by {}", quiet.by) };
        page.field("quiet", &format!("{} until {until}{by}", quiet.why.text()), Role::NoticeInfo);
    }
    let samples = samples(state);
    let room = page.room().min(samples.len());
    page.drawn("times", spark::spans(theme, &samples, room));
}

/// How it is checked and counted, and who is told.
fn settings(cx: &Context<'_>, page: &mut Page<'_>, state: &ProbeState) {
    let setup = &state.setup;
    page.heading("settings");
    let pace = [("every", setup.interval), ("timeout", setup.timeout), ("retry", setup.retry)];
    let pace: Vec<String> = pace.iter().map(|(word, it)| format!("{word} {}", format::duration(*it))).collect();
    let thresholds = format!("down at {}, up at {}", setup.thresholds.fail, setup.thresholds.recover);
    page.field("pace", &format!("{}; {thresholds}", pace.join(", ")), Role::Text);
    for (label, lines) in [("expect", &setup.expect), ("prefer", &setup.prefer)] {
        if !lines.is_empty() {
            page.field(label, &sanitise::text(&lines.join("; ")), Role::Text);
        }
    }
    let rules = &setup.rules;
    let mut belongs: Vec<String> = rules.group.iter().map(|it| format!("group {it}")).collect();
    belongs.extend(rules.labels.iter().map(|(name, value)| format!("{name}={value}")));
    if rules.canary {
        belongs.push("canary".into());
    }
    if !belongs.is_empty() {
        page.field("belongs", &sanitise::text(&belongs.join(", ")), Role::Text);
    }
    match rules.notify.as_slice() {
        [] => page.field("tells", "nobody: `notify` names no notifier", Role::TextDim),
        names => page.field("tells", &format!("{}, {}", names.join(", "), rules.severity.word()), Role::Text),
    }
    if let Some(next) = state.next {
        page.field("next run", &format::clock(next, cx.zone), Role::Text);
    }
    if state.missed > 0 {
        let at =
            state.missed_at.map_or_else(String::new, |it| format!(", last noticed at {}", format::clock(it, cx.zone)));
        page.field("missed", &format!("{} since the start{at}", format::plural(state.missed, "run")), Role::NoticeWarn);
    }
}

/// What it depends on, with how that is.
fn after(cx: &Context<'_>, page: &mut Page<'_>, id: &ProbeId, names: &[String]) {
    let find = |name: &str| cx.board.probes.iter().find(|(it, _)| it.host() == id.host() && it.name() == name);
    let health = |name: &str| find(name).map(|(_, it)| it.health());
    let words = names.iter().map(|name| match health(name) {
        Some(Health::Up) => format!("{name} (up)"),
        Some(it) => format!("{} {name} ({})", mark(it), it.word()),
        None => format!("{name} (not known)"),
    });
    let is_down = names.iter().any(|it| health(it) == Some(Health::Down));
    let role = if is_down { Role::ProbeDown } else { Role::Text };
    page.field("after", &words.collect::<Vec<_>>().join(", "), role);
}

/// What people were told of it, and what holds telling back.
fn alerts(cx: &Context<'_>, page: &mut Page<'_>, id: &ProbeId) {
    let mut is_first = true;
    for alert in cx.board.alerts.open(id) {
        if std::mem::take(&mut is_first) {
            page.heading("alerts (`x` explains)");
        }
        let since = format::moment(cx.now, alert.since, cx.zone);
        let text = format!("{} since {since}: {}", alert.severity.word(), sanitise::text(&alert.why));
        page.field(alert.concern().word(), &text, Role::Text);
        if let Some(it) = &alert.withheld {
            let until = it.until.map(|it| format!(" until {}", format::moment(cx.now, it, cx.zone)));
            page.field("", &format!("not told: {}{}", it.why.text(), until.unwrap_or_default()), Role::NoticeInfo);
        }
        if let Some(ack) = &alert.acked {
            let until = ack.until.map(|it| format!(" until {}", format::moment(cx.now, it, cx.zone)));
            let until = until.unwrap_or_else(|| if ack.sticky { " until it is fine".into() } else { String::new() });
            page.field("", &format!("acknowledged by {}{until}", ack.by), Role::TextStrong);
        }
        contacts(cx, page, alert);
        let common = alert.common.as_ref().and_then(|key| cx.board.alerts.alert(key));
        if let Some(common) = common {
            let count = common.children().len() as u64;
            let text = format!("told together: {} of {}", common.name(), format::plural(count, "probe"));
            page.field("", &sanitise::text(&text), Role::Text);
            contacts(cx, page, common);
        }
    }
}

fn contacts(cx: &Context<'_>, page: &mut Page<'_>, alert: &Alert) {
    let words = |name: &str, it: &Contact| {
        let whom = it.person.as_ref().map_or_else(|| name.to_string(), |person| format!("{person} by {name}"));
        let at = format::moment(cx.now, it.taken.unwrap_or(it.last), cx.zone);
        let again = match it.reminders {
            0 => String::new(),
            count => format!(", reminded {count}×"),
        };
        let what = match (it.stage, it.is_told) {
            (Stage::Waiting, false) => return format!("about to tell {whom}"),
            (Stage::Ending | Stage::Over, true) => "told that it is over",
            (_, true) if it.reached => "told",
            (_, true) => return format!("! sending to {whom} since {at}, not taken yet"),
            (_, false) => return format!("nothing told to {whom}"),
        };
        let naming = it.naming.map(|it| it.text(|at| format::moment(cx.now, at, cx.zone))).unwrap_or_default();
        format!("{what} {whom} {at}{naming}{again}")
    };
    for (name, contact) in &alert.contacts {
        let text = if page.theme.ascii { words(name, contact).replace('×', "x") } else { words(name, contact) };
        let role = if contact.reached || !contact.is_told { Role::Text } else { Role::NoticeWarn };
        page.field("", &sanitise::text(&text), role);
    }
}
