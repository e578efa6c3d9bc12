//! The phases of one run as bars under each other: where the time went, and where it usually goes.
//!
//! A run that went through several places (redirects, the steps of a journey) has a heading for each of them,
//! and the bars go on where those of the place before ended.

use std::time::Duration;

use crate::domain::format;
use crate::domain::probe::expect::shorten;
use crate::domain::probe::outcome::{Cause, Outcome, Phase, Phases};

/// Cells of the longest line beside its bar: phase and time.
const LABEL_CELLS: usize = 18;
/// Cells of the difference to the good run.
const DIFFERENCE_CELLS: usize = 10;
/// Bars are no longer than this: more says nothing more.
const BAR_CELLS_MAX: usize = 60;
/// A difference below a tenth of the good time, or below this, is the noise of any two runs.
const NOISE: Duration = Duration::from_micros(200);

/// Draws one line a phase, each bar beginning where the one above it ended, and a line with the sum.
///
/// A phase in which the deadline passed is marked, because its length says only how long we waited.
pub fn lines(outcome: &Outcome, width: usize, ascii: bool) -> Vec<String> {
    let total = outcome.total();
    let scale = Scale { total, room: width.saturating_sub(LABEL_CELLS).min(BAR_CELLS_MAX) };
    let block = if ascii { '#' } else { '█' };
    let mut lines = Vec::new();
    let mut before = Duration::ZERO;
    let mut sections = sections(outcome).into_iter().peekable();
    while let Some(section) = sections.next() {
        let is_last = sections.peek().is_none();
        lines.extend(section.heading.map(|it| shorten(&it, width.saturating_sub(1))));
        for (phase, took) in section.phases.happened() {
            let (start, length) = scale.bar(before, took);
            let bar = format!("{}{}", " ".repeat(start), String::from(block).repeat(length));
            lines.push(row(phase.word(), &precise(took), &format!("{bar}{}", mark(outcome, phase, is_last))));
            before += took;
        }
    }
    lines.push(row("total", &precise(total), ""));
    lines
}

/// As [`lines`], against a run that was good: `:` stands where a bar ended then, and the difference beside it.
///
/// A phase that the good run had and this one did not reach has a row without a time. Place by place when both
/// went through the same number of them, else in sum.
pub fn against(now: &Outcome, good: &Outcome, width: usize, ascii: bool) -> Vec<String> {
    let total = now.total().max(good.total());
    let room = width.saturating_sub(LABEL_CELLS + DIFFERENCE_CELLS).min(BAR_CELLS_MAX);
    let scale = Scale { total, room };
    let (block, ghost) = if ascii { ('#', ':') } else { ('█', '┊') };
    let (mut now_sections, mut good_sections) = (sections(now), sections(good));
    if now_sections.len() != good_sections.len() {
        now_sections = vec![Section { heading: None, phases: now.phases }];
        good_sections = vec![Section { heading: None, phases: good.phases }];
    }
    let mut lines = Vec::new();
    let mut before = Duration::ZERO;
    let mut pairs = now_sections.into_iter().zip(good_sections).peekable();
    while let Some((section, good)) = pairs.next() {
        let is_last = pairs.peek().is_none();
        lines.extend(section.heading.map(|it| shorten(&it, width.saturating_sub(1))));
        for phase in Phase::ALL {
            let (took, usual) = (section.phases.get(*phase), good.phases.get(*phase));
            if took.is_none() && usual.is_none() {
                continue;
            }
            let mut cells = vec![' '; room];
            if let Some(took) = took {
                let (start, length) = scale.bar(before, took);
                cells.iter_mut().skip(start).take(length).for_each(|it| *it = block);
            }
            if let Some(usual) = usual {
                let (start, length) = scale.bar(before, usual);
                cells.iter_mut().skip(start + length.max(1) - 1).take(1).for_each(|it| *it = ghost);
            }
            let bar: String = cells.into_iter().collect();
            let time = took.map_or_else(|| "-".to_string(), precise);
            let what = match mark(now, *phase, is_last) {
                "" => difference(took, usual),
                late => late.to_string(),
            };
            lines.push(row(phase.word(), &time, &format!("{bar} {}", what.trim())));
            before += took.unwrap_or_default();
        }
    }
    let blank = " ".repeat(room);
    let what = difference(Some(now.total()), Some(good.total()));
    lines.push(row("total", &precise(now.total()), &format!("{blank} {what}")));
    lines
}

/// Says how one time differs from the usual one: `+500ms`, `-3.0ms`, `=`, `new`, `not now`.
fn difference(took: Option<Duration>, usual: Option<Duration>) -> String {
    match (took, usual) {
        (Some(took), Some(usual)) => {
            let apart = took.abs_diff(usual);
            if apart <= NOISE || apart <= usual / 10 {
                "=".into()
            } else {
                format!("{}{}", if took > usual { '+' } else { '-' }, precise(apart))
            }
        }
        (Some(_), None) => "new".into(),
        (None, Some(_)) => "not now".into(),
        (None, None) => String::new(),
    }
}

