//! A delivery as JSON: the body of a webhook, and what its template can name.

use serde_json::{Value, json};

use crate::domain::alert::delivery::Delivery;
use crate::domain::sanitise;

/// Grows when a field changes its meaning; fields are added without that.
pub const VERSION: u32 = 1;

/// Everything about a delivery; texts are sanitised, times are RFC 3339 in UTC.
pub fn json(delivery: &Delivery) -> Value {
    let message = &delivery.message;
    let alerts: Vec<Value> = message
        .alerts
        .iter()
        .map(|it| {
            json!({
                "key": it.key,
                "subject": sanitise::text(&it.subject),
                "concern": it.concern,
                "why": sanitise::multiline(&it.why),
                "since": it.since.to_string(),
                "ended": it.ended.map(|it| it.to_string()),
                "severity": it.severity.word(),
                "labels": it.labels,
            })
        })
        .collect();
    json!({
        "version": VERSION,
        "id": delivery.id,
        "key": delivery.key,
        "action": delivery.action.word(),
        "notifier": delivery.notifier,
        "at": delivery.at.to_string(),
        "title": sanitise::text(&message.title),
        "text": sanitise::multiline(&message.text),
        "severity": message.severity.word(),
        "host": message.host,
        "alerts": alerts,
    })
}
