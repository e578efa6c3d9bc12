//! One alert for one trouble, also when an earlier run was read late: what was begun anew meanwhile is told no more by
//! itself, and ends with what it doubles.

use crate::domain::alert::policy::alert::{Alert, Stage, Subject};
use crate::domain::alert::policy::common::Print;
use crate::domain::alert::policy::keep::Row;
use crate::domain::alert::policy::waiting::Entry;
use crate::domain::alert::policy::{AlertBoard, Run};

impl AlertBoard {
    /// Puts alerts together that are about the same: the earliest goes on, under the key that channels know.
    pub(super) fn join_twins(&mut self, run: &mut Run<'_>) {
        let with_twins = self.trails.iter().filter(|(_, it)| !it.twins.is_empty());
        for probe in with_twins.map(|(probe, _)| probe.clone()).collect::<Vec<_>>() {
            let Some(trail) = self.trails.get(&probe) else { continue };
            for (concern, own) in trail.open.clone() {
                let same = |it: &&String| self.alerts.get(*it).is_some_and(|it| it.concern() == concern);
                let twins = self.trails.get(&probe).into_iter().flat_map(|it| &it.twins).filter(same).cloned();
                let mut keys: Vec<String> = twins.chain([own]).collect();
                keys.sort_by_key(|it| self.alerts.get(it).map(|it| it.opened));
                let Some((main, others)) = keys.split_first() else { continue };
                if let Some(trail) = self.trails.get_mut(&probe) {
                    trail.twins.retain(|it| it != main);
                    trail
                        .twins
                        .extend(others.iter().filter(|it| !trail.twins.contains(it)).cloned().collect::<Vec<_>>());
                    trail.open.insert(concern, main.clone());
                    run.keep(Row::Trail(probe.clone()));
                }
                for other in others {
                    if self.join_twin(run, main, other) {
                        let text =
                            format!("`{main}` of an earlier run goes on; what was told as `{other}` belongs to it");
                        self.note(run, &probe, "alert", text);
                    }
                }
            }
        }
        // Causes that several probes have in common are doubled as their parts are.
        let is_open = |it: &&Alert| it.ended.is_none() && it.twin.is_none() && it.probe().is_none();
        let mut causes: Vec<&Alert> = self.alerts.values().filter(is_open).collect();
        causes.sort_by_key(|it| it.opened);
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (at, cause) in causes.iter().enumerate() {
            let same = |it: &&&Alert| print(it) == print(cause) && it.host() == cause.host();
            if let Some(main) = causes[..at].iter().find(same) {
                pairs.push((main.key.clone(), cause.key.clone()));
            }
        }
        for (main, other) in pairs {
            self.join_twin(run, &main, &other);
        }
    }

    /// Makes an alert the twin of another: whoever was told of either was told of it. False when it was so before.
    fn join_twin(&mut self, run: &mut Run<'_>, main: &str, other: &str) -> bool {
        let Some(mut twin) = self.alerts.get(other).filter(|it| it.twin.as_deref() != Some(main)).cloned() else {
            return false;
        };
        let Some(mut alert) = self.alerts.get(main).cloned() else { return false };
        twin.twin = Some(main.to_string());
        twin.wake = None;
        alert.twin = None;
        alert.acked = alert.acked.take().or_else(|| twin.acked.clone());
        for (name, theirs) in std::mem::take(&mut twin.contacts) {
            let waited = self.lanes.get_mut(&name).and_then(|it| it.take(other));
            run.keep(Row::Waiting(name.clone(), other.to_string()));
            if theirs.stage == Stage::Waiting {
                // Nothing went: the other is told, if it was not.
                alert.contacts.entry(name).or_insert(theirs);
                continue;
            }
            if let Some(entry) = waited {
                let lane = self.lanes.entry(name.clone()).or_default();
                lane.put(Entry { key: main.to_string(), ..entry });
                run.keep(Row::Waiting(name.clone(), main.to_string()));
            }
            let ours = alert.contacts.entry(name.clone()).or_insert_with(|| theirs.clone());
            if ours.stage == Stage::Waiting {
                let lane = self.lanes.entry(name.clone()).or_default();
                lane.take(main);
                run.keep(Row::Waiting(name.clone(), main.to_string()));
                *ours = theirs.clone();
            }
            ours.reached |= theirs.reached;
            ours.first = ours.first.take().or_else(|| theirs.first.clone());
            ours.last = ours.last.max(theirs.last);
            ours.taken = ours.taken.max(theirs.taken);
            if self.rules.notifier(&name).is_some_and(|it| it.goes_by_key()) {
                // What is open there under this key must be closed under it.
                twin.contacts.insert(name, theirs);
            } else if let Some(pending) = &theirs.pending {
                ours.pending.get_or_insert_with(|| pending.clone());
                if let Some(out) = self.outs.get_mut(pending) {
                    out.keys.iter_mut().filter(|it| **it == other).for_each(|it| *it = main.to_string());
                    run.keep(Row::Out(pending.clone()));
                }
            }
        }
        for key in [main, other] {
            run.keep(Row::Alert(key.to_string()));
        }
        self.alerts.insert(main.to_string(), alert);
        self.alerts.insert(other.to_string(), twin);
        true
    }

    /// True while an alert is told as another one.
    pub(super) fn is_twin(&self, alert: &Alert) -> bool {
        alert.twin.as_ref().and_then(|it| self.alerts.get(it)).is_some_and(|it| it.ended.is_none())
    }
}

fn print(alert: &Alert) -> Option<&Print> {
    match &alert.subject {
        Subject::Common { print, .. } => Some(print),
        Subject::Probe { .. } => None,
    }
}
