//! Names for which a message had no room: they follow in messages that say nothing else, a minute apart.
//!
//! A channel with little room is told of a storm in one message that has as many names as it holds. What is left
//! waits for its turn: it is no page, so pages go before it, it counts as any message under a limit, and it leaves the
//! last one of a limit for a page. Who recovered, was seen, or was held back meanwhile is not named any more, nor is
//! what has no room in the last of `MESSAGES_MAX`: each of these is written down.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use crate::domain::alert::delivery::{Action, Delivery, Message};
use crate::domain::alert::names::{self, Room};
use crate::domain::alert::policy::alert::{Alert, Naming};
use crate::domain::alert::policy::deliver::{Out, TITLE_MAX, why_now};
use crate::domain::alert::policy::keep::Row;
use crate::domain::alert::policy::lane::{LISTED_MAX, Rest};
use crate::domain::alert::policy::{AlertBoard, Run};
use crate::domain::alert::rules::NotifierRule;
use crate::domain::alert::sms;
use crate::domain::alert::words::{self, Item};

/// Messages that say nothing but names, after one that had no room for them: what is more is read on a screen. As many as
/// name a storm of 200 whose names share nothing and are as long as a label of DNS may be: 63 characters and a comma, of
/// which ten segments hold 22 beside what else stands there.
const MESSAGES_MAX: u32 = 9;
/// Names are no help any more when they come later than this: what is down has changed.
const EXPIRES: SignedDuration = SignedDuration::from_mins(10);
/// A short id takes no more room, see `service::notify::text`.
const WIDEST_ID: &str = "#12345678";
/// Where all names stand.
const COMMAND: &str = "hotseat alerts";

/// How `explain` says that a name follows.
pub fn no_room(notifier: &str) -> String {
    format!("no room for its name: `{notifier}` is told it in a message that follows")
}

/// How `explain` begins to say that a name went out.
pub fn named_to(notifier: &str) -> String {
    format!("named to `{notifier}`: ")
}

/// How `explain` begins to say that a name does not go out, though it was to.
pub fn not_named_to(notifier: &str) -> String {
    format!("not named to `{notifier}`: ")
}

/// Writes a message short for a channel with little room, and answers the open alerts whose names it cuts; `follows` says
/// of which of them a later message has the name.
pub(super) fn shorten(message: &mut Message, rule: &NotifierRule, follows: &dyn Fn(&str) -> bool) -> Vec<String> {
    let Some(segments) = rule.segments.filter(|_| message.alerts.len() > LISTED_MAX) else { return Vec::new() };
    written(message, segments, follows)
}

fn written(message: &mut Message, segments: usize, follows: &dyn Fn(&str) -> bool) -> Vec<String> {
    let fits = |it: &str| sms::fits(it, WIDEST_ID, segments);
    let made = |elsewhere| names::brief(message, &Room { width: &sms::width, fits: &fits, elsewhere });
    let open: BTreeSet<&str> =
        message.alerts.iter().filter(|it| it.ended.is_none()).map(|it| it.key.as_str()).collect();
    let is_to_follow = |key: &String| open.contains(key.as_str()) && follows(key);
    let next = format!("next SMS, or {COMMAND}");
    let with_next = made(&next).filter(|it| it.unnamed.iter().any(is_to_follow));
    // What is over stands there no more.
    let elsewhere = if open.is_empty() { "" } else { COMMAND };
    let Some(brief) = with_next.or_else(|| made(elsewhere)) else { return Vec::new() };
    let cut = brief.unnamed.into_iter().filter(|it| open.contains(it.as_str())).collect();
    message.brief = Some(brief.text);
    cut
}

impl AlertBoard {
    /// Remembers what a message had no room for.
    pub(super) fn put_rest(&mut self, run: &mut Run<'_>, name: &str, key: &str, unnamed: Vec<String>, messages: u32) {
        if unnamed.is_empty() {
            return;
        }
        for alert in &unnamed {
            self.note_about(run, alert, "page", &no_room(name));
        }
        let lane = self.lanes.entry(name.to_string()).or_default();
        let mut alerts = lane.rest.take().map(|it| it.alerts).unwrap_or_default();
        alerts.extend(unnamed);
        alerts.sort_unstable();
        alerts.dedup();
        lane.rest = Some(Rest { key: key.to_string(), alerts, at: run.now, messages });
        run.keep(Row::Lane(name.to_string()));
    }

