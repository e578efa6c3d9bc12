//! Which logs a command line means: files, patterns, `-`, and the names of the config's sources.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FileType;

use crate::cli::failure::Failure;
use crate::domain::config_error::did_you_mean;
use crate::domain::sanitise;
use crate::logstore::format::Reading;
use crate::logstore::format::user::UserFormat;
use crate::service::log::files::FileId;
use crate::service::log::reading::format_named;
use crate::service::log::{self, LogInput, LogSpec, files, glob};

/// True when the config has to be read: nothing was named, or something that may be a name.
pub fn needs_config(operands: &[String], named: &[String]) -> bool {
    operands.is_empty() || !named.is_empty() || operands.iter().any(|it| may_be_name(it))
}

/// Standard input as an operand, where nothing else was named and something is piped in.
///
/// What nobody meant is not read: a terminal, `/dev/null`, and the socket that a command over ssh gets, which may stay
/// open for ever.
pub fn piped(operands: &[String], named: &[String]) -> Option<String> {
    if !operands.is_empty() || !named.is_empty() {
        return None;
    }
    let kind = rustix::fs::fstat(rustix::stdio::stdin()).map(|it| FileType::from_raw_mode(it.st_mode));
    matches!(kind, Ok(FileType::Fifo | FileType::RegularFile)).then(|| "-".to_string())
}

/// A word that is no file may name a source of the config. Names hold neither `/` nor `:`.
fn may_be_name(operand: &str) -> bool {
    operand != "-" && !operand.contains(['/', ':']) && !glob::is_pattern(operand) && !Path::new(operand).exists()
}

/// Chooses what is read: files and sources that were named; without any, all of the config's.
///
/// `configured` are the sources of the config. With `waits` a file that is not there yet is waited for.
///
/// # Errors
/// A name that is neither a file nor a source; operands of which not one can be read.
pub fn choose(
    operands: &[String],
    named: &[String],
    configured: &[LogSpec],
    waits: bool,
) -> Result<Vec<LogSpec>, Failure> {
    let mut specs: Vec<LogSpec> = Vec::new();
    let find = |name: &str| configured.iter().find(|it| it.name == name);
    for operand in operands {
        match find(operand).filter(|_| may_be_name(operand)) {
            Some(spec) => specs.push(spec.clone()),
            None => specs.extend(log::from_operands(std::slice::from_ref(operand))),
        }
    }
    if !waits {
        check_that_files_exist(&specs, operands, configured)?;
    }
    for name in named {
        let spec = find(name).ok_or_else(|| unknown_source(name, configured))?;
        specs.push(spec.clone());
    }
    let mut met: Vec<LogSpec> = Vec::with_capacity(specs.len());
    for spec in specs {
        // What is named twice is read once.
        if !met.contains(&spec) {
            met.push(spec);
        }
    }
    let mut specs = met;
    if operands.is_empty() && named.is_empty() {
        specs = if configured.is_empty() { log::host_logs() } else { configured.to_vec() };
    }
    if specs.is_empty() {
        return Err(Failure::usage("there is no log to read")
            .caused_by("no path was given, the config names none, and none in `/var/log` can be read")
            .hint("name a file: `hotseat logs /path/to/file.log`"));
    }
    Ok(specs)
}

/// Reads everything in this format; `formats` are the config's own.
///
/// # Errors
/// A name that is no format.
pub fn force_format(specs: &mut [LogSpec], name: &str, formats: &[Arc<UserFormat>]) -> Result<(), Failure> {
    let format = format_named(name, formats).map_err(|(message, hint)| Failure::usage(message).hint(hint))?;
    for spec in specs {
        spec.reading = Arc::new(Reading { format: Some(format.clone()), ..Reading::clone(&spec.reading) });
    }
    Ok(())
}

fn unknown_source(name: &str, configured: &[LogSpec]) -> Failure {
    let shown = sanitise::text(name);
    let failure = Failure::usage(format!("the config has no log `{shown}`"));
    let names: Vec<&str> = configured.iter().map(|it| it.name.as_str()).collect();
    failure.instead_of(name, &names, "the config names no logs; name files instead")
}

