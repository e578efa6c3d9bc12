//! One `[[backup]]` of the config: read, checked, with exact errors.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::clock;
use crate::domain::backup::JobInfo;
use crate::domain::backup::retention::Keep;
use crate::domain::backup::slot::Schedule;
use crate::domain::ids::{HostId, JobId};
use crate::registry;
use crate::registry::node::Node;
use crate::service::backup::destination::{self, Destination};
use crate::service::backup::source::{self, BackupSource};

/// zstd levels beyond 19 need more memory than a dashboard may take.
const LEVEL_MAX: i64 = 19;
/// Level 1 costs half the CPU of level 3 for a few percent more bytes.
const LEVEL_DEFAULT: i32 = 1;
/// Copies kept per rule of `keep`.
const KEEP_MAX: i64 = 10_000;

/// One `[[backup]]` of the config, checked and ready to run.
#[derive(Clone)]
pub struct JobSpec {
    /// Unique name; also the beginning of its files' names.
    pub name: String,
    /// What it copies.
    pub source: Arc<dyn BackupSource>,
    /// When it runs; `None`: only when a person asks.
    pub schedule: Option<Schedule>,
    /// Where copies are kept; never empty.
    pub destinations: Vec<NamedDestination>,
    /// How many stay; `None`: all.
    pub keep: Option<Keep>,
    /// zstd level.
    pub level: i32,
}

/// A destination with its name in the rows.
#[derive(Clone)]
pub struct NamedDestination {
    /// Unique within the job.
    pub name: String,
    /// The place.
    pub destination: Arc<dyn Destination>,
}

impl JobSpec {
    /// What the board is told of it.
    pub fn info(&self, host: &HostId) -> JobInfo {
        JobInfo {
            id: JobId::new(host, &self.name),
            kind: self.source.kind().to_string(),
            source: self.source.describe(),
            schedule: self.schedule.as_ref().map(Schedule::text),
            zone: self.schedule.as_ref().map(Schedule::zone_name),
            destinations: self.destinations.iter().map(|it| it.name.clone()).collect(),
            keep: self.keep.as_ref().map(Keep::text),
        }
    }

    /// The zone in which days, weeks and months of `keep` are counted.
    pub fn zone(&self) -> TimeZone {
        self.schedule.as_ref().map_or_else(clock::zone, |it| it.zone().clone())
    }
}

/// Reads one `[[backup]]`. Mistakes are reported through the nodes.
pub fn read(entry: &Node<'_>, _defaults: Option<&Node<'_>>) -> Option<JobSpec> {
    let name = read_name(entry);
    let source = read_source(entry);
    let zone = match entry.get("zone") {
        Some(node) => read_zone(&node),
        None => Some(clock::zone()),
    };
    let schedule = match (entry.get("at"), zone) {
        (None, Some(_)) => Some(None),
        (Some(node), Some(zone)) => read_schedule(&node, zone).map(Some),
        (_, None) => None,
    };
    let destinations = read_destinations(entry);
    let keep = match entry.get("keep") {
        Some(node) => read_keep(&node).map(Some),
        None => Some(None),
    };
    let level = match entry.get("level") {
        Some(node) => node.integer(1..LEVEL_MAX + 1).and_then(|it| i32::try_from(it).ok()),
        None => Some(LEVEL_DEFAULT),
    };
    entry.finish(&[]);
    Some(JobSpec {
        name: name?,
        source: source?,
        schedule: schedule?,
        destinations: destinations?,
        keep: keep?,
        level: level?,
    })
}

/// A name that can begin a file name on every filesystem.
fn read_name(entry: &Node<'_>) -> Option<String> {
    let node = entry.require("name")?;
    let name = node.string()?;
    let plain = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
    let good = (1..=64).contains(&name.len()) && name.chars().all(plain) && !name.starts_with(['.', '-']);
    if !good {
        node.error_with_hint(
            format!("`{name}` cannot name a backup job"),
            "it begins the names of its files: use up to 64 letters, digits, `.`, `_` and `-`, as in `orders-db`",
        );
        return None;
    }
    Some(name)
}

fn read_source(entry: &Node<'_>) -> Option<Arc<dyn BackupSource>> {
    let (kind, node) = registry::pick(entry, "backup job", source::KINDS)?;
    (kind.build)(&node).map(Arc::from)
}

fn read_zone(node: &Node<'_>) -> Option<TimeZone> {
    let name = node.string()?;
    let found = TimeZone::get(&name).ok();
    if found.is_none() {
        node.error_with_hint(format!("unknown time zone `{name}`"), "use an IANA name, as in `Europe/London` or `UTC`");
    }
    found
}

fn read_schedule(node: &Node<'_>, zone: TimeZone) -> Option<Schedule> {
    match Schedule::parse(&node.string()?, zone) {
        Ok(schedule) => Some(schedule),
        Err(message) => {
            node.error_with_hint(message, "write it as `daily 01:00` or `weekly sun 01:00`");
            None
        }
    }
}

fn read_destinations(entry: &Node<'_>) -> Option<Vec<NamedDestination>> {
    let node = entry.require("to")?;
    let mut destinations: Vec<NamedDestination> = Vec::new();
    let mut good = true;
    for item in node.one_or_many() {
        let Some((name, destination)) = destination::read(&item) else {
            good = false;
            continue;
        };
        let location = destination.location();
        if destinations.iter().any(|it| it.destination.location() == location) {
            item.error_with_hint(
                format!("`{location}` is named twice"),
                "one copy there is enough: leave one of them out",
            );
            good = false;
            continue;
        }
        let taken = |name: &str| destinations.iter().any(|it| it.name == name);
        let name = match name {
            Some(name) if taken(&name) => {
                item.error_with_hint(format!("two destinations are named `{name}`"), "give one of them another `name`");
                good = false;
                continue;
            }
            Some(name) => name,
            None => Some(destination.default_name()).filter(|it| !taken(it)).unwrap_or(location),
        };
        destinations.push(NamedDestination { name, destination: Arc::from(destination) });
    }
    if destinations.is_empty() && good {
        node.error_with_hint("`to` names no destination", "name a directory, as in `to = \"/backup/orders\"`");
    }
    (good && !destinations.is_empty()).then_some(destinations)
}

