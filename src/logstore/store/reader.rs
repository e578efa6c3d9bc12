//! Reads the pages of one store, keeps the last ones, and gives every record a place.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use jiff::tz::TimeZone;

use crate::domain::log::GapKind;
use crate::domain::query::matcher::Matcher;
use crate::logstore::block::Block;
use crate::logstore::format::Reading;
use crate::logstore::segment::lock;
use crate::logstore::store::{Ask, Asking, Entry, MAX_PAGE_RECORDS, Stop, Store, StoreCount, StoreError};
use crate::logstore::summary::{Buckets, Collector};
use crate::logstore::walk::{Direction, Place};

/// Pages kept after use: scrolling back and forth does not ask again.
const MAX_KEPT_PAGES: usize = 64;
/// Bytes of kept pages: what the block cache takes for files.
const MAX_KEPT_BYTES: usize = 16 << 20;
/// Counts kept until the store has something new: one for each chip of a long query.
const MAX_KEPT_COUNTS: usize = 32;
/// Records whose order within their instant is remembered, some 5 MB, and those of one page more. Forgetting them all
/// can only mix up records of one instant.
const MAX_KNOWN_RECORDS: usize = 100_000;
/// Records looked through to count where the store can not: ten pages.
const MAX_COUNTED_RECORDS: u64 = 20_000;
/// Bits of a place that order the records of one instant.
const LABEL_BITS: u32 = 34;
/// The place of the first record of an instant that was met: room on both sides.
const MIDDLE: u64 = 1 << (LABEL_BITS - 1);
const NANOS_PER_SECOND: i64 = 1_000_000_000;

impl Place {
    /// Behind everything in a store.
    pub const STORE_END: Self = Self { part: usize::MAX, offset: u64::MAX };

    /// Before all records of an instant in a store. Times before 1970 count as 1970.
    pub fn of_instant(nanos: i64) -> Self {
        Self::of_record(nanos, 0)
    }

    fn of_record(nanos: i64, label: u64) -> Self {
        let nanos = nanos.max(0);
        // Seconds fit where an index is 32 bits wide, up to the year 2106.
        let part = usize::try_from(nanos / NANOS_PER_SECOND).unwrap_or(usize::MAX);
        Self { part, offset: ((nanos % NANOS_PER_SECOND).unsigned_abs() << LABEL_BITS) | label }
    }

    /// The instant of a place in a store, in nanoseconds.
    pub fn instant(self) -> i64 {
        let seconds = i64::try_from(self.part).unwrap_or(i64::MAX);
        let nanos = i64::try_from(self.offset >> LABEL_BITS).unwrap_or(0);
        seconds.saturating_mul(NANOS_PER_SECOND).saturating_add(nanos)
    }

    /// Stands before all records of its instant.
    pub fn is_before_instant(self) -> bool {
        self.offset & ((1 << LABEL_BITS) - 1) == 0
    }

    fn label(self) -> u64 {
        self.offset & ((1 << LABEL_BITS) - 1)
    }
}

/// Records of a store with their places.
#[derive(Debug)]
pub struct Leaf {
    /// The nanoseconds that it covers: a record of the query that is not in it is not there.
    pub range: Range<i64>,
    /// The records, each one span.
    pub block: Arc<Block>,
    /// Their places.
    pub places: Vec<Place>,
    /// What the server kept back.
    pub gap: Option<GapKind>,
}

