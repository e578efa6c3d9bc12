//! `hotseat keys`: list all commands and their keys.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// List all commands and their keys
#[derive(Debug, clap::Args)]
pub struct Args {}

/// List all commands and their keys.
///
/// # Errors
/// See [`Failure`].
pub fn run(_args: &Args, _cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
