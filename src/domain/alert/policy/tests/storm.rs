//! Many things at once.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::alert::delivery::{Action, Delivery};
use crate::domain::alert::explain::ExplainRequest;
use crate::domain::alert::policy::alert::Naming;
use crate::domain::alert::policy::tests::world::{Failure, World, probe};
use crate::domain::alert::rules::Limit;
use crate::domain::probe::health::{Health, Thresholds};
use crate::domain::probe::outcome::{Cause, Phase, ProbeResult};
use crate::domain::probe::{ProbeFact, ProbeSetup, Slo};

fn name(at: usize) -> String {
    format!("p{at:03}")
}

/// So many probes that fail for the second time within 5 s.
fn storm(world: &mut World, count: usize) {
    for at in 0..count {
        world.probe(&name(at), |it| it.group = Some(if at % 3 == 0 { "db" } else { "edge" }.into()));
        world.outcome_now(&name(at), ProbeResult::Fail);
    }
    world.pass(5);
    for at in 0..count {
        if at % (count / 5) == 0 {
            world.pass(1);
        }
        world.outcome_now(&name(at), ProbeResult::Fail);
    }
}

/// Letters that have nothing in common with those of another.
fn odd_name(at: usize) -> String {
    let mut seed = at as u64 + 1;
    let mut letter = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((seed >> 33) % 26).expect("a letter"))
    };
    (0..16).map(|_| letter()).collect()
}

/// Probes of these names that fail for the second time in 5 s, 5 s ago.
fn fall(world: &mut World, names: &[String]) {
    names.iter().for_each(|it| world.probe(it, |_| {}));
    for _ in 0..2 {
        names.iter().for_each(|it| world.outcome_now(it, ProbeResult::Fail));
        world.pass(5);
    }
}

/// Names as long as a label of DNS may be, which share nothing.
fn long_names() -> Vec<String> {
    let long = |at: usize| (0..4).map(|part| odd_name(at * 4 + part)).collect::<String>();
    (0..200).map(|at| long(at)[..63].to_string()).collect()
}

/// What stands in a message as a phone shows it.
fn shown(delivery: &Delivery) -> &str {
    delivery.message.brief.as_deref().unwrap_or(&delivery.message.text)
}

