//! What can be typed behind `:`: verbs with an argument, and the name of every command.

use crate::app::command::{Command, GlobalCommand};
use crate::domain::config_error::did_you_mean;
use crate::domain::incident::Severity;
use crate::panes::PaneId;

/// A typed line, understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// Nothing was typed.
    Nothing,
    /// A command by its name.
    Command(Command),
    /// `theme NAME`.
    Theme(String),
    /// `note [@TIME] TEXT`.
    Note(String),
    /// `declare [SEVERITY] TITLE`.
    Declare {
        /// The title.
        title: String,
        /// `sev1` to `sev4` before the title; `sev2` when none is named, because lowering it later is easy.
        severity: Severity,
    },
    /// `filter QUERY`; no query takes the filter away.
    Filter(String),
    /// `goto TIME`.
    Goto(String),
    /// `columns FIELD,…`; `none` takes them away.
    Columns(String),
    /// `explain PROBE [TIME]`.
    Explain {
        /// The probe's name.
        probe: String,
        /// At what time; empty is now.
        at: String,
    },
    /// `past TIME`.
    Past(String),
    /// `test-notify NAME`.
    TestNotify(String),
}

/// A verb: its name, how it is used, what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verb {
    /// The word.
    pub name: &'static str,
    /// With its argument.
    pub usage: &'static str,
    /// One imperative line.
    pub doc: &'static str,
}

/// Verbs with an argument. A verb without its argument falls back to the command of the same name.
pub const VERBS: &[Verb] = &[
    Verb { name: "theme", usage: "theme NAME", doc: "Take a theme into use" },
    Verb { name: "note", usage: "note [@TIME] TEXT", doc: "Add a note to the incident" },
    Verb { name: "declare", usage: "declare [sev1-sev4] TITLE", doc: "Declare an incident" },
    Verb { name: "filter", usage: "filter [+] QUERY", doc: "Replace the log filter, add to it, or take it away" },
    Verb { name: "columns", usage: "columns FIELD,…", doc: "Show fields as columns; `none` takes them away" },
    Verb { name: "explain", usage: "explain PROBE [TIME]", doc: "Explain why somebody was paged, or nobody" },
    Verb { name: "past", usage: "past TIME", doc: "Show the whole screen as it was: -2h, 14:40; `now` comes back" },
    Verb { name: "test-notify", usage: "test-notify NAME", doc: "Send a test message through a notifier" },
    Verb {
        name: "goto",
        usage: "goto TIME",
        doc: "Show the logs at a time: -12m, 14:05, 11-01 00:10; also the time alone",
    },
];

/// Words that fingers type from habit.
const ALIASES: &[(&str, GlobalCommand)] =
    &[("q", GlobalCommand::QuitNow), ("q!", GlobalCommand::QuitNow), ("wq", GlobalCommand::QuitNow)];

/// Reads a line. A command of the focused pane may be named without the pane: `follow` for `logs.follow`.
///
/// # Errors
/// What is wrong, with the nearest word that is known.
pub fn parse_line(text: &str, focus: PaneId) -> Result<Line, String> {
    let text = text.trim();
    let (word, argument) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let argument = argument.trim();
    if word.is_empty() {
        return Ok(Line::Nothing);
    }
    // As in `:120` of less, but by time: no command begins with a digit.
    if text.strip_prefix(['-', '@']).unwrap_or(text).starts_with(|it: char| it.is_ascii_digit()) {
        return Ok(Line::Goto(text.to_string()));
    }
    let known = VERBS.iter().any(|it| it.name == word);
    match (word, argument) {
        ("theme", name) if !name.is_empty() => return Ok(Line::Theme(name.to_string())),
        ("note", text) if !text.is_empty() => return Ok(Line::Note(text.to_string())),
        ("declare", title) if !title.is_empty() => return declare(title),
        ("filter", query) => return Ok(Line::Filter(query.to_string())),
        ("columns", "none") => return Ok(Line::Columns(String::new())),
        ("columns", names) if !names.is_empty() => return Ok(Line::Columns(names.to_string())),
        ("explain", "") => return Err("`explain` needs a probe, as in `explain api -12m`".to_string()),
        ("explain", argument) => {
            let (probe, at) = argument.split_once(char::is_whitespace).unwrap_or((argument, ""));
            return Ok(Line::Explain { probe: probe.to_string(), at: at.trim().to_string() });
        }
        ("past", "") => return Err("`past` needs a time, as in `past -2h`; `past now` comes back".to_string()),
        ("past", time) => return Ok(Line::Past(time.to_string())),
        ("test-notify", "") => return Err("`test-notify` needs the name of a notifier".to_string()),
        ("test-notify", name) => return Ok(Line::TestNotify(name.to_string())),
        ("goto", "") => return Err("`goto` needs a time, as in `goto -12m`".to_string()),
        ("goto", time) => return Ok(Line::Goto(time.to_string())),
        _ => {}
    }
    let command = find(word, focus).ok_or_else(|| unknown(word, focus))?;
    if argument.is_empty() || known { Ok(Line::Command(command)) } else { Err(format!("`{word}` takes no argument")) }
}

