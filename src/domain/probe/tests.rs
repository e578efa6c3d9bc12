//! What is derived from outcomes: the promises of the state machine, holds, canaries, and a restart at any time.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::domain::alert::{Concern, Hold};
use crate::domain::ids::HostId;
use crate::domain::probe::health::Mode;
use crate::domain::probe::outcome::{Cause, Evidence, Phases};

const STEP_S: i64 = 30;

fn at(second: i64) -> Timestamp {
    // A Monday.
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 4) + SignedDuration::from_secs(second)
}

fn id(name: &str) -> ProbeId {
    ProbeId::new(&HostId::new("h"), name)
}

fn setup(target: &str, rules: ProbeRules) -> ProbeSetup {
    ProbeSetup {
        kind: "tcp".into(),
        target: target.into(),
        interval: Duration::from_secs(30),
        retry: Duration::from_secs(5),
        timeout: Duration::from_secs(5),
        thresholds: Thresholds::default(),
        expect: Vec::new(),
        prefer: Vec::new(),
        rules,
    }
}

fn outcome(at: Timestamp, letter: char) -> Outcome {
    let (result, trouble) = match letter {
        'o' => (ProbeResult::Ok, None),
        'd' => (ProbeResult::Degraded, Some(Trouble::new(Cause::Slow, "slow", "slow"))),
        'f' => (ProbeResult::Fail, Some(Trouble::new(Cause::Refused, "refused", "refused"))),
        _ => (ProbeResult::Unknown, Some(Trouble::new(Cause::Own, "plugin", "no such plugin"))),
    };
    let phases = Phases { connect: Some(Duration::from_millis(20)), ..Phases::default() };
    let evidence = Evidence::default();
    Outcome { at, result, phases, trouble, evidence, lag: Duration::ZERO, latency_suspect: false }
}

/// Probes of a test and the time.
struct World {
    board: ProbeBoard,
    second: i64,
}

impl World {
    fn new(probes: &[(&str, ProbeSetup)]) -> Self {
        let mut world = Self { board: ProbeBoard::default(), second: 0 };
        for (name, setup) in probes {
            world.configure(name, setup.clone());
        }
        world
    }

    fn configure(&mut self, name: &str, setup: ProbeSetup) {
        self.board.apply(at(self.second), &ProbeFact::Configured { probe: id(name), setup });
    }

    /// Results of one probe, a step apart.
    fn see(&mut self, name: &str, letters: &str) -> Vec<Flip> {
        let mut flips = Vec::new();
        for letter in letters.chars() {
            self.second += STEP_S;
            flips.extend(self.one(name, outcome(at(self.second), letter)));
        }
        flips
    }

    fn one(&mut self, name: &str, outcome: Outcome) -> Vec<Flip> {
        let (now, next) = (outcome.at, Some(outcome.at + SignedDuration::from_secs(STEP_S)));
        self.board.apply(now, &ProbeFact::Outcome { probe: id(name), outcome: Box::new(outcome), next })
    }

    fn state(&self, name: &str) -> &ProbeState {
        self.board.get(&id(name)).expect("configured")
    }

    fn concerns(&self, name: &str) -> Vec<Concern> {
        self.state(name).concerns().iter().map(|it| it.concern).collect()
    }

    fn hold(&self, name: &str) -> Option<Hold> {
        self.board.hold(at(self.second), &id(name))
    }

    /// The same in a process that was started just now.
    fn restart(&self) -> Self {
        let kept = serde_json::to_string(&self.board.kept()).expect("written");
        let mut world = Self { board: ProbeBoard::default(), second: self.second };
        world.board.restore(serde_json::from_str(&kept).expect("read"));
        for (probe, state) in self.board.iter() {
            world.configure(probe.name(), state.setup.clone());
        }
        world
    }
}

fn far(rules: ProbeRules) -> ProbeSetup {
    setup("203.0.113.7:443", rules)
}

fn after(names: &[&str]) -> ProbeRules {
    ProbeRules { after: names.iter().map(ToString::to_string).collect(), ..ProbeRules::default() }
}

