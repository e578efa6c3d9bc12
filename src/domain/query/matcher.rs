//! A query ready to run over bytes.
//!
//! One chip leads: the engine searches whole blocks for its pattern, which the regex engine does at
//! gigabytes a second, and asks about the other chips only for the records that were hit. A pattern that
//! could tell a record from its surroundings (`\A`, `\z`) cannot lead.

use std::borrow::Cow;
use std::ops::Range;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};

use crate::domain::log::Level;
use crate::domain::query::field::FieldTest;
use crate::domain::query::{Chip, ChipKind, Comparison, Query, QueryError, moment};

/// Compiled size of one regex: far more than a person types, little enough for a small host.
const MAX_REGEX_BYTES: usize = 4 << 20;

/// Text or a regex, searched in bytes.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// Exact bytes.
    Literal(Box<memmem::Finder<'static>>),
    /// A regex; `whole_blocks` when searching a block finds the same records as searching each of them.
    Regex {
        /// Compiled.
        regex: Regex,
        /// It may search a whole block.
        whole_blocks: bool,
        /// It was compiled so that case does not matter.
        ignore_case: bool,
        /// It is nothing but this text, which is found sooner.
        plain: Option<Box<memmem::Finder<'static>>>,
    },
}

impl Pattern {
    /// Plain text, smart case.
    pub fn text(text: &str) -> Self {
        if text.chars().any(char::is_uppercase) || !text.chars().any(char::is_alphabetic) {
            return Self::Literal(Box::new(memmem::Finder::new(text.as_bytes()).into_owned()));
        }
        let mut builder = RegexBuilder::new(&regex::escape(text));
        // ASCII folding keeps the literal prefilters; `K` is not meant to find the Kelvin sign in a log.
        builder.case_insensitive(true).unicode(!text.is_ascii());
        match builder.build() {
            Ok(regex) => Self::Regex { regex, whole_blocks: true, ignore_case: true, plain: None },
            Err(_) => Self::Literal(Box::new(memmem::Finder::new(text.as_bytes()).into_owned())),
        }
    }

    /// One of some plain texts, whatever their case; `None` when there are too many of them.
    fn one_of(texts: &[String]) -> Option<Self> {
        let [text] = texts else {
            let pattern: Vec<String> = texts.iter().map(|it| regex::escape(&it.to_lowercase())).collect();
            return Self::regex(&pattern.join("|")).ok();
        };
        Some(Self::text(&text.to_lowercase()))
    }

    /// A regex, smart case.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn regex(pattern: &str) -> Result<Self, String> {
        let mut builder = RegexBuilder::new(pattern);
        builder.multi_line(true).crlf(pattern.contains('$')).size_limit(MAX_REGEX_BYTES);
        let ignore_case = !has_upper_case(pattern);
        builder.case_insensitive(ignore_case);
        match builder.build() {
            Ok(regex) => {
                let is_plain = !ignore_case && regex::escape(pattern) == pattern;
                let plain = is_plain.then(|| Box::new(memmem::Finder::new(pattern.as_bytes()).into_owned()));
                Ok(Self::Regex { regex, whole_blocks: may_lead(pattern), ignore_case, plain })
            }
            Err(error) => Err(in_one_line(&error)),
        }
    }

    /// The first match at or after `start`.
    pub fn find_at(&self, bytes: &[u8], start: usize) -> Option<Range<usize>> {
        match self {
            Self::Literal(finder) | Self::Regex { plain: Some(finder), .. } => {
                let at = start + finder.find(bytes.get(start..)?)?;
                Some(at..at + finder.needle().len())
            }
            Self::Regex { regex, .. } => {
                (start <= bytes.len()).then(|| regex.find_at(bytes, start))?.map(|it| it.range())
            }
        }
    }

    /// True when the bytes contain a match.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Literal(finder) | Self::Regex { plain: Some(finder), .. } => finder.find(bytes).is_some(),
            Self::Regex { regex, .. } => regex.is_match(bytes),
        }
    }

    fn leads(&self) -> bool {
        match self {
            Self::Literal(_) => true,
            Self::Regex { whole_blocks, .. } => *whole_blocks,
        }
    }
}

