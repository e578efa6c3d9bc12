//! The stack of filter chips applied to logs, and its text form.
//!
//! Chips narrow: a record has to pass every enabled one. The text form is what the pane, the command
//! line, the config and a saved view share; printing a parsed query gives an equal query back.
//!
//! ```text
//! timeout              records that contain the text
//! "two words"          the same, quoted; \" and \\ inside
//! /re(gex)?\d+/        records that match the regex; a slash inside is \/
//! level>=warn          this level or above; also level=info, level<=debug
//! source:api           records of this source; * stands for any text
//! since:-30m           not older; also since:14:30, since:2026-08-19T14:30, since:2026-08-19T06:30:00Z
//! until:14:45          older than this
//! status>=500          records with such a field; also =, !=, >, <, <=
//! user=~"^sid"         the field matches the regex; !~ that it does not
//! latency>250ms        numbers compare as numbers, also with units of time and size; else as text
//! -timeout  -/re/      a leading - (or !) keeps records out instead
//! ~timeout  ~-/re/     a leading ~ keeps the chip but switches it off
//! @slow  ~@slow        the chips of the saved query of this name ([`saved`])
//! ```
//!
//! What a person writes — in the pane, behind `--query`, in the config — is read by [`Query::typed`]: a text without
//! any of these forms is one text, its blanks included, and one regex when it has signs of one (`ERROR.*timeout`). A
//! word with such signs beside other chips is a regex as well; quotes make plain text of it. Blanks around the sign of
//! a comparison count for nothing (`status >= 500`).
//!
//! Fields are those of JSON, logfmt, access logs, syslog, HAProxy and the like (`logstore::format`). A name
//! stands for the end of a path: `status` for `http.status` too. `!=` and `!~` also pass records that have no
//! such field. A bare number in a record counts in the unit of the chip, and in that of the field's name
//! where that has one (`latency_ms`).
//!
//! Smart case: text or a regex without an upper-case letter ignores case, with one it does not. A regex
//! may say `(?i)` or `(?-i)` itself. `^` and `$` stand at the line ends of a record.

pub mod advice;
pub mod field;
pub mod matcher;
mod print;
pub mod saved;
pub mod time;

use std::fmt;
use std::ops::Range;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::config_error::did_you_mean;
use crate::domain::log::Level;
use crate::domain::query::field::FieldSign;
use crate::domain::query::matcher::Pattern;

/// Chips in the order the person put them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Query {
    /// All of them, the disabled ones too.
    pub chips: Vec<Chip>,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Chip {
    /// Keeps matching records out instead of in.
    pub out: bool,
    /// A disabled chip stays in the stack and filters nothing.
    pub enabled: bool,
    /// What it looks at.
    pub kind: ChipKind,
}

/// What a chip looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ChipKind {
    /// The record contains this text.
    Text(String),
    /// The record matches this regex.
    Regex(String),
    /// The record's level compares so.
    Level(Comparison, Level),
    /// The record comes from the source of this name; `*` stands for any text.
    Source(String),
    /// The record is not older than this (see [`moment`]).
    Since(String),
    /// The record is older than this (see [`moment`]).
    Until(String),
    /// A field of the record compares so.
    Field {
        /// Its name, or the end of its path.
        name: String,
        /// How it is compared.
        sign: FieldSign,
        /// With what.
        value: String,
    },
}

/// How a level is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// This one or worse.
    AtLeast,
    /// This one or less bad.
    AtMost,
    /// Exactly this one.
    Exactly,
}

/// Characters that make a text a regex. A lone dot does not: `10.0.0.1` and `api.log` mean themselves.
pub const REGEX_SIGNS: &[char] = &['\\', '^', '$', '|', '?', '*', '+', '(', ')', '[', ']', '{', '}'];
/// Those that make a regex of `name=value` too. Paths and versions hold the others.
const VALUE_REGEX_SIGNS: &[char] = &['\\', '^', '$', '|', '*', '(', '['];
/// Beginnings that only the query language gives a meaning to.
const FORMS: &[&str] =
    &["level>", "level<", "level=", "level:", "source:", "since:", "until:", "/", "\"", "-", "!", "~"];

/// Why a text is no query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    /// Byte range in the text.
    pub range: Range<usize>,
    /// What is wrong, lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for QueryError {}

