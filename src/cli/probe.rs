//! `hotseat probe`: run a probe once and print its phases; exits like a Nagios plugin.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Context, past};
use crate::clock;
use crate::config::{Config, paths};
use crate::domain::format;
use crate::domain::ids::ProbeId;
use crate::domain::probe::outcome::{Certificate, Hop, Outcome, Part, Perf, Phase, ProbeResult};
use crate::domain::probe::{ProbeState, beside, perfdata, waterfall};
use crate::domain::sanitise;
use crate::service::log::LogService;
use crate::service::probe::run::run_once;
use crate::service::probe::{Place, ProbeSpec, alertmanager, logs};
use crate::service::{FactSender, ServiceSetup};
use crate::store::reader::Reader;

/// Probes that run at the same time: each may need a socket or a process, and 1,024 descriptors are the usual limit.
const AT_ONCE_MAX: usize = 128;
/// Lines of a failing answer's body that are printed; `--json` has all that was kept.
const BODY_LINES_MAX: usize = 20;
/// How far back a good run is looked for: first the last hour, then the day.
const GOOD_WITHIN: &[Duration] = &[Duration::from_secs(3600), Duration::from_secs(24 * 3600)];
/// Columns of the waterfall; a script has no terminal to ask.
const WIDTH: usize = 72;

/// Run a probe once and print its phases; exits like a Nagios plugin
///
/// The first line is what Nagios reads: the state, why, and the times as performance data. One run decides:
/// the window of `fail` needs several and belongs to the screen. Exits with 0 ok, 1 degraded, 2 failed,
/// 3 unknown, and with 3 for usage, config and internal errors. With `--all` the worst one counts.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the probe
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub name: Option<String>,

    /// Run every probe
    #[arg(long, conflicts_with = "name")]
    pub all: bool,

    /// Compare with the last run of the agent, or of the screen that watches this host
    #[arg(long, conflicts_with_all = ["all", "json"])]
    pub beside_agent: bool,

    /// Print one JSON object, with `--all` one array
    #[arg(long)]
    pub json: bool,
}

/// Run a probe once and print its phases; exits like a Nagios plugin.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let config = cx.load_usable(out)?;
    let specs: Vec<ProbeSpec> = match &args.name {
        Some(name) => vec![find(&config, name)?.clone()],
        None => config.probes.clone(),
    };
    if specs.is_empty() {
        return Err(Failure::usage("no probe is configured").hint("run `hotseat init` to write a config"));
    }
    let done = run_all(&specs, &config, cx)?;
    if args.beside_agent {
        beside(&specs[0], &done[0], &config, cx, out)?;
        return Ok(ExitCode::from(worst(done.iter().map(|it| it.result))));
    }
    let views: Vec<View<'_>> = specs.iter().zip(&done).map(|(spec, outcome)| View::new(spec, outcome)).collect();
    if !args.json {
        // Of many the overview counts; of one, where its time went and where it usually goes.
        let good = if args.all { None } else { last_good(cx, &config, &specs[0]) };
        let texts: Vec<String> =
            specs.iter().zip(&done).map(|(spec, outcome)| text(spec, outcome, good.as_ref())).collect();
        out.stdout.write_all(texts.join("\n").as_bytes())?;
    } else if let ([view], false) = (views.as_slice(), args.all) {
        out.json(view)?;
    } else {
        out.json(&views)?;
    }
    Ok(ExitCode::from(worst(done.iter().map(|it| it.result))))
}

/// Prints what ran here beside the last run of the runtime that watches.
fn beside(
    spec: &ProbeSpec,
    here: &Outcome,
    config: &Config,
    cx: &Context,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let now = clock::now();
    let probe = ProbeId::new(&cx.host(config), &spec.name);
    let board = past::board_at(cx, now, out)?;
    let last = board.as_ref().and_then(|it| it.probes.get(&probe)?.last());
    let Some(agent) = last else {
        let why = format!("no run of `{}` is recorded: {}", sanitise::text(&spec.name), cx.state_dir().display());
        return Err(Failure::usage(why).hint("start `hotseat agent`, or name its directory with `--state-dir`"));
    };
    writeln!(out.stdout, "{} - {}", spec.name, sanitise::text(&beside::verdict(agent, here)))?;
    writeln!(out.stdout, "{} {}", spec.kind, spec.probe.target())?;
    for line in beside::table(agent, here) {
        writeln!(out.stdout, "{}", sanitise::text(&line))?;
    }
    writeln!(out.stdout, "the agent ran it {}", format::ago(now, agent.at))?;
    Ok(())
}

