//! The three ways to ping: a socket of our own, the system's program, a TCP connection.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as StdUdpSocket};
use std::process::Stdio;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpStream, UdpSocket};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock;
use crate::service::probe::icmp::echo::{self, Pings};

/// Ports that are tried when nothing else may be: one of them answers on most hosts, if only to refuse.
const PORTS: &[u16] = &[443, 80, 22, 7];

/// What is to be sent.
pub struct Plan {
    /// Where to.
    pub address: IpAddr,
    /// Requests.
    pub count: u16,
    /// Bytes behind the header.
    pub size: u16,
    /// Between two requests.
    pub pause: Duration,
    /// After the last request.
    pub wait: Duration,
    /// When it must be over.
    pub end: Instant,
}

/// Why a way could not be gone.
pub enum Refused {
    /// Not here: another way may do.
    NotAllowed(String),
    /// No way leads there.
    Unreachable(String),
}

impl Refused {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => Self::Unreachable(error.to_string()),
            _ => Self::NotAllowed(error.to_string()),
        }
    }
}

/// Opens a datagram socket for ICMP; connected, so that only its replies come.
///
/// # Errors
/// When the kernel refuses, by `net.ipv4.ping_group_range` or because there is no way.
pub fn open(address: IpAddr) -> io::Result<StdUdpSocket> {
    let (domain, protocol) = match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.connect(&SocketAddr::new(address, 0).into())?;
    Ok(socket.into())
}

/// Sends echo requests through a socket of our own.
///
/// # Errors
/// See [`Refused`].
pub async fn by_socket(plan: &Plan) -> Result<Pings, Refused> {
    let refused = |error: io::Error| Refused::of(&error);
    let socket = open(plan.address).and_then(UdpSocket::from_std).map_err(refused)?;
    let is_v6 = plan.address.is_ipv6();
    let token = fastrand::u64(..);
    let mut sent_at: Vec<Instant> = Vec::with_capacity(plan.count.into());
    let mut times: Vec<Option<Duration>> = Vec::with_capacity(plan.count.into());
    let begun = clock::timer();
    let left = plan.end.saturating_duration_since(begun);
    // All of them fit before the end, with as much again for the last reply.
    let pause = plan.pause.min(left / (2 * u32::from(plan.count)));
    let mut buffer = vec![0; 2048];
    let mut next = begun;
    loop {
        let now = clock::timer();
        let is_sent = times.len() == usize::from(plan.count);
        if !is_sent && now >= next {
            let sequence = u16::try_from(times.len()).unwrap_or(u16::MAX);
            // Before it goes: on a loopback the reply is there before the call returns.
            sent_at.push(clock::timer());
            match socket.send(&echo::request(is_v6, sequence, token, plan.size)).await {
                // An error of an earlier packet, which is lost then.
                Err(error) if Refused::is_of_path(&error) => {}
                Err(error) => return Err(Refused::of(&error)),
                Ok(_) => {}
            }
            times.push(None);
            next += pause;
            continue;
        }
        if is_sent && times.iter().all(Option::is_some) {
            break;
        }
        let last = sent_at.last().copied().unwrap_or(begun);
        let until = if is_sent { (last + plan.wait).min(plan.end) } else { next };
        match tokio::time::timeout_at(until, socket.recv(&mut buffer)).await {
            Ok(Ok(length)) => {
                let now = clock::timer();
                if let Some(sequence) = echo::reply(is_v6, &buffer[..length], token).map(usize::from)
                    && let (Some(time), Some(sent)) = (times.get_mut(sequence), sent_at.get(sequence))
                {
                    time.get_or_insert(now - *sent);
                }
            }
            Ok(Err(error)) if Refused::is_of_path(&error) => {}
            Ok(Err(error)) => return Err(Refused::of(&error)),
            Err(_) if is_sent => break,
            Err(_) => {}
        }
        if clock::timer() >= plan.end {
            break;
        }
    }
    let sent = u16::try_from(times.len()).unwrap_or(u16::MAX);
    Ok(Pings { sent, times: times.into_iter().flatten().collect() })
}

impl Refused {
    /// True for what a router said of a packet that was sent: that one is lost, the others may not be.
    fn is_of_path(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable)
    }
}

/// Runs the system's `ping`.
///
/// # Errors
/// See [`Refused`].
pub async fn by_program(plan: &Plan) -> Result<Pings, Refused> {
    let left = plan.end.saturating_duration_since(clock::timer());
    // It counts in whole seconds; the rest is cut by our own deadline.
    let seconds = left.as_secs().clamp(1, 60).to_string();
    let wait = plan.wait.min(left).as_secs().max(1).to_string();
    let (count, size) = (plan.count.to_string(), plan.size.to_string());
    let pause = format!("{:.1}", plan.pause.as_secs_f64());
    let mut command = Command::new("ping");
    command.args(["-n", "-c", &count, "-s", &size, "-i", &pause, "-W", &wait, "-w", &seconds]);
    command.arg(plan.address.to_string());
    command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Not in the group that has the terminal of a screen.
    command.process_group(0).kill_on_drop(true);
    let output = match tokio::time::timeout_at(plan.end, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(Refused::NotAllowed(format!("could not run `ping`: {error}"))),
        // It has not said what it lost; nothing came in time.
        Err(_) => return Ok(Pings { sent: plan.count, times: Vec::new() }),
    };
    if let Some(pings) = echo::parse_ping(&String::from_utf8_lossy(&output.stdout)) {
        return Ok(pings);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("it says nothing").trim();
    Err(match said.contains("unreachable") {
        true => Refused::Unreachable(said.to_string()),
        false => Refused::NotAllowed(format!("`ping` failed: {said}")),
    })
}

/// Connects to well-known ports at the same time; any answer, a refusal too, is one of the host.
pub async fn by_tcp(address: IpAddr, end: Instant) -> Option<(u16, Duration)> {
    let mut tries = JoinSet::new();
    for port in PORTS {
        tries.spawn(async move {
            let begun = clock::timer();
            let answered = match TcpStream::connect(SocketAddr::new(address, *port)).await {
                Ok(_) => true,
                Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
            };
            answered.then(|| (*port, clock::timer() - begun))
        });
    }
    // The others are given up when one has answered.
    let first = async {
        while let Some(tried) = tries.join_next().await {
            if let Ok(Some(answer)) = tried {
                return Some(answer);
            }
        }
        None
    };
    tokio::time::timeout_at(end, first).await.ok().flatten()
}
