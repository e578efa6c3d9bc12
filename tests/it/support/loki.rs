//! Stands for Grafana Loki. Debian's package `loki` is another program (genetics), so no real one can be had.
//!
//! What of the public HTTP API it stands for, by Loki's documentation of versions 2.4 to 3:
//!
//! * `GET /loki/api/v1/query_range` with `query`, `limit`, `start`, `end`, `direction`, `step` for log queries and
//!   for `sum [by (…)] (count_over_time(… [d] [offset d]))`;
//! * `GET /loki/api/v1/query` with `query`, `time`, `limit`, `direction` for the latter;
//! * `start` counts, `end` does not; a range `[d]` at an instant reaches back from it and leaves its first moment
//!   out; metric queries are evaluated at multiples of `step`;
//! * LogQL: a selector with `=`, `!=`, `=~`, `!~`; line filters `|=`, `!=`, `|~`, `!~`; label filters joined by `or`.
//!   Regexes of labels are anchored, those of lines are not; a missing label is empty;
//! * lines of one stream and instant stand in the order they came in, the other way round when asked backward;
//!   what streams stand beside each other in is not promised, and changes here from answer to answer;
//! * `max_entries_limit_per_query` and `max_query_length`, in the words of the server; 401 without a tenant.
//!
//! An unknown path or parameter, or a query outside of this, is answered with 400 and fails the test.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use regex::Regex;
use serde_json::{Value, json};

use super::web::{Asked, Said, Web};

type Labels = BTreeMap<String, String>;

/// A line as it was pushed.
#[derive(Debug, Clone)]
pub struct Pushed {
    pub labels: Labels,
    pub nanos: i64,
    pub text: String,
}

/// What the server has and how it behaves.
#[derive(Debug)]
pub struct Ways {
    /// In the order they came in.
    pub lines: Vec<Pushed>,
    pub max_entries: usize,
    pub max_length_nanos: i64,
    /// Needed as `X-Scope-OrgID`.
    pub tenant: Option<String>,
    /// Needed as `Authorization`.
    pub login: Option<String>,
    /// Answers with which the next requests are met instead.
    pub instead: Vec<Said>,
}

/// The server.
pub struct Loki {
    pub web: Web,
    ways: Arc<Mutex<Ways>>,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Loki {
    pub fn start(lines: Vec<Pushed>) -> Self {
        let ways = Ways {
            lines,
            max_entries: 5000,
            max_length_nanos: 721 * 3600 * 1_000_000_000,
            tenant: None,
            login: None,
            instead: Vec::new(),
        };
        let (ways, complaints) = (Arc::new(Mutex::new(ways)), Arc::new(Mutex::new(Vec::new())));
        let (its_ways, its_complaints) = (ways.clone(), complaints.clone());
        let turn = AtomicUsize::new(0);
        let web = Web::start(move |asked| {
            let mut ways = lock(&its_ways);
            if !ways.instead.is_empty() {
                return ways.instead.remove(0);
            }
            if ways.tenant.as_deref().is_some_and(|it| asked.header("x-scope-orgid") != Some(it)) {
                return Said::status(401, "no org id");
            }
            if ways.login.as_deref().is_some_and(|it| asked.header("authorization") != Some(it)) {
                return Said::status(401, "unauthorized");
            }
            answer(&ways, asked, turn.fetch_add(1, Ordering::Relaxed)).unwrap_or_else(|refused| match refused {
                Refused::Limit(text) => Said::status(400, text),
                Refused::Foreign(text) => {
                    lock(&its_complaints).push(format!("{text} in {asked:?}"));
                    Said::status(400, text)
                }
            })
        });
        Self { web, ways, complaints }
    }

    /// What it has and how it behaves.
    pub fn ways(&self) -> MutexGuard<'_, Ways> {
        lock(&self.ways)
    }

    /// The log queries that were asked, with the number of lines wanted.
    pub fn queries(&self) -> Vec<(String, usize)> {
        let ranges = self.web.asked().into_iter().filter(|it| it.path.ends_with("/query_range"));
        ranges
            .filter_map(|it| Some((it.parameter("query")?.to_string(), it.parameter("limit")?.parse().ok()?)))
            .collect()
    }
}

