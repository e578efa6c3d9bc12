//! `hotseat status`: probes, backups and open incidents in one page.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::agent::glance::{self, Seen, Unseen};
use crate::cli::Context;
use crate::cli::backup::board_of;
use crate::cli::failure::Failure;
use crate::cli::incident::{open_store, warn_unreadable};
use crate::cli::output::Output;
use crate::cli::probe::{View, run_all, summary};
use crate::clock;
use crate::config::Loaded;
use crate::domain::backup::BackupBoard;
use crate::domain::backup::run::{Run, RunState};
use crate::domain::board::{ConfigStatus, Stopping};
use crate::domain::format;
use crate::domain::host::{Peer, Role};
use crate::domain::incident::Status;
use crate::domain::incident::fold::Incident;
use crate::domain::probe::health::Health;
use crate::domain::probe::holding::CUT_OFF_WORDS;
use crate::domain::probe::outcome::{Evidence, Outcome, Phases, ProbeResult};
use crate::domain::sanitise;
use crate::registry::node::Commands;

/// Show probes, backups and open incidents in one page
///
/// Where an agent or a screen watches this state directory its knowledge is shown, at once and also when the config on
/// disk is broken; then a probe counts as failing when it is down by its window of `fail`. Where nobody does every
/// probe runs once, all at the same time, and that one run decides. Exits with 1 when a probe fails or the newest run
/// of a backup job did not succeed. `hotseat probe --all` runs them all in any case.
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
    let asking = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal("could not ask").caused_by(error))?;
    match asking.block_on(glance::look(&cx.state_dir())) {
        Ok(seen) => return watched(args, cx, &seen, out),
        Err(Unseen::Nobody(_)) => writeln!(out.stderr, "nobody watches: measured now by this command")?,
        Err(Unseen::Closed(why) | Unseen::Failed(why)) => {
            writeln!(out.stderr, "warning: whoever watches could not be asked, so it is looked from here: {why}")?;
        }
    }
    drop(asking);
    let config = cx.load_usable(out)?;
    let outcomes = run_all(&config.probes, &config, cx)?;
    let now = clock::now();
    let board = board_of(cx, &config, now);
    let mut store = open_store(cx);
    // A folder that cannot be read must not hide what is red.
    if let Err(error) = store.load_recent() {
        writeln!(out.stderr, "warning: could not read the incidents: {}", error.message)?;
    }
    warn_unreadable(&store, out);
    let failing = outcomes.iter().filter(|it| it.result == ProbeResult::Fail).count();
    let rows = config.probes.iter().zip(&outcomes).map(|(spec, outcome)| {
        let (mark, order) = by_result(outcome.result);
        Row { mark, order, name: &spec.name, word: outcome.result.word(), text: summary(outcome) }
    });
    let page = Page {
        at: now,
        watcher: None,
        failing,
        rows: rows.collect(),
        probes: config.probes.iter().zip(&outcomes).map(|(spec, outcome)| View::new(spec, outcome)).collect(),
        backups: BackupView::all(&board),
        incidents: store.loaded().into_iter().filter_map(IncidentView::of).collect(),
    };
    page.print(args, out)
}

/// Shows what whoever watches knows.
fn watched(args: &Args, cx: &Context, seen: &Seen, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let (now, board) = (clock::now(), &seen.board);
    let watcher = Watcher {
        peer: &seen.peer,
        host: seen.host.as_str(),
        stopping: board.stopping.as_ref(),
        is_cut_off: board.probes.is_cut_off(),
        config: ConfigView::new(&board.config, &cx.load(Commands::Defer)),
    };
    let not_run = || Outcome {
        at: now,
        result: ProbeResult::Unknown,
        phases: Phases::default(),
        trouble: None,
        evidence: Evidence::default(),
        lag: Duration::ZERO,
        latency_suspect: false,
    };
    let last: Vec<Outcome> = board.probes.iter().map(|(_, it)| it.last().cloned().unwrap_or_else(not_run)).collect();
    let rows = board.probes.iter().map(|(probe, state)| {
        let (mark, order) = by_health(state.health());
        let text = match (state.last_trouble(), state.last()) {
            (Some(trouble), _) if state.health() != Health::Up => summary(trouble),
            (_, Some(last)) => summary(last),
            // What an earlier run found, until this one has looked.
            (_, None) => state.why().map_or_else(|| "no run yet".to_string(), |it| format!("{}, no run yet", it.text)),
        };
        let since = state.since().filter(|_| state.health() != Health::Up);
        let since = since.map_or_else(String::new, |it| format!(" ({})", format::ago(now, it)));
        Row { mark, order, name: probe.name(), word: state.health().word(), text: text + &since }
    });
    let page = Page {
        at: now,
        failing: board.probes.count(Health::Down),
        rows: rows.collect(),
        probes: board.probes.iter().zip(&last).map(|((id, it), last)| View::watched(id.name(), it, last)).collect(),
        backups: BackupView::all(&board.backups),
        incidents: board.incidents.open_incidents().filter_map(IncidentView::of).collect(),
        watcher: Some(watcher),
    };
    page.print(args, out)
}

