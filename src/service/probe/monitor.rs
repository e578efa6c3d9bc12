//! What probes of other monitors share: a question to their HTTP API with JSON as the answer.

use std::hash::{Hash, Hasher};

use hyper::Method;
use serde_json::Value;
use tokio::time::Instant;

use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, ProbeResult, Trouble};
use crate::domain::sanitise;
use crate::registry::node::Node;
use crate::service::probe::http::exchange::{self, Around, Asked};
use crate::service::probe::http::header_map;
use crate::service::probe::http::location::Target;
use crate::service::probe::http::settings::{Scope, Settings};
use crate::service::probe::http::wire::Wire;
use crate::service::probe::net::{Verdict, fail};
use crate::service::probe::redact;

/// The API of another monitor.
pub struct Api {
    settings: Settings,
    wire: Wire,
}

impl Hash for Api {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.settings.hash(state);
    }
}

/// An answer that is JSON, whatever its status.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

impl Api {
    /// Reads a URL, or a table that has what `http` has; what else it has must have been taken before.
    pub fn read(node: &Node<'_>) -> Option<Self> {
        let settings = Settings::read(node, Scope::Probe)?;
        let wire = Wire::new(settings.tls.clone(), settings.proxy.clone(), settings.http2, settings.deny_private);
        Some(Self { settings, wire })
    }

    /// Where it is, without secrets.
    pub fn shown(&self) -> String {
        let shown = Target::parse(&self.settings.url).map(|it| it.shown()).unwrap_or_default();
        shown.trim_end_matches('/').to_string()
    }

    /// Asks for a path below the URL.
    ///
    /// # Errors
    /// What went wrong, unless it is an answer in JSON.
    pub async fn get(
        &self,
        path: &str,
        query: &[(&str, String)],
        deadline: Instant,
        seen: &mut Observation,
    ) -> Result<Answer, Verdict> {
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let url = format!("{}{path}?{}", self.settings.url.trim_end_matches('/'), query.join("&"));
        let own = |what: &str| (ProbeResult::Unknown, Trouble::new(Cause::Own, "cannot ask", what));
        let target = Target::parse(&url).map_err(|it| own(&it))?;
        let headers = header_map(&self.settings.headers).map_err(|it| own(&it))?;
        let redirects = self.settings.redirects;
        let asked = Asked { method: Method::GET, target, headers, body: None, redirects };
        let result = exchange::ask(&self.wire, asked, Around::default(), deadline, seen).await;
        result.map_err(|verdict| redact::verdict(verdict, &self.settings.secrets))?;
        let status = seen.values.status.unwrap_or_default();
        if seen.evidence.cut {
            return Err(own("the answer is larger than 1 MiB: ask for less"));
        }
        match serde_json::from_str(&seen.values.text) {
            Ok(body) => Ok(Answer { status, body }),
            Err(_) => {
                let said = redact::evidence(&seen.values.text, &self.settings.secrets);
                let said = if said.is_empty() { said } else { format!(": {said}") };
                let text = format!("status is {status} and the answer is not JSON{said}");
                let brief = if (200..300).contains(&status) { "not JSON".to_string() } else { status.to_string() };
                Err(fail(if brief == "not JSON" { Cause::Protocol } else { Cause::Status }, &brief, text))
            }
        }
    }

    /// Takes secrets out of words about it and cuts them.
    pub fn hide(&self, text: &str, chars_max: usize) -> String {
        redact::excerpt(text, &self.settings.secrets, chars_max)
    }

    /// Takes secrets out of what the other monitor said.
    pub fn clean(&self, text: &str) -> String {
        sanitise::text(&redact::redact(text, &self.settings.secrets))
    }
}

/// Percent-encodes a value of a query.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
