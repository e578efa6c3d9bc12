//! `hotseat replay`: the pages that a config would send for what was recorded.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Context, explain, past};
use crate::clock;
use crate::domain::alert::replay::{AFTERWARDS, Page, Record, Replay, Replayed};
use crate::domain::fact::{Actor, Envelope, Fact};
use crate::domain::ids::ProbeId;
use crate::domain::probe::ProbeFact;
use crate::domain::{format, sanitise};
use crate::runtime::journal;
use crate::store::reader::Reader;

/// Longest line of a record: a fact with all its evidence.
const LINE_MAX_BYTES: u64 = 1 << 20;
/// Decisions of people taken from the journal: more than anybody makes by hand in the days that it holds.
const DECISIONS_MAX: usize = 100_000;

const EXAMPLES: &str = "\
Examples:
  hotseat replay --since -2h                       what this config would have sent in the last two hours
  hotseat --config new.toml replay --since -2h     what another one would have
  hotseat replay storm.ndjson --why                a recording, and why each probe was paged or not

A line of a recording is one of the journal, or
  {\"at\":\"2026-11-22T01:00:00Z\",\"probe\":\"api\",\"result\":\"fail\",\"text\":\"status is 502\"}
with `ok`, `degraded`, `fail` or `unknown` as its result.";

/// Run recorded outcomes through the rules and print the pages that the config would send
///
/// Nothing is sent and nothing is written. Every notifier takes everything at once.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A recording, or `-` for what is piped in; without it the history of this state directory
    #[arg(value_name = "FILE", required_unless_present = "since")]
    pub file: Option<PathBuf>,

    /// From when on, as in `-2h`, `14:30` or `2026-08-19T14:30`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,

    /// Until when
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,

    /// Say also why each probe that was in trouble was paged or not, as it is if nothing changes for 5 min after the
    /// last record
    #[arg(long)]
    pub why: bool,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Run recorded outcomes through the rules and print the pages that the config would send.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let config = cx.load_usable(out)?;
    let (now, zone) = (clock::now(), clock::zone());
    let bound = |option, text: &Option<String>, usual| {
        text.as_deref().map_or(Ok(usual), |it| past::when(option, it, now, &zone))
    };
    let range = bound("--since", &args.since, Timestamp::MIN)?..bound("--until", &args.until, Timestamp::MAX)?;
    let host = cx.host(&config);
    let setups = config.probes.iter().map(|it| (ProbeId::new(&host, &it.name), it.setup()));
    let mut replay = Replay::new(config.alerts.clone(), setups);
    match &args.file {
        Some(file) => {
            let odd = feed_file(&mut replay, file, &range)?;
            if let Some((count, first)) = odd {
                writeln!(out.stderr, "warning: {} passed over: {first}", format::plural(count, "line"))?;
            }
        }
        None => feed_history(&mut replay, cx, &range, out)?,
    }
    let replayed = replay.finish();
    if args.json {
        out.json(&replayed)?;
    } else {
        print(&replayed, args.why, now, &zone, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Feeds a file; answers how many lines were no records, and what was wrong with the first of them.
fn feed_file(
    replay: &mut Replay,
    file: &PathBuf,
    range: &std::ops::Range<Timestamp>,
) -> Result<Option<(u64, String)>, Failure> {
    let failed =
        |error: io::Error| Failure::usage(format!("could not read the recording: {}", file.display())).caused_by(error);
    let mut reader: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(file).map_err(failed)?))
    };
    let (mut number, mut odd): (u64, Option<(u64, String)>) = (0, None);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = io::Read::take(&mut reader, LINE_MAX_BYTES).read_until(b'\n', &mut line).map_err(failed)?;
        if length == 0 {
            return Ok(odd);
        }
        number += 1;
        match Record::parse(&String::from_utf8_lossy(&line)) {
            Ok(Some(record)) if range.contains(&record.at()) => replay.feed(record),
            Ok(_) => {}
            Err(error) => {
                let first = || format!("line {number}: {}", sanitise::text(&error));
                odd = Some(odd.map_or_else(|| (1, first()), |(count, text)| (count + 1, text)));
            }
        }
    }
}

/// Feeds the outcomes of the store and, in between, what people decided as the journal has it.
fn feed_history(
    replay: &mut Replay,
    cx: &Context,
    range: &std::ops::Range<Timestamp>,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let state_dir = cx.state_dir();
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Failure::internal(format!("could not read the {what}: {}", state_dir.display()))
            .caused_by(error)
            .hint("check the directory with `hotseat doctor`, or name another one with `--state-dir`")
    };
    let mut decided: VecDeque<Envelope> = VecDeque::new();
    let gone = journal::facts(&state_dir, range.clone(), |envelope| {
        if matches!(envelope.fact, Fact::Alert(_) | Fact::Probe(ProbeFact::Acknowledged { .. })) {
            decided.push_back(envelope);
        }
        decided.len() < DECISIONS_MAX
    })
    .map_err(|error| failed("journal", &error))?;
    if gone > 0 {
        writeln!(
            out.stderr,
            "warning: the oldest part of the journal made room while it was read: what people decided then is missing"
        )?;
    }
    let host = cx.host(&crate::config::Config::default());
    let read = Reader::new(&state_dir, None).walk(range.clone(), |probe, outcome| {
        let at = outcome.at;
        while decided.front().is_some_and(|it| it.at <= at)
            && let Some(envelope) = decided.pop_front()
        {
            replay.feed(Record::Envelope(Box::new(envelope)));
        }
        let fact = Fact::Probe(ProbeFact::Outcome { probe: probe.clone(), outcome: Box::new(outcome), next: None });
        let envelope = Envelope { host: host.clone(), seq: 0, at, actor: Actor::Runtime, fact };
        replay.feed(Record::Envelope(Box::new(envelope)));
        true
    });
    read.map_err(|error| failed("history", &error))?;
    decided.into_iter().for_each(|it| replay.feed(Record::Envelope(Box::new(it))));
    Ok(())
}

fn print(replayed: &Replayed, why: bool, now: Timestamp, zone: &TimeZone, out: &mut Output<'_>) -> Result<(), Failure> {
    for Page { delivery, if_nothing_changes } in &replayed.pages {
        let (at, action, notifier) =
            (format::moment(now, delivery.at, zone), delivery.action.word(), &delivery.notifier);
        let condition = if *if_nothing_changes { "if nothing changes: " } else { "" };
        writeln!(out.stdout, "{at}  {notifier}  {action}  {condition}{}", sanitise::text(&delivery.message.title))?;
    }
    if why {
        for explanation in &replayed.why {
            let given = format!(", if nothing changes for {} min after the last record", AFTERWARDS.as_mins());
            writeln!(out.stdout, "\n{}", explain::text(explanation, &given, now, zone).trim_end())?;
        }
    }
    let later = replayed.pages.iter().filter(|it| it.if_nothing_changes).count() as u64;
    let (pages, outcomes) = (replayed.pages.len() as u64 - later, replayed.outcomes);
    let (pages, outcomes) = (format::plural(pages, "page"), format::plural(outcomes, "outcome"));
    let later = match later {
        0 => String::new(),
        later => format!(", and {later} more within {} min if nothing changes", AFTERWARDS.as_mins()),
    };
    writeln!(out.stderr, "{pages} for {outcomes}{later}")?;
    if !replayed.unknown.is_empty() {
        let names: Vec<String> = replayed.unknown.keys().map(|it| sanitise::text(it)).collect();
        writeln!(out.stderr, "warning: the config has no probe {}", past::some_of(&names))?;
    }
    Ok(())
}
