//! `hotseat completions`: print a completion script for a shell.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Cli, Context};

/// Print a completion script for a shell
///
/// For bash: `hotseat completions bash > ~/.local/share/bash-completion/completions/hotseat`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which shell
    pub shell: clap_complete::Shell,
}

/// Print a completion script for a shell.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, _cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    // The generator panics when it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hotseat", &mut script);
    out.stdout.write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
