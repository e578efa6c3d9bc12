//! `hotseat explain`: why somebody was paged about a probe, or nobody.

use std::fmt::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::probe::find;
use crate::cli::{Context, past};
use crate::clock;
use crate::domain::alert::explain::{ExplainRequest, Explanation};
use crate::domain::ids::ProbeId;
use crate::domain::{format, sanitise};
use crate::runtime::{explain, journal};
use crate::store::reader::Reader;

/// Say why somebody was paged about a probe, or nobody
///
/// Every outcome, threshold, dependency, silence, maintenance, page and attempt to deliver that led to it, in order
/// of time. Whoever watches the state directory is asked; where nobody does, or with `--at`, its files are.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the probe
    #[arg(value_name = "NAME")]
    pub name: String,

    /// As it was then, as in `-2h`, `14:30` or `2026-08-19T14:30`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub at: Option<String>,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Say why somebody was paged about a probe, or nobody.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    if args.at.is_none()
        && let Some((_, Some(explanation))) = past::watched(cx, Some(&args.name), out)?
    {
        return print(args, &explanation, out);
    }
    let config = cx.load_usable(out)?;
    let (now, zone) = (clock::now(), clock::zone());
    let at = args.at.as_deref().map(|it| past::when("--at", it, now, &zone)).transpose()?.unwrap_or(now).min(now);
    let probe = ProbeId::new(&cx.host(&config), &args.name);
    let board = past::board_at(cx, at, out)?;
    let is_known = board.as_ref().is_some_and(|it| it.probes.get(&probe).is_some());
    if !is_known {
        // A probe that was removed from the config can still be asked about; a slip of the pen cannot.
        find(&config, &args.name)?;
    }
    let Some(board) = board else {
        let state_dir = cx.state_dir();
        let cause = match journal::begins(&state_dir) {
            Ok(Some(begins)) => format!(
                "the journal in {} begins at {}: what was older is not there or made room",
                state_dir.display(),
                format::full(begins, &zone)
            ),
            Ok(None) | Err(_) => format!("there is no journal in {}", state_dir.display()),
        };
        return Err(Failure::usage(format!("nothing is known of {}", format::full(at, &zone)))
            .caused_by(cause)
            .hint("the journal holds hours to days; a hotseat must have run with this state directory then"));
    };
    let request = ExplainRequest { probe, at: None };
    let mut explanation = board.alerts.explain(at, &board.probes, &request);
    if let Err(error) = explain::complete(&mut explanation, &mut Reader::new(&cx.state_dir(), None)) {
        writeln!(out.stderr, "warning: older outcomes and attempts are missing: {error}")?;
    }
    print(args, &explanation, out)
}

fn print(args: &Args, explanation: &Explanation, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    if args.json {
        out.json(explanation)?;
    } else {
        out.stdout.write_all(text(explanation, "", clock::now(), &clock::zone()).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The explanation on a page; `given` is what its time is said under, as in `, if nothing changes`.
pub(super) fn text(explanation: &Explanation, given: &str, now: Timestamp, zone: &TimeZone) -> String {
    let name = explanation.probe.name();
    let mut text = format!("{name}: {}\n", format::local_times(&sanitise::text(&explanation.verdict), now, zone));
    let _ = writeln!(text, "as of {}{given}\n", format::full(explanation.at, zone));
    for fold in explanation.folded() {
        let at = fold.step.at.map_or_else(String::new, |it| format::moment(now, it, zone));
        let line = format!("{at:<11}  {:<11}  {}", fold.step.kind, fold.text(now, zone));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::explain::Step;
    use crate::domain::ids::HostId;

    #[test]
    fn what_is_well_is_one_line_and_times_are_those_of_the_reader() {
        let at = |text: &str| text.parse::<Timestamp>().ok();
        let step = |time: &str, kind: &str, text: &str| Step { at: at(time), kind: kind.into(), text: text.into() };
        let explanation = Explanation {
            probe: ProbeId::new(&HostId::new("h"), "api"),
            at: "2026-11-22T10:00:00Z".parse().expect("a time"),
            verdict: "paged at 2026-11-22T09:59:00.25Z, delivered: trigger to `sms`".into(),
            steps: vec![
                step("", "rule", "down when 2 of the last 3 results fail"),
                step("2026-11-22T09:57:00Z", "outcome", "ok after 2ms"),
                step("2026-11-22T09:57:30Z", "outcome", "ok after 3ms"),
                step("2026-11-22T09:58:00Z", "outcome", "fail after 3ms: status is \u{1b}[31m502"),
            ],
        };
        let now = "2026-11-22T10:00:00Z".parse().expect("a time");
        let text = text(&explanation, "", now, &TimeZone::fixed(jiff::tz::offset(1)));
        assert_eq!(
            text,
            "api: paged at 10:59:00, delivered: trigger to `sms`\n\
             as of 2026-11-22 11:00:00 +01:00\n\n\
             \x20            rule         down when 2 of the last 3 results fail\n\
             10:57:00     outcome      ok after 2ms (2 times, the last at 10:57:30)\n\
             10:58:00     outcome      fail after 3ms: status is 502\n"
        );
    }
}
