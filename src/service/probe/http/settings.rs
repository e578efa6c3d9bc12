//! What an http probe, or a step of a journey, can be told; read from the config.

use hyper::{Method, header};

use crate::registry::node::Node;
use crate::service::probe::http::location::Target;
use crate::service::probe::http::proxy::{Proxy, basic};
use crate::service::probe::secure::TlsSettings;

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
    /// The body is JSON, so that what is put into it is escaped.
    pub is_json: bool,
    /// How many redirects are followed; 0 takes the first answer as it is.
    pub redirects: u8,
    /// Trust, and who we are.
    pub tls: TlsSettings,
    /// What requests go through.
    pub proxy: Option<Proxy>,
    /// HTTP/2 and nothing else, or never.
    pub http2: Option<bool>,
    /// Look at every address of the host.
    pub every_address: bool,
    /// Keep the connection from run to run.
    pub reuse: bool,
    /// Refuse addresses that are not of the public internet.
    pub deny_private: bool,
    /// What must never be shown.
    pub secrets: Vec<String>,
}

/// Whose settings are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A probe of its own.
    Probe,
    /// A step of a journey: its URL may hold `{name}`, and its connection belongs to the step.
    Step,
}

impl Settings {
    /// Reads a URL, or a table. `None` after a mistake.
    pub fn read(node: &Node<'_>, scope: Scope) -> Option<Self> {
        if !node.is_table() {
            let mut settings = plain(node.string()?);
            return settings.check_url(node, scope).then_some(settings);
        }
        let url = node.require("url");
        let mut settings = plain(url.as_ref().and_then(Node::string).unwrap_or_default());
        let mut good = url.as_ref().is_some_and(|it| it.is_str() && settings.check_url(it, scope));
        good &= settings.read_request(node);
        let tls = TlsSettings::read(node);
        good &= tls.is_some();
        settings.tls = tls.unwrap_or_default();
        good &= settings.read_way(node, scope);
        node.finish(&[]);
        good.then_some(settings)
    }

    fn check_url(&mut self, node: &Node<'_>, scope: Scope) -> bool {
        if scope == Scope::Step && self.url.contains('{') {
            // Known when the steps before it have run.
            return true;
        }
        match Target::parse(&self.url) {
            Ok(target) => {
                if let Some(userinfo) = &target.userinfo {
                    let value = basic(userinfo, &mut self.secrets);
                    self.headers.push((header::AUTHORIZATION.to_string(), value));
                }
                true
            }
            Err(message) => {
                node.error_with_hint(message, "write the whole URL, as in `https://api.example.com/health`");
                false
            }
        }
    }

    /// Reads what is sent: method, headers, body, credentials.
    fn read_request(&mut self, node: &Node<'_>) -> bool {
        let mut good = true;
        if let Some(it) = node.get("method") {
            let method = it.string().map(|it| it.to_ascii_uppercase());
            match method.filter(|it| Method::from_bytes(it.as_bytes()).is_ok()) {
                Some(method) => self.method = method,
                None => {
                    if it.is_str() {
                        it.error_with_hint("this is not an HTTP method", "write one such as `GET`, `HEAD` or `POST`");
                    }
                    good = false;
                }
            }
        }
        if let Some(table) = node.get("headers") {
            good &= read_headers(&table, &mut self.headers, &mut self.secrets);
        }
        good &= self.read_body(node);
        good & read_credentials(node, &mut self.headers, &mut self.secrets)
    }

