//! What waits for the incident thread.
//!
//! A queue of its own rather than a channel: what people ask goes before what machines saw, machine entries
//! are taken in batches, and any number of changes on disk is one look.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::domain::ids::IncidentId;
use crate::domain::incident::MachineEntry;
use crate::domain::presence::ScreenId;
use crate::domain::request::Request;
use crate::service::{Asker, Reply};

/// Requests that may wait: more than a person types while a disk hangs for a minute.
const JOBS_MAX: usize = 64;
/// Machine entries that may wait: every probe of a large host flips twice.
const MACHINE_MAX: usize = 1_024;
/// Flushes that may wait; there is one at a shutdown.
const FLUSHES_MAX: usize = 16;

/// One request and whom to answer.
pub(super) struct Job {
    pub(super) asker: Asker,
    pub(super) request: Request,
    pub(super) reply: Reply,
}

/// What to do next.
pub(super) enum Next {
    /// A person's request.
    Job(Job),
    /// What machines saw, oldest first, and how many more were dropped.
    Machine(Vec<(IncidentId, MachineEntry)>, u64),
    /// Somebody waits until all is done.
    Flush(oneshot::Sender<()>),
    /// Something on disk may have changed, or it is time to look.
    Look,
    /// Nobody will ask anything any more.
    Closed,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    machine: VecDeque<(IncidentId, MachineEntry)>,
    dropped: u64,
    flushes: Vec<oneshot::Sender<()>>,
    look: bool,
    // Screens that asked for something and are not gone: as many as are attached.
    here: BTreeSet<ScreenId>,
    closed: bool,
}

/// The queue.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    news: Condvar,
}

impl Queue {
    /// Adds a request; gives it back when there is no room or nobody to carry it out.
    // The request is given back by value on purpose: it holds a person's words.
    #[allow(clippy::result_large_err)]
    pub(super) fn push(&self, job: Job) -> Result<(), Job> {
        let mut state = self.lock();
        if state.closed || state.jobs.len() >= JOBS_MAX {
            return Err(job);
        }
        state.here.insert(job.asker.screen);
        state.jobs.push_back(job);
        self.news.notify_one();
        Ok(())
    }

    /// Adds a machine entry; the oldest one goes when there is no room.
    pub(super) fn push_machine(&self, incident: IncidentId, entry: MachineEntry) {
        let mut state = self.lock();
        if state.machine.len() >= MACHINE_MAX {
            state.machine.pop_front();
            state.dropped += 1;
        }
        state.machine.push_back((incident, entry));
        self.news.notify_one();
    }

    /// Asks to be told when everything before is done.
    pub(super) fn push_flush(&self, done_tx: oneshot::Sender<()>) {
        let mut state = self.lock();
        if !state.closed && state.flushes.len() < FLUSHES_MAX {
            state.flushes.push(done_tx);
            self.news.notify_one();
        }
    }

    /// A screen is gone.
    pub(super) fn left(&self, screen: ScreenId) {
        self.lock().here.remove(&screen);
    }

    /// The screens that asked for something and are not gone.
    pub(super) fn here(&self) -> BTreeSet<ScreenId> {
        self.lock().here.clone()
    }

    /// Says that something on disk may have changed.
    pub(super) fn push_look(&self) {
        self.lock().look = true;
        self.news.notify_one();
    }

    /// Says that nobody will ask anything any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.news.notify_one();
    }

    /// Waits for something to do. `look_after` is when to look at the disk without being told; `None` never.
    pub(super) fn next(&self, look_after: Option<Duration>) -> Next {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Next::Job(job);
            }
            if !state.machine.is_empty() {
                return Next::Machine(state.machine.drain(..).collect(), std::mem::take(&mut state.dropped));
            }
            if let Some(done_tx) = state.flushes.pop() {
                return Next::Flush(done_tx);
            }
            if state.closed {
                return Next::Closed;
            }
            if std::mem::take(&mut state.look) {
                return Next::Look;
            }
            state = match look_after {
                None => self.news.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(wait) => {
                    let (state, timeout) = self.news.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
                    if timeout.timed_out() {
                        return Next::Look;
                    }
                    state
                }
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way; a poisoned lock holds a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
