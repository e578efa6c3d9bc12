//! Puts alerts with a common cause together: one alert that names the cause, told instead of its parts.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::alert::Concern;
use crate::domain::alert::policy::alert::{Alert, Stage, Subject};
use crate::domain::alert::policy::common::{COMMON_WITHIN, Print};
use crate::domain::alert::policy::keep::Row;
use crate::domain::alert::policy::waiting::Entry;
use crate::domain::alert::policy::{AlertBoard, Run};

impl AlertBoard {
    /// Looks for a cause that an alert shares with others.
    pub(super) fn find_common(&mut self, run: &mut Run<'_>, key: &str) {
        let Some(alert) = self.alerts.get(key).filter(|it| may_join(it)) else { return };
        let joins = |it: &&Alert| match &it.subject {
            Subject::Common { print, .. } => it.ended.is_none() && it.twin.is_none() && alert.prints.contains(print),
            Subject::Probe { .. } => false,
        };
        if let Some(common) = self.alerts.values().find(joins).map(|it| it.key.clone()) {
            self.join(run, &common, &[key.to_string()]);
            return;
        }
        let near = |it: &&Alert| {
            may_join(it) && alert.opened.duration_since(it.opened).abs() <= COMMON_WITHIN && it.host() == alert.host()
        };
        let near: Vec<&Alert> = self.alerts.values().filter(near).collect();
        let sharing = |print: &Print| near.iter().filter(|it| it.prints.contains(print)).count();
        // The narrow comes first in `prints`: a wider one must explain more to be taken.
        let mut best: Option<(&Print, usize)> = None;
        for print in &alert.prints {
            let count = sharing(print);
            if count >= print.least() && best.is_none_or(|(_, it)| count > it) {
                best = Some((print, count));
            }
        }
        let Some((print, _)) = best else { return };
        let print = print.clone();
        let mut children: Vec<&Alert> = near.into_iter().filter(|it| it.prints.contains(&print)).collect();
        children.sort_by_key(|it| (it.opened, it.since));
        let keys: Vec<String> = children.iter().map(|it| it.key.clone()).collect();
        let host = alert.host().to_string();
        self.commons = self.commons.max(self.numbers_from) + 1;
        run.keep(Row::Commons);
        let common = format!("{host}/{}/{}", print.slug(), self.commons);
        let subject = Subject::Common { print, children: Vec::new() };
        let since = children.iter().map(|it| it.since).min().unwrap_or(run.now);
        let alert = Alert::new(common.clone(), subject, alert.severity, since, run.now);
        self.alerts.insert(common.clone(), alert);
        self.join(run, &common, &keys);
    }

    /// Makes alerts parts of a common cause. What waits to be told of them is told of the cause instead.
    fn join(&mut self, run: &mut Run<'_>, common: &str, keys: &[String]) {
        let mut due: BTreeMap<String, Timestamp> = BTreeMap::new();
        let mut stale = Vec::new();
        for key in keys {
            let Some(child) = self.alerts.get_mut(key) else { continue };
            child.common = Some(common.to_string());
            child.wake = None;
            let waiting = child.contacts.iter().filter(|(_, it)| it.stage == Stage::Waiting);
            let waiting: Vec<String> = waiting.map(|(name, _)| name.clone()).collect();
            for name in waiting {
                child.contacts.remove(&name);
                let Some(lane) = self.lanes.get_mut(&name) else { continue };
                if let Some(entry) = lane.take(key) {
                    run.keep(Row::Waiting(name.clone(), key.clone()));
                    due.entry(name).and_modify(|it| *it = (*it).min(entry.due)).or_insert(entry.due);
                }
            }
            run.keep(Row::Alert(key.clone()));
            stale.push((key.clone(), child.probe().cloned()));
        }
        let parts: Vec<Alert> = keys.iter().filter_map(|it| self.alerts.get(it)).cloned().collect();
        // A probe that fails a second time within one cause takes the place of its first failure.
        let again: Vec<String> = self
            .alerts
            .get(common)
            .map(|it| it.children())
            .unwrap_or_default()
            .iter()
            .filter(|key| {
                self.alerts
                    .get(*key)
                    .is_none_or(|old| old.ended.is_some() && parts.iter().any(|it| it.probe() == old.probe()))
            })
            .cloned()
            .collect();
        let Some(alert) = self.alerts.get_mut(common) else { return };
        let Subject::Common { print, children } = &mut alert.subject else { return };
        children.retain(|it| !again.contains(it));
        children.extend(keys.iter().cloned());
        let count = children.len();
        alert.why = print.why(count);
        let part = format!("told as part of `{}`: {}", print.what(), print.how_many(count));
        for part in &parts {
            alert.since = alert.since.min(part.since);
            alert.severity = alert.severity.max(part.severity);
            for name in &part.notify {
                if !alert.notify.contains(name) {
                    alert.notify.push(name.clone());
                }
            }
            for name in ["host", "phase", "concern", "severity"] {
                if let Some(value) = part.labels.get(name) {
                    alert.labels.insert(name.to_string(), value.clone());
                }
            }
        }
        alert.labels.insert("severity".into(), alert.severity.word().into());
        run.keep(Row::Alert(common.to_string()));
        for (_, probe) in stale {
            if let Some(probe) = probe {
                self.note(run, &probe, "page", part.clone());
            }
        }
        self.weigh(run, common);
        // Joining must not make anybody wait longer than before.
        for (name, due) in due {
            let Some(lane) = self.lanes.get_mut(&name) else { continue };
            if let Some(entry) = lane.get(common).cloned() {
                let entry = Entry { due: entry.due.min(due), queued: entry.queued.min(due), ..entry };
                lane.waiting.insert(entry);
                run.keep(Row::Waiting(name, common.to_string()));
            }
        }
        for key in again {
            // The cause no longer counts it, so it must not wait for the cause to be forgotten.
            if let Some(old) = self.alerts.get_mut(&key) {
                old.common = None;
                run.keep(Row::Alert(key.clone()));
            }
            self.forget(run, &key);
        }
    }

    /// One part of a common cause is over; the cause is when all are.
    pub(super) fn end_common(&mut self, run: &mut Run<'_>, common: &str, at: Timestamp) {
        let Some(alert) = self.alerts.get(common) else { return };
        let is_over = |key: &String| self.alerts.get(key).is_none_or(|it| it.ended.is_some());
        if alert.children().iter().all(is_over) {
            self.end(run, common, at);
        } else {
            self.weigh(run, common);
        }
    }
}

/// True for an alert that can have a common cause with others: down, or not to be checked for a lack of ours; told to
/// somebody, not yet seen by anybody.
fn may_join(alert: &Alert) -> bool {
    matches!(alert.concern(), Concern::Down | Concern::Broken)
        && alert.probe().is_some()
        && alert.ended.is_none()
        && alert.common.is_none()
        && alert.twin.is_none()
        && alert.acked.is_none()
        && alert.withheld.is_none()
        && alert.begun.is_some()
        && !alert.prints.is_empty()
}
