//! The runtime without a screen, and the socket by which screens attach to it.
//!
//! Whoever holds the state directory serves the socket, an agent as well as a screen that runs its own runtime, so
//! that every other screen attaches and shows the same. [`protocol`] says what is spoken.

pub mod connector;
pub mod protocol;
mod unanswered;
