//! One run's result: what was found, how long each phase took, what went wrong in words, and the evidence.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Characters of evidence text kept of one outcome: a line or two to recognise an answer by, not the answer.
pub const EVIDENCE_TEXT_MAX: usize = 240;
/// Bytes of a failing answer's body kept as evidence: what a person reads before opening a browser.
pub const EVIDENCE_BODY_MAX: usize = 10 << 10;
/// Headers kept of a failing answer; a hostile one may send thousands.
pub const EVIDENCE_HEADERS_MAX: usize = 64;
/// Rows kept of one outcome: alerts that fire, members of a pool, steps of a journey.
pub const ROWS_MAX: usize = 64;
/// Performance values kept of one outcome; real plugins print a few, a hostile one may print thousands.
pub const PERF_MAX: usize = 32;

/// In a few letters, why a run of a host that is cut off says nothing.
const CUT_OFF: &str = "cut off";

/// What one run found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeResult {
    /// Everything expected and preferred held.
    Ok,
    /// Everything expected held, something preferred did not.
    Degraded,
    /// Something expected did not hold.
    Fail,
    /// The check could not be made and the fault is ours: descriptors, plugin, overload.
    Unknown,
}

impl ProbeResult {
    /// Orders results: what is worse is greater. A failure is worse than not knowing.
    pub fn badness(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Degraded => 1,
            Self::Unknown => 2,
            Self::Fail => 3,
        }
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

/// A part of a run that takes time of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Name to address.
    Dns,
    /// TCP handshake.
    Connect,
    /// Asking a proxy to open the way.
    Proxy,
    /// TLS handshake.
    Tls,
    /// Request sent to first byte of the answer.
    Wait,
    /// First byte to the end of the body.
    Body,
    /// A command from its start to its exit.
    Run,
}

impl Phase {
    /// All phases in the order in which they happen.
    pub const ALL: &'static [Self] =
        &[Self::Dns, Self::Connect, Self::Proxy, Self::Tls, Self::Wait, Self::Body, Self::Run];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Wait => "wait",
            Self::Body => "body",
            Self::Run => "run",
        }
    }
}

/// How long each phase took; `None` where a run had no such phase or did not reach it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// Name to address.
    pub dns: Option<Duration>,
    /// TCP handshake.
    pub connect: Option<Duration>,
    /// Asking a proxy to open the way.
    #[serde(default)]
    pub proxy: Option<Duration>,
    /// TLS handshake.
    pub tls: Option<Duration>,
    /// Request sent to first byte of the answer.
    pub wait: Option<Duration>,
    /// First byte to the end of the body.
    pub body: Option<Duration>,
    /// A command from its start to its exit.
    pub run: Option<Duration>,
}

impl Phases {
    /// The time of one phase.
    pub fn get(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::Dns => self.dns,
            Phase::Connect => self.connect,
            Phase::Proxy => self.proxy,
            Phase::Tls => self.tls,
            Phase::Wait => self.wait,
            Phase::Body => self.body,
            Phase::Run => self.run,
        }
    }

    /// Adds time to a phase: a redirect goes through them again.
    pub fn add(&mut self, phase: Phase, took: Duration) {
        let slot = match phase {
            Phase::Dns => &mut self.dns,
            Phase::Connect => &mut self.connect,
            Phase::Proxy => &mut self.proxy,
            Phase::Tls => &mut self.tls,
            Phase::Wait => &mut self.wait,
            Phase::Body => &mut self.body,
            Phase::Run => &mut self.run,
        };
        *slot = Some(slot.unwrap_or_default() + took);
    }

    /// The phases that happened, in order.
    pub fn happened(&self) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        Phase::ALL.iter().filter_map(|phase| self.get(*phase).map(|took| (*phase, took)))
    }

    /// What was added since `earlier`: the phases of one place among several.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut part = Self::default();
        for (phase, took) in self.happened() {
            match earlier.get(phase) {
                None => part.add(phase, took),
                Some(before) if took > before => part.add(phase, took - before),
                Some(_) => {}
            }
        }
        part
    }

    /// All phases together.
    pub fn total(&self) -> Duration {
        self.happened().map(|(_, took)| took).sum()
    }
}

