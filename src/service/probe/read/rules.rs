//! Reads how a probe is counted, grouped and told, and checks what its `after` names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::domain::alert::Severity;
use crate::domain::config_error::did_you_mean;
use crate::domain::probe::health::{ATTEMPTS_MAX, Mode};
use crate::domain::probe::{ProbeRules, Slo};
use crate::registry::node::Node;
use crate::registry::value::parse_duration;
use crate::service::probe::ProbeSpec;
use crate::service::probe::read::either;

/// Names in `after` and `notify`: who needs more has a group or a ladder in mind.
const NAMES_MAX: usize = 32;
/// Labels of one probe; each travels with every message.
const LABELS_MAX: usize = 32;
/// Shortest time an objective is about: below it one failed check spends the budget.
const SLO_SHORTEST: Duration = Duration::from_secs(24 * 3600);
/// Longest time an objective is about: a quarter.
const SLO_LONGEST: Duration = Duration::from_secs(92 * 24 * 3600);
/// Attempts of the Nagios mode when nothing is said, as in the files that Nagios comes with.
const ATTEMPTS: u8 = 3;

/// Keys that may stand in `[defaults]` too.
pub const DEFAULTS: &[&str] = &["group", "notify", "severity", "labels", "slo", "baseline", "mode", "max_attempts"];

/// Reads the keys of one entry; `None` after a mistake of its own.
pub(super) fn read(entry: &Node<'_>, defaults: Option<&Node<'_>>) -> Option<ProbeRules> {
    let group = either(entry, defaults, "group", None, |it| word(it, "group").map(Some));
    let notify = either(entry, defaults, "notify", Vec::new(), names);
    let said = entry.peek("notify").or_else(|| defaults.and_then(|it| it.peek("notify")));
    let untold = said.is_some_and(|it| it.one_or_many().is_empty());
    let severity = either(entry, defaults, "severity", Severity::default(), severity);
    let slo = either(entry, defaults, "slo", None, |it| slo(it).map(Some));
    let baseline = either(entry, defaults, "baseline", false, |it| it.boolean());
    let labels = read_labels(entry, defaults);
    let after = entry.get("after").map_or(Some(Vec::new()), |it| names(&it));
    let canary = entry.get("canary").map_or(Some(false), |it| it.boolean());
    let near = entry.get("near").map_or(Some(None), |it| it.boolean().map(Some));
    Some(ProbeRules {
        group: group?,
        after: after?,
        untold,
        notify: notify?,
        severity: severity?,
        labels: labels?,
        canary: canary?,
        near: near?,
        slo: slo?,
        baseline: baseline?,
    })
}

/// Reads `mode` and `max_attempts`.
pub(super) fn read_mode(entry: &Node<'_>, defaults: Option<&Node<'_>>) -> Option<Mode> {
    let words = [("window", false), ("nagios", true)];
    let is_nagios = either(entry, defaults, "mode", false, |it| it.one_of(&words));
    let attempts = either(entry, defaults, "max_attempts", ATTEMPTS, |it| {
        it.integer(1..i64::from(ATTEMPTS_MAX) + 1).and_then(|it| u8::try_from(it).ok())
    });
    let (is_nagios, max_attempts) = (is_nagios?, attempts?);
    if !is_nagios && let Some(node) = entry.peek("max_attempts") {
        node.error_with_hint(
            "`max_attempts` is of the Nagios mode",
            "add `mode = \"nagios\"`, or say it as a window: `fail = \"3/3\"`",
        );
        return None;
    }
    Some(if is_nagios { Mode::Nagios { max_attempts } } else { Mode::Window })
}

fn word(node: &Node<'_>, key: &str) -> Option<String> {
    let text = node.string()?;
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        node.error_with_hint(
            format!("`{key}` must be a short text without control characters"),
            "write it as it should stand on the screen, as in `edge`",
        );
        return None;
    }
    Some(text)
}

fn names(node: &Node<'_>) -> Option<Vec<String>> {
    let items = node.one_or_many();
    if items.len() > NAMES_MAX {
        node.error_with_hint(
            format!("more than {NAMES_MAX} names"),
            "put something between that stands for them: a ladder, or one probe of the whole group",
        );
        return None;
    }
    let mut found: Vec<String> = Vec::with_capacity(items.len());
    for item in items {
        let name = word(&item, "name")?;
        if found.contains(&name) {
            item.error_with_hint(format!("`{name}` stands here twice"), "take one of them out");
            return None;
        }
        found.push(name);
    }
    Some(found)
}

fn severity(node: &Node<'_>) -> Option<Severity> {
    let all = [Severity::Critical, Severity::Error, Severity::Warning, Severity::Info];
    node.one_of(&all.map(|it| (it.word(), it)))
}

/// The probe's own labels above those of the defaults, one by one.
fn read_labels(entry: &Node<'_>, defaults: Option<&Node<'_>>) -> Option<BTreeMap<String, String>> {
    let mut labels = defaults.and_then(|it| it.get("labels")).and_then(|it| labels_of(&it)).unwrap_or_default();
    if let Some(own) = entry.get("labels") {
        labels.extend(labels_of(&own)?);
    }
    Some(labels)
}