fn declare(text: &str) -> Result<Line, String> {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let severity = match word.to_ascii_lowercase().as_str() {
        "sev1" => Some(Severity::Sev1),
        "sev2" => Some(Severity::Sev2),
        "sev3" => Some(Severity::Sev3),
        "sev4" => Some(Severity::Sev4),
        _ => None,
    };
    let title = if severity.is_some() { rest.trim() } else { text };
    if title.is_empty() {
        return Err("an incident needs a title, as in `declare sev2 edge answers 502`".to_string());
    }
    Ok(Line::Declare { title: title.to_string(), severity: severity.unwrap_or(Severity::Sev2) })
}

fn find(word: &str, focus: PaneId) -> Option<Command> {
    let alias = || ALIASES.iter().find(|(name, _)| *name == word).map(|(_, it)| Command::Global(*it));
    let local = || focus.command(&format!("{}.{word}", focus.name())).map(Command::Pane);
    Command::find(word).or_else(local).or_else(alias)
}

fn unknown(word: &str, focus: PaneId) -> String {
    let words = words(focus);
    match did_you_mean(word, words.iter().map(|(name, _)| name.as_str())) {
        Some(near) => format!("there is no command `{word}`, did you mean `{near}`?"),
        None => format!("there is no command `{word}`, press Tab to see them"),
    }
}

/// Everything that can stand first on the line, with what it does: verbs, the pane's own short names, full names.
pub fn words(focus: PaneId) -> Vec<(String, &'static str)> {
    let verbs = VERBS.iter().map(|it| (it.name.to_string(), it.doc));
    let prefix = format!("{}.", focus.name());
    let local = focus.specs().iter().map(|it| (it.name.trim_start_matches(&prefix).to_string(), it.doc));
    let all = Command::all().into_iter().map(|it| (it.spec().name.to_string(), it.spec().doc));
    let mut words: Vec<(String, &'static str)> = Vec::new();
    for (name, doc) in verbs.chain(local).chain(all) {
        if !words.iter().any(|(it, _)| *it == name) {
            words.push((name, doc));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Line, String> {
        parse_line(text, PaneId::Services)
    }

    #[test]
    fn a_command_is_found_by_its_name_or_by_its_short_name_in_its_pane() {
        let zoom = Line::Command(Command::Global(GlobalCommand::Zoom));
        assert_eq!(parse(" zoom "), Ok(zoom));
        assert_eq!(parse("down"), parse("services.down"));
        assert!(parse_line("down", PaneId::Logs) != parse("down"));
        assert_eq!(parse("q"), Ok(Line::Command(Command::Global(GlobalCommand::QuitNow))));
        assert_eq!(parse(""), Ok(Line::Nothing));
    }

    #[test]
    fn verbs_take_the_rest_of_the_line() {
        assert_eq!(parse("note  @-12m pool grew "), Ok(Line::Note("@-12m pool grew".into())));
        assert_eq!(parse("note"), Ok(Line::Command(Command::Global(GlobalCommand::Note))));
        assert_eq!(parse("theme dark"), Ok(Line::Theme("dark".into())));
        assert_eq!(parse("filter"), Ok(Line::Filter(String::new())));
        assert_eq!(parse("goto 14:05"), Ok(Line::Goto("14:05".into())));
        assert!(parse("goto").is_err());
        for time in ["14:43", "14:43:52", "2026-11-23 14:43", "-12m", "@14:05"] {
            assert_eq!(parse(time), Ok(Line::Goto(time.into())));
        }
        assert_eq!(parse("columns status, user"), Ok(Line::Columns("status, user".into())));
        assert_eq!(parse("columns none"), Ok(Line::Columns(String::new())));
        assert!(matches!(parse_line("columns", PaneId::Logs), Ok(Line::Command(_))));
    }

    #[test]
    fn a_severity_may_stand_before_the_title() {
        let declare = |title: &str, severity| Ok(Line::Declare { title: title.into(), severity });
        assert_eq!(parse("declare SEV1 edge 502"), declare("edge 502", Severity::Sev1));
        assert_eq!(parse("declare edge 502"), declare("edge 502", Severity::Sev2));
        assert!(parse("declare sev1").is_err());
    }

    #[test]
    fn a_wrong_word_is_answered_with_the_nearest_one() {
        assert_eq!(parse("zom").unwrap_err(), "there is no command `zom`, did you mean `zoom`?");
        assert_eq!(parse("xyzzy").unwrap_err(), "there is no command `xyzzy`, press Tab to see them");
        assert_eq!(parse("zoom in").unwrap_err(), "`zoom` takes no argument");
    }
}