#[test]
fn what_fails_every_other_time_is_down_at_the_third_result_until_two_are_clean() {
    let mut world = World::new(&[("a", far(ProbeRules::default()))]);
    let mut healths = Vec::new();
    for letter in "fofofofoo".chars() {
        world.see("a", &letter.to_string());
        healths.push(world.state("a").health().word());
    }
    assert_eq!(healths.join(" "), "suspect suspect down down down down down down up");
    assert_eq!(world.concerns("a"), []);
}

#[test]
fn the_beginning_is_that_of_the_first_failure_in_the_window() {
    let mut world = World::new(&[("a", far(ProbeRules::default()))]);
    world.see("a", "oofof");
    let concerns = world.state("a").concerns();
    assert_eq!(concerns.len(), 1);
    assert_eq!((concerns[0].concern, concerns[0].since), (Concern::Down, at(3 * STEP_S)));
    assert_eq!(concerns[0].text, "refused");
}

#[test]
fn another_config_keeps_what_is_known_of_a_name() {
    let mut world = World::new(&[("a", far(ProbeRules::default()))]);
    world.see("a", "ff");
    let since = world.state("a").since();
    let mut other = setup("198.51.100.1:80", ProbeRules::default());
    other.thresholds.fail = "5/9".parse().expect("a window");
    world.configure("a", other);
    assert_eq!((world.state("a").health(), world.state("a").since()), (Health::Down, since));
}

#[test]
fn a_page_waits_while_a_parent_is_suspect_and_is_dropped_when_it_is_down() {
    let mut world =
        World::new(&[("db", far(ProbeRules::default())), ("api", far(after(&["db"]))), ("web", far(after(&["api"])))]);
    for name in ["db", "api", "web"] {
        world.see(name, "oo");
    }
    world.see("web", "ff");
    assert_eq!((world.concerns("web"), world.hold("web")), (vec![Concern::Down], None));
    world.see("db", "f");
    let until = at(world.second) + SignedDuration::from_secs(30);
    assert_eq!(world.hold("web"), Some(Hold::AfterSuspect(id("db"), until)), "through `api`");
    assert_eq!(world.board.hold(until, &id("web")), None, "one interval, no longer");
    world.see("db", "f");
    assert_eq!(world.hold("web"), Some(Hold::After(id("db"))));
    assert_eq!(world.hold("db"), None, "that one is told");
    world.see("api", "ff");
    assert_eq!(world.hold("web"), Some(Hold::After(id("db"))), "the one that went down first");
    assert_eq!(world.state("web").health(), Health::Down, "it is recorded all the same");
    world.see("db", "oo");
    world.see("api", "oo");
    assert_eq!(world.hold("web"), None);
}

#[test]
fn when_all_canaries_fail_one_of_them_says_so_and_nothing_else_is_told() {
    let canary = ProbeRules { canary: true, ..ProbeRules::default() };
    let mut world = World::new(&[
        ("c1", far(canary.clone())),
        ("c2", far(canary)),
        ("far", far(ProbeRules::default())),
        ("near", setup("10.0.0.5:5432", ProbeRules::default())),
        ("self", setup("http://localhost:80/x", ProbeRules::default())),
    ]);
    for name in ["c1", "c2", "far", "near", "self"] {
        world.see(name, "oo");
    }
    // One that fails alone is a probe like any other.
    world.see("c1", "ff");
    assert_eq!(world.concerns("c1"), [Concern::Down]);
    assert!(!world.board.is_cut_off());
    world.see("c1", "oo");
    let first = at(world.second + STEP_S);
    for name in ["c1", "c2"] {
        world.see(name, "f");
    }
    assert!(world.board.is_cut_off());
    assert_eq!((world.concerns("c1"), world.concerns("c2")), (vec![], vec![]));
    for name in ["c2", "c1"] {
        world.see(name, "f");
    }
    // What a run says that was not counted.
    for _ in 0..5 {
        world.second += STEP_S;
        let mut lost = outcome(at(world.second), 'f');
        lost.disown();
        assert!(lost.is_cut_off());
        assert_eq!(world.one("far", lost), []);
    }
    assert_eq!((world.state("far").health(), world.concerns("far")), (Health::Up, vec![]));
    world.see("near", "ff");
    world.see("self", "ff");
    let told = world.board.iter().flat_map(|(probe, state)| {
        state
            .concerns()
            .into_iter()
            .map(|it| (probe.name().to_string(), it.concern, it.since, world.hold(probe.name())))
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0], ("c1".into(), Concern::CutOff, first, None));
    assert_eq!((told[1].0.as_str(), told[1].1, &told[1].3), ("near", Concern::Down, &None));
    assert_eq!((told[2].0.as_str(), told[2].1, &told[2].3), ("self", Concern::Down, &None));
    assert!(world.restart().board.is_cut_off());
    // One that answers is enough to know; the other is given time.
    world.see("c2", "o");
    assert!(!world.board.is_cut_off());
    assert_eq!((world.concerns("c1"), world.concerns("c2")), (vec![], vec![]));
    world.see("c1", "oo");
    world.see("c2", "oo");
    assert_eq!((world.concerns("c1"), world.concerns("c2")), (vec![], vec![]));
    assert_eq!(world.state("c1").health(), Health::Up);
}

