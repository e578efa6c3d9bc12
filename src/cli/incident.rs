//! `hotseat incident`: list, show or change incidents.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// List, show or change incidents
#[derive(Debug, clap::Args)]
pub struct Args {}

/// List, show or change incidents.
///
/// # Errors
/// See [`Failure`].
pub fn run(_args: &Args, _cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
