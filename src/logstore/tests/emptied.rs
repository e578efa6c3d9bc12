//! Files that are emptied in place: what stays of them, and what of them is told.

use std::fs::{self, File};
use std::io::Write;
use std::time::SystemTime;

use super::{Bench, request, texts};
use crate::domain::log::{Anchor, GapKind, Row, Window};

/// The only gap of a file that was emptied: bytes unread, bytes gone, how often.
fn truncated(window: &Window) -> (u64, u64, u32) {
    let gaps = window.rows.iter().flatten().filter_map(|it| match it {
        Row::Gap(gap) => Some(gap.kind.clone()),
        _ => None,
    });
    match gaps.collect::<Vec<_>>().as_slice() {
        [GapKind::Truncated { unread_bytes, gone_bytes, times, .. }] => (*unread_bytes, *gone_bytes, *times),
        other => panic!("{other:?}"),
    }
}

/// An empty file that was written long ago.
fn long_ago() -> Bench {
    let mut bench = Bench::new();
    let file = File::create(bench.path("a")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000)).unwrap();
    bench.open("a");
    bench
}

#[test]
fn rows_that_were_looked_at_stay_when_their_file_is_emptied_and_so_does_the_place_there() {
    let lines: String = (0..20_000).map(|it| format!("line {it}\n")).collect();
    let mut bench = Bench::with("a", lines.as_bytes());
    let before = bench.ask(request("", Anchor::Tail, 30, 0));
    let Some(Row::Record(anchor)) = before.rows.as_ref().and_then(|it| it.get(10)) else { panic!("{before:?}") };
    let anchor = anchor.position.clone();
    fs::write(bench.path("a"), "new\n").unwrap();
    bench.look();
    let after = bench.ask(request("", Anchor::Tail, 31, 0));
    let mut expected = texts(&before);
    expected.extend(["Truncated { unread_bytes: 0 }".to_string(), "new".to_string()]);
    assert_eq!(texts(&after), expected);
    let (unread, gone, times) = truncated(&after);
    assert_eq!((unread, times), (0, 1));
    assert!(gone > 0 && gone < lines.len() as u64, "{gone}");
    let there = bench.ask(request("", Anchor::At(anchor), 0, 3));
    assert_eq!(texts(&there)[..2], texts(&before)[10..12]);
    // Once more: what was read in between stays as well.
    fs::write(bench.path("a"), "").unwrap();
    bench.look();
    let again = texts(&bench.ask(request("", Anchor::Tail, 2, 0)));
    assert_eq!(again, ["line 19999", "Truncated { unread_bytes: 0 }", "new", "Truncated { unread_bytes: 0 }"]);
}

#[test]
fn what_came_and_went_whole_while_the_file_was_empty_is_read_in_its_copy() {
    // Empty when it is found, or filled again by then.
    for (content, first, rest) in
        [("", "Truncated { unread_bytes: 0 }", &[][..]), ("three\n", "Rotated", &["three"][..])]
    {
        let mut bench = long_ago();
        fs::write(bench.path("a"), "one\ntwo\n").unwrap();
        fs::copy(bench.path("a"), bench.path("a.1")).unwrap();
        fs::write(bench.path("a"), content).unwrap();
        bench.look();
        bench.look();
        let found = texts(&bench.ask(request("", Anchor::Tail, 9, 0)));
        let expected: Vec<&str> = [first, "one", "two", "Rotated"].into_iter().chain(rest.iter().copied()).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn what_came_and_went_while_the_file_was_empty_and_is_packed_by_now_is_named() {
    let mut bench = long_ago();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(b"one\n").unwrap();
    fs::write(bench.path("a.1.gz"), packer.finish().unwrap()).unwrap();
    bench.append("a", b"two\n");
    bench.look();
    let found = texts(&bench.ask(request("", Anchor::Tail, 9, 0)));
    assert_eq!(found, ["Failed(\"written and emptied between two looks; `a.1.gz` was not read\")", "two"]);
}

/// See `source::MAX_REMAINS`.
#[test]
fn remains_are_bounded_and_what_goes_of_them_is_added_up() {
    let mut bench = Bench::with("a", b"0\n");
    bench.ask(request("", Anchor::Tail, 9, 0));
    for number in 1..=7 {
        fs::write(bench.path("a"), "").unwrap();
        bench.look();
        bench.append("a", format!("{number}\n").as_bytes());
        bench.look();
        bench.ask(request("", Anchor::Tail, 9, 0));
    }
    let found = bench.ask(request("", Anchor::Tail, 20, 0));
    let gap = "Truncated { unread_bytes: 0 }";
    assert_eq!(texts(&found), [gap, "3", gap, "4", gap, "5", gap, "6", gap, "7"]);
    let Some(Row::Gap(first)) = found.rows.as_ref().and_then(|it| it.first()) else { panic!("{found:?}") };
    assert!(matches!(first.kind, GapKind::Truncated { gone_bytes: 6, times: 3, .. }), "{first:?}");
}

#[test]
fn an_empty_file_that_was_written_and_emptied_without_a_copy_says_so_and_a_rest_says_nothing() {
    let mut bench = long_ago();
    let told = |bench: &Bench| texts(&bench.ask(request("", Anchor::Tail, 9, 0))).join("|");
    assert_eq!(told(&bench), "");
    fs::write(bench.path("a"), "one\n").unwrap();
    File::create(bench.path("a")).unwrap();
    bench.look();
    assert_eq!(told(&bench), "Truncated { unread_bytes: 0 }");
    bench.look();
    assert_eq!(truncated(&bench.ask(request("", Anchor::Tail, 9, 0))), (0, 0, 1));
}

#[test]
fn a_copy_of_a_later_generation_is_read_when_that_of_the_known_one_is_gone() {
    let mut bench = Bench::with("a", b"known one\n");
    bench.ask(request("", Anchor::Tail, 9, 0));
    let mut file = File::options().append(true).open(bench.path("a")).unwrap();
    file.set_len(0).unwrap();
    file.write_all(b"never seen\n").unwrap();
    fs::copy(bench.path("a"), bench.path("a.1")).unwrap();
    file.set_len(0).unwrap();
    file.write_all(b"now\n").unwrap();
    bench.look();
    let found = texts(&bench.ask(request("", Anchor::Tail, 9, 0)));
    assert_eq!(found, ["known one", "Truncated { unread_bytes: 0 }", "never seen", "Rotated", "now"]);
}
