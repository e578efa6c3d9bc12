//! Reads `[[person]]`, `[[rotation]]`, `[[ladder]]`, `[[silence]]`, `[[maintenance]]` and `[alerts]`.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::clock;
use crate::domain::alert::Concern;
use crate::domain::alert::quiet::{self, Maintenance, MaintenanceWindow, Matcher, Silence};
use crate::domain::alert::rota::{OVERRIDES_MAX, Override, PEOPLE_MAX, Rotation};
use crate::domain::alert::rules::{AlertRules, Ladder, NotifierRule, Person, Rung};
use crate::domain::config_error::{ConfigError, did_you_mean};
use crate::domain::sanitise;
use crate::registry::node::{Node, Source};
use crate::registry::reference;

/// Names that one list can hold.
const NAMES_MAX: usize = 64;
/// Steps of a ladder: whoever has not answered after that many does not.
const STEPS_MAX: usize = 16;
/// Matchers of one silence or maintenance.
const MATCHERS_MAX: usize = 16;
/// Longest turn, step and window.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// Who made what stands in the config.
const BY_CONFIG: &str = "the config";
/// A Monday: turns are counted from it when nothing else is said.
const EPOCH: Date = Date::constant(2024, 1, 1);

const WEEKDAYS: &[(&str, Weekday)] = &[
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// What was read, and the mistakes of the files that it names.
pub struct Read {
    /// The rules.
    pub rules: AlertRules,
    /// Mistakes in files besides the config.
    pub errors: Vec<ConfigError>,
}

/// Reads everything about alerts besides the notifiers themselves. `file` is the config: other files are found beside it.
pub fn read(file: &str, root: &Node<'_>, notifiers: Vec<NotifierRule>) -> Read {
    let mut rules = AlertRules { notifiers, ..AlertRules::default() };
    if let Some(alerts) = root.get("alerts").filter(Node::expect_table) {
        read_alerts(&alerts, &mut rules);
    }
    let zone = rules.zone.clone().or_else(|| clock::zone().iana_name().map(ToString::to_string));
    rules.zone = zone.clone();
    let zone = zone.unwrap_or_else(|| "UTC".to_string());
    rules.people = super::entries(root, "person", read_person);
    rules.ladders = super::entries(root, "ladder", read_ladder);
    rules.silences = super::entries(root, "silence", |it| read_silence(it, &zone));
    rules.maintenances = super::entries(root, "maintenance", |it| read_maintenance(it, &zone));
    let people = written(root, "person");
    let errors = RefCell::new(Vec::new());
    rules.rotations = super::entries(root, "rotation", |it| {
        let (rotation, found) = read_rotation(it, file, &zone, &people);
        errors.borrow_mut().extend(found);
        rotation
    });
    check_names(root);
    Read { rules, errors: errors.into_inner() }
}

fn read_alerts(table: &Node<'_>, rules: &mut AlertRules) {
    rules.zone = table.get("zone").and_then(|it| read_zone(&it));
    rules.apart = table.get("common").and_then(|it| it.boolean()).is_some_and(|it| !it);
    if let Some(tell) = table.get("tell") {
        let words: Vec<(&str, Concern)> = Concern::ALL.iter().map(|it| (it.word(), *it)).collect();
        let mut told: Vec<Concern> = tell.one_or_many().iter().filter_map(|it| it.one_of(&words)).collect();
        if told.contains(&Concern::Burn) {
            // The slow one is the same trouble, told as a warning.
            told.push(Concern::SlowBurn);
        }
        if told.contains(&Concern::Down) {
            // While this host is cut off nothing else is told: who is to know what is down must know that.
            told.push(Concern::CutOff);
        }
        rules.untold = Concern::ALL.iter().copied().filter(|it| !told.contains(it)).collect();
    }
    table.finish(&[]);
}

fn read_name(entry: &Node<'_>, example: &str) -> Option<String> {
    let node = entry.require("name")?;
    let name = node.string()?;
    if name.trim().is_empty() || name.chars().any(|it| it.is_control() || it == '/') {
        let hint = format!("write it as `notify` names it, as in `{example}`");
        node.error_with_hint("`name` must be a short text without `/` and control characters", hint);
        return None;
    }
    Some(name)
}

fn read_names(node: &Node<'_>) -> Option<Vec<String>> {
    let items = node.one_or_many();
    if items.is_empty() || items.len() > NAMES_MAX {
        node.error_with_hint(format!("`{}` must hold from 1 to {NAMES_MAX} names", node.path()), "write `[\"chat\"]`");
        return None;
    }
    items.iter().map(Node::string).collect()
}

fn read_person(entry: &Node<'_>) -> Option<Person> {
    let name = read_name(entry, "alice");
    let notify = entry.require("notify").and_then(|it| read_names(&it));
    entry.finish(&[]);
    Some(Person { name: name?, notify: notify? })
}

fn read_ladder(entry: &Node<'_>) -> Option<Ladder> {
    let name = read_name(entry, "page");
    let steps = entry.require("steps").and_then(|node| {
        let items = node.items();
        if items.is_empty() || items.len() > STEPS_MAX {
            node.error_with_hint(
                format!("a ladder has from 1 to {STEPS_MAX} steps"),
                "write `steps = [{ notify = [\"alice\"] }, { after = \"15m\", notify = [\"bob\"] }]`",
            );
            return None;
        }
        items.iter().enumerate().map(|(at, it)| read_step(it, at == 0)).collect::<Option<Vec<Rung>>>()
    });
    entry.finish(&[]);
    Some(Ladder { name: name?, steps: steps? })
}

fn read_step(entry: &Node<'_>, is_first: bool) -> Option<Rung> {
    if !entry.expect_table() {
        return None;
    }
    let after = match entry.get("after") {
        Some(node) => span(&node, Duration::ZERO, LONGEST),
        None if is_first => Some(Duration::ZERO),
        None => {
            entry.error_with_hint(
                "`after` is missing in a step",
                "say how long after the step before it: `after = \"15m\"`",
            );
            None
        }
    };
    let notify = entry.require("notify").and_then(|it| read_names(&it));
    entry.finish(&[]);
    Some(Rung { after: after?, notify: notify? })
}

fn span(node: &Node<'_>, least: Duration, most: Duration) -> Option<Duration> {
    let found = long_duration(node)?;
    if (least..=most).contains(&found) {
        return Some(found);
    }
    let words = crate::domain::format::duration;
    node.error_with_hint(
        format!("`{}` must be from {} to {}", node.path(), words(least), words(most)),
        "choose a time between the two",
    );
    None
}

/// A duration that may also count weeks: `"1w"`.
fn long_duration(node: &Node<'_>) -> Option<Duration> {
    let weeks = node.raw_str().and_then(|it| it.trim().strip_suffix('w')).and_then(|it| it.trim().parse::<u32>().ok());
    match weeks {
        Some(weeks) => Some(Duration::from_secs(u64::from(weeks) * 7 * 24 * 3600)),
        None => node.duration(),
    }
}

fn read_zone(node: &Node<'_>) -> Option<String> {
    let name = node.string()?;
    if TimeZone::get(&name).is_err() {
        node.error_with_hint(
            format!("unknown time zone `{}`", sanitise::text(&name)),
            "write an IANA name, as in `Europe/Berlin` or `UTC`",
        );
        return None;
    }
    Some(name)
}

/// Reads a point in time: with an offset, or in civil time of the zone.
fn read_time(node: &Node<'_>, zone: &str) -> Option<Timestamp> {
    let text = match node.json()? {
        serde_json::Value::String(text) => text,
        _ => String::new(),
    };
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let civil = || {
        let civil = text.trim().replacen(' ', "T", 1);
        let civil = civil.parse::<DateTime>().ok()?;
        zone.to_timestamp(civil).ok()
    };
    let found = text.parse::<Timestamp>().ok().or_else(civil);
    if found.is_none() {
        node.error_with_hint(
            format!("`{}` is no point in time", sanitise::text(&text)),
            "write `2026-11-22 02:00` (in the zone) or `2026-11-22T02:00:00Z`",
        );
    }
    found
}

fn read_matchers(node: &Node<'_>) -> Option<Vec<Matcher>> {
    let items = node.one_or_many();
    if items.len() > MATCHERS_MAX {
        node.error_with_hint(format!("more than {MATCHERS_MAX} matchers"), "put a label on the probes and match that");
        return None;
    }
    let matcher = |it: &Node<'_>| match it.string()?.parse() {
        Ok(matcher) => Some(matcher),
        Err(message) => {
            let message: String = message;
            it.error_with_hint(message, format!("labels are {} and those of `labels`", quiet::LABELS.join(", ")));
            None
        }
    };
    items.iter().map(matcher).collect()
}

