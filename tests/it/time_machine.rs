//! The time machine on the screen: pictures of the past, keys through it, and back.

use hotseat::app::effect::Effect;
use hotseat::app::event::Event;
use hotseat::domain::fact::{Actor, Fact, RuntimeFact};
use hotseat::domain::ids::{HostId, ProbeId};
use hotseat::domain::incident::board::IncidentBoard;
use hotseat::domain::past::{FAILED, Found, Moment, Past, PastEvent, PastKind, PastRequest, Step};
use hotseat::domain::request::{Inbound, Request};
use jiff::{SignedDuration, Timestamp};

use crate::support::screen::{Desk, at, rows, snapshot};

/// The questions about the past that went out since this was last asked.
fn asked(desk: &mut Desk) -> Vec<PastRequest> {
    let asked = desk.effects.iter().filter_map(|it| match it {
        Effect::Request(Request::Past(request)) => Some(request.clone()),
        _ => None,
    });
    let asked = asked.collect();
    desk.effects.clear();
    asked
}

fn event(at: Timestamp, kind: PastKind, subject: &str, text: &str) -> PastEvent {
    let (subject, text) = (subject.to_string(), text.to_string());
    PastEvent { at, kind, subject, text, actor: Actor::Runtime, nothing_since: None }
}

/// Before anybody had declared the incident, and what happened then.
fn moment(desk: &Desk, time: &str, event: PastEvent) -> Moment {
    let board = hotseat::domain::board::Board { incidents: IncidentBoard::default(), ..desk.model.board.clone() };
    Moment { at: at(time), events: vec![event], gap: None, absent: Vec::new(), board }
}

fn answer(desk: &mut Desk, generation: u64, found: Found) {
    let host = HostId::new("host");
    let past = Past { host, generation, known_since: Some(at("12:00:00")), found };
    desk.event(Event::Inbound(Inbound::Past(Box::new(past))));
}

/// The outage, seen again at the moment at which api went down.
fn in_past(width: u16, height: u16) -> Desk {
    let mut desk = Desk::outage(width, height);
    desk.press("[");
    let generation = asked(&mut desk)[0].generation;
    let down = event(at("14:43:58"), PastKind::Probe, "api", "up -> down: timeout after 5 s in wait");
    let moment = moment(&desk, "14:43:58", down);
    answer(&mut desk, generation, Found::Moment(Box::new(moment)));
    desk.effects.clear();
    desk
}

#[test]
fn the_past_at_the_sizes_the_screen_is_designed_for() {
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let (buf, cursor) = in_past(width, height).draw(false);
        insta::assert_snapshot!(format!("past-{width}x{height}"), snapshot(&buf, cursor));
    }
}

#[test]
fn the_past_is_said_at_every_size_in_words() {
    for (width, height) in [(40, 12), (60, 16), (80, 24), (200, 60)] {
        let text = rows(&in_past(width, height).draw(true).0).join("\n");
        assert!(text.contains("PAST 14:43:58") && text.contains("esc live"), "{width}x{height}\n{text}");
    }
}

#[test]
fn steps_are_asked_from_where_one_is_and_the_last_one_is_the_present() {
    let mut desk = Desk::outage(120, 40);
    desk.press("]");
    assert_eq!(asked(&mut desk), []);
    assert!(desk.text().contains("this is the present, `[` steps back"), "{}", desk.text());

    let mut desk = in_past(120, 40);
    let then = at("14:43:58");
    assert_eq!(desk.model.now, then);
    desk.press("[");
    let earlier = asked(&mut desk);
    assert_eq!((earlier.len(), earlier[0].step), (1, Step::Before(then)));
    desk.press("] ]");
    assert_eq!(asked(&mut desk), [], "one question at a time");
    answer(&mut desk, earlier[0].generation, Found::Beginning);
    assert!(desk.text().contains("no earlier event: the record begins at 12:00:00"), "{}", desk.text());
    let later = asked(&mut desk);
    assert_eq!((later.len(), later[0].step), (1, Step::After(then)), "what was pressed meanwhile");
    answer(&mut desk, earlier[0].generation, Found::Present);
    assert_eq!(desk.model.now, then, "an answer that is late changes nothing");
    answer(&mut desk, later[0].generation, Found::Present);
    assert_eq!(desk.model.now, desk.now);
    assert!(!desk.text().contains("PAST"), "{}", desk.text());
}

