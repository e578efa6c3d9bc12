//! What the services pane does and shows, on boards folded from facts.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::*;
use crate::domain::fact::{Actor, Envelope, Fact};
use crate::domain::ids::HostId;
use crate::domain::probe::health::Thresholds;
use crate::domain::probe::history::{Day, History, Point};
use crate::domain::probe::outcome::{
    Cause, Certificate, Evidence, Outcome, Part, Perf, Phase, Phases, ProbeResult, Trouble,
};
use crate::domain::probe::{ProbeFact, ProbeRules, ProbeSetup};
use crate::domain::request::Request;

pub(super) struct World {
    pub(super) board: Board,
    pub(super) now: Timestamp,
    zone: TimeZone,
    width: u16,
    height: u16,
}

pub(super) fn probe(name: &str) -> ProbeId {
    ProbeId::new(&HostId::new("h"), name)
}

impl World {
    pub(super) fn new(width: u16, height: u16) -> Self {
        let now = "2024-08-19T06:43:50Z".parse().expect("a time");
        Self { board: Board::default(), now, zone: TimeZone::UTC, width, height }
    }

    fn fact(&mut self, fact: ProbeFact) {
        let seq = self.board.seq + 1;
        let fact = Fact::Probe(fact);
        let envelope = Envelope { host: HostId::new("h"), seq, at: self.now, actor: Actor::Runtime, fact };
        self.board.apply(self.now, &envelope);
    }

    fn configured(&mut self, name: &str) {
        self.configured_in(name, None);
    }

    pub(super) fn configured_in(&mut self, name: &str, group: Option<&str>) {
        let setup = ProbeSetup {
            kind: "http".into(),
            target: format!("http://{name}.example/health"),
            interval: Duration::from_secs(15),
            retry: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            thresholds: Thresholds::default(),
            expect: vec!["status == 200".into()],
            prefer: vec!["total < 800ms".into()],
            rules: ProbeRules { group: group.map(Into::into), ..ProbeRules::default() },
        };
        self.fact(ProbeFact::Configured { probe: probe(name), setup });
    }

    /// Outcomes a second apart: `o` 31 ms, `d` slow, `f` refused, `u` unknown.
    pub(super) fn outcomes(&mut self, name: &str, letters: &str) {
        for letter in letters.chars() {
            self.now = self.now.checked_add(SignedDuration::from_secs(1)).expect("in range");
            let (result, ms, trouble) = match letter {
                'o' => (ProbeResult::Ok, 31, None),
                'd' => (
                    ProbeResult::Degraded,
                    4100,
                    Some((Cause::Slow, "slow 4.1s", "total is 4.1s, expected total < 800ms")),
                ),
                'f' => (
                    ProbeResult::Fail,
                    1,
                    Some((Cause::Refused, "refused", "refused: nothing listens on 127.0.0.1:9000")),
                ),
                _ => (ProbeResult::Unknown, 0, Some((Cause::Own, "cannot run", "could not run `check_disk`"))),
            };
            let mut phases = Phases::default();
            phases.add(Phase::Connect, Duration::from_millis(1));
            phases.add(Phase::Wait, Duration::from_millis(ms));
            let outcome = Outcome {
                at: self.now,
                result,
                phases,
                trouble: trouble.map(|(cause, brief, text)| Trouble::new(cause, brief, text)),
                evidence: Evidence { status: (letter == 'o').then_some(200), ..Evidence::default() },
                lag: Duration::ZERO,
                latency_suspect: false,
            };
            self.fact(ProbeFact::Outcome { probe: probe(name), outcome: Box::new(outcome), next: Some(self.now) });
        }
    }

    fn outage(width: u16, height: u16) -> Self {
        let mut world = Self::new(width, height);
        for name in ["storage-a", "api", "edge-lb", "search", "login"] {
            world.configured(name);
            world.outcomes(name, "ooo");
        }
        world.outcomes("storage-a", "ff");
        world.outcomes("api", "ff");
        world.outcomes("search", "dd");
        world.outcomes("edge-lb", "f");
        world
    }

