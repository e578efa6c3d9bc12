//! `alertmanager = "http://127.0.0.1:9093"`: alerts for a team's own Alertmanager (API v2).
//!
//! Its routing, grouping and silences then apply. It forgets an alert that is not told again before its end
//! and loses all of them when it restarts, so a keeper tells every firing alert again each `RESEND`, with an
//! end four times as far away, and what is over for another five minutes, as Prometheus does. A silence that
//! a person makes here is made there too.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::clock;
use crate::domain::alert::delivery::{Action, AlertLine, Delivery};
use crate::domain::alert::quiet::Silence;
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::notify::http::{self, Answer, Call, Endpoint};
use crate::service::notify::{Attempt, Notifier, Receipt, SendError, Sending, text};

/// How often a firing alert is told again when nothing is said; Prometheus does it each minute.
const RESEND: Duration = Duration::from_secs(60);
/// Shortest and longest `resend`.
const RESEND_RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
/// The end of a firing alert, in multiples of `resend`: three lost messages do not end it.
const END_AFTER: i32 = 4;
/// How long what is over is told again.
const RESOLVED_FOR: Duration = Duration::from_secs(300);
/// Deadline of the keeper's requests.
const KEEP_DEADLINE: Duration = Duration::from_secs(15);
/// Alerts that are kept: more than there are probes.
const KEPT_MAX: usize = 10_000;
/// Bytes of an annotation or a label's value.
const VALUE_MAX: usize = 4 << 10;
/// What all our alerts are called there, as a pattern.
const ALERT_NAMES: &str = "Probe.+";
const JSON: &str = "application/json";
/// How long a test alert lasts.
const TEST_FOR: SignedDuration = SignedDuration::from_secs(60);

/// `alertmanager` in the config.
pub const KIND: Kind<dyn Notifier> = Kind {
    name: "alertmanager",
    summary: "alerts for an Alertmanager, whose routing, grouping and silences then apply",
    example: "[[notifier]]\nname = \"team\"\nalertmanager = \"http://127.0.0.1:9093\"\n",
    build,
};

/// Posts alerts.
struct Alertmanager {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    authorization: Option<String>,
    labels: BTreeMap<String, String>,
    resend: Duration,
    kept: Mutex<Kept>,
}

/// What has to be told again.
#[derive(Debug, Default)]
struct Kept {
    alerts: BTreeMap<String, Told>,
    /// The keeper runs.
    is_running: bool,
}

/// An alert as it was told.
#[derive(Debug, Clone)]
struct Told {
    /// Without `endsAt`.
    alert: Value,
    ended: Option<(Timestamp, Instant)>,
}

/// A silence as it is there.
struct There {
    id: String,
    /// When it began, as it says so; `None` when it has not.
    began: Option<Value>,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Notifier>> {
    let (at, mut authorization, mut labels, mut resend, mut authorities) =
        (if node.is_table() { node.require("url")? } else { node.clone() }, None, BTreeMap::new(), RESEND, None);
    let mut secrets = Vec::new();
    if node.is_table() {
        if let Some(token) = node.get("token") {
            let token = token.secret()?;
            authorization = Some(format!("Bearer {token}"));
            secrets.push(token);
        }
        if let Some(table) = node.get("labels") {
            for (name, _) in table.keys() {
                let value = table.get(&name).and_then(|it| it.string())?;
                if label_name(&name) != name {
                    table.error_at_key(&name, "a label is made of letters, digits and `_`", None);
                    return None;
                }
                labels.insert(name, value);
            }
        }
        if let Some(it) = node.get("resend") {
            resend = it.duration()?;
            if !(RESEND_RANGE.0..=RESEND_RANGE.1).contains(&resend) {
                it.error_with_hint("`resend` must be from 1 s to 1 h", "leave it out for a minute, as Prometheus");
                return None;
            }
        }
        authorities = http::read_authorities(node)?;
        node.finish(&[]);
    }
    let text = at.string()?;
    // A user and a password in it are a secret, an address is none.
    let text = if text.contains('@') { at.secret()? } else { text };
    let mut url: Url = http::read_url(&at, &text, authorization.is_none())?;
    url.set_path(&format!("{}/api/v2/alerts", url.path().trim_end_matches('/')));
    let endpoint = Endpoint { authorities, ..Endpoint::new(url, secrets) };
    let inner = Inner { endpoint, authorization, labels, resend, kept: Mutex::default() };
    Some(Box::new(Alertmanager { inner: Arc::new(inner) }))
}

impl Notifier for Alertmanager {
    fn send<'a>(&'a self, attempt: Attempt<'a>) -> Sending<'a> {
        Box::pin(async move {
            let delivery = attempt.delivery;
            if delivery.action == Action::Acknowledge {
                return Ok(Receipt { id: None, text: "an Alertmanager knows no acknowledging".into() });
            }
            if let (Action::Silence | Action::Unsilence, Some(silence)) = (delivery.action, &delivery.silence) {
                return self.inner.silence(delivery, silence, attempt.deadline).await;
            }
            if delivery.action == Action::Test {
                let now = clock::now();
                let mut alert = self.inner.alert(&line_of(delivery), delivery);
                alert["labels"]["alertname"] = json!("HotseatTest");
                alert["endsAt"] = json!(now.checked_add(TEST_FOR).unwrap_or(now).to_string());
                return self.inner.post(vec![alert], attempt.deadline).await;
            }
            let alerts = self.inner.keep(delivery);
            let receipt = self.inner.post(alerts, attempt.deadline).await?;
            self.start();
            Ok(receipt)
        })
    }

