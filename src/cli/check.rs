//! `hotseat check`: check the config and say what it would do.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Context, past, themes, with_screen_mistakes};
use crate::clock;
use crate::config::{Loaded, paths, secrets};
use crate::domain::alert::plan::Plan;
use crate::domain::config_error::ConfigError;
use crate::domain::format;
use crate::domain::ids::ProbeId;
use crate::logstore::format::NAMES;
use crate::registry::Kind;
use crate::registry::node::Commands;
use crate::service::backup::{destination, source};
use crate::service::{log, notify, probe};

/// Check the config and say what it would do
///
/// Every mistake in the config and in your theme files is shown with its file, line and column. `${env:…}`,
/// `${file:…}` and `${cmd:…}` are resolved as they would be on the screen. Exits with 2 when there is a mistake;
/// warnings do not count.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,

    /// List what a config can name, with an example of each
    #[arg(long)]
    pub kinds: bool,
}

/// Check the config and say what it would do.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    if args.kinds {
        return list_kinds(args.json, out);
    }
    let mut loaded = with_screen_mistakes(cx.load(Commands::Run));
    let (_, theme_errors) = themes::all();
    loaded.errors.extend(theme_errors);
    let Some(path) = loaded.config.path.clone() else {
        let usual =
            paths::config_file().map_or_else(|| "~/.config/hotseat/config.toml".into(), |it| it.display().to_string());
        return Err(Failure::usage(format!("there is no config: {usual}"))
            .hint("run `hotseat init` to write one, or name one with `--config`"));
    };
    let mut warnings = secrets::warnings(&path, &loaded.config.text);
    // What was refused for it is not warned of as well.
    warnings.retain(|it| !loaded.errors.iter().any(|error| (error.line, error.column) == (it.line, it.column)));
    let host = cx.host(&loaded.config);
    let setups: Vec<_> = loaded.config.probes.iter().map(|it| (ProbeId::new(&host, &it.name), it.setup())).collect();
    let (rules, refused) = (&loaded.config.alerts, &loaded.config.refused_notifiers);
    let plan = Plan::new(clock::now(), rules, refused, setups.iter().map(|(id, setup)| (id, setup)));
    let report = Report::new(&path, &loaded, &warnings, plan);
    if args.json {
        out.json(&report)?;
    } else {
        for (label, mistake) in
            loaded.errors.iter().map(|it| ("error", it)).chain(warnings.iter().map(|it| ("warning", it)))
        {
            out.stderr.write_all(snippet(label, mistake).as_bytes())?;
        }
        out.stdout.write_all(report.text().as_bytes())?;
    }
    Ok(if loaded.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    config: &'a str,
    readable: bool,
    errors: &'a [ConfigError],
    warnings: &'a [ConfigError],
    probes: usize,
    notifiers: usize,
    /// How soon it sees what, and who would never hear of it.
    plan: Plan,
    log_sources: usize,
    queries: usize,
    backup_jobs: usize,
}

impl<'a> Report<'a> {
    fn new(path: &'a str, loaded: &'a Loaded, warnings: &'a [ConfigError], plan: Plan) -> Self {
        let config = &loaded.config;
        Self {
            config: path,
            readable: loaded.readable,
            errors: &loaded.errors,
            warnings,
            probes: config.probes.len(),
            notifiers: config.notifiers.len(),
            plan,
            log_sources: config.logs.len(),
            queries: config.queries.len(),
            backup_jobs: config.backups.len(),
        }
    }

    fn text(&self) -> String {
        let own = self.errors.iter().filter(|it| it.file == self.config).count();
        let mut text = match own {
            0 => format!("{} is fine\n", self.config),
            count => format!("{} has {}\n", self.config, counted(count, "mistake")),
        };
        if let count @ 1.. = self.errors.len() - own {
            let _ = writeln!(text, "the theme files have {}", counted(count, "mistake"));
        }
        if !self.readable {
            text.push_str("nothing of it can be used before that is mended\n");
            return text;
        }
        let runs = if own == 0 { "runs" } else { "would still run" };
        let rate =
            if self.probes == 0 { String::new() } else { format!(" ({:.2} checks/s)", self.plan.probes_per_second) };
        let queries = match self.queries {
            0 => String::new(),
            1 => ", 1 saved query".to_string(),
            many => format!(", {many} saved queries"),
        };
        let notifiers = match self.notifiers {
            0 => String::new(),
            count => format!(", {}", counted(count, "notifier")),
        };
        let _ = writeln!(
            text,
            "{runs}: {}{rate}, {}, {}{queries}{notifiers}",
            counted(self.probes, "probe"),
            counted(self.log_sources, "log"),
            counted(self.backup_jobs, "backup job"),
        );
        self.plan_text(&mut text);
        text
    }

