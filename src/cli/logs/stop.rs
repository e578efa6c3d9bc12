//! What ends `hotseat logs` before it is done: a signal, or that nobody reads any more.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use tokio::signal::unix::{SignalKind, signal};

use crate::logstore::engine::Engine;

/// A reader that takes nothing (a pager that waits) keeps a write waiting: after a signal it gets this long.
const PATIENCE: Duration = Duration::from_secs(1);
const GOING: u8 = 0;
/// No signal has this number.
const UNREAD: u8 = u8::MAX;

/// Whether to stop, and why.
#[derive(Clone, Default)]
pub struct Stop {
    /// `GOING`, `UNREAD` or the number of a signal.
    why: Arc<AtomicU8>,
}

impl Stop {
    /// Watches for SIGINT, SIGTERM and SIGHUP from now on. Must be called inside a tokio runtime.
    ///
    /// Whatever waits for the engine is woken. When the output is stuck, the process ends all the same.
    pub fn on_signals(&self, engine: &Arc<Engine>) {
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            // Without a handler the signal ends the process at once, which is what it asks for.
            let Ok(mut signals) = signal(kind) else { continue };
            let (stop, engine) = (self.clone(), engine.clone());
            let number = u8::try_from(kind.as_raw_value()).unwrap_or(1);
            tokio::spawn(async move {
                if signals.recv().await.is_none() {
                    return;
                }
                stop.why.store(number, Ordering::Release);
                engine.grew();
                tokio::time::sleep(PATIENCE).await;
                std::process::exit(i32::from(128 + number));
            });
        }
    }

    /// Notices that the reader of standard output is gone also while there is nothing to write.
    ///
    /// Costs a thread that sleeps in the kernel.
    pub fn when_unread(&self, engine: &Arc<Engine>) {
        let (stop, engine) = (self.clone(), engine.clone());
        // Without the thread the next write notices.
        let _ = std::thread::Builder::new().name("reader-gone".into()).spawn(move || {
            let stdout = rustix::stdio::stdout();
            loop {
                let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
                match poll(&mut fds, None) {
                    Ok(_) if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => break,
                    Err(rustix::io::Errno::INTR) => {}
                    _ => return,
                }
            }
            let _ = stop.why.compare_exchange(GOING, UNREAD, Ordering::AcqRel, Ordering::Acquire);
            engine.grew();
        });
    }

    /// True when printing has to end.
    pub fn is_set(&self) -> bool {
        self.why.load(Ordering::Acquire) != GOING
    }

    /// The exit code that tells why, when something ended it.
    pub fn exit_code(&self) -> Option<ExitCode> {
        match self.why.load(Ordering::Acquire) {
            GOING => None,
            // Who reads no further has got what they wanted.
            UNREAD => Some(ExitCode::SUCCESS),
            // 128 plus the signal, as shells have it.
            number => Some(ExitCode::from(128_u8.saturating_add(number))),
        }
    }
}
