//! Rules and plain data: what a probe's health is, what a query means, what an incident has become.
//!
//! No I/O, no threads, no tokio, no ratatui: everything here runs in a test without a machine around it.

pub mod alert;
pub mod backup;
pub mod board;
pub mod config_error;
pub mod effect;
pub mod export;
pub mod fact;
pub mod fleet;
pub mod format;
pub mod host;
pub mod ids;
pub mod incident;
pub mod key;
pub mod log;
pub mod log_words;
pub mod past;
pub mod presence;
pub mod probe;
pub mod query;
pub mod request;
pub mod sanitise;
pub mod secrets;
