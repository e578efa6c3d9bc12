//! Comparing the fields of records: signs, numbers with units, text.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use crate::domain::query::matcher::Pattern;

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldSign {
    /// `=`
    Is,
    /// `!=`; also passes where the field is missing.
    IsNot,
    /// `=~`, a regex.
    Matches,
    /// `!~`; also passes where the field is missing.
    MatchesNot,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
}

/// Signs as they are written; those that begin like another one come first.
const SIGNS: [(&str, FieldSign); 9] = [
    ("=~", FieldSign::Matches),
    ("!~", FieldSign::MatchesNot),
    ("!=", FieldSign::IsNot),
    (">=", FieldSign::AtLeast),
    ("<=", FieldSign::AtMost),
    ("==", FieldSign::Is),
    ("=", FieldSign::Is),
    (">", FieldSign::More),
    ("<", FieldSign::Less),
];

impl fmt::Display for FieldSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The shorter of two spellings is the last one.
        f.write_str(SIGNS.iter().rev().find(|(_, it)| it == self).map_or("=", |(sign, _)| sign))
    }
}

/// The name and the sign at the start of a text, and the bytes they take; `None` when it begins with no field.
pub fn split(text: &str) -> Option<(&str, FieldSign, usize)> {
    let is_first = |it: char| it.is_alphabetic() || matches!(it, '_' | '@');
    let is_next = |it: char| it.is_alphanumeric() || matches!(it, '_' | '@' | '.' | '-');
    if !text.starts_with(is_first) {
        return None;
    }
    let length = text.find(|it| !is_next(it)).unwrap_or(text.len());
    let (name, rest) = text.split_at(length);
    // An arrow is text.
    if name.ends_with(['-', '.']) || rest.starts_with("=>") {
        return None;
    }
    let (sign, it) = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign))?;
    Some((name, *it, length + sign.len()))
}

/// As [`split`], with blanks around the sign: behind it, or on both sides.
pub fn split_apart(text: &str) -> Option<(&str, FieldSign, usize)> {
    let length = text.find(char::is_whitespace).unwrap_or(text.len());
    let (name, rest) = text.split_at(length);
    let signed = rest.trim_start();
    let (sign, it) = SIGNS.iter().find(|(sign, _)| signed.starts_with(sign))?;
    let behind = &signed[sign.len()..];
    let value = behind.trim_start();
    let is_apart = value.len() < behind.len() && !value.is_empty();
    // The name is one, and nothing but a name.
    let is_name = split(&format!("{name}=")).is_some_and(|(found, ..)| found == name);
    (is_apart && is_name).then(|| (name, *it, text.len() - value.len()))
}

/// A comparison ready to run.
#[derive(Debug, Clone)]
pub struct FieldTest {
    /// Name of the field.
    pub name: String,
    sign: FieldSign,
    value: String,
    number: Option<Quantity>,
    pattern: Option<Pattern>,
    /// Bare numbers of a field whose name has no unit count in this one.
    unit: Option<Unit>,
    /// The same with the unit at the end of the name (`latency_ms`), for records without the field itself.
    suffixed: Vec<FieldTest>,
}

impl FieldTest {
    /// Compiles a comparison.
    ///
    /// # Errors
    /// What is wrong with the regex, in one line.
    pub fn new(name: &str, sign: FieldSign, value: &str) -> Result<Self, String> {
        let pattern = match sign {
            FieldSign::Matches | FieldSign::MatchesNot => Some(Pattern::regex(value)?),
            _ => None,
        };
        let number = Quantity::parse(value.as_bytes());
        let unit = unit_of_name(name).or_else(|| number.and_then(|it| it.unit));
        let mut suffixed = Vec::new();
        if let Some(wanted) = number.and_then(|it| it.unit)
            && unit_of_name(name).is_none()
        {
            for (ending, unit) in UNIT_ENDINGS.iter().filter(|(ending, _)| ending.starts_with('_')) {
                if unit_named(unit).is_some_and(|it| it.kind == wanted.kind) {
                    suffixed.push(Self::new(&format!("{name}{ending}"), sign, value)?);
                }
            }
        }
        Ok(Self { name: name.to_string(), sign, value: value.to_string(), number, pattern, unit, suffixed })
    }

