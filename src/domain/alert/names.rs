//! Writes many names short, and as many of them as fit: `svc-001..200`.

use std::fmt::Write as _;

use crate::domain::alert::delivery::{AlertLine, Message};
use crate::domain::alert::pack::pack;
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

/// A message made short.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brief {
    /// What it says.
    pub text: String,
    /// Keys of the alerts for whose names there was no room.
    pub unnamed: Vec<String>,
}

/// Room for a text, as a channel counts it.
pub struct Room<'r> {
    /// What a text takes.
    pub width: &'r dyn Fn(&str) -> usize,
    /// True when a text has room.
    pub fits: &'r dyn Fn(&str) -> bool,
    /// Where names stand for which there was none: `hotseat alerts`; nothing when nowhere.
    pub elsewhere: &'r str,
}

/// A message in so much room: what happened, what was first, and names, written the shorter the less room there is.
/// Where some are cut it ends with how many, and where they stand. `None` when not even the first line has room.
pub fn brief(message: &Message, room: &Room<'_>) -> Option<Brief> {
    let title = sanitise::text(&message.title);
    let count = title.split_once(": ").map_or(title.as_str(), |(count, _)| count);
    let first = message.text.lines().find(|it| it.starts_with("first: ")).map(sanitise::text);
    let longer = first.map(|first| format!("{title}\n{first}"));
    let heads: Vec<&str> = longer.iter().map(String::as_str).chain([title.as_str(), count]).collect();
    let names = |is_over: bool| {
        let of = message.alerts.iter().filter(move |it| it.ended.is_some() == is_over);
        let mut named: Vec<(Parts, &str)> =
            of.filter_map(|it| Some((Parts::of(&sanitise::text(probe(it)?)), it.key.as_str()))).collect();
        // Neighbours stay together where they are cut.
        named.sort();
        named
    };
    let (open, over) = (names(false), names(true));
    let all = open.len() + over.len();
    let with = |head: &str, style: Style, shown: usize| {
        let mut text = head.to_string();
        let shown_open = shown.min(open.len());
        for (at, part) in [&open[..shown_open], &over[..shown - shown_open]].into_iter().enumerate() {
            if !part.is_empty() {
                text.push_str(if at == 1 && !open.is_empty() { "\nrecovered: " } else { "\n" });
                text.push_str(&style.written(part.iter().map(|(it, _)| it.whole()), room.width));
            }
        }
        if shown < all {
            let gap = if shown > 0 { " " } else { "\n" };
            // Writing to a string cannot fail.
            let _ = write!(text, "{gap}and {} more", all - shown);
            if !room.elsewhere.is_empty() {
                let _ = write!(text, ": {}", room.elsewhere);
            }
        }
        text
    };
    // The reason of the first is worth more than blanks, and less than a name.
    for head in &heads {
        for style in [Style::Ranges, Style::Packed, Style::Dense] {
            let text = with(head, style, all);
            if (room.fits)(&text) {
                return Some(Brief { text, unnamed: Vec::new() });
            }
        }
    }
    let head = heads.iter().find(|it| (room.fits)(&with(it, Style::Dense, 0)))?;
    let counts: Vec<usize> = (0..all).collect();
    let shown = counts.partition_point(|shown| (room.fits)(&with(head, Style::Dense, *shown))).checked_sub(1)?;
    let unnamed = open.iter().chain(&over).skip(shown).map(|(_, key)| (*key).to_string()).collect();
    Some(Brief { text: with(head, Style::Dense, shown), unnamed })
}

/// How names are written, the easiest to read first.
#[derive(Clone, Copy)]
enum Style {
    /// Each name, and ranges.
    Ranges,
    /// What they share once.
    Packed,
    /// The same without blanks.
    Dense,
}

impl Style {
    fn written(self, names: impl Iterator<Item = String>, width: &dyn Fn(&str) -> usize) -> String {
        let names = match self {
            Self::Ranges => ranges(names),
            Self::Packed | Self::Dense => pack(&names.collect::<Vec<_>>(), width),
        };
        let texts: Vec<String> = names.into_iter().map(|it| it.text).collect();
        texts.join(if matches!(self, Self::Dense) { "," } else { ", " })
    }
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
    use crate::domain::alert::{Severity, sms};

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
            brief: None,
        }
    }

    fn within(message: &Message, bytes_max: usize) -> Option<Brief> {
        brief(message, &Room { width: &str::len, fits: &|it| it.len() <= bytes_max, elsewhere: "hotseat alerts" })
    }

    #[test]
    fn the_reason_of_the_first_gives_way_to_names() {
        let names: Vec<String> = ["cart", "mail", "search", "stock"].map(String::from).to_vec();
        let message = message(&names);
        let within = |max: usize| within(&message, max).map(|it| it.text);
        assert_eq!(within(90).as_deref(), Some("4 probes DOWN\nfirst: cart DOWN\ncart, mail, search, stock"));
        assert_eq!(within(53).as_deref(), Some("4 probes DOWN\nfirst: cart DOWN\ncart,mail,search,stock"));
        assert_eq!(within(40).as_deref(), Some("4 probes DOWN\ncart, mail, search, stock"));
        assert_eq!(within(30), None);
    }

    #[test]
    fn of_many_names_each_is_shown_or_counted() {
        let names: Vec<String> =
            (0..200).map(|at| format!("name{}-of-a-probe", "x".repeat(at % 50) + &"y".repeat(at / 50))).collect();
        let message = message(&names);
        let Brief { text, unnamed } = within(&message, 600).expect("it fits");
        let (_, tail) = text.rsplit_once(" and ").expect("a tail");
        assert_eq!(tail, format!("{} more: hotseat alerts", unnamed.len()));
        assert!((20..200).contains(&(200 - unnamed.len())) && text.len() > 500, "{text}");
    }

    #[test]
    fn two_hundred_names_of_an_ordinary_fleet_have_room_in_ten_segments_of_an_sms() {
        let services = [
            "accounts",
            "basket",
            "billing",
            "catalogue",
            "checkout",
            "delivery",
            "fraud",
            "gateway",
            "identity",
            "inventory",
            "ledger",
            "mailer",
            "orders",
            "payments",
            "pricing",
            "profile",
            "refunds",
            "reviews",
            "search",
            "shipping",
            "stock",
            "tax",
            "tracking",
            "users",
            "wishlist",
        ];
        // Not each service is everywhere, nor has each the same parts.
        let places = ["eu-west", "us-east", "ap-south"];
        let parts = ["api", "db", "queue", "worker", "cache"];
        let all = services.iter().enumerate().flat_map(|(at, service)| {
            let odd = move |place: &usize, part: &usize| !(at * 7 + place * 3 + part * 5).is_multiple_of(4);
            (0..places.len()).flat_map(move |place| {
                let here = (0..parts.len()).filter(move |part| odd(&place, part));
                here.map(move |part| format!("{service}-{}.{}", parts[part], places[place]))
            })
        });
        let names: Vec<String> = all.take(200).collect();
        assert_eq!(names.len(), 200);
        let message = message(&names);
        let fits = |it: &str| sms::fits(it, "#12345678", sms::SEGMENTS_MAX);
        let made = brief(&message, &Room { width: &sms::width, fits: &fits, elsewhere: "" }).expect("it fits");
        assert_eq!(made.unnamed, Vec::<String>::new(), "{}", made.text);
        assert!(!fits(&names.join(",")), "they would have had room anyway");
    }
}
