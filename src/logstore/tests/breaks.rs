//! Records that begin where no line tells: lines of two pipes in one segment.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use crate::domain::query::Query;
use crate::domain::query::matcher::Matcher;
use crate::logstore::block::reader::BlockReader;
use crate::logstore::block::{BLOCK_BYTES, PAGE_BYTES};
use crate::logstore::record::split_at;
use crate::logstore::segment::Segment;
use crate::logstore::summary::{Collector, Detail};

const LINES: [&str; 5] = [
    "2026-08-19T00:00:00Z ERROR boom\n",
    "\tat shop.Cart(Cart.java:7) timeout\n",
    "plain timeout\n",
    "Caused by: x\n",
    "}\n",
];

/// A segment of runs of lines: which line, how often, and whether another pipe begins with it.
fn segment(runs: &[(usize, usize, bool)]) -> Segment {
    let segment = Segment::memory(1);
    for (line, times, breaks) in runs {
        if *breaks {
            assert!(segment.begin_record());
        }
        segment.append(LINES[*line].repeat(*times).as_bytes(), Timestamp::UNIX_EPOCH);
    }
    segment
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn wherever_reading_begins_the_records_are_those_of_the_whole(
        runs in prop::collection::vec((0..LINES.len(), 1..900_usize, any::<bool>()), 1..24),
    ) {
        let segment = segment(&runs);
        let size = segment.size_bytes();
        let text = segment.read(0, size).unwrap();
        let breaks = segment.breaks_in(0..size);
        let reader = BlockReader::new(TimeZone::UTC);
        let all = split_at(&breaks, &text, 0, &mut segment.reading.stamp_reader(&TimeZone::UTC, Timestamp::UNIX_EPOCH));
        let expected: Vec<u64> = all.iter().map(|it| u64::from(it.start)).collect();
        for at in &breaks {
            prop_assert!(expected.contains(&u64::from(*at)), "none at {at}");
        }
        // Backward, so that nothing is known of what stands before.
        let mut found = Vec::new();
        for page in (0..size.div_ceil(PAGE_BYTES)).rev() {
            let block = reader.stretch(&segment, size, page, PAGE_BYTES).unwrap();
            found.extend(block.spans().iter().rev().map(|it| block.base + u64::from(it.start)));
        }
        found.reverse();
        prop_assert_eq!(&found, &expected);
        for text_of in ["timeout", "boom -timeout", ""] {
            let matcher = Matcher::new(&Query::parse(text_of).unwrap(), Timestamp::UNIX_EPOCH, &TimeZone::UTC).unwrap();
            let has = |it: &[u8], word: &[u8]| memchr::memmem::find(it, word).is_some();
            let passes = |it: &&crate::logstore::record::Span| {
                let bytes = &text[it.start as usize..it.end as usize];
                match text_of {
                    "timeout" => has(bytes, b"timeout"),
                    "" => true,
                    _ => has(bytes, b"boom") && !has(bytes, b"timeout"),
                }
            };
            let expected = all.iter().filter(passes).count();
            for detail in [Detail::Count, Detail::Groups { phase: 0, stripe: None }] {
                let (mut records, mut collector) = (0, Collector::default());
                for block in 0..size.div_ceil(BLOCK_BYTES) {
                    let block = reader.block_once(&segment, size, block, Vec::new()).unwrap();
                    let arrival = |_| Timestamp::UNIX_EPOCH;
                    records += block.summarise(&matcher, detail, &arrival, &mut collector).records as usize;
                }
                prop_assert_eq!(records, expected, "{} {:?}", text_of, detail);
            }
        }
    }
}

#[test]
fn a_segment_knows_only_so_many_such_places_and_one_at_its_start_is_none() {
    let segment = Arc::new(Segment::memory(1));
    assert!(segment.begin_record());
    assert!(segment.breaks_in(0..1).is_empty());
    let mut count = 0;
    loop {
        segment.append(b"x\n", Timestamp::UNIX_EPOCH);
        if !segment.begin_record() {
            break;
        }
        count += 1;
    }
    assert_eq!(count, 1 << 16);
    assert_eq!(segment.breaks_in(3..7), [1, 3]);
    assert_eq!((segment.break_before(7), segment.break_before(1), segment.is_break(6)), (6, 0, true));
}
