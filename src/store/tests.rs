//! The store as a whole: what is written is read again, also after what can go wrong.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;

use super::*;
use crate::clock;
use crate::domain::alert::Severity;
use crate::domain::alert::delivery::{Action, AlertLine, DeliveryState, Message};
use crate::domain::ids::{HostId, ProbeId};
use crate::domain::probe::health::Thresholds;
use crate::domain::probe::history::HistoryRequest;
use crate::domain::probe::outcome::{Cause, Evidence, Outcome, Phase, Phases, ProbeResult, Trouble};
use crate::domain::probe::{Glimpse, ProbeKept};
use crate::store::database::{Database, FILE_NAME};
use crate::store::outbox::Attempt;
use crate::store::reader::Reader;
use crate::store::rollup::Marks;

/// How long a test waits for a thread before it says that nothing comes.
const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    store: Store,
    opened: Opened,
    news: Receiver<News>,
}

impl Running {
    fn start(dir: &Path) -> Self {
        let (news_tx, news) = channel();
        let (opened_tx, opened_rx) = channel();
        let sink: NewsSink = Box::new(move |it| news_tx.send(it.clone()).is_ok());
        let store = Store::start(dir, Limits::default(), sink, move |it| opened_tx.send(it).expect("the test waits"));
        Self { store, opened: opened_rx.recv_timeout(PATIENCE).expect("opened"), news }
    }

    fn commit(&self, commit: Commit) -> bool {
        let (done_tx, done_rx) = channel();
        self.store.commit(commit, Box::new(move |durable| done_tx.send(durable).expect("the test waits")));
        done_rx.recv_timeout(PATIENCE).expect("answered")
    }

    fn news(&self) -> News {
        self.news.recv_timeout(PATIENCE).expect("news")
    }

    fn not_durable(&self) -> Option<String> {
        match self.news() {
            News::NotDurable(why) => why,
            other => panic!("{other:?}"),
        }
    }
}

fn probe(name: &str) -> ProbeId {
    ProbeId::new(&HostId::new("h"), name)
}

fn sample(name: &str, at: Timestamp, result: ProbeResult, ms: u64) -> Sample {
    let mut phases = Phases::default();
    phases.add(Phase::Wait, Duration::from_millis(ms));
    let trouble = (result != ProbeResult::Ok).then(|| Trouble::new(Cause::Status, "502", "status is 502"));
    let evidence = Evidence { status: Some(502), body: "x".repeat(100), ..Evidence::default() };
    let outcome = Outcome { at, result, phases, trouble, evidence, lag: Duration::ZERO, latency_suspect: false };
    let mut kept = ProbeKept::default();
    kept.health.set_thresholds(Thresholds::default());
    kept.health.apply(at, result);
    let next = at.checked_add(SignedDuration::from_secs(10)).ok();
    Sample { probe: probe(name), outcome: outcome.into(), next, kept }
}

fn delivery(id: &str) -> Delivery {
    let at = Timestamp::from_second(1_800_000_000).expect("a time");
    let line = AlertLine {
        key: "h/api/1".into(),
        subject: "h/api".into(),
        concern: "down".into(),
        why: "502".into(),
        since: at,
        ended: None,
        severity: Severity::Critical,
        labels: Default::default(),
    };
    let (title, text) = ("api DOWN".to_string(), "api DOWN: 502".to_string());
    let message =
        Message { title, text, severity: Severity::Critical, host: "h".into(), alerts: vec![line], brief: None };
    Delivery {
        id: id.into(),
        key: "h/api/1".into(),
        notifier: "sms".into(),
        action: Action::Trigger,
        at,
        expires: None,
        message,
        follows: None,
        silence: None,
        because: "notify of api".into(),
    }
}

fn change(id: &str) -> Commit {
    let rows = vec![("alert".to_string(), Some(format!("row of {id}")))];
    Commit { rows, deliveries: vec![delivery(id)], ..Commit::default() }
}

fn mark(id: &str, state: DeliveryState) -> Commit {
    let at = Timestamp::from_second(1_800_000_001).expect("a time");
    let attempt = Attempt { number: 1, at, ended: Some(at), text: "no answer".into() };
    Commit {
        marks: vec![Mark { id: id.into(), state, at, reached: vec!["+1".into()], attempt: Some(attempt) }],
        ..Commit::default()
    }
}

