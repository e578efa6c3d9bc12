//! What is known of places in a segment: where records begin whatever their lines say, where pages begin, where
//! no line ends.

use std::ops::Range;

use crate::domain::log::LINE_BYTES;
use crate::logstore::segment::{Segment, lock};

/// Stretches without a line end that are known of a segment: very long lines that are read at the same time.
const MAX_UNBROKEN: usize = 32;
/// Records of a segment that begin where no line tells: half a megabyte, and a segment has 16 MB.
const MAX_BREAKS: usize = 1 << 16;

impl Segment {
    /// Says that what is appended next begins a record, whatever it looks like: it comes from elsewhere than the line
    /// before. Returns false when there are too many of these: then it belongs in another segment.
    pub fn begin_record(&self) -> bool {
        let (mut breaks, at) = (lock(&self.breaks), self.size_bytes());
        if breaks.len() >= MAX_BREAKS {
            return false;
        }
        if at > 0 && breaks.last() != Some(&at) {
            breaks.push(at);
        }
        true
    }

    /// True when a record begins at an offset whatever the line there looks like.
    pub fn is_break(&self, offset: u64) -> bool {
        lock(&self.breaks).binary_search(&offset).is_ok()
    }

    /// The last such offset up to and with this one: what stands before is no part of a record behind it.
    pub fn break_before(&self, offset: u64) -> u64 {
        let breaks = lock(&self.breaks);
        let count = breaks.partition_point(|it| *it <= offset);
        count.checked_sub(1).map_or(0, |it| breaks[it])
    }

    /// Such offsets in a stretch, counted from its start.
    pub fn breaks_in(&self, stretch: Range<u64>) -> Vec<u32> {
        let breaks = lock(&self.breaks);
        let from = breaks.partition_point(|it| *it < stretch.start);
        let inside = breaks[from..].iter().take_while(|it| **it < stretch.end);
        inside.map(|it| u32::try_from(it - stretch.start).unwrap_or(u32::MAX)).collect()
    }

    /// A boundary that was worked out before.
    pub fn boundary(&self, page: u64) -> Option<u64> {
        lock(&self.boundaries).get(&page).copied()
    }

    /// Keeps a boundary that can not change any more.
    pub fn keep_boundary(&self, page: u64, offset: u64) {
        lock(&self.boundaries).insert(page, offset);
    }

    /// The known stretch without a line end that a byte stands in.
    pub fn unbroken_around(&self, offset: u64) -> Option<Range<u64>> {
        lock(&self.unbroken).iter().find(|it| it.contains(&offset)).cloned()
    }

    /// Bytes behind the first [`LINE_BYTES`] of the very long lines that were met, which no query looks at.
    pub fn unsearched_bytes(&self) -> u64 {
        lock(&self.unbroken).iter().map(|it| (it.end - it.start).saturating_sub(LINE_BYTES)).sum()
    }

    /// Keeps that no line ends in a stretch. The last ones are known, one for each very long line.
    pub fn keep_unbroken(&self, mut stretch: Range<u64>) {
        if stretch.is_empty() {
            return;
        }
        let mut known = lock(&self.unbroken);
        known.retain(|it| {
            let touches = it.start <= stretch.end && stretch.start <= it.end;
            if touches {
                stretch = it.start.min(stretch.start)..it.end.max(stretch.end);
            }
            !touches
        });
        if known.len() >= MAX_UNBROKEN {
            known.remove(0);
        }
        known.push(stretch);
    }
}
