//! What is known of many runs: the graph, the ribbon of results, percentiles, days, the last outcomes.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::domain::format;
use crate::domain::probe::history::{Day, History, Point};
use crate::domain::probe::outcome::ProbeResult;
use crate::domain::probe::{ProbeState, waterfall};
use crate::domain::sanitise;
use crate::panes::Context;
use crate::panes::services::detail::run::{result_mark, result_role};
use crate::panes::services::detail::{PAST, Page, Subject};
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::graph::{self, Bar, GUTTER_CELLS, Graph};
use crate::widgets::wrap;

/// Rows of the graph on a screen with room, and on a low one.
const GRAPH_ROWS: usize = 8;
const GRAPH_ROWS_LOW: usize = 4;
/// A body with fewer rows is low.
const LOW: u16 = 20;
/// The share of a day from which on it is one of the good ones.
const GOOD: f64 = 0.99;
/// The worst days that are named.
const WORST_DAYS: usize = 3;

/// The graph over the range that is looked at, with everything that belongs to the range.
pub(super) fn past(cx: &Context<'_>, page: &mut Page<'_>, subject: &Subject<'_>) {
    let past = subject.past;
    let known = past.of(subject.id);
    let (from, until) = known.map_or_else(|| past.range(cx.now), |it| (it.from, it.until));
    let place = if past.is_now() { "to now".to_string() } else { format!("to {}", moment(cx, until)) };
    let grain = known.map_or_else(String::new, |it| format!(", by {}", grain(&it.grain)));
    let waiting = if past.is_waiting() { ", reading" } else { "" };
    page.heading(&format!("{PAST}{} {place}{grain}{waiting}", past.word()));
    let Some(history) = known else {
        let why = past.refused().map_or_else(|| "not read yet".to_string(), sanitise::text);
        page.plain(&why, Role::TextDim);
        return;
    };
    if runs(&history.whole) == 0 {
        let text = match history.known_since {
            Some(it) if it < until => "nothing looked at it in this time".to_string(),
            Some(it) => format!("nothing is known of this time; what is known begins {}", moment(cx, it)),
            None => "nothing is known of the past yet".to_string(),
        };
        page.plain(&text, Role::TextDim);
    } else {
        draw_graph(cx, page, subject.state, history);
        let is_marked = ribbon(page, history);
        axis(cx, page, from, until);
        whole(page, history, is_marked);
    }
    days(page, &history.days);
}

fn draw_graph(cx: &Context<'_>, page: &mut Page<'_>, state: &ProbeState, history: &History) {
    let seconds = |it: Option<Duration>| it.map(|it| it.as_secs_f64());
    let bars: Vec<Bar> =
        history.points.iter().map(|it| Bar { body: seconds(it.p50), top: seconds(it.most.or(it.p99)) }).collect();
    let label = |it: f64| waterfall::precise(Duration::try_from_secs_f64(it).unwrap_or_default());
    let limit = state.band(cx.now).map(|it| it.top.as_secs_f64());
    let graph = Graph { bars: &bars, limit, label };
    let rows = if cx.height < LOW { GRAPH_ROWS_LOW } else { GRAPH_ROWS };
    page.lines.extend(graph::lines(page.theme, &graph, page.width, rows));
}

/// One cell for each stretch of time, with the worst that it saw. Answers whether one of them was not watched.
fn ribbon(page: &mut Page<'_>, history: &History) -> bool {
    let cells = page.width.saturating_sub(GUTTER_CELLS);
    let count = history.points.len();
    if cells == 0 || count == 0 {
        return false;
    }
    let mut is_marked = false;
    let mut spans = vec![Span::styled(format!("{:>1$} ", "runs", GUTTER_CELLS - 1), page.theme.style(Role::TextDim))];
    for cell in 0..cells {
        let from = (cell * count / cells).min(count - 1);
        let until = ((cell + 1) * count / cells).clamp(from + 1, count);
        let of = &history.points[from..until];
        let worst = of.iter().filter_map(worst).max_by_key(|it| it.badness());
        let (symbol, role) = match worst {
            Some(ProbeResult::Ok) => (if page.theme.ascii { '.' } else { '·' }, Role::ProbeUp),
            Some(it) => (result_mark(it), result_role(it)),
            None if of.iter().all(|it| it.unwatched) => {
                is_marked = true;
                unwatched_cell(page.theme)
            }
            // Between two runs.
            None => (' ', Role::Text),
        };
        push(page.theme, &mut spans, symbol, role);
    }
    page.lines.push(Line::from(spans));
    is_marked
}

