//! Streams over a file that is being written: each record once, whole, however its bytes come.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Bench;
use crate::clock;
use crate::domain::ids::{HostId, SourceId};
use crate::domain::log::GapKind;
use crate::domain::query::Query;
use crate::domain::query::matcher::Matcher;
use crate::logstore::engine::Engine;
use crate::logstore::segment::Segment;
use crate::logstore::source::{GapMark, Source};
use crate::logstore::stream::{Hold, Met, Stream};
use crate::logstore::walk::Item;

const KEEP: &str = "2026-08-19T00:00:00Z INFO keep 1\n";

/// A follower of one file with a filter.
struct Follower<'e> {
    stream: Stream<'e>,
}

impl<'e> Follower<'e> {
    fn new(engine: &'e Engine, context: usize) -> Self {
        let matcher = Matcher::new(&Query::parse("keep").unwrap(), clock::now(), &TimeZone::UTC).unwrap();
        Self { stream: Stream::new(engine, matcher, context) }
    }

    /// What is met; `+` marks context.
    fn advance(&mut self, hold: Hold) -> Vec<String> {
        let mut met = Vec::new();
        let mut take = |it: &Met<'_>| {
            met.push(format!("{}{}", if it.context { "+" } else { "" }, String::from_utf8_lossy(it.bytes())));
            Ok(())
        };
        self.stream.advance(hold, &mut take).unwrap();
        met
    }

    fn unfinished(&mut self) -> Vec<String> {
        let mut met = Vec::new();
        let mut take = |it: &Met<'_>| {
            met.push(String::from_utf8_lossy(it.bytes()).into_owned());
            Ok(())
        };
        self.stream.show_unfinished(&mut take).unwrap();
        met
    }
}

/// Writes pieces, looks and meets after each; returns what was met after which.
fn pieces(context: usize, pieces: &[&str]) -> Vec<Vec<String>> {
    let mut bench = Bench::with("a", KEEP.as_bytes());
    let engine = bench.engine.clone();
    let mut follower = Follower::new(&engine, context);
    assert_eq!(follower.advance(Hold::Line), [KEEP]);
    let mut all = Vec::new();
    for piece in pieces {
        bench.append("a", piece.as_bytes());
        bench.look();
        let mut met = follower.advance(Hold::Record(Duration::MAX));
        met.extend(follower.advance(Hold::Line));
        all.push(met);
    }
    all
}

#[test]
fn a_line_that_is_torn_anywhere_is_met_whole() {
    let line = "2026-08-19T00:00:01Z INFO keep 2\n";
    for cut in 1..line.len() {
        assert_eq!(pieces(0, &[&line[..cut], &line[cut..]]), [vec![], vec![line.to_string()]], "cut at {cut}");
    }
}

#[test]
fn a_record_that_passes_only_with_a_later_line_is_met_with_its_context() {
    let before = "2026-08-19T00:00:01Z INFO before\n";
    let (head, trace) = ("2026-08-19T00:00:02Z ERROR boom\n", "\tat keep.Java\n");
    let whole = format!("{head}{trace}");
    assert_eq!(pieces(0, &[before, head, trace]), [vec![], vec![], vec![whole.clone()]]);
    // One record of context behind the first match and one before the second.
    let all = pieces(1, &["2026-08-19T00:00:01Z INFO after\n", before, head, trace]);
    let after = "+2026-08-19T00:00:01Z INFO after\n".to_string();
    assert_eq!(all, [vec![after], vec![], vec![], vec![format!("+{before}"), whole]]);
}

#[test]
fn lines_that_come_later_are_met_without_those_met_before() {
    let (head, first, second) = ("2026-08-19T00:00:02Z ERROR keep\n", "\tat a\n", "\tat b\n");
    let expected: [Vec<String>; 3] = [vec![head.into()], vec![first.into()], vec![second.into()]];
    assert_eq!(pieces(0, &[head, first, second]), expected);
}

