//! The thread that runs backups: one at a time, at low priority, on its schedule and on request.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::backup::BackupFact;
use crate::domain::backup::run::{CopyState, Run, RunState, Verification};
use crate::domain::backup::slot::Next;
use crate::domain::fact::{Actor, Fact};
use crate::domain::format;
use crate::domain::ids::{JobId, RunId};
use crate::domain::request::Inbound;
use crate::service::backup::execute::{Observed, Refusal, Report, Runner};
use crate::service::backup::history::{self, History};
use crate::service::backup::spec::JobSpec;
use crate::service::backup::state::{BackupState, Record};
use crate::service::{Reply, ServiceSetup};

/// Longest sleep: a wall clock that was set or a host that was suspended is noticed within it.
const TICK: Duration = Duration::from_secs(30);
/// Wait before a slot is tried again that could not even begin (another process has the job).
const REFUSED_WAIT: Duration = Duration::from_secs(60);
/// Wait before a fact is offered again to a runtime that has no room.
const FACT_WAIT: Duration = Duration::from_millis(5);
/// Priority of the thread: after everything that answers to a person.
const NICE: i32 = 10;

/// What the thread is asked.
pub enum Ask {
    /// Look up: there are new specs, or everything stops.
    Nudge,
    /// Run a job now.
    Run {
        /// Which.
        job: JobId,
        /// Who asks.
        actor: Actor,
        /// Answered at the end.
        reply: Reply,
    },
    /// Read a run's copies back.
    Verify {
        /// Which.
        run: RunId,
        /// Who asks.
        actor: Actor,
        /// Answered at the end.
        reply: Reply,
    },
}

/// The state of the thread.
pub struct Worker {
    setup: ServiceSetup,
    specs: Vec<JobSpec>,
    /// Specs that wait to be taken into use.
    waiting: Arc<Mutex<Option<Vec<JobSpec>>>>,
    /// Nothing more is begun.
    closing: CancellationToken,
    histories: BTreeMap<String, History>,
    /// Slots are not tried before this.
    refused: BTreeMap<String, Instant>,
    planned: BTreeMap<String, Option<Timestamp>>,
    journal_bytes: u64,
}

impl Worker {
    /// Takes what it works with; nothing happens yet.
    pub fn new(
        setup: ServiceSetup,
        specs: Vec<JobSpec>,
        waiting: Arc<Mutex<Option<Vec<JobSpec>>>>,
        closing: CancellationToken,
    ) -> Self {
        Self {
            setup,
            specs,
            waiting,
            closing,
            histories: BTreeMap::new(),
            refused: BTreeMap::new(),
            planned: BTreeMap::new(),
            journal_bytes: 0,
        }
    }

    /// Works until everything stops.
    pub fn work(mut self, asks_rx: &Receiver<Ask>) {
        // Without the right to it, backups run at the usual priority.
        let _ = rustix::process::setpriority_process(None, NICE);
        let mut state = self.open_state();
        if let Some(state) = &state
            && let Err(error) = state.compact()
        {
            tracing::warn!("could not compact the backup history: {error}");
        }
        let specs = std::mem::take(&mut self.specs);
        self.configure(state.as_ref(), specs);
        while !self.setup.cancel.is_cancelled() && !self.closing.is_cancelled() {
            let specs = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(specs) = specs {
                self.configure(state.as_ref(), specs);
            }
            if let Some(state) = &state {
                self.notice_others(state);
                self.notice_missed(state);
                if let Some((spec, slot)) = self.due() {
                    self.run(state, &spec, Some(slot), Actor::Runtime, None);
                    continue;
                }
                self.plan();
            }
            let ask = match (self.specs.is_empty(), asks_rx.recv_timeout(self.sleep())) {
                (true, Err(RecvTimeoutError::Timeout)) => asks_rx.recv().ok(),
                (_, Ok(ask)) => Some(ask),
                (_, Err(RecvTimeoutError::Timeout)) => Some(Ask::Nudge),
                (_, Err(RecvTimeoutError::Disconnected)) => None,
            };
            // The state directory may have become usable meanwhile.
            state = state.or_else(|| self.open_state());
            match ask {
                Some(ask) => self.answer(state.as_ref(), ask),
                None => return,
            }
        }
    }

