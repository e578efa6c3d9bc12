//! A format that the config describes with a regex.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use regex::bytes::{Captures, Regex, RegexBuilder};

use crate::logstore::stamp::STAMP_BYTES;

/// Compiled size of the regex.
const MAX_REGEX_BYTES: usize = 4 << 20;
/// Bytes of a line that the regex sees.
pub const LINE_BYTES: usize = 16 * 1024;

/// A regex with named groups: `time`, `level` and `message` mean what they say, others are fields.
#[derive(Debug, Clone)]
pub struct UserFormat {
    /// Its name.
    pub name: String,
    /// As written.
    pub pattern: String,
    /// How the time is written, as in `strftime`; `None` tries the usual shapes.
    pub time_format: Option<String>,
    regex: Regex,
}

impl PartialEq for UserFormat {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.pattern, &self.time_format) == (&other.name, &other.pattern, &other.time_format)
    }
}

impl Eq for UserFormat {}

impl UserFormat {
    /// Compiles a format. A line is in the format when the regex matches at its start.
    ///
    /// # Errors
    /// What is wrong with the regex or the format of the time, in one line.
    pub fn new(name: &str, pattern: &str, time_format: Option<&str>) -> Result<Self, String> {
        let regex =
            RegexBuilder::new(&format!("^(?:{pattern})")).size_limit(MAX_REGEX_BYTES).build().map_err(|error| {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default().trim();
                last.strip_prefix("error: ").unwrap_or(last).to_string()
            })?;
        if let Some(format) = time_format {
            let sample =
                DateTime::constant(2026, 8, 19, 14, 30, 1, 0).to_zoned(TimeZone::UTC).map_err(|it| it.to_string())?;
            jiff::fmt::strtime::format(format, &sample).map_err(|error| error.to_string())?;
        }
        let time_format = time_format.map(str::to_string);
        Ok(Self { name: name.to_string(), pattern: pattern.to_string(), time_format, regex })
    }

    /// The groups of a line that is in the format.
    pub fn captures<'a>(&self, line: &'a [u8]) -> Option<Captures<'a>> {
        self.regex.captures(&line[..line.len().min(LINE_BYTES)])
    }

    /// The names of the groups.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.regex.capture_names().flatten()
    }

    /// The instant a text stands for, read with `time_format` in `zone`. `reference` gives the year where there is none.
    pub fn time(&self, text: &[u8], zone: &TimeZone, reference: Timestamp) -> Option<Timestamp> {
        let text = std::str::from_utf8(&text[..text.len().min(STAMP_BYTES)]).ok()?;
        let mut parsed = BrokenDownTime::parse(self.time_format.as_deref()?, text).ok()?;
        if let Ok(time) = parsed.to_timestamp() {
            return Some(time);
        }
        let lacks_year = parsed.year().is_none();
        let today = zone.to_datetime(reference).date();
        if lacks_year {
            parsed.set_year(Some(today.year())).ok()?;
        }
        if parsed.month().is_none() && parsed.day().is_none() && parsed.day_of_year().is_none() {
            return None;
        }
        let at = |parsed: &BrokenDownTime| {
            let civil = parsed.to_datetime().or_else(|_| parsed.to_date().map(|it| it.at(0, 0, 0, 0))).ok()?;
            match parsed.offset() {
                Some(offset) => offset.to_timestamp(civil).ok(),
                None => zone.to_timestamp(civil).ok(),
            }
        };
        let time = at(&parsed)?;
        if lacks_year && time.as_second() > reference.as_second() + 86_400 {
            parsed.set_year(Some(today.year() - 1)).ok()?;
            return at(&parsed);
        }
        Some(time)
    }
}
