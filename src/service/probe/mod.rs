//! Probes: the trait, its kinds, and the task that runs each on its schedule.

use crate::domain::fact::Actor;
use crate::domain::ids::ProbeId;
use crate::registry::node::Node;
use crate::service::ServiceSetup;

/// One `[[probe]]` of the config, checked and ready to run.
#[derive(Clone)]
pub struct ProbeSpec {
    /// Unique name.
    pub name: String,
}

/// Reads one `[[probe]]`; `defaults` is the `[defaults]` table. Mistakes are reported through the nodes.
pub fn read(entry: &Node<'_>, _defaults: Option<&Node<'_>>) -> Option<ProbeSpec> {
    let name = entry.require("name")?.string()?;
    Some(ProbeSpec { name })
}

/// Runs probes on their schedule. Dropping it does not stop it; `ServiceSetup::cancel` does.
#[derive(Clone)]
pub struct Prober {}

impl Prober {
    /// Starts a task for every probe.
    pub fn start(_setup: &ServiceSetup, _specs: Vec<ProbeSpec>) -> Self {
        Self {}
    }

    /// Takes changed specs into use: unchanged probes go on undisturbed.
    pub fn reload(&self, _specs: Vec<ProbeSpec>) {}

    /// Runs a probe now; an unknown id is ignored.
    pub fn run_now(&self, _probe: &ProbeId) {}

    /// Starts or ends a burst of one check a second.
    pub fn burst(&self, _probe: &ProbeId) {}

    /// Records that a person has seen the failure.
    pub fn acknowledge(&self, _probe: &ProbeId, _actor: Actor) {}
}
