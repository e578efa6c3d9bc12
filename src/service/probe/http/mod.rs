//! `http = "https://…"`: an own pipeline on hyper and rustls, because a client library cannot tell the phases apart.
//!
//! Every run makes a fresh connection to one address: what is kept alive hides a name that no longer
//! resolves, a listener that is gone, an old certificate. Redirects run the pipeline again and their times
//! add up per phase. Headers and body are capped; nothing is retried.

mod location;
mod settings;
mod tls;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::domain::probe::expect::Subjects;
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Phase};
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::service::probe::http::location::Target;
use crate::service::probe::http::settings::Settings;
use crate::service::probe::net::{self, Verdict, fail};
use crate::service::probe::{Observing, Probe, Run, redact};

/// Bytes of a body that are read: health endpoints answer in a few hundred, and `json.…` needs the whole.
const BODY_MAX: usize = 1 << 20;
/// Bytes of headers that are read: far more than proxies let through.
const HEADERS_MAX: usize = 64 << 10;
/// Characters of one header value kept for the comparisons.
const HEADER_VALUE_MAX: usize = 4096;

/// `http` in the config.
pub const KIND: Kind<dyn Probe> = Kind {
    name: "http",
    summary: "ask an http or https URL, with times per phase and the certificate's days",
    example: "[[probe]]\nname = \"api\"\nhttp = \"https://api.example.com/health\"\nexpect = [\"status == 200\", \"cert.days > 7\"]\nprefer = [\"total < 800ms\"]\n",
    build: settings::build,
};

/// Asks a URL.
struct HttpProbe {
    settings: Settings,
    target: Target,
}

/// The head of an answer, and its body still on the way.
struct Answer {
    response: Response<Incoming>,
    // Reads and writes the connection; dropping it hangs up.
    _connection: AbortOnDropHandle<()>,
}

impl Probe for HttpProbe {
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a> {
        let deadline = run.deadline;
        Box::pin(async move {
            let mut seen = Observation::default();
            if let Err((result, mut trouble)) = self.look(deadline, &mut seen).await {
                trouble.text = redact::redact(&trouble.text, &self.settings.secrets);
                seen.verdict = Some((result, trouble));
            }
            seen.evidence.text = redact::evidence(&seen.values.text, &self.settings.secrets);
            seen
        })
    }

    fn target(&self) -> String {
        let method = &self.settings.method;
        let shown = self.target.shown();
        if method == "GET" { shown } else { format!("{method} {shown}") }
    }

    fn subjects(&self) -> Subjects {
        Subjects::Http
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.settings.hash(&mut hasher);
    }
}

impl HttpProbe {
    async fn look(&self, deadline: Instant, seen: &mut Observation) -> Result<(), Verdict> {
        let mut target = self.target.clone();
        let mut method = self.settings.method.clone();
        let mut body = self.settings.body.clone();
        let mut trusted = true;
        let mut hops = 0;
        loop {
            let request = self.request(&target, &method, body.as_deref(), trusted)?;
            let answer = self.hop(&target, request, deadline, seen).await?;
            let status = answer.response.status();
            seen.values.status = Some(status.as_u16());
            seen.evidence.status = Some(status.as_u16());
            let place = answer.response.headers().get(header::LOCATION).and_then(|it| it.to_str().ok());
            let Some(place) = place.filter(|_| self.settings.redirects > 0 && is_redirect(status)) else {
                return self.finish(answer, deadline, seen).await;
            };
            let next = target
                .join(place)
                .map_err(|why| fail(Cause::Protocol, "redirect", format!("redirected to a bad place: {why}")))?;
            if hops >= self.settings.redirects {
                let text = format!("more than {} redirects, the last to {}", self.settings.redirects, next.shown());
                return Err(fail(Cause::Protocol, "redirects", text));
            }
            if body.is_some() && !next.is_same_origin(&target) && !becomes_get(status, &method) {
                // The body may hold credentials: another host does not get them.
                return self.finish(answer, deadline, seen).await;
            }
            if becomes_get(status, &method) {
                method = "GET".into();
                body = None;
            }
            trusted &= next.is_same_origin(&target);
            seen.evidence.redirects.push(sanitise::text(&next.shown()));
            target = next;
            hops += 1;
        }
    }

