//! `load() -> Loaded`: the config and everything that is wrong with it; one bad entry does not stop the others.

pub mod agent;
pub mod alerts;
pub mod paths;
pub mod remotes;
pub mod secrets;
pub mod share;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::config::agent::Agent;
use crate::config::remotes::Remote;
use crate::domain::alert::rules::AlertRules;
use crate::domain::config_error::ConfigError;
use crate::domain::key::KeyBinding;
use crate::domain::query::Query;
use crate::domain::query::saved::{self, SavedQuery};
use crate::domain::sanitise;
use crate::logstore::format::user::UserFormat;
use crate::registry::node::{Commands, Node, ReadFile, Source};
use crate::service::backup::JobSpec;
use crate::service::log::LogSpec;
use crate::service::notify::NotifierSpec;
use crate::service::probe::ProbeSpec;
use crate::service::probe::heartbeat::serve::{Listen, read_listen};
use crate::service::{backup, log, notify, probe};

/// Largest config that is read: a thousand probes fit, a log file named by mistake does not.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// The example that `hotseat init` writes: all comments, and a valid config when they are removed.
pub const DEFAULT: &str = include_str!("default.toml");

/// Everything a config file says, checked.
#[derive(Clone, Default)]
pub struct Config {
    /// The file it came from; `None` when there is none.
    pub path: Option<String>,
    /// The file's text, to tell a change from a mere touch.
    pub text: String,
    /// Other files that were read for it: rotations, `${file:…}`. A change of one is a change of the config.
    pub files: Vec<ReadFile>,
    /// `[host] name`: what the ids begin with, when it is not to be the host's own name.
    pub host: Option<String>,
    /// `[[probe]]`.
    pub probes: Vec<ProbeSpec>,
    /// `[[log]]`.
    pub logs: Vec<LogSpec>,
    /// `[[format]]`: its logs name them, and so may the command line.
    pub formats: Vec<Arc<UserFormat>>,
    /// `[[query]]`.
    pub queries: Vec<SavedQuery>,
    /// `[[backup]]`.
    pub backups: Vec<JobSpec>,
    /// `[alerts]`, `[[person]]`, `[[rotation]]`, `[[ladder]]`, `[[silence]]`, `[[maintenance]]`, and what the policy
    /// knows of the notifiers.
    pub alerts: AlertRules,
    /// `[[notifier]]`.
    pub notifiers: Vec<NotifierSpec>,
    /// The entries of `[[notifier]]` that are not among them because of a mistake, by name or else by number. Without
    /// sense as long as entries wait for a command.
    pub refused_notifiers: Vec<String>,
    /// `[[remote]]`: other hosts that a screen can attach to.
    pub remotes: Vec<Remote>,
    /// `[beat]`: where heartbeats are taken by HTTP.
    pub beat: Option<Listen>,
    /// `[agent]`: what only `hotseat agent` does.
    pub agent: Agent,
    /// `share`: whom the state directory is shared with.
    pub share: Option<share::Share>,
    /// `[screen]`.
    pub screen: Screen,
    /// `[keys]`: the keymap is built from it by the screen, which knows the commands.
    pub keys: Vec<KeyBinding>,
}

impl Config {
    /// Tells its text from another one; `None` when there is no file. Half of a sha256 is enough for that.
    pub fn digest(&self) -> Option<String> {
        self.path.as_ref()?;
        let hash = Sha256::digest(self.text.as_bytes());
        Some(hash.iter().take(16).map(|it| format!("{it:02x}")).collect())
    }
}

/// What came of reading a config.
#[derive(Clone, Default)]
pub struct Loaded {
    /// What could be read; with mistakes, the good entries.
    pub config: Config,
    /// The mistakes, in the order of the file.
    pub errors: Vec<ConfigError>,
    /// `false` when the file as a whole could not be read or is no TOML.
    pub readable: bool,
    /// Entries wait for a `${cmd:…}` that has not been run yet; [`load`] again with [`Commands::Run`].
    pub deferred: bool,
    /// Where a config was looked for that is not there (yet).
    pub missing: Option<PathBuf>,
}

