//! Decides who is told what and when: a fold over facts, with time told to it.
//!
//! An alert begins when a concern of a probe appears and ends when it is gone. While it is loud (not held
//! back, not acknowledged) it has a contact for each notifier that its probe names; what a contact is to hear
//! waits in the notifier's lane, where several things become one message. Everything that decides is kept as
//! rows, so that a restart at any point changes nothing of what is told.

pub mod alert;
mod anchor;
pub mod common;
mod deliver;
mod forward;
mod handover;
mod hear;
mod join;
pub mod keep;
pub mod lane;
pub mod rest;
#[cfg(test)]
mod tests;
pub mod trail;
mod twins;
mod unite;
pub(super) mod untold;
pub mod waiting;
mod weigh;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::alert::delivery::Action;
use crate::domain::alert::policy::alert::{Alert, Subject, Why};
pub use crate::domain::alert::policy::deliver::{NotifierState, Out};
use crate::domain::alert::policy::keep::Row;
use crate::domain::alert::policy::lane::Lane;
use crate::domain::alert::policy::trail::Trail;
use crate::domain::alert::quiet::{self, Maintenance, Matcher, Silence};
use crate::domain::alert::rota::Turn;
use crate::domain::alert::rules::AlertRules;
use crate::domain::alert::{Acknowledgement, AlertFact, Change, Concern, ConcernState, Hold, Severity};
use crate::domain::ids::ProbeId;
use crate::domain::probe::health::Health;
use crate::domain::probe::{ProbeBoard, ProbeState};

/// Bytes of the probe's part of a key: room for the host and the number below `KEY_MAX_BYTES`.
const KEY_NAME_MAX_BYTES: usize = 160;
/// After a restart, alerts of probes that the config does not name by then are over.
const ORPHAN_AFTER: SignedDuration = SignedDuration::from_secs(120);
/// Alerts kept, also those that are over and not settled; a notifier that never answers must not fill the memory.
const ALERTS_MAX: usize = 10_000;

/// What the policy knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertBoard {
    rules: AlertRules,
    // Nothing is decided before the rules are known: after a start the probes may come first.
    configured: bool,
    restored: bool,
    orphans_at: Option<Timestamp>,
    alerts: BTreeMap<String, Alert>,
    trails: BTreeMap<ProbeId, Trail>,
    lanes: BTreeMap<String, Lane>,
    outs: BTreeMap<String, Out>,
    silences: BTreeMap<String, Silence>,
    maintenances: BTreeMap<String, Maintenance>,
    notifiers: BTreeMap<String, NotifierState>,
    // Common causes so far: part of their keys.
    commons: u64,
    // What is new is numbered above this: not 0 when an earlier run is known in part only.
    numbers_from: u64,
    // Keys of alerts that wait for a probe. One may wait no longer: it is asked when that probe turns.
    waiters: BTreeMap<ProbeId, BTreeSet<String>>,
    // When it was last told the time: a clock that is earlier by then was put back.
    told_at: Option<Timestamp>,
    // Never later than the least of what is due, and not long before it.
    wake: Option<Timestamp>,
}

/// One call: what it sees and what it changes.
struct Run<'a> {
    now: Timestamp,
    probes: &'a ProbeBoard,
    change: Change,
    dirty: BTreeSet<Row>,
    quiets: OnceCell<Vec<Quiet>>,
    // Who is on call now, by rotation, as far as it was asked.
    turns: BTreeMap<String, Option<Turn>>,
    // Keys of alerts of which a message was settled: there may be nothing more to hear of them.
    settled: BTreeSet<String>,
    // An alert is over, or nobody has it any more: that somebody had seen it may wait to be told in vain.
    unseen: bool,
    // The rules are other ones: everything may be due at another time.
    has_rules: bool,
}

/// A silence or maintenance that holds now.
#[derive(Debug, Clone, PartialEq)]
pub struct Quiet {
    /// Which.
    pub why: Why,
    /// Until when.
    pub until: Timestamp,
    /// Who made it.
    pub by: String,
    /// Whom it is about.
    matchers: Vec<Matcher>,
}

