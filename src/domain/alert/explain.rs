//! Why somebody was paged, or nobody: every outcome, threshold, dependency, silence, page and attempt.
//!
//! What was decided is read from the probe's trail, what was found from its last outcomes; what holds all the
//! time (thresholds, dependencies, who is named) is told as it is now.

mod measured;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::alert::policy::alert::{Alert, Stage};
use crate::domain::alert::policy::rest;
use crate::domain::alert::policy::untold::TOLD_NOBODY;
use crate::domain::alert::policy::{AlertBoard, labels};
use crate::domain::alert::quiet;
use crate::domain::alert::rules::Named;
use crate::domain::format;
use crate::domain::ids::ProbeId;
use crate::domain::probe::outcome::{Outcome, ProbeResult};
use crate::domain::probe::{ProbeBoard, ProbeState};
use crate::domain::sanitise;

/// Asks why a probe was paged or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExplainRequest {
    /// Which.
    pub probe: ProbeId,
    /// At what time; `None` is now.
    pub at: Option<Timestamp>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Which.
    pub probe: ProbeId,
    /// At what time.
    pub at: Timestamp,
    /// In one line: `paged: …`, `not paged: …`.
    pub verdict: String,
    /// What led to it, in order of time.
    pub steps: Vec<Step>,
}

/// One thing that led to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When; `None` for what holds all the time.
    pub at: Option<Timestamp>,
    /// `outcome`, `health`, `alert`, `after`, `flapping`, `cut off`, `maintenance`, `silence`, `ack`, `page`, `delivery`,
    /// `rule`, `slo`, `baseline`, `missed`, `clock`, `next`.
    pub kind: String,
    /// In words.
    pub text: String,
}

/// Steps one after the other that say the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fold<'a> {
    /// The first of them.
    pub step: &'a Step,
    /// How many there are, at least 1.
    pub count: usize,
    /// When the last of them was.
    pub last: Option<Timestamp>,
}

impl Fold<'_> {
    /// In words, with times as the reader's clock shows them.
    pub fn text(&self, now: Timestamp, zone: &TimeZone) -> String {
        let text = format::local_times(&sanitise::text(&self.step.text), now, zone);
        match self.last {
            Some(last) if self.count > 1 => {
                let last = format::moment(now, last, zone);
                format!("{text} ({} times, the last at {last})", format::count(self.count as u64))
            }
            _ => text,
        }
    }
}

impl Explanation {
    /// The steps for reading: outcomes without a decision between them that differ in how long they took at most are
    /// one.
    pub fn folded(&self) -> Vec<Fold<'_>> {
        let mut folds: Vec<Fold<'_>> = Vec::new();
        let mut alike = None;
        for step in &self.steps {
            let key = (step.kind == "outcome").then(|| without_times(&step.text));
            match folds.last_mut() {
                Some(fold) if key.is_some() && key == alike => {
                    fold.count += 1;
                    fold.last = step.at;
                }
                _ => folds.push(Fold { step, count: 1, last: step.at }),
            }
            alike = key;
        }
        folds
    }

    /// Adds what the history knows besides, each in its place; what is there already stays once.
    pub fn add(&mut self, steps: Vec<Step>) {
        let first = self.steps.iter().position(|it| it.at.is_some()).unwrap_or(self.steps.len());
        let timed = self.steps[first..].iter().position(|it| it.at.is_none());
        let last = timed.map_or(self.steps.len(), |it| first + it);
        let after = self.steps.split_off(last);
        let known = self.steps.split_off(first);
        // What was kept has its time to the millisecond.
        let near = |a: Option<Timestamp>, b: Option<Timestamp>| match (a, b) {
            (Some(a), Some(b)) => a.duration_since(b).abs() < SignedDuration::from_millis(2),
            (a, b) => a == b,
        };
        let is_known =
            |it: &Step| known.iter().any(|had| had.kind == it.kind && had.text == it.text && near(had.at, it.at));
        let mut timed: Vec<Step> = steps.into_iter().filter(|it| !is_known(it)).collect();
        timed.extend(known);
        // Of what happened at one time the outcomes come first, as they did before.
        timed.sort_by_key(|it| (it.at, it.kind != "outcome"));
        self.steps.extend(timed);
        self.steps.extend(after);
    }
}

