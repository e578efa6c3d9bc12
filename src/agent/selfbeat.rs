//! Says to a dead man's switch that the agent is well, as long as it is.
//!
//! The switch raises the alarm when nothing comes: when this host, its network, the agent or one of its parts is gone.
//! So nothing is sent while the scheduler, the store or the outbox is not well.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::HeaderMap;
use tokio_util::sync::CancellationToken;

use crate::agent::metrics::Own;
use crate::clock;
use crate::config::agent::Beat;
use crate::runtime::observer::Observer;
use crate::service::notify::http::Call;

/// What one beat gets. The next is due soon.
const SEND_DEADLINE: Duration = Duration::from_secs(15);

/// What came of the beats. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Beats {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    taken_at: Option<Timestamp>,
    failures: u32,
    withheld: bool,
}

impl Beats {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the agent shows of itself.
    pub fn own(&self, since: Timestamp) -> Own {
        let state = self.state();
        Own { since, beat_at: state.taken_at, beat_failures: state.failures }
    }

    /// Beats until `cancel`.
    pub async fn run(self, observer: Observer, beat: Beat, cancel: CancellationToken) {
        loop {
            // A switch that hangs, and a part that does: neither keeps the agent from anything.
            let due = clock::timer() + beat.every;
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.once(&observer, &beat) => {}
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }

    async fn once(&self, observer: &Observer, beat: &Beat) {
        if let Some(trouble) = observer.vitals().await.trouble() {
            if !std::mem::replace(&mut self.state().withheld, true) {
                tracing::warn!(why = trouble, "no beat is sent while the agent is not well");
            }
            return;
        }
        let url = beat.endpoint.url.clone();
        let call = Call { method: Method::GET, url, headers: HeaderMap::new(), body: String::new() };
        let sent = beat.endpoint.send(call, clock::timer() + SEND_DEADLINE).await;
        let mut state = self.state();
        let was_withheld = std::mem::replace(&mut state.withheld, false);
        match sent {
            Ok(_) => {
                let failures = std::mem::take(&mut state.failures);
                let is_first = state.taken_at.replace(clock::now()).is_none();
                if is_first || was_withheld || failures > 0 {
                    tracing::info!(to = beat.endpoint.shown(), failures, "beat taken");
                }
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                if state.failures == 1 {
                    tracing::error!(why = error.text, "could not send a beat; it is tried again");
                }
            }
        }
    }
}
