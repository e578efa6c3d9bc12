//! The agent itself: from the lock of the state directory to the last word.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agent::client::{self, AttachError};
use crate::agent::duties;
use crate::agent::manager::Manager;
use crate::agent::protocol::Errand;
use crate::agent::server::{Server, ServerSetup};
use crate::agent::socket::{self, Places};
use crate::cli::Context;
use crate::cli::agent::RunArgs;
use crate::cli::agent::log::Log;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::clock;
use crate::config::agent::GRACE;
use crate::config::{self, Loaded, paths};
use crate::domain::host::Role;
use crate::domain::presence::{Via, Visitor};
use crate::registry::node::Commands;
use crate::runtime::lock::{self, Acquired, StateLock, Stuck};
use crate::runtime::{Runtime, RuntimeSetup};

/// Threads that run probes and everything that follows from them, when there are so many probes that one could be late.
/// For fewer there is one: a second one is woken by each run to see whether it can help, and it is over by then.
const SERVICE_THREADS: usize = 2;
/// More probes than these are many: a second's share of them, all over TLS, keeps one thread busy for a few milliseconds.
const FEW_PROBES: usize = 200;
/// How often is looked whether another runtime has left the state directory.
const CLAIM_RETRY: Duration = Duration::from_millis(500);
/// How often who holds the state directory is asked to make room.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// What a screen gets to make room; it ends its runtime in less than a second.
const YIELD_DEADLINE: Duration = Duration::from_secs(5);
/// What a holder gets that cannot be asked, when it is not to be waited for: it may just be starting or ending.
const SILENT_MAX: Duration = Duration::from_secs(4);
/// How often is looked which backup is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// What the runtime may take beyond the grace of a backup: it has deadlines of its own, well below a second.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(2);

/// Runs the agent until it is stopped.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &RunArgs, cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let log = Log::start(args.log.clone(), args.log_json).map_err(|error| {
        let path = args.log.as_deref().unwrap_or(Path::new("standard error"));
        Failure::usage(format!("could not write the log: {}", path.display())).caused_by(error)
    })?;
    let named = cx.config.clone();
    let read = move || config::load(named.as_deref(), Commands::Run);
    let loaded = read();
    if let (false, Some(error)) = (loaded.readable, loaded.errors.first()) {
        return Err(Failure::usage("could not use the config")
            .caused_by(error)
            .hint("run `hotseat check` to see where and why"));
    }
    let threads = if loaded.config.probes.len() > FEW_PROBES { SERVICE_THREADS } else { 1 };
    let services = threads_of("service", threads)?;
    // Their thread is their own, so that what screens ask for never makes a probe late.
    let screens = threads_of("screens", 1)?;
    let setup = RuntimeSetup {
        host: cx.host(&loaded.config),
        user: paths::user_name(),
        state_dir: cx.state_dir(),
        loaded,
        reader: Some(Arc::new(read)),
    };
    let grace = args.grace;
    let front = screens.handle().clone();
    let code = services.block_on(async {
        let signals = Signals::new().map_err(|error| Failure::internal("could not take signals").caused_by(error))?;
        Agent { log, manager: Arc::new(Manager::of_environment()), signals, grace, front }.run(setup, args.wait).await
    });
    // Threads that hang in a disk are not waited for.
    screens.shutdown_background();
    services.shutdown_background();
    code
}

fn threads_of(name: &str, count: usize) -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(count)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(|error| Failure::internal("could not start the services").caused_by(error))
}

struct Agent {
    log: Log,
    manager: Arc<Manager>,
    signals: Signals,
    grace: Option<Duration>,
    /// Where screens are served.
    front: Handle,
}

/// What came of asking for the state directory.
enum Claimed {
    Held(StateLock),
    /// Stopped while it was waited for.
    Stopped,
}

impl Agent {
    async fn run(mut self, setup: RuntimeSetup, wait: bool) -> Result<ExitCode, Failure> {
        let lock = match self.claim(&setup.state_dir, wait).await? {
            Claimed::Held(lock) => lock,
            Claimed::Stopped => return Ok(ExitCode::SUCCESS),
        };
        let since = clock::now();
        let places = Places::of(&setup.state_dir);
        say_what_is_watched(&setup.loaded, &setup.state_dir);
        let runtime = Runtime::start_holding(setup, lock);
        let cancel = CancellationToken::new();
        let server = {
            let _front = self.front.enter();
            serve(&runtime, &places)
        };
        // A page of metrics of many probes takes a while as well.
        self.front.spawn(duties::run(runtime.observer(), runtime.config(), since, cancel.clone()));
        tokio::select! {
            () = runtime.active().cancelled_owned() => {}
            // The runtime reads what an earlier run left for seconds at most; a stop is not kept waiting.
            () = self.signals.stop_or(&self.log) => return self.stop(runtime, server, cancel).await,
        }
        self.manager.ready(&runtime.observer().look(duties::status).unwrap_or_default());
        tracing::info!(pid = std::process::id(), "the agent watches");
        tokio::spawn(duties::keep_alive(runtime.observer(), Arc::clone(&self.manager), cancel.clone()));
        loop {
            let asked = match std::mem::take(&mut self.signals.is_reload_due) {
                true => Asked::Reload,
                false => self.signals.next().await,
            };
            match asked {
                Asked::Stop => return self.stop(runtime, server, cancel).await,
                Asked::Reload => {
                    if self.reload(&runtime).await == Reloaded::Stopped {
                        return self.stop(runtime, server, cancel).await;
                    }
                }
            }
        }
    }

