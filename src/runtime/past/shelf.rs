//! What is known of the journal's segments: their events, and boards at some places in between.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use crate::domain::alert::AlertFact;
use crate::domain::backup::BackupFact;
use crate::domain::board::Board;
use crate::domain::fact::{Actor, Envelope, Fact, RuntimeFact};
use crate::domain::ids::ProbeId;
use crate::domain::incident::IncidentFact;
use crate::domain::past::{self, PastEvent, PastKind};
use crate::domain::probe::ProbeFact;
use crate::runtime::journal::{self, Entry, Lines, name_part};

/// A board is kept after so many bytes of a segment: what is folded for a step is less.
const KEPT_EVERY_BYTES: u64 = 512 << 10;
/// Where boards are large it is a part of the text of one: to copy it costs as much as to fold that.
const KEPT_EVERY_PART: u64 = 4;
/// Boards kept: those of one full segment and of the ends of its neighbours.
const KEPT_MAX: usize = 12;
/// So much text of boards is kept at most, however few they are then; the last one always is.
const KEPT_MAX_BYTES: u64 = 96 << 20;
/// Events kept in memory (about 250 bytes each). Past that only those of the segment read last are.
const EVENTS_MAX: usize = 20_000;

/// What one question about a single probe folds at most of journals in which events have no lines of their own: there
/// every fact must be folded to find those of one probe, and a person waits. The first of them is always read.
const UNMARKED_MAX_BYTES: u64 = if cfg!(test) { 6 << 20 } else { 24 << 20 };

/// From when until when nothing was recorded.
pub type Gap = (Timestamp, Timestamp);

/// A runtime that starts waits for its store this long and a little more; what is set up after it was set up by a person.
const STARTING_MAX: SignedDuration = SignedDuration::from_secs(10);

/// The segments of a journal.
pub struct Shelf {
    folder: PathBuf,
    /// Oldest first.
    segments: Vec<Segment>,
    kept: VecDeque<Kept>,
    #[cfg(test)]
    folded_bytes: u64,
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
    /// What is known of its beginning, once that was read.
    head: Option<Head>,
}

/// How a segment begins.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// Where the first line is that is not part of the beginning.
    offset: u64,
    /// Events stand in lines of their own.
    marked: bool,
    /// What was known; false when the runtime ended before it knew anything.
    says_something: bool,
}

/// A board at a place of a segment.
struct Kept {
    path: PathBuf,
    offset: u64,
    /// The latest fact folded in.
    at: Timestamp,
    board: Board,
    /// Of the text of the snapshot before it, which says how large a board is.
    bytes: u64,
}

