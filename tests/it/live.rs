//! A runtime with probes, backups, notes and logs at work at the same time: what a screen sees of it, what is on
//! disk afterwards, and that nothing that hangs keeps it from ending.

use std::path::Path;
use std::time::Duration;

use hotseat::clock;
use hotseat::config;
use hotseat::domain::backup::run::{RunState, Verification};
use hotseat::domain::board::Board;
use hotseat::domain::ids::{HostId, JobId, ProbeId};
use hotseat::domain::incident::entry::EntryBody;
use hotseat::domain::incident::{DeclareRequest, NoteRequest, Severity};
use hotseat::domain::log::{Anchor, ViewId, WindowRequest};
use hotseat::domain::probe::health::Health;
use hotseat::domain::request::{Inbound, Request};
use hotseat::registry::node::Commands;
use hotseat::runtime::{Link, Runtime, RuntimeSetup, journal};

/// Ends a test that would hang; nothing here takes this long.
const PATIENCE: Duration = Duration::from_secs(60);
/// The promise is a second; a machine that is busy with other tests may take longer to schedule us.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

fn setup(root: &Path, config: &str) -> RuntimeSetup {
    let loaded = config::read_text("live.toml", config, Commands::Run);
    assert_eq!(loaded.errors, []);
    RuntimeSetup { host: host(), user: "alice".into(), state_dir: root.join("state"), loaded, reader: None }
}

fn host() -> HostId {
    HostId::new("test")
}

fn job() -> JobId {
    JobId::new(&host(), "orders")
}

/// A screen that keeps its board and remembers what it was answered.
struct Screen {
    link: Link,
    board: Board,
    last_at: jiff::Timestamp,
    answers: Vec<Inbound>,
}

impl Screen {
    async fn attach(runtime: &Runtime) -> Self {
        let mut link = runtime.attach(hotseat::domain::presence::Visitor::inside("alice"));
        let Some(Inbound::Snapshot(board)) = link.facts_rx.recv().await else { panic!("a snapshot comes first") };
        Self { link, board: *board, last_at: jiff::Timestamp::MIN, answers: Vec::new() }
    }

    /// Takes the next message in; `false` when the runtime has ended.
    async fn next(&mut self) -> bool {
        match self.link.facts_rx.recv().await {
            None => return false,
            Some(Inbound::Snapshot(board)) => self.board = *board,
            Some(Inbound::Fact(envelope)) => {
                let _ = self.board.apply(envelope.at, &envelope);
                self.last_at = envelope.at;
            }
            Some(other) => self.answers.push(other),
        }
        true
    }

    async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !done(self) {
                assert!(self.next().await, "the runtime ended before {what}");
            }
        });
        assert!(waited.await.is_ok(), "waited for {what}; answers: {:?}", self.answers);
    }

    async fn ask(&self, request: Request) {
        self.link.requests_tx.send(request).await.expect("the runtime runs");
    }

    fn was_told(&self, part: &str) -> bool {
        self.answers.iter().any(|it| matches!(it, Inbound::Done(text) | Inbound::Failed(text) if text.contains(part)))
    }
}

fn run_state(board: &Board) -> Option<RunState> {
    board.backups.job(&job())?.runs.first().map(|it| it.state)
}

fn verification(board: &Board) -> Option<Verification> {
    board.backups.job(&job())?.runs.first().map(|it| it.verification())
}

