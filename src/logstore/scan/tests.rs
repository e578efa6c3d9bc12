//! Counts, histograms and chip counts against the plain answer: all records, filtered one by one.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::domain::ids::{HostId, SourceId};
use crate::domain::log::{Anchor, Bucket, ChipCount, Level, ViewId, Window, WindowRequest, WindowSource};
use crate::domain::query::Query;
use crate::domain::query::matcher::Subject;
use crate::logstore::block::PAGE_BYTES;
use crate::logstore::engine::Engine;
use crate::logstore::segment::Segment;
use crate::logstore::source::Source;

/// Time of the first record of a generated log.
const START: i64 = 1_800_000_000;

/// A source in memory.
fn source(engine: &Engine, name: &str) -> (Arc<Source>, Arc<Segment>) {
    let source = Arc::new(Source::new(SourceId::new(&HostId::new("h"), name), name, name));
    let segment = source.push(Segment::memory(0), None);
    engine.add(source.clone());
    (source, segment)
}

/// One record of a generated log.
#[derive(Debug, Clone)]
struct Entry {
    second: i64,
    level: Option<Level>,
    text: String,
}

impl Subject for Entry {
    fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
    fn level(&self) -> Option<Level> {
        self.level
    }
    fn time(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.second).ok()
    }
}

/// The entries that pass, one by one.
fn passing<'e>(entries: &'e [Entry], query: &str) -> Vec<&'e Entry> {
    let matcher = Matcher::new(&Query::parse(query).unwrap(), Timestamp::UNIX_EPOCH, &TimeZone::UTC).unwrap();
    entries.iter().filter(|it| matcher.passes(*it)).collect()
}

/// Log text: `steps` are (seconds since the record before, kind of record, length of its filling).
fn log(steps: &[(i64, u8, usize)]) -> Vec<Entry> {
    let mut second = START;
    let mut entries = Vec::new();
    for (number, (step, kind, filling)) in steps.iter().enumerate() {
        second += step;
        let at = Timestamp::from_second(second).unwrap();
        let (level, word) = match kind % 5 {
            0 => (Some(Level::Error), "ERROR"),
            1 => (Some(Level::Warn), "WARN"),
            2 => (Some(Level::Debug), "DEBUG"),
            3 => (Some(Level::Info), "INFO"),
            _ => (None, "and"),
        };
        let head = match kind % 3 {
            0 => format!("\x1b[2m{at}\x1b[0m \x1b[31m{word}\x1b[0m"),
            _ => format!("{at} {word}"),
        };
        let mut text = format!("{head} n{number}. {}", "x".repeat(*filling));
        if kind % 7 == 0 {
            text.push_str("\n\tat trace.X\nCaused by: timeout");
        }
        if kind % 11 == 0 {
            text.push_str(" timeout");
        }
        text.push('\n');
        entries.push(Entry { second, level, text });
    }
    entries
}

fn start(engine: &Engine, request: WindowRequest) -> Receiver<Window> {
    let (windows_tx, windows_rx) = sync_channel(1000);
    engine.request(request, Box::new(move |window| windows_tx.send(window).is_ok()));
    windows_rx
}

/// The first window whose counts are complete.
fn counted(windows_rx: &Receiver<Window>) -> Window {
    loop {
        let window = windows_rx.recv_timeout(Duration::from_secs(60)).expect("a window");
        if window.counts.complete {
            return window;
        }
    }
}

fn asks(query: &str, buckets: u16) -> WindowRequest {
    WindowRequest {
        query: query.into(),
        count: true,
        chip_counts: true,
        histogram: Some(HistogramRequest { from: None, until: None, buckets }),
        ..WindowRequest::new(ViewId(1), 1, Anchor::Tail, (5, 0))
    }
}

