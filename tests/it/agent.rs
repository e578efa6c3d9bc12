//! `hotseat agent` as a process: what it says to a service manager, how it stops, what a kill leaves, what it exposes.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hotseat::agent::client;
use hotseat::agent::socket::{self, Places};
use hotseat::domain::alert::delivery::DeliveryState;
use hotseat::domain::fact::{Fact, RuntimeFact};
use hotseat::domain::ids::{HostId, JobId, ProbeId};
use hotseat::domain::presence::{Via, Visitor};
use hotseat::domain::request::{Inbound, Request};
use hotseat::service::incident::store::IncidentStore;
use hotseat::store::reader::{Reader, Trace};
use jiff::Timestamp;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::support::peer::{free_port, program};
use crate::support::pty::{Launch, Pty};
use crate::support::web::{Said, Web};
use crate::wire::say_skipped;

/// How long a test waits before it says that nothing comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an agent says when it does.
const WATCHES: &str = "the agent watches";

/// Looks until it finds something.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: it does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// hotseat in the home of a screen.
fn beside(screen: &Pty, arguments: &[&str]) -> Command {
    let mut command = screen.command(arguments);
    command.stdout(Stdio::null());
    command
}

/// A state directory with its config, and the agents of one test.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new(config: &str) -> Self {
        let world = Self { dir: tempfile::tempdir().expect("a directory") };
        world.configure(config);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn state(&self) -> PathBuf {
        self.path("state")
    }

    fn configure(&self, config: &str) {
        use std::os::unix::fs::PermissionsExt;
        let file = self.path("config.toml");
        fs::write(&file, format!("[host]\nname = \"h\"\n{config}")).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its owner's");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hotseat"));
        command.arg("--config").arg(self.path("config.toml")).arg("--state-dir").arg(self.state());
        command.args(arguments).env_clear().env("HOME", self.dir.path()).env("LOGNAME", "alice");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn agent(&self, arguments: &[&str]) -> Agent {
        self.agent_with(arguments, |_| {})
    }

    fn agent_with(&self, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Agent {
        let mut count = 0;
        let log = loop {
            let log = self.path(&format!("agent-{count}.log"));
            if !log.exists() {
                break log;
            }
            count += 1;
        };
        let mut command = self.command(&["agent"]);
        command.args(arguments).stderr(fs::File::create(&log).expect("a log"));
        change(&mut command);
        Agent { child: command.spawn().expect("started"), log }
    }
}

/// A running agent; killed when dropped.
struct Agent {
    child: Child,
    log: PathBuf,
}

impl Agent {
    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has said something.
    fn until(&mut self, words: &str) {
        let began = Instant::now();
        while !self.said().contains(words) {
            let ended = self.child.try_wait().expect("a child");
            assert!(ended.is_none() || self.said().contains(words), "it ended ({ended:?}):\n{}", self.said());
            assert!(began.elapsed() < PATIENCE, "never said `{words}`:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("small")).expect("a process");
        kill_process(pid, signal).expect("signalled");
    }

    fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next datagram to a service manager that says something with this word in it.
fn heard(socket: &UnixDatagram, word: &str) -> String {
    let (mut buffer, began) = ([0; 4096], Instant::now());
    loop {
        assert!(began.elapsed() < PATIENCE, "never heard `{word}`");
        let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("never heard `{word}`: {error}"));
        let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if said.contains(word) {
            return said;
        }
    }
}

#[test]
fn a_service_manager_is_told_of_start_reload_life_and_end() {
    let world = World::new("");
    let manager = UnixDatagram::bind(world.path("notify")).expect("bound");
    manager.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let mut agent = world.agent_with(&[], |command| {
        command.env("NOTIFY_SOCKET", world.path("notify")).env("WATCHDOG_USEC", "400000");
    });
    assert!(heard(&manager, "READY=1").contains("STATUS=watches 0 probes"));
    heard(&manager, "WATCHDOG=1");

    world.configure("[[probe]]\nname = \"a\"\ntcp = \"127.0.0.1:1\"\n");
    agent.signal(Signal::HUP);
    assert!(heard(&manager, "RELOADING=1").contains("MONOTONIC_USEC="));
    heard(&manager, "READY=1");
    // Heard, not waited for: a socket that nobody reads is full after ten datagrams.
    heard(&manager, "(1 down)");

    world.configure("[[probe]]\nname = \"a\"\ntcp = \"127.0.0.1:1\"\nexpct = []\n");
    agent.signal(Signal::HUP);
    heard(&manager, "RELOADING=1");
    let said = heard(&manager, "READY=1");
    assert!(said.contains("config not taken into use: 1 mistake"), "{said}");
    agent.until("config rejected");
    // Once, also when the changed file is seen before the signal: whoever is woken by errors is not woken again.
    let log = agent.said();
    let errors: Vec<&str> = log.lines().filter(|it| it.contains("level=error")).collect();
    assert!(errors.len() == 1 && errors[0].contains("unknown key `expct`"), "{log}");

    agent.signal(Signal::TERM);
    assert!(heard(&manager, "STOPPING=1").contains("EXTEND_TIMEOUT_USEC="));
    assert!(agent.ended().success(), "{}", agent.said());
    assert!(agent.said().contains("msg=stopped"), "{}", agent.said());
}

#[test]
fn a_hang_up_during_a_reload_has_the_config_read_once_more_and_a_changed_file_with_it_not_twice() {
    // Reading this config takes as long as the test wants, and leaves a line each time.
    let slow = |text: &str| format!("[[probe]]\nname = 'a'\ncommand = ['true', '${{cmd:sh -c \"{text}\"}}']\n");
    let world = World::new("");
    let dir = world.dir.path().display().to_string();
    let script = format!("echo x >> {dir}/reads; while test -e {dir}/hold; do sleep 0.02; done; echo done");
    let reads = || fs::read_to_string(world.path("reads")).unwrap_or_default().lines().count();
    world.configure(&slow(&script));
    let mut agent = world.agent(&[]);
    agent.until(WATCHES);
    let before = reads();
    fs::write(world.path("hold"), "").expect("written");
    agent.signal(Signal::HUP);
    until("the reload", || (reads() == before + 1).then_some(()));
    // Written behind what reads it now.
    world.configure(&format!("{}[[probe]]\nname = 'later'\ncommand = ['true']\n", slow(&script)));
    agent.signal(Signal::HUP);
    fs::remove_file(world.path("hold")).expect("removed");
    let names = || {
        let asked = world.command(&["status", "--json"]).stdout(Stdio::piped()).output().expect("asked");
        let said: serde_json::Value = serde_json::from_slice(&asked.stdout).expect("JSON");
        let names = said["probes"].as_array().expect("probes").iter();
        names.map(|it| it["name"].as_str().unwrap_or_default().to_string()).collect::<Vec<_>>()
    };
    until("the new probe", || (names() == ["a", "later"]).then_some(()));
    // One more, to know that nothing waits behind it.
    let so_far = reads();
    agent.signal(Signal::HUP);
    until("the last reload", || (reads() > so_far).then_some(()));
    agent.signal(Signal::TERM);
    assert!(agent.ended().success(), "{}", agent.said());
    assert_eq!(reads(), before + 3, "{}", agent.said());
}

#[test]
fn a_config_that_others_may_read_no_more_is_taken_at_once() {
    use std::os::unix::fs::PermissionsExt;
    let url = "http://127.0.0.1:1/services/T024BE7LD/bq8zPvWn7rXkT3aYc5Jd";
    let world = World::new(&format!("[[notifier]]\nname = 'hook'\nwebhook = {{ url = '{url}' }}\n"));
    let mode = |it| fs::set_permissions(world.path("config.toml"), fs::Permissions::from_mode(it)).expect("its mode");
    mode(0o644);
    let mut agent = world.agent(&[]);
    agent.until(WATCHES);
    let started = agent.said();
    assert!(started.contains("mistakes=1"), "its notifier is refused:\n{started}");
    mode(0o600);
    // Not a letter of it changed.
    agent.until("mistakes=0");
}

#[test]
fn the_status_of_an_agent_that_was_stopped_does_not_say_that_none_runs() {
    let world = World::new("");
    let mut agent = world.agent(&[]);
    agent.until(WATCHES);
    let pid = agent.child.id();
    agent.signal(Signal::STOP);
    let asked = world.command(&["agent", "status"]).stdout(Stdio::piped()).output().expect("asked");
    agent.signal(Signal::CONT);
    let said = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert_eq!(asked.status.code(), Some(1));
    assert!(!said.contains("none runs") && said.contains("does not answer"), "{said}");
    assert!(said.contains(&format!("pid {pid}, which is stopped")) && said.contains("kill -CONT"), "{said}");
    agent.signal(Signal::TERM);
    assert!(agent.ended().success(), "{}", agent.said());
}

#[test]
fn who_holds_the_state_directory_for_a_moment_without_a_socket_is_waited_for_and_never_said_to_be_stopped() {
    let world = World::new("");
    let mut agent = world.agent(&[]);
    agent.until(WATCHES);
    agent.signal(Signal::TERM);
    assert!(agent.ended().success(), "{}", agent.said());
    // As an agent that ends: its socket is gone, the kernel's lock is not. It goes when its standard input does.
    let hold = || {
        let mut command = Command::new("flock");
        command.arg("--exclusive").arg(world.state().join("runtime.lock")).args(["sh", "-c", "echo held; exec cat"]);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut holder = spawned.ok()?;
        let mut line = [0; 5];
        std::io::Read::read_exact(holder.stdout.as_mut()?, &mut line).expect("it holds it");
        Some(holder)
    };
    let Some(mut holder) = hold() else { return say_skipped("flock not found") };
    let asked = world.command(&["agent", "status"]).stdout(Stdio::piped()).output().expect("asked");
    let said = String::from_utf8_lossy(&asked.stdout).into_owned();
    drop(holder.stdin.take());
    holder.wait().expect("it ends");
    assert_eq!(asked.status.code(), Some(1));
    assert!(said.contains("which does not answer (it may have just begun or be about to end"), "{said}");
    assert!(!said.contains("kill -CONT"), "{said}");
    // One that has ended while it was asked for is none that does not answer.
    let mut holder = hold().expect("as before");
    let asking = world.command(&["agent", "status"]).stdout(Stdio::piped()).spawn().expect("asked");
    drop(holder.stdin.take());
    holder.wait().expect("it ends");
    let said = asking.wait_with_output().expect("said").stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("none runs"), "{said}");
}

#[test]
fn the_state_directory_of_another_account_is_left_alone_with_a_word_about_what_to_do() {
    const SOMEBODY: u32 = 65_534;
    let world = World::new("");
    fs::create_dir(world.state()).expect("made");
    if std::os::unix::fs::chown(world.state(), Some(SOMEBODY), None).is_err() {
        return say_skipped("this account cannot give a directory to another one");
    }
    let writers = [
        &["note", "by root"][..],
        &["declare", "by root"],
        &["ack", "api"],
        &["silence", "add", "probe=api", "--for", "1h"],
        &["backup", "run", "orders"],
        &["incident", "set", "--title", "by root"],
    ];
    for arguments in [&["agent"][..], &["agent", "--wait"]].into_iter().chain(writers) {
        let asked = world.command(arguments).stderr(Stdio::piped()).output().expect("asked");
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        assert_eq!(asked.status.code(), Some(2), "{said}");
        assert!(said.contains("this state directory belongs to the account `"), "{said}");
        assert!(said.contains("sudo -u ") && said.contains("`--state-dir`"), "{said}");
    }
    let made = fs::read_dir(world.state()).expect("read").count();
    assert_eq!(made, 0, "its owner could not open what another account makes there");
}

#[test]
fn a_directory_that_nothing_can_be_made_in_has_one_agent_and_status_finds_it() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    use std::os::unix::process::CommandExt as _;
    const SOMEBODY: u32 = 65_534;
    let world = World::new("");
    let is_root = rustix::process::geteuid().is_root();
    // Root may write everywhere.
    let program = world.path("hotseat");
    if fs::hard_link(env!("CARGO_BIN_EXE_hotseat"), &program).is_err() {
        fs::copy(env!("CARGO_BIN_EXE_hotseat"), &program).expect("copied");
    }
    let with_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    fs::create_dir(world.state()).expect("made");
    if is_root {
        let all = [world.dir.path().to_path_buf(), world.path("config.toml"), world.state()];
        if all.iter().any(|it| chown(it, Some(SOMEBODY), Some(SOMEBODY)).is_err()) {
            return say_skipped("this account cannot give a directory to another one");
        }
    }
    with_mode(&world.state(), 0o500);
    let command = |arguments: &[&str]| {
        let asked = world.command(arguments);
        let mut command = Command::new(&program);
        command.args(asked.get_args()).env_clear().envs(asked.get_envs().filter_map(|(key, it)| Some((key, it?))));
        command.env("TMPDIR", world.dir.path()).current_dir("/").stdin(Stdio::null());
        if is_root {
            command.uid(SOMEBODY).gid(SOMEBODY);
        }
        command
    };
    let start = |name: &str| {
        let log = world.path(name);
        let mut command = command(&["agent"]);
        command.stdout(Stdio::null()).stderr(fs::File::create(&log).expect("a log"));
        Agent { child: command.spawn().expect("started"), log }
    };
    let mut first = start("first.log");
    first.until(WATCHES);
    first.until("screens may attach");
    // Also when it is opened to its owner meanwhile, and when it is closed to everybody.
    for mode in [0o500, 0o700, 0o000] {
        with_mode(&world.state(), mode);
        let mut second = start("second.log");
        assert!(!second.ended().success());
        let said = second.said();
        assert!(!said.contains(WATCHES) && said.contains(&format!("pid {}", first.child.id())), "{mode:o}: {said}");
        let status = command(&["agent", "status"]).output().expect("asked");
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(text.contains(&format!("pid {}", first.child.id())), "{mode:o}: {text}");
    }
    first.signal(Signal::TERM);
    assert!(first.ended().success(), "{}", first.said());
    // What cannot even be listed is locked apart.
    let mut first = start("third.log");
    first.until(WATCHES);
    for mode in [0o000, 0o700] {
        with_mode(&world.state(), mode);
        let mut second = start("fourth.log");
        assert!(!second.ended().success() && !second.said().contains(WATCHES), "{mode:o}: {}", second.said());
    }
    first.signal(Signal::TERM);
    assert!(first.ended().success(), "{}", first.said());
}

#[test]
fn without_a_place_for_its_socket_an_agent_watches_and_says_what_to_do() {
    const READ_ONLY: &str = r#"mount -t tmpfs -o ro none "$1" || exit 77; shift; exec "$@""#;
    let world = World::new("");
    fs::create_dir(world.state()).expect("made");
    let log = world.path("agent.log");
    let agent = world.command(&["agent"]);
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", READ_ONLY, "sh"]).arg(world.state()).arg(agent.get_program());
    command.args(agent.get_args()).env_clear().envs(agent.get_envs().filter_map(|(key, it)| Some((key, it?))));
    command.env("TMPDIR", world.state()).env("XDG_RUNTIME_DIR", world.state());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).expect("a log"));
    let Ok(child) = command.spawn() else { return say_skipped("unshare not found") };
    let mut agent = Agent { child, log };
    let said = until("a word about the socket", || {
        let has_ended = agent.child.try_wait().expect("a child").is_some();
        let said = agent.said();
        (has_ended || said.contains(WATCHES)).then_some(said)
    });
    if !said.contains(WATCHES) {
        return say_skipped("no mount of one's own (the kernel's leave)");
    }
    let line = said.lines().find(|it| it.contains("screens cannot attach")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("read-only file system") && line.contains("put the state directory on a disk"), "{line}");
    agent.signal(Signal::TERM);
    assert!(agent.ended().success(), "{}", agent.said());
}

