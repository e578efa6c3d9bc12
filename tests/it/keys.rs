//! Key scripts: what keys ask of the world and what they show, without a terminal.

use hotseat::app::effect::Effect;
use hotseat::app::event::{Event, Mouse, MouseKind};
use hotseat::app::overlay::Overlay;
use hotseat::domain::alert::AlertFact;
use hotseat::domain::alert::delivery::{Action, DeliveryNews, DeliveryState};
use hotseat::domain::alert::explain::{ExplainRequest, Explanation, Step};
use hotseat::domain::alert::rules::{AlertRules, NotifierRule};
use hotseat::domain::backup::BackupFact;
use hotseat::domain::backup::run::{Progress, Run, Stage};
use hotseat::domain::config_error::ConfigError;
use hotseat::domain::fact::{Fact, RuntimeFact};
use hotseat::domain::ids::{HostId, ProbeId, RunId};
use hotseat::domain::incident::{DeclareRequest, NoteRequest, Severity};
use hotseat::domain::key::KeyBinding;
use hotseat::domain::probe::ProbeFact;
use hotseat::domain::query::saved::SavedQuery;
use hotseat::domain::request::{Inbound, Request};
use hotseat::panes::PaneId;

use crate::support::screen::{Desk, at};

/// Presses the keys on the outage and compares what was asked of the world.
fn check(script: &str, expected: &[Effect]) -> Desk {
    let mut desk = Desk::outage(80, 24);
    desk.press(script);
    assert_eq!(desk.effects, expected, "{script}\n{}", desk.text());
    desk
}

#[test]
fn numbers_and_tab_walk_through_the_panes() {
    for (script, focus) in [
        ("2", PaneId::Logs),
        ("3", PaneId::Backups),
        ("4", PaneId::Incident),
        ("4 1", PaneId::Services),
        ("tab", PaneId::Logs),
        ("backtab", PaneId::Incident),
        ("tab tab tab tab", PaneId::Services),
    ] {
        assert_eq!(check(script, &[]).model.focus, focus, "{script}");
    }
}

#[test]
fn escape_backs_out_one_level_at_a_time_and_never_quits() {
    let desk = check("z ? esc", &[]);
    assert!(desk.model.zoomed && desk.model.overlays.is_empty());
    let desk = check("z ? esc esc", &[]);
    assert!(!desk.model.zoomed);
    check("z ? esc esc esc esc", &[]);
}

#[test]
fn q_closes_what_is_open_before_it_quits() {
    check("z ? q q", &[]);
    check("z ? q q q", &[Effect::Quit]);
}

#[test]
fn a_notice_does_not_take_the_key_that_quits() {
    // Back closes it, though; the second time there is nothing left to take away.
    let desk = check(": \"zom\" enter", &[]);
    assert!(desk.model.notices.shown().is_some());
    check(": \"zom\" enter q", &[Effect::Quit]);
    assert!(check(": \"zom\" enter esc", &[]).model.notices.shown().is_none());
}

#[test]
fn what_was_said_goes_by_itself_or_with_the_next_key_that_does_something() {
    let later = |script: &str, seconds: i64| {
        let mut desk = check(": \"zom\" enter", &[]);
        desk.now += jiff::SignedDuration::from_secs(seconds);
        if !script.is_empty() {
            desk.press(script);
        }
        desk.event(Event::Wake);
        desk.model.notices.shown().is_some()
    };
    assert!(later("", 3) && later("f12", 3));
    assert!(!later("j", 3) && !later("2", 3) && !later(": ", 3));
    assert!(!later("", 30));
}

#[test]
fn the_line_completes_what_stands_behind_goto_and_filter() {
    for (script, line) in [
        (": \"goto -1\" tab", "goto -15m"),
        (": \"goto -1\" tab tab", "goto -1h"),
        (": \"goto 14:05\" tab", "goto 14:05"),
        (": \"filter pool -level>=e\" tab", "filter pool -level>=error"),
        (": \"filter source:a\" tab", "filter source:api"),
    ] {
        let desk = check(script, &[]);
        let Some(Overlay::CommandLine(shown)) = desk.model.overlays.last() else { panic!("{script}") };
        assert_eq!(shown.input.text(), line, "{script}");
    }
}

