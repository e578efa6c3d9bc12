//! What is known of the journal's segments: their events, and boards at some places in between.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::domain::board::Board;
use crate::domain::fact::{Actor, Envelope};
use crate::domain::ids::ProbeId;
use crate::domain::past::{self, PastEvent, PastKind};
use crate::runtime::journal::{self, Entry, Lines};

/// A board is kept after so many bytes of a segment: what is folded for a step is less.
const KEPT_EVERY_BYTES: u64 = 512 << 10;
/// Boards kept: those of one full segment and of the ends of its neighbours.
const KEPT_MAX: usize = 12;
/// Events kept in memory (about 250 bytes each). Past that only those of the segment read last are.
const EVENTS_MAX: usize = 20_000;

/// From when until when nothing was recorded.
pub type Gap = (Timestamp, Timestamp);

/// The segments of a journal.
pub struct Shelf {
    folder: PathBuf,
    /// Oldest first.
    segments: Vec<Segment>,
    kept: VecDeque<Kept>,
}

/// What is known of a segment.
struct Segment {
    path: PathBuf,
    length: u64,
    /// The length that it had when it was read to its end.
    looked: u64,
    /// The events of its lines up to here are known.
    known: u64,
    /// What happened in them, in the order of the lines.
    events: Vec<PastEvent>,
    first_at: Option<Timestamp>,
    last_at: Option<Timestamp>,
    /// Nobody wrote between the segment before and this one.
    begins_anew: bool,
    start_said: bool,
}

/// A board at a place of a segment.
struct Kept {
    path: PathBuf,
    offset: u64,
    /// The latest fact folded in.
    at: Timestamp,
    board: Board,
}

impl Shelf {
    /// Makes one that knows nothing yet.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf(), segments: Vec::new(), kept: VecDeque::new() }
    }

    /// Looks which segments there are and how long; those that are gone are forgotten.
    pub fn look(&mut self) -> io::Result<()> {
        let mut known = std::mem::take(&mut self.segments);
        for path in journal::segments(&self.folder)? {
            // Removed by the writer since the folder was read.
            let Ok(length) = fs::metadata(&path).map(|it| it.len()) else { continue };
            match known.iter().position(|it| it.path == path) {
                Some(at) => {
                    let mut segment = known.swap_remove(at);
                    segment.length = length;
                    self.segments.push(segment);
                }
                None => self.segments.push(Segment::new(path, length)),
            }
        }
        self.kept.retain(|kept| !known.iter().any(|it| it.path == kept.path));
        Ok(())
    }

    /// From when on the past is recorded.
    pub fn known_since(&self) -> Option<Timestamp> {
        let first = self.segments.first()?;
        // The name says it to the millisecond; more is known of what was read.
        first.first_at.or_else(|| Timestamp::from_millisecond(name_part(&first.path, 0)?.parse().ok()?).ok())
    }

    /// The instant of the last event before another one.
    pub fn event_before(&mut self, at: Timestamp, about: Option<&ProbeId>) -> io::Result<Option<Timestamp>> {
        for index in (0..self.segments.len()).rev() {
            self.learn(index)?;
            let found = self.segments[index].events.iter().rev().find(|it| it.at < at && is_wanted(it, about));
            if let Some(event) = found {
                return Ok(Some(event.at));
            }
        }
        Ok(None)
    }

    /// The instant of the first event after another one.
    pub fn event_after(&mut self, at: Timestamp, about: Option<&ProbeId>) -> io::Result<Option<Timestamp>> {
        // What began later than the instant needs no look at what ended before it.
        let from = self.segments.iter().rposition(|it| it.starts_at().is_some_and(|first| first <= at));
        for index in from.unwrap_or_default()..self.segments.len() {
            self.learn(index)?;
            let found = self.segments[index].events.iter().find(|it| it.at > at && is_wanted(it, about));
            if let Some(event) = found {
                return Ok(Some(event.at));
            }
        }
        Ok(None)
    }

    /// What happened at an instant.
    pub fn events_at(&self, at: Timestamp, about: Option<&ProbeId>, most: usize) -> Vec<PastEvent> {
        let events = self.segments.iter().flat_map(|it| &it.events);
        events.filter(|it| it.at == at && is_wanted(it, about)).take(most).cloned().collect()
    }

    /// The board of an instant; when nothing was recorded around it, the last one before, and from when until when.
    pub fn board(&mut self, at: Timestamp) -> io::Result<Option<(Board, Option<Gap>)>> {
        for index in (0..self.segments.len()).rev() {
            let Some((board, last)) = self.walk(index, at)? else { continue };
            let gap = match self.segments.get(index + 1) {
                Some(next) if next.starts_at().is_some_and(|first| first > at) => {
                    self.learn(index + 1)?;
                    let next = &self.segments[index + 1];
                    next.first_at.filter(|first| next.begins_anew && *first > at && at > last).map(|it| (last, it))
                }
                _ => None,
            };
            return Ok(Some((board, gap)));
        }
        Ok(None)
    }

    /// Finds all events of a segment.
    fn learn(&mut self, index: usize) -> io::Result<()> {
        if self.segments[index].looked < self.segments[index].length {
            self.walk(index, Timestamp::MAX)?;
        }
        if !self.segments[index].start_said {
            self.segments[index].start_said = true;
            self.find_start(index)?;
        }
        let total: usize = self.segments.iter().map(|it| it.events.len()).sum();
        if total > EVENTS_MAX {
            let others = self.segments.iter_mut().enumerate().filter(|(at, _)| *at != index);
            others.for_each(|(_, it)| it.forget());
        }
        Ok(())
    }

    /// Finds out whether a runtime began with a segment, and since when nobody had watched.
    fn find_start(&mut self, index: usize) -> io::Result<()> {
        let Some(before) = index.checked_sub(1) else {
            self.segments[index].say_start(None);
            return Ok(());
        };
        let process = |it: &Segment| name_part(&it.path, 2).map(ToString::to_string);
        self.segments[index].begins_anew |= process(&self.segments[index]) != process(&self.segments[before]);
        if self.segments[index].begins_anew {
            if self.segments[before].looked < self.segments[before].length {
                self.walk(before, Timestamp::MAX)?;
            }
            let last = self.segments[before].last_at;
            self.segments[index].say_start(last);
        }
        Ok(())
    }

    /// Folds a segment up to an instant; `None` when it begins later or says nothing. Also when its last fact was.
    fn walk(&mut self, index: usize, until: Timestamp) -> io::Result<Option<(Board, Timestamp)>> {
        let Self { segments, kept, .. } = self;
        let segment = &mut segments[index];
        if segment.starts_at().is_some_and(|it| it > until) {
            return Ok(None);
        }
        let is_whole = until == Timestamp::MAX;
        // The board nearest before the instant; when events are looked for, before those that are not known.
        let limit = if is_whole { segment.known } else { u64::MAX };
        let nearest = kept
            .iter()
            .enumerate()
            .filter(|(_, it)| it.path == segment.path && it.at <= until && it.offset <= limit)
            .max_by_key(|(_, it)| it.offset)
            .map(|(at, _)| at);
        let mut folded: Option<(Board, Timestamp)> = None;
        let mut end = 0;
        if let Some(it) = nearest.and_then(|at| kept.remove(at)) {
            (folded, end) = (Some((it.board.clone(), it.at)), it.offset);
            // Used again: it is given up last.
            kept.push_back(it);
        }
        let mut last_kept = end;
        let mut lines = Lines::open(&segment.path, end)?;
        while let Some(entry) = lines.next_entry()? {
            let start = std::mem::replace(&mut end, lines.offset);
            let envelope = match (entry, &folded) {
                (Entry::Torn, _) => {
                    end = start;
                    break;
                }
                (Entry::Snapshot { at, board }, None) => {
                    segment.first_at = Some(at);
                    if at > until {
                        return Ok(None);
                    }
                    segment.known = segment.known.max(end);
                    folded = Some((*board, at));
                    continue;
                }
                (Entry::Fact(envelope), Some(_)) => envelope,
                (Entry::Odd | Entry::Snapshot { .. }, Some(_)) => continue,
                // Without a snapshot there is nothing to fold into.
                (Entry::Odd | Entry::Fact(_), None) => {
                    segment.looked = segment.length;
                    return Ok(None);
                }
            };
            let Some((board, at)) = folded.as_mut().filter(|_| envelope.at <= until) else { break };
            let (_, turned) = board.fold(envelope.at, &envelope);
            *at = envelope.at;
            if start <= segment.known && segment.known < end {
                segment.note(&envelope, past::events(&envelope, &turned));
                segment.known = end;
            }
            if end - last_kept >= KEPT_EVERY_BYTES {
                last_kept = end;
                keep(kept, Kept { path: segment.path.clone(), offset: end, at: envelope.at, board: board.clone() });
            }
        }
        if is_whole {
            segment.looked = segment.length;
            // The newest segment grows: what comes is folded into this.
            if let Some((board, at)) = folded.as_ref().filter(|_| end > last_kept) {
                keep(kept, Kept { path: segment.path.clone(), offset: end, at: *at, board: board.clone() });
            }
        }
        Ok(folded)
    }
}

