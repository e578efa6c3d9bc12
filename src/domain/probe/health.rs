//! The health of a probe: a k-of-n window over its results.
//!
//! "N failures in a row" never sees a service that fails every other time, so a probe is down when k of
//! its last n results failed. What is reported is dated back to the first failing result of that window,
//! because that is when users began to suffer. Unknown results do not count: they are our own fault; a
//! run of them says that the probe is broken.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::probe::nagios::{self, NagiosMachine};
use crate::domain::probe::outcome::{Outcome, ProbeResult};

/// Largest n of a window: a decision over more results than this comes too late to matter.
pub const WINDOW_MAX: u8 = 20;

/// `k/n`: k of the last n results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// How many.
    pub k: u8,
    /// Of how many.
    pub n: u8,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.k, self.n)
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a window of the form `k/n` with 1 <= k <= n <= {WINDOW_MAX}");
        let (k, n) = text.split_once('/').ok_or_else(bad)?;
        let (k, n) = (k.trim().parse().map_err(|_| bad())?, n.trim().parse().map_err(|_| bad())?);
        if k == 0 || k > n || n > WINDOW_MAX {
            return Err(bad());
        }
        Ok(Self { k, n })
    }
}

/// When a probe counts as down and as up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Thresholds {
    /// Down when this many of the last results failed.
    pub fail: Window,
    /// Up again when this many of the last results did not fail.
    pub recover: Window,
    /// By which rules results are counted.
    #[serde(default)]
    pub mode: Mode,
}

/// Largest `max_attempts`: what fails this often in a row has been seen long before.
pub const ATTEMPTS_MAX: u8 = 20;

/// By which rules results are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The windows `fail` and `recover`.
    #[default]
    Window,
    /// As Nagios counts: soft until this many results in a row are bad, up at the first good one.
    Nagios {
        /// Bad results in a row that settle it.
        max_attempts: u8,
    },
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { fail: Window { k: 2, n: 3 }, recover: Window { k: 2, n: 2 }, mode: Mode::Window }
    }
}

/// What is thought of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It has failed enough.
    Down,
    /// It has failed, but not enough.
    Suspect,
    /// It answers, but not as preferred.
    Degraded,
    /// Nothing is known, or the probe itself is broken.
    #[default]
    Unknown,
    /// It answers as it should.
    Up,
}

impl Health {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Suspect => "suspect",
            Self::Degraded => "degraded",
            Self::Unknown => "unknown",
            Self::Up => "up",
        }
    }

    /// Place in the list: the worst first.
    pub fn rank(self) -> u8 {
        match self {
            Self::Down => 0,
            Self::Suspect => 1,
            Self::Degraded => 2,
            Self::Unknown => 3,
            Self::Up => 4,
        }
    }
}

/// A change that people are told about. `Suspect` is not one: it either becomes `Down` or was nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// What it was.
    pub from: Health,
    /// What it is.
    pub to: Health,
    /// Since when, dated back.
    pub since: Timestamp,
}

/// Derives the health from results.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HealthMachine {
    thresholds: Thresholds,
    // Never `Unknown` after the first counting result.
    state: Health,
    since: Option<Timestamp>,
    // The last results that count, oldest first; never longer than the longer window.
    ring: VecDeque<(Timestamp, ProbeResult)>,
    // The last state that people were told, see `Turn`.
    settled: Health,
    // People were told that the probe is broken.
    told_broken: bool,
    unknown_run: u8,
    unknown_since: Option<Timestamp>,
    // In the mode of that name only.
    #[serde(default)]
    nagios: Option<NagiosMachine>,
}