/// One condition of a query, as a store can be asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand<'a> {
    /// The record contains exactly this.
    Text(&'a str),
    /// A line of the record matches.
    Regex {
        /// In the syntax of the regex crate; `^` and `$` stand at line ends.
        pattern: &'a str,
        /// Case does not matter.
        ignore_case: bool,
    },
    /// Its level compares so.
    Level(Comparison, Level),
    /// Its time is in [`Matcher::time_range`].
    Time,
    /// Something that only the matcher itself can tell.
    Other,
}

/// What a matcher may look at. Level and time are asked for only when a chip needs them.
pub trait Subject {
    /// The record's bytes, line ends included.
    fn bytes(&self) -> &[u8];
    /// Its level.
    fn level(&self) -> Option<Level>;
    /// When it was written.
    fn time(&self) -> Option<Timestamp>;
    /// The value of a field, unescaped; a name stands for the end of a path too. Without fields there is none.
    fn field(&self, _name: &str) -> Option<Cow<'_, [u8]>> {
        None
    }
    /// True when a field passes: of a record that holds several, that of any of them.
    fn passes_field(&self, test: &FieldTest) -> bool {
        test.passes_among(|name| self.field(name))
    }
}

/// A query ready to run.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    sources: Vec<(bool, String)>,
    conditions: Vec<(bool, Condition)>,
    lead: Lead,
    /// The condition on a field that records are sifted by where no text leads, and the last key of its name.
    sieve: Option<(usize, Pattern)>,
}

/// What is searched for in whole blocks.
#[derive(Debug, Clone, Default)]
enum Lead {
    /// Nothing: every record is asked.
    #[default]
    None,
    /// The pattern of a condition, by its index.
    Condition(usize),
    /// Text that every passing record holds; the record is asked then.
    Value(Pattern),
    /// A field's name that every passing record holds, unless a format of the config gives it that name.
    Name(Pattern),
}

#[derive(Debug, Clone)]
enum Condition {
    Pattern(Pattern),
    Level(Comparison, Level),
    Since(Timestamp),
    Until(Timestamp),
    Field(Box<FieldTest>),
}

impl Matcher {
    /// Compiles the enabled chips. Relative times count from `now`, civil ones are in `zone`.
    ///
    /// # Errors
    /// A chip that cannot be run; the range is empty because the text may not be at hand.
    pub fn new(query: &Query, now: Timestamp, zone: &TimeZone) -> Result<Self, QueryError> {
        let mut matcher = Self::default();
        for Chip { out, kind, .. } in query.chips.iter().filter(|it| it.enabled) {
            let fail = |message| QueryError { range: 0..0, message, hint: None };
            let moment = moment(&query.chips, kind, now, zone).transpose().map_err(fail)?;
            let condition = match (kind, moment) {
                (ChipKind::Text(text), _) => Condition::Pattern(Pattern::text(text)),
                (ChipKind::Regex(pattern), _) => Condition::Pattern(Pattern::regex(pattern).map_err(fail)?),
                (ChipKind::Level(comparison, level), _) => Condition::Level(*comparison, *level),
                (ChipKind::Since(_), Some(at)) => Condition::Since(at),
                (ChipKind::Until(_), Some(at)) => Condition::Until(at),
                (ChipKind::Field { name, sign, value }, _) => {
                    Condition::Field(Box::new(FieldTest::new(name, *sign, value).map_err(fail)?))
                }
                (ChipKind::Source(name), _) => {
                    matcher.sources.push((*out, name.clone()));
                    continue;
                }
                (ChipKind::Since(_) | ChipKind::Until(_), None) => continue,
            };
            matcher.conditions.push((*out, condition));
        }
        matcher.lead = matcher.best_lead();
        matcher.sieve = matcher.conditions.iter().enumerate().find_map(|(index, (out, condition))| match condition {
            Condition::Field(test) if !out => Some((index, Pattern::text(&test.sieve_name()?.to_lowercase()))),
            _ => None,
        });
        Ok(matcher)
    }

