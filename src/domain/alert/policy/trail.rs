//! What led to telling or not telling, kept for each probe that was ever in trouble.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::domain::alert::explain::Step;
use crate::domain::alert::policy::keep::Row;
use crate::domain::alert::policy::{AlertBoard, Run};
use crate::domain::alert::{Acknowledgement, Concern};
use crate::domain::ids::ProbeId;
use crate::domain::probe::health::Health;

/// Steps kept of one probe: some ten alerts with all that belongs to them.
pub const STEPS_MAX: usize = 96;

/// What is kept of one probe.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trail {
    /// Alerts so far: part of their keys.
    pub number: u64,
    /// What was last thought of it.
    pub health: Option<Health>,
    /// Keys of what is the matter now.
    pub open: BTreeMap<Concern, String>,
    /// Keys of alerts of an earlier run that was read late, about what was begun anew meanwhile: they end with it.
    pub twins: Vec<String>,
    /// Somebody has seen it until it is fine.
    pub sticky: Option<Acknowledgement>,
    /// Oldest first, at most [`STEPS_MAX`].
    pub steps: VecDeque<Step>,
}

impl Trail {
    /// Puts what an earlier run wrote before what is known by now.
    pub(super) fn precede(&mut self, earlier: Self) {
        self.number = self.number.max(earlier.number);
        self.health = self.health.or(earlier.health);
        for (concern, key) in earlier.open {
            match self.open.get(&concern) {
                None => drop(self.open.insert(concern, key)),
                Some(own) if *own != key => self.twins.push(key),
                Some(_) => {}
            }
        }
        self.twins.extend(earlier.twins);
        self.twins.sort_unstable();
        self.twins.dedup();
        self.sticky = self.sticky.take().or(earlier.sticky);
        let mut steps = earlier.steps;
        // Read twice, they are the same.
        steps.retain(|it| !self.steps.contains(it));
        steps.append(&mut self.steps);
        steps.drain(..steps.len().saturating_sub(STEPS_MAX));
        self.steps = steps;
    }
}

impl AlertBoard {
    /// Writes down what was decided about a probe.
    pub(super) fn note(&mut self, run: &mut Run<'_>, probe: &ProbeId, kind: &str, text: String) {
        let trail = self.trails.entry(probe.clone()).or_default();
        if trail.steps.len() >= STEPS_MAX {
            trail.steps.pop_front();
        }
        trail.steps.push_back(Step { at: Some(run.now), kind: kind.to_string(), text });
        run.keep(Row::Trail(probe.clone()));
    }

    /// Writes down what was decided about an alert, at each probe that it is about.
    pub(super) fn note_about(&mut self, run: &mut Run<'_>, key: &str, kind: &str, text: &str) {
        let Some(alert) = self.alerts.get(key) else { return };
        let own = alert.probe().cloned();
        let children = alert.children().iter().filter_map(|it| self.alerts.get(it)?.probe().cloned());
        let probes: Vec<ProbeId> = own.into_iter().chain(children).collect();
        for probe in probes {
            self.note(run, &probe, kind, text.to_string());
        }
    }
}
