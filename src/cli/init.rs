//! `hotseat init`: write a commented config to start from.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::config::{DEFAULT, paths};

/// Write a commented config to start from
///
/// Everything in it is commented out, so that it changes nothing until you edit it. An existing file is
/// never overwritten unless `--force` is given; then the old one is kept beside it with `.bak` at its end.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write here instead of to `--config` or `$XDG_CONFIG_HOME/hotseat/config.toml`
    #[arg(long, value_name = "FILE")]
    pub path: Option<PathBuf>,

    /// Replace an existing file, keeping it as FILE.bak
    #[arg(long)]
    pub force: bool,

    /// Print it to stdout instead of writing a file
    #[arg(long, conflicts_with_all = ["path", "force"])]
    pub print: bool,
}

/// Write a commented config to start from.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    if args.print {
        out.stdout.write_all(DEFAULT.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = args.path.clone().or_else(|| cx.config.clone()).or_else(paths::config_file);
    let Some(path) = chosen else {
        return Err(Failure::usage("there is no home directory to write a config to").hint("name a file with `--path`"));
    };
    let file = path.display();
    let fail = |error: io::Error| {
        Failure::internal(format!("could not write config: {file}"))
            .caused_by(error)
            .hint("name another file with `--path`")
    };
    if let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        paths::make_private_dir(folder).map_err(fail)?;
    }
    if args.force && path.exists() {
        let mut backup = path.clone().into_os_string();
        backup.push(".bak");
        std::fs::rename(&path, backup).map_err(fail)?;
    }
    // `create_new` does not follow a link and does not race with another `init`.
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let mut config = match opened {
        Ok(config) => config,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Failure::usage(format!("there is a config already: {file}"))
                .hint("edit it, or replace it with `--force` (it is kept as `.bak`)"));
        }
        Err(error) => return Err(fail(error)),
    };
    config.write_all(DEFAULT.as_bytes()).and_then(|()| config.sync_all()).map_err(fail)?;
    writeln!(out.stdout, "wrote {file}")?;
    writeln!(out.stderr, "edit it, then run `hotseat check`; a running hotseat takes changes into use by itself")?;
    Ok(ExitCode::SUCCESS)
}
