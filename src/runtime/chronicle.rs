//! Writes what turned into the log that hotseat keeps of itself: one line an event, with its words as fields.
//!
//! The journal keeps every fact for machines; this is what a person reads who was not at a screen. Secrets are in
//! no fact; lines of a config, which may hold one, are left out.

use crate::domain::alert::AlertFact;
use crate::domain::alert::delivery::{Action, DeliveryNews, DeliveryState};
use crate::domain::backup::BackupFact;
use crate::domain::backup::run::{Run, RunState};
use crate::domain::board::Board;
use crate::domain::config_error::ConfigError;
use crate::domain::fact::{Actor, Envelope, Fact, RuntimeFact};
use crate::domain::log::{LogFact, SourceState};
use crate::domain::presence::{PresenceFact, Via, Visitor};
use crate::domain::probe::ProbeFact;
use crate::domain::probe::health::Health;
use crate::domain::sanitise;

/// Mistakes of a config that are logged one by one; the rest is counted.
const MISTAKES_MAX: usize = 20;

/// What must be known from before a fact to tell what it turned.
#[derive(Debug, Default)]
pub struct Before {
    health: Option<Health>,
    gone: Option<Visitor>,
    /// The config on disk was refused for the same reasons: a changed file and a signal about it are one event.
    is_refused: bool,
}

impl Before {
    /// Looks before the fact is folded in.
    pub fn of(board: &Board, fact: &Fact) -> Self {
        let mut before = Self::default();
        match fact {
            Fact::Probe(ProbeFact::Outcome { probe, .. }) => {
                before.health = board.probes.get(probe).map(|it| it.health());
            }
            Fact::Presence(PresenceFact::Went { screen }) => {
                before.gone = board.presence.iter().find(|(it, _)| it == screen).map(|(_, it)| it.visitor.clone());
            }
            Fact::Runtime(RuntimeFact::ConfigRejected { errors }) => {
                before.is_refused = board.config.rejected == *errors;
            }
            _ => {}
        }
        before
    }
}

/// Logs what a fact turned, after it was folded in.
pub fn tell(before: &Before, board: &Board, envelope: &Envelope) {
    match &envelope.fact {
        Fact::Probe(ProbeFact::Outcome { probe, .. }) => {
            let Some((was, state)) = before.health.zip(board.probes.get(probe)) else { return };
            let is = state.health();
            if was == is {
                return;
            }
            let why = state.last_trouble().filter(|_| is != Health::Up).map(|it| it.brief().to_string());
            let (probe, was, why) = (probe.name(), was.word(), why.unwrap_or_default());
            match is {
                Health::Down => tracing::warn!(probe, was, why, "probe down"),
                Health::Up => tracing::info!(probe, was, "probe up"),
                _ => tracing::info!(probe, was, why, "probe {}", is.word()),
            }
        }
        Fact::Probe(ProbeFact::Acknowledged { probe, by, .. }) => {
            tracing::info!(probe = probe.name(), by, "probe acknowledged");
        }
        Fact::Alert(AlertFact::Delivery(news)) => delivery(news),
        Fact::Backup(BackupFact::Started { run }) => {
            tracing::info!(job = run.job.name(), run = run.id.name(), by = by(&envelope.actor), "backup started");
        }
        Fact::Backup(BackupFact::Ended { run }) => backup(run),
        Fact::Presence(PresenceFact::Came { visitor, .. }) => screen(visitor, "screen came"),
        Fact::Presence(PresenceFact::Went { .. }) => {
            if let Some(visitor) = &before.gone {
                screen(visitor, "screen went");
            }
        }
        Fact::Log(LogFact::State { source, state: SourceState::Failed(why) }) => {
            tracing::warn!(log = source.name(), why, "log failed");
        }
        Fact::Runtime(RuntimeFact::ConfigRejected { .. }) if before.is_refused => {
            tracing::info!("config read again and rejected as before");
        }
        Fact::Runtime(fact) => runtime(fact),
        _ => {}
    }
}

