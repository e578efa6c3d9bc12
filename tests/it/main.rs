//! One integration binary: scenarios, key scripts, screens, config errors, CLI, pty, tidy.

mod runtime;
mod scenarios;
mod tidy;
