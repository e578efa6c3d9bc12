//! The policy in virtual time: who is told what, when, and what survives.

mod after;
mod clocks;
mod cut_off;
mod explained;
mod handover;
mod lasting;
mod quiet;
mod storm;
mod world;

use crate::domain::alert::delivery::DeliveryState;
use crate::domain::alert::policy::tests::world::{World, probe};
use crate::domain::alert::{Acknowledgement, AlertFact};
use crate::domain::probe::outcome::ProbeResult::{Fail, Ok, Unknown};

#[test]
fn a_page_goes_after_the_wait_and_its_end_is_told() {
    let mut world = World::new();
    world.probe("api", |_| {});
    world.fail("api", 2);
    assert_eq!(world.sent(), [] as [String; 0]);
    world.pass(10);
    assert_eq!(world.sent(), ["trigger sms h/api/1"]);
    world.pass(60);
    world.fine("api", 2);
    world.pass(10);
    assert_eq!(world.sent(), ["resolve sms h/api/1"]);
    assert_eq!(world.board.alerts().count(), 0, "nothing is left when all is settled");
}

#[test]
fn what_is_over_before_its_wait_is_not_told() {
    let mut world = World::new();
    world.rules.notifiers[0].wait = std::time::Duration::from_secs(120);
    world.configure();
    world.probe("api", |_| {});
    world.fail("api", 2);
    world.fine("api", 2);
    world.pass(600);
    assert_eq!(world.sent(), [] as [String; 0]);
    assert_eq!(world.board.alerts().count(), 0);
}

#[test]
fn a_probe_that_fails_every_other_time_pages_once() {
    let mut world = World::new();
    world.probe("api", |_| {});
    for _ in 0..30 {
        world.outcome("api", Fail);
        world.outcome("api", Ok);
    }
    assert_eq!(world.sent(), ["trigger sms h/api/1"]);
}

#[test]
fn the_next_episode_has_the_next_key() {
    let mut world = World::new();
    world.probe("api", |_| {});
    for _ in 0..2 {
        world.fail("api", 2);
        world.pass(100);
        world.fine("api", 2);
        world.pass(100);
    }
    let expected = ["trigger sms h/api/1", "resolve sms h/api/1", "trigger sms h/api/2", "resolve sms h/api/2"];
    assert_eq!(world.sent(), expected);
}

#[test]
fn a_message_says_since_when_and_why() {
    let mut world = World::new();
    world.probe("api", |_| {});
    world.fail("api", 2);
    world.pass(10);
    let message = world.last_message();
    assert_eq!(message.title, "api DOWN since 22:13:20: refused: nothing listens there");
    assert!(message.text.contains("\nphase: connect\n"), "{}", message.text);
    world.pass(60);
    world.fine("api", 2);
    world.pass(10);
    assert_eq!(world.last_message().title, "api recovered after 1m20s");
}

#[test]
fn a_probe_that_is_checked_again_was_not_over_before_it_began() {
    let mut world = World::new();
    world.probe("api", |_| {});
    world.fine("api", 3);
    for _ in 0..3 {
        world.outcome("api", Unknown);
    }
    world.pass(60);
    assert_eq!(world.sent(), ["trigger sms h/api/1"]);
    // It was up before as well: since when it is says nothing of when the checks began to work again.
    world.fine("api", 1);
    world.pass(60);
    assert_eq!(world.sent(), ["resolve sms h/api/1"]);
    let title = world.last_message().title;
    assert!(title.ends_with(" after 1m15s"), "{title}");
}