#[test]
fn whom_it_is_shared_with_is_what_the_config_says_now() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let gid = rustix::process::getegid().as_raw();
    let shared = format!("[share]\ngroup = \"{gid}\"\n");
    let world = World::new(&shared);
    let mut agent = world.agent(&[]);
    agent.until(WATCHES);
    let modes = || {
        let mode = |path: PathBuf| fs::metadata(path).map_or(0, |it| it.mode() & 0o777);
        ["", "agent.sock", "runtime.lock", "incidents"].map(|it| mode(world.state().join(it)))
    };
    let (open, private) = ([0o710, 0o660, 0o640, 0o770], [0o700, 0o600, 0o600, 0o700]);
    until("the share", || (modes() == open).then_some(()));
    for (config, expected) in [("", private), (shared.as_str(), open), ("", private)] {
        world.configure(config);
        agent.signal(Signal::HUP);
        until("the change", || (modes() == expected).then_some(()));
    }
    assert!(fs::metadata(world.state()).expect("there").permissions().mode() & 0o077 == 0);
    agent.signal(Signal::TERM);
    assert!(agent.ended().success(), "{}", agent.said());
}

#[test]
fn status_is_what_the_agent_knows_also_beside_a_broken_config() {
    let web = Web::start(|_| Said::status(500, "no"));
    let world = World::new(&format!(
        "[[probe]]\nname = 'a'\nhttp = '{}/'\ninterval = '60s'\nretry = '60s'\nfail = '1/1'\n",
        web.url()
    ));
    let status = |arguments: &[&str]| {
        let asked = world.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("asked");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (asked.status.code(), text(&asked.stdout), text(&asked.stderr))
    };
    let mut agent = world.agent(&[]);
    agent.until("probe down");
    let asked = web.asked().len();
    let (code, said, _) = status(&["status"]);
    assert_eq!(code, Some(1), "{said}");
    let pid = agent.child.id();
    assert!(said.starts_with(&format!("WATCHED by agent, pid {pid}, since ")), "{said}");
    assert!(said.contains("\nPROBES 1 of 1 failing\nx a  down "), "{said}");
    assert!(!said.contains("config"), "{said}");
    // The file is broken, the agent goes on with the one before, and so does this.
    world.configure("[[probe]\n");
    agent.until("config rejected");
    let (code, said, warned) = status(&["status"]);
    assert_eq!((code, warned.as_str()), (Some(1), ""), "{said}");
    assert!(said.contains("! the config on disk is not the one in use: ") && said.contains("\nx a  down "), "{said}");
    let (code, said, _) = status(&["status", "--json"]);
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &said["failed"]), (Some(1), &true.into()));
    assert_eq!(
        (&said["watcher"]["peer"]["pid"], &said["watcher"]["config"]["is_on_disk"]),
        (&pid.into(), &false.into())
    );
    assert_eq!((&said["probes"][0]["health"], &said["probes"][0]["result"]), (&"down".into(), &"fail".into()));
    assert_eq!(web.asked().len(), asked, "it does not probe beside the agent");
    agent.signal(Signal::TERM);
    agent.ended();
    // Alone it needs a config that can be read.
    assert_eq!(status(&["status"]).0, Some(2));
}

