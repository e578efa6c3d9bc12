//! What messages say: in clear words, since when, why, where on the way, and how many.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use unicode_segmentation::UnicodeSegmentation;

use crate::domain::alert::delivery::{Action, AlertLine, Message};
use crate::domain::alert::names::ranges;
use crate::domain::alert::policy::alert::{Alert, Subject};
use crate::domain::alert::policy::lane::LISTED_MAX;
use crate::domain::alert::{Concern, Severity};
use crate::domain::format;

/// Bytes of a message's text; names beyond it are counted, and `Message::alerts` has them all.
const TEXT_MAX_BYTES: usize = 16 << 10;
/// What messages call a probe that is down.
const DOWN: &str = "DOWN";
/// And a host whose canaries all fail.
const CUT_OFF: &str = "CUT OFF";
/// Characters of a reason in a line; the whole is in the evidence of the probe.
const WHY_MAX: usize = 200;
/// Groups that a title counts; the names are in the text.
const GROUPS_MAX: usize = 8;

/// One thing that a message tells.
#[derive(Debug)]
pub struct Item<'a> {
    /// What of it.
    pub action: Action,
    /// The alert.
    pub alert: &'a Alert,
    /// Why, as it is known now.
    pub why: String,
    /// Nothing was heard of it before: it came and went.
    pub is_unheard: bool,
    /// The probe was degraded until it went down: that this is over is no recovery.
    pub goes_on: bool,
    /// The alerts that share this cause.
    pub children: Vec<(&'a Alert, String)>,
}

/// Makes one message of several things.
pub fn message(now: Timestamp, zone: &TimeZone, items: &[Item<'_>]) -> Message {
    let mut alerts: Vec<AlertLine> = Vec::new();
    for item in items {
        alerts.push(item.alert.line(&item.why));
        alerts.extend(item.children.iter().map(|(it, why)| it.line(why)));
    }
    let severity =
        |open: bool| items.iter().filter(|it| it.alert.ended.is_none() == open).map(|it| it.alert.severity).max();
    let severity = severity(true).or_else(|| severity(false)).unwrap_or(Severity::Info);
    let host = items.first().map(|it| it.alert.host().to_string()).unwrap_or_default();
    let (title, text) = match items {
        [item] => (headline(now, zone, item), whole(now, zone, item)),
        items if items.len() <= LISTED_MAX => {
            let title = counts(items);
            let lines: Vec<String> = items.iter().map(|it| headline(now, zone, it)).collect();
            let parts: Vec<String> = items.iter().map(|it| whole(now, zone, it)).collect();
            (format!("{title}: {}", lines.join("; ")), format!("{title}\n\n{}", parts.join("\n\n")))
        }
        items => storm(now, zone, items),
    };
    Message { title, text, severity, host, alerts, brief: None }
}

/// The names for which a message before had no room.
pub fn continued(now: Timestamp, zone: &TimeZone, items: &[Item<'_>]) -> Message {
    // What was first of all, and how many of which group, stood in the message before: here is room for names.
    let title = format!("continued, {}", counts(items));
    let mut text = format!("{title}\n");
    listed(&mut text, spread(items));
    Message { title, text, ..message(now, zone, items) }
}

/// One line about one thing.
fn headline(now: Timestamp, zone: &TimeZone, item: &Item<'_>) -> String {
    let alert = item.alert;
    // It is told by a canary, and about who watches.
    let name = if is_cut_off(alert) { format!("monitor {}", alert.host()) } else { alert.name() };
    let since = format::moment(now, alert.since, zone);
    let lasted = span(alert, now);
    let why = clip(&item.why, WHY_MAX);
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    let state = state(alert);
    if let Subject::Common { print, .. } = &alert.subject
        && print.is_own()
    {
        let name = print.what_at(alert.host());
        return match item.action {
            Action::Resolve => format!("over after {lasted}: {name}{why}"),
            Action::Acknowledge => {
                let by = alert.acked.as_ref().map_or("somebody", |it| it.by.as_str());
                format!("{name} since {since}: acknowledged by {by}")
            }
            Action::Remind => format!("{name}, still, since {since} ({lasted}){why}"),
            Action::Trigger | Action::Digest | Action::Test | Action::Silence | Action::Unsilence => {
                format!("{name} since {since}{why}")
            }
        };
    }
    let is_lasting = matches!(alert.concern(), Concern::Flapping | Concern::Burn | Concern::SlowBurn | Concern::CutOff);
    match item.action {
        // That it comes and goes no more, or spends no more than it may, does not say that it is up.
        Action::Resolve if item.is_unheard && is_lasting => {
            format!("{name} was {} for {lasted}, no longer", state.to_lowercase())
        }
        Action::Resolve if is_lasting => format!("{name} no longer {} after {lasted}", state.to_lowercase()),
        Action::Resolve if item.goes_on => {
            format!("{name} no longer {} after {lasted}: it is worse", state.to_lowercase())
        }
        Action::Resolve if item.is_unheard => format!("{name} was {} for {lasted}, recovered", state.to_lowercase()),
        Action::Resolve => format!("{name} recovered after {lasted}"),
        Action::Acknowledge => {
            let by = alert.acked.as_ref().map_or("somebody", |it| it.by.as_str());
            format!("{name} acknowledged by {by}: {state} since {since}")
        }
        Action::Remind => format!("{name} still {state} since {since} ({lasted}){why}"),
        Action::Trigger | Action::Digest | Action::Test | Action::Silence | Action::Unsilence => {
            format!("{name} {state} since {since}{why}")
        }
    }
}

/// All that is worth knowing of one thing.
fn whole(now: Timestamp, zone: &TimeZone, item: &Item<'_>) -> String {
    let alert = item.alert;
    let mut text = headline(now, zone, item);
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{name}: {value}");
        }
    };
    put("since", &format!("{} ({})", format::full(alert.since, zone), span(alert, now)));
    if let Some(ended) = alert.ended {
        put("until", &format::full(ended, zone));
    }
    if matches!(item.action, Action::Resolve | Action::Acknowledge) {
        put("why", &clip(&item.why, WHY_MAX));
    }
    for name in ["phase", "target", "group", "kind", "host"] {
        put(name, alert.labels.get(name).map_or("", String::as_str));
    }
    put("severity", alert.severity.word());
    let known = crate::domain::alert::quiet::LABELS;
    let own = alert.labels.iter().filter(|(name, _)| !known.contains(&name.as_str()));
    let own: Vec<String> = own.map(|(name, value)| format!("{name}={value}")).collect();
    put("labels", &own.join(" "));
    put("id", &alert.key);
    if !item.children.is_empty() {
        text.push('\n');
        listed(&mut text, item.children.iter().map(|(it, _)| *it));
    }
    text
}

