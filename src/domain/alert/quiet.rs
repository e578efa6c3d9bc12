//! Silences and maintenances: what is not told, and for how long.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use serde::{Deserialize, Serialize};

/// Characters of a matcher's value; a longer one is a list that wants a label.
pub const VALUE_MAX_CHARS: usize = 1_000;
/// Compiled regexes and crons kept at hand: more than the silences of one team.
const COMPILED_MAX: usize = 256;
/// What is said of an acknowledgement that was taken, before what it is of and until when.
pub const ACKNOWLEDGED: &str = "acknowledged";
/// How an answer begins that says that it was taken back.
pub const UNACKNOWLEDGED: &str = "no longer acknowledged:";
/// What is said of a silence that was taken, before what it is of and until when.
pub const SILENCED: &str = "silenced";
/// What is said of a maintenance that was taken, before what it is of and when.
pub const MAINTAINED: &str = "maintenance of";
/// Labels of an alert besides the probe's own.
pub const LABELS: &[&str] = &["probe", "group", "kind", "host", "target", "phase", "concern", "severity"];

/// One condition on a label: `group=edge`, `probe=~"^db-"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matcher {
    /// The label: `probe`, `group`, `kind`, `host` or one of the probe's own.
    pub name: String,
    /// Text, or a regex that must match the whole.
    pub value: String,
    /// `value` is a regex.
    pub is_regex: bool,
    /// False turns it round: `!=`, `!~`.
    pub is_equal: bool,
}

impl Matcher {
    /// True when the labels fit. A missing label is an empty text, as in Alertmanager.
    pub fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        let found = labels.get(&self.name).map_or("", String::as_str);
        let is_same = if self.is_regex {
            // One that cannot be compiled was reported where it was read, and fits nothing either way.
            let Some(is_match) = with_regex(&self.value, |it| it.is_match(found)) else { return false };
            is_match
        } else {
            found == self.value
        };
        is_same == self.is_equal
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (self.is_equal, self.is_regex) {
            (true, false) => "=",
            (false, false) => "!=",
            (true, true) => "=~",
            (false, true) => "!~",
        };
        write!(f, "{}{sign}{}", self.name, self.value)
    }
}

impl FromStr for Matcher {
    type Err = String;

    /// Reads `group=edge`, `group!=edge`, `probe=~db-.*`, `probe!~"db-.*"`.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad =
            || format!("`{text}` is no matcher, write `group=edge`, `probe=~db-.*`, `team!=core` or `host!~lab.*`");
        let at = text.find(['=', '!']).ok_or_else(bad)?;
        let (name, rest) = (text[..at].trim(), &text[at..]);
        let signs =
            [("!=", false, false), ("!~", false, true), ("=~", true, true), ("==", true, false), ("=", true, false)];
        let (sign, is_equal, is_regex) = signs.into_iter().find(|(sign, ..)| rest.starts_with(sign)).ok_or_else(bad)?;
        let value = rest[sign.len()..].trim();
        let unquoted = ['"', '\''].iter().find_map(|it| value.strip_prefix(*it)?.strip_suffix(*it));
        let value = unquoted.unwrap_or(value);
        let is_name = |it: char| it.is_alphanumeric() || matches!(it, '_' | '-' | '.' | ':');
        if name.is_empty() || !name.chars().all(is_name) || value.chars().count() > VALUE_MAX_CHARS {
            return Err(bad());
        }
        if is_regex {
            compile(value).map_err(|error| format!("`{value}` is no regex: {error}"))?;
        }
        Ok(Self { name: name.to_string(), value: value.to_string(), is_regex, is_equal })
    }
}

/// True when all matchers fit.
pub fn all_fit(matchers: &[Matcher], labels: &BTreeMap<String, String>) -> bool {
    matchers.iter().all(|it| it.fits(labels))
}

fn compile(value: &str) -> Result<Regex, String> {
    // The whole must match, as in Alertmanager: `db` is not `db-1`.
    Regex::new(&format!("^(?:{value})$")).map_err(|error| {
        let text = error.to_string();
        text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_string()
    })
}

thread_local! {
    static REGEXES: RefCell<BTreeMap<String, Option<Regex>>> = const { RefCell::new(BTreeMap::new()) };
    static CRONS: RefCell<BTreeMap<String, Option<Cron>>> = const { RefCell::new(BTreeMap::new()) };
}

fn with_regex<T>(value: &str, what: impl FnOnce(&Regex) -> T) -> Option<T> {
    REGEXES.with_borrow_mut(|it| {
        if it.len() >= COMPILED_MAX {
            it.clear();
        }
        it.entry(value.to_string()).or_insert_with(|| compile(value).ok()).as_ref().map(what)
    })
}

