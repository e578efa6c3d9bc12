//! Reads one `[[notifier]]`: its kind, and when and how often it is used.

use std::time::Duration;

use crate::domain::alert::Severity;
use crate::domain::alert::rules::{LIMIT_MAX, Limit, NotifierRule};
use crate::domain::config_error::did_you_mean;
use crate::domain::sanitise;
use crate::registry;
use crate::registry::node::Node;
use crate::registry::value;
use crate::service::notify::veiled::veiled;
use crate::service::notify::{KINDS, Notifier, NotifierSpec};
use crate::service::veil::Veil;

/// Longest wait for other alerts to join a message: a page is urgent.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// Shortest time between reminders and before a fallback: what comes faster is a flood.
const PACE_MIN: Duration = Duration::from_secs(1);
/// Longest time of a limit, between reminders and before a fallback.
const PACE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a first message waits for others when nothing is said: a storm arrives within seconds.
const WAIT: Duration = Duration::from_secs(10);
/// How long a message may stay undelivered when nothing is said.
const FALLBACK_AFTER: Duration = Duration::from_secs(60);
/// Deadline of one attempt when nothing is said: some channels need seconds, and what hangs holds up the next.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Longest deadline of one attempt.
const TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// Reminders that can be listed; the pace of the last one goes on.
const REMINDERS_MAX: usize = 16;

/// Keys of a `[[notifier]]` besides its kind.
const COMMON: &[&str] =
    &["name", "limit", "wait", "remind", "fallback", "fallback_after", "resolve", "least", "timeout"];

/// Reads one `[[notifier]]` of `root`. Mistakes are reported through the nodes.
pub fn read(entry: &Node<'_>, root: &Node<'_>) -> Option<NotifierSpec> {
    hide_secrets(entry);
    let name = entry.require("name").and_then(|it| read_name(&it));
    let rule = read_rule(entry, root, name.as_deref().unwrap_or_default());
    let timeout = entry.get("timeout").map_or(Some(TIMEOUT), |it| span(&it, PACE_MIN, TIMEOUT_MAX));
    // Last of the keys: what nobody else took may be a misspelt kind.
    let (kind, secrets) = entry.referred_in(|| {
        let (kind, node) = registry::pick(entry, "notifier", KINDS)?;
        (kind.build)(&node).map(|notifier| (kind.name, notifier))
    });
    entry.finish(&[]);
    let (kind, notifier): (_, Box<dyn Notifier>) = kind?;
    let notifier = veiled(notifier, Veil::new(secrets));
    let (name, mut rule) = (name?, rule?);
    rule.kind = kind.to_string();
    rule.segments = notifier.segments();
    if entry.peek("wait").is_none() && rule.kind == "alertmanager" {
        // It groups by itself, and better: it sees what others send.
        rule.wait = Duration::ZERO;
    }
    Some(NotifierSpec { name, kind, notifier: notifier.into(), rule, timeout: timeout? })
}

/// Keeps what is or may be a secret out of the lines that mistakes are shown with, also below a misspelt kind.
fn hide_secrets(entry: &Node<'_>) {
    fn hide(node: &Node<'_>) {
        node.hide();
        if node.is_array() {
            node.items().iter().for_each(hide);
        }
        for (key, _) in node.keys() {
            let is_open = matches!(
                key.as_str(),
                "account"
                    | "from"
                    | "to"
                    | "host"
                    | "port"
                    | "tls"
                    | "method"
                    | "service"
                    | "region"
                    | "labels"
                    | "click"
            );
            if let (Some(value), false) = (node.peek(&key), is_open) {
                hide(&value);
            }
        }
    }
    for (key, _) in entry.keys() {
        // A program and what it is called with are no secret: those belong into a file that it reads.
        let is_open = COMMON.contains(&key.as_str()) || matches!(key.as_str(), "command" | "terminal");
        if let (Some(value), false) = (entry.peek(&key), is_open) {
            hide(&value);
        }
    }
}

fn read_name(node: &Node<'_>) -> Option<String> {
    let name = node.string()?;
    if name.trim().is_empty() || name.chars().any(|it| it.is_control() || it == '/') {
        node.error_with_hint(
            "`name` must be a short text without `/` and control characters",
            "write what `notify` lists name it by, as in `page`",
        );
        return None;
    }
    Some(name)
}

