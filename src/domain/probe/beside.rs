//! A run of the agent and one of another process beside each other: is it down, or is it the agent's own view.
//!
//! The two differ in resolver, network, proxy, environment and rights. What the verdict names is where the two runs
//! part, not a proof.

use std::time::Duration;

use crate::domain::probe::outcome::{Cause, Outcome, Phase, ProbeResult, Trouble};
use crate::domain::probe::waterfall;

/// Says in words what two runs of the same probe mean together.
pub fn verdict(agent: &Outcome, here: &Outcome) -> String {
    let took = |it: &Outcome| waterfall::precise(it.total());
    match (answered(agent), answered(here)) {
        (true, true) => {
            let apart = match (&agent.evidence.address, &here.evidence.address) {
                (Some(theirs), Some(ours)) if host(theirs) != host(ours) => {
                    format!("; the agent speaks to {theirs}, here it is {ours}")
                }
                _ => String::new(),
            };
            format!("it answers both: the agent in {}, here in {}{apart}", took(agent), took(here))
        }
        (false, true) => format!("here it answers in {}, the agent {}", took(here), failing(agent, here, "its")),
        (true, false) => {
            format!("the agent is answered in {}, here one {}", took(agent), failing(here, agent, "this session's"))
        }
        (false, false) => match (&agent.trouble, &here.trouble) {
            (Some(theirs), Some(ours)) if theirs.cause == ours.cause => {
                format!("it fails from both in the same way ({}): it is not the agent", ours.brief)
            }
            (Some(theirs), Some(ours)) => {
                format!("it fails from both, but not in the same way: the agent {}, here {}", theirs.brief, ours.brief)
            }
            _ => "it fails from both".to_string(),
        },
    }
}

/// True when it was reached and is as it should be, also when it is slow or not as preferred.
fn answered(outcome: &Outcome) -> bool {
    matches!(outcome.result, ProbeResult::Ok | ProbeResult::Degraded)
}

/// What keeps the one that fails from what the other gets; `whose` resolver, network, roots it is.
fn failing(fails: &Outcome, works: &Outcome, whose: &str) -> String {
    let Some(Trouble { cause, brief, .. }) = &fails.trouble else { return "fails".to_string() };
    if matches!(cause, Cause::Dns | Cause::Timeout(Phase::Dns)) {
        return format!("gets no address ({brief}): {whose} resolver");
    }
    let places = (&fails.evidence.address, &works.evidence.address);
    if let (Some(one), Some(other)) = places
        && one != other
    {
        return format!("speaks to {one} instead of {other} ({brief}): {whose} resolver answers otherwise");
    }
    let why = match cause {
        Cause::Refused | Cause::Unreachable | Cause::Reset | Cause::Timeout(Phase::Connect) => {
            format!("{whose} network, or a firewall on the way")
        }
        Cause::Timeout(Phase::Proxy) => format!("{whose} proxy"),
        Cause::Tls | Cause::Certificate | Cause::Timeout(Phase::Tls) => {
            format!("{whose} roots, clock, or something on the way that ends TLS")
        }
        Cause::Timeout(_) | Cause::Slow => format!("{whose} way there is slower, or its machine is busy"),
        Cause::Exit | Cause::Perf => format!("{whose} programs, rights or environment"),
        Cause::Own => format!("{whose} process could not look"),
        _ => "both reach it and are answered differently".to_string(),
    };
    format!("is told `{brief}`: {why}")
}

/// The address without its port.
fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

