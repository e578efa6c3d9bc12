//! Queries with a name: what `[[query]]` in the config keeps, `@name` stands for everywhere.

use std::borrow::Cow;
use std::ops::Range;

use crate::domain::config_error::did_you_mean;
use crate::domain::query::{Query, QueryError};
use crate::domain::sanitise;

/// Saved queries of a config, at most: a list that a person picks from.
pub const SAVED_MAX: usize = 200;

/// A query with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedQuery {
    /// One word, without the `@` it is called by.
    pub name: String,
    /// The query in its text form.
    pub query: String,
}

/// The text form that a text stands for: every `@name` in it is replaced by the saved query of this name.
///
/// `~@name` switches its chips off; `-@name` keeps out what it shows, when it is a single chip.
///
/// # Errors
/// In words, when there is no saved query of a name, or it cannot be turned around.
pub fn expand<'a>(saved: &[SavedQuery], text: &'a str) -> Result<Cow<'a, str>, String> {
    let mut expanded = String::new();
    let mut end = 0;
    for (range, call) in calls(text) {
        expanded.push_str(&text[end..range.start]);
        expanded.push_str(&call.expand(saved)?);
        end = range.end;
    }
    if end == 0 {
        return Ok(Cow::Borrowed(text));
    }
    expanded.push_str(&text[end..]);
    Ok(Cow::Owned(expanded))
}

/// Reads a text of which [`expand`] made another.
///
/// # Errors
/// The first mistake, with its place in `expanded`.
pub fn read(text: &str, expanded: &str) -> Result<Query, QueryError> {
    if has_name(text) { Query::parse(expanded) } else { Query::typed(expanded) }
}

/// True when a text names a saved query, known or not.
pub fn has_name(text: &str) -> bool {
    calls(text).next().is_some()
}

/// True when a text names one of these saved queries.
pub fn names_one_of(saved: &[SavedQuery], text: &str) -> bool {
    calls(text).any(|(_, call)| saved.iter().any(|it| it.name == call.name))
}

/// One `@name` of a text.
struct Call<'a> {
    enabled: bool,
    out: bool,
    name: &'a str,
}

fn calls(text: &str) -> impl Iterator<Item = (Range<usize>, Call<'_>)> {
    Query::places(text).into_iter().filter_map(|range| {
        let chip = &text[range.clone()];
        let (enabled, rest) = chip.strip_prefix('~').map_or((true, chip), |it| (false, it));
        let (out, rest) = rest.strip_prefix(['-', '!']).map_or((false, rest), |it| (true, it));
        let name = rest.strip_prefix('@').filter(|it| !it.is_empty())?;
        Some((range, Call { enabled, out, name }))
    })
}

impl Call<'_> {
    fn expand(&self, saved: &[SavedQuery]) -> Result<String, String> {
        let name = self.name;
        let Some(found) = saved.iter().find(|it| it.name == name) else { return Err(unknown(saved, name)) };
        if self.enabled && !self.out {
            let meant = Query::typed(&found.query).map(|it| it.to_string());
            return Ok(meant.unwrap_or_else(|_| found.query.clone()));
        }
        let mut query = Query::typed(&found.query).map_err(|error| format!("`@{name}`: {error}"))?;
        if self.out && query.chips.len() != 1 {
            return Err(format!("`@{name}` can only be shown, not hidden: it holds several chips"));
        }
        for chip in &mut query.chips {
            chip.enabled &= self.enabled;
            chip.out ^= self.out;
        }
        Ok(query.to_string())
    }
}

fn unknown(saved: &[SavedQuery], name: &str) -> String {
    let names: Vec<&str> = saved.iter().map(|it| it.name.as_str()).collect();
    let name = sanitise::text(name);
    match (did_you_mean(&name, names.iter().copied()), names.is_empty()) {
        (_, true) => format!("there is no saved query `{name}`: the config has no `[[query]]`"),
        (Some(near), _) => format!("there is no saved query `{name}`, did you mean `{near}`?"),
        (None, _) => format!("there is no saved query `{name}`, only {}", names.join(", ")),
    }
}

/// Why a name is none for a saved query; `None` when it is fine.
pub fn mistake_of_name(name: &str) -> Option<&'static str> {
    let is_word = !name.is_empty() && !name.starts_with('@');
    let is_plain = name.chars().all(|it| !it.is_whitespace() && !it.is_control());
    (!is_word || !is_plain).then_some("use one word, as in `5xx`: it is called by `@5xx`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_its_query_and_a_wrong_one_is_said() {
        let saved = [
            SavedQuery { name: "5xx".into(), query: "/ 5\\d\\d /".into() },
            SavedQuery { name: "many".into(), query: "a -b".into() },
            SavedQuery { name: "slow".into(), query: "timeout".into() },
        ];
        let expand = |text: &str| expand(&saved, text).map(Cow::into_owned);
        assert_eq!(expand("@5xx").as_deref(), Ok("/ 5\\d\\d /"));
        assert_eq!(expand("level>=warn").as_deref(), Ok("level>=warn"));
        assert_eq!(expand("@slwo").unwrap_err(), "there is no saved query `slwo`, did you mean `slow`?");
        assert_eq!(expand("@x").unwrap_err(), "there is no saved query `x`, only 5xx, many, slow");
        assert!(super::expand(&[], "@x").unwrap_err().contains("no `[[query]]`"));
        assert!(mistake_of_name("two words").is_some() && mistake_of_name("").is_some());
    }

    #[test]
    fn a_name_stands_among_other_chips() {
        let saved = [
            SavedQuery { name: "many".into(), query: "a -b".into() },
            SavedQuery { name: "slow".into(), query: "timeout".into() },
        ];
        let check = |text: &str, expected: &str| assert_eq!(expand(&saved, text).as_deref(), Ok(expected), "{text}");
        check("@slow line", "timeout line");
        check("level>=warn @many  @slow", "level>=warn a -b  timeout");
        check("-@slow x", "-timeout x");
        check("~@many", "~a ~-b");
        check("\"@slow\" a@slow /@slow/ user=@slow", "\"@slow\" a@slow /@slow/ user=@slow");
        check("@slow /a(b/", "timeout /a(b/");
        assert!(expand(&saved, "x -@many").unwrap_err().contains("can only be shown"));
        assert!(expand(&saved, "x @none").unwrap_err().contains("no saved query `none`"));
        assert!(has_name("x @none") && !has_name("\"@none\"") && !has_name("x@none"));
        assert!(names_one_of(&saved, "x @slow") && !names_one_of(&saved, "x @none"));
    }
}
