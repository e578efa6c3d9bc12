//! Places in a source: of a position, of a time, at the end.

use jiff::Timestamp;

use crate::domain::log::{Cursor, Position};
use crate::logstore::block::PAGE_BYTES;
use crate::logstore::block::reader::BlockReader;
use crate::logstore::source::Snapshot;
use crate::logstore::walk::Place;

/// The place of a source's last record, or where the last block begins when it can not be read.
pub fn last_record(reader: &BlockReader, snapshot: &Snapshot) -> Place {
    if snapshot.store.is_some() {
        // A store's records do not grow, and new ones come with a new epoch.
        return Place::STORE_END;
    }
    let Some(part) = snapshot.parts.last() else { return Place::START };
    let index = snapshot.parts.len() - 1;
    let mut page = part.size_bytes.div_ceil(PAGE_BYTES);
    while page > 0 {
        page -= 1;
        let Ok(read) = reader.stretch(&part.segment, part.size_bytes, page, PAGE_BYTES) else {
            return Place { part: index, offset: page * PAGE_BYTES };
        };
        if let Some(span) = read.spans().last() {
            return Place { part: index, offset: read.base + u64::from(span.start) };
        }
    }
    Place { part: index, offset: 0 }
}

/// Nanoseconds since the epoch.
pub fn nanos_of(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

/// The instant of a place in a store.
pub fn time_of(place: Place) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(place.instant())).unwrap_or(Timestamp::MAX)
}

/// The position of a place, as others see it.
pub fn position(snapshot: &Snapshot, place: Place, time: Option<Timestamp>) -> Position {
    if let Some(look) = &snapshot.store {
        let tie = look.reader.tie_at(place).map_or_else(String::new, |it| format!("{it:016x}"));
        let cursor = Cursor::Store { nanos: place.instant(), tie };
        return Position { time, source: snapshot.source.id.clone(), cursor };
    }
    let segment = snapshot.parts.get(place.part).map(|it| &it.segment);
    Position {
        time,
        source: snapshot.source.id.clone(),
        cursor: Cursor::File {
            segment: segment.map_or(0, |it| it.number),
            device: segment.map_or(0, |it| it.device),
            inode: segment.map_or(0, |it| it.inode),
            offset: place.offset + segment.and_then(|it| it.remains_from()).unwrap_or(0),
        },
    }
}

/// The place of a position of this source; the nearest one when its segment is gone.
pub fn place(snapshot: &Snapshot, cursor: &Cursor) -> Place {
    if let (Some(look), Cursor::Store { nanos, tie }) = (&snapshot.store, cursor) {
        return match u64::from_str_radix(tie, 16) {
            Ok(tie) => look.reader.place_of(*nanos, tie, &look.stop),
            Err(_) => Place::of_instant(*nanos),
        };
    }
    let Cursor::File { segment, device, inode, offset } = cursor else { return Place::START };
    let is_same = |it: &crate::logstore::source::Part| it.segment.device == *device && it.segment.inode == *inode;
    let by_number = snapshot.parts.iter().position(|it| it.segment.number == *segment && is_same(it));
    // After a restart the numbers begin again, but the file is still the same one.
    let part = by_number.or_else(|| snapshot.parts.iter().position(is_same));
    match part {
        Some(index) => {
            let part = &snapshot.parts[index];
            let offset = offset.saturating_sub(part.segment.remains_from().unwrap_or(0));
            Place { part: index, offset: offset.min(part.size_bytes) }
        }
        None if snapshot.parts.first().is_some_and(|it| *segment < it.segment.number) => Place::START,
        None => Place::end_of(snapshot),
    }
}

/// The place before the first record at or after a time (`after_equal`: after those of the same time).
///
/// A block that can not be read counts as later, so that a walk from the place meets it.
pub fn seek(reader: &BlockReader, snapshot: &Snapshot, time: Timestamp, after_equal: bool) -> Place {
    if snapshot.store.is_some() {
        return Place::of_instant(nanos_of(time).saturating_add(i64::from(after_equal)));
    }
    let is_before = |it: Timestamp| if after_equal { it <= time } else { it < time };
    for (index, part) in snapshot.parts.iter().enumerate().rev() {
        // Pages `..low` begin before the time.
        let (mut low, mut high) = (0, part.size_bytes.div_ceil(PAGE_BYTES));
        while low < high {
            let middle = low + (high - low) / 2;
            if reader.time_of_page(snapshot, part, middle).is_ok_and(is_before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low == 0 {
            continue;
        }
        let Ok(page) = reader.stretch(&part.segment, part.size_bytes, low - 1, PAGE_BYTES) else {
            return Place { part: index, offset: (low - 1) * PAGE_BYTES };
        };
        let all: Vec<u32> = (0..).take(page.spans().len()).collect();
        for (span, (_, at)) in page.spans().iter().zip(reader.clocks(snapshot, part, &page, &all)) {
            let offset = page.base + u64::from(span.start);
            if !is_before(at.unwrap_or_else(|| snapshot.arrival(part, offset))) {
                return Place { part: index, offset };
            }
        }
        return Place { part: index, offset: page.next };
    }
    Place::START
}

/// The time by which the record at a place is merged, when there is one.
pub fn clock_at(reader: &BlockReader, snapshot: &Snapshot, place: Place) -> Option<Timestamp> {
    let part = snapshot.parts.get(place.part).filter(|_| snapshot.store.is_none())?;
    let page = reader.page_at(&part.segment, part.size_bytes, place.offset).ok()?;
    let index = page.spans().iter().position(|it| page.base + u64::from(it.start) == place.offset)?;
    reader.clocks(snapshot, part, &page, &[u32::try_from(index).ok()?]).first()?.1
}

/// The place from which on the records of a source may still change: its last record, and while its last line
/// is not whole also the one before, which that line may turn out to continue.
pub fn unsettled(reader: &BlockReader, snapshot: &Snapshot) -> Place {
    let last = last_record(reader, snapshot);
    let before = || {
        let part = snapshot.parts.get(last.part).filter(|_| snapshot.store.is_none())?;
        let page = reader.page_at(&part.segment, part.size_bytes, last.offset).ok()?;
        let index = page.spans().iter().position(|it| page.base + u64::from(it.start) == last.offset)?;
        let is_whole = page.bytes.ends_with(b"\n");
        let before = page.spans().get(index.checked_sub(1)?).filter(|_| !is_whole)?;
        Some(Place { part: last.part, offset: page.base + u64::from(before.start) })
    };
    before().unwrap_or(last)
}
