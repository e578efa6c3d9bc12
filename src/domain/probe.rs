//! Probe outcomes and the health derived from them: k-of-n windows, backdated starts, degradation.
//!
//! [`outcome`] is one run's result, [`health`] derives a state from many, [`expect`] is the language in
//! which the config says what must hold. Here they meet: what is known of every probe, folded from facts.

pub mod expect;
pub mod health;
pub mod heartbeat;
pub mod history;
pub mod judge;
pub mod outcome;
pub mod waterfall;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::{Concern, ConcernState, Hold, Severity};
use crate::domain::ids::ProbeId;
use crate::domain::probe::health::{Health, HealthMachine, Thresholds, Turn};
use crate::domain::probe::outcome::{Outcome, ProbeResult};

/// Outcomes kept of one probe: a sparkline as wide as a wide screen has room for, and a page of details.
pub const OUTCOMES_MAX: usize = 60;

/// What is observed of a probe.
#[expect(clippy::large_enum_variant, reason = "a setup comes once for each probe and reload")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeFact {
    /// It is in the config, with these settings. What is known of it stays.
    Configured {
        /// Which.
        probe: ProbeId,
        /// How it is checked.
        setup: ProbeSetup,
    },
    /// A run outside the schedule was asked for and has begun.
    Asked {
        /// Which.
        probe: ProbeId,
    },
    /// A run ended.
    Outcome {
        /// Which.
        probe: ProbeId,
        /// What it found.
        outcome: Box<Outcome>,
        /// When the next run is due.
        next: Option<Timestamp>,
    },
    /// Runs that were due did not happen: the machine slept, the process was stopped, the last run took too long.
    Missed {
        /// Which.
        probe: ProbeId,
        /// When it was noticed.
        at: Timestamp,
        /// How many.
        count: u32,
    },
    /// A burst of one check a second began, or ended when `until` is `None`.
    Burst {
        /// Which.
        probe: ProbeId,
        /// When it ends by itself.
        until: Option<Timestamp>,
    },
    /// A person has seen the failure.
    Acknowledged {
        /// Which.
        probe: ProbeId,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// It was removed from the config.
    Removed {
        /// Which.
        probe: ProbeId,
    },
}

impl ProbeFact {
    /// The probe it is about.
    pub fn probe(&self) -> &ProbeId {
        match self {
            Self::Configured { probe, .. }
            | Self::Asked { probe }
            | Self::Outcome { probe, .. }
            | Self::Missed { probe, .. }
            | Self::Burst { probe, .. }
            | Self::Acknowledged { probe, .. }
            | Self::Removed { probe } => probe,
        }
    }
}

/// How a probe is checked, as far as a person wants to see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeSetup {
    /// `http`, `tcp`, `command`.
    pub kind: String,
    /// What is spoken to, without secrets.
    pub target: String,
    /// Pace while up.
    pub interval: Duration,
    /// Pace while not up.
    pub retry: Duration,
    /// Deadline of one run.
    pub timeout: Duration,
    /// When it counts as down and as up again.
    pub thresholds: Thresholds,
    /// What must hold, as written.
    pub expect: Vec<String>,
    /// What should hold, as written.
    pub prefer: Vec<String>,
    /// How it is counted, grouped and told.
    #[serde(default)]
    pub rules: ProbeRules,
}

/// How a probe is counted, grouped and told, besides its thresholds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeRules {
    /// Shown together under this name.
    pub group: Option<String>,
    /// Names of probes that this one depends on: while one of them is down, that one is told.
    pub after: Vec<String>,
    /// Notifiers, people, rotations or ladders that are told.
    pub notify: Vec<String>,
    /// How bad it is when it is down.
    pub severity: Severity,
    /// For matchers and messages.
    pub labels: BTreeMap<String, String>,
    /// Looks at something that fails only when this host is cut off.
    pub canary: bool,
    /// What is promised of it.
    pub slo: Option<Slo>,
    /// Degraded when slower than this hour of the week usually is.
    pub baseline: bool,
}

/// A promise about a share of the time, and over what time: `99.9% / 30d`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Slo {
    /// Share that must be good, above 0 and below 1.
    pub share: f64,
    /// Over what time.
    pub over: Duration,
}

/// A change of health or an acknowledgement, for the incident timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flip {
    /// Which probe.
    pub probe: ProbeId,
    /// When it began (backdated to the first failing result).
    pub since: Timestamp,
    /// What changed, in words: `up -> down: refused`.
    pub text: String,
}

/// A person has seen the failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What of a probe is kept over a restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeKept {
    /// Its health and what it was derived from.
    pub health: HealthMachine,
    /// Who has seen the failure.
    pub acked: Option<Ack>,
    /// The last run in which everything held.
    pub last_good: Option<Arc<Outcome>>,
}

