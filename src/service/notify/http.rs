//! What the HTTP notifiers share: one client, one way to send, one way to judge an answer.
//!
//! A redirect is never followed, because what is sent holds a secret and was meant for the host in the config.
//! A connection is used once: pages are rare, and on one that was kept open a request that breaks cannot be
//! told from one that arrived.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Client, Method, Response, Url};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::Instant;

use crate::clock;
use crate::domain::probe::expect::shorten;
use crate::domain::sanitise;
use crate::domain::secrets::is_telling;
use crate::registry::node::Node;
use crate::service::notify::{RetryAfter, SendError};
use crate::service::probe::redact::redact;
use crate::service::probe::secure::words;
use crate::service::trust;

/// Time to connect, TLS included: what takes longer is away.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read. The longest that says anything is an error of some hundred bytes.
pub const ANSWER_MAX: usize = 64 << 10;
/// Characters of a channel's words that are kept.
const WORDS_MAX: usize = 240;
/// Longest pause that a channel may ask for: a page that waits longer had better go elsewhere.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Certificates to trust instead of those of the host and of Mozilla, in DER.
pub type Authorities = Option<Vec<Vec<u8>>>;

/// A place to send to. Everything in it may be secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where.
    pub url: Url,
    /// Trusted instead of the usual ones.
    pub authorities: Authorities,
    /// Never shown; the URL's own path and query count as well when `url_is_secret`.
    pub secrets: Vec<String>,
    /// Knowing the URL is enough to write there.
    pub url_is_secret: bool,
}

/// A request.
pub struct Call {
    /// `POST` for most.
    pub method: Method,
    /// Where.
    pub url: Url,
    /// Content type, authorization.
    pub headers: HeaderMap,
    /// What.
    pub body: String,
}

impl Call {
    /// A POST of a text with its content type.
    pub fn post(url: Url, content_type: &'static str, body: String) -> Self {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Self { method: Method::POST, url, headers, body }
    }

    /// Adds a header that is not shown; a value that cannot stand in a header is left out, the config refuses it.
    #[must_use]
    pub fn with_secret(mut self, name: header::HeaderName, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::try_from(value) {
            value.set_sensitive(true);
            self.headers.insert(name, value);
        }
        self
    }
}

/// An answer that is a success.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 200 to 299.
    pub status: u16,
    /// Its beginning.
    pub body: String,
    /// It broke off, or is longer than [`ANSWER_MAX`].
    pub cut: bool,
}

impl Endpoint {
    /// A place whose URL may be shown.
    pub fn new(url: Url, secrets: Vec<String>) -> Self {
        Self { url, authorities: None, secrets, url_is_secret: false }
    }

    /// The URL for people: with the host alone when the rest is secret.
    pub fn shown(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        if self.url_is_secret {
            return sanitise::text(host);
        }
        let mut url = self.url.clone();
        // Neither fails: a URL with a host can have a user.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        self.clean(url.as_str().trim_end_matches('/'))
    }

    /// Without secrets, harmless, short.
    pub fn clean(&self, text: &str) -> String {
        let mut secrets = self.secrets.clone();
        if self.url_is_secret {
            secrets.push(self.url.as_str().to_string());
            // The last part alone is the key to some channels, and errors quote it.
            let path = self.url.path().trim_matches('/');
            let parts = path.split('/').chain([path]).chain(self.url.query());
            secrets.extend(parts.filter(|it| is_telling(it)).map(str::to_string));
        }
        secrets.extend(self.url.password().map(str::to_string));
        // The longest first: a short one may be a part of it.
        secrets.sort_by_key(|it| std::cmp::Reverse(it.len()));
        // Cut last, so that no secret is cut before it is found.
        shorten(sanitise::text(&redact(text, &secrets)).trim(), WORDS_MAX)
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// Whatever is not a success: 408, 425, 429 and 5xx may succeed later, other codes and redirects never; a
    /// connection that broke after the request was written is ambiguous.
    pub async fn send(&self, call: Call, deadline: Instant) -> Result<Answer, SendError> {
        let client = client(self.authorities.as_ref()).map_err(|why| SendError::transient(self.clean(&why)))?;
        let host = call.url.host_str().unwrap_or_default().to_string();
        let port = call.url.port_or_known_default().unwrap_or_default();
        let mut request = client.request(call.method, call.url).headers(call.headers);
        request = request.body(call.body);
        let exchange = async {
            let response = request.send().await.map_err(|error| self.broken(&host, port, error))?;
            self.judge(&host, response).await
        };
        match tokio::time::timeout_at(deadline, exchange).await {
            Ok(result) => result,
            // Connecting has its own, shorter deadline; what hangs now has most likely been given the request.
            Err(_) => Err(SendError::ambiguous(format!("{host} took the request and did not answer in time"))),
        }
    }

    async fn judge(&self, host: &str, response: Response) -> Result<Answer, SendError> {
        let status = response.status();
        let headers = response.headers().clone();
        let text = |name| headers.get(name).and_then(|it: &HeaderValue| it.to_str().ok());
        if status.is_redirection() {
            let place = text(header::LOCATION).and_then(|it| self.url.join(it).ok());
            let place = place
                .map_or_else(String::new, |it| format!(" to {}", self.clean(&shown_place(&it, self.url_is_secret))));
            return Err(SendError::permanent(format!(
                "{host} redirects{place} ({}), and secrets do not follow: write that URL into the config if it is right",
                status.as_u16()
            )));
        }
        let retry_after = text(header::RETRY_AFTER).and_then(|it| parse_retry_after(it, clock::now()));
        let (body, cut) = read_bounded(response).await;
        if status.is_success() {
            return Ok(Answer { status: status.as_u16(), body, cut });
        }
        let why = reason(&body);
        let text = match why.as_str() {
            "" => format!("{host} answered {}", status.as_u16()),
            why => self.clean(&format!("{host} answered {}: {why}", status.as_u16())),
        };
        let permanent = !status.is_server_error() && !matches!(status.as_u16(), 408 | 425 | 429);
        Err(SendError { permanent, retry_after, text, ..SendError::default() })
    }

    fn broken(&self, host: &str, port: u16, error: reqwest::Error) -> SendError {
        let before_it_was_sent = error.is_connect() || error.is_builder();
        let is_timeout = error.is_timeout();
        let cause = innermost(&error.without_url());
        let text = if !before_it_was_sent {
            format!("{host} broke off after the request was sent: {cause}")
        } else if is_timeout {
            format!("{host} does not answer")
        } else {
            unconnected(host, port, &cause)
        };
        SendError { ambiguous: !before_it_was_sent, text: self.clean(&text), ..SendError::default() }
    }
}

/// Where a redirect leads, without user and query, and without the path where a path is a secret.
fn shown_place(url: &Url, path_is_secret: bool) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map_or_else(String::new, |it| format!(":{it}"));
    let path = if path_is_secret { "" } else { url.path() };
    format!("{}://{host}{port}{path}", url.scheme())
}

