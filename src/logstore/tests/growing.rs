//! Streams over a file that is being written: each record once, whole, however its bytes come.

use jiff::tz::TimeZone;

use super::Bench;
use crate::clock;
use crate::domain::query::Query;
use crate::domain::query::matcher::Matcher;
use crate::logstore::engine::Engine;
use crate::logstore::stream::{Hold, Met, Stream};

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
        let mut met = follower.advance(Hold::Record);
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
