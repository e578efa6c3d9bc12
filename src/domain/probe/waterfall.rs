//! The phases of one run as bars under each other: where the time went.

use crate::domain::format;
use crate::domain::probe::outcome::{Cause, Outcome};

/// Cells of the longest line beside its bar: phase and time.
const LABEL_CELLS: usize = 18;
/// Bars are no longer than this: more says nothing more.
const BAR_CELLS_MAX: usize = 60;

/// Draws one line a phase, each bar beginning where the one above it ended, and a line with the sum.
///
/// A phase in which the deadline passed is marked, because its length says only how long we waited.
pub fn lines(outcome: &Outcome, width: usize, ascii: bool) -> Vec<String> {
    let total = outcome.total();
    let room = width.saturating_sub(LABEL_CELLS).min(BAR_CELLS_MAX);
    let block = if ascii { "#" } else { "█" };
    let cells = |share: f64| (share * room as f64).round() as usize;
    let mut lines = Vec::new();
    let mut before = std::time::Duration::ZERO;
    for (phase, took) in outcome.phases.happened() {
        let (start, end) = if total.is_zero() {
            (0, 0)
        } else {
            let share = |it: std::time::Duration| cells(it.as_secs_f64() / total.as_secs_f64());
            (share(before), share(before + took))
        };
        // What happened is visible, however short.
        let length = (end - start).max(1);
        let bar = format!("{}{}", " ".repeat(start.min(room.saturating_sub(length))), block.repeat(length.min(room)));
        let late = outcome.trouble.as_ref().is_some_and(|it| it.cause == Cause::Timeout(phase));
        let mark = if late { " timeout" } else { "" };
        lines.push(format!("{:<8} {:>7}  {bar}{mark}", phase.word(), precise(took)).trim_end().to_string());
        before += took;
    }
    lines.push(format!("{:<8} {:>7}", "total", precise(total)));
    lines
}

/// Writes a time of a phase: below ten milliseconds the microseconds matter.
pub fn precise(it: std::time::Duration) -> String {
    match it.as_micros() {
        micros @ 0..1_000 => format!("{micros}us"),
        micros @ 1_000..10_000 => format!("{:.1}ms", micros as f64 / 1_000.0),
        _ => format::duration(it),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::domain::probe::outcome::{Evidence, Phase, Phases, ProbeResult, Trouble};

    #[test]
    fn a_bar_begins_where_the_one_above_ended() {
        let phases = Phases {
            dns: Some(Duration::from_micros(120)),
            connect: Some(Duration::from_millis(10)),
            wait: Some(Duration::from_millis(30)),
            ..Phases::default()
        };
        let outcome = Outcome {
            at: Timestamp::UNIX_EPOCH,
            result: ProbeResult::Fail,
            phases,
            trouble: Some(Trouble::new(Cause::Timeout(Phase::Wait), "timeout", "")),
            evidence: Evidence::default(),
            lag: Duration::ZERO,
            latency_suspect: false,
        };
        assert_eq!(
            lines(&outcome, 26, true),
            ["dns        120us  #", "connect     10ms  ##", "wait        30ms    ###### timeout", "total       40ms"]
        );
    }
}
