//! `hotseat backup`: list, run or verify backups.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::cli::Context;
use crate::cli::failure::{Failure, FailureKind};
use crate::cli::output::Output;
use crate::clock;
use crate::config::Config;
use crate::domain::backup::run::{CopyState, Progress, Run, RunState, Verification};
use crate::domain::backup::slot::Next;
use crate::domain::backup::{BackupBoard, BackupFact, JobRow};
use crate::domain::format;
use crate::domain::ids::{HostId, JobId, RunId};
use crate::domain::sanitise;
use crate::service::backup::JobSpec;
use crate::service::backup::execute::{Observed, Refusal, Runner};
use crate::service::backup::history;
use crate::service::backup::state::BackupState;
use crate::service::backup::worker::scheduled;

/// List, run or verify backups
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// List every run, also the failed and the missed ones, newest first
    List {
        /// Only of this job
        #[arg(long, value_name = "JOB")]
        job: Option<String>,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Run a job now; exits with 1 when it failed
    Run {
        /// Name of the job
        #[arg(value_name = "JOB")]
        job: String,
        /// Run only when a slot is due and not done, and exit with 0 otherwise (for cron)
        #[arg(long)]
        due: bool,
        /// Print the run as JSON
        #[arg(long)]
        json: bool,
    },
    /// Read artefacts back and compare their hashes; exits with 1 when one is not whole
    Verify {
        /// A job (its newest artefact) or a run; without it the newest of every job
        #[arg(value_name = "JOB|RUN", conflicts_with = "all")]
        what: Option<String>,
        /// Every artefact of every job
        #[arg(long)]
        all: bool,
        /// Print the runs as one JSON array
        #[arg(long)]
        json: bool,
    },
}

/// List, run or verify backups.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    if !matches!(args.action, Action::List { .. }) {
        cx.refuse_beside_owner("hotseat backup")?;
    }
    let config = cx.load_usable(out)?;
    let host = cx.host(&config);
    let desk = Desk { host, specs: &config.backups, state_dir: cx.state_dir() };
    match &args.action {
        Action::List { job, json } => desk.list(job.as_deref(), *json, out),
        Action::Run { job, due, json } => desk.run(job, *due, *json, out),
        Action::Verify { what, all, json } => desk.verify(what.as_deref(), *all, *json, out),
    }
}

/// Every job of the config with its runs, as the screen would show them.
pub(super) fn board_of(cx: &Context, config: &Config, now: Timestamp) -> BackupBoard {
    let desk = Desk { host: cx.host(config), specs: &config.backups, state_dir: cx.state_dir() };
    desk.board(&config.backups.iter().collect::<Vec<_>>(), now)
}

/// The jobs of the config and where this host remembers them.
struct Desk<'a> {
    host: HostId,
    specs: &'a [JobSpec],
    state_dir: std::path::PathBuf,
}