impl AlertBoard {
    /// Folds a fact about alerts in.
    pub fn apply(&mut self, now: Timestamp, fact: &AlertFact, probes: &ProbeBoard) -> Change {
        let mut run = Run::new(now, probes);
        self.anchor(&mut run);
        // What was due before this fact is decided as if time had been told in time.
        self.pass_time(&mut run);
        match fact {
            AlertFact::Configured { rules } => self.configure(&mut run, rules),
            AlertFact::Tick { .. } | AlertFact::Rang(_) => {}
            AlertFact::Silenced(silence) => {
                run.keep(Row::Silence(silence.id.clone()));
                self.silences.insert(silence.id.clone(), silence.clone());
                self.forward(&mut run, silence, Action::Silence);
                self.weigh_all(&mut run);
            }
            AlertFact::Unsilenced { id, by, .. } => {
                if let Some(silence) = self.silences.remove(id) {
                    run.keep(Row::Silence(id.clone()));
                    run.tell(id, format!("silence `{}` ended by {by}", silence.what()));
                    self.forward(&mut run, &silence, Action::Unsilence);
                    self.weigh_all(&mut run);
                }
            }
            AlertFact::Maintained(maintenance) => {
                run.keep(Row::Maintenance(maintenance.name.clone()));
                self.maintenances.insert(maintenance.name.clone(), maintenance.clone());
                self.weigh_all(&mut run);
            }
            AlertFact::MaintenanceEnded { name, by, .. } => {
                if self.maintenances.remove(name).is_some() {
                    run.keep(Row::Maintenance(name.clone()));
                    run.tell(name, format!("maintenance `{name}` ended by {by}"));
                    self.weigh_all(&mut run);
                }
            }
            AlertFact::Acknowledged { probe, ack } => self.acknowledge_probe(&mut run, probe, ack),
            AlertFact::Unacknowledged { probe, by, .. } => self.unacknowledge_probe(&mut run, probe, by),
            AlertFact::Delivery(news) => self.hear(&mut run, news),
        }
        self.finish(run)
    }

    /// Looks at a probe after a fact about it was folded in.
    pub fn observe(&mut self, now: Timestamp, probe: &ProbeId, probes: &ProbeBoard) -> Change {
        if !self.configured {
            return Change::default();
        }
        let mut run = Run::new(now, probes);
        self.anchor(&mut run);
        self.pass_time(&mut run);
        self.look(&mut run, probe);
        self.finish(run)
    }

