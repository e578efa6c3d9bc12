//! One conversation with one screen, over any stream: hello, then a runtime's queue out and requests in.
//!
//! It takes from the runtime's queue as fast as the screen reads. What a slow screen cannot take is replaced there by
//! newer things, so that neither the runtime nor another screen waits and little is held for it here. What a person
//! decided is counted until its end is told; no more is read from a screen that has too much of it open.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::codec::{self, Decoded, FrameError, FrameReader};
use crate::agent::peer::Caller;
use crate::agent::protocol::{
    ALIVE_EVERY, Errand, GLANCE_MAX, HELLO_DEADLINE, HELLO_MAX_BYTES, Hello, INBOUND_MAX_BYTES, KEEP_MAX, PROTOCOL,
    PROTOCOL_LEAST, REQUEST_MAX_BYTES, SCREEN_SILENCE_MAX, STUCK_MAX, ToAgent, ToScreen, Welcome, common,
};
use crate::clock;
use crate::domain::fact::{Fact, RuntimeFact};
use crate::domain::host::{Peer, Role};
use crate::domain::presence::Visitor;
use crate::domain::request::Inbound;
use crate::runtime::attach::{Asked, Attacher, Refresh, WIRE_INBOUND_MAX, WireLink};

/// How the line begins that says that an answer was too long for a frame.
pub const UNSENT: &str = "an answer could not be sent";
/// Screens at a time: twice as many as are named to people, see [`crate::domain::presence::SCREENS_MAX`].
pub const CONNECTIONS_MAX: usize = 128;
/// Long lines of screens that are read at a time: with what is made of them some 20 MiB each. People send a document
/// once in a while, and a few turns are soon free again.
const LONG_LINES_MAX: usize = 4;
/// How long the last words to a screen may take: it may not be reading.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What people decided may take so long to be carried out while everything closes.
const CLOSE_KEEP: Duration = Duration::from_millis(300);
/// Closing takes no longer than this, whatever screens do.
const CLOSE_DEADLINE: Duration = Duration::from_millis(500);
/// Frames of the conversation itself that wait to be written.
const OWN_MAX: usize = 4;
/// Frames are written together up to this: a flood of facts must not cost a system call each.
const BATCH_BYTES: usize = 64 << 10;

/// Serves screens over streams, however these came to be. Clones are the same reception.
#[derive(Clone)]
pub struct Reception {
    desk: Arc<Desk>,
}

struct Desk {
    attacher: Attacher,
    peer: Peer,
    connections: AtomicUsize,
    /// Cancelled when who came in by `share` has to go; and why, in words. Those who come later get another.
    others: Mutex<Dismissal>,
    /// Agents that wait for the state directory, by their process ids.
    waiting: Mutex<BTreeSet<u32>>,
    conversations: TaskTracker,
    /// Turns for long lines.
    turns: Arc<Semaphore>,
    /// No more requests; good-bye to everybody.
    closing: CancellationToken,
    why: OnceLock<String>,
    /// Everybody goes without a word.
    abandoned: CancellationToken,
    yielded: CancellationToken,
}

/// Has screens of other accounts go.
#[derive(Debug, Clone, Default)]
struct Dismissal {
    gone: CancellationToken,
    why: Arc<OnceLock<String>>,
}

/// Counts a conversation for as long as it lasts.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Shows an agent that waits for as long as it does.
struct Shown<'a> {
    desk: &'a Desk,
    pid: u32,
}

impl<'a> Shown<'a> {
    fn new(desk: &'a Desk, pid: u32) -> Self {
        desk.wait(|it| it.insert(pid));
        Self { desk, pid }
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.desk.wait(|it| it.remove(&self.pid));
    }
}

impl Desk {
    /// Changes who waits, and tells the screens when that is another picture.
    fn wait(&self, change: impl FnOnce(&mut BTreeSet<u32>) -> bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if change(&mut waiting) {
            let agents = waiting.iter().copied().collect();
            self.attacher.tell(Fact::Runtime(RuntimeFact::Waiting { agents }));
        }
    }
}

