//! The thread that owns the store of a running screen or agent.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::fact::{Actor, Fact};
use crate::domain::format;
use crate::domain::ids::IncidentId;
use crate::domain::incident::entry::Entry;
use crate::domain::incident::{IncidentChange, IncidentFact, MachineEntry};
use crate::domain::request::{Inbound, Request};
use crate::service::FactSender;
use crate::service::incident::document::Saved;
use crate::service::incident::files::StoreError;
use crate::service::incident::queue::{Job, Next, Queue};
use crate::service::incident::store::{AGENT, Added, Change, IncidentStore, Seat};
use crate::service::incident::watch::Watch;

/// Shortest time between two looks, so that a writer in a loop costs a look and not a core.
const LOOK_GAP: Duration = Duration::from_millis(20);

/// Machine entries that a failing disk keeps waiting: as many as the queue holds, so that both overflow alike.
const UNWRITTEN_MAX: usize = 1_024;
/// Longest name in the word about a conflict: what to do must not be cut off.
const OTHER_MAX_CHARS: usize = 16;
/// How soon what could not be written is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The thread's state.
pub(super) struct Worker {
    store: IncidentStore,
    facts: FactSender,
    cancel: CancellationToken,
    queue: Arc<Queue>,
    trouble: Option<String>,
    // What machines saw while the disk did not take it, oldest first.
    unwritten: VecDeque<(IncidentId, MachineEntry)>,
}

impl Worker {
    pub(super) fn new(store: IncidentStore, facts: FactSender, cancel: CancellationToken, queue: Arc<Queue>) -> Self {
        Self { store, facts, cancel, queue, trouble: None, unwritten: VecDeque::new() }
    }

    /// Works until the last handle is dropped.
    pub(super) fn run(mut self) {
        // Created before it is watched; a failure here is the first thing a person should know.
        let created = self.store.create();
        self.note_trouble(created.err());
        let mut watch = Watch::new(self.store.root(), &self.queue);
        let loaded = self.store.load_recent();
        let unreadable = self.store.unreadable().next().cloned();
        self.note_trouble(loaded.err().or(unreadable));
        for id in self.store.loaded().into_iter().rev().map(|it| it.id.clone()).collect::<Vec<_>>() {
            self.send_loaded(&id);
        }
        self.watch(&mut watch);
        loop {
            // While everything stops, only what was accepted still matters.
            let patience = if self.unwritten.is_empty() { Duration::MAX } else { RETRY_AFTER };
            let look_after = (!self.cancel.is_cancelled()).then(|| watch.look_after().min(patience));
            match self.queue.next(look_after) {
                Next::Job(job) => {
                    self.job(job);
                    self.watch(&mut watch);
                }
                Next::Machine(entries, dropped) => self.machine(entries, dropped),
                Next::Flush(done_tx) => {
                    self.write_unwritten();
                    // Whoever asked may have stopped waiting.
                    let _ = done_tx.send(());
                }
                Next::Look => {
                    if !self.cancel.is_cancelled() {
                        self.write_unwritten();
                        self.look();
                        self.watch(&mut watch);
                        std::thread::sleep(LOOK_GAP);
                    }
                }
                Next::Closed => return,
            }
        }
    }

