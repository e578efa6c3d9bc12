//! A wall clock that is put back holds nothing up.

use jiff::SignedDuration;

use crate::domain::alert::AlertFact;
use crate::domain::alert::policy::tests::world::{World, probe};
use crate::domain::probe::outcome::ProbeResult;

fn put_back(world: &mut World, hours: i64) {
    world.outcome_now("api", ProbeResult::Fail);
    world.now -= SignedDuration::from_hours(hours);
    world.outcome_now("api", ProbeResult::Fail);
}

/// A probe whose ladder has told its first step; the second comes after a quarter of an hour.
fn paged_by_ladder() -> World {
    let mut world = World::new();
    world.notifier("bob", "ntfy", |_| {});
    world.ladder("page", &[(0, &["sms"]), (900, &["bob"])]);
    world.configure();
    world.probe("api", |it| it.notify = vec!["page".into()]);
    world.fail("api", 2);
    world.pass(60);
    world
}

#[test]
fn a_ladder_and_reminders_go_on_when_the_clock_is_put_back_also_over_a_restart() {
    for restarts in [false, true] {
        let mut world = paged_by_ladder();
        assert_eq!(world.sent(), ["trigger sms h/api/1"]);
        if restarts {
            world.now -= SignedDuration::from_hours(24);
            world.restart();
        }
        put_back(&mut world, 24);
        world.pass(800);
        assert_eq!(world.sent(), [] as [String; 0]);
        world.pass(120);
        assert_eq!(world.sent(), ["trigger bob h/api/1"], "restarts: {restarts}");
        world.fine("api", 2);
        world.pass(60);
        assert_eq!(world.sent(), ["resolve bob h/api/1", "resolve sms h/api/1"]);
    }
}

#[test]
fn how_long_it_lasted_is_the_time_that_passed_not_what_the_clock_says() {
    let mut world = World::new();
    world.probe("api", |_| {});
    world.fail("api", 2);
    world.pass(600);
    put_back(&mut world, 24);
    world.pass(290);
    world.fine("api", 2);
    world.pass(60);
    assert_eq!(world.last_message().title, "api recovered after 15m00s");
    assert!(world.trail("api").contains("clock: the clock was put back by 24h"), "{}", world.trail("api"));
}

#[test]
fn a_silence_lasts_as_long_as_was_said_and_a_later_mark_counts() {
    let mut world = World::new();
    world.probe("api", |_| {});
    world.silence("s1", "probe=api", 600);
    world.fail("api", 2);
    world.pass(300);
    put_back(&mut world, 24);
    world.pass(200);
    assert_eq!(world.sent(), [] as [String; 0]);
    world.pass(160);
    assert_eq!(world.sent(), ["trigger sms h/api/1"]);
    put_back(&mut world, 24);
    world.acknowledge("api", "alice");
    let acked = world.board.open(&probe("api")).next().and_then(|it| it.acked.clone());
    assert_eq!(acked.map(|it| it.by).as_deref(), Some("alice"));
}

#[test]
fn an_acknowledgement_that_is_taken_back_lets_reminders_and_ladders_go_on() {
    let mut world = paged_by_ladder();
    world.acknowledge("api", "alice");
    world.pass(3600);
    assert_eq!(world.sent(), ["trigger sms h/api/1"]);
    let back = AlertFact::Unacknowledged { probe: probe("api"), by: "carol".into(), at: world.now };
    world.fact(&back);
    // The mark on the probe, which the policy sees again with each result, counts no more.
    world.outcome("api", ProbeResult::Fail);
    world.restart();
    world.pass(60);
    let sent = world.sent();
    assert!(sent.contains(&"trigger bob h/api/1".to_string()), "{sent:?}");
    assert!(world.trail("api").contains("carol took back the acknowledgement of alice"), "{}", world.trail("api"));
    world.pass(5);
    world.acknowledge("api", "carol");
    let acked = world.board.open(&probe("api")).next().and_then(|it| it.acked.clone());
    assert_eq!(acked.map(|it| it.by).as_deref(), Some("carol"), "another one counts");
    world.fact(&back);
    world.fact(&back);
    assert!(world.board.open(&probe("api")).all(|it| it.acked.is_none()), "twice is no mistake");
}

#[test]
fn one_that_comes_and_goes_and_stops_is_told_so() {
    let mut world = World::new();
    world.probe("api", |_| {});
    for _ in 0..8 {
        world.fail("api", 2);
        world.fine("api", 2);
    }
    world.pass(60);
    assert!(world.sent().iter().any(|it| it.starts_with("trigger")));
    for _ in 0..800 {
        world.outcome("api", ProbeResult::Ok);
    }
    world.pass(60);
    let titles: Vec<&str> = world.all.iter().map(|it| it.message.title.as_str()).collect();
    let last = titles.last().copied().unwrap_or_default();
    assert!(last.contains("api no longer flapping after"), "{titles:?}");
}
