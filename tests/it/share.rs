//! Several accounts at one hotseat: the group of `share` is let in, by name, and nobody else.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hotseat::agent::client::{self, Attached};
use hotseat::agent::server::{Server, ServerSetup};
use hotseat::agent::socket::{self, Places};
use hotseat::config::share::Share;
use hotseat::config::{Config, Loaded, paths};
use hotseat::domain::board::Board;
use hotseat::domain::host::Role;
use hotseat::domain::ids::HostId;
use hotseat::domain::incident::entry::EntryBody;
use hotseat::domain::incident::{DeclareRequest, NoteRequest, Severity};
use hotseat::domain::presence::{Via, Visitor};
use hotseat::domain::request::{Inbound, Request};
use hotseat::runtime::lock::{self, Acquired, StateLock};
use hotseat::runtime::{Runtime, RuntimeSetup};

/// Tells the copy of this program that runs as another account where the state directory is.
const STATE_DIR: &str = "HOTSEAT_TEST_SHARED_STATE";
/// What that copy says when the socket is not opened to it.
const REFUSED: &str = "not let in: ";
/// Accounts that every Linux has. Nobody is logged in as them, and no account of theirs owns anything of ours.
const MEMBERS: [u32; 2] = [65_534, 1];
const STRANGER: u32 = 2;
/// The group that is shared with; it needs no name.
const GROUP: u32 = 65_534;
/// Longer than anything takes; a test that waits for it has failed.
const DEADLINE: Duration = Duration::from_secs(30);

fn places(state_dir: &Path) -> Places {
    Places { state_dir: state_dir.to_path_buf(), runtime_dir: None, temp_dir: state_dir.join("none") }
}

