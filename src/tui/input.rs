//! Reads the terminal on a thread of its own: bytes in, parsed input out.
//!
//! The thread sleeps in `poll` without a timeout while nothing is half read, so an idle screen wakes
//! nobody. A terminal that went away is noticed by `poll` itself (SIGHUP does not arrive under nohup, sudo
//! or setsid) and ends the thread: it never spins. Stopping the reader really stops it, so that an editor
//! that is handed the terminal gets every key.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::mpsc;

use crate::tui::parser::{Input, Parser, Pending};
use crate::tui::terminal::Tty;

/// How long a lone `ESC` may be the start of something: as vim and tmux have it, between a link's jitter and a finger's pace.
pub const ESC_WAIT: Duration = Duration::from_millis(40);
/// How long the rest of a sequence or character may take; a torn reply must not swallow keys for longer.
const SEQUENCE_WAIT: Duration = Duration::from_millis(400);
/// How long a paste may pause. Slow links pause; a lost end must not swallow keys for ever.
const PASTE_WAIT: Duration = Duration::from_secs(3);
/// Input that may wait for the loop: more than a person types in a second. Past that the device keeps the rest.
const INPUT_MAX: usize = 256;
/// Bytes taken from the device at once; the kernel keeps at most 4 KiB of a terminal's input.
const READ_BYTES: usize = 4096;

/// The reading thread and what it has read.
#[derive(Debug)]
pub struct Reader {
    input_rx: mpsc::Receiver<Input>,
    // Closing it wakes the thread out of `poll`.
    stop_tx: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts to read.
    ///
    /// # Errors
    /// When there is no room for another thread or descriptor.
    pub fn start(tty: &Tty, esc_wait: Duration) -> io::Result<Self> {
        let (stop_rx, stop_tx) = pipe_with(PipeFlags::CLOEXEC)?;
        let (input_tx, input_rx) = mpsc::channel(INPUT_MAX);
        let tty = tty.clone();
        let thread = std::thread::Builder::new().name("input".into()).spawn(move || {
            if let Err(error) = read(&tty, &stop_rx, esc_wait, &input_tx) {
                tracing::info!("the terminal cannot be read any more: {error}");
            }
        })?;
        Ok(Self { input_rx, stop_tx: Some(stop_tx), thread: Some(thread) })
    }

    /// Waits for the next input; `None` when the terminal is gone.
    pub async fn recv(&mut self) -> Option<Input> {
        self.input_rx.recv().await
    }

    /// The next input if it is there already.
    pub fn try_recv(&mut self) -> Option<Input> {
        self.input_rx.try_recv().ok()
    }

    /// Stops reading. What was typed but not read stays in the device, for whoever reads it next.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Closed first: the thread may be waiting for room in the channel.
        self.input_rx.close();
        self.stop_tx = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it was written to the log by the hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.end();
    }
}

fn read(tty: &Tty, stop_rx: &OwnedFd, esc_wait: Duration, input_tx: &mpsc::Sender<Input>) -> io::Result<()> {
    let mut parser = Parser::default();
    let mut bytes = [0u8; READ_BYTES];
    let mut inputs = Vec::new();
    loop {
        let wait = parser.pending().map(|it| match it {
            Pending::Esc => esc_wait,
            Pending::Sequence => esc_wait.max(SEQUENCE_WAIT),
            Pending::Paste => PASTE_WAIT,
        });
        let wait = wait.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        let mut fds = [PollFd::from_borrowed_fd(tty.as_fd(), PollFlags::IN), PollFd::new(stop_rx, PollFlags::empty())];
        let ready = match poll(&mut fds, wait.as_ref()) {
            Ok(ready) => ready,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if !fds[1].revents().is_empty() {
            return Ok(());
        }
        if ready == 0 {
            parser.timed_out(&mut inputs);
        } else {
            // Also when only HUP or ERR is set: reading says which of the two ends it is.
            match rustix::io::read(tty, &mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => parser.feed(&bytes[..count], &mut inputs),
                Err(Errno::INTR) => {}
                // Hung up, yet nothing to read: waiting again would spin.
                Err(Errno::AGAIN) if fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for input in inputs.drain(..) {
            if input_tx.blocking_send(input).is_err() {
                return Ok(());
            }
        }
    }
}
