//! A wall clock that is put back: what was decided keeps its distance from now.
//!
//! Times of alerts are of the wall clock, because people read them and because they outlive a restart. When that clock is
//! put back they would lie ahead: a ladder would stand still until the clock has caught up, a silence of an hour would
//! last a day, and what was down for an hour would have been down for no time. So all of them are moved back by as much.

use jiff::{SignedDuration, Timestamp};

use crate::domain::alert::policy::alert::Alert;
use crate::domain::alert::policy::keep::Row;
use crate::domain::alert::policy::{AlertBoard, Run};
use crate::domain::alert::quiet::MaintenanceWindow;

/// What the clock is put back by less is a correction of it: facts of several threads come no closer in order either.
const BACK_MIN: SignedDuration = SignedDuration::from_secs(2);

impl AlertBoard {
    /// Notes what time it is, and moves everything that is under way when that is earlier than it was.
    pub(super) fn anchor(&mut self, run: &mut Run<'_>) {
        let Some(before) = self.told_at.replace(run.now) else { return };
        let back = before.duration_since(run.now);
        if back < BACK_MIN {
            return;
        }
        let keys: Vec<String> = self.alerts.keys().cloned().collect();
        for alert in self.alerts.values_mut() {
            move_back(alert, back);
        }
        for out in self.outs.values_mut() {
            let times = [Some(&mut out.at), out.fallback_at.as_mut(), out.next.as_mut()];
            times.into_iter().flatten().for_each(|it| shift(it, back));
        }
        // What was planned for a time to come was planned by the clock that people see.
        for silence in self.silences.values_mut().filter(|it| it.from <= before) {
            shift(&mut silence.from, back);
            shift(&mut silence.until, back);
            run.dirty.insert(Row::Silence(silence.id.clone()));
        }
        for maintenance in self.maintenances.values_mut() {
            let MaintenanceWindow::Once { from, until } = &mut maintenance.window else { continue };
            if *from <= before {
                shift(from, back);
                shift(until, back);
                run.dirty.insert(Row::Maintenance(maintenance.name.clone()));
            }
        }
        run.dirty.extend(self.outs.keys().cloned().map(Row::Out));
        self.wake = None;
        for key in keys {
            run.keep(Row::Alert(key.clone()));
            let text = format!("the clock was put back by {back:#}: what is under way keeps its distance from now");
            if self.alerts.get(&key).is_some_and(|it| it.ended.is_none()) {
                self.note_about(run, &key, "clock", &text);
            }
            self.weigh(run, &key);
        }
    }

    /// The latest time of which something is known: after a restart the one that the clock is held against.
    pub(super) fn latest(&self) -> Option<Timestamp> {
        let of = |it: &Alert| {
            let contacts = it.contacts.values().flat_map(|it| [Some(it.last), it.taken]).flatten().max();
            let climbed = it.climbed.values().map(|it| it.at).max();
            [Some(it.opened), it.begun, it.ended, climbed, contacts].into_iter().flatten().max()
        };
        self.alerts.values().filter_map(of).max()
    }
}

fn move_back(alert: &mut Alert, back: SignedDuration) {
    shift(&mut alert.since, back);
    shift(&mut alert.opened, back);
    // `lapsed` stays: it is held against the mark on the probe, whose time stays as well.
    let times = [&mut alert.ended, &mut alert.released, &mut alert.begun, &mut alert.wake];
    times.into_iter().flatten().for_each(|it| shift(it, back));
    if let Some(ack) = &mut alert.acked {
        ack.until.iter_mut().for_each(|it| shift(it, back));
    }
    alert.climbed.values_mut().for_each(|it| shift(&mut it.at, back));
    for contact in alert.contacts.values_mut() {
        shift(&mut contact.last, back);
        contact.taken.iter_mut().for_each(|it| shift(it, back));
    }
}

fn shift(time: &mut Timestamp, back: SignedDuration) {
    *time = time.checked_sub(back).unwrap_or(Timestamp::MIN);
}
