//! `hotseat init`: write a commented config to start from.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Write a commented config to start from
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Write a commented config to start from.
///
/// # Errors
/// See [`Failure`].
pub fn run(_args: &Args, _cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
