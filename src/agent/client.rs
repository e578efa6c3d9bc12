//! A screen's end of a connection: attaches over any stream and is a [`Link`] from then on.
//!
//! The link ends with the connection, and says how that ended. What a person wrote or decided and the other end has
//! not answered comes back through the link before it ends: as `Inbound::Refused`, whole, because it may be lost.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::agent::codec::{self, Decoded, FrameError, FrameReader};
use crate::agent::heard::Heard;
use crate::agent::protocol::{
    ALIVE_EVERY, Errand, HELLO_DEADLINE, Hello, INBOUND_MAX_BYTES, KEEP_MAX, PROTOCOL, PROTOCOL_LEAST,
    REQUEST_MAX_BYTES, SILENCE_MAX, STUCK_MAX, ToAgent, ToScreen, Welcome,
};
use crate::agent::reception::version;
use crate::clock;
use crate::domain::fact::Fact;
use crate::domain::host::Role;
use crate::domain::ids::HostId;
use crate::domain::log::Row;
use crate::domain::presence::Visitor;
use crate::domain::request::{Inbound, Request};
use crate::runtime::{LINK_INBOUND_MAX, LINK_REQUESTS_MAX, Link};

/// How long a screen that leaves waits for the end of what was decided last.
const LEAVE_DEADLINE: Duration = Duration::from_millis(500);
/// How long a connection that cannot be written to may still say why.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// A board that was not understood is not asked for again sooner: a newer hotseat may say much that is not.
const REFRESH_GAP: Duration = Duration::from_secs(5);
/// Frames of the connection itself that wait to be written.
const OWN_MAX: usize = 4;
/// Longest name of a host that is shown.
const HOST_MAX_CHARS: usize = 64;
/// Longest text of the other end that is shown.
const WORDS_MAX_CHARS: usize = 300;

/// Attached.
#[derive(Debug)]
pub struct Attached {
    /// Who answered, and as whom the screen is recorded there.
    pub welcome: Welcome,
    /// How far the clock there is ahead of ours, in milliseconds; what the way takes is in it.
    pub ahead_ms: i64,
    /// Since when nothing new has come.
    pub heard: Arc<Heard>,
    /// What the screen works with. To leave, drop it and wait for `ended`.
    pub link: Link,
    /// How it ended. Said after the last message of the link: read that to its end first.
    pub ended: oneshot::Receiver<Ended>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The other end closed in order; why, in words.
    Bye(String),
    /// It is gone, silent or broken; why, in words.
    Lost(String),
    /// It does not want us, or cannot be understood; trying again changes nothing.
    Refused(String),
    /// This end left.
    Left,
}

/// Why a screen is not attached.
#[derive(Debug, Error)]
pub enum AttachError {
    /// The other end says why, and what to do.
    #[error("{0}")]
    Refused(String),
    /// What answers is no hotseat, or none that can be understood.
    #[error("what answers there is not understood: {0}")]
    NotUnderstood(String),
    /// The connection failed.
    #[error("{0}")]
    Lost(FrameError),
}

/// What a screen of ours says of itself.
pub fn hello(visitor: Visitor) -> Hello {
    hello_for(Errand::Stay, visitor)
}

/// What somebody of ours says who comes for something else.
pub fn hello_for(errand: Errand, visitor: Visitor) -> Hello {
    Hello {
        protocol: PROTOCOL,
        least: PROTOCOL_LEAST,
        version: version(),
        visitor,
        errand,
        glimpses: errand == Errand::Stay,
    }
}