#[test]
fn a_canary_that_does_not_come_back_with_the_network_is_told() {
    let canary = ProbeRules { canary: true, ..ProbeRules::default() };
    let mut world = World::new(&[("c1", far(canary.clone())), ("c2", far(canary))]);
    for letter in ["o", "o", "f", "f", "f"] {
        world.see("c1", letter);
        world.see("c2", letter);
    }
    for _ in 0..3 {
        world.see("c1", "o");
        world.see("c2", "f");
    }
    assert_eq!((world.concerns("c1"), world.concerns("c2")), (vec![], vec![Concern::Down]));
}

#[test]
fn far_probes_are_held_while_the_host_is_cut_off() {
    let canary = ProbeRules { canary: true, ..ProbeRules::default() };
    let mut world = World::new(&[
        ("c1", far(canary)),
        ("far", far(ProbeRules::default())),
        ("near", setup("http://[fd00::1]:80/", ProbeRules::default())),
    ]);
    world.see("far", "ff");
    world.see("near", "ff");
    world.see("c1", "f");
    assert_eq!((world.hold("far"), world.hold("near")), (Some(Hold::CutOff), None));
    world.see("c1", "o");
    assert_eq!(world.hold("far"), None);
}

#[test]
fn places_of_this_host_and_its_network_are_near() {
    let is = |kind: &str, target: &str, address: Option<&str>| {
        let setup = ProbeSetup { kind: kind.into(), ..setup(target, ProbeRules::default()) };
        holding::is_near(&setup, address)
    };
    for target in ["127.0.0.1:1", "[::1]:80", "http://192.168.1.1/x", "https://user@10.1.2.3:8443/", "localhost:5432"] {
        assert!(is("http", target, None), "{target}");
    }
    for target in ["example.com:443", "https://203.0.113.7/", "http://10.example.com/", "[2001:db8::1]:80"] {
        assert!(!is("http", target, None), "{target}");
    }
    assert!(is("http", "https://intranet.example/", Some("10.0.0.8:443")), "what was spoken to counts");
    assert!(is("host", "disk /", None), "this host itself");
    assert!(is("heartbeat", "every 24h, grace 1h", None), "jobs report here");
    for far in [
        "-H example.com",
        "-Hwww.example.com",
        "--host=203.0.113.7",
        "https://example.com/",
        "2001:db8::1",
        "db.example.com:5432",
    ] {
        assert!(!is("command", &format!("check_it {far} -w 5"), None), "{far}");
    }
    for near in [
        "",
        "-w 10% -c 5% -p /",
        "-H localhost -p 80",
        "-H 10.0.0.7",
        "http://127.0.0.1:1/x",
        "-C 2.5 ./run.sh",
        "/srv/a.b/c.sh",
    ] {
        assert!(is("command", &format!("/opt/check.sh {near}"), None), "{near}");
    }
    let said = |near: bool, kind: &str, target: &str| {
        let rules = ProbeRules { near: Some(near), ..ProbeRules::default() };
        holding::is_near(&ProbeSetup { kind: kind.into(), ..setup(target, rules) }, Some("203.0.113.7:443"))
    };
    assert!(said(true, "http", "https://example.com/") && !said(false, "heartbeat", "every 24h, grace 1h"));
}

