//! What is to be delivered to people, and what became of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::Severity;
use crate::domain::alert::quiet::Silence;

/// Bytes of a dedup key: PagerDuty refuses longer ones.
pub const KEY_MAX_BYTES: usize = 255;

/// What a delivery means for the one who gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Something is wrong.
    Trigger,
    /// It still is.
    Remind,
    /// Somebody has seen it.
    Acknowledge,
    /// It is over.
    Resolve,
    /// Several things in one message: a storm, or what the rate limit held back.
    Digest,
    /// A person tries the notifier.
    Test,
    /// A person silences something: for channels that have silences of their own.
    Silence,
    /// A person ends a silence.
    Unsilence,
}

impl Action {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Remind => "remind",
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
            Self::Digest => "digest",
            Self::Test => "test",
            Self::Silence => "silence",
            Self::Unsilence => "unsilence",
        }
    }
}

/// One alert as a message shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertLine {
    /// The alert's dedup key.
    pub key: String,
    /// The probe's id, or what else it is about.
    pub subject: String,
    /// `down`, `degraded`, `burn`: what is the matter.
    pub concern: String,
    /// Why, in words.
    pub why: String,
    /// Since when, dated back.
    pub since: Timestamp,
    /// When it was over; `None` while it lasts.
    pub ended: Option<Timestamp>,
    /// How bad it is.
    pub severity: Severity,
    /// `host`, `group`, `kind`, `target`, `phase` and the probe's own labels.
    pub labels: BTreeMap<String, String>,
}

/// What a message says; each notifier gives it the form of its channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// One line: `api DOWN since 14:43:52: timeout in connect`.
    pub title: String,
    /// The whole, several lines, plain text.
    pub text: String,
    /// The worst of what it is about.
    pub severity: Severity,
    /// The host that tells it.
    pub host: String,
    /// What it is about, the first first; all of it, also where the text names a part only.
    pub alerts: Vec<AlertLine>,
    /// The same for a channel with little room, as far as that goes; `None` where the text is short or there is room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brief: Option<String>,
}

/// One message to one notifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Unique and the same after a restart: the key, the notifier, the action and a number.
    pub id: String,
    /// The dedup key, made by us and stored before it is sent: `<host>/<probe>/<number>`, at most [`KEY_MAX_BYTES`].
    pub key: String,
    /// The notifier's name.
    pub notifier: String,
    /// What it means.
    pub action: Action,
    /// When it was decided.
    pub at: Timestamp,
    /// Not worth sending after this; `None` when it is always worth it.
    pub expires: Option<Timestamp>,
    /// What it says.
    pub message: Message,
    /// The delivery with which this notifier first heard of it; `None` when it is news to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// What is silenced, or is not any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Box<Silence>>,
    /// Why this notifier gets it, in words, for `explain`.
    pub because: String,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// It is in the outbox.
    Queued,
    /// An attempt is under way.
    Sending {
        /// Counts from 1.
        attempt: u32,
    },
    /// The channel has taken it.
    Sent {
        /// What the channel calls it, when it says so: a message id.
        receipt: Option<String>,
        /// Attempts it took.
        attempts: u32,
    },
    /// An attempt failed; another comes.
    Retrying {
        /// Attempts so far.
        attempt: u32,
        /// When the next comes.
        next: Timestamp,
        /// What went wrong, redacted.
        error: String,
        /// The channel refuses it as it is: it is tried again seldom, in case the config or the channel is mended.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        refused: bool,
    },
    /// It cannot be delivered: the channel refuses it for good.
    Failed {
        /// Attempts it took.
        attempts: u32,
        /// Why, redacted.
        error: String,
    },
    /// It was not worth sending any more.
    Expired,
    /// What it said is in a later one.
    Merged,
}

/// News of one delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryNews {
    /// The delivery's id.
    pub id: String,
    /// Its dedup key.
    pub key: String,
    /// The notifier.
    pub notifier: String,
    /// What it means.
    pub action: Action,
    /// When this was so.
    pub at: Timestamp,
    /// What became of it.
    pub state: DeliveryState,
    /// It is on disk; false while the disk is full or away.
    pub durable: bool,
}
