//! The scripted outage: a loopback service, a log writer, a database, a scenario.
//!
//! Everything the demo shows is real: listeners that refuse, files that rotate, a SQLite database that is
//! backed up. It lives in one temporary directory, state and notes too, and is watched through a normal
//! config, so that the screen cannot tell it from production.

pub mod director;
pub mod scenario;
pub mod service;
pub mod writer;
