//! A log source: its segments in order, and what is missing between them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::ids::SourceId;
use crate::domain::log::GapKind;
use crate::logstore::format::Reading;
use crate::logstore::segment::{Segment, lock};
use crate::logstore::store::reader::StoreReader;
use crate::logstore::store::{Stop, Store};

/// Old segments kept readable. Each holds an open file; four rotations back is an hour of a mad log.
pub const MAX_OLD_SEGMENTS: usize = 4;
/// A rotated file that was deleted is let go above this size, because it still takes up the disk.
const MAX_DELETED_BYTES: u64 = 256 << 20;
/// Remembered arrivals (offset, time) of bytes, which place lines without a timestamp among those with one.
const MAX_ARRIVALS: usize = 2048;

/// One stream of lines.
#[derive(Debug)]
pub struct Source {
    /// Its id.
    pub id: SourceId,
    /// Short name for the row prefix.
    pub name: String,
    /// Where it reads from, in words.
    pub origin: String,
    /// Segments kept readable.
    max_segments: usize,
    /// Counts structural changes (segments, gaps), not growth.
    epoch: AtomicU64,
    state: Mutex<State>,
    /// Reads the store that it is instead of bytes.
    store: Option<Arc<StoreReader>>,
}

#[derive(Debug, Default, Clone)]
struct State {
    reading: Arc<Reading>,
    parts: Vec<Part>,
    tail: Option<GapMark>,
    arrivals: Vec<Arrival>,
    next_number: u64,
}

/// A segment and what is missing before it.
#[derive(Debug, Clone)]
pub struct Part {
    /// The bytes.
    pub segment: Arc<Segment>,
    /// What happened before its first byte.
    pub gap: Option<GapMark>,
    /// Readable bytes when the snapshot was taken.
    pub size_bytes: u64,
}

/// Something missing, and when it was noticed.
#[derive(Debug, Clone, PartialEq)]
pub struct GapMark {
    /// What.
    pub kind: GapKind,
    /// When it was noticed.
    pub at: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Arrival {
    segment: u64,
    end: u64,
    at: Timestamp,
}

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
    arrivals: Vec<Arrival>,
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

impl Source {
    /// A source without bytes yet.
    pub fn new(id: SourceId, name: &str, origin: &str) -> Self {
        Self::with_segments(id, name, origin, MAX_OLD_SEGMENTS + 1)
    }

    /// A source that keeps this many segments readable.
    pub fn with_segments(id: SourceId, name: &str, origin: &str, max_segments: usize) -> Self {
        Self {
            max_segments,
            id,
            name: name.to_string(),
            origin: origin.to_string(),
            epoch: AtomicU64::new(0),
            state: Mutex::default(),
            store: None,
        }
    }

    /// A source whose records are in a store; times in them that have no zone are read in `zone`.
    pub fn of_store(
        (id, name, origin): (SourceId, &str, &str),
        store: Arc<dyn Store>,
        zone: TimeZone,
        reading: Arc<Reading>,
    ) -> Self {
        let reader = Arc::new(StoreReader::new(store, zone, reading));
        Self { store: Some(reader), ..Self::new(id, name, origin) }
    }

    /// Says that its store has something new.
    pub fn renewed(&self) {
        if let Some(store) = &self.store {
            store.renew();
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Counts structural changes (segments, gaps), not growth.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Number for the next segment.
    pub fn next_number(&self) -> u64 {
        lock(&self.state).next_number
    }

    /// The newest segment.
    pub fn newest(&self) -> Option<Arc<Segment>> {
        lock(&self.state).parts.last().map(|it| it.segment.clone())
    }

    /// All segments but the newest, oldest first.
    pub fn older(&self) -> Vec<Arc<Segment>> {
        let state = lock(&self.state);
        let count = state.parts.len().saturating_sub(1);
        state.parts[..count].iter().map(|it| it.segment.clone()).collect()
    }

    /// Readable bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        lock(&self.state).parts.iter().map(|it| it.segment.size_bytes()).sum()
    }

    /// Says how the bytes of the segments to come are read.
    pub fn set_reading(&self, reading: Arc<Reading>) {
        lock(&self.state).reading = reading;
    }

    /// How the bytes of its segments are read.
    pub fn reading(&self) -> Arc<Reading> {
        lock(&self.state).reading.clone()
    }

    /// Appends a segment; the oldest goes when there are too many.
    pub fn push(&self, mut segment: Segment, gap: Option<GapMark>) -> Arc<Segment> {
        let mut state = lock(&self.state);
        segment.reading = state.reading.clone();
        let segment = Arc::new(segment);
        state.next_number = segment.number + 1;
        state.parts.push(Part { segment: segment.clone(), gap, size_bytes: 0 });
        state.tail = None;
        while state.parts.len() > self.max_segments {
            state.parts.remove(0);
        }
        let newest = segment.uid;
        state.parts.retain(|part| {
            let it = &part.segment;
            it.uid == newest || it.size_bytes() <= MAX_DELETED_BYTES || !it.is_deleted()
        });
        self.epoch.fetch_add(1, Ordering::AcqRel);
        segment
    }

    /// Replaces the newest segment, whose bytes are gone.
    pub fn replace_newest(&self, segment: Segment, gap: GapMark) -> Arc<Segment> {
        lock(&self.state).parts.pop();
        self.push(segment, Some(gap))
    }

    /// Drops the oldest segment; `gap` then stands before the next one.
    pub fn drop_oldest(&self, gap: GapMark) {
        let mut state = lock(&self.state);
        if state.parts.len() > 1 {
            state.parts.remove(0);
            state.parts[0].gap = Some(gap);
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Says what is wrong at the end; `None` when nothing is. Returns true when that is news.
    pub fn set_tail(&self, tail: Option<GapMark>) -> bool {
        let mut state = lock(&self.state);
        let is_news = state.tail.as_ref().map(|it| &it.kind) != tail.as_ref().map(|it| &it.kind);
        if is_news {
            state.tail = tail;
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
        is_news
    }

    /// Remembers when the newest bytes arrived.
    pub fn arrived(&self, now: Timestamp) {
        let mut state = lock(&self.state);
        let Some(segment) = state.parts.last().map(|it| it.segment.clone()) else { return };
        let arrival = Arrival { segment: segment.number, end: segment.size_bytes(), at: now };
        match state.arrivals.last_mut() {
            // A second is as fine as lines without a time can be placed.
            Some(last) if last.segment == arrival.segment && now.duration_since(last.at).as_secs() < 1 => {
                last.end = arrival.end;
            }
            _ => state.arrivals.push(arrival),
        }
        if state.arrivals.len() > MAX_ARRIVALS {
            // Every other one of the older half: far back a coarser time will do.
            let half = state.arrivals.len() / 2;
            let mut index = 0;
            state.arrivals.retain(|_| {
                index += 1;
                index > half || index % 2 == 0
            });
        }
    }

    /// What is there now.
    pub fn snapshot(self: &Arc<Self>) -> Snapshot {
        let state = lock(&self.state);
        let mut parts = state.parts.clone();
        for part in &mut parts {
            part.size_bytes = part.segment.size_bytes();
        }
        Snapshot {
            source: self.clone(),
            parts,
            tail: state.tail.clone(),
            epoch: self.epoch(),
            arrivals: state.arrivals.clone(),
            store: self.store.as_ref().map(|it| StoreLook { reader: it.clone(), stop: Stop::default() }),
        }
    }
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
