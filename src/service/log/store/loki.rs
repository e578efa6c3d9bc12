//! Grafana Loki: `query_range` for records, `query` for counts, polling for news.
//!
//! Follows the HTTP API of Loki 2.4 to 3 (<https://grafana.com/docs/loki/latest/reference/loki-http-api/>).
//! Times are nanoseconds; `start` counts and `end` does not. The server takes at most
//! `max_entries_limit_per_query` lines and a limited length of time for one query and says so with 400: both are
//! learned from what it says. Live tail over WebSocket is not used: Loki drops lines for slow readers there
//! (grafana/loki#14576), while a poll misses nothing.

mod answer;
mod words;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use crate::domain::format;
use crate::domain::log::{Bucket, GapKind};
use crate::domain::query::matcher::{Demand, Matcher};
use crate::logstore::segment::lock;
use crate::logstore::store::{Ask, Asking, Entry, Page, Stop, Store, StoreBuckets, StoreCount, StoreError};
use crate::logstore::walk::Direction;
use crate::service::log::store::http::{Call, HttpClient, Trouble};
use crate::service::log::store::loki::answer::{Data, Sample, Series, Stream, entries, level_in, parse, whole};
use crate::service::log::store::loki::words::{alternatives, duration, push_regex, quoted, without_level};
use crate::service::log::store::pushdown::{self, words_left_out};
use crate::service::log::store::settings::Common;
use crate::service::log::store::{NANOS_PER_SECOND, horizon};

/// Lines that Loki gives for one query when nobody changed it.
const MAX_LINES: usize = 5000;
/// Lines looked at for news.
const NEWS_LINES: usize = 50;
/// News are looked for so far back: what comes later than that is seen when something new comes.
const NEWS_NANOS: i64 = 600 * NANOS_PER_SECOND;
/// Time that the first query of a walk covers; doubled as long as little is found.
const FIRST_STEP: i64 = 6 * 3600 * NANOS_PER_SECOND;
/// Time that one query covers at most, well below the 30 days that Loki takes by default.
const MAX_STEP: i64 = 7 * 24 * 3600 * NANOS_PER_SECOND;
/// Time that one query covers at least, whatever the server says.
const MIN_STEP: i64 = 60 * NANOS_PER_SECOND;
/// Walks whose step is remembered.
const MAX_PACES: usize = 16;
/// An instant that did not fit in a page is asked for again with so many times the lines.
const INSTANT_GROWTH: usize = 4;
/// Limits that one question may learn: halving the time from a week to a minute takes 14.
const MAX_LESSONS: u32 = 20;
/// How lines are counted by the labels that may name their level.
const BY_LEVEL: &str = "sum by (level, detected_level)";
/// Labels that may name a line's level, the surest first.
const LEVEL_LABELS: [&str; 2] = ["level", "detected_level"];

/// What `loki` in the config says.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where, as whom, how far back.
    pub common: Common,
    /// A log query: a stream selector, perhaps with stages behind it.
    pub query: String,
    /// `X-Scope-OrgID`.
    pub tenant: Option<String>,
}

/// A Loki server.
#[derive(Debug)]
pub struct Loki {
    settings: Settings,
    client: HttpClient,
    /// See [`Store::earliest`]; fixed between renewals, so that what was read can be used again.
    earliest: AtomicI64,
    /// Lines that the server gives for one query, as far as is known.
    lines_max: AtomicUsize,
    /// Time that the server lets one query cover, as far as is known.
    step_max: AtomicI64,
    paces: Mutex<VecDeque<Pace>>,
}

/// How fast a walk gets on.
#[derive(Debug, Clone)]
struct Pace {
    text: String,
    /// Where it goes on.
    at: i64,
    step: i64,
}

impl Loki {
    /// Makes the store; nothing is asked yet.
    pub fn new(settings: Settings) -> Self {
        let mut access = settings.common.access.clone();
        if let Some(tenant) = &settings.tenant {
            access.headers.push(("x-scope-orgid", tenant.clone()));
        }
        let loki = Self {
            client: HttpClient::new(access),
            earliest: AtomicI64::new(0),
            lines_max: AtomicUsize::new(MAX_LINES),
            step_max: AtomicI64::new(MAX_STEP),
            paces: Mutex::default(),
            settings,
        };
        loki.renew();
        loki
    }

