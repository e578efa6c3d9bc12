//! What a service observed, and the envelope it travels in.
//!
//! Facts are the only thing that changes a `Board`. They are serde, so that attaching to a runtime is a
//! snapshot of its board plus the facts after the snapshot's `seq`, whether the runtime is a task in this
//! process, an agent on this host or an agent on another. Log text never travels as a fact.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::AlertFact;
use crate::domain::backup::BackupFact;
use crate::domain::config_error::ConfigError;
use crate::domain::ids::{HostId, ProbeId};
use crate::domain::incident::IncidentFact;
use crate::domain::log::LogFact;
use crate::domain::presence::PresenceFact;
use crate::domain::probe::{Glimpse, LastRuns, ProbeFact, ProbeKept};

/// A fact with where, when, in which order and by whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// The host whose runtime observed it.
    pub host: HostId,
    /// Position in that runtime's stream; starts at 1 and grows by 1.
    pub seq: u64,
    /// When it was observed, by the runtime's clock.
    pub at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// What was observed.
    pub fact: Fact,
}

/// Who caused a fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// The runtime itself: a schedule, a probe, a file that grew.
    Runtime,
    /// A person, by the name of `HOTSEAT_USER` or the login.
    Person(String),
}

/// What was observed. Closed: a new variant asks for its arms everywhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// About a probe.
    Probe(ProbeFact),
    /// About alerts and what becomes of them.
    Alert(AlertFact),
    /// About a log source (never its text).
    Log(LogFact),
    /// About a backup job or run.
    Backup(BackupFact),
    /// About an incident or one of its entries.
    Incident(IncidentFact),
    /// About a screen that is attached.
    Presence(PresenceFact),
    /// About the runtime itself.
    Runtime(RuntimeFact),
}

/// What the runtime says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuntimeFact {
    /// A config was taken into use; `errors` are the entries left out of it.
    ConfigLoaded {
        /// The file, or `None` when there is none.
        path: Option<String>,
        /// What is wrong with it; the rest runs.
        errors: Vec<ConfigError>,
        /// Tells its text from another one; `None` when there is none, and of an older version.
        #[serde(default)]
        digest: Option<String>,
    },
    /// A changed config could not be taken into use; the old one keeps running.
    ConfigRejected {
        /// Why.
        errors: Vec<ConfigError>,
    },
    /// What the store kept of an earlier run; comes before everything else.
    Restored(Box<Restored>),
    /// The store cannot keep what it should: `None` when it can again.
    NotDurable {
        /// Why, and what to do.
        why: Option<String>,
    },
    /// A service ended by itself or panicked; it is started again after `retry_s` seconds.
    ServiceFailed {
        /// Which one, in words.
        service: String,
        /// Why.
        error: String,
        /// Seconds until the next start.
        retry_s: u32,
    },
    /// What failed and was not started again works after all.
    ServiceWorks {
        /// Which one, as it was named when it failed.
        service: String,
    },
    /// Another runtime holds the state directory: this one reads and takes notes, no more.
    Standby {
        /// Who holds it, in words.
        holder: String,
    },
    /// This runtime holds the state directory from now on: it probes and backs up.
    Active,
    /// It was told to end and lets something end before; everything goes on until then.
    Stopping {
        /// What it waits for, in words: backup `nightly`.
        waits_for: String,
        /// It waits no longer than this.
        until: Timestamp,
    },
    /// Other agents wait to hold the state directory when this runtime has ended; all of them.
    Waiting {
        /// Their process ids.
        agents: Vec<u32>,
    },
}

/// What the store kept of an earlier run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Restored {
    /// Health and marks of probes.
    pub probes: Vec<(ProbeId, ProbeKept)>,
    /// What the last runs of each found, as a sparkline shows it, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub glimpses: Vec<(ProbeId, Vec<Glimpse>)>,
    /// When the last of them were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_runs: Option<LastRuns>,
    /// Rows of the alert policy, see `Change::rows`.
    pub alerts: Vec<(String, String)>,
    /// There may have been more that could not be read: what is new must not be numbered as that was.
    #[serde(default)]
    pub lost: bool,
}

impl Fact {
    /// True when the journal of transitions keeps it.
    ///
    /// How far a log has grown comes up to 20 times a second and source and says nothing about the past
    /// that the log itself does not say better. Where somebody looked matters only while they do.
    pub fn is_journalled(&self) -> bool {
        !matches!(self, Fact::Log(LogFact::Grew { .. }) | Fact::Presence(PresenceFact::Moved { .. }))
    }
}
