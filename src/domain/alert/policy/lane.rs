//! What waits for one notifier, and when it may go: several things in one message, never too many messages.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::alert::delivery::Action;
use crate::domain::alert::policy::waiting::{Entry, Waiting};
use crate::domain::alert::rules::{Limit, NotifierRule};

/// Alerts that one message lists in words; more are counted by group.
pub const LISTED_MAX: usize = 3;

/// In a storm the next message waits this long after the last: one in a minute is read, five are not.
pub const STORM_PACE: SignedDuration = SignedDuration::from_secs(60);

/// What waits for one notifier.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    /// What it is to be told.
    #[serde(default)]
    pub waiting: Waiting,
    /// When the last message went.
    pub last: Option<Timestamp>,
    /// Alerts told in messages that followed each other closely.
    pub run: usize,
    /// When the last messages under a limit went, in milliseconds since the epoch, rounded up; oldest first, at most
    /// as many as the limit lets through.
    #[serde(default)]
    pub sent: VecDeque<i64>,
    /// Deliveries so far: part of their ids.
    pub number: u64,
}

impl Lane {
    /// When the next message may go; `None` when nothing waits.
    pub fn due(&self, rule: &NotifierRule) -> Option<Timestamp> {
        let first = self.waiting.due()?;
        let mut at = first;
        if let Some(last) = self.last.filter(|_| !rule.keeps_apart())
            && self.run + self.waiting.len() > LISTED_MAX
        {
            at = at.max(last + STORM_PACE);
        }
        if let Some(free_at) = rule.limit.and_then(|it| self.free_at(it)) {
            at = at.max(free_at);
        }
        Some(at)
    }

    /// When the limit lets another message through; `None` when it always has.
    ///
    /// The message `count` before the next must be `per` old by then: so no stretch of `per`, wherever it
    /// begins, holds more than `count`. A bucket that fills up meanwhile would let nearly twice as many through.
    fn free_at(&self, limit: Limit) -> Option<Timestamp> {
        let before = self.sent.len().checked_sub(usize::try_from(limit.count.max(1)).unwrap_or(usize::MAX))?;
        let sent = Timestamp::from_millisecond(*self.sent.get(before)?).ok()?;
        sent.checked_add(signed(limit.per)).ok()
    }

    /// Makes nothing that went lie ahead of a clock that was set back: a page waits no longer than the limit says.
    pub fn set_back(&mut self, now: Timestamp) -> bool {
        let last = self.last.filter(|it| *it > now);
        let ahead = rounded_up(now);
        let is_ahead = last.is_some() || self.sent.back().is_some_and(|it| *it > ahead);
        if is_ahead {
            self.last = self.last.filter(|it| *it <= now);
            self.sent.iter_mut().for_each(|it| *it = (*it).min(ahead));
        }
        is_ahead
    }

    /// Notes that a message about `count` alerts went.
    pub fn spend(&mut self, now: Timestamp, count: usize, limit: Option<Limit>) {
        let follows = self.last.is_some_and(|it| now.duration_since(it) < STORM_PACE);
        self.run = if follows { self.run + count } else { count };
        self.last = Some(now);
        self.number += 1;
        if let Some(limit) = limit {
            self.sent.push_back(rounded_up(now));
            while self.sent.len() > usize::try_from(limit.count.max(1)).unwrap_or(usize::MAX) {
                self.sent.pop_front();
            }
        }
    }

    /// Puts what an earlier run wrote before what is known by now.
    pub fn precede(&mut self, earlier: Self) {
        self.number = self.number.max(earlier.number);
        self.last = self.last.max(earlier.last);
        self.run = self.run.max(earlier.run);
        let mut sent = earlier.sent;
        sent.extend(self.sent.iter().copied().filter(|it| !sent.contains(it)).collect::<Vec<_>>());
        self.sent = sent;
        let mut waiting = std::mem::replace(&mut self.waiting, earlier.waiting);
        waiting.take().into_iter().for_each(|it| self.put(it));
    }

    /// What is kept of it over a restart besides what waits.
    pub(super) fn head(&self) -> Self {
        let Self { waiting: _, last, run, sent, number } = self;
        Self { waiting: Waiting::default(), last: *last, run: *run, sent: sent.clone(), number: *number }
    }

