//! Makes messages of what waits in the lanes.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::alert::Concern;
use crate::domain::alert::delivery::{Action, Delivery};
use crate::domain::alert::policy::alert::{Alert, Contact, Naming, Stage};
use crate::domain::alert::policy::keep::Row;
use crate::domain::alert::policy::lane::{LISTED_MAX, signed};
use crate::domain::alert::policy::rest::shorten;
use crate::domain::alert::policy::waiting::{Entry, subject_of};
use crate::domain::alert::policy::{AlertBoard, Run};
use crate::domain::alert::rules::NotifierRule;
use crate::domain::alert::words::{self, Item};
use crate::domain::ids::ProbeId;
use crate::domain::probe::health::Health;

/// That somebody has seen it is no news any more after this, for people.
const ACKNOWLEDGE_EXPIRES: SignedDuration = SignedDuration::from_hours(1);
/// Messages kept that are not settled; the oldest is given up when there are more.
const OUTS_MAX: usize = 10_000;
/// Characters of a title that is shown while its message is refused: a line of a wide screen.
pub(super) const TITLE_MAX: usize = 200;
/// Rounds in which lanes are emptied at one time: a message can make others due, but not for ever.
const ROUNDS_MAX: usize = 64;

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Out {
    /// Where it goes.
    pub notifier: String,
    /// What it means.
    pub action: Action,
    /// When it was decided.
    pub at: Timestamp,
    /// Keys of the alerts that it is about.
    pub keys: Vec<String>,
    /// Keys of the alerts of which it says the names, and nothing else: a message before had no room for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// When the fallback takes over; `None` when it has, or there is none.
    pub fallback_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// The channel refuses it as it is; the fallback has been asked.
    #[serde(default)]
    pub refused: bool,
    /// What it says, in one line.
    #[serde(default)]
    pub title: String,
    /// When it is tried again; `None` before the first attempt failed.
    #[serde(default)]
    pub next: Option<Timestamp>,
}

/// How a notifier is doing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NotifierState {
    /// When it last took a message.
    pub sent_at: Option<Timestamp>,
    /// When it last did not.
    pub failed_at: Option<Timestamp>,
    /// Why.
    pub error: Option<String>,
    /// Attempts that failed since it last took one.
    pub failures: u32,
    /// When the next attempt is.
    pub next: Option<Timestamp>,
}

impl NotifierState {
    /// True while it takes what it is given.
    pub fn is_well(&self) -> bool {
        self.failures == 0
    }
}

impl AlertBoard {
    /// Sends what is due in every lane.
    pub(super) fn flush(&mut self, run: &mut Run<'_>) {
        for _ in 0..ROUNDS_MAX {
            let names: Vec<String> =
                self.lanes.iter().filter(|(_, it)| it.has_more()).map(|(name, _)| name.clone()).collect();
            let mut has_sent = false;
            for name in names {
                has_sent |= self.flush_lane(run, &name);
            }
            if !has_sent {
                return;
            }
        }
    }

    /// Sends what is due in one lane; true when there was something.
    fn flush_lane(&mut self, run: &mut Run<'_>, name: &str) -> bool {
        let Some(rule) = self.rules.notifier(name).cloned() else {
            self.drop_lane(run, name);
            return false;
        };
        // A page goes before names of what was told, and those before what nobody has to act on.
        let is_page = |it: &Entry| it.action == Action::Trigger;
        let has_page = self.lanes.get(name).is_some_and(|it| it.waiting.iter().any(is_page));
        (!has_page && self.flush_rest(run, &rule))
            || self.flush_news(run, name, &rule)
            || (has_page && self.flush_rest(run, &rule))
    }

