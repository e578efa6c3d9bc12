//! Pictures of the screen at the sizes it is designed for, as text with styles.

use hotseat::app::effect::Effect;
use hotseat::app::event::Event;
use hotseat::domain::config_error::ConfigError;
use hotseat::domain::fact::{Fact, RuntimeFact};
use hotseat::domain::host::NOBODY;
use hotseat::domain::ids::{HostId, ProbeId};
use hotseat::domain::incident::NoteRequest;
use hotseat::domain::probe::ProbeFact;
use hotseat::domain::request::{Inbound, Request};
use hotseat::panes::PaneId;
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
fn two_people_of_one_name_are_told_apart_by_where_they_sit() {
    use hotseat::domain::presence::{PresenceFact, ScreenId, Via, Visitor};
    let mut desk = Desk::company(120, 40);
    for (screen, via, seat) in [
        (3, Via::Local, Some("pts/4\u{1b}[2J")),
        (4, Via::Ssh("192.0.2.9".into()), Some("pts/0")),
        (5, Via::Local, None),
    ] {
        let visitor = Visitor { via, seat: seat.map(String::from), ..Visitor::inside("carol") };
        desk.fact(Fact::Presence(PresenceFact::Came { screen: ScreenId(screen), visitor }));
    }
    desk.press("@");
    let text = rows(&desk.draw(true).0).join("\n");
    let lines: Vec<&str> = text.lines().filter(|it| it.contains("carol  ")).collect();
    let [socket, ssh, old] = lines.as_slice() else { panic!("{text}") };
    assert!(socket.contains("screen 3, since") && socket.contains(", at pts/4"), "{socket}");
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(ssh.contains("screen 4, since") && ssh.contains(", by ssh from 192.0.2.9 (pts/0)"), "{ssh}");
    assert!(old.contains("screen 5, since") && old.contains(", on this host"), "an older screen says no seat: {old}");
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
        assert!(header.contains("2 here") && header.contains("storage-a refus"), "{width}x{height}:\n{header}");
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
    let header: Vec<String> = rows(&desk.draw(true).0)[2..4].iter().map(|it| it.trim().to_string()).collect();
    assert!(header.join(" ").contains("config.toml:1:1: unknown key `expct` in `probe`"), "{header:?}");
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
        let header = rows(&buf)[..4].join("\n");
        assert!(!header.contains(" ok") || header.contains("were ok"), "{header}");
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

    let mut desk = Desk::lost(80, 24, true);
    desk.press("W");
    assert!(desk.text().contains("sure?"));
    let peer = agent(env!("CARGO_PKG_VERSION"));
    let way = hotseat::domain::host::Way::Attached { peer, readonly: false, ahead_ms: 0 };
    let host = desk.model.ways.keys().next().expect("one that is lost").clone();
    desk.event(Event::Inbound(Inbound::Host(Box::new(hotseat::domain::host::HostNews { host, way }))));
    let text = desk.text();
    assert!(!text.contains("sure?") && text.contains("somebody watches again"), "{text}");
    desk.press("y");
    assert!(!desk.effects.contains(&Effect::Request(Request::TakeOver)), "{:?}", desk.effects);

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
fn a_host_that_refuses_says_how_it_is_tried_again_and_why_in_full_where_there_is_room() {
    use hotseat::app::effect::Effect;
    use hotseat::domain::host::{Again, Way};
    use hotseat::domain::request::Request;
    const WHY: &str = "alice@prod-1: Permission denied (publickey) (`ssh prod-1` must log in without asking: load your \
                       key with `ssh-add`, and ask those who run the host whether they know it; that is all)";
    let refused = |again| Way::Refused { since: jiff::Timestamp::UNIX_EPOCH, why: WHY.into(), again };
    let mut desk = Desk::outage(80, 24);
    desk.model.board.host = Some(hotseat::domain::ids::HostId::new("prod-1"));
    way(&mut desk, refused(Again::Asked));
    let text = desk.text();
    assert!(text.contains("not attached · ctrl-t tries again · alice@prod-1: Permission denied"), "{text}");
    assert!(text.contains("ctrl-t try again") && text.contains("as of "), "{text}");
    desk.press("@");
    let text = desk.text();
    assert!(
        text.contains("ask those who run the host whether they know it;") && text.contains("that is all)"),
        "{text}"
    );
    desk.press("esc ctrl-t");
    assert_eq!(desk.effects, [Effect::Request(Request::Reattach)]);
    way(&mut desk, refused(Again::Never));
    desk.press("ctrl-t");
    let text = desk.text();
    assert!(text.contains("prod-1 is not reached, and not tried again: alice@prod-1"), "{text}");
    assert_eq!(desk.effects, [Effect::Request(Request::Reattach)], "it cannot help");
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
        // Where there is no room, who is well is left out first.
        assert!(text.contains("bastion ok") || width < 120, "{text}");
        assert!(text.contains("web-1 LOST 12s"), "{text}");
        assert!(text.contains("SEV2  web-1:INC-0819-k7q2  ") && text.contains("+1 open"), "{text}");
        assert!(text.contains("INCIDENT  SEV2 web-1:INC-0819-k7q2 "), "{text}");
        assert!(text.contains("? 15 of web-1 not seen since 14:51:20, 4 were red"), "{text}");
        check(&format!("fleet-{width}x{height}"), &desk, false);
        desk.press("1 / \"host=bastion\" enter");
        let text = rows(&desk.draw(true).0).join("\n");
        assert!(text.contains("bastion:") && !text.contains("? web-1:storage"), "{text}");
        assert!(text.contains("[4]"), "every pane is there: {text}");
    }
}

