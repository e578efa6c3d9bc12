//! Key scripts: what the pane does, told by what stands on the screen.

use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::app::effect::Effect;
use crate::app::event::{Mouse, MouseKind};
use crate::domain::log::{Anchor, GapKind, Row, SgrSpan};
use crate::domain::query::saved::SavedQuery;
use crate::domain::request::Request;
use crate::panes::Pane;
use crate::panes::logs::feed::{PAGE, TAIL};
use crate::panes::logs::fixture::Desk;
use crate::theme::Theme;

fn check_selected(desk: &Desk, end: &str) {
    let selected = desk.selected();
    assert!(selected.as_ref().is_some_and(|it| it.ends_with(end)), "{end} in {selected:?}\n{}", desk.screen());
}

fn check_last(desk: &Desk, end: &str) {
    let lines = desk.lines();
    let last = lines.iter().rev().find(|it| !it.trim().is_empty());
    assert!(last.is_some_and(|it| it.ends_with(end)), "{end} in {last:?}\n{}", desk.screen());
}

#[test]
fn the_newest_line_is_followed_until_the_reader_scrolls_up() {
    let mut desk = Desk::numbered(80, 8, 50);
    check_last(&desk, "number 49");
    desk.arrives("INFO newer");
    check_last(&desk, "newer");
    desk.press("k");
    check_selected(&desk, "number 49");
    desk.arrives("INFO newest");
    check_last(&desk, "newer");
    check_selected(&desk, "number 49");
    assert!(desk.title().contains("paused +1 new"), "{}", desk.title());
    desk.press("F");
    check_last(&desk, "newest");
    assert!(desk.title().contains("follow") && desk.selected().is_none(), "{}", desk.title());
}

#[test]
fn a_record_that_grows_while_it_is_read_is_shown_as_it_is_now() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.press("k");
    desk.grows("  at com.example.Client.call");
    check_last(&desk, "number 49 (+1 line)");
    check_selected(&desk, "number 48");
    desk.arrives("INFO newer");
    desk.grows("more of it");
    assert!(!desk.screen().contains("newer"), "{}", desk.screen());
}

#[test]
fn going_down_past_the_newest_line_follows_again() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.press("k k j j j");
    assert!(desk.title().contains("follow"), "{}", desk.screen());
    desk.press("ctrl-u");
    desk.press("pgdn pgdn");
    assert!(desk.title().contains("follow"), "{}", desk.screen());
}

#[test]
fn scrolling_to_the_oldest_line_loads_rows_on_the_way() {
    let mut desk = Desk::numbered(80, 8, 1_000);
    for _ in 0..200 {
        desk.press("pgup");
    }
    check_selected(&desk, "number 0");
    desk.press("G");
    check_last(&desk, "number 999");
    desk.press("g g");
    check_selected(&desk, "number 0");
    assert!(desk.lines()[0].ends_with("number 0"), "{}", desk.screen());
    for _ in 0..200 {
        desk.press("ctrl-d");
    }
    check_selected(&desk, "number 800");
}

#[test]
fn scrolling_inside_loaded_rows_waits_for_nothing() {
    let mut desk = Desk::numbered(80, 8, 1_000);
    desk.answers = false;
    for _ in 0..12 {
        desk.press("pgup");
    }
    check_selected(&desk, "number 915");
    // More was asked for once, not once a key.
    let asked: Vec<_> = desk.asked.iter().filter(|it| it.view == PAGE).collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
    desk.answer_all();
    check_selected(&desk, "number 915");
}

#[test]
fn what_is_typed_in_the_filter_shows_at_once_and_esc_restores() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.press("k k");
    let before = desk.screen();
    desk.press("f \"ber\" space");
    desk.press("\"4\"");
    assert!(desk.title().contains("[\"ber 4\" ×] 11 of 50"), "{}", desk.title());
    assert!(desk.lines().iter().take(7).all(|it| it.is_empty() || it.contains("ber 4")), "{}", desk.screen());
    desk.press("esc");
    assert_eq!(desk.screen(), before);
}

#[test]
fn a_kept_chip_narrows_and_the_chosen_line_comes_back_when_it_goes() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.press("k k k");
    check_selected(&desk, "number 46");
    desk.press("f \"ERROR\" enter");
    assert!(desk.title().contains("[ERROR ×] 5 of 50"), "{}", desk.title());
    check_selected(&desk, "number 40");
    desk.press("x");
    check_selected(&desk, "number 46");
}