#[test]
fn an_agent_that_waits_is_seen_waiting_and_commands_are_nobody() {
    let world = World::new("");
    let dir = world.dir.path().display().to_string();
    // Read in seconds, and abandoned long before its end.
    let image = fs::File::create(world.path("orders.img")).expect("made");
    image.set_len(2 << 30).expect("sparse");
    world.configure(&format!("[[backup]]\nname = 'orders'\nfile = '{dir}/orders.img'\nto = '{dir}/disk'\n"));
    let status = || {
        let asked = world.command(&["agent", "status", "--json"]).stdout(Stdio::piped()).output().expect("asked");
        serde_json::from_slice::<serde_json::Value>(&asked.stdout).expect("JSON")
    };
    let mut agent = world.agent(&["--grace", "1m"]);
    agent.until(WATCHES);
    assert_eq!(status()["screens"], serde_json::json!([]));
    let mut next = world.agent(&["--wait"]);
    next.until("standing by");
    let waiting = serde_json::json!([next.child.id()]);
    until("who stands by", || (status()["standing_by"] == waiting).then_some(()));
    agent.until("agents stand by");
    let request = Request::RunBackup(JobId::new(&HostId::new("h"), "orders"));
    let screen = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let mut attached = screen.block_on(async {
        let stream = socket::connect(&Places::of(&world.state())).await.expect("connected");
        let visitor = Visitor { via: Via::Local, ..Visitor::inside("bob") };
        let attached = client::attach(stream, &client::hello(visitor)).await.expect("attached");
        attached.link.requests_tx.send(request).await.expect("asked");
        attached
    });
    agent.until("backup started");
    agent.signal(Signal::TERM);
    agent.until("waiting for a backup");
    let said = until("that it stops", || {
        let said = status();
        let is_first = said["peer"]["pid"] == agent.child.id();
        assert!(is_first, "{said}\n{}\n{}", agent.said(), next.said());
        Some(said).filter(|it| it["stopping"].is_object())
    });
    assert_eq!((&said["stopping"]["waits_for"], &said["well"]), (&"backup `orders`".into(), &false.into()), "{said}");
    assert_eq!(said["screens"], serde_json::json!(["bob"]), "commands are no people");
    assert_eq!(agent.said().matches("screen came").count(), 1, "{}", agent.said());
    // The screen is told as well, as it happens.
    screen.block_on(async {
        let told = |it: &Inbound| match it {
            Inbound::Fact(it) => matches!(it.fact, Fact::Runtime(RuntimeFact::Stopping { .. })),
            _ => false,
        };
        while !told(&attached.link.facts_rx.recv().await.expect("attached")) {}
    });
    agent.signal(Signal::TERM);
    assert!(agent.ended().success());
    next.until(WATCHES);
}

