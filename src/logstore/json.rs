//! Finds the values of keys in a JSON line without parsing it.
//!
//! Everything here reads what is there and stops where it is broken off: a line that was cut still shows
//! the fields before the cut. Nothing is allocated unless an escape has to be undone.

use std::borrow::Cow;
use std::ops::Range;

/// Objects within objects that are entered; what lies deeper is one value.
const MAX_DEPTH: usize = 8;

/// Returns where the value of the first of `keys` stands, the quotes of a string not included.
///
/// Keys of nested objects count as well: the first one wins, and loggers write their own keys first.
pub fn find(line: &[u8], keys: &[&str]) -> Option<Range<usize>> {
    find_where(line, |key| keys.iter().any(|it| it.as_bytes() == key))
}

/// As [`find`], for the first key that `is_wanted`.
pub fn find_where(line: &[u8], is_wanted: impl Fn(&[u8]) -> bool) -> Option<Range<usize>> {
    value_from(line, find_start(line, is_wanted)?)
}

/// Where the value of the first key that `is_wanted` begins, behind its quote when it is a string.
pub fn find_start(line: &[u8], is_wanted: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let mut at = 0;
    while let Some(quote) = memchr::memchr(b'"', line.get(at..)?) {
        let start = at + quote + 1;
        let end = string_end(line, start)?;
        at = end + 1;
        let value = skip_spaces(line, at);
        if line.get(value) != Some(&b':') {
            continue;
        }
        let value = skip_spaces(line, value + 1);
        let is_string = line.get(value) == Some(&b'"');
        if is_wanted(&line[start..end]) {
            return Some(value + usize::from(is_string));
        }
        at = if is_string { string_end(line, value + 1)? + 1 } else { value };
    }
    None
}

/// The range of a value that begins at `start`, behind its quote when it is a string.
pub fn value_from(line: &[u8], start: usize) -> Option<Range<usize>> {
    if line[..start].last() == Some(&b'"') {
        return Some(start..string_end(line, start)?);
    }
    let rest = line.get(start..)?;
    let length = rest.iter().position(|byte| matches!(byte, b',' | b'}' | b' ' | b'\n' | b'\r'));
    Some(start..start + length.unwrap_or(rest.len()))
}

/// A value as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Between the quotes, escapes and all.
    String(&'a [u8]),
    /// A number, `true`, `null`, an array, an empty object, or an object too deep to enter.
    Raw(&'a [u8]),
    /// An object, braces included, whose members follow.
    Object(&'a [u8]),
}

impl<'a> Value<'a> {
    /// What it says, with the escapes of a string undone.
    pub fn text(self) -> Cow<'a, [u8]> {
        match self {
            Self::String(raw) if memchr::memchr(b'\\', raw).is_some() => Cow::Owned(unescape(raw)),
            Self::String(raw) | Self::Raw(raw) | Self::Object(raw) => Cow::Borrowed(raw),
        }
    }
}

/// The keys from the top to a member.
#[derive(Debug, Default)]
pub struct Path<'a> {
    keys: [&'a [u8]; MAX_DEPTH],
    depth: usize,
}

impl<'a> Path<'a> {
    /// The keys, the outermost first.
    pub fn keys(&self) -> &[&'a [u8]] {
        &self.keys[..self.depth]
    }

    /// How a dotted name names this path. ASCII case does not matter.
    pub fn fits(&self, name: &[u8]) -> Fit {
        let mut rest = name;
        for (index, key) in self.keys().iter().enumerate().rev() {
            if key.len() > rest.len() {
                // A flat key may have dots of its own.
                let (front, end) = key.split_at(key.len() - rest.len());
                let fits = front.last() == Some(&b'.') && end.eq_ignore_ascii_case(rest);
                return if fits { Fit::End } else { Fit::No };
            }
            let (front, end) = rest.split_at(rest.len() - key.len());
            if !end.eq_ignore_ascii_case(key) {
                return Fit::No;
            }
            match front.split_last() {
                None if index == 0 => return Fit::Whole,
                None => return Fit::End,
                Some((b'.', front)) => rest = front,
                Some(_) => return Fit::No,
            }
        }
        Fit::No
    }
}

/// How well a name fits a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It names another.
    No,
    /// It is the end of the path.
    End,
    /// It is the path.
    Whole,
}