impl Desk<'_> {
    fn list(&self, job: Option<&str>, json: bool, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
        let specs: Vec<&JobSpec> = match job {
            Some(name) => vec![self.spec(name)?],
            None => self.specs.iter().collect(),
        };
        let now = clock::now();
        let board = self.board(&specs, now);
        if json {
            let views: Vec<RunView<'_>> = board.rows().into_iter().map(|(job, run)| RunView::new(job, run)).collect();
            out.json(&views)?;
            return Ok(ExitCode::SUCCESS);
        }
        if board.jobs.is_empty() {
            writeln!(
                out.stderr,
                "no backup jobs: add a `[[backup]]` to the config (`hotseat check --kinds` shows one)"
            )?;
        }
        for job in board.jobs.iter().filter(|it| it.runs.is_empty()) {
            writeln!(out.stderr, "`{}` never ran: try `hotseat backup run {0}`", job.info.id.name())?;
        }
        out.stdout.write_all(table(&board, now, &clock::zone()).as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }

    fn run(&self, job: &str, due: bool, json: bool, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
        let spec = self.spec(job)?;
        let state = self.state()?;
        let slot = if due { self.due(spec, &state)? } else { None };
        if due && slot.is_none() {
            writeln!(out.stderr, "backup job `{job}` is not due")?;
            return Ok(ExitCode::SUCCESS);
        }
        let cancel = cancelled_by_signal();
        let tty = std::io::stderr().is_terminal() && !json;
        let result = {
            let stderr = RefCell::new(&mut *out.stderr);
            let observe = |observed: Observed<'_>| {
                if let (true, Observed::Progress(_, progress)) = (tty, observed) {
                    // A terminal that is gone needs no progress.
                    let _ = write!(stderr.borrow_mut(), "\r\x1b[K{}", progress_text(&progress));
                }
            };
            Runner { host: &self.host, state: &state, spec, cancel: &cancel, observe: &observe }.run(slot)
        };
        if tty {
            write!(out.stderr, "\r\x1b[K")?;
        }
        let report = match result {
            Ok(report) => report,
            // Another process was faster: the slot is served, which is all that was asked.
            Err(Refusal::SlotDone(run)) if due => {
                writeln!(out.stderr, "backup job `{job}` is not due: {} has this slot", run.name())?;
                return Ok(ExitCode::SUCCESS);
            }
            Err(refusal) => return Err(refused(&refusal, job)),
        };
        let board = self.board(&[spec], clock::now());
        let shown = board.run(&report.run.id).map_or(&report.run, |(_, run)| run);
        if json {
            let row = board.jobs.first();
            out.json(&row.map(|row| RunView::new(row, shown)))?;
        } else {
            writeln!(out.stdout, "{}", sentence(spec, &report.run))?;
            for copy in &report.run.copies {
                writeln!(
                    out.stdout,
                    "  {}: {} {}",
                    copy.destination,
                    copy.state.word(),
                    copy_note(copy.location.as_str(), &copy.state)
                )?;
            }
            for (destination, runs) in &report.deleted {
                writeln!(out.stdout, "  {destination}: deleted {}", format::plural(runs.len() as u64, "old artefact"))?;
            }
        }
        for warning in report.run.warnings.iter().chain(&report.held) {
            writeln!(out.stderr, "warning: {warning}")?;
        }
        let good = report.run.state == RunState::Ok && report.run.verification() == Verification::Verified;
        if good || json {
            return Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) });
        }
        let mut failure = Failure::new(FailureKind::Check, format!("backup job `{job}` {}", failed_word(&report.run)));
        if let Some(error) = &report.run.error {
            failure = failure.caused_by(error);
        }
        Err(failure)
    }

    fn verify(&self, what: Option<&str>, all: bool, json: bool, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
        let now = clock::now();
        let board = self.board(&self.specs.iter().collect::<Vec<_>>(), now);
        let wanted = self.wanted(&board, what, all)?;
        if wanted.is_empty() {
            return Err(Failure::new(FailureKind::Check, "there is nothing to verify")
                .hint("run a job first: `hotseat backup run JOB`"));
        }
        let state = self.state()?;
        let cancel = cancelled_by_signal();
        let (mut rows, mut bad) = (Vec::new(), 0);
        for (job, id) in wanted {
            let spec = self.spec(job.name())?;
            let runner = Runner { host: &self.host, state: &state, spec, cancel: &cancel, observe: &|_| {} };
            let run = runner.verify(&id).map_err(|refusal| refused(&refusal, &spec.name))?;
            if cancel.is_cancelled() {
                return Err(Failure::new(FailureKind::Check, "the verification was stopped"));
            }
            bad += u32::from(run.verification() != Verification::Verified);
            if !json {
                writeln!(out.stdout, "{}: {}", run.id.name(), run.verification().word())?;
                for copy in &run.copies {
                    let note = copy_note(&copy.location, &copy.state);
                    writeln!(out.stdout, "  {}: {} {note}", copy.destination, copy.state.word())?;
                }
            }
            rows.push(run);
        }
        if json {
            let views: Vec<RunView<'_>> =
                rows.iter().filter_map(|run| Some(RunView::new(board.job(&run.job)?, run))).collect();
            out.json(&views)?;
        }
        Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    /// The runs that `verify` was asked for.
    fn wanted(&self, board: &BackupBoard, what: Option<&str>, all: bool) -> Result<Vec<(JobId, RunId)>, Failure> {
        let named = |(job, run): (&JobRow, &Run)| (job.info.id.clone(), run.id.clone());
        let stored = |run: &Run| run.state.has_artefact();
        let newest =
            |job: &JobRow| job.runs.iter().find(|run| stored(run)).map(|run| (job.info.id.clone(), run.id.clone()));
        match what {
            None if all => Ok(board.rows().into_iter().filter(|(_, run)| stored(run)).map(named).collect()),
            None => Ok(board.jobs.iter().filter_map(newest).collect()),
            Some(name) if name.contains('@') => {
                let bare = name.rsplit('/').next().unwrap_or(name);
                let found = board.rows().into_iter().find(|(_, run)| run.id.name() == bare);
                let Some((job, run)) = found else {
                    return Err(Failure::usage(format!("unknown run: {}", sanitise::text(name)))
                        .hint("run `hotseat backup list --json` to see the runs"));
                };
                if !stored(run) {
                    let message = format!("run `{bare}` has no artefact: it {}", run.state.word());
                    return Err(Failure::new(FailureKind::Check, message));
                }
                Ok(vec![named((job, run))])
            }
            Some(name) => {
                let spec = self.spec(name)?;
                let job = board.job(&JobId::new(&self.host, &spec.name));
                Ok(job.and_then(newest).into_iter().collect())
            }
        }
    }

    fn spec(&self, name: &str) -> Result<&JobSpec, Failure> {
        if let Some(spec) = self.specs.iter().find(|it| it.name == name) {
            return Ok(spec);
        }
        let failure = Failure::usage(format!("unknown backup job: {}", sanitise::text(name)));
        let names: Vec<&str> = self.specs.iter().map(|it| it.name.as_str()).collect();
        Err(failure.instead_of(name, &names, "the config has no `[[backup]]`; `hotseat check --kinds` shows one"))
    }

    fn state(&self) -> Result<BackupState, Failure> {
        BackupState::create(&self.state_dir).map_err(|error| {
            Failure::internal(format!("could not use the state directory: {}", self.state_dir.display()))
                .caused_by(error)
                .hint("name another one with `--state-dir`")
        })
    }

    /// The slot that is due; the first call for a schedule only notes from when on its slots count.
    fn due(&self, spec: &JobSpec, state: &BackupState) -> Result<Option<Timestamp>, Failure> {
        let now = clock::now();
        let history = history::load(state, &state.remembered(), &self.host, spec);
        if history.since.is_none() {
            state
                .append(&scheduled(spec, now))
                .map_err(|error| Failure::internal("could not write the backup history").caused_by(error))?;
        }
        Ok(match history.next(spec, now) {
            Next::Due(slot) => Some(slot),
            Next::At(_) | Next::Never => None,
        })
    }

    /// The same board as on the screen, from disk.
    fn board(&self, specs: &[&JobSpec], now: Timestamp) -> BackupBoard {
        let state = BackupState::existing(&self.state_dir);
        let remembered = state.remembered();
        let mut board = BackupBoard::default();
        for spec in specs {
            let job = spec.info(&self.host);
            let id = job.id.clone();
            let history = history::load(&state, &remembered, &self.host, spec);
            let mut runs = history.runs.clone();
            runs.extend(history.missed(spec, &self.host, now));
            runs.sort_by(|left, right| (right.started, &right.id).cmp(&(left.started, &left.id)));
            board.apply(now, &BackupFact::Configured { job: Box::new(job) });
            board.apply(now, &BackupFact::Loaded { job: id, runs });
        }
        board
    }
}

