//! `hotseat ack`: mark a failing probe as seen by you.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::probe::find;
use crate::cli::{Context, past};
use crate::clock;
use crate::config::{Config, paths};
use crate::domain::alert::{Acknowledgement, AlertFact};
use crate::domain::format;
use crate::domain::ids::ProbeId;
use crate::domain::probe::Ack;
use crate::service::probe::acks;

/// Mark a failing probe as seen by you
///
/// The mark is written to the state directory, where a running screen sees it. It counts for the failure that
/// lasts now and goes away when the probe is up again. It stops reminders and the next steps of a ladder, and goes
/// on to PagerDuty.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the probe
    #[arg(value_name = "NAME")]
    pub name: String,

    /// Take it back: reminders and the next steps of a ladder go on
    ///
    /// PagerDuty knows no such thing: what was acknowledged there stays so until somebody snoozes or reassigns it there.
    #[arg(long, conflicts_with_all = ["sticky", "until"])]
    pub undo: bool,

    /// It counts until the probe is up again, also when the trouble turns to another kind
    #[arg(long)]
    pub sticky: bool,

    /// It counts no longer than this, as in `2h` or `18:30`; then it is told again
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// Mark a failing probe as seen by you.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    cx.refuse_beside_owner("hotseat ack")?;
    let config = cx.load_usable(out)?;
    let spec = find(&config, &args.name)?;
    let by = paths::user_name();
    if args.undo {
        return take_back(args, cx, &config, by, out);
    }
    if args.sticky || args.until.is_some() {
        return acknowledge(args, cx, &config, by, out);
    }
    let state_dir = cx.state_dir();
    acks::record(&state_dir, &spec.name, Ack { by: by.clone(), at: clock::now() })
        .map_err(|error| unmarked("write the mark", &state_dir, error))?;
    writeln!(out.stderr, "marked `{}` as seen by {by}; it goes away when the probe is up again", spec.name)?;
    Ok(ExitCode::SUCCESS)
}

fn unmarked(what: &str, state_dir: &Path, error: io::Error) -> Failure {
    Failure::internal(format!("could not {what}: {}", state_dir.display()))
        .caused_by(error)
        .hint("check the directory's permissions and space, or name another one with `--state-dir`")
}

/// Takes the mark of a probe and the acknowledgements of its alerts back, whoever made them.
fn take_back(
    args: &Args,
    cx: &Context,
    config: &Config,
    by: String,
    out: &mut Output<'_>,
) -> Result<ExitCode, Failure> {
    let (now, state_dir) = (clock::now(), cx.state_dir());
    acks::forget(&state_dir, &args.name).map_err(|error| unmarked("take the mark back", &state_dir, error))?;
    let probe = ProbeId::new(&cx.host(config), &args.name);
    past::ask(cx, &by, AlertFact::Unacknowledged { probe, by: by.clone(), at: now }, now)?;
    writeln!(out.stderr, "`{}` counts as not seen by anybody: reminders and ladders go on", args.name)?;
    if config.alerts.notifiers.iter().any(|it| it.kind == "pagerduty") {
        writeln!(out.stderr, "PagerDuty cannot be told so: what was acknowledged there stays so")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Acknowledges the alerts of a probe in a way that a mark cannot say.
fn acknowledge(
    args: &Args,
    cx: &Context,
    config: &Config,
    by: String,
    out: &mut Output<'_>,
) -> Result<ExitCode, Failure> {
    let (now, zone) = (clock::now(), clock::zone());
    let until = args.until.as_deref().map(|it| past::ahead("--until", it, now, &zone)).transpose()?;
    if until.is_some_and(|it| it <= now) {
        return Err(Failure::usage("`--until` is over already").hint("write `2h` or a time to come"));
    }
    let probe = ProbeId::new(&cx.host(config), &args.name);
    let ack = Acknowledgement { by: by.clone(), at: now, sticky: args.sticky, until };
    past::ask(cx, &by, AlertFact::Acknowledged { probe, ack }, now)?;
    let how_long = match (until, args.sticky) {
        (Some(until), _) => format!("until {} at most", format::moment(now, until, &zone)),
        (None, _) => "until it is up again, whatever it turns to".to_string(),
    };
    writeln!(out.stderr, "acknowledged `{}` as {by}, {how_long}", args.name)?;
    Ok(ExitCode::SUCCESS)
}
