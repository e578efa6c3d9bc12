//! `hotseat silence`: what is not told for a while.

use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Context, past};
use crate::clock;
use crate::config::{Config, paths};
use crate::domain::alert::AlertFact;
use crate::domain::alert::quiet::Silence;
use crate::domain::config_error::did_you_mean;
use crate::domain::{format, sanitise};

/// Keep alerts quiet for a while
///
/// An alert that a silence fits is seen on the screen and told to nobody; what still lasts when the silence ends is
/// told then. It counts at once where a hotseat runs on this state directory, else when one is started.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Silence what fits all matchers
    ///
    /// A matcher is a label and a value: `probe=api`, `group=edge`, `team!=core`, `probe=~db-.*`, `host!~lab.*`.
    /// Labels are probe, group, kind, host, target, phase, concern, severity and a probe's own.
    Add {
        /// All must fit
        #[arg(value_name = "MATCHER", required = true)]
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
        /// Why
        #[arg(short, long, value_name = "TEXT", default_value = "")]
        comment: String,
    },
    /// List what is silenced now or will be
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// End a silence
    End {
        /// Its id, as `list` shows it
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Keep alerts quiet for a while.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    if !matches!(args.action, Action::List { .. }) {
        cx.refuse_beside_owner("hotseat silence")?;
    }
    let config = cx.load_usable(out)?;
    let (now, zone) = (clock::now(), clock::zone());
    match &args.action {
        Action::Add { matchers, length, until, from, comment } => {
            let stretch = past::stretch(from.as_deref(), length.as_deref(), until.as_deref(), now, &zone)?;
            let silence = Silence {
                // The end of an id of version 7 is random.
                id: Uuid::now_v7().simple().to_string().split_off(24),
                matchers: past::matchers(&config, matchers)?,
                from: stretch.0,
                until: stretch.1,
                by: paths::user_name(),
                comment: sanitise::text(comment),
            };
            add(silence, cx, &config, now, out)
        }
        Action::List { json } => list(*json, cx, &config, now, out),
        Action::End { id } => end(id, cx, &config, now, out),
    }
}

fn add(
    silence: Silence,
    cx: &Context,
    config: &Config,
    now: Timestamp,
    out: &mut Output<'_>,
) -> Result<ExitCode, Failure> {
    let fits = past::fitting(cx, config, &silence.matchers);
    let until = format::moment(now, silence.until, &clock::zone());
    past::ask(cx, &silence.by, AlertFact::Silenced(silence.clone()), now)?;
    writeln!(out.stdout, "{}", silence.id)?;
    writeln!(
        out.stderr,
        "silenced {} until {until}; end it with `hotseat silence end {}`",
        silence.what(),
        silence.id
    )?;
    past::say_fitting(&fits, out)?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct View {
    id: String,
    matchers: Vec<String>,
    from: Timestamp,
    until: Timestamp,
    by: String,
    comment: String,
    /// It holds now.
    holds: bool,
    /// Probes of the config that it fits.
    probes: Vec<String>,
}

fn views(cx: &Context, config: &Config, now: Timestamp, out: &mut Output<'_>) -> Result<Vec<View>, Failure> {
    let board = past::board_now(cx, config, now, out)?;
    let view = |it: &Silence| View {
        id: it.id.clone(),
        matchers: it.matchers.iter().map(ToString::to_string).collect(),
        from: it.from,
        until: it.until,
        by: it.by.clone(),
        comment: it.comment.clone(),
        holds: it.holds(now),
        probes: past::fitting(cx, config, &it.matchers),
    };
    let mut views: Vec<View> = board.alerts.silences().filter(|it| now < it.until).map(view).collect();
    views.sort_by_key(|it| it.until);
    Ok(views)
}

fn list(json: bool, cx: &Context, config: &Config, now: Timestamp, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let views = views(cx, config, now, out)?;
    if json {
        out.json(&views)?;
        return Ok(ExitCode::SUCCESS);
    }
    if views.is_empty() {
        writeln!(out.stderr, "nothing is silenced")?;
    }
    let zone = clock::zone();
    for it in &views {
        let from = if it.holds { String::new() } else { format!("from {} ", format::moment(now, it.from, &zone)) };
        let comment = if it.comment.is_empty() { String::new() } else { format!(": {}", it.comment) };
        let (what, until) = (it.matchers.join(" "), format::moment(now, it.until, &zone));
        writeln!(out.stdout, "{}  {what}  {from}until {until}  by {}{comment}", it.id, it.by)?;
        if !it.probes.is_empty() {
            writeln!(out.stdout, "    {}", past::some_of(&it.probes))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn end(id: &str, cx: &Context, config: &Config, now: Timestamp, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let views = views(cx, config, now, out)?;
    if !views.iter().any(|it| it.id == id) {
        let failure = Failure::usage(format!("there is no silence `{}`", sanitise::text(id)));
        let near = did_you_mean(id, views.iter().map(|it| it.id.as_str()));
        return Err(match near {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => failure.hint("`hotseat silence list` shows those there are"),
        });
    }
    if config.alerts.silences.iter().any(|it| it.id == id) {
        return Err(Failure::usage(format!("the silence `{id}` stands in the config")).hint("remove it there"));
    }
    let by = paths::user_name();
    past::ask(cx, &by, AlertFact::Unsilenced { id: id.to_string(), by: by.clone(), at: now }, now)?;
    writeln!(out.stderr, "ended the silence `{id}`; what lasts is told now")?;
    Ok(ExitCode::SUCCESS)
}
