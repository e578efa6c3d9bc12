//! What is derived of one probe from its outcomes, and what people may be told of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::alert::{Concern, ConcernState};
use crate::domain::format;
use crate::domain::probe::baseline::{Band, Baseline};
use crate::domain::probe::flap::FlapWindow;
use crate::domain::probe::health::{Health, HealthMachine, Turn};
use crate::domain::probe::holding::{CUT_OFF, CanaryPart};
use crate::domain::probe::outcome::{Cause, Outcome, ProbeResult, Trouble};
use crate::domain::probe::slo::{Alarm, SloLog, SloReport};
use crate::domain::probe::{Glimpse, OUTCOMES_MAX, ProbeKept, ProbeSetup, ProbeState};

impl ProbeState {
    pub(super) fn new(setup: ProbeSetup) -> Self {
        Self {
            health: HealthMachine::new(setup.thresholds),
            setup,
            glimpses: VecDeque::new(),
            outcomes: VecDeque::new(),
            next: None,
            asked: false,
            burst_until: None,
            acked: None,
            missed: 0,
            missed_at: None,
            misses: VecDeque::new(),
            last_good: None,
            flaps: FlapWindow::default(),
            slo: SloLog::default(),
            baseline: Baseline::default(),
            part: CanaryPart::default(),
            troubles: Vec::new(),
        }
    }

    /// What is kept over a restart.
    pub fn kept(&self) -> ProbeKept {
        ProbeKept {
            health: self.health.clone(),
            acked: self.acked.clone(),
            last_good: self.last_good.clone(),
            flaps: self.flaps.clone(),
            slo: self.slo.clone(),
            baseline: self.baseline.clone(),
            part: self.part,
            troubles: self.troubles.clone(),
        }
    }

    /// Goes on from what was kept.
    pub(super) fn take_back(&mut self, kept: ProbeKept) {
        self.health = kept.health;
        self.health.set_thresholds(self.setup.thresholds);
        self.acked = kept.acked;
        self.last_good = kept.last_good;
        self.flaps = kept.flaps;
        self.slo = kept.slo;
        self.baseline = kept.baseline;
        self.part = kept.part;
        self.troubles = kept.troubles;
    }

    /// What people may be told of it now, whether or not it is held back.
    pub fn concerns(&self) -> Vec<ConcernState> {
        let concern = match self.health() {
            Health::Down => Some(Concern::Down),
            Health::Degraded => Some(Concern::Degraded),
            Health::Unknown if self.is_broken() => Some(Concern::Broken),
            _ => None,
        };
        let mut concerns = Vec::new();
        match (self.part, concern) {
            // One of the canaries speaks for all of them, and none of them of itself.
            (CanaryPart::Speaks { since }, _) => {
                let text = self.why().map_or_else(|| CUT_OFF.to_string(), |it| format!("{CUT_OFF} ({})", it.text));
                concerns.push(ConcernState { concern: Concern::CutOff, since, text });
            }
            (CanaryPart::Silent | CanaryPart::Over { .. }, Some(Concern::Down)) => {}
            (_, Some(concern)) => {
                let text = self.trouble().map(|it| it.brief.clone()).unwrap_or_default();
                concerns.extend(self.since().map(|since| ConcernState { concern, since, text }));
            }
            (_, None) => {}
        }
        if let Some(since) = self.flapping() {
            let text = match self.health.nagios() {
                Some(nagios) => format!("flaps: {:.0} % of its last results changed its state", nagios.percent()),
                None => format!("flaps: {}", format::plural(self.flaps.turns() as u64, "turn")),
            };
            concerns.push(ConcernState { concern: Concern::Flapping, since, text });
        }
        for (alarm, concern) in [(Alarm::Page, Concern::Burn), (Alarm::Ticket, Concern::SlowBurn)] {
            if let (Some(slo), Some(since)) = (self.setup.rules.slo, self.slo.ringing(alarm)) {
                let text = self.slo.report(slo).alarm(alarm).unwrap_or_default();
                concerns.push(ConcernState { concern, since, text });
            }
        }
        concerns
    }

