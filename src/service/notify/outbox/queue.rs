//! What waits to be delivered, as plain data: who may go next, who waits for whom, what is told of it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::domain::alert::delivery::{Action, Delivery, DeliveryNews, DeliveryState};
use crate::service::notify::outbox::{news, timer_at};
use crate::store::outbox::{Kept, Mark};

/// Deliveries that are open; past that the oldest that is no trigger is merged.
pub const OPEN_MAX: usize = 10_000;
/// Attempts of one notifier under way at a time, each for another alert.
const AT_ONCE_MAX: usize = 4;
/// News that wait for the runtime: what the whole outbox can have to say at once.
const NEWS_MAX: usize = 3 * OPEN_MAX;
/// The longest that a delivery of an earlier run waits for its next attempt; the clock may have jumped meanwhile.
const RESTORED_WAIT_MAX: Duration = Duration::from_secs(300);
/// Alerts that last of which it is remembered what was sent.
const LASTING_MAX: usize = 10_000;

/// Deliveries that are neither sent nor given up.
#[derive(Default)]
pub struct Queue {
    /// By number, so oldest first.
    open: BTreeMap<u64, Waiting>,
    numbers: HashMap<String, u64>,
    count: u64,
    /// Notifiers that asked to be left alone until then.
    pauses: HashMap<String, Instant>,
    /// What was sent last of an alert and not taken back, by notifier and key.
    lasting: BTreeMap<(String, String), Delivery>,
    news: VecDeque<DeliveryNews>,
}

/// One of them.
#[derive(Clone)]
pub struct Waiting {
    /// What is to be sent.
    pub delivery: Delivery,
    /// Attempts so far.
    pub attempts: u32,
    /// Recipients that have it.
    pub reached: Vec<String>,
    /// Times that the channel has refused it for good, in a row; 0 when it failed otherwise or was not tried.
    pub refusals: u32,
    /// When it is no longer worth sending.
    pub expires: Option<Instant>,
    /// Not before then.
    due: Instant,
    phase: Phase,
    superseded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It is being written down; `due` is when that is no longer waited for.
    Committing,
    Waiting,
    Sending,
}

/// How the outbox is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Deliveries that are neither sent nor given up.
    pub open: usize,
    /// When the oldest of them was decided.
    pub oldest: Option<Timestamp>,
    /// How long ago an attempt should have begun that nothing stands in the way of.
    pub overdue: Duration,
}

impl Queue {
    /// How it is doing.
    pub fn pulse(&self, timer: Instant) -> Pulse {
        let mut busy: HashMap<&str, usize> = HashMap::new();
        for waiting in self.open.values().filter(|it| it.phase == Phase::Sending) {
            *busy.entry(&waiting.delivery.notifier).or_default() += 1;
        }
        let mut before: HashSet<(&str, &str)> = HashSet::new();
        let mut overdue = Duration::ZERO;
        for waiting in self.open.values() {
            let notifier = waiting.delivery.notifier.as_str();
            let is_first = before.insert((notifier, &waiting.delivery.key));
            let has_turn = busy.get(notifier).is_none_or(|it| *it < AT_ONCE_MAX);
            if is_first && has_turn && waiting.phase != Phase::Sending {
                let due = self.pauses.get(notifier).map_or(waiting.due, |it| waiting.due.max(*it));
                overdue = overdue.max(timer.saturating_duration_since(due));
            }
        }
        Pulse { open: self.open.len(), oldest: self.open.values().map(|it| it.delivery.at).min(), overdue }
    }

    /// Puts a new delivery in; it may start once it is committed, at `latest` in any case.
    pub fn push(&mut self, delivery: Delivery, now: Timestamp, latest: Instant, timer: Instant) {
        let expires = delivery.expires.map(|it| timer_at(it, now, timer, Duration::MAX));
        let waiting = Waiting {
            attempts: 0,
            reached: Vec::new(),
            refusals: 0,
            expires,
            due: latest,
            phase: Phase::Committing,
            superseded: false,
            delivery,
        };
        self.insert(waiting);
    }