    /// Lets seconds pass.
    pub(super) fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// The last six hours of a probe: fine, slow in the middle, failing at the end.
    pub(super) fn past(&self, name: &str, generation: u64) -> History {
        let ms = |it: u64| Some(Duration::from_millis(it));
        let point = |at: u64| match at {
            0..20 => Point::default(),
            30..40 => Point { unwatched: true, ..Point::default() },
            50..56 => Point { ok: 3, degraded: 1, p50: ms(60), p99: ms(900), most: ms(900), ..Point::default() },
            112..120 => Point { fail: 4, ..Point::default() },
            _ => Point { ok: 4, p50: ms(30 + at % 7), p99: ms(45), most: ms(50 + at % 3), ..Point::default() },
        };
        let day = |at: i8| Day {
            date: jiff::civil::date(2024, 8, at),
            up: (at > 2).then_some(if at == 17 { 0.971 } else { 1.0 }),
            down: Duration::from_secs(if at == 17 { 2460 } else { 0 }),
            known: Duration::ZERO,
            unwatched: Duration::ZERO,
        };
        History {
            generation,
            probe: probe(name),
            from: self.now - SignedDuration::from_hours(6),
            until: self.now,
            points: (0..120).map(point).collect(),
            whole: Point {
                ok: 362,
                degraded: 6,
                fail: 32,
                unknown: 0,
                least: ms(28),
                p50: ms(33),
                p95: ms(48),
                p99: ms(880),
                most: ms(912),
                unwatched: false,
            },
            days: (1..20).map(day).collect(),
            known_since: Some(self.now - SignedDuration::from_hours(5)),
            grain: "minutes".into(),
            unwatched: Duration::from_secs(1800),
        }
    }

    pub(super) fn cx(&self) -> Context<'_> {
        Context {
            now: self.now,
            zone: &self.zone,
            board: &self.board,
            width: self.width,
            height: self.height,
            focused: true,
            me: "alice",
            reach: Default::default(),
        }
    }

    fn shown(&self, pane: &ServicesPane) -> Vec<String> {
        let area = Rect::new(0, 0, self.width, self.height);
        let mut buf = Buffer::empty(area);
        pane.view(&self.cx(), &Theme::mono(), area, &mut buf);
        let row = |y: u16| (0..self.width).map(|x| buf[(x, y)].symbol()).collect::<String>().trim_end().to_string();
        (0..self.height).map(row).collect()
    }
}

#[test]
fn rows_are_red_first_with_columns_aligned() {
    let pane = ServicesPane::default();
    assert_eq!(
        World::outage(80, 5).shown(&pane),
        [
            "x storage-a down     06:44:06      ▃▃▃×× FIRST RED refused: nothing listens on …",
            "x api       down     06:44:08      ▃▃▃×× refused: nothing listens on 127.0.0.1:…",
            "? edge-lb   suspect  06:44:12       ▃▃▃× refused: nothing listens on 127.0.0.1:…",
            "! search    degraded 06:44:10      ▁▁▁██ total is 4.1s, expected total < 800ms",
            "o login     up       06:44:03        ▃▃▃ 32ms",
        ]
    );
}

#[test]
fn a_reason_goes_on_below_its_row_where_the_list_has_rows_to_spare() {
    let mut pane = ServicesPane::default();
    let mut world = World::outage(80, 8);
    assert_eq!(
        world.shown(&pane),
        [
            "x storage-a down     06:44:06      ▃▃▃×× FIRST RED refused: nothing listens on",
            "    127.0.0.1:9000",
            "x api       down     06:44:08      ▃▃▃×× refused: nothing listens on",
            "    127.0.0.1:9000",
            "? edge-lb   suspect  06:44:12       ▃▃▃× refused: nothing listens on",
            "    127.0.0.1:9000",
            "! search    degraded 06:44:10      ▁▁▁██ total is 4.1s, expected total < 800ms",
            "o login     up       06:44:03        ▃▃▃ 32ms",
        ]
    );
    assert_eq!(pane.wanted_rows(&world.cx()), 8);
    let press = |row| Mouse { kind: MouseKind::Press, row, column: 0 };
    pane.mouse(&world.cx(), press(3));
    assert_eq!(pane.selected(&world.board), Some(probe("api")), "its second row belongs to it");
    pane.mouse(&world.cx(), press(7));
    assert_eq!(pane.selected(&world.board), Some(probe("login")));
    world.outcomes("edge-lb", "ooo");
    world.height = 6;
    let shown = world.shown(&pane);
    assert!(shown[1].starts_with("    127") && shown[2].ends_with("127.0.0.1:…"), "the worst first: {shown:?}");
}

