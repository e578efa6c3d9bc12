//! What an explanation says of what is measured over a longer time: the promise, the usual times, the runs that did not
//! happen. They decide also by not ringing, which no step of the trail says.

use jiff::Timestamp;

use crate::domain::alert::explain::Step;
use crate::domain::format;
use crate::domain::probe::slo::{Alarm, BAD_MIN, Burn, SloReport};
use crate::domain::probe::{ProbeState, Unwatched};

/// How the promise stands and whether each of its alarms rings, and what times are usual.
pub(super) fn standing(now: Timestamp, state: &ProbeState) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(report) = state.slo() {
        steps.push(Step::always("slo", promise(&report)));
        steps.extend(report.burns.iter().map(|it| Step::always("slo", burn(it))));
    }
    if state.setup.rules.baseline {
        steps.push(Step::always("baseline", usual(now, state)));
    }
    steps
}

/// The runs that did not happen.
pub(super) fn missed(state: &ProbeState) -> impl Iterator<Item = Step> {
    state.misses.iter().map(|(at, count)| Step {
        at: Some(*at),
        kind: "missed".into(),
        text: format!(
            "{} that were due did not happen: the machine slept, hotseat was stopped, or the run before took too long",
            format::plural(u64::from(*count), "run")
        ),
    })
}

/// That nobody watched before this start.
pub(super) fn unwatched(unwatched: Unwatched) -> Step {
    Step { at: Some(unwatched.until), kind: "missed".into(), text: unwatched.text() }
}

fn promise(report: &SloReport) -> String {
    let known = if report.known.is_zero() {
        "nothing is known yet".to_string()
    } else {
        format!("{:.0} % of {} left", report.left * 100.0, format::duration(report.budget))
    };
    format!(
        "promised: {} % over {}, of which {} are known; error budget: {known}",
        share(report.slo.share),
        format::span(report.slo.over),
        format::duration(report.known),
    )
}

/// `99.9`, without the noise of binary fractions.
fn share(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

fn burn(burn: &Burn) -> String {
    let over = |rate: Option<f64>, window| {
        let rate = rate.map_or_else(|| "too little is known".to_string(), |it| format!("{it:.1} times too fast"));
        format!("{rate} over {}", format::span(window))
    };
    let rings = if burn.fires { "rings" } else { "does not ring" };
    let loud = match burn.alarm {
        Alarm::Page => "burn",
        Alarm::Ticket => "slow burn",
    };
    format!(
        "{loud} {rings}: {}, {}, {}; it rings above {:.1} times in both, from {BAD_MIN:.0} failures on",
        over(burn.over_long, burn.long),
        over(burn.over_short, burn.short),
        format::plural(u64::from(burn.count), "failure"),
        burn.factor,
    )
}

fn usual(now: Timestamp, state: &ProbeState) -> String {
    let recent = state.lately().map(format::duration);
    match (state.band(now), recent) {
        (None, _) => "too few runs are known of this hour of the week to say what is usual".to_string(),
        (Some(band), None) => format!(
            "usual at this hour of the week: p95 of {}; degraded above {}; too few runs lately to compare",
            format::duration(band.usual),
            format::duration(band.top)
        ),
        (Some(band), Some(recent)) => format!(
            "usual at this hour of the week: p95 of {}; degraded above {}; the last runs have {recent}",
            format::duration(band.usual),
            format::duration(band.top)
        ),
    }
}
