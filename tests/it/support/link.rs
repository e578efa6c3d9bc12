//! A screen's end of a link without a screen: it keeps its board equal by the same fold.

use std::path::Path;

use hotseat::config::Loaded;
use hotseat::domain::board::Board;
use hotseat::domain::ids::HostId;
use hotseat::domain::presence::{Visitor, You};
use hotseat::domain::request::{Inbound, Request};
use hotseat::runtime::{Link, Runtime, RuntimeSetup};

/// A runtime of one user on a state directory, without a config.
pub fn setup(user: &str, state_dir: &Path) -> RuntimeSetup {
    RuntimeSetup {
        host: HostId::new("test"),
        user: user.into(),
        state_dir: state_dir.to_path_buf(),
        loaded: Loaded { readable: true, ..Loaded::default() },
        reader: None,
    }
}

/// What a person has open.
pub struct Attached {
    /// The link.
    pub link: Link,
    /// What it knows.
    pub board: Board,
    /// Who it is to the runtime.
    pub you: Option<You>,
}

impl Attached {
    /// Attaches a person's screen and waits until the runtime has said who it is.
    pub async fn new(runtime: &Runtime, visitor: Visitor) -> Self {
        let mut attached = Self { link: runtime.attach(visitor), board: Board::default(), you: None };
        while attached.you.is_none() {
            attached.next().await;
        }
        attached
    }

    /// The next thing that comes, folded in.
    pub async fn next(&mut self) -> Inbound {
        let inbound = self.link.facts_rx.recv().await.expect("the runtime runs");
        match &inbound {
            Inbound::Snapshot(board) => self.board = (**board).clone(),
            Inbound::Fact(envelope) => {
                assert_eq!(envelope.seq, self.board.seq + 1, "no fact is missing");
                let _ = self.board.apply(envelope.at, envelope);
            }
            Inbound::You(you) => self.you = Some((**you).clone()),
            _ => {}
        }
        inbound
    }

    /// Waits until the board is so.
    pub async fn until(&mut self, done: impl Fn(&Board) -> bool) {
        while !done(&self.board) {
            self.next().await;
        }
    }

    /// Waits for an answer that fits.
    pub async fn answer<T>(&mut self, fits: impl Fn(Inbound) -> Option<T>) -> T {
        loop {
            if let Some(found) = fits(self.next().await) {
                return found;
            }
        }
    }

    /// Asks for something.
    pub async fn ask(&self, request: Request) {
        self.link.requests_tx.send(request).await.expect("the runtime runs");
    }
}