fn read_rule(entry: &Node<'_>, root: &Node<'_>, name: &str) -> Option<NotifierRule> {
    let limit = entry.get("limit").map(|it| read_limit(&it));
    let wait = entry.get("wait").map_or(Some(WAIT), |it| span(&it, Duration::ZERO, WAIT_MAX));
    let remind = entry.get("remind").map_or(Some(Vec::new()), |it| read_reminders(&it));
    let fallback = entry.get("fallback").map(|it| read_fallback(&it, root, name));
    let fallback_after = entry.get("fallback_after").map_or(Some(FALLBACK_AFTER), |it| span(&it, PACE_MIN, PACE_MAX));
    let resolve = entry.get("resolve").map_or(Some(true), |it| it.boolean());
    let words = [Severity::Info, Severity::Warning, Severity::Error, Severity::Critical].map(|it| (it.word(), it));
    let least = entry.get("least").map_or(Some(Severity::Info), |it| it.one_of(&words));
    Some(NotifierRule {
        name: name.to_string(),
        kind: String::new(),
        limit: limit.map_or(Some(None), |it| it.map(Some))?,
        wait: wait?,
        remind: remind?,
        fallback: fallback.map_or(Some(None), |it| it.map(Some))?,
        fallback_after: fallback_after?,
        resolve: resolve?,
        least: least?,
        segments: None,
    })
}

/// Reads `"5 / 10m"`.
fn read_limit(node: &Node<'_>) -> Option<Limit> {
    let text = node.string()?;
    let parts = text.split_once('/').map(|(count, per)| (count.trim().parse(), value::parse_duration(per.trim())));
    match parts {
        Some((Ok(count @ 1..=LIMIT_MAX), Ok(per))) if (PACE_MIN..=PACE_MAX).contains(&per) => {
            Some(Limit { count, per })
        }
        _ => {
            node.error_with_hint(
                format!("`{}` is no limit", sanitise::text(&text)),
                format!("write how many in how long, as in `\"5 / 10m\"`: at most {LIMIT_MAX}, in 1 s to 7 d"),
            );
            None
        }
    }
}

fn read_reminders(node: &Node<'_>) -> Option<Vec<Duration>> {
    let items = node.one_or_many();
    if items.len() > REMINDERS_MAX {
        node.error_with_hint(
            format!("more than {REMINDERS_MAX} reminders"),
            "the pace of the last one goes on by itself",
        );
        return None;
    }
    items.iter().map(|it| span(it, PACE_MIN, PACE_MAX)).collect()
}

fn span(node: &Node<'_>, least: Duration, most: Duration) -> Option<Duration> {
    let found = node.duration()?;
    if (least..=most).contains(&found) {
        return Some(found);
    }
    let words = |it: Duration| crate::domain::format::duration(it);
    node.error_with_hint(
        format!("`{}` must be from {} to {}", node.path(), words(least), words(most)),
        "choose a time between the two, or leave the key out",
    );
    None
}

