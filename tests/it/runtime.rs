//! The runtime with its real services: screens attached, standing by, the journal, the way out.

use std::sync::Arc;

use hotseat::config::{Config, Loaded};
use hotseat::domain::board::Board;
use hotseat::domain::config_error::ConfigError;
use hotseat::domain::ids::{HostId, ProbeId};
use hotseat::domain::request::{Inbound, Request};
use hotseat::registry::node::Commands;
use hotseat::runtime::{ConfigReader, Link, Runtime, journal};

use crate::support::link::setup;

/// What a screen does: keeps its board equal by the same fold.
struct Screen {
    link: Link,
    board: Board,
}

impl Screen {
    async fn attach(runtime: &Runtime) -> Self {
        let mut link = runtime.attach(hotseat::domain::presence::Visitor::inside("alice"));
        let Some(Inbound::Snapshot(board)) = link.facts_rx.recv().await else { panic!("a snapshot comes first") };
        Self { link, board: *board }
    }

    async fn next(&mut self) -> Inbound {
        let inbound = self.link.facts_rx.recv().await.expect("the runtime runs");
        self.take_in(&inbound);
        inbound
    }

    fn take_in(&mut self, inbound: &Inbound) {
        match inbound {
            Inbound::Snapshot(board) => self.board = (**board).clone(),
            Inbound::Fact(envelope) => {
                assert_eq!(envelope.seq, self.board.seq + 1, "no fact is missing");
                let _ = self.board.apply(envelope.at, envelope);
            }
            _ => {}
        }
    }

    /// Takes in what the runtime still has to say.
    async fn until_the_end(&mut self) {
        while let Some(inbound) = self.link.facts_rx.recv().await {
            self.take_in(&inbound);
        }
    }

    async fn until(&mut self, done: impl Fn(&Board) -> bool) {
        while !done(&self.board) {
            self.next().await;
        }
    }

    async fn ask(&self, request: Request) {
        self.link.requests_tx.send(request).await.expect("the runtime runs");
    }
}

#[tokio::test]
async fn a_screen_gets_a_snapshot_and_keeps_up() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut setup = setup("alice", dir.path());
    setup.loaded.config.path = Some("some.toml".into());
    setup.loaded.errors = vec![ConfigError::whole_file("some.toml", "is odd")];
    let runtime = Runtime::start(setup);
    let mut screen = Screen::attach(&runtime).await;
    screen.until(|board| board.config.path.as_deref() == Some("some.toml")).await;
    assert_eq!(screen.board.config.errors.len(), 1);
    assert_eq!(screen.board.standby, None);
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_second_runtime_stands_by_says_who_holds_the_state_and_takes_notes() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let first = Runtime::start(setup("alice", dir.path()));
    let second = Runtime::start(setup("alice", dir.path()));
    let mut screen = Screen::attach(&second).await;
    screen.until(|board| board.standby.is_some()).await;
    let holder = screen.board.standby.clone().unwrap_or_default();
    assert!(holder.starts_with(&format!("pid {} since ", std::process::id())), "{holder}");

    screen.ask(Request::RunProbe(ProbeId::new(&HostId::new("test"), "api"))).await;
    let refused = loop {
        if let Inbound::Failed(text) = screen.next().await {
            break text;
        }
    };
    assert!(refused.starts_with("could not run the probe: another hotseat"), "{refused}");

    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_one_that_stands_by_takes_over_when_the_holder_ends() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let first = Runtime::start(setup("alice", dir.path()));
    let second = Runtime::start(setup("alice", dir.path()));
    let mut screen = Screen::attach(&second).await;
    screen.until(|board| board.standby.is_some()).await;
    first.shutdown().await;
    screen.until(|board| board.standby.is_none()).await;
    second.shutdown().await;
}