/// Checks a window against the entries it should tell of.
fn check(window: &Window, entries: &[Entry], query: &str) {
    let matched = passing(entries, query);
    assert_eq!(window.counts.matched, matched.len() as u64, "matches of `{query}`");
    assert_eq!(window.counts.scanned, entries.len() as u64, "records beside `{query}`");
    let histogram = window.histogram.as_ref().expect("a histogram");
    let mut naive = vec![Bucket::default(); histogram.buckets.len()];
    for entry in matched {
        let at = (entry.second - histogram.from.as_second()) / i64::try_from(histogram.bucket_seconds).unwrap();
        naive[usize::try_from(at).unwrap()].by_level[Bucket::index(entry.level)] += 1;
    }
    assert_eq!(histogram.buckets, naive, "histogram of `{query}`");
    let chips = Query::parse(query).unwrap().chips;
    let mut prefix = Query::default();
    for (index, chip) in chips.iter().enumerate() {
        let count = |query: &Query| passing(entries, &query.to_string()).len() as u64;
        let of = count(&prefix);
        prefix.chips.push(chip.clone());
        let expected = ChipCount { matched: count(&prefix), of, complete: true };
        assert_eq!(window.chip_counts[index], expected, "chip {index} of `{query}`");
    }
    assert_eq!(window.chip_counts.len(), chips.len());
}

