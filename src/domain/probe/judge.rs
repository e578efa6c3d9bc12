//! From what a run saw to its result: `expect` must hold or it fails, `prefer` or it is degraded.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::probe::expect::{Expression, Values};
use crate::domain::probe::outcome::{Cause, Evidence, Outcome, ProbeResult, Trouble};

/// A run that begins later than this, by our own fault, is not believed about times.
pub const LAG_SUSPECT: Duration = Duration::from_millis(50);

/// What a run saw.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    /// The run itself found trouble: it did not get an answer, or a plugin gave a verdict.
    pub verdict: Option<(ProbeResult, Trouble)>,
    /// For the comparisons; its phases are the outcome's.
    pub values: Values,
    /// What is shown.
    pub evidence: Evidence,
    /// Time spent waiting for our own resources (the turn to shake hands).
    pub queued: Duration,
}

impl Observation {
    /// An observation of which only the verdict is known.
    pub fn failed(result: ProbeResult, trouble: Trouble) -> Self {
        Self { verdict: Some((result, trouble)), ..Self::default() }
    }
}

/// Makes the outcome of a run that began at `at`, `lag` late.
pub fn judge(at: Timestamp, lag: Duration, seen: Observation, expect: &[Expression], prefer: &[Expression]) -> Outcome {
    let lag = lag + seen.queued;
    let latency_suspect = lag > LAG_SUSPECT;
    let (result, trouble) = verdict(&seen, latency_suspect, expect, prefer);
    Outcome { at, result, phases: seen.values.phases, trouble, evidence: seen.evidence, lag, latency_suspect }
}

fn verdict(
    seen: &Observation,
    latency_suspect: bool,
    expect: &[Expression],
    prefer: &[Expression],
) -> (ProbeResult, Option<Trouble>) {
    if let Some((result @ (ProbeResult::Fail | ProbeResult::Unknown), trouble)) = &seen.verdict {
        return (*result, Some(trouble.clone()));
    }
    for expression in expect {
        let Some(trouble) = expression.trouble(&seen.values) else { continue };
        if latency_suspect && expression.is_about_time() {
            let text = format!("{} (not counted: this machine was too busy)", trouble.text);
            return (ProbeResult::Unknown, Some(Trouble::new(Cause::Own, "busy", text)));
        }
        return (ProbeResult::Fail, Some(trouble));
    }
    if let Some((ProbeResult::Degraded, trouble)) = &seen.verdict {
        return (ProbeResult::Degraded, Some(trouble.clone()));
    }
    for expression in prefer {
        // Our own overload is never reported as their slowness.
        if latency_suspect && expression.is_about_time() {
            continue;
        }
        if let Some(trouble) = expression.trouble(&seen.values) {
            return (ProbeResult::Degraded, Some(trouble));
        }
    }
    (ProbeResult::Ok, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::probe::expect::Subjects;
    use crate::domain::probe::outcome::Phases;

    fn check(lag_ms: u64, expect: &str, prefer: &str) -> ProbeResult {
        let phases = Phases { wait: Some(Duration::from_secs(2)), ..Phases::default() };
        let values = Values { status: Some(200), phases, ..Values::default() };
        let seen = Observation { values, ..Observation::default() };
        let parse = |text: &str| vec![Expression::parse(text, Subjects::Http).expect("parses")];
        judge(Timestamp::UNIX_EPOCH, Duration::from_millis(lag_ms), seen, &parse(expect), &parse(prefer)).result
    }

    #[test]
    fn expect_fails_and_prefer_degrades() {
        assert_eq!(check(0, "status == 200", "total < 3s"), ProbeResult::Ok);
        assert_eq!(check(0, "status == 200", "total < 1s"), ProbeResult::Degraded);
        assert_eq!(check(0, "status == 204", "total < 1s"), ProbeResult::Fail);
    }

    #[test]
    fn our_own_lag_is_never_their_slowness() {
        assert_eq!(check(51, "status == 200", "total < 1s"), ProbeResult::Ok);
        assert_eq!(check(51, "total < 1s", "status == 200"), ProbeResult::Unknown);
        assert_eq!(check(51, "status == 204", "total < 1s"), ProbeResult::Fail);
    }
}
