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
            if is_string {
                return Some(value + 1..string_end(line, value + 1)?);
            }
            let length = line[value..].iter().position(|byte| matches!(byte, b',' | b'}' | b' ' | b'\n' | b'\r'));
            return Some(value..value + length.unwrap_or(line.len() - value));
        }
        at = if is_string { string_end(line, value + 1)? + 1 } else { value };
    }
    None
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
