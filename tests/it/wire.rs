//! The wire between screens and a runtime: the socket, what is spoken, and everything that goes wrong with it.

use std::path::Path;
use std::time::Duration;

use hotseat::agent::client::{self, AttachError, Attached, Ended};
use hotseat::agent::protocol::{HELLO_MAX_BYTES, Hello, PROTOCOL, PROTOCOL_LEAST, ToScreen};
use hotseat::agent::reception::CONNECTIONS_MAX;
use hotseat::agent::server::{ServeError, Server, ServerSetup};
use hotseat::agent::socket::{self, Places};
use hotseat::config::Loaded;
use hotseat::domain::board::Board;
use hotseat::domain::fact::{Actor, Envelope, Fact};
use hotseat::domain::host::{HostNews, Role, Way};
use hotseat::domain::ids::{HostId, ProbeId};

use hotseat::domain::incident::NoteRequest;
use hotseat::domain::presence::{Via, Visitor};
use hotseat::domain::probe::ProbeFact;
use hotseat::domain::request::{Inbound, Request};
use hotseat::runtime::{Runtime, RuntimeSetup};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::UnixStream;

/// Longer than anything takes; a test that waits for it has failed.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub fn runtime(state_dir: &Path) -> Runtime {
    Runtime::start(RuntimeSetup {
        host: HostId::new("test"),
        user: "alice".into(),
        state_dir: state_dir.to_path_buf(),
        loaded: Loaded { readable: true, ..Loaded::default() },
        reader: None,
    })
}

pub fn places(state_dir: &Path) -> Places {
    Places { state_dir: state_dir.to_path_buf(), runtime_dir: None, temp_dir: state_dir.join("tmp") }
}

/// A runtime whose socket is served.
pub struct World {
    pub dir: tempfile::TempDir,
    pub runtime: Runtime,
    pub server: Server,
}

impl World {
    pub fn start(role: Role) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let runtime = runtime(dir.path());
        let setup = ServerSetup { role, share: None };
        let server = Server::start(runtime.attacher(), setup, &places(dir.path())).expect("served");
        Self { dir, runtime, server }
    }

    async fn connect(&self) -> UnixStream {
        socket::connect(&places(self.dir.path())).await.expect("connected")
    }

    pub async fn attach(&self, user: &str) -> Screen {
        Screen::of(client::attach(self.connect().await, &hello(user)).await.expect("attached"))
    }

    pub async fn end(self) {
        self.server.close("the test is over").await;
        self.runtime.shutdown().await;
    }
}

pub fn hello(user: &str) -> Hello {
    client::hello(Visitor { via: Via::Local, ..Visitor::inside(user) })
}

/// What a screen does: keeps its board equal by the same fold.
pub struct Screen {
    pub attached: Attached,
    pub board: Board,
}

impl Screen {
    pub fn of(attached: Attached) -> Self {
        Self { attached, board: Board::default() }
    }

    pub async fn next(&mut self) -> Option<Inbound> {
        let next = tokio::time::timeout(DEADLINE, self.attached.link.facts_rx.recv());
        let inbound = next.await.expect("something comes")?;
        match &inbound {
            Inbound::Snapshot(board) => self.board = (**board).clone(),
            Inbound::Fact(envelope) => drop(self.board.apply(envelope.at, envelope)),
            Inbound::Outcomes { probe, outcomes } => self.board.probes.fill(probe, outcomes),
            _ => {}
        }
        Some(inbound)
    }

    pub async fn until(&mut self, done: impl Fn(&Board) -> bool) {
        while !done(&self.board) {
            self.next().await.expect("still attached");
        }
    }

    pub fn ask(&self, request: Request) {
        self.attached.link.requests_tx.try_send(request).expect("there is room");
    }

    /// Reads to the end of the link; what came back, and how it ended.
    pub async fn end(mut self) -> (Vec<Request>, Ended) {
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

pub fn note(text: &str) -> Request {
    Request::Note(NoteRequest { incident: None, at: None, text: text.into() })
}

/// What the server says to somebody who sends these bytes and then waits.
async fn answer_to(world: &World, bytes: &[u8]) -> String {
    let mut stream = world.connect().await;
    stream.write_all(bytes).await.expect("written");
    let mut answer = String::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer));
    // A reset comes behind the answer when not everything was read.
    let _ = read.await.expect("it closes");
    answer
}