fn runs(point: &Point) -> u64 {
    [point.ok, point.degraded, point.fail, point.unknown].into_iter().map(u64::from).sum()
}

fn worst(point: &Point) -> Option<ProbeResult> {
    let seen = [
        (point.fail, ProbeResult::Fail),
        (point.unknown, ProbeResult::Unknown),
        (point.degraded, ProbeResult::Degraded),
        (point.ok, ProbeResult::Ok),
    ];
    seen.into_iter().find(|(count, _)| *count > 0).map(|(_, result)| result)
}

/// A time in which nothing looked: never as if it had been well.
fn unwatched_cell(theme: &Theme) -> (char, Role) {
    (if theme.ascii { '?' } else { '░' }, Role::ProbeUnknown)
}

fn push(theme: &Theme, spans: &mut Vec<Span<'static>>, symbol: char, role: Role) {
    let style = theme.style(role);
    match spans.last_mut() {
        Some(last) if last.style == style => last.content.to_mut().push(symbol),
        _ => spans.push(Span::styled(symbol.to_string(), style)),
    }
}

/// When the range begins and ends, and its middle where there is room.
fn axis(cx: &Context<'_>, page: &mut Page<'_>, from: Timestamp, until: Timestamp) {
    let cells = page.width.saturating_sub(GUTTER_CELLS);
    let middle = from + until.duration_since(from) / 2;
    let form = tick_form(until.duration_since(from));
    let words = [from, middle, until].map(|it| it.to_zoned(cx.zone.clone()).strftime(form).to_string());
    let width: usize = words.iter().map(|it| it.width()).sum();
    let [from, middle, until] = words;
    let mut text = " ".repeat(GUTTER_CELLS);
    if cells >= width + 4 {
        let left = (cells - middle.width()) / 2 - from.width();
        let right = cells - from.width() - left - middle.width() - until.width();
        text.push_str(&format!("{from}{}{middle}{}{until}", " ".repeat(left), " ".repeat(right)));
    } else {
        let gap = cells.saturating_sub(from.width() + until.width());
        text.push_str(&format!("{from}{}{until}", " ".repeat(gap)));
    }
    page.plain(&text, Role::TextDim);
}

/// How the times of an axis are written, all of them alike: as exact as a range so long needs.
fn tick_form(length: SignedDuration) -> &'static str {
    match length.as_mins() {
        ..10 => "%H:%M:%S",
        10..1440 => "%H:%M",
        1440..43_200 => "%m-%d %H:%M",
        _ => "%Y-%m-%d",
    }
}

/// Percentiles and counts of the whole range.
fn whole(page: &mut Page<'_>, history: &History, is_marked: bool) {
    let whole = &history.whole;
    let times =
        [("least", whole.least), ("p50", whole.p50), ("p95", whole.p95), ("p99", whole.p99), ("most", whole.most)];
    let times: Vec<String> =
        times.iter().filter_map(|(word, it)| Some(format!("{word} {}", waterfall::precise((*it)?)))).collect();
    if !times.is_empty() {
        page.field("latency", &times.join("  "), Role::Text);
    }
    let all = format::plural(runs(whole), "run");
    let mut results = vec![match whole.fail {
        0 => all,
        fail => format!("{} of {all} failed", format::count(u64::from(fail))),
    }];
    for (count, word) in [(whole.degraded, "degraded"), (whole.unknown, "unknown")] {
        if count > 0 {
            results.push(format!("{} {word}", format::count(u64::from(count))));
        }
    }
    let role = if whole.fail > 0 { Role::ProbeDown } else { Role::Text };
    page.field("results", &results.join(", "), role);
    if !history.unwatched.is_zero() {
        let (symbol, _) = unwatched_cell(page.theme);
        let symbol = if is_marked { format!(" ({symbol})") } else { String::new() };
        let text = format!("{} of this time{symbol}: nothing looked", format::duration(history.unwatched));
        page.field("unwatched", &text, Role::ProbeUnknown);
    }
}

