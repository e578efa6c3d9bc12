//! Runs recorded outcomes through the rules of a config and says what it would have sent.
//!
//! Records are envelopes of the journal, or lines of JSON that anybody can write:
//! `{"at":"2026-11-22T01:00:00Z","probe":"api","result":"fail","text":"status is 502"}`. Probes go by their
//! names, so that a record of one host can be tried with the config of another.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::alert::delivery::{Action, Delivery, DeliveryNews, DeliveryState};
use crate::domain::alert::explain::{ExplainRequest, Explanation};
use crate::domain::alert::policy::AlertBoard;
use crate::domain::alert::rules::AlertRules;
use crate::domain::alert::{AlertFact, Change};
use crate::domain::fact::{Envelope, Fact};
use crate::domain::ids::ProbeId;
use crate::domain::probe::outcome::{Cause, Evidence, Outcome, Phases, ProbeResult, Trouble};
use crate::domain::probe::{ProbeBoard, ProbeFact, ProbeSetup};

/// Time that goes on after the last record: what waits then is still sent.
pub const AFTERWARDS: SignedDuration = SignedDuration::from_mins(5);
/// Times that the policy may be woken between two records: a year of reminders every ten minutes.
const WAKES_MAX: usize = 60_000;

/// One line of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlainRecord {
    /// When the run began.
    pub at: Timestamp,
    /// The probe's name.
    pub probe: String,
    /// What it found.
    pub result: ProbeResult,
    /// What went wrong, in words.
    #[serde(default)]
    pub text: String,
    /// How long it took, in milliseconds.
    #[serde(default)]
    pub took_ms: u64,
    /// The address that was spoken to.
    #[serde(default)]
    pub address: Option<String>,
}

/// Something that was recorded.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// From the journal.
    Envelope(Box<Envelope>),
    /// Written by hand or by another program.
    Plain(Box<PlainRecord>),
}

impl Record {
    /// Reads one line; `None` for an empty one and for what says nothing about probes or alerts (a snapshot).
    ///
    /// # Errors
    /// In words, when the line is neither.
    pub fn parse(line: &str) -> Result<Option<Self>, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        enum Line {
            Snapshot(serde::de::IgnoredAny),
            Fact(Box<Envelope>),
        }
        let line = line.trim();
        if line.is_empty() {
            return Ok(None);
        }
        let plain = match serde_json::from_str::<PlainRecord>(line) {
            Ok(plain) => return Ok(Some(Self::Plain(Box::new(plain)))),
            Err(error) => error,
        };
        match serde_json::from_str::<Line>(line) {
            Ok(Line::Snapshot(_)) => Ok(None),
            Ok(Line::Fact(envelope)) => Ok(Some(Self::Envelope(envelope))),
            Err(error) if line.starts_with("{\"fact\"") => Err(format!("no fact of the journal: {error}")),
            Err(_) => Err(format!("neither a line of the journal nor a record: {plain}")),
        }
    }

    /// When it was.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Envelope(it) => it.at,
            Self::Plain(it) => it.at,
        }
    }
}

/// A config that is tried with records, in virtual time. Every notifier takes everything at once.
pub struct Replay {
    probes: ProbeBoard,
    board: AlertBoard,
    rules: AlertRules,
    setups: BTreeMap<String, (ProbeId, ProbeSetup)>,
    now: Option<Timestamp>,
    pages: Vec<Page>,
    /// The records are over.
    is_after: bool,
    unknown: BTreeMap<String, u64>,
    outcomes: u64,
}

/// A message that a config would have sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page {
    /// What and when.
    #[serde(flatten)]
    pub delivery: Delivery,
    /// It is of the time after the last record: it comes only if nothing changes.
    pub if_nothing_changes: bool,
}

/// What a config would have sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replayed {
    /// In the order in which it was decided.
    pub pages: Vec<Page>,
    /// Outcomes that were counted.
    pub outcomes: u64,
    /// Probes of the record that the config does not have, and how often they came.
    pub unknown: BTreeMap<String, u64>,
    /// Why each probe of the config that was in trouble was paged or not, at the end.
    pub why: Vec<Explanation>,
}

impl Replay {
    /// Takes the rules and the probes of a config.
    pub fn new(rules: AlertRules, setups: impl IntoIterator<Item = (ProbeId, ProbeSetup)>) -> Self {
        Self {
            probes: ProbeBoard::default(),
            board: AlertBoard::default(),
            rules,
            setups: setups.into_iter().map(|(id, setup)| (id.name().to_string(), (id, setup))).collect(),
            now: None,
            pages: Vec::new(),
            is_after: false,
            unknown: BTreeMap::new(),
            outcomes: 0,
        }
    }

