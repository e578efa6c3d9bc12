//! Windows over real files against the plain answer: all records, filtered one by one.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::clock;
use crate::domain::ids::{HostId, SourceId};
use crate::domain::log::{Anchor, Find, GapKind, Level, Look, Row, ViewId, Window, WindowRequest, WindowSource};
use crate::domain::query::Query;
use crate::domain::query::matcher::Matcher;
use crate::logstore::block::PAGE_BYTES;
use crate::logstore::engine::Engine;
use crate::logstore::segment::Segment;
use crate::logstore::source::Source;
use crate::logstore::stream::{Hold, Met, Stream};
use crate::logstore::tail::FileTail;

mod breaks;
mod emptied;
mod ends;
mod far;
mod growing;
mod torture;
mod ugly;

/// Lines of a property test, each so many times, damaged: at a place, a bit of text in the place of so many bytes.
pub(super) fn hurt(
    (lines, chosen): (&[&str], &[(usize, usize)]),
    (bits, hurts): (&[&str], &[(usize, usize, usize)]),
) -> String {
    let lines = chosen.iter().flat_map(|(line, times)| std::iter::repeat_n(lines[*line], *times));
    let mut text: String = lines.map(|it| format!("{it}\n")).collect();
    for (at, bit, length) in hurts {
        let at = at % text.len();
        let end = (at + length).min(text.len());
        text.replace_range(at..end, bits[*bit]);
        if text.is_empty() {
            text.push('\n');
        }
    }
    text
}

/// A directory of logs with an engine on them.
struct Bench {
    directory: tempfile::TempDir,
    engine: Arc<Engine>,
    tails: Vec<FileTail>,
}

impl Bench {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            engine: Arc::new(Engine::new(TimeZone::UTC)),
            tails: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn open(&mut self, name: &str) {
        let id = SourceId::new(&HostId::new("h"), name);
        let source = Arc::new(Source::new(id, name, name));
        self.engine.add(source.clone());
        self.tails.push(FileTail::new(source, &self.path(name)));
        self.look();
    }

    fn with(name: &str, text: &[u8]) -> Self {
        let mut bench = Self::new();
        fs::write(bench.path(name), text).unwrap();
        bench.open(name);
        bench
    }

    fn look(&mut self) {
        for tail in &mut self.tails {
            tail.look(Timestamp::from_second(1_800_000_000).unwrap(), clock::monotonic());
        }
        self.engine.grew();
    }

    fn append(&self, name: &str, text: &[u8]) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text).unwrap();
    }

    fn start(&self, request: WindowRequest) -> Receiver<Window> {
        start(&self.engine, request)
    }

    fn ask(&self, request: WindowRequest) -> Window {
        ask(&self.engine, request)
    }
}

/// All windows of a request as they come.
pub(super) fn start(engine: &Engine, request: WindowRequest) -> Receiver<Window> {
    let (windows_tx, windows_rx) = sync_channel(1000);
    engine.request(request, Box::new(move |window| windows_tx.send(window).is_ok()));
    windows_rx
}

/// The final window of a request (interim ones are passed over).
pub(super) fn ask(engine: &Engine, request: WindowRequest) -> Window {
    // Counts come when the rows are final.
    let windows_rx = start(engine, WindowRequest { count: true, ..request });
    let mut rows = None;
    loop {
        let mut window = windows_rx.recv_timeout(Duration::from_secs(60)).expect("an answer");
        if window.rows.is_some() {
            rows = Some(window);
        } else if window.counts.complete {
            let mut rows = rows.expect("rows before counts");
            std::mem::swap(&mut rows.counts, &mut window.counts);
            return rows;
        }
    }
}

fn request(query: &str, anchor: Anchor, before: u32, after: u32) -> WindowRequest {
    WindowRequest { query: query.into(), ..WindowRequest::new(ViewId(1), 1, anchor, (before, after)) }
}

pub(super) fn texts(window: &Window) -> Vec<String> {
    let text = |row: &Row| match row {
        Row::Record(record) => format!("{}{}", if record.context { "+" } else { "" }, record.lines.join("|")),
        Row::Gap(gap) => match &gap.kind {
            // When somebody last looked is another time in every run.
            GapKind::Truncated { unread_bytes, .. } => format!("Truncated {{ unread_bytes: {unread_bytes} }}"),
            kind => format!("{kind:?}"),
        },
        Row::Break => "--".into(),
    };
    window.rows.as_ref().unwrap().iter().map(text).collect()
}

