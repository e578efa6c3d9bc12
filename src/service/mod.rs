//! I/O, one folder per thing that has kinds. Services observe facts; they know no panes and no keys.

pub mod backup;
pub mod http_door;
pub mod incident;
pub mod lack;
pub mod log;
pub mod notify;
pub mod private_file;
pub mod probe;
pub mod program;
pub mod supervise;
pub mod trust;
pub mod veil;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::domain::fact::{Actor, Fact};
use crate::domain::ids::HostId;
use crate::domain::presence::ScreenId;
use crate::domain::request::Inbound;

/// Facts that may wait for the runtime. Services that can wait do; 256 facts are far more than a second of work.
pub const FACTS_MAX: usize = 256;

/// What a screen that opens on logs gets for its first rows before the store, the incidents and what watches files use the
/// disk and the cores: four times what it needs, and far less than anything that would page waits.
pub const HEAD_START: Duration = Duration::from_millis(40);

/// Probes that are named at once without a word before: as many as a screen takes in between two frames.
pub const NAMED_AT_ONCE_MAX: usize = 32;

/// Where services put what they observe.
#[derive(Debug, Clone)]
pub struct FactSender {
    facts_tx: mpsc::Sender<(Actor, Fact)>,
    // How much of what was announced is still to be folded.
    announced_tx: Arc<watch::Sender<usize>>,
}

impl FactSender {
    /// Makes the bounded channel from services to the runtime.
    pub fn channel() -> (Self, mpsc::Receiver<(Actor, Fact)>) {
        let (facts_tx, facts_rx) = mpsc::channel(FACTS_MAX);
        (Self { facts_tx, announced_tx: Arc::new(watch::Sender::new(0)) }, facts_rx)
    }

    /// Says that so many facts follow which make sense together only: screens are told when all of them are folded.
    pub fn announce(&self, count: usize) {
        self.announced_tx.send_modify(|it| *it = it.saturating_add(count));
    }

    /// So many that were announced are folded, or do not come.
    pub fn arrived(&self, count: usize) {
        self.announced_tx.send_if_modified(|it| {
            let is_news = *it > 0 && count > 0;
            *it = it.saturating_sub(count);
            is_news
        });
    }

    /// How many that were announced are still to be folded.
    pub fn announced(&self) -> watch::Receiver<usize> {
        self.announced_tx.subscribe()
    }

    /// Sends a fact of the runtime itself, waiting for room. A closed runtime is not an error: it is shutting down.
    pub async fn send(&self, fact: Fact) {
        self.send_as(Actor::Runtime, fact).await;
    }

    /// Sends a fact that a person caused, waiting for room.
    pub async fn send_as(&self, actor: Actor, fact: Fact) {
        // The receiver is gone only while everything stops.
        let _ = self.facts_tx.send((actor, fact)).await;
    }

    /// Sends from a plain thread, waiting for room. Must not be called on a tokio worker.
    pub fn send_blocking(&self, fact: Fact) {
        let _ = self.facts_tx.blocking_send((Actor::Runtime, fact));
    }

    /// Sends a fact that a person caused from a plain thread, waiting for room. Not for a tokio worker.
    pub fn send_blocking_as(&self, actor: Actor, fact: Fact) {
        let _ = self.facts_tx.blocking_send((actor, fact));
    }

    /// Sends if there is room; `false` means that the caller should coalesce and try again.
    pub fn try_send(&self, fact: Fact) -> bool {
        self.try_send_as(Actor::Runtime, fact)
    }

    /// Sends a fact that a person caused if there is room; `false` as for [`FactSender::try_send`].
    pub fn try_send_as(&self, actor: Actor, fact: Fact) -> bool {
        self.facts_tx.try_send((actor, fact)).is_ok()
    }

    /// True when nobody takes facts any more: everything stops.
    pub fn is_closed(&self) -> bool {
        self.facts_tx.is_closed()
    }
}

/// Who asks something of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The screen.
    pub screen: ScreenId,
    /// The person at it.
    pub user: String,
}

/// Answers one request of one screen; may be called more than once (a window and its fresh counts).
///
/// Returns `false` when the screen is gone and nobody wants the answer.
pub type Reply = Arc<dyn Fn(Inbound) -> bool + Send + Sync>;

/// What every service is started with.
#[derive(Clone)]
pub struct ServiceSetup {
    /// The host's name; part of every id.
    pub host: HostId,
    /// The person who started this: `HOTSEAT_USER`, else the ssh or login user. What a screen asks is its own person's.
    pub user: String,
    /// Where state lives (`$XDG_STATE_HOME/hotseat`).
    pub state_dir: PathBuf,
    /// Where facts go.
    pub facts: FactSender,
    /// Ends everything.
    pub cancel: CancellationToken,
}
