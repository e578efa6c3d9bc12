//! The wire when screens do not read, lines are cut, hellos dribble in and holders are killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hotseat::agent::client::{self, Ended};
use hotseat::agent::codec;
use hotseat::agent::peer::Caller;
use hotseat::agent::protocol::{REQUEST_MAX_BYTES, ToAgent, ToScreen};
use hotseat::agent::reception::Reception;
use hotseat::agent::server::{Server, ServerSetup};
use hotseat::agent::socket::{self, Places};
use hotseat::domain::alert::quiet::{Matcher, Silence};
use hotseat::domain::board::Board;
use hotseat::domain::host::Role;
use hotseat::domain::incident::{DeclareRequest, Severity};
use hotseat::domain::presence::{Spot, Visitor};
use hotseat::domain::request::{Inbound, Request};
use hotseat::runtime::{Link, Runtime};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, copy_bidirectional, duplex};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::wire::{DEADLINE, Screen, World, hello, note, places, runtime, say_skipped, skip};

/// What a way holds by itself; a socket holds more, which is the kernel's.
const WAY_BYTES: usize = 4 << 10;

/// Serves one screen over a way that holds little, and returns the other end.
fn way(reception: &Reception) -> DuplexStream {
    let (ours, theirs) = duplex(WAY_BYTES);
    let serving = reception.clone();
    reception.spawn(async move { serving.serve(theirs, Caller::Own).await });
    ours
}

/// Somebody whose requests become facts; reads nothing either.
struct Load {
    link: Link,
    spots: std::iter::Cycle<std::array::IntoIter<Spot, 4>>,
}

impl Load {
    fn on(runtime: &Runtime) -> Self {
        let spots = [Spot::Logs, Spot::Backups, Spot::Incident, Spot::Services].into_iter().cycle();
        Self { link: runtime.attach_unseen(Visitor::inside("load")), spots }
    }

    async fn ask(&self, request: Request) {
        self.link.requests_tx.send(request).await.expect("the runtime takes requests");
    }

    /// Has so many facts folded.
    async fn facts(&mut self, runtime: &Runtime, count: u64) {
        let until = runtime.board().seq + count;
        while runtime.board().seq < until {
            for spot in self.spots.by_ref().take(50) {
                self.link.requests_tx.send(Request::Attend(spot)).await.expect("the runtime takes requests");
            }
        }
    }
}

#[tokio::test]
async fn a_screen_that_stops_reading_slows_nobody_and_is_told_what_it_missed() {
    const FACTS: u64 = 100_000;
    /// Facts between two looks at the screen that reads; fewer than may wait for one.
    const STEP: u64 = 100;
    /// What may be held for a screen: a batch, what waits in the queue, and two boards of next to nothing.
    const HELD_MAX_BYTES: usize = 256 << 10;
    let world = World::start(Role::Agent);
    let reception = Reception::new(world.runtime.attacher(), Role::Agent);
    let mut stuck = way(&reception);
    let line = codec::encode(&ToAgent::Hello(Box::new(hello("stuck"))), REQUEST_MAX_BYTES).expect("JSON");
    stuck.write_all(&line).await.expect("written");
    let mut reading = world.attach("reading").await;
    reading.until(|board| board.presence.len() == 2).await;

    let mut load = Load::on(&world.runtime);
    let mut held = Vec::new();
    for _ in 0..FACTS / STEP {
        load.facts(&world.runtime, STEP).await;
        let seq = world.runtime.board().seq;
        while reading.board.seq < seq {
            let next = reading.next().await;
            assert!(!matches!(next, Some(Inbound::Missed { .. })), "who reads misses nothing");
        }
        // It is there and takes next to nothing, so that it is not let go.
        stuck.write_all(b"\"alive\"\n").await.expect("written");
        held.push(stuck.read_u8().await.expect("still attached"));
    }
    follow(&mut reading, &world.runtime, "who reads").await;

    // Whatever was held for it is what it reads now.
    let (mut board, mut missed, mut facts, mut first) = (Board::default(), 0, 0, None);
    let mut chunk = [0; WAY_BYTES];
    let mut at = 0;
    while board.seq < world.runtime.board().seq {
        let Some(length) = held[at..].iter().position(|it| *it == b'\n') else {
            let count = timeout(DEADLINE, stuck.read(&mut chunk)).await.expect("something comes").expect("read");
            assert!(count > 0, "it was let go");
            held.extend_from_slice(&chunk[..count]);
            continue;
        };
        let line = &held[at..at + length];
        at += length + 1;
        let Ok(codec::Decoded::Frame(frame)) = codec::decode::<ToScreen>(line) else { panic!("understood") };
        let ToScreen::Inbound(inbound) = frame else { continue };
        match *inbound {
            Inbound::Snapshot(snapshot) => {
                board = *snapshot;
                first.get_or_insert(board.seq);
            }
            Inbound::Missed { facts } => missed += facts,
            Inbound::Fact(envelope) => {
                assert_eq!(envelope.seq, board.seq + 1, "a hole, or said twice");
                drop(board.apply(envelope.at, &envelope));
                facts += 1;
            }
            _ => {}
        }
    }
    assert_eq!(board, world.runtime.board());
    assert!(held.len() < HELD_MAX_BYTES, "{} bytes were held for it", held.len());
    let all = board.seq - first.expect("a snapshot came first");
    // Those that came between the word about it and the snapshot are in the snapshot.
    assert!(missed + facts <= all && missed > FACTS * 9 / 10, "{missed} missed, {facts} told, {all} in all");
    reception.abandon();
    world.end().await;
}