fn numbered(count: usize) -> Vec<String> {
    (0..count)
        .map(|it| {
            let (level, word) = [("INFO", "ok"), ("ERROR", "timeout"), ("WARN", "slow")][it % 3];
            let mut record =
                format!("2026-08-19T{:02}:{:02}:{:02}Z {level} {word} n{it}.", it / 3600, it / 60 % 60, it % 60);
            if it % 7 == 0 {
                record.push_str("\n\tat trace.X\nCaused by: y");
            }
            record
        })
        .collect()
}

fn shown(record: &str) -> String {
    record.replace('\n', "|").replace('\t', "        ")
}

#[test]
fn windows_hold_what_a_naive_filter_finds() {
    // Several blocks, so that records stand across their boundaries.
    let records = numbered(20_000);
    let bench = Bench::with("a", (records.join("\n") + "\n").as_bytes());
    let check = |query: &str, passes: &dyn Fn(&str) -> bool| {
        let all: Vec<String> = records.iter().filter(|it| passes(it)).map(|it| shown(it)).collect();
        let tail = bench.ask(request(query, Anchor::Tail, 30, 0));
        assert_eq!(texts(&tail), all[all.len().saturating_sub(30)..], "tail of {query}");
        assert_eq!((tail.counts.matched, tail.counts.scanned), (all.len() as u64, 20_000), "counts of {query}");
        assert_eq!(tail.at_head, all.len() <= 30);
        let head = bench.ask(request(query, Anchor::Head, 0, 30));
        assert_eq!(texts(&head), all[..all.len().min(30)], "head of {query}");
        let time: Timestamp = "2026-08-19T02:46:40Z".parse().unwrap();
        let middle = bench.ask(request(query, Anchor::Time(time), 10, 10));
        let at = records[..10_000].iter().filter(|it| passes(it)).count();
        let from = at.saturating_sub(10.max(20 - (all.len() - at).min(10)));
        assert_eq!(texts(&middle), all[from..(from + 20).min(all.len())], "middle of {query}");
    };
    check("", &|_| true);
    check("timeout", &|it| it.contains("timeout"));
    check("level>=warn -slow", &|it| it.contains("ERROR"));
    check("Caused /n\\d*7\\./", &|it| it.contains("Caused") && it.contains("7."));
    check("n19999.", &|it| it.contains("n19999."));
    check("trace.X", &|it| it.contains("trace.X"));
    check("/(?s)n7\\..*Caused/", &|it| it.contains("n7."));
    check("/^\\tat trace/", &|it| it.contains("\tat trace"));
}

#[test]
fn walking_page_by_page_meets_every_record_once() {
    let records = numbered(6_000);
    let bench = Bench::with("a", (records.join("\n") + "\n").as_bytes());
    let mut window = bench.ask(request("-slow", Anchor::Tail, 500, 0));
    let mut met = texts(&window);
    while !window.at_head {
        let first = window.rows.as_ref().unwrap()[0].position().unwrap().clone();
        window = bench.ask(request("-slow", Anchor::At(first), 500, 0));
        let page = texts(&window);
        met.splice(0..0, page);
    }
    let expected: Vec<String> = records.iter().filter(|it| !it.contains("slow")).map(|it| shown(it)).collect();
    assert_eq!(met, expected);
}

#[test]
fn context_stands_beside_its_match_and_gaps_between_are_marked() {
    let text: String = (0..20).map(|it| format!("2026-08-19T00:00:{it:02}Z n{it}.\n")).collect();
    let bench = Bench::with("a", text.as_bytes());
    let window = bench.ask(WindowRequest { context: 1, ..request("/n(3|4|10)\\./", Anchor::Tail, 10, 0) });
    let short: Vec<String> = texts(&window).iter().map(|it| it.replace("2026-08-19T00:00:", "")).collect();
    assert_eq!(short, ["+02Z n2.", "03Z n3.", "04Z n4.", "+05Z n5.", "--", "+09Z n9.", "10Z n10.", "+11Z n11."]);
}