/// The sink must not be called any more, and the file must be closed.
fn stop(running: Running) {
    let Running { store, news, .. } = running;
    drop(store);
    while news.recv_timeout(PATIENCE).is_ok() {}
}

#[test]
fn a_host_that_is_called_otherwise_keeps_its_past() {
    let dir = tempfile::tempdir().expect("a directory");
    let now = Timestamp::from_second(1_800_000_000).expect("a time");
    let first = Running::start(dir.path());
    first.store.record(sample("api", now, ProbeResult::Fail, 3));
    let rows = vec![("trail/h/api".to_string(), Some("{}".to_string())), ("trail/x/api".into(), Some("{}".into()))];
    assert!(first.commit(Commit { rows, ..Commit::default() }));
    stop(first);
    let read = |host: &str| {
        let mut database = Database::open(dir.path()).expect("open");
        renamed::follow(&mut database.connection, &HostId::new(host)).expect("followed");
        let probes = samples::restore(&database.connection).expect("read");
        let rows = alerts::read(&database.connection).expect("read");
        (probes.into_iter().map(|it| it.0).collect::<Vec<_>>(), rows.into_iter().map(|it| it.0).collect::<Vec<_>>())
    };
    let db1 = (vec![ProbeId::of("db1/api")], vec!["trail/db1/api".to_string(), "trail/x/api".into()]);
    assert_eq!(read("db1"), db1);
    assert_eq!(read("db1"), db1, "once");
    let hour = now..now + SignedDuration::from_hours(1);
    let trace = |id: &str| Reader::new(dir.path(), None).trace(&ProbeId::of(id), hour.clone()).expect("read");
    assert_eq!((trace("db1/api").outcomes.len(), trace("h/api").outcomes.len()), (1, 0), "its history came along");
}

#[test]
fn what_was_kept_comes_back_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let now = Timestamp::from_second(1_800_000_000).expect("a time");
    let first = Running::start(dir.path());
    assert_eq!(first.opened, Opened::default());
    first.store.record(sample("api", now, ProbeResult::Fail, 3));
    assert!(first.commit(change("one")));
    assert!(first.commit(change("two")));
    assert!(first.commit(mark("one", DeliveryState::Sending { attempt: 1 })));
    assert!(first.commit(mark("two", DeliveryState::Sent { receipt: None, attempts: 1 })));
    assert!(first.commit(Commit { superseded: vec![("one".into(), now)], ..Commit::default() }));
    stop(first);

    let second = Running::start(dir.path());
    let Opened { restored, deliveries, lasting, .. } = second.opened.clone();
    assert_eq!(restored.alerts, [("alert".to_string(), "row of two".to_string())]);
    assert_eq!(restored.probes, [(probe("api"), sample("api", now, ProbeResult::Fail, 3).kept)]);
    let [(_, glimpses)] = restored.glimpses.as_slice() else { panic!("{:?}", restored.glimpses) };
    assert_eq!(glimpses.last(), Some(&Glimpse(ProbeResult::Fail, 3_000)), "what a sparkline shows is there at once");
    assert_eq!(deliveries.len(), 1, "what is on its way is not superseded, what is sent is not open");
    assert_eq!((&deliveries[0].delivery, &deliveries[0].reached), (&delivery("one"), &vec!["+1".to_string()]));
    assert_eq!(deliveries[0].state, DeliveryState::Sending { attempt: 1 });
    assert_eq!(lasting, [delivery("two")]);
    let range = now..now.checked_add(SignedDuration::from_secs(60)).expect("a time");
    let trace = Reader::new(dir.path(), None).trace(&probe("api"), range).expect("read");
    assert_eq!(trace.outcomes, [(*sample("api", now, ProbeResult::Fail, 3).outcome).clone()]);
    assert_eq!(trace.deliveries.len(), 2);
    assert_eq!(trace.deliveries[0].1[0].text, "no answer");
    stop(second);
}

