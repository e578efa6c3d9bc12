//! Ugly input, one case a line: what is shown of it, and what finds it.

use std::fs;
use std::os::unix::fs::symlink;

use super::{Bench, request, texts};
use crate::domain::log::{Anchor, GapKind, Row};

/// What is shown of a file, and what a query finds in it.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    shown: &'static [&'static str],
    query: &'static str,
    found: usize,
}

fn case(
    name: &'static str,
    bytes: impl AsRef<[u8]>,
    shown: &'static [&'static str],
    query: &'static str,
    found: usize,
) -> Case {
    Case { name, bytes: bytes.as_ref().to_vec(), shown, query, found }
}

fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(unit).collect()
}

#[test]
fn ugly_input_is_shown_harmlessly_and_found() {
    let cases = [
        case("invalid UTF-8", b"a \xff\xfe\xc3\x28 b\n", &["a \u{fffd}\u{fffd}\u{fffd}( b"], "b", 1),
        case("UTF-8 with a mark", b"\xef\xbb\xbf2026-08-19T00:00:00Z x\n", &["2026-08-19T00:00:00Z x"], "/^2026/", 1),
        case("UTF-16, low byte first", utf16("ein ä\nzwei\n", u16::to_le_bytes), &["ein ä", "zwei"], "ä", 1),
        case("UTF-16, high byte first", utf16("ein 数\r\nzwei", u16::to_be_bytes), &["ein 数", "zwei"], "数", 1),
        case("UTF-16 without a mark", &utf16("2026 ж\nzwei", u16::to_le_bytes)[2..], &["2026 ж", "zwei"], "ж", 1),
        case("NUL", b"a\0b\n", &["a␀b"], "a", 1),
        case("carriage return inside", b"a\rb\n", &["a␍b"], "b", 1),
        case("CR LF", b"one\r\ntwo\r\n", &["one", "two"], "/one$/", 1),
        case("no final line end", b"one\ntwo", &["one", "two"], "two", 1),
        case("only line ends", b"\n\n\n", &["", "", ""], "x", 0),
        case("tabs", b"a\tb\n", &["a       b"], "/a\\tb/", 1),
        case("colours", b"\x1b[31mERR\x1b[1mOR\x1b[0m time\x1b[4mout\n", &["ERROR timeout"], "/ERROR.*timeout/", 1),
        case(
            "colours, plain text",
            b"\x1b[31mti\x1b[0mmeout\nb\ntimeout\n",
            &["timeout", "b", "timeout"],
            "timeout",
            2,
        ),
        case("colours are no text", b"\x1b[31mred\x1b[0m\n31m\n", &["red", "31m"], "31m", 1),
        case("colours, kept out", b"\x1b[31mti\x1b[0mmeout\nb\n", &["timeout", "b"], "-timeout", 1),
        case(
            "colours around the time and the level",
            b"2026-08-19T00:00:00Z INFO a\n\x1b[2m2026-08-19T00:00:05Z\x1b[0m \x1b[31mERROR\x1b[0m b\n\x1b[2m2026-08-19T00:00:09Z\x1b[0m \x1b[32m INFO\x1b[0m c\n",
            &["2026-08-19T00:00:00Z INFO a", "2026-08-19T00:00:05Z ERROR b", "2026-08-19T00:00:09Z  INFO c"],
            "level>=error",
            1,
        ),
        case(
            "colours around the time, by time",
            b"\x1b[2m2026-08-19T00:00:00Z\x1b[0m a\n\x1b[2m2026-08-19T00:00:05Z\x1b[0m b\n",
            &["2026-08-19T00:00:00Z a", "2026-08-19T00:00:05Z b"],
            "since:2026-08-19T00:00:03Z",
            1,
        ),
        case(
            "colours around a field",
            b"2026-08-19T00:00:00Z \x1b[32mINFO\x1b[0m done \x1b[36mstatus=\x1b[0m503\n",
            &["2026-08-19T00:00:00Z INFO done status=503"],
            "status>=500",
            1,
        ),
        case("cursor movement", b"a\x1b[2J\x1b[1;1Hb\n", &["ab"], "ab", 1),
        case("OSC", b"a\x1b]52;c;SGk=\x07b\x1b]0;t\x1b\\c\n", &["abc"], "abc", 1),
        case("DCS and APC", b"a\x1bP1$r\x1b\\b\x1b_x\x1b\\c\n", &["abc"], "abc", 1),
        case("a sequence without an end", b"a\x1b]0;title\nnext\n", &["a␛]0;title", "next"], "title", 1),
        case("8-bit C1", "a\u{9b}31mb\u{85}c\n", &["ab·c"], "a", 1),
        case("bidi and zero width", "a\u{202e}b\u{200b}c\n", &["a·b·c"], "/a.b/", 1),
        case("combining and wide", "e\u{301} 数据\n", &["e\u{301} 数据"], "数据", 1),
        case(
            "mixed zones",
            b"2026-08-19T02:00:00+02:00 a\n2026-08-19T00:00:01Z b\n",
            &["2026-08-19T02:00:00+02:00 a", "2026-08-19T00:00:01Z b"],
            "until:2026-08-19T00:00:01Z",
            1,
        ),
        case(
            "a clock that goes back",
            b"2026-08-19T00:00:09Z a\n2026-08-19T00:00:01Z b\n2026-08-19T00:00:10Z c\n",
            &["2026-08-19T00:00:09Z a", "2026-08-19T00:00:01Z b", "2026-08-19T00:00:10Z c"],
            "since:2026-08-19T00:00:05Z",
            2,
        ),
    ];
    for case in cases {
        let bench = Bench::with("a", &case.bytes);
        assert_eq!(texts(&bench.ask(request("", Anchor::Tail, 20, 0))), case.shown, "{}", case.name);
        let found = bench.ask(request(case.query, Anchor::Tail, 20, 0));
        assert_eq!(found.counts.matched, case.found as u64, "{}: `{}`", case.name, case.query);
        let rows = found.rows.unwrap();
        assert_eq!(rows.len(), case.found, "{}: rows of `{}`", case.name, case.query);
        let hostile =
            |it: &Row| matches!(it, Row::Record(it) if it.lines.iter().any(|it| it.chars().any(char::is_control)));
        assert!(!rows.iter().any(hostile), "{}", case.name);
    }
}

