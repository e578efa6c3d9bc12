//! What depends on something that is down.

use crate::domain::alert::policy::tests::world::World;
use crate::domain::probe::outcome::ProbeResult;

/// A database and an API that depends on it; both fail at the same time.
fn both_down() -> World {
    let mut world = World::new();
    world.probe("db", |_| {});
    world.probe("api", |it| it.after = vec!["db".into()]);
    for name in ["db", "api"] {
        world.outcome_now(name, ProbeResult::Ok);
    }
    for _ in 0..3 {
        world.pass(5);
        // The one that depends is seen first.
        world.outcome_now("api", ProbeResult::Fail);
        world.outcome_now("db", ProbeResult::Fail);
    }
    world.pass(60);
    world
}

#[test]
fn only_what_it_depends_on_is_told() {
    let mut world = both_down();
    assert_eq!(world.sent(), ["trigger sms h/db/1"]);
    assert!(world.trail("api").contains("`db`, which it depends on"), "{}", world.trail("api"));
    world.pass(3600);
    assert_eq!(world.sent(), [] as [String; 0]);
}

#[test]
fn what_follows_its_parent_back_up_is_never_told() {
    let mut world = both_down();
    world.fine("db", 2);
    world.fine("api", 2);
    world.pass(600);
    assert_eq!(world.sent(), ["trigger sms h/db/1", "resolve sms h/db/1"]);
}

#[test]
fn what_stays_down_when_its_parent_is_well_is_told() {
    let mut world = both_down();
    world.fine("db", 2);
    world.fail("api", 2);
    world.pass(60);
    let sent = world.sent();
    assert_eq!(sent[0], "trigger sms h/db/1");
    let told = world.all.iter().any(|it| it.message.alerts.iter().any(|it| it.key == "h/api/1" && it.ended.is_none()));
    assert!(told, "{sent:?}\n{}", world.trail("api"));
}

#[test]
fn a_restart_while_it_is_held_back_keeps_it_held_back() {
    let mut world = both_down();
    world.restart();
    world.pass(3600);
    assert_eq!(world.sent(), ["trigger sms h/db/1"]);
    world.fine("db", 2);
    world.restart();
    world.fine("api", 2);
    world.pass(600);
    assert_eq!(world.sent(), ["resolve sms h/db/1"]);
}