    fn open_state(&self) -> Option<BackupState> {
        BackupState::create(&self.setup.state_dir)
            .inspect_err(|error| tracing::warn!("backups cannot use the state directory: {error}"))
            .ok()
    }

    /// Takes specs into use and tells the board of them.
    fn configure(&mut self, state: Option<&BackupState>, specs: Vec<JobSpec>) {
        let host = self.setup.host.clone();
        for old in &self.specs {
            if !specs.iter().any(|it| it.name == old.name) {
                self.histories.remove(&old.name);
                self.planned.remove(&old.name);
                self.emit(Actor::Runtime, BackupFact::Removed { job: JobId::new(&host, &old.name) });
            }
        }
        self.specs = specs;
        for spec in self.specs.clone() {
            self.emit(Actor::Runtime, BackupFact::Configured { job: Box::new(spec.info(&host)) });
            let Some(state) = state else { continue };
            let mut remembered = state.remembered();
            let job = JobId::new(&host, &spec.name);
            if remembered.begun.values().any(|it| it.job == job) {
                let runner = Runner { host: &host, state, spec: &spec, cancel: &self.setup.cancel, observe: &|_| {} };
                runner.clean_up();
                remembered = state.remembered();
            }
            let mut history = history::load(state, &remembered, &host, &spec);
            if history.since.is_none() && spec.schedule.is_some() {
                let now = clock::now();
                remember(state, &scheduled(&spec, now));
                history.since = Some(now);
            }
            // What was missed before this start is history, not news.
            for missed in history.missed(&spec, &host, clock::now()) {
                remember(state, &Record::Ended(Box::new(missed.clone())));
                history.runs.push(missed);
            }
            history.runs.sort_by(|left, right| (right.started, &right.id).cmp(&(left.started, &left.id)));
            self.loaded(&spec, history);
        }
        self.journal_bytes = state.map_or(0, BackupState::journal_bytes);
    }

    fn loaded(&mut self, spec: &JobSpec, history: History) {
        let job = JobId::new(&self.setup.host, &spec.name);
        self.emit(Actor::Runtime, BackupFact::Loaded { job, runs: history.runs.clone() });
        self.histories.insert(spec.name.clone(), history);
    }

    /// Another process, such as `hotseat backup run`, may have added to the journal.
    fn notice_others(&mut self, state: &BackupState) {
        let journal_bytes = state.journal_bytes();
        if journal_bytes == self.journal_bytes {
            return;
        }
        self.journal_bytes = journal_bytes;
        let remembered = state.remembered();
        for spec in self.specs.clone() {
            let history = history::load(state, &remembered, &self.setup.host, &spec);
            let known = self.histories.get(&spec.name);
            if known == Some(&history) {
                continue;
            }
            let known: Vec<(RunId, RunState)> =
                known.iter().flat_map(|it| it.runs.iter().map(|run| (run.id.clone(), run.state))).collect();
            let ended = |run: &&Run| {
                run.state != RunState::Running
                    && run.state != RunState::Missed
                    && !known.contains(&(run.id.clone(), run.state))
            };
            let news: Vec<Run> = history.runs.iter().filter(ended).cloned().collect();
            self.loaded(&spec, history);
            for run in news {
                self.emit(Actor::Runtime, BackupFact::Ended { run: Box::new(run) });
            }
        }
    }

    /// The host was suspended, or a backup took longer than a day.
    fn notice_missed(&mut self, state: &BackupState) {
        for spec in self.specs.clone() {
            let Some(history) = self.histories.get_mut(&spec.name) else { continue };
            let missed = history.missed(&spec, &self.setup.host, clock::now());
            if missed.is_empty() {
                continue;
            }
            history.runs.extend(missed.iter().cloned());
            history.runs.sort_by(|left, right| (right.started, &right.id).cmp(&(left.started, &left.id)));
            for run in missed {
                remember(state, &Record::Ended(Box::new(run.clone())));
                self.emit(Actor::Runtime, BackupFact::Ended { run: Box::new(run) });
            }
            self.journal_bytes = state.journal_bytes();
        }
    }