    fn describe(&self) -> String {
        self.inner.endpoint.shown().trim_end_matches("/api/v2/alerts").to_string()
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        let inner = &self.inner;
        (&inner.endpoint, &inner.authorization, &inner.labels, inner.resend).hash(&mut hasher);
    }

    fn resume(&self, delivery: &Delivery) {
        if matches!(delivery.action, Action::Trigger | Action::Remind | Action::Resolve | Action::Digest) {
            self.inner.keep(delivery);
            self.start();
        }
    }
}

impl Alertmanager {
    /// Starts the keeper unless it runs. It ends when nothing is left to tell, and with the notifier.
    fn start(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.is_running && !kept.alerts.is_empty() {
            kept.is_running = true;
            runtime.spawn(keep_telling(Arc::downgrade(&self.inner), self.inner.resend));
        }
    }
}

async fn keep_telling(notifier: Weak<Inner>, resend: Duration) {
    loop {
        tokio::time::sleep(resend).await;
        let Some(inner) = notifier.upgrade() else { return };
        let Some(alerts) = inner.due() else { return };
        if let Err(error) = inner.post(alerts, clock::timer() + KEEP_DEADLINE).await {
            // The next round tells it again; what is new goes through the outbox, which shows its errors.
            tracing::warn!("could not tell the Alertmanager again: {error}");
        }
    }
}

impl Inner {
    /// Remembers what a delivery says and returns it as it is to be posted.
    fn keep(&self, delivery: &Delivery) -> Vec<Value> {
        let (now, timer) = (clock::now(), clock::timer());
        let lines = match delivery.message.alerts.as_slice() {
            [] => vec![line_of(delivery)],
            lines => lines.to_vec(),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut alerts = Vec::with_capacity(lines.len());
        for line in lines {
            let is_over = line.ended.is_some() || delivery.action == Action::Resolve;
            let ended = is_over.then(|| (line.ended.unwrap_or(now), timer));
            let mut told = Told { alert: self.alert(&line, delivery), ended };
            if let (true, Some(earlier)) = (is_over, kept.alerts.get(&line.key)) {
                // The labels are its identity there: an end under other ones would end nothing.
                told.alert["labels"] = earlier.alert["labels"].clone();
            }
            alerts.push(self.with_end(&told, now));
            if kept.alerts.len() < KEPT_MAX || kept.alerts.contains_key(&line.key) {
                kept.alerts.insert(line.key.clone(), told);
            }
        }
        alerts
    }

    /// What has to be told again now; `None` when nothing is left, and then the keeper ends.
    fn due(&self) -> Option<Vec<Value>> {
        let (now, timer) = (clock::now(), clock::timer());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.alerts.retain(|_, it| it.ended.is_none_or(|(_, told_at)| timer < told_at + RESOLVED_FOR));
        if kept.alerts.is_empty() {
            kept.is_running = false;
            return None;
        }
        Some(kept.alerts.values().map(|it| self.with_end(it, now)).collect())
    }

    fn with_end(&self, told: &Told, now: Timestamp) -> Value {
        let ahead = SignedDuration::try_from(self.resend * END_AFTER.unsigned_abs()).unwrap_or(SignedDuration::MAX);
        let end = told.ended.map_or_else(|| now.checked_add(ahead).unwrap_or(now), |(ended, _)| ended);
        let mut alert = told.alert.clone();
        alert["endsAt"] = json!(end.to_string());
        alert
    }

    fn alert(&self, line: &AlertLine, delivery: &Delivery) -> Value {
        let value = |it: &str| text::cut_bytes(&sanitise::text(it), VALUE_MAX);
        let mut labels: BTreeMap<String, String> = BTreeMap::from([
            ("alertname".to_string(), alert_name(&line.concern)),
            ("probe".to_string(), value(&line.subject)),
            ("severity".to_string(), line.severity.word().to_string()),
            ("host".to_string(), value(&delivery.message.host)),
        ]);
        // The phase changes while an alert lasts, and labels are its identity.
        let own = line.labels.iter().filter(|(name, _)| *name != "phase").chain(&self.labels);
        labels.extend(own.map(|(name, it)| (label_name(name), value(it))));
        // An empty value is no label.
        labels.retain(|_, it| !it.is_empty());
        let mut annotations = json!({
            "summary": value(&delivery.message.title),
            "description": value(&line.why),
            "hotseat_key": value(&line.key),
        });
        if let Some(phase) = line.labels.get("phase") {
            annotations["phase"] = json!(value(phase));
        }
        json!({ "labels": labels, "annotations": annotations, "startsAt": line.since.to_string() })
    }

    /// Makes, changes or ends the silence there that stands for one of ours. It is found by its comment, so that an
    /// attempt which is made again, also after a restart, makes no second one.
    async fn silence(&self, delivery: &Delivery, silence: &Silence, deadline: Instant) -> Result<Receipt, SendError> {
        let matchers = self.matchers(&delivery.message.host, silence);
        let mark = format!("[hotseat {}]", delivery.key);
        let found = self.silences_of(&matchers, &mark, deadline).await?;
        if delivery.action == Action::Unsilence {
            for it in &found {
                let place = self.place(&["silence", &it.id]);
                let call = Call { method: Method::DELETE, ..Call::post(place, JSON, String::new()) };
                self.call(call, deadline).await?;
            }
            let text = format!("{} ended there", crate::domain::format::plural(found.len() as u64, "silence"));
            return Ok(Receipt { id: found.into_iter().next().map(|it| self.endpoint.clean(&it.id)), text });
        }
        let comment = text::cut_bytes(&sanitise::text(&silence.comment), VALUE_MAX);
        let mut body = json!({
            "matchers": matchers,
            "startsAt": silence.from.to_string(),
            "endsAt": silence.until.to_string(),
            "createdBy": sanitise::text(&silence.by),
            "comment": format!("{comment} {mark}").trim_start(),
        });
        if let Some(there) = found.into_iter().next() {
            body["id"] = json!(there.id);
            // One that has begun keeps its beginning: with another it would be ended and a new one made.
            if let Some(began) = there.began {
                body["startsAt"] = began;
            }
        }
        let answer = self.call(Call::post(self.place(&["silences"]), JSON, body.to_string()), deadline).await?;
        let id = serde_json::from_str::<Value>(&answer.body).ok();
        let id = id.and_then(|it| it.get("silenceID")?.as_str().map(|it| self.endpoint.clean(it)));
        Ok(Receipt { id, text: "silenced there too".into() })
    }

    /// Ours alone: others may use the same labels. `Probe…` is what our alerts are called, the host is this one unless
    /// the silence says otherwise, and what the config adds to our alerts is added here.
    fn matchers(&self, host: &str, silence: &Silence) -> Vec<Value> {
        let matcher = |name: &str, value: &str, is_regex: bool, is_equal: bool| {
            let name = label_name(name);
            json!({ "name": name, "value": value, "isRegex": is_regex, "isEqual": is_equal })
        };
        let mut matchers = vec![matcher("alertname", ALERT_NAMES, true, true)];
        if !silence.matchers.iter().any(|it| it.name == "host") {
            matchers.push(matcher("host", host, false, true));
        }
        let own = self.labels.iter().filter(|(_, value)| !value.is_empty());
        matchers.extend(own.map(|(name, value)| matcher(name, value, false, true)));
        matchers.extend(silence.matchers.iter().map(|it| matcher(&it.name, &it.value, it.is_regex, it.is_equal)));
        matchers
    }

    /// The silences there that bear a mark and are not over.
    async fn silences_of(&self, matchers: &[Value], mark: &str, deadline: Instant) -> Result<Vec<There>, SendError> {
        let mut url = self.place(&["silences"]);
        // Only those that can be ours: all of them may be more than an answer may hold.
        // It compares a matcher with those of the silence, and not with what they match.
        url.query_pairs_mut().append_pair("filter", &format!("alertname=~{}", json!(ALERT_NAMES)));
        let is_plain = |it: &&Value| it["name"] == "host" && it["isEqual"] == true && it["isRegex"] == false;
        if let Some(host) = matchers.iter().find(is_plain) {
            url.query_pairs_mut().append_pair("filter", &format!("host={}", host["value"]));
        }
        let call = Call { method: Method::GET, ..Call::post(url, JSON, String::new()) };
        let answer = self.call(call, deadline).await?;
        let Ok(Value::Array(all)) = serde_json::from_str(&answer.body) else {
            return Err(SendError::transient("its list of silences is no list, or is too long"));
        };
        let is_ours = |it: &&Value| {
            it["comment"].as_str().is_some_and(|it| it.ends_with(mark)) && it["status"]["state"] != "expired"
        };
        let there = |it: &Value| {
            let began = (it["status"]["state"] == "active").then(|| it["startsAt"].clone());
            Some(There { id: it["id"].as_str()?.to_string(), began })
        };
        Ok(all.iter().filter(is_ours).filter_map(there).collect())
    }

    /// A place of its API beside that of the alerts.
    fn place(&self, path: &[&str]) -> Url {
        let mut url = self.endpoint.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop().extend(path);
        }
        url
    }