    /// True when a record with these fields passes.
    ///
    /// A number with a unit is also looked for in a field that says its unit in its name: `latency>250ms` finds
    /// `latency_ms=300`. The field of the very name goes first.
    pub fn passes_among<'a>(&self, field: impl Fn(&str) -> Option<Cow<'a, [u8]>>) -> bool {
        let found = field(&self.name);
        if found.is_none() {
            for test in &self.suffixed {
                if let Some(found) = field(&test.name) {
                    return test.passes(Some(&found));
                }
            }
        }
        self.passes(found.as_deref())
    }

    /// True when a field of this value passes; `None` is a record without the field.
    pub fn passes(&self, found: Option<&[u8]>) -> bool {
        let Some(found) = found else { return matches!(self.sign, FieldSign::IsNot | FieldSign::MatchesNot) };
        match self.sign {
            FieldSign::Is => self.is_equal(found),
            FieldSign::IsNot => !self.is_equal(found),
            FieldSign::Matches => self.pattern.as_ref().is_some_and(|it| it.is_match(found)),
            FieldSign::MatchesNot => !self.pattern.as_ref().is_some_and(|it| it.is_match(found)),
            FieldSign::Less => self.order(found).is_some_and(Ordering::is_lt),
            FieldSign::AtMost => self.order(found).is_some_and(Ordering::is_le),
            FieldSign::More => self.order(found).is_some_and(Ordering::is_gt),
            FieldSign::AtLeast => self.order(found).is_some_and(Ordering::is_ge),
        }
    }

    /// Texts of which the bytes of every passing record hold one, when there are such.
    ///
    /// Of the value only what no JSON writer escapes; of a number its digits, wherever its point may stand, since `404`,
    /// `404.0` and `4.04e2` are equal.
    pub fn literals(&self) -> Option<Vec<String>> {
        if self.sign != FieldSign::Is || is_computed(&self.name) {
            return None;
        }
        let is_safe: fn(char) -> bool = match self.number {
            Some(Quantity { unit: Some(_), .. }) => return None,
            Some(_) if is_long(self.value.as_bytes()) => |it| it.is_ascii_digit(),
            Some(_) => return digits_in_all_places(&self.value),
            None => |it| it.is_ascii_alphanumeric() || matches!(it, ' ' | '_' | '-' | '.' | ':' | ',' | '@'),
        };
        let longest = self.value.split(|it| !is_safe(it)).max_by_key(|it| it.len());
        longest.filter(|it| !it.is_empty()).map(|it| vec![it.to_string()])
    }

    /// The last key of the name, when only a field that stands in the record under it, or by its place, can pass.
    pub fn sieve_name(&self) -> Option<&str> {
        let may_be_missing = matches!(self.sign, FieldSign::IsNot | FieldSign::MatchesNot);
        if may_be_missing || is_computed(&self.name) || !self.suffixed.is_empty() {
            return None;
        }
        self.name.rsplit('.').next().filter(|it| it.len() > 1)
    }

    /// A digit such that no value of at most three bytes that begins with it, or with a lesser one, passes, but for those
    /// with an exponent (`9e9`), and none that begins with a minus. `None` when there is none.
    pub fn low_digit(&self) -> Option<u8> {
        let number = self.number.filter(|it| it.unit.is_none())?.number;
        // The greatest of three bytes is that of three digits: `0.5` and `1k` compare as less than `199`.
        let fails = |digit: &u8| match self.sign {
            FieldSign::AtLeast => f64::from(*digit) * 100.0 + 99.0 < number,
            FieldSign::More => f64::from(*digit) * 100.0 + 99.0 <= number,
            _ => false,
        };
        (0..=9).take_while(fails).last()
    }

    /// The end of the name, which the bytes of every passing record hold when its format writes names.
    pub fn name_literal(&self) -> Option<&str> {
        if matches!(self.sign, FieldSign::IsNot | FieldSign::MatchesNot) || is_positional(&self.name) {
            return None;
        }
        self.name.rsplit('.').next().filter(|it| it.len() > 1)
    }

    fn is_equal(&self, found: &[u8]) -> bool {
        if self.is_same_text(found) {
            return true;
        }
        if self.number.is_none() || is_long(self.value.as_bytes()) || is_long(found) {
            return false;
        }
        self.order(found) == Some(Ordering::Equal)
    }

    fn is_same_text(&self, found: &[u8]) -> bool {
        if self.value.chars().any(char::is_uppercase) {
            return self.value.as_bytes() == found;
        }
        if self.value.is_ascii() {
            return self.value.as_bytes().eq_ignore_ascii_case(found);
        }
        std::str::from_utf8(found).is_ok_and(|it| it.to_lowercase() == self.value)
    }

    /// How a value stands to the chip's; `None` when the two can not be compared.
    fn order(&self, found: &[u8]) -> Option<Ordering> {
        let Some(wanted) = self.number else { return Some(found.cmp(self.value.as_bytes())) };
        let found = Quantity::parse(found)?;
        match (wanted.unit, found.unit) {
            // Without a unit in the chip the bare numbers compare.
            (None, _) => found.number.partial_cmp(&wanted.number),
            (Some(unit), None) => {
                let assumed = self.unit.filter(|it| it.kind == unit.kind).unwrap_or(unit);
                (found.number * assumed.factor).partial_cmp(&(wanted.number * unit.factor))
            }
            (Some(wanted_unit), Some(unit)) if unit.kind == wanted_unit.kind => {
                (found.number * unit.factor).partial_cmp(&(wanted.number * wanted_unit.factor))
            }
            _ => None,
        }
    }
}

