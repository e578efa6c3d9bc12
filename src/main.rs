//! Arguments in, exit code out.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use hotseat::cli::failure::Failure;
use hotseat::cli::output::Output;
use hotseat::cli::{Cli, Command, Context, run};

/// What is wrong with our own program, or with the arguments of `probe`, to a monitoring that calls it.
const NAGIOS_UNKNOWN: u8 = 3;
/// Something of ours failed.
const INTERNAL: u8 = 3;

fn main() -> ExitCode {
    let mut stdout = Pipe { stream: io::stdout(), broken: false };
    let mut stderr = io::stderr();
    let ended = {
        let mut out = Output { stdout: &mut stdout, stderr: &mut stderr };
        // The panic hook has said what happened.
        catch_unwind(AssertUnwindSafe(|| start(&mut out))).unwrap_or(Ok(ExitCode::from(INTERNAL)))
    };
    let flushed = stdout.flush();
    if stdout.broken {
        // `hotseat logs | head` has got what it wanted.
        return ExitCode::SUCCESS;
    }
    let (failure, code) = match (ended, flushed) {
        (Ok(code), Ok(())) => return code,
        (Ok(_), Err(error)) => (Failure::output(&error), ExitCode::from(INTERNAL)),
        (Err((failure, code)), _) => (failure, code),
    };
    // There is nowhere left to report to when stderr is closed.
    let _ = stderr.write_all(failure.text().as_bytes());
    code
}

fn start(out: &mut Output<'_>) -> Result<ExitCode, (Failure, ExitCode)> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return Ok(usage(&error, out)),
    };
    run(&cli, &Context::new(&cli), out).map_err(|failure| {
        let is_probe = matches!(cli.command, Some(Command::Probe(_)));
        let code = if is_probe { ExitCode::from(NAGIOS_UNKNOWN) } else { failure.exit_code() };
        (failure, code)
    })
}

/// Prints what clap says: help and version to stdout, mistakes to stderr.
fn usage(error: &clap::Error, out: &mut Output<'_>) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = write!(out.stdout, "{}", error.render());
        return ExitCode::SUCCESS;
    }
    let _ = write!(out.stderr, "{}", error.render());
    // Options with a value may stand before it; taking `--config probe` for it costs a 3 instead of a 2.
    let is_probe = std::env::args_os().skip(1).any(|it| it == "probe");
    ExitCode::from(if is_probe { NAGIOS_UNKNOWN } else { 2 })
}

/// Standard output that remembers that its reader went away.
struct Pipe<W> {
    stream: W,
    broken: bool,
}

impl<W> Pipe<W> {
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.broken |= error.kind() == io::ErrorKind::BrokenPipe;
        }
        result
    }
}

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(bytes);
        self.note(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.stream.flush();
        self.note(flushed)
    }
}
