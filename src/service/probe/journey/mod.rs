//! `journey`: the way of a user through a service, request by request, with values carried from one to the next.
//!
//! Cookies are kept, every step has what it expects, and the first one that fails ends the way. What was taken
//! from an answer is a secret wherever something is shown.

mod carry;
mod settings;

use std::hash::{Hash, Hasher};

use hyper::Method;
use hyper::body::Bytes;
use tokio::time::Instant;

use crate::domain::probe::expect::{CERT_DAYS, Field, FieldKind, FieldValue, Subjects, phase_field};
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Hop, Part, ProbeResult, Trouble};
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::probe::http::cookies::Jar;
use crate::service::probe::http::exchange::{self, Around, Asked};
use crate::service::probe::http::header_map;
use crate::service::probe::http::location::Target;
use crate::service::probe::http::proxy::basic;
use crate::service::probe::journey::carry::Place;
use crate::service::probe::journey::settings::Step;
use crate::service::probe::net::{Verdict, fail};
use crate::service::probe::{Observing, Probe, Run, redact};

/// `journey` in the config.
pub const KIND: Kind<dyn Probe> = Kind {
    name: "journey",
    summary: "go a user's way, step by step, with values carried along",
    example: r#"[[probe]]
name = "order"
[[probe.journey]]
name = "log in"
http = { url = "https://shop.example.com/login", method = "POST", json = { user = "probe", password = "secret" } }
take = { token = "json.access_token" }
[[probe.journey]]
name = "cart"
http = { url = "https://shop.example.com/cart", bearer = "{token}" }
expect = ["status == 200", "json.items == 0"]
"#,
    build,
};

const STEPS: Field = Field { name: "steps", kind: FieldKind::Number };
const FIELDS: &[Field] = &[
    phase_field("dns"),
    phase_field("connect"),
    phase_field("proxy"),
    phase_field("tls"),
    phase_field("wait"),
    CERT_DAYS,
    STEPS,
];

struct JourneyProbe {
    steps: Vec<Step>,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    settings::steps(node).map(|steps| Box::new(JourneyProbe { steps }) as Box<dyn Probe>)
}

/// What a journey has with it.
#[derive(Default)]
struct Baggage {
    carried: Vec<(String, String)>,
    jar: Jar,
    secrets: Vec<String>,
}

impl JourneyProbe {
    async fn walk(&self, deadline: Instant) -> Observation {
        let mut whole = Observation::default();
        let mut baggage = Baggage::default();
        for step in &self.steps {
            baggage.secrets.extend(step.settings.secrets.iter().cloned());
        }
        let mut failed = None;
        for (index, step) in self.steps.iter().enumerate() {
            if failed.is_some() {
                let text = "not reached".to_string();
                whole.evidence.parts.push(Part {
                    name: sanitise::text(&step.name),
                    result: ProbeResult::Unknown,
                    text,
                    took: None,
                });
                continue;
            }
            let mut seen = Observation::default();
            let done = step.go(&mut baggage, deadline, &mut seen).await;
            baggage.keep_secrets();
            let verdict = done.err().map(|(result, trouble)| (result, baggage.cleaned(trouble)));
            whole.evidence.parts.push(part(step, &seen, verdict.as_ref()));
            whole.join(&step.name, &seen);
            if verdict.is_some() || index + 1 == self.steps.len() {
                whole.end_with(seen, &baggage.secrets, verdict.is_some());
            }
            failed = verdict.map(|(result, trouble)| (index, result, trouble));
        }
        let reached = failed.as_ref().map_or(self.steps.len(), |(index, ..)| *index);
        whole.values.fields.push((STEPS.name, FieldValue::Number(reached as f64)));
        if let Some((index, result, mut trouble)) = failed {
            let name = sanitise::text(&self.steps[index].name);
            trouble.text = format!("step {} of {}, `{name}`: {}", index + 1, self.steps.len(), trouble.text);
            trouble.brief = format!("{name}: {}", trouble.brief);
            whole.verdict = Some((result, trouble));
        }
        whole
    }
}

fn part(step: &Step, seen: &Observation, verdict: Option<&Verdict>) -> Part {
    let (result, text) = match verdict {
        Some((result, trouble)) => (*result, trouble.text.clone()),
        None => (ProbeResult::Ok, seen.values.status.map_or_else(String::new, |it| it.to_string())),
    };
    Part { name: sanitise::text(&step.name), result, text, took: Some(seen.values.phases.total()) }
}

impl Observation {
    /// Adds what a step took, and its place in the waterfall.
    fn join(&mut self, name: &str, seen: &Self) {
        for (phase, took) in seen.values.phases.happened() {
            self.values.phases.add(phase, took);
        }
        self.queued += seen.queued;
        if let Some(days) = seen.values.cert_days.filter(|it| self.values.cert_days.is_none_or(|old| *it < old)) {
            self.values.cert_days = Some(days);
            self.values.cert_named.clone_from(&seen.values.cert_named);
        }
        self.evidence.hops.push(Hop {
            place: sanitise::text(name),
            address: seen.evidence.address.clone(),
            status: seen.values.status,
            phases: seen.values.phases,
        });
    }