impl Chip {
    /// An enabled chip that keeps matching records in.
    pub fn keep(kind: ChipKind) -> Self {
        Self { out: false, enabled: true, kind }
    }

    /// An enabled chip that keeps matching records out.
    pub fn drop(kind: ChipKind) -> Self {
        Self { out: true, enabled: true, kind }
    }
}

/// The time that a `since:` or an `until:` means among these chips; `None` for any other chip.
///
/// The end of a range is behind its beginning: `since:14:03 until:15:00` at ten to three ends in ten minutes. Else a
/// time of day is the last one that the clock showed, whatever day `since:` says: what has no date is about now.
pub fn moment(chips: &[Chip], kind: &ChipKind, now: Timestamp, zone: &TimeZone) -> Option<Result<Timestamp, String>> {
    match kind {
        ChipKind::Since(text) => Some(time::resolve(text, now, zone)),
        ChipKind::Until(text) => Some(end(chips, text, now, zone)),
        ChipKind::Text(_) | ChipKind::Regex(_) | ChipKind::Level(..) | ChipKind::Source(_) | ChipKind::Field { .. } => {
            None
        }
    }
}

fn end(chips: &[Chip], text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let starts = chips.iter().filter(|it| it.enabled && !it.out).filter_map(|it| match &it.kind {
        ChipKind::Since(text) => time::resolve(text, now, zone).ok(),
        _ => None,
    });
    time::resolve_end(text, starts.max(), now, zone)
}