/// A way that can be cut.
struct Cut {
    relay: JoinHandle<()>,
    screen: Screen,
}

impl Cut {
    async fn attach(reception: &Reception) -> Self {
        let mut inner = way(reception);
        let (ours, mut outer) = duplex(WAY_BYTES);
        let relay = tokio::spawn(async move {
            // The end of either side is the end.
            let _ = copy_bidirectional(&mut inner, &mut outer).await;
        });
        Self { relay, screen: Screen::of(client::attach(ours, &hello("bob")).await.expect("attached")) }
    }

    /// The screen sees the end of it, and that it was not meant.
    async fn cut(self) {
        self.relay.abort();
        let (_, ended) = self.screen.end().await;
        assert!(matches!(ended, Ended::Lost(_)), "{ended:?}");
    }
}

/// Has a screen read until nothing is new; it is equal to what is known then.
async fn follow(screen: &mut Screen, runtime: &Runtime, about: &str) {
    loop {
        let board = runtime.board();
        screen.until(|it| it.seq >= board.seq).await;
        if screen.board.seq == board.seq {
            assert_eq!(screen.board, board, "{about}");
            return;
        }
    }
}

fn silence(random: &mut fastrand::Rng) -> Silence {
    let matcher = Matcher { name: "probe".into(), value: "api.*".into(), is_regex: random.bool(), is_equal: true };
    Silence {
        id: format!("silence-{}", random.u8(0..4)),
        matchers: vec![matcher],
        from: Timestamp::UNIX_EPOCH,
        until: Timestamp::MAX,
        by: String::new(),
        comment: "größer\n\u{1b}[31m\u{2028}".into(),
    }
}

fn request(random: &mut fastrand::Rng) -> Request {
    match random.u8(0..8) {
        0 => Request::Silence(Box::new(silence(random))),
        1 => Request::Unsilence(format!("silence-{}", random.u8(0..4))),
        2 => {
            Request::Declare(DeclareRequest { title: "edge 502".into(), severity: Severity::Sev2, impact_start: None })
        }
        3..=5 => note("restarted the api"),
        _ => Request::Attend(Spot::Logs),
    }
}

