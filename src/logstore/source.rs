//! A log source: its segments in order, and what is missing between them.

mod snapshot;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::format;
use crate::domain::ids::SourceId;
use crate::domain::log::GapKind;
use crate::logstore::block::reader::BlockReader;
use crate::logstore::format::Reading;
use crate::logstore::segment::{Segment, lock};
use crate::logstore::store::reader::StoreReader;
use crate::logstore::store::{Stop, Store};

pub use snapshot::{Snapshot, StoreLook};

/// Who brings bytes and waits until they are taken looks again after this.
const TAKEN_PAUSE: Duration = Duration::from_millis(5);
/// Stands for nobody who takes bytes.
const NOBODY: u64 = u64::MAX;
/// Old segments kept readable. Each holds an open file; four rotations back is an hour of a mad log.
pub const MAX_OLD_SEGMENTS: usize = 4;
/// Remains of emptied files kept readable: each takes up to 128 KiB of memory, packed a fraction of that.
const MAX_REMAINS: usize = 4;
/// A rotated file that was deleted is let go above this size, because it still takes up the disk.
const MAX_DELETED_BYTES: u64 = 256 << 20;
/// Segments that went and are remembered by their identity.
const MAX_EVICTED: usize = 64;
/// Number of the first segment. What is put before it as history counts down from here.
const FIRST_NUMBER: u64 = 1 << 32;
/// Numbers for the segments of one rotated file: an archive has at most a few dozen.
const NUMBERS_PER_RANK: u64 = 1 << 12;
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
    /// See [`Source::is_stream`].
    is_stream: bool,
    /// Segments kept readable.
    max_segments: AtomicUsize,
    /// Those who still bring bytes that were there before the source was opened.
    unfinished: AtomicUsize,
    /// Bytes that came through a spool so far.
    came: AtomicU64,
    /// How many of them were taken by someone who must see them all; `NOBODY` waits for nobody.
    taken: AtomicU64,
    /// See [`Source::is_waiting`].
    waits: AtomicBool,
    /// Counts structural changes (segments, gaps), not growth.
    epoch: AtomicU64,
    state: Mutex<State>,
    /// Knows what was read of it last.
    reader: OnceLock<Arc<BlockReader>>,
    /// Reads the store that it is instead of bytes.
    store: Option<Arc<StoreReader>>,
}

#[derive(Debug, Clone)]
struct State {
    reading: Arc<Reading>,
    /// Rotated files that were there before, oldest first.
    history: Vec<Rotated>,
    parts: Vec<Part>,
    /// Bytes of the segments that went because there were too many.
    evicted_bytes: u64,
    /// Device and inode of the last ones: they are no news when they are met again.
    evicted: VecDeque<(u64, u64)>,
    tail: Option<GapMark>,
    arrivals: Vec<Arrival>,
    next_number: u64,
}

#[derive(Debug, Clone)]
struct Rotated {
    /// Counts the rotated files, the newest is 1.
    rank: u32,
    parts: Vec<Part>,
}

/// Held while bytes are brought that were there before; see [`Source::is_unfinished`].
#[derive(Debug)]
pub struct Unfinished {
    source: Arc<Source>,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.source.unfinished.fetch_sub(1, Ordering::AcqRel);
    }
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

impl Source {
    /// A source without bytes yet.
    pub fn new(id: SourceId, name: &str, origin: &str) -> Self {
        Self::with_segments(id, name, origin, MAX_OLD_SEGMENTS + 1)
    }

    /// A source that keeps this many segments readable.
    pub fn with_segments(id: SourceId, name: &str, origin: &str, max_segments: usize) -> Self {
        let state = State {
            reading: Arc::default(),
            history: Vec::new(),
            parts: Vec::new(),
            evicted_bytes: 0,
            evicted: VecDeque::new(),
            tail: None,
            arrivals: Vec::new(),
            next_number: FIRST_NUMBER,
        };
        Self {
            is_stream: false,
            max_segments: AtomicUsize::new(max_segments),
            unfinished: AtomicUsize::new(0),
            id,
            name: name.to_string(),
            origin: origin.to_string(),
            came: AtomicU64::new(0),
            taken: AtomicU64::new(NOBODY),
            waits: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            state: Mutex::new(state),
            reader: OnceLock::new(),
            store: None,
        }
    }

