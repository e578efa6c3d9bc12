//! The boards of several hosts, and the one that is drawn of them.
//!
//! Each host's board is folded by its own facts alone and stays equal to that of its runtime. What is drawn is their
//! union: the entity that a fact touches is copied there, so that ten busy hosts cost a screen little more than one.
//! The union is only drawn: no fact is ever folded into it. A screen of one host has no copy at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::backup::BackupFact;
use crate::domain::board::{Board, ConfigStatus, Stopping};
use crate::domain::config_error::ConfigError;
use crate::domain::effect::Effect;
use crate::domain::fact::{Envelope, Fact, RuntimeFact};
use crate::domain::host::Way;
use crate::domain::ids::{HostId, ProbeId};
use crate::domain::incident::IncidentFact;
use crate::domain::incident::board::IncidentBoard;
use crate::domain::log::{LogFact, SourceStatus};
use crate::domain::presence::Presence;
use crate::domain::probe::outcome::Outcome;

/// The boards of several hosts; of a single one it keeps nothing, because that is drawn as it is.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    several: bool,
    // Told of first: the local one where it is among them, else the one that was named first.
    first: Option<HostId>,
    boards: BTreeMap<HostId, Board>,
    lost: BTreeMap<HostId, Timestamp>,
}

impl Fleet {
    /// For a screen of several hosts. `Fleet::default()` is for a screen of one.
    pub fn of_several() -> Self {
        Self { several: true, ..Self::default() }
    }

    /// True for a screen of several hosts, also while only one of them is there.
    pub fn is_of_several(&self) -> bool {
        self.several
    }

    /// The boards of several hosts, by name.
    pub fn boards(&self) -> impl Iterator<Item = (&HostId, &Board)> {
        self.boards.iter()
    }

    /// Takes over a host's whole board.
    pub fn take(&mut self, drawn: &mut Board, snapshot: &Board) {
        match &snapshot.host {
            Some(host) if self.several => {
                self.boards.insert(host.clone(), snapshot.clone());
                *drawn = self.union();
            }
            _ => drawn.clone_from(snapshot),
        }
    }

    /// Folds a fact into the board of its host, and what it touches into what is drawn.
    pub fn fold(&mut self, now: Timestamp, drawn: &mut Board, envelope: &Envelope) {
        // The runtime that owns the board has carried out its effects already.
        if !self.several {
            let _ = drawn.apply(now, envelope);
            return;
        }
        // A host's snapshot comes before its facts.
        let Some(board) = self.boards.get_mut(&envelope.host) else { return };
        let effects = board.apply(now, envelope);
        match &envelope.fact {
            Fact::Probe(fact) => {
                drawn.probes.copy(&board.probes, fact.probe());
                if effects.iter().any(|it| matches!(it, Effect::Commit(_))) {
                    self.unite_alerts(drawn);
                }
            }
            Fact::Alert(_) => self.unite_alerts(drawn),
            Fact::Log(fact) => match fact {
                LogFact::Opened { .. } | LogFact::Closed { .. } => self.unite_logs(drawn),
                LogFact::Columns { source, .. }
                | LogFact::Grew { source, .. }
                | LogFact::Gap { source, .. }
                | LogFact::Doubt { source, .. }
                | LogFact::State { source, .. } => {
                    let theirs = board.logs.get(source);
                    let ours = drawn.logs.sources.iter_mut().find(|it| it.id == *source);
                    if let (Some(theirs), Some(ours)) = (theirs, ours) {
                        *ours = named_by_host(&envelope.host, theirs);
                    }
                }
            },
            Fact::Backup(fact) => {
                let job = match fact {
                    BackupFact::Configured { .. } | BackupFact::Removed { .. } => None,
                    BackupFact::Loaded { job, .. }
                    | BackupFact::Planned { job, .. }
                    | BackupFact::Progressed { job, .. }
                    | BackupFact::Deleted { job, .. }
                    | BackupFact::Held { job, .. } => Some(job),
                    BackupFact::Started { run } | BackupFact::Ended { run } | BackupFact::Verified { run } => {
                        Some(&run.job)
                    }
                };
                let theirs = job.and_then(|job| board.backups.job(job));
                let ours = job.and_then(|job| drawn.backups.jobs.iter_mut().find(|it| it.info.id == *job));
                match (theirs, ours) {
                    (Some(theirs), Some(ours)) => ours.clone_from(theirs),
                    _ => self.unite_backups(drawn),
                }
            }
            Fact::Incident(fact) => {
                let incident = match fact {
                    IncidentFact::EntryAppended { incident, .. }
                    | IncidentFact::DocumentChanged { incident, .. }
                    | IncidentFact::Damaged { incident, .. } => Some(incident),
                    IncidentFact::Loaded(_) | IncidentFact::Storage { .. } | IncidentFact::Removed { .. } => None,
                };
                let theirs = incident.and_then(|it| board.incidents.get(it));
                let ours = incident.and_then(|it| drawn.incidents.incidents.iter_mut().find(|ours| ours.id == *it));
                match (theirs, ours) {
                    (Some(theirs), Some(ours)) => {
                        ours.clone_from(theirs);
                        drawn.incidents.saved_at = drawn.incidents.saved_at.max(board.incidents.saved_at);
                    }
                    _ => self.unite_incidents(drawn),
                }
            }
            Fact::Presence(_) => self.unite_presence(drawn),
            Fact::Runtime(RuntimeFact::Restored(_)) => *drawn = self.union(),
            Fact::Runtime(_) => self.unite_status(drawn),
        }
    }

