//! Becoming the runtime that probes: what an earlier run left is read, told first, and gone on with.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::config::Config;
use crate::config::share::{self, Share};
use crate::domain::alert::AlertFact;
use crate::domain::fact::{Fact, Restored, RuntimeFact};
use crate::runtime::journal::Journal;
use crate::runtime::lock::StateLock;
use crate::runtime::{Active, Services, Shared};
use crate::service::backup::BackupService;
use crate::service::notify::asked;
use crate::service::notify::outbox::Outbox;
use crate::service::probe::Prober;
use crate::service::probe::heartbeat::serve::BeatServer;
use crate::service::{FactSender, NAMED_AT_ONCE_MAX, ServiceSetup};
use crate::store::reader::{Desk, Reader};
use crate::store::rollup::Limits;
use crate::store::{News, Opened, Store};

/// How long is waited for what an earlier run left. A disk that hangs must not keep the probes from looking.
const OPEN_DEADLINE: Duration = Duration::from_secs(3);

/// What keeps and delivers what alerts decide; only the holder of the state directory has it.
pub struct Keeper {
    /// Missing when nothing can be kept in the state directory.
    pub store: Option<Store>,
    /// Delivers, also without a store.
    pub outbox: Outbox,
}

impl Keeper {
    /// Waits until everything that was recorded is on disk, or cannot be.
    pub async fn flushed(&self) {
        let Some(store) = &self.store else { return };
        let (done_tx, done_rx) = oneshot::channel();
        store.flush(Box::new(move |_| {
            // Nobody waits any more.
            let _ = done_tx.send(());
        }));
        let _ = done_rx.await;
    }
}

/// Lets the group of `share` in, before anything is written; without one it takes back what was given earlier.
pub fn share(setup: &ServiceSetup, share: Option<&Share>) {
    let Err(error) = share::apply(&setup.state_dir, share) else { return };
    let error = match share {
        Some(Share { group, .. }) => format!("could not share with the group `{group}`: {error}"),
        None => format!("could not stop sharing: {error}"),
    };
    setup.facts.try_send(Fact::Runtime(RuntimeFact::ServiceFailed { service: "share".into(), error, retry_s: 0 }));
}