#[test]
fn a_full_disk_keeps_everything_in_memory_until_there_is_room() {
    let dir = tempfile::tempdir().expect("a directory");
    let running = Running::start(dir.path());
    assert!(running.commit(change("before")));
    let large = |id: &str| {
        let mut commit = change(id);
        commit.deliveries[0].message.text = "x".repeat(60_000);
        commit
    };
    running.store.set_file_max_bytes(4096);
    // The ceiling is looked at when something fails, so something must fail first: the page that is free goes.
    let raw = Connection::open(dir.path().join(FILE_NAME)).expect("opened");
    raw.execute_batch("BEGIN IMMEDIATE").expect("locked");
    assert!(!running.commit(large("locked")), "another process holds the file");
    assert!(running.not_durable().expect("a reason").contains("locked by another process"));
    drop(raw);
    assert!(!running.commit(large("full")));
    assert!(running.not_durable().expect("a reason").contains("make room"));
    let now = clock::now();
    running.store.record(sample("api", now, ProbeResult::Ok, 3));
    // What the writer has in hand at this moment is neither in memory nor on disk; behind this it has put it back.
    assert!(!running.commit(Commit::default()), "still no room");
    let request = request(now, 3600);
    let known = Reader::new(dir.path(), Some(running.store.clone())).history(&request).expect("read");
    assert_eq!(known.whole.ok, 1, "history goes on from memory");

    running.store.set_file_max_bytes(1 << 30);
    assert!(running.commit(Commit::default()), "room again");
    assert_eq!(running.not_durable(), None);
    stop(running);
    let again = Running::start(dir.path());
    let ids: Vec<_> = again.opened.deliveries.iter().map(|it| it.delivery.id.clone()).collect();
    assert_eq!(ids, ["before", "locked", "full"]);
    assert_eq!(again.opened.restored.probes.len(), 1);
    stop(again);
}

fn request(now: Timestamp, seconds: i64) -> HistoryRequest {
    HistoryRequest {
        generation: 1,
        probe: probe("api"),
        from: now.checked_sub(SignedDuration::from_secs(seconds)).expect("a time"),
        until: now.checked_add(SignedDuration::from_secs(1)).expect("a time"),
        points: 60,
        zone: "Asia/Shanghai".into(),
        as_of: None,
    }
}

#[test]
fn a_time_in_which_nothing_ran_is_unwatched_and_not_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let now = Timestamp::from_second(1_700_000_000).expect("a time");
    let ago = |seconds: i64| now - jiff::SignedDuration::from_secs(seconds);
    let running = Running::start(dir.path());
    // Ten minutes of runs, ten of which nothing is known, ten more; one of the last says nothing, and was one all the same.
    for at in (0..=1800).step_by(30).filter(|at| !(600..1200).contains(at)) {
        let result = if at == 300 { ProbeResult::Unknown } else { ProbeResult::Ok };
        let mut sample = sample("api", ago(at), result, 3);
        sample.next = Some(ago(at - 30));
        running.store.record(sample);
    }
    let history = Reader::new(dir.path(), Some(running.store.clone()))
        .history(&HistoryRequest { points: 61, as_of: Some(now), ..request(now, 1829) })
        .expect("read");
    // The last run before the gap speaks for twice its interval.
    let unwatched = history.unwatched.as_secs();
    assert!((565..=575).contains(&unwatched), "{unwatched}");
    let marks: String = history.points.iter().map(|it| if it.unwatched { 'u' } else { '.' }).collect();
    assert_eq!(marks.trim_matches('.').len(), 18, "{marks}");
    assert!(marks.starts_with("....................") && marks.ends_with("...................."), "{marks}");
    assert!(history.points.iter().all(|it| !it.unwatched || it.ok + it.fail + it.unknown == 0));
    let days: Vec<_> = history.days.iter().filter(|it| it.up.is_some()).collect();
    assert!(days.iter().all(|it| it.up == Some(1.0)));
    let unwatched: u64 = days.iter().map(|it| it.unwatched.as_secs()).sum();
    assert!((565..=575).contains(&unwatched), "{unwatched}");
    assert_eq!(history.known_since, Some(ago(1800)));

    // As it was told ten minutes ago.
    let then = HistoryRequest { as_of: Some(ago(900)), ..request(ago(900), 3600) };
    let then = Reader::new(dir.path(), Some(running.store.clone())).history(&then).expect("read");
    let sum = |of: fn(&crate::domain::probe::history::Day) -> Duration| then.days.iter().map(of).sum::<Duration>();
    let (known, unwatched) = (sum(|it| it.known).as_secs(), sum(|it| it.unwatched).as_secs());
    assert!((630..=690).contains(&known) && (200..=275).contains(&unwatched), "{known} {unwatched}");
    stop(running);
}

