//! The one link of a screen, whatever stands behind it: a runtime in this process, or one of another that may come
//! and go.
//!
//! It attaches to whoever holds the host, or begins to hold it; it notices a loss, says so, keeps trying, and takes
//! over when a person asks. What it needs of the world is a [`World`], so that tests script one.
//!
//! Who takes over by themselves: a screen whose holder was another screen that left in order. Never one whose agent
//! died: what watches over agents brings it back in seconds, and then there would be two that were told of the same
//! outage. A person decides.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::agent::client::Ended;
use crate::agent::heard::Heard;
use crate::clock;
use crate::domain::fact::{Fact, RuntimeFact};
use crate::domain::format;
use crate::domain::host::{Again, DEAF, HostNews, NOBODY, Peer, Role, Way};
use crate::domain::ids::HostId;
use crate::domain::request::{Inbound, Request};
use crate::runtime::{LINK_INBOUND_MAX, LINK_REQUESTS_MAX, Link};

/// The first pause before a lost runtime is looked for again; each one after it is twice as long.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// The longest to another host: each try is a process of ssh.
const RETRY_MAX: Duration = Duration::from_secs(4);
/// How often a host is tried that refused: what was wrong there may have been put right. Each try is a login in its log.
const RETRY_REFUSED: Duration = Duration::from_secs(60);
/// The longest on this host: looking for a socket costs nothing, and whoever took over must be seen soon.
const RETRY_HERE_MAX: Duration = Duration::from_secs(1);
/// What is tried at the start while somebody holds the host and does not answer yet: they may just be starting.
const START_PATIENCE: Duration = Duration::from_millis(1_500);
/// What an agent that asked for room gets to take it, and what others get whose screen went on after they left.
const SUCCESSION_PATIENCE: Duration = Duration::from_secs(5);
/// How often is looked for them meanwhile.
const SUCCESSION_EVERY: Duration = Duration::from_millis(60);
/// How long the screens that stay wait before one of them takes over: the one that left has to finish, and not all of
/// them shall try in one instant.
const SUCCESSION_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
/// The good-bye of a screen's runtime that makes room: its other screens wait for the agent, too.
pub const MAKES_ROOM: &str = "it makes room for an agent";
/// The good-bye of a screen's runtime whose process is about to be stopped.
const SUSPENDED: &str = "its screen is suspended";
/// Refusals in a loss before they are believed.
const REFUSALS_MAX: u32 = 3;
/// How often a screen that only reads looks for somebody to attach to.
const REJOIN_EVERY: Duration = Duration::from_secs(2);
/// How soon a screen that was suspended looks who watches, once it goes on; before it is stopped it has no time for it.
const AWAY: Duration = Duration::from_secs(1);
/// A holder that was told to end and is still there after this is taken for one that does nothing.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// What a holder that is gone gets to be gone altogether. With the time in which silence is noticed it stays below three
/// seconds until a loss is said.
const DYING: Duration = Duration::from_millis(200);
/// What a holder that does not answer gets to do so, before it is ended.
const LAST_CALL: Duration = Duration::from_secs(1);
/// What a link gets to say how it ended, and to bring the last requests out.
const ENDED_WAIT: Duration = Duration::from_millis(300);

/// Drafts put aside during a loss: one for the note and one a document that was open meanwhile.
const DRAFTS_MAX: usize = 8;

/// What a connector needs of the world around it.
pub trait World: Send + 'static {
    /// A runtime in this process.
    type Home: Home;

    /// Attaches to whoever holds the host; ends by itself when nobody answers.
    fn attach(&mut self) -> impl Future<Output = Result<Attachment, NoWay>> + Send;

    /// Begins to hold the host, or says in words who does.
    fn begin(&mut self) -> impl Future<Output = Result<Self::Home, String>> + Send;

    /// Reads the host without holding it: nobody can be attached to.
    fn read(&mut self, holder: &str) -> impl Future<Output = Option<Self::Home>> + Send;

    /// Whether this screen may ever hold the host.
    fn may_begin(&self) -> bool;

    /// Whether the host is another one: the way there may take its time, and nothing can be read beside it.
    fn is_far(&self) -> bool {
        false
    }

    /// A request as whoever runs elsewhere on this host must get it: they have another working directory.
    fn fit(&self, request: Request) -> Request {
        request
    }

    /// Whether nobody holds it now.
    fn is_free(&mut self) -> bool;

    /// A process that holds it and that could be ended from here, in words; `None` where there is none.
    fn stuck(&mut self) -> Option<String> {
        None
    }

    /// Ends that process, or says in words why not.
    fn end_stuck(&mut self) -> impl Future<Output = Result<(), String>> + Send {
        async { Err("it cannot be ended from here".to_string()) }
    }

    /// The runtime says that it read its config again.
    fn configured(&mut self);

    /// Saves a draft without a runtime, because the screen goes while there is none.
    fn keep(&mut self, draft: Request) -> impl Future<Output = ()> + Send;
}

