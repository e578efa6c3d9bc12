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
use crate::domain::config_error::did_you_mean;
use crate::domain::ids::HostId;
use crate::domain::sanitise;
use crate::service::notify::{Attempt, NotifierSpec, Receipt, SendError, sample};

/// Send a test message through a notifier and say what it answered
///
/// The message goes to the people and channels in the config, now and once: no limit, no silence and no retry
/// applies. It says that it is a test; an incident that it opens at PagerDuty is resolved at once. Exits with 1
/// when a message was not taken.
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
    let specs: Vec<NotifierSpec> = match &args.name {
        Some(name) => vec![find(&config, name)?.clone()],
        None => config.notifiers.clone(),
    };
    if specs.is_empty() {
        return Err(Failure::usage("no notifier is configured")
            .hint("add a `[[notifier]]`; `hotseat check --kinds` shows an example of each"));
    }
    let results = send_all(&specs, &cx.host(&config), &paths::user_name())?;
    let views: Vec<View<'_>> = specs.iter().zip(&results).map(|(spec, result)| View::new(spec, result)).collect();
    if args.json {
        out.json(&views)?;
    } else {
        for view in &views {
            let id = view.id.as_ref().map_or(String::new(), |id| format!(" ({id})"));
            let word = if view.sent { "sent" } else { "not sent" };
            writeln!(out.stdout, "{} {word}: {}{id}", view.name, view.text)?;
            writeln!(out.stdout, "    {} {}", view.kind, view.target)?;
        }
    }
    Ok(if results.iter().all(Result::is_ok) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn find<'a>(config: &'a Config, name: &str) -> Result<&'a NotifierSpec, Failure> {
    if let Some(spec) = config.notifiers.iter().find(|it| it.name == name) {
        return Ok(spec);
    }
    let names: Vec<&str> = config.notifiers.iter().map(|it| it.name.as_str()).collect();
    let failure = Failure::usage(format!("there is no notifier `{}`", sanitise::text(name)));
    Err(match did_you_mean(name, names.iter().copied()) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None if names.is_empty() => failure.hint("no notifier is configured, or none without a mistake"),
        None => failure.hint(format!("the config has {}", names.join(", "))),
    })
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
    kind: &'a str,
    target: String,
    sent: bool,
    id: Option<&'a str>,
    text: &'a str,
    permanent: bool,
    ambiguous: bool,
}

impl<'a> View<'a> {
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
