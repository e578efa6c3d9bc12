//! Agents of several hosts in one screen, over a real OpenSSH server on the loopback.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use hotseat::agent::connector::Connector;
use hotseat::agent::hub::{self, Member};
use hotseat::agent::server::{Server, ServerSetup};
use hotseat::agent::socket::Places;
use hotseat::agent::ssh::Ssh;
use hotseat::config;
use hotseat::config::remotes::Remote;
use hotseat::domain::host::{Role, Way};
use hotseat::domain::ids::HostId;
use hotseat::domain::log::{Anchor, GapKind, Row, ViewId, Window, WindowRequest};
use hotseat::domain::presence::Visitor;
use hotseat::domain::request::{Inbound, Request};
use hotseat::runtime::{Link, Runtime, RuntimeSetup};
use tokio::time::timeout;

use crate::support::sshd;

/// A deadline that only a broken test meets.
pub const LONG: Duration = Duration::from_secs(60);

/// Where drafts would go that no host could be given; nobody types here.
fn drafts() -> PathBuf {
    "/dev/null".into()
}

/// A host with an agent and one log.
pub struct Host {
    name: &'static str,
    /// Its log and its state.
    pub directory: tempfile::TempDir,
    /// What its agent runs.
    pub runtime: Runtime,
    server: Server,
    log: File,
}

impl Host {
    /// Starts it with these lines in its log.
    pub async fn start(name: &'static str, lines: std::ops::Range<u32>) -> Self {
        let directory = tempfile::Builder::new().prefix("hs").tempdir().expect("a directory");
        let path = directory.path().join("app.log");
        let log = OpenOptions::new().create(true).append(true).open(&path).expect("a log");
        let text = format!("[[log]]\nname = \"app\"\nfile = \"{}\"\n", path.display());
        let (config, errors) = config::parse("c.toml", &text);
        assert!(errors.is_empty(), "{errors:?}");
        let loaded = config::Loaded { config, readable: true, ..config::Loaded::default() };
        let state_dir = directory.path().join("state");
        let mut host_log = log;
        write(name, &mut host_log, lines);
        let setup = RuntimeSetup {
            host: HostId::new(name),
            user: "agent".into(),
            state_dir: state_dir.clone(),
            loaded,
            reader: None,
        };
        let runtime = Runtime::start(setup);
        runtime.active().cancelled().await;
        let setup = ServerSetup { role: Role::Agent, share: None };
        let server = Server::start(runtime.attacher(), setup, &Places::of(&state_dir)).expect("served");
        Self { name, directory, runtime, server, log: host_log }
    }

    /// The way to it, by the config of an ssh client.
    pub fn remote(&self, client: &Path) -> Remote {
        Remote {
            hotseat: env!("CARGO_BIN_EXE_hotseat").into(),
            state_dir: Some(self.directory.path().join("state").display().to_string()),
            config: Some(client.display().to_string()),
            ..Remote::of(self.name)
        }
    }

    /// Writes further lines.
    pub fn writes(&mut self, lines: std::ops::Range<u32>) {
        write(self.name, &mut self.log, lines);
    }

    /// The log is moved away, deleted, and begun anew.
    fn rotates(&mut self) {
        let path = self.directory.path().join("app.log");
        let old = self.directory.path().join("old");
        fs::rename(&path, &old).expect("moved");
        fs::remove_file(old).expect("deleted");
        self.log = OpenOptions::new().create(true).append(true).open(path).expect("a log");
    }

    /// Ends it.
    pub async fn end(self) {
        self.server.close("the test is over").await;
        self.runtime.shutdown().await;
    }
}

/// Numbered lines, two a second.
fn write(name: &str, log: &mut File, lines: std::ops::Range<u32>) {
    let line = |it: u32| {
        format!("2024-08-19T06:{:02}:{:02}.{}Z INFO {name} line {it}\n", it / 120 % 60, it / 2 % 60, it % 2 * 5)
    };
    let text: String = lines.map(line).collect();
    log.write_all(text.as_bytes()).expect("written");
}

/// One screen on several hosts.
pub struct Screen {
    /// What it works with.
    pub link: Link,
    connectors: Vec<Connector>,
}

impl Screen {
    /// Opens a screen on these hosts and waits until all are there.
    pub async fn open(remotes: Vec<Remote>) -> Self {
        let mut connectors = Vec::new();
        let count = remotes.len();
        let members = remotes.into_iter().map(|remote| {
            let called = HostId::new(&remote.name);
            let (link, connector) =
                Connector::start(called.clone(), Ssh::new(remote, Visitor::inside("alice"), drafts()));
            connectors.push(connector);
            Member { called, link }
        });
        let link = hub::start(members.collect());
        let mut screen = Self { link, connectors };
        for _ in 0..count {
            while !matches!(screen.next().await, Inbound::Snapshot(_)) {}
        }
        screen
    }

