//! Probe scenarios as data: outcomes in; health, its start and the flips out.
//!
//! `outcomes` is one letter a result (O ok, D degraded, F fail, U unknown), ten seconds apart. `health` and
//! `since` have one entry for each; `since` counts outcomes from 0. `flips` are (since, text).

use std::collections::BTreeSet;
use std::time::Duration;

use hotseat::domain::ids::{HostId, ProbeId};
use hotseat::domain::probe::health::Thresholds;
use hotseat::domain::probe::outcome::{Cause, Evidence, Outcome, Phases, ProbeResult, Trouble};
use hotseat::domain::probe::{ProbeBoard, ProbeFact, ProbeSetup};
use jiff::{SignedDuration, Timestamp};

const STEP_S: i64 = 10;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    fail: String,
    recover: String,
    outcomes: String,
    health: String,
    since: String,
    flips: Vec<(i64, String)>,
    /// Outcomes after which a person acknowledges.
    #[serde(default)]
    ack_after: Vec<usize>,
    /// Outcomes after which the mark is there.
    #[serde(default)]
    acked: BTreeSet<usize>,
}

fn outcome(at: Timestamp, letter: &str) -> Outcome {
    let trouble = |cause, brief: &str, text: &str| Some(Trouble::new(cause, brief, text));
    let (result, trouble) = match letter {
        "O" => (ProbeResult::Ok, None),
        "D" => (ProbeResult::Degraded, trouble(Cause::Slow, "slow 4.1s", "total is 4.1s, expected total < 800ms")),
        "F" => (ProbeResult::Fail, trouble(Cause::Refused, "refused", "127.0.0.1:1 refused the connection")),
        "U" => (ProbeResult::Unknown, trouble(Cause::Own, "plugin", "no such plugin")),
        _ => panic!("unknown outcome {letter}"),
    };
    Outcome {
        at,
        result,
        phases: Phases::default(),
        trouble,
        evidence: Evidence::default(),
        lag: Duration::ZERO,
        latency_suspect: false,
    }
}

fn play(name: &str, text: &str) {
    let scenario: Scenario = toml::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let start: Timestamp = "2024-08-19T06:43:00Z".parse().expect("a time");
    let at = |index: i64| start + SignedDuration::from_secs(index * STEP_S);
    let probe = ProbeId::new(&HostId::new("h"), "storage");
    let thresholds = Thresholds {
        fail: scenario.fail.parse().expect("a window"),
        recover: scenario.recover.parse().expect("a window"),
        ..Thresholds::default()
    };
    let setup = ProbeSetup {
        kind: "tcp".into(),
        target: "127.0.0.1:1".into(),
        interval: Duration::from_secs(10),
        retry: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        thresholds,
        expect: Vec::new(),
        prefer: Vec::new(),
        rules: Default::default(),
    };
    let mut board = ProbeBoard::default();
    board.apply(start, &ProbeFact::Configured { probe: probe.clone(), setup });
    let (mut health, mut since, mut flips, mut acked) = (Vec::new(), Vec::new(), Vec::new(), BTreeSet::new());
    for (index, letter) in scenario.outcomes.split_whitespace().enumerate() {
        let now = at(index as i64);
        let fact = ProbeFact::Outcome { probe: probe.clone(), outcome: Box::new(outcome(now, letter)), next: None };
        for flip in board.apply(now, &fact) {
            assert!(flip.since <= now, "{name}: nothing begins after it was noticed");
            flips.push(((flip.since.as_second() - start.as_second()) / STEP_S, flip.text));
        }
        if scenario.ack_after.contains(&index) {
            for flip in board.apply(now, &ProbeFact::Acknowledged { probe: probe.clone(), by: "bob".into(), at: now }) {
                flips.push((index as i64, flip.text));
            }
        }
        let state = board.get(&probe).expect("configured");
        health.push(state.health().word());
        since.push(state.since().map_or("-".into(), |it| ((it.as_second() - start.as_second()) / STEP_S).to_string()));
        if state.acked.is_some() {
            acked.insert(index);
        }
    }
    assert_eq!(health.join(" "), scenario.health, "{name}: health");
    assert_eq!(since.join(" "), scenario.since, "{name}: since");
    assert_eq!(flips, scenario.flips, "{name}: flips");
    assert_eq!(acked, scenario.acked, "{name}: acknowledged");
}

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            play(stringify!($name), include_str!(concat!("scenarios/", stringify!($name), ".toml")));
        }
    )*};
}

scenarios! {
    a_service_that_fails_every_other_time_is_down,
    one_failure_is_suspect_and_passes,
    three_of_five_is_dated_back_to_the_first_failure,
    an_ended_episode_does_not_count_towards_the_next,
    slow_answers_degrade_and_clear_slowly,
    failing_and_slow_answers_together_degrade,
    down_recovers_to_degraded_while_slow,
    unknown_does_not_count_but_a_run_of_it_is_broken,
    a_plugin_that_never_worked_is_broken,
    an_acknowledgement_goes_with_the_failure,
    one_of_one_is_down_at_once,
}