#[test]
fn chips_are_switched_inverted_edited_and_removed_by_keys() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.press("f \"INFO\" enter ! \"7$\" enter");
    assert!(desk.title().contains("[INFO 45 ×] [-/7$/ ×] 40 of 50"), "{}", desk.title());
    desk.press("C l space");
    assert!(desk.title().contains("[INFO ×] [~-/7$/ ×] 45 of 50"), "{}", desk.title());
    desk.press("space h !");
    assert!(desk.title().contains("[-INFO 5 of 50 ×] [-/7$/ ×] 5 of 50"), "{}", desk.title());
    desk.press("right enter backspace backspace \"40$\" enter");
    assert!(desk.title().contains("[-INFO 5 ×] [-/40$/ 4 of 5 ×] 4 of 50"), "{}", desk.title());
    desk.press("x esc x");
    assert!(!desk.title().contains('['), "{}", desk.title());
}

#[test]
fn a_chip_is_moved_and_says_what_it_leaves_of_those_before_it() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.press("f \"INFO\" enter f \"number\" space \"4\" enter C");
    assert!(desk.title().contains("[INFO 45 of 50 ×] [\"number 4\" ×] 10 of 50"), "{}", desk.title());
    desk.press("> esc");
    assert!(desk.title().contains("[\"number 4\" 11 ×] [INFO ×] 10 of 50"), "{}", desk.title());
    desk.press("C right shift-left");
    assert!(desk.title().contains("[INFO 45 of 50 ×] [\"number 4\" ×] 10 of 50"), "{}", desk.title());
    desk.answers = false;
    desk.press("x");
    assert!(desk.title().contains("[\"number 4\" … ×] …"), "{}", desk.title());
}

#[test]
fn a_change_of_the_filter_can_be_taken_back_and_the_last_one_is_one_key_away() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.press("L e f \"number\" space \"4\" enter x X");
    assert!(!desk.title().contains('['), "{}", desk.title());
    desk.press("u");
    assert!(desk.title().contains("[level>=error ×] 5 of 50"), "{}", desk.title());
    desk.press("u");
    assert!(desk.title().contains("[level>=error 5 ×] [\"number 4\" ×] 1 of 50"), "{}", desk.title());
    desk.press("u u u");
    assert!(!desk.title().contains('['), "{}", desk.title());
    assert_eq!(desk.notices().last().map(String::as_str), Some("no change of the filter to take back"));
    desk.press("R");
    assert!(desk.title().contains("[level>=error ×] 5 of 50"), "{}", desk.title());
    assert_eq!(desk.notices().last().map(String::as_str), Some("filter: level>=error"));
    desk.press("X f \"INFO\" enter R");
    assert!(desk.title().contains("[level>=error ×] 5 of 50"), "{}", desk.title());
    desk.press("R");
    assert!(desk.title().contains("[INFO ×] 45 of 50"), "{}", desk.title());
    // A filter that was left with Esc never was in force.
    desk.press("f \"nothing\" esc u");
    assert!(desk.title().contains("[level>=error ×] 5 of 50"), "{}", desk.title());
}

#[test]
fn saved_queries_are_picked_called_by_name_and_completed() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.press("Q");
    assert!(desk.notices()[0].contains("[[query]]"), "{:?}", desk.notices());
    let query = |name: &str, query: &str| SavedQuery { name: name.into(), query: query.into() };
    desk.pane.set_queries(&[query("bad", "level>=error -40")]);
    desk.press("L i L e Q");
    let expected = [query("bad", "level>=error -40"), query("", "level>=info")];
    assert_eq!(desk.effects.last(), Some(&Effect::PickQuery(expected.to_vec())));
    desk.with(|pane, cx| pane.filter(cx, "@bad"));
    assert!(desk.title().contains("[level>=error 5 ×] [-40 ×] 4 of 50"), "{}", desk.title());
    desk.with(|pane, cx| pane.filter(cx, "+ 30"));
    assert!(desk.title().contains("[level>=error 5 ×] [-40 4 ×] [30 ×] 1 of 50"), "{}", desk.title());
    desk.with(|pane, cx| pane.filter(cx, "@bda"));
    assert!(desk.notices().last().is_some_and(|it| it.contains("did you mean `bad`")), "{:?}", desk.notices());
    desk.press("X f \"@b\" tab enter");
    assert!(desk.title().contains("[level>=error 5 ×] [-40 ×] 4 of 50"), "{}", desk.title());
    desk.press("X f \"-43\" space \"@bad\" space \"3\" enter");
    assert!(desk.title().contains("[-43 ×] [level>=error ×] [-40 ×] [3 ×] 1 of 50"), "{}", desk.title());
    desk.press("X f \"@bda\" space \"3\" enter");
    assert!(desk.title().contains("[\"@bda 3\" ×]"), "{}", desk.title());
    desk.press("X");
    desk.with(|pane, cx| pane.filter(cx, "3 @bad"));
    assert!(desk.title().contains("[-40 ×] 1 of 50"), "{}", desk.title());
    desk.press("X f \"-sou\" tab backspace backspace backspace \"x\" tab enter");
    assert!(desk.title().contains("[-source:x"), "{}", desk.title());
}

