//! One probe: its health and settings, where the last run's time went, the evidence, the last outcomes.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::domain::format;
use crate::domain::ids::ProbeId;
use crate::domain::probe::outcome::{Outcome, ProbeResult};
use crate::domain::probe::{ProbeState, waterfall};
use crate::panes::Context;
use crate::panes::services::list::samples;
use crate::panes::services::{mark, role};
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::scroll::Scroll;
use crate::widgets::{spark, wrap};

/// Cells of a label at the left.
const LABEL_CELLS: usize = 10;

/// Draws the detail of a probe.
pub fn draw(
    cx: &Context<'_>,
    theme: &Theme,
    id: &ProbeId,
    state: &ProbeState,
    scroll: Scroll,
    area: Rect,
    buf: &mut Buffer,
) {
    let lines = lines(cx, theme, id, state);
    for (offset, at) in scroll.window(lines.len(), area.height as usize).enumerate() {
        buf.set_line(area.x, area.y + offset as u16, &lines[at], area.width);
    }
}

/// All rows of the detail.
pub fn lines(cx: &Context<'_>, theme: &Theme, id: &ProbeId, state: &ProbeState) -> Vec<Line<'static>> {
    let mut page = Page { theme, width: cx.width as usize, lines: Vec::new() };
    head(cx, &mut page, id, state);
    if let Some(outcome) = state.last() {
        page.blank();
        let at = format::clock(outcome.at, cx.zone);
        page.heading(&format!("last run {at}, {}", outcome.result.word()));
        run(cx, &mut page, outcome);
        page.blank();
        page.heading(&format!("last {}", format::plural(state.outcomes.len() as u64, "outcome")));
        history(cx, &mut page, state);
    }
    page.lines
}

struct Page<'a> {
    theme: &'a Theme,
    width: usize,
    lines: Vec<Line<'static>>,
}

impl Page<'_> {
    fn blank(&mut self) {
        self.lines.push(Line::default());
    }

    fn heading(&mut self, text: &str) {
        self.lines.push(Line::styled(text.to_string(), self.theme.style(Role::TextStrong)));
    }

    fn plain(&mut self, text: &str, role: Role) {
        let text = wrap::cut(text, self.width, self.theme.ascii);
        self.lines.push(Line::styled(text, self.theme.style(role)));
    }

    /// A labelled value, wrapped below itself.
    fn field(&mut self, label: &str, value: &str, role: Role) {
        let room = self.width.saturating_sub(LABEL_CELLS).max(10);
        for (row, text) in wrap::wrap(value, room).into_iter().enumerate() {
            let label = if row == 0 { label } else { "" };
            self.lines.push(Line::from(vec![
                Span::styled(format!("{label:<LABEL_CELLS$}"), self.theme.style(Role::TextDim)),
                Span::styled(text, self.theme.style(role)),
            ]));
        }
    }
}