fn read_silence(entry: &Node<'_>, zone: &str) -> Option<Silence> {
    let name = read_name(entry, "flaky-printer");
    let matchers = entry.require("match").and_then(|node| {
        let matchers = read_matchers(&node)?;
        if matchers.is_empty() {
            node.error_with_hint("a silence must match something", "write `match = [\"probe=printer\"]`");
            return None;
        }
        Some(matchers)
    });
    let from = entry.get("from").map_or(Some(Timestamp::UNIX_EPOCH), |it| read_time(&it, zone));
    let until = entry.require("until").and_then(|it| read_time(&it, zone));
    let by = entry.get("by").map_or(Some(BY_CONFIG.to_string()), |it| it.string());
    let comment = entry.get("comment").map_or(Some(String::new()), |it| it.string());
    entry.finish(&[]);
    let (from, until) = (from?, until?);
    if until <= from {
        entry.error_at_key("until", "`until` is not after `from`", Some("turn them round".into()));
        return None;
    }
    Some(Silence { id: name?, matchers: matchers?, from, until, by: by?, comment: comment? })
}

fn read_maintenance(entry: &Node<'_>, zone: &str) -> Option<Maintenance> {
    let name = read_name(entry, "sunday patching");
    let matchers = entry.get("match").map_or(Some(Vec::new()), |it| read_matchers(&it));
    let own_zone = entry.get("zone").map(|it| read_zone(&it));
    let is_zone_good = !matches!(own_zone, Some(None));
    let zone = own_zone.flatten().unwrap_or_else(|| zone.to_string());
    let (at, length) = (entry.get("at"), entry.get("length"));
    let (from, until) = (entry.get("from"), entry.get("until"));
    let window = match (at, length, from, until) {
        (Some(at), Some(length), None, None) => {
            let cron = at.string().and_then(|line| match quiet::check_cron(&line) {
                Ok(()) => Some(line),
                Err(message) => {
                    at.error_with_hint(
                        message,
                        "minute, hour, day of the month, month, day of the week, as in `0 2 * * SUN`",
                    );
                    None
                }
            });
            let length = span(&length, Duration::from_secs(60), LONGEST);
            cron.zip(length).map(|(cron, length)| MaintenanceWindow::Recurring {
                cron,
                length_s: length.as_secs(),
                zone,
            })
        }
        (None, None, Some(from), Some(until)) => {
            let times = read_time(&from, &zone).zip(read_time(&until, &zone));
            if times.is_some_and(|(from, until)| until <= from) {
                until.error_with_hint("`until` is not after `from`", "turn them round");
                None
            } else {
                times.map(|(from, until)| MaintenanceWindow::Once { from, until })
            }
        }
        _ => {
            entry.error_with_hint(
                "a maintenance has either `at` and `length` or `from` and `until`",
                "`at = \"0 2 * * SUN\"` with `length = \"2h\"` comes again, `from` and `until` come once",
            );
            None
        }
    };
    let by = entry.get("by").map_or(Some(BY_CONFIG.to_string()), |it| it.string());
    entry.finish(&[]);
    if !is_zone_good {
        return None;
    }
    Some(Maintenance { name: name?, matchers: matchers?, window: window?, by: by? })
}

