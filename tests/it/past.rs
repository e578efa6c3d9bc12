//! The past of a runtime: the board of an earlier instant, and the events that one steps along.

use std::sync::Arc;
use std::time::Duration;

use hotseat::config;
use hotseat::domain::board::Board;
use hotseat::domain::fact::Envelope;
use hotseat::domain::incident::{DeclareRequest, NoteRequest, Severity};
use hotseat::domain::past::{Found, Moment, Past, PastKind, PastRequest, Step};
use hotseat::domain::presence::Visitor;
use hotseat::domain::request::{Inbound, Request};
use hotseat::registry::node::Commands;
use hotseat::runtime::{Link, Runtime, RuntimeSetup};
use jiff::Timestamp;

use crate::support::link::setup;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A screen that remembers every board it ever had, by the time of its last fact.
struct Screen {
    link: Link,
    board: Board,
    boards: Vec<(Timestamp, Board)>,
    generation: u64,
}

impl Screen {
    fn attach(runtime: &Runtime) -> Self {
        let link = runtime.attach(Visitor::inside("alice"));
        Self { link, board: Board::default(), boards: Vec::new(), generation: 0 }
    }

    async fn next(&mut self) -> Inbound {
        let inbound = tokio::time::timeout(DEADLINE, self.link.facts_rx.recv()).await.expect("in time");
        let inbound = inbound.expect("the runtime lives");
        match &inbound {
            Inbound::Snapshot(board) => self.board = (**board).clone(),
            Inbound::Fact(envelope) => self.take(envelope),
            _ => {}
        }
        inbound
    }

    fn take(&mut self, envelope: &Envelope) {
        let _ = self.board.apply(envelope.at, envelope);
        self.boards.push((envelope.at, self.board.clone()));
    }

    async fn until(&mut self, done: impl Fn(&Board) -> bool) {
        while !done(&self.board) {
            self.next().await;
        }
    }

    async fn ask(&self, request: Request) {
        self.link.requests_tx.send(request).await.expect("the runtime lives");
    }

    async fn step(&mut self, step: Step) -> Past {
        self.generation += 1;
        let request = PastRequest { host: None, generation: self.generation, step, about: None };
        self.ask(Request::Past(request)).await;
        loop {
            match self.next().await {
                Inbound::Past(past) if past.generation == self.generation => return *past,
                Inbound::Failed(error) => panic!("{error}"),
                _ => {}
            }
        }
    }

    async fn moment(&mut self, step: Step) -> Moment {
        match self.step(step).await.found {
            Found::Moment(moment) => *moment,
            other => panic!("{step:?}: {other:?}"),
        }
    }
}

async fn declared(screen: &mut Screen, title: &str) {
    let request = DeclareRequest { title: title.into(), severity: Severity::Sev2, impact_start: None };
    screen.ask(Request::Declare(request)).await;
    screen.until(|it| it.incidents.open_incidents().any(|it| it.title == title)).await;
}

async fn noted(screen: &mut Screen, text: &str) {
    screen.ask(Request::Note(NoteRequest { incident: None, at: None, text: text.into() })).await;
    let has = |board: &Board| {
        board.incidents.open_incidents().any(|it| it.entries.iter().any(|it| format!("{:?}", it.body).contains(text)))
    };
    screen.until(has).await;
}

