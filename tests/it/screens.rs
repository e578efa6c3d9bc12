//! Pictures of the screen at the sizes it is designed for, as text with styles.

use hotseat::app::effect::Effect;
use hotseat::app::event::Event;
use hotseat::domain::config_error::ConfigError;
use hotseat::domain::fact::{Fact, RuntimeFact};
use hotseat::domain::incident::NoteRequest;
use hotseat::domain::probe::ProbeFact;
use hotseat::domain::request::{Inbound, Request};
use jiff::SignedDuration;

use crate::support::screen::{Desk, rows, snapshot};

fn check(name: &str, desk: &Desk, ascii: bool) {
    let (buf, cursor) = desk.draw(ascii);
    insta::assert_snapshot!(name, snapshot(&buf, cursor));
}

#[test]
fn the_outage_at_80x24() {
    check("outage-80x24", &Desk::outage(80, 24), false);
}

#[test]
fn the_outage_at_120x40() {
    check("outage-120x40", &Desk::outage(120, 40), false);
}

#[test]
fn the_outage_at_200x60() {
    check("outage-200x60", &Desk::outage(200, 60), false);
}

#[test]
fn the_outage_at_40x12() {
    check("outage-40x12", &Desk::outage(40, 12), false);
}

#[test]
fn the_outage_without_colour() {
    let mut desk = Desk::outage(80, 24);
    desk.wear("mono");
    check("outage-mono", &desk, false);
}

#[test]
fn who_else_is_here_stands_in_the_header() {
    for (name, size) in [("company-80x24", (80, 24)), ("company-120x40", (120, 40))] {
        let mut desk = Desk::outage(size.0, size.1);
        desk.in_company();
        check(name, &desk, false);
    }
    let mut desk = Desk::outage(80, 24);
    desk.in_company();
    desk.press("@");
    check("company-who", &desk, false);
}

#[test]
fn how_many_are_here_is_said_also_where_the_header_is_full() {
    for (width, height) in [(80, 24), (80, 16), (64, 24), (60, 12)] {
        let mut desk = Desk::company(width, height);
        let ack = Fact::Probe(ProbeFact::Acknowledged {
            probe: desk.model.board.probes.first_red().expect("an outage").clone(),
            by: "a-person-with-a-long-name".into(),
            at: desk.now,
        });
        desk.fact(ack);
        let rows = rows(&desk.draw(true).0);
        let header = rows[..3].join("\n");
        assert!(header.contains("2 here") && header.contains("red  first storage-"), "{width}x{height}:\n{header}");
    }
}

#[test]
fn what_an_agent_waits_for_is_said() {
    let mut desk = Desk::company(120, 40);
    let until = desk.now + SignedDuration::from_secs(20);
    desk.fact(Fact::Runtime(RuntimeFact::Stopping { waits_for: "backup `orders`".into(), until }));
    desk.fact(Fact::Runtime(RuntimeFact::Waiting { agents: vec![77] }));
    let text = rows(&desk.draw(true).0).join("\n");
    assert!(text.contains("told to end: it waits for backup `orders`, until 14:"), "{text}");
    assert!(text.contains("agent pid 4242, pid 77 stands by"), "{text}");
}

#[test]
fn what_could_not_be_saved_is_sent_again_by_keys_in_the_footer() {
    let mut desk = Desk::lost(80, 24, true);
    let request = Request::Note(NoteRequest { incident: None, at: None, text: "half".into() });
    let error = "not done, kept here to be sent again".to_string();
    desk.event(Event::Inbound(Inbound::Refused { request: Box::new(request.clone()), error }));
    desk.press("esc");
    let footer = |desk: &Desk| rows(&desk.draw(true).0).pop().unwrap_or_default();
    assert!(footer(&desk).contains("4 R send 1 again"), "{}", footer(&desk));
    desk.press("4");
    assert!(footer(&desk).contains(" R send 1 again") && !footer(&desk).contains("4 R"), "{}", footer(&desk));
    desk.effects.clear();
    desk.press("R");
    assert!(
        matches!(&desk.effects[..], [Effect::Request(Request::Note(it))] if it.text == "half"),
        "{:?}",
        desk.effects
    );
    assert!(!footer(&desk).contains("again"), "{}", footer(&desk));
}

#[test]
fn a_mistake_in_a_config_with_a_long_path_is_read_in_eighty_columns() {
    let mut desk = Desk::outage(80, 24);
    let file = "/home/alice/projects/operations/on-call/environments/production/hotseat/config.toml";
    let errors = vec![ConfigError::at(file, "expct = 1", 0..5, "unknown key `expct` in `probe`")];
    desk.fact(Fact::Runtime(RuntimeFact::ConfigRejected { errors }));
    let text = rows(&desk.draw(true).0).join("\n");
    assert!(text.contains("config.toml:1:1: unknown key `expct` in"), "{text}");
}

