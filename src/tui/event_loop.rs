//! The turns of the loop: what may happen next, in which order, and when a frame is drawn.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::app::event::Event;
use crate::clock;
use crate::config::Config;
use crate::domain::host::Way;
use crate::domain::ids::{HostId, IncidentId};
use crate::domain::request::{Inbound, Request};
use crate::runtime::Link;
use crate::tui::carry_out::warn;
use crate::tui::draw::Painter;
use crate::tui::editor_handoff::Handoff;
use crate::tui::fence::Fence;
use crate::tui::frame::Pacer;
use crate::tui::input::Reader;
use crate::tui::outlet::Outlet;
use crate::tui::parser::{Input, PASTE_MAX_BYTES, Reply};
use crate::tui::run::{Attached, Exit, Options};
use crate::tui::screen::Screen;
use crate::tui::terminal::{self, Tty};

/// Inbound messages taken in one turn; producers refill the channel meanwhile, so its size is no bound.
const INBOUND_DRAIN_MAX: usize = 32;
/// Input taken in one turn: a held key or a paste without brackets, in one frame.
const INPUT_DRAIN_MAX: usize = 64;
/// Effects that one event may lead to, with those that their failures lead to.
const EFFECTS_MAX: usize = 256;
/// A wake that lies in the past and stays there must not become a spin.
const WAKE_MIN: Duration = Duration::from_millis(10);

/// Asks for the state of synchronized update, for the background and whether it answers as a [`Fence`] asks, then for what every terminal answers:
/// who has not answered before that does not know.
const QUESTIONS: &[u8] = b"\x1b[?2026$p\x1b]11;?\x1b\\\x1b[5n\x1b[c";
const SYNCHRONIZED_UPDATE: u16 = 2026;

pub(super) struct Signals {
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    hangup: Signal,
    resize: Signal,
    stop: Signal,
    resume: Signal,
    /// Held so that a write past `ulimit -f` fails, as on a full disk; else it ends the process.
    _file_size: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        let raw = |it: rustix::process::Signal| SignalKind::from_raw(it.as_raw());
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            resize: signal(SignalKind::window_change())?,
            stop: signal(raw(rustix::process::Signal::TSTP))?,
            resume: signal(raw(rustix::process::Signal::CONT))?,
            _file_size: signal(raw(rustix::process::Signal::XFSZ))?,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// Nothing changed.
    Nothing,
    /// Something changed: with the next frame.
    NextFrame,
    /// A key changed it: at once.
    Now,
}

pub(super) struct Editing {
    pub(super) handoff: Handoff,
    pub(super) incident: Option<IncidentId>,
}

pub(super) struct EventLoop<'a> {
    pub(super) screen: &'a mut dyn Screen,
    pub(super) options: &'a Options,
    pub(super) tty: &'a Tty,
    pub(super) painter: Painter,
    pub(super) outlet: Outlet,
    pub(super) pacer: Pacer,
    pub(super) fence: Fence,
    pub(super) reader: Option<Reader>,
    pub(super) link: Option<Link>,
    // Asked before there was a runtime.
    pub(super) early: VecDeque<Request>,
    // Asked of many at once; handed over as there is room.
    pub(super) waiting: VecDeque<Request>,
    pub(super) config_rx: Option<watch::Receiver<Arc<Config>>>,
    pub(super) editing: Option<Editing>,
    pub(super) tasks: JoinSet<Event>,
    pub(super) due: Due,
    pub(super) exit: Option<Exit>,
    // The terminal was asked and has not answered all.
    pub(super) asked: bool,
    pub(super) synchronized: bool,
    // The process is about to be stopped or was: nothing may be drawn.
    pub(super) suspended: bool,
    // Hosts that this process holds or reads by itself: they are given back before it is stopped.
    pub(super) inside: BTreeSet<HostId>,
    // It is stopped when they are, or by then.
    pub(super) stop_by: Option<tokio::time::Instant>,
    // The terminal reports the mouse, or shall when we have it back.
    pub(super) mouse: bool,
    // Somebody changed the terminal's mode; that is said once.
    pub(super) was_put_right: bool,
}