#[test]
fn acknowledging_stops_reminders_and_travels_to_channels_that_care() {
    let mut world = World::new();
    world.notifier("pd", "pagerduty", |it| it.remind = vec![std::time::Duration::from_secs(600)]);
    world.rules.notifiers[0].remind = vec![std::time::Duration::from_secs(600)];
    world.configure();
    world.probe("api", |it| it.notify = vec!["sms".into(), "pd".into()]);
    world.fail("api", 2);
    world.pass(700);
    let told = ["trigger pd h/api/1", "trigger sms h/api/1", "remind pd h/api/1", "remind sms h/api/1"];
    assert_eq!(world.sent(), told);
    world.acknowledge("api", "alice");
    world.pass(7200);
    assert_eq!(world.sent(), ["acknowledge pd h/api/1"]);
    assert_eq!(world.last_message().title, "api acknowledged by alice: DOWN since 22:13:20");
    world.fine("api", 2);
    world.pass(30);
    assert_eq!(world.sent(), ["resolve pd h/api/1", "resolve sms h/api/1"]);
}

/// The channel refuses everything that it was given and that is not settled.
fn refuse(world: &mut World, notifier: &str) {
    let next = world.now + jiff::SignedDuration::from_secs(60);
    let error = "400: no such service".to_string();
    world.answer(notifier, DeliveryState::Retrying { attempt: 1, next, error, refused: true });
}

fn refused(world: &World) -> Vec<&str> {
    world.board.refused().iter().map(|it| it.title.as_str()).collect()
}

#[test]
fn an_acknowledgement_that_a_channel_refuses_stays_listed_until_the_alert_is_over() {
    for resolve in [true, false] {
        let mut world = World::new();
        world.notifier("pd", "pagerduty", |it| it.resolve = resolve);
        world.configure();
        world.probe("api", |it| it.notify = vec!["pd".into()]);
        world.fail("api", 2);
        world.pass(60);
        world.deaf("pd");
        world.acknowledge("api", "alice");
        world.pass(10);
        refuse(&mut world, "pd");
        world.pass(3600);
        assert_eq!(refused(&world), ["api acknowledged by alice: DOWN since 22:13:20"]);
        assert_eq!(world.all.last().expect("sent").expires, None, "it is true until it is over");
        // Somebody else takes it over: only that is still to be said.
        let ack = Acknowledgement { by: "bob".into(), at: world.now, sticky: false, until: None };
        world.fact(&AlertFact::Acknowledged { probe: probe("api"), ack });
        world.pass(10);
        refuse(&mut world, "pd");
        world.restart();
        assert_eq!(refused(&world), ["api acknowledged by bob: DOWN since 22:13:20"]);
        world.fine("api", 2);
        world.pass(30);
        let stale = ["h/api/1:pd:acknowledge:2", "h/api/1:pd:acknowledge:3"];
        assert_eq!(world.superseded, stale, "what comes after it does not wait for it");
        assert_eq!(refused(&world), [] as [&str; 0]);
        world.answer("pd", DeliveryState::Sent { receipt: None, attempts: 1 });
        assert_eq!((world.board.unsent(), world.board.alerts().count()), (0, 0));
    }
}

#[test]
fn an_acknowledgement_that_has_expired_is_not_told_any_more() {
    let mut world = World::new();
    world.notifier("pd", "pagerduty", |it| it.remind = vec![std::time::Duration::from_secs(600)]);
    world.configure();
    world.probe("api", |it| it.notify = vec!["pd".into()]);
    world.fail("api", 2);
    world.pass(60);
    world.deaf("pd");
    let until = Some(world.now + jiff::SignedDuration::from_secs(1800));
    let ack = Acknowledgement { by: "alice".into(), at: world.now, sticky: true, until };
    world.fact(&AlertFact::Acknowledged { probe: probe("api"), ack });
    world.pass(10);
    refuse(&mut world, "pd");
    assert_eq!(refused(&world).len(), 1);
    world.pass(1800);
    assert_eq!(world.superseded, ["h/api/1:pd:acknowledge:2"]);
    assert_eq!(world.sent().last().map(String::as_str), Some("remind pd h/api/1"), "nobody has it now");
}

#[test]
fn reminders_keep_the_last_pace() {
    let mut world = World::new();
    world.rules.notifiers[0].remind = [600, 1800, 3600].map(std::time::Duration::from_secs).to_vec();
    world.configure();
    world.probe("api", |_| {});
    world.fail("api", 2);
    let mut at = Vec::new();
    for second in 0..14_000 {
        world.pass(1);
        if !world.sent().is_empty() {
            at.push(second + 1);
        }
    }
    assert_eq!(at, [10, 610, 2410, 6010, 9610, 13_210]);
}