/// Reads the beginning of a body. One that breaks off has said what it had to say with its status.
async fn read_bounded(mut response: Response) -> (String, bool) {
    let mut body = Vec::new();
    let cut = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = ANSWER_MAX - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room || body.len() == ANSWER_MAX {
                    break true;
                }
            }
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    (String::from_utf8_lossy(&body).into_owned(), cut)
}

/// What an error body says: the message of the JSON that channels answer with, else its text unless it is a page.
fn reason(body: &str) -> String {
    let json = serde_json::from_str::<serde_json::Value>(body).unwrap_or_default();
    let found = ["message", "error", "detail", "description"].into_iter().find_map(|key| json.get(key)?.as_str());
    let errors = json.get("errors").and_then(|it| it.as_array());
    let listed: Vec<&str> = errors.into_iter().flatten().filter_map(|it| it.as_str()).collect();
    let mut text = found.unwrap_or_default().to_string();
    if let Some(code) = json.get("code").and_then(serde_json::Value::as_i64) {
        text = format!("{text} (code {code})");
    }
    if !listed.is_empty() {
        text = format!("{text}: {}", listed.join(", ")).trim_start_matches(": ").to_string();
    }
    let is_page = body.trim_start().starts_with('<');
    match text.trim() {
        "" if is_page || json.is_object() => String::new(),
        // What is no JSON is cut before it is cleaned: it may be 64 kB of anything.
        "" => shorten(body.trim(), WORDS_MAX * 4),
        text => text.to_string(),
    }
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110 section 10.2.3), at most `RETRY_AFTER_MAX` from `now`.
pub fn parse_retry_after(text: &str, now: Timestamp) -> Option<RetryAfter> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(RetryAfter::In(Duration::from_secs(seconds).min(RETRY_AFTER_MAX)));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(RetryAfter::At(at.min(now.checked_add(RETRY_AFTER_MAX).unwrap_or(now))))
}

/// Why there is no connection to a host.
pub(super) fn unconnected(host: &str, port: u16, cause: &str) -> String {
    let lower = cause.to_ascii_lowercase();
    if lower.contains("dns error") || lower.contains("failed to lookup address") {
        format!("could not resolve `{host}`")
    } else if lower.contains("connection refused") {
        format!("nothing listens on {host}:{port}")
    } else {
        format!("could not connect to {host}: {cause}")
    }
}

/// What an error says at its core; what TLS says, in words.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    loop {
        if let Some(error) = innermost.downcast_ref::<rustls::Error>() {
            return words::failure(error);
        }
        // An I/O error hides what it is made of from `source`.
        let inner = innermost.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        match inner.map(|it| it as &(dyn std::error::Error + 'static)).or_else(|| innermost.source()) {
            Some(source) => innermost = source,
            None => return innermost.to_string(),
        }
    }
}

fn client(authorities: Option<&Vec<Vec<u8>>>) -> Result<Client, String> {
    static SHARED: OnceLock<Client> = OnceLock::new();
    if let Some(own) = authorities {
        return build_client(trust::only(own)?);
    }
    if let Some(client) = SHARED.get() {
        return Ok(client.clone());
    }
    // Mozilla's too: a page must not depend on how well this host is kept.
    let host = trust::host();
    let is_whole = host.is_ok();
    let mut roots = host.map_or_else(|_| RootCertStore::empty(), |it| RootCertStore::clone(&it));
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let client = build_client(Arc::new(roots))?;
    if !is_whole {
        // Good for a try; the next looks for this host's own again.
        return Ok(client);
    }
    Ok(SHARED.get_or_init(|| client).clone())
}