#[test]
fn the_chrome_is_ascii_where_it_has_to_be() {
    let mut desk = Desk::outage(80, 24);
    desk.press("2");
    let (buf, cursor) = desk.draw(true);
    insta::assert_snapshot!("outage-ascii", snapshot(&buf, cursor));
    // Log text and notes are what they are; everything that we draw ourselves is not.
    for row in rows(&buf) {
        let ours = row.replace(|it: char| ('\u{2e80}'..='\u{9fff}').contains(&it), "");
        assert!(ours.is_ascii(), "{row}");
    }
}

#[test]
fn nothing_known_yet() {
    check("empty-80x24", &Desk::new(80, 24), false);
}

#[test]
fn overlays() {
    for (name, script) in [
        ("help", "?"),
        ("help-filtered", "? / \"follow\" enter"),
        ("palette", "ctrl-p \"zo\""),
        ("command-line", ": \"the\" tab"),
        ("themes", "T j"),
    ] {
        let mut desk = Desk::outage(80, 24);
        desk.press(script);
        check(&format!("overlay-{name}"), &desk, false);
    }
}

/// The logs with something done in them, at a size and in a theme.
fn check_logs(name: &str, (width, height): (u16, u16), theme: &str, script: &str) {
    let mut desk = Desk::outage(width, height);
    desk.wear(theme);
    desk.press(script);
    check(name, &desk, false);
    let (buf, _) = desk.draw(true);
    for row in rows(&buf) {
        // Log text and notes are what they are.
        let ours = row.replace(|it: char| ('\u{2e80}'..='\u{9fff}').contains(&it), "");
        assert!(ours.is_ascii(), "{name}: {row}");
    }
}

#[test]
fn records_by_time() {
    check_logs("times-80x24", (80, 24), "ansi", "2 z H E");
    check_logs("times-120x40", (120, 40), "dark", "2 H E");
    check_logs("times-200x60", (200, 60), "ansi", "2 H E space l l l");
    check_logs("times-40x12", (40, 12), "ansi", "2 z B");
    check_logs("times-mono", (80, 24), "mono", "2 z H E");
}

#[test]
fn records_by_time_in_ascii() {
    let mut desk = Desk::outage(80, 24);
    desk.press("2 z H E");
    check("times-ascii", &desk, true);
}

#[test]
fn the_list_of_sources() {
    check_logs("sources-80x24", (80, 24), "ansi", "2 S g m j");
    check_logs("sources-200x60", (200, 60), "dark", "2 S g s");
    check_logs("sources-40x12", (40, 12), "mono", "2 S g m / \"a\"");
}

#[test]
fn columns_for_chosen_fields() {
    check_logs("columns-80x24", (80, 24), "ansi", ": \"columns req,waiting\" enter");
    check_logs("columns-120x40", (120, 40), "ansi", ": \"columns req,waiting\" enter z");
    check_logs("columns-40x12", (40, 12), "mono", "2 z K \"req\" enter");
}

#[test]
fn chips_records_and_selections_of_the_logs() {
    let chips = "2 L w f \"pool|数据库|timeout|error\" enter ! \"healthz\" enter C";
    for (name, size, script, ascii, theme) in [
        ("logs-chips-80x24", (80, 24), chips, false, "ansi"),
        ("logs-chips-200x60", (200, 60), chips, false, "ansi"),
        ("logs-chips-40x12", (40, 12), chips, false, "ansi"),
        ("logs-record-80x24", (80, 24), "2 k v", false, "ansi"),
        ("logs-record-120x40", (120, 40), "2 k v j", false, "ansi"),
        ("logs-record-40x12", (40, 12), "2 k v", true, "mono"),
        ("logs-selection-mono", (80, 24), "2 z k V k k", false, "mono"),
        ("logs-selection-ascii", (80, 24), "2 z k V k k", true, "mono"),
        ("logs-export", (80, 24), "2 z k V k k Y", false, "ansi"),
        ("overlay-queries", (80, 24), "2 L w X f \"pool\" enter Q", false, "ansi"),
    ] {
        let mut desk = Desk::outage(size.0, size.1);
        desk.wear(theme);
        desk.press(script);
        check(name, &desk, ascii);
    }
}