impl Drop for Loki {
    fn drop(&mut self) {
        let complaints = lock(&self.complaints);
        if !std::thread::panicking() {
            assert!(complaints.is_empty(), "not in Loki's API: {complaints:#?}");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Refused {
    /// As the server would.
    Limit(String),
    /// The test asks what it must not.
    Foreign(String),
}

fn foreign(text: impl Into<String>) -> Refused {
    Refused::Foreign(text.into())
}

fn answer(ways: &Ways, asked: &Asked, turn: usize) -> Result<Said, Refused> {
    let known: &[&str] = match asked.path.as_str() {
        "/loki/api/v1/query_range" => &["query", "limit", "start", "end", "direction", "step"],
        "/loki/api/v1/query" => &["query", "limit", "time", "direction"],
        other => return Err(foreign(format!("unknown path {other}"))),
    };
    if asked.method != "GET" {
        return Err(foreign("only GET is used"));
    }
    if let Some((name, _)) = asked.query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return Err(foreign(format!("unknown parameter {name}")));
    }
    let number = |name: &str| -> Result<i64, Refused> {
        let text = asked.parameter(name).ok_or_else(|| foreign(format!("{name} is missing")))?;
        text.parse().map_err(|_| foreign(format!("{name} is no number of nanoseconds")))
    };
    let text = asked.parameter("query").ok_or_else(|| foreign("query is missing"))?;
    if text.starts_with("sum") {
        let metric = Metric::parse(text)?;
        if metric.range > ways.max_length_nanos {
            return Err(too_long(ways, metric.range));
        }
        if asked.path.ends_with("/query") {
            let at = number("time")?;
            let sample = |(labels, count): (Labels, u64)| json!({ "metric": labels, "value": [at / 1_000_000_000, count.to_string()] });
            let result: Vec<Value> = metric.at(ways, at).into_iter().map(sample).collect();
            return Ok(success("vector", result));
        }
        let step = number("step")? * 1_000_000_000;
        let (start, end) = (number("start")? / step * step, number("end")?);
        let mut series: BTreeMap<Labels, Vec<Value>> = BTreeMap::new();
        let mut at = start;
        while at < end + step {
            for (labels, count) in metric.at(ways, at) {
                series.entry(labels).or_default().push(json!([at / 1_000_000_000, count.to_string()]));
            }
            at += step;
        }
        let result = series.into_iter().map(|(metric, values)| json!({ "metric": metric, "values": values }));
        return Ok(success("matrix", result.collect()));
    }
    let query = Query::parse(text)?;
    let (start, end, limit) = (number("start")?, number("end")?, number("limit")?);
    let limit = usize::try_from(limit).map_err(|_| foreign("a negative limit"))?;
    if limit == 0 || start > end {
        return Err(foreign("limit must be a positive value, end must not be before start"));
    }
    if limit > ways.max_entries {
        let most = ways.max_entries;
        return Err(Refused::Limit(format!(
            "max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {most})"
        )));
    }
    if end - start > ways.max_length_nanos {
        return Err(too_long(ways, end - start));
    }
    let backward = match asked.parameter("direction") {
        Some("forward") => false,
        None | Some("backward") => true,
        Some(other) => return Err(foreign(format!("unknown direction {other}"))),
    };
    let mut found: Vec<&Pushed> =
        ways.lines.iter().filter(|it| (start..end).contains(&it.nanos) && query.takes(it)).collect();
    found.sort_by_key(|it| it.nanos);
    if backward {
        found.reverse();
    }
    // Which of the lines of an instant come when not all of them do: those of some stream.
    if turn % 2 == 1 {
        found.sort_by(|left, right| {
            let by_time = left.nanos.cmp(&right.nanos);
            (if backward { by_time.reverse() } else { by_time }).then_with(|| right.labels.cmp(&left.labels))
        });
    }
    found.truncate(limit);
    let mut streams: BTreeMap<&Labels, Vec<Value>> = BTreeMap::new();
    for line in found {
        streams.entry(&line.labels).or_default().push(json!([line.nanos.to_string(), line.text]));
    }
    let mut result: Vec<Value> =
        streams.into_iter().map(|(stream, values)| json!({ "stream": stream, "values": values })).collect();
    if turn.is_multiple_of(2) {
        result.reverse();
    }
    Ok(success("streams", result))
}

fn too_long(ways: &Ways, nanos: i64) -> Refused {
    let hours = |it: i64| it / 3_600_000_000_000;
    Refused::Limit(format!(
        "the query time range exceeds the limit (query length: {}h, limit: {}h)",
        hours(nanos),
        hours(ways.max_length_nanos)
    ))
}

fn success(kind: &str, result: Vec<Value>) -> Said {
    Said::json(json!({ "status": "success", "data": { "resultType": kind, "result": result, "stats": {} } }))
}

/// A count over time.
struct Metric {
    by: Vec<String>,
    query: Query,
    range: i64,
    offset: i64,
}

impl Metric {
    fn parse(text: &str) -> Result<Self, Refused> {
        let wrong = || foreign(format!("no known metric query: {text}"));
        let rest = text.strip_prefix("sum").ok_or_else(wrong)?.trim_start();
        let (by, rest) = match rest.strip_prefix("by (") {
            Some(rest) => {
                let (names, rest) = rest.split_once(')').ok_or_else(wrong)?;
                (names.split(',').map(|it| it.trim().to_string()).collect(), rest.trim_start())
            }
            None => (Vec::new(), rest),
        };
        let inner = rest.strip_prefix("(count_over_time(").and_then(|it| it.strip_suffix("))")).ok_or_else(wrong)?;
        let (query, range) = inner.rsplit_once('[').ok_or_else(wrong)?;
        let (range, rest) = range.split_once(']').ok_or_else(wrong)?;
        let offset = match rest.trim().strip_prefix("offset ") {
            Some(offset) => duration(offset)?,
            None if rest.trim().is_empty() => 0,
            None => return Err(wrong()),
        };
        Ok(Self { by, query: Query::parse(query.trim_end())?, range: duration(range)?, offset })
    }

    fn at(&self, ways: &Ways, at: i64) -> BTreeMap<Labels, u64> {
        let at = at - self.offset;
        let mut counts = BTreeMap::new();
        for line in ways.lines.iter().filter(|it| it.nanos > at - self.range && it.nanos <= at) {
            if self.query.takes(line) {
                let of = |name: &String| Some((name.clone(), line.labels.get(name)?.clone()));
                *counts.entry(self.by.iter().filter_map(of).collect()).or_insert(0) += 1;
            }
        }
        counts
    }
}

fn duration(text: &str) -> Result<i64, Refused> {
    let unit = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let scale = match &text[unit..] {
        "ns" => 1,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(foreign(format!("no duration: {text}"))),
    };
    Ok(text[..unit].parse::<i64>().map_err(|_| foreign(format!("no duration: {text}")))? * scale)
}

/// A log query.
struct Query {
    selector: Vec<LabelTest>,
    stages: Vec<Stage>,
}

enum Stage {
    Contains(String, bool),
    Matches(Regex, bool),
    Labels(Vec<LabelTest>),
}

struct LabelTest {
    name: String,
    is_regex: bool,
    negated: bool,
    text: String,
    regex: Option<Regex>,
}

impl LabelTest {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.name).map_or("", String::as_str);
        let found =
            if self.is_regex { self.regex.as_ref().is_some_and(|it| it.is_match(value)) } else { value == self.text };
        found != self.negated
    }
}

