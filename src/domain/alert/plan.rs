//! What a config means before it runs: how soon it sees what, and who would never hear of it.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::alert::rules::{AlertRules, Named};
use crate::domain::format;
use crate::domain::ids::ProbeId;
use crate::domain::probe::ProbeSetup;

/// What a config means.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Runs a second, all probes together, while all is well.
    pub probes_per_second: f64,
    /// How long each probe needs to see that it is down, at worst; the slowest first.
    pub detection: Vec<Detection>,
    /// Probes that nobody would hear of, by name.
    pub silent: Vec<String>,
    /// Probes that nobody is to hear of, as `notify = []` says.
    pub untold: Vec<String>,
    /// Notifiers that nothing leads to.
    pub unused: Vec<String>,
    /// What leads nowhere or round in a circle, in words.
    pub dead_ends: Vec<String>,
}

/// How soon a probe is seen to be down.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detection {
    /// The probe's name.
    pub probe: String,
    /// It fails right after a run, and each of the runs that count takes its whole deadline:
    /// `interval + retry · (k − 1) + timeout`.
    pub worst: Duration,
}

impl Plan {
    /// Works it out. `now` decides who is on call; `refused` are the notifiers that stand in the config with a mistake:
    /// that something leads to them is no dead end of its own.
    pub fn new<'a>(
        now: Timestamp,
        rules: &AlertRules,
        refused: &[String],
        probes: impl IntoIterator<Item = (&'a ProbeId, &'a ProbeSetup)>,
    ) -> Self {
        let mut plan = Self {
            probes_per_second: 0.0,
            detection: Vec::new(),
            silent: Vec::new(),
            untold: Vec::new(),
            unused: Vec::new(),
            dead_ends: Vec::new(),
        };
        let mut used: BTreeSet<String> = BTreeSet::new();
        for (probe, setup) in probes {
            plan.probes_per_second += 1.0 / setup.interval.as_secs_f64().max(0.001);
            let repeats = u32::from(setup.thresholds.fail.k.saturating_sub(1));
            let worst = setup.interval + setup.retry * repeats + setup.timeout;
            plan.detection.push(Detection { probe: probe.name().to_string(), worst });
            let mut reached = BTreeSet::new();
            for name in &setup.rules.notify {
                reached.extend(leads(rules, &[], name));
            }
            let hears = |it: &String| rules.notifier(it).is_some_and(|it| it.least <= setup.rules.severity);
            if setup.rules.untold {
                plan.untold.push(probe.name().to_string());
            } else if !reached.iter().any(hears) {
                plan.silent.push(probe.name().to_string());
            }
            used.extend(reached);
        }
        plan.detection.sort_by(|a, b| b.worst.cmp(&a.worst).then_with(|| a.probe.cmp(&b.probe)));
        plan.silent.sort();
        plan.untold.sort();
        plan.follow_fallbacks(rules, refused, &mut used);
        plan.unused = rules.notifiers.iter().map(|it| it.name.clone()).filter(|it| !used.contains(it)).collect();
        plan.find_dead_ends(now, rules, refused);
        plan
    }

    fn follow_fallbacks(&mut self, rules: &AlertRules, refused: &[String], used: &mut BTreeSet<String>) {
        for rule in &rules.notifiers {
            let mut seen = vec![rule.name.clone()];
            let mut at = rule;
            while let Some(next) = at.fallback.as_deref() {
                let Some(found) = rules.notifier(next) else {
                    if !refused.iter().any(|it| it == next) {
                        self.dead_ends.push(format!("the fallback of `{}` is `{next}`, which is no notifier", at.name));
                    }
                    break;
                };
                if used.contains(&rule.name) {
                    used.insert(next.to_string());
                }
                if seen.iter().any(|it| it == next) {
                    // Named once, by the first of the ring.
                    if seen.iter().min() == Some(&rule.name) && next == rule.name {
                        seen.push(next.to_string());
                        self.dead_ends.push(format!("fallbacks go round in a circle: {}", seen.join(" -> ")));
                    }
                    break;
                }
                seen.push(next.to_string());
                at = found;
            }
        }
    }

    fn find_dead_ends(&mut self, now: Timestamp, rules: &AlertRules, refused: &[String]) {
        let is_known = |name: &String| rules.notifier(name).is_some() || refused.contains(name);
        for person in &rules.people {
            for name in person.notify.iter().filter(|it| !is_known(it)) {
                self.dead_ends.push(format!("`{}` is reached by `{name}`, which is no notifier", person.name));
            }
        }
        for rotation in &rules.rotations {
            for name in &rotation.people {
                match rules.person(name) {
                    None => {
                        self.dead_ends.push(format!("`{name}` takes turns in `{}` and is no person", rotation.name))
                    }
                    Some(person) if person.notify.is_empty() => {
                        self.dead_ends
                            .push(format!("`{name}` takes turns in `{}` and cannot be reached", rotation.name));
                    }
                    Some(_) => {}
                }
            }
            if rotation.who(now).is_none() {
                self.dead_ends.push(format!("nobody is on call in `{}` now", rotation.name));
            }
        }
        for ladder in &rules.ladders {
            for (at, step) in ladder.steps.iter().enumerate() {
                let number = at + 1;
                let reaches = |name: &String| {
                    let named = rules.named(name);
                    refused.contains(name)
                        || !matches!(named, Some(Named::Ladder(_)) | None) && !leads(rules, refused, name).is_empty()
                };
                if !step.notify.iter().any(reaches) {
                    self.dead_ends.push(format!("step {number} of ladder `{}` leads to nobody", ladder.name));
                }
            }
            if ladder.steps.is_empty() {
                self.dead_ends.push(format!("ladder `{}` has no steps", ladder.name));
            }
        }
    }

    /// The slowest to be seen, in words; `None` without a probe.
    pub fn slowest(&self) -> Option<String> {
        self.detection
            .first()
            .map(|it| format!("`{}` is seen to be down after {} at worst", it.probe, format::duration(it.worst)))
    }

    /// True when nothing is wrong with it.
    pub fn is_sound(&self) -> bool {
        self.silent.is_empty() && self.unused.is_empty() && self.dead_ends.is_empty()
    }
}

