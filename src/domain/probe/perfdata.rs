//! What Nagios plugins print: text, and performance data with ranges.
//!
//! Format: the Monitoring Plugins' development guidelines. `'label'=value[unit];[warn];[crit];[min];[max]`,
//! separated by blanks, behind `|` on the first line and behind the `|` that ends the long text.

use crate::domain::probe::expect::shorten;
use crate::domain::probe::outcome::{PERF_MAX, Part, Perf, ProbeResult};
use crate::domain::sanitise;

/// Characters kept of a label and of a range.
const LABEL_MAX: usize = 40;

/// A range of values, and on which side of it an alert is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    start: f64,
    end: f64,
    /// `@`: alert inside it.
    inside: bool,
}

impl Range {
    /// Reads `[@][start:][end]`: `10` is 0 to 10, `10:` from 10 on, `~:10` up to 10. `None` when it is no range.
    ///
    /// Some plugins print the unit of the value behind it; it is passed over.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (inside, rest) = text.strip_prefix('@').map_or((false, text), |rest| (true, rest));
        let (start, end) = rest.split_once(':').map_or((None, rest), |(start, end)| (Some(start), end));
        let start = match start {
            None | Some("") => 0.0,
            Some("~") => f64::NEG_INFINITY,
            Some(start) => number(start)?,
        };
        let end = match end {
            "" if rest.contains(':') => f64::INFINITY,
            end => number(end)?,
        };
        (start <= end).then_some(Self { start, end, inside })
    }

    /// Above which value, or from which on, there is an alert; `None` where there is none upwards.
    pub fn upper(&self) -> Option<f64> {
        let edge = if self.inside { self.start } else { self.end };
        edge.is_finite().then_some(edge)
    }

    /// True when a value raises an alert.
    pub fn alerts(&self, value: f64) -> bool {
        (self.start..=self.end).contains(&value) == self.inside
    }
}

/// Writes a value as plugins print it, with its ranges and bounds.
pub fn written(perf: &Perf) -> String {
    // A quote inside a label is doubled, as plugins do.
    let value = format!("'{}'={}{}", perf.label.replace('\'', "''"), perf.value, perf.unit);
    let range =
        |it: &Option<String>| it.as_deref().filter(|it| Range::parse(it).is_some()).unwrap_or_default().to_string();
    let bound = |it: Option<f64>| it.map(|it| it.to_string()).unwrap_or_default();
    let all = [value, range(&perf.warn), range(&perf.crit), bound(perf.min), bound(perf.max)].join(";");
    all.trim_end_matches(';').to_string()
}

/// A number with a unit behind it, or without. Plugins follow the locale of the host: a comma is a point.
fn number(text: &str) -> Option<f64> {
    let end = unit_at(text);
    let number: f64 = text[..end].replace(',', ".").parse().ok()?;
    (number.is_finite() && text[end..].chars().all(|it| it.is_alphabetic() || it == '%')).then_some(number)
}

/// Where the unit of a value begins.
fn unit_at(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_exponent = |at: usize| {
        let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        at > 0 && digit(at - 1) && (digit(at + 1) || (matches!(bytes.get(at + 1), Some(b'-' | b'+')) && digit(at + 2)))
    };
    let in_number = |at: usize, byte: u8| match byte {
        b'0'..=b'9' | b'.' | b',' | b'-' | b'+' => true,
        b'e' | b'E' => is_exponent(at),
        _ => false,
    };
    bytes.iter().enumerate().find(|(at, byte)| !in_number(*at, **byte)).map_or(text.len(), |(at, _)| at)
}

/// What the ranges of the values say, one part for each value that has a range; the exit code stands above it.
pub fn parts(perf: &[Perf]) -> Vec<Part> {
    let alerts =
        |range: &Option<String>, value: f64| range.as_deref().and_then(Range::parse).map(|range| range.alerts(value));
    let part = |it: &Perf| {
        let (warn, crit) = (alerts(&it.warn, it.value), alerts(&it.crit, it.value));
        let (result, range) = match (warn, crit) {
            (None, None) => return None,
            (_, Some(true)) => (ProbeResult::Fail, it.crit.as_deref().unwrap_or_default()),
            (Some(true), _) => (ProbeResult::Degraded, it.warn.as_deref().unwrap_or_default()),
            _ => (ProbeResult::Ok, ""),
        };
        let value = format!("{}{}", it.value, it.unit);
        let text = if range.is_empty() { value } else { format!("{value}, alerts at {range}") };
        Some(Part { name: it.label.clone(), result, text, took: None })
    };
    perf.iter().filter_map(part).collect()
}

/// Takes a plugin's output apart: the text of its first line, and the performance data of all lines.
pub fn take_apart(output: &str) -> (String, Vec<Perf>) {
    let mut lines = output.lines();
    let first = lines.next().unwrap_or_default();
    let (text, data) = first.split_once('|').unwrap_or((first, ""));
    let mut perf = Vec::new();
    parse(data, &mut perf);
    // Long output: lines of text, then `|` once, then lines of data.
    let mut in_data = false;
    for line in lines {
        if in_data {
            parse(line, &mut perf);
        } else if let Some((_, data)) = line.split_once('|') {
            in_data = true;
            parse(data, &mut perf);
        }
    }
    (text.trim().to_string(), perf)
}

