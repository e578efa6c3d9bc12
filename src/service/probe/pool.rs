//! `pool = { members = ["http://a/health", "b:5432"], need = 2 }`: are enough of them well.
//!
//! All members are looked at at the same time. Fewer than needed is a failure; just as many as needed is
//! degraded, because the next loss is the outage.

use std::hash::Hasher;
use std::sync::Arc;

use crate::clock;
use crate::domain::probe::expect::{Expression, Field, FieldKind, FieldValue, Subjects};
use crate::domain::probe::judge::{Observation, judge};
use crate::domain::probe::outcome::{Cause, Part, Perf, Phase, ProbeResult, Trouble};
use crate::registry::node::Node;
use crate::registry::{self, Kind};
use crate::service::probe::net::{self, Verdict, fail};
use crate::service::probe::{Observing, Probe, Run, dns, http, icmp, read, tcp};

/// Members of one pool, as many as rows of an outcome can name.
const MEMBERS_MAX: usize = 64;
/// What a member can be.
const MEMBERS: &[Kind<dyn Probe>] = &[http::KIND, tcp::KIND, dns::KIND, icmp::KIND];

/// `pool` in the config.
pub const KIND: Kind<dyn Probe> = Kind {
    name: "pool",
    summary: "look at several at once: how many must be well, and whether one more may be lost",
    example: "[[probe]]\nname = \"api pool\"\npool = { members = [\"http://10.0.0.1/health\", \"http://10.0.0.2/health\", \"10.0.0.3:80\"], need = 2 }\n",
    build,
};

const FIELDS: &[Field] =
    &[Field { name: "healthy", kind: FieldKind::Number }, Field { name: "members", kind: FieldKind::Number }];

/// One of a pool.
struct Member {
    name: String,
    probe: Box<dyn Probe>,
    expect: Vec<Expression>,
}

/// Looks at all of them.
struct PoolProbe {
    members: Arc<[Member]>,
    need: usize,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    if !node.expect_table() {
        return None;
    }
    let list = node.require("members");
    let need = node.require("need");
    node.finish(&[]);
    let (list, need) = (list?, need?);
    let items = list.items();
    if items.is_empty() || items.len() > MEMBERS_MAX {
        if list.is_array() {
            let message = format!("a pool has from 1 to {MEMBERS_MAX} members");
            list.error_with_hint(message, "write `members = [\"http://a/health\", \"b:5432\"]`");
        }
        return None;
    }
    let members: Vec<Option<Member>> = items.iter().map(read_member).collect();
    let count = members.len();
    let need = usize::try_from(need.integer(1..i64::try_from(count).unwrap_or(i64::MAX) + 1)?).ok()?;
    let members = members.into_iter().collect::<Option<Vec<_>>>()?;
    Some(Box::new(PoolProbe { members: members.into(), need }))
}

fn read_member(node: &Node<'_>) -> Option<Member> {
    let (probe, name, expect) = if node.is_table() {
        let name = node.get("name").map(|it| it.string());
        let expect = node.get("expect");
        let picked = registry::pick(node, "member", MEMBERS);
        node.finish(&[]);
        let (kind, value) = picked?;
        (((kind.build)(&value))?, name, expect)
    } else {
        let text = node.raw_str().unwrap_or_default();
        let kind = if text.starts_with("http://") || text.starts_with("https://") { &http::KIND } else { &tcp::KIND };
        ((kind.build)(node)?, None, None)
    };
    let expect = read::expectations_of(probe.as_ref(), expect.as_ref())?;
    let name = match name {
        Some(name) => crate::domain::sanitise::text(&name?),
        None => probe.target(),
    };
    Some(Member { name, probe, expect })
}

impl Probe for PoolProbe {
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a> {
        Box::pin(async move {
            let begun = clock::monotonic();
            let now = clock::now();
            let looks = self.members.iter().map(|member| async move {
                let seen = member.probe.observe(run).await;
                let outcome = judge(now, std::time::Duration::ZERO, seen, &member.expect, &[], &|text, max| {
                    member.probe.hide(text, max)
                });
                let text = match &outcome.trouble {
                    Some(trouble) => trouble.text.clone(),
                    None => outcome.evidence.status.map(|it| it.to_string()).unwrap_or_default(),
                };
                Part { name: member.name.clone(), result: outcome.result, text, took: Some(outcome.total()) }
            });
            let parts = net::all(looks).await;
            let mut seen = Observation::default();
            seen.values.phases.add(Phase::Run, clock::monotonic() - begun);
            let (text, verdict) = self.judge(&parts);
            let healthy = count(&parts, |it| it != ProbeResult::Fail && it != ProbeResult::Unknown) as f64;
            let all = parts.len() as f64;
            seen.values.fields.push(("healthy", FieldValue::Number(healthy)));
            seen.values.fields.push(("members", FieldValue::Number(all)));
            let crit = Some(format!("{}:", self.need));
            seen.evidence.perf.push(Perf {
                crit,
                min: Some(0.0),
                max: Some(all),
                ..Perf::plain("healthy", healthy, "")
            });
            seen.evidence.text = text;
            seen.evidence.parts = parts;
            seen.verdict = verdict;
            seen
        })
    }