/// What is shown.
struct Page<'a> {
    at: Timestamp,
    watcher: Option<Watcher<'a>>,
    failing: usize,
    rows: Vec<Row<'a>>,
    probes: Vec<View<'a>>,
    backups: Vec<BackupView<'a>>,
    incidents: Vec<IncidentView<'a>>,
}

/// A probe in a line.
struct Row<'a> {
    mark: &'static str,
    order: u8,
    name: &'a str,
    word: &'static str,
    text: String,
}

impl Page<'_> {
    fn print(self, args: &Args, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
        let failed = self.failing > 0 || self.backups.iter().any(BackupView::is_bad);
        if args.json {
            let Self { at, watcher, probes, backups, incidents, .. } = self;
            out.json(&StatusView { at, failed, watcher, probes, backups, incidents })?;
        } else {
            let watcher = self.watcher.as_ref().map(|it| it.text(self.at));
            let parts =
                [self.probes_text(), backups_text(&self.backups, self.at), incidents_text(&self.incidents, self.at)];
            let text: Vec<String> = watcher.into_iter().chain(parts).collect();
            out.stdout.write_all(text.join("\n").as_bytes())?;
        }
        Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }

    fn probes_text(&self) -> String {
        if self.rows.is_empty() {
            return "PROBES none: `hotseat init` writes a config to start from\n".into();
        }
        let mut rows: Vec<&Row<'_>> = self.rows.iter().collect();
        rows.sort_by_key(|it| it.order);
        let name_width = self.rows.iter().map(|it| it.name.chars().count()).max().unwrap_or_default();
        let mut text = format!("PROBES {} of {} failing\n", self.failing, self.rows.len());
        for Row { mark, name, word, text: why, .. } in rows {
            let _ = writeln!(text, "{mark} {name:<name_width$}  {word:<8}  {}", sanitise::text(why));
        }
        text
    }
}

/// The mark of a result, and its place among the others.
fn by_result(result: ProbeResult) -> (&'static str, u8) {
    match result {
        ProbeResult::Fail => ("x", 0),
        ProbeResult::Degraded => ("!", 2),
        ProbeResult::Unknown => ("-", 3),
        ProbeResult::Ok => ("o", 4),
    }
}

/// The same of a health.
fn by_health(health: Health) -> (&'static str, u8) {
    match health {
        Health::Down => ("x", 0),
        Health::Suspect => ("!", 1),
        Health::Degraded => ("!", 2),
        Health::Unknown => ("-", 3),
        Health::Up => ("o", 4),
    }
}

#[derive(Debug, Serialize)]
struct StatusView<'a> {
    at: Timestamp,
    failed: bool,
    /// Whose knowledge it is; `None` when the probes were run for this.
    watcher: Option<Watcher<'a>>,
    probes: Vec<View<'a>>,
    backups: Vec<BackupView<'a>>,
    incidents: Vec<IncidentView<'a>>,
}

/// Who watches.
#[derive(Debug, Serialize)]
struct Watcher<'a> {
    peer: &'a Peer,
    host: &'a str,
    stopping: Option<&'a Stopping>,
    /// Every canary fails: what is far away is not counted.
    is_cut_off: bool,
    config: ConfigView<'a>,
}

impl Watcher<'_> {
    fn text(&self, now: Timestamp) -> String {
        let Peer { role, pid, since, .. } = self.peer;
        let who = match role {
            Role::Agent => "agent".to_string(),
            Role::Screen(user) => format!("the screen of {}", sanitise::text(user)),
        };
        let mut text = format!("WATCHED by {who}, pid {pid}, since {since:.0} ({})\n", format::ago(now, *since));
        if let Some(Stopping { waits_for, until }) = self.stopping {
            let _ =
                writeln!(text, "! it was told to end and waits for {}, until {until:.0}", sanitise::text(waits_for));
        }
        if self.is_cut_off {
            let _ = writeln!(text, "! {CUT_OFF_WORDS}");
        }
        if let Some(why) = &self.config.why {
            let _ = writeln!(text, "! {}", sanitise::text(why));
        }
        text
    }
}

