//! Probes, a policy and notifiers that answer, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::alert::delivery::{Delivery, DeliveryNews, DeliveryState, Message};
use crate::domain::alert::policy::AlertBoard;
use crate::domain::alert::quiet::{Maintenance, MaintenanceWindow, Silence};
use crate::domain::alert::rota::Rotation;
use crate::domain::alert::rules::{AlertRules, Ladder, NotifierRule, Person, Rung};
use crate::domain::alert::{AlertFact, Change};
use crate::domain::ids::{HostId, ProbeId};
use crate::domain::probe::health::Thresholds;
use crate::domain::probe::outcome::{Cause, Evidence, Lack, Outcome, Phases, ProbeResult, Trouble};
use crate::domain::probe::{ProbeBoard, ProbeFact, ProbeRules, ProbeSetup};

pub fn probe(name: &str) -> ProbeId {
    ProbeId::new(&HostId::new("h"), name)
}

/// How a failing probe fails.
#[derive(Clone)]
pub struct Failure {
    pub cause: Cause,
    pub address: Option<String>,
}

pub struct World {
    pub now: Timestamp,
    /// What this host is called.
    pub host: HostId,
    pub board: AlertBoard,
    pub probes: ProbeBoard,
    pub rules: AlertRules,
    pub rows: BTreeMap<String, String>,
    pub superseded: Vec<String>,
    pub all: Vec<Delivery>,
    /// What a timeline was told, as `subject text`.
    pub told: Vec<String>,
    pub failures: BTreeMap<String, Failure>,
    seen: usize,
    deaf: BTreeSet<String>,
}

impl World {
    /// One notifier `sms` that takes everything at once.
    pub fn new() -> Self {
        let mut world = Self {
            now: Timestamp::from_second(1_700_000_000).expect("a time"),
            host: HostId::new("h"),
            board: AlertBoard::default(),
            probes: ProbeBoard::default(),
            rules: AlertRules::default(),
            rows: BTreeMap::new(),
            superseded: Vec::new(),
            all: Vec::new(),
            told: Vec::new(),
            failures: BTreeMap::new(),
            seen: 0,
            deaf: BTreeSet::new(),
        };
        world.notifier("sms", "twilio", |_| {});
        world.configure();
        world
    }

    pub fn notifier(&mut self, name: &str, kind: &str, change: impl FnOnce(&mut NotifierRule)) {
        let mut rule = NotifierRule::new(name, kind);
        change(&mut rule);
        self.rules.notifiers.push(rule);
    }

    pub fn person(&mut self, name: &str, notify: &[&str]) {
        let notify = notify.iter().map(ToString::to_string).collect();
        self.rules.people.push(Person { name: name.into(), notify });
    }

    pub fn ladder(&mut self, name: &str, steps: &[(u64, &[&str])]) {
        let step = |(after, notify): &(u64, &[&str])| Rung {
            after: Duration::from_secs(*after),
            notify: notify.iter().map(ToString::to_string).collect(),
        };
        self.rules.ladders.push(Ladder { name: name.into(), steps: steps.iter().map(step).collect() });
    }

    /// People who take turns of so many hours; the first one's began at nine in the morning of the day.
    pub fn rotation(&mut self, name: &str, people: &[&str], hours: u64) {
        self.rules.rotations.push(Rotation {
            name: name.into(),
            people: people.iter().map(ToString::to_string).collect(),
            every: Duration::from_secs(hours * 3600),
            from: "2023-11-14T09:00".parse().expect("civil"),
            zone: "UTC".into(),
            overrides: Vec::new(),
        });
    }

    pub fn configure(&mut self) {
        let rules = Box::new(self.rules.clone());
        self.fact(&AlertFact::Configured { rules });
    }