    /// The first job that is due, with its slot.
    fn due(&mut self) -> Option<(JobSpec, Timestamp)> {
        let now = clock::now();
        let monotonic = clock::monotonic();
        self.specs.iter().find_map(|spec| {
            if self.refused.get(&spec.name).is_some_and(|until| monotonic < *until) {
                return None;
            }
            match self.histories.get(&spec.name)?.next(spec, now) {
                Next::Due(slot) => Some((spec.clone(), slot)),
                Next::At(_) | Next::Never => None,
            }
        })
    }

    /// Tells the board when each job runs next, where that changed.
    fn plan(&mut self) {
        let now = clock::now();
        for spec in self.specs.clone() {
            let Some(history) = self.histories.get(&spec.name) else { continue };
            let next = match history.next(&spec, now) {
                Next::At(next) => Some(next),
                Next::Due(_) => Some(now),
                Next::Never => None,
            };
            // A refused slot is due all the time; that is no new plan every tick.
            let known = self.planned.get(&spec.name);
            if known == Some(&next) || (self.refused.contains_key(&spec.name) && known.is_some_and(Option::is_some)) {
                continue;
            }
            self.planned.insert(spec.name.clone(), next);
            self.emit(Actor::Runtime, BackupFact::Planned { job: JobId::new(&self.setup.host, &spec.name), next });
        }
    }

    fn sleep(&self) -> Duration {
        let now = clock::now();
        let until = |next: Timestamp| Duration::try_from(next.duration_since(now)).unwrap_or_default();
        let nearest = self.planned.values().filter_map(|it| it.map(until)).filter(|it| !it.is_zero()).min();
        nearest.unwrap_or(TICK).min(TICK)
    }

    fn answer(&mut self, state: Option<&BackupState>, ask: Ask) {
        let (job, reply) = match &ask {
            Ask::Nudge => return,
            Ask::Run { job, reply, .. } => (job.name().to_string(), reply),
            Ask::Verify { run, reply, .. } => {
                (run.name().rsplit_once('@').map_or("", |(job, _)| job).to_string(), reply)
            }
        };
        let spec = self.specs.iter().find(|it| it.name == job).cloned();
        let (Some(state), Some(spec)) = (state, spec) else {
            let why = if state.is_none() { "the state directory cannot be used" } else { "the config has no such job" };
            // A screen that is gone needs no answer.
            let _ = reply(Inbound::Failed(format!("backup job `{job}`: {why}")));
            return;
        };
        match ask {
            Ask::Nudge => {}
            Ask::Run { actor, reply, .. } => self.run(state, &spec, None, actor, Some(reply)),
            Ask::Verify { run, actor, reply } => self.verify(state, &spec, &run, actor, &reply),
        }
    }

