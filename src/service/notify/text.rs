//! Makes a message fit its channel: whole characters, bounded, with a short id.

use sha2::{Digest, Sha256};
use unicode_segmentation::UnicodeSegmentation;

use crate::domain::alert::delivery::Message;
use crate::domain::sanitise;

/// What a text about several things begins with, `2 probes DOWN`; `None` for a text about one.
pub fn head(message: &Message) -> Option<String> {
    let (first, rest) = message.text.split_once('\n')?;
    let is_list = !first.is_empty() && (rest.starts_with('\n') || rest.starts_with("first: "));
    let more = message.title.strip_prefix(first).filter(|_| is_list)?;
    (more.is_empty() || more.starts_with(": ")).then(|| first.to_string())
}

/// The text below the title: the whole text without a first line that repeats the title, or its beginning.
pub fn body(message: &Message) -> String {
    let text = sanitise::multiline(&message.text);
    let title = head(message).unwrap_or_else(|| message.title.clone());
    let rest = text.strip_prefix(&title as &str).filter(|it| it.is_empty() || it.starts_with('\n'));
    let rest = rest.map_or(text.as_str(), |it| it.trim_start_matches('\n'));
    if rest.trim().is_empty() { sanitise::text(&message.title) } else { rest.trim_end().to_string() }
}

/// Title and text, the title once.
pub fn whole(message: &Message) -> String {
    let (title, body) = (sanitise::text(&message.title), body(message));
    if body == title { title } else { format!("{title}\n{body}") }
}

/// Cuts to a number of bytes between graphemes and marks the cut.
pub fn cut_bytes(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_string();
    }
    let room = bytes_max.saturating_sub('…'.len_utf8());
    let mut end = 0;
    for (at, grapheme) in text.grapheme_indices(true) {
        if at + grapheme.len() > room {
            break;
        }
        end = at + grapheme.len();
    }
    format!("{}…", &text[..end])
}

/// Cuts to a number of characters between graphemes and marks the cut.
pub fn cut_chars(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_string();
    }
    let (mut end, mut count) = (0, 0);
    for (at, grapheme) in text.grapheme_indices(true) {
        count += grapheme.chars().count();
        if count >= chars_max {
            break;
        }
        end = at + grapheme.len();
    }
    format!("{}…", &text[..end])
}

/// Characters of a number at the end of a key that a person still reads as one.
const NUMBER_MAX: usize = 8;

/// A short id that is the same in every message about one alert: the number at the end of its key.
///
/// An SMS that came twice, because the answer to the first was lost, is told by it.
pub fn short_id(key: &str) -> String {
    let last = key.rsplit('/').next().unwrap_or_default();
    if !last.is_empty() && last.len() <= NUMBER_MAX && last.bytes().all(|it| it.is_ascii_alphanumeric()) {
        return format!("#{last}");
    }
    let digest = Sha256::digest(key.as_bytes());
    format!("#{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_falls_between_graphemes() {
        // A family of four is one grapheme of 25 bytes and 7 characters.
        let family = "👨‍👩‍👧‍👦";
        let text = format!("ab{family}cd");
        assert_eq!(cut_bytes(&text, 20), "ab…");
        assert_eq!(cut_bytes(&text, text.len()), text);
        assert_eq!(cut_chars(&text, 8), "ab…");
        assert_eq!(cut_chars(&text, 10), format!("ab{family}…"));
        assert_eq!(cut_bytes("日本語", 7), "日…");
    }

    #[test]
    fn a_number_is_its_own_short_id_and_anything_else_is_hashed() {
        assert_eq!(short_id("host/api/17"), "#17");
        assert_eq!(short_id("host/a long name here").len(), 7);
    }
}
