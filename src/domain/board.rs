//! What is known, as a deterministic fold over facts: shared by the screen, the agent and the tests.

pub mod earlier;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::policy::AlertBoard;
use crate::domain::alert::{AlertFact, Change};
use crate::domain::backup::BackupBoard;
use crate::domain::board::earlier::{About, Earlier};
use crate::domain::config_error::ConfigError;
use crate::domain::effect::Effect;
use crate::domain::fact::{Actor, Envelope, Fact, RuntimeFact};
use crate::domain::ids::{HostId, IncidentId, ProbeId};
use crate::domain::incident::board::IncidentBoard;
use crate::domain::incident::entry::EntryBody;
use crate::domain::incident::fold::Incident;
use crate::domain::incident::{MachineEntry, MachineKind};
use crate::domain::log::LogBoard;
use crate::domain::presence::Presence;
use crate::domain::probe::health::Health;
use crate::domain::probe::{ProbeBoard, ProbeFact, ProbeState, Sample, Unwatched};

/// Everything known to a runtime. Equal facts in equal order give equal boards.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Board {
    /// Whose board this is.
    #[serde(default)]
    pub host: Option<HostId>,
    /// Of a board that is drawn of several hosts: each of them, and since when it is lost. Empty on a host's own board.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<HostId, Option<Timestamp>>,
    /// `seq` of the last fact folded in.
    pub seq: u64,
    /// Probes and their health.
    pub probes: ProbeBoard,
    /// Alerts: who was told of what.
    #[serde(default)]
    pub alerts: AlertBoard,
    /// Why nothing is kept over a restart just now, when that is so.
    #[serde(default)]
    pub not_durable: Option<String>,
    /// What was told and done about alerts lately, for an incident that is declared after it.
    #[serde(default, skip_serializing_if = "Earlier::is_empty")]
    pub earlier: Earlier,
    /// Log sources, without their text.
    pub logs: LogBoard,
    /// Backup jobs and their history.
    pub backups: BackupBoard,
    /// Incidents and their entries.
    pub incidents: IncidentBoard,
    /// Who is here.
    #[serde(default)]
    pub presence: Presence,
    /// The config in use.
    pub config: ConfigStatus,
    /// Who holds the state directory when it is not this runtime.
    pub standby: Option<String>,
    /// It was told to end, and what it waits for.
    #[serde(default)]
    pub stopping: Option<Stopping>,
    /// Agents that wait to hold the state directory, by their process ids.
    #[serde(default)]
    pub waiting: Vec<u32>,
    /// What does not work and is not started again by itself, in words, by service.
    #[serde(default)]
    pub failures: BTreeMap<String, String>,
}

/// A runtime that was told to end and lets something end before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// What it waits for, in words.
    pub waits_for: String,
    /// It waits no longer than this.
    pub until: Timestamp,
}

/// A silence or maintenance that a person ends.
struct Ended {
    subject: String,
    by: String,
    about: About,
}

/// Services that can be named in [`Board::failures`]: there are fewer.
const FAILURES_MAX: usize = 32;

/// A declaration younger than this many seconds is news; an older one was read from disk at the start.
const JUST_DECLARED_S: i64 = 10;

/// Incidents that are read within this many seconds of a start belong to it.
const STARTING_S: i64 = 30;

/// Says in a timeline that nobody watched.
fn tell_unwatched(incident: &Incident, unwatched: &Unwatched) -> Effect {
    let (at, kind, subject) = (unwatched.until, MachineKind::Alert, "hotseat".to_string());
    let entry = MachineEntry { at, kind, subject, text: unwatched.text(), by: None };
    Effect::AppendMachineEntry { incident: incident.id.clone(), entry }
}

/// The config in use and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// The file, or `None` when there is none.
    pub path: Option<String>,
    /// Entries that were left out.
    pub errors: Vec<ConfigError>,
    /// The file on disk was changed to something that could not be taken into use.
    pub rejected: Vec<ConfigError>,
    /// Tells the text in use from another one, where that is known.
    #[serde(default)]
    pub digest: Option<String>,
}

impl Board {
    /// Folds one fact in and says what the world should do about it.
    ///
    /// `now` is the envelope's time in a replay and the clock's otherwise. A replay discards the effects.
    pub fn apply(&mut self, now: Timestamp, envelope: &Envelope) -> Vec<Effect> {
        self.fold(now, envelope).0
    }

