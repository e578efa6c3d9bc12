//! All probes of a runtime: starts their tasks, takes changed configs, passes on what people ask.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::fact::{Actor, Fact};
use crate::domain::ids::ProbeId;
use crate::domain::probe::health::HealthMachine;
use crate::domain::probe::{Ack, ProbeFact, ProbeKept};
use crate::service::log::LogService;
use crate::service::probe::acks::AckWatch;
use crate::service::probe::canary::Canaries;
use crate::service::probe::overload::Overload;
use crate::service::probe::task::{Ask, ProbeTask};
use crate::service::probe::{Place, ProbeSpec, acks, heartbeat};
use crate::service::{NAMED_AT_ONCE_MAX, ServiceSetup};

/// Wishes that may wait for one probe: a person who presses a key more often than it is answered means it once.
const ASKS_MAX: usize = 4;

/// How often is looked whether the machine has slept: soon enough after it woke, and next to no work.
const SLEEP_PACE: Duration = Duration::from_secs(5);
/// A shorter sleep is none: the two clocks are read one after the other.
const SLEEP_MIN: Duration = Duration::from_secs(1);

/// Runs probes on their schedule. Dropping it does not stop it; `ServiceSetup::cancel` does.
#[derive(Clone)]
pub struct Prober {
    inner: Arc<Inner>,
}

struct Inner {
    setup: ServiceSetup,
    logs: Option<LogService>,
    tasks: Mutex<HashMap<ProbeId, Running>>,
    // Health of an earlier run, until a probe takes it.
    kept: Mutex<HashMap<ProbeId, HealthMachine>>,
    canaries: Arc<Canaries>,
    overload: Arc<Overload>,
}

/// The two clocks that tell a sleep: one goes on while the machine sleeps, the other does not.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    since_boot: Duration,
    awake: std::time::Instant,
}

impl Clocks {
    /// Reads both; `None` where a host does not tell one of them.
    fn read() -> Option<Self> {
        Some(Self { since_boot: clock::since_boot()?, awake: clock::monotonic() })
    }

    /// How long the machine slept between two readings; `None` when it did not.
    fn slept_since(&self, before: &Self) -> Option<Duration> {
        let awake = self.awake.saturating_duration_since(before.awake);
        let slept = self.since_boot.saturating_sub(before.since_boot).saturating_sub(awake);
        (slept >= SLEEP_MIN).then_some(slept)
    }
}

struct Running {
    kind: &'static str,
    fingerprint: u64,
    // As of its last outcome; the task that follows after a reload goes on from it.
    health: Arc<Mutex<HealthMachine>>,
    asks_tx: mpsc::Sender<Ask>,
    cancel: CancellationToken,
    // Cancelled once everybody knows it.
    named: CancellationToken,
    // When it should have ended its next run.
    deadline: Arc<Mutex<Instant>>,
    task: JoinHandle<()>,
}

impl Prober {
    /// Starts a task for every probe. Must be called on a tokio runtime.
    ///
    /// `kept` is what an earlier run knew: a probe that was down goes on from there, and is looked at first.
    pub fn start(
        setup: &ServiceSetup,
        logs: Option<LogService>,
        specs: Vec<ProbeSpec>,
        kept: Vec<(ProbeId, ProbeKept)>,
    ) -> Self {
        let kept = Mutex::new(kept.into_iter().map(|(probe, kept)| (probe, kept.health)).collect());
        let inner = Inner {
            setup: setup.clone(),
            logs,
            tasks: Mutex::default(),
            kept,
            canaries: Arc::new(Canaries::new()),
            overload: Overload::start(setup.cancel.clone()),
        };
        let prober = Self { inner: Arc::new(inner) };
        prober.reload(specs);
        tokio::spawn(prober.inner.clone().pass_on_marks());
        tokio::spawn(prober.inner.clone().notice_sleep(Clocks::read));
        prober
    }

