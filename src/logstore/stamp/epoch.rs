//! Reads times that are a number: seconds, milliseconds, microseconds or nanoseconds since the epoch.

use jiff::Timestamp;

use crate::logstore::stamp::Stamp;
use crate::logstore::stamp::civil::number;

/// `1700000000`, `1700000000.123`, `1700000000123`, followed by something that is no digit.
pub(super) fn read_epoch(line: &[u8], at: usize) -> Option<Stamp> {
    let digits = line[at..].iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
    let value = number(line, at, digits)?;
    let (seconds, nanos) = match digits {
        10 => (value, 0),
        13 => (value / 1_000, value % 1_000 * 1_000_000),
        16 => (value / 1_000_000, value % 1_000_000 * 1_000),
        19 => (value / 1_000_000_000, value % 1_000_000_000),
        _ => return None,
    };
    // 2001 to 2286: other ten-digit numbers at the start of a line are rarer than times.
    if !(1_000_000_000..9_999_999_999).contains(&seconds) {
        return None;
    }
    let mut end = at + digits;
    let mut nanos = nanos;
    if digits == 10 && matches!(line.get(end), Some(b'.' | b',')) {
        let places = line[end + 1..].iter().take(9).take_while(|byte| byte.is_ascii_digit()).count();
        if places > 0 {
            nanos = number(line, end + 1, places)? * 10_i64.pow(9 - u32::try_from(places).ok()?);
            end += 1 + places;
        }
    }
    if line.get(end).is_some_and(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let time = Timestamp::new(seconds, i32::try_from(nanos).ok()?).ok()?;
    Some(Stamp { time: Some(time), range: at..end })
}
