//! What a `[[log]]` or an operand names, before anything is opened.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::logstore::archive::without_suffix;
use crate::logstore::format::Reading;
use crate::logstore::format::user::UserFormat;
use crate::registry::node::Node;
use crate::registry::pick;
use crate::service::log::kind::KINDS;
use crate::service::log::producer::{Producer, Producing};
use crate::service::log::store::Remote;
use crate::service::log::{glob, reading};
use crate::service::veil::Veil;

/// Logs of the host that are opened without a config: more would not be read by anyone.
const MAX_HOST_LOGS: usize = 12;

/// One `[[log]]` of the config, or one operand of the command line, checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogSpec {
    /// Short name for the row prefix. With several files each is `name:file`; when empty, `file` alone.
    pub name: String,
    /// What is read.
    pub inputs: Vec<LogInput>,
    /// How its lines are read.
    pub reading: Arc<Reading>,
    /// Its rotated files are read as well, packed ones too.
    pub history: bool,
    /// Named on the command line: a file that another operand gave is not read again. Each log of the config has its name.
    pub is_operand: bool,
}

/// One thing to read.
#[derive(Debug, Clone, PartialEq)]
pub enum LogInput {
    /// A file, a pipe, or the files of a directory.
    Path(PathBuf),
    /// All files that match.
    Pattern(String),
    /// This process's standard input.
    Stdin,
    /// What a program says, here or on another host.
    Stream(Producing),
    /// A store elsewhere that is asked for windows.
    Store(Box<Remote>),
}

/// What a kind builds.
#[derive(Debug, Clone, PartialEq)]
pub struct LogInputs(pub Vec<LogInput>);

impl LogInputs {
    /// What one producer feeds.
    pub fn producer(producer: impl Producer + 'static) -> Box<Self> {
        Self::producers([(String::new(), producer)])
    }

    /// What several producers feed, each with what is put behind the log's name.
    pub fn producers<P: Producer + 'static>(producers: impl IntoIterator<Item = (String, P)>) -> Box<Self> {
        let input = |(suffix, producer): (String, P)| {
            LogInput::Stream(Producing { suffix, producer: Arc::new(producer), veil: Veil::default() })
        };
        Box::new(Self(producers.into_iter().map(input).collect()))
    }

    /// Puts a veil over what is said of each.
    fn veil(&mut self, veil: &Veil) {
        for input in &mut self.0 {
            match input {
                LogInput::Stream(producing) => producing.veil = veil.clone(),
                LogInput::Store(remote) => remote.common_mut().access.veil = veil.clone(),
                LogInput::Path(_) | LogInput::Pattern(_) | LogInput::Stdin => {}
            }
        }
    }
}

/// Reads one `[[log]]`. Mistakes are reported through the node.
///
/// `formats` are those of the config's `[[format]]`.
pub fn read(entry: &Node<'_>, formats: &[Arc<UserFormat>]) -> Option<LogSpec> {
    let name = entry.require("name").and_then(|node| {
        let name = node.string()?;
        if name.is_empty() || name.contains(['/', ':']) || name.chars().any(char::is_control) {
            node.error_with_hint(
                format!("`{}` is no name for a log", crate::domain::sanitise::text(&name)),
                "use a short word without `/` and `:`",
            );
            return None;
        }
        Some(name)
    });
    let picked = pick(entry, "log", KINDS);
    let reading = reading::read(entry, formats);
    let history = entry.get("history").and_then(|it| it.boolean()).unwrap_or(false);
    entry.finish(&[]);
    let (kind, value) = picked?;
    let (inputs, secrets) = entry.referred_in(|| (kind.build)(&value));
    let mut inputs = inputs?;
    inputs.veil(&Veil::new(secrets));
    Some(LogSpec { name: name?, inputs: inputs.0, reading: Arc::new(reading?), history, is_operand: false })
}

/// Makes specs of the operands of `hotseat [PATH|-]…`: files, patterns, directories, `-` for stdin.
pub fn from_operands(operands: &[String]) -> Vec<LogSpec> {
    let spec = |operand: &String| {
        if operand == "-" {
            return LogSpec { name: "stdin".into(), inputs: vec![LogInput::Stdin], ..LogSpec::default() };
        }
        let path = Path::new(operand);
        // A file may have a star in its name.
        if glob::is_pattern(operand) && !path.exists() {
            return LogSpec { inputs: vec![LogInput::Pattern(operand.clone())], ..LogSpec::default() };
        }
        let name = if path.is_dir() { String::new() } else { short_name(path) };
        LogSpec { name, inputs: vec![LogInput::Path(path.to_path_buf())], ..LogSpec::default() }
    };
    operands.iter().map(|it| LogSpec { is_operand: true, ..spec(it) }).collect()
}