#[test]
fn an_agent_that_is_not_to_wait_says_who_does_not_make_room() {
    let mut screen = Launch::new(&[]).config("[[probe]]\nname = 'a'\ncommand = ['true']\n").size(120, 40).start();
    screen.wait_for("no agent: watches while open");
    screen.signal(Signal::STOP);
    let agent = beside(&screen, &["agent"]).stderr(Stdio::piped()).output().expect("ended");
    let said = String::from_utf8_lossy(&agent.stderr).into_owned();
    assert_eq!(agent.status.code(), Some(3), "{said}");
    let words = format!("pid {} ", screen.pid());
    assert!(said.contains(&words) && said.contains("holds this state directory and does not make room"), "{said}");
    assert!(said.contains("`--wait` takes over when it ends"), "{said}");
    screen.signal(Signal::CONT);
    screen.keys("\x03");
    assert_eq!(screen.exit_code(), 0);
}

#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk_and_no_death() {
    let world = World::new("");
    let mut agent = world.agent(&[]);
    agent.until(WATCHES);
    let pid = Pid::from_raw(i32::try_from(agent.child.id()).expect("small")).expect("a process");
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: Some(0), maximum: None }).expect("limited");
    // It says so in its log, which may grow no more.
    agent.signal(Signal::TERM);
    assert_eq!(agent.ended().signal(), None, "{}", agent.said());
}

