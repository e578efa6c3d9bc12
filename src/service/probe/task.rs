//! The task of one probe: sleeps until it is due, runs it, says what it found.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::fact::{Actor, Fact};
use crate::domain::ids::ProbeId;
use crate::domain::probe::ProbeFact;
use crate::domain::probe::health::{Health, HealthMachine};
use crate::domain::probe::holding::is_near;
use crate::domain::probe::outcome::{Outcome, ProbeResult};
use crate::service::FactSender;
use crate::service::probe::canary::{Canaries, SPACING};
use crate::service::probe::run::run_and_ask;
use crate::service::probe::schedule::Schedule;
use crate::service::probe::{Place, ProbeSpec, acks};

/// What a person asks of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// Run now; who asks.
    Run(Actor),
    /// Begin a burst, or end it; who asks.
    Burst(Actor),
    /// Somebody has written marks; one may be for this probe.
    LookForMark,
    /// The screen has set a mark and told everybody.
    Marked(jiff::Timestamp),
    /// The machine slept so long.
    Slept(Duration),
}

/// One probe and what is needed to run it.
pub(super) struct ProbeTask {
    pub id: ProbeId,
    pub spec: ProbeSpec,
    pub facts: FactSender,
    pub place: Place,
    /// As of the last outcome.
    pub health: Arc<Mutex<HealthMachine>>,
    pub asks_rx: mpsc::Receiver<Ask>,
    /// Asked before a failure of something far away counts; a canary answers them.
    pub canaries: Arc<Canaries>,
    /// Time of the mark that was told last; `None` again when the probe is up.
    pub acked_at: Option<jiff::Timestamp>,
    /// When it should have ended its next run, for whoever looks whether it still runs.
    pub deadline: Arc<Mutex<Instant>>,
    /// Cancelled once everybody knows this probe and those that begin with it.
    pub named: CancellationToken,
    pub cancel: CancellationToken,
}

