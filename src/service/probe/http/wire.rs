//! The connection of a request: the way there, the handshakes, and what goes wrong with them, told apart.

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Certificate, Phase};
use crate::service::probe::http::location::Target;
use crate::service::probe::http::proxy::Proxy;
use crate::service::probe::net::{self, Stream, Verdict, fail};
use crate::service::probe::secure::{self, Tls, TlsSettings};

/// Bytes of headers that are read: far more than proxies let through.
const HEADERS_MAX: usize = 64 << 10;

/// How requests of one probe travel.
pub struct Wire {
    tls: Tls,
    proxy: Option<Proxy>,
    // Some(true): HTTP/2 and nothing else, also without TLS. Some(false): HTTP/1.1.
    http2: Option<bool>,
    deny_private: bool,
}

/// A server that can be asked.
pub struct Connection {
    sender: Sender,
    target: Target,
    address: Option<String>,
    protocol: String,
    chain: Vec<Certificate>,
    // Reads and writes the connection; dropping it hangs up.
    task: AbortOnDropHandle<Option<hyper::Error>>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Wire {
    /// Takes what the config says.
    pub fn new(tls: TlsSettings, proxy: Option<Proxy>, http2: Option<bool>, deny_private: bool) -> Self {
        let protocols: &[&[u8]] = match http2 {
            None => &[b"h2", b"http/1.1"],
            Some(true) => &[b"h2"],
            Some(false) => &[b"http/1.1"],
        };
        Self { tls: Tls::new(tls, protocols), proxy, http2, deny_private }
    }

    /// Goes to where a target is: name, connection, proxy, TLS. Says whether HTTP/2 was chosen.
    ///
    /// `at` is an address that was chosen before; the name is not resolved then. With `tunnel` a proxy is asked
    /// for a way of its own also without TLS.
    ///
    /// # Errors
    /// What went wrong on the way.
    pub async fn reach(
        &self,
        target: &Target,
        at: Option<SocketAddr>,
        tunnel: bool,
        deadline: Instant,
        seen: &mut Observation,
    ) -> Result<(Stream, bool), Verdict> {
        let phases = &mut seen.values.phases;
        let (host, port) = match &self.proxy {
            Some(proxy) => (proxy.host.as_str(), proxy.port),
            None => (target.host.as_str(), target.port),
        };
        let address = match at {
            Some(address) => address,
            None => net::resolve(phases, deadline, host, port).await?,
        };
        if self.deny_private {
            net::deny_private(host, address)?;
        }
        seen.evidence.address = Some(address.to_string());
        let connected = net::connect(phases, deadline, address).await;
        let connected = connected.map_err(|verdict| if self.proxy.is_some() { of_proxy(verdict) } else { verdict })?;
        let mut stream: Stream = Box::new(connected);
        if let Some(proxy) = self.proxy.as_ref().filter(|_| target.is_tls || tunnel) {
            let work = proxy.tunnel(&mut stream, &target.host, target.port);
            net::timed(phases, Phase::Proxy, deadline, work).await?;
        }
        if !target.is_tls {
            return Ok((stream, self.http2 == Some(true)));
        }
        let stream = self.tls.shake(&target.host, stream, deadline, seen).await?;
        let chosen = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Box::new(stream), chosen || self.http2 == Some(true)))
    }

    /// Opens a connection. What it takes beyond TLS belongs to the wait for the answer.
    ///
    /// # Errors
    /// What went wrong on the way.
    pub async fn open(
        &self,
        target: &Target,
        at: Option<SocketAddr>,
        deadline: Instant,
        seen: &mut Observation,
    ) -> Result<Connection, Verdict> {
        seen.evidence.protocol = None;
        let (stream, is_http2) = self.reach(target, at, false, deadline, seen).await?;
        let version = if is_http2 { "HTTP/2" } else { "HTTP/1.1" };
        let protocol = match seen.evidence.protocol.take() {
            Some(tls) => format!("{version} {tls}"),
            None => version.to_string(),
        };
        let work = async {
            if is_http2 {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder.max_header_list_size(HEADERS_MAX as u32);
                let (sender, work) = builder.handshake(TokioIo::new(stream)).await.map_err(|it| answer_trouble(&it))?;
                let task = tokio::spawn(async move { work.await.err() });
                Ok((Sender::Http2(sender), task))
            } else {
                let mut builder = http1::Builder::new();
                builder.max_buf_size(HEADERS_MAX);
                let (sender, work) = builder.handshake(TokioIo::new(stream)).await.map_err(|it| answer_trouble(&it))?;
                let task = tokio::spawn(async move { work.await.err() });
                Ok((Sender::Http1(sender), task))
            }
        };
        let (sender, task) = net::timed(&mut seen.values.phases, Phase::Wait, deadline, work).await?;
        let address = seen.evidence.address.clone();
        let chain = if target.is_tls { seen.evidence.chain.clone() } else { Vec::new() };
        let connection =
            Connection { sender, target: target.clone(), address, protocol, chain, task: AbortOnDropHandle::new(task) };
        seen.evidence.protocol = Some(connection.protocol.clone());
        Ok(connection)
    }

    /// Makes a request fit for a connection: who is named where differs by protocol and by proxy.
    fn address_request(
        &self,
        target: &Target,
        is_http2: bool,
        request: &mut Request<Full<Bytes>>,
    ) -> Result<(), Verdict> {
        let is_proxied = self.proxy.is_some() && !target.is_tls;
        if !is_http2 && !is_proxied {
            return Ok(());
        }
        let scheme = if target.is_tls { "https" } else { "http" };
        let absolute = format!("{scheme}://{}{}", target.authority(), target.path());
        *request.uri_mut() =
            absolute.parse().map_err(|error| fail(Cause::Own, "request", format!("bad request: {error}")))?;
        if is_http2 {
            // HTTP/2 takes scheme and host from the URI and has no `Host`.
            request.headers_mut().remove(header::HOST);
            *request.version_mut() = hyper::Version::HTTP_2;
        }
        if let Some(authorization) = self.proxy.as_ref().filter(|_| is_proxied).and_then(|it| it.authorization.as_ref())
        {
            let value = header::HeaderValue::try_from(authorization.as_str())
                .map_err(|error| fail(Cause::Own, "request", format!("bad request: {error}")))?;
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, value);
        }
        Ok(())
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn send(
        &self,
        connection: &mut Connection,
        mut request: Request<Full<Bytes>>,
        deadline: Instant,
        seen: &mut Observation,
    ) -> Result<Response<Incoming>, Verdict> {
        let is_http2 = matches!(connection.sender, Sender::Http2(_));
        self.address_request(&connection.target, is_http2, &mut request)?;
        let work = async {
            let answer = match &mut connection.sender {
                Sender::Http1(it) => it.send_request(request).await,
                Sender::Http2(it) => it.send_request(request).await,
            };
            match answer {
                Ok(answer) => Ok(answer),
                // The connection ended under the request: only its own task knows why.
                Err(error) if error.is_canceled() || error.is_closed() => match (&mut connection.task).await {
                    Ok(Some(why)) => Err(answer_trouble(&why)),
                    _ => Err(answer_trouble(&error)),
                },
                Err(error) => Err(answer_trouble(&error)),
            }
        };
        net::timed(&mut seen.values.phases, Phase::Wait, deadline, work).await
    }
}