#[test]
fn of_two_agents_one_watches_and_the_other_takes_over() {
    let web = Web::start(|_| Said::status(200, "ok"));
    let world = World::new(&format!("[[probe]]\nname = \"a\"\nhttp = \"{}/\"\ninterval = \"1s\"\n", web.url()));
    let mut agents = [world.agent(&["--wait"]), world.agent(&["--wait"])];
    let first = until("one that watches", || agents.iter().position(|it| it.said().contains(WATCHES)));
    let other = 1 - first;
    agents[other].until("standing by");
    // A third that is not to wait says who watches and goes.
    let mut third = world.agent(&[]);
    assert_eq!(third.ended().code(), Some(3));
    let pid = agents[first].child.id();
    let said = third.said();
    assert!(said.contains(&format!("another agent watches this state directory: pid {pid} ")), "{said}");
    assert!(said.contains("hint: `hotseat agent status` says how it is"), "{said}");
    assert!(!agents[other].said().contains(WATCHES));

    agents[first].child.kill().expect("killed");
    agents[other].until(WATCHES);
    let before = web.asked().len();
    until("probes", || (web.asked().len() >= before + 2).then_some(()));
}

#[test]
fn what_an_agent_ends_with_says_why() {
    let world = World::new("");
    let mut stopped = world.agent(&[]);
    stopped.until(WATCHES);
    let status = |well: bool| {
        let asked = world.command(&["agent", "status", "--json"]).stdout(Stdio::piped()).output().expect("asked");
        assert_eq!(asked.status.code(), Some(if well { 0 } else { 1 }), "{asked:?}");
        serde_json::from_slice::<serde_json::Value>(&asked.stdout).expect("JSON")
    };
    let said = status(true);
    assert_eq!((&said["well"], &said["peer"]["pid"]), (&true.into(), &stopped.child.id().into()), "{said}");
    stopped.signal(Signal::INT);
    assert_eq!(stopped.ended().code(), Some(0));
    let said = status(false);
    assert_eq!((&said["well"], &said["peer"]), (&false.into(), &serde_json::Value::Null), "{said}");

    let mut unknown = world.agent(&["--grace", "2h"]);
    assert_eq!(unknown.ended().code(), Some(2), "{}", unknown.said());
    fs::write(world.path("config.toml"), "[[probe]\n").expect("written");
    let mut unreadable = world.agent(&[]);
    assert_eq!(unreadable.ended().code(), Some(2), "{}", unreadable.said());
    assert!(unreadable.said().contains("could not use the config"), "{}", unreadable.said());
}

