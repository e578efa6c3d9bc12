//! Several people at one runtime: who is here, who did what, and that each sees what the others do.

use std::path::Path;

use hotseat::domain::alert::quiet::{Matcher, Silence};
use hotseat::domain::board::Board;
use hotseat::domain::fact::{Actor, Fact};
use hotseat::domain::incident::entry::EntryBody;
use hotseat::domain::incident::{DeclareRequest, IncidentFact, NoteRequest, Severity};
use hotseat::domain::log::{Anchor, ViewId, WindowRequest};
use hotseat::domain::presence::{Spot, Visitor};
use hotseat::domain::request::{Inbound, Request};
use hotseat::runtime::{Runtime, journal};

use crate::support::link::{Attached, setup};

fn start(state_dir: &Path) -> Runtime {
    Runtime::start(setup("starter", state_dir))
}

fn note(text: &str) -> Request {
    Request::Note(NoteRequest { incident: None, at: None, text: text.into() })
}

fn declare(title: &str) -> Request {
    let request = DeclareRequest { title: title.into(), severity: Severity::Sev2, impact_start: None };
    Request::Declare(request)
}

/// The notes of the open incident with their writers, sorted.
fn notes(board: &Board) -> Vec<(String, String)> {
    let entries = board.incidents.open_incidents().flat_map(|it| &it.entries);
    let mut notes: Vec<_> = entries
        .filter_map(|it| match &it.body {
            EntryBody::Note(note) => Some((it.by.clone(), note.text.clone())),
            _ => None,
        })
        .collect();
    notes.sort();
    notes
}

fn people(board: &Board) -> Vec<(String, Option<Spot>)> {
    board.presence.iter().map(|(_, it)| (it.visitor.user.clone(), it.spot)).collect()
}

#[tokio::test]
async fn who_comes_moves_and_goes_is_seen_by_the_others() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let runtime = start(dir.path());
    let mut alice = Attached::new(&runtime, Visitor::inside("alice")).await;
    let hidden = runtime.attach_unseen(Visitor::inside("demo"));
    let bob = Attached::new(&runtime, Visitor::inside("bob")).await;
    alice.until(|board| board.presence.len() == 2).await;
    bob.ask(Request::Attend(Spot::Logs)).await;
    alice.until(|board| people(board).contains(&("bob".to_string(), Some(Spot::Logs)))).await;
    assert_eq!(people(&alice.board), [("alice".to_string(), None), ("bob".to_string(), Some(Spot::Logs))]);
    // A screen that dies says nothing: its link ends.
    drop(bob);
    alice.until(|board| board.presence.len() == 1).await;
    drop(hidden);
    runtime.shutdown().await;

    let past = journal::replay(dir.path(), jiff::Timestamp::MAX).expect("readable").expect("a journal");
    assert!(past.board.presence.is_empty(), "the last one went when the runtime ended");
    let again = start(dir.path());
    let mut carol = Attached::new(&again, Visitor::inside("carol")).await;
    carol.until(|board| !board.presence.is_empty()).await;
    assert_eq!(people(&carol.board), [("carol".to_string(), None)], "nobody is here from before");
    again.shutdown().await;
}

