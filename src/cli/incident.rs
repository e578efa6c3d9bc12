//! `hotseat incident`: list, show or change incidents.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::clock;
use crate::config::paths;
use crate::domain::format;
use crate::domain::ids::IncidentId;
use crate::domain::incident::fold::Incident;
use crate::domain::incident::{IncidentChange, Severity, Status, name};
use crate::domain::sanitise;
use crate::registry::node::Commands;
use crate::service::incident::files::StoreError;
use crate::service::incident::store::IncidentStore;

/// List, show or change incidents
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List incidents and log-books, newest first
    List(List),
    /// Show an incident with its timeline
    Show(Show),
    /// Change the title, summary, action taken, severity or status of an incident
    Set(Set),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Print one JSON array
    #[arg(long)]
    json: bool,
    /// Show at most this many
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Name, short name or last letters; without it the open incident, else the latest
    id: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Set {
    /// Name, short name or last letters; without it the open incident, else the latest
    id: Option<String>,
    /// Give it a new title
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Say what happened
    #[arg(long, value_name = "TEXT")]
    summary: Option<String>,
    /// Say what was done about it
    #[arg(long, value_name = "TEXT")]
    action_taken: Option<String>,
    /// Change the severity: 1 (worst) to 4
    #[arg(long, value_name = "1-4")]
    severity: Option<Severity>,
    /// Change the status: investigating, identified, mitigated or resolved
    #[arg(long, value_name = "STATUS", conflicts_with = "resolve")]
    status: Option<Status>,
    /// Set the status to resolved
    #[arg(long)]
    resolve: bool,
}

/// List, show or change incidents.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::List(args) => list(args, cx, out),
        Command::Show(args) => show(args, cx, out),
        Command::Set(args) => {
            cx.refuse_beside_owner("hotseat incident set")?;
            set(args, cx, out)
        }
    }
}

/// Opens the store as the person and host that a screen would use. A broken config never stops a note.
pub(super) fn open_store(cx: &Context) -> IncidentStore {
    let host = cx.host(&cx.load(Commands::Defer).config);
    IncidentStore::new(&cx.state_dir(), &host, &paths::user_name(), clock::zone())
}

/// Says what could not be read of the incidents that are shown.
pub(super) fn warn_unreadable(store: &IncidentStore, out: &mut Output<'_>) {
    for error in store.unreadable() {
        // Nobody is left to warn when stderr is closed.
        let _ = writeln!(out.stderr, "warning: {error}");
    }
}

/// Says a failure of the store the way the command line does.
pub(super) fn failed(what: &str, error: StoreError) -> Failure {
    let failure = if error.cause.is_empty() {
        Failure::usage(error.message)
    } else {
        Failure::internal(what).caused_by(format!("{}: {}", error.message, error.cause))
    };
    match error.hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Finds the incident meant: by name, short name or last letters; without one the open incident, else the latest.
pub(super) fn find(store: &mut IncidentStore, id: Option<&str>) -> Result<IncidentId, Failure> {
    let fail = |error| failed("could not read the incidents", error);
    let Some(wanted) = id else {
        store.load_recent().map_err(fail)?;
        let found = store.current().or_else(|| store.loaded().into_iter().find(|it| !it.log_book));
        let found = found.or_else(|| store.loaded().into_iter().next()).map(|it| it.id.clone());
        return found.ok_or_else(|| {
            Failure::usage(format!("there is no incident in `{}`", store.root().display()))
                .hint("`hotseat declare TITLE` opens one, `hotseat note TEXT` begins the log-book of the day")
        });
    };
    let bare = wanted.rsplit('/').next().unwrap_or(wanted);
    let suffix = format!("-{bare}");
    let names = store.names().map_err(fail)?;
    let matching: Vec<&String> =
        names.iter().filter(|it| **it == bare || name::short(it) == bare || it.ends_with(&suffix)).collect();
    let found = match matching[..] {
        [found] => found.clone(),
        [] => {
            return Err(Failure::usage(format!("there is no incident `{}`", sanitise::text(wanted)))
                .hint("`hotseat incident list` shows them all"));
        }
        _ => {
            let names: Vec<String> = matching.iter().map(|it| format!("`{it}`")).collect();
            return Err(Failure::usage(format!("`{}` names several incidents", sanitise::text(wanted)))
                .caused_by(format!("it could be {}", names.join(", "))));
        }
    };
    store.load(&found).map(|it| it.id.clone()).map_err(fail)
}

/// An incident for scripts.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    log_book: bool,
    open: bool,
    title: &'a str,
    severity: Option<u8>,
    status: Option<Status>,
    declared_at: Timestamp,
    declared_by: &'a str,
    impact_start: Option<Timestamp>,
    mitigated_at: Option<Timestamp>,
    resolved_at: Option<Timestamp>,
    duration_s: Option<i64>,
    summary: &'a str,
    action_taken: &'a str,
    entry_count: usize,
    damaged_lines: u32,
    broken_links: u32,
    folder: PathBuf,
}