/// What a conversation says by itself.
enum Own {
    Say(ToScreen),
    /// The last thing.
    End(ToScreen),
}

impl Reception {
    /// Makes the reception of a runtime in this process, which is `role`.
    pub fn new(attacher: Attacher, role: Role) -> Self {
        let peer = Peer { role, version: version(), pid: std::process::id(), since: whole_seconds(clock::now()) };
        Self {
            desk: Arc::new(Desk {
                attacher,
                peer,
                connections: AtomicUsize::new(0),
                others: Mutex::default(),
                waiting: Mutex::default(),
                conversations: TaskTracker::new(),
                turns: Arc::new(Semaphore::new(LONG_LINES_MAX)),
                closing: CancellationToken::new(),
                why: OnceLock::new(),
                abandoned: CancellationToken::new(),
                yielded: CancellationToken::new(),
            }),
        }
    }

    /// Cancelled when an agent asks a screen's runtime to make room.
    pub fn yielded(&self) -> CancellationToken {
        self.desk.yielded.clone()
    }

    /// Cancelled when nobody is served any more.
    pub fn closing(&self) -> CancellationToken {
        self.desk.closing.clone()
    }

    /// How many conversations go on.
    pub fn connections(&self) -> usize {
        self.desk.connections.load(Ordering::Relaxed)
    }

    /// Says good-bye to every screen, with `why` in words, once what people decided has been carried out.
    pub async fn close(&self, why: &str) {
        // The first reason is the one.
        let _ = self.desk.why.set(why.to_string());
        self.desk.closing.cancel();
        self.desk.conversations.close();
        let _ = timeout(CLOSE_DEADLINE, self.desk.conversations.wait()).await;
        self.abandon();
    }

    /// Lets every screen of another account go, with `why` in words.
    pub fn dismiss_others(&self, why: &str) {
        let before = std::mem::take(&mut *self.desk.others.lock().unwrap_or_else(PoisonError::into_inner));
        // It is new: there is no other reason.
        let _ = before.why.set(why.to_string());
        before.gone.cancel();
    }

    /// Lets everybody go at once and without a word.
    pub fn abandon(&self) {
        self.desk.closing.cancel();
        self.desk.abandoned.cancel();
    }

