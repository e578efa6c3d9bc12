//! `hotseat man`: print the manual page.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Cli, Context};

/// Print the manual page
///
/// Read it with `hotseat man | man -l -`, or install it as `hotseat.1`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The page of one sub-command, such as `logs`
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,
}

/// Print the manual page.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, _cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let mut cli = Cli::command();
    cli.build();
    let command = match &args.command {
        None => cli,
        Some(name) => {
            let found = cli.find_subcommand(name).cloned();
            // Building it has named it `hotseat-logs`.
            found.ok_or_else(|| {
                Failure::usage(format!("there is no command `{name}`")).hint("run `hotseat --help` to list them")
            })?
        }
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    out.stdout.write_all(&page)?;
    Ok(ExitCode::SUCCESS)
}
