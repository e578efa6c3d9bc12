//! Finds the value of a key in a JSON line without parsing it.

use std::ops::Range;

/// Returns where the value of the first of `keys` stands, the quotes of a string not included.
///
/// Keys of nested objects count as well: the first one wins, and loggers write their own keys first.
pub fn find(line: &[u8], keys: &[&str]) -> Option<Range<usize>> {
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
        if keys.iter().any(|key| key.as_bytes() == &line[start..end]) {
            return value_from(line, value + usize::from(is_string));
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

#[cfg(test)]
mod tests {
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
}