/// Reads `fallback`: another notifier, and no ring of them.
fn read_fallback(node: &Node<'_>, root: &Node<'_>, name: &str) -> Option<String> {
    let chosen = node.string()?;
    let all = root.peek("notifier").filter(Node::is_array).map(|it| it.items()).unwrap_or_default();
    let text = |entry: &Node<'_>, key: &str| entry.peek(key).and_then(|it| it.raw_str().map(str::to_string));
    let known: Vec<(String, Option<String>)> =
        all.iter().filter_map(|it| Some((text(it, "name")?, text(it, "fallback")))).collect();
    let next = |name: &str| known.iter().find(|(it, _)| it == name).map(|(_, fallback)| fallback.clone());
    let mut at = chosen.clone();
    // No chain is longer than there are notifiers, unless it is a ring that this one is not part of.
    for step in 0..=known.len() {
        if at == name {
            node.error_with_hint(
                if step == 0 { format!("`{name}` falls back to itself") } else { "the fallbacks form a ring".into() },
                "let the last one of a chain have no `fallback`",
            );
            return None;
        }
        match next(&at) {
            None if step == 0 => {
                let near = did_you_mean(&chosen, known.iter().map(|(it, _)| it.as_str()).filter(|it| *it != name));
                let hint = near.map_or_else(
                    || format!("add a `[[notifier]]` with `name = \"{}\"`", sanitise::text(&chosen)),
                    |near| format!("did you mean `{near}`?"),
                );
                node.error_with_hint(format!("there is no notifier `{}`", sanitise::text(&chosen)), hint);
                return None;
            }
            Some(Some(further)) => at = further,
            None | Some(None) => break,
        }
    }
    Some(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::node::Source;

    fn check(text: &str, errors: &[&str]) -> Vec<NotifierSpec> {
        let source = Source::new("c.toml", text);
        let root = source.parse().expect("TOML");
        let list = root.get("notifier").expect("notifiers");
        let found = list.items().iter().filter_map(|it| read(it, &root)).collect();
        let said: Vec<String> = source.errors().iter().map(ToString::to_string).collect();
        assert_eq!(said, errors, "{text}");
        found
    }

    #[test]
    fn the_example_of_every_kind_is_accepted_where_its_variables_are_set() {
        for kind in KINDS {
            let mut text = kind.example.to_string();
            for (name, value) in [
                ("SLACK_WEBHOOK", "https://hooks.slack.com/services/T1/B1/X"),
                ("PD_ROUTING_KEY", "0123456789abcdef0123456789abcdef"),
                ("TWILIO_TOKEN", "token"),
                ("SMTP_PASSWORD", "password"),
                ("NTFY_TOKEN", "tk_token"),
                ("HOOK_SECRET", "secret"),
            ] {
                text = text.replace(&format!("${{env:{name}}}"), value);
            }
            assert_eq!(check(&text, &[]).len(), 1, "{text}");
        }
    }

    const SMALL: &str = "[[notifier]]\nname = 'a'\nntfy = 'https://ntfy.sh/oncall'\n";

    #[test]
    fn a_notifier_needs_a_name_and_a_kind() {
        let spec = &check(SMALL, &[])[0];
        assert_eq!((spec.name.as_str(), spec.kind, spec.rule.wait), ("a", "ntfy", WAIT));
        assert!(spec.rule.resolve && spec.rule.remind.is_empty() && spec.rule.limit.is_none());
    }

    #[test]
    fn limits_and_reminders_are_read_with_their_units() {
        let text = format!("{SMALL}limit = '5 / 10m'\nremind = ['10m', '1h']\nwait = '0s'\nleast = 'error'\n");
        let rule = &check(&text, &[])[0].rule;
        assert_eq!(rule.limit, Some(Limit { count: 5, per: Duration::from_secs(600) }));
        assert_eq!(rule.remind, [Duration::from_secs(600), Duration::from_secs(3600)]);
        assert_eq!((rule.wait, rule.least), (Duration::ZERO, Severity::Error));
        check(
            &format!("{SMALL}limit = 'many'\n"),
            &[
                "c.toml:4:9: `many` is no limit (write how many in how long, as in `\"5 / 10m\"`: at most 1000, in 1 s to 7 d)",
            ],
        );
    }

    #[test]
    fn a_fallback_is_another_notifier_and_no_ring() {
        let two = |first: &str, second: &str| {
            format!("{SMALL}fallback = '{first}'\n[[notifier]]\nname = 'mail'\nntfy = 'https://ntfy.sh/b'\n{second}")
        };
        assert_eq!(check(&two("mail", ""), &[]).len(), 2);
        check(&two("mial", ""), &["c.toml:4:12: there is no notifier `mial` (did you mean `mail`?)"]);
        check(
            &two("a", ""),
            &["c.toml:4:12: `a` falls back to itself (let the last one of a chain have no `fallback`)"],
        );
        let ring = "the fallbacks form a ring (let the last one of a chain have no `fallback`)";
        check(&two("mail", "fallback = 'a'\n"), &[&format!("c.toml:4:12: {ring}"), &format!("c.toml:8:12: {ring}")]);
    }

    #[test]
    fn a_mistake_shows_no_secret_of_its_line() {
        for kind in ["ntfy = { url = 'https://x/t', token = 'tk_s3cret', topik = 1 }", "slaack = 'https://s3cret/x'"] {
            let text = format!("[[notifier]]\nname = 'a'\n{kind}\n");
            let source = Source::new("c.toml", &text);
            let root = source.parse().expect("TOML");
            let entry = &root.get("notifier").expect("notifiers").items()[0];
            read(entry, &root);
            let errors = source.errors();
            assert!(!errors.is_empty());
            assert!(!format!("{errors:?}").contains("s3cret"), "{errors:?}");
        }
    }

    #[test]
    fn a_secret_is_hidden_whose_beginning_is_hidden_as_well() {
        let text = "[[notifier]]\nname = 'a'\ntwilio = { url = 'https://x.example' }\n\
                    [[notifier]]\nname = 'b'\nslack = 'https://x.example/s3cret'\n";
        let source = Source::new("c.toml", text).with_exposed(true);
        let root = source.parse().expect("TOML");
        for entry in root.get("notifier").expect("notifiers").items() {
            read(&entry, &root);
        }
        let said = format!("{:?}", source.errors());
        assert!(said.contains("slack = '**") && !said.contains("s3cret"), "{said}");
    }

    #[test]
    fn a_secret_written_out_in_a_file_for_all_is_refused_and_only_that_entry() {
        let text = "[[notifier]]\nname = 'a'\nntfy = 'https://ntfy.sh/s3cret'\n\
                    [[notifier]]\nname = 'b'\nntfy = { url = 'https://ntfy.sh/t', token = '${env:PATH}' }\n";
        let source = Source::new("c.toml", text).with_exposed(true);
        let root = source.parse().expect("TOML");
        let list = root.get("notifier").expect("notifiers").items();
        let kept: Vec<_> = list.iter().filter_map(|it| read(it, &root)).map(|it| it.name).collect();
        assert_eq!(kept, ["b"]);
        let errors = source.errors();
        assert!(errors.len() == 1 && errors[0].to_string().contains("chmod 600"), "{errors:?}");
        assert!(!format!("{errors:?}").contains("s3cret"));
    }
}