/// What does not fit is skipped.
fn parse(data: &str, perf: &mut Vec<Perf>) {
    let mut rest = data.trim_start();
    while !rest.is_empty() && perf.len() < PERF_MAX {
        let (label, after) = match rest.strip_prefix('\'') {
            // A doubled quote inside a quoted label is one quote.
            Some(quoted) => {
                let mut end = None;
                let mut at = 0;
                while let Some(found) = quoted[at..].find('\'') {
                    at += found;
                    if quoted[at + 1..].starts_with('\'') {
                        at += 2;
                        continue;
                    }
                    end = Some(at);
                    break;
                }
                let Some(end) = end else { return };
                (quoted[..end].replace("''", "'"), &quoted[end + 1..])
            }
            None => {
                let end = rest.find(|it: char| it == '=' || it.is_whitespace()).unwrap_or(rest.len());
                (rest[..end].to_string(), &rest[end..])
            }
        };
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        if let Some(found) = after[..end].strip_prefix('=').and_then(|it| value(&label, it)) {
            perf.push(found);
        }
        rest = after[end..].trim_start();
    }
}

fn value(label: &str, text: &str) -> Option<Perf> {
    let mut fields = text.split(';');
    let value = fields.next()?;
    let unit_at = unit_at(value);
    let found: f64 = value[..unit_at].replace(',', ".").parse().ok()?;
    let mut field = || fields.next().map(str::trim).filter(|it| !it.is_empty());
    let shown = |it: &str| shorten(&sanitise::text(it), LABEL_MAX);
    let (warn, crit) = (field().map(shown), field().map(shown));
    let (min, max) = (field().and_then(number), field().and_then(number));
    let label = shown(label);
    let unit = shorten(&sanitise::text(&value[unit_at..]), 8);
    (!label.is_empty() && found.is_finite()).then_some(Perf { label, value: found, unit, warn, crit, min, max })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_alert_where_the_guidelines_say() {
        // The table of the guidelines, with a value on each side and on the edges.
        for (range, alerting, quiet) in [
            ("10", &[-1.0, 10.1][..], &[0.0, 5.0, 10.0][..]),
            ("10:", &[9.9, -3.0], &[10.0, 1e9]),
            ("~:10", &[10.1], &[-1e9, 10.0]),
            ("10:20", &[9.9, 20.1], &[10.0, 20.0]),
            ("@10:20", &[10.0, 15.0, 20.0], &[9.9, 20.1]),
            ("@~:0", &[-5.0, 0.0], &[0.1]),
            (":5", &[-0.1, 5.1], &[0.0, 5.0]),
            ("80%", &[81.0], &[80.0]),
            ("1.000000", &[1.5], &[0.5]),
        ] {
            let parsed = Range::parse(range).expect(range);
            assert!(alerting.iter().all(|it| parsed.alerts(*it)), "{range}");
            assert!(!quiet.iter().any(|it| parsed.alerts(*it)), "{range}");
        }
        for bad in ["", "x", "20:10", "10:20:30", "@", "inf", "--1"] {
            assert_eq!(Range::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn performance_data_of_real_plugins_is_understood() {
        let (text, perf) = take_apart(
            "DISK OK - free space: / 3326 MB (56%); | /=2643MB;5948;5958;0;5968 'C:\\ used'=41,5%;80;90\nlong text | time=0.012s;;;0.0\n'it''s'=3c size=1.5e3B nan=nan bad\n",
        );
        assert_eq!(text, "DISK OK - free space: / 3326 MB (56%);");
        let shown: Vec<String> = perf
            .iter()
            .map(|it| format!("{}|{}|{}|{:?}|{:?}|{:?}", it.label, it.value, it.unit, it.warn, it.min, it.max))
            .collect();
        assert_eq!(
            shown,
            [
                "/|2643|MB|Some(\"5948\")|Some(0.0)|Some(5968.0)",
                "C:\\ used|41.5|%|Some(\"80\")|None|None",
                "time|0.012|s|None|Some(0.0)|None",
                "it's|3|c|None|None|None",
                "size|1500|B|None|None|None",
            ]
        );
    }

    #[test]
    fn a_value_outside_its_range_is_a_part_that_says_so() {
        let (_, perf) = take_apart("x | load1=3.9;2;5 load5=1;2;5 rta=900ms;100;500 plain=1");
        let parts = parts(&perf);
        let shown: Vec<_> = parts.iter().map(|it| (it.name.as_str(), it.result, it.text.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("load1", ProbeResult::Degraded, "3.9, alerts at 2"),
                ("load5", ProbeResult::Ok, "1"),
                ("rta", ProbeResult::Fail, "900ms, alerts at 500"),
            ]
        );
    }

    #[test]
    fn what_is_written_is_read_as_the_same_with_ranges_and_bounds() {
        let line = "'/ it''s'=2643MB;5948;@5:9;0;5968 time=0.5s load=3;;4 plain=1";
        let (_, perf) = take_apart(&format!("x | {line}"));
        let again: Vec<String> = perf.iter().map(written).collect();
        assert_eq!(again.join(" "), "'/ it''s'=2643MB;5948;@5:9;0;5968 'time'=0.5s 'load'=3;;4 'plain'=1");
        assert_eq!(take_apart(&format!("x | {}", again.join(" "))).1, perf);
        let odd = Perf { warn: Some("1|2".into()), ..Perf::plain("a", 1.0, "") };
        assert_eq!(written(&odd), "'a'=1", "what is no range may be anything");
    }

    proptest! {
        #[test]
        fn no_output_makes_the_parser_panic(output in "[\\PC\n|'=;:@~e+-]{0,200}") {
            let (_, perf) = take_apart(&output);
            prop_assert!(perf.len() <= PERF_MAX);
            prop_assert!(parts(&perf).len() <= perf.len());
        }

        #[test]
        fn a_range_alerts_inside_exactly_where_it_does_not_outside(start in -99i32..99, length in 0i32..99, value in -200i32..200) {
            let text = format!("{start}:{}", start + length);
            let (out, within) = (Range::parse(&text), Range::parse(&format!("@{text}")));
            prop_assert_ne!(out.map(|it| it.alerts(value.into())), within.map(|it| it.alerts(value.into())));
        }
    }
}
