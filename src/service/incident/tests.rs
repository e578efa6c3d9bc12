//! The store on a real directory: what is written, what survives, what is said when it cannot be.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::ids::HostId;
use crate::domain::incident::{
    DeclareRequest, IncidentChange, MachineEntry, MachineKind, NoteRequest, PinRequest, PinnedRecord, Severity, Status,
};
use crate::domain::log::Cursor;
use crate::service::incident::document::Saved;
use crate::service::incident::store::{Change, IncidentStore};

fn store(dir: &Path, user: &str) -> IncidentStore {
    IncidentStore::new(dir, &HostId::new("bastion1"), user, TimeZone::UTC)
}

fn now() -> Timestamp {
    "2024-08-19T06:52:00Z".parse().unwrap()
}

fn declare(store: &mut IncidentStore) -> crate::domain::ids::IncidentId {
    let request = DeclareRequest { title: "edge 502".into(), severity: Severity::Sev2, impact_start: None };
    store.declare(&request, now()).unwrap().incident
}

fn note(text: &str) -> NoteRequest {
    NoteRequest { incident: None, at: None, text: text.into() }
}

fn words(store: &IncidentStore, name: &str) -> Vec<String> {
    store.get(name).unwrap().entries.iter().map(|it| it.body.words()).collect()
}

#[test]
fn a_note_without_an_incident_begins_the_log_book_of_the_day() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path(), "alice");
    let added = store.note(&note("look at storage"), now()).unwrap();
    assert_eq!((added.incident.as_str(), added.new), ("bastion1/LOG-20240819", true));
    assert_eq!(words(&store, "LOG-20240819"), ["declared SEV4 log-book of 2024-08-19", "look at storage"]);
    assert!(store.current().is_none(), "a log-book is never the open incident");
}

#[test]
fn a_declared_incident_takes_the_notes_until_it_is_resolved() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path(), "alice");
    let id = declare(&mut store);
    assert_eq!(store.note(&note("one"), now()).unwrap().incident, id);
    store.change(&id, &IncidentChange::Status(Status::Resolved), now()).unwrap();
    assert_eq!(store.note(&note("two"), now()).unwrap().incident.name(), "LOG-20240819");
}

#[test]
fn files_are_private_and_the_document_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path(), "alice");
    let id = declare(&mut store);
    let folder = store.dir(id.name());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("incident.md")), 0o600);
    assert_eq!(mode(&folder.join("entries/alice@bastion1.ndjson")), 0o600);
    let text = std::fs::read_to_string(folder.join("incident.md")).unwrap();
    assert!(text.starts_with(&format!("---\nid: {}\ntitle: \"edge 502\"\nseverity: 2\n", id.name())), "{text}");
    store.change(&id, &IncidentChange::Title("edge and api".into()), now()).unwrap();
    assert_eq!(std::fs::read_to_string(folder.join("incident.md")).unwrap(), text);
    assert_eq!(store.get(id.name()).unwrap().title, "edge and api");
}

#[test]
fn two_people_see_each_others_entries_and_documents() {
    let dir = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = (store(dir.path(), "alice"), store(dir.path(), "bob"));
    let id = declare(&mut alice);
    assert_eq!(bob.refresh().unwrap(), [Change::Loaded(id.clone())]);
    bob.note(&note("pool is full"), now()).unwrap();
    let changes = alice.refresh().unwrap();
    assert!(matches!(&changes[..], [Change::Entry(_, entry)] if entry.by == "bob"), "{changes:?}");
    let (_, document) = bob.load_document(Some(&id), now()).unwrap();
    bob.save_document(Some(&id), "# other\n", &document.sha256, now()).unwrap();
    assert!(matches!(&alice.refresh().unwrap()[..], [Change::Document(..)]));
    assert_eq!(alice.refresh().unwrap(), []);
}

#[test]
fn machine_entries_go_to_the_agents_file_at_their_own_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path(), "alice");
    let id = declare(&mut store);
    let at = "2024-08-19T06:43:58Z".parse().unwrap();
    let entry = MachineEntry {
        at,
        kind: MachineKind::Probe,
        subject: "bastion1/api".into(),
        text: "up -> down".into(),
        by: None,
    };
    store.append_machine(&id, &[entry.clone(), entry], now()).unwrap();
    assert_eq!(words(&store, id.name())[..2], ["api up -> down", "api up -> down"]);
    assert!(store.dir(id.name()).join("entries/agent@bastion1.ndjson").is_file());
}

