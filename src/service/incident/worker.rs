//! The thread that owns the store of a running screen or agent.

use std::collections::BTreeSet;
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
use crate::service::incident::store::{AGENT, Added, Change, IncidentStore};
use crate::service::incident::watch::Watch;

/// Shortest time between two looks, so that a writer in a loop costs a look and not a core.
const LOOK_GAP: Duration = Duration::from_millis(20);

/// The thread's state.
pub(super) struct Worker {
    store: IncidentStore,
    facts: FactSender,
    cancel: CancellationToken,
    queue: Arc<Queue>,
    trouble: Option<String>,
}

impl Worker {
    pub(super) fn new(store: IncidentStore, facts: FactSender, cancel: CancellationToken, queue: Arc<Queue>) -> Self {
        Self { store, facts, cancel, queue, trouble: None }
    }

    /// Works until the last handle is dropped.
    pub(super) fn run(mut self) {
        // Created before it is watched; a failure here is the first thing a person should know.
        let created = self.store.create();
        self.note_trouble(created.err());
        let mut watch = Watch::new(self.store.root(), &self.queue);
        let loaded = self.store.load_recent();
        self.note_trouble(loaded.err());
        for id in self.store.loaded().into_iter().rev().map(|it| it.id.clone()).collect::<Vec<_>>() {
            self.send_loaded(&id);
        }
        watch.set(self.watched());
        loop {
            // While everything stops, only what was accepted still matters.
            let look_after = (!self.cancel.is_cancelled()).then(|| watch.look_after());
            match self.queue.next(look_after) {
                Next::Job(job) => {
                    self.job(job);
                    watch.set(self.watched());
                }
                Next::Machine(entries, dropped) => self.machine(entries, dropped),
                Next::Flush(done_tx) => {
                    // Whoever asked may have stopped waiting.
                    let _ = done_tx.send(());
                }
                Next::Look => {
                    if !self.cancel.is_cancelled() {
                        self.look();
                        watch.set(self.watched());
                        std::thread::sleep(LOOK_GAP);
                    }
                }
                Next::Closed => return,
            }
        }
    }

    fn job(&mut self, job: Job) {
        let Job { request, reply } = job;
        let now = clock::now();
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
                    Ok((id, saved)) => self.saved(&id, saved, &reply),
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

    fn saved(&mut self, id: &IncidentId, saved: Saved, reply: &crate::service::Reply) {
        self.note_trouble(None);
        let (document, words) = match saved {
            Saved::Done { document, merged } => {
                self.send(
                    Actor::Runtime,
                    IncidentFact::DocumentChanged { incident: id.clone(), sha256: document.sha256.clone() },
                );
                let words =
                    if merged { "document saved, merged with what others saved meanwhile" } else { "document saved" };
                (document, Inbound::Done(words.into()))
            }
            Saved::Conflict(document) => {
                let text = format!(
                    "document of {} not saved: others changed the same lines. Both texts are in the editor between <<<<<<< and >>>>>>>; choose, then save again",
                    id.name()
                );
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

    fn machine(&mut self, entries: Vec<(IncidentId, MachineEntry)>, dropped: u64) {
        let mut incidents: Vec<IncidentId> = Vec::new();
        for (id, _) in &entries {
            if !incidents.contains(id) {
                incidents.push(id.clone());
            }
        }
        for incident in incidents {
            let batch: Vec<MachineEntry> =
                entries.iter().filter(|(id, _)| *id == incident).map(|(_, entry)| entry.clone()).collect();
            match self.store.append_machine(&incident, &batch, clock::now()) {
                Ok(added) => {
                    self.note_trouble(None);
                    self.send_added(&added);
                }
                Err(error) => self.note_trouble(Some(error)),
            }
        }
        if dropped > 0 {
            let text = format!(
                "{} not written to the timeline: the disk is too slow",
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

    fn watched(&self) -> BTreeSet<PathBuf> {
        let root = self.store.root().to_path_buf();
        let year = clock::now().to_zoned(clock::zone()).strftime("%Y").to_string();
        let mut wanted = BTreeSet::from([root.join(year), root]);
        for incident in self.store.loaded() {
            let dir = self.store.dir(incident.id.name());
            wanted.insert(dir.join("entries"));
            wanted.insert(dir);
        }
        wanted
    }
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
