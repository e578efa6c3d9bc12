//! The rotated files of a log: which of its neighbours they are, and in which order.
//!
//! Names only, no content: `api.log.1`, `api.log.2.gz`, `api.log-20260819.zst`, `api-2026-08-19.log.gz`,
//! `api.log.2026-08-19.3.gz`, `api.1.log`, `api.log.old`. Whether a file is packed is told by its bytes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::logstore::archive::without_suffix;

/// Rotated files that are taken as history of one log: a month of days.
pub const MAX_HISTORY_FILES: usize = 32;
/// Names looked at in a directory: a spool of mails by mistake must not stall the tailer.
const MAX_ENTRIES: usize = 20_000;

/// Where a rotated file stands among the others: the greatest is the oldest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Age {
    /// `api.log.3`: the number grows with the age.
    Number(u64),
    /// `api.log-20260819`, with the time and the running number of that day behind it: the greater is the newer.
    Date(std::cmp::Reverse<(String, u64)>),
}

/// How old the file `name` is as a rotation of the file `live`, `None` when it is none.
pub fn age(live: &str, name: &str) -> Option<Age> {
    let name = without_suffix(name);
    let (stem, ending) = match live.rfind('.') {
        Some(at) if at > 0 => live.split_at(at),
        _ => (live, ""),
    };
    let mark = match name.strip_prefix(live) {
        Some(mark) => mark,
        None if ending.is_empty() => return None,
        None => name.strip_prefix(stem)?.strip_suffix(ending)?,
    };
    age_of(mark.strip_prefix(['.', '-', '_'])?)
}

fn age_of(mark: &str) -> Option<Age> {
    if mark == "old" || mark == "bak" {
        return Some(Age::Number(1));
    }
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit());
    if is_number(mark) && mark.len() <= 4 {
        return mark.parse().ok().map(Age::Number);
    }
    // A date in digits, then what tells apart several of a day.
    let parts: Vec<&str> = mark.split(['-', '_', '.', ':', 'T', 'Z', '+']).filter(|it| !it.is_empty()).collect();
    if parts.is_empty() || !parts.iter().all(|it| is_number(it)) {
        return None;
    }
    let (date, rest) = match parts.as_slice() {
        // Seconds since the epoch.
        [seconds] if seconds.len() == 10 => return Some(Age::Date(std::cmp::Reverse((epoch_date(seconds)?, 0)))),
        [date, rest @ ..] if matches!(date.len(), 8 | 12 | 14) => ((*date).to_string(), rest),
        [year, month, day, rest @ ..] if (year.len(), month.len(), day.len()) == (4, 2, 2) => {
            (format!("{year}{month}{day}"), rest)
        }
        [year, month, rest @ ..] if (year.len(), month.len()) == (4, 2) => (format!("{year}{month}00"), rest),
        _ => return None,
    };
    let is_date = date.get(4..6).is_some_and(|it| it <= "12") && date.get(6..8).is_some_and(|it| it <= "31");
    let digits = |it: &&&str| matches!(it.len(), 2 | 4 | 6);
    let time: String = rest.iter().take_while(digits).take(3).copied().collect();
    let behind = rest.iter().skip_while(digits).last().or(rest.get(3)).and_then(|it| it.parse().ok());
    // One short number behind the date counts the files of that day: it is not an hour.
    match (rest, time.len()) {
        ([number], 0..=3) => Some(Age::Date(std::cmp::Reverse((date.clone(), number.parse().ok()?)))),
        _ => Some(Age::Date(std::cmp::Reverse((date.clone() + &time, behind.unwrap_or(0))))),
    }
    .filter(|_| is_date)
}

fn epoch_date(seconds: &str) -> Option<String> {
    let at = jiff::Timestamp::from_second(seconds.parse().ok()?).ok()?;
    Some(at.strftime("%Y%m%d%H%M%S").to_string())
}

/// The rotated files of a log, the newest first, at most [`MAX_HISTORY_FILES`]; and how many more there are.
pub fn files_of(live: &Path) -> (Vec<PathBuf>, usize) {
    let (Some(name), Some(directory)) = (live.file_name(), directory_of(live)) else { return (Vec::new(), 0) };
    let Ok(entries) = fs::read_dir(directory) else { return (Vec::new(), 0) };
    let name = name.to_string_lossy();
    let mut found: Vec<(Age, PathBuf)> = entries
        .flatten()
        .take(MAX_ENTRIES)
        .filter_map(|it| Some((age(&name, &it.file_name().to_string_lossy())?, it.path())))
        .filter(|(_, path)| path.is_file())
        .collect();
    // Of a file that is being packed just now there are two: the plain one first.
    found.sort_by(|(left, left_path), (right, right_path)| {
        left.cmp(right).then_with(|| left_path.as_os_str().len().cmp(&right_path.as_os_str().len()))
    });
    found.dedup_by(|(right, _), (left, _)| left == right);
    let more = found.len().saturating_sub(MAX_HISTORY_FILES);
    (found.into_iter().take(MAX_HISTORY_FILES).map(|(_, path)| path).collect(), more)
}

fn directory_of(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_path_buf() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_names_are_known_and_ordered_by_age() {
        let check = |live: &str, names: &[&str]| {
            let ages: Vec<Age> =
                names.iter().map(|it| age(live, it).unwrap_or_else(|| panic!("{live}: {it}"))).collect();
            assert!(ages.is_sorted() && ages.windows(2).all(|it| it[0] != it[1]), "{live}: {ages:?}");
        };
        check("api.log", &["api.log.1", "api.log.2.gz", "api.log.3.zst", "api.log.10.xz"]);
        check("api.log", &["api.log-20260820", "api.log-20260819.zst", "api.log-20251231.gz"]);
        check("api.log", &["api-2026-08-19.log.gz", "api-2026-08-18.log", "api.2026-08-17.log.bz2"]);
        check("api.log", &["api.log.2026-08-19.10.gz", "api.log.2026-08-19.9.gz", "api.log.2026-08-18.11.gz"]);
        check("api.log", &["api.log-20260819-1530", "api.log-20260819-0930.gz", "api.log-2026-08-18_23-59-59"]);
        check("api.log", &["api.log-1787119200", "api.log-1787032800.gz"]);
        check("api.log", &["api.1.log", "api.2.log"]);
        check("syslog", &["syslog.1", "syslog.2.gz"]);
        check("syslog", &["syslog-20260819", "syslog-20260818"]);
        assert_eq!(age("api.log", "api.log.old"), age("api.log", "api.log.1"));
    }

    #[test]
    fn neighbours_that_are_other_logs_are_not_taken() {
        for name in ["api.log", "api-error.log", "api2.log", "api.log.txt", "api.log.gz", "apix.log.1", "api.logs"] {
            assert_eq!(age("api.log", name), None, "{name}");
        }
        assert_eq!(age("syslog", "syslog2"), None);
        assert_eq!(age("api.log", "api-20269999.log"), None);
        assert_eq!(age("api-2.log", "api-2-1.log"), Some(Age::Number(1)));
    }

    #[test]
    fn the_newest_come_first_and_a_file_in_two_states_comes_once() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["api.log", "api.log.1", "api.log.2", "api.log.2.gz", "api.log.3.gz", "other.log.1"] {
            fs::write(directory.path().join(name), "x").unwrap();
        }
        fs::create_dir(directory.path().join("api.log.4")).unwrap();
        let (found, more) = files_of(&directory.path().join("api.log"));
        let names: Vec<_> = found.iter().map(|it| it.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!((names, more), (vec!["api.log.1", "api.log.2", "api.log.3.gz"], 0));
    }
}
