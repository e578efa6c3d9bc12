//! How screens get on: a handle on a runtime that tasks can hold, and what carries a link over a wire.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::fact::{Actor, Fact};
use crate::domain::ids::HostId;
use crate::domain::presence::{PresenceFact, ScreenId, Visitor, You};
use crate::domain::request::{Inbound, Request};
use crate::runtime::dispatch::{self, Guest};
use crate::runtime::queue::LinkQueue;
use crate::runtime::reload::Reloads;
use crate::runtime::{LINK_INBOUND_MAX, LINK_REQUESTS_MAX, Link, Shared};
use crate::service::Reply;

/// Messages under way to a wire. Fewer than to a screen in this process: two of them may be whole boards, and what
/// waits behind them is replaced by newer things.
pub const WIRE_INBOUND_MAX: usize = 4;

/// Attaches screens to a runtime for as long as that lives. Does not keep it alive, nor its lock.
#[derive(Clone)]
pub struct Attacher {
    pub(super) shared: Weak<Shared>,
    pub(super) host: HostId,
    pub(super) state_dir: PathBuf,
    pub(super) reloads: Reloads,
    pub(super) stopping: CancellationToken,
    pub(super) finished: CancellationToken,
    pub(super) serving: TaskTracker,
    pub(super) folding: TaskTracker,
}

/// A request, and by which number its end is told.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// Told as `Inbound::Settled` behind the last answer, whatever comes of the request; `None` is not told.
    pub number: Option<u64>,
}

impl From<Request> for Asked {
    fn from(request: Request) -> Self {
        Self { request, number: None }
    }
}

/// A link for what carries it on to another process.
pub struct WireLink {
    /// Snapshot first, then facts and answers. It ends when the runtime does.
    pub inbound_rx: mpsc::Receiver<Inbound>,
    /// What the screen asks.
    pub asked_tx: mpsc::Sender<Asked>,
    /// Asks for the board again.
    pub refresh: Refresh,
}

/// Asks for a snapshot in the stream of a link.
#[derive(Clone)]
pub struct Refresh {
    queue: Arc<LinkQueue>,
}

impl Refresh {
    /// Has the next message be a snapshot; facts that wait are in it.
    pub fn ask(&self) {
        self.queue.ask_snapshot();
    }
}

impl Attacher {
    /// Attaches a screen of this process. When the runtime has ended so has the link.
    pub fn attach(&self, visitor: Visitor) -> Link {
        self.link(visitor, true)
    }

    /// Attaches something that is no person's screen: it is served alike, and nobody sees it.
    pub fn attach_unseen(&self, visitor: Visitor) -> Link {
        self.link(visitor, false)
    }

    fn link(&self, visitor: Visitor, is_seen: bool) -> Link {
        match self.open(visitor, is_seen, Arc::new(LinkQueue::new()), LINK_INBOUND_MAX) {
            Some((facts_rx, requests_tx, _)) => Link { facts_rx, requests_tx },
            None => Link { facts_rx: mpsc::channel(1).1, requests_tx: mpsc::channel(1).0 },
        }
    }

    /// Attaches a screen of another process; `None` when the runtime has ended. With `glimpses` a snapshot has no more
    /// than that of past outcomes, and these come behind it.
    pub fn attach_wire(&self, visitor: Visitor, glimpses: bool) -> Option<WireLink> {
        self.wire(visitor, true, if glimpses { LinkQueue::with_glimpses() } else { LinkQueue::new() })
    }

    /// Attaches a command of another process that only looks: it is served alike, and nobody sees it.
    pub fn attach_wire_unseen(&self, visitor: Visitor) -> Option<WireLink> {
        self.wire(visitor, false, LinkQueue::new())
    }

    fn wire(&self, visitor: Visitor, is_seen: bool, queue: LinkQueue) -> Option<WireLink> {
        let (inbound_rx, asked_tx, queue) = self.open(visitor, is_seen, Arc::new(queue), WIRE_INBOUND_MAX)?;
        Some(WireLink { inbound_rx, asked_tx, refresh: Refresh { queue } })
    }

    /// Tells everybody something that is observed of the way here. Never waits; without room it is not told.
    pub fn tell(&self, fact: Fact) {
        if let Some(shared) = self.shared.upgrade() {
            shared.services.facts.try_send(fact);
        }
    }

    /// The host's name.
    pub fn host(&self) -> &HostId {
        &self.host
    }

    /// Where the runtime keeps its state.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// True while the runtime holds the lock of its state directory.
    pub fn holds_state(&self) -> bool {
        self.shared.upgrade().is_some_and(|it| it.lock.get().is_some())
    }

    /// Writes into the lock file by which socket screens get on, or that there is none any more. Members of `group`,
    /// by its number, may read it; without one nobody else.
    ///
    /// # Errors
    /// When the runtime does not hold the lock, or the file cannot be written.
    pub fn publish(&self, socket: Option<&Path>, group: Option<u32>) -> io::Result<()> {
        let shared = self.shared.upgrade();
        let lock = shared.as_ref().and_then(|it| it.lock.get());
        let lock = lock.ok_or_else(|| io::Error::other("this runtime does not hold the state directory"))?;
        match group {
            Some(gid) => lock.share(gid)?,
            None => lock.unshare()?,
        }
        lock.publish(socket)
    }

    fn open<T>(
        &self,
        visitor: Visitor,
        is_seen: bool,
        queue: Arc<LinkQueue>,
        inbound_max: usize,
    ) -> Option<(mpsc::Receiver<Inbound>, mpsc::Sender<T>, Arc<LinkQueue>)>
    where
        T: Into<Asked> + Send + 'static,
    {
        let shared = self.shared.upgrade().filter(|_| !self.stopping.is_cancelled())?;
        let (inbound_tx, inbound_rx) = mpsc::channel(inbound_max);
        let (requests_tx, requests_rx) = mpsc::channel::<T>(LINK_REQUESTS_MAX);
        shared.links().push(Arc::clone(&queue));
        let board = Arc::clone(&shared.board);
        let announced_rx = shared.services.facts.announced();
        self.folding.spawn(Arc::clone(&queue).pump(board, inbound_tx, announced_rx, self.finished.clone()));
        let screen = ScreenId(shared.screens.fetch_add(1, Ordering::Relaxed));
        let you = You { host: self.host.clone(), screen, visitor: visitor.clone() };
        let answers = Arc::clone(&queue);
        let reply: Reply = Arc::new(move |inbound| answers.push_answer(inbound));
        // The queue is new: it waits behind the snapshot.
        let _ = reply(Inbound::You(Box::new(you)));
        let guest = Guest { screen, visitor };
        let (services, reloads) = (Arc::clone(&shared.services), self.reloads.clone());
        let stopping = self.stopping.clone();
        self.serving.spawn(async move {
            let person = Actor::Person(guest.visitor.user.clone());
            if is_seen {
                let came = PresenceFact::Came { screen, visitor: guest.visitor.clone() };
                services.facts.send_as(person.clone(), Fact::Presence(came)).await;
            }
            dispatch::serve(Arc::clone(&services), reloads, guest, reply, requests_rx, stopping).await;
            services.incidents.left(screen);
            services.logs.left(screen);
            if is_seen {
                services.facts.send_as(person, Fact::Presence(PresenceFact::Went { screen })).await;
            }
        });
        Some((inbound_rx, requests_tx, queue))
    }
}
