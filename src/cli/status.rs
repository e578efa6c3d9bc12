//! `hotseat status`: probes, backups and open incidents in one page.

use std::fmt::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::backup::board_of;
use crate::cli::failure::Failure;
use crate::cli::incident::open_store;
use crate::cli::output::Output;
use crate::cli::probe::{View, run_all, summary};
use crate::clock;
use crate::domain::backup::run::{Run, RunState};
use crate::domain::format;
use crate::domain::incident::Status;
use crate::domain::probe::outcome::{Outcome, ProbeResult};
use crate::domain::sanitise;
use crate::service::probe::ProbeSpec;

/// Show probes, backups and open incidents in one page
///
/// Every probe runs once, all at the same time. One run decides: the window of `fail` needs several and
/// belongs to the screen. Exits with 1 when a probe fails or the newest run of a backup job did not succeed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Show probes, backups and open incidents in one page.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let config = cx.load_usable(out)?;
    let outcomes = run_all(&config.probes, &config, cx)?;
    let now = clock::now();
    let board = board_of(cx, &config, now);
    let backups: Vec<BackupView<'_>> =
        board.jobs.iter().map(|job| BackupView::new(job.info.id.name(), job.newest())).collect();
    let mut store = open_store(cx);
    // A folder that cannot be read must not hide what is red.
    if let Err(error) = store.load_recent() {
        writeln!(out.stderr, "warning: could not read the incidents: {}", error.message)?;
    }
    let incidents: Vec<IncidentView<'_>> = store
        .loaded()
        .into_iter()
        .filter(|it| it.is_open() && !it.log_book)
        .map(|it| IncidentView {
            name: it.id.name(),
            title: &it.title,
            severity: it.severity.number(),
            status: it.status,
            declared_at: it.declared_at,
        })
        .collect();
    let failed = outcomes.iter().any(|it| it.result == ProbeResult::Fail) || backups.iter().any(BackupView::is_bad);
    if args.json {
        let probes = config.probes.iter().zip(&outcomes).map(|(spec, outcome)| View::new(spec, outcome)).collect();
        out.json(&StatusView { at: now, failed, probes, backups, incidents })?;
    } else {
        let text =
            [probes_text(&config.probes, &outcomes), backups_text(&backups, now), incidents_text(&incidents, now)];
        out.stdout.write_all(text.join("\n").as_bytes())?;
    }
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

#[derive(Debug, Serialize)]
struct StatusView<'a> {
    at: Timestamp,
    failed: bool,
    probes: Vec<View<'a>>,
    backups: Vec<BackupView<'a>>,
    incidents: Vec<IncidentView<'a>>,
}

#[derive(Debug, Serialize)]
struct BackupView<'a> {
    job: &'a str,
    /// State of the newest run that was not skipped for another; `None` when it never ran.
    state: Option<RunState>,
    started: Option<Timestamp>,
    error: Option<&'a str>,
}

impl<'a> BackupView<'a> {
    fn new(job: &'a str, newest: Option<&'a Run>) -> Self {
        Self {
            job,
            state: newest.map(|it| it.state),
            started: newest.map(|it| it.started),
            error: newest.and_then(|it| it.error.as_deref()),
        }
    }

    fn is_bad(&self) -> bool {
        !matches!(self.state, None | Some(RunState::Ok | RunState::Running))
    }
}

#[derive(Debug, Serialize)]
struct IncidentView<'a> {
    name: &'a str,
    title: &'a str,
    severity: u8,
    status: Status,
    declared_at: Timestamp,
}

fn probes_text(specs: &[ProbeSpec], outcomes: &[Outcome]) -> String {
    if specs.is_empty() {
        return "PROBES none: `hotseat init` writes a config to start from\n".into();
    }
    let order = |result: ProbeResult| match result {
        ProbeResult::Fail => ("x", 0),
        ProbeResult::Degraded => ("!", 1),
        ProbeResult::Unknown => ("-", 2),
        ProbeResult::Ok => ("o", 3),
    };
    let mut rows: Vec<_> = specs.iter().zip(outcomes).collect();
    rows.sort_by_key(|(_, outcome)| order(outcome.result).1);
    let name_width = specs.iter().map(|it| it.name.chars().count()).max().unwrap_or_default();
    let failing = outcomes.iter().filter(|it| it.result == ProbeResult::Fail).count();
    let mut text = format!("PROBES {failing} of {} failing\n", specs.len());
    for (spec, outcome) in rows {
        let (mark, _) = order(outcome.result);
        let (name, word) = (&spec.name, outcome.result.word());
        let _ = writeln!(text, "{mark} {name:<name_width$}  {word:<8}  {}", summary(outcome));
    }
    text
}

fn backups_text(backups: &[BackupView<'_>], now: Timestamp) -> String {
    if backups.is_empty() {
        return "BACKUPS none\n".into();
    }
    let name_width = backups.iter().map(|it| it.job.chars().count()).max().unwrap_or_default();
    let mut text = String::from("BACKUPS\n");
    for it in backups {
        let mark = if it.is_bad() { "x" } else { "o" };
        let word = it.state.map_or("never ran", RunState::word);
        let age = it.started.map_or_else(String::new, |at| format::ago(now, at));
        let error = it.error.map_or_else(String::new, |it| format!("  {}", sanitise::text(it)));
        let line = format!("{mark} {:<name_width$}  {word:<9}  {age}{error}", it.job);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn incidents_text(incidents: &[IncidentView<'_>], now: Timestamp) -> String {
    if incidents.is_empty() {
        return "INCIDENTS none open\n".into();
    }
    let mut text = String::from("INCIDENTS\n");
    for it in incidents {
        let (name, title, age) = (it.name, sanitise::text(it.title), format::ago(now, it.declared_at));
        let _ = writeln!(text, "SEV{} {name}  {}  {title}  ({age})", it.severity, it.status.word());
    }
    text
}