    /// Takes changed specs into use: unchanged probes go on undisturbed.
    ///
    /// All that are new are told before the first of them runs, and many are announced: whoever counts what is red, of an
    /// earlier run as well, never counts too few.
    pub fn reload(&self, specs: Vec<ProbeSpec>) {
        let setup = &self.inner.setup;
        let canaries = specs.iter().filter(|it| it.rules.canary);
        let canaries = canaries.map(|it| (ProbeId::new(&setup.host, &it.name), it.timeout)).collect();
        self.inner.canaries.configure(&canaries);
        let mut tasks = self.inner.tasks();
        let mut old = std::mem::take(&mut *tasks);
        let named = CancellationToken::new();
        let mut names = Vec::new();
        for spec in specs {
            let id = ProbeId::new(&setup.host, &spec.name);
            let before = old.remove(&id);
            let fingerprint = spec.fingerprint();
            let running = match before {
                Some(running) if running.fingerprint == fingerprint && !running.task.is_finished() => running,
                before => {
                    let mut health = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                    if let Some(before) = before {
                        before.cancel.cancel();
                        health = Some(before.health.lock().unwrap_or_else(PoisonError::into_inner).clone());
                    }
                    names.push(ProbeFact::Configured { probe: id.clone(), setup: spec.setup() });
                    self.inner.spawn(id.clone(), spec, fingerprint, health.unwrap_or_default(), named.clone())
                }
            };
            // The config refuses a name that is used twice; should one come, the last stands.
            if let Some(twin) = tasks.insert(id, running) {
                twin.cancel.cancel();
            }
        }
        drop(tasks);
        let facts = setup.facts.clone();
        if names.len() > NAMED_AT_ONCE_MAX {
            facts.announce(names.len());
        }
        tokio::spawn(async move {
            // Also when this ends early.
            let _named = named.drop_guard();
            for name in names {
                facts.send(Fact::Probe(name)).await;
            }
        });
        for (probe, running) in old {
            running.cancel.cancel();
            let facts = setup.facts.clone();
            tokio::spawn(async move {
                // Neither its name nor its last outcome must come after the news that it is gone. A task that panicked is
                // gone as well.
                running.named.cancelled().await;
                let _ = running.task.await;
                facts.send(Fact::Probe(ProbeFact::Removed { probe })).await;
            });
        }
    }

    /// Runs a probe now; an unknown id is ignored.
    pub fn run_now(&self, probe: &ProbeId, actor: Actor) {
        self.inner.ask(probe, Ask::Run(actor));
    }

    /// Starts or ends a burst of one check a second.
    pub fn burst(&self, probe: &ProbeId, actor: Actor) {
        self.inner.ask(probe, Ask::Burst(actor));
    }

    /// True when there is a heartbeat of this name.
    pub fn has_heartbeat(&self, name: &str) -> bool {
        self.inner.tasks().iter().any(|(id, it)| it.kind == heartbeat::KIND.name && id.name() == name)
    }

    /// Has heartbeats looked at, by their names, because beats have come.
    pub fn beat_came(&self, concerns: impl Fn(&str) -> bool) {
        for (id, running) in self.inner.tasks().iter() {
            if running.kind == heartbeat::KIND.name && concerns(id.name()) {
                // A full queue means that it is about to look anyway.
                let _ = running.asks_tx.try_send(Ask::Run(Actor::Runtime));
            }
        }
    }

    /// How long ago the latest of all probes should have ended its run; a probe whose task is gone counts from its
    /// last deadline. With its name.
    pub fn overdue(&self) -> Option<(Duration, String)> {
        let now = clock::timer();
        let late = |(id, running): (&ProbeId, &Running)| {
            let deadline = *running.deadline.lock().unwrap_or_else(PoisonError::into_inner);
            Some((now.checked_duration_since(deadline)?, id.name().to_string()))
        };
        self.inner.tasks().iter().filter_map(late).max()
    }

