//! The loop: keys, facts and answers into the screen, its effects out, frames to the terminal.
//!
//! One task on a thread and a runtime of its own, so that no service can keep it waiting. It waits for
//! nothing but the next thing to happen: sends are tried, never awaited, drains are bounded, keys come
//! first, and nothing is drawn unless something changed. While nothing happens it sleeps without a timer.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::app::effect::{Effect, Notice, NoticeSeverity};
use crate::app::event::Event;
use crate::clock;
use crate::config::Config;
use crate::domain::ids::IncidentId;
use crate::domain::request::{Inbound, Request};
use crate::runtime::{LINK_REQUESTS_MAX, Link};
use crate::tui::capabilities::Capabilities;
use crate::tui::clipboard;
use crate::tui::draw::Painter;
use crate::tui::editor_handoff::Handoff;
use crate::tui::frame::Pacer;
use crate::tui::input::Reader;
use crate::tui::outlet::Outlet;
use crate::tui::parser::{Input, PASTE_MAX_BYTES, Reply};
use crate::tui::screen::Screen;
use crate::tui::terminal::{self, Tty};

/// Inbound messages taken in one turn; producers refill the channel meanwhile, so its size is no bound.
const INBOUND_DRAIN_MAX: usize = 32;
/// Input taken in one turn: a held key or a paste without brackets, in one frame.
const INPUT_DRAIN_MAX: usize = 64;
/// Effects that one event may lead to, with those that their failures lead to.
const EFFECTS_MAX: usize = 256;
/// Tasks of the screen's own (files of copies and themes) at a time.
const TASKS_MAX: usize = 16;

/// A wake that lies in the past and stays there must not become a spin.
const WAKE_MIN: Duration = Duration::from_millis(10);

/// Asks for the state of synchronized update and for the background, then for what every terminal answers:
/// who has not answered before that does not know.
const QUESTIONS: &[u8] = b"\x1b[?2026$p\x1b]11;?\x1b\\\x1b[c";
const SYNCHRONIZED_UPDATE: u16 = 2026;

/// How the screen runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the terminal can show.
    pub capabilities: Capabilities,
    /// Mouse reporting from the start.
    pub mouse: bool,
    /// Time between frames that no key asked for.
    pub frame_gap: Duration,
    /// How long a lone `ESC` may be the start of something.
    pub esc_wait: Duration,
    /// Where copies, drafts and choices are kept.
    pub state_dir: PathBuf,
    /// What the person is told at the start.
    pub greeting: Option<Notice>,
}

/// A runtime that the screen was attached to.
pub struct Attached {
    /// The way to the runtime.
    pub link: Link,
    /// The config in use and every one that replaces it.
    pub config_rx: Option<watch::Receiver<Arc<Config>>>,
}

/// Why the screen ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The person quit.
    Quit,
    /// SIGINT from outside; Ctrl-C is a key.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// SIGHUP, or the terminal went away without one.
    HungUp,
    /// A bug; the terminal was given back and drafts were saved.
    Panicked,
}

impl Exit {
    /// The exit code: 128 plus the signal, as shells have it; 3 for a bug.
    pub fn code(self) -> u8 {
        match self {
            Self::Quit => 0,
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::HungUp => 129,
            Self::Panicked => 3,
        }
    }
}

/// Shows the screen until it ends.
///
/// The first frame is drawn before anything slow begins: `connect` runs on a thread of its own after it.
/// What `connect` keeps alive besides comes back with the reason of the end; `None` when it was not done by then.
///
/// # Errors
/// When there is no terminal or it cannot be prepared.
pub fn run<T: Send + 'static>(
    tty: &Tty,
    options: Options,
    screen: &mut dyn Screen,
    connect: impl FnOnce() -> io::Result<(Attached, T)> + Send + 'static,
) -> io::Result<(Exit, Option<T>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    terminal::install_panic_hook();
    let mut kept = None;
    let mut requests = None;
    // The screen outlives a panic of the loop, so that unsaved text can still be asked of it.
    let ran = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let signals = Signals::new()?;
            let mut turn = Turn::new(tty, &options, screen)?;
            turn.draw();
            let (connected_tx, connected_rx) = oneshot::channel();
            std::thread::Builder::new().name("connect".into()).spawn(move || {
                // The loop is gone when the person was faster; then nobody needs it.
                let _ = connected_tx.send(connect());
            })?;
            turn.start_reading()?;
            let ended = turn.go(signals, connected_rx, &mut kept, &mut requests).await;
            turn.close(ended);
            Ok::<Exit, io::Error>(ended)
        })
    }));
    let exit = match ran {
        Ok(ended) => {
            terminal::leave();
            ended?
        }
        Err(_) => Exit::Panicked,
    };
    farewell(screen, requests);
    Ok((exit, kept))
}

