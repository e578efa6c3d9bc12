//! Sends frames to the terminal without ever waiting inside the loop.
//!
//! The device does not block: what it does not take stays here and goes out when it has room again, while
//! keys, signals and facts go on being served. No new frame is made meanwhile, so a slow link gets fewer
//! frames, each of them the newest.

use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::net::unix::pipe;

use crate::clock;
use crate::tui::terminal::Tty;

/// The way to the terminal and what still has to go there.
#[derive(Debug)]
pub struct Outlet {
    tty: Tty,
    // A terminal is watched like the writing end of a pipe: tokio has no other safe way to watch a descriptor.
    room: pipe::Sender,
    waiting: Vec<u8>,
    sent: usize,
    since: Instant,
}

impl Outlet {
    /// Opens the way. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the device cannot be watched.
    pub fn new(tty: &Tty) -> io::Result<Self> {
        let room = pipe::Sender::from_owned_fd_unchecked(tty.duplicate()?)?;
        Ok(Self { tty: tty.clone(), room, waiting: Vec::new(), sent: 0, since: clock::monotonic() })
    }

    /// True when everything was taken.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends bytes after those that wait. One `write` when the terminal keeps up.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.waiting.is_empty() {
            self.since = clock::monotonic();
        }
        self.waiting.extend_from_slice(bytes);
        self.write()
    }

    /// Waits until everything was taken and says how long that took. May be dropped and called again.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub async fn drained(&mut self) -> io::Result<Duration> {
        while !self.is_idle() {
            self.room.writable().await?;
            // Through tokio, which forgets that there was room when there is none any more.
            match self.room.try_write(&self.waiting[self.sent..]) {
                Ok(count) => self.took(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(clock::monotonic().saturating_duration_since(self.since))
    }

    /// Drops what waits: the terminal is somebody else's now.
    pub fn forget(&mut self) {
        self.waiting.clear();
        self.sent = 0;
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.is_idle() {
            match rustix::io::write(&self.tty, &self.waiting[self.sent..]) {
                Ok(count) => self.took(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn took(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.waiting.len() {
            self.forget();
        }
    }
}