    /// Records that a person has seen the failure.
    pub fn acknowledge(&self, probe: &ProbeId, actor: Actor) {
        if !self.inner.tasks().contains_key(probe) {
            return;
        }
        let by = match &actor {
            Actor::Person(name) => name.clone(),
            Actor::Runtime => self.inner.setup.user.clone(),
        };
        let (probe, at) = (probe.clone(), clock::now());
        // It will read the mark back from the disk, and must not take it for somebody else's.
        self.inner.ask(&probe, Ask::Marked(at));
        let (facts, state_dir) = (self.inner.setup.facts.clone(), self.inner.setup.state_dir.clone());
        tokio::spawn(async move {
            let fact = ProbeFact::Acknowledged { probe: probe.clone(), by: by.clone(), at };
            facts.send_as(actor, Fact::Probe(fact)).await;
            let write = move || acks::record(&state_dir, probe.name(), Ack { by, at });
            // On a full disk the mark still stands on the screen; only a restart forgets it.
            if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
                tracing::warn!(%error, "could not keep an acknowledgement");
            }
        });
    }

    /// Forgets that somebody has seen it, on the disk: what the screens show is for who asked.
    pub fn forget_mark(&self, probe: &ProbeId) {
        let (state_dir, name) = (self.inner.setup.state_dir.clone(), probe.name().to_string());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = acks::forget(&state_dir, &name) {
                tracing::warn!(%error, "could not forget an acknowledgement");
            }
        });
    }
}

