//! Notifiers: the trait, its kinds, and what a `[[notifier]]` of the config says.
//!
//! A kind gives a message the form of its channel and sends it once. When it is sent, how often it is tried
//! and what becomes of it is decided by the outbox; who is told at all in `domain::alert::policy`.

pub mod alertmanager;
pub mod asked;
pub mod command;
pub mod http;
pub mod ntfy;
pub mod outbox;
pub mod pagerduty;
pub mod payload;
pub mod read;
pub mod sample;
pub mod slack;
pub mod smtp;
pub mod terminal;
pub mod text;
pub mod twilio;
mod veiled;
pub mod webhook;

use std::fmt;
use std::future::Future;
use std::hash::Hasher;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::domain::alert::delivery::Delivery;
use crate::domain::alert::rules::NotifierRule;
use crate::registry::Kind;
use crate::service::FactSender;

pub use read::read;

/// What an attempt is awaited as.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Receipt, SendError>> + Send + 'a>>;

/// One attempt to deliver.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// What to deliver.
    pub delivery: &'a Delivery,
    /// Counts from 1.
    pub number: u32,
    /// Recipients that earlier attempts of this delivery reached, see [`SendError::done`]: they are left out.
    pub done: &'a [String],
    /// When it must have answered.
    pub deadline: Instant,
    /// Where the terminal notifier rings; `None` where no runtime is.
    pub facts: Option<&'a FactSender>,
}

/// One way to tell people.
///
/// Dropping the future must leave nothing behind: no process, no connection.
pub trait Notifier: Send + Sync {
    /// Tries once. Must answer by the deadline; should it not, the outbox drops the future and takes the attempt
    /// for one of which nobody knows whether it arrived.
    fn send<'a>(&'a self, attempt: Attempt<'a>) -> Sending<'a>;

    /// Where messages go, for people; without secrets.
    fn describe(&self) -> String;

    /// Feeds every setting, so that a reload can tell an unchanged notifier.
    fn fingerprint(&self, hasher: &mut dyn Hasher);

    /// Segments of an SMS that a message about many things may take; `None` for a channel that has room for every name.
    fn segments(&self) -> Option<usize> {
        None
    }

    /// Takes up what an earlier run sent last and did not resolve.
    ///
    /// Called once for every such delivery when the notifier is taken into use, by the outbox. Only a channel
    /// that has to be told again and again that something lasts does anything here.
    fn resume(&self, _delivery: &Delivery) {}
}

/// What a channel answered to a message that it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// What the channel calls the message, when it says so.
    pub id: Option<String>,
    /// What it answered, in words; redacted and sanitised.
    pub text: String,
}

/// Why a message was not taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SendError {
    /// Another attempt would fail as well: the channel refuses it.
    pub permanent: bool,
    /// When the channel wants to be asked again.
    pub retry_after: Option<RetryAfter>,
    /// The message may have been taken all the same: the connection broke after it was written.
    pub ambiguous: bool,
    /// What failed, on what, why; redacted and sanitised, one line.
    pub text: String,
    /// All recipients that have the message by now, earlier attempts included. The next attempt is given them,
    /// also after a restart, so that nobody gets it twice.
    pub done: Vec<String>,
}

/// Both forms of the header `Retry-After`, RFC 9110 10.2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// After this long.
    In(Duration),
    /// Not before this time.
    At(Timestamp),
}

impl SendError {
    /// Another attempt may succeed.
    pub fn transient(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// No attempt will succeed.
    pub fn permanent(text: impl Into<String>) -> Self {
        Self { permanent: true, text: text.into(), ..Self::default() }
    }

    /// It may have been taken.
    pub fn ambiguous(text: impl Into<String>) -> Self {
        Self { ambiguous: true, text: text.into(), ..Self::default() }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a `[[notifier]]` can be.
pub const KINDS: &[Kind<dyn Notifier>] = &[
    twilio::KIND,
    slack::KIND,
    pagerduty::KIND,
    smtp::KIND,
    ntfy::KIND,
    webhook::KIND,
    alertmanager::KIND,
    command::KIND,
    terminal::KIND,
];

/// One `[[notifier]]` of the config, checked and ready to send.
#[derive(Clone)]
pub struct NotifierSpec {
    /// Unique name.
    pub name: String,
    /// The key that names the kind.
    pub kind: &'static str,
    /// How it sends.
    pub notifier: Arc<dyn Notifier>,
    /// What the policy knows of it.
    pub rule: NotifierRule,
    /// Deadline of one attempt.
    pub timeout: Duration,
}

impl NotifierSpec {
    /// A number that is another one when a setting of the channel is another one. The rule does not count: the
    /// policy has it from a fact.
    pub fn fingerprint(&self) -> u64 {
        use std::hash::Hash;
        let mut hasher = std::hash::DefaultHasher::new();
        self.kind.hash(&mut hasher);
        self.notifier.fingerprint(&mut hasher);
        hasher.finish()
    }
}