#[test]
fn a_line_whose_end_does_not_come_is_shown_once_and_counts_as_not_met() {
    let mut bench = Bench::with("a", KEEP.as_bytes());
    bench.append("a", b"2026-08-19T00:00:01Z keep wait");
    bench.look();
    let engine = bench.engine.clone();
    let mut follower = Follower::new(&engine, 0);
    assert_eq!(follower.advance(Hold::Line), [KEEP]);
    assert_eq!(follower.unfinished(), ["2026-08-19T00:00:01Z keep wait"]);
    assert_eq!(follower.unfinished(), Vec::<String>::new());
    bench.append("a", b"ing\n");
    bench.look();
    assert_eq!(follower.advance(Hold::Line), ["2026-08-19T00:00:01Z keep waiting\n"]);
    // What is glued to a record that does not pass is no reason to show it.
    bench.append("a", b"2026-08-19T00:00:02Z other\n  more");
    bench.look();
    assert_eq!(follower.advance(Hold::Line), Vec::<String>::new());
    assert_eq!(follower.unfinished(), Vec::<String>::new());
}

#[test]
fn a_record_of_context_is_met_as_it_was_when_the_match_came() {
    let all =
        pieces(1, &["2026-08-19T00:00:01Z after\n", "2026-08-19T00:00:02Z one\n", "\tmore\n", "\tand more\n", KEEP]);
    let context = "+2026-08-19T00:00:02Z one\n\tmore\n\tand more\n".to_string();
    assert_eq!(all[1..], [vec![], vec![], vec![], vec![context, KEEP.into()]]);
}

#[test]
fn a_quiet_source_is_not_held_up_by_a_busy_one() {
    let mut bench = Bench::with("a", b"");
    bench.open("b");
    bench.append("b", KEEP.as_bytes());
    bench.look();
    let engine = bench.engine.clone();
    let mut follower = Follower::new(&engine, 0);
    let busy = |bench: &mut Bench| {
        bench.append("a", b"2026-08-19T00:00:01Z INFO other\n");
        bench.look();
    };
    assert_eq!(follower.advance(Hold::Record(Duration::MAX)), Vec::<String>::new());
    busy(&mut bench);
    assert_eq!(follower.advance(Hold::Record(Duration::MAX)), Vec::<String>::new(), "it may still grow");
    busy(&mut bench);
    assert_eq!(follower.advance(Hold::Record(Duration::ZERO)), [KEEP]);
    busy(&mut bench);
    assert_eq!(follower.advance(Hold::Record(Duration::ZERO)), Vec::<String>::new());
    bench.append("b", b"\tmore\n");
    bench.look();
    assert_eq!(follower.advance(Hold::Record(Duration::ZERO)), ["\tmore\n"]);
}

#[test]
fn what_is_written_to_a_rotated_file_ends_the_line_and_the_record_that_stood_there() {
    let check = |before: &str, after: &str, expected: &[&str]| {
        let mut bench = Bench::with("a", KEEP.as_bytes());
        let mut old = fs::OpenOptions::new().append(true).open(bench.path("a")).unwrap();
        let engine = bench.engine.clone();
        let mut follower = Follower::new(&engine, 0);
        assert_eq!(follower.advance(Hold::Line), [KEEP]);
        old.write_all(before.as_bytes()).unwrap();
        fs::rename(bench.path("a"), bench.path("a.1")).unwrap();
        bench.append("a", b"2026-08-19T00:00:09Z new\n");
        bench.look();
        let mut met: Vec<String> = follower.advance(Hold::Line);
        old.write_all(after.as_bytes()).unwrap();
        bench.look();
        met.extend(follower.advance(Hold::Line));
        met.retain(|it| !it.is_empty());
        assert_eq!(met, expected, "{before:?} and {after:?}");
    };
    let (line, next) = ("2026-08-19T00:00:01Z keep 2\n", "2026-08-19T00:00:02Z keep 3\n");
    check(&line[..25], &format!("{}{next}", &line[25..]), &[&line[..25], line, next]);
    check(&line[..24], &format!("{}{next}", &line[24..]), &[line, next]);
    check(&line[..8], &format!("{}{next}", &line[8..]), &[&line[..8], line, next]);
    check(line, "\tat a\n", &[line, "\tat a\n"]);
    check("2026-08-19T00:00:01Z boom\n", "\tat keep\n", &["2026-08-19T00:00:01Z boom\n\tat keep\n"]);
    check("2026-08-19T00:00:01Z boom\n", &format!("\tat b\n{next}"), &[next]);
    check(line, next, &[line, next]);
}

