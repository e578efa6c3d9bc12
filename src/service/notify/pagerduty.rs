//! `pagerduty = "${env:PD_ROUTING_KEY}"`: trigger, acknowledge and resolve by the Events API v2.
//!
//! The dedup key is ours and was stored before anything is sent, so an answer that is lost loses nothing: the
//! same event again is the same incident there.

use std::hash::{Hash, Hasher};

use reqwest::Url;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::domain::alert::delivery::{Action, Delivery, KEY_MAX_BYTES};
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::notify::http::{self, Call, Endpoint};
use crate::service::notify::{Attempt, Notifier, Receipt, Sending, text};

/// Where PagerDuty is, for customers of its US and EU service regions.
const HOSTS: &[(&str, &str)] = &[("us", "https://events.pagerduty.com"), ("eu", "https://events.eu.pagerduty.com")];
/// Letters and digits of a routing key.
const KEY_LENGTH: usize = 32;
/// Characters of a summary.
const SUMMARY_MAX: usize = 1_024;
/// Bytes of an event.
const EVENT_MAX: usize = 512_000;
/// Bytes of the text in an event: what is left is for the list of alerts.
const TEXT_MAX: usize = 100_000;

/// `pagerduty` in the config.
pub const KIND: Kind<dyn Notifier> = Kind {
    name: "pagerduty",
    summary: "trigger, acknowledge and resolve an incident in PagerDuty (Events API v2)",
    example: "[[notifier]]\nname = \"page\"\npagerduty = { key = \"${env:PD_ROUTING_KEY}\", region = \"eu\" }\n",
    build,
};

/// Sends events to one integration.
#[derive(Debug, Clone, Hash)]
struct PagerDuty {
    endpoint: Endpoint,
    key: String,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Notifier>> {
    let (key, base, authorities);
    if node.is_table() {
        key = node.require("key").and_then(|it| read_key(&it));
        let region = node.get("region").map_or(Some(HOSTS[0].1), |it| it.one_of(HOSTS));
        base = match node.get("url") {
            Some(it) => it.string().and_then(|text| http::read_url(&it, &text, false)),
            None => region.and_then(|it| Url::parse(it).ok()),
        };
        authorities = http::read_authorities(node);
        node.finish(&[]);
    } else {
        (key, base, authorities) = (read_key(node), Url::parse(HOSTS[0].1).ok(), Some(None));
    }
    let (key, mut url) = (key?, base?);
    url.set_path(&format!("{}/v2/enqueue", url.path().trim_end_matches('/')));
    let endpoint = Endpoint { authorities: authorities?, ..Endpoint::new(url, vec![key.clone()]) };
    Some(Box::new(PagerDuty { endpoint, key }))
}

fn read_key(node: &Node<'_>) -> Option<String> {
    let key = node.secret()?;
    if key.len() == KEY_LENGTH && key.bytes().all(|it| it.is_ascii_alphanumeric()) {
        return Some(key);
    }
    node.error_with_hint(
        format!("a routing key has {KEY_LENGTH} letters and digits"),
        "copy the integration key of an `Events API v2` integration of the service",
    );
    None
}

impl Notifier for PagerDuty {
    fn send<'a>(&'a self, attempt: Attempt<'a>) -> Sending<'a> {
        Box::pin(async move {
            let delivery = attempt.delivery;
            let actions: &[&str] = match delivery.action {
                Action::Trigger | Action::Remind | Action::Digest => &["trigger"],
                Action::Acknowledge => &["acknowledge"],
                Action::Resolve => &["resolve"],
                // A test leaves nothing open.
                Action::Test => &["trigger", "resolve"],
                // It has none; the policy sends it none.
                Action::Silence | Action::Unsilence => &[],
            };
            let mut receipt = Receipt::default();
            for action in actions {
                let event = event(action, &self.key, delivery).to_string();
                let call = Call::post(self.endpoint.url.clone(), "application/json", event);
                let answer = self.endpoint.send(call, attempt.deadline).await?;
                let json = serde_json::from_str::<Value>(&answer.body).unwrap_or_default();
                let word = |key: &str| json.get(key).and_then(Value::as_str).map(|it| self.endpoint.clean(it));
                receipt.id = word("dedup_key");
                receipt.text = word("message").unwrap_or_else(|| format!("PagerDuty answered {}", answer.status));
            }
            Ok(receipt)
        })
    }