impl<'a> Row<'a> {
    fn new(store: &IncidentStore, it: &'a Incident, now: Timestamp) -> Self {
        let declared = !it.log_book;
        Self {
            name: it.id.name(),
            log_book: it.log_book,
            open: it.is_open(),
            title: &it.title,
            severity: declared.then(|| it.severity.number()),
            status: declared.then_some(it.status),
            declared_at: it.declared_at,
            declared_by: &it.declared_by,
            impact_start: it.impact_start,
            mitigated_at: it.mitigated_at,
            resolved_at: it.resolved_at,
            duration_s: declared.then(|| it.duration(now).as_secs()),
            summary: &it.summary,
            action_taken: &it.action_taken,
            entry_count: it.entries.len() + it.cut_entries as usize,
            damaged_lines: it.damaged_lines,
            broken_links: it.broken_links,
            folder: store.dir(it.id.name()),
        }
    }
}

fn list(args: &List, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let fail = |error| failed("could not read the incidents", error);
    let mut store = open_store(cx);
    let names: Vec<String> = store.names().map_err(fail)?.into_iter().take(args.limit).collect();
    for name in &names {
        store.load(name).map_err(fail)?;
    }
    warn_unreadable(&store, out);
    let (now, zone) = (clock::now(), clock::zone());
    let incidents: Vec<&Incident> =
        names.iter().filter_map(|it| store.get(it)).filter(|it| !it.entries.is_empty()).collect();
    if args.json {
        let rows: Vec<Row<'_>> = incidents.iter().map(|it| Row::new(&store, it, now)).collect();
        return out.json(&rows).map_err(unwritable).map(|()| ExitCode::SUCCESS);
    }
    if incidents.is_empty() {
        // An empty list is an answer, not a failure; the words are for people.
        let _ = writeln!(out.stderr, "no incidents in `{}`", store.root().display());
    }
    let printed = incidents.iter().try_for_each(|it| {
        let (severity, status) =
            if it.log_book { ("-".to_string(), "log-book") } else { (it.severity.to_string(), it.status.word()) };
        let at = it.declared_at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M");
        let took = if it.log_book { String::new() } else { words_duration(it, now) };
        let damage = if it.damaged_lines + it.broken_links > 0 { "  DAMAGED" } else { "" };
        writeln!(out.stdout, "{:<22} {severity:<5} {status:<13} {at} {took:>8}  {}{damage}", it.id.name(), it.title)
    });
    printed.map_err(unwritable)?;
    Ok(ExitCode::SUCCESS)
}

