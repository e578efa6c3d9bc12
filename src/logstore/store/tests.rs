//! Windows over a store against those over a file with the same records.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use crate::clock;
use crate::domain::ids::{HostId, SourceId};
use crate::domain::log::{
    Anchor, ChipCount, Cursor, Find, GapKind, Level, Position, Row, ViewId, Window, WindowRequest,
};
use crate::domain::query::Query;
use crate::domain::query::matcher::{Matcher, Subject};
use crate::logstore::engine::Engine;
use crate::logstore::format::Reading;
use crate::logstore::scan::tally::Tally;
use crate::logstore::scan::{Scan, count};
use crate::logstore::segment::lock;
use crate::logstore::source::Source;
use crate::logstore::store::reader::StoreReader;
use crate::logstore::store::{
    Aside, Ask, Asking, Entry, Page, Stop, Store, StoreBuckets, StoreCount, StoreError, tie_of,
};
use crate::logstore::tail::FileTail;
use crate::logstore::tests::{ask, start, texts};
use crate::logstore::walk::Direction;

/// A store in memory that keeps to the contract and to nothing more: few records at once, too many of them.
#[derive(Debug, Default)]
struct Shelf {
    entries: Mutex<Vec<Entry>>,
    asked: Mutex<HashMap<String, Matcher>>,
    /// Records of one answer.
    most: usize,
    /// Answers with records that were not asked for as well.
    is_vague: bool,
    pages: AtomicUsize,
    fails: Mutex<Option<String>>,
}

struct Line<'a>(&'a Entry);

impl Subject for Line<'_> {
    fn bytes(&self) -> &[u8] {
        &self.0.line
    }
    fn level(&self) -> Option<Level> {
        crate::logstore::level::of(&self.0.line, 20)
    }
    fn time(&self) -> Option<Timestamp> {
        Timestamp::from_nanosecond(i128::from(self.0.nanos)).ok()
    }
}

impl Store for Shelf {
    fn translate(&self, matcher: &Matcher) -> Asking {
        let text = format!("{matcher:?}");
        lock(&self.asked).insert(text.clone(), matcher.clone());
        Asking { text, is_exact: !self.is_vague, doubtful: None }
    }

    fn page(&self, ask: &Ask<'_>) -> Result<Page, StoreError> {
        self.pages.fetch_add(1, Ordering::Relaxed);
        if let Some(why) = lock(&self.fails).clone() {
            return Err(StoreError::Failed(why));
        }
        let matcher = lock(&self.asked)[&ask.asking.text].clone();
        let entries = lock(&self.entries);
        let passes = |it: &&Entry| (self.is_vague && it.tie.is_multiple_of(3)) || matcher.passes(&Line(it));
        let all: Vec<Entry> =
            entries.iter().filter(|it| ask.range.contains(&it.nanos)).filter(passes).cloned().collect();
        let limit = ask.limit.min(self.most);
        if all.len() <= limit {
            let reached = if ask.direction == Direction::Forward { ask.range.end } else { ask.range.start };
            return Ok(Page { entries: all, reached, gap: None });
        }
        // Whole instants only.
        Ok(match ask.direction {
            Direction::Forward => {
                let end = all[limit].nanos.max(all[0].nanos + 1);
                Page { entries: all.into_iter().filter(|it| it.nanos < end).collect(), reached: end, gap: None }
            }
            Direction::Backward => {
                let start = (all[all.len() - limit - 1].nanos + 1).min(all[all.len() - 1].nanos);
                Page { entries: all.into_iter().filter(|it| it.nanos >= start).collect(), reached: start, gap: None }
            }
        })
    }

    fn count(&self, ask: &Ask<'_>) -> Result<Option<StoreCount>, StoreError> {
        let matcher = lock(&self.asked)[&ask.asking.text].clone();
        let entries = lock(&self.entries);
        let matched = entries.iter().filter(|it| ask.range.contains(&it.nanos) && matcher.passes(&Line(it))).count();
        Ok(Some(StoreCount::all(matched as u64)))
    }

    fn histogram(&self, _: &Ask<'_>, _: u64) -> Result<Option<StoreBuckets>, StoreError> {
        Ok(None)
    }

    fn earliest(&self) -> i64 {
        0
    }

    fn newest(&self, _: &Stop) -> Result<u64, StoreError> {
        Ok(lock(&self.entries).len() as u64)
    }