impl Connection {
    /// True when it leads to the target and both ends still hold it.
    pub async fn serves(&mut self, target: &Target) -> bool {
        let same = self.target.is_same_origin(target);
        same && match &mut self.sender {
            Sender::Http1(it) => it.ready().await.is_ok(),
            Sender::Http2(it) => it.ready().await.is_ok(),
        }
    }

    /// Says of a run that went over a kept connection what its first run learnt.
    pub fn tell(&self, seen: &mut Observation) {
        seen.evidence.reused = true;
        seen.evidence.address.clone_from(&self.address);
        seen.evidence.protocol = Some(self.protocol.clone());
        secure::tell(secure::renewed(self.chain.clone()), seen);
    }
}

/// How hyper ends what it says of an answer in HTTP/1 where HTTP/2 was spoken: its first bytes read as a frame's size.
const FRAME_TOO_LARGE: &str = "frame with invalid size";

/// Looks for an error of a kind among the causes of another.
fn cause_of<T: std::error::Error + 'static>(error: &hyper::Error) -> Option<&T> {
    let mut source = std::error::Error::source(error);
    while let Some(it) = source {
        if let Some(found) = it.downcast_ref::<T>() {
            return Some(found);
        }
        source = it.source();
    }
    None
}

fn io_kind(error: &hyper::Error) -> Option<std::io::ErrorKind> {
    cause_of::<std::io::Error>(error).map(std::io::Error::kind)
}

fn alert(error: &hyper::Error) -> Option<Verdict> {
    let inner = cause_of::<std::io::Error>(error)?.get_ref()?;
    let Some(rustls::Error::AlertReceived(alert)) = inner.downcast_ref::<rustls::Error>() else { return None };
    // In TLS 1.3 a server judges our certificate after our half of the handshake has ended.
    Some(fail(Cause::Tls, "tls", format!("the server ended the connection with a TLS alert: {alert:?}")))
}

/// Says of what went wrong on the way to the proxy that it is the proxy's.
fn of_proxy((result, mut trouble): Verdict) -> Verdict {
    if trouble.cause != Cause::Own {
        trouble.text = format!("proxy: {}", trouble.text);
    }
    (result, trouble)
}

/// What went wrong before the head of an answer.
pub fn answer_trouble(error: &hyper::Error) -> Verdict {
    use std::io::ErrorKind;
    if let Some(verdict) = alert(error) {
        return verdict;
    }
    if error.is_parse_too_large() {
        return fail(Cause::Protocol, "headers", format!("the answer's headers are larger than {HEADERS_MAX} bytes"));
    }
    if error.is_parse() {
        return fail(Cause::Protocol, "not http", format!("the answer is not HTTP: {error}"));
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return fail(Cause::Reset, "reset", "connected, but the server hung up without an answer");
    }
    match io_kind(error) {
        Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof) => {
            fail(Cause::Reset, "reset", "connected, but the server reset the connection")
        }
        _ => {
            let why = std::error::Error::source(error).map_or_else(String::new, |it| format!(": {it}"));
            if why.ends_with(FRAME_TOO_LARGE) {
                return fail(
                    Cause::Protocol,
                    "not http/2",
                    "the answer is not HTTP/2: does this port speak HTTP/1 only?",
                );
            }
            fail(Cause::Protocol, "protocol", format!("no valid answer: {error}{why}"))
        }
    }
}

/// What went wrong in the body.
pub fn body_trouble(error: &hyper::Error) -> Verdict {
    if let Some(verdict) = alert(error) {
        return verdict;
    }
    match io_kind(error) {
        Some(std::io::ErrorKind::ConnectionReset) => {
            fail(Cause::Reset, "reset", "the server reset the connection in the body")
        }
        _ => fail(Cause::Body, "short body", format!("the body did not end properly: {error}")),
    }
}
