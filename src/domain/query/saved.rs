//! Queries with a name: what `[[query]]` in the config keeps, `@name` stands for everywhere.

use crate::domain::config_error::did_you_mean;

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

/// The text form that a text stands for: that of the saved query behind `@name`, else the text itself.
///
/// # Errors
/// In words, when there is no saved query of this name.
pub fn resolve<'a>(saved: &'a [SavedQuery], text: &'a str) -> Result<&'a str, String> {
    let Some(name) = text.trim().strip_prefix('@') else { return Ok(text) };
    if let Some(found) = saved.iter().find(|it| it.name == name) {
        return Ok(&found.query);
    }
    let names: Vec<&str> = saved.iter().map(|it| it.name.as_str()).collect();
    Err(match (did_you_mean(name, names.iter().copied()), names.is_empty()) {
        (_, true) => format!("there is no saved query `{name}`: the config has no `[[query]]`"),
        (Some(near), _) => format!("there is no saved query `{name}`, did you mean `{near}`?"),
        (None, _) => format!("there is no saved query `{name}`, only {}", names.join(", ")),
    })
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
            SavedQuery { name: "slow".into(), query: "timeout".into() },
        ];
        assert_eq!(resolve(&saved, "@5xx"), Ok("/ 5\\d\\d /"));
        assert_eq!(resolve(&saved, "level>=warn"), Ok("level>=warn"));
        assert_eq!(resolve(&saved, "@slwo").unwrap_err(), "there is no saved query `slwo`, did you mean `slow`?");
        assert_eq!(resolve(&saved, "@x").unwrap_err(), "there is no saved query `x`, only 5xx, slow");
        assert!(resolve(&[], "@x").unwrap_err().contains("no `[[query]]`"));
        assert!(mistake_of_name("two words").is_some() && mistake_of_name("").is_some());
    }
}
