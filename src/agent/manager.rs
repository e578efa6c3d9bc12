//! What the service manager is told, by the protocol of `sd_notify(3)`: datagrams of `KEY=value` lines to the socket
//! that `$NOTIFY_SOCKET` names. Without one nothing is sent and nothing fails.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use crate::clock;
use crate::domain::sanitise;

/// Bytes of a status: it is one line of `systemctl status`.
const STATUS_MAX: usize = 512;

/// The service manager that has started this process, if one has.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// Finds it by the environment: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
    pub fn of_environment() -> Self {
        Self::of(|name| std::env::var_os(name), std::process::id())
    }

    /// Finds it by what the variables of a process say. A socket that cannot be used is as good as none.
    pub fn of(variable: impl Fn(&str) -> Option<OsString>, pid: u32) -> Self {
        let named = variable("NOTIFY_SOCKET").filter(|it| !it.is_empty());
        let socket = named.and_then(|name| {
            let address = address(&name).inspect_err(|error| {
                tracing::warn!(%error, "could not use the service manager's socket");
            });
            let socket = UnixDatagram::unbound().ok()?;
            // The manager reads at once; should it hang, watching matters more than telling.
            socket.set_nonblocking(true).ok()?;
            Some((socket, address.ok()?))
        });
        let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
        // It may be meant for the process that started us.
        let is_ours = number("WATCHDOG_PID").is_none_or(|it| it == u64::from(pid));
        let watchdog = number("WATCHDOG_USEC").filter(|it| is_ours && *it > 0).map(Duration::from_micros);
        Self { watchdog: watchdog.filter(|_| socket.is_some()), socket }
    }

    /// How often [`Manager::alive`] must be called: half of what the manager waits for. `None` when it does not wait.
    pub fn alive_every(&self) -> Option<Duration> {
        self.watchdog.map(|it| it / 2)
    }

    /// It runs.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\n{}", status_line(status)));
    }

    /// How it is, in one line.
    pub fn status(&self, status: &str) {
        self.send(&status_line(status));
    }

    /// The config is being read again; [`Manager::ready`] says when that is over.
    pub fn reloading(&self) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}\n", clock::monotonic_us()));
    }

    /// It ends. `takes` is how long that may take at most.
    pub fn stopping(&self, status: &str, takes: Duration) {
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}\n{}", takes.as_micros(), status_line(status)));
    }

    /// It still does its work.
    pub fn alive(&self) {
        self.send("WATCHDOG=1\n");
    }

    fn send(&self, text: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(text.as_bytes(), address) {
            tracing::debug!(%error, "could not tell the service manager");
        }
    }
}

fn status_line(status: &str) -> String {
    let mut status = sanitise::text(status);
    let mut end = status.len().min(STATUS_MAX);
    while !status.is_char_boundary(end) {
        end -= 1;
    }
    status.truncate(end);
    format!("STATUS={status}\n")
}

/// A path, or with `@` in front a name that no file system holds.
fn address(name: &OsString) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(Path::new(name)),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor a name that begins with `@`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(variables: &[(&str, &str)], pid: u32) -> Manager {
        let variables: Vec<(String, OsString)> =
            variables.iter().map(|(name, value)| ((*name).to_string(), OsString::from(value))).collect();
        Manager::of(|name| variables.iter().find(|(it, _)| it == name).map(|(_, it)| it.clone()), pid)
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 2048];
        let length = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    }

    fn tells_everything(name: &str, socket: &UnixDatagram) {
        let manager = manager(&[("NOTIFY_SOCKET", name), ("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "42")], 42);
        assert_eq!(manager.alive_every(), Some(Duration::from_millis(1_500)));
        manager.ready("watches 2 probes\nFDSTORE=1");
        let said = heard(socket);
        assert_eq!(said.lines().count(), 2, "a status is one line, whatever it says: {said}");
        assert!(said.starts_with("READY=1\nSTATUS=watches 2 probes"), "{said}");
        manager.reloading();
        let said = heard(socket);
        let at = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|it| it.trim().parse::<u64>().ok());
        assert!(at.is_some_and(|it| it <= clock::monotonic_us()), "{said}");
        manager.alive();
        assert_eq!(heard(socket), "WATCHDOG=1\n");
        manager.stopping("bye", Duration::from_secs(2));
        assert_eq!(heard(socket), "STOPPING=1\nEXTEND_TIMEOUT_USEC=2000000\nSTATUS=bye\n");
    }

    #[test]
    fn it_is_told_by_a_path() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        tells_everything(path.to_str().expect("text"), &socket);
    }

    #[test]
    fn it_is_told_by_an_abstract_name() {
        let name = format!("hotseat-test-{}-{}", std::process::id(), uuid::Uuid::now_v7());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("bound");
        tells_everything(&format!("@{name}"), &socket);
    }

    #[test]
    fn without_a_manager_nothing_is_told_and_nothing_fails() {
        for variables in
            [vec![], vec![("NOTIFY_SOCKET", "")], vec![("NOTIFY_SOCKET", "relative"), ("WATCHDOG_USEC", "5")]]
        {
            let manager = manager(&variables, 1);
            assert_eq!(manager.alive_every(), None);
            manager.ready("here");
        }
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("gone");
        let path = path.to_str().expect("text");
        manager(&[("NOTIFY_SOCKET", path)], 1).ready("here");
        let other = manager(&[("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "7")], 42);
        assert_eq!(other.alive_every(), None, "the watchdog is for another process");
    }
}