/// Attaches over a stream. Needs a tokio runtime around it, which carries the link.
///
/// # Errors
/// See [`AttachError`]. Takes no longer than [`HELLO_DEADLINE`].
pub async fn attach<S>(stream: S, hello: &Hello) -> Result<Attached, AttachError>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = FrameReader::new(read);
    let welcome = greet(&mut reader, &mut write, hello).await?;
    let ahead_ms = i64::try_from(welcome.now.duration_since(clock::now()).as_millis()).unwrap_or(i64::MAX);
    let (facts_tx, facts_rx) = mpsc::channel(LINK_INBOUND_MAX);
    let (requests_tx, requests_rx) = mpsc::channel(LINK_REQUESTS_MAX);
    let (ended_tx, ended) = oneshot::channel();
    let heard = Arc::new(Heard::at(clock::now()));
    let carrier = Carrier {
        heard: Arc::clone(&heard),
        host: welcome.host.clone(),
        version: welcome.peer.version.clone(),
        facts_tx,
        open: Mutex::default(),
        settled: Notify::new(),
    };
    tokio::spawn(async move {
        let ended = carrier.carry(reader, write, requests_rx).await;
        // The link is gone for whoever reads it before they learn why.
        drop(carrier);
        let _ = ended_tx.send(ended);
    });
    Ok(Attached { welcome, ahead_ms, heard, link: Link { facts_rx, requests_tx }, ended })
}

/// Asks whoever serves a state directory to make room for an agent, and waits until they have closed.
///
/// Returns what holds the directory: an agent does not make room.
///
/// # Errors
/// See [`AttachError`]; [`AttachError::Lost`] with [`FrameError::Silent`] when it has not closed within `deadline`.
pub async fn ask_to_yield<S>(stream: S, hello: &Hello, deadline: Duration) -> Result<Role, AttachError>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = FrameReader::new(read);
    let welcome = greet(&mut reader, &mut write, hello).await?;
    if welcome.peer.role == Role::Agent {
        return Ok(Role::Agent);
    }
    let line = codec::encode(&ToAgent::Yield, REQUEST_MAX_BYTES).map_err(AttachError::Lost)?;
    codec::write(&mut write, &line, LAST_WORDS).await.map_err(AttachError::Lost)?;
    let gone = async {
        // However it ends, it ends.
        while let Ok(Some(_)) = reader.frame::<IgnoredAny>(INBOUND_MAX_BYTES, deadline).await {}
    };
    timeout(deadline, gone).await.map_err(|_| AttachError::Lost(FrameError::Silent(deadline)))?;
    Ok(welcome.peer.role)
}

/// Waits beside whoever serves a state directory until they are gone, however that comes; see [`Errand::StandBy`].
///
/// # Errors
/// See [`AttachError`]: they could not be greeted.
pub async fn stand_by<S>(stream: S, hello: &Hello) -> Result<(), AttachError>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = FrameReader::new(read);
    greet(&mut reader, &mut write, hello).await?;
    let hear = async { while let Ok(Some(_)) = reader.frame::<IgnoredAny>(INBOUND_MAX_BYTES, SILENCE_MAX).await {} };
    let say = async {
        let Ok(line) = codec::encode(&ToAgent::Alive, REQUEST_MAX_BYTES) else { return };
        while codec::write(&mut write, &line, STUCK_MAX).await.is_ok() {
            sleep(ALIVE_EVERY).await;
        }
    };
    tokio::select! {
        () = hear => {}
        () = say => {}
    }
    Ok(())
}

/// What becomes of a request that the other end may not have carried out: what a person decided comes back.
pub fn returned(request: Request, why: &str) -> Option<Inbound> {
    if request.is_decision() {
        let error = format!("{why}: it may not have been kept (look, and do it again)");
        return Some(Inbound::Refused { request: Box::new(request), error });
    }
    request.changes().then(|| Inbound::Failed(format!("{why}: it may not have been done (look, and ask again)")))
}