    fn best_lead(&self) -> Lead {
        // A literal before a regex, the longest literal first: it stops least often.
        let patterns = self.conditions.iter().enumerate().filter_map(|(index, condition)| match condition {
            (false, Condition::Pattern(Pattern::Literal(finder))) => {
                Some((usize::MAX / 2 + finder.needle().len(), index))
            }
            (false, Condition::Pattern(pattern @ Pattern::Regex { regex, .. })) if pattern.leads() => {
                Some((regex.as_str().len(), index))
            }
            _ => None,
        });
        if let Some((_, index)) = patterns.max() {
            return Lead::Condition(index);
        }
        let fields = || {
            self.conditions.iter().filter_map(|(out, it)| match it {
                Condition::Field(test) if !out => Some(test),
                _ => None,
            })
        };
        let shortest = |it: &Vec<String>| it.iter().map(String::len).min();
        if let Some(literals) = fields().filter_map(|it| it.literals()).max_by_key(shortest)
            && let Some(pattern) = Pattern::one_of(&literals)
        {
            return Lead::Value(pattern);
        }
        match fields().filter_map(|it| it.name_literal()).max_by_key(|it| it.len()) {
            Some(name) => Lead::Name(Pattern::text(&name.to_lowercase())),
            None => Lead::None,
        }
    }

    /// Also asks for this level or above.
    #[must_use]
    pub fn and_level(mut self, level: Level) -> Self {
        self.conditions.push((false, Condition::Level(Comparison::AtLeast, level)));
        self
    }

    /// Also asks for a match of this pattern, which then leads.
    #[must_use]
    pub fn and_pattern(mut self, pattern: Pattern) -> Self {
        if pattern.leads() {
            self.lead = Lead::Condition(self.conditions.len());
        }
        self.conditions.push((false, Condition::Pattern(pattern)));
        self
    }