/// What an earlier run left comes with the probes that it is of, a hundred of them at once: a count that climbs would
/// say that things are getting worse.
#[tokio::test]
async fn a_screen_sees_no_probe_or_all_of_them() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let probe = |at| format!("[[probe]]\nname = \"job-{at}\"\nheartbeat = {{ every = \"24h\" }}\ninterval = \"1h\"\n");
    let probes: String = (0..100).map(probe).collect();
    let log = format!("[[log]]\nname = \"app\"\nfile = \"{}\"\n", dir.path().join("app.log").display());
    // With logs it is these that come first.
    for text in [probes.clone(), format!("{probes}{log}")] {
        let (config, errors) = hotseat::config::parse("c.toml", &text);
        assert!(errors.is_empty(), "{errors:?}");
        let mut setup = setup("alice", dir.path());
        setup.loaded.config = config;
        let runtime = Runtime::start(setup);
        let mut screen = Screen::attach(&runtime).await;
        let mut counts = std::collections::BTreeSet::new();
        while screen.board.probes.len() < 100 {
            counts.insert(screen.board.probes.len());
            screen.next().await;
        }
        counts.remove(&0);
        assert!(counts.is_empty(), "{counts:?}");
        runtime.shutdown().await;
    }
}

#[tokio::test]
async fn the_link_ends_with_the_runtime() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let runtime = Runtime::start(setup("alice", dir.path()));
    let mut link = runtime.attach(hotseat::domain::presence::Visitor::inside("alice"));
    runtime.shutdown().await;
    while link.facts_rx.recv().await.is_some() {}
    assert!(link.requests_tx.is_closed());
}

/// A config that lives in the test: the reader gives what `text` holds.
fn reader(text: &Arc<std::sync::Mutex<String>>) -> ConfigReader {
    let text = Arc::clone(text);
    Arc::new(move || hotseat::config::read_text("test.toml", &text.lock().expect("text"), Commands::Run))
}

