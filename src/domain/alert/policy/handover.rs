//! Hands open alerts over: whoever comes on call is paged once for what is open, and whoever goes is reminded no more.
//!
//! An alert remembers who was on call in each rotation that it was told by. It is asked again when the turn ends and
//! when the config changes, so an override that is written down during an incident is a handover as well. What
//! somebody has acknowledged, and what is held back, is handed over when that ends and still open.

use std::collections::BTreeSet;

use crate::domain::alert::delivery::Action;
use crate::domain::alert::policy::alert::{Alert, Contact, Stage};
use crate::domain::alert::policy::keep::Row;
use crate::domain::alert::policy::waiting::Entry;
use crate::domain::alert::policy::{AlertBoard, Run};
use crate::domain::alert::rules::{Named, Target};

impl AlertBoard {
    /// Looks who is on call now in every rotation that the alert was told by.
    pub(super) fn hand_over(&mut self, run: &mut Run<'_>, alert: &mut Alert, notes: &mut Vec<(&'static str, String)>) {
        let now = run.now;
        let followed = self.followed(alert);
        for name in &followed {
            let Some(Named::Rotation(rotation)) = self.rules.named(name) else { continue };
            let Some(turn) = run.turns.entry(name.clone()).or_insert_with(|| rotation.who(now)).clone() else {
                alert.turns.entry(name.clone()).or_default();
                continue;
            };
            alert.wake = Some(alert.wake.map_or(turn.until, |it| it.min(turn.until)));
            let person = turn.person;
            let before = alert.turns.insert(name.clone(), person.clone());
            // Of an alert that an older version began it is not known who was told: whoever is there now is taken to be.
            let Some(before) = before.filter(|it| *it != person) else { continue };
            let whom = if before.is_empty() { "nobody was before".into() } else { format!("no longer `{before}`") };
            notes.push(("page", format!("handover in `{name}`: `{person}` is on call now, {whom}")));
            let mut targets = self.rules.targets(now, name);
            if targets.is_empty() {
                // Whoever was told before is all there is.
                notes.push(("rule", format!("`{name}` leads to nobody, who was told before goes on being told")));
                continue;
            }
            for it in &mut targets {
                it.because = format!("`{person}` came on call in `{name}` while it was open");
            }
            self.contact(alert, targets, false, now, notes);
            self.bring_back(run, alert, &person);
            let wanted: Vec<Target> = followed.iter().flat_map(|it| self.rules.targets(now, it)).collect();
            if !wanted.iter().any(|it| it.person.as_deref() == Some(before.as_str())) {
                self.relieve(run, alert, &before, &wanted);
            }
        }
    }

    /// Names that the alert was told by: those of `notify`, and those of the steps of ladders that were climbed.
    fn followed(&self, alert: &Alert) -> BTreeSet<String> {
        let mut followed = alert.named.clone();
        for (name, climb) in &alert.climbed {
            if let Some(Named::Ladder(ladder)) = self.rules.named(name) {
                followed.extend(ladder.steps.iter().take(climb.done).flat_map(|it| it.notify.iter().cloned()));
            }
        }
        followed
    }

    /// Somebody who was relieved is on call again: that it is still open is theirs to know.
    fn bring_back(&mut self, run: &mut Run<'_>, alert: &mut Alert, person: &str) {
        let now = run.now;
        let back = |it: &Contact| it.relieved && it.person.as_deref() == Some(person);
        for (name, contact) in alert.contacts.iter_mut().filter(|(_, it)| back(it)) {
            contact.relieved = false;
            if contact.stage == Stage::Told {
                let lane = self.lanes.entry(name.clone()).or_default();
                lane.put(Entry::new(&alert.key, alert.severity, Action::Remind, now, now));
                run.keep(Row::Waiting(name.clone(), alert.key.clone()));
            }
        }
    }

    /// Somebody went off call. What they were told they are told the end of; what they were not told yet is taken back.
    fn relieve(&mut self, run: &mut Run<'_>, alert: &mut Alert, person: &str, wanted: &[Target]) {
        let leaves = |name: &String, it: &Contact| {
            it.person.as_deref() == Some(person) && !wanted.iter().any(|wanted| wanted.notifier == *name)
        };
        for (name, contact) in alert.contacts.iter_mut().filter(|(name, it)| leaves(name, it)) {
            contact.relieved = true;
            let Some(lane) = self.lanes.get_mut(name) else { continue };
            let waits = lane.get(&alert.key).is_some_and(|it| matches!(it.action, Action::Trigger | Action::Remind));
            if waits {
                lane.take(&alert.key);
                run.keep(Row::Waiting(name.clone(), alert.key.clone()));
            }
        }
        alert.contacts.retain(|_, it| !(it.relieved && it.stage == Stage::Waiting));
    }
}
