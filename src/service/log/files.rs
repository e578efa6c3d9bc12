//! Which files of a pattern or a directory are logs, and which are the rotated parts of another one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::logstore::archive::without_suffix;
use crate::logstore::history;
use crate::service::log::glob;

/// Endings of files that are no text and hold none that could be read as a stream.
const OTHER_SUFFIXES: [&str; 9] =
    [".zip", ".7z", ".tar", ".tgz", ".tar.gz", ".tar.zst", ".tar.xz", ".tar.bz2", ".journal"];

/// A log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its rotated files were named as well: they are its history.
    pub has_named_history: bool,
}

/// The files that match a pattern. Rotated ones of a file that matches as well are named as its history.
pub fn of_pattern(pattern: &str) -> Vec<LogFile> {
    of(glob::expand(pattern), true)
}

/// The files of a directory, without the hidden ones and without the rotated ones of a file that is there as well.
pub fn of_directory(directory: &Path) -> Vec<LogFile> {
    let mut found = glob::files_in(directory);
    found.retain(|it| !name_of(it).starts_with('.'));
    of(found, false)
}

fn of(found: Vec<PathBuf>, names_history: bool) -> Vec<LogFile> {
    let all: HashSet<PathBuf> = found.iter().cloned().collect();
    let mut live: Vec<PathBuf> = Vec::new();
    let mut with_history: HashSet<PathBuf> = HashSet::new();
    for path in found {
        let name = name_of(&path);
        if OTHER_SUFFIXES.iter().any(|it| name.ends_with(it)) {
            continue;
        }
        match live_of(&path, &all) {
            Some(live) => {
                with_history.insert(live);
            }
            // Packed just now, the plain one will be gone in a moment.
            None if name != without_suffix(&name) && is_twin(&path, &all) => {}
            None => live.push(path),
        }
    }
    live.into_iter()
        .map(|path| LogFile { has_named_history: names_history && with_history.contains(&path), path })
        .collect()
}

/// The file among `all` of which a path is a rotated part.
fn live_of(path: &Path, all: &HashSet<PathBuf>) -> Option<PathBuf> {
    let name = name_of(path);
    let plain = without_suffix(&name);
    let ending = plain.rfind('.').map_or("", |at| &plain[at..]);
    let marks = plain.match_indices(['.', '-', '_']).map(|(at, _)| at).filter(|at| *at > 0);
    marks
        .flat_map(|at| [plain[..at].to_string(), format!("{}{ending}", &plain[..at])])
        .filter(|live| live.as_str() != name && history::age(live, &name).is_some())
        .map(|live| path.with_file_name(live))
        .find(|live| all.contains(live))
}

fn is_twin(path: &Path, all: &HashSet<PathBuf>) -> bool {
    let name = name_of(path);
    let plain = without_suffix(&name);
    // Of `api.log` and `api.log.gz` neither is the other's copy: only a rotated file is packed where it stands.
    let is_rotated =
        plain.rsplit(['.', '-', '_']).any(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()));
    is_rotated && all.contains(&path.with_file_name(plain))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str], names_history: bool) -> Vec<String> {
        let paths = names.iter().map(|it| Path::new("/l").join(it)).collect();
        let shown = |it: LogFile| format!("{}{}", name_of(&it.path), if it.has_named_history { "+" } else { "" });
        of(paths, names_history).into_iter().map(shown).collect()
    }

    #[test]
    fn rotated_files_belong_to_the_one_they_were() {
        let api =
            ["api.log", "api.log.1", "api.log.2.gz", "api-2026-08-19.log.gz", "edge.log", "edge.log-20260819.zst"];
        assert_eq!(names(&api, true), ["api.log+", "edge.log+"]);
        assert_eq!(names(&api, false), ["api.log", "edge.log"]);
        assert_eq!(names(&["syslog", "syslog.1", "syslog.10.gz", "syslog2"], true), ["syslog+", "syslog2"]);
    }

    #[test]
    fn archives_without_a_live_file_are_logs_themselves() {
        assert_eq!(names(&["api.log.1.gz", "api.log.2.gz"], true), ["api.log.1.gz", "api.log.2.gz"]);
        assert_eq!(names(&["a.log", "b.log.gz", "c.zip", "d.tar.gz"], true), ["a.log", "b.log.gz"]);
        assert_eq!(names(&["api.log.1", "api.log.1.gz"], true), ["api.log.1"]);
        assert_eq!(names(&["api.log", "api.log.gz"], true), ["api.log", "api.log.gz"]);
    }
}