#[test]
fn a_reason_comes_before_what_is_well_and_has_no_room() {
    let mut world = World::new(80, 5);
    for at in 0..8 {
        world.configured(&format!("p{at}"));
        world.outcomes(&format!("p{at}"), if at == 6 { "off" } else { "ooo" });
    }
    let mut pane = ServicesPane::default();
    let reasons = |pane: &ServicesPane| world.shown(pane).iter().filter(|it| it.starts_with("    127")).count();
    assert_eq!(pane.urgent_rows(&world.cx()), (1, 1));
    assert_eq!(reasons(&pane), 1, "{:?}", world.shown(&pane));
    let title = pane.title(&world.cx(), &Theme::mono(), 80).to_string();
    assert!(title.ends_with("4 more below"), "{title}");
    for _ in 0..4 {
        pane.update(&world.cx(), ServicesCommand::Down);
        assert!(world.shown(&pane).len() == 5);
    }
    let shown = world.shown(&pane);
    assert_eq!(reasons(&pane), 0, "the selected row is in sight: {shown:?}");
    assert!(shown[4].starts_with("o p3"), "{shown:?}");
}

#[test]
fn a_narrow_screen_keeps_name_trouble_and_time() {
    let pane = ServicesPane::default();
    assert_eq!(
        World::outage(40, 5).shown(&pane),
        [
            "x storage-a refused             06:44:06",
            "x api       refused             06:44:08",
            "? edge-lb   refused             06:44:12",
            "! search    slow 4.1s           06:44:10",
            "o login     32ms                06:44:03",
        ]
    );
}

#[test]
fn no_probes_is_a_friendly_line() {
    let shown = World::new(80, 2).shown(&ServicesPane::default());
    assert_eq!(shown[0], "no probes: `hotseat init` writes a config to start from");
}

#[test]
fn selection_stays_on_the_probe_when_rows_move() {
    let mut world = World::outage(80, 5);
    let mut pane = ServicesPane::default();
    assert_eq!(pane.selected(&world.board), Some(probe("storage-a")));
    pane.update(&world.cx(), ServicesCommand::Bottom);
    assert_eq!(pane.selected(&world.board), Some(probe("login")));
    world.outcomes("login", "ff");
    assert_eq!(pane.selected(&world.board), Some(probe("login")));
    world.fact(ProbeFact::Removed { probe: probe("login") });
    assert_eq!(pane.selected(&world.board), Some(probe("storage-a")));
}

#[test]
fn the_selected_row_is_scrolled_into_view() {
    let world = World::outage(80, 2);
    let mut pane = ServicesPane::default();
    pane.update(&world.cx(), ServicesCommand::Bottom);
    assert!(world.shown(&pane)[1].starts_with("o login"));
    pane.update(&world.cx(), ServicesCommand::Top);
    assert!(world.shown(&pane)[0].starts_with("x storage-a"));
}

#[test]
fn of_several_hosts_a_row_is_quietened_on_its_own_alone() {
    let mut world = World::outage(80, 5);
    let pane_asks = |world: &World| ServicesPane::default().update(&world.cx(), ServicesCommand::Silence);
    assert_eq!(pane_asks(&world), [Effect::Show(Sheet::Silence("probe=storage-a".into()))]);
    world.board.hosts = [("h", None), ("web-1", None)].map(|(host, lost)| (HostId::new(host), lost)).into();
    assert_eq!(pane_asks(&world), [Effect::Show(Sheet::Silence("probe=storage-a host=h".into()))]);
}

#[test]
fn run_and_burst_ask_for_the_selected_probe() {
    let world = World::outage(80, 5);
    let mut pane = ServicesPane::default();
    let effects = pane.update(&world.cx(), ServicesCommand::RunNow);
    assert_eq!(effects, [Effect::Request(Request::RunProbe(probe("storage-a")))]);
    let effects = pane.update(&world.cx(), ServicesCommand::Burst);
    assert_eq!(effects, [Effect::Request(Request::BurstProbe(probe("storage-a")))]);
}

