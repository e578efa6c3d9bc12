//! What survives a restart, and what holds whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::domain::alert::delivery::{Action, DeliveryState};
use crate::domain::alert::policy::keep::renamed;
use crate::domain::alert::policy::tests::world::{Failure, World, probe};
use crate::domain::alert::rules::Limit;
use crate::domain::alert::{Acknowledgement, AlertFact};
use crate::domain::ids::HostId;
use crate::domain::probe::outcome::{Cause, ProbeResult};

#[test]
fn a_restart_neither_pages_again_nor_forgets() {
    for at in [0, 5, 12, 70] {
        let mut world = World::new();
        world.probe("api", |_| {});
        world.fail("api", 2);
        world.pass(at);
        world.restart();
        world.pass(80 - at);
        world.restart();
        world.fine("api", 2);
        world.restart();
        world.pass(60);
        assert_eq!(world.sent(), ["trigger sms h/api/1", "resolve sms h/api/1"], "restarted after {at} s");
    }
}

#[test]
fn a_host_that_is_called_otherwise_after_a_restart_is_paged_about_no_second_time_and_ends_what_it_began() {
    let mut world = World::new();
    world.probe("db", |_| {});
    world.probe("api", |it| it.after = vec!["db".into()]);
    world.fail("db", 2);
    world.fail("api", 2);
    world.pass(60);
    assert_eq!(world.sent(), ["trigger sms h/db/1"]);
    let now = HostId::new("db1");
    world.rows = std::mem::take(&mut world.rows)
        .into_iter()
        .map(|(key, value)| renamed((&key, &value), "h", &now).unwrap_or((key, value)))
        .collect();
    world.host = now;
    world.restart();
    world.pass(600);
    assert_eq!(world.sent(), [] as [String; 0]);
    world.fine("db", 2);
    world.fine("api", 2);
    world.pass(60);
    assert_eq!(world.sent(), ["resolve sms h/db/1"]);
    world.fail("db", 2);
    world.pass(60);
    assert_eq!(world.sent(), ["trigger sms db1/db/2"]);
}

#[test]
fn what_the_config_names_no_longer_after_a_restart_is_over() {
    let mut world = World::new();
    world.probe("api", |_| {});
    world.fail("api", 2);
    world.pass(60);
    world.probes = crate::domain::probe::ProbeBoard::default();
    world.restart();
    world.pass(600);
    assert_eq!(world.sent(), ["trigger sms h/api/1", "resolve sms h/api/1"]);
}

/// Something that happens.
#[derive(Debug, Clone)]
enum Event {
    Result(usize, ProbeResult),
    Pass(i64),
    Acknowledge(usize),
    Sticky(usize),
    Silence(i64),
    Maintain(i64),
    Restart,
    Answer(usize, Answer),
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Hear,
    Ignore,
    Refuse,
    Retry,
}

const PROBES: [&str; 5] = ["a", "b", "c", "d", "e"];
const NOTIFIERS: [&str; 3] = ["sms", "mail", "pd"];

fn event() -> impl Strategy<Value = Event> {
    let probe = 0..PROBES.len();
    let result = prop_oneof![
        4 => Just(ProbeResult::Fail),
        4 => Just(ProbeResult::Ok),
        1 => Just(ProbeResult::Degraded),
        1 => Just(ProbeResult::Unknown),
    ];
    let answer = prop_oneof![Just(Answer::Hear), Just(Answer::Ignore), Just(Answer::Refuse), Just(Answer::Retry)];
    prop_oneof![
        20 => (probe.clone(), result).prop_map(|(probe, result)| Event::Result(probe, result)),
        8 => prop_oneof![1_i64..20, 20_i64..200, 200_i64..4000].prop_map(Event::Pass),
        1 => probe.clone().prop_map(Event::Acknowledge),
        1 => probe.prop_map(Event::Sticky),
        1 => (10_i64..2000).prop_map(Event::Silence),
        1 => (10_i64..2000).prop_map(Event::Maintain),
        3 => Just(Event::Restart),
        2 => (0..NOTIFIERS.len(), answer).prop_map(|(at, answer)| Event::Answer(at, answer)),
    ]
}

