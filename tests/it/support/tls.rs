//! Certificates and TLS servers for tests: an authority of the test alone, chains, clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// An authority, and what it signs with.
pub struct Authority {
    file: PathBuf,
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    // Sent behind the server's own.
    intermediates: Vec<CertificateDer<'static>>,
}

fn authority_params(name: &str, last_year: i32) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
    params
}

impl Authority {
    /// Makes one; its certificate is in `root.pem` of the directory.
    pub fn new(dir: &Path) -> Self {
        Self::until(dir, 2099)
    }

    fn until(dir: &Path, last_year: i32) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = authority_params("hotseat root", last_year);
        let certificate = params.self_signed(&key).expect("a certificate");
        let file = dir.join("root.pem");
        std::fs::write(&file, certificate.pem()).expect("written");
        let root = certificate.der().clone();
        Self { file, root, issuer: Issuer::new(params, key), intermediates: Vec::new() }
    }

    /// Makes one whose root ends at the beginning of a year; its servers send the root as well, which they need not.
    pub fn with_root_sent(dir: &Path, last_year: i32) -> Self {
        let mut authority = Self::until(dir, last_year);
        authority.intermediates.push(authority.root.clone());
        authority
    }

    /// Signs with an intermediate that ends at the beginning of a year.
    pub fn with_intermediate(mut self, last_year: i32) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = authority_params("hotseat intermediate", last_year);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        self.intermediates.insert(0, certificate.der().clone());
        self.issuer = Issuer::new(params, key);
        self
    }

    /// The root's certificate in PEM form.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Makes a certificate: itself, its key, both in DER.
    pub fn certificate(&self, names: &[&str], last_year: i32) -> (Vec<CertificateDer<'static>>, KeyPair) {
        let mut params =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("names");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let mut chain = vec![certificate.der().clone()];
        chain.extend(self.intermediates.iter().cloned());
        (chain, key)
    }

    /// Writes a client's certificate and key into a directory.
    pub fn client(&self, dir: &Path) -> (PathBuf, PathBuf) {
        self.write(dir, "client", &["client"], 2099)
    }

    /// Writes a certificate with its chain, and its key, as `NAME.pem` and `NAME.key`.
    pub fn write(&self, dir: &Path, name: &str, names: &[&str], last_year: i32) -> (PathBuf, PathBuf) {
        let (chain, key) = self.certificate(names, last_year);
        let (cert_file, key_file) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        let pem: String = chain.iter().map(|it| pem(it)).collect();
        std::fs::write(&cert_file, pem).expect("written");
        std::fs::write(&key_file, key.serialize_pem()).expect("written");
        (cert_file, key_file)
    }

    /// A server that shows a certificate for these names.
    pub fn acceptor(&self, names: &[&str], last_year: i32) -> TlsAcceptor {
        let (chain, key) = self.certificate(names, last_year);
        let config = builder().with_no_client_auth().with_single_cert(chain, private(&key)).expect("a server");
        TlsAcceptor::from(Arc::new(config))
    }

    /// A server that also wants to know who its client is.
    pub fn acceptor_that_asks(&self, names: &[&str]) -> TlsAcceptor {
        let (chain, key) = self.certificate(names, 2099);
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().expect("a verifier");
        let config =
            builder().with_client_cert_verifier(verifier).with_single_cert(chain, private(&key)).expect("a server");
        TlsAcceptor::from(Arc::new(config))
    }
}

fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|it| std::str::from_utf8(it).expect("ASCII")).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(key.serialize_der().into())
}

fn builder() -> rustls::ConfigBuilder<rustls::ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions")
}

/// The server's half of a handshake; `None` when the client did not like it.
pub async fn accept(acceptor: &TlsAcceptor, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    acceptor.accept(stream).await.ok()
}
