//! `dns = { name = "api.example.com", type = "A", server = "10.0.0.2" }`: what a name server answers.
//!
//! One question to one server, over UDP, and over TCP when the answer does not fit. Every answer is an answer,
//! `NXDOMAIN` too; what it must be is said by `expect`, and without it that there is one. A server that does
//! not answer is a timeout in the dns phase.

use std::hash::{Hash, Hasher};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Message, MessageType, Query};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::Instant;

use crate::clock;
use crate::domain::probe::expect::{Field, FieldKind, FieldValue, Subjects};
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Perf, Phase, Phases, ProbeResult, Trouble};
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::probe::net::{self, Verdict, fail};
use crate::service::probe::{Observing, Probe, Run};

/// Where name servers listen.
const PORT: u16 = 53;
/// Bytes of an answer over UDP that pass every network unbroken (<https://dnsflagday.net/2020/>).
const PAYLOAD: u16 = 1232;
/// Records of an answer that are looked at and shown.
const ANSWERS_MAX: usize = 64;
/// A datagram may be lost: so often the question is sent in all, spread over the time there is.
const SENT_MAX: u32 = 3;

/// What is shown in the place of a server when the host's own is asked.
pub const OWN_SERVER: &str = "the host's own server";

/// `dns` in the config.
pub const KIND: Kind<dyn Probe> = Kind {
    name: "dns",
    summary: "ask a name server: answers, response code, time to live",
    example: "[[probe]]\nname = \"dns\"\ndns = { name = \"api.example.com\", type = \"A\", server = \"10.0.0.2\" }\nexpect = [\"rcode == NOERROR\", \"answer contains 203.0.113.7\"]\n",
    build,
};

const FIELDS: &[Field] = &[
    Field { name: "rcode", kind: FieldKind::Text },
    Field { name: "answer", kind: FieldKind::Item },
    Field { name: "answers", kind: FieldKind::Number },
    Field { name: "ttl", kind: FieldKind::Time },
    Field { name: "flags", kind: FieldKind::Item },
];

/// Asks one question.
#[derive(Debug, Clone, Hash)]
struct DnsProbe {
    name: Name,
    kind: RecordType,
    // `None`: the first one of the host's own.
    server: Option<(String, u16)>,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    if !node.is_table() {
        let name = read_name(node, RecordType::A)?;
        return Some(Box::new(DnsProbe { name, kind: RecordType::A, server: None }));
    }
    let kind = node.get("type").map(|it| read_type(&it));
    let name = node.require("name").and_then(|it| read_name(&it, kind.flatten().unwrap_or(RecordType::A)));
    let server = node.get("server").map(|it| read_server(&it));
    node.finish(&[]);
    let server = match server {
        None => None,
        Some(server) => Some(server?),
    };
    Some(Box::new(DnsProbe { name: name?, kind: kind.unwrap_or(Some(RecordType::A))?, server }))
}

fn read_type(node: &Node<'_>) -> Option<RecordType> {
    let text = node.string()?;
    let kind = RecordType::from_str(&text.to_ascii_uppercase()).ok();
    if kind.is_none() {
        let message = format!("`{}` is no type of records", sanitise::text(&text));
        node.error_with_hint(message, "write one such as `A`, `AAAA`, `CNAME`, `MX`, `TXT`, `SRV`, `NS`, `SOA`, `PTR`");
    }
    kind
}

fn read_name(node: &Node<'_>, kind: RecordType) -> Option<Name> {
    let text = node.string()?;
    if let (RecordType::PTR, Ok(address)) = (kind, text.parse::<IpAddr>()) {
        return Some(Name::from(address));
    }
    match Name::from_utf8(text.trim_end_matches('.')) {
        Ok(mut name) if !text.is_empty() => {
            // Asked for as it is: the host's search list is not the service's.
            name.set_fqdn(true);
            Some(name)
        }
        _ => {
            let message = format!("`{}` is no name of a host or zone", sanitise::text(&text));
            node.error_with_hint(message, "write it in full, as in `api.example.com`");
            None
        }
    }
}