#[tokio::test]
async fn what_is_no_hello_is_refused_in_words() {
    let world = World::start(Role::Agent);
    let long = vec![b'x'; HELLO_MAX_BYTES + 1];
    for (bytes, words) in [
        (&b"GET / HTTP/1.1\r\n"[..], "what came is not JSON: expected value: `GET / HTTP/1.1`"),
        (b"\x1b]0;owned\x07\xff\n", "what came is not UTF-8"),
        (b"\"alive\"\n", "the first line must say hello"),
        (b"{\"later\":1}\n", "the first line must say hello: unknown variant `later`"),
        (&long, "a line of more than 16384 bytes came"),
        (
            b"{\"hello\":{\"protocol\":9,\"least\":8,\"version\":\"7.0\",\"visitor\":{\"user\":\"a\"}}}\n",
            "this screen (7.0) 8 to 9 (update hotseat on `",
        ),
    ] {
        let answer = answer_to(&world, bytes).await;
        assert!(answer.starts_with("{\"refused\":\"") && answer.contains(words), "{answer}");
        assert!(!answer.contains('\u{1b}'), "{answer}");
    }
    world.attach("alice").await.until(|board| board.presence.len() == 1).await;
    world.end().await;
}

#[tokio::test]
async fn one_too_many_is_told_so_and_comes_in_when_there_is_room() {
    let world = World::start(Role::Agent);
    let mut screens = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        screens.push(world.attach("alice").await);
    }
    let refused = client::attach(world.connect().await, &hello("bob")).await;
    let Err(AttachError::Refused(why)) = refused else { panic!("one too many was let in") };
    assert_eq!(why, format!("{CONNECTIONS_MAX} screens are attached already (close one)"));
    let Some(gone) = screens.pop() else { panic!("somebody is there") };
    drop(gone.attached.link);
    assert_eq!(gone.attached.ended.await, Ok(Ended::Left));
    while world.server.connections() == CONNECTIONS_MAX {
        tokio::task::yield_now().await;
    }
    world.attach("bob").await;
    drop(screens);
    world.end().await;
}

#[tokio::test]
async fn only_the_holder_of_the_state_serves_it() {
    let world = World::start(Role::Agent);
    let second = runtime(world.dir.path());
    let setup = ServerSetup { role: Role::Screen("bob".into()), share: None };
    let refused = Server::start(second.attacher(), setup, &places(world.dir.path()));
    assert!(matches!(refused, Err(ServeError::NotHeld)));
    world.attach("alice").await;
    second.shutdown().await;
    world.end().await;
}

#[tokio::test]
async fn a_screen_makes_room_for_an_agent_and_an_agent_does_not() {
    let world = World::start(Role::Agent);
    let role = client::ask_to_yield(world.connect().await, &hello("root"), DEADLINE).await.expect("answered");
    assert_eq!(role, Role::Agent);
    world.end().await;

    let world = World::start(Role::Screen("alice".into()));
    let (stream, yielded) = (world.connect().await, world.server.yielded());
    let asking = tokio::spawn(async move { client::ask_to_yield(stream, &hello("root"), DEADLINE).await });
    tokio::time::timeout(DEADLINE, yielded.cancelled()).await.expect("asked");
    world.end().await;
    let role = asking.await.expect("the asker").expect("it closed");
    assert_eq!(role, Role::Screen("alice".into()));
}

#[tokio::test]
async fn a_note_on_its_way_is_saved_before_good_bye() {
    let world = World::start(Role::Agent);
    let mut alice = world.attach("alice").await;
    alice.until(|board| board.presence.len() == 1).await;
    alice.ask(note("the last words"));
    while !matches!(alice.next().await, Some(Inbound::Done(_))) {}
    world.end().await;
    assert_eq!(alice.end().await, (Vec::new(), Ended::Bye("the test is over".into())));
}

