//! Why somebody was paged, or nobody.

use std::time::Duration;

use crate::domain::alert::explain::{ExplainRequest, Explanation};
use crate::domain::alert::policy::tests::world::{World, probe};
use crate::domain::probe::ProbeFact;
use crate::domain::probe::outcome::ProbeResult::{self, Fail};

fn explain(world: &World, name: &str, ago: i64) -> Explanation {
    let at = (ago > 0).then(|| world.now - jiff::SignedDuration::from_secs(ago));
    world.board.explain(world.now, &world.probes, &ExplainRequest { probe: probe(name), at })
}

fn texts(explanation: &Explanation) -> String {
    explanation.steps.iter().map(|it| format!("{}: {}\n", it.kind, it.text)).collect()
}

#[test]
fn a_page_is_explained_from_the_outcomes_to_the_delivery() {
    let mut world = World::new();
    world.rules.notifiers[0].remind = vec![Duration::from_secs(600)];
    world.person("alice", &["sms"]);
    world.configure();
    world.probe("api", |it| it.notify = vec!["alice".into()]);
    world.fail("api", 2);
    world.pass(5);
    assert_eq!(explain(&world, "api", 0).verdict, "not paged yet: it waits for others to join it");
    world.pass(55);
    let explanation = explain(&world, "api", 0);
    assert!(
        explanation.verdict.starts_with("paged at 2023-11-14T22:13:35Z, delivered: trigger to `sms`"),
        "{explanation:?}"
    );
    let texts = texts(&explanation);
    for part in [
        "rule: down when 2 of the last 3 results fail",
        "rule: told: `alice` (sms)",
        "outcome: fail after 0ms: refused: nothing listens there",
        "health: suspect -> down: refused: nothing listens there",
        "alert: down begins",
        "page: trigger to `sms`: `alice` is named in `notify`",
        "delivery: `sms` took the trigger",
        "next: reminder 1 to `sms`, unless somebody acknowledges",
    ] {
        assert!(texts.contains(part), "{part} is not in\n{texts}");
    }
    assert!(explain(&world, "api", 62).verdict.starts_with("not paged: it has not failed often enough"));
}

#[test]
fn that_nobody_was_paged_is_explained() {
    let mut world = World::new();
    world.probe("dumb", |it| it.notify.clear());
    world.fail("dumb", 2);
    world.pass(60);
    assert!(explain(&world, "dumb", 0).verdict.contains("nobody is told"), "{:?}", explain(&world, "dumb", 0));
    world.probe("well", |_| {});
    world.fine("well", 2);
    assert_eq!(explain(&world, "well", 0).verdict, "not paged: all is well");
    world.silence("quiet", "probe=api", 600);
    world.probe("api", |_| {});
    world.fail("api", 2);
    world.pass(60);
    assert_eq!(explain(&world, "api", 0).verdict, "not paged: held back: silenced by `quiet`");
    assert_eq!(explain(&world, "none", 0).verdict, "not paged: there is no probe `none`");
}

#[test]
fn a_new_page_does_not_wait_for_one_that_flaps_and_a_storm_says_what_it_waits_for() {
    let mut world = World::new();
    world.rules.notifiers[0].wait = Duration::from_secs(1);
    world.configure();
    for name in ["flaps", "api", "b", "c", "d", "e"] {
        world.probe(name, |_| {});
    }
    for _ in 0..2 {
        world.fail("flaps", 2);
        world.pass(2);
        world.fine("flaps", 2);
        world.pass(2);
    }
    world.sent();
    world.fail("api", 2);
    world.pass(2);
    assert!(world.sent().iter().any(|it| it.contains("api") || it.contains("digest")), "told at once");
    assert!(!texts(&explain(&world, "api", 0)).contains("held until"));

    for name in ["b", "c"] {
        world.outcome_now(name, Fail);
        world.outcome_now(name, Fail);
        world.pass(2);
    }
    world.sent();
    for name in ["d", "e"] {
        world.outcome_now(name, Fail);
        world.outcome_now(name, Fail);
    }
    world.pass(5);
    assert_eq!(world.sent(), [] as [String; 0]);
    let why = "trigger to `sms`: what comes after 3 alerts in a minute is told once a minute";
    let explanation = explain(&world, "d", 0);
    assert!(explanation.verdict.starts_with("not paged: held until 2023-11-14T22:"), "{}", explanation.verdict);
    assert!(explanation.verdict.ends_with(why), "{}", explanation.verdict);
    let during = texts(&explanation);
    assert!(during.contains("(held until then: what comes after 3 alerts"), "{during}");
    world.pass(60);
    assert_eq!(world.sent().len(), 1, "both in one");
    let after = texts(&explain(&world, "d", 0));
    assert!(after.contains("page: held until 2023-11-14T22:") && after.contains(why), "{after}");
}

