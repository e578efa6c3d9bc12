//! Scripted hosts behind one screen.

mod alone;
mod decisions;
mod exports;
mod pasts;
mod shares;

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::domain::board::Board;
use crate::domain::host::{Again, Peer, Role};
use crate::domain::ids::{ProbeId, SourceId};
use crate::domain::incident::{DeclareRequest, Severity};
use crate::domain::log::{
    Anchor, Counts, Cursor, Find, GapKind, Level, Position, Record, Row, ViewId, Window, WindowRequest,
};

/// A deadline that only a broken test meets.
const LONG: Duration = Duration::from_secs(60);

/// The other end of a host's link.
struct Far {
    inbound_tx: mpsc::Sender<Inbound>,
    requests_rx: mpsc::Receiver<Request>,
    host: HostId,
}

impl Far {
    async fn comes(&self) {
        self.way(attached()).await;
        let board = Board { host: Some(self.host.clone()), ..Board::default() };
        self.says(Inbound::Snapshot(Box::new(board))).await;
    }

    async fn way(&self, way: Way) {
        self.says(Inbound::Host(Box::new(HostNews { host: self.host.clone(), way }))).await;
    }

    async fn says(&self, inbound: Inbound) {
        self.inbound_tx.send(inbound).await.expect("the hub listens");
    }

    async fn asked(&mut self) -> Request {
        timeout(LONG, self.requests_rx.recv()).await.expect("asked in time").expect("asked")
    }

    async fn asked_window(&mut self) -> WindowRequest {
        match self.asked().await {
            Request::Window(it) => *it,
            other => panic!("a window, not {other:?}"),
        }
    }

    fn is_asked_nothing(&mut self) -> bool {
        self.requests_rx.try_recv().is_err()
    }

    /// Answers with records at these seconds, all there are.
    async fn answers(&self, request: &WindowRequest, seconds: &[i64], anchor_row: Option<usize>) {
        let rows = seconds.iter().map(|it| record(&self.host, *it)).collect();
        let counts =
            Counts { matched: seconds.len() as u64, scanned: 10, scanned_bytes: 100, total_bytes: 100, complete: true };
        self.says(Inbound::Window(Box::new(Window {
            rows: Some(rows),
            anchor_row,
            at_head: true,
            at_tail: true,
            counts,
            ..Window::answering(request)
        })))
        .await;
    }
}

fn attached() -> Way {
    let peer = Peer { role: Role::Agent, version: "0".into(), pid: 7, since: Timestamp::UNIX_EPOCH };
    Way::Attached { peer, readonly: false, ahead_ms: 0 }
}

fn lost() -> Way {
    Way::Lost {
        since: Timestamp::UNIX_EPOCH,
        why: "broken pipe".into(),
        retry_at: None,
        can_take_over: false,
        ends: None,
    }
}

fn record(host: &HostId, second: i64) -> Row {
    Row::Record(Record::new(position(host, second), vec![format!("{host} {second}")]))
}

fn position(host: &HostId, second: i64) -> Position {
    Position {
        time: Timestamp::from_second(second).ok(),
        source: SourceId::new(host, "app"),
        cursor: Cursor::Store { nanos: second, tie: String::new() },
    }
}

/// A hub on two hosts that are there.
async fn hub_of_two() -> (Link, Vec<Far>) {
    let (mut link, far) = hub(&["db1", "web1"]);
    for it in &far {
        it.comes().await;
    }
    all_there(&mut link, far.len()).await;
    (link, far)
}

/// A hub on hosts that are called as they call themselves.
fn hub(names: &[&str]) -> (Link, Vec<Far>) {
    let mut far = Vec::new();
    let members = names.iter().map(|name| {
        let (inbound_tx, facts_rx) = mpsc::channel(32);
        let (requests_tx, requests_rx) = mpsc::channel(32);
        far.push(Far { inbound_tx, requests_rx, host: HostId::new(name) });
        Member { called: HostId::new(name), link: Link { facts_rx, requests_tx } }
    });
    let members = members.collect();
    (start(members), far)
}

async fn next(link: &mut Link) -> Inbound {
    timeout(LONG, link.facts_rx.recv()).await.expect("in time").expect("the hub lives")
}

async fn next_window(link: &mut Link) -> Window {
    loop {
        if let Inbound::Window(window) = next(link).await {
            return *window;
        }
    }
}