/// `[screen]`: how the screen looks and behaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Screen {
    /// Theme name; `None` is the default or what was last chosen.
    pub theme: Option<String>,
    /// Where the theme is named, for whoever knows the themes.
    pub theme_at: Option<ConfigError>,
    /// Mouse reporting from the start.
    pub mouse: bool,
    /// Draw with ASCII only; `None` goes by the locale.
    pub ascii: Option<bool>,
}

/// Reads the config: the named file, else the one at its usual place, else none.
///
/// A named file must be there; the one at the usual place may be missing.
pub fn load(named: Option<&Path>, commands: Commands) -> Loaded {
    let usual = paths::config_file();
    let (path, must_exist) = match (named, &usual) {
        (Some(path), _) => (path, true),
        (None, Some(path)) => (path.as_path(), false),
        (None, None) => return Loaded { readable: true, ..Loaded::default() },
    };
    let file = path.display().to_string();
    match read_file(&file, path) {
        Ok(text) => read_text(&file, &text, commands),
        Err(Unread::Missing) if !must_exist => {
            Loaded { readable: true, missing: Some(path.to_path_buf()), ..Loaded::default() }
        }
        Err(unread) => {
            let error = match unread {
                Unread::Missing => ConfigError::whole_file(&file, "no such file")
                    .with_hint("check the path, or run `hotseat init` to write a first config"),
                Unread::Mistake(error) => error,
            };
            let config = Config { path: Some(file), ..Config::default() };
            Loaded { config, errors: vec![error], ..Loaded::default() }
        }
    }
}

enum Unread {
    Missing,
    Mistake(ConfigError),
}

fn read_file(file: &str, path: &Path) -> Result<String, Unread> {
    let fail = |message: String| Unread::Mistake(ConfigError::whole_file(file, message));
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|it| it.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > FILE_MAX_BYTES => {
            return Err(fail(format!("larger than {} KiB, this is no config", FILE_MAX_BYTES >> 10)));
        }
        Ok(_) => {}
        Err(error) => {
            return Err(match error.kind() {
                io::ErrorKind::NotFound => Unread::Missing,
                io::ErrorKind::IsADirectory => Unread::Mistake(
                    ConfigError::whole_file(file, "is a directory")
                        .with_hint("name the file in it, as in `--config DIR/config.toml`"),
                ),
                io::ErrorKind::PermissionDenied => Unread::Mistake(
                    ConfigError::whole_file(file, "could not be read: permission denied")
                        .with_hint(format!("make it readable for `{}`", paths::user_name())),
                ),
                _ => fail(format!("could not be read: {error}")),
            });
        }
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        // Everything before the first bad byte is the same in both, so the position holds.
        let mistake = ConfigError::at(file, &text, at..at + 1, "this is not UTF-8");
        Unread::Mistake(mistake.with_hint("save the file as UTF-8"))
    })
}

/// Reads a config from text. `file` is how the user named it.
pub fn parse(file: &str, text: &str) -> (Config, Vec<ConfigError>) {
    let loaded = read_text(file, text, Commands::Run);
    (loaded.config, loaded.errors)
}

