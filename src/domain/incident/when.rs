//! How a note says that it happened earlier: `@-12m text`, `@14:05 text`.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::domain::format;

/// A note as typed, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// When it happened, when the note says so.
    pub at: Option<Timestamp>,
    /// What it says.
    pub text: String,
}

/// Takes a typed note apart. Text that begins with `@` and a name is an ordinary note (`@bob look`).
///
/// # Errors
/// `@-` or `@` and a digit followed by something that is no time, and a time in the future.
pub fn split_note(typed: &str, now: Timestamp, zone: &TimeZone) -> Result<Typed, String> {
    let trimmed = typed.trim();
    let timed = trimmed.strip_prefix('@').is_some_and(|it| it.starts_with(|it: char| it == '-' || it.is_ascii_digit()));
    if !timed {
        return Ok(Typed { at: None, text: trimmed.to_string() });
    }
    let (at, text) = format::split_when(trimmed, now, zone)?;
    if let Some(at) = at {
        not_in_the_future(at, now)?;
    }
    Ok(Typed { at, text: text.trim().to_string() })
}

/// Refuses a time that has not come yet.
///
/// # Errors
/// When `at` lies more than a minute after `now`: the clocks of two hosts may differ a little.
pub fn not_in_the_future(at: Timestamp, now: Timestamp) -> Result<(), String> {
    if at.duration_since(now) > SignedDuration::from_secs(60) {
        return Err(format!("`{at}` lies in the future, a timeline holds what has happened"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, expected: Result<(Option<&str>, &str), ()>) {
        let now: Timestamp = "2024-08-19T00:10:00+08:00".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        let found = split_note(typed, now, &zone).map_err(|_| ());
        let expected = expected.map(|(at, text)| Typed { at: at.map(|it| it.parse().unwrap()), text: text.into() });
        assert_eq!(found, expected, "{typed}");
    }

    #[test]
    fn a_note_says_when_it_happened() {
        check("plain text", Ok((None, "plain text")));
        check("@-12m asked storage", Ok((Some("2024-08-18T23:58:00+08:00"), "asked storage")));
        check("@00:05 x", Ok((Some("2024-08-19T00:05:00+08:00"), "x")));
        check("@23:55:10 yesterday", Ok((Some("2024-08-18T23:55:10+08:00"), "yesterday")));
    }

    #[test]
    fn a_person_addressed_is_not_a_time() {
        check("@bob check the pool", Ok((None, "@bob check the pool")));
        check("@", Ok((None, "@")));
    }

    #[test]
    fn a_broken_or_future_time_is_an_error_and_not_a_note() {
        for typed in ["@-12 x", "@-m x", "@25:00 x", "@-99999999999d x", "@2030-01-01 x", "@-", "@12日 x"] {
            check(typed, Err(()));
        }
    }
}
