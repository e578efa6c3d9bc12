//! `hotseat agent`: keep watch without a screen, and what belongs to it.

pub mod install;
mod log;
mod pipe;
mod run;
pub mod status;
mod unit;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::config::agent::GRACE_MAX;
use crate::registry::value::parse_duration;

const AFTER: &str = "\
SIGTERM and SIGINT stop in order: a running backup gets its grace to end, a second signal ends at once. SIGHUP reads
the config again and reopens the log; a config with new mistakes is refused and the one before goes on running.

Exit codes: 0 stopped, 2 usage or config, 3 another agent holds the state directory, or something failed.";

/// Keep watch without a screen: probes, alerts, backups, logs
///
/// Runs everything but the screen until it is stopped; screens of this host attach to it by themselves. Says what
/// happens on standard error, one line an event, or in the file that `--log` names.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = AFTER)]
pub struct Args {
    /// What else to do about an agent
    #[command(subcommand)]
    pub command: Option<AgentCommand>,

    /// How it runs
    #[command(flatten)]
    pub run: RunArgs,
}

/// How an agent runs.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Log to this file instead of to standard error; SIGHUP opens it anew
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,

    /// Log one JSON object a line
    #[arg(long)]
    pub log_json: bool,

    /// Wait until the state directory is free when another agent holds it
    #[arg(long)]
    pub wait: bool,

    /// What a running backup gets to end when the agent is stopped [default: `[agent] grace`, else 20s]
    #[arg(long, value_name = "DURATION", value_parser = parse_grace)]
    pub grace: Option<Duration>,
}

/// What else to do about an agent.
#[derive(Debug, clap::Subcommand)]
pub enum AgentCommand {
    /// Write a systemd unit that keeps the agent running
    Install(install::Args),
    /// Say whether an agent runs here, and how it is
    Status(status::Args),
    /// Connect standard input and output with this host's agent, for a screen at the other end of an ssh
    Pipe(pipe::Args),
}

/// Keeps watch, or does what else was asked.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    match &args.command {
        None => run::run(&args.run, cx, out),
        Some(AgentCommand::Install(args)) => install::run(args, cx, out),
        Some(AgentCommand::Status(args)) => status::run(args, cx, out),
        Some(AgentCommand::Pipe(args)) => pipe::run(args, cx, out),
    }
}

fn parse_grace(text: &str) -> Result<Duration, String> {
    let grace = parse_duration(text)?;
    if grace > GRACE_MAX { Err("must be at most `1h`".into()) } else { Ok(grace) }
}
