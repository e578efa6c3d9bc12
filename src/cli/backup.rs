//! `hotseat backup`: list, run or verify backups.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// List, run or verify backups
#[derive(Debug, clap::Args)]
pub struct Args {}

/// List, run or verify backups.
///
/// # Errors
/// See [`Failure`].
pub fn run(_args: &Args, _cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