/// Not a test of its own: the part of the one below that runs as another account. It connects, then carries bytes
/// between the socket and its standard input, which is a socket as well.
#[test]
fn carries_the_bytes_of_another_account() {
    let Some(state_dir) = std::env::var_os(STATE_DIR) else { return };
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let mut ours = UnixStream::from(stdin);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connected = runtime.block_on(async { socket::connect(&places(Path::new(&state_dir))).await });
    let theirs = match connected {
        Ok(stream) => stream.into_std().unwrap(),
        Err(error) => {
            writeln!(ours, "{REFUSED}{error}").unwrap();
            return;
        }
    };
    theirs.set_nonblocking(false).unwrap();
    let (mut from_ours, mut to_theirs) = (ours.try_clone().unwrap(), theirs.try_clone().unwrap());
    std::thread::spawn(move || {
        // Either end may be gone first.
        let _ = std::io::copy(&mut from_ours, &mut to_theirs);
        let _ = to_theirs.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut &theirs, &mut ours);
}

/// Another account's process, connected to a state directory.
struct Account {
    child: Child,
    stream: Option<UnixStream>,
}

impl Account {
    fn start(program: &Path, (uid, gid): (u32, u32), state_dir: &Path) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let child = Command::new(program)
            .args(["--exact", "share::carries_the_bytes_of_another_account"])
            .env_clear()
            .env(STATE_DIR, state_dir)
            .current_dir("/")
            .uid(uid)
            .gid(gid)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, stream: Some(ours) }
    }

    async fn attach(&mut self, says: &str) -> Screen {
        let stream = self.stream.take().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(stream).unwrap();
        let visitor = Visitor { via: Via::Local, ..Visitor::inside(says) };
        let attached = client::attach(stream, &client::hello(visitor)).await.expect("a member is let in");
        Screen { attached, board: Board::default() }
    }

    /// What the process said before it ended.
    fn said(&mut self) -> String {
        let mut said = String::new();
        let mut stream = self.stream.take().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Screen {
    attached: Attached,
    board: Board,
}

impl Screen {
    async fn until(&mut self, done: impl Fn(&Board) -> bool) {
        while !done(&self.board) {
            let next = tokio::time::timeout(DEADLINE, self.attached.link.facts_rx.recv());
            match next.await.expect("something comes").expect("still attached") {
                Inbound::Snapshot(board) => self.board = *board,
                Inbound::Fact(envelope) => drop(self.board.apply(envelope.at, &envelope)),
                _ => {}
            }
        }
    }

    fn ask(&self, request: Request) {
        self.attached.link.requests_tx.try_send(request).expect("there is room");
    }
}

/// Who wrote a note of the open incident.
fn writer(board: &Board, text: &str) -> Option<String> {
    let mut entries = board.incidents.open_incidents().flat_map(|it| &it.entries);
    entries.find(|it| matches!(&it.body, EntryBody::Note(note) if note.text == text)).map(|it| it.by.clone())
}

fn note(text: &str) -> Request {
    Request::Note(NoteRequest { incident: None, at: None, text: text.into() })
}

/// A copy of a program where every account can run it.
fn for_all(program: &Path, folder: &Path, name: &str) -> PathBuf {
    let copy = folder.join(name);
    if fs::hard_link(program, &copy).is_err() {
        fs::copy(program, &copy).unwrap();
    }
    copy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_of_the_group_work_together_by_login_and_a_stranger_is_refused() {
    if rustix::process::geteuid().as_raw() != 0 {
        let words = b"skipped: other accounts can be had by root alone\n";
        let _ = std::io::stderr().write_all(words);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let helper = for_all(&std::env::current_exe().unwrap(), dir.path(), "helper");
    let hotseat = for_all(Path::new(env!("CARGO_BIN_EXE_hotseat")), dir.path(), "hotseat");
    let state_dir = dir.path().join("state");
    let config = Config { share: Some(Share { group: "oncall".into(), gid: GROUP }), ..Config::default() };
    let setup = ServerSetup::new(Role::Agent, &config);
    let runtime = Runtime::start(RuntimeSetup {
        host: HostId::new("test"),
        user: "owner".into(),
        state_dir: state_dir.clone(),
        loaded: Loaded { config, readable: true, ..Loaded::default() },
        reader: None,
    });
    let server = Server::start(runtime.attacher(), setup, &places(&state_dir)).unwrap();
    let shared = Config { share: Some(Share { group: "oncall".into(), gid: GROUP }), ..Config::default() };
    let (config_tx, config_rx) = tokio::sync::watch::channel(std::sync::Arc::new(shared));
    server.follow(config_rx);

    runtime.active().cancelled().await;

    let logins = MEMBERS.map(|uid| paths::login_of(uid).unwrap_or_else(|| format!("uid-{uid}")));
    let mut accounts = MEMBERS.map(|uid| Account::start(&helper, (uid, GROUP), &state_dir));
    let mut first = accounts[0].attach("root").await;
    let mut second = accounts[1].attach("the boss").await;
    for (screen, login) in [(&first, &logins[0]), (&second, &logins[1])] {
        assert_eq!(&screen.attached.welcome.visitor.user, login, "whatever they say");
    }
    let request = DeclareRequest { title: "edge 502".into(), severity: Severity::Sev2, impact_start: None };
    first.ask(Request::Declare(request));
    second.until(|board| board.incidents.open_incidents().next().is_some()).await;
    second.ask(note("from the second"));
    first.until(|board| writer(board, "from the second").is_some()).await;
    assert_eq!(writer(&first.board, "from the second").as_ref(), Some(&logins[1]));

    // What a member writes without asking the runtime arrives as well, and stays the group's.
    let (program, arguments) = (hotseat, ["note", "from a shell"]);
    let (folder, uid) = (state_dir.clone(), MEMBERS[0]);
    let by_hand = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("HOTSEAT_STATE_DIR", folder).env("HOTSEAT_USER", "shell");
        command.current_dir("/").uid(uid).gid(GROUP).output().unwrap()
    });
    let said = by_hand.await.unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    for screen in [&mut first, &mut second] {
        screen.until(|board| writer(board, "from a shell").is_some()).await;
    }
    let mut files = Vec::new();
    all_below(&state_dir.join("incidents"), &mut files);
    assert!(files.len() > 4, "{files:?}");
    for path in files {
        let meta = fs::metadata(&path).unwrap();
        let expected = if meta.is_dir() { 0o2770 } else { 0o660 };
        let mode = format!("{:o}", meta.mode() & 0o7777);
        assert_eq!((mode, meta.gid()), (format!("{expected:o}"), GROUP), "{}", path.display());
    }
    let private = fs::metadata(state_dir.join("store.db")).unwrap();
    assert_eq!(private.mode() & 0o077, 0, "everything else is the owner's");

    let said = Account::start(&helper, (STRANGER, STRANGER), &state_dir).said();
    assert!(said.starts_with(REFUSED) && said.contains("ask `root` to be in it"), "{said}");

    // The line is taken out of the config: who came in by it goes, and nobody comes in by it any more.
    config_tx.send_replace(std::sync::Arc::default());
    for screen in [first, second] {
        let Attached { mut link, ended, .. } = screen.attached;
        while link.facts_rx.recv().await.is_some() {}
        let Ok(client::Ended::Refused(why)) = ended.await else { panic!("they are told") };
        assert!(why.contains("not shared with you any more"), "{why}");
    }
    let said = Account::start(&helper, (MEMBERS[0], GROUP), &state_dir).said();
    assert!(said.starts_with(REFUSED), "{said}");

    server.close("the test is over").await;
    runtime.shutdown().await;
}

fn all_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_below(&path, found);
        }
        found.push(path);
    }
}

