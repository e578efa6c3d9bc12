//! `alertmanager = "http://…:9093"`: the alerts that fire there become rows here.
//!
//! Alerts that are silenced or inhibited there do not count. How bad it is is what their `severity` label
//! says, unless `expect` says something about `alerts`. Format: Alertmanager's API v2.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use crate::clock;
use crate::domain::format;
use crate::domain::probe::expect::{Field, FieldKind, FieldValue, Subjects, shorten};
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Part, Perf, ProbeResult, ROWS_MAX, Trouble};
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::probe::monitor::{Answer, Api};
use crate::service::probe::net::{Verdict, fail};
use crate::service::probe::{Observing, Probe, Run};

/// Characters of an alert's name and of its text.
const NAME_MAX: usize = 80;
/// Characters of what an alert says.
const TEXT_MAX: usize = 200;

/// `alertmanager` in the config.
pub const KIND: Kind<dyn Probe> = Kind {
    name: "alertmanager",
    summary: "show the alerts that fire in an Alertmanager",
    example: "[[probe]]\nname = \"alerts\"\nalertmanager = { url = \"http://127.0.0.1:9093\", filter = [\"team=core\"] }\n",
    build,
};

const FIELDS: &[Field] = &[Field { name: "alerts", kind: FieldKind::Number }];

/// Asks for alerts.
#[derive(Hash)]
struct AlertmanagerProbe {
    api: Api,
    filter: Vec<String>,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    let filter: Option<Vec<String>> = match node.get("filter").filter(|_| node.is_table()) {
        None => Some(Vec::new()),
        Some(filter) => filter.one_or_many().iter().map(read_matcher).collect(),
    };
    let api = Api::read(node);
    Some(Box::new(AlertmanagerProbe { api: api?, filter: filter? }))
}

fn read_matcher(node: &Node<'_>) -> Option<String> {
    let text = node.string()?;
    let name_end = text.find(|it: char| !(it.is_ascii_alphanumeric() || it == '_' || it == ':'));
    let sign = name_end.filter(|it| *it > 0).map(|it| text[it..].trim_start());
    if !sign.is_some_and(|it| it.starts_with('=') || it.starts_with("!=") || it.starts_with("!~")) {
        node.error_with_hint(
            format!("`{}` is no matcher", sanitise::text(&text)),
            "write a label, one of `=`, `!=`, `=~`, `!~`, and a value, as in `severity=critical`",
        );
        return None;
    }
    Some(text)
}

impl Probe for AlertmanagerProbe {
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a> {
        let deadline = run.deadline;
        Box::pin(async move {
            let mut seen = Observation::default();
            seen.verdict = self.look(deadline, &mut seen).await.err();
            seen
        })
    }

    fn target(&self) -> String {
        sanitise::text(format!("{} {}", self.api.shown(), self.filter.join(" ")).trim_end())
    }

    fn subjects(&self) -> Subjects {
        Subjects::Fields(FIELDS)
    }

    fn hide(&self, text: &str, chars_max: usize) -> String {
        self.api.hide(text, chars_max)
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }
}

impl AlertmanagerProbe {
    async fn look(&self, deadline: Instant, seen: &mut Observation) -> Result<(), Verdict> {
        let mut query = vec![("active", "true".to_string())];
        query.extend(["silenced", "inhibited", "unprocessed"].map(|it| (it, "false".to_string())));
        query.extend(self.filter.iter().map(|it| ("filter", it.clone())));
        let answer = self.api.get("/api/v2/alerts", &query, deadline, seen).await?;
        seen.values.text.clear();
        let mut parts = parts(&answer, clock::now())?;
        let count = parts.len();
        seen.values.fields.push(("alerts", FieldValue::Number(count as f64)));
        seen.evidence.perf.push(Perf { min: Some(0.0), ..Perf::plain("alerts", count as f64, "") });
        parts.sort_by_key(|it| (std::cmp::Reverse(it.result.badness()), std::cmp::Reverse(it.took)));
        parts.truncate(ROWS_MAX);
        let worst = parts.first().map(|it| it.result);
        let names: Vec<&str> = parts.iter().take(3).map(|it| it.name.as_str()).collect();
        let more = if count > names.len() { format!(" and {} more", count - names.len()) } else { String::new() };
        let said = if count == 1 { "fires" } else { "fire" };
        let text = format!("{} {said}: {}{more}", format::plural(count as u64, "alert"), names.join(", "));
        seen.evidence.text = if count == 0 { "no alert fires".into() } else { text.clone() };
        // What fires says more than the status of the answer.
        seen.evidence.status = None;
        seen.evidence.parts = parts;
        match worst {
            None | Some(ProbeResult::Ok) => Ok(()),
            Some(result) => Err((result, Trouble::new(Cause::Part, format::plural(count as u64, "alert"), text))),
        }
    }
}