    /// Asks, learning the server's limits from what it says.
    fn ask(&self, path: &str, query: Vec<(&'static str, String)>, stop: &Stop) -> Result<Vec<u8>, Refused> {
        let answer = self.client.call(&Call::get(path, query), stop).map_err(|trouble| match trouble {
            Trouble::TooLarge => Refused::TooLarge,
            other => Refused::Error(other.into()),
        })?;
        if answer.status == 200 {
            return Ok(answer.body);
        }
        let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(4096)]).into_owned();
        if answer.status == 400 && text.contains("max entries limit") {
            // "max entries limit per query exceeded, limit > max_entries_limit_per_query (5000 > 1000)"
            let allowed = text.rsplit('>').next().map(|it| it.trim_matches(|it: char| !it.is_ascii_digit()));
            if let Some(allowed) = allowed.and_then(|it| it.parse().ok()).filter(|it| *it > 0) {
                self.lines_max.fetch_min(allowed, Ordering::Relaxed);
                return Err(Refused::TooMany);
            }
        }
        if answer.status == 400 && text.contains("query time range exceeds the limit") {
            let step = self.step_max.load(Ordering::Relaxed);
            if step > MIN_STEP {
                self.step_max.fetch_min((step / 2).max(MIN_STEP), Ordering::Relaxed);
                return Err(Refused::TooLong);
            }
        }
        Err(Refused::Error(StoreError::Failed(self.client.refusal(&answer))))
    }

    fn lines(
        &self,
        text: &str,
        window: &Range<i64>,
        (direction, limit): (Direction, usize),
        stop: &Stop,
    ) -> Result<Vec<Entry>, Refused> {
        let way = if direction == Direction::Forward { "forward" } else { "backward" };
        let query = vec![
            ("query", text.to_string()),
            ("start", window.start.to_string()),
            ("end", window.end.to_string()),
            ("limit", limit.to_string()),
            ("direction", way.to_string()),
        ];
        let body = self.ask("/loki/api/v1/query_range", query, stop)?;
        let data: Data<Stream> = parse(&self.client, &body)?;
        if data.result_type != "streams" {
            let why = "`query` gives numbers, not lines: remove what is around the stream selector";
            return Err(Refused::Error(StoreError::Failed(why.into())));
        }
        Ok(entries(data.result, direction))
    }

    /// Reads one window of time from one end. Answers with the entries in order and with how far it got.
    fn window(&self, ask: &Ask<'_>, window: &Range<i64>) -> Result<Page, Refused> {
        let limit = ask.limit.min(self.lines_max.load(Ordering::Relaxed));
        let text = &ask.asking.text;
        let mut entries = self.lines(text, window, (ask.direction, limit), ask.stop)?;
        entries.retain(|it| window.contains(&it.nanos));
        let all = match ask.direction {
            Direction::Forward => window.end,
            Direction::Backward => window.start,
        };
        if entries.len() < limit {
            return Ok(Page { entries, reached: all, gap: None });
        }
        // The answer may have been cut within the instant that stands at its far end.
        let last = match ask.direction {
            Direction::Forward => entries.last(),
            Direction::Backward => entries.first(),
        };
        let Some(last) = last.map(|it| it.nanos) else { return Ok(Page { entries, reached: all, gap: None }) };
        let is_lone = entries.iter().all(|it| it.nanos == last);
        let reached = if ask.direction == Direction::Forward { last } else { last.saturating_add(1) };
        if !is_lone {
            entries.retain(|it| it.nanos != last);
            return Ok(Page { entries, reached, gap: None });
        }
        let (entries, gap) = self.whole_instant(ask, last, entries, limit)?;
        let reached = if ask.direction == Direction::Forward { last.saturating_add(1) } else { last };
        Ok(Page { entries, reached, gap })
    }

    /// Reads an instant of which `asked` lines are known and perhaps not all: more and more of it, as long as that
    /// fits in an answer.
    fn whole_instant(
        &self,
        ask: &Ask<'_>,
        nanos: i64,
        known: Vec<Entry>,
        asked: usize,
    ) -> Result<(Vec<Entry>, Option<GapKind>), Refused> {
        let instant = nanos..nanos.saturating_add(1);
        let (mut entries, mut asked) = (known, asked);
        loop {
            let most = self.lines_max.load(Ordering::Relaxed);
            if asked >= most {
                let why = format!("the store gives no more than {most} lines of one instant: there may be others");
                return Ok((entries, Some(GapKind::Failed(why))));
            }
            let more = asked.saturating_mul(INSTANT_GROWTH).min(most);
            match self.lines(&ask.asking.text, &instant, (ask.direction, more), ask.stop) {
                Ok(found) if found.len() < more => return Ok((found, None)),
                Ok(found) => (entries, asked) = (found, more),
                Err(Refused::TooLarge) => {
                    let why = format!(
                        "of one instant {} read: the others are too large",
                        format::plural(asked as u64, "line")
                    );
                    return Ok((entries, Some(GapKind::Failed(why))));
                }
                Err(refused) => return Err(refused),
            }
        }
    }

    /// The time that the next query covers.
    fn step(&self, text: &str, at: i64) -> i64 {
        let paces = lock(&self.paces);
        let step = paces.iter().find(|it| it.text == text && it.at == at).map_or(FIRST_STEP, |it| it.step);
        step.min(self.step_max.load(Ordering::Relaxed))
    }

    /// Remembers where a walk goes on; a step that found little is followed by one twice as long.
    fn stepped(&self, text: &str, at: i64, step: i64, found_little: bool) {
        let mut paces = lock(&self.paces);
        let step = if found_little { step.saturating_mul(2).min(MAX_STEP) } else { step };
        if paces.len() >= MAX_PACES {
            paces.pop_front();
        }
        paces.push_back(Pace { text: text.to_string(), at, step });
    }

    /// Counts the lines of a range, in parts that the server takes.
    fn count_lines(&self, text: &str, range: &Range<i64>, stop: &Stop) -> Result<u64, StoreError> {
        let mut count = 0;
        let mut end = range.end;
        while end > range.start {
            let start = (end - self.step_max.load(Ordering::Relaxed)).max(range.start);
            // A range vector at an instant reaches back from it, its first moment not included.
            let query = vec![
                ("query", format!("sum(count_over_time({text} [{}]))", duration(end - start))),
                ("time", (end - 1).to_string()),
            ];
            let body = match self.ask("/loki/api/v1/query", query, stop) {
                Ok(body) => body,
                Err(Refused::TooLong) => continue,
                Err(refused) => return Err(refused.into()),
            };
            let data: Data<Sample> = parse(&self.client, &body)?;
            for sample in &data.result {
                count += sample.value.1.parse::<f64>().map_or(0, whole);
            }
            end = start;
        }
        Ok(count)
    }
}

