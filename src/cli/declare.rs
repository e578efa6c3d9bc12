//! `hotseat declare`: open an incident.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::incident::{failed, open_store, unwritable};
use crate::cli::output::Output;
use crate::clock;
use crate::domain::format;
use crate::domain::incident::{DeclareRequest, Severity, when};

/// Declare an incident
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is wrong, in one line
    #[arg(required = true, value_name = "TITLE")]
    title: Vec<String>,
    /// How bad: 1 (everything is down) to 4 (minor)
    #[arg(long, short, value_name = "1-4", default_value = "3")]
    severity: Severity,
    /// When users began to suffer: `-12m`, `14:05`, `2024-08-19 14:05`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    impact_start: Option<String>,
}

/// Declares an incident and prints its name.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    cx.refuse_beside_owner("hotseat declare")?;
    let now = clock::now();
    let impact_start = args.impact_start.as_deref().map(|text| format::parse_when(text, now, &clock::zone()));
    let impact_start = impact_start.transpose().map_err(Failure::usage)?;
    if let Some(at) = impact_start {
        when::not_in_the_future(at, now).map_err(Failure::usage)?;
    }
    let request = DeclareRequest { title: args.title.join(" "), severity: args.severity, impact_start };
    let mut store = open_store(cx);
    let added = store.declare(&request, now).map_err(|error| failed("the incident was not declared", error))?;
    writeln!(out.stdout, "{}", added.incident.name()).map_err(unwritable)?;
    // The incident is declared whether or not anybody reads this.
    let _ = writeln!(out.stderr, "declared {} in `{}`", request.severity, store.dir(added.incident.name()).display());
    Ok(ExitCode::SUCCESS)
}