    /// As [`Board::apply`], and what turned, in words: what a timeline says of it.
    pub fn fold(&mut self, now: Timestamp, envelope: &Envelope) -> (Vec<Effect>, Vec<MachineEntry>) {
        self.seq = envelope.seq;
        let by_hand = self.by_hand(now, envelope);
        let mut entries: Vec<MachineEntry> = Vec::new();
        let mut told = Vec::new();
        let mut effects = Vec::new();
        if let Some((entry, about)) = by_hand {
            self.earlier.keep(entry.clone(), about);
            entries.push(entry);
        }
        match &envelope.fact {
            Fact::Probe(fact) => {
                let flips = self.probes.apply(now, fact);
                // A mark is what a person did, and told as that.
                for flip in flips.into_iter().filter(|_| !matches!(fact, ProbeFact::Acknowledged { .. })) {
                    entries.push(MachineEntry {
                        at: flip.since,
                        kind: MachineKind::Probe,
                        subject: flip.probe.to_string(),
                        text: flip.text,
                        by: None,
                    });
                }
                effects.extend(self.after_probe_fact(now, fact, &mut told));
            }
            Fact::Alert(fact) => {
                let ended = self.ended_by_hand(envelope);
                if let AlertFact::Unacknowledged { probe, .. } = fact {
                    self.probes.unmark(probe);
                }
                let change = self.alerts.apply(now, fact, &self.probes);
                effects.extend(self.commit(change, ended, &mut told));
            }
            Fact::Log(fact) => self.logs.apply(fact),
            Fact::Backup(fact) => {
                for news in self.backups.apply(now, fact) {
                    let text = match &envelope.actor {
                        Actor::Person(by) => format!("{}, asked for by {by}", news.text),
                        Actor::Runtime => news.text,
                    };
                    let subject = news.job.to_string();
                    entries.push(MachineEntry { at: news.at, kind: MachineKind::Backup, subject, text, by: None });
                }
            }
            Fact::Incident(fact) => {
                let before = self.incidents.open();
                self.incidents.apply(now, fact);
                effects = self.told_so_far(now, &before);
                effects.extend(self.unwatched_so_far(now, &before));
            }
            Fact::Presence(fact) => self.presence.apply(now, fact),
            Fact::Runtime(fact) => {
                let unwatched = match fact {
                    RuntimeFact::Restored(restored) => restored.last_runs.and_then(|it| self.probes.start(now, it)),
                    _ => None,
                };
                self.apply_runtime(now, fact);
                if let Some(unwatched) = unwatched {
                    effects.extend(self.incidents.open_incidents().map(|it| tell_unwatched(it, &unwatched)));
                }
            }
        }
        let open = self.incidents.open();
        let effect = |entry: &MachineEntry| {
            open.iter()
                .filter(|incident| !self.is_told(incident, entry))
                .map(|incident| Effect::AppendMachineEntry { incident: incident.clone(), entry: entry.clone() })
                .collect::<Vec<_>>()
        };
        effects.extend(entries.iter().flat_map(effect));
        entries.extend(told);
        (effects, entries)
    }

