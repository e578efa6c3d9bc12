//! The terminal device: what is done to it at the start and undone at every end.
//!
//! The device is opened afresh, so that keys work while stdin is a pipe of logs, and so that its
//! non-blocking mode does not leak into the shell through a shared file description.
//! What must be undone is kept in one place outside all tasks: a panic hook has no other way to reach it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::termios::{
    OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
};

use crate::clock;

/// How long leaving may wait for a terminal that takes no bytes: part of the second in which every exit ends.
const FAREWELL_WAIT: Duration = Duration::from_millis(200);
/// A terminal that does not tell its size is taken for the classic one.
const DEFAULT_SIZE: (u16, u16) = (80, 24);
/// Past this a size is a mistake; two buffers of it are still only a few dozen MiB.
const SIZE_MAX: (u16, u16) = (1000, 500);

const ENTER: &[u8] = b"\x1b[?1049h\x1b[r\x1b[m\x1b[?25l\x1b[?2004h";
const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &[u8] = b"\x1b[?1006l\x1b[?1000l";
// CAN first: a frame may have been torn inside a sequence. Then the frame's end, the region, the style, our modes.
const LEAVE: &[u8] = b"\x18\x1b[?2026l\x1b[r\x1b[m\x1b[?1006l\x1b[?1000l\x1b[?2004l\x1b[?25h\x1b[?1049l";

/// The terminal device, opened for this screen alone.
#[derive(Debug, Clone)]
pub struct Tty {
    fd: Arc<OwnedFd>,
}

impl Tty {
    /// Opens the controlling terminal.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open("/dev/tty", flags, Mode::empty())?;
        Ok(Self { fd: Arc::new(fd) })
    }

    /// Another handle on the same open device.
    ///
    /// # Errors
    /// When this process has no file descriptor left.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }

    /// Columns and rows, by one system call; never by running `tput` or asking the terminal.
    pub fn size(&self) -> (u16, u16) {
        match tcgetwinsize(&*self.fd) {
            Ok(it) if it.ws_col > 0 && it.ws_row > 0 => (it.ws_col.min(SIZE_MAX.0), it.ws_row.min(SIZE_MAX.1)),
            _ => DEFAULT_SIZE,
        }
    }
}

impl AsFd for Tty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

struct Entered {
    tty: Tty,
    saved: Termios,
    /// The mode that it has while it is ours, as the device took it.
    ours: Termios,
    mouse: bool,
}

/// What every way out undoes; `None` while the shell has the terminal.
static ENTERED: Mutex<Option<Entered>> = Mutex::new(None);

/// Takes the terminal over: raw mode, alternate screen, bracketed paste, no cursor.
///
/// Taken again after a stop that nobody announced (SIGSTOP), it keeps what was saved the first time.
///
/// # Errors
/// When the device is gone or takes no bytes.
pub fn enter(tty: &Tty, mouse: bool) -> io::Result<()> {
    let mut entered = ENTERED.lock().unwrap_or_else(PoisonError::into_inner);
    let saved = match &*entered {
        Some(before) => before.saved.clone(),
        None => tcgetattr(tty)?,
    };
    let mut raw = saved.clone();
    raw.make_raw();
    tcsetattr(tty, OptionalActions::Now, &raw)?;
    let ours = tcgetattr(tty).unwrap_or(raw);
    *entered = Some(Entered { tty: tty.clone(), saved, ours, mouse });
    write_within(tty.as_fd(), ENTER, FAREWELL_WAIT)?;
    if mouse {
        write_within(tty.as_fd(), MOUSE_ON, FAREWELL_WAIT)?;
    }
    Ok(())
}

/// The bytes that switch mouse reporting; remembered for the next [`enter`] of a suspended screen.
pub fn mouse_bytes(on: bool) -> &'static [u8] {
    if let Some(it) = ENTERED.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        it.mouse = on;
    }
    if on { MOUSE_ON } else { MOUSE_OFF }
}

/// Gives the terminal back as it was found. Does nothing when it was given back already.
pub fn leave() {
    let entered = ENTERED.lock().unwrap_or_else(PoisonError::into_inner).take();
    entered.into_iter().for_each(give_back);
}

/// Gives the terminal back and throws away answers of the terminal that would be typed into the shell.
pub fn leave_unanswered(tty: &Tty) {
    leave();
    // A device that is gone has nothing to throw away.
    let _ = tcflush(tty, QueueSelector::IFlush);
}

/// Gives the terminal back after a hang-up, when it is still there: somebody may have sent the signal by hand.
///
/// Nothing is written to one that is gone, or that a shell has taken: that would stop us, or hit whoever has it now.
pub fn leave_if_there(tty: &Tty) {
    if tcgetattr(tty).is_ok() && is_in_foreground(tty) {
        return leave();
    }
    ENTERED.lock().unwrap_or_else(PoisonError::into_inner).take();
}