fn read_rotation(entry: &Node<'_>, file: &str, zone: &str, known: &[String]) -> (Option<Rotation>, Vec<ConfigError>) {
    let name = read_name(entry, "primary");
    let Some(node) = entry.get("file") else {
        let rotation = read_turns(entry, name, zone, known);
        entry.finish(&[]);
        return (rotation, Vec::new());
    };
    entry.finish(&[]);
    let Some(path) = node.string() else { return (None, Vec::new()) };
    let beside = Path::new(file).parent().unwrap_or(Path::new("")).join(&path);
    let shown = beside.display().to_string();
    node.note_file(&shown);
    let text = match reference::read_file(&shown) {
        Ok(text) => text,
        Err(error) => {
            let path = sanitise::text(&path);
            node.error_with_hint(
                format!("could not read `{path}`: {error}"),
                "a path that is not absolute begins at the config's folder",
            );
            return (None, Vec::new());
        }
    };
    let source = Source::new(&shown, &text);
    let rotation = source.parse().and_then(|root| {
        let rotation = read_turns(&root, name, zone, known);
        root.finish(&[]);
        rotation
    });
    (rotation, source.errors())
}

/// Reads who takes turns and when, inline or from a file of its own.
fn read_turns(table: &Node<'_>, name: Option<String>, zone: &str, known: &[String]) -> Option<Rotation> {
    let own_zone = table.get("zone").map(|it| read_zone(&it));
    let is_zone_good = !matches!(own_zone, Some(None));
    let zone = own_zone.flatten().unwrap_or_else(|| zone.to_string());
    let people = table.require("people").and_then(|node| {
        node.items().iter().for_each(|it| check_name(it, "person", known));
        let people = node.items().iter().map(Node::string).collect::<Option<Vec<String>>>()?;
        if people.is_empty() || people.len() > PEOPLE_MAX {
            node.error_with_hint(
                format!("a rotation has from 1 to {PEOPLE_MAX} people"),
                "name them in the order of their turns",
            );
            return None;
        }
        Some(people)
    });
    let every = table.get("every").map_or(Some(Duration::from_secs(7 * 86_400)), |node| {
        let every = span(&node, Duration::from_secs(3600), LONGEST)?;
        if every.as_secs() % 3600 != 0 {
            node.error_with_hint("a turn lasts whole hours", "write `1w`, `1d` or `12h`");
            return None;
        }
        Some(every)
    });
    let handover = table.get("handover").map_or(Some((None, Time::constant(9, 0, 0, 0))), |it| read_handover(&it));
    let first = table.get("from").map(|node| {
        let found = node.json().and_then(|it| it.as_str().and_then(|it| it.parse::<Date>().ok()));
        if found.is_none() {
            node.error_with_hint("`from` is the date of the first person's turn", "write `2026-01-05`");
        }
        found
    });
    let overrides = table.get("override").map_or(Some(Vec::new()), |node| {
        let items = node.items();
        if items.len() > OVERRIDES_MAX {
            node.error_with_hint(format!("more than {OVERRIDES_MAX} overrides"), "remove those that are past");
            return None;
        }
        items.iter().map(|it| read_override(it, &zone, known)).collect()
    });
    let (weekday, time) = handover?;
    let first = first.map_or(Some(EPOCH), |it| it)?;
    let weekday = weekday.unwrap_or(first.weekday());
    let back = i64::from(first.weekday().since(weekday));
    let from = first.checked_sub(back.days()).ok()?.to_datetime(time);
    if !is_zone_good {
        return None;
    }
    Some(Rotation { name: name?, people: people?, every: every?, from, zone, overrides: overrides? })
}