fn texts(moment: &Moment) -> Vec<&str> {
    moment.events.iter().map(|it| it.text.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stepping_back_shows_the_board_that_was_and_stepping_on_comes_back_to_the_present() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let runtime = Runtime::start(setup("alice", dir.path()));
    tokio::time::timeout(DEADLINE, runtime.active().cancelled()).await.expect("active");
    let mut screen = Screen::attach(&runtime);
    screen.until(|board| board.seq > 0).await;
    declared(&mut screen, "edge answers 502").await;
    for text in ["first look", "second look", "third look"] {
        noted(&mut screen, text).await;
    }
    let mut at = Timestamp::MAX;
    for text in ["alice: third look", "alice: second look", "alice: first look", "declared by alice: edge answers 502"]
    {
        let moment = screen.moment(Step::Before(at)).await;
        assert_eq!(texts(&moment), [text]);
        let live = screen.boards.iter().rev().find(|(it, _)| *it <= moment.at).expect("a board of then");
        assert_eq!(moment.board, live.1, "{text}");
        assert_eq!(moment.gap, None);
        at = moment.at;
    }
    let start = screen.moment(Step::Before(at)).await;
    assert_eq!(start.events.len(), 1);
    assert_eq!((start.events[0].kind, start.events[0].nothing_since), (PastKind::Start, None));
    let past = screen.step(Step::Before(start.at)).await;
    assert_eq!((past.found, past.known_since), (Found::Beginning, Some(start.at)));
    assert_eq!(screen.step(Step::At(Timestamp::UNIX_EPOCH)).await.found, Found::Beginning);

    let declared = screen.moment(Step::After(start.at)).await;
    assert_eq!(texts(&declared), ["declared by alice: edge answers 502"]);
    let between = declared.at + jiff::SignedDuration::from_nanos(1);
    let moment = screen.moment(Step::At(between)).await;
    assert_eq!((moment.at, texts(&moment)), (between, texts(&declared)), "what happened last before it is said");
    let newest = screen.moment(Step::Before(Timestamp::MAX)).await;
    assert_eq!(screen.step(Step::After(newest.at)).await.found, Found::Present);
    noted(&mut screen, "while somebody looks back").await;
    let later = screen.moment(Step::After(newest.at)).await;
    assert_eq!(texts(&later), ["alice: while somebody looks back"], "what came since is found too");
    runtime.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_without_a_runtime_is_a_gap_that_is_said() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let runtime = Runtime::start(setup("alice", dir.path()));
    tokio::time::timeout(DEADLINE, runtime.active().cancelled()).await.expect("active");
    let mut screen = Screen::attach(&runtime);
    declared(&mut screen, "edge answers 502").await;
    runtime.shutdown().await;
    let stopped = hotseat::clock::now();

    let runtime = Runtime::start(setup("alice", dir.path()));
    tokio::time::timeout(DEADLINE, runtime.active().cancelled()).await.expect("active");
    let mut screen = Screen::attach(&runtime);
    screen.until(|board| board.incidents.open_incidents().next().is_some()).await;
    let moment = screen.moment(Step::At(stopped)).await;
    let (from, until) = moment.gap.expect("nobody watched");
    assert!(from <= stopped && stopped < until, "{from} {until}");
    assert!(moment.board.incidents.open_incidents().next().is_some(), "the last that was known");
    let start = screen.moment(Step::After(stopped)).await;
    assert_eq!((start.at, start.events[0].kind), (until, PastKind::Start));
    assert_eq!(start.events[0].nothing_since, Some(from));
    runtime.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_config_is_an_event() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut setup = setup("alice", dir.path());
    setup.reader = Some(Arc::new(|| config::read_text("config.toml", "a = 1\n", Commands::Run)));
    let runtime = Runtime::start(setup);
    tokio::time::timeout(DEADLINE, runtime.active().cancelled()).await.expect("active");
    let mut screen = Screen::attach(&runtime);
    screen.ask(Request::ReloadConfig).await;
    screen.until(|board| !board.config.rejected.is_empty()).await;
    let moment = screen.moment(Step::Before(Timestamp::MAX)).await;
    assert_eq!(moment.events[0].kind, PastKind::Config);
    assert!(moment.events[0].text.starts_with("change not taken: config.toml:1:1: unknown"), "{:?}", moment.events);
    runtime.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_run_here_is_set_beside_the_run_of_the_one_that_watches() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let config = |exit: u8| {
        format!(
            "host = {{ name = 'test' }}\n[[probe]]\nname = 'job'\ncommand = ['sh', '-c', 'exit {exit}']\ninterval = '1h'\n"
        )
    };
    let loaded = config::read_text("config.toml", &config(2), Commands::Run);
    assert_eq!(loaded.errors, []);
    let runtime = Runtime::start(RuntimeSetup { loaded, ..setup("alice", &dir.path().join("state")) });
    let mut screen = Screen::attach(&runtime);
    screen.until(|board| board.probes.iter().any(|(_, it)| it.last().is_some())).await;
    // What was seen is in the journal by the time that somebody has looked back.
    screen.moment(Step::At(hotseat::clock::now())).await;
    let here = dir.path().join("here.toml");
    std::fs::write(&here, config(0)).expect("written");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_hotseat"))
        .args(["--config", &here.display().to_string(), "--state-dir", &dir.path().join("state").display().to_string()])
        .args(["probe", "job", "--beside-agent"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", dir.path())
        .output()
        .expect("the binary starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("job - here it answers in "), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("its programs, rights or environment"), "{text}");
    assert!(text.contains("the agent ran it"), "{text}");
    assert_eq!(output.status.code(), Some(0), "what was seen here decides");
    runtime.shutdown().await;
}