async fn greet<R, W>(reader: &mut FrameReader<R>, write: &mut W, hello: &Hello) -> Result<Welcome, AttachError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let line = codec::encode(&ToAgent::Hello(Box::new(hello.clone())), REQUEST_MAX_BYTES).map_err(AttachError::Lost)?;
    // Who does not want us says so before it has read anything; that counts, not that writing failed.
    let written = codec::write(write, &line, HELLO_DEADLINE).await;
    let read = timeout(HELLO_DEADLINE, reader.frame(INBOUND_MAX_BYTES, HELLO_DEADLINE)).await;
    let mut welcome = match read.unwrap_or(Err(FrameError::Silent(HELLO_DEADLINE))) {
        Ok(Some(Decoded::Frame(ToScreen::Welcome(welcome)))) => *welcome,
        Ok(Some(Decoded::Frame(ToScreen::Refused(why) | ToScreen::Bye(why)))) => {
            return Err(AttachError::Refused(codec::words(&why, WORDS_MAX_CHARS)));
        }
        Ok(Some(Decoded::Frame(_))) => return Err(AttachError::NotUnderstood("it does not say welcome".into())),
        Ok(Some(Decoded::Unknown { what, .. })) => return Err(AttachError::NotUnderstood(what)),
        Ok(None) => {
            written.map_err(AttachError::Lost)?;
            return Err(AttachError::Lost(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
        }
        Err(error @ (FrameError::NotJson { .. } | FrameError::NotUtf8 { .. } | FrameError::TooLong { .. })) => {
            return Err(AttachError::NotUnderstood(error.to_string()));
        }
        Err(error) => return Err(AttachError::Lost(error)),
    };
    if !(PROTOCOL_LEAST..=PROTOCOL).contains(&welcome.protocol) {
        let what = format!("it speaks protocol {}, which it was not asked to", welcome.protocol);
        return Err(AttachError::NotUnderstood(what));
    }
    // These are shown, and are not ours.
    welcome.host = HostId::new(&codec::words(welcome.host.as_str(), HOST_MAX_CHARS));
    welcome.peer.version = codec::words(&welcome.peer.version, 40);
    welcome.visitor.user = codec::words(&welcome.visitor.user, 64);
    welcome.visitor.seat = welcome.visitor.seat.map(|it| codec::words(&it, 64));
    if let Role::Screen(user) = &mut welcome.peer.role {
        *user = codec::words(user, 64);
    }
    Ok(welcome)
}

/// What a message is about that is not passed on, in a few words.
fn about(inbound: &Inbound) -> String {
    match inbound {
        Inbound::Snapshot(board) => board.host.as_ref().map_or_else(String::new, |it| format!("the board of `{it}`")),
        Inbound::Fact(envelope) => format!("a fact of `{}`", envelope.host),
        Inbound::Outcomes { probe, .. } => format!("outcomes of `{probe}`"),
        _ => "how hosts are reached".to_string(),
    }
}

/// Carries a link over a connection.
struct Carrier {
    host: HostId,
    /// The version there.
    version: String,
    heard: Arc<Heard>,
    facts_tx: mpsc::Sender<Inbound>,
    /// What was decided and is not known to be done with, in the order it was sent.
    open: Mutex<BTreeMap<u64, Request>>,
    /// Something was, or the last thing to wait for.
    settled: Notify,
}

impl Carrier {
    async fn carry<R, W>(&self, reader: FrameReader<R>, write: W, mut requests_rx: mpsc::Receiver<Request>) -> Ended
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let (own_tx, own_rx) = mpsc::channel(OWN_MAX);
        let ended = tokio::select! {
            ended = self.hear(reader, own_tx) => ended,
            ended = self.say(write, own_rx, &mut requests_rx) => ended,
        };
        let why = match &ended {
            Ended::Left => format!("`{}` did not answer in time", self.host),
            Ended::Bye(why) | Ended::Lost(why) | Ended::Refused(why) => format!("`{}` is gone, {why}", self.host),
        };
        let mut lost = std::mem::take(&mut *self.lock());
        // What still waits was never sent; it comes after what was.
        requests_rx.close();
        while let Some(request) = requests_rx.recv().await {
            let number = lost.last_key_value().map_or(0, |(number, _)| number + 1);
            lost.insert(number, request);
        }
        for inbound in newest(lost).into_iter().filter_map(|it| returned(it, &why)) {
            if self.facts_tx.send(inbound).await.is_err() {
                break;
            }
        }
        ended
    }

    /// Passes on what comes until the connection ends.
    async fn hear<R: AsyncRead + Unpin>(&self, mut reader: FrameReader<R>, own_tx: mpsc::Sender<ToAgent>) -> Ended {
        let mut stale = Stale::default();
        loop {
            let frame = match reader.frame(INBOUND_MAX_BYTES, SILENCE_MAX).await {
                Ok(Some(Decoded::Frame(frame))) => frame,
                Ok(Some(Decoded::Unknown { what, line })) => match kind_of(&line) {
                    Kind::Snapshot => {
                        return Ended::Refused(format!(
                            "hotseat {} there knows more than hotseat {} here: {what} (update hotseat here)",
                            self.version,
                            version()
                        ));
                    }
                    kind => {
                        if stale.unknown(kind == Kind::Fact) {
                            self.pass(Inbound::Failed(self.newer(&what))).await;
                        }
                        continue;
                    }
                },
                Ok(None) => return Ended::Lost("the connection was closed".into()),
                Err(error) => return Ended::Lost(error.to_string()),
            };
            self.heard.note(clock::now());
            if stale.is_due(clock::timer()) && own_tx.try_send(ToAgent::Snapshot).is_ok() {
                stale.asked(clock::timer());
            }
            match frame {
                ToScreen::Alive | ToScreen::Welcome(_) => {}
                ToScreen::Bye(why) => return Ended::Bye(codec::words(&why, WORDS_MAX_CHARS)),
                ToScreen::Refused(why) => return Ended::Refused(codec::words(&why, WORDS_MAX_CHARS)),
                ToScreen::NotUnderstood { number, what } => {
                    let what = codec::words(&what, WORDS_MAX_CHARS);
                    let error =
                        format!("hotseat {} on `{}` does not know this: {what} (update it)", self.version, self.host);
                    let request = number.and_then(|it| self.settle(it));
                    self.pass(match request {
                        Some(request) => Inbound::Refused { request: Box::new(request), error },
                        None => Inbound::Failed(error),
                    })
                    .await;
                }
                ToScreen::Inbound(inbound) => match *inbound {
                    Inbound::Settled(number) => drop(self.settle(number)),
                    inbound if self.is_its_to_say(&inbound) => self.pass(inbound).await,
                    // One host of several must not speak for another.
                    inbound => tracing::warn!(
                        "`{}` speaks of what is not its own: {}",
                        self.host,
                        codec::words(&about(&inbound), WORDS_MAX_CHARS)
                    ),
                },
            }
        }
    }

    /// True for what the other end can know: how the way is, it cannot, and of other hosts nothing is believed.
    fn is_its_to_say(&self, inbound: &Inbound) -> bool {
        let is_own =
            |host: &str| host == self.host.as_str() || codec::words(host, HOST_MAX_CHARS) == self.host.as_str();
        match inbound {
            Inbound::Host(_) | Inbound::HostNamed { .. } => false,
            Inbound::Snapshot(board) => board.host.as_ref().is_none_or(|it| is_own(it.as_str())),
            Inbound::Fact(envelope) => {
                is_own(envelope.host.as_str())
                    && match &envelope.fact {
                        Fact::Probe(fact) => is_own(fact.probe().host()),
                        _ => true,
                    }
            }
            Inbound::Outcomes { probe, .. } => is_own(probe.host()),
            _ => true,
        }
    }

    /// Writes requests down until the screen leaves.
    async fn say<W: AsyncWrite + Unpin>(
        &self,
        mut write: W,
        mut own_rx: mpsc::Receiver<ToAgent>,
        requests_rx: &mut mpsc::Receiver<Request>,
    ) -> Ended {
        let mut number = 0;
        let mut leave_at = None;
        loop {
            let has_room = self.lock().len() < KEEP_MAX;
            if leave_at.is_some() && self.lock().is_empty() {
                break;
            }
            let frame = tokio::select! {
                biased;
                Some(frame) = own_rx.recv() => frame,
                request = requests_rx.recv(), if has_room && leave_at.is_none() => match request {
                    Some(request) if request.is_decision() => {
                        number += 1;
                        self.lock().insert(number, request.clone());
                        ToAgent::Keep { number, request: Box::new(request) }
                    }
                    Some(request) => ToAgent::Request(Box::new(request)),
                    None => {
                        leave_at = Some(clock::timer() + LEAVE_DEADLINE);
                        continue;
                    }
                },
                () = self.settled.notified() => continue,
                // What was asked before is still said.
                () = self.facts_tx.closed(), if !requests_rx.is_closed() => {
                    requests_rx.close();
                    continue;
                }
                () = sleep_until(leave_at.unwrap_or_else(clock::timer)), if leave_at.is_some() => break,
                () = sleep(ALIVE_EVERY) => ToAgent::Alive,
            };
            let written = match codec::encode(&frame, REQUEST_MAX_BYTES) {
                Ok(line) => codec::write(&mut write, &line, STUCK_MAX).await,
                Err(error) => {
                    self.unsaid(frame, &error).await;
                    continue;
                }
            };
            if let Err(error) = written {
                // The other side may know better why.
                sleep(LAST_WORDS).await;
                return Ended::Lost(error.to_string());
            }
        }
        // It is left either way.
        let _ = timeout(LAST_WORDS, write.shutdown()).await;
        Ended::Left
    }

    /// Gives back a request that is too long.
    async fn unsaid(&self, frame: ToAgent, error: &FrameError) {
        let request = match frame {
            ToAgent::Keep { number, .. } => self.settle(number),
            ToAgent::Request(request) => Some(*request),
            _ => None,
        };
        let error = format!("could not send it to `{}`: {error}", self.host);
        if let Some(request) = request {
            self.pass(Inbound::Refused { request: Box::new(request), error }).await;
        }
    }

    fn settle(&self, number: u64) -> Option<Request> {
        let request = self.lock().remove(&number);
        self.settled.notify_one();
        request
    }

    /// Hands a message to the screen. Nobody there is not an end: what was decided last may still be answered.
    async fn pass(&self, inbound: Inbound) {
        let inbound = match inbound {
            Inbound::Done(text) => Inbound::Done(codec::words(&text, WORDS_MAX_CHARS)),
            Inbound::Failed(text) => Inbound::Failed(codec::words(&text, WORDS_MAX_CHARS)),
            Inbound::Window(mut window) => {
                window.rows.iter_mut().flatten().for_each(Row::clean);
                Inbound::Window(window)
            }
            inbound => inbound,
        };
        let _ = self.facts_tx.send(inbound).await;
    }

    fn newer(&self, what: &str) -> String {
        format!(
            "hotseat {} on `{}` says what {} here does not know, {what}: something may be missing here (update hotseat)",
            self.version,
            self.host,
            version()
        )
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Request>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the board differs from that of the other end, because a fact was not understood.
#[derive(Debug, Default)]
struct Stale {
    is_told: bool,
    is_stale: bool,
    asked_at: Option<Instant>,
}

impl Stale {
    /// Something was not understood; true when the person has to be told.
    fn unknown(&mut self, is_fact: bool) -> bool {
        self.is_stale |= is_fact;
        !std::mem::replace(&mut self.is_told, true)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.is_stale && self.asked_at.is_none_or(|it| now >= it + REFRESH_GAP)
    }

    fn asked(&mut self, now: Instant) {
        self.is_stale = false;
        self.asked_at = Some(now);
    }
}

/// What a line that is not understood is about.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Snapshot,
    Fact,
    Other,
}

fn kind_of(line: &str) -> Kind {
    #[derive(Deserialize)]
    struct Line {
        inbound: BTreeMap<String, IgnoredAny>,
    }
    let inbound = serde_json::from_str::<Line>(line).map(|it| it.inbound).unwrap_or_default();
    match inbound.keys().next().map(String::as_str) {
        Some("snapshot") => Kind::Snapshot,
        Some("fact") => Kind::Fact,
        _ => Kind::Other,
    }
}

/// Without drafts that a later one replaces.
fn newest(requests: BTreeMap<u64, Request>) -> Vec<Request> {
    let mut kept: Vec<Request> = Vec::new();
    for request in requests.into_values() {
        kept.retain(|before| match (before, &request) {
            (Request::SaveNoteDraft(_), Request::SaveNoteDraft(_)) => false,
            (Request::SaveDraft { incident: old, .. }, Request::SaveDraft { incident: new, .. }) => old != new,
            _ => true,
        });
        kept.push(request);
    }
    kept
}
