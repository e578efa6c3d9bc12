//! `hotseat test-notify`: send a test message and say what the channel answered.

use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;
use tokio::task::JoinSet;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::clock;
use crate::config::{Config, paths};
use crate::domain::ids::HostId;
use crate::domain::sanitise;
use crate::service::notify::{Attempt, NotifierSpec, Receipt, SendError, sample};

/// Send a test message through a notifier and say what it answered
///
/// The message goes to the people and channels in the config, now and once: no limit, no silence and no retry
/// applies. It says that it is a test; an incident that it opens at PagerDuty is resolved at once. Exits with 1
/// when a message was not taken, or a notifier is not used because of a mistake in the config.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the notifier
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub name: Option<String>,

    /// Try every notifier
    #[arg(long, conflicts_with = "name")]
    pub all: bool,

    /// Print one JSON array
    #[arg(long)]
    pub json: bool,
}

/// Send a test message through a notifier and say what it answered.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let config = cx.load_usable(out)?;
    let refused = |name: &str| config.refused_notifiers.iter().find(|it| *it == name);
    let (specs, refused): (Vec<NotifierSpec>, Vec<&str>) = match &args.name {
        Some(name) => match (config.notifiers.iter().find(|it| it.name == *name), refused(name)) {
            (Some(spec), _) => (vec![spec.clone()], Vec::new()),
            (None, Some(refused)) => (Vec::new(), vec![refused]),
            (None, None) => return Err(unknown(&config, name)),
        },
        None => (config.notifiers.clone(), config.refused_notifiers.iter().map(String::as_str).collect()),
    };
    if specs.is_empty() && refused.is_empty() {
        return Err(Failure::usage("no notifier is configured")
            .hint("add a `[[notifier]]`; `hotseat check --kinds` shows an example of each"));
    }
    let results = send_all(&specs, &cx.host(&config), &paths::user_name())?;
    let mut views: Vec<View<'_>> = specs.iter().zip(&results).map(|(spec, result)| View::new(spec, result)).collect();
    views.extend(refused.into_iter().map(View::refused));
    if args.json {
        out.json(&views)?;
    } else {
        for view in &views {
            let id = view.id.as_ref().map_or(String::new(), |id| format!(" ({id})"));
            let word = if view.sent { "sent" } else { "not sent" };
            writeln!(out.stdout, "{} {word}: {}{id}", view.name, view.text)?;
            if view.kind.is_empty() {
                writeln!(out.stdout, "    `hotseat check` shows where")?;
            } else {
                writeln!(out.stdout, "    {} {}", view.kind, view.target)?;
            }
        }
    }
    Ok(if views.iter().all(|it| it.sent) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn unknown(config: &Config, name: &str) -> Failure {
    let names: Vec<&str> = config.notifiers.iter().map(|it| it.name.as_str()).collect();
    let failure = Failure::usage(format!("there is no notifier `{}`", sanitise::text(name)));
    failure.instead_of(name, &names, "no notifier is configured, or none without a mistake")
}

/// Sends side by side; the results are in the order of the notifiers.
fn send_all(specs: &[NotifierSpec], host: &HostId, person: &str) -> Result<Vec<Result<Receipt, SendError>>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::internal("could not send").caused_by(error);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|it| failed(&it))?;
    let done = runtime.block_on(async {
        let mut sending = JoinSet::new();
        for (index, spec) in specs.iter().enumerate() {
            let delivery = sample::test(&spec.name, host.as_str(), person, clock::now());
            let (notifier, deadline) = (Arc::clone(&spec.notifier), clock::timer() + spec.timeout);
            sending.spawn(async move {
                let attempt = Attempt { delivery: &delivery, number: 1, done: &[], deadline, facts: None };
                (index, notifier.send(attempt).await)
            });
        }
        let mut done = Vec::with_capacity(specs.len());
        while let Some(joined) = sending.join_next().await {
            done.push(joined?);
        }
        Ok::<_, tokio::task::JoinError>(done)
    });
    // A resolver that hangs in the system's library must not hold up the exit.
    runtime.shutdown_background();
    let mut done = done.map_err(|it| failed(&it))?;
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// One notifier for scripts.
#[derive(Debug, Serialize)]
struct View<'a> {
    name: &'a str,
    // Empty with a mistake in the config, and so is the target.
    kind: &'a str,
    target: String,
    sent: bool,
    id: Option<&'a str>,
    text: &'a str,
    permanent: bool,
    ambiguous: bool,
}

impl<'a> View<'a> {
    /// Of a notifier with a mistake in the config: there is nothing to send with.
    fn refused(name: &'a str) -> Self {
        Self {
            name,
            kind: "",
            target: String::new(),
            sent: false,
            id: None,
            text: "mistake in the config",
            permanent: true,
            ambiguous: false,
        }
    }

    fn new(spec: &'a NotifierSpec, result: &'a Result<Receipt, SendError>) -> Self {
        let error = result.as_ref().err();
        let receipt = result.as_ref().ok();
        Self {
            name: &spec.name,
            kind: spec.kind,
            target: spec.notifier.describe(),
            sent: receipt.is_some(),
            id: receipt.and_then(|it| it.id.as_deref()),
            text: receipt.map(|it| it.text.as_str()).or(error.map(|it| it.text.as_str())).unwrap_or_default(),
            permanent: error.is_some_and(|it| it.permanent),
            ambiguous: error.is_some_and(|it| it.ambiguous),
        }
    }
}
