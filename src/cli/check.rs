//! `hotseat check`: check the config and say what it would do.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Check the config and say what it would do
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Check the config and say what it would do.
///
/// # Errors
/// See [`Failure`].
pub fn run(_args: &Args, _cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