#[tokio::test]
async fn notes_of_two_people_at_once_are_theirs_and_on_both_screens() {
    const NOTES: usize = 12;
    let dir = tempfile::tempdir().expect("temporary directory");
    let runtime = start(dir.path());
    let mut alice = Attached::new(&runtime, Visitor::inside("alice")).await;
    let mut bob = Attached::new(&runtime, Visitor::inside("bob")).await;
    alice.ask(declare("edge 502")).await;
    bob.until(|board| board.incidents.open_incidents().next().is_some()).await;
    assert_eq!(bob.board.incidents.open_incidents().next().map(|it| it.declared_by.as_str()), Some("alice"));
    for number in 0..NOTES {
        let text = format!("note {number:02}");
        tokio::join!(alice.ask(note(&text)), bob.ask(note(&text)));
    }
    let expected: Vec<_> = ["alice", "bob"]
        .iter()
        .flat_map(|by| (0..NOTES).map(|number| (by.to_string(), format!("note {number:02}"))))
        .collect();
    for screen in [&mut alice, &mut bob] {
        screen.until(|board| notes(board).len() == 2 * NOTES).await;
        assert_eq!(notes(&screen.board), expected);
    }
    let incident = alice.board.incidents.open_incidents().next().expect("open");
    assert_eq!((incident.damaged_lines, incident.broken_links), (0, 0));
    let name = incident.id.name().to_string();
    let entries = dir.path().join("incidents").join(&name[4..8]).join(&name).join("entries");
    for (file, lines) in [("alice@test.ndjson", 1 + NOTES), ("bob@test.ndjson", NOTES)] {
        let text = std::fs::read_to_string(entries.join(file)).expect("a file of each");
        assert_eq!(text.lines().count(), lines, "{file}");
    }
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_document_that_two_edit_is_merged_or_names_the_other() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let runtime = start(dir.path());
    let mut alice = Attached::new(&runtime, Visitor::inside("alice")).await;
    let mut bob = Attached::new(&runtime, Visitor::inside("bob")).await;
    alice.ask(declare("edge 502")).await;
    let document = |inbound| match inbound {
        Inbound::Document { incident, text, sha256, draft } => Some((incident, text, sha256, draft)),
        _ => None,
    };
    let word = |inbound| match inbound {
        Inbound::Done(text) if text.starts_with("document") => Some(text),
        Inbound::Failed(text) => Some(text),
        _ => None,
    };
    alice.until(|board| board.incidents.open_incidents().next().is_some()).await;
    alice.ask(Request::LoadDocument(None)).await;
    let (incident, text, base, _) = alice.answer(document).await;
    bob.ask(Request::LoadDocument(None)).await;
    bob.answer(document).await;
    let save = |line: &str, after: &str| Request::SaveDocument {
        incident: incident.clone(),
        text: text.replace(after, &format!("{after}\n{line}")),
        base_sha256: base.clone(),
    };
    bob.ask(save("users see 502", "## Impact")).await;
    bob.answer(word).await;
    let saved = |inbound: Inbound| match inbound {
        Inbound::Fact(it) if matches!(it.fact, Fact::Incident(IncidentFact::DocumentChanged { .. })) => Some(it.actor),
        _ => None,
    };
    assert_eq!(alice.answer(saved).await, Actor::Person("bob".into()));
    alice.ask(save("move traffic", "## Follow-up")).await;
    assert_eq!(alice.answer(word).await, "document saved, merged with what bob saved meanwhile");
    // From the same base as before: bob does not know what alice saved.
    bob.ask(save("nobody notices", "## Impact")).await;
    let (.., draft) = bob.answer(document).await;
    let both = draft.expect("both texts");
    assert!(both.contains("users see 502") && both.contains("nobody notices"), "{both}");
    alice.ask(save("nobody sleeps", "## Impact")).await;
    let text = alice.answer(word).await;
    assert!(text.starts_with("not saved, "), "{text}");
    runtime.shutdown().await;
}

#[tokio::test]
async fn drafts_of_two_screens_of_one_person_do_not_meet() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let runtime = start(dir.path());
    let mut first = Attached::new(&runtime, Visitor::inside("alice")).await;
    first.ask(Request::SaveNoteDraft("pool gre".into())).await;
    let second = Attached::new(&runtime, Visitor::inside("alice")).await;
    second.ask(Request::SaveNoteDraft("from the second".into())).await;
    drop(second);
    first.until(|board| board.presence.len() == 2).await;
    first.until(|board| board.presence.len() == 1).await;
    let recovered = |inbound| match inbound {
        Inbound::NoteDraft(text) => Some(text),
        _ => None,
    };
    // What the first still types is its own; what the second left is for whoever comes next.
    let mut third = Attached::new(&runtime, Visitor::inside("alice")).await;
    third.ask(Request::LoadNoteDraft).await;
    assert_eq!(third.answer(recovered).await, "from the second");
    let mut bob = Attached::new(&runtime, Visitor::inside("bob")).await;
    bob.ask(Request::LoadNoteDraft).await;
    bob.ask(note("bob's own")).await;
    let answer = bob.answer(|it| matches!(it, Inbound::Done(_) | Inbound::NoteDraft(_)).then_some(it)).await;
    assert!(matches!(answer, Inbound::Done(_)), "drafts of others are not offered: {answer:?}");
    runtime.shutdown().await;
}

