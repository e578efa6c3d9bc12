//! Takes a record apart into what can be shown, copied and filtered by on its own: the members of a JSON object,
//! the fields of `key=value` text, its lines.
//!
//! Members keep the order and the spelling of the log, and an object that is cut short is shown as far as it goes:
//! a parser that gave up or sorted would hide what happened.

use std::ops::Range;

use crate::domain::sanitise;

/// Rows made of one record, at most: past this nobody scrolls, and the line is there in full anyway.
const ENTRIES_MAX: usize = 5_000;
/// Objects inside objects, at most: deeper ones stay text.
const DEPTH_MAX: usize = 40;

/// One row of a record that was taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Objects around it.
    pub depth: usize,
    /// What stands before the value: the key as it is written.
    pub key: Option<String>,
    /// The value as it is written, or a brace.
    pub value: String,
    /// What kind of value it is.
    pub kind: Kind,
    /// A comma follows.
    pub comma: bool,
    /// What is copied: the value without its quotes, sanitised, or all of the object that begins here.
    pub copy: String,
    /// The query that only records with this value pass.
    pub filter: Option<String>,
}

/// What kind of value an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string, or the value of a field.
    Text,
    /// A number.
    Number,
    /// `true`, `false`, `null`.
    Word,
    /// A brace or bracket.
    Brace,
    /// Text that is not taken apart.
    Plain,
}

impl Entry {
    /// A row of text.
    pub fn plain(text: &str) -> Self {
        Self {
            depth: 0,
            key: None,
            value: text.to_string(),
            kind: Kind::Plain,
            comma: false,
            copy: text.to_string(),
            filter: None,
        }
    }

    /// A named value that is filtered by with a query of its own.
    pub fn field(key: &str, value: &str, filter: Option<String>) -> Self {
        Self { key: Some(key.to_string()), kind: Kind::Text, filter, ..Self::plain(value) }
    }
}

/// Takes the lines of a record apart.
pub fn entries(lines: &[String]) -> Vec<Entry> {
    let text = lines.join("\n");
    if let Some((range, members)) = object(&text) {
        let before = text[..range.start].trim_end().lines().map(Entry::plain);
        let mut entries: Vec<Entry> = before.filter(|it| !it.value.trim().is_empty()).collect();
        entries.extend(members);
        entries.extend(text[range.end..].lines().filter(|it| !it.trim().is_empty()).map(Entry::plain));
        return entries;
    }
    let mut entries: Vec<Entry> = lines.iter().map(|it| Entry::plain(it)).collect();
    let fields = fields(lines.first().map_or("", String::as_str));
    entries.extend(fields.into_iter().map(|(key, value)| {
        let filter = comparison(&key, &value);
        Entry::field(&key, &value, filter)
    }));
    entries
}

/// The names of the fields of a record.
pub fn field_names(lines: &[String]) -> Vec<String> {
    let name = |it: Entry| it.filter?.split_once('=').map(|(name, _)| name.to_string());
    entries(lines).into_iter().filter_map(name).collect()
}

/// The condition that a field has a value, in the text form of queries. There is none for a value with controls in
/// it: a chip must not carry them, and without them it would ask for another value.
pub fn comparison(path: &str, value: &str) -> Option<String> {
    let is_name = |it: char| it.is_alphanumeric() || matches!(it, '_' | '.' | '-' | '@');
    if path.is_empty() || !path.chars().all(is_name) || path.starts_with('-') {
        return None;
    }
    if !value.split(['\n', '\t']).all(|it| sanitise::text(it) == it) {
        return None;
    }
    let is_plain = |it: char| it.is_alphanumeric() || matches!(it, '_' | '.' | '-' | ':');
    let value = if !value.is_empty() && value.chars().all(is_plain) {
        value.to_string()
    } else {
        format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
    };
    Some(format!("{path}={value}"))
}

/// The first JSON object in a text: where it stands and its members.
fn object(text: &str) -> Option<(Range<usize>, Vec<Entry>)> {
    let start = text.match_indices('{').map(|(at, _)| at).find(|at| {
        let rest = text[at + 1..].trim_start();
        rest.starts_with('"')
    })?;
    let mut reader = Reader { text, at: start, entries: Vec::new() };
    let whole = reader.value(0, None, "");
    let is_object = reader.entries.iter().any(|it| it.key.is_some());
    // What is cut short counts when the record is nothing else.
    let counts = is_object && (whole || text[..start].trim().is_empty());
    counts.then_some((start..reader.at, reader.entries))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    entries: Vec<Entry>,
}