fn runtime(fact: &RuntimeFact) {
    match fact {
        RuntimeFact::ConfigLoaded { path, errors, .. } => {
            let path = path.as_deref().unwrap_or("none");
            tracing::info!(path, mistakes = errors.len(), "config taken into use");
            mistakes(errors);
        }
        RuntimeFact::ConfigRejected { errors } => {
            let first = errors.first().map(brief).unwrap_or_default();
            tracing::error!(mistakes = errors.len(), first, "config rejected: the one before goes on running");
            // Who alerts on errors is told once.
            errors.iter().skip(1).take(MISTAKES_MAX).for_each(|it| tracing::warn!(why = brief(it), "config mistake"));
        }
        RuntimeFact::NotDurable { why: Some(why) } => tracing::error!(why, "not durable"),
        RuntimeFact::NotDurable { why: None } => tracing::info!("durable again"),
        RuntimeFact::ServiceFailed { service, error, retry_s } => {
            tracing::error!(service, error, retry_s, "service failed");
        }
        RuntimeFact::Standby { holder } => tracing::info!(holder, "standing by"),
        RuntimeFact::ServiceWorks { service } => tracing::info!("{service} works again"),
        RuntimeFact::Active => tracing::info!("took the state directory over"),
        RuntimeFact::Waiting { agents } => match agents.as_slice() {
            [] => tracing::info!("no agent stands by any more"),
            agents => tracing::info!(pids = ?agents, "agents stand by until this one has ended"),
        },
        // Who stops it says so.
        RuntimeFact::Restored(_) | RuntimeFact::Stopping { .. } => {}
    }
}

/// Where and what in one line, without the line of the file.
fn brief(error: &ConfigError) -> String {
    // Its hint says what to do on a screen.
    sanitise::text(&ConfigError { hint: None, ..error.clone() }.to_string())
}

/// Where and what, without the line of the file.
fn mistakes(errors: &[ConfigError]) {
    for error in errors.iter().take(MISTAKES_MAX) {
        let (file, line, column) = (error.file.as_str(), error.line, error.column);
        let why = sanitise::text(&error.message);
        match line {
            // The file as a whole.
            0 => tracing::error!(file, why, "config mistake"),
            _ => tracing::error!(file, line, column, why, "config mistake"),
        }
    }
    if let Some(more) = errors.len().checked_sub(MISTAKES_MAX).filter(|it| *it > 0) {
        tracing::error!(more, "more config mistakes: run `hotseat check`");
    }
}

fn delivery(news: &DeliveryNews) {
    let (to, about, what) = (news.notifier.as_str(), news.key.as_str(), news.action.word());
    let is_page = matches!(news.action, Action::Trigger | Action::Remind | Action::Digest);
    match &news.state {
        DeliveryState::Sent { attempts, .. } if is_page => tracing::info!(to, about, what, attempts, "page sent"),
        DeliveryState::Sent { attempts, .. } => tracing::info!(to, about, what, attempts, "notification sent"),
        DeliveryState::Retrying { attempt, next, error, .. } => {
            tracing::warn!(to, about, what, attempt, next = %next, error, "notification failed and is tried again");
        }
        DeliveryState::Failed { attempts, error } => {
            tracing::error!(to, about, what, attempts, error, "notification failed");
        }
        DeliveryState::Expired => tracing::warn!(to, about, what, "notification expired"),
        DeliveryState::Queued if !news.durable => tracing::warn!(to, about, what, "notification kept in memory only"),
        DeliveryState::Queued | DeliveryState::Sending { .. } | DeliveryState::Merged => {}
    }
}

fn backup(run: &Run) {
    let (job, run_name, duration_ms) = (run.job.name(), run.id.name(), run.duration_ms.unwrap_or_default());
    let (state, why) = (run.state.word(), run.error.as_deref().unwrap_or_default());
    if run.state == RunState::Ok {
        let stored_bytes = run.stored_bytes.unwrap_or_default();
        tracing::info!(job, run = run_name, duration_ms, stored_bytes, "backup done");
    } else {
        tracing::error!(job, run = run_name, state, duration_ms, why, "backup not done");
    }
}

fn screen(visitor: &Visitor, what: &str) {
    let user = visitor.user.as_str();
    let via = match &visitor.via {
        Via::Inside => "this process".to_string(),
        Via::Local => "the socket".to_string(),
        Via::Ssh(from) => format!("ssh from {}", sanitise::text(from)),
    };
    let seat = visitor.seat.as_deref().map(sanitise::text);
    tracing::info!(user, via, seat, readonly = visitor.readonly, "{what}");
}

fn by(actor: &Actor) -> &str {
    match actor {
        Actor::Runtime => "schedule",
        Actor::Person(name) => name,
    }
}
