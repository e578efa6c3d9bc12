//! Hears what became of the messages, and lets a fallback take over what a notifier did not take.

use jiff::Timestamp;

use crate::domain::alert::delivery::{Action, DeliveryNews, DeliveryState};
use crate::domain::alert::policy::alert::{Alert, Contact, Naming, Stage};
use crate::domain::alert::policy::deliver::{NotifierState, Out};
use crate::domain::alert::policy::keep::Row;
use crate::domain::alert::policy::lane::signed;
use crate::domain::alert::policy::waiting::Entry;
use crate::domain::alert::policy::{AlertBoard, Run};

/// How a timeline says that somebody was told of an end.
const ENDED: &str = "told that it is over:";

impl AlertBoard {
    /// Hears what became of a delivery.
    pub(super) fn hear(&mut self, run: &mut Run<'_>, news: &DeliveryNews) {
        self.hear_of_notifier(run.now, news);
        let Some(out) = self.outs.get_mut(&news.id) else { return };
        let (name, what) = (out.notifier.clone(), out.action.word());
        match &news.state {
            DeliveryState::Queued | DeliveryState::Sending { .. } => {}
            DeliveryState::Retrying { attempt, next, error, refused } => {
                let is_first_refusal = *refused && !std::mem::replace(&mut out.refused, *refused);
                out.error = Some(error.clone());
                out.next = Some(*next);
                if is_first_refusal {
                    // Waiting longer for this channel helps nobody.
                    out.fallback_at = None;
                }
                let whole = out.clone();
                let keys = out.keys.clone();
                // The first attempts matter, later ones by their order: a day of retries must not push out the rest.
                if attempt.is_power_of_two() {
                    for key in keys {
                        self.note_about(
                            run,
                            &key,
                            "delivery",
                            &format!("attempt {attempt} of {what} by `{name}` failed: {error}"),
                        );
                    }
                }
                if whole.refused {
                    // It is tried seldom: after a restart the next attempt is still told right.
                    run.keep(Row::Out(news.id.clone()));
                }
                if is_first_refusal {
                    let seldom =
                        format!("`{name}` refuses the {what}; it stays unsent and is tried again seldom: {error}");
                    for key in &whole.keys {
                        self.note_about(run, key, "delivery", &seldom);
                    }
                    run.tell(&name, format!("could not be told ({what}): {error}"));
                    self.fall_back(run, &whole, error);
                }
            }
            DeliveryState::Sent { receipt, attempts } => {
                let receipt = receipt.as_ref().map(|it| format!(", receipt `{it}`")).unwrap_or_default();
                let tries = if *attempts > 1 { format!(" at attempt {attempts}") } else { String::new() };
                let undurable = if news.durable { "" } else { " (from memory: the disk keeps nothing)" };
                let out = self.settle(run, &news.id);
                for key in out.iter().flat_map(|it| &it.keys) {
                    if let Some(contact) = self.contact_mut(run, key, &name) {
                        contact.reached = true;
                        contact.first.get_or_insert_with(|| news.id.clone());
                        contact.taken = Some(news.at);
                    }
                    self.note_about(
                        run,
                        key,
                        "delivery",
                        &format!("`{name}` took the {what}{tries}{receipt}{undurable}"),
                    );
                }
                for key in out.iter().flat_map(|it| &it.names) {
                    self.set_naming(run, key, &name, Naming::At(news.at));
                    self.note_about(run, key, "delivery", &format!("`{name}` has its name{tries}{receipt}{undurable}"));
                }
                if let Some(out) = &out {
                    self.tell_delivered(run, out);
                }
                self.after_settling(run, out);
            }
            DeliveryState::Failed { attempts, error } => {
                let out = self.settle(run, &news.id);
                for key in out.iter().flat_map(|it| &it.keys) {
                    self.note_about(
                        run,
                        key,
                        "delivery",
                        &format!("`{name}` refuses the {what} after {attempts} attempts: {error}"),
                    );
                }
                self.cut_names(run, out.as_ref(), &format!("it refuses the message: {error}"));
                if let Some(out) = &out {
                    run.tell(&name, format!("could not be told ({what}): {error}"));
                    self.fall_back(run, out, error);
                }
                self.after_settling(run, out);
            }
            DeliveryState::Expired | DeliveryState::Merged => {
                let word = if news.state == DeliveryState::Expired {
                    "was not worth sending any more"
                } else {
                    "is in a later message"
                };
                let out = self.settle(run, &news.id);
                for key in out.iter().flat_map(|it| &it.keys) {
                    self.note_about(run, key, "delivery", &format!("the {what} to `{name}` {word}"));
                }
                self.cut_names(run, out.as_ref(), &format!("the message {word}"));
                self.after_settling(run, out);
            }
        }
    }