#[tokio::test]
async fn a_bad_reload_keeps_the_running_config_and_says_so() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let text = Arc::new(std::sync::Mutex::new("[screen]\ntheme = 'dark'\n".to_string()));
    let mut setup = setup("alice", dir.path());
    let reader = reader(&text);
    setup.loaded = reader();
    // Nothing to watch in this test.
    setup.loaded.config = Config { path: None, ..setup.loaded.config };
    setup.reader = Some(reader);
    let runtime = Runtime::start(setup);
    let mut config = runtime.config();
    let mut screen = Screen::attach(&runtime).await;

    for (bad, message) in [
        ("[screen]\ntheme = 'light'\nmose = true\n", "unknown key `mose` in `screen`"),
        ("[screen\ntheme = 'light'\n", "invalid table header, expected `]`"),
    ] {
        *text.lock().expect("text") = bad.into();
        screen.ask(Request::ReloadConfig).await;
        screen
            .until(|board| {
                board.config.rejected.first().is_some_and(|it| it.message.contains("mose") == bad.contains("mose"))
            })
            .await;
        assert_eq!(screen.board.config.rejected.len(), 1, "{message}");
        assert_eq!(config.borrow_and_update().screen.theme.as_deref(), Some("dark"));
    }

    *text.lock().expect("text") = "[screen]\ntheme = 'light'\n".into();
    screen.ask(Request::ReloadConfig).await;
    screen.until(|board| board.config.rejected.is_empty()).await;
    assert_eq!(config.borrow_and_update().screen.theme.as_deref(), Some("light"));
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_reload_that_this_host_had_no_descriptors_for_is_made_again_by_itself() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let text = Arc::new(std::sync::Mutex::new("[screen]\ntheme = 'dark'\n".to_string()));
    let lacks = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (read, its) = (reader(&text), Arc::clone(&lacks));
    let mut setup = setup("alice", dir.path());
    setup.loaded = read();
    setup.loaded.config = Config { path: None, ..setup.loaded.config };
    setup.reader = Some(Arc::new(move || {
        // Once, whoever asks.
        if !its.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return read();
        }
        let error = ConfigError::whole_file("test.toml", "could not be read: Too many open files (os error 24)");
        Loaded { errors: vec![error], ..Loaded::default() }
    }));
    let runtime = Runtime::start(setup);
    let mut config = runtime.config();
    let mut screen = Screen::attach(&runtime).await;
    // What the start has read again besides is over once this is answered.
    screen.ask(Request::ReloadConfig).await;
    while !matches!(screen.next().await, Inbound::Done(_)) {}

    *text.lock().expect("text") = "[screen]\ntheme = 'light'\n".into();
    lacks.store(true, std::sync::atomic::Ordering::Relaxed);
    screen.ask(Request::ReloadConfig).await;
    let said = loop {
        if let Inbound::Failed(said) = screen.next().await {
            break said;
        }
    };
    assert!(said.ends_with("(os error 24) (it is read again by itself until that is over)"), "{said}");
    config.wait_for(|config| config.screen.theme.as_deref() == Some("light")).await.expect("the runtime runs");
    screen.until(|board| board.config.rejected.is_empty()).await;
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_change_of_the_file_is_taken_into_use_by_itself() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("config.toml");
    std::fs::write(&file, "[screen]\ntheme = 'dark'\n").expect("written");
    let path = file.clone();
    let reader: ConfigReader = Arc::new(move || hotseat::config::load(Some(&path), Commands::Run));
    let mut setup = setup("alice", &dir.path().join("state"));
    setup.loaded = reader();
    setup.reader = Some(reader);
    let runtime = Runtime::start(setup);
    let mut config = runtime.config();
    let mut screen = Screen::attach(&runtime).await;
    screen.until(|board| board.config.path.is_some()).await;
    // The watch starts beside the first facts; asking once makes sure that it stands.
    screen.ask(Request::ReloadConfig).await;
    while !matches!(screen.next().await, Inbound::Done(_)) {}

    // As editors do it: a new file in the place of the old one.
    let new = dir.path().join(".config.toml.new");
    std::fs::write(&new, "[screen]\ntheme = 'light'\n").expect("written");
    std::fs::rename(&new, &file).expect("renamed");
    config.wait_for(|config| config.screen.theme.as_deref() == Some("light")).await.expect("the runtime runs");
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_change_of_a_rotation_or_a_secret_beside_the_config_is_taken_into_use_by_itself() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (file, secret) = (dir.path().join("config.toml"), dir.path().join("slack.url"));
    let rotation = dir.path().join("oncall.toml");
    let people = |first: &str, second: &str| format!("people = ['{first}', '{second}']\nevery = '1w'\n");
    std::fs::write(&rotation, people("alice", "bob")).expect("written");
    std::fs::write(&secret, "http://127.0.0.1:1/first").expect("written");
    let text = format!(
        "[[notifier]]\nname = 'chat'\nslack = '${{file:{}}}'\n[[person]]\nname = 'alice'\nnotify = 'chat'\n\
         [[person]]\nname = 'bob'\nnotify = 'chat'\n[[rotation]]\nname = 'primary'\nfile = 'oncall.toml'\n",
        secret.display()
    );
    std::fs::write(&file, text).expect("written");
    let path = file.clone();
    let reader: ConfigReader = Arc::new(move || hotseat::config::load(Some(&path), Commands::Run));
    let mut setup = setup("alice", &dir.path().join("state"));
    setup.loaded = reader();
    assert!(setup.loaded.errors.is_empty(), "{:?}", setup.loaded.errors);
    setup.reader = Some(reader);
    let runtime = Runtime::start(setup);
    let mut config = runtime.config();
    let mut screen = Screen::attach(&runtime).await;
    screen.until(|board| board.config.path.is_some()).await;
    // The watch starts beside the first facts; asking once makes sure that it stands.
    screen.ask(Request::ReloadConfig).await;
    while !matches!(screen.next().await, Inbound::Done(_)) {}

    std::fs::write(&rotation, people("bob", "alice")).expect("written");
    config.wait_for(|config| config.alerts.rotations[0].people == ["bob", "alice"]).await.expect("the runtime runs");
    screen.until(|board| board.alerts.rules().rotations.first().is_some_and(|it| it.people == ["bob", "alice"])).await;

    // A mistake in it keeps what runs, and says so.
    std::fs::write(&rotation, "people = ['bob', 'nobody']\n").expect("written");
    screen.until(|board| !board.config.rejected.is_empty()).await;
    assert!(screen.board.config.rejected[0].message.contains("nobody"), "{:?}", screen.board.config.rejected);
    assert_eq!(config.borrow_and_update().alerts.rotations[0].people, ["bob", "alice"]);
    std::fs::write(&rotation, people("alice", "bob")).expect("written");
    screen.until(|board| board.config.rejected.is_empty()).await;

    let shown = |config: &Config| config.notifiers[0].fingerprint();
    let before = shown(&config.borrow_and_update());
    std::fs::write(&secret, "http://127.0.0.1:1/second").expect("written");
    config.wait_for(|config| shown(config) != before).await.expect("the runtime runs");
    runtime.shutdown().await;
}

