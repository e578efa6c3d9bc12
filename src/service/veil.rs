//! Keeps the secrets of a config entry out of everything that is said about the entry: the one mask of values.
//!
//! A reference can stand in any string: an argument, a query, a password. So no kind is asked which of its strings hold
//! one: whoever builds an entry collects what of its references must not be shown
//! ([`Node::referred_in`](crate::registry::node::Node::referred_in)), and what the entry says of itself and of what it
//! met goes through here. A password or a token that is written out is known to its kind alone, which has it masked by
//! [`Veil::of_secrets`] before a text is cut.
//!
//! Backup jobs have no veil: what they are about are paths, by which a person restores.

use std::sync::Arc;

use crate::domain::probe::expect::MASK;
use crate::domain::probe::outcome::{Certificate, Evidence, Hop, Part, Perf, Trouble};
use crate::domain::secrets::is_word;

/// A value shorter than this is no secret, and masking it would eat ordinary words. Also of what a cut has left of one.
const SECRET_MIN: usize = 4;
/// A plain number of at most so many digits is a port, a percentage or a limit and no secret: without it no reason can
/// be understood.
const NUMBER_MAX: usize = 5;
/// A line or word of a value with several counts by itself from this length on: programs repeat one line of a file, one
/// field of a form.
const PART_MIN: usize = 8;
/// Between the words of a value.
const BETWEEN: &[char] = &['&', '=', '?', '#', '{', '}', '[', ']', '"', '\'', ',', ';'];
/// Stands where a text was cut.
const CUT: &str = "…";

/// Masks a set of values, in every form in which they are commonly repeated. Cloning is cheap.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Veil {
    // The longest first, so that one that holds another is masked as a whole.
    forms: Arc<[String]>,
}

/// Tells two sets apart without showing them.
impl std::fmt::Debug for Veil {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Veil({})", self.forms.len())
    }
}

impl Veil {
    /// Takes what the references stood for.
    pub fn new(values: impl IntoIterator<Item = String>) -> Self {
        let mut texts = Vec::new();
        for value in values {
            let value = value.trim();
            let words = value.split(|it: char| it.is_whitespace() || BETWEEN.contains(&it));
            let parts = value.lines().map(str::trim).chain(words).filter(|it| it.len() >= PART_MIN && *it != value);
            texts.extend(std::iter::once(value).chain(parts).filter(|it| is_secret(it)).map(str::to_string));
        }
        Self::of(&texts)
    }

    /// Takes what is known to be secret, digits too.
    pub fn of_secrets(secrets: &[String]) -> Self {
        Self::of(secrets)
    }

    fn of(texts: &[String]) -> Self {
        let mut forms = Vec::new();
        for text in texts.iter().map(String::as_str).filter(|it| it.len() >= SECRET_MIN) {
            let json = serde_json::Value::from(text).to_string();
            let debug = format!("{text:?}");
            // As a field of a form, and as the query of a URL, where fewer characters are escaped.
            let encoded = |encode: &dyn Fn(&mut reqwest::Url)| {
                let mut url = reqwest::Url::parse("http://host/").ok()?;
                encode(&mut url);
                url.query().map(str::to_string)
            };
            let form = encoded(&|url| {
                url.query_pairs_mut().append_key_only(text);
            });
            let query = encoded(&|url| url.set_query(Some(text)));
            forms.extend([
                text.to_string(),
                json[1..json.len() - 1].to_string(),
                debug[1..debug.len() - 1].to_string(),
                // As one word among others, and as one line.
                crate::domain::sanitise::text(text),
            ]);
            forms.extend(form.iter().map(|it| it.replace('+', "%20")));
            forms.extend(form.into_iter().chain(query));
        }
        forms.retain(|it| it.len() >= SECRET_MIN);
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self { forms: forms.into() }
    }

    /// True when there is nothing to mask.
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// Masks the values in a text, and what a cut or another mask has left of one.
    pub fn text(&self, text: &str) -> String {
        let mut clean = text.to_string();
        self.cover(&mut clean);
        clean
    }

    /// As [`Veil::text`], in place.
    pub fn cover(&self, text: &mut String) {
        if text.is_empty() {
            return;
        }
        for form in self.forms.iter().filter(|it| !it.is_empty()) {
            if !text.contains(form.as_str()) {
                continue;
            }
            *text = if is_word(form) { without_word(text, form) } else { text.replace(form.as_str(), MASK) };
        }
        if text.contains(CUT) || text.contains(MASK) {
            for form in self.forms.iter() {
                *text = without_rests(text, form);
            }
        }
    }

    fn cover_all<'t>(&self, texts: impl IntoIterator<Item = &'t mut String>) {
        texts.into_iter().for_each(|it| self.cover(it));
    }

    /// Masks the values in the words about a run.
    pub fn trouble(&self, trouble: &mut Trouble) {
        let Trouble { cause: _, brief, text } = trouble;
        self.cover_all([brief, text]);
    }

    /// Masks the values in what a run has seen.
    pub fn evidence(&self, evidence: &mut Evidence) {
        // Field by field, so that a new one cannot be forgotten.
        let Evidence {
            status: _,
            exit: _,
            address,
            protocol,
            reused: _,
            certificate,
            chain,
            hops,
            headers,
            body,
            parts,
            redirects,
            text,
            perf,
            body_bytes: _,
            cut: _,
        } = evidence;
        self.cover_all(address.iter_mut().chain(protocol).chain(redirects).chain([text]));
        for Certificate { days: _, not_after: _, subject, issuer } in certificate.iter_mut().chain(chain) {
            self.cover_all([subject, issuer]);
        }
        for Hop { place, address, status: _, phases: _ } in hops {
            self.cover_all([place].into_iter().chain(address));
        }
        for (name, value) in headers {
            self.cover_all([name, value]);
        }
        for Part { name, result: _, text, took: _ } in parts {
            self.cover_all([name, text]);
        }
        for Perf { label, value: _, unit, warn, crit, min: _, max: _ } in perf {
            self.cover_all([label, unit].into_iter().chain(warn).chain(crit));
        }
        // A body has no mark where it was cut.
        body.push_str(CUT);
        self.cover(body);
        if body.ends_with(CUT) {
            body.truncate(body.len() - CUT.len());
        }
    }
}

