//! Decides what one alert asks for now: whom to tell, whom to remind, and what holds it back.

use jiff::Timestamp;

use crate::domain::alert::delivery::Action;
use crate::domain::alert::policy::alert::{Alert, Climb, Contact, Stage, Subject, Why, Withheld};
use crate::domain::alert::policy::keep::Row;
use crate::domain::alert::policy::lane::{STORM_PACE, signed};
use crate::domain::alert::policy::waiting::Entry;
use crate::domain::alert::policy::{AlertBoard, Run, mark};
use crate::domain::alert::quiet;
use crate::domain::alert::rules::{Named, NotifierRule, Target};
use crate::domain::alert::{Acknowledgement, Concern, Hold};
use crate::domain::probe::outcome::ProbeResult;

/// That it is over, or seen, waits no longer than this for others to join it.
const NEWS_WAIT: std::time::Duration = std::time::Duration::from_secs(10);

impl AlertBoard {
    pub(super) fn weigh_all(&mut self, run: &mut Run<'_>) {
        let keys: Vec<String> = self.alerts.keys().cloned().collect();
        for key in keys {
            self.weigh(run, &key);
        }
    }

    /// Decides what an alert asks for now.
    pub(super) fn weigh(&mut self, run: &mut Run<'_>, key: &str) {
        if !self.configured {
            return;
        }
        let Some(alert) = self.alerts.get(key) else { return };
        // Until the config has named the probe again after a start, nothing is known of it.
        if alert.ended.is_some() || alert.probe().is_some_and(|it| run.probes.get(it).is_none()) {
            return;
        }
        let mut alert = alert.clone();
        if self.is_twin(&alert) {
            self.call_back(run, &alert);
            return;
        }
        let mut notes = Vec::new();
        self.weigh_alert(run, &mut alert, &mut notes);
        self.wait_for(&alert);
        if self.alerts.get(key) != Some(&alert) {
            run.keep(Row::Alert(key.to_string()));
            self.alerts.insert(key.to_string(), alert);
        }
        for (kind, text) in notes {
            self.note_about(run, key, kind, &text);
        }
    }

