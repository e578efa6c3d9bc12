//! Logs of another host over a real OpenSSH server on the loopback.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use hotseat::config;
use hotseat::domain::fact::Fact;
use hotseat::domain::ids::HostId;
use hotseat::domain::log::{LogFact, SourceState};
use hotseat::service::log::{LogService, LogSpec};
use hotseat::service::{FactSender, ServiceSetup};
use rustix::process::{Pid, Signal, kill_process};
use tokio_util::sync::CancellationToken;

/// A deadline that only a broken test meets.
const LONG: Duration = Duration::from_secs(60);

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    std::env::split_paths(&format!("{path}:/usr/sbin:/usr/local/sbin")).map(|it| it.join(name)).find(|it| it.is_file())
}

/// An OpenSSH server of this test alone: its own port, keys and config.
struct Server {
    directory: tempfile::TempDir,
    child: Child,
}

impl Server {
    /// `None` where there is no OpenSSH.
    fn start() -> Option<Self> {
        for name in ["sshd", "ssh", "ssh-keygen"] {
            if program(name).is_none() {
                assert!(std::env::var_os("HOTSEAT_REQUIRE_PEERS").is_none(), "`{name}` is not installed");
                // The harness shows it with `--nocapture`.
                let _ = std::io::stderr().write_all(format!("skipped: {name} not found\n").as_bytes());
                return None;
            }
        }
        let directory = tempfile::tempdir().unwrap();
        for key in ["host", "user", "stranger"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(directory.path().join(key))
                .status()
                .unwrap();
            assert!(made.success());
        }
        fs::copy(directory.path().join("user.pub"), directory.path().join("authorized_keys")).unwrap();
        // A server that is started by root wants it to be there, and packages leave that to the service manager.
        if rustix::process::geteuid().is_root() {
            let _ = fs::DirBuilder::new().mode(0o755).create("/run/sshd");
        }
        // Another program may take a free port before the server does; then it says so and ends.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Some(child) = serve(directory.path(), port) {
                write_client_config(directory.path(), port);
                return Some(Self { directory, child });
            }
        }
        panic!("sshd does not start: {}", fs::read_to_string(directory.path().join("sshd.log")).unwrap_or_default());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Kills what serves the connections, as a network that goes away would.
    fn cut(&self) {
        for pid in children_of(self.child.id()) {
            let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL);
        }
    }

    fn specs(&self, ssh: &str, client: &str) -> Vec<LogSpec> {
        let client = self.path(client);
        let text = format!("[[log]]\nname = \"web\"\nssh = {{ {ssh}, config = \"{}\" }}\n", client.display());
        let (config, errors) = config::parse("c.toml", &text);
        assert!(errors.is_empty(), "{errors:?}");
        config.logs
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cut();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(directory: &Path, port: u16) -> Option<Child> {
    let d = directory.display();
    let text = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {d}/host\nAuthorizedKeysFile {d}/authorized_keys\nPidFile none\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPrintMotd no\n\
         PermitRootLogin yes\nMaxStartups 100\n"
    );
    fs::write(directory.join("sshd_config"), text).unwrap();
    let mut child = Command::new(program("sshd").unwrap())
        .arg("-D")
        .arg("-f")
        .arg(directory.join("sshd_config"))
        .arg("-E")
        .arg(directory.join("sshd.log"))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let greets = || {
        let mut greeting = [0; 4];
        let stream = std::net::TcpStream::connect(("127.0.0.1", port));
        stream.is_ok_and(|mut it| it.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-")
    };
    while child.try_wait().unwrap().is_none() {
        if greets() {
            return Some(child);
        }
        std::thread::yield_now();
    }
    None
}

/// `client` logs in, `stranger` is not let in.
fn write_client_config(directory: &Path, port: u16) {
    let d = directory.display();
    let host = fs::read_to_string(directory.join("host.pub")).unwrap();
    fs::write(directory.join("known_hosts"), format!("[127.0.0.1]:{port} {host}")).unwrap();
    for (name, key) in [("client", "user"), ("stranger_client", "stranger")] {
        let text = format!(
            "Host *\nHostName 127.0.0.1\nPort {port}\nIdentityFile {d}/{key}\nIdentitiesOnly yes\nIdentityAgent none\n\
             UserKnownHostsFile {d}/known_hosts\nGlobalKnownHostsFile none\nStrictHostKeyChecking yes\n"
        );
        fs::write(directory.join(name), text).unwrap();
    }
}

fn children_of(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    let parent_of = |pid: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let mut found: Vec<u32> = pids.filter(|it| parent_of(*it) == Some(parent)).collect();
    // With privilege separation the connection is a grandchild.
    for child in found.clone() {
        found.extend(children_of(child));
    }
    found
}

struct Reader {
    service: LogService,
    setup: ServiceSetup,
    states: Receiver<SourceState>,
    _state_dir: tempfile::TempDir,
}

impl Reader {
    fn start(specs: Vec<LogSpec>) -> Self {
        let state_dir = tempfile::tempdir().unwrap();
        let (facts, mut facts_rx) = FactSender::channel();
        let setup = ServiceSetup {
            host: HostId::new("h"),
            user: "tester".into(),
            state_dir: state_dir.path().to_path_buf(),
            facts,
            cancel: CancellationToken::new(),
        };
        let (states_tx, states) = sync_channel(1000);
        std::thread::spawn(move || {
            while let Some((_, fact)) = facts_rx.blocking_recv() {
                if let Fact::Log(LogFact::State { state, .. }) = fact {
                    let _ = states_tx.try_send(state);
                }
            }
        });
        Self { service: LogService::start_opened(&setup, specs), setup, states, _state_dir: state_dir }
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let sources = self.service.engine().sources();
        let Some(source) = sources.iter().find(|it| it.name == name) else { return Vec::new() };
        let parts = source.snapshot().parts;
        let bytes: Vec<u8> = parts.iter().flat_map(|it| it.segment.read(0, it.size_bytes).unwrap()).collect();
        String::from_utf8(bytes).unwrap().lines().map(str::to_string).collect()
    }

    fn gaps(&self, name: &str) -> Vec<String> {
        let sources = self.service.engine().sources();
        let source = sources.iter().find(|it| it.name == name).unwrap();
        let parts = source.snapshot().parts;
        parts.iter().filter_map(|it| Some(format!("{:?}", it.gap.as_ref()?.kind))).collect()
    }

    fn wait_until(&self, holds: impl Fn(&Self) -> bool) {
        let engine = self.service.engine();
        loop {
            let seen = engine.changes();
            if holds(self) {
                return;
            }
            let told: Vec<SourceState> = self.states.try_iter().collect();
            assert!(engine.wait_for_change(seen, LONG), "nothing changes any more: {told:?}");
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.setup.cancel.cancel();
        self.service.wait_until_stopped();
    }
}

fn write(file: &mut File, numbers: std::ops::Range<u32>) {
    let text: String = numbers.map(|it| format!("line {it}\n")).collect();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_file_of_two_hosts_is_followed_through_lost_connections_and_a_rotation() {
    let Some(server) = Server::start() else { return };
    let path = server.path("app's log");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    write(&mut file, 0..2000);
    let ssh = format!("host = [\"web1\", \"web2\"], path = \"{}\"", path.display());
    let reader = Reader::start(server.specs(&ssh, "client"));
    let names = ["web:web1", "web:web2"];
    let until = |number: u32| {
        reader.wait_until(|it| names.iter().all(|name| it.lines(name).last() == Some(&format!("line {number}"))));
    };
    until(1999);
    write(&mut file, 2000..2010);
    until(2009);
    server.cut();
    write(&mut file, 2010..2100);
    until(2099);
    server.cut();
    write(&mut file, 2100..2200);
    fs::rename(&path, server.path("app's log.1")).unwrap();
    let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    write(&mut file, 2200..2300);
    until(2299);
    let expected: Vec<String> = (0..2300).map(|it| format!("line {it}")).collect();
    for name in names {
        assert_eq!(reader.lines(name), expected, "{name}");
        let gaps = reader.gaps(name);
        let resumed = gaps.iter().filter(|it| it.starts_with("Reconnected") && it.contains("resumed: true")).count();
        assert_eq!((resumed, gaps.len(), gaps.last().map(String::as_str)), (2, 3, Some("Rotated")), "{gaps:?}");
    }
}

#[test]
fn a_program_of_another_host_is_followed_and_a_stranger_is_told_why_it_may_not() {
    let Some(server) = Server::start() else { return };
    let reader =
        Reader::start(server.specs(r#"host = "web1", command = ["printf", "%s\n", "a b", "it's", "$HOME"]"#, "client"));
    reader.wait_until(|it| it.lines("web").len() >= 3);
    assert_eq!(reader.lines("web")[..3], ["a b", "it's", "$HOME"]);
    let stranger = Reader::start(server.specs("host = \"web1\", path = \"/etc/hostname\"", "stranger_client"));
    let refused = loop {
        if let SourceState::Reconnecting { why, .. } = stranger.states.recv_timeout(LONG).expect("a state") {
            break why;
        }
    };
    assert!(refused.ends_with("Permission denied (publickey)."), "{refused}");
}