/// One place that a run went through.
struct Section {
    heading: Option<String>,
    phases: Phases,
}

fn sections(outcome: &Outcome) -> Vec<Section> {
    let hops = &outcome.evidence.hops;
    if hops.is_empty() {
        return vec![Section { heading: None, phases: outcome.phases }];
    }
    let heading = |(index, hop): (usize, &crate::domain::probe::outcome::Hop)| {
        let status = hop.status.map_or_else(String::new, |it| format!("  {it}"));
        Section { heading: Some(format!("{}. {}{status}", index + 1, hop.place)), phases: hop.phases }
    };
    hops.iter().enumerate().map(heading).collect()
}

/// From times to cells.
struct Scale {
    total: Duration,
    room: usize,
}

impl Scale {
    /// Where a bar begins, and how long it is. What happened is visible, however short.
    fn bar(&self, before: Duration, took: Duration) -> (usize, usize) {
        if self.total.is_zero() {
            return (0, self.room.min(1));
        }
        let cells = |it: Duration| {
            let share = it.as_secs_f64() / self.total.as_secs_f64();
            ((share * self.room as f64).round() as usize).min(self.room)
        };
        let (start, end) = (cells(before), cells(before + took));
        let length = (end - start).max(1).min(self.room);
        (start.min(self.room - length), length)
    }
}

fn row(label: &str, time: &str, rest: &str) -> String {
    format!("{label:<8} {time:>7}  {rest}").trim_end().to_string()
}

/// Of several places it is the last one that did not end.
fn mark(outcome: &Outcome, phase: Phase, is_last: bool) -> &'static str {
    let late = outcome.trouble.as_ref().is_some_and(|it| it.cause == Cause::Timeout(phase));
    if late && is_last { " timeout" } else { "" }
}

/// Writes a time of a phase: below ten milliseconds the microseconds matter.
pub fn precise(it: Duration) -> String {
    match it.as_micros() {
        micros @ 0..1_000 => format!("{micros}us"),
        micros @ 1_000..10_000 => format!("{:.1}ms", micros as f64 / 1_000.0),
        _ => format::duration(it),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::probe::outcome::{Evidence, Hop, ProbeResult, Trouble};

    fn outcome(phases: Phases, trouble: Option<Trouble>) -> Outcome {
        Outcome {
            at: Timestamp::UNIX_EPOCH,
            result: if trouble.is_some() { ProbeResult::Fail } else { ProbeResult::Ok },
            phases,
            trouble,
            evidence: Evidence::default(),
            lag: Duration::ZERO,
            latency_suspect: false,
        }
    }

    fn millis(connect: u64, wait: u64) -> Phases {
        let ms = |it| Some(Duration::from_millis(it));
        Phases { connect: ms(connect), wait: ms(wait), ..Phases::default() }
    }

    #[test]
    fn a_bar_begins_where_the_one_above_ended() {
        let phases = Phases { dns: Some(Duration::from_micros(120)), ..millis(10, 30) };
        let outcome = outcome(phases, Some(Trouble::new(Cause::Timeout(Phase::Wait), "timeout", "")));
        assert_eq!(
            lines(&outcome, 26, true),
            ["dns        120us  #", "connect     10ms  ##", "wait        30ms    ###### timeout", "total       40ms"]
        );
    }

    #[test]
    fn every_place_has_its_heading_and_the_bars_go_on() {
        let mut outcome = outcome(millis(20, 60), None);
        let hop = |place: &str, status, phases| Hop { place: place.into(), address: None, status, phases };
        outcome.evidence.hops =
            vec![hop("http://a/", Some(301), millis(10, 30)), hop("http://b/", None, millis(10, 30))];
        assert_eq!(
            lines(&outcome, 26, true),
            [
                "1. http://a/  301",
                "connect     10ms  #",
                "wait        30ms   ###",
                "2. http://b/",
                "connect     10ms      #",
                "wait        30ms       ###",
                "total       80ms",
            ]
        );
    }

    #[test]
    fn against_a_good_run_the_phase_that_changed_stands_out() {
        let (now, good) = (outcome(millis(10, 70), None), outcome(millis(10, 30), None));
        assert_eq!(
            against(&now, &good, 36, true),
            ["connect     10ms  :        =", "wait        70ms   ##:#### +40ms", "total       80ms           +40ms",]
        );
    }

    #[test]
    fn a_phase_that_was_not_reached_shows_where_it_used_to_be() {
        let late = outcome(
            Phases { connect: Some(Duration::from_millis(80)), ..Phases::default() },
            Some(Trouble::new(Cause::Timeout(Phase::Connect), "timeout", "")),
        );
        assert_eq!(
            against(&late, &outcome(millis(10, 30), None), 36, true),
            [
                "connect     80ms  :####### timeout",
                "wait           -         : not now",
                "total       80ms           +40ms",
            ]
        );
    }
}
