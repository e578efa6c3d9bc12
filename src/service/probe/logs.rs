//! `logs = { query = "level>=error", source = "api", more_than = "20 in 1m" }`: how often something is logged.
//!
//! Fails when more lines than wanted match within a time, or none for too long. Asks the log engine that the
//! screen reads from, for no more than that time back and without a view of its own.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::clock;
use crate::domain::format;
use crate::domain::probe::expect::{Field, FieldKind, FieldValue, Subjects, shorten};
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Perf, Phase, ProbeResult, Trouble};
use crate::domain::query::matcher::Matcher;
use crate::domain::query::saved::{self, SavedQuery};
use crate::domain::query::{Chip, ChipKind, Query};
use crate::domain::sanitise;
use crate::logstore::recent::{Recent, Wanted, recent};
use crate::logstore::store::Stop;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::registry::value::parse_duration;
use crate::service::log::LogService;
use crate::service::probe::net::{self, Verdict, fail};
use crate::service::probe::{Observing, Probe, Run, redact};

/// Newest matching lines that are shown as evidence: enough to see what it is about.
const LINES_MAX: usize = 5;
/// Characters of each of them.
const LINE_CHARS: usize = 200;
/// Lines are counted no further: a flood is a flood, and each costs a microsecond or so.
const COUNT_MAX: u64 = 100_000;
/// Longest range: what is looked at every half minute must not read a week of lines.
const RANGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Log sources are opened while the runtime starts; a run that comes earlier waits so long for them.
const OPENING_MAX: Duration = Duration::from_secs(1);

/// `logs` in the config.
pub const KIND: Kind<dyn Probe> = Kind {
    name: "logs",
    summary: "count the log lines that match a query: too many within a time, or none for too long",
    example: "[[probe]]\nname = \"api errors\"\nlogs = { query = \"level>=error\", more_than = \"20 in 1m\" }\n",
    build,
};

const FIELDS: &[Field] =
    &[Field { name: "lines", kind: FieldKind::Number }, Field { name: "age", kind: FieldKind::Time }];

/// More lines than these within this time are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Rate {
    lines: u64,
    within: Duration,
}

/// Counts lines.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct LogsProbe {
    query: Query,
    // As written: `@5xx` says more than what it stands for.
    written: String,
    log: Option<String>,
    more_than: Option<Rate>,
    none_for: Option<Duration>,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    if !node.is_table() {
        node.error_with_hint(
            "`logs` must be a table with a query and a condition",
            "write `logs = { query = \"level>=error\", more_than = \"20 in 1m\" }`",
        );
        return None;
    }
    let query = node.require("query").and_then(|it| read_query(&it));
    let log = node.get("source").map(|it| read_log(&it));
    let more_than = node.get("more_than").map(|it| read_rate(&it));
    let none_for = node.get("none_for").map(|it| read_range(&it));
    node.finish(&[]);
    if more_than.is_none() && none_for.is_none() {
        node.error_with_hint(
            "a probe of logs needs `more_than` or `none_for`",
            "write `more_than = \"20 in 1m\"` for too many lines, `none_for = \"10m\"` for silence",
        );
        return None;
    }
    let (written, query) = query?;
    let (log, more_than, none_for) = (every(log)?, every(more_than)?, every(none_for)?);
    Some(Box::new(LogsProbe { query, written, log, more_than, none_for }))
}

/// A key that is absent is fine, one with a mistake is not.
fn every<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(read) => read.map(Some),
    }
}

fn read_query(node: &Node<'_>) -> Option<(String, Query)> {
    let written = node.string()?;
    let known = node.known("query").unwrap_or_default();
    let saved: Vec<SavedQuery> = known.into_iter().map(|(name, query)| SavedQuery { name, query }).collect();
    let text = match saved::expand(&saved, &written) {
        Ok(text) => text,
        Err(message) => {
            node.error_with_hint(message, "write the query itself, or save one as `[[query]]`");
            return None;
        }
    };
    match saved::read(&written, &text) {
        Ok(query) if query.chips.iter().any(|it| matches!(it.kind, ChipKind::Since(_) | ChipKind::Until(_))) => {
            node.error_with_hint(
                "`since:` and `until:` have no place in a probe's query",
                "how far back it looks is what `more_than` and `none_for` say",
            );
            None
        }
        Ok(query) => Some((written, query)),
        Err(error) => {
            node.error_within(error.range, error.message, error.hint);
            None
        }
    }
}