/// Calls `visit` with each member of the object that begins at the start of `bytes`, and those of the objects in it.
///
/// Members of objects in arrays are not visited. `visit` stops it with `false`. Returns where the object
/// ends, `None` when it was stopped or is broken off.
pub fn members<'a>(bytes: &'a [u8], visit: &mut dyn FnMut(&Path<'a>, Value<'a>) -> bool) -> Option<usize> {
    if bytes.first() != Some(&b'{') {
        return None;
    }
    let mut path = Path { depth: 1, ..Path::default() };
    let mut at = 1;
    loop {
        at = skip_blank(bytes, at);
        match bytes.get(at)? {
            b'}' => {
                at += 1;
                path.depth -= 1;
                if path.depth == 0 {
                    return Some(at);
                }
            }
            b',' => at += 1,
            b'"' => {
                let end = string_end(bytes, at + 1)?;
                path.keys[path.depth - 1] = &bytes[at + 1..end];
                at = skip_blank(bytes, end + 1);
                if bytes.get(at) != Some(&b':') {
                    return None;
                }
                at = skip_blank(bytes, at + 1);
                let value = match bytes.get(at)? {
                    b'"' => {
                        let end = string_end(bytes, at + 1)?;
                        let value = Value::String(&bytes[at + 1..end]);
                        at = end + 1;
                        value
                    }
                    b'{' if path.depth < MAX_DEPTH && bytes.get(skip_blank(bytes, at + 1)) != Some(&b'}') => {
                        // Its end is looked for only when somebody wants to see it whole.
                        let value = Value::Object(&bytes[at..]);
                        if !visit(&path, value) {
                            return None;
                        }
                        path.depth += 1;
                        at += 1;
                        continue;
                    }
                    b'{' | b'[' => {
                        let end = container_end(bytes, at)?;
                        let value = Value::Raw(&bytes[at..end]);
                        at = end;
                        value
                    }
                    _ => {
                        let rest = &bytes[at..];
                        let length =
                            rest.iter().position(|it| matches!(it, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'));
                        let end = at + length.unwrap_or(rest.len());
                        let value = Value::Raw(&bytes[at..end]);
                        at = end;
                        value
                    }
                };
                if !visit(&path, value) {
                    return None;
                }
            }
            _ => return None,
        }
    }
}

/// The value of a field of the object at the start of `bytes`. A name stands for the end of a path too; the whole path comes first.
pub fn field<'a>(bytes: &'a [u8], name: &str) -> Option<Value<'a>> {
    let mut found = None;
    members(bytes, &mut |path, value| match path.fits(name.as_bytes()) {
        Fit::Whole => {
            found = Some(value);
            false
        }
        Fit::End => {
            found = found.or(Some(value));
            true
        }
        Fit::No => true,
    });
    match found? {
        Value::Object(from) => Some(Value::Object(&from[..container_end(from, 0)?])),
        value => Some(value),
    }
}

/// Where the object or array that begins at `at` ends.
pub fn container_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'"' => at = string_end(bytes, at + 1)?,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// Undoes the escapes of a string; what is no escape stays as it is.
pub fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        let (byte, next) = (raw[at], raw.get(at + 1));
        if byte != b'\\' {
            text.push(byte);
            at += 1;
            continue;
        }
        at += 2;
        match next {
            Some(b'n') => text.push(b'\n'),
            Some(b't') => text.push(b'\t'),
            Some(b'r') => text.push(b'\r'),
            Some(b'b') => text.push(8),
            Some(b'f') => text.push(12),
            Some(b'u') => {
                let (letter, length) = unicode(&raw[at..]);
                let mut buffer = [0; 4];
                text.extend_from_slice(letter.encode_utf8(&mut buffer).as_bytes());
                at += length;
            }
            Some(other) => text.push(*other),
            None => text.push(b'\\'),
        }
    }
    text
}