/// Finds a probe of the config by its name.
pub(super) fn find<'a>(config: &'a Config, name: &str) -> Result<&'a ProbeSpec, Failure> {
    if let Some(spec) = config.probes.iter().find(|it| it.name == name) {
        return Ok(spec);
    }
    let names: Vec<&str> = config.probes.iter().map(|it| it.name.as_str()).collect();
    let failure = Failure::usage(format!("there is no probe `{}`", sanitise::text(name)));
    Err(failure.instead_of(name, &names, "no probe is configured; run `hotseat init` to write a config"))
}

/// Runs probes side by side, each once; the outcomes are in the order of the probes.
pub(super) fn run_all(specs: &[ProbeSpec], config: &Config, cx: &Context) -> Result<Vec<Outcome>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::internal("could not run the probes").caused_by(error);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|it| failed(&it))?;
    let mut place = Place::alone(cx.host(config), &cx.state_dir());
    // Ends the programs that read logs, also when a probe fails here.
    let cancel = CancellationToken::new();
    let ended = cancel.clone().drop_guard();
    if specs.iter().any(|it| it.kind == logs::KIND.name) {
        let _entered = runtime.enter();
        // Nobody listens for facts here; a closed channel takes them at once.
        let (facts, _) = FactSender::channel();
        let (host, state_dir) = (place.host.clone(), cx.state_dir());
        let setup = ServiceSetup { host, user: paths::user_name(), state_dir, facts, cancel };
        place.logs = Some(LogService::start_opened_once(&setup, config.logs.clone()));
    }
    let place = &place;
    let done = runtime.block_on(async {
        let turns = Arc::new(Semaphore::new(AT_ONCE_MAX));
        let mut runs = JoinSet::new();
        for (index, spec) in specs.iter().cloned().enumerate() {
            let (turns, place) = (Arc::clone(&turns), place.clone());
            runs.spawn(async move {
                // The semaphore is never closed; without a turn it runs all the same.
                let _turn = turns.acquire().await;
                (index, run_once(&spec, &place, Duration::ZERO).await)
            });
        }
        let mut done = Vec::with_capacity(specs.len());
        while let Some(joined) = runs.join_next().await {
            done.push(joined?);
        }
        Ok::<_, tokio::task::JoinError>(done)
    });
    if let Some(logs) = &place.logs {
        drop(ended);
        logs.wait_until_stopped();
    }
    // A resolver that hangs in the system's library must not hold up the exit.
    runtime.shutdown_background();
    let mut done = done.map_err(|it| failed(&it))?;
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, outcome)| outcome).collect())
}

/// The Nagios code of a result.
pub(super) fn code(result: ProbeResult) -> u8 {
    match result {
        ProbeResult::Ok => 0,
        ProbeResult::Degraded => 1,
        ProbeResult::Fail => 2,
        ProbeResult::Unknown => 3,
    }
}

fn worst(results: impl Iterator<Item = ProbeResult>) -> u8 {
    // A failure is worse than not knowing, though its code is lower.
    let badness = |it: &ProbeResult| match it {
        ProbeResult::Ok => 0,
        ProbeResult::Degraded => 1,
        ProbeResult::Unknown => 2,
        ProbeResult::Fail => 3,
    };
    results.max_by_key(badness).map_or(0, code)
}

fn nagios_word(result: ProbeResult) -> &'static str {
    match result {
        ProbeResult::Ok => "OK",
        ProbeResult::Degraded => "WARNING",
        ProbeResult::Fail => "CRITICAL",
        ProbeResult::Unknown => "UNKNOWN",
    }
}

/// What a run found, in words: why it is not ok, or what came back.
pub(super) fn summary(outcome: &Outcome) -> String {
    if let Some(trouble) = &outcome.trouble {
        return trouble.text.clone();
    }
    let took = waterfall::precise(outcome.total());
    let evidence = &outcome.evidence;
    match (evidence.status, evidence.exit) {
        (Some(status), _) if evidence.parts.is_empty() => format!("{status} in {took}"),
        _ if !evidence.text.is_empty() => evidence.text.clone(),
        (Some(status), _) => format!("{status} in {took}"),
        (_, Some(exit)) => format!("exit {exit} in {took}"),
        _ => format!("connected in {took}"),
    }
}