#[test]
fn ctrl_c_quits_from_anywhere() {
    check("ctrl-c", &[Effect::Quit]);
    check("? ctrl-c", &[Effect::Quit]);
    check("2 f \"level\" ctrl-c", &[Effect::Quit]);
}

#[test]
fn quitting_while_a_backup_is_made_asks_first() {
    let mut desk = Desk::outage(120, 40);
    let job = desk.model.board.backups.jobs[0].info.id.clone();
    let id = RunId::new(&HostId::new("bastion"), "orders-db@now");
    let run = Run::begin(id.clone(), job.clone(), None, desk.now);
    desk.fact(Fact::Backup(BackupFact::Started { run: Box::new(run) }));
    let progress = Progress { stage: Stage::Storing, done_bytes: 1, total_bytes: None };
    desk.fact(Fact::Backup(BackupFact::Progressed { job, run: id, progress }));
    desk.press("q");
    assert_eq!(desk.effects, []);
    assert!(desk.text().contains("backup `orders-db` is running and would be cut off. Quit?"), "{}", desk.text());
    desk.press("ctrl-c");
    assert_eq!(desk.effects, [Effect::Quit]);
}

#[test]
fn letters_typed_into_an_input_are_text_and_not_commands() {
    let desk = check("2 f \"q1z?\"", &[]);
    assert_eq!(desk.model.focus, PaneId::Logs);
    assert!(desk.model.overlays.is_empty() && !desk.model.zoomed);
    assert!(desk.text().contains("q1z?"), "{}", desk.text());
    check("2 f \"q\" ctrl-p", &[]).text().contains("commands");
}

#[test]
fn the_palette_runs_what_a_few_letters_find() {
    assert!(check("ctrl-p \"zoo\" enter", &[]).model.zoomed);
    check("ctrl-p \"paint whole\" enter", &[Effect::Redraw]);
    assert!(check("ctrl-p \"nothing like this\" enter", &[]).text().contains("no command matches"));
}

#[test]
fn the_command_line_knows_names_verbs_and_near_misses() {
    check(": \"q\" enter", &[Effect::Quit]);
    check(": \"theme dark\" enter", &[Effect::KeepTheme("dark".into())]);
    let desk = check(": \"zom\" enter", &[]);
    assert!(desk.text().contains("did you mean `zoom`?"), "{}", desk.text());
    assert!(check(": \"zo\" tab enter", &[]).model.zoomed, "Tab completes");
    assert!(check(": \"zoom\" enter : up enter", &[]).model.overlays.is_empty(), "Up brings the last line back");
    assert!(!check(": \"zoom\" enter : up enter", &[]).model.zoomed);
}

#[test]
fn a_note_on_the_command_line_may_be_dated_back() {
    let note = NoteRequest { incident: None, at: Some(at("14:39:32")), text: "pool grew".into() };
    check(": \"note @-12m pool grew\" enter", &[Effect::Request(Request::Note(note))]);
    let desk = check(": \"note @bob look\" enter", &[]);
    assert!(desk.text().contains("`@bob` is not a time"), "{}", desk.text());
}

#[test]
fn an_incident_can_be_declared_in_one_line() {
    let request = DeclareRequest { title: "edge 502".into(), severity: Severity::Sev1, impact_start: None };
    check(": \"declare sev1 edge 502\" enter", &[Effect::Request(Request::Declare(request))]);
}

#[test]
fn acknowledging_takes_the_selected_probe() {
    let api = ProbeId::new(&HostId::new("bastion"), "api");
    check("1 g g j a", &[Effect::Request(Request::AcknowledgeProbe(api))]);
}

