//! What still grows behind a stream: last lines and last records, also of files that were rotated away.

use crate::clock;
use crate::domain::log::{GapKind, LINE_BYTES};
use crate::logstore::block::PAGE_BYTES;
use crate::logstore::source::Snapshot;
use crate::logstore::stream::{Hold, Stream};
use crate::logstore::walk::{Direction, Found, Ground, Item, Place, Placed, Step, Walk};

impl Stream<'_> {
    /// What was written to rotated files after the newer one was met, with how much of each record was handed over
    /// before: their writers may keep them open for a while.
    pub(super) fn late(&self, ground: Ground<'_>, index: usize, snapshot: &Snapshot) -> Vec<(Placed, usize)> {
        let Some((_, sizes)) = self.older.get(&snapshot.source.id) else { return Vec::new() };
        let mut late = Vec::new();
        for (part, it) in snapshot.parts.iter().enumerate() {
            let Some(offset) = sizes.get(&it.segment.uid).copied().filter(|met| *met < it.size_bytes) else { continue };
            late.extend(self.torn(index, snapshot, Place { part, offset }));
            let mut walk =
                Walk::new(ground, snapshot, index, Place { part, offset }, Direction::Forward).without_tail();
            loop {
                match walk.step() {
                    Step::Item(Placed { item: Item::Record(found), source, at }) if found.place.part == part => {
                        late.push((Placed { source, at, item: Item::Record(found) }, 0));
                    }
                    Step::Pending if walk.is_at(part) => {}
                    Step::Item(_) | Step::Pending | Step::End => break,
                }
            }
        }
        late
    }

    /// The record that was met as far as a place and goes on there now, and how much of it was handed over: whole
    /// lines, and nothing when it did not pass.
    fn torn(&self, index: usize, snapshot: &Snapshot, met: Place) -> Option<(Placed, usize)> {
        let part = snapshot.parts.get(met.part)?;
        let mut page = met.offset.checked_sub(1)? / PAGE_BYTES;
        let found = loop {
            let block = self.engine.inner().reader.stretch(&part.segment, part.size_bytes, page, PAGE_BYTES).ok()?;
            let offset = |it: usize| block.base + u64::from(block.spans()[it].start);
            if let Some(at) = (0..block.spans().len()).rfind(|it| offset(*it) < met.offset) {
                break Found { place: Place { part: met.part, offset: offset(at) }, block: block.clone(), index: at };
            }
            page = page.checked_sub(1)?;
        };
        let met_bytes = usize::try_from(met.offset - found.place.offset).unwrap_or(usize::MAX);
        if found.length() <= met_bytes {
            return None;
        }
        let mut earlier = snapshot.clone();
        earlier.parts[met.part].size_bytes = met.offset;
        let was_met = self.found_at(&earlier, found.place).is_some_and(|it| it.passes(&self.matcher, &earlier));
        if !was_met && !found.passes(&self.matcher, snapshot) {
            return None;
        }
        let bytes = &found.block.bytes_of(&found.block.spans()[found.index])[..met_bytes];
        let from_byte = memchr::memrchr(b'\n', bytes).filter(|_| was_met).map_or(0, |it| it + 1);
        Some((placed(index, snapshot, found), from_byte))
    }

    /// The record that begins at a place.
    pub(super) fn found_at(&self, snapshot: &Snapshot, place: Place) -> Option<Found> {
        let part = snapshot.parts.get(place.part)?;
        let block = self.engine.inner().reader.page_at(&part.segment, part.size_bytes, place.offset).ok()?;
        let index = block.spans().iter().position(|it| block.base + u64::from(it.start) == place.offset)?;
        Some(Found { place, block, index })
    }

    /// True when the last record of a source is held back, and notes since when it has not grown.
    pub(super) fn holds(&mut self, hold: Hold, snapshot: &Snapshot) -> bool {
        let Hold::Record(settle) = hold else { return false };
        let (size, now) = (snapshot.size_bytes(), clock::monotonic());
        match self.sizes.get(&snapshot.source.id) {
            Some((known, since)) if *known == size => now.saturating_duration_since(*since) < settle,
            _ => {
                self.sizes.insert(snapshot.source.id.clone(), (size, now));
                true
            }
        }
    }

    /// The last record met, when more lines of it have come, or made it pass.
    pub(super) fn grown(&mut self, index: usize, snapshot: &Snapshot) -> Option<(Placed, usize)> {
        let id = &snapshot.source.id;
        let (place, met_bytes) = self.open.get(id).copied()?;
        let (part, (uid, _)) = (snapshot.parts.get(place.part)?, self.met.get(id)?);
        if part.segment.uid != *uid {
            return None;
        }
        let found = self.found_at(snapshot, place)?;
        let length = length_on_disk(&found);
        if length <= met_bytes {
            return None;
        }
        let passes = met_bytes > 0 || found.passes(&self.matcher, snapshot);
        let placed = placed(index, snapshot, found);
        if !passes {
            // What is kept for the context of the next match is what the record has become.
            if let Some(kept) = self.before.iter_mut().find(|it| is_same_record(it, &placed)) {
                *kept = placed;
            }
            return None;
        }
        self.open.insert(id.clone(), (place, length));
        Some((placed, met_bytes))
    }
}

/// How long a record is, what is too long to be kept included.
pub(super) fn length_on_disk(found: &Found) -> usize {
    usize::try_from(found.block.length_of(found.index)).unwrap_or(usize::MAX)
}

/// A record in its place among those of others.
pub(super) fn placed(source: usize, snapshot: &Snapshot, found: Found) -> Placed {
    let arrival = || snapshot.parts.get(found.place.part).map(|it| snapshot.arrival(it, found.place.offset));
    let at = found.time().or_else(arrival).unwrap_or_default();
    Placed { source, at, item: Item::Record(found) }
}

/// How long the last segment is up to its last line end; all of it when nothing more will come to it, or when the line
/// is so long that it is shown in parts anyway.
pub(super) fn whole_lines(snapshot: &Snapshot) -> u64 {
    let Some(part) = snapshot.parts.last() else { return 0 };
    let size = part.size_bytes;
    if snapshot.tail.as_ref().is_some_and(|it| it.kind == GapKind::Ended) {
        return size;
    }
    let mut length = PAGE_BYTES;
    loop {
        let start = size.saturating_sub(length);
        let Ok(bytes) = part.segment.read(start, size) else { return size };
        if let Some(at) = memchr::memrchr(b'\n', &bytes) {
            return start + at as u64 + 1;
        }
        if start == 0 {
            return 0;
        }
        if length >= LINE_BYTES {
            return size;
        }
        length = (length * 8).min(LINE_BYTES);
    }
}

/// True for two states of one record.
pub(super) fn is_same_record(one: &Placed, other: &Placed) -> bool {
    match (&one.item, &other.item) {
        (Item::Record(a), Item::Record(b)) => one.source == other.source && a.place == b.place,
        _ => false,
    }
}
