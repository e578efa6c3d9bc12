//! `hotseat declare`: declare an incident.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Declare an incident
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Declare an incident.
///
/// # Errors
/// See [`Failure`].
pub fn run(_args: &Args, _cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