/// A runtime in this process.
pub trait Home: Send + 'static {
    /// Attaches the screen.
    fn attach(&self) -> Link;

    /// Resolves when an agent that starts asks for room.
    fn asked_to_yield(&mut self) -> impl Future<Output = ()> + Send;

    /// Ends it in order and gives the host back.
    ///
    /// `why` is told to other screens that are attached to it, in words.
    fn end(self, why: &str) -> impl Future<Output = ()> + Send;
}

/// A runtime of another process that we are attached to.
pub struct Attachment {
    /// The host by the name its ids have.
    pub host: HostId,
    /// What runs there.
    pub peer: Peer,
    /// This screen may change nothing there.
    pub readonly: bool,
    /// How far the clock there is ahead of ours, in milliseconds.
    pub ahead_ms: i64,
    /// Since when nothing new has come.
    pub heard: Arc<Heard>,
    /// The way there.
    pub link: Link,
    /// How it ended, once the link has.
    pub ended: Pin<Box<dyn Future<Output = Ended> + Send>>,
}

/// Why nobody could be attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoWay {
    /// Nobody listens; in words.
    Absent(String),
    /// Somebody listens and says nothing; in words.
    Silent(String),
    /// They do not want us, or we do not understand each other; why and what to do, in words.
    Refused(String),
    /// As refused, until a person has done something about it: trying again and again would get them locked out.
    Barred(String),
}

/// A running connector.
pub struct Connector {
    task: JoinHandle<()>,
}

impl Connector {
    /// Starts it and returns the screen's link. Needs a tokio runtime around it.
    ///
    /// `host` names the host until it has said its own name.
    pub fn start(host: HostId, world: impl World) -> (Link, Self) {
        let (inbound_tx, facts_rx) = mpsc::channel(LINK_INBOUND_MAX);
        let (requests_tx, requests_rx) = mpsc::channel(LINK_REQUESTS_MAX);
        let desk = Desk { host, inbound_tx, requests_rx, drafts: Vec::new(), away_since: None, seen: None };
        let task = tokio::spawn(run(desk, world));
        (Link { facts_rx, requests_tx }, Self { task })
    }

    /// Waits until what the screen asked last is out and its runtime, if there is one, has ended in order.
    ///
    /// It begins to end by itself when the screen has dropped every sender of requests.
    pub async fn ended(self) {
        // A panic of it was written by the hook.
        let _ = self.task.await;
    }
}

/// The screen's end: what it asks comes in, what it is told goes out.
struct Desk {
    host: HostId,
    inbound_tx: mpsc::Sender<Inbound>,
    requests_rx: mpsc::Receiver<Request>,
    drafts: Vec<Request>,
    /// Since when nobody is reached.
    away_since: Option<Timestamp>,
    /// Whose facts have come so far.
    seen: Option<Seen>,
}

/// How far the facts of a runtime have come.
struct Seen {
    peer: Peer,
    seq: u64,
    /// It was lost since then, and what came meanwhile is not known yet.
    lost: Option<Timestamp>,
}

/// Where the connector stands; each has its function below.
enum State<H> {
    Starting,
    Inside {
        home: H,
        watches: bool,
    },
    Attached(Attachment),
    /// The holder left in order: an agent takes its place, or one of us does.
    Between {
        until_mine: Duration,
        why: String,
    },
    Lost {
        since: Timestamp,
        why: String,
        /// It fell silent, or its connection broke: who holds the host still does nothing.
        is_silent: bool,
    },
    Refused {
        why: String,
        /// Until a person asks for another try.
        is_barred: bool,
    },
    /// The screen is suspended, and holds nothing.
    Away,
    /// The screen is gone.
    Over,
}