fn show(args: &Show, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let mut store = open_store(cx);
    let id = find(&mut store, args.id.as_deref())?;
    warn_unreadable(&store, out);
    let Some(incident) = store.get(id.name()) else {
        return Err(Failure::internal(format!("could not read `{}`", id.name())));
    };
    let (now, zone) = (clock::now(), clock::zone());
    if args.json {
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            row: Row<'a>,
            entries: &'a [crate::domain::incident::entry::Entry],
        }
        let whole = Whole { row: Row::new(&store, incident, now), entries: &incident.entries };
        return out.json(&whole).map_err(unwritable).map(|()| ExitCode::SUCCESS);
    }
    print(out.stdout, &store, incident, now, &zone).map_err(unwritable)?;
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut dyn Write, store: &IncidentStore, it: &Incident, now: Timestamp, zone: &TimeZone) -> io::Result<()> {
    writeln!(out, "{}  {}", it.id.name(), it.title)?;
    let declared = format!("declared {} by {}", format::full(it.declared_at, zone), it.declared_by);
    if it.log_book {
        writeln!(out, "log-book · begun {} by {}", format::full(it.declared_at, zone), it.declared_by)?;
    } else {
        let took = words_duration(it, now);
        let took = if it.is_open() { format!("{took} so far") } else { format!("took {took}") };
        writeln!(out, "{} {} · {declared} · {took}", it.severity, it.status)?;
    }
    let moments = [("impact since", it.impact_start), ("mitigated", it.mitigated_at), ("resolved", it.resolved_at)];
    for (what, at) in moments {
        if let Some(at) = at {
            writeln!(out, "{what}: {}", format::full(at, zone))?;
        }
    }
    for (what, text) in [("summary", &it.summary), ("action taken", &it.action_taken)] {
        if !text.is_empty() {
            writeln!(out, "{what}: {text}")?;
        }
    }
    writeln!(out, "folder: {}", store.dir(it.id.name()).display())?;
    if it.damaged_lines > 0 {
        writeln!(out, "damaged: {} skipped", format::plural(u64::from(it.damaged_lines), "line"))?;
    }
    if it.broken_links > 0 {
        writeln!(
            out,
            "chain: {} missing or changed before an intact one",
            format::plural(u64::from(it.broken_links), "entry")
        )?;
    }
    if it.cut_entries > 0 {
        writeln!(out, "older: {} in the journals only", format::plural(u64::from(it.cut_entries), "entry"))?;
    }
    writeln!(out)?;
    let mut day = None;
    for row in it.timeline() {
        let at = row.at.to_zoned(zone.clone());
        if day != Some(at.date()) {
            day = Some(at.date());
            writeln!(out, "{}", at.strftime("%Y-%m-%d %:z"))?;
        }
        let words = row.words_in(now, zone);
        let mut lines = words.lines();
        let corrected = if row.corrected { " (corrected)" } else { "" };
        writeln!(
            out,
            "{} {:<8} {}{corrected}",
            at.strftime("%H:%M:%S"),
            row.entry.by,
            lines.next().unwrap_or_default()
        )?;
        for line in lines {
            writeln!(out, "{:17} {line}", "")?;
        }
    }
    Ok(())
}

fn set(args: &Set, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let status = if args.resolve { Some(Status::Resolved) } else { args.status };
    let changes: Vec<IncidentChange> = [
        args.title.clone().map(IncidentChange::Title),
        args.summary.clone().map(IncidentChange::Summary),
        args.action_taken.clone().map(IncidentChange::ActionTaken),
        args.severity.map(IncidentChange::Severity),
        status.map(IncidentChange::Status),
    ]
    .into_iter()
    .flatten()
    .collect();
    if changes.is_empty() {
        return Err(Failure::usage("nothing to change")
            .hint("name a change: `--title`, `--summary`, `--action-taken`, `--severity`, `--status` or `--resolve`"));
    }
    let mut store = open_store(cx);
    let id = find(&mut store, args.id.as_deref())?;
    for change in &changes {
        store.change(&id, change, clock::now()).map_err(|error| failed("the change was not saved", error))?;
    }
    writeln!(out.stdout, "{}", id.name()).map_err(unwritable)?;
    Ok(ExitCode::SUCCESS)
}

/// Says that stdout cannot be written.
pub(super) fn unwritable(error: io::Error) -> Failure {
    Failure::internal("could not write to standard output").caused_by(error)
}

fn words_duration(it: &Incident, now: Timestamp) -> String {
    format::duration(it.duration(now).unsigned_abs())
}