/// The config that whoever watches uses, and whether it is the one on disk.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct ConfigView<'a> {
    /// The one in use.
    path: Option<&'a str>,
    /// It is what stands on disk; `None` when that cannot be told.
    is_on_disk: Option<bool>,
    /// What is different, in words.
    why: Option<String>,
}

impl<'a> ConfigView<'a> {
    /// Of what is used, and what is on disk now.
    fn new(used: &'a ConfigStatus, disk: &Loaded) -> Self {
        let path = used.path.as_deref();
        let named = disk.config.path.as_deref();
        let digest = disk.config.digest();
        let why = match (&used.digest, &digest) {
            // Nobody has read it yet, or it is gone; either way an older one runs.
            (Some(_), None) => {
                let name = disk.missing.as_ref().map_or_else(String::new, |it| format!(": `{}`", it.display()));
                Some(format!("the config in use is `{}`, and here there is none{name}", path.unwrap_or_default()))
            }
            (Some(ours), Some(theirs)) if ours == theirs => None,
            (None, Some(_)) if used.path.is_none() => {
                Some(format!("no config is in use, and `{}` is on disk", named.unwrap_or_default()))
            }
            (None, _) => return Self { path, is_on_disk: None, why: None },
            (Some(_), Some(_)) => {
                let first = used.rejected.first().or_else(|| disk.errors.iter().find(|it| !used.errors.contains(it)));
                let what = format!("the config on disk is not the one in use: `{}`", named.unwrap_or_default());
                Some(match first {
                    Some(first) => format!("{what} was not taken: {first}"),
                    None if named != path => format!("{what} is not `{}`", path.unwrap_or_default()),
                    None => format!("{what} was changed and is not read yet (SIGHUP or ctrl-r has it read)"),
                })
            }
        };
        Self { path, is_on_disk: Some(why.is_none()), why }
    }
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
    fn all(board: &'a BackupBoard) -> Vec<Self> {
        board.jobs.iter().map(|job| Self::new(job.info.id.name(), job.newest())).collect()
    }

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

impl<'a> IncidentView<'a> {
    /// `None` for what is over, and for the log-book.
    fn of(it: &'a Incident) -> Option<Self> {
        (it.is_open() && !it.log_book).then(|| Self {
            name: it.id.name(),
            title: &it.title,
            severity: it.severity.number(),
            status: it.status,
            declared_at: it.declared_at,
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::config_error::ConfigError;

    /// What is said of the config when this text is used and that one is on disk.
    fn check(used: &str, rejected: &[&str], disk: &str) -> Option<String> {
        let read = |text: &str| crate::config::read_text("c.toml", text, Commands::Defer);
        let used = read(used);
        let status = ConfigStatus {
            path: used.config.path.clone(),
            digest: used.config.digest(),
            errors: used.errors,
            rejected: rejected.iter().map(|it| ConfigError::whole_file("c.toml", *it)).collect(),
        };
        let disk = read(disk);
        let view = ConfigView::new(&status, &disk);
        assert_eq!(view.is_on_disk, Some(view.why.is_none()));
        view.why
    }

    #[test]
    fn a_config_that_is_not_the_one_in_use_is_told() {
        let probe = "[[probe]]\nname = 'a'\ntcp = 'h:1'\n";
        assert_eq!(check(probe, &[], probe), None);
        let said = check(probe, &["unknown key `x`"], "[[probe]\n").unwrap_or_default();
        assert!(said.ends_with("`c.toml` was not taken: c.toml: unknown key `x`"), "{said}");
        // Whoever watches has not looked yet.
        let said = check(probe, &[], "[[probe]]\nname = 'a'\n").unwrap_or_default();
        assert!(said.contains("was not taken: c.toml:1:1: a probe needs a kind"), "{said}");
        let said = check(probe, &[], &format!("{probe}interval = '5s'\n")).unwrap_or_default();
        assert!(said.contains("was changed and is not read yet"), "{said}");
    }

    #[test]
    fn an_older_watcher_does_not_say_what_it_uses() {
        let disk = crate::config::read_text("c.toml", "", Commands::Defer);
        let used = ConfigStatus { path: Some("c.toml".into()), ..ConfigStatus::default() };
        assert_eq!(ConfigView::new(&used, &disk).is_on_disk, None);
    }
}