#[test]
fn the_next_error_and_the_next_match_are_found_or_said_to_be_missing() {
    let records = numbered(9_000);
    let bench = Bench::with("a", (records.join("\n") + "\n").as_bytes());
    let find = |from: Option<_>, backwards, find| {
        bench.ask(WindowRequest { search: "n7777".into(), ..request("", Anchor::Find { from, backwards, find }, 2, 2) })
    };
    let window = find(None, true, Find::Search);
    assert!(texts(&window)[window.anchor_row.unwrap()].contains("n7777."));
    let Row::Record(record) = &window.rows.as_ref().unwrap()[window.anchor_row.unwrap()] else { panic!("no record") };
    assert!(!record.hits.is_empty(), "the search is marked");
    let error = find(Some(record.position.clone()), false, Find::LevelAtLeast(Level::Error));
    assert!(
        texts(&error)[error.anchor_row.unwrap()].contains("n7777.")
            == record.level.is_some_and(|it| it >= Level::Error)
            || texts(&error)[error.anchor_row.unwrap()].contains("ERROR")
    );
    let none = find(Some(record.position.clone()), false, Find::Search);
    assert_eq!(none.missing.as_deref(), Some("no match after this"));
    let earlier = find(Some(record.position.clone()), true, Find::LevelAtLeast(Level::Fatal));
    assert_eq!(earlier.missing.as_deref(), Some("no record at level fatal or above before this"));
}

#[test]
fn sources_are_merged_by_time() {
    let mut bench = Bench::new();
    for (name, offset) in [("a", 0), ("b", 1)] {
        let text: String = (0..3000)
            .map(|it| format!("2026-08-19T00:{:02}:{:02}.{offset}Z {name}{it}.\n", it / 60, it % 60))
            .collect();
        fs::write(bench.path(name), text).unwrap();
        bench.open(name);
    }
    let tail = texts(&bench.ask(request("", Anchor::Tail, 4, 0)));
    let names: Vec<&str> = tail.iter().filter_map(|it| it.split(' ').nth(1)).collect();
    assert_eq!(names, ["a2998.", "b2998.", "a2999.", "b2999."]);
    let middle = bench.ask(request("", Anchor::Time("2026-08-19T00:10:00.05Z".parse().unwrap()), 2, 2));
    let middle: Vec<String> = texts(&middle).iter().filter_map(|it| it.split(' ').nth(1).map(String::from)).collect();
    assert_eq!(middle, ["b599.", "a600.", "b600.", "a601."]);
    let only = texts(&bench.ask(request("source:b", Anchor::Tail, 1, 0)));
    assert!(only[0].contains("b2999."));
}

#[test]
fn a_bad_query_is_said_and_everything_is_shown() {
    let bench = Bench::with("a", b"x\ny\n");
    let window = bench.ask(request("/a(b/", Anchor::Tail, 5, 0));
    assert!(window.query_error.as_ref().unwrap().contains("unclosed group"), "{:?}", window.query_error);
    assert_eq!(texts(&window), ["x", "y"]);
}

#[test]
fn hostile_and_ugly_lines_are_shown_harmlessly() {
    let mut text = b"esc \x1b]52;c;SGk=\x07 c1 \x9b31m nul \0 cr \r bidi \xe2\x80\xae\r\n".to_vec();
    text.extend_from_slice(b"bad \xff\xfe utf8\n");
    let bench = Bench::with("a", &text);
    let found = texts(&bench.ask(request("", Anchor::Tail, 5, 0)));
    assert_eq!(found, ["esc  c1 \u{fffd}31m nul ␀ cr ␍ bidi ·", "bad \u{fffd}\u{fffd} utf8"]);
}

#[test]
fn a_line_of_ten_megabytes_is_cut_searched_and_stepped_over() {
    let mut text = b"2026-08-19T00:00:00Z first\n2026-08-19T00:00:01Z ".to_vec();
    text.extend(std::iter::repeat_n(b'x', 10 << 20));
    text.extend_from_slice(b"NEEDLE\n2026-08-19T00:00:02Z last\n");
    let bench = Bench::with("a", &text);
    let window = bench.ask(request("", Anchor::Tail, 5, 0));
    let rows = window.rows.as_ref().unwrap();
    assert_eq!(rows.len(), 3);
    let Row::Record(record) = &rows[1] else { panic!("no record") };
    assert_eq!(record.lines[0].chars().count(), crate::domain::log::MAX_LINE_CHARS);
    assert_eq!(record.length_bytes, (10 << 20) + 28);
    assert_eq!(record.cut_bytes, (10 << 20) + 27 - crate::domain::log::MAX_LINE_CHARS as u64);
    let found = bench.ask(request("NEEDLE", Anchor::Tail, 5, 0));
    assert_eq!((found.rows.unwrap().len(), found.counts.matched, found.counts.scanned), (1, 1, 3));
}