#[test]
fn a_level_threshold_is_two_keys_and_replaces_the_one_before() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.press("L e");
    assert!(desk.title().contains("[level>=error ×] 5 of 50"), "{}", desk.title());
    desk.press("L i");
    assert!(desk.title().contains("[level>=info ×] 50 of 50"), "{}", desk.title());
    desk.press("L a");
    assert!(!desk.title().contains("level"), "{}", desk.title());
}

#[test]
fn a_bad_regex_is_said_in_place_and_the_rows_stay() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.press("f \"number.*(4\"");
    let screen = desk.screen();
    assert!(screen.contains("unclosed group"), "{screen}");
    assert!(screen.contains("number 49"), "{screen}");
    desk.press("enter");
    assert!(desk.pane.captures_keys(), "a bad chip is not kept");
    desk.press("\")\" enter");
    assert!(desk.title().contains("14 of 50"), "{}", desk.title());
}

#[test]
fn enter_shows_the_whole_log_at_the_record_and_goes_back_to_the_place() {
    let mut desk = Desk::numbered(80, 8, 200);
    desk.press("f \"ERROR\" enter k k k k k");
    let before = desk.screen();
    check_selected(&desk, "number 140");
    desk.press("enter");
    check_selected(&desk, "number 140");
    assert!(desk.screen().contains("I number 141"), "{}", desk.screen());
    desk.press("k k k esc");
    assert_eq!(desk.screen(), before);
    desk.press("enter enter");
    assert_eq!(desk.screen(), before);
}

#[test]
fn context_grows_and_shrinks_around_the_matches() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.press("f \"ERROR\" enter +");
    let lines = desk.lines();
    let ends: Vec<&str> = lines.iter().map(|it| it.rsplit(' ').next().unwrap_or_default()).collect();
    assert_eq!(ends, ["--", "29", "30", "31", "--", "39", "40", "41"], "{}", desk.screen());
    desk.press("-");
    assert!(!desk.screen().contains("--"), "{}", desk.screen());
}

#[test]
fn answers_to_older_questions_are_dropped() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.answers = false;
    desk.press("f \"E\"");
    let stale = desk.asked.last().cloned().expect("a request");
    desk.press("\"RROR\"");
    let fresh = desk.asked.last().cloned().expect("a request");
    assert!(stale.generation < fresh.generation);
    let window = desk.answer(&fresh);
    desk.deliver(window);
    let screen = desk.screen();
    let window = desk.answer(&stale);
    desk.deliver(window);
    assert_eq!(desk.screen(), screen);
}

#[test]
fn a_part_of_an_answer_does_not_end_a_jump() {
    let mut desk = Desk::numbered(80, 8, 500);
    desk.press("k");
    let before = desk.screen();
    desk.answers = false;
    desk.press("E");
    assert!(desk.title().contains("searching…"), "{}", desk.title());
    let request = desk.asked.last().cloned().expect("a request");
    let mut part = desk.answer(&request);
    (part.anchor_row, part.at_head, part.at_tail) = (None, false, false);
    desk.deliver(part);
    assert_eq!(desk.screen().lines().skip(1).collect::<Vec<_>>(), before.lines().skip(1).collect::<Vec<_>>());
    desk.answer_all();
    check_selected(&desk, "number 490");
}

#[test]
fn esc_stops_a_search_that_takes_too_long() {
    let mut desk = Desk::numbered(80, 8, 500);
    desk.answers = false;
    desk.press("E");
    let request = desk.asked.last().cloned().expect("a request");
    desk.press("esc");
    let late = desk.answer(&request);
    desk.deliver(late);
    assert_eq!(desk.title(), "api · follow · 500 records");
}

#[test]
fn the_selection_stays_on_its_record_when_rows_arrive_and_the_size_changes() {
    let mut desk = Desk::numbered(80, 8, 300);
    desk.press("pgup pgup k");
    let selected = desk.selected();
    for at in 0..300 {
        desk.arrives(&format!("INFO more {at}"));
    }
    assert_eq!(desk.selected(), selected);
    desk.size = (40, 3);
    desk.with(|pane, cx| pane.resized(cx));
    assert_eq!(desk.selected(), selected);
    assert!(desk.title().contains("+300 new"), "{}", desk.title());
}