/// Everything that the policy knows to do, at once.
fn busy_world() -> World {
    let mut world = World::new();
    world.notifier("mail", "smtp", |it| it.fallback = Some("pd".into()));
    world.notifier("pd", "pagerduty", |it| it.fallback = Some("sms".into()));
    let sms = &mut world.rules.notifiers[0];
    sms.fallback = Some("mail".into());
    sms.limit = Some(Limit { count: 2, per: Duration::from_secs(600) });
    sms.remind = vec![Duration::from_secs(300), Duration::from_secs(900)];
    world.person("alice", &["sms"]);
    world.ladder("page", &[(0, &["alice"]), (300, &["mail"]), (300, &["pd"])]);
    world.configure();
    for (at, name) in PROBES.iter().enumerate() {
        let notify = [&["page"][..], &["sms", "mail"], &["pd"], &["mail"], &["page", "pd"]][at];
        world.probe(name, |it| it.notify = notify.iter().map(ToString::to_string).collect());
    }
    for name in &PROBES[..4] {
        let failure = Failure { cause: Cause::Unreachable, address: Some("10.0.0.7".into()) };
        world.failures.insert(name.to_string(), failure);
    }
    world
}

/// The same with people who take turns, each of a few events.
fn world_of_turns() -> World {
    let mut world = busy_world();
    world.person("bob", &["mail"]);
    world.person("carol", &["pd"]);
    world.rotation("primary", &["alice", "bob", "carol"], 1);
    world.ladder("turns", &[(0, &["primary"]), (600, &["sms"])]);
    world.configure();
    world.probe("a", |it| it.notify = vec!["primary".into()]);
    world.probe("e", |it| it.notify = vec!["turns".into()]);
    world
}

fn happen(world: &mut World, events: &[Event], restarts: bool) {
    let mut number = 0;
    for event in events {
        number += 1;
        match event {
            Event::Result(probe, result) => world.outcome_now(PROBES[*probe], *result),
            Event::Pass(seconds) => world.pass(*seconds),
            Event::Acknowledge(at) => world.acknowledge(PROBES[*at], "alice"),
            Event::Sticky(at) => {
                let until = Some(world.now + SignedDuration::from_secs(600));
                let ack = Acknowledgement { by: "bob".into(), at: world.now, sticky: true, until };
                world.fact(&AlertFact::Acknowledged { probe: probe(PROBES[*at]), ack });
            }
            Event::Silence(seconds) => world.silence(&format!("s{number}"), "probe=~[ab]", *seconds),
            Event::Maintain(seconds) => world.maintain(&format!("m{number}"), &["probe=c"], *seconds),
            Event::Restart if restarts => world.restart(),
            Event::Restart => {}
            Event::Answer(at, Answer::Hear) => {
                world.hear(NOTIFIERS[*at]);
                world.answer(NOTIFIERS[*at], DeliveryState::Sent { receipt: None, attempts: 2 });
            }
            Event::Answer(at, Answer::Ignore) => world.deaf(NOTIFIERS[*at]),
            Event::Answer(at, Answer::Refuse) => {
                world.answer(NOTIFIERS[*at], DeliveryState::Failed { attempts: 1, error: "403".into() });
            }
            Event::Answer(at, Answer::Retry) => {
                let state =
                    DeliveryState::Retrying { attempt: 1, next: world.now, error: "timeout".into(), refused: false };
                world.answer(NOTIFIERS[*at], state);
            }
        }
    }
}