fn with_cron<T>(line: &str, what: impl FnOnce(&Cron) -> T) -> Option<T> {
    CRONS.with_borrow_mut(|it| {
        if it.len() >= COMPILED_MAX {
            it.clear();
        }
        it.entry(line.to_string()).or_insert_with(|| line.parse().ok()).as_ref().map(what)
    })
}

/// Checks a cron line.
///
/// # Errors
/// In words.
pub fn check_cron(line: &str) -> Result<(), String> {
    line.parse::<Cron>().map(|_| ()).map_err(|error| format!("`{line}` is no cron line: {error}"))
}

/// Alerts that all matchers fit are not told until it ends. The alerts themselves go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Unique.
    pub id: String,
    /// All must fit; never empty.
    pub matchers: Vec<Matcher>,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub comment: String,
}

impl Silence {
    /// True when it holds at a time.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until && !self.matchers.is_empty()
    }

    /// True when it silences something with these labels at a time.
    pub fn fits(&self, now: Timestamp, labels: &BTreeMap<String, String>) -> bool {
        self.holds(now) && all_fit(&self.matchers, labels)
    }

    /// Its matchers in one line.
    pub fn what(&self) -> String {
        words(&self.matchers)
    }
}

/// Matchers in one line, as they are written.
pub fn words(matchers: &[Matcher]) -> String {
    if matchers.is_empty() {
        return "everything".to_string();
    }
    matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// A time in which work is done: nothing new is told of what fits, recoveries always are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Maintenance {
    /// Unique.
    pub name: String,
    /// All must fit; empty fits everything.
    pub matchers: Vec<Matcher>,
    /// When.
    pub window: MaintenanceWindow,
    /// Who planned it.
    pub by: String,
}

impl Maintenance {
    /// True when it is about something with these labels.
    pub fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        all_fit(&self.matchers, labels)
    }

    /// Its matchers in one line.
    pub fn what(&self) -> String {
        words(&self.matchers)
    }

    /// The window that is open at a time.
    pub fn open_window(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        match &self.window {
            MaintenanceWindow::Once { from, until } => (*from <= now && now < *until).then_some((*from, *until)),
            MaintenanceWindow::Recurring { cron, length_s, zone } => {
                let zone = TimeZone::get(zone).ok()?;
                let length = SignedDuration::from_secs(i64::try_from(*length_s).ok()?);
                let here = now.to_zoned(zone);
                let from = with_cron(cron, |it| it.find_previous_occurrence(&here, true).ok())??.timestamp();
                let until = from.checked_add(length).ok()?;
                (now < until).then_some((from, until))
            }
        }
    }

    /// The first window that begins after a time.
    pub fn next_window(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        match &self.window {
            MaintenanceWindow::Once { from, until } => (now < *from).then_some((*from, *until)),
            MaintenanceWindow::Recurring { cron, length_s, zone } => {
                let zone = TimeZone::get(zone).ok()?;
                let length = SignedDuration::from_secs(i64::try_from(*length_s).ok()?);
                let here = now.to_zoned(zone);
                let from = with_cron(cron, |it| it.find_next_occurrence(&here, false).ok())??.timestamp();
                Some((from, from.checked_add(length).ok()?))
            }
        }
    }

    /// True when no window of it is open or comes any more.
    pub fn is_past(&self, now: Timestamp) -> bool {
        matches!(self.window, MaintenanceWindow::Once { until, .. } if until <= now)
    }
}

/// A name for a maintenance that got none: what it is about and when it begins, `web 11-23 16:02`; one that is taken is
/// counted on.
pub fn name_of(matchers: &[Matcher], from: Timestamp, zone: &TimeZone, is_taken: impl Fn(&str) -> bool) -> String {
    const VALUES_MAX_CHARS: usize = 40;
    let values: Vec<&str> = matchers.iter().map(|it| it.value.as_str()).collect();
    let what = if values.is_empty() { "everything".to_string() } else { values.join(" ") };
    // A name is written on a command line, and `/` and `=` are no part of one.
    let what: String = what.chars().filter(|it| !matches!(it, '/' | '=')).take(VALUES_MAX_CHARS).collect();
    let name = format!("{what} {}", from.to_zoned(zone.clone()).strftime("%m-%d %H:%M"));
    let counted = (2_u64..).map(|it| format!("{name} #{it}"));
    std::iter::once(name.clone()).chain(counted).find(|it| !is_taken(it)).unwrap_or(name)
}