#[test]
fn an_answer_that_takes_a_while_is_said_to_be_on_its_way_and_keys_go_on() {
    let mut desk = Desk::outage(120, 40);
    desk.press("[");
    let generation = asked(&mut desk)[0].generation;
    assert!(!desk.text().contains("reading the past"), "most answers are there at once");
    let wake = desk.model.next_wake(desk.now).expect("a wake");
    assert!(wake <= desk.now + SignedDuration::from_millis(300), "{wake}");
    desk.now += SignedDuration::from_millis(300);
    desk.event(Event::Wake);
    assert!(desk.text().contains("reading the past…"), "{}", desk.text());
    desk.press("2");
    assert_eq!(desk.model.focus, hotseat::panes::PaneId::Logs);
    answer(&mut desk, generation, Found::Beginning);
    assert!(!desk.text().contains("reading the past"), "{}", desk.text());
}

#[test]
fn stepping_along_a_probe_stays_with_it_when_another_is_in_trouble_first() {
    let of = |api: Option<&str>, db: Option<&str>| {
        let mut desk = Desk::new(120, 40);
        desk.probe("api", None, api);
        desk.probe("db", None, db);
        desk.effects.clear();
        desk
    };
    let mut desk = of(Some("refused"), None);
    desk.press("{");
    let first = asked(&mut desk).remove(0);
    assert_eq!(first.about.as_ref().map(ProbeId::name), Some("api"));
    let mut then = moment(&desk, "14:43:58", event(at("14:43:58"), PastKind::Probe, "api", "up -> down"));
    then.board = of(None, Some("refused")).model.board;
    answer(&mut desk, first.generation, Found::Moment(Box::new(then)));
    desk.press("{");
    assert_eq!(asked(&mut desk)[0].about, first.about);
}

#[test]
fn no_form_opens_in_the_past_for_what_can_only_be_done_now() {
    for keys in ["D", "4 s", "4 S"] {
        let mut desk = in_past(120, 40);
        // The board of then, with the incident of now.
        desk.press(keys);
        let text = desk.text();
        assert!(text.contains("this is the past: ") && text.contains("for live, then again"), "{keys}\n{text}");
        assert!(!text.contains("declare > ") && !text.contains("severity:"), "{keys}\n{text}");
    }
}

#[test]
fn a_time_can_be_typed_and_counts_from_now() {
    let mut desk = in_past(120, 40);
    desk.press(": \"past -2h\" enter");
    assert_eq!(asked(&mut desk)[0].step, Step::At(desk.now - SignedDuration::from_hours(2)));
    desk.press(": \"past now\" enter");
    assert_eq!(desk.model.past.at(), None);
}

#[test]
fn braces_step_along_the_selected_probe() {
    let mut desk = Desk::outage(120, 40);
    let selected = desk.model.panes.services.selected(&desk.model.board);
    desk.press("{");
    assert_eq!(asked(&mut desk)[0].about, selected);
    assert!(selected.is_some_and(|it: ProbeId| !it.name().is_empty()));
}

#[test]
fn the_present_goes_on_behind_the_past_and_is_there_again_on_the_way_back() {
    let mut desk = in_past(120, 40);
    assert!(!desk.text().contains("INC-"), "nobody had declared it\n{}", desk.text());
    desk.now += SignedDuration::from_secs(60);
    desk.fact(Fact::Runtime(RuntimeFact::NotDurable { why: Some("the disk is full".into()) }));
    assert_eq!((desk.model.now, &desk.model.board.not_durable), (at("14:43:58"), &None));
    assert!(desk.text().contains("(8m ago)") && desk.text().contains("live: 4 red"), "{}", desk.text());
    desk.press("esc");
    assert_eq!(desk.model.board.not_durable.as_deref(), Some("the disk is full"));
    assert!(desk.model.board.incidents.open_incidents().next().is_some());
    assert_eq!(desk.model.now, desk.now);
}