    /// True on a board that is drawn of several hosts: a row then says its host.
    pub fn is_of_several(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// Since when the host of a row is lost, on a board of several.
    pub fn lost_since(&self, host: &str) -> Option<Timestamp> {
        self.hosts.iter().find(|(it, _)| it.as_str() == host).and_then(|(_, since)| *since)
    }

    /// Of several hosts those that are lost, and since when.
    pub fn lost_hosts(&self) -> impl Iterator<Item = (&HostId, Timestamp)> {
        self.hosts.iter().filter_map(|(host, since)| Some((host, (*since)?)))
    }

    /// The probes of hosts that are not lost: what is known of them holds now.
    pub fn live_probes(&self) -> impl Iterator<Item = (&ProbeId, &ProbeState)> {
        self.probes.iter().filter(|(id, _)| self.lost_since(id.host()).is_none())
    }

    /// How many probes have this health now.
    pub fn count(&self, health: Health) -> usize {
        self.live_probes().filter(|(_, it)| it.health() == health).count()
    }

    /// The probe that went down first of those that are down now: where to look before anything else.
    pub fn first_red(&self) -> Option<&ProbeId> {
        let down = self.live_probes().filter(|(_, it)| it.health() == Health::Down);
        down.min_by_key(|(_, it)| it.since()).map(|(id, _)| id)
    }

    /// How a row names something: with its host in front on a board of several.
    pub fn row_name(&self, host: &str, name: &str) -> String {
        if self.is_of_several() { format!("{host}:{name}") } else { name.to_string() }
    }

    /// How many incidents are open beside one, and, on a board of several hosts, where: ` on web-1`.
    pub fn open_beside(&self, shown: &IncidentId) -> (usize, String) {
        let others = || self.incidents.open_incidents().filter(|it| it.id != *shown);
        let hosts: BTreeSet<&str> = others().map(|it| it.id.host()).collect();
        let place = match hosts.iter().collect::<Vec<_>>().as_slice() {
            _ if !self.is_of_several() => String::new(),
            [] => String::new(),
            [host] => format!(" on {host}"),
            many => format!(" on {} hosts", many.len()),
        };
        (others().count(), place)
    }

    /// Who has seen what is the matter with a probe, by a mark on the probe or on one of its alerts.
    pub fn seen_by(&self, probe: &ProbeId) -> Option<&str> {
        let on_probe = self.probes.get(probe).and_then(|it| it.acked.as_ref()).map(|it| it.by.as_str());
        on_probe.or_else(|| self.alerts.open(probe).find_map(|it| it.acked.as_ref()).map(|it| it.by.as_str()))
    }

    /// What a person did about probes and alerts, for the timeline, and what it is about; `None` for what was there
    /// before.
    fn by_hand(&self, now: Timestamp, envelope: &Envelope) -> Option<(MachineEntry, About)> {
        let Actor::Person(person) = &envelope.actor else { return None };
        let did = |at, subject: &str, text, about| {
            let (subject, by) = (subject.to_string(), Some(person.clone()));
            Some((MachineEntry { at, kind: MachineKind::Alert, subject, text, by }, about))
        };
        let on = |probe: &ProbeId| About::Probes(vec![probe.clone()]);
        match &envelope.fact {
            // A mark that is read back from the disk at a start was told when it was set.
            Fact::Probe(ProbeFact::Acknowledged { probe, by, at }) => {
                let state = self.probes.get(probe).filter(|it| it.health() != Health::Up)?;
                let is_known = state.acked.as_ref().is_some_and(|it| it.by == *by);
                let is_new = now.duration_since(*at).as_secs().abs() < JUST_DECLARED_S;
                let text = format!("acknowledged by {by}");
                (is_new && !is_known).then(|| did(*at, probe.as_str(), text, on(probe)))?
            }
            // Without an end the mark on the probe says it.
            Fact::Alert(AlertFact::Acknowledged { probe, ack }) => {
                let until = ack.until?;
                did(ack.at, probe.as_str(), format!("acknowledged by {} until {until:.0}", ack.by), on(probe))
            }
            Fact::Alert(AlertFact::Unacknowledged { probe, by, at }) => {
                self.seen_by(probe)?;
                did(*at, probe.as_str(), format!("acknowledgement taken back by {by}"), on(probe))
            }
            Fact::Alert(AlertFact::Silenced(it)) => {
                did(now, "silence", earlier::silenced(it), About::Matching(it.matchers.clone()))
            }
            Fact::Alert(AlertFact::Maintained(it)) => {
                let about = About::Matching(it.matchers.clone());
                did(now, "maintenance", format!("`{}` planned by {}", it.name, it.by), about)
            }
            _ => None,
        }
    }

    /// What a person ends: the subject of the line that says so, who, and what it is about.
    fn ended_by_hand(&self, envelope: &Envelope) -> Option<Ended> {
        let Actor::Person(by) = &envelope.actor else { return None };
        let (subject, matchers) = match &envelope.fact {
            Fact::Alert(AlertFact::Unsilenced { id, .. }) => {
                (id, &self.alerts.silences().find(|it| it.id == *id)?.matchers)
            }
            Fact::Alert(AlertFact::MaintenanceEnded { name, .. }) => {
                (name, &self.alerts.maintenances().find(|it| it.name == *name)?.matchers)
            }
            _ => return None,
        };
        Some(Ended { subject: subject.clone(), by: by.clone(), about: About::Matching(matchers.clone()) })
    }

    /// True for the first result after a start that is what the timeline says last of this probe.
    ///
    /// A screen that is opened again has seen nothing turn; each opening would else add a row.
    fn is_told(&self, incident: &IncidentId, entry: &MachineEntry) -> bool {
        let state = |text: &str| {
            let text = text.split_once("-> ").map_or(text, |(_, it)| it);
            text.split_once(':').map_or(text, |(it, _)| it).to_string()
        };
        let last = self.incidents.get(incident).and_then(|it| {
            it.entries.iter().rev().find_map(|it| match &it.body {
                EntryBody::Probe { subject, text } if *subject == entry.subject => Some(state(text)),
                _ => None,
            })
        });
        entry.text.starts_with("unknown -> ") && last == Some(state(&entry.text))
    }

    /// An incident that a start reads after it is known that nobody had watched is told so as well.
    fn unwatched_so_far(&self, now: Timestamp, before: &[IncidentId]) -> Vec<Effect> {
        let Some(unwatched) = self.probes.unwatched() else { return Vec::new() };
        if now.duration_since(unwatched.until).as_secs() >= STARTING_S {
            return Vec::new();
        }
        let open = self.incidents.open_incidents();
        let read = open.filter(|it| !before.contains(&it.id) && it.declared_at < unwatched.until);
        read.map(|it| tell_unwatched(it, &unwatched)).collect()
    }

    /// What an incident that was declared just now must be told: the probes that are red already, and what was told and
    /// done about them since.
    ///
    /// People declare after the machines have seen it; without this the timeline would begin with the
    /// declaration instead of with the first red.
    fn told_so_far(&self, now: Timestamp, before: &[IncidentId]) -> Vec<Effect> {
        let is_new = |it: &&Incident| {
            !before.contains(&it.id) && now.duration_since(it.declared_at).as_secs().abs() < JUST_DECLARED_S
        };
        let mut effects = Vec::new();
        for incident in self.incidents.open_incidents().filter(is_new) {
            for (probe, state) in self.probes.red_first() {
                let (Health::Down, Some(since)) = (state.health(), state.since()) else { continue };
                let why = state.why().map(|it| format!(": {}", it.brief)).unwrap_or_default();
                let entry = MachineEntry {
                    at: since,
                    kind: MachineKind::Probe,
                    subject: probe.to_string(),
                    text: format!("down{why}"),
                    by: None,
                };
                effects.push(Effect::AppendMachineEntry { incident: incident.id.clone(), entry });
            }
            let noted = earlier::notes(&self.incidents, incident, &self.probes);
            for entry in self.earlier.since_red(&self.probes).into_iter().cloned().chain(noted) {
                effects.push(Effect::AppendMachineEntry { incident: incident.id.clone(), entry });
            }
        }
        effects
    }

    /// Records an outcome and has the alert policy look at the probe it is about.
    fn after_probe_fact(&mut self, now: Timestamp, fact: &ProbeFact, told: &mut Vec<MachineEntry>) -> Vec<Effect> {
        let probe = fact.probe();
        let mut effects = Vec::new();
        if let (ProbeFact::Outcome { next, .. }, Some(state)) = (fact, self.probes.get(probe))
            && let Some(outcome) = state.outcomes.back().cloned()
        {
            let sample = Sample { probe: probe.clone(), outcome, next: *next, kept: state.kept() };
            effects.push(Effect::Record(Box::new(sample)));
        }
        let change = self.alerts.observe(now, probe, &self.probes);
        effects.extend(self.commit(change, None, told));
        effects
    }

    /// What a change of the alerts asks of the world: to be kept and sent, and told to the open incidents.
    fn commit(&mut self, change: Change, ended: Option<Ended>, told: &mut Vec<MachineEntry>) -> Vec<Effect> {
        if change.is_empty() {
            return Vec::new();
        }
        let mut effects = Vec::new();
        for it in &change.told {
            let (subject, text) = (it.subject.clone(), it.text.clone());
            let (by, about) = match ended.as_ref().filter(|ended| ended.subject == subject) {
                Some(ended) => (Some(ended.by.clone()), ended.about.clone()),
                None => (None, earlier::about(&subject, &self.alerts, &self.probes)),
            };
            let entry = MachineEntry { at: it.at, kind: MachineKind::Alert, subject, text, by };
            for incident in self.incidents.open() {
                effects.push(Effect::AppendMachineEntry { incident, entry: entry.clone() });
            }
            self.earlier.keep(entry.clone(), about);
            told.push(entry);
        }
        effects.push(Effect::Commit(Box::new(change)));
        effects
    }

    fn apply_runtime(&mut self, now: Timestamp, fact: &RuntimeFact) {
        match fact {
            RuntimeFact::Restored(restored) => {
                self.probes.restore(restored.probes.clone());
                self.probes.recall(restored.glimpses.clone());
                self.alerts.restore(&restored.alerts);
                self.earlier.restore(restored, &self.alerts);
                if restored.lost {
                    self.alerts.number_from(now);
                }
            }
            RuntimeFact::NotDurable { why } => self.not_durable.clone_from(why),
            RuntimeFact::ConfigLoaded { path, errors, digest } => {
                self.config = ConfigStatus {
                    path: path.clone(),
                    errors: errors.clone(),
                    rejected: Vec::new(),
                    digest: digest.clone(),
                };
            }
            RuntimeFact::ConfigRejected { errors } => self.config.rejected.clone_from(errors),
            // What is started again passes by as a notice; the rest stays in sight.
            RuntimeFact::ServiceFailed { service, error, retry_s: 0 } if self.failures.len() < FAILURES_MAX => {
                self.failures.insert(service.clone(), error.clone());
            }
            RuntimeFact::ServiceFailed { .. } => {}
            RuntimeFact::ServiceWorks { service } => {
                self.failures.remove(service);
            }
            RuntimeFact::Standby { holder } => self.standby = Some(holder.clone()),
            RuntimeFact::Active => self.standby = None,
            RuntimeFact::Stopping { waits_for, until } => {
                self.stopping = Some(Stopping { waits_for: waits_for.clone(), until: *until });
            }
            RuntimeFact::Waiting { agents } => self.waiting.clone_from(agents),
        }
    }
}