/// The character of `\u` escapes whose digits begin here, and the bytes they take.
fn unicode(digits: &[u8]) -> (char, usize) {
    let unit = |from: usize| {
        let text = std::str::from_utf8(digits.get(from..from + 4)?).ok()?;
        u32::from_str_radix(text, 16).ok()
    };
    let Some(first) = unit(0) else { return (char::REPLACEMENT_CHARACTER, 0) };
    if (0xd800..0xdc00).contains(&first)
        && digits.get(4..6) == Some(b"\\u")
        && let Some(second) = unit(6).filter(|it| (0xdc00..0xe000).contains(it))
    {
        let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 10);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 4)
}

fn string_end(line: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let found = at + memchr::memchr2(b'"', b'\\', line.get(at..)?)?;
        if line[found] == b'"' {
            return Some(found);
        }
        at = found + 2;
    }
}

fn skip_spaces(line: &[u8], at: usize) -> usize {
    at + line.get(at..).unwrap_or_default().iter().take_while(|byte| **byte == b' ').count()
}

fn skip_blank(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_found_and_strings_are_not_mistaken_for_keys() {
        let check = |line: &str, key: &str, expected: Option<&str>| {
            assert_eq!(find(line.as_bytes(), &[key]).map(|it| &line[it]), expected, "{line}");
        };
        check(r#"{"a":"ts","ts":12,"b":1}"#, "ts", Some("12"));
        check(r#"{"a":"\"ts\":1","ts" : "x\"y"}"#, "ts", Some(r#"x\"y"#));
        check(r#"{"a":{"ts":5}}"#, "ts", Some("5"));
        check(r#"{"a":1"#, "ts", None);
        check(r#"{"ts":"cut"#, "ts", None);
        check(r#"{"ts":"cut\"#, "ts", None);
    }

    #[test]
    fn a_name_stands_for_a_path_or_its_end() {
        let line = br#"{"req":{"status":1,"http.code":7,"Tags":["a",{"status":3}]},"status":2,"e":{},"s":"a\u0062\n"}"#;
        let check = |name: &str, expected: Option<&str>| {
            let found = field(line, name).map(|it| String::from_utf8(it.text().into_owned()).unwrap());
            assert_eq!(found.as_deref(), expected, "{name}");
        };
        check("status", Some("2"));
        check("req.status", Some("1"));
        check("code", Some("7"));
        check("req.http.code", Some("7"));
        check("tags", Some(r#"["a",{"status":3}]"#));
        check("e", Some("{}"));
        check("s", Some("ab\n"));
        check("q.status", None);
        check("tatus", None);
        check("req", Some(r#"{"status":1,"http.code":7,"Tags":["a",{"status":3}]}"#));
    }

    #[test]
    fn what_stands_before_a_cut_is_still_found() {
        let line = br#"{"a":{"b":1},"c":"x","d":"cut"#;
        assert_eq!(field(line, "c"), Some(Value::String(b"x")));
        assert_eq!(field(line, "d"), None);
    }

    #[test]
    fn surrogates_make_one_character() {
        assert_eq!(unescape(br"\ud83d\ude00\ud83dx\uzz"), "😀\u{fffd}x\u{fffd}zz".as_bytes());
    }

    proptest! {
        #[test]
        fn fields_are_those_that_a_parser_finds(object in prop::collection::btree_map("[a-c]", "\\PC{0,4}", 0..4), outer in "[d-e]") {
            let text = serde_json::json!({ outer.clone(): object.clone(), "z": 1 }).to_string();
            for key in ["a", "b", "c"] {
                let found = field(text.as_bytes(), &format!("{outer}.{key}")).map(|it| it.text().into_owned());
                prop_assert_eq!(found, object.get(key).map(|it| it.as_bytes().to_vec()), "{}", text);
            }
        }

        #[test]
        fn any_bytes_are_walked_without_a_panic(text in "[{}\\[\\]\",:a1 \\\\u]{0,60}") {
            let mut count = 0;
            members(text.as_bytes(), &mut |_, _| { count += 1; true });
            prop_assert!(count <= text.len());
            unescape(text.as_bytes());
        }
    }
}
