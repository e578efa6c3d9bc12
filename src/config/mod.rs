//! `load() -> (Config, Vec<ConfigError>)`: one bad entry does not stop the others.

pub mod paths;

use crate::domain::config_error::ConfigError;
use crate::domain::key::KeyBinding;
use crate::registry::node::Source;
use crate::service::backup::JobSpec;
use crate::service::log::LogSpec;
use crate::service::probe::ProbeSpec;
use crate::service::{backup, log, probe};

/// Everything a config file says, checked.
#[derive(Clone, Default)]
pub struct Config {
    /// The file it came from; `None` when there is none.
    pub path: Option<String>,
    /// `[[probe]]`.
    pub probes: Vec<ProbeSpec>,
    /// `[[log]]`.
    pub logs: Vec<LogSpec>,
    /// `[[backup]]`.
    pub backups: Vec<JobSpec>,
    /// `[screen]`.
    pub screen: Screen,
    /// `[keys]`: the keymap is built from it by the screen, which knows the commands.
    pub keys: Vec<KeyBinding>,
}

/// `[screen]`: how the screen looks and behaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Screen {
    /// Theme name; `None` is the default or what was last chosen.
    pub theme: Option<String>,
    /// Mouse reporting from the start.
    pub mouse: bool,
}

/// Reads a config from text. `file` is how the user named it.
pub fn parse(file: &str, text: &str) -> (Config, Vec<ConfigError>) {
    let source = Source::new(file, text);
    let mut config = Config { path: Some(file.to_string()), ..Config::default() };
    let Some(root) = source.parse() else { return (config, source.errors()) };
    let defaults = root.get("defaults");
    let entries = |key| root.get(key).map(|it| it.items()).unwrap_or_default();
    config.probes = entries("probe").iter().filter_map(|it| probe::read(it, defaults.as_ref())).collect();
    config.logs = entries("log").iter().filter_map(|it| log::read(it, defaults.as_ref())).collect();
    config.backups = entries("backup").iter().filter_map(|it| backup::read(it, defaults.as_ref())).collect();
    root.finish(&["screen", "keys"]);
    (config, source.errors())
}
