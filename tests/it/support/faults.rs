//! A server on a free loopback port that misbehaves as a test says, with or without TLS, and keeps what it was sent.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What the server does with a request that it has read.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answers nothing and keeps the connection.
    Hang,
    /// Ends the connection with a reset.
    Reset,
    /// Answers these bytes and closes.
    Answer(Vec<u8>),
}

impl Fault {
    /// An answer with a body of its true length.
    pub fn answer(status: &str, headers: &str, body: &str) -> Self {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
        Self::Answer((head + body).into_bytes())
    }
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub method: String,
    pub target: String,
    /// Names in lower case, in their order.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Sent {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(it, _)| it == name).map_or("", |(_, value)| value)
    }
}

/// A certificate for `localhost` and 127.0.0.1 that signs itself, and its key.
pub struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Identity {
    pub fn new() -> Self {
        Self::until(4000)
    }

    pub fn expired() -> Self {
        Self::until(2021)
    }

    fn until(last_year: i32) -> Self {
        let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).expect("names");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        Self { certificate: params.self_signed(&key).expect("a certificate"), key }
    }

    /// Writes `certificate.pem` and `key.pem`.
    pub fn write(&self, folder: &Path) {
        std::fs::write(folder.join("certificate.pem"), self.certificate.pem()).expect("certificate.pem");
        std::fs::write(folder.join("key.pem"), self.key.serialize_pem()).expect("key.pem");
    }

    fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.der().clone()], key)
            .expect("an identity");
        TlsAcceptor::from(Arc::new(config))
    }
}

/// The server; it ends when dropped.
pub struct FaultServer {
    pub address: SocketAddr,
    is_tls: bool,
    sent: Arc<Mutex<Vec<Sent>>>,
    _ends: DropGuard,
}

impl FaultServer {
    /// Starts a server; `fault` is told the request and how many came before it.
    pub fn start(fault: impl Fn(usize, &Sent) -> Fault + Send + Sync + 'static) -> Self {
        Self::start_with(None, fault)
    }

    /// Starts a server with TLS.
    pub fn start_tls(identity: &Identity, fault: impl Fn(usize, &Sent) -> Fault + Send + Sync + 'static) -> Self {
        Self::start_with(Some(identity.acceptor()), fault)
    }

    fn start_with(tls: Option<TlsAcceptor>, fault: impl Fn(usize, &Sent) -> Fault + Send + Sync + 'static) -> Self {
        let ends = CancellationToken::new();
        let sent: Arc<Mutex<Vec<Sent>>> = Arc::default();
        let (address_tx, address_rx) = std::sync::mpsc::sync_channel(1);
        let (its_end, its_sent, fault, is_tls) = (ends.clone(), sent.clone(), Arc::new(fault), tls.is_some());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                address_tx.send(listener.local_addr().expect("bound")).expect("the test waits");
                let count = Arc::new(AtomicUsize::new(0));
                loop {
                    let stream = tokio::select! {
                        accepted = listener.accept() => accepted.expect("a connection").0,
                        () = its_end.cancelled() => return,
                    };
                    let (fault, sent, count, tls) = (fault.clone(), its_sent.clone(), count.clone(), tls.clone());
                    tokio::spawn(async move {
                        let decide = |request: Sent| {
                            let fault = fault(count.fetch_add(1, Ordering::SeqCst), &request);
                            sent.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                            fault
                        };
                        match tls {
                            None => converse(stream, decide).await,
                            // A handshake that the client ends is what some tests want.
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    converse(stream, decide).await;
                                }
                            }
                        };
                    });
                }
            });
        });
        let address = address_rx.recv_timeout(Duration::from_secs(60)).expect("the server starts");
        Self { address, is_tls, sent, _ends: ends.drop_guard() }
    }

    pub fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://localhost:{}", self.address.port())
    }

    /// Every request so far.
    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A stream that can be reset.
trait Wire: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for tokio_rustls::server::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

async fn converse(mut stream: impl Wire, decide: impl Fn(Sent) -> Fault) {
    let Some(request) = read_request(&mut stream).await else { return };
    match decide(request) {
        Fault::Hang => std::future::pending().await,
        Fault::Reset => {
            socket2::SockRef::from(stream.tcp()).set_linger(Some(Duration::ZERO)).expect("a socket");
        }
        Fault::Answer(bytes) => {
            // A client that has read enough hangs up.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Sent> {
    let mut bytes = Vec::new();
    loop {
        if let Some(request) = parse(&bytes) {
            return Some(request);
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Sent> {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_string(), first.next()?.to_string());
    let header =
        |it: &str| it.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_string()));
    let headers: Vec<(String, String)> = lines.filter_map(header).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, it)| it.parse().unwrap_or(0));
    let body = bytes.get(end + 4..end + 4 + length)?;
    Some(Sent { method, target, headers, body: String::from_utf8_lossy(body).into_owned() })
}