fn read_server(node: &Node<'_>) -> Option<(String, u16)> {
    let text = node.string()?;
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Some((address.to_string(), PORT));
    }
    if text.contains(':') {
        return net::host_and_port(node);
    }
    if text.is_empty() || text.contains(['/', ' ', '@']) {
        node.error_with_hint("this is no name server", "write its address, as in `10.0.0.2` or `10.0.0.2:5353`");
        return None;
    }
    Some((text, PORT))
}

impl Probe for DnsProbe {
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a> {
        let deadline = run.deadline;
        Box::pin(async move {
            let mut seen = Observation::default();
            seen.verdict = self.look(deadline, &mut seen).await.err();
            seen
        })
    }

    fn target(&self) -> String {
        let server = self.server.as_ref().map_or(OWN_SERVER.into(), |(host, port)| match port {
            &PORT => host.clone(),
            _ => net::shown(host, *port),
        });
        sanitise::text(&format!("{} {} at {server}", self.kind, plain(&self.name)))
    }

    fn subjects(&self) -> Subjects {
        Subjects::Fields(FIELDS)
    }

    fn usually(&self, about: &dyn Fn(&str) -> bool) -> Vec<&'static str> {
        let mut usual = Vec::new();
        if !about("rcode") {
            usual.push("rcode == NOERROR");
        }
        if !["rcode", "answer", "answers"].iter().any(|it| about(it)) {
            usual.push("answers >= 1");
        }
        usual
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }
}

/// A name without the dot at its end.
fn plain(name: &impl std::fmt::Display) -> String {
    let text = name.to_string();
    if text.len() > 1 { text.trim_end_matches('.').to_string() } else { text }
}

impl DnsProbe {
    async fn look(&self, deadline: Instant, seen: &mut Observation) -> Result<(), Verdict> {
        let server = self.find_server(deadline).await?;
        seen.evidence.address = Some(server.to_string());
        let mut question = Message::query();
        question.metadata.recursion_desired = true;
        // Asks to be told whether the answer was validated.
        question.metadata.authentic_data = true;
        question.add_query(Query::query(self.name.clone(), self.kind));
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        question.set_edns(edns);
        let bytes = question.to_vec().map_err(|error| own(&format!("the question cannot be written: {error}")))?;
        let phases = &mut seen.values.phases;
        let mut over = "UDP";
        let mut answer = ask_udp(phases, deadline, server, &question, &bytes).await?;
        if answer.metadata.truncation {
            over = "TCP";
            answer = ask_tcp(phases, deadline, server, &question, &bytes).await?;
        }
        seen.evidence.protocol = Some(over.into());
        tell(&answer, seen);
        Ok(())
    }

    async fn find_server(&self, deadline: Instant) -> Result<SocketAddr, Verdict> {
        if let Some((host, port)) = &self.server {
            // Finding the server is not what is measured, unless it cannot be found.
            return net::resolve(&mut Phases::default(), deadline, host, *port).await;
        }
        let read = tokio::task::spawn_blocking(|| read_system_conf().map_err(|it| it.to_string())).await;
        let servers = match read {
            Ok(Ok((config, _))) => config.name_servers().to_vec(),
            Ok(Err(error)) => return Err(own(&format!("could not read the host's name servers: {error}"))),
            Err(_) => return Err(own("reading the host's name servers panicked")),
        };
        let server = servers.first().ok_or_else(|| own("this host has no name server configured"))?;
        Ok(SocketAddr::new(server.ip, PORT))
    }
}

fn own(text: &str) -> Verdict {
    (ProbeResult::Unknown, Trouble::new(Cause::Own, "cannot check", sanitise::text(text)))
}