/// Asks the screen for unsaved text and hands it to the runtime, which saves before it ends.
fn farewell(screen: &mut dyn Screen, requests: Option<tokio::sync::mpsc::Sender<Request>>) {
    // A screen that panicked once may do so again; what it gave out before that is still saved.
    let effects = catch_unwind(AssertUnwindSafe(|| screen.update(clock::now(), Event::Leaving)));
    for effect in effects.unwrap_or_default() {
        if let (Effect::Request(request), Some(requests)) = (effect, &requests) {
            // Full: the runtime hangs, and waiting for it would break the promise to end within a second.
            if requests.try_send(request).is_err() {
                tracing::error!("the runtime took no more requests: a draft may be lost");
            }
        }
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    resize: Signal,
    stop: Signal,
    resume: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let raw = |it: rustix::process::Signal| SignalKind::from_raw(it.as_raw());
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            resize: signal(SignalKind::window_change())?,
            stop: signal(raw(rustix::process::Signal::TSTP))?,
            resume: signal(raw(rustix::process::Signal::CONT))?,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// Nothing changed.
    Nothing,
    /// Something changed: with the next frame.
    NextFrame,
    /// A key changed it: at once.
    Now,
}

struct Editing {
    handoff: Handoff,
    incident: Option<IncidentId>,
}

struct Turn<'a> {
    screen: &'a mut dyn Screen,
    options: &'a Options,
    tty: &'a Tty,
    painter: Painter,
    outlet: Outlet,
    pacer: Pacer,
    reader: Option<Reader>,
    link: Option<Link>,
    // Asked before there was a runtime.
    early: VecDeque<Request>,
    config_rx: Option<watch::Receiver<Arc<Config>>>,
    editing: Option<Editing>,
    tasks: JoinSet<Event>,
    due: Due,
    exit: Option<Exit>,
    // The terminal was asked and has not answered all.
    asked: bool,
    synchronized: bool,
    // The process is about to be stopped or was: nothing may be drawn.
    suspended: bool,
}

impl<'a> Turn<'a> {
    fn new(tty: &'a Tty, options: &'a Options, screen: &'a mut dyn Screen) -> io::Result<Self> {
        let (width, height) = tty.size();
        let outlet = Outlet::new(tty)?;
        terminal::enter(tty, options.mouse)?;
        let mut turn = Self {
            painter: Painter::new(width, height, options.capabilities.depth, options.capabilities.glyphs),
            outlet,
            pacer: Pacer::new(options.frame_gap),
            reader: None,
            link: None,
            early: VecDeque::new(),
            config_rx: None,
            editing: None,
            tasks: JoinSet::new(),
            due: Due::Now,
            exit: None,
            asked: false,
            synchronized: false,
            suspended: false,
            screen,
            options,
            tty,
        };
        turn.feed(Event::Resize { width, height });
        if let Some(greeting) = &options.greeting {
            turn.feed(Event::Notice(greeting.clone()));
        }
        Ok(turn)
    }

    fn start_reading(&mut self) -> io::Result<()> {
        self.reader = Some(Reader::start(self.tty, self.options.esc_wait)?);
        // After the first frame, so that no terminal's silence can delay it.
        self.send(QUESTIONS);
        self.asked = true;
        Ok(())
    }