#[test]
fn a_theme_is_worn_while_it_is_tried_and_taken_off_by_escape() {
    assert_eq!(check("T j", &[]).model.theme().name, "dark");
    assert_eq!(check("T j j esc", &[]).model.theme().name, "ansi");
    assert_eq!(check("T j enter", &[Effect::KeepTheme("dark".into())]).model.theme().name, "dark");
}

#[test]
fn a_remapped_key_works_and_is_what_the_footer_and_the_help_show() {
    let binding = |command: &str, key: &str| KeyBinding {
        command: command.into(),
        keys: vec![key.into()],
        at: ConfigError::whole_file("config.toml", ""),
    };
    let mut desk = Desk::with_keys(80, 40, vec![binding("zoom", "ctrl-x"), binding("help", "f2")]);
    assert!(desk.text().contains("ctrl-x zoom") && desk.text().contains("f2 help"), "{}", desk.text());
    desk.press("ctrl-x f2");
    assert!(desk.model.zoomed);
    assert!(desk.text().contains("keys"), "{}", desk.text());
}

#[test]
fn a_wrong_binding_is_on_the_banner_and_in_the_list_of_problems() {
    let at = ConfigError::at("config.toml", "[keys]\nzom = 'x'", 7..10, "");
    let mut desk = Desk::with_keys(80, 24, vec![KeyBinding { command: "zom".into(), keys: vec!["x".into()], at }]);
    assert!(desk.text().contains("config.toml:2:1: unknown command `zom`"), "{}", desk.text());
    desk.press("ctrl-e");
    assert!(desk.text().contains("2 | zom = 'x'") && desk.text().contains("    ^^^"), "{}", desk.text());
}

#[test]
fn a_rejected_config_says_that_the_old_one_keeps_running() {
    let mut desk = Desk::outage(120, 40);
    let errors = vec![ConfigError::whole_file("config.toml", "no such file")];
    desk.fact(Fact::Runtime(RuntimeFact::ConfigRejected { errors }));
    assert!(desk.text().contains("the old one runs (ctrl-e): config.toml: no such file"), "{}", desk.text());
}

#[test]
fn a_begun_chord_shows_what_can_follow() {
    let mut desk = Desk::outage(200, 24);
    desk.press("2 t");
    let footer = desk.text().lines().last().unwrap_or_default().to_string();
    assert!(footer.starts_with("t then"), "{footer}");
    desk.press("esc");
    assert!(desk.model.pending.is_empty());
}

#[test]
fn a_paste_outside_of_an_input_says_where_text_can_go() {
    let mut desk = Desk::outage(80, 24);
    desk.event(Event::Paste("rm -rf /\nq".into()));
    assert_eq!(desk.effects, []);
    assert!(desk.text().contains("nothing takes text here, press i to write a note first"), "{}", desk.text());
}

#[test]
fn a_click_gives_a_pane_the_keys_but_not_while_text_is_typed() {
    let click = |desk: &mut Desk| {
        let row = desk.model.areas().body(PaneId::Backups).y;
        desk.event(Event::Mouse(Mouse { kind: MouseKind::Press, column: 3, row }));
    };
    let mut desk = Desk::outage(80, 24);
    click(&mut desk);
    assert_eq!(desk.model.focus, PaneId::Backups);
    let mut desk = Desk::outage(80, 24);
    desk.press("2 f \"le\"");
    click(&mut desk);
    assert_eq!(desk.model.focus, PaneId::Logs);
}

#[test]
fn the_screen_ticks_only_while_an_incident_is_open() {
    let quiet = Desk::new(80, 24);
    assert_eq!(quiet.model.next_wake(quiet.now), None);
    let desk = Desk::outage(80, 24);
    assert_eq!(desk.model.next_wake(desk.now), Some(at("14:51:33")));
}