/// Patterns and directories in which there is no log, with the names of their sources, in words.
pub fn without_files(specs: &[LogSpec]) -> Vec<String> {
    let said = |spec: &LogSpec, what: String| {
        let name = if spec.name.is_empty() { String::new() } else { format!("{}: ", spec.name) };
        sanitise::text(&format!("{name}{what}"))
    };
    let inputs = specs.iter().flat_map(|spec| spec.inputs.iter().map(move |input| (spec, input)));
    inputs.filter_map(|(spec, input)| Some(said(spec, nothing_in(input)?))).collect()
}

/// True when an operand names what is not there. A log of the config may come yet.
pub fn is_missed(specs: &[LogSpec]) -> bool {
    let is_absent = |input: &LogInput| matches!(input, LogInput::Path(path) if !path.exists());
    let mut named = specs.iter().filter(|it| it.is_operand).flat_map(|it| &it.inputs);
    named.any(|it| is_absent(it) || nothing_in(it).is_some())
}

/// Which files are left out because they are others under another name, in words.
pub fn doubles(specs: &[LogSpec]) -> Vec<String> {
    let named: Vec<&LogSpec> = specs.iter().filter(|it| it.is_operand).collect();
    let mut said = Vec::new();
    let mut known: HashMap<FileId, PathBuf> = HashMap::new();
    for input in named.iter().flat_map(|it| &it.inputs) {
        for path in files::of_input(input) {
            let Some(id) = files::identity(&path) else { continue };
            match known.entry(id) {
                Entry::Occupied(first) if *first.get() != path => {
                    let (other, first) = (path.display(), first.get().display());
                    said.push(sanitise::text(&format!("`{other}` is the file `{first}`, read once")));
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(place) => {
                    place.insert(path);
                }
            }
        }
    }
    said
}

/// Says that a pattern or a directory holds no log.
fn nothing_in(input: &LogInput) -> Option<String> {
    match input {
        LogInput::Pattern(pattern) if files::of_pattern(pattern).is_empty() => {
            Some(format!("no log matches `{pattern}`"))
        }
        LogInput::Path(path) if path.is_dir() && files::of_directory(path).is_empty() => {
            Some(format!("no log is in `{}`", path.display()))
        }
        _ => None,
    }
}

/// Refuses what was named when none of it can be read. Otherwise what cannot is told beside what the others give.
fn check_that_files_exist(specs: &[LogSpec], operands: &[String], configured: &[LogSpec]) -> Result<(), Failure> {
    let mut failures = specs.iter().zip(operands).map(|(spec, operand)| why_unreadable(spec, operand, configured));
    let is_many = specs.len() > 1;
    let Some(Some(first)) = failures.next() else { return Ok(()) };
    // As `grep PATTERN FILE` is typed: the others are not what was asked for.
    let word = operands.first().filter(|it| is_many && may_be_name(it) && !it.contains('.'));
    match word {
        Some(word) if first.hints.iter().all(|it| !it.starts_with("did you mean")) => {
            let failure = Failure { hints: Vec::new(), ..first };
            Err(failure.hint(format!("text to search for is named as `-q {}`", sanitise::text(word))))
        }
        _ if failures.all(|it| it.is_some()) => Err(first),
        _ => Ok(()),
    }
}

/// Why an operand cannot be read; what is wrong with a source of the config is said beside what the others give.
fn why_unreadable(spec: &LogSpec, operand: &str, configured: &[LogSpec]) -> Option<Failure> {
    if configured.contains(spec) {
        return None;
    }
    if let Some(nothing) = spec.inputs.first().and_then(nothing_in) {
        let failure = Failure::usage(sanitise::text(&nothing));
        return Some(failure.hint("quote a pattern that the shell is not to take; with `--follow` hotseat waits"));
    }
    let [LogInput::Path(path)] = spec.inputs.as_slice() else { return None };
    // Not by opening it: that would take the writer of a FIFO, and leave it with nobody who reads.
    let error = std::io::Error::from(rustix::fs::access(path, rustix::fs::Access::READ_OK).err()?);
    let failure = Failure::usage(format!("could not read `{}`", sanitise::text(operand))).caused_by(error);
    let near = did_you_mean(operand, configured.iter().map(|it| it.name.as_str()));
    Some(match near {
        Some(near) if may_be_name(operand) => failure.hint(format!("did you mean the config's log `{near}`?")),
        _ => failure.hint("with `--follow` hotseat waits for it"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str) -> LogSpec {
        LogSpec { name: name.into(), ..log::from_operands(&["/nowhere/x.log".to_string()]).remove(0) }
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_name_that_is_no_file_is_the_configs_source() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("here.log");
        std::fs::write(&file, "x\n").unwrap();
        let configured = [spec("api"), spec("edge")];
        let names = |operands: &[&str], named: &[&str]| {
            let chosen = choose(&words(operands), &words(named), &configured, false).unwrap();
            chosen.into_iter().map(|it| it.name).collect::<Vec<_>>()
        };
        let file = file.to_str().unwrap();
        assert_eq!(names(&["api"], &[]), ["api"]);
        assert_eq!(names(&[file], &["edge"]), ["here", "edge"]);
        assert_eq!(names(&[file, "api", file], &["edge", "api"]), ["here", "api", "edge"]);
        assert_eq!(names(&[], &["edge", "api"]), ["edge", "api"]);
        assert_eq!(names(&[], &[]), ["api", "edge"]);
        assert!(!needs_config(&words(&[file, "-", "/var/log/*.log"]), &[]));
    }

    #[test]
    fn what_cannot_be_read_among_others_is_no_reason_to_read_none() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("here.log");
        std::fs::write(&file, "x\n").unwrap();
        let file = file.to_str().unwrap();
        let chosen = |operands: &[&str]| choose(&words(operands), &[], &[], false).map(|it| it.len()).ok();
        assert_eq!(chosen(&[file, "/nowhere/x.log"]), Some(2));
        assert_eq!(chosen(&["/nowhere/x.log", file]), Some(2));
        assert_eq!(chosen(&["/nowhere/*.log", file]), Some(2));
        assert_eq!(chosen(&["/nowhere/x.log", "/nowhere/y.log"]), None);
        assert_eq!(chosen(&["/nowhere/*.log"]), None);
        assert_eq!(chosen(&["ERROR", file]), None);
    }

    #[test]
    fn a_file_under_another_name_is_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("app.log");
        std::fs::write(&file, "x\n").unwrap();
        std::fs::hard_link(&file, directory.path().join("hard.log")).unwrap();
        std::os::unix::fs::symlink("app.log", directory.path().join("aaa.log")).unwrap();
        let said = doubles(&log::from_operands(&words(&[directory.path().to_str().unwrap(), file.to_str().unwrap()])));
        let (first, second) = (&said[0], &said[1]);
        assert!(first.contains("hard.log` is the file") && first.ends_with("app.log`, read once"), "{said:?}");
        assert!(second.contains("aaa.log` is the file") && second.ends_with("app.log`, read once"), "{said:?}");
        assert_eq!(said.len(), 2);
    }

    #[test]
    fn a_fifo_is_not_opened_to_see_that_it_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("my.fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        let (done_tx, done_rx) = std::sync::mpsc::sync_channel(1);
        // Nobody writes: an opening would wait for ever.
        std::thread::spawn(move || {
            let chosen = choose(&[fifo.to_string_lossy().into_owned()], &[], &[], false);
            let _ = done_tx.send(chosen.is_ok_and(|it| it.len() == 1));
        });
        assert_eq!(done_rx.recv_timeout(std::time::Duration::from_secs(60)), Ok(true));
    }

    #[test]
    fn a_slip_is_told_with_what_was_meant() {
        let configured = [spec("gateway")];
        let hint = |operands: &[&str], named: &[&str]| {
            choose(&words(operands), &words(named), &configured, false).unwrap_err().hints.join("; ")
        };
        assert_eq!(hint(&["gatewy"], &[]), "did you mean the config's log `gateway`?");
        assert_eq!(hint(&[], &["gatway"]), "did you mean `gateway`?");
        assert_eq!(hint(&[], &["zzz"]), "the config has gateway");
        assert_eq!(hint(&["ERROR", "gateway"], &[]), "text to search for is named as `-q ERROR`");
        assert_eq!(hint(&["/nowhere/at/all.log"], &[]), "with `--follow` hotseat waits for it");
    }
}