#[test]
fn the_logs_go_along_and_come_back_to_where_the_reader_was() {
    let mut desk = Desk::outage(120, 40);
    desk.press("2 k k k");
    let before = desk.text();
    desk.press("[");
    let generation = asked(&mut desk)[0].generation;
    let down = event(at("14:43:58"), PastKind::Probe, "api", "up -> down");
    let then = moment(&desk, "14:43:58", down);
    answer(&mut desk, generation, Found::Moment(Box::new(then)));
    let asked = desk.asked.clone().expect("rows were asked for");
    assert_eq!(asked.anchor, hotseat::domain::log::Anchor::Tail);
    assert!(asked.query.ends_with("06:43:58.000000001Z"), "nothing after it: {}", asked.query);
    assert!(desk.text().contains("until 14:43:58"), "{}", desk.text());
    desk.press("esc");
    assert_eq!(desk.text(), before);
}

#[test]
fn what_would_change_something_is_refused_and_a_note_is_taken() {
    for script in ["1 r", "a", "D \"edge\" enter", "1 S", ": \"declare edge\" enter", "ctrl-r"] {
        let mut desk = in_past(120, 40);
        desk.press(script);
        let changes = |it: &&Effect| matches!(it, Effect::Request(request) if request.changes());
        let changing: Vec<&Effect> = desk.effects.iter().filter(changes).collect();
        let drafts = changing.iter().all(|it| matches!(it, Effect::Request(Request::SaveNoteDraft(_))));
        assert!(drafts, "{script}: {changing:?}");
        assert!(desk.text().contains("this is the past: esc for live"), "{script}\n{}", desk.text());
    }
    let mut desk = in_past(120, 40);
    desk.press(": \"note the disk was full then\" enter");
    assert!(matches!(desk.effects.as_slice(), [Effect::Request(Request::Note(it))] if it.at.is_none()));
    assert!(desk.text().contains("the note is written as of now"), "{}", desk.text());
}

#[test]
fn a_gap_and_a_start_say_from_when_until_when_nobody_watched() {
    let mut desk = in_past(200, 60);
    for (gap, nothing_since) in [(Some((at("03:10:00"), at("03:42:00"))), None), (None, Some(at("03:10:00")))] {
        desk.press("[");
        let generation = asked(&mut desk)[0].generation;
        let start = PastEvent { nothing_since, ..event(at("03:42:00"), PastKind::Start, "hotseat", "started") };
        let then = Moment { gap, ..moment(&desk, "03:42:00", start) };
        answer(&mut desk, generation, Found::Moment(Box::new(then)));
        assert!(desk.text().contains("nothing was recorded 03:10:00-03:42:00"), "{}", desk.text());
    }
}

#[test]
fn a_past_that_cannot_be_read_says_so_and_can_be_asked_again() {
    let mut desk = Desk::outage(120, 40);
    desk.press("[");
    assert_eq!(asked(&mut desk).len(), 1);
    desk.event(Event::Inbound(Inbound::Failed(format!("{FAILED}: input/output error"))));
    assert!(desk.text().contains("could not read the past: input/output error"), "{}", desk.text());
    desk.press("[");
    assert_eq!(asked(&mut desk).len(), 1);
}

/// A run that took this long to be answered, from this address.
fn run(at: Timestamp, address: &str) -> hotseat::domain::probe::outcome::Outcome {
    use hotseat::domain::probe::outcome::{Evidence, Outcome, Phases, ProbeResult};
    Outcome {
        at,
        result: ProbeResult::Ok,
        phases: Phases { wait: Some(std::time::Duration::from_millis(40)), ..Phases::default() },
        trouble: None,
        evidence: Evidence { address: Some(address.into()), ..Evidence::default() },
        lag: std::time::Duration::ZERO,
        latency_suspect: false,
    }
}

