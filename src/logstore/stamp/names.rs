//! Zones that are named behind a time: `CET`, `MSK`, `PST`.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Seconds ahead of UTC of the zone that is named behind a time, and where its name ends.
///
/// What the log's own zone calls so at that time, `own` seconds ahead, is meant first: `CST` is 14 hours away in China.
pub(super) fn read(line: &[u8], at: usize, zone: &TimeZone, civil: i64, own: i64) -> Option<(i64, usize)> {
    let (name, end) = zone_name(line, at)?;
    let instant = Timestamp::from_second(civil - own).ok()?;
    // A zone that is given as an offset has no name.
    let is_china = (name, own) == ("CST", 8 * 3600);
    let is_own = is_china || zone.to_offset_info(instant).abbreviation() == name;
    let offset = if is_own { own } else { named_offset(name)? };
    Some((offset, end))
}

/// A zone that is named behind a time, ` CET`, and where its name ends: before a process id, a year, or the end of what
/// holds the time. Elsewhere it is a word of the message.
fn zone_name(line: &[u8], at: usize) -> Option<(&str, usize)> {
    let behind = line.get(at..)?.strip_prefix(b" ")?;
    let length = behind.iter().take(6).take_while(|it| it.is_ascii_uppercase()).count();
    let (name, rest) = behind.split_at(length);
    let is_year = |it: &[u8]| it[0] == b' ' && it[1..5].iter().all(u8::is_ascii_digit);
    let ends = match rest {
        [] | [b']' | b')' | b'"', ..] => true,
        [b' ', b'[', digit, ..] if digit.is_ascii_digit() => true,
        [_, _, _, _, _] => is_year(rest),
        [_, _, _, _, _, next, ..] => is_year(rest) && !next.is_ascii_alphanumeric(),
        _ => false,
    };
    let name = std::str::from_utf8(name).ok().filter(|_| ends && (3..=5).contains(&length))?;
    Some((name, at + 1 + length))
}

/// Seconds ahead of UTC of a zone's name: those that mean one thing, and those of North America, as PostgreSQL takes
/// them unless it is told otherwise (its `Default` set).
fn named_offset(name: &str) -> Option<i64> {
    let hours = match name {
        "HST" => -10,
        "AKST" => -9,
        "AKDT" | "PST" => -8,
        "PDT" | "MST" => -7,
        "MDT" | "CST" => -6,
        "CDT" | "EST" => -5,
        "EDT" => -4,
        "WET" => 0,
        "BST" | "WEST" | "CET" => 1,
        "CEST" | "EET" | "SAST" => 2,
        "EEST" | "MSK" => 3,
        "HKT" => 8,
        "JST" | "KST" => 9,
        "AEST" => 10,
        "AEDT" => 11,
        "NZST" => 12,
        "NZDT" => 13,
        _ => return None,
    };
    Some(hours * 3600)
}
