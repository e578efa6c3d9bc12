//! Files that a pattern names: `*` and `?` within a name, `[a-z]`, `**` across directories.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Directories below the pattern's fixed part that `**` goes down.
const MAX_DEPTH: usize = 8;
/// Directory entries looked at in one expansion: a home directory by mistake must not stall the tailer.
const MAX_ENTRIES: usize = 20_000;

/// Directories that are watched for one pattern: the kernel's watches are for all of the user's programs.
const MAX_DIRECTORIES: usize = 256;

/// True when the text has a character that makes it a pattern.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The directory in which all matches lie.
pub fn base(pattern: &str) -> PathBuf {
    let fixed: PathBuf =
        Path::new(pattern).components().take_while(|it| !is_pattern(&it.as_os_str().to_string_lossy())).collect();
    if fixed.as_os_str().is_empty() { PathBuf::from(".") } else { fixed }
}

/// The regular files that match, sorted.
pub fn expand(pattern: &str) -> Vec<PathBuf> {
    // Paths that are walked have no such parts.
    let pattern = &pattern.replace("/./", "/").replace("//", "/");
    let Ok(regex) = Regex::new(&regex_of(pattern)) else { return Vec::new() };
    let base = base(pattern);
    let depth = depth_of(pattern, &base);
    let mut found = Vec::new();
    let mut entries_left = MAX_ENTRIES;
    walk(&base, depth, &mut entries_left, &mut |path| {
        let text = path.to_string_lossy();
        let text = if pattern.starts_with("./") { &text } else { text.strip_prefix("./").unwrap_or(&text) };
        if regex.is_match(text) {
            found.push(path.to_path_buf());
        }
    });
    found.sort();
    found
}

/// The directories in which files that match may come, at most `MAX_DIRECTORIES`.
pub fn directories(pattern: &str) -> Vec<PathBuf> {
    let base = base(pattern);
    let depth = depth_of(pattern, &base);
    let mut found = vec![base];
    let mut next = 0;
    for _ in 1..depth {
        let level = found.len();
        for at in next..level {
            let Ok(entries) = fs::read_dir(&found[at]) else { continue };
            let below = entries.flatten().take(MAX_ENTRIES).map(|it| it.path()).filter(|it| it.is_dir());
            found.extend(below.take(MAX_DIRECTORIES.saturating_sub(found.len())));
        }
        next = level;
    }
    found
}

fn depth_of(pattern: &str, base: &Path) -> usize {
    if pattern.contains("**") {
        return MAX_DEPTH;
    }
    Path::new(pattern).components().count().saturating_sub(base.components().count()).max(1)
}

/// The regular files of a directory, sorted.
pub fn files_in(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries_left = MAX_ENTRIES;
    walk(directory, 1, &mut entries_left, &mut |path| found.push(path.to_path_buf()));
    found.sort();
    found
}

fn walk(directory: &Path, depth: usize, entries_left: &mut usize, take: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if *entries_left == 0 {
            return;
        }
        *entries_left -= 1;
        let path = entry.path();
        // Follows links: logs are often linked into place.
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() && depth > 1 => walk(&path, depth - 1, entries_left, take),
            Ok(metadata) if metadata.is_file() => take(&path),
            _ => {}
        }
    }
}

/// The regex of a pattern, for whole paths.
fn regex_of(pattern: &str) -> String {
    let mut regex = String::from("^");
    let mut rest = pattern;
    while let Some(it) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("**/") {
            regex.push_str("(?:.*/)?");
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix("**") {
            regex.push_str(".*");
            rest = after;
            continue;
        }
        rest = &rest[it.len_utf8()..];
        match it {
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '[' => match rest.get(1..).and_then(|it| it.find(']')).map(|at| at + 1) {
                Some(close) => {
                    let class = &rest[..close];
                    regex.push('[');
                    let negated = class.starts_with(['!', '^']);
                    if negated {
                        regex.push_str("^/");
                    }
                    for it in class.chars().skip(usize::from(negated)) {
                        if matches!(it, '\\' | '[' | '&' | '~' | '^') {
                            regex.push('\\');
                        }
                        regex.push(it);
                    }
                    regex.push(']');
                    rest = &rest[close + 1..];
                }
                None => regex.push_str("\\["),
            },
            other => regex.push_str(&regex::escape(&other.to_string())),
        }
    }
    regex.push('$');
    regex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_what_a_shell_would() {
        let matches = |pattern: &str, path: &str| Regex::new(&regex_of(pattern)).unwrap().is_match(path);
        assert!(matches("/var/log/*.log", "/var/log/a.log"));
        assert!(!matches("/var/log/*.log", "/var/log/a/b.log"));
        assert!(matches("/var/**/b.log", "/var/b.log") && matches("/var/**/b.log", "/var/x/y/b.log"));
        assert!(matches("a?[0-9].log", "ab7.log") && !matches("a?[!0-9].log", "ab7.log"));
        assert!(matches("a[.log", "a[.log") && matches("日*.log", "日志.log"));
    }

    #[test]
    fn the_files_of_a_pattern_are_found() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.log", "b.log", "c.txt"] {
            fs::write(directory.path().join(name), "x").unwrap();
        }
        fs::create_dir(directory.path().join("d.log")).unwrap();
        let found = expand(&format!("{}/*.log", directory.path().display()));
        assert_eq!(found, [directory.path().join("a.log"), directory.path().join("b.log")]);
        assert!(expand("/nonexistent/*.log").is_empty());
    }
}
