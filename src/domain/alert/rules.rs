//! What the config says about alerts, as plain data: notifiers, people, rotations, ladders.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::domain::alert::quiet::{Maintenance, Silence};
use crate::domain::alert::rota::Rotation;
use crate::domain::alert::{Concern, Severity};

/// How long a first message waits for others to join it, when nothing is said.
///
/// Long enough for probes at a retry pace of 5 s to fall together, short enough not to be felt.
pub const WAIT: Duration = Duration::from_secs(10);
/// Messages of one limit: each is remembered for as long as it counts, and what a person cannot read needs no limit.
pub const LIMIT_MAX: u32 = 1_000;
/// How long a message may stay undelivered before the fallback takes over, when nothing is said.
pub const FALLBACK_AFTER: Duration = Duration::from_secs(60);

/// Everything the policy goes by, besides what each probe says itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertRules {
    /// Where messages can go.
    pub notifiers: Vec<NotifierRule>,
    /// Silences of the config.
    pub silences: Vec<Silence>,
    /// Maintenances of the config.
    pub maintenances: Vec<Maintenance>,
    /// People and how they are reached.
    pub people: Vec<Person>,
    /// Who is on call when.
    pub rotations: Vec<Rotation>,
    /// Who is told when nobody has acknowledged.
    pub ladders: Vec<Ladder>,
    /// IANA name of the zone in which messages write times; `None` is UTC.
    pub zone: Option<String>,
    /// Concerns that nobody is told of.
    pub untold: BTreeSet<Concern>,
    /// Alerts with a common cause are not put together.
    pub apart: bool,
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
    /// Reminders while nobody has acknowledged, each this long after what was told before it; after the last
    /// its pace goes on. Empty reminds never.
    pub remind: Vec<Duration>,
    /// Takes over when a message is not delivered in [`NotifierRule::fallback_after`].
    pub fallback: Option<String>,
    /// How long a message may stay undelivered.
    pub fallback_after: Duration,
    /// Tells when it is over.
    pub resolve: bool,
    /// Less severe alerts do not go there.
    pub least: Severity,
    /// It has room for so many segments of an SMS; `None` for a channel that has room for every name.
    #[serde(default)]
    pub segments: Option<usize>,
}

impl NotifierRule {
    /// A notifier for which nothing but its name and kind is said.
    pub fn new(name: &str, kind: &str) -> Self {
        Self {
            name: name.to_string(),
            kind: kind.to_string(),
            limit: None,
            wait: WAIT,
            remind: Vec::new(),
            fallback: None,
            fallback_after: FALLBACK_AFTER,
            resolve: true,
            least: Severity::Info,
            segments: None,
        }
    }

    /// True for a channel that keeps alerts apart by their key and groups them itself: one delivery per alert.
    pub fn keeps_apart(&self) -> bool {
        matches!(self.kind.as_str(), "pagerduty")
    }

    /// True for a channel on which it is worth telling that somebody has seen an alert.
    ///
    /// A person is not woken up to be told that another is awake already.
    pub fn tells_acknowledged(&self) -> bool {
        !matches!(self.kind.as_str(), "twilio" | "smtp" | "alertmanager")
    }

    /// True for a channel that acts on an acknowledgement, or may: it pages the next one until it knows of it. On any
    /// other it is news for people, which grow old.
    pub fn acts_on_acknowledged(&self) -> bool {
        matches!(self.kind.as_str(), "pagerduty" | "webhook" | "command")
    }

    /// True for a channel that gets the key of an alert and may close by it what it opened by it.
    pub fn goes_by_key(&self) -> bool {
        matches!(self.kind.as_str(), "pagerduty" | "webhook" | "command")
    }

    /// True for a channel that keeps a list of what lasts, for which an end is no word that comes late.
    pub fn keeps_resolved(&self) -> bool {
        matches!(self.kind.as_str(), "alertmanager")
    }

    /// True for a channel that has silences of its own: it goes on telling others what it was told before, unless it is
    /// silenced there too.
    pub fn takes_silences(&self) -> bool {
        matches!(self.kind.as_str(), "alertmanager")
    }