    fn job(&mut self, job: Job) {
        let Job { asker, request, reply } = job;
        let now = clock::now();
        self.store.act_as(&asker.user, Some(Seat { screen: asker.screen, taken: self.queue.here() }));
        let done = match &request {
            Request::Declare(it) => self.store.declare(it, now).map(|added| {
                let text = format!("declared {} {}", it.severity, added.incident.name());
                (added, text)
            }),
            Request::Note(it) => self.store.note(it, now).map(|added| {
                let text = format!("note saved to {}", added.incident.name());
                (added, text)
            }),
            Request::Pin(it) => self.store.pin(it, now).map(|added| {
                let count = it.records.iter().filter(|it| it.chosen).count() as u64;
                let text = format!("pinned {} to {}", format::plural(count, "record"), added.incident.name());
                (added, text)
            }),
            Request::ChangeIncident(id, change) => self.store.change(id, change, now).map(|added| {
                let text = format!("{} {}", added.incident.name(), described(change));
                (added, text)
            }),
            Request::SaveDocument { incident, text, base_sha256 } => {
                match self.store.save_document(incident.as_ref(), text, base_sha256, now) {
                    Ok((id, saved)) => self.saved(&asker.user, &id, saved, &reply),
                    Err(error) => self.refuse(&reply, request, error),
                }
                return;
            }
            Request::LoadDocument(incident) => {
                let known = self.store.loaded().len();
                match self.store.load_document(incident.as_ref(), now) {
                    Ok((id, it)) => {
                        if self.store.loaded().len() > known {
                            self.send_loaded(&id);
                        }
                        reply(Inbound::Document {
                            incident: Some(id),
                            text: it.text,
                            sha256: it.sha256,
                            draft: it.draft,
                        });
                    }
                    Err(error) => {
                        reply(Inbound::Failed(error.to_string()));
                    }
                }
                return;
            }
            Request::SaveDraft { incident, text } => {
                if let Err(error) = self.store.save_draft(incident.as_ref(), text, now) {
                    self.note_trouble(Some(error.clone()));
                    reply(Inbound::Failed(format!("the draft was not kept: {error}")));
                }
                return;
            }
            Request::SaveNoteDraft(text) => {
                if let Err(error) = self.store.save_note_draft(text, now) {
                    self.note_trouble(Some(error.clone()));
                    reply(Inbound::Failed(format!("the half-typed note was not kept: {error}")));
                }
                return;
            }
            Request::LoadNoteDraft => {
                if let Some(text) = self.store.take_note_draft() {
                    reply(Inbound::NoteDraft(text));
                }
                return;
            }
            // The runtime asks nothing else of this service.
            _ => return,
        };
        match done {
            Ok((added, text)) => {
                self.note_trouble(None);
                // The fact first: when the screen says that it is saved, the note is on the screen.
                self.send_added(&added);
                reply(Inbound::Done(text));
            }
            Err(error) => self.refuse(&reply, request, error),
        }
    }

    fn saved(&mut self, user: &str, id: &IncidentId, saved: Saved, reply: &crate::service::Reply) {
        self.note_trouble(None);
        let (document, words) = match saved {
            Saved::Done { document, merged } => {
                self.send(
                    Actor::Person(user.to_string()),
                    IncidentFact::DocumentChanged { incident: id.clone(), sha256: document.sha256.clone() },
                );
                let words = match merged {
                    Some(by) => format!("document saved, merged with what {} saved meanwhile", other(by.as_deref())),
                    None => "document saved".to_string(),
                };
                (document, Inbound::Done(words))
            }
            Saved::Conflict { document, by } => {
                // Short enough for a narrow screen: what to do must not be cut off.
                let by = other(by.as_deref());
                let text = format!("not saved, {by} changed the same lines: choose between <<<<<<< and >>>>>>>");
                (document, Inbound::Failed(text))
            }
        };
        reply(Inbound::Document {
            incident: Some(id.clone()),
            text: document.text,
            sha256: document.sha256,
            draft: document.draft,
        });
        reply(words);
    }

    fn refuse(&mut self, reply: &crate::service::Reply, request: Request, error: StoreError) {
        // A wrong request is not trouble of the disk.
        if !error.cause.is_empty() {
            self.note_trouble(Some(error.clone()));
        }
        reply(Inbound::Refused { request: Box::new(request), error: error.to_string() });
    }

    /// Tries again what the disk did not take.
    fn write_unwritten(&mut self) {
        if !self.unwritten.is_empty() {
            self.machine(Vec::new(), 0);
        }
    }