#[test]
fn a_file_that_is_damaged_while_it_is_used_is_replaced_with_all_that_alerts_know() {
    let dir = tempfile::tempdir().expect("a directory");
    let running = Running::start(dir.path());
    assert!(running.commit(change("one")));
    // As a failing disk would: pages of nonsense in the middle of the file, and no log to mend them.
    let raw = Connection::open(dir.path().join(FILE_NAME)).expect("opened");
    raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("checkpoint");
    drop(raw);
    let path = dir.path().join(FILE_NAME);
    let length = std::fs::metadata(&path).expect("there").len() as usize;
    std::fs::write(&path, vec![0x5a; length]).expect("written");
    assert!(running.commit(change("two")), "a new file is made at once");
    let News::Damaged(text) = running.news() else { panic!("it is said") };
    assert!(text.contains("moved to"), "{text}");
    stop(running);
    let again = Running::start(dir.path());
    assert_eq!(again.opened.deliveries.iter().map(|it| it.delivery.id.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    stop(again);
}

#[test]
fn a_reader_that_stays_open_reads_the_file_that_took_the_place_of_another() {
    let dir = tempfile::tempdir().expect("a directory");
    let now = clock::now();
    let range = now..now.checked_add(SignedDuration::from_secs(60)).expect("a time");
    let mut reader = Reader::new(dir.path(), None);
    let mut known = |name: &str| reader.trace(&probe(name), range.clone()).expect("read").outcomes.len();
    assert_eq!(known("old"), 0, "there is no file yet");
    for name in ["old", "new"] {
        let running = Running::start(dir.path());
        running.store.record(sample(name, now, ProbeResult::Ok, 3));
        assert!(running.commit(Commit::default()));
        stop(running);
        assert_eq!(known(name), 1);
        database::move_aside(dir.path(), now).expect("moved");
        assert_eq!(known(name), 0, "it is gone");
    }
}

/// A state directory as `kill -9` leaves it, with one thing of each kind in the log of the file.
fn killed(now: Timestamp) -> tempfile::TempDir {
    let (dir, left) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let running = Running::start(dir.path());
    running.store.record(sample("api", now, ProbeResult::Fail, 3));
    assert!(running.commit(change("one")));
    assert!(running.commit(change("two")));
    assert!(running.commit(mark("one", DeliveryState::Sent { receipt: None, attempts: 1 })));
    for ending in ["", "-wal"] {
        let name = format!("{FILE_NAME}{ending}");
        std::fs::copy(dir.path().join(&name), left.path().join(&name)).expect("copied");
    }
    stop(running);
    left
}

#[test]
fn where_shared_memory_cannot_be_made_what_was_kept_is_read_and_gone_on_with_until_it_can() {
    let now = clock::now();
    let dir = killed(now);
    // As on a full disk: the file for the shared memory cannot be made.
    let in_the_way = dir.path().join(format!("{FILE_NAME}-shm"));
    std::fs::create_dir(&in_the_way).expect("made");
    let running = Running::start(dir.path());
    let Opened { restored, deliveries, lasting, .. } = &running.opened;
    assert_eq!(restored.alerts, [("alert".to_string(), "row of two".to_string())]);
    assert!(!restored.lost, "all of it was read");
    assert_eq!(restored.probes.len(), 1);
    assert_eq!(deliveries.iter().map(|it| it.delivery.id.as_str()).collect::<Vec<_>>(), ["two"]);
    assert_eq!(*lasting, [delivery("one")]);
    let why = running.not_durable().expect("a reason");
    assert!(why.contains("what is new since") && !why.contains("cannot be read"), "{why}");
    let trace = Reader::new(dir.path(), Some(running.store.clone()))
        .trace(&probe("api"), now..Timestamp::MAX)
        .expect("read past what is in the way");
    assert_eq!((trace.outcomes.len(), trace.deliveries.len()), (1, 2));

    assert!(!running.commit(mark("two", DeliveryState::Sent { receipt: None, attempts: 1 })), "from memory");
    assert!(!running.commit(change("three")));
    std::fs::remove_dir(&in_the_way).expect("removed");
    assert!(running.commit(Commit::default()), "room again");
    assert_eq!(running.not_durable(), None);
    stop(running);
    let again = Running::start(dir.path());
    let ids: Vec<_> = again.opened.deliveries.iter().map(|it| it.delivery.id.clone()).collect();
    assert_eq!(ids, ["three"], "what went from memory does not go again");
    assert_eq!(again.opened.restored.alerts, [("alert".to_string(), "row of three".to_string())]);
    stop(again);
}

#[test]
fn what_cannot_be_read_at_the_start_comes_when_it_can_and_says_until_then_that_it_is_missing() {
    let dir = killed(clock::now());
    let raw = Connection::open(dir.path().join(FILE_NAME)).expect("opened");
    raw.execute_batch("PRAGMA locking_mode=EXCLUSIVE; BEGIN IMMEDIATE").expect("locked");
    let running = Running::start(dir.path());
    assert_eq!(
        running.opened,
        Opened { restored: Restored { lost: true, ..Restored::default() }, ..Opened::default() }
    );
    let why = running.not_durable().expect("a reason");
    assert!(why.contains("locked by another process") && why.contains("what was kept before cannot be read"), "{why}");
    assert!(!running.commit(change("new")));
    drop(raw);
    assert!(running.commit(Commit::default()), "it is free again");
    let News::Late(late) = running.news() else { panic!("it comes") };
    assert_eq!(late.restored.alerts, [("alert".to_string(), "row of two".to_string())]);
    assert!(!late.restored.lost);
    assert_eq!(late.deliveries.len(), 1);
    assert_eq!(running.not_durable(), None);
    stop(running);
    let again = Running::start(dir.path());
    assert_eq!(again.opened.deliveries.iter().map(|it| it.delivery.id.as_str()).collect::<Vec<_>>(), ["two", "new"]);
    stop(again);
}

#[test]
fn out_of_a_damaged_file_is_saved_what_can_be_read_and_it_is_said_that_there_may_have_been_more() {
    let dir = killed(clock::now());
    let raw = Connection::open(dir.path().join(FILE_NAME)).expect("opened");
    let page: i64 = raw
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'probe_state'", [], |row| row.get(0))
        .expect("a table");
    raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("checkpoint");
    drop(raw);
    let file = std::fs::OpenOptions::new().write(true).open(dir.path().join(FILE_NAME)).expect("opened");
    let page_bytes = database::PAGE_BYTES;
    let nonsense = vec![0x5a; page_bytes as usize];
    std::os::unix::fs::FileExt::write_all_at(&file, &nonsense, (page.unsigned_abs() - 1) * page_bytes).expect("spoilt");
    let running = Running::start(dir.path());
    let Opened { restored, deliveries, lasting, .. } = running.opened.clone();
    assert!(restored.lost);
    assert_eq!((restored.probes.len(), restored.alerts.len(), deliveries.len(), lasting.len()), (0, 1, 1, 1));
    let News::Damaged(text) = running.news() else { panic!("it is said") };
    assert!(text.contains("was damaged"), "{text}");
    stop(running);
    // The new file holds it from the first moment.
    let again = Running::start(dir.path());
    assert_eq!((again.opened.restored.alerts.len(), again.opened.deliveries.len()), (1, 1));
    assert!(!again.opened.restored.lost);
    stop(again);
}

#[test]
fn a_log_that_is_gone_is_said_and_what_is_new_is_not_numbered_as_what_it_held() {
    let dir = killed(clock::now());
    std::fs::remove_file(dir.path().join(format!("{FILE_NAME}-wal"))).expect("removed");
    std::fs::write(dir.path().join(format!("{FILE_NAME}-shm")), [0; 32768]).expect("left behind");
    let running = Running::start(dir.path());
    assert!(running.opened.restored.lost);
    let News::Damaged(text) = running.news() else { panic!("it is said") };
    assert!(text.contains("store.db-wal") && text.contains("is lost"), "{text}");
    assert!(running.commit(change("new")));
    stop(running);
    let again = Running::start(dir.path());
    assert!(!again.opened.restored.lost, "said once");
    stop(again);
}

#[test]
fn what_the_writer_has_in_hand_is_seen_by_who_reads() {
    let dir = tempfile::tempdir().expect("a directory");
    let running = Running::start(dir.path());
    assert!(running.commit(Commit::default()));
    let now = clock::now();
    let mut reader = Reader::new(dir.path(), Some(running.store.clone()));
    let request = request(now, 60);
    // The writer stands still with the outcome in its hand as long as another process holds the file.
    let raw = Connection::open(dir.path().join(FILE_NAME)).expect("opened");
    raw.execute_batch("BEGIN IMMEDIATE").expect("locked");
    running.store.record(sample("api", now, ProbeResult::Ok, 3));
    running.store.flush(Box::new(|_| {}));
    let until = clock::monotonic() + PATIENCE;
    while running.store.shared.held().in_hand.is_empty() {
        assert!(clock::monotonic() < until, "it is never taken");
        std::thread::yield_now();
    }
    assert!(running.store.shared.held().pending.samples.is_empty(), "neither here");
    assert_eq!(Reader::new(dir.path(), None).history(&request).expect("read").whole.ok, 0, "nor there");
    assert_eq!(reader.history(&request).expect("read").whole.ok, 1);
    let range = now..Timestamp::MAX;
    assert_eq!(reader.trace(&probe("api"), range.clone()).expect("read").outcomes.len(), 1);
    drop(raw);
    assert!(running.commit(Commit::default()), "written");
    assert_eq!(reader.history(&request).expect("read").whole.ok, 1, "and not twice");
    assert_eq!(reader.trace(&probe("api"), range).expect("read").outcomes.len(), 1);
    stop(running);
}

#[test]
fn what_is_asked_about_the_file_is_answered_and_its_sums_are_made_again() {
    let dir = tempfile::tempdir().expect("a directory");
    assert_eq!(inspect::stat(dir.path()).expect("read"), None);
    assert_eq!(inspect::check(dir.path()).expect("read"), None);
    let now = Timestamp::from_second(1_800_003_600).expect("a time");
    let connection = filled(dir.path(), now, 1);
    rollup::roll(&connection, now.as_second()).expect("summed up");
    drop(connection);
    let running = Running::start(dir.path());
    assert!(running.commit(change("one")));
    assert!(running.commit(mark("one", DeliveryState::Sending { attempt: 1 })));
    let stat = inspect::stat(dir.path()).expect("read").expect("a file");
    assert_eq!((stat.probes, stat.outcomes, stat.failures), (1, 2880, 28));
    assert_eq!((stat.alert_rows, stat.deliveries, stat.open_deliveries, stat.attempts), (1, 1, 1, 1));
    assert_eq!(stat.until.map(Timestamp::as_second), Some(now.as_second() - 30));
    assert!(stat.minutes >= 285 && stat.hours >= 23, "{stat:?}");
    stop(running);

    let raw = Connection::open(dir.path().join(FILE_NAME)).expect("opened");
    raw.execute_batch("DELETE FROM minutes WHERE start % 600 = 0; DELETE FROM hours").expect("deleted");
    let sums = inspect::rebuild(dir.path()).expect("made again");
    assert_eq!(sums, stat.minutes + stat.hours);
    assert_eq!(inspect::check(dir.path()).expect("read"), Some(Vec::new()));
    raw.execute_batch("DELETE FROM probe; UPDATE outbox SET delivery = '{}'").expect("spoilt");
    let found = inspect::check(dir.path()).expect("read").expect("a file");
    assert_eq!(found, ["2,880 outcomes belong to no probe", "1 delivery cannot be read"]);
}

#[test]
fn a_file_that_is_no_database_is_moved_aside() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join(FILE_NAME), "no database, and long enough to be taken for one".repeat(9))
        .expect("written");
    let running = Running::start(dir.path());
    let News::Damaged(text) = running.news() else { panic!("it is said") };
    assert!(text.contains("was damaged"), "{text}");
    assert!(running.commit(change("one")));
    stop(running);
}