    fn target(&self) -> String {
        let names: Vec<&str> = self.members.iter().take(3).map(|it| it.name.as_str()).collect();
        let more = self.members.len() - names.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{} of {}: {}{more}", self.need, self.members.len(), names.join(", "))
    }

    fn subjects(&self) -> Subjects {
        Subjects::Fields(FIELDS)
    }

    fn fingerprint(&self, hasher: &mut dyn Hasher) {
        hasher.write_usize(self.need);
        for member in self.members.iter() {
            hasher.write(member.name.as_bytes());
            member.probe.fingerprint(hasher);
            for line in &member.expect {
                hasher.write(line.to_string().as_bytes());
            }
        }
    }
}

fn count(parts: &[Part], what: impl Fn(ProbeResult) -> bool) -> usize {
    parts.iter().filter(|it| what(it.result)).count()
}

impl PoolProbe {
    /// What is to be said, and what is wrong.
    fn judge(&self, parts: &[Part]) -> (String, Option<Verdict>) {
        let (all, need) = (parts.len(), self.need);
        let unknown = count(parts, |it| it == ProbeResult::Unknown);
        let healthy = all - unknown - count(parts, |it| it == ProbeResult::Fail);
        let bad = parts.iter().find(|it| matches!(it.result, ProbeResult::Fail | ProbeResult::Unknown));
        let why = bad.map(|it| format!(": {}: {}", it.name, it.text)).unwrap_or_default();
        let of = format!("{healthy} of {all} well, {need} needed");
        if healthy > need {
            return (format!("{of}: survives the loss of one"), None);
        }
        if healthy == need && all == need {
            // There is no spare by design.
            return (format!("{of}: no spare"), None);
        }
        if healthy == need {
            let text = format!("{of}, no spare left{why}");
            let trouble = Trouble::new(Cause::Part, "no spare left", text.clone());
            // Those that could not be looked at may well be spare.
            let result = if unknown > 0 && count(parts, |it| it == ProbeResult::Fail) == 0 {
                ProbeResult::Unknown
            } else {
                ProbeResult::Degraded
            };
            return (text, Some((result, trouble)));
        }
        let text = format!("{of}{why}");
        let brief = format!("{healthy}/{all}, need {need}");
        if healthy + unknown >= need {
            return (text.clone(), Some((ProbeResult::Unknown, Trouble::new(Cause::Own, brief, text))));
        }
        (text.clone(), Some(fail(Cause::Part, &brief, text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::node::Source;

    fn judge(need: usize, results: &[ProbeResult]) -> String {
        let part = |(at, result): (usize, &ProbeResult)| Part {
            name: format!("m{at}"),
            result: *result,
            text: "refused".into(),
            took: None,
        };
        let parts: Vec<Part> = results.iter().enumerate().map(part).collect();
        match (PoolProbe { members: Arc::new([]), need }).judge(&parts) {
            (text, None) => format!("ok: {text}"),
            (_, Some((result, trouble))) => format!("{}: {}", result.word(), trouble.text),
        }
    }

    #[test]
    fn a_pool_fails_below_its_need_and_is_degraded_without_a_spare() {
        use ProbeResult::{Degraded, Fail, Ok, Unknown};
        for (need, results, wanted) in [
            (2, &[Ok, Ok, Ok][..], "ok: 3 of 3 well, 2 needed: survives the loss of one"),
            (2, &[Ok, Degraded, Fail], "degraded: 2 of 3 well, 2 needed, no spare left: m2: refused"),
            (2, &[Ok, Fail, Fail], "fail: 1 of 3 well, 2 needed: m1: refused"),
            (2, &[Ok, Unknown, Fail], "unknown: 1 of 3 well, 2 needed: m1: refused"),
            (2, &[Ok, Ok, Unknown], "unknown: 2 of 3 well, 2 needed, no spare left: m2: refused"),
            (2, &[Ok, Ok], "ok: 2 of 2 well, 2 needed: no spare"),
            (1, &[Fail, Fail], "fail: 0 of 2 well, 1 needed: m0: refused"),
        ] {
            assert_eq!(judge(need, results), wanted, "{results:?}");
        }
    }

    #[test]
    fn a_member_is_a_url_an_address_or_a_table() {
        let text = "pool = { members = ['http://a/health', 'b:5432', { dns = 'x.test', name = 'ns' }], need = 2 }";
        let source = Source::new("c.toml", text);
        let probe = build(&source.parse().expect("TOML").get("pool").expect("a key")).expect("a pool");
        assert_eq!(probe.target(), "2 of 3: http://a/health, b:5432, ns");
        for (members, need, wanted) in [
            ("['b:1']", 2, "must be from 1 to 1"),
            ("[]", 1, "from 1 to 64 members"),
            ("['b']", 1, "`b` has no port"),
            ("[{ command = ['x'] }]", 1, "a member needs a kind: one of http, tcp, dns"),
            ("[{ http = 'http://a/', expect = 'status = 200' }]", 1, "unexpected `=`"),
        ] {
            let text = format!("pool = {{ members = {members}, need = {need} }}");
            let source = Source::new("c.toml", &text);
            let probe = build(&source.parse().expect("TOML").get("pool").expect("a key"));
            let errors: Vec<String> = source.errors().iter().map(ToString::to_string).collect();
            assert!(probe.is_none() && errors.iter().any(|it| it.contains(wanted)), "{text}: {errors:?}");
        }
    }
}