#[test]
fn no_size_and_no_key_makes_the_screen_panic() {
    let mut desk = Desk::outage(80, 24);
    for (width, height) in [(0, 0), (1, 1), (3, 2), (10, 5), (40, 12), (79, 23), (200, 60), (500, 9)] {
        desk.event(Event::Resize { width, height });
        for script in [
            "1",
            "2",
            "3",
            "4",
            "z",
            "z",
            "?",
            "j k G g",
            "esc",
            "ctrl-p \"a\" down",
            "esc",
            ": \"th\" tab",
            "esc",
            "T j",
            "esc",
        ] {
            desk.press(script);
            desk.draw(false);
            desk.draw(true);
        }
    }
}

#[test]
fn a_query_is_picked_from_the_list_and_taken_back() {
    let mut desk = Desk::outage(120, 40);
    let query = |name: &str, query: &str| SavedQuery { name: name.into(), query: query.into() };
    desk.model.panes.logs.set_queries(&[query("slow", "timeout"), query("bad", "level>=error")]);
    desk.press("2 Q \"ba\" enter");
    assert!(desk.text().contains("[level>=error ×]"), "{}", desk.text());
    desk.press("Q tab");
    assert!(desk.text().contains("×] [timeout ×]"), "{}", desk.text());
    desk.press("u u");
    assert!(!desk.text().contains("level>=error"), "{}", desk.text());
    desk.press(": \"filter @bad\" enter");
    assert!(desk.text().contains("[level>=error ×]"), "{}", desk.text());
    assert_eq!(desk.effects, []);
}

#[test]
fn a_record_in_full_takes_the_whole_screen_and_gives_it_back() {
    let mut desk = check("2 k v", &[]);
    assert!(desk.model.is_zoomed());
    let footer = |desk: &Desk| desk.text().lines().last().unwrap_or_default().to_string();
    assert!(footer(&desk).contains("only this value"), "{}", footer(&desk));
    desk.press("q");
    assert!(!desk.model.is_zoomed() && desk.effects.is_empty());
}

#[test]
fn selected_records_are_asked_for_in_a_file() {
    let mut desk = Desk::outage(80, 24);
    desk.press("2 k V k k Y ctrl-u \"/tmp/out.json\" enter");
    let Some(Effect::Request(Request::Export(request))) = desk.effects.last() else { panic!("{:?}", desk.effects) };
    assert_eq!(request.path, "/tmp/out.json");
    assert!(request.from.is_some() && request.until.is_some() && request.from != request.until);
    desk.press("esc");
    assert_eq!(desk.effects.last(), Some(&Effect::Request(Request::StopExport)));
}

fn api() -> ProbeId {
    ProbeId::new(&HostId::new("bastion"), "api")
}

#[test]
fn a_silence_is_proposed_for_the_selected_probe_and_says_what_it_comes_to() {
    let mut desk = Desk::outage(80, 24);
    desk.press("1 g g j S");
    let text = desk.text();
    assert!(text.contains("what   probe=api") && text.contains("fits 1 probe: api; until 15:51:32"), "{text}");
    desk.press("ctrl-u \"90\"");
    assert!(desk.text().contains("`90` is no length and no time"), "{}", desk.text());
    desk.press("enter");
    assert_eq!(desk.effects, [], "a form with a mistake in it is not sent");
    desk.press("\"m\" tab \"pool is being grown\" enter");
    let [Effect::Request(Request::Silence(silence))] = desk.effects.as_slice() else { panic!("{:?}", desk.effects) };
    assert_eq!((silence.what().as_str(), silence.until), ("probe=api", at("16:21:32")));
    assert_eq!(silence.comment, "pool is being grown");
    assert!(desk.model.overlays.is_empty());
}