    fn renew(&self) {}
}

fn request(query: &str, anchor: Anchor, (before, after): (u32, u32)) -> WindowRequest {
    WindowRequest { query: query.into(), ..WindowRequest::new(ViewId(1), 1, anchor, (before, after)) }
}

const SECOND: i64 = 1_000_000_000;
const START: i64 = 1_787_097_600;

fn line(second: i64, number: usize) -> String {
    let (level, word) = [("INFO", "ok"), ("ERROR", "timeout"), ("WARN", "slow"), ("INFO", "Timeout")][number % 4];
    let at = Timestamp::from_second(START + second).unwrap();
    format!("{at} {level} {word} n{number}.")
}

fn entry(second: i64, number: usize) -> Entry {
    let line = line(second, number).into_bytes();
    Entry { nanos: (START + second) * SECOND, tie: tie_of(&[&line]), line, aside: Aside::default() }
}

fn engine_of_store(shelf: &Arc<Shelf>, name: &str) -> (Engine, Arc<Source>) {
    let engine = Engine::new(TimeZone::UTC);
    let id = SourceId::new(&HostId::new("h"), name);
    let source =
        Arc::new(Source::of_store((id, name, name), shelf.clone(), TimeZone::UTC, Arc::new(Reading::default())));
    engine.add(source.clone());
    (engine, source)
}

fn engine_of_file(directory: &std::path::Path, text: &str) -> Engine {
    let engine = Engine::new(TimeZone::UTC);
    add_file(&engine, directory, "a", text);
    engine
}

fn add_file(engine: &Engine, directory: &std::path::Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    let source = Arc::new(Source::new(SourceId::new(&HostId::new("h"), name), name, name));
    engine.add(source.clone());
    FileTail::new(source, &path).look(Timestamp::from_second(START).unwrap(), clock::monotonic());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_window_of_a_store_is_that_of_a_file_with_the_same_records(
        steps in prop::collection::vec(0_i64..3, 1..60),
        most in 1_usize..12,
        is_vague: bool,
        query in prop::sample::select(vec![
            "", "timeout", "-timeout", "Timeout", "level>=warn", "/t[a-z]+t n\\d/", "timeout -n1", "nothing",
            "since:2026-08-19T00:00:12Z", "until:2026-08-19T00:00:20Z ok", "-level=info slow",
        ]),
        second in 0_i64..70,
        which in 0_usize..6,
        (before, after) in (0_u32..12, 1_u32..12),
        context in 0_u32..3,
    ) {
        let mut seconds = 0;
        let seconds: Vec<i64> = steps.iter().map(|it| { seconds += it; seconds }).collect();
        let shelf = Arc::new(Shelf { most, is_vague, ..Shelf::default() });
        *lock(&shelf.entries) = seconds.iter().enumerate().map(|(number, it)| entry(*it, number)).collect();
        let text: String = seconds.iter().enumerate().map(|(number, it)| line(*it, number) + "\n").collect();
        let directory = tempfile::tempdir().unwrap();
        let file = engine_of_file(directory.path(), &text);
        let (store, _) = engine_of_store(&shelf, "a");
        // A position is taken from an unfiltered window, as when a chip is added where somebody stands.
        let stand = |engine: &Engine| {
            let window = ask(engine, request("", Anchor::Head, (0, 100)));
            window.rows.unwrap().get(usize::try_from(second).unwrap() % steps.len()).and_then(Row::position).cloned()
        };
        let anchor = |engine: &Engine| match which {
            0 => Anchor::Tail,
            1 => Anchor::Head,
            2 => Anchor::Time(Timestamp::from_second(START + second).unwrap()),
            3 => Anchor::At(stand(engine).unwrap()),
            4 => Anchor::Find { from: stand(engine), backwards: true, find: Find::LevelAtLeast(Level::Error) },
            _ => Anchor::Find { from: stand(engine), backwards: false, find: Find::LevelAtLeast(Level::Warn) },
        };
        let window = |engine: &Engine| {
            ask(engine, WindowRequest { context, ..request(query, anchor(engine), (before, after)) })
        };
        let (from_file, from_store) = (window(&file), window(&store));
        let breaks = |it: &Window| -> Vec<String> {
            // Whether two neighbours touch is told by pages that were read; a break more is no lie.
            texts(it).into_iter().filter(|it| it != "--").collect()
        };
        prop_assert_eq!(breaks(&from_file), breaks(&from_store));
        if context == 0 {
            prop_assert_eq!(from_file.anchor_row, from_store.anchor_row);
        }
        prop_assert_eq!(&from_file.missing, &from_store.missing);
        prop_assert_eq!(from_file.counts.matched, from_store.counts.matched);
        prop_assert_eq!(from_file.counts.scanned, from_store.counts.scanned);
        if context == 0 {
            let all = texts(&ask(&file, request(query, Anchor::Head, (0, 100))));
            let shown = texts(&from_store);
            prop_assert!(!from_store.at_head || shown.first() == all.first());
            prop_assert!(!from_store.at_tail || shown.last() == all.last());
        }
    }
}

