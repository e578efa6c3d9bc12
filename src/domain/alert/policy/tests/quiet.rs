//! What is held back, and what never is.

use std::time::Duration;

use crate::domain::alert::delivery::DeliveryState;
use crate::domain::alert::policy::tests::world::{World, probe};
use crate::domain::alert::quiet::{Maintenance, MaintenanceWindow};
use crate::domain::alert::{Acknowledgement, AlertFact};

#[test]
fn a_maintenance_withholds_triggers_and_never_recoveries() {
    let mut world = World::new();
    world.probe("before", |_| {});
    world.probe("during", |_| {});
    world.probe("short", |_| {});
    world.fail("before", 2);
    world.pass(60);
    assert_eq!(world.sent(), ["trigger sms h/before/1"]);
    world.maintain("work", &[], 3600);
    world.fail("during", 2);
    world.fail("short", 2);
    world.pass(300);
    world.fine("before", 2);
    world.fine("short", 2);
    world.pass(60);
    assert_eq!(world.sent(), ["resolve sms h/before/1"], "a recovery of what was told before is told");
    world.pass(3600);
    assert_eq!(world.sent(), ["trigger sms h/during/1"], "what is down at the end is told then, and nothing else");
}

#[test]
fn a_recurring_maintenance_of_a_group_holds_only_its_group_back() {
    let mut world = World::new();
    // 22:13 UTC on a Tuesday.
    let window = MaintenanceWindow::Recurring { cron: "0 22 * * TUE".into(), length_s: 1800, zone: "UTC".into() };
    let matchers = vec!["group=edge".parse().expect("a matcher")];
    world.rules.maintenances.push(Maintenance { name: "tuesdays".into(), matchers, window, by: "config".into() });
    world.configure();
    world.probe("edge", |it| it.group = Some("edge".into()));
    world.probe("core", |it| it.group = Some("core".into()));
    world.fail("edge", 2);
    world.fail("core", 2);
    world.pass(60);
    assert_eq!(world.sent(), ["trigger sms h/core/1"]);
    world.pass(1800);
    assert_eq!(world.sent(), ["trigger sms h/edge/1"]);
}

#[test]
fn a_silence_that_begins_while_a_page_waits_holds_it_back_and_its_end_lets_it_go() {
    let mut world = World::new();
    world.probe("api", |_| {});
    world.fail("api", 2);
    world.silence("s", "probe=~a.*", 600);
    world.pass(300);
    assert_eq!(world.sent(), [] as [String; 0]);
    world.fact(&AlertFact::Unsilenced { id: "s".into(), by: "bob".into(), at: world.now });
    world.pass(10);
    assert_eq!(world.sent(), ["trigger sms h/api/1"]);
}

#[test]
fn a_silence_stops_reminders_and_ladders_and_not_the_end() {
    let mut world = World::new();
    world.notifier("chat", "slack", |_| {});
    world.rules.notifiers[0].remind = vec![Duration::from_secs(600)];
    world.ladder("page", &[(0, &["sms"]), (900, &["chat"])]);
    world.configure();
    world.probe("api", |it| it.notify = vec!["page".into()]);
    world.fail("api", 2);
    world.pass(60);
    world.silence("s", "probe=api", 7200);
    world.pass(7000);
    world.fine("api", 2);
    world.pass(60);
    assert_eq!(world.sent(), ["trigger sms h/api/1", "resolve sms h/api/1"]);
}

#[test]
fn a_normal_acknowledgement_ends_with_the_state_and_a_sticky_one_when_it_is_fine() {
    for sticky in [false, true] {
        let mut world = World::new();
        world.probe("api", |_| {});
        world.fail("api", 2);
        world.pass(60);
        let ack = Acknowledgement { by: "alice".into(), at: world.now, sticky, until: None };
        world.fact(&AlertFact::Acknowledged { probe: probe("api"), ack });
        world.degrade("api", 4);
        world.pass(60);
        let told =
            |world: &World, key: &str| world.all.iter().any(|it| it.message.alerts.iter().any(|it| it.key == key));
        assert_eq!(told(&world, "h/api/2"), !sticky, "it is degraded now");
        world.fine("api", 3);
        world.fail("api", 2);
        world.pass(60);
        assert!(told(&world, "h/api/3"), "it was fine in between");
    }
}

