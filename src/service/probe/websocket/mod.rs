//! `websocket = "wss://…"`: the upgrade, verified, and a question with its answer.

mod frame;

use std::hash::{Hash, Hasher};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use regex::Regex;
use sha1::{Digest, Sha1};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::domain::probe::expect::{
    ANSWER, CERT_DAYS, CERT_ISSUER, CERT_SUBJECT, Field, FieldKind, FieldValue, Subjects, Values, phase_field, shorten,
};
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Evidence, Phase};
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::probe::http::location::Target;
use crate::service::probe::http::proxy::{Proxy, basic};
use crate::service::probe::http::settings::{read_credentials, read_headers};
use crate::service::probe::http::{header_map, wire};
use crate::service::probe::net::{self, Verdict, fail};
use crate::service::probe::secure::TlsSettings;
use crate::service::probe::{Observing, Probe, Run, redact};
use frame::Opcode;

/// What is appended to the key before it is hashed (RFC 6455, 1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Messages that are read until one matches `answer`.
const MESSAGES_MAX: usize = 64;
/// Characters of a message that a failure shows.
const SHOWN_MAX: usize = 80;

/// `websocket` in the config.
pub const KIND: Kind<dyn Probe> = Kind {
    name: "websocket",
    summary: "open a websocket, if wanted with a question and its answer",
    example: "[[probe]]\nname = \"feed\"\nwebsocket = { url = \"wss://feed.example.com/ws\", send = \"{\\\"op\\\":\\\"ping\\\"}\", answer = \"pong\" }\n",
    build,
};

const STATUS: Field = Field { name: "status", kind: FieldKind::Number };
const FIELDS: &[Field] = &[
    STATUS,
    phase_field("dns"),
    phase_field("connect"),
    phase_field("proxy"),
    phase_field("tls"),
    phase_field("wait"),
    CERT_DAYS,
    CERT_ISSUER,
    CERT_SUBJECT,
    ANSWER,
];

struct WebSocketProbe {
    target: Target,
    headers: HeaderMap,
    protocol: Option<String>,
    send: Option<String>,
    answer: Option<Regex>,
    wire: wire::Wire,
    secrets: Vec<String>,
    // Of everything that was read, made when it was read.
    hash: u64,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    let (mut headers, mut secrets) = (Vec::new(), Vec::new());
    let is_table = node.is_table();
    let url = if is_table { node.require("url")? } else { node.clone() };
    let text = url.string();
    let mut good = text.is_some();
    let mut optional = |key: &str| {
        let found = node.get(key).map(|it| (it.string(), it));
        good &= !matches!(found, Some((None, _)));
        found.and_then(|(text, node)| text.map(|text| (text, node)))
    };
    let send = optional("send").map(|(text, _)| text);
    let protocol = optional("protocol");
    let answer = optional("answer");
    let (mut tls, mut proxy) = (TlsSettings::default(), None);
    if is_table {
        if let Some(table) = node.get("headers") {
            good &= read_headers(&table, &mut headers, &mut secrets);
        }
        good &= read_credentials(node, &mut headers, &mut secrets);
        let settings = TlsSettings::read(node);
        good &= settings.is_some();
        tls = settings.unwrap_or_default();
        if let Some(it) = node.get("proxy") {
            proxy = Proxy::read(&it, &mut secrets);
            good &= proxy.is_some();
        }
        node.finish(&[]);
    }
    if let Some((text, node)) = protocol.as_ref().filter(|(text, _)| HeaderValue::try_from(text.as_str()).is_err()) {
        node.error_with_hint(format!("`{text}` cannot stand in a header"), "write a name, as in `graphql-ws`");
        good = false;
    }
    let answer = match answer.map(|(text, node)| (Regex::new(&text), node)) {
        Some((Err(error), node)) => {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_string();
            node.error_with_hint(format!("bad regex: {why}"), "write a pattern for one message, as in `pong`");
            good = false;
            None
        }
        Some((Ok(pattern), _)) => Some(pattern),
        None => None,
    };
    let text = text.filter(|_| good)?;
    let target = target(&url, &text)?;
    if let Some(userinfo) = &target.userinfo {
        headers.push((header::AUTHORIZATION.to_string(), basic(userinfo, &mut secrets)));
    }
    let protocol = protocol.map(|(text, _)| text);
    let mut hasher = std::hash::DefaultHasher::new();
    (&text, &headers, &protocol, &send, answer.as_ref().map(Regex::as_str), &tls, &proxy).hash(&mut hasher);
    let headers = header_map(&headers).ok()?;
    // A websocket begins as HTTP/1.1.
    let wire = wire::Wire::new(tls, proxy, Some(false), false);
    Some(Box::new(WebSocketProbe { target, headers, protocol, send, answer, wire, secrets, hash: hasher.finish() }))
}

fn target(node: &Node<'_>, text: &str) -> Option<Target> {
    let hint = "write the whole URL, as in `wss://feed.example.com/ws`";
    let as_http = match text.split_once("://") {
        Some(("ws", rest)) => format!("http://{rest}"),
        Some(("wss", rest)) => format!("https://{rest}"),
        _ => {
            node.error_with_hint("the URL must begin with `ws://` or `wss://`", hint);
            return None;
        }
    };
    Target::parse(&as_http).map_err(|message| node.error_with_hint(message, hint)).ok()
}

/// Bytes that nobody can foresee, so that no proxy on the way can be fooled by what we send.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).is_err() {
        bytes.fill_with(|| fastrand::u8(..));
    }
    bytes
}