    async fn go<T>(
        &mut self,
        mut signals: Signals,
        mut connected_rx: oneshot::Receiver<io::Result<(Attached, T)>>,
        kept: &mut Option<T>,
        requests: &mut Option<tokio::sync::mpsc::Sender<Request>>,
    ) -> Exit {
        let mut connecting = true;
        loop {
            if let Some(exit) = self.exit {
                return exit;
            }
            self.draw_if_due();
            let frame_wait = self.frame_wait();
            let wake = self.wake_wait();
            tokio::select! {
                biased;
                _ = signals.hangup.recv() => return Exit::HungUp,
                _ = signals.terminate.recv() => return Exit::Terminated,
                // An editor in the foreground shares its Ctrl-C with us.
                _ = signals.interrupt.recv() => if self.editing.is_none() { return Exit::Interrupted },
                _ = signals.stop.recv() => self.suspend(),
                _ = signals.resume.recv() => self.resumed(),
                _ = signals.resize.recv() => self.resized(),
                input = receive(&mut self.reader) => self.read(input),
                drained = self.outlet.drained(), if !self.outlet.is_idle() => match drained {
                    Ok(took) => self.pacer.taken(took),
                    Err(_) => return Exit::HungUp,
                },
                () = sleep(frame_wait) => {}
                inbound = inbound(&mut self.link) => self.inbound(inbound),
                connected = &mut connected_rx, if connecting => {
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
                () = sleep(wake) => self.feed(Event::Wake),
            }
        }
    }

    /// Folds an event in and carries out what it leads to.
    fn feed(&mut self, event: Event) {
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

    fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Request(request) => return self.request(request),
            Effect::Copy { text, what } => return self.copy(text, &what),
            Effect::OpenEditor { incident, text } => return self.edit(incident, &text),
            Effect::Redraw => {
                self.painter.forget();
                self.due = Due::Now;
            }
            Effect::Mouse(on) => self.send(terminal::mouse_bytes(on)),
            Effect::KeepTheme(name) => {
                let path = self.options.state_dir.join(THEME_FILE);
                return self.task(move || match clipboard::write_private(&path, &format!("{name}\n")) {
                    Ok(()) => Event::Notice(Notice { severity: NoticeSeverity::Info, text: format!("theme `{name}`") }),
                    Err(error) => Event::Failed(format!("could not keep the theme in `{}`: {error}", path.display())),
                });
            }
            Effect::Suspend if terminal::can_suspend() => self.suspend(),
            Effect::Suspend => {
                return Some(warn("no shell to come back from: suspend is off".into()));
            }
            Effect::Quit => self.exit = Some(Exit::Quit),
            // The screen keeps these to itself.
            Effect::Notice(notice) => return Some(Event::Notice(notice)),
            Effect::Focus(_) | Effect::Confirm { .. } => {}
        }
        None
    }

    fn request(&mut self, request: Request) -> Option<Event> {
        let Some(link) = &self.link else {
            if self.early.len() == LINK_REQUESTS_MAX {
                self.early.pop_front();
            }
            self.early.push_back(request);
            return None;
        };
        match link.requests_tx.try_send(request) {
            Ok(()) => None,
            Err(TrySendError::Full(_)) => Some(Event::Failed("too busy for that; press the key again".into())),
            Err(TrySendError::Closed(_)) => Some(Event::Failed("the services have ended; restart hotseat".into())),
        }
    }

    fn copy(&mut self, text: String, what: &str) -> Option<Event> {
        let sequence = clipboard::sequence(&text);
        let (sent, multiplexed) = (sequence.is_some(), self.options.capabilities.multiplexed);
        if let Some(sequence) = sequence {
            self.send(&sequence);
        }
        let (state_dir, what) = (self.options.state_dir.clone(), what.to_string());
        self.task(move || {
            let kept = clipboard::keep(&state_dir, &text);
            let severity = if kept.is_ok() { NoticeSeverity::Info } else { NoticeSeverity::Warn };
            let text = clipboard::notice(&what, kept.as_deref(), sent, multiplexed);
            Event::Notice(Notice { severity, text })
        })
    }

    fn task(&mut self, work: impl FnOnce() -> Event + Send + 'static) -> Option<Event> {
        if self.tasks.len() >= TASKS_MAX {
            return Some(warn("the disk is too slow for that; try again".into()));
        }
        self.tasks.spawn_blocking(work);
        None
    }