    /// Reads the config again, and once more when that was asked for meanwhile: what was read may be older than that.
    async fn reload(&mut self, runtime: &Runtime) -> Reloaded {
        loop {
            let reloading = reload(&self.log, &self.manager, runtime);
            tokio::pin!(reloading);
            let mut again = false;
            loop {
                tokio::select! {
                    biased;
                    asked = self.signals.next() => match asked {
                        // Files that do not answer must not keep it from being stopped.
                        Asked::Stop => return Reloaded::Stopped,
                        Asked::Reload => again = true,
                    },
                    () = &mut reloading => break,
                }
            }
            if !again {
                return Reloaded::Done;
            }
        }
    }

    /// Asks for the state directory, and waits for it when that is wanted.
    async fn claim(&mut self, state_dir: &Path, wait: bool) -> Result<Claimed, Failure> {
        // It would never be ours, however long we wait.
        if let Some(owner) = lock::other_owner(state_dir) {
            let shown = state_dir.display();
            return Err(Failure::usage(format!("this state directory belongs to the account `{owner}`: {shown}"))
                .hint(format!(
                    "run it as that account (`sudo -u {owner} hotseat agent`), or give this one a directory of its own \
                     with `--state-dir`"
                )));
        }
        let (mut said, mut asked_at): (bool, Option<tokio::time::Instant>) = (false, None);
        let began = clock::timer();
        let mut beside = None;
        loop {
            match StateLock::acquire(state_dir, clock::now()) {
                Ok(Acquired::Held(lock)) => return Ok(Claimed::Held(lock)),
                // Without a lock a second agent would page as well.
                Err(error) => {
                    return Err(Failure::usage(format!("could not lock the state directory: {}", state_dir.display()))
                        .caused_by(error)
                        .hint("make it writable for this account, or name another one with `--state-dir`"));
                }
                Ok(Acquired::Taken(holder)) if asked_at.is_none_or(|it| it.elapsed() >= ASK_AGAIN) => {
                    asked_at = Some(clock::timer());
                    let asked = tokio::select! {
                        () = self.signals.stop_or(&self.log) => return Ok(Claimed::Stopped),
                        asked = ask_to_yield(state_dir) => asked,
                    };
                    match asked {
                        Ok(Role::Agent) if !wait => {
                            return Err(Failure::internal(format!(
                                "another agent watches this state directory: {holder} ({})",
                                state_dir.display()
                            ))
                            .hint("`hotseat agent status` says how it is; `--wait` takes over when it ends"));
                        }
                        // Its screens see that we wait, as long as we do.
                        Ok(Role::Agent) => beside = beside.take().or_else(|| Some(Beside::start(state_dir))),
                        Err(why) if !wait && began.elapsed() >= SILENT_MAX => {
                            return Err(Failure::internal(format!(
                                "{holder} holds this state directory and does not make room ({})",
                                state_dir.display()
                            ))
                            .caused_by(why)
                            .hint(format!(
                                "{}; `--wait` takes over when it ends",
                                Stuck::find(state_dir).map_or("look what that process does", |it| it.hint)
                            )));
                        }
                        Ok(Role::Screen(_)) | Err(_) => {}
                    }
                    if wait && !std::mem::replace(&mut said, true) {
                        tracing::info!(holder, "standing by until the state directory is free");
                        self.manager.ready(&format!("stands by: {holder}"));
                    }
                    // A screen that made room has done so by now.
                    continue;
                }
                Ok(Acquired::Taken(_)) => {}
            }
            tokio::select! {
                () = self.signals.stop_or(&self.log) => return Ok(Claimed::Stopped),
                () = tokio::time::sleep(CLAIM_RETRY) => {}
            }
            // Who stands by is well.
            self.manager.alive();
        }
    }

    /// Ends in order: first a running backup as far as its grace goes, while everything else goes on.
    async fn stop(
        mut self,
        runtime: Runtime,
        server: Option<Server>,
        cancel: CancellationToken,
    ) -> Result<ExitCode, Failure> {
        let grace = self.grace.or(runtime.config().borrow().agent.grace).unwrap_or(GRACE);
        tracing::info!(grace_s = grace.as_secs(), "stopping");
        self.manager.stopping("stops", grace + SHUTDOWN_DEADLINE);
        let began = clock::monotonic();
        tokio::select! {
            () = runtime.backups_ended() => {}
            () = tokio::time::sleep(grace) => tracing::warn!("the grace of a backup is over: it is told to end"),
            () = self.signals.stop_or(&self.log) => tracing::warn!("stopping at once: a second signal came"),
            () = say_what_is_waited_for(&runtime, &self.manager, grace) => {}
        }
        cancel.cancel();
        if let Some(server) = server {
            server.close("the agent was stopped").await;
        }
        if tokio::time::timeout(SHUTDOWN_DEADLINE, runtime.shutdown()).await.is_err() {
            tracing::error!("something hangs and is left behind");
        }
        tracing::info!(took_ms = clock::monotonic().duration_since(began).as_millis() as u64, "stopped");
        Ok(ExitCode::SUCCESS)
    }
}