#[test]
fn three_outages_in_a_few_minutes_flap_and_are_told_as_that() {
    let mut rules = far(ProbeRules::default());
    rules.interval = Duration::from_secs(300);
    let mut world = World::new(&[("a", rules)]);
    world.see("a", "ooffooffoo");
    assert_eq!(world.state("a").flapping(), None);
    world.see("a", "ffooff");
    assert_eq!(world.concerns("a"), [Concern::Down, Concern::Flapping]);
    assert_eq!(world.hold("a"), Some(Hold::Flapping));
    let since = world.state("a").flapping();
    assert!(since < Some(at(6 * STEP_S)), "dated back to the first turn: {since:?}");
    // It stays down: in time that is what it is.
    world.see("a", &"f".repeat(220));
    assert_eq!((world.concerns("a"), world.hold("a")), (vec![Concern::Down], None));
}

#[test]
fn a_promise_that_is_broken_too_fast_is_a_concern_of_its_own() {
    let slo = Some(Slo { share: 0.999, over: Duration::from_secs(30 * 86_400) });
    let mut rules = far(ProbeRules { slo, ..ProbeRules::default() });
    rules.thresholds.fail = "9/9".parse().expect("a window");
    let mut world = World::new(&[("a", rules)]);
    world.see("a", &"o".repeat(120));
    assert_eq!(world.state("a").slo().expect("promised").left, 1.0);
    world.see("a", "fofof");
    assert_eq!(world.concerns("a"), [Concern::Burn], "although it is never down");
    let text = &world.state("a").concerns()[0].text;
    assert!(text.starts_with("spends its error budget 25."), "{text}");
    world.see("a", &"o".repeat(12));
    assert_eq!(world.concerns("a"), []);
}

#[test]
fn a_burst_is_not_counted_against_a_promise() {
    let slo = Some(Slo { share: 0.9, over: Duration::from_secs(30 * 86_400) });
    let mut world = World::new(&[("a", far(ProbeRules { slo, ..ProbeRules::default() }))]);
    world.see("a", "oo");
    let before = world.state("a").slo().expect("promised");
    world.board.apply(at(0), &ProbeFact::Burst { probe: id("a"), until: Some(at(9999)) });
    world.see("a", "ffffff");
    let report = world.state("a").slo().expect("promised");
    assert_eq!((report.bad, report.known), (before.bad, before.known));
}

#[test]
fn slower_than_usual_at_this_hour_of_the_week_is_degraded_and_says_the_band() {
    let mut world = World::new(&[("a", far(ProbeRules { baseline: true, ..ProbeRules::default() }))]);
    let week = 7 * 86_400;
    let run = |world: &mut World, second: i64, ms: u64| {
        let mut it = outcome(at(second), 'o');
        it.phases.connect = Some(Duration::from_millis(ms));
        world.one("a", it);
    };
    for second in (0..7200).step_by(30) {
        run(&mut world, second, 20 + (second as u64 / 30) % 5);
    }
    for index in 0..25 {
        run(&mut world, week + index * 30, 22);
    }
    assert_eq!(world.state("a").health(), Health::Up);
    assert!(world.state("a").band(at(week)).is_some());
    for index in 25..30 {
        run(&mut world, week + index * 30, 400);
    }
    assert_eq!(world.concerns("a"), [Concern::Degraded]);
    let text = &world.state("a").last_trouble().and_then(|it| it.trouble.as_ref()).expect("said").text;
    assert!(text.starts_with("p95 of the last runs is 400ms; at this hour of the week it is 2"), "{text}");
    let mut busy = outcome(at(week + 2000), 'o');
    busy.latency_suspect = true;
    world.one("a", busy);
    assert_eq!(world.state("a").last().map(|it| it.result), Some(ProbeResult::Ok), "our own delay is not theirs");
}

