//! The TLS handshake, with the certificate chain also when it is not trusted.

mod chain;
mod settings;
pub mod words;

use std::cell::RefCell;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::clock;
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Phase, ProbeResult, Trouble};
use crate::domain::sanitise;
use crate::service::probe::net::{self, Stream, Verdict, fail};
use crate::service::trust;

pub use chain::{renewed, tell};
pub use settings::TlsSettings;

/// Handshakes for each core at the same time. They are the only work that needs the processor: more at once
/// make every one of them look slow, and waiting for the network is not limited at all.
const HANDSHAKES_PER_CORE: usize = 2;
/// How long a handshake keeps its turn: its own share is a millisecond or two, the rest is the network's, and a
/// server that never answers must not hold up the others.
const TURN: Duration = Duration::from_millis(20);
/// How long a handshake waits for its turn before it goes on without: late is better than not at all.
const TURN_WAIT_MAX: Duration = Duration::from_millis(250);
/// Names of a certificate that a message lists.
const NAMES_MAX: usize = 4;

static HANDSHAKES: LazyLock<Semaphore> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    Semaphore::new(cores * HANDSHAKES_PER_CORE)
});

tokio::task_local! {
    /// The chain that the server of this handshake sent. It lets one configuration serve all runs of a probe.
    static CHAIN: RefCell<Vec<Vec<u8>>>;
}

/// How one probe speaks TLS. The configuration is made once, the sessions are always new.
pub struct Tls {
    settings: TlsSettings,
    protocols: Vec<Vec<u8>>,
    config: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    /// Takes the settings, and the protocols to offer by ALPN (none: no ALPN).
    pub fn new(settings: TlsSettings, protocols: &[&[u8]]) -> Self {
        Self { settings, protocols: protocols.iter().map(|it| it.to_vec()).collect(), config: OnceLock::new() }
    }

    /// Shakes hands. Fills in the chain, also when it fails, and the protocol.
    ///
    /// # Errors
    /// When the server is not trusted, does not speak TLS, or does not answer in time.
    pub async fn shake(
        &self,
        host: &str,
        stream: Stream,
        deadline: Instant,
        seen: &mut Observation,
    ) -> Result<TlsStream<Stream>, Verdict> {
        let host = self.settings.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(host.to_string())
            .map_err(|error| fail(Cause::Tls, "tls", format!("`{host}` cannot stand in a certificate: {error}")))?;
        let config = self.config().await?;
        let queued_at = clock::monotonic();
        let turn = tokio::time::timeout(TURN_WAIT_MAX, HANDSHAKES.acquire()).await;
        seen.queued += clock::monotonic() - queued_at;
        let phases = &mut seen.values.phases;
        let (shaken, chain) = CHAIN
            .scope(RefCell::default(), async {
                let shaken = net::timed(phases, Phase::Tls, deadline, async {
                    let work = TlsConnector::from(config).connect(name, stream);
                    tokio::pin!(work);
                    let first = tokio::time::timeout(TURN, &mut work).await;
                    drop(turn);
                    let done = match first {
                        Ok(done) => done,
                        Err(_) => work.await,
                    };
                    done.map_err(|error| (ProbeResult::Fail, handshake_trouble(host, &error)))
                });
                (shaken.await, CHAIN.with(RefCell::take))
            })
            .await;
        tell(chain::read(&chain), seen);
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
        let version = stream.get_ref().1.protocol_version().and_then(|it| it.as_str()).unwrap_or("TLS");
        seen.evidence.protocol = Some(version.replace('_', "."));
        Ok(stream)
    }

    async fn config(&self) -> Result<Arc<ClientConfig>, Verdict> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let own = |what: &str, error: &dyn std::fmt::Display| {
            let text = format!("could not check: {what}: {error}");
            (ProbeResult::Unknown, Trouble::new(Cause::Own, "cannot check", text))
        };
        let provider = Arc::new(settings::provider());
        let roots = roots(&self.settings).await.map_err(|error| own("no trusted certificates", &error))?;
        let checker = if self.settings.verify {
            let built = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            Some(built.map_err(|error| own("the certificate store", &error))?)
        } else {
            None
        };
        let recorder = Arc::new(Recorder { checker, provider: Arc::clone(&provider) });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| own("tls", &error))?
            .dangerous()
            .with_custom_certificate_verifier(recorder);
        let mut config = match &self.settings.client {
            Some(it) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&it.0)))),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        config.alpn_protocols.clone_from(&self.protocols);
        Ok(Arc::clone(self.config.get_or_init(|| Arc::new(config))))
    }
}

async fn roots(settings: &TlsSettings) -> Result<Arc<RootCertStore>, String> {
    match &settings.authorities {
        Some(own) => trust::only(own),
        // Reads some hundred files: not on a thread that others wait for.
        None => match tokio::task::spawn_blocking(trust::host).await {
            Ok(roots) => roots.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        },
    }
}

/// Keeps the server's certificates before they are judged.
#[derive(Debug)]
struct Recorder {
    // None: `verify = false`.
    checker: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
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
        let sent = std::iter::once(end_entity).chain(intermediates).take(chain::CHAIN_MAX);
        // Outside a handshake of ours there is nobody to tell.
        let _ = CHAIN.try_with(|it| it.replace(sent.map(|it| it.to_vec()).collect()));
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

/// The name alone: rustls gives `DnsName("example.com")` and `IpAddress(203.0.113.7)`.
fn bare_name(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, it)| it.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"')
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
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })
            if !presented.is_empty() =>
        {
            let more = if presented.len() > NAMES_MAX { " and more" } else { "" };
            let names: Vec<&str> = presented.iter().take(NAMES_MAX).map(|it| bare_name(it)).collect();
            tls("tls", format!("the certificate is not for `{host}` but for {}{more}", names.join(", ")))
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => tls("tls", format!("the certificate is not for `{host}`")),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            tls("tls", "the certificate's issuer is not trusted".into())
        }
        Error::InvalidCertificate(other) => {
            tls("tls", format!("the certificate is not valid: {}", words::invalid(other)))
        }
        Error::AlertReceived(alert) => {
            tls("tls", format!("the server refused the TLS handshake: {}", words::alert(*alert)))
        }
        Error::InvalidMessage(_) => tls("not tls", "the answer is not TLS: does this port speak plain http?".into()),
        other => tls("tls", format!("the TLS handshake failed: {}", words::failure(other))),
    }
}