    fn weigh_alert(&mut self, run: &mut Run<'_>, alert: &mut Alert, notes: &mut Vec<(&'static str, String)>) {
        let now = run.now;
        alert.wake = None;
        if let Some(ack) = alert.acked.take_if(|it| it.until.is_some_and(|it| it <= now)) {
            notes.push(("ack", "the acknowledgement has expired".into()));
            alert.lapsed = Some(ack.at);
            let state = alert.probe().and_then(|it| run.probes.get(it));
            alert.acked = state.and_then(|it| mark(alert, it));
            run.unseen |= alert.acked.is_none();
        }
        let withheld = self.withheld(run, alert);
        if withheld.as_ref().map(|it| &it.why) != alert.withheld.as_ref().map(|it| &it.why) {
            notes.push(match (&withheld, &alert.withheld) {
                (Some(it), _) => (it.why.kind(), format!("held back: {}", it.why.text())),
                (None, Some(it)) => (it.why.kind(), format!("no longer held back: {} is over", it.why.kind())),
                (None, None) => ("alert", String::new()),
            });
        }
        alert.withheld = withheld;
        let wakes = [alert.withheld.as_ref().and_then(|it| it.until), alert.acked.as_ref().and_then(|it| it.until)];
        alert.wake = wakes.into_iter().flatten().min();
        if alert.common.is_some() {
            return;
        }
        let is_cut_off = alert.withheld.as_ref().is_some_and(|it| it.why == Why::Hold(Hold::CutOff));
        if alert.acked.is_some() || (alert.withheld.is_some() && !is_cut_off) {
            self.call_back(run, alert);
            return;
        }
        if !is_cut_off {
            alert.begun.get_or_insert(now);
            alert.released = None;
        }
        for name in alert.notify.clone() {
            if let Some(Named::Ladder(_)) = self.rules.named(&name) {
                self.climb(alert, &name, now, is_cut_off, notes);
                continue;
            }
            if alert.named.contains(&name) {
                continue;
            }
            let targets = self.rules.targets(now, &name);
            if targets.is_empty() {
                notes.push(("rule", format!("`{name}` leads to nobody")));
            }
            self.contact(alert, targets, is_cut_off, now, notes);
            if !is_cut_off {
                alert.named.insert(name);
            }
        }
        if !is_cut_off {
            self.hand_over(run, alert, notes);
        }
        self.speak(run, alert, is_cut_off);
    }

    /// Takes back what waits to be told: nobody is to hear it now.
    fn call_back(&mut self, run: &mut Run<'_>, alert: &Alert) {
        for name in alert.contacts.keys() {
            let Some(lane) = self.lanes.get_mut(name) else { continue };
            let waits = lane.get(&alert.key).is_some_and(|it| matches!(it.action, Action::Trigger | Action::Remind));
            if waits {
                lane.take(&alert.key);
                run.keep(Row::Waiting(name.clone(), alert.key.clone()));
            }
        }
    }

    fn climb(
        &self,
        alert: &mut Alert,
        name: &str,
        now: Timestamp,
        is_cut_off: bool,
        notes: &mut Vec<(&'static str, String)>,
    ) {
        let Some(Named::Ladder(ladder)) = self.rules.named(name) else { return };
        let begun = alert.begun.unwrap_or(now);
        loop {
            let climb = alert.climbed.get(name).cloned().unwrap_or(Climb { done: 0, at: begun });
            let Some(step) = ladder.steps.get(climb.done) else { return };
            let due = climb.at + signed(step.after);
            if due > now {
                alert.wake = Some(alert.wake.map_or(due, |it| it.min(due)));
                return;
            }
            let number = climb.done + 1;
            let whom = step.notify.join(", ");
            notes.push(("page", format!("step {number} of ladder `{name}`: {whom}")));
            let told = alert.contacts.len();
            for target in &step.notify {
                let mut targets = self.rules.targets(now, target);
                if targets.is_empty() {
                    notes.push(("rule", format!("`{target}` leads to nobody")));
                }
                for it in &mut targets {
                    it.because = format!("step {number} of `{name}`: {}", it.because);
                }
                self.contact(alert, targets, is_cut_off, now, notes);
            }
            if is_cut_off {
                return;
            }
            if alert.contacts.len() == told {
                notes.push(("page", format!("step {number} of ladder `{name}` tells nobody new")));
            }
            // A step that comes late, after a silence, is followed by the next after its whole time.
            alert.climbed.insert(name.to_string(), Climb { done: number, at: now });
        }
    }

    pub(super) fn contact(
        &self,
        alert: &mut Alert,
        targets: Vec<Target>,
        is_cut_off: bool,
        now: Timestamp,
        notes: &mut Vec<(&'static str, String)>,
    ) {
        for target in targets {
            let Some(rule) = self.rules.notifier(&target.notifier) else { continue };
            if is_cut_off && !rule.is_local() || alert.contacts.contains_key(&target.notifier) {
                continue;
            }
            if rule.least > alert.severity {
                let (least, name) = (rule.least.word(), &rule.name);
                notes.push(("rule", format!("`{name}` is told from {least} on, this is {}", alert.severity.word())));
                continue;
            }
            alert.contacts.insert(target.notifier, Contact::new(target.person, target.because, now));
        }
    }

    /// Puts what each contact is to hear into its lane, and says when it is to hear more.
    fn speak(&mut self, run: &mut Run<'_>, alert: &mut Alert, is_cut_off: bool) {
        let now = run.now;
        let children = alert.children().len();
        for (name, contact) in &alert.contacts {
            let Some(rule) = self.rules.notifier(name) else { continue };
            if is_cut_off && !rule.is_local() {
                continue;
            }
            let lane = self.lanes.entry(name.clone()).or_default();
            match contact.stage {
                Stage::Waiting if lane.get(&alert.key).is_none() => {
                    let due = now + signed(rule.wait);
                    lane.put(Entry::new(&alert.key, alert.severity, Action::Trigger, now, due));
                    run.keep(Row::Waiting(name.clone(), alert.key.clone()));
                }
                Stage::Told if lane.get(&alert.key).is_none() && contact.pending.is_none() && !contact.relieved => {
                    let reminder = rule.remind_after(contact.reminders).map(|it| contact.last + signed(it));
                    // That more checks meet what this host lacks is no news.
                    let update = (children > contact.heard && !alert.is_own()).then(|| contact.last + STORM_PACE);
                    let Some(due) = [reminder, update].into_iter().flatten().min() else { continue };
                    if due <= now {
                        lane.put(Entry::new(&alert.key, alert.severity, Action::Remind, now, now));
                        run.keep(Row::Waiting(name.clone(), alert.key.clone()));
                    } else {
                        alert.wake = Some(alert.wake.map_or(due, |it| it.min(due)));
                    }
                }
                _ => {}
            }
        }
    }

    /// What holds an alert back now.
    fn withheld(&self, run: &Run<'_>, alert: &mut Alert) -> Option<Withheld> {
        let Subject::Probe { probe, concern } = &alert.subject else {
            // A common cause is held back when everything that it is about is.
            let open: Vec<&Alert> =
                alert.children().iter().filter_map(|it| self.alerts.get(it)).filter(|it| it.ended.is_none()).collect();
            let all = !open.is_empty() && open.iter().all(|it| it.withheld.is_some());
            return open.first().filter(|_| all).and_then(|it| it.withheld.clone());
        };
        let now = run.now;
        let was_after = matches!(alert.withheld.as_ref().map(|it| &it.why), Some(Why::Hold(Hold::After(_))));
        match run.probes.hold(now, probe) {
            Some(Hold::Flapping) if !matches!(concern, Concern::Down | Concern::Degraded) => {}
            Some(hold) => {
                let until = if let Hold::AfterSuspect(_, until) = &hold { Some(*until) } else { None };
                // A deadline that has passed without a decision is asked again with the next fact.
                let until = until.filter(|it| *it > now);
                return Some(Withheld { why: Why::Hold(hold), until });
            }
            None if was_after && alert.begun.is_none() => alert.released = Some(now),
            None => {}
        }
        let quiets = run.quiets.get_or_init(|| self.quiets(now));
        if let Some(quiet) = quiets.iter().find(|it| quiet::all_fit(&it.matchers, &alert.labels)) {
            return Some(Withheld { why: quiet.why.clone(), until: Some(quiet.until) });
        }
        let released = alert.released?;
        let state = run.probes.get(probe)?;
        if state.last().is_some_and(|it| it.at >= released && it.result == ProbeResult::Fail) {
            return None;
        }
        let setup = &state.setup;
        let follows = setup.interval.max(setup.retry * u32::from(setup.thresholds.recover.k)) + setup.timeout;
        let until = released + signed(follows);
        (now < until).then_some(Withheld { why: Why::Settling, until: Some(until) })
    }

    /// Somebody has seen an alert: reminders and ladders stop, and channels that care are told.
    pub(super) fn acknowledge(&mut self, run: &mut Run<'_>, key: &str, ack: &Acknowledgement) {
        let Some(alert) = self.alerts.get_mut(key) else { return };
        if alert.ended.is_some() || ack.until.is_some_and(|it| it <= run.now) {
            return;
        }
        let is_news = alert.acked.as_ref().is_none_or(|it| it.by != ack.by);
        alert.acked = Some(ack.clone());
        run.keep(Row::Alert(key.to_string()));
        let (common, severity) = (alert.common.clone(), alert.severity);
        let told = alert.contacts.iter().filter(|(_, it)| it.is_told && it.stage == Stage::Told);
        let told: Vec<String> = told.map(|(name, _)| name.clone()).collect();
        self.weigh(run, key);
        if is_news {
            let until = ack.until.map(|it| format!(" until {it}")).unwrap_or_default();
            let how = if ack.sticky { ", until it is fine" } else { "" };
            self.note_about(run, key, "ack", &format!("acknowledged by {}{how}{until}", ack.by));
            for name in told {
                let Some(rule) = self.rules.notifier(&name).filter(|it| it.tells_acknowledged()) else { continue };
                let due = run.now + signed(joins(rule));
                let lane = self.lanes.entry(name.clone()).or_default();
                lane.put(Entry::new(key, severity, Action::Acknowledge, run.now, due));
                run.keep(Row::Waiting(name, key.to_string()));
            }
        }
        // Whoever has seen one of them is at work on the cause.
        if let Some(common) = common {
            self.acknowledge(run, &common, ack);
        }
    }

    /// Takes back that somebody has seen an alert.
    pub(super) fn unacknowledge(&mut self, run: &mut Run<'_>, key: &str, by: &str) {
        let Some(alert) = self.alerts.get_mut(key).filter(|it| it.ended.is_none()) else { return };
        let Some(ack) = alert.acked.take() else { return };
        // Marks so far count no more, on the probe as well.
        alert.lapsed = Some(run.now.max(ack.at));
        let (common, contacts) = (alert.common.clone(), alert.contacts.keys().cloned().collect::<Vec<_>>());
        run.keep(Row::Alert(key.to_string()));
        for name in contacts {
            let Some(lane) = self.lanes.get_mut(&name) else { continue };
            if lane.get(key).is_some_and(|it| it.action == Action::Acknowledge) {
                lane.take(key);
                run.keep(Row::Waiting(name, key.to_string()));
            }
        }
        run.unseen = true;
        self.note_about(run, key, "ack", &format!("{by} took back the acknowledgement of {}", ack.by));
        self.weigh(run, key);
        if let Some(common) = common {
            self.unacknowledge(run, &common, by);
        }
    }

    /// An alert is over.
    pub(super) fn end(&mut self, run: &mut Run<'_>, key: &str, at: Timestamp) {
        let Some(alert) = self.alerts.get(key).filter(|it| it.ended.is_none()) else { return };
        let mut alert = alert.clone();
        let mut notes = vec![("alert", format!("{} is over", alert.concern().word()))];
        alert.ended = Some(at.max(alert.since));
        run.unseen |= alert.acked.is_some();
        alert.wake = None;
        let held = what_held(&alert);
        alert.withheld = None;
        if let Subject::Probe { probe, concern } = &alert.subject
            && let Some(trail) = self.trails.get_mut(probe)
        {
            if trail.open.get(concern).is_some_and(|it| it == key) {
                trail.open.remove(concern);
            }
            trail.twins.retain(|it| it != key);
            run.keep(Row::Trail(probe.clone()));
        }
        for (name, contact) in &mut alert.contacts {
            let rule = self.rules.notifier(name);
            let lane = self.lanes.entry(name.clone()).or_default();
            let waited = lane.take(key);
            if waited.is_some() {
                run.keep(Row::Waiting(name.clone(), key.to_string()));
            }
            let queued = match (contact.stage, waited, rule) {
                // It was held back longer than it had to wait for others: that it happened is not lost.
                (Stage::Waiting, Some(entry), Some(rule)) if run.now >= entry.queued + signed(rule.wait) => {
                    entry.queued
                }
                (Stage::Waiting, waited, _) => {
                    let held = held.as_deref().filter(|_| waited.is_none());
                    let why = held.unwrap_or("it was over before it was due");
                    notes.push(("page", format!("`{name}` is not told: {why}")));
                    contact.stage = Stage::Over;
                    continue;
                }
                (Stage::Told, _, Some(rule)) if rule.resolve || contact.pending.is_some() => run.now,
                (Stage::Told, _, Some(_)) => {
                    notes.push(("page", format!("`{name}` does not want to hear that it is over")));
                    contact.stage = Stage::Over;
                    continue;
                }
                (Stage::Told, _, None) => {
                    notes.push(("page", format!("`{name}`, which was told, is not in the config any more")));
                    contact.stage = Stage::Over;
                    continue;
                }
                (Stage::Ending | Stage::Over, ..) => continue,
            };
            contact.stage = Stage::Ending;
            let due = run.now + rule.map(joins).map(signed).unwrap_or_default();
            lane.put(Entry::new(key, alert.severity, Action::Resolve, queued, due));
            run.keep(Row::Waiting(name.clone(), key.to_string()));
        }
        let common = alert.common.clone();
        self.alerts.insert(key.to_string(), alert);
        run.keep(Row::Alert(key.to_string()));
        for (kind, text) in notes {
            self.note_about(run, key, kind, &text);
        }
        if let Some(common) = common {
            self.end_common(run, &common, at);
        }
        self.forget(run, key);
    }
}

/// Why what waited to be told of an alert that is over now was taken back before, in words.
fn what_held(alert: &Alert) -> Option<String> {
    match (&alert.acked, &alert.withheld) {
        (Some(ack), _) => Some(format!("{} had acknowledged it before it was due, and now it is over", ack.by)),
        (None, Some(held)) => Some(format!("it was held back until it was over ({})", held.why.text())),
        (None, None) => None,
    }
}

/// How long news that nobody has to act on waits for others.
fn joins(rule: &NotifierRule) -> std::time::Duration {
    if rule.keeps_apart() { std::time::Duration::ZERO } else { rule.wait.min(NEWS_WAIT) }
}