#[test]
fn a_line_shown_unfinished_is_met_when_nothing_more_of_it_comes() {
    let check = |text: &str, shown: &str| {
        let bench = Bench::new();
        let (source, segment) = stream_of(&bench);
        segment.append(text.as_bytes(), Timestamp::UNIX_EPOCH);
        let engine = bench.engine.clone();
        let mut follower = Follower::new(&engine, 0);
        let mut met = follower.advance(Hold::Line);
        assert_eq!(follower.unfinished(), [shown], "{text:?}");
        source.set_tail(Some(GapMark { kind: GapKind::Ended, at: Timestamp::UNIX_EPOCH }));
        for hold in [Hold::Record(Duration::ZERO), Hold::Line, Hold::Nothing] {
            met.extend(follower.advance(hold));
        }
        assert_eq!(met.concat(), text, "{text:?}");
    };
    check("2026-08-19T00:00:01Z keep wait", "2026-08-19T00:00:01Z keep wait");
    check("2026-08-19T00:00:01Z keep\n\tat a", "\tat a");
    check("2026-08-19T00:00:01Z boom\n\tat keep", "2026-08-19T00:00:01Z boom\n\tat keep");
}

#[test]
fn what_was_read_and_held_back_is_met_when_its_file_is_emptied() {
    let check = |text: &str, expected: &[&str]| {
        let mut bench = Bench::with("a", text.as_bytes());
        let engine = bench.engine.clone();
        let mut follower = Follower::new(&engine, 0);
        let mut met = follower.advance(Hold::Record(Duration::MAX));
        fs::write(bench.path("a"), KEEP).unwrap();
        bench.look();
        met.extend(follower.advance(Hold::Line).into_iter().filter(|it| !it.is_empty()));
        assert_eq!(met, [expected, &[KEEP]].concat(), "{text:?}");
    };
    let (one, two) = ("2026-08-19T00:00:01Z one keep of several\n", "2026-08-19T00:00:02Z two keep of several\n");
    check(&format!("{one}{two}"), &[one, two]);
    check(&format!("{one}{}", &two[..30]), &[one, &two[..30]]);
    check(&format!("{one}2026-08-19T00:00:02Z something else here\n"), &[one]);
}

/// Copies `a` to `a.1`, what stood there to `a.2`, and empties `a`, as logrotate does.
fn copytruncate(bench: &Bench) {
    for number in (1..5).rev() {
        let name = |number: u32| bench.path(&format!("a.{number}"));
        let _ = fs::rename(name(number), name(number + 1));
    }
    fs::copy(bench.path("a"), bench.path("a.1")).unwrap();
    fs::OpenOptions::new().write(true).open(bench.path("a")).unwrap().set_len(0).unwrap();
}

/// Lines that pass, by their numbers.
fn keeps(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|it| format!("2026-08-19T00:00:00Z INFO keep num={it}\n")).collect()
}

/// The numbers of lines that were met, and the rows of what is missing.
fn follow(stream: &mut Stream<'_>, met: &mut (Vec<u32>, Vec<GapKind>), then: &mut dyn FnMut()) {
    let mut take = |it: &Met<'_>| {
        match &it.placed.item {
            Item::Gap { mark, .. } => met.1.push(mark.kind.clone()),
            Item::Record(_) => {
                let text = String::from_utf8_lossy(it.bytes()).into_owned();
                met.0.extend(text.lines().filter_map(|it| it.split("num=").nth(1)?.parse::<u32>().ok()));
            }
        }
        then();
        Ok(())
    };
    stream.advance(Hold::Record(Duration::MAX), &mut take).unwrap();
}

#[test]
fn what_a_look_found_and_a_copy_holds_is_met_though_the_file_was_emptied_before_it_was_read() {
    // Rotations between the look that finds lines and the pass that meets them, lines behind the last of them.
    for (rotations, behind) in [(1, 2), (1, 400), (2, 2), (2, 400), (3, 2)] {
        let mut bench = Bench::with("a", keeps(0..50).as_bytes());
        let engine = bench.engine.clone();
        let (mut stream, mut met) = (Stream::new(&engine, Matcher::default(), 0), (Vec::new(), Vec::new()));
        follow(&mut stream, &mut met, &mut || ());
        assert_eq!(met.0, (0..49).collect::<Vec<_>>());
        let mut end = 80;
        bench.append("a", keeps(50..end).as_bytes());
        bench.look();
        for _ in 0..rotations {
            copytruncate(&bench);
            bench.append("a", keeps(end..end + behind).as_bytes());
            end += behind;
        }
        follow(&mut stream, &mut met, &mut || ());
        for more in [0, 1, 1] {
            bench.append("a", keeps(end..end + more).as_bytes());
            end += more;
            bench.look();
            follow(&mut stream, &mut met, &mut || ());
        }
        assert_eq!(met.0, (0..end - 1).collect::<Vec<_>>(), "{rotations} rotations, {behind} lines");
        assert!(met.1.iter().all(|it| *it == GapKind::Rotated), "{:?}", met.1);
    }
}