#[test]
fn everything_red_is_in_sight_before_anything_else_has_rows() {
    let mut desk = Desk::new(80, 24);
    let trouble = "json.status is \"degraded: replication lag of 341 seconds\", expected json.status == 'ok'";
    for (group, name) in [("edge", "web"), ("edge", "cdn"), ("store", "orders"), ("store", "users"), ("jobs", "mail")] {
        desk.probe(name, Some(group), Some(trouble));
        for well in ["a", "b", "c"] {
            desk.probe(&format!("{name}-{well}"), Some(group), None);
        }
    }
    let text = desk.text();
    for name in ["web", "cdn", "orders", "users", "mail"] {
        assert!(text.contains(&format!("x {name} ")), "{name} is hidden:\n{text}");
    }
    assert!(!text.contains("more below, ") && text.contains("ok folded"), "{text}");
    assert!(text.contains("none open: `D` declares"), "what is only a hint stands in its title:\n{text}");
    assert!(text.contains("[2]") && text.contains("[3]"), "the others are there still:\n{text}");
}

#[test]
fn rows_for_what_is_red_are_kept_for_half_a_minute() {
    let mut desk = Desk::new(80, 24);
    for at in 0..12 {
        desk.probe(&format!("p{at}"), None, Some("refused: nothing listens on 127.0.0.1:9000"));
    }
    let height = |desk: &Desk| desk.model.areas().body(PaneId::Services).height;
    let crowded = height(&desk);
    for at in 1..12 {
        desk.probe(&format!("p{at}"), None, None);
        desk.fact(Fact::Probe(ProbeFact::Removed { probe: ProbeId::new(&HostId::new("bastion"), &format!("p{at}")) }));
    }
    assert_eq!(height(&desk), crowded);
    desk.now += SignedDuration::from_secs(29);
    desk.event(Event::Wake);
    assert_eq!(height(&desk), crowded);
    let wake = desk.model.next_wake(desk.now).expect("it wakes for it");
    assert!(wake <= desk.now + SignedDuration::from_secs(1), "{wake}");
    desk.now += SignedDuration::from_secs(1);
    desk.event(Event::Wake);
    assert!(height(&desk) < crowded, "{}", height(&desk));
}

