//! What waits for one notifier, and when it may go: several things in one message, never too many messages.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::alert::Severity;
use crate::domain::alert::delivery::Action;
use crate::domain::alert::policy::waiting::{Entry, Waiting};
use crate::domain::alert::rules::{Limit, NotifierRule};
use crate::domain::format;

/// Alerts that one message lists in words; more are counted by group.
pub const LISTED_MAX: usize = 3;

/// In a storm the next message waits this long after the last: one in a minute is read, five are not.
pub const STORM_PACE: SignedDuration = SignedDuration::from_secs(60);

/// What somebody was paged about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// See [`Entry::subject`].
    pub subject: String,
    /// How bad it was.
    pub severity: Severity,
    /// When.
    pub at: Timestamp,
}

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
    /// What the pages of the last minute were about, the newest last: of each severity at most as many as make a storm.
    #[serde(default)]
    pub pages: Vec<Page>,
    /// When the last messages under a limit went, in milliseconds since the epoch, rounded up; oldest first, at most
    /// as many as the limit lets through.
    #[serde(default)]
    pub sent: VecDeque<i64>,
    /// Deliveries so far: part of their ids.
    pub number: u64,
    /// Names for which a message had no room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
}

/// Names for which a message had no room: another says them when a person had time to read the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// The key of the message that had no room.
    pub key: String,
    /// The alerts.
    pub alerts: Vec<String>,
    /// When that message went.
    pub at: Timestamp,
    /// Messages so far that said nothing but such names.
    pub messages: u32,
}

impl Lane {
    /// True when there is something to send, now or later.
    pub fn has_more(&self) -> bool {
        !self.waiting.is_empty() || self.rest.is_some()
    }

    /// When this lane is to be looked at: something may go.
    pub fn wake(&self, rule: &NotifierRule) -> Option<Timestamp> {
        self.due(rule).into_iter().chain(self.rest_due(rule)).min()
    }

    /// When names that had no room may go; `None` when there are none. The last message that a limit lets through is
    /// left for a page.
    pub fn rest_due(&self, rule: &NotifierRule) -> Option<Timestamp> {
        let last = self.rest.as_ref()?.at.max(self.last.unwrap_or(Timestamp::MIN));
        let free_at = rule.limit.and_then(|it| self.free_at(Limit { count: it.count.saturating_sub(1), ..it }));
        Some(free_at.map_or(last + STORM_PACE, |it| it.max(last + STORM_PACE)))
    }

    /// When the next message may go; `None` when nothing waits.
    pub fn due(&self, rule: &NotifierRule) -> Option<Timestamp> {
        let first = self.waiting.due()?;
        let mut at = first;
        if let Some(last) = self.last.filter(|_| !rule.keeps_apart())
            && self.run + self.waiting.len() > LISTED_MAX
        {
            let paced = at.max(last + STORM_PACE);
            at = self.news_due().map_or(paced, |it| it.min(paced));
        }
        if let Some(free_at) = rule.limit.and_then(|it| self.free_at(it)) {
            at = at.max(free_at);
        }
        Some(at)
    }

    /// When the first page about something else than the last minute's may go, whatever else was told meanwhile; `None`
    /// when none waits.
    ///
    /// Somebody must get up for it, so recoveries, acknowledgements, warnings and one probe that comes and goes do not
    /// hold it: only pages about other things that are no less bad, more than are listed in one message. More than those
    /// are one message too, which goes at once unless somebody was paged in the last minute: then it is a storm.
    fn news_due(&self) -> Option<Timestamp> {
        // By severity, the worst first: how many wait, and when the first of them is due.
        let mut news = [(0_usize, None::<Timestamp>); 4];
        let place = |it: Severity| Severity::Critical as usize - it as usize;
        for entry in self.waiting.iter().filter(|it| it.action == Action::Trigger && self.is_news(it)) {
            let (count, due) = &mut news[place(entry.severity)];
            *count += 1;
            *due = Some(due.map_or(entry.due, |it| it.min(entry.due)));
            if news[0].0 > LISTED_MAX {
                // The rest is not looked at: no other is due before the first of all.
                return news[0].1.map(|it| self.in_storm(it));
            }
        }
        let mut waiting = 0;
        let mut first = None;
        for (at, (count, due)) in news.into_iter().enumerate() {
            waiting += count;
            let Some(due) = due else { continue };
            let told = |it: &&Page| place(it.severity) <= at && due < it.at + STORM_PACE;
            if waiting + self.pages.iter().filter(told).count() > LISTED_MAX {
                let paced = self.in_storm(due);
                return Some(first.map_or(paced, |it: Timestamp| it.min(paced)));
            }
            first = Some(first.map_or(due, |it: Timestamp| it.min(due)));
        }
        first
    }