/// Reads `mon 09:00` or `09:00`.
fn read_handover(node: &Node<'_>) -> Option<(Option<Weekday>, Time)> {
    let text = node.string()?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let time = |it: &str| Time::strptime("%H:%M", it).ok();
    let weekday = |it: &str| WEEKDAYS.iter().find(|(name, _)| it.to_lowercase().starts_with(name)).map(|(_, it)| *it);
    let found = match words.as_slice() {
        [clock] => time(clock).map(|it| (None, it)),
        [day, clock] => weekday(day).zip(time(clock)).map(|(day, it)| (Some(day), it)),
        _ => None,
    };
    if found.is_none() {
        let text = sanitise::text(&text);
        node.error_with_hint(format!("`{text}` is no handover"), "write `mon 09:00`, or `09:00` for a turn of days");
    }
    found
}

fn read_override(entry: &Node<'_>, zone: &str, known: &[String]) -> Option<Override> {
    if !entry.expect_table() {
        return None;
    }
    let person = entry.require("person").and_then(|it| {
        check_name(&it, "person", known);
        it.string()
    });
    let from = entry.require("from").and_then(|it| read_time(&it, zone));
    let until = entry.require("until").and_then(|it| read_time(&it, zone));
    entry.finish(&[]);
    let (from, until) = (from?, until?);
    if until <= from || until.duration_since(from) > SignedDuration::from_hours(24 * 366) {
        entry.error_with_hint("an override ends after it begins, within a year", "turn `from` and `until` round");
        return None;
    }
    Some(Override { person: person?, from, until })
}