    /// True when every record of every source passes.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.conditions.is_empty()
    }

    /// True when every record of a source that passes [`Self::takes_source`] passes.
    pub fn takes_all_records(&self) -> bool {
        self.conditions.is_empty()
    }

    /// True when records of the source of this name may pass.
    pub fn takes_source(&self, name: &str) -> bool {
        // The files of one config entry are named `entry:file`; the entry's name stands for all of them.
        let entry = name.split_once(':').map_or(name, |(entry, _)| entry);
        self.sources.iter().all(|(out, pattern)| (glob(pattern, name) || glob(pattern, entry)) != *out)
    }

    /// The pattern to search whole blocks for: a record without a match cannot pass.
    pub fn lead(&self) -> Option<&Pattern> {
        match &self.lead {
            Lead::None => None,
            Lead::Condition(index) => match &self.conditions.get(*index)?.1 {
                Condition::Pattern(pattern) => Some(pattern),
                _ => None,
            },
            Lead::Value(pattern) | Lead::Name(pattern) => Some(pattern),
        }
    }

    /// As [`Matcher::lead`], for records whose fields get their names from a format of the config.
    pub fn lead_without_names(&self) -> Option<&Pattern> {
        self.lead().filter(|_| !matches!(self.lead, Lead::Name(_)))
    }

    /// The comparison of a field to sift records by, and the last key of its name: no text leads, or only that name.
    pub fn sieve(&self) -> Option<(&FieldTest, &Pattern)> {
        let (index, name) = self.sieve.as_ref().filter(|_| matches!(self.lead, Lead::None | Lead::Name(_)))?;
        match &self.conditions.get(*index)?.1 {
            Condition::Field(test) => Some((test, name)),
            _ => None,
        }
    }

    /// True when blocks can be searched without splitting them, mostly.
    pub fn is_searched(&self) -> bool {
        self.lead().is_some() || self.sieve().is_some()
    }

    /// The pattern, when a record passes exactly if it contains a match of it.
    pub fn only_lead(&self) -> Option<&Pattern> {
        self.lead().filter(|_| self.conditions.len() == 1 && matches!(self.lead, Lead::Condition(_)))
    }

    /// Whether records of a level and a time (whole seconds since the epoch, `from..until`) pass: all of them, none
    /// of them, or `None` when that depends on more.
    pub fn passes_group(&self, level: Option<Level>, (from, until): (i64, i64)) -> Option<bool> {
        let nanos = |second: i64| i128::from(second) * 1_000_000_000;
        let before = |at: Timestamp| match at.as_nanosecond() {
            at if nanos(until) <= at => Some(true),
            at if nanos(from) >= at => Some(false),
            _ => None,
        };
        let mut passes = Some(true);
        for (out, condition) in &self.conditions {
            let holds = match condition {
                Condition::Level(comparison, than) => Some(compares(level, *comparison, *than)),
                Condition::Since(at) => before(*at).map(|it| !it),
                Condition::Until(at) => before(*at),
                _ => None,
            };
            match holds.map(|it| it != *out) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => passes = None,
            }
        }
        passes
    }

    /// Earliest and (exclusive) latest time a record may have, when chips say so.
    pub fn time_range(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        let mut range = (None, None);
        for (out, condition) in &self.conditions {
            match condition {
                Condition::Since(at) if !out => range.0 = range.0.max(Some(*at)),
                Condition::Until(at) if !out => range.1 = Some(range.1.map_or(*at, |it: Timestamp| it.min(*at))),
                _ => {}
            }
        }
        range
    }

    /// True when [`Self::passes_group`] knows nearly always: only levels and times are asked for.
    pub fn asks_for_groups(&self) -> bool {
        let is_group =
            |it: &(bool, Condition)| matches!(it.1, Condition::Level(..) | Condition::Since(_) | Condition::Until(_));
        !self.conditions.is_empty() && self.conditions.iter().all(is_group)
    }

    /// True when the record passes every chip.
    pub fn passes(&self, subject: &impl Subject) -> bool {
        self.conditions.iter().all(|(out, condition)| {
            let holds = match condition {
                Condition::Pattern(pattern) => pattern.is_match(subject.bytes()),
                Condition::Level(comparison, level) => compares(subject.level(), *comparison, *level),
                Condition::Since(at) => subject.time().is_some_and(|it| it >= *at),
                Condition::Until(at) => subject.time().is_some_and(|it| it < *at),
                Condition::Field(test) => subject.passes_field(test),
            };
            holds != *out
        })
    }

    /// The conditions that a record of a source must meet, each with whether it keeps records out.
    pub fn demands(&self) -> impl Iterator<Item = (bool, Demand<'_>)> {
        self.conditions.iter().map(|(out, condition)| {
            let demand = match condition {
                Condition::Pattern(Pattern::Literal(finder)) => {
                    std::str::from_utf8(finder.needle()).map_or(Demand::Other, Demand::Text)
                }
                Condition::Pattern(Pattern::Regex { regex, ignore_case, .. }) => {
                    Demand::Regex { pattern: regex.as_str(), ignore_case: *ignore_case }
                }
                Condition::Level(comparison, level) => Demand::Level(*comparison, *level),
                Condition::Since(_) | Condition::Until(_) if !out => Demand::Time,
                _ => Demand::Other,
            };
            (*out, demand)
        })
    }

    /// The patterns whose hits are highlighted.
    pub fn highlights(&self) -> impl Iterator<Item = &Pattern> {
        self.conditions.iter().filter_map(|(out, it)| match it {
            Condition::Pattern(pattern) if !out => Some(pattern),
            _ => None,
        })
    }
}