async fn ask_udp(
    phases: &mut Phases,
    deadline: Instant,
    server: SocketAddr,
    question: &Message,
    bytes: &[u8],
) -> Result<Message, Verdict> {
    let left = deadline.saturating_duration_since(clock::timer());
    let pause = (left / (SENT_MAX + 1)).max(Duration::from_millis(10));
    net::timed(phases, Phase::Dns, deadline, async {
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let trouble = |error: io::Error| io_trouble(server, &error);
        let socket = UdpSocket::bind((any, 0)).await.map_err(trouble)?;
        // Connected, so that only the server's datagrams come, and its refusal as well.
        socket.connect(server).await.map_err(trouble)?;
        let mut buffer = vec![0; usize::from(u16::MAX)];
        let mut sent = 0;
        loop {
            if sent < SENT_MAX {
                socket.send(bytes).await.map_err(trouble)?;
                sent += 1;
            }
            let again = clock::timer() + if sent < SENT_MAX { pause } else { left };
            loop {
                let length = match tokio::time::timeout_at(again, socket.recv(&mut buffer)).await {
                    Ok(received) => received.map_err(trouble)?,
                    Err(_) => break,
                };
                // What does not belong to the question may be forged: it is passed over.
                if let Some(answer) = belonging(&buffer[..length], question) {
                    return Ok(answer);
                }
            }
        }
    })
    .await
}

async fn ask_tcp(
    phases: &mut Phases,
    deadline: Instant,
    server: SocketAddr,
    question: &Message,
    bytes: &[u8],
) -> Result<Message, Verdict> {
    net::timed(phases, Phase::Dns, deadline, async {
        let trouble = |error: io::Error| io_trouble(server, &error);
        let mut stream = TcpStream::connect(server).await.map_err(trouble)?;
        let length = u16::try_from(bytes.len()).map_err(|_| own("the question is too long"))?;
        let framed: Vec<u8> = length.to_be_bytes().iter().chain(bytes).copied().collect();
        stream.write_all(&framed).await.map_err(trouble)?;
        let length = stream.read_u16().await.map_err(trouble)?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await.map_err(trouble)?;
        belonging(&answer, question).ok_or_else(|| {
            fail(Cause::Protocol, "bad answer", format!("{server} sent something else than an answer over TCP"))
        })
    })
    .await
}

/// Parses what belongs to the question: its number, its name and its type.
fn belonging(bytes: &[u8], question: &Message) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let is_answer = answer.metadata.message_type == MessageType::Response && answer.metadata.id == question.metadata.id;
    // Servers that refuse may leave the question out.
    let is_same = answer.queries.is_empty() || answer.queries.first() == question.queries.first();
    (is_answer && is_same).then_some(answer)
}

fn io_trouble(server: SocketAddr, error: &io::Error) -> Verdict {
    if let Some(verdict) = net::own_fault(error) {
        return verdict;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            fail(Cause::Refused, "refused", format!("refused: no name server listens on {server}"))
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            fail(Cause::Reset, "reset", format!("{server} closed the connection before it answered"))
        }
        _ => fail(Cause::Unreachable, "unreachable", format!("could not ask {server}: {error}")),
    }
}

