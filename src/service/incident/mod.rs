//! Incidents on disk: journals, documents, pins, drafts.
//!
//! [`store`] is the plain, synchronous library that commands call. A running screen or agent goes through
//! [`IncidentService`]: one thread owns the store, so that an fsync never holds up a probe or a frame, and
//! everything asked of it waits in one bounded queue.

pub mod document;
pub mod files;
pub mod journal_file;
pub mod pins;
mod queue;
pub mod store;
mod watch;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock;
use crate::domain::ids::IncidentId;
use crate::domain::incident::MachineEntry;
use crate::domain::presence::ScreenId;
use crate::domain::request::{Inbound, Request};
use crate::service::incident::queue::{Job, Queue};
use crate::service::incident::store::IncidentStore;
use crate::service::incident::worker::Worker;
use crate::service::{Asker, Reply, ServiceSetup};

/// How long a shutdown waits for the disk. A hanging disk must not keep the terminal.
const FLUSH_WAIT: Duration = Duration::from_secs(2);

/// Reads and writes the incident folders and watches them for what others write.
#[derive(Clone)]
pub struct IncidentService {
    handle: Arc<Handle>,
}

/// Closes the queue when the last clone of the service is gone.
struct Handle {
    queue: Arc<Queue>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl IncidentService {
    /// Reads what is there and starts watching it, but leaves the disk to others for so long. What is asked meanwhile
    /// waits.
    pub fn start_after(head_start: Duration, setup: &ServiceSetup) -> Self {
        let queue = Arc::new(Queue::default());
        let store = IncidentStore::new(&setup.state_dir, &setup.host, &setup.user, clock::zone());
        let worker = Worker::new(store, setup.facts.clone(), setup.cancel.clone(), queue.clone());
        let started = std::thread::Builder::new().name("incidents".into()).spawn(move || {
            std::thread::sleep(head_start);
            worker.run();
        });
        if started.is_err() {
            // Without the thread nothing would ever answer: a closed queue refuses at once and says so.
            queue.close();
        }
        Self { handle: Arc::new(Handle { queue }) }
    }

    /// Carries out one of the requests about incidents in the name of who asks; replies after it is on disk.
    ///
    /// What is not about incidents is passed over.
    pub fn ask(&self, asker: Asker, request: Request, reply: Reply) {
        if let Err(job) = self.handle.queue.push(Job { asker, request, reply }) {
            let error = "too much is waiting for the disk: try again in a moment".to_string();
            (job.reply)(Inbound::Refused { request: Box::new(job.request), error });
        }
    }

    /// A screen is gone: what it left unsaved is offered to the next one of the same person.
    pub fn left(&self, screen: ScreenId) {
        self.handle.queue.left(screen);
    }

    /// Appends what a machine saw. When the disk cannot keep up the oldest waiting ones are dropped and counted.
    pub fn append_machine(&self, incident: IncidentId, entry: MachineEntry) {
        self.handle.queue.push_machine(incident, entry);
    }

    /// Waits until everything accepted is on disk (at shutdown), at most two seconds.
    pub async fn flushed(&self) {
        let (done_tx, done_rx) = oneshot::channel();
        self.handle.queue.push_flush(done_tx);
        // An error means that the thread is gone, and with it everything that could be waited for.
        let _ = tokio::time::timeout(FLUSH_WAIT, done_rx).await;
    }
}

#[cfg(test)]
mod tests;