fn read_log(node: &Node<'_>) -> Option<String> {
    let name = node.string()?;
    if let Some(known) = node.known("log")
        && !known.iter().any(|(it, _)| *it == name)
    {
        let names: Vec<&str> = known.iter().map(|(it, _)| it.as_str()).collect();
        let hint = if names.is_empty() { "add a `[[log]]`".into() } else { format!("known: {}", names.join(", ")) };
        node.error_with_hint(format!("there is no log `{}`", sanitise::text(&name)), hint);
        return None;
    }
    Some(name)
}

fn read_rate(node: &Node<'_>) -> Option<Rate> {
    let text = node.string()?;
    let hint = "write how many within which time, as in `20 in 1m`";
    let parts = text.split_once(" in ");
    let Some(lines) = parts.and_then(|(lines, _)| lines.trim().parse::<u64>().ok()) else {
        node.error_with_hint(format!("`{}` is no rate", sanitise::text(&text)), hint);
        return None;
    };
    if lines >= COUNT_MAX {
        node.error_with_hint(format!("a rate of more than {COUNT_MAX} lines"), "look at a shorter time");
        return None;
    }
    let within = parse_duration(parts?.1.trim());
    match within {
        Ok(within) if is_range(within) => Some(Rate { lines, within }),
        Ok(_) => {
            node.error_with_hint("the time of a rate must be from 1s to 24h", hint);
            None
        }
        Err(message) => {
            node.error_with_hint(message, hint);
            None
        }
    }
}

fn is_range(time: Duration) -> bool {
    (Duration::from_secs(1)..=RANGE_MAX).contains(&time)
}

fn read_range(node: &Node<'_>) -> Option<Duration> {
    let range = node.duration()?;
    if !is_range(range) {
        node.error_with_hint("`none_for` must be from 1s to 24h", "choose a duration between the two, as in `10m`");
        return None;
    }
    Some(range)
}

impl Probe for LogsProbe {
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a> {
        Box::pin(async move {
            let mut seen = Observation::default();
            let begun = clock::monotonic();
            let verdict = match &run.place.logs {
                Some(logs) => self.look(logs, run.deadline, &mut seen).await,
                None => Some(unknown("no log sources are open here")),
            };
            seen.values.phases.add(Phase::Run, clock::monotonic() - begun);
            seen.verdict = verdict;
            seen
        })
    }

    fn target(&self) -> String {
        let log = self.log.as_ref().map(|it| format!("{it}: ")).unwrap_or_default();
        let more = self.more_than.map(|it| format!(" more than {} in {}", it.lines, format::span(it.within)));
        let none = self.none_for.map(|it| format!(" none for {}", format::span(it)));
        let conditions: Vec<String> = more.into_iter().chain(none).collect();
        sanitise::text(&format!("{log}{}{}", self.written, conditions.join(" or")))
    }

    fn subjects(&self) -> Subjects {
        Subjects::Fields(FIELDS)
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }
}

