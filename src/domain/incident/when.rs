//! How a person says that something happened earlier: `@-12m text`, `@14:05 text`, `--at -12m`.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// A note as typed, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// When it happened, when the note says so.
    pub at: Option<Timestamp>,
    /// What it says.
    pub text: String,
}

/// Takes a typed note apart. Text that begins with `@` but names no time is an ordinary note (`@bob look`).
///
/// # Errors
/// A time that cannot be meant: `@-` or `@` followed by digits that are no time, or one in the future.
pub fn split_note(typed: &str, now: Timestamp, zone: &TimeZone) -> Result<Typed, String> {
    let plain = |text: &str| Typed { at: None, text: text.trim().to_string() };
    let Some(rest) = typed.trim_start().strip_prefix('@') else { return Ok(plain(typed)) };
    let (word, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if !word.starts_with(|it: char| it == '-' || it.is_ascii_digit()) {
        return Ok(plain(typed));
    }
    let at = parse(word, now, zone)?;
    Ok(Typed { at: Some(at), text: text.trim().to_string() })
}

/// Parses `-12m`, `-1h30m`, `-90s`, `-2d`, `14:05`, `14:05:30` (the latest such time), `2024-08-19T14:05`
/// (in `zone`) or RFC 3339.
///
/// # Errors
/// Anything else, and a time after `now`.
pub fn parse(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let unknown = || format!("`{text}` is not a time, expected `-12m`, `14:05` or `2024-08-19T14:05`");
    let at = if let Some(ago) = text.strip_prefix('-') {
        let ago = duration(ago).ok_or_else(unknown)?;
        now.checked_sub(ago).map_err(|_| unknown())?
    } else if let Ok(at) = text.parse::<Timestamp>() {
        at
    } else if let Some((date, time)) = text.split_once(['T', ' ']) {
        let date: Date = date.parse().map_err(|_| unknown())?;
        let at = date.to_datetime(clock_time(time).ok_or_else(unknown)?).to_zoned(zone.clone());
        at.map_err(|_| unknown())?.timestamp()
    } else {
        let time = clock_time(text).ok_or_else(unknown)?;
        let today = now.to_zoned(zone.clone()).date();
        let on = |date: Date| date.to_datetime(time).to_zoned(zone.clone()).map(|it| it.timestamp());
        // At 00:10 somebody who writes 23:55 means yesterday.
        match on(today) {
            Ok(at) if at <= now => at,
            _ => today.checked_sub(1.day()).and_then(on).map_err(|_| unknown())?,
        }
    };
    if at > now { Err(format!("`{text}` lies in the future")) } else { Ok(at) }
}

fn clock_time(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let mut number = |max_digits: usize| -> Option<Option<i8>> {
        match parts.next() {
            None => Some(None),
            Some(it) if it.is_empty() || it.len() > max_digits || !it.bytes().all(|byte| byte.is_ascii_digit()) => None,
            Some(it) => it.parse().ok().map(Some),
        }
    };
    let (hour, minute, second) = (number(2)??, number(2)??, number(2)?.unwrap_or(0));
    if parts.next().is_some() {
        return None;
    }
    Time::new(hour, minute, second, 0).ok()
}

fn duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text;
    let mut total = SignedDuration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        total = total.checked_add(SignedDuration::from_secs(number.checked_mul(seconds)?))?;
        rest = &rest[digits + unit.len_utf8()..];
    }
    Some(total)
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
        check("@-1h30m x", Ok((Some("2024-08-18T22:40:00+08:00"), "x")));
        check("@00:05 x", Ok((Some("2024-08-19T00:05:00+08:00"), "x")));
        check("@23:55:10 yesterday", Ok((Some("2024-08-18T23:55:10+08:00"), "yesterday")));
        check("@2024-08-18T14:05 x", Ok((Some("2024-08-18T14:05:00+08:00"), "x")));
        check("@2024-08-18T14:05:00Z x", Ok((Some("2024-08-18T14:05:00Z"), "x")));
    }

    #[test]
    fn a_person_addressed_is_not_a_time() {
        check("@bob check the pool", Ok((None, "@bob check the pool")));
        check("@", Ok((None, "@")));
    }

    #[test]
    fn a_broken_or_future_time_is_an_error_and_not_a_note() {
        for typed in [
            "@-12 x",
            "@-m x",
            "@25:00 x",
            "@1:2:3:4 x",
            "@99999999999999999999d",
            "@-99999999999d x",
            "@2030-01-01T00:00 x",
            "@-",
            "@12日 x",
        ] {
            check(typed, Err(()));
        }
    }
}
