//! Values with units and references, as they stand inside a config's strings.

use std::ops::Range;
use std::time::Duration;

use crate::registry::{masked, reference};

/// What is wrong inside a string, by byte range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    /// Bytes of the string.
    pub range: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// True when the text names a `${cmd:…}`.
pub fn has_command(text: &str) -> bool {
    refers_to(text, "${cmd:")
}

/// True when the text names anything that stands elsewhere.
pub fn has_reference(text: &str) -> bool {
    refers_to(text, "${")
}

fn refers_to(text: &str, opening: &str) -> bool {
    let mut at = 0;
    while let Some(found) = text[at..].find("${") {
        let start = at + found;
        let literal = text[at..start].ends_with('$');
        if !literal && text[start..].starts_with(opening) {
            return true;
        }
        at = start + 2;
    }
    false
}

/// Puts in `${env:X}`, `${file:/path}` and `${cmd:program argument …}` (a trailing newline removed).
/// `$${` stands for `${`.
///
/// A command is split into words at blanks, without a shell; quotes keep blanks together. It is run each
/// time, gets [`reference::COMMAND_DEADLINE`] and must exit with 0.
pub fn interpolate(text: &str) -> Result<String, ValueError> {
    interpolate_noting("", text, &mut Vec::new())
}

/// As [`interpolate`] for the value of a key; what of the references must not be shown is added to `found`, see [`masked`].
pub fn interpolate_noting(key: &str, text: &str, found: &mut Vec<String>) -> Result<String, ValueError> {
    let mut result = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(opening) = text[at..].find("${") {
        let start = at + opening;
        if text[at..start].ends_with('$') {
            result.push_str(&text[at..start - 1]);
            result.push_str("${");
            at = start + 2;
            continue;
        }
        result.push_str(&text[at..start]);
        let Some(length) = text[start..].find('}') else {
            return Err(ValueError {
                range: start..text.len(),
                message: "`${` without `}`".into(),
                hint: "close the reference, or write `$${` for a literal `${`".into(),
            });
        };
        let end = start + length + 1;
        let value = resolve(&text[start + 2..end - 1], start..end)?;
        found.extend(masked::secrets(key, &text[..start], &value, &text[end..]));
        result.push_str(&value);
        at = end;
    }
    result.push_str(&text[at..]);
    Ok(result)
}

/// The paths of the `${file:…}` in a text.
pub fn files(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("${file:").filter(|(at, _)| !text[..*at].ends_with('$')).filter_map(|(at, found)| {
        let rest = &text[at + found.len()..];
        rest.find('}').map(|end| &rest[..end])
    })
}

fn resolve(reference: &str, range: Range<usize>) -> Result<String, ValueError> {
    let fail = |message: String, hint: &str| Err(ValueError { range: range.clone(), message, hint: hint.into() });
    match reference.split_once(':') {
        Some(("env", name)) => match std::env::var(name) {
            Ok(value) => Ok(value),
            Err(_) => fail(format!("environment variable `{name}` is not set"), "set it, or use `${file:/path}`"),
        },
        Some(("file", path)) => match reference::read_file(path) {
            Ok(value) => Ok(trimmed(&value)),
            Err(error) => fail(format!("could not read `{path}`: {error}"), "check the path and its permissions"),
        },
        Some(("cmd", line)) => match reference::run_command(line) {
            Ok(value) => Ok(trimmed(&value)),
            Err(error) => fail(format!("command `{line}` failed: {error}"), "run it in a terminal as this user"),
        },
        _ => fail(
            format!("unknown reference `${{{reference}}}`"),
            "known are `${env:NAME}`, `${file:/path}` and `${cmd:program argument}`",
        ),
    }
}

fn trimmed(value: &str) -> String {
    value.trim_end_matches(['\n', '\r']).to_string()
}

/// Parses `"1h 30m"`, `"15s"`, `"800ms"`, `"7d"`. Units: ms, s, m, h, d. A number without a unit is an error.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut total_ms: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("an empty duration".into());
    }
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len());
        let Ok(number) = rest[..digits].parse::<u64>() else {
            return Err(format!("`{text}` is not a duration"));
        };
        // `5 min` reads as well as `5min`.
        let tail = rest[digits..].trim_start();
        let letters = tail.find(|it: char| !it.is_ascii_alphabetic()).unwrap_or(tail.len());
        let unit_ms = match &tail[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" => return Err(format!("`{text}` has no unit")),
            unit => return Err(format!("unknown unit `{unit}` in `{text}`")),
        };
        let part = number.checked_mul(unit_ms).ok_or_else(|| format!("`{text}` is too long"))?;
        total_ms = total_ms.checked_add(part).ok_or_else(|| format!("`{text}` is too long"))?;
        rest = tail[letters..].trim_start();
    }
    Ok(Duration::from_millis(total_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_unit() {
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("800ms"), Ok(Duration::from_millis(800)));
        assert!(parse_duration("15").is_err());
        assert_eq!(parse_duration("5 min"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("5 parsecs"), Err("unknown unit `parsecs` in `5 parsecs`".into()));
        assert_eq!(parse_duration("15 "), Err("`15 ` has no unit".into()));
    }

    #[test]
    fn a_doubled_dollar_is_literal() {
        assert_eq!(interpolate("a $${env:X} b"), Ok("a ${env:X} b".into()));
        assert!(interpolate("${env:HOTSEAT_SURELY_NOT_SET}").is_err());
        assert!(has_command("x${cmd:pass show db}"));
        assert!(!has_command("x$${cmd:pass show db} ${env:X}"));
    }

    #[test]
    fn the_files_of_a_text_are_those_that_are_read() {
        let text = "${file:/a b}:$${file:/not}${env:X}${file:/c} ${file:/open";
        assert_eq!(files(text).collect::<Vec<_>>(), ["/a b", "/c"]);
    }
}
