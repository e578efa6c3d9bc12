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
    let code = {
        let mut out = Output { stdout: &mut stdout, stderr: &mut stderr };
        // The panic hook has said what happened.
        catch_unwind(AssertUnwindSafe(|| start(&mut out))).unwrap_or(ExitCode::from(INTERNAL))
    };
    let flushed = stdout.flush();
    match flushed {
        // `hotseat logs | head` has got what it wanted.
        _ if stdout.broken => ExitCode::SUCCESS,
        Ok(()) => code,
        Err(error) => {
            let _ = stderr.write_all(Failure::output(&error).text().as_bytes());
            ExitCode::from(INTERNAL)
        }
    }
}

fn start(out: &mut Output<'_>) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error, out),
    };
    match run(&cli, &Context::new(&cli), out) {
        Ok(code) => code,
        Err(failure) => {
            // There is nowhere left to report to when stderr is closed.
            let _ = out.stderr.write_all(failure.text().as_bytes());
            if matches!(cli.command, Some(Command::Probe(_))) {
                ExitCode::from(NAGIOS_UNKNOWN)
            } else {
                failure.exit_code()
            }
        }
    }
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