/// What kind of thing went wrong; told apart because the first move is another for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The name has no address, or the resolver did not answer.
    Dns,
    /// Nothing listens there.
    Refused,
    /// No route to the address.
    Unreachable,
    /// The peer closed in the middle.
    Reset,
    /// The deadline passed in this phase.
    Timeout(Phase),
    /// The TLS handshake or the certificate.
    Tls,
    /// The certificate ends soon.
    Certificate,
    /// The answer's status.
    Status,
    /// The answer's headers.
    Header,
    /// The answer's body, or a command's output.
    Body,
    /// The answer is not what the protocol allows, or larger than we read.
    Protocol,
    /// Slower than expected or preferred.
    Slow,
    /// A command's exit code.
    Exit,
    /// A performance value of a command.
    Perf,
    /// A value that was asked for: of a query, a resource of this host, an answer of a name server.
    Value,
    /// Too few members of a pool are healthy, a step of a journey failed, an alert fires.
    Part,
    /// Something that should have reported did not: a heartbeat.
    Silent,
    /// Our own fault: descriptors, a plugin that cannot start, overload.
    Own,
}

/// What this host has run out of, so that checks cannot be made: one trouble of ours, however many probes meet it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lack {
    /// File descriptors.
    Files,
    /// Memory of the kernel or of this process.
    Memory,
    /// Processes or threads.
    Processes,
    /// Room on a disk.
    Disk,
}

impl Lack {
    const ALL: &'static [Self] = &[Self::Files, Self::Memory, Self::Processes, Self::Disk];

    /// In a few letters: the brief reason of an outcome, by which it is known again.
    pub fn word(self) -> &'static str {
        match self {
            Self::Files => "out of files",
            Self::Memory => "out of memory",
            Self::Processes => "out of processes",
            Self::Disk => "disk full",
        }
    }

    /// The one with that word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.word() == word)
    }

    /// What cannot be done for it, as what is said of a host.
    pub fn text(self) -> &'static str {
        match self {
            Self::Files => "cannot open more files",
            Self::Memory => "has no memory left",
            Self::Processes => "cannot start more processes",
            Self::Disk => "has a full disk",
        }
    }
}

/// What went wrong, in words. Sanitised and redacted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What kind of thing.
    pub cause: Cause,
    /// For a narrow column: `refused`, `502`, `timeout`, `slow 4.1s`.
    pub brief: String,
    /// The whole: `status is 502, expected status == 200`.
    pub text: String,
}

impl Trouble {
    /// Makes one.
    pub fn new(cause: Cause, brief: impl Into<String>, text: impl Into<String>) -> Self {
        Self { cause, brief: brief.into(), text: text.into() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One performance value of a Nagios plugin: `time=0.012s;1;5`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Perf {
    /// Its label.
    pub label: String,
    /// The number.
    pub value: f64,
    /// The unit as printed: `s`, `%`, `MB`, `c` or empty.
    pub unit: String,
    /// The warning range as printed, when there is one.
    pub warn: Option<String>,
    /// The critical range as printed, when there is one.
    pub crit: Option<String>,
    /// The least it can be, as printed.
    #[serde(default)]
    pub min: Option<f64>,
    /// The most it can be, as printed.
    #[serde(default)]
    pub max: Option<f64>,
}

impl Perf {
    /// A value without ranges and bounds.
    pub fn plain(label: impl Into<String>, value: f64, unit: &str) -> Self {
        Self { label: label.into(), value, unit: unit.into(), warn: None, crit: None, min: None, max: None }
    }
}

/// What a certificate says; known also when it is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Whole days until it ends; negative when it has ended.
    pub days: i64,
    /// When it ends.
    pub not_after: Timestamp,
    /// Whom it is for.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
}

/// One place that a run went through: the first address, then each redirect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hop {
    /// The place, without secrets.
    pub place: String,
    /// The address that was spoken to.
    pub address: Option<String>,
    /// HTTP status of its answer.
    pub status: Option<u16>,
    /// How long each phase took at this place.
    pub phases: Phases,
}

/// A part of what was looked at that has a state of its own: a firing alert, a member of a pool, a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What it is called.
    pub name: String,
    /// Its own result.
    pub result: ProbeResult,
    /// What is known of it, in words.
    pub text: String,
    /// How long it took, or since when it is so, where that is known.
    pub took: Option<Duration>,
}

