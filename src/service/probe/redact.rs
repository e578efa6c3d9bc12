//! Takes secrets out of what a service or plugin said, before it is kept, drawn or written anywhere.

use std::sync::LazyLock;

use regex::Regex;

use crate::domain::probe::expect::{Values, shorten};
use crate::domain::probe::outcome::{EVIDENCE_BODY_MAX, EVIDENCE_HEADERS_MAX, EVIDENCE_TEXT_MAX, Evidence};
use crate::domain::sanitise;
use crate::service::probe::net::Verdict;

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

/// Takes secrets out of the words of a verdict.
pub fn verdict((result, mut trouble): Verdict, secrets: &[String]) -> Verdict {
    trouble.text = redact(&trouble.text, secrets);
    (result, trouble)
}

/// Makes evidence of a text: secrets masked, sanitised, one line, short.
pub fn evidence(text: &str, secrets: &[String]) -> String {
    // Cut first, so that a large body costs nothing; a secret that the cut splits is masked by its beginning.
    let room = shorten(text, EVIDENCE_TEXT_MAX * 4);
    shorten(sanitise::text(&redact(&room, secrets)).trim(), EVIDENCE_TEXT_MAX)
}

/// Bytes of a body that are searched for secrets to keep [`EVIDENCE_BODY_MAX`] of it.
const BODY_SEARCHED_MAX: usize = 4 * EVIDENCE_BODY_MAX;
/// Characters of one header's value kept as evidence.
const HEADER_VALUE_MAX: usize = 512;
/// Parts of a header's name by which its value is a secret.
const SECRET_HEADERS: &[&str] =
    &["authorization", "cookie", "token", "secret", "api-key", "apikey", "session", "password"];

/// Makes evidence of an HTTP answer that was not as it should be: its first words, headers and body.
pub fn answer(values: &Values, evidence: &mut Evidence, secrets: &[String]) {
    evidence.text = self::evidence(&values.text, secrets);
    evidence.headers = headers(&values.headers, secrets);
    evidence.body = body(&values.text, secrets);
}

/// Headers as evidence: values that are credentials are masked as a whole.
pub fn headers(headers: &[(String, String)], secrets: &[String]) -> Vec<(String, String)> {
    let one = |(name, value): &(String, String)| {
        let lower = name.to_ascii_lowercase();
        let value = if SECRET_HEADERS.iter().any(|it| lower.contains(it)) {
            MASK.to_string()
        } else {
            shorten(&sanitise::text(&redact(value, secrets)), HEADER_VALUE_MAX)
        };
        (sanitise::text(name), value)
    };
    headers.iter().take(EVIDENCE_HEADERS_MAX).map(one).collect()
}

/// A body or transcript as evidence: its beginning, in its lines.
pub fn body(text: &str, secrets: &[String]) -> String {
    let searched = beginning(text, BODY_SEARCHED_MAX);
    let mut clean = redact(searched, secrets);
    if searched.len() < text.len() {
        // A secret that the cut splits is found by nothing: what could be its beginning goes.
        let longest = secrets.iter().map(String::len).max().unwrap_or_default().max(256);
        clean.truncate(beginning(&clean, clean.len().saturating_sub(longest)).len());
    }
    let clean = sanitise::multiline(&clean.replace("\r\n", "\n"));
    beginning(&clean, EVIDENCE_BODY_MAX).to_string()
}

/// The first bytes of a text, whole characters only.
fn beginning(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
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
    fn a_failing_answer_keeps_its_headers_and_body_without_secrets() {
        let header = |name: &str, value: &str| (name.to_string(), value.to_string());
        let values = Values {
            text: format!("line one\r\nkey hunter22\x1b[2J {}hunter22", "x".repeat(BODY_SEARCHED_MAX)),
            headers: vec![header("set-cookie", "sid=1"), header("x-trace", "hunter22 ok"), header("X-Auth-Token", "t")],
            ..Values::default()
        };
        let mut evidence = Evidence::default();
        answer(&values, &mut evidence, &["hunter22".into()]);
        assert_eq!(
            evidence.headers,
            [header("set-cookie", "***"), header("x-trace", "*** ok"), header("X-Auth-Token", "***")]
        );
        assert!(evidence.body.starts_with("line one\nkey *** xxx"), "{}", &evidence.body[..40]);
        assert_eq!(evidence.body.len(), EVIDENCE_BODY_MAX);
    }

    #[test]
    fn a_secret_that_a_cut_splits_leaves_nothing() {
        let secret = "s".repeat(30) + "e" + &"t".repeat(30);
        let masked = secret.repeat(BODY_SEARCHED_MAX / secret.len() + 2);
        let kept = body(&masked, &[secret]);
        assert!(kept.chars().all(|it| it == '*'), "{kept}");
    }

    #[test]
    fn evidence_is_one_short_harmless_line() {
        let text = format!("a\u{1b}[31mred\u{1b}[0m\nb{}", "x".repeat(1000));
        let evidence = evidence(&text, &[]);
        assert!(evidence.starts_with("ared b"));
        assert!(evidence.chars().count() <= EVIDENCE_TEXT_MAX + 1);
    }
}
