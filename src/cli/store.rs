//! `hotseat store`: what is kept of probes and alerts, whether it is sound, and to make its sums again.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::failure::{Failure, FailureKind};
use crate::cli::output::Output;
use crate::clock;
use crate::domain::format;
use crate::runtime::lock::{Acquired, StateLock};
use crate::store::database::{FILE_NAME, StoreError};
use crate::store::file_system;
use crate::store::inspect::{self, Stat};

/// Show, check or rebuild what is kept of probes and alerts
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say how large it is and what it holds
    Stat(Json),
    /// Look for damage; exits with 1 when there is some
    Check(Json),
    /// Make the sums of the history again from what they are derived from; hotseat must not run meanwhile
    Rebuild,
}

#[derive(Debug, clap::Args)]
struct Json {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Show, check or rebuild what is kept of probes and alerts.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let state_dir = cx.state_dir();
    match &args.command {
        Command::Stat(args) => stat(args, &state_dir, out),
        Command::Check(args) => check(args, &state_dir, out),
        Command::Rebuild => rebuild(&state_dir, out),
    }
}

fn stat(args: &Json, state_dir: &Path, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let stat = inspect::stat(state_dir).map_err(|error| unreadable(&error))?;
    if args.json {
        out.json(&stat)?;
        return Ok(ExitCode::SUCCESS);
    }
    match stat {
        Some(stat) => out.stdout.write_all(text(&stat, file_system::of(state_dir).0).as_bytes())?,
        None => nothing(state_dir, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(stat: &Stat, file_system: &str) -> String {
    let range = match (stat.since, stat.until) {
        (Some(since), Some(until)) => format!(", {since:.0} to {until:.0}"),
        _ => String::new(),
    };
    let rows = [
        ("file", format!("{} ({file_system} file system)", stat.path)),
        ("size", format!("{}, of which {} in use", format::bytes(stat.disk_bytes), format::bytes(stat.used_bytes))),
        ("probes", stat.probes.to_string()),
        ("runs", format!("{}{range}; {} not fine", stat.outcomes, stat.failures)),
        ("sums", format!("{} of five minutes, {} of an hour", stat.minutes, stat.hours)),
        ("alerts", format::plural(stat.alert_rows, "row")),
        (
            "outbox",
            format!(
                "{} to be sent, {} in all, {}",
                stat.open_deliveries,
                stat.deliveries,
                format::plural(stat.attempts, "attempt")
            ),
        ),
    ];
    rows.iter().map(|(name, value)| format!("{name:<8}{value}\n")).collect()
}

/// For scripts.
#[derive(Debug, Serialize)]
struct Soundness {
    sound: bool,
    faults: Vec<String>,
}

fn check(args: &Json, state_dir: &Path, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let found = match inspect::check(state_dir) {
        // So damaged that it cannot be looked through is an answer as well.
        Err(StoreError::Damaged { error, .. }) => Some(vec![error.to_string()]),
        other => other.map_err(|error| unreadable(&error))?,
    };
    let is_there = found.is_some();
    let faults = found.unwrap_or_default();
    let sound = faults.is_empty();
    if args.json {
        out.json(&Soundness { sound, faults })?;
    } else if !is_there {
        nothing(state_dir, out)?;
    } else if sound {
        writeln!(out.stdout, "{} is sound", state_dir.join(FILE_NAME).display())?;
    } else {
        for fault in &faults {
            writeln!(out.stdout, "{fault}")?;
        }
        let hint = "hotseat moves a damaged file aside by itself when it meets the damage, and begins a new one";
        writeln!(out.stderr, "hint: {hint}")?;
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn rebuild(state_dir: &Path, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    if !state_dir.join(FILE_NAME).exists() {
        nothing(state_dir, out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let failure = || Failure::new(FailureKind::Internal, "could not rebuild the store");
    // Held to the end: only one writes.
    let _lock = match StateLock::acquire(state_dir, clock::now()) {
        Ok(Acquired::Held(lock)) => lock,
        Ok(Acquired::Taken(holder)) => {
            return Err(failure()
                .caused_by(format!("hotseat runs on {} ({holder}) and writes to it", state_dir.display()))
                .hint("leave it first, on all screens; while it runs it keeps the sums right by itself"));
        }
        Err(error) => return Err(failure().caused_by(format!("{}: {error}", state_dir.display()))),
    };
    let sums = inspect::rebuild(state_dir).map_err(|error| failure().caused_by(error))?;
    writeln!(out.stdout, "{} made again", format::plural(sums, "sum"))?;
    Ok(ExitCode::SUCCESS)
}

fn nothing(state_dir: &Path, out: &mut Output<'_>) -> Result<(), Failure> {
    writeln!(out.stdout, "nothing is kept yet in {}", state_dir.display())?;
    Ok(())
}

fn unreadable(error: &StoreError) -> Failure {
    Failure::internal("could not read the store").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a sub-command; what it wrote, or why it failed.
    fn said(state_dir: &Path, command: Command) -> Result<String, Failure> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let cx = Context { state_dir: Some(state_dir.to_path_buf()), ..Context::default() };
        run(&Args { command }, &cx, &mut Output { stdout: &mut stdout, stderr: &mut stderr })?;
        Ok(String::from_utf8(stdout).expect("text"))
    }

    #[test]
    fn nothing_is_rebuilt_while_a_runtime_holds_the_state_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let text = said(dir.path(), Command::Rebuild).expect("fine");
        assert!(text.starts_with("nothing is kept yet"), "{text}");
        drop(crate::store::database::Database::open(dir.path()).expect("made"));
        let lock = StateLock::acquire(dir.path(), clock::now()).expect("a lock");
        assert!(matches!(lock, Acquired::Held(_)));
        let text = said(dir.path(), Command::Rebuild).expect_err("refused").text();
        assert!(text.starts_with("error: could not rebuild the store\ncaused by: hotseat runs on "), "{text}");
        assert!(text.contains(&format!("(pid {} since ", std::process::id())), "{text}");
        drop(lock);
        assert_eq!(said(dir.path(), Command::Rebuild).expect("fine"), "0 sums made again\n");
        let text = said(dir.path(), Command::Check(Json { json: false })).expect("fine");
        assert!(text.ends_with("store.db is sound\n"), "{text}");
    }

    #[test]
    fn a_damaged_file_is_told_from_a_sound_one() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(FILE_NAME), "no database, and long enough for one".repeat(99)).expect("written");
        let text = said(dir.path(), Command::Check(Json { json: true })).expect("an answer");
        assert_eq!(text, "{\"sound\":false,\"faults\":[\"file is not a database\"]}\n");
        let text = said(dir.path(), Command::Stat(Json { json: false })).expect_err("no numbers").text();
        assert!(text.contains("is damaged"), "{text}");
    }
}