impl Reader<'_> {
    /// Reads one value; `false` when it is malformed, cut short or too deep, and `at` stands where that is.
    fn value(&mut self, depth: usize, key: Option<&str>, path: &str) -> bool {
        self.skip_blanks();
        if self.entries.len() >= ENTRIES_MAX || depth > DEPTH_MAX {
            return false;
        }
        match self.peek() {
            Some(b'{') => self.nested(depth, key, path, true),
            Some(b'[') => self.nested(depth, key, path, false),
            Some(b'"') => {
                let Some(range) = self.string() else { return false };
                let raw = &self.text[range];
                let copy = serde_json::from_str(raw).unwrap_or_else(|_| raw.trim_matches('"').to_string());
                self.push(depth, key, path, Kind::Text, raw.to_string(), copy);
                true
            }
            Some(_) => {
                let rest = &self.text[self.at..];
                let length = rest.find(|it: char| it.is_whitespace() || matches!(it, ',' | '}' | ']'));
                let raw = rest[..length.unwrap_or(rest.len())].to_string();
                let kind = match raw.as_str() {
                    "true" | "false" | "null" => Kind::Word,
                    _ if raw.starts_with(|it: char| it.is_ascii_digit() || it == '-') => Kind::Number,
                    _ => return false,
                };
                self.at += raw.len();
                self.push(depth, key, path, kind, raw.clone(), raw);
                true
            }
            None => false,
        }
    }

    fn push(&mut self, depth: usize, key: Option<&str>, path: &str, kind: Kind, value: String, copy: String) {
        let filter = key.and_then(|_| comparison(path, &copy));
        // What was escaped in the log is not any more.
        let copy = sanitise::multiline(&copy);
        self.entries.push(Entry { depth, key: key.map(String::from), value, kind, comma: false, copy, filter });
    }

    fn nested(&mut self, depth: usize, key: Option<&str>, path: &str, is_object: bool) -> bool {
        let (start, first) = (self.at, self.entries.len());
        let (open, close) = if is_object { ("{", '}') } else { ("[", ']') };
        self.entries.push(Entry { depth, key: key.map(String::from), kind: Kind::Brace, ..Entry::plain(open) });
        self.at += 1;
        let whole = self.members(depth, path, is_object, close);
        self.entries[first].copy = self.text[start..self.at].to_string();
        if !whole {
            return false;
        }
        if self.entries.len() == first + 1 {
            self.entries[first].value = format!("{open}{close}");
        } else {
            let copy = self.entries[first].copy.clone();
            self.entries.push(Entry { depth, kind: Kind::Brace, copy, ..Entry::plain(&close.to_string()) });
        }
        true
    }

    fn members(&mut self, depth: usize, path: &str, is_object: bool, close: char) -> bool {
        loop {
            self.skip_blanks();
            if self.peek() == Some(close as u8) {
                self.at += 1;
                return true;
            }
            let read = if is_object {
                let Some(range) = self.string() else { return false };
                let key = self.text[range].to_string();
                self.skip_blanks();
                if self.peek() != Some(b':') {
                    return false;
                }
                self.at += 1;
                let name = key.trim_matches('"');
                let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
                self.value(depth + 1, Some(&key), &path)
            } else {
                self.value(depth + 1, None, "")
            };
            if !read {
                return false;
            }
            self.skip_blanks();
            if self.peek() == Some(b',') {
                self.at += 1;
                if let Some(last) = self.entries.last_mut() {
                    last.comma = true;
                }
            } else if self.peek() != Some(close as u8) {
                return false;
            }
        }
    }

    /// The string that begins here, with its quotes.
    fn string(&mut self) -> Option<Range<usize>> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let start = self.at;
        let mut escaped = false;
        for (at, it) in self.text[start + 1..].char_indices() {
            match it {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    self.at = start + 1 + at + 1;
                    return Some(start..self.at);
                }
                _ => {}
            }
        }
        None
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }
}