    /// When many pages of which the first is due then may go: a minute after the last page, whatever that was about.
    fn in_storm(&self, due: Timestamp) -> Timestamp {
        let last = self.pages.iter().map(|it| it.at).max();
        last.map_or(due, |it| due.max(it + STORM_PACE))
    }

    /// True when no page of the minute before was about the same and as bad.
    fn is_news(&self, entry: &Entry) -> bool {
        let same = |it: &Page| {
            it.subject == entry.subject() && it.severity >= entry.severity && entry.due < it.at + STORM_PACE
        };
        !self.pages.iter().any(same)
    }

    /// Why what waits here is held until [`Lane::due`], when it is held longer than its own wait.
    pub fn held_by(&self, rule: &NotifierRule) -> Option<String> {
        let due = self.due(rule)?;
        if self.waiting.due().is_some_and(|it| it >= due) {
            return None;
        }
        let by_limit = rule.limit.filter(|it| self.free_at(*it) == Some(due));
        Some(by_limit.map_or_else(
            || format!("what comes after {LISTED_MAX} alerts in a minute is told once a minute"),
            |it| {
                let messages = format::plural(u64::from(it.count), "message");
                format!("`limit` lets {messages} through in {}", format::span(it.per))
            },
        ))
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
        self.pages.retain(|it| it.at <= now);
        if let Some(rest) = &mut self.rest {
            rest.at = rest.at.min(now);
        }
        let is_ahead = last.is_some() || self.sent.back().is_some_and(|it| *it > ahead);
        if is_ahead {
            self.last = self.last.filter(|it| *it <= now);
            self.sent.iter_mut().for_each(|it| *it = (*it).min(ahead));
        }
        is_ahead
    }

    /// Notes that a message went.
    pub fn spend(&mut self, now: Timestamp, entries: &[Entry], limit: Option<Limit>) {
        let count = entries.len();
        self.pages.retain(|it| now < it.at + STORM_PACE);
        for entry in entries.iter().filter(|it| it.action == Action::Trigger) {
            self.pages.retain(|it| it.subject != entry.subject() || it.severity > entry.severity);
            let same = self.pages.iter().filter(|it| it.severity == entry.severity);
            if same.clone().count() > LISTED_MAX
                && let Some(oldest) = self.pages.iter().position(|it| it.severity == entry.severity)
            {
                self.pages.remove(oldest);
            }
            self.pages.push(Page { subject: entry.subject().to_string(), severity: entry.severity, at: now });
        }
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
        let mut pages = earlier.pages;
        pages.extend(self.pages.iter().filter(|it| !pages.contains(it)).cloned().collect::<Vec<_>>());
        self.pages = pages;
        let mut sent = earlier.sent;
        sent.extend(self.sent.iter().copied().filter(|it| !sent.contains(it)).collect::<Vec<_>>());
        self.sent = sent;
        self.rest = self.rest.take().or(earlier.rest);
        let mut waiting = std::mem::replace(&mut self.waiting, earlier.waiting);
        waiting.take().into_iter().for_each(|it| self.put(it));
    }

    /// What is kept of it over a restart besides what waits.
    pub(super) fn head(&self) -> Self {
        let Self { waiting: _, last, run, pages, sent, number, rest } = self;
        let (pages, sent, rest) = (pages.clone(), sent.clone(), rest.clone());
        Self { waiting: Waiting::default(), last: *last, run: *run, pages, sent, number: *number, rest }
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
        of(key, Severity::Critical, Action::Trigger, seconds)
    }

