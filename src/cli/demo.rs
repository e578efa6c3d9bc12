//! `hotseat demo`: play a scripted outage on real loopback services, logs and backups.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::agent::local::{LocalSetup, Started};
use crate::app::effect::{Notice, NoticeSeverity};
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::open::{self, Look};
use crate::cli::output::Output;
use crate::config::{self, paths};
use crate::demo::director::Stage;
use crate::domain::presence::Visitor;
use crate::registry::node::Commands;

/// What the demo's services get to end; nothing of theirs is worth waiting for.
const STOP_DEADLINE: Duration = Duration::from_millis(200);
/// Times in which something that is still being written may come back while the directory is removed.
const REMOVE_ATTEMPTS: u32 = 3;

/// Play a scripted outage on real loopback services, logs and backups
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Play N times as fast
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = parse_speed)]
    pub speed: f64,

    /// Keep the temporary directory and say where it is
    #[arg(long)]
    pub keep: bool,

    /// How the screen looks and behaves
    #[command(flatten)]
    pub look: Look,
}

/// Plays a scripted outage on real loopback services, logs and backups.
///
/// # Errors
/// When the stage cannot be set up or there is no terminal.
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let fail = |message: &str| Failure::internal(message.to_string());
    let mut directory = tempfile::Builder::new()
        .prefix("hotseat-demo-")
        .tempdir()
        .map_err(|error| fail("could not make a temporary directory").caused_by(error).hint("set `TMPDIR`"))?;
    directory.disable_cleanup(args.keep);
    let played = play(args, cx, directory.path());
    let path = directory.path().display().to_string();
    let said = if args.keep {
        Ok(format!("demo: kept `{path}`; open it with `hotseat --config {path}/config.toml --state-dir {path}/state`"))
    } else {
        remove(directory.path()).map(|()| format!("demo: removed `{path}`"))
    };
    match said {
        // A closed stderr is no reason to fail.
        Ok(text) => drop(writeln!(out.stderr, "{text}")),
        Err(error) if played.is_ok() => {
            return Err(fail(&format!("could not remove `{path}`")).caused_by(error).hint("remove it by hand"));
        }
        Err(_) => {}
    }
    played
}

fn play(args: &Args, cx: &Context, root: &Path) -> Result<ExitCode, Failure> {
    if !std::io::stdout().is_terminal() {
        return Err(Failure::usage("could not open the demo's screen")
            .caused_by("standard output is not a terminal")
            .hint("run `hotseat demo` in a terminal"));
    }
    let cancel = CancellationToken::new();
    let stop = cancel.clone().drop_guard();
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("demo")
        .enable_all()
        .build()
        .map_err(|error| Failure::internal("could not start the demo's services").caused_by(error))?;
    let stage = threads
        .block_on(Stage::build(root, args.speed, &cancel))
        .map_err(|error| Failure::internal("could not set up the demo").caused_by(error))?;
    let (config, state_dir) = (stage.config.clone(), stage.state_dir.clone());
    let read = move |commands| config::load(Some(&config), commands);
    let loaded = read(Commands::Defer);
    let host = cx.host(&loaded.config);
    let greeting = Notice {
        severity: NoticeSeverity::Info,
        text: "demo: an outage begins in 40 s of the script; everything here is real and is removed at the end".into(),
    };
    let handle = threads.handle().clone();
    let staged = host.clone();
    let started: Started = Box::new(move |runtime| {
        let link = runtime.attach_unseen(Visitor::inside("demo"));
        handle.spawn(async move {
            if let Err(error) = stage.play(link, staged, cancel).await {
                tracing::error!("the demo ended: {error}");
            }
        });
    });
    let fresh = read.clone();
    let setup = LocalSetup {
        host,
        user: paths::user_name(),
        readonly: false,
        state_dir,
        loaded,
        fresh: std::sync::Arc::new(move || fresh(Commands::Defer)),
        reader: Some(std::sync::Arc::new(move || read(Commands::Run))),
        started: Some(started),
    };
    let shown = open::show(setup, None, &args.look, cx.color, Some(greeting));
    drop(stop);
    threads.shutdown_timeout(STOP_DEADLINE);
    shown
}

fn remove(path: &Path) -> std::io::Result<()> {
    for _ in 1..REMOVE_ATTEMPTS {
        if std::fs::remove_dir_all(path).is_ok() {
            return Ok(());
        }
    }
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn parse_speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if (0.1..=60.0).contains(&speed) { Ok(speed) } else { Err("from 0.1 to 60".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_number_in_bounds() {
        assert_eq!(parse_speed("10"), Ok(10.0));
        assert!(parse_speed("0").is_err() && parse_speed("1000").is_err() && parse_speed("x").is_err());
    }
}