    /// The last step that was gone is the one whose answer is kept.
    fn end_with(&mut self, seen: Self, secrets: &[String], is_failure: bool) {
        let (parts, hops) = (std::mem::take(&mut self.evidence.parts), std::mem::take(&mut self.evidence.hops));
        self.evidence = seen.evidence;
        (self.evidence.parts, self.evidence.hops) = (parts, hops);
        for place in &mut self.evidence.redirects {
            *place = redact::redact(place, secrets);
        }
        if is_failure {
            redact::answer(&seen.values, &mut self.evidence, secrets);
        }
    }
}

impl Baggage {
    /// Everything that was carried or set as a cookie, in each way it may be written.
    fn keep_secrets(&mut self) {
        let values = self.carried.iter().map(|(_, value)| value.as_str()).chain(self.jar.values());
        let mut found: Vec<String> = Vec::new();
        for value in values {
            found.push(value.to_string());
            let encoded = carry::percent_encoded(value);
            if encoded != value {
                found.push(encoded);
            }
        }
        found.retain(|it| !self.secrets.contains(it));
        self.secrets.extend(found);
        // The longest first, so that one that holds another is masked as a whole.
        self.secrets.sort_by_key(|it| std::cmp::Reverse(it.len()));
    }

    fn cleaned(&self, mut trouble: Trouble) -> Trouble {
        trouble.text = redact::redact(&trouble.text, &self.secrets);
        trouble.brief = redact::redact(&trouble.brief, &self.secrets);
        trouble
    }
}

impl Step {
    async fn go(&self, baggage: &mut Baggage, deadline: Instant, seen: &mut Observation) -> Result<(), Verdict> {
        let asked = self.asked(&baggage.carried)?;
        let around = Around { jar: Some(&mut baggage.jar), ..Around::default() };
        exchange::ask(&self.wire, asked, around, deadline, seen).await?;
        // What was to be taken is a secret also when the step fails for another reason.
        let taken = self.take_all(baggage, seen);
        baggage.keep_secrets();
        let hide = |text: &str, chars_max: usize| redact::excerpt(text, &baggage.secrets, chars_max);
        match self.expect.iter().find_map(|it| it.trouble(&seen.values, &hide)) {
            Some(trouble) => Err((ProbeResult::Fail, trouble)),
            None => taken,
        }
    }

    fn take_all(&self, baggage: &mut Baggage, seen: &Observation) -> Result<(), Verdict> {
        let mut missing = None;
        for (name, source) in &self.take {
            match source.take(&seen.values, &baggage.jar) {
                Ok(value) => baggage.carried.push((name.clone(), value)),
                Err(why) => {
                    missing.get_or_insert(fail(Cause::Part, &format!("no {name}"), format!("no `{name}`: {why}")));
                }
            }
        }
        missing.map_or(Ok(()), Err)
    }

    /// The request with the carried values in it.
    fn asked(&self, carried: &[(String, String)]) -> Result<Asked, Verdict> {
        let bad = |text: String| fail(Cause::Part, "bad request", text);
        let settings = &self.settings;
        let url = carry::put(&settings.url, carried, Place::Url);
        let target = Target::parse(&url).map_err(|why| bad(format!("the URL is not one with its values: {why}")))?;
        let mut headers = settings.headers.clone();
        for (_, value) in &mut headers {
            *value = carry::put(value, carried, Place::Plain);
        }
        let has_credentials = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if let Some(userinfo) = target.userinfo.as_ref().filter(|_| !has_credentials) {
            // A URL without values has had its credentials taken out when it was read.
            headers.push(("authorization".into(), basic(userinfo, &mut Vec::new())));
        }
        let headers = header_map(&headers)
            .map_err(|name| bad(format!("the header `{name}` cannot be sent with its value from an answer")))?;
        let place = if settings.is_json { Place::Json } else { Place::Plain };
        let body = settings.body.as_ref().map(|it| Bytes::from(carry::put(it, carried, place)));
        let method = Method::from_bytes(settings.method.as_bytes()).map_err(|error| bad(error.to_string()))?;
        Ok(Asked { method, target, headers, body, redirects: settings.redirects })
    }
}

impl Probe for JourneyProbe {
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a> {
        Box::pin(self.walk(run.deadline))
    }

    fn target(&self) -> String {
        let names: Vec<String> = self.steps.iter().map(|it| sanitise::text(&it.name)).collect();
        names.join(" > ")
    }

    fn subjects(&self) -> Subjects {
        Subjects::Fields(FIELDS)
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.steps.hash(&mut hasher);
    }
}