impl Segment {
    fn new(path: PathBuf, length: u64) -> Self {
        Self {
            path,
            length,
            looked: 0,
            known: 0,
            events: Vec::new(),
            first_at: None,
            last_at: None,
            begins_anew: false,
            start_said: false,
        }
    }

    /// Gives its events up; they are found again when somebody asks.
    fn forget(&mut self) {
        (self.looked, self.known, self.start_said) = (0, 0, false);
        self.events = Vec::new();
    }

    /// When it begins: to the millisecond before it was read.
    fn starts_at(&self) -> Option<Timestamp> {
        self.first_at.or_else(|| Timestamp::from_millisecond(name_part(&self.path, 0)?.parse().ok()?).ok())
    }

    fn note(&mut self, envelope: &Envelope, events: Vec<PastEvent>) {
        self.last_at = Some(envelope.at);
        if envelope.seq == 1 {
            // That a config was read says less than that somebody began to watch.
            self.begins_anew = true;
            return;
        }
        self.events.extend(events);
    }

    /// Puts the start of a runtime before everything else.
    fn say_start(&mut self, nothing_since: Option<Timestamp>) {
        let Some(at) = self.first_at.filter(|_| self.begins_anew) else { return };
        let event = PastEvent {
            at,
            kind: PastKind::Start,
            subject: "hotseat".to_string(),
            text: "started".to_string(),
            actor: Actor::Runtime,
            nothing_since,
        };
        self.events.insert(0, event);
    }
}

fn keep(kept: &mut VecDeque<Kept>, it: Kept) {
    kept.retain(|other| other.path != it.path || other.offset != it.offset);
    if kept.len() == KEPT_MAX {
        kept.pop_front();
    }
    kept.push_back(it);
}

fn is_wanted(event: &PastEvent, about: Option<&ProbeId>) -> bool {
    about.is_none_or(|it| event.is_about(it))
}

/// A part of the name `milliseconds-seq-process.ndjson`.
fn name_part(path: &Path, part: usize) -> Option<&str> {
    path.file_stem()?.to_str()?.split('-').nth(part)
}