/// A token that Ctrl-C and SIGTERM cancel, so that nothing half done stays behind.
fn cancelled_by_signal() -> CancellationToken {
    let cancel = CancellationToken::new();
    let signalled = cancel.clone();
    // Without the thread a signal ends the process at once, and the next run cleans up.
    let _ = std::thread::Builder::new().name("signals".into()).spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            signalled.cancel();
        });
    });
    cancel
}

fn refused(refusal: &Refusal, job: &str) -> Failure {
    let kind = if matches!(refusal, Refusal::State(_)) { FailureKind::Internal } else { FailureKind::Check };
    Failure::new(kind, refusal.text(job))
}

fn progress_text(progress: &Progress) -> String {
    let ratio = progress.ratio().map(|it| format!(" {:.0}%", it * 100.0)).unwrap_or_default();
    format!("{}{ratio} {}", progress.stage.word(), format::bytes(progress.done_bytes))
}

fn failed_word(run: &Run) -> String {
    match run.state {
        RunState::Ok => format!("is stored, but {}", run.verification().word()),
        RunState::Partial => "did not reach every destination".into(),
        RunState::Interrupted => "was interrupted".into(),
        RunState::Inconsistent => "is inconsistent: its source changed while it was read".into(),
        state => state.word().into(),
    }
}