impl WebSocketProbe {
    async fn look(&self, deadline: Instant, seen: &mut Observation) -> Result<(), Verdict> {
        let (stream, _) = self.wire.reach(&self.target, None, true, deadline, seen).await?;
        let before = seen.values.phases;
        let work = async {
            let key = STANDARD.encode(random::<16>());
            let (mut sender, work) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|it| wire::answer_trouble(&it))?;
            let _task = AbortOnDropHandle::new(tokio::spawn(async move { drop(work.with_upgrades().await) }));
            let response = sender.send_request(self.request(&key)?).await.map_err(|it| wire::answer_trouble(&it))?;
            let status = response.status();
            seen.values.status = Some(status.as_u16());
            seen.values.fields.push((STATUS.name, FieldValue::Number(f64::from(status.as_u16()))));
            let head = response.headers();
            seen.values.headers = head
                .iter()
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect();
            verify(status, head, &key, self.protocol.as_deref())?;
            let upgraded = hyper::upgrade::on(response).await.map_err(|it| wire::answer_trouble(&it))?;
            let mut socket = TokioIo::new(upgraded);
            self.talk(&mut socket, &mut seen.values).await
        };
        // Times are added where they are measured, and the work above holds everything else that was seen.
        let mut phases = before;
        let done = net::timed(&mut phases, Phase::Wait, deadline, work).await;
        seen.values.phases = phases;
        seen.evidence.status = seen.values.status;
        done
    }

    fn request(&self, key: &str) -> Result<Request<Empty<Bytes>>, Verdict> {
        let broken = |error: &dyn std::fmt::Display| fail(Cause::Own, "request", format!("bad request: {error}"));
        let mut builder = Request::builder()
            .uri(self.target.path())
            .header(header::HOST, self.target.authority())
            .header(header::USER_AGENT, concat!("hotseat/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, key);
        if let Some(protocol) = &self.protocol {
            builder = builder.header(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        let mut request = builder.body(Empty::new()).map_err(|it| broken(&it))?;
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }

    async fn talk(&self, socket: &mut TokioIo<hyper::upgrade::Upgraded>, values: &mut Values) -> Result<(), Verdict> {
        let hung_up =
            |error: std::io::Error| fail(Cause::Reset, "reset", format!("the server hung up the websocket: {error}"));
        if let Some(text) = &self.send {
            let frame = frame::encode(Opcode::Text, text.as_bytes(), random());
            socket.write_all(&frame).await.map_err(hung_up)?;
            socket.flush().await.map_err(hung_up)?;
        }
        if self.send.is_some() || self.answer.is_some() {
            let mut said = Vec::new();
            let found = self.listen(socket, &mut said).await;
            values.text = said.join("\n");
            values.fields.push((ANSWER.name, FieldValue::Texts(said)));
            found?;
        }
        // Goodbye: 1000, normal closure. What comes back is of no interest.
        let goodbye = frame::encode(Opcode::Close, &1000u16.to_be_bytes(), random());
        let _ = socket.write_all(&goodbye).await;
        let _ = socket.flush().await;
        Ok(())
    }

    async fn listen(
        &self,
        socket: &mut TokioIo<hyper::upgrade::Upgraded>,
        said: &mut Vec<String>,
    ) -> Result<(), Verdict> {
        for _ in 0..MESSAGES_MAX {
            let message = frame::message(socket, random).await?;
            let fits = self.answer.as_ref().is_none_or(|it| it.is_match(&message));
            said.push(message);
            if fits {
                return Ok(());
            }
        }
        let last = shorten(&sanitise::text(said.last().map_or("", String::as_str)), SHOWN_MAX);
        let wanted = self.answer.as_ref().map_or("", Regex::as_str);
        let text = format!("none of {MESSAGES_MAX} messages matches `{wanted}`, the last is `{last}`");
        Err(fail(Cause::Body, "no answer", text))
    }
}

/// Checks that the server has understood the question.
fn verify(status: StatusCode, headers: &HeaderMap, key: &str, protocol: Option<&str>) -> Result<(), Verdict> {
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let text = format!("status is {}, a websocket begins with 101", status.as_u16());
        return Err(fail(Cause::Status, &status.as_u16().to_string(), text));
    }
    let wanted = STANDARD.encode(Sha1::new().chain_update(key).chain_update(MAGIC).finalize());
    let text = |name: header::HeaderName| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default();
    if text(header::SEC_WEBSOCKET_ACCEPT) != wanted {
        let text = "the server switches protocols, but its `Sec-WebSocket-Accept` does not belong to our key";
        return Err(fail(Cause::Header, "bad accept", text));
    }
    if !text(header::UPGRADE).eq_ignore_ascii_case("websocket") {
        return Err(fail(Cause::Header, "bad upgrade", "the server switches to something else than a websocket"));
    }
    if let Some(protocol) = protocol.filter(|it| text(header::SEC_WEBSOCKET_PROTOCOL) != *it) {
        let text = format!("the server did not choose the protocol `{protocol}`");
        return Err(fail(Cause::Header, "protocol", text));
    }
    Ok(())
}

impl Probe for WebSocketProbe {
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a> {
        let deadline = run.deadline;
        Box::pin(async move {
            let mut seen = Observation::default();
            if let Err(verdict) = self.look(deadline, &mut seen).await {
                seen.verdict = Some(redact::verdict(verdict, &self.secrets));
            }
            seen
        })
    }

    fn target(&self) -> String {
        // `http` and `https` differ from `ws` and `wss` by the beginning alone.
        format!("ws{}", self.target.shown().trim_start_matches("http"))
    }

    fn subjects(&self) -> Subjects {
        Subjects::Fields(FIELDS)
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.hash.hash(&mut hasher);
    }

    fn hide(&self, text: &str, chars_max: usize) -> String {
        redact::excerpt(text, &self.secrets, chars_max)
    }

    fn testify(&self, values: &Values, evidence: &mut Evidence) {
        redact::answer(values, evidence, &self.secrets);
    }
}