/// The text without the numbers of durations: `fail after 3ms: total is 4.1s` is like `fail after 2ms: total is 5s`.
fn without_times(text: &str) -> String {
    let word = |it: &'_ str| {
        let bare = it.trim_matches(['(', ')', ',', ':', ';']);
        let is_duration = bare.starts_with(|it: char| it.is_ascii_digit())
            && bare.ends_with(['s', 'm', 'h', 'd'])
            && bare.chars().all(|it| it.is_ascii_digit() || ".nµumshd".contains(it));
        if is_duration { it.replace(bare, "-") } else { it.to_string() }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

impl Step {
    fn always(kind: &str, text: String) -> Self {
        Self { at: None, kind: kind.to_string(), text }
    }
}

impl AlertBoard {
    /// Why a probe was paged or not.
    ///
    /// Outcomes older than what the board holds can be added by whoever has the history: [`outcome_step`].
    pub fn explain(&self, now: Timestamp, probes: &ProbeBoard, request: &ExplainRequest) -> Explanation {
        let at = request.at.unwrap_or(now).min(now);
        let probe = &request.probe;
        let Some(state) = probes.get(probe) else {
            let verdict = format!("not paged: there is no probe `{}`", probe.name());
            return Explanation { probe: probe.clone(), at, verdict, steps: Vec::new() };
        };
        let mut steps = self.standing(now, probes, probe, state);
        let mut timed: Vec<Step> =
            state.outcomes.iter().filter(|it| it.at <= at).map(|outcome| outcome_step(outcome)).collect();
        let trail = self.trail(probe).into_iter().flat_map(|it| it.steps.iter());
        timed.extend(probes.unwatched().map(measured::unwatched).filter(|it| it.at.is_some_and(|it| it <= at)));
        timed.extend(measured::missed(state).filter(|it| it.at.is_some_and(|it| it <= at)));
        timed.extend(trail.filter(|it| it.at.is_some_and(|it| it <= at)).cloned());
        // What was found comes before what was decided on it.
        timed.sort_by_key(|it| it.at);
        let verdict = self.verdict(probes, probe, state, &timed);
        steps.extend(timed);
        if at == now {
            for alert in self.open(probe) {
                steps.extend(self.coming(now, alert));
            }
        }
        Explanation { probe: probe.clone(), at, verdict, steps }
    }

    /// What holds all the time.
    fn standing(&self, now: Timestamp, probes: &ProbeBoard, probe: &ProbeId, state: &ProbeState) -> Vec<Step> {
        let setup = &state.setup;
        let (fail, recover) = (setup.thresholds.fail, setup.thresholds.recover);
        let mut steps = vec![Step::always(
            "rule",
            format!(
                "down when {} of the last {} results fail, up again when {} of the last {} do not; every {}, every {} while failing, deadline {}",
                fail.k,
                fail.n,
                recover.k,
                recover.n,
                format::duration(setup.interval),
                format::duration(setup.retry),
                format::duration(setup.timeout),
            ),
        )];
        let rules = &setup.rules;
        if rules.canary {
            steps.push(Step::always("cut off", canary_rule(probes)));
        }
        if !rules.after.is_empty() {
            steps.push(Step::always(
                "after",
                format!("held back while one of these is down: {}", rules.after.join(", ")),
            ));
        }
        if rules.notify.is_empty() {
            let why = self.rules().names_nobody(Some(rules));
            steps.push(Step::always("rule", format!("nobody is told: {why}")));
        }
        for name in &rules.notify {
            steps.push(Step::always("rule", format!("told: {}", self.leads(now, name))));
        }
        for concern in &self.rules().untold {
            steps.push(Step::always(
                "rule",
                format!("nobody is told of `{}`: `[alerts] tell` leaves it out", concern.word()),
            ));
        }
        steps.extend(measured::standing(now, state));
        let labels = labels(probe, state);
        for maintenance in self.maintenances().filter(|it| it.fits(&labels)) {
            let window = maintenance.open_window(now).map(|it| ("open", it));
            let Some((word, (from, until))) = window.or_else(|| maintenance.next_window(now).map(|it| ("next", it)))
            else {
                continue;
            };
            let name = &maintenance.name;
            steps.push(Step::always(
                "maintenance",
                format!("`{name}` ({}): {word} from {from} until {until}", maintenance.what()),
            ));
        }
        for silence in self.silences().filter(|it| now < it.until && quiet::all_fit(&it.matchers, &labels)) {
            let comment = if silence.comment.is_empty() { String::new() } else { format!(": {}", silence.comment) };
            steps.push(Step::always(
                "silence",
                format!(
                    "`{}` ({}) by {} from {} until {}{comment}",
                    silence.id,
                    silence.what(),
                    silence.by,
                    silence.from,
                    silence.until
                ),
            ));
        }
        steps
    }

    /// Where a name leads, in words: `ladder page: at once primary (alice: alice-sms), after 15m chat`.
    pub fn leads(&self, now: Timestamp, name: &str) -> String {
        let rules = self.rules();
        let flat = |name: &str| {
            let targets: Vec<String> = rules.targets(now, name).into_iter().map(|it| it.notifier).collect();
            let whom = if targets.is_empty() { "nobody".to_string() } else { targets.join(", ") };
            match rules.named(name) {
                Some(Named::Notifier(_)) => format!("`{name}`"),
                Some(Named::Rotation(rotation)) => match rotation.who(now) {
                    Some(turn) => {
                        let until = rotation.day_and_zone(turn.until);
                        format!("rotation `{name}`, now {} until {until}: {whom}", turn.person)
                    }
                    None => format!("rotation `{name}`, which has nobody"),
                },
                Some(Named::Person(_)) => format!("`{name}` ({whom})"),
                Some(Named::Ladder(_)) | None => format!("`{name}`, which is nothing in the config"),
            }
        };
        let Some(Named::Ladder(ladder)) = rules.named(name) else { return flat(name) };
        let step = |(at, it): (usize, &crate::domain::alert::rules::Rung)| {
            let when = if at == 0 && it.after.is_zero() {
                "at once".to_string()
            } else {
                format!("after {}", format::duration(it.after))
            };
            let whom: Vec<String> = it.notify.iter().map(|it| flat(it)).collect();
            format!("{when} {}", whom.join(" and "))
        };
        let steps: Vec<String> = ladder.steps.iter().enumerate().map(step).collect();
        format!("ladder `{name}`: {}", steps.join(", then "))
    }

    fn verdict(&self, probes: &ProbeBoard, probe: &ProbeId, state: &ProbeState, timed: &[Step]) -> String {
        let of = |kind: &str| timed.iter().rev().find(move |it| it.kind == kind);
        // What belongs to the last alert before that time.
        let begun = timed.iter().rposition(|it| it.kind == "alert" && it.text.contains(" begins"));
        let Some(begun) = begun else {
            let speaker = || probes.canaries().next().map_or("", |it| it.name());
            let why = match state.last() {
                None => "it was not run yet".to_string(),
                Some(it) if it.result == ProbeResult::Ok => "all is well".to_string(),
                Some(it) if it.is_cut_off() => {
                    format!("its last results were not counted: this host is cut off, which `{}` tells", speaker())
                }
                Some(_) if state.is_silent() && probes.is_cut_off() => {
                    format!("every canary fails: this host is cut off, which `{}` tells", speaker())
                }
                Some(_) if state.is_silent() => {
                    "this host was cut off until just now: it gets the time to follow".to_string()
                }
                Some(_) => "it has not failed often enough".to_string(),
            };
            return format!("not paged: {why}");
        };
        let since = timed.get(begun..).unwrap_or_default();
        let paged: Vec<&Step> = since.iter().filter(|it| it.kind == "page" && it.text.starts_with("trigger")).collect();
        let took: Vec<&str> = since
            .iter()
            .filter(|it| it.kind == "delivery" && it.text.contains(" took the "))
            .map(|it| it.text.as_str())
            .collect();
        if let Some(first) = paged.first() {
            let delivered = if took.is_empty() { "not delivered yet" } else { "delivered" };
            let at = first.at.map(|it| format!(" at {it}")).unwrap_or_default();
            return format!("paged{at}, {delivered}{}: {}", named(since, first), first.text);
        }
        let part = since.iter().rev().find(|it| it.kind == "page" && it.text.starts_with("told as part of"));
        if let Some(part) = part {
            return format!("paged: {}", part.text);
        }
        let reason = since.iter().rev().find(|it| {
            matches!(it.kind.as_str(), "after" | "silence" | "maintenance" | "flapping" | "cut off")
                && it.text.starts_with("held back")
                || it.kind == "ack"
                || it.kind == "page"
                || it.kind == "rule"
        });
        match reason {
            Some(step) => format!("not paged: {}", step.text),
            None if self.open(probe).any(|it| it.contacts.values().any(|it| it.stage == Stage::Waiting)) => {
                "not paged yet: it waits for others to join it".to_string()
            }
            None => match self.open(probe).find(|it| it.contacts.is_empty() && it.common.is_none()) {
                // A ladder whose first step is still to come has said nothing yet.
                Some(alert) => {
                    let why = self.untold(alert, probes);
                    format!("not paged yet: {}", why.strip_prefix(TOLD_NOBODY).unwrap_or(&why))
                }
                None => format!("not paged: {}", of("alert").map_or("nothing was decided", |it| it.text.as_str())),
            },
        }
    }

    /// What comes next when nothing changes.
    fn coming(&self, now: Timestamp, alert: &Alert) -> Vec<Step> {
        let mut steps = Vec::new();
        let common = alert.common.as_ref().and_then(|it| self.alert(it));
        let alert = common.unwrap_or(alert);
        for (name, contact) in &alert.contacts {
            let waits = self.lane(name).zip(self.rules().notifier(name)).and_then(|(lane, rule)| {
                let entry = lane.get(&alert.key)?;
                let due = lane.due(rule)?;
                Some((entry, due, lane.held_by(rule).filter(|_| entry.due < due)))
            });
            if let Some((entry, due, held_by)) = waits {
                let what = entry.action.word();
                let held = held_by.map_or_else(String::new, |it| format!(" (held until then: {it})"));
                let text = format!("{what} to `{name}`: {}{held}", contact.because);
                steps.push(Step { at: Some(due), kind: "next".into(), text });
            } else if contact.stage == Stage::Told
                && !contact.relieved
                && alert.is_loud()
                && let Some(after) = self.rules().notifier(name).and_then(|it| it.remind_after(contact.reminders))
            {
                let due = contact.last + crate::domain::alert::policy::lane::signed(after);
                let text = format!("reminder {} to `{name}`, unless somebody acknowledges", contact.reminders + 1);
                steps.push(Step { at: Some(due), kind: "next".into(), text });
            }
        }
        if let Some(withheld) = &alert.withheld {
            let until = if withheld.until.is_some() {
                "looked at again, held back until then"
            } else {
                "held back while this lasts"
            };
            let text = format!("{until}: {}", withheld.why.text());
            steps.push(Step { at: withheld.until, kind: "next".into(), text });
        }
        for (name, climb) in &alert.climbed {
            let Some(Named::Ladder(ladder)) = self.rules().named(name) else { continue };
            if let Some(step) = ladder.steps.get(climb.done).filter(|_| alert.is_loud()) {
                let due = climb.at + crate::domain::alert::policy::lane::signed(step.after);
                let text = format!("step {} of ladder `{name}`: {}", climb.done + 1, step.notify.join(", "));
                steps.push(Step { at: Some(due), kind: "next".into(), text });
            }
        }
        // What did not come in its time is not to come.
        steps.retain(|it| it.at.is_none_or(|it| it >= now));
        steps.sort_by_key(|it| it.at);
        steps
    }
}

/// When the name came of what was told in a message that had no room for it, behind ` paged at …`.
fn named(since: &[Step], page: &Step) -> String {
    let Some(notifier) = page.text.split('`').nth(1) else { return String::new() };
    let after = since.iter().rev().filter(|it| it.kind == "page" && it.at >= page.at);
    let mut said = after.filter_map(|it| {
        if it.text.starts_with(&rest::named_to(notifier)) {
            return Some(it.at.map_or_else(|| ", named".to_string(), |at| format!(", named at {at}")));
        }
        if it.text.starts_with(&rest::not_named_to(notifier)) {
            return Some(", not named".to_string());
        }
        (it.text == rest::no_room(notifier)).then(|| ", not named yet".to_string())
    });
    said.next().unwrap_or_default()
}

/// What a canary is for, and what its failing means.
fn canary_rule(probes: &ProbeBoard) -> String {
    let names: Vec<&str> = probes.canaries().map(ProbeId::name).collect();
    let (fail, speaker) = match names.as_slice() {
        [] | [_] => ("when it fails".to_string(), "it says so".to_string()),
        [first, ..] => (format!("when all of {} fail", names.join(", ")), format!("`{first}` says so for all of them")),
    };
    format!("a canary: {fail}, this host is cut off; {speaker}, and nothing else that is far away is told")
}

/// An outcome as a step.
pub fn outcome_step(outcome: &Outcome) -> Step {
    let total = format::duration(outcome.total());
    let text = match &outcome.trouble {
        Some(trouble) => format!("{} after {total}: {}", outcome.result.word(), trouble.text),
        None => format!("{} after {total}", outcome.result.word()),
    };
    let late = if outcome.latency_suspect { " (this machine was too busy: times do not count)" } else { "" };
    Step { at: Some(outcome.at), kind: "outcome".into(), text: format!("{text}{late}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::HostId;

    #[test]
    fn outcomes_that_differ_in_how_long_they_took_are_one_and_a_decision_parts_them() {
        let steps = [
            ("rule", "down when 2 of the last 3 results fail"),
            ("outcome", "ok after 2ms"),
            ("outcome", "ok after 1m02s"),
            ("outcome", "fail after 3ms: status is 502"),
            ("outcome", "fail after 4.1s: status is 502"),
            ("health", "suspect -> down: status is 502"),
            ("outcome", "fail after 3ms: status is 502"),
            ("outcome", "fail after 3ms: status is 503"),
            ("outcome", "fail after 3ms: status is 503 (this machine was too busy: times do not count)"),
            ("delivery", "`sms` took the trigger"),
            ("delivery", "`sms` took the trigger"),
        ];
        let start: Timestamp = "2026-11-22T09:57:00Z".parse().expect("a time");
        let step = |(at, (kind, text)): (usize, &(&str, &str))| Step {
            at: (at > 0).then(|| start + SignedDuration::from_secs(at as i64)),
            kind: (*kind).to_string(),
            text: (*text).to_string(),
        };
        let explanation = Explanation {
            probe: ProbeId::new(&HostId::new("h"), "api"),
            at: start,
            verdict: String::new(),
            steps: steps.iter().enumerate().map(step).collect(),
        };
        let folded = explanation.folded();
        assert_eq!(folded.iter().map(|it| it.count).collect::<Vec<_>>(), [1, 2, 2, 1, 1, 1, 1, 1, 1]);
        let text = folded[2].text(start, &TimeZone::UTC);
        assert_eq!(text, "fail after 3ms: status is 502 (2 times, the last at 09:57:04)");
    }
}
