//! From what a run saw to its result: `expect` must hold or it fails, `prefer` or it is degraded.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::probe::expect::{Expression, Hide, Values};
use crate::domain::probe::outcome::{Cause, Evidence, Outcome, Part, ProbeResult, ROWS_MAX, Trouble};

/// A run that begins later than this, by our own fault, is not believed about times.
pub const LAG_SUSPECT: Duration = Duration::from_millis(50);

/// Characters of a reason: two comparisons as long as a config may write them, and what was found.
const REASON_MAX: usize = 4096;

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
    /// It is to be looked at again after this time, whatever the pace: it turns by time alone.
    pub again: Option<Duration>,
    /// A subject that has no value, and needs none: comparisons of it say nothing.
    pub moot: Option<&'static str>,
    /// The same looked at in several places, each by its name: the worst of them stands for the whole.
    pub members: Vec<(String, Observation)>,
}

impl Observation {
    /// An observation of which only the verdict is known.
    pub fn failed(result: ProbeResult, trouble: Trouble) -> Self {
        Self { verdict: Some((result, trouble)), ..Self::default() }
    }
}

/// Makes the outcome of a run that began at `at`, `lag` late.
///
/// Every reason passes `hide`, whoever found it: nothing that is a secret leaves here in words.
pub fn judge(
    at: Timestamp,
    lag: Duration,
    seen: Observation,
    expect: &[Expression],
    prefer: &[Expression],
    hide: Hide<'_>,
) -> Outcome {
    weigh(at, lag, seen, expect, prefer, hide).0
}

/// As [`judge`], and gives the values back that decided it: evidence is made of them when it is needed.
pub fn weigh(
    at: Timestamp,
    lag: Duration,
    mut seen: Observation,
    expect: &[Expression],
    prefer: &[Expression],
    hide: Hide<'_>,
) -> (Outcome, Values) {
    if !seen.members.is_empty() {
        return weigh_members(at, lag, std::mem::take(&mut seen.members), expect, prefer, hide);
    }
    let lag = lag + seen.queued;
    let latency_suspect = lag > LAG_SUSPECT;
    let (result, trouble) = verdict(&seen, latency_suspect, expect, prefer, hide);
    let trouble =
        trouble.map(|it| Trouble { brief: hide(&it.brief, REASON_MAX), text: hide(&it.text, REASON_MAX), ..it });
    let phases = seen.values.phases;
    (Outcome { at, result, phases, trouble, evidence: seen.evidence, lag, latency_suspect }, seen.values)
}

fn weigh_members(
    at: Timestamp,
    lag: Duration,
    members: Vec<(String, Observation)>,
    expect: &[Expression],
    prefer: &[Expression],
    hide: Hide<'_>,
) -> (Outcome, Values) {
    let mut parts = Vec::new();
    let mut worst: Option<(String, Outcome, Values)> = None;
    for (name, seen) in members {
        let (outcome, values) = weigh(at, lag, seen, expect, prefer, hide);
        let text = outcome.trouble.as_ref().map_or(&outcome.evidence.text, |it| &it.text).clone();
        parts.push(Part { name: name.clone(), result: outcome.result, text, took: Some(outcome.total()) });
        // The first of equals by badness, the slowest of those that are well.
        let badness =
            |it: &Outcome| (it.result.badness(), if it.trouble.is_some() { Duration::ZERO } else { it.total() });
        if worst.as_ref().is_none_or(|(_, it, _)| badness(&outcome) > badness(it)) {
            worst = Some((name, outcome, values));
        }
    }
    let Some((name, mut outcome, values)) = worst else {
        return weigh(at, lag, Observation::default(), expect, prefer, hide);
    };
    if let Some(trouble) = outcome.trouble.as_mut().filter(|_| parts.len() > 1) {
        let bad = parts.iter().filter(|it| it.result == outcome.result).count();
        trouble.text = format!("{bad} of {} at {name}: {}", parts.len(), trouble.text);
    }
    if parts.len() > ROWS_MAX {
        // The bad ones are what is looked for.
        parts.sort_by_key(|it| std::cmp::Reverse(it.result.badness()));
        parts.truncate(ROWS_MAX);
    }
    outcome.evidence.parts = parts;
    (outcome, values)
}