    fn flush_news(&mut self, run: &mut Run<'_>, name: &str, rule: &NotifierRule) -> bool {
        let now = run.now;
        let Some(lane) = self.lanes.get_mut(name) else { return false };
        // A clock that was set back must not hold a page back.
        for key in lane.waiting.set_back(now, signed(rule.wait)) {
            run.keep(Row::Waiting(name.to_string(), key));
        }
        if lane.set_back(now) {
            run.keep(Row::Lane(name.to_string()));
        }
        self.note_held(run, rule);
        let Some(lane) = self.lanes.get_mut(name) else { return false };
        if lane.due(rule).is_none_or(|it| it > now) {
            return false;
        }
        if rule.keeps_apart() {
            return self.flush_apart(run, rule);
        }
        // What holds an alert back may have begun since it was put here.
        let keys: Vec<String> = lane.waiting.keys().cloned().collect();
        for key in keys {
            self.weigh(run, &key);
        }
        let Some(lane) = self.lanes.get_mut(name) else { return false };
        if lane.due(rule).is_none_or(|it| it > now) {
            return false;
        }
        let entries = lane.waiting.take();
        for entry in &entries {
            run.keep(Row::Waiting(name.to_string(), entry.key.clone()));
        }
        let entries: Vec<Entry> = entries.into_iter().filter(|it| self.alerts.contains_key(&it.key)).collect();
        if entries.is_empty() {
            return false;
        }
        self.send(run, rule, &entries);
        true
    }

    /// Writes down what has to wait longer than its own wait, and why: somebody will ask.
    fn note_held(&mut self, run: &mut Run<'_>, rule: &NotifierRule) {
        let name = rule.name.as_str();
        let Some(lane) = self.lanes.get_mut(name) else { return };
        let Some((until, why)) = lane.due(rule).zip(lane.held_by(rule)).filter(|(it, _)| *it > run.now) else { return };
        // Where each goes by itself the ones before it spend the limit first.
        let least = if rule.keeps_apart() { " at the earliest" } else { "" };
        for entry in lane.waiting.hold(until) {
            run.keep(Row::Waiting(name.to_string(), entry.key.clone()));
            let what = entry.action.word();
            self.note_about(run, &entry.key, "page", &format!("held until {until}{least}: {what} to `{name}`: {why}"));
        }
    }

    /// Sends what is due in a lane whose channel keeps alerts apart, each by itself; true when there was something.
    fn flush_apart(&mut self, run: &mut Run<'_>, rule: &NotifierRule) -> bool {
        let (now, name) = (run.now, rule.name.as_str());
        let mut has_sent = false;
        for key in self.lanes.get(name).map(|it| it.waiting.due_by(now)).unwrap_or_default() {
            self.weigh(run, &key);
            let Some(lane) = self.lanes.get_mut(name) else { return has_sent };
            // The limit, of which the last one may have been.
            if lane.due(rule).is_none_or(|it| it > now) {
                return has_sent;
            }
            let Some(entry) = lane.waiting.get(&key).filter(|it| it.due <= now).cloned() else { continue };
            lane.take(&key);
            run.keep(Row::Waiting(name.to_string(), key.clone()));
            if self.alerts.contains_key(&key) {
                self.send(run, rule, &[entry]);
                has_sent = true;
            }
        }
        has_sent
    }

