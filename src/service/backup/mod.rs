//! Backup jobs: their kinds, their schedule, their runs, what is kept and what is verified.
//!
//! `spec` reads a job; `source` and `destination` are its kinds. `execute` is one run: `pass` streams the
//! bytes, `target` is a destination meanwhile, `artefact` commits, verifies and deletes. `state` is what this
//! host remembers and `history` joins that with what the destinations hold. `worker` is the thread that
//! sleeps until the next slot.

pub mod artefact;
pub mod destination;
pub mod execute;
pub mod folder;
pub mod history;
pub mod pass;
pub mod source;
pub mod spec;
pub mod state;
mod steps;
mod target;
#[cfg(test)]
mod tests;
pub mod worker;

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::domain::fact::Actor;
use crate::domain::ids::{JobId, RunId};
use crate::domain::request::Inbound;
use crate::service::backup::worker::{Ask, Worker};
use crate::service::{Reply, ServiceSetup};

// The config names them by this path, as it does for the other services.
pub use crate::service::backup::spec::{JobSpec, read};

/// Requests that may wait while a backup runs; past that the person is told instead of being queued.
const ASKS_MAX: usize = 32;

/// Runs jobs on their schedule and on request.
#[derive(Clone)]
pub struct BackupService {
    asks_tx: SyncSender<Ask>,
    specs: Arc<Mutex<Option<Vec<JobSpec>>>>,
    /// Nothing more is begun.
    closing: CancellationToken,
    ended: CancellationToken,
}

impl BackupService {
    /// Rebuilds the history from the manifests and starts the schedule. Needs a tokio runtime around it.
    pub fn start(setup: &ServiceSetup, specs: Vec<JobSpec>) -> Self {
        let (asks_tx, asks_rx) = sync_channel(ASKS_MAX);
        let (closing, ended) = (CancellationToken::new(), CancellationToken::new());
        let waiting = Arc::new(Mutex::new(None));
        let service = Self {
            asks_tx: asks_tx.clone(),
            specs: Arc::clone(&waiting),
            closing: closing.clone(),
            ended: ended.clone(),
        };
        let cancel = setup.cancel.clone();
        // A sleeping worker hears nothing but its channel.
        tokio::spawn(async move {
            cancel.cancelled().await;
            // A full channel means that it is awake.
            let _ = asks_tx.try_send(Ask::Nudge);
        });
        let worker = Worker::new(setup.clone(), specs, waiting, closing);
        let guard = ended.drop_guard();
        let started = std::thread::Builder::new().name("backups".into()).spawn(move || {
            let _guard = guard;
            worker.work(&asks_rx);
        });
        if let Err(error) = started {
            // The channel is closed then, so every request is answered with a failure.
            tracing::error!("could not start the backup thread: {error}");
        }
        service
    }

    /// Takes changed specs into use; while a backup runs they wait for its end.
    pub fn reload(&self, specs: Vec<JobSpec>) {
        *self.specs.lock().unwrap_or_else(PoisonError::into_inner) = Some(specs);
        // A full channel means that it looks soon anyway.
        let _ = self.asks_tx.try_send(Ask::Nudge);
    }

    /// Runs a job now.
    pub fn run(&self, job: &JobId, actor: Actor, reply: Reply) {
        let failed = format!("could not run backup job `{}`", job.name());
        self.ask(Ask::Run { job: job.clone(), actor, reply: Arc::clone(&reply) }, &failed, &reply);
    }

    /// Reads a run's artefacts back and compares their hashes.
    pub fn verify(&self, run: &RunId, actor: Actor, reply: Reply) {
        let failed = format!("could not verify `{}`", run.name());
        self.ask(Ask::Verify { run: run.clone(), actor, reply: Arc::clone(&reply) }, &failed, &reply);
    }

    /// Begins no other backup; one that runs goes on to its end, which [`BackupService::stopped`] waits for.
    pub fn close(&self) {
        self.closing.cancel();
        // A full channel means that it is awake.
        let _ = self.asks_tx.try_send(Ask::Nudge);
    }

    /// Waits until a running backup is finished or cleanly abandoned (after `ServiceSetup::cancel`),
    /// or is at its end after [`BackupService::close`].
    pub async fn stopped(&self) {
        self.ended.cancelled().await;
    }

    fn ask(&self, ask: Ask, failed: &str, reply: &Reply) {
        let why = match self.asks_tx.try_send(ask) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => format!("{ASKS_MAX} requests wait already"),
            Err(TrySendError::Disconnected(_)) => "backups have stopped".to_string(),
        };
        // A screen that is gone needs no answer.
        let _ = reply(Inbound::Failed(format!("{failed}: {why}")));
    }
}
