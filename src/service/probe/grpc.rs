//! `grpc = "host:port"`: the health check that gRPC servers agree on (`grpc.health.v1.Health/Check`).

use std::hash::{Hash, Hasher};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response};
use tokio::time::Instant;

use crate::clock;
use crate::domain::probe::expect::{
    CERT_DAYS, CERT_ISSUER, CERT_SUBJECT, Field, FieldKind, FieldValue, Subjects, Values, phase_field,
};
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Evidence, Phase};
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::probe::http::header_map;
use crate::service::probe::http::location::Target;
use crate::service::probe::http::settings::read_headers;
use crate::service::probe::http::wire::{Wire, body_trouble};
use crate::service::probe::net::{self, Verdict, fail};
use crate::service::probe::secure::TlsSettings;
use crate::service::probe::{Observing, Probe, Run, redact};

/// Bytes of an answer that are read: it holds one small number.
const ANSWER_MAX: usize = 4 << 10;
const PATH: &str = "/grpc.health.v1.Health/Check";

/// `grpc` in the config.
pub const KIND: Kind<dyn Probe> = Kind {
    name: "grpc",
    summary: "ask a gRPC server for its health, or that of one service",
    example: "[[probe]]\nname = \"orders\"\ngrpc = { address = \"orders.example.com:443\", service = \"shop.Orders\", tls = true }\n",
    build,
};

const HEALTH: Field = Field { name: "health", kind: FieldKind::Text };
const FIELDS: &[Field] = &[
    HEALTH,
    phase_field("dns"),
    phase_field("connect"),
    phase_field("tls"),
    phase_field("wait"),
    CERT_DAYS,
    CERT_ISSUER,
    CERT_SUBJECT,
];

struct GrpcProbe {
    target: Target,
    service: String,
    metadata: HeaderMap,
    wire: Wire,
    secrets: Vec<String>,
    // Of everything that was read, made when it was read.
    hash: u64,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    let (mut metadata, mut secrets) = (Vec::new(), Vec::new());
    let (mut service, mut is_tls, mut tls) = (String::new(), false, TlsSettings::default());
    let address = if node.is_table() {
        let address = node.require("address").and_then(|it| net::host_and_port(&it));
        let mut good = true;
        if let Some(it) = node.get("service") {
            let found = it.string();
            good &= found.is_some();
            service = found.unwrap_or_default();
        }
        if let Some(it) = node.get("tls") {
            let found = it.boolean();
            good &= found.is_some();
            is_tls = found.unwrap_or_default();
        }
        if let Some(table) = node.get("metadata") {
            good &= read_headers(&table, &mut metadata, &mut secrets);
        }
        let settings = TlsSettings::read(node);
        good &= settings.is_some();
        tls = settings.unwrap_or_default();
        node.finish(&[]);
        if good && !is_tls && tls.is_told() {
            let hint = "`verify`, `ca`, `client` and `server_name` mean something with `tls = true`";
            node.error_with_hint("how to trust is said, but not to speak TLS", hint);
            good = false;
        }
        address.filter(|_| good)?
    } else {
        net::host_and_port(node)?
    };
    let (host, port) = address;
    let scheme = if is_tls { "https" } else { "http" };
    let target = Target::parse(&format!("{scheme}://{}{PATH}", net::shown(&host, port)))
        .map_err(|message| node.error_with_hint(message, "write `host:port`"))
        .ok()?;
    let mut hasher = std::hash::DefaultHasher::new();
    (&target, &service, &metadata, &tls).hash(&mut hasher);
    let metadata = header_map(&metadata).ok()?;
    let wire = Wire::new(tls, None, Some(true), false);
    Some(Box::new(GrpcProbe { target, service, metadata, wire, secrets, hash: hasher.finish() }))
}

impl GrpcProbe {
    async fn look(&self, deadline: Instant, seen: &mut Observation) -> Result<(), Verdict> {
        let request = self.request(deadline)?;
        let mut connection = self.wire.open(&self.target, None, deadline, seen).await?;
        let response = self.wire.send(&mut connection, request, deadline, seen).await?;
        let status = response.status().as_u16();
        seen.evidence.status = Some(status);
        if status != 200 {
            let text = format!("status is {status}, gRPC answers with 200: does something else listen here?");
            return Err(fail(Cause::Status, &status.to_string(), text));
        }
        let answer = net::timed(&mut seen.values.phases, Phase::Body, deadline, read(response)).await?;
        seen.evidence.body_bytes = answer.message.len() as u64;
        let health = self.health(&answer)?;
        seen.values.text = health.into();
        seen.values.fields.push((HEALTH.name, FieldValue::Texts(vec![health.into()])));
        if health == "SERVING" {
            return Ok(());
        }
        Err(fail(Cause::Value, "not serving", format!("{} is {health}", self.what())))
    }