/// A level that is not known compares as nothing.
fn compares(level: Option<Level>, comparison: Comparison, than: Level) -> bool {
    level.is_some_and(|it| match comparison {
        Comparison::AtLeast => it >= than,
        Comparison::AtMost => it <= than,
        Comparison::Exactly => it == than,
    })
}

/// `*` stands for any text, everything else for itself.
fn glob(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(previous) = last.replace(part) {
            let previous: &str = previous;
            let Some(at) = rest.find(previous) else { return false };
            rest = &rest[at + previous.len()..];
        }
    }
    last.map_or(rest.is_empty(), |it| rest.ends_with(it))
}

/// Upper case that means itself: not `\W`, not `\pL`.
fn has_upper_case(pattern: &str) -> bool {
    let mut chars = pattern.chars();
    while let Some(it) = chars.next() {
        if it == '\\' {
            if let Some('p' | 'P' | 'x' | 'u' | 'U') = chars.next() {
                let mut ahead = chars.clone();
                if ahead.next() == Some('{') {
                    chars = ahead;
                    chars.by_ref().find(|it| *it == '}');
                } else {
                    chars.next();
                }
            }
        } else if it.is_uppercase() {
            return true;
        }
    }
    false
}

fn may_lead(pattern: &str) -> bool {
    let single_line = pattern.match_indices("(?").any(|(at, _)| {
        let flags = pattern[at + 2..].split([':', ')']).next().unwrap_or_default();
        flags.split_once('-').is_some_and(|(_, off)| off.contains('m'))
    });
    !single_line && !pattern.contains("\\A") && !pattern.contains("\\z")
}

