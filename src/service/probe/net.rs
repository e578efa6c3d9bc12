//! What http and tcp share: a name to one address, a connection, and errors told apart.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::clock;
use crate::domain::format;
use crate::domain::probe::outcome::{Cause, Phase, Phases, ProbeResult, Trouble};
use crate::domain::sanitise;

/// A result with what went wrong.
pub type Verdict = (ProbeResult, Trouble);

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
    result.unwrap_or_else(|_| Err(timeout(phase, phases.total().max(budget))))
}

/// The deadline passed in a phase.
pub fn timeout(phase: Phase, after: Duration) -> Verdict {
    let text = match phase {
        Phase::Dns => "the resolver did not answer",
        Phase::Connect => "no answer to the connection",
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
    if let Ok(address) = host.parse() {
        return Ok(SocketAddr::new(address, port));
    }
    timed(phases, Phase::Dns, deadline, async {
        match tokio::net::lookup_host((host, port)).await {
            Ok(mut addresses) => {
                addresses.next().ok_or_else(|| fail(Cause::Dns, "dns", format!("`{host}` has no address")))
            }
            Err(error) => {
                let text = error.to_string();
                let why = text.trim_start_matches("failed to lookup address information: ");
                Err(fail(Cause::Dns, "dns", format!("could not resolve `{host}`: {why}")))
            }
        }
    })
    .await
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
    let what = match Errno::from_io_error(error)? {
        Errno::MFILE | Errno::NFILE => "out of file descriptors",
        Errno::NOBUFS | Errno::NOMEM => "out of memory",
        Errno::ADDRNOTAVAIL => "out of local ports or no local address fits",
        Errno::ACCESS | Errno::PERM => "not permitted on this machine",
        _ => return None,
    };
    let text = format!("could not check: {what} ({error})");
    Some((ProbeResult::Unknown, Trouble::new(Cause::Own, "cannot check", text)))
}
