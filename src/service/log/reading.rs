//! What a `[[log]]` says about its lines, and the formats that `[[format]]` describes.

use std::sync::Arc;

use jiff::SignedDuration;
use jiff::tz::{Offset, TimeZone};

use crate::domain::config_error::did_you_mean;
use crate::domain::log::LogFact;
use crate::logstore::format::user::UserFormat;
use crate::logstore::format::{Format, NAMES, Reading};
use crate::logstore::source::Source;
use crate::registry::node::Node;
use crate::registry::value::parse_duration;

/// Columns of a source, at most: as many as the logs pane shows at once.
const COLUMNS_MAX: usize = 8;

/// Reads `format`, `zone`, `offset` and `columns` of a `[[log]]`. Mistakes are reported through the node.
pub fn read(entry: &Node<'_>, formats: &[Arc<UserFormat>]) -> Option<Reading> {
    let mut reading = Reading::default();
    let mut is_good = true;
    if let Some(node) = entry.get("format") {
        reading.format = read_format_name(&node, formats);
        is_good &= reading.format.is_some();
    }
    if let Some(node) = entry.get("zone") {
        reading.zone = read_zone(&node);
        is_good &= reading.zone.is_some();
    }
    if let Some(node) = entry.get("offset") {
        match read_offset(&node) {
            Some(offset) => reading.offset = offset,
            None => is_good = false,
        }
    }
    if let Some(node) = entry.get("columns") {
        match read_columns(&node) {
            Some(columns) => reading.columns = columns,
            None => is_good = false,
        }
    }
    is_good.then_some(reading)
}

/// What is told of a source when it is opened.
pub fn opening(source: &Source) -> impl Iterator<Item = LogFact> {
    let opened =
        LogFact::Opened { source: source.id.clone(), name: source.name.clone(), origin: source.origin.clone() };
    let columns = source.reading().columns.clone();
    let columns = (!columns.is_empty()).then(|| LogFact::Columns { source: source.id.clone(), columns });
    std::iter::once(opened).chain(columns)
}

/// The names of a few fields.
fn read_columns(node: &Node<'_>) -> Option<Vec<String>> {
    let names: Vec<String> = node.one_or_many().iter().map(Node::string).collect::<Option<_>>()?;
    if names.len() > COLUMNS_MAX || names.iter().any(|it| it.trim().is_empty() || it.contains([',', ' '])) {
        node.error_with_hint(
            "not a list of fields".to_string(),
            format!("name at most {COLUMNS_MAX} fields, as in `columns = [\"status\", \"user\"]`"),
        );
        return None;
    }
    Some(names.iter().map(|it| crate::domain::sanitise::text(it)).collect())
}

/// Finds a format by its name: one of `formats` or one that is built in.
///
/// # Errors
/// What is wrong and what to do about it.
pub fn format_named(name: &str, formats: &[Arc<UserFormat>]) -> Result<Format, (String, String)> {
    if let Some(format) = formats.iter().find(|it| it.name == name) {
        return Ok(Format::User(format.clone()));
    }
    Format::named(name).ok_or_else(|| {
        let names = || NAMES.iter().map(|(it, _)| *it).chain(formats.iter().map(|it| it.name.as_str()));
        let hint = did_you_mean(name, names()).map_or_else(
            || format!("known are {}; `[[format]]` describes others", names().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        (format!("unknown log format `{}`", crate::domain::sanitise::text(name)), hint)
    })
}

fn read_format_name(node: &Node<'_>, formats: &[Arc<UserFormat>]) -> Option<Format> {
    match format_named(&node.string()?, formats) {
        Ok(format) => Some(format),
        Err((message, hint)) => {
            node.error_with_hint(message, hint);
            None
        }
    }
}

fn read_zone(node: &Node<'_>) -> Option<TimeZone> {
    let name = node.string()?;
    let zone = fixed_zone(&name).or_else(|| TimeZone::get(&name).ok());
    if zone.is_none() {
        let name = crate::domain::sanitise::text(&name);
        node.error_with_hint(
            format!("unknown time zone `{name}`"),
            "use an IANA name, as in `Europe/London` or `UTC`, or an offset, as in `+08:00`",
        );
    }
    zone
}

/// `+08:00`, `-0330`.
fn fixed_zone(text: &str) -> Option<TimeZone> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = text[1..].chars().filter(|it| *it != ':').collect();
    if digits.len() != 4 || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i32, i32) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
    if minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok().map(TimeZone::fixed)
}

fn read_offset(node: &Node<'_>) -> Option<SignedDuration> {
    let text = node.string()?;
    let hint = "write how much to add to its times, with a sign and a unit, as in `+2s` or `-1h 30m`";
    let (sign, rest) = match text.as_bytes().first() {
        Some(b'+') => (1, &text[1..]),
        Some(b'-') => (-1, &text[1..]),
        _ => {
            node.error_with_hint(format!("`{}` has no sign", crate::domain::sanitise::text(&text)), hint);
            return None;
        }
    };
    match parse_duration(rest).map(SignedDuration::try_from) {
        Ok(Ok(offset)) => Some(offset * sign),
        Ok(Err(_)) => {
            node.error_with_hint(format!("`{text}` is too long"), hint);
            None
        }
        Err(message) => {
            node.error_with_hint(message, hint);
            None
        }
    }
}