#[test]
fn a_file_that_is_emptied_while_it_is_met_is_met_on_in_its_copy() {
    // Less than a block, which is read a page at a time by nobody but the pass.
    for (lines, behind) in [(5_000, 3), (5_000, 8_000)] {
        let mut bench = Bench::with("a", keeps(0..10).as_bytes());
        let engine = bench.engine.clone();
        let (mut stream, mut met) = (Stream::new(&engine, Matcher::default(), 0), (Vec::new(), Vec::new()));
        follow(&mut stream, &mut met, &mut || ());
        bench.append("a", keeps(10..lines).as_bytes());
        bench.look();
        let mut is_first = true;
        follow(&mut stream, &mut met, &mut || {
            if std::mem::take(&mut is_first) {
                copytruncate(&bench);
                bench.append("a", keeps(lines..lines + behind).as_bytes());
            }
        });
        assert!(met.0.last().is_some_and(|it| *it < lines / 2), "not all of it was read before");
        for _ in 0..2 {
            bench.look();
            follow(&mut stream, &mut met, &mut || ());
        }
        let expected: Vec<u32> = (0..lines + behind - 1).collect();
        assert!(met.0 == expected, "{lines} lines, {behind} behind: {} met", met.0.len());
        assert_eq!(met.1, [GapKind::Rotated]);
    }
}

#[test]
fn a_file_that_is_emptied_without_a_copy_says_how_much_was_not_read() {
    let mut bench = Bench::with("a", keeps(0..50).as_bytes());
    let engine = bench.engine.clone();
    let (mut stream, mut met) = (Stream::new(&engine, Matcher::default(), 0), (Vec::new(), Vec::new()));
    follow(&mut stream, &mut met, &mut || ());
    bench.append("a", keeps(50..80).as_bytes());
    bench.look();
    fs::write(bench.path("a"), keeps(80..90)).unwrap();
    follow(&mut stream, &mut met, &mut || ());
    bench.look();
    follow(&mut stream, &mut met, &mut || ());
    // What was read of it and held back is met.
    assert_eq!(met.0, (0..50).chain(80..89).collect::<Vec<_>>());
    let unread = keeps(50..80).len() as u64;
    let says = |it: &GapKind| matches!(it, GapKind::Truncated { unread_bytes, .. } if *unread_bytes == unread);
    assert!(met.1.len() == 1 && says(&met.1[0]), "{unread}: {:?}", met.1);
}

#[test]
fn a_copy_that_was_made_before_its_file_is_emptied_is_not_met_twice() {
    let mut bench = Bench::with("a", keeps(0..50).as_bytes());
    let engine = bench.engine.clone();
    let (mut stream, mut met) = (Stream::new(&engine, Matcher::default(), 0), (Vec::new(), Vec::new()));
    follow(&mut stream, &mut met, &mut || ());
    copytruncate(&bench);
    bench.append("a", keeps(50..60).as_bytes());
    // The next rotation has come as far as its copy.
    fs::rename(bench.path("a.1"), bench.path("a.2")).unwrap();
    fs::copy(bench.path("a"), bench.path("a.1")).unwrap();
    bench.look();
    follow(&mut stream, &mut met, &mut || ());
    bench.append("a", keeps(60..62).as_bytes());
    bench.look();
    follow(&mut stream, &mut met, &mut || ());
    assert_eq!(met.0, (0..61).collect::<Vec<_>>());
}

/// A stream with an empty segment in memory.
fn stream_of(bench: &Bench) -> (Arc<Source>, Arc<Segment>) {
    let id = SourceId::new(&HostId::new("h"), "pipe");
    let source = Arc::new(Source::of_stream(id, "pipe", "pipe", 2));
    bench.engine.add(source.clone());
    let segment = source.push(Segment::memory(0), None);
    (source, segment)
}