    /// Writes what machines saw, behind what still waits. What the disk does not take now waits for the next try.
    fn machine(&mut self, entries: Vec<(IncidentId, MachineEntry)>, mut dropped: u64) {
        let entries: Vec<_> = std::mem::take(&mut self.unwritten).into_iter().chain(entries).collect();
        let mut batches: Vec<(IncidentId, Vec<MachineEntry>)> = Vec::new();
        for (id, entry) in entries {
            // Each journal by itself: what is on disk is not written again when another one fails.
            match batches.iter_mut().find(|(it, batch)| *it == id && batch.iter().all(|it| it.by == entry.by)) {
                Some((_, batch)) => batch.push(entry),
                None => batches.push((id, vec![entry])),
            }
        }
        for (incident, batch) in batches {
            match self.store.append_machine(&incident, &batch, clock::now()) {
                Ok(added) => {
                    self.note_trouble(None);
                    self.send_added(&added);
                }
                Err(error) => {
                    // Without a cause it is no trouble of the disk: the incident is gone, and will be.
                    if !error.cause.is_empty() {
                        self.unwritten.extend(batch.into_iter().map(|entry| (incident.clone(), entry)));
                    }
                    self.note_trouble(Some(error));
                }
            }
        }
        while self.unwritten.len() > UNWRITTEN_MAX {
            self.unwritten.pop_front();
            dropped += 1;
        }
        if dropped > 0 {
            let text = format!(
                "{} not written to the timeline: the disk is too slow or takes nothing",
                format::plural(dropped, "machine entry")
            );
            self.note_trouble(Some(StoreError::new(text)));
        }
    }

    fn look(&mut self) {
        let changes = match self.store.refresh() {
            Ok(changes) => changes,
            Err(error) => {
                self.note_trouble(Some(error));
                return;
            }
        };
        let unreadable = self.store.unreadable().next().cloned();
        if let Some(error) = unreadable {
            self.note_trouble(Some(error));
        }
        for change in changes {
            match change {
                Change::Loaded(id) => self.send_loaded(&id),
                Change::Entry(incident, entry) => self.send_entry(incident, *entry),
                Change::Document(incident, sha256) => {
                    self.send(Actor::Runtime, IncidentFact::DocumentChanged { incident, sha256 });
                }
                Change::Damage(incident, lines, broken_links) => {
                    self.send(Actor::Runtime, IncidentFact::Damaged { incident, lines, broken_links });
                }
                Change::Removed(incident) => self.send(Actor::Runtime, IncidentFact::Removed { incident }),
            }
        }
    }

    fn send_added(&self, added: &Added) {
        if added.new {
            self.send_loaded(&added.incident);
            // The board learns from the last entry that something was saved; having it already, it adds nothing.
            if let Some(entry) = added.entries.last() {
                self.send_entry(added.incident.clone(), entry.clone());
            }
            return;
        }
        for entry in &added.entries {
            self.send_entry(added.incident.clone(), entry.clone());
        }
    }

    fn send_entry(&self, incident: IncidentId, entry: Entry) {
        let actor = if entry.by == AGENT { Actor::Runtime } else { Actor::Person(entry.by.clone()) };
        self.send(actor, IncidentFact::EntryAppended { incident, entry: Box::new(entry) });
    }

    fn send_loaded(&self, id: &IncidentId) {
        if let Some(incident) = self.store.get(id.name()) {
            self.send(Actor::Runtime, IncidentFact::Loaded(Box::new(incident.clone())));
        }
    }

    fn note_trouble(&mut self, error: Option<StoreError>) {
        let trouble = error.map(|it| it.to_string());
        if trouble != self.trouble {
            self.trouble.clone_from(&trouble);
            self.send(Actor::Runtime, IncidentFact::Storage { trouble });
        }
    }

    fn send(&self, actor: Actor, fact: IncidentFact) {
        let fact = Fact::Incident(fact);
        if self.cancel.is_cancelled() {
            // Nobody may be reading any more; waiting for room would keep the shutdown from ending.
            self.facts.try_send(fact);
        } else {
            self.facts.send_blocking_as(actor, fact);
        }
    }

    /// Watches what there is now, and looks again where that is more than before.
    fn watch(&self, watch: &mut Watch) {
        if watch.set(self.watched()) {
            self.queue.push_look();
        }
    }

