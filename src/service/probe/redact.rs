//! Takes secrets out of what a service or plugin said, before it is kept, drawn or written anywhere.
//!
//! The values that the config has are masked by a [`Veil`], whoever asks; what looks like one
//! without being in the config by [`crate::domain::secrets`]; here is how much of a text is kept.

use crate::domain::probe::expect::{MASK, Values, is_secret_name, shorten};
use crate::domain::probe::outcome::{EVIDENCE_BODY_MAX, EVIDENCE_HEADERS_MAX, EVIDENCE_TEXT_MAX, Evidence};
use crate::domain::{sanitise, secrets};
use crate::service::probe::net::Verdict;
use crate::service::veil::Veil;

/// Takes secrets out of the words of a verdict.
pub fn verdict((result, mut trouble): Verdict, secrets: &[String]) -> Verdict {
    trouble.text = redact(&trouble.text, secrets);
    (result, trouble)
}

/// Makes evidence of a text: secrets masked, sanitised, one line, short.
pub fn evidence(text: &str, secrets: &[String]) -> String {
    shorten(sanitise::text(&excerpt(text, secrets, EVIDENCE_TEXT_MAX * 4)).trim(), EVIDENCE_TEXT_MAX)
}

/// The beginning of a text, at most so many characters, without secrets; not sanitised.
///
/// Only as much of the text is searched as that takes, so that a large body costs nothing.
pub fn excerpt(text: &str, secrets: &[String], chars_max: usize) -> String {
    let longest = secrets.iter().map(String::len).max().unwrap_or_default().max(SPLIT_MIN);
    let searched = beginning(text, 4 * chars_max + longest);
    let mut clean = redact(searched, secrets);
    if searched.len() < text.len() {
        // A secret that the cut splits is found by nothing: what could be its beginning goes.
        clean.truncate(beginning(&clean, clean.len().saturating_sub(longest)).len());
        clean.push('…');
    }
    shorten(&clean, chars_max)
}

/// Bytes of a body that are searched for secrets to keep [`EVIDENCE_BODY_MAX`] of it.
const BODY_SEARCHED_MAX: usize = 4 * EVIDENCE_BODY_MAX;
/// Characters of one header's value kept as evidence.
const HEADER_VALUE_MAX: usize = 512;
/// Bytes that are taken for the beginning of a secret at least where a text is cut.
const SPLIT_MIN: usize = 256;

/// Makes evidence of an HTTP answer that was not as it should be: its first words, headers and body.
pub fn answer(values: &Values, evidence: &mut Evidence, secrets: &[String]) {
    evidence.text = self::evidence(&values.text, secrets);
    evidence.headers = headers(&values.headers, secrets);
    evidence.body = body(&values.text, secrets);
}

/// Headers as evidence: values that are credentials are masked as a whole.
pub fn headers(headers: &[(String, String)], secrets: &[String]) -> Vec<(String, String)> {
    let one = |(name, value): &(String, String)| {
        let value = if is_secret_name(name) {
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
        let longest = secrets.iter().map(String::len).max().unwrap_or_default().max(SPLIT_MIN);
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
    if secrets.is_empty() { secrets::mask(text) } else { secrets::mask(&Veil::of_secrets(secrets).text(text)) }
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
            // A port is no password.
            ("redirects to http://127.0.0.1:8080/x (307)", "redirects to http://127.0.0.1:8080/x (307)"),
            ("see http://h:80/a?mail=x@y", "see http://h:80/a?mail=x@y"),
            ("http://h:80 https://u:p4ss@h:443/", "http://h:80 https://u:***@h:443/"),
            (r#"{"access_token":"a b, c","n":1}"#, r#"{"access_token":"***","n":1}"#),
            (r#"{"x-api-key": 'a b'}"#, r#"{"x-api-key": '***'}"#),
            (r#""{\"client_secret\":\"abc\"}""#, r#""{\"client_secret\":\"***\"}""#),
            ("Authorization: Digest abc", "Authorization: Digest ***"),
            ("auth=Basic dTpwYXNzdw==, x", "auth=Basic ***, x"),
            ("basic authentication is asked for", "basic authentication is asked for"),
            ("got eyJhbGciOiJIUzI1NiJ9.abc.def there", "got *** there"),
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
    fn an_excerpt_holds_no_part_of_a_secret_wherever_it_is_cut() {
        let secret = "A".to_string() + &"b".repeat(300);
        for before in 0..330 {
            let text = "x".repeat(before) + &secret.repeat(3);
            for chars_max in [10, 60] {
                let kept = excerpt(&text, std::slice::from_ref(&secret), chars_max);
                assert!(!kept.contains(['A', 'b']), "{before}: {kept}");
            }
        }
        assert_eq!(excerpt(r#"say "p\"q" p"q1"#, &[r#"p"q1"#.into()], 99), r#"say "p\"q" ***"#);
        assert_eq!(excerpt(r#"{"a":"p\"q1"}"#, &[r#"p"q1"#.into()], 99), r#"{"a":"***"}"#);
    }

    #[test]
    fn evidence_is_one_short_harmless_line() {
        let text = format!("a\u{1b}[31mred\u{1b}[0m\nb{}", "x".repeat(1000));
        let evidence = evidence(&text, &[]);
        assert!(evidence.starts_with("ared b"));
        assert!(evidence.chars().count() <= EVIDENCE_TEXT_MAX + 1);
    }
}