/// True unless it is too short, or a plain number such as a port.
fn is_secret(value: &str) -> bool {
    let is_number = value.len() <= NUMBER_MAX && value.chars().all(|it| it.is_ascii_digit() || it == '.');
    value.len() >= SECRET_MIN && !is_number
}

/// Masks a word, not where it is a part of a longer one.
fn without_word(text: &str, word: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut end = 0;
    for (at, _) in text.match_indices(word) {
        let (before, behind) = (text[..at].chars().next_back(), text[at + word.len()..].chars().next());
        let is_part = [before, behind].into_iter().flatten().any(char::is_alphanumeric);
        result.push_str(&text[end..at]);
        result.push_str(if is_part { word } else { MASK });
        end = at + word.len();
    }
    result + &text[end..]
}

/// Masks the beginning of a form where the text was cut, and what stands beside a mask that took only a part of it.
fn without_rests(text: &str, form: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let (mut rest, mut is_behind_mask) = (text, false);
    loop {
        let marks = [CUT, MASK].into_iter().filter_map(|mark| Some((rest.find(mark)?, mark)));
        let next = marks.min_by_key(|(at, _)| *at);
        let mut piece = &rest[..next.map_or(rest.len(), |(at, _)| at)];
        if is_behind_mask {
            let ending = lengths(form, piece.len()).find(|it| piece.starts_with(&form[form.len() - it..]));
            piece = &piece[ending.unwrap_or_default()..];
        }
        let begun = next.and_then(|_| lengths(form, piece.len()).find(|it| piece.ends_with(&form[..*it])));
        result.push_str(&piece[..piece.len() - begun.unwrap_or_default()]);
        if begun.is_some() && !result.ends_with(MASK) {
            result.push_str(MASK);
        }
        let Some((at, mark)) = next else { return result };
        if mark != MASK || !result.ends_with(MASK) {
            result.push_str(mark);
        }
        (rest, is_behind_mask) = (&rest[at + mark.len()..], mark == MASK);
    }
}

/// Lengths that a part of a form may have, the longest first; both halves of it are whole characters.
fn lengths(form: &str, bytes_max: usize) -> impl Iterator<Item = usize> + '_ {
    let whole = |it: &usize| form.is_char_boundary(*it) && form.is_char_boundary(form.len() - *it);
    (SECRET_MIN..form.len().min(bytes_max + 1)).rev().filter(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn veil(values: &[&str]) -> Veil {
        Veil::new(values.iter().map(ToString::to_string))
    }

    #[test]
    fn a_value_is_masked_in_every_form_and_the_words_around_it_stay() {
        let veil = veil(&["p q/\"1\"'2", "hunter22", "first line\nsecond line", "user=bob&password=top-secret"]);
        for (text, wanted) in [
            ("login with hunter22 failed", "login with *** failed"),
            ("p q/\"1\"'2", "***"),
            (r#"{"a": "p q/\"1\"'2"}"#, r#"{"a": "***"}"#),
            ("/x?a=p%20q/%221%22%272", "/x?a=***"),
            ("/x?a=p+q%2F%221%22%272", "/x?a=***"),
            ("/x?a=p%20q%2F%221%22%272", "/x?a=***"),
            ("it says second line here", "it says *** here"),
            ("nothing of it", "nothing of it"),
            ("the field top-secret of a form", "the field *** of a form"),
        ] {
            assert_eq!(veil.text(text), wanted);
        }
    }

    #[test]
    fn a_short_word_is_masked_as_a_word_only() {
        let veil = veil(&["dead", "prod"]);
        assert_eq!(veil.text("-p dead: deadline of production"), "-p ***: deadline of production");
        assert_eq!(veil.text("undead dead"), "undead ***");
    }

    #[test]
    fn what_a_cut_or_another_mask_left_of_a_value_is_masked() {
        let veil = veil(&["secret-value"]);
        for (text, wanted) in [
            ("it is secret-va…", "it is ***…"),
            ("it is `secret-v…` and more", "it is `***…` and more"),
            ("token=***ret-value", "token=***"),
            ("secret-***x", "***x"),
            ("it is se…", "it is se…"),
            ("a long word…", "a long word…"),
        ] {
            assert_eq!(veil.text(text), wanted);
        }
        let mut evidence = Evidence { body: "x secret-va".into(), ..Evidence::default() };
        veil.evidence(&mut evidence);
        assert_eq!(evidence.body, "x ***");
    }

    #[test]
    fn ports_and_short_words_are_no_secrets() {
        let veil = veil(&["8080", "12345", "99.9", "eth", ""]);
        assert!(veil.is_empty());
        assert_eq!(veil.text("refused at 127.0.0.1:8080 on eth0"), "refused at 127.0.0.1:8080 on eth0");
        assert_eq!(self::veil(&["123456"]).text("pin 123456"), "pin ***");
    }
}