#[test]
fn a_maintenance_can_begin_later_and_an_acknowledgement_can_end() {
    let mut desk = Desk::outage(80, 24);
    desk.press("1 g g j m \"swap\" tab tab ctrl-u \"18:00\" tab ctrl-u \"2h\" enter");
    let [Effect::Request(Request::Maintain(it))] = desk.effects.as_slice() else { panic!("{:?}", desk.effects) };
    let window = hotseat::domain::alert::quiet::MaintenanceWindow::Once { from: at("18:00:00"), until: at("20:00:00") };
    assert_eq!((it.name.as_str(), &it.window), ("swap", &window));
    check(
        "1 g g j A ctrl-u \"2h\" enter",
        &[Effect::Request(Request::Acknowledge { probe: api(), sticky: true, until: Some(at("16:51:32")) })],
    );
}

#[test]
fn an_explanation_is_asked_for_shown_and_asked_for_another_time() {
    let mut desk = Desk::outage(80, 24);
    desk.press("1 g g j x");
    let request = |at| Effect::Request(Request::Explain(ExplainRequest { probe: api(), at }));
    assert_eq!(desk.effects, [request(None)]);
    let step = |kind: &str, text: String| Step { at: Some(desk.now), kind: kind.into(), text };
    let runs = |range: std::ops::Range<u8>| range.map(|number| step("outcome", format!("run {number}")));
    let alike = (0..200).map(|took| step("outcome", format!("fail after {took}ms: status is 502")));
    let page = step("page", "trigger to `sms`".into());
    let explanation = Explanation {
        probe: api(),
        at: desk.now,
        verdict: format!("paged at {}, delivered: trigger to `sms`", desk.now),
        steps: runs(0..40).chain([page]).chain(alike).chain(runs(40..80)).collect(),
    };
    desk.event(Event::Inbound(Inbound::Explanation(Box::new(explanation))));
    let text = desk.text();
    // The page is in sight, 200 runs that are alike are one line, and times are local.
    for part in ["paged at 14:51:32, delivered", "page        trigger to `sms`", "run 39", "(200 times"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("run 79"), "{text}");
    desk.press("g");
    assert!(desk.text().contains("run 0") && !desk.text().contains("run 39"), "{}", desk.text());
    desk.press("G");
    assert!(desk.text().contains("run 79"), "{}", desk.text());
    desk.press("t \"-12m\" enter");
    assert_eq!(desk.effects.last(), Some(&request(Some(at("14:39:32")))));
    assert!(desk.text().contains("asking"), "{}", desk.text());
    desk.press("esc");
    assert!(desk.model.overlays.is_empty());
    check(": \"explain api 14:45\" enter", &[request(Some(at("14:45:00")))]);
    check(": \"test-notify chat\" enter", &[Effect::Request(Request::TestNotifier("chat".into()))]);
}

#[test]
fn the_key_that_acknowledges_offers_to_take_that_back_on_a_row_that_was_seen() {
    let mut desk = Desk::outage(120, 40);
    let probe = |name: &str| ProbeId::new(&HostId::new("bastion"), name);
    let acked = |name: &str, desk: &Desk| {
        Fact::Probe(ProbeFact::Acknowledged { probe: probe(name), by: "bob".into(), at: desk.now })
    };
    let fact = acked("storage-a", &desk);
    desk.fact(fact);
    desk.press("1 a");
    assert!(desk.model.overlays.is_empty(), "nobody chose a row: the next that nobody has seen was marked");
    let [Effect::Request(Request::AcknowledgeProbe(next))] = desk.effects.as_slice() else {
        panic!("{:?}", desk.effects)
    };
    let next = next.clone();
    assert_ne!(next, probe("storage-a"));
    let fact = acked(next.name(), &desk);
    desk.fact(fact);
    desk.effects.clear();
    desk.press("a");
    let text = desk.text();
    assert!(text.contains(&format!("bob acknowledged `{}`. Take that back", next.name())), "it stays:\n{text}");
    desk.press("n g a");
    let text = desk.text();
    assert!(text.contains("bob acknowledged `storage-a`. Take that back"), "{text}");
    desk.press("n");
    assert_eq!(desk.effects, []);
    desk.press("a y");
    assert_eq!(desk.effects, [Effect::Request(Request::Unacknowledge(probe("storage-a")))]);
    desk.effects.clear();
    desk.press("2 a");
    assert!(desk.model.overlays.is_empty(), "from elsewhere it takes nothing back");
    assert_eq!(desk.effects, [], "and means nothing that is not marked");
    assert!(desk.text().contains("bob acknowledged `storage-a` already"), "{}", desk.text());
}

