//! Which files of a pattern or a directory are logs, and which are the rotated parts of another one.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::logstore::archive::without_suffix;
use crate::logstore::history;
use crate::service::log::feeder::MAX_FILES;
use crate::service::log::glob;
use crate::service::log::spec::{LogInput, short_name};

/// Endings of files that are no text and hold none that could be read as a stream.
const OTHER_SUFFIXES: [&str; 9] =
    [".zip", ".7z", ".tar", ".tgz", ".tar.gz", ".tar.zst", ".tar.xz", ".tar.bz2", ".journal"];

/// The limit of open files that is asked for when there are more.
const WANTED_FILE_LIMIT: u64 = 4096;

/// A log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its rotated files were named as well: they are its history.
    pub has_named_history: bool,
}

/// Device and inode: the same file has the same, whatever it is called.
pub type FileId = (u64, u64);

/// Which file a path leads to; `None` when there is none, or one that is read as a stream.
pub fn identity(path: &Path) -> Option<FileId> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|it| (it.dev(), it.ino()))
}

/// The files of an input.
pub fn of_input(input: &LogInput) -> Vec<PathBuf> {
    let found = match input {
        LogInput::Path(path) if path.is_dir() => of_directory(path),
        LogInput::Pattern(pattern) => of_pattern(pattern),
        LogInput::Path(path) => return vec![path.clone()],
        LogInput::Stdin | LogInput::Stream(_) | LogInput::Store(_) => return Vec::new(),
    };
    found.into_iter().map(|it| it.path).collect()
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

/// Two files of one name get their directory, then a number.
pub fn unique(names: &HashSet<String>, name: &str, path: &Path) -> String {
    if !names.contains(name) {
        return name.to_string();
    }
    let parent = path.parent().map(short_name).unwrap_or_default();
    let long = format!("{parent}-{name}");
    if !names.contains(&long) {
        return long;
    }
    (2..=MAX_FILES + 1).map(|number| format!("{name}-{number}")).find(|it| !names.contains(it)).unwrap_or(long)
}

/// The path as the kernel names it in its hints.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// The links on the way to a file.
pub fn links_above(path: &Path) -> Vec<PathBuf> {
    let is_link = |it: &&Path| fs::symlink_metadata(it).is_ok_and(|it| it.is_symlink());
    path.ancestors().skip(1).filter(is_link).map(Path::to_path_buf).collect()
}

/// Lets the process have more files open, as far as the host allows. Many logs and archives take many.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(WANTED_FILE_LIMIT, |it| it.min(WANTED_FILE_LIMIT));
    if limit.current.is_some_and(|it| it < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
    {
        tracing::warn!("could not raise the limit of open files: {error}");
    }
}

/// True for a path that is read as a stream: a pipe, or a device that gives characters.
pub fn is_fifo(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|it| it.file_type().is_fifo() || it.file_type().is_char_device())
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
    // A file keeps its own name where a link to it is there as well.
    live.sort_by_cached_key(|path| fs::symlink_metadata(path).is_ok_and(|it| it.is_symlink()));
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