/// Every notifier that a name can lead to, whoever is on call; also those that were refused.
fn leads(rules: &AlertRules, refused: &[String], name: &str) -> BTreeSet<String> {
    let person = |name: &str| -> Vec<String> {
        let known = |it: &&String| rules.notifier(it).is_some() || refused.contains(it);
        rules.person(name).map(|it| it.notify.iter().filter(known).cloned().collect()).unwrap_or_default()
    };
    match rules.named(name) {
        Some(Named::Notifier(rule)) => BTreeSet::from([rule.name.clone()]),
        Some(Named::Person(it)) => person(&it.name).into_iter().collect(),
        Some(Named::Rotation(rotation)) => {
            let people = rotation.people.iter().chain(rotation.overrides.iter().map(|it| &it.person));
            people.flat_map(|it| person(it)).collect()
        }
        Some(Named::Ladder(ladder)) => {
            let names = ladder.steps.iter().flat_map(|it| &it.notify);
            // A ladder in a ladder is not climbed.
            let names = names.filter(|it| !matches!(rules.named(it), Some(Named::Ladder(_))));
            names.flat_map(|it| leads(rules, refused, it)).collect()
        }
        None => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::Severity;
    use crate::domain::alert::rules::{Ladder, NotifierRule, Person, Rung};
    use crate::domain::ids::HostId;
    use crate::domain::probe::ProbeRules;
    use crate::domain::probe::health::Thresholds;

    fn setup(notify: &[&str]) -> ProbeSetup {
        ProbeSetup {
            kind: "http".into(),
            target: "https://x".into(),
            interval: Duration::from_secs(30),
            retry: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            thresholds: Thresholds::default(),
            expect: Vec::new(),
            prefer: Vec::new(),
            rules: ProbeRules { notify: notify.iter().map(ToString::to_string).collect(), ..ProbeRules::default() },
        }
    }

    fn notifier(name: &str, fallback: Option<&str>) -> NotifierRule {
        NotifierRule { fallback: fallback.map(ToString::to_string), ..NotifierRule::new(name, "slack") }
    }

    fn plan(rules: &AlertRules, probes: &[(&str, ProbeSetup)]) -> Plan {
        let ids: Vec<ProbeId> = probes.iter().map(|(name, _)| ProbeId::new(&HostId::new("h"), name)).collect();
        Plan::new(Timestamp::UNIX_EPOCH, rules, &["ill".to_string()], ids.iter().zip(probes.iter().map(|(_, it)| it)))
    }

    #[test]
    fn a_sound_config_says_how_soon_and_how_often() {
        let rules = AlertRules { notifiers: vec![notifier("chat", None)], ..AlertRules::default() };
        let plan = plan(&rules, &[("api", setup(&["chat"])), ("db", setup(&["chat"]))]);
        assert!(plan.is_sound(), "{plan:?}");
        assert!((plan.probes_per_second - 2.0 / 30.0).abs() < 1e-9);
        assert_eq!(plan.detection[0].worst, Duration::from_secs(40));
    }

    #[test]
    fn what_leads_to_a_refused_notifier_is_no_second_mistake() {
        let step = |notify: &str| Rung { after: Duration::ZERO, notify: vec![notify.into()] };
        let rules = AlertRules {
            notifiers: vec![notifier("chat", Some("ill"))],
            people: vec![Person { name: "bob".into(), notify: vec!["ill".into()] }],
            ladders: vec![Ladder { name: "page".into(), steps: vec![step("bob"), step("ill")] }],
            ..AlertRules::default()
        };
        let plan = plan(&rules, &[("api", setup(&["page"]))]);
        assert_eq!(plan.dead_ends, Vec::<String>::new());
        assert_eq!(plan.silent, ["api"], "nobody hears of it before that is mended");
    }

    #[test]
    fn what_leads_nowhere_is_named() {
        let mut rules = AlertRules {
            notifiers: vec![
                notifier("a", Some("b")),
                notifier("b", Some("a")),
                notifier("spare", None),
                NotifierRule { least: Severity::Critical, ..notifier("pager", None) },
            ],
            people: vec![Person { name: "alice".into(), notify: vec!["gone".into()] }],
            ..AlertRules::default()
        };
        let step = |notify: &str| Rung { after: Duration::ZERO, notify: vec![notify.into()] };
        rules.ladders = vec![Ladder { name: "page".into(), steps: vec![step("a"), step("alice")] }];
        let warning = {
            let mut it = setup(&["pager"]);
            it.rules.severity = Severity::Warning;
            it
        };
        let mut meant = setup(&[]);
        meant.rules.untold = true;
        let probes = [
            ("meant", meant),
            ("api", setup(&["page"])),
            ("dumb", setup(&[])),
            ("lost", setup(&["alice"])),
            ("mild", warning),
        ];
        let plan = plan(&rules, &probes);
        assert_eq!(plan.silent, ["dumb", "lost", "mild"]);
        assert_eq!(plan.untold, ["meant"]);
        assert_eq!(plan.unused, ["spare"]);
        let expected = [
            "fallbacks go round in a circle: a -> b -> a",
            "`alice` is reached by `gone`, which is no notifier",
            "step 2 of ladder `page` leads to nobody",
        ];
        assert_eq!(plan.dead_ends, expected);
    }
}
