//! An OpenSSH server on the loopback: its own port, keys and config, and connections that can be cut.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::netns::Net;

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    std::env::split_paths(&format!("{path}:/usr/sbin:/usr/local/sbin")).map(|it| it.join(name)).find(|it| it.is_file())
}

/// An OpenSSH server of this test alone: its own port, keys and config.
pub struct Server {
    directory: tempfile::TempDir,
    child: Child,
    port: u16,
}

impl Server {
    /// `None` where there is no OpenSSH.
    pub fn start() -> Option<Self> {
        Self::start_at("127.0.0.1", &[])
    }

    /// As [`Server::start`], on a host of its own.
    pub fn start_in(net: &Net) -> Option<Self> {
        Self::start_at(net.address(), &net.enter())
    }

    /// `before` stands before the words of the server.
    fn start_at(address: &str, before: &[String]) -> Option<Self> {
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
            if let Some(child) = serve(directory.path(), (address, port), before) {
                write_client_config(directory.path(), (address, port));
                return Some(Self { directory, child, port });
            }
        }
        panic!("sshd does not start: {}", fs::read_to_string(directory.path().join("sshd.log")).unwrap_or_default());
    }

    /// A path in the server's own directory; `client` is the config of who may log in, `stranger_client` of who may not.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets the key of who may log in run this command and nothing else.
    pub fn forces(&self, command: &str) {
        let key = fs::read_to_string(self.path("user.pub")).unwrap();
        fs::write(self.path("authorized_keys"), format!("restrict,command=\"{command}\" {key}")).unwrap();
    }

    /// Writes the config of a client that reaches the server by another port, and returns where.
    pub fn client_by(&self, port: u16) -> PathBuf {
        let text = fs::read_to_string(self.path("client")).unwrap();
        let text = text.replace(&format!("Port {}", self.port), &format!("Port {port}\nHostKeyAlias relayed"));
        let host = fs::read_to_string(self.path("host.pub")).unwrap();
        let mut known = fs::OpenOptions::new().append(true).open(self.path("known_hosts")).unwrap();
        known.write_all(format!("relayed {host}").as_bytes()).unwrap();
        let path = self.path("relayed_client");
        fs::write(&path, text).unwrap();
        path
    }

    /// Kills what serves the connections, as a network that goes away would.
    pub fn cut(&self) {
        for pid in children_of(self.child.id()) {
            let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cut();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(directory: &Path, (address, port): (&str, u16), before: &[String]) -> Option<Child> {
    let d = directory.display();
    let text = format!(
        "Port {port}\nListenAddress {address}\nHostKey {d}/host\nAuthorizedKeysFile {d}/authorized_keys\nPidFile none\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPrintMotd no\n\
         PermitRootLogin yes\nMaxStartups 100\n"
    );
    fs::write(directory.join("sshd_config"), text).unwrap();
    let sshd = program("sshd").unwrap().into_os_string();
    let mut words = before.iter().map(Into::into).chain([sshd]);
    let mut child = Command::new(words.next().unwrap())
        .args(words)
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
        let stream = std::net::TcpStream::connect((address, port));
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
fn write_client_config(directory: &Path, (address, port): (&str, u16)) {
    let d = directory.display();
    let host = fs::read_to_string(directory.join("host.pub")).unwrap();
    fs::write(directory.join("known_hosts"), format!("[{address}]:{port} {host}")).unwrap();
    for (name, key) in [("client", "user"), ("stranger_client", "stranger")] {
        let text = format!(
            "Host *\nHostName {address}\nPort {port}\nIdentityFile {d}/{key}\nIdentitiesOnly yes\nIdentityAgent none\n\
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
