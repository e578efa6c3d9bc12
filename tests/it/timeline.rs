//! What the machines saw reaches the timeline of an incident: later flips, and what was red before it was declared.

use std::time::Duration;

use hotseat::domain::alert::AlertFact;
use hotseat::domain::alert::quiet::Silence;
use hotseat::domain::board::Board;
use hotseat::domain::effect::Effect;
use hotseat::domain::fact::{Actor, Envelope, Fact, Restored, RuntimeFact};
use hotseat::domain::ids::{HostId, IncidentId, ProbeId};
use hotseat::domain::incident::entry::{Declare, Entry, EntryBody, Note};
use hotseat::domain::incident::fold::Incident;
use hotseat::domain::incident::{IncidentFact, Severity};
use hotseat::domain::probe::health::Thresholds;
use hotseat::domain::probe::outcome::{Cause, Evidence, Outcome, Phases, ProbeResult, Trouble};
use hotseat::domain::probe::{LastRuns, ProbeFact, ProbeRules, ProbeSetup};
use jiff::{SignedDuration, Timestamp};

struct Play {
    board: Board,
    start: Timestamp,
}

impl Play {
    fn new() -> Self {
        Self { board: Board::default(), start: "2024-08-19T06:43:00Z".parse().expect("a time") }
    }

    fn at(&self, second: i64) -> Timestamp {
        self.start + SignedDuration::from_secs(second)
    }

    /// Applies a fact and returns what goes to the timeline: incident, time and text.
    fn fact(&mut self, second: i64, fact: Fact) -> Vec<(String, Timestamp, String)> {
        self.fact_of(Actor::Runtime, second, fact)
            .into_iter()
            .map(|(incident, at, text, _)| (incident, at, text))
            .collect()
    }

    /// The same for a person's doing, with whose doing the row says it is.
    fn fact_of(&mut self, actor: Actor, second: i64, fact: Fact) -> Vec<(String, Timestamp, String, Option<String>)> {
        let (seq, at) = (self.board.seq + 1, self.at(second));
        let envelope = Envelope { host: HostId::new("h"), seq, at, actor, fact };
        let effects = self.board.apply(at, &envelope);
        let row = |effect| match effect {
            Effect::AppendMachineEntry { incident, entry } => {
                Some((incident.name().to_string(), entry.at, format!("{} {}", entry.subject, entry.text), entry.by))
            }
            // The store's, not the timeline's.
            Effect::Record(_) | Effect::Commit(_) => None,
        };
        effects.into_iter().filter_map(row).collect()
    }

    fn probe(&mut self, name: &str) -> ProbeId {
        let probe = ProbeId::new(&HostId::new("h"), name);
        let window = || "1/1".parse().expect("a window");
        let thresholds = Thresholds { fail: window(), recover: window(), ..Thresholds::default() };
        let (interval, retry, timeout) = (Duration::from_secs(10), Duration::from_secs(10), Duration::from_secs(5));
        let (kind, target) = ("tcp".to_string(), "127.0.0.1:1".to_string());
        let (expect, prefer, rules) = (vec![], vec![], ProbeRules::default());
        let setup = ProbeSetup { kind, target, interval, retry, timeout, thresholds, expect, prefer, rules };
        self.fact(0, Fact::Probe(ProbeFact::Configured { probe: probe.clone(), setup }));
        probe
    }

    fn outcome(&mut self, second: i64, probe: &ProbeId, fails: bool) -> Vec<(String, Timestamp, String)> {
        let trouble = fails.then(|| Trouble::new(Cause::Refused, "refused", "127.0.0.1:1 refused the connection"));
        let outcome = Outcome {
            at: self.at(second),
            result: if fails { ProbeResult::Fail } else { ProbeResult::Ok },
            phases: Phases::default(),
            trouble,
            evidence: Evidence::default(),
            lag: Duration::ZERO,
            latency_suspect: false,
        };
        self.fact(
            second,
            Fact::Probe(ProbeFact::Outcome { probe: probe.clone(), outcome: Box::new(outcome), next: None }),
        )
    }

    fn acknowledge(&mut self, second: i64, probe: &ProbeId) -> Vec<(String, Timestamp, String, Option<String>)> {
        let fact = ProbeFact::Acknowledged { probe: probe.clone(), by: "bob".into(), at: self.at(second) };
        self.fact_of(Actor::Person("bob".into()), second, Fact::Probe(fact))
    }

    fn silence(&mut self, second: i64, matcher: &str) -> Vec<(String, Timestamp, String, Option<String>)> {
        let silence = Silence {
            id: format!("s-{matcher}"),
            matchers: vec![matcher.parse().expect("a matcher")],
            from: self.at(second),
            until: self.at(3_600),
            by: "carol".into(),
            comment: "being mended".into(),
        };
        self.fact_of(Actor::Person("carol".into()), second, Fact::Alert(AlertFact::Silenced(silence)))
    }

