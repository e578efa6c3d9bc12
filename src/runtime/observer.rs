//! Looks at a runtime from outside: what it knows, and whether its parts do their work.
//!
//! An observer holds no runtime alive, so that a server which answers with it never stands in the way of the end.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::clock;
use crate::domain::board::Board;
use crate::domain::fact::{Fact, RuntimeFact};
use crate::domain::probe::tally::Tallies;
use crate::runtime::Shared;
use crate::service::notify::outbox::Pulse;

/// Pings that wait for the fold: a few who look at the same time.
pub(super) const PINGS_MAX: usize = 8;
/// A fold, or a store, that has not answered by then is stuck. Far longer than a commit on a busy disk takes.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// A run that is over its own deadline by so much will not end: a canary that is asked in between takes less.
const PROBE_LATE_MAX: Duration = Duration::from_secs(60);
/// An attempt that could have begun so long ago will not begin.
const OUTBOX_LATE_MAX: Duration = Duration::from_secs(30);
/// A notification that is older than this has not reached anybody who could act on it.
const UNSENT_MAX: SignedDuration = SignedDuration::from_mins(5);

/// How a part of a runtime is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Vital {
    /// It does its work.
    #[default]
    Well,
    /// It answers but cannot do its work, in words: the disk is full, a channel refuses. A new start mends nothing.
    Poor(String),
    /// It does not answer, in words.
    Stuck(String),
}

impl Vital {
    /// True while it does its work.
    pub fn is_well(&self) -> bool {
        *self == Self::Well
    }

    /// Why not, in words.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Well => None,
            Self::Poor(why) | Self::Stuck(why) => Some(why),
        }
    }
}

/// How the parts of a runtime are that nobody can do without.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Facts are folded and probes run when they are due.
    pub scheduler: Vital,
    /// What is decided is kept over a restart.
    pub store: Vital,
    /// Notifications go out.
    pub outbox: Vital,
    /// How long the fold took to answer.
    pub lag: Duration,
    /// What waits in the outbox.
    pub pulse: Pulse,
    /// They do not watch yet: what an earlier run left is being read, or another runtime watches.
    pub are_starting: bool,
}

impl Vitals {
    /// The parts with their names.
    pub fn parts(&self) -> [(&'static str, &Vital); 3] {
        [("scheduler", &self.scheduler), ("store", &self.store), ("outbox", &self.outbox)]
    }

    /// True when all of them do their work.
    pub fn are_well(&self) -> bool {
        self.parts().iter().all(|(_, it)| it.is_well())
    }

    /// True when a new start would help: a part that decides or sends does not answer. A store that does not is no
    /// reason, because what waits for it is in memory only and a new start would lose it.
    pub fn need_restart(&self) -> bool {
        [&self.scheduler, &self.outbox].iter().any(|it| matches!(it, Vital::Stuck(_)))
    }

    /// What is wrong, in one line; `None` when nothing is.
    pub fn trouble(&self) -> Option<String> {
        let parts = self.parts();
        let words: Vec<String> = parts.iter().filter_map(|(name, it)| Some(format!("{name}: {}", it.why()?))).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}

/// Looks at a runtime. Cloning is cheap.
#[derive(Clone)]
pub struct Observer {
    shared: Weak<Shared>,
}

impl Observer {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::downgrade(shared) }
    }

    /// Answers something about what is known; `None` when the runtime has ended. The board waits meanwhile.
    pub fn look<T>(&self, what: impl FnOnce(&Board) -> T) -> Option<T> {
        let shared = self.shared.upgrade()?;
        let board = shared.board();
        Some(what(&board))
    }

    /// Answers something about how long runs took since the start; `None` when the runtime has ended.
    pub fn look_at_tallies<T>(&self, what: impl FnOnce(&Tallies) -> T) -> Option<T> {
        let shared = self.shared.upgrade()?;
        let tallies = shared.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        Some(what(&tallies))
    }

    /// Tells everybody something about the runtime; `false` when it has ended or has no room for it.
    pub fn tell(&self, fact: RuntimeFact) -> bool {
        self.shared.upgrade().is_some_and(|it| it.services.facts.try_send(Fact::Runtime(fact)))
    }

