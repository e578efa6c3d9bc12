//! The impure shell around the board: services in, effects out, screens attached through a bounded `Link`.
//!
//! One task owns the order of facts: it stamps them, folds them into the board, carries out what the board
//! asks and leaves them for every attached screen and for the journal. It never waits for any of these.

pub mod attach;
mod chronicle;
mod dispatch;
pub mod explain;
pub mod journal;
pub mod lock;
pub mod logs_only;
pub mod observer;
pub mod past;
mod queue;
mod reload;
mod state;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::config::{Config, Loaded};
use crate::domain::alert::AlertFact;
use crate::domain::board::Board;
use crate::domain::fact::{Actor, Envelope, Fact, RuntimeFact};
use crate::domain::host::NOBODY;
use crate::domain::ids::HostId;
use crate::domain::presence::Visitor;
use crate::domain::probe::ProbeFact;
use crate::domain::probe::tally::Tallies;
use crate::domain::request::{Inbound, Request};
use crate::runtime::attach::Attacher;
use crate::runtime::journal::Journal;
use crate::runtime::lock::{Acquired, StateLock};
use crate::runtime::observer::{Observer, PINGS_MAX};
use crate::runtime::past::PastDesk;
use crate::runtime::queue::LinkQueue;
pub use crate::runtime::reload::ConfigReader;
use crate::runtime::reload::Reloads;
use crate::runtime::state::Keeper;
use crate::service::backup::BackupService;
use crate::service::incident::IncidentService;
use crate::service::log::LogService;
use crate::service::probe::Prober;
use crate::service::probe::heartbeat::serve::BeatServer;
use crate::service::supervise::{panic_text, supervise};
use crate::service::{FACTS_MAX, FactSender, HEAD_START, ServiceSetup};
use crate::store::reader::{Desk, Reader};

/// Messages under way to a screen. Few: what waits behind them is replaced by newer things.
pub const LINK_INBOUND_MAX: usize = 32;
/// Requests that may wait for the runtime; a screen that is past it says so and drops the key.
pub const LINK_REQUESTS_MAX: usize = 64;

/// Facts folded before other tasks get a turn.
const BATCH_MAX: usize = 32;
/// The alerts are not told the time more often: what they wait for is counted in seconds.
const TICK_MIN: Duration = Duration::from_millis(100);
/// How long is slept at most before the clock on the wall is looked at again: it may have been set, or the machine
/// may have slept.
const TICK_MAX: Duration = Duration::from_secs(15);
/// How often a runtime that stands by looks whether the state directory is free.
const STANDBY_RETRY: Duration = Duration::from_secs(5);
/// What services get to bring their work to disk.
const FLUSH_DEADLINE: Duration = Duration::from_millis(350);
/// The whole way out, when no more than one thing hangs: what the others left of it is the store's.
const WAY_OUT: Duration = Duration::from_millis(780);
/// What a running backup gets to stop cleanly.
const STOP_DEADLINE: Duration = Duration::from_millis(250);
/// What the journal and the screens get for the last facts.
const CLOSE_DEADLINE: Duration = Duration::from_millis(90);

/// The only way a screen speaks with its runtime, in this process or another.
#[derive(Debug)]
pub struct Link {
    /// Snapshot first, then facts and answers. It ends when the runtime does.
    pub facts_rx: mpsc::Receiver<Inbound>,
    /// What the screen asks. Use `try_send`: a screen never waits.
    pub requests_tx: mpsc::Sender<Request>,
}

/// What a runtime is started with.
#[derive(Clone)]
pub struct RuntimeSetup {
    /// The host's name; part of every id.
    pub host: HostId,
    /// The person at this screen or CLI.
    pub user: String,
    /// Where state lives; made (0700) when it is missing.
    pub state_dir: PathBuf,
    /// The config and what is wrong with it.
    pub loaded: Loaded,
    /// Reads the config again, running its `${cmd:…}`; `None` when there is nothing to read.
    pub reader: Option<ConfigReader>,
}

