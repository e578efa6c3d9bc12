//! `icmp = "10.0.0.1"`: does a host answer, how fast, and how much is lost.
//!
//! Echo requests through an unprivileged datagram socket. Where the kernel refuses that
//! (`net.ipv4.ping_group_range`), through the system's `ping`; where that may not either, a TCP connection
//! to a few well-known ports, of which any answer, a refusal too, shows that the host is there. Which of them
//! it was stands in the evidence. Silence on TCP proves nothing, and is Unknown.

mod echo;
pub mod ways;

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock;
use crate::domain::probe::expect::{Field, FieldKind, FieldValue, Subjects};
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Perf, Phase, ProbeResult, Trouble};
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::probe::icmp::echo::Pings;
use crate::service::probe::icmp::ways::Refused;
use crate::service::probe::net::{self, Verdict, fail};
use crate::service::probe::{Observing, Probe, Run};

/// Requests of one run, when nothing is said: three tell a lost packet from a host that is gone.
const COUNT: u16 = 3;
/// Most requests of one run.
const COUNT_MAX: i64 = 50;
/// Bytes behind the header, as `ping` sends them.
const SIZE: u16 = 56;
/// Largest that fits a usual packet unbroken.
const SIZE_MAX: i64 = 1472;
/// Between two requests: as little as an unprivileged `ping` may take.
const PAUSE: Duration = Duration::from_millis(200);
/// After the last request no reply is waited for longer than this.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Kept of the deadline to say what was found.
const SPARE: Duration = Duration::from_millis(20);

/// `icmp` in the config.
pub const KIND: Kind<dyn Probe> = Kind {
    name: "icmp",
    summary: "ping a host: packets lost, round trip times, jitter",
    example: "[[probe]]\nname = \"gateway\"\nicmp = { host = \"10.0.0.1\", count = 5 }\nexpect = \"loss < 50\"\nprefer = [\"loss == 0\", \"rtt < 50ms\"]\n",
    build,
};

const FIELDS: &[Field] = &[
    Field { name: "loss", kind: FieldKind::Number },
    Field { name: "rtt", kind: FieldKind::Time },
    Field { name: "rtt_min", kind: FieldKind::Time },
    Field { name: "rtt_max", kind: FieldKind::Time },
    Field { name: "jitter", kind: FieldKind::Time },
];

/// Pings a host.
#[derive(Debug, Clone, Hash)]
struct IcmpProbe {
    host: String,
    count: u16,
    size: u16,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    if !node.is_table() {
        return Some(Box::new(IcmpProbe { host: read_host(node)?, count: COUNT, size: SIZE }));
    }
    let host = node.require("host").and_then(|it| read_host(&it));
    let within = |key: &str, usual: u16, range| match node.get(key) {
        None => Some(usual),
        Some(it) => it.integer(range).and_then(|it| u16::try_from(it).ok()),
    };
    let count = within("count", COUNT, 1..COUNT_MAX + 1);
    // The first bytes tell our replies from those of others.
    let size = within("size", SIZE, 16..SIZE_MAX + 1);
    node.finish(&[]);
    Some(Box::new(IcmpProbe { host: host?, count: count?, size: size? }))
}

fn read_host(node: &Node<'_>) -> Option<String> {
    let text = node.string()?;
    let host = text.trim_start_matches('[').trim_end_matches(']');
    let is_address = host.parse::<IpAddr>().is_ok();
    if host.is_empty() || host.starts_with('-') || (host.contains([':', '/', ' ', '@']) && !is_address) {
        node.error_with_hint("this is no host", "write a name or an address, without scheme and port");
        return None;
    }
    Some(host.to_string())
}

impl Probe for IcmpProbe {
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a> {
        let deadline = run.deadline;
        Box::pin(async move {
            let mut seen = Observation::default();
            seen.verdict = self.look(deadline, &mut seen).await.err();
            seen
        })
    }

    fn target(&self) -> String {
        sanitise::text(&self.host)
    }

    fn subjects(&self) -> Subjects {
        Subjects::Fields(FIELDS)
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }
}

impl IcmpProbe {
    async fn look(&self, deadline: Instant, seen: &mut Observation) -> Result<(), Verdict> {
        let address = net::resolve(&mut seen.values.phases, deadline, &self.host, 0).await?.ip();
        seen.evidence.address = Some(address.to_string());
        let begun = clock::timer();
        let end = (deadline - SPARE).max(begun);
        let plan = ways::Plan { address, count: self.count, size: self.size, pause: PAUSE, wait: WAIT_MAX, end };
        let (way, result) = match ways::by_socket(&plan).await {
            Err(Refused::NotAllowed(_)) => match ways::by_program(&plan).await {
                Err(Refused::NotAllowed(_)) => return self.by_tcp(address, end, seen).await,
                result => ("ICMP by `ping`", result),
            },
            result => ("ICMP", result),
        };
        seen.evidence.protocol = Some(way.into());
        match result {
            Ok(pings) => self.tell(&pings, clock::timer() - begun, seen),
            Err(Refused::NotAllowed(why)) => Err(unknown(&why)),
            Err(Refused::Unreachable(why)) => {
                Err(fail(Cause::Unreachable, "unreachable", format!("unreachable: {address}: {why}")))
            }
        }
    }