    /// Looks how the parts are. Takes at most a few seconds.
    pub async fn vitals(&self) -> Vitals {
        let Some(shared) = self.shared.upgrade() else {
            let gone = || Vital::Stuck("the runtime has ended".into());
            return Vitals { scheduler: gone(), store: gone(), outbox: gone(), ..Vitals::default() };
        };
        // Before the parts are asked: what begins meanwhile was not there for all of them.
        let are_starting = shared.services.active.get().is_none();
        let ((scheduler, lag), store) = tokio::join!(scheduler(&shared), store(&shared));
        let pulse = shared.services.keeper.get().map(|it| it.outbox.pulse()).unwrap_or_default();
        let outbox = match shared.services.keeper.get() {
            Some(_) => outbox(&shared, pulse, clock::now()),
            None => Vital::Poor("another runtime holds the state directory".into()),
        };
        Vitals { scheduler, store, outbox, lag, pulse, are_starting }
    }
}

async fn scheduler(shared: &Shared) -> (Vital, Duration) {
    let asked = clock::monotonic();
    let (ping_tx, ping_rx) = oneshot::channel();
    let ping = async {
        // Both fail only when the fold is gone.
        let _ = shared.pings_tx.send(ping_tx).await;
        ping_rx.await
    };
    let answered = timeout(ANSWER_DEADLINE, ping).await;
    let lag = clock::monotonic().duration_since(asked);
    let vital = match answered {
        Err(_) => Vital::Stuck(format!("nothing is folded for {} s", lag.as_secs())),
        Ok(Err(_)) => Vital::Stuck("the fold has ended".into()),
        Ok(Ok(())) => match shared.services.active.get() {
            Some(active) => match active.prober.overdue().filter(|(late, _)| *late > PROBE_LATE_MAX) {
                Some((late, probe)) => Vital::Stuck(format!("probe `{probe}` is late by {} s", late.as_secs())),
                None => Vital::Well,
            },
            None if shared.services.keeper.get().is_some() => Vital::Poor("it is starting".into()),
            None => Vital::Poor("another runtime holds the state directory".into()),
        },
    };
    (vital, lag)
}

async fn store(shared: &Shared) -> Vital {
    let Some(keeper) = shared.services.keeper.get() else {
        return Vital::Poor("another runtime holds the state directory".into());
    };
    if timeout(ANSWER_DEADLINE, keeper.flushed()).await.is_err() {
        return Vital::Stuck(format!("it does not answer for {} s", ANSWER_DEADLINE.as_secs()));
    }
    let not_durable = shared.board().not_durable.clone();
    not_durable.map_or(Vital::Well, Vital::Poor)
}

fn outbox(shared: &Shared, pulse: Pulse, now: Timestamp) -> Vital {
    if pulse.overdue > OUTBOX_LATE_MAX {
        return Vital::Stuck(format!("nothing is sent for {} s", pulse.overdue.as_secs()));
    }
    let Some(oldest) = pulse.oldest.filter(|it| now.duration_since(*it) > UNSENT_MAX) else { return Vital::Well };
    let board = shared.board();
    let failing = board.alerts.notifiers().iter().find(|(_, it)| !it.is_well());
    let why = failing.map(|(name, it)| format!(": `{name}`: {}", it.error.as_deref().unwrap_or("it fails")));
    Vital::Poor(format!("{} unsent since {oldest:.0}{}", pulse.open, why.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_start_is_wanted_only_where_it_helps() {
        let stuck = || Vital::Stuck("it does not answer".into());
        let well = Vitals::default();
        assert!(well.are_well() && !well.need_restart() && well.trouble().is_none());
        let full = Vitals { store: Vital::Poor("the disk is full".into()), ..Vitals::default() };
        assert!(!full.are_well() && !full.need_restart());
        assert_eq!(full.trouble().as_deref(), Some("store: the disk is full"));
        assert!(!Vitals { store: stuck(), ..Vitals::default() }.need_restart());
        assert!(Vitals { scheduler: stuck(), ..Vitals::default() }.need_restart());
        assert!(Vitals { outbox: stuck(), ..Vitals::default() }.need_restart());
    }
}