#[test]
fn a_run_from_here_stands_beside_that_of_the_agent() {
    use hotseat::app::event::RanHere;
    let mut desk = Desk::outage(120, 40);
    desk.press("1 h");
    let asked: Vec<&Effect> = desk
        .effects
        .iter()
        .filter(|it| matches!(it, Effect::RunHere(..) | Effect::Request(Request::RunProbe(_))))
        .collect();
    let [Effect::RunHere(here, Some(_)), Effect::Request(Request::RunProbe(theirs))] = asked.as_slice() else {
        panic!("both run: {asked:?}")
    };
    assert_eq!(here, theirs);
    let probe = here.clone();
    let setup = desk.model.board.probes.get(&probe).expect("a probe").setup.clone();
    assert!(desk.text().contains("running…"), "{}", desk.text());
    let outcome = run(desk.now, "10.9.9.9:443");
    let (kind, target) = (setup.kind.clone(), setup.target.clone());
    let ran = Ok(Box::new(RanHere { kind, target, outcome: outcome.clone(), as_shown: false }));
    desk.event(Event::RanHere { probe: probe.clone(), ran });
    let text = desk.text();
    assert!(text.contains("here it answers in 40ms, the agent"), "{text}");
    assert!(text.contains("10.9.9.9:443"), "{text}");
    assert!(!text.contains("not the same"), "{text}");

    assert!(!text.contains("as the agent shows it"), "{text}");

    let target = "https://other.example/".into();
    let ran = Ok(Box::new(RanHere { kind: setup.kind, target, outcome, as_shown: true }));
    desk.event(Event::RanHere { probe: probe.clone(), ran });
    assert!(desk.text().contains("not the same: the agent looks at"), "{}", desk.text());
    assert!(desk.text().contains("as the agent shows it"), "{}", desk.text());
    desk.event(Event::RanHere { probe, ran: Err("the config of this screen has no probe `api`".into()) });
    assert!(desk.text().contains("not run here: the config of this screen has no probe `api`"), "{}", desk.text());
    desk.press("esc");
    assert!(!desk.text().contains("not run here"), "{}", desk.text());
}

#[test]
fn nothing_is_run_from_here_in_the_past() {
    let mut desk = in_past(120, 40);
    desk.press("1 h");
    assert!(!desk.effects.iter().any(|it| matches!(it, Effect::RunHere(..))), "{:?}", desk.effects);
    assert!(desk.text().contains("this is the past: esc for live"), "{}", desk.text());
}

#[test]
fn the_band_names_the_hosts_that_nothing_is_known_of() {
    use hotseat::domain::past::Absent;
    let absent = |host: &str, why: &str| Absent { host: HostId::new(host), why: why.into() };
    let lost = || vec![absent("web-1", "lost"), absent("web-2", "lost")];
    let many = (1..=5).map(|it| absent(&format!("web-{it}"), "not recorded then")).collect();
    for (absent, expected) in [
        (Vec::new(), None),
        (lost(), Some("without web-1, web-2 (lost)")),
        (
            [lost(), vec![absent("db\u{1b}[2J1", "did not answer")]].concat(),
            Some("without web-1 (lost), web-2 (lost), db1 (did not answer)"),
        ),
        (many, Some("without web-1, web-2, web-3 and 2 more (not recorded then)")),
    ] {
        let mut desk = Desk::outage(160, 40);
        desk.press("[");
        let generation = asked(&mut desk)[0].generation;
        let down = event(at("14:43:58"), PastKind::Probe, "api", "up -> down: timeout after 5 s in wait");
        let moment = Moment { absent, ..moment(&desk, "14:43:58", down) };
        answer(&mut desk, generation, Found::Moment(Box::new(moment)));
        let text = rows(&desk.draw(true).0).join("\n");
        match expected {
            Some(words) => assert!(text.contains(words), "{words}: {text}"),
            None => assert!(!text.contains("without"), "{text}"),
        }
        desk.event(Event::Resize { width: 80, height: 24 });
        let text = rows(&desk.draw(true).0).join("\n");
        assert!(text.contains("api up -> "), "what happened is seen on a narrow screen as well: {text}");
        assert_eq!(text.contains(" hosts  api"), expected.is_some(), "{text}");
    }
}