impl Inner {
    fn tasks(&self) -> MutexGuard<'_, HashMap<ProbeId, Running>> {
        // Nothing panics while it is held; should it, the map is still whole.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(
        &self,
        id: ProbeId,
        spec: ProbeSpec,
        fingerprint: u64,
        mut health: HealthMachine,
        named: CancellationToken,
    ) -> Running {
        health.set_thresholds(spec.thresholds);
        let health = Arc::new(Mutex::new(health));
        let (asks_tx, asks_rx) = mpsc::channel(ASKS_MAX);
        let cancel = self.setup.cancel.child_token();
        let deadline = Arc::new(Mutex::new(clock::timer() + spec.interval + spec.timeout));
        let kind = spec.kind;
        let task = ProbeTask {
            id,
            spec,
            facts: self.setup.facts.clone(),
            place: Place {
                host: self.setup.host.clone(),
                state_dir: self.setup.state_dir.as_path().into(),
                logs: self.logs.clone(),
                overload: Some(Arc::clone(&self.overload)),
            },
            canaries: Arc::clone(&self.canaries),
            health: Arc::clone(&health),
            asks_rx,
            acked_at: None,
            deadline: Arc::clone(&deadline),
            named: named.clone(),
            cancel: cancel.clone(),
        };
        Running { kind, fingerprint, health, asks_tx, cancel, named, deadline, task: tokio::spawn(task.run()) }
    }

    /// Has the probes look whenever somebody has written marks, until the service is cancelled.
    async fn pass_on_marks(self: Arc<Self>) {
        let watch = match AckWatch::start(&self.setup.state_dir) {
            Ok(watch) => watch,
            // Marks still come, after the next run of their probe.
            Err(error) => return tracing::warn!(%error, "could not watch for acknowledgements"),
        };
        loop {
            tokio::select! {
                () = self.setup.cancel.cancelled() => return,
                changed = watch.changed() => if let Err(error) = changed {
                    return tracing::warn!(%error, "acknowledgements are not watched for any more");
                },
            }
            for running in self.tasks().values() {
                let _ = running.asks_tx.try_send(Ask::LookForMark);
            }
        }
    }

    /// Tells the probes when the machine has slept, until the service is cancelled.
    async fn notice_sleep(self: Arc<Self>, clocks: impl Fn() -> Option<Clocks> + Send) {
        let Some(mut before) = clocks() else { return };
        loop {
            tokio::select! {
                () = self.setup.cancel.cancelled() => return,
                () = tokio::time::sleep(SLEEP_PACE) => {}
            }
            let Some(now) = clocks() else { return };
            if let Some(slept) = now.slept_since(&before) {
                self.slept(slept);
            }
            before = now;
        }
    }

    fn slept(&self, slept: Duration) {
        tracing::info!("the machine slept for {} s", slept.as_secs());
        for running in self.tasks().values() {
            let _ = running.asks_tx.try_send(Ask::Slept(slept));
        }
    }

    fn ask(&self, probe: &ProbeId, ask: Ask) {
        if let Some(running) = self.tasks().get(probe) {
            // A full queue means that the same was asked just now.
            let _ = running.asks_tx.try_send(ask);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{Hash, Hasher};
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;
    use crate::domain::ids::HostId;
    use crate::domain::probe::ProbeRules;
    use crate::domain::probe::expect::Subjects;
    use crate::domain::probe::health::Thresholds;
    use crate::domain::probe::judge::Observation;
    use crate::domain::probe::outcome::{Cause, ProbeResult, Trouble};
    use crate::service::FactSender;
    use crate::service::probe::{Observing, Probe, Run};

    /// A probe that answers at once and counts.
    #[derive(Default)]
    struct Fake {
        runs: AtomicU32,
        fails: AtomicBool,
        panics: bool,
    }

    impl Probe for Fake {
        fn observe<'a>(&'a self, _run: &'a Run) -> Observing<'a> {
            self.runs.fetch_add(1, Ordering::Relaxed);
            assert!(!self.panics, "as asked");
            let failed = self.fails.load(Ordering::Relaxed);
            Box::pin(async move {
                let trouble = Trouble::new(Cause::Refused, "refused", "refused");
                if failed { Observation::failed(ProbeResult::Fail, trouble) } else { Observation::default() }
            })
        }

        fn target(&self) -> String {
            "fake".into()
        }

        fn subjects(&self) -> Subjects {
            Subjects::Tcp
        }

        fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
            self.panics.hash(&mut hasher);
        }
    }

    fn spec(name: &str, probe: &Arc<Fake>, interval_s: u64) -> ProbeSpec {
        ProbeSpec {
            name: name.into(),
            kind: "tcp",
            probe: Arc::clone(probe) as Arc<dyn Probe>,
            interval: Duration::from_secs(interval_s),
            retry: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            thresholds: Thresholds::default(),
            expect: Vec::new(),
            prefer: Vec::new(),
            rules: ProbeRules::default(),
        }
    }

    struct Desk {
        prober: Prober,
        facts_rx: mpsc::Receiver<(Actor, Fact)>,
        cancel: CancellationToken,
    }

    impl Desk {
        fn start(state_dir: &Path, specs: Vec<ProbeSpec>) -> Self {
            let (facts, facts_rx) = FactSender::channel();
            let cancel = CancellationToken::new();
            let (host, user) = (HostId::new("h"), "alice".to_string());
            let setup = ServiceSetup { host, user, state_dir: state_dir.to_path_buf(), facts, cancel: cancel.clone() };
            Self { prober: Prober::start(&setup, None, specs, Vec::new()), facts_rx, cancel }
        }

        async fn next(&mut self) -> ProbeFact {
            match self.facts_rx.recv().await {
                Some((_, Fact::Probe(fact))) => fact,
                other => panic!("no probe fact: {other:?}"),
            }
        }

        async fn until(&mut self, wanted: impl Fn(&ProbeFact) -> bool) -> ProbeFact {
            loop {
                let fact = self.next().await;
                if wanted(&fact) {
                    return fact;
                }
            }
        }

        async fn outcome(&mut self) {
            self.until(|it| matches!(it, ProbeFact::Outcome { .. })).await;
        }
    }

    fn id(name: &str) -> ProbeId {
        ProbeId::new(&HostId::new("h"), name)
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_keeps_its_cadence_and_hurries_while_it_fails() {
        let dir = tempfile::tempdir().expect("a directory");
        let fake = Arc::new(Fake::default());
        let mut desk = Desk::start(dir.path(), vec![spec("a", &fake, 10)]);
        assert!(matches!(desk.next().await, ProbeFact::Configured { .. }));
        desk.outcome().await;
        desk.outcome().await;
        let second = clock::timer();
        fake.fails.store(true, Ordering::Relaxed);
        desk.outcome().await;
        assert_eq!((clock::timer() - second).as_secs(), 10, "the interval while up");
        let third = clock::timer();
        desk.outcome().await;
        assert_eq!((clock::timer() - third).as_secs(), 2, "the retry pace while not");
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_named_before_the_first_of_them_runs() {
        let dir = tempfile::tempdir().expect("a directory");
        let fake = Arc::new(Fake::default());
        // More than the channel of facts takes.
        let names: Vec<String> = (0..300).map(|it| format!("p{it}")).collect();
        let mut desk = Desk::start(dir.path(), names.iter().map(|it| spec(it, &fake, 3600)).collect());
        for name in &names {
            let ProbeFact::Configured { probe, .. } = desk.next().await else { panic!("{name} is not named yet") };
            assert_eq!(probe.name(), name);
        }
        desk.outcome().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_gone_at_once_is_not_named_after_that() {
        let dir = tempfile::tempdir().expect("a directory");
        let fake = Arc::new(Fake::default());
        let mut desk = Desk::start(dir.path(), vec![spec("a", &fake, 3600), spec("b", &fake, 3600)]);
        desk.prober.reload(vec![spec("a", &fake, 3600)]);
        let mut last = None;
        for _ in 0..3 {
            let fact = desk.until(|it| !matches!(it, ProbeFact::Outcome { .. })).await;
            if fact.probe().name() == "b" {
                last = Some(fact);
            }
        }
        assert!(matches!(last, Some(ProbeFact::Removed { .. })), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_sixty_checks_and_ends_by_itself() {
        let dir = tempfile::tempdir().expect("a directory");
        let fake = Arc::new(Fake::default());
        let mut desk = Desk::start(dir.path(), vec![spec("a", &fake, 3600)]);
        desk.outcome().await;
        let before = fake.runs.load(Ordering::Relaxed);
        desk.prober.burst(&id("a"), Actor::Person("alice".into()));
        desk.until(|it| matches!(it, ProbeFact::Burst { until: Some(_), .. })).await;
        desk.until(|it| matches!(it, ProbeFact::Burst { until: None, .. })).await;
        assert_eq!(fake.runs.load(Ordering::Relaxed) - before, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_key_ends_a_burst_early() {
        let dir = tempfile::tempdir().expect("a directory");
        let fake = Arc::new(Fake::default());
        let mut desk = Desk::start(dir.path(), vec![spec("a", &fake, 3600)]);
        desk.outcome().await;
        desk.prober.burst(&id("a"), Actor::Person("alice".into()));
        desk.outcome().await;
        desk.prober.burst(&id("a"), Actor::Person("alice".into()));
        desk.until(|it| matches!(it, ProbeFact::Burst { until: None, .. })).await;
        assert_eq!(fake.runs.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn run_now_is_announced_and_does_not_wait_for_the_slot() {
        let dir = tempfile::tempdir().expect("a directory");
        let fake = Arc::new(Fake::default());
        let mut desk = Desk::start(dir.path(), vec![spec("a", &fake, 3600)]);
        desk.outcome().await;
        let before = clock::timer();
        desk.prober.run_now(&id("a"), Actor::Person("alice".into()));
        assert!(matches!(desk.next().await, ProbeFact::Asked { .. }));
        desk.outcome().await;
        assert_eq!(clock::timer(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn what_passed_before_a_run_that_is_asked_for_is_missed_all_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        let fake = Arc::new(Fake::default());
        let mut desk = Desk::start(dir.path(), vec![spec("a", &fake, 60)]);
        desk.outcome().await;
        // Stopped for an hour: when it goes on, a beat that waited at the door asks before the clock does.
        desk.prober.run_now(&id("a"), Actor::Runtime);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(matches!(desk.next().await, ProbeFact::Asked { .. }));
        let missed = desk.next().await;
        assert!(matches!(missed, ProbeFact::Missed { count: 58..=60, .. }), "{missed:?}");
        desk.outcome().await;
        let next = desk.next().await;
        assert!(matches!(next, ProbeFact::Outcome { .. }), "{next:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_leaves_unchanged_probes_alone_and_removes_what_is_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let fake = Arc::new(Fake::default());
        let mut desk =
            Desk::start(dir.path(), vec![spec("a", &fake, 3600), spec("b", &fake, 3600), spec("c", &fake, 3600)]);
        for _ in 0..3 {
            desk.outcome().await;
        }
        desk.prober.reload(vec![spec("a", &fake, 3600), spec("b", &fake, 1800)]);
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(match desk.next().await {
                ProbeFact::Configured { probe, .. } => format!("configured {}", probe.name()),
                ProbeFact::Removed { probe } => format!("removed {}", probe.name()),
                ProbeFact::Outcome { probe, .. } => format!("outcome {}", probe.name()),
                other => panic!("{other:?}"),
            });
        }
        seen.sort();
        assert_eq!(seen, ["configured b", "outcome b", "removed c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_an_outcome_and_the_schedule_goes_on() {
        let dir = tempfile::tempdir().expect("a directory");
        let fake = Arc::new(Fake { panics: true, ..Fake::default() });
        let mut desk = Desk::start(dir.path(), vec![spec("a", &fake, 10)]);
        desk.outcome().await;
        desk.outcome().await;
        assert_eq!(fake.runs.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_from_the_command_line_reaches_the_screen() {
        let dir = tempfile::tempdir().expect("a directory");
        let fake = Arc::new(Fake::default());
        fake.fails.store(true, Ordering::Relaxed);
        let mut desk = Desk::start(dir.path(), vec![spec("a", &fake, 10)]);
        desk.outcome().await;
        acks::record(dir.path(), "a", Ack { by: "bob".into(), at: clock::now() }).expect("written");
        let fact = desk.until(|it| matches!(it, ProbeFact::Acknowledged { .. })).await;
        assert!(matches!(fact, ProbeFact::Acknowledged { by, .. } if by == "bob"));
    }

    #[tokio::test]
    async fn a_mark_from_the_command_line_does_not_wait_for_the_next_run() {
        let dir = tempfile::tempdir().expect("a directory");
        let fake = Arc::new(Fake::default());
        fake.fails.store(true, Ordering::Relaxed);
        let slow = ProbeSpec { retry: Duration::from_secs(3600), ..spec("a", &fake, 3600) };
        let mut desk = Desk::start(dir.path(), vec![slow]);
        desk.prober.run_now(&id("a"), Actor::Person("alice".into()));
        desk.outcome().await;
        // The outcome is announced before the look that follows it; the mark must come after both.
        desk.prober.burst(&id("a"), Actor::Person("alice".into()));
        desk.prober.burst(&id("a"), Actor::Person("alice".into()));
        desk.until(|it| matches!(it, ProbeFact::Burst { until: None, .. })).await;
        let runs = fake.runs.load(Ordering::Relaxed);
        acks::record(dir.path(), "a", Ack { by: "bob".into(), at: clock::now() }).expect("written");
        let marked = desk.until(|it| matches!(it, ProbeFact::Acknowledged { by, .. } if by == "bob"));
        tokio::time::timeout(Duration::from_secs(60), marked).await.expect("before the next run");
        assert_eq!(fake.runs.load(Ordering::Relaxed), runs);
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_set_on_the_screen_is_told_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let fake = Arc::new(Fake::default());
        fake.fails.store(true, Ordering::Relaxed);
        let mut desk = Desk::start(dir.path(), vec![spec("a", &fake, 10)]);
        desk.outcome().await;
        desk.prober.acknowledge(&id("a"), Actor::Person("alice".into()));
        desk.until(|it| matches!(it, ProbeFact::Acknowledged { .. })).await;
        while acks::read(dir.path()).expect("read").is_empty() {
            tokio::task::yield_now().await;
        }
        for _ in 0..3 {
            let next = desk.until(|it| !matches!(it, ProbeFact::Missed { .. })).await;
            assert!(matches!(next, ProbeFact::Outcome { .. }), "{next:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_far_away_does_not_count_while_every_canary_fails() {
        let dir = tempfile::tempdir().expect("a directory");
        let (canary, far) = (Arc::new(Fake::default()), Arc::new(Fake::default()));
        let watches =
            ProbeSpec { rules: ProbeRules { canary: true, ..ProbeRules::default() }, ..spec("canary", &canary, 3600) };
        let mut desk = Desk::start(dir.path(), vec![watches, spec("far", &far, 10)]);
        desk.outcome().await;
        desk.outcome().await;
        let far_result = async |desk: &mut Desk| loop {
            let fact = desk.until(|it| matches!(it, ProbeFact::Outcome { .. })).await;
            if let ProbeFact::Outcome { probe, outcome, .. } = fact
                && probe == id("far")
            {
                break outcome;
            }
        };
        far.fails.store(true, Ordering::Relaxed);
        assert_eq!(far_result(&mut desk).await.result, ProbeResult::Fail, "the canary was asked and answers");
        assert_eq!(canary.runs.load(Ordering::Relaxed), 2);
        canary.fails.store(true, Ordering::Relaxed);
        let outcome = far_result(&mut desk).await;
        assert!(outcome.is_cut_off(), "{outcome:?}");
        canary.fails.store(false, Ordering::Relaxed);
        assert_eq!(far_result(&mut desk).await.result, ProbeResult::Fail, "and counts again");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_sleep_every_probe_runs_once_and_says_what_it_missed() {
        let dir = tempfile::tempdir().expect("a directory");
        let fake = Arc::new(Fake::default());
        let mut desk = Desk::start(dir.path(), vec![spec("a", &fake, 600)]);
        desk.outcome().await;
        let before = clock::timer();
        desk.prober.inner.slept(Duration::from_secs(3600));
        assert!(matches!(desk.next().await, ProbeFact::Missed { count: 6, .. }));
        desk.outcome().await;
        assert!(clock::timer() - before < Duration::from_secs(1));
        desk.outcome().await;
        assert!(clock::timer() - before > Duration::from_secs(60), "then it goes on as before");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_is_what_one_clock_is_ahead_of_the_other_and_is_noticed_soon_after() {
        let dir = tempfile::tempdir().expect("a directory");
        let fake = Arc::new(Fake::default());
        let mut desk = Desk::start(dir.path(), vec![spec("a", &fake, 600)]);
        desk.outcome().await;
        // The clock that stands still while the machine sleeps is the one that tests pause; the other is ahead of it.
        let ahead = Arc::new(Mutex::new(Duration::from_secs(100)));
        let (begun, monotonic, told) = (clock::timer(), clock::monotonic(), Arc::clone(&ahead));
        let clocks = move || {
            let awake = clock::timer() - begun;
            Some(Clocks { since_boot: awake + *told.lock().expect("alone"), awake: monotonic + awake })
        };
        tokio::spawn(Arc::clone(&desk.prober.inner).notice_sleep(clocks));
        tokio::time::sleep(Duration::from_secs(60)).await;
        // The two are read one after the other, which is no sleep.
        *ahead.lock().expect("alone") += Duration::from_millis(900);
        tokio::time::sleep(Duration::from_secs(60)).await;
        *ahead.lock().expect("alone") += Duration::from_secs(1900);
        let woken = clock::timer();
        // The first of them: while it was awake all the time nothing was missed.
        let missed = desk.until(|it| matches!(it, ProbeFact::Missed { .. })).await;
        assert!(matches!(missed, ProbeFact::Missed { count: 3, .. }), "{missed:?}");
        desk.outcome().await;
        assert!(clock::timer() - woken <= SLEEP_PACE + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_down_before_the_start_is_looked_at_first() {
        let dir = tempfile::tempdir().expect("a directory");
        let fake = Arc::new(Fake::default());
        let (facts, facts_rx) = FactSender::channel();
        let cancel = CancellationToken::new();
        let (host, user) = (HostId::new("h"), "alice".to_string());
        let setup = ServiceSetup { host, user, state_dir: dir.path().to_path_buf(), facts, cancel: cancel.clone() };
        let mut kept = ProbeKept::default();
        for _ in 0..2 {
            kept.health.apply(clock::now(), ProbeResult::Fail);
        }
        let specs = ["a", "b", "c", "d"].map(|it| spec(it, &fake, 600)).to_vec();
        let prober = Prober::start(&setup, None, specs, vec![(id("c"), kept)]);
        let mut desk = Desk { prober, facts_rx, cancel };
        let first = desk.until(|it| matches!(it, ProbeFact::Outcome { .. })).await;
        assert_eq!(first.probe(), &id("c"));
    }

    #[tokio::test(start_paused = true)]
    async fn cancelling_ends_every_task() {
        let dir = tempfile::tempdir().expect("a directory");
        let fake = Arc::new(Fake::default());
        let mut desk = Desk::start(dir.path(), vec![spec("a", &fake, 10)]);
        desk.outcome().await;
        desk.cancel.cancel();
        drop(desk.prober);
        while desk.facts_rx.recv().await.is_some() {}
    }
}
