//! `hotseat doctor`: check the terminal, the limits and the directories.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Check the terminal, the limits and the directories
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Check the terminal, the limits and the directories.
///
/// # Errors
/// See [`Failure`].
pub fn run(_args: &Args, _cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
