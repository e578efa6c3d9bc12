//! What of a record that was met is to be shown: its bytes, and those that are too many to be kept.

use std::ops::Range;
use std::sync::Arc;

use crate::domain::log::Look;
use crate::domain::query::matcher::Matcher;
use crate::logstore::present::is_plain;
use crate::logstore::segment::Segment;
use crate::logstore::stream::Met;
use crate::logstore::walk::Item;

impl Met<'_> {
    /// True for a record that passes a query.
    pub fn passes(&self, matcher: &Matcher) -> bool {
        match &self.placed.item {
            Item::Record(found) => found.passes(matcher, &self.presenter.snapshots[self.placed.source]),
            Item::Gap { .. } => false,
        }
    }

    /// The record's bytes on disk, those that were not handed over before.
    pub fn bytes(&self) -> &[u8] {
        match &self.placed.item {
            Item::Record(found) => {
                let bytes = found.block.bytes_of(&found.block.spans()[found.index]);
                &bytes[self.from_byte.min(bytes.len())..]
            }
            Item::Gap { .. } => &[],
        }
    }

    /// Where the rest of a record lies that is too long to be kept: a segment, and its bytes there.
    pub fn rest(&self) -> Option<(Arc<Segment>, Range<u64>)> {
        let Item::Record(found) = &self.placed.item else { return None };
        let part = self.presenter.snapshots.get(self.placed.source)?.parts.get(found.place.part)?;
        let (kept, length) = (found.length().max(self.from_byte) as u64, found.block.length_of(found.index));
        (kept < length).then(|| (part.segment.clone(), found.place.offset + kept..found.place.offset + length))
    }

    /// The segment of a record and the offsets where it begins and ends there; of a store 0.
    pub fn extent(&self) -> Option<(u64, Range<u64>)> {
        let Item::Record(found) = &self.placed.item else { return None };
        let snapshot = self.presenter.snapshots.get(self.placed.source)?;
        let number = snapshot.parts.get(found.place.part).map_or(0, |it| it.segment.number);
        Some((number, found.place.offset..found.place.offset + found.block.length_of(found.index)))
    }

    /// The bytes not handed over before, when they can be shown as they are: printable ASCII in lines, nothing cut.
    pub fn plain_bytes(&self) -> Option<&[u8]> {
        let Item::Record(found) = &self.placed.item else { return None };
        if self.presenter.look != Look::Original {
            return None;
        }
        let bytes = self.bytes();
        let is_whole = found.block.length_of(found.index) == found.length() as u64;
        (is_whole && self.from_byte == 0 && is_plain(bytes)).then_some(bytes)
    }

    /// Lines of the record that were handed over before.
    pub fn lines_before(&self) -> usize {
        match &self.placed.item {
            Item::Record(found) if self.from_byte > 0 => {
                let bytes = found.block.bytes_of(&found.block.spans()[found.index]);
                memchr::memchr_iter(b'\n', &bytes[..self.from_byte.min(bytes.len())]).count()
            }
            _ => 0,
        }
    }
}