impl<'a> EventLoop<'a> {
    pub(super) fn new(tty: &'a Tty, options: &'a Options, screen: &'a mut dyn Screen) -> io::Result<Self> {
        let (width, height) = tty.size();
        let outlet = Outlet::new(tty)?;
        terminal::enter(tty, options.mouse)?;
        let mut turn = Self {
            painter: Painter::new(width, height, options.capabilities.depth, options.capabilities.glyphs),
            outlet,
            pacer: Pacer::new(options.frame_gap),
            fence: Fence::default(),
            reader: None,
            link: None,
            early: VecDeque::new(),
            waiting: VecDeque::new(),
            config_rx: None,
            editing: None,
            tasks: JoinSet::new(),
            due: Due::Now,
            exit: None,
            asked: false,
            synchronized: false,
            suspended: false,
            inside: BTreeSet::new(),
            stop_by: None,
            mouse: options.mouse,
            was_put_right: false,
            screen,
            options,
            tty,
        };
        // Starting is asking: the first rows are shown when they are there, not when the next frame is due.
        turn.pacer.pressed(clock::monotonic());
        turn.feed(Event::Resize { width, height });
        if let Some(greeting) = &options.greeting {
            turn.feed(Event::Notice(greeting.clone()));
        }
        Ok(turn)
    }

    pub(super) fn start_reading(&mut self) -> io::Result<()> {
        self.reader = Some(Reader::start(self.tty, self.options.esc_wait)?);
        // After the first frame, so that no terminal's silence can delay it.
        self.send(QUESTIONS);
        self.asked = true;
        Ok(())
    }

    pub(super) async fn go<T>(
        &mut self,
        mut signals: Signals,
        connected_rx: &mut oneshot::Receiver<io::Result<(Attached, T)>>,
        kept: &mut Option<T>,
        requests: &mut Option<mpsc::Sender<Request>>,
    ) -> Exit {
        let mut connecting = true;
        loop {
            if let Some(exit) = self.exit {
                return exit;
            }
            self.draw_if_due();
            let frame_wait = self.frame_wait();
            let wake = self.wake_wait();
            let crowded = self.link.as_ref().filter(|_| !self.waiting.is_empty()).map(|it| it.requests_tx.clone());
            tokio::select! {
                biased;
                _ = signals.hangup.recv() => return Exit::HungUp,
                _ = signals.terminate.recv() => return Exit::Terminated,
                // An editor in the foreground shares its Ctrl-C and Ctrl-\ with us.
                _ = signals.interrupt.recv() => if self.editing.is_none() { return Exit::Interrupted },
                _ = signals.quit.recv() => if self.editing.is_none() { return Exit::Aborted },
                _ = signals.stop.recv() => if let Some(refused) = self.suspend() {
                    self.put_right();
                    self.feed(refused);
                },
                _ = signals.resume.recv() => self.resumed(),
                _ = signals.resize.recv() => self.resized(),
                input = receive(&mut self.reader) => self.read(input),
                drained = self.outlet.drained(), if !self.outlet.is_idle() => match drained {
                    Ok(took) => self.pacer.taken(took),
                    Err(_) => return Exit::HungUp,
                },
                () = sleep(frame_wait) => {}
                () = room(crowded) => self.send_waiting(),
                inbound = inbound(&mut self.link) => self.inbound(inbound),
                connected = &mut *connected_rx, if connecting => {
                    connecting = false;
                    match connected {
                        Ok(Ok((attached, keep))) => {
                            *kept = Some(keep);
                            *requests = Some(attached.link.requests_tx.clone());
                            self.attach(attached);
                        }
                        Ok(Err(error)) => self.feed(Event::Failed(format!("could not start the services: {error}"))),
                        // It panicked; the hook has written why.
                        Err(_) => self.feed(Event::Failed("could not start the services: see `hotseat.log`".into())),
                    }
                }
                config = changed(&mut self.config_rx) => {
                    self.screen.configure(&config);
                    self.due = self.due.max(Due::NextFrame);
                }
                text = edited(&mut self.editing) => self.editor_closed(text),
                Some(done) = self.tasks.join_next() => {
                    let event = done.unwrap_or_else(|error| Event::Failed(format!("a task of the screen failed: {error}")));
                    self.feed(event);
                }
                () = until(self.stop_by) => self.stop_now(),
                () = sleep(wake) => self.feed(Event::Wake),
            }
        }
    }

