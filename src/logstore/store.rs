//! A store that orders records by time and searches them itself: Loki, Elasticsearch.
//!
//! The engine walks a store beside files, page by page. A page holds whole instants: all records of one
//! nanosecond that a query finds, or none of them, so that a page ends between two nanoseconds and a
//! [`Place`](crate::logstore::walk::Place) in a store needs no cursor of the server. The query goes to the
//! store as far as its language can say it; what comes back is judged again here, so a store may answer
//! with too much but never with too little.

pub mod pages;
pub mod reader;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::domain::log::{Bucket, GapKind, Level};
use crate::domain::query::matcher::Matcher;
use crate::logstore::walk::Direction;

/// Records asked for with the first page of a walk: two screens.
pub const FIRST_PAGE_RECORDS: usize = 200;
/// Records of a later page: a long walk should not spend its time on round trips. Servers refuse more than 5,000.
pub const MAX_PAGE_RECORDS: usize = 2000;

/// Answers questions about its records. Calls block, and return early when `stop` says so.
pub trait Store: fmt::Debug + Send + Sync {
    /// Says a query in the store's language. Every record that passes the matcher is found by it.
    fn translate(&self, matcher: &Matcher) -> Asking;

    /// Reads the records nearest to the start (backward: to the end) of a range of nanoseconds.
    ///
    /// # Errors
    /// When it was stopped, or the store does not answer.
    fn page(&self, ask: &Ask<'_>) -> Result<Page, StoreError>;

    /// Counts the records of a range. `None` when the store can not count them; incomplete when parts of it did not.
    ///
    /// # Errors
    /// As [`Store::page`].
    fn count(&self, ask: &Ask<'_>) -> Result<Option<StoreCount>, StoreError>;

    /// Counts the records of a range by time, in buckets of whole seconds from the range's start on. `None`
    /// when the store can not tell their levels as they are shown; incomplete when parts of it did not count.
    ///
    /// # Errors
    /// As [`Store::page`].
    fn histogram(&self, ask: &Ask<'_>, bucket_seconds: u64) -> Result<Option<StoreBuckets>, StoreError>;

    /// Nanosecond before which nothing is read.
    fn earliest(&self) -> i64;

    /// A number that changes when there is something new.
    ///
    /// # Errors
    /// As [`Store::page`].
    fn newest(&self, stop: &Stop) -> Result<u64, StoreError>;

    /// Says that the next page is to be as fresh as can be.
    fn renew(&self);
}

/// A query in a store's language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// The query.
    pub text: String,
    /// It finds what the matcher passes and nothing else.
    pub is_exact: bool,
    /// A query for those of its records that only the matcher can judge; without any of them it is exact after all.
    pub doubtful: Option<String>,
}

/// What a store is asked.
#[derive(Debug)]
pub struct Ask<'a> {
    /// For which records.
    pub asking: &'a Asking,
    /// Of which nanoseconds since the Unix epoch.
    pub range: Range<i64>,
    /// From which end of the range.
    pub direction: Direction,
    /// Records wanted; as many come, or fewer, or those of one instant.
    pub limit: usize,
    /// Nobody waits for the answer any more when this says so.
    pub stop: &'a Stop,
}

/// A record of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Nanoseconds since the Unix epoch.
    pub nanos: i64,
    /// Tells it from the others of its instant, the same in every answer.
    pub tie: u64,
    /// Its bytes as they are shown, without a line end.
    pub line: Vec<u8>,
    /// What the store knows of it beside them.
    pub aside: Aside,
}

/// What a store knows of a record beside its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aside {
    /// Its level, where the store names one; else it is looked for in the bytes.
    pub level: Option<Level>,
    /// What texts and regexes are looked for in, where that is not all of the bytes.
    pub text: Option<Box<[u8]>>,
    /// Fields that do not stand in the bytes, or count more than those.
    pub fields: Option<Arc<[(String, String)]>>,
}

/// Records of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Oldest first; of each instant all.
    pub entries: Vec<Entry>,
    /// Forward: everything of the range before this nanosecond was looked at; backward: everything from it on.
    pub reached: i64,
    /// What the server kept back, to be said beside the records.
    pub gap: Option<GapKind>,
}

/// How many records of a store pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreCount {
    /// Records that pass.
    pub matched: u64,
    /// Everything was counted.
    pub is_complete: bool,
}

impl StoreCount {
    /// All of them.
    pub fn all(matched: u64) -> Self {
        Self { matched, is_complete: true }
    }
}

/// Records of a store by time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreBuckets {
    /// From the start of the range on.
    pub buckets: Vec<Bucket>,
    /// Everything was counted.
    pub is_complete: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// Nobody waits for it any more.
    Stopped,
    /// In words.
    Failed(String),
}

/// Asked now and then while a store is waited for.
#[derive(Clone)]
pub struct Stop(Arc<dyn Fn() -> bool + Send + Sync>);

impl Stop {
    /// Stops when the function says so.
    pub fn when(stops: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(stops))
    }

    /// True when nobody waits for the answer any more.
    pub fn is_wanted(&self) -> bool {
        (self.0)()
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::when(|| false)
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stop")
    }
}

/// A hash that is the same in every process, for ties (FNV-1a, 64 bits).
pub fn tie_of(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
