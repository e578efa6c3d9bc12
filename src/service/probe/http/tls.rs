//! The TLS handshake, with the certificate's facts also when it is not trusted.

use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::clock;
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Certificate, Phase, ProbeResult, Trouble};
use crate::domain::sanitise;
use crate::service::probe::http::Roots;
use crate::service::probe::http::settings::Settings;
use crate::service::probe::net::{self, Verdict, fail};

/// Handshakes for each core at the same time. They are the only work that needs the processor: more at once
/// make every one of them look slow, and waiting for the network is not limited at all.
const HANDSHAKES_PER_CORE: usize = 2;

static HANDSHAKES: LazyLock<Semaphore> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    Semaphore::new(cores * HANDSHAKES_PER_CORE)
});
/// The host's certificate store, read once: it has hundreds of entries.
static ROOTS: OnceLock<Roots> = OnceLock::new();

/// A connection after its handshake.
pub struct Secured {
    /// The connection.
    pub stream: TlsStream<TcpStream>,
    /// The server chose HTTP/2.
    pub is_http2: bool,
}

/// Shakes hands. Fills in certificate and protocol, also when it fails.
pub async fn secure(
    settings: &Settings,
    host: &str,
    stream: TcpStream,
    deadline: Instant,
    seen: &mut Observation,
) -> Result<Secured, Verdict> {
    let own = |what: &str, error: &dyn std::fmt::Display| {
        (ProbeResult::Unknown, Trouble::new(Cause::Own, "cannot check", format!("could not check: {what}: {error}")))
    };
    let name = ServerName::try_from(host.to_string())
        .map_err(|error| fail(Cause::Tls, "tls", format!("`{host}` cannot stand in a certificate: {error}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = roots(settings).await.map_err(|error| own("no trusted certificates", &error))?;
    let checker = if settings.verify {
        let built = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        Some(built.map_err(|error| own("the certificate store", &error))?)
    } else {
        None
    };
    let recorder = Arc::new(Recorder { checker, provider: Arc::clone(&provider), leaf: Mutex::default() });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| own("tls", &error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Recorder>::clone(&recorder))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));

    let queued_at = clock::monotonic();
    let turn = tokio::time::timeout_at(deadline, HANDSHAKES.acquire()).await;
    seen.queued += clock::monotonic() - queued_at;
    let _turn = match turn {
        Ok(Ok(turn)) => turn,
        _ => return Err(own("this machine is too busy", &"no turn for the TLS handshake before the deadline")),
    };
    let shaken = net::timed(&mut seen.values.phases, Phase::Tls, deadline, async {
        connector.connect(name, stream).await.map_err(|error| (ProbeResult::Fail, handshake_trouble(host, &error)))
    })
    .await;
    seen.evidence.certificate = recorder.certificate();
    seen.values.cert_days = seen.evidence.certificate.as_ref().map(|it| it.days);
    let stream = shaken.map_err(|(result, mut trouble)| {
        if let (Cause::Tls, Some(certificate)) = (trouble.cause, &seen.evidence.certificate) {
            let ends = match certificate.days {
                days if days < 0 => format!("ended {} d ago", -days),
                days => format!("{days} d left"),
            };
            trouble.text =
                format!("{} ({}, issued by {}, {ends})", trouble.text, certificate.subject, certificate.issuer);
        }
        (result, trouble)
    })?;
    let session = stream.get_ref().1;
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let version = session.protocol_version().and_then(|it| it.as_str()).unwrap_or("TLS");
    seen.evidence.protocol = Some(format!("{} {version}", if is_http2 { "HTTP/2" } else { "HTTP/1.1" }));
    Ok(Secured { stream, is_http2 })
}

async fn roots(settings: &Settings) -> Result<Roots, String> {
    if let Some(authorities) = &settings.authorities {
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(authorities.iter().cloned().map(CertificateDer::from));
        return if added > 0 { Ok(Arc::new(roots)) } else { Err("`ca` holds no usable certificate".into()) };
    }
    if let Some(roots) = ROOTS.get() {
        return Ok(Arc::clone(roots));
    }
    // Reads some hundred files: not on a thread that others wait for.
    tokio::task::spawn_blocking(|| Arc::clone(ROOTS.get_or_init(load_roots))).await.map_err(|error| error.to_string())
}

fn load_roots() -> Roots {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        // A bare container has no store; the set that browsers ship is better than trusting nobody.
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Arc::new(roots)
}

/// Keeps the server's certificate before it is judged.
#[derive(Debug)]
struct Recorder {
    // None: `verify = false`.
    checker: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    leaf: Mutex<Option<Vec<u8>>>,
}

impl Recorder {
    fn certificate(&self) -> Option<Certificate> {
        let leaf = self.leaf.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf.as_deref()?).ok()?;
        let not_after = Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()?;
        let left_s = not_after.as_second() - clock::now().as_second();
        let name = |it: &x509_parser::x509::X509Name<'_>| {
            let common = it.iter_common_name().next().and_then(|it| it.as_str().ok().map(str::to_string));
            sanitise::text(&common.unwrap_or_else(|| it.to_string()))
        };
        Some(Certificate {
            days: left_s.div_euclid(86_400),
            not_after,
            subject: name(parsed.subject()),
            issuer: name(parsed.issuer()),
        })
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.leaf.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.to_vec());
        match &self.checker {
            Some(checker) => checker.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn handshake_trouble(host: &str, error: &std::io::Error) -> Trouble {
    let tls = |brief: &str, text: String| Trouble::new(Cause::Tls, brief, sanitise::text(&text));
    let Some(why) = error.get_ref().and_then(|it| it.downcast_ref::<Error>()) else {
        return match error.kind() {
            std::io::ErrorKind::UnexpectedEof => tls("tls", "the server hung up in the TLS handshake".into()),
            std::io::ErrorKind::ConnectionReset => {
                Trouble::new(Cause::Reset, "reset", "the server reset the connection in the TLS handshake")
            }
            _ => tls("tls", format!("the TLS handshake failed: {error}")),
        };
    };
    match why {
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            tls("cert expired", "the certificate has expired".into())
        }
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            tls("tls", "the certificate is not valid yet".into())
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => tls("tls", format!("the certificate is not for `{host}`")),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            tls("tls", "the certificate's issuer is not trusted".into())
        }
        Error::InvalidCertificate(other) => tls("tls", format!("the certificate is not valid: {other}")),
        Error::AlertReceived(alert) => tls("tls", format!("the server refused the TLS handshake: {alert:?}")),
        Error::InvalidMessage(_) => tls("not tls", "the answer is not TLS: does this port speak plain http?".into()),
        other => tls("tls", format!("the TLS handshake failed: {other}")),
    }
}