struct Parser<'a> {
    rest: &'a str,
    whole: &'a str,
}

impl Query {
    fn parse(text: &str) -> Result<Self, Refused> {
        let mut parser = Parser { rest: text.trim(), whole: text };
        parser.expect("{")?;
        let mut selector = vec![parser.label()?];
        while parser.take(",") {
            selector.push(parser.label()?);
        }
        parser.expect("}")?;
        let mut stages = Vec::new();
        while !parser.rest.is_empty() {
            stages.push(if parser.take("|=") {
                Stage::Contains(parser.string()?, true)
            } else if parser.take("!=") {
                Stage::Contains(parser.string()?, false)
            } else if parser.take("|~") {
                Stage::Matches(parser.regex()?, true)
            } else if parser.take("!~") {
                Stage::Matches(parser.regex()?, false)
            } else {
                parser.expect("|")?;
                let mut tests = vec![parser.label()?];
                while parser.take("or ") {
                    tests.push(parser.label()?);
                }
                Stage::Labels(tests)
            });
        }
        Ok(Self { selector, stages })
    }

    fn takes(&self, line: &Pushed) -> bool {
        self.selector.iter().all(|it| it.holds(&line.labels))
            && self.stages.iter().all(|stage| match stage {
                Stage::Contains(text, wanted) => line.text.contains(text.as_str()) == *wanted,
                Stage::Matches(regex, wanted) => regex.is_match(&line.text) == *wanted,
                Stage::Labels(tests) => tests.iter().any(|it| it.holds(&line.labels)),
            })
    }
}