#[test]
fn in_the_mode_of_nagios_a_soft_problem_is_suspect_and_a_hard_one_is_told() {
    let mut rules = far(ProbeRules::default());
    rules.thresholds.mode = Mode::Nagios { max_attempts: 3 };
    let mut world = World::new(&[("a", rules)]);
    let mut healths = Vec::new();
    for letter in "ofoffffdouuu".chars() {
        world.see("a", &letter.to_string());
        healths.push(world.state("a").health().word());
    }
    assert_eq!(healths.join(" "), "up suspect up suspect suspect down down degraded up suspect suspect unknown");
    assert_eq!(world.concerns("a"), [Concern::Broken]);
    assert_eq!(world.state("a").since(), Some(at(10 * STEP_S)));
}

#[test]
fn a_recovery_that_nobody_saw_is_told_after_the_start() {
    let mut world = World::new(&[("a", far(ProbeRules::default()))]);
    world.see("a", "ooff");
    let mut world = world.restart();
    assert_eq!(world.concerns("a"), [Concern::Down]);
    assert_eq!(world.state("a").concerns()[0].text, "refused", "why is kept too");
    let flips = world.see("a", "oo");
    assert_eq!(flips.iter().map(|it| it.text.as_str()).collect::<Vec<_>>(), ["down -> up"]);
}

