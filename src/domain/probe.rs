//! Probe outcomes and the health derived from them: k-of-n windows, backdated starts, degradation.
//!
//! [`outcome`] is one run's result, [`health`] derives a state from many, [`expect`] is the language in
//! which the config says what must hold. Here they meet: what is known of every probe, folded from facts.

pub mod baseline;
pub mod beside;
pub mod expect;
pub mod flap;
pub mod health;
pub mod heartbeat;
pub mod history;
pub mod holding;
pub mod judge;
pub mod nagios;
pub mod outcome;
pub mod perfdata;
pub mod slo;
mod state;
pub mod tally;
pub mod waterfall;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::alert::Severity;
use crate::domain::format;
use crate::domain::ids::ProbeId;
use crate::domain::probe::baseline::Baseline;
use crate::domain::probe::flap::FlapWindow;
use crate::domain::probe::health::{Health, HealthMachine, Thresholds};
use crate::domain::probe::holding::CanaryPart;
use crate::domain::probe::outcome::{Outcome, ProbeResult, Trouble};
use crate::domain::probe::slo::SloLog;

/// Outcomes kept of one probe: a sparkline as wide as a wide screen has room for, and a page of details.
pub const OUTCOMES_MAX: usize = 60;

/// Times kept at which runs were missed, the newest: what `explain` lists.
const MISSES_MAX: usize = 16;

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
    /// `notify = []`: nobody is to be told, and that is meant.
    #[serde(default)]
    pub untold: bool,
    /// How bad it is when it is down.
    pub severity: Severity,
    /// For matchers and messages.
    pub labels: BTreeMap<String, String>,
    /// Looks at something that fails only when this host is cut off.
    pub canary: bool,
    /// Looked at without leaving this host or its network, so that it counts also while this host is cut off; `None`
    /// goes by the kind and the address.
    #[serde(default)]
    pub near: Option<bool>,
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
    /// How often it turned lately.
    #[serde(default)]
    pub flaps: FlapWindow,
    /// What came of its promise.
    #[serde(default)]
    pub slo: SloLog,
    /// How slow it usually is.
    #[serde(default)]
    pub baseline: Baseline,
    /// A canary's part in telling that this host is cut off.
    #[serde(default)]
    pub part: CanaryPart,
    /// The last trouble of each kind of result.
    #[serde(default)]
    pub troubles: Vec<(ProbeResult, Trouble)>,
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

/// What a sparkline needs of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glimpse(
    /// What the run found.
    pub ProbeResult,
    /// How long it took, in microseconds.
    pub u64,
);

impl Glimpse {
    /// What of an outcome is seen at a glance.
    pub fn of(outcome: &Outcome) -> Self {
        Self(outcome.result, u64::try_from(outcome.total().as_micros()).unwrap_or(u64::MAX))
    }
}

/// What is known of one probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeState {
    /// How it is checked.
    pub setup: ProbeSetup,
    /// Those before `outcomes`: of an earlier run, and, as far as a screen that has just come knows them, those that are
    /// under way to it. Together they are at most [`OUTCOMES_MAX`].
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub glimpses: VecDeque<Glimpse>,
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
    /// When runs were missed and how many, oldest first; the last few.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub misses: VecDeque<(Timestamp, u32)>,
    /// The last run in which everything held: what a failure is compared with.
    #[serde(default)]
    pub last_good: Option<Arc<Outcome>>,
    health: HealthMachine,
    #[serde(default)]
    flaps: FlapWindow,
    #[serde(default)]
    slo: SloLog,
    #[serde(default)]
    baseline: Baseline,
    #[serde(default)]
    part: CanaryPart,
    // The last trouble of each kind of result, oldest first: three at most.
    #[serde(default)]
    troubles: Vec<(ProbeResult, Trouble)>,
}

/// What the board knows of probes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeBoard {
    probes: BTreeMap<ProbeId, ProbeState>,
    /// Of an earlier run, until the config names the probe.
    #[serde(default)]
    kept: BTreeMap<ProbeId, ProbeKept>,
    /// What their last runs found, until then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    kept_glimpses: BTreeMap<ProbeId, Vec<Glimpse>>,
    /// Those that tell whether this host is cut off.
    #[serde(default)]
    canaries: BTreeSet<ProbeId>,
    /// From when until when nobody watched before this start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unwatched: Option<Unwatched>,
}

/// A time in which nothing ran that watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unwatched {
    /// The last run of any probe before.
    pub from: Timestamp,
    /// The start after it.
    pub until: Timestamp,
}

/// The last runs that are known of before a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRuns {
    /// The newest of any probe.
    pub newest: Timestamp,
    /// The one before it of the same probe.
    pub before: Option<Timestamp>,
}

/// A start sooner than this after the last run was a restart.
const UNWATCHED_MIN: SignedDuration = SignedDuration::from_mins(1);

impl Unwatched {
    /// Between the last run before a start and the start; `None` when no other was due meanwhile.
    fn before(until: Timestamp, last: LastRuns) -> Option<Self> {
        let LastRuns { newest: from, before } = last;
        // Where all probes run seldom, the last run may be long ago although somebody watched.
        let pause = before.map_or(SignedDuration::ZERO, |it| from.duration_since(it));
        (until.duration_since(from) > UNWATCHED_MIN.max(pause)).then_some(Self { from, until })
    }

    /// In words.
    pub fn text(&self) -> String {
        let Self { from, until } = self;
        let length = format::duration(format::since(*until, *from));
        format!("nobody watched from {from:.0} until {until:.0} ({length}): nothing was probed and nobody was paged")
    }
}