/// Availability by day: a cell a day, some averages, the worst days by name.
fn days(page: &mut Page<'_>, days: &[Day]) {
    let known: Vec<(&Day, f64)> = days.iter().filter_map(|it| Some((it, it.up?))).collect();
    let Some((last, last_up)) = known.last() else { return };
    page.heading("uptime by day");
    let room = page.room();
    let mut spans = Vec::new();
    for day in &days[days.len().saturating_sub(room)..] {
        let (symbol, role) = day_cell(page.theme, day);
        spans.push(Span::styled(symbol.to_string(), page.theme.style(role)));
    }
    page.drawn("days", spans);
    let mut means = vec![format!("{} {}{}", last.date, percent(*last_up), unwatched_words(last.unwatched))];
    for count in [7, 30, 90] {
        let of = &days[days.len().saturating_sub(count)..];
        if let Some(up) = mean(of).filter(|_| days.len() > if count == 7 { 1 } else { count / 3 }) {
            let unwatched = of.iter().map(|it| it.unwatched).sum();
            means.push(format!("{count}d {}{}", percent(up), unwatched_words(unwatched)));
        }
    }
    page.field("up", &means.join("  "), Role::Text);
    let mut worst: Vec<(&Day, f64)> = known.into_iter().filter(|(_, up)| *up < 1.0).collect();
    worst.sort_by(|a, b| a.1.total_cmp(&b.1));
    let named: Vec<String> = worst
        .iter()
        .take(WORST_DAYS)
        .map(|(day, up)| format!("{} {} ({} down)", day.date, percent(*up), format::duration(day.down)))
        .collect();
    if !named.is_empty() {
        page.field("worst", &named.join("  "), Role::Text);
    }
}

/// The share of the known time of some days in which it did not fail: a day of which little is known says little.
fn mean(days: &[Day]) -> Option<f64> {
    let known: Duration = days.iter().map(|it| it.known).sum();
    if known.is_zero() {
        // As an older hotseat answers.
        let ups: Vec<f64> = days.iter().filter_map(|it| it.up).collect();
        return (!ups.is_empty()).then(|| ups.iter().sum::<f64>() / ups.len() as f64);
    }
    let down: Duration = days.iter().map(|it| it.down).sum();
    Some((1.0 - down.as_secs_f64() / known.as_secs_f64()).clamp(0.0, 1.0))
}

/// ` (3h10m unwatched)`; nothing when all was watched.
fn unwatched_words(it: Duration) -> String {
    if it.is_zero() { String::new() } else { format!(" ({} unwatched)", format::duration(it)) }
}

/// A day as a cell: the higher the better, a cross below half. One that was not watched for a tenth is not called good.
fn day_cell(theme: &Theme, day: &Day) -> (char, Role) {
    let Some(up) = day.up else { return unwatched_cell(theme) };
    if up >= GOOD && day.unwatched * 9 > day.known {
        return unwatched_cell(theme);
    }
    let steps: [(f64, char, char, Role); 4] = [
        (0.9995, '█', '#', Role::ProbeUp),
        (GOOD, '▆', '+', Role::ProbeDegraded),
        (0.95, '▄', '-', Role::ProbeDegraded),
        (0.5, '▂', '_', Role::ProbeDown),
    ];
    let found = steps.iter().find(|(least, ..)| up >= *least);
    match found {
        Some((_, symbol, ascii, role)) => (if theme.ascii { *ascii } else { *symbol }, *role),
        None => ('x', Role::ProbeDown),
    }
}