#[test]
fn a_thousand_full_probes_stay_small() {
    // Sixty outcomes without their large evidence; strings come on top.
    assert!(size_of::<Outcome>() <= 640, "{}", size_of::<Outcome>());
    let mut world = World::new(&[("a", far(ProbeRules::default()))]);
    for _ in 0..OUTCOMES_MAX + 5 {
        world.second += STEP_S;
        let mut it = outcome(at(world.second), 'o');
        it.evidence.body = "x".repeat(10_000);
        it.evidence.headers = vec![("a".into(), "b".into()); 20];
        world.one("a", it);
    }
    let state = world.state("a");
    assert_eq!(state.outcomes.len(), OUTCOMES_MAX);
    let heavy = state.outcomes.iter().filter(|it| !it.evidence.body.is_empty() || !it.evidence.headers.is_empty());
    assert_eq!(heavy.count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// One trigger and one resolve for each episode, each dated no later than it was noticed.
    #[test]
    fn episodes_begin_and_end_once(letters in "[oofffdu]{1,80}", fail in 1u8..5, more in 0u8..4, recover in 1u8..4) {
        let mut rules = far(ProbeRules::default());
        rules.thresholds.fail = health::Window { k: fail, n: fail + more };
        rules.thresholds.recover = health::Window { k: recover, n: recover };
        let mut world = World::new(&[("a", rules)]);
        let mut told = Health::Unknown;
        for letter in letters.chars() {
            let before = world.state("a").health();
            for flip in world.see("a", &letter.to_string()) {
                let state = world.state("a");
                prop_assert!(flip.since <= at(world.second));
                prop_assert!(state.health() != told || state.is_broken());
                told = state.health();
            }
            let state = world.state("a");
            prop_assert!(state.since().is_none_or(|it| it <= at(world.second)));
            if before == Health::Down && state.health() != Health::Down && !state.is_broken() {
                // Only a clean end: nothing that failed is left among what speaks for it.
                let clean = state.outcomes.iter().rev().filter(|it| it.result != ProbeResult::Unknown).take(recover as usize);
                prop_assert!(clean.clone().all(|it| it.result != ProbeResult::Fail));
            }
            prop_assert_eq!(state.health() == Health::Down, world.concerns("a").contains(&Concern::Down));
        }
    }

    /// A restart at any point changes nothing of what people are told.
    #[test]
    fn a_restart_at_any_point_tells_the_same(
        steps in proptest::collection::vec((0usize..4, "[ooffdu]", any::<bool>()), 1..120),
    ) {
        let slo = Some(Slo { share: 0.99, over: Duration::from_secs(86_400) });
        let mut nagios = far(ProbeRules::default());
        nagios.thresholds.mode = Mode::Nagios { max_attempts: 3 };
        let names = ["c", "db", "api", "old"];
        let probes = [
            ("c", far(ProbeRules { canary: true, ..ProbeRules::default() })),
            ("db", far(ProbeRules { slo, baseline: true, ..ProbeRules::default() })),
            ("api", far(after(&["db"]))),
            ("old", nagios),
        ];
        let mut steady = World::new(&probes);
        let mut restarted = World::new(&probes);
        for (probe, letter, restart) in steps {
            let name = names[probe];
            prop_assert_eq!(steady.see(name, &letter), restarted.see(name, &letter));
            if restart {
                restarted = restarted.restart();
            }
            for name in names {
                prop_assert_eq!(steady.state(name).concerns(), restarted.state(name).concerns(), "{}", name);
                prop_assert_eq!(steady.hold(name), restarted.hold(name), "{}", name);
                prop_assert_eq!(steady.state(name).slo(), restarted.state(name).slo());
            }
        }
    }
}

#[test]
fn a_shortened_board_draws_the_same_and_is_whole_when_the_rest_has_come() {
    let healthy = "o".repeat(OUTCOMES_MAX + 5);
    for letters in ["", "o", "of", "oooff", "offofo", "oddd", "oxxx", &healthy] {
        let mut world = World::new(&[("a", far(ProbeRules::default()))]);
        world.see("a", letters);
        let before = world.board.clone();
        let mut short = World { board: before.clone(), second: world.second };
        short.board.shorten();
        let glance = |world: &World| world.state("a").at_a_glance().collect::<Vec<_>>();
        let full =
            |board: &ProbeBoard| board.get(&id("a")).expect("configured").outcomes.iter().cloned().collect::<Vec<_>>();
        assert_eq!(glance(&short), glance(&world), "{letters}");
        assert_eq!(short.state("a").last(), world.state("a").last(), "{letters}");
        assert_eq!(short.state("a").last_trouble(), world.state("a").last_trouble(), "{letters}");
        assert!(short.state("a").outcomes.len() <= letters.len().min(6), "{letters}");

        // What is new overtakes the rest, which may know it already or not.
        world.see("a", "o");
        short.see("a", "o");
        assert_eq!(glance(&short), glance(&world), "{letters}");
        for rest in [full(&before), full(&world.board)] {
            let mut filled = short.board.clone();
            filled.fill(&id("a"), &rest);
            assert_eq!(filled, world.board, "{letters}");
        }
    }
}

#[test]
fn what_an_earlier_run_saw_stands_before_what_is_new_on_every_board() {
    let mut before = World::new(&[("a", far(ProbeRules::default()))]);
    for letter in "oofof".chars() {
        before.see("a", &letter.to_string());
    }
    let earlier: Vec<Glimpse> = before.state("a").at_a_glance().collect();
    // The store may answer before or after the config has named the probe.
    for is_late in [false, true] {
        let mut world = World { board: ProbeBoard::default(), ..World::new(&[]) };
        let setup = before.state("a").setup.clone();
        let configured = ProbeFact::Configured { probe: id("a"), setup };
        if is_late {
            world.board.apply(Timestamp::UNIX_EPOCH, &configured);
            world.board.recall(vec![(id("a"), earlier.clone())]);
        } else {
            world.board.recall(vec![(id("a"), earlier.clone())]);
            world.board.apply(Timestamp::UNIX_EPOCH, &configured);
        }
        let glance = |board: &ProbeBoard| board.get(&id("a")).expect("configured").at_a_glance().collect::<Vec<_>>();
        assert_eq!(glance(&world.board), earlier);
        for _ in 0..3 {
            world.see("a", "o");
        }
        assert_eq!(glance(&world.board).len(), earlier.len() + 3);
        // A screen gets them with the snapshot, and what follows it does not take them away.
        let mut screen = world.board.clone();
        screen.shorten();
        assert_eq!(glance(&screen), glance(&world.board));
        let outcomes: Vec<_> = world.state("a").outcomes.iter().cloned().collect();
        screen.fill(&id("a"), &outcomes);
        assert_eq!(screen, world.board);
        for _ in 0..OUTCOMES_MAX {
            world.see("a", "o");
        }
        assert!(world.state("a").glimpses.is_empty());
        assert_eq!(world.state("a").outcomes.len(), OUTCOMES_MAX);
    }
}