    /// Runs a task that ends with the reception.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let abandoned = self.desk.abandoned.clone();
        self.desk.conversations.spawn(async move {
            tokio::select! {
                biased;
                () = abandoned.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Holds the conversation with one screen until either side ends it.
    pub async fn serve<S: AsyncRead + AsyncWrite + Send>(&self, stream: S, caller: Caller) {
        self.desk.connections.fetch_add(1, Ordering::Relaxed);
        let _counted = Counted(&self.desk.connections);
        let (read, mut write) = tokio::io::split(stream);
        let mut reader = FrameReader::beside_others(read, Arc::clone(&self.desk.turns));
        let greeted = timeout(HELLO_DEADLINE, self.greet(&mut reader, &caller)).await;
        let late = || Err(format!("no hello came within {} s", HELLO_DEADLINE.as_secs()));
        let met = match greeted.unwrap_or_else(|_| late()) {
            Ok(met) => met,
            Err(why) => {
                tracing::info!("a screen was not let in: {why}");
                return last_words(&mut write, ToScreen::Refused(why)).await;
            }
        };
        let Met { protocol, visitor, errand, glimpses } = met;
        let welcome = ToScreen::Welcome(Box::new(Welcome {
            protocol,
            host: self.desk.attacher.host().clone(),
            peer: self.desk.peer.clone(),
            visitor: visitor.clone(),
            now: clock::now(),
        }));
        let link = match errand {
            Errand::Stay => self.desk.attacher.attach_wire(visitor.clone(), glimpses),
            Errand::Glance => self.desk.attacher.attach_wire_unseen(Visitor { readonly: true, ..visitor.clone() }),
            Errand::StandBy(pid) => return self.let_wait(pid, reader, write, &welcome).await,
        };
        let Some(link) = link else { return last_words(&mut write, ToScreen::Bye(self.why())).await };
        let WireLink { inbound_rx, asked_tx, refresh } = link;
        let (own_tx, own_rx) = mpsc::channel(OWN_MAX);
        let keeps = Semaphore::new(KEEP_MAX);
        let dismissal = self.desk.others.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (is_other, last_tx) = (caller != Caller::Own, own_tx.clone());
        let dismissed = async {
            dismissal.gone.cancelled().await;
            let why = dismissal.why.get().cloned().unwrap_or_default();
            // The other side says it and ends the conversation.
            let _ = last_tx.send(Own::End(ToScreen::Refused(why))).await;
            std::future::pending::<()>().await;
        };
        let ears =
            Ears { reception: self, caller: &caller, visitor: &visitor, asked_tx, refresh, own_tx, keeps: &keeps };
        let mouth = Mouth { reception: self, write, inbound_rx, own_rx, keeps: &keeps };
        let ended = tokio::select! {
            () = ears.listen(&mut reader) => Ok(()),
            ended = mouth.speak(welcome) => ended,
            () = dismissed, if is_other => Ok(()),
            () = sleep(GLANCE_MAX), if errand == Errand::Glance => Ok(()),
        };
        if let Err(error) = ended {
            tracing::info!("the screen of {} is gone: {error}", visitor.user);
        }
    }

    /// Has an agent wait for its turn: it hears that we live, screens hear of it.
    async fn let_wait<R, W>(&self, pid: u32, mut reader: FrameReader<R>, mut write: W, welcome: &ToScreen)
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let _shown = Shown::new(&self.desk, pid);
        let closing = self.closing();
        let hear =
            async { while let Ok(Some(_)) = reader.frame::<ToAgent>(HELLO_MAX_BYTES, SCREEN_SILENCE_MAX).await {} };
        let say = async {
            let mut frame = welcome;
            while let Ok(line) = codec::encode(frame, INBOUND_MAX_BYTES)
                && codec::write(&mut write, &line, STUCK_MAX).await.is_ok()
            {
                frame = &ToScreen::Alive;
                sleep(ALIVE_EVERY).await;
            }
        };
        tokio::select! {
            () = closing.cancelled() => {}
            () = hear => return,
            () = say => return,
        }
        last_words(&mut write, ToScreen::Bye(self.why())).await;
    }

    /// Reads the first line: which protocol is spoken from here on, and with whom.
    async fn greet<R: AsyncRead + Unpin>(&self, reader: &mut FrameReader<R>, caller: &Caller) -> Result<Met, String> {
        let hello = match reader.frame(HELLO_MAX_BYTES, HELLO_DEADLINE).await {
            Ok(Some(Decoded::Frame(ToAgent::Hello(hello)))) => hello,
            Ok(Some(Decoded::Frame(_))) => return Err("the first line must say hello".into()),
            Ok(Some(Decoded::Unknown { what, .. })) => return Err(format!("the first line must say hello: {what}")),
            Ok(None) => return Err("nothing was said".into()),
            Err(error) => return Err(error.to_string()),
        };
        let Hello { protocol, least, version: theirs, visitor, errand, glimpses } = *hello;
        let Some(spoken) = common((PROTOCOL_LEAST, PROTOCOL), (least, protocol)) else {
            let (ours, theirs, host) = (version(), codec::words(&theirs, 40), self.desk.attacher.host());
            // It is read at the screen, which may be on another host.
            let older = if protocol < PROTOCOL_LEAST {
                "where this screen runs".to_string()
            } else {
                format!("on `{host}` and start its agent again")
            };
            return Err(format!(
                "hotseat {ours} on `{host}` speaks protocol {PROTOCOL_LEAST} to {PROTOCOL}, this screen ({theirs}) \
                 {least} to {protocol} (update hotseat {older})"
            ));
        };
        if matches!(errand, Errand::StandBy(_)) && *caller != Caller::Own {
            return Err("only an agent of the account whose state this is can stand by".into());
        }
        Ok(Met { protocol: spoken, visitor: caller.visitor(&visitor), errand, glimpses })
    }

    fn why(&self) -> String {
        self.desk.why.get().cloned().unwrap_or_else(|| "hotseat ends here".into())
    }
}

/// Who said hello.
struct Met {
    /// What is spoken from here on.
    protocol: u32,
    visitor: Visitor,
    errand: Errand,
    /// It takes glimpses of past outcomes in a snapshot.
    glimpses: bool,
}

/// The side that reads.
struct Ears<'a> {
    reception: &'a Reception,
    caller: &'a Caller,
    visitor: &'a Visitor,
    asked_tx: mpsc::Sender<Asked>,
    refresh: Refresh,
    own_tx: mpsc::Sender<Own>,
    /// What people decided may be open so many times.
    keeps: &'a Semaphore,
}

impl Ears<'_> {
    /// Passes requests on until the screen leaves. Whatever else ends the conversation is told to the screen first,
    /// by the other side; that then ends both.
    async fn listen<R: AsyncRead + Unpin>(self, reader: &mut FrameReader<R>) {
        let closing = self.reception.closing();
        let why = loop {
            let read = tokio::select! {
                biased;
                () = closing.cancelled() => return std::future::pending().await,
                read = reader.frame(REQUEST_MAX_BYTES, SCREEN_SILENCE_MAX) => read,
            };
            match read {
                Ok(Some(Decoded::Frame(frame))) => match self.take(frame).await {
                    Ok(()) => {}
                    Err(Gone) => break None,
                },
                Ok(Some(Decoded::Unknown { what, line })) => {
                    let number = number_of(&line);
                    let _ = self.own_tx.send(Own::Say(ToScreen::NotUnderstood { number, what })).await;
                }
                // It has left.
                Ok(None) | Err(FrameError::Io(_) | FrameError::Torn { .. }) => return,
                Err(error) => break Some(error.to_string()),
            }
        };
        if let Some(why) = why {
            tracing::info!("the screen of {} is let go: {why}", self.visitor.user);
            let _ = self.own_tx.send(Own::End(ToScreen::Refused(why))).await;
            sleep(LAST_WORDS).await;
            return;
        }
        std::future::pending().await
    }