#[test]
fn a_group_that_was_seen_keeps_the_key_from_other_groups() {
    let mut desk = Desk::new(80, 24);
    let probe = |name: &str| ProbeId::new(&HostId::new("bastion"), name);
    for (name, group) in [("svc-011", "g3"), ("svc-003", "g3"), ("svc-006", "g6"), ("svc-007", "g6")] {
        desk.probe(name, Some(group), Some("refused: nothing listens"));
    }
    for name in ["svc-006", "svc-007"] {
        let fact = ProbeFact::Acknowledged { probe: probe(name), by: "bob".into(), at: desk.now };
        desk.fact(Fact::Probe(fact));
    }
    desk.press("g j j j");
    desk.press("A enter");
    let request = |name| Request::Acknowledge { probe: probe(name), sticky: true, until: None };
    let requests = ["svc-006", "svc-007"].map(request).to_vec();
    assert_eq!(desk.effects, [Effect::Each { requests, what: "2 in `g6`".into() }], "{}", desk.text());
    desk.effects.clear();
    desk.press("a");
    assert!(desk.text().contains("bob acknowledged 2 in `g6`. Take that back"), "{}", desk.text());
    desk.press("n k a");
    assert_eq!(desk.effects, [Effect::Request(Request::AcknowledgeProbe(probe("svc-011")))]);
    let fact = ProbeFact::Acknowledged { probe: probe("svc-011"), by: "bob".into(), at: desk.now };
    desk.fact(Fact::Probe(fact));
    desk.press("A");
    let text = desk.text();
    assert!(text.contains("acknowledge svc-011") && !text.contains("acknowledge svc-003"), "{text}");
    assert!(text.contains("acknowledged already"), "{text}");
}

#[test]
fn of_a_group_all_that_were_seen_are_taken_back_at_once_and_said_in_one_line() {
    let mut desk = Desk::new(80, 24);
    let names = ["api", "cdn", "www"];
    let probe = |name: &str| ProbeId::new(&HostId::new("bastion"), name);
    for name in names {
        desk.probe(name, Some("edge"), Some("refused: nothing listens"));
    }
    let acked = |name: &str, desk: &mut Desk| {
        let fact = ProbeFact::Acknowledged { probe: probe(name), by: "bob".into(), at: desk.now };
        desk.fact(Fact::Probe(fact));
    };
    acked("api", &mut desk);
    desk.press("g a");
    assert!(desk.model.overlays.is_empty(), "two of it were not seen");
    acked("cdn", &mut desk);
    acked("www", &mut desk);
    desk.effects.clear();
    desk.press("a");
    assert!(desk.text().contains("bob acknowledged 3 in `edge`."), "{}", desk.text());
    desk.press("y");
    let requests = names.map(|it| Request::Unacknowledge(probe(it))).to_vec();
    assert_eq!(desk.effects, [Effect::Each { requests, what: "3 in `edge`".into() }]);
    for name in names {
        desk.event(Event::Inbound(Inbound::Done(format!("no longer acknowledged: `{name}`: reminders go on"))));
    }
    let said = desk.model.notices.shown().map(|it| it.text.clone());
    assert_eq!(said.as_deref(), Some("no longer acknowledged: 3 in `edge`: reminders go on"));
}

