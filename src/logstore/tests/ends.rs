//! Walks that end before their source does: at the end of a range, and where something panics.

use std::cell::Cell;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::tz::TimeZone;

use super::{Bench, numbered, request};
use crate::clock;
use crate::domain::ids::{HostId, SourceId};
use crate::domain::log::{Anchor, GapKind, Position, Row};
use crate::domain::query::Query;
use crate::domain::query::matcher::Matcher;
use crate::logstore::block::PAGE_BYTES;
use crate::logstore::merge::{Help, Merge};
use crate::logstore::range::{self, Passed, Range};
use crate::logstore::walk::{Direction, Ground, Item, Place, Step, Walk};

/// Records of a range that pass, and how often the pass asked whether to go on: after every block at least.
fn pass(bench: &Bench, query: &str, range: &Range) -> (usize, usize) {
    let matcher = Matcher::new(&Query::parse(query).unwrap(), clock::now(), &TimeZone::UTC).unwrap();
    let (asked, mut records) = (Cell::new(0), 0);
    let go_on = || {
        asked.set(asked.get() + 1);
        true
    };
    let passed = range::each(&bench.engine, &matcher, range, &go_on, &mut |_, row| {
        records += usize::from(matches!(row, Row::Record(_)));
        Ok(())
    });
    assert_eq!(passed.unwrap(), Passed::Whole);
    (records, asked.get())
}

#[test]
fn a_range_is_not_read_behind_its_last_record_even_if_that_does_not_pass_or_is_gone() {
    let mut bench = Bench::with("a.log", (numbered(60_000).join("\n") + "\n").as_bytes());
    fs::write(bench.path("b.log"), "2026-08-19T00:00:05Z INFO last\n").unwrap();
    bench.open("b.log");
    let window = bench.ask(request("source:b.log", Anchor::Head, 0, 1));
    let last = window.rows.unwrap()[0].position().unwrap().clone();
    let gone = Position { source: SourceId::new(&HostId::new("h"), "gone.log"), ..last.clone() };
    let until = |it: &Position| Range { until: Some(it.clone()), ..Range::default() };
    let muted = Range { muted: vec![last.source.clone()], ..until(&last) };
    assert!(pass(&bench, "nothing-like-it", &Range::default()).1 > 8, "the file has several blocks");
    for (name, range, records) in [("there", until(&last), 7), ("muted", muted, 6), ("gone", until(&gone), 7)] {
        assert_eq!(pass(&bench, "", &range).0, records, "{name}");
        let (found, asked) = pass(&bench, "nothing-like-it", &range);
        assert!(found == 0 && asked < 6, "{name}: {asked}");
    }
}

#[test]
fn a_walk_that_panics_ends_with_a_gap_and_the_others_go_on() {
    let mut bench = Bench::new();
    for at in 0..4 {
        let name = format!("{at}.log");
        fs::write(bench.path(&name), format!("2026-08-19T00:00:0{at}Z INFO n{at}\n")).unwrap();
        bench.open(&name);
    }
    let (matcher, inner) = (Matcher::default(), bench.engine.inner());
    let snapshots = inner.snapshots(&[], &matcher);
    let ground = Ground { reader: &inner.reader, matcher: &matcher, known: None, unit: PAGE_BYTES };
    let walk = |(index, it)| Walk::new(ground, it, index, Place::START, Direction::Forward);
    let walks = snapshots.iter().enumerate().map(walk).collect();
    let is_first = AtomicBool::new(true);
    let stop = || {
        assert!(!is_first.swap(false, Ordering::Relaxed), "a test that panics on purpose");
        false
    };
    let mut merge = Merge::new(walks, Direction::Forward).with_help(Help { threads: 2, stop: &stop });
    let (mut records, mut gaps) = (0, 0);
    for _ in 0..100 {
        match merge.step() {
            Step::Item(placed) => match placed.item {
                Item::Record(_) => records += 1,
                Item::Gap { mark, .. } => {
                    assert!(matches!(&mark.kind, GapKind::Failed(why) if why.contains("mistake")), "{mark:?}");
                    gaps += 1;
                }
            },
            Step::Pending => {}
            Step::End => {
                assert_eq!((records, gaps), (3, 1));
                return;
            }
        }
    }
    panic!("the walk is stepped for ever");
}