async fn run<W: World>(mut desk: Desk, mut world: W) {
    let mut state = State::Starting;
    loop {
        state = match state {
            State::Starting if world.is_far() => reach(&mut desk, &mut world).await,
            State::Starting => start(&mut desk, &mut world).await,
            State::Inside { home, watches } => stay_inside(&mut desk, &mut world, home, watches).await,
            State::Attached(attachment) => stay_attached(&mut desk, &mut world, attachment).await,
            State::Between { until_mine, why } => stay_between(&mut desk, &mut world, until_mine, why).await,
            State::Lost { since, why, is_silent } => stay_lost(&mut desk, &mut world, since, why, is_silent).await,
            State::Away => stay_away(&mut desk).await,
            State::Refused { why, is_barred } => stay_refused(&mut desk, &mut world, why, is_barred).await,
            State::Over => break,
        }
    }
    // What is left was asked while there was nobody.
    desk.requests_rx.close();
    while let Some(request) = desk.requests_rx.recv().await {
        if matches!(request, Request::SaveDraft { .. } | Request::SaveNoteDraft(_)) {
            desk.put_aside(request);
        }
    }
    for draft in std::mem::take(&mut desk.drafts) {
        world.keep(draft).await;
    }
}

/// Attaches to another host for the first time, however long the way there takes.
async fn reach<W: World>(desk: &mut Desk, world: &mut W) -> State<W::Home> {
    desk.say(Way::Connecting).await;
    let attach = world.attach();
    tokio::pin!(attach);
    loop {
        return match desk.refuse_while(&mut attach, "it is still being connected to").await {
            Waited::Done(Ok(attachment)) => State::Attached(attachment),
            Waited::Done(Err(NoWay::Refused(why))) => State::Refused { why, is_barred: false },
            Waited::Done(Err(NoWay::Barred(why))) => State::Refused { why, is_barred: true },
            Waited::Done(Err(NoWay::Silent(why) | NoWay::Absent(why))) => {
                State::Lost { since: clock::now(), why, is_silent: false }
            }
            Waited::Screen => State::Over,
            Waited::Again => continue,
            Waited::TakeOver => {
                desk.fail("could not take over: another host cannot be watched from here").await;
                continue;
            }
        };
    }
}

/// Looks for the holder, else becomes it, else reads.
async fn start<W: World>(desk: &mut Desk, world: &mut W) -> State<W::Home> {
    let deadline = clock::timer() + START_PATIENCE;
    let mut holder = String::new();
    let mut said = false;
    loop {
        if world.may_begin() {
            match world.begin().await {
                Ok(home) => return State::Inside { home, watches: true },
                Err(it) => holder = it,
            }
        }
        let asked = timeout(START_PATIENCE, world.attach()).await;
        let why = match asked.unwrap_or_else(|_| Err(NoWay::Silent("whoever holds this host".into()))) {
            Ok(attachment) => return State::Attached(attachment),
            Err(NoWay::Refused(why)) => return State::Refused { why, is_barred: false },
            Err(NoWay::Barred(why)) => return State::Refused { why, is_barred: true },
            // Whoever holds the host and is stuck may be so for long: the logs and the notes need not wait.
            Err(NoWay::Silent(why)) => {
                holder = if holder.is_empty() { why } else { format!("{holder}{DEAF}") };
                break;
            }
            Err(NoWay::Absent(why)) => why,
        };
        if !world.may_begin() {
            holder = NOBODY.to_string();
            tracing::info!("nobody to attach to: {why}");
            break;
        }
        if clock::timer() >= deadline {
            break;
        }
        if !std::mem::replace(&mut said, true) {
            desk.say(Way::Connecting).await;
        }
        sleep(SUCCESSION_EVERY).await;
    }
    match world.read(&holder).await {
        Some(home) => State::Inside { home, watches: false },
        None => State::Lost { since: clock::now(), why: format!("no answer from {holder}"), is_silent: false },
    }
}