    /// Puts a probe into the config, told by `sms`.
    pub fn probe(&mut self, name: &str, change: impl FnOnce(&mut ProbeRules)) {
        let mut rules = ProbeRules { notify: vec!["sms".into()], ..ProbeRules::default() };
        change(&mut rules);
        let setup = ProbeSetup {
            kind: "http".into(),
            target: format!("https://{name}.example"),
            interval: Duration::from_secs(30),
            retry: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            thresholds: Thresholds::default(),
            expect: Vec::new(),
            prefer: Vec::new(),
            rules,
        };
        self.probe_fact(&ProbeFact::Configured { probe: self.id(name), setup });
    }

    fn id(&self, name: &str) -> ProbeId {
        ProbeId::new(&self.host, name)
    }

    pub fn remove(&mut self, name: &str) {
        self.probe_fact(&ProbeFact::Removed { probe: self.id(name) });
    }

    pub fn acknowledge(&mut self, name: &str, by: &str) {
        self.probe_fact(&ProbeFact::Acknowledged { probe: self.id(name), by: by.into(), at: self.now });
    }

    /// So many failures in a row, 5 s apart, the last of them now.
    pub fn fail(&mut self, name: &str, count: u32) {
        for at in 0..count {
            if at > 0 {
                self.pass(5);
            }
            self.outcome_now(name, ProbeResult::Fail);
        }
    }

    /// So many good results in a row, 5 s apart, the last of them now.
    pub fn fine(&mut self, name: &str, count: u32) {
        for _ in 0..count {
            self.pass(5);
            self.outcome_now(name, ProbeResult::Ok);
        }
    }

    /// So many degraded results in a row, 5 s apart, the last of them now.
    pub fn degrade(&mut self, name: &str, count: u32) {
        for _ in 0..count {
            self.outcome(name, ProbeResult::Degraded);
        }
    }

    /// A person silences what fits from now on.
    pub fn silence(&mut self, id: &str, matcher: &str, seconds: i64) {
        let silence = Silence {
            id: id.into(),
            matchers: vec![matcher.parse().expect("a matcher")],
            from: self.now,
            until: self.now + SignedDuration::from_secs(seconds),
            by: "bob".into(),
            comment: String::new(),
        };
        self.fact(&AlertFact::Silenced(silence));
    }

    /// A person begins a maintenance now.
    pub fn maintain(&mut self, name: &str, matchers: &[&str], seconds: i64) {
        let window = MaintenanceWindow::Once { from: self.now, until: self.now + SignedDuration::from_secs(seconds) };
        let matchers = matchers.iter().map(|it| it.parse().expect("a matcher")).collect();
        let maintenance = Maintenance { name: name.into(), matchers, window, by: "bob".into() };
        self.fact(&AlertFact::Maintained(maintenance));
    }

    /// One result, 5 s after what was before.
    pub fn outcome(&mut self, name: &str, result: ProbeResult) {
        self.pass(5);
        self.outcome_now(name, result);
    }

    pub fn outcome_now(&mut self, name: &str, result: ProbeResult) {
        let failure = self.failures.get(name).cloned().unwrap_or(Failure { cause: Cause::Refused, address: None });
        let evidence = Evidence { address: failure.address, ..Evidence::default() };
        let trouble = match failure.cause {
            Cause::Own => Trouble::new(Cause::Own, Lack::Files.word(), "could not check"),
            cause => Trouble::new(cause, "refused", "refused: nothing listens there"),
        };
        let outcome = Outcome {
            at: self.now,
            result,
            phases: Phases::default(),
            trouble: (result != ProbeResult::Ok).then_some(trouble),
            evidence,
            lag: Duration::ZERO,
            latency_suspect: false,
        };
        self.probe_fact(&ProbeFact::Outcome { probe: self.id(name), outcome: Box::new(outcome), next: None });
    }

    pub fn probe_fact(&mut self, fact: &ProbeFact) {
        self.probes.apply(self.now, fact);
        let change = self.board.observe(self.now, fact.probe(), &self.probes);
        self.commit(change);
    }

