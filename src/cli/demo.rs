//! `hotseat demo`: play a scripted outage on real loopback services, logs and backups.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Play a scripted outage on real loopback services, logs and backups
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Play a scripted outage on real loopback services, logs and backups.
///
/// # Errors
/// See [`Failure`].
pub fn run(_args: &Args, _cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