/// A running runtime. [`Runtime::shutdown`] ends it in order; dropping it only tells its tasks to stop.
pub struct Runtime {
    shared: Arc<Shared>,
    state_dir: PathBuf,
    reloads: Reloads,
    config_rx: watch::Receiver<Arc<Config>>,
    /// No more requests.
    stopping: CancellationToken,
    /// No more work: `ServiceSetup::cancel`.
    cancel: CancellationToken,
    /// No more facts.
    finished: CancellationToken,
    /// One task a link that serves its requests.
    serving: TaskTracker,
    /// The fold and one pump a link.
    folding: TaskTracker,
}

struct Shared {
    host: HostId,
    board: Arc<Mutex<Board>>,
    links: Mutex<Vec<Arc<LinkQueue>>>,
    /// The number of the next screen.
    screens: AtomicU64,
    /// Answered by the fold.
    pings_tx: mpsc::Sender<oneshot::Sender<()>>,
    services: Arc<Services>,
    /// The journal is kept by the runtime that holds the state directory.
    journal: OnceLock<Journal>,
    /// Held as long as the runtime lives.
    lock: OnceLock<StateLock>,
    /// How long runs took since the start.
    tallies: Mutex<Tallies>,
}

/// Handles of the services.
struct Services {
    /// What is known, for answers that need all of it.
    board: Arc<Mutex<Board>>,
    facts: FactSender,
    logs: LogService,
    incidents: IncidentService,
    /// Reads the journal.
    past: PastDesk,
    /// Reads the history; of the runtime that writes it also what is not on disk yet.
    history: OnceLock<Desk>,
    /// Missing while another runtime holds the state directory.
    keeper: OnceLock<Keeper>,
    /// Missing as well, and while what an earlier run left is read.
    active: OnceLock<Active>,
    /// Cancelled when `active` is there.
    started: CancellationToken,
}

/// The services that only one runtime on a state directory has.
struct Active {
    prober: Prober,
    beats: BeatServer,
    backups: BackupService,
}

impl Services {
    /// Waits until what was recorded is on disk, or cannot be.
    async fn stored(&self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.flushed().await;
        }
    }

    fn reload(&self, config: &Config) {
        self.logs.reload(config.logs.clone());
        if let Some(active) = self.active.get() {
            active.prober.reload(config.probes.clone());
            active.beats.reload(config.beat.clone());
            active.backups.reload(config.backups.clone());
        }
        if let Some(keeper) = self.keeper.get() {
            keeper.outbox.reload(config.notifiers.clone());
        }
    }
}

impl Runtime {
    /// Starts the services of a config and the task that folds their facts. Needs a tokio runtime around it.
    ///
    /// While another runtime holds the state directory this one stands by, and goes on when that one has ended.
    pub fn start(setup: RuntimeSetup) -> Self {
        Self::start_as(setup, Part::Whichever)
    }

    /// Starts it as [`Runtime::start`] does for somebody who holds the state directory already.
    pub fn start_holding(setup: RuntimeSetup, lock: StateLock) -> Self {
        Self::start_as(setup, Part::Holder(lock))
    }

    /// Starts one that reads and takes notes and never probes, pages or backs up; `holder` says who does, in words.
    pub fn start_reading(setup: RuntimeSetup, holder: String) -> Self {
        Self::start_as(setup, Part::Reader(holder))
    }

