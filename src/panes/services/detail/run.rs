//! What one run found: why it failed, where the time went against the last good run, and the evidence.

use jiff::Timestamp;

use crate::domain::format;
use crate::domain::probe::health::Health;
use crate::domain::probe::outcome::{Certificate, EVIDENCE_BODY_MAX, Evidence, Outcome, ProbeResult};
use crate::domain::probe::{ProbeState, waterfall};
use crate::domain::sanitise;
use crate::panes::Context;
use crate::panes::services::detail::Page;
use crate::theme::role::Role;

/// A certificate with fewer days left is worth a look.
const DAYS_FEW: i64 = 14;

/// The run that says most about how the probe is now: the last that went wrong while it is not up, else the last.
pub(super) fn telling(state: &ProbeState) -> Option<&Outcome> {
    let trouble = if state.health() == Health::Up { None } else { state.last_trouble() };
    trouble.or_else(|| state.last())
}

/// Why the probe is as it is and where the time went.
pub(super) fn why(cx: &Context<'_>, page: &mut Page<'_>, state: &ProbeState) {
    let Some(outcome) = telling(state) else {
        page.heading("not run yet since the start");
        if let Some(why) = state.why() {
            page.field("why, then", &sanitise::multiline(&why.text), Role::Text);
        }
        return;
    };
    let at = format::moment(cx.now, outcome.at, cx.zone);
    let is_last = state.last().is_some_and(|it| it.at == outcome.at);
    let which = if is_last { "last run" } else { "the run that speaks" };
    page.heading(&format!("{which} {at}, {}", outcome.result.word()));
    if let Some(trouble) = &outcome.trouble {
        page.field("why", &sanitise::multiline(&trouble.text), result_role(outcome.result));
    }
    if let Some(last) = state.last().filter(|_| !is_last) {
        let text = format!("{} {}, {}", format::clock(last.at, cx.zone), last.result.word(), took(last));
        page.field("since then", &text, result_role(last.result));
    }
    if outcome.latency_suspect {
        let lag = format::duration(outcome.lag);
        page.field("lag", &format!("{lag} late by our own fault: its times are not believed"), Role::NoticeWarn);
    }
    let good = state.last_good.as_deref().filter(|it| it.at != outcome.at && outcome.result != ProbeResult::Ok);
    let ascii = page.theme.ascii;
    let rows = match good {
        Some(good) => waterfall::against(outcome, good, page.width, ascii),
        None => waterfall::lines(outcome, page.width, ascii),
    };
    if let Some(good) = good {
        let ghost = if ascii { '|' } else { '┊' };
        let at = format::moment(cx.now, good.at, cx.zone);
        page.plain(&format!("against the good run of {at}, which ended each phase at {ghost}"), Role::TextDim);
    }
    for row in rows {
        // The place of a hop stands above its phases.
        let is_place = row.starts_with(|it: char| it.is_ascii_digit());
        page.plain(&row, if is_place { Role::Text } else { Role::Spark });
    }
}

fn took(outcome: &Outcome) -> String {
    waterfall::precise(outcome.total())
}

/// What the run saw: parts, peer, certificates, performance data, headers, body.
pub(super) fn evidence(cx: &Context<'_>, page: &mut Page<'_>, state: &ProbeState) {
    let Some(outcome) = telling(state) else { return };
    let evidence = &outcome.evidence;
    parts(page, evidence);
    let before = page.lines.len();
    page.heading("evidence");
    let heading = page.lines.len();
    if let Some(status) = evidence.status {
        page.field("status", &status.to_string(), Role::Text);
    }
    if let Some(exit) = evidence.exit {
        page.field("exit", &exit.to_string(), Role::Text);
    }
    let spoke = [evidence.address.clone(), evidence.protocol.clone()];
    let mut spoke: Vec<String> = spoke.into_iter().flatten().collect();
    if evidence.reused {
        spoke.push("a connection that was open already".into());
    }
    if !spoke.is_empty() {
        page.field("peer", &sanitise::text(&spoke.join(", ")), Role::Text);
    }
    if evidence.hops.is_empty() {
        for place in &evidence.redirects {
            page.field("redirect", &sanitise::text(place), Role::Text);
        }
    }
    if !evidence.text.is_empty() {
        page.field("answer", &sanitise::multiline(&evidence.text), Role::Text);
    }
    for it in &evidence.perf {
        let limits = [("warn", &it.warn), ("crit", &it.crit)];
        let limits: Vec<String> =
            limits.iter().filter_map(|(word, it)| it.as_ref().map(|it| format!("{word} {it}"))).collect();
        let text = format!("{} = {}{}  {}", it.label, it.value, it.unit, limits.join(" "));
        page.field("perf", &sanitise::text(&text), Role::Text);
    }
    if page.lines.len() == heading {
        page.lines.truncate(before);
    }
    certificates(cx, page, evidence);
    answer(page, evidence);
}