#[test]
fn a_ladder_is_climbed_until_somebody_has_seen_it() {
    let mut world = World::new();
    for name in ["alice-sms", "bob-sms", "chat"] {
        world.notifier(name, "slack", |_| {});
    }
    world.person("alice", &["alice-sms"]);
    world.person("bob", &["bob-sms"]);
    world.ladder("page", &[(0, &["alice"]), (900, &["bob", "chat"]), (900, &["sms"])]);
    world.configure();
    world.probe("api", |it| it.notify = vec!["page".into()]);
    world.fail("api", 2);
    world.pass(60);
    assert_eq!(world.sent(), ["trigger alice-sms h/api/1"]);
    world.pass(900);
    assert_eq!(world.sent(), ["trigger bob-sms h/api/1", "trigger chat h/api/1"]);
    world.acknowledge("api", "bob");
    world.pass(7200);
    assert!(!world.sent().iter().any(|it| it.starts_with("trigger")), "nobody else is woken");
    world.fine("api", 2);
    world.pass(60);
    assert_eq!(world.sent(), ["resolve alice-sms h/api/1", "resolve bob-sms h/api/1", "resolve chat h/api/1"]);
}

#[test]
fn less_severe_alerts_do_not_go_to_who_wants_the_worst_only() {
    let mut world = World::new();
    world.notifier("chat", "slack", |_| {});
    world.rules.notifiers[0].least = crate::domain::alert::Severity::Error;
    world.configure();
    world.probe("api", |it| {
        it.notify = vec!["sms".into(), "chat".into()];
        it.severity = crate::domain::alert::Severity::Warning;
    });
    world.fail("api", 2);
    world.pass(60);
    assert_eq!(world.sent(), ["trigger chat h/api/1"]);
    assert!(world.trail("api").contains("`sms` is told from error on, this is warning"), "{}", world.trail("api"));
}

#[test]
fn a_fallback_takes_over_what_is_refused_or_late_and_never_goes_round() {
    for refused in [true, false] {
        let mut world = World::new();
        world.notifier("mail", "smtp", |it| it.fallback = Some("sms".into()));
        world.rules.notifiers[0].fallback = Some("mail".into());
        world.configure();
        world.deaf("sms");
        world.deaf("mail");
        world.probe("api", |_| {});
        world.fail("api", 2);
        world.pass(10);
        assert_eq!(world.sent(), ["trigger sms h/api/1"]);
        if refused {
            let next = world.now + jiff::SignedDuration::from_secs(60);
            world.answer(
                "sms",
                DeliveryState::Retrying { attempt: 1, next, error: "403 forbidden".into(), refused: true },
            );
            assert_eq!(world.board.outs().len(), 1, "it is not given up");
            assert_eq!(world.board.unsent(), 2, "what waits for the fallback is not sent either");
            let refused = world.board.refused();
            let [out] = refused.as_slice() else { panic!("{refused:?}") };
            assert!(out.title.starts_with("api DOWN since "), "{out:?}");
            assert_eq!((out.notifier.as_str(), out.next), ("sms", Some(next)));
            world.pass(10);
        } else {
            world.pass(59);
            assert_eq!(world.sent(), [] as [String; 0]);
            world.pass(11);
        }
        assert_eq!(world.sent(), ["trigger mail h/api/1"]);
        world.answer("mail", DeliveryState::Failed { attempts: 1, error: "no such host".into() });
        world.pass(600);
        assert_eq!(world.sent(), [] as [String; 0]);
        assert!(world.trail("api").contains("fallback `sms` knows of it already"), "{}", world.trail("api"));
    }
}

