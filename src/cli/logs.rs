//! `hotseat logs`: print log records that match a query.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Print log records that match a query
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Print log records that match a query.
///
/// # Errors
/// See [`Failure`].
pub fn run(_args: &Args, _cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