async fn stay_inside<W: World>(desk: &mut Desk, world: &mut W, mut home: W::Home, watches: bool) -> State<W::Home> {
    let mut link = home.attach();
    desk.away_since = None;
    desk.say(Way::Inside).await;
    desk.hand_drafts_on(&link).await;
    loop {
        let left = if watches {
            desk.carry(&mut link, world, None, home.asked_to_yield()).await
        } else {
            desk.carry(&mut link, world, None, sleep(REJOIN_EVERY)).await
        };
        match left {
            Left::Screen => {
                desk.hand_over(&mut link).await;
                drop(link);
                home.end("its screen was closed").await;
                return State::Over;
            }
            Left::TakeOver if watches => desk.fail("this screen watches this host already").await,
            Left::TakeOver => {
                if let Some(state) = take_over(desk, world).await {
                    home.end("this screen goes another way").await;
                    return state;
                }
            }
            Left::LetGo => {
                // Whoever is stopped must not keep others from watching.
                let ((), ()) = tokio::join!(home.end(SUSPENDED), desk.drain(&mut link));
                desk.say(Way::Connecting).await;
                return State::Away;
            }
            // Our own runtime ended by itself: nothing is left to attach to.
            Left::Link => {
                home.end("this screen goes another way").await;
                let why = "the services of this screen have ended".to_string();
                return State::Lost { since: clock::now(), why, is_silent: false };
            }
            Left::Until if watches => {
                desk.say(Way::Connecting).await;
                // What was asked before is answered yet.
                let ((), ()) = tokio::join!(home.end(MAKES_ROOM), desk.drain(&mut link));
                // Whoever asked for room and does not take it leaves it to us after all.
                let why = "an agent asked for room and did not take it".to_string();
                return State::Between { until_mine: SUCCESSION_PATIENCE, why };
            }
            Left::Until => {
                // A reader goes to whoever answers now, or holds the host when nobody does.
                if let Ok(attachment) = world.attach().await {
                    home.end("this screen goes another way").await;
                    return State::Attached(attachment);
                }
                if world.may_begin()
                    && let Ok(ours) = world.begin().await
                {
                    home.end("this screen goes another way").await;
                    return State::Inside { home: ours, watches: true };
                }
            }
        }
    }
}

async fn stay_attached<W: World>(desk: &mut Desk, world: &mut W, attachment: Attachment) -> State<W::Home> {
    let Attachment { host, peer, readonly, ahead_ms, heard, mut link, ended } = attachment;
    if desk.host != host {
        let was = std::mem::replace(&mut desk.host, host.clone());
        desk.tell(Inbound::HostNamed { was, host }).await;
    }
    let lost = desk.away_since.take();
    // Another runtime numbers its facts anew.
    desk.seen = desk.seen.take().filter(|it| it.peer == peer).map(|it| Seen { lost, ..it });
    desk.say(Way::Attached { peer: peer.clone(), readonly, ahead_ms }).await;
    desk.hand_drafts_on(&link).await;
    loop {
        match desk.carry(&mut link, world, Some(&peer), std::future::pending::<()>()).await {
            Left::Screen => {
                desk.hand_over(&mut link).await;
                drop(link);
                // The last drafts are under way to the runtime.
                let _ = timeout(ENDED_WAIT, ended).await;
                return State::Over;
            }
            Left::TakeOver => desk.fail(&format!("could not take over: {} watches this host", words(&peer))).await,
            // It holds nothing.
            Left::LetGo => {}
            Left::Link | Left::Until => break,
        }
    }
    let ended = timeout(ENDED_WAIT, ended).await.unwrap_or_else(|_| Ended::Lost("the connection ended".into()));
    let now = clock::now();
    let since = heard.since(now);
    match (ended, &peer.role) {
        (Ended::Bye(why), Role::Screen(_)) => {
            let (least, most) = SUCCESSION_PAUSE;
            let pause = match why.as_str() {
                MAKES_ROOM => SUCCESSION_PATIENCE,
                _ => least + (most - least).mul_f64(fastrand::f64()),
            };
            desk.say(Way::Connecting).await;
            let why = format!("{} left, and nobody came after", words(&peer));
            State::Between { until_mine: pause, why }
        }
        (Ended::Bye(why), Role::Agent) => {
            State::Lost { since, why: format!("{} ended: {why}", words(&peer)), is_silent: false }
        }
        // A screen that said nothing for long, because it was stopped, is let go: it may come back at once.
        (Ended::Refused(why), _) if heard.was_silent(now) => {
            State::Lost { since, why: format!("{}: {why}", words(&peer)), is_silent: false }
        }
        (Ended::Lost(why), _) => State::Lost { since, why: format!("{}: {why}", words(&peer)), is_silent: true },
        (Ended::Refused(why), _) => State::Refused { why, is_barred: false },
        // This end leaves only with its screen, and that was told above.
        (Ended::Left, _) => State::Lost { since, why: format!("{}: this screen left", words(&peer)), is_silent: false },
    }
}

