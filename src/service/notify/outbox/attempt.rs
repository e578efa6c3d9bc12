//! One attempt: written down, made, and written down what came of it.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;

use crate::clock;
use crate::domain::alert::delivery::{Action, Delivery, DeliveryState};
use crate::domain::sanitise;
use crate::service::ServiceSetup;
use crate::service::notify::outbox::fault::{self, Step};
use crate::service::notify::outbox::queue::Waiting;
use crate::service::notify::outbox::{Inner, timer_at};
use crate::service::notify::{Attempt, NotifierSpec, Receipt, RetryAfter, SendError};
use crate::service::supervise::panic_text;
use crate::store::outbox::{self, Mark};

/// The first pause; it doubles with every attempt.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// The longest pause: a channel that comes back must not be noticed an hour later.
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// The longest pause that a channel can ask for; one that says a year is ill.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// The first pause after a refusal for good; it doubles with every attempt. What is wrong is in the config or at the
/// channel, and a person mends it.
const REFUSED_PAUSE_FIRST: Duration = Duration::from_secs(60);
/// The longest of these pauses.
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(3600);
/// What is refused is given up when it is as old as this: a long weekend.
const REFUSED_KEPT: SignedDuration = SignedDuration::from_hours(4 * 24);
/// A notifier must answer by its deadline; one that does not is given up this much later.
const GRACE: Duration = Duration::from_millis(500);

impl Inner {
    /// Makes one attempt to send a delivery and puts it back, or away.
    pub(super) async fn attempt(self: Arc<Self>, waiting: Waiting) {
        let Waiting { delivery, attempts, mut reached, expires, refusals, .. } = waiting;
        let number = attempts + 1;
        let begun = clock::now();
        let state = DeliveryState::Sending { attempt: number };
        let attempt = outbox::Attempt { number, at: begun, ended: None, text: "under way".into() };
        let id = delivery.id.clone();
        let mark =
            Mark { id, state: state.clone(), at: begun, reached: reached.clone(), attempt: Some(attempt.clone()) };
        let durable = self.keep(mark).await;
        self.queue().tell(&delivery, state, begun, durable);
        self.told.notify_one();
        fault::here(Step::Marked);

        let known = self.specs().get(&delivery.notifier).cloned();
        let sent = match known {
            Some(known) => {
                let deadline = clock::timer() + known.spec.timeout;
                send(&self.setup, &known.spec, &delivery, number, &reached, deadline).await
            }
            None => Err(SendError::transient(format!(
                "there is no notifier `{}` in the config: name it there again, and this is sent",
                sanitise::text(&delivery.notifier)
            ))),
        };
        fault::here(Step::Sent);

        let (now, timer) = (clock::now(), clock::timer());
        let mut pause = None;
        let (state, text) = match sent {
            Ok(receipt) => {
                let text = if receipt.text.is_empty() { "sent".to_string() } else { format!("sent: {}", receipt.text) };
                (DeliveryState::Sent { receipt: receipt.id, attempts: number }, text)
            }
            Err(error) => {
                for recipient in error.done {
                    if !reached.contains(&recipient) {
                        reached.push(recipient);
                    }
                }
                let ambiguous = if error.ambiguous { " (it may have arrived)" } else { "" };
                let text = format!("{}{ambiguous}", error.text);
                let due = match error.retry_after {
                    Some(RetryAfter::In(wait)) => Some(timer + wait.min(RETRY_AFTER_MAX)),
                    Some(RetryAfter::At(at)) => Some(timer_at(at, now, timer, RETRY_AFTER_MAX)),
                    None => None,
                };
                // `0`, and a date that is past because a clock is wrong, ask for nothing: without a pause of our own the
                // channel would be asked as fast as it answers.
                let due = due.filter(|it| *it >= timer + BACKOFF_FIRST);
                pause = due;
                // Also what is no page: a channel that does not know that somebody has seen an alert pages the next one,
                // and one that keeps a silence after its end tells nobody. Whoever decided it takes it back when it
                // means nothing any more; a person who tests a notifier hears of it at once.
                let is_lasting = delivery.action != Action::Test && now.duration_since(delivery.at) < REFUSED_KEPT;
                let refused = error.permanent;
                let wait = if refused { refused_pause(refusals) } else { backoff(number, fastrand::f64()) };
                let due = due.unwrap_or(timer + wait);
                let state = if refused && !is_lasting {
                    DeliveryState::Failed { attempts: number, error: error.text }
                } else if self.queue().is_superseded(&delivery.id) {
                    DeliveryState::Merged
                } else if expires.is_some_and(|it| it <= due) {
                    DeliveryState::Expired
                } else {
                    let next = now.saturating_add(due - timer).unwrap_or(now);
                    DeliveryState::Retrying { attempt: number, next, error: error.text, refused }
                };
                (state, text)
            }
        };
        let attempt = outbox::Attempt { ended: Some(now), text, ..attempt };
        let id = delivery.id.clone();
        let mark = Mark { id, state: state.clone(), at: now, reached: reached.clone(), attempt: Some(attempt) };
        let durable = self.keep(mark).await;
        fault::here(Step::Received);
        self.queue().ended(&delivery, state, reached, pause, (now, clock::timer()), durable);
        self.touch();
    }
}

/// Sends once, within the deadline, whatever the notifier does.
pub(super) async fn send(
    setup: &ServiceSetup,
    spec: &NotifierSpec,
    delivery: &Delivery,
    number: u32,
    done: &[String],
    deadline: Instant,
) -> Result<Receipt, SendError> {
    let (notifier, facts) = (Arc::clone(&spec.notifier), setup.facts.clone());
    let (delivery, done) = (delivery.clone(), done.to_vec());
    // A task of its own: a kind that panics costs one attempt, and dropping it leaves nothing behind.
    let mut task = tokio::task::JoinSet::new();
    task.spawn(async move {
        let attempt = Attempt { delivery: &delivery, number, done: &done, deadline, facts: Some(&facts) };
        notifier.send(attempt).await
    });
    match tokio::time::timeout_at(deadline + GRACE, task.join_next()).await {
        Ok(Some(Ok(sent))) => sent,
        Ok(Some(Err(error))) if error.is_panic() => {
            Err(SendError::ambiguous(format!("the notifier {}", panic_text(error.into_panic().as_ref()))))
        }
        Ok(_) => Err(SendError::ambiguous("the attempt was given up")),
        Err(_) => Err(SendError::ambiguous(format!("no answer within {:?}", spec.timeout))),
    }
}

/// The pause after a refusal for good that so many came before.
fn refused_pause(refusals: u32) -> Duration {
    REFUSED_PAUSE_FIRST.saturating_mul(1 << refusals.min(20)).min(REFUSED_PAUSE_MAX)
}

/// The pause after attempt `number`, by a random number from 0 to 1: half of it is fixed, half is by chance, so
/// that those who failed together do not come back together.
pub(super) fn backoff(number: u32, random: f64) -> Duration {
    let whole = BACKOFF_FIRST.saturating_mul(1 << number.saturating_sub(1).min(20)).min(BACKOFF_MAX);
    whole.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}