#[test]
fn a_line_that_is_not_searched_to_its_end_says_so() {
    for (megabytes, expected) in [(15, "15M of this record"), (17, "17M of this record, searched to its first 16M,")] {
        let bench = Bench::with("a", &[vec![b'x'; megabytes << 20], b" needle\nlast\n".to_vec()].concat());
        let found = bench.ask(request("needle", Anchor::Tail, 5, 0));
        assert_eq!(found.counts.matched, u64::from(megabytes <= 16));
        let window = bench.ask(request("", Anchor::Tail, 5, 0));
        let Row::Record(record) = &window.rows.as_ref().unwrap()[0] else { panic!("no record") };
        assert_eq!(record.cut_words().as_deref(), Some(expected));
    }
}

#[test]
fn coloured_lines_have_the_times_levels_and_fields_of_plain_ones() {
    let plain = numbered(4000).join("\n") + "\n";
    let coloured: String = plain
        .lines()
        .map(|line| match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
            [time, level, rest] if line.starts_with("2026") => {
                format!("\x1b[2m{time}\x1b[0m \x1b[1m\x1b[31m{level}\x1b[0m {rest}\n")
            }
            _ => format!("\x1b[31m{line}\x1b[0m\n"),
        })
        .collect();
    let (plain, coloured) = (Bench::with("a", plain.as_bytes()), Bench::with("a", coloured.as_bytes()));
    for query in ["", "level>=error", "level:warn n3", "since:2026-08-19T01:00:00Z", "timeout -n1"] {
        let ask = |bench: &Bench| bench.ask(request(query, Anchor::Tail, 30, 0));
        let (expected, found) = (ask(&plain), ask(&coloured));
        assert_eq!(texts(&found), texts(&expected), "`{query}`");
        let matched = |it: &Window| (it.counts.matched, it.counts.scanned);
        assert_eq!(matched(&found), matched(&expected), "`{query}`");
        let of = |window: &Window| -> Vec<_> {
            let records = window.rows.as_ref().unwrap().iter().filter_map(|row| match row {
                Row::Record(record) => Some(record),
                _ => None,
            });
            records.map(|it| (it.position.time, it.level, it.time_span.clone())).collect()
        };
        assert!(of(&expected).iter().all(|it| it.0.is_some() && it.1.is_some() && it.2.is_some()), "`{query}`");
        assert_eq!(of(&found), of(&expected), "`{query}`");
    }
}

#[test]
fn an_empty_file_has_no_rows_and_a_missing_one_says_so() {
    let mut bench = Bench::with("a", b"");
    assert_eq!(texts(&bench.ask(request("", Anchor::Tail, 5, 0))), Vec::<String>::new());
    bench.open("late");
    assert_eq!(texts(&bench.ask(request("", Anchor::Tail, 5, 0))), ["Missing"]);
    bench.append("late", b"here now\n");
    bench.look();
    assert_eq!(texts(&bench.ask(request("", Anchor::Tail, 5, 0))), ["here now"]);
}

#[test]
fn a_partial_last_line_grows_in_place() {
    let mut bench = Bench::with("a", b"one\ntw");
    let first = bench.ask(request("", Anchor::Tail, 5, 0));
    assert_eq!(texts(&first), ["one", "tw"]);
    bench.append("a", b"o\n");
    bench.look();
    let second = bench.ask(request("", Anchor::Tail, 5, 0));
    assert_eq!(texts(&second), ["one", "two"]);
    assert_eq!(first.rows.unwrap()[1].position(), second.rows.unwrap()[1].position());
}

#[test]
fn a_followed_tail_sends_what_arrives() {
    let mut bench = Bench::with("a", b"one x\n");
    let windows_rx = bench.start(WindowRequest { follow: true, count: true, ..request("x", Anchor::Tail, 3, 0) });
    let mut counts = crate::domain::log::Counts::default();
    let mut until = |last: &str, matched: u64| {
        let mut shown = Vec::new();
        while shown.last().map(String::as_str) != Some(last) || counts.matched != matched {
            let window = windows_rx.recv_timeout(Duration::from_secs(60)).expect("a window");
            if window.rows.is_some() {
                shown = texts(&window);
            }
            counts = window.counts;
        }
        shown
    };
    until("one x", 1);
    for step in 0..5 {
        bench.append("a", format!("other\nmore {step} x\n").as_bytes());
        bench.look();
    }
    assert_eq!(until("more 4 x", 6), ["more 2 x", "more 3 x", "more 4 x"]);
    let path = bench.path("a");
    fs::rename(&path, bench.path("a.1")).unwrap();
    bench.append("a", b"new x\n");
    bench.look();
    assert_eq!(until("new x", 7), ["more 3 x", "more 4 x", "Rotated", "new x"]);
}

