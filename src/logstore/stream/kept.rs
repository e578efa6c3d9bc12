//! What a stream read and did not hand over yet: when its file is emptied, nobody else has it any more.

use std::io;

use crate::domain::log::LINE_BYTES;
use crate::logstore::place::last_record;
use crate::logstore::source::{Part, Snapshot};
use crate::logstore::stream::growing::placed;
use crate::logstore::stream::{Met, Stream, Take};
use crate::logstore::walk::{Found, Place};

/// The last records of a source.
pub(super) struct Kept {
    /// The source as it was then.
    snapshot: Snapshot,
    /// Number of the segment.
    segment: u64,
    /// The records, and how much of each was handed over.
    records: Vec<(Found, usize)>,
}

impl Stream<'_> {
    /// Hands over what was kept of sources whose file was emptied since.
    pub(super) fn rescue(&mut self, snapshots: &[Snapshot], take: &mut dyn Take) -> io::Result<()> {
        for snapshot in snapshots {
            let id = &snapshot.source.id;
            // Its bytes are still there, or stand somewhere else by now.
            let number = self.kept.get(id).map_or(0, |it| it.segment);
            let has_it = |it: &Part| it.segment.number == number && it.segment.remains_from().is_none();
            if snapshot.parts.iter().any(has_it) {
                continue;
            }
            let Some(Kept { snapshot: then, records, .. }) = self.kept.remove(id) else { continue };
            let then = [then];
            for (found, from_byte) in records {
                if from_byte == 0 && !found.passes(&self.matcher, &then[0]) {
                    continue;
                }
                self.after = self.context;
                let presenter = self.presenter(&then, &self.matcher, &self.columns);
                let placed = placed(0, &then[0], found);
                take.met(&Met { placed, context: false, from_byte, unfinished: false, presenter })?;
            }
        }
        Ok(())
    }

    /// Goes on from a place with a source whose file was emptied while it was met. What was kept of it before and stands
    /// behind that place stays kept.
    pub(super) fn go_back(&mut self, snapshot: &Snapshot, place: Place) {
        let Some(part) = snapshot.parts.get(place.part) else { return };
        let id = &snapshot.source.id;
        self.met.insert(id.clone(), (part.segment.uid, place.offset));
        self.keep_older(snapshot, place.part);
        let mut read_to = place.offset;
        if let Some(kept) = self.kept.get_mut(id).filter(|it| it.segment == part.segment.number) {
            kept.records.retain(|(found, _)| found.place.offset >= place.offset);
            let ends = kept.records.iter().map(|(found, _)| found.place.offset + found.length() as u64);
            read_to = ends.max().unwrap_or(read_to);
        }
        part.segment.read_only_to(read_to);
    }

    /// Keeps what of a source was read and not handed over: the record that is held back, a line without its end.
    pub(super) fn keep(&mut self, whole: &Snapshot, trimmed: &Snapshot, holds: bool) {
        let id = &trimmed.source.id;
        let Some(part) = whole.parts.last().filter(|_| whole.store.is_none()) else { return };
        let reader = &self.engine.inner().reader;
        let mut records = Vec::new();
        let last = (trimmed.size_bytes() > 0).then(|| last_record(reader, trimmed));
        if holds && let Some(last) = last {
            records.extend(self.found_at(trimmed, last).map(|it| (it, 0)));
        }
        let trimmed_bytes = trimmed.parts.last().map_or(0, |it| it.size_bytes);
        if trimmed_bytes < part.size_bytes && part.size_bytes - trimmed_bytes <= LINE_BYTES {
            let last = last_record(reader, whole);
            let open = self.open.get(id).filter(|it| it.0 == last && !holds).map_or(0, |it| it.1);
            records.retain(|(found, _)| found.place != last);
            records.extend(self.found_at(whole, last).map(|it| (it, open)));
        }
        if records.is_empty() {
            self.kept.remove(id);
        } else {
            let kept = Kept { snapshot: whole.clone(), segment: part.segment.number, records };
            self.kept.insert(id.clone(), kept);
        }
    }
}
