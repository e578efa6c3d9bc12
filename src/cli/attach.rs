//! `hotseat attach ssh:HOST…`: open the screen on agents of other hosts, without a runtime here.

use std::process::ExitCode;

use crate::cli::failure::Failure;
use crate::cli::hosts;
use crate::cli::open::{self, Look};
use crate::cli::output::Output;
use crate::cli::{Context, with_screen_mistakes};
use crate::registry::node::Commands;

/// Open the screen on agents of other hosts, over your own ssh
///
/// `hotseat agent` must run there, and `ssh HOST` must log in without asking. Nothing is probed, kept or sent from here.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `ssh:` and one or more hosts, as `ssh` or a `[[remote]]` of the config knows them: `ssh:db1,ops@web1`
    #[arg(value_name = "ssh:HOST[,HOST…]", required = true, value_delimiter = ',')]
    pub targets: Vec<String>,

    /// Look and change nothing
    #[arg(long)]
    pub readonly: bool,

    /// How the screen looks and behaves
    #[command(flatten)]
    pub look: Look,
}

/// Opens the screen.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    if !args.targets.first().is_some_and(|it| it.starts_with("ssh:")) {
        return Err(Failure::usage("could not attach").caused_by("only `ssh:` leads to other hosts").hint(
            "write `hotseat attach ssh:HOST`; a screen of this host attaches to its agent by itself: `hotseat`",
        ));
    }
    let loaded = with_screen_mistakes(cx.load(Commands::Defer));
    let places = hosts::of_names(&args.targets, &loaded.config.remotes)?;
    if places.contains(&hosts::Place::Here) {
        return Err(Failure::usage("could not attach")
            .caused_by("`local` is this host")
            .hint("use `hotseat --host local,…` for this host and others in one screen"));
    }
    open::show_hosts(cx, loaded, places, args.readonly, &args.look)
}
