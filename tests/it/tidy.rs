//! Keeps the rules that `src/lib.rs` and the design stand on.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file, with the code that is not a test told apart.
struct Source {
    /// Below `src/`: `domain/board.rs`.
    path: String,
    text: String,
    /// Lines before the test module, without comments and string contents.
    code: Vec<String>,
}

impl Source {
    /// The top-level folder or file: `domain`, `clock`.
    fn layer(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("folder entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("source file");
        let path = path.strip_prefix(&src).expect("below src").display().to_string();
        Source { code: code_lines(&path, &text), path, text }
    };
    files.into_iter().map(read).collect()
}

/// The lines that are compiled into the product, with comments and string contents blanked out.
fn code_lines(path: &str, text: &str) -> Vec<String> {
    // A file that is a test as a whole is declared `#[cfg(test)]` by its parent.
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return Vec::new();
    }
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    strip(&text[..end]).lines().map(ToString::to_string).collect()
}

/// Replaces comments, strings and characters by blanks and keeps the lines.
fn strip(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(hashes) = raw_string_hashes(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = 2 + hashes;
            rest[body..].find(&close).map_or(rest.len(), |at| body + at + close.len())
        } else if first == '"' {
            string_length(rest)
        } else if first == '\'' {
            char_length(rest)
        } else {
            let word = rest.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(rest.len());
            let length = word.max(first.len_utf8());
            result.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        };
        result.extend(rest[..length].chars().map(|it| if it == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    result
}

/// The number of hashes when a raw string begins here.
fn raw_string_hashes(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, it) in text.char_indices().skip(1) {
        match it {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A character literal, or the quote alone when it begins a lifetime.
fn char_length(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), _) => text[3..].find('\'').map_or(1, |at| at + 4),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

/// Shows everything that breaks a rule at once.
fn assert_none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

fn lines_with<'a>(sources: &'a [Source], word: &'a str) -> impl Iterator<Item = String> + 'a {
    sources.iter().flat_map(move |source| {
        let hits = source.code.iter().enumerate().filter(move |(_, line)| names(line, word));
        hits.map(move |(at, line)| format!("src/{}:{}: {}", source.path, at + 1, line.trim()))
    })
}

/// True when the line holds `word` and no longer word around it.
fn names(line: &str, word: &str) -> bool {
    let is_word = |it: Option<char>| it.is_some_and(|it| it.is_alphanumeric() || it == '_');
    line.match_indices(word)
        .any(|(at, _)| !is_word(line[..at].chars().next_back()) && !is_word(line[at + word.len()..].chars().next()))
}

#[test]
fn every_file_opens_by_saying_what_it_is_for() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches"] {
        if root().join(folder).is_dir() {
            rust_files(&root().join(folder), &mut files);
        }
    }
    let silent: Vec<String> = files
        .iter()
        .filter(|path| !fs::read_to_string(path).expect("source file").starts_with("//! "))
        .map(|path| path.display().to_string())
        .collect();
    assert_none("open the file with `//!`", &silent);
}

/// Layer, and the layers it may use. The same as in `src/lib.rs`.
const LAYERS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("domain", &[]),
    ("logstore", &["clock", "domain"]),
    ("store", &["clock", "domain"]),
    ("registry", &["clock", "domain", "logstore"]),
    ("service", &["clock", "domain", "logstore", "store", "registry"]),
    ("config", &["clock", "domain", "logstore", "store", "registry", "service"]),
    ("runtime", &["clock", "domain", "logstore", "store", "registry", "service", "config"]),
    ("agent", &["clock", "domain", "logstore", "store", "registry", "service", "config", "runtime"]),
    ("theme", &["domain"]),
    ("widgets", &["domain", "theme"]),
    ("app", &["domain", "theme", "widgets", "panes"]),
    ("panes", &["domain", "theme", "widgets", "app"]),
    (
        "tui",
        &[
            "clock", "domain", "logstore", "store", "registry", "service", "config", "runtime", "agent", "theme",
            "widgets", "app", "panes",
        ],
    ),
    (
        "demo",
        &[
            "clock", "domain", "logstore", "store", "registry", "service", "config", "runtime", "agent", "theme",
            "widgets", "app", "panes", "tui",
        ],
    ),
    (
        "cli",
        &[
            "clock", "domain", "logstore", "store", "registry", "service", "config", "runtime", "agent", "theme",
            "widgets", "app", "panes", "tui", "demo",
        ],
    ),
];

