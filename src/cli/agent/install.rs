//! `hotseat agent install`: write the unit by which systemd keeps an agent running.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::cli::Context;
use crate::cli::agent::unit::{self, Plan};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::config::paths;
use crate::registry::node::Commands;

/// Name of the unit.
const UNIT: &str = "hotseat-agent.service";
/// There while systemd is what runs the host, see `sd_booted(3)`.
const BOOTED: &str = "/run/systemd/system";

/// Write a systemd unit that keeps the agent running
///
/// The unit lets the agent do what the config needs and nothing else; every choice is explained in it. Run it again
/// after the config has new kinds of probes, logs or backups.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// For your own service manager instead of the host's: needs no root
    #[arg(long)]
    pub user: bool,

    /// Print the unit and write nothing
    #[arg(long)]
    pub print: bool,

    /// Enable and start it as well
    #[arg(long, conflicts_with = "print")]
    pub now: bool,

    /// Overwrite a unit that was changed by hand
    #[arg(long)]
    pub force: bool,
}

/// Writes the unit, or prints it.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let loaded = cx.load(Commands::Defer);
    if let (false, Some(error)) = (loaded.readable, loaded.errors.first()) {
        return Err(Failure::usage("could not use the config").caused_by(error).hint("run `hotseat check`"));
    }
    let config_file = loaded.config.path.as_ref().map(PathBuf::from).or(loaded.missing);
    let config_file = config_file
        .ok_or_else(|| Failure::usage("there is no config and no place for one").hint("name a file with `--config`"))?;
    let absolute = |path: &Path| {
        std::path::absolute(path)
            .map_err(|error| Failure::usage(format!("could not use the path: {}", path.display())).caused_by(error))
    };
    let (config_file, state_dir) = (absolute(&config_file)?, absolute(&cx.state_dir())?);
    let program =
        std::env::current_exe().map_err(|error| Failure::internal("could not find this program").caused_by(error))?;
    if !args.print {
        // What is not there cannot be opened for writing by the unit.
        paths::make_private_dir(&state_dir).map_err(|error| {
            Failure::usage(format!("could not make the state directory: {}", state_dir.display())).caused_by(error)
        })?;
    }
    let account = std::env::var("SUDO_USER").ok().filter(|it| !it.is_empty()).unwrap_or_else(paths::user_name);
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".into());
    let text = unit::render(&Plan {
        program: &program,
        config_file: &config_file,
        state_dir: &state_dir,
        is_user: args.user,
        account: &account,
        path: &path,
        config: &loaded.config,
    });
    if args.print {
        out.stdout.write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let file = place(args.user)?.join(UNIT);
    let written = write(&file, &text, args.force)?;
    writeln!(out.stdout, "{} {}", if written { "wrote" } else { "is as it should be:" }, file.display())?;
    let flag = if args.user { " --user" } else { "" };
    if !Path::new(BOOTED).exists() {
        writeln!(out.stdout, "systemd does not run here; where it does:")?;
    } else if args.now {
        let user: &[&str] = if args.user { &["--user"] } else { &[] };
        systemctl(&[user, &["daemon-reload"]].concat())?;
        systemctl(&[user, &["enable", "--now", UNIT]].concat())?;
        writeln!(out.stdout, "the agent runs; `hotseat agent status` says how it is")?;
    }
    if !(args.now && Path::new(BOOTED).exists()) {
        writeln!(out.stdout, "next: systemctl{flag} daemon-reload\n      systemctl{flag} enable --now hotseat-agent")?;
    }
    if args.user {
        writeln!(out.stdout, "so that it runs while you are not logged in: loginctl enable-linger {account}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where units of people and of the host's administrator are, see `systemd.unit(5)`.
fn place(is_user: bool) -> Result<PathBuf, Failure> {
    if !is_user {
        return Ok(PathBuf::from("/etc/systemd/system"));
    }
    let base = directories::BaseDirs::new().map(|it| it.config_dir().join("systemd/user"));
    base.ok_or_else(|| Failure::usage("there is no home directory for a unit of yours").hint("use `--print`"))
}

/// Writes the unit; `false` when it is there already.
fn write(file: &Path, text: &str, force: bool) -> Result<bool, Failure> {
    let failed = |error: std::io::Error| {
        Failure::usage(format!("could not write the unit: {}", file.display()))
            .caused_by(error)
            .hint("use `--user` for a unit of your own, or `--print` to see it")
    };
    match fs::read_to_string(file) {
        Ok(old) if old == text => return Ok(false),
        Ok(old) if !force && !unit::is_untouched(&old) => {
            return Err(Failure::usage(format!("the unit was changed by hand: {}", file.display()))
                .hint("`--force` overwrites it; changes that are to stay belong into `systemctl edit hotseat-agent`"));
        }
        _ => {}
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(failed)?;
    let mut fresh = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    fresh.write_all(text.as_bytes()).map_err(failed)?;
    use std::os::unix::fs::PermissionsExt;
    fresh.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(failed)?;
    fresh.persist(file).map_err(|error| failed(error.error))?;
    Ok(true)
}

fn systemctl(arguments: &[&str]) -> Result<(), Failure> {
    let line = format!("systemctl {}", arguments.join(" "));
    let failed = || Failure::internal(format!("could not run `{line}`"));
    let status = Command::new("systemctl").args(arguments).status().map_err(|error| failed().caused_by(error))?;
    if status.success() { Ok(()) } else { Err(failed().caused_by(status)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_changed_is_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("a/b.service");
        let config = crate::config::Config::default();
        let render = |account: &str| {
            let (program, path) = (Path::new("/bin/hotseat"), "/bin");
            let (config_file, state_dir) = (Path::new("/c"), dir.path());
            unit::render(&Plan { program, config_file, state_dir, is_user: false, account, path, config: &config })
        };
        assert_eq!(write(&file, &render("one"), false), Ok(true));
        assert_eq!(write(&file, &render("one"), false), Ok(false), "nothing to do");
        assert_eq!(write(&file, &render("two"), false), Ok(true), "nobody has changed it");
        fs::write(&file, render("two") + "Nice=5\n").expect("written");
        assert!(write(&file, &render("one"), false).is_err());
        assert!(fs::read_to_string(&file).expect("read").ends_with("Nice=5\n"));
        assert_eq!(write(&file, &render("one"), true), Ok(true));
    }
}