    /// Drops what waits for a notifier that is not in the config any more.
    fn drop_lane(&mut self, run: &mut Run<'_>, name: &str) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        if lane.rest.take().is_some() {
            run.keep(Row::Lane(name.to_string()));
        }
        for entry in lane.waiting.take() {
            run.keep(Row::Waiting(name.to_string(), entry.key.clone()));
            self.note_about(run, &entry.key, "page", &format!("`{name}` is not in the config any more"));
            if let Some(contact) = self.contact_mut(run, &entry.key, name) {
                contact.stage = Stage::Over;
            }
            self.forget(run, &entry.key);
        }
    }

    pub(super) fn contact_mut(&mut self, run: &mut Run<'_>, key: &str, notifier: &str) -> Option<&mut Contact> {
        run.keep(Row::Alert(key.to_string()));
        self.alerts.get_mut(key)?.contacts.get_mut(notifier)
    }

    fn send(&mut self, run: &mut Run<'_>, rule: &NotifierRule, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        let (now, name) = (run.now, rule.name.as_str());
        let is_one_thing = entries.iter().all(|it| it.action == first.action) && entries.len() <= LISTED_MAX;
        let action = if is_one_thing { first.action } else { Action::Digest };
        let lane = self.lanes.entry(name.to_string()).or_default();
        lane.number = lane.number.max(self.numbers_from);
        let number = lane.number + 1;
        lane.spend(now, entries, rule.limit);
        run.keep(Row::Lane(name.to_string()));
        let id = format!("{}:{name}:{}:{number}", first.key, action.word());
        let ending: Vec<&Entry> = entries.iter().filter(|it| it.action == Action::Resolve).collect();
        let unheard: Vec<String> =
            ending.iter().filter(|it| self.take_back(run, &it.key, name)).map(|it| it.key.clone()).collect();
        if action == Action::Acknowledge {
            self.replace_acknowledgement(run, name, entries);
        }
        if !rule.goes_by_key() && !rule.keeps_resolved() {
            self.replace_recoveries(run, name, entries);
        }
        let items = self.items(run, entries, &unheard);
        let mut message = words::message(now, &self.rules.time_zone(), &items);
        // A name that is only repeated does not follow: it was said before.
        let reminded: BTreeSet<&str> =
            entries.iter().filter(|it| it.action == Action::Remind).map(|it| it.key.as_str()).collect();
        let unnamed = shorten(&mut message, rule, &|key| !reminded.contains(key));
        let because = self.because(entries, name);
        let heard = entries.iter().filter_map(|it| self.alerts.get(&it.key)?.contacts.get(name)?.first.clone());
        let follows = heard.into_iter().next();
        let expires = match action {
            // The next reminder says it all again.
            Action::Remind => entries
                .iter()
                .filter_map(|it| self.alerts.get(&it.key)?.contacts.get(name))
                .filter_map(|it| rule.remind_after(it.reminders + 1))
                .max()
                .map(|it| now + signed(it)),
            // Where it is acted on it is true until the alert is over or nobody has it, and is taken back then.
            Action::Acknowledge if rule.acts_on_acknowledged() => None,
            Action::Acknowledge => Some(now + ACKNOWLEDGE_EXPIRES),
            Action::Trigger | Action::Resolve | Action::Digest | Action::Test | Action::Silence | Action::Unsilence => {
                None
            }
        };
        for entry in entries {
            let (is_over, heard) =
                self.alerts.get(&entry.key).map_or((true, 0), |it| (it.ended.is_some(), it.children().len()));
            let id = id.clone();
            let Some(contact) = self.contact_mut(run, &entry.key, name) else { continue };
            match entry.action {
                Action::Trigger | Action::Remind => {
                    if entry.action == Action::Remind && heard == contact.heard {
                        contact.reminders += 1;
                    }
                    contact.stage = if is_over { Stage::Over } else { Stage::Told };
                    contact.is_told = true;
                    contact.last = now;
                    contact.heard = heard;
                    contact.pending = Some(id);
                    contact.naming = match entry.action {
                        _ if !unnamed.contains(&entry.key) => None,
                        Action::Remind => contact.naming,
                        _ => Some(Naming::Follows),
                    };
                }
                Action::Resolve => {
                    contact.stage = Stage::Over;
                    contact.is_told = true;
                    contact.last = now;
                    contact.pending = Some(id);
                }
                Action::Acknowledge | Action::Digest | Action::Test | Action::Silence | Action::Unsilence => {}
            }
        }
        for entry in entries {
            let what = entry.action.word();
            let text = match (entries.len(), action) {
                (1, _) => format!("{what} to `{name}`: {because}"),
                (2, _) => format!("{what} to `{name}` in one message with 1 other: {because}"),
                (count, _) => format!("{what} to `{name}` in one message with {} others: {because}", count - 1),
            };
            self.note_about(run, &entry.key, "page", &text);
        }
        let may_fall_back = matches!(action, Action::Trigger | Action::Resolve | Action::Digest);
        let fallback_at = rule.fallback.as_ref().filter(|_| may_fall_back).map(|_| now + signed(rule.fallback_after));
        let keys: Vec<String> = entries.iter().map(|it| it.key.clone()).collect();
        let out = Out {
            notifier: name.to_string(),
            action,
            at: now,
            keys: keys.clone(),
            names: Vec::new(),
            fallback_at,
            error: None,
            refused: false,
            title: words::clip(&message.title, TITLE_MAX),
            next: None,
        };
        self.outs.insert(id.clone(), out);
        run.keep(Row::Out(id.clone()));
        if self.outs.len() > OUTS_MAX
            && let Some(oldest) = self.outs.iter().min_by_key(|(_, it)| it.at).map(|(id, _)| id.clone())
        {
            self.settle(run, &oldest);
        }
        run.change.deliveries.push(Delivery {
            id,
            key: first.key.clone(),
            notifier: name.to_string(),
            action,
            at: now,
            expires,
            message,
            follows,
            silence: None,
            because,
        });
        let follow = unnamed.into_iter().filter(|it| !reminded.contains(it.as_str())).collect();
        self.put_rest(run, name, &first.key, follow, 0);
        // The next reminder is counted from here.
        for key in keys {
            self.weigh(run, &key);
        }
    }

    /// Takes back the message with which a contact was told, when it was not delivered and all that it is
    /// about is over. True when the contact has heard nothing so far.
    fn take_back(&mut self, run: &mut Run<'_>, key: &str, name: &str) -> bool {
        let Some(contact) = self.alerts.get(key).and_then(|it| it.contacts.get(name)) else { return true };
        let Some(pending) = contact.pending.clone() else { return !contact.reached };
        let Some(out) = self.outs.get(&pending) else { return !contact.reached };
        if !out.keys.iter().all(|it| self.alerts.get(it).is_none_or(|it| it.ended.is_some())) {
            return false;
        }
        let reached = contact.reached;
        run.change.superseded.push(pending.clone());
        self.settle(run, &pending);
        !reached
    }

    /// Takes back what says that somebody has seen what is over by now, or what nobody has any more. News of an alert
    /// go in order: what waits in vain would hold up what comes after it.
    pub(super) fn drop_acknowledgements(&mut self, run: &mut Run<'_>) {
        let has = |key: &String| self.alerts.get(key).is_some_and(|it| it.ended.is_none() && it.acked.is_some());
        let idle = |it: &Out| it.action == Action::Acknowledge && !it.keys.iter().any(has);
        let idle = self.outs.iter().filter(|(_, it)| idle(it));
        let idle: Vec<(String, Out)> = idle.map(|(id, it)| (id.clone(), it.clone())).collect();
        for (id, out) in idle {
            for key in &out.keys {
                let text = format!("`{}` is not told any more that somebody has seen it", out.notifier);
                self.note_about(run, key, "delivery", &text);
            }
            run.change.superseded.push(id.clone());
            self.settle(run, &id);
        }
    }

    /// Takes back that somebody has seen it: another has, which is about to be said.
    fn replace_acknowledgement(&mut self, run: &mut Run<'_>, name: &str, entries: &[Entry]) {
        let same = |it: &Out| {
            let is_said_again = |key: &String| entries.iter().any(|it| it.key == *key);
            it.action == Action::Acknowledge && it.notifier == name && it.keys.iter().all(is_said_again)
        };
        let same: Vec<String> = self.outs.iter().filter(|(_, it)| same(it)).map(|(id, _)| id.clone()).collect();
        for id in same {
            run.change.superseded.push(id.clone());
            self.settle(run, &id);
        }
    }

    /// Takes back that something is over which fails again, as long as that is not sent: whoever reads that it is down
    /// and then that it recovered takes it for up. Where nothing was heard of it before it stays: it is all that says so.
    fn replace_recoveries(&mut self, run: &mut Run<'_>, name: &str, entries: &[Entry]) {
        let again: BTreeSet<&str> =
            entries.iter().filter(|it| it.action == Action::Trigger).map(Entry::subject).collect();
        let is_heard =
            |key: &String| self.alerts.get(key).and_then(|it| it.contacts.get(name)).is_some_and(|it| it.reached);
        let is_again = |key: &String| again.contains(subject_of(key)) && is_heard(key);
        let stale = |it: &Out| it.action == Action::Resolve && it.notifier == name && it.keys.iter().all(is_again);
        let stale = self.outs.iter().filter(|(_, it)| stale(it));
        let stale: Vec<(String, Out)> = stale.map(|(id, it)| (id.clone(), it.clone())).collect();
        for (id, out) in stale {
            for key in &out.keys {
                let text = format!("`{name}` is not told any more that this was over: it is told that it failed again");
                self.note_about(run, key, "delivery", &text);
            }
            run.change.superseded.push(id.clone());
            self.settle(run, &id);
        }
    }

    fn items<'b>(&'b self, run: &Run<'_>, entries: &[Entry], unheard: &[String]) -> Vec<Item<'b>> {
        let item = |entry: &Entry| {
            let alert = self.alerts.get(&entry.key)?;
            let children = alert.children().iter().filter_map(|it| self.alerts.get(it));
            let children: Vec<(&Alert, String)> = children.map(|it| (it, why_now(run, it))).collect();
            Some(Item {
                action: entry.action,
                why: why_now(run, alert),
                is_unheard: unheard.contains(&entry.key),
                goes_on: self.is_worse_now(run, alert),
                children,
                alert,
            })
        };
        entries.iter().filter_map(item).collect()
    }

    /// True when a probe was degraded until it went down: nobody is to read that it recovered.
    fn is_worse_now(&self, run: &Run<'_>, alert: &Alert) -> bool {
        let down = |it: &ProbeId| run.probes.get(it).is_some_and(|it| it.health() == Health::Down);
        alert.ended.is_some() && alert.concern() == Concern::Degraded && alert.probe().is_some_and(down)
    }

    fn because(&self, entries: &[Entry], name: &str) -> String {
        let mut whys: Vec<&str> = Vec::new();
        for entry in entries {
            let Some(contact) = self.alerts.get(&entry.key).and_then(|it| it.contacts.get(name)) else { continue };
            if !whys.contains(&contact.because.as_str()) && whys.len() < LISTED_MAX {
                whys.push(&contact.because);
            }
        }
        whys.join("; ")
    }

    /// Drops an alert that is over and of which there is no more to tell or to hear.
    pub(super) fn forget(&mut self, run: &mut Run<'_>, key: &str) {
        let Some(alert) = self.alerts.get(key) else { return };
        let is_settled = |it: &Contact| it.stage == Stage::Over && it.pending.is_none();
        let is_needed = alert.common.as_ref().is_some_and(|it| self.alerts.contains_key(it));
        let waits = alert.contacts.keys().any(|it| self.lanes.get(it).is_some_and(|it| it.get(key).is_some()));
        let is_out = self.outs.values().any(|it| it.keys.iter().any(|it| it == key));
        if alert.ended.is_none() || is_needed || waits || is_out || !alert.contacts.values().all(is_settled) {
            return;
        }
        let children: Vec<String> = alert.children().to_vec();
        self.alerts.remove(key);
        run.keep(Row::Alert(key.to_string()));
        for child in children {
            self.forget(run, &child);
        }
    }

    /// What waits and what is on its way, by notifier: for whoever asks why nothing came.
    pub fn backlog(&self) -> BTreeMap<&str, usize> {
        let mut backlog: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, lane) in &self.lanes {
            *backlog.entry(name).or_default() += lane.waiting.len();
        }
        for out in self.outs.values() {
            *backlog.entry(&out.notifier).or_default() += 1;
        }
        backlog.retain(|_, it| *it > 0);
        backlog
    }
}

/// Why, as it is known now; after a start what was known then.
pub(super) fn why_now(run: &Run<'_>, alert: &Alert) -> String {
    let known = || {
        let state = run.probes.get(alert.probe()?)?;
        let concerns = state.concerns();
        let concern = concerns.iter().find(|it| it.concern == alert.concern())?;
        match state.last_trouble().and_then(|it| it.trouble.as_ref()) {
            Some(trouble) if concern.text == trouble.brief => Some(trouble.text.clone()),
            _ => Some(concern.text.clone()).filter(|it| !it.is_empty()),
        }
    };
    known().filter(|_| alert.ended.is_none()).unwrap_or_else(|| alert.why.clone())
}
