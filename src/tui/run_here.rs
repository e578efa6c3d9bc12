//! Runs a probe in the screen's own process, by the screen's own config: what the agent sees may be only its own view.

use crate::app::event::{Event, RanHere};
use crate::domain::config_error::did_you_mean;
use crate::domain::ids::{HostId, ProbeId};
use crate::domain::sanitise;
use crate::service::probe::run::run_once;
use crate::service::probe::{Place, ProbeSpec, heartbeat, logs};
use crate::tui::carry_out::{TASKS_MAX, warn};
use crate::tui::event_loop::EventLoop;

impl EventLoop<'_> {
    /// Starts a run, which ends by the deadline of the probe; says why when it cannot be run here.
    pub(super) fn run_here(&mut self, probe: ProbeId) -> Option<Event> {
        let found = match &self.config_rx {
            Some(config_rx) => find(&config_rx.borrow().probes, &probe),
            None => Err("the config is not read yet; press the key again".to_string()),
        };
        let spec = match found {
            Ok(spec) => spec,
            Err(why) => return Some(Event::RanHere { probe, ran: Err(why) }),
        };
        if self.tasks.len() >= TASKS_MAX {
            return Some(warn("too much is under way for that; press the key again".into()));
        }
        let place = Place::alone(HostId::new(probe.host()), &self.options.state_dir);
        self.tasks.spawn(async move {
            let outcome = run_once(&spec, &place, std::time::Duration::ZERO).await;
            let (kind, target) = (spec.kind.to_string(), spec.probe.target());
            Event::RanHere { probe, ran: Ok(Box::new(RanHere { kind, target, outcome })) }
        });
        None
    }
}

/// Finds the probe of this name in this screen's config, when it can be run anywhere but at the agent.
fn find(probes: &[ProbeSpec], probe: &ProbeId) -> Result<ProbeSpec, String> {
    let name = sanitise::text(probe.name());
    let Some(spec) = probes.iter().find(|it| it.name == probe.name()) else {
        let near = did_you_mean(probe.name(), probes.iter().map(|it| it.name.as_str()));
        let near = near.map_or(String::new(), |it| format!("; there is a `{}`", sanitise::text(it)));
        // Its entry is not sent over: it may hold secrets that belong to that host.
        return Err(format!(
            "the config of this screen has no probe `{name}`{near}; copy its entry from the config of `{}` to run it \
             here as well",
            sanitise::text(probe.host())
        ));
    };
    if spec.kind == logs::KIND.name || spec.kind == heartbeat::KIND.name {
        return Err(format!("a `{}` probe looks at what its agent itself reads or hears", spec.kind));
    }
    Ok(spec.clone())
}