impl Loki {
    /// Adds the lines of whole buckets by level, in parts that the server takes.
    fn count_levels(
        &self,
        text: &str,
        range: Range<i64>,
        seconds: i64,
        buckets: &mut [Bucket],
        stop: &Stop,
    ) -> Result<(), StoreError> {
        let bucket = seconds * NANOS_PER_SECOND;
        // An instant later by one nanosecond, so that the first moment of a bucket is in it and the last one is not.
        let query = format!("{BY_LEVEL} (count_over_time({text} [{seconds}s] offset 1ns))");
        let mut start = range.start;
        while start < range.end {
            let most = (self.step_max.load(Ordering::Relaxed) / bucket).max(1) * bucket;
            let end = start.saturating_add(most).min(range.end);
            let asked = vec![
                ("query", query.clone()),
                ("start", (start + bucket).to_string()),
                ("end", end.to_string()),
                ("step", seconds.to_string()),
            ];
            let body = match self.ask("/loki/api/v1/query_range", asked, stop) {
                Ok(body) => body,
                Err(Refused::TooLong) if most > bucket => continue,
                Err(refused) => return Err(refused.into()),
            };
            let data: Data<Series> = parse(&self.client, &body)?;
            for Series { metric, values } in &data.result {
                let level = level_in(metric);
                for (at, count) in values {
                    let index = (whole(*at).saturating_sub(whole_seconds(range.start))) / seconds.unsigned_abs();
                    // A sample at the end of a bucket counts what is in it.
                    let index = usize::try_from(index).unwrap_or(usize::MAX).checked_sub(1);
                    if let Some(bucket) = index.and_then(|it| buckets.get_mut(it)) {
                        add(bucket, level, count);
                    }
                }
            }
            start = end;
        }
        Ok(())
    }
}

