//! What waits for one notifier, and when it may go: several things in one message, never too many messages.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::alert::delivery::Action;
use crate::domain::alert::rules::{Limit, NotifierRule};

/// Alerts that one message lists in words; more are counted by group.
pub const LISTED_MAX: usize = 3;

/// In a storm the next message waits this long after the last: one in a minute is read, five are not.
pub const STORM_PACE: SignedDuration = SignedDuration::from_secs(60);

/// One thing that one notifier is to be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The alert's key.
    pub key: String,
    /// What is told of it.
    pub action: Action,
    /// When it was decided.
    pub queued: Timestamp,
    /// When it may go.
    pub due: Timestamp,
}

/// What waits for one notifier.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    /// In the order in which it was decided.
    pub waiting: Vec<Entry>,
    /// When the last message went.
    pub last: Option<Timestamp>,
    /// Alerts told in messages that followed each other closely.
    pub run: usize,
    /// When the bucket of the limit is full again.
    pub full_at: Option<Timestamp>,
    /// Deliveries so far: part of their ids.
    pub number: u64,
}

impl Lane {
    /// When the next message may go; `None` when nothing waits.
    pub fn due(&self, rule: &NotifierRule) -> Option<Timestamp> {
        let first = self.waiting.iter().map(|it| it.due).min()?;
        let mut at = first;
        if let Some(last) = self.last.filter(|_| !rule.keeps_apart())
            && self.run + self.waiting.len() > LISTED_MAX
        {
            at = at.max(last + STORM_PACE);
        }
        if let (Some(limit), Some(full_at)) = (rule.limit, self.full_at) {
            at = at.max(full_at - signed(burst(limit)));
        }
        Some(at)
    }

    /// Notes that a message about `count` alerts went.
    pub fn spend(&mut self, now: Timestamp, count: usize, limit: Option<Limit>) {
        let follows = self.last.is_some_and(|it| now.duration_since(it) < STORM_PACE);
        self.run = if follows { self.run + count } else { count };
        self.last = Some(now);
        self.number += 1;
        if let Some(limit) = limit {
            let full_at = self.full_at.unwrap_or(now).max(now);
            self.full_at = Some(full_at + signed(one(limit)));
        }
    }

    /// Puts something in, unless the same waits already.
    pub fn put(&mut self, entry: Entry) {
        match self.waiting.iter_mut().find(|it| it.key == entry.key) {
            // Whoever is about to hear of it hears how it is then.
            Some(same) if same.action == Action::Trigger && entry.action == Action::Remind => {}
            Some(same) => *same = Entry { due: same.due.min(entry.due), queued: same.queued, ..entry },
            None => self.waiting.push(entry),
        }
    }

    /// Takes out what waits about an alert.
    pub fn take(&mut self, key: &str) -> Option<Entry> {
        let at = self.waiting.iter().position(|it| it.key == key)?;
        Some(self.waiting.remove(at))
    }

    /// What waits about an alert.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.waiting.iter().find(|it| it.key == key)
    }
}

/// How long it takes until the bucket holds one more.
fn one(limit: Limit) -> Duration {
    limit.per / limit.count.max(1)
}

/// How far ahead of full the bucket may be when a message still goes.
fn burst(limit: Limit) -> Duration {
    limit.per.saturating_sub(one(limit))
}

/// A clock that was set back must not hold a page back longer than its own wait.
pub fn signed(it: Duration) -> SignedDuration {
    SignedDuration::try_from(it).unwrap_or(SignedDuration::from_hours(24 * 365))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).expect("a time")
    }

    fn entry(key: &str, seconds: i64) -> Entry {
        Entry { key: key.into(), action: Action::Trigger, queued: at(seconds), due: at(seconds) }
    }

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_one_at_a_time() {
        let rule = NotifierRule {
            limit: Some(Limit { count: 5, per: Duration::from_secs(600) }),
            ..NotifierRule::new("sms", "twilio")
        };
        let mut lane = Lane::default();
        let mut sent = Vec::new();
        // Far enough apart to be no storm.
        for second in (0..1200).step_by(61) {
            lane.put(entry(&second.to_string(), second));
            while let Some(due) = lane.due(&rule).filter(|it| *it <= at(second)) {
                lane.waiting.clear();
                lane.spend(due, 1, rule.limit);
                sent.push(second);
            }
        }
        let in_any_ten_minutes =
            sent.iter().map(|from| sent.iter().filter(|it| (*from..*from + 600).contains(*it)).count()).max();
        assert_eq!(sent[..5], [0, 61, 122, 183, 244]);
        assert!(in_any_ten_minutes <= Some(9), "{sent:?}");
        assert!(sent.len() < 16, "{sent:?}");
    }

    #[test]
    fn a_storm_is_told_once_a_minute_and_single_alerts_at_once() {
        let rule = NotifierRule::new("sms", "twilio");
        let mut lane = Lane::default();
        lane.put(entry("a", 0));
        assert_eq!(lane.due(&rule), Some(at(0)));
        lane.take("a");
        lane.spend(at(0), 1, None);
        lane.put(entry("b", 10));
        assert_eq!(lane.due(&rule), Some(at(10)));
        lane.put(entry("c", 11));
        lane.put(entry("d", 12));
        assert_eq!(lane.due(&rule), Some(at(60)));
    }
}