/// A hello of another version, which speaks these protocols.
fn hello_of(version: &str, least: u32, protocol: u32) -> Hello {
    Hello { version: version.into(), least, protocol, ..hello("alice") }
}

#[tokio::test]
async fn a_screen_of_another_protocol_is_told_what_differs_and_one_that_shares_one_is_let_in() {
    let world = World::start(Role::Agent);
    let ours = env!("CARGO_PKG_VERSION");
    let here = format!("on `test` speaks protocol {PROTOCOL_LEAST} to {PROTOCOL}, this screen");
    let newer = PROTOCOL + 1;
    for (hello, words) in [
        (hello_of("0.0.1", 0, PROTOCOL_LEAST - 1), format!("{here} (0.0.1) 0 to {}", PROTOCOL_LEAST - 1)),
        (hello_of("9.0", newer, newer), format!("{here} (9.0) {newer} to {newer}")),
    ] {
        let what = match hello.protocol < PROTOCOL_LEAST {
            true => "update hotseat where this screen runs",
            false => "update hotseat on `test` and start its agent again",
        };
        let Err(AttachError::Refused(why)) = client::attach(world.connect().await, &hello).await else {
            panic!("{hello:?} was let in")
        };
        assert!(why.starts_with("hotseat ") && why.contains(ours) && why.contains(&words), "{why}");
        assert!(why.ends_with(&format!("({what})")), "{why}");
    }
    // One that also speaks ours is spoken to in ours, and both say who they are.
    for (least, protocol) in [(0, PROTOCOL), (PROTOCOL, newer), (0, newer)] {
        let attached = client::attach(world.connect().await, &hello_of("9.0", least, protocol)).await.expect("let in");
        let welcome = &attached.welcome;
        assert_eq!((welcome.protocol, welcome.peer.version.starts_with(ours)), (PROTOCOL, true));
        let mut screen = Screen::of(attached);
        screen.until(|board| board.presence.len() == 1).await;
        drop(screen.attached.link);
        assert_eq!(screen.attached.ended.await, Ok(Ended::Left));
        while world.server.connections() > 0 {
            tokio::task::yield_now().await;
        }
    }
    world.end().await;
}