impl Query {
    /// Reads the text form.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut parser = Parser { text, at: 0 };
        let mut chips = Vec::new();
        while let Some(chip) = parser.chip()? {
            chips.push(chip);
        }
        Ok(Self { chips })
    }

    /// Reads what a person writes: chips, or a text without any form of them, which is itself, blanks included, or a
    /// regex when it has signs of one.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn typed(text: &str) -> Result<Self, QueryError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let has_form = FORMS.iter().any(|it| text.trim_start().starts_with(it));
        match Self::parse(text) {
            Ok(query) if has_form || query.has_forms(text) => return Ok(query),
            // `GET /` and `a - b` are text.
            Err(error) if has_form || !text[error.range.start..].starts_with(['/', '"', '-', '!', '~']) => {
                return Err(error);
            }
            _ => {}
        }
        if !is_regex(text) {
            return Ok(Self { chips: vec![Chip::keep(ChipKind::Text(text.to_string()))] });
        }
        Pattern::regex(text).map_err(|message| error(0..text.len(), message, QUOTE_IT))?;
        Ok(Self { chips: vec![Chip::keep(ChipKind::Regex(without_escaped_slashes(text)))] })
    }

    /// True when one of the chips that a text was read as is written in a form of its own.
    fn has_forms(&self, text: &str) -> bool {
        let is_bare =
            |chip: &Chip| chip.enabled && !chip.out && matches!(chip.kind, ChipKind::Text(_) | ChipKind::Regex(_));
        let is_marked = |place: Range<usize>| text[place].starts_with(['"', '/']);
        !self.chips.iter().all(is_bare) || Self::places(text).into_iter().any(is_marked)
    }

    /// Where the chips of a text stand in it, as far as there is no mistake.
    fn places(text: &str) -> Vec<Range<usize>> {
        let mut parser = Parser { text, at: 0 };
        let mut places = Vec::new();
        loop {
            parser.skip_spaces();
            let start = parser.at;
            match parser.chip() {
                Ok(Some(_)) => places.push(start..parser.at),
                Ok(None) | Err(_) => return places,
            }
        }
    }

    /// True when every record passes.
    pub fn is_empty(&self) -> bool {
        self.chips.iter().all(|it| !it.enabled)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

/// Level words, the canonical one of each level first.
const LEVELS: [(&str, Level); 11] = [
    ("trace", Level::Trace),
    ("debug", Level::Debug),
    ("info", Level::Info),
    ("notice", Level::Info),
    ("warn", Level::Warn),
    ("warning", Level::Warn),
    ("error", Level::Error),
    ("err", Level::Error),
    ("fatal", Level::Fatal),
    ("critical", Level::Fatal),
    ("panic", Level::Fatal),
];

impl<'a> Parser<'a> {
    fn chip(&mut self) -> Result<Option<Chip>, QueryError> {
        self.skip_spaces();
        let start = self.at;
        if self.rest().is_empty() {
            return Ok(None);
        }
        let enabled = !self.take('~');
        // An arrow is text.
        let out = !self.rest().starts_with("->") && (self.take('-') || self.take('!'));
        let kind = self.kind(start)?;
        Ok(Some(Chip { out, enabled, kind }))
    }

    fn kind(&mut self, chip_start: usize) -> Result<ChipKind, QueryError> {
        let rest = self.rest();
        if rest.is_empty() || rest.starts_with(char::is_whitespace) {
            return Err(error(
                chip_start..self.at,
                "nothing to filter by",
                "write text after the sign, as in `-healthz`",
            ));
        }
        if rest.starts_with('/') {
            return self.regex();
        }
        if rest.starts_with('"') {
            return self.quoted().map(ChipKind::Text);
        }
        if let Some(comparison) = rest.strip_prefix("level").and_then(comparison) {
            return self.level(comparison.0, "level".len() + comparison.1);
        }
        for (prefix, make) in PREFIXES {
            if rest.starts_with(prefix) {
                let start = self.at + prefix.len();
                self.at = start;
                let value = if self.rest().starts_with('"') { self.quoted()? } else { self.word().to_string() };
                if value.is_empty() {
                    return Err(error(
                        chip_start..start,
                        format!("`{prefix}` without a value"),
                        "put it right behind the colon",
                    ));
                }
                let kind = make(value);
                if let ChipKind::Since(value) | ChipKind::Until(value) = &kind {
                    time::check(value).map_err(|message| QueryError {
                        range: start..self.at,
                        message,
                        hint: Some(time::HINT.into()),
                    })?;
                }
                return Ok(kind);
            }
        }
        if let Some((name, sign, length)) = field::split(rest) {
            let name = name.to_string();
            let behind = &rest[length..];
            let blanks = behind.len() - behind.trim_start().len();
            let length = if blanks < behind.len() { length + blanks } else { length };
            return self.field(chip_start, name, sign, length);
        }
        if let Some((name, sign, length)) = field::split_apart(rest) {
            let name = name.to_string();
            return match name.as_str() {
                "level" => self.spaced_level(length, sign),
                _ => self.field(chip_start, name, sign, length),
            };
        }
        self.bare()
    }

    /// A word without any form: text, or a regex when it has signs of one.
    fn bare(&mut self) -> Result<ChipKind, QueryError> {
        let start = self.at;
        let word = self.word();
        if !is_regex(word) {
            return Ok(ChipKind::Text(word.to_string()));
        }
        Pattern::regex(word).map_err(|message| error(start..self.at, message, QUOTE_IT))?;
        Ok(ChipKind::Regex(without_escaped_slashes(word)))
    }

    /// `level >= warn`.
    fn spaced_level(&mut self, length: usize, sign: FieldSign) -> Result<ChipKind, QueryError> {
        let comparison = match sign {
            FieldSign::AtLeast => Comparison::AtLeast,
            FieldSign::AtMost => Comparison::AtMost,
            FieldSign::Is => Comparison::Exactly,
            _ => {
                let hint = "write `level>=warn`, `level<=info`, `level=error`, or `-level=info`";
                let range = self.at..self.at + length;
                return Err(error(range, format!("levels are not compared with `{sign}`"), hint));
            }
        };
        self.level(comparison, length)
    }

    fn field(
        &mut self,
        chip_start: usize,
        name: String,
        sign: FieldSign,
        length: usize,
    ) -> Result<ChipKind, QueryError> {
        let (start, sign_end) = (self.at, self.at + length);
        let written = format!("{name}{sign}");
        let is_apart = self.text[start..sign_end].contains(char::is_whitespace);
        if sign == FieldSign::Is && !is_apart && !self.text[sign_end..].starts_with('"') {
            let word = self.text[start..].split(char::is_whitespace).next().unwrap_or_default();
            if word[length..].contains(VALUE_REGEX_SIGNS) {
                return self.bare();
            }
        }
        self.at = sign_end;
        let value = if self.rest().starts_with('"') { self.quoted_or_empty()? } else { self.word().to_string() };
        if value.is_empty() && self.at == sign_end {
            let hint = format!("put it right behind the sign, or quote it to find the text: `\"{written}\"`");
            return Err(error(chip_start..sign_end, format!("`{written}` without a value"), hint));
        }
        let word = value.to_ascii_lowercase();
        let is_level = LEVELS.iter().any(|(it, _)| *it == word);
        match name.as_str() {
            "level" => {
                let hint = "write `level>=warn`, `level<=info`, `level=error`, or `-level=info`";
                return Err(error(start..sign_end, format!("levels are not compared with `{sign}`"), hint));
            }
            "since" | "until" if sign == FieldSign::Is => {
                let hint = format!("did you mean `{name}:{value}`?");
                return Err(error(start..self.at, format!("`{name}` is written with a colon"), hint));
            }
            near if is_level && did_you_mean(near, ["level"]).is_some() => {
                let signs = if sign == FieldSign::Is { "=".to_string() } else { sign.to_string() };
                let hint = format!("did you mean `level{signs}{value}`?");
                return Err(error(start..sign_end, format!("unknown chip `{written}`"), hint));
            }
            _ => {}
        }
        if matches!(sign, FieldSign::Matches | FieldSign::MatchesNot) {
            let range = sign_end..self.at;
            Pattern::regex(&value).map_err(|message| error(range, message, "compare with `=` to find plain text"))?;
        }
        Ok(ChipKind::Field { name, sign, value })
    }

    fn level(&mut self, comparison: Comparison, prefix: usize) -> Result<ChipKind, QueryError> {
        self.at += prefix;
        let start = self.at;
        let word = self.word();
        let range = start..self.at;
        let lower = word.to_ascii_lowercase();
        match LEVELS.iter().find(|(name, _)| *name == lower) {
            Some((_, level)) => Ok(ChipKind::Level(comparison, *level)),
            None => {
                let near = did_you_mean(&lower, LEVELS.iter().map(|(name, _)| *name));
                let hint = near.map_or("levels are trace, debug, info, warn, error, fatal".to_string(), |it| {
                    format!("did you mean `{it}`?")
                });
                Err(error(range, format!("unknown level `{word}`"), hint))
            }
        }
    }

    fn regex(&mut self) -> Result<ChipKind, QueryError> {
        let start = self.at;
        let body = &self.text[start + 1..];
        let mut pattern = String::new();
        let mut chars = body.char_indices();
        while let Some((at, it)) = chars.next() {
            match it {
                '\\' => match chars.next() {
                    Some((_, '/')) => pattern.push('/'),
                    Some((_, other)) => pattern.extend(['\\', other]),
                    None => pattern.push('\\'),
                },
                '/' if body[at + 1..].chars().next().is_none_or(char::is_whitespace) => {
                    self.at = start + 1 + at + 1;
                    let range = start + 1..start + 1 + at;
                    if pattern.is_empty() {
                        return Err(error(start..self.at, "an empty regex", "write it between the slashes"));
                    }
                    Pattern::regex(&pattern)
                        .map_err(|message| error(range, message, "quote it to search for plain text"))?;
                    return Ok(ChipKind::Regex(pattern));
                }
                other => pattern.push(other),
            }
        }
        let range = start..self.text.len();
        Err(error(range, "a regex without its closing `/`", "close it, or quote text that begins with `/`"))
    }

    fn quoted(&mut self) -> Result<String, QueryError> {
        let start = self.at;
        let value = self.quoted_or_empty()?;
        if value.is_empty() {
            return Err(error(start..self.at, "an empty text", "write it between the quotes"));
        }
        Ok(value)
    }

    fn quoted_or_empty(&mut self) -> Result<String, QueryError> {
        let start = self.at;
        let body = &self.text[start + 1..];
        let mut value = String::new();
        let mut chars = body.char_indices().peekable();
        while let Some((at, it)) = chars.next() {
            match it {
                '\\' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                    Some((_, next)) => value.push(next),
                    None => value.push('\\'),
                },
                '"' => {
                    self.at = start + 1 + at + 1;
                    return Ok(value);
                }
                other => value.push(other),
            }
        }
        Err(error(start..self.text.len(), "a quote without its end", "close it with `\"`"))
    }

    fn word(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest.find(char::is_whitespace).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, sign: char) -> bool {
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len_utf8();
        }
        found
    }
}

