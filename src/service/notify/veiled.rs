//! A notifier of whichever kind, whose config refers to what must not be shown.

use std::hash::Hasher;

use crate::domain::alert::delivery::Delivery;
use crate::service::notify::{Attempt, Notifier, Receipt, SendError, Sending};
use crate::service::veil::Veil;

/// Masks what the references of a notifier stood for in all that the channel says.
struct Veiled {
    inner: Box<dyn Notifier>,
    veil: Veil,
}

/// Puts a veil over a notifier; without references it stays as it is.
pub fn veiled(inner: Box<dyn Notifier>, veil: Veil) -> Box<dyn Notifier> {
    if veil.is_empty() { inner } else { Box::new(Veiled { inner, veil }) }
}

impl Notifier for Veiled {
    fn send<'a>(&'a self, attempt: Attempt<'a>) -> Sending<'a> {
        Box::pin(async move {
            match self.inner.send(attempt).await {
                // The id is the channel's own name of the message, by which it is asked again.
                Ok(receipt) => Ok(Receipt { text: self.veil.text(&receipt.text), ..receipt }),
                // Who has the message is asked for by the next attempt, so `done` stays as well.
                Err(error) => Err(SendError { text: self.veil.text(&error.text), ..error }),
            }
        })
    }

    fn describe(&self) -> String {
        self.veil.text(&self.inner.describe())
    }

    fn fingerprint(&self, hasher: &mut dyn Hasher) {
        self.inner.fingerprint(hasher);
    }

    fn segments(&self) -> Option<usize> {
        self.inner.segments()
    }

    fn resume(&self, delivery: &Delivery) {
        self.inner.resume(delivery);
    }
}