#[test]
fn a_newer_request_ends_the_older() {
    let bench = Bench::with("a", b"x\n");
    let older = bench.start(WindowRequest { follow: true, ..request("", Anchor::Tail, 3, 0) });
    assert!(older.recv_timeout(Duration::from_secs(60)).is_ok());
    let newer = bench.ask(WindowRequest { generation: 2, ..request("", Anchor::Tail, 3, 0) });
    assert_eq!(newer.generation, 2);
    // The older request's answer function is dropped with it.
    assert!(matches!(
        older.recv_timeout(Duration::from_secs(60)),
        Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
    ));
}

#[test]
fn what_was_truncated_unread_is_counted() {
    let mut bench = Bench::with("a", b"one\ntwo\n");
    bench.ask(request("", Anchor::Tail, 5, 0));
    bench.append("a", b"never read\n");
    bench.look();
    fs::write(bench.path("a"), b"new\n").unwrap();
    bench.look();
    let found = bench.ask(request("", Anchor::Tail, 5, 0));
    assert_eq!(texts(&found), ["one", "two", "Truncated { unread_bytes: 11 }", "new"]);
}

#[test]
fn a_file_emptied_and_written_past_its_size_is_noticed() {
    let mut bench = Bench::with("a", b"one\n");
    bench.ask(request("", Anchor::Tail, 5, 0));
    fs::write(bench.path("a"), b"other and much longer\n").unwrap();
    bench.look();
    let found = texts(&bench.ask(request("", Anchor::Tail, 5, 0)));
    assert_eq!(found, ["one", "Truncated { unread_bytes: 0 }", "other and much longer"]);
}

#[test]
fn a_deleted_file_stays_readable_and_comes_back() {
    let mut bench = Bench::with("a", b"one\n");
    fs::remove_file(bench.path("a")).unwrap();
    bench.look();
    assert_eq!(texts(&bench.ask(request("", Anchor::Tail, 5, 0))), ["one", "Deleted"]);
    bench.append("a", b"two\n");
    bench.look();
    assert_eq!(texts(&bench.ask(request("", Anchor::Tail, 5, 0))), ["one", "Rotated", "two"]);
}

#[test]
fn a_directory_in_the_files_place_is_said() {
    let mut bench = Bench::new();
    fs::create_dir(bench.path("a")).unwrap();
    bench.open("a");
    let found = texts(&bench.ask(request("", Anchor::Tail, 5, 0)));
    assert_eq!(found, [format!("{:?}", GapKind::Failed("it is a directory now".into()))]);
}

#[test]
fn a_look_at_nothing_new_reports_nothing() {
    let mut bench = Bench::with("a", b"one\n");
    let at = clock::monotonic();
    let look = bench.tails[0].look(Timestamp::UNIX_EPOCH, at);
    assert!(look.facts.is_empty() && !look.changed && !look.owes, "{look:?}");
    assert!(Path::new(&bench.path("a")).exists());
}

/// A source whose reads fail: its file is open for writing only, which not even root can read from.
fn unreadable(path: &Path) -> Arc<Source> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
    let source = Arc::new(Source::new(SourceId::new(&HostId::new("h"), "broken"), "broken", "broken"));
    let segment = Segment::file(file, 0).unwrap();
    segment.append(&[b'x'; 64], "2026-08-19T00:00:02Z".parse().unwrap());
    source.push(segment, None);
    source
}

