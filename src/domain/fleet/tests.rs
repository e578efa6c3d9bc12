//! The union that was kept up to date is the one that is built from nothing, whatever was said in whatever order.

use std::time::Duration;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::domain::alert::AlertFact;
use crate::domain::alert::quiet::Silence;
use crate::domain::alert::rules::{AlertRules, NotifierRule};
use crate::domain::backup::JobInfo;
use crate::domain::backup::run::{Run, RunState};
use crate::domain::fact::Actor;
use crate::domain::ids::{JobId, ProbeId, RunId, SourceId};
use crate::domain::incident::Severity;
use crate::domain::incident::entry::tests::entry;
use crate::domain::incident::entry::{Declare, EntryBody, Note};
use crate::domain::incident::fold::tests::incident;
use crate::domain::log::GapKind;
use crate::domain::presence::{PresenceFact, ScreenId, Visitor};
use crate::domain::probe::health::Thresholds;
use crate::domain::probe::outcome::{Cause, Evidence, Outcome, Phases, ProbeResult, Trouble};
use crate::domain::probe::{ProbeFact, ProbeRules, ProbeSetup};

const HOSTS: [&str; 3] = ["db1", "web1", "web2"];

fn host(index: usize) -> HostId {
    HostId::new(HOSTS[index % HOSTS.len()])
}