fn labels_of(table: &Node<'_>) -> Option<BTreeMap<String, String>> {
    if !table.expect_table() {
        return None;
    }
    let keys = table.keys();
    if keys.len() > LABELS_MAX {
        table.error_with_hint(format!("more than {LABELS_MAX} labels"), "keep those that somebody matches by");
        return None;
    }
    let mut labels = BTreeMap::new();
    for (key, span) in keys {
        // The grammar of Prometheus and Alertmanager, where labels travel to.
        let is_first = |it: char| it.is_ascii_alphabetic() || it == '_';
        let good = key.starts_with(is_first) && key.chars().all(|it| is_first(it) || it.is_ascii_digit());
        if !good {
            let hint = "write letters, digits and `_`, as in `team`".to_string();
            table.error_at(span, format!("`{key}` is no name for a label"), Some(hint));
            return None;
        }
        let value = word(&table.get(&key)?, &key)?;
        labels.insert(key, value);
    }
    Some(labels)
}

/// Reads `99.9% / 30d`.
fn slo(node: &Node<'_>) -> Option<Slo> {
    let text = node.string()?;
    let fail = |message: String| {
        node.error_with_hint(message, "write a share and a time, as in `99.9% / 30d`");
        None
    };
    let Some((share, over)) = text.split_once('/') else {
        return fail(format!("`{text}` is not an objective of the form `SHARE / TIME`"));
    };
    let percent = share.trim().strip_suffix('%').and_then(|it| it.trim().parse::<f64>().ok());
    let Some(percent) = percent.filter(|it| *it > 0.0 && *it < 100.0) else {
        return fail(format!("`{}` is not a share above 0% and below 100%", share.trim()));
    };
    let over = match parse_duration(over) {
        Ok(over) => over,
        Err(message) => return fail(message),
    };
    if !(SLO_SHORTEST..=SLO_LONGEST).contains(&over) {
        return fail("the time of an objective must be from 1d to 92d".into());
    }
    Some(Slo { share: percent / 100.0, over })
}