#[test]
fn keys_on_a_group_mean_all_of_it_and_say_how_many() {
    let mut world = World::new(80, 12);
    for name in ["api", "cdn", "www"] {
        world.configured_in(name, Some("edge"));
        world.outcomes(name, "ff");
    }
    world.configured_in("db", Some("storage"));
    world.outcomes("db", "ff");
    let mut pane = ServicesPane::default();
    pane.update(&world.cx(), ServicesCommand::Top);
    assert_eq!(pane.selected_group(&world.board), Some("edge"));
    let asked = |effects: Vec<Effect>| {
        let [Effect::Each { requests, what }, Effect::Notice(said)] = effects.as_slice() else { panic!("{effects:?}") };
        let name = |it: &Request| match it {
            Request::RunProbe(it) => format!("run {}", it.name()),
            Request::BurstProbe(it) => format!("burst {}", it.name()),
            other => panic!("{other:?}"),
        };
        (requests.iter().map(name).collect::<Vec<_>>().join(", "), what.clone(), said.text.clone())
    };
    let run = asked(pane.update(&world.cx(), ServicesCommand::RunNow));
    assert_eq!(run, ("run api, run cdn, run www".into(), "3 in `edge`".into(), "running 3 in `edge` now".into()));
    let until = Some(world.now + SignedDuration::from_secs(60));
    world.fact(ProbeFact::Burst { probe: probe("api"), until });
    let burst = asked(pane.update(&world.cx(), ServicesCommand::Burst));
    assert_eq!(burst.0, "burst cdn, burst www", "the key must not end the one that runs");
    for name in ["cdn", "www"] {
        world.fact(ProbeFact::Burst { probe: probe(name), until });
    }
    let end = asked(pane.update(&world.cx(), ServicesCommand::Burst));
    assert_eq!((end.0.as_str(), end.2.as_str()), ("burst api, burst cdn, burst www", "the bursts of 3 in `edge` end"));
    assert_eq!(pane.to_acknowledge(&world.board).len(), 3);
}

#[test]
fn what_an_earlier_run_found_counts_with_its_reason_until_this_one_has_looked() {
    let mut before = World::new(100, 3);
    before.configured("api");
    before.outcomes("api", "offf");
    let mut world = World::new(100, 3);
    world.now = before.now;
    world.board.probes.restore(before.board.probes.kept());
    world.configured("api");
    let pane = ServicesPane::default();
    let shown = world.shown(&pane);
    assert!(shown[0].starts_with("x api      down     06:43:52"), "{shown:?}");
    assert!(shown[0].contains("not run yet") && shown[0].contains("refused: nothing listens"), "{shown:?}");
    assert_eq!(world.board.count(Health::Down), 1);
    world.outcomes("api", "f");
    let shown = world.shown(&pane);
    assert!(!shown[0].contains("not run yet") && shown[0].contains("refused: nothing listens"), "{shown:?}");
}

#[test]
fn a_burst_counts_down_and_wakes_the_screen() {
    let mut world = World::outage(120, 5);
    let pane = ServicesPane::default();
    assert_eq!(pane.next_wake(&world.cx()), None);
    let until = world.now.checked_add(SignedDuration::from_secs(42)).expect("in range");
    world.fact(ProbeFact::Burst { probe: probe("api"), until: Some(until) });
    assert!(world.shown(&pane)[1].contains("burst 42s"));
    assert!(pane.next_wake(&world.cx()).is_some());
}

fn acked(world: &mut World, name: &str) {
    let at = world.now;
    world.fact(ProbeFact::Acknowledged { probe: probe(name), by: "bob".into(), at });
}

#[test]
fn acknowledge_means_what_is_marked_and_nothing_else() {
    let mut world = World::outage(80, 5);
    let mut pane = ServicesPane::default();
    assert_eq!(pane.to_acknowledge(&world.board), [probe("storage-a")]);
    pane.update(&world.cx(), ServicesCommand::Bottom);
    assert_eq!(pane.to_acknowledge(&world.board), [], "login is up");
    let effects = pane.update(&world.cx(), ServicesCommand::AcknowledgeFor);
    assert_eq!(effects, [Notice::info("nothing is the matter with `login`")]);
    acked(&mut world, "storage-a");
    pane.update(&world.cx(), ServicesCommand::Top);
    assert_eq!(pane.to_acknowledge(&world.board), [], "api is not seen, but not marked");
    let effects = pane.update(&world.cx(), ServicesCommand::AcknowledgeFor);
    assert_eq!(effects, [Effect::Show(Sheet::Acknowledge(vec![probe("storage-a")]))], "another end");
    assert!(world.shown(&pane)[0].contains("ack bob"));
}