impl Parser<'_> {
    fn wrong(&self) -> Refused {
        foreign(format!("parse error before `{}` in {}", self.rest, self.whole))
    }

    fn take(&mut self, sign: &str) -> bool {
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest).trim_start();
        rest.is_some()
    }

    fn expect(&mut self, sign: &str) -> Result<(), Refused> {
        if self.take(sign) { Ok(()) } else { Err(self.wrong()) }
    }

    fn label(&mut self) -> Result<LabelTest, Refused> {
        let end = self.rest.find(|it: char| !it.is_ascii_alphanumeric() && it != '_').unwrap_or(0);
        let name = self.rest[..end].to_string();
        if name.is_empty() {
            return Err(self.wrong());
        }
        self.rest = self.rest[end..].trim_start();
        let (is_regex, negated) = if self.take("=~") {
            (true, false)
        } else if self.take("!~") {
            (true, true)
        } else if self.take("!=") {
            (false, true)
        } else {
            self.expect("=")?;
            (false, false)
        };
        let text = self.string()?;
        // RE2's white space is that of ASCII; labels here hold no other.
        let regex = if is_regex { Some(Regex::new(&format!("^(?:{text})$")).map_err(|_| self.wrong())?) } else { None };
        Ok(LabelTest { name, is_regex, negated, text, regex })
    }

    fn regex(&mut self) -> Result<Regex, Refused> {
        let text = self.string()?;
        // These mean something else in RE2.
        if ["\\w", "\\W", "\\d", "\\D", "\\s", "\\S", "\\b", "\\B"]
            .iter()
            .any(|it| text.replace("\\\\", "").contains(it))
        {
            return Err(foreign(format!("a class that RE2 reads otherwise: {text}")));
        }
        Regex::new(&text).map_err(|error| foreign(error.to_string()))
    }

    /// A string quoted as in Go.
    fn string(&mut self) -> Result<String, Refused> {
        if let Some(raw) = self.rest.strip_prefix('`') {
            let end = raw.find('`').ok_or_else(|| self.wrong())?;
            self.rest = raw[end + 1..].trim_start();
            return Ok(raw[..end].to_string());
        }
        let body = self.rest.strip_prefix('"').ok_or_else(|| self.wrong())?;
        let mut text = String::new();
        let mut chars = body.char_indices();
        while let Some((at, it)) = chars.next() {
            match it {
                '"' => {
                    self.rest = body[at + 1..].trim_start();
                    return Ok(text);
                }
                '\\' => match chars.next().map(|it| it.1) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(it @ ('\\' | '"')) => text.push(it),
                    Some('u') => {
                        let digits: String = chars.by_ref().take(4).map(|it| it.1).collect();
                        let code = u32::from_str_radix(&digits, 16).map_err(|_| self.wrong())?;
                        text.push(char::from_u32(code).ok_or_else(|| self.wrong())?);
                    }
                    _ => return Err(self.wrong()),
                },
                other => text.push(other),
            }
        }
        Err(self.wrong())
    }
}
