//! Where a test has the process die: `HOTSEAT_FAULT=outbox:marked` in its environment.
//!
//! Only builds with debug assertions look, so that a product that people run never does.

use std::sync::OnceLock;

/// A point between two steps of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The policy has decided; nothing is written.
    Decided,
    /// The delivery is in the outbox.
    Committed,
    /// The attempt is written; nothing is sent.
    Marked,
    /// The channel has answered; that is not written.
    Sent,
    /// What it answered is written; nobody knows.
    Received,
}

impl Step {
    /// All of them, in order.
    pub const ALL: &'static [Self] = &[Self::Decided, Self::Committed, Self::Marked, Self::Sent, Self::Received];

    /// Its name in the variable.
    pub fn word(self) -> &'static str {
        match self {
            Self::Decided => "decided",
            Self::Committed => "committed",
            Self::Marked => "marked",
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// Dies here, as by `kill -9`, when a test asked for it.
pub fn here(step: Step) {
    if !cfg!(debug_assertions) {
        return;
    }
    static WANTED: OnceLock<Option<String>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("HOTSEAT_FAULT").ok()?;
        Some(text.strip_prefix("outbox:")?.to_string())
    });
    if wanted.as_deref() == Some(step.word()) {
        // It does not return; should the kernel refuse, the test sees that nothing died.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
