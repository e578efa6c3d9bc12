//! The alerts of several hosts on one board, to be drawn.
//!
//! Nothing is decided on such a board. What hosts name alike is told apart by the host: `db1:chat`. A silence that was
//! made for all hosts has one id everywhere and is there once.

use crate::domain::alert::policy::AlertBoard;
use crate::domain::alert::policy::alert::Alert;
use crate::domain::alert::policy::deliver::Out;
use crate::domain::alert::policy::trail::Trail;
use crate::domain::alert::rules::NotifierRule;
use crate::domain::ids::HostId;

impl AlertBoard {
    /// Adds what a host's board says.
    pub fn unite(&mut self, host: &HostId, other: &AlertBoard) {
        let named = |name: &String| format!("{host}:{name}");
        self.rules.notifiers.extend(other.rules.notifiers.iter().map(|it| NotifierRule {
            name: named(&it.name),
            fallback: it.fallback.as_ref().map(named),
            ..it.clone()
        }));
        for silence in &other.rules.silences {
            if self.rules.silences.iter().all(|it| it.id != silence.id) {
                self.rules.silences.push(silence.clone());
            }
        }
        for maintenance in &other.rules.maintenances {
            if self.rules.maintenances.iter().all(|it| it.name != maintenance.name) {
                self.rules.maintenances.push(maintenance.clone());
            }
        }
        // The key of a probe's alert says its host, that of a common cause does not.
        for alert in other.alerts.values() {
            let key = if alert.probe().is_some() { alert.key.clone() } else { named(&alert.key) };
            let contacts = alert.contacts.iter().map(|(name, it)| (named(name), it.clone())).collect();
            let common = alert.common.as_ref().map(named);
            self.alerts.insert(key.clone(), Alert { key, contacts, common, ..alert.clone() });
        }
        for (probe, trail) in other.trails.iter().filter(|(_, it)| !it.open.is_empty()) {
            // What led there is asked of the host.
            self.trails.insert(probe.clone(), Trail { open: trail.open.clone(), ..Trail::default() });
        }
        self.lanes.extend(other.lanes.iter().map(|(name, it)| (named(name), it.clone())));
        self.outs.extend(other.outs.iter().map(|(id, it)| {
            let out = Out { notifier: named(&it.notifier), ..it.clone() };
            (named(id), out)
        }));
        for (id, silence) in &other.silences {
            self.silences.entry(id.clone()).or_insert_with(|| silence.clone());
        }
        for (name, maintenance) in &other.maintenances {
            self.maintenances.entry(name.clone()).or_insert_with(|| maintenance.clone());
        }
        self.notifiers.extend(other.notifiers.iter().map(|(name, it)| (named(name), it.clone())));
    }
}
