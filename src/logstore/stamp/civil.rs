//! Reads the parts of a timestamp: dates, times of day, offsets from UTC, and the numbers and names in them.
//!
//! Nothing here knows a zone or a year that the text does not say; that is up to the reader of the line.

use crate::logstore::stamp::postgres::may_be_postgres;

/// A date and the text it was read from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day {
    pub(super) text: [u8; 10],
    pub(super) date: (i64, i64, i64),
    /// Days since the epoch.
    pub(super) number: i64,
}

/// A time of day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) seconds: i64,
    pub(super) nanos: i32,
    pub(super) end: usize,
}

impl Clock {
    /// `143001`, `143001.123`.
    pub(super) fn read_compact(line: &[u8], at: usize) -> Option<Self> {
        let (hour, minute, second) = (two(line, at)?, two(line, at + 2)?, two(line, at + 4)?);
        let seconds = (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)?;
        Self { seconds, nanos: 0, end: at + 6 }.with_fraction(line)
    }

    /// `4:30:01`.
    pub(super) fn read_short_hour(line: &[u8], at: usize) -> Option<Self> {
        let (hour, minute, second) = (number(line, at, 1)?, two(line, at + 2)?, two(line, at + 5)?);
        let is_one = line.get(at + 1) == Some(&b':') && line.get(at + 4) == Some(&b':') && minute < 60 && second <= 60;
        is_one.then_some(Self { seconds: hour * 3600 + minute * 60 + second, nanos: 0, end: at + 7 })
    }

    /// `14:30`, `14:30:01`, `14:30:01.123`, `14:30:01,123`.
    pub(super) fn read(line: &[u8], at: usize) -> Option<Self> {
        let (hour, minute) = (two(line, at)?, two(line, at + 3)?);
        if line.get(at + 2) != Some(&b':') || hour > 23 || minute > 59 {
            return None;
        }
        let mut clock = Self { seconds: hour * 3600 + minute * 60, nanos: 0, end: at + 5 };
        if line.get(at + 5) != Some(&b':') {
            return Some(clock);
        }
        let second = two(line, at + 6).filter(|it| *it <= 60)?;
        clock.seconds += second;
        clock.end = at + 8;
        clock.with_fraction(line)
    }

    /// Goes on behind the seconds.
    fn with_fraction(mut self, line: &[u8]) -> Option<Self> {
        if matches!(line.get(self.end), Some(b'.' | b',')) {
            let digits = line[self.end + 1..].iter().take(9).take_while(|byte| byte.is_ascii_digit()).count();
            if digits > 0 {
                let value = number(line, self.end + 1, digits)?;
                let scale = 10_i64.pow(9 - u32::try_from(digits).ok()?);
                self.nanos = i32::try_from(value * scale).ok()?;
                self.end += 1 + digits;
            }
        }
        Some(self)
    }
}

/// `Z`, `+08:00`, `-0700`, ` +0800`, ` UTC`, and where it ends.
pub(super) fn zone_offset(line: &[u8], at: usize) -> Option<(i64, usize)> {
    let spaced = line.get(at) == Some(&b' ');
    let at = if spaced { at + 1 } else { at };
    match line.get(at)? {
        b'Z' | b'z' if !spaced => Some((0, at + 1)),
        b'U' if spaced && line[at..].starts_with(b"UTC") => Some((0, at + 3)),
        b'G' if spaced && line[at..].starts_with(b"GMT") => Some((0, at + 3)),
        sign @ (b'+' | b'-') => {
            let hours = number(line, at + 1, 2).filter(|it| *it <= 18)?;
            let (minutes, end) = match line.get(at + 3) {
                Some(b':') => (number(line, at + 4, 2)?, at + 6),
                Some(b'0'..=b'9') => (number(line, at + 3, 2)?, at + 5),
                // PostgreSQL, of a zone whose time has no name: ` -03 [812]`.
                _ if spaced && may_be_postgres(&line[at + 3..], b" [8".len()) => (0, at + 3),
                _ if spaced => return None,
                _ => (0, at + 3),
            };
            let offset = hours * 3600 + minutes * 60;
            Some((if *sign == b'-' { -offset } else { offset }, end))
        }
        _ => None,
    }
}

/// A number of so many digits.
pub(super) fn number(line: &[u8], at: usize, digits: usize) -> Option<i64> {
    // Nineteen nines are less than half of what 64 bits hold.
    let mut value = 0_u64;
    if digits == 0 || digits > 19 {
        return None;
    }
    for byte in line.get(at..at + digits)? {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    i64::try_from(value).ok()
}

/// A number of two digits.
pub(super) fn two(line: &[u8], at: usize) -> Option<i64> {
    let pair = line.get(at..at + 2)?;
    let (tens, ones) = (pair[0].wrapping_sub(b'0'), pair[1].wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| i64::from(tens * 10 + ones))
}

/// True when there is such a month and the day may be in it.
pub(super) fn is_date((_, month, day): (i64, i64, i64)) -> bool {
    (1..=12).contains(&month) && (1..=31).contains(&day)
}

/// The month of an English short name.
pub(super) fn month(line: &[u8], at: usize) -> Option<i64> {
    let name = line.get(at..at + 3)?;
    Some(match name {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    })
}

/// True where the English short name of a weekday stands.
pub(super) fn is_weekday(line: &[u8], at: usize) -> bool {
    matches!(line.get(at..at + 3), Some(b"Mon" | b"Tue" | b"Wed" | b"Thu" | b"Fri" | b"Sat" | b"Sun"))
}

/// Days since 1970-01-01 of a date of the Gregorian calendar.
pub(super) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (date, days) in [((1970, 1, 1), 0), ((2000, 2, 29), 11_016), ((2026, 8, 19), 20_684), ((1969, 12, 31), -1)]
        {
            assert_eq!(days_from_civil(date.0, date.1, date.2), days, "{date:?}");
        }
    }
}
