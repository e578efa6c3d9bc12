//! Walks through the pages of a store in one direction.

use std::ops::Range;
use std::sync::Arc;

use crate::domain::log::GapKind;
use crate::domain::query::matcher::Matcher;
use crate::logstore::source::StoreLook;
use crate::logstore::store::reader::{Leaf, range_of};
use crate::logstore::store::{Asking, FIRST_PAGE_RECORDS, MAX_PAGE_RECORDS, StoreError};
use crate::logstore::walk::{Direction, Place};

/// A walk through one store.
#[derive(Debug)]
pub struct Pages {
    asking: Asking,
    /// What is left, in nanoseconds.
    left: Range<i64>,
    from: Place,
    limit: usize,
    /// What the server kept back of the page before, not told yet.
    gap: Option<GapKind>,
}

impl Pages {
    /// Starts at a place: forward with the records at or behind it, backward with those before it.
    pub fn new(look: &StoreLook, matcher: &Matcher, from: Place, direction: Direction) -> Self {
        let store = look.reader.store();
        let mut left = range_of(store.as_ref(), matcher);
        match direction {
            Direction::Forward => left.start = left.start.max(from.instant()),
            Direction::Backward => {
                let end = from.instant().saturating_add(i64::from(!from.is_before_instant()));
                left.end = left.end.min(end);
            }
        }
        Self { asking: store.translate(matcher), left, from, limit: FIRST_PAGE_RECORDS, gap: None }
    }

    /// Nothing is left.
    pub fn is_over(&self) -> bool {
        self.left.start >= self.left.end && self.gap.is_none()
    }

    /// Leaves out what is older.
    pub fn down_to(&mut self, floor: Place) {
        self.left.start = self.left.start.max(floor.instant());
    }

    /// Leaves out what is newer.
    pub fn up_to(&mut self, ceiling: Place) {
        let end = ceiling.instant().saturating_add(i64::from(!ceiling.is_before_instant()));
        self.left.end = self.left.end.min(end);
    }

    /// What the server kept back of the page before, with where it belongs.
    pub fn take_gap(&mut self, direction: Direction) -> Option<(GapKind, Place)> {
        let place = match direction {
            Direction::Forward => self.left.start,
            Direction::Backward => self.left.end,
        };
        Some((self.gap.take()?, Place::of_instant(place)))
    }

    /// Goes on by one page; answers with the records and the indices of those that pass, in the walk's order, the
    /// next one last.
    ///
    /// # Errors
    /// When it was stopped, or the store does not answer; nothing is left then.
    pub fn next(
        &mut self,
        look: &StoreLook,
        matcher: &Matcher,
        floor: Place,
        direction: Direction,
    ) -> Result<(Arc<Leaf>, Vec<u32>), StoreError> {
        let range = self.left.clone();
        let leaf = look.reader.leaf(&self.asking, range, direction, self.limit, &look.stop).inspect_err(|_| {
            self.left = 0..0;
        })?;
        self.limit = (self.limit * 2).min(MAX_PAGE_RECORDS);
        self.gap.clone_from(&leaf.gap);
        let mut hits = leaf.block.matches(matcher, &|_| jiff::Timestamp::UNIX_EPOCH);
        let place = |it: &u32| leaf.places[*it as usize];
        // A kept page may begin before what is left, or end behind it.
        hits.retain(|it| self.left.contains(&place(it).instant()));
        match direction {
            Direction::Forward => {
                // A store that does not get on must not keep the walk for ever.
                self.left.start = leaf.range.end.max(self.left.start.saturating_add(1));
                hits.retain(|it| place(it) >= self.from);
                hits.reverse();
            }
            Direction::Backward => {
                self.left.end = leaf.range.start.min(self.left.end.saturating_sub(1));
                hits.retain(|it| place(it) < self.from && place(it) >= floor);
            }
        }
        Ok((leaf, hits))
    }
}