#[test]
fn utf16_that_grows_is_followed_also_when_it_grows_by_half_a_character() {
    let mut bench = Bench::with("a", b"");
    let bytes = utf16("one\nzwei 🦀\nthree\n", u16::to_le_bytes);
    for piece in bytes.chunks(3) {
        bench.append("a", piece);
        bench.look();
    }
    assert_eq!(texts(&bench.ask(request("", Anchor::Tail, 9, 0))), ["one", "zwei 🦀", "three"]);
    fs::rename(bench.path("a"), bench.path("a.1")).unwrap();
    bench.append("a", b"plain\n");
    bench.look();
    assert_eq!(texts(&bench.ask(request("", Anchor::Tail, 9, 0))), ["one", "zwei 🦀", "three", "Rotated", "plain"]);
}

#[test]
fn a_file_of_the_kernel_is_read_whole() {
    let mut bench = Bench::new();
    symlink("/proc/self/status", bench.path("status")).unwrap();
    bench.open("status");
    let rows = texts(&bench.ask(request("/^Pid:/", Anchor::Tail, 5, 0)));
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert!(rows[0].contains(&std::process::id().to_string()), "{rows:?}");
}

#[test]
fn a_link_that_is_switched_is_a_rotation() {
    let mut bench = Bench::new();
    for name in ["app.2.log", "app.3.log"] {
        fs::write(bench.path(name), format!("of {name}\n")).unwrap();
    }
    symlink("app.2.log", bench.path("current")).unwrap();
    bench.open("current");
    symlink("app.3.log", bench.path("next")).unwrap();
    fs::rename(bench.path("next"), bench.path("current")).unwrap();
    bench.look();
    assert_eq!(texts(&bench.ask(request("", Anchor::Tail, 5, 0))), ["of app.2.log", "Rotated", "of app.3.log"]);
}

