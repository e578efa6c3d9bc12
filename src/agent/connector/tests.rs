//! The connector in a scripted world: who comes, dies, falls silent and asks for room.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tokio::sync::{Notify, oneshot};

use super::*;
use crate::domain::board::Board;
use crate::domain::fact::{Actor, Envelope};
use crate::domain::incident::NoteRequest;
use crate::domain::presence::Spot;

/// The other end of a link.
struct Far {
    facts_tx: mpsc::Sender<Inbound>,
    requests_rx: mpsc::Receiver<Request>,
    ended_tx: Option<oneshot::Sender<Ended>>,
}

impl Far {
    fn end(mut self, how: Ended) {
        let _ = self.ended_tx.take().expect("an attachment").send(how);
    }
}

fn pair() -> (Link, mpsc::Sender<Inbound>, mpsc::Receiver<Request>) {
    let (facts_tx, facts_rx) = mpsc::channel(LINK_INBOUND_MAX);
    let (requests_tx, requests_rx) = mpsc::channel(LINK_REQUESTS_MAX);
    (Link { facts_rx, requests_tx }, facts_tx, requests_rx)
}

fn host() -> HostId {
    HostId::new("h")
}

fn peer(role: Role) -> Peer {
    Peer { role, version: "0.1.0".into(), pid: 4242, since: Timestamp::UNIX_EPOCH }
}

/// What the world is like; the test changes it while the connector runs.
struct Stage {
    /// Who answers when it is knocked at the socket, once each.
    listeners: VecDeque<Attachment>,
    /// When there is no listener: what knocking ends with.
    otherwise: NoWay,
    /// Somebody holds the lock.
    held: bool,
    /// They could be ended.
    stuck: bool,
    readonly: bool,
    is_far: bool,
    /// The ends of the homes that were begun or read.
    homes: VecDeque<(mpsc::Sender<Inbound>, mpsc::Receiver<Request>)>,
    begun: u32,
    configured: u32,
    kept: Vec<Request>,
}

#[derive(Clone)]
struct Scripted {
    stage: Arc<Mutex<Stage>>,
    asks_for_room: Arc<Notify>,
    /// Where it is set, the way to whoever holds the host takes until it is told.
    arrives: Option<Arc<Notify>>,
}

struct ScriptedHome {
    world: Scripted,
    link: Mutex<Option<Link>>,
    holds: bool,
}

impl Scripted {
    fn new() -> Self {
        let stage = Stage {
            listeners: VecDeque::new(),
            otherwise: NoWay::Absent("nobody listens".into()),
            held: false,
            stuck: false,
            readonly: false,
            is_far: false,
            homes: VecDeque::new(),
            begun: 0,
            configured: 0,
            kept: Vec::new(),
        };
        Self { stage: Arc::new(Mutex::new(stage)), asks_for_room: Arc::default(), arrives: None }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Stage) -> T) -> T {
        change(&mut self.stage.lock().expect("stage"))
    }

    /// Somebody holds the host and answers the next knock.
    fn listen(&self, role: Role) -> Far {
        self.listen_heard_at(role, clock::now())
    }

    /// As `listen`; they say nothing after this time.
    fn listen_heard_at(&self, role: Role, heard_at: Timestamp) -> Far {
        let (link, facts_tx, requests_rx) = pair();
        let (ended_tx, ended_rx) = oneshot::channel();
        let ended = Box::pin(async { ended_rx.await.unwrap_or(Ended::Lost("gone".into())) });
        let heard = Arc::new(Heard::at(heard_at));
        let attachment =
            Attachment { host: host(), peer: peer(role), readonly: false, ahead_ms: 0, heard, link, ended };
        self.with(|it| {
            it.held = true;
            it.listeners.push_back(attachment);
        });
        Far { facts_tx, requests_rx, ended_tx: Some(ended_tx) }
    }

    fn home(&self, holds: bool) -> ScriptedHome {
        let (link, facts_tx, requests_rx) = pair();
        self.with(|it| it.homes.push_back((facts_tx, requests_rx)));
        ScriptedHome { world: self.clone(), link: Mutex::new(Some(link)), holds }
    }

    fn last_home(&self) -> (mpsc::Sender<Inbound>, mpsc::Receiver<Request>) {
        self.with(|it| it.homes.pop_back()).expect("a home")
    }
}