/// Reads a config from text, with `${cmd:…}` run or deferred.
pub fn read_text(file: &str, text: &str, commands: Commands) -> Loaded {
    let source = Source::new(file, text).with_commands(commands).with_exposed(secrets::is_exposed(file));
    let mut config = Config { path: Some(file.to_string()), text: text.to_string(), ..Config::default() };
    let Some(root) = source.parse() else {
        return Loaded { config, errors: source.errors(), ..Loaded::default() };
    };
    secrets::hide(&root);
    let defaults = root.get("defaults").filter(|it| it.expect_table());
    let defaults = defaults.as_ref();
    config.formats = entries(&root, "format", log::reading::read_format);
    config.logs = entries(&root, "log", |it| log::read(it, &config.formats));
    config.queries = entries(&root, "query", read_query);
    // A probe may name a log and a saved query.
    source.make_known("log", names_of(&root, "log"));
    source.make_known("query", config.queries.iter().map(|it| (it.name.clone(), it.query.clone())).collect());
    config.probes = entries(&root, "probe", |it| probe::read(it, defaults));
    probe::read::rules::check_after(&root, &mut config.probes);
    config.backups = entries(&root, "backup", |it| backup::read(it, defaults));
    config.notifiers = entries(&root, "notifier", |it| notify::read(it, &root));
    config.refused_notifiers = refused(&root, "notifier", config.notifiers.iter().map(|it| it.name.as_str()).collect());
    let rules = config.notifiers.iter().map(|it| it.rule.clone()).collect();
    let alerts = alerts::read(file, &root, rules);
    config.alerts = alerts.rules;
    config.remotes = entries(&root, "remote", remotes::read);
    // With a token that everybody here can read, anybody could say that a job is well.
    let beat = root.get("beat").filter(|it| it.expect_table()).filter(|it| !secrets::refuse(it));
    config.beat = beat.and_then(|it| read_listen(&it));
    if let Some(agent) = root.get("agent").filter(|it| it.expect_table()) {
        config.agent = agent::read(&agent);
    }
    config.share = root.get("share").filter(|it| it.expect_table()).and_then(|it| share::read(&it));
    if let Some(screen) = root.get("screen").filter(|it| it.expect_table()) {
        config.screen = read_screen(&screen);
    }
    if let Some(keys) = root.get("keys").filter(|it| it.expect_table()) {
        config.keys = read_keys(&keys);
    }
    if let Some(host) = root.get("host").filter(|it| it.expect_table()) {
        config.host = host.get("name").and_then(|it| it.string());
        host.finish(&[]);
    }
    if let Some(defaults) = defaults {
        defaults.finish(&[DEFAULTS, probe::read::rules::DEFAULTS].concat());
    }
    root.finish_or(&[], OTHER_NAMES);
    config.files = source.files();
    let errors = [source.errors(), alerts.errors].concat();
    Loaded { config, errors, readable: true, deferred: source.is_deferred(), missing: None }
}

/// Keys of `[defaults]`, for the config that has none of the entries that would read them.
const DEFAULTS: &[&str] = &["interval", "timeout", "retry", "fail", "recover"];

/// What a table is called by those who come from another tool, or who remember half of the word.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("alert", "alerts"),
    ("alerting", "alerts"),
    ("bindings", "keys"),
    ("channel", "notifier"),
    ("check", "probe"),
    ("checks", "probe"),
    ("contact", "person"),
    ("contacts", "person"),
    ("downtime", "maintenance"),
    ("endpoint", "probe"),
    ("endpoints", "probe"),
    ("escalation", "ladder"),
    ("filter", "query"),
    ("global", "defaults"),
    ("heartbeat", "beat"),
    ("hosts", "remote"),
    ("job", "backup"),
    ("jobs", "backup"),
    ("keybindings", "keys"),
    ("keymap", "keys"),
    ("log_format", "format"),
    ("monitor", "probe"),
    ("monitors", "probe"),
    ("mute", "silence"),
    ("notification", "notifier"),
    ("notifications", "notifier"),
    ("notify", "notifier"),
    ("oncall", "rotation"),
    ("on_call", "rotation"),
    ("on-call", "rotation"),
    ("parser", "format"),
    ("people", "person"),
    ("persons", "person"),
    ("policy", "ladder"),
    ("receiver", "notifier"),
    ("receivers", "notifier"),
    ("rota", "rotation"),
    ("schedule", "rotation"),
    ("server", "remote"),
    ("service", "probe"),
    ("services", "probe"),
    ("settings", "screen"),
    ("source", "log"),
    ("sources", "log"),
    ("target", "probe"),
    ("targets", "probe"),
    ("team", "rotation"),
    ("theme", "screen"),
    ("tui", "screen"),
    ("ui", "screen"),
    ("user", "person"),
    ("users", "person"),
    ("view", "query"),
];

/// Reads the entries of one kind and drops those whose name was taken before.
fn entries<T>(root: &Node<'_>, key: &str, read: impl Fn(&Node<'_>) -> Option<T>) -> Vec<T> {
    let Some(list) = root.get(key) else { return Vec::new() };
    if list.is_table() {
        list.error_with_hint(
            format!("`{key}` must be a list of tables"),
            format!("write `[[{key}]]`, in double brackets"),
        );
        return Vec::new();
    }
    let mut kept: Vec<T> = Vec::new();
    let mut names: Vec<(String, u32)> = Vec::new();
    for entry in list.items() {
        if !entry.expect_table() {
            continue;
        }
        // The name counts as taken also when the rest of the entry is wrong.
        let taken = entry.peek("name").and_then(|it| Some((it.raw_str()?.to_string(), it)));
        let duplicate = taken.as_ref().and_then(|(name, node)| {
            let (_, line) = names.iter().find(|(it, _)| it == name)?;
            node.error_with_hint(
                format!("duplicate {key} name `{name}`"),
                format!("the first one is at line {line}; give one of them another name"),
            );
            Some(())
        });
        if let Some((name, node)) = taken {
            names.push((name, node.line()));
        }
        let is_refused = secrets::refuse(&entry);
        let spec = read(&entry);
        if let (Some(spec), None, false) = (spec, duplicate, is_refused) {
            kept.push(spec);
        }
    }
    kept
}

