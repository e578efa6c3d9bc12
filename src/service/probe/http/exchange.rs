//! One request with the redirects behind it, and everything that is kept of the answer.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::Instant;

use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Hop, Phase, Phases};
use crate::domain::sanitise;
use crate::service::probe::http::cookies::Jar;
use crate::service::probe::http::location::Target;
use crate::service::probe::http::wire::{Connection, Wire, body_trouble};
use crate::service::probe::net::{self, Verdict, fail};

/// Bytes of a body that are read: health endpoints answer in a few hundred, and `json.…` needs the whole.
const BODY_MAX: usize = 1 << 20;
/// Characters of one header value kept for the comparisons.
const HEADER_VALUE_MAX: usize = 4096;

/// What is asked for.
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The place.
    pub target: Target,
    /// Headers of the config: for the first host only.
    pub headers: HeaderMap,
    /// The body: for the first host only.
    pub body: Option<Bytes>,
    /// How many redirects are followed; 0 takes the first answer as it is.
    pub redirects: u8,
}

/// What lasts longer than one request.
#[derive(Default)]
pub struct Around<'a> {
    /// Go to this address and do not resolve the name.
    pub at: Option<SocketAddr>,
    /// A connection that an earlier run made; the one to keep for the next is left here.
    pub kept: Option<&'a mut Option<Connection>>,
    /// Cookies of the steps before.
    pub jar: Option<&'a mut Jar>,
}

/// Asks, follows, reads. Fills in values and evidence, also of what did not end well.
///
/// # Errors
/// What went wrong, unless it is an answer.
pub async fn ask(
    wire: &Wire,
    mut asked: Asked,
    mut around: Around<'_>,
    deadline: Instant,
    seen: &mut Observation,
) -> Result<(), Verdict> {
    let mut trusted = true;
    let mut hops: Vec<Hop> = Vec::new();
    loop {
        let before = seen.values.phases;
        let result = hop(wire, &asked, trusted, &mut around, deadline, seen).await;
        let mut end = |seen: &mut Observation| {
            hops.push(Hop {
                place: sanitise::text(&asked.target.shown()),
                address: seen.evidence.address.clone(),
                status: seen.values.status,
                phases: seen.values.phases.since(&before),
            });
            if hops.len() > 1 {
                seen.evidence.hops.clone_from(&hops);
            }
        };
        let (response, connection) = match result {
            Ok(it) => it,
            Err(verdict) => {
                seen.values.status = None;
                end(seen);
                return Err(verdict);
            }
        };
        let status = response.status();
        let next = match leads_to(&response, &asked) {
            Some(place) => asked.follow(status, &place, hops_left(&asked, seen)),
            None => Next::Stay,
        };
        let (target, method) = match next {
            Next::Stay => {
                let read = read(response, connection, around.kept, deadline, seen).await;
                end(seen);
                return read;
            }
            Next::Broken(verdict) => {
                end(seen);
                return Err(verdict);
            }
            Next::Go { target, method } => (target, method),
        };
        end(seen);
        if method != asked.method {
            asked.method = method;
            asked.body = None;
        }
        trusted &= target.is_same_origin(&asked.target);
        // An address was chosen for the first host, not for others.
        around.at = around.at.filter(|_| trusted);
        seen.evidence.redirects.push(sanitise::text(&target.shown()));
        asked.target = target;
    }
}

fn hops_left(asked: &Asked, seen: &Observation) -> bool {
    seen.evidence.redirects.len() < usize::from(asked.redirects)
}

/// What follows an answer that names another place.
enum Next {
    Stay,
    Go { target: Target, method: Method },
    Broken(Verdict),
}

fn leads_to(response: &Response<Incoming>, asked: &Asked) -> Option<String> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let place = response.headers().get(header::LOCATION)?.to_str().ok()?;
    (is_redirect && asked.redirects > 0).then(|| place.to_string())
}

impl Asked {
    fn follow(&self, status: StatusCode, place: &str, has_hops_left: bool) -> Next {
        let target = match self.target.join(place) {
            Ok(target) => target,
            Err(why) => {
                let text = format!("redirected to a bad place: {why}");
                return Next::Broken(fail(Cause::Protocol, "redirect", text));
            }
        };
        if !has_hops_left {
            let text = format!("more than {} redirects, the last to {}", self.redirects, target.shown());
            return Next::Broken(fail(Cause::Protocol, "redirects", text));
        }
        let becomes_get = match status.as_u16() {
            303 => self.method != Method::HEAD,
            301 | 302 => self.method == Method::POST,
            _ => false,
        };
        let method = if becomes_get { Method::GET } else { self.method.clone() };
        if self.body.is_some() && !becomes_get && !target.is_same_origin(&self.target) {
            // The body may hold credentials: another host does not get them.
            return Next::Stay;
        }
        Next::Go { target, method }
    }

