//! What of the policy is kept over a restart: rows of JSON by key, only those that changed.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::alert::Hold;
use crate::domain::alert::policy::alert::{Alert, Subject, Why};
use crate::domain::alert::policy::lane::Lane;
use crate::domain::alert::policy::trail::Trail;
use crate::domain::alert::policy::waiting::Entry;
use crate::domain::alert::policy::{AlertBoard, Run};
use crate::domain::ids::{HostId, ProbeId};

/// A row that has changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    Alert(String),
    Trail(ProbeId),
    /// Of a notifier all but what waits for it: a storm puts a thousand things in, and each is one row.
    Lane(String),
    /// What waits for a notifier about an alert.
    Waiting(String, String),
    Out(String),
    Silence(String),
    Maintenance(String),
    Commons,
}

/// What waits for a notifier, as a row.
#[derive(Serialize, Deserialize)]
struct Kept {
    notifier: String,
    entry: Entry,
}

impl AlertBoard {
    /// Takes back what [`crate::domain::alert::Change::rows`] kept before a restart. What cannot be read any more is left out.
    ///
    /// When it comes late, what is known by now goes before it: the rules must be told again after it.
    pub fn restore(&mut self, rows: &[(String, String)]) {
        self.restored = true;
        for (key, value) in rows {
            let Some((table, name)) = key.split_once('/') else { continue };
            let name = name.to_string();
            match table {
                "alert" => put(value, |it| _ = self.alerts.entry(name).or_insert(it)),
                "trail" => put(value, |it| self.trails.entry(ProbeId::of(&name)).or_default().precede(it)),
                "lane" => put(value, |it| self.lanes.entry(name).or_default().precede(it)),
                "wait" => put(value, |it: Kept| {
                    let lane = Lane { waiting: vec![it.entry].into(), ..Lane::default() };
                    self.lanes.entry(it.notifier).or_default().precede(lane);
                }),
                "out" => put(value, |it| _ = self.outs.entry(name).or_insert(it)),
                "silence" => put(value, |it| _ = self.silences.entry(name).or_insert(it)),
                "maintenance" => put(value, |it| _ = self.maintenances.entry(name).or_insert(it)),
                "number" => put(value, |it: u64| self.commons = self.commons.max(it)),
                _ => {}
            }
        }
        // A crash of an older version may have left one without the other.
        let keys: BTreeSet<&String> = self.alerts.keys().collect();
        for trail in self.trails.values_mut() {
            trail.open.retain(|_, key| keys.contains(key));
            trail.twins.retain(|key| keys.contains(key));
        }
        self.told_at = self.told_at.max(self.latest());
        let held: Vec<Alert> = self.alerts.values().filter(|it| it.withheld.is_some()).cloned().collect();
        held.iter().for_each(|it| self.wait_for(it));
        // And the other way round: of a damaged file only some rows may have been saved. What no trail leads to would
        // never end.
        for alert in self.alerts.values().filter(|it| it.ended.is_none()) {
            let Subject::Probe { probe, concern } = &alert.subject else { continue };
            let trail = self.trails.entry(probe.clone()).or_default();
            if !trail.open.values().chain(&trail.twins).any(|it| *it == alert.key) {
                trail.precede(Trail { open: [(*concern, alert.key.clone())].into(), ..Trail::default() });
            }
        }
    }

    /// Numbers what is new from here on, because not everything that was numbered before is known: an id that was
    /// used must never be used again.
    pub fn number_from(&mut self, now: Timestamp) {
        // Seconds: nobody has so many alerts that the next second begins below the last number of this one.
        self.numbers_from = self.numbers_from.max(now.as_second().unsigned_abs());
    }

    /// Everything that is kept, when rows of an earlier run have come late.
    pub(super) fn keep_all(&self, run: &mut Run<'_>) {
        self.alerts.keys().for_each(|it| run.keep(Row::Alert(it.clone())));
        self.trails.keys().for_each(|it| run.keep(Row::Trail(it.clone())));
        self.keep_lanes(run);
        self.outs.keys().for_each(|it| run.keep(Row::Out(it.clone())));
        self.silences.keys().for_each(|it| run.keep(Row::Silence(it.clone())));
        self.maintenances.keys().for_each(|it| run.keep(Row::Maintenance(it.clone())));
        run.keep(Row::Commons);
    }

    /// All that waits and went: an older version kept a lane as one row, and what waits in it has none of its own.
    pub(super) fn keep_lanes(&self, run: &mut Run<'_>) {
        for (name, lane) in &self.lanes {
            run.keep(Row::Lane(name.clone()));
            lane.waiting.keys().for_each(|it| run.keep(Row::Waiting(name.clone(), it.clone())));
        }
    }

    /// Puts the changed rows into the change.
    pub(super) fn rows(&self, run: &mut Run<'_>) {
        for row in std::mem::take(&mut run.dirty) {
            let (key, value) = match &row {
                Row::Alert(key) => (format!("alert/{key}"), json(self.alerts.get(key))),
                Row::Trail(probe) => (format!("trail/{probe}"), json(self.trails.get(probe))),
                Row::Lane(name) => (format!("lane/{name}"), json(self.lanes.get(name).map(Lane::head).as_ref())),
                Row::Waiting(name, key) => {
                    let entry = self.lanes.get(name).and_then(|it| it.get(key));
                    let kept = entry.map(|it| Kept { notifier: name.clone(), entry: it.clone() });
                    (format!("wait/{name}/{key}"), json(kept.as_ref()))
                }
                Row::Out(id) => (format!("out/{id}"), json(self.outs.get(id))),
                Row::Silence(id) => (format!("silence/{id}"), json(self.silences.get(id))),
                Row::Maintenance(name) => (format!("maintenance/{name}"), json(self.maintenances.get(name))),
                Row::Commons => ("number/common".to_string(), json(Some(&self.commons))),
            };
            run.change.rows.push((key, value));
        }
    }
}

/// A row as it is once its host, which was `was`, is called `host`; `None` when it stays as it is.
///
/// The key of an alert stays: it is what the channels know of it, and what ends it there.
pub fn renamed((key, value): (&str, &str), was: &str, host: &HostId) -> Option<(String, String)> {
    let follow = |it: &ProbeId| (it.host() == was).then(|| ProbeId::new(host, it.name()));
    match key.split_once('/')? {
        ("trail", probe) => Some((format!("trail/{}", follow(&ProbeId::of(probe))?), value.to_string())),
        ("alert", _) => {
            let mut alert: Alert = serde_json::from_str(value).ok()?;
            if let Subject::Probe { probe, .. } = &mut alert.subject {
                *probe = follow(probe)?;
            }
            if let Some(label) = alert.labels.get_mut("host").filter(|it| *it == was) {
                *label = host.to_string();
            }
            if let Some(Why::Hold(Hold::After(probe) | Hold::AfterSuspect(probe, _))) =
                alert.withheld.as_mut().map(|it| &mut it.why)
                && let Some(now) = follow(probe)
            {
                *probe = now;
            }
            Some((key.to_string(), json(Some(&alert))?))
        }
        _ => None,
    }
}

fn json<T: Serialize>(value: Option<&T>) -> Option<String> {
    // Plain data with text keys: this cannot fail.
    value.and_then(|it| serde_json::to_string(it).ok())
}

fn put<T: DeserializeOwned>(value: &str, into: impl FnOnce(T)) {
    if let Ok(value) = serde_json::from_str(value) {
        into(value);
    }
}
