//! The impure shell around the board: services in, effects out, screens attached through a bounded `Link`.

use tokio::sync::mpsc;

use crate::config::Config;
use crate::domain::request::{Inbound, Request};
use crate::service::ServiceSetup;

/// Messages that may wait for a screen; past that it is told what it missed with a fresh snapshot.
pub const LINK_INBOUND_MAX: usize = 256;
/// Requests that may wait for the runtime; a screen that is past it says so and drops the key.
pub const LINK_REQUESTS_MAX: usize = 64;

/// The only way a screen speaks with its runtime, in this process or another.
#[derive(Debug)]
pub struct Link {
    /// Snapshot first, then facts and answers.
    pub facts_rx: mpsc::Receiver<Inbound>,
    /// What the screen asks.
    pub requests_tx: mpsc::Sender<Request>,
}

/// A running runtime.
pub struct Runtime {}

impl Runtime {
    /// Starts the services of a config and the task that folds their facts.
    pub fn start(_setup: ServiceSetup, _config: Config) -> Self {
        Self {}
    }

    /// Attaches a screen: it gets a snapshot, then everything after it.
    pub fn attach(&self) -> Link {
        let (_inbound_tx, facts_rx) = mpsc::channel(LINK_INBOUND_MAX);
        let (requests_tx, _requests_rx) = mpsc::channel(LINK_REQUESTS_MAX);
        Link { facts_rx, requests_tx }
    }
}
