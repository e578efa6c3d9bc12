//! The outbox: at least once, in order for each alert, whatever hangs or fails.
//!
//! What is to be delivered is on disk before the first attempt, an attempt is on disk before it is made, and
//! what came of it afterwards. A process that dies in between therefore never loses a message, and repeats
//! one only when nobody can know whether it arrived. When the disk does not take it, it is sent from memory
//! and said to be not durable: a page that is sent is worth more than one that is written down.
//!
//! Each notifier is on its own: one that hangs holds up nobody else, and within a notifier a message waits
//! only for older ones about the same alert. How often and how long is tried is decided here for all kinds.

mod attempt;
pub mod fault;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::domain::alert::delivery::{Action, Delivery, DeliveryNews, DeliveryState, Message};
use crate::domain::alert::{AlertFact, Change, Severity};
use crate::domain::fact::Fact;
use crate::domain::request::Inbound;
use crate::service::notify::NotifierSpec;
use crate::service::notify::outbox::fault::Step;
pub use crate::service::notify::outbox::queue::Pulse;
use crate::service::notify::outbox::queue::Queue;
use crate::service::supervise::supervise;
use crate::service::{Reply, ServiceSetup};
use crate::store::outbox::{Kept, Mark};
use crate::store::{Commit, Store};

/// How long is waited for the disk before a message is sent from memory: a page that comes four seconds late
/// because a disk hangs is still a page.
const COMMIT_DEADLINE: Duration = Duration::from_secs(3);
/// Tests of a notifier under way at a time; a person tries one after the other.
const TESTS_MAX: usize = 8;

/// Delivers. Cloning is cheap; it ends with `ServiceSetup::cancel`.
#[derive(Clone)]
pub struct Outbox {
    inner: Arc<Inner>,
}

struct Inner {
    setup: ServiceSetup,
    store: Option<Store>,
    queue: Mutex<Queue>,
    specs: Mutex<HashMap<String, Known>>,
    /// There is something to start or to wait for.
    changed: Notify,
    /// There is something to tell.
    told: Notify,
    /// Attempts under way.
    attempts: TaskTracker,
    tests: TaskTracker,
}

/// A notifier in use.
#[derive(Clone)]
struct Known {
    spec: NotifierSpec,
    fingerprint: u64,
}

impl Outbox {
    /// Starts it. Must be called on a tokio runtime. Without a `store` everything is sent from memory.
    pub fn start(setup: &ServiceSetup, store: Option<Store>, specs: Vec<NotifierSpec>) -> Self {
        let inner = Arc::new(Inner {
            setup: setup.clone(),
            store,
            queue: Mutex::default(),
            specs: Mutex::default(),
            changed: Notify::new(),
            told: Notify::new(),
            attempts: TaskTracker::new(),
            tests: TaskTracker::new(),
        });
        let outbox = Self { inner };
        outbox.reload(specs);
        let inner = Arc::clone(&outbox.inner);
        supervise(setup, "outbox", move || Arc::clone(&inner).dispatch());
        let inner = Arc::clone(&outbox.inner);
        supervise(setup, "news of the outbox", move || Arc::clone(&inner).tell());
        outbox
    }

    /// Takes notifiers into use. What waits for one that was changed is tried again at once, and what was refused in
    /// any case.
    pub fn reload(&self, specs: Vec<NotifierSpec>) {
        let mut known = self.inner.specs();
        let old = std::mem::take(&mut *known);
        let mut changed = Vec::new();
        for spec in specs {
            let mut hasher = DefaultHasher::new();
            hasher.write(spec.kind.as_bytes());
            spec.notifier.fingerprint(&mut hasher);
            let fingerprint = hasher.finish();
            let (name, before) = (spec.name.clone(), old.get(&spec.name));
            let spec = match before {
                // What a notifier remembers of alerts that last stays with it.
                Some(before) if before.fingerprint == fingerprint => {
                    NotifierSpec { notifier: Arc::clone(&before.spec.notifier), ..spec }
                }
                _ => {
                    changed.push((name.clone(), Arc::clone(&spec.notifier)));
                    spec
                }
            };
            known.insert(name, Known { spec, fingerprint });
        }
        drop(known);
        let mut queue = self.inner.queue();
        for (name, notifier) in changed {
            queue.lasting(&name).for_each(|it| notifier.resume(it));
            queue.hurry(&name, clock::timer());
        }
        queue.hurry_refused(clock::timer());
        drop(queue);
        self.inner.changed.notify_one();
    }