/// Tells the thread that reads when the run was given up.
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl LogsProbe {
    async fn look(&self, logs: &LogService, deadline: Instant, seen: &mut Observation) -> Option<Verdict> {
        let given_up = GivenUp(Arc::default());
        let flag = Arc::clone(&given_up.0);
        let stop = Stop::when(move || flag.load(Ordering::Relaxed));
        let (probe, logs) = (self.clone(), logs.clone());
        let now = clock::now();
        let begun = clock::timer();
        let reading = tokio::task::spawn_blocking(move || probe.read(&logs, now, &stop));
        let found = match tokio::time::timeout_at(deadline, reading).await {
            Ok(Ok(Ok(found))) => found,
            Ok(Ok(Err(error))) => return Some(unknown(&error)),
            Ok(Err(_)) => return Some(unknown("the log engine panicked: this is a bug in hotseat")),
            // How long it takes to read is our own affair, or that of the store it is kept in.
            Err(_) => {
                let (_, trouble) = net::timeout(Phase::Run, clock::timer() - begun);
                return Some((
                    ProbeResult::Unknown,
                    Trouble::new(trouble.cause, "timeout", "the lines could not be counted in time"),
                ));
            }
        };
        self.show(&found, now, seen);
        self.judge(&found, now)
    }

    /// Counts; blocks.
    fn read(&self, logs: &LogService, now: Timestamp, stop: &Stop) -> Result<Found, String> {
        let engine = logs.engine();
        let until = clock::monotonic() + OPENING_MAX;
        loop {
            let seen = engine.changes();
            let left = until.saturating_duration_since(clock::monotonic());
            if (logs.is_opened() && engine.is_settled()) || !engine.wait_for_change(seen, left) {
                break;
            }
        }
        let since = |range: Duration| now.checked_sub(range).unwrap_or(Timestamp::MIN);
        let count = |range: Duration, count_max: u64| {
            let mut query = self.query.clone();
            query.chips.push(Chip::keep(ChipKind::Since(since(range).to_string())));
            let matcher = Matcher::new(&query, now, &engine.inner().zone).map_err(|it| it.to_string())?;
            let log = self.log.as_deref();
            let wanted = Wanted { matcher: &matcher, log, since: since(range), count_max, keep: LINES_MAX };
            Ok::<Recent, String>(recent(engine, &wanted, stop))
        };
        let rate = self.more_than.map(|rate| count(rate.within, COUNT_MAX)).transpose()?;
        // What is counted for the rate tells also that it is not silent.
        let is_heard =
            rate.as_ref().is_some_and(|it| it.count > 0) && self.more_than.map(|it| it.within) <= self.none_for;
        let silence = match self.none_for {
            Some(range) if !is_heard => Some(count(range, LINES_MAX as u64)?),
            _ => None,
        };
        Ok(Found { rate, silence, is_settled: logs.is_opened() && engine.is_settled() })
    }

    /// Keeps what a person wants to see.
    fn show(&self, found: &Found, now: Timestamp, seen: &mut Observation) {
        let recent = found.rate.as_ref().filter(|it| it.count > 0).or(found.silence.as_ref()).or(found.rate.as_ref());
        let Some(recent) = recent else { return };
        if let Some(rate) = &found.rate {
            let count = rate.count as f64;
            seen.values.fields.push(("lines", FieldValue::Number(count)));
            let crit = self.more_than.map(|it| it.lines.to_string());
            seen.evidence.perf.push(Perf { crit, ..Perf::plain("lines", count, "") });
        }
        if let Some(newest) = recent.newest.first() {
            let age = Duration::try_from(now.duration_since(newest.at)).unwrap_or_default();
            seen.values.fields.push(("age", FieldValue::Time(age)));
        }
        let line = |it: &crate::logstore::recent::Match| {
            let text = shorten(&sanitise::text(&redact::redact(&it.line, &[])), LINE_CHARS);
            if recent.sources > 1 { format!("{}: {text}", it.source) } else { text }
        };
        let lines: Vec<String> = recent.newest.iter().map(line).collect();
        seen.evidence.text = lines.first().cloned().unwrap_or_default();
        seen.evidence.body = lines.join("\n");
    }

    fn judge(&self, found: &Found, now: Timestamp) -> Option<Verdict> {
        if let (Some(limit), Some(recent)) = (self.more_than, &found.rate)
            && recent.count > limit.lines
        {
            let counted =
                if recent.count >= COUNT_MAX { format!("at least {COUNT_MAX}") } else { recent.count.to_string() };
            let within = format::span(limit.within);
            let text = format!("{counted} lines in {within} match `{}`, more than {}", self.written, limit.lines);
            return Some(fail(Cause::Value, &format!("{counted} in {within}"), text));
        }
        let all = || found.rate.iter().chain(&found.silence);
        if all().all(|it| it.sources == 0) {
            let what = self
                .log
                .as_ref()
                .map_or("no log source is open".to_string(), |it| format!("the log `{it}` is not open"));
            return Some(unknown(&what));
        }
        let is_silent = self.none_for.is_some() && found.silence.as_ref().is_some_and(|it| it.count == 0);
        // What cannot be read may hold the lines that are missed, or too many.
        let is_heard_only = self.more_than.is_none() && !is_silent;
        if let Some((source, why)) = all().flat_map(|it| &it.unread).next().filter(|_| !is_heard_only) {
            return Some(unknown(&format!("the log `{source}` cannot be read: {why}")));
        }
        if all().any(|it| it.is_stopped) || !found.is_settled && !is_heard_only {
            return Some(unknown("the log is still being read"));
        }
        let range = self.none_for.filter(|_| is_silent)?;
        let since = now.checked_sub(range).unwrap_or(now);
        let range = format::span(range);
        let text = format!("no line matches `{}` for {range} (since {since:.0})", self.written);
        Some(fail(Cause::Silent, &format!("silent {range}"), text))
    }
}