/// Waits for whoever comes after a holder that left in order; after `until_mine` this screen may be the one.
async fn stay_between<W: World>(desk: &mut Desk, world: &mut W, until_mine: Duration, why: String) -> State<W::Home> {
    let began = clock::timer();
    loop {
        // An error changes nothing here: who is about to leave refuses as well.
        if let Ok(attachment) = world.attach().await {
            let words = words(&attachment.peer);
            desk.tell(Inbound::Done(format!("handed over: {words} watches now"))).await;
            return State::Attached(attachment);
        }
        let waited = clock::timer() - began;
        if world.may_begin()
            && waited >= until_mine
            && let Ok(home) = world.begin().await
        {
            desk.tell(Inbound::Done("nobody else is left who watches: this screen does now".into())).await;
            return State::Inside { home, watches: true };
        }
        if waited >= SUCCESSION_PATIENCE {
            return State::Lost { since: clock::now(), why, is_silent: false };
        }
        if desk.is_closed() {
            return State::Over;
        }
        sleep(SUCCESSION_EVERY).await;
    }
}

/// Waits until the screen goes on.
async fn stay_away<H>(desk: &mut Desk) -> State<H> {
    // Whoever is stopped has no time: it is over as soon as the screen goes on.
    match desk.refuse_while(sleep(AWAY), "this screen is suspended").await {
        Waited::Screen => State::Over,
        Waited::Done(()) | Waited::TakeOver | Waited::Again => State::Starting,
    }
}

async fn stay_lost<W: World>(
    desk: &mut Desk,
    world: &mut W,
    since: Timestamp,
    mut why: String,
    mut is_silent: bool,
) -> State<W::Home> {
    tracing::warn!("lost the runtime: {why}");
    desk.away_since.get_or_insert(since);
    let began = clock::timer();
    // Whoever was killed closes its connections a moment before the kernel gives its lock back.
    while is_silent && !world.is_free() && began.elapsed() < DYING {
        sleep(DYING / 10).await;
    }
    let mut pause = RETRY_FIRST;
    let mut refusals = 0;
    loop {
        // Jittered, so that twenty screens do not come back in one instant.
        let wait = pause.mul_f64(0.75 + fastrand::f64() / 2.0);
        pause = (pause * 2).min(if world.is_far() { RETRY_MAX } else { RETRY_HERE_MAX });
        let is_free = world.is_free();
        is_silent |= began.elapsed() >= END_PATIENCE;
        let ends = if is_free || !is_silent || !world.may_begin() { None } else { world.stuck() };
        let can_take_over = world.may_begin() && (is_free || ends.is_some());
        let retry_at = SignedDuration::try_from(wait).ok().and_then(|it| clock::now().checked_add(it).ok());
        let lost = |retry_at| Way::Lost { since, why: why.clone(), retry_at, can_take_over, ends: ends.clone() };
        desk.say(lost(retry_at)).await;
        match desk.refuse_while(sleep(wait), &why).await {
            Waited::Done(()) | Waited::Again => {}
            Waited::Screen => return State::Over,
            Waited::TakeOver => {
                if let Some(state) = take_over(desk, world).await {
                    return state;
                }
                continue;
            }
        }
        desk.say(lost(None)).await;
        let Some(Tried { way, wants_to_take_over }) = try_once(desk, world, &why).await else { return State::Over };
        match way {
            Ok(attachment) => {
                let gap = format::ago(clock::now(), since);
                let words = words(&attachment.peer);
                desk.tell(Inbound::Done(format!("attached to {words} again; it was lost {gap}"))).await;
                return State::Attached(attachment);
            }
            Err(NoWay::Refused(it)) => {
                refusals += 1;
                // Once may be somebody who is about to leave.
                if refusals >= REFUSALS_MAX {
                    return State::Refused { why: it, is_barred: false };
                }
            }
            Err(NoWay::Barred(why)) => return State::Refused { why, is_barred: true },
            Err(NoWay::Silent(it)) => {
                why = it;
                is_silent = true;
            }
            // Why it was lost says more than that it is not back.
            Err(NoWay::Absent(_)) => {}
        }
        if wants_to_take_over && let Some(state) = take_over(desk, world).await {
            return state;
        }
    }
}