/// A message about more than can be listed in words: counts by group, then every name.
fn storm(now: Timestamp, zone: &TimeZone, items: &[Item<'_>]) -> (String, String) {
    let mut title = counts(items);
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    for alert in spread(items) {
        *groups.entry(group(alert)).or_default() += 1;
    }
    let mut by_count: Vec<(&str, usize)> = groups.into_iter().filter(|(name, _)| !name.is_empty()).collect();
    by_count.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    if !by_count.is_empty() {
        let shown = by_count.iter().take(GROUPS_MAX);
        let mut parts: Vec<String> = shown.map(|(name, count)| format!("{name} ({count})")).collect();
        if let more @ 1.. = by_count.len().saturating_sub(GROUPS_MAX) {
            parts.push(format::plural(more as u64, "more group"));
        }
        title = format!("{title}: {}", parts.join(", "));
    }
    let mut text = title.clone();
    let first = items.iter().filter(|it| it.alert.ended.is_none()).min_by_key(|it| it.alert.since);
    if let Some(first) = first {
        let _ = write!(text, "\nfirst: {}", headline(now, zone, first));
    }
    for (action, head) in [
        (Action::Trigger, "new"),
        (Action::Remind, "still"),
        (Action::Acknowledge, "acknowledged"),
        (Action::Resolve, "recovered"),
    ] {
        let of: Vec<&Item<'_>> = items.iter().filter(|it| it.action == action).collect();
        if of.is_empty() {
            continue;
        }
        let _ = write!(text, "\n\n{head}: {}\n", of.len());
        let (cut_off, of): (Vec<&Item<'_>>, Vec<&Item<'_>>) = of.into_iter().partition(|it| is_cut_off(it.alert));
        let commons = of.iter().filter(|it| !it.children.is_empty());
        for whole in cut_off.iter().chain(commons) {
            let _ = writeln!(text, "{}", headline(now, zone, whole));
        }
        listed(&mut text, spread_of(&of));
    }
    (title, text)
}

/// Every name, by group, those that count up as a range, as far as there is room.
fn listed<'a>(text: &mut String, alerts: impl Iterator<Item = &'a Alert>) {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for alert in alerts {
        groups.entry(group(alert)).or_default().push(alert.name());
    }
    for (name, names) in groups {
        let head = if name.is_empty() { String::new() } else { format!("{name} ({}): ", names.len()) };
        let _ = write!(text, "{head}");
        let ranges = ranges(names);
        for (at, it) in ranges.iter().enumerate() {
            if text.len() + it.text.len() > TEXT_MAX_BYTES {
                let missing: usize = ranges[at..].iter().map(|it| it.count).sum();
                let _ = write!(text, " and {missing} more: hotseat alerts");
                break;
            }
            let _ = write!(text, "{}{}", if at > 0 { ", " } else { "" }, it.text);
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
}

/// `12 down, 3 recovered`.
fn counts(items: &[Item<'_>]) -> String {
    let probes = |what: &dyn Fn(&Item<'_>) -> bool| -> u64 {
        let of = items.iter().filter(|it| what(it)).map(|it| it.children.len().max(1));
        u64::try_from(of.sum::<usize>()).unwrap_or(u64::MAX)
    };
    let is_over = |it: &Item<'_>| it.action == Action::Resolve;
    let mut parts = Vec::new();
    for (word, action) in [("", Action::Trigger), ("still ", Action::Remind)] {
        let of = |states: &dyn Fn(&str) -> bool| probes(&|it| it.action == action && states(state(it.alert)));
        let (cut_off, down) = (of(&|it| it == CUT_OFF), of(&|it| it == DOWN));
        let other = of(&|it| ![CUT_OFF, DOWN].contains(&it));
        if cut_off > 0 {
            parts.push(format!("monitor {word}{CUT_OFF}"));
        }
        if down > 0 {
            parts.push(format!("{} {word}{DOWN}", format::plural(down, "probe")));
        }
        if other > 0 {
            parts.push(format!("{} {word}in trouble", format::plural(other, "probe")));
        }
    }
    let acknowledged = probes(&|it| it.action == Action::Acknowledge);
    if acknowledged > 0 {
        parts.push(format!("{acknowledged} acknowledged"));
    }
    if items.iter().any(|it| is_over(it) && is_cut_off(it.alert)) {
        parts.push("monitor no longer cut off".to_string());
    }
    let over = probes(&|it| is_over(it) && !it.goes_on && !is_cut_off(it.alert));
    if over > 0 {
        parts.push(format!("{over} recovered"));
    }
    if parts.is_empty() {
        parts.push(format!("{} worse", format::plural(probes(&is_over), "probe")));
    }
    parts.join(", ")
}

fn spread<'a>(items: &'a [Item<'a>]) -> impl Iterator<Item = &'a Alert> {
    items.iter().flat_map(|it| parts(it))
}

fn spread_of<'a>(items: &'a [&'a Item<'a>]) -> impl Iterator<Item = &'a Alert> {
    items.iter().flat_map(|it| parts(it))
}

/// The probes' alerts of one item.
fn parts<'a>(item: &'a Item<'a>) -> Vec<&'a Alert> {
    if item.children.is_empty() { vec![item.alert] } else { item.children.iter().map(|(it, _)| *it).collect() }
}

fn group(alert: &Alert) -> &str {
    alert.labels.get("group").map_or("", String::as_str)
}

/// True for what is about this host, not about the canary that tells it.
fn is_cut_off(alert: &Alert) -> bool {
    alert.concern() == Concern::CutOff
}

/// The state in words; only what is down shouts.
fn state(alert: &Alert) -> &'static str {
    match alert.concern() {
        Concern::Down => DOWN,
        Concern::Degraded => "degraded",
        Concern::Broken => "not checked (the probe is broken)",
        Concern::CutOff => CUT_OFF,
        Concern::Flapping => "flapping",
        Concern::Burn => "burning its error budget",
        Concern::SlowBurn => "slowly burning its error budget",
    }
}

fn span(alert: &Alert, now: Timestamp) -> String {
    format::duration(Duration::try_from(alert.lasted(now)).unwrap_or_default())
}

/// Cuts at a grapheme and says so.
pub fn clip(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_string();
    }
    let mut cut: String = text.graphemes(true).take(max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}