    /// True for a canary that is down and does not say so: this host is cut off, or was until just now.
    pub fn is_silent(&self) -> bool {
        self.part != CanaryPart::No && self.health() == Health::Down
    }

    /// Since when it turns to and fro more often than people want to be told; `None` when it does not.
    pub fn flapping(&self) -> Option<Timestamp> {
        match self.health.nagios() {
            Some(nagios) => nagios.is_flapping().then(|| self.since()).flatten(),
            None => self.flaps.since(),
        }
    }

    /// How its promise stands at the last result; `None` when nothing is promised.
    pub fn slo(&self) -> Option<SloReport> {
        self.setup.rules.slo.map(|slo| self.slo.report(slo))
    }

    /// What times are usual now, where that is asked for and known.
    pub fn band(&self, now: Timestamp) -> Option<Band> {
        self.baseline.band(now).filter(|_| self.setup.rules.baseline)
    }

    /// How long the last runs take, as it is held against what is usual; `None` when there are too few.
    pub fn lately(&self) -> Option<Duration> {
        self.baseline.recent()
    }

    /// What is thought of the probe.
    pub fn health(&self) -> Health {
        self.health.health()
    }

    /// Since when, dated back to the first result that speaks for it.
    pub fn since(&self) -> Option<Timestamp> {
        self.health.since()
    }

    /// True when the probe itself does not work: its last results were all unknown.
    pub fn is_broken(&self) -> bool {
        self.health.is_broken()
    }

    /// The last outcome.
    pub fn last(&self) -> Option<&Outcome> {
        self.outcomes.back().map(Arc::as_ref)
    }

    /// The newest outcome that says why the probe is not up.
    ///
    /// A probe that fails every other time is down although its last outcome may be fine.
    pub fn last_trouble(&self) -> Option<&Outcome> {
        match self.health() {
            Health::Up => self.last().filter(|it| it.trouble.is_some()),
            Health::Down | Health::Suspect => self.newest(|it| it == ProbeResult::Fail),
            Health::Degraded => self.newest(|it| matches!(it, ProbeResult::Fail | ProbeResult::Degraded)),
            Health::Unknown => self.newest(|it| it == ProbeResult::Unknown),
        }
    }

    /// Why it is not up, or what the last run complained of. What an earlier run found stands for it until this one has
    /// found something.
    pub fn why(&self) -> Option<&Trouble> {
        match self.last_trouble() {
            Some(outcome) => outcome.trouble.as_ref(),
            None => self.trouble(),
        }
    }

    /// True while what is known of it is of an earlier run: this one has not looked yet.
    pub fn is_of_earlier_run(&self) -> bool {
        self.outcomes.is_empty() && self.health() != Health::Unknown
    }

    /// Why it is not up, also when an earlier run has seen that.
    fn trouble(&self) -> Option<&Trouble> {
        let says = |result: ProbeResult| match self.health() {
            Health::Up => false,
            Health::Down | Health::Suspect => result == ProbeResult::Fail,
            Health::Degraded => matches!(result, ProbeResult::Fail | ProbeResult::Degraded),
            Health::Unknown => result == ProbeResult::Unknown,
        };
        self.troubles.iter().rev().find(|(result, _)| says(*result)).map(|(_, it)| it)
    }

    /// All last outcomes at a glance, oldest first.
    pub fn at_a_glance(&self) -> impl Iterator<Item = Glimpse> {
        self.glimpses.iter().copied().chain(self.outcomes.iter().map(|it| Glimpse::of(it)))
    }

    /// Puts what an earlier run saw before what this one has seen.
    pub(super) fn recall(&mut self, earlier: &[Glimpse]) {
        let room = OUTCOMES_MAX.saturating_sub(self.glimpses.len() + self.outcomes.len());
        for glimpse in earlier.iter().rev().take(room) {
            self.glimpses.push_front(*glimpse);
        }
    }

    /// Leaves glimpses of what came before the newest outcome, or before the one that says why it is not up.
    pub(super) fn shorten(&mut self) {
        let speaks = self.last_trouble().or(self.last()).map(|it| it.at);
        let Some(at) = speaks else { return };
        let past = self.outcomes.iter().position(|it| it.at == at).unwrap_or(0);
        self.glimpses.extend(self.outcomes.drain(..past).map(|it| Glimpse::of(&it)));
    }