impl Store for Loki {
    fn translate(&self, matcher: &Matcher) -> Asking {
        let mut text = self.settings.query.clone();
        let mut is_exact = true;
        for (out, demand) in matcher.demands() {
            match demand {
                Demand::Text(literal) => {
                    let sign = if out { "!=" } else { "|=" };
                    text.push_str(&format!(" {sign} {}", quoted(literal)));
                }
                Demand::Regex { pattern, ignore_case } => {
                    is_exact &= push_regex(&mut text, pattern, ignore_case, out);
                }
                Demand::Time | Demand::Level(..) => {}
                Demand::Other => is_exact = false,
            }
        }
        let left_out = words_left_out(matcher);
        if left_out.is_empty() {
            return Asking { text, is_exact, doubtful: None };
        }
        let known = alternatives(pushdown::LEVEL_WORDS.iter().map(|(word, _)| *word));
        let bad = alternatives(left_out.into_iter());
        let [first, second] = LEVEL_LABELS;
        // A label that names no known level leaves the line to the next label, and at last to its text.
        let plain = format!("{text} | {first}!~{bad} | {first}=~{known} or {second}!~{bad}");
        let doubtful = format!("{text}{}", without_level());
        Asking { text: plain, is_exact: false, doubtful: is_exact.then_some(doubtful) }
    }

    fn page(&self, ask: &Ask<'_>) -> Result<Page, StoreError> {
        let (_, newest) = horizon(self.settings.common.since);
        let range = ask.range.start.max(self.earliest())..ask.range.end.min(newest);
        let done = match ask.direction {
            Direction::Forward => ask.range.end,
            Direction::Backward => ask.range.start,
        };
        let text = &ask.asking.text;
        let (mut limit, mut tries) = (ask.limit, 0);
        loop {
            if range.start >= range.end {
                return Ok(Page { entries: Vec::new(), reached: done, gap: None });
            }
            let at = if ask.direction == Direction::Forward { range.start } else { range.end };
            let step = self.step(text, at);
            let window = match ask.direction {
                Direction::Forward => range.start..range.start.saturating_add(step).min(range.end),
                Direction::Backward => range.end.saturating_sub(step).max(range.start)..range.end,
            };
            match self.window(&Ask { limit, range: range.clone(), ..*ask }, &window) {
                Ok(mut page) => {
                    let is_end =
                        page.reached == if ask.direction == Direction::Forward { range.end } else { range.start };
                    self.stepped(text, page.reached, step, page.entries.len() < limit / 2);
                    if is_end {
                        page.reached = done;
                    }
                    return Ok(page);
                }
                Err(Refused::TooLarge) if limit > 1 => limit = (limit / 4).max(1),
                Err(Refused::TooMany | Refused::TooLong) if tries < MAX_LESSONS => tries += 1,
                Err(refused) => return Err(refused.into()),
            }
        }
    }

    fn count(&self, ask: &Ask<'_>) -> Result<Option<StoreCount>, StoreError> {
        let (_, newest) = horizon(self.settings.common.since);
        let range = ask.range.start.max(self.earliest())..ask.range.end.min(newest);
        self.count_lines(&ask.asking.text, &range, ask.stop).map(|it| Some(StoreCount::all(it)))
    }