#[tokio::test]
async fn the_journal_folds_back_to_the_board_that_was() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let text = Arc::new(std::sync::Mutex::new(String::new()));
    let mut setup = setup("alice", dir.path());
    setup.reader = Some(reader(&text));
    let runtime = Runtime::start(setup);
    let mut screen = Screen::attach(&runtime).await;
    // The config, its rules of alerts and the screen itself: the start is over.
    screen.until(|board| board.seq == 3).await;
    for mistake in ["a = 1\n", "a = 1\nb = 2\n", ""] {
        *text.lock().expect("text") = mistake.into();
        screen.ask(Request::ReloadConfig).await;
        screen.until(|board| board.config.rejected.len() == mistake.lines().count()).await;
    }
    runtime.shutdown().await;
    // The last thing that happens is that the screen goes.
    screen.until_the_end().await;
    assert!(screen.board.presence.is_empty());

    let replay = journal::replay(dir.path(), jiff::Timestamp::MAX).expect("readable").expect("a journal");
    assert_eq!(replay.skipped_lines, 0);
    assert_eq!(replay.board, screen.board);
    assert!(journal::replay(dir.path(), jiff::Timestamp::UNIX_EPOCH).expect("readable").is_none());
}

#[tokio::test]
async fn a_torn_line_costs_itself_and_is_counted() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let runtime = Runtime::start(setup("alice", dir.path()));
    let mut screen = Screen::attach(&runtime).await;
    screen.until(|board| board.seq > 0).await;
    runtime.shutdown().await;
    let before = journal::replay(dir.path(), jiff::Timestamp::MAX).expect("readable").expect("a journal");

    let segment =
        std::fs::read_dir(dir.path().join(journal::FOLDER)).expect("folder").next().expect("one").expect("entry");
    // As an older version wrote it: not packed.
    let mut packed = zstd::Decoder::new(std::fs::File::open(segment.path()).expect("there")).expect("packed");
    let mut text = Vec::new();
    // It ends where it was flushed last.
    let _ = std::io::Read::read_to_end(&mut packed, &mut text);
    text.extend_from_slice(b"{\"fact\":{\"host\":\"te");
    std::fs::remove_file(segment.path()).expect("removed");
    std::fs::write(segment.path().with_extension(""), text).expect("written");
    let after = journal::replay(dir.path(), jiff::Timestamp::MAX).expect("readable").expect("a journal");
    assert_eq!(after.skipped_lines, 1);
    assert_eq!(after.board, before.board);
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_used_does_not_stop_the_runtime() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("written");
    let runtime = Runtime::start(setup("alice", &file.join("state")));
    let mut screen = Screen::attach(&runtime).await;
    screen.until(|board| !board.failures.is_empty()).await;
    let error = screen.board.failures.get("state directory").cloned().unwrap_or_default();
    assert!(error.ends_with("; nothing is kept over a restart"), "{error}");
    assert_eq!(screen.board.standby, None);
    runtime.shutdown().await;
}
