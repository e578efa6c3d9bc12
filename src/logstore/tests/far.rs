//! Matches far apart, in several sources of several blocks: what is printed, and pages there and back.

use std::fs;

use jiff::tz::TimeZone;

use super::{Bench, request, shown, start, texts};
use crate::clock;
use crate::domain::log::{Anchor, Row, WindowRequest};
use crate::domain::query::Query;
use crate::domain::query::matcher::Matcher;
use crate::logstore::stream::{Hold, Stream};

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