/// Checks the names in `after` of all probes; what is wrong is reported and left out.
///
/// The probe itself goes on: without the dependency it pages once too often, without the probe not at all.
pub fn check_after(root: &Node<'_>, probes: &mut [ProbeSpec]) {
    let Some(list) = root.peek("probe").filter(Node::is_array) else { return };
    // The name of an entry with another mistake is no mistake here.
    let entries: Vec<(String, Node<'_>)> =
        list.items().into_iter().filter_map(|it| Some((it.peek("name")?.raw_str()?.to_string(), it))).collect();
    let known: BTreeSet<String> =
        entries.iter().map(|(name, _)| name.clone()).chain(probes.iter().map(|it| it.name.clone())).collect();
    for probe in probes.iter_mut() {
        let node = entries.iter().find(|(name, _)| *name == probe.name).and_then(|(_, it)| it.peek("after"));
        let items = node.as_ref().map(Node::one_or_many).unwrap_or_default();
        let mut position = 0;
        probe.rules.after.retain(|parent| {
            let item = items.get(position);
            position += 1;
            if known.contains(parent) {
                return true;
            }
            let hint = did_you_mean(parent, known.iter().map(String::as_str)).map_or_else(
                || "name another `[[probe]]` of this file".into(),
                |near| format!("did you mean `{near}`?"),
            );
            if let Some(item) = item {
                item.error_with_hint(format!("`after` names no probe: `{parent}`"), hint);
            }
            false
        });
    }
    while let Some(circle) = circle(probes) {
        // Told where the first of its probes stands in the file; that edge is cut.
        let (first, next) = (&circle[0], circle.get(1).unwrap_or(&circle[0]));
        let way: Vec<String> = circle.iter().chain([first]).map(|it| format!("`{it}`")).collect();
        if let Some(node) = entries.iter().find(|(name, _)| name == first).and_then(|(_, it)| it.peek("after")) {
            node.error_with_hint(
                format!("`after` goes in a circle: {}", way.join(" after ")),
                "take one of them out: what everything else depends on comes after nothing",
            );
        }
        let Some(probe) = probes.iter_mut().find(|it| it.name == *first) else { return };
        probe.rules.after.retain(|it| it != next);
    }
}

/// A circle of dependencies, from its first probe in the file on; `None` when there is none.
fn circle(probes: &[ProbeSpec]) -> Option<Vec<String>> {
    let parents: BTreeMap<&str, &[String]> =
        probes.iter().map(|it| (it.name.as_str(), it.rules.after.as_slice())).collect();
    probes.iter().find_map(|probe| way_back(&parents, &probe.name))
}

/// The way from a probe over its parents back to itself, without the last step.
fn way_back(parents: &BTreeMap<&str, &[String]>, start: &str) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut ways = vec![vec![start.to_string()]];
    while let Some(way) = ways.pop() {
        let Some(last) = way.last() else { continue };
        for parent in parents.get(last.as_str()).copied().unwrap_or_default() {
            if parent == start {
                return Some(way);
            }
            if seen.insert(parent.clone()) {
                let mut longer = way.clone();
                longer.push(parent.clone());
                ways.push(longer);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn parse(text: &str) -> (Vec<ProbeSpec>, Vec<String>) {
        let (config, errors) = config::parse("c.toml", text);
        // Whether there is such a notifier is another reader's business.
        let errors = errors.iter().map(ToString::to_string).filter(|it| !it.contains("there is no notifier"));
        (config.probes, errors.collect())
    }

    fn probe(name: &str, more: &str) -> String {
        format!("[[probe]]\nname = \"{name}\"\ntcp = \"h:1\"\n{more}\n")
    }

    #[test]
    fn every_key_is_read_and_the_defaults_give_way() {
        let text = format!(
            "[defaults]\nnotify = [\"chat\"]\nseverity = \"warning\"\nlabels = {{ team = \"core\", site = \"a\" }}\n{}{}",
            probe("db", ""),
            probe(
                "api",
                "group = \"edge\"\nafter = [\"db\"]\nnotify = [\"page\", \"chat\"]\nseverity = \"error\"\n\
                 labels = { site = \"b\" }\ncanary = true\nslo = \"99.9% / 30d\"\nbaseline = true\n\
                 mode = \"nagios\"\nmax_attempts = 4",
            ),
        );
        let (probes, errors) = parse(&text);
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!((probes[0].rules.notify.join(" "), probes[0].rules.severity), ("chat".into(), Severity::Warning));
        let rules = &probes[1].rules;
        assert_eq!((rules.group.as_deref(), rules.after.join(" ").as_str()), (Some("edge"), "db"));
        assert_eq!((rules.notify.join(" ").as_str(), rules.severity), ("page chat", Severity::Error));
        let labels: Vec<String> = rules.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(labels, ["site=b", "team=core"]);
        assert!(rules.canary && rules.baseline);
        let slo = rules.slo.expect("an objective");
        assert!((slo.share - 0.999).abs() < 1e-9 && slo.over.as_secs() == 30 * 86_400);
        assert_eq!(probes[1].thresholds.mode, Mode::Nagios { max_attempts: 4 });
    }

    #[test]
    fn every_mistake_has_a_position_and_a_hint() {
        for (more, wanted) in [
            (
                "severity = \"hihg\"",
                "c.toml:4:12: unknown value `hihg` for `probe.severity` (write one of critical, error, warning, info)",
            ),
            (
                "slo = \"99.9%\"",
                "c.toml:4:7: `99.9%` is not an objective of the form `SHARE / TIME` (write a share and a time, as in `99.9% / 30d`)",
            ),
            (
                "slo = \"100% / 30d\"",
                "c.toml:4:7: `100%` is not a share above 0% and below 100% (write a share and a time, as in `99.9% / 30d`)",
            ),
            (
                "slo = \"99% / 1h\"",
                "c.toml:4:7: the time of an objective must be from 1d to 92d (write a share and a time, as in `99.9% / 30d`)",
            ),
            (
                "labels = { \"a-b\" = \"c\" }",
                "c.toml:4:12: `a-b` is no name for a label (write letters, digits and `_`, as in `team`)",
            ),
            ("notify = [\"a\", \"a\"]", "c.toml:4:16: `a` stands here twice (take one of them out)"),
            (
                "max_attempts = 2",
                "c.toml:4:16: `max_attempts` is of the Nagios mode (add `mode = \"nagios\"`, or say it as a window: `fail = \"3/3\"`)",
            ),
        ] {
            let (probes, errors) = parse(&probe("a", more));
            assert_eq!(errors, [wanted], "{more}");
            assert!(probes.is_empty(), "{more}");
        }
    }

    #[test]
    fn after_names_a_probe_that_exists_also_one_with_a_mistake() {
        let (probes, errors) = parse(&format!("{}{}", probe("storage", ""), probe("api", "after = [\"storge\"]")));
        assert_eq!(errors, ["c.toml:8:10: `after` names no probe: `storge` (did you mean `storage`?)"]);
        assert!(probes[1].rules.after.is_empty(), "it goes on without");
        let (_, errors) =
            parse(&format!("{}{}", probe("storage", "fail = \"9\""), probe("api", "after = \"storage\"")));
        assert_eq!(errors.len(), 1, "{errors:?}");
    }

    #[test]
    fn a_circle_is_told_once_and_cut() {
        let (probes, errors) = parse(&format!(
            "{}{}{}",
            probe("a", "after = [\"b\"]"),
            probe("b", "after = [\"c\"]"),
            probe("c", "after = [\"a\"]")
        ));
        assert_eq!(
            errors,
            [
                "c.toml:4:9: `after` goes in a circle: `a` after `b` after `c` after `a` (take one of them out: what everything else depends on comes after nothing)"
            ]
        );
        assert_eq!(probes.iter().map(|it| it.rules.after.len()).sum::<usize>(), 2);
        let (_, errors) = parse(&probe("a", "after = [\"a\"]"));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("`a` after `a`"), "{errors:?}");
    }
}
