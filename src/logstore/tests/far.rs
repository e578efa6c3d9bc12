//! Matches far apart, in several sources of several blocks: what is printed, and pages there and back.

use std::fs;
use std::io;

use jiff::tz::TimeZone;

use super::{Bench, request, shown, start, texts};
use crate::clock;
use crate::domain::log::{Anchor, Row, WindowRequest};
use crate::domain::query::Query;
use crate::domain::query::matcher::Matcher;
use crate::logstore::present::is_plain;
use crate::logstore::stream::{Hold, Met, Stream, Take};
use crate::logstore::walk::stretches::Run;

/// Records of each source; one in two hundred has a trace, one in nine hundred is a `needle`.
const RECORDS: usize = 24_000;
const SOURCES: [&str; 3] = ["a", "b", "c"];

/// Records of all sources in their order, three sources within each second.
fn bench() -> (Bench, Vec<String>) {
    let mut bench = Bench::new();
    let record = |source: usize, it: usize| {
        let word = if (it + source * 300) % 900 == 450 { "needle" } else { "ok" };
        let trace = if it % 200 == 50 { "\n\tat trace.X" } else { "" };
        let (hour, minute, second) = (it / 3600, it / 60 % 60, it % 60);
        format!(
            "2026-08-19T{hour:02}:{minute:02}:{second:02}.{source}Z INFO {word} {} n{it} of a long line{trace}",
            SOURCES[source]
        )
    };
    for (source, name) in SOURCES.into_iter().enumerate() {
        let text: String = (0..RECORDS).map(|it| record(source, it) + "\n").collect();
        fs::write(bench.path(name), text).unwrap();
        bench.open(name);
    }
    let all = (0..RECORDS).flat_map(|it| (0..SOURCES.len()).map(move |source| (source, it)));
    (bench, all.map(|(source, it)| record(source, it)).collect())
}

#[test]
fn what_is_printed_of_much_is_what_a_naive_filter_finds() {
    let (bench, all) = bench();
    for (query, word) in
        [("needle", "needle"), ("trace.X", "trace.X"), ("n12345", "n12345"), ("/INFO.* n1\\d* of/", "")]
    {
        let matcher = Matcher::new(&Query::parse(query).unwrap(), clock::now(), &TimeZone::UTC).unwrap();
        let passes = |it: &&String| if word.is_empty() { it.contains(" n1") } else { it.contains(word) };
        let expected: Vec<String> = all.iter().filter(passes).map(|it| format!("{it}\n")).collect();
        let mut stream = Stream::new(&bench.engine, matcher, 0);
        let mut met = Vec::new();
        let take = &mut |it: &crate::logstore::stream::Met<'_>| {
            // Both ways to print it say the same.
            let Row::Record(record) = it.presenter.row(&it.placed, false) else { panic!("a gap") };
            let text = String::from_utf8_lossy(it.bytes()).into_owned();
            assert_eq!(record.lines.join("|"), shown(text.trim_end()));
            assert_eq!(record.length_bytes, text.len() as u64);
            met.push(text);
            Ok(())
        };
        stream.advance(Hold::Nothing, take).unwrap();
        assert!(!met.is_empty());
        assert_eq!(met, expected, "{query}");
    }
}