#[test]
fn a_screen_that_only_reads_says_when_nobody_watches() {
    let mut desk = Desk::new(120, 40);
    desk.fact(Fact::Runtime(RuntimeFact::Standby { holder: NOBODY.into() }));
    let text = desk.text();
    for words in [
        "nobody watches this host: no probe runs, nobody is paged, no backup is made",
        "no probe runs: nobody watches this host",
        "no backup is made: nobody watches this host",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    assert!(!text.contains("reading only"), "{text}");
    let mut desk = Desk::new(120, 40);
    desk.fact(Fact::Runtime(RuntimeFact::Standby { holder: "pid 7 since 14:00".into() }));
    let text = desk.text();
    assert!(text.contains("reading only: pid 7 since 14:00 probes") && !text.contains("nobody"), "{text}");
}

#[test]
fn a_long_reason_is_read_whole_where_the_screen_has_room() {
    let mut desk = Desk::new(200, 60);
    let trouble =
        "json.status is \"degraded: replication lag of 341 seconds on orders-db-2\", expected json.status == 'ok'";
    for name in ["orders", "users"] {
        desk.probe(name, None, Some(trouble));
    }
    let list = rows(&desk.draw(true).0)[1..12].join("\n");
    assert!(!list.contains('~'), "{list}");
    let words: Vec<&str> = trouble.split_whitespace().collect();
    assert!(words.iter().all(|it| list.contains(it)), "{list}");
}

#[test]
fn the_header_says_what_fails_and_who_is_here_in_eighty_columns() {
    let mut desk = Desk::new(80, 24);
    let trouble = "refused: nothing listens on 127.0.0.1:18479";
    for name in ["storage", "orders-api-json", "web-frontend"] {
        desk.probe(name, None, Some(trouble));
    }
    desk.in_company();
    let header = |desk: &Desk| rows(&desk.draw(true).0)[..2].join("\n");
    let first = header(&desk);
    assert!(first.contains("x 3 of 3 red  first orders-api-json refused 14:47:00"), "{first}");
    assert!(first.contains("2 here: alice, bob"), "{first}");
    // With more to say there are two rows, and room for the reason.
    desk.probe_never_ran("search");
    let both = header(&desk);
    assert!(both.contains("first orders-api-json refused: nothing listens on"), "{both}");
    assert!(both.contains("! 1 unknown  2 here: alice, bob(logs)"), "{both}");
}

#[test]
fn the_cause_and_the_key_survive_in_eighty_columns() {
    let desk = Desk::lost(80, 24, true);
    let text = desk.text();
    assert!(text.contains("W take over") && text.contains("connection was"), "{text}");
    assert!(rows(&desk.draw(true).0)[..5].join(" ").contains("closed"), "{text}");
    let mut desk = Desk::outage(80, 24);
    let error = ConfigError::at("/etc/hotseat/config.toml", "expct = 1", 0..5, "unknown key `expct` in `probe`");
    let error = error.with_hint("did you mean `expect`? it takes a list of conditions");
    desk.fact(Fact::Runtime(RuntimeFact::ConfigRejected { errors: vec![error] }));
    let header = rows(&desk.draw(true).0)[..5].join("\n");
    let header = header.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(header.contains("ctrl-e") && header.contains("unknown key `expct`"), "{header}");
    assert!(header.contains("did you mean `expect`?"), "{header}");
    let text = Desk::fleet(80, 24).text();
    assert!(text.contains("not seen since 14:51:20, 4 were red"), "{text}");
}

#[test]
fn a_host_that_never_answered_is_not_said_to_have_nothing() {
    use hotseat::domain::fleet::Fleet;
    use hotseat::domain::host::Way;
    for (several, width, height) in [(false, 80, 24), (true, 80, 24), (true, 200, 60), (false, 120, 40)] {
        let mut desk = Desk::new(width, height);
        if several {
            desk.model.fleet = Fleet::of_several();
        }
        let why = "ssh: connect to host web1 port 22: Connection refused".to_string();
        let retry_at = Some(desk.now + SignedDuration::from_secs(4));
        let since = desk.now;
        way(&mut desk, Way::Lost { since, why, retry_at, can_take_over: false, ends: None });
        let text = desk.text();
        for wrong in ["no probes", "no backup jobs", "no incident is open"] {
            assert!(!text.contains(wrong), "{wrong}:\n{text}");
        }
        let services = text.split("SERVICES").nth(1).unwrap_or_default();
        assert!(services.contains("prod-1 is not reached, retry in 4s: ssh: connect to host"), "{text}");
        assert!(text.contains("refused"), "{text}");
    }
}

#[test]
fn what_was_decided_is_said_with_the_key_that_ends_it() {
    let mut desk = Desk::outage(80, 24);
    for (said, key) in [
        ("silenced probe=api until 2024-08-19T07:51:32Z", "15:51:32, `Q` in Services ends it"),
        ("db1, web1: silenced probe=api until 2024-08-19T07:51:32Z", "`Q` in Services ends it"),
        ("maintenance of group=edge until 2024-08-19T07:51:32Z", "`Q` in Services ends it"),
        ("acknowledged `api` until it is fine", "`a` on its row takes that back"),
    ] {
        desk.event(Event::Inbound(Inbound::Done(said.into())));
        let footer = rows(&desk.draw(true).0).pop().unwrap_or_default();
        assert!(footer.contains(key), "{footer}");
    }
}

#[test]
fn a_proposed_title_is_replaced_by_what_is_typed() {
    let mut desk = Desk::outage(80, 24);
    desk.press("D");
    assert!(desk.text().contains("declare > storage-a refused"));
    desk.press("\"edge down\"");
    assert!(desk.text().contains("declare > edge down"), "{}", desk.text());
    let mut desk = Desk::outage(80, 24);
    desk.press("D end \"!\"");
    assert!(desk.text().contains("declare > storage-a refused!"), "{}", desk.text());
}