#[test]
fn a_directory_or_a_pipe_in_a_files_place_is_said_until_the_file_is_back() {
    let mut bench = Bench::with("a", b"one\n");
    fs::remove_file(bench.path("a")).unwrap();
    fs::create_dir(bench.path("a")).unwrap();
    bench.look();
    let shown = |bench: &Bench| texts(&bench.ask(request("", Anchor::Tail, 5, 0)));
    assert_eq!(shown(&bench), ["one", "Failed(\"it is a directory now\")"]);
    fs::remove_dir(bench.path("a")).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, bench.path("a"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    bench.look();
    assert_eq!(shown(&bench), ["one", "Failed(\"it is not a regular file\")"]);
    fs::remove_file(bench.path("a")).unwrap();
    bench.append("a", b"two\n");
    bench.look();
    assert_eq!(shown(&bench), ["one", "Rotated", "two"]);
}

#[test]
fn a_file_whose_lines_end_with_cr_alone_has_lines() {
    let mut bench = Bench::with("a", b"2026-08-19T00:00:00Z one\r2026-08-19T00:00:01Z two\r");
    let shown = |bench: &Bench| texts(&bench.ask(request("", Anchor::Tail, 5, 0)));
    assert_eq!(shown(&bench), ["2026-08-19T00:00:00Z one", "2026-08-19T00:00:01Z two"]);
    bench.append("a", b"2026-08-19T00:00:02Z three\r");
    bench.look();
    assert_eq!(shown(&bench)[2], "2026-08-19T00:00:02Z three");
    // A progress that is drawn over itself is a line, once its end has come.
    let bench = Bench::with("a", b"10%\r20%\rdone\nnext\n");
    assert_eq!(shown(&bench).len(), 2);
}

#[test]
fn what_is_no_text_is_called_binary() {
    let shown = |bytes: &[u8]| texts(&Bench::with("a", bytes).ask(request("", Anchor::Tail, 5, 0)));
    assert!(shown(b"\x7fELF\x02\x01\x01\0\0\0\0\0\x03\0>\0\x01\0\n")[0].contains("binary"));
    for text in [&b"\0\0\0\0one\n"[..], b"\x1b[31mred\x1b[0m\n", b"tab\there\n", "n\u{fc}r\n".as_bytes(), b"one\xff\n"]
    {
        assert_eq!(shown(text).len(), 1, "{text:?}");
    }
}

#[test]
fn a_file_that_is_emptied_again_and_again_says_how_often() {
    let mut bench = Bench::with("a", b"one\n");
    for _ in 0..3 {
        bench.append("a", b"never read\n");
        bench.look();
        fs::write(bench.path("a"), b"").unwrap();
        bench.look();
    }
    let gap = bench.ask(request("", Anchor::Tail, 5, 0)).rows.unwrap_or_default().into_iter().find_map(|it| match it {
        Row::Gap(gap) => Some(gap.kind),
        _ => None,
    });
    // Nobody asked for a window: the first line was not read either.
    assert!(matches!(gap, Some(GapKind::Truncated { unread_bytes: 37, times: 3, .. })), "{gap:?}");
}

#[test]
fn an_older_file_that_is_emptied_says_so_in_its_place() {
    let mut bench = Bench::with("a", b"one\n");
    fs::rename(bench.path("a"), bench.path("b")).unwrap();
    bench.append("a", b"two\n");
    bench.look();
    fs::write(bench.path("b"), b"").unwrap();
    bench.look();
    let rows = texts(&bench.ask(request("", Anchor::Tail, 5, 0)));
    assert_eq!(rows, ["Truncated { unread_bytes: 4 }", "Rotated", "two"]);
}