    /// Folds an event in and carries out what it leads to.
    pub(super) fn feed(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        let mut performed = 0;
        while let Some(event) = events.pop_front() {
            for effect in self.screen.update(clock::now(), event) {
                performed += 1;
                if performed > EFFECTS_MAX {
                    tracing::error!("an event led to more than {EFFECTS_MAX} effects; the rest is dropped");
                    return;
                }
                events.extend(self.perform(effect));
            }
        }
        if self.screen.take_dirty() {
            self.due = self.due.max(Due::NextFrame);
        }
    }

    fn read(&mut self, input: Option<Input>) {
        let mut next = input;
        if next.is_none() {
            self.reader = None;
            // Ctrl-D ends the input of a terminal that is not in our mode, and nothing is gone.
            if !self.put_right() {
                self.exit = Some(Exit::HungUp);
            }
        } else {
            self.put_right();
        }
        for _ in 0..INPUT_DRAIN_MAX {
            let Some(input) = next else { return };
            self.input(input);
            if self.exit.is_some() || self.suspended {
                return;
            }
            next = self.reader.as_mut().and_then(Reader::try_recv);
        }
    }

    fn input(&mut self, input: Input) {
        let event = match input {
            Input::Key(key) => Event::Key(key),
            Input::Mouse(mouse) => Event::Mouse(mouse),
            Input::Paste { text, cut } => {
                if cut {
                    let limit = PASTE_MAX_BYTES >> 20;
                    self.feed(warn(format!("the paste was longer than {limit} MiB: its end is missing")));
                }
                Event::Paste(text)
            }
            Input::Focus(_) => return,
            Input::Reply(reply) => return self.answered(reply),
        };
        self.pacer.pressed(clock::monotonic());
        self.feed(event);
        if self.due == Due::NextFrame {
            self.due = Due::Now;
        }
    }

    fn answered(&mut self, reply: Reply) {
        match reply {
            // Known in any state but 0; what is always reset (4) does nothing.
            Reply::Mode { mode: SYNCHRONIZED_UPDATE, state } => self.synchronized = matches!(state, 1..=3),
            Reply::Mode { .. } => {}
            Reply::Status => self.fence.answered(clock::monotonic()),
            Reply::Background { red, green, blue } => tracing::info!(red, green, blue, "the terminal's background"),
            Reply::DeviceAttributes => {
                self.asked = false;
                tracing::info!(synchronized = self.synchronized, "the terminal has answered");
                if !self.synchronized {
                    self.painter.without_synchronized_update();
                }
            }
        }
    }

    fn attach(&mut self, attached: Attached) {
        self.link = Some(attached.link);
        #[cfg(debug_assertions)]
        self.panic_on_purpose();
        self.config_rx = attached.config_rx;
        for request in std::mem::take(&mut self.early) {
            if let Some(event) = self.request(request) {
                self.feed(event);
            }
        }
    }

    fn inbound(&mut self, inbound: Option<Inbound>) {
        let mut next = inbound;
        if next.is_none() {
            self.link = None;
            self.feed(Event::Failed("the services have ended; restart hotseat".into()));
        }
        for left in (0..INBOUND_DRAIN_MAX).rev() {
            let Some(inbound) = next else { return };
            if let Inbound::Host(news) = &inbound {
                match news.way {
                    Way::Inside => self.inside.insert(news.host.clone()),
                    _ => self.inside.remove(&news.host),
                };
            }
            self.feed(Event::Inbound(inbound));
            if self.stop_by.is_some() && self.inside.is_empty() {
                self.stop_now();
            }
            // What is taken off the channel has to be fed: nothing is taken when this was the last turn.
            next = match &mut self.link {
                Some(link) if left > 0 => link.facts_rx.try_recv().ok(),
                _ => None,
            };
        }
    }