    /// Sends names that had no room when it is their turn; true when there were some.
    pub(super) fn flush_rest(&mut self, run: &mut Run<'_>, rule: &NotifierRule) -> bool {
        let (now, name) = (run.now, rule.name.as_str());
        let Some(lane) = self.lanes.get_mut(name) else { return false };
        if lane.rest_due(rule).is_none_or(|it| it > now) {
            return false;
        }
        let Some(rest) = lane.rest.take() else { return false };
        run.keep(Row::Lane(name.to_string()));
        for key in &rest.alerts {
            if let Some(why) = self.alerts.get(key).and_then(|it| self.over_before(it)) {
                self.not_named(run, key, name, &why);
            }
        }
        let alerts = rest.alerts.iter().filter_map(|it| self.alerts.get(it));
        let items: Vec<Item<'_>> = alerts
            .filter(|it| self.over_before(it).is_none())
            .map(|alert| Item {
                action: Action::Trigger,
                alert,
                why: why_now(run, alert),
                is_unheard: false,
                goes_on: false,
                children: Vec::new(),
            })
            .collect();
        if items.is_empty() {
            return false;
        }
        let all: Vec<String> = items.iter().map(|it| it.alert.key.clone()).collect();
        let mut message = words::continued(now, &self.rules.time_zone(), &items);
        let messages = rest.messages + 1;
        let has_next = messages < MESSAGES_MAX;
        let segments = rule.segments.unwrap_or(sms::SEGMENTS_MAX);
        let cut: BTreeSet<String> = written(&mut message, segments, &|_| has_next).into_iter().collect();
        let (cut, named): (Vec<String>, Vec<String>) = all.into_iter().partition(|it| cut.contains(it));
        if !has_next || named.is_empty() {
            for key in &cut {
                self.not_named(run, key, name, &format!("the last message has no room for it either: {COMMAND}"));
            }
        }
        if named.is_empty() {
            return false;
        }
        let lane = self.lanes.entry(name.to_string()).or_default();
        let number = lane.number.max(self.numbers_from) + 1;
        lane.spend(now, &[], rule.limit);
        lane.number = number;
        let id = format!("{}:{name}:names:{number}", rest.key);
        for key in &named {
            let text = format!("{}the message before had no room for its name", named_to(name));
            self.note_about(run, key, "page", &text);
        }
        let out = Out {
            notifier: name.to_string(),
            action: Action::Digest,
            at: now,
            // Nothing depends on it: whoever is to be told was told before.
            keys: Vec::new(),
            names: named,
            fallback_at: None,
            error: None,
            refused: false,
            title: words::clip(&message.title, TITLE_MAX),
            next: None,
        };
        self.outs.insert(id.clone(), out);
        run.keep(Row::Out(id.clone()));
        run.change.deliveries.push(Delivery {
            id,
            key: rest.key.clone(),
            notifier: name.to_string(),
            action: Action::Digest,
            at: now,
            expires: Some(now + EXPIRES),
            message,
            follows: None,
            silence: None,
            because: "the message before had no room for these names".to_string(),
        });
        if has_next {
            self.put_rest(run, name, &rest.key, cut, messages);
        }
        true
    }

    /// Why a name that was to follow does not: what it is about is over, seen or held back, alone or with its cause.
    fn over_before(&self, alert: &Alert) -> Option<String> {
        let cause = alert.common.as_ref().and_then(|it| self.alerts.get(it));
        [Some(alert), cause].into_iter().flatten().find_map(|it| {
            if it.ended.is_some() {
                return Some("it was over before its turn".to_string());
            }
            if let Some(ack) = &it.acked {
                return Some(format!("{} had acknowledged it before its turn", ack.by));
            }
            it.withheld.as_ref().map(|it| format!("held back before its turn: {}", it.why.text()))
        })
    }

    /// A name that was to follow does not.
    fn not_named(&mut self, run: &mut Run<'_>, key: &str, notifier: &str, why: &str) {
        self.set_naming(run, key, notifier, Naming::Cut);
        self.note_about(run, key, "page", &format!("{}{why}", not_named_to(notifier)));
    }

    /// What became of the name of an alert.
    pub(super) fn set_naming(&mut self, run: &mut Run<'_>, key: &str, notifier: &str, naming: Naming) {
        let contact = self.contact_mut(run, key, notifier);
        if let Some(it) = contact.and_then(|it| it.naming.as_mut()) {
            *it = naming;
        }
    }

    /// A message with names did not go.
    pub(super) fn cut_names(&mut self, run: &mut Run<'_>, out: Option<&Out>, why: &str) {
        for (out, key) in out.iter().flat_map(|it| it.names.iter().map(move |key| (it, key))) {
            self.not_named(run, key, &out.notifier, why);
        }
    }
}