    fn start_as(setup: RuntimeSetup, part: Part) -> Self {
        let (facts, facts_rx) = FactSender::channel();
        let (stopping, cancel, finished) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let Loaded { config, errors, deferred, missing, .. } = setup.loaded;
        // The channel is empty, so there is room for what the board must know first.
        let (path, digest) = (config.path.clone(), config.digest());
        facts.try_send(Fact::Runtime(RuntimeFact::ConfigLoaded { path, errors: errors.clone(), digest }));
        let service_setup = ServiceSetup {
            host: setup.host.clone(),
            user: setup.user.clone(),
            state_dir: setup.state_dir,
            facts,
            cancel: cancel.clone(),
        };
        // Without a screen there is nothing to open with.
        let head_start = match part {
            Part::Whichever if !config.logs.is_empty() => HEAD_START,
            _ => Duration::ZERO,
        };
        let (claim, waits) = match part {
            Part::Whichever => (claim(&service_setup), true),
            Part::Holder(lock) => (Claim::Held(lock), false),
            Part::Reader(holder) => {
                service_setup.facts.try_send(Fact::Runtime(RuntimeFact::Standby { holder }));
                (Claim::Standby, false)
            }
        };
        let state_dir = service_setup.state_dir.clone();
        let services = Arc::new(Services {
            board: Arc::new(Mutex::new(Board { host: Some(setup.host.clone()), ..Board::default() })),
            facts: service_setup.facts.clone(),
            logs: LogService::start(&service_setup, config.logs.clone()),
            incidents: IncidentService::start_after(head_start, &service_setup),
            past: PastDesk::new(&service_setup.state_dir, &setup.host),
            history: OnceLock::new(),
            keeper: OnceLock::new(),
            active: OnceLock::new(),
            started: CancellationToken::new(),
        });
        let (config_tx, config_rx) = watch::channel(Arc::new(config));
        let (pings_tx, pings_rx) = mpsc::channel(PINGS_MAX);
        let shared = Arc::new(Shared {
            host: setup.host,
            board: Arc::clone(&services.board),
            links: Mutex::default(),
            screens: AtomicU64::new(1),
            pings_tx,
            services: Arc::clone(&services),
            journal: OnceLock::new(),
            lock: OnceLock::new(),
            tallies: Mutex::default(),
        });
        match claim {
            Claim::Held(lock) => state::activate(head_start, &shared, &service_setup, &config_rx, lock),
            Claim::Standby => {
                let _ = services.history.set(Desk::start(Reader::new(&service_setup.state_dir, None)));
                if waits {
                    stand_by(&service_setup, &shared, &config_rx);
                }
            }
        }
        let (serving, folding) = (TaskTracker::new(), TaskTracker::new());
        folding.spawn(fold(Arc::clone(&shared), facts_rx, pings_rx, finished.clone()));
        let (reloads, reload_queue) = Reloads::channel();
        if let Some(reader) = setup.reader {
            let reload_queue = if deferred { reload_queue.with_deferred(&reloads) } else { reload_queue };
            let (reloads, services) = (reloads.clone(), Arc::clone(&services));
            let start = reload::Start { errors, missing };
            tokio::spawn(async move {
                // A change meanwhile is seen with the first watch.
                tokio::time::sleep(head_start).await;
                reload::run(service_setup, services, reader, config_tx, start, reloads, reload_queue).await;
            });
        }
        Self { shared, state_dir, reloads, config_rx, stopping, cancel, finished, serving, folding }
    }

    /// Attaches a screen: it gets a snapshot, who it is here, then everything after it. Everybody sees it come and go.
    pub fn attach(&self, visitor: Visitor) -> Link {
        self.attacher().attach(visitor)
    }

    /// Attaches something that is no person's screen: it is served alike, and nobody sees it.
    pub fn attach_unseen(&self, visitor: Visitor) -> Link {
        self.attacher().attach_unseen(visitor)
    }

    /// Returns what attaches screens, for tasks that do so.
    pub fn attacher(&self) -> Attacher {
        Attacher {
            shared: Arc::downgrade(&self.shared),
            host: self.shared.host.clone(),
            state_dir: self.state_dir.clone(),
            reloads: self.reloads.clone(),
            stopping: self.stopping.clone(),
            finished: self.finished.clone(),
            serving: self.serving.clone(),
            folding: self.folding.clone(),
        }
    }

    /// Returns the config in use and every one that replaces it (the screen's keys and theme are in it).
    pub fn config(&self) -> watch::Receiver<Arc<Config>> {
        self.config_rx.clone()
    }

    /// The host's name.
    pub fn host(&self) -> &HostId {
        &self.shared.host
    }

    /// Cancelled once this runtime holds the state directory and everything runs; until then it stands by or starts.
    pub fn active(&self) -> CancellationToken {
        self.shared.services.started.clone()
    }

    /// Returns what is known now.
    pub fn board(&self) -> Board {
        self.shared.board().clone()
    }

    /// Has the config read again and says what came of it.
    ///
    /// # Errors
    /// When it could not be taken into use, in words.
    pub async fn reload(&self) -> Result<String, String> {
        self.reloads.asked().await
    }

    /// Looks at the runtime from outside, also from tasks that outlive it.
    pub fn observer(&self) -> Observer {
        Observer::new(&self.shared)
    }

