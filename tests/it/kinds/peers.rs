//! Real peers of this test alone: found by name, started on a free port, always stopped.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// Finds a program; says so when it is not there, and fails where it must be.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let places = format!("{path}:/usr/sbin:/usr/local/sbin:/usr/lib/nagios/plugins");
    let found = std::env::split_paths(&places).map(|it| it.join(name)).find(|it| it.is_file());
    if found.is_none() {
        assert!(std::env::var_os("HOTSEAT_REQUIRE_PEERS").is_none(), "`{name}` is not installed");
        // The harness shows it with `--nocapture`.
        let _ = std::io::stderr().write_all(format!("skipped: {name} not found\n").as_bytes());
    }
    found
}

/// A port that nobody uses now, for TCP and UDP.
pub fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A program with all that it started, ended when dropped.
pub struct Peer {
    child: Child,
    pub port: u16,
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

impl Peer {
    /// Starts a program and waits until its port takes connections. Another program may take the port before
    /// it does; then it ends and gets another one.
    pub fn start(command: impl Fn(u16) -> Command) -> Self {
        use std::os::unix::process::CommandExt;
        loop {
            let port = free_port();
            let mut command = command(port);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
            let mut peer = Self { child: command.spawn().expect("it starts"), port };
            loop {
                if TcpStream::connect(peer.address()).is_ok() {
                    return peer;
                }
                if peer.child.try_wait().expect("its state").is_some() {
                    break;
                }
                std::thread::yield_now();
            }
        }
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
}