    pub fn fact(&mut self, fact: &AlertFact) {
        let change = self.board.apply(self.now, fact, &self.probes);
        self.commit(change);
    }

    /// The notifier answers nothing from now on.
    pub fn deaf(&mut self, notifier: &str) {
        self.deaf.insert(notifier.into());
    }

    /// The notifier takes everything again from now on.
    pub fn hear(&mut self, notifier: &str) {
        self.deaf.remove(notifier);
    }

    /// What became of everything that a deaf notifier got and that is not settled.
    pub fn answer(&mut self, notifier: &str, state: DeliveryState) {
        let to: Vec<Delivery> = self.all.iter().filter(|it| it.notifier == notifier).cloned().collect();
        for delivery in to {
            self.news(&delivery, state.clone());
        }
    }

    fn news(&mut self, delivery: &Delivery, state: DeliveryState) {
        let news = DeliveryNews {
            id: delivery.id.clone(),
            key: delivery.key.clone(),
            notifier: delivery.notifier.clone(),
            action: delivery.action,
            at: self.now,
            state,
            durable: true,
        };
        self.fact(&AlertFact::Delivery(Box::new(news)));
    }

    fn commit(&mut self, change: Change) {
        let (wake, least) = (self.board.next_wake(), self.board.least_wake());
        assert!(least.is_none() || wake.is_some() && wake <= least, "woken too late: {wake:?}, not {least:?}");
        for (key, value) in change.rows {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        self.superseded.extend(change.superseded);
        self.told.extend(change.told.iter().map(|it| format!("{} {}", it.subject, it.text)));
        for delivery in change.deliveries {
            self.all.push(delivery.clone());
            if !self.deaf.contains(&delivery.notifier) {
                self.news(&delivery, DeliveryState::Sent { receipt: None, attempts: 1 });
            }
        }
    }

    /// Lets time pass; the policy is woken when it asked to be.
    pub fn pass(&mut self, seconds: i64) {
        let until = self.now + SignedDuration::from_secs(seconds);
        for _ in 0..100_000 {
            let Some(wake) = self.board.next_wake().filter(|it| *it <= until) else { break };
            self.now = wake.max(self.now);
            self.fact(&AlertFact::Tick { at: self.now });
            assert!(self.board.next_wake().is_none_or(|it| it > self.now), "woken for nothing at {wake}");
        }
        self.now = until;
    }

    /// The same process started again: all that is left are the rows and what is kept of the probes.
    pub fn restart(&mut self) {
        let id = |it: &ProbeId| ProbeId::new(&self.host, it.name());
        let kept = self.probes.iter().map(|(it, state)| (id(it), state.kept())).collect();
        let setups: Vec<(ProbeId, ProbeSetup)> =
            self.probes.iter().map(|(it, state)| (id(it), state.setup.clone())).collect();
        self.probes = ProbeBoard::default();
        self.probes.restore(kept);
        self.board = AlertBoard::default();
        let rows: Vec<(String, String)> = self.rows.clone().into_iter().collect();
        self.board.restore(&rows);
        self.configure();
        for (probe, setup) in setups {
            self.probe_fact(&ProbeFact::Configured { probe, setup });
        }
    }

    /// What was decided since this was last asked, as `action notifier key`.
    pub fn sent(&mut self) -> Vec<String> {
        let new = self.all.iter().skip(self.seen);
        let words = new.map(|it| format!("{} {} {}", it.action.word(), it.notifier, it.key)).collect();
        self.seen = self.all.len();
        words
    }

    pub fn last_message(&self) -> Message {
        self.all.last().expect("a delivery").message.clone()
    }

    pub fn trail(&self, name: &str) -> String {
        let steps = self.board.trail(&probe(name)).map(|it| it.steps.clone()).unwrap_or_default();
        steps.iter().map(|it| format!("{}: {}\n", it.kind, it.text)).collect()
    }
}