    /// Goes on with what an earlier run left: deliveries that were not sent, what lasts, and what became of those of
    /// which it could not tell any more.
    pub fn restore(&self, deliveries: Vec<Kept>, lasting: Vec<Delivery>, settled: Vec<Kept>) {
        let (now, timer) = (clock::now(), clock::timer());
        let mut queue = self.inner.queue();
        for kept in settled {
            queue.tell(&kept.delivery, kept.state, kept.changed, true);
        }
        for delivery in lasting {
            if let Some(known) = self.inner.specs().get(&delivery.notifier) {
                known.spec.notifier.resume(&delivery);
            }
            queue.lasts(delivery);
        }
        for kept in deliveries {
            queue.restore(kept, now, timer);
        }
        drop(queue);
        self.inner.touch();
    }

    /// Keeps and delivers what the alert policy decided. Never waits.
    pub fn submit(&self, change: Change) {
        fault::here(Step::Decided);
        let (now, timer) = (clock::now(), clock::timer());
        let Change { rows, deliveries, superseded, told: _ } = change;
        let mut queue = self.inner.queue();
        let ids: Vec<String> = deliveries.iter().map(|it| it.id.clone()).collect();
        for delivery in &deliveries {
            queue.push(delivery.clone(), now, timer + COMMIT_DEADLINE, timer);
        }
        for id in &superseded {
            queue.supersede(id, now);
        }
        let marks = queue.make_room(now);
        drop(queue);
        let superseded = superseded.into_iter().map(|it| (it, now)).collect();
        let commit = Commit { rows, deliveries, superseded, marks };
        match &self.inner.store {
            Some(store) => {
                let inner = Arc::downgrade(&self.inner);
                let done = move |durable| {
                    if let Some(inner) = inner.upgrade() {
                        fault::here(Step::Committed);
                        inner.queue().committed(&ids, durable, clock::now(), clock::timer());
                        inner.touch();
                    }
                };
                store.commit(commit, Box::new(done));
            }
            None => self.inner.queue().committed(&ids, false, now, timer),
        }
        self.inner.touch();
    }

    /// Sends a test message through a notifier in a person's name, past everything that waits, and answers what came
    /// of it.
    pub fn test(&self, name: &str, user: &str, reply: Reply) {
        let Some(known) = self.inner.specs().get(name).cloned() else {
            // A screen that is gone needs no answer.
            let _ = reply(Inbound::Failed(format!("there is no notifier `{name}` (run `hotseat check`)")));
            return;
        };
        if self.inner.tests.len() >= TESTS_MAX {
            let _ = reply(Inbound::Failed("too many tests are under way; wait for them".into()));
            return;
        }
        let delivery = test_delivery(&self.inner.setup, name, user, clock::now());
        let inner = Arc::clone(&self.inner);
        self.inner.tests.spawn(async move {
            let deadline = clock::timer() + known.spec.timeout;
            let sent = attempt::send(&inner.setup, &known.spec, &delivery, 1, &[], deadline).await;
            let (state, answer) = match sent {
                Ok(receipt) => {
                    let id = receipt.id.as_ref().map(|it| format!(" ({it})")).unwrap_or_default();
                    let state = DeliveryState::Sent { receipt: receipt.id, attempts: 1 };
                    (state, Inbound::Done(format!("test message sent through `{}`{id}", known.spec.name)))
                }
                Err(error) => {
                    let text = format!("could not send a test message through `{}`: {error}", known.spec.name);
                    (DeliveryState::Failed { attempts: 1, error: error.text }, Inbound::Failed(text))
                }
            };
            inner.queue().tell(&delivery, state, clock::now(), false);
            inner.told.notify_one();
            let _ = reply(answer);
        });
    }