#[test]
fn what_is_measured_over_a_longer_time_and_what_was_missed_is_explained_also_when_nothing_rings() {
    let mut world = World::new();
    world.probe("api", |it| {
        it.slo = Some(crate::domain::probe::Slo { share: 0.999, over: Duration::from_secs(30 * 86_400) });
        it.baseline = true;
    });
    for _ in 0..720 {
        world.outcome("api", ProbeResult::Ok);
    }
    world.fail("api", 1);
    let missed = ProbeFact::Missed { probe: probe("api"), at: world.now, count: 6 };
    world.probe_fact(&missed);
    let texts = texts(&explain(&world, "api", 0));
    for wanted in [
        "slo: promised: 99.9 % over 30d, of which 1h",
        "slo: burn does not ring: ",
        " times too fast over 1h, ",
        "1 failure; it rings above 14.4 times in both, from 3 failures on",
        "slo: slow burn does not ring: too little is known over 3d, too little is known over 6h, 1 failure; it rings above 1.0 times",
        "baseline: too few runs are known of this hour of the week",
        "missed: 6 runs that were due did not happen",
    ] {
        assert!(texts.contains(wanted), "{wanted}: {texts}");
    }
}

#[test]
fn what_is_far_away_is_not_counted_while_the_monitor_is_cut_off() {
    let mut world = World::new();
    world.notifier("sms", "twilio", |_| {});
    world.configure();
    for name in ["can1", "can2"] {
        world.probe(name, |it| it.canary = true);
        world.fine(name, 1);
    }
    world.probe("far", |_| {});
    world.fine("far", 1);
    for name in ["can1", "can2", "can1", "can2"] {
        world.outcome(name, Fail);
    }
    let mut lost = (**world.probes.get(&probe("far")).and_then(|it| it.outcomes.back()).expect("it was run")).clone();
    lost.at = world.now;
    lost.disown();
    world.probe_fact(&ProbeFact::Outcome { probe: probe("far"), outcome: Box::new(lost), next: None });
    let said = "not paged: its last results were not counted: this host is cut off, which `can1` tells";
    assert_eq!(explain(&world, "far", 0).verdict, said);
}

#[test]
fn a_page_that_an_acknowledgement_or_a_silence_held_until_it_was_over_says_so() {
    let mut world = World::new();
    world.rules.notifiers[0].wait = Duration::from_secs(60);
    world.configure();
    for name in ["api", "quiet", "short"] {
        world.probe(name, |_| {});
        world.fail(name, 2);
        match name {
            "api" => world.acknowledge("api", "bob"),
            "quiet" => world.silence("s1", "probe=quiet", 600),
            _ => {}
        }
        world.pass(1);
        world.fine(name, 2);
    }
    world.pass(120);
    assert_eq!(world.sent(), [] as [String; 0]);
    for (name, why) in [
        ("api", "page: `sms` is not told: bob had acknowledged it before it was due, and now it is over"),
        ("quiet", "page: `sms` is not told: it was held back until it was over (silenced by `s1`)"),
        ("short", "page: `sms` is not told: it was over before it was due"),
    ] {
        let texts = texts(&explain(&world, name, 0));
        assert!(texts.contains(why), "{why} is not in\n{texts}");
    }
}