    fn request(&self, deadline: Instant) -> Result<Request<Full<Bytes>>, Verdict> {
        let broken = |error: &dyn std::fmt::Display| fail(Cause::Own, "request", format!("bad request: {error}"));
        let left = deadline.saturating_duration_since(clock::timer()).as_millis().max(1);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(PATH)
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .header(header::USER_AGENT, concat!("hotseat/", env!("CARGO_PKG_VERSION")))
            .header("grpc-timeout", format!("{left}m"))
            .body(Full::new(Bytes::from(question(&self.service))))
            .map_err(|it| broken(&it))?;
        for (name, value) in &self.metadata {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }

    fn what(&self) -> String {
        if self.service.is_empty() { "the server".into() } else { format!("the service `{}`", self.service) }
    }

    /// The health as a word of the standard.
    fn health(&self, answer: &Answer) -> Result<&'static str, Verdict> {
        match answer.code {
            Some(0) => {}
            Some(12) => {
                let text = "the server does not offer `grpc.health.v1.Health`: connect to it with `tcp`, or register the service";
                return Err(fail(Cause::Protocol, "unimplemented", text));
            }
            Some(5) => {
                let text = format!("the server does not know {}", self.what());
                return Err(fail(Cause::Value, "not found", text));
            }
            Some(code) => {
                let word = CODES.get(usize::from(code)).copied().unwrap_or("an unknown status");
                let why = if answer.why.is_empty() { String::new() } else { format!(": {}", answer.why) };
                return Err(fail(Cause::Status, &word.to_lowercase(), format!("the server answers {word}{why}")));
            }
            None => {
                let text = "the answer ended without `grpc-status`: does something else listen here?";
                return Err(fail(Cause::Protocol, "not grpc", text));
            }
        }
        match serving_status(&answer.message) {
            Some(0) => Ok("UNKNOWN"),
            Some(1) => Ok("SERVING"),
            Some(2) => Ok("NOT_SERVING"),
            Some(3) => Ok("SERVICE_UNKNOWN"),
            _ => Err(fail(Cause::Protocol, "not grpc", "the answer is not that of a health check")),
        }
    }
}

/// Codes by their number, as gRPC names them.
const CODES: &[&str] = &[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What came back.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    code: Option<u16>,
    why: String,
    message: Vec<u8>,
}

impl Answer {
    fn take(&mut self, headers: &HeaderMap) {
        let text = |name: &str| headers.get(name).map(HeaderValue::as_bytes).map(String::from_utf8_lossy);
        if let Some(code) = text("grpc-status") {
            self.code = code.parse().ok();
            self.why = text("grpc-message").unwrap_or_default().into_owned();
        }
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, Verdict> {
    let mut answer = Answer::default();
    // A server that has nothing to say puts its status at the front.
    answer.take(response.headers());
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        match frame.map_err(|error| body_trouble(&error))?.into_data() {
            Ok(data) => answer.message.extend_from_slice(&data),
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    answer.take(&trailers);
                }
            }
        }
        if answer.message.len() > ANSWER_MAX {
            return Err(fail(Cause::Protocol, "not grpc", "the answer is too large for a health check"));
        }
    }
    Ok(answer)
}

/// A `HealthCheckRequest`: not compressed, its length, field 1 the service.
fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}

/// Field 1 of a `HealthCheckResponse`; absent is 0. `None` for what is none.
fn serving_status(frame: &[u8]) -> Option<u8> {
    let (head, message) = frame.split_at_checked(5)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if head[0] != 0 || u32::try_from(message.len()).ok()? != length {
        return None;
    }
    match message {
        [] => Some(0),
        [0x08, status, ..] => Some(*status),
        _ => None,
    }
}

impl Probe for GrpcProbe {
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
        let place = net::shown(&self.target.host, self.target.port);
        if self.service.is_empty() { place } else { format!("{place} {}", self.service) }
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
        evidence.text = redact::evidence(&values.text, &self.secrets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_and_answer_are_those_of_the_protocol() {
        assert_eq!(question(""), [0, 0, 0, 0, 0]);
        assert_eq!(question("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(question(&"x".repeat(200))[5..8], [0x0a, 0xc8, 0x01]);
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(serving_status(&[0, 0, 0, 0, 9, 8, 1]), None);
        assert_eq!(serving_status(b"<html>"), None);
    }
}