#[tokio::test]
async fn who_silences_is_who_asked_and_stands_on_the_timeline() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let runtime = start(dir.path());
    runtime.active().cancelled().await;
    let mut alice = Attached::new(&runtime, Visitor::inside("alice")).await;
    let bob = Attached::new(&runtime, Visitor::inside("bob")).await;
    bob.ask(declare("edge 502")).await;
    alice.until(|board| board.incidents.open_incidents().next().is_some()).await;
    let now = hotseat::clock::now();
    let silence = Silence {
        id: "s1".into(),
        matchers: vec!["name=api".parse::<Matcher>().expect("a matcher")],
        from: now,
        until: now + jiff::SignedDuration::from_hours(1),
        // What a screen claims does not count.
        by: "carol".into(),
        comment: "known".into(),
    };
    bob.ask(Request::Silence(Box::new(silence))).await;
    let told = |board: &Board| {
        let entries = board.incidents.open_incidents().flat_map(|it| &it.entries);
        entries.filter(|it| matches!(&it.body, EntryBody::Alert { text, .. } if text.contains("by bob until"))).count()
    };
    alice.until(|board| told(board) == 1).await;
    assert_eq!(alice.board.alerts.silences().map(|it| it.by.as_str()).collect::<Vec<_>>(), ["bob"]);
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_visitor_who_only_reads_sees_all_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let runtime = start(dir.path());
    let mut alice = Attached::new(&runtime, Visitor::inside("alice")).await;
    let mut manager = Attached::new(&runtime, Visitor { readonly: true, ..Visitor::inside("manager") }).await;
    manager.ask(note("let me")).await;
    let refused = manager.answer(|it| if let Inbound::Failed(text) = it { Some(text) } else { None }).await;
    assert!(refused.starts_with("this screen is read-only"), "{refused}");
    alice.ask(declare("edge 502")).await;
    alice.ask(note("mine")).await;
    manager.until(|board| notes(board).len() == 1).await;
    assert_eq!(notes(&manager.board), [("alice".to_string(), "mine".to_string())]);
    alice.until(|board| board.presence.iter().any(|(_, it)| it.visitor.readonly)).await;
    runtime.shutdown().await;
}

#[tokio::test]
async fn each_has_the_logs_for_themselves() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("app.log");
    std::fs::write(&file, "2026-08-19T14:43:52Z INFO one\n2026-08-19T14:43:53Z ERROR two\n").expect("written");
    let mut setup = setup("starter", &dir.path().join("state"));
    setup.loaded.config.logs = hotseat::service::log::from_operands(&[file.display().to_string()]);
    let runtime = Runtime::start(setup);
    let mut alice = Attached::new(&runtime, Visitor::inside("alice")).await;
    let mut bob = Attached::new(&runtime, Visitor::inside("bob")).await;
    alice.until(|board| !board.logs.sources.is_empty()).await;
    // The same view of the same number on both: that of bob has another query, and comes last.
    let request = |query: &str| WindowRequest {
        query: query.into(),
        follow: true,
        ..WindowRequest::new(ViewId(1), 1, Anchor::Tail, (10, 0))
    };
    let rows = |inbound| match inbound {
        Inbound::Window(window) if window.view == ViewId(1) => window.rows.map(|it| it.len()).filter(|it| *it > 0),
        _ => None,
    };
    alice.ask(Request::Window(Box::new(request("")))).await;
    bob.ask(Request::Window(Box::new(request("level>=error")))).await;
    assert_eq!(bob.answer(rows).await, 1);
    assert_eq!(alice.answer(rows).await, 2);
    // Alice follows on, also when bob has gone.
    drop(bob);
    alice.until(|board| board.presence.len() == 1).await;
    let mut log = std::fs::OpenOptions::new().append(true).open(&file).expect("there");
    std::io::Write::write_all(&mut log, b"2026-08-19T14:43:54Z INFO three\n").expect("written");
    while alice.answer(rows).await != 3 {}
    runtime.shutdown().await;
}
