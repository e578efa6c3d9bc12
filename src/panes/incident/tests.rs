//! Key scripts of the incident pane.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{IncidentCommand, IncidentPane};
use crate::app::effect::{Effect, NoticeSeverity};
use crate::domain::board::Board;
use crate::domain::fact::{Actor, Envelope, Fact};
use crate::domain::fleet::Fleet;
use crate::domain::host::Way;
use crate::domain::ids::{HostId, IncidentId};
use crate::domain::incident::entry::tests::entry;
use crate::domain::incident::entry::{Declare, EntryBody, Note};
use crate::domain::incident::fold::Incident;
use crate::domain::incident::{IncidentChange, IncidentFact, NoteRequest, Severity, Status};
use crate::domain::key::Key;
use crate::domain::request::{Inbound, Request};
use crate::panes::{Context, Pane, Reach};
use crate::theme::Theme;

const NOW: i64 = 1_724_050_320;

struct Screen {
    board: Board,
    pane: IncidentPane,
    now: Timestamp,
    size: (u16, u16),
    fleet: Option<Fleet>,
}

impl Screen {
    fn new(size: (u16, u16)) -> Self {
        Self { board: Board::default(), pane: IncidentPane::default(), now: at(NOW), size, fleet: None }
    }

    fn with<R>(&mut self, change: impl FnOnce(&mut IncidentPane, &Context<'_>) -> R) -> R {
        let (width, height) = self.size;
        let zone = TimeZone::UTC;
        let cx = Context {
            now: self.now,
            zone: &zone,
            board: &self.board,
            width,
            height,
            focused: true,
            me: "alice",
            reach: Reach { ways: None, fleet: self.fleet.as_ref() },
        };
        change(&mut self.pane, &cx)
    }

    fn declare(&mut self, name: &str, second: i64) -> IncidentId {
        self.declare_on("h", name, second)
    }

    fn declare_on(&mut self, host: &str, name: &str, second: i64) -> IncidentId {
        let id = IncidentId::new(&HostId::new(host), name);
        let declare = EntryBody::Declare(Declare::new("edge 502", Severity::Sev2, None));
        let incident = Incident::fold(id.clone(), vec![entry(second, declare)]);
        self.fact(IncidentFact::Loaded(Box::new(incident)));
        id
    }

    fn add(&mut self, id: &IncidentId, second: i64, body: EntryBody) {
        let entry = Box::new(entry(second, body));
        self.fact(IncidentFact::EntryAppended { incident: id.clone(), entry });
    }

    fn fact(&mut self, fact: IncidentFact) {
        let (host, fact) = (HostId::new("h"), Fact::Incident(fact));
        let envelope = Envelope { host, seq: 1, at: self.now, actor: Actor::Runtime, fact };
        self.board.apply(self.now, &envelope);
        self.inbound(Inbound::Fact(Box::new(envelope)));
    }

    fn inbound(&mut self, inbound: Inbound) -> Vec<Effect> {
        self.with(|pane, cx| pane.inbound(cx, &inbound))
    }

    fn run(&mut self, command: IncidentCommand) -> Vec<Effect> {
        self.with(|pane, cx| pane.update(cx, command))
    }

    fn press(&mut self, keys: &str) -> Vec<Effect> {
        let mut effects = Vec::new();
        for key in keys.split_whitespace() {
            let key: Key = key.parse().unwrap();
            effects.extend(self.with(|pane, cx| pane.key(cx, &key)));
        }
        effects
    }

    fn typed(&mut self, text: &str) -> Vec<Effect> {
        text.chars().flat_map(|it| self.with(|pane, cx| pane.key(cx, &Key::char(it)))).collect()
    }

    fn rows(&mut self) -> Vec<String> {
        let (width, height) = self.size;
        let area = Rect::new(0, 0, width, height);
        let mut buf = Buffer::empty(area);
        self.with(|pane, cx| pane.view(cx, &Theme::mono(), area, &mut buf));
        let row = |y| (0..width).map(|x| buf[(x, y)].symbol()).collect::<String>().trim_end().to_string();
        (0..height).map(row).collect()
    }

    fn title(&mut self) -> String {
        self.with(|pane, cx| pane.title(cx, &Theme::mono(), usize::from(cx.width)).to_string())
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn note(text: &str) -> EntryBody {
    EntryBody::Note(Note::new(text))
}

fn requests(effects: &[Effect]) -> Vec<&Request> {
    effects.iter().filter_map(|it| if let Effect::Request(request) = it { Some(request) } else { None }).collect()
}

#[test]
fn a_note_dated_back_goes_to_the_open_incident_and_counts_as_saving_until_it_is_on_disk() {
    let mut screen = Screen::new((80, 5));
    let id = screen.declare("INC-20240819-0652-k7q2", NOW - 60);
    screen.with(|pane, cx| pane.start_note(cx));
    assert!(screen.pane.captures_keys());
    screen.typed("@-12m asked storage");
    let effects = screen.press("enter");
    let expected = NoteRequest { incident: Some(id.clone()), at: Some(at(NOW - 720)), text: "asked storage".into() };
    assert_eq!(effects, [Effect::Request(Request::Note(expected))]);
    assert!(!screen.pane.captures_keys());
    assert!(screen.pane.has_unsaved());
    assert!(screen.title().ends_with("saving"), "{}", screen.title());
    screen.add(&id, NOW, note("asked storage"));
    assert!(!screen.pane.has_unsaved());
    assert!(screen.title().ends_with("saved 0s ago"), "{}", screen.title());
}

#[test]
fn a_note_that_could_not_be_saved_is_kept_and_sent_again() {
    let mut screen = Screen::new((80, 5));
    screen.with(|pane, cx| pane.start_note(cx));
    screen.typed("disk?");
    let effects = screen.press("enter");
    let request = requests(&effects)[0].clone();
    let refused = Inbound::Refused { request: Box::new(request.clone()), error: "no space left on device".into() };
    screen.inbound(refused.clone());
    screen.inbound(refused);
    assert!(screen.title().contains("1 NOT SAVED (R retries)"), "{}", screen.title());
    assert_eq!(screen.pane.unsaved().as_deref(), Some("the note \"disk?\""));
    let again = screen.run(IncidentCommand::Retry);
    assert_eq!(
        again,
        [Effect::Request(as_written_at(NOW, &request))],
        "whenever it is sent, it stands where it was written"
    );
}

fn as_written_at(second: i64, note: &Request) -> Request {
    let Request::Note(note) = note else { panic!("a note: {note:?}") };
    let at = Some(Timestamp::from_second(second).expect("a time"));
    Request::Note(NoteRequest { at, ..note.clone() })
}

#[test]
fn a_wrong_time_keeps_the_text_in_the_prompt() {
    let mut screen = Screen::new((80, 5));
    screen.with(|pane, cx| pane.start_note(cx));
    screen.typed("@-12x asked");
    let effects = screen.press("enter");
    assert!(matches!(&effects[..], [Effect::Notice(it)] if it.severity == NoticeSeverity::Warn));
    assert_eq!(screen.rows()[4], "log-book > @-12x asked");
    screen.press("esc");
    screen.with(|pane, cx| pane.start_note(cx));
    assert_eq!(screen.rows()[4], "log-book > @-12x asked", "leaving keeps the text as well");
}

#[test]
fn who_was_told_stands_in_the_timeline() {
    let mut screen = Screen::new((60, 3));
    let id = screen.declare("INC-20240819-0652-k7q2", NOW - 60);
    screen.add(&id, NOW, EntryBody::Alert { subject: "h/api".into(), text: "paged alice by sms".into() });
    assert!(screen.rows()[1].ends_with("api paged alice by sms"), "{:?}", screen.rows());
}

#[test]
fn times_that_a_machine_wrote_are_local_and_those_of_a_person_are_theirs() {
    let mut screen = Screen::new((80, 3));
    let id = screen.declare("INC-20240819-0652-k7q2", NOW - 60);
    let until = "until 2024-08-19T07:30:00Z";
    screen.add(
        &id,
        NOW - 1,
        EntryBody::Alert { subject: "h/api".into(), text: format!("silenced by bob {until}: known") },
    );
    screen.add(&id, NOW, note(until));
    let rows = screen.rows();
    assert!(rows[1].ends_with("api silenced by bob until 07:30:00: known"), "{rows:?}");
    assert!(rows[2].ends_with(until), "{rows:?}");
}

#[test]
fn the_timeline_follows_until_a_row_is_selected() {
    let mut screen = Screen::new((40, 3));
    let id = screen.declare("INC-20240819-0652-k7q2", NOW - 60);
    for second in 0..4 {
        screen.add(&id, NOW - 50 + second, note(&format!("note {second}")));
    }
    assert_eq!(screen.rows(), ["06:51:11 alice    note 1", "06:51:12 alice    note 2", "06:51:13 alice    note 3"]);
    screen.run(IncidentCommand::Up);
    screen.add(&id, NOW, note("newer"));
    assert!(screen.rows().iter().any(|it| it.ends_with("note 2")), "the selected row stays on the screen");
    screen.run(IncidentCommand::Last);
    assert!(screen.rows()[2].ends_with("newer"));
}

#[test]
fn enter_shows_all_lines_of_an_entry_and_escape_comes_back() {
    let mut screen = Screen::new((60, 6));
    let id = screen.declare("INC-20240819-0652-k7q2", NOW - 60);
    screen.add(&id, NOW, note("first\nsecond \x1b[31mred"));
    assert!(screen.rows()[1].ends_with("first (+1 line)"));
    screen.run(IncidentCommand::Open);
    assert!(screen.pane.wants_zoom());
    let rows = screen.rows();
    assert_eq!(&rows[2..4], ["first", "second red"]);
    assert!(screen.with(|pane, cx| pane.back(cx)));
    assert!(!screen.pane.wants_zoom());
}

#[test]
fn two_keys_mitigate_and_the_severity_asks_first() {
    let mut screen = Screen::new((80, 5));
    let id = screen.declare("INC-20240819-0652-k7q2", NOW - 60);
    screen.run(IncidentCommand::Status);
    let effects = screen.press("m");
    let change = IncidentChange::Status(Status::Mitigated);
    assert_eq!(effects, [Effect::Request(Request::ChangeIncident(id.clone(), change))]);
    let effects = screen.run(IncidentCommand::Worse);
    let expected = Effect::Request(Request::ChangeIncident(id, IncidentChange::Severity(Severity::Sev1)));
    assert!(matches!(&effects[..], [Effect::Confirm { then, .. }] if *then == [expected]), "{effects:?}");
}

#[test]
fn declaring_takes_title_and_severity() {
    let mut screen = Screen::new((80, 5));
    screen.with(|pane, cx| pane.start_declare(cx));
    let effects = screen.press("enter");
    assert!(requests(&effects).is_empty(), "a title is needed");
    screen.typed("edge 502");
    screen.press("tab 1");
    let effects = screen.press("enter");
    let [Request::Declare(request)] = requests(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!((request.title.as_str(), request.severity), ("edge 502", Severity::Sev1));
}

#[test]
fn several_open_incidents_are_looked_at_in_turn() {
    let mut screen = Screen::new((80, 5));
    let first = screen.declare("INC-20240819-0650-aaaa", NOW - 120);
    screen.declare("INC-20240819-0651-bbbb", NOW - 60);
    assert!(screen.title().starts_with("SEV2 INC-0819-bbbb"), "{}", screen.title());
    assert!(screen.title().contains("1 more open (o)"));
    screen.run(IncidentCommand::Next);
    assert!(screen.title().starts_with("SEV2 INC-0819-aaaa"));
    screen.with(|pane, cx| pane.start_note(cx));
    screen.typed("x");
    let effects = screen.press("enter");
    let [Request::Note(request)] = requests(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(request.incident.as_ref(), Some(&first), "a note goes to what is shown");
}

#[test]
fn where_several_hosts_are_shown_an_incident_says_its_host() {
    let mut screen = Screen::new((80, 5));
    screen.declare_on("web-1", "INC-20240819-0650-aaaa", NOW - 120);
    screen.declare_on("db-1", "INC-20240819-0651-bbbb", NOW - 60);
    for host in ["db-1", "web-1"] {
        screen.board.hosts.insert(HostId::new(host), None);
    }
    let title = screen.title();
    assert!(title.starts_with("SEV2 db-1:INC-0819-bbbb") && title.contains("1 more open on web-1 (o)"), "{title}");
    let said = screen.run(IncidentCommand::Next);
    let [Effect::Notice(said)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(said.text, "web-1:INC-20240819-0650-aaaa (2 of 2)");
    screen.with(|pane, cx| pane.start_note(cx));
    assert_eq!(screen.rows()[4], "web-1:INC-0819-aaaa >");
    screen.size = (40, 5);
    assert_eq!(screen.rows()[4], "web-1 >");
    screen.board.incidents = Default::default();
    screen.size = (80, 5);
    assert_eq!(screen.rows()[4], "log-book >", "nothing was heard of any host");
    let (mut fleet, mut drawn) = (Fleet::of_several(), Board::default());
    for host in ["web-1", "db-1"] {
        fleet.heed(&mut drawn, &HostId::new(host), &Way::Connecting);
    }
    fleet.rename(&HostId::new("web-1"), &HostId::new("web-1.example"));
    screen.fleet = Some(fleet);
    assert_eq!(screen.rows()[4], "log-book of web-1.example >", "the first that was named");
    screen.size = (40, 5);
    assert_eq!(screen.rows()[4], "web-1.example >");
}

#[test]
fn damage_and_disk_trouble_are_said() {
    let mut screen = Screen::new((80, 3));
    let incident = screen.declare("INC-20240819-0652-k7q2", NOW - 60);
    screen.fact(IncidentFact::Damaged { incident, lines: 2, broken_links: 1 });
    screen.fact(IncidentFact::Storage { trouble: Some("could not write `/x`: read-only file system".into()) });
    let title = screen.title();
    assert!(title.contains("2 damaged lines skipped · chain broken 1×") && title.ends_with("DISK TROUBLE"), "{title}");
    assert_eq!(screen.rows()[2], "! could not write `/x`: read-only file system");
}

fn document(id: &IncidentId, text: &str, sha256: &str, draft: Option<&str>) -> Inbound {
    let draft = draft.map(str::to_string);
    Inbound::Document { incident: Some(id.clone()), text: text.into(), sha256: sha256.into(), draft }
}

#[test]
fn the_editor_saves_against_what_it_loaded_and_says_so() {
    let mut screen = Screen::new((40, 6));
    let id = screen.declare("INC-20240819-0652-k7q2", NOW - 60);
    let effects = screen.with(|pane, cx| pane.open_editor(cx));
    assert_eq!(effects, [Effect::Request(Request::LoadDocument(Some(id.clone())))]);
    screen.inbound(document(&id, "# t\n", "one", None));
    assert!(screen.pane.wants_zoom());
    screen.typed("x");
    assert!(screen.pane.has_unsaved());
    let effects = screen.press("ctrl-s");
    let save = Request::SaveDocument { incident: Some(id.clone()), text: "# t\nx".into(), base_sha256: "one".into() };
    assert_eq!(requests(&effects), [&save]);
    screen.inbound(document(&id, "# t\nx", "two", None));
    assert!(!screen.pane.has_unsaved());
    assert!(screen.rows()[5].contains("saved"), "{:?}", screen.rows());
    assert_eq!(screen.press("esc"), []);
    assert!(!screen.pane.captures_keys());
}

#[test]
fn a_draft_is_written_within_a_second_and_when_the_editor_is_left() {
    let mut screen = Screen::new((40, 6));
    let id = screen.declare("INC-20240819-0652-k7q2", NOW - 60);
    screen.with(|pane, cx| pane.open_editor(cx));
    screen.inbound(document(&id, "", "one", None));
    screen.typed("half");
    let wake = screen.with(|pane, cx| pane.next_wake(cx));
    assert_eq!(wake, Some(at(NOW + 1)));
    screen.now = at(NOW + 1);
    let effects = screen.with(|pane, cx| pane.woken(cx));
    let draft = |text: &str| Request::SaveDraft { incident: Some(id.clone()), text: text.into() };
    assert_eq!(requests(&effects), [&draft("half")]);
    screen.typed("!");
    assert_eq!(requests(&screen.press("esc")), [&draft("half!")]);
    assert!(screen.pane.has_unsaved());
    assert_eq!(screen.with(|pane, cx| pane.open_editor(cx)), [], "the same text comes back, nothing is loaded over it");
    assert!(screen.rows()[0].contains("half!"));
}

#[test]
fn fifty_keys_write_a_draft_at_once() {
    let mut screen = Screen::new((40, 6));
    let id = screen.declare("INC-20240819-0652-k7q2", NOW - 60);
    screen.with(|pane, cx| pane.open_editor(cx));
    screen.inbound(document(&id, "", "one", None));
    assert_eq!(requests(&screen.typed(&"x".repeat(50))).len(), 1);
}

#[test]
fn a_recovered_draft_is_shown_and_undo_gives_the_saved_text() {
    let mut screen = Screen::new((40, 6));
    let id = screen.declare("INC-20240819-0652-k7q2", NOW - 60);
    screen.with(|pane, cx| pane.open_editor(cx));
    let effects = screen.inbound(document(&id, "saved text", "one", Some("recovered text")));
    assert!(matches!(&effects[..], [Effect::Notice(_)]));
    assert_eq!(screen.rows()[0], "recovered text");
    screen.press("ctrl-z");
    assert_eq!(screen.rows()[0], "saved text");
}

#[test]
fn a_conflict_keeps_both_texts_and_saves_against_the_new_base() {
    let mut screen = Screen::new((40, 8));
    let id = screen.declare("INC-20240819-0652-k7q2", NOW - 60);
    screen.with(|pane, cx| pane.open_editor(cx));
    screen.inbound(document(&id, "a", "one", None));
    screen.press("home");
    screen.typed("mine ");
    screen.press("ctrl-s");
    let both = "<<<<<<< yours\nmine a\n=======\ntheirs\n>>>>>>> on disk\n";
    screen.inbound(document(&id, "theirs", "two", Some(both)));
    assert!(screen.pane.has_unsaved());
    assert_eq!(screen.rows()[1], "mine a");
    let effects = screen.press("ctrl-s");
    let [Request::SaveDocument { base_sha256, text, .. }] = requests(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!((base_sha256.as_str(), text.as_str()), ("two", both));
    screen.typed("here ");
    assert_eq!(screen.rows()[0], "here <<<<<<< yours", "the cursor stands where there is something to choose");
}

#[test]
fn what_comes_back_from_the_outer_editor_is_saved_and_can_be_undone() {
    let mut screen = Screen::new((40, 6));
    let id = screen.declare("INC-20240819-0652-k7q2", NOW - 60);
    screen.with(|pane, cx| pane.open_editor(cx));
    screen.inbound(document(&id, "old", "one", None));
    let effects = screen.press("ctrl-x");
    assert_eq!(effects, [Effect::OpenEditor { incident: Some(id.clone()), text: "old".into() }]);
    let effects = screen.with(|pane, cx| pane.editor_closed(cx, Some(id.clone()), Ok("new".into())));
    assert!(matches!(requests(&effects)[..], [Request::SaveDocument { .. }]));
    screen.press("ctrl-z");
    assert_eq!(screen.rows()[0], "old");
}

#[test]
fn leaving_the_screen_gives_out_drafts_and_what_was_refused() {
    let mut screen = Screen::new((40, 6));
    let id = screen.declare("INC-20240819-0652-k7q2", NOW - 60);
    screen.with(|pane, cx| pane.open_editor(cx));
    screen.inbound(document(&id, "", "one", None));
    screen.typed("x");
    let request = Request::Note(NoteRequest { incident: None, at: None, text: "n".into() });
    screen.inbound(Inbound::Refused { request: Box::new(request.clone()), error: "e".into() });
    let effects = screen.with(|pane, cx| pane.leaving(cx));
    let draft = Request::SaveDraft { incident: Some(id), text: "x".into() };
    assert_eq!(requests(&effects), [&draft, &as_written_at(NOW, &request)]);
}

#[test]
fn a_half_typed_note_is_kept_within_a_second_until_it_is_on_disk() {
    let mut screen = Screen::new((80, 5));
    let opened = screen.with(|pane, cx| pane.start_note(cx));
    assert_eq!(requests(&opened), [&Request::LoadNoteDraft]);
    screen.typed("pool gre");
    let due = screen.with(|pane, cx| pane.next_wake(cx)).unwrap();
    assert_eq!(due, at(NOW + 1));
    assert_eq!(screen.with(|pane, cx| pane.woken(cx)), []);
    screen.now = due;
    let kept = screen.with(|pane, cx| pane.woken(cx));
    assert_eq!(requests(&kept), [&Request::SaveNoteDraft("pool gre".into())]);
    screen.typed("w");
    let sent = screen.press("enter");
    assert!(matches!(&requests(&sent)[..], [Request::Note(_)]), "the draft outlives a note that is not on disk yet");
    let id = screen.declare("INC-20240819-1452-k7q2", NOW);
    let (host, fact) = (
        HostId::new("h"),
        IncidentFact::EntryAppended { incident: id, entry: Box::new(entry(NOW, note("pool grew"))) },
    );
    let envelope = Envelope { host, seq: 2, at: screen.now, actor: Actor::Runtime, fact: Fact::Incident(fact) };
    let saved = screen.inbound(Inbound::Fact(Box::new(envelope)));
    assert_eq!(requests(&saved), [&Request::SaveNoteDraft(String::new())]);
}

#[test]
fn leaving_keeps_a_half_typed_note_and_the_next_session_offers_it() {
    let mut screen = Screen::new((80, 5));
    screen.with(|pane, cx| pane.start_note(cx));
    screen.typed("pool gre");
    let left = screen.with(|pane, cx| pane.leaving(cx));
    assert_eq!(requests(&left), [&Request::SaveNoteDraft("pool gre".into())]);

    let mut next = Screen::new((80, 5));
    next.with(|pane, cx| pane.start_note(cx));
    next.inbound(Inbound::NoteDraft("pool gre".into()));
    assert_eq!(next.rows()[4], "log-book > pool gre");
    let mut quick = Screen::new((80, 5));
    quick.with(|pane, cx| pane.start_note(cx));
    quick.typed("x");
    quick.inbound(Inbound::NoteDraft("pool gre".into()));
    assert_eq!(quick.rows()[4], "log-book > x");
    quick.press("up");
    assert_eq!(quick.rows()[4], "log-book > pool gre");
}