/// Fills in values and evidence.
fn tell(answer: &Message, seen: &mut Observation) {
    let metadata = &answer.metadata;
    let rcode = word(metadata.response_code.into());
    let records: Vec<_> = answer.answers.iter().take(ANSWERS_MAX).collect();
    let texts: Vec<String> = records.iter().map(|it| sanitise::text(&plain(&it.data))).collect();
    let count = answer.answers.len() as f64;
    let fields = &mut seen.values.fields;
    fields.push(("rcode", FieldValue::Texts(vec![rcode.clone()])));
    fields.push(("answers", FieldValue::Number(count)));
    fields.push(("answer", FieldValue::Texts(texts.clone())));
    if let Some(ttl) = records.iter().map(|it| it.ttl).min() {
        fields.push(("ttl", FieldValue::Time(Duration::from_secs(ttl.into()))));
        seen.evidence.perf.push(Perf::plain("ttl", ttl.into(), "s"));
    }
    let flags = [("aa", metadata.authoritative), ("ad", metadata.authentic_data), ("ra", metadata.recursion_available)];
    let flags: Vec<String> = flags.iter().filter(|it| it.1).map(|it| it.0.to_string()).collect();
    seen.evidence.text = match texts.is_empty() {
        true => format!("{rcode}, no answer"),
        false => crate::domain::probe::expect::shorten(&format!("{rcode}: {}", texts.join(", ")), 200),
    };
    let lines = records.iter().map(|it| sanitise::text(&it.to_string()));
    seen.evidence.body =
        std::iter::once(format!("{rcode} {}", flags.join(" "))).chain(lines).collect::<Vec<_>>().join("\n");
    fields.push(("flags", FieldValue::Texts(flags)));
    seen.evidence.perf.push(Perf::plain("answers", count, ""));
}

/// The word of a response code, as `dig` prints it (IANA DNS RCODEs).
fn word(code: u16) -> String {
    let word = match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        16 => "BADVERS",
        _ => return format!("RCODE{code}"),
    };
    word.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::probe::expect::Expression;
    use crate::registry::node::Source;

    fn parse(entry: &str) -> Result<String, Vec<String>> {
        let source = Source::new("c.toml", entry);
        let root = source.parse().expect("TOML");
        let built = build(&root.get("dns").expect("a key"));
        let errors: Vec<String> = source.errors().iter().map(ToString::to_string).collect();
        built.filter(|_| errors.is_empty()).map(|it| it.target()).ok_or(errors)
    }

    #[test]
    fn a_question_names_a_name_a_type_and_a_server() {
        assert_eq!(parse("dns = 'api.example.com'"), Ok("A api.example.com at the host's own server".into()));
        let asked = parse("dns = { name = 'example.com.', type = 'mx', server = '10.0.0.2' }");
        assert_eq!(asked, Ok("MX example.com at 10.0.0.2".into()));
        let asked = parse("dns = { name = '203.0.113.7', type = 'PTR', server = '[::1]:5353' }");
        assert_eq!(asked, Ok("PTR 7.113.0.203.in-addr.arpa at [::1]:5353".into()));
        for (entry, wanted) in [
            ("{ name = 'x', type = 'Z9' }", "`Z9` is no type of records"),
            ("''", "is no name of a host or zone"),
            ("{ name = 'x', server = 'a:b' }", "not a host and a port"),
        ] {
            let errors = parse(&format!("dns = {entry}")).expect_err(entry);
            assert!(errors.len() == 1 && errors[0].contains(wanted), "{entry}: {errors:?}");
        }
    }

    #[test]
    fn an_answer_is_contained_when_it_is_one_of_them_and_not_a_part_of_one() {
        let mut seen = Observation::default();
        let answers = vec!["203.0.113.70".to_string(), "Mail.example.com".to_string()];
        seen.values.fields.push(("answer", FieldValue::Texts(answers)));
        let holds = |line: &str| {
            let expression = Expression::parse(line, Subjects::Fields(FIELDS)).expect(line);
            expression.trouble(&seen.values, &|it, _| it.to_string()).is_none()
        };
        assert!(holds("answer contains 203.0.113.70") && holds("answer contains mail.example.com."));
        assert!(!holds("answer contains 203.0.113.7") && holds("answer not contains 203.0.113.7"));
        assert!(holds("answer =~ 'example'"));
    }

    #[test]
    fn what_must_hold_depends_on_what_is_said() {
        let probe = DnsProbe { name: Name::root(), kind: RecordType::A, server: None };
        assert_eq!(probe.usually(&|_| false), ["rcode == NOERROR", "answers >= 1"]);
        assert_eq!(probe.usually(&|it| it == "answer"), ["rcode == NOERROR"]);
        assert_eq!(probe.usually(&|it| it == "rcode"), Vec::<&str>::new());
    }
}