    /// Lets the tests see what a bug does to the terminal; not in release builds.
    #[cfg(debug_assertions)]
    fn panic_on_purpose(&mut self) {
        match std::env::var("HOTSEAT_TEST_PANIC").as_deref() {
            Ok("screen") => panic!("a panic on purpose"),
            Ok("task") => {
                self.tasks.spawn_blocking(|| panic!("a panic on purpose"));
            }
            _ => {}
        }
    }

    fn may_draw(&self) -> bool {
        self.outlet.is_idle() && self.editing.is_none() && !self.suspended
    }

    fn draw_if_due(&mut self) {
        let due = match self.due {
            Due::Nothing => false,
            Due::NextFrame => self.pacer.wait(clock::monotonic()).is_zero(),
            Due::Now => true,
        };
        self.fence.expire(clock::monotonic());
        if due && self.may_draw() && self.fence.wait(clock::monotonic()).is_zero() {
            self.put_right();
            self.draw();
        }
    }

    pub(super) fn draw(&mut self) {
        let now = clock::now();
        let mut bytes = Vec::new();
        let screen = &*self.screen;
        self.painter.frame(&mut bytes, |area, buf| screen.view(now, area, buf));
        self.due = Due::Nothing;
        self.pacer.drawn(clock::monotonic());
        self.pacer.sent(bytes.len());
        if !bytes.is_empty() {
            bytes.extend_from_slice(self.fence.send(bytes.len(), clock::monotonic()));
            self.send(&bytes);
            if self.outlet.is_idle() {
                self.pacer.taken(Duration::ZERO);
            }
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.outlet.send(bytes) {
            tracing::info!("the terminal cannot be written any more: {error}");
            self.exit = Some(Exit::HungUp);
        }
    }

    fn frame_wait(&self) -> Option<Duration> {
        let now = clock::monotonic();
        (self.due != Due::Nothing && self.may_draw()).then(|| self.pacer.wait(now).max(self.fence.wait(now)))
    }

    fn wake_wait(&self) -> Option<Duration> {
        let now = clock::now();
        let wake = self.screen.next_wake(now)?;
        Some(Duration::try_from(wake.duration_since(now)).unwrap_or(Duration::ZERO).max(WAKE_MIN))
    }

    /// Brings an unfinished hand-off home and gives the terminal back.
    pub(super) fn close(&mut self, exit: Exit) {
        if let Some(editing) = self.editing.take() {
            self.feed(Event::EditorClosed { incident: editing.incident, text: editing.handoff.text() });
        }
        if exit == Exit::HungUp {
            terminal::leave_if_there(self.tty);
        } else if self.asked || self.fence.is_waiting() {
            terminal::leave_unanswered(self.tty);
        } else {
            terminal::leave();
        }
        self.reader = None;
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn receive(reader: &mut Option<Reader>) -> Option<Input> {
    match reader {
        Some(reader) => reader.recv().await,
        None => std::future::pending().await,
    }
}

async fn inbound(link: &mut Option<Link>) -> Option<Inbound> {
    match link {
        Some(link) => link.facts_rx.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits until the runtime takes another request.
async fn room(requests_tx: Option<mpsc::Sender<Request>>) {
    match requests_tx {
        // One that is gone has room for nothing more: what waits is then dropped.
        Some(requests_tx) => drop(requests_tx.reserve().await),
        None => std::future::pending().await,
    }
}

async fn edited(editing: &mut Option<Editing>) -> Result<String, String> {
    match editing {
        Some(editing) => editing.handoff.closed().await,
        None => std::future::pending().await,
    }
}

async fn changed(config_rx: &mut Option<watch::Receiver<Arc<Config>>>) -> Arc<Config> {
    if let Some(rx) = config_rx
        && rx.changed().await.is_ok()
    {
        return Arc::clone(&rx.borrow_and_update());
    }
    std::future::pending().await
}
