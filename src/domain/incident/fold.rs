//! What the entries of an incident add up to.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::format;
use crate::domain::ids::IncidentId;
use crate::domain::incident::entry::{Entry, EntryBody};
use crate::domain::incident::{Severity, Status, name};

/// Entries kept in memory per incident; past that the oldest notes, pins and machine entries stay on disk only.
/// A day of notes and flips is some hundreds.
pub const ENTRIES_MAX: usize = 5_000;

/// An incident as its entries tell it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its id.
    pub id: IncidentId,
    /// It is the log-book of a day: notes without a declared incident.
    pub log_book: bool,
    /// One line.
    pub title: String,
    /// How bad.
    pub severity: Severity,
    /// Where it stands.
    pub status: Status,
    /// What happened; empty until somebody says.
    pub summary: String,
    /// What was done about it; empty until somebody says.
    pub action_taken: String,
    /// When it was declared.
    pub declared_at: Timestamp,
    /// Who declared it.
    pub declared_by: String,
    /// When users began to suffer, if known.
    pub impact_start: Option<Timestamp>,
    /// When it was mitigated, while it is mitigated or resolved.
    pub mitigated_at: Option<Timestamp>,
    /// When it was resolved, while it is.
    pub resolved_at: Option<Timestamp>,
    /// Its entries by time, then by recording, then by id.
    pub entries: Vec<Entry>,
    /// Entries that are on disk only, see [`ENTRIES_MAX`].
    pub cut_entries: u32,
    /// Journal lines that are not intact.
    pub damaged_lines: u32,
    /// Intact journal lines whose predecessor is missing or was changed.
    pub broken_links: u32,
    /// Hex sha256 of its document, empty while there is none.
    pub document_sha256: String,
}

impl Incident {
    /// Folds entries of any order; an entry that is there twice counts once.
    pub fn fold(id: IncidentId, entries: Vec<Entry>) -> Self {
        let log_book = name::is_log_book(id.name());
        let mut incident = Self {
            log_book,
            title: String::new(),
            severity: if log_book { Severity::Sev4 } else { Severity::Sev3 },
            status: Status::Investigating,
            summary: String::new(),
            action_taken: String::new(),
            declared_at: Timestamp::UNIX_EPOCH,
            declared_by: String::new(),
            impact_start: None,
            mitigated_at: None,
            resolved_at: None,
            entries,
            cut_entries: 0,
            damaged_lines: 0,
            broken_links: 0,
            document_sha256: String::new(),
            id,
        };
        incident.entries.sort_by_key(order);
        incident.entries.dedup_by_key(|it| it.id);
        incident.cut();
        incident.derive();
        incident
    }

    /// Adds one entry at its place; one that is there already changes nothing.
    pub fn add(&mut self, entry: &Entry) {
        let at = self.entries.partition_point(|it| order(it) < order(entry));
        if self.entries.get(at).is_some_and(|it| it.id == entry.id) {
            return;
        }
        self.entries.insert(at, entry.clone());
        self.cut();
        self.derive();
    }

    /// True while people work on it.
    pub fn is_open(&self) -> bool {
        !self.log_book && self.status != Status::Resolved
    }

    /// When it began: the impact if known, else the declaration.
    pub fn began_at(&self) -> Timestamp {
        self.impact_start.unwrap_or(self.declared_at)
    }

    /// From its beginning to its resolution, or to `now`.
    pub fn duration(&self, now: Timestamp) -> SignedDuration {
        self.resolved_at.unwrap_or(now).duration_since(self.began_at()).max(SignedDuration::ZERO)
    }

    /// The short name for a header: `INC-0819-k7q2`.
    pub fn short_name(&self) -> String {
        name::short(self.id.name())
    }

