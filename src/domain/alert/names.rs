//! Writes many names short, and as many of them as fit: `svc-001..200`.

use std::fmt::Write as _;

use crate::domain::alert::delivery::{AlertLine, Message};
use crate::domain::sanitise;

/// Names that follow each other before they become a range; two are as short as they are.
const RANGE_MIN: usize = 3;
/// Digits of a number that is counted; a longer one is an id.
const DIGITS_MAX: usize = 15;

/// A name, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// As it is written: `api`, `svc-001..200`, `web{1..20}.lan`.
    pub text: String,
    /// How many it stands for.
    pub count: usize,
}

/// Sorts names, each once, and writes those that differ in a number that counts up as one range.
pub fn ranges(names: impl IntoIterator<Item = String>) -> Vec<Names> {
    let mut parts: Vec<Parts> = names.into_iter().map(|it| Parts::of(&it)).collect();
    parts.sort();
    parts.dedup();
    let runs = parts.chunk_by(|before, after| before.is_followed_by(after));
    runs.flat_map(|run| match run {
        [first, .., last] if run.len() >= RANGE_MIN => vec![Names { text: first.until(last), count: run.len() }],
        run => run.iter().map(|it| Names { text: it.whole(), count: 1 }).collect(),
    })
    .collect()
}

/// A message as long as `fits` allows: what happened, what was first, and names. Where some are cut it ends with
/// how many, and where they stand. `None` when not even the first line fits.
pub fn brief(message: &Message, fits: impl Fn(&str) -> bool) -> Option<String> {
    let title = sanitise::text(&message.title);
    let first = message.text.lines().find(|it| it.starts_with("first: ")).map(sanitise::text);
    let names = |is_over: bool| {
        let of = message.alerts.iter().filter(move |it| it.ended.is_some() == is_over);
        ranges(of.filter_map(|it| probe(it).map(sanitise::text)))
    };
    let (open, over) = (names(false), names(true));
    let (all, is_mixed) = (open.len() + over.len(), !open.is_empty() && !over.is_empty());
    let mut head = title.clone();
    let with = |head: &str, shown: usize| {
        let mut text = head.to_string();
        for (at, it) in open.iter().chain(&over).take(shown).enumerate() {
            text.push_str(match at {
                at if at == open.len() && is_mixed => "\nrecovered: ",
                0 => "\n",
                _ => ", ",
            });
            text.push_str(&it.text);
        }
        let missing: usize = open.iter().chain(&over).skip(shown).map(|it| it.count).sum();
        if missing > 0 {
            let gap = if shown > 0 { " " } else { "\n" };
            // Writing to a string cannot fail.
            let _ = write!(text, "{gap}and {missing} more: hotseat alerts");
        }
        text
    };
    if let Some(first) = first {
        let longer = format!("{title}\n{first}");
        // The reason of the first is worth less than a name.
        if fits(&with(&longer, all)) || !fits(&with(&title, all)) && fits(&with(&longer, 0)) {
            head = longer;
        }
    }
    if fits(&with(&head, all)) {
        return Some(with(&head, all));
    }
    let counts: Vec<usize> = (0..all).collect();
    let fitting = counts.partition_point(|shown| fits(&with(&head, *shown)));
    fitting.checked_sub(1).map(|shown| with(&head, shown))
}

/// The probe's name; `None` for a cause that several share.
pub fn probe(line: &AlertLine) -> Option<&str> {
    let (host, _) = line.key.split_once('/')?;
    line.subject.strip_prefix(host)?.strip_prefix('/')
}

/// A name around its last number.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Parts {
    before: String,
    behind: String,
    number: Option<u64>,
    digits: String,
}