#[test]
fn pages_there_and_back_hold_the_same_rare_matches() {
    let (bench, all) = bench();
    let expected: Vec<String> = all.iter().filter(|it| it.contains("needle")).map(|it| shown(it)).collect();
    // Nothing is counted, so that what is known of blocks comes from the pages before.
    let ask = |request: WindowRequest| {
        let windows = start(&bench.engine, request);
        windows.iter().filter(|it| it.rows.is_some()).last().expect("rows")
    };
    let mut window = ask(request("needle", Anchor::Tail, 7, 0));
    let mut met = texts(&window);
    while !window.at_head {
        let first = window.rows.as_ref().unwrap()[0].position().unwrap().clone();
        window = ask(request("needle", Anchor::At(first), 7, 0));
        // What one side lacks is taken from the other.
        let page: Vec<String> = texts(&window).into_iter().take_while(|it| *it != met[0]).collect();
        met.splice(0..0, page);
    }
    assert_eq!(met, expected);
    let mut window = ask(request("needle", Anchor::Head, 0, 7));
    let mut met = texts(&window);
    while !window.at_tail {
        let last = window.rows.as_ref().unwrap().last().unwrap().position().unwrap().clone();
        window = ask(request("needle", Anchor::At(last), 0, 8));
        let page = texts(&window);
        let known = page.iter().position(|it| Some(it) == met.last()).expect("the anchor");
        met.extend_from_slice(&page[known + 1..]);
    }
    assert_eq!(met, expected);
}

/// Takes what comes in runs as well, and counts the runs.
#[derive(Default)]
struct InRuns {
    bytes: Vec<u8>,
    records: u64,
    runs: usize,
}

impl Take for InRuns {
    fn met(&mut self, met: &Met<'_>) -> io::Result<()> {
        self.bytes.extend_from_slice(met.bytes());
        self.records += u64::from(!met.bytes().is_empty());
        Ok(())
    }

    fn takes_runs(&self) -> bool {
        true
    }

    fn run(&mut self, run: &Run) -> io::Result<()> {
        assert!(is_plain(run.bytes()) || run.records > 1, "{:?}", String::from_utf8_lossy(run.bytes()));
        self.bytes.extend_from_slice(run.bytes());
        self.records += run.records;
        self.runs += 1;
        Ok(())
    }
}

#[test]
fn what_is_met_in_runs_is_what_is_met_one_by_one() {
    let line = |it: usize| match it % 97 {
        13 => format!("2026-08-19T00:00:00Z ERROR boom {it}\n\tat trace.X\n\tat trace.Y\n"),
        29 => format!("2026-08-19T00:00:00Z INFO größer {it}\n"),
        31 => format!("2026-08-19T00:00:00Z INFO \x1b[31mred\x1b[0m {it}\n"),
        47 => format!("no time {it}\nCaused by: x\n"),
        71 if it > 20_000 => format!("2026-08-19T00:00:00Z INFO {} {it}\n", "long ".repeat(5_000)),
        _ => format!("2026-08-19T00:00:00Z {} what is said of it {it}\n", ["INFO", "WARN"][it % 2]),
    };
    let all: String = (0..24_000).map(line).collect::<String>() + "2026-08-19T00:00:00Z INFO without an end";
    let plain: String = (0..24_000).filter(|it| it % 97 == 0).map(line).collect::<String>().repeat(60);
    for (text, query, has_runs) in [
        (&all, "", true),
        (&all, "/INFO/", false),
        (&all, "/trace.Y|24/", false),
        (&all, "level>=warn", false),
        (&all, "red", false),
        (&plain, "", true),
        (&plain, "WARN", true),
    ] {
        let bench = Bench::with("a", text.as_bytes());
        let matcher = Matcher::new(&Query::parse(query).unwrap(), clock::now(), &TimeZone::UTC).unwrap();
        let (mut one_by_one, mut records) = (Vec::new(), 0);
        let mut take = |met: &Met<'_>| {
            one_by_one.extend_from_slice(met.bytes());
            records += u64::from(!met.bytes().is_empty());
            Ok(())
        };
        Stream::new(&bench.engine, matcher.clone(), 0).advance(Hold::Nothing, &mut take).unwrap();
        let mut in_runs = InRuns::default();
        Stream::new(&bench.engine, matcher, 0).advance(Hold::Nothing, &mut in_runs).unwrap();
        assert_eq!((in_runs.records, in_runs.bytes.len()), (records, one_by_one.len()), "`{query}`");
        assert!(in_runs.bytes == one_by_one, "`{query}`");
        assert!(!has_runs || (in_runs.runs as u64) < records / 10, "`{query}`: {} of {records}", in_runs.runs);
    }
}
