//! Notifiers: the channels that reach people, and the worker that empties the outbox through them.
//!
//! A notifier sends one message and says what came of it; it neither repeats nor remembers. When a message
//! is tried again, in which order and for how long is decided by the outbox, in one place for all of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::domain::alert::delivery::Delivery;
use crate::domain::alert::rules::NotifierRule;

/// What a send is awaited as.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Receipt, SendError>> + Send + 'a>>;

/// One way to reach people.
///
/// Dropping the future must leave nothing behind: no process, no connection.
pub trait Notifier: Send + Sync {
    /// Sends one message. `attempt` counts from 1.
    ///
    /// Must answer by the deadline; should it not, the outbox drops the future and takes the attempt for
    /// one of which nobody knows whether it arrived.
    fn send<'a>(&'a self, delivery: &'a Delivery, attempt: u32, deadline: Instant) -> Sending<'a>;

    /// Where it sends, without secrets.
    fn target(&self) -> String;
}

/// The channel has taken a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// What the channel calls it: a message id. Sanitised.
    pub id: Option<String>,
}

/// A message was not taken, or nobody knows whether it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendError {
    /// The channel refuses it for good; trying again is of no use.
    pub permanent: bool,
    /// When the channel wants to be asked again.
    pub retry_after: Option<RetryAfter>,
    /// It may have arrived all the same: the connection broke after the request, no answer came in time.
    pub ambiguous: bool,
    /// What went wrong, sanitised and redacted.
    pub text: String,
}

/// Both forms of the header `Retry-After`, RFC 9110 10.2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// After this long.
    In(Duration),
    /// Not before this time.
    At(Timestamp),
}

/// One `[[notifier]]` of the config, checked and ready to send.
#[derive(Clone)]
pub struct NotifierSpec {
    /// What the policy knows of it; its name is here.
    pub rule: NotifierRule,
    /// How it sends.
    pub notifier: Arc<dyn Notifier>,
    /// Deadline of one attempt.
    pub timeout: Duration,
}
