//! Alerts: who is told of what, when and how often. Pure and replayable.
//!
//! Three things are kept apart: a probe observes, [`policy`] decides, the outbox delivers. The policy is a
//! fold over facts as the rest of the board is; what it wants delivered and kept it answers as a [`Change`],
//! which the store commits in one transaction, so that a page that was decided is never lost and never
//! decided twice.

pub mod delivery;
pub mod explain;
pub mod names;
pub mod pack;
pub mod plan;
pub mod policy;
pub mod quiet;
pub mod replay;
pub mod rota;
pub mod rules;
pub mod sms;
pub mod words;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::delivery::{Delivery, DeliveryNews};
use crate::domain::alert::quiet::{Maintenance, Silence};
use crate::domain::alert::rules::AlertRules;
use crate::domain::ids::ProbeId;

/// How bad it is; the words and their order are those of PagerDuty's Events API v2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look today.
    Warning,
    /// Something is broken.
    Error,
    /// Somebody must get up.
    #[default]
    Critical,
}

impl Concern {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Degraded => "degraded",
            Self::Broken => "broken",
            Self::CutOff => "cut-off",
            Self::Flapping => "flapping",
            Self::Burn => "burn",
            Self::SlowBurn => "slow-burn",
        }
    }

    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Down, Self::Degraded, Self::Broken, Self::CutOff, Self::Flapping, Self::Burn, Self::SlowBurn];
}

impl Severity {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// What about a probe people may be told of; each is an alert of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Concern {
    /// It is down.
    Down,
    /// It answers, but not as preferred.
    Degraded,
    /// The probe itself does not work.
    Broken,
    /// Every canary fails: nothing far away can be known. One canary says so for all of them.
    CutOff,
    /// It turns to and fro; the turns themselves are not told meanwhile.
    Flapping,
    /// It spends its error budget so fast that somebody must look now.
    Burn,
    /// It spends its error budget faster than it lasts: worth a look these days.
    SlowBurn,
}

/// A concern that holds now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConcernState {
    /// What.
    pub concern: Concern,
    /// Since when, dated back.
    pub since: Timestamp,
    /// Why, in words.
    pub text: String,
}

/// Why a page about a probe is not sent although a concern holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// A probe named in `after` is down: that one is told.
    After(ProbeId),
    /// A probe named in `after` is suspect; it is waited for this long.
    AfterSuspect(ProbeId, Timestamp),
    /// All canaries fail: this host is cut off and knows nothing.
    CutOff,
    /// It is flapping, which was told.
    Flapping,
}

/// What is observed of alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertFact {
    /// The rules of the config in use.
    Configured {
        /// All of them.
        rules: Box<AlertRules>,
    },
    /// Time has passed up to what [`policy::AlertBoard::next_wake`] named.
    Tick {
        /// The time.
        at: Timestamp,
    },
    /// A person silences what fits, or changes a silence with the same id.
    Silenced(Silence),
    /// A person ends a silence.
    Unsilenced {
        /// Its id.
        id: String,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// A person begins a maintenance now, or plans one.
    Maintained(Maintenance),
    /// A person ends a maintenance that did not come from the config.
    MaintenanceEnded {
        /// Its name.
        name: String,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// A person has seen it, for a time or until it is fine again; what `ProbeFact::Acknowledged` says is until it changes.
    Acknowledged {
        /// Which probe.
        probe: ProbeId,
        /// Who, when and for how long.
        ack: Acknowledgement,
    },
    /// A person takes back that somebody has seen it.
    Unacknowledged {
        /// Which probe.
        probe: ProbeId,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// What became of a delivery.
    Delivery(Box<DeliveryNews>),
    /// A terminal notifier rings: open screens sound the bell or show a notification of the terminal.
    Rang(Ring),
}

/// What open screens do when a terminal notifier rings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// One line, sanitised.
    pub text: String,
    /// Sound the bell.
    pub bell: bool,
    /// Ask the terminal for a desktop notification (OSC 9).
    pub notification: bool,
}

/// Who has seen an alert, and how long that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// It counts until the probe is fine, whatever it turns to before; otherwise until it turns to something else.
    pub sticky: bool,
    /// It counts no longer than this.
    pub until: Option<Timestamp>,
}

/// What a fact changed: kept and sent together, or not at all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Rows of state by key; `None` removes one. Restored by [`policy::AlertBoard::restore`].
    pub rows: Vec<(String, Option<String>)>,
    /// What is to be delivered.
    pub deliveries: Vec<Delivery>,
    /// Deliveries that have become stale: those not sent yet are dropped as merged.
    pub superseded: Vec<String>,
    /// What the timeline of open incidents says about it.
    pub told: Vec<Told>,
}

/// One line about alerts for the timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// When.
    pub at: Timestamp,
    /// Which probe, notifier or person it is about.
    pub subject: String,
    /// What, in words: `paged alice by sms`.
    pub text: String,
}

impl Change {
    /// True when there is nothing to keep, to send or to say.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.deliveries.is_empty() && self.superseded.is_empty() && self.told.is_empty()
    }

    /// Adds another change behind this one.
    pub fn extend(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.deliveries.extend(other.deliveries);
        self.superseded.extend(other.superseded);
        self.told.extend(other.told);
    }
}