/// The names of the entries of a kind as written, also of those with a mistake: one mistake is enough.
fn written(root: &Node<'_>, kind: &str) -> Vec<String> {
    super::names_of(root, kind).into_iter().map(|(name, _)| name).collect()
}

/// Reports a name that nothing has. `what` is what it should be the name of.
fn check_name(node: &Node<'_>, what: &str, known: &[String]) {
    let Some(name) = node.raw_str().filter(|it| !it.contains("${") && !known.iter().any(|known| known == it)) else {
        return;
    };
    let hint = did_you_mean(name, known.iter().map(String::as_str))
        .map_or_else(|| format!("add it as a {what}, or remove the name"), |near| format!("did you mean `{near}`?"));
    node.error_with_hint(format!("there is no {what} `{}`", sanitise::text(name)), hint);
}

/// Reports names that mean two things, and names that mean nothing. What is good goes on without them.
fn check_names(root: &Node<'_>) {
    let listed = |kind: &str, key: &str| -> Vec<Node<'_>> {
        let list = root.peek(kind).filter(Node::is_array).map(|it| it.items()).unwrap_or_default();
        list.iter().filter_map(|it| it.peek(key)).collect()
    };
    let mut known: Vec<String> = Vec::new();
    for kind in ["notifier", "person", "rotation", "ladder"] {
        for node in listed(kind, "name") {
            if let Some(name) = node.raw_str().filter(|it| known.iter().any(|known| known == it)) {
                let message = format!("`{}` is the name of something else that is told", sanitise::text(name));
                node.error_with_hint(
                    message,
                    "notifiers, people, rotations and ladders share their names: choose another",
                );
            }
        }
        known.extend(written(root, kind));
    }
    let mut notify = listed("probe", "notify");
    notify.extend(root.peek("defaults").and_then(|it| it.peek("notify")));
    for name in notify.iter().flat_map(Node::one_or_many) {
        check_name(&name, "notifier, person, rotation or ladder", &known);
    }
    let ladders = written(root, "ladder");
    let rungs: Vec<String> = known.iter().filter(|it| !ladders.contains(it)).cloned().collect();
    for steps in listed("ladder", "steps").iter().filter(|it| it.is_array()) {
        let lists = steps.items().into_iter().filter_map(|it| it.peek("notify"));
        for name in lists.flat_map(|it| it.one_or_many()) {
            check_name(&name, "notifier, person or rotation", &rungs);
        }
    }
    let notifiers = written(root, "notifier");
    for name in listed("person", "notify").iter().flat_map(Node::one_or_many) {
        check_name(&name, "notifier", &notifiers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, errors: &[&str]) -> AlertRules {
        let source = Source::new("c.toml", text);
        let root = source.parse().expect("TOML");
        let found = read("c.toml", &root, Vec::new());
        let said: Vec<String> = source.errors().iter().chain(&found.errors).map(ToString::to_string).collect();
        assert_eq!(said, errors, "{text}");
        found.rules
    }

    const SMS: &str = "[[notifier]]\nname = 'sms'\n[[person]]\nname = 'alice'\nnotify = 'sms'\n";

    #[test]
    fn people_ladders_and_rotations_are_read() {
        let rules = check(
            &format!(
                "{SMS}[[rotation]]\nname = 'primary'\npeople = ['alice']\nevery = '1w'\nhandover = 'mon 09:00'\n\
                 from = 2026-01-07\nzone = 'Europe/Berlin'\n\
                 [[rotation.override]]\nperson = 'alice'\nfrom = '2026-11-22 02:00'\nuntil = 2026-11-23T00:00:00Z\n\
                 [[ladder]]\nname = 'page'\nsteps = [{{ notify = 'primary' }}, {{ after = '15m', notify = ['sms'] }}]\n"
            ),
            &[],
        );
        let rotation = &rules.rotations[0];
        assert_eq!(rotation.from.to_string(), "2026-01-05T09:00:00");
        assert_eq!(rotation.overrides[0].from.to_string(), "2026-11-22T01:00:00Z");
        assert_eq!(rules.ladders[0].steps[1].after, Duration::from_secs(900));
        assert_eq!(rules.people[0].notify, ["sms"]);
    }

    #[test]
    fn silences_and_maintenances_are_read() {
        let rules = check(
            "[alerts]\nzone = 'Asia/Shanghai'\ntell = ['down', 'burn']\n\
             [[silence]]\nname = 'printer'\nmatch = ['probe=printer']\nuntil = '2026-11-22 02:00'\n\
             [[maintenance]]\nname = 'sunday patching'\nmatch = ['group=edge', 'team=~\"core|edge\"']\n\
             at = '0 2 * * SUN'\nlength = '2h'\n\
             [[maintenance]]\nname = 'move'\nfrom = 2026-11-22T00:00:00Z\nuntil = 2026-11-22T04:00:00Z\n",
            &[],
        );
        assert_eq!(rules.silences[0].until.to_string(), "2026-11-21T18:00:00Z");
        let MaintenanceWindow::Recurring { zone, length_s, .. } = &rules.maintenances[0].window else {
            panic!("{:?}", rules.maintenances[0])
        };
        assert_eq!((zone.as_str(), *length_s), ("Asia/Shanghai", 7200));
        assert!(rules.untold.contains(&Concern::Degraded) && !rules.untold.contains(&Concern::Burn));
        assert!(!rules.untold.contains(&Concern::SlowBurn) && !rules.untold.contains(&Concern::CutOff));
    }

    #[test]
    fn mistakes_are_said_where_they_are() {
        check(
            &format!("{SMS}[[person]]\nname = 'sms'\nnotify = 'smss'\n[[probe]]\nnotify = ['alise']\n"),
            &[
                "c.toml:7:8: `sms` is the name of something else that is told (notifiers, people, rotations and ladders share their names: choose another)",
                "c.toml:8:10: there is no notifier `smss` (did you mean `sms`?)",
                "c.toml:10:11: there is no notifier, person, rotation or ladder `alise` (did you mean `alice`?)",
            ],
        );
        check(
            &format!("{SMS}[[rotation]]\nname = 'r'\npeople = ['bob']\nevery = '90m'\nhandover = 'noon'\n"),
            &[
                "c.toml:8:11: there is no person `bob` (add it as a person, or remove the name)",
                "c.toml:9:9: a turn lasts whole hours (write `1w`, `1d` or `12h`)",
                "c.toml:10:12: `noon` is no handover (write `mon 09:00`, or `09:00` for a turn of days)",
            ],
        );
        check(
            "[[maintenance]]\nname = 'm'\nat = '0 2 * *'\nlength = '2h'\n[[silence]]\nname = 's'\nmatch = ['edge']\nuntil = 'soon'\n",
            &[
                "c.toml:3:6: `0 2 * *` is no cron line: Invalid pattern: Pattern must have between 5 and 7 fields. (minute, hour, day of the month, month, day of the week, as in `0 2 * * SUN`)",
                "c.toml:7:10: `edge` is no matcher, write `group=edge`, `probe=~db-.*`, `team!=core` or `host!~lab.*` (labels are probe, group, kind, host, target, phase, concern, severity and those of `labels`)",
                "c.toml:8:9: `soon` is no point in time (write `2026-11-22 02:00` (in the zone) or `2026-11-22T02:00:00Z`)",
            ],
        );
    }

    #[test]
    fn a_rotation_may_stand_in_a_file_beside_the_config() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("config.toml").display().to_string();
        let text = format!("{SMS}[[rotation]]\nname = 'primary'\nfile = 'oncall.toml'\n");
        let read_all = |text: &str| {
            let source = Source::new(&config, text);
            let root = source.parse().expect("TOML");
            let found = read(&config, &root, Vec::new());
            let said = source.errors().iter().chain(&found.errors).map(|it| it.message.clone()).collect::<Vec<_>>();
            (found.rules.rotations, said)
        };
        let (rotations, said) = read_all(&text);
        assert!(rotations.is_empty() && said[0].starts_with("could not read `oncall.toml`"), "{said:?}");
        std::fs::write(folder.path().join("oncall.toml"), "people = ['alice']\nevery = '1d'\nhandoff = '9'\n")
            .expect("written");
        let (rotations, said) = read_all(&text);
        assert_eq!((rotations.len(), said), (1, vec!["unknown key `handoff`".to_string()]));
    }
}