    /// When something is due that no fact brings: a reminder, the end of a wait, of a silence, of a window.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.wake
    }

    /// True once the rules were told; before that nothing is decided.
    pub fn is_configured(&self) -> bool {
        self.configured
    }

    /// The rules in use.
    pub fn rules(&self) -> &AlertRules {
        &self.rules
    }

    /// Everything that is the matter or is not settled yet, by key; each trouble once.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values().filter(|it| it.twin.is_none())
    }

    /// One alert, by its key.
    pub fn alert(&self, key: &str) -> Option<&Alert> {
        self.alerts.get(key)
    }

    /// What is the matter with a probe now; each concern once.
    pub fn open(&self, probe: &ProbeId) -> impl Iterator<Item = &Alert> {
        self.open_all(probe).filter(|it| it.twin.is_none())
    }

    /// The same with those that are told as another one.
    fn open_all(&self, probe: &ProbeId) -> impl Iterator<Item = &Alert> {
        let keys = self.trails.get(probe).into_iter().flat_map(|it| it.open.values().chain(&it.twins));
        keys.filter_map(|it| self.alerts.get(it))
    }

    /// Silences of the config and of people, also those that have not begun.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.rules.silences.iter().chain(self.silences.values())
    }

    /// Maintenances of the config and of people.
    pub fn maintenances(&self) -> impl Iterator<Item = &Maintenance> {
        self.rules.maintenances.iter().chain(self.maintenances.values())
    }

    /// The silence or maintenance that holds a probe's alerts back now.
    pub fn quiet(&self, now: Timestamp, probe: &ProbeId, probes: &ProbeBoard) -> Option<Quiet> {
        let labels = labels(probe, probes.get(probe)?);
        self.quiets(now).into_iter().find(|it| quiet::all_fit(&it.matchers, &labels))
    }

    /// What waits for a notifier.
    pub fn lane(&self, notifier: &str) -> Option<&Lane> {
        self.lanes.get(notifier)
    }

    /// How each notifier is doing, by name; one that was never used is not there.
    pub fn notifiers(&self) -> &BTreeMap<String, NotifierState> {
        &self.notifiers
    }

    /// What people could not be told so far: what waits in a lane, and messages decided that are neither taken by their
    /// channel nor given up.
    pub fn unsent(&self) -> usize {
        self.backlog().values().sum()
    }

    /// Messages decided and neither taken by their channel nor given up, by their ids.
    pub fn outs(&self) -> &BTreeMap<String, Out> {
        &self.outs
    }

    /// Messages that their channel refuses as they are: who should hear of them does not, the oldest first.
    pub fn refused(&self) -> Vec<&Out> {
        let mut refused: Vec<&Out> = self.outs.values().filter(|it| it.refused).collect();
        refused.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.notifier.cmp(&b.notifier)));
        refused
    }

    /// What is kept of a probe for `explain`.
    pub fn trail(&self, probe: &ProbeId) -> Option<&Trail> {
        self.trails.get(probe)
    }

    fn configure(&mut self, run: &mut Run<'_>, rules: &AlertRules) {
        self.rules.clone_from(rules);
        run.has_rules = true;
        run.turns.clear();
        let is_late = std::mem::replace(&mut self.configured, true);
        if std::mem::take(&mut self.restored) {
            self.orphans_at = Some(run.now + ORPHAN_AFTER);
            if is_late {
                self.join_twins(run);
                self.keep_all(run);
            } else {
                self.keep_lanes(run);
            }
        }
        let probes = run.probes;
        for (probe, _) in probes.iter() {
            self.look(run, probe);
        }
        self.weigh_all(run);
    }

    /// Does what was due without news.
    fn pass_time(&mut self, run: &mut Run<'_>) {
        if !self.configured || self.wake.is_none_or(|it| it > run.now) {
            return;
        }
        if self.orphans_at.is_some_and(|it| it <= run.now) {
            self.orphans_at = None;
            self.end_orphans(run);
        }
        let now = run.now;
        let past: Vec<String> = self.silences.values().filter(|it| it.until <= now).map(|it| it.id.clone()).collect();
        for id in past {
            self.silences.remove(&id);
            run.keep(Row::Silence(id));
        }
        let past = self.maintenances.values().filter(|it| it.is_past(now)).map(|it| it.name.clone());
        for name in past.collect::<Vec<_>>() {
            self.maintenances.remove(&name);
            run.keep(Row::Maintenance(name));
        }
        let due = self.alerts.values().filter(|it| it.wake.is_some_and(|it| it <= now)).map(|it| it.key.clone());
        for key in due.collect::<Vec<_>>() {
            self.weigh(run, &key);
        }
        self.fall_back_late(run);
        self.flush(run);
    }

    fn finish(&mut self, mut run: Run<'_>) -> Change {
        if self.configured {
            self.flush(&mut run);
        }
        if std::mem::take(&mut run.unseen) {
            self.drop_acknowledgements(&mut run);
        }
        for key in std::mem::take(&mut run.settled) {
            self.forget(&mut run, &key);
        }
        // All are looked at when it has come only: what has changed meanwhile can do no more than bring it nearer.
        self.wake = match self.wake.filter(|it| *it > run.now && !run.has_rules) {
            Some(wake) => {
                run.dirty.iter().filter_map(|it| self.wake_of(it)).min().map_or(Some(wake), |it| Some(it.min(wake)))
            }
            None => self.least_wake(),
        };
        self.rows(&mut run);
        run.change
    }

    fn least_wake(&self) -> Option<Timestamp> {
        if !self.configured {
            return None;
        }
        let alerts = self.alerts.values().filter_map(|it| it.wake);
        let lanes = self.lanes.iter().filter_map(|(name, it)| it.wake(self.rules.notifier(name)?));
        let outs = self.outs.values().filter_map(|it| it.fallback_at);
        let silences = self.silences.values().map(|it| it.until);
        let times = alerts.chain(lanes).chain(outs).chain(silences).chain(self.orphans_at);
        times.min()
    }

    /// When a row asks to be looked at again.
    fn wake_of(&self, row: &Row) -> Option<Timestamp> {
        match row {
            Row::Alert(key) => self.alerts.get(key)?.wake,
            Row::Lane(name) | Row::Waiting(name, _) => self.lanes.get(name)?.wake(self.rules.notifier(name)?),
            Row::Out(id) => self.outs.get(id)?.fallback_at,
            Row::Silence(id) => self.silences.get(id).map(|it| it.until),
            Row::Trail(_) | Row::Maintenance(_) | Row::Commons => None,
        }
    }

    /// Takes in what is the matter with a probe now.
    fn look(&mut self, run: &mut Run<'_>, probe: &ProbeId) {
        let probes = run.probes;
        let Some(state) = probes.get(probe) else {
            self.end_removed(run, probe, "it was removed from the config");
            for key in self.waiters.remove(probe).unwrap_or_default() {
                self.weigh(run, &key);
            }
            return;
        };
        let health = state.health();
        let known = self.trails.get(probe).and_then(|it| it.health);
        let turned = known.unwrap_or(Health::Up) != health;
        // A probe that was never anything but up or new needs no trail.
        if turned && (known.is_some() || health != Health::Unknown) {
            let why = state.last_trouble().filter(|_| health != Health::Up);
            let why = why.and_then(|it| it.trouble.as_ref()).map(|it| format!(": {}", it.text)).unwrap_or_default();
            let from = known.map(|it| format!("{} -> ", it.word())).unwrap_or_default();
            self.note(run, probe, "health", format!("{from}{}{why}", health.word()));
            let trail = self.trails.entry(probe.clone()).or_default();
            trail.health = Some(health);
            if health == Health::Up {
                trail.sticky = None;
            }
        }
        let concerns = state.concerns();
        let open: Vec<(Concern, String)> = match self.trails.get(probe) {
            Some(trail) => {
                let twins = trail.twins.iter().filter_map(|it| Some((self.alerts.get(it)?.concern(), it.clone())));
                trail.open.iter().map(|(concern, key)| (*concern, key.clone())).chain(twins).collect()
            }
            None => Vec::new(),
        };
        for (concern, key) in &open {
            let holds = concerns.iter().any(|it| it.concern == *concern);
            let is_known = match concern {
                Concern::Broken | Concern::CutOff => true,
                // A canary that was down before this host was cut off has not recovered by that.
                Concern::Down if state.is_silent() => false,
                // Of a probe that is broken or was never run nothing is known, also not that it recovered.
                _ => health != Health::Unknown,
            };
            if !holds && is_known {
                // A budget stops burning when a window has passed, and what was not checked may have been up all the time.
                let is_dated =
                    health == Health::Up && matches!(concern, Concern::Down | Concern::Degraded | Concern::Flapping);
                let at = state.since().filter(|_| is_dated).unwrap_or(run.now).min(run.now);
                self.end(run, key, at);
            }
        }
        for concern in &concerns {
            let is_open = open.iter().any(|(it, _)| *it == concern.concern);
            if !is_open && !self.rules.untold.contains(&concern.concern) {
                self.begin(run, probe, state, concern);
            }
        }
        self.take_acks(run, probe, state);
        for (_, key) in open {
            self.refresh(run, &key, probe, state);
            self.weigh(run, &key);
        }
        if turned {
            self.let_go(run, probe, state);
        }
    }

    /// Asks those that wait for a probe whether they still do. Those that do are put down again.
    fn let_go(&mut self, run: &mut Run<'_>, probe: &ProbeId, state: &ProbeState) {
        for key in self.waiters.remove(probe).unwrap_or_default() {
            self.weigh(run, &key);
        }
        if state.setup.rules.canary {
            let is_cut_off = |it: &&Alert| it.withheld.as_ref().is_some_and(|it| it.why == Why::Hold(Hold::CutOff));
            let held: Vec<String> = self.alerts.values().filter(is_cut_off).map(|it| it.key.clone()).collect();
            for key in held {
                self.weigh(run, &key);
            }
        }
    }

    /// Puts down whom an alert waits for.
    fn wait_for(&mut self, alert: &Alert) {
        let Some(Why::Hold(Hold::After(probe) | Hold::AfterSuspect(probe, _))) =
            alert.withheld.as_ref().map(|it| &it.why)
        else {
            return;
        };
        match self.waiters.get_mut(probe) {
            Some(keys) if keys.contains(&alert.key) => {}
            Some(keys) => drop(keys.insert(alert.key.clone())),
            None => drop(self.waiters.insert(probe.clone(), [alert.key.clone()].into())),
        }
    }

    fn begin(&mut self, run: &mut Run<'_>, probe: &ProbeId, state: &ProbeState, concern: &ConcernState) {
        let trail = self.trails.entry(probe.clone()).or_default();
        trail.number = trail.number.max(self.numbers_from) + 1;
        let key = key(probe, trail.number);
        trail.open.insert(concern.concern, key.clone());
        let trouble = state.last_trouble().filter(|_| !matches!(concern.concern, Concern::Burn | Concern::SlowBurn));
        let why = match trouble.and_then(|it| it.trouble.as_ref()) {
            Some(trouble) if matches!(concern.concern, Concern::Down | Concern::Degraded | Concern::Broken) => {
                trouble.text.clone()
            }
            _ => concern.text.clone(),
        };
        let severity = severity(state.setup.rules.severity, concern.concern);
        let mut labels = labels(probe, state);
        labels.insert("concern".into(), concern.concern.word().into());
        labels.insert("severity".into(), severity.word().into());
        let mut prints = Vec::new();
        if let Some(outcome) = trouble {
            if let Some(phase) = common::phase(outcome) {
                labels.insert("phase".into(), phase.word().into());
            }
            // What this host lacks is never told apart: it is not theirs.
            let is_common = match concern.concern {
                Concern::Down => !self.rules.apart,
                Concern::Broken => outcome.lack().is_some(),
                _ => false,
            };
            if is_common {
                prints = common::prints(outcome);
            }
        }
        let subject = Subject::Probe { probe: probe.clone(), concern: concern.concern };
        let alert = Alert {
            why,
            labels,
            prints,
            notify: state.setup.rules.notify.clone(),
            ..Alert::new(key.clone(), subject, severity, concern.since.min(run.now), run.now)
        };
        let lead = SignedDuration::from_secs(run.now.duration_since(alert.since).as_secs());
        let dated = if lead.is_zero() { String::new() } else { format!(", dated back by {lead:#}") };
        self.note(run, probe, "alert", format!("{} begins{dated}: {}", concern.concern.word(), alert.why));
        if state.setup.rules.notify.is_empty() {
            let why = self.rules.names_nobody(Some(&state.setup.rules));
            self.note(run, probe, "rule", format!("nobody is told: {why}"));
        }
        self.alerts.insert(key.clone(), alert);
        run.keep(Row::Alert(key.clone()));
        self.make_room(run);
        // What a person has seen for good stays seen, whatever it turns to.
        if let Some(ack) = self.trails.get(probe).and_then(|it| it.sticky.clone()) {
            self.acknowledge(run, &key, &ack);
        }
        self.weigh(run, &key);
        self.find_common(run, &key);
    }

    /// Takes over what the config says of the probe now; the alert stays the same.
    fn refresh(&mut self, run: &mut Run<'_>, key: &str, probe: &ProbeId, state: &ProbeState) {
        let Some(alert) = self.alerts.get_mut(key) else { return };
        if alert.ended.is_some() {
            return;
        }
        let severity = severity(state.setup.rules.severity, alert.concern());
        if alert.notify != state.setup.rules.notify || alert.severity != severity {
            alert.notify.clone_from(&state.setup.rules.notify);
            alert.severity = severity;
            run.keep(Row::Alert(key.to_string()));
        }
        let mut labels = labels(probe, state);
        for own in ["concern", "severity", "phase"] {
            let value =
                if own == "severity" { Some(severity.word().to_string()) } else { alert.labels.get(own).cloned() };
            labels.extend(value.map(|it| (own.to_string(), it)));
        }
        if alert.labels != labels {
            alert.labels = labels;
            run.keep(Row::Alert(key.to_string()));
        }
    }

    fn end_removed(&mut self, run: &mut Run<'_>, probe: &ProbeId, why: &str) {
        let keys: Vec<String> = self.open_all(probe).map(|it| it.key.clone()).collect();
        if keys.is_empty() {
            return;
        }
        self.note(run, probe, "alert", why.to_string());
        for key in keys {
            self.end(run, &key, run.now);
        }
    }

    fn end_orphans(&mut self, run: &mut Run<'_>) {
        let gone = |it: &&ProbeId| run.probes.get(it).is_none();
        let orphans: BTreeSet<ProbeId> = self.alerts.values().filter_map(Alert::probe).filter(gone).cloned().collect();
        for probe in orphans {
            self.end_removed(run, &probe, "the config names it no longer");
        }
    }

    /// What a person has marked on the probe.
    fn take_acks(&mut self, run: &mut Run<'_>, probe: &ProbeId, state: &ProbeState) {
        let unseen = |it: &&Alert| it.ended.is_none() && it.acked.is_none();
        let acks = self.open_all(probe).filter(unseen).filter_map(|it| Some((it.key.clone(), mark(it, state)?)));
        for (key, ack) in acks.collect::<Vec<_>>() {
            self.acknowledge(run, &key, &ack);
        }
    }

    fn acknowledge_probe(&mut self, run: &mut Run<'_>, probe: &ProbeId, ack: &Acknowledgement) {
        let keys: Vec<String> = self.open_all(probe).map(|it| it.key.clone()).collect();
        if ack.sticky && !keys.is_empty() {
            self.trails.entry(probe.clone()).or_default().sticky = Some(ack.clone());
            run.keep(Row::Trail(probe.clone()));
        }
        for key in keys {
            self.acknowledge(run, &key, ack);
        }
    }

    /// Nobody has it any more: reminders and ladders go on.
    fn unacknowledge_probe(&mut self, run: &mut Run<'_>, probe: &ProbeId, by: &str) {
        if self.trails.get_mut(probe).is_some_and(|it| it.sticky.take().is_some()) {
            run.keep(Row::Trail(probe.clone()));
        }
        let keys: Vec<String> = self.open_all(probe).map(|it| it.key.clone()).collect();
        for key in keys {
            self.unacknowledge(run, &key, by);
        }
    }

    fn quiets(&self, now: Timestamp) -> Vec<Quiet> {
        let maintenances = self.maintenances().filter_map(|it| {
            let (_, until) = it.open_window(now)?;
            let why = Why::Maintenance(it.name.clone());
            Some(Quiet { why, until, by: it.by.clone(), matchers: it.matchers.clone() })
        });
        let silences = self.silences().filter(|it| it.holds(now)).map(|it| Quiet {
            why: Why::Silence(it.id.clone()),
            until: it.until,
            by: it.by.clone(),
            matchers: it.matchers.clone(),
        });
        maintenances.chain(silences).collect()
    }

    /// Drops the oldest of what is over when there is too much of it.
    fn make_room(&mut self, run: &mut Run<'_>) {
        if self.alerts.len() <= ALERTS_MAX {
            return;
        }
        let over = self.alerts.values().filter(|it| it.ended.is_some());
        let Some(oldest) = over.min_by_key(|it| it.ended).map(|it| it.key.clone()) else { return };
        self.alerts.remove(&oldest);
        run.keep(Row::Alert(oldest));
    }
}

