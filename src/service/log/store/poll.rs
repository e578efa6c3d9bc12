//! Asks a store for news now and then, and says how that went.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::clock;
use crate::domain::log::{GapKind, LogFact, SourceState};
use crate::logstore::engine::Engine;
use crate::logstore::source::{GapMark, Source};
use crate::logstore::store::{Stop, Store, StoreError};
use crate::service::log::retry::Backoff;
use crate::service::log::store::Remote;

/// A store that does not answer is asked again after about this, later after more.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Polls one store.
struct Poller {
    /// Who is asked.
    store: Arc<dyn Store>,
    /// Whose records they are.
    source: Arc<Source>,
    /// Hears that there is something new.
    engine: Arc<Engine>,
    /// Hears how it goes.
    facts: Arc<dyn Fn(LogFact) + Send + Sync>,
    /// Ends it.
    ending: Ending,
    /// Between two polls.
    interval: Duration,
}

/// Starts asking a store for news.
pub fn start(
    remote: &Remote,
    store: Arc<dyn Store>,
    source: &Arc<Source>,
    engine: Arc<Engine>,
    facts: Arc<dyn Fn(LogFact) + Send + Sync>,
) -> Leash {
    let (leash, ending) = leash();
    let poller = Poller { store, source: source.clone(), engine, facts, ending, interval: remote.common().poll };
    let spawned = std::thread::Builder::new().name("log-poll".into()).spawn(move || poller.run());
    if let Err(error) = spawned {
        tracing::error!("could not start asking {} for news: {error}", source.origin);
    }
    leash
}

/// Ends a poller when dropped.
#[derive(Debug)]
pub struct Leash {
    is_over: Arc<AtomicBool>,
    _over_tx: SyncSender<()>,
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
    }
}

/// The poller's side of a [`Leash`].
#[derive(Debug)]
struct Ending {
    is_over: Arc<AtomicBool>,
    over_rx: Receiver<()>,
}

fn leash() -> (Leash, Ending) {
    let (over_tx, over_rx) = sync_channel(1);
    let is_over = Arc::new(AtomicBool::new(false));
    (Leash { is_over: is_over.clone(), _over_tx: over_tx }, Ending { is_over, over_rx })
}

impl Poller {
    /// Runs until stopped.
    fn run(self) {
        let is_over = self.ending.is_over.clone();
        let stop = Stop::when(move || is_over.load(Ordering::Acquire));
        let mut backoff = Backoff::new(FIRST_PAUSE);
        let mut newest = None;
        let mut lost_at = None;
        loop {
            let pause = match self.store.newest(&stop) {
                Ok(found) => {
                    let is_back = self.source.set_tail(None);
                    if lost_at.take().is_some() || newest.is_none() {
                        self.state(SourceState::Connected);
                        backoff = Backoff::new(FIRST_PAUSE);
                    }
                    // Nothing is missing after an absence: a store is asked for what it has, not for what comes.
                    if newest.is_some_and(|it| it != found) || is_back {
                        self.source.renewed();
                        self.engine.grew();
                    }
                    newest = Some(found);
                    self.interval
                }
                Err(StoreError::Stopped) => return,
                Err(StoreError::Failed(why)) => {
                    let now = clock::now();
                    let pause = backoff.pause(Duration::ZERO, fastrand::f64());
                    let next = now.checked_add(pause).unwrap_or(now);
                    let kind = GapKind::Failed(why.clone());
                    if self.source.set_tail(Some(GapMark { kind: kind.clone(), at: now })) {
                        (self.facts)(LogFact::Gap { source: self.source.id.clone(), kind });
                        self.engine.grew();
                    }
                    self.state(SourceState::Reconnecting { why, next });
                    lost_at = Some(now);
                    pause
                }
            };
            if self.ending.over_rx.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    fn state(&self, state: SourceState) {
        (self.facts)(LogFact::State { source: self.source.id.clone(), state });
    }
}
