//! Keys as data: parsed from and printed to the form used in tables, config and help (`ctrl-r`, `g g`, `F`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::config_error::ConfigError;

/// One key press.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Which key.
    pub code: KeyCode,
    /// Ctrl held.
    pub ctrl: bool,
    /// Alt held (or Esc sent before).
    pub alt: bool,
    /// Shift held; never set for characters, which are upper case instead.
    pub shift: bool,
}

/// Which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyCode {
    /// A character; letters carry their case.
    Char(char),
    /// Enter.
    Enter,
    /// Escape.
    Esc,
    /// Tab.
    Tab,
    /// Shift-Tab.
    BackTab,
    /// Backspace.
    Backspace,
    /// Delete.
    Delete,
    /// Insert.
    Insert,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Home.
    Home,
    /// End.
    End,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// F1 to F12.
    F(u8),
}

const NAMED: &[(&str, KeyCode)] = &[
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("backtab", KeyCode::BackTab),
    ("backspace", KeyCode::Backspace),
    ("del", KeyCode::Delete),
    ("ins", KeyCode::Insert),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pgup", KeyCode::PageUp),
    ("pgdn", KeyCode::PageDown),
    ("space", KeyCode::Char(' ')),
];

impl Key {
    /// A key without modifiers.
    pub const fn plain(code: KeyCode) -> Self {
        Self { code, ctrl: false, alt: false, shift: false }
    }

    /// A character without modifiers.
    pub const fn char(it: char) -> Self {
        Self::plain(KeyCode::Char(it))
    }

    /// A character with Ctrl.
    pub const fn ctrl(it: char) -> Self {
        Self { code: KeyCode::Char(it), ctrl: true, alt: false, shift: false }
    }

    /// The character that this key types into a text, if it types one.
    pub fn typed(&self) -> Option<char> {
        match self.code {
            KeyCode::Char(it) if !self.ctrl && !self.alt => Some(it),
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (held, name) in [(self.ctrl, "ctrl-"), (self.alt, "alt-"), (self.shift, "shift-")] {
            if held {
                f.write_str(name)?;
            }
        }
        if let Some((name, _)) = NAMED.iter().find(|(_, code)| *code == self.code) {
            return f.write_str(name);
        }
        match self.code {
            KeyCode::Char(it) => write!(f, "{it}"),
            KeyCode::F(number) => write!(f, "f{number}"),
            _ => Ok(()),
        }
    }
}

impl FromStr for Key {
    type Err = String;

    /// Parses one key: `j`, `G`, `ctrl-r`, `alt-x`, `shift-up`, `space`, `f1`, `-`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut key = Key::plain(KeyCode::Esc);
        let mut rest = text;
        loop {
            let (flag, length) = match rest {
                it if it.starts_with("ctrl-") && it.len() > 5 => (&mut key.ctrl, 5),
                it if it.starts_with("alt-") && it.len() > 4 => (&mut key.alt, 4),
                it if it.starts_with("shift-") && it.len() > 6 => (&mut key.shift, 6),
                _ => break,
            };
            *flag = true;
            rest = &rest[length..];
        }
        let mut chars = rest.chars();
        key.code = match (chars.next(), chars.next()) {
            (Some(it), None) => KeyCode::Char(it),
            _ => match NAMED.iter().find(|(name, _)| *name == rest) {
                Some((_, code)) => *code,
                None => match rest.strip_prefix('f').and_then(|it| it.parse().ok()) {
                    Some(number @ 1..=12) => KeyCode::F(number),
                    _ => return Err(format!("unknown key `{text}`")),
                },
            },
        };
        if key.shift && matches!(key.code, KeyCode::Char(_)) {
            return Err(format!("write the upper-case letter instead of `{text}`"));
        }
        Ok(key)
    }
}

/// Parses keys pressed one after another, separated by blanks: `g g`.
pub fn parse_sequence(text: &str) -> Result<Vec<Key>, String> {
    let keys: Vec<Key> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err("an empty key".into()) } else { Ok(keys) }
}

/// Prints a sequence the way `parse_sequence` reads it.
pub fn print_sequence(keys: &[Key]) -> String {
    keys.iter().map(Key::to_string).collect::<Vec<_>>().join(" ")
}

/// One line of `[keys]` in a config: `"logs.follow" = ["F", "ctrl-f"]`. An empty list takes the keys away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyBinding {
    /// The command's name.
    pub command: String,
    /// Key sequences.
    pub keys: Vec<String>,
    /// Points at the command's name; the keymap fills in the message when something is wrong.
    pub at: ConfigError,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_what_is_parsed() {
        for text in ["j", "G", "ctrl-r", "alt-x", "shift-up", "space", "f11", "-", "ctrl--", "esc", "pgdn", "é"] {
            assert_eq!(text.parse::<Key>().map(|it| it.to_string()), Ok(text.to_string()), "{text}");
        }
        assert!("ctrl-".parse::<Key>().is_err());
        assert!("f13".parse::<Key>().is_err());
        assert_eq!(parse_sequence("g g").map(|it| it.len()), Ok(2));
    }
}