    fn histogram(&self, ask: &Ask<'_>, bucket_seconds: u64) -> Result<Option<StoreBuckets>, StoreError> {
        let seconds = i64::try_from(bucket_seconds).unwrap_or(i64::MAX).max(1);
        let Some(bucket) = seconds.checked_mul(NANOS_PER_SECOND) else { return Ok(None) };
        let (text, range) = (&ask.asking.text, &ask.range);
        // Only labels are counted there: a line that names its level in its text is looked at here.
        if self.count_lines(&format!("{text}{}", without_level()), range, ask.stop)? > 0 {
            return Ok(None);
        }
        let whole = (range.end - range.start).div_euclid(bucket);
        let count = usize::try_from(whole + i64::from((range.end - range.start) % bucket > 0)).unwrap_or(0);
        let mut buckets = vec![Bucket::default(); count];
        // A server that evaluates at multiples of the step gives those buckets and no others.
        if whole > 0 && range.start % bucket == 0 {
            let end = range.start + whole * bucket;
            self.count_levels(text, range.start..end, seconds, &mut buckets, ask.stop)?;
        } else if whole > 0 && count > 1 {
            return Ok(None);
        }
        let counted = if range.start % bucket == 0 { whole * bucket } else { 0 };
        let rest = range.start + counted..range.end;
        if let (false, Some(last)) = (rest.is_empty(), buckets.last_mut()) {
            let query = vec![
                ("query", format!("{BY_LEVEL} (count_over_time({text} [{}]))", duration(rest.end - rest.start))),
                ("time", (rest.end - 1).to_string()),
            ];
            let data: Data<Sample> = parse(&self.client, &self.ask("/loki/api/v1/query", query, ask.stop)?)?;
            for Sample { metric, value } in &data.result {
                add(last, level_in(metric), &value.1);
            }
        }
        Ok(Some(StoreBuckets { buckets, is_complete: true }))
    }

    fn earliest(&self) -> i64 {
        self.earliest.load(Ordering::Relaxed)
    }

    fn newest(&self, stop: &Stop) -> Result<u64, StoreError> {
        let (_, end) = horizon(self.settings.common.since);
        let start = (end - 3600 * NANOS_PER_SECOND - NEWS_NANOS).max(self.earliest());
        let (mut end, mut tries, mut found, mut most) = (end, 0, Vec::new(), NEWS_LINES);
        // In pieces that the server takes, the newest first.
        while end > start && found.is_empty() {
            let piece = (end - self.step_max.load(Ordering::Relaxed)).max(start)..end;
            let limit = most.min(self.lines_max.load(Ordering::Relaxed));
            match self.lines(&self.settings.query, &piece, (Direction::Backward, limit), stop) {
                Ok(lines) => (found, end) = (lines, piece.start),
                Err(Refused::TooMany | Refused::TooLong) if tries < MAX_LESSONS => tries += 1,
                Err(Refused::TooLarge) if most > 1 => most = (most / 4).max(1),
                Err(refused) => return Err(refused.into()),
            }
        }
        let mark = |it: &Entry| it.nanos.unsigned_abs().rotate_left(17) ^ it.tie;
        // What leaves the look back at its old end is no news.
        let Some(last) = found.last() else { return Ok(0) };
        let recent = found.iter().filter(|it| it.nanos > last.nanos - 10 * NANOS_PER_SECOND);
        Ok(recent.fold(mark(last), |sum, it| sum.wrapping_add(mark(it).wrapping_mul(31))))
    }

    fn renew(&self) {
        let (earliest, _) = horizon(self.settings.common.since);
        self.earliest.store(earliest, Ordering::Relaxed);
    }
}

/// Why a query was not answered.
enum Refused {
    /// It may not ask for so many lines; how many is known now.
    TooMany,
    /// The answer is too large for this program.
    TooLarge,
    /// It may not cover so much time.
    TooLong,
    /// Something else.
    Error(StoreError),
}

impl From<Refused> for StoreError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooMany => Self::Failed("the store takes no query for so many lines".into()),
            Refused::TooLarge => Trouble::TooLarge.into(),
            Refused::TooLong => Self::Failed("the store takes no query over so much time".into()),
            Refused::Error(error) => error,
        }
    }
}

