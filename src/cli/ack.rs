//! `hotseat ack`: mark a failing probe as seen by you.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Mark a failing probe as seen by you
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Mark a failing probe as seen by you.
///
/// # Errors
/// See [`Failure`].
pub fn run(_args: &Args, _cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