    async fn take(&self, frame: ToAgent) -> Result<(), Gone> {
        let asked = match frame {
            ToAgent::Alive | ToAgent::Hello(_) => return Ok(()),
            ToAgent::Snapshot => {
                self.refresh.ask();
                return Ok(());
            }
            ToAgent::Yield => {
                let may = *self.caller == Caller::Own && !self.visitor.readonly;
                if may && self.reception.desk.peer.role != Role::Agent {
                    self.reception.desk.yielded.cancel();
                }
                return Ok(());
            }
            ToAgent::Request(request) => Asked { request: *request, number: None },
            ToAgent::Keep { number, request } => {
                // It is given back when the end has been told.
                self.keeps.acquire().await.map_err(|_| Gone)?.forget();
                Asked { request: *request, number: Some(number) }
            }
        };
        self.asked_tx.send(asked).await.map_err(|_| Gone)
    }
}

/// The runtime has ended.
struct Gone;

/// The side that writes.
struct Mouth<'a, W> {
    reception: &'a Reception,
    write: W,
    inbound_rx: mpsc::Receiver<Inbound>,
    own_rx: mpsc::Receiver<Own>,
    keeps: &'a Semaphore,
}

impl<W: AsyncWrite + Unpin> Mouth<'_, W> {
    async fn speak(mut self, welcome: ToScreen) -> Result<(), FrameError> {
        let mut line = codec::encode(&welcome, INBOUND_MAX_BYTES)?;
        codec::write(&mut self.write, &line, STUCK_MAX).await?;
        let closing = self.reception.closing();
        let mut close_at = None;
        loop {
            line.clear();
            line.shrink_to(BATCH_BYTES);
            tokio::select! {
                biased;
                own = self.own_rx.recv() => match own {
                    Some(Own::Say(frame)) => line = codec::encode(&frame, INBOUND_MAX_BYTES)?,
                    Some(Own::End(frame)) => {
                        last_words(&mut self.write, frame).await;
                        return Ok(());
                    }
                    None => return Ok(()),
                },
                () = closing.cancelled(), if close_at.is_none() => close_at = Some(clock::timer() + CLOSE_KEEP),
                () = sleep_until(close_at.unwrap_or_else(clock::timer)), if close_at.is_some() => break,
                inbound = self.inbound_rx.recv() => match inbound {
                    Some(inbound) => self.put(inbound, &mut line).await?,
                    None => break,
                },
                () = sleep(ALIVE_EVERY) => line = codec::encode(&ToScreen::Alive, INBOUND_MAX_BYTES)?,
            }
            while line.len() < BATCH_BYTES
                && let Ok(inbound) = self.inbound_rx.try_recv()
            {
                self.put(inbound, &mut line).await?;
            }
            codec::write(&mut self.write, &line, STUCK_MAX).await?;
            // Every answer has been written before its end was told.
            if close_at.is_some() && self.keeps.available_permits() == KEEP_MAX {
                break;
            }
        }
        line.clear();
        for _ in 0..WIRE_INBOUND_MAX {
            let Ok(inbound) = self.inbound_rx.try_recv() else { break };
            self.put(inbound, &mut line).await?;
        }
        codec::write(&mut self.write, &line, LAST_WORDS).await?;
        last_words(&mut self.write, ToScreen::Bye(self.reception.why())).await;
        Ok(())
    }

    /// Adds a message to what is written next.
    async fn put(&self, inbound: Inbound, line: &mut Vec<u8>) -> Result<(), FrameError> {
        if matches!(inbound, Inbound::Settled(_)) {
            self.keeps.add_permits(1);
        }
        let is_large = matches!(inbound, Inbound::Snapshot(_));
        let frame = ToScreen::Inbound(Box::new(inbound));
        let encoded = if is_large {
            // A board of a thousand probes takes a while; facts must not wait for it.
            codec::aside(move || codec::encode(&frame, INBOUND_MAX_BYTES)).await?
        } else {
            codec::encode(&frame, INBOUND_MAX_BYTES)
        };
        let encoded = match encoded {
            Err(error @ FrameError::TooMuch { .. }) => {
                let frame = if is_large {
                    ToScreen::Refused(format!("what is known here could not be sent: {error}"))
                } else {
                    ToScreen::Inbound(Box::new(Inbound::Failed(format!("{UNSENT}: {error}"))))
                };
                codec::encode(&frame, INBOUND_MAX_BYTES)?
            }
            encoded => encoded?,
        };
        if line.is_empty() {
            *line = encoded;
        } else {
            line.extend_from_slice(&encoded);
        }
        Ok(())
    }
}

/// Says the last thing to a screen that may no longer listen, and ends the stream.
async fn last_words<W: AsyncWrite + Unpin>(write: &mut W, frame: ToScreen) {
    if let Ok(line) = codec::encode(&frame, INBOUND_MAX_BYTES) {
        // It is gone; there is nobody to tell.
        let _ = codec::write(write, &line, LAST_WORDS).await;
        let _ = timeout(LAST_WORDS, write.shutdown()).await;
    }
}

/// The number of a request that is not known, when it has one.
fn number_of(line: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Line {
        keep: Keep,
    }
    #[derive(Deserialize)]
    struct Keep {
        number: u64,
    }
    serde_json::from_str::<Line>(line).ok().map(|it| it.keep.number)
}

/// Our version, for people.
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_string()
}

/// The sub-second part helps nobody.
fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