/// Reads one `[[format]]`. Mistakes are reported through the node.
pub fn read_format(entry: &Node<'_>) -> Option<Arc<UserFormat>> {
    let name = entry.require("name").and_then(|node| {
        let name = node.string()?;
        if name.is_empty() || name.chars().any(|it| it.is_control() || it.is_whitespace()) {
            node.error_with_hint(
                format!("`{}` is no name for a format", crate::domain::sanitise::text(&name)),
                "use a short word",
            );
            return None;
        }
        if Format::named(&name).is_some() {
            node.error_with_hint(format!("`{name}` is built in"), "choose another name");
            return None;
        }
        Some(name)
    });
    let pattern = entry.require("regex").and_then(|node| Some((node.raw_string()?, node)));
    let time_format = entry.get("time_format");
    entry.finish(&[]);
    let (name, (pattern, pattern_node)) = (name?, pattern?);
    if let Err(message) = UserFormat::new(&name, &pattern, None) {
        pattern_node.error_with_hint(message, "write it in single quotes, so that backslashes stay: `'…'`");
        return None;
    }
    let time_text = match &time_format {
        Some(node) => Some(node.raw_string()?),
        None => None,
    };
    match UserFormat::new(&name, &pattern, time_text.as_deref()) {
        Ok(format) if time_text.is_some() && !format.groups().any(|it| it == "time") => {
            pattern_node
                .error_with_hint("no group is named `time`", "name the part that `time_format` reads: `(?<time>…)`");
            None
        }
        Ok(format) => Some(Arc::new(format)),
        Err(message) => {
            time_format
                .as_ref()
                .unwrap_or(&pattern_node)
                .error_with_hint(message, "write it as `strftime` does, as in `%d.%m.%Y %H:%M:%S`");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::node;

    fn parse(text: &str) -> (Vec<Reading>, Vec<String>) {
        let source = node::Source::new("c.toml", text);
        let root = source.parse().unwrap();
        let formats: Vec<_> =
            root.get("format").iter().flat_map(Node::items).filter_map(|it| read_format(&it)).collect();
        let logs = root.get("log").unwrap();
        let readings = logs.items().iter().filter_map(|it| read(it, &formats)).collect();
        (readings, source.errors().iter().map(|it| format!("{}:{} {}", it.line, it.column, it.message)).collect())
    }

    #[test]
    fn settings_of_a_source_are_read() {
        let (readings, errors) = parse(
            "[[format]]\nname = 'app'\nregex = '(?<time>\\S+) (?<level>\\w+) (?<message>.*)'\ntime_format = '%Y%m%d-%H%M%S'\n\
             [[log]]\nformat = 'app'\nzone = 'Asia/Shanghai'\noffset = '+2s'\ncolumns = ['status', 'user']\n\
             [[log]]\nformat = 'json'\nzone = '-03:30'\noffset = '-1h 30m'\n[[log]]\n",
        );
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!(readings[0].user_format().map(|it| it.name.as_str()), Some("app"));
        assert_eq!(readings[0].zone, TimeZone::get("Asia/Shanghai").ok());
        assert_eq!(readings[0].offset, SignedDuration::from_secs(2));
        assert_eq!(readings[0].columns, ["status", "user"]);
        assert_eq!(readings[1].format, Some(Format::Json));
        assert_eq!(readings[1].zone, Some(TimeZone::fixed(Offset::from_seconds(-12_600).unwrap())));
        assert_eq!(readings[1].offset, SignedDuration::from_mins(-90));
        assert_eq!(readings[2], Reading::default());
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let check = |text: &str, expected: &str| assert_eq!(parse(text).1, [expected], "{text}");
        check("[[log]]\nformat = 'jsn'\n", "2:10 unknown log format `jsn`");
        check("[[log]]\nzone = 'Mars/Base'\n", "2:8 unknown time zone `Mars/Base`");
        check("[[log]]\ncolumns = ['a b']\n", "2:11 not a list of fields");
        check("[[log]]\noffset = '2s'\n", "2:10 `2s` has no sign");
        check("[[log]]\noffset = '+2'\n", "2:10 `2` has no unit");
        check("log = []\n[[format]]\nname = 'json'\nregex = 'x'\n", "3:8 `json` is built in");
        check("log = []\n[[format]]\nname = 'x'\nregex = '(x'\n", "4:9 unclosed group");
        check("log = []\n[[format]]\nname = 'x'\nregex = 'x'\ntime_format = '%Y'\n", "4:9 no group is named `time`");
        check("log = []\n[[format]]\nname = 'x'\n", "2:1 `regex` is missing in format");
    }
}