/// The `key=value` pairs of a line, in order.
fn fields(line: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(equals) = line[at..].find('=').map(|it| at + it) {
        let is_name = |it: char| it.is_alphanumeric() || matches!(it, '_' | '.' | '-' | '@');
        let key_start = line[at..equals].rfind(|it| !is_name(it)).map_or(at, |it| at + it);
        let key = line[key_start..equals].trim_start_matches(|it| !is_name(it));
        let rest = &line[equals + 1..];
        let (value, length) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut escaped = false;
                let end = quoted.char_indices().find(|(_, it)| {
                    let ends = *it == '"' && !escaped;
                    escaped = *it == '\\' && !escaped;
                    ends
                });
                let end = end.map_or(quoted.len(), |(at, _)| at);
                (quoted[..end].replace("\\\"", "\"").replace("\\\\", "\\"), (end + 2).min(rest.len()))
            }
            None => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (rest[..end].to_string(), end)
            }
        };
        let begins_well = key.starts_with(|it: char| it.is_alphabetic() || it == '_' || it == '@');
        if begins_well && !value.is_empty() && !value.starts_with('=') && found.len() < ENTRIES_MAX {
            found.push((key.to_string(), value));
        }
        at = equals + 1 + length;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let lines: Vec<String> = text.lines().map(String::from).collect();
        let row = |it: Entry| {
            let key = it.key.map_or(String::new(), |key| format!("{key}: "));
            format!("{}{key}{}{}", "  ".repeat(it.depth), it.value, if it.comma { "," } else { "" })
        };
        entries(&lines).into_iter().map(row).collect()
    }

    fn filters(text: &str) -> Vec<String> {
        entries(&[text.to_string()]).into_iter().filter_map(|it| it.filter).collect()
    }

    #[test]
    fn an_object_keeps_its_order_and_its_spelling() {
        let text = r#"{"ts":1.50,"msg":"a \"b\" é","http":{"status":502,"tags":["x",null],"none":{}},"ok":true}"#;
        let expected = [
            "{",
            r#"  "ts": 1.50,"#,
            r#"  "msg": "a \"b\" é","#,
            r#"  "http": {"#,
            r#"    "status": 502,"#,
            r#"    "tags": ["#,
            r#"      "x","#,
            "      null",
            "    ],",
            r#"    "none": {}"#,
            "  },",
            r#"  "ok": true"#,
            "}",
        ];
        assert_eq!(shown(text), expected);
        assert_eq!(filters(text), ["ts=1.50", r#"msg="a \"b\" é""#, "http.status=502", "ok=true"]);
        assert_eq!(entries(&[text.into()])[4].copy, "502");
        assert_eq!(entries(&[text.into()])[5].copy, r#"["x",null]"#);
    }

    #[test]
    fn text_around_an_object_stays_and_one_that_is_cut_goes_as_far_as_it_can() {
        assert_eq!(shown("12:00 INFO got {\"a\":1} done"), ["12:00 INFO got", "{", "  \"a\": 1", "}", " done"]);
        assert_eq!(shown("{\"a\":1,\"b\":\"cut"), ["{", "  \"a\": 1,", "\"cut"]);
        assert_eq!(shown("{\n  \"a\": 1\n}"), ["{", "  \"a\": 1", "}"]);
        assert_eq!(shown("fn main() { loop {} }"), ["fn main() { loop {} }"]);
    }

    #[test]
    fn pairs_are_fields_below_the_line() {
        let line = "level=warn msg=\"pool at \\\"64\\\"\" req=8f url=/a?b=c == x=";
        assert_eq!(shown(line)[1..], ["level: warn", "msg: pool at \"64\"", "req: 8f", "url: /a?b=c"]);
        assert_eq!(filters(line), ["level=warn", r#"msg="pool at \"64\"""#, "req=8f", r#"url="/a?b=c""#]);
        assert_eq!(shown("no pairs here"), ["no pairs here"]);
        assert_eq!(field_names(&[line.to_string()]), ["level", "msg", "req", "url"]);
    }

    #[test]
    fn escaped_controls_are_neither_copied_nor_filtered_by() {
        let hostile = r#"{"a":"x\u001b]52;c;SGk=\u0007y","b":"p\u009b31mq","c":"r\u202es","d":"one\n\ttwo"}"#;
        let members: Vec<Entry> = entries(&[hostile.to_string()]).into_iter().filter(|it| it.key.is_some()).collect();
        let copies: Vec<&str> = members.iter().map(|it| it.copy.as_str()).collect();
        assert_eq!(copies, ["xy", "pq", "r·s", "one\n        two"]);
        let filters: Vec<Option<&str>> = members.iter().map(|it| it.filter.as_deref()).collect();
        assert_eq!(filters, [None, None, None, Some("d=\"one\n\ttwo\"")]);
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
        assert!(entries(&[deep]).len() < 100);
        let long = format!("{{{}\"z\":1}}", "\"a\":1,".repeat(20_000));
        assert!(entries(&[long]).len() <= ENTRIES_MAX + 2);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[{}\\[\\]\":,=\\\\a1 é\n]{0,40}") {
            let lines: Vec<String> = text.lines().map(String::from).collect();
            entries(&lines);
        }
    }
}