fn decided(world: &World) -> Vec<(String, String, String)> {
    world.all.iter().map(|it| (it.id.clone(), it.at.to_string(), it.message.alerts.len().to_string())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn restarts_at_any_point_change_nothing_of_what_is_sent(events in vec(event(), 1..90)) {
        for make in [busy_world, world_of_turns] {
            let (mut through, mut restarted) = (make(), make());
            happen(&mut through, &events, false);
            happen(&mut restarted, &events, true);
            through.pass(7200);
            restarted.pass(7200);
            prop_assert_eq!(decided(&through), decided(&restarted));
            prop_assert_eq!(&through.superseded, &restarted.superseded);
        }
    }

    #[test]
    fn each_notifier_hears_once_that_it_began_and_once_that_it_is_over(events in vec(event(), 1..90)) {
        let mut world = busy_world();
        world.rules.notifiers.iter_mut().for_each(|it| it.remind = Vec::new());
        world.configure();
        happen(&mut world, &events, true);
        let mut told: BTreeMap<(String, String), (u32, u32)> = BTreeMap::new();
        for delivery in &world.all {
            for line in &delivery.message.alerts {
                // Parts are told with the cause that they share.
                let is_part = delivery.message.alerts.first().is_some_and(|it| it.key.contains("/common-")) && !line.key.contains("/common-");
                let is_news = matches!(delivery.action, Action::Trigger | Action::Resolve | Action::Digest);
                if is_part || !is_news || delivery.message.alerts.iter().any(|it| it.key.contains("/common-")) {
                    continue;
                }
                let counts = told.entry((delivery.notifier.clone(), line.key.clone())).or_default();
                if line.ended.is_some() {
                    counts.1 += 1;
                } else {
                    prop_assert_eq!(counts.1, 0, "{} began after its end", line.key);
                    counts.0 += 1;
                }
            }
        }
        for ((notifier, key), (began, ended)) in told {
            prop_assert!(began <= 1 && ended <= 1, "{notifier} heard {began} times that {key} began and {ended} times of its end");
        }
    }

    #[test]
    fn when_all_is_well_and_delivered_nothing_is_left(events in vec(event(), 1..60)) {
        let mut world = busy_world();
        happen(&mut world, &events, true);
        for name in NOTIFIERS {
            world.hear(name);
        }
        for _ in 0..4 {
            for name in PROBES {
                world.outcome_now(name, ProbeResult::Ok);
            }
            world.pass(30);
        }
        for _ in 0..8 {
            for name in NOTIFIERS {
                world.answer(name, DeliveryState::Sent { receipt: None, attempts: 3 });
            }
            // What was flapping is believed to be steady only after a while of good results.
            for name in PROBES {
                world.outcome_now(name, ProbeResult::Ok);
            }
            world.pass(1200);
        }
        let left: Vec<_> = world.board.alerts().collect();
        prop_assert!(left.is_empty(), "{left:?}");
        prop_assert_eq!(world.board.unsent(), 0);
        // Whoever was told that something began was told its end, or never got the beginning.
        let mut open: BTreeSet<(String, String)> = BTreeSet::new();
        for delivery in &world.all {
            for line in delivery.message.alerts.iter().take(1) {
                let it = (delivery.notifier.clone(), line.key.clone());
                match delivery.action {
                    Action::Trigger => { open.insert(it); }
                    Action::Resolve => { open.remove(&it); }
                    Action::Digest => { open.retain(|(notifier, _)| *notifier != delivery.notifier); }
                    _ => {}
                }
            }
            for line in delivery.message.alerts.iter().filter(|it| it.ended.is_some()) {
                open.remove(&(delivery.notifier.clone(), line.key.clone()));
            }
        }
        prop_assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn no_storm_sends_more_than_three_messages_a_minute(
        falls in vec((0_usize..40, 0_i64..90), 1..120),
        wait in 1_u64..20,
    ) {
        let mut world = World::new();
        world.rules.notifiers[0].wait = Duration::from_secs(wait);
        world.configure();
        let names: Vec<String> = (0..40).map(|at| format!("p{at}")).collect();
        for name in &names {
            world.probe(name, |_| {});
        }
        let mut falls = falls;
        falls.sort_by_key(|it| it.1);
        let begin = world.now;
        for (probe, second) in falls {
            let ahead = begin + SignedDuration::from_secs(second);
            world.pass(ahead.duration_since(world.now).as_secs().max(0));
            world.outcome_now(&names[probe], ProbeResult::Fail);
        }
        world.pass(300);
        let times: Vec<i64> = world.all.iter().map(|it| it.at.as_second()).collect();
        for from in &times {
            let within = times.iter().filter(|it| (*from..from + 60).contains(*it)).count();
            prop_assert!(within <= 3, "{times:?}");
        }
        let down = world.board.alerts().filter(|it| it.ended.is_none()).count();
        let named: BTreeSet<&String> = world.all.iter().flat_map(|it| &it.message.alerts).map(|it| &it.key).collect();
        prop_assert_eq!(named.len(), down, "all are named");
    }
}