    fn of(key: &str, severity: Severity, action: Action, seconds: i64) -> Entry {
        Entry::new(key, severity, action, at(seconds), at(seconds))
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
                let went = lane.waiting.take();
                lane.spend(at(second), &went, rule.limit);
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
        lane.spend(at(5000), &[entry("b", 5000)], rule.limit);
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
                    let went = lane.waiting.take();
                    lane.spend(now, &went, rule.limit);
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
        lane.spend(at(0), &lane.waiting.clone().take(), None);
        lane.take("a");
        lane.put(entry("b", 10));
        assert_eq!(lane.due(&rule), Some(at(10)));
        lane.put(entry("c", 11));
        lane.put(entry("d", 12));
        assert_eq!(lane.due(&rule), Some(at(60)));
        let why = lane.held_by(&rule);
        assert_eq!(why.as_deref(), Some("what comes after 3 alerts in a minute is told once a minute"));
    }

    /// Messages of one entry each: what, how bad, and when.
    fn told(messages: &[(&str, Severity, Action, i64)]) -> Lane {
        let mut lane = Lane::default();
        for (key, severity, action, seconds) in messages {
            lane.spend(at(*seconds), &[of(key, *severity, *action, *seconds)], None);
        }
        lane
    }

    #[test]
    fn what_is_new_and_critical_is_not_held_by_what_is_no_page_no_less_bad() {
        use Action::{Acknowledge, Resolve, Trigger};
        use Severity::{Critical, Warning};
        let rule = NotifierRule::new("chat", "slack");
        let one_flaps = [("a/1", Trigger), ("a/1", Resolve), ("a/2", Trigger), ("a/2", Resolve), ("a/2", Acknowledge)];
        let one_flaps = one_flaps.map(|(key, action)| (key, Critical, action, 0));
        let warnings = ["a/1", "b/1", "c/1", "d/1"].map(|key| (key, Warning, Trigger, 0));
        let pages = ["a/1", "b/1", "c/1"].map(|key| (key, Critical, Trigger, 0));
        for (messages, due) in [(&one_flaps[..], 20), (&warnings[..], 20), (&pages[..], 60)] {
            let mut lane = told(messages);
            lane.put(of("a/2", Warning, Resolve, 10));
            assert_eq!(lane.due(&rule), Some(at(60)), "a recovery waits");
            lane.put(of("z/1", Critical, Trigger, 20));
            assert_eq!(lane.due(&rule), Some(at(due)), "{messages:?}");
            let kept = Lane { waiting: lane.waiting.clone(), ..lane.head() };
            let kept: Lane = serde_json::from_str(&serde_json::to_string(&kept).expect("plain")).expect("the same");
            assert_eq!(kept.due(&rule), Some(at(due)), "after a restart");
        }
        let mut lane = told(&one_flaps);
        lane.put(of("a/3", Critical, Trigger, 20));
        assert_eq!(lane.due(&rule), Some(at(60)), "the one that flaps is no news");
    }

    #[test]
    fn many_that_newly_fail_are_one_message_that_waits_for_a_page_and_not_for_recoveries() {
        use Action::{Resolve, Trigger};
        use Severity::{Critical, Warning};
        let rule = NotifierRule::new("sms", "twilio");
        let recoveries = ["a/1", "b/1", "c/1", "d/1"].map(|key| (key, Critical, Resolve, 0));
        let page = [("a/1", Warning, Trigger, 0)];
        for (messages, due) in [(&recoveries[..], 25), (&page[..], 60)] {
            let mut lane = told(messages);
            ["p/1", "q/1", "r/1", "s/1", "t/1", "u/1"].iter().for_each(|it| lane.put(of(it, Critical, Trigger, 25)));
            assert_eq!(lane.due(&rule), Some(at(due)), "{messages:?}");
            lane.spend(at(due), &lane.waiting.clone().take(), None);
            lane.waiting.take();
            ["v/1", "w/1", "x/1", "y/1"].iter().for_each(|it| lane.put(of(it, Critical, Trigger, due + 5)));
            assert_eq!(lane.due(&rule), Some(at(due + 60)), "one message a minute");
        }
    }

    #[test]
    fn a_limit_that_holds_something_is_named() {
        let rule = limited(1, 600);
        let mut lane = Lane::default();
        lane.spend(at(0), &[entry("a", 0)], rule.limit);
        lane.put(entry("b", 10));
        assert_eq!(lane.held_by(&rule).as_deref(), Some("`limit` lets 1 message through in 10m"));
    }
}