    fn describe(&self) -> String {
        self.endpoint.url.host_str().unwrap_or_default().to_string()
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }
}

/// The key as PagerDuty takes it: a longer one keeps its beginning and ends with its hash.
fn dedup_key(key: &str) -> String {
    if key.len() <= KEY_MAX_BYTES {
        return key.to_string();
    }
    let hash = Sha256::digest(key.as_bytes());
    let tail: String = hash.iter().take(8).map(|it| format!("{it:02x}")).collect();
    let mut end = KEY_MAX_BYTES - tail.len() - 1;
    while !key.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{tail}", &key[..end])
}

fn event(action: &str, routing_key: &str, delivery: &Delivery) -> Value {
    let mut event =
        json!({ "event_action": action, "dedup_key": dedup_key(&delivery.key), "routing_key": routing_key });
    if action != "trigger" {
        return event;
    }
    let message = &delivery.message;
    let first = message.alerts.first();
    let lines: Vec<Value> = message
        .alerts
        .iter()
        .map(|it| json!({ "subject": it.subject, "concern": it.concern, "why": it.why, "since": it.since.to_string() }))
        .collect();
    let mut payload = json!({
        "summary": text::cut_chars(&sanitise::text(&message.title), SUMMARY_MAX),
        "source": message.host,
        "severity": message.severity.word(),
        "timestamp": first.map_or(delivery.at, |it| it.since).to_string(),
        "custom_details": { "text": text::cut_bytes(&text::body(message), TEXT_MAX) },
    });
    if let Some(first) = first {
        payload["component"] = json!(first.subject);
        payload["class"] = json!(first.concern);
        if let Some(group) = first.labels.get("group") {
            payload["group"] = json!(group);
        }
        if message.alerts.len() == 1 {
            payload["custom_details"]["labels"] = json!(first.labels);
        }
    }
    event["payload"] = payload;
    // All of a storm that fits; the text says how many there are.
    let mut room = EVENT_MAX.saturating_sub(event.to_string().len() + 64);
    let fitting: Vec<Value> = lines
        .into_iter()
        .take_while(|it| {
            let length = it.to_string().len() + 1;
            let fits = length <= room;
            room = room.saturating_sub(length);
            fits
        })
        .collect();
    event["payload"]["custom_details"]["alerts"] = Value::Array(fitting);
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::notify::sample;

    #[test]
    fn an_event_stays_within_the_limits_of_the_api() {
        let mut delivery = sample::delivery(Action::Trigger);
        delivery.key = "日本/".repeat(100);
        delivery.message.title = "x".repeat(5_000);
        delivery.message.text = "y".repeat(300_000);
        let line = delivery.message.alerts[0].clone();
        delivery.message.alerts = vec![line; 20_000];
        let event = event("trigger", "R", &delivery);
        assert!(event.to_string().len() <= EVENT_MAX, "{}", event.to_string().len());
        assert!(event["payload"]["summary"].as_str().unwrap().chars().count() <= SUMMARY_MAX);
        let key = event["dedup_key"].as_str().unwrap();
        assert!(key.len() <= KEY_MAX_BYTES && key != dedup_key(&"日本/".repeat(101)));
        assert!(event["payload"]["custom_details"]["alerts"].as_array().unwrap().len() > 1_000);
    }

    #[test]
    fn what_follows_a_trigger_has_its_key_and_no_payload() {
        let delivery = sample::delivery(Action::Acknowledge);
        assert_eq!(
            event("acknowledge", "R", &delivery),
            json!({ "event_action": "acknowledge", "dedup_key": delivery.key, "routing_key": "R" })
        );
    }
}