/// A number with the unit it was written in.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Quantity {
    number: f64,
    unit: Option<Unit>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Unit {
    kind: UnitKind,
    /// Seconds or bytes.
    factor: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnitKind {
    Time,
    Size,
}

/// Longest text that is tried as a number.
const MAX_NUMBER_BYTES: usize = 40;

impl Quantity {
    /// `404`, `-1.5`, `250ms`, `1.5 MB`, `1m30.5s`.
    fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_NUMBER_BYTES
            || !text.first().is_some_and(|it| it.is_ascii_digit() || matches!(it, b'-' | b'+' | b'.'))
        {
            return None;
        }
        let (number, rest) = number(text)?;
        if rest.is_empty() {
            return Some(Self { number, unit: None });
        }
        let (unit, mut rest) = unit(rest)?;
        if rest.is_empty() {
            return Some(Self { number, unit: Some(unit) });
        }
        // Go writes `1m30.5s`.
        let mut total = number * unit.factor;
        while !rest.is_empty() {
            let (number, behind) = self::number(rest)?;
            let (next, behind) = self::unit(behind)?;
            if unit.kind != UnitKind::Time || next.kind != UnitKind::Time {
                return None;
            }
            total += number * next.factor;
            rest = behind;
        }
        Some(Self { number: total, unit: Some(Unit { kind: UnitKind::Time, factor: 1.0 }) })
    }
}

/// Beyond fifteen digits a float would take two identifiers for one.
fn is_long(text: &[u8]) -> bool {
    text.iter().filter(|byte| byte.is_ascii_digit()).count() > 15
}

/// The digits of a number without zeros at the ends, with the point in each place where it may stand: `404`, `4.04`,
/// `40.4`. However the number is written, one of them is in it.
fn digits_in_all_places(value: &str) -> Option<Vec<String>> {
    let mantissa = value.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_matches('0');
    let with_point = |at: usize| format!("{}.{}", &digits[..at], &digits[at..]);
    (!digits.is_empty()).then(|| std::iter::once(digits.to_string()).chain((1..digits.len()).map(with_point)).collect())
}

/// A decimal number, and what stands behind it.
fn number(text: &[u8]) -> Option<(f64, &[u8])> {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let (mut length, mut digits, mut is_fraction) = (sign, 0, false);
    for byte in &text[sign..] {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'.' if !is_fraction => is_fraction = true,
            _ => break,
        }
        length += 1;
    }
    if digits == 0 || (length < text.len() && text[length] == b'.') {
        return None;
    }
    let is_zero = !text[..length].iter().any(|it| matches!(it, b'1'..=b'9'));
    length += exponent(&text[length..]);
    let number: f64 = std::str::from_utf8(&text[..length]).ok()?.parse().ok()?;
    // What is too great or too small for a float would be equal to all the others that are.
    (number.is_normal() || is_zero).then_some((number, &text[length..]))
}