#[test]
fn two_hundred_names_as_long_as_dns_has_them_are_all_said_and_when_is_told() {
    let mut world = World::new();
    world.rules.notifiers[0].segments = Some(10);
    world.configure();
    let names = long_names();
    fall(&mut world, &names);
    world.pass(60);
    let unnamed = names.iter().find(|it| !shown(&world.all[0]).contains(*it)).expect("one of them").clone();
    let first_at = world.all[0].at;
    world.pass(500);
    let times: Vec<i64> = world.all.iter().map(|it| it.at.duration_since(first_at).as_secs()).collect();
    assert_eq!(times, (0..10).map(|it| it * 60).collect::<Vec<_>>());
    let told: String = world.all.iter().map(shown).collect();
    let missing: Vec<&String> = names.iter().filter(|it| !told.contains(*it)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let with_it = world.all.iter().find(|it| shown(it).contains(&unnamed)).expect("its message").at;
    let contact = &world.board.alert(&format!("h/{unnamed}/1")).expect("open").contacts["sms"];
    assert_eq!(contact.naming, Some(Naming::At(with_it)));
    let request = ExplainRequest { probe: probe(&unnamed), at: None };
    let verdict = world.board.explain(world.now, &world.probes, &request).verdict;
    assert!(verdict.starts_with(&format!("paged at {first_at}, delivered, named at {with_it}: trigger")), "{verdict}");
}

#[test]
fn what_the_last_message_cuts_is_not_said_to_be_named() {
    let mut world = World::new();
    // One name in each message.
    world.rules.notifiers[0].segments = Some(1);
    world.configure();
    let names: Vec<String> = long_names().into_iter().take(40).collect();
    fall(&mut world, &names);
    world.pass(560);
    let told: String = world.all.iter().map(shown).collect();
    assert!(shown(world.all.last().expect("a message")).ends_with("more: hotseat alerts"), "{told}");
    let (named, cut): (Vec<&String>, Vec<&String>) = names.iter().partition(|it| told.contains(*it));
    assert!(named.len() >= 9 && cut.len() > 9, "{} named", named.len());
    for it in cut {
        let trail = world.trail(it);
        assert!(!trail.contains("page: named to"), "{trail}");
        assert!(trail.contains("not named to `sms`: the last message has no room for it either"), "{trail}");
        assert_eq!(world.board.alert(&format!("h/{it}/1")).expect("open").contacts["sms"].naming, Some(Naming::Cut));
    }
    for it in named {
        assert!(!world.trail(it).contains("not named to"), "{}", world.trail(it));
    }
}

#[test]
fn a_name_that_was_to_follow_and_is_silenced_first_says_so() {
    let mut world = World::new();
    world.rules.notifiers[0].segments = Some(10);
    world.configure();
    let names = long_names();
    fall(&mut world, &names);
    world.pass(30);
    let unnamed = names.iter().find(|it| !shown(&world.all[0]).contains(*it)).expect("one of them").clone();
    world.silence("s1", &format!("probe={unnamed}"), 3600);
    world.pass(560);
    assert!(!world.all.iter().any(|it| shown(it).contains(&unnamed)));
    let trail = world.trail(&unnamed);
    assert!(trail.contains("not named to `sms`: held back before its turn: silenced by `s1`"), "{trail}");
    let request = ExplainRequest { probe: probe(&unnamed), at: None };
    let verdict = world.board.explain(world.now, &world.probes, &request).verdict;
    assert!(verdict.contains("delivered, not named: trigger"), "{verdict}");
}

#[test]
fn names_that_follow_leave_the_last_message_of_a_limit_for_a_page() {
    let mut world = World::new();
    world.rules.notifiers[0].segments = Some(10);
    world.rules.notifiers[0].limit = Some(Limit { count: 2, per: Duration::from_secs(600) });
    world.configure();
    fall(&mut world, &long_names());
    world.pass(120);
    assert_eq!(world.all.len(), 1, "the names wait");
    world.probe("late", |_| {});
    world.fail("late", 2);
    world.pass(15);
    assert!(world.last_message().title.starts_with("late DOWN"), "{}", world.last_message().title);
}

/// Names in the short form of a message.
fn in_brief(delivery: &Delivery) -> BTreeSet<String> {
    let brief = delivery.message.brief.as_deref().unwrap_or(&delivery.message.text);
    brief.split(|it: char| !it.is_ascii_lowercase()).filter(|it| it.len() == 16).map(str::to_string).collect()
}

#[test]
fn names_for_which_an_sms_has_no_room_are_said_in_the_next_ones_a_minute_apart() {
    let mut world = World::new();
    world.rules.notifiers[0].segments = Some(10);
    // The last of the three is left for a page.
    world.rules.notifiers[0].limit = Some(Limit { count: 3, per: Duration::from_secs(600) });
    world.configure();
    fall(&mut world, &(0..200).map(odd_name).collect::<Vec<_>>());
    world.pass(54);
    assert_eq!(world.all.len(), 1, "one in the first minute");
    let first = world.all[0].clone();
    let brief = first.message.brief.clone().expect("a short form");
    let named = in_brief(&first);
    assert!(brief.starts_with("200 probes DOWN\nfirst: "), "{brief}");
    let tail = format!(" and {} more: next SMS, or hotseat alerts", 200 - named.len());
    assert!(named.len() > 70 && brief.ends_with(&tail), "{brief}");
    // One that has recovered by then, and one that somebody has seen, need no name; a restart forgets none.
    let unnamed: Vec<String> = (0..200).map(odd_name).filter(|it| !named.contains(it)).collect();
    world.outcome_now(&unnamed[0], ProbeResult::Ok);
    world.outcome_now(&unnamed[0], ProbeResult::Ok);
    world.acknowledge(&unnamed[1], "alice");
    world.restart();
    world.pass(30);
    let second = world.all.iter().find(|it| it.id.contains(":names:")).cloned().expect("the second");
    assert!(second.message.title.starts_with("continued, 1"), "{}", second.message.title);
    assert!(!second.message.text.contains("new: "), "{}", second.message.text);
    let trail = world.trail(&unnamed[1]);
    assert!(trail.contains("not named to `sms`: alice had acknowledged it before its turn"), "{trail}");
    assert_eq!(second.key, first.key, "it goes behind the first");
    // The limit holds for it as for any other.
    world.pass(400);
    assert_eq!(world.all.iter().filter(|it| it.id.contains(":names:")).count(), 1);
    world.pass(600);
    let parts = world.all.iter().filter(|it| it.id.contains(":names:"));
    let told: BTreeSet<String> = parts.chain([&first]).flat_map(in_brief).collect();
    let wanted: BTreeSet<String> = (0..200).map(odd_name).filter(|it| !unnamed[..2].contains(it)).collect();
    assert_eq!(told, wanted);
    // What is over stands nowhere but in the past, and is no page: it is counted.
    for _ in 0..2 {
        (0..200).for_each(|at| world.outcome_now(&odd_name(at), ProbeResult::Ok));
    }
    world.pass(2000);
    let brief = world.last_message().brief.unwrap_or_default();
    assert!(brief.starts_with("199 recovered\n") && brief.ends_with(" more"), "{brief}");
}

#[test]
fn two_hundred_probes_that_fall_within_five_seconds_are_one_message_that_names_all() {
    let mut world = World::new();
    world.rules.notifiers[0].limit = Some(Limit { count: 5, per: Duration::from_secs(600) });
    world.configure();
    storm(&mut world, 200);
    world.pass(60);
    assert_eq!(world.all.len(), 1);
    let message = world.last_message();
    assert_eq!(world.all[0].action, Action::Digest);
    assert_eq!(message.title, "200 probes DOWN: edge (133), db (67)");
    let named: BTreeSet<&str> = message.alerts.iter().map(|it| it.subject.as_str()).collect();
    assert_eq!(named.len(), 200);
    assert!(message.text.contains("\nedge (133): p001, p002, p004, "), "{}", message.text);
    assert!((0..200).all(|at| message.text.contains(&name(at))), "{}", message.text);
    for at in 0..200 {
        world.outcome_now(&name(at), ProbeResult::Ok);
    }
    world.pass(5);
    for at in 0..200 {
        world.outcome_now(&name(at), ProbeResult::Ok);
    }
    world.pass(120);
    assert_eq!(world.all.len(), 2);
    assert_eq!(world.last_message().title, "200 recovered: edge (133), db (67)");
    assert_eq!(world.board.alerts().count(), 0);
}

#[test]
fn up_to_three_are_listed_in_words() {
    let mut world = World::new();
    for name in ["a", "b"] {
        world.probe(name, |_| {});
        world.outcome_now(name, ProbeResult::Fail);
    }
    world.pass(5);
    for name in ["a", "b"] {
        world.outcome_now(name, ProbeResult::Fail);
    }
    world.pass(10);
    assert_eq!(world.all.len(), 1);
    let title = world.last_message().title;
    assert!(title.starts_with("2 probes DOWN: a DOWN since 22:13:20: refused"), "{title}");
}

#[test]
fn what_the_limit_holds_back_comes_as_one_digest_and_nothing_is_lost() {
    let mut world = World::new();
    world.rules.notifiers[0].limit = Some(Limit { count: 1, per: Duration::from_secs(600) });
    world.configure();
    for at in 0..4 {
        world.probe(&name(at), |_| {});
        world.fail(&name(at), 2);
        world.pass(60);
    }
    // This one comes and goes while it is held back.
    world.fine(&name(3), 2);
    assert_eq!(world.sent(), ["trigger sms h/p000/1"]);
    world.pass(600);
    assert_eq!(world.sent(), ["digest sms h/p001/1"]);
    let message = world.last_message();
    let named: Vec<&str> = message.alerts.iter().map(|it| it.subject.as_str()).collect();
    assert_eq!(named, ["h/p001", "h/p002", "h/p003"]);
    assert!(message.text.contains("p003 was down for"), "{}", message.text);
    let told = world.told.split_off(world.told.len() - 2);
    assert_eq!(told, ["p001 paged by `sms` (with 1 more)", "p003 told that it is over: by `sms`"]);
    assert!(world.trail("p001").contains("in one message with 2 others"), "{}", world.trail("p001"));
}

#[test]
fn a_channel_that_groups_by_itself_gets_each_alert_by_its_key() {
    let mut world = World::new();
    world.notifier("pd", "pagerduty", |_| {});
    world.configure();
    for at in 0..5 {
        world.probe(&name(at), |it| it.notify = vec!["pd".into()]);
        world.outcome_now(&name(at), ProbeResult::Fail);
    }
    world.pass(5);
    for at in 0..5 {
        world.outcome_now(&name(at), ProbeResult::Fail);
    }
    world.pass(10);
    let expected: Vec<String> = (0..5).map(|at| format!("trigger pd h/p{at:03}/1")).collect();
    assert_eq!(world.sent(), expected);
}

fn resolver() -> Failure {
    Failure { cause: Cause::Timeout(Phase::Dns), address: Some("10.0.0.2".into()) }
}

#[test]
fn probes_that_fail_in_the_same_way_are_one_incident_that_names_the_cause() {
    let mut world = World::new();
    for at in 0..12 {
        world.failures.insert(name(at), resolver());
    }
    storm(&mut world, 12);
    world.pass(20);
    assert_eq!(world.sent(), ["trigger sms h/common-dns-resolver-10.0.0.2/1"]);
    let message = world.last_message();
    assert_eq!(message.title, "resolver 10.0.0.2 DOWN since 22:13:20: 12 probes fail in dns");
    assert!((0..12).all(|at| message.text.contains(&name(at))), "{}", message.text);
    assert_eq!(message.alerts.len(), 13);
    // One more joins later; it is told without a page of its own.
    world.failures.insert("late".into(), resolver());
    world.probe("late", |_| {});
    world.fail("late", 2);
    world.pass(120);
    assert_eq!(world.sent(), ["remind sms h/common-dns-resolver-10.0.0.2/1"]);
    assert!(world.last_message().text.contains("late"));
    for at in 0..12 {
        world.outcome_now(&name(at), ProbeResult::Ok);
    }
    world.pass(5);
    for at in 0..12 {
        world.outcome_now(&name(at), ProbeResult::Ok);
    }
    world.pass(60);
    assert_eq!(world.sent(), [] as [String; 0], "the cause lasts while one of them does");
    world.fine("late", 2);
    world.pass(60);
    assert_eq!(world.sent(), ["resolve sms h/common-dns-resolver-10.0.0.2/1"]);
    assert_eq!(world.board.alerts().count(), 0);
}

#[test]
fn a_network_is_named_when_it_explains_more_than_an_address() {
    let mut world = World::new();
    for at in 0..6 {
        let failure = Failure { cause: Cause::Unreachable, address: Some(format!("10.1.2.{}", 10 + at / 2)) };
        world.failures.insert(name(at), failure);
    }
    storm(&mut world, 6);
    world.pass(20);
    let titles: Vec<&str> = world.all.iter().map(|it| it.message.title.as_str()).collect();
    assert_eq!(titles, ["10.1.2.0/24 DOWN since 22:13:20: 6 probes fail in connect"]);
}

#[test]
fn what_is_wrong_with_answers_is_no_common_cause() {
    let mut world = World::new();
    for at in 0..5 {
        world.failures.insert(name(at), Failure { cause: Cause::Status, address: Some("10.0.0.9".into()) });
    }
    storm(&mut world, 5);
    world.pass(20);
    assert_eq!(world.sent(), ["digest sms h/p000/1"]);
}

#[test]
fn acknowledging_one_part_acknowledges_the_cause() {
    let mut world = World::new();
    world.rules.notifiers[0].remind = vec![Duration::from_secs(600)];
    world.configure();
    for at in 0..5 {
        world.failures.insert(name(at), resolver());
    }
    storm(&mut world, 5);
    world.pass(60);
    assert_eq!(world.sent().len(), 1);
    world.acknowledge(&name(2), "alice");
    world.pass(7200);
    assert_eq!(world.sent(), [] as [String; 0]);
}

#[test]
fn what_this_host_lacks_is_one_concern_told_once_however_many_checks_meet_it() {
    let mut world = World::new();
    // Whoever wants each probe told apart does not want our own trouble so.
    world.rules.apart = true;
    world.configure();
    let unknown = |world: &mut World, range: std::ops::Range<usize>| {
        for _ in 0..3 {
            world.pass(5);
            range.clone().for_each(|at| world.outcome_now(&name(at), ProbeResult::Unknown));
        }
    };
    for at in 0..60 {
        world.failures.insert(name(at), Failure { cause: Cause::Own, address: None });
        world.probe(&name(at), |_| {});
        world.outcome_now(&name(at), ProbeResult::Ok);
    }
    // The first is due long before the others: even one is told as what it is.
    unknown(&mut world, 0..1);
    world.pass(60);
    assert_eq!(world.sent(), ["trigger sms h/common-host-out-of-files/1"]);
    let first = world.last_message();
    assert_eq!(first.title, "host h cannot open more files since 22:13:25: 1 check could not run");
    assert_eq!(first.severity, crate::domain::alert::Severity::Warning);
    unknown(&mut world, 1..60);
    world.pass(7200);
    assert_eq!(world.sent(), [] as [String; 0], "that more checks meet it is no news");
    let health = |at| world.probes.get(&probe(&name(at))).map(|it| it.health());
    assert!((0..60).all(|at| health(at) == Some(Health::Unknown)));
    let trail = world.trail(&name(59));
    assert!(trail.contains("told as part of `this host cannot open more files`: 60 checks could not run"), "{trail}");
    for _ in 0..2 {
        world.pass(5);
        (0..60).for_each(|at| world.outcome_now(&name(at), ProbeResult::Ok));
    }
    world.pass(60);
    assert_eq!(world.sent(), ["resolve sms h/common-host-out-of-files/1"]);
    let title = world.last_message().title;
    assert!(
        title.starts_with("over after ") && title.ends_with(": host h cannot open more files: 60 checks could not run"),
        "{title}"
    );
    assert_eq!(world.board.alerts().count(), 0);
}

#[test]
fn a_check_that_is_broken_for_a_reason_of_its_own_is_told_on_its_own() {
    let mut world = World::new();
    for at in 0..2 {
        world.probe(&name(at), |_| {});
    }
    world.failures.insert(name(0), Failure { cause: Cause::Own, address: None });
    world.failures.insert(name(1), Failure { cause: Cause::Exit, address: None });
    for _ in 0..3 {
        world.pass(5);
        (0..2).for_each(|at| world.outcome_now(&name(at), ProbeResult::Unknown));
    }
    world.pass(60);
    let message = world.last_message();
    assert!(message.text.contains("host h cannot open more files"), "{}", message.text);
    assert!(message.text.contains("p001 not checked (the probe is broken)"), "{}", message.text);
    // A service that fails while our own trouble lasts is told as ever.
    world.failures.insert(name(0), Failure { cause: Cause::Refused, address: None });
    world.outcome(&name(0), ProbeResult::Fail);
    world.outcome(&name(0), ProbeResult::Fail);
    world.pass(60);
    assert!(world.last_message().text.contains("p000 DOWN"), "{}", world.last_message().text);
}

#[test]
fn what_was_degraded_until_it_went_down_has_not_recovered() {
    let mut world = World::new();
    world.probe("a", |_| {});
    world.degrade("a", 3);
    world.pass(60);
    assert_eq!(world.sent(), ["trigger sms h/a/1"]);
    world.fail("a", 2);
    world.pass(20);
    let message = world.last_message();
    assert!(
        message.title.contains("a no longer degraded after 1m") && message.title.contains("a DOWN"),
        "{}",
        message.title
    );
    assert!(!message.text.contains("recovered"), "{}", message.text);
    world.fine("a", 2);
    world.pass(60);
    assert!(world.last_message().title.contains("a recovered after"), "{}", world.last_message().title);
}

#[test]
fn a_budget_that_burns_no_more_did_so_until_its_window_has_passed() {
    let mut world = World::new();
    let thresholds = Thresholds { fail: "5/5".parse().expect("a window"), ..Thresholds::default() };
    world.probe("a", |it| it.slo = Some(Slo { share: 0.999, over: Duration::from_secs(30 * 86_400) }));
    let setup = world.probes.get(&probe("a")).expect("a probe").setup.clone();
    world.probe_fact(&ProbeFact::Configured { probe: probe("a"), setup: ProbeSetup { thresholds, ..setup } });
    let minutes = |world: &mut World, count: usize, bad: &dyn Fn(usize) -> bool| {
        for at in 0..count {
            world.pass(60);
            world.outcome_now("a", if bad(at) { ProbeResult::Fail } else { ProbeResult::Ok });
        }
    };
    minutes(&mut world, 60, &|_| false);
    minutes(&mut world, 30, &|it| it % 3 == 0);
    assert_eq!(world.sent(), ["trigger sms h/a/1"], "{}", world.trail("a"));
    minutes(&mut world, 60, &|_| false);
    let title = world.last_message().title;
    let lasted = world.all.last().map(|it| it.at.duration_since(it.message.alerts[0].since).as_mins());
    assert!(lasted >= Some(25), "{title}");
    assert!(title.starts_with("a no longer burning its error budget after ") && !title.contains("0ms"), "{title}");
}
