//! What the steps of a journey hand on: values taken from an answer, put into later requests.

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use crate::domain::probe::expect::Values;
use crate::registry::node::Node;
use crate::service::probe::http::cookies::Jar;

/// Bytes of a value that is carried: the longest token, with room.
const VALUE_MAX: usize = 16 << 10;
/// Memory of a compiled pattern.
const PATTERN_MAX_BYTES: usize = 1 << 20;

/// Where a value is taken from.
#[derive(Debug, Clone)]
pub enum Source {
    /// `json.PATH`.
    Json(Vec<String>),
    /// `header.NAME`.
    Header(String),
    /// `cookie.NAME`.
    Cookie(String),
    /// `body =~ 'PATTERN'`: the first group, or the whole match.
    Body(Regex),
}

impl Source {
    /// Reads how it is written in the config.
    pub fn read(node: &Node<'_>) -> Option<Self> {
        let text = node.string()?;
        let text = text.trim();
        if let Some(path) = text.strip_prefix("json.").filter(|it| !it.split('.').any(str::is_empty)) {
            return Some(Self::Json(path.split('.').map(str::to_string).collect()));
        }
        if let Some(name) = text.strip_prefix("header.").filter(|it| !it.is_empty()) {
            return Some(Self::Header(name.to_ascii_lowercase()));
        }
        if let Some(name) = text.strip_prefix("cookie.").filter(|it| !it.is_empty()) {
            return Some(Self::Cookie(name.to_string()));
        }
        let pattern = text.strip_prefix("body").and_then(|it| it.trim_start().strip_prefix("=~")).map(str::trim);
        let quoted = pattern.and_then(|it| {
            let quote = it.chars().next().filter(|it| matches!(it, '\'' | '"'))?;
            it.strip_prefix(quote)?.strip_suffix(quote)
        });
        let Some(pattern) = quoted else {
            let hint = "write one of `json.PATH`, `header.NAME`, `cookie.NAME`, `body =~ 'id=(\\d+)'`";
            node.error_with_hint(format!("`{text}` is nothing that a value can be taken from"), hint);
            return None;
        };
        match RegexBuilder::new(pattern).size_limit(PATTERN_MAX_BYTES).build() {
            Ok(pattern) => Some(Self::Body(pattern)),
            Err(error) => {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_string();
                node.error_with_hint(format!("bad regex: {why}"), "write a pattern with one group, as in `id=(\\d+)`");
                None
            }
        }
    }

    /// Takes the value.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn take(&self, values: &Values, jar: &Jar) -> Result<String, String> {
        let found = match self {
            Self::Json(path) => {
                let root: Value = serde_json::from_str(&values.text).map_err(|_| "the body is not JSON")?;
                let found = path.iter().try_fold(&root, |value, step| match value {
                    Value::Array(items) => step.parse::<usize>().ok().and_then(|at| items.get(at)),
                    _ => value.get(step),
                });
                found.and_then(|it| match it {
                    Value::Null => None,
                    Value::String(text) => Some(text.clone()),
                    other => Some(other.to_string()),
                })
            }
            Self::Header(name) => values.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.clone()),
            Self::Cookie(name) => jar.get(name).map(str::to_string),
            Self::Body(pattern) => pattern
                .captures(&values.text)
                .and_then(|it| it.get(1).or_else(|| it.get(0)).map(|it| it.as_str().to_string())),
        };
        let found =
            found.filter(|it| !it.is_empty()).ok_or_else(|| format!("{} is not in the answer", self.shown()))?;
        if found.len() > VALUE_MAX {
            return Err(format!("{} is longer than {VALUE_MAX} bytes", self.shown()));
        }
        Ok(found)
    }

    /// As it is written in the config.
    pub fn shown(&self) -> String {
        match self {
            Self::Json(path) => format!("json.{}", path.join(".")),
            Self::Header(name) => format!("header.{name}"),
            Self::Cookie(name) => format!("cookie.{name}"),
            Self::Body(pattern) => format!("body =~ '{}'", pattern.as_str()),
        }
    }
}

/// How a value is written where it is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Percent-encoded, but a URL as a whole as it is.
    Url,
    /// As in a JSON string.
    Json,
    /// As it is.
    Plain,
}

/// Names that a text refers to as `{name}`.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|it| it.split_once('}').map(|(name, _)| name)).filter(|it| is_name(it))
}

/// True for what can stand between the braces.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|it| it.is_ascii_alphanumeric() || it == '_' || it == '-')
}

/// Puts carried values into a text. What is no name of a value stays as it is.
pub fn put(text: &str, carried: &[(String, String)], place: Place) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let (before, after) = rest.split_at(start);
        result.push_str(before);
        let found = after.find('}').and_then(|end| {
            let (_, value) = carried.iter().rev().find(|(name, _)| *name == after[1..end])?;
            Some((end, value))
        });
        let Some((end, value)) = found else {
            result.push('{');
            rest = &after[1..];
            continue;
        };
        match place {
            Place::Url if result.is_empty() => result.push_str(value),
            Place::Url => result.push_str(&percent_encoded(value)),
            Place::Json => {
                let quoted = Value::from(value.as_str()).to_string();
                result.push_str(&quoted[1..quoted.len() - 1]);
            }
            Place::Plain => result.push_str(value),
        }
        rest = &after[end + 1..];
    }
    result + rest
}

/// Escapes everything but what is unreserved (RFC 3986, 2.3).
pub fn percent_encoded(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            result.push(char::from(byte));
        } else {
            result.push_str(&format!("%{byte:02X}"));
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_as_its_place_needs_it() {
        let carried = vec![("id".to_string(), "a/b \"c\"".to_string())];
        for (text, place, wanted) in [
            ("http://h/{id}?x={y}", Place::Url, "http://h/a%2Fb%20%22c%22?x={y}"),
            ("{\"id\":\"{id}\"}", Place::Json, "{\"id\":\"a/b \\\"c\\\"\"}"),
            ("Bearer {id}", Place::Plain, "Bearer a/b \"c\""),
            ("{id}", Place::Url, "a/b \"c\""),
        ] {
            assert_eq!(put(text, &carried, place), wanted);
        }
        assert_eq!(names("{a} {\"b\": {c-d}} {}").collect::<Vec<_>>(), ["a", "c-d"]);
    }

    #[test]
    fn values_are_taken_from_every_part_of_an_answer() {
        let values = Values {
            text: "{\"a\":[{\"n\":7}],\"t\":\"x\",\"z\":null}".into(),
            headers: vec![("location".into(), "/next".into())],
            ..Values::default()
        };
        let take = |source: Source| source.take(&values, &Jar::default());
        let json = |path: &str| Source::Json(path.split('.').map(str::to_string).collect());
        assert_eq!(take(json("a.0.n")), Ok("7".into()));
        assert_eq!(take(json("t")), Ok("x".into()));
        assert_eq!(take(json("z")), Err("json.z is not in the answer".into()));
        assert_eq!(take(Source::Header("location".into())), Ok("/next".into()));
        assert_eq!(take(Source::Body(Regex::new("\"n\":(\\d)").expect("a pattern"))), Ok("7".into()));
        assert_eq!(take(Source::Cookie("sid".into())), Err("cookie.sid is not in the answer".into()));
    }
}