#[test]
fn a_layer_uses_only_what_stands_left_of_it() {
    let mut found = Vec::new();
    for source in sources() {
        let layer = source.layer();
        if matches!(layer, "main" | "lib") {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
            found.push(format!("src/{}: `{layer}` is in no layer; add it to the table", source.path));
            continue;
        };
        // `use crate::{a, b}` is told apart from `use crate::a` by flattening the text.
        let flat = source.code.join(" ");
        for used in crate_paths(&flat) {
            let fine = used == layer
                || allowed.contains(&used.as_str())
                // Macros and the crate's own items stand at the top.
                || !LAYERS.iter().any(|(name, _)| *name == used);
            if !fine {
                found.push(format!("src/{}: `{layer}` must not use `{used}`", source.path));
            }
        }
    }
    found.dedup();
    assert_none("the layer arrows are in src/lib.rs", &found);
}

/// First parts of all `crate::…` paths, also of `crate::{a::…, b::…}`.
fn crate_paths(flat: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in flat.match_indices("crate::") {
        let rest = &flat[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            paths.push(first_word(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = 0;
        for (at, it) in group.char_indices() {
            match it {
                '{' => depth += 1,
                '}' if depth == 0 => {
                    paths.push(first_word(&group[start..]));
                    break;
                }
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    paths.push(first_word(&group[start..]));
                    start = at + 1;
                }
                _ => {}
            }
        }
    }
    paths.retain(|it| !it.is_empty());
    paths
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect()
}

#[test]
fn the_parser_of_this_test_sees_what_it_should() {
    assert_eq!(crate_paths("use crate::{a::{b, c}, d}; use crate::e::f; crate::g!()"), ["a", "d", "e", "g"]);
    assert_eq!(strip("a // b\n\"c\" 'd' '\\n' 'e: r#\"f\"# g").replace(' ', ""), "a\ne:g");
    assert!(names("x = Instant::now();", "Instant::now") && !names("MyInstant::now()", "Instant::now"));
}

#[test]
fn rules_and_the_pure_screen_know_no_world() {
    let pure: Vec<Source> =
        sources().into_iter().filter(|it| matches!(it.layer(), "domain" | "app" | "panes")).collect();
    let mut found = Vec::new();
    for word in ["tokio", "reqwest", "hyper", "std::fs", "std::net", "std::process", "std::thread", "std::env"] {
        found.extend(lines_with(&pure, word));
    }
    for source in &pure {
        // `use std::{fs, io}` names them as well.
        let flat = source.code.join(" ");
        for (at, _) in flat.match_indices("std::{") {
            let group = flat[at..].split('}').next().unwrap_or_default();
            if ["fs", "net", "process", "thread", "env"].iter().any(|it| names(group, it)) {
                found.push(format!("src/{}: {group}}}", source.path));
            }
        }
    }
    assert_none("domain, app and panes do no I/O; a service observes, an effect asks", &found);
}

#[test]
fn rules_draw_nothing() {
    let rules: Vec<Source> = sources()
        .into_iter()
        .filter(|it| matches!(it.layer(), "domain" | "logstore" | "registry" | "service" | "config" | "runtime"))
        .collect();
    let mut found: Vec<String> = lines_with(&rules, "ratatui").collect();
    found.extend(lines_with(&rules, "crossterm"));
    assert_none("only the screen's layers know ratatui and crossterm", &found);
}

#[test]
fn only_the_clock_reads_the_time() {
    let rest: Vec<Source> = sources().into_iter().filter(|it| it.layer() != "clock").collect();
    let mut found = Vec::new();
    for word in ["Timestamp::now", "Instant::now", "SystemTime::now", "Zoned::now", "Utc::now", "TimeZone::system"] {
        found.extend(lines_with(&rest, word).filter(|it| !it.contains("tokio::time::Instant::now")));
    }
    assert_none("call `clock::now()`, `clock::monotonic()` or `clock::zone()`", &found);
}

#[test]
fn every_queue_has_a_bound() {
    let all = sources();
    let mut found = Vec::new();
    for word in ["unbounded_channel", "UnboundedSender", "UnboundedReceiver", "unbounded"] {
        found.extend(lines_with(&all, word));
    }
    found.extend(lines_with(&all, "mpsc::channel").filter(|it| it.contains("mpsc::channel()")));
    assert_none("use a bounded channel and say why the bound is what it is", &found);
}

#[test]
fn commands_write_to_the_output_they_are_given() {
    let all = sources();
    let mut found = Vec::new();
    for word in ["println", "print", "eprintln", "eprint", "dbg", "todo", "unimplemented"] {
        found.extend(lines_with(&all, word).filter(|it| it.contains(&format!("{word}!"))));
    }
    assert_none("write to `Output`", &found);
}

#[test]
fn no_program_is_run_through_a_shell() {
    let mut found = Vec::new();
    for source in sources() {
        let lines = source.text.lines().take(source.code.len()).enumerate();
        for (at, line) in lines {
            let starts = names(line, "Command::new") || names(line, "CommandBuilder::new");
            if starts && ["\"sh\"", "\"bash\"", "\"/bin/sh\"", "\"/bin/bash\""].iter().any(|it| line.contains(it)) {
                found.push(format!("src/{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    assert_none("start programs by their arguments", &found);
}

/// Longest file without its tests. Past it, a newcomer no longer sees what belongs together.
const LINES_MAX: usize = 600;

/// Longer files, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[
    ("agent/connector.rs", "the states of one link, each a function beside the next"),
    ("domain/probe/expect.rs", "one small language: what is read and what it means are understood together"),
    ("tui/run.rs", "the loop: the order of its arms is the rule, and it is seen only in one piece"),
];

#[test]
fn a_file_can_be_read_in_one_sitting() {
    let all = sources();
    let long =
        all.iter().filter(|it| it.code.len() > LINES_MAX && !LONG_FILES.iter().any(|(path, _)| *path == it.path));
    let found: Vec<String> = long.map(|it| format!("src/{}: {} lines", it.path, it.code.len())).collect();
    assert_none("split it by purpose, or add it to LONG_FILES with a reason", &found);
    let gone = LONG_FILES.iter().filter(|(path, _)| !all.iter().any(|it| it.path == *path));
    let gone: Vec<String> = gone.map(|(path, _)| (*path).to_string()).collect();
    assert_none("the file is gone, take it off LONG_FILES", &gone);
}

#[test]
fn the_map_of_the_house_names_every_folder() {
    let map = fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs");
    let missing: Vec<String> = LAYERS
        .iter()
        .filter(|(name, _)| root().join("src").join(name).is_dir() && !map.contains(&format!("[`{name}`]")))
        .map(|(name, _)| (*name).to_string())
        .collect();
    assert_none("say in src/lib.rs what belongs there", &missing);
}

#[test]
fn nothing_is_left_for_later_and_no_machine_is_named() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches"] {
        if root().join(folder).is_dir() {
            rust_files(&root().join(folder), &mut files);
        }
    }
    files.extend(
        ["README.md", "CHANGELOG.md", "benches/README.md"]
            .map(|it| root().join(it))
            .into_iter()
            .filter(|it| it.is_file()),
    );
    // Put together here, so that this file does not find itself.
    let words = [["TO", "DO"], ["XX", "X:"], ["HA", "CK:"], ["/work", "/"], ["wip", "-"]].map(|it| it.concat());
    let mut found = Vec::new();
    for path in &files {
        let text = fs::read_to_string(path).expect("text file");
        for (at, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{}:{}: {}", path.display(), at + 1, line.trim()));
            }
        }
    }
    assert_none("do it now, or write an issue", &found);
}