#[test]
fn while_nobody_chose_the_first_unseen_trouble_is_marked_and_chosen_by_the_key() {
    let mut world = World::outage(80, 5);
    let mut pane = ServicesPane::default();
    acked(&mut world, "storage-a");
    assert_eq!((pane.selected(&world.board), pane.is_chosen(&world.board)), (Some(probe("api")), false));
    let effects = pane.update(&world.cx(), ServicesCommand::AcknowledgeFor);
    assert_eq!(effects, [Effect::Show(Sheet::Acknowledge(vec![probe("api")]))]);
    assert!(pane.is_chosen(&world.board));
    acked(&mut world, "api");
    assert_eq!(pane.selected(&world.board), Some(probe("api")), "it stays, although others are not seen");
}

#[test]
fn keys_on_a_group_that_was_seen_leave_other_groups_alone() {
    let mut world = World::new(80, 12);
    for (name, group) in [("api", "g3"), ("db", "g6"), ("dc", "g6")] {
        world.configured_in(name, Some(group));
        world.outcomes(name, "ff");
    }
    acked(&mut world, "db");
    acked(&mut world, "dc");
    let mut pane = ServicesPane::default();
    pane.update(&world.cx(), ServicesCommand::Top);
    pane.update(&world.cx(), ServicesCommand::Down);
    pane.update(&world.cx(), ServicesCommand::Down);
    assert_eq!(pane.selected_group(&world.board), Some("g6"));
    assert_eq!(pane.to_acknowledge(&world.board), []);
    assert_eq!(pane.acknowledged(&world.board), [probe("db"), probe("dc")]);
    let effects = pane.update(&world.cx(), ServicesCommand::AcknowledgeFor);
    assert_eq!(effects, [Effect::Show(Sheet::Acknowledge(vec![probe("db"), probe("dc")]))]);
}

#[test]
fn what_is_folded_away_or_filtered_out_is_not_what_keys_mean() {
    let mut world = World::new(80, 12);
    for (name, group) in [("api", "edge"), ("cdn", "edge"), ("db", "storage")] {
        world.configured_in(name, Some(group));
        world.outcomes(name, "ff");
    }
    let mut pane = ServicesPane::default();
    pane.update(&world.cx(), ServicesCommand::NextRed);
    assert_eq!(pane.selected(&world.board), Some(probe("cdn")));
    pane.update(&world.cx(), ServicesCommand::FoldAll);
    let effects = pane.update(&world.cx(), ServicesCommand::AcknowledgeFor);
    assert_eq!(effects, [Effect::Show(Sheet::Acknowledge(vec![probe("api"), probe("cdn")]))], "the heading is marked");
    pane.arrangement.filter = Filter::parse("db").expect("a filter");
    assert_eq!(pane.selected_all(&world.board), [probe("db")]);
    pane.arrangement.filter = Filter::parse("nothing-like-this").expect("a filter");
    assert_eq!(pane.selected_all(&world.board), []);
    pane.arrangement = Arrangement { flat: true, ..Arrangement::default() };
    assert_eq!(pane.selected_all(&world.board), [probe("api")], "no heading is there to mean all of it");
}

