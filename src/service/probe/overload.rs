//! Notices when this process does not get to run, so that its own delay is not taken for theirs.
//!
//! While a run is under way a task sleeps a little and looks how much later it woke. An idle host is not woken.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::probe::judge::LAG_SUSPECT;
use crate::domain::probe::outcome::Lack;

/// How often is looked while a run is under way: often enough to see a delay that would count.
const PACE: Duration = Duration::from_millis(25);

/// A lack is looked for before each run for so long after it was met: longer than most probes pause.
const LACK_LASTS: Duration = Duration::from_secs(60);

/// How late this process ran lately, and what its host lacked.
#[derive(Default)]
pub struct Overload {
    under_way: AtomicUsize,
    begun: Notify,
    // The last run under way has ended: there is nothing to look at, and nobody needs to wake up for it.
    idle: Notify,
    // When the last delay that counts ended, and how long it was.
    last: Mutex<Option<(Instant, Duration)>>,
    // What this host lacked last, and when that was found.
    lack: Mutex<Option<(Instant, Lack)>>,
}

/// A run under way.
pub struct UnderWay<'a> {
    overload: &'a Overload,
    begun_at: Instant,
}

impl Overload {
    /// Looks for as long as the service lives. Must be called on a tokio runtime.
    pub fn start(cancel: CancellationToken) -> Arc<Self> {
        let overload = Arc::new(Self::default());
        let watching = Arc::clone(&overload);
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = watching.watch() => {}
            }
        });
        overload
    }

    async fn watch(&self) {
        loop {
            if self.under_way.load(Ordering::Acquire) == 0 {
                self.begun.notified().await;
                continue;
            }
            let due = clock::timer() + PACE;
            tokio::select! {
                () = tokio::time::sleep_until(due) => self.woke(due, clock::timer()),
                () = self.idle.notified() => {}
            }
        }
    }

    fn woke(&self, due: Instant, now: Instant) {
        let delay = now.saturating_duration_since(due);
        if delay > LAG_SUSPECT {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, delay));
        }
    }

    /// A run found now that this host lacks something.
    pub fn lacked(&self, lack: Lack) {
        *self.lack.lock().unwrap_or_else(PoisonError::into_inner) = Some((clock::timer(), lack));
    }

    /// True when a run has found lately that this host lacks something.
    pub fn lacked_lately(&self) -> bool {
        let lack = *self.lack.lock().unwrap_or_else(PoisonError::into_inner);
        lack.is_some_and(|(found_at, _)| clock::timer().saturating_duration_since(found_at) < LACK_LASTS)
    }

    /// A run begins.
    pub fn enter(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        self.begun.notify_one();
        UnderWay { overload: self, begun_at: clock::timer() }
    }
}

impl UnderWay<'_> {
    /// How long this process did not get to run meanwhile; nothing when it was too short to count.
    pub fn delay(&self) -> Duration {
        let last = *self.overload.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|(ended_at, _)| *ended_at >= self.begun_at).map(|(_, delay)| delay).unwrap_or_default()
    }

    /// What this host was found to lack meanwhile, by whichever run.
    pub fn lack(&self) -> Option<Lack> {
        let lack = *self.overload.lack.lock().unwrap_or_else(PoisonError::into_inner);
        lack.filter(|(found_at, _)| *found_at >= self.begun_at).map(|(_, lack)| lack)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if self.overload.under_way.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.overload.idle.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_delay_and_a_lack_count_for_the_runs_that_were_under_way() {
        let overload = Overload::default();
        let now = clock::timer();
        let run = overload.enter();
        overload.woke(now, now + Duration::from_millis(40));
        assert_eq!(run.delay(), Duration::ZERO, "too short to count");
        overload.woke(now, now + Duration::from_millis(80));
        assert_eq!(run.delay(), Duration::from_millis(80));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(overload.enter().delay(), Duration::ZERO, "not for the next");
        assert_eq!(run.lack(), None);
        overload.lacked(Lack::Files);
        assert_eq!(run.lack(), Some(Lack::Files));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(overload.enter().lack(), None, "not for the next");
        assert!(overload.lacked_lately());
        tokio::time::advance(LACK_LASTS).await;
        assert!(!overload.lacked_lately());
        drop(run);
        assert_eq!(overload.under_way.load(Ordering::Acquire), 0);
    }
}