#[test]
fn a_store_and_a_file_are_merged_on_one_clock() {
    let shelf = Arc::new(Shelf { most: 5, ..Shelf::default() });
    *lock(&shelf.entries) = (0..50).map(|it| entry(2 * it, it as usize)).collect();
    let (engine, _) = engine_of_store(&shelf, "s");
    let directory = tempfile::tempdir().unwrap();
    let text: String = (0..50).map(|it| line(2 * it + 1, 1000 + it as usize) + "\n").collect();
    add_file(&engine, directory.path(), "f", &text);
    let window = ask(&engine, request("", Anchor::Tail, (20, 0)));
    let expected: Vec<String> = (80..100)
        .map(|second| line(second, if second % 2 == 0 { second / 2 } else { 1000 + second / 2 } as usize))
        .collect();
    assert_eq!(texts(&window), expected);
    assert_eq!((window.counts.matched, window.counts.scanned), (100, 100));
    // Somebody who stands on a record of the file sees the store's records around it.
    let position = window.rows.as_ref().unwrap()[3].position().unwrap().clone();
    let around = ask(&engine, request("", Anchor::At(position), (2, 3)));
    assert_eq!(texts(&around), expected[1..6]);
}

#[test]
fn only_the_window_is_asked_for() {
    let shelf = Arc::new(Shelf { most: 5000, ..Shelf::default() });
    *lock(&shelf.entries) = (0..5000).map(|it| entry(it, it as usize)).collect();
    let (engine, _) = engine_of_store(&shelf, "s");
    let window = ask(&engine, request("timeout", Anchor::Tail, (30, 0)));
    assert_eq!(window.rows.unwrap().len(), 30);
    assert_eq!(shelf.pages.load(Ordering::Relaxed), 1);
}

#[test]
fn a_followed_store_shows_what_comes_also_when_it_comes_late() {
    let shelf = Arc::new(Shelf { most: 5, ..Shelf::default() });
    *lock(&shelf.entries) = vec![entry(10, 1), entry(20, 2)];
    let (engine, source) = engine_of_store(&shelf, "s");
    let windows_rx = start(&engine, WindowRequest { follow: true, ..request("", Anchor::Tail, (10, 0)) });
    let until = |expected: &[String]| {
        while texts(&windows_rx.recv_timeout(Duration::from_secs(60)).expect("a window")) != expected {}
    };
    until(&[line(10, 1), line(20, 2)]);
    lock(&shelf.entries).extend([entry(20, 5), entry(30, 3)]);
    source.renewed();
    engine.grew();
    until(&[line(10, 1), line(20, 2), line(20, 5), line(30, 3)]);
    lock(&shelf.entries).insert(1, entry(15, 4));
    source.renewed();
    engine.grew();
    until(&[line(10, 1), line(15, 4), line(20, 2), line(20, 5), line(30, 3)]);
}

#[test]
fn a_store_that_fails_leaves_a_row_and_the_other_sources() {
    let shelf = Arc::new(Shelf { most: 5, ..Shelf::default() });
    *lock(&shelf.fails) = Some("the store is away".into());
    let (engine, _) = engine_of_store(&shelf, "s");
    let directory = tempfile::tempdir().unwrap();
    add_file(&engine, directory.path(), "f", "2026-08-19T00:00:00Z one\n");
    let windows_rx = start(&engine, request("", Anchor::Tail, (10, 0)));
    let mut window = windows_rx.recv_timeout(Duration::from_secs(60)).expect("a window");
    while texts(&window).len() < 2 {
        window = windows_rx.recv_timeout(Duration::from_secs(60)).expect("a window");
    }
    let rows = window.rows.unwrap();
    let failed =
        rows.iter().any(|it| matches!(it, Row::Gap(gap) if gap.kind == GapKind::Failed("the store is away".into())));
    assert!(failed && rows.iter().any(|it| matches!(it, Row::Record(_))), "{rows:?}");
}