    /// The entries as a reader should see them: corrections applied, retracted ones and corrections left out.
    pub fn timeline(&self) -> Vec<TimelineRow<'_>> {
        let find = |id| self.entries.iter().find(|it| it.id == id);
        let changeable = |id| find(id).is_some_and(|it: &Entry| !it.body.is_machine());
        let mut rows: Vec<TimelineRow<'_>> = Vec::with_capacity(self.entries.len());
        let mut corrections = Vec::new();
        for entry in &self.entries {
            match &entry.body {
                // A correction of what a machine saw stays visible as a row and changes nothing.
                EntryBody::Amend(it) if changeable(it.entry) => corrections.push(entry),
                EntryBody::Retract { entry: of } if changeable(*of) => corrections.push(entry),
                // Nobody declared a log-book: it begins with the first note of the day.
                EntryBody::Declare(it) if self.log_book => {
                    rows.push(TimelineRow { entry, at: entry.at, text: Some(&it.title), corrected: false });
                }
                _ => rows.push(TimelineRow { entry, at: entry.at, text: None, corrected: false }),
            }
        }
        corrections.sort_by_key(|it| (it.rec, it.id));
        for correction in corrections {
            match &correction.body {
                EntryBody::Retract { entry } => rows.retain(|it| it.entry.id != *entry),
                EntryBody::Amend(amend) => {
                    if let Some(row) = rows.iter_mut().find(|it| it.entry.id == amend.entry) {
                        row.at = amend.at.unwrap_or(row.at);
                        row.text = amend.text.as_deref().or(row.text);
                        row.corrected = true;
                    }
                }
                _ => {}
            }
        }
        rows.sort_by_key(|it| it.at);
        rows
    }

    fn cut(&mut self) {
        while self.entries.len() > ENTRIES_MAX {
            let oldest = self.entries.iter().position(|it| !it.body.is_header()).unwrap_or(1);
            self.entries.remove(oldest);
            self.cut_entries = self.cut_entries.saturating_add(1);
        }
    }

    fn derive(&mut self) {
        let declaration = self.entries.iter().find(|it| matches!(it.body, EntryBody::Declare(_)));
        let first = declaration.or(self.entries.first());
        self.declared_at = first.map_or(Timestamp::UNIX_EPOCH, |it| it.at);
        self.declared_by = first.map_or_else(String::new, |it| it.by.clone());
        // The declaration may be lost with its writer's file; the name still says which incident it is.
        self.title = self.id.name().to_string();
        self.impact_start = None;
        self.status = Status::Investigating;
        self.mitigated_at = None;
        self.resolved_at = None;
        let mut declared = false;
        for entry in &self.entries {
            match &entry.body {
                // A log-book is declared once per writer; the first one counts.
                EntryBody::Declare(it) if !declared => {
                    declared = true;
                    self.title.clone_from(&it.title);
                    self.severity = it.severity;
                    self.impact_start = it.impact_start;
                }
                EntryBody::Status { status } => {
                    self.status = *status;
                    match status {
                        Status::Investigating | Status::Identified => {
                            self.mitigated_at = None;
                            self.resolved_at = None;
                        }
                        Status::Mitigated => {
                            self.mitigated_at = Some(entry.at);
                            self.resolved_at = None;
                        }
                        Status::Resolved => {
                            self.mitigated_at = self.mitigated_at.or(Some(entry.at));
                            self.resolved_at = Some(entry.at);
                        }
                    }
                }
                EntryBody::Severity { severity } => self.severity = *severity,
                EntryBody::Title { text } => self.title.clone_from(text),
                EntryBody::Summary { text } => self.summary.clone_from(text),
                EntryBody::Action { text } => self.action_taken.clone_from(text),
                EntryBody::Declare(_)
                | EntryBody::Note(_)
                | EntryBody::Pin(_)
                | EntryBody::Probe { .. }
                | EntryBody::Backup { .. }
                | EntryBody::Alert { .. }
                | EntryBody::Amend(_)
                | EntryBody::Retract { .. }
                | EntryBody::Unknown { .. } => {}
            }
        }
    }
}

/// One row of the timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct TimelineRow<'a> {
    /// The entry it shows.
    pub entry: &'a Entry,
    /// When it happened, corrected.
    pub at: Timestamp,
    /// The corrected text, when there is one.
    pub text: Option<&'a str>,
    /// A person corrected it.
    pub corrected: bool,
}