/// How one try went.
struct Tried {
    way: Result<Attachment, NoWay>,
    /// A person asked for it meanwhile.
    wants_to_take_over: bool,
}

/// Tries to attach; what is asked meanwhile comes back. `None` when the screen has left.
async fn try_once<W: World>(desk: &mut Desk, world: &mut W, why: &str) -> Option<Tried> {
    let mut wants_to_take_over = false;
    let attach = world.attach();
    tokio::pin!(attach);
    loop {
        match desk.refuse_while(&mut attach, why).await {
            Waited::Done(way) => return Some(Tried { way, wants_to_take_over }),
            Waited::Screen => return None,
            Waited::TakeOver => wants_to_take_over = true,
            // It is being tried.
            Waited::Again => {}
        }
    }
}

/// Begins to hold the host because a person asks for it, or says why not.
async fn take_over<W: World>(desk: &mut Desk, world: &mut W) -> Option<State<W::Home>> {
    if world.is_far() {
        desk.fail("could not take over: another host cannot be watched from here").await;
        return None;
    }
    if !world.may_begin() {
        desk.fail("could not take over: this screen is read-only").await;
        return None;
    }
    match world.begin().await {
        Ok(home) => {
            desk.tell(Inbound::Done("taken over: this screen watches now".into())).await;
            Some(State::Inside { home, watches: true })
        }
        Err(holder) => end_and_take_over(desk, world, &holder).await,
    }
}

/// Ends whoever holds the host and does nothing, because a person asks for it, and begins to hold it.
async fn end_and_take_over<W: World>(desk: &mut Desk, world: &mut W, holder: &str) -> Option<State<W::Home>> {
    // Whoever answers after all watches, and is left in peace.
    match timeout(LAST_CALL, world.attach()).await {
        Ok(Ok(attachment)) => {
            desk.tell(Inbound::Done(format!("not taken over: {} answers again", words(&attachment.peer)))).await;
            return Some(State::Attached(attachment));
        }
        Ok(Err(NoWay::Refused(why) | NoWay::Barred(why))) => {
            desk.fail(&format!("could not take over: {why}")).await;
            return None;
        }
        Ok(Err(NoWay::Silent(_) | NoWay::Absent(_))) | Err(_) => {}
    }
    let ended = world.end_stuck().await;
    match (world.begin().await, ended) {
        (Ok(home), _) => {
            desk.tell(Inbound::Done("taken over: this screen watches now".into())).await;
            Some(State::Inside { home, watches: true })
        }
        (Err(_), Err(why)) => {
            desk.fail(&format!("could not take over: {holder} holds this host, and {why}")).await;
            None
        }
        (Err(holder), Ok(())) => {
            desk.fail(&format!("could not take over: {holder} was faster")).await;
            None
        }
    }
}

/// Tries again seldom, or only when a person asks for it.
async fn stay_refused<W: World>(
    desk: &mut Desk,
    world: &mut W,
    mut why: String,
    mut is_barred: bool,
) -> State<W::Home> {
    tracing::warn!("refused: {why}");
    let since = *desk.away_since.get_or_insert_with(clock::now);
    let refused = |why: &str, again| Way::Refused { since, why: why.to_string(), again };
    loop {
        let at = SignedDuration::try_from(RETRY_REFUSED).ok().and_then(|it| clock::now().checked_add(it).ok());
        let again = at.filter(|_| !is_barred).map_or(Again::Asked, Again::At);
        desk.say(refused(&why, again)).await;
        let due = async {
            match again {
                Again::At(_) => sleep(RETRY_REFUSED).await,
                Again::Asked | Again::Never | Again::Now => std::future::pending().await,
            }
        };
        tokio::pin!(due);
        loop {
            match desk.refuse_while(&mut due, &why).await {
                Waited::Screen => return State::Over,
                Waited::TakeOver => desk.fail(&format!("could not take over: {why}")).await,
                Waited::Done(()) | Waited::Again => break,
            }
        }
        // Whoever refused may have left: then this screen may hold the host.
        if !world.is_far() {
            return State::Starting;
        }
        desk.say(refused(&why, Again::Now)).await;
        let Some(Tried { way, .. }) = try_once(desk, world, &why).await else { return State::Over };
        match way {
            Ok(attachment) => return State::Attached(attachment),
            Err(NoWay::Refused(it)) => (why, is_barred) = (it, false),
            Err(NoWay::Barred(it)) => (why, is_barred) = (it, true),
            Err(NoWay::Silent(why) | NoWay::Absent(why)) => return State::Lost { since, why, is_silent: false },
        }
    }
}

