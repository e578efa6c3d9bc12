//! What looks like a secret in a text, wherever the text comes from: an answer, an argument, a line of a config.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use crate::domain::probe::expect::MASK;

/// What looks like a secret: the second group is it, the words around it are kept.
static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let words =
        "password|passwd|passphrase|secret|token|api[_-]?key|authorization|cookie|access[_-]?key|private[_-]?key";
    // `access_token`, `x-api-key`, also in JSON that is itself a string in JSON.
    let name = format!(r#"\b[\w.-]*(?:{words})\\?["']?\s*[:=]\s*"#);
    [
        // In quotes up to their end.
        format!(r#"(?i)({name}\\?")((?:[^"\\]|\\[^"])+)()"#),
        format!(r#"(?i)({name}')([^']+)()"#),
        format!(r#"(?i)({name}(?:bearer\s+|basic\s+|digest\s+)?|\bbearer\s+)([^\s"'\\,;&@]+)()"#),
        // Names that are too short to be a secret's in any text are one's in a query and in an option.
        r#"(?i)((?:[?&]|--)(?:sig|signature|auth|pass|pwd|pw)=)([^\s"'\\,;&#]+)()"#.to_string(),
        // A login by `Basic` that ends in padding; one that does not looks like any word.
        r"(?i)(\bbasic\s+)([a-z0-9+/]{6,}={1,2})()".to_string(),
        // What stands before the `@` of a URL; after it the `:` is that of the port.
        r#"(://[^/\s:@]*:)([^\s/?#"'@]+)(@)"#.to_string(),
        // A JSON web token.
        r"()(\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?)()".to_string(),
    ]
    .iter()
    .filter_map(|it| Regex::new(it).ok())
    .collect()
});

/// A word of fewer letters is an ordinary one: a secret that people make is longer, or has a digit in it.
const WORD_MAX: usize = 8;
/// Letters mixed with digits are no ordinary word from this length on.
const MIXED_MIN: usize = 5;

/// True for a part of a URL that can be the key to what is there: it is long, or letters are mixed with digits. What is
/// short and plain, as `hooks`, `dead` or `8080`, is a word, and to mask it everywhere would eat what people are to read.
pub fn is_telling(part: &str) -> bool {
    let is_mixed = part.contains(|it: char| it.is_ascii_digit()) && part.contains(char::is_alphabetic);
    part.len() > WORD_MAX || is_mixed && part.len() >= MIXED_MIN
}

/// True for what looks like an ordinary word: within a longer one it is no secret, `dead` in `deadline`.
pub fn is_word(text: &str) -> bool {
    text.chars().count() <= WORD_MAX && text.chars().all(char::is_alphabetic)
}

/// Masks what looks like a secret.
pub fn mask(text: &str) -> String {
    let mut text = text.to_string();
    for pattern in PATTERNS.iter() {
        if let Cow::Owned(clean) = pattern.replace_all(&text, format!("${{1}}{MASK}${{3}}")) {
            text = clean;
        }
    }
    text
}

/// Where a text that a person wrote has a secret in it, in bytes and in order.
///
/// What only says where the secret is, as `${env:TOKEN}` or the `$TOKEN` of a shell, is none.
pub fn written_out(text: &str) -> Vec<Range<usize>> {
    let is_secret = |it: &regex::Match<'_>| {
        let it = it.as_str();
        it.contains(char::is_alphanumeric) && !it.contains("${") && !it.starts_with(['$', '{', '<'])
    };
    let found = PATTERNS.iter().flat_map(|it| it.captures_iter(text)).filter_map(|it| it.get(2)).filter(is_secret);
    let mut found: Vec<Range<usize>> = found.map(|it| it.range()).collect();
    found.sort_by_key(|it| (it.start, std::cmp::Reverse(it.end)));
    let mut apart: Vec<Range<usize>> = Vec::new();
    for range in found {
        match apart.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    apart
}

/// Masks what [`written_out`] finds with as many stars, so that a caret below stays where it belongs.
pub fn mask_in_place(text: &str) -> String {
    let mut masked = String::new();
    let mut at = 0;
    for range in written_out(text) {
        masked.push_str(&text[at..range.start]);
        masked.push_str(&"*".repeat(text[range.clone()].chars().count()));
        at = range.end;
    }
    masked + &text[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_word_of_a_url_is_no_key() {
        for (part, wanted) in [
            ("dead", false),
            ("hooks", false),
            ("services", false),
            ("8080", false),
            ("v1", false),
            ("T01AB", true),
            ("oncall-s7d2", true),
            ("correcthorse", true),
        ] {
            assert_eq!(is_telling(part), wanted, "{part}");
        }
    }

    #[test]
    fn what_a_person_writes_out_is_found_and_what_says_where_it_is_is_not() {
        for (text, masked) in [
            ("http://bob:hunter2@h:9/x?token=abc&n=1", "http://bob:*******@h:9/x?token=***&n=1"),
            ("https://h/?sig=a%2Fb#x", "https://h/?sig=*****#x"),
            ("--password=hunter2", "--password=*******"),
            ("--pass=hunter2", "--pass=*******"),
            ("Authorization: Bearer abc", "Authorization: Bearer ***"),
            ("Cookie: sid=é1", "Cookie: ******"),
            ("loki = { url = 'http://b:pw@h/', n = 1 }", "loki = { url = 'http://b:**@h/', n = 1 }"),
            ("Authorization: Bearer ${env:T}", "Authorization: Bearer ${env:T}"),
            ("http://bob:${env:PW}@h/?api_key=${file:/k}", "http://bob:${env:PW}@h/?api_key=${file:/k}"),
            ("curl -H \"X-Token: $TOKEN\"", "curl -H \"X-Token: $TOKEN\""),
            ("--token-file=/run/t", "--token-file=/run/t"),
            ("json.token == 'x'", "json.token == 'x'"),
            ("http://h:80/a?mail=x@y", "http://h:80/a?mail=x@y"),
            ("ssh://git@h/x", "ssh://git@h/x"),
        ] {
            assert_eq!(mask_in_place(text), masked);
        }
    }
}