#[test]
fn search_goes_to_the_newest_hit_and_on_from_there() {
    let mut desk = Desk::numbered(80, 8, 500);
    desk.press("/ \"ber\" space \"1\" \".3\" enter");
    check_selected(&desk, "number 193");
    desk.press("N");
    check_selected(&desk, "number 183");
    desk.press("n");
    check_selected(&desk, "number 193");
    desk.press("n");
    check_selected(&desk, "number 193");
    assert!(desk.notices().iter().any(|it| it == "no match after this: `N` looks back"), "{:?}", desk.notices());
    desk.press("esc n");
    assert!(desk.notices().iter().any(|it| it.contains("`/` starts a search")), "{:?}", desk.notices());
}

#[test]
fn a_jump_to_a_time_without_records_says_which_it_found() {
    // The last record of the desk is of 14:51:30, one comes each second.
    let check = |at: &str, expected: Option<&str>| {
        let mut desk = Desk::numbered(80, 8, 100);
        let at = at.parse().unwrap();
        desk.with(|pane: &mut crate::panes::logs::LogsPane, cx| pane.goto(cx, at));
        assert_eq!(desk.notices().last().map(String::as_str), expected, "{at}");
    };
    check("2024-08-19T14:51:00Z", None);
    check("2024-08-19T14:49:30Z", None);
    check("2024-08-19T14:40:00Z", Some("no record at 14:40:00: the next one is of 14:49:51"));
    check("2024-08-18T14:40:00Z", Some("no record at 2024-08-18 14:40:00: the next one is of 14:49:51"));
    check("2024-08-19T14:55:00Z", Some("no record at 14:55:00 or later: this one, the newest, is of 14:51:30"));
}

#[test]
fn hits_are_highlighted_while_the_search_is_typed() {
    let mut desk = Desk::numbered(80, 8, 500);
    let hits = |desk: &Desk| {
        let rows = desk.pane.rows().rows.iter();
        rows.filter(|row| matches!(row, Row::Record(record) if !record.hits.is_empty())).count()
    };
    desk.press("/ \"number.4\" \"9\"");
    assert_eq!(hits(&desk), 10);
    desk.press("\"(\"");
    assert!(desk.screen().contains("unclosed group") && hits(&desk) == 10, "{}", desk.screen());
    desk.press("esc");
    assert_eq!(hits(&desk), 0);
}

#[test]
fn a_body_that_grows_past_what_was_loaded_is_filled() {
    let mut desk = Desk::numbered(80, 3, 1_000);
    desk.size = (80, 150);
    desk.with(|pane, cx| pane.resized(cx));
    // Three rows are the histogram's.
    assert!(desk.lines()[3].ends_with("number 853"), "{}", desk.screen());
}

#[test]
fn errors_are_gone_through_with_one_key() {
    let mut desk = Desk::numbered(80, 8, 500);
    desk.press("e");
    assert!(desk.notices()[0].contains("`E` looks back"), "{:?}", desk.notices());
    desk.press("E");
    check_selected(&desk, "number 490");
    desk.press("E E e");
    check_selected(&desk, "number 480");
}

#[test]
fn jumps_pressed_faster_than_answers_come_are_not_lost() {
    let mut desk = Desk::numbered(80, 8, 500);
    desk.press("k");
    desk.answers = false;
    desk.press("E E");
    desk.answer_all();
    check_selected(&desk, "number 480");
}

#[test]
fn times_and_marks_are_places_to_go_to() {
    let mut desk = Desk::numbered(80, 8, 1_000);
    desk.press("t 2");
    check_selected(&desk, "number 699");
    desk.press("m a G E");
    desk.press("' a");
    check_selected(&desk, "number 699");
    desk.press("' '");
    check_selected(&desk, "number 990");
    desk.press("' b");
    assert!(desk.notices().iter().any(|it| it.contains("no mark `b`; there are: a")), "{:?}", desk.notices());
    desk.press("t 0");
    assert!(desk.title().contains("follow"), "{}", desk.title());
}

#[test]
fn a_pin_holds_the_record_and_what_stands_around_it() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.press("k k P \"why\" enter");
    let pin = desk.effects.iter().find_map(|it| match it {
        Effect::Request(Request::Pin(pin)) => Some(pin.clone()),
        _ => None,
    });
    let pin = pin.expect("a pin");
    assert_eq!((pin.comment.as_str(), pin.incident.is_none()), ("why", true));
    let texts: Vec<(&str, bool)> =
        pin.records.iter().map(|it| (it.text.rsplit(' ').next().unwrap_or_default(), it.chosen)).collect();
    assert_eq!(
        texts,
        [("44", false), ("45", false), ("46", false), ("47", true), ("48", false), ("49", false)],
        "three before, what there is after"
    );
    assert_eq!(pin.records[0].source, "api");
}

