//! What the config says about alerts, as plain data: notifiers, people, rotations, ladders.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::alert::Severity;
use crate::domain::alert::quiet::{Maintenance, Silence};

/// Everything the policy goes by, besides what each probe says itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AlertRules {
    /// Where messages can go.
    pub notifiers: Vec<NotifierRule>,
    /// Silences of the config.
    pub silences: Vec<Silence>,
    /// Maintenances of the config.
    pub maintenances: Vec<Maintenance>,
}

/// What the policy knows of a notifier. How it speaks is known to `service::notify` only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NotifierRule {
    /// Unique name.
    pub name: String,
    /// `twilio`, `slack`, …
    pub kind: String,
    /// Messages in a time, then one digest; `None` is without limit.
    pub limit: Option<Limit>,
    /// How long a first message waits for others to join it.
    pub wait: Duration,
    /// Reminders while nobody has acknowledged; after the last its pace goes on.
    pub remind: Vec<Duration>,
    /// Takes over when a message is not delivered in [`NotifierRule::fallback_after`].
    pub fallback: Option<String>,
    /// How long a message may stay undelivered.
    pub fallback_after: Duration,
    /// Tells when it is over.
    pub resolve: bool,
    /// Less severe alerts do not go there.
    pub least: Severity,
}

/// So many messages in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// How many.
    pub count: u32,
    /// In how long.
    pub per: Duration,
}