    fn edit(&mut self, incident: Option<IncidentId>, text: &str) -> Option<Event> {
        if self.editing.is_some() {
            return None;
        }
        // Really stopped, not only left alone: otherwise it would steal keys from the editor.
        if let Some(reader) = self.reader.take() {
            reader.stop();
        }
        terminal::leave();
        match Handoff::start(&self.options.state_dir, text) {
            Ok(handoff) => {
                self.editing = Some(Editing { handoff, incident });
                None
            }
            Err(error) => {
                self.take_back();
                Some(Event::EditorClosed { incident, text: Err(error) })
            }
        }
    }

    fn editor_closed(&mut self, text: Result<String, String>) {
        let Some(editing) = self.editing.take() else { return };
        self.take_back();
        self.feed(Event::EditorClosed { incident: editing.incident, text });
        self.due = Due::Now;
    }

    /// Takes the terminal over again after somebody else had it.
    fn take_back(&mut self) {
        let back = terminal::enter(self.tty, self.options.mouse).and_then(|()| {
            if self.reader.is_none() {
                self.reader = Some(Reader::start(self.tty, self.options.esc_wait)?);
            }
            Ok(())
        });
        if let Err(error) = back {
            tracing::error!("the terminal could not be taken back: {error}");
            self.exit = Some(Exit::HungUp);
        }
        self.painter.forget();
        self.due = Due::Now;
        self.resized();
    }

    fn suspend(&mut self) {
        self.suspended = true;
        if self.editing.is_none() {
            terminal::leave();
        }
        // Returns when somebody continued us; SIGCONT then takes the terminal back.
        if let Err(error) = terminal::stop_job() {
            tracing::error!("could not stop: {error}");
            self.resumed();
        }
    }

    fn resumed(&mut self) {
        self.suspended = false;
        if self.editing.is_some() {
            return;
        }
        self.take_back();
        self.feed(Event::Resumed);
    }

    fn resized(&mut self) {
        let (width, height) = self.tty.size();
        let area = self.painter.area();
        if (area.width, area.height) != (width, height) {
            self.painter.resize(width, height);
            self.feed(Event::Resize { width, height });
            self.due = self.due.max(Due::NextFrame);
        }
    }

    fn read(&mut self, input: Option<Input>) {
        let mut next = input;
        if next.is_none() {
            self.exit = Some(Exit::HungUp);
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
        for _ in 0..INBOUND_DRAIN_MAX {
            let Some(inbound) = next else { return };
            self.feed(Event::Inbound(inbound));
            next = self.link.as_mut().and_then(|it| it.facts_rx.try_recv().ok());
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
        if due && self.may_draw() {
            self.draw();
        }
    }

    fn draw(&mut self) {
        let now = clock::now();
        let mut bytes = Vec::new();
        let screen = &*self.screen;
        self.painter.frame(&mut bytes, |area, buf| screen.view(now, area, buf));
        self.due = Due::Nothing;
        self.pacer.drawn(clock::monotonic());
        if !bytes.is_empty() {
            self.send(&bytes);
            if self.outlet.is_idle() {
                self.pacer.taken(Duration::ZERO);
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.outlet.send(bytes) {
            tracing::info!("the terminal cannot be written any more: {error}");
            self.exit = Some(Exit::HungUp);
        }
    }

    fn frame_wait(&self) -> Option<Duration> {
        (self.due != Due::Nothing && self.may_draw()).then(|| self.pacer.wait(clock::monotonic()))
    }

    fn wake_wait(&self) -> Option<Duration> {
        let now = clock::now();
        let wake = self.screen.next_wake(now)?;
        Some(Duration::try_from(wake.duration_since(now)).unwrap_or(Duration::ZERO).max(WAKE_MIN))
    }

    /// Brings an unfinished hand-off home and gives the terminal back.
    fn close(&mut self, exit: Exit) {
        if let Some(editing) = self.editing.take() {
            self.feed(Event::EditorClosed { incident: editing.incident, text: editing.handoff.text() });
        }
        if exit == Exit::HungUp {
            // Nothing may be written to a terminal that is gone: it could block or hit whoever has the device now.
            terminal::abandon();
        } else if self.asked {
            terminal::leave_unanswered(self.tty);
        } else {
            terminal::leave();
        }
        self.reader = None;
    }
}

/// Remembers the chosen theme in the state directory.
pub const THEME_FILE: &str = "theme";

fn warn(text: String) -> Event {
    Event::Notice(Notice { severity: NoticeSeverity::Warn, text })
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
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