#[test]
fn a_screen_that_watches_makes_room_for_an_agent_and_neither_a_probe_nor_a_page_is_doubled() {
    // The kernel drops the lock with the run, also when that is cut short.
    let run = "exec 9>>running; flock -n 9 || echo twice >> overlaps; echo $$ >> runs; sleep 0.2; exit 1";
    let config = format!(
        "[[probe]]\nname = 'api'\ncommand = ['sh', '-c', '{run}']\ninterval = '1s'\nretry = '1s'\nfail = '1/1'\n\
         notify = ['script']\n[[notifier]]\nname = 'script'\nwait = '0s'\n\
         command = ['sh', '-c', 'test -e ok && cat >> pages && echo >> pages']\n"
    );
    let mut screen = Launch::new(&[]).config(&config).size(120, 40).start();
    screen.wait_for("no agent: watches while open");
    screen.wait_for("unsent");
    let log = screen.home().join("agent.log");
    let mut command = beside(&screen, &["agent"]);
    command.current_dir(screen.home()).stderr(fs::File::create(&log).expect("a log"));
    let mut agent = Agent { child: command.spawn().expect("started"), log };
    agent.until(WATCHES);
    screen.wait_for(&format!("agent pid {}", agent.child.id()));
    let (counted, overlaps) = (screen.home().join("runs"), screen.home().join("overlaps"));
    let runs = || fs::read_to_string(&counted).unwrap_or_default().lines().count();
    // What waited is sent by who watches now, once.
    fs::write(screen.home().join("ok"), "").expect("written");
    screen.wait_gone("unsent");
    let before = runs();
    until("more runs", || (runs() >= before + 3).then_some(()));
    let pages = fs::read_to_string(screen.home().join("pages")).expect("a page");
    assert_eq!(pages.matches("\nid: ").count(), 1, "{pages}");
    assert!(!overlaps.exists(), "two probed at once");

    // It is stopped in order, and a person takes over.
    agent.signal(Signal::TERM);
    assert!(agent.ended().success(), "{}", agent.said());
    screen.wait_for("LOST");
    screen.wait_for("W take over");
    screen.keys("Wy");
    screen.wait_for("no agent: watches while open");
    let before = runs();
    until("more runs", || (runs() >= before + 2).then_some(()));
    assert_eq!(fs::read_to_string(screen.home().join("pages")).expect("a page"), pages, "told once");
    assert!(!overlaps.exists(), "two probed at once");
    screen.keys("\x03");
    assert_eq!(screen.exit_code(), 0);
}

