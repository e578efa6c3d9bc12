//! `http = "https://…"`: an own pipeline on hyper and rustls, because a client library cannot tell the phases apart.
//!
//! Every run makes a fresh connection to one address: what is kept alive hides a name that no longer
//! resolves, a listener that is gone, an old certificate. Redirects run the pipeline again and their times
//! add up per phase. Headers and body are capped; nothing is retried. `reuse = true` and `addresses = "all"`
//! are the two ways to ask for something else, and both show it.

pub mod cookies;
pub mod exchange;
pub mod location;
pub mod proxy;
pub mod settings;
pub mod wire;

use std::hash::{Hash, Hasher};

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::domain::probe::expect::{Subjects, Values};
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::Evidence;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::probe::http::exchange::{Around, Asked};
use crate::service::probe::http::location::Target;
use crate::service::probe::http::settings::{Scope, Settings};
use crate::service::probe::http::wire::{Connection, Wire};
use crate::service::probe::net::{self, Verdict};
use crate::service::probe::{Observing, Probe, Run, redact};

/// `http` in the config.
pub const KIND: Kind<dyn Probe> = Kind {
    name: "http",
    summary: "ask an http or https URL, with times per phase and the certificates' days",
    example: "[[probe]]\nname = \"api\"\nhttp = \"https://api.example.com/health\"\nexpect = [\"status == 200\", \"cert.days > 7\"]\nprefer = [\"total < 800ms\"]\n",
    build,
};

/// Asks a URL.
struct HttpProbe {
    settings: Settings,
    target: Target,
    method: Method,
    headers: HeaderMap,
    body: Option<Bytes>,
    wire: Wire,
    // The connection of `reuse = true`. One run at a time, so nobody waits for it.
    kept: Mutex<Option<Connection>>,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    let settings = Settings::read(node, Scope::Probe)?;
    // All of these were checked when they were read.
    let target = Target::parse(&settings.url).ok()?;
    let method = Method::from_bytes(settings.method.as_bytes()).ok()?;
    let headers = header_map(&settings.headers).ok()?;
    let wire = Wire::new(settings.tls.clone(), settings.proxy.clone(), settings.http2, settings.deny_private);
    let body = settings.body.clone().map(Bytes::from);
    Some(Box::new(HttpProbe { settings, target, method, headers, body, wire, kept: Mutex::default() }))
}

/// Makes headers of names and values.
///
/// # Errors
/// The name of the header that cannot be sent.
pub fn header_map(headers: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let parsed = HeaderName::try_from(name.as_str()).ok().zip(HeaderValue::try_from(value.as_str()).ok());
        let (parsed_name, value) = parsed.ok_or_else(|| name.clone())?;
        map.append(parsed_name, value);
    }
    Ok(map)
}

impl Probe for HttpProbe {
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a> {
        let deadline = run.deadline;
        Box::pin(async move {
            if self.settings.every_address {
                return self.look_at_all(deadline).await;
            }
            let mut seen = Observation::default();
            let result = if self.settings.reuse {
                let mut kept = self.kept.lock().await;
                self.look(Around { kept: Some(&mut kept), ..Around::default() }, deadline, &mut seen).await
            } else {
                self.look(Around::default(), deadline, &mut seen).await
            };
            self.end(result, &mut seen);
            seen
        })
    }

    fn target(&self) -> String {
        let method = &self.settings.method;
        let shown = self.target.shown();
        if method == "GET" { shown } else { format!("{method} {shown}") }
    }

    fn subjects(&self) -> Subjects {
        Subjects::Http
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.settings.hash(&mut hasher);
    }

    fn hide(&self, text: &str, chars_max: usize) -> String {
        redact::excerpt(text, &self.settings.secrets, chars_max)
    }

    fn testify(&self, values: &Values, evidence: &mut Evidence) {
        redact::answer(values, evidence, &self.settings.secrets);
    }
}

impl HttpProbe {
    async fn look(&self, around: Around<'_>, deadline: Instant, seen: &mut Observation) -> Result<(), Verdict> {
        let asked = Asked {
            method: self.method.clone(),
            target: self.target.clone(),
            headers: self.headers.clone(),
            body: self.body.clone(),
            redirects: self.settings.redirects,
        };
        exchange::ask(&self.wire, asked, around, deadline, seen).await
    }

    /// Looks at every address of the host at the same time; each has an outcome of its own.
    async fn look_at_all(&self, deadline: Instant) -> Observation {
        let mut whole = Observation::default();
        let phases = &mut whole.values.phases;
        let addresses = match net::resolve_all(phases, deadline, &self.target.host, self.target.port).await {
            Ok(addresses) => addresses,
            Err(verdict) => {
                whole.verdict = Some(verdict);
                return whole;
            }
        };
        let members = addresses.into_iter().map(|address| {
            let mut seen = Observation::default();
            seen.values.phases.dns = whole.values.phases.dns;
            async move {
                let around = Around { at: Some(address), ..Around::default() };
                let result = self.look(around, deadline, &mut seen).await;
                self.end(result, &mut seen);
                (address.to_string(), seen)
            }
        });
        whole.members = net::all(members).await;
        whole
    }

    fn end(&self, result: Result<(), Verdict>, seen: &mut Observation) {
        if let Err(verdict) = result {
            seen.verdict = Some(redact::verdict(verdict, &self.settings.secrets));
        }
    }
}
