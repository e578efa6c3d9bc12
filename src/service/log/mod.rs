//! Log sources: what the config or the command line names, opened in the log engine.

pub mod child;
pub mod doubt;
pub mod dress;
pub mod export;
pub mod export_file;
pub mod feeder;
pub mod files;
pub mod glob;
pub mod kind;
pub mod pipe;
pub mod producer;
pub mod reading;
pub mod retry;
pub mod script;
pub mod seam;
pub mod spec;
pub mod store;
pub mod unpacking;

#[cfg(test)]
mod rig;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use kind::KINDS;
pub use spec::{LogInput, LogSpec, from_operands, host_logs, read, with_history};

use crate::domain::export::ExportRequest;
use crate::domain::fact::Fact;
use crate::domain::log::{LogFact, ViewId, Window, WindowRequest, WindowSource};
use crate::domain::presence::ScreenId;
use crate::domain::request::Inbound;
use crate::logstore::engine::{Engine, VIEWS_PER_SCREEN};
use crate::logstore::hints::{Hints, Waker};
use crate::logstore::segment::lock;
use crate::service::log::export::Exports;
use crate::service::log::feeder::Feeder;
use crate::service::{Reply, ServiceSetup};

/// A caller that needs the sources waits at most so long for a dead network mount.
const FIRST_LOOK_MAX: Duration = Duration::from_secs(2);
/// Programs that were started get so long to end, all together.
const STOP_MAX: Duration = Duration::from_millis(700);

/// Keeps the sources open and answers window requests.
#[derive(Clone)]
pub struct LogService {
    engine: Arc<Engine>,
    specs: Arc<Mutex<Vec<LogSpec>>>,
    /// What there is has been opened.
    opened: Arc<AtomicBool>,
    waker: Waker,
    /// Closed when the feeder and all that it started are gone.
    ended: Arc<Mutex<Receiver<()>>>,
    exports: Exports,
}

impl LogService {
    /// Opens the sources and starts watching them. Does not wait for them.
    pub fn start(setup: &ServiceSetup, specs: Vec<LogSpec>) -> Self {
        Self::start_with(setup, specs, (true, Engine::default()), Box::new(|| ()))
    }

    /// Opens the sources, starts watching them and returns when those that exist are open.
    ///
    /// For commands that print; blocks the thread.
    pub fn start_opened(setup: &ServiceSetup, specs: Vec<LogSpec>) -> Self {
        Self::start_and_wait(setup, specs, (true, false))
    }

    /// As [`LogService::start_opened`], but programs are asked only for what there is now.
    pub fn start_opened_once(setup: &ServiceSetup, specs: Vec<LogSpec>) -> Self {
        Self::start_and_wait(setup, specs, (false, false))
    }

    /// As [`LogService::start_opened`], or as [`LogService::start_opened_once`] unless it follows; whoever brings bytes
    /// waits until a stream has taken them, so that none are lost.
    pub fn start_taken(setup: &ServiceSetup, specs: Vec<LogSpec>, follow: bool) -> Self {
        Self::start_and_wait(setup, specs, (follow, true))
    }

    fn start_and_wait(setup: &ServiceSetup, specs: Vec<LogSpec>, (follow, takes): (bool, bool)) -> Self {
        let (opened_tx, opened_rx) = sync_channel(1);
        let first_look = move || {
            let _ = opened_tx.try_send(());
        };
        let engine = Engine::default();
        if takes {
            engine.begin_taking();
        }
        let service = Self::start_with(setup, specs, (follow, engine), Box::new(first_look));
        let _ = opened_rx.recv_timeout(FIRST_LOOK_MAX);
        service
    }

    fn start_with(
        setup: &ServiceSetup,
        specs: Vec<LogSpec>,
        (follow, engine): (bool, Engine),
        mut first_look: Box<dyn FnMut() + Send>,
    ) -> Self {
        let hints = Hints::default();
        let (ended_tx, ended_rx) = sync_channel(1);
        let service = Self {
            engine: Arc::new(engine),
            specs: Arc::new(Mutex::new(specs)),
            opened: Arc::default(),
            waker: hints.waker(),
            ended: Arc::new(Mutex::new(ended_rx)),
            exports: Exports::new(setup.cancel.clone()),
        };
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
            follow,
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (cancel, waker) = (setup.cancel.clone(), service.waker.clone());
            runtime.spawn(async move {
                cancel.cancelled().await;
                waker.wake();
            });
        }
        let (opened, engine) = (Arc::clone(&service.opened), Arc::clone(&service.engine));
        let mut first_look = move || {
            if !opened.swap(true, Ordering::AcqRel) {
                // Whoever waits for it hears of it as of a change.
                engine.grew();
            }
            first_look();
        };
        let spawned = std::thread::Builder::new().name("log-tail".into()).spawn(move || {
            feeder.run(hints, &mut first_look);
            drop(ended_tx);
        });
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