/// The name of a file in the row prefix: without `.log`, sanitised.
pub fn short_name(path: &Path) -> String {
    let name = path.file_name().map_or_else(|| path.to_string_lossy(), |it| it.to_string_lossy());
    let name = without_suffix(&name);
    let name = name.strip_suffix(".log").filter(|it| !it.is_empty()).unwrap_or(name);
    crate::domain::sanitise::text(name).replace(':', "-")
}

/// Takes the rotated files of logs into them.
#[must_use]
pub fn with_history(mut specs: Vec<LogSpec>) -> Vec<LogSpec> {
    for spec in &mut specs {
        spec.history = true;
    }
    specs
}

/// Makes specs of the host's own logs, for a start without config and operands.
pub fn host_logs() -> Vec<LogSpec> {
    logs_below(Path::new("/var/log"))
}

/// The logs of a directory like `/var/log` that can be read and are in use, the system's first.
pub fn logs_below(directory: &Path) -> Vec<LogSpec> {
    let well_known = ["syslog", "messages", "auth.log", "secure", "kern.log", "daemon.log", "system.log"];
    let mut paths: Vec<PathBuf> = well_known.iter().map(|it| directory.join(it)).collect();
    let mut others: Vec<(SystemTime, PathBuf)> = ["*.log", "*/*.log"]
        .iter()
        .flat_map(|it| glob::expand(&directory.join(it).to_string_lossy()))
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    // What was written last is what somebody asks about.
    others.sort_by(|left, right| right.cmp(left));
    paths.extend(others.into_iter().map(|(_, path)| path));
    let mut specs: Vec<LogSpec> = Vec::new();
    for path in paths {
        let is_known = specs.iter().any(|it| it.inputs == [LogInput::Path(path.clone())]);
        let has_text = fs::metadata(&path).is_ok_and(|it| it.is_file() && it.len() > 0);
        if specs.len() < MAX_HOST_LOGS && !is_known && has_text && fs::File::open(&path).is_ok() {
            specs.push(LogSpec { name: short_name(&path), inputs: vec![LogInput::Path(path)], ..LogSpec::default() });
        }
    }
    specs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::node::Source;

    fn parse(text: &str) -> (Vec<LogSpec>, Vec<String>) {
        let source = Source::new("c.toml", text);
        let root = source.parse().unwrap();
        let specs = root.get("log").unwrap().items().iter().filter_map(|it| read(it, &[])).collect();
        let errors = source.errors();
        (specs, errors.iter().map(|it| format!("{}:{} {}", it.line, it.column, it.message)).collect())
    }

    #[test]
    fn the_examples_of_all_kinds_are_read() {
        for kind in KINDS {
            let (specs, errors) = parse(kind.example);
            assert_eq!((specs.len(), errors), (1, Vec::new()), "{}", kind.name);
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let check = |text: &str, expected: &[&str]| assert_eq!(parse(text).1, expected, "{text}");
        let kinds = KINDS.iter().map(|it| it.name).collect::<Vec<_>>().join(", ");
        check("[[log]]\nname = \"a\"\n", &[&format!("1:1 a log needs a kind: one of {kinds}")]);
        check("[[log]]\nname = \"a\"\nfil = \"x\"\n", &[&format!("3:1 unknown kind `fil`, expected one of {kinds}")]);
        check("[[log]]\nname = \"a/b\"\nfile = \"x\"\n", &["2:8 `a/b` is no name for a log"]);
        check("[[log]]\nname = \"a\"\nfile = 3\n", &["3:8 `log.file` must be a string, not an integer"]);
        check(
            "[[log]]\nname = \"a\"\nfile = \"x\"\nstdin = true\n",
            &["4:9 a log has one kind, not both `file` and `stdin`"],
        );
    }

    #[test]
    fn operands_are_files_patterns_directories_and_stdin() {
        let operands: Vec<String> = ["-", "/tmp", "x/*.log", "x/api.log"].map(String::from).into();
        let specs = from_operands(&operands);
        assert_eq!(specs[0].inputs, [LogInput::Stdin]);
        assert_eq!((specs[1].name.as_str(), &specs[1].inputs[..]), ("", &[LogInput::Path("/tmp".into())][..]));
        assert_eq!(specs[2].inputs, [LogInput::Pattern("x/*.log".into())]);
        assert_eq!(specs[3].name, "api");
    }

    #[test]
    fn the_hosts_logs_are_those_with_text_in_them() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [("syslog", "x"), ("empty.log", ""), ("app.log", "x")] {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let names: Vec<String> = logs_below(directory.path()).into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["syslog", "app"]);
    }
}
