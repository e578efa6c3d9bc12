//! The thread that reads: history for graphs, and what led to a page. It never stands in the way of a commit.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use jiff::Timestamp;
use rusqlite::Connection;

use crate::clock;
use crate::domain::ids::ProbeId;
use crate::domain::probe::history::{History, HistoryRequest};
use crate::domain::probe::outcome::Outcome;
use crate::store::database::{self, Identity, StoreError};
use crate::store::outbox::{self, Attempt, Kept};
use crate::store::samples::Raw;
use crate::store::{Store, history, samples};

/// Questions that wait; a screen asks one at a time.
const ASKS_MAX: usize = 16;
/// Outcomes of a trace: more than a person reads through.
pub const TRACE_MAX: usize = 2_000;

/// What was recorded about a probe in a stretch of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// Its outcomes, oldest first; at most the newest [`TRACE_MAX`] of the stretch.
    pub outcomes: Vec<Outcome>,
    /// What was sent about it, with every attempt.
    pub deliveries: Vec<(Kept, Vec<Attempt>)>,
}

/// Reads the file of a state directory. Blocks: for threads of their own and for commands.
pub struct Reader {
    state_dir: PathBuf,
    store: Option<Store>,
    /// And of which file it is.
    connection: Option<(Connection, Identity)>,
}

impl Reader {
    /// Makes one; nothing is opened yet. Without a `store` only what is on disk is known.
    pub fn new(state_dir: &Path, store: Option<Store>) -> Self {
        Self { state_dir: state_dir.to_path_buf(), store, connection: None }
    }

    /// Answers a request for a probe's past.
    ///
    /// # Errors
    /// When the file cannot be read. One that is not there is an empty past.
    pub fn history(&mut self, request: &HistoryRequest) -> Result<History, StoreError> {
        // Before the file is looked at: what is written in between is then met twice, and never not at all.
        let unwritten = self.store.as_ref().map(|it| it.unwritten(Some(&request.probe))).unwrap_or_default();
        let unwritten: Vec<Raw> = unwritten.iter().map(|it| Raw::of(&it.outcome, it.next)).collect();
        self.read(|connection| history::history(connection, request, &unwritten, clock::now()))
    }

    /// What was recorded about a probe in a stretch of time.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn trace(&mut self, probe: &ProbeId, range: Range<Timestamp>) -> Result<Trace, StoreError> {
        let unwritten = self.store.as_ref().map(|it| it.unwritten(Some(probe))).unwrap_or_default();
        let mut trace = self.read(|connection| {
            let Some(connection) = connection else { return Ok(Trace::default()) };
            let mut outcomes = std::collections::VecDeque::new();
            samples::walk(connection, Some(probe), range.clone(), |_, outcome| {
                if outcomes.len() == TRACE_MAX {
                    outcomes.pop_front();
                }
                outcomes.push_back(outcome);
                true
            })?;
            let deliveries = outbox::about(connection, probe.as_str(), range.clone())?;
            Ok(Trace { outcomes: outcomes.into(), deliveries })
        })?;
        let known: BTreeSet<Timestamp> = trace.outcomes.iter().map(|it| it.at).collect();
        let new = unwritten.into_iter().filter(|it| range.contains(&it.outcome.at) && !known.contains(&it.outcome.at));
        let mut outcomes: Vec<Outcome> = new.map(|it| it.outcome.as_ref().clone()).collect();
        if !outcomes.is_empty() {
            outcomes.append(&mut trace.outcomes);
            outcomes.sort_by_key(|it| it.at);
            outcomes.drain(..outcomes.len().saturating_sub(TRACE_MAX));
            trace.outcomes = outcomes;
        }
        Ok(trace)
    }

    /// Deliveries that are not sent yet, in their order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn waiting(&mut self) -> Result<Vec<Kept>, StoreError> {
        self.read(|connection| connection.map_or(Ok(Vec::new()), outbox::open))
    }

    /// Hands the outcomes of all probes in a stretch of time to `each`, oldest first, until it answers `false`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn walk(
        &mut self,
        range: Range<Timestamp>,
        mut each: impl FnMut(&ProbeId, Outcome) -> bool,
    ) -> Result<(), StoreError> {
        self.read(|connection| match connection {
            Some(connection) => samples::walk(connection, None, range, &mut each),
            None => Ok(()),
        })
    }

    /// Reads in one transaction, so that sums and what they are made of fit together.
    fn read<T>(&mut self, what: impl FnOnce(Option<&Connection>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let path = self.state_dir.join(database::FILE_NAME);
        // Asked before it is opened: one that is replaced in between is noticed by the next question.
        let in_place = database::identity(&self.state_dir);
        self.connection.take_if(|(_, identity)| Some(*identity) != in_place);
        let mut is_apart = false;
        if let (None, Some(identity)) = (&self.connection, in_place) {
            let opened = database::open_to_read(&self.state_dir)?;
            is_apart = opened.as_ref().is_some_and(|it| it.is_apart);
            self.connection = opened.map(|it| (it.connection, identity));
        }
        let Some((connection, _)) = &self.connection else {
            return what(None).map_err(|error| StoreError::of(&path, error));
        };
        let read = connection.unchecked_transaction().and_then(|_transaction| what(Some(connection)));
        if read.is_err() || is_apart {
            // Whatever it was, the next question opens it anew. One that keeps everybody else out would keep out the
            // writer too, when there is room again.
            self.connection = None;
        }
        read.map_err(|error| StoreError::of(&path, error))
    }
}

type Ask = Box<dyn FnOnce(&mut Reader) + Send>;

/// A [`Reader`] on a thread of its own. It ends when the last handle is dropped.
#[derive(Clone)]
pub struct Desk {
    asks_tx: SyncSender<Ask>,
}

impl Desk {
    /// Starts the thread.
    pub fn start(mut reader: Reader) -> Self {
        let (asks_tx, asks_rx) = sync_channel::<Ask>(ASKS_MAX);
        let run = move || {
            while let Ok(ask) = asks_rx.recv() {
                ask(&mut reader);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("history".into()).spawn(run) {
            tracing::error!(%error, "could not start the history's thread");
        }
        Self { asks_tx }
    }

    /// Has `ask` called with the reader; `false` when too many wait.
    pub fn ask(&self, ask: impl FnOnce(&mut Reader) + Send + 'static) -> bool {
        self.asks_tx.try_send(Box::new(ask)).is_ok()
    }
}
