//! Logs that one screen has named and reads in its own process, beside a runtime that watches everything else.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::board::Board;
use crate::domain::fact::Envelope;
use crate::domain::ids::HostId;
use crate::domain::presence::ScreenId;
use crate::domain::request::{Inbound, Request};
use crate::runtime::queue::LinkQueue;
use crate::runtime::{LINK_INBOUND_MAX, LINK_REQUESTS_MAX, Link};
use crate::service::log::{LogService, LogSpec};
use crate::service::{FactSender, Reply, ServiceSetup};

/// What programs whose output is a log get to end.
const STOP_DEADLINE: Duration = Duration::from_millis(250);

/// Reads logs and answers for them, and does nothing else.
pub struct LogsOnly {
    service: LogService,
    cancel: CancellationToken,
}

impl LogsOnly {
    /// Opens the logs and returns the link that answers `Request::Window` and the exports; other requests are refused.
    /// Its board knows of logs only. Needs a tokio runtime around it.
    pub fn start(host: HostId, user: String, state_dir: PathBuf, specs: Vec<LogSpec>) -> (Self, Link) {
        let (facts, mut facts_rx) = FactSender::channel();
        let cancel = CancellationToken::new();
        let setup = ServiceSetup { host: host.clone(), user, state_dir, facts, cancel: cancel.clone() };
        let service = LogService::start(&setup, specs);
        let board = Arc::new(Mutex::new(Board { host: Some(host.clone()), ..Board::default() }));
        let (inbound_tx, inbound_rx) = mpsc::channel(LINK_INBOUND_MAX);
        let (requests_tx, mut requests_rx) = mpsc::channel(LINK_REQUESTS_MAX);
        let queue = Arc::new(LinkQueue::new());
        tokio::spawn(Arc::clone(&queue).pump(Arc::clone(&board), inbound_tx, setup.facts.announced(), cancel.clone()));
        let answers = Arc::clone(&queue);
        let reply: Reply = Arc::new(move |inbound| answers.push_answer(inbound));
        let asked = service.clone();
        tokio::spawn(async move {
            while let Some(request) = requests_rx.recv().await {
                let reply = Arc::clone(&reply);
                match request {
                    Request::Window(window) => asked.request(ScreenId(0), *window, reply),
                    Request::Export(export) => asked.export(*export, reply),
                    Request::StopExport => asked.stop_export(),
                    _ => {
                        // A screen that is gone needs no answer.
                        let _ = reply(Inbound::Failed("only logs are read here".into()));
                    }
                }
            }
        });
        tokio::spawn(async move {
            while let Some((actor, fact)) = facts_rx.recv().await {
                let at = clock::now();
                let envelope = {
                    let mut board = board.lock().unwrap_or_else(PoisonError::into_inner);
                    let envelope = Envelope { host: host.clone(), seq: board.seq + 1, at, actor, fact };
                    // Logs ask nothing of the world.
                    let _ = board.apply(at, &envelope);
                    envelope
                };
                if !queue.push_fact(&envelope) {
                    return;
                }
            }
        });
        (Self { service, cancel }, Link { facts_rx: inbound_rx, requests_tx })
    }

    /// Stops reading and waits, but not for long, until programs that were started are gone.
    pub async fn end(self) {
        self.cancel.cancel();
        let service = self.service.clone();
        let stopped = tokio::task::spawn_blocking(move || service.wait_until_stopped());
        // What hangs is left behind: the process ends.
        let _ = timeout(STOP_DEADLINE, stopped).await;
    }
}

impl Drop for LogsOnly {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}