    fn plan_text(&self, text: &mut String) {
        if let Some(slowest) = self.plan.slowest() {
            let _ = writeln!(text, "slowest: {slowest}");
        }
        // Who has no notifier at all wants the screen and no pages.
        if self.notifiers == 0 {
            return;
        }
        if !self.plan.silent.is_empty() {
            let _ = writeln!(text, "notify nobody: {}", past::some_of(&self.plan.silent));
        }
        if !self.plan.untold.is_empty() {
            let _ = writeln!(text, "notify nobody, as `notify = []` says: {}", past::some_of(&self.plan.untold));
        }
        if !self.plan.unused.is_empty() {
            let _ = writeln!(text, "never used: {}", past::some_of(&self.plan.unused));
        }
        for it in &self.plan.dead_ends {
            let _ = writeln!(text, "dead end: {it}");
        }
    }
}

/// One thing a config can name.
#[derive(Debug, Serialize)]
struct Named {
    /// Where it stands: `probe`, `log`, `backup`, `destination`, `notifier`.
    part: &'static str,
    name: &'static str,
    summary: &'static str,
    example: &'static str,
}

/// Everything a config can name, from the tables that the config is read with.
fn kinds() -> Vec<Named> {
    fn part<T: ?Sized>(part: &'static str, kinds: &'static [Kind<T>]) -> impl Iterator<Item = Named> {
        kinds.iter().map(move |it| Named { part, name: it.name, summary: it.summary, example: it.example })
    }
    part("probe", probe::KINDS)
        .chain(part("log", log::KINDS))
        .chain(part("backup", source::KINDS))
        .chain(part("destination", destination::KINDS))
        .chain(part("notifier", notify::KINDS))
        .collect()
}

/// The notifiers as a table for the README: what each does and the line that names it.
pub fn notifier_table() -> String {
    let mut text = String::from("| kind | what it does | in the config |\n|---|---|---|\n");
    for kind in notify::KINDS {
        let key = format!("{} = ", kind.name);
        let line = kind.example.lines().find(|it| it.starts_with(&key)).unwrap_or_default();
        let _ = writeln!(text, "| `{}` | {} | `{line}` |", kind.name, kind.summary);
    }
    text
}

fn list_kinds(json: bool, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    if json {
        out.json(&kinds())?;
        return Ok(ExitCode::SUCCESS);
    }
    for kind in kinds() {
        writeln!(out.stdout, "{} {}: {}", kind.part, kind.name, kind.summary)?;
        for line in kind.example.trim().lines() {
            writeln!(out.stdout, "    {line}")?;
        }
        out.stdout.write_all(b"\n")?;
    }
    let formats: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    writeln!(out.stdout, "`format` of a log, where its lines do not tell: {}", formats.join(", "))?;
    writeln!(out.stdout, "    or the name of a `[[format]]`")?;
    Ok(ExitCode::SUCCESS)
}

fn counted(count: usize, what: &str) -> String {
    format::plural(count as u64, what)
}

/// Shows a mistake with its line and a caret below what is wrong.
fn snippet(label: &str, mistake: &ConfigError) -> String {
    let mut text = format!("{label}: {}\n", mistake.message);
    if mistake.line == 0 {
        let _ = writeln!(text, "  --> {}", mistake.file);
    } else {
        let number = mistake.line.to_string();
        let margin = " ".repeat(number.len());
        let _ = writeln!(text, "{margin}--> {}:{}:{}", mistake.file, mistake.line, mistake.column);
        // Tabs would push the caret away from what it points at, and a config may hold any control character.
        let line: String = mistake.snippet.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
        let before: String = line.chars().take(mistake.column.saturating_sub(1) as usize).collect();
        let marked: String = line.chars().skip(before.chars().count()).take(mistake.width as usize).collect();
        let carets = unicode_width::UnicodeWidthStr::width(marked.as_str()).max(1);
        let blanks = unicode_width::UnicodeWidthStr::width(before.as_str());
        let _ =
            writeln!(text, "{margin} |\n{number} | {line}\n{margin} | {}{}", " ".repeat(blanks), "^".repeat(carets));
    }
    if let Some(hint) = &mistake.hint {
        let _ = writeln!(text, "hint: {hint}");
    }
    text.push('\n');
    text
}