/// Waits for a window with these words in its rows.
async fn until_shown(link: &mut Link, words: &[&str]) -> Window {
    loop {
        let window = next_window(link).await;
        if window.rows.as_ref().is_some_and(|rows| shown(rows) == words) {
            return window;
        }
    }
}

fn shown(rows: &[Row]) -> Vec<String> {
    let words = |it: &Row| match it {
        Row::Record(it) => it.lines[0].clone(),
        Row::Gap(gap) => match &gap.kind {
            GapKind::Failed(why) => format!("{}: {why}", gap.position.source.name()),
            other => format!("{other:?}"),
        },
        Row::Break => "--".into(),
    };
    rows.iter().map(words).collect()
}

fn tail() -> WindowRequest {
    WindowRequest { count: true, ..WindowRequest::new(ViewId(1), 5, Anchor::Tail, (3, 0)) }
}

async fn ask(link: &Link, request: Request) {
    link.requests_tx.send(request).await.expect("the hub listens");
}

/// Until the hub has taken in that all are there.
async fn all_there(link: &mut Link, count: usize) {
    for _ in 0..count {
        while !matches!(next(link).await, Inbound::Snapshot(_)) {}
    }
}

#[tokio::test]
async fn a_window_is_asked_of_every_host_and_merged_when_all_have_answered() {
    let (mut link, mut far) = hub_of_two().await;
    ask(&link, Request::Window(Box::new(tail()))).await;
    let (first, second) = (far[0].asked_window().await, far[1].asked_window().await);
    assert_eq!((first.before, &first.anchor, first.view), (3, &Anchor::Tail, ViewId(1)));
    far[0].answers(&first, &[1, 3], None).await;
    far[1].answers(&second, &[2, 4], None).await;
    let window = until_shown(&mut link, &["web1 2", "db1 3", "web1 4"]).await;
    assert_eq!((window.generation, window.at_head, window.at_tail), (5, false, true));
    let counts = window.counts;
    assert_eq!((counts.matched, counts.scanned, counts.total_bytes, counts.complete), (4, 20, 200, true));
}

#[tokio::test]
async fn a_slow_host_holds_nobody_up_and_a_lost_one_keeps_its_rows_until_it_is_back() {
    let (mut link, mut far) = hub_of_two().await;
    ask(&link, Request::Window(Box::new(tail()))).await;
    let (first, second) = (far[0].asked_window().await, far[1].asked_window().await);
    far[0].answers(&first, &[1], None).await;
    let slow = "web1: its lines are not here: has not answered yet";
    let window = until_shown(&mut link, &["db1 1", slow]).await;
    assert!(!window.counts.complete, "one is missing");
    far[1].answers(&second, &[2], None).await;
    until_shown(&mut link, &["db1 1", "web1 2"]).await;
    far[1].way(lost()).await;
    let window = until_shown(&mut link, &["db1 1", "web1 2", "web1: its lines are not here: lost: broken pipe"]).await;
    assert_eq!(window.without.as_deref(), Some("web1 (lost)"));
    assert_eq!((window.counts.matched, window.counts.complete), (1, true), "what is there was counted to its end");
    far[1].comes().await;
    let again = far[1].asked_window().await;
    far[1].answers(&again, &[2, 3], None).await;
    let window = until_shown(&mut link, &["db1 1", "web1 2", "web1 3"]).await;
    assert_eq!((window.without, window.counts.matched), (None, 3));
    assert!(far[0].is_asked_nothing(), "the others were not asked again");
}

#[tokio::test]
async fn many_hosts_that_are_not_there_share_one_row() {
    let (mut link, mut far) = hub(&["db1", "web1", "web2", "web3", "web4"]);
    far[0].comes().await;
    all_there(&mut link, 1).await;
    for it in &far[1..] {
        it.way(lost()).await;
        while !matches!(next(&mut link).await, Inbound::Host(_)) {}
    }
    ask(&link, Request::Window(Box::new(tail()))).await;
    let first = far[0].asked_window().await;
    far[0].answers(&first, &[1], None).await;
    let rest = "web1, web2, web3 and 1 more: their lines are not here: lost";
    let window = until_shown(&mut link, &["db1 1", rest]).await;
    assert_eq!(window.without.as_deref(), Some("4 of 5 hosts"));
    assert!(window.counts.complete);
}