    /// A source of what comes through a spool; it keeps this many segments readable.
    pub fn of_stream(id: SourceId, name: &str, origin: &str, max_segments: usize) -> Self {
        Self { is_stream: true, ..Self::with_segments(id, name, origin, max_segments) }
    }

    /// True when what comes has an end that is told: of a pipe or a program, not of a file.
    pub fn is_stream(&self) -> bool {
        self.is_stream
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

    /// Says who reads it: what that one has read last stays, when the bytes of a file go.
    pub fn is_read_by(&self, reader: &Arc<BlockReader>) {
        let _ = self.reader.set(reader.clone());
    }

    /// Says that its store has something new.
    pub fn renewed(&self) {
        if let Some(store) = &self.store {
            store.renew();
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Says that bytes came through a spool.
    pub fn came(&self, bytes: u64) {
        self.came.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Waits until so many of the bytes that came were taken, if somebody takes them. Calls `tell` before it waits.
    ///
    /// Returns false when nobody takes them.
    pub fn wait_until_taken(&self, came: u64, tell: &dyn Fn()) -> bool {
        let is_ahead = || {
            let taken = self.taken.load(Ordering::Acquire);
            taken != NOBODY && taken < came
        };
        if is_ahead() {
            self.waits.store(true, Ordering::Release);
            tell();
            while is_ahead() {
                std::thread::sleep(TAKEN_PAUSE);
            }
            self.waits.store(false, Ordering::Release);
        }
        self.taken.load(Ordering::Acquire) != NOBODY
    }

    /// True while who brings bytes waits until some are taken.
    pub fn is_waiting(&self) -> bool {
        self.waits.load(Ordering::Acquire)
    }

    /// Lets segments go that were taken, but the newest one: nobody reads them again, and others need the room.
    pub fn let_go_of_taken(&self) {
        let taken = self.taken.load(Ordering::Acquire);
        if taken == NOBODY || self.is_stream || self.is_unfinished() {
            return;
        }
        let mut state = lock(&self.state);
        let held: u64 = state.parts.iter().map(|it| it.segment.size_bytes()).sum();
        let mut end = self.bytes_came().saturating_sub(held);
        let is_taken = |it: &&Part| {
            end += it.segment.size_bytes();
            end <= taken
        };
        let count = state.parts.iter().take_while(is_taken).count();
        let count = count.min(state.parts.len().saturating_sub(1));
        if count > 0 {
            state.parts.drain(..count);
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Bytes that came through a spool so far.
    pub fn bytes_came(&self) -> u64 {
        self.came.load(Ordering::Acquire)
    }

    /// From now on who brings bytes waits for who takes them.
    pub fn begin_taking(&self) {
        let _ = self.taken.compare_exchange(NOBODY, 0, Ordering::AcqRel, Ordering::Acquire);
    }

    /// So many of the bytes that came were taken.
    pub fn take_up_to(&self, came: u64) {
        self.taken.store(came, Ordering::Release);
    }

    /// Nobody takes bytes any more, and nobody waits for that.
    pub fn end_taking(&self) {
        self.taken.store(NOBODY, Ordering::Release);
    }

    /// Keeps this many segments readable from now on.
    pub fn keep_segments(&self, max_segments: usize) {
        self.max_segments.store(max_segments, Ordering::Release);
    }

    /// Says that bytes are brought which were there before, until the answer is dropped.
    pub fn begin(self: &Arc<Self>) -> Unfinished {
        self.unfinished.fetch_add(1, Ordering::AcqRel);
        Unfinished { source: self.clone() }
    }

    /// True while bytes are brought that were there before: an archive is unpacked, history is looked for.
    pub fn is_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::Acquire) > 0
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

    /// True when a file is one of its segments, or was one.
    pub fn holds(&self, device: u64, inode: u64) -> bool {
        let state = lock(&self.state);
        let is_it = |it: &Part| it.segment.device == device && it.segment.inode == inode;
        state.evicted.contains(&(device, inode))
            || state.parts.iter().any(is_it)
            || state.history.iter().flat_map(|it| &it.parts).any(is_it)
    }

    /// Device and inode of its segments that are files.
    pub fn identities(&self) -> Vec<(u64, u64)> {
        let state = lock(&self.state);
        let parts = state.history.iter().flat_map(|it| &it.parts).chain(&state.parts);
        parts.map(|it| (it.segment.device, it.segment.inode)).filter(|(_, inode)| *inode != 0).collect()
    }

    /// Readable bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        let state = lock(&self.state);
        let history = state.history.iter().flat_map(|it| &it.parts);
        history.chain(&state.parts).map(|it| it.segment.size_bytes()).sum()
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
    pub fn push(&self, segment: Segment, gap: Option<GapMark>) -> Arc<Segment> {
        let mut state = lock(&self.state);
        let segment = state.push(segment, gap);
        let max_segments = self.max_segments.load(Ordering::Acquire);
        // Those in memory hold no file open; most say only what is missing there.
        let files = state.parts.iter().filter(|it| it.segment.is_file()).count();
        let (mut surplus, newest) = (files.saturating_sub(max_segments), segment.uid);
        let gone = state.parts.extract_if(.., |part| {
            let it = &part.segment;
            let is_surplus = surplus > 0;
            surplus = surplus.saturating_sub(usize::from(it.is_file()));
            is_surplus || (it.uid != newest && it.size_bytes() > MAX_DELETED_BYTES && it.is_deleted())
        });
        let gone: Vec<Part> = gone.collect();
        let evicted: u64 = gone.iter().map(|it| it.segment.size_bytes()).sum();
        state.evicted.extend(gone.iter().map(|it| (it.segment.device, it.segment.inode)));
        while state.evicted.len() > MAX_EVICTED {
            state.evicted.pop_front();
        }
        state.evicted_bytes += evicted;
        if evicted > 0
            && let evicted_bytes = state.evicted_bytes
            && let Some(oldest) = state.parts.first_mut()
        {
            let kind = GapKind::Failed(format!("{} of older rotated files were let go", format::bytes(evicted_bytes)));
            oldest.gap =
                Some(GapMark { kind, at: oldest.gap.as_ref().map_or_else(|| oldest.segment.modified(), |it| it.at) });
        }
        self.epoch.fetch_add(1, Ordering::AcqRel);
        segment
    }

    /// Replaces the newest segment, whose bytes are gone. What was missing before it stays said, and what was looked at
    /// last stays. Returns the gap as it is told: with the number of bytes that can not be shown any more.
    pub fn replace_newest(
        &self,
        make: impl FnOnce(u64) -> io::Result<Segment>,
        mut gap: GapMark,
    ) -> io::Result<GapKind> {
        let number = self.next_number();
        let segment = make(number + 1)?;
        let old = self.newest();
        let remains = old.as_ref().and_then(|old| {
            let (from, bytes) = self.reader.get()?.remains(old)?;
            Some(Segment::remains_of(old, from, &bytes))
        });
        if let (GapKind::Truncated { unread_bytes, gone_bytes, .. }, Some(old)) = (&mut gap.kind, old) {
            let kept_bytes = remains.as_ref().map_or(0, Segment::size_bytes);
            *gone_bytes = old.size_bytes().saturating_sub(*unread_bytes + kept_bytes);
        }
        {
            let mut state = lock(&self.state);
            let earlier = state.parts.pop().and_then(|it| it.gap);
            match (remains, earlier) {
                (Some(remains), earlier) => drop(state.push(remains, earlier)),
                (None, Some(earlier)) => {
                    if !add_up(&mut gap.kind, &earlier.kind) {
                        state.push(Segment::memory(number), Some(earlier));
                    }
                }
                (None, None) => {}
            }
        }
        let kind = gap.kind.clone();
        self.push(segment, Some(gap));
        lock(&self.state).let_go_of_remains();
        Ok(kind)
    }

    /// Puts a segment in the newest one's place that has the same bytes, or reads them in another way.
    pub fn swap_newest(&self, mut segment: Segment) {
        let mut state = lock(&self.state);
        segment.reading = state.reading.clone();
        if let Some(newest) = state.parts.last_mut() {
            newest.segment = Arc::new(segment);
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Leaves out a segment that is not the newest and whose bytes are gone; `gap` stands there.
    pub fn give_up(&self, uid: u64, gap: GapMark) {
        let mut state = lock(&self.state);
        if let Some(part) = state.parts.iter_mut().find(|it| it.segment.uid == uid) {
            part.segment = Arc::new(Segment::memory(part.segment.number));
            part.gap = Some(gap);
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Says that rows which were shown may stand elsewhere now: an older segment has grown.
    pub fn disturbed(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Forgets all segments.
    pub fn clear(&self) {
        lock(&self.state).parts.clear();
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// A source for the segments of a rotated file, before they are put into this one's history.
    pub fn beside(&self, first_number: u64) -> Self {
        let beside = Self::new(self.id.clone(), &self.name, &self.origin);
        {
            let mut state = lock(&beside.state);
            state.next_number = first_number;
            state.reading = self.reading();
        }
        beside
    }

    /// Number for the first segment of a rotated file that was there before.
    pub fn history_number(rank: u32) -> u64 {
        FIRST_NUMBER.saturating_sub(u64::from(rank).saturating_mul(NUMBERS_PER_RANK))
    }

    /// Puts a rotated file before what is there: behind older ones (of a higher rank), before newer ones.
    pub fn put_history(&self, rank: u32, parts: Vec<Part>) {
        let mut state = lock(&self.state);
        let at = state.history.partition_point(|it| it.rank > rank);
        state.history.insert(at, Rotated { rank, parts });
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// All its segments with what is missing before each, oldest first.
    pub fn parts(&self) -> Vec<Part> {
        let state = lock(&self.state);
        state.history.iter().flat_map(|it| &it.parts).chain(&state.parts).cloned().collect()
    }

    /// Drops the oldest segment; a `gap` then stands before the next one.
    pub fn drop_oldest(&self, gap: Option<GapMark>) {
        let mut state = lock(&self.state);
        if state.parts.len() > 1 {
            state.parts.remove(0);
            if gap.is_some() {
                state.parts[0].gap = gap;
            }
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
        let mut parts: Vec<Part> = state.history.iter().flat_map(|it| &it.parts).chain(&state.parts).cloned().collect();
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

/// Emptied again and again, a file says so once: how often, and how much that cost. False for other gaps.
fn add_up(kind: &mut GapKind, earlier: &GapKind) -> bool {
    use GapKind::Truncated;
    let (
        Truncated { unread_bytes, gone_bytes, times, .. },
        Truncated { unread_bytes: unread_before, gone_bytes: gone_before, times: times_before, .. },
    ) = (kind, earlier)
    else {
        return false;
    };
    *unread_bytes += unread_before;
    *gone_bytes += gone_before;
    *times += times_before;
    true
}

impl State {
    /// Lets the oldest remains of emptied files go when there are too many, and says so where they stood.
    fn let_go_of_remains(&mut self) {
        let are_remains = |it: &Part| it.segment.remains_from().is_some();
        while self.parts.iter().filter(|it| are_remains(it)).count() > MAX_REMAINS {
            let Some(at) = self.parts.iter().position(are_remains) else { return };
            let Part { segment, gap, .. } = self.parts.remove(at);
            let mut is_told = false;
            if let Some(next) = self.parts.get_mut(at).and_then(|it| it.gap.as_mut()) {
                if let GapKind::Truncated { gone_bytes, .. } = &mut next.kind {
                    *gone_bytes += segment.size_bytes();
                }
                is_told = gap.as_ref().is_none_or(|it| add_up(&mut next.kind, &it.kind));
            }
            if !is_told && gap.is_some() {
                let segment = Arc::new(Segment::memory(segment.number));
                self.parts.insert(at, Part { segment, gap, size_bytes: 0 });
            }
        }
    }

    fn push(&mut self, mut segment: Segment, gap: Option<GapMark>) -> Arc<Segment> {
        segment.reading = self.reading.clone();
        let segment = Arc::new(segment);
        self.next_number = segment.number + 1;
        self.parts.push(Part { segment: segment.clone(), gap, size_bytes: 0 });
        self.tail = None;
        segment
    }
}