#[test]
fn a_newer_file_is_left_alone_and_everything_goes_on_from_memory() {
    let dir = tempfile::tempdir().expect("a directory");
    let made = Database::open(dir.path()).expect("made");
    made.connection.pragma_update(None, "user_version", 77).expect("set");
    drop(made);
    let running = Running::start(dir.path());
    assert!(running.not_durable().expect("a reason").contains("of a newer hotseat"));
    assert!(!running.commit(change("one")));
    stop(running);
    let raw = Connection::open(dir.path().join(FILE_NAME)).expect("opened");
    let count: i64 = raw.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).expect("read");
    assert_eq!(count, 0);
}

/// A file with `days` of outcomes every 30 s up to `now`, one in a hundred failed.
fn filled(dir: &Path, now: Timestamp, days: i64) -> Connection {
    let database = Database::open(dir).expect("made");
    let mut known = Known::default();
    let start = now.as_second() - days * 86_400;
    let connection = database.connection;
    let fill = connection.unchecked_transaction().expect("begun");
    rollup::roll(&fill, start).expect("begun");
    for (at, step) in (start..now.as_second()).step_by(30).enumerate() {
        let result = if at % 100 == 99 { ProbeResult::Fail } else { ProbeResult::Ok };
        let mut sample = sample("api", Timestamp::from_second(step).expect("a time"), result, 1 + at as u64 % 100);
        sample.next = sample.outcome.at.checked_add(SignedDuration::from_secs(30)).ok();
        samples::insert(&fill, &mut known, &sample).expect("written");
    }
    fill.commit().expect("written");
    connection
}