const QUERIES: [&str; 9] = [
    "",
    "timeout",
    "level>=warn",
    "level>=warn timeout",
    "timeout ~x -level=error n1",
    "-timeout",
    "since:2027-01-15T09:00:00Z",
    "since:2027-01-15T08:30:10Z until:2027-01-15T12:00:00Z level<=info",
    "/n\\d*7\\./ trace",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Also after the log has grown, when a record goes on in a later block, and whatever was asked before.
    #[test]
    fn counts_histograms_and_chip_counts_are_those_of_a_naive_pass(
        steps in prop::collection::vec((prop_oneof![8 => 0_i64..2, 1 => 0_i64..4000], any::<u8>(), prop_oneof![20 => 0_usize..200, 1 => 0_usize..9000]), 1..4000),
        cut in 0.0_f64..1.0,
        buckets in prop_oneof![Just(1_u16), 2_u16..200, Just(1000)],
        order in Just((0..QUERIES.len()).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let engine = Engine::new(TimeZone::UTC);
        let (_, segment) = source(&engine, "a");
        let entries = log(&steps);
        let now = Timestamp::from_second(START).unwrap();
        let (first, second) = entries.split_at((entries.len() as f64 * cut) as usize);
        for (entries, known) in [(first, 0), (second, first.len())] {
            segment.append(entries.iter().map(|it| it.text.as_str()).collect::<String>().as_bytes(), now);
            let all = if known == 0 { first } else { &log(&steps) };
            if all.is_empty() {
                continue;
            }
            for index in &order {
                let window = counted(&start(&engine, asks(QUERIES[*index], buckets)));
                check(&window, all, QUERIES[*index]);
            }
        }
    }
}

/// What was wrong once: the last record was longer than the look at the end of the log, which then ended where it began.
#[test]
fn a_long_last_record_does_not_end_the_histogram_before_the_others() {
    for filling in [3000, 5137, 8315, 40_000, 200_000] {
        let engine = Engine::new(TimeZone::UTC);
        let (_, segment) = source(&engine, "a");
        let entries = log(&[(0, 3, 10), (9, 3, 10), (30, 8, filling)]);
        let text: String = entries.iter().map(|it| it.text.as_str()).collect();
        segment.append(text.as_bytes(), Timestamp::from_second(START).unwrap());
        check(&counted(&start(&engine, asks("", 99))), &entries, "");
    }
}

#[test]
fn a_last_line_that_is_late_does_not_end_the_histogram_before_the_others() {
    let engine = Engine::new(TimeZone::UTC);
    let (_, segment) = source(&engine, "a");
    let text = "1800000000 first\n1800000050 last\n1800000030 late\n";
    segment.append(text.as_bytes(), Timestamp::from_second(START).unwrap());
    let histogram = counted(&start(&engine, asks("", 60))).histogram.unwrap();
    let totals: Vec<u64> = histogram.buckets.iter().map(Bucket::total).collect();
    assert_eq!((histogram.bucket_seconds, totals.len()), (1, 51));
    assert_eq!((totals[0], totals[30], totals[50]), (1, 1, 1));
}

#[test]
fn following_counts_what_comes_also_when_it_ends_in_the_middle_of_a_record() {
    let engine = Engine::new(TimeZone::UTC);
    let (_, segment) = source(&engine, "a");
    let steps: Vec<(i64, u8, usize)> = (0..9000).map(|it| (it % 3, (it % 256) as u8, 40)).collect();
    let entries = log(&steps);
    let text: String = entries.iter().map(|it| it.text.as_str()).collect();
    let now = Timestamp::from_second(START).unwrap();
    let query = "timeout level>=warn";
    let windows_rx = start(&engine, WindowRequest { follow: true, ..asks(query, 1000) });
    for piece in text.as_bytes().chunks(text.len() / 23 + 7) {
        segment.append(piece, now);
        engine.grew();
    }
    let expected = passing(&entries, query).len() as u64;
    loop {
        let window = windows_rx.recv_timeout(Duration::from_secs(60)).expect("a window");
        if window.histogram.is_some() && window.counts.matched == expected && window.counts.scanned == 9000 {
            check(&window, &entries, query);
            return;
        }
    }
}

#[test]
fn a_muted_source_is_left_out_of_rows_and_counts_and_a_solo_one_is_alone() {
    let engine = Engine::new(TimeZone::UTC);
    let now = Timestamp::from_second(START).unwrap();
    let ids = ["a", "b", "c"].map(|name| {
        let (source, segment) = source(&engine, name);
        segment.append(format!("{now} INFO {name}\n").as_bytes(), now);
        source.id.clone()
    });
    let ask = |muted: &[SourceId], sources: &[SourceId]| {
        let request = WindowRequest { muted: muted.to_vec(), sources: sources.to_vec(), ..asks("", 10) };
        let windows_rx = start(&engine, request);
        let rows = windows_rx.recv_timeout(Duration::from_secs(60)).unwrap().rows.expect("rows first").len();
        let window = counted(&windows_rx);
        (rows, window.counts.matched, window.histogram.unwrap().buckets.iter().map(Bucket::total).sum::<u64>())
    };
    assert_eq!(ask(&[], &[]), (3, 3, 3));
    assert_eq!(ask(&ids[..1], &[]), (2, 2, 2));
    assert_eq!(ask(&[], &ids[2..]), (1, 1, 1));
    assert_eq!(ask(&ids[2..], &ids[2..]), (0, 0, 0));
}

#[test]
fn a_source_chip_counts_in_the_funnel_like_any_other() {
    let engine = Engine::new(TimeZone::UTC);
    let now = Timestamp::from_second(START).unwrap();
    for (name, lines) in [("a", 3), ("b", 4)] {
        let (_, segment) = source(&engine, name);
        for line in 0..lines {
            segment.append(format!("{now} INFO n{line}.\n").as_bytes(), now);
        }
    }
    let window = counted(&start(&engine, asks("-n0. source:b ~n2. n3.", 10)));
    let counts: Vec<(u64, u64)> = window.chip_counts.iter().map(|it| (it.matched, it.of)).collect();
    assert_eq!(counts, [(5, 7), (3, 5), (3, 3), (1, 3)]);
    assert_eq!((window.counts.matched, window.counts.scanned), (1, 7));
}

#[test]
fn what_a_wider_query_or_the_levels_rule_out_is_not_read() {
    let engine = Engine::new(TimeZone::UTC);
    let (_, segment) = source(&engine, "a");
    let now = Timestamp::from_second(START).unwrap();
    let mut text = String::new();
    while text.len() < 6 * BLOCK_BYTES as usize {
        let word = if text.len() < 1000 { "WARN slow" } else { "INFO quick" };
        text.push_str(&format!("{now} {word}\n"));
    }
    segment.append(text.as_bytes(), now);
    counted(&start(&engine, asks("slow", 10)));
    let inner = engine.inner();
    let goal = |text: &str| {
        let query = Query::parse(text).unwrap();
        inner.goal(&query, now, Arc::new(Matcher::new(&query, now, &TimeZone::UTC).unwrap()), false)
    };
    for (query, known) in [("slow WARN", true), ("level>=warn", true), ("level=warn x", true), ("slo", false)] {
        let goal = goal(query);
        let id = |block| BlockId { segment: segment.uid, size: segment.size_bytes(), block };
        assert!(!goal.has_none(id(0)), "{query}");
        for block in 1..5 {
            assert_eq!(goal.has_none(id(block)), known, "block {block} of `{query}`");
        }
    }
    assert_eq!(counted(&start(&engine, asks("slow WARN", 10))).counts.matched, 33);
}

#[test]
fn counting_ends_when_nobody_wants_it_any_more() {
    let engine = Engine::new(TimeZone::UTC);
    let (source, segment) = source(&engine, "a");
    let now = Timestamp::from_second(START).unwrap();
    segment.append(&b"2027-01-15T08:00:00Z INFO x\n".repeat(100_000), now);
    let snapshots = [source.snapshot()];
    let goals = [engine.inner().everything(true)];
    let scan = Scan {
        reader: &engine.inner().reader,
        goals: &goals,
        histogram: None,
        phase: 0,
        threads: 1,
        gate: Some(&engine.inner().gate),
    };
    let blocks = AtomicUsize::new(0);
    let stops_at_third = |_: &Mutex<Tally>| blocks.fetch_add(1, Ordering::Relaxed) < 2;
    assert!(count(scan, &snapshots, &stops_at_third).is_none());
    assert_eq!(blocks.into_inner(), 3);
    // The newest blocks come first.
    let last = BlockReader::blocks(segment.size_bytes()) - 1;
    let id = |block| BlockId { segment: segment.uid, size: segment.size_bytes(), block };
    assert!(goals[0].counts.with(id(last), |it| it.records).is_some());
    assert!(goals[0].counts.with(id(last - 2), |it| it.records).is_some());
    assert!(goals[0].counts.with(id(last - 3), |it| it.records).is_none());
}

#[test]
fn a_window_holds_the_counting_and_lets_it_go_on() {
    let gate = Gate::default();
    let passed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let passage = gate.hold();
        scope.spawn(|| {
            gate.pass();
            passed.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(passed.load(Ordering::SeqCst), 0);
        drop(passage);
    });
    assert_eq!(passed.into_inner(), 1);
}

#[test]
fn a_narrower_query_looks_only_where_a_wider_one_has_matched_a_few_times() {
    let engine = Engine::new(TimeZone::UTC);
    let (_, segment) = source(&engine, "a");
    let now = Timestamp::from_second(START).unwrap();
    let mut text = String::new();
    for line in 0..20_000 {
        let words = match line {
            7 => "slow and late\n\tat trace.X late",
            9 => "slow",
            10_000.. if line % 100 == 0 => "slow and often late",
            _ => "quick",
        };
        text.push_str(&format!("{now} INFO {words}\n"));
    }
    segment.append(text.as_bytes(), now);
    assert_eq!(counted(&start(&engine, asks("slow", 10))).counts.matched, 102);
    let query = Query::parse("slow late").unwrap();
    let matcher = Matcher::new(&query, now, &TimeZone::UTC).unwrap();
    let goal = engine.inner().goal(&query, now, Arc::new(matcher), true);
    let id = |block| BlockId { segment: segment.uid, size: segment.size_bytes(), block };
    assert_eq!(goal.starts_of_wider(id(0)).map(|it| it.len()), Some(2));
    assert_eq!(goal.starts_of_wider(id(2)), None, "too many to keep");
    assert_eq!(counted(&start(&engine, asks("slow late", 10))).counts.matched, 101);
}

#[test]
fn every_byte_of_a_giant_line_is_read_a_few_times_at_most() {
    const GIANT_BYTES: usize = 24 << 20;
    let before = "2027-01-15T08:00:00Z INFO first\n".repeat(20_000);
    for after in ["\n2027-01-15T08:00:01Z INFO last\n", "\nno time\n  more\n", "\nno time", "", "\n"] {
        let engine = Engine::new(TimeZone::UTC);
        let (_, segment) = source(&engine, "a");
        let text = [before.as_bytes(), &vec![b'x'; GIANT_BYTES], after.as_bytes()].concat();
        segment.append(&text, Timestamp::from_second(START).unwrap());
        engine.grew();
        let window = counted(&start(&engine, asks("needle", 50)));
        assert_eq!(window.counts.matched, 0);
        let read = segment.bytes_read.load(Ordering::Relaxed);
        assert!(
            read < 10 * text.len() as u64,
            "{} times the {} bytes before {after:?}",
            read / text.len() as u64,
            text.len()
        );
    }
}

/// A slow pass over what a file was, beside a view that has looked at what came since.
#[test]
fn what_was_counted_of_a_shorter_file_is_not_taken_for_its_block() {
    let engine = Engine::new(TimeZone::UTC);
    let (source, segment) = source(&engine, "a");
    let line = "2026-08-19T00:00:00Z INFO keep\n";
    let lines = BLOCK_BYTES as usize / line.len() - 100;
    segment.append(line.repeat(lines).as_bytes(), Timestamp::UNIX_EPOCH);
    let shorter = [source.snapshot()];
    segment.append(line.repeat(200).as_bytes(), Timestamp::UNIX_EPOCH);
    let longer = [source.snapshot()];
    let inner = engine.inner();
    inner.reader.stretch(&segment, longer[0].size_bytes(), BLOCK_BYTES / PAGE_BYTES, PAGE_BYTES).unwrap();
    let goal = inner.everything(false);
    let scan = Scan {
        reader: &inner.reader,
        goals: std::slice::from_ref(&goal),
        histogram: None,
        phase: 0,
        threads: 1,
        gate: None,
    };
    for (snapshots, expected) in [(&shorter, lines), (&longer, lines + 200)] {
        let tally = count(scan, snapshots, &|_| true).unwrap().advance(scan, snapshots);
        assert_eq!(tally.counts().matched, expected as u64);
    }
}

/// Two screens of different widths look at one log.
#[test]
fn what_a_view_with_longer_buckets_left_does_not_make_a_comb_of_shorter_ones() {
    let engine = Engine::new(TimeZone::UTC);
    let (source, segment) = source(&engine, "a");
    let at = |second: i64| Timestamp::from_second(START + second).unwrap();
    let append = |seconds: std::ops::Range<i64>| {
        let text: String = seconds.map(|it| format!("{} INFO steady\n", at(it))).collect();
        segment.append(text.as_bytes(), Timestamp::UNIX_EPOCH);
        [source.snapshot()]
    };
    let then = append(0..3_000);
    let now = append(3_000..3_600);
    let (inner, goal) = (engine.inner(), engine.inner().everything(true));
    let request = |buckets| HistogramRequest { from: Some(at(0)), until: Some(at(3_600)), buckets };
    let (fine, coarse) = (request(240), request(12));
    let scan = |histogram| Scan {
        reader: &inner.reader,
        goals: std::slice::from_ref(&goal),
        histogram: Some(histogram),
        phase: 0,
        threads: 1,
        gate: None,
    };
    let mut totals = count(scan(&fine), &then, &|_| true).unwrap();
    totals.advance(scan(&fine), &then);
    count(scan(&coarse), &now, &|_| true).unwrap().advance(scan(&coarse), &now);
    let histogram = totals.advance(scan(&fine), &now).histogram().unwrap();
    let most = histogram.buckets.iter().map(Bucket::total).max();
    assert_eq!(most, Some(histogram.bucket_seconds), "{:?}", histogram.buckets);
}
