//! Says a query in words that servers know: regexes in RE2 syntax, literals that a match must contain, the
//! words of levels.
//!
//! What cannot be said exactly is said with more in it, never with less: the engine judges what comes back.
//! For a chip that keeps records out it is the other way round, so an inexact one is not sent at all.

use crate::domain::log::Level;
use crate::domain::query::Comparison;
use crate::domain::query::matcher::{Demand, Matcher};

/// Most repetitions that RE2 takes.
const MAX_REPEAT: u32 = 1000;
/// Words by which stores name levels, as they are written there in any case.
pub const LEVEL_WORDS: [(&str, Level); 19] = [
    ("trace", Level::Trace),
    ("verbose", Level::Trace),
    ("debug", Level::Debug),
    ("dbug", Level::Debug),
    ("info", Level::Info),
    ("information", Level::Info),
    ("informational", Level::Info),
    ("notice", Level::Info),
    ("warn", Level::Warn),
    ("warning", Level::Warn),
    ("error", Level::Error),
    ("err", Level::Error),
    ("eror", Level::Error),
    ("fatal", Level::Fatal),
    ("critical", Level::Fatal),
    ("crit", Level::Fatal),
    ("alert", Level::Fatal),
    ("emerg", Level::Fatal),
    ("panic", Level::Fatal),
];

/// The level of a word of [`LEVEL_WORDS`]; `None` leaves it to the record's text.
pub fn level_of(word: &str) -> Option<Level> {
    LEVEL_WORDS.iter().find(|(it, _)| it.eq_ignore_ascii_case(word.trim())).map(|(_, level)| *level)
}

/// The words of levels that no record that passes has; empty when the query does not ask for a level.
pub fn words_left_out(matcher: &Matcher) -> Vec<&'static str> {
    let asked: Vec<(bool, Comparison, Level)> = matcher
        .demands()
        .filter_map(|(out, demand)| match demand {
            Demand::Level(comparison, level) => Some((out, comparison, level)),
            _ => None,
        })
        .collect();
    let passes = |it: Level| {
        asked.iter().all(|(out, comparison, level)| {
            let holds = match comparison {
                Comparison::AtLeast => it >= *level,
                Comparison::AtMost => it <= *level,
                Comparison::Exactly => it == *level,
            };
            holds != *out
        })
    };
    LEVEL_WORDS.iter().filter(|(_, level)| !passes(*level)).map(|(word, _)| *word).collect()
}

/// A regex in RE2 syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Re2 {
    /// With its flags.
    pub pattern: String,
    /// It matches nothing more than the original.
    pub is_exact: bool,
}

/// Says a regex of this program in RE2 syntax, so that it matches at least the same. `None` when that takes more
/// than is known here. With `narrow`, letters that case folding joins across alphabets are not joined, because
/// what the server leaves out must be left out here as well.
pub fn re2(pattern: &str, ignore_case: bool, narrow: bool) -> Option<Re2> {
    let mut said = Said { body: String::new(), is_exact: true, narrow: narrow && ignore_case, has_anchor: false };
    said.is_exact &= !pattern.contains('$') || !pattern.contains('.');
    let mut rest = pattern;
    while let Some(it) = rest.chars().next() {
        rest = &rest[it.len_utf8()..];
        rest = match it {
            '\\' => said.escape(rest, false)?,
            '[' => said.class(rest)?,
            '(' => said.group(rest)?,
            '{' => said.repeat(rest)?,
            // The original ends lines before a carriage return, also one in their middle, without taking it; and
            // beside `$` it begins lines behind one. RE2 has no words for that.
            '$' | '^' if pattern.contains('$') => {
                said.body.push_str("(?:)");
                said.is_exact = false;
                rest
            }
            other => {
                said.has_anchor |= other == '^';
                said.literal(other);
                rest
            }
        };
    }
    let flags = match (ignore_case, said.has_anchor) {
        (true, true) => "(?im)",
        (true, false) => "(?i)",
        (false, true) => "(?m)",
        (false, false) => "",
    };
    Some(Re2 { pattern: format!("{flags}{}", said.body), is_exact: said.is_exact })
}

/// White space as the regex crate knows it, inside a class.
const SPACE: &str =
    "\\t\\n\\v\\f\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