#[test]
fn a_copy_is_the_whole_record() {
    let mut desk = Desk::new(80, 8, &["ERROR boom\n  at a\n  at b"]);
    desk.press("y");
    let Some(Effect::Copy { text, what }) = desk.effects.last() else { panic!("{:?}", desk.effects) };
    assert!(text.ends_with("ERROR boom\n  at a\n  at b"), "{text}");
    assert_eq!(what, "1 record, 3 lines");
}

#[test]
fn a_stack_trace_is_one_row_until_it_is_unfolded() {
    let mut desk = Desk::new(60, 8, &["INFO one", "ERROR boom\n  at a\n  at b", "INFO two"]);
    insta::assert_snapshot!(desk.screen(), @r#"
    api · follow · 3 records
     14:51:28 I one
     14:51:29 E boom (+2 lines)
     14:51:30 I two
    "#);
    desk.press("k o");
    insta::assert_snapshot!(desk.screen(), @r#"
    api · paused · 3 records
     14:51:28 I one
    >14:51:29 E boom
    >             at a
    >             at b
     14:51:30 I two
    "#);
}

#[test]
fn gaps_and_sources_are_said_in_words() {
    let mut desk = Desk::new(80, 8, &["INFO pool exhausted waiting=812"]);
    desk.source("edge-lb");
    desk.append("edge-lb", "ERROR 数据库连接失败: timeout after 30000 ms");
    desk.gap("api", GapKind::Rotated);
    desk.gap("edge-lb", GapKind::Dropped { lines: 1_312 });
    desk.gap("api", GapKind::Truncated { unread_bytes: 5_000, gone_bytes: 0, looked_at: None, times: 1 });
    desk.append("api", "WARN upstream api marked down");
    desk.with(|pane, cx| pane.requery(cx));
    insta::assert_snapshot!(desk.screen(), @r#"
    2 sources · follow · 3 records
     14:51:30 I api     pool exhausted waiting=812
     14:51:31 E edge-lb 数据库连接失败: timeout after 30000 ms
     ~ api rotated, old file read to its end ~
     ~ 1,312 lines not shown: edge-lb outgrew its spool, oldest dropped ~
     ~ api truncated, 4.9K unread, what came last is not known ~
     14:51:32 W api     upstream api marked down
    "#);
    desk.press("c c");
    insta::assert_snapshot!(desk.screen(), @r#"
    2 sources · follow · 3 records
     I pool exhausted waiting=812
     E 数据库连接失败: timeout after 30000 ms
     ~ api rotated, old file read to its end ~
     ~ 1,312 lines not shown: edge-lb outgrew its spool, oldest dropped ~
     ~ api truncated, 4.9K unread, what came last is not known ~
     W upstream api marked down
    "#);
    desk.press("c r");
    insta::assert_snapshot!(desk.screen(), @r#"
    2 sources · follow · 3 records
     2024-08-19T14:51:30Z INFO pool exhausted waiting=812
     2024-08-19T14:51:31Z ERROR 数据库连接失败: timeout after 30000 ms
     ~ api rotated, old file read to its end ~
     ~ 1,312 lines not shown: edge-lb outgrew its spool, oldest dropped ~
     ~ api truncated, 4.9K unread, what came last is not known ~
     2024-08-19T14:51:32Z WARN upstream api marked down
    "#);
}

#[test]
fn long_lines_are_marked_scrolled_and_wrapped() {
    let mut desk = Desk::new(40, 6, &["INFO abcdefghijklmnopqrstuvwxyz数据库连接失败abcdefghijklmnopqrstuvwxyz end"]);
    insta::assert_snapshot!(desk.screen(), @r#"
    api · follow
     14:51:30 I abcdefghijklmnopqrstuvwxyz数…
    "#);
    desk.press("l");
    insta::assert_snapshot!(desk.screen(), @r#"
    api · follow
     14:51:30 I …z数据库连接失败abcdefghijkl…
    "#);
    desk.press("h w");
    insta::assert_snapshot!(desk.screen(), @r#"
    api · follow
     14:51:30 I abcdefghijklmnopqrstuvwxyz数
                据库连接失败abcdefghijklmnopq
                rstuvwxyz end
    "#);
}

#[test]
fn a_wide_screen_shows_everything_in_the_title() {
    let mut desk = Desk::numbered(200, 30, 100);
    desk.press("L w ! \"healthz\" enter k");
    desk.arrives("ERROR new");
    insta::assert_snapshot!(desk.title(), @"api · paused +1 new [level>=warn 11 ×] [-healthz ×] 11 of 101");
}

/// What an engineer sees a minute into an outage: several sources, a trace, a rotation, Chinese text.
fn outage(width: u16, height: u16) -> Desk {
    let mut desk = Desk::new(width, height, &["INFO GET /orders 200 in 12 ms", "WARN pool nearly exhausted (60/64)"]);
    desk.append("edge-lb", "INFO upstream api is healthy");
    desk.append(
        "api",
        "ERROR pool exhausted (64/64) waiting=812 req=8f2c\n  at Pool.get(Pool.java:88)\n  at Api.orders",
    );
    desk.append("api", "ERROR 数据库连接失败: timeout after 30000 ms");
    desk.gap("api", GapKind::Rotated);
    desk.append("edge-lb", "WARN upstream api marked down");
    desk.append("worker-with-a-long-name", "plain text of no level, longer than the forty columns of a small screen");
    desk.with(|pane, cx| pane.requery(cx));
    desk
}

#[test]
fn an_outage_reads_well_at_every_size() {
    let mut desk = outage(80, 8);
    desk.press("/ \"api\" enter");
    insta::assert_snapshot!(desk.screen(), @r#"
    3 sources · paused · 7 records
     14:51:29 I api          GET /orders 200 in 12 ms
     14:51:30 W api          pool nearly exhausted (60/64)
     14:51:31 I edge-lb      upstream api is healthy
     14:51:32 E api          pool exhausted (64/64) waiting=812 req=8f2c (+2, match)
     14:51:33 E api          数据库连接失败: timeout after 30000 ms
     ~ api rotated, old file read to its end ~
    >14:51:34 W edge-lb      upstream api marked down
     14:51:35   worker-with… plain text of no level, longer than the forty columns o…
    "#);
    let mut desk = outage(200, 30);
    desk.press("O k ! \"healthy\" enter");
    insta::assert_snapshot!(desk.screen(), @r#"
    3 sources · paused [-healthy ×] 6 of 8
          peak 1 ████████████      ████████████████████████ 1 s
                 ████████████      ████████████████████████
        14:51:29 ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 14:51:36
     14:51:29 I api                  GET /orders 200 in 12 ms
     14:51:30 W api                  pool nearly exhausted (60/64)
     14:51:32 E api                  pool exhausted (64/64) waiting=812 req=8f2c
                                       at Pool.get(Pool.java:88)
                                       at Api.orders
     14:51:33 E api                  数据库连接失败: timeout after 30000 ms
     ~ api rotated, old file read to its end ~
    >14:51:34 W edge-lb              upstream api marked down
     14:51:35   worker-with-a-long-… plain text of no level, longer than the forty columns of a small screen
    "#);
    let mut desk = outage(40, 6);
    desk.press("L w k f \"pool\"");
    insta::assert_snapshot!(desk.screen(), @r#"
    paused 2 of 8 [2 chips]
     14:51:30 W api      pool nearly exhaust…
     14:51:32 E api      pool exhausted (… +2
    >~ api rotated, old file read to its end…
     
     
     show: pool
    "#);
}

#[test]
fn an_empty_body_says_why() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.press("f \"nowhere\" enter");
    insta::assert_snapshot!(desk.screen(), @r#"
    api · follow [nowhere ×] 0 of 50
     nothing matches in 50 records
     `x` removes [nowhere]
    "#);
    desk.press("L e");
    insta::assert_snapshot!(desk.screen(), @r#"
    api · follow [nowhere 0 ×] [level>=error ×] 0 of 50
     nothing matches in 50 records
     without [nowhere] 5 records match
     `C` selects a chip, space switches it off, `x` removes it
    "#);
    let mut desk = Desk::new(40, 6, &[]);
    insta::assert_snapshot!(desk.screen(), @r#"
    api · follow
     api (/var/log/api): no lines yet
    "#);
    desk.board.logs.sources.clear();
    insta::assert_snapshot!(desk.screen(), @r#"
    follow
     no log sources
     name files on the command line, or add a
     [[log]] entry to the config (`hotseat
     init` writes one)
    "#);
}

#[test]
fn the_wheel_scrolls_and_a_click_selects() {
    let mut desk = Desk::numbered(80, 8, 50);
    let mouse = |kind, row| Mouse { kind, column: 3, row };
    desk.with(|pane, cx| pane.mouse(cx, mouse(MouseKind::WheelUp, 0)));
    check_last(&desk, "number 46");
    desk.with(|pane, cx| pane.mouse(cx, mouse(MouseKind::Press, 2)));
    check_selected(&desk, "number 41");
    desk.with(|pane, cx| pane.mouse(cx, mouse(MouseKind::WheelDown, 0)));
    desk.with(|pane, cx| pane.mouse(cx, mouse(MouseKind::WheelDown, 0)));
    assert!(desk.title().contains("follow"), "{}", desk.screen());
}

#[test]
fn a_record_taller_than_the_body_is_read_line_by_line() {
    let trace: Vec<String> = (0..30).map(|at| format!("  at frame {at}")).collect();
    let mut desk = Desk::new(60, 6, &["INFO before", &format!("ERROR boom\n{}", trace.join("\n")), "INFO after"]);
    desk.press("k o");
    assert!(desk.lines()[0].contains("boom"), "{}", desk.screen());
    desk.press("j j");
    assert!(desk.lines()[0].contains("frame 1"), "{}", desk.screen());
    for _ in 0..30 {
        desk.press("j");
    }
    check_last(&desk, "I after");
    for _ in 0..40 {
        desk.press("k");
    }
    check_selected(&desk, "before");
}

#[test]
fn the_first_request_follows_the_tail_of_all_sources() {
    let mut desk = Desk::numbered(80, 8, 3);
    desk.answers = false;
    desk.with(|pane, cx| pane.filter(cx, "level>=warn"));
    let request = desk.asked.pop().expect("a request");
    assert_eq!((request.view, request.anchor, request.follow, request.count), (TAIL, Anchor::Tail, true, true));
    assert_eq!((request.query.as_str(), request.sources.len()), ("level>=warn", 0));
    desk.with(|pane, cx| pane.filter(cx, "level>=what"));
    assert!(desk.notices()[0].contains("unknown level"), "{:?}", desk.notices());
}

proptest! {
    #[test]
    fn no_size_and_no_text_makes_the_view_panic_or_overflow(
        size in (1u16..90, 1u16..12),
        lines in proptest::collection::vec("[a-z数据\u{301}👩🏽‍🚒 ]{0,80}(\n[a-z数 ]{0,50}){0,3}", 0..12),
        keys in proptest::collection::vec(0usize..12, 0..12),
        span in (0u32..200, 0u32..200),
        cut in any::<bool>(),
    ) {
        let texts: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut desk = Desk::new(size.0, size.1, &texts);
        for row in &mut desk.rows {
            if let Row::Record(record) = row {
                // Ranges that point anywhere must not matter.
                record.styles.push(SgrSpan { line: 0, range: span.0..span.1, foreground: Some(3), bold: true });
                record.hits.push((1, span.0..span.1));
                record.time_span = Some(span.0 as usize..span.1 as usize);
                record.cut_bytes = u64::from(cut);
            }
        }
        desk.with(|pane, cx| pane.requery(cx));
        for key in keys {
            desk.press(["k", "j", "w", "o", "O", "l", "r", "c", "ctrl-u", "g g", "G", "f \"a\" enter"][key]);
        }
        let area = Rect::new(0, 0, size.0 + 2, size.1 + 2);
        let mut buf = Buffer::filled(area, ratatui::buffer::Cell::new("#"));
        let inner = Rect::new(1, 1, size.0, size.1);
        desk.with(|pane, cx| {
            pane.view(cx, &Theme::mono(), inner, &mut buf);
            Vec::new()
        });
        for y in 0..area.height {
            for x in 0..area.width {
                let outside = x < 1 || y < 1 || x > size.0 || y > size.1;
                prop_assert!(!outside || buf[(x, y)].symbol() == "#", "drawn outside at {x},{y}");
            }
        }
    }
}

#[test]
fn a_pin_under_a_filter_holds_what_really_stands_around_the_record() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.press("L e k k p");
    let pin = desk.effects.iter().find_map(|it| match it {
        Effect::Request(Request::Pin(pin)) => Some(pin.clone()),
        _ => None,
    });
    let texts: Vec<(String, bool)> = pin
        .expect("a pin")
        .records
        .iter()
        .map(|it| (it.text.rsplit(' ').next().unwrap_or_default().to_string(), it.chosen))
        .collect();
    let numbers: Vec<(&str, bool)> = texts.iter().map(|(text, chosen)| (text.as_str(), *chosen)).collect();
    assert_eq!(
        numbers,
        [("17", false), ("18", false), ("19", false), ("20", true), ("21", false), ("22", false), ("23", false)]
    );
}

#[test]
fn pins_in_quick_succession_all_come() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.press("L e k");
    desk.answers = false;
    desk.press("p k p k p");
    desk.answer_all();
    let chosen: Vec<String> = desk
        .effects
        .iter()
        .filter_map(|it| match it {
            Effect::Request(Request::Pin(pin)) => pin.records.iter().find(|it| it.chosen).map(|it| it.text.clone()),
            _ => None,
        })
        .collect();
    let numbers: Vec<&str> = chosen.iter().filter_map(|it| it.rsplit(' ').next()).collect();
    assert_eq!(numbers, ["30", "20", "10"]);
}

#[test]
fn when_nothing_matches_the_chip_that_hides_most_is_named() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.press("f \"number\" enter f \"nowhere\" enter L e");
    let screen = desk.screen();
    assert!(screen.contains("nothing matches in 50 records"), "{screen}");
    assert!(screen.contains("without [nowhere] 5 records match"), "{screen}");
    desk.press("X f \"nowhere\" enter f \"never\" enter");
    assert!(desk.screen().contains("leaving out one chip is not enough"), "{}", desk.screen());
}

#[test]
fn a_narrow_title_shortens_chips_before_it_drops_the_count() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.press("f \"number\" enter ! \"healthz-of-edge\" enter L e");
    assert!(desk.title().ends_with("[level>=error] 5 of 50"), "{}", desk.title());
    desk.press("f \"ERROR\" enter ! \"and-another-one\" enter ! \"yet-another-one\" enter");
    desk.press("! \"one-that-is-long\" enter ! \"one-more\" enter");
    assert!(desk.title().contains("8 chips") && desk.title().ends_with("5 of 50"), "{}", desk.title());
}

#[test]
fn the_narrowest_title_shows_the_count_and_what_it_can_of_the_selected_chip() {
    let mut desk = Desk::numbered(40, 8, 50);
    desk.press("f \"number\" enter L e k C C");
    let title = desk.title();
    assert!(title.starts_with("paused 5 of 50 [level>…]"), "{title}");
}

#[test]
fn gap_rows_do_not_hide_that_nothing_matches() {
    let mut desk = Desk::numbered(80, 8, 50);
    desk.gap("api", GapKind::Rotated);
    desk.press("f \"nowhere\" enter");
    let screen = desk.screen();
    assert!(screen.contains("~ api rotated"), "{screen}");
    assert!(screen.contains("nothing matches in 51 records"), "{screen}");
}

#[test]
fn space_goes_down_a_page_as_in_every_pager() {
    let mut desk = Desk::numbered(60, 10, 100);
    desk.press("g g");
    let first = desk.selected();
    desk.press("space");
    let (one, screen) = (desk.selected(), desk.screen());
    assert!(first != one, "{screen}");
    desk.press("g g pgdn");
    assert_eq!(desk.screen(), screen);
}

#[test]
fn a_search_scrolls_to_a_hit_that_is_cut_off_and_back() {
    let long = format!("INFO {} needle {}", "x".repeat(200), "y".repeat(200));
    let mut desk = Desk::new(60, 8, &["INFO needle first", &long, "INFO last"]);
    desk.press("/ \"needle\" enter");
    assert!(desk.selected().is_some_and(|it| it.contains("x needle y")), "{}", desk.screen());
    desk.press("N");
    assert!(desk.selected().is_some_and(|it| it.contains("I needle first")), "{}", desk.screen());
    desk.press("n esc");
    assert!(desk.selected().is_some_and(|it| it.contains("I xxxx")), "{}", desk.screen());
    // Where the reader scrolled he stays.
    desk.press("l esc");
    assert!(desk.selected().is_some_and(|it| it.contains("…xxxx")), "{}", desk.screen());
}

#[test]
fn a_match_among_folded_lines_is_said() {
    let mut desk = Desk::new(80, 8, &["ERROR failed\n  at one\n  caused by: needle", "ERROR needle\n  at two"]);
    desk.press("f \"needle\" enter");
    let lines = desk.lines();
    assert!(lines[0].ends_with("failed (+2, match)"), "{}", desk.screen());
    assert!(lines[1].ends_with("needle (+1 line)"), "{}", desk.screen());
}

#[test]
fn the_footer_says_what_keys_mean_where_they_mean_something_else() {
    let hints = |desk: &Desk| desk.pane.mode_hints().iter().map(|it| it.1).collect::<Vec<_>>().join(" ");
    let mut desk = Desk::numbered(80, 10, 40);
    assert!(hints(&desk).is_empty() && desk.pane.filter_hints().is_empty());
    desk.press("L e");
    assert!(hints(&desk).is_empty());
    assert_eq!(desk.pane.filter_hints()[0].1, "all around");
    desk.press("enter");
    assert!(hints(&desk).starts_with("back to the matches"), "{}", hints(&desk));
    desk.press("enter C");
    assert!(hints(&desk).starts_with("on or off edit invert"), "{}", hints(&desk));
}