    fn watched(&self) -> BTreeSet<PathBuf> {
        let root = self.store.root().to_path_buf();
        let year = clock::now().to_zoned(clock::zone()).strftime("%Y").to_string();
        let mut wanted = BTreeSet::from([root.join(year), root]);
        let loaded = self.store.loaded().into_iter().map(|it| it.id.name().to_string());
        for name in loaded.chain(self.store.unfinished().iter().cloned()) {
            let dir = self.store.dir(&name);
            wanted.insert(dir.join("entries"));
            wanted.insert(dir);
        }
        wanted
    }
}

/// Who saved meanwhile, in as many characters as a narrow screen has room for.
fn other(by: Option<&str>) -> String {
    by.map_or_else(|| "others".to_string(), |it| it.chars().take(OTHER_MAX_CHARS).collect())
}

fn described(change: &IncidentChange) -> String {
    match change {
        IncidentChange::Title(_) => "has a new title".into(),
        IncidentChange::Summary(_) => "has a summary".into(),
        IncidentChange::ActionTaken(_) => "says what was done".into(),
        IncidentChange::Severity(severity) => format!("is {severity} now"),
        IncidentChange::Status(status) => format!("is {status} now"),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::domain::ids::HostId;
    use crate::domain::incident::{DeclareRequest, MachineKind, Severity};

    #[test]
    fn an_incident_that_is_only_half_declared_is_watched_until_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = |user| IncidentStore::new(dir.path(), &HostId::new("h"), user, TimeZone::UTC);
        let (facts, _facts_rx) = FactSender::channel();
        let mut worker = Worker::new(store("alice"), facts, CancellationToken::new(), Arc::default());
        worker.store.create().unwrap();
        let mut watch = Watch::new(worker.store.root(), &worker.queue);
        worker.look();
        watch.set(worker.watched());
        // What another process has made of it when this one looks.
        let entries = worker.store.dir("INC-20240819-0652-abcd").join("entries");
        std::fs::create_dir_all(&entries).unwrap();
        worker.look();
        assert!(worker.store.loaded().is_empty());
        assert!(worker.watched().contains(&entries), "what comes into it is announced");
        assert!(watch.set(worker.watched()), "and what came before that is looked for once more");
        assert!(!watch.set(worker.watched()));
    }

    #[test]
    fn what_machines_saw_while_the_disk_failed_is_written_later_in_its_order() {
        let dir = tempfile::tempdir().unwrap();
        let store = IncidentStore::new(dir.path(), &HostId::new("h"), "alice", TimeZone::UTC);
        let (facts, _facts_rx) = FactSender::channel();
        let mut worker = Worker::new(store, facts, CancellationToken::new(), Arc::default());
        let now: jiff::Timestamp = "2024-08-19T06:52:00Z".parse().unwrap();
        let request = DeclareRequest { title: "edge 502".into(), severity: Severity::Sev2, impact_start: None };
        let id = worker.store.declare(&request, now).unwrap().incident;
        let saw = |text: &str| {
            let entry = MachineEntry {
                at: now,
                kind: MachineKind::Probe,
                subject: "h/api".into(),
                text: text.into(),
                by: None,
            };
            vec![(id.clone(), entry)]
        };
        // A directory in the place of the journal fails for every user, also for root.
        let journal = worker.store.dir(id.name()).join("entries/agent@h.ndjson");
        std::fs::create_dir(&journal).unwrap();
        worker.machine(saw("up -> down"), 0);
        worker.machine(saw("down -> up"), 0);
        assert!(worker.trouble.is_some());
        assert_eq!(worker.unwritten.len(), 2);
        std::fs::remove_dir(&journal).unwrap();
        worker.write_unwritten();
        assert_eq!((worker.trouble.clone(), worker.unwritten.len()), (None, 0));
        let written = std::fs::read_to_string(&journal).unwrap();
        let texts: Vec<bool> = written.lines().map(|it| it.contains("up -> down")).collect();
        assert_eq!(texts, [true, false], "{written}");
    }
}
