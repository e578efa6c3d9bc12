//! What is counted: a query, and what is known of each block for it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use crate::domain::query::matcher::Matcher;
use crate::logstore::segment::lock;
use crate::logstore::summary::{Group, Summary};

/// Summaries of one query, by segment and block.
#[derive(Debug, Default)]
pub struct QueryCounts {
    segments: Mutex<HashMap<u64, SegmentCounts>>,
}

#[derive(Debug, Default)]
struct SegmentCounts {
    /// Blocks that can not change any more.
    closed: Vec<Option<Summary>>,
    /// The last blocks of a segment that was this long.
    open: Vec<(u64, u64, Summary)>,
}

/// One block of a segment as long as a snapshot says.
#[derive(Debug, Clone, Copy)]
pub struct BlockId {
    /// `Segment::uid`.
    pub segment: u64,
    /// Length of the segment.
    pub size: u64,
    /// Its number.
    pub block: u64,
}

impl QueryCounts {
    /// True when the block is known to hold no match.
    pub fn has_none(&self, id: BlockId) -> bool {
        self.with(id, |it| it.records == 0).unwrap_or(false)
    }

    /// Looks at a summary, when it is known.
    pub fn with<R>(&self, id: BlockId, look: impl FnOnce(&Summary) -> R) -> Option<R> {
        let segments = lock(&self.segments);
        let segment = segments.get(&id.segment)?;
        let closed = usize::try_from(id.block).ok().and_then(|it| segment.closed.get(it)?.as_ref());
        let open = || segment.open.iter().find(|(block, size, _)| (*block, *size) == (id.block, id.size));
        closed.or_else(|| open().map(|it| &it.2)).map(look)
    }

    pub(super) fn put(&self, id: BlockId, is_closed: bool, summary: Summary) {
        let Ok(block) = usize::try_from(id.block) else { return };
        let mut segments = lock(&self.segments);
        let segment = segments.entry(id.segment).or_default();
        segment.open.retain(|(block, size, _)| *size == id.size && *block != id.block);
        if !is_closed {
            segment.open.push((id.block, id.size, summary));
            return;
        }
        if segment.closed.len() <= block {
            segment.closed.resize(block + 1, None);
        }
        segment.closed[block] = Some(summary);
    }

    /// Forgets segments that are gone.
    pub fn keep_only(&self, segments: &HashSet<u64>) {
        lock(&self.segments).retain(|uid, _| segments.contains(uid));
    }

    /// Memory it takes up.
    pub fn size_bytes(&self) -> usize {
        let of = |it: &Summary| size_of::<Option<Summary>>() + it.heap_bytes();
        let segments = lock(&self.segments);
        segments.values().map(|it| it.closed.iter().map(|it| it.as_ref().map_or(0, of)).sum::<usize>()).sum()
    }
}

/// One query with what is known of it.
#[derive(Debug, Clone)]
pub struct Goal {
    /// What passes.
    pub matcher: Arc<Matcher>,
    /// Its summaries.
    pub counts: Arc<QueryCounts>,
    /// Those of queries that let more pass: what they rule out need not be read.
    pub wider: Vec<Arc<QueryCounts>>,
    /// Those of everything.
    pub everything: Arc<QueryCounts>,
    /// Times and levels are wanted, not only how many.
    pub by_group: bool,
}

impl Goal {
    /// True when no record of the block passes, as far as is known without reading it.
    pub fn has_none(&self, id: BlockId) -> bool {
        self.counts.has_none(id)
            || self.wider.iter().any(|it| it.has_none(id))
            || self.everything.with(id, |it| it.rules_out(|group| self.decide(group))).unwrap_or(false)
    }

    /// Where in the block records may pass, when a wider query knows of few.
    pub(super) fn starts_of_wider(&self, id: BlockId) -> Option<Box<[u32]>> {
        self.wider.iter().find_map(|it| it.with(id, |summary| summary.starts().map(Box::from)).flatten())
    }

    /// Looks at where in the block the records begin that pass, ascending, when it was counted and they are few.
    pub fn with_starts<R>(&self, id: BlockId, look: impl FnOnce(&[u32]) -> R) -> Option<R> {
        self.counts.with(id, |it| it.starts().map(look)).flatten()
    }

    /// True when its matches in the block were counted.
    pub fn is_counted(&self, id: BlockId) -> bool {
        self.counts.with(id, |_| ()).is_some()
    }

    pub(super) fn decide(&self, group: &Group) -> Option<bool> {
        self.matcher.passes_group(group.level(), (group.from, group.until))
    }

    /// Looks at the summary when it is known, as detailed as this and buckets of a length want it.
    pub(super) fn with_known<R>(
        &self,
        id: BlockId,
        bucket_seconds: Option<i64>,
        look: impl FnOnce(&Summary) -> R,
    ) -> Option<R> {
        let suits =
            |it: &Summary| (!self.by_group || it.has_groups()) && bucket_seconds.is_none_or(|length| it.suits(length));
        self.counts.with(id, |it| suits(it).then(|| look(it))).flatten()
    }
}