/// Says once everywhere which backup is waited for, and then waits as well.
async fn say_what_is_waited_for(runtime: &Runtime, manager: &Manager, grace: Duration) {
    let until = SignedDuration::try_from(grace).ok().and_then(|it| clock::now().checked_add(it).ok());
    let job = loop {
        // One that has only just begun has no progress yet, by which it is known to be ours.
        let at_work = runtime.observer().look(|board| board.backups.at_work().map(|it| it.name().to_string()));
        if let Some(job) = at_work.flatten() {
            break job;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    tracing::info!(job, "waiting for a backup");
    manager.stopping(&format!("lets backup `{job}` end"), grace + SHUTDOWN_DEADLINE);
    runtime.stopping(format!("backup `{job}`"), until.unwrap_or(Timestamp::MAX)).await;
    std::future::pending().await
}

/// What came of a reload.
#[derive(Debug, PartialEq, Eq)]
enum Reloaded {
    Done,
    /// It is to stop; what came of the reload does not matter any more.
    Stopped,
}

async fn reload(log: &Log, manager: &Manager, runtime: &Runtime) {
    manager.reloading();
    reopen(log);
    // What it took or refused is logged by the runtime and shown by every screen.
    let said = match runtime.reload().await {
        Ok(_) => runtime.observer().look(duties::status).unwrap_or_default(),
        Err(why) => why,
    };
    manager.ready(&said);
}

fn reopen(log: &Log) {
    if let Err(error) = log.reopen() {
        tracing::error!(%error, "could not open the log anew; the one before is written on");
    }
}

/// Lets screens attach. Without a place for a socket they stand by, and everything else goes on.
fn serve(runtime: &Runtime, places: &Places) -> Option<Server> {
    let setup = ServerSetup::new(Role::Agent, &runtime.config().borrow());
    match Server::start(runtime.attacher(), setup, places) {
        Ok(server) => {
            let why = server.elsewhere().unwrap_or_default();
            tracing::info!(socket = %server.path().display(), why, "screens may attach");
            server.follow(runtime.config());
            Some(server)
        }
        Err(error) => {
            tracing::error!(%error, "screens cannot attach");
            None
        }
    }
}

/// Asks who holds a state directory to make room, which a screen does; says what it is.
///
/// # Errors
/// Why it could not be asked or has not made room, in words.
async fn ask_to_yield(state_dir: &Path) -> Result<Role, String> {
    let stream = socket::connect(&Places::of(state_dir)).await.map_err(|error| error.to_string())?;
    let hello = client::hello_for(Errand::Glance, visitor());
    let asked = client::ask_to_yield(stream, &hello, YIELD_DEADLINE).await;
    asked.map_err(|error| {
        if let AttachError::Refused(why) = &error {
            tracing::warn!(why, "who holds the state directory was asked to make room and does not");
        }
        error.to_string()
    })
}

fn visitor() -> Visitor {
    Visitor { user: paths::user_name(), readonly: false, via: Via::Local, seat: None }
}

/// Stands by the agent that watches, so that its screens see it; ends when dropped.
struct Beside {
    task: JoinHandle<()>,
}

impl Beside {
    fn start(state_dir: &Path) -> Self {
        let places = Places::of(state_dir);
        let task = tokio::spawn(async move {
            let hello = client::hello_for(Errand::StandBy(std::process::id()), visitor());
            loop {
                if let Ok(stream) = socket::connect(&places).await
                    && let Err(error) = client::stand_by(stream, &hello).await
                {
                    tracing::debug!(%error, "could not stand by in sight");
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        });
        Self { task }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a signal asks.
enum Asked {
    Stop,
    Reload,
}

/// The signals that an agent obeys.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Held so that a write past `ulimit -f` fails, as on a full disk; else it ends the process.
    _file_size: Signal,
    /// The config was to be read again before there was anybody to do it.
    is_reload_due: bool,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
            is_reload_due: false,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// Waits until it is to stop. Nobody can read the config again meanwhile, so that is remembered; the log is
    /// opened anew at once.
    async fn stop_or(&mut self, log: &Log) {
        while !matches!(self.next().await, Asked::Stop) {
            self.is_reload_due = true;
            reopen(log);
        }
    }
}

fn say_what_is_watched(loaded: &Loaded, state_dir: &Path) {
    let config = &loaded.config;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = config.path.as_deref().unwrap_or("none"),
        state_dir = %state_dir.display(),
        probes = config.probes.len(),
        logs = config.logs.len(),
        backups = config.backups.len(),
        notifiers = config.notifiers.len(),
        mistakes = loaded.errors.len(),
        "starting"
    );
    if let Some(missing) = &loaded.missing {
        tracing::warn!(path = %missing.display(), "there is no config yet: run `hotseat init`; it is waited for");
    }
}