    /// Puts something in, unless the same waits already.
    pub fn put(&mut self, entry: Entry) {
        let entry = match self.waiting.get(&entry.key) {
            // Whoever is about to hear of it hears how it is then.
            Some(same) if same.action == Action::Trigger && entry.action == Action::Remind => return,
            Some(same) => Entry { due: same.due.min(entry.due), queued: same.queued, ..entry },
            None => entry,
        };
        self.waiting.insert(entry);
    }

    /// Takes out what waits about an alert.
    pub fn take(&mut self, key: &str) -> Option<Entry> {
        self.waiting.remove(key)
    }

    /// What waits about an alert.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.waiting.get(key)
    }
}

/// Milliseconds since the epoch; what is between two counts as the later, so that a limit holds exactly.
fn rounded_up(at: Timestamp) -> i64 {
    let whole = at.as_millisecond();
    // Before the epoch the division rounds up already.
    if at.as_nanosecond() > i128::from(whole) * 1_000_000 { whole + 1 } else { whole }
}

/// A clock that was set back must not hold a page back longer than its own wait.
pub fn signed(it: Duration) -> SignedDuration {
    SignedDuration::try_from(it).unwrap_or(SignedDuration::from_hours(24 * 365))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).expect("a time")
    }

    fn entry(key: &str, seconds: i64) -> Entry {
        Entry { key: key.into(), action: Action::Trigger, queued: at(seconds), due: at(seconds) }
    }

    fn limited(count: u32, per_s: u64) -> NotifierRule {
        let limit = Some(Limit { count, per: Duration::from_secs(per_s) });
        NotifierRule { limit, ..NotifierRule::new("sms", "twilio") }
    }

    /// Something to tell every `pace` seconds for an hour; when it went.
    fn sent(rule: &NotifierRule, pace: usize) -> Vec<i64> {
        let mut lane = Lane::default();
        let mut sent = Vec::new();
        for second in (0..3600_i64).step_by(pace) {
            lane.put(entry(&second.to_string(), second));
            if lane.due(rule).is_some_and(|it| it <= at(second)) {
                lane.waiting.take();
                lane.spend(at(second), 1, rule.limit);
                sent.push(second);
            }
        }
        sent
    }

    #[test]
    fn a_limit_lets_a_burst_through_and_holds_in_every_stretch_of_its_time() {
        let sent = sent(&limited(5, 600), 61);
        assert_eq!(sent[..6], [0, 61, 122, 183, 244, 610]);
        assert_eq!(sent.len(), 30, "as many as the limit allows: {sent:?}");
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait_longer_than_the_limit() {
        let rule = limited(1, 600);
        let mut lane = Lane::default();
        lane.spend(at(5000), 1, rule.limit);
        lane.put(entry("a", 100));
        assert!(lane.set_back(at(100)) && !lane.set_back(at(100)));
        assert_eq!(lane.due(&rule), Some(at(700)));
    }

    proptest! {
        #[test]
        fn no_stretch_of_its_time_holds_more_than_a_limit_says(
            count in 1_u32..6,
            per in 60_u64..900,
            pauses in vec(0_i64..400_000, 1..80),
        ) {
            let rule = limited(count, per);
            let (mut lane, mut now, mut sent) = (Lane::default(), at(0), Vec::new());
            for pause in pauses {
                now += SignedDuration::from_micros(pause * 1003);
                lane.put(Entry { due: now, ..entry("a", 0) });
                // As kept over a restart.
                lane = serde_json::from_str(&serde_json::to_string(&lane).expect("plain")).expect("the same");
                if lane.due(&rule).is_some_and(|it| it <= now) {
                    lane.waiting.take();
                    lane.spend(now, 1, rule.limit);
                    sent.push(now);
                }
            }
            let span = signed(Duration::from_secs(per));
            for from in &sent {
                let within = sent.iter().filter(|it| *from <= **it && **it < *from + span).count();
                prop_assert!(within <= count as usize, "{within} of {count} from {from}");
            }
            prop_assert!(lane.sent.len() <= count as usize);
        }
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
