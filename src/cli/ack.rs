//! `hotseat ack`: mark a failing probe as seen by you.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::probe::find;
use crate::clock;
use crate::config::paths;
use crate::domain::probe::Ack;
use crate::service::probe::acks;

/// Mark a failing probe as seen by you
///
/// The mark is written to the state directory, where a running screen sees it. It counts for the failure that
/// lasts now and goes away when the probe is up again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the probe
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// Mark a failing probe as seen by you.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let config = cx.load_usable(out)?;
    let spec = find(&config, &args.name)?;
    let by = paths::user_name();
    let state_dir = cx.state_dir();
    acks::record(&state_dir, &spec.name, Ack { by: by.clone(), at: clock::now() }).map_err(|error| {
        Failure::internal(format!("could not write the mark: {}", state_dir.display()))
            .caused_by(error)
            .hint("check the directory's permissions and space, or name another one with `--state-dir`")
    })?;
    writeln!(out.stderr, "marked `{}` as seen by {by}; it goes away when the probe is up again", spec.name)?;
    Ok(ExitCode::SUCCESS)
}
