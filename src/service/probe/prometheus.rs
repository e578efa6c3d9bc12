//! `prometheus = { url = "http://…:9090", query = "…" }` with `expect = "value < 0.05"`: a number that Prometheus knows.
//!
//! Every sample of a vector must hold; each becomes a part by the name of its series. No sample at all is
//! Unknown, because a query that finds nothing is a mistake as often as it is good news: `empty = "ok"` says
//! that it is good news. Formats: <https://prometheus.io/docs/prometheus/latest/querying/api/>.

use std::hash::{Hash, Hasher};

use serde_json::Value;
use tokio::time::Instant;

use crate::clock;
use crate::domain::probe::expect::{Field, FieldKind, FieldValue, Subjects, shorten};
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, PERF_MAX, Perf, ProbeResult, Trouble};
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::probe::monitor::{Answer, Api};
use crate::service::probe::net::{Verdict, fail};
use crate::service::probe::{Observing, Probe, Run};

/// Samples of one answer that are judged: a query that finds more watches a fleet, and names it by a sum.
const SAMPLES_MAX: usize = 2_000;
/// Characters of a series' name.
const NAME_MAX: usize = 120;

/// `prometheus` in the config.
pub const KIND: Kind<dyn Probe> = Kind {
    name: "prometheus",
    summary: "ask Prometheus a query: every sample's value must hold",
    example: "[[probe]]\nname = \"api errors\"\nprometheus = { url = \"http://127.0.0.1:9090\", query = \"job:errors:ratio5m\" }\nexpect = \"value < 0.05\"\n",
    build,
};

const FIELDS: &[Field] =
    &[Field { name: "value", kind: FieldKind::Number }, Field { name: "samples", kind: FieldKind::Number }];

/// Asks a query.
#[derive(Hash)]
struct PrometheusProbe {
    api: Api,
    query: String,
    empty_is_ok: bool,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    if !node.is_table() {
        node.error_with_hint(
            "`prometheus` must be a table with a URL and a query",
            "write `prometheus = { url = \"http://127.0.0.1:9090\", query = \"up\" }`",
        );
        return None;
    }
    let query = node.require("query").and_then(|it| {
        let query = it.string()?;
        if query.trim().is_empty() {
            it.error_with_hint("an empty query", "write PromQL, as in `up{job=\"api\"}`");
            return None;
        }
        Some(query)
    });
    let empty = node.get("empty").map(|it| it.one_of(&[("unknown", false), ("ok", true)]));
    let api = Api::read(node);
    Some(Box::new(PrometheusProbe { api: api?, query: query?, empty_is_ok: empty.unwrap_or(Some(false))? }))
}

impl Probe for PrometheusProbe {
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a> {
        let deadline = run.deadline;
        Box::pin(async move {
            let mut seen = Observation::default();
            match self.look(deadline, &mut seen).await {
                Ok(samples) => self.tell(samples, &mut seen),
                Err(verdict) => seen.verdict = Some(verdict),
            }
            seen
        })
    }

