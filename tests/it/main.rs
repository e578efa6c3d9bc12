//! One integration binary: scenarios, key scripts, screens, config errors, CLI, pty, tidy.

mod backup;
mod cli;
mod config;
mod incidents;
mod logs;
mod probes;
mod pty;
mod runtime;
mod scenarios;
mod support;
mod tidy;