    /// What comes next.
    pub async fn next(&mut self) -> Inbound {
        timeout(LONG, self.link.facts_rx.recv()).await.expect("in time").expect("the hub lives")
    }

    /// Asks for log rows.
    pub async fn ask(&self, request: WindowRequest) {
        self.link.requests_tx.send(Request::Window(Box::new(request))).await.expect("the hub listens");
    }

    /// Waits for a window that is so.
    pub async fn until(&mut self, holds: impl Fn(&Window) -> bool) -> Window {
        let mut last = None;
        loop {
            let next = timeout(LONG, self.link.facts_rx.recv()).await;
            match next.unwrap_or_else(|_| panic!("not in time: {last:#?}")).expect("the hub lives") {
                Inbound::Window(window) if holds(&window) => return *window,
                Inbound::Window(window) => last = window.rows.map(|it| it.iter().map(words).collect::<Vec<_>>()),
                _ => {}
            }
        }
    }

    async fn until_lost(&mut self, mut hosts: Vec<&str>) {
        while !hosts.is_empty() {
            if let Inbound::Host(news) = self.next().await
                && matches!(news.way, Way::Lost { .. })
            {
                hosts.retain(|it| *it != news.host.as_str());
            }
        }
    }

    /// Closes it.
    pub async fn close(self) {
        drop(self.link);
        for connector in self.connectors {
            connector.ended().await;
        }
    }
}

fn words(row: &Row) -> String {
    match row {
        Row::Record(it) => it.lines[0].clone(),
        Row::Gap(it) => format!("{}: {:?}", it.position.source, it.kind),
        Row::Break => "--".into(),
    }
}

/// The numbers of a host's lines, in the order of the rows.
fn numbers(window: &Window, host: &str) -> Vec<u32> {
    let rows = window.rows.as_deref().unwrap_or_default();
    let number = |it: &Row| match it {
        Row::Record(it) if it.position.source.host() == host => it.lines[0].rsplit(' ').next()?.parse().ok(),
        _ => None,
    };
    rows.iter().filter_map(number).collect()
}

/// True when a window has exactly these lines of a host, in their order.
pub fn is_whole(window: &Window, host: &str, lines: std::ops::Range<u32>) -> bool {
    numbers(window, host) == lines.collect::<Vec<_>>()
}