/// More than the letters of words, inside a class.
const WORD: &str = "\\pL\\pM\\pN\\pS\\p{Pc}\\x{200c}\\x{200d}";

struct Said {
    body: String,
    is_exact: bool,
    narrow: bool,
    /// A line begins or ends somewhere in it.
    has_anchor: bool,
}

impl Said {
    fn literal(&mut self, it: char) {
        // K and S have a third form each, the Kelvin sign and the long s.
        match it {
            'k' | 's' if self.narrow => {
                self.body.push_str(&format!("(?-i:[{it}{}])", it.to_ascii_uppercase()));
            }
            _ => self.body.push(it),
        }
    }

    /// Behind a backslash.
    fn escape<'a>(&mut self, rest: &'a str, in_class: bool) -> Option<&'a str> {
        let it = rest.chars().next()?;
        let behind = &rest[it.len_utf8()..];
        let class = |text: &str| if in_class { text.to_string() } else { format!("[{text}]") };
        match it {
            'd' => self.body.push_str("\\p{Nd}"),
            'D' => self.body.push_str("\\P{Nd}"),
            's' => self.body.push_str(&class(SPACE)),
            'S' if !in_class => self.body.push_str(&format!("[^{SPACE}]")),
            'w' => {
                self.body.push_str(&class(WORD));
                self.is_exact = false;
            }
            'W' if !in_class => {
                self.body.push_str("[^0-9A-Za-z_]");
                self.is_exact = false;
            }
            // Without the condition more matches.
            'b' | 'B' if !in_class && !behind.starts_with(['{', '*', '+', '?']) => {
                self.body.push_str("(?:)");
                self.is_exact = false;
            }
            't' | 'n' | 'r' | 'f' | 'v' | 'a' => self.body.extend(['\\', it]),
            'x' => {
                let length = match behind.strip_prefix('{') {
                    Some(digits) => digits.find('}')? + 2,
                    None => 2,
                };
                self.body.push_str("\\x");
                self.body.push_str(behind.get(..length)?);
                return behind.get(length..);
            }
            _ if it.is_ascii_punctuation() || it == ' ' => {
                if it != ' ' {
                    self.body.push('\\');
                }
                self.body.push(it);
            }
            _ => return None,
        }
        Some(behind)
    }

    /// Behind an opening bracket.
    fn class<'a>(&mut self, rest: &'a str) -> Option<&'a str> {
        self.body.push('[');
        let mut rest = rest;
        if let Some(behind) = rest.strip_prefix('^') {
            self.body.push('^');
            rest = behind;
        }
        // In a negated class more members match less.
        let (is_negated, was_exact) = (self.body.ends_with('^'), self.is_exact);
        if rest.starts_with(']') {
            return None;
        }
        loop {
            let it = rest.chars().next()?;
            let behind = &rest[it.len_utf8()..];
            rest = match it {
                ']' => {
                    self.body.push(']');
                    let is_good = !is_negated || self.is_exact == was_exact;
                    return is_good.then_some(behind);
                }
                '\\' => self.escape(behind, true)?,
                '[' => {
                    let name = &behind[..behind.find(":]")? + 2];
                    if !name.starts_with(':') || !name[1..name.len() - 2].bytes().all(|it| it.is_ascii_lowercase()) {
                        return None;
                    }
                    self.body.push('[');
                    self.body.push_str(name);
                    &behind[name.len()..]
                }
                '&' | '~' | '-' if behind.starts_with(it) => return None,
                other => {
                    self.body.push(other);
                    behind
                }
            };
        }
    }

    /// Behind an opening parenthesis.
    fn group<'a>(&mut self, rest: &'a str) -> Option<&'a str> {
        self.body.push('(');
        let Some(behind) = rest.strip_prefix('?') else { return Some(rest) };
        if let Some(behind) = behind.strip_prefix(':') {
            self.body.push_str("?:");
            return Some(behind);
        }
        // Names are of no use there.
        let named = behind.strip_prefix("P<").or_else(|| behind.strip_prefix('<'))?;
        Some(&named[named.find('>')? + 1..])
    }

    /// Behind an opening brace.
    fn repeat<'a>(&mut self, rest: &'a str) -> Option<&'a str> {
        let end = rest.find('}')?;
        let (low, high) = rest[..end].split_once(',').unwrap_or((&rest[..end], &rest[..end]));
        let is_good = |text: &str| text.parse::<u32>().is_ok_and(|it| it <= MAX_REPEAT);
        if !is_good(low) || !(high.is_empty() || is_good(high)) {
            return None;
        }
        self.body.push('{');
        self.body.push_str(&rest[..=end]);
        Some(&rest[end + 1..])
    }
}