/// The last run that was fine, as far as it was recorded: what a slow or broken one is compared with.
fn last_good(cx: &Context, config: &Config, spec: &ProbeSpec) -> Option<Outcome> {
    let probe = ProbeId::new(&cx.host(config), &spec.name);
    let mut reader = Reader::new(&cx.state_dir(), None);
    let now = clock::now();
    // A longer stretch costs more to read, and is needed only when the trouble lasts.
    GOOD_WITHIN.iter().find_map(|back| {
        // What cannot be read is not compared with; the run itself is what was asked for.
        let trace = reader.trace(&probe, now.saturating_sub(*back).ok()?..now).ok()?;
        trace.outcomes.into_iter().rev().find(|it| it.result == ProbeResult::Ok && !it.latency_suspect)
    })
}

fn text(spec: &ProbeSpec, outcome: &Outcome, good: Option<&Outcome>) -> String {
    let seconds = |it: Duration| format!("{:.6}s", it.as_secs_f64());
    let mut perf = vec![format!("total={};;;0;{}", seconds(outcome.total()), spec.timeout.as_secs_f64())];
    perf.extend(outcome.phases.happened().map(|(phase, took)| format!("{}={};;;0", phase.word(), seconds(took))));
    // As `cert.days`: those of the certificate that ends first.
    let certificates = outcome.evidence.chain.iter().chain(&outcome.evidence.certificate);
    perf.extend(certificates.map(|it| it.days).min().map(|it| format!("cert_days={it}")));
    perf.extend(outcome.evidence.perf.iter().map(perfdata::written));
    // `|` begins the performance data, wherever it stands.
    let why = summary(outcome).replace('|', "/");
    let mut lines = vec![format!("{} {} - {why} | {}", spec.name, nagios_word(outcome.result), perf.join(" "))];
    lines.push(format!("{} {}", spec.kind, spec.probe.target().replace('|', "/")));
    match good {
        Some(good) => {
            lines.extend(waterfall::against(outcome, good, WIDTH, true));
            lines.push(format!("{:<8} `:` marks the last good run, {}", "", format::ago(outcome.at, good.at)));
        }
        None => lines.extend(waterfall::lines(outcome, WIDTH, true)),
    }
    lines.extend(
        facts(spec.kind, outcome).into_iter().map(|(label, value)| format!("{label:<8} {}", value.replace('|', "/"))),
    );
    lines.join("\n") + "\n"
}

fn facts(kind: &str, outcome: &Outcome) -> Vec<(&'static str, String)> {
    let evidence = &outcome.evidence;
    let mut facts = Vec::new();
    let peer: Vec<String> = [evidence.address.clone(), evidence.protocol.clone()].into_iter().flatten().collect();
    if !peer.is_empty() {
        facts.push(("peer", peer.join(", ")));
    }
    facts.extend(evidence.redirects.iter().map(|it| ("redirect", it.clone())));
    if let Some(it) = &evidence.certificate {
        facts.push((
            "cert",
            format!("{}, issued by {}, {} days left ({})", it.subject, it.issuer, it.days, it.not_after),
        ));
    }
    facts.extend(evidence.chain.iter().skip(1).map(|it| ("chain", format!("{}, {} days left", it.subject, it.days))));
    if evidence.reused {
        facts.push(("reused", "the connection of an earlier run".into()));
    }
    for it in &evidence.parts {
        // An alert did not take this long: it fires since then.
        let over = if kind == alertmanager::KIND.name { "for" } else { "in" };
        let took = it.took.map_or_else(String::new, |took| format!(" {over} {}", waterfall::precise(took)));
        let text = if it.text.is_empty() { String::new() } else { format!(": {}", it.text) };
        facts.push(("part", format!("{} {}{took}{text}", it.name, it.result.word())));
    }
    facts.extend(evidence.headers.iter().map(|(name, value)| ("header", format!("{name}: {value}"))));
    if evidence.body.lines().nth(1).is_some() {
        facts.extend(evidence.body.lines().take(BODY_LINES_MAX).map(|it| ("body", it.to_string())));
    } else if !evidence.text.is_empty() && outcome.result != ProbeResult::Ok {
        facts.push(("answer", evidence.text.clone()));
    }
    if evidence.cut {
        facts.push(("read", format!("{}, the rest was left", format::bytes(evidence.body_bytes))));
    }
    facts
}