/// Pool members, steps of a journey, alerts, answers.
fn parts(page: &mut Page<'_>, evidence: &Evidence) {
    if evidence.parts.is_empty() {
        return;
    }
    let bad = evidence.parts.iter().filter(|it| it.result != ProbeResult::Ok).count();
    let all = format::plural(evidence.parts.len() as u64, "part");
    page.heading(&if bad == 0 { format!("{all}, all ok") } else { format!("{all}, {bad} not ok") });
    for part in &evidence.parts {
        let took = part.took.map_or_else(String::new, |it| format!("  {}", waterfall::precise(it)));
        let (mark, text) = (result_mark(part.result), sanitise::text(&part.text));
        let text = format!("{mark} {}{took}  {text}", sanitise::text(&part.name));
        page.plain(text.trim_end(), if part.result == ProbeResult::Ok { Role::Text } else { result_role(part.result) });
    }
}

/// The chain as the peer sent it, the peer's own first.
fn certificates(cx: &Context<'_>, page: &mut Page<'_>, evidence: &Evidence) {
    let own = evidence.certificate.as_slice();
    let chain: &[Certificate] = if evidence.chain.is_empty() { own } else { &evidence.chain };
    if chain.is_empty() {
        return;
    }
    page.heading(&format!("certificates ({})", chain.len()));
    for (at, it) in chain.iter().enumerate() {
        let (role, days) = days(it.days, it.not_after, cx.now);
        let label = format!("{}{}", if role == Role::Text { "" } else { "! " }, at + 1);
        page.field(&label, &sanitise::text(&it.subject), Role::Text);
        page.field("", &format!("{days}, until {}", format::full(it.not_after, cx.zone)), role);
        page.field("", &format!("issued by {}", sanitise::text(&it.issuer)), Role::TextDim);
    }
}

fn days(days: i64, not_after: Timestamp, now: Timestamp) -> (Role, String) {
    match days {
        _ if not_after < now => (Role::ProbeDown, format!("expired {}", format::ago(now, not_after))),
        it if it < DAYS_FEW => (Role::ProbeDegraded, format!("{} left", format::plural(it.max(0) as u64, "day"))),
        it => (Role::Text, format!("{} left", format::plural(it.max(0) as u64, "day"))),
    }
}

/// Headers and the beginning of the body, as they were kept.
fn answer(page: &mut Page<'_>, evidence: &Evidence) {
    if !evidence.headers.is_empty() {
        page.heading("headers");
        for (name, value) in &evidence.headers {
            page.wrapped(&sanitise::text(&format!("{name}: {value}")), Role::TextDim);
        }
    }
    if !evidence.body.is_empty() {
        let (shown, whole) = (evidence.body.len() as u64, evidence.body_bytes);
        // What is masked or left out as harmful makes a whole body shorter; only what was longer than is kept was cut.
        let of = if whole > shown && whole > EVIDENCE_BODY_MAX as u64 {
            format!("the first {} of {}", format::bytes(shown), format::bytes(whole))
        } else {
            format::bytes(whole.max(shown))
        };
        page.heading(&format!("body ({of})"));
        page.wrapped(sanitise::multiline(&evidence.body).trim_end(), Role::Text);
    }
    if evidence.cut {
        let read = format::bytes(evidence.body_bytes);
        page.plain(&format!("read up to {read}, the rest was left"), Role::TextDim);
    }
}

/// The mark that carries a result without colour.
pub(super) fn result_mark(result: ProbeResult) -> char {
    match result {
        ProbeResult::Ok => 'o',
        ProbeResult::Degraded => '!',
        ProbeResult::Fail => 'x',
        ProbeResult::Unknown => '-',
    }
}

pub(super) fn result_role(result: ProbeResult) -> Role {
    match result {
        ProbeResult::Ok => Role::ProbeUp,
        ProbeResult::Degraded => Role::ProbeDegraded,
        ProbeResult::Fail => Role::ProbeDown,
        ProbeResult::Unknown => Role::ProbeUnknown,
    }
}