/// Asks for the newest rows, and for those that come.
pub fn tail(records: u32) -> WindowRequest {
    WindowRequest { follow: true, count: true, ..WindowRequest::new(ViewId(1), 1, Anchor::Tail, (records, 0)) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_of_two_hosts_go_on_after_a_cut_without_a_line_twice_or_missing() {
    let Some(sshd) = sshd::Server::start() else { return };
    let (mut db, mut web) = (Host::start("db1", 0..20).await, Host::start("web1", 0..20).await);
    let client = sshd.path("client");
    let mut screen = Screen::open(vec![db.remote(&client), web.remote(&client)]).await;
    screen.ask(tail(500)).await;
    let both = |lines: std::ops::Range<u32>| {
        move |it: &Window| is_whole(it, "db1", lines.clone()) && is_whole(it, "web1", lines.clone())
    };
    let window = screen.until(both(0..20)).await;
    let rows = window.rows.expect("rows");
    assert_eq!(words(&rows[0]), "2024-08-19T06:00:00.0Z INFO db1 line 0", "by time, of one time by host");
    assert_eq!(words(&rows[1]), "2024-08-19T06:00:00.0Z INFO web1 line 0");
    for round in 1..3 {
        sshd.cut();
        db.writes(round * 20..round * 20 + 20);
        web.writes(round * 20..round * 20 + 20);
        screen.until_lost(vec!["db1", "web1"]).await;
        screen.until(both(0..round * 20 + 20)).await;
    }
    screen.close().await;
    db.end().await;
    web.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_rotated_away_during_a_cut_is_whole_and_says_so() {
    let Some(sshd) = sshd::Server::start() else { return };
    let mut db = Host::start("db1", 0..20).await;
    let mut screen = Screen::open(vec![db.remote(&sshd.path("client"))]).await;
    screen.ask(tail(500)).await;
    screen.until(|it| is_whole(it, "db1", 0..20)).await;
    sshd.cut();
    db.writes(20..40);
    db.rotates();
    db.writes(40..60);
    screen.until_lost(vec!["db1"]).await;
    let window = screen.until(|it| is_whole(it, "db1", 0..60)).await;
    let rows = window.rows.expect("rows");
    let gap = rows.iter().position(|it| matches!(it, Row::Gap(gap) if gap.kind == GapKind::Rotated));
    let gap = gap.expect("a row says that the log was rotated");
    assert_eq!(words(&rows[gap - 1]), "2024-08-19T06:00:19.5Z INFO db1 line 39");
    assert_eq!(words(&rows[gap + 1]), "2024-08-19T06:00:20.0Z INFO db1 line 40");
    screen.close().await;
    db.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_an_agent_says_what_to_do_and_holds_nobody_up() {
    let Some(sshd) = sshd::Server::start() else { return };
    let db = Host::start("db1", 0..20).await;
    let empty = tempfile::tempdir().expect("a directory");
    let client = sshd.path("client");
    let without =
        Remote { state_dir: Some(empty.path().display().to_string()), name: "web1".into(), ..db.remote(&client) };
    let called = HostId::new("web1");
    let (link, connector) = Connector::start(called.clone(), Ssh::new(without, Visitor::inside("alice"), drafts()));
    let (near, near_connector) =
        Connector::start(HostId::new("db1"), Ssh::new(db.remote(&client), Visitor::inside("alice"), drafts()));
    let members = vec![Member { called: HostId::new("db1"), link: near }, Member { called, link }];
    let mut screen = Screen { link: hub::start(members), connectors: vec![connector, near_connector] };
    while !matches!(screen.next().await, Inbound::Snapshot(_)) {}
    screen.ask(tail(50)).await;
    let window = screen.until(|it| is_whole(it, "db1", 0..20)).await;
    let is_note = |it: &Row| matches!(it, Row::Gap(gap) if matches!(&gap.kind, GapKind::Failed(_)));
    assert!(window.rows.expect("rows").iter().any(is_note), "a row says that web1 is missing");
    let why = loop {
        if let Inbound::Host(news) = screen.next().await
            && let (Way::Lost { why, .. }, "web1") = (news.way, news.host.as_str())
            && why.contains("agent")
        {
            break why;
        }
    };
    assert!(why.contains("no agent answers there") && why.contains("hotseat agent"), "{why}");
    screen.close().await;
    db.end().await;
}

/// A way of its own to a port: slow, and counted.
struct Relay {
    port: u16,
    bytes: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Relay {
    fn start(to: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (bytes, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, over) = (Arc::clone(&bytes), Arc::clone(&is_over));
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let pairs = [(near.try_clone(), far.try_clone()), (far.try_clone(), near.try_clone())];
                for (from, to) in pairs {
                    let (Ok(from), Ok(to), counted) = (from, to, Arc::clone(&counted)) else { continue };
                    thread::spawn(move || carry(from, to, delay, &counted));
                }
            }
        });
        Self { port, bytes, is_over }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // It waits for a connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, delay: Duration, counted: &AtomicU64) {
    let mut chunk = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut chunk) {
        // The latency is what is tested.
        thread::sleep(delay);
        counted.fetch_add(read as u64, Ordering::Relaxed);
        if to.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn relayed(sshd: &sshd::Server, delay: Duration) -> (Relay, PathBuf) {
    let relay = Relay::start(sshd.port(), delay);
    let client = sshd.client_by(relay.port);
    (relay, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_window_and_the_counts_come_over_a_slow_way() {
    let Some(sshd) = sshd::Server::start() else { return };
    const LINES: u32 = 200_000;
    let db = Host::start("db1", 0..LINES).await;
    let size = fs::metadata(db.directory.path().join("app.log")).expect("a log").len();
    let (relay, client) = relayed(&sshd, Duration::from_millis(20));
    let mut screen = Screen::open(vec![db.remote(&client)]).await;
    screen.ask(WindowRequest { query: "\"9999\"".into(), ..tail(50) }).await;
    let window = screen.until(|it| it.counts.complete).await;
    let expected = (0..LINES).filter(|it| it.to_string().contains("9999")).count() as u64;
    assert_eq!((window.counts.matched, window.counts.scanned), (expected, u64::from(LINES)));
    let carried = relay.bytes.load(Ordering::Relaxed);
    assert!(carried * 20 < size, "{carried} bytes came for a file of {size}");
    screen.close().await;
    db.end().await;
}
