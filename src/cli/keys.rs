//! `hotseat keys`: list all commands and their keys.

use std::io;
use std::process::ExitCode;

use serde::Serialize;

use crate::app::command::Command;
use crate::app::keymap::Keymap;
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::domain::key::print_sequence;
use crate::panes::PaneId;
use crate::registry::node::Commands;

/// List all commands and their keys
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object a command
    #[arg(long)]
    pub json: bool,

    /// Print the tables as Markdown, with the keys as they are without a config
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}

/// One command, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    command: &'static str,
    pane: Option<&'static str>,
    keys: Vec<String>,
    doc: &'static str,
}

/// List all commands and their keys.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let written = if args.markdown { out.stdout.write_all(markdown().as_bytes()) } else { bound(args, cx, out) };
    written.map_err(|error| Failure::internal("could not write the list").caused_by(error))?;
    Ok(ExitCode::SUCCESS)
}

/// The list with what the config binds; what cannot be bound is said on stderr.
fn bound(args: &Args, cx: &Context, out: &mut Output<'_>) -> io::Result<()> {
    let loaded = cx.load(Commands::Defer);
    let (keymap, errors) = Keymap::build(&loaded.config.keys);
    for error in &errors {
        writeln!(out.stderr, "warning: {error}")?;
    }
    let rows: Vec<Row> = Command::all().into_iter().map(|it| row(&keymap, it)).collect();
    if args.json {
        return rows.iter().try_for_each(|it| out.json(it));
    }
    let width = |of: fn(&Row) -> usize| rows.iter().map(of).max().unwrap_or(0);
    let (names, keys) = (width(|it| it.command.len()), width(|it| it.keys.join(", ").chars().count()));
    for row in &rows {
        writeln!(out.stdout, "{:<names$}  {:<keys$}  {}", row.command, row.keys.join(", "), row.doc)?;
    }
    Ok(())
}

fn row(keymap: &Keymap, command: Command) -> Row {
    Row {
        command: command.spec().name,
        pane: command.pane().map(PaneId::name),
        keys: keymap.keys(command).iter().map(|it| print_sequence(it)).collect(),
        doc: command.spec().doc,
    }
}

/// The default keys as Markdown tables: what the README shows between its `<!-- keys -->` marks.
pub fn markdown() -> String {
    let (keymap, _) = Keymap::build(&[]);
    let mut text = String::new();
    for pane in [None].into_iter().chain(PaneId::ALL.iter().copied().map(Some)) {
        let title = pane.map_or("Everywhere".to_string(), |it| {
            let name = it.name();
            format!("{}{} pane", name[..1].to_uppercase(), &name[1..])
        });
        text.push_str(&format!("**{title}**\n\n| keys | command | what it does |\n|---|---|---|\n"));
        for command in Command::all().into_iter().filter(|it| it.pane() == pane) {
            let row = row(&keymap, command);
            let keys: Vec<String> = row.keys.iter().map(|it| code(it)).collect();
            // `|` would end the cell.
            text.push_str(&format!("| {} | `{}` | {} |\n", keys.join(" "), row.command, row.doc.replace('|', "\\|")));
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// A key as Markdown code; a backtick or a bar needs another form.
fn code(key: &str) -> String {
    match key {
        it if it.contains('`') => format!("`` {it} ``"),
        it => format!("`{}`", it.replace('|', "\\|")),
    }
}
