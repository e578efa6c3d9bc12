//! The runtime without a screen, and the socket by which screens attach to it.
//!
//! Whoever holds the state directory serves the socket, an agent as well as a screen that runs its own runtime, so
//! that every other screen attaches and shows the same. [`protocol`] says what is spoken. What only an agent does
//! is in [`duties`]: metrics ([`metrics`], [`expose`]), beats to a dead man's switch ([`selfbeat`]), and the service
//! manager ([`manager`]).

pub mod client;
pub mod codec;
pub mod connector;
pub mod duties;
pub mod expose;
pub mod glance;
pub mod heard;
pub mod hub;
pub mod local;
pub mod manager;
pub mod metrics;
pub mod peer;
pub mod protocol;
pub mod reception;
pub mod selfbeat;
pub mod server;
pub mod socket;
pub mod split;
pub mod ssh;
