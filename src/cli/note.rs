//! `hotseat note`: add a note to the open incident or to the day's log-book.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Add a note to the open incident or to the day's log-book
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Add a note to the open incident or to the day's log-book.
///
/// # Errors
/// See [`Failure`].
pub fn run(_args: &Args, _cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
