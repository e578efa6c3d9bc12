//! What every kind that connects shares: a name to its addresses, a connection, and errors told apart.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::clock;
use crate::domain::format;
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Lack, Phase, Phases, ProbeResult, Trouble};
use crate::domain::sanitise;
use crate::registry::node::Node;
use crate::service::lack;
use crate::service::probe::private;

/// Addresses of one name that are looked at: more than a pool behind one name usually has.
pub const ADDRESSES_MAX: usize = 16;

tokio::task_local! {
    /// Deadline and timeout of the run that this task is for: what is left of it at a phase is no number of the config.
    pub static RUN: (Instant, Duration);
}

/// A connection, whatever it goes through.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection, whatever it goes through.
pub type Stream = Box<dyn Io>;

/// A result with what went wrong.
pub type Verdict = (ProbeResult, Trouble);

/// Does everything at once within this task; the answers are in the order of the work.
pub async fn all<T, F: Future<Output = T>>(work: impl Iterator<Item = F>) -> Vec<T> {
    let mut slots: Vec<(Pin<Box<F>>, Option<T>)> = work.map(|it| (Box::pin(it), None)).collect();
    std::future::poll_fn(|cx| {
        for (work, answer) in &mut slots {
            if answer.is_none()
                && let Poll::Ready(it) = work.as_mut().poll(cx)
            {
                *answer = Some(it);
            }
        }
        if slots.iter().all(|(_, answer)| answer.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    slots.into_iter().filter_map(|(_, answer)| answer).collect()
}

/// A service that does not answer as it should.
pub fn fail(cause: Cause, brief: &str, text: impl Into<String>) -> Verdict {
    (ProbeResult::Fail, Trouble::new(cause, brief, sanitise::text(&text.into())))
}

/// Waits for a phase until the deadline and adds its time, also when it did not end well.
///
/// # Errors
/// What the phase answered, or that it did not end in time.
pub async fn timed<T>(
    phases: &mut Phases,
    phase: Phase,
    deadline: Instant,
    work: impl Future<Output = Result<T, Verdict>>,
) -> Result<T, Verdict> {
    let begun = clock::monotonic();
    let budget = deadline.saturating_duration_since(clock::timer());
    let result = tokio::time::timeout_at(deadline, work).await;
    phases.add(phase, clock::monotonic() - begun);
    result.unwrap_or_else(|_| Err(timeout(phase, whole(deadline).unwrap_or_else(|| phases.total().max(budget)))))
}

/// The timeout of the run that this task is for, when this is its deadline.
pub fn whole(deadline: Instant) -> Option<Duration> {
    RUN.try_with(|(end, timeout)| (*end == deadline).then_some(*timeout)).ok().flatten()
}

/// The deadline passed in a phase.
pub fn timeout(phase: Phase, after: Duration) -> Verdict {
    let text = match phase {
        Phase::Dns => "the resolver did not answer",
        Phase::Connect => "no answer to the connection",
        Phase::Proxy => "the proxy did not open the way",
        Phase::Tls => "the TLS handshake did not end",
        Phase::Wait => "connected, but no answer came",
        Phase::Body => "the answer began but did not end",
        Phase::Run => "the command did not end",
    };
    fail(
        Cause::Timeout(phase),
        "timeout",
        format!("timeout in {}: {text} within {}", phase.word(), format::duration(after)),
    )
}

/// Finds one address of a host. A literal address takes no time and is no phase.
///
/// The first address and no other is used: half up is not up.
///
/// # Errors
/// When there is none.
pub async fn resolve(phases: &mut Phases, deadline: Instant, host: &str, port: u16) -> Result<SocketAddr, Verdict> {
    // A host without an address is an error below, so there is a first one.
    let first = |addresses: Vec<SocketAddr>| addresses.into_iter().next();
    let found = first(resolve_all(phases, deadline, host, port).await?);
    found.ok_or_else(|| fail(Cause::Dns, "dns", format!("`{host}` has no address")))
}

/// Finds all addresses of a host, at least one and at most [`ADDRESSES_MAX`], each once.
///
/// # Errors
/// When there is none.
pub async fn resolve_all(
    phases: &mut Phases,
    deadline: Instant,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, Verdict> {
    if let Ok(address) = host.parse() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    timed(phases, Phase::Dns, deadline, async {
        match tokio::net::lookup_host((host, port)).await {
            Ok(addresses) => {
                let mut found: Vec<SocketAddr> = Vec::new();
                for address in addresses.take(ADDRESSES_MAX) {
                    if !found.contains(&address) {
                        found.push(address);
                    }
                }
                if found.is_empty() {
                    return Err(fail(Cause::Dns, "dns", format!("`{host}` has no address")));
                }
                Ok(found)
            }
            Err(error) => {
                if let Some(lack) = lack::of(&error) {
                    return Err(lacking(lack, &format!("could not resolve `{host}`"), &error));
                }
                let text = error.to_string();
                let why = text.trim_start_matches("failed to lookup address information: ");
                Err(fail(Cause::Dns, "dns", format!("could not resolve `{host}`: {why}")))
            }
        }
    })
    .await
}

/// Refuses an address that does not belong to the public internet.
///
/// The address that was checked is the one connected to: the name is not asked again in between.
///
/// # Errors
/// When it is private, of this machine, or otherwise special.
pub fn deny_private(host: &str, address: SocketAddr) -> Result<(), Verdict> {
    if !private::is_private(address.ip()) {
        return Ok(());
    }
    let text = format!("`{host}` leads to {}, which `deny_private` rules out", address.ip());
    Err(fail(Cause::Dns, "private", text))
}

/// Connects to an address.
///
/// # Errors
/// When nothing listens, no route leads there, or nobody answers in time.
pub async fn connect(phases: &mut Phases, deadline: Instant, address: SocketAddr) -> Result<TcpStream, Verdict> {
    timed(phases, Phase::Connect, deadline, async {
        let stream = TcpStream::connect(address).await.map_err(|error| connect_trouble(address, &error))?;
        // Only a delay less; a stream that refuses it will say so when it is written to.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    })
    .await
}

fn connect_trouble(address: SocketAddr, error: &io::Error) -> Verdict {
    if let Some(verdict) = own_fault(error) {
        return verdict;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            fail(Cause::Refused, "refused", format!("refused: nothing listens on {address}"))
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            fail(Cause::Unreachable, "unreachable", format!("unreachable: no route to {address}"))
        }
        io::ErrorKind::TimedOut => {
            fail(Cause::Timeout(Phase::Connect), "timeout", format!("timeout in connect: {address} does not answer"))
        }
        io::ErrorKind::ConnectionReset => fail(Cause::Reset, "reset", format!("reset by {address} while connecting")),
        _ => fail(Cause::Unreachable, "unreachable", format!("could not connect to {address}: {error}")),
    }
}

/// Tells whether an error is our own fault (descriptors, memory, ports), which is never reported as their outage.
pub fn own_fault(error: &io::Error) -> Option<Verdict> {
    if let Some(lack) = lack::of(error) {
        return Some(lacking(lack, "could not check", error));
    }
    let what = match Errno::from_io_error(error)? {
        Errno::ADDRNOTAVAIL => "out of local ports or no local address fits",
        Errno::ACCESS | Errno::PERM => "not permitted on this machine",
        _ => return None,
    };
    let text = format!("could not check: {what} ({error})");
    Some((ProbeResult::Unknown, Trouble::new(Cause::Own, "cannot check", text)))
}

/// What could not be done because this host lacks something.
pub fn lacking(lack: Lack, what: &str, error: &io::Error) -> Verdict {
    let text = format!("{what}: this host {} ({error})", lack.text());
    (ProbeResult::Unknown, Trouble::new(Cause::Own, lack.word(), sanitise::text(&text)))
}

/// A check that is not begun because this host lacks something.
pub fn short_of(lack: Lack) -> Observation {
    let text = format!("could not check: this host {}", lack.text());
    Observation::failed(ProbeResult::Unknown, Trouble::new(Cause::Own, lack.word(), text))
}

/// Reads `host:port` (`[::1]:443` for IPv6); a mistake is reported at the node.
pub fn host_and_port(node: &Node<'_>) -> Option<(String, u16)> {
    let text = node.string()?;
    let hint = "write `host:port`";
    let Some((host, port)) = text.rsplit_once(':') else {
        node.error_with_hint(format!("`{text}` has no port"), hint);
        return None;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse::<u16>().ok().filter(|it| *it > 0);
    let Some(port) = port.filter(|_| !host.is_empty() && !host.contains(['/', '@', ' '])) else {
        node.error_with_hint(format!("`{text}` is not a host and a port from 1 to 65535"), hint);
        return None;
    };
    Some((host.to_string(), port))
}

/// Writes a host and a port as they are written in a config.
pub fn shown(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_timeout_says_that_of_the_probe_and_not_what_was_left() {
        let (begun, whole) = (clock::timer(), Duration::from_secs(5));
        let late = async |deadline: Instant| {
            let work = std::future::pending::<Result<(), Verdict>>();
            let (_, trouble) = timed(&mut Phases::default(), Phase::Tls, deadline, work).await.expect_err("late");
            trouble.text
        };
        let run = begun + whole;
        tokio::time::advance(Duration::from_secs(2)).await;
        let said = RUN.scope((run, whole), late(run)).await;
        assert_eq!(said, "timeout in tls: the TLS handshake did not end within 5.0s");
        let own = clock::timer() + Duration::from_secs(1);
        let said = RUN.scope((run, whole), late(own)).await;
        assert_eq!(said, "timeout in tls: the TLS handshake did not end within 1.0s", "a deadline of its own");
    }
}