    fn request(&self, trusted: bool, jar: Option<&Jar>) -> Result<Request<Full<Bytes>>, Verdict> {
        let broken = |error: &dyn std::fmt::Display| fail(Cause::Own, "request", format!("bad request: {error}"));
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(self.target.path())
            .header(header::HOST, self.target.authority())
            .header(header::USER_AGENT, concat!("hotseat/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "*/*")
            .header(header::ACCEPT_ENCODING, "identity")
            .body(Full::new(self.body.clone().unwrap_or_default()))
            .map_err(|it| broken(&it))?;
        if trusted {
            for (name, value) in &self.headers {
                request.headers_mut().insert(name, value.clone());
            }
        }
        if let Some(cookies) = jar.and_then(|it| it.header(&self.target)) {
            let value = header::HeaderValue::try_from(cookies).map_err(|it| broken(&it))?;
            request.headers_mut().insert(header::COOKIE, value);
        }
        Ok(request)
    }
}

/// One place: over the kept connection when there is one, else over a new one.
async fn hop(
    wire: &Wire,
    asked: &Asked,
    trusted: bool,
    around: &mut Around<'_>,
    deadline: Instant,
    seen: &mut Observation,
) -> Result<(Response<Incoming>, Connection), Verdict> {
    let target = &asked.target;
    let answer = match kept(around, target, deadline).await {
        Some(mut connection) => {
            let before: Phases = seen.values.phases;
            let request = asked.request(trusted, around.jar.as_deref())?;
            connection.tell(seen);
            match wire.send(&mut connection, request, deadline, seen).await {
                Ok(response) => Ok((response, connection)),
                // The server closed it in the moment in which it was used; what has no effect may be asked again.
                Err((_, trouble)) if trouble.cause == Cause::Reset && asked.method.is_safe() => {
                    seen.values.phases = before;
                    fresh(wire, asked, trusted, around, deadline, seen).await
                }
                Err(verdict) => Err(verdict),
            }
        }
        None => fresh(wire, asked, trusted, around, deadline, seen).await,
    };
    let (response, connection) = answer?;
    let status = response.status().as_u16();
    seen.values.status = Some(status);
    seen.evidence.status = Some(status);
    if let Some(jar) = around.jar.as_deref_mut() {
        jar.take(target, response.headers());
    }
    Ok((response, connection))
}

async fn kept(around: &mut Around<'_>, target: &Target, deadline: Instant) -> Option<Connection> {
    let mut connection = around.kept.as_deref_mut()?.take()?;
    let serves = tokio::time::timeout_at(deadline, connection.serves(target)).await;
    serves.is_ok_and(|it| it).then_some(connection)
}

async fn fresh(
    wire: &Wire,
    asked: &Asked,
    trusted: bool,
    around: &Around<'_>,
    deadline: Instant,
    seen: &mut Observation,
) -> Result<(Response<Incoming>, Connection), Verdict> {
    let request = asked.request(trusted, around.jar.as_deref())?;
    seen.evidence.reused = false;
    let mut connection = wire.open(&asked.target, around.at, deadline, seen).await?;
    let response = wire.send(&mut connection, request, deadline, seen).await?;
    Ok((response, connection))
}

async fn read(
    response: Response<Incoming>,
    connection: Connection,
    kept: Option<&mut Option<Connection>>,
    deadline: Instant,
    seen: &mut Observation,
) -> Result<(), Verdict> {
    let headers = response.headers();
    seen.values.headers.reserve(headers.len());
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let short = if value.len() <= HEADER_VALUE_MAX {
            value.into_owned()
        } else {
            value.chars().take(HEADER_VALUE_MAX).collect()
        };
        seen.values.headers.push((name.as_str().to_string(), short));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    let mut body = response.into_body();
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
    let got = bytes.len();
    seen.evidence.body_bytes = got as u64;
    seen.evidence.cut = cut;
    seen.values.text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    if let Some(kept) = kept.filter(|_| read.is_ok() && !cut) {
        *kept = Some(connection);
    }
    read.map_err(|(result, mut trouble)| {
        if trouble.cause == Cause::Body {
            let whole = length.map_or_else(String::new, |length| format!(" of {length}"));
            trouble.text = format!("short body: {got}{whole} bytes came, then the server hung up");
        }
        (result, trouble)
    })
}