impl ProbeBoard {
    /// Takes back what was kept before a restart.
    pub fn restore(&mut self, probes: Vec<(ProbeId, ProbeKept)>) {
        for (probe, kept) in probes {
            match self.probes.get_mut(&probe) {
                // What was seen since then is worth more.
                Some(state) if !state.outcomes.is_empty() => {}
                Some(state) => state.take_back(kept),
                None => {
                    self.kept.insert(probe, kept);
                }
            }
        }
    }

    /// Takes note of the time before a start in which nobody watched; `None` when it was none, or is known already.
    pub fn start(&mut self, now: Timestamp, last: LastRuns) -> Option<Unwatched> {
        if self.unwatched.is_some() {
            return None;
        }
        // When the store was read late somebody has watched for a while by now.
        let first = self.probes.values().filter_map(|it| Some(it.outcomes.front()?.at)).min();
        self.unwatched = Unwatched::before(first.map_or(now, |it| it.min(now)), last);
        self.unwatched
    }

    /// From when until when nobody watched before this start.
    pub fn unwatched(&self) -> Option<Unwatched> {
        self.unwatched
    }

    /// Takes back what the last runs before a restart found.
    pub fn recall(&mut self, glimpses: Vec<(ProbeId, Vec<Glimpse>)>) {
        for (probe, mut glimpses) in glimpses {
            if self.unwatched.is_some() {
                // A blank, so that what was seen before it does not run on into what is seen now.
                glimpses.push(Glimpse(ProbeResult::Unknown, 0));
            }
            match self.probes.get_mut(&probe) {
                Some(state) => state.recall(&glimpses),
                None => {
                    self.kept_glimpses.insert(probe, glimpses);
                }
            }
        }
    }

    /// What was kept of probes that the config has not named so far, or of those that it has.
    pub fn kept(&self) -> Vec<(ProbeId, ProbeKept)> {
        let seen = self.probes.iter().map(|(probe, state)| (probe.clone(), state.kept()));
        seen.chain(self.kept.iter().map(|(probe, kept)| (probe.clone(), kept.clone()))).collect()
    }

    /// Folds one fact in and says which health changed.
    pub fn apply(&mut self, now: Timestamp, fact: &ProbeFact) -> Vec<Flip> {
        match fact {
            ProbeFact::Configured { probe, setup } => self.configure(probe, setup),
            ProbeFact::Removed { probe } => {
                self.probes.remove(probe);
                if self.canaries.remove(probe) {
                    self.look_at_canaries(now);
                }
            }
            ProbeFact::Outcome { probe, outcome, next } => return self.apply_outcome(probe, outcome, *next),
            ProbeFact::Asked { probe } => self.change(probe, |it| it.asked = true),
            ProbeFact::Missed { probe, at, count } => self.change(probe, |it| {
                it.missed += u64::from(*count);
                it.missed_at = Some(*at);
                if it.misses.len() >= MISSES_MAX {
                    it.misses.pop_front();
                }
                it.misses.push_back((*at, *count));
            }),
            ProbeFact::Burst { probe, until } => self.change(probe, |it| it.burst_until = *until),
            ProbeFact::Acknowledged { probe, by, at } => return self.acknowledge(probe, by, *at).into_iter().collect(),
        }
        Vec::new()
    }

    fn configure(&mut self, probe: &ProbeId, setup: &ProbeSetup) {
        match self.probes.get_mut(probe) {
            Some(state) => {
                state.health.set_thresholds(setup.thresholds);
                state.setup.clone_from(setup);
            }
            None => {
                let mut state = ProbeState::new(setup.clone());
                if let Some(kept) = self.kept.remove(probe) {
                    state.take_back(kept);
                }
                if let Some(glimpses) = self.kept_glimpses.remove(probe) {
                    state.recall(&glimpses);
                }
                self.probes.insert(probe.clone(), state);
            }
        }
        if setup.rules.canary {
            self.canaries.insert(probe.clone());
        } else if self.canaries.remove(probe) {
            self.change(probe, |it| it.part = CanaryPart::No);
        }
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

    /// Nobody has it any more.
    pub(crate) fn unmark(&mut self, probe: &ProbeId) {
        self.change(probe, |it| it.acked = None);
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
        let turn = state.take_in(outcome.clone());
        let flips = turn.map(|turn| Flip { probe: probe.clone(), since: turn.since, text: state.flip_text(turn) });
        if self.canaries.contains(probe) {
            self.look_at_canaries(outcome.at);
        }
        flips.into_iter().collect()
    }

    /// Takes over what another board knows of a probe, and of the canaries that it may have moved.
    ///
    /// For a board of several hosts, which is only drawn: whether a host is cut off is a matter of its own board.
    pub fn copy(&mut self, from: &ProbeBoard, probe: &ProbeId) {
        for probe in std::iter::once(probe).chain(&from.canaries) {
            match from.probes.get(probe) {
                Some(state) => {
                    self.probes.insert(probe.clone(), state.clone());
                }
                None => {
                    self.probes.remove(probe);
                }
            }
        }
    }

    /// Leaves of past outcomes what is drawn of a list of probes: most of a board are those.
    pub fn shorten(&mut self) {
        self.probes.values_mut().for_each(ProbeState::shorten);
    }

    /// Puts outcomes of a probe in the place of glimpses.
    pub fn fill(&mut self, probe: &ProbeId, outcomes: &[Arc<Outcome>]) {
        self.change(probe, |it| it.fill(outcomes));
    }

    /// Takes over all probes of another board, as [`Self::copy`] does one.
    pub fn copy_all(&mut self, from: &ProbeBoard) {
        self.probes.extend(from.probes.iter().map(|(probe, state)| (probe.clone(), state.clone())));
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

#[cfg(test)]
mod tests;