#[test]
fn a_source_that_can_not_be_read_is_a_gap_and_the_others_go_on() {
    let bench = Bench::with("a", b"2026-08-19T00:00:00Z one\n2026-08-19T00:00:01Z two\n");
    bench.engine.add(unreadable(&bench.path("broken")));
    for anchor in [Anchor::Tail, Anchor::Head, Anchor::Time("2026-08-19T00:00:01Z".parse().unwrap())] {
        let window = bench.ask(request("", anchor.clone(), 5, 5));
        let found = texts(&window);
        assert_eq!(found[..2], ["2026-08-19T00:00:00Z one", "2026-08-19T00:00:01Z two"], "{anchor:?}");
        assert!(found.len() == 3 && found[2].starts_with("Failed(\"Bad file descriptor"), "{anchor:?}: {found:?}");
        assert_eq!((window.missing, window.counts.matched), (None, 2));
    }
    let find = Anchor::Find { from: None, backwards: true, find: Find::Search };
    let window = bench.ask(WindowRequest { search: "one".into(), ..request("", find, 1, 1) });
    assert!(texts(&window)[window.anchor_row.unwrap()].ends_with("one"));
}

#[test]
fn a_link_that_leads_in_a_circle_is_said() {
    let mut bench = Bench::new();
    std::os::unix::fs::symlink(bench.path("a"), bench.path("a")).unwrap();
    bench.open("a");
    let found = texts(&bench.ask(request("", Anchor::Tail, 5, 0)));
    assert!(found.len() == 1 && found[0].contains("Too many levels of symbolic links"), "{found:?}");
    fs::remove_file(bench.path("a")).unwrap();
    bench.append("a", b"now a file\n");
    bench.look();
    assert_eq!(texts(&bench.ask(request("", Anchor::Tail, 5, 0))), ["now a file"]);
}

#[test]
fn a_binary_file_is_shown_without_a_control_character() {
    let bytes: Vec<u8> = (0..=255).cycle().take(64 * 1024).collect();
    let bench = Bench::with("a", &bytes);
    let window = bench.ask(request("", Anchor::Tail, 50, 0));
    let rows = window.rows.as_ref().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        let Row::Record(record) = row else { panic!("no record") };
        assert!(record.lines.iter().all(|it| !it.chars().any(char::is_control)), "{record:?}");
    }
}

#[test]
fn carriage_returns_at_line_ends_are_neither_shown_nor_in_the_way_of_an_end_of_line() {
    let bench = Bench::with("a", b"2026-08-19T00:00:00Z one\r\n2026-08-19T00:00:01Z two\r\n");
    assert_eq!(texts(&bench.ask(request("/two$/", Anchor::Tail, 5, 0))), ["2026-08-19T00:00:01Z two"]);
    assert_eq!(texts(&bench.ask(request("", Anchor::Tail, 5, 0))).len(), 2);
}

#[test]
fn chinese_text_is_found_and_marked_on_character_boundaries() {
    let bench =
        Bench::with("a", "2026-08-19T00:00:00Z ERROR 数据库连接失败: 超时\n2026-08-19T00:00:01Z INFO 好\n".as_bytes());
    let window = bench.ask(request("连接失败", Anchor::Tail, 5, 0));
    let rows = window.rows.as_ref().unwrap();
    let Row::Record(record) = &rows[0] else { panic!("no record") };
    let (line, range) = record.hits[0].clone();
    assert_eq!(&record.lines[line as usize][range.start as usize..range.end as usize], "连接失败");
    assert_eq!((rows.len(), window.counts.matched), (1, 1));
}

#[test]
fn objects_are_shown_as_a_line_with_their_fields_as_columns_and_the_original_beside_it() {
    let line = r#"{"level":"error","ts":"2026-08-19T00:00:00Z","msg":"pool \u001b[31mexhausted","status":502,"user":"a\u202eb"}"#;
    let bench = Bench::with("a", format!("{line}\n2026-08-19T00:00:01Z INFO text status=200\n").as_bytes());
    let columns = vec!["status".to_string(), "user".to_string()];
    let shown = |look, query: &str| {
        let window = bench.ask(WindowRequest { look, columns: columns.clone(), ..request(query, Anchor::Tail, 10, 0) });
        window.rows.unwrap().into_iter().filter_map(|it| match it {
            Row::Record(record) => Some(record),
            _ => None,
        })
    };
    let mut records = shown(Look::Readable, "");
    let record = records.next().unwrap();
    assert_eq!(record.lines, ["pool exhausted status=502 user=a·b"]);
    assert_eq!((record.level, record.time_span), (Some(Level::Error), None));
    assert_eq!(record.original, Some(vec![line.to_string()]));
    assert_eq!(record.cells, ["502", "a·b"]);
    let text = records.next().unwrap();
    assert_eq!((text.original, text.time_span, text.cells), (None, Some(0..20), vec!["200".into(), String::new()]));
    let record = shown(Look::Original, "status>=500 exhausted").next().unwrap();
    assert_eq!((record.lines, record.original), (vec![line.to_string()], None));
    assert_eq!(shown(Look::Readable, "exhausted").next().unwrap().hits, [(0, 5..14)]);
}

