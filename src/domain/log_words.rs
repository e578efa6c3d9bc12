//! What a log says about itself in words: what is missing of it.

use crate::domain::format;
use crate::domain::log::GapKind;
use crate::domain::sanitise;

/// What stands in place of what is missing, one sanitised line: `~ api rotated, old file read to its end ~`.
pub fn gap(name: &str, kind: &GapKind) -> String {
    let text = match kind {
        GapKind::Rotated => format!("{name} rotated, old file read to its end"),
        GapKind::Truncated { unread_bytes, gone_bytes, looked_at, times } => {
            let unread = match unread_bytes {
                0 => "nothing unread".to_string(),
                _ => format!("{} unread", format::bytes(*unread_bytes)),
            };
            let gone = match gone_bytes {
                0 => String::new(),
                _ => format!(", {} older gone", format::bytes(*gone_bytes)),
            };
            let last = match looked_at {
                Some(at) => format!("after {}", at.strftime("%H:%M:%S%.3fZ")),
                None => "last".to_string(),
            };
            let often = if *times > 1 { format!(" {times} times") } else { String::new() };
            format!("{name} truncated{often}, {unread}{gone}, what came {last} is not known")
        }
        GapKind::Deleted => format!("{name} deleted, read on if it comes back"),
        GapKind::Missing => format!("{name} does not exist yet"),
        GapKind::PermissionDenied => format!("{name} may not be read: permission denied"),
        GapKind::Dropped { lines } => {
            format!("{} not shown: {name} outgrew its spool, oldest dropped", format::plural(*lines, "line"))
        }
        GapKind::Ended => format!("{name} ended"),
        GapKind::Reconnected { away_seconds, resumed } => {
            let rest = if *resumed { "nothing is missing" } else { "what came meanwhile is missing" };
            match away_seconds {
                0 => format!("{name} reconnected at once, {rest}"),
                _ => format!("{name} reconnected after {away_seconds} s, {rest}"),
            }
        }
        GapKind::Cut { bytes } => format!("{} of a line of {name} cut", format::bytes(*bytes)),
        GapKind::Broken { read_bytes, why } => {
            format!("{name} cannot be unpacked behind {}: {why}", format::bytes(*read_bytes))
        }
        GapKind::Failed(why) => format!("{name}: {why}"),
    };
    format!("~ {} ~", sanitise::text(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_names_its_source_and_carries_nothing_that_a_terminal_acts_on() {
        assert_eq!(gap("api", &GapKind::Rotated), "~ api rotated, old file read to its end ~");
        let dropped = gap("api", &GapKind::Dropped { lines: 1 });
        assert_eq!(dropped, "~ 1 line not shown: api outgrew its spool, oldest dropped ~");
        let looked_at = "2026-08-19T14:03:07.5Z".parse().ok();
        let truncated = gap("api", &GapKind::Truncated { unread_bytes: 5_000, gone_bytes: 0, looked_at, times: 1 });
        assert!(truncated.starts_with("~ api truncated, 4.9K unread, what came after "), "{truncated}");
        let truncated = |unread_bytes, gone_bytes, times| {
            gap("api", &GapKind::Truncated { unread_bytes, gone_bytes, looked_at: None, times })
        };
        assert_eq!(truncated(0, 0, 1), "~ api truncated, nothing unread, what came last is not known ~");
        assert_eq!(
            truncated(2_048, 4_096, 3),
            "~ api truncated 3 times, 2.0K unread, 4.0K older gone, what came last is not known ~"
        );
        let hostile = gap("a\u{1b}[2Jb", &GapKind::Failed("no\n\u{9b}31mway\u{202e}".into()));
        assert_eq!(hostile, "~ ab: no way· ~");
    }
}
