//! Takes secrets out of what a service or plugin said, before it is kept, drawn or written anywhere.

use std::sync::LazyLock;

use regex::Regex;

use crate::domain::probe::expect::shorten;
use crate::domain::probe::outcome::EVIDENCE_TEXT_MAX;
use crate::domain::sanitise;

/// Stands where a secret stood.
const MASK: &str = "***";
/// A configured value shorter than this is no secret, and masking it would eat ordinary words.
const SECRET_MIN: usize = 4;

/// What looks like a secret wherever it comes from: the word before it is kept.
static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let words = "password|passwd|secret|token|api[_-]?key|authorization|access[_-]?key";
    Regex::new(&format!(
        r#"(?i)(\b(?:{words})["']?\s*[:=]\s*["']?(?:bearer\s+|basic\s+)?|\bbearer\s+|://[^/\s:@]+:)([^\s"',;&@]+)"#
    ))
    .ok()
});

/// Makes evidence of a text: secrets masked, sanitised, one line, short.
pub fn evidence(text: &str, secrets: &[String]) -> String {
    // Cut first, so that a large body costs nothing; a secret that the cut splits is masked by its beginning.
    let room = shorten(text, EVIDENCE_TEXT_MAX * 4);
    shorten(sanitise::text(&redact(&room, secrets)).trim(), EVIDENCE_TEXT_MAX)
}

/// Masks the configured secrets and what looks like one.
pub fn redact(text: &str, secrets: &[String]) -> String {
    let mut text = text.to_string();
    for secret in secrets.iter().filter(|it| it.len() >= SECRET_MIN) {
        text = text.replace(secret.as_str(), MASK);
    }
    match &*PATTERN {
        Some(pattern) => pattern.replace_all(&text, format!("${{1}}{MASK}")).into_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_the_words_around_them_stay() {
        for (text, wanted) in [
            ("login failed for hunter22", "login failed for ***"),
            (r#"{"token": "abc.def", "x": 1}"#, r#"{"token": "***", "x": 1}"#),
            ("Authorization: Bearer abc.def-1", "Authorization: Bearer ***"),
            ("postgres://app:s3cret@db/x", "postgres://app:***@db/x"),
            ("password=abc&user=bob", "password=***&user=bob"),
            ("the token expired", "the token expired"),
        ] {
            assert_eq!(redact(text, &["hunter22".into()]), wanted);
        }
    }

    #[test]
    fn evidence_is_one_short_harmless_line() {
        let text = format!("a\u{1b}[31mred\u{1b}[0m\nb{}", "x".repeat(1000));
        let evidence = evidence(&text, &[]);
        assert!(evidence.starts_with("ared b"));
        assert!(evidence.chars().count() <= EVIDENCE_TEXT_MAX + 1);
    }
}