impl<'a> Run<'a> {
    fn new(now: Timestamp, probes: &'a ProbeBoard) -> Self {
        Self {
            now,
            probes,
            change: Change::default(),
            dirty: BTreeSet::new(),
            quiets: OnceCell::new(),
            turns: BTreeMap::new(),
            settled: BTreeSet::new(),
            unseen: false,
            has_rules: false,
        }
    }

    fn keep(&mut self, row: Row) {
        self.dirty.insert(row);
    }

    fn tell(&mut self, subject: &str, text: String) {
        let told = crate::domain::alert::Told { at: self.now, subject: subject.to_string(), text };
        self.change.told.push(told);
    }
}

/// The key of a probe's alert: the same after a restart and a reload, whatever changed in its settings.
fn key(probe: &ProbeId, number: u64) -> String {
    let mut end = probe.as_str().len().min(KEY_NAME_MAX_BYTES);
    while !probe.as_str().is_char_boundary(end) {
        end -= 1;
    }
    format!("{}/{number}", &probe.as_str()[..end])
}

/// What a person has marked on the probe, as far as it is about this alert.
fn mark(alert: &Alert, state: &ProbeState) -> Option<Acknowledgement> {
    let ack = state.acked.as_ref()?;
    let counts = alert.opened <= ack.at && alert.lapsed.is_none_or(|it| it < ack.at);
    counts.then(|| Acknowledgement { by: ack.by.clone(), at: ack.at, sticky: false, until: None })
}

/// A probe is as bad as it says when it is down or its error budget will be gone in days; what is less than down is never worth more than a warning.
fn severity(of_probe: Severity, concern: Concern) -> Severity {
    match concern {
        Concern::Down => of_probe,
        // Nothing far away is watched: that is as bad as the canary says.
        Concern::CutOff => of_probe,
        // The page and the ticket of the Site Reliability Workbook.
        Concern::Burn => of_probe,
        Concern::SlowBurn | Concern::Degraded | Concern::Broken | Concern::Flapping => of_probe.min(Severity::Warning),
    }
}

/// What matchers see of a probe.
pub fn labels(probe: &ProbeId, state: &ProbeState) -> BTreeMap<String, String> {
    let mut labels = state.setup.rules.labels.clone();
    labels.insert("probe".into(), probe.name().into());
    labels.insert("host".into(), probe.host().into());
    labels.insert("kind".into(), state.setup.kind.clone());
    labels.insert("target".into(), state.setup.target.clone());
    if let Some(group) = &state.setup.rules.group {
        labels.insert("group".into(), group.clone());
    }
    labels
}