#[test]
fn sums_say_the_same_as_the_runs_that_they_were_made_of() {
    let dir = tempfile::tempdir().expect("a directory");
    let now = Timestamp::from_second(1_800_003_600).expect("a time");
    let connection = filled(dir.path(), now, 2);
    let answer = |request: &HistoryRequest| history::history(Some(&connection), request, &[], now).expect("read");
    let mut two_days = request(now, 2 * 86_400);
    let before = answer(&two_days);
    assert_eq!((before.grain.as_str(), before.whole.ok + before.whole.fail), ("raw", 5760));
    rollup::roll(&connection, now.as_second()).expect("summed up");
    for (points, grain) in [(1000, "raw"), (200, "minutes"), (2, "hours")] {
        two_days.points = points;
        let after = answer(&two_days);
        assert_eq!(after.whole, before.whole, "{points} points");
        assert_eq!(after.days, before.days, "{points} points");
        assert_eq!(after.grain, grain, "{points} points");
    }
    let p95 = before.whole.p95.expect("known").as_secs_f64();
    assert!((0.092..0.098).contains(&p95), "{p95}");
    let down: Duration = before.days.iter().map(|it| it.down).sum();
    assert_eq!(down.as_secs(), 57 * 30);
    let up = before.days[1].up.expect("known");
    assert!((up - 0.99).abs() < 0.001, "{up}");

    // Derived means derived: thrown away and made again they are the same.
    let rows = |table: &str| -> i64 {
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("read")
    };
    let (minutes, hours) = (rows("minutes"), rows("hours"));
    assert!(minutes >= 575 && hours >= 47, "{minutes} {hours}");
    connection.execute_batch("DELETE FROM minutes; DELETE FROM hours").expect("deleted");
    rollup::rebuild(&connection).expect("made again");
    assert_eq!((rows("minutes"), rows("hours")), (minutes, hours));
    two_days.points = 2;
    assert_eq!(answer(&two_days).whole, before.whole);
}

