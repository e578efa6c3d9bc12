//! Arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use hotseat::cli::output::Output;
use hotseat::cli::{Cli, Context, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let cx = Context::new(&cli);
    let (mut stdout, mut stderr) = (std::io::stdout(), std::io::stderr());
    let mut out = Output { stdout: &mut stdout, stderr: &mut stderr };
    match run(&cli, &cx, &mut out) {
        Ok(code) => code,
        Err(failure) => {
            // There is nowhere left to report to when stderr is closed.
            let _ = out.stderr.write_all(failure.text().as_bytes());
            failure.exit_code()
        }
    }
}
