//! `hotseat probe`: run a probe once and print its phases; exits like a Nagios plugin.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Run a probe once and print its phases; exits like a Nagios plugin
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Run a probe once and print its phases; exits like a Nagios plugin.
///
/// # Errors
/// See [`Failure`].
pub fn run(_args: &Args, _cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
