//! One integration binary: scenarios, key scripts, screens, config errors, CLI, pty, tidy.

mod backup;
mod cli;
mod config;
mod demo;
mod docs;
mod flood;
mod fuzz_smoke;
mod incidents;
mod keys;
mod kinds;
mod live;
mod logs;
mod notifiers;
mod probe_kinds;
mod probes;
mod pty;
mod readme;
mod runtime;
mod scenarios;
mod screens;
mod screenshots;
mod ssh_logs;
mod stores;
mod support;
mod tidy;
mod timeline;
