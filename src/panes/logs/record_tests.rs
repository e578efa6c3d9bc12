//! Key scripts about records: one in full, several at once, files, the way to the whole log and back.

use crate::app::effect::Effect;
use crate::domain::export::{ExportFormat, ExportNews};
use crate::domain::log::{Look, Row};
use crate::domain::request::{Inbound, Request};
use crate::panes::Pane;
use crate::panes::logs::feed::{PAGE, TAIL};
use crate::panes::logs::fixture::Desk;

const JSON: &str =
    r#"{"level":"error","msg":"pool \"a\" exhausted","http":{"status":502,"path":"/orders"},"ok":false}"#;

/// Three records, the middle one a JSON object shown as one readable line.
fn readable(width: u16, height: u16) -> Desk {
    let mut desk =
        Desk::new(width, height, &["INFO before", "ERROR pool \"a\" exhausted http.status=502", "INFO after"]);
    if let Row::Record(record) = &mut desk.rows[1] {
        record.original = Some(vec![JSON.to_string()]);
    }
    desk.with(|pane, cx| pane.requery(cx));
    desk.press("k");
    desk
}

fn copied(desk: &Desk) -> Vec<(&str, &str)> {
    let copies = desk.effects.iter().filter_map(|it| match it {
        Effect::Copy { text, what } => Some((text.as_str(), what.as_str())),
        _ => None,
    });
    copies.collect()
}

