//! Says to a dead man's switch that the agent is well, as long as it is.
//!
//! The switch raises the alarm when nothing comes: when this host, its network, the agent or one of its parts is gone.
//! So nothing is sent while the scheduler, the store or the outbox is not well, and every screen says why.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::HeaderMap;
use tokio_util::sync::CancellationToken;

use crate::agent::metrics::Own;
use crate::clock;
use crate::config::agent::Beat;
use crate::domain::fact::RuntimeFact;
use crate::runtime::observer::Observer;
use crate::service::notify::http::Call;

/// What one beat gets. The next is due soon.
const SEND_DEADLINE: Duration = Duration::from_secs(15);
/// How soon it is looked again at what is only starting: the switch may be waiting already.
const STARTING_PACE: Duration = Duration::from_secs(1);
/// What fails when no beat is sent or taken, as a screen names it.
const SERVICE: &str = "dead man's switch";

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
    // Which parts screens were told of, that they keep beats from arriving.
    told: Vec<&'static str>,
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
            let begun = clock::timer();
            let is_starting = tokio::select! {
                () = cancel.cancelled() => return,
                is_starting = self.once(&observer, &beat) => is_starting,
            };
            let due = begun + if is_starting { STARTING_PACE.min(beat.every) } else { beat.every };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }

    /// Sends a beat, or says why not; true while the runtime is only starting.
    async fn once(&self, observer: &Observer, beat: &Beat) -> bool {
        let vitals = observer.vitals().await;
        if vitals.are_starting {
            return true;
        }
        if let Some(trouble) = vitals.trouble() {
            if !std::mem::replace(&mut self.state().withheld, true) {
                tracing::warn!(why = trouble, "no beat is sent while the agent is not well");
            }
            let parts = vitals.parts();
            let ill = parts.iter().filter(|(_, it)| !it.is_well()).map(|(name, _)| *name).collect();
            self.tell(observer, ill, format!("no beat is sent, so that it rings: {trouble}"));
            return false;
        }
        let url = beat.endpoint.url.clone();
        let call = Call { method: Method::GET, url, headers: HeaderMap::new(), body: String::new() };
        let sent = beat.endpoint.send(call, clock::timer() + SEND_DEADLINE).await;
        match &sent {
            Ok(_) => self.tell_well(observer),
            Err(error) => {
                self.tell(observer, vec![SERVICE], format!("it takes no beat, and will ring: {}", error.text))
            }
        }
        self.note(beat, sent.map(|_| ()).map_err(|it| it.text));
        false
    }

    /// Remembers and logs what became of a beat.
    fn note(&self, beat: &Beat, sent: Result<(), String>) {
        let mut state = self.state();
        let was_withheld = std::mem::replace(&mut state.withheld, false);
        match sent {
            Ok(()) => {
                let failures = std::mem::take(&mut state.failures);
                let is_first = state.taken_at.replace(clock::now()).is_none();
                if is_first || was_withheld || failures > 0 {
                    tracing::info!(to = beat.endpoint.shown(), failures, "beat taken");
                }
            }
            Err(why) => {
                state.failures = state.failures.saturating_add(1);
                if state.failures == 1 {
                    tracing::error!(why, "could not send a beat; it is tried again");
                }
            }
        }
    }

    /// Tells every screen why no beat arrives, once for the same parts: how long it lasts is no news.
    fn tell(&self, observer: &Observer, ill: Vec<&'static str>, error: String) {
        let mut state = self.state();
        let fact = RuntimeFact::ServiceFailed { service: SERVICE.to_string(), error, retry_s: 0 };
        // Where the queue of facts is full the next beat says it.
        if state.told != ill && observer.tell(fact) {
            state.told = ill;
        }
    }

    /// Tells every screen that beats arrive again, or that none are wanted any more.
    pub fn tell_well(&self, observer: &Observer) {
        let mut state = self.state();
        let fact = RuntimeFact::ServiceWorks { service: SERVICE.to_string() };
        if !state.told.is_empty() && observer.tell(fact) {
            state.told.clear();
        }
    }
}
