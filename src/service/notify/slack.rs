//! `slack = "${file:/etc/oncall/slack.url}"`: a message by an incoming webhook.
//!
//! A webhook cannot change what it wrote, so every change is a message of its own. Whoever knows the URL can
//! write to the channel: the URL is a secret as a whole.

use std::hash::{Hash, Hasher};

use serde_json::{Value, json};

use crate::domain::alert::Severity;
use crate::domain::alert::delivery::{Action, Delivery};
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::notify::http::{self, Call, Endpoint};
use crate::service::notify::{Attempt, Notifier, Receipt, Sending, text};

/// Characters of a text: Slack folds what is longer than some hundred and cuts at some thousand.
const TEXT_MAX: usize = 3_000;
/// Characters of a title.
const TITLE_MAX: usize = 300;

/// `slack` in the config.
pub const KIND: Kind<dyn Notifier> = Kind {
    name: "slack",
    summary: "a message in a Slack channel, by an incoming webhook",
    example: "[[notifier]]\nname = \"chat\"\nslack = \"${env:SLACK_WEBHOOK}\"\n",
    build,
};

/// Writes into a channel.
#[derive(Debug, Clone, Hash)]
struct Slack {
    endpoint: Endpoint,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Notifier>> {
    let (at, authorities);
    if node.is_table() {
        at = node.require("url")?;
        authorities = http::read_authorities(node);
        node.finish(&[]);
    } else {
        (at, authorities) = (node.clone(), Some(None));
    }
    let url = http::read_url(&at, &at.secret()?, false)?;
    let endpoint = Endpoint { authorities: authorities?, url_is_secret: true, ..Endpoint::new(url, Vec::new()) };
    Some(Box::new(Slack { endpoint }))
}

impl Notifier for Slack {
    fn send<'a>(&'a self, attempt: Attempt<'a>) -> Sending<'a> {
        Box::pin(async move {
            let body = body(attempt.delivery).to_string();
            let call = Call::post(self.endpoint.url.clone(), "application/json;charset=utf-8", body);
            let answer = self.endpoint.send(call, attempt.deadline).await?;
            Ok(Receipt { id: None, text: format!("Slack answered {}", self.endpoint.clean(&answer.body)) })
        })
    }

    fn describe(&self) -> String {
        self.endpoint.shown()
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }
}

fn body(delivery: &Delivery) -> Value {
    let message = &delivery.message;
    let colour = match (delivery.action, message.severity) {
        (Action::Resolve, _) => "good",
        (Action::Acknowledge | Action::Test, _) | (_, Severity::Info) => "#439FE0",
        (_, Severity::Warning) => "warning",
        (_, Severity::Error | Severity::Critical) => "danger",
    };
    let title = escape(&text::cut_chars(&sanitise::text(&message.title), TITLE_MAX));
    let field = |title: &str, value: &str| json!({ "title": title, "value": escape(value), "short": true });
    let mut fields = vec![field("severity", message.severity.word()), field("host", &message.host)];
    if let [alert] = message.alerts.as_slice() {
        fields.extend(alert.labels.get("group").map(|it| field("group", &sanitise::text(it))));
    }
    let mut attachment = json!({
        "color": colour,
        "fallback": title,
        "fields": fields,
        // What a service said is text: no `*` in it makes anything bold.
        "mrkdwn_in": [],
        "footer": escape(&text::short_id(&delivery.key)),
        "ts": delivery.at.as_second(),
    });
    let whole = text::body(message);
    if whole != sanitise::text(&message.title) {
        attachment["text"] = json!(escape(&text::cut_chars(&whole, TEXT_MAX)));
    }
    json!({ "text": title, "attachments": [attachment] })
}

/// Slack's three control characters; without them no text can mention a channel or make a link.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::notify::sample;

    #[test]
    fn no_text_can_mention_a_channel() {
        let mut delivery = sample::delivery(Action::Trigger);
        delivery.message.title = "api DOWN: <!channel> & co".into();
        delivery.message.text = "api DOWN: <!channel> & co\n<@U1>\u{1b}[31m".into();
        let body = body(&delivery);
        assert_eq!(body["text"], "api DOWN: &lt;!channel&gt; &amp; co");
        assert_eq!(body["attachments"][0]["text"], "&lt;@U1&gt;");
        assert_eq!(body["attachments"][0]["color"], "danger");
        delivery.action = Action::Resolve;
        assert_eq!(super::body(&delivery)["attachments"][0]["color"], "good");
    }
}