    /// Puts a delivery of an earlier run in.
    pub fn restore(&mut self, kept: Kept, now: Timestamp, timer: Instant) {
        let Kept { delivery, state, reached, .. } = kept;
        // A start may be with another config: what was refused is tried at once.
        let (attempts, due) = match &state {
            DeliveryState::Retrying { attempt, refused: true, .. } => (*attempt, timer),
            DeliveryState::Sending { attempt } => {
                let error = "the process ended during the attempt; it may have arrived".to_string();
                self.tell(
                    &delivery,
                    DeliveryState::Retrying { attempt: *attempt, next: now, error, refused: false },
                    now,
                    true,
                );
                (*attempt, timer)
            }
            DeliveryState::Retrying { attempt, next, .. } => (*attempt, timer_at(*next, now, timer, RESTORED_WAIT_MAX)),
            _ => (0, timer),
        };
        let expires = delivery.expires.map(|it| timer_at(it, now, timer, Duration::MAX));
        let phase = Phase::Waiting;
        self.insert(Waiting { delivery, attempts, reached, refusals: 0, expires, due, phase, superseded: false });
    }

    fn insert(&mut self, waiting: Waiting) {
        if self.numbers.contains_key(&waiting.delivery.id) {
            return;
        }
        self.count += 1;
        self.numbers.insert(waiting.delivery.id.clone(), self.count);
        self.open.insert(self.count, waiting);
    }

    fn remove(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.open.remove(&number)?;
        self.numbers.remove(&waiting.delivery.id);
        Some(waiting)
    }

    /// It is known whether these are on disk.
    pub fn committed(&mut self, ids: &[String], durable: bool, now: Timestamp, timer: Instant) {
        for id in ids {
            let Some(waiting) = self.numbers.get(id).and_then(|it| self.open.get_mut(it)) else { continue };
            if waiting.phase != Phase::Committing {
                // It was sent from memory meanwhile.
                continue;
            }
            (waiting.phase, waiting.due) = (Phase::Waiting, timer);
            let told = news(&waiting.delivery, DeliveryState::Queued, now, durable);
            self.push_news(told);
        }
    }

    /// A delivery is stale: it is dropped, or not tried again when it is on its way.
    pub fn supersede(&mut self, id: &str, now: Timestamp) {
        let Some(number) = self.numbers.get(id).copied() else { return };
        let Some(waiting) = self.open.get_mut(&number) else { return };
        if waiting.phase == Phase::Sending {
            waiting.superseded = true;
        } else if let Some(waiting) = self.remove(number) {
            self.tell(&waiting.delivery, DeliveryState::Merged, now, true);
        }
    }

    /// True when a delivery under way is stale.
    pub fn is_superseded(&self, id: &str) -> bool {
        self.numbers.get(id).and_then(|it| self.open.get(it)).is_some_and(|it| it.superseded)
    }

    /// Merges the oldest past the bound, triggers last; answers what is to be written of it.
    pub fn make_room(&mut self, now: Timestamp) -> Vec<Mark> {
        let mut marks = Vec::new();
        while self.open.len() > OPEN_MAX {
            let idle = |it: &&u64| self.open.get(it).is_some_and(|it| it.phase != Phase::Sending);
            let lesser = |it: &&u64| self.open.get(it).is_some_and(|it| it.delivery.action != Action::Trigger);
            let numbers: Vec<u64> = self.open.keys().copied().collect();
            let oldest = numbers.iter().filter(idle).find(lesser).or_else(|| numbers.iter().find(idle)).copied();
            let Some(waiting) = oldest.and_then(|it| self.remove(it)) else { break };
            marks.push(self.close(waiting, DeliveryState::Merged, now));
        }
        marks
    }

    /// Takes out who may go now, and answers what is to be written of those that expired and when to ask again.
    pub fn start(&mut self, now: Timestamp, timer: Instant) -> (Vec<Waiting>, Vec<Mark>, Option<Instant>) {
        self.pauses.retain(|_, until| *until > timer);
        let expired = |it: &Waiting| it.phase != Phase::Sending && it.expires.is_some_and(|it| it <= timer);
        let late: Vec<u64> = self.open.iter().filter(|(_, it)| expired(it)).map(|(number, _)| *number).collect();
        let late: Vec<Waiting> = late.into_iter().filter_map(|it| self.remove(it)).collect();
        let marks = late.into_iter().map(|it| self.close(it, DeliveryState::Expired, now)).collect();

        let mut busy: HashMap<String, usize> = HashMap::new();
        for waiting in self.open.values().filter(|it| it.phase == Phase::Sending) {
            *busy.entry(waiting.delivery.notifier.clone()).or_default() += 1;
        }
        let mut before: HashSet<(String, String)> = HashSet::new();
        let (mut started, mut next): (Vec<Waiting>, Option<Instant>) = (Vec::new(), None);
        for waiting in self.open.values_mut() {
            let Delivery { notifier, key, .. } = &waiting.delivery;
            // Older ones about the same alert go first, also those that wait or are under way.
            let is_first = before.insert((notifier.clone(), key.clone()));
            if waiting.phase == Phase::Sending {
                continue;
            }
            let mut due = waiting.due;
            if let Some(pause) = self.pauses.get(notifier) {
                due = due.max(*pause);
            }
            let wake = waiting.expires.into_iter().chain(is_first.then_some(due)).min();
            let under_way = busy.entry(notifier.clone()).or_default();
            if is_first && due <= timer && *under_way < AT_ONCE_MAX {
                *under_way += 1;
                if waiting.phase == Phase::Committing {
                    // The disk does not answer.
                    self.news.push_back(news(&waiting.delivery, DeliveryState::Queued, now, false));
                }
                waiting.phase = Phase::Sending;
                started.push(waiting.clone());
            } else if let Some(wake) = wake.filter(|it| *it > timer) {
                // What is due and has to wait for another is looked at when that one ends.
                next = next.into_iter().chain([wake]).min();
            }
        }
        (started, marks, next)
    }