fn in_one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Line<'a>(&'a str, Option<Level>);

    impl Subject for Line<'_> {
        fn bytes(&self) -> &[u8] {
            self.0.as_bytes()
        }
        fn level(&self) -> Option<Level> {
            self.1
        }
        fn time(&self) -> Option<Timestamp> {
            Some(Timestamp::UNIX_EPOCH)
        }
        fn field(&self, name: &str) -> Option<Cow<'_, [u8]>> {
            let start = self.0.find(&format!("{name}="))? + name.len() + 1;
            Some(Cow::Borrowed(self.0[start..].split(' ').next().unwrap_or_default().as_bytes()))
        }
    }

    fn passes(query: &str, line: &str, level: Option<Level>) -> bool {
        let now = Timestamp::from_second(3600).unwrap();
        let matcher = Matcher::new(&Query::parse(query).unwrap(), now, &TimeZone::UTC).unwrap();
        matcher.passes(&Line(line, level))
    }

    #[test]
    fn chips_narrow() {
        assert!(passes("a b", "b a", None));
        assert!(!passes("a b", "a", None));
        assert!(!passes("a -b", "a b", None));
        assert!(passes("a ~b ~-a", "a", None));
    }

    #[test]
    fn case_matters_only_when_it_was_typed() {
        assert!(passes("timeout", "TimeOut", None));
        assert!(!passes("Timeout", "timeout", None));
        assert!(passes("/time\\S+/", "TIMEOUT", None));
        assert!(!passes("/Time\\w+/", "timeout", None));
        assert!(passes("ошибка", "ОШИБКА", None));
        assert!(passes("超时", "连接超时", None));
    }

    #[test]
    fn fields_narrow_too() {
        assert!(passes("status>=500 user=bob", "user=Bob status=502", None));
        assert!(!passes("-status>=500", "status=502", None));
        assert!(passes("-status>=500 user!=x", "", None));
    }

    #[test]
    fn a_number_with_a_unit_is_found_in_a_field_that_names_its_unit() {
        assert!(passes("latency>250ms", "latency_ms=300", None));
        assert!(!passes("latency>250ms", "latency_ms=200", None));
        assert!(passes("latency>250ms", "latency_seconds=0.3", None));
        assert!(!passes("latency>250ms", "latency=10ms latency_ms=300", None), "the very name goes first");
        assert!(passes("body>=2kB", "body_bytes=2000", None));
        assert!(!passes("latency>250", "latency_ms=300", None), "without a unit the name is meant as it is");
    }

    #[test]
    fn a_level_that_is_not_known_does_not_pass() {
        assert!(passes("level>=warn", "", Some(Level::Error)));
        assert!(!passes("level>=warn", "", Some(Level::Info)));
        assert!(!passes("level>=warn", "", None));
        assert!(passes("-level>=warn", "", None));
        assert!(passes("level<=debug", "", Some(Level::Trace)));
    }

    #[test]
    fn anchors_stand_at_the_lines_of_a_record() {
        assert!(passes("/^at foo$/", "Error\r\nat foo\r\n", None));
        assert!(!passes("/\\Aat/", "Error\nat foo", None));
    }

    #[test]
    fn times_count_from_now() {
        assert!(passes("since:-2h", "", None));
        assert!(!passes("since:-30m", "", None));
        assert!(passes("until:-30m", "", None));
    }

    #[test]
    fn groups_pass_whole_or_not_at_all_or_it_is_not_known() {
        let check = |query: &str, level, seconds, expected: Option<bool>| {
            let now = Timestamp::from_second(3600).unwrap();
            let matcher = Matcher::new(&Query::parse(query).unwrap(), now, &TimeZone::UTC).unwrap();
            assert_eq!(matcher.passes_group(level, seconds), expected, "{query}");
        };
        check("level>=warn", Some(Level::Error), (0, 1), Some(true));
        check("level>=warn", None, (0, 1), Some(false));
        check("-level>=warn", None, (0, 1), Some(true));
        check("level>=warn x", Some(Level::Info), (0, 1), Some(false));
        check("level>=warn x", Some(Level::Warn), (0, 1), None);
        for (seconds, since) in [((0, 1800), Some(false)), ((1800, 1860), Some(true)), ((1799, 1801), None)] {
            check("since:-30m", None, seconds, since);
            check("until:-30m", None, seconds, since.map(|it| !it));
        }
    }

    #[test]
    fn a_source_is_named_exactly_or_with_stars() {
        let takes = |query: &str, name: &str| {
            Matcher::new(&Query::parse(query).unwrap(), Timestamp::UNIX_EPOCH, &TimeZone::UTC)
                .unwrap()
                .takes_source(name)
        };
        assert!(takes("source:api", "api") && !takes("source:api", "api2") && takes("source:a*i*", "apix"));
        assert!(!takes("-source:edge*", "edge-lb") && takes("", "anything") && !takes("source:a*b", "ab c"));
    }

    #[test]
    fn the_longest_literal_leads_and_a_pattern_that_needs_the_record_does_not() {
        let lead = |query: &str| {
            let matcher = Matcher::new(&Query::parse(query).unwrap(), Timestamp::UNIX_EPOCH, &TimeZone::UTC).unwrap();
            matcher.lead().map(|it| match it {
                Pattern::Literal(finder) => String::from_utf8_lossy(finder.needle()).into_owned(),
                Pattern::Regex { regex, .. } => regex.as_str().to_string(),
            })
        };
        assert_eq!(lead("/a+/ X Timeout -Longest"), Some("Timeout".into()));
        assert_eq!(lead("/\\Aa/ /(?-m)^b/ level>=warn"), None);
        assert_eq!(lead("status=404"), Some("404|4\\.04|40\\.4".into()));
        assert_eq!(lead("status=500 took>5"), Some("5".into()));
        assert_eq!(lead("took>5 trace=~a"), Some("trace".into()));
        assert_eq!(lead("-status=404 trace!=x"), None);
    }
}
