//! All probes of a runtime: starts their tasks, takes changed configs, passes on what people ask.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::fact::{Actor, Fact};
use crate::domain::ids::ProbeId;
use crate::domain::probe::{Ack, ProbeFact};
use crate::service::ServiceSetup;
use crate::service::probe::task::{Ask, ProbeTask};
use crate::service::probe::{ProbeSpec, acks};

/// Wishes that may wait for one probe: a person who presses a key more often than it is answered means it once.
const ASKS_MAX: usize = 4;

/// Runs probes on their schedule. Dropping it does not stop it; `ServiceSetup::cancel` does.
#[derive(Clone)]
pub struct Prober {
    inner: Arc<Inner>,
}

struct Inner {
    setup: ServiceSetup,
    tasks: Mutex<HashMap<ProbeId, Running>>,
}

struct Running {
    fingerprint: u64,
    asks_tx: mpsc::Sender<Ask>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Prober {
    /// Starts a task for every probe. Must be called on a tokio runtime.
    pub fn start(setup: &ServiceSetup, specs: Vec<ProbeSpec>) -> Self {
        let prober = Self { inner: Arc::new(Inner { setup: setup.clone(), tasks: Mutex::default() }) };
        prober.reload(specs);
        prober
    }

    /// Takes changed specs into use: unchanged probes go on undisturbed.
    pub fn reload(&self, specs: Vec<ProbeSpec>) {
        let setup = &self.inner.setup;
        let mut tasks = self.inner.tasks();
        let mut old = std::mem::take(&mut *tasks);
        for spec in specs {
            let id = ProbeId::new(&setup.host, &spec.name);
            let before = old.remove(&id);
            let fingerprint = spec.fingerprint();
            let running = match before {
                Some(running) if running.fingerprint == fingerprint && !running.task.is_finished() => running,
                before => {
                    if let Some(before) = before {
                        before.cancel.cancel();
                    }
                    self.inner.spawn(id.clone(), spec, fingerprint)
                }
            };
            // The config refuses a name that is used twice; should one come, the last stands.
            if let Some(twin) = tasks.insert(id, running) {
                twin.cancel.cancel();
            }
        }
        drop(tasks);
        for (probe, running) in old {
            running.cancel.cancel();
            let facts = setup.facts.clone();
            tokio::spawn(async move {
                // Its last outcome must not come after the news that it is gone. A task that panicked is gone as well.
                let _ = running.task.await;
                facts.send(Fact::Probe(ProbeFact::Removed { probe })).await;
            });
        }
    }

    /// Runs a probe now; an unknown id is ignored.
    pub fn run_now(&self, probe: &ProbeId) {
        self.inner.ask(probe, Ask::Run);
    }

    /// Starts or ends a burst of one check a second.
    pub fn burst(&self, probe: &ProbeId) {
        self.inner.ask(probe, Ask::Burst);
    }

    /// Records that a person has seen the failure.
    pub fn acknowledge(&self, probe: &ProbeId, actor: Actor) {
        if !self.inner.tasks().contains_key(probe) {
            return;
        }
        let by = match &actor {
            Actor::Person(name) => name.clone(),
            Actor::Runtime => self.inner.setup.user.clone(),
        };
        let (probe, at) = (probe.clone(), clock::now());
        let (facts, state_dir) = (self.inner.setup.facts.clone(), self.inner.setup.state_dir.clone());
        tokio::spawn(async move {
            let fact = ProbeFact::Acknowledged { probe: probe.clone(), by: by.clone(), at };
            facts.send_as(actor, Fact::Probe(fact)).await;
            let write = move || acks::record(&state_dir, probe.name(), Ack { by, at });
            // On a full disk the mark still stands on the screen; only a restart forgets it.
            if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
                tracing::warn!(%error, "could not keep an acknowledgement");
            }
        });
    }
}

impl Inner {
    fn tasks(&self) -> MutexGuard<'_, HashMap<ProbeId, Running>> {
        // Nothing panics while it is held; should it, the map is still whole.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, id: ProbeId, spec: ProbeSpec, fingerprint: u64) -> Running {
        let (asks_tx, asks_rx) = mpsc::channel(ASKS_MAX);
        let cancel = self.setup.cancel.child_token();
        let task = ProbeTask {
            id,
            spec,
            facts: self.setup.facts.clone(),
            state_dir: self.setup.state_dir.clone(),
            asks_rx,
            cancel: cancel.clone(),
        };
        Running { fingerprint, asks_tx, cancel, task: tokio::spawn(task.run()) }
    }

    fn ask(&self, probe: &ProbeId, ask: Ask) {
        if let Some(running) = self.tasks().get(probe) {
            // A full queue means that the same was asked just now.
            let _ = running.asks_tx.try_send(ask);
        }
    }
}