    /// True for a channel that works without a network: told also when this host is cut off.
    pub fn is_local(&self) -> bool {
        matches!(self.kind.as_str(), "terminal")
    }

    /// How long after the last message the reminder with this number (from 0) comes; `None` when none does.
    pub fn remind_after(&self, number: u32) -> Option<Duration> {
        let last = self.remind.len().checked_sub(1)?;
        self.remind.get(usize::try_from(number).unwrap_or(last).min(last)).copied()
    }
}

/// So many messages in a time, wherever that time begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// How many; at least 1, at most [`LIMIT_MAX`].
    pub count: u32,
    /// In how long.
    pub per: Duration,
}

/// A person and how they are reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Unique among notifiers, people, rotations and ladders.
    pub name: String,
    /// Notifiers, all told at once.
    pub notify: Vec<String>,
}

/// Who is told first, and who next when nobody acknowledges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ladder {
    /// Unique among notifiers, people, rotations and ladders.
    pub name: String,
    /// From the bottom up.
    pub steps: Vec<Rung>,
}

/// One step of a ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// How long after the step before it.
    pub after: Duration,
    /// Notifiers, people or rotations.
    pub notify: Vec<String>,
}

/// Where a name in `notify` leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The notifier.
    pub notifier: String,
    /// The person, where one is meant.
    pub person: Option<String>,
    /// Why, in words.
    pub because: String,
}

/// What a name in `notify` is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Named<'a> {
    /// A notifier.
    Notifier(&'a NotifierRule),
    /// A person.
    Person(&'a Person),
    /// A rotation.
    Rotation(&'a Rotation),
    /// A ladder.
    Ladder(&'a Ladder),
}

impl AlertRules {
    /// The notifier with this name.
    pub fn notifier(&self, name: &str) -> Option<&NotifierRule> {
        self.notifiers.iter().find(|it| it.name == name)
    }

    /// The person with this name.
    pub fn person(&self, name: &str) -> Option<&Person> {
        self.people.iter().find(|it| it.name == name)
    }

    /// What a name is; `None` when nothing has it.
    pub fn named(&self, name: &str) -> Option<Named<'_>> {
        let notifier = self.notifier(name).map(Named::Notifier);
        let person = || self.person(name).map(Named::Person);
        let rotation = || self.rotations.iter().find(|it| it.name == name).map(Named::Rotation);
        let ladder = || self.ladders.iter().find(|it| it.name == name).map(Named::Ladder);
        notifier.or_else(person).or_else(rotation).or_else(ladder)
    }

    /// Where a name leads at a time. A ladder leads nowhere here: it has steps of its own.
    pub fn targets(&self, now: Timestamp, name: &str) -> Vec<Target> {
        match self.named(name) {
            Some(Named::Notifier(rule)) => {
                vec![Target {
                    notifier: rule.name.clone(),
                    person: None,
                    because: format!("`{name}` is named in `notify`"),
                }]
            }
            Some(Named::Person(person)) => self.reached(person, &format!("`{name}` is named in `notify`")),
            Some(Named::Rotation(rotation)) => match rotation.who(now) {
                Some(turn) => {
                    let because = format!("`{}` is on call in `{name}`", turn.person);
                    self.person(&turn.person).map(|it| self.reached(it, &because)).unwrap_or_default()
                }
                None => Vec::new(),
            },
            Some(Named::Ladder(_)) | None => Vec::new(),
        }
    }

    fn reached(&self, person: &Person, because: &str) -> Vec<Target> {
        let target = |notifier: &String| Target {
            notifier: notifier.clone(),
            person: Some(person.name.clone()),
            because: because.to_string(),
        };
        person.notify.iter().filter(|it| self.notifier(it).is_some()).map(target).collect()
    }

    /// The zone in which messages write times.
    pub fn time_zone(&self) -> TimeZone {
        let named = self.zone.as_deref().and_then(|it| TimeZone::get(it).ok());
        named.unwrap_or(TimeZone::UTC)
    }
}