#[test]
fn the_header_says_what_could_not_be_told() {
    let mut desk = Desk::outage(120, 24);
    desk.fact(Fact::Runtime(RuntimeFact::NotDurable { why: Some("the disk is full".into()) }));
    assert!(desk.text().contains("! not durable: the disk is full"), "{}", desk.text());
    desk.fact(Fact::Runtime(RuntimeFact::NotDurable { why: None }));
    assert!(!desk.text().contains("not durable"));
    let rules = AlertRules { notifiers: vec![NotifierRule::new("chat", "slack")], ..AlertRules::default() };
    desk.fact(Fact::Alert(AlertFact::Configured { rules: Box::new(rules) }));
    let news = DeliveryNews {
        id: "d-1".into(),
        key: "bastion/api/1".into(),
        notifier: "chat".into(),
        action: Action::Trigger,
        at: desk.now,
        state: DeliveryState::Retrying { attempt: 2, next: desk.now, error: "answered 502".into(), refused: false },
        durable: true,
    };
    desk.fact(Fact::Alert(AlertFact::Delivery(Box::new(news))));
    desk.press("1 t");
    let text = desk.text();
    assert!(text.contains("x chat fails: answered 502") && text.contains("chat  slack"), "{text}");
    desk.press("enter");
    assert_eq!(desk.effects, [Effect::Request(Request::TestNotifier("chat".into()))]);
}

#[test]
fn a_refused_message_is_named_with_its_notifier_and_its_next_try() {
    let mut desk = Desk::outage(120, 24);
    let rules = AlertRules { notifiers: vec![NotifierRule::new("chat", "slack")], ..AlertRules::default() };
    desk.fact(Fact::Alert(AlertFact::Configured { rules: Box::new(rules) }));
    let out = |at: u32, refused: bool| {
        let next = desk.now + jiff::SignedDuration::from_secs(90);
        let value = serde_json::json!({
            "notifier": "chat", "action": "trigger", "at": desk.now, "keys": [], "fallback_at": null,
            "error": "answered 403", "refused": refused, "title": format!("p{at} DOWN\u{1b}[31m: timeout"), "next": next,
        });
        (format!("out/d-{at}"), value.to_string())
    };
    let rows: Vec<(String, String)> = (0..8).map(|at| out(at, true)).chain([out(8, false)]).collect();
    let next = hotseat::domain::format::clock(desk.now + jiff::SignedDuration::from_secs(90), &desk.model.zone);
    desk.model.board.alerts.restore(&rows);
    desk.press("1 t");
    let text = desk.text();
    for at in 0..6 {
        let line = format!("! refused by chat, next try {next}: p{at} DOWN: timeout");
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(text.contains("! and 2 more refused: hotseat alerts") && !text.contains("p8 DOWN"), "{text}");
    assert!(text.contains("chat  slack"), "{text}");
}

#[test]
fn the_header_counts_what_the_list_of_notifiers_calls_waiting() {
    let mut desk = Desk::outage(120, 24);
    let rules = AlertRules { notifiers: vec![NotifierRule::new("chat", "slack")], ..AlertRules::default() };
    desk.fact(Fact::Alert(AlertFact::Configured { rules: Box::new(rules) }));
    let entry = |at: u32| {
        let key = format!("bastion/api-{at}/1");
        let entry = serde_json::json!({ "key": key, "action": "trigger", "queued": desk.now, "due": desk.now });
        (format!("wait/chat/{key}"), serde_json::json!({ "notifier": "chat", "entry": entry }).to_string())
    };
    let out = serde_json::json!({
        "notifier": "chat", "action": "trigger", "at": desk.now, "keys": [], "fallback_at": null,
    });
    let rows: Vec<(String, String)> = (0..33).map(entry).chain([("out/d-1".into(), out.to_string())]).collect();
    desk.model.board.alerts.restore(&rows);
    desk.press("1 t");
    let text = desk.text();
    assert!(text.contains("34 waiting") && text.contains("! 34 unsent"), "{text}");
}

/// The outage with one of its sources muted, `api`, as by a person who knows what it says.
fn without_api(more: &str) -> Desk {
    logs(&format!("S g j m esc {more}"))
}

/// The logs of the outage on the whole screen, and then some keys.
fn logs(script: &str) -> Desk {
    check(&format!("2 z {script}"), &[])
}

/// The rows on the screen that hold one of the texts.
fn shown<'a>(desk: &Desk, texts: &[&'a str]) -> Vec<&'a str> {
    let screen = desk.text();
    let row = |text: &&str| screen.lines().position(|it| it.contains(*text));
    let mut found: Vec<(usize, &'a str)> = texts.iter().filter_map(|it| Some((row(it)?, *it))).collect();
    found.sort_unstable();
    found.into_iter().map(|it| it.1).collect()
}