impl HealthMachine {
    /// Starts with nothing known.
    pub fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, ..Self::default() }
    }

    /// The thresholds in use.
    pub fn thresholds(&self) -> Thresholds {
        self.thresholds
    }

    /// Takes other thresholds into use; what is known stays, the next result decides by them.
    pub fn set_thresholds(&mut self, thresholds: Thresholds) {
        self.thresholds = thresholds;
        if thresholds.mode == Mode::Window {
            self.nagios = None;
        }
    }

    /// How Nagios sees it, in its mode.
    pub fn nagios(&self) -> Option<&NagiosMachine> {
        self.nagios.as_ref()
    }

    /// True while the next result is wanted soon, because it may decide something.
    pub fn hurries(&self) -> bool {
        match &self.nagios {
            Some(nagios) => !nagios.is_hard(),
            // What is degraded by a certificate that ends in two weeks is not looked at every five seconds.
            None if self.is_broken() => false,
            None => self.unknown_run > 0 || matches!(self.state, Health::Suspect | Health::Down),
        }
    }

    /// What is thought of the probe.
    pub fn health(&self) -> Health {
        if self.is_broken() { Health::Unknown } else { self.state }
    }

    /// Since when, dated back to the first result that speaks for it.
    pub fn since(&self) -> Option<Timestamp> {
        if self.is_broken() { self.unknown_since } else { self.since }
    }

    /// True when so many results in a row were unknown that the probe itself must be broken.
    pub fn is_broken(&self) -> bool {
        match &self.nagios {
            Some(nagios) => nagios.is_hard() && nagios.state() == nagios::UNKNOWN,
            None => self.unknown_run >= self.thresholds.fail.n,
        }
    }

    /// Folds an outcome in, unless this host was cut off: then it says nothing of the probe.
    pub fn fold(&mut self, outcome: &Outcome) -> Option<Turn> {
        if outcome.is_cut_off() { None } else { self.apply(outcome.at, outcome.result) }
    }

    /// Folds one result in.
    pub fn apply(&mut self, at: Timestamp, result: ProbeResult) -> Option<Turn> {
        if let Mode::Nagios { max_attempts } = self.thresholds.mode {
            self.count_as_nagios(at, result, max_attempts);
        } else if result == ProbeResult::Unknown {
            if self.unknown_run == 0 {
                self.unknown_since = Some(at);
            }
            self.unknown_run = self.unknown_run.saturating_add(1);
        } else {
            self.unknown_run = 0;
            self.unknown_since = None;
            self.ring.push_back((at, result));
            let longest = self.thresholds.fail.n.max(self.thresholds.recover.n) as usize;
            while self.ring.len() > longest {
                self.ring.pop_front();
            }
            self.decide(at, result);
        }
        self.settle(at)
    }

    fn count_as_nagios(&mut self, at: Timestamp, result: ProbeResult, max_attempts: u8) {
        let nagios = self.nagios.get_or_insert_default();
        nagios.apply(nagios::code_of(result), max_attempts);
        let (state, is_hard) = (nagios.state(), nagios.is_hard());
        let health = match state {
            nagios::OK => Health::Up,
            _ if !is_hard => Health::Suspect,
            nagios::WARNING => Health::Degraded,
            nagios::CRITICAL => Health::Down,
            // Its own field says so; what it was before is what people go on from.
            _ => self.state,
        };
        // What was soft began with its first attempt.
        let since = if self.state == Health::Suspect && health != Health::Up { self.since } else { None };
        let broken = is_hard && state == nagios::UNKNOWN;
        self.unknown_since = broken.then(|| self.unknown_since.or(since).unwrap_or(at));
        self.become_(health, since.unwrap_or(at));
    }

    fn decide(&mut self, at: Timestamp, result: ProbeResult) {
        let Thresholds { fail, recover, .. } = self.thresholds;
        let is_fail = |it: ProbeResult| it == ProbeResult::Fail;
        let is_bad = |it: ProbeResult| it != ProbeResult::Ok;
        if self.state == Health::Down {
            if !self.recovered(recover, is_fail) {
                return;
            }
            // The episode is over. What led to it must not count towards the next one.
            self.forget_before(recover);
            let since = self.ring.front().map_or(at, |(at, _)| *at);
            let degraded = is_bad(result) && self.count(recover.n, is_bad) >= recover.k;
            self.become_(if degraded { Health::Degraded } else { Health::Up }, since);
            return;
        }
        if self.count(fail.n, is_fail) >= fail.k {
            let since = self.first(fail.n, is_fail).unwrap_or(at);
            self.become_(Health::Down, since);
            return;
        }
        if self.count(fail.n, is_bad) >= fail.k {
            let since = self.first(fail.n, is_bad).unwrap_or(at);
            self.become_(Health::Degraded, since);
            return;
        }
        match self.state {
            // As slow to leave as `Down`, or every second slow answer would ring the bell.
            Health::Degraded => {
                if self.recovered(recover, is_bad) {
                    self.forget_before(recover);
                    let since = self.ring.front().map_or(at, |(at, _)| *at);
                    self.become_(Health::Up, since);
                }
            }
            Health::Unknown | Health::Up if is_fail(result) => self.become_(Health::Suspect, at),
            Health::Unknown => self.become_(Health::Up, at),
            Health::Suspect if self.count(fail.n, is_fail) == 0 => self.become_(Health::Up, at),
            Health::Suspect | Health::Up | Health::Down => {}
        }
    }

    fn become_(&mut self, state: Health, since: Timestamp) {
        if self.state != state {
            self.state = state;
            self.since = Some(since);
        }
    }

    fn settle(&mut self, at: Timestamp) -> Option<Turn> {
        let (health, broken) = (self.health(), self.is_broken());
        if health == Health::Suspect || (health == self.settled && broken == self.told_broken) {
            return None;
        }
        let was_broken = std::mem::replace(&mut self.told_broken, broken);
        let from = std::mem::replace(&mut self.settled, health);
        // The first good news after a start is no news.
        if from == Health::Unknown && health == Health::Up && !was_broken {
            return None;
        }
        Some(Turn { from, to: health, since: self.since().unwrap_or(at) })
    }

    fn last(&self, n: u8) -> impl Iterator<Item = &(Timestamp, ProbeResult)> {
        self.ring.range(self.ring.len().saturating_sub(n as usize)..)
    }

    fn count(&self, n: u8, what: impl Fn(ProbeResult) -> bool) -> u8 {
        self.last(n).filter(|(_, it)| what(*it)).count() as u8
    }

    fn first(&self, n: u8, what: impl Fn(ProbeResult) -> bool) -> Option<Timestamp> {
        self.last(n).find(|(_, it)| what(*it)).map(|(at, _)| *at)
    }

    fn recovered(&self, recover: Window, bad: impl Fn(ProbeResult) -> bool) -> bool {
        self.ring.back().is_some_and(|(_, it)| !bad(*it)) && self.count(recover.n, |it| !bad(it)) >= recover.k
    }

    // Drops what came before the results that speak for the recovery.
    fn forget_before(&mut self, recover: Window) {
        let keep = (recover.n as usize).min(self.ring.len());
        self.ring.drain(..self.ring.len() - keep);
        while self.ring.front().is_some_and(|(_, it)| *it == ProbeResult::Fail) {
            self.ring.pop_front();
        }
    }
}
