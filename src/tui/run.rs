//! The loop: keys, facts and answers into the screen, its effects out, frames to the terminal.
//!
//! One task on a thread and a runtime of its own, so that no service can keep it waiting. It waits for
//! nothing but the next thing to happen: sends are tried, never awaited, drains are bounded, keys come
//! first, and nothing is drawn unless something changed. While nothing happens it sleeps without a timer.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::app::effect::{Effect, Notice};
use crate::app::event::Event;
use crate::clock;
use crate::config::Config;
use crate::domain::request::Request;
use crate::runtime::Link;
use crate::tui::capabilities::Capabilities;
use crate::tui::event_loop::{EventLoop, Signals};
use crate::tui::screen::Screen;
use crate::tui::terminal::{self, Tty};

/// Remembers the chosen theme in the state directory.
pub const THEME_FILE: &str = "theme";

/// What a copy or a choice that is being written gets at the end: a disk that hangs must not keep the terminal.
const TASKS_WAIT: Duration = Duration::from_millis(200);

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
    /// SIGQUIT from outside.
    Aborted,
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
            Self::Aborted => 131,
            Self::Terminated => 143,
            Self::HungUp => 129,
            Self::Panicked => 3,
        }
    }
}

/// A runtime that is being started on a thread of its own.
pub struct Connecting<T> {
    connected_rx: oneshot::Receiver<io::Result<(Attached, T)>>,
}

impl<T: Send + 'static> Connecting<T> {
    /// Begins. The screen is prepared meanwhile, on another core where there is one: the newest rows wait for both.
    ///
    /// # Errors
    /// When no thread could be started.
    pub fn start(connect: impl FnOnce() -> io::Result<(Attached, T)> + Send + 'static) -> io::Result<Self> {
        let (connected_tx, connected_rx) = oneshot::channel();
        std::thread::Builder::new().name("connect".into()).spawn(move || {
            // The loop is gone when the person was faster; then nobody needs it.
            let _ = connected_tx.send(connect());
        })?;
        Ok(Self { connected_rx })
    }
}

/// Shows the screen until it ends.
///
/// The first frame waits for nothing that `connecting` does.
/// What it keeps alive besides comes back with the reason of the end; `None` when it was not done by then.
///
/// # Errors
/// When there is no terminal or it cannot be prepared.
pub fn run<T: Send + 'static>(
    tty: &Tty,
    options: Options,
    screen: &mut dyn Screen,
    connecting: Connecting<T>,
) -> io::Result<(Exit, Option<T>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    terminal::install_panic_hook();
    let mut kept = None;
    // Outside of the loop: what comes through may hold a runtime, which must not be dropped inside of one.
    let mut connected_rx = connecting.connected_rx;
    let mut requests = None;
    // The screen outlives a panic of the loop, so that unsaved text can still be asked of it.
    let ran = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let signals = Signals::new()?;
            let mut event_loop = EventLoop::new(tty, &options, screen)?;
            event_loop.draw();
            event_loop.start_reading()?;
            let ended = event_loop.go(signals, &mut connected_rx, &mut kept, &mut requests).await;
            event_loop.close(ended);
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
    runtime.shutdown_timeout(TASKS_WAIT);
    if kept.is_none() {
        // Connected in the last moment: it is shut down like any other.
        kept = connected_rx.try_recv().ok().and_then(Result::ok).map(|(_, it)| it);
    }
    Ok((exit, kept))
}

/// Asks the screen for unsaved text and hands it to the runtime, which saves before it ends.
fn farewell(screen: &mut dyn Screen, requests: Option<mpsc::Sender<Request>>) {
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