/// Starts what only the holder of the state directory does. Never waits: the rest follows in a task. The store is opened
/// after `head_start`.
pub fn activate(
    head_start: Duration,
    shared: &Arc<Shared>,
    setup: &ServiceSetup,
    config_rx: &watch::Receiver<Arc<Config>>,
    lock: StateLock,
) {
    let services = &shared.services;
    let (opened_tx, opened_rx) = oneshot::channel();
    let unusable = lock.unusable().map(ToString::to_string);
    let _ = shared.lock.set(lock);
    if let Some(why) = &unusable {
        let error = format!("{}: {why}; nothing is kept over a restart", setup.state_dir.display());
        let fact = RuntimeFact::ServiceFailed { service: "state directory".into(), error, retry_s: 0 };
        setup.facts.try_send(Fact::Runtime(fact));
    }
    let store = unusable.is_none().then(|| {
        share(setup, config_rx.borrow().share.as_ref());
        let journal = Journal::start(setup, &shared.host);
        services.past.flush_with(journal.flusher());
        let _ = shared.journal.set(journal);
        let news = news_sink(setup, Arc::downgrade(services), config_rx.clone());
        Store::start_after(head_start, &setup.state_dir, &setup.host, Limits::default(), news, move |opened| {
            // Too late: the probes run without it.
            let _ = opened_tx.send(opened);
        })
    });
    let _ = services.history.set(Desk::start(Reader::new(&setup.state_dir, store.clone())));
    let is_kept = store.is_some();
    let outbox = Outbox::start(setup, store.clone(), config_rx.borrow().notifiers.clone());
    let _ = services.keeper.set(Keeper { store, outbox });
    let (setup, services, config_rx) = (setup.clone(), Arc::clone(services), config_rx.clone());
    // With a head start the first rows of the logs come before.
    let starts_with = usize::from(head_start.is_zero() && config_rx.borrow().probes.len() > NAMED_AT_ONCE_MAX);
    setup.facts.announce(starts_with);
    tokio::spawn(async move {
        if !is_kept {
            let why = "the state directory cannot be used; alerts and history are kept in memory only";
            setup.facts.send(Fact::Runtime(RuntimeFact::NotDurable { why: Some(why.into()) })).await;
        }
        let mut opened_rx = opened_rx;
        let opened = tokio::time::timeout(OPEN_DEADLINE, &mut opened_rx).await;
        // Without a store there is nothing to wait for.
        let is_late = opened.is_err();
        let mut opened = opened.ok().and_then(Result::ok).unwrap_or_default();
        opened.restored.lost |= is_late;
        let Opened { restored, deliveries, lasting, settled } = opened;
        let kept = restored.probes.clone();
        if restored != Restored::default() {
            setup.facts.send(Fact::Runtime(RuntimeFact::Restored(Box::new(restored)))).await;
        }
        // A config that was read again meanwhile has reached only those that were there.
        let config = Arc::clone(&config_rx.borrow());
        setup.facts.send(Fact::Alert(AlertFact::Configured { rules: Box::new(config.alerts.clone()) })).await;
        if let Some(keeper) = services.keeper.get() {
            keeper.outbox.reload(config.notifiers.clone());
            keeper.outbox.restore(deliveries, lasting, settled);
        }
        if setup.cancel.is_cancelled() {
            return;
        }
        let prober = Prober::start(&setup, Some(services.logs.clone()), config.probes.clone(), kept);
        // The probes are announced by now.
        setup.facts.arrived(starts_with);
        let beats = BeatServer::start(&setup, &prober, config.beat.clone());
        let backups = BackupService::start(&setup, config.backups.clone());
        asked::start(&setup);
        let _ = services.active.set(Active { prober, beats, backups });
        services.started.cancel();
        if is_late {
            let (setup, config_rx, services) = (setup.clone(), config_rx.clone(), Arc::downgrade(&services));
            tokio::spawn(async move {
                tokio::select! {
                    () = setup.cancel.cancelled() => {}
                    opened = opened_rx => {
                        if let Ok(opened) = opened {
                            come_late(&setup.facts, &services, &config_rx, &opened).await;
                        }
                    }
                }
            });
        }
        let newest = Arc::clone(&config_rx.borrow());
        if !Arc::ptr_eq(&config, &newest) {
            services.reload(&newest);
            setup.facts.send(Fact::Alert(AlertFact::Configured { rules: Box::new(newest.alerts.clone()) })).await;
        }
    });
}

/// Goes on with what an earlier run left and could only be read now: the policy is told it before the rules are told
/// again, so that it looks at everything once more.
async fn come_late(
    facts: &FactSender,
    services: &Weak<Services>,
    config_rx: &watch::Receiver<Arc<Config>>,
    opened: &Opened,
) {
    let rules = Box::new(config_rx.borrow().alerts.clone());
    facts.send(Fact::Runtime(RuntimeFact::Restored(Box::new(opened.restored.clone())))).await;
    // What is over by now takes back what was not sent of it: that must be there by then.
    if let Some(services) = services.upgrade()
        && let Some(keeper) = services.keeper.get()
    {
        keeper.outbox.restore(opened.deliveries.clone(), opened.lasting.clone(), opened.settled.clone());
    }
    facts.send(Fact::Alert(AlertFact::Configured { rules })).await;
}

/// Says on the board what the store has to say, as long as there is room for it.
fn news_sink(
    setup: &ServiceSetup,
    services: Weak<Services>,
    config_rx: watch::Receiver<Arc<Config>>,
) -> Box<dyn Fn(&News) -> bool + Send> {
    let facts = setup.facts.clone();
    let tasks = tokio::runtime::Handle::current();
    Box::new(move |news| match news {
        News::NotDurable(why) => facts.try_send(Fact::Runtime(RuntimeFact::NotDurable { why: why.clone() })),
        News::Damaged(error) => {
            let service = "store".to_string();
            facts.try_send(Fact::Runtime(RuntimeFact::ServiceFailed { service, error: error.clone(), retry_s: 0 }))
        }
        News::Late(opened) => {
            let (facts, services, config_rx, opened) =
                (facts.clone(), services.clone(), config_rx.clone(), opened.clone());
            tasks.spawn(async move { come_late(&facts, &services, &config_rx, &opened).await });
            true
        }
    })
}