    /// Goes on with one record. One that is older than the last counts as if it came with it.
    pub fn feed(&mut self, record: Record) {
        let at = record.at();
        if self.now.is_none() {
            self.begin(at);
        }
        self.pass(at);
        match record {
            Record::Plain(plain) => {
                let Some(probe) = self.known(&plain.probe) else { return };
                self.outcome(probe, outcome_of(*plain));
            }
            Record::Envelope(envelope) => match envelope.fact {
                Fact::Probe(ProbeFact::Outcome { probe, outcome, .. }) => {
                    let Some(probe) = self.known(probe.name()) else { return };
                    self.outcome(probe, *outcome);
                }
                Fact::Probe(ProbeFact::Acknowledged { probe, by, at }) => {
                    let Some(probe) = self.known(probe.name()) else { return };
                    self.probe_fact(&ProbeFact::Acknowledged { probe, by, at });
                }
                Fact::Alert(AlertFact::Acknowledged { probe, ack }) => {
                    let Some(probe) = self.known(probe.name()) else { return };
                    self.fact(&AlertFact::Acknowledged { probe, ack });
                }
                Fact::Alert(AlertFact::Unacknowledged { probe, by, at }) => {
                    let Some(probe) = self.known(probe.name()) else { return };
                    self.probes.unmark(&probe);
                    self.fact(&AlertFact::Unacknowledged { probe, by, at });
                }
                Fact::Alert(
                    fact @ (AlertFact::Silenced(_)
                    | AlertFact::Unsilenced { .. }
                    | AlertFact::Maintained(_)
                    | AlertFact::MaintenanceEnded { .. }),
                ) => self.fact(&fact),
                _ => {}
            },
        }
    }

    /// Lets the time after the last record pass and says what was sent.
    pub fn finish(mut self) -> Replayed {
        if let Some(now) = self.now {
            self.is_after = true;
            self.pass(now + AFTERWARDS);
        }
        let now = self.now.unwrap_or(Timestamp::UNIX_EPOCH);
        let troubled = self.probes.iter().filter(|(id, _)| self.board.trail(id).is_some());
        let explain =
            |probe: &ProbeId| self.board.explain(now, &self.probes, &ExplainRequest { probe: probe.clone(), at: None });
        let why = troubled.map(|(id, _)| explain(id)).collect();
        Replayed { pages: self.pages, outcomes: self.outcomes, unknown: self.unknown, why }
    }

    fn begin(&mut self, at: Timestamp) {
        self.now = Some(at);
        let rules = Box::new(self.rules.clone());
        self.fact(&AlertFact::Configured { rules });
        for (probe, setup) in self.setups.values().cloned().collect::<Vec<_>>() {
            self.probe_fact(&ProbeFact::Configured { probe, setup });
        }
    }

    fn known(&mut self, name: &str) -> Option<ProbeId> {
        let found = self.setups.get(name).map(|(id, _)| id.clone());
        if found.is_none() {
            *self.unknown.entry(name.to_string()).or_default() += 1;
        }
        found
    }

    fn outcome(&mut self, probe: ProbeId, outcome: Outcome) {
        self.outcomes += 1;
        self.probe_fact(&ProbeFact::Outcome { probe, outcome: Box::new(outcome), next: None });
    }

    fn probe_fact(&mut self, fact: &ProbeFact) {
        let Some(now) = self.now else { return };
        self.probes.apply(now, fact);
        let change = self.board.observe(now, fact.probe(), &self.probes);
        self.take(change);
    }

    fn fact(&mut self, fact: &AlertFact) {
        let Some(now) = self.now else { return };
        let change = self.board.apply(now, fact, &self.probes);
        self.take(change);
    }

    fn take(&mut self, change: Change) {
        let Some(at) = self.now else { return };
        for delivery in change.deliveries {
            let state = DeliveryState::Sent { receipt: None, attempts: 1 };
            let news = DeliveryNews {
                id: delivery.id.clone(),
                key: delivery.key.clone(),
                notifier: delivery.notifier.clone(),
                action: delivery.action,
                at,
                state,
                durable: true,
            };
            if !matches!(delivery.action, Action::Silence | Action::Unsilence) {
                self.pages.push(Page { delivery, if_nothing_changes: self.is_after });
            }
            self.fact(&AlertFact::Delivery(Box::new(news)));
        }
    }

    fn pass(&mut self, until: Timestamp) {
        for _ in 0..WAKES_MAX {
            let (Some(now), Some(wake)) = (self.now, self.board.next_wake().filter(|it| *it <= until)) else { break };
            let at = wake.max(now);
            self.now = Some(at);
            self.fact(&AlertFact::Tick { at });
        }
        self.now = self.now.max(Some(until));
    }
}

