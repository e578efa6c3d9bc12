//! The script of a demo: what each service does when, what the logs say, what people do.
//!
//! A scenario is data (TOML), so that the same file can be played on a screen today and scored as a drill
//! later. Times count from the start of a round; a round repeats until the demo is left.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::registry::value::parse_duration;

/// The scenario that `hotseat demo` plays.
pub const STORAGE_OUTAGE: &str = include_str!("storage-outage.toml");

/// A scripted outage.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Stable name.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// What it is modelled on, and what of it is public fact.
    pub background: String,
    /// Length of a round.
    #[serde(deserialize_with = "duration")]
    pub length: Duration,
    /// How far the logs reach back when the demo begins.
    #[serde(deserialize_with = "duration")]
    pub history: Duration,
    /// The services, each with a listener of its own on loopback.
    pub service: Vec<Service>,
    /// What changes when, in order of time.
    pub phase: Vec<Phase>,
    /// What is written into the logs.
    pub line: Vec<Line>,
    /// What people and schedules do.
    #[serde(default)]
    pub action: Vec<Action>,
}

/// One loopback HTTP service.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Name of the service and of its probe.
    pub name: String,
    /// What it answers when healthy.
    pub body: String,
    /// Time it takes when healthy.
    #[serde(deserialize_with = "duration")]
    pub delay: Duration,
}

/// From here on, some services behave differently.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Name, used by the log lines.
    pub name: String,
    /// Start, from the start of the round.
    #[serde(deserialize_with = "duration")]
    pub at: Duration,
    /// Behaviour by service; a service that is not named is healthy.
    #[serde(default)]
    pub service: BTreeMap<String, Behaviour>,
}

/// What a service does with a connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Behaviour {
    /// The listener is closed.
    Refuse,
    /// The connection is taken and nothing is ever answered.
    Hang,
    /// An answer with this status after this time.
    Answer {
        /// HTTP status.
        status: u16,
        /// Time until the first byte.
        #[serde(deserialize_with = "duration")]
        delay: Duration,
    },
}

/// A line (or record of several lines) that is written again and again during some phases.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// File name in the log directory.
    pub file: String,
    /// Phases during which it is written.
    pub phases: Vec<String>,
    /// Mean time between two of it.
    #[serde(deserialize_with = "duration")]
    pub every: Duration,
    /// The text with placeholders: `{iso}`, `{clf}`, `{epoch}`, `{n}`, `{ms}`, `{id}`, `{ip}`, `{user}`.
    pub text: String,
}

/// Something done at a moment of the round.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// When, from the start of the round.
    #[serde(deserialize_with = "duration")]
    pub at: Duration,
    /// What.
    #[serde(rename = "do")]
    pub what: ActionKind,
}

/// What an action does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ActionKind {
    /// Rename a log file away and begin a new one.
    Rotate(String),
    /// Run the backup job.
    Backup,
    /// Declare an incident, unless one is open.
    Declare {
        /// Its title.
        title: String,
        /// 1 to 4.
        severity: u8,
    },
    /// Write a note into the incident that the scenario declared.
    Note(String),
    /// Say what was done about it.
    ActionTaken(String),
    /// Resolve the incident that the scenario declared.
    Resolve,
}

impl Scenario {
    /// Reads a scenario and checks that its parts fit together.
    ///
    /// # Errors
    /// In words, with the position where the text is not valid TOML.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scenario: Scenario = toml::from_str(text).map_err(|error| error.to_string())?;
        let known_phase = |name: &String| scenario.phase.iter().any(|it| it.name == *name);
        let known_service = |name: &String| scenario.service.iter().any(|it| it.name == *name);
        if scenario.phase.first().is_none_or(|it| !it.at.is_zero()) {
            return Err("the first phase must begin at `0s`".into());
        }
        if !scenario.phase.is_sorted_by_key(|it| it.at) || scenario.phase.iter().any(|it| it.at >= scenario.length) {
            return Err("phases must follow one another within the length of the round".into());
        }
        for phase in &scenario.phase {
            if let Some(name) = phase.service.keys().find(|it| !known_service(it)) {
                return Err(format!("phase `{}` names the unknown service `{name}`", phase.name));
            }
        }
        for line in &scenario.line {
            if let Some(name) = line.phases.iter().find(|it| !known_phase(it)) {
                return Err(format!("a line of `{}` names the unknown phase `{name}`", line.file));
            }
            if line.every.is_zero() || line.file.contains('/') {
                return Err(format!("a line of `{}` needs a file name without `/` and a time above zero", line.file));
            }
        }
        Ok(scenario)
    }

    /// The phase at a time of the round.
    pub fn phase_at(&self, at: Duration) -> &Phase {
        let last = self.phase.iter().rposition(|it| it.at <= at).unwrap_or_default();
        &self.phase[last]
    }

    /// The names of the log files, in order of first mention.
    pub fn files(&self) -> Vec<&str> {
        let mut files: Vec<&str> = Vec::new();
        for line in &self.line {
            if !files.contains(&line.file.as_str()) {
                files.push(&line.file);
            }
        }
        files
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_scenario_plays_healthy_refused_timeout_502_recovery() {
        let scenario = Scenario::parse(STORAGE_OUTAGE).unwrap();
        assert!(scenario.length >= Duration::from_secs(150) && scenario.length <= Duration::from_secs(210));
        let names: Vec<&str> = scenario.phase.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["healthy", "storage-refused", "api-timeout", "edge-502", "recovery"]);
        let behaviour = |phase: usize, service: &str| scenario.phase[phase].service.get(service);
        assert_eq!(behaviour(0, "storage"), None);
        assert_eq!(behaviour(1, "storage"), Some(&Behaviour::Refuse));
        assert_eq!(behaviour(2, "api"), Some(&Behaviour::Hang));
        assert!(matches!(behaviour(3, "edge"), Some(Behaviour::Answer { status: 502, .. })));
        assert_eq!(behaviour(4, "storage"), None);
    }

    #[test]
    fn the_shipped_logs_are_mixed() {
        let scenario = Scenario::parse(STORAGE_OUTAGE).unwrap();
        let any = |found: fn(&Line) -> bool| scenario.line.iter().any(found);
        assert!(any(|it| it.text.starts_with('{') && it.text.contains("\"level\"")), "JSON");
        assert!(any(|it| it.text.contains("\n\tat ")), "a Java trace");
        assert!(any(|it| it.text.contains("数据库")), "Chinese");
        assert!(scenario.action.iter().any(|it| matches!(it.what, ActionKind::Rotate(_))), "a rotation");
    }

    #[test]
    fn a_phase_of_an_unknown_service_is_refused() {
        let text = STORAGE_OUTAGE.replace("storage = \"refuse\"", "storrage = \"refuse\"");
        assert!(Scenario::parse(&text).unwrap_err().contains("storrage"));
    }
}