fn verdict(
    seen: &Observation,
    latency_suspect: bool,
    expect: &[Expression],
    prefer: &[Expression],
    hide: Hide<'_>,
) -> (ProbeResult, Option<Trouble>) {
    if let Some((result @ (ProbeResult::Fail | ProbeResult::Unknown), trouble)) = &seen.verdict {
        return (*result, Some(trouble.clone()));
    }
    let counts = |it: &&Expression| seen.moot.is_none_or(|subject| !it.is_about(subject));
    let mut failed: Option<Trouble> = None;
    for expression in expect.iter().filter(counts) {
        if failed.is_some() && expression.is_usual() {
            continue;
        }
        let Some(trouble) = expression.trouble(&seen.values, hide) else { continue };
        if latency_suspect && expression.is_about_time() {
            if failed.is_some() {
                continue;
            }
            let text = format!("{} (not counted: this machine was too busy)", trouble.text);
            return (ProbeResult::Unknown, Some(Trouble::new(Cause::Own, "busy", text)));
        }
        match &mut failed {
            None => failed = Some(trouble),
            Some(first) => {
                // What goes without saying comes first; what was asked for is named as well.
                first.text = format!("{}; {}", first.text, trouble.text);
                break;
            }
        }
    }
    if failed.is_some() {
        return (ProbeResult::Fail, failed);
    }
    if let Some((ProbeResult::Degraded, trouble)) = &seen.verdict {
        return (ProbeResult::Degraded, Some(trouble.clone()));
    }
    for expression in prefer.iter().filter(counts) {
        // Our own overload is never reported as their slowness.
        if latency_suspect && expression.is_about_time() {
            continue;
        }
        if let Some(trouble) = expression.trouble(&seen.values, hide) {
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
        judge(Timestamp::UNIX_EPOCH, Duration::from_millis(lag_ms), seen, &parse(expect), &parse(prefer), &|it, _| {
            it.to_string()
        })
        .result
    }

    #[test]
    fn expect_fails_and_prefer_degrades() {
        assert_eq!(check(0, "status == 200", "total < 3s"), ProbeResult::Ok);
        assert_eq!(check(0, "status == 200", "total < 1s"), ProbeResult::Degraded);
        assert_eq!(check(0, "status == 204", "total < 1s"), ProbeResult::Fail);
    }

    #[test]
    fn a_reason_names_what_was_asked_for_beside_what_goes_without_saying_and_passes_the_mask() {
        let values = Values { status: Some(500), text: "hunter22".into(), ..Values::default() };
        let seen = Observation { values, ..Observation::default() };
        let expect = ["status < 400", "body contains 'ok'", "body contains 'fine'"]
            .map(|it| Expression::parse(it, Subjects::Http).expect("parses"));
        let hide = |text: &str, _: usize| text.replace("hunter22", "***");
        let outcome = judge(Timestamp::UNIX_EPOCH, Duration::ZERO, seen, &expect, &[], &hide);
        let text = outcome.trouble.expect("trouble").text;
        assert_eq!(text, "status is 500, expected status < 400; body is '***', expected body contains 'ok'");
        let verdict = Some((ProbeResult::Fail, Trouble::new(Cause::Body, "hunter22", "said hunter22")));
        let seen = Observation { verdict, ..Observation::default() };
        let trouble = judge(Timestamp::UNIX_EPOCH, Duration::ZERO, seen, &[], &[], &hide).trouble.expect("trouble");
        assert_eq!((trouble.brief.as_str(), trouble.text.as_str()), ("***", "said ***"));
    }

    #[test]
    fn of_several_places_the_worst_stands_for_the_whole() {
        let member = |name: &str, status: u16| {
            let values = Values { status: Some(status), ..Values::default() };
            (name.to_string(), Observation { values, ..Observation::default() })
        };
        let seen = Observation { members: vec![member("a", 200), member("b", 503)], ..Observation::default() };
        let expect = [Expression::parse("status == 200", Subjects::Http).expect("parses")];
        let (outcome, values) =
            weigh(Timestamp::UNIX_EPOCH, Duration::ZERO, seen, &expect, &[], &|it, _| it.to_string());
        assert_eq!((outcome.result, values.status), (ProbeResult::Fail, Some(503)));
        let text = outcome.trouble.expect("trouble").text;
        assert_eq!(text, "1 of 2 at b: status is 503, expected status == 200");
        let results: Vec<_> = outcome.evidence.parts.iter().map(|it| (it.name.as_str(), it.result)).collect();
        assert_eq!(results, [("a", ProbeResult::Ok), ("b", ProbeResult::Fail)]);
    }

    #[test]
    fn our_own_lag_is_never_their_slowness() {
        assert_eq!(check(51, "status == 200", "total < 1s"), ProbeResult::Ok);
        assert_eq!(check(51, "total < 1s", "status == 200"), ProbeResult::Unknown);
        assert_eq!(check(51, "status == 204", "total < 1s"), ProbeResult::Fail);
    }
}