/// Another account's `flock`, which holds what it was given until it is ended.
struct Foreign(Child);

impl Foreign {
    fn locks(path: &Path, (uid, gid): (u32, u32)) -> Self {
        let mut command = Command::new("flock");
        command.arg("-x").arg(path).arg("cat").env_clear().current_dir("/").uid(uid).gid(gid);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // What comes back is said by who runs under the lock.
        child.stdin.as_mut().unwrap().write_all(b"held").unwrap();
        let mut held = [0; 4];
        child.stdout.as_mut().unwrap().read_exact(&mut held).unwrap();
        Self(child)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // What it runs ends with its standard input, and the lock with both.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn is_held(state_dir: &Path) -> Option<StateLock> {
    match StateLock::acquire(state_dir, jiff::Timestamp::UNIX_EPOCH).expect("something can be locked") {
        Acquired::Held(lock) => Some(lock),
        Acquired::Taken(_) => None,
    }
}

#[test]
fn an_account_that_may_only_look_cannot_keep_the_owner_from_watching() {
    if rustix::process::geteuid().as_raw() != 0 {
        let words = b"skipped: other accounts can be had by root alone\n";
        let _ = std::io::stderr().write_all(words);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let state_dir = dir.path().join("state");
    fs::create_dir(&state_dir).unwrap();
    fs::set_permissions(&state_dir, fs::Permissions::from_mode(0o755)).unwrap();
    let first = is_held(&state_dir).expect("nobody else holds it");
    first.share(GROUP).expect("shared");
    drop(first);

    let member = (MEMBERS[0], GROUP);
    let foreign = [state_dir.clone(), state_dir.join("runtime.lock")].map(|it| Foreign::locks(&it, member));
    assert!(lock::is_free(&state_dir), "whoever looks at it sees that nobody watches");
    let held = is_held(&state_dir).expect("they keep nobody out");
    assert!(is_held(&state_dir).is_none() && !lock::is_free(&state_dir), "two of the owner's are still one too many");
    drop(foreign);
    assert!(is_held(&state_dir).is_none(), "also when they have gone");
    drop(held);

    // Who may write there may watch there.
    fs::set_permissions(&state_dir, fs::Permissions::from_mode(0o775)).unwrap();
    let foreign = Foreign::locks(&state_dir, member);
    assert!(is_held(&state_dir).is_none() && !lock::is_free(&state_dir));
    drop(foreign);
    assert!(is_held(&state_dir).is_some());
}