#[test]
fn the_finest_grain_goes_first_and_the_coarser_speaks_for_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let now = Timestamp::from_second(1_800_003_600).expect("a time");
    let connection = filled(dir.path(), now, 3);
    rollup::roll(&connection, now.as_second()).expect("summed up");
    let mut request = request(now, 3 * 86_400);
    request.points = 1000;
    let before = history::history(Some(&connection), &request, &[], now).expect("read");
    let limits = Limits { raw_days: 1, minutes_days: 2, ..Limits::default() };
    for chore in rollup::plan(&connection, &limits, now.as_second()).expect("planned") {
        chore.run(&connection).expect("dropped");
    }
    assert!(rollup::plan(&connection, &limits, now.as_second()).expect("planned").is_empty(), "nothing more to drop");
    let count = |table: &str| -> i64 {
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("read")
    };
    assert_eq!(count("outcome"), 86_400 / 30);
    // The last five minutes may still get an outcome and are not summed up yet.
    assert_eq!(count("minutes"), 2 * 288 - 1);
    let after = history::history(Some(&connection), &request, &[], now).expect("read");
    assert_eq!((&after.whole, after.grain.as_str()), (&before.whole, "hours"));
    assert_eq!(after.days, before.days);
    assert_eq!(after.known_since, before.known_since);
    // Made again only from what is still there.
    rollup::rebuild(&connection).expect("made again");
    assert_eq!(history::history(Some(&connection), &request, &[], now).expect("read").whole.ok, before.whole.ok);

    let tight = Limits { bytes_max: rollup::used_bytes(&connection).expect("read") * 3 / 4, ..limits };
    for _ in 0..200 {
        let chores = rollup::plan(&connection, &tight, now.as_second()).expect("planned");
        chores.iter().for_each(|it| it.run(&connection).expect("dropped"));
    }
    assert!(rollup::used_bytes(&connection).expect("read") <= tight.bytes_max, "the bound holds");
    assert!(count("hours") > 0);
}

