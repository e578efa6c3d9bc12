//! `hotseat maintenance`: times in which work is done.

use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Context, past};
use crate::clock;
use crate::config::{Config, paths};
use crate::domain::alert::AlertFact;
use crate::domain::alert::quiet::{Maintenance, MaintenanceWindow};
use crate::domain::config_error::did_you_mean;
use crate::domain::{format, sanitise};

/// Plan, list or end maintenances
///
/// While one is open nothing new is told of what fits it, recoveries of what was told before always are; what still
/// lasts at its end is told then. Recurring ones stand in the config as `[[maintenance]]`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Begin a maintenance, or plan one
    Add {
        /// What it is called, as in `"patching db"`
        #[arg(value_name = "NAME")]
        name: String,
        /// All must fit, as in `group=edge`; without one it is about everything
        #[arg(value_name = "MATCHER")]
        matchers: Vec<String>,
        /// How long, as in `2h`
        #[arg(long = "for", value_name = "TIME", required_unless_present = "until")]
        length: Option<String>,
        /// Until when, as in `18:30`
        #[arg(long, value_name = "TIME", conflicts_with = "length")]
        until: Option<String>,
        /// From when, when not from now on
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
    },
    /// List those that are open or come, also those of the config
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// End one that does not stand in the config
    End {
        /// What it is called
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Plan, list or end maintenances.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    if !matches!(args.action, Action::List { .. }) {
        cx.refuse_beside_owner("hotseat maintenance")?;
    }
    let config = cx.load_usable(out)?;
    let (now, zone) = (clock::now(), clock::zone());
    match &args.action {
        Action::Add { name, matchers, length, until, from } => {
            let (from, until) = past::stretch(from.as_deref(), length.as_deref(), until.as_deref(), now, &zone)?;
            refuse_configured(&config, name)?;
            let maintenance = Maintenance {
                name: read_name(name)?,
                matchers: past::matchers(&config, matchers)?,
                window: MaintenanceWindow::Once { from, until },
                by: paths::user_name(),
            };
            let fits = past::fitting(cx, &config, &maintenance.matchers);
            past::ask(cx, &maintenance.by, AlertFact::Maintained(maintenance.clone()), now)?;
            let (from, until) = (format::moment(now, from, &zone), format::moment(now, until, &zone));
            writeln!(out.stderr, "maintenance `{name}` of {} from {from} until {until}", maintenance.what())?;
            past::say_fitting(&fits, out)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::List { json } => list(*json, cx, &config, now, out),
        Action::End { name } => end(name, cx, &config, now, out),
    }
}

fn read_name(name: &str) -> Result<String, Failure> {
    if name.trim().is_empty() || name.chars().any(|it| it.is_control() || it == '/') || name.contains('=') {
        return Err(Failure::usage(format!("`{}` is no name for a maintenance", sanitise::text(name)))
            .hint("write the name first, as in `hotseat maintenance add patching group=edge --for 2h`"));
    }
    Ok(name.to_string())
}

fn refuse_configured(config: &Config, name: &str) -> Result<(), Failure> {
    if config.alerts.maintenances.iter().any(|it| it.name == name) {
        let failure = Failure::usage(format!("the maintenance `{name}` stands in the config"));
        return Err(failure.hint("change it there, or use another name"));
    }
    Ok(())
}

#[derive(Debug, Serialize)]
struct View {
    name: String,
    matchers: Vec<String>,
    /// It is open now.
    open: bool,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    /// It comes again.
    recurring: bool,
    by: String,
    /// Probes of the config that it fits.
    probes: Vec<String>,
}

fn views(cx: &Context, config: &Config, now: Timestamp, out: &mut Output<'_>) -> Result<Vec<View>, Failure> {
    let board = past::board_now(cx, config, now, out)?;
    let view = |it: &Maintenance| {
        let open = it.open_window(now);
        let window = open.or_else(|| it.next_window(now));
        View {
            name: it.name.clone(),
            matchers: it.matchers.iter().map(ToString::to_string).collect(),
            open: open.is_some(),
            from: window.map(|it| it.0),
            until: window.map(|it| it.1),
            recurring: matches!(it.window, MaintenanceWindow::Recurring { .. }),
            by: it.by.clone(),
            probes: past::fitting(cx, config, &it.matchers),
        }
    };
    let mut views: Vec<View> = board.alerts.maintenances().filter(|it| !it.is_past(now)).map(view).collect();
    views.sort_by_key(|it| (!it.open, it.from));
    Ok(views)
}

fn list(json: bool, cx: &Context, config: &Config, now: Timestamp, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let views = views(cx, config, now, out)?;
    if json {
        out.json(&views)?;
        return Ok(ExitCode::SUCCESS);
    }
    if views.is_empty() {
        writeln!(out.stderr, "no maintenance is open or planned")?;
    }
    let zone = clock::zone();
    for it in &views {
        let word = if it.open { "open" } else { "next" };
        let what = if it.matchers.is_empty() { "everything".to_string() } else { it.matchers.join(" ") };
        let time = |at: Option<Timestamp>| at.map_or_else(|| "never".to_string(), |at| format::moment(now, at, &zone));
        let again = if it.recurring { " (recurring)" } else { "" };
        let (from, until) = (time(it.from), time(it.until));
        writeln!(out.stdout, "{}  {what}  {word} from {from} until {until}{again}  by {}", it.name, it.by)?;
        if !it.probes.is_empty() {
            writeln!(out.stdout, "    {}", past::some_of(&it.probes))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn end(name: &str, cx: &Context, config: &Config, now: Timestamp, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    refuse_configured(config, name)?;
    let views = views(cx, config, now, out)?;
    if !views.iter().any(|it| it.name == name) {
        let failure = Failure::usage(format!("there is no maintenance `{}`", sanitise::text(name)));
        return Err(match did_you_mean(name, views.iter().map(|it| it.name.as_str())) {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => failure.hint("`hotseat maintenance list` shows those there are"),
        });
    }
    let by = paths::user_name();
    past::ask(cx, &by, AlertFact::MaintenanceEnded { name: name.to_string(), by: by.clone(), at: now }, now)?;
    writeln!(out.stderr, "ended the maintenance `{name}`; what lasts is told now")?;
    Ok(ExitCode::SUCCESS)
}