    fn entry(&self, second: i64, by: &str, body: EntryBody) -> Entry {
        let at = self.at(second);
        Entry { id: uuid::Uuid::now_v7(), at, rec: at, by: by.into(), prev: String::new(), body }
    }

    /// Writes into the log-book of the day, which the first note begins.
    fn note(&mut self, second: i64, by: &str, text: &str) {
        let book = IncidentId::new(&HostId::new("h"), "LOG-20240819");
        let entry = self.entry(second, by, EntryBody::Note(Note::new(text)));
        let fact = match self.board.incidents.get(&book) {
            None => IncidentFact::Loaded(Box::new(Incident::fold(book, vec![entry]))),
            Some(_) => IncidentFact::EntryAppended { incident: book, entry: Box::new(entry) },
        };
        let told = self.fact_of(Actor::Person(by.into()), second, Fact::Incident(fact));
        assert_eq!(told, [], "nothing is open yet");
    }

    fn declared_as(&mut self, name: &str, second: i64) -> Vec<(Timestamp, String, Option<String>)> {
        let body = EntryBody::Declare(Declare::new("edge answers 502", Severity::Sev2, None));
        let incident =
            Incident::fold(IncidentId::new(&HostId::new("h"), name), vec![self.entry(second, "alice", body)]);
        let fact = Fact::Incident(IncidentFact::Loaded(Box::new(incident)));
        let told = self.fact_of(Actor::Person("alice".into()), second, fact);
        told.into_iter().map(|(_, at, text, by)| (at, text, by)).collect()
    }

    fn declare(&mut self, seen_at: i64, declared_at: i64) -> Vec<(String, Timestamp, String)> {
        let at = self.at(declared_at);
        let body = EntryBody::Declare(Declare::new("edge answers 502", Severity::Sev2, None));
        let entry = Entry { id: uuid::Uuid::now_v7(), at, rec: at, by: "alice".into(), prev: String::new(), body };
        let incident = IncidentId::new(&HostId::new("h"), "INC-20240819-0644-k7q2");
        self.fact(seen_at, Fact::Incident(IncidentFact::Loaded(Box::new(Incident::fold(incident, vec![entry])))))
    }
}

#[test]
fn a_declaration_is_told_what_was_red_already() {
    let mut play = Play::new();
    let (storage, edge) = (play.probe("storage"), play.probe("edge"));
    assert_eq!(play.outcome(10, &edge, false), []);
    assert_eq!(play.outcome(20, &storage, true), [], "nothing is open yet");
    let row = |second, text: &str| ("INC-20240819-0644-k7q2".to_string(), play.at(second), text.to_string());
    let (red, flip, end) =
        (row(20, "h/storage down: refused"), row(70, "h/edge up -> down: refused"), row(90, "h/edge down -> up"));
    assert_eq!(play.declare(60, 60), [red]);
    assert_eq!(play.outcome(70, &edge, true), [flip]);
    assert_eq!(play.outcome(90, &edge, false), [end]);
}

#[test]
fn an_incident_that_is_read_from_disk_is_not_told_again() {
    let mut play = Play::new();
    let storage = play.probe("storage");
    play.outcome(20, &storage, true);
    assert_eq!(play.declare(3_600, 30), []);
}

#[test]
fn a_screen_that_is_opened_again_does_not_tell_the_same_state_once_more() {
    let mut play = Play::new();
    play.declare(0, 0);
    let storage = play.probe("storage");
    let row = |second, text: &str| ("INC-20240819-0644-k7q2".to_string(), play.at(second), text.to_string());
    let first = row(20, "h/storage unknown -> down: refused");
    assert_eq!(play.outcome(20, &storage, true), [first]);
    let body = EntryBody::Probe { subject: "h/storage".into(), text: "unknown -> down: refused".into() };
    // What a restart knows: the entry on disk, and a probe that has no result yet.
    let incident = play.board.incidents.open().remove(0);
    play.board.probes = Default::default();
    let (at, id) = (play.at(20), uuid::Uuid::now_v7());
    let entry = Box::new(Entry { id, at, rec: at, by: "agent".into(), prev: String::new(), body });
    play.fact(21, Fact::Incident(IncidentFact::EntryAppended { incident, entry }));
    let storage = play.probe("storage");
    assert_eq!(play.outcome(30, &storage, true), []);
}