#[test]
fn the_detail_says_why_and_where_the_time_went() {
    let world = World::outage(80, 48);
    let mut pane = ServicesPane::default();
    pane.update(&world.cx(), ServicesCommand::Detail);
    assert!(pane.wants_zoom());
    let shown = world.shown(&pane).join("\n");
    for part in [
        "x storage-a  down since 06:44:06",
        "http      http://storage-a.example/health",
        "every 15s, timeout 5.0s, retry 5.0s; down at 2/3, up at 2/2",
        "tells     nobody",
        "last run 06:44:07, fail",
        "why       refused: nothing listens on 127.0.0.1:9000",
        "against the good run of 06:43:53",
        "connect    1.0ms",
        "past 6h to now, reading",
        "last 5 outcomes",
        "06:43:53 o ok          32ms  connect 1.0ms, wait 31ms",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    assert!(pane.back(&world.cx()));
    assert!(!pane.back(&world.cx()));
}

#[test]
fn the_past_is_asked_for_and_drawn_with_its_results_percentiles_and_days() {
    let world = World::outage(80, 70);
    let mut pane = ServicesPane::default();
    let asked = pane.update(&world.cx(), ServicesCommand::Detail);
    let [Effect::Request(Request::History(request))] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!((request.probe.name(), request.points, request.zone.as_str()), ("storage-a", 144, "UTC"));
    pane.inbound(&world.cx(), &Inbound::History(Box::new(world.past("storage-a", request.generation))));
    let shown = world.shown(&pane).join("\n");
    for part in [
        "past 6h to now, by minute",
        "  900ms ",
        "   runs             ···",
        "!!!",
        "xxxx",
        "00:44                            03:44                             06:44",
        "latency   least 28ms  p50 33ms  p95 48ms  p99 880ms  most 912ms",
        "·░░░░░░·",
        "results   32 of 400 runs failed, 6 degraded",
        "unwatched 30m00s of this time (░): nothing looked",
        "2024-08-19 100%  7d 99.58%",
        "worst     2024-08-17 97.1% (41m00s down)",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let moved = pane.update(&world.cx(), ServicesCommand::ZoomIn);
    let [Effect::Request(Request::History(request))] = moved.as_slice() else { panic!("{moved:?}") };
    assert_eq!(request.until.duration_since(request.from), SignedDuration::from_hours(1));
    assert!(world.shown(&pane).join("\n").contains("past 1h to now"));
}

#[test]
fn moving_through_the_past_brings_it_into_sight() {
    let world = World::outage(80, 14);
    let mut pane = ServicesPane::default();
    pane.update(&world.cx(), ServicesCommand::Detail);
    pane.update(&world.cx(), ServicesCommand::Bottom);
    assert!(!world.shown(&pane).join("\n").contains("past "), "{:?}", world.shown(&pane));
    pane.update(&world.cx(), ServicesCommand::ZoomIn);
    assert!(world.shown(&pane).join("\n").contains("past 1h to now"), "{:?}", world.shown(&pane));
}

#[test]
fn a_wide_screen_shows_run_and_past_side_by_side() {
    let world = World::outage(160, 30);
    let mut pane = ServicesPane::default();
    pane.update(&world.cx(), ServicesCommand::Detail);
    assert!(world.shown(&pane)[0].contains("past 6h to now"), "{:?}", world.shown(&pane)[0]);
}

#[test]
fn the_evidence_of_the_failing_run_is_shown_whole() {
    let mut world = World::new(80, 60);
    world.configured("api");
    world.outcomes("api", "oof");
    let not_after = world.now + SignedDuration::from_hours(24 * 3);
    let mut evidence =
        Evidence { status: Some(502), body: "<h1>bad gateway</h1>\nupstream\u{1b}[31m".into(), ..Evidence::default() };
    evidence.body_bytes = 40_960;
    evidence.headers = vec![("server".into(), "nginx".into())];
    evidence.chain = vec![Certificate { days: 3, not_after, subject: "CN=api".into(), issuer: "CN=root".into() }];
    evidence.parts =
        vec![Part { name: "node-2".into(), result: ProbeResult::Fail, text: "refused".into(), took: None }];
    let trouble = Some(Trouble::new(Cause::Status, "502", "status is 502, expected status == 200"));
    let mut phases = Phases::default();
    phases.add(Phase::Wait, Duration::from_millis(90));
    let outcome = Outcome {
        at: world.now,
        result: ProbeResult::Fail,
        phases,
        trouble,
        evidence,
        lag: Duration::ZERO,
        latency_suspect: false,
    };
    world.fact(ProbeFact::Outcome { probe: probe("api"), outcome: Box::new(outcome), next: None });
    let mut pane = ServicesPane::default();
    pane.update(&world.cx(), ServicesCommand::Detail);
    let shown = world.shown(&pane).join("\n");
    for part in [
        "status    502",
        "1 part, 1 not ok",
        "x node-2  refused",
        "! 1       CN=api",
        "3 days left, until 2024-08-22",
        "issued by CN=root",
        "server: nginx",
        "of 40K)",
        "<h1>bad gateway</h1>",
        "wait        90ms",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'));
}

#[test]
fn performance_data_is_drawn_over_the_runs_with_the_end_of_its_range() {
    let mut world = World::new(80, 60);
    world.configured("disk");
    for at in 0..40 {
        let perf = |label: &str, value: f64, warn: Option<&str>| Perf {
            warn: warn.map(ToString::to_string),
            ..Perf::plain(label, value, if label == "load" { "" } else { "B" })
        };
        world.now += SignedDuration::from_secs(30);
        let evidence = Evidence {
            perf: vec![perf("/srv", 1e9 * f64::from(at), Some("20000000000")), perf("load", 0.25, None)],
            ..Evidence::default()
        };
        let outcome = Outcome {
            at: world.now,
            result: ProbeResult::Ok,
            phases: Phases::default(),
            trouble: None,
            evidence,
            lag: Duration::ZERO,
            latency_suspect: false,
        };
        world.fact(ProbeFact::Outcome { probe: probe("disk"), outcome: Box::new(outcome), next: None });
    }
    let mut pane = ServicesPane::default();
    pane.update(&world.cx(), ServicesCommand::Detail);
    let shown = world.shown(&pane);
    let at = shown.iter().position(|it| it.starts_with("values over the last 40 runs, 19m")).expect("a heading");
    assert_eq!(shown[at + 1].trim_end(), "! /srv  39GB, from 0 to 39G");
    assert!(shown[at + 2].starts_with("    39G "), "{:#?}", &shown[at..]);
    assert!(shown[at + 3].starts_with("    20G "), "the warning begins there: {:#?}", &shown[at..]);
    assert_eq!(shown[at + 5].trim_end(), "load  0.25, from 0.25 to 0.25");
}

#[test]
fn keys_mean_the_whole_group_where_that_makes_sense() {
    let mut world = World::new(80, 8);
    for (name, letters) in [("api", "ff"), ("cdn", "ff"), ("www", "oo")] {
        world.configured_in(name, Some("edge"));
        world.outcomes(name, letters);
    }
    let mut pane = ServicesPane::default();
    assert_eq!(pane.selected(&world.board), Some(probe("api")), "the first probe, not its heading");
    pane.update(&world.cx(), ServicesCommand::Top);
    assert_eq!(world.shown(&pane)[0], "▾ x edge  2 red, 1 ok");
    assert_eq!(pane.to_acknowledge(&world.board), [probe("api"), probe("cdn")]);
    let run = pane.update(&world.cx(), ServicesCommand::RunNow);
    assert!(matches!(&run[..], [Effect::Each { requests, .. }, _] if requests.len() == 3), "{run:?}");
    pane.update(&world.cx(), ServicesCommand::Detail);
    assert_eq!(world.shown(&pane)[0], "▸ x edge  2 red, 1 ok  api refused");
    pane.update(&world.cx(), ServicesCommand::NextRed);
    assert_eq!(pane.selected(&world.board), Some(probe("api")), "the first below the heading");
    assert!(world.shown(&pane).iter().any(|it| it.starts_with(" x api ")), "it was opened");
    pane.update(&world.cx(), ServicesCommand::NextRed);
    assert_eq!(pane.selected(&world.board), Some(probe("cdn")));
}

#[test]
fn keys_that_mean_one_probe_say_so_on_the_heading_of_a_group() {
    let mut world = World::new(80, 8);
    for name in ["api", "cdn"] {
        world.configured_in(name, Some("edge"));
        world.outcomes(name, "ff");
    }
    let mut pane = ServicesPane::default();
    pane.update(&world.cx(), ServicesCommand::Top);
    for (command, what) in [
        (ServicesCommand::Explain, "one probe at a time is explained"),
        (ServicesCommand::Beside, "one probe at a time is run from here"),
        (ServicesCommand::Earlier, "the past is shown of one probe"),
        (ServicesCommand::ZoomIn, "the past is shown of one probe"),
    ] {
        let effects = pane.update(&world.cx(), command);
        let said = format!("{what}: choose one of the 2 in `edge`");
        assert_eq!(effects, [Notice::info(said)]);
        assert_eq!(pane.selected_group(&world.board), Some("edge"));
    }
    pane.update(&world.cx(), ServicesCommand::Down);
    let effects = pane.update(&world.cx(), ServicesCommand::Explain);
    assert!(effects.contains(&Effect::Show(Sheet::Explain(probe("api")))), "{effects:?}");
}

#[test]
fn the_next_red_is_the_next_row_that_is() {
    let mut world = World::new(80, 12);
    for (name, group) in [("api", "edge"), ("db", "core"), ("cdn", "edge"), ("www", "edge")] {
        world.configured_in(name, Some(group));
    }
    // By their ages `db` stands between the two of `edge`.
    for name in ["api", "db", "cdn"] {
        world.outcomes(name, "ff");
    }
    world.outcomes("www", "oo");
    let mut pane = ServicesPane::default();
    let mut visited = Vec::new();
    for command in [ServicesCommand::NextRed, ServicesCommand::NextRed, ServicesCommand::PreviousRed] {
        pane.update(&world.cx(), command);
        visited.push(pane.selected(&world.board).expect("one"));
    }
    assert_eq!(visited, [probe("cdn"), probe("db"), probe("cdn")]);
}

#[test]
fn how_many_are_red_stays_in_a_title_that_has_little_room() {
    let mut world = World::new(80, 4);
    for at in 0..30 {
        world.configured(&format!("p{at:02}"));
        world.outcomes(&format!("p{at:02}"), if at < 20 { "ff" } else { "oo" });
    }
    let pane = ServicesPane::default();
    let title = |room| pane.title(&world.cx(), &Theme::mono(), room).to_string();
    let whole = "red first (20 red, 10 ok) · 26 more below, 16 red";
    assert_eq!(title(whole.chars().count()), whole);
    assert_eq!(title(48), "20 red, 10 ok · 26 more below, 16 red");
    assert_eq!(title(36), "20 red, 10 ok · 16 red below");
    assert_eq!(title(27), "20 red · 16 red below");
}

#[test]
fn what_is_below_is_counted_in_probes_and_not_in_rows() {
    let mut world = World::new(80, 4);
    for at in 0..30 {
        world.configured_in(&format!("p{at:02}"), Some(["core", "edge", "web"][at % 3]));
        world.outcomes(&format!("p{at:02}"), "ff");
    }
    let mut pane = ServicesPane::default();
    let title = |world: &World, pane: &ServicesPane| pane.title(&world.cx(), &Theme::mono(), 80).to_string();
    let shown = world.shown(&pane);
    let below = 30 - shown.iter().filter(|it| it.contains(" p")).count();
    let said = title(&world, &pane);
    assert!(said.ends_with(&format!("{below} more below, {below} red")), "{said} {shown:?}");
    // A heading whose members are folded away stands for them.
    pane.update(&world.cx(), ServicesCommand::FoldAll);
    world.height = 2;
    let said = title(&world, &pane);
    assert!(said.ends_with("10 more below, 10 red"), "{said} {:?}", world.shown(&pane));
}

#[test]
fn a_filter_shows_while_it_is_typed_and_escape_brings_back_what_was() {
    let world = World::outage(80, 6);
    let mut pane = ServicesPane::default();
    pane.update(&world.cx(), ServicesCommand::Filter);
    for letter in "red".chars() {
        pane.key(&world.cx(), &Key::char(letter));
    }
    let shown = world.shown(&pane);
    let marked: Vec<&String> = shown.iter().filter(|it| it.starts_with("x ")).collect();
    assert!(marked.len() == 2 && marked[0].contains("storage-a") && marked[1].contains("api"), "{shown:?}");
    assert!(shown[5].starts_with("/red"), "{shown:?}");
    pane.key(&world.cx(), &Key::plain(crate::domain::key::KeyCode::Enter));
    assert!(!pane.captures_keys());
    assert!(pane.back(&world.cx()), "the filter is a thing that is open");
    assert!(world.shown(&pane)[5].contains("login"));
}