/// Bytes of the exponent that a text begins with: `e3`, `E-1`.
fn exponent(text: &[u8]) -> usize {
    let [b'e' | b'E', rest @ ..] = text else { return 0 };
    let sign = usize::from(matches!(rest.first(), Some(b'-' | b'+')));
    match rest[sign..].iter().take_while(|it| it.is_ascii_digit()).count() {
        0 => 0,
        digits => 1 + sign + digits,
    }
}

fn unit(text: &[u8]) -> Option<(Unit, &[u8])> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let length = text.iter().position(|byte| byte.is_ascii_digit() || *byte == b' ').unwrap_or(text.len());
    let (name, rest) = text.split_at(length);
    Some((unit_named(std::str::from_utf8(name).ok()?)?, rest))
}

fn unit_named(name: &str) -> Option<Unit> {
    let time = |factor| Some(Unit { kind: UnitKind::Time, factor });
    let size = |factor| Some(Unit { kind: UnitKind::Size, factor });
    match name {
        "ns" => time(1e-9),
        "us" | "µs" | "μs" => time(1e-6),
        "ms" => time(1e-3),
        "s" | "sec" => time(1.0),
        "m" | "min" => time(60.0),
        "h" => time(3600.0),
        "d" => time(86_400.0),
        "B" => size(1.0),
        "k" | "K" | "kB" | "KB" => size(1e3),
        "M" | "MB" => size(1e6),
        "G" | "GB" => size(1e9),
        "T" | "TB" => size(1e12),
        "Ki" | "KiB" => size(1024.0),
        "Mi" | "MiB" => size(1024.0 * 1024.0),
        "Gi" | "GiB" => size(1024.0 * 1024.0 * 1024.0),
        _ => None,
    }
}

/// Ends of names that say a unit.
const UNIT_ENDINGS: [(&str, &str); 16] = [
    ("_ns", "ns"),
    ("_nanos", "ns"),
    ("_us", "us"),
    ("_micros", "us"),
    ("_ms", "ms"),
    ("_millis", "ms"),
    ("Millis", "ms"),
    ("Ms", "ms"),
    ("_s", "s"),
    ("_sec", "s"),
    ("_seconds", "s"),
    ("Seconds", "s"),
    ("_kb", "kB"),
    ("_mb", "MB"),
    ("_bytes", "B"),
    ("Bytes", "B"),
];

/// The unit that a field's name says: `latency_ms`, `duration_seconds`, `sizeBytes`.
fn unit_of_name(name: &str) -> Option<Unit> {
    if name == "bytes" {
        return unit_named("B");
    }
    UNIT_ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).and_then(|(_, unit)| unit_named(unit))
}

/// Fields that stand in a line by their place, without their name.
const POSITIONAL: [&str; 50] = [
    "stream",
    "upstream",
    "duration",
    "app",
    "agent",
    "backend",
    "bind",
    "bytes",
    "client",
    "cid",
    "conn",
    "context",
    "connect_ms",
    "database",
    "db",
    "file",
    "frontend",
    "host",
    "ident",
    "logger",
    "message",
    "method",
    "module",
    "msg",
    "msgid",
    "path",
    "pid",
    "port",
    "procid",
    "protocol",
    "query",
    "queue_ms",
    "referer",
    "request",
    "response_ms",
    "role",
    "server",
    "source_file",
    "state",
    "status",
    "subsystem",
    "code",
    "thread",
    "tid",
    "total_ms",
    "unit",
    "url",
    "user",
    "wait_ms",
    "vhost",
];

/// True when a field of this name may stand in a line by its place, without its name.
pub fn is_positional(name: &str) -> bool {
    POSITIONAL.iter().any(|it| it.eq_ignore_ascii_case(name))
}