#[test]
fn an_agent_that_is_killed_at_any_moment_loses_no_page_and_damages_no_journal() {
    const PROBES: usize = 8;
    const KILLS: usize = 6;
    let sick = Web::start(|_| Said::status(500, "no"));
    let pages = Web::start(|_| Said::status(202, r#"{"status":"success"}"#));
    // A channel that keeps alerts apart has a delivery for each.
    let key = "0123456789abcdef0123456789abcdef";
    let mut config = format!(
        "[alerts]\ncommon = false\n[[notifier]]\nname = \"duty\"\nwait = \"0s\"\n\
         pagerduty = {{ key = \"{key}\", url = \"{}\" }}\n",
        pages.url()
    );
    for at in 0..PROBES {
        config += &format!(
            "[[probe]]\nname = \"p{at}\"\nhttp = \"{}/{at}\"\ninterval = \"1s\"\nretry = \"1s\"\nfail = \"1/1\"\n\
             notify = [\"duty\"]\n",
            sick.url()
        );
    }
    let world = World::new(&config);
    // What happens is written into the open incident as well.
    let declared = world.command(&["declare", "--severity", "2", "everything is down"]).output().expect("declared");
    assert!(declared.status.success(), "{}", String::from_utf8_lossy(&declared.stderr));
    // Killed after so many requests of whatever kind: while it starts, decides, sends, or rests.
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..KILLS {
        let mut agent = world.agent(&[]);
        agent.until("starting");
        let asked = || sick.asked().len() + pages.asked().len();
        let enough = asked() + random.usize(0..PROBES * 2);
        until("requests", || (asked() >= enough).then_some(()));
        agent.child.kill().expect("killed");
        agent.ended();
    }
    let mut agent = world.agent(&[]);
    agent.until(WATCHES);
    let traces = until("pages", || {
        let mut reader = Reader::new(&world.state(), None);
        let range = Timestamp::UNIX_EPOCH..Timestamp::MAX;
        let trace = |at| reader.trace(&ProbeId::new(&HostId::new("h"), &format!("p{at}")), range.clone()).ok();
        let traces: Vec<Trace> = (0..PROBES).map_while(trace).collect();
        let is_sent =
            |it: &Trace| matches!(&it.deliveries[..], [(it, _)] if matches!(it.state, DeliveryState::Sent { .. }));
        (traces.len() == PROBES && traces.iter().all(is_sent)).then_some(traces)
    });
    agent.signal(Signal::TERM);
    assert!(agent.ended().success());
    let mut keys: Vec<String> = pages.asked().iter().map(|it| dedup_key(&it.body)).collect();
    for Trace { deliveries, .. } in traces {
        let (kept, attempts) = &deliveries[0];
        let before = keys.len();
        keys.retain(|it| *it != kept.delivery.key);
        let times = before - keys.len();
        // An attempt whose end is not known may have arrived or not: it is repeated, with the same key.
        let unknown = attempts.iter().filter(|it| it.ended.is_none()).count();
        assert!((1..=1 + unknown).contains(&times), "{} came {times} times: {attempts:?}", kept.delivery.key);
    }
    assert!(keys.is_empty(), "pages that nobody decided: {keys:?}");

    let mut incidents = IncidentStore::new(&world.state(), &HostId::new("h"), "alice", jiff::tz::TimeZone::UTC);
    let names = incidents.names().expect("incidents");
    assert!(!names.is_empty());
    for name in names {
        let incident = incidents.load(&name).expect("readable");
        assert_eq!((incident.damaged_lines, incident.broken_links), (0, 0), "{name}");
        assert!(incident.log_book || incident.entries.len() > 1, "what the agent saw is in it: {:?}", incident.entries);
    }
    let checked = world.command(&["store", "check"]).stderr(Stdio::piped()).output().expect("checked");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

fn dedup_key(body: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    body["dedup_key"].as_str().expect("a key").to_string()
}

fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// An agent that serves metrics, and their port.
fn exposed(config: &str) -> (World, Agent, u16) {
    let port = free_port();
    let world = World::new(&format!("{config}[agent]\nmetrics = \"127.0.0.1:{port}\"\n"));
    let mut agent = world.agent(&[]);
    agent.until("metrics are served");
    agent.until(WATCHES);
    (world, agent, port)
}

#[test]
fn metrics_are_what_prometheus_asks_for() {
    let web = Web::start(|_| Said::status(200, "ok"));
    let config = format!(
        "[[probe]]\nname = \"we\\\"ird\"\nhttp = \"{}/\"\ngroup = \"g\"\n[[notifier]]\nname = \"hook\"\nwebhook = \"{}/hook\"\n",
        web.url(),
        web.url()
    );
    let (world, mut agent, port) = exposed(&config);
    agent.until("probe up");
    let page = get(port, "/metrics").expect("a page");
    let (head, body) = page.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("hotseat_probe_up{probe=\"we\\\"ird\"} 1\n"), "{body}");
    assert!(body.contains("hotseat_probe_phase_duration_seconds{probe=\"we\\\"ird\",phase=\"connect\"} "), "{body}");
    // Sums over hosts and time need the bounds that are documented.
    assert!(body.contains("\n# TYPE hotseat_probe_run_seconds histogram\n"), "{body}");
    for bound in ["0.001", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"] {
        let series =
            format!("hotseat_probe_phase_seconds_bucket{{probe=\"we\\\"ird\",phase=\"wait\",le=\"{bound}\"}} ");
        assert!(body.contains(&series), "{series}\n{body}");
    }
    assert!(body.contains("hotseat_probe_run_seconds_count{probe=\"we\\\"ird\"} 1\n"), "{body}");
    assert!(get(port, "/healthz").expect("an answer").ends_with("\r\n\r\nok\n"));
    assert!(get(port, "/other").expect("an answer").starts_with("HTTP/1.1 404"));

    let Some(promtool) = program("promtool") else { return };
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    check.stdin.take().expect("piped").write_all(body.as_bytes()).expect("written");
    let said = check.wait_with_output().expect("promtool");
    assert!(said.status.success() && said.stderr.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));
    scraped_by_prometheus(&world, port);
}

fn scraped_by_prometheus(world: &World, port: u16) {
    let Some(prometheus) = program("prometheus") else { return };
    let (own, config) = (free_port(), world.path("prometheus.yml"));
    let text = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: hotseat, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    );
    fs::write(&config, text).expect("written");
    let child = Command::new(prometheus)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", world.path("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{own}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("prometheus");
    let _prometheus = Agent { child, log: PathBuf::new() };
    let began = Instant::now();
    loop {
        let answer = get(own, "/api/v1/query?query=hotseat_healthy").unwrap_or_default();
        if answer.contains("\"part\":\"outbox\"") {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "prometheus has nothing: {answer}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The fenced blocks of the README that begin with a comment.
fn readme_block(first: &str) -> String {
    let readme = include_str!("../../README.md");
    let at = readme.find(first).unwrap_or_else(|| panic!("README has no `{first}`"));
    readme[at..].split("\n```").next().unwrap_or_default().to_string() + "\n"
}

#[test]
fn the_scrape_and_the_rules_of_the_readme_are_accepted() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = [("config", "# prometheus.yml"), ("rules", "# hotseat.rules.yml")];
    for (what, first) in files {
        let file = dir.path().join(format!("{what}.yml"));
        let text = readme_block(first).replace("/etc/prometheus/hotseat.rules.yml", "rules.yml");
        fs::write(&file, &text).expect("written");
    }
    let Some(promtool) = program("promtool") else { return };
    for (what, _) in files {
        let file = dir.path().join(format!("{what}.yml"));
        let said = Command::new(&promtool).args(["check", what]).arg(file).output().expect("promtool");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }
    // Every name that a rule asks for is served.
    let source = include_str!("../../src/agent/metrics.rs");
    for name in readme_block("# hotseat.rules.yml").split(|it: char| !(it.is_alphanumeric() || it == '_')) {
        let is_metric = name.starts_with("hotseat_");
        assert!(!is_metric || source.contains(&format!("\"{name}\"")), "`{name}` is not served");
    }
}

#[test]
fn a_dead_mans_switch_hears_beats_as_long_as_the_agent_is_well_and_its_address_stays_secret() {
    let switch = Web::start(|_| Said::status(200, "ok"));
    let world = World::new(&format!("[agent]\nbeat = \"{}/ping/0123456789abcdef\"\nevery = \"5s\"\n", switch.url()));
    let mut agent = world.agent(&[]);
    agent.until("beat taken");
    assert_eq!(switch.asked()[0].path, "/ping/0123456789abcdef");
    assert!(!agent.said().contains("0123456789abcdef"), "{}", agent.said());
}

#[test]
fn a_dead_mans_switch_that_takes_nothing_is_told_on_every_screen_until_it_does() {
    let switch = Web::start(|asked| {
        let status = if asked.path.ends_with("/1") { 500 } else { 200 };
        Said::status(status, "no")
    });
    let world = World::new(&format!("[agent]\nbeat = \"{}/ping/1\"\nevery = \"5s\"\n", switch.url()));
    let mut agent = world.agent(&[]);
    agent.until("could not send a beat");
    let status = || {
        String::from_utf8(world.command(&["agent", "status"]).stdout(Stdio::piped()).output().expect("ran").stdout)
            .expect("text")
    };
    let failed = "failed   dead man's switch: it takes no beat, and will ring: 127.0.0.1 answered 500";
    until("the failure", || status().contains(failed).then_some(()));
    world.configure(&format!("[agent]\nbeat = \"{}/ping/2\"\nevery = \"5s\"\n", switch.url()));
    agent.until("beat taken");
    until("its end", || (!status().contains("dead man's switch")).then_some(()));
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let world = World::new("[[probe]]\nname = \"a\"\nicmp = \"127.0.0.1\"\n[[log]]\nname = \"j\"\njournald = true\n");
    let Some(analyze) = program("systemd-analyze") else { return };
    for arguments in [&["agent", "install", "--print"][..], &["agent", "install", "--print", "--user"]] {
        let printed = world.command(arguments).stdout(Stdio::piped()).output().expect("printed");
        assert!(printed.status.success());
        let unit = world.path("hotseat-agent.service");
        fs::write(&unit, &printed.stdout).expect("written");
        let said = Command::new(&analyze).arg("verify").arg(&unit).output().expect("systemd-analyze");
        let words = String::from_utf8_lossy(&said.stderr).into_owned();
        let ours: Vec<&str> = words.lines().filter(|it| it.contains("hotseat")).collect();
        assert!(ours.is_empty(), "{words}\n{}", String::from_utf8_lossy(&printed.stdout));
    }
    assert!(!Path::new(&world.path("state")).exists(), "printing leaves nothing");
}