/// When a maintenance is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaintenanceWindow {
    /// Once.
    Once {
        /// From when.
        from: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// Again and again, in civil time.
    Recurring {
        /// When it begins, as a cron line: `0 2 * * SUN`.
        cron: String,
        /// How long it lasts, in seconds.
        length_s: u64,
        /// IANA name of its zone.
        zone: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn labels() -> BTreeMap<String, String> {
        [("probe", "db-1"), ("group", "edge")].into_iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn matchers_are_read_and_fit_as_in_alertmanager() {
        let check = |text: &str, expected: bool| {
            let matcher: Matcher = text.parse().expect(text);
            assert_eq!(matcher.fits(&labels()), expected, "{text}");
            assert_eq!(matcher.to_string().parse(), Ok(matcher), "{text}");
        };
        check("probe=db-1", true);
        check("probe = \"db-1\"", true);
        check("probe!=db-1", false);
        check("probe=~db-.*", true);
        check("probe=~db", false);
        check("probe!~db", true);
        check("team=", true);
        check("team!=core", true);
        check("group=~edge|core", true);
    }

    #[test]
    fn what_is_no_matcher_says_so() {
        for bad in ["", "edge", "=edge", "a b=c", "probe=~(", "probe!edge"] {
            assert!(bad.parse::<Matcher>().is_err(), "{bad}");
        }
        let broken = Matcher { name: "probe".into(), value: "(".into(), is_regex: true, is_equal: false };
        assert!(!broken.fits(&labels()));
    }

    #[test]
    fn a_name_that_nobody_gave_says_what_and_when() {
        let matchers = |texts: &[&str]| texts.iter().map(|it| it.parse().expect("a matcher")).collect::<Vec<_>>();
        let name = |texts: &[&str], taken: &[&str]| {
            name_of(&matchers(texts), at("2026-11-23T16:02:40Z"), &TimeZone::UTC, |it| taken.contains(&it))
        };
        assert_eq!(name(&["probe=web"], &[]), "web 11-23 16:02");
        assert_eq!(name(&["group=edge", "probe=~db/.*"], &[]), "edge db.* 11-23 16:02");
        assert_eq!(name(&[], &["everything 11-23 16:02"]), "everything 11-23 16:02 #2");
    }

    #[test]
    fn a_silence_without_matchers_silences_nothing() {
        let silence = Silence {
            id: "s".into(),
            matchers: Vec::new(),
            from: at("2026-11-22T00:00:00Z"),
            until: at("2026-11-23T00:00:00Z"),
            by: "bob".into(),
            comment: String::new(),
        };
        assert!(!silence.fits(at("2026-11-22T12:00:00Z"), &labels()));
        let silence = Silence { matchers: vec!["group=edge".parse().expect("matcher")], ..silence };
        assert!(silence.fits(at("2026-11-22T00:00:00Z"), &labels()));
        assert!(!silence.fits(at("2026-11-23T00:00:00Z"), &labels()));
    }

    #[test]
    fn a_recurring_window_keeps_its_civil_time() {
        let maintenance = Maintenance {
            name: "patching".into(),
            matchers: Vec::new(),
            window: MaintenanceWindow::Recurring {
                cron: "0 2 * * SUN".into(),
                length_s: 7200,
                zone: "Asia/Shanghai".into(),
            },
            by: "config".into(),
        };
        let open = (at("2026-11-21T18:00:00Z"), at("2026-11-21T20:00:00Z"));
        assert_eq!(maintenance.open_window(at("2026-11-21T17:59:59Z")), None);
        assert_eq!(maintenance.next_window(at("2026-11-21T17:59:59Z")), Some(open));
        assert_eq!(maintenance.open_window(open.0), Some(open));
        assert_eq!(maintenance.open_window(at("2026-11-21T19:59:59Z")), Some(open));
        assert_eq!(maintenance.open_window(open.1), None);
        assert!(check_cron("0 2 * * SUN").is_ok());
        assert!(check_cron("at two").is_err());
    }

    #[test]
    fn a_recurring_window_opens_once_where_clocks_change() {
        let maintenance = Maintenance {
            name: "patching".into(),
            matchers: Vec::new(),
            window: MaintenanceWindow::Recurring {
                cron: "30 2 * * *".into(),
                length_s: 3600,
                zone: "Europe/Berlin".into(),
            },
            by: "config".into(),
        };
        // 02:30 does not happen in spring: it opens when the gap ends. In autumn it happens twice: the first counts.
        for (from, until, before, behind) in [
            ("2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z", "2026-03-29T00:59:59Z", "2026-03-29T02:00:01Z"),
            ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T00:29:59Z", "2026-10-25T01:40:00Z"),
        ] {
            let open = Some((at(from), at(until)));
            assert_eq!(maintenance.next_window(at(before)), open);
            assert_eq!(maintenance.open_window(at(before)), None);
            assert_eq!(maintenance.open_window(at(from)), open);
            assert_eq!(maintenance.open_window(at(until) - SignedDuration::from_secs(1)), open);
            assert_eq!(maintenance.open_window(at(behind)), None);
        }
    }
}