fn read_keep(node: &Node<'_>) -> Option<Keep> {
    if !node.is_table() {
        node.error_with_hint("`keep` must be a table", "write it as `{ last = 7, weekly = 4, monthly = 6 }`");
        return None;
    }
    let count = |key: &str| match node.get(key) {
        Some(node) => node.integer(0..KEEP_MAX + 1).and_then(|it| u32::try_from(it).ok()),
        None => Some(0),
    };
    let (last, daily, weekly, monthly) = (count("last"), count("daily"), count("weekly"), count("monthly"));
    node.finish(&[]);
    let keep = Keep { last: last?, daily: daily?, weekly: weekly?, monthly: monthly? };
    if keep == Keep::default() {
        node.error_with_hint(
            "`keep` keeps nothing",
            "say how many, as in `{ last = 7 }`, or leave `keep` out to keep all",
        );
        return None;
    }
    Some(keep)
}

/// An absolute path: a job must not depend on the folder it is started in.
pub(super) fn absolute_path(node: &Node<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(node.string()?);
    if !path.is_absolute() {
        node.error_with_hint(
            format!("`{}` is not an absolute path", path.display()),
            "begin it with `/`: a scheduled backup has no current folder",
        );
        return None;
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::node::Source;

    fn parse(text: &str) -> (Vec<JobSpec>, Vec<String>) {
        let source = Source::new("c.toml", text);
        let root = source.parse().unwrap();
        let specs = root.get("backup").map(|it| it.items()).unwrap_or_default();
        let specs = specs.iter().filter_map(|it| read(it, None)).collect();
        (specs, source.errors().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_example_is_accepted() {
        let examples = source::KINDS.iter().map(|it| it.example).chain(destination::KINDS.iter().map(|it| it.example));
        for example in examples {
            let (specs, errors) = parse(example);
            assert_eq!((specs.len(), errors), (1, Vec::new()), "{example}");
        }
    }

    #[test]
    fn a_whole_job_is_read() {
        let (specs, errors) = parse(
            "[[backup]]\nname = 'orders'\nsqlite = { path = '/srv/o.db' }\nat = 'daily 01:00'\nzone = 'Europe/London'\n\
             to = ['/b/x', '/c/x', { local = '/n', name = 'nas' }]\nkeep = { last = 7, weekly = 4 }\nlevel = 3\n",
        );
        assert_eq!(errors, Vec::<String>::new());
        let info = specs[0].info(&HostId::new("h"));
        assert_eq!(info.destinations, ["x", "/c/x", "nas"]);
        assert_eq!(info.schedule.as_deref(), Some("daily 01:00"));
        assert_eq!(info.zone.as_deref(), Some("Europe/London"));
        assert_eq!(info.keep.as_deref(), Some("last 7, weekly 4"));
        assert_eq!((info.kind.as_str(), specs[0].level), ("sqlite", 3));
    }

    #[test]
    fn mistakes_are_told_where_they_are_and_all_at_once() {
        #[track_caller]
        fn check(entry: &str, expected: &[&str]) {
            let (specs, errors) = parse(&format!("[[backup]]\n{entry}"));
            assert!(specs.is_empty());
            assert_eq!(errors, expected);
        }
        check(
            "name = '../x'\nfile = 'rel'\nat = 'hourly'\nto = '/b'\n",
            &[
                "c.toml:2:8: `../x` cannot name a backup job (it begins the names of its files: use up to 64 letters, digits, `.`, `_` and `-`, as in `orders-db`)",
                "c.toml:3:8: `rel` is not an absolute path (begin it with `/`: a scheduled backup has no current folder)",
                "c.toml:4:6: `hourly` is not a schedule (write it as `daily 01:00` or `weekly sun 01:00`)",
            ],
        );
        check(
            "name = 'x'\nfile = '/a'\nsqlite = '/a'\nto = ['/b', '/b']\nkeep = {}\n",
            &[
                "c.toml:4:10: a backup job has one kind, not both `file` and `sqlite` (make two entries of it)",
                "c.toml:5:13: `/b` is named twice (one copy there is enough: leave one of them out)",
                "c.toml:6:8: `keep` keeps nothing (say how many, as in `{ last = 7 }`, or leave `keep` out to keep all)",
            ],
        );
        check(
            "name = 'x'\nfile = '/a'\nzone = 'Mars/Base'\nat = 'daily 01:00'\nto = []\nlevel = 40\n",
            &[
                "c.toml:4:8: unknown time zone `Mars/Base` (use an IANA name, as in `Europe/London` or `UTC`)",
                "c.toml:6:6: `to` names no destination (name a directory, as in `to = \"/backup/orders\"`)",
                "c.toml:7:9: `backup.level` must be from 1 to 19 (choose a whole number between the two, or leave the key out)",
            ],
        );
    }

    #[test]
    fn an_unknown_key_is_found_and_a_near_one_offered() {
        let (_, errors) = parse("[[backup]]\nname = 'x'\nfile = '/a'\nto = '/b'\nkep = 1\n");
        assert_eq!(errors, ["c.toml:5:1: unknown key `kep` in `backup` (did you mean `keep`?)"]);
    }
}