/// The alerts of an answer.
fn parts(answer: &Answer, now: Timestamp) -> Result<Vec<Part>, Verdict> {
    let Some(alerts) = answer.body.as_array() else {
        let said = answer.body.as_str().or_else(|| answer.body["message"].as_str()).unwrap_or("no list of alerts");
        let text = format!("status is {}: {said}", answer.status);
        return Err(match answer.status {
            400 | 401 | 403 | 422 => (ProbeResult::Unknown, Trouble::new(Cause::Own, "refused", sanitise::text(&text))),
            status => fail(Cause::Status, &status.to_string(), text),
        });
    };
    Ok(alerts.iter().map(|it| part(it, now)).collect())
}

fn part(alert: &Value, now: Timestamp) -> Part {
    let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default();
    let annotation = |name: &str| alert["annotations"][name].as_str().filter(|it| !it.is_empty());
    let name = match (label("alertname"), label("instance")) {
        ("", _) => "unnamed".to_string(),
        (name, "") => name.to_string(),
        (name, instance) => format!("{name} {instance}"),
    };
    let text = annotation("summary").or(annotation("description")).or(annotation("message")).unwrap_or_default();
    let since = alert["startsAt"].as_str().and_then(|it| it.parse::<Timestamp>().ok());
    Part {
        name: shorten(&sanitise::text(&name), NAME_MAX),
        result: result_of(label("severity")),
        text: shorten(&sanitise::text(text), TEXT_MAX),
        took: since.map(|it| Duration::try_from(now.duration_since(it)).unwrap_or_default()),
    }
}

/// How bad a severity is. One that is not known is taken to be bad: it fires.
fn result_of(severity: &str) -> ProbeResult {
    match severity.to_ascii_lowercase().as_str() {
        "warning" | "warn" | "minor" | "low" | "ticket" => ProbeResult::Degraded,
        // A watchdog fires always, so that its silence is noticed.
        "none" | "info" | "information" | "informational" | "debug" => ProbeResult::Ok,
        _ => ProbeResult::Fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_firing_alert_becomes_a_row_with_its_age_and_severity() {
        let body = serde_json::json!([
            {"labels": {"alertname": "ApiDown", "instance": "a:80", "severity": "page"},
             "annotations": {"summary": "the api \u{1b}[31mis down"}, "startsAt": "2026-11-23T03:00:00.000Z"},
            {"labels": {"alertname": "DiskFills", "severity": "warning"}},
            {"labels": {"alertname": "Watchdog", "severity": "none"}},
        ]);
        let now = "2026-11-23T03:10:00Z".parse().expect("a time");
        let parts = parts(&Answer { status: 200, body }, now).expect("alerts");
        let shown: Vec<_> = parts.iter().map(|it| (it.name.as_str(), it.result, it.text.as_str(), it.took)).collect();
        assert_eq!(
            shown,
            [
                ("ApiDown a:80", ProbeResult::Fail, "the api is down", Some(Duration::from_secs(600))),
                ("DiskFills", ProbeResult::Degraded, "", None),
                ("Watchdog", ProbeResult::Ok, "", None),
            ]
        );
        let refused = Answer { status: 400, body: serde_json::json!("bad matcher format: x") };
        let (result, trouble) = super::parts(&refused, now).expect_err("refused");
        assert_eq!((result, trouble.text.as_str()), (ProbeResult::Unknown, "status is 400: bad matcher format: x"));
    }
}