#[tokio::test]
async fn a_runtime_of_another_protocol_is_not_attached_to_and_why_is_said() {
    let welcome = |protocol: u32| {
        format!(
            r#"{{"welcome":{{"protocol":{protocol},"host":"web-1","peer":{{"role":"agent","version":"9.0","pid":1,"since":"2026-08-19T14:00:00Z"}},"visitor":{{"user":"alice"}},"now":"2026-08-19T14:00:00Z"}}}}"#
        )
    };
    let refused =
        r#"{"refused":"hotseat 9.0 on `web-1` speaks protocol 2 to 3\u001b[2J, this screen 1 to 1 (update hotseat)"}"#;
    for (line, words) in [
        (welcome(PROTOCOL + 1), format!("it speaks protocol {}, which it was not asked to", PROTOCOL + 1)),
        (welcome(PROTOCOL_LEAST - 1), format!("it speaks protocol {}, which", PROTOCOL_LEAST - 1)),
        (refused.to_string(), "speaks protocol 2 to 3".to_string()),
        (r#"{"greeting":{"protocol":"two"}}"#.to_string(), "greeting".to_string()),
    ] {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        theirs.write_all(format!("{line}\n").as_bytes()).await.expect("written");
        let Err(error) = client::attach(ours, &hello("alice")).await else { panic!("attached to {line}") };
        let said = error.to_string();
        assert!(matches!(error, AttachError::Refused(_) | AttachError::NotUnderstood(_)), "{said}");
        assert!(said.contains(&words) && !said.contains('\u{1b}'), "{said}");
        // What it was told is all that it needs to know of us.
        let mut told = String::new();
        theirs.read_to_string(&mut told).await.expect("read");
        let hello: serde_json::Value = serde_json::from_str(told.lines().next().expect("hello")).expect("JSON");
        assert_eq!(hello["hello"]["protocol"], PROTOCOL);
        assert_eq!(hello["hello"]["least"], PROTOCOL_LEAST);
        assert_eq!(told.lines().count(), 1, "nothing was asked of one that is not understood: {told}");
    }
}

/// A runtime that the test plays itself; has said welcome.
async fn played() -> (Screen, DuplexStream) {
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    let welcome = concat!(
        r#"{"welcome":{"protocol":1,"host":"web-1","peer":{"role":"agent","version":"7.0","pid":1,"#,
        r#""since":"2026-08-19T14:00:00Z","later":1},"visitor":{"user":"alice"},"now":"2026-08-19T14:00:00Z"}}"#,
        "\n"
    );
    theirs.write_all(welcome.as_bytes()).await.expect("written");
    let attached = client::attach(ours, &hello("alice")).await.expect("attached");
    (Screen::of(attached), theirs)
}

#[tokio::test]
async fn what_a_person_wrote_comes_back_when_nobody_says_that_it_is_kept() {
    let (mut screen, mut theirs) = played().await;
    for text in ["kept", "lost"] {
        screen.ask(note(text));
    }
    let mut said = String::new();
    let mut chunk = [0; 4096];
    while !said.contains("lost") {
        let count = theirs.read(&mut chunk).await.expect("read");
        said.push_str(&String::from_utf8_lossy(&chunk[..count]));
    }
    theirs.write_all(b"{\"inbound\":{\"settled\":1}}\n{\"inbound\":{\"done\":\"saved\"}}\n").await.expect("written");
    assert_eq!(screen.next().await, Some(Inbound::Done("saved".into())));
    drop(theirs);
    assert_eq!(screen.end().await, (vec![note("lost")], Ended::Lost("the connection was closed".into())));
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_loss() {
    let (screen, _theirs) = played().await;
    assert_eq!(screen.end().await.1, Ended::Lost("nothing was heard for 2.5 s".into()));
}

#[tokio::test]
async fn what_a_newer_runtime_says_is_told_once_and_the_board_is_asked_for_again() {
    let (mut screen, mut theirs) = played().await;
    for line in [
        "{\"later\":1}",
        "{\"inbound\":{\"fact\":{\"host\":\"web-1\",\"seq\":5,\"later\":1}}}",
        "\"alive\"",
        "{\"inbound\":{\"done\":\"end\"}}",
    ] {
        theirs.write_all(format!("{line}\n").as_bytes()).await.expect("written");
    }
    let Some(Inbound::Failed(told)) = screen.next().await else { panic!("it is told") };
    assert!(told.starts_with("hotseat 7.0 on `web-1` says what "), "{told}");
    assert_eq!(screen.next().await, Some(Inbound::Done("end".into())), "once");
    let mut said = String::new();
    while !said.contains("\"snapshot\"\n") {
        let mut chunk = [0; 4096];
        let count = theirs.read(&mut chunk).await.expect("read");
        assert!(count > 0, "it left: {said}");
        said.push_str(&String::from_utf8_lossy(&chunk[..count]));
    }
    theirs.write_all(b"{\"inbound\":{\"snapshot\":{\"seq\":\"a word\"}}}\n").await.expect("written");
    let Ended::Refused(why) = screen.end().await.1 else { panic!("a board that cannot be read is the end") };
    assert!(why.ends_with("(update hotseat here)"), "{why}");
}

#[tokio::test]
async fn a_runtime_speaks_for_its_own_host_and_for_no_other() {
    let (mut screen, mut theirs) = played().await;
    let fact = |host: &str, probe: &str| {
        let fact = Fact::Probe(ProbeFact::Removed { probe: ProbeId::of(probe) });
        let (at, actor) = (jiff::Timestamp::UNIX_EPOCH, Actor::Runtime);
        Inbound::Fact(Box::new(Envelope { host: HostId::new(host), seq: 1, at, actor, fact }))
    };
    let (was, host) = (HostId::new("db-1"), HostId::new("web-1"));
    let way = HostNews { host: was.clone(), way: Way::Connecting };
    let outcomes = Inbound::Outcomes { probe: ProbeId::of("db-1/api"), outcomes: Vec::new() };
    let board = |host: &str| Inbound::Snapshot(Box::new(Board { host: Some(HostId::new(host)), ..Board::default() }));
    let named = Inbound::HostNamed { was, host };
    let foreign =
        [Inbound::Host(Box::new(way)), named, board("db-1"), fact("db-1", "db-1/api"), fact("web-1", "db-1/api")];
    let own = [board("web-1"), fact("web-1", "web-1/api")];
    for inbound in foreign.into_iter().chain([outcomes]).chain(own.clone()) {
        let line = serde_json::to_string(&ToScreen::Inbound(Box::new(inbound))).expect("JSON");
        theirs.write_all(format!("{line}\n").as_bytes()).await.expect("written");
    }
    for expected in own {
        assert_eq!(screen.next().await, Some(expected));
    }
}

#[tokio::test]
async fn what_the_readme_says_by_hand_is_understood() {
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once("### A screen without hotseat").expect("the section");
    let (_, block) = section.split_once("```json\n").expect("an example");
    let (block, _) = block.split_once("```").expect("its end");
    let world = World::start(Role::Agent);
    let mut stream = world.connect().await;
    stream.write_all(block.as_bytes()).await.expect("written");
    let mut said = String::new();
    // Asked for in the third line; the first one comes unasked.
    while !said.contains("\"spot\":\"logs\"") {
        let mut chunk = [0; 4096];
        let count = tokio::time::timeout(DEADLINE, stream.read(&mut chunk)).await.expect("it answers").expect("read");
        assert!(count > 0, "it hung up: {said}");
        said.push_str(&String::from_utf8_lossy(&chunk[..count]));
        assert!(!said.contains("not-understood") && !said.contains("\"failed\""), "{said}");
    }
    assert!(said.starts_with("{\"welcome\":{\"protocol\":1,"), "{said}");
    assert!(said.contains("\n{\"inbound\":{\"snapshot\":{"), "{said}");
    world.end().await;
}

/// A child of another account: says hello to the socket and prints what it is answered.
const KNOCK: &str = r#"
use Socket;
# Who is refused may be so before they have spoken.
$SIG{PIPE} = "IGNORE";
socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
connect($s, pack_sockaddr_un($ARGV[0])) or die "connect: $!";
syswrite($s, $ARGV[1] . "\n");
sysread($s, my $answer, 65536);
print $answer;
"#;

#[tokio::test]
async fn another_account_is_refused_whatever_it_calls_itself() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    if !rustix::process::getuid().is_root() {
        return skip("this needs root, to run a child as another account");
    }
    let world = World::start(Role::Agent);
    // Let through by the file system, so that only the kernel's word about the peer is left.
    let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
    open(world.dir.path(), 0o755);
    open(world.server.path(), 0o666);
    let mut knock = std::process::Command::new("perl");
    let hello = serde_json::to_string(&hotseat::agent::protocol::ToAgent::Hello(Box::new(hello("root"))));
    knock.args(["-e", KNOCK]).arg(world.server.path()).arg(hello.expect("JSON")).uid(65_534).gid(65_534);
    let answer = tokio::task::spawn_blocking(move || knock.output()).await.expect("the child");
    let Ok(answer) = answer else { return skip("perl not found") };
    let said = String::from_utf8_lossy(&answer.stdout).into_owned();
    let why = String::from_utf8_lossy(&answer.stderr).into_owned();
    assert!(said.starts_with("{\"refused\":\"this hotseat is `root`'s alone"), "{said}{why}");
    assert_eq!(world.runtime.board().presence.len(), 0);
    world.end().await;
}

pub fn skip(why: &str) {
    assert!(std::env::var_os("HOTSEAT_REQUIRE_PEERS").is_none(), "{why}");
    say_skipped(why);
}

/// For what no package brings: the kernel does not allow it here.
pub fn say_skipped(why: &str) {
    // The harness shows it with `--nocapture`.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("skipped: {why}\n").as_bytes());
}