#[test]
fn what_was_done_before_a_declaration_is_told_with_it_and_by_whom() {
    let mut play = Play::new();
    let (storage, edge) = (play.probe("storage"), play.probe("edge"));
    play.outcome(5, &edge, false);
    // Before the first red, and about a probe that is well: no part of it.
    play.silence(8, "probe=storage");
    play.silence(30, "probe=edge");
    play.outcome(20, &storage, true);
    play.acknowledge(40, &storage);
    play.silence(50, "probe=storage");
    let rows: Vec<_> = play.declare(60, 60).into_iter().map(|(_, at, text)| (at, text)).collect();
    let until = play.at(3_600);
    assert_eq!(
        rows,
        [
            (play.at(20), "h/storage down: refused".to_string()),
            (play.at(40), "h/storage acknowledged by bob".to_string()),
            (play.at(50), format!("silence of `probe=storage` by carol until {until}: being mended")),
        ]
    );
    // What is done after it is told once, by whoever did it.
    let ended = AlertFact::Unsilenced { id: "s-probe=storage".into(), by: "bob".into(), at: play.at(70) };
    let told = play.fact_of(Actor::Person("bob".into()), 70, Fact::Alert(ended));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].3.as_deref(), Some("bob"), "{told:?}");
    play.outcome(80, &edge, true);
    let marked = play.acknowledge(90, &edge);
    assert_eq!(marked.len(), 1, "{marked:?}");
    assert_eq!(marked[0].3.as_deref(), Some("bob"));
}

#[test]
fn what_was_noted_before_a_declaration_is_told_with_it_once_and_by_whom() {
    let mut play = Play::new();
    let storage = play.probe("storage");
    play.note(10, "bob", "quiet so far");
    play.outcome(20, &storage, true);
    play.note(25, "bob", "the pool grows");
    play.note(30, "carol", "asked storage\nno answer");
    let told = play.declared_as("INC-20240819-0644-k7q2", 31);
    let row = |second, text: &str, by: Option<&str>| (play.at(second), text.to_string(), by.map(String::from));
    let expected = [
        row(20, "h/storage down: refused", None),
        row(25, "LOG-20240819 the pool grows", Some("bob")),
        row(30, "LOG-20240819 asked storage\nno answer", Some("carol")),
    ];
    assert_eq!(told, expected);
    for (second, text, by) in [(25, "the pool grows", "bob"), (30, "asked storage\nno answer", "carol")] {
        let body = EntryBody::Note(Note { text: text.into(), from: Some("LOG-20240819".into()) });
        let entry = Box::new(play.entry(second, by, body));
        assert!(entry.body.words().ends_with(" (from LOG-20240819)"));
        let incident = IncidentId::new(&HostId::new("h"), "INC-20240819-0644-k7q2");
        play.fact(32, Fact::Incident(IncidentFact::EntryAppended { incident, entry }));
    }
    let told = play.declared_as("INC-20240819-0645-aaaa", 40);
    assert_eq!(told, expected[..1], "a note stands in one incident");
}

#[test]
fn a_declaration_after_a_restart_is_told_what_was_kept() {
    let mut play = Play::new();
    let storage = play.probe("storage");
    play.outcome(20, &storage, true);
    play.acknowledge(40, &storage);
    let kept = play.board.probes.kept();
    let mut play = Play::new();
    let restored = Restored { probes: kept, ..Restored::default() };
    play.fact(50, Fact::Runtime(RuntimeFact::Restored(Box::new(restored))));
    play.probe("storage");
    let rows: Vec<_> = play.declare(60, 60).into_iter().map(|(_, at, text)| (at, text)).collect();
    assert_eq!(rows[1..], [(play.at(40), "h/storage acknowledged by bob".to_string())]);
}

#[test]
fn a_start_after_a_time_in_which_nobody_watched_is_told_once_whichever_comes_first() {
    let restored = |play: &Play, before: i64| {
        let last_runs = Some(LastRuns { newest: play.at(100), before: Some(play.at(before)) });
        Fact::Runtime(RuntimeFact::Restored(Box::new(Restored { last_runs, ..Restored::default() })))
    };
    let words = "hotseat nobody watched from 2024-08-19T06:44:40Z until 2024-08-19T07:08:40Z (24m00s): nothing was probed \
                 and nobody was paged";
    for incident_first in [true, false] {
        let mut play = Play::new();
        if incident_first {
            play.declare(60, 60);
        }
        let fact = restored(&play, 90);
        let mut told = play.fact(1_540, fact.clone());
        if !incident_first {
            told.extend(play.declare(1_541, 60));
        }
        told.extend(play.fact(1_545, fact));
        let told: Vec<_> = told.into_iter().map(|(_, at, text)| (at, text)).collect();
        assert_eq!(told, [(play.at(1_540), words.to_string())], "{incident_first}");
    }
    // A restart, and a host whose only probe runs every half an hour.
    for (before, start) in [(90, 130), (-1_700, 1_540)] {
        let mut play = Play::new();
        play.declare(60, 60);
        let fact = restored(&play, before);
        assert_eq!(play.fact(start, fact), [], "{before}");
    }
}
