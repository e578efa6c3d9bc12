//! `hotseat beat`: a job reports to its heartbeat.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use uuid::Uuid;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::clock;
use crate::config::{Config, Loaded};
use crate::domain::probe::heartbeat::{Beat, OUTPUT_MAX, Signal};
use crate::domain::sanitise;
use crate::registry::node::Commands;
use crate::service::probe::heartbeat::serve::{Message, SOCKET};
use crate::service::probe::heartbeat::{self, file};

/// A runtime that does not answer within this is passed over: the job must not wait for its monitor.
const RUNTIME_MAX: Duration = Duration::from_secs(2);

/// Report to a heartbeat that a job is done
///
/// Taken by the running hotseat, else written to the state directory, where the next one finds it. What is piped in
/// is kept as the job's output, its first 10 kB: `nightly.sh 2>&1 | hotseat beat nightly`. That says nothing of how
/// the job ended; `nightly.sh; hotseat beat nightly --exit $?` does.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the heartbeat
    #[arg(value_name = "NAME")]
    pub name: String,

    /// The job begins
    #[arg(long, group = "signal")]
    pub start: bool,

    /// The job failed
    #[arg(long, group = "signal")]
    pub fail: bool,

    /// The job ended with this code; 0 is well
    #[arg(long, value_name = "N", group = "signal", allow_hyphen_values = true)]
    pub exit: Option<i32>,

    /// What the job says, instead of what is piped in
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
}

impl Args {
    fn signal(&self) -> Signal {
        match self.exit {
            Some(code) => Signal::Exit(code),
            None if self.start => Signal::Start,
            None if self.fail => Signal::Fail,
            None => Signal::Success,
        }
    }
}

/// Report to a heartbeat that a job is done.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let loaded = cx.load(Commands::Defer);
    // A config that cannot be read is no reason to lose a beat; a name that it does not have is a mistake.
    if loaded.readable && !loaded.deferred && loaded.errors.is_empty() {
        check_name(&loaded.config, &args.name)?;
    } else if !heartbeats(&loaded.config).any(|it| it == args.name) {
        let (name, why) = (sanitise::text(&args.name), doubt(&loaded));
        writeln!(
            out.stderr,
            "warning: {why}, so whether there is a heartbeat `{name}` is not known; the beat is kept until there is one \
             (run `hotseat check`)"
        )?;
    }
    let text = match &args.message {
        Some(message) => message.clone().into_bytes(),
        None if is_piped_in() => read_output(io::stdin().lock()),
        None => Vec::new(),
    };
    let id = Uuid::now_v7().to_string();
    let boot = file::boot_time();
    let beat = Beat { id, at: clock::now(), boot, signal: args.signal(), text: file::output(&text) };
    let state_dir = cx.state_dir();
    let message = Message { name: args.name.clone(), beat };
    if let Err(refusal) = tell_runtime(&state_dir.join(SOCKET), &message) {
        if cx.verbose > 0 {
            writeln!(out.stderr, "not taken by a running hotseat ({}), written to the state directory", refusal)?;
        }
        cx.refuse_beside_owner("hotseat beat")?;
        file::append(&state_dir, &message.name, &message.beat).map_err(|error| {
            Failure::internal(format!("could not keep the beat: {}", state_dir.display()))
                .caused_by(error)
                .hint("check the directory's permissions and space, or name another one with `--state-dir`")
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Why the heartbeats that were read may not be all.
fn doubt(loaded: &Loaded) -> String {
    let file = loaded.config.path.as_deref().map(sanitise::text).unwrap_or_default();
    match loaded.errors.len() {
        _ if loaded.missing.is_some() => "there is no config".to_string(),
        _ if !loaded.readable => format!("`{file}` could not be read"),
        0 => format!("entries of `{file}` wait for a command"),
        1 => format!("`{file}` has a mistake"),
        count => format!("`{file}` has {count} mistakes"),
    }
}

fn heartbeats(config: &Config) -> impl Iterator<Item = &str> {
    config.probes.iter().filter(|it| it.kind == heartbeat::KIND.name).map(|it| it.name.as_str())
}

fn check_name(config: &Config, name: &str) -> Result<(), Failure> {
    let names = || heartbeats(config);
    if names().any(|it| it == name) {
        return Ok(());
    }
    let failure = Failure::usage(format!("there is no heartbeat `{}`", sanitise::text(name)));
    let all: Vec<&str> = names().collect();
    Err(failure.instead_of(name, &all, "add a `[[probe]]` with `heartbeat = \"24h\"` to the config"))
}

/// True when something is piped or redirected in: a terminal would be waited for, and cron gives none.
fn is_piped_in() -> bool {
    let kind = fs::metadata("/dev/fd/0").or_else(|_| fs::metadata("/dev/stdin")).map(|it| it.file_type());
    kind.is_ok_and(|it| it.is_fifo() || it.is_file())
}

/// Reads to the end, so that the job is not ended by a closed pipe, and keeps the beginning.
fn read_output(mut input: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return kept,
            Ok(length) => {
                let room = OUTPUT_MAX - kept.len();
                kept.extend_from_slice(&buffer[..length.min(room)]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return kept,
        }
    }
}

/// Hands the beat to a running hotseat; says why it was not taken.
fn tell_runtime(socket: &Path, message: &Message) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(RUNTIME_MAX))?;
    stream.set_read_timeout(Some(RUNTIME_MAX))?;
    stream.write_all(&serde_json::to_vec(message)?)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.take(1024).read_to_string(&mut answer)?;
    if answer.trim_end() == "ok" { Ok(()) } else { Err(io::Error::other(sanitise::text(answer.trim_end()))) }
}