fn build_client(roots: Arc<RootCertStore>) -> Result<Client, String> {
    trust::http(roots, CONNECT_DEADLINE)?
        .pool_max_idle_per_host(0)
        // A POST that was on its way must not be sent again behind the outbox's back.
        .retry(reqwest::retry::never())
        .build()
        .map_err(|error| innermost(&error))
}

/// Reads the URL of a channel. Over plain http it is accepted for this host alone, unless `may_be_plain`.
pub fn read_url(node: &Node<'_>, text: &str, may_be_plain: bool) -> Option<Url> {
    let hint = "write the whole URL, as in `https://example.com/path`";
    let Ok(url) = Url::parse(text) else {
        node.error_with_hint(format!("`{}` is no URL", node.path()), hint);
        return None;
    };
    let is_loopback = match url.host_str() {
        None | Some("") => {
            node.error_with_hint(format!("`{}` names no host", node.path()), hint);
            return None;
        }
        Some(host) => is_loopback(host),
    };
    match url.scheme() {
        "https" => Some(url),
        "http" if may_be_plain || is_loopback => Some(url),
        "http" => {
            node.error_with_hint("a secret would travel in the clear", "write `https://`");
            None
        }
        _ => {
            node.error_with_hint(format!("`{}` must begin with `https://`", node.path()), hint);
            None
        }
    }
}

/// True for a name or an address of this host.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback())
}

/// Reads `ca`: a PEM file of certificates that are trusted instead of the usual ones; `None` after a mistake.
pub fn read_authorities(table: &Node<'_>) -> Option<Authorities> {
    let Some(node) = table.get("ca") else { return Some(None) };
    let path = node.string()?;
    let hint = "name a file in PEM form, `-----BEGIN CERTIFICATE-----`";
    match CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(found) if !found.is_empty() => return Some(Some(found.iter().map(|it| it.to_vec()).collect())),
        Ok(_) => node.error_with_hint(format!("`{}` holds no certificate", sanitise::text(&path)), hint),
        Err(error) => node.error_with_hint(format!("could not read `{}`: {error}", sanitise::text(&path)), hint),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms_and_bounded() {
        let now: Timestamp = "2026-11-23T04:00:00Z".parse().unwrap();
        let check = |text: &str, wanted: Option<RetryAfter>| assert_eq!(parse_retry_after(text, now), wanted, "{text}");
        let at = |text: &str| Some(RetryAfter::At(text.parse().unwrap()));
        let within = |seconds| Some(RetryAfter::In(Duration::from_secs(seconds)));
        check("7", within(7));
        check(" 120 ", within(120));
        check("99999999", within(3600));
        check("Mon, 23 Nov 2026 04:00:30 GMT", at("2026-11-23T04:00:30Z"));
        check("Mon, 23 Nov 2026 03:00:30 GMT", at("2026-11-23T03:00:30Z"));
        check("Fri, 31 Dec 2027 23:59:59 GMT", at("2026-11-23T05:00:00Z"));
        check("soon", None);
        check("-3", None);
    }

    #[test]
    fn the_reason_of_a_refusal_is_found() {
        let check = |body: &str, wanted: &str| assert_eq!(reason(body), wanted, "{body}");
        check(
            r#"{"code":21211,"message":"The 'To' number is not valid","status":400}"#,
            "The 'To' number is not valid (code 21211)",
        );
        check(
            r#"{"status":"invalid event","message":"Event object is invalid","errors":["'routing_key' is missing"]}"#,
            "Event object is invalid: 'routing_key' is missing",
        );
        check("invalid_payload", "invalid_payload");
        check("<html>Bad Gateway</html>", "");
        check("{}", "");
    }

    #[test]
    fn a_redirect_is_shown_with_its_port_and_path_and_without_user_and_query() {
        let shown = |url: &str, secret| shown_place(&Url::parse(url).unwrap(), secret);
        assert_eq!(shown("http://u:p@127.0.0.1:8081/stolen?key=x", false), "http://127.0.0.1:8081/stolen");
        assert_eq!(shown("https://hooks.example.com/T1/s3cret", true), "https://hooks.example.com");
    }

    #[test]
    fn a_secret_url_is_shown_by_its_host_and_taken_out_of_words() {
        let url = Url::parse("https://hooks.slack.com/services/T1/B2/s3cret-key").unwrap();
        let endpoint = Endpoint { url_is_secret: true, ..Endpoint::new(url, Vec::new()) };
        assert_eq!(endpoint.shown(), "hooks.slack.com");
        for words in ["no such hook: /services/T1/B2/s3cret-key, \u{1b}[31mred", "unknown key s3cret-key"] {
            let said = endpoint.clean(words);
            assert!(!said.contains("s3cret") && !said.contains('\u{1b}'), "{said}");
        }
    }
}