impl World for Scripted {
    type Home = ScriptedHome;

    async fn attach(&mut self) -> Result<Attachment, NoWay> {
        if let Some(arrives) = &self.arrives {
            arrives.notified().await;
        }
        self.with(|it| it.listeners.pop_front().ok_or_else(|| it.otherwise.clone()))
    }

    async fn begin(&mut self) -> Result<ScriptedHome, String> {
        self.with(|it| {
            if std::mem::replace(&mut it.held, true) {
                return Err("pid 4242".to_string());
            }
            it.begun += 1;
            Ok(())
        })?;
        Ok(self.home(true))
    }

    async fn read(&mut self, _holder: &str) -> Option<ScriptedHome> {
        Some(self.home(false))
    }

    fn may_begin(&self) -> bool {
        self.with(|it| !it.readonly && !it.is_far)
    }

    fn is_far(&self) -> bool {
        self.with(|it| it.is_far)
    }

    fn is_free(&mut self) -> bool {
        self.with(|it| !it.held)
    }

    fn stuck(&mut self) -> Option<String> {
        self.with(|it| it.stuck.then(|| "pid 4242, which is stopped".to_string()))
    }

    async fn end_stuck(&mut self) -> Result<(), String> {
        self.with(|it| {
            it.held &= !it.stuck;
            if it.stuck { Ok(()) } else { Err("it cannot be ended".to_string()) }
        })
    }

    fn configured(&mut self) {
        self.with(|it| it.configured += 1);
    }

    async fn keep(&mut self, draft: Request) {
        self.with(|it| it.kept.push(draft));
    }
}

impl Home for ScriptedHome {
    fn attach(&self) -> Link {
        self.link.lock().expect("link").take().expect("attached once")
    }

    async fn asked_to_yield(&mut self) {
        self.world.asks_for_room.notified().await;
    }

    async fn end(self, _why: &str) {
        if self.holds {
            self.world.with(|it| it.held = false);
        }
        self.world.with(|it| it.homes.clear());
    }
}

struct Screen {
    link: Link,
    connector: Connector,
}

impl Screen {
    fn open(world: &Scripted) -> Self {
        let (link, connector) = Connector::start(host(), world.clone());
        Self { link, connector }
    }

    async fn next(&mut self) -> Inbound {
        let waited = timeout(Duration::from_secs(120), self.link.facts_rx.recv()).await;
        waited.expect("an answer in time").expect("the connector runs")
    }

    /// The next news of the way; everything else on the way there is given out.
    async fn way(&mut self) -> (Way, Vec<Inbound>) {
        let mut before = Vec::new();
        loop {
            match self.next().await {
                Inbound::Host(news) => return (news.way, before),
                other => before.push(other),
            }
        }
    }

    async fn way_until(&mut self, is_it: impl Fn(&Way) -> bool) -> Way {
        for _ in 0..200 {
            let (way, _) = self.way().await;
            if is_it(&way) {
                return way;
            }
        }
        panic!("it never came");
    }

    fn ask(&self, request: Request) {
        self.link.requests_tx.try_send(request).expect("room");
    }