/// Texts that every match of a regex contains, one behind the other; none where that is not plain to see.
pub fn required(pattern: &str) -> Vec<String> {
    if pattern.contains("(?") && pattern.matches("(?").count() != pattern.matches("(?:").count() {
        return Vec::new();
    }
    let mut runs: Vec<String> = vec![String::new()];
    // A repetition of a repetition may leave out what the inner one requires: rare, and not worth it.
    if ["+*", "+?", "+{", "}*", "}?", "}{"].iter().any(|it| pattern.contains(it)) {
        return Vec::new();
    }
    let mut chars = pattern.chars();
    let mut depth = 0_u32;
    let cut = |runs: &mut Vec<String>| runs.push(String::new());
    while let Some(it) = chars.next() {
        let is_outside = depth == 0;
        match it {
            '\\' => match chars.next() {
                Some(it) if is_outside && it.is_ascii_punctuation() => push(&mut runs, it),
                Some('x' | 'p' | 'P' | 'u' | 'U') | None => return Vec::new(),
                Some(_) => cut(&mut runs),
            },
            '[' => {
                cut(&mut runs);
                // Nested classes and brackets in brackets: not worth it.
                let mut is_first = true;
                loop {
                    match chars.next() {
                        Some(']') if !is_first => break,
                        Some('\\') => {
                            chars.next();
                        }
                        Some('[' | ']') | None => return Vec::new(),
                        Some('^') if is_first => continue,
                        Some(_) => {}
                    }
                    is_first = false;
                }
            }
            '(' => {
                depth += 1;
                cut(&mut runs);
            }
            ')' => {
                depth = depth.saturating_sub(1);
                cut(&mut runs);
            }
            '|' if is_outside => return Vec::new(),
            '*' | '?' if is_outside => {
                // What stands before it may be missing.
                if let Some(run) = runs.last_mut() {
                    run.pop();
                }
                cut(&mut runs);
            }
            '{' if is_outside => {
                if let Some(run) = runs.last_mut() {
                    run.pop();
                }
                cut(&mut runs);
                chars.find(|it| *it == '}');
            }
            '+' | '.' | '^' | '$' => cut(&mut runs),
            other if is_outside => push(&mut runs, other),
            _ => {}
        }
    }
    runs.retain(|it| !it.is_empty());
    runs
}