#[test]
fn what_a_person_did_about_alerts_stands_in_their_own_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path(), "alice");
    let id = declare(&mut store);
    let did = |by: &str| MachineEntry {
        at: now(),
        kind: MachineKind::Alert,
        subject: "bastion1/api".into(),
        text: format!("acknowledged by {by}"),
        by: Some(by.into()),
    };
    // One who is called as the machines' file is does not write into it.
    for by in ["bob", "agent"] {
        store.append_machine(&id, &[did(by)], now()).unwrap();
    }
    let files = |name: &str| std::fs::read_to_string(store.dir(id.name()).join("entries").join(name)).ok();
    assert!(files("bob@bastion1.ndjson").unwrap().contains("acknowledged by bob"));
    assert!(files("agent_@bastion1.ndjson").unwrap().contains("acknowledged by agent"));
    assert_eq!(files("agent@bastion1.ndjson"), None);
    let entries = &store.get(id.name()).unwrap().entries;
    let bob = entries.iter().find(|it| it.by == "bob").unwrap();
    assert!(bob.body.is_machine(), "it is evidence: nobody words it otherwise afterwards");
}

#[test]
fn a_note_that_a_declaration_takes_along_says_its_time_its_author_and_its_log_book() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path(), "alice");
    let id = declare(&mut store);
    let at = "2024-08-19T06:43:58Z".parse().unwrap();
    let (kind, subject, text) = (MachineKind::Note, "LOG-20240819".to_string(), "asked\nno answer".to_string());
    store.append_machine(&id, &[MachineEntry { at, kind, subject, text, by: Some("bob".into()) }], now()).unwrap();
    let entries = &store.get(id.name()).unwrap().entries;
    let bob = entries.iter().find(|it| it.by == "bob").unwrap();
    assert_eq!((bob.at, bob.body.words().as_str()), (at, "asked\nno answer (from LOG-20240819)"));
    assert!(store.dir(id.name()).join("entries/bob@bastion1.ndjson").is_file());
}

#[test]
fn a_pin_keeps_the_lines_in_a_file_whose_hash_stands_in_the_entry() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path(), "alice");
    let id = declare(&mut store);
    let record = |text: &str, chosen| PinnedRecord {
        source: "api/../x".into(),
        time: None,
        level: None,
        cursor: Cursor::File { segment: 0, device: 1, inode: 2, offset: 3 },
        text: text.into(),
        chosen,
    };
    let records = vec![record("before", false), record("pool exhausted\n  at x\x1b[31m", true)];
    for _ in 0..2 {
        store
            .pin(&PinRequest { incident: None, host: None, comment: String::new(), records: records.clone() }, now())
            .unwrap();
    }
    let folder = store.dir(id.name());
    let text = std::fs::read_to_string(folder.join("pins/0001-api_.._x.log")).unwrap();
    assert_eq!(text, "  before\n> pool exhausted\n>   at x\n");
    assert!(folder.join("pins/0002-api_.._x.log").is_file());
    assert_eq!(words(&store, id.name())[1], "pinned 2 lines api/../x (pool exhausted)");
}

#[test]
fn a_damaged_line_is_counted_and_everything_else_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = store(dir.path(), "alice");
    let id = declare(&mut writer);
    for text in ["one", "two", "three"] {
        writer.note(&note(text), now()).unwrap();
    }
    let path = writer.dir(id.name()).join("entries/alice@bastion1.ndjson");
    let text = std::fs::read_to_string(&path).unwrap().replace("\"two\"", "\"twö\"");
    std::fs::write(&path, text).unwrap();
    let mut reader = store(dir.path(), "bob");
    let incident = reader.load(id.name()).unwrap();
    assert_eq!((incident.entries.len(), incident.damaged_lines, incident.broken_links), (3, 1, 1));
    let later = "2024-08-19T06:53:00Z".parse().unwrap();
    reader.note(&note("goes on"), later).unwrap();
    assert_eq!(words(&reader, id.name()).last().map(String::as_str), Some("goes on"));
}

#[test]
fn a_journal_that_cannot_be_read_is_named_and_hides_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = store(dir.path(), "alice");
    let id = declare(&mut writer);
    writer.note(&note("one"), now()).unwrap();
    // Nobody reads a folder as a journal, not even root.
    let entries = writer.dir(id.name()).join("entries");
    std::fs::create_dir(entries.join("root@bastion1.ndjson")).unwrap();
    let mut reader = store(dir.path(), "bob");
    reader.load_recent().unwrap();
    assert_eq!(words(&reader, id.name()), ["declared SEV2 edge 502", "one"]);
    let named: Vec<String> = reader.unreadable().map(ToString::to_string).collect();
    assert!(matches!(&named[..], [it] if it.contains("root@bastion1.ndjson")), "{named:?}");
    reader.note(&note("goes on"), "2024-08-19T06:53:00Z".parse().unwrap()).unwrap();
    writer.refresh().unwrap();
    assert_eq!(words(&writer, id.name()).last().map(String::as_str), Some("goes on"));
    std::fs::remove_dir(entries.join("root@bastion1.ndjson")).unwrap();
    reader.refresh().unwrap();
}