/// An outcome for the history, with what is to be kept of its probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Which.
    pub probe: ProbeId,
    /// What the run found.
    pub outcome: Arc<Outcome>,
    /// When the next run is due: until then nothing else is known.
    #[serde(default)]
    pub next: Option<Timestamp>,
    /// What was derived from it.
    pub kept: ProbeKept,
}

/// What is known of one probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeState {
    /// How it is checked.
    pub setup: ProbeSetup,
    /// The last outcomes, oldest first; at most [`OUTCOMES_MAX`].
    pub outcomes: VecDeque<Arc<Outcome>>,
    /// When the next run is due.
    pub next: Option<Timestamp>,
    /// A run outside the schedule is on its way.
    pub asked: bool,
    /// A burst runs until then.
    pub burst_until: Option<Timestamp>,
    /// Who has seen the failure; gone when the probe is up again.
    pub acked: Option<Ack>,
    /// Runs that were due and did not happen, since the start.
    pub missed: u64,
    /// When the last of them was noticed.
    pub missed_at: Option<Timestamp>,
    /// The last run in which everything held: what a failure is compared with.
    #[serde(default)]
    pub last_good: Option<Arc<Outcome>>,
    health: HealthMachine,
}

impl ProbeState {
    fn new(setup: ProbeSetup) -> Self {
        Self {
            health: HealthMachine::new(setup.thresholds),
            setup,
            outcomes: VecDeque::new(),
            next: None,
            asked: false,
            burst_until: None,
            acked: None,
            missed: 0,
            missed_at: None,
            last_good: None,
        }
    }

    /// What is kept over a restart.
    pub fn kept(&self) -> ProbeKept {
        ProbeKept { health: self.health.clone(), acked: self.acked.clone(), last_good: self.last_good.clone() }
    }

    /// What people may be told of it now, whether or not it is held back.
    pub fn concerns(&self) -> Vec<ConcernState> {
        let concern = match self.health() {
            Health::Down => Concern::Down,
            Health::Degraded => Concern::Degraded,
            Health::Unknown if self.is_broken() => Concern::Broken,
            _ => return Vec::new(),
        };
        let text = self.last_trouble().map(|it| it.brief().to_string()).unwrap_or_default();
        self.since().map(|since| ConcernState { concern, since, text }).into_iter().collect()
    }

    /// What is thought of the probe.
    pub fn health(&self) -> Health {
        self.health.health()
    }

    /// Since when, dated back to the first result that speaks for it.
    pub fn since(&self) -> Option<Timestamp> {
        self.health.since()
    }

    /// True when the probe itself does not work: its last results were all unknown.
    pub fn is_broken(&self) -> bool {
        self.health.is_broken()
    }

    /// The last outcome.
    pub fn last(&self) -> Option<&Outcome> {
        self.outcomes.back().map(Arc::as_ref)
    }

    /// The newest outcome that says why the probe is not up.
    ///
    /// A probe that fails every other time is down although its last outcome may be fine.
    pub fn last_trouble(&self) -> Option<&Outcome> {
        match self.health() {
            Health::Up => self.last().filter(|it| it.trouble.is_some()),
            Health::Down | Health::Suspect => self.newest(|it| it == ProbeResult::Fail),
            Health::Degraded => self.newest(|it| matches!(it, ProbeResult::Fail | ProbeResult::Degraded)),
            Health::Unknown => self.newest(|it| it == ProbeResult::Unknown),
        }
    }

    fn newest(&self, what: impl Fn(ProbeResult) -> bool) -> Option<&Outcome> {
        self.outcomes.iter().rev().map(Arc::as_ref).find(|it| what(it.result))
    }

    fn flip_text(&self, turn: Turn) -> String {
        let words = format!("{} -> {}", turn.from.word(), turn.to.word());
        if self.is_broken() {
            let why = self.last_trouble().and_then(|it| it.trouble.as_ref());
            let why = why.map(|it| format!(": {}", it.text)).unwrap_or_default();
            // A probe that never worked has not turned from anything.
            let words = if turn.from == turn.to { String::new() } else { format!("{words}: ") };
            return format!("{words}probe broken{why}");
        }
        if turn.to == Health::Up {
            return words;
        }
        match self.last_trouble() {
            Some(outcome) => format!("{words}: {}", outcome.brief()),
            None => words,
        }
    }
}

/// What the board knows of probes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeBoard {
    probes: BTreeMap<ProbeId, ProbeState>,
    /// Of an earlier run, until the config names the probe.
    #[serde(default)]
    kept: BTreeMap<ProbeId, ProbeKept>,
}

impl ProbeBoard {
    /// Takes back what was kept before a restart.
    pub fn restore(&mut self, probes: Vec<(ProbeId, ProbeKept)>) {
        self.kept.extend(probes);
    }

    /// Why a page about a probe is held back although something is the matter; `None` when it is not.
    pub fn hold(&self, _now: Timestamp, _probe: &ProbeId) -> Option<Hold> {
        None
    }

