//! What a kind that speaks TLS can be told: whom to trust, who we are, under which name.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;

use crate::registry::node::Node;

/// How a server is trusted and how we show who we are.
#[derive(Debug, Clone, Hash)]
pub struct TlsSettings {
    /// Check the certificate.
    pub verify: bool,
    /// Trust these and no others; DER.
    pub authorities: Option<Vec<Vec<u8>>>,
    /// Our own certificate, for servers that ask for one.
    pub client: Option<Identity>,
    /// Ask for, and check, this name instead of the host's.
    pub server_name: Option<String>,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self { verify: true, authorities: None, client: None, server_name: None }
    }
}

/// A certificate of ours with its key. What it prints holds neither.
#[derive(Clone)]
pub struct Identity(pub Arc<CertifiedKey>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Another key means another certificate.
        for certificate in &self.0.cert {
            certificate.as_ref().hash(state);
        }
    }
}

impl TlsSettings {
    /// Takes the keys `verify`, `ca`, `client` and `server_name` of a table. `None` after a mistake.
    pub fn read(node: &Node<'_>) -> Option<Self> {
        let mut settings = Self::default();
        let mut good = true;
        if let Some(it) = node.get("verify") {
            match it.boolean() {
                Some(verify) => settings.verify = verify,
                None => good = false,
            }
        }
        if let Some(it) = node.get("ca") {
            settings.authorities = certificates(&it).map(|found| found.iter().map(|it| it.to_vec()).collect());
            good &= settings.authorities.is_some();
        }
        if let Some(it) = node.get("client") {
            settings.client = identity(&it);
            good &= settings.client.is_some();
        }
        if let Some(it) = node.get("server_name") {
            settings.server_name = it.string().filter(|name| {
                let is_name = ServerName::try_from(name.as_str()).is_ok();
                if !is_name {
                    it.error_with_hint(
                        format!("`{name}` cannot stand in a certificate"),
                        "write a host name, as in `api.example.com`",
                    );
                }
                is_name
            });
            good &= settings.server_name.is_some();
        }
        good.then_some(settings)
    }

    /// True when a key was given that means nothing without TLS.
    pub fn is_told(&self) -> bool {
        !self.verify || self.authorities.is_some() || self.client.is_some() || self.server_name.is_some()
    }
}

/// Reads `{ cert = "…pem", key = "…pem" }`.
fn identity(node: &Node<'_>) -> Option<Identity> {
    if !node.expect_table() {
        return None;
    }
    let (cert, key) = (node.require("cert"), node.require("key"));
    node.finish(&[]);
    let (cert, key) = (cert?, key?);
    let chain = certificates(&cert)?;
    let path = key.string()?;
    let hint = "check the path and its permissions; the file must be an unencrypted key in PEM form";
    let private = PrivateKeyDer::from_pem_file(&path)
        .inspect_err(|error| key.error_with_hint(format!("could not read a key from `{path}`: {error}"), hint))
        .ok()?;
    match CertifiedKey::from_der(chain, private, &provider()) {
        Ok(found) => Some(Identity(Arc::new(found))),
        Err(error) => {
            let hint = "name the certificate first in its file, and the key that belongs to it";
            key.error_with_hint(format!("the key in `{path}` does not fit the certificate: {error}"), hint);
            None
        }
    }
}

fn certificates(node: &Node<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let path = node.string()?;
    let read = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if !found.is_empty() => Some(found),
        Ok(_) => {
            node.error_with_hint(
                format!("`{path}` holds no certificate"),
                "name a file in PEM form, `-----BEGIN CERTIFICATE-----`",
            );
            None
        }
        Err(error) => {
            node.error_with_hint(
                format!("could not read certificates from `{path}`: {error}"),
                "check the path and its permissions; the file must be PEM",
            );
            None
        }
    }
}

/// The cryptography in use.
pub fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}