#[test]
fn a_record_is_shown_in_full_with_its_object_one_member_a_line() {
    let mut desk = readable(60, 14);
    desk.press("v");
    assert!(desk.pane.wants_zoom());
    insta::assert_snapshot!(desk.lines().join("\n"), @r#"
     time    2024-08-19 14:51:29 +00:00 (1s ago)
     level   error
     source  api

    >{
       "level": "error",
       "msg": "pool \"a\" exhausted",
       "http": {
         "status": 502,
         "path": "/orders"
       },
       "ok": false
     }
    "#);
    desk.press("v");
    assert!(!desk.pane.wants_zoom());
    desk.press("v esc");
    assert!(!desk.pane.wants_zoom() && desk.selected().is_some_and(|it| it.contains("exhausted")), "{}", desk.screen());
}

#[test]
fn a_value_is_copied_alone_and_the_object_as_a_whole() {
    let mut desk = readable(60, 14);
    desk.press("y v j j y j y Y G g g y");
    let texts = copied(&desk);
    assert_eq!(texts[0], (JSON, "1 record"));
    assert_eq!(texts[1], ("pool \"a\" exhausted", "msg"));
    assert_eq!(texts[2], (r#"{"status":502,"path":"/orders"}"#, "http"));
    assert!(
        texts[3].0.starts_with("{\n  \"level\": \"error\",\n  \"msg\"") && texts[3].0.ends_with("\n}"),
        "{texts:?}"
    );
    assert_eq!(texts[4], ("2024-08-19T14:51:29Z", "time"));
}

#[test]
fn nothing_that_a_terminal_acts_on_is_copied_or_made_a_chip() {
    let mut desk = readable(60, 14);
    if let Row::Record(record) = &mut desk.rows[1] {
        let hostile = r#"{"msg":"a\u001b]52;c;SGk=\u0007b\u009b2Jc pool is exhausted"}"#;
        record.original = Some(vec![hostile.to_string(), "\u{1b}[2Jraw\u{9b}31m".to_string()]);
    }
    desk.with(|pane, cx| pane.requery(cx));
    desk.press("y v j y Y enter v *");
    let texts: Vec<&str> = copied(&desk).iter().map(|it| it.0).collect();
    assert!(texts.contains(&"abc pool is exhausted"), "{texts:?}");
    let is_harmless = |it: &str| !it.contains(|it: char| it.is_control() && it != '\n');
    assert!(texts.len() == 3 && texts.iter().all(|it| is_harmless(it)), "{texts:?}");
    assert!(is_harmless(&desk.pane.chips.text()), "{:?}", desk.pane.chips.text());
    assert!(desk.pane.chips.text().contains("pool is exhausted"), "{:?}", desk.pane.chips.text());
}

#[test]
fn enter_on_a_member_shows_only_records_with_that_value() {
    let mut desk = readable(60, 14);
    desk.press("v j enter");
    // The level of the record is a level, whatever the logger calls it.
    assert!(desk.title().contains("[level=error ×] 1 of 3"), "{}", desk.title());
    desk.press("X v j j j enter");
    assert_eq!(desk.notices().last().map(String::as_str), Some("nothing to filter by here: go to a field"));
    desk.press("j !");
    assert!(desk.title().contains("[-http.status=502 ×]"), "{}", desk.title());
    assert!(!desk.pane.wants_zoom());
}

#[test]
fn the_records_before_and_after_are_one_key_away_while_one_is_shown_in_full() {
    let mut desk = readable(60, 14);
    desk.press("v h");
    assert!(desk.screen().contains("INFO before") && desk.pane.wants_zoom(), "{}", desk.screen());
    desk.press("l l");
    assert!(desk.screen().contains("INFO after"), "{}", desk.screen());
    desk.press("v");
    assert!(desk.selected().is_some_and(|it| it.ends_with("I after")), "{}", desk.screen());
}

#[test]
fn any_other_key_goes_back_to_the_list_first() {
    let mut desk = readable(60, 14);
    desk.press("v w");
    assert!(!desk.pane.wants_zoom());
    desk.press("v f \"after\" enter");
    assert!(desk.title().contains("[after ×] 1 of 3"), "{}", desk.title());
}

#[test]
fn pairs_of_a_line_are_fields_and_long_values_wrap() {
    let long = "x".repeat(70);
    let line = format!("WARN slow req=8f2c user=\"sid vicious\" query={long}");
    let mut desk = Desk::new(40, 14, &[&line]);
    desk.press("k v");
    let screen = desk.screen();
    assert!(screen.contains("user    sid vicious"), "{screen}");
    assert!(screen.contains(&format!("query   {}", "x".repeat(32))), "{screen}");
    desk.press("G k k enter");
    assert_eq!(desk.pane.chips.query(), "req=8f2c");
}

#[test]
fn the_lines_as_they_are_on_disk_are_asked_for() {
    let mut desk = readable(60, 8);
    desk.press("r");
    let request = desk.pane.feed.ask_page(&desk_ask(&desk), crate::domain::log::Anchor::Head, super::feed::Want::Jump);
    assert!(matches!(request, Effect::Request(Request::Window(it)) if it.look == Look::Original));
}

fn desk_ask(desk: &Desk) -> super::feed::Ask {
    super::feed::Ask { look: if desk.pane.look.raw { Look::Original } else { Look::Readable }, ..Default::default() }
}

#[test]
fn selected_records_are_marked_without_colours_copied_and_pinned() {
    let mut desk = Desk::numbered(60, 6, 50);
    desk.append("api", "ERROR trace\n  at A.a\n  at B.b");
    desk.append("api", "INFO last");
    desk.with(|pane, cx| pane.requery(cx));
    desk.press("k V k k");
    assert!(desk.title().contains("paused · 3 selected"), "{}", desk.title());
    insta::assert_snapshot!(desk.lines().join("\n"), @"
     14:51:27 I number 46
     14:51:28 I number 47
    >14:51:29 I▌number 48
     14:51:30 I▌number 49
     14:51:31 E▌trace (+2 lines)
     14:51:32 I last
    ");
    desk.press("p V y");
    assert!(desk.pane.selection.is_none());
    desk.press("V j j y");
    let texts = copied(&desk);
    assert_eq!(texts.last().map(|it| it.1), Some("3 records, 5 lines"));
    assert!(texts.last().is_some_and(|it| it.0.ends_with("ERROR trace\n  at A.a\n  at B.b")), "{texts:?}");
    let pins = desk.effects.iter().filter_map(|it| match it {
        Effect::Request(Request::Pin(pin)) => Some(pin.records.iter().filter(|it| it.chosen).count()),
        _ => None,
    });
    assert_eq!(pins.collect::<Vec<_>>(), [3]);
    desk.press("V esc y");
    assert_eq!(copied(&desk).last().map(|it| it.1), Some("1 record, 3 lines"));
}

#[test]
fn a_selection_larger_than_what_is_loaded_goes_into_a_file() {
    let mut desk = Desk::numbered(60, 6, 2_000);
    desk.press("k V g g y");
    assert!(desk.notices().last().is_some_and(|it| it.contains("`Y` writes it into a file")), "{:?}", desk.notices());
    assert!(desk.title().contains("selecting"), "{}", desk.title());
    desk.press("Y enter");
    let Some(Effect::Request(Request::Export(request))) = desk.effects.last() else { panic!("{:?}", desk.effects) };
    assert_eq!(request.from.as_ref(), desk.rows[0].position());
    assert_eq!(request.until.as_ref(), desk.rows[1_998].position());
    assert_eq!((request.path.as_str(), request.format), ("hotseat-api-20240819-145130.log", ExportFormat::Text));
}

#[test]
fn what_passes_the_filter_is_written_with_a_word_about_how_it_goes() {
    let mut desk = Desk::numbered(80, 6, 50);
    desk.press("L e Y");
    assert!(desk.screen().contains("write all that passes to: hotseat-api-"), "{}", desk.screen());
    desk.press("\"out.jsonl\" enter");
    let Some(Effect::Request(Request::Export(request))) = desk.effects.last().cloned() else { panic!() };
    assert_eq!((request.query.as_str(), request.format), ("level>=error", ExportFormat::Json));
    assert_eq!((&request.from, &request.until), (&None, &None));
    assert!(desk.title().contains("writing 0…"), "{}", desk.title());
    let news = |desk: &mut Desk, news| desk.with(|pane, cx| pane.inbound(cx, &Inbound::Export(news)));
    news(&mut desk, ExportNews::Writing { records: 81_000, bytes: 16 << 20 });
    assert!(desk.title().contains("writing 81"), "{}", desk.title());
    desk.press("Y");
    assert!(desk.notices().last().is_some_and(|it| it.contains("Esc stops it")), "{:?}", desk.notices());
    desk.press("esc");
    assert_eq!(desk.effects.last(), Some(&Effect::Request(Request::StopExport)));
    news(&mut desk, ExportNews::Stopped);
    assert!(!desk.title().contains("writing"), "{}", desk.title());
    news(
        &mut desk,
        ExportNews::Finished { path: "/x/out.jsonl".into(), records: 5, bytes: 700, gaps: 1, missing: Vec::new() },
    );
    let said = "wrote 5 records (700B, 1 gap among them) to `/x/out.jsonl`";
    assert_eq!(desk.notices().last().map(String::as_str), Some(said));
    let missing = vec!["db1: lost: broken pipe".to_string(), "web\u{1b}[31m1: lost".to_string()];
    news(&mut desk, ExportNews::Finished { path: "/x/out.log".into(), records: 5, bytes: 700, gaps: 0, missing });
    let said = "wrote 5 records (700B) without db1, web1 to `/x/out.log`: its end says why";
    assert_eq!(desk.notices().last().map(String::as_str), Some(said));
}

#[test]
fn records_like_this_one_are_shown_or_hidden_by_one_key() {
    let lines = ["INFO cache miss key=1", "ERROR upstream timeout after 300 ms", "ERROR upstream timeout after 12 ms"];
    let mut desk = Desk::new(80, 8, &lines);
    desk.press("k *");
    assert!(desk.title().contains("[\"ERROR upstream timeout after\" ×] 2 of 3"), "{}", desk.title());
    desk.press("u #");
    assert!(desk.title().contains("[-\"ERROR upstream timeout after\" ×] 1 of 3"), "{}", desk.title());
}

#[test]
fn the_way_back_from_the_whole_log_leads_to_the_same_record_whatever_happened_meanwhile() {
    // Rows arrive, the reader goes far away, and the same record is selected on the same line.
    for detour in
        ["g g", "G", "ctrl-u ctrl-u ctrl-u", "e e E", "o", "/ \"number\" enter n", "v v", "V j j esc", "w O O"]
    {
        let mut desk = Desk::numbered(80, 8, 1_000);
        desk.press("f \"ERROR\" enter k k k");
        let before = desk.lines();
        desk.press("enter");
        desk.arrives("ERROR newer");
        desk.press(detour);
        desk.arrives("INFO newest");
        desk.press("enter");
        let after = desk.lines();
        let rows = |lines: &[String]| lines.iter().take(7).cloned().collect::<Vec<_>>();
        if detour != "w O O" {
            assert_eq!(rows(&after), rows(&before), "{detour}");
        }
        assert!(desk.title().contains("paused +1 new"), "{detour}: {}", desk.title());
        assert!(desk.title().contains("[ERROR ×]"), "{detour}: {}", desk.title());
    }
}

#[test]
fn the_way_back_to_following_follows() {
    let mut desk = Desk::numbered(80, 8, 100);
    desk.press("f \"ERROR\" enter enter");
    assert!(desk.title().contains("all records"), "{}", desk.title());
    assert!(desk.selected().is_some_and(|it| it.ends_with("number 90")), "{}", desk.screen());
    desk.arrives("ERROR newer");
    desk.press("enter");
    assert!(desk.title().contains("follow"), "{}", desk.title());
    assert!(desk.screen().contains("ERROR newer"), "{}", desk.screen());
}

#[test]
fn the_way_back_waits_for_no_answer() {
    let mut desk = Desk::numbered(80, 8, 1_000);
    desk.press("f \"ERROR\" enter k k k k k");
    let before = desk.screen();
    desk.press("enter g g");
    desk.answers = false;
    desk.press("enter");
    assert_eq!(desk.lines(), before.lines().skip(1).map(|it| it.trim_end().to_string()).collect::<Vec<_>>());
    assert!(desk.asked.iter().any(|it| it.view == TAIL) && desk.asked.iter().any(|it| it.view == PAGE));
    desk.answer_all();
    assert_eq!(desk.screen(), before);
}

#[test]
fn the_fields_that_the_engine_knows_stand_below_a_line_of_text() {
    let mut desk = Desk::new(60, 14, &["10.0.0.1 - - \"GET /orders HTTP/1.1\" 502 12"]);
    desk.answers = false;
    desk.press("k v");
    let request =
        desk.asked.iter().find(|it| it.view == super::feed::FIELDS).cloned().expect("the fields are asked for");
    let mut window = desk.answer(&request);
    if let Some([Row::Record(record)]) = window.rows.as_deref_mut() {
        let fields = [
            ("client", "10.0.0.1"),
            ("user", "-"),
            ("request", "GET /orders"),
            ("message", "GET /orders"),
            ("status", "502"),
        ];
        record.fields = fields.map(|(name, value)| (name.to_string(), value.to_string())).to_vec();
    }
    desk.deliver(window);
    let lines = desk.lines();
    let expected = [" client   10.0.0.1", " request  GET /orders", " status   502"];
    assert_eq!(lines[5..8], expected, "{}", desk.screen());
    desk.press("G enter");
    assert_eq!(desk.pane.chips.query(), "status=502");
}

#[test]
fn rows_of_another_day_say_milliseconds_where_there_is_room() {
    let screen = |width: u16, days: i64, millis: i64| {
        let mut desk = Desk::new(width, 4, &["INFO one", "INFO two"]);
        for row in &mut desk.rows {
            if let Row::Record(record) = row {
                let age = jiff::SignedDuration::from_hours(24 * days) - jiff::SignedDuration::from_millis(millis);
                record.position.time = record.position.time.map(|it| it - age);
            }
        }
        desk.with(|pane, cx| pane.requery(cx));
        desk.screen()
    };
    assert!(screen(120, 2, 250).contains("08-17 14:51:29.250 I"), "{}", screen(120, 2, 250));
    assert!(screen(80, 2, 250).contains("08-17 14:51:29 I"), "{}", screen(80, 2, 250));
    assert!(screen(120, 2, 0).contains("08-17 14:51:29 I"), "{}", screen(120, 2, 0));
    assert!(screen(120, 0, 250).contains("14:51:29 I"), "{}", screen(120, 0, 250));
}