/// Texts of the open incident's timeline that a machine wrote about a backup.
fn backup_rows(board: &Board) -> Vec<String> {
    let open = board.incidents.open_incidents().next();
    let entries = open.map(|it| it.entries.clone()).unwrap_or_default();
    entries.iter().filter(|it| matches!(it.body, EntryBody::Backup { .. })).map(|it| it.body.words()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_night_on_call_is_seen_kept_and_replayed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let root = dir.path();
    std::fs::write(root.join("orders.csv"), "1,2,3\n".repeat(1000)).expect("written");
    let shown = root.display();
    let config = format!(
        "[[probe]]\nname = 'red'\ncommand = ['sh', '-c', 'exit 2']\ninterval = '1s'\nretry = '1s'\nfail = '1/1'\n\
         [[backup]]\nname = 'orders'\nfile = '{shown}/orders.csv'\nto = '{shown}/disk'\n"
    );
    let runtime = Runtime::start(setup(root, &config));
    let mut screen = Screen::attach(&runtime).await;
    let declare = DeclareRequest { title: "orders are lost".into(), severity: Severity::Sev2, impact_start: None };
    screen.ask(Request::Declare(declare)).await;
    screen.until("the incident", |it| !it.board.incidents.open().is_empty()).await;
    screen.ask(Request::RunBackup(job())).await;
    screen.until("the run", |it| run_state(&it.board) == Some(RunState::Ok)).await;
    screen.until("its word", |it| it.was_told("backup `orders` done")).await;
    screen.until("its row in the timeline", |it| !backup_rows(&it.board).is_empty()).await;
    assert!(backup_rows(&screen.board)[0].contains("backup ok"), "{:?}", backup_rows(&screen.board));
    let run = screen.board.backups.job(&job()).expect("the job").runs[0].id.clone();
    screen.answers.clear();
    screen.ask(Request::VerifyBackup(run)).await;
    screen.until("the second look", |it| it.was_told("is whole on")).await;
    assert_eq!(verification(&screen.board), Some(Verification::Verified));
    let note = NoteRequest { incident: None, at: None, text: "restored the orders".into() };
    screen.ask(Request::Note(note)).await;
    screen.until("the note", |it| it.was_told("saved")).await;
    let red = ProbeId::new(&host(), "red");
    screen.until("the probe", |it| it.board.probes.get(&red).is_some_and(|it| it.health() == Health::Down)).await;

    let ((), ()) = tokio::join!(runtime.shutdown(), async { while screen.next().await {} });
    let state_dir = root.join("state");
    let replay = journal::replay(&state_dir, screen.last_at).expect("readable").expect("a journal");
    assert_eq!(replay.skipped_lines, 0);
    assert!(replay.board.probes.get(&red).is_some() && run_state(&replay.board) == Some(RunState::Ok));
    assert_eq!(replay.board, screen.board);
}

#[tokio::test(start_paused = true)]
async fn the_one_that_takes_over_runs_backups_and_knows_those_before() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let root = dir.path();
    std::fs::write(root.join("orders.csv"), "1,2,3\n").expect("written");
    let shown = root.display();
    let config = format!("[[backup]]\nname = 'orders'\nfile = '{shown}/orders.csv'\nto = '{shown}/disk'\n");
    let first = Runtime::start(setup(root, &config));
    let second = Runtime::start(setup(root, &config));
    let mut screen = Screen::attach(&second).await;
    screen.until("standing by", |it| it.board.standby.is_some()).await;
    screen.ask(Request::RunBackup(job())).await;
    screen.until("the refusal", |it| it.was_told("could not run the backup: another hotseat")).await;
    first.shutdown().await;
    screen.until("taking over", |it| it.board.standby.is_none()).await;
    // From here on real work is waited for, which a paused clock would not.
    tokio::time::resume();
    screen.until("the job", |it| it.board.backups.job(&job()).is_some()).await;
    screen.ask(Request::RunBackup(job())).await;
    screen.until("the run", |it| run_state(&it.board) == Some(RunState::Ok)).await;
    second.shutdown().await;

    let third = Runtime::start(setup(root, &config));
    let mut screen = Screen::attach(&third).await;
    screen.until("the history", |it| run_state(&it.board) == Some(RunState::Ok)).await;
    third.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quitting_during_a_backup_ends_soon_and_leaves_nothing_half() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let root = dir.path();
    // Far more than can be read before the end of the test, and no room on the disk.
    let source = std::fs::File::create(root.join("orders.img")).expect("made");
    source.set_len(2 << 30).expect("sparse");
    let shown = root.display();
    let config = format!("[[backup]]\nname = 'orders'\nfile = '{shown}/orders.img'\nto = '{shown}/disk'\n");
    let runtime = Runtime::start(setup(root, &config));
    let mut screen = Screen::attach(&runtime).await;
    screen.until("the job", |it| it.board.backups.job(&job()).is_some()).await;
    screen.ask(Request::RunBackup(job())).await;
    let progress = |board: &Board| board.backups.job(&job()).is_some_and(|it| it.progress.is_some());
    screen.until("progress", |it| progress(&it.board)).await;
    let began = clock::monotonic();
    runtime.shutdown().await;
    assert!(began.elapsed() < ENDS_WITHIN, "{:?}", began.elapsed());

    // The thread may be inside of a read when the deadline is over; in a process of its own it would end with it.
    let again = Runtime::start(setup(root, &config));
    let mut screen = Screen::attach(&again).await;
    screen.until("what became of the run", |it| run_state(&it.board) == Some(RunState::Interrupted)).await;
    again.shutdown().await;
    let left = std::fs::read_dir(root.join("disk")).expect("folder").map(|it| it.expect("entry").file_name());
    assert_eq!(left.collect::<Vec<_>>(), [".hotseat-destination"], "only the mark that this folder is a destination");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_that_hang_do_not_keep_it_from_ending() {
    let dir = tempfile::tempdir().expect("temporary directory");
    // A listener that never accepts, and a command that ends when somebody ends it.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let config = format!(
        "[[probe]]\nname = 'deaf'\nhttp = 'http://{address}/'\ntimeout = '30s'\ninterval = '60s'\n\
         [[probe]]\nname = 'stuck'\ncommand = ['sleep', '600']\ntimeout = '30s'\ninterval = '60s'\n"
    );
    let runtime = Runtime::start(setup(dir.path(), &config));
    let mut screen = Screen::attach(&runtime).await;
    screen.until("the probes", |it| it.board.probes.len() == 2).await;
    for name in ["deaf", "stuck"] {
        screen.ask(Request::RunProbe(ProbeId::new(&host(), name))).await;
    }
    let began = clock::monotonic();
    runtime.shutdown().await;
    assert!(began.elapsed() < ENDS_WITHIN, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_question_about_the_log_is_never_followed_by_an_older_answer() {
    const LAST: u64 = 200;
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("a.log");
    let lines: String = (0..20_000).map(|it| format!("2024-08-19T06:51:31Z INFO line {it}\n")).collect();
    std::fs::write(&file, lines).expect("written");
    let config = format!("[[log]]\nname = 'a'\nfile = '{}'\n", file.display());
    let runtime = Runtime::start(setup(dir.path(), &config));
    let mut screen = Screen::attach(&runtime).await;
    for generation in 1..=LAST {
        let window = WindowRequest {
            query: format!("line {generation}"),
            count: true,
            ..WindowRequest::new(ViewId(1), generation, Anchor::Tail, (20, 0))
        };
        screen.ask(Request::Window(Box::new(window))).await;
    }
    let generations = |screen: &Screen| -> Vec<u64> {
        let windows = screen.answers.iter().filter_map(|it| match it {
            Inbound::Window(window) => Some(window.generation),
            _ => None,
        });
        windows.collect()
    };
    screen.until("the last answer", |it| generations(it).last() == Some(&LAST)).await;
    assert!(generations(&screen).is_sorted(), "{:?}", generations(&screen));
    runtime.shutdown().await;
}
