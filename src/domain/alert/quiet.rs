//! Silences and maintenances: what is not told, and for how long.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One condition on a label: `group=edge`, `probe=~"^db-"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matcher {
    /// The label: `probe`, `group`, `kind`, `host` or one of the probe's own.
    pub name: String,
    /// Text, or a regex that must match the whole.
    pub value: String,
    /// `value` is a regex.
    pub is_regex: bool,
    /// False turns it round: `!=`, `!~`.
    pub is_equal: bool,
}

/// Alerts that all matchers fit are not told until it ends. The alerts themselves go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Unique.
    pub id: String,
    /// All must fit; never empty.
    pub matchers: Vec<Matcher>,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub comment: String,
}

/// A time in which work is done: nothing new is told of what fits, recoveries always are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Maintenance {
    /// Unique.
    pub name: String,
    /// All must fit; empty fits everything.
    pub matchers: Vec<Matcher>,
    /// When.
    pub window: MaintenanceWindow,
    /// Who planned it.
    pub by: String,
}

/// When a maintenance is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaintenanceWindow {
    /// Once.
    Once {
        /// From when.
        from: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// Again and again, in civil time.
    Recurring {
        /// When it begins, as a cron line: `0 2 * * SUN`.
        cron: String,
        /// How long it lasts, in seconds.
        length_s: u64,
        /// IANA name of its zone.
        zone: String,
    },
}