/// The last outcomes, the newest first.
pub(super) fn outcomes(cx: &Context<'_>, page: &mut Page<'_>, state: &ProbeState) {
    if state.outcomes.is_empty() {
        return;
    }
    page.heading(&format!("last {}", format::plural(state.outcomes.len() as u64, "outcome")));
    for outcome in state.outcomes.iter().rev() {
        let theme = page.theme;
        let mut spans = vec![
            Span::styled(format!("{} ", format::clock(outcome.at, cx.zone)), theme.style(Role::TextDim)),
            Span::styled(
                format!("{} {:<8} ", result_mark(outcome.result), outcome.result.word()),
                theme.style(result_role(outcome.result)),
            ),
            Span::styled(format!("{:>7}  ", waterfall::precise(outcome.total())), theme.style(Role::Text)),
        ];
        let used: usize = spans.iter().map(|it| it.content.width()).sum();
        // What went wrong is worth more than how long each phase took.
        let rest = match &outcome.trouble {
            Some(why) => sanitise::text(&why.text),
            None => {
                let phase = |(phase, took): (crate::domain::probe::outcome::Phase, Duration)| {
                    format!("{} {}", phase.word(), waterfall::precise(took))
                };
                outcome.phases.happened().map(phase).collect::<Vec<_>>().join(", ")
            }
        };
        let room = page.width.saturating_sub(used);
        spans.push(Span::styled(wrap::cut(&rest, room, theme.ascii), theme.style(Role::TextDim)));
        page.lines.push(Line::from(spans));
    }
}

pub(super) fn moment(cx: &Context<'_>, at: Timestamp) -> String {
    format::moment(cx.now, at, cx.zone)
}

fn grain(word: &str) -> &str {
    match word {
        "raw" => "run",
        "minutes" => "minute",
        "hours" => "hour",
        other => other,
    }
}

/// A share with as many digits as nines are worth: `99.95%`, `97.1%`, `100%`.
pub(super) fn percent(share: f64) -> String {
    let it = share * 100.0;
    match it {
        it if it >= 99.9995 => "100%".to_string(),
        it if it >= 99.0 => format!("{:.2}%", (it * 100.0).floor() / 100.0),
        it => format!("{it:.1}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_is_not_whole_is_never_called_whole() {
        let cases = [(1.0, "100%"), (0.99999, "99.99%"), (0.9995, "99.95%"), (0.971, "97.1%"), (0.0, "0.0%")];
        for (share, text) in cases {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn ticks_are_alike_and_as_exact_as_their_range() {
        let cases = [(9, "%H:%M:%S"), (15, "%H:%M"), (360, "%H:%M"), (1440, "%m-%d %H:%M"), (525_600, "%Y-%m-%d")];
        for (minutes, form) in cases {
            assert_eq!(tick_form(SignedDuration::from_mins(minutes)), form);
        }
    }

    #[test]
    fn a_day_that_was_hardly_watched_is_not_drawn_as_good_and_weighs_little() {
        let hours = |it: u64| Duration::from_secs(it * 3600);
        let day = |up, known, unwatched| Day {
            date: jiff::civil::date(2026, 11, 23),
            up: Some(up),
            down: hours(known).mul_f64(1.0 - up),
            known: hours(known),
            unwatched: hours(unwatched),
        };
        let theme = Theme::mono();
        for (day, cell) in [
            (day(1.0, 24, 0), '█'),
            (day(1.0, 23, 1), '█'),
            (day(1.0, 12, 12), '░'),
            (day(0.9, 12, 12), '▂'),
            (Day { up: None, ..day(1.0, 0, 24) }, '░'),
        ] {
            assert_eq!(day_cell(&theme, &day).0, cell, "{day:?}");
        }
        let share = mean(&[day(1.0, 23, 0), day(0.0, 1, 23)]).expect("known");
        assert!((share - 23.0 / 24.0).abs() < 1e-9, "{share}");
        assert_eq!(unwatched_words(hours(3) + Duration::from_secs(600)), " (3h10m unwatched)");
        assert_eq!(unwatched_words(Duration::ZERO), "");
    }

    #[test]
    fn the_worst_of_a_stretch_is_what_it_shows() {
        let point = |ok, degraded, fail, unknown| Point { ok, degraded, fail, unknown, ..Point::default() };
        assert_eq!(worst(&point(9, 1, 1, 1)), Some(ProbeResult::Fail));
        assert_eq!(worst(&point(9, 1, 0, 0)), Some(ProbeResult::Degraded));
        assert_eq!(worst(&point(0, 0, 0, 0)), None);
    }
}