fn push(runs: &mut Vec<String>, it: char) {
    match runs.last_mut() {
        Some(run) => run.push(it),
        None => runs.push(it.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;
    use regex::bytes::RegexBuilder;

    use super::*;
    use crate::domain::query::Query;
    use crate::domain::query::matcher::Pattern;

    fn said(pattern: &str) -> Option<(String, bool)> {
        re2(pattern, false, false).map(|it| (it.pattern, it.is_exact))
    }

    #[test]
    fn plain_regexes_are_said_as_they_are() {
        for pattern in
            ["timeout", "a.*b|c", "(?:x|y)+z?", "[a-c_]{2,3}", "x\\.y\\/z", "[^\"]+", "数据库", "[[:alpha:]]9"]
        {
            assert_eq!(said(pattern), Some((pattern.to_string(), true)), "{pattern}");
        }
        assert_eq!(said("^a"), Some(("(?m)^a".into(), true)));
        assert_eq!(said("(?P<n>a)b"), Some(("(a)b".into(), true)));
        assert_eq!(re2("a", true, false).unwrap().pattern, "(?i)a");
    }

    #[test]
    fn what_re2_means_otherwise_is_said_with_more_in_it() {
        assert_eq!(said("\\d+"), Some(("\\p{Nd}+".into(), true)));
        assert_eq!(said("\\w"), Some((format!("[{WORD}]"), false)));
        assert_eq!(said("\\bx"), Some(("(?:)x".into(), false)));
        assert_eq!(said("x$"), Some(("x(?:)".into(), false)));
        assert_eq!(re2("sick", true, true).unwrap().pattern, "(?i)(?-i:[sS])ic(?-i:[kK])");
    }

    #[test]
    fn what_is_not_known_here_is_not_said() {
        for pattern in ["\\pL", "(?i)a", "[a&&b]", "[a[bc]]", "[^\\w]", "a{2000}", "a{,3}", "\\Aa", "[]a]", "\\u{41}"] {
            assert_eq!(said(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn a_match_contains_what_is_required() {
        let check = |pattern: &str, expected: &[&str]| assert_eq!(required(pattern), expected, "{pattern}");
        check("timeout after \\d+ ms", &["timeout after ", " ms"]);
        check("a|b", &[]);
        check("(a|b)cd", &["cd"]);
        check("ab?c*de+f", &["a", "de", "f"]);
        check("x\\.y[z]{2}w", &["x.y", "w"]);
        check("(?i)a", &[]);
        check("\\x41b", &[]);
    }

    #[test]
    fn levels_that_cannot_pass_are_left_out() {
        let words = |query: &str| {
            let query = Query::parse(query).unwrap();
            words_left_out(&Matcher::new(&query, Timestamp::UNIX_EPOCH, &TimeZone::UTC).unwrap())
        };
        assert_eq!(words("timeout"), Vec::<&str>::new());
        assert!(words("level>=warn").contains(&"info") && !words("level>=warn").contains(&"err"));
        assert!(words("-level>=error").contains(&"fatal") && !words("-level>=error").contains(&"warning"));
        assert_eq!(words("level>=info level<=info").len(), LEVEL_WORDS.len() - 4);
    }

    #[test]
    fn the_end_of_a_line_before_a_carriage_return_is_not_lost() {
        for (pattern, text) in [("\\s.a\\b$", "\t-a\ré"), ("a$\\s", "a\rx")] {
            let said = re2(pattern, false, false).unwrap();
            assert!(RegexBuilder::new(&said.pattern).build().unwrap().is_match(text.as_bytes()), "{said:?}");
        }
    }

    proptest! {
        /// RE2 is not here; where its syntax and that of the regex crate mean the same, this one stands for it.
        #[test]
        fn nothing_that_matches_is_lost(
            parts in prop::collection::vec(prop::sample::select(vec![
                "a", "K", "s", ".", "\\d", "\\w", "\\s", "\\S", "\\b", "^", "$", "*", "+", "?", "|", "(", ")", "[ab]", "[^a]",
                "[\\d_]", "{2}", "\\.", " ", "é",
            ]), 1..8),
            text in "[aKs1 ._é\r\n\t-]{0,12}",
            ignore_case: bool,
        ) {
            let pattern = parts.concat();
            let Ok(original) = RegexBuilder::new(&pattern)
                .multi_line(true).crlf(pattern.contains('$')).case_insensitive(ignore_case).build() else { return Ok(()) };
            let matches = original.is_match(text.as_bytes());
            if let Some(said) = re2(&pattern, ignore_case, false) {
                let there = RegexBuilder::new(&said.pattern).build().unwrap().is_match(text.as_bytes());
                prop_assert!(!matches || there, "{pattern:?} as {said:?} on {text:?}");
                prop_assert!(matches || !there || !said.is_exact, "{pattern:?} as {said:?} on {text:?}");
            }
            if matches {
                let lower = |it: &str| if ignore_case { it.to_lowercase() } else { it.to_string() };
                for literal in required(&pattern) {
                    prop_assert!(lower(&text).contains(&lower(&literal)), "{pattern:?} requires {literal:?} in {text:?}");
                }
            }
        }

        #[test]
        fn text_without_upper_case_is_said_exactly(text in "[a-z0-9 .:/=_-]{1,12}") {
            if let Pattern::Regex { regex, .. } = Pattern::text(&text) {
                let said = re2(regex.as_str(), true, true).unwrap();
                prop_assert!(said.is_exact);
                prop_assert!(RegexBuilder::new(&said.pattern).build().unwrap().is_match(text.to_uppercase().as_bytes()));
            }
        }
    }
}