/// True when somebody else changed the mode that [`enter`] has set, and it is ours to set again.
///
/// Programs that share the terminal can do so, and those that put back at their end what they found at their start.
pub fn was_changed(tty: &Tty) -> bool {
    let entered = ENTERED.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(Entered { ours, .. }) = &*entered else { return false };
    tcgetattr(tty).is_ok_and(|now| !is_same_mode(&now, ours)) && is_in_foreground(tty)
}

fn is_same_mode(left: &Termios, right: &Termios) -> bool {
    let flags = |it: &Termios| (it.input_modes, it.output_modes, it.control_modes, it.local_modes);
    let counts = |it: &Termios| [SpecialCodeIndex::VMIN, SpecialCodeIndex::VTIME].map(|code| it.special_codes[code]);
    flags(left) == flags(right) && counts(left) == counts(right)
}

/// True when the terminal's keys are for our process group; who sets its mode from behind is stopped.
fn is_in_foreground(tty: &Tty) -> bool {
    tcgetpgrp(tty).is_ok_and(|it| it == getpgrp())
}

fn give_back(entered: Entered) {
    // Whatever of this fails, the rest is still worth trying and nobody is left to tell.
    let _ = write_within(entered.tty.as_fd(), LEAVE, FAREWELL_WAIT);
    let _ = tcsetattr(&entered.tty, OptionalActions::Now, &entered.saved);
}

/// Writes all bytes to a non-blocking device, or gives up after `wait`.
fn write_within(fd: BorrowedFd<'_>, mut bytes: &[u8], wait: Duration) -> io::Result<()> {
    let deadline = clock::monotonic() + wait;
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let left = deadline.saturating_duration_since(clock::monotonic());
                if left.is_zero() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
                match poll(&mut [PollFd::new(&fd, PollFlags::OUT)], Some(&timeout)) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Makes panics leave a sane terminal. The calling thread becomes the screen's thread.
///
/// A panic of the screen's thread gives the terminal back before the message is printed. A panic anywhere else
/// is written to the log file only: its task is reported by who started it, and text on the screen would tear it.
pub fn install_panic_hook() {
    static SCREEN: OnceLock<ThreadId> = OnceLock::new();
    if SCREEN.set(std::thread::current().id()).is_err() {
        return;
    }
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        tracing::error!(thread = thread.name().unwrap_or("?"), "{panic}");
        // The screen's thread may hold the lock while it panics; then there is nothing safe to do.
        let Ok(mut entered) = ENTERED.try_lock() else { return };
        if SCREEN.get() == Some(&thread.id()) {
            entered.take().into_iter().for_each(give_back);
        }
        if entered.is_none() {
            drop(entered);
            print(panic);
        }
    }));
}

/// True when a shell with job control stands above us, so that stopping is not the end.
///
/// `ssh -t host hotseat` has none: stopped there, nobody could ever continue us.
pub fn can_suspend() -> bool {
    // A shell with job control gives each job a process group of its own; the session's own group is the shell's.
    let Some(own) = Standing::of("self") else { return false };
    own.group != own.session && Standing::of(&own.parent.to_string()).is_some_and(|it| it.session == own.session)
}

/// Where a process stands among the others: the ids are those of our own pid namespace, and never 0.
///
/// Read from `/proc`, because `getsid` answers 0 for a session that was begun outside the namespace (any
/// container that was entered with a terminal from outside), and rustix takes no such id.
struct Standing {
    parent: u32,
    group: u32,
    session: u32,
}

impl Standing {
    /// `None` without `/proc`, for a process that is gone, and when its parent, group or session is not of this namespace.
    fn of(process: &str) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        Self::parse(&stat)
    }

    /// The fields of `proc_pid_stat(5)`; the name in front may hold spaces and parentheses itself.
    fn parse(stat: &str) -> Option<Self> {
        let mut ids =
            stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(1).map(|it| it.parse().ok().filter(|it| *it > 0));
        Some(Self { parent: ids.next()??, group: ids.next()??, session: ids.next()?? })
    }
}

/// Stops this job: all processes of the group, since `cargo run` or a wrapper may stand between the shell and us.
///
/// Returns when somebody continued it.
///
/// # Errors
/// When the signal could not be sent.
pub fn stop_job() -> io::Result<()> {
    Ok(rustix::process::kill_current_process_group(rustix::process::Signal::STOP)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_stands_where_its_stat_line_says() {
        let standing = Standing::parse("17 (a (b) c) S 12 17 9 34816 17 4194304 1").expect("stands");
        assert_eq!((standing.parent, standing.group, standing.session), (12, 17, 9));
    }

    #[test]
    fn a_session_begun_outside_the_pid_namespace_is_none_of_ours() {
        assert!(Standing::parse("17 (hotseat) S 12 17 0 34816 17 4194304 1").is_none());
        assert!(Standing::parse("17 (hotseat) S 0 17 17 34816 17 4194304 1").is_none());
        assert!(Standing::parse("garbage").is_none());
    }
}