    /// Waits, when the setup's `cancel` is cancelled, until all programs that were started are gone, but not for long.
    pub fn wait_until_stopped(&self) {
        self.waker.wake();
        let _ = lock(&self.ended).recv_timeout(STOP_MAX);
    }

    /// Starts answering a screen's window request with `Inbound::Window`s; does not block.
    ///
    /// Screens number their views alike, and a request cancels the one before it of the same view: each screen has
    /// views of its own here.
    pub fn request(&self, screen: ScreenId, request: WindowRequest, reply: Reply) {
        let view = request.view;
        let its = WindowRequest { view: ViewId(first_view(screen) + view.0 % VIEWS_PER_SCREEN), ..request };
        let answer = move |window| reply(Inbound::Window(Box::new(Window { view, ..window })));
        self.engine.request(its, Box::new(answer));
    }

    /// Ends the views of a screen that is gone.
    pub fn left(&self, screen: ScreenId) {
        let first = first_view(screen);
        self.engine.close_views(|it| (first..first.saturating_add(VIEWS_PER_SCREEN)).contains(&it.0));
    }

    /// Starts writing records into a file; `reply` hears how it goes. Does not block.
    pub fn export(&self, request: ExportRequest, reply: Reply) {
        self.exports.start(self.engine.clone(), request, reply);
    }

    /// Stops the export that is under way.
    pub fn stop_export(&self) {
        self.exports.stop();
    }

    /// True when the sources that exist have been opened, after a start.
    pub fn is_opened(&self) -> bool {
        self.opened.load(Ordering::Acquire)
    }

    /// The engine, for callers in this process that print.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }
}

fn first_view(screen: ScreenId) -> u64 {
    screen.0.saturating_mul(VIEWS_PER_SCREEN)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::path::Path;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::domain::ids::HostId;
    use crate::domain::log::{Anchor, Row};
    use crate::service::FactSender;

    /// A deadline that only a broken test meets.
    const LONG: Duration = Duration::from_secs(60);

    fn setup(directory: &Path) -> ServiceSetup {
        let (facts, _) = FactSender::channel();
        ServiceSetup {
            host: HostId::new("h"),
            user: "tester".into(),
            state_dir: directory.join("state"),
            facts,
            cancel: CancellationToken::new(),
        }
    }

    fn operands(directory: &Path, names: &[&str]) -> Vec<LogSpec> {
        let paths: Vec<String> = names.iter().map(|it| directory.join(it).to_string_lossy().into_owned()).collect();
        from_operands(&paths)
    }

    fn names(service: &LogService) -> Vec<String> {
        service.engine().sources().iter().map(|it| it.name.clone()).collect()
    }

    fn wait_until(service: &LogService, holds: impl Fn() -> bool) {
        loop {
            let seen = service.engine().changes();
            if holds() {
                return;
            }
            assert!(service.engine().wait_for_change(seen, LONG), "nothing changes: {:?}", names(service));
        }
    }

    #[test]
    fn a_reload_opens_what_is_new_closes_what_is_gone_and_keeps_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.log", "b.log", "c.log"] {
            fs::write(directory.path().join(name), "x\n").unwrap();
        }
        let setup = setup(directory.path());
        let service = LogService::start_opened(&setup, operands(directory.path(), &["a.log", "b.log"]));
        assert_eq!(names(&service), ["a", "b"]);
        let kept = service.engine().sources()[1].clone();
        service.reload(operands(directory.path(), &["b.log", "c.log"]));
        wait_until(&service, || names(&service) == ["b", "c"]);
        assert!(Arc::ptr_eq(&kept, &service.engine().sources()[0]), "the unchanged source was opened again");
        setup.cancel.cancel();
    }

    #[test]
    fn a_named_pipe_is_read_from_one_writer_after_the_other() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let setup = setup(directory.path());
        let service = LogService::start_opened(&setup, operands(directory.path(), &["pipe"]));
        let (rows_tx, rows_rx) = sync_channel(1000);
        let request = WindowRequest { follow: true, ..WindowRequest::new(ViewId(1), 1, Anchor::Tail, (10, 0)) };
        service.engine().request(request, Box::new(move |window| rows_tx.send(window.rows).is_ok()));
        let until = |last: &[&str]| loop {
            let rows = rows_rx.recv_timeout(LONG).expect("a window").unwrap_or_default();
            let text = |row: &Row| match row {
                Row::Record(record) => record.lines.join("|"),
                Row::Gap(gap) => format!("{:?}", gap.kind),
                Row::Break => "--".into(),
            };
            if rows.iter().map(text).eq(last.iter().copied()) {
                return;
            }
        };
        for (text, shown) in [("one\n", &["one", "Ended"][..]), ("two\n", &["one", "two", "Ended"][..])] {
            OpenOptions::new().write(true).open(&pipe).unwrap().write_all(text.as_bytes()).unwrap();
            until(shown);
        }
        setup.cancel.cancel();
    }
}
