//! Log sources: what the config or the command line names, opened in the log engine.

pub mod feeder;
pub mod glob;
pub mod spec;

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use spec::{KINDS, LogInput, LogSpec, from_operands, host_logs, read};

use crate::domain::fact::Fact;
use crate::domain::log::{LogFact, WindowRequest, WindowSource};
use crate::domain::request::Inbound;
use crate::logstore::engine::Engine;
use crate::logstore::hints::{Hints, Waker};
use crate::logstore::segment::lock;
use crate::service::log::feeder::Feeder;
use crate::service::{Reply, ServiceSetup};

/// A caller that needs the sources waits at most so long for a dead network mount.
const FIRST_LOOK_MAX: Duration = Duration::from_secs(2);

/// Keeps the sources open and answers window requests.
#[derive(Clone)]
pub struct LogService {
    engine: Arc<Engine>,
    specs: Arc<Mutex<Vec<LogSpec>>>,
    waker: Waker,
}

impl LogService {
    /// Opens the sources and starts watching them. Does not wait for them.
    pub fn start(setup: &ServiceSetup, specs: Vec<LogSpec>) -> Self {
        Self::start_with(setup, specs, Box::new(|| ()))
    }

    /// Opens the sources, starts watching them and returns when those that exist are open.
    ///
    /// For commands that print and go; blocks the thread.
    pub fn start_opened(setup: &ServiceSetup, specs: Vec<LogSpec>) -> Self {
        let (opened_tx, opened_rx) = sync_channel(1);
        let service = Self::start_with(
            setup,
            specs,
            Box::new(move || {
                let _ = opened_tx.try_send(());
            }),
        );
        let _ = opened_rx.recv_timeout(FIRST_LOOK_MAX);
        service
    }

    fn start_with(setup: &ServiceSetup, specs: Vec<LogSpec>, mut first_look: Box<dyn FnMut() + Send>) -> Self {
        let hints = Hints::default();
        let service =
            Self { engine: Arc::new(Engine::default()), specs: Arc::new(Mutex::new(specs)), waker: hints.waker() };
        let facts = setup.facts.clone();
        let feeder = Feeder {
            host: setup.host.clone(),
            state_dir: setup.state_dir.clone(),
            engine: service.engine.clone(),
            facts: Arc::new(move |fact| {
                // A size that is not told now is told with the next growth; everything else waits for room.
                if matches!(fact, LogFact::Grew { .. }) {
                    facts.try_send(Fact::Log(fact));
                } else {
                    facts.send_blocking(Fact::Log(fact));
                }
            }),
            cancel: setup.cancel.clone(),
            specs: service.specs.clone(),
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (cancel, waker) = (setup.cancel.clone(), service.waker.clone());
            runtime.spawn(async move {
                cancel.cancelled().await;
                waker.wake();
            });
        }
        let spawned =
            std::thread::Builder::new().name("log-tail".into()).spawn(move || feeder.run(hints, &mut *first_look));
        if let Err(error) = spawned {
            tracing::error!("could not start watching logs: {error}");
        }
        service
    }

    /// Takes changed specs into use: unchanged sources keep their state.
    pub fn reload(&self, specs: Vec<LogSpec>) {
        *lock(&self.specs) = specs;
        self.waker.wake();
    }

    /// Starts answering a window request with `Inbound::Window`s; does not block.
    pub fn request(&self, request: WindowRequest, reply: Reply) {
        self.engine.request(request, Box::new(move |window| reply(Inbound::Window(Box::new(window)))));
    }

    /// The engine, for callers in this process that print.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }
}
