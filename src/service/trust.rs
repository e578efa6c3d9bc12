//! Which authorities a TLS client trusts, and the HTTP client that trusts them.
//!
//! Blocking, because a store of certificates is some hundred files: not for a thread that others wait for.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Client, ClientBuilder};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use crate::service::lack;

/// The authorities that this host trusts, read once. A bare container has no store: there the set that browsers
/// ship is better than trusting nobody.
///
/// # Errors
/// When the store could not be read for a lack of this host (descriptors, memory). Half a store is never kept: it would
/// blame servers for as long as the process runs.
pub fn host() -> io::Result<Arc<RootCertStore>> {
    static HOST: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = HOST.get() {
        return Ok(Arc::clone(roots));
    }
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        if let rustls_native_certs::ErrorKind::Io { inner, .. } = error.kind
            && lack::of(&inner).is_some()
        {
            return Err(inner);
        }
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(Arc::clone(HOST.get_or_init(|| Arc::new(roots))))
}

/// Nobody but the given certificates, in DER.
///
/// # Errors
/// When none of them is usable: a client that trusts nobody would blame the server.
pub fn only(authorities: &[Vec<u8>]) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(authorities.iter().cloned().map(CertificateDer::from));
    if added > 0 { Ok(Arc::new(roots)) } else { Err("`ca` holds no usable certificate".into()) }
}

/// An HTTP client that follows no redirect, because credentials must not follow to another place.
///
/// # Errors
/// When TLS cannot be set up; never for roots from [`host`] or [`only`].
pub fn http(roots: impl Into<Arc<RootCertStore>>, connect_deadline: Duration) -> Result<ClientBuilder, String> {
    // Named here, because reqwest is built without a provider of its own and panics when none is installed.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("hotseat/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect_deadline)
        .redirect(reqwest::redirect::Policy::none()))
}