type MakeKind = fn(String) -> ChipKind;
const PREFIXES: [(&str, MakeKind); 3] =
    [("source:", ChipKind::Source), ("since:", ChipKind::Since), ("until:", ChipKind::Until)];

/// True when a text without a form of its own is a regex. An address (`http://x/?a=b`) is not.
fn is_regex(text: &str) -> bool {
    text.contains(REGEX_SIGNS) && !text.contains("://")
}

/// A regex as it is kept: a slash needs its backslash only between slashes.
fn without_escaped_slashes(pattern: &str) -> String {
    let mut kept = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(it) = chars.next() {
        if it != '\\' {
            kept.push(it);
            continue;
        }
        match chars.next() {
            Some('/') => kept.push('/'),
            Some(other) => kept.extend([it, other]),
            None => kept.push(it),
        }
    }
    kept
}

/// What to do about a text that is no regex although it looks like one.
const QUOTE_IT: &str = "quote it to search for plain text: \"…\"";

/// What stands right behind `level`, and its length.
fn comparison(text: &str) -> Option<(Comparison, usize)> {
    let signs = [
        (">=", Comparison::AtLeast),
        ("<=", Comparison::AtMost),
        ("=", Comparison::Exactly),
        (":", Comparison::Exactly),
    ];
    signs.iter().find(|(sign, _)| text.starts_with(sign)).map(|(sign, it)| (*it, sign.len()))
}