    /// The last resort: does anything answer a connection.
    async fn by_tcp(&self, address: IpAddr, end: Instant, seen: &mut Observation) -> Result<(), Verdict> {
        match ways::by_tcp(address, end).await {
            Some((port, took)) => {
                seen.evidence.protocol = Some(format!("TCP connection to port {port}, because ICMP is not permitted"));
                self.tell(&Pings { sent: 1, times: vec![took] }, took, seen)
            }
            None => {
                seen.evidence.protocol = Some("TCP connection, because ICMP is not permitted".into());
                let at = SocketAddr::new(address, 0).ip();
                let text = format!("ICMP is not permitted here and {at} does not answer on TCP, which proves nothing");
                Err(unknown(&format!("{text}; `hotseat doctor` says how to permit it")))
            }
        }
    }

    fn tell(&self, pings: &Pings, took: Duration, seen: &mut Observation) -> Result<(), Verdict> {
        let loss = pings.loss();
        let fields = &mut seen.values.fields;
        fields.push(("loss", FieldValue::Number(loss)));
        seen.evidence.perf.push(Perf { min: Some(0.0), max: Some(100.0), ..Perf::plain("loss", loss, "%") });
        let Some(times) = pings.summary() else {
            let (_, trouble) = net::timeout(Phase::Wait, took);
            let text = format!("timeout: {} of {} echo requests were not answered", pings.sent, pings.sent);
            seen.values.phases.add(Phase::Wait, took);
            return Err(fail(trouble.cause, "timeout", text));
        };
        // What a packet takes, and not how long we sat waiting for all of them.
        seen.values.phases.add(Phase::Wait, times.mean);
        for (name, time) in
            [("rtt", times.mean), ("rtt_min", times.least), ("rtt_max", times.most), ("jitter", times.jitter)]
        {
            fields.push((name, FieldValue::Time(time)));
            seen.evidence.perf.push(Perf::plain(name, (time.as_secs_f64() * 1e6).round() / 1e3, "ms"));
        }
        let ms = |it: Duration| format!("{:.2}ms", it.as_secs_f64() * 1e3);
        seen.evidence.text = format!(
            "{} of {} answered, rtt {} ({} to {}), jitter {}",
            pings.times.len(),
            pings.sent,
            ms(times.mean),
            ms(times.least),
            ms(times.most),
            ms(times.jitter)
        );
        Ok(())
    }
}

fn unknown(text: &str) -> Verdict {
    (ProbeResult::Unknown, Trouble::new(Cause::Own, "cannot ping", sanitise::text(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::node::Source;

    #[test]
    fn a_host_has_no_scheme_and_no_port() {
        for (entry, wanted) in [
            ("'10.0.0.1'", Ok("10.0.0.1")),
            ("'[::1]'", Ok("::1")),
            ("{ host = 'gw.example.com', count = 10, size = 1000 }", Ok("gw.example.com")),
            ("'http://a'", Err("this is no host")),
            ("'a:80'", Err("this is no host")),
            ("'-f'", Err("this is no host")),
            ("{ host = 'a', count = 0 }", Err("must be from 1 to 50")),
            ("{ host = 'a', size = 9000 }", Err("must be from 16 to 1472")),
        ] {
            let text = format!("icmp = {entry}");
            let source = Source::new("c.toml", &text);
            let built = build(&source.parse().expect("TOML").get("icmp").expect("a key"));
            let errors: Vec<String> = source.errors().iter().map(ToString::to_string).collect();
            match wanted {
                Ok(wanted) => assert_eq!(built.map(|it| it.target()).as_deref(), Some(wanted), "{errors:?}"),
                Err(wanted) => assert!(built.is_none() && errors[0].contains(wanted), "{entry}: {errors:?}"),
            }
        }
    }

    #[test]
    fn some_loss_is_a_number_and_all_of_it_is_a_timeout() {
        let probe = IcmpProbe { host: "h".into(), count: 3, size: 56 };
        let mut seen = Observation::default();
        let ms = Duration::from_millis;
        let pings = Pings { sent: 4, times: vec![ms(10), ms(14), ms(12)] };
        assert!(probe.tell(&pings, ms(600), &mut seen).is_ok());
        assert_eq!(seen.evidence.text, "3 of 4 answered, rtt 12.00ms (10.00ms to 14.00ms), jitter 3.00ms");
        assert_eq!(seen.values.fields[0], ("loss", FieldValue::Number(25.0)));
        let (result, trouble) =
            probe.tell(&Pings { sent: 3, times: vec![] }, ms(600), &mut Observation::default()).expect_err("lost");
        assert_eq!((result, trouble.cause), (ProbeResult::Fail, Cause::Timeout(Phase::Wait)));
    }
}