    fn target(&self) -> String {
        sanitise::text(&format!("{} {}", self.api.shown(), self.query))
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

/// One sample: the series it is of, and its value.
type Sample = (String, f64);

impl PrometheusProbe {
    async fn look(&self, deadline: Instant, seen: &mut Observation) -> Result<Vec<Sample>, Verdict> {
        // What nobody waits for any more need not be computed.
        let left = deadline.saturating_duration_since(clock::timer());
        let query = [("query", self.query.clone()), ("timeout", format!("{:.3}", left.as_secs_f64()))];
        let answer = self.api.get("/api/v1/query", &query, deadline, seen).await?;
        seen.values.text.clear();
        samples(&answer).map_err(|(result, mut trouble)| {
            trouble.text = self.api.clean(&trouble.text);
            (result, trouble)
        })
    }

    fn tell(&self, samples: Vec<Sample>, seen: &mut Observation) {
        let count = samples.len();
        let (numbers, others): (Vec<Sample>, Vec<Sample>) = samples.into_iter().partition(|it| !it.1.is_nan());
        let perf: Vec<Perf> =
            numbers.iter().take(PERF_MAX).map(|(name, value)| Perf::plain(name.as_str(), *value, "")).collect();
        let unknown = |brief: &str, text: String| {
            Some((ProbeResult::Unknown, Trouble::new(Cause::Value, brief, sanitise::text(&text))))
        };
        let samples = FieldValue::Number(count as f64);
        if numbers.is_empty() && (self.empty_is_ok || others.is_empty()) {
            seen.evidence.text = if others.is_empty() { "no sample".into() } else { "no sample with a value".into() };
            if !self.empty_is_ok {
                let text = format!("the query finds nothing: {} (`empty = \"ok\"` if that is well)", self.query);
                seen.verdict = unknown("empty", text);
            }
            // Nothing is below and above everything; of an answer of nothing this says more than its status.
            seen.moot = Some("value");
            seen.evidence.status = None;
            seen.values.fields.push(("samples", samples));
            return;
        }
        let mut members: Vec<(String, Observation)> = Vec::with_capacity(count);
        for (name, value) in numbers.into_iter().take(SAMPLES_MAX) {
            let mut member = seen.clone();
            member.values.fields = vec![("value", FieldValue::Number(value)), ("samples", samples.clone())];
            member.evidence.text = format!("{value}");
            member.evidence.perf =
                if perf.len() < PERF_MAX { perf.clone() } else { vec![Perf::plain(name.as_str(), value, "")] };
            members.push((name, member));
        }
        if !self.empty_is_ok {
            for (name, _) in others.into_iter().take(SAMPLES_MAX) {
                let verdict = unknown("NaN", format!("{name} has no value (NaN)"));
                members.push((name, Observation { verdict, ..seen.clone() }));
            }
        }
        seen.members = members;
    }
}

/// The samples of an answer.
fn samples(answer: &Answer) -> Result<Vec<Sample>, Verdict> {
    let body = &answer.body;
    if body["status"] != "success" {
        let kind = body["errorType"].as_str().unwrap_or("error");
        let text =
            format!("status is {}, {kind}: {}", answer.status, body["error"].as_str().unwrap_or("no reason given"));
        // A query that is wrong says nothing about what it asks for.
        return Err(match answer.status {
            400 | 422 => (ProbeResult::Unknown, Trouble::new(Cause::Own, "bad query", sanitise::text(&text))),
            401 | 403 => (ProbeResult::Unknown, Trouble::new(Cause::Own, "not allowed", sanitise::text(&text))),
            status => fail(Cause::Status, &status.to_string(), text),
        });
    }
    let data = &body["data"];
    let odd = || fail(Cause::Protocol, "bad answer", "the answer is none of a query");
    match data["resultType"].as_str() {
        Some("vector") => {
            let result = data["result"].as_array().ok_or_else(odd)?;
            let sample = |it: &Value| Some((series(&it["metric"]), number(&it["value"][1])?));
            result.iter().map(sample).collect::<Option<Vec<_>>>().ok_or_else(odd)
        }
        Some("scalar") => Ok(vec![("scalar".to_string(), number(&data["result"][1]).ok_or_else(odd)?)]),
        Some(other) => {
            let text = format!("the query gives a {other}, not a value: `[5m]` needs a function around it");
            Err((ProbeResult::Unknown, Trouble::new(Cause::Own, "bad query", sanitise::text(&text))))
        }
        None => Err(odd()),
    }
}

/// Values are texts: `"0.5"`, `"NaN"`, `"+Inf"`.
fn number(value: &Value) -> Option<f64> {
    value.as_str()?.parse().ok()
}

/// A series as PromQL writes it: `up{instance="a:80", job="api"}`.
fn series(metric: &Value) -> String {
    let Some(labels) = metric.as_object() else { return "{}".into() };
    let name = metric["__name__"].as_str().unwrap_or_default();
    let pairs: Vec<String> = labels
        .iter()
        .filter(|(label, _)| *label != "__name__")
        .map(|(label, value)| format!("{label}=\"{}\"", value.as_str().unwrap_or_default()))
        .collect();
    let text = match (name.is_empty(), pairs.is_empty()) {
        (false, true) => name.to_string(),
        _ => format!("{name}{{{}}}", pairs.join(", ")),
    };
    shorten(&sanitise::text(&text), NAME_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> String {
        let body = serde_json::from_str(body).expect("JSON");
        match samples(&Answer { status, body }) {
            Ok(samples) => samples.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "),
            Err((result, trouble)) => format!("{}: {}: {}", result.word(), trouble.brief, trouble.text),
        }
    }

    #[test]
    fn what_prometheus_answers_is_understood() {
        for (status, body, wanted) in [
            (
                200,
                r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"api"},"value":[1795371351.795,"1"]},{"metric":{},"value":[1,"+Inf"]}]}}"#,
                r#"up{job="api"}=1 {}=inf"#,
            ),
            (200, r#"{"status":"success","data":{"resultType":"scalar","result":[1,"NaN"]}}"#, "scalar=NaN"),
            (200, r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#, ""),
            (
                200,
                r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#,
                "unknown: bad query: the query gives a matrix, not a value: `[5m]` needs a function around it",
            ),
            (
                400,
                r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#,
                "unknown: bad query: status is 400, bad_data: parse error",
            ),
            (
                422,
                r#"{"status":"error","errorType":"execution","error":"too many"}"#,
                "unknown: bad query: status is 422, execution: too many",
            ),
            (
                503,
                r#"{"status":"error","errorType":"timeout","error":"query timed out"}"#,
                "fail: 503: status is 503, timeout: query timed out",
            ),
            (200, r#"{"status":"success","data":{}}"#, "fail: bad answer: the answer is none of a query"),
        ] {
            assert_eq!(read(status, body), wanted);
        }
    }
}
