//! What is merged of the windows of several hosts is the window of one that has all their lines.

use proptest::prelude::*;

use super::*;
use crate::domain::ids::{HostId, SourceId};
use crate::domain::log::{Cursor, Gap, GapKind, Record, ViewId};

/// A record of a host; its time is its number, so that no two hosts have the same.
fn record(host: usize, second: i64) -> Row {
    let source = SourceId::new(&HostId::new(&format!("h{host}")), "app");
    let cursor = Cursor::Store { nanos: second, tie: String::new() };
    let position = Position { time: Timestamp::from_second(second).ok(), source, cursor };
    Row::Record(Record::new(position, vec![format!("h{host} {second}")]))
}

fn second_of(row: &Row) -> i64 {
    row.position().and_then(|it| it.time).map_or(0, Timestamp::as_second)
}

/// The window of an engine that has these rows, as the log engine builds it.
fn answer(rows: &[Row], request: &WindowRequest) -> Merged {
    let want = (request.before as usize, request.after as usize);
    let (start, end, anchor) = match &request.anchor {
        Anchor::Tail => (rows.len().saturating_sub(want.0 + want.1), rows.len(), None),
        Anchor::Head => (0, rows.len().min(want.0 + want.1), (!rows.is_empty()).then_some(0)),
        Anchor::Time(time) | Anchor::At(Position { time: Some(time), .. }) => {
            let at = rows.partition_point(|it| second_of(it) < time.as_second());
            let (older, newer) = (at, rows.len() - at);
            let lacking = (want.1.saturating_sub(newer), want.0.saturating_sub(older));
            let start = at.saturating_sub(want.0 + lacking.0);
            let end = rows.len().min(at + want.1 + lacking.1);
            (start, end, if at < rows.len() { Some(at - start) } else { rows.len().checked_sub(start + 1) })
        }
        _ => unreachable!("not asked for here"),
    };
    Merged {
        rows: rows[start..end].to_vec(),
        anchor_row: anchor.filter(|_| !rows.is_empty()),
        at_head: start == 0,
        at_tail: end == rows.len(),
        narrow: Vec::new(),
    }
}

fn part(it: &Merged) -> Part<'_> {
    Part { rows: &it.rows, anchor_row: it.anchor_row, at_head: it.at_head, at_tail: it.at_tail }
}

fn request(anchor: Anchor, around: (u32, u32)) -> WindowRequest {
    WindowRequest::new(ViewId(1), 1, anchor, around)
}

proptest! {
    #[test]
    fn hosts_together_answer_like_one_that_has_all_their_lines(
        hosts in proptest::collection::vec(proptest::collection::vec(0_i64..400, 0..60), 1..11),
        kind in 0..4,
        at in 0_i64..4000,
        around in (0_u32..20, 1_u32..20),
        share in (0_u32..20, 1_u32..20),
    ) {
        let count = hosts.len() as i64;
        let lines: Vec<Vec<Row>> = hosts.iter().enumerate().map(|(host, seconds)| {
            let mut seconds: Vec<i64> = seconds.iter().map(|it| it * count + host as i64).collect();
            seconds.sort_unstable();
            seconds.dedup();
            seconds.into_iter().map(|it| record(host, it)).collect()
        }).collect();
        let mut all: Vec<Row> = lines.iter().flatten().cloned().collect();
        all.sort_by_key(second_of);
        let anchor = match kind {
            0 => Anchor::Tail,
            1 => Anchor::Head,
            2 => Anchor::Time(Timestamp::from_second(at).expect("a time")),
            _ => match all.get(at as usize % all.len().max(1)) {
                Some(Row::Record(record)) => Anchor::At(record.position.clone()),
                _ => Anchor::Tail,
            },
        };
        let request = request(anchor, around);
        let answers: Vec<Merged> = lines.iter().map(|it| answer(it, &request)).collect();
        let merged = rows(&request, &answers.iter().map(part).collect::<Vec<_>>());
        prop_assert_eq!(&merged, &answer(&all, &request));

        // Asked for a share first, and once more for all where that was too little, they give the same.
        let shares = WindowRequest {
            before: share.0.min(request.before),
            after: share.1.min(request.after),
            ..request.clone()
        };
        let mut answers: Vec<Merged> = lines.iter().map(|it| answer(it, &shares)).collect();
        let narrow = rows(&request, &answers.iter().map(part).collect::<Vec<_>>()).narrow;
        for it in narrow {
            answers[it] = answer(&lines[it], &request);
        }
        prop_assert_eq!(rows(&request, &answers.iter().map(part).collect::<Vec<_>>()), merged);
    }

    #[test]
    fn counts_by_time_are_all_there_on_one_grid(
        parts in proptest::collection::vec((0_i64..100_000, 0_usize..5, proptest::collection::vec(0_u32..9, 0..50)), 1..11),
        wanted in 1_u16..200,
    ) {
        let lengths: Vec<i64> = bucket_lengths().take(5).collect();
        let parts: Vec<Histogram> = parts.into_iter().map(|(from, length, counts)| {
            let length = lengths[length];
            let bucket = |it| Bucket { by_level: [it, 0, 0, 0, 0, 0, 1] };
            Histogram {
                from: Timestamp::from_second(from.div_euclid(length) * length).expect("a time"),
                bucket_seconds: length as u64,
                buckets: counts.into_iter().map(bucket).collect(),
                scanned_bytes: 1,
                total_bytes: 2,
                complete: true,
            }
        }).collect();
        let merged = histogram(&parts.iter().collect::<Vec<_>>(), wanted, true).expect("some");
        let sum = |it: &Histogram| it.buckets.iter().map(Bucket::total).sum::<u64>();
        prop_assert_eq!(sum(&merged), parts.iter().map(sum).sum::<u64>());
        prop_assert!(merged.buckets.len() <= usize::from(wanted));
        prop_assert!(bucket_lengths().any(|it| it as u64 == merged.bucket_seconds));
        prop_assert!(merged.complete);
    }
}