    fn run(
        &mut self,
        state: &BackupState,
        spec: &JobSpec,
        slot: Option<Timestamp>,
        actor: Actor,
        reply: Option<Reply>,
    ) {
        let job = JobId::new(&self.setup.host, &spec.name);
        let observe = |observed: Observed<'_>| match observed {
            Observed::Started(run) => self.emit(actor.clone(), BackupFact::Started { run: Box::new(run.clone()) }),
            Observed::Progress(run, progress) => {
                let fact = BackupFact::Progressed { job: job.clone(), run: run.clone(), progress };
                // The next one comes in a tenth of a second.
                let _ = self.setup.facts.try_send(Fact::Backup(fact));
            }
        };
        let runner = Runner { host: &self.setup.host, state, spec, cancel: &self.setup.cancel, observe: &observe };
        let result = runner.run(slot);
        let answer = match &result {
            Ok(report) => answer(spec, &report.run),
            Err(refusal) => Inbound::Failed(refusal.text(&spec.name)),
        };
        match result {
            Ok(report) => {
                self.refused.remove(&spec.name);
                self.ended(state, spec, actor, report);
            }
            Err(refusal) => {
                if let (Refusal::State(why), Some(slot)) = (&refusal, slot) {
                    tracing::warn!("backup job `{}` missed {slot}: {why}", spec.name);
                }
                self.refused.insert(spec.name.clone(), clock::monotonic() + REFUSED_WAIT);
                // Another process was faster; its run is in the journal.
                self.journal_bytes = 0;
            }
        }
        if let Some(reply) = reply {
            // A screen that is gone needs no answer.
            let _ = reply(answer);
        }
    }

    fn ended(&mut self, state: &BackupState, spec: &JobSpec, actor: Actor, report: Report) {
        let job = JobId::new(&self.setup.host, &spec.name);
        for warning in &report.run.warnings {
            tracing::warn!("backup job `{}`: {warning}", spec.name);
        }
        self.emit(actor, BackupFact::Ended { run: Box::new(report.run) });
        for (destination, runs) in report.deleted {
            self.emit(Actor::Runtime, BackupFact::Deleted { job: job.clone(), destination, runs });
        }
        self.emit(Actor::Runtime, BackupFact::Held { job, reason: report.held });
        let history = history::load(state, &state.remembered(), &self.setup.host, spec);
        self.histories.insert(spec.name.clone(), history);
        self.journal_bytes = state.journal_bytes();
    }

    fn verify(&mut self, state: &BackupState, spec: &JobSpec, run: &RunId, actor: Actor, reply: &Reply) {
        let job = JobId::new(&self.setup.host, &spec.name);
        let observe = |observed: Observed<'_>| {
            if let Observed::Progress(run, progress) = observed {
                let fact = BackupFact::Progressed { job: job.clone(), run: run.clone(), progress };
                // The next one comes in a tenth of a second.
                let _ = self.setup.facts.try_send(Fact::Backup(fact));
            }
        };
        let runner = Runner { host: &self.setup.host, state, spec, cancel: &self.setup.cancel, observe: &observe };
        let answer = match runner.verify(run) {
            Ok(row) => {
                let answer = verified_answer(&row);
                self.emit(actor, BackupFact::Verified { run: Box::new(row) });
                answer
            }
            Err(refusal) => Inbound::Failed(refusal.text(&spec.name)),
        };
        // A screen that is gone needs no answer.
        let _ = reply(answer);
    }

    /// Waits for room, but not for a runtime that has stopped listening.
    fn emit(&self, actor: Actor, fact: BackupFact) {
        let fact = Fact::Backup(fact);
        while !self.setup.facts.try_send_as(actor.clone(), fact.clone()) {
            if self.setup.facts.is_closed() || self.setup.cancel.is_cancelled() {
                return;
            }
            std::thread::sleep(FACT_WAIT);
        }
    }
}

/// The journal's line for a schedule that counts from now on.
pub fn scheduled(spec: &JobSpec, since: Timestamp) -> Record {
    Record::Scheduled { job: spec.name.clone(), schedule: history::schedule_key(spec), since }
}

fn remember(state: &BackupState, record: &Record) {
    if let Err(error) = state.append(record) {
        tracing::warn!("could not write the backup history: {error}");
    }
}

fn answer(spec: &JobSpec, run: &Run) -> Inbound {
    let name = &spec.name;
    let why = run.error.as_deref().unwrap_or_default();
    match run.state {
        RunState::Ok => {
            let size = format::bytes(run.raw_bytes.unwrap_or_default());
            let took = format::duration(Duration::from_millis(run.duration_ms.unwrap_or_default()));
            match run.verification() {
                Verification::Verified => Inbound::Done(format!("backup `{name}` done: {size} in {took}, verified")),
                other => Inbound::Failed(format!("backup `{name}` done, {size} in {took}, but {}", other.word())),
            }
        }
        RunState::Inconsistent => {
            Inbound::Failed(format!("backup `{name}` is inconsistent: its source changed while it was read"))
        }
        state => Inbound::Failed(format!("backup `{name}` {}: {why}", state.word())),
    }
}

fn verified_answer(run: &Run) -> Inbound {
    let bad = run.copies.iter().find(|it| matches!(it.state, CopyState::Corrupt { .. } | CopyState::Missing { .. }));
    match (bad, run.verification()) {
        (Some(copy), _) => Inbound::Failed(format!(
            "backup {} on `{}` is {}: {}",
            run.id.name(),
            copy.destination,
            copy.state.word(),
            copy.state.error().unwrap_or_default(),
        )),
        (None, Verification::Verified | Verification::Partly) => Inbound::Done(format!(
            "backup {} is whole on {}",
            run.id.name(),
            format::plural(run.copies.len() as u64, "destination")
        )),
        (None, other) => Inbound::Failed(format!("backup {}: {}", run.id.name(), other.word())),
    }
}