#[test]
fn a_page_that_was_not_delivered_before_the_end_becomes_one_message() {
    let mut world = World::new();
    world.deaf("sms");
    world.probe("api", |_| {});
    world.fail("api", 2);
    world.pass(240);
    assert_eq!(world.sent(), ["trigger sms h/api/1"]);
    world.fine("api", 2);
    world.pass(10);
    assert_eq!(world.sent(), ["resolve sms h/api/1"]);
    assert_eq!(world.last_message().title, "api was down for 4m10s, recovered");
    assert_eq!(world.superseded, ["h/api/1:sms:trigger:1"]);
}

#[test]
fn nobody_reads_that_it_recovered_behind_the_news_that_it_failed_again() {
    for kind in ["twilio", "pagerduty"] {
        let mut world = World::new();
        world.notifier("it", kind, |_| {});
        world.configure();
        world.probe("api", |it| it.notify = vec!["it".into()]);
        world.fail("api", 2);
        world.pass(10);
        world.deaf("it");
        world.fine("api", 2);
        world.pass(30);
        world.fail("api", 2);
        world.pass(10);
        assert_eq!(world.sent(), ["trigger it h/api/1", "resolve it h/api/1", "trigger it h/api/2"]);
        // Who closes by the key what was opened by it must hear of every end.
        let stale: &[&str] = if kind == "twilio" { &["h/api/1:it:resolve:2"] } else { &[] };
        assert_eq!(world.superseded, stale, "{kind}");
    }
    // What was never heard of is not dropped: nothing else tells of it.
    let mut world = World::new();
    world.deaf("sms");
    world.probe("api", |_| {});
    world.fail("api", 2);
    world.pass(30);
    world.fine("api", 2);
    world.pass(30);
    world.fail("api", 2);
    world.pass(10);
    assert_eq!(world.superseded, ["h/api/1:sms:trigger:1"]);
}

#[test]
fn one_who_was_told_and_does_not_want_the_end_is_left_alone() {
    let mut world = World::new();
    world.rules.notifiers[0].resolve = false;
    world.configure();
    world.probe("api", |_| {});
    world.fail("api", 2);
    world.pass(60);
    world.fine("api", 2);
    world.pass(60);
    assert_eq!(world.sent(), ["trigger sms h/api/1"]);
}

#[test]
fn a_probe_that_is_removed_is_told_to_be_over() {
    let mut world = World::new();
    world.probe("api", |_| {});
    world.fail("api", 2);
    world.pass(60);
    world.remove("api");
    world.pass(60);
    assert_eq!(world.sent(), ["trigger sms h/api/1", "resolve sms h/api/1"]);
}

#[test]
fn editing_a_probe_forgets_nothing_and_a_name_added_is_told() {
    let mut world = World::new();
    world.notifier("chat", "slack", |_| {});
    world.configure();
    world.probe("api", |_| {});
    world.fail("api", 2);
    world.pass(60);
    world.probe("api", |it| it.notify = vec!["sms".into(), "chat".into()]);
    world.pass(60);
    assert_eq!(world.sent(), ["trigger sms h/api/1", "trigger chat h/api/1"]);
    let key = world.board.open(&probe("api")).map(|it| it.key.clone()).next();
    assert_eq!(key.as_deref(), Some("h/api/1"));
}