#[test]
fn a_host_whose_rows_end_early_ends_the_window_there() {
    let busy = answer(&(0..100).map(|it| record(0, 1000 + it)).collect::<Vec<_>>(), &request(Anchor::Tail, (10, 0)));
    let quiet = answer(&(0..100).map(|it| record(1, it * 50)).collect::<Vec<_>>(), &request(Anchor::Tail, (10, 0)));
    let merged = rows(&request(Anchor::Tail, (10, 0)), &[part(&busy), part(&quiet)]);
    let seconds: Vec<i64> = merged.rows.iter().map(second_of).collect();
    assert_eq!(seconds, [4500, 4550, 4600, 4650, 4700, 4750, 4800, 4850, 4900, 4950]);
    assert!(merged.at_tail && !merged.at_head);
}

#[test]
fn lines_of_one_time_stand_in_the_order_of_the_hosts_and_gaps_where_their_host_has_them() {
    let position = |host: usize| match record(host, 0) {
        Row::Record(it) => Position { time: None, ..it.position },
        _ => unreachable!("a record"),
    };
    let gap = |host| Row::Gap(Gap { position: position(host), kind: GapKind::Rotated });
    let (first, second) =
        ([record(0, 5), gap(0), record(0, 6)], [record(1, 5), record(1, 6), Row::Break, record(1, 7)]);
    let whole = |rows| Part { rows, anchor_row: None, at_head: true, at_tail: true };
    let merged = rows(&request(Anchor::Tail, (10, 0)), &[whole(&first), whole(&second)]);
    let words = |it: &Row| match it {
        Row::Record(it) => it.lines[0].clone(),
        Row::Gap(it) => format!("gap of {}", it.position.source.host()),
        Row::Break => "--".into(),
    };
    let words: Vec<String> = merged.rows.iter().map(words).collect();
    assert_eq!(words, ["h0 5", "gap of h0", "h1 5", "h0 6", "h1 6", "--", "h1 7"]);
}

#[test]
fn counts_are_complete_only_when_all_hosts_have_counted_all() {
    let counted = |complete| Counts { matched: 2, scanned: 10, scanned_bytes: 100, total_bytes: 100, complete };
    let sum = counts([counted(true), counted(true)].into_iter(), true);
    assert_eq!((sum.matched, sum.scanned, sum.total_bytes, sum.complete), (4, 20, 200, true));
    assert!(!counts([counted(true), counted(false)].into_iter(), true).complete);
    assert!(!counts([counted(true)].into_iter(), false).complete, "a host is missing");
    let chip = |matched, complete| ChipCount { matched, of: 10, complete };
    let (first, second) = ([chip(3, true), chip(1, true)], [chip(4, true), chip(2, false)]);
    let sums = chip_counts([&first[..], &second[..]].into_iter(), true);
    assert_eq!(
        sums,
        [ChipCount { matched: 7, of: 20, complete: true }, ChipCount { matched: 3, of: 20, complete: false }]
    );
    assert!(!chip_counts([&first[..], &[]].into_iter(), true)[0].complete, "one has not said it yet");
}