fn outcome_of(plain: PlainRecord) -> Outcome {
    let took = Duration::from_millis(plain.took_ms);
    let phases = Phases { wait: (plain.took_ms > 0).then_some(took), ..Phases::default() };
    let is_ok = plain.result == ProbeResult::Ok;
    let text = if plain.text.is_empty() { plain.result.word().to_string() } else { plain.text };
    let text = crate::domain::sanitise::text(&text);
    let trouble = (!is_ok).then(|| Trouble::new(Cause::Value, plain.result.word(), text));
    Outcome {
        at: plain.at,
        result: plain.result,
        phases,
        trouble,
        evidence: Evidence { address: plain.address, ..Evidence::default() },
        lag: Duration::ZERO,
        latency_suspect: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::rules::NotifierRule;
    use crate::domain::fact::Actor;
    use crate::domain::ids::HostId;
    use crate::domain::probe::ProbeRules;
    use crate::domain::probe::health::Thresholds;

    fn replay() -> Replay {
        let rules = AlertRules { notifiers: vec![NotifierRule::new("sms", "twilio")], ..AlertRules::default() };
        let setup = ProbeSetup {
            kind: "http".into(),
            target: "https://api.example".into(),
            interval: Duration::from_secs(30),
            retry: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            thresholds: Thresholds::default(),
            expect: Vec::new(),
            prefer: Vec::new(),
            rules: ProbeRules { notify: vec!["sms".into()], ..ProbeRules::default() },
        };
        Replay::new(rules, [(ProbeId::new(&HostId::new("here"), "api"), setup)])
    }

    #[test]
    fn recorded_outcomes_give_the_pages_that_a_config_would_send() {
        let mut replay = replay();
        for (second, result) in [(0, "fail"), (5, "fail"), (60, "ok"), (65, "ok"), (70, "ok")] {
            let at = Timestamp::from_second(1_700_000_000 + second).expect("a time");
            let line = format!(r#"{{"at":"{at}","probe":"api","result":"{result}","text":"status is 502"}}"#);
            replay.feed(Record::parse(&line).expect("a record").expect("not empty"));
        }
        let line = r#"{"at":"2023-11-14T22:16:00Z","probe":"other","result":"ok"}"#;
        replay.feed(Record::parse(line).expect("a record").expect("not empty"));
        let replayed = replay.finish();
        let pages: Vec<(&str, &str, bool)> = replayed
            .pages
            .iter()
            .map(|it| (it.delivery.action.word(), it.delivery.key.as_str(), it.if_nothing_changes))
            .collect();
        assert_eq!(pages, [("trigger", "here/api/1", false), ("resolve", "here/api/1", false)]);
        assert_eq!(replayed.pages[0].delivery.at.to_string(), "2023-11-14T22:13:35Z");
        assert_eq!((replayed.outcomes, replayed.unknown.get("other")), (5, Some(&1)));
        assert!(replayed.why[0].verdict.starts_with("paged at 2023-11-14T22:13:35Z, delivered"), "{:?}", replayed.why);
    }

    #[test]
    fn a_page_of_the_time_after_the_last_record_says_so() {
        let mut replay = replay();
        for second in [0, 5] {
            let at = Timestamp::from_second(1_700_000_000 + second).expect("a time");
            let line = format!(r#"{{"at":"{at}","probe":"api","result":"fail"}}"#);
            replay.feed(Record::parse(&line).expect("a record").expect("not empty"));
        }
        let replayed = replay.finish();
        assert_eq!(replayed.pages.iter().map(|it| it.if_nothing_changes).collect::<Vec<_>>(), [true]);
        let json = serde_json::to_value(&replayed).expect("JSON");
        assert_eq!(
            (&json["pages"][0]["if_nothing_changes"], &json["pages"][0]["notifier"]),
            (&true.into(), &"sms".into())
        );
    }

    #[test]
    fn the_journal_of_another_host_can_be_tried() {
        let mut replay = replay();
        for second in [0, 5] {
            let at = Timestamp::from_second(1_700_000_000 + second).expect("a time");
            let plain = PlainRecord {
                at,
                probe: String::new(),
                result: ProbeResult::Fail,
                text: "refused".into(),
                took_ms: 0,
                address: None,
            };
            let fact = ProbeFact::Outcome {
                probe: ProbeId::new(&HostId::new("there"), "api"),
                outcome: Box::new(outcome_of(plain)),
                next: None,
            };
            let host = HostId::new("there");
            let envelope = Envelope { host, seq: 1, at, actor: Actor::Runtime, fact: Fact::Probe(fact) };
            let line = format!("{{\"fact\":{}}}", serde_json::to_string(&envelope).expect("JSON"));
            replay.feed(Record::parse(&line).expect("a record").expect("not empty"));
        }
        assert_eq!(replay.finish().pages.len(), 1);
    }

    #[test]
    fn what_is_no_record_says_so_and_a_snapshot_is_passed_over() {
        assert_eq!(Record::parse("  "), Ok(None));
        assert_eq!(Record::parse(r#"{"snapshot":{"version":1}}"#), Ok(None));
        assert!(Record::parse("hello").is_err());
        assert!(Record::parse(r#"{"fact":{"seq":1}}"#).is_err());
        assert!(Record::parse(r#"{"at":"2023-11-14T22:16:00Z","probe":"a","result":"sad"}"#).is_err());
    }
}
