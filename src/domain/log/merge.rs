//! The answers of several hosts to one request for log rows, as one answer.
//!
//! Each host has found the rows around the anchor in its own files. Here they are put in order by time, cut to what
//! all of them cover, and cut again to what was wanted; counts are summed. Nothing else of a file ever travels.

use jiff::Timestamp;

use crate::domain::log::{
    Anchor, Bucket, ChipCount, Counts, Histogram, MAX_BUCKETS, Position, Row, WindowRequest, bucket_lengths,
};

/// What one host has answered so far.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Its rows, in display order.
    pub rows: &'a [Row],
    /// Which of them is at the anchor.
    pub anchor_row: Option<usize>,
    /// It has nothing older.
    pub at_head: bool,
    /// It has nothing newer.
    pub at_tail: bool,
}

/// Rows of several hosts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Merged {
    /// In display order.
    pub rows: Vec<Row>,
    /// Which of them is at the anchor.
    pub anchor_row: Option<usize>,
    /// No host has anything older.
    pub at_head: bool,
    /// No host has anything newer.
    pub at_tail: bool,
    /// Parts that end where less than what was wanted is around the anchor: once they have answered with all that was
    /// wanted, whatever the others have is shown.
    pub narrow: Vec<usize>,
}

/// Puts the rows of several hosts in order. Of one time, the host named first is the older.
pub fn rows(request: &WindowRequest, parts: &[Part<'_>]) -> Merged {
    let is_tail = request.anchor == Anchor::Tail;
    let clocks = clocks(parts, is_tail);
    let order = order(parts, &clocks);
    let reaches_head = |it: &Part<'_>| it.at_head || request.anchor == Anchor::Head;
    let reaches_tail = |it: &Part<'_>| it.at_tail || is_tail;
    // Where a host's rows end before its file does, others may stand beside rows of it that did not come.
    let ends_of = |(index, part): (usize, &Part<'_>)| {
        let first = order.iter().position(|it| it.0 == index).filter(|_| !reaches_head(part));
        let last = order.iter().rposition(|it| it.0 == index).filter(|_| !reaches_tail(part));
        (first, last.map(|it| it + 1))
    };
    let ends: Vec<(Option<usize>, Option<usize>)> = parts.iter().enumerate().map(ends_of).collect();
    let low = ends.iter().filter_map(|it| it.0).max().unwrap_or(0);
    let high = ends.iter().filter_map(|it| it.1).min().unwrap_or(order.len());
    let row = |at: usize| -> &Row { &parts[order[at].0].rows[order[at].1] };
    let counts = |at: usize| matches!(row(at), Row::Record(record) if !record.context);
    let anchor = anchor(request, parts, &clocks, &order);
    let want = (request.before as usize, request.after as usize);
    // By part what it lacks of the rows up to an end that is its own. Rows that others are still to give only move it
    // further away, so that this is asked once.
    let lacks = |(first, last): (Option<usize>, Option<usize>), from: usize, before: usize, after: usize| {
        first.is_some_and(|first| back(from, first.min(from), before, counts).1 > 0)
            || last.is_some_and(|last| forth(from, last.max(from), after, counts).1 > 0)
    };
    let narrow = |from: usize, before: usize, after: usize| {
        let is_narrow = |it: &usize| lacks(ends[*it], from, before, after);
        (0..parts.len()).filter(is_narrow).collect::<Vec<usize>>()
    };
    let all = want.0 + want.1;
    let (start, end, narrow) = match (&request.anchor, anchor) {
        (Anchor::Tail, _) => (back(high, low, all, counts).0, high, narrow(order.len(), all, 0)),
        (Anchor::Head, _) => (low, forth(low, high, all, counts).0, narrow(0, 0, all)),
        (_, None) => (low, forth(low, high, all, counts).0, Vec::new()),
        (_, Some(anchor)) => {
            // A host that did not come so far leaves the anchor where it is.
            let (low, high) = (low.min(anchor), high.max(anchor + 1));
            let (_, lacking_after) = forth(anchor, high, want.1, counts);
            let (start, lacking_before) = back(anchor, low, want.0 + lacking_after, counts);
            let spare = lacking_before.min(want.0);
            let narrow = narrow(anchor, want.0 + lacking_after, want.1 + spare);
            (start, forth(anchor, high, want.1 + spare, counts).0, narrow)
        }
    };
    let mut merged = Merged {
        rows: Vec::with_capacity(end.saturating_sub(start)),
        anchor_row: None,
        at_head: start == 0 && parts.iter().all(reaches_head),
        at_tail: end == order.len() && parts.iter().all(reaches_tail),
        narrow,
    };
    for at in start..end {
        // Where rows of other hosts came between, two breaks may meet; one at an end says nothing.
        let is_idle = *row(at) == Row::Break && matches!(merged.rows.last(), None | Some(Row::Break));
        if is_idle {
            continue;
        }
        if anchor == Some(at) {
            merged.anchor_row = Some(merged.rows.len());
        }
        merged.rows.push(row(at).clone());
    }
    if merged.rows.last() == Some(&Row::Break) {
        merged.rows.pop();
    }
    merged
}

/// By part and row the time by which it is merged: its own, else that of the row before it in its part.
fn clocks(parts: &[Part<'_>], by_end: bool) -> Vec<Vec<Timestamp>> {
    let known: Vec<Vec<Option<Timestamp>>> = parts.iter().map(|it| filled(it.rows)).collect();
    // Where a host's lines have no times at all, they stand beside those of a host that has them.
    let guide = known.iter().find(|it| it.first().is_some_and(Option::is_some));
    let beside = |at: usize, count: usize| {
        let guide = guide?;
        let at = if by_end { (guide.len() + at).saturating_sub(count) } else { at };
        guide.get(at.min(guide.len() - 1)).copied().flatten()
    };
    let of_part = |known: &Vec<Option<Timestamp>>| {
        let clock = |(at, it): (usize, &Option<Timestamp>)| it.or_else(|| beside(at, known.len())).unwrap_or_default();
        known.iter().enumerate().map(clock).collect()
    };
    known.iter().map(of_part).collect()
}

fn filled(rows: &[Row]) -> Vec<Option<Timestamp>> {
    let mut clocks: Vec<Option<Timestamp>> =
        rows.iter().map(|it| it.position().and_then(|position| position.time)).collect();
    // A break belongs to what stands behind it.
    for at in (1..rows.len()).rev() {
        if rows[at - 1] == Row::Break {
            clocks[at - 1] = clocks[at];
        }
    }
    for at in 1..rows.len() {
        clocks[at] = clocks[at].or(clocks[at - 1]);
    }
    for at in (1..rows.len()).rev() {
        clocks[at - 1] = clocks[at - 1].or(clocks[at]);
    }
    clocks
}

/// Part and row of everything, by time. Rows of one part stay in their order, also where its clock was set back.
fn order(parts: &[Part<'_>], clocks: &[Vec<Timestamp>]) -> Vec<(usize, usize)> {
    let mut heads = vec![0; parts.len()];
    let count = parts.iter().map(|it| it.rows.len()).sum();
    let mut order = Vec::with_capacity(count);
    while order.len() < count {
        let open = (0..parts.len()).filter(|it| heads[*it] < parts[*it].rows.len());
        let Some(first) = open.min_by_key(|it| (clocks[*it][heads[*it]], *it)) else { break };
        order.push((first, heads[first]));
        heads[first] += 1;
    }
    order
}

/// The place in the order of the record at the anchor.
fn anchor(
    request: &WindowRequest,
    parts: &[Part<'_>],
    clocks: &[Vec<Timestamp>],
    order: &[(usize, usize)],
) -> Option<usize> {
    // What comes before the ends are known is shown, but it is not the answer yet.
    if !parts.iter().any(|it| it.anchor_row.is_some() || it.at_head || it.at_tail) {
        return None;
    }
    let is_record = |(part, row): &(usize, usize)| matches!(parts[*part].rows[*row], Row::Record(_));
    let from_time = |time: Timestamp| {
        let found = order.iter().position(|it| is_record(it) && clocks[it.0][it.1] >= time);
        found.or_else(|| order.iter().rposition(is_record))
    };
    let is_at = |position: &Position, row: &Row| {
        row.position().is_some_and(|it| it.source == position.source && it.cursor == position.cursor)
    };
    match &request.anchor {
        Anchor::Tail => None,
        Anchor::Head => order.iter().position(is_record),
        Anchor::Time(time) => from_time(*time),
        Anchor::At(position) | Anchor::Find { from: Some(position), .. } => {
            let exact = order.iter().position(|(part, row)| is_at(position, &parts[*part].rows[*row]));
            // Its own host knows the next one; without that, its time.
            let own = || {
                let is_own = |it: &Row| it.position().is_some_and(|it| it.source.host() == position.source.host());
                let part = parts.iter().position(|it| it.rows.first().is_some_and(is_own))?;
                let row = parts[part].anchor_row?;
                order.iter().position(|it| *it == (part, row))
            };
            exact.or_else(own).or_else(|| position.time.and_then(from_time))
        }
        Anchor::Find { from: None, .. } => order.iter().rposition(is_record),
    }
}

/// The time by which the row at a position is put in order, when it is among these rows of its host.
pub fn clock_of(rows: &[Row], position: &Position) -> Option<Timestamp> {
    let is_at = |it: &Position| it.source == position.source && it.cursor == position.cursor;
    let at = rows.iter().position(|it| it.position().is_some_and(is_at))?;
    filled(rows).get(at).copied().flatten()
}

/// The end behind `want` records from `from` on, and how many there were not.
fn forth(from: usize, high: usize, want: usize, counts: impl Fn(usize) -> bool) -> (usize, usize) {
    let mut left = want;
    for at in from..high {
        if counts(at) {
            if left == 0 {
                return (at, 0);
            }
            left -= 1;
        }
    }
    (high.max(from), left)
}

/// The start of the `want` records before `from`, and how many there were not.
fn back(from: usize, low: usize, want: usize, counts: impl Fn(usize) -> bool) -> (usize, usize) {
    let mut left = want;
    for at in (low..from).rev() {
        if counts(at) {
            if left == 0 {
                return (at + 1, 0);
            }
            left -= 1;
        }
    }
    (low.min(from), left)
}

/// Sums counts. They are complete when all hosts are there (`is_whole`) and have counted everything.
pub fn counts(parts: impl Iterator<Item = Counts>, is_whole: bool) -> Counts {
    let mut sum = Counts { complete: is_whole, ..Counts::default() };
    for it in parts {
        sum.matched += it.matched;
        sum.scanned += it.scanned;
        sum.scanned_bytes += it.scanned_bytes;
        sum.total_bytes += it.total_bytes;
        sum.complete &= it.complete;
    }
    sum
}

/// Sums what each chip leaves; nothing while no host has said it.
pub fn chip_counts<'a>(parts: impl Iterator<Item = &'a [ChipCount]>, is_whole: bool) -> Vec<ChipCount> {
    let mut sums: Vec<ChipCount> = Vec::new();
    let (mut is_whole, mut first) = (is_whole, true);
    for part in parts {
        is_whole &= !part.is_empty() && (first || part.len() == sums.len());
        first = false;
        sums.resize(sums.len().max(part.len()), ChipCount { complete: true, ..ChipCount::default() });
        for (sum, it) in sums.iter_mut().zip(part) {
            sum.matched += it.matched;
            sum.of += it.of;
            sum.complete &= it.complete;
        }
    }
    sums.iter_mut().for_each(|it| it.complete &= is_whole);
    sums
}

/// Lays counts by time on one grid with at most `wanted` buckets, none finer than a host's own.
pub fn histogram(parts: &[&Histogram], wanted: u16, is_whole: bool) -> Option<Histogram> {
    let spans = |it: &&Histogram| i64::try_from(it.bucket_seconds.max(1)).unwrap_or(i64::MAX);
    let with_buckets = || parts.iter().filter(|it| !it.buckets.is_empty());
    let coarsest = with_buckets().max_by_key(|it| it.bucket_seconds).or(parts.first())?;
    let end = |it: &&Histogram| it.from.as_second() + spans(it) * i64::try_from(it.buckets.len()).unwrap_or(0);
    let from = with_buckets().map(|it| it.from.as_second()).min().unwrap_or_else(|| coarsest.from.as_second());
    let until = with_buckets().map(end).max().unwrap_or(from);
    let wanted = i64::from(wanted.clamp(1, MAX_BUCKETS));
    let least = spans(coarsest);
    // Buckets begin where those of the coarsest host do.
    let phase = coarsest.from.as_second().rem_euclid(least);
    let start = |length: i64| phase + (from - phase).div_euclid(length) * length;
    let count = |length: i64| (until - start(length) + length - 1).div_euclid(length).max(0);
    let length = bucket_lengths().find(|it| *it >= least && count(*it) <= wanted).unwrap_or(least);
    let start = start(length);
    let buckets = usize::try_from(count(length).min(i64::from(MAX_BUCKETS))).unwrap_or(0);
    let mut merged = Histogram {
        from: Timestamp::from_second(start).unwrap_or(coarsest.from),
        bucket_seconds: u64::try_from(length).unwrap_or(1),
        buckets: vec![Bucket::default(); buckets],
        scanned_bytes: parts.iter().map(|it| it.scanned_bytes).sum(),
        total_bytes: parts.iter().map(|it| it.total_bytes).sum(),
        complete: is_whole && parts.iter().all(|it| it.complete),
    };
    for part in parts {
        for (number, bucket) in (0..).zip(&part.buckets) {
            let at = (part.from.as_second() + number * spans(part) - start).div_euclid(length);
            if let Some(sum) = usize::try_from(at).ok().and_then(|at| merged.buckets.get_mut(at)) {
                sum.by_level.iter_mut().zip(bucket.by_level).for_each(|(sum, it)| *sum += it);
            }
        }
    }
    Some(merged)
}

#[cfg(test)]
mod tests;