#[test]
fn a_clock_that_jumps_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let now = Timestamp::from_second(1_800_003_600).expect("a time");
    let connection = filled(dir.path(), now, 1);
    // A year ahead, and back.
    rollup::roll(&connection, now.as_second() + 366 * 86_400).expect("summed up");
    rollup::roll(&connection, now.as_second() + 600).expect("summed up");
    let request = request(now, 86_400);
    let before = history::history(Some(&connection), &request, &[], now).expect("read");
    assert_eq!(before.whole.ok + before.whole.fail, 2880);
    let marks = Marks::read(&connection).expect("read");
    let late = sample("api", Timestamp::from_second(now.as_second() - 43_205).expect("a time"), ProbeResult::Ok, 5);
    let id = samples::insert(&connection, &mut Known::default(), &late).expect("written");
    rollup::roll_late(&connection, &marks, id, late.outcome.at.as_microsecond()).expect("summed up");
    let mut coarse = request.clone();
    coarse.points = 2;
    let after = history::history(Some(&connection), &coarse, &[], now).expect("read");
    assert_eq!(after.whole.ok, before.whole.ok + 1);
}

#[test]
fn outcomes_that_come_steadily_wake_nobody() {
    let (wake_tx, wake_rx) = sync_channel(1);
    let shared = Shared {
        held: Mutex::default(),
        file_max_bytes: AtomicU64::new(0),
        used: AtomicBool::new(false),
        looks: AtomicBool::new(false),
    };
    let store = Store { shared: Arc::new(shared), wake_tx };
    let record = || {
        store.record(sample("a", Timestamp::UNIX_EPOCH, ProbeResult::Ok, 1));
        wake_rx.try_recv().is_ok()
    };
    assert!(record(), "the first one begins a batch");
    assert!(!record(), "the next one joins it");
    // The batch is written, and it is looked for the next one.
    assert!(store.shared.keep_looking(true));
    drop(store.shared.take());
    assert!(!record());
    assert!(store.shared.keep_looking(true));
    drop(store.shared.take());
    // None has come.
    assert!(!store.shared.keep_looking(true));
    assert!(record(), "nobody would look for this one");
    assert!(!store.shared.keep_looking(false), "whoever ends does not look again");
    // An alert does not wait for anybody.
    store.commit(Commit::default(), Box::new(|_| ()));
    assert!(wake_rx.try_recv().is_ok());
}
