//! What an http probe can be told, read from the config.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::{Method, header};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::registry::node::Node;
use crate::service::probe::Probe;
use crate::service::probe::http::location::Target;

/// Redirects followed when nothing is said.
const REDIRECTS: u8 = 5;
/// Most redirects that can be asked for: browsers give up at 20, and each is a whole pipeline.
const REDIRECTS_MAX: i64 = 10;

/// What an http probe was told.
#[derive(Debug, Clone, Hash)]
pub struct Settings {
    /// As written, with its secrets.
    pub url: String,
    /// Upper case.
    pub method: String,
    /// Sent to the first host only.
    pub headers: Vec<(String, String)>,
    /// Sent with the request.
    pub body: Option<String>,
    /// How many redirects are followed; 0 takes the first answer as it is.
    pub redirects: u8,
    /// Check the certificate.
    pub verify: bool,
    /// Trust these and no others.
    pub authorities: Option<Vec<Vec<u8>>>,
    /// What must never be shown.
    pub secrets: Vec<String>,
}

/// Reads the value of `http`: a URL, or a table.
pub fn build(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    if !node.is_table() {
        let settings = plain(node.string()?);
        return with_target(node, settings);
    }
    let url = node.require("url");
    let mut settings = plain(url.as_ref().and_then(Node::string).unwrap_or_default());
    let mut good = true;
    if let Some(it) = node.get("method") {
        let method = it.string().map(|it| it.to_ascii_uppercase());
        match method.filter(|it| Method::from_bytes(it.as_bytes()).is_ok()) {
            Some(method) => settings.method = method,
            None => good = false,
        }
    }
    if let Some(table) = node.get("headers") {
        good &= read_headers(&table, &mut settings);
    }
    good &= read_body(node, &mut settings);
    if let Some(it) = node.get("redirects") {
        match it.integer(0..REDIRECTS_MAX + 1).and_then(|it| u8::try_from(it).ok()) {
            Some(redirects) => settings.redirects = redirects,
            None => good = false,
        }
    }
    if let Some(it) = node.get("verify") {
        settings.verify = it.boolean().unwrap_or(true);
    }
    if let Some(it) = node.get("ca") {
        settings.authorities = read_authorities(&it);
        good &= settings.authorities.is_some();
    }
    node.finish(&[]);
    let probe = with_target(&url?, settings);
    probe.filter(|_| good)
}

fn plain(url: String) -> Settings {
    Settings {
        url,
        method: "GET".into(),
        headers: Vec::new(),
        body: None,
        redirects: REDIRECTS,
        verify: true,
        authorities: None,
        secrets: Vec::new(),
    }
}

fn with_target(node: &Node<'_>, mut settings: Settings) -> Option<Box<dyn Probe>> {
    let target = match Target::parse(&settings.url) {
        Ok(target) => target,
        Err(message) => {
            node.error_with_hint(message, "write the whole URL, as in `https://api.example.com/health`");
            return None;
        }
    };
    if let Some(userinfo) = &target.userinfo {
        let password = userinfo.split_once(':').map_or(userinfo.as_str(), |(_, password)| password);
        settings.secrets.push(password.to_string());
        let basic = format!("Basic {}", STANDARD.encode(userinfo));
        settings.headers.push((header::AUTHORIZATION.to_string(), basic));
    }
    Some(super::probe(settings, target))
}

fn read_headers(table: &Node<'_>, settings: &mut Settings) -> bool {
    let mut good = true;
    for (name, _) in table.keys() {
        let Some(value) = table.get(&name).and_then(|it| it.string()) else {
            good = false;
            continue;
        };
        if header::HeaderName::try_from(name.as_str()).is_err() {
            table.error_at_key(&name, format!("`{name}` is not a header name"), None);
            good = false;
        } else if header::HeaderValue::try_from(value.as_str()).is_err() {
            table.error_at_key(&name, format!("the value of `{name}` cannot stand in a header"), None);
            good = false;
        } else {
            // Whatever is put into a header by hand may be a key; ordinary values are masked without harm.
            settings.secrets.extend(value.split_whitespace().last().map(str::to_string));
            settings.headers.push((name, value));
        }
    }
    good
}

fn read_body(node: &Node<'_>, settings: &mut Settings) -> bool {
    let (body, json) = (node.get("body"), node.get("json"));
    match (body, json) {
        (Some(_), Some(json)) => {
            json.error_with_hint(
                "`json` and `body` exclude each other",
                "keep one of them; `json` also sets the content type",
            );
            false
        }
        (Some(body), None) => {
            settings.body = body.string();
            settings.body.is_some()
        }
        (None, Some(json)) => {
            let Some(value) = json.json() else { return false };
            secrets_in(&value, &mut settings.secrets);
            settings.body = Some(value.to_string());
            let has_type = settings.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
            if !has_type {
                settings.headers.push((header::CONTENT_TYPE.to_string(), "application/json".into()));
            }
            true
        }
        (None, None) => true,
    }
}

/// Members of a JSON body by whose name the value is a secret.
const SECRET_NAMES: &[&str] = &["pass", "secret", "token", "key"];

fn secrets_in(value: &serde_json::Value, secrets: &mut Vec<String>) {
    let serde_json::Value::Object(members) = value else { return };
    for (name, member) in members {
        match member {
            serde_json::Value::String(text) => {
                let name = name.to_ascii_lowercase();
                if SECRET_NAMES.iter().any(|it| name.contains(it)) {
                    secrets.push(text.clone());
                }
            }
            nested => secrets_in(nested, secrets),
        }
    }
}

fn read_authorities(node: &Node<'_>) -> Option<Vec<Vec<u8>>> {
    let path = node.string()?;
    let read = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if !found.is_empty() => Some(found.iter().map(|it| it.to_vec()).collect()),
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
