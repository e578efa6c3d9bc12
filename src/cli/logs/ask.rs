//! The query that the options of `hotseat logs` make together.

use crate::cli::failure::Failure;
use crate::cli::logs::Args;
use crate::domain::query::saved::{self, SavedQuery};
use crate::domain::query::{Chip, ChipKind, Query, QueryError, time};

/// Puts `--query`, `--level`, `--since` and `--until` together: all must hold.
///
/// # Errors
/// The first that cannot be read, with its place.
pub fn query(args: &Args, saved: &[SavedQuery]) -> Result<Query, Failure> {
    let mut query = Query::default();
    for text in &args.query {
        let expanded = saved::expand(saved, text).map_err(|error| {
            Failure::usage(error).hint("quote text that begins with `@` to search for it, as in `\"@here\"`")
        })?;
        query.chips.extend(told("the query", &expanded, saved::read(text, &expanded))?.chips);
    }
    if let Some(level) = &args.level {
        query.chips.extend({
            let text = format!("level>={level}");
            told("`--level`", &text, Query::parse(&text))?.chips
        });
    }
    let mut bound = |option: &str, text: &Option<String>, make: fn(String) -> ChipKind| -> Result<(), Failure> {
        let Some(text) = text else { return Ok(()) };
        time::check(text)
            .map_err(|message| Failure::usage(format!("could not read `{option}`: {message}")).hint(time::HINT))?;
        query.chips.push(Chip::keep(make(text.clone())));
        Ok(())
    };
    bound("--since", &args.since, ChipKind::Since)?;
    bound("--until", &args.until, ChipKind::Until)?;
    Ok(query)
}

/// True when a query is named that the config has to know.
pub fn names_saved_query(args: &Args) -> bool {
    args.query.iter().any(|it| saved::has_name(it))
}

fn told(what: &str, text: &str, read: Result<Query, QueryError>) -> Result<Query, Failure> {
    read.map_err(|error: QueryError| {
        let mut failure = Failure::usage(format!("could not read {what}: {}", error.message));
        if error.range.end <= text.len() && !text.is_empty() {
            let before = text[..error.range.start].chars().count();
            let marks = text[error.range.clone()].chars().count().max(1);
            failure = failure.caused_by(format!("\n  {text}\n  {}{}", " ".repeat(before), "^".repeat(marks)));
        }
        match error.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}
