//! Points in time as people write them: `-30m`, `14:30`, `2026-08-19T14:30`, RFC 3339.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// What may be written, for error messages.
pub const HINT: &str = "write `-30m`, `2h ago`, `14:30`, `today`, `yesterday`, `2026-08-19T14:30`, \
    `2026-08-19T06:30:00Z` or seconds since 1970 as in `@1700000000`";

/// Seconds since 1970 without an `@` have so many digits: from 2001 to 2286.
const EPOCH_DIGITS: usize = 10;

/// Resolves a point in time.
///
/// `-30m` (or `30m`, `30m ago`, `30 minutes ago`) is that long before `now`; `today` and `yesterday` are the beginnings
/// of those days in `zone`; `@1700000000` (or the ten digits alone) counts seconds since 1970; a time of day is the last time the clock showed it; civil
/// dates are read in `zone`.
///
/// # Errors
/// In words, when the text is none of these.
pub fn resolve(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let in_zone = |civil: DateTime| {
        zone.to_timestamp(civil).map_err(|error| format!("`{text}` is not a time of this calendar: {error}"))
    };
    let text = text.trim();
    match text.to_ascii_lowercase().as_str() {
        "now" => return Ok(now),
        "today" => return in_zone(zone.to_datetime(now).date().at(0, 0, 0, 0)),
        "yesterday" => {
            let day = zone.to_datetime(now).date().yesterday().map_err(|error| error.to_string())?;
            return in_zone(day.at(0, 0, 0, 0));
        }
        _ => {}
    }
    if let Some(at) = epoch(text) {
        return at.ok_or_else(|| format!("`{text}` is no time that a calendar has"));
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Some(ago) = duration(text) {
        return now.checked_sub(ago).map_err(|_| format!("`{text}` is too long ago"));
    }
    if let Ok(civil) = text.parse::<DateTime>() {
        return in_zone(civil);
    }
    if let Ok(date) = text.parse::<Date>() {
        return in_zone(date.at(0, 0, 0, 0));
    }
    if let Ok(time) = text.parse::<Time>() {
        let today = zone.to_datetime(now).date();
        let at = in_zone(today.to_datetime(time))?;
        if at <= now {
            return Ok(at);
        }
        let yesterday = today.yesterday().map_err(|error| error.to_string())?;
        return in_zone(yesterday.to_datetime(time));
    }
    Err(format!("`{text}` is not a point in time"))
}

/// Resolves the end of a range that begins at `from`, if that is known: as [`resolve`], but a time of day that lies
/// before the beginning is the one on the day after. `since:14:03 until:15:00` at ten to three ends in ten minutes and
/// not yesterday.
///
/// # Errors
/// In words, when the text is no point in time.
pub fn resolve_end(text: &str, from: Option<Timestamp>, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let at = resolve(text, now, zone)?;
    let is_before = from.is_some_and(|from| at <= from);
    if is_before && is_time_of_day(text) { on_the_day_after(text, at, zone) } else { Ok(at) }
}

fn is_time_of_day(text: &str) -> bool {
    let text = text.trim();
    // A date with a time can be read as a time as well.
    epoch(text).is_none() && text.parse::<DateTime>().is_err() && text.parse::<Time>().is_ok()
}

fn on_the_day_after(text: &str, at: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let next = zone.to_datetime(at).tomorrow().map_err(|error| error.to_string())?;
    zone.to_timestamp(next).map_err(|error| format!("`{text}` is not a time of this calendar: {error}"))
}

/// Resolves a point in time that is to come: `2h` or `+2h` is that long after `now`, a time of day is the next time
/// the clock shows it; the rest as for [`resolve`].
///
/// # Errors
/// In words, when the text is none of these.
pub fn ahead(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if let Some(length) = duration(text).filter(|_| !text.starts_with('-')) {
        return now.checked_add(length).map_err(|_| format!("`{text}` is too far ahead"));
    }
    let at = resolve(text, now, zone)?;
    // The last time the clock showed it was today or yesterday: the next is on the day after.
    if at < now && is_time_of_day(text) { on_the_day_after(text, at, zone) } else { Ok(at) }
}

/// Checks the text without resolving it.
///
/// # Errors
/// In words, when [`resolve`] could not read it.
pub fn check(text: &str) -> Result<(), String> {
    resolve(text, Timestamp::UNIX_EPOCH, &TimeZone::UTC).map(|_| ())
}

/// Seconds since 1970, also with a fraction; `None` when the text is none, inside of it when they are out of range.
fn epoch(text: &str) -> Option<Option<Timestamp>> {
    let digits = match text.strip_prefix('@') {
        Some(digits) => digits,
        None if text.len() == EPOCH_DIGITS => text,
        None => return None,
    };
    let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    if !is_number(seconds) || !is_number(fraction) {
        return None;
    }
    let nanos = format!("{fraction:0<9}")[..9].parse().unwrap_or(0);
    Some(seconds.parse().ok().and_then(|it| Timestamp::new(it, nanos).ok()))
}

fn duration(text: &str) -> Option<SignedDuration> {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (text, is_ago) = text.strip_suffix(" ago").map_or((text, false), |it| (it.trim_end(), true));
    // Only before `ago`: ` 2 hours` alone may be meant for anything.
    if text.contains(char::is_whitespace) && !is_ago {
        return None;
    }
    if !text.starts_with(|it: char| it.is_ascii_digit()) || !text.ends_with(|it: char| it.is_ascii_alphabetic()) {
        return None;
    }
    // jiff counts days only in a calendar; here a day is 24 hours, as everywhere in the config.
    let days = ["d", "day", "days"].into_iter().find_map(|it| text.strip_suffix(it));
    if let Some(days) = days.map(str::trim_end).and_then(|it| it.parse::<i64>().ok()) {
        return Some(SignedDuration::from_hours(days.checked_mul(24)?));
    }
    let length: SignedDuration = text.parse().ok()?;
    // jiff reads `2 hours ago` whole as a negative length; a sign of its own has no meaning here.
    (!length.is_negative()).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now: Timestamp = "2026-08-19T06:40:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        let check = |text: &str, expected: &str| {
            assert_eq!(resolve(text, now, &zone).map(|it| it.to_string()), Ok(expected.to_string()), "{text}");
        };
        check("-30m", "2026-08-19T06:10:00Z");
        check("1h30m", "2026-08-19T05:10:00Z");
        check("-2d", "2026-08-17T06:40:00Z");
        check("2 hours ago", "2026-08-19T04:40:00Z");
        check("2h ago", "2026-08-19T04:40:00Z");
        check("-2h", "2026-08-19T04:40:00Z");
        check("1d ago", "2026-08-18T06:40:00Z");
        check("1 day ago", "2026-08-18T06:40:00Z");
        check("90 minutes ago", "2026-08-19T05:10:00Z");
        check("today", "2026-08-18T16:00:00Z");
        check("Yesterday", "2026-08-17T16:00:00Z");
        check("1700000000", "2023-11-14T22:13:20Z");
        check("@1700000000", "2023-11-14T22:13:20Z");
        check("@1700000000.25", "2023-11-14T22:13:20.25Z");
        check("14:30", "2026-08-19T06:30:00Z");
        check("23:00", "2026-08-18T15:00:00Z");
        check("2026-08-19T14:30", "2026-08-19T06:30:00Z");
        check("2026-08-19", "2026-08-18T16:00:00Z");
        check("2026-08-19T06:30:00Z", "2026-08-19T06:30:00Z");
        let ahead = |text: &str| ahead(text, now, &zone).map(|it| it.to_string());
        assert_eq!(ahead("2h"), Ok("2026-08-19T08:40:00Z".into()));
        assert_eq!(ahead("+2d"), Ok("2026-08-21T06:40:00Z".into()));
        assert_eq!(ahead("14:30"), Ok("2026-08-20T06:30:00Z".into()));
        assert_eq!(ahead("23:00"), Ok("2026-08-19T15:00:00Z".into()));
        assert_eq!(ahead("2026-08-19T14:50"), Ok("2026-08-19T06:50:00Z".into()));
        assert!(ahead("soon").is_err());
        assert_eq!(ahead("2026-08-19T14:30"), Ok("2026-08-19T06:30:00Z".into()), "what has a date is never moved");
        let end = |from: &str, text: &str| {
            let from = resolve(from, now, &zone).ok();
            resolve_end(text, from, now, &zone).map(|it| it.to_string())
        };
        assert_eq!(end("14:03", "15:00"), Ok("2026-08-19T07:00:00Z".into()), "it is 14:40: the range ends soon");
        assert_eq!(end("23:50", "00:10"), Ok("2026-08-18T16:10:00Z".into()));
        assert_eq!(end("23:50", "23:40"), Ok("2026-08-19T15:40:00Z".into()));
        assert_eq!(end("14:03", "14:30"), Ok("2026-08-19T06:30:00Z".into()));
        assert_eq!(end("14:03", "2026-08-18T15:00"), Ok("2026-08-18T07:00:00Z".into()));
        assert_eq!(end("", "15:00"), Ok("2026-08-18T07:00:00Z".into()), "without a beginning it was yesterday");
        for bad in [
            "soon",
            "-30",
            "25:00",
            "99999999999999d",
            "2 hours",
            "ago",
            "@",
            "@x",
            "in 2h",
            "last week",
            "2 fortnights ago",
        ] {
            assert!(resolve(bad, now, &zone).is_err(), "{bad}");
        }
    }
}