/// Why carrying between the screen and a link ended.
enum Left {
    /// The screen is gone.
    Screen,
    /// The link has ended.
    Link,
    /// The screen asks to take over.
    TakeOver,
    /// The screen is about to be suspended.
    LetGo,
    /// What was waited for besides has come.
    Until,
}

/// What came first while nobody was there to ask.
enum Waited<T> {
    Done(T),
    Screen,
    TakeOver,
    /// A person asks to try at once.
    Again,
}

impl Desk {
    /// Carries both ways until something ends it. Never keeps more than one message in hand.
    ///
    /// `peer` is the runtime at the other end, when it is another process.
    async fn carry<W: World>(
        &mut self,
        link: &mut Link,
        world: &mut W,
        peer: Option<&Peer>,
        until: impl Future<Output = ()>,
    ) -> Left {
        tokio::pin!(until);
        let mut in_hand: Option<Inbound> = None;
        // Said behind it.
        let mut after: Option<Inbound> = None;
        let inbound_tx = self.inbound_tx.clone();
        loop {
            tokio::select! {
                biased;
                request = self.requests_rx.recv() => match request {
                    None => return Left::Screen,
                    Some(Request::TakeOver) => {
                        if let Some(inbound) = in_hand.take() {
                            self.tell(inbound).await;
                        }
                        return Left::TakeOver;
                    }
                    Some(Request::LetGo) => {
                        if let Some(inbound) = in_hand.take() {
                            self.tell(inbound).await;
                        }
                        return Left::LetGo;
                    }
                    // It is reached.
                    Some(Request::Reattach) => {}
                    Some(request) => self.forward(link, world.fit(request)).await,
                },
                permit = inbound_tx.reserve(), if in_hand.is_some() => {
                    // A screen that reads no more gets no more; what it has asked is still carried out.
                    if let (Ok(permit), Some(inbound)) = (permit, in_hand.take()) {
                        permit.send(inbound);
                    }
                    in_hand = after.take();
                }
                inbound = link.facts_rx.recv(), if in_hand.is_none() => match inbound {
                    None => return Left::Link,
                    Some(inbound) => {
                        if says_config(&inbound) {
                            world.configured();
                        }
                        after = peer.and_then(|it| self.take_note(it, &inbound));
                        in_hand = Some(inbound);
                    }
                },
                () = &mut until => {
                    if let Some(inbound) = in_hand.take() {
                        self.tell(inbound).await;
                    }
                    return Left::Until;
                }
            }
        }
    }

    /// Takes note of how far the facts of a runtime have come; after a loss gives back how many of them were missed.
    fn take_note(&mut self, peer: &Peer, inbound: &Inbound) -> Option<Inbound> {
        match inbound {
            Inbound::Snapshot(board) => {
                let before = self.seen.replace(Seen { peer: peer.clone(), seq: board.seq, lost: None })?;
                let (since, missed) = (before.lost?, board.seq.saturating_sub(before.seq));
                let (peer, gap) = (words(peer), format::ago(clock::now(), since));
                (missed > 0).then(|| {
                    Inbound::Done(format!(
                        "attached to {peer} again; it was lost {gap}; {missed} facts were missed, the newest is shown"
                    ))
                })
            }
            Inbound::Fact(envelope) => {
                if let Some(seen) = &mut self.seen {
                    seen.seq = envelope.seq;
                }
                None
            }
            _ => None,
        }
    }