#[test]
fn an_acknowledgement_with_an_end_lets_reminders_go_on_after_it() {
    let mut world = World::new();
    world.rules.notifiers[0].remind = vec![Duration::from_secs(600)];
    world.configure();
    world.probe("api", |_| {});
    world.fail("api", 2);
    world.pass(60);
    let until = Some(world.now + jiff::SignedDuration::from_secs(3600));
    let ack = Acknowledgement { by: "alice".into(), at: world.now, sticky: false, until };
    world.fact(&AlertFact::Acknowledged { probe: probe("api"), ack });
    world.pass(3599);
    assert_eq!(world.sent(), ["trigger sms h/api/1"]);
    world.pass(2);
    assert_eq!(world.sent(), ["remind sms h/api/1"]);
}

#[test]
fn a_silence_of_a_person_and_its_end_go_to_channels_with_silences_of_their_own() {
    let mut world = World::new();
    world.notifier("team", "alertmanager", |_| {});
    world.configure();
    world.silence("nobody", "probe=api", 600);
    assert_eq!(world.sent(), [] as [String; 0], "nothing is watched");
    world.probe("api", |it| it.notify = vec!["team".into()]);
    world.silence("s1", "probe=api", 600);
    assert_eq!(world.sent(), ["silence team h/silence/s1"]);
    let delivery = world.all.last().expect("one").clone();
    assert_eq!(delivery.silence.map(|it| it.what()).as_deref(), Some("probe=api"));
    assert_eq!(delivery.expires, Some(world.now + jiff::SignedDuration::from_secs(600)));
    world.restart();
    world.silence("s1", "probe=api", 900);
    world.fact(&AlertFact::Unsilenced { id: "s1".into(), by: "alice".into(), at: world.now });
    assert_eq!(world.sent(), ["silence team h/silence/s1", "unsilence team h/silence/s1"]);
    let ids: std::collections::BTreeSet<&String> = world.all.iter().map(|it| &it.id).collect();
    assert_eq!(ids.len(), 3, "an id is never used twice: {ids:?}");
    world.silence("s2", "phase=dns", 600);
    assert_eq!(world.sent(), [] as [String; 0], "alerts there have no phase");
}

#[test]
fn a_silence_that_was_not_taken_is_listed_until_it_is_or_another_takes_its_place() {
    let mut world = World::new();
    world.notifier("team", "alertmanager", |_| {});
    world.configure();
    world.deaf("team");
    world.probe("api", |it| it.notify = vec!["team".into()]);
    world.silence("s1", "probe=api", 600);
    let next = world.now + jiff::SignedDuration::from_secs(60);
    let refusal = DeliveryState::Retrying { attempt: 1, next, error: "401".into(), refused: true };
    world.answer("team", refusal.clone());
    let listed = |world: &World| world.board.refused().iter().map(|it| it.title.clone()).collect::<Vec<_>>();
    assert_eq!(listed(&world), ["`probe=api` is silenced by bob"]);
    assert_eq!(world.board.backlog(), [("team", 1)].into());
    world.fact(&AlertFact::Unsilenced { id: "s1".into(), by: "alice".into(), at: world.now });
    world.answer("team", refusal);
    world.restart();
    assert_eq!(world.superseded, ["h/silence/s1:team:silence:1"]);
    assert_eq!(listed(&world), ["`probe=api` is no longer silenced by bob"], "its end is not lost either");
    world.answer("team", DeliveryState::Sent { receipt: None, attempts: 2 });
    assert_eq!(world.board.unsent(), 0);
}