fn head(cx: &Context<'_>, page: &mut Page<'_>, id: &ProbeId, state: &ProbeState) {
    let (health, setup, theme) = (state.health(), &state.setup, page.theme);
    let since = state.since().map_or_else(String::new, |it| format!(" since {}", format::moment(cx.now, it, cx.zone)));
    let word = if state.is_broken() { "unknown: the probe is broken" } else { health.word() };
    page.lines.push(Line::from(vec![
        Span::styled(format!("{} ", mark(health)), theme.style(role(health))),
        Span::styled(id.name().to_string(), theme.style(Role::TextStrong)),
        Span::styled(format!("  {word}{since}"), theme.style(role(health))),
    ]));
    page.field(&setup.kind, &setup.target, Role::Text);
    let pace = [("every", setup.interval), ("timeout", setup.timeout), ("retry", setup.retry)];
    let pace: Vec<String> = pace.iter().map(|(word, it)| format!("{word} {}", format::duration(*it))).collect();
    let thresholds = format!("down at {}, up at {}", setup.thresholds.fail, setup.thresholds.recover);
    page.field("pace", &format!("{}; {thresholds}", pace.join(", ")), Role::Text);
    for (label, lines) in [("expect", &setup.expect), ("prefer", &setup.prefer)] {
        if !lines.is_empty() {
            page.field(label, &crate::domain::sanitise::text(&lines.join("; ")), Role::Text);
        }
    }
    if let Some(next) = state.next {
        page.field("next run", &format::clock(next, cx.zone), Role::Text);
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
    if state.missed > 0 {
        let at =
            state.missed_at.map_or_else(String::new, |it| format!(", last noticed at {}", format::clock(it, cx.zone)));
        page.field("missed", &format!("{} since the start{at}", format::plural(state.missed, "run")), Role::NoticeWarn);
    }
    let mut line = vec![Span::styled(format!("{:<LABEL_CELLS$}", "times"), theme.style(Role::TextDim))];
    let room = page.width.saturating_sub(LABEL_CELLS).min(state.outcomes.len());
    line.extend(spark::spans(theme, &samples(state), room));
    page.lines.push(Line::from(line));
}

fn run(cx: &Context<'_>, page: &mut Page<'_>, outcome: &Outcome) {
    for line in waterfall::lines(outcome, page.width, page.theme.ascii) {
        page.plain(&line, Role::Spark);
    }
    let evidence = &outcome.evidence;
    if let Some(trouble) = &outcome.trouble {
        page.field("why", &trouble.text, result_role(outcome.result));
    }
    if let Some(status) = evidence.status {
        page.field("status", &status.to_string(), Role::Text);
    }
    if let Some(exit) = evidence.exit {
        page.field("exit", &exit.to_string(), Role::Text);
    }
    let spoke = [evidence.address.clone(), evidence.protocol.clone()];
    let spoke: Vec<String> = spoke.into_iter().flatten().collect();
    if !spoke.is_empty() {
        page.field("peer", &spoke.join(", "), Role::Text);
    }
    for place in &evidence.redirects {
        page.field("redirect", place, Role::Text);
    }
    if let Some(it) = &evidence.certificate {
        let ends = format::full(it.not_after, cx.zone);
        let text = format!("{}, issued by {}, {} days left (until {ends})", it.subject, it.issuer, it.days);
        page.field("cert", &text, Role::Text);
    }
    if !evidence.text.is_empty() {
        page.field("answer", &evidence.text, Role::Text);
    }
    if evidence.cut {
        page.field("", &format!("read up to {}, the rest was left", format::bytes(evidence.body_bytes)), Role::TextDim);
    }
    for it in &evidence.perf {
        let limits = [("warn", &it.warn), ("crit", &it.crit)];
        let limits: Vec<String> =
            limits.iter().filter_map(|(word, it)| it.as_ref().map(|it| format!("{word} {it}"))).collect();
        page.field("perf", &format!("{} = {}{}  {}", it.label, it.value, it.unit, limits.join(" ")), Role::Text);
    }
    if outcome.latency_suspect {
        let lag = format::duration(outcome.lag);
        page.field("lag", &format!("{lag} late by our own fault: its times are not believed"), Role::NoticeWarn);
    }
}

fn history(cx: &Context<'_>, page: &mut Page<'_>, state: &ProbeState) {
    for outcome in state.outcomes.iter().rev() {
        let phases: Vec<String> = outcome
            .phases
            .happened()
            .map(|(phase, took)| format!("{} {}", phase.word(), waterfall::precise(took)))
            .collect();
        let theme = page.theme;
        let mut spans = vec![
            Span::styled(format!("{} ", format::clock(outcome.at, cx.zone)), theme.style(Role::TextDim)),
            Span::styled(format!("{:<8} ", outcome.result.word()), theme.style(result_role(outcome.result))),
            Span::styled(format!("{:>7}  ", waterfall::precise(outcome.total())), theme.style(Role::Text)),
        ];
        let why = outcome.trouble.as_ref().map(|it| it.text.clone());
        let used: usize = spans.iter().map(|it| it.content.width()).sum();
        let room = page.width.saturating_sub(used);
        // What went wrong is worth more than how long each phase took.
        let rest = match why {
            Some(why) => why,
            None => phases.join(", "),
        };
        spans.push(Span::styled(wrap::cut(&rest, room, theme.ascii), theme.style(Role::TextDim)));
        page.lines.push(Line::from(spans));
    }
}

fn result_role(result: ProbeResult) -> Role {
    match result {
        ProbeResult::Ok => Role::ProbeUp,
        ProbeResult::Degraded => Role::ProbeDegraded,
        ProbeResult::Fail => Role::ProbeDown,
        ProbeResult::Unknown => Role::ProbeUnknown,
    }
}