    /// Puts outcomes in the place of glimpses, on the board of the probe's host and in what is drawn.
    pub fn fill(&mut self, drawn: &mut Board, probe: &ProbeId, outcomes: &[Arc<Outcome>]) {
        drawn.probes.fill(probe, outcomes);
        if let Some(board) = self.boards.get_mut(&HostId::new(probe.host())) {
            board.probes.fill(probe, outcomes);
        }
    }

    /// Takes note of how the way to a host is: what a lost one last said stays in sight, and is marked.
    pub fn heed(&mut self, drawn: &mut Board, host: &HostId, way: &Way) {
        if !self.several {
            return;
        }
        self.first.get_or_insert_with(|| host.clone());
        match way {
            Way::Lost { since, .. } => {
                self.lost.insert(host.clone(), *since);
            }
            Way::Refused { since, .. } => {
                self.lost.entry(host.clone()).or_insert(*since);
            }
            // While it is tried for the first time there is nothing to mark.
            Way::Connecting => {}
            Way::Inside | Way::Attached { .. } => {
                self.lost.remove(host);
            }
        }
        self.mark_hosts(drawn);
        self.unite_presence(drawn);
    }

    /// Takes note that a host is called otherwise than on the command line.
    pub fn rename(&mut self, was: &HostId, host: &HostId) {
        if self.first.as_ref() == Some(was) {
            self.first = Some(host.clone());
        }
    }

    /// Of several hosts the one that keeps what belongs to none of them: declarations and the log-book.
    pub fn first(&self) -> Option<&HostId> {
        self.first.as_ref()
    }

    /// Builds what is drawn from nothing but the boards.
    pub fn union(&self) -> Board {
        let mut drawn = Board::default();
        for board in self.boards.values() {
            drawn.probes.copy_all(&board.probes);
        }
        self.unite_alerts(&mut drawn);
        self.unite_logs(&mut drawn);
        self.unite_backups(&mut drawn);
        self.unite_incidents(&mut drawn);
        self.unite_presence(&mut drawn);
        self.unite_status(&mut drawn);
        self.mark_hosts(&mut drawn);
        drawn
    }

    fn mark_hosts(&self, drawn: &mut Board) {
        drawn.hosts = self.boards.keys().map(|it| (it.clone(), self.lost.get(it).copied())).collect();
    }

    fn unite_alerts(&self, drawn: &mut Board) {
        drawn.alerts = Default::default();
        for (host, board) in &self.boards {
            drawn.alerts.unite(host, &board.alerts);
        }
    }

    fn unite_logs(&self, drawn: &mut Board) {
        let of_host =
            |(host, board): (&HostId, &Board)| board.logs.sources.iter().map(|it| named_by_host(host, it)).collect();
        drawn.logs.sources = self.boards.iter().flat_map::<Vec<_>, _>(of_host).collect();
    }

    fn unite_backups(&self, drawn: &mut Board) {
        drawn.backups.jobs = self.boards.values().flat_map(|it| it.backups.jobs.iter().cloned()).collect();
    }

    fn unite_incidents(&self, drawn: &mut Board) {
        let boards = || self.boards.iter().map(|(host, board)| (host, &board.incidents));
        let mut incidents: Vec<_> = boards().flat_map(|(_, it)| it.incidents.iter().cloned()).collect();
        incidents.sort_by_key(|it| it.declared_at);
        drawn.incidents = IncidentBoard {
            incidents,
            saved_at: boards().filter_map(|(_, it)| it.saved_at).max(),
            trouble: boards().find_map(|(host, it)| Some(format!("{host}: {}", it.trouble.as_ref()?))),
        };
    }

    fn unite_presence(&self, drawn: &mut Board) {
        // Who was at a host that is lost may have left it since.
        let reached = self.boards.iter().filter(|(host, _)| !self.lost.contains_key(*host));
        drawn.presence = Presence::united(reached.map(|(_, it)| &it.presence));
    }

    fn unite_status(&self, drawn: &mut Board) {
        let words = |of: fn(&Board) -> Option<&String>| {
            self.boards.iter().find_map(|(host, board)| Some(format!("{host}: {}", of(board)?)))
        };
        drawn.not_durable = words(|it| it.not_durable.as_ref());
        // One that another runtime stands in for is no reason to say that nothing is watched here.
        let all_stand_by = self.boards.values().all(|it| it.standby.is_some());
        drawn.standby = words(|it| it.standby.as_ref()).filter(|_| all_stand_by);
        drawn.config = ConfigStatus {
            path: self.boards.values().find_map(|it| it.config.path.clone()),
            errors: self.mistakes(|it| &it.config.errors),
            rejected: self.mistakes(|it| &it.config.rejected),
            digest: None,
        };
        drawn.stopping = self.boards.iter().find_map(|(host, board)| {
            let it = board.stopping.as_ref().filter(|_| !self.lost.contains_key(host))?;
            Some(Stopping { waits_for: format!("{} on `{host}`", it.waits_for), until: it.until })
        });
        let failures = self.boards.iter().flat_map(|(host, board)| {
            board.failures.iter().map(move |(service, error)| (format!("{host}: {service}"), error.clone()))
        });
        drawn.failures = failures.collect();
    }

    fn mistakes(&self, of: fn(&Board) -> &Vec<ConfigError>) -> Vec<ConfigError> {
        let of_host = |(host, board)| {
            let named = move |it: &ConfigError| ConfigError { file: format!("{host}:{}", it.file), ..it.clone() };
            of(board).iter().map(named).collect::<Vec<_>>()
        };
        self.boards.iter().flat_map(of_host).collect()
    }
}

/// A source under a name that says its host: `db1:syslog`.
fn named_by_host(host: &HostId, source: &SourceStatus) -> SourceStatus {
    SourceStatus { name: format!("{host}:{}", source.name), ..source.clone() }
}

#[cfg(test)]
mod tests;