/// Adds a number of lines of one level.
fn add(bucket: &mut Bucket, level: Option<crate::domain::log::Level>, count: &str) {
    let count = count.parse::<f64>().map_or(0, whole);
    let place = &mut bucket.by_level[Bucket::index(level)];
    *place = place.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
}

fn whole_seconds(nanos: i64) -> u64 {
    nanos.div_euclid(NANOS_PER_SECOND).max(0).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use reqwest::Url;

    use super::*;
    use crate::domain::query::Query;
    use crate::service::log::store::http::{Access, Login};

    fn loki() -> Loki {
        let url = Url::parse("http://127.0.0.1:1/").unwrap();
        let access = Access {
            url,
            login: Login::None,
            headers: Vec::new(),
            authorities: None,
            veil: crate::service::veil::Veil::default(),
        };
        let second = std::time::Duration::from_secs(3600);
        let common = Common { access, since: second, poll: second };
        Loki::new(Settings { common, query: "{app=\"api\"}".into(), tenant: None })
    }

    #[test]
    fn chips_are_pushed_down_as_line_filters() {
        let loki = loki();
        let check = |query: &str, expected: &str, is_exact: bool| {
            let query = Query::parse(query).unwrap();
            let asking = loki.translate(&Matcher::new(&query, Timestamp::UNIX_EPOCH, &TimeZone::UTC).unwrap());
            assert_eq!((asking.text.as_str(), asking.is_exact), (expected, is_exact));
        };
        check("", "{app=\"api\"}", true);
        check("Timeout", "{app=\"api\"} |= \"Timeout\"", true);
        check("-\"a \\\"b\\\" C\"", "{app=\"api\"} != \"a \\\"b\\\" C\"", true);
        check("timeout", "{app=\"api\"} |~ \"(?i)timeout\"", true);
        check("/Time\\d+/", "{app=\"api\"} |~ \"Time\\\\p{Nd}+\"", true);
        check(
            "/Time\\w/",
            &format!("{{app=\"api\"}} |~ {}", quoted(&pushdown::re2("Time\\w", false, false).unwrap().pattern)),
            false,
        );
        check("-/Time\\w/", "{app=\"api\"}", false);
        check("/(?-i)a.*Xyz/", "{app=\"api\"}", false);
        check("/Slow[a&&b] query/", "{app=\"api\"} |= \"Slow\" |= \" query\"", false);
        check("since:-1h", "{app=\"api\"}", true);
    }

    #[test]
    fn a_level_leaves_out_the_labels_that_name_another() {
        let query = Query::parse("level>=error").unwrap();
        let asking = loki().translate(&Matcher::new(&query, Timestamp::UNIX_EPOCH, &TimeZone::UTC).unwrap());
        assert!(asking.text.starts_with("{app=\"api\"} | level!~\"(?i)\\\\s*(trace|verbose|"), "{}", asking.text);
        assert!(!asking.is_exact && asking.doubtful.unwrap().contains("| detected_level!~"));
    }

    #[test]
    fn lines_of_one_instant_keep_their_order_in_both_directions() {
        let answer = |values: &str| -> Vec<Stream> {
            let text = format!(
                r#"[{{"stream":{{"app":"a"}},"values":{values}}},{{"stream":{{"app":"0"}},"values":[["5","z"]]}}]"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let lines = |entries: Vec<Entry>| -> Vec<(String, u64)> {
            entries.into_iter().map(|it| (String::from_utf8(it.line).unwrap(), it.tie)).collect()
        };
        let forward =
            lines(entries(answer(r#"[["5","b"],["5","a",{"x":"y"}],["5","b"],["6","c"]]"#), Direction::Forward));
        let backward = lines(entries(answer(r#"[["6","c"],["5","b"],["5","a"],["5","b"]]"#), Direction::Backward));
        assert_eq!(forward, backward);
        assert_eq!(forward.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(), ["z", "b", "a", "b", "c"]);
        assert_ne!(forward[1].1, forward[3].1, "equal lines are two records");
    }
}
