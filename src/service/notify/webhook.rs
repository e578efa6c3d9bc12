//! `webhook = "https://example.com/hook"`: a request to anything that takes HTTP.
//!
//! The body is documented JSON, or what a template makes of it. In a JSON body the template writes every value
//! as JSON, quotes included, so that no text of a service can break out of its place. With a `secret` the body
//! is signed as GitHub signs its webhooks.

use std::hash::{Hash, Hasher};

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use crate::domain::alert::delivery::{Action, Delivery};
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::notify::http::{self, Call, Endpoint};
use crate::service::notify::{Attempt, Notifier, Receipt, SendError, Sending, payload, sample};

/// Bytes of a body: what a template can grow to before it is a mistake.
const BODY_MAX: usize = 4 << 20;
/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// `webhook` in the config.
pub const KIND: Kind<dyn Notifier> = Kind {
    name: "webhook",
    summary: "an HTTP request with JSON, or with a body of your own template, signed if you like",
    example: "[[notifier]]\nname = \"hook\"\nwebhook = { url = \"https://example.com/hook\", secret = \"${env:HOOK_SECRET}\", template = '{\"message\": {{ title }}, \"host\": {{ host }}}' }\n",
    build,
};

/// Sends a request.
#[derive(Debug, Clone, Hash)]
struct Webhook {
    endpoint: Endpoint,
    method: Method,
    headers: Vec<(String, String)>,
    template: Option<String>,
    is_json: bool,
    secret: Option<String>,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Notifier>> {
    if !node.is_table() {
        let url = http::read_url(node, &node.secret()?, true)?;
        let endpoint = Endpoint { url_is_secret: true, ..Endpoint::new(url, Vec::new()) };
        let (method, headers) = (Method::POST, Vec::new());
        return Some(Box::new(Webhook { endpoint, method, headers, template: None, is_json: true, secret: None }));
    }
    let url = node.require("url").and_then(|it| http::read_url(&it, &it.secret()?, true));
    let methods = [("POST", Method::POST), ("PUT", Method::PUT), ("PATCH", Method::PATCH)];
    let method = node.get("method").map_or(Some(Method::POST), |it| {
        let words: Vec<(&str, usize)> = methods.iter().enumerate().map(|(index, (word, _))| (*word, index)).collect();
        it.one_of(&words).map(|index| methods[index].1.clone())
    });
    let secret = node.get("secret").map(|it| it.secret());
    let mut secrets = Vec::new();
    let headers = node.get("headers").map_or(Some(Vec::new()), |it| read_headers(&it, &mut secrets));
    let authorities = http::read_authorities(node);
    let is_json = headers.iter().flatten().all(|(name, value)| name != "content-type" || value.contains("json"));
    let template = node.get("template").map(|it| read_template(&it, is_json));
    node.finish(&[]);
    let secret = secret.map_or(Some(None), |it| it.map(Some))?;
    secrets.extend(secret.clone());
    let endpoint = Endpoint { url_is_secret: true, authorities: authorities?, ..Endpoint::new(url?, secrets) };
    let template = template.map_or(Some(None), |it| it.map(Some))?;
    Some(Box::new(Webhook { endpoint, method: method?, headers: headers?, template, is_json, secret }))
}

fn read_headers(table: &Node<'_>, secrets: &mut Vec<String>) -> Option<Vec<(String, String)>> {
    if !table.expect_table() {
        return None;
    }
    let mut headers = Vec::new();
    let mut is_good = true;
    for (name, _) in table.keys() {
        let Some(value) = table.get(&name) else { continue };
        let lower = name.to_ascii_lowercase();
        let is_secret = ["auth", "token", "key", "secret", "cookie", "password"].iter().any(|it| lower.contains(it));
        let text = if is_secret { value.secret() } else { value.string() };
        let Some(text) = text else {
            is_good = false;
            continue;
        };
        if HeaderName::try_from(&lower).is_err() || HeaderValue::try_from(&text).is_err() {
            table.error_at_key(&name, format!("`{name}` or its value cannot stand in a header"), None);
            is_good = false;
            continue;
        }
        if is_secret {
            secrets.extend(text.split_whitespace().map(str::to_string));
        }
        headers.push((lower, text));
    }
    is_good.then_some(headers)
}

/// Reads a template and tries it, so that a misspelt name is found now and not in the night.
fn read_template(node: &Node<'_>, is_json: bool) -> Option<String> {
    let template = node.string()?;
    let hint = "it can name `title`, `text`, `action`, `severity`, `host`, `key`, `at`, and `alerts` with `subject`, `concern`, `why`, `since`, `labels`";
    for action in [Action::Trigger, Action::Resolve] {
        let rendered = match render(&template, is_json, &sample::delivery(action)) {
            Ok(rendered) => rendered,
            Err(error) => {
                node.error_with_hint(format!("the template does not work: {error}"), hint);
                return None;
            }
        };
        if let (true, Err(error)) = (is_json, serde_json::from_str::<serde_json::Value>(&rendered)) {
            node.error_with_hint(
                format!("the template makes no JSON: {}", sanitise::text(&error.to_string())),
                "write values without quotes, as in `{\"message\": {{ title }}}`: they are written as JSON; for another body set the header `content-type`",
            );
            return None;
        }
    }
    Some(template)
}

fn render(template: &str, is_json: bool, delivery: &Delivery) -> Result<String, String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(move |_| if is_json { AutoEscape::Json } else { AutoEscape::None });
    let rendered = environment.render_named_str("template", template, Serde(payload::json(delivery)));
    let rendered = rendered.map_err(|error| sanitise::text(&error.to_string()))?;
    if rendered.len() > BODY_MAX { Err(format!("it makes more than {} MiB", BODY_MAX >> 20)) } else { Ok(rendered) }
}

