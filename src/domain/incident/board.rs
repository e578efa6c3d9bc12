//! What the board knows of incidents: which are open, what they have become, whether writing works.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::ids::IncidentId;
use crate::domain::incident::fold::Incident;
use crate::domain::incident::{IncidentFact, Severity, Status};
use crate::domain::sanitise;

/// Incidents kept on the board: all open ones of a very bad day and the latest closed ones to look back at.
pub const INCIDENTS_MAX: usize = 64;

/// The newest open incident in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strip {
    /// `INC-0819-k7q2`.
    pub short_name: String,
    /// Sanitised, one line.
    pub title: String,
    /// How bad.
    pub severity: Severity,
    /// Where it stands.
    pub status: Status,
    /// When it began: the impact if known, else the declaration.
    pub began_at: Timestamp,
    /// Time since then.
    pub elapsed: SignedDuration,
    /// How many others are open too.
    pub more_open: usize,
}

/// What the board knows of incidents.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IncidentBoard {
    /// Incidents and log-books, oldest declaration first.
    pub incidents: Vec<Incident>,
    /// When the last entry of a person reached the disk.
    pub saved_at: Option<Timestamp>,
    /// Why notes cannot be written or incidents not be read, in words.
    pub trouble: Option<String>,
}

impl IncidentBoard {
    /// Folds one fact in.
    pub fn apply(&mut self, now: Timestamp, fact: &IncidentFact) {
        match fact {
            IncidentFact::Loaded(incident) => {
                self.incidents.retain(|it| it.id != incident.id);
                let at = self.incidents.partition_point(|it| it.declared_at <= incident.declared_at);
                self.incidents.insert(at, Incident::clone(incident));
                self.forget_oldest();
            }
            IncidentFact::EntryAppended { incident, entry } => {
                if let Some(incident) = self.get_mut(incident) {
                    incident.add(entry);
                }
                if !entry.body.is_machine() {
                    self.saved_at = Some(now);
                }
            }
            IncidentFact::DocumentChanged { incident, sha256 } => {
                if let Some(incident) = self.get_mut(incident) {
                    incident.document_sha256.clone_from(sha256);
                }
            }
            IncidentFact::Damaged { incident, lines, broken_links } => {
                if let Some(incident) = self.get_mut(incident) {
                    incident.damaged_lines = *lines;
                    incident.broken_links = *broken_links;
                }
            }
            IncidentFact::Storage { trouble } => self.trouble.clone_from(trouble),
            IncidentFact::Removed { incident } => self.incidents.retain(|it| it.id != *incident),
        }
    }

    /// The incidents that are open now, newest first. A log-book is never open: machines do not write to it.
    pub fn open(&self) -> Vec<IncidentId> {
        self.open_incidents().map(|it| it.id.clone()).collect()
    }

    /// The open incidents, newest first.
    pub fn open_incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.iter().rev().filter(|it| it.is_open())
    }

    /// What a header says about the newest open incident, `None` while nothing is open.
    pub fn strip(&self, now: Timestamp) -> Option<Strip> {
        let open = self.open_incidents().count();
        let incident = self.open_incidents().next()?;
        Some(Strip {
            short_name: incident.short_name(),
            title: sanitise::text(&incident.title),
            severity: incident.severity,
            status: incident.status,
            began_at: incident.began_at(),
            elapsed: incident.duration(now),
            more_open: open - 1,
        })
    }

    /// Finds an incident.
    pub fn get(&self, incident: &IncidentId) -> Option<&Incident> {
        self.incidents.iter().find(|it| it.id == *incident)
    }

    fn get_mut(&mut self, incident: &IncidentId) -> Option<&mut Incident> {
        self.incidents.iter_mut().find(|it| it.id == *incident)
    }

    fn forget_oldest(&mut self) {
        while self.incidents.len() > INCIDENTS_MAX {
            // An open incident goes only when all are open.
            let closed = self.incidents.iter().position(|it| it.log_book || it.status == Status::Resolved);
            self.incidents.remove(closed.unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::incident::entry::tests::entry;
    use crate::domain::incident::entry::{Declare, EntryBody, Note};
    use crate::domain::incident::fold::tests::incident;

    #[test]
    fn a_resolved_incident_and_a_log_book_are_not_open() {
        let mut board = IncidentBoard::default();
        let declare = |second| entry(second, EntryBody::Declare(Declare::new("t", Severity::Sev2, None)));
        for (name, second) in [("INC-20240819-1452-aaaa", 1), ("INC-20240819-1453-bbbb", 2), ("LOG-20240819", 3)] {
            let loaded = incident(name, vec![declare(second)]);
            board.apply(Timestamp::UNIX_EPOCH, &IncidentFact::Loaded(Box::new(loaded)));
        }
        let open = board.open();
        assert_eq!(
            open.iter().map(|it| it.name()).collect::<Vec<_>>(),
            ["INC-20240819-1453-bbbb", "INC-20240819-1452-aaaa"]
        );
        let resolve = entry(9, EntryBody::Status { status: Status::Resolved });
        let fact = IncidentFact::EntryAppended { incident: open[0].clone(), entry: Box::new(resolve) };
        board.apply(Timestamp::UNIX_EPOCH, &fact);
        assert_eq!(board.open(), open[1..].to_vec());
    }

    #[test]
    fn only_a_persons_entry_moves_saved() {
        let mut board = IncidentBoard::default();
        let loaded = incident("INC-20240819-1452-aaaa", Vec::new());
        let id = loaded.id.clone();
        board.apply(Timestamp::UNIX_EPOCH, &IncidentFact::Loaded(Box::new(loaded)));
        let now: Timestamp = "2024-08-19T06:52:00Z".parse().unwrap();
        let machine = EntryBody::Probe { subject: "h/api".into(), text: "down".into() };
        for (body, saved) in [(machine, None), (EntryBody::Note(Note::new("x")), Some(now))] {
            let fact = IncidentFact::EntryAppended { incident: id.clone(), entry: Box::new(entry(1, body)) };
            board.apply(now, &fact);
            assert_eq!(board.saved_at, saved);
        }
    }

    #[test]
    fn the_board_forgets_closed_incidents_first() {
        let mut board = IncidentBoard::default();
        let declare = |second| entry(second, EntryBody::Declare(Declare::new("t", Severity::Sev2, None)));
        for number in 0..INCIDENTS_MAX as i64 + 1 {
            let name = if number == 3 { "LOG-20240819".to_string() } else { format!("INC-20240819-1452-{number:04}") };
            let loaded = incident(&name, vec![declare(number)]);
            board.apply(Timestamp::UNIX_EPOCH, &IncidentFact::Loaded(Box::new(loaded)));
        }
        assert_eq!(board.incidents.len(), INCIDENTS_MAX);
        assert_eq!(board.open().len(), INCIDENTS_MAX);
    }
}
