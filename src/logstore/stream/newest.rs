//! Where a stream begins that hands over only the newest matches.

use std::collections::VecDeque;

use crate::domain::query::matcher::Matcher;
use crate::logstore::block::PAGE_BYTES;
use crate::logstore::merge::{Help, Merge};
use crate::logstore::place::seek;
use crate::logstore::source::Snapshot;
use crate::logstore::stream::{Stream, never};
use crate::logstore::walk::{Direction, Ground, Item, Place, Placed, Step, Walk};

impl Stream<'_> {
    /// Leaves out all but the newest `count` matches of what is there now, and the context before them.
    pub fn skip_to_newest(&mut self, count: usize) {
        let inner = self.engine.inner();
        let snapshots = inner.snapshots(&[], &self.matcher);
        let known = Some(&self.matches);
        let ground = Ground { reader: &inner.reader, matcher: &self.matcher, known, unit: PAGE_BYTES };
        let walks = snapshots
            .iter()
            .enumerate()
            .map(|(index, snapshot)| Walk::new(ground, snapshot, index, Place::end_of(snapshot), Direction::Backward));
        let help = Help { threads: inner.threads, stop: &never };
        let mut merge = Merge::new(walks.collect(), Direction::Backward).with_help(help);
        let mut starts: Vec<Place> = snapshots.iter().map(Place::end_of).collect();
        let mut left = count;
        let mut first = None;
        while left > 0 {
            match merge.step() {
                Step::Item(Placed { source, at, item: Item::Record(found) }) => {
                    starts[source] = found.place;
                    first = Some((source, at));
                    left -= 1;
                }
                // A store that does not answer is asked again from now on, so that its failure is met and told.
                Step::Item(Placed { source, .. }) if starts[source] == Place::STORE_END => {
                    let now = i64::try_from(crate::clock::now().as_nanosecond()).unwrap_or(i64::MAX);
                    starts[source] = Place::of_instant(now);
                }
                Step::Item(_) | Step::Pending => {}
                Step::End => break,
            }
        }
        if let Some((source, at)) = first.filter(|_| self.context > 0) {
            // Context is what stands around a match in time, in whichever source.
            for (index, snapshot) in snapshots.iter().enumerate().filter(|(index, _)| *index != source) {
                starts[index] = starts[index].min(seek(&inner.reader, snapshot, at, index < source));
            }
            self.before = self.before(&snapshots, &starts);
        }
        for (snapshot, start) in snapshots.iter().zip(starts) {
            if snapshot.store.is_some() {
                self.met_stores.entry(snapshot.source.id.clone()).or_default().start = Some(start);
            }
            if let Some(part) = snapshot.parts.get(start.part) {
                self.met.insert(snapshot.source.id.clone(), (part.segment.uid, start.offset));
                self.keep_older(snapshot, start.part);
            }
        }
    }

    /// Remembers how long the segments before the one at `part` were when they were met.
    pub(super) fn keep_older(&mut self, snapshot: &Snapshot, part: usize) {
        let sizes = snapshot.parts[..part].iter().map(|it| (it.segment.uid, it.size_bytes)).collect();
        self.older.insert(snapshot.source.id.clone(), (snapshot.parts[part].segment.number, sizes));
    }

    /// The records that stand right before places.
    pub(super) fn before(&self, snapshots: &[Snapshot], places: &[Place]) -> VecDeque<Placed> {
        let everything = Matcher::default();
        let ground =
            Ground { reader: &self.engine.inner().reader, matcher: &everything, known: None, unit: PAGE_BYTES };
        let walks = snapshots
            .iter()
            .zip(places)
            .enumerate()
            .map(|(index, (snapshot, place))| Walk::new(ground, snapshot, index, *place, Direction::Backward));
        let mut merge = Merge::new(walks.collect(), Direction::Backward);
        let mut before = VecDeque::new();
        while before.len() < self.context {
            match merge.step() {
                Step::Item(placed) if matches!(placed.item, Item::Record(_)) => before.push_front(placed),
                Step::Item(_) | Step::Pending => {}
                Step::End => break,
            }
        }
        before
    }
}
