//! `hotseat oncall`: who is on call, until when, and who is next.

use std::process::ExitCode;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::clock;
use crate::domain::alert::rota::{Rotation, Turn};
use crate::domain::alert::rules::AlertRules;
use crate::domain::sanitise;

/// Turns shown after the one that runs.
const NEXT_MAX: usize = 3;
/// Turns looked through for a person's next one: everybody of a full rotation twice.
const SEARCHED_MAX: usize = 128;

/// Say who is on call, until when, and who is next
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A rotation or a person; without it all rotations
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    /// Who will be on call at a time, as in `2h` or `2026-08-19T18:30`
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,

    /// Print one JSON array
    #[arg(long)]
    pub json: bool,
}

/// Say who is on call, until when, and who is next.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let config = cx.load_usable(out)?;
    let rules = &config.alerts;
    let now = clock::now();
    let at = match &args.at {
        Some(text) => super::past::ahead("--at", text, now, &clock::zone())?,
        None => now,
    };
    if rules.rotations.is_empty() {
        return Err(Failure::usage("the config has no rotation")
            .hint("add a `[[rotation]]` with `people` and `every`; the README has an example"));
    }
    let rotations: Vec<&Rotation> = match args.name.as_deref() {
        None => rules.rotations.iter().collect(),
        Some(name) => match rules.rotations.iter().find(|it| it.name == name) {
            Some(rotation) => vec![rotation],
            None if rules.person(name).is_some() => return person(name, rules, at, args.json, out),
            None => return Err(unknown(name, rules)),
        },
    };
    let views: Vec<View> = rotations.iter().map(|it| View::new(it, rules, at)).collect();
    if args.json {
        out.json(&views)?;
    } else {
        for (rotation, view) in rotations.iter().zip(&views) {
            out.stdout.write_all(view.text(rotation).as_bytes())?;
        }
    }
    Ok(if views.iter().all(|it| it.now.is_some()) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn unknown(name: &str, rules: &AlertRules) -> Failure {
    let failure = Failure::usage(format!("there is no rotation and no person `{}`", sanitise::text(name)));
    let rotations = rules.rotations.iter().map(|it| it.name.as_str());
    let names: Vec<&str> = rotations.chain(rules.people.iter().map(|it| it.name.as_str())).collect();
    failure.instead_of(name, &names, "add a `[[rotation]]` and a `[[person]]` to the config")
}

#[derive(Debug, Serialize)]
struct View {
    rotation: String,
    /// Who is on call.
    now: Option<Turn>,
    /// By which notifiers.
    reached_by: Vec<String>,
    next: Vec<Turn>,
}

impl View {
    fn new(rotation: &Rotation, rules: &AlertRules, at: Timestamp) -> Self {
        let mut turns = rotation.plan(at, NEXT_MAX + 1).into_iter();
        let reached_by = rules.targets(at, &rotation.name).into_iter().map(|it| it.notifier).collect();
        Self { rotation: rotation.name.clone(), now: turns.next(), reached_by, next: turns.collect() }
    }

    fn text(&self, rotation: &Rotation) -> String {
        let Some(turn) = &self.now else { return format!("{}: nobody is on call\n", self.rotation) };
        let by = if self.reached_by.is_empty() {
            "cannot be reached".to_string()
        } else {
            format!("reached by {}", self.reached_by.join(", "))
        };
        let instead = if turn.is_override { " (override)" } else { "" };
        let until = rotation.day_and_zone(turn.until);
        let mut text = format!("{}: {}{instead} until {until}, {by}\n", self.rotation, turn.person);
        for turn in &self.next {
            let instead = if turn.is_override { " (override)" } else { "" };
            text.push_str(&format!("    {}  {}{instead}\n", rotation.day(turn.since), turn.person));
        }
        text
    }
}

#[derive(Debug, Serialize)]
struct PersonView<'a> {
    person: &'a str,
    #[serde(serialize_with = "name_of")]
    rotation: &'a Rotation,
    /// On call now.
    now: bool,
    /// The turn that runs, or the next one.
    turn: Option<Turn>,
}

fn person(
    name: &str,
    rules: &AlertRules,
    at: Timestamp,
    json: bool,
    out: &mut Output<'_>,
) -> Result<ExitCode, Failure> {
    let mut views = Vec::new();
    for rotation in &rules.rotations {
        let turn = rotation.plan(at, SEARCHED_MAX).into_iter().find(|it| it.person == name);
        let is_named =
            rotation.people.iter().chain(rotation.overrides.iter().map(|it| &it.person)).any(|it| it == name);
        if is_named {
            let now = turn.as_ref().is_some_and(|it| it.since <= at);
            views.push(PersonView { person: name, rotation, now, turn });
        }
    }
    if json {
        out.json(&views)?;
        return Ok(ExitCode::SUCCESS);
    }
    if views.is_empty() {
        writeln!(out.stdout, "{name} takes no turns")?;
    }
    for view in &views {
        let words = match &view.turn {
            Some(turn) if view.now => format!("on call until {}", view.rotation.day_and_zone(turn.until)),
            Some(turn) => {
                let (since, until) = (view.rotation.day(turn.since), view.rotation.day_and_zone(turn.until));
                format!("next from {since} until {until}")
            }
            None => "no turn in sight".to_string(),
        };
        writeln!(out.stdout, "{}: {name} {words}", view.rotation.name)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn name_of<S: Serializer>(rotation: &Rotation, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rotation.name)
}