/// Reads one store.
#[derive(Debug)]
pub struct StoreReader {
    store: Arc<dyn Store>,
    zone: TimeZone,
    reading: Arc<Reading>,
    kept: Mutex<Kept>,
    order: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Kept {
    leaves: VecDeque<(String, Arc<Leaf>)>,
    counts: VecDeque<((String, Range<i64>), StoreCount)>,
    /// Counts the renewals: what was asked for before one is not kept after it.
    renewals: u64,
}

/// What was met, by instant.
#[derive(Debug, Default)]
struct Known {
    instants: HashMap<i64, Order>,
    /// Of all instants.
    records: usize,
}

/// The records of one instant that were met, in the store's order.
#[derive(Debug)]
enum Order {
    /// One, in the middle.
    One(u64),
    /// Several: tie and label.
    Many(Vec<(u64, u64)>),
}

impl StoreReader {
    /// Reads a store; times in its records that have no zone are read in `zone`.
    pub fn new(store: Arc<dyn Store>, zone: TimeZone, reading: Arc<Reading>) -> Self {
        Self { store, zone, reading, kept: Mutex::default(), order: Mutex::default() }
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Forgets what was read: the store has something new.
    pub fn renew(&self) {
        let mut kept = lock(&self.kept);
        kept.leaves.clear();
        kept.counts.clear();
        kept.renewals += 1;
        drop(kept);
        self.store.renew();
    }

    /// Records next to a nanosecond: forward those from `range.start` on, backward those before `range.end`.
    ///
    /// # Errors
    /// As [`Store::page`].
    pub fn leaf(
        &self,
        asking: &Asking,
        range: Range<i64>,
        direction: Direction,
        limit: usize,
        stop: &Stop,
    ) -> Result<Arc<Leaf>, StoreError> {
        let renewals = {
            let kept = lock(&self.kept);
            let covers = |it: &Range<i64>| match direction {
                Direction::Forward => it.contains(&range.start),
                Direction::Backward => it.start < range.end && range.end <= it.end,
            };
            if let Some((_, leaf)) = kept.leaves.iter().find(|(text, it)| *text == asking.text && covers(&it.range)) {
                return Ok(leaf.clone());
            }
            kept.renewals
        };
        let ask = Ask { asking, range: range.clone(), direction, limit: limit.clamp(1, MAX_PAGE_RECORDS), stop };
        let page = self.store.page(&ask)?;
        let (reached, gap) = (page.reached.clamp(range.start, range.end), page.gap);
        let covered = match direction {
            Direction::Forward => range.start..reached,
            Direction::Backward => reached..range.end,
        };
        let entries: Vec<Entry> = page.entries.into_iter().filter(|it| covered.contains(&it.nanos)).collect();
        let places = self.places(&entries);
        let block = Arc::new(Block::of_entries(entries, &self.zone, &self.reading));
        let leaf = Arc::new(Leaf { range: covered, block, places, gap });
        self.keep(asking, &leaf, renewals);
        Ok(leaf)
    }

    fn keep(&self, asking: &Asking, leaf: &Arc<Leaf>, renewals: u64) {
        let mut kept = lock(&self.kept);
        // What the server kept back may come with the next try.
        if kept.renewals != renewals || leaf.gap.is_some() || leaf.range.is_empty() {
            return;
        }
        kept.leaves.push_back((asking.text.clone(), leaf.clone()));
        let bytes = |kept: &Kept| kept.leaves.iter().map(|(_, it)| it.block.bytes.len()).sum::<usize>();
        while kept.leaves.len() > 1 && (kept.leaves.len() > MAX_KEPT_PAGES || bytes(&kept) > MAX_KEPT_BYTES) {
            kept.leaves.pop_front();
        }
    }

    /// True when nothing of the whole store stands between two places, as far as the kept pages tell.
    pub fn touches(&self, left: Place, right: Place) -> bool {
        let everything = self.store.translate(&Matcher::default());
        let kept = lock(&self.kept);
        kept.leaves
            .iter()
            .filter(|(text, _)| *text == everything.text)
            .any(|(_, leaf)| leaf.places.windows(2).any(|pair| pair == [left, right]))
    }

    /// Counts the records of a store that pass, by the store itself where it can.
    ///
    /// # Errors
    /// As [`Store::count`].
    pub fn count(&self, matcher: &Matcher, stop: &Stop) -> Result<StoreCount, StoreError> {
        let asking = self.store.translate(matcher);
        let range = range_of(self.store.as_ref(), matcher);
        // Of two queries that ask the same of the store, the matcher may pass different records.
        let key = (format!("{matcher:?}"), range.clone());
        let renewals = {
            let kept = lock(&self.kept);
            if let Some((_, known)) = kept.counts.iter().find(|(it, _)| *it == key) {
                return Ok(*known);
            }
            kept.renewals
        };
        let ask = Ask { asking: &asking, range, direction: Direction::Backward, limit: MAX_PAGE_RECORDS, stop };
        let by_store = if self.is_exact(&ask)? { self.store.count(&ask)? } else { None };
        let (counted, keeps) = match by_store {
            Some(counted) => (counted, counted.is_complete),
            None => self.count_pages(matcher, &ask, &mut |_, _| {})?,
        };
        let mut kept = lock(&self.kept);
        // What a part of the store did not count may come with the next try.
        if keeps && kept.renewals == renewals {
            kept.counts.push_back((key, counted));
            if kept.counts.len() > MAX_KEPT_COUNTS {
                kept.counts.pop_front();
            }
        }
        Ok(counted)
    }

    /// Adds the records that pass to a histogram, by the store itself where it can. Returns true when all were.
    ///
    /// # Errors
    /// As [`Store::histogram`].
    pub fn add_to(&self, buckets: &mut Buckets, matcher: &Matcher, stop: &Stop) -> Result<bool, StoreError> {
        let asking = self.store.translate(matcher);
        let nanos = |second: i64| second.saturating_mul(NANOS_PER_SECOND);
        let length = i64::try_from(buckets.buckets.len()).unwrap_or(i64::MAX).saturating_mul(buckets.length);
        let mut range = range_of(self.store.as_ref(), matcher);
        range.start = range.start.max(nanos(buckets.from));
        range.end = range.end.min(nanos(buckets.from.saturating_add(length)));
        if range.is_empty() {
            return Ok(true);
        }
        let bucket_of = |nanos: i64| (nanos.div_euclid(NANOS_PER_SECOND) - buckets.from).div_euclid(buckets.length);
        let start_of = |bucket: i64| nanos(buckets.from + bucket * buckets.length);
        // The store's buckets begin where the range does: what stands before the first whole one is asked for alone.
        let first = bucket_of(range.start);
        let whole = if start_of(first) == range.start { range.start } else { start_of(first + 1).min(range.end) };
        let pieces = [range.start..whole, whole..range.end];
        let (mut found, mut is_complete) = (Vec::new(), true);
        for piece in pieces.into_iter().filter(|it| asking.is_exact && !it.is_empty()) {
            let start = bucket_of(piece.start);
            let ask =
                Ask { asking: &asking, range: piece, direction: Direction::Backward, limit: MAX_PAGE_RECORDS, stop };
            let Some(counted) = self.store.histogram(&ask, buckets.length.unsigned_abs())? else {
                found.clear();
                break;
            };
            is_complete &= counted.is_complete;
            found.extend((start..).zip(counted.buckets));
        }
        if !found.is_empty() {
            for (index, counted) in found {
                buckets.add_bucket(buckets.from + index * buckets.length, &counted);
            }
            return Ok(is_complete);
        }
        let ask = Ask { asking: &asking, range, direction: Direction::Backward, limit: MAX_PAGE_RECORDS, stop };
        let mut collector = Collector::default();
        let (counted, _) = self.count_pages(matcher, &ask, &mut |block, index| {
            let span = &block.spans()[index as usize];
            collector.add(span.nanos.div_euclid(NANOS_PER_SECOND), block.level_of(span));
        })?;
        buckets.add(&collector.finish(0, Some(1)));
        Ok(counted.is_complete)
    }

    /// True when the store finds exactly what passes.
    fn is_exact(&self, ask: &Ask<'_>) -> Result<bool, StoreError> {
        if ask.asking.is_exact {
            return Ok(true);
        }
        let Some(text) = ask.asking.doubtful.clone() else { return Ok(false) };
        let asking = Asking { text, is_exact: true, doubtful: None };
        let doubtful = self.store.count(&Ask { asking: &asking, range: ask.range.clone(), ..*ask })?;
        Ok(doubtful == Some(StoreCount::all(0)))
    }

    /// Counts by looking at every record that the store finds, the newest first. True when another try would come to
    /// the same.
    fn count_pages(
        &self,
        matcher: &Matcher,
        ask: &Ask<'_>,
        each: &mut dyn FnMut(&Block, u32),
    ) -> Result<(StoreCount, bool), StoreError> {
        let (mut matched, mut looked_at, mut is_whole) = (0, 0, true);
        let mut range = ask.range.clone();
        while range.start < range.end {
            if looked_at >= MAX_COUNTED_RECORDS {
                return Ok((StoreCount { matched, is_complete: false }, is_whole));
            }
            if ask.stop.is_wanted() {
                return Err(StoreError::Stopped);
            }
            let page = self.store.page(&Ask { range: range.clone(), stop: ask.stop, ..*ask })?;
            range.end = page.reached.clamp(range.start, range.end);
            is_whole &= page.gap.is_none();
            looked_at += page.entries.len() as u64;
            let block = Block::of_entries(page.entries, &self.zone, &self.reading);
            let found = block.matches(matcher, &|_| jiff::Timestamp::UNIX_EPOCH);
            found.iter().for_each(|it| each(&block, *it));
            matched += found.len() as u64;
        }
        Ok((StoreCount { matched, is_complete: is_whole }, is_whole))
    }

    /// The tie of the record at a place; `None` when it was never met or has been forgotten.
    pub fn tie_at(&self, place: Place) -> Option<u64> {
        match lock(&self.order).instants.get(&place.instant())? {
            Order::One(tie) => (place.label() == MIDDLE).then_some(*tie),
            Order::Many(known) => known.iter().find(|(_, label)| *label == place.label()).map(|(tie, _)| *tie),
        }
    }

    /// The place of a record by its instant and tie; the store is asked for the instant when it must be. Before
    /// the instant when there is no such record.
    pub fn place_of(&self, nanos: i64, tie: u64, stop: &Stop) -> Place {
        let known = || match lock(&self.order).instants.get(&nanos)? {
            Order::One(it) => (*it == tie).then_some(MIDDLE),
            Order::Many(known) => known.iter().find(|(it, _)| *it == tie).map(|(_, label)| *label),
        };
        let found = known().or_else(|| {
            let everything = self.store.translate(&Matcher::default());
            let range = nanos..nanos.saturating_add(1);
            self.leaf(&everything, range, Direction::Forward, MAX_PAGE_RECORDS, stop).ok()?;
            known()
        });
        found.map_or(Place::of_instant(nanos), |label| Place::of_record(nanos, label))
    }

    /// Places of records that come in the store's order, whole instants.
    fn places(&self, entries: &[Entry]) -> Vec<Place> {
        let mut order = lock(&self.order);
        if order.records > MAX_KNOWN_RECORDS {
            *order = Known::default();
        }
        let Known { instants, records } = &mut *order;
        let mut places = Vec::with_capacity(entries.len());
        for group in entries.chunk_by(|left, right| left.nanos == right.nanos) {
            let nanos = group[0].nanos;
            let known = instants.entry(nanos).or_insert_with(|| {
                *records += 1;
                Order::One(group[0].tie)
            });
            if let (Order::One(tie), [only]) = (&known, group)
                && *tie == only.tie
            {
                places.push(Place::of_record(nanos, MIDDLE));
                continue;
            }
            let mut labels = match std::mem::replace(known, Order::One(0)) {
                Order::One(tie) => vec![(tie, MIDDLE)],
                Order::Many(labels) => labels,
            };
            let ties: Vec<u64> = group.iter().map(|it| it.tie).collect();
            let before = labels.len();
            insert(&mut labels, &ties);
            *records += labels.len() - before;
            let label = |tie: u64| labels.iter().find(|(it, _)| *it == tie).map_or(MIDDLE, |(_, label)| *label);
            places.extend(ties.iter().map(|tie| Place::of_record(nanos, label(*tie))));
            *known = Order::Many(labels);
        }
        places
    }
}

/// What a query can find: the store's range, narrowed by the times that the query names.
pub fn range_of(store: &dyn Store, matcher: &Matcher) -> Range<i64> {
    let nanos = |at: jiff::Timestamp| i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX);
    let (since, until) = matcher.time_range();
    let start = since.map_or(i64::MIN, nanos).max(store.earliest()).max(0);
    start..until.map_or(i64::MAX, nanos).max(start)
}

/// Puts ties that come in order among those that are known, keeping the labels of these.
fn insert(known: &mut Vec<(u64, u64)>, ties: &[u64]) {
    let mut at = 0;
    let mut fresh = Vec::new();
    for tie in ties {
        match known.iter().position(|(it, _)| it == tie) {
            Some(found) => {
                fill(known, found, &mut fresh);
                at = known.iter().position(|(it, _)| it == tie).map_or(at, |it| it + 1);
            }
            None => fresh.push(*tie),
        }
    }
    // What follows the last known one stands right behind it: other queries may know of more.
    fill(known, at, &mut fresh);
}

/// Puts new ties before index `at`, spread over the room between its neighbours.
fn fill(known: &mut Vec<(u64, u64)>, at: usize, fresh: &mut Vec<u64>) {
    if fresh.is_empty() {
        return;
    }
    let low = at.checked_sub(1).map_or(0, |it| known[it].1);
    let high = known.get(at).map_or(1 << LABEL_BITS, |it| it.1);
    let step = (high - low) / (fresh.len() as u64 + 1);
    let added = fresh.drain(..).enumerate().map(|(index, tie)| (tie, low + step * (index as u64 + 1)));
    known.splice(at..at, added);
    if step == 0 {
        // No room is left: everything is spread anew. Places handed out before may name a neighbour.
        let step = (1 << LABEL_BITS) / (known.len() as u64 + 1);
        for (index, entry) in known.iter_mut().enumerate() {
            entry.1 = step * (index as u64 + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ties(known: &[(u64, u64)]) -> Vec<u64> {
        known.iter().map(|(tie, _)| *tie).collect()
    }

    #[test]
    fn records_of_one_instant_keep_their_places_when_more_of_them_are_met() {
        let mut known = vec![(5, MIDDLE)];
        insert(&mut known, &[3, 5, 8]);
        assert_eq!(ties(&known), [3, 5, 8]);
        assert_eq!(known[1].1, MIDDLE);
        let before = known.clone();
        insert(&mut known, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(ties(&known), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(before.iter().all(|it| known.contains(it)), "{before:?} {known:?}");
        assert!(known.is_sorted_by_key(|(_, label)| *label));
    }

    #[test]
    fn an_order_against_the_known_one_loses_nothing() {
        let mut known = vec![(1, 10), (2, 20)];
        insert(&mut known, &[2, 9, 1, 7]);
        let mut all = ties(&known);
        all.sort_unstable();
        assert_eq!(all, [1, 2, 7, 9]);
        assert!(known.is_sorted_by_key(|(_, label)| *label));
    }

    #[test]
    fn room_that_is_used_up_is_made_again() {
        let mut known = vec![(0, 1), (1, 2)];
        insert(&mut known, &[0, 7, 8, 1]);
        assert_eq!(ties(&known), [0, 7, 8, 1]);
        assert!(known.windows(2).all(|pair| pair[0].1 < pair[1].1), "{known:?}");
    }

    /// Has nothing; only its reader is of interest.
    #[derive(Debug)]
    struct Empty;

    impl Store for Empty {
        fn translate(&self, _: &Matcher) -> Asking {
            Asking { text: String::new(), is_exact: true, doubtful: None }
        }
        fn page(&self, ask: &Ask<'_>) -> Result<crate::logstore::store::Page, StoreError> {
            Ok(crate::logstore::store::Page { reached: ask.range.end, ..Default::default() })
        }
        fn count(&self, _: &Ask<'_>) -> Result<Option<StoreCount>, StoreError> {
            Ok(None)
        }
        fn histogram(&self, _: &Ask<'_>, _: u64) -> Result<Option<crate::logstore::store::StoreBuckets>, StoreError> {
            Ok(None)
        }
        fn earliest(&self) -> i64 {
            0
        }
        fn newest(&self, _: &Stop) -> Result<u64, StoreError> {
            Ok(0)
        }
        fn renew(&self) {}
    }

    #[test]
    fn the_records_of_few_instants_are_forgotten_like_those_of_many() {
        let reader = StoreReader::new(Arc::new(Empty), TimeZone::UTC, Arc::default());
        let entry = |nanos, tie| Entry { nanos, tie, line: Vec::new(), aside: Default::default() };
        let page = MAX_PAGE_RECORDS as u64;
        for nanos in 0..200 {
            let entries: Vec<Entry> = (0..page).map(|it| entry(nanos, it)).collect();
            assert_eq!(reader.places(&entries).len(), entries.len());
            let known = lock(&reader.order);
            let records = |it: &Order| if let Order::Many(known) = it { known.len() } else { 1 };
            assert_eq!(known.instants.values().map(records).sum::<usize>(), known.records);
            assert!(known.records <= MAX_KNOWN_RECORDS + MAX_PAGE_RECORDS, "{}", known.records);
        }
    }

    #[test]
    fn places_are_ordered_by_instant_then_label() {
        let at = |nanos, label| Place::of_record(nanos, label);
        assert!(at(999_999_999, 7) < at(1_000_000_000, 0) && at(5, 1) < at(5, 2));
        assert_eq!(at(1_787_000_000_123_456_789, MIDDLE).instant(), 1_787_000_000_123_456_789);
        assert!(Place::of_instant(5).is_before_instant() && !at(5, 1).is_before_instant());
        assert!(at(i64::MAX, MIDDLE) < Place::STORE_END && Place::of_instant(-5).instant() == 0);
        assert!(Place::STORE_END.instant() > 1 << 62);
    }
}