fn snapshot(index: usize) -> Board {
    Board { host: Some(host(index)), ..Board::default() }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

fn setup(canary: bool) -> ProbeSetup {
    ProbeSetup {
        kind: "tcp".into(),
        target: "203.0.113.7:443".into(),
        interval: Duration::from_secs(30),
        retry: Duration::from_secs(5),
        timeout: Duration::from_secs(5),
        thresholds: Thresholds::default(),
        expect: Vec::new(),
        prefer: Vec::new(),
        rules: ProbeRules { notify: vec!["chat".into()], canary, ..ProbeRules::default() },
    }
}

fn outcome(now: Timestamp, is_fine: bool) -> Box<Outcome> {
    let (result, trouble) = match is_fine {
        true => (ProbeResult::Ok, None),
        false => (ProbeResult::Fail, Some(Trouble::new(Cause::Refused, "refused", "refused"))),
    };
    let (phases, evidence) = (Phases::default(), Evidence::default());
    Box::new(Outcome { at: now, result, phases, trouble, evidence, lag: Duration::ZERO, latency_suspect: false })
}

/// A fact of a host: `kind` chooses what, `which` about which of three, `how` a detail of it.
fn fact(host: &HostId, now: Timestamp, (kind, which, how): (u8, u8, u8)) -> Fact {
    let name = format!("n{}", which % 3);
    let probe = ProbeId::new(host, &name);
    let source = SourceId::new(host, &name);
    let job = JobId::new(host, &name);
    let run = |state| {
        let id = RunId::new(host, &format!("{name}@{how}"));
        let (job, started) = (job.clone(), at(i64::from(how)));
        Box::new(Run {
            id,
            job,
            state,
            slot: None,
            started,
            consistent_at: None,
            duration_ms: None,
            raw_bytes: None,
            stored_bytes: None,
            copies: Vec::new(),
            error: None,
            warnings: Vec::new(),
            manifest: None,
        })
    };
    let incident_name = format!("INC-20240819-1452-aaa{}", which % 3);
    let declare = entry(i64::from(how), EntryBody::Declare(Declare::new("edge 502", Severity::Sev2, None)));
    let mut declared = incident(&incident_name, vec![declare]);
    declared.id = crate::domain::ids::IncidentId::new(host, &incident_name);
    match kind % 18 {
        0 => Fact::Probe(ProbeFact::Configured { probe, setup: setup(how % 5 == 0) }),
        1 => Fact::Probe(ProbeFact::Removed { probe }),
        2..=5 => Fact::Probe(ProbeFact::Outcome { probe, outcome: outcome(now, how % 3 == 0), next: None }),
        6 => {
            let rules = AlertRules { notifiers: vec![NotifierRule::new("chat", "slack")], ..AlertRules::default() };
            Fact::Alert(AlertFact::Configured { rules: Box::new(rules) })
        }
        7 => {
            let silence = Silence {
                id: name,
                matchers: vec!["kind=tcp".parse().expect("a matcher")],
                from: now,
                until: now + SignedDuration::from_secs(i64::from(how)),
                by: "alice".into(),
                comment: String::new(),
            };
            Fact::Alert(AlertFact::Silenced(silence))
        }
        8 => Fact::Log(LogFact::Opened { source, name, origin: "/var/log/app".into() }),
        9 => Fact::Log(LogFact::Closed { source }),
        10 => Fact::Log(LogFact::Grew { source, size_bytes: u64::from(how) }),
        11 => Fact::Log(LogFact::Gap { source, kind: GapKind::Rotated }),
        12 if how % 4 == 0 => Fact::Backup(BackupFact::Removed { job }),
        12 => Fact::Backup(BackupFact::Configured {
            job: Box::new(JobInfo {
                id: job,
                kind: "file".into(),
                source: "/srv".into(),
                schedule: None,
                zone: None,
                destinations: Vec::new(),
                keep: None,
            }),
        }),
        13 => Fact::Backup(BackupFact::Started { run: run(RunState::Running) }),
        14 => Fact::Backup(BackupFact::Ended { run: run(RunState::Ok) }),
        15 if how % 4 == 0 => Fact::Incident(IncidentFact::Removed { incident: declared.id }),
        15 if how % 4 == 1 => {
            let note = entry(i64::from(how), EntryBody::Note(Note::new("x")));
            Fact::Incident(IncidentFact::EntryAppended { incident: declared.id, entry: Box::new(note) })
        }
        15 => Fact::Incident(IncidentFact::Loaded(Box::new(declared))),
        16 if how % 2 == 0 => {
            Fact::Presence(PresenceFact::Came { screen: ScreenId(u64::from(how)), visitor: Visitor::inside(&name) })
        }
        16 => Fact::Presence(PresenceFact::Went { screen: ScreenId(u64::from(how - 1)) }),
        _ if how % 2 == 0 => Fact::Runtime(RuntimeFact::Standby { holder: "pid 7".into() }),
        _ => Fact::Runtime(RuntimeFact::ConfigLoaded {
            path: Some("c.toml".into()),
            errors: vec![ConfigError::whole_file("c.toml", "it is gone")],
            digest: None,
        }),
    }
}

proptest! {
    #[test]
    fn what_is_drawn_is_the_union_of_what_every_host_says(
        said in proptest::collection::vec((0_usize..4, any::<(u8, u8, u8)>()), 0..160)
    ) {
        let (mut fleet, mut drawn) = (Fleet::of_several(), Board::default());
        let mut alone: Vec<Board> = (0..HOSTS.len()).map(snapshot).collect();
        fleet.take(&mut drawn, &alone[0]);
        fleet.take(&mut drawn, &alone[1]);
        for (second, (index, what)) in (0..).zip(said) {
            let now = at(second * 20);
            // The last host comes later, with what it knows by then.
            if index == HOSTS.len() {
                fleet.take(&mut drawn, &alone[2]);
                continue;
            }
            let host = host(index);
            let fact = fact(&host, now, what);
            let envelope = Envelope { host, seq: alone[index].seq + 1, at: now, actor: Actor::Runtime, fact };
            let _ = alone[index].apply(now, &envelope);
            fleet.fold(now, &mut drawn, &envelope);
            prop_assert_eq!(&drawn, &fleet.union());
        }
        for (host, board) in fleet.boards() {
            let own = alone.iter().find(|it| it.host.as_ref() == Some(host));
            prop_assert_eq!(Some(board), own, "each board is folded as on its own host");
        }
    }
}

fn configured(fleet: &mut Fleet, drawn: &mut Board, index: usize, name: &str) {
    let host = host(index);
    let fact = Fact::Probe(ProbeFact::Configured { probe: ProbeId::new(&host, name), setup: setup(false) });
    fleet.fold(at(0), drawn, &Envelope { host, seq: 1, at: at(0), actor: Actor::Runtime, fact });
}

#[test]
fn probes_of_one_name_on_two_hosts_are_two() {
    let (mut fleet, mut drawn) = (Fleet::of_several(), Board::default());
    fleet.take(&mut drawn, &snapshot(0));
    fleet.take(&mut drawn, &snapshot(1));
    configured(&mut fleet, &mut drawn, 0, "api");
    configured(&mut fleet, &mut drawn, 1, "api");
    configured(&mut fleet, &mut drawn, 2, "api");
    let ids: Vec<&str> = drawn.probes.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["db1/api", "web1/api"], "of a host whose board has not come nothing is known");
}

#[test]
fn a_lost_host_stays_in_sight_and_is_marked_until_it_is_back() {
    let (mut fleet, mut drawn) = (Fleet::of_several(), Board::default());
    for index in 0..2 {
        fleet.take(&mut drawn, &snapshot(index));
        configured(&mut fleet, &mut drawn, index, "api");
    }
    let lost = Way::Lost { since: at(5), why: "closed".into(), retry_at: None, can_take_over: false, ends: None };
    fleet.heed(&mut drawn, &host(1), &lost);
    assert_eq!((drawn.lost_since("web1"), drawn.lost_since("db1"), drawn.probes.len()), (Some(at(5)), None, 2));
    fleet.heed(&mut drawn, &host(1), &Way::Inside);
    assert_eq!(drawn.lost_since("web1"), None);
}

#[test]
fn a_screen_of_one_host_draws_its_board_as_it_is() {
    let (mut fleet, mut drawn) = (Fleet::default(), Board::default());
    fleet.take(&mut drawn, &snapshot(0));
    configured(&mut fleet, &mut drawn, 0, "api");
    assert!(!drawn.is_of_several() && fleet.boards().next().is_none());
    assert_eq!((drawn.host.as_ref().map(HostId::as_str), drawn.seq), (Some("db1"), 1));
}
