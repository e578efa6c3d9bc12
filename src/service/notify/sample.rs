//! A delivery without an alert behind it: what `test-notify` sends, and what a template is tried with.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::alert::Severity;
use crate::domain::alert::delivery::{Action, AlertLine, Delivery, Message};

/// The message that a person sends to try a notifier.
pub fn test(notifier: &str, host: &str, person: &str, now: Timestamp) -> Delivery {
    let key = format!("{host}/test-notify/{}", now.as_second() % 1_000_000);
    Delivery {
        id: format!("{key}/{notifier}/test/{}", now.as_millisecond()),
        key,
        notifier: notifier.to_string(),
        action: Action::Test,
        at: now,
        expires: None,
        message: Message {
            title: format!("test of `{notifier}` from {host}"),
            text: format!("{person} tries whether messages arrive here; nothing is wrong"),
            severity: Severity::Info,
            host: host.to_string(),
            alerts: Vec::new(),
            brief: None,
        },
        follows: None,
        silence: None,
        because: format!("{person} tries it"),
    }
}

/// A message about one probe that is down.
pub fn delivery(action: Action) -> Delivery {
    let since = Timestamp::from_second(1_795_400_000).unwrap_or_default();
    let labels = [("group", "edge"), ("kind", "http"), ("phase", "connect"), ("team", "core")];
    Delivery {
        id: "host/api/17/notifier/1".into(),
        key: "host/api/17".into(),
        notifier: "notifier".into(),
        action,
        at: since,
        expires: None,
        message: Message {
            title: "api DOWN since 14:43:52: timeout in connect".into(),
            text: "api DOWN since 14:43:52: timeout in connect\nhttps://api.example.com/health, group edge".into(),
            severity: Severity::Critical,
            host: "host".into(),
            alerts: vec![AlertLine {
                key: "host/api/17".into(),
                subject: "host/api".into(),
                concern: "down".into(),
                why: "timeout in connect: no answer to the connection within 5 s".into(),
                since,
                ended: (action == Action::Resolve).then_some(since),
                severity: Severity::Critical,
                labels: labels
                    .map(|(name, value)| (name.to_string(), value.to_string()))
                    .into_iter()
                    .collect::<BTreeMap<_, _>>(),
            }],
            brief: None,
        },
        follows: None,
        silence: None,
        because: "it is down".into(),
    }
}
