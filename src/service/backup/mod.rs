//! Backup jobs: their kinds, their schedule, their runs, what is kept and what is verified.

use crate::domain::fact::Actor;
use crate::domain::ids::{JobId, RunId};
use crate::registry::node::Node;
use crate::service::{Reply, ServiceSetup};

/// One `[[backup]]` of the config, checked and ready to run.
#[derive(Clone)]
pub struct JobSpec {
    /// Unique name.
    pub name: String,
}

/// Reads one `[[backup]]`. Mistakes are reported through the nodes.
pub fn read(entry: &Node<'_>, _defaults: Option<&Node<'_>>) -> Option<JobSpec> {
    let name = entry.require("name")?.string()?;
    Some(JobSpec { name })
}

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