#[test]
fn queries_for_fields_find_what_asking_every_record_finds() {
    let mut lines = Vec::new();
    for number in 0..6000 {
        let (status, user, took) = (200 + number % 7 * 50, ["sid", "bob", "a/b"][number % 3], number % 500);
        lines.push(match number % 4 {
            0 => format!("{{\"ts\":\"2026-08-19T00:00:00Z\",\"msg\":\"x\",\"http\":{{\"status\":{status}}},\"user\":\"{}\",\"took\":{took}}}", user.replace('/', "\\/")),
            1 => format!("2026-08-19T00:00:00Z INFO x status={status} user={user} took={took}ms"),
            2 => format!("10.0.0.1 - {user} [19/Aug/2026:00:00:00 +0000] \"GET / HTTP/1.1\" {status} 5 \"-\" \"-\" took={took}"),
            _ => "plain text of 404 and took".into(),
        });
    }
    let bench = Bench::with("a", (lines.join("\n") + "\n").as_bytes());
    let check = |query: &str, passes: &dyn Fn(usize) -> bool| {
        // A plain line belongs to the one before it.
        let expected = (0..6000).filter(|it| it % 4 < 3 && passes(*it)).count() as u64;
        let window = bench.ask(request(query, Anchor::Tail, 5, 0));
        assert_eq!(window.counts.matched, expected, "{query}");
    };
    let status = |it: usize| 200 + it % 7 * 50;
    check("status>=400", &|it| status(it) >= 400);
    check("status=500", &|it| status(it) == 500);
    check("-status=500", &|it| status(it) != 500);
    check("user=~^s", &|it| it % 3 == 0);
    check("user=a/b", &|it| it % 3 == 2);
    check("took>250ms status<300", &|it| it % 500 > 250 && status(it) < 300);
    check("nothing=1", &|_| false);
    check("nothing!=1", &|_| true);
}

#[test]
fn a_line_without_a_time_does_not_take_its_source_along_to_where_it_arrived() {
    let mut bench = Bench::new();
    // Far in the future of the file's own time, and more lines without a time than one record takes.
    let plain = "plain\n".repeat(600);
    fs::write(bench.path("a"), format!("2099-01-01T00:00:00Z a0\n2099-01-01T00:00:02Z a1\n{plain}")).unwrap();
    fs::write(bench.path("b"), "2099-01-01T00:00:01Z b0\n2099-01-01T00:00:03Z b1\n").unwrap();
    bench.open("a");
    bench.open("b");
    let rows = texts(&bench.ask(request("/\\d|^plain/", Anchor::Tail, 2000, 0)));
    let short: Vec<&str> = rows.iter().filter_map(|it| it.split(['|', ' ']).nth(1)).collect();
    assert_eq!(short, ["a0", "b0", "a1", "b1"]);
    assert_eq!(rows.len(), 4 + 101);
}

#[test]
fn lines_without_a_time_stand_in_one_order_whichever_way_one_goes() {
    let mut bench = Bench::new();
    // All files were written long after the times in them, so that what has no time arrived after everything.
    let page = "{\"msg\":\"plain\"}\n".repeat(PAGE_BYTES as usize / 16);
    for (name, text) in [
        ("a", "{\"msg\":\"a0\"}\n{\"ts\":\"2026-08-19T00:00:02Z\",\"msg\":\"a1\"}\n{\"msg\":\"a2\"}\n".to_string()),
        (
            "b",
            "{\"ts\":\"2026-08-19T00:00:01Z\",\"msg\":\"b0\"}\n{\"ts\":\"2026-08-19T00:00:03Z\",\"msg\":\"b1\"}\n"
                .into(),
        ),
        ("c", "{\"msg\":\"c0\"}\n{\"msg\":\"c1\"}\n".into()),
        ("d", format!("{{\"ts\":\"2026-08-19T00:00:04Z\",\"msg\":\"d0\"}}\n{page}{{\"msg\":\"d1\"}}\n")),
        ("e", "{\"ts\":\"2026-08-19T00:00:05Z\",\"msg\":\"e0\"}\n".into()),
    ] {
        fs::write(bench.path(name), text).unwrap();
        bench.open(name);
    }
    let name =
        |it: &String| it.split('"').find(|it| it.len() == 2 && it.as_bytes()[1].is_ascii_digit()).map(String::from);
    let names = |texts: Vec<String>| texts.iter().filter_map(name).collect::<Vec<_>>().join(" ");
    let expected = "b0 a0 a1 a2 b1 d0 d1 e0 c0 c1";
    for anchor in [Anchor::Tail, Anchor::Head] {
        assert_eq!(names(texts(&bench.ask(request("-plain", anchor, 50, 50)))), expected);
    }
    let matcher = Matcher::new(&Query::parse("-plain").unwrap(), clock::now(), &TimeZone::UTC).unwrap();
    let mut stream = Stream::new(&bench.engine, matcher, 0);
    let mut met = Vec::new();
    let take = &mut |it: &Met<'_>| {
        met.push(String::from_utf8_lossy(it.bytes()).into_owned());
        Ok(())
    };
    stream.advance(Hold::Nothing, take).unwrap();
    assert_eq!(names(met), expected);
}