/// What the engine said.
struct Found {
    rate: Option<Recent>,
    silence: Option<Recent>,
    /// All that was there at the start has been opened.
    is_settled: bool,
}

fn unknown(text: &str) -> Verdict {
    (ProbeResult::Unknown, Trouble::new(Cause::Own, "cannot read", sanitise::text(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logstore::recent::Match;
    use crate::registry::node::Source;

    fn parse(text: &str) -> Result<String, Vec<String>> {
        let source = Source::new("c.toml", text);
        source.make_known("log", vec![("api".into(), String::new())]);
        source.make_known("query", vec![("5xx".into(), "status>=500".into())]);
        let root = source.parse().expect("TOML");
        let built = build(&root.get("logs").expect("a key"));
        let errors: Vec<String> = source.errors().iter().map(ToString::to_string).collect();
        built.filter(|_| errors.is_empty()).map(|it| it.target()).ok_or(errors)
    }

    #[test]
    fn a_condition_reads_as_it_is_written_and_a_wrong_one_says_what_to_write() {
        let good = parse("logs = { query = '@5xx', source = 'api', more_than = '20 in 1m', none_for = '10m' }");
        assert_eq!(good, Ok("api: @5xx more than 20 in 1m or none for 10m".into()));
        for (entry, wanted) in [
            ("{ query = 'x' }", "needs `more_than` or `none_for`"),
            ("{ query = '@4xx', none_for = '1m' }", "did you mean `5xx`?"),
            ("{ query = 'x', source = 'web', none_for = '1m' }", "there is no log `web` (known: api)"),
            ("{ query = 'since:-1h x', none_for = '1m' }", "have no place in a probe's query"),
            (
                "{ query = 'x', more_than = '20' }",
                "`20` is no rate (write how many within which time, as in `20 in 1m`)",
            ),
            ("{ query = 'x', more_than = '20 in 1' }", "`1` has no unit"),
            ("{ query = 'x', none_for = '25h' }", "from 1s to 24h"),
            ("'x'", "`logs` must be a table"),
        ] {
            let errors = parse(&format!("logs = {entry}")).expect_err(entry);
            assert!(errors.len() == 1 && errors[0].contains(wanted), "{entry}: {errors:?}");
        }
    }

    fn judge(rate: Option<(u64, Recent)>, silence: Option<Recent>) -> String {
        let probe = LogsProbe {
            query: Query::default(),
            written: "timeout".into(),
            log: None,
            more_than: rate.as_ref().map(|(lines, _)| Rate { lines: *lines, within: Duration::from_secs(60) }),
            none_for: silence.as_ref().map(|_| Duration::from_secs(600)),
        };
        let found = Found { rate: rate.map(|it| it.1), silence, is_settled: true };
        match probe.judge(&found, Timestamp::UNIX_EPOCH) {
            None => "ok".into(),
            Some((result, trouble)) => format!("{}: {}", result.word(), trouble.text),
        }
    }

    #[test]
    fn too_many_fail_silence_fails_and_what_cannot_be_read_is_unknown() {
        let read = |count| Recent { count, sources: 1, ..Recent::default() };
        let broken = |count| Recent { unread: vec![("api".into(), "permission denied".into())], ..read(count) };
        assert_eq!(judge(Some((20, read(20))), None), "ok");
        assert_eq!(judge(Some((20, read(21))), None), "fail: 21 lines in 1m match `timeout`, more than 20");
        // Too many are too many, whatever else there is.
        assert!(judge(Some((20, broken(21))), None).starts_with("fail"));
        assert_eq!(judge(Some((20, broken(3))), None), "unknown: the log `api` cannot be read: permission denied");
        assert_eq!(judge(None, Some(read(1))), "ok");
        assert_eq!(judge(None, Some(read(0))), "fail: no line matches `timeout` for 10m (since 1969-12-31T23:50:00Z)");
        assert!(judge(None, Some(broken(0))).starts_with("unknown"));
        assert_eq!(judge(None, Some(broken(1))), "ok");
        assert_eq!(judge(None, Some(Recent::default())), "unknown: no log source is open");
        let line = Match { at: Timestamp::UNIX_EPOCH, source: "api".into(), line: "x".into() };
        let stopped = Recent { is_stopped: true, newest: vec![line], ..read(1) };
        assert_eq!(judge(Some((20, stopped)), None), "unknown: the log is still being read");
    }
}
