//! `hotseat open`: open the screen (what `hotseat` does without a sub-command).

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Open the screen (what `hotseat` does without a sub-command)
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Open the screen (what `hotseat` does without a sub-command).
///
/// # Errors
/// See [`Failure`].
pub fn run(_args: &Args, _cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