    async fn close(self) {
        let Self { link, connector } = self;
        drop(link);
        connector.ended().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_fell_silent_can_be_ended_and_who_left_in_order_cannot() {
    for (how, offered) in
        [(Ended::Lost("nothing was heard for 2.5 s".into()), true), (Ended::Bye("done".into()), false)]
    {
        let world = Scripted::new();
        let agent = world.listen(Role::Agent);
        world.with(|it| it.stuck = true);
        let mut screen = Screen::open(&world);
        screen.way().await;
        agent.end(how);
        let (way, _) = screen.way().await;
        let Way::Lost { can_take_over, ends, .. } = way else { panic!("{way:?}") };
        assert_eq!((can_take_over, ends.is_some()), (offered, offered));
        if offered {
            screen.ask(Request::TakeOver);
            assert_eq!(screen.way_until(|it| *it == Way::Inside).await, Way::Inside);
        }
        screen.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_answers_after_all_is_not_ended() {
    let world = Scripted::new();
    let agent = world.listen(Role::Agent);
    world.with(|it| it.stuck = true);
    let mut screen = Screen::open(&world);
    screen.way().await;
    agent.end(Ended::Lost("nothing was heard for 2.5 s".into()));
    screen.way_until(is_lost).await;
    let _agent = world.listen(Role::Agent);
    screen.ask(Request::TakeOver);
    screen.way_until(|it| matches!(it, Way::Attached { .. })).await;
    assert_eq!(world.with(|it| (it.begun, it.held)), (0, true));
    screen.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_screen_that_is_suspended_gives_the_host_back_and_looks_again_when_it_goes_on() {
    let world = Scripted::new();
    let mut screen = Screen::open(&world);
    assert_eq!(screen.way().await.0, Way::Inside);
    screen.ask(Request::LetGo);
    assert_eq!(screen.way().await.0, Way::Connecting);
    assert!(world.with(|it| !it.held), "others can watch");
    // It is stopped here; meanwhile somebody else watches.
    let _agent = world.listen(Role::Agent);
    screen.way_until(|it| matches!(it, Way::Attached { .. })).await;
    screen.ask(Request::LetGo);
    screen.ask(Request::TakeOver);
    let said = screen.next().await;
    assert!(matches!(&said, Inbound::Failed(text) if text.contains("watches this host")), "{said:?}");
    screen.close().await;
}

fn note(text: &str) -> Request {
    Request::Note(NoteRequest { incident: None, at: None, text: text.into() })
}

fn is_lost(way: &Way) -> bool {
    matches!(way, Way::Lost { .. })
}

#[tokio::test(start_paused = true)]
async fn without_anybody_the_runtime_is_in_this_process() {
    let world = Scripted::new();
    let mut screen = Screen::open(&world);
    assert_eq!(screen.way().await.0, Way::Inside);
    let (facts_tx, mut requests_rx) = world.last_home();
    facts_tx.send(Inbound::Snapshot(Box::default())).await.expect("carried");
    assert_eq!(screen.next().await, Inbound::Snapshot(Box::default()));
    screen.ask(Request::ReloadConfig);
    assert_eq!(requests_rx.recv().await, Some(Request::ReloadConfig));
    screen.ask(Request::TakeOver);
    assert!(matches!(screen.next().await, Inbound::Failed(text) if text.contains("watches this host already")));
    screen.close().await;
    assert!(world.with(|it| !it.held), "the host was given back");
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_attached_to_and_its_loss_is_said_at_once() {
    let world = Scripted::new();
    let agent = world.listen(Role::Agent);
    let mut screen = Screen::open(&world);
    let (way, _) = screen.way().await;
    assert_eq!(way, Way::Attached { peer: peer(Role::Agent), readonly: false, ahead_ms: 0 });
    let began = clock::timer();
    world.with(|it| it.held = false);
    agent.end(Ended::Lost("the connection ended".into()));
    let (way, _) = screen.way().await;
    let Way::Lost { why, retry_at: Some(_), can_take_over: true, .. } = way else { panic!("{way:?}") };
    assert_eq!(why, "agent pid 4242: the connection ended");
    assert!(clock::timer() - began < Duration::from_millis(50));
    assert_eq!(world.with(|it| it.begun), 0, "an agent's place is taken only when a person asks");
    // It is back by itself.
    let agent = world.listen(Role::Agent);
    screen.way_until(|it| matches!(it, Way::Attached { .. })).await;
    drop(agent);
    screen.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_screen_that_was_stopped_says_since_when_it_heard_nothing_and_what_it_missed() {
    let board = |seq| Inbound::Snapshot(Box::new(Board { seq, ..Board::default() }));
    let let_go = || Ended::Refused("nothing was heard for 10 s".into());
    for ended in [Ended::Lost("the connection was closed".into()), let_go()] {
        let world = Scripted::new();
        let heard_at = clock::now() - SignedDuration::from_hours(3);
        let agent = world.listen_heard_at(Role::Agent, heard_at);
        let mut screen = Screen::open(&world);
        screen.way().await;
        agent.facts_tx.send(board(12)).await.expect("carried");
        assert_eq!(screen.next().await, board(12), "a first board says of no loss");
        agent.end(ended);
        let Way::Lost { since, .. } = screen.way().await.0 else { panic!("it may come back") };
        assert_eq!(since, heard_at);
        let agent = world.listen(Role::Agent);
        screen.way_until(|it| matches!(it, Way::Attached { .. })).await;
        agent.facts_tx.send(board(40)).await.expect("carried");
        assert_eq!(screen.next().await, board(40));
        let told = "attached to agent pid 4242 again; it was lost 3h ago; 28 facts were missed, the newest is shown";
        assert_eq!(screen.next().await, Inbound::Done(told.into()));
        agent.facts_tx.send(board(50)).await.expect("carried");
        assert_eq!(screen.next().await, board(50), "and that is said once");
        drop(agent);
        screen.close().await;
    }
    let world = Scripted::new();
    let agent = world.listen(Role::Agent);
    let mut screen = Screen::open(&world);
    screen.way().await;
    agent.end(let_go());
    let (way, _) = screen.way().await;
    assert!(matches!(way, Way::Refused { .. }), "who was heard until then means it: {way:?}");
    screen.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_person_takes_over_from_a_dead_agent_and_not_from_a_silent_one() {
    let world = Scripted::new();
    let agent = world.listen(Role::Agent);
    let mut screen = Screen::open(&world);
    screen.way().await;
    agent.end(Ended::Lost("silent for 2.5 s".into()));
    let way = screen.way_until(is_lost).await;
    assert!(matches!(way, Way::Lost { can_take_over: false, .. }), "the lock is held");
    screen.ask(Request::TakeOver);
    let failed = loop {
        if let Inbound::Failed(text) = screen.next().await {
            break text;
        }
    };
    assert!(failed.contains("pid 4242 holds this host, and it cannot be ended"), "{failed}");
    world.with(|it| it.held = false);
    screen.way_until(|it| matches!(it, Way::Lost { can_take_over: true, .. })).await;
    screen.ask(Request::TakeOver);
    screen.way_until(|it| *it == Way::Inside).await;
    assert_eq!(world.with(|it| it.begun), 1);
    screen.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_person_writes_in_a_loss_comes_back_and_drafts_are_kept() {
    let world = Scripted::new();
    let agent = world.listen(Role::Agent);
    let mut screen = Screen::open(&world);
    screen.way().await;
    agent.end(Ended::Lost("gone".into()));
    screen.way().await;
    let draft = |text: &str| Request::SaveNoteDraft(text.into());
    for request in [note("first"), Request::Attend(Spot::Logs), draft("ha"), draft("half")] {
        screen.ask(request);
    }
    let back = loop {
        match screen.next().await {
            Inbound::Host(_) => {}
            other => break other,
        }
    };
    let Inbound::Refused { request, error } = back else { panic!("{back:?}") };
    assert_eq!(*request, note("first"));
    assert_eq!(error, "not done, kept here to be sent again: agent pid 4242: gone");
    // Whoever comes next gets the draft.
    let mut agent = world.listen(Role::Agent);
    screen.way_until(|it| matches!(it, Way::Attached { .. })).await;
    assert_eq!(agent.requests_rx.recv().await, Some(draft("half")));
    agent.end(Ended::Lost("gone".into()));
    screen.way_until(is_lost).await;
    screen.ask(draft("half of it"));
    screen.close().await;
    assert_eq!(world.with(|it| it.kept.clone()), [draft("half of it")], "nobody else could save it");
}

#[tokio::test(start_paused = true)]
async fn when_a_screen_that_held_the_host_leaves_another_goes_on_by_itself() {
    let world = Scripted::new();
    let first = world.listen(Role::Screen("bob".into()));
    let mut screen = Screen::open(&world);
    screen.way().await;
    world.with(|it| it.held = false);
    first.end(Ended::Bye("bob has left".into()));
    assert_eq!(screen.way().await.0, Way::Connecting);
    assert_eq!(screen.way().await.0, Way::Inside);
    assert_eq!(world.with(|it| it.begun), 1);
    screen.close().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_asks_for_room_gets_it_and_is_attached_to() {
    let world = Scripted::new();
    let mut screen = Screen::open(&world);
    screen.way().await;
    world.asks_for_room.notify_one();
    assert_eq!(screen.way().await.0, Way::Connecting);
    assert!(world.with(|it| !it.held), "the host was given back");
    let _agent = world.listen(Role::Agent);
    let (way, _) = screen.way().await;
    assert!(matches!(way, Way::Attached { .. }), "{way:?}");
    assert_eq!(world.with(|it| it.begun), 1, "it did not come in between");
    screen.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_read_only_screen_never_holds_the_host() {
    let world = Scripted::new();
    world.with(|it| it.readonly = true);
    let mut screen = Screen::open(&world);
    assert_eq!(screen.way().await.0, Way::Inside);
    screen.ask(Request::TakeOver);
    assert!(matches!(screen.next().await, Inbound::Failed(text) if text.contains("read-only")));
    let agent = world.listen(Role::Agent);
    screen.way_until(|it| matches!(it, Way::Attached { .. })).await;
    world.with(|it| it.held = false);
    agent.end(Ended::Bye("stopped".into()));
    let way = screen.way_until(is_lost).await;
    assert!(matches!(way, Way::Lost { can_take_over: false, .. }));
    assert_eq!(world.with(|it| it.begun), 0);
    screen.close().await;
}

fn far() -> Scripted {
    let world = Scripted { arrives: Some(Arc::default()), ..Scripted::new() };
    world.with(|it| it.is_far = true);
    world
}

#[tokio::test(start_paused = true)]
async fn a_host_far_away_is_waited_for_however_long_the_way_takes_and_nothing_asked_meanwhile_is_lost() {
    let world = far();
    let mut screen = Screen::open(&world);
    assert_eq!(screen.way().await.0, Way::Connecting);
    screen.ask(note("first"));
    let Inbound::Refused { request, error } = screen.next().await else { panic!("a note comes back") };
    assert_eq!(*request, note("first"));
    assert!(error.ends_with("it is still being connected to"), "{error}");
    screen.ask(Request::TakeOver);
    let Inbound::Failed(error) = screen.next().await else { panic!("it cannot be taken over") };
    assert_eq!(error, "could not take over: another host cannot be watched from here");
    screen.ask(Request::SaveNoteDraft("half".into()));
    sleep(Duration::from_secs(3600)).await;
    let mut agent = world.listen(Role::Agent);
    world.arrives.as_ref().expect("a way").notify_one();
    assert!(matches!(screen.way().await, (Way::Attached { .. }, told) if told.is_empty()));
    assert_eq!(agent.requests_rx.recv().await, Some(Request::SaveNoteDraft("half".into())));
    assert_eq!(world.with(|it| it.begun), 0);
    screen.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_bars_the_person_is_left_alone_until_they_ask() {
    let world = far();
    let arrives = Arc::clone(world.arrives.as_ref().expect("a way"));
    world.with(|it| it.otherwise = NoWay::Barred("load your key".into()));
    let mut screen = Screen::open(&world);
    assert_eq!(screen.way().await.0, Way::Connecting);
    arrives.notify_one();
    let way = screen.way().await.0;
    assert!(matches!(&way, Way::Refused { why, again: Again::Asked, .. } if why == "load your key"), "{way:?}");
    let _agent = world.listen(Role::Agent);
    arrives.notify_one();
    sleep(Duration::from_secs(3600)).await;
    screen.ask(note("one"));
    assert!(matches!(screen.next().await, Inbound::Refused { error, .. } if error.ends_with("load your key")));
    assert_eq!(world.with(|it| it.listeners.len()), 1, "nobody knocked again");
    screen.ask(Request::Reattach);
    assert!(matches!(screen.way().await.0, Way::Refused { again: Again::Now, .. }));
    assert!(matches!(screen.way().await.0, Way::Attached { .. }));
    screen.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_refuses_is_tried_again_seldom_or_at_once_when_a_person_asks() {
    for asks in [false, true] {
        let world = far();
        let arrives = Arc::clone(world.arrives.as_ref().expect("a way"));
        world.with(|it| it.otherwise = NoWay::Refused("update it".into()));
        let mut screen = Screen::open(&world);
        assert_eq!(screen.way().await.0, Way::Connecting);
        arrives.notify_one();
        let began = clock::timer();
        let way = screen.way().await.0;
        assert!(matches!(way, Way::Refused { again: Again::At(_), .. }), "{way:?}");
        let _agent = world.listen(Role::Agent);
        arrives.notify_one();
        if asks {
            screen.ask(Request::Reattach);
        }
        screen.way_until(|it| matches!(it, Way::Attached { .. })).await;
        assert_eq!(clock::timer() - began >= RETRY_REFUSED, !asks);
        screen.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_far_away_that_is_silent_is_tried_again() {
    let world = far();
    let arrives = Arc::clone(world.arrives.as_ref().expect("a way"));
    world.with(|it| it.otherwise = NoWay::Silent("no route to host".into()));
    let mut screen = Screen::open(&world);
    assert_eq!(screen.way().await.0, Way::Connecting);
    arrives.notify_one();
    let (way, _) = screen.way().await;
    let Way::Lost { why, retry_at: Some(_), can_take_over: false, .. } = way else { panic!("{way:?}") };
    assert_eq!(why, "no route to host");
    let _agent = world.listen(Role::Agent);
    arrives.notify_one();
    screen.way_until(|it| matches!(it, Way::Attached { .. })).await;
    screen.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_screen_that_leaves_while_the_way_is_still_long_is_held_up_by_nobody() {
    let world = far();
    let mut screen = Screen::open(&world);
    assert_eq!(screen.way().await.0, Way::Connecting);
    screen.ask(Request::SaveNoteDraft("half".into()));
    screen.close().await;
    assert_eq!(world.with(|it| it.kept.clone()), [Request::SaveNoteDraft("half".into())]);
}

#[tokio::test(start_paused = true)]
async fn a_config_that_the_runtime_read_again_is_read_by_the_screen_as_well() {
    let world = Scripted::new();
    let agent = world.listen(Role::Agent);
    let mut screen = Screen::open(&world);
    screen.way().await;
    let fact = Fact::Runtime(RuntimeFact::ConfigLoaded { path: None, errors: Vec::new(), digest: None });
    let envelope = Envelope { host: host(), seq: 1, at: Timestamp::UNIX_EPOCH, actor: Actor::Runtime, fact };
    agent.facts_tx.send(Inbound::Fact(Box::new(envelope))).await.expect("carried");
    assert!(matches!(screen.next().await, Inbound::Fact(_)));
    assert_eq!(world.with(|it| it.configured), 1);
    screen.close().await;
}

/// What may happen to a screen.
#[derive(Debug, Clone, Copy)]
enum Turn {
    AgentComes,
    AgentDies,
    AgentLeaves,
    ScreenHolderComes,
    ScreenHolderLeaves,
    HolderFallsSilent,
    HolderGivesUp,
    AsksForRoom,
    TakesOver,
    Writes,
    TimePasses,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        Just(Turn::AgentComes),
        Just(Turn::AgentDies),
        Just(Turn::AgentLeaves),
        Just(Turn::ScreenHolderComes),
        Just(Turn::ScreenHolderLeaves),
        Just(Turn::HolderFallsSilent),
        Just(Turn::HolderGivesUp),
        Just(Turn::AsksForRoom),
        Just(Turn::TakesOver),
        Just(Turn::Writes),
        Just(Turn::TimePasses),
    ];
    proptest::collection::vec(turn, 1..24)
}

/// Plays a script and gives out which notes reached somebody and which came back.
async fn play(script: &[Turn]) -> (u32, Vec<String>, Vec<String>) {
    let world = Scripted::new();
    let (link, connector) = Connector::start(host(), world.clone());
    let Link { mut facts_rx, requests_tx } = link;
    let told = tokio::spawn(async move {
        let mut back = Vec::new();
        while let Some(inbound) = facts_rx.recv().await {
            if let Inbound::Refused { request, .. } = inbound
                && let Request::Note(note) = *request
            {
                back.push(note.text);
            }
        }
        back
    });
    let mut far: Vec<Far> = Vec::new();
    let mut taken = Vec::new();
    let mut written = 0;
    let settle = || sleep(Duration::from_secs(30));
    settle().await;
    for turn in script {
        match turn {
            Turn::AgentComes | Turn::ScreenHolderComes if world.with(|it| it.held) => {}
            Turn::AgentComes => far.push(world.listen(Role::Agent)),
            Turn::ScreenHolderComes => far.push(world.listen(Role::Screen("bob".into()))),
            Turn::AgentDies | Turn::AgentLeaves | Turn::ScreenHolderLeaves | Turn::HolderFallsSilent => {
                let Some(mut it) = far.pop() else { continue };
                while let Ok(request) = it.requests_rx.try_recv() {
                    if let Request::Note(note) = request {
                        taken.push(note.text);
                    }
                }
                // One that is stuck keeps the lock.
                world.with(|stage| {
                    stage.held = matches!(turn, Turn::HolderFallsSilent);
                    stage.listeners.clear();
                });
                it.end(match turn {
                    Turn::AgentDies => Ended::Lost("gone".into()),
                    Turn::HolderFallsSilent => Ended::Lost("silent".into()),
                    _ => Ended::Bye("left".into()),
                });
            }
            Turn::HolderGivesUp => {
                if far.is_empty() && world.with(|it| it.homes.is_empty()) {
                    world.with(|it| it.held = false);
                }
            }
            Turn::AsksForRoom => world.asks_for_room.notify_waiters(),
            Turn::TakesOver => requests_tx.try_send(Request::TakeOver).expect("room"),
            Turn::Writes => {
                written += 1;
                requests_tx.try_send(note(&format!("note {written}"))).expect("room");
            }
            Turn::TimePasses => {}
        }
        settle().await;
        let homes = world.with(|it| it.homes.len());
        assert!(homes <= 1, "{homes} runtimes in one process after {turn:?}");
        world.with(|it| {
            for (_, requests_rx) in &mut it.homes {
                while let Ok(request) = requests_rx.try_recv() {
                    if let Request::Note(note) = request {
                        taken.push(note.text);
                    }
                }
            }
        });
    }
    for it in &mut far {
        while let Ok(request) = it.requests_rx.try_recv() {
            if let Request::Note(note) = request {
                taken.push(note.text);
            }
        }
    }
    drop(requests_tx);
    drop(far);
    timeout(Duration::from_secs(60), connector.ended()).await.expect("it ends when the screen has gone");
    (written, taken, told.await.expect("the screen"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_note_is_lost_whoever_comes_and_goes(script in turns()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (written, taken, back) = runtime.block_on(play(&script));
        for number in 1..=written {
            let text = format!("note {number}");
            prop_assert!(taken.contains(&text) || back.contains(&text), "`{}` is gone", text);
        }
    }
}