    /// Folds one fact in and says which health changed.
    pub fn apply(&mut self, _now: Timestamp, fact: &ProbeFact) -> Vec<Flip> {
        match fact {
            ProbeFact::Configured { probe, setup } => match self.probes.get_mut(probe) {
                Some(state) => {
                    state.health.set_thresholds(setup.thresholds);
                    state.setup.clone_from(setup);
                }
                None => {
                    let mut state = ProbeState::new(setup.clone());
                    if let Some(kept) = self.kept.remove(probe) {
                        state.health = kept.health;
                        state.health.set_thresholds(setup.thresholds);
                        state.acked = kept.acked;
                        state.last_good = kept.last_good;
                    }
                    self.probes.insert(probe.clone(), state);
                }
            },
            ProbeFact::Removed { probe } => {
                self.probes.remove(probe);
            }
            ProbeFact::Outcome { probe, outcome, next } => return self.apply_outcome(probe, outcome, *next),
            ProbeFact::Asked { probe } => self.change(probe, |it| it.asked = true),
            ProbeFact::Missed { probe, at, count } => self.change(probe, |it| {
                it.missed += u64::from(*count);
                it.missed_at = Some(*at);
            }),
            ProbeFact::Burst { probe, until } => self.change(probe, |it| it.burst_until = *until),
            ProbeFact::Acknowledged { probe, by, at } => return self.acknowledge(probe, by, *at).into_iter().collect(),
        }
        Vec::new()
    }

    fn acknowledge(&mut self, probe: &ProbeId, by: &str, at: Timestamp) -> Option<Flip> {
        let state = self.probes.get_mut(probe)?;
        // What is up needs no mark, and one that comes late must not stick to the next failure.
        if state.health() == Health::Up {
            return None;
        }
        let by_another = state.acked.as_ref().is_none_or(|it| it.by != by);
        state.acked = Some(Ack { by: by.to_string(), at });
        by_another.then(|| Flip { probe: probe.clone(), since: at, text: format!("acknowledged by {by}") })
    }

    fn change(&mut self, probe: &ProbeId, what: impl FnOnce(&mut ProbeState)) {
        if let Some(state) = self.probes.get_mut(probe) {
            what(state);
        }
    }

    fn apply_outcome(&mut self, probe: &ProbeId, outcome: &Outcome, next: Option<Timestamp>) -> Vec<Flip> {
        let Some(state) = self.probes.get_mut(probe) else { return Vec::new() };
        state.asked = false;
        state.next = next;
        let shared = Arc::new(outcome.clone());
        if outcome.result == ProbeResult::Ok {
            state.last_good = Some(Arc::clone(&shared));
        }
        // The newest carries its whole evidence; so does the newest failure, wherever it stands.
        if let Some(before) = state.outcomes.back_mut()
            && (before.result == ProbeResult::Ok || outcome.result != ProbeResult::Ok)
        {
            Arc::make_mut(before).lighten();
        }
        state.outcomes.push_back(shared);
        if state.outcomes.len() > OUTCOMES_MAX {
            state.outcomes.pop_front();
        }
        let turn = state.health.apply(outcome.at, outcome.result);
        if state.health() == Health::Up {
            state.acked = None;
        }
        let Some(turn) = turn else { return Vec::new() };
        vec![Flip { probe: probe.clone(), since: turn.since, text: state.flip_text(turn) }]
    }

    /// One probe.
    pub fn get(&self, probe: &ProbeId) -> Option<&ProbeState> {
        self.probes.get(probe)
    }

    /// True when no probe is configured.
    pub fn is_empty(&self) -> bool {
        self.probes.is_empty()
    }

    /// How many probes there are.
    pub fn len(&self) -> usize {
        self.probes.len()
    }

    /// How many probes have this health.
    pub fn count(&self, health: Health) -> usize {
        self.probes.values().filter(|it| it.health() == health).count()
    }

    /// All probes, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ProbeId, &ProbeState)> {
        self.probes.iter()
    }

    /// All probes, the worst first; among equals the one that began first, then by name.
    pub fn red_first(&self) -> Vec<(&ProbeId, &ProbeState)> {
        let mut probes: Vec<_> = self.probes.iter().collect();
        probes.sort_by_key(|(_, state)| {
            let health = state.health();
            // A list of green rows that moves whenever one recovers cannot be read: those go by name.
            let since = if health == Health::Up { None } else { state.since() };
            // The map is in the order of the names, and the sort leaves equals where they are.
            (health.rank(), since)
        });
        probes
    }

    /// The probe that went down first of those that are down: where to look before anything else.
    pub fn first_red(&self) -> Option<&ProbeId> {
        let down = self.probes.iter().filter(|(_, it)| it.health() == Health::Down);
        down.min_by_key(|(_, it)| it.since()).map(|(id, _)| id)
    }
}
