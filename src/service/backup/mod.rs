//! Backup jobs: their kinds, their schedule, their runs, what is kept and what is verified.

pub mod destination;
pub mod folder;
pub mod source;
pub mod spec;

use crate::domain::fact::Actor;
use crate::domain::ids::{JobId, RunId};
use crate::service::{Reply, ServiceSetup};

// The config names them by this path, as it does for the other services.
pub use crate::service::backup::spec::{JobSpec, read};

/// Runs jobs on their schedule and on request.
#[derive(Clone)]
pub struct BackupService {}

impl BackupService {
    /// Rebuilds the history from the manifests and starts the schedule.
    pub fn start(_setup: &ServiceSetup, _specs: Vec<JobSpec>) -> Self {
        Self {}
    }

    /// Takes changed specs into use.
    pub fn reload(&self, _specs: Vec<JobSpec>) {}

    /// Runs a job now.
    pub fn run(&self, _job: &JobId, _actor: Actor, _reply: Reply) {}

    /// Reads a run's artefacts back and compares their hashes.
    pub fn verify(&self, _run: &RunId, _actor: Actor, _reply: Reply) {}

    /// Waits until a running backup is finished or cleanly abandoned (after `ServiceSetup::cancel`).
    pub async fn stopped(&self) {}
}