#[test]
fn a_clock_that_goes_back_does_not_hide_a_source_behind_the_others() {
    let mut bench = Bench::new();
    fs::write(
        bench.path("a"),
        "2026-08-19T00:00:00Z a0\n2026-08-19T00:00:02Z a1\n1970-01-01T00:00:00Z a2\n2026-08-19T00:00:04Z a3\n",
    )
    .unwrap();
    fs::write(bench.path("b"), "2026-08-19T00:00:01Z b0\n2026-08-19T00:00:03Z b1\n2026-08-19T00:00:05Z b2\n").unwrap();
    bench.open("a");
    bench.open("b");
    let names = |window: &Window| -> String { texts(window).iter().filter_map(|it| it.split(' ').nth(1)).collect() };
    for anchor in [Anchor::Tail, Anchor::Head] {
        assert_eq!(names(&bench.ask(request("", anchor, 4, 4))), "a0b0a1a2b1a3b2");
    }
}

#[test]
fn a_rare_match_is_found_far_away_in_each_of_many_sources() {
    let mut bench = Bench::new();
    let lines: Vec<String> = (0..60_000)
        .map(|it| format!("2026-08-19T{:02}:{:02}:{:02}Z INFO n{it}.\n", it / 3600, it / 60 % 60, it % 60))
        .collect();
    for (index, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let mut lines = lines.clone();
        lines[7 + index] = format!("2026-08-19T00:00:{:02}Z INFO needle {name}\n", 7 + index);
        lines[59_000] = lines[59_000].replace("INFO", "needle late");
        fs::write(bench.path(name), lines.concat()).unwrap();
        bench.open(name);
    }
    let tail = texts(&bench.ask(request("needle", Anchor::Tail, 50, 0)));
    let last = |it: &String| it.rsplit(' ').next().map(String::from);
    assert_eq!(tail.iter().filter_map(last).collect::<Vec<_>>()[..5], ["a", "b", "c", "d", "e"]);
    assert_eq!(tail.len(), 10);
    assert_eq!(texts(&bench.ask(request("needle", Anchor::Head, 0, 50))), tail);
    let find = |backwards| Anchor::Find { from: None, backwards, find: Find::Search };
    let early = bench.ask(WindowRequest { search: "needle".into(), ..request("-late", find(true), 0, 1) });
    assert!(texts(&early)[early.anchor_row.unwrap()].ends_with("needle e"));
    let middle = Anchor::Time("2026-08-19T08:00:00Z".parse().unwrap());
    let window = bench.ask(request("needle", middle, 2, 2));
    assert_eq!(texts(&window), tail[3..7]);
}

#[test]
fn a_last_line_that_turns_out_to_go_on_with_the_record_before_is_shown_with_it() {
    let mut bench = Bench::with("a", b"first\nsecond\nCaused");
    let windows_rx = bench.start(WindowRequest { follow: true, ..request("", Anchor::Tail, 5, 0) });
    let next = || loop {
        let window = windows_rx.recv_timeout(Duration::from_secs(60)).expect("a window");
        if window.rows.is_some() {
            return texts(&window);
        }
    };
    assert_eq!(next(), ["first", "second", "Caused"]);
    bench.append("a", b" by: it\nthird\n");
    bench.look();
    assert_eq!(next(), ["first", "second|Caused by: it", "third"]);
}
