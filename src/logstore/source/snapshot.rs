//! A log source at one instant.

use std::sync::Arc;

use jiff::Timestamp;

use crate::logstore::source::{Arrival, GapMark, Part, Source};
use crate::logstore::store::Stop;
use crate::logstore::store::reader::StoreReader;

/// A source at one instant: what one window or scan works on.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The source.
    pub source: Arc<Source>,
    /// Its segments, oldest first.
    pub parts: Vec<Part>,
    /// What is wrong at its end.
    pub tail: Option<GapMark>,
    /// See [`Source::epoch`].
    pub epoch: u64,
    pub(super) arrivals: Vec<Arrival>,
    /// The store that it is instead of parts.
    pub store: Option<StoreLook>,
}

/// A store as one window or scan sees it.
#[derive(Debug, Clone)]
pub struct StoreLook {
    /// Reads it.
    pub reader: Arc<StoreReader>,
    /// Asked while it is waited for.
    pub stop: Stop,
}

impl Snapshot {
    /// Says when nobody waits for a store any more.
    pub fn stop_when(&mut self, stop: &Stop) {
        if let Some(store) = &mut self.store {
            store.stop = stop.clone();
        }
    }

    /// When the bytes at an offset arrived, as far as was seen.
    pub fn arrival(&self, part: &Part, offset: u64) -> Timestamp {
        let number = part.segment.number;
        let after = self.arrivals.partition_point(|it| (it.segment, it.end) <= (number, offset));
        match self.arrivals.get(after).filter(|it| it.segment == number) {
            Some(arrival) => arrival.at,
            None => part.segment.modified(),
        }
    }

    /// Readable bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.parts.iter().map(|it| it.size_bytes).sum()
    }
}