/// One line a phase with the agent's time, the other's and how they differ; then the sums and the addresses.
pub fn table(agent: &Outcome, here: &Outcome) -> Vec<String> {
    let cell = |it: Option<Duration>| it.map_or_else(|| "-".to_string(), waterfall::precise);
    let line = |label: &str, one: &str, other: &str| format!("{label:<8} {one:>24}  {other:>24}");
    let mut lines = vec![line("", "agent", "here")];
    for phase in Phase::ALL {
        let times = (agent.phases.get(*phase), here.phases.get(*phase));
        if times != (None, None) {
            lines.push(line(phase.word(), &cell(times.0), &cell(times.1)));
        }
    }
    lines.push(line("total", &waterfall::precise(agent.total()), &waterfall::precise(here.total())));
    let brief = |it: &Outcome| it.trouble.as_ref().map_or_else(|| it.result.word().to_string(), |it| it.brief.clone());
    lines.push(line("result", &brief(agent), &brief(here)));
    let address = |it: &Outcome| it.evidence.address.clone().unwrap_or_else(|| "-".to_string());
    if agent.evidence.address.is_some() || here.evidence.address.is_some() {
        lines.push(line("address", &address(agent), &address(here)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::probe::outcome::{Evidence, Phases};

    fn run(address: Option<&str>, trouble: Option<(Cause, &str)>) -> Outcome {
        Outcome {
            at: Timestamp::UNIX_EPOCH,
            result: if trouble.is_some() { ProbeResult::Fail } else { ProbeResult::Ok },
            phases: Phases { wait: Some(Duration::from_millis(40)), ..Phases::default() },
            trouble: trouble.map(|(cause, brief)| Trouble::new(cause, brief, brief)),
            evidence: Evidence { address: address.map(ToString::to_string), ..Evidence::default() },
            lag: Duration::ZERO,
            latency_suspect: false,
        }
    }

    #[test]
    fn the_verdict_names_where_the_two_part() {
        let ok = || run(Some("10.0.0.1:443"), None);
        let bad = |cause, brief| run(Some("10.0.0.1:443"), Some((cause, brief)));
        let lost = || run(None, Some((Cause::Dns, "no address")));
        for (agent, here, expected) in [
            (ok(), ok(), "it answers both: the agent in 40ms, here in 40ms"),
            (
                ok(),
                run(Some("10.9.9.9:443"), None),
                "it answers both: the agent in 40ms, here in 40ms; the agent speaks to 10.0.0.1:443, here it is 10.9.9.9:443",
            ),
            (lost(), ok(), "here it answers in 40ms, the agent gets no address (no address): its resolver"),
            (
                run(None, Some((Cause::Timeout(Phase::Dns), "timeout"))),
                ok(),
                "here it answers in 40ms, the agent gets no address (timeout): its resolver",
            ),
            (
                ok(),
                lost(),
                "the agent is answered in 40ms, here one gets no address (no address): this session's resolver",
            ),
            (
                run(Some("10.9.9.9:443"), Some((Cause::Refused, "refused"))),
                ok(),
                "here it answers in 40ms, the agent speaks to 10.9.9.9:443 instead of 10.0.0.1:443 (refused): its resolver answers otherwise",
            ),
            (
                bad(Cause::Refused, "refused"),
                ok(),
                "here it answers in 40ms, the agent is told `refused`: its network, or a firewall on the way",
            ),
            (
                bad(Cause::Tls, "untrusted"),
                ok(),
                "here it answers in 40ms, the agent is told `untrusted`: its roots, clock, or something on the way that ends TLS",
            ),
            (
                bad(Cause::Timeout(Phase::Wait), "timeout"),
                ok(),
                "here it answers in 40ms, the agent is told `timeout`: its way there is slower, or its machine is busy",
            ),
            (
                bad(Cause::Exit, "exit 2"),
                ok(),
                "here it answers in 40ms, the agent is told `exit 2`: its programs, rights or environment",
            ),
            (
                bad(Cause::Status, "502"),
                ok(),
                "here it answers in 40ms, the agent is told `502`: both reach it and are answered differently",
            ),
            (lost(), lost(), "it fails from both in the same way (no address): it is not the agent"),
            (
                lost(),
                bad(Cause::Status, "502"),
                "it fails from both, but not in the same way: the agent no address, here 502",
            ),
        ] {
            assert_eq!(verdict(&agent, &here), expected);
        }
    }

    #[test]
    fn phases_stand_beside_each_other() {
        let mut here = run(Some("10.0.0.1:443"), None);
        here.phases.dns = Some(Duration::from_millis(12));
        let table = table(&run(None, Some((Cause::Dns, "no address"))), &here);
        assert_eq!(
            table.iter().map(|it| it.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>(),
            [
                "agent here",
                "dns - 12ms",
                "wait 40ms 40ms",
                "total 40ms 52ms",
                "result no address ok",
                "address - 10.0.0.1:443"
            ]
        );
    }
}