/// What was seen, kept short, sanitised and redacted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// HTTP status.
    pub status: Option<u16>,
    /// Exit code of a command.
    pub exit: Option<i32>,
    /// The address that was spoken to.
    pub address: Option<String>,
    /// `HTTP/1.1`, `HTTP/2`, with the TLS version when there is one.
    pub protocol: Option<String>,
    /// The run went over a connection that an earlier one had made (`reuse = true`).
    #[serde(default)]
    pub reused: bool,
    /// The server's certificate.
    pub certificate: Option<Certificate>,
    /// The whole chain as the server sent it, leaf first; known also when it is not trusted.
    #[serde(default)]
    pub chain: Vec<Certificate>,
    /// Every place the run went through, first to last; empty when there was one only.
    #[serde(default)]
    pub hops: Vec<Hop>,
    /// Headers of an answer that failed, at most [`EVIDENCE_HEADERS_MAX`].
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The first [`EVIDENCE_BODY_MAX`] bytes of an answer that failed.
    #[serde(default)]
    pub body: String,
    /// Parts with a state of their own, at most [`ROWS_MAX`].
    #[serde(default)]
    pub parts: Vec<Part>,
    /// Redirects followed, as the places they led to.
    pub redirects: Vec<String>,
    /// The beginning of a body or output, when it says something about a failure.
    pub text: String,
    /// Performance values of a plugin.
    pub perf: Vec<Perf>,
    /// Bytes of body or output that arrived (or the cap, when it was cut).
    pub body_bytes: u64,
    /// The body or output was longer than we read.
    pub cut: bool,
}

/// One run's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// When the run began.
    pub at: Timestamp,
    /// What it found.
    pub result: ProbeResult,
    /// How long each phase took.
    pub phases: Phases,
    /// What went wrong; always there unless the result is `Ok`.
    pub trouble: Option<Trouble>,
    /// What was seen.
    pub evidence: Evidence,
    /// How late the run began or was held up, by our own fault.
    pub lag: Duration,
    /// Our own machine was too busy for the times to be trusted.
    pub latency_suspect: bool,
}

impl Outcome {
    /// The time of all phases together.
    pub fn total(&self) -> Duration {
        self.phases.total()
    }

    /// True when this host was cut off from the network: the run says nothing of what it looked at.
    pub fn is_cut_off(&self) -> bool {
        self.trouble.as_ref().is_some_and(|it| it.cause == Cause::Own && it.brief == CUT_OFF)
    }

    /// What this host lacked when the check could not be made.
    pub fn lack(&self) -> Option<Lack> {
        self.trouble.as_ref().filter(|it| it.cause == Cause::Own).and_then(|it| Lack::of(&it.brief))
    }

    /// Says that the check could not be made, because this host lacks something.
    pub fn lacks(&mut self, lack: Lack) {
        let found = self.trouble.as_ref().map_or("no answer", |it| &it.text);
        let text = format!("could not check, this host {}: {found}", lack.text());
        self.result = ProbeResult::Unknown;
        self.trouble = Some(Trouble::new(Cause::Own, lack.word(), text));
    }

    /// Takes back a failure, because this host was cut off from the network.
    pub fn disown(&mut self) {
        let found = self.trouble.as_ref().map_or("no answer", |it| &it.text);
        let text = format!("not counted, this host is cut off: every canary fails too ({found})");
        self.result = ProbeResult::Unknown;
        self.trouble = Some(Trouble::new(Cause::Own, CUT_OFF, text));
    }

    /// Drops the evidence that is too large to be kept for every run; the newest failure keeps it.
    pub fn lighten(&mut self) {
        let evidence = &mut self.evidence;
        evidence.chain = Vec::new();
        evidence.hops = Vec::new();
        evidence.headers = Vec::new();
        evidence.body = String::new();
        evidence.parts = Vec::new();
    }

    /// What went wrong, for a narrow column; `ok` when nothing did.
    pub fn brief(&self) -> &str {
        self.trouble.as_ref().map_or("ok", |it| &it.brief)
    }
}