    /// An attempt ended.
    pub fn ended(
        &mut self,
        delivery: &Delivery,
        state: DeliveryState,
        reached: Vec<String>,
        pause: Option<Instant>,
        (now, timer): (Timestamp, Instant),
        durable: bool,
    ) {
        self.tell(delivery, state.clone(), now, durable);
        if let Some(pause) = pause {
            self.pauses.insert(delivery.notifier.clone(), pause);
        }
        let Some(number) = self.numbers.get(&delivery.id).copied() else { return };
        match state {
            DeliveryState::Retrying { attempt, next, refused, .. } => {
                if let Some(waiting) = self.open.get_mut(&number) {
                    waiting.attempts = attempt;
                    waiting.reached = reached;
                    waiting.refusals = if refused { waiting.refusals.saturating_add(1) } else { 0 };
                    waiting.phase = Phase::Waiting;
                    waiting.due = timer_at(next, now, timer, Duration::MAX);
                }
            }
            state => {
                self.remove(number);
                if matches!(state, DeliveryState::Sent { .. }) {
                    self.lasts(delivery.clone());
                }
            }
        }
    }

    /// Remembers what was sent of an alert, until it is told that it is over.
    pub fn lasts(&mut self, delivery: Delivery) {
        let place = (delivery.notifier.clone(), delivery.key.clone());
        match delivery.action {
            Action::Trigger | Action::Remind | Action::Acknowledge => {
                if self.lasting.len() < LASTING_MAX || self.lasting.contains_key(&place) {
                    self.lasting.insert(place, delivery);
                }
            }
            Action::Resolve => {
                self.lasting.remove(&place);
            }
            Action::Digest | Action::Test | Action::Silence | Action::Unsilence => {}
        }
    }

    /// What a notifier sent last of alerts that last.
    pub fn lasting<'a>(&'a self, notifier: &'a str) -> impl Iterator<Item = &'a Delivery> {
        self.lasting.iter().filter(move |((name, _), _)| name == notifier).map(|(_, it)| it)
    }

    /// What waits for a notifier is tried now: its settings have changed.
    pub fn hurry(&mut self, notifier: &str, timer: Instant) {
        self.pauses.remove(notifier);
        let waiting = self.open.values_mut().filter(|it| it.phase == Phase::Waiting);
        waiting.filter(|it| it.delivery.notifier == notifier).for_each(|it| it.due = timer);
    }

    /// What was refused is tried now: a person has read the config again, and so means it to work.
    pub fn hurry_refused(&mut self, timer: Instant) {
        let refused = self.open.values_mut().filter(|it| it.phase == Phase::Waiting && it.refusals > 0);
        refused.for_each(|it| (it.due, it.refusals) = (timer, 0));
    }

    /// Says what became of a delivery.
    pub fn tell(&mut self, delivery: &Delivery, state: DeliveryState, at: Timestamp, durable: bool) {
        self.push_news(news(delivery, state, at, durable));
    }

    fn push_news(&mut self, news: DeliveryNews) {
        if self.news.len() == NEWS_MAX {
            self.news.pop_front();
        }
        self.news.push_back(news);
    }

    /// The next thing to say.
    pub fn next_news(&mut self) -> Option<DeliveryNews> {
        self.news.pop_front()
    }

    fn close(&mut self, waiting: Waiting, state: DeliveryState, now: Timestamp) -> Mark {
        self.tell(&waiting.delivery, state.clone(), now, true);
        Mark { id: waiting.delivery.id, state, at: now, reached: waiting.reached, attempt: None }
    }
}
