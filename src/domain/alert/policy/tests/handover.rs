//! A turn that ends while alerts are open.

use jiff::SignedDuration;

use crate::domain::alert::Acknowledgement;
use crate::domain::alert::AlertFact;
use crate::domain::alert::explain::ExplainRequest;
use crate::domain::alert::policy::tests::world::{World, probe};
use crate::domain::alert::rota::Override;

/// Alice is on call until 09:00, bob for a day after that; it is 22:13:20.
fn world(remind_s: Option<u64>) -> World {
    let mut world = World::new();
    for name in ["alice-sms", "bob-sms", "chat"] {
        let remind = remind_s.map(std::time::Duration::from_secs).into_iter().collect();
        world.notifier(name, "slack", |it| it.remind = remind);
    }
    world.person("alice", &["alice-sms", "chat"]);
    world.person("bob", &["bob-sms", "chat"]);
    world.rotation("primary", &["alice", "bob"], 24);
    world.configure();
    world.probe("api", |it| it.notify = vec!["primary".into()]);
    world
}

/// Seconds from 22:13:25, when a probe that failed twice is down, to a quarter past nine.
const TO_NINE: i64 = 10 * 3600 + 46 * 60 + 35 + 15 * 60;

#[test]
fn whoever_comes_on_call_is_paged_once_for_what_is_open_and_whoever_goes_hears_the_end() {
    let mut world = world(None);
    world.fail("api", 2);
    world.pass(60);
    assert_eq!(world.sent(), ["trigger alice-sms h/api/1", "trigger chat h/api/1"]);
    world.pass(TO_NINE - 60);
    assert_eq!(world.sent(), ["trigger bob-sms h/api/1"], "the channel of both knows of it already");
    assert_eq!(world.all.last().expect("a page").because, "`bob` came on call in `primary` while it was open");
    let handover = "page: handover in `primary`: `bob` is on call now, no longer `alice`\n";
    assert!(world.trail("api").contains(handover), "{}", world.trail("api"));
    world.restart();
    world.pass(3600);
    assert_eq!(world.sent(), [] as [String; 0]);
    world.fine("api", 2);
    world.pass(60);
    assert_eq!(world.sent(), ["resolve alice-sms h/api/1", "resolve bob-sms h/api/1", "resolve chat h/api/1"]);
}

#[test]
fn reminders_go_to_whoever_is_on_call() {
    let mut world = world(Some(3600));
    world.fail("api", 2);
    world.pass(TO_NINE);
    world.sent();
    world.pass(3600);
    assert_eq!(world.sent(), ["remind bob-sms h/api/1", "remind chat h/api/1"]);
    let explanation = world.board.explain(world.now, &world.probes, &ExplainRequest { probe: probe("api"), at: None });
    let next: Vec<&str> = explanation.steps.iter().filter(|it| it.kind == "next").map(|it| it.text.as_str()).collect();
    assert_eq!(next.len(), 2, "{next:?}");
    assert!(next.iter().all(|it| !it.contains("alice-sms")), "nobody is promised to whoever was relieved: {next:?}");
}

#[test]
fn whoever_comes_back_on_call_is_reminded_at_once() {
    let mut world = world(None);
    world.fail("api", 2);
    world.pass(60);
    world.sent();
    let from = world.now;
    let until = from + SignedDuration::from_hours(2);
    world.rules.rotations[0].overrides.push(Override { person: "bob".into(), from, until });
    world.configure();
    world.pass(60);
    assert_eq!(world.sent(), ["trigger bob-sms h/api/1"], "an override is a handover as well");
    world.pass(2 * 3600);
    assert_eq!(world.sent(), ["remind alice-sms h/api/1"]);
}

#[test]
fn a_page_that_did_not_go_before_the_handover_goes_to_the_new_person_only() {
    let mut world = world(None);
    for rule in &mut world.rules.notifiers {
        rule.wait = std::time::Duration::from_secs(60);
    }
    world.configure();
    world.pass(10 * 3600 + 46 * 60);
    world.fail("api", 2);
    world.pass(300);
    assert_eq!(world.sent(), ["trigger chat h/api/1", "trigger bob-sms h/api/1"]);
}

#[test]
fn what_somebody_has_acknowledged_is_handed_over_when_that_ends() {
    let mut world = world(None);
    world.fail("api", 2);
    world.pass(60);
    world.sent();
    let until = Some(world.now + SignedDuration::from_hours(12));
    let ack = Acknowledgement { by: "alice".into(), at: world.now, sticky: true, until };
    world.fact(&AlertFact::Acknowledged { probe: probe("api"), ack });
    world.pass(TO_NINE);
    let pages = |world: &mut World| world.sent().into_iter().filter(|it| it.starts_with("trigger")).collect::<Vec<_>>();
    assert_eq!(pages(&mut world), [] as [String; 0], "alice is at work on it");
    world.pass(3 * 3600);
    assert_eq!(pages(&mut world), ["trigger bob-sms h/api/1"]);
}

#[test]
fn a_rotation_in_a_ladder_is_followed_from_the_step_that_named_it() {
    let mut world = world(None);
    world.ladder("page", &[(0, &["chat"]), (900, &["primary"])]);
    world.configure();
    world.probe("web", |it| it.notify = vec!["page".into()]);
    world.fail("web", 2);
    world.pass(TO_NINE);
    assert_eq!(
        world.sent(),
        ["trigger chat h/web/1", "trigger alice-sms h/web/1", "trigger bob-sms h/web/1"],
        "{}",
        world.trail("web")
    );
}

#[test]
fn a_new_person_who_cannot_be_reached_relieves_nobody() {
    let mut world = world(Some(3600));
    world.rules.people[1].notify.clear();
    world.configure();
    world.fail("api", 2);
    world.pass(TO_NINE);
    world.sent();
    world.pass(3600);
    assert!(world.sent().contains(&"remind alice-sms h/api/1".to_string()));
    assert!(world.trail("api").contains("rule: `primary` leads to nobody"), "{}", world.trail("api"));
}
