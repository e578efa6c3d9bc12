//! `hotseat completions`: print a completion script for a shell.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Print a completion script for a shell.
///
/// # Errors
/// See [`Failure`].
pub fn run(_args: &Args, _cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