fn sentence(spec: &JobSpec, run: &Run) -> String {
    let size = run.raw_bytes.map(|it| format!(" {}", format::bytes(it))).unwrap_or_default();
    let stored = run.stored_bytes.map(|it| format!(" as {}", format::bytes(it))).unwrap_or_default();
    let took =
        run.duration_ms.map(|it| format!(" in {}", format::duration(Duration::from_millis(it)))).unwrap_or_default();
    format!("{} {}{size}{stored}{took} ({})", spec.name, run.state.word(), run.id.name())
}

fn copy_note(location: &str, state: &CopyState) -> String {
    match state.error() {
        Some(error) => sanitise::text(error),
        None => sanitise::text(location),
    }
}

/// One row for scripts: flat, with words instead of nested states.
#[derive(Debug, Serialize)]
struct RunView<'a> {
    job: &'a str,
    run: &'a str,
    state: &'static str,
    verification: &'static str,
    slot: Option<Timestamp>,
    started: Timestamp,
    data_at: Timestamp,
    late_ms: Option<i64>,
    duration_ms: Option<u64>,
    raw_bytes: Option<u64>,
    stored_bytes: Option<u64>,
    change: Option<f64>,
    sha256_stored: Option<&'a str>,
    copies: Vec<CopyView<'a>>,
    error: Option<&'a str>,
    warnings: &'a [String],
}

#[derive(Debug, Serialize)]
struct CopyView<'a> {
    destination: &'a str,
    location: &'a str,
    state: &'static str,
    verified_at: Option<Timestamp>,
    error: Option<&'a str>,
}

impl<'a> RunView<'a> {
    fn new(job: &'a JobRow, run: &'a Run) -> Self {
        let copy = |copy: &'a crate::domain::backup::run::CopyRow| CopyView {
            destination: &copy.destination,
            location: &copy.location,
            state: copy.state.word(),
            verified_at: if let CopyState::Verified { at } = copy.state { Some(at) } else { None },
            error: copy.state.error(),
        };
        Self {
            job: run.job.name(),
            run: run.id.name(),
            state: run.state.word(),
            verification: run.verification().word(),
            slot: run.slot,
            started: run.started,
            data_at: run.data_at(),
            late_ms: run.late_ms(),
            duration_ms: run.duration_ms,
            raw_bytes: run.raw_bytes,
            stored_bytes: run.stored_bytes,
            change: job.change(&run.id),
            sha256_stored: run.manifest.as_ref().map(|it| it.sha256_stored.as_str()),
            copies: run.copies.iter().map(copy).collect(),
            error: run.error.as_deref(),
            warnings: &run.warnings,
        }
    }
}

/// The rows for people, with aligned columns.
fn table(board: &BackupBoard, now: Timestamp, zone: &TimeZone) -> String {
    let mut rows = vec![["JOB", "STARTED", "AGE", "TOOK", "SIZE", "CHANGE", "STATE", "COPIES"].map(String::from)];
    for (job, run) in board.rows() {
        rows.push([
            run.job.name().to_string(),
            format::full(run.started, zone),
            format::age(format::since(now, run.data_at())),
            run.duration_ms.map_or("-".into(), |it| format::duration(Duration::from_millis(it))),
            run.raw_bytes.map_or("-".into(), format::bytes),
            job.change(&run.id).map_or("-".into(), |it| format!("{:+.1}%", it * 100.0)),
            state_word(run),
            copies_text(run),
        ]);
    }
    if rows.len() == 1 {
        return String::new();
    }
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(unicode_width::UnicodeWidthStr::width(cell.as_str()));
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - unicode_width::UnicodeWidthStr::width(cell.as_str()) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn state_word(run: &Run) -> String {
    if run.state == RunState::Ok { run.verification().word().into() } else { run.state.word().into() }
}

fn copies_text(run: &Run) -> String {
    let copy = |it: &crate::domain::backup::run::CopyRow| match it.state.error() {
        Some(error) => format!("{} {}: {}", it.destination, it.state.word(), sanitise::text(error)),
        None => format!("{} {}", it.destination, it.state.word()),
    };
    if run.copies.is_empty() {
        return run.error.as_deref().map(sanitise::text).unwrap_or_default();
    }
    run.copies.iter().map(copy).collect::<Vec<_>>().join(", ")
}
