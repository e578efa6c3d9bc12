//! Runs one probe once: the deadline, the panic that must not spread, the verdict.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use crate::clock;
use crate::domain::probe::judge::{Observation, weigh};
use crate::domain::probe::outcome::{Cause, Outcome, ProbeResult, Trouble};
use crate::service::lack;
use crate::service::probe::{Place, ProbeSpec, Run, alertmanager, net};

/// How long after its deadline a run may take to clean up (a command between SIGTERM and SIGKILL).
const OVERRUN_MAX: Duration = Duration::from_secs(2);

/// Runs a probe once, `lag` late. Dropping the future ends the run.
pub async fn run_once(spec: &ProbeSpec, place: &Place, lag: Duration) -> Outcome {
    run_and_ask(spec, place, lag).await.0
}

/// The same, and says after which time it is to be looked at again whatever the pace, where that is known.
pub async fn run_and_ask(spec: &ProbeSpec, place: &Place, lag: Duration) -> (Outcome, Option<Duration>) {
    let at = clock::now();
    let deadline = clock::timer() + spec.timeout;
    let probe = Arc::clone(&spec.probe);
    // A task of its own, so that a panic in a kind becomes an outcome and not the end of the schedule.
    let run = Run { deadline, name: spec.name.as_str().into(), place: place.clone() };
    let under_way = place.overload.as_ref().map(|it| it.enter());
    let own_fault = |text: &str| Observation::failed(ProbeResult::Unknown, Trouble::new(Cause::Own, "broken", text));
    // Where something was lacking just now, what is left is for whoever tells of it.
    let is_short = place.overload.as_ref().is_some_and(|it| it.lacked_lately());
    let observing = net::RUN.scope((deadline, spec.timeout), async move { probe.observe(&run).await });
    let work = async {
        match is_short.then(lack::for_check).flatten() {
            Some(lack) => Ok(net::short_of(lack)),
            None => AbortOnDropHandle::new(tokio::spawn(observing)).await,
        }
    };
    let mut seen = match tokio::time::timeout_at(deadline + OVERRUN_MAX, work).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(_)) => own_fault("the probe panicked: this is a bug in hotseat"),
        Err(_) => own_fault("the run did not end by its deadline: this machine is too busy"),
    };
    let about_alerts = spec.kind == alertmanager::KIND.name && spec.expect.iter().any(|it| it.is_about("alerts"));
    if about_alerts && seen.verdict.as_ref().is_some_and(|(_, trouble)| trouble.cause == Cause::Part) {
        // What the config says about their number stands above what their labels say.
        seen.verdict = None;
    }
    let about_exit = spec.expect.iter().any(|it| it.is_about_exit());
    if about_exit && seen.verdict.as_ref().is_some_and(|(_, trouble)| trouble.cause == Cause::Exit) {
        // What the config says about the exit code stands above the Nagios convention.
        seen.verdict = None;
    }
    let lag = lag + under_way.as_ref().map(|it| it.delay()).unwrap_or_default();
    let again = seen.again;
    let (mut outcome, values) =
        weigh(at, lag, seen, &spec.expect, &spec.prefer, &|text, max| spec.probe.hide(text, max));
    let lately = under_way.as_ref().and_then(|it| it.lack());
    if let Some(lack) = outcome.lack() {
        place.overload.iter().for_each(|it| it.lacked(lack));
    } else if may_be_ours(&outcome)
        && let Some(lack) = lately.or_else(lack::now)
    {
        outcome.lacks(lack);
    }
    if outcome.result != ProbeResult::Ok {
        spec.probe.testify(&values, &mut outcome.evidence);
    }
    (outcome, again)
}

/// True for what a lack of this host can look like: a check that could not be made, a name that was not resolved. What
/// resolves names does not say why it could not ask.
fn may_be_ours(outcome: &Outcome) -> bool {
    outcome.trouble.as_ref().is_some_and(|it| match it.cause {
        Cause::Own => outcome.result == ProbeResult::Unknown,
        Cause::Dns => outcome.result == ProbeResult::Fail,
        _ => false,
    })
}
