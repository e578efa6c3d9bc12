//! A monitor that is cut off tells that, and nothing else.

use crate::domain::alert::Severity;
use crate::domain::alert::explain::ExplainRequest;
use crate::domain::alert::policy::tests::world::{World, probe};
use crate::domain::probe::outcome::ProbeResult::{Fail, Ok};

fn world() -> World {
    let mut world = World::new();
    for name in ["can1", "can2"] {
        world.probe(name, |it| it.canary = true);
        world.fine(name, 1);
    }
    world.probe("far", |_| {});
    world.fine("far", 1);
    world
}

fn verdict(world: &World, name: &str) -> String {
    let request = ExplainRequest { probe: probe(name), at: None };
    world.board.explain(world.now, &world.probes, &request).verdict
}

#[test]
fn one_canary_tells_that_the_monitor_is_cut_off_and_that_it_no_longer_is() {
    let mut world = world();
    for name in ["can2", "can1", "can2", "can1"] {
        world.outcome(name, Fail);
    }
    world.pass(60);
    assert_eq!(world.sent(), ["trigger sms h/can1/1"]);
    let message = world.last_message();
    let said = "monitor h CUT OFF since 22:13:40: every canary fails (refused: nothing listens there)";
    assert_eq!((message.title.as_str(), message.severity), (said, Severity::Critical));
    assert_eq!(message.alerts[0].concern, "cut-off");
    assert!(verdict(&world, "can1").starts_with("paged"), "{}", verdict(&world, "can1"));
    assert_eq!(verdict(&world, "can2"), "not paged: every canary fails: this host is cut off, which `can1` tells");
    for name in ["can1", "can2", "can1", "can2"] {
        world.outcome(name, Ok);
    }
    world.pass(60);
    assert_eq!(world.sent(), ["resolve sms h/can1/1"]);
    assert_eq!(world.last_message().title, "monitor h no longer cut off after 1m20s");
}

#[test]
fn a_canary_that_was_down_before_the_monitor_was_cut_off_does_not_recover_by_that() {
    let mut world = world();
    for _ in 0..2 {
        world.outcome("can1", Fail);
        world.outcome("can2", Ok);
    }
    world.pass(60);
    assert_eq!(world.sent(), ["trigger sms h/can1/1"]);
    for name in ["can1", "can2", "can1", "can2", "can1"] {
        world.outcome(name, Fail);
    }
    world.pass(60);
    assert_eq!(world.sent(), ["trigger sms h/can1/2"]);
    assert!(world.last_message().title.starts_with("monitor h CUT OFF"), "{}", world.last_message().title);
    // It is down as before when the network is there again.
    for _ in 0..20 {
        world.outcome("can2", Ok);
        world.outcome("can1", Fail);
    }
    assert_eq!(world.sent(), ["resolve sms h/can1/2"]);
    for _ in 0..2 {
        world.outcome("can1", Ok);
    }
    world.pass(60);
    assert_eq!(world.sent(), ["resolve sms h/can1/1"]);
    assert!(world.last_message().title.starts_with("can1 recovered after"), "{}", world.last_message().title);
}

#[test]
fn a_message_of_several_counts_the_cut_off_apart_from_the_probes() {
    let mut world = world();
    world.probe("near", |it| it.near = Some(true));
    world.fine("near", 1);
    for name in ["can1", "can2", "near"] {
        world.outcome_now(name, Fail);
    }
    world.pass(5);
    for name in ["can2", "can1", "near"] {
        world.outcome_now(name, Fail);
    }
    world.pass(60);
    let title = world.last_message().title;
    assert!(title.starts_with("monitor CUT OFF, 1 probe DOWN: "), "{title}");
    for _ in 0..2 {
        world.pass(5);
        for name in ["can2", "can1", "near"] {
            world.outcome_now(name, Ok);
        }
    }
    world.pass(60);
    let title = world.last_message().title;
    assert!(title.starts_with("monitor no longer cut off, 1 recovered: "), "{title}");
}