impl ProbeTask {
    /// Runs until it is cancelled.
    pub(super) async fn run(mut self) {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => return,
            () = self.named.cancelled() => {}
        }
        let unix = Duration::try_from(clock::now().as_duration()).unwrap_or_default();
        let mut schedule = Schedule::start(&self.spec.name, self.spec.interval, self.spec.retry, unix, clock::timer());
        if !self.is_up() && self.health().health() != Health::Unknown {
            // What was down before the start is looked at first.
            schedule.hasten(clock::timer());
        }
        let mut wanted_rx = self.canaries.wanted();
        let mut last_begun: Option<Instant> = None;
        loop {
            self.promise(schedule.wake_at());
            let asked = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return,
                ask = self.asks_rx.recv() => match ask {
                    None => return,
                    Some(ask) => self.answer(ask, &mut schedule).await,
                },
                Ok(()) = wanted_rx.changed(), if self.spec.rules.canary => {
                    let now = clock::timer();
                    schedule.hasten(last_begun.map_or(now, |it| (it + SPACING).max(now)));
                    continue;
                }
                () = tokio::time::sleep_until(schedule.wake_at()) => false,
            };
            let now = clock::timer();
            if schedule.burst_is_over(now) {
                schedule.end_burst(now, self.is_calm());
                self.fact(ProbeFact::Burst { probe: self.id.clone(), until: None }).await;
            }
            if !asked && !schedule.is_due(now) {
                continue;
            }
            let begun_at = clock::timer();
            last_begun = Some(begun_at);
            self.promise(begun_at);
            let lag = self.begin(&schedule, begun_at).await;
            let lag = if asked { Duration::ZERO } else { lag };
            let Some((outcome, again)) = self.one_run(lag, &mut schedule).await else { return };
            self.health().fold(&outcome);
            if self.spec.rules.canary {
                self.canaries.saw(&self.id, begun_at, outcome.result);
            }
            let now = clock::timer();
            schedule.end(begun_at, now, self.is_calm());
            if let Some(again) = again {
                schedule.hasten(now + again);
            }
            let next = in_wall_time(now, schedule.due());
            let fact = ProbeFact::Outcome { probe: self.id.clone(), outcome: Box::new(outcome), next };
            self.fact(fact).await;
            if self.is_up() {
                self.acked_at = None;
            } else {
                self.look_for_ack().await;
            }
        }
    }

    fn health(&self) -> MutexGuard<'_, HealthMachine> {
        // Nothing panics while it is held; should it, the next result is counted all the same.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run that begins by then ends within its deadline.
    fn promise(&self, begins: Instant) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = begins + self.spec.timeout;
    }

    fn is_up(&self) -> bool {
        self.health().health() == Health::Up
    }

    fn is_calm(&self) -> bool {
        !self.health().hurries()
    }

    async fn fact(&self, fact: ProbeFact) {
        self.facts.send(Fact::Probe(fact)).await;
    }

    /// Says how late a scheduled run is, and reports what passed before it; one that is asked for may be the first of all
    /// after a time in which none could be.
    async fn begin(&self, schedule: &Schedule, begun_at: Instant) -> Duration {
        let begun = schedule.begin(begun_at);
        if begun.missed > 0 {
            let (probe, at) = (self.id.clone(), clock::now());
            self.fact(ProbeFact::Missed { probe, at, count: begun.missed }).await;
        }
        begun.lag
    }

    /// Runs once and listens meanwhile; `None` when it was cancelled. Says as well when it is to be looked at again.
    async fn one_run(&mut self, lag: Duration, schedule: &mut Schedule) -> Option<(Outcome, Option<Duration>)> {
        let spec = self.spec.clone();
        let place = self.place.clone();
        let canaries = Arc::clone(&self.canaries);
        let run = async {
            let (mut outcome, again) = run_and_ask(&spec, &place, lag).await;
            let counts = outcome.result != ProbeResult::Fail
                || spec.rules.canary
                || is_near(&spec.setup(), outcome.evidence.address.as_deref());
            if !counts && canaries.find_cut_off().await {
                outcome.disown();
            }
            (outcome, again)
        };
        tokio::pin!(run);
        loop {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return None,
                ask = self.asks_rx.recv() => {
                    // One run at a time: the one on its way is the answer to `Ask::Run`.
                    let _ = self.answer(ask?, schedule).await;
                }
                outcome = &mut run => return Some(outcome),
            }
        }
    }

    /// Takes a person's wish; true when it means a run outside the schedule.
    async fn answer(&mut self, ask: Ask, schedule: &mut Schedule) -> bool {
        let probe = self.id.clone();
        match ask {
            Ask::Run(actor) => {
                self.facts.send_as(actor, Fact::Probe(ProbeFact::Asked { probe })).await;
                true
            }
            Ask::Burst(actor) => {
                let now = clock::timer();
                let until = schedule.toggle_burst(now, self.is_calm());
                let until = until.and_then(|until| in_wall_time(now, until));
                self.facts.send_as(actor, Fact::Probe(ProbeFact::Burst { probe, until })).await;
                false
            }
            Ask::LookForMark => {
                if !self.is_up() {
                    self.look_for_ack().await;
                }
                false
            }
            Ask::Slept(slept) => {
                let count = schedule.slept(clock::timer(), slept);
                if count > 0 {
                    self.fact(ProbeFact::Missed { probe, at: clock::now(), count }).await;
                }
                false
            }
            Ask::Marked(at) => {
                self.acked_at = Some(at);
                false
            }
        }
    }

    /// Takes a mark that `hotseat ack` or another screen has written for the failure that lasts.
    async fn look_for_ack(&mut self) {
        let (state_dir, name) = (Arc::clone(&self.place.state_dir), self.spec.name.clone());
        let read = tokio::task::spawn_blocking(move || acks::read(&state_dir).ok()?.remove(&name)).await;
        let Ok(Some(ack)) = read else { return };
        let belongs = self.health().since().is_some_and(|since| ack.at >= since);
        if !belongs || self.acked_at == Some(ack.at) {
            return;
        }
        self.acked_at = Some(ack.at);
        let fact = ProbeFact::Acknowledged { probe: self.id.clone(), by: ack.by.clone(), at: ack.at };
        self.facts.send_as(Actor::Person(ack.by), Fact::Probe(fact)).await;
    }
}

fn in_wall_time(now: Instant, then: Instant) -> Option<jiff::Timestamp> {
    clock::now().checked_add(then.saturating_duration_since(now)).ok()
}
