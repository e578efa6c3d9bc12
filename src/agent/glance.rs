//! A look at whoever watches a state directory: what a command asks before it says something of the host.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use crate::agent::client;
use crate::agent::protocol::Errand;
use crate::agent::socket::{self, ConnectError, Places};
use crate::clock;
use crate::config::paths;
use crate::domain::alert::explain::{ExplainRequest, Explanation};
use crate::domain::board::Board;
use crate::domain::host::Peer;
use crate::domain::ids::HostId;
use crate::domain::presence::{Via, Visitor};
use crate::domain::request::{Inbound, Request};
use crate::runtime::Link;
use crate::runtime::lock;

/// The whole of a look: whoever watches answers in milliseconds, and who asks may be a script with a deadline.
const DEADLINE: Duration = Duration::from_secs(3);

/// How long one that holds the state directory without a socket is waited for: it has just begun, or ends.
const SETTLE_MAX: Duration = Duration::from_secs(1);
/// How often is looked whether it has.
const SETTLE_LOOK: Duration = Duration::from_millis(50);

/// Somebody watches, and this is what they know.
#[derive(Debug)]
pub struct Seen {
    /// The host by the name its ids have.
    pub host: HostId,
    /// What runs there.
    pub peer: Peer,
    /// What is known there.
    pub board: Box<Board>,
    /// For whatever else is to be asked; nobody sees it, and it changes nothing.
    pub link: Link,
}

impl Seen {
    /// Has whoever watches say why a probe was paged or not; `None` when no answer comes in time.
    pub async fn explain(&mut self, request: ExplainRequest) -> Option<Explanation> {
        self.link.requests_tx.try_send(Request::Explain(request)).ok()?;
        let answer = async {
            while let Some(inbound) = self.link.facts_rx.recv().await {
                if let Inbound::Explanation(explanation) = inbound {
                    return Some(*explanation);
                }
            }
            None
        };
        timeout(DEADLINE, answer).await.ok().flatten()
    }
}

/// Nobody could be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unseen {
    /// Nobody watches; who did so last, in words, when somebody ever did.
    Nobody(Option<String>),
    /// It is another account's, and not shared with ours; what to do, in words.
    Closed(String),
    /// Somebody watches, or seems to, and cannot be looked at; why, in words.
    Failed(String),
}

/// Looks. Takes `DEADLINE` at most.
///
/// # Errors
/// See [`Unseen`].
pub async fn look(state_dir: &Path) -> Result<Seen, Unseen> {
    let answered = timeout(DEADLINE, look_at(state_dir)).await;
    answered.unwrap_or_else(|_| {
        let holder = lock::holder(state_dir).map_or_else(|| "whoever watches".to_string(), |it| it.line);
        Err(Unseen::Failed(format!("{holder} does not answer")))
    })
}

async fn look_at(state_dir: &Path) -> Result<Seen, Unseen> {
    let began = clock::timer();
    let stream = match loop {
        let found = socket::connect(&Places::of(state_dir)).await;
        let settles = matches!(found, Err(ConnectError::Nobody(_))) && !lock::is_free(state_dir);
        if !settles || began.elapsed() >= SETTLE_MAX {
            break found;
        }
        tokio::time::sleep(SETTLE_LOOK).await;
    } {
        Ok(stream) => stream,
        Err(ConnectError::Nobody(_)) => {
            let holder = lock::holder(state_dir).map(|it| it.line);
            return Err(match holder {
                Some(holder) if !lock::is_free(state_dir) => {
                    Unseen::Failed(format!("{holder} holds the state directory and takes no questions"))
                }
                holder => Unseen::Nobody(holder),
            });
        }
        Err(error @ (ConnectError::Closed { .. } | ConnectError::Unshared { .. } | ConnectError::Foreign { .. })) => {
            return Err(Unseen::Closed(error.to_string()));
        }
        Err(error @ ConnectError::Failed { .. }) => return Err(Unseen::Failed(error.to_string())),
    };
    let visitor = Visitor { user: paths::user_name(), readonly: true, via: Via::Local, seat: None };
    let attached = client::attach(stream, &client::hello_for(Errand::Glance, visitor)).await;
    let client::Attached { welcome, mut link, .. } = attached.map_err(|error| Unseen::Failed(error.to_string()))?;
    while let Some(inbound) = link.facts_rx.recv().await {
        if let Inbound::Snapshot(board) = inbound {
            return Ok(Seen { host: welcome.host, peer: welcome.peer, board, link });
        }
    }
    Err(Unseen::Failed("it does not show what it knows".into()))
}
