//! The text form of a query: reading what is printed gives the same query back.

use std::fmt;

use crate::domain::query::field::{self, FieldSign};
use crate::domain::query::{
    Chip, ChipKind, Comparison, PREFIXES, Query, VALUE_REGEX_SIGNS, comparison, is_regex, level_word,
};

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Words alone would be read as one text.
        let is_word =
            |it: &Chip| it.enabled && !it.out && matches!(&it.kind, ChipKind::Text(text) if reads_as_word(text));
        let are_words = self.chips.len() > 1 && self.chips.iter().all(is_word);
        for (index, chip) in self.chips.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            match &chip.kind {
                ChipKind::Text(text) if are_words && index == 0 => write_quoted(f, text)?,
                _ => write!(f, "{chip}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Chip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.enabled {
            f.write_str("~")?;
        }
        if self.out {
            f.write_str("-")?;
        }
        write!(f, "{}", self.kind)
    }
}

impl fmt::Display for ChipKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChipKind::Text(text) if reads_as_word(text) => f.write_str(text),
            ChipKind::Text(text) => write_quoted(f, text),
            ChipKind::Regex(pattern) => {
                f.write_str("/")?;
                let mut chars = pattern.chars();
                while let Some(it) = chars.next() {
                    match it {
                        '\\' => {
                            f.write_str("\\")?;
                            if let Some(next) = chars.next() {
                                write!(f, "{next}")?;
                            }
                        }
                        '/' => f.write_str("\\/")?,
                        other => write!(f, "{other}")?,
                    }
                }
                f.write_str("/")
            }
            ChipKind::Level(comparison, level) => {
                let sign = match comparison {
                    Comparison::AtLeast => ">=",
                    Comparison::AtMost => "<=",
                    Comparison::Exactly => "=",
                };
                write!(f, "level{sign}{}", level_word(*level))
            }
            ChipKind::Source(value) => write_value(f, "source:", value),
            ChipKind::Since(value) => write_value(f, "since:", value),
            ChipKind::Until(value) => write_value(f, "until:", value),
            ChipKind::Field { name, sign, value } => {
                write!(f, "{name}{sign}")?;
                let is_regex = *sign == FieldSign::Is && value.contains(VALUE_REGEX_SIGNS);
                let is_bare = !value.is_empty()
                    && !value.starts_with(['"', '=', '~', '<', '>', '!'])
                    && !value.contains(char::is_whitespace)
                    && !is_regex;
                if is_bare { f.write_str(value) } else { write_quoted(f, value) }
            }
        }
    }
}

fn write_value(f: &mut fmt::Formatter<'_>, prefix: &str, value: &str) -> fmt::Result {
    f.write_str(prefix)?;
    if value.starts_with('"') || value.contains(char::is_whitespace) {
        return write_quoted(f, value);
    }
    f.write_str(value)
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn reads_as_word(text: &str) -> bool {
    let plain = !text.starts_with(['/', '"', '-', '!', '~', '=', '<', '>'])
        && !text.contains(char::is_whitespace)
        && !is_regex(text);
    let keyword = text.strip_prefix("level").and_then(comparison).is_some()
        || field::split(text).is_some()
        || PREFIXES.iter().any(|(prefix, _)| text.starts_with(prefix));
    plain && !keyword && !text.is_empty()
}
