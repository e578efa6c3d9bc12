//! The wire between screens and a runtime: the socket, what is spoken, and everything that goes wrong with it.

use std::io;
use std::path::Path;
use std::time::Duration;

use hotseat::agent::client::{self, Attached, Ended};
use hotseat::agent::protocol::{Hello, PROTOCOL};
use hotseat::agent::server::{Server, ServerSetup};
use hotseat::agent::socket::{self, Places};
use hotseat::config::Loaded;
use hotseat::domain::board::Board;
use hotseat::domain::host::Role;
use hotseat::domain::ids::HostId;

use hotseat::domain::presence::{Via, Visitor};
use hotseat::domain::request::{Inbound, Request};
use hotseat::runtime::{Runtime, RuntimeSetup};
use tokio::net::UnixStream;

/// Longer than anything takes; a test that waits for it has failed.
const DEADLINE: Duration = Duration::from_secs(30);

fn runtime(state_dir: &Path) -> Runtime {
    Runtime::start(RuntimeSetup {
        host: HostId::new("test"),
        user: "alice".into(),
        state_dir: state_dir.to_path_buf(),
        loaded: Loaded { readable: true, ..Loaded::default() },
        reader: None,
    })
}

fn places(state_dir: &Path) -> Places {
    Places { state_dir: state_dir.to_path_buf(), runtime_dir: None, temp_dir: state_dir.join("tmp") }
}

/// A runtime whose socket is served.
struct World {
    dir: tempfile::TempDir,
    runtime: Runtime,
    server: Server,
}

impl World {
    fn start(role: Role) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let runtime = runtime(dir.path());
        let setup = ServerSetup { role, share: None };
        let server = Server::start(runtime.attacher(), setup, &places(dir.path())).expect("served");
        Self { dir, runtime, server }
    }

    async fn connect(&self) -> UnixStream {
        socket::connect(&places(self.dir.path())).await.expect("connected")
    }

    async fn attach(&self, user: &str) -> Screen {
        Screen::of(client::attach(self.connect().await, &hello(user)).await.expect("attached"))
    }

    async fn end(self) {
        self.server.close("the test is over").await;
        self.runtime.shutdown().await;
    }
}

fn hello(user: &str) -> Hello {
    client::hello(Visitor { user: user.into(), readonly: false, via: Via::Local })
}

/// What a screen does: keeps its board equal by the same fold.
struct Screen {
    attached: Attached,
    board: Board,
}

impl Screen {
    fn of(attached: Attached) -> Self {
        Self { attached, board: Board::default() }
    }

    async fn next(&mut self) -> Option<Inbound> {
        let next = tokio::time::timeout(DEADLINE, self.attached.link.facts_rx.recv());
        let inbound = next.await.expect("something comes")?;
        match &inbound {
            Inbound::Snapshot(board) => self.board = (**board).clone(),
            Inbound::Fact(envelope) => drop(self.board.apply(envelope.at, envelope)),
            _ => {}
        }
        Some(inbound)
    }

    async fn until(&mut self, done: impl Fn(&Board) -> bool) {
        while !done(&self.board) {
            self.next().await.expect("still attached");
        }
    }

    fn ask(&self, request: Request) {
        self.attached.link.requests_tx.try_send(request).expect("there is room");
    }

    /// Reads to the end of the link; what came back, and how it ended.
    async fn end(mut self) -> (Vec<Request>, Ended) {
        let mut back = Vec::new();
        while let Some(inbound) = self.next().await {
            if let Inbound::Refused { request, .. } = inbound {
                back.push(*request);
            }
        }
        (back, self.attached.ended.await.expect("it says how"))
    }
}

#[tokio::test]
async fn two_screens_see_the_same_and_each_other() {
    let world = World::start(Role::Agent);
    let mut alice = world.attach("alice").await;
    let mut bob = world.attach("bob").await;
    assert_eq!(alice.attached.welcome.protocol, PROTOCOL);
    assert_eq!(alice.attached.welcome.peer.role, Role::Agent);
    for screen in [&mut alice, &mut bob] {
        screen.until(|board| board.presence.len() == 2).await;
    }
    alice.ask(Request::Unsilence("none".into()));
    while !matches!(alice.next().await, Some(Inbound::Done(_))) {}
    let seq = world.runtime.board().seq;
    bob.until(|board| board.seq >= seq).await;
    assert_eq!(bob.board, world.runtime.board());
    drop(alice);
    bob.until(|board| board.presence.len() == 1).await;
    world.end().await;
    let (back, ended) = bob.end().await;
    assert_eq!((back, ended), (Vec::new(), Ended::Bye("the test is over".into())));
}