fn error(range: Range<usize>, message: impl Into<String>, hint: impl Into<String>) -> QueryError {
    QueryError { range, message: message.into(), hint: Some(hint.into()) }
}

/// The level that a word means, in any case: `INFO`, `warning`.
pub fn level_of_word(word: &str) -> Option<Level> {
    LEVELS.iter().find(|(it, _)| it.eq_ignore_ascii_case(word)).map(|(_, level)| *level)
}

/// The word of a level in queries.
pub fn level_word(level: Level) -> &'static str {
    LEVELS.iter().find(|(_, it)| *it == level).map_or("info", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Query {
        Query::parse(text).unwrap()
    }

    #[test]
    fn every_kind_of_chip_is_read() {
        let query = parse(
            r#"level>=warn timeout -healthz /re(gex)?/ ~-/x\/y/ "two \"words" source:api !level=info since:-30m"#,
        );
        let expected = [
            Chip::keep(ChipKind::Level(Comparison::AtLeast, Level::Warn)),
            Chip::keep(ChipKind::Text("timeout".into())),
            Chip::drop(ChipKind::Text("healthz".into())),
            Chip::keep(ChipKind::Regex("re(gex)?".into())),
            Chip { out: true, enabled: false, kind: ChipKind::Regex("x/y".into()) },
            Chip::keep(ChipKind::Text("two \"words".into())),
            Chip::keep(ChipKind::Source("api".into())),
            Chip::drop(ChipKind::Level(Comparison::Exactly, Level::Info)),
            Chip::keep(ChipKind::Since("-30m".into())),
        ];
        assert_eq!(query.chips, expected);
    }

    #[test]
    fn fields_are_compared_by_their_sign() {
        let check = |text: &str, name: &str, sign: FieldSign, value: &str, printed: &str| {
            let kind = ChipKind::Field { name: name.into(), sign, value: value.into() };
            assert_eq!(parse(text).chips, [Chip::keep(kind)], "{text}");
            assert_eq!(parse(text).to_string(), printed, "{text}");
        };
        check("status>=500", "status", FieldSign::AtLeast, "500", "status>=500");
        check("status==404", "status", FieldSign::Is, "404", "status=404");
        check("user=~\"^sid\"", "user", FieldSign::Matches, "^sid", "user=~^sid");
        check("path!~\"a b\\d\"", "path", FieldSign::MatchesNot, "a b\\d", "path!~\"a b\\\\d\"");
        check("path!=/healthz", "path", FieldSign::IsNot, "/healthz", "path!=/healthz");
        check("latency>250ms", "latency", FieldSign::More, "250ms", "latency>250ms");
        check("http.status<5", "http.status", FieldSign::Less, "5", "http.status<5");
        check("@timestamp<=\"x y\"", "@timestamp", FieldSign::AtMost, "x y", "@timestamp<=\"x y\"");
        check("user=\"\"", "user", FieldSign::Is, "", "user=\"\"");
        check("a=\"=b\"", "a", FieldSign::Is, "=b", "a=\"=b\"");
        assert_eq!(parse("http://x/?a=b").chips, [Chip::keep(ChipKind::Text("http://x/?a=b".into()))]);
        assert_eq!(parse("a->b =x 5=6").chips.len(), 3);
        assert!(parse("a->b =x 5=6").chips.iter().all(|it| matches!(it.kind, ChipKind::Text(_))));
    }

    #[test]
    fn what_is_typed_is_one_text_unless_it_has_a_form() {
        let check = |text: &str, printed: &str| {
            let query = Query::typed(text).map(|it| it.to_string());
            assert_eq!(query.as_deref(), Ok(printed), "{text}");
            assert_eq!(Query::typed(printed), Query::typed(text), "{text}");
        };
        check("pool exhausted", "\"pool exhausted\"");
        check("ERROR.*timeout", "/ERROR.*timeout/");
        check("a (b|c)", "/a (b|c)/");
        check("\"ERROR.*timeout\"", "\"ERROR.*timeout\"");
        check("level>=warn ERROR.*timeout", "level>=warn /ERROR.*timeout/");
        check("timeout -healthz", "timeout -healthz");
        check("\"a\" b", "\"a\" b");
        check("status >= 500", "status>=500");
        check("status>= 500 x", "status>=500 x");
        check("level >= warn", "level>=warn");
        check("status=5\\d\\d", "/status=5\\d\\d/");
        check("status=\"5\\d\"", "status=\"5\\\\d\"");
        check("GET /orders", "\"GET /orders\"");
        check("a -> b", "\"a -> b\"");
        assert!(Query::typed("x level>=wran").is_err() && Query::typed("pool(").is_err());
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let check = |text: &str, range: Range<usize>, message: &str| {
            let error = Query::parse(text).unwrap_err();
            assert_eq!((error.range, error.message.as_str()), (range, message), "{text}");
        };
        check("a level>=wran", 9..13, "unknown level `wran`");
        check("a /b", 2..4, "a regex without its closing `/`");
        check("a \"b", 2..4, "a quote without its end");
        check("a - b", 2..3, "nothing to filter by");
        check("source:", 0..7, "`source:` without a value");
        check("\"\"", 0..2, "an empty text");
        check("status>=", 0..8, "`status>=` without a value");
        check("a level>warn", 2..8, "levels are not compared with `>`");
        check("since=-30m", 0..10, "`since` is written with a colon");
        check("levl>=warn", 0..6, "unknown chip `levl>=`");
        check("user=~(a", 6..8, "unclosed group");
        let error = Query::parse("x /a(b/ y").unwrap_err();
        assert_eq!(error.range, 3..6);
        assert!(error.message.contains("unclosed group"), "{}", error.message);
    }

    #[test]
    fn text_that_looks_like_syntax_is_printed_in_quotes() {
        for text in
            ["-x", "/x/", "level=error", "status=500", "a!~b", "source:a", "two words", "a\\b c\"d", "~", "\u{3000}"]
        {
            let query = Query { chips: vec![Chip::keep(ChipKind::Text(text.into()))] };
            assert_eq!(parse(&query.to_string()), query, "{text}");
        }
    }

    proptest! {
        #[test]
        fn printing_what_was_parsed_gives_the_same_query(parts in prop::collection::vec(
            prop::sample::select(vec!["a", "B", "/", "\\", "\"", "-", "~", "!", " ", "level", ">=", "=", "warn", "source:", "user", "~", "!=", "<", "错", ".*", "(", ")"]), 0..20)) {
            if let Ok(query) = Query::parse(&parts.concat()) {
                let printed = query.to_string();
                prop_assert_eq!(Query::parse(&printed), Ok(query), "{}", printed);
            }
        }

        #[test]
        fn any_text_survives_as_a_chip(text in "\\PC{1,12}", out: bool, enabled: bool) {
            let query = Query { chips: vec![Chip { out, enabled, kind: ChipKind::Text(text) }, Chip::keep(ChipKind::Text("z".into()))] };
            prop_assert_eq!(Query::parse(&query.to_string()), Ok(query));
        }

        #[test]
        fn an_error_points_into_the_text(text in "\\PC{0,20}") {
            if let Err(error) = Query::parse(&text) {
                prop_assert!(text.get(error.range.clone()).is_some(), "{:?} in {:?}", error, text);
            }
        }
    }
}
