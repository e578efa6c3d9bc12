//! `hotseat note`: add a note to the open incident or to the day's log-book.

use std::io::Read;
use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::incident::{failed, find, open_store, unwritable, warn_unreadable};
use crate::cli::output::Output;
use crate::clock;
use crate::domain::format;
use crate::domain::incident::NoteRequest;
use crate::domain::incident::when;
use crate::service::incident::store::NOTE_MAX_BYTES;

/// Add a note to the open incident or to the day's log-book
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The note; `-` reads it from standard input, a leading `@-12m` dates it back
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
    /// When it happened: `-12m`, `14:05`, `2024-08-19 14:05`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<String>,
    /// Add it to this incident: name, short name or last letters
    #[arg(long, short, value_name = "ID")]
    incident: Option<String>,
}

/// Adds a note and prints the name of the incident it went to. Exit 0 means that it is on disk.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    cx.refuse_beside_owner("hotseat note")?;
    let (now, zone) = (clock::now(), clock::zone());
    let typed = if args.text == ["-"] { read_stdin()? } else { args.text.join(" ") };
    let (at, text) = match &args.at {
        Some(at) => (Some(format::parse_when(at, now, &zone).map_err(Failure::usage)?), typed),
        None => {
            let typed = when::split_note(&typed, now, &zone).map_err(Failure::usage)?;
            (typed.at, typed.text)
        }
    };
    if let Some(at) = at {
        when::not_in_the_future(at, now).map_err(Failure::usage)?;
    }
    let mut store = open_store(cx);
    let incident = match &args.incident {
        Some(id) => Some(find(&mut store, Some(id))?),
        None => {
            store.load_recent().map_err(|error| failed("the note was not saved", error))?;
            None
        }
    };
    let request = NoteRequest { incident, at, text };
    warn_unreadable(&store, out);
    let added = store.note(&request, now).map_err(|error| failed("the note was not saved", error))?;
    writeln!(out.stdout, "{}", added.incident.name()).map_err(unwritable)?;
    Ok(ExitCode::SUCCESS)
}

fn read_stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    // One byte more than a note may have, so that a longer one is refused and not cut.
    let read = std::io::stdin().lock().take(NOTE_MAX_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::internal("could not read standard input").caused_by(error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
