//! `hotseat agent status`: is an agent here, and how is it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;

use crate::agent::glance::{self, Seen, Unseen};
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::clock;
use crate::domain::board::{Board, Stopping};
use crate::domain::config_error::ConfigError;
use crate::domain::format;
use crate::domain::host::{Peer, Role};
use crate::domain::probe::health::Health;
use crate::domain::sanitise;
use crate::runtime::lock::Stuck;

/// Say whether an agent runs here, and how it is
///
/// Exits with 0 when an agent watches this state directory and can keep and send what it decides, and with 1
/// otherwise: nobody watches, only a screen does, it was told to end, what is decided is not durable, a channel refuses
/// notifications, or a changed config was rejected.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Says it.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let state_dir = cx.state_dir();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal("could not ask").caused_by(error))?;
    let status = runtime.block_on(ask(&state_dir));
    if args.json {
        out.json(&status)?;
    } else {
        out.stdout.write_all(status.text(clock::now()).as_bytes())?;
    }
    Ok(if status.well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

#[derive(Debug, Default, Serialize)]
struct Status {
    /// An agent watches and can do its work.
    well: bool,
    state_dir: String,
    /// Who watches, when somebody answers.
    peer: Option<Peer>,
    host: Option<String>,
    /// Somebody holds the state directory, and does not answer or cannot be asked.
    unanswered: bool,
    /// It is another account's, which does not share it with this one.
    closed: bool,
    /// Why nothing more is known.
    why: Option<String>,
    /// It was told to end and lets something end before.
    stopping: Option<Stopping>,
    /// Agents that wait to watch when this one has ended, by their process ids.
    standing_by: Vec<u32>,
    config: Option<String>,
    mistakes: Vec<ConfigError>,
    rejected: Vec<ConfigError>,
    screens: Vec<String>,
    probes: usize,
    down: Vec<String>,
    unsent: usize,
    failing: Vec<String>,
    not_durable: Option<String>,
    failures: Vec<String>,
    /// How late the last run of the latest probe began, in milliseconds.
    lag_ms: u64,
}

/// Probes that are down and named in the text: two lines of a terminal.
const NAMED_MAX: usize = 12;

async fn ask(state_dir: &Path) -> Status {
    let mut status = Status { state_dir: state_dir.display().to_string(), ..Status::default() };
    match glance::look(state_dir).await {
        Ok(Seen { host, peer, board, .. }) => {
            status.host = Some(host.to_string());
            status.peer = Some(peer);
            status.take(&board);
        }
        Err(Unseen::Nobody(holder)) => {
            status.why = Some(match holder {
                Some(holder) => format!("nobody answers; last here: {holder}"),
                None => "nobody was ever here".into(),
            });
        }
        Err(Unseen::Closed(why)) => (status.closed, status.why) = (true, Some(why)),
        Err(Unseen::Failed(why)) => {
            status.unanswered = true;
            // The kernel knows more of a process that says nothing.
            let stuck = Stuck::find(state_dir);
            status.why = Some(stuck.map_or(why, |it| format!("{} ({})", it.words, it.hint)));
        }
    }
    status
}

impl Status {
    fn take(&mut self, board: &Board) {
        self.stopping.clone_from(&board.stopping);
        self.standing_by.clone_from(&board.waiting);
        self.config.clone_from(&board.config.path);
        self.mistakes.clone_from(&board.config.errors);
        self.rejected.clone_from(&board.config.rejected);
        self.screens = board.presence.iter().map(|(_, it)| it.visitor.user.clone()).collect();
        self.probes = board.probes.len();
        let down = board.probes.iter().filter(|(_, it)| it.health() == Health::Down);
        self.down = down.map(|(id, _)| id.name().to_string()).collect();
        self.unsent = board.alerts.unsent();
        let failing = board.alerts.notifiers().iter().filter(|(_, it)| !it.is_well());
        self.failing =
            failing.map(|(name, it)| format!("{name}: {}", it.error.as_deref().unwrap_or("it fails"))).collect();
        self.not_durable.clone_from(&board.not_durable);
        self.failures = board.failures.iter().map(|(service, error)| format!("{service}: {error}")).collect();
        let lag = board.probes.iter().filter_map(|(_, it)| Some(it.last()?.lag)).max().unwrap_or_default();
        self.lag_ms = u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
        let is_agent = self.peer.as_ref().is_some_and(|it| it.role == Role::Agent);
        self.well = is_agent
            && self.stopping.is_none()
            && self.not_durable.is_none()
            && self.failing.is_empty()
            && self.rejected.is_empty();
    }

    fn text(&self, now: Timestamp) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name:<8} {}", sanitise::text(&value));
        };
        let who = match &self.peer {
            None if self.closed => "this account may not ask".to_string(),
            None if self.unanswered => "it holds the state directory and does not answer".to_string(),
            None => "none runs".to_string(),
            Some(Peer { role, version, pid, since }) => {
                let what = match role {
                    Role::Agent => "hotseat".to_string(),
                    Role::Screen(user) => format!("none runs; the screen of {user} watches: hotseat"),
                };
                format!("{what} {version}, pid {pid}, since {since:.0} ({})", format::ago(now, *since))
            }
        };
        line("agent", who);
        line("state", self.state_dir.clone());
        if let Some(why) = &self.why {
            line("", why.clone());
        }
        if self.peer.is_none() || self.host.is_none() || self.why.is_some() {
            return text;
        }
        if let Some(Stopping { waits_for, until }) = &self.stopping {
            line("", format!("it was told to end and waits for {waits_for}, until {until:.0} at most"));
        }
        for pid in &self.standing_by {
            line("", format!("the agent with pid {pid} stands by and watches when this one has ended"));
        }
        line("config", self.config.clone().unwrap_or_else(|| "none".into()));
        for mistake in &self.mistakes {
            line("", format!("left out: {mistake}"));
        }
        for mistake in &self.rejected {
            line("", format!("changed and rejected: {mistake}"));
        }
        let named = self.down.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
        let down = match (self.down.len(), self.down.len().saturating_sub(NAMED_MAX)) {
            (0, _) => "none down".to_string(),
            (_, 0) => format!("down: {named}"),
            (all, more) => format!("{all} down: {named} and {more} more (`--json` names all)"),
        };
        line("probes", format!("{}, {down}, started at most {} ms late", self.probes, self.lag_ms));
        line("unsent", if self.unsent == 0 { "nothing".into() } else { self.unsent.to_string() });
        for failing in &self.failing {
            line("", failing.clone());
        }
        line("store", self.not_durable.clone().unwrap_or_else(|| "durable".into()));
        for failure in &self.failures {
            line("failed", failure.clone());
        }
        line("screens", if self.screens.is_empty() { "none".into() } else { self.screens.join(", ") });
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(role: Role) -> Status {
        let since = Timestamp::UNIX_EPOCH;
        let peer = Peer { role, version: "0.1.0".into(), pid: 42, since };
        let mut status = Status { peer: Some(peer), host: Some("h".into()), ..Status::default() };
        status.take(&Board::default());
        status
    }

    #[test]
    fn only_an_agent_that_can_do_its_work_is_well() {
        assert!(status(Role::Agent).well);
        let screen = status(Role::Screen("alice".into()));
        assert!(!screen.well && screen.text(Timestamp::UNIX_EPOCH).contains("the screen of alice watches"));
        let mut full = status(Role::Agent);
        full.take(&Board { not_durable: Some("the disk is full".into()), ..Board::default() });
        assert!(!full.well && full.text(Timestamp::UNIX_EPOCH).contains("store    the disk is full"));
        assert!(!Status::default().well && Status::default().text(Timestamp::UNIX_EPOCH).contains("none runs"));
        let silent = Status { unanswered: true, why: Some("pid 42, which is stopped".into()), ..Status::default() };
        let text = silent.text(Timestamp::UNIX_EPOCH);
        assert!(!silent.well && !text.contains("none runs") && text.contains("pid 42, which is stopped"), "{text}");
        let closed = Status { closed: true, why: Some("ask `ops` to be in it".into()), ..Status::default() };
        let text = closed.text(Timestamp::UNIX_EPOCH);
        assert!(!closed.well && text.contains("this account may not ask") && text.contains("ask `ops`"), "{text}");
        let mut ends = status(Role::Agent);
        let stopping = Stopping { waits_for: "backup `nightly`".into(), until: Timestamp::UNIX_EPOCH };
        ends.take(&Board { stopping: Some(stopping), waiting: vec![77], ..Board::default() });
        let text = ends.text(Timestamp::UNIX_EPOCH);
        assert!(
            !ends.well && text.contains("waits for backup `nightly`, until 1970-01-01T00:00:00Z at most"),
            "{text}"
        );
        assert!(text.contains("the agent with pid 77 stands by"), "{text}");
    }
}