/// What stands around the only record that `Bad` finds, with all sources and with `api` muted.
const AROUND: [&str; 5] =
    ["mount /data/07", "connect storage-a:9000 refused", "502 Bad Gateway", "pool at 61 of 64", "api marked down"];

#[test]
fn context_around_a_match_is_of_the_sources_that_are_heard() {
    let desk = logs("f \"Bad\" enter +");
    assert_eq!(shown(&desk, &AROUND), AROUND[1..4], "{}", desk.text());
    let desk = without_api("f \"Bad\" enter +");
    assert_eq!(shown(&desk, &AROUND), [AROUND[0], AROUND[2], AROUND[4]], "{}", desk.text());
    // One line less is the match alone; muted or not makes no difference to it.
    let desk = without_api("f \"Bad\" enter + -");
    assert_eq!(shown(&desk, &AROUND), AROUND[2..3], "{}", desk.text());
    let desk = without_api("f \"Bad\" enter + S g j m esc");
    assert_eq!(shown(&desk, &AROUND), AROUND[1..4], "heard again, it stands around the match: {}", desk.text());
}

#[test]
fn muting_while_context_is_shown_lets_the_match_of_another_source_stay() {
    let mut desk = logs("f \"Bad\" enter + +");
    assert_eq!(shown(&desk, &AROUND), AROUND[..4], "{}", desk.text());
    desk.press("S g j m esc");
    assert_eq!(shown(&desk, &AROUND), [AROUND[0], AROUND[2], AROUND[4]], "{}", desk.text());
    // Of a source that is muted, its own matches go as well.
    let desk = without_api("f \"pool exhausted\" enter +");
    assert!(!desk.text().contains("(64/64)"), "{}", desk.text());
}

#[test]
fn the_whole_log_at_a_match_is_that_of_the_sources_that_are_heard_and_leads_back() {
    let desk = logs("f \"Bad\" enter k enter");
    assert_eq!(shown(&desk, &AROUND), AROUND, "{}", desk.text());
    let mut desk = without_api("f \"Bad\" enter k");
    let before = desk.text();
    desk.press("enter");
    assert_eq!(shown(&desk, &AROUND), [AROUND[0], AROUND[2], AROUND[4]], "{}", desk.text());
    assert!(desk.text().contains("1 muted"), "{}", desk.text());
    desk.press("enter");
    assert_eq!(desk.text(), before);
    desk.press("enter k k k esc");
    assert_eq!(desk.text(), before, "and from elsewhere in it");
}

#[test]
fn what_is_muted_in_the_whole_log_stays_muted_behind_the_filter() {
    let mut desk = logs("f \"level>=error\" enter");
    assert!(desk.text().contains("(64/64)"), "{}", desk.text());
    desk.press("k k k k enter S g j m esc");
    assert!(!desk.text().contains("(64/64)") && desk.text().contains("502 Bad Gateway"), "{}", desk.text());
    desk.press("enter");
    let rows = shown(&desk, &["mount /data/07", "502 Bad Gateway", "(64/64)", "api marked down"]);
    assert_eq!(rows, ["mount /data/07", "502 Bad Gateway"], "{}", desk.text());
}