/// The names of the entries of a kind as written, also of those with a mistake: one mistake is enough.
fn names_of(root: &Node<'_>, key: &str) -> Vec<(String, String)> {
    let Some(list) = root.peek(key).filter(Node::is_array) else { return Vec::new() };
    let name = |it: &Node<'_>| Some((it.peek("name")?.raw_str()?.to_string(), String::new()));
    list.items().iter().filter_map(name).collect()
}

/// The entries of a kind that are not among those that were read, by name or else by number.
fn refused(root: &Node<'_>, key: &str, mut read: Vec<&str>) -> Vec<String> {
    let Some(list) = root.peek(key).filter(Node::is_array) else { return Vec::new() };
    let items = list.items();
    if items.len() == read.len() {
        return Vec::new();
    }
    let mut refused = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let node = item.peek("name");
        let Some(name) = node.as_ref().and_then(|it| it.raw_str()) else {
            refused.push(format!("{key} {}", at + 1));
            continue;
        };
        // Of two with one name the first was taken.
        match read.iter().position(|it| *it == name) {
            Some(taken) => drop(read.remove(taken)),
            None => refused.push(sanitise::text(name)),
        }
    }
    refused
}

/// Reads one `[[query]]`: a log query with a name.
fn read_query(entry: &Node<'_>) -> Option<SavedQuery> {
    let name = entry.require("name").and_then(|node| {
        let name = node.string()?;
        match saved::mistake_of_name(&name) {
            None => Some(name),
            Some(hint) => {
                node.error_with_hint(format!("`{}` is no name for a query", sanitise::text(&name)), hint);
                None
            }
        }
    });
    let query = entry.require("query").and_then(|node| {
        let text = node.string()?;
        match Query::typed(&text) {
            Ok(query) if query.chips.is_empty() => {
                node.error_with_hint("an empty query", "write what it shows, as in `level>=warn -healthz`");
                None
            }
            Ok(_) => Some(text),
            Err(error) => {
                node.error_within(error.range, error.message, error.hint);
                None
            }
        }
    });
    entry.finish(&[]);
    Some(SavedQuery { name: name?, query: query? })
}

fn read_screen(table: &Node<'_>) -> Screen {
    let boolean = |key| table.get(key).and_then(|it| it.boolean());
    let theme = table.get("theme");
    let screen = Screen {
        theme: theme.as_ref().and_then(|it| it.string()),
        theme_at: theme.map(|it| it.point(it.span())),
        mouse: boolean("mouse").unwrap_or(false),
        ascii: boolean("ascii"),
    };
    table.finish(&[]);
    screen
}

fn read_keys(table: &Node<'_>) -> Vec<KeyBinding> {
    let mut bindings = Vec::new();
    for (command, span) in table.keys() {
        let Some(value) = table.get(&command) else { continue };
        if value.is_table() {
            // `logs.follow = "F"` without quotes is a table `logs` to TOML, and plainly means the command.
            for (inner, span) in value.keys() {
                let Some(keys) = value.get(&inner).and_then(|it| key_list(&it)) else { continue };
                bindings.push(KeyBinding { command: format!("{command}.{inner}"), keys, at: table.point(span) });
            }
            continue;
        }
        let Some(keys) = key_list(&value) else { continue };
        bindings.push(KeyBinding { command, keys, at: table.point(span) });
    }
    bindings
}

/// A key or a list of keys; `None` after a mistake was reported.
fn key_list(value: &Node<'_>) -> Option<Vec<String>> {
    value.one_or_many().iter().map(|it| it.raw_string()).collect()
}