    /// How it is doing.
    pub fn pulse(&self) -> Pulse {
        self.inner.queue().pulse(clock::timer())
    }

    /// Waits until no attempt is under way any more; after `ServiceSetup::cancel` none begins.
    pub async fn stopped(&self) {
        self.inner.attempts.close();
        self.inner.tests.close();
        self.inner.attempts.wait().await;
        self.inner.tests.wait().await;
    }
}

/// What a test sends.
pub fn test_delivery(setup: &ServiceSetup, name: &str, user: &str, now: Timestamp) -> Delivery {
    let id = uuid::Uuid::now_v7().simple().to_string();
    let title = format!("hotseat on {}: test of `{name}`", setup.host);
    let text = format!("{title}\nNothing is wrong. {user} asked for this message.");
    Delivery {
        id: format!("{}/test/{id}", setup.host),
        key: format!("{}/test/{id}", setup.host),
        notifier: name.to_string(),
        action: Action::Test,
        at: now,
        expires: None,
        message: Message {
            title,
            text,
            severity: Severity::Info,
            host: setup.host.to_string(),
            alerts: Vec::new(),
            brief: None,
        },
        follows: None,
        silence: None,
        because: format!("{user} tests `{name}`"),
    }
}

impl Inner {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held; should it, what is in there is still to be sent.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn specs(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.specs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        self.changed.notify_one();
        self.told.notify_one();
    }

    /// Starts attempts when they are due, until the service is cancelled.
    async fn dispatch(self: Arc<Self>) {
        loop {
            let (started, marks, next) = self.queue().start(clock::now(), clock::timer());
            for waiting in started {
                let inner = Arc::clone(&self);
                self.attempts.spawn(inner.attempt(waiting));
            }
            if !marks.is_empty() {
                self.told.notify_one();
                if let Some(store) = &self.store {
                    store.commit(Commit { marks, ..Commit::default() }, Box::new(|_| {}));
                }
            }
            let timer = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.setup.cancel.cancelled() => return,
                () = self.changed.notified() => {}
                () = timer => {}
            }
        }
    }

    /// Passes on what became of deliveries, in order, waiting for room.
    async fn tell(self: Arc<Self>) {
        loop {
            let next = self.queue().next_news();
            if let Some(news) = next {
                self.setup.facts.send(Fact::Alert(AlertFact::Delivery(Box::new(news)))).await;
                continue;
            }
            // After the cancellation what became of the last attempts is still told.
            if self.setup.cancel.is_cancelled() && self.attempts.is_empty() {
                return;
            }
            tokio::select! {
                () = self.told.notified() => {}
                () = self.setup.cancel.cancelled(), if !self.setup.cancel.is_cancelled() => {}
            }
        }
    }

    /// Keeps what became of a delivery; `false` when it is only in memory.
    async fn keep(&self, mark: Mark) -> bool {
        let Some(store) = &self.store else { return false };
        let (done_tx, done_rx) = tokio::sync::oneshot::channel();
        let done = move |durable| {
            // Nobody waits any more: the disk took too long.
            let _ = done_tx.send(durable);
        };
        store.commit(Commit { marks: vec![mark], ..Commit::default() }, Box::new(done));
        matches!(tokio::time::timeout(COMMIT_DEADLINE, done_rx).await, Ok(Ok(true)))
    }
}

/// News of a delivery.
fn news(delivery: &Delivery, state: DeliveryState, at: Timestamp, durable: bool) -> DeliveryNews {
    let Delivery { id, key, notifier, action, .. } = delivery.clone();
    DeliveryNews { id, key, notifier, action, at, state, durable }
}

/// When a timer of the process shows what the clock on the wall says, at most `most` from now: that clock may jump.
fn timer_at(at: Timestamp, now: Timestamp, timer: Instant, most: Duration) -> Instant {
    timer + Duration::try_from(at.duration_since(now)).unwrap_or_default().min(most)
}
