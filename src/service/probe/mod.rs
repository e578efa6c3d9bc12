//! Probes: the trait, its kinds, and the tasks that run each on its schedule.
//!
//! A kind observes and nothing else: it gets a deadline and answers with what it saw. What that means is
//! decided in `domain::probe`, when it happens in [`schedule`], and who is told in [`prober`].

pub mod acks;
pub mod alertmanager;
mod canary;
pub mod command;
pub mod dns;
pub mod grpc;
pub mod heartbeat;
pub mod host;
pub mod http;
pub mod icmp;
pub mod journey;
pub mod logs;
pub mod monitor;
pub mod net;
pub mod overload;
pub mod pool;
mod private;
pub mod prober;
pub mod prometheus;
pub mod read;
pub mod redact;
pub mod run;
pub mod schedule;
mod script;
pub mod secure;
mod starttls;
mod task;
pub mod tcp;
pub mod tls;
mod veiled;
pub mod websocket;

use std::future::Future;
use std::hash::Hasher;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::ids::HostId;
use crate::domain::probe::expect::{Expression, Subjects, Values};
use crate::domain::probe::health::Thresholds;
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::Evidence;
use crate::domain::probe::{ProbeRules, ProbeSetup};
use crate::registry::Kind;
use crate::service::log::LogService;
use crate::service::probe::overload::Overload;

pub use prober::Prober;
pub use read::read;

/// What an observation is awaited as.
pub type Observing<'a> = Pin<Box<dyn Future<Output = Observation> + Send + 'a>>;

/// What one run is given.
#[derive(Clone)]
pub struct Run {
    /// When it must have answered.
    pub deadline: Instant,
    /// The probe's name.
    pub name: Arc<str>,
    /// Where it runs.
    pub place: Place,
}

/// Where probes run: what a kind may look at besides the network.
#[derive(Clone)]
pub struct Place {
    /// The host's name, the first part of ids.
    pub host: HostId,
    /// Where state lives: heartbeats are read there.
    pub state_dir: Arc<Path>,
    /// The runtime's log sources; `None` where there is no runtime.
    pub logs: Option<LogService>,
    /// Notices when this process does not get to run; `None` where nobody watches.
    pub overload: Option<Arc<Overload>>,
}

impl Place {
    /// Outside a runtime: no log sources.
    pub fn alone(host: HostId, state_dir: &Path) -> Self {
        Self { host, state_dir: state_dir.into(), logs: None, overload: None }
    }
}

/// One way to look at a service.
///
/// Dropping the future must leave nothing behind: no process, no connection.
pub trait Probe: Send + Sync {
    /// Looks once. Must answer by the deadline; a command may take a moment longer to die.
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a>;

    /// What is spoken to, without secrets.
    fn target(&self) -> String;

    /// What `expect` and `prefer` may compare.
    fn subjects(&self) -> Subjects;

    /// What must hold when the config does not say; `about` tells of which subjects it says something.
    fn usually(&self, about: &dyn Fn(&str) -> bool) -> Vec<&'static str> {
        let _ = about;
        Vec::new()
    }

    /// Makes evidence of the values of a run that was not ok: what costs too much to do for every run.
    fn testify(&self, values: &Values, evidence: &mut Evidence) {
        let _ = (values, evidence);
    }

    /// Takes secrets out of words about a run and cuts them to so many characters: of what the kind was given none
    /// is shown, whoever repeats it.
    fn hide(&self, text: &str, chars_max: usize) -> String {
        redact::excerpt(text, &[], chars_max)
    }

    /// Feeds every setting, so that a reload can tell an unchanged probe.
    fn fingerprint(&self, hasher: &mut dyn Hasher);
}

/// What a `[[probe]]` can be.
pub const KINDS: &[Kind<dyn Probe>] = &[
    http::KIND,
    journey::KIND,
    tcp::KIND,
    tls::KIND,
    websocket::KIND,
    grpc::KIND,
    command::KIND,
    logs::KIND,
    heartbeat::KIND,
    dns::KIND,
    icmp::KIND,
    host::KIND,
    prometheus::KIND,
    alertmanager::KIND,
    pool::KIND,
];

/// One `[[probe]]` of the config, checked and ready to run.
#[derive(Clone)]
pub struct ProbeSpec {
    /// Unique name.
    pub name: String,
    /// The key that names the kind.
    pub kind: &'static str,
    /// How it looks.
    pub probe: Arc<dyn Probe>,
    /// Pace while up.
    pub interval: Duration,
    /// Pace while not up.
    pub retry: Duration,
    /// Deadline of one run.
    pub timeout: Duration,
    /// When it counts as down and as up again.
    pub thresholds: Thresholds,
    /// What must hold.
    pub expect: Vec<Expression>,
    /// What should hold.
    pub prefer: Vec<Expression>,
    /// How it is counted, grouped and told.
    pub rules: ProbeRules,
}

impl ProbeSpec {
    /// The settings as a person wants to see them.
    pub fn setup(&self) -> ProbeSetup {
        ProbeSetup {
            kind: self.kind.to_string(),
            target: self.probe.target(),
            interval: self.interval,
            retry: self.retry,
            timeout: self.timeout,
            thresholds: self.thresholds,
            expect: self.expect.iter().map(Expression::to_string).collect(),
            prefer: self.prefer.iter().map(Expression::to_string).collect(),
            rules: self.rules.clone(),
        }
    }

    /// A number that is another one when a setting is another one.
    pub fn fingerprint(&self) -> u64 {
        use std::hash::Hash;
        // Compared within this process only, so the hasher need not be stable between releases.
        let mut hasher = std::hash::DefaultHasher::new();
        self.kind.hash(&mut hasher);
        self.probe.fingerprint(&mut hasher);
        (self.interval, self.retry, self.timeout, self.thresholds).hash(&mut hasher);
        for (what, lines) in [("expect", &self.expect), ("prefer", &self.prefer)] {
            what.hash(&mut hasher);
            for line in lines {
                line.to_string().hash(&mut hasher);
            }
        }
        // Numbers in it have no hash of their own.
        format!("{:?}", self.rules).hash(&mut hasher);
        hasher.finish()
    }
}