    /// Tells every screen that it was told to end, what it lets end before, and until when at most.
    pub async fn stopping(&self, waits_for: String, until: Timestamp) {
        self.shared.services.facts.send(Fact::Runtime(RuntimeFact::Stopping { waits_for, until })).await;
    }

    /// Begins no other backup and waits for the one that runs; everything else goes on. After it, [`Runtime::shutdown`].
    pub async fn backups_ended(&self) {
        if let Some(active) = self.shared.services.active.get() {
            active.backups.close();
            active.backups.stopped().await;
        }
    }

    /// Ends everything in order: requests that were sent are served, what was accepted is brought to disk,
    /// a running backup is abandoned cleanly. Takes less than a second, whatever hangs.
    pub async fn shutdown(self) {
        let way_out = clock::timer() + WAY_OUT;
        self.stopping.cancel();
        self.serving.close();
        let services = Arc::clone(&self.shared.services);
        let _ = timeout(FLUSH_DEADLINE, async {
            let work = async {
                self.serving.wait().await;
                services.incidents.flushed().await;
            };
            // The outcomes of the last second; what comes from here on is little, and is written at the end.
            tokio::join!(work, services.stored());
        })
        .await;
        self.cancel.cancel();
        let logs = services.logs.clone();
        let programs = tokio::task::spawn_blocking(move || logs.wait_until_stopped());
        let _ = timeout(STOP_DEADLINE, async {
            // It waits for threads and can not fail.
            let _ = programs.await;
        })
        .await;
        let _ = timeout(STOP_DEADLINE, async {
            let outbox = async {
                if let Some(keeper) = services.keeper.get() {
                    keeper.outbox.stopped().await;
                }
            };
            let backups = async {
                if let Some(active) = services.active.get() {
                    active.backups.stopped().await;
                }
            };
            tokio::join!(outbox, backups);
            // A backup that was stopped has told the timeline.
            services.incidents.flushed().await;
        })
        .await;
        self.finished.cancel();
        self.folding.close();
        let _ = timeout(CLOSE_DEADLINE, self.folding.wait()).await;
        let journal = async {
            if let Some(journal) = self.shared.journal.get() {
                journal.close().await;
            }
        };
        let end = way_out.max(clock::timer() + CLOSE_DEADLINE);
        let _ = timeout_at(end, async { tokio::join!(journal, services.stored()) }).await;
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.cancel.cancel();
        self.finished.cancel();
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, Vec<Arc<LinkQueue>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long until the alerts want to be told what time it is; `None` when nothing is due.
    fn tick_in(&self) -> Option<Duration> {
        // One that stands by runs no probes and pages nobody.
        self.services.keeper.get()?;
        let wake = self.board().alerts.next_wake()?;
        Some(Duration::try_from(wake.duration_since(clock::now())).unwrap_or_default().min(TICK_MAX))
    }

    /// Stamps a fact, folds it in, carries out what follows and leaves it for everybody.
    fn take_in(&self, actor: Actor, fact: Fact) {
        let at = clock::now();
        let mut board = self.board();
        let envelope = Envelope { host: self.host.clone(), seq: board.seq + 1, at, actor, fact };
        let before = chronicle::Before::of(&board, &envelope.fact);
        if let Some(journal) = self.journal.get() {
            journal.record(&envelope, &board);
        }
        // A mistake in a rule must not blind the person on call: the fact is skipped and said so.
        let applied = catch_unwind(AssertUnwindSafe(|| board.fold(at, &envelope)));
        let (effects, turned) = match applied {
            Ok(applied) => applied,
            Err(panic) => {
                if let Some(journal) = self.journal.get() {
                    journal.forget_last();
                }
                drop(board);
                let error = panic_text(panic.as_ref());
                // The fold itself has no room to wait for; without room the next fact tells.
                if !matches!(envelope.fact, Fact::Runtime(_)) {
                    let service = "board".to_string();
                    self.take_in(
                        Actor::Runtime,
                        Fact::Runtime(RuntimeFact::ServiceFailed { service, error, retry_s: 0 }),
                    );
                }
                return;
            }
        };
        if let Some(journal) = self.journal.get() {
            journal.mark(crate::domain::past::events(&envelope, &turned));
        }
        chronicle::tell(&before, &board, &envelope);
        drop(board);
        if let Fact::Probe(fact) = &envelope.fact {
            self.tallies.lock().unwrap_or_else(PoisonError::into_inner).apply(fact);
        }
        for effect in effects {
            dispatch::perform(&self.services, effect);
        }
        self.links().retain(|link| link.push_fact(&envelope));
    }
}

/// Folds facts until the runtime is finished; then what still waits.
async fn fold(
    shared: Arc<Shared>,
    mut facts_rx: mpsc::Receiver<(Actor, Fact)>,
    mut pings_rx: mpsc::Receiver<oneshot::Sender<()>>,
    finished: CancellationToken,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut ticked = clock::timer();
    loop {
        let tick = async {
            match shared.tick_in() {
                // Whatever the rules say, they are asked once in a while only.
                Some(wait) => sleep_until((clock::timer() + wait).max(ticked + TICK_MIN)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = finished.cancelled() => break,
            // Before the facts, which may not come to an end.
            Some(ping) = pings_rx.recv() => {
                // Who asked may have stopped waiting.
                let _ = ping.send(());
            }
            count = facts_rx.recv_many(&mut batch, BATCH_MAX) => {
                if count == 0 {
                    break;
                }
            }
            () = tick => {
                ticked = clock::timer();
                // The clock on the wall may have been set: it decides, not how long was slept.
                if shared.tick_in().is_some_and(|it| it.is_zero()) {
                    shared.take_in(Actor::Runtime, Fact::Alert(AlertFact::Tick { at: clock::now() }));
                }
            }
        }
        for (actor, fact) in batch.drain(..) {
            let is_name = matches!(fact, Fact::Probe(ProbeFact::Configured { .. }));
            shared.take_in(actor, fact);
            shared.services.facts.arrived(usize::from(is_name));
        }
        // A flood of facts must leave the worker to the screens in between.
        tokio::task::yield_now().await;
    }
    for _ in 0..FACTS_MAX {
        let Ok((actor, fact)) = facts_rx.try_recv() else { break };
        shared.take_in(actor, fact);
    }
}

/// What a runtime is on its state directory.
enum Part {
    /// The holder if it can be, else it stands by.
    Whichever,
    Holder(StateLock),
    /// A reader for good; who holds it, in words.
    Reader(String),
}

enum Claim {
    Held(StateLock),
    Standby,
}

/// Makes the state directory and asks for its lock; what is unusual goes to the board.
fn claim(setup: &ServiceSetup) -> Claim {
    match StateLock::acquire(&setup.state_dir, clock::now()) {
        Ok(Acquired::Held(lock)) => Claim::Held(lock),
        Ok(Acquired::Taken(holder)) => {
            setup.facts.try_send(Fact::Runtime(RuntimeFact::Standby { holder }));
            Claim::Standby
        }
        Err(error) => {
            // Two that watch page twice; who sees that nobody watches can do something about it.
            let error = format!(
                "{}: {error}; nothing is watched until it can be locked (name another with `--state-dir`)",
                setup.state_dir.display()
            );
            let fact = RuntimeFact::ServiceFailed { service: "state directory".into(), error, retry_s: 0 };
            setup.facts.try_send(Fact::Runtime(fact));
            setup.facts.try_send(Fact::Runtime(RuntimeFact::Standby { holder: NOBODY.into() }));
            Claim::Standby
        }
    }
}

/// Waits for the state directory to become free and then takes over.
fn stand_by(setup: &ServiceSetup, shared: &Arc<Shared>, config: &watch::Receiver<Arc<Config>>) {
    let (task_setup, shared, config) = (setup.clone(), Arc::downgrade(shared), config.clone());
    supervise(setup, "standby", move || {
        let (setup, shared, config) = (task_setup.clone(), shared.clone(), config.clone());
        async move {
            loop {
                tokio::select! {
                    () = setup.cancel.cancelled() => return,
                    () = tokio::time::sleep(STANDBY_RETRY) => {}
                }
                let Some(shared) = shared.upgrade() else { return };
                if let Ok(Acquired::Held(lock)) = StateLock::acquire(&setup.state_dir, clock::now()) {
                    state::activate(Duration::ZERO, &shared, &setup, &config, lock);
                    setup.facts.send(Fact::Runtime(RuntimeFact::Active)).await;
                    return;
                }
            }
        }
    });
}
