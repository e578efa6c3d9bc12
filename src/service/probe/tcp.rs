//! `tcp = "host:port"`: does something accept a connection there, and say what it should.

use std::hash::{Hash, Hasher};

use tokio::time::Instant;

use crate::domain::probe::expect::{ANSWER, FieldValue, Subjects, Values};
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Evidence, Phase};
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::probe::net::{self, Stream, Verdict};
use crate::service::probe::script::{Dialogue, Script};
use crate::service::probe::secure::{Tls, TlsSettings};
use crate::service::probe::starttls::{self, StartTls};
use crate::service::probe::{Observing, Probe, Run, redact};

/// `tcp` in the config.
pub const KIND: Kind<dyn Probe> = Kind {
    name: "tcp",
    summary: "connect to a host and port, if wanted in TLS, and hold a dialogue",
    example: "[[probe]]\nname = \"mail\"\ntcp = { address = \"mail.example.com:25\", starttls = \"smtp\", script = [{ send = \"NOOP\\r\\n\" }, { expect = \"^250\" }] }\n",
    build,
};

/// Connects, talks, and hangs up.
struct TcpProbe {
    host: String,
    port: u16,
    starttls: Option<StartTls>,
    // What is hashed for the fingerprint, and what is used.
    tls: Option<(TlsSettings, Tls)>,
    script: Script,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    if !node.is_table() {
        let (host, port) = net::host_and_port(node)?;
        return Some(Box::new(TcpProbe { host, port, starttls: None, tls: None, script: Script::default() }));
    }
    let address = node.require("address").and_then(|it| net::host_and_port(&it));
    let mut good = true;
    let starttls = node.get("starttls").map(|it| it.one_of(starttls::WORDS));
    good &= starttls != Some(None);
    let wants_tls = node.get("tls").map(|it| it.boolean());
    good &= wants_tls != Some(None);
    let script = node.get("script").map(|it| Script::read(&it));
    good &= !matches!(script, Some(None));
    let settings = TlsSettings::read(node);
    good &= settings.is_some();
    node.finish(&[]);
    let settings = settings.unwrap_or_default();
    let (starttls, wants_tls) = (starttls.flatten(), wants_tls.flatten().unwrap_or_default());
    if wants_tls && starttls.is_some() {
        let hint = "`tls = true` begins with the handshake, `starttls` asks for it first: leave out one of the two";
        node.error_at_key("tls", "`tls` and `starttls` exclude each other", Some(hint.into()));
        good = false;
    }
    let is_tls = wants_tls || starttls.is_some();
    if !is_tls && settings.is_told() {
        let hint = "`verify`, `ca`, `client` and `server_name` mean something with `tls = true` or `starttls`";
        node.error_with_hint("how to trust is said, but not to speak TLS", hint);
        good = false;
    }
    let (host, port) = address.filter(|_| good)?;
    let tls = is_tls.then(|| (settings.clone(), Tls::new(settings, &[])));
    Some(Box::new(TcpProbe { host, port, starttls, tls, script: script.flatten().unwrap_or_default() }))
}

impl TcpProbe {
    async fn look(&self, deadline: Instant, seen: &mut Observation) -> Result<(), Verdict> {
        let tls = self.tls.as_ref().map(|(_, tls)| tls);
        let mut stream = reach(&self.host, self.port, self.starttls, tls, deadline, seen).await?;
        if self.script.is_empty() {
            return Ok(());
        }
        let mut dialogue = Dialogue::default();
        let work = self.script.play(&mut stream, &mut dialogue);
        let played = net::timed(&mut seen.values.phases, Phase::Wait, deadline, work).await;
        seen.evidence.body_bytes = dialogue.said.iter().map(|it| it.len() as u64 + 1).sum();
        let played = played.map_err(|(result, mut trouble)| {
            if let (Cause::Timeout(_), Some(what)) = (trouble.cause, dialogue.waited_for()) {
                trouble.text = format!("timeout in wait: {what}");
            }
            (result, trouble)
        });
        seen.values.text = dialogue.transcript;
        seen.values.fields.push((ANSWER.name, FieldValue::Texts(dialogue.said)));
        played
    }
}

/// Connects, and goes on in TLS where that is wanted. Shared with the kind `tls`.
///
/// # Errors
/// What went wrong on the way.
pub async fn reach(
    host: &str,
    port: u16,
    starttls: Option<StartTls>,
    tls: Option<&Tls>,
    deadline: Instant,
    seen: &mut Observation,
) -> Result<Stream, Verdict> {
    let phases = &mut seen.values.phases;
    let address = net::resolve(phases, deadline, host, port).await?;
    seen.evidence.address = Some(address.to_string());
    let mut stream: Stream = Box::new(net::connect(phases, deadline, address).await?);
    if let Some(protocol) = starttls {
        net::timed(phases, Phase::Wait, deadline, protocol.ask(&mut stream, host)).await?;
    }
    match tls {
        Some(tls) => Ok(Box::new(tls.shake(host, stream, deadline, seen).await?)),
        None => Ok(stream),
    }
}

impl Probe for TcpProbe {
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a> {
        let deadline = run.deadline;
        Box::pin(async move {
            let mut seen = Observation::default();
            if let Err(verdict) = self.look(deadline, &mut seen).await {
                seen.verdict = Some(redact::verdict(verdict, &self.script.secrets));
            }
            seen
        })
    }

    fn target(&self) -> String {
        net::shown(&self.host, self.port)
    }

    fn subjects(&self) -> Subjects {
        Subjects::Tcp
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        let settings = self.tls.as_ref().map(|(settings, _)| settings);
        (&self.host, self.port, self.starttls, settings, &self.script).hash(&mut hasher);
    }

    fn hide(&self, text: &str, chars_max: usize) -> String {
        redact::excerpt(text, &self.script.secrets, chars_max)
    }

    fn testify(&self, values: &Values, evidence: &mut Evidence) {
        let last = values.text.lines().filter_map(|it| it.strip_prefix("< ")).next_back().unwrap_or_default();
        evidence.text = redact::evidence(last, &self.script.secrets);
        evidence.body = redact::body(&values.text, &self.script.secrets);
    }
}