#[test]
fn the_counts_of_chips_are_final_when_the_store_has_given_all_of_them() {
    let shelf = Arc::new(Shelf { most: 5, ..Shelf::default() });
    *lock(&shelf.entries) = (0..20).map(|it| entry(it, it as usize)).collect();
    let (engine, source) = engine_of_store(&shelf, "s");
    let inner = engine.inner();
    let query = Query::parse("timeout").unwrap();
    let matcher = Arc::new(Matcher::new(&query, Timestamp::UNIX_EPOCH, &TimeZone::UTC).unwrap());
    let goals = [inner.everything(false), inner.goal(&query, Timestamp::UNIX_EPOCH, matcher, false)];
    let scan = Scan { reader: &inner.reader, goals: &goals, histogram: None, phase: 0, threads: 1, gate: None };
    let snapshots = [source.snapshot()];
    let heard = Mutex::new(Vec::new());
    let progress = |tally: &Mutex<Tally>| {
        lock(&heard).extend(lock(tally).chip_counts(&[(0, 1)]));
        true
    };
    let mut totals = count(scan, &snapshots, &progress).expect("not cancelled");
    let chip = |matched, of, complete| ChipCount { matched, of, complete };
    assert_eq!(*lock(&heard), [chip(0, 20, false), chip(10, 20, false)]);
    assert_eq!(totals.advance(scan, &snapshots).chip_counts(&[(0, 1)]), [chip(10, 20, true)]);
}

/// A store that counts half of what it has, and says so.
#[derive(Debug)]
struct Half(Arc<Shelf>);

impl Store for Half {
    fn translate(&self, matcher: &Matcher) -> Asking {
        self.0.translate(matcher)
    }
    fn page(&self, ask: &Ask<'_>) -> Result<Page, StoreError> {
        self.0.page(ask)
    }
    fn count(&self, ask: &Ask<'_>) -> Result<Option<StoreCount>, StoreError> {
        self.0.pages.fetch_add(1, Ordering::Relaxed);
        Ok(self.0.count(ask)?.map(|it| StoreCount { matched: it.matched / 2, is_complete: false }))
    }
    fn histogram(&self, ask: &Ask<'_>, seconds: u64) -> Result<Option<StoreBuckets>, StoreError> {
        self.0.histogram(ask, seconds)
    }
    fn earliest(&self) -> i64 {
        0
    }
    fn newest(&self, stop: &Stop) -> Result<u64, StoreError> {
        self.0.newest(stop)
    }
    fn renew(&self) {}
}

#[test]
fn what_a_store_counts_in_part_is_no_complete_count_and_is_asked_for_again() {
    let shelf = Arc::new(Shelf { most: 5, ..Shelf::default() });
    *lock(&shelf.entries) = (0..20).map(|it| entry(it, it as usize)).collect();
    let reader = StoreReader::new(Arc::new(Half(shelf.clone())), TimeZone::UTC, Arc::new(Reading::default()));
    for asked in 1..3 {
        let counted = reader.count(&Matcher::default(), &Stop::default());
        assert_eq!(counted, Ok(StoreCount { matched: 10, is_complete: false }));
        assert_eq!(shelf.pages.load(Ordering::Relaxed), asked);
    }
}

#[test]
fn a_position_outlives_the_process() {
    let shelf = Arc::new(Shelf { most: 5, ..Shelf::default() });
    *lock(&shelf.entries) = (0..20).map(|it| entry(it / 4, it as usize)).collect();
    let (engine, _) = engine_of_store(&shelf, "s");
    let window = ask(&engine, request("", Anchor::Head, (0, 20)));
    let position: Position = window.rows.unwrap()[6].position().unwrap().clone();
    assert!(matches!(&position.cursor, Cursor::Store { tie, .. } if !tie.is_empty()));
    let (again, _) = engine_of_store(&shelf, "s");
    let window = ask(&again, request("", Anchor::At(position), (0, 3)));
    assert_eq!(texts(&window), [line(1, 6), line(1, 7), line(2, 8)]);
}