    /// Reads how it travels.
    fn read_way(&mut self, node: &Node<'_>, scope: Scope) -> bool {
        let mut good = true;
        if let Some(it) = node.get("redirects") {
            match it.integer(0..REDIRECTS_MAX + 1).and_then(|it| u8::try_from(it).ok()) {
                Some(redirects) => self.redirects = redirects,
                None => good = false,
            }
        }
        if let Some(it) = node.get("proxy") {
            self.proxy = Proxy::read(&it, &mut self.secrets);
            good &= self.proxy.is_some();
        }
        if let Some(it) = node.get("http2") {
            self.http2 = it.boolean();
            good &= self.http2.is_some();
        }
        if let Some(it) = node.get("deny_private") {
            let found = it.boolean();
            good &= found.is_some();
            self.deny_private = found.unwrap_or_default();
            if self.deny_private && self.proxy.is_some() {
                let hint = "the proxy resolves the name, so the rule belongs there: leave out one of the two";
                it.error_with_hint("`deny_private` and `proxy` exclude each other", hint);
                good = false;
            }
        }
        if scope == Scope::Step {
            return good;
        }
        if let Some(it) = node.get("addresses") {
            let found = it.one_of(&[("all", true), ("first", false)]);
            good &= found.is_some();
            self.every_address = found.unwrap_or_default();
            if self.every_address && self.proxy.is_some() {
                let hint = "the proxy chooses the address: leave out one of the two";
                it.error_with_hint("`addresses = \"all\"` and `proxy` exclude each other", hint);
                good = false;
            }
        }
        if let Some(it) = node.get("reuse") {
            let found = it.boolean();
            good &= found.is_some();
            self.reuse = found.unwrap_or_default();
            if self.reuse && self.every_address {
                let hint = "one connection is kept, to one address: leave out one of the two";
                it.error_with_hint("`reuse` and `addresses = \"all\"` exclude each other", hint);
                good = false;
            }
        }
        good
    }

    fn read_body(&mut self, node: &Node<'_>) -> bool {
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
                self.body = body.string();
                self.body.is_some()
            }
            (None, Some(json)) => {
                let Some(value) = json.json() else { return false };
                secrets_in(&value, &mut self.secrets);
                self.body = Some(value.to_string());
                self.is_json = true;
                let has_type = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
                if !has_type {
                    self.headers.push((header::CONTENT_TYPE.to_string(), "application/json".into()));
                }
                true
            }
            (None, None) => true,
        }
    }
}

fn plain(url: String) -> Settings {
    Settings {
        url,
        method: "GET".into(),
        headers: Vec::new(),
        body: None,
        is_json: false,
        redirects: REDIRECTS,
        tls: TlsSettings::default(),
        proxy: None,
        http2: None,
        every_address: false,
        reuse: false,
        deny_private: false,
        secrets: Vec::new(),
    }
}

/// Reads a table of headers; the last word of each value may be a key and is never shown.
pub fn read_headers(table: &Node<'_>, headers: &mut Vec<(String, String)>, secrets: &mut Vec<String>) -> bool {
    if !table.expect_table() {
        return false;
    }
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
            secrets.extend(value.split_whitespace().last().map(str::to_string));
            headers.push((name, value));
        }
    }
    good
}

/// Reads `basic = { user, password }` or `bearer = "…"` into an `Authorization`.
pub fn read_credentials(node: &Node<'_>, headers: &mut Vec<(String, String)>, secrets: &mut Vec<String>) -> bool {
    let (basic_node, bearer) = (node.get("basic"), node.get("bearer"));
    let Some(place) = bearer.as_ref().or(basic_node.as_ref()) else { return true };
    let already = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    if already || (basic_node.is_some() && bearer.is_some()) {
        let hint = "keep one of `basic`, `bearer`, an `Authorization` header and `user:password@` in the URL";
        place.error_with_hint("credentials are given twice", hint);
        return false;
    }
    let value = match (&basic_node, &bearer) {
        (Some(table), _) if table.expect_table() => {
            let (user, password) = (table.require("user"), table.require("password"));
            table.finish(&[]);
            let (user, password) = (user.and_then(|it| it.string()), password.and_then(|it| it.string()));
            user.zip(password).map(|(user, password)| {
                use base64::Engine;
                let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                secrets.push(password);
                secrets.push(encoded.clone());
                format!("Basic {encoded}")
            })
        }
        (None, Some(token)) => token.string().and_then(|text| {
            if header::HeaderValue::try_from(text.as_str()).is_err() {
                token.error_with_hint("this cannot stand in a header", "is a line end part of it?");
                return None;
            }
            secrets.push(text.clone());
            Some(format!("Bearer {text}"))
        }),
        _ => None,
    };
    let Some(value) = value else { return false };
    headers.push((header::AUTHORIZATION.to_string(), value));
    true
}

/// Members of a JSON body by whose name the value is a secret.
const SECRET_NAMES: &[&str] = &["pass", "secret", "token", "key"];

fn secrets_in(value: &serde_json::Value, secrets: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => {
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
        serde_json::Value::Array(items) => items.iter().for_each(|it| secrets_in(it, secrets)),
        _ => {}
    }
}
