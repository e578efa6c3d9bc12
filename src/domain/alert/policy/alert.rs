//! What the policy knows of one alert: whom it was told, what holds it back, what comes next.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::alert::delivery::AlertLine;
use crate::domain::alert::policy::common::Print;
use crate::domain::alert::{Acknowledgement, Concern, Hold, Severity};
use crate::domain::ids::ProbeId;

/// One alert: a concern of a probe from its beginning to its end, or the common cause of several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The dedup key: `<host>/<probe>/<number>`.
    pub key: String,
    /// What it is about.
    pub subject: Subject,
    /// Since when, dated back.
    pub since: Timestamp,
    /// When it was noticed.
    pub opened: Timestamp,
    /// When it was over.
    pub ended: Option<Timestamp>,
    /// Why, in words.
    pub why: String,
    /// How bad it is.
    pub severity: Severity,
    /// For matchers and messages.
    pub labels: BTreeMap<String, String>,
    /// What a common cause could be recognised by.
    pub prints: Vec<Print>,
    /// Who is to be told, as the config names them.
    pub notify: Vec<String>,
    /// The key of the common cause that it is told with.
    pub common: Option<String>,
    /// The key of the alert that it doubles, which is told instead: an earlier run was read late.
    #[serde(default)]
    pub twin: Option<String>,
    /// Who has seen it.
    pub acked: Option<Acknowledgement>,
    /// When the last acknowledgement that has expired was made: older marks count no more.
    #[serde(default)]
    pub lapsed: Option<Timestamp>,
    /// What holds it back now.
    pub withheld: Option<Withheld>,
    /// When a probe that it depends on was well again: it gets the time to follow.
    pub released: Option<Timestamp>,
    /// When it was first told to somebody, or would have been.
    pub begun: Option<Timestamp>,
    /// Names of `notify` that were followed.
    pub named: BTreeSet<String>,
    /// How far each ladder was climbed.
    pub climbed: BTreeMap<String, Climb>,
    /// Who was on call when it was told, by rotation.
    #[serde(default)]
    pub turns: BTreeMap<String, String>,
    /// Who is told, by notifier.
    pub contacts: BTreeMap<String, Contact>,
    /// When it must be looked at again without news.
    pub wake: Option<Timestamp>,
}

/// What an alert is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A concern of one probe.
    Probe {
        /// Which.
        probe: ProbeId,
        /// What.
        concern: Concern,
    },
    /// Several probes that fail in the same way.
    Common {
        /// What they have in common.
        print: Print,
        /// Their alerts, in the order in which they joined.
        children: Vec<String>,
    },
}

/// How far a ladder was climbed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Climb {
    /// Steps done.
    pub done: usize,
    /// When the last of them was due.
    pub at: Timestamp,
}

/// What holds an alert back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Withheld {
    /// What.
    pub why: Why,
    /// Until when at most, where that is known.
    pub until: Option<Timestamp>,
}

/// What can hold an alert back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The probe's own circumstances.
    Hold(Hold),
    /// What it depends on is well again, and it may be about to follow.
    Settling,
    /// A silence, by its id.
    Silence(String),
    /// A maintenance, by its name.
    Maintenance(String),
}

impl Why {
    /// The kind of step that `explain` shows for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hold(Hold::After(_) | Hold::AfterSuspect(..)) | Self::Settling => "after",
            Self::Hold(Hold::CutOff) => "cut off",
            Self::Hold(Hold::Flapping) => "flapping",
            Self::Silence(_) => "silence",
            Self::Maintenance(_) => "maintenance",
        }
    }

    /// In words.
    pub fn text(&self) -> String {
        match self {
            Self::Hold(Hold::After(probe)) => {
                format!("`{}`, which it depends on, is down and is told instead", probe.name())
            }
            Self::Hold(Hold::AfterSuspect(probe, _)) => {
                format!("`{}`, which it depends on, may be down: it is waited for", probe.name())
            }
            Self::Hold(Hold::CutOff) => "all canaries fail: this host is cut off".to_string(),
            Self::Hold(Hold::Flapping) => "it is flapping, which is told instead".to_string(),
            Self::Settling => "what it depends on is well again, it gets the time to follow".to_string(),
            Self::Silence(id) => format!("silenced by `{id}`"),
            Self::Maintenance(name) => format!("maintenance `{name}`"),
        }
    }
}

/// How far telling one notifier has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// It is about to be told.
    Waiting,
    /// It was told and is not told otherwise yet.
    Told,
    /// It was told that it is over.
    Ending,
    /// There is no more to tell.
    Over,
}