#[test]
fn a_document_changed_by_others_is_merged_or_kept_beside_mine() {
    let dir = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = (store(dir.path(), "alice"), store(dir.path(), "bob"));
    let id = declare(&mut alice);
    let (_, base) = alice.load_document(Some(&id), now()).unwrap();
    bob.load_document(Some(&id), now()).unwrap();
    let edit = |what: &str| base.text.replace(what, &format!("{what}\nmore about it"));
    let (_, saved) = bob.save_document(Some(&id), &edit("## Impact"), &base.sha256, now()).unwrap();
    assert!(matches!(saved, Saved::Done { merged: None, .. }));
    let (_, saved) = alice.save_document(Some(&id), &edit("## Follow-up"), &base.sha256, now()).unwrap();
    let Saved::Done { document, merged: Some(None) } = saved else { panic!("{saved:?}") };
    assert_eq!(document.text.matches("more about it").count(), 2);
    // Now both change the same line.
    let path = bob.dir(id.name()).join("incident.md");
    std::fs::write(&path, document.text.replace("## Impact", "## Impact of bob")).unwrap();
    let mine = document.text.replace("## Impact", "## Impact of alice");
    let (_, saved) = alice.save_document(Some(&id), &mine, &document.sha256, now()).unwrap();
    let Saved::Conflict { document: conflict, by: None } = saved else { panic!("{saved:?}") };
    let both = conflict.draft.unwrap();
    assert!(both.contains("## Impact of alice") && both.contains("## Impact of bob"), "{both}");
    assert!(std::fs::read_to_string(&path).unwrap().contains("of bob"), "the disk is not overwritten");
}

#[test]
fn a_draft_comes_back_and_goes_with_the_save() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = store(dir.path(), "alice");
    let id = declare(&mut first);
    let (_, document) = first.load_document(Some(&id), now()).unwrap();
    let text = format!("{}half a sent", document.text);
    first.save_draft(Some(&id), &text, now()).unwrap();
    let mut second = store(dir.path(), "alice");
    let (_, document) = second.load_document(Some(&id), now()).unwrap();
    assert_eq!(document.draft.as_deref(), Some(text.as_str()));
    second.save_document(Some(&id), &text, &document.sha256, now()).unwrap();
    let (_, document) = store(dir.path(), "alice").load_document(Some(&id), now()).unwrap();
    assert_eq!((document.text, document.draft), (text, None));
}

#[test]
fn a_directory_that_cannot_be_made_is_named_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("incidents"), "a file where the directory should be").unwrap();
    let error = store(dir.path(), "alice").note(&note("x"), now()).unwrap_err();
    assert!(error.to_string().contains(&dir.path().join("incidents").display().to_string()), "{error}");
    assert!(!error.cause.is_empty());
}

#[test]
fn an_incident_of_another_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path(), "alice");
    let id = crate::domain::ids::IncidentId::new(&HostId::new("h"), "../../etc");
    let request = NoteRequest { incident: Some(id), at: None, text: "x".into() };
    assert!(store.note(&request, now()).unwrap_err().message.contains("there is no incident"));
}

#[test]
fn a_half_typed_note_is_taken_up_once_its_session_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path(), "alice");
    assert_eq!(store.take_note_draft(), None);
    store.save_note_draft("pool gre", now()).unwrap();
    let drafts = dir.path().join("incidents/.drafts");
    let own = drafts.join(format!("note.alice@bastion1.{}.draft", std::process::id()));
    // Process 1 always runs: what another live screen is typing is its own.
    std::fs::rename(&own, drafts.join("note.alice@bastion1.1.draft")).unwrap();
    assert_eq!(store.take_note_draft(), None);
    // No kernel hands out a process id this large.
    std::fs::rename(drafts.join("note.alice@bastion1.1.draft"), drafts.join("note.alice@bastion1.2000000000.draft"))
        .unwrap();
    assert_eq!(store.take_note_draft().as_deref(), Some("pool gre"));
    store.save_note_draft("", now()).unwrap();
    assert_eq!(store.take_note_draft(), None);
}