/// One run for scripts.
#[derive(Debug, Serialize)]
pub(super) struct View<'a> {
    name: &'a str,
    kind: &'a str,
    target: String,
    result: ProbeResult,
    exit_code: u8,
    at: Timestamp,
    total_ms: f64,
    phases_ms: PhasesView,
    brief: Option<&'a str>,
    trouble: Option<&'a str>,
    timeout_in: Option<Phase>,
    status: Option<u16>,
    exit: Option<i32>,
    address: Option<&'a str>,
    protocol: Option<&'a str>,
    certificate: Option<&'a Certificate>,
    chain: &'a [Certificate],
    redirects: &'a [String],
    hops: &'a [Hop],
    reused: bool,
    headers: &'a [(String, String)],
    body: &'a str,
    text: &'a str,
    perf: &'a [Perf],
    parts: &'a [Part],
    body_bytes: u64,
    cut: bool,
    /// What whoever watches makes of its last runs; missing when it was run by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<&'static str>,
    /// Since when its health is what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct PhasesView {
    dns: Option<f64>,
    connect: Option<f64>,
    proxy: Option<f64>,
    tls: Option<f64>,
    wait: Option<f64>,
    body: Option<f64>,
    run: Option<f64>,
}

impl<'a> View<'a> {
    pub(super) fn new(spec: &'a ProbeSpec, outcome: &'a Outcome) -> Self {
        Self::of(&spec.name, spec.kind, spec.probe.target(), outcome)
    }

    /// Of a probe as whoever watches knows it; `last` is its last run.
    pub(super) fn watched(name: &'a str, state: &'a ProbeState, last: &'a Outcome) -> Self {
        let (health, since) = (Some(state.health().word()), state.since());
        Self { health, since, ..Self::of(name, &state.setup.kind, state.setup.target.clone(), last) }
    }

    fn of(name: &'a str, kind: &'a str, target: String, outcome: &'a Outcome) -> Self {
        use crate::domain::probe::outcome::Cause;
        let ms = |it: Duration| (it.as_secs_f64() * 1e6).round() / 1e3;
        let (evidence, phases, trouble) = (&outcome.evidence, &outcome.phases, outcome.trouble.as_ref());
        Self {
            name,
            kind,
            target,
            result: outcome.result,
            exit_code: code(outcome.result),
            at: outcome.at,
            total_ms: ms(outcome.total()),
            phases_ms: PhasesView {
                dns: phases.dns.map(ms),
                connect: phases.connect.map(ms),
                proxy: phases.proxy.map(ms),
                tls: phases.tls.map(ms),
                wait: phases.wait.map(ms),
                body: phases.body.map(ms),
                run: phases.run.map(ms),
            },
            brief: trouble.map(|it| it.brief.as_str()),
            trouble: trouble.map(|it| it.text.as_str()),
            timeout_in: trouble.and_then(|it| if let Cause::Timeout(phase) = it.cause { Some(phase) } else { None }),
            status: evidence.status,
            exit: evidence.exit,
            address: evidence.address.as_deref(),
            protocol: evidence.protocol.as_deref(),
            certificate: evidence.certificate.as_ref(),
            chain: &evidence.chain,
            redirects: &evidence.redirects,
            hops: &evidence.hops,
            reused: evidence.reused,
            headers: &evidence.headers,
            body: &evidence.body,
            text: &evidence.text,
            perf: &evidence.perf,
            parts: &evidence.parts,
            body_bytes: evidence.body_bytes,
            cut: evidence.cut,
            health: None,
            since: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_worse_than_not_knowing() {
        use ProbeResult::{Degraded, Fail, Ok, Unknown};
        assert_eq!(worst([Ok, Unknown, Fail, Degraded].into_iter()), 2);
        assert_eq!(worst([Ok, Unknown, Degraded].into_iter()), 3);
        assert_eq!(worst([Ok, Degraded].into_iter()), 1);
        assert_eq!(worst([Ok].into_iter()), 0);
    }

    #[test]
    fn an_alert_fires_for_a_time_and_a_member_answers_in_one() {
        let took = Some(Duration::from_millis(2200));
        let part = Part { name: "DiskFull".into(), result: ProbeResult::Degraded, text: String::new(), took };
        let mut outcome = Outcome {
            at: Timestamp::UNIX_EPOCH,
            result: ProbeResult::Degraded,
            phases: crate::domain::probe::outcome::Phases::default(),
            trouble: None,
            evidence: crate::domain::probe::outcome::Evidence::default(),
            lag: Duration::ZERO,
            latency_suspect: false,
        };
        outcome.evidence.parts.push(part);
        assert_eq!(facts("alertmanager", &outcome), [("part", "DiskFull degraded for 2.2s".to_string())]);
        assert_eq!(facts("pool", &outcome), [("part", "DiskFull degraded in 2.2s".to_string())]);
    }
}