    fn hear_of_notifier(&mut self, now: Timestamp, news: &DeliveryNews) {
        if self.rules.notifier(&news.notifier).is_none() {
            self.notifiers.remove(&news.notifier);
            return;
        }
        let state = self.notifiers.entry(news.notifier.clone()).or_default();
        match &news.state {
            DeliveryState::Sent { .. } => {
                *state = NotifierState { sent_at: Some(now), failed_at: state.failed_at, ..NotifierState::default() };
            }
            DeliveryState::Retrying { error, next, .. } => {
                state.failures = state.failures.saturating_add(1);
                state.failed_at = Some(now);
                state.error = Some(error.clone());
                state.next = Some(*next);
            }
            DeliveryState::Failed { error, .. } => {
                state.failures = state.failures.saturating_add(1);
                state.failed_at = Some(now);
                state.error = Some(error.clone());
                state.next = None;
            }
            DeliveryState::Queued | DeliveryState::Sending { .. } | DeliveryState::Expired | DeliveryState::Merged => {}
        }
    }

    /// A delivery needs no more attention.
    pub(super) fn settle(&mut self, run: &mut Run<'_>, id: &str) -> Option<Out> {
        let out = self.outs.remove(id)?;
        run.keep(Row::Out(id.to_string()));
        run.settled.extend(out.keys.iter().cloned());
        for key in &out.keys {
            if let Some(contact) = self.contact_mut(run, key, &out.notifier)
                && contact.pending.as_deref() == Some(id)
            {
                contact.pending = None;
            }
        }
        Some(out)
    }

    fn after_settling(&mut self, run: &mut Run<'_>, out: Option<Out>) {
        for key in out.iter().flat_map(|it| &it.keys) {
            self.weigh(run, key);
        }
    }

    /// A line for the timeline: who was reached with what. A message that tells of an end as well has two.
    fn tell_delivered(&self, run: &mut Run<'_>, out: &Out) {
        let verb = match out.action {
            Action::Trigger | Action::Digest => "paged",
            Action::Remind => "reminded",
            Action::Acknowledge => "told of the acknowledgement:",
            Action::Resolve => ENDED,
            Action::Test | Action::Silence | Action::Unsilence => return,
        };
        let about: Vec<&Alert> = out.keys.iter().filter_map(|it| self.alerts.get(it)).collect();
        // What ended before it was sent is told as over.
        let is_page = matches!(out.action, Action::Trigger | Action::Digest);
        let is_over = |it: &&Alert| is_page && it.ended.is_some_and(|it| it <= out.at);
        let (over, on): (Vec<&Alert>, Vec<&Alert>) = about.into_iter().partition(is_over);
        for (verb, alerts) in [(verb, on), (ENDED, over)] {
            let Some(first) = alerts.first() else { continue };
            let person = first.contacts.get(&out.notifier).and_then(|it| it.person.clone());
            let whom = match person {
                Some(person) => format!("{person} by `{}`", out.notifier),
                None => format!("by `{}`", out.notifier),
            };
            let more = if alerts.len() > 1 { format!(" (with {} more)", alerts.len() - 1) } else { String::new() };
            run.tell(&first.name(), format!("{verb} {whom}{more}"));
        }
    }

    /// Lets fallbacks take over what stayed undelivered for too long.
    pub(super) fn fall_back_late(&mut self, run: &mut Run<'_>) {
        let late = self.outs.iter().filter(|(_, it)| it.fallback_at.is_some_and(|it| it <= run.now));
        for id in late.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            let Some(out) = self.outs.get_mut(&id) else { continue };
            out.fallback_at = None;
            run.keep(Row::Out(id));
            let out = out.clone();
            let error = out.error.clone().unwrap_or_else(|| "no answer yet".to_string());
            self.fall_back(run, &out, &error);
        }
    }

    /// Tells by the fallback what a notifier did not take. A notifier that knows of an alert is not asked again,
    /// so that fallbacks which name each other come to an end.
    fn fall_back(&mut self, run: &mut Run<'_>, out: &Out, error: &str) {
        if !matches!(out.action, Action::Trigger | Action::Digest | Action::Resolve) {
            return;
        }
        let name = &out.notifier;
        let next = self.rules.notifier(name).and_then(|it| it.fallback.as_deref());
        let Some(next) = next.and_then(|it| self.rules.notifier(it)).cloned() else {
            for key in &out.keys {
                self.note_about(run, key, "delivery", &format!("`{name}` has no fallback"));
            }
            return;
        };
        for key in &out.keys {
            let Some(alert) = self.alerts.get_mut(key) else { continue };
            if alert.contacts.contains_key(&next.name) {
                let text = format!("fallback `{}` knows of it already", next.name);
                self.note_about(run, key, "delivery", &text);
                continue;
            }
            let (is_over, severity) = (alert.ended.is_some(), alert.severity);
            let person = alert.contacts.get(name).and_then(|it| it.person.clone());
            let because = format!("fallback: `{name}` did not take it: {error}");
            let stage = if is_over { Stage::Ending } else { Stage::Waiting };
            let contact = Contact { stage, ..Contact::new(person, because, run.now) };
            alert.contacts.insert(next.name.clone(), contact);
            run.keep(Row::Alert(key.clone()));
            let action = if is_over { Action::Resolve } else { Action::Trigger };
            let due = run.now + signed(next.wait);
            let lane = self.lanes.entry(next.name.clone()).or_default();
            lane.put(Entry::new(key, severity, action, run.now, due));
            run.keep(Row::Waiting(next.name.clone(), key.clone()));
            self.note_about(
                run,
                key,
                "delivery",
                &format!("fallback `{}` takes over from `{name}`: {error}", next.name),
            );
        }
    }
}