    /// Takes outcomes in the place of glimpses. Those that are newer come, or came, as facts; of an earlier run there
    /// are no more than glimpses.
    pub(super) fn fill(&mut self, outcomes: &[Arc<Outcome>]) {
        let Some(first) = self.outcomes.front().map(|it| it.at) else { return };
        let room = OUTCOMES_MAX.saturating_sub(self.outcomes.len());
        for outcome in outcomes.iter().rev().skip_while(|it| it.at >= first).take(room) {
            self.outcomes.push_front(Arc::clone(outcome));
            self.glimpses.pop_back();
        }
    }

    /// Folds an outcome into everything that is derived from outcomes.
    pub(super) fn take_in(&mut self, mut outcome: Outcome) -> Option<Turn> {
        let (at, interval) = (outcome.at, self.setup.interval);
        let in_burst = self.burst_until.is_some();
        if self.setup.rules.baseline {
            self.compare(&mut outcome, in_burst);
        }
        let outcome = Arc::new(outcome);
        if let Some(trouble) = outcome.trouble.as_ref().filter(|_| !outcome.is_cut_off()) {
            self.troubles.retain(|(result, _)| *result != outcome.result);
            self.troubles.push((outcome.result, trouble.clone()));
        }
        if outcome.result == ProbeResult::Ok {
            self.last_good = Some(Arc::clone(&outcome));
        }
        // The newest carries its whole evidence; so does the newest failure, wherever it stands.
        if let Some(before) = self.outcomes.back_mut()
            && (before.result == ProbeResult::Ok || outcome.result != ProbeResult::Ok)
        {
            Arc::make_mut(before).lighten();
        }
        self.outcomes.push_back(Arc::clone(&outcome));
        if self.glimpses.len() + self.outcomes.len() > OUTCOMES_MAX && self.glimpses.pop_front().is_none() {
            self.outcomes.pop_front();
        }
        let turn = self.health.fold(&outcome);
        if self.health() == Health::Up {
            self.acked = None;
        }
        if turn.is_some() {
            self.flaps.turned(at);
        }
        self.flaps.look(at, interval);
        // A burst is somebody looking closely, not a service that is worse.
        if let Some(slo) = self.setup.rules.slo.filter(|_| !in_burst) {
            if outcome.result != ProbeResult::Unknown {
                self.slo.push(at, outcome.result == ProbeResult::Fail, self.next, interval);
            }
            self.slo.look(at, slo);
        }
        turn
    }

    /// Degrades a good run when the last ones are slower than this hour of the week usually is.
    fn compare(&mut self, outcome: &mut Outcome, in_burst: bool) {
        // What our own machine delayed says nothing of theirs.
        if outcome.result != ProbeResult::Ok || outcome.latency_suspect || in_burst {
            return;
        }
        self.baseline.push(outcome.at, outcome.total());
        if let Some((band, recent)) = self.baseline.left(outcome.at) {
            let (recent, top) = (format::duration(recent), format::duration(band.top));
            let usual = format::duration(band.usual);
            let text =
                format!("p95 of the last runs is {recent}; at this hour of the week it is {usual}, at most {top}");
            outcome.result = ProbeResult::Degraded;
            outcome.trouble = Some(Trouble::new(Cause::Slow, format!("slow {recent}"), text));
        }
    }

    fn newest(&self, what: impl Fn(ProbeResult) -> bool) -> Option<&Outcome> {
        self.outcomes.iter().rev().map(Arc::as_ref).find(|it| what(it.result))
    }

    pub(super) fn flip_text(&self, turn: Turn) -> String {
        let words = format!("{} -> {}", turn.from.word(), turn.to.word());
        if self.is_broken() {
            let why = self.trouble().map(|it| format!(": {}", it.text)).unwrap_or_default();
            // A probe that never worked has not turned from anything.
            let words = if turn.from == turn.to { String::new() } else { format!("{words}: ") };
            return format!("{words}probe broken{why}");
        }
        match self.trouble() {
            Some(trouble) => format!("{words}: {}", trouble.brief),
            None => words,
        }
    }
}