/// An alert and one notifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    /// The person, where one is meant.
    pub person: Option<String>,
    /// Why this notifier, in words.
    pub because: String,
    /// How far it has come.
    pub stage: Stage,
    /// It was told, as far as the policy is concerned.
    pub is_told: bool,
    /// When it was last told, as decided.
    pub last: Timestamp,
    /// Reminders so far.
    pub reminders: u32,
    /// How many alerts of a common cause it has heard of.
    pub heard: usize,
    /// The delivery with which it was told, while it is not settled.
    pub pending: Option<String>,
    /// It has taken something about this alert.
    pub reached: bool,
    /// The person went off call: reminders go to whoever came.
    #[serde(default)]
    pub relieved: bool,
    /// The delivery with which it first heard of it: what is said later follows it.
    #[serde(default)]
    pub first: Option<String>,
    /// When it took the last of that; `None` before, and of what an older version wrote.
    #[serde(default)]
    pub taken: Option<Timestamp>,
    /// What becomes of its name, for which the message had no room; `None` where it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub naming: Option<Naming>,
}

/// What becomes of a name for which a message had no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Naming {
    /// It comes in a message that follows.
    Follows,
    /// The notifier took a message that has it.
    At(Timestamp),
    /// It does not come: there was no room in the last one either, or it was held back before its turn.
    Cut,
}

impl Naming {
    /// In words behind whom was told and when: ` (named 20:52:48)`; `moment` writes a time.
    pub fn text(self, moment: impl Fn(Timestamp) -> String) -> String {
        match self {
            Self::Follows => " (its name follows)".to_string(),
            Self::At(at) => format!(" (named {})", moment(at)),
            Self::Cut => " (without its name)".to_string(),
        }
    }
}

impl Contact {
    /// One that waits for its first message.
    pub(super) fn new(person: Option<String>, because: String, now: Timestamp) -> Self {
        Self {
            person,
            because,
            stage: Stage::Waiting,
            is_told: false,
            last: now,
            reminders: 0,
            heard: 0,
            pending: None,
            reached: false,
            relieved: false,
            first: None,
            taken: None,
            naming: None,
        }
    }
}

impl Alert {
    /// One that nobody was told of yet.
    pub(super) fn new(key: String, subject: Subject, severity: Severity, since: Timestamp, opened: Timestamp) -> Self {
        Self {
            key,
            subject,
            since,
            opened,
            ended: None,
            why: String::new(),
            severity,
            labels: BTreeMap::new(),
            prints: Vec::new(),
            notify: Vec::new(),
            common: None,
            twin: None,
            acked: None,
            lapsed: None,
            withheld: None,
            released: None,
            begun: None,
            named: BTreeSet::new(),
            climbed: BTreeMap::new(),
            turns: BTreeMap::new(),
            contacts: BTreeMap::new(),
            wake: None,
        }
    }

    /// The probe it is about; `None` for a common cause.
    pub fn probe(&self) -> Option<&ProbeId> {
        match &self.subject {
            Subject::Probe { probe, .. } => Some(probe),
            Subject::Common { .. } => None,
        }
    }

    /// What is the matter.
    pub fn concern(&self) -> Concern {
        match &self.subject {
            Subject::Probe { concern, .. } => *concern,
            Subject::Common { print, .. } if print.is_own() => Concern::Broken,
            Subject::Common { .. } => Concern::Down,
        }
    }

    /// What it is about, as people call it.
    pub fn name(&self) -> String {
        match &self.subject {
            Subject::Probe { probe, .. } => probe.name().to_string(),
            Subject::Common { print, .. } => print.what(),
        }
    }

    /// The host that found it.
    pub fn host(&self) -> &str {
        self.key.split_once('/').map_or("", |(host, _)| host)
    }

    /// True for what this host lacks itself.
    pub fn is_own(&self) -> bool {
        matches!(&self.subject, Subject::Common { print, .. } if print.is_own())
    }

    /// The alerts that share this cause.
    pub fn children(&self) -> &[String] {
        match &self.subject {
            Subject::Probe { .. } => &[],
            Subject::Common { children, .. } => children,
        }
    }

    /// As a message shows it; `why` is what is known now.
    pub fn line(&self, why: &str) -> AlertLine {
        let subject = match &self.subject {
            Subject::Probe { probe, .. } => probe.to_string(),
            Subject::Common { print, .. } => print.what(),
        };
        AlertLine {
            key: self.key.clone(),
            subject,
            concern: self.concern().word().to_string(),
            why: why.to_string(),
            since: self.since,
            ended: self.ended,
            severity: self.severity,
            labels: self.labels.clone(),
        }
    }

    /// How long it has lasted.
    pub fn lasted(&self, now: Timestamp) -> SignedDuration {
        self.ended.unwrap_or(now).duration_since(self.since).max(SignedDuration::ZERO)
    }

    /// True while it is told: not over, not part of a common cause, not held back, not acknowledged.
    pub fn is_loud(&self) -> bool {
        let is_itself = self.common.is_none() && self.twin.is_none();
        self.ended.is_none() && is_itself && self.withheld.is_none() && self.acked.is_none()
    }
}
