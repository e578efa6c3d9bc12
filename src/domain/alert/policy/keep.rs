//! What of the policy is kept over a restart: rows of JSON by key, only those that changed.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::alert::policy::{AlertBoard, Run};
use crate::domain::ids::ProbeId;

/// A row that has changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    Alert(String),
    Trail(ProbeId),
    Lane(String),
    Out(String),
    Silence(String),
    Maintenance(String),
    Commons,
}

impl AlertBoard {
    /// Takes back what [`crate::domain::alert::Change::rows`] kept before a restart. What cannot be read any more is left out.
    pub fn restore(&mut self, rows: &[(String, String)]) {
        self.restored = true;
        for (key, value) in rows {
            let Some((table, name)) = key.split_once('/') else { continue };
            let name = name.to_string();
            match table {
                "alert" => put(value, |it| self.alerts.insert(name, it)),
                "trail" => put(value, |it| self.trails.insert(ProbeId::of(&name), it)),
                "lane" => put(value, |it| self.lanes.insert(name, it)),
                "out" => put(value, |it| self.outs.insert(name, it)),
                "silence" => put(value, |it| self.silences.insert(name, it)),
                "maintenance" => put(value, |it| self.maintenances.insert(name, it)),
                "number" => put(value, |it| Some(std::mem::replace(&mut self.commons, it))),
                _ => {}
            }
        }
        // A crash of an older version may have left one without the other.
        let keys: BTreeSet<&String> = self.alerts.keys().collect();
        for trail in self.trails.values_mut() {
            trail.open.retain(|_, key| keys.contains(key));
        }
    }

    /// Puts the changed rows into the change.
    pub(super) fn rows(&self, run: &mut Run<'_>) {
        for row in std::mem::take(&mut run.dirty) {
            let (key, value) = match &row {
                Row::Alert(key) => (format!("alert/{key}"), json(self.alerts.get(key))),
                Row::Trail(probe) => (format!("trail/{probe}"), json(self.trails.get(probe))),
                Row::Lane(name) => (format!("lane/{name}"), json(self.lanes.get(name))),
                Row::Out(id) => (format!("out/{id}"), json(self.outs.get(id))),
                Row::Silence(id) => (format!("silence/{id}"), json(self.silences.get(id))),
                Row::Maintenance(name) => (format!("maintenance/{name}"), json(self.maintenances.get(name))),
                Row::Commons => ("number/common".to_string(), json(Some(&self.commons))),
            };
            run.change.rows.push((key, value));
        }
    }
}

fn json<T: Serialize>(value: Option<&T>) -> Option<String> {
    // Plain data with text keys: this cannot fail.
    value.and_then(|it| serde_json::to_string(it).ok())
}

fn put<T: DeserializeOwned>(value: &str, into: impl FnOnce(T) -> Option<T>) {
    if let Ok(value) = serde_json::from_str(value) {
        into(value);
    }
}