impl Shelf {
    /// Makes one that knows nothing yet.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            segments: Vec::new(),
            kept: VecDeque::new(),
            #[cfg(test)]
            folded_bytes: 0,
        }
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
    ///
    /// # Errors
    /// When a journal cannot be read, or when so much would have to be read for one probe that it takes too long.
    pub fn event_before(&mut self, at: Timestamp, about: Option<&ProbeId>) -> io::Result<Option<Timestamp>> {
        let mut unmarked_bytes = 0;
        for index in (0..self.segments.len()).rev() {
            // What begins later holds no earlier event.
            if self.segments[index].starts_at().is_some_and(|first| first >= at) {
                continue;
            }
            self.afford(index, about, &mut unmarked_bytes)?;
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
        let mut unmarked_bytes = 0;
        for index in from.unwrap_or_default()..self.segments.len() {
            self.afford(index, about, &mut unmarked_bytes)?;
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
            let gap = self.gap(index, at, last)?;
            return Ok(Some((board, gap)));
        }
        Ok(None)
    }

    /// From when until when nobody watched, when an instant lies between the last fact of a segment and the next start.
    fn gap(&mut self, index: usize, at: Timestamp, last: Timestamp) -> io::Result<Option<Gap>> {
        for next in index + 1..self.segments.len() {
            if !self.begin(next)?.says_something {
                continue;
            }
            if self.segments[next].first_at.is_none_or(|first| first <= at) {
                return Ok(None);
            }
            self.learn(next)?;
            let next = &self.segments[next];
            return Ok(next.first_at.filter(|_| next.begins_anew && at > last).map(|it| (last, it)));
        }
        Ok(None)
    }

    /// Refuses to read on for one probe in segments of an older version once enough of them was read.
    fn afford(&mut self, index: usize, about: Option<&ProbeId>, unmarked_bytes: &mut u64) -> io::Result<()> {
        let Some(probe) = about else { return Ok(()) };
        let segment = &self.segments[index];
        let unread = segment.length.saturating_sub(segment.known);
        if segment.looked >= segment.length || self.begin(index)?.marked {
            return Ok(());
        }
        if *unmarked_bytes > 0 && *unmarked_bytes + unread > UNMARKED_MAX_BYTES {
            let from = self.segments[index].starts_at().map(|it| format!(" of {it:.0}")).unwrap_or_default();
            return Err(io::Error::other(format!(
                "nothing about `{}` so far, and the journals{from} were written by an older hotseat and are slow to \
                 read for one probe (step without it, or press the key again)",
                probe.name()
            )));
        }
        *unmarked_bytes += unread;
        Ok(())
    }

    /// Finds all events of a segment.
    fn learn(&mut self, index: usize) -> io::Result<()> {
        self.read_to_end(index)?;
        if !self.segments[index].start_said && self.segments[index].head.is_some_and(|it| it.says_something) {
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
        let mut before = index.checked_sub(1);
        while let Some(at) = before
            && !self.begin(at)?.says_something
        {
            before = at.checked_sub(1);
        }
        let Some(before) = before else {
            self.segments[index].say_start(None);
            return Ok(());
        };
        let process = |it: &Segment| name_part(&it.path, 2).map(ToString::to_string);
        self.segments[index].begins_anew |= process(&self.segments[index]) != process(&self.segments[before]);
        if self.segments[index].begins_anew {
            self.read_to_end(before)?;
            let last = self.segments[before].last_at;
            self.segments[index].say_start(last);
        }
        Ok(())
    }

    /// Finds the events of what was not read yet of a segment, and when its last fact was.
    fn read_to_end(&mut self, index: usize) -> io::Result<()> {
        let segment = &self.segments[index];
        if segment.looked >= segment.length {
            return Ok(());
        }
        let head = self.begin(index)?;
        if !head.says_something {
            // It may be that of a runtime that is starting just now: then it grows.
            self.segments[index].looked = self.segments[index].length;
            return Ok(());
        }
        if !head.marked {
            return self.walk(index, Timestamp::MAX).map(drop);
        }
        let segment = &mut self.segments[index];
        let mut events = Vec::new();
        let (end, last) = journal::events(&segment.path, segment.known, |it| events.extend(it))?;
        segment.events.append(&mut events);
        segment.last_at = last.or(segment.last_at);
        (segment.known, segment.looked) = (end, segment.length);
        Ok(())
    }

    /// Reads how a segment begins, once. A runtime that starts knows nothing until it has told what was kept and what
    /// the config names: that is where its past begins, and never with an empty board.
    fn begin(&mut self, index: usize) -> io::Result<Head> {
        if let Some(head) = self.segments[index].head.filter(|it| it.says_something) {
            return Ok(head);
        }
        let segment = &mut self.segments[index];
        let found = journal::head(&segment.path)?;
        let mut head = Head { offset: 0, marked: found.is_some(), says_something: false };
        if let Some(found) = found.filter(|it| !it.is_first) {
            segment.first_at = Some(found.at);
            head.says_something = true;
            segment.head = Some(head);
            return Ok(head);
        }
        let mut lines = Lines::open(&segment.path, 0)?;
        let Some(Entry::Snapshot { at: began, mut board }) = lines.next_entry()? else {
            segment.head = Some(head);
            return Ok(head);
        };
        segment.first_at = Some(began);
        if board.alerts.is_configured() {
            head.says_something = true;
            segment.head = Some(head);
            return Ok(head);
        }
        segment.begins_anew = true;
        let (mut early, mut known) = (Vec::new(), None);
        while let Some(entry) = lines.next_entry()? {
            let envelope = match entry {
                Entry::Fact(envelope) => envelope,
                Entry::Events | Entry::Odd | Entry::Snapshot { .. } => continue,
                Entry::Torn => break,
            };
            if envelope.at.duration_since(began) > STARTING_MAX {
                break;
            }
            let (_, turned) = board.fold(envelope.at, &envelope);
            let events = past::events(&envelope, &turned);
            if head.says_something && !events.is_empty() {
                break;
            }
            // That a config was read says less than that somebody began to watch.
            early.extend(events.into_iter().filter(|it| it.kind != PastKind::Config));
            let is_ready = board.alerts.is_configured();
            if is_ready && (!head.says_something || sets_up(&envelope.fact)) {
                (head.says_something, head.offset) = (true, lines.offset);
                segment.first_at = Some(envelope.at);
                known = Some(board.clone());
            }
        }
        if let (Some(at), Some(board)) = (segment.first_at, known) {
            early.iter_mut().for_each(|it| it.at = at);
            segment.events = early;
            (segment.known, segment.last_at) = (head.offset, Some(at));
            let (path, offset) = (segment.path.clone(), head.offset);
            keep(&mut self.kept, Kept { path, offset, at, board: *board, bytes: offset });
        }
        segment.head = Some(head);
        Ok(head)
    }

    /// Folds a segment up to an instant; `None` when it begins later or says nothing. Also when its last fact was.
    fn walk(&mut self, index: usize, until: Timestamp) -> io::Result<Option<(Board, Timestamp)>> {
        if self.segments[index].starts_at().is_some_and(|it| it > until) {
            return Ok(None);
        }
        let head = self.begin(index)?;
        let Self {
            segments,
            kept,
            #[cfg(test)]
            folded_bytes,
            ..
        } = self;
        let segment = &mut segments[index];
        if !head.says_something || segment.first_at.is_none_or(|it| it > until) {
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
        let (mut end, mut bytes) = (0, 0);
        if let Some(it) = nearest.and_then(|at| kept.remove(at)) {
            (folded, end, bytes) = (Some((it.board.clone(), it.at)), it.offset, it.bytes);
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
                // Only that of the first line is anything but a fact that follows others.
                (Entry::Snapshot { at, board }, None) => {
                    segment.known = segment.known.max(end);
                    folded = Some((*board, at));
                    (last_kept, bytes) = (end, end);
                    continue;
                }
                (Entry::Fact(envelope), Some(_)) => envelope,
                (Entry::Odd | Entry::Events | Entry::Snapshot { .. }, Some(_)) => continue,
                // Without a snapshot there is nothing to fold into.
                (Entry::Odd | Entry::Events | Entry::Fact(_), None) => {
                    segment.looked = segment.length;
                    return Ok(None);
                }
            };
            let Some((board, at)) = folded.as_mut().filter(|_| envelope.at <= until) else { break };
            // What stands before the beginning is part of it.
            let (_, turned) = board.fold(envelope.at, &envelope);
            *at = envelope.at.max(segment.first_at.unwrap_or(envelope.at));
            if !head.marked && start <= segment.known && segment.known < end {
                segment.note(&envelope, past::events(&envelope, &turned));
                segment.known = end;
            }
            #[cfg(test)]
            {
                *folded_bytes += end - start;
            }
            if end - last_kept >= KEPT_EVERY_BYTES.max(bytes / KEPT_EVERY_PART) {
                last_kept = end;
                let (path, at, board) = (segment.path.clone(), envelope.at, board.clone());
                keep(kept, Kept { path, offset: end, at, board, bytes });
            }
        }
        if is_whole && !head.marked {
            segment.looked = segment.length;
            // The newest segment grows: what comes is folded into this.
            if let Some((board, at)) = folded.as_ref().filter(|_| end > last_kept) {
                let (path, at, board) = (segment.path.clone(), *at, board.clone());
                keep(kept, Kept { path, offset: end, at, board, bytes });
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
            head: None,
        }
    }

    /// Gives its events up; they are found again when somebody asks.
    fn forget(&mut self) {
        (self.looked, self.known, self.start_said) = (0, 0, false);
        (self.events, self.head) = (Vec::new(), None);
    }

    /// When it begins: to the millisecond before it was read.
    fn starts_at(&self) -> Option<Timestamp> {
        self.first_at.or_else(|| Timestamp::from_millisecond(name_part(&self.path, 0)?.parse().ok()?).ok())
    }

    fn note(&mut self, envelope: &Envelope, events: Vec<PastEvent>) {
        self.last_at = Some(envelope.at);
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

/// True for what a start tells of what was kept and what the config names.
fn sets_up(fact: &Fact) -> bool {
    match fact {
        Fact::Runtime(fact) => matches!(fact, RuntimeFact::Restored(_)),
        Fact::Alert(fact) => matches!(fact, AlertFact::Configured { .. }),
        Fact::Probe(fact) => matches!(fact, ProbeFact::Configured { .. }),
        Fact::Backup(fact) => {
            matches!(fact, BackupFact::Configured { .. } | BackupFact::Loaded { .. } | BackupFact::Planned { .. })
        }
        Fact::Incident(fact) => matches!(fact, IncidentFact::Loaded(_)),
        Fact::Log(_) | Fact::Presence(_) => false,
    }
}

fn keep(kept: &mut VecDeque<Kept>, it: Kept) {
    kept.retain(|other| other.path != it.path || other.offset != it.offset);
    kept.push_back(it);
    while kept.len() > KEPT_MAX || kept.len() > 1 && kept.iter().map(|it| it.bytes).sum::<u64>() > KEPT_MAX_BYTES {
        kept.pop_front();
    }
}

fn is_wanted(event: &PastEvent, about: Option<&ProbeId>) -> bool {
    about.is_none_or(|it| event.is_about(it))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::domain::alert::rules::AlertRules;
    use crate::domain::fact::Restored;
    use crate::domain::ids::HostId;
    use crate::domain::probe::health::Thresholds;
    use crate::domain::probe::outcome::{Cause, Outcome, Phase, Phases, ProbeResult, Trouble};
    use crate::domain::probe::{ProbeRules, ProbeSetup};
    use crate::runtime::journal::Journal;
    use crate::service::{FactSender, ServiceSetup};

    const PROBES: usize = 40;
    /// Of a journal; fewer than the writer keeps.
    const SEGMENTS: usize = 16;

    /// A journal that is written as a runtime writes it, with the clock told to it.
    struct World {
        journal: Journal,
        board: Board,
        now: Timestamp,
        outcomes: u64,
    }

    impl World {
        fn new(dir: &Path, now: Timestamp) -> Self {
            let (facts, _) = FactSender::channel();
            let host = HostId::new("h");
            let (state_dir, cancel) = (dir.to_path_buf(), CancellationToken::new());
            let setup = ServiceSetup { host: host.clone(), user: "alice".into(), state_dir, facts, cancel };
            Self { journal: Journal::start(&setup, &host), board: Board::default(), now, outcomes: 0 }
        }

        fn take(&mut self, fact: Fact) {
            let (host, seq) = (HostId::new("h"), self.board.seq + 1);
            let envelope = Envelope { host, seq, at: self.now, actor: Actor::Runtime, fact };
            self.journal.record(&envelope, &self.board);
            let (_, turned) = self.board.fold(self.now, &envelope);
            self.journal.mark(past::events(&envelope, &turned));
            self.now += SignedDuration::from_millis(1);
            if self.outcomes.is_multiple_of(100) {
                self.journal.flusher().flush();
            }
        }

        fn starts(&mut self, restored: Restored) {
            self.take(config_loaded());
            self.take(Fact::Runtime(RuntimeFact::Restored(Box::new(restored))));
            self.take(Fact::Alert(AlertFact::Configured { rules: Box::new(AlertRules::default()) }));
            for at in 0..PROBES {
                let setup = ProbeSetup {
                    kind: "http".into(),
                    target: format!("https://p{at}.example"),
                    interval: Duration::from_secs(15),
                    retry: Duration::from_secs(5),
                    timeout: Duration::from_secs(5),
                    thresholds: Thresholds::default(),
                    expect: Vec::new(),
                    prefer: Vec::new(),
                    rules: ProbeRules::default(),
                };
                self.take(Fact::Probe(ProbeFact::Configured { probe: probe(at), setup }));
            }
        }

        fn sees(&mut self, at: usize, result: ProbeResult) {
            let mut phases = Phases::default();
            phases.add(Phase::Wait, Duration::from_millis(17));
            let trouble = (result == ProbeResult::Fail).then(|| Trouble::new(Cause::Status, "502", "status is 502"));
            let (lag, latency_suspect) = (Duration::ZERO, false);
            let outcome =
                Outcome { at: self.now, result, phases, trouble, evidence: Default::default(), lag, latency_suspect };
            self.outcomes += 1;
            self.take(Fact::Probe(ProbeFact::Outcome { probe: probe(at), outcome: Box::new(outcome), next: None }));
        }

        fn kept(&self) -> Restored {
            Restored { probes: self.board.probes.kept(), ..Restored::default() }
        }
    }

    fn config_loaded() -> Fact {
        Fact::Runtime(RuntimeFact::ConfigLoaded { path: None, errors: Vec::new(), digest: Default::default() })
    }

    fn probe(at: usize) -> ProbeId {
        ProbeId::new(&HostId::new("h"), &format!("p{at}"))
    }

    fn shelf(dir: &Path) -> Shelf {
        let mut shelf = Shelf::new(&dir.join(journal::FOLDER));
        shelf.look().expect("read");
        shelf
    }

    /// As an older version wrote it: without marks.
    fn unmark(dir: &Path) {
        for path in journal::segments(&dir.join(journal::FOLDER)).expect("read") {
            let text = journal::text(&path);
            let lines = text.lines().filter(|it| !it.starts_with(r#"{"events""#));
            let lines = lines.map(|it| {
                it.replacen(r#""marked":true,"#, "", 1).replacen(r#""is_first":true,"#, "", 1).replacen(
                    r#""is_first":false,"#,
                    "",
                    1,
                ) + "\n"
            });
            let old: String = lines.collect();
            assert!(!old.contains("marked"));
            fs::write(path.with_extension(""), old).expect("written");
            fs::remove_file(&path).expect("removed");
        }
    }

    #[test]
    fn the_past_of_a_start_begins_with_what_was_restored_and_never_with_an_empty_board() {
        let dir = tempfile::tempdir().expect("a directory");
        let begin = Timestamp::from_second(1_800_000_000).expect("a time");
        let mut first = World::new(dir.path(), begin);
        first.starts(Restored::default());
        (0..3).for_each(|_| first.sees(7, ProbeResult::Fail));
        let (kept, ended) = (first.kept(), first.now);
        first.journal.flusher().flush();
        drop(first);
        let starts = begin + SignedDuration::from_secs(600);
        // The names of segments hold the process, which is another one after a restart.
        let old = journal::segments(&dir.path().join(journal::FOLDER)).expect("read").remove(0);
        fs::rename(&old, old.with_file_name(format!("{:014}-0-1.ndjson.zst", begin.as_millisecond())))
            .expect("renamed");
        let mut second = World::new(dir.path(), starts);
        second.starts(kept);
        let ready = second.now;
        second.sees(3, ProbeResult::Ok);
        second.journal.flusher().flush();
        drop(second);
        for is_old in [false, true] {
            if is_old {
                unmark(dir.path());
            }
            let mut shelf = shelf(dir.path());
            let at = shelf.event_before(Timestamp::MAX, None).expect("read").expect("a start");
            assert!(starts < at && at < ready, "{at}");
            let events = shelf.events_at(at, None, 9);
            assert_eq!(events.iter().map(|it| it.kind).collect::<Vec<_>>(), [PastKind::Start], "old: {is_old}");
            let (board, gap) = shelf.board(at).expect("read").expect("known");
            assert_eq!((board.probes.iter().count(), gap), (PROBES, None));
            assert_eq!(board.probes.get(&probe(7)).expect("restored").health().word(), "down");
            // While it started nothing was known: that belongs to the time in which nobody watched.
            let (board, gap) = shelf.board(starts).expect("read").expect("known");
            let (from, until) = gap.expect("a gap");
            assert!(from < ended && until == at, "{from} {until}");
            assert_eq!(board.probes.get(&probe(7)).expect("known").health().word(), "down");
            let before = shelf.event_before(at, None).expect("read").expect("a flip");
            assert_eq!(shelf.events_at(before, None, 9)[0].kind, PastKind::Probe, "old: {is_old}");
            let first = shelf.event_before(before, None).expect("read").expect("the first start");
            assert_eq!(shelf.events_at(first, None, 9)[0].kind, PastKind::Start);
            assert_eq!(shelf.known_since(), Some(first));
            assert_eq!(shelf.board(begin).expect("read"), None, "nothing is known of the time before");
        }
    }

    #[test]
    fn a_runtime_that_ended_while_it_started_says_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let begin = Timestamp::from_second(1_800_000_000).expect("a time");
        let mut world = World::new(dir.path(), begin);
        world.take(config_loaded());
        world.journal.flusher().flush();
        let mut shelf = shelf(dir.path());
        assert_eq!(shelf.event_before(Timestamp::MAX, None).expect("read"), None);
        assert_eq!(shelf.board(Timestamp::MAX).expect("read"), None);
        // It goes on after all.
        world.starts(Restored::default());
        world.journal.flusher().flush();
        shelf.look().expect("read");
        let at = shelf.event_before(Timestamp::MAX, None).expect("read").expect("a start");
        assert_eq!(shelf.board(at).expect("read").expect("known").0.probes.iter().count(), PROBES);
    }

    #[test]
    fn events_of_a_full_journal_are_found_without_folding_it_and_a_jump_folds_one_segment() {
        let dir = tempfile::tempdir().expect("a directory");
        let begin = Timestamp::from_second(1_800_000_000).expect("a time");
        let mut world = World::new(dir.path(), begin);
        world.starts(Restored::default());
        let folder = dir.path().join(journal::FOLDER);
        let segments = || journal::segments(&folder).expect("read").len();
        let mut down = None;
        while segments() < SEGMENTS {
            for at in 0..PROBES {
                world.sees(at, ProbeResult::Ok);
            }
            if segments() == 2 && down.is_none() {
                (0..2).for_each(|_| world.sees(7, ProbeResult::Fail));
                down = Some(world.now);
            }
        }
        world.journal.flusher().flush();
        let down = down.expect("it went down");
        let mut shelf = shelf(dir.path());
        let found = shelf.event_before(Timestamp::MAX, Some(&probe(7))).expect("read").expect("it was up again");
        assert!(found > down);
        let fell = shelf.event_before(found, Some(&probe(7))).expect("read").expect("it fell");
        assert!(fell < down);
        assert_eq!(shelf.folded_bytes, 0, "events are found by their lines");
        let (board, _) = shelf.board(fell).expect("read").expect("known");
        assert_eq!(board.probes.get(&probe(7)).expect("there").health().word(), "down");
        assert!(shelf.folded_bytes <= 5 << 20, "no more than one segment: {}", shelf.folded_bytes);
        let once = shelf.folded_bytes;
        shelf.board(fell - SignedDuration::from_millis(40)).expect("read").expect("known");
        assert!(
            shelf.folded_bytes - once <= KEPT_EVERY_BYTES + (64 << 10),
            "a step folds little: {}",
            shelf.folded_bytes - once
        );

        // Where every fact must be folded a person is answered before all of it is, and gets on with the next press.
        unmark(dir.path());
        let mut old = self::shelf(dir.path());
        let mut folded = 0;
        for _ in 0..2 {
            let error = old.event_before(Timestamp::MAX, Some(&probe(3))).expect_err("there is too much");
            assert!(error.to_string().starts_with("nothing about `p3` so far"), "{error}");
            assert!(folded < old.folded_bytes && old.folded_bytes - folded <= 10 << 20, "{}", old.folded_bytes);
            folded = old.folded_bytes;
        }
    }
}