#[tokio::test]
async fn a_jump_goes_to_the_nearest_hit_of_all_hosts() {
    let (mut link, mut far) = hub_of_two().await;
    let find = Find::LevelAtLeast(Level::Error);
    let anchor = Anchor::Find { from: Some(position(&far[1].host, 5)), backwards: false, find };
    ask(&link, Request::Window(Box::new(WindowRequest::new(ViewId(2), 9, anchor, (1, 1))))).await;
    let (first, second) = (far[0].asked_window().await, far[1].asked_window().await);
    let Anchor::Find { from: Some(from), .. } = &first.anchor else { panic!("a jump") };
    assert_eq!(from.time.map(Timestamp::as_nanosecond), Some(5_000_000_001), "what db1 has at this time is older");
    far[0].answers(&first, &[2, 9], Some(1)).await;
    far[1].answers(&second, &[5, 7], Some(1)).await;
    let (first, second) = (far[0].asked_window().await, far[1].asked_window().await);
    assert_eq!(second.anchor, Anchor::At(position(&far[1].host, 7)));
    far[0].answers(&first, &[2, 9], Some(1)).await;
    far[1].answers(&second, &[5, 7], Some(1)).await;
    let window = until_shown(&mut link, &["web1 5", "web1 7"]).await;
    assert_eq!((window.generation, window.anchor_row), (9, Some(1)));
}

#[tokio::test]
async fn a_request_goes_to_the_host_that_its_ids_name() {
    let (mut link, mut far) = hub_of_two().await;
    let run = Request::RunProbe(ProbeId::new(&far[1].host, "api"));
    let declare =
        Request::Declare(DeclareRequest { title: "edge 502".into(), severity: Severity::Sev2, impact_start: None });
    ask(&link, run.clone()).await;
    ask(&link, declare.clone()).await;
    ask(&link, Request::TestNotifier("web1:chat".into())).await;
    ask(&link, Request::ReloadConfig).await;
    ask(&link, Request::RunProbe(ProbeId::new(&HostId::new("gone"), "api"))).await;
    assert_eq!(far[1].asked().await, run);
    assert_eq!(far[1].asked().await, Request::TestNotifier("chat".into()));
    assert_eq!(far[1].asked().await, Request::ReloadConfig);
    assert_eq!(far[0].asked().await, declare);
    assert_eq!(far[0].asked().await, Request::ReloadConfig);
    let refused = next(&mut link).await;
    assert_eq!(refused, Inbound::Failed("not done: `gone` is none of the hosts of this screen".into()));
    far[1].says(Inbound::Done("sent".into())).await;
    assert_eq!(next(&mut link).await, Inbound::Done("web1: sent".into()));
}

#[tokio::test]
async fn a_host_that_calls_itself_like_another_is_not_shown_as_that_one() {
    let (mut link, far) = hub(&["a", "b"]);
    let as_db1 = |far: &Far| Far {
        inbound_tx: far.inbound_tx.clone(),
        requests_rx: mpsc::channel(1).1,
        host: HostId::new("db1"),
    };
    as_db1(&far[0]).comes().await;
    let mut named = false;
    loop {
        match next(&mut link).await {
            Inbound::HostNamed { was, host } => {
                assert_eq!((was.as_str(), host.as_str()), ("a", "db1"));
                named = true;
            }
            Inbound::Snapshot(_) => break,
            _ => {}
        }
    }
    assert!(named, "its row goes by its own name from here on");
    as_db1(&far[1]).comes().await;
    loop {
        match next(&mut link).await {
            Inbound::Host(news) => match news.way {
                Way::Refused { why, again, .. } => {
                    assert_eq!((news.host.as_str(), again), ("b", Again::Never));
                    assert!(why.starts_with("`b` calls itself `db1`, as `a` does"), "{why}");
                    break;
                }
                _ => continue,
            },
            Inbound::Snapshot(_) => panic!("its board would replace that of the other"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_screen_that_stops_reading_stops_nobody_and_finds_the_newest_window() {
    let (mut link, mut far) = hub_of_two().await;
    ask(&link, Request::Window(Box::new(WindowRequest { follow: true, ..tail() }))).await;
    let (first, second) = (far[0].asked_window().await, far[1].asked_window().await);
    far[1].answers(&second, &[0], None).await;
    // Nobody reads meanwhile: more than all queues together hold.
    for second in 1..=200 {
        far[0].answers(&first, &[second], None).await;
    }
    until_shown(&mut link, &["web1 0", "db1 200"]).await;
}
