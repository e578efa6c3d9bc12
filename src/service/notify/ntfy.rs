//! `ntfy = "https://ntfy.sh/oncall"`: a push message to phones, published as JSON (docs.ntfy.sh/publish).

use std::hash::{Hash, Hasher};

use reqwest::header::AUTHORIZATION;
use serde_json::json;

use crate::domain::alert::Severity;
use crate::domain::alert::delivery::{Action, Delivery};
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::notify::http::{self, Call, Endpoint};
use crate::service::notify::text;
use crate::service::notify::{Attempt, Notifier, Receipt, Sending};

/// Bytes of a message that a server shows as a message; what is longer becomes an attachment (its limit is 4,096).
const MESSAGE_MAX: usize = 3_800;
/// Bytes of a title: it is one line on a phone.
const TITLE_MAX: usize = 240;

/// `ntfy` in the config.
pub const KIND: Kind<dyn Notifier> = Kind {
    name: "ntfy",
    summary: "push to phones through ntfy.sh or a server of your own",
    example: "[[notifier]]\nname = \"phone\"\nntfy = { url = \"https://ntfy.example.com/oncall\", token = \"${env:NTFY_TOKEN}\" }\n",
    build,
};

/// Publishes to a topic.
#[derive(Debug, Clone, Hash)]
struct Ntfy {
    // The server's own URL; the topic stands in the body.
    endpoint: Endpoint,
    topic: String,
    authorization: Option<String>,
    click: Option<String>,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Notifier>> {
    let (at, token, click, authorities);
    if node.is_table() {
        at = node.require("url")?;
        token = node.get("token").map(|it| it.secret());
        click = node.get("click").map(|it| it.string());
        authorities = http::read_authorities(node);
        node.finish(&[]);
    } else {
        (at, token, click, authorities) = (node.clone(), None, None, Some(None));
    }
    // Who knows a topic without a login can read and write it.
    let text = if token.is_none() { at.secret()? } else { at.string()? };
    let mut url = http::read_url(&at, &text, false)?;
    let topic = url.path().trim_matches('/').to_string();
    let is_topic = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_');
    if topic.is_empty() || topic.len() > 64 || !topic.chars().all(is_topic) {
        at.error_with_hint(
            "the URL must end with a topic of letters, digits, `-` and `_`",
            "write server and topic, as in `https://ntfy.sh/oncall-s7d2`",
        );
        return None;
    }
    url.set_path("/");
    let token = token.map_or(Some(None), |it| it.map(Some))?;
    let click = click.map_or(Some(None), |it| it.map(Some))?;
    let secrets = token.iter().cloned().chain(token.is_none().then(|| topic.clone())).collect();
    let endpoint = Endpoint { authorities: authorities?, ..Endpoint::new(url, secrets) };
    let authorization = token.map(|it| format!("Bearer {it}"));
    Some(Box::new(Ntfy { endpoint, topic, authorization, click }))
}

impl Notifier for Ntfy {
    fn send<'a>(&'a self, attempt: Attempt<'a>) -> Sending<'a> {
        Box::pin(async move {
            let body = self.body(attempt.delivery).to_string();
            let mut call = Call::post(self.endpoint.url.clone(), "application/json", body);
            if let Some(authorization) = &self.authorization {
                call = call.with_secret(AUTHORIZATION, authorization);
            }
            let answer = self.endpoint.send(call, attempt.deadline).await?;
            let json = serde_json::from_str::<serde_json::Value>(&answer.body).unwrap_or_default();
            let id = json.get("id").and_then(|it| it.as_str()).map(|it| self.endpoint.clean(it));
            Ok(Receipt { id, text: format!("{} published it", self.endpoint.url.host_str().unwrap_or_default()) })
        })
    }

    fn describe(&self) -> String {
        let host = self.endpoint.url.host_str().unwrap_or_default();
        if self.authorization.is_some() { format!("{host}/{}", self.topic) } else { host.to_string() }
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }
}

impl Ntfy {
    fn body(&self, delivery: &Delivery) -> serde_json::Value {
        let message = &delivery.message;
        // 5 rings through "do not disturb", 3 is usual, 2 makes no sound.
        let (priority, tag) = match (delivery.action, message.severity) {
            (Action::Resolve, _) => (3, "white_check_mark"),
            (Action::Acknowledge, _) => (2, "eyes"),
            (Action::Test, _) => (3, "wrench"),
            (_, Severity::Critical) => (5, "rotating_light"),
            (_, Severity::Error) => (4, "rotating_light"),
            (_, Severity::Warning) => (3, "warning"),
            (_, Severity::Info) => (2, "information_source"),
        };
        let mut body = json!({
            "topic": self.topic,
            "title": text::cut_bytes(&message.title, TITLE_MAX),
            "message": text::cut_bytes(&text::body(message), MESSAGE_MAX),
            "priority": priority,
            "tags": [tag],
        });
        if let Some(click) = &self.click {
            body["click"] = json!(click);
        }
        body
    }
}