impl Parts {
    fn of(name: &str) -> Self {
        let whole = || Self { before: name.into(), behind: String::new(), number: None, digits: String::new() };
        let Some(end) = name.rfind(|it: char| it.is_ascii_digit()).map(|it| it + 1) else { return whole() };
        let begin = name[..end].trim_end_matches(|it: char| it.is_ascii_digit()).len();
        let digits = &name[begin..end];
        match digits.parse() {
            Ok(number) if digits.len() <= DIGITS_MAX => Self {
                before: name[..begin].into(),
                behind: name[end..].into(),
                number: Some(number),
                digits: digits.into(),
            },
            _ => whole(),
        }
    }

    fn is_followed_by(&self, other: &Self) -> bool {
        let next = self.number.map(|it| format!("{:0width$}", it + 1, width = self.digits.len()));
        self.before == other.before && self.behind == other.behind && next.as_ref() == Some(&other.digits)
    }

    fn whole(&self) -> String {
        format!("{}{}{}", self.before, self.digits, self.behind)
    }

    fn until(&self, last: &Self) -> String {
        let Self { before, behind, digits, .. } = self;
        if behind.is_empty() {
            return format!("{before}{digits}..{}", last.digits);
        }
        format!("{before}{{{digits}..{}}}{behind}", last.digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::Severity;

    fn written(names: &[&str]) -> Vec<String> {
        ranges(names.iter().map(ToString::to_string)).into_iter().map(|it| it.text).collect()
    }

    #[test]
    fn names_that_count_up_are_a_range() {
        assert_eq!(
            written(&["svc-2", "svc-10", "svc-9", "svc-1", "svc-11", "db"]),
            ["db", "svc-1", "svc-2", "svc-9..11"]
        );
        assert_eq!(written(&["a-099", "a-098", "a-100", "a-101"]), ["a-098..101"]);
        // `a-1` to `a-03` are no neighbours, and a name that comes twice is one.
        assert_eq!(written(&["a-1", "a-02", "a-03", "a-1"]), ["a-1", "a-02", "a-03"]);
        assert_eq!(written(&["w1.lan", "w3.lan", "w2.lan", "w2.org"]), ["w{1..3}.lan", "w2.org"]);
        assert_eq!(written(&["x99999999999999999999", "x"]), ["x", "x99999999999999999999"]);
    }

    fn message(names: &[String]) -> Message {
        let line = |(at, name): (usize, &String)| AlertLine {
            key: format!("h/{name}/{at}"),
            subject: format!("h/{name}"),
            concern: "down".into(),
            why: String::new(),
            since: jiff::Timestamp::UNIX_EPOCH,
            ended: None,
            severity: Severity::Error,
            labels: std::collections::BTreeMap::new(),
        };
        let title = format!("{} probes DOWN", names.len());
        Message {
            text: format!("{title}\nfirst: {} DOWN", names[0]),
            title,
            severity: Severity::Error,
            host: "h".into(),
            alerts: names.iter().enumerate().map(line).collect(),
        }
    }

    #[test]
    fn the_reason_of_the_first_gives_way_to_names() {
        let names: Vec<String> = ["cart", "mail", "search", "stock"].map(String::from).to_vec();
        let message = message(&names);
        let within = |max: usize| brief(&message, |it| it.len() <= max);
        assert_eq!(within(90).as_deref(), Some("4 probes DOWN\nfirst: cart DOWN\ncart, mail, search, stock"));
        assert_eq!(within(40).as_deref(), Some("4 probes DOWN\ncart, mail, search, stock"));
        assert_eq!(within(38), None);
    }

    #[test]
    fn of_many_names_each_is_shown_or_counted() {
        let names: Vec<String> =
            (0..200).map(|at| format!("name{}-of-a-probe", "x".repeat(at % 50) + &"y".repeat(at / 50))).collect();
        let message = message(&names);
        let text = brief(&message, |it| it.len() <= 600).expect("it fits");
        let (shown, tail) = text.rsplit_once(" and ").expect("a tail");
        let listed = shown.lines().last().expect("a line").split(", ").count();
        assert_eq!(tail, format!("{} more: hotseat alerts", 200 - listed));
        assert!(listed > 5 && text.len() > 500, "{text}");
    }
}