impl TimelineRow<'_> {
    /// The row in words; may have several lines.
    pub fn words(&self) -> String {
        self.text.map_or_else(|| self.entry.body.words(), str::to_string)
    }

    /// The row in words for somebody in a zone. What a person wrote stays as it is; a machine writes times as RFC 3339
    /// into the journal, which people of several zones read.
    pub fn words_in(&self, now: Timestamp, zone: &TimeZone) -> String {
        let words = self.words();
        if self.entry.body.is_machine() { format::local_times(&words, now, zone) } else { words }
    }
}

fn order(entry: &Entry) -> (Timestamp, Timestamp, uuid::Uuid) {
    (entry.at, entry.rec, entry.id)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::ids::HostId;
    use crate::domain::incident::entry::tests::entry;
    use crate::domain::incident::entry::{Amend, Declare, Note};

    /// An incident of the host `h`.
    pub(crate) fn incident(name: &str, entries: Vec<Entry>) -> Incident {
        Incident::fold(IncidentId::new(&HostId::new("h"), name), entries)
    }

    fn note(second: i64, text: &str) -> Entry {
        entry(second, EntryBody::Note(Note::new(text)))
    }

    fn declare(second: i64) -> Entry {
        let impact = Timestamp::from_second(second - 60).ok();
        entry(second, EntryBody::Declare(Declare::new("edge 502", Severity::Sev2, impact)))
    }

    #[test]
    fn folding_one_by_one_equals_folding_at_once_in_any_order() {
        let entries = vec![
            declare(100),
            note(101, "a"),
            entry(102, EntryBody::Status { status: Status::Mitigated }),
            entry(103, EntryBody::Severity { severity: Severity::Sev1 }),
            note(90, "before"),
        ];
        let whole = incident("INC-20240819-1452-k7q2", entries.clone());
        let mut grown = incident("INC-20240819-1452-k7q2", Vec::new());
        for entry in entries.iter().rev().chain(&entries) {
            grown.add(entry);
        }
        assert_eq!(grown, whole);
        assert_eq!(whole.severity, Severity::Sev1);
        assert_eq!(whole.mitigated_at, Timestamp::from_second(102).ok());
        assert_eq!(whole.entries[0].body.words(), "before");
    }

    #[test]
    fn the_duration_runs_from_the_impact_and_stops_at_the_resolution() {
        let mut it = incident("INC-20240819-1452-k7q2", vec![declare(100)]);
        assert_eq!(it.duration(Timestamp::from_second(200).unwrap()).as_secs(), 160);
        it.add(&entry(130, EntryBody::Status { status: Status::Resolved }));
        assert_eq!(it.duration(Timestamp::from_second(200).unwrap()).as_secs(), 90);
        it.add(&entry(140, EntryBody::Status { status: Status::Investigating }));
        assert_eq!(it.resolved_at, None);
    }

    #[test]
    fn a_correction_changes_a_note_but_never_what_a_machine_saw() {
        let probe = entry(5, EntryBody::Probe { subject: "h/api".into(), text: "down".into() });
        let first = note(3, "typo");
        let amend = |second, of: &Entry| {
            let at = Timestamp::from_second(1).ok();
            entry(second, EntryBody::Amend(Amend { entry: of.id, at, text: Some("fixed".into()) }))
        };
        let gone = note(4, "gone");
        let entries = vec![
            amend(10, &first),
            amend(11, &probe),
            entry(12, EntryBody::Retract { entry: gone.id }),
            entry(13, EntryBody::Retract { entry: probe.id }),
            first.clone(),
            gone,
            probe,
        ];
        let it = incident("INC-20240819-1452-k7q2", entries);
        let words: Vec<String> = it.timeline().iter().map(TimelineRow::words).collect();
        assert_eq!(words, ["fixed", "api down", "corrected an entry", "took an entry back"]);
    }

    #[test]
    fn too_many_entries_leave_the_oldest_notes_out_but_never_the_header() {
        let mut entries = vec![declare(1)];
        entries.extend((2..ENTRIES_MAX as i64 + 12).map(|second| note(second, "n")));
        let it = incident("INC-20240819-1452-k7q2", entries);
        assert_eq!((it.entries.len(), it.cut_entries, it.title.as_str()), (ENTRIES_MAX, 11, "edge 502"));
    }
}