    async fn call(&self, mut call: Call, deadline: Instant) -> Result<Answer, SendError> {
        if let Some(authorization) = &self.authorization {
            call = call.with_secret(AUTHORIZATION, authorization);
        }
        self.endpoint.send(call, deadline).await
    }

    async fn post(&self, alerts: Vec<Value>, deadline: Instant) -> Result<Receipt, SendError> {
        let count = alerts.len();
        let call = Call::post(self.endpoint.url.clone(), JSON, Value::Array(alerts).to_string());
        let answer = self.call(call, deadline).await?;
        let host = self.endpoint.url.host_str().unwrap_or_default();
        Ok(Receipt { id: None, text: format!("{host} answered {} to {count} alerts", answer.status) })
    }
}

/// A message without alerts as one.
fn line_of(delivery: &Delivery) -> AlertLine {
    AlertLine {
        key: delivery.key.clone(),
        subject: delivery.message.host.clone(),
        concern: "message".into(),
        why: delivery.message.text.clone(),
        since: delivery.at,
        ended: None,
        severity: delivery.message.severity,
        labels: BTreeMap::new(),
    }
}

/// `down` becomes `ProbeDown`, as names of alerts commonly are.
fn alert_name(concern: &str) -> String {
    let mut name = "Probe".to_string();
    for word in concern.split(|it: char| !it.is_ascii_alphanumeric()).filter(|it| !it.is_empty()) {
        let (first, rest) = word.split_at(1);
        name.push_str(&first.to_ascii_uppercase());
        name.push_str(rest);
    }
    name
}

/// A name that every Alertmanager takes: letters, digits and `_`, no digit first.
fn label_name(name: &str) -> String {
    let clean: String = name.chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '_' }).collect();
    if clean.is_empty() || clean.starts_with(|it: char| it.is_ascii_digit()) { format!("_{clean}") } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::notify::sample;

    fn inner() -> Inner {
        let url = Url::parse("http://127.0.0.1:1/api/v2/alerts").unwrap();
        let endpoint = Endpoint::new(url, Vec::new());
        let labels = BTreeMap::from([("team".into(), "core".into())]);
        Inner { endpoint, authorization: None, labels, resend: RESEND, kept: Mutex::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_alert_is_told_until_five_minutes_after_its_end_under_the_same_labels() {
        let inner = inner();
        let fired = inner.keep(&sample::delivery(Action::Trigger)).remove(0);
        assert_eq!(fired["labels"]["alertname"], "ProbeDown");
        assert_eq!((&fired["labels"]["team"], &fired["labels"]["phase"]), (&json!("core"), &Value::Null));
        let end: Timestamp = fired["endsAt"].as_str().unwrap().parse().unwrap();
        let ahead = end.duration_since(clock::now()).as_secs();
        assert!((230..=240).contains(&ahead), "{ahead}");
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(inner.due().unwrap().len(), 1);
        let mut resolve = sample::delivery(Action::Resolve);
        resolve.message.alerts[0].labels.insert("kind".into(), "another".into());
        let over = inner.keep(&resolve).remove(0);
        assert_eq!(over["labels"], fired["labels"]);
        assert_eq!(over["endsAt"], resolve.message.alerts[0].ended.unwrap().to_string());
        tokio::time::advance(Duration::from_secs(299)).await;
        assert_eq!(inner.due().unwrap()[0]["endsAt"], over["endsAt"]);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(inner.due(), None);
    }

    #[test]
    fn names_are_those_that_an_alertmanager_takes() {
        assert_eq!(alert_name("burn-fast"), "ProbeBurnFast");
        assert_eq!(label_name("9 live-é"), "_9_live__");
    }
}
