//! What an agent does beside watching: metrics, beats, and telling the service manager that it is alive.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::agent::expose::{self, Desk};
use crate::agent::manager::Manager;
use crate::agent::selfbeat::Beats;
use crate::config::Config;
use crate::config::agent::{Agent, Beat};
use crate::domain::board::Board;
use crate::domain::format;
use crate::domain::probe::health::Health;
use crate::runtime::observer::Observer;

/// How often it is looked whether the agent is well where no service manager asks: often enough for the log.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Serves and beats as the config says, until `cancel`; a changed config is taken into use.
pub async fn run(
    observer: Observer,
    mut config_rx: watch::Receiver<Arc<Config>>,
    since: Timestamp,
    cancel: CancellationToken,
) {
    let beats = Beats::default();
    let desk = Arc::new(Desk { observer: observer.clone(), beats: beats.clone(), since });
    let (mut agent, mut serving, mut beating) = (Agent::default(), cancel.child_token(), cancel.child_token());
    loop {
        let wanted = config_rx.borrow_and_update().agent.clone();
        if wanted.metrics != agent.metrics {
            serving.cancel();
            serving = cancel.child_token();
            if let Some(address) = wanted.metrics {
                tokio::spawn(expose::serve(Arc::clone(&desk), address, serving.clone()));
            }
        }
        if wanted.beat != agent.beat {
            beating.cancel();
            beating = cancel.child_token();
            beats.tell_well(&observer);
            if let Some(beat) = wanted.beat.clone() {
                start_beats(&beats, &observer, beat, &beating);
            }
        }
        agent = wanted;
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = config_rx.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

fn start_beats(beats: &Beats, observer: &Observer, beat: Beat, cancel: &CancellationToken) {
    tracing::info!(to = beat.endpoint.shown(), every_s = beat.every.as_secs(), "beats are sent");
    tokio::spawn(beats.clone().run(observer.clone(), beat, cancel.clone()));
}

/// Tells the service manager how the agent is, and that it is alive as long as a new start would not help.
pub async fn keep_alive(observer: Observer, manager: Arc<Manager>, cancel: CancellationToken) {
    let pace = manager.alive_every().unwrap_or(LOOK_EVERY);
    let (mut told, mut trouble) = (String::new(), None);
    loop {
        let vitals = tokio::select! {
            () = cancel.cancelled() => return,
            vitals = observer.vitals() => vitals,
        };
        let found = vitals.trouble();
        if found != trouble {
            match &found {
                Some(why) => tracing::error!(why, "the agent is not well"),
                None => tracing::info!("the agent is well again"),
            }
            trouble = found;
        }
        if !vitals.need_restart() {
            manager.alive();
        }
        let said = match &trouble {
            Some(why) => format!("not well: {why}"),
            None => observer.look(status).unwrap_or_default(),
        };
        if said != told {
            manager.status(&said);
            told = said;
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(pace) => {}
        }
    }
}

/// What is watched and how it is, in one line.
pub fn status(board: &Board) -> String {
    let count = |number: usize, noun: &str| format::plural(number as u64, noun);
    let mut parts = vec![count(board.probes.len(), "probe")];
    let down = board.probes.count(Health::Down);
    if down > 0 {
        parts[0] += &format!(" ({down} down)");
    }
    parts.push(count(board.logs.sources.len(), "log"));
    parts.push(count(board.backups.jobs.len(), "backup"));
    if !board.presence.is_empty() {
        parts.push(count(board.presence.len(), "screen"));
    }
    if !board.config.rejected.is_empty() {
        parts.push("the changed config was rejected, the one before runs".into());
    } else if !board.config.errors.is_empty() {
        parts.push(format!("{} in the config", count(board.config.errors.len(), "mistake")));
    }
    format!("watches {}", parts.join(", "))
}