#[tokio::test]
async fn whatever_happens_on_the_way_a_board_ends_up_equal() {
    for seed in 0..8 {
        let mut random = fastrand::Rng::with_seed(seed);
        let dir = tempfile::tempdir().expect("temporary directory");
        let runtime = runtime(dir.path());
        let reception = Reception::new(runtime.attacher(), Role::Agent);
        let mut load = Load::on(&runtime);
        let mut bob = Cut::attach(&reception).await;
        let mut steps = Vec::new();
        for _ in 0..24 {
            let step = random.u8(0..8);
            steps.push(step);
            match step {
                0 => {
                    bob.cut().await;
                    bob = Cut::attach(&reception).await;
                }
                // More than can wait while nobody reads.
                1 => load.facts(&runtime, 700).await,
                2 | 3 => follow(&mut bob.screen, &runtime, &format!("seed {seed}, {steps:?}")).await,
                _ => load.ask(request(&mut random)).await,
            }
        }
        follow(&mut bob.screen, &runtime, &format!("seed {seed}, {steps:?}")).await;
        reception.close("the test is over").await;
        runtime.shutdown().await;
        assert_eq!(bob.screen.end().await.1, Ended::Bye("the test is over".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_dribbles_in_is_not_waited_for() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let runtime = runtime(dir.path());
    let reception = Reception::new(runtime.attacher(), Role::Agent);
    let (mut read, mut write) = tokio::io::split(way(&reception));
    let dribble = tokio::spawn(async move {
        while write.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let began = tokio::time::Instant::now();
    let mut said = String::new();
    read.read_to_string(&mut said).await.expect("it closes");
    assert_eq!(said, "{\"refused\":\"no hello came within 5 s\"}\n");
    assert!(began.elapsed() < Duration::from_secs(7));
    assert_eq!((reception.connections(), runtime.board().presence.len()), (0, 0));
    dribble.abort();
    runtime.shutdown().await;
}

/// Mounts an empty file system that is read-only, seen by nobody else, and becomes an agent on it.
const READ_ONLY: &str = r#"mount -t tmpfs -o ro none "$1" || exit 77; exec "$2" --state-dir "$1" agent"#;

/// An agent of its own process, killed in the end.
struct Agent(Child);

impl Agent {
    fn start(state_dir: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hotseat"));
        command.arg("--state-dir").arg(state_dir).arg("agent");
        Self::spawn(command).expect("started")
    }

    fn spawn(mut command: Command) -> std::io::Result<Self> {
        command.env("HOTSEAT_CONFIG", "/dev/null").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self)
    }

    /// Attaches once it serves; `None` when it has ended instead.
    async fn attach(&mut self, places: &Places) -> Option<Screen> {
        let attached = timeout(DEADLINE, async {
            loop {
                if let Ok(stream) = socket::connect(places).await
                    && let Ok(attached) = client::attach(stream, &hello("alice")).await
                {
                    return Some(Screen::of(attached));
                }
                if self.0.try_wait().expect("a child").is_some() {
                    return None;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        attached.await.expect("it serves or ends")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // SIGKILL.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn who_comes_after_a_killed_holder_serves_by_the_same_socket() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let places = places(dir.path());
    let mut agent = Agent::start(dir.path());
    let alice = agent.attach(&places).await.expect("the agent serves");
    drop(agent);
    assert_eq!(alice.end().await.1, Ended::Lost("the connection was closed".into()));
    assert!(dir.path().join(socket::FILE_NAME).exists(), "nobody could tidy up");
    assert!(matches!(socket::connect(&places).await, Err(socket::ConnectError::Nobody(_))));

    let runtime = runtime(dir.path());
    let setup = ServerSetup { role: Role::Screen("bob".into()), share: None };
    let server = Server::start(runtime.attacher(), setup, &places).expect("served");
    assert_eq!((server.path(), server.elsewhere()), (&*dir.path().join(socket::FILE_NAME), None));
    let stream = socket::connect(&places).await.expect("connected");
    let mut again = Screen::of(client::attach(stream, &hello("alice")).await.expect("attached"));
    again.until(|board| board.presence.len() == 1).await;
    server.close("the test is over").await;
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_read_only_state_directory_has_its_socket_elsewhere() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (state_dir, run) = (dir.path().join("state"), dir.path().join("run"));
    for made in [&state_dir, &run] {
        std::fs::create_dir(made).expect("made");
    }
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", READ_ONLY, "sh"]).arg(&state_dir).arg(env!("CARGO_BIN_EXE_hotseat"));
    let Ok(mut agent) = Agent::spawn({
        command.env("XDG_RUNTIME_DIR", &run);
        command
    }) else {
        return skip("unshare not found");
    };
    let places = Places { runtime_dir: Some(run.clone()), ..places(&state_dir) };
    let Some(mut alice) = agent.attach(&places).await else {
        return say_skipped("no mount of one's own (the kernel's leave)");
    };
    assert_eq!(alice.attached.welcome.peer.role, Role::Agent);
    alice.until(|board| board.presence.len() == 1 && board.not_durable.is_some()).await;
    assert_eq!(std::fs::read_dir(run.join("hotseat")).expect("its folder").count(), 1);
}
