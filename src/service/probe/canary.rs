//! Asks the canaries whether this host is cut off, before a failure of something far away is counted.
//!
//! A failure is told when a canary that began after it has answered, or every canary has failed: never on
//! the ground of what a canary saw before. A storm asks once a second, not once for each probe.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::clock;
use crate::domain::ids::ProbeId;
use crate::domain::probe::outcome::ProbeResult;

/// A canary does not run more often than this for the sake of others: it stands on somebody else's host.
pub(super) const SPACING: Duration = Duration::from_secs(1);
/// How long after its deadline a canary's answer is waited for; then a failure counts: better a page than silence.
const OVERRUN: Duration = Duration::from_secs(3);

/// What the canaries saw.
pub(super) struct Canaries {
    seen: watch::Sender<HashMap<ProbeId, Seen>>,
    wanted: watch::Sender<()>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    timeout: Duration,
    begun: Option<Instant>,
    failed: bool,
}

impl Canaries {
    pub(super) fn new() -> Self {
        Self { seen: watch::Sender::default(), wanted: watch::Sender::default() }
    }

    /// Takes the canaries of a config, with their deadlines; what is known of them stays.
    pub(super) fn configure(&self, canaries: &HashMap<ProbeId, Duration>) {
        self.seen.send_modify(|seen| {
            seen.retain(|probe, _| canaries.contains_key(probe));
            for (probe, timeout) in canaries {
                seen.entry(probe.clone()).or_insert(Seen { timeout: *timeout, begun: None, failed: false }).timeout =
                    *timeout;
            }
        });
    }

    /// Wakes a canary when somebody wants to know.
    pub(super) fn wanted(&self) -> watch::Receiver<()> {
        self.wanted.subscribe()
    }

    /// A canary's run, begun then, has ended.
    pub(super) fn saw(&self, probe: &ProbeId, begun_at: Instant, result: ProbeResult) {
        self.seen.send_modify(|seen| {
            if let Some(seen) = seen.get_mut(probe) {
                seen.begun = Some(begun_at);
                seen.failed = result == ProbeResult::Fail;
            }
        });
    }

    /// Has the canaries look; true when every one of them fails.
    pub(super) async fn find_cut_off(&self) -> bool {
        let asked_at = clock::timer();
        let patience = match self.seen.borrow().values().map(|it| it.timeout).max() {
            Some(timeout) => timeout + SPACING + OVERRUN,
            None => return false,
        };
        let mut seen_rx = self.seen.subscribe();
        self.wanted.send_replace(());
        let verdict = async {
            loop {
                {
                    let seen = seen_rx.borrow_and_update();
                    let is_fresh = |it: &Seen| it.begun.is_some_and(|it| it >= asked_at);
                    if seen.values().any(|it| is_fresh(it) && !it.failed) || seen.is_empty() {
                        return false;
                    }
                    if seen.values().all(is_fresh) {
                        return true;
                    }
                }
                if seen_rx.changed().await.is_err() {
                    return false;
                }
            }
        };
        timeout(patience, verdict).await.unwrap_or(false)
    }
}