/// Fields whose value is put together, so that its text need not stand in the record.
fn is_computed(name: &str) -> bool {
    ["message", "msg"].iter().any(|it| name.eq_ignore_ascii_case(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_short_value_up_to_the_low_digit_passes() {
        let test = |sign, value: &str| FieldTest::new("status", sign, value).unwrap();
        for (sign, value, expected) in [
            (FieldSign::AtLeast, "500", Some(4)),
            (FieldSign::AtLeast, "499", Some(3)),
            (FieldSign::More, "499", Some(4)),
            (FieldSign::More, "399.5", Some(3)),
            (FieldSign::AtLeast, "99", None),
            (FieldSign::More, "99", Some(0)),
            (FieldSign::AtLeast, "-5", None),
            (FieldSign::AtLeast, "500ms", None),
            (FieldSign::AtLeast, "abc", None),
            (FieldSign::Less, "500", None),
            (FieldSign::Is, "500", None),
        ] {
            let test = test(sign, value);
            assert_eq!(test.low_digit(), expected, "{sign:?} {value}");
            let Some(low) = expected else { continue };
            let bytes = || (0x20..0x7f_u8).chain([b'-', 0xb5]);
            for first in (b'0'..=b'0' + low).chain([b'-']) {
                for (second, third) in bytes().flat_map(|a| bytes().map(move |b| (a, b))) {
                    for length in 1..=3 {
                        let value = &[first, second, third][..length];
                        if matches!(value, [_, b'e' | b'E', _]) {
                            continue;
                        }
                        assert!(!test.passes(Some(value)), "{value:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_compare_as_numbers_and_text_as_text() {
        let check = |chip: &str, found: &str, expected: bool| {
            let (name, sign, length) = split(chip).unwrap();
            let test = FieldTest::new(name, sign, &chip[length..]).unwrap();
            assert_eq!(test.passes(Some(found.as_bytes())), expected, "{chip} on {found}");
        };
        check("status>=500", "502", true);
        check("status>=500", "99", false);
        check("status>=500", "-", false);
        check("status=404", "404.0", true);
        check("status=404", "4041", false);
        check("status=404", "4.04E+2", true);
        check("n=1000", "1e3", true);
        check("n>999", "1e3", true);
        check("n<1", "1.5E-1", true);
        check("n>1.5e3", "1501", true);
        check("n>10", "1e", false);
        check("n=1e999", "2e999", false);
        check("n=0", "1e-999", false);
        check("latency>1s", "1.5e3ms", true);
        check("commit=1e3f", "1000", false);
        check("id=9007199254740993", "9007199254740992", false);
        check("latency>250ms", "0.3s", true);
        check("latency>250ms", "300", true);
        check("latency>250ms", "1m0.5s", true);
        check("latency>250ms", "249ms", false);
        check("latency_s>250ms", "1", true);
        check("latency_ms>1s", "999", false);
        check("latency>250", "251ms", true);
        check("bytes>1MB", "1000001", true);
        check("bytes>1MiB", "1048576", false);
        check("size>1MB", "2GB", true);
        check("size>1MB", "2s", false);
        check("user=sid", "Sid", true);
        check("user=Sid", "sid", false);
        check("user=ж", "Ж", true);
        check("user=~^sid", "siding", true);
        check("user!~^sid", "siding", false);
        check("path!=/healthz", "/healthz", false);
        check("version<b", "a9", true);
        check("version>1.2.3", "1.2.4", true);
    }

    #[test]
    fn a_missing_field_passes_only_what_asks_for_something_else() {
        for (chip, expected) in [("a=b", false), ("a!=b", true), ("a!~b", true), ("a=~b", false), ("a<1", false)] {
            let (name, sign, length) = split(chip).unwrap();
            assert_eq!(FieldTest::new(name, sign, &chip[length..]).unwrap().passes(None), expected, "{chip}");
        }
    }

    #[test]
    fn what_is_searched_for_in_blocks_stands_in_every_record_that_passes() {
        let literals = |chip: &str| {
            let (name, sign, length) = split(chip).unwrap();
            let test = FieldTest::new(name, sign, &chip[length..]).unwrap();
            (test.literals().map(|it| it.join(" ")), test.name_literal().map(str::to_string))
        };
        let some = |it: &str| Some(it.to_string());
        assert_eq!(literals("status=404"), (some("404 4.04 40.4"), None));
        assert_eq!(literals("status=0404.50"), (some("4045 4.045 40.45 404.5"), None));
        assert_eq!(literals("status=20e3"), (some("2"), None));
        assert_eq!(literals("status=1234567890123456"), (some("1234567890123456"), None));
        assert_eq!(literals("status=0"), (None, None));
        assert_eq!(literals("path=/api/orders"), (some("orders"), None));
        assert_eq!(literals("latency=250ms"), (None, some("latency")));
        assert_eq!(literals("http.code_x>=500"), (None, some("code_x")));
        assert_eq!(literals("trace!=x"), (None, None));
        assert_eq!(literals("message=x"), (None, None));
    }
}
