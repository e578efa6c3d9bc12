//! Names for which a message had no room: each is said all the same, in a message that comes when a minute has passed.
//!
//! A channel with little room is told of a storm in one message that has as many names as it holds. What is left
//! waits for its turn: it is no page, so pages go before it, and it counts as any message under a limit.
//! Who recovered or was seen meanwhile needs no name any more.

use jiff::SignedDuration;

use crate::domain::alert::delivery::{Action, Delivery, Message};
use crate::domain::alert::names::{self, Room};
use crate::domain::alert::policy::deliver::{Out, TITLE_MAX, why_now};
use crate::domain::alert::policy::keep::Row;
use crate::domain::alert::policy::lane::{LISTED_MAX, Rest};
use crate::domain::alert::policy::{AlertBoard, Run};
use crate::domain::alert::rules::NotifierRule;
use crate::domain::alert::sms;
use crate::domain::alert::words::{self, Item};

/// Messages that say nothing but names, after one that had no room for them: what is more is read on a screen.
const MESSAGES_MAX: u32 = 3;
/// Names are no help any more when they come later than this: what is down has changed.
const EXPIRES: SignedDuration = SignedDuration::from_mins(10);
/// A short id takes no more room, see `service::notify::text`.
const WIDEST_ID: &str = "#12345678";
/// Where all names stand.
const COMMAND: &str = "hotseat alerts";

/// Writes a message short for a channel with little room, and answers the alerts that are still to be named there.
pub(super) fn shorten(message: &mut Message, rule: &NotifierRule, is_last: bool) -> Vec<String> {
    let Some(segments) = rule.segments.filter(|_| message.alerts.len() > LISTED_MAX) else { return Vec::new() };
    let fits = |it: &str| sms::fits(it, WIDEST_ID, segments);
    let made = |elsewhere| names::brief(message, &Room { width: &sms::width, fits: &fits, elsewhere });
    let still = |unnamed: Vec<String>| -> Vec<String> {
        let is_open = |key: &String| message.alerts.iter().any(|it| it.key == *key && it.ended.is_none());
        unnamed.into_iter().filter(|it| !is_last && is_open(it)).collect()
    };
    let next = format!("next SMS, or {COMMAND}");
    let with_next = made(&next).filter(|it| !still(it.unnamed.clone()).is_empty());
    // What is over stands there no more.
    let elsewhere = if message.alerts.iter().any(|it| it.ended.is_none()) { COMMAND } else { "" };
    let Some(brief) = with_next.or_else(|| made(elsewhere)) else { return Vec::new() };
    let unnamed = still(brief.unnamed);
    message.brief = Some(brief.text);
    unnamed
}

impl AlertBoard {
    /// Remembers what a message had no room for.
    pub(super) fn put_rest(&mut self, run: &mut Run<'_>, name: &str, key: &str, unnamed: Vec<String>, messages: u32) {
        if unnamed.is_empty() {
            return;
        }
        for alert in &unnamed {
            self.note_about(
                run,
                alert,
                "page",
                &format!("no room for its name: `{name}` is told it in the next message"),
            );
        }
        let lane = self.lanes.entry(name.to_string()).or_default();
        let mut alerts = lane.rest.take().map(|it| it.alerts).unwrap_or_default();
        alerts.extend(unnamed);
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
        let alerts = rest.alerts.iter().filter_map(|it| self.alerts.get(it));
        let items: Vec<Item<'_>> = alerts
            .filter(|it| it.ended.is_none() && it.acked.is_none() && it.withheld.is_none())
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
        let named: Vec<String> = items.iter().map(|it| it.alert.key.clone()).collect();
        let mut message = words::continued(now, &self.rules.time_zone(), &items);
        let messages = rest.messages + 1;
        let unnamed = shorten(&mut message, rule, messages >= MESSAGES_MAX);
        let lane = self.lanes.entry(name.to_string()).or_default();
        let number = lane.number.max(self.numbers_from) + 1;
        lane.spend(now, &[], rule.limit);
        lane.number = number;
        let id = format!("{}:{name}:names:{number}", rest.key);
        for key in named.iter().filter(|it| !unnamed.contains(it)) {
            self.note_about(
                run,
                key,
                "page",
                &format!("named to `{name}`: the message before had no room for its name"),
            );
        }
        let out = Out {
            notifier: name.to_string(),
            action: Action::Digest,
            at: now,
            // Nothing depends on it: whoever is to be told was told before.
            keys: Vec::new(),
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
        self.put_rest(run, name, &rest.key, unnamed, messages);
        true
    }
}