impl Notifier for Webhook {
    fn send<'a>(&'a self, attempt: Attempt<'a>) -> Sending<'a> {
        Box::pin(async move {
            let delivery = attempt.delivery;
            let body = match &self.template {
                None => payload::json(delivery).to_string(),
                Some(template) => render(template, self.is_json, delivery)
                    .map_err(|error| SendError::permanent(format!("the template does not work: {error}")))?,
            };
            let answer = self.endpoint.send(self.call(delivery, body), attempt.deadline).await?;
            Ok(Receipt { id: None, text: format!("{} answered {}", self.endpoint.shown(), answer.status) })
        })
    }

    fn describe(&self) -> String {
        self.endpoint.shown()
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }
}

impl Webhook {
    fn call(&self, delivery: &Delivery, body: String) -> Call {
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        for (name, value) in &self.headers {
            // Both were tried when the config was read.
            if let (Ok(name), Ok(mut value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        let mut call = Call { method: self.method.clone(), url: self.endpoint.url.clone(), headers, body };
        // The same for every attempt, so that a receiver can drop what it has; an id may hold any letter.
        let once = hex(&Sha256::digest(delivery.id.as_bytes())[..16]);
        call = call.with_secret(HeaderName::from_static("idempotency-key"), &once);
        if let Some(secret) = &self.secret {
            let signature = format!("sha256={}", hex(&hmac_sha256(secret.as_bytes(), call.body.as_bytes())));
            call = call.with_secret(HeaderName::from_static("x-hotseat-signature"), &signature);
        }
        call
    }
}

/// HMAC with SHA-256 (RFC 2104).
fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let keyed = |pad: u8| Sha256::new_with_prefix(block.map(|it| it ^ pad));
    let inner = keyed(0x36).chain_update(text).finalize();
    keyed(0x5c).chain_update(inner).finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::node::Source;

    #[test]
    fn a_body_is_signed_as_the_standard_says() {
        // RFC 4231, test cases 1, 2 and 6.
        for (key, text, wanted) in [
            (vec![0x0b; 20], "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe".to_vec(),
                "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex(&hmac_sha256(&key, text.as_bytes())), wanted);
        }
    }

    #[test]
    fn no_text_breaks_out_of_its_place_in_json() {
        let mut delivery = sample::delivery(Action::Trigger);
        delivery.message.title = "\"}, {{ host }} \\ \n日本".into();
        let body = render("{\"m\": {{ title }}, \"n\": {{ alerts | length }}}", true, &delivery).unwrap();
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json["m"], "\"}, {{ host }} \\  日本");
        assert_eq!(
            render("{{ severity }}: {{ title }}", false, &sample::delivery(Action::Trigger)).unwrap(),
            "critical: api DOWN since 14:43:52: timeout in connect"
        );
    }

    #[test]
    fn a_template_is_tried_when_it_is_read() {
        let check = |template: &str, wanted: &str| {
            let text = format!("webhook = {{ url = 'https://x/h', template = '''{template}''' }}\n");
            let source = Source::new("c.toml", &text);
            let root = source.parse().unwrap();
            assert!(build(&root.get("webhook").unwrap()).is_none(), "{template}");
            let said = source.errors()[0].message.clone();
            assert!(said.contains(wanted), "{said}");
        };
        check("{\"m\": {{ titel }}}", "undefined value");
        check("{\"m\": \"{{ title }}\"}", "makes no JSON");
        check("{% if %}", "does not work");
    }
}