#[test]
fn the_services_with_groups_details_and_forms() {
    for (name, size, script, ascii, theme) in [
        ("services-detail-80x24", (80, 24), "1 g g enter", false, "ansi"),
        ("services-detail-200x60", (200, 60), "1 g g enter", false, "dark"),
        ("services-detail-40x12", (40, 12), "1 g g enter", true, "mono"),
        ("services-filter-80x24", (80, 24), "1 z / \"trouble -search\"", false, "ansi"),
        ("overlay-silence", (80, 24), "1 g g j S", false, "ansi"),
        ("overlay-silence-40x12", (40, 12), "1 g g j S", true, "mono"),
        ("overlay-notifiers", (80, 24), "1 t", false, "ansi"),
        ("overlay-quiets", (80, 24), "1 Q", false, "ansi"),
    ] {
        let mut desk = Desk::outage(size.0, size.1);
        desk.wear(theme);
        desk.press(script);
        check(name, &desk, ascii);
    }
}

fn way(desk: &mut Desk, way: hotseat::domain::host::Way) {
    use hotseat::domain::host::HostNews;
    use hotseat::domain::request::Inbound;
    let host = hotseat::domain::ids::HostId::new("prod-1");
    desk.event(hotseat::app::event::Event::Inbound(Inbound::Host(Box::new(HostNews { host, way }))));
}

fn agent(version: &str) -> hotseat::domain::host::Peer {
    use hotseat::domain::host::{Peer, Role};
    let since = jiff::Timestamp::UNIX_EPOCH;
    Peer { role: Role::Agent, version: version.into(), pid: 4242, since }
}

#[test]
fn a_lost_agent_is_said_in_words_at_every_size_and_nothing_looks_live() {
    for (width, height) in [(80, 24), (40, 12), (200, 60)] {
        let desk = Desk::lost(width, height, true);
        check(&format!("lost-{width}x{height}"), &desk, false);
        let (buf, _) = desk.draw(true);
        let text = rows(&buf).join("\n");
        assert!(text.contains("LOST 3s ago") && text.contains("W take over"), "{text}");
        assert!(text.contains("as of "), "{text}");
    }
}

#[test]
fn taking_over_is_asked_for_and_only_where_it_can_be() {
    use hotseat::app::effect::Effect;
    use hotseat::domain::request::Request;
    let mut desk = Desk::lost(80, 24, true);
    desk.press("W");
    assert_eq!(desk.effects, [], "a person is asked first");
    desk.press("y");
    assert_eq!(desk.effects, [Effect::Request(Request::TakeOver)]);

    let mut desk = Desk::lost(80, 24, false);
    desk.press("W y");
    assert_eq!(desk.effects, []);
    let (buf, _) = desk.draw(true);
    assert!(!rows(&buf).join("\n").contains("W take over"));

    let mut desk = Desk::outage(80, 24);
    desk.press(": \"takeover\" enter");
    assert!(rows(&desk.draw(true).0).join("\n").contains("nothing is lost"));
}

#[test]
fn who_watches_stands_in_the_corner_and_another_version_is_said() {
    use hotseat::domain::host::Way;
    let ours = env!("CARGO_PKG_VERSION");
    let mut desk = Desk::outage(120, 40);
    way(&mut desk, Way::Attached { peer: agent(ours), readonly: false, ahead_ms: 0 });
    let text = rows(&desk.draw(true).0).join("\n");
    assert!(text.contains("agent pid 4242") && !text.contains("some things may be missing"), "{text}");
    way(&mut desk, Way::Attached { peer: agent("9.9.9"), readonly: true, ahead_ms: 0 });
    let text = rows(&desk.draw(true).0).join("\n");
    assert!(text.contains("read-only, agent pid 4242"), "{text}");
    assert!(text.contains(&format!("agent 9.9.9, screen {ours}: attached, some things may be missing")), "{text}");
    way(&mut desk, Way::Inside);
    assert!(rows(&desk.draw(true).0).join("\n").contains("no agent: watches while open"));
}

#[test]
fn every_row_of_several_hosts_says_its_host_and_a_lost_one_is_marked() {
    for (width, height) in [(80, 24), (200, 60)] {
        let mut desk = Desk::fleet(width, height);
        let text = rows(&desk.draw(true).0).join("\n");
        assert!(text.contains("bastion ok") && text.contains("web-1 LOST 12s"), "{text}");
        // Where there is no room the row of the hosts says who is lost.
        let is_counted_apart = text.contains("? 15 of web-1 not seen since 14:51:20, 4 were red");
        assert!(is_counted_apart || width < 120, "{text}");
        check(&format!("fleet-{width}x{height}"), &desk, false);
        desk.press("1 / \"host=bastion\" enter");
        let text = rows(&desk.draw(true).0).join("\n");
        assert!(text.contains("bastion:") && !text.contains("? web-1:storage"), "{text}");
        assert!(text.contains("[4]"), "every pane is there: {text}");
    }
}