#[test]
fn what_is_read_late_goes_on_what_is_over_is_told_and_no_number_is_used_twice() {
    let mut world = World::new();
    for name in ["api", "web"] {
        world.probe(name, |_| {});
        world.fail(name, 2);
    }
    world.pass(60);
    assert_eq!(world.sent().len(), 1, "both in one message");
    let rows: Vec<(String, String)> = world.rows.clone().into_iter().collect();

    // Another start, at which nothing of this can be read. The one is fine meanwhile, the other is not.
    let mut second = World::new();
    second.now = world.now;
    second.board.number_from(second.now);
    for name in ["api", "web"] {
        second.probe(name, |_| {});
    }
    second.fine("api", 2);
    second.fail("web", 2);
    second.pass(60);
    let number = world.now.as_second() + 1;
    assert_eq!(second.sent(), [format!("trigger sms h/web/{number}")], "under a number of its own");
    assert!(second.all[0].id.ends_with(&format!(":{number}")), "{}", second.all[0].id);

    second.board.restore(&rows);
    second.configure();
    second.pass(60);
    assert_eq!(second.sent(), ["resolve sms h/api/1"], "what is over is told, what is not is not told again");
    let open: Vec<String> = second.board.open(&probe("web")).map(|it| it.key.clone()).collect();
    assert_eq!(open, ["h/web/1"], "one trouble is one alert, the one that was there first");
    assert_eq!(second.board.alerts().filter(|it| it.ended.is_none()).count(), 1);
    // A restart in between changes nothing of it.
    second.restart();
    second.fine("web", 2);
    second.pass(60);
    assert_eq!(second.sent(), ["resolve sms h/web/1"]);
    assert_eq!(second.last_message().alerts.len(), 1, "it is over once");
    assert_eq!(second.board.unsent(), 0);
    assert_eq!(second.board.open(&probe("web")).count(), 0);
    second.fail("web", 2);
    second.pass(60);
    assert_eq!(second.sent(), [format!("trigger sms h/web/{}", number + 1)]);
}

#[test]
fn what_was_begun_anew_before_an_earlier_run_was_read_is_closed_where_it_was_opened_and_told_no_more() {
    let setup = |world: &mut World| {
        world.notifier("pd", "pagerduty", |_| {});
        world.rules.notifiers[0].remind = vec![std::time::Duration::from_secs(600)];
        world.configure();
        for name in ["a", "b", "c"] {
            let failure = world::Failure {
                cause: crate::domain::probe::outcome::Cause::Unreachable,
                address: Some("10.0.0.7".into()),
            };
            world.failures.insert(name.to_string(), failure);
            world.probe(name, |it| it.notify = vec!["sms".into(), "pd".into()]);
        }
        for pause in [5, 60] {
            for name in ["a", "b", "c"] {
                world.outcome_now(name, Fail);
            }
            world.pass(pause);
        }
    };
    let mut world = World::new();
    setup(&mut world);
    assert_eq!(world.sent(), ["trigger pd h/common-connect-10.0.0.7/1", "trigger sms h/common-connect-10.0.0.7/1"]);
    let rows: Vec<(String, String)> = world.rows.clone().into_iter().collect();

    let mut second = World::new();
    second.now = world.now;
    second.board.number_from(second.now);
    setup(&mut second);
    let opened = second.sent();
    assert_eq!(opened.len(), 2, "{opened:?}");
    second.board.restore(&rows);
    second.configure();
    second.pass(60);
    assert_eq!(second.sent(), [] as [String; 0]);
    let open: Vec<&str> = second.board.alerts().filter(|it| it.is_loud()).map(|it| it.key.as_str()).collect();
    assert_eq!(open, ["h/common-connect-10.0.0.7/1"]);
    second.pass(1200);
    let reminders = second.sent();
    assert!(reminders.iter().all(|it| it == "remind sms h/common-connect-10.0.0.7/1"), "one trouble: {reminders:?}");
    second.restart();
    for name in ["a", "b", "c"] {
        second.fine(name, 2);
    }
    second.pass(60);
    let mut ended = second.sent();
    ended.sort();
    let newer = opened[0].trim_start_matches("trigger pd ");
    let key = "h/common-connect-10.0.0.7/1";
    assert_eq!(ended, [format!("resolve pd {key}"), format!("resolve pd {newer}"), format!("resolve sms {key}")]);
    assert_eq!((second.board.unsent(), second.board.alerts().count()), (0, 0));
}

#[test]
fn an_alert_to_which_no_trail_leads_any_more_still_ends() {
    let mut world = World::new();
    world.probe("api", |_| {});
    world.fail("api", 2);
    world.pass(60);
    assert_eq!(world.sent(), ["trigger sms h/api/1"]);
    world.rows.retain(|key, _| !key.starts_with("trail/"));
    world.restart();
    world.fine("api", 2);
    world.pass(60);
    assert_eq!(world.sent(), ["resolve sms h/api/1"]);
}