    fn request(
        &self,
        target: &Target,
        method: &str,
        body: Option<&str>,
        trusted: bool,
    ) -> Result<Request<Full<Bytes>>, Verdict> {
        let broken = |error: &dyn std::fmt::Display| fail(Cause::Own, "request", format!("bad request: {error}"));
        let mut builder = Request::builder()
            .method(method)
            .header(header::HOST, target.authority())
            .header(header::USER_AGENT, concat!("hotseat/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "*/*")
            .header(header::ACCEPT_ENCODING, "identity");
        let headers = builder.headers_mut().ok_or_else(|| broken(&"no headers"))?;
        if trusted {
            for (name, value) in &self.settings.headers {
                let name = header::HeaderName::try_from(name.as_str()).map_err(|it| broken(&it))?;
                headers.insert(name, header::HeaderValue::try_from(value.as_str()).map_err(|it| broken(&it))?);
            }
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default().to_string()));
        builder.uri(target.path()).body(body).map_err(|it| broken(&it))
    }

    async fn hop(
        &self,
        target: &Target,
        request: Request<Full<Bytes>>,
        deadline: Instant,
        seen: &mut Observation,
    ) -> Result<Answer, Verdict> {
        let phases = &mut seen.values.phases;
        let address = net::resolve(phases, deadline, &target.host, target.port).await?;
        seen.evidence.address = Some(address.to_string());
        let stream = net::connect(phases, deadline, address).await?;
        if !target.is_tls {
            seen.evidence.protocol = Some("HTTP/1.1".into());
            return net::timed(phases, Phase::Wait, deadline, http1(stream, request)).await;
        }
        let secured = tls::secure(&self.settings, &target.host, stream, deadline, seen).await?;
        let phases = &mut seen.values.phases;
        if secured.is_http2 {
            let absolute = format!("https://{}{}", target.authority(), target.path());
            net::timed(phases, Phase::Wait, deadline, http2(secured.stream, request, absolute)).await
        } else {
            net::timed(phases, Phase::Wait, deadline, http1(secured.stream, request)).await
        }
    }

    async fn finish(&self, answer: Answer, deadline: Instant, seen: &mut Observation) -> Result<(), Verdict> {
        for (name, value) in answer.response.headers() {
            let value = String::from_utf8_lossy(value.as_bytes());
            seen.values.headers.push((name.as_str().to_string(), value.chars().take(HEADER_VALUE_MAX).collect()));
        }
        let length = answer.response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
        let mut body = answer.response.into_body();
        let mut bytes = Vec::new();
        let mut cut = false;
        let read = net::timed(&mut seen.values.phases, Phase::Body, deadline, async {
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(|error| body_trouble(&error))?.into_data() else { continue };
                let room = BODY_MAX - bytes.len();
                bytes.extend_from_slice(&data[..data.len().min(room)]);
                if data.len() > room {
                    cut = true;
                    break;
                }
            }
            Ok(())
        })
        .await;
        seen.evidence.body_bytes = bytes.len() as u64;
        seen.evidence.cut = cut;
        seen.values.text = String::from_utf8_lossy(&bytes).into_owned();
        let got = bytes.len();
        read.map_err(|(result, mut trouble)| {
            if trouble.cause == Cause::Body {
                let whole = length.map_or_else(String::new, |length| format!(" of {length}"));
                trouble.text = format!("short body: {got}{whole} bytes came, then the server hung up");
            }
            (result, trouble)
        })
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn becomes_get(status: StatusCode, method: &str) -> bool {
    match status.as_u16() {
        303 => method != "HEAD",
        301 | 302 => method == "POST",
        _ => false,
    }
}

async fn http1(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Verdict> {
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_buf_size(HEADERS_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|it| answer_trouble(&it))?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        // What breaks here is told by the request or the body as well.
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await.map_err(|it| answer_trouble(&it))?;
    Ok(Answer { response, _connection: connection })
}

async fn http2(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    mut request: Request<Full<Bytes>>,
    absolute: String,
) -> Result<Answer, Verdict> {
    // HTTP/2 takes scheme and host from the URI and has no `Host`.
    request.headers_mut().remove(header::HOST);
    *request.uri_mut() =
        absolute.parse().map_err(|error| fail(Cause::Own, "request", format!("bad request: {error}")))?;
    *request.version_mut() = hyper::Version::HTTP_2;
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.max_header_list_size(HEADERS_MAX as u32);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|it| answer_trouble(&it))?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await.map_err(|it| answer_trouble(&it))?;
    Ok(Answer { response, _connection: connection })
}

fn io_kind(error: &hyper::Error) -> Option<std::io::ErrorKind> {
    let mut source = std::error::Error::source(error);
    while let Some(it) = source {
        if let Some(io) = it.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        source = it.source();
    }
    None
}

fn answer_trouble(error: &hyper::Error) -> Verdict {
    use std::io::ErrorKind;
    if error.is_parse_too_large() {
        return fail(Cause::Protocol, "headers", format!("the answer's headers are larger than {HEADERS_MAX} bytes"));
    }
    if error.is_parse() {
        return fail(Cause::Protocol, "not http", format!("the answer is not HTTP: {error}"));
    }
    if error.is_incomplete_message() {
        return fail(Cause::Reset, "reset", "connected, but the server hung up without an answer");
    }
    match io_kind(error) {
        Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof) => {
            fail(Cause::Reset, "reset", "connected, but the server reset the connection")
        }
        _ => {
            let why = std::error::Error::source(error).map_or_else(String::new, |it| format!(": {it}"));
            fail(Cause::Protocol, "protocol", format!("no valid answer: {error}{why}"))
        }
    }
}

fn body_trouble(error: &hyper::Error) -> Verdict {
    match io_kind(error) {
        Some(std::io::ErrorKind::ConnectionReset) => {
            fail(Cause::Reset, "reset", "the server reset the connection in the body")
        }
        _ => fail(Cause::Body, "short body", format!("the body did not end properly: {error}")),
    }
}

/// Makes the probe; shared with `settings::build`.
fn probe(settings: Settings, target: Target) -> Box<dyn Probe> {
    Box::new(HttpProbe { settings, target })
}

/// Certificates that are trusted, shared between runs.
type Roots = Arc<rustls::RootCertStore>;