    /// Hands one request on. Never waits for the runtime.
    async fn forward(&mut self, link: &Link, request: Request) {
        match link.requests_tx.try_send(request) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(request)) => {
                self.refuse(request, "too busy for that; ask again").await;
            }
            // How it ended is said in a moment.
            Err(mpsc::error::TrySendError::Closed(request)) => {
                self.refuse(request, "the connection has just ended").await;
            }
        }
    }

    /// Hands on what the screen asked last, before it goes.
    async fn hand_over(&mut self, link: &mut Link) {
        self.requests_rx.close();
        while let Some(request) = self.requests_rx.recv().await {
            // What does not fit any more waits for a runtime that hangs, and waiting would keep the terminal.
            if link.requests_tx.try_send(request).is_err() {
                tracing::error!("the runtime took no more requests: a draft may be lost");
            }
        }
    }

    /// Tells the screen what a link that ends still has to say.
    async fn drain(&mut self, link: &mut Link) {
        while let Some(inbound) = link.facts_rx.recv().await {
            self.tell(inbound).await;
        }
    }

    /// Waits for something while there is nobody to ask; what is asked meanwhile comes back.
    async fn refuse_while<T>(&mut self, until: impl Future<Output = T>, why: &str) -> Waited<T> {
        tokio::pin!(until);
        loop {
            tokio::select! {
                biased;
                request = self.requests_rx.recv() => match request {
                    None => return Waited::Screen,
                    Some(Request::TakeOver) => return Waited::TakeOver,
                    Some(Request::Reattach) => return Waited::Again,
                    Some(request) => self.refuse(request, why).await,
                },
                done = &mut until => return Waited::Done(done),
            }
        }
    }

    /// Says that a request was not carried out; one with a person's words comes back whole.
    async fn refuse(&mut self, request: Request, why: &str) {
        let inbound = match &request {
            // Where somebody looks is said again when somebody listens.
            Request::Attend(_) | Request::LoadNoteDraft | Request::LetGo => return,
            Request::SaveNoteDraft(_) | Request::SaveDraft { .. } => return self.put_aside(request),
            it if it.is_decision() => {
                let error =
                    if it.is_written() { "not done, kept here to be sent again" } else { "not done, ask again" };
                Inbound::Refused { error: format!("{error}: {why}"), request: Box::new(request) }
            }
            Request::Window(_) | Request::History(_) | Request::Explain(_) => {
                Inbound::Failed(format!("could not be read: {why}"))
            }
            _ => Inbound::Failed(format!("not done: {why}")),
        };
        self.tell(inbound).await;
    }

    /// Keeps a draft until somebody can save it; the newest of each document.
    fn put_aside(&mut self, request: Request) {
        let same = |it: &Request| match (it, &request) {
            (Request::SaveDraft { incident, .. }, Request::SaveDraft { incident: newer, .. }) => incident == newer,
            (it, newer) => std::mem::discriminant(it) == std::mem::discriminant(newer),
        };
        self.drafts.retain(|it| !same(it));
        self.drafts.push(request);
        let too_many = self.drafts.len().saturating_sub(DRAFTS_MAX);
        self.drafts.drain(..too_many);
    }

    /// Hands on the drafts that were put aside.
    async fn hand_drafts_on(&mut self, link: &Link) {
        for request in std::mem::take(&mut self.drafts) {
            self.forward(link, request).await;
        }
    }

    async fn say(&mut self, way: Way) {
        let news = HostNews { host: self.host.clone(), way };
        self.tell(Inbound::Host(Box::new(news))).await;
    }

    async fn fail(&mut self, text: &str) {
        self.tell(Inbound::Failed(text.to_string())).await;
    }

    async fn tell(&mut self, inbound: Inbound) {
        // A screen that is gone needs no answer.
        let _ = self.inbound_tx.send(inbound).await;
    }

    fn is_closed(&self) -> bool {
        self.requests_rx.is_closed() && self.requests_rx.is_empty()
    }
}

fn says_config(inbound: &Inbound) -> bool {
    let Inbound::Fact(envelope) = inbound else { return false };
    matches!(envelope.fact, Fact::Runtime(RuntimeFact::ConfigLoaded { .. }))
}

/// A peer in words: `agent pid 4242`, `alice's screen (pid 4711)`.
pub fn words(peer: &Peer) -> String {
    match &peer.role {
        Role::Agent => format!("agent pid {}", peer.pid),
        Role::Screen(user) => format!("{user}'s screen (pid {})", peer.pid),
    }
}

#[cfg(test)]
mod tests;
