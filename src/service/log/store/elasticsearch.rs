//! Elasticsearch and OpenSearch: `_search` over a point in time for records, `_count` for counts, polling for news.
//!
//! Follows the REST APIs of Elasticsearch 7.10 to 9 and of OpenSearch 2.4 on, where a point in time has another
//! path and body; which of the two it is shows when the first one is opened. Neither: pages are searched in
//! what is there just then. Instants are those of the time field: milliseconds for `date`, nanoseconds for
//! `date_nanos`, and records of one instant stand in the order of the index.

mod answer;
mod moment;
mod query;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::domain::log::{Bucket, GapKind};
use crate::domain::query::matcher::{Demand, Matcher};
use crate::logstore::segment::lock;
use crate::logstore::store::{
    Aside, Ask, Asking, Entry, Page, Stop, Store, StoreBuckets, StoreCount, StoreError, tie_of,
};
use crate::logstore::walk::Direction;
use crate::service::log::store::elasticsearch::answer::{
    Counted, Found, Hit, Refused, Shards, instant, too_many, trouble, without_time,
};
use crate::service::log::store::elasticsearch::moment::{Dialect, Moment, Pit};
use crate::service::log::store::elasticsearch::query::{
    Fields, NANOS_PER_MS, Text, contains, path_of, resolve, said, time_range, value_at, words,
};
use crate::service::log::store::http::{Answer, Call, HttpClient, Trouble};
use crate::service::log::store::pushdown::{self, level_of, words_left_out};
use crate::service::log::store::settings::Common;
use crate::service::log::store::{NANOS_PER_SECOND, horizon};

/// Hits of one answer: what `index.max_result_window` allows when nobody changed it.
const MAX_HITS: usize = 10_000;
/// Records of one instant that are read: a log with times in whole seconds may write so many.
const MAX_INSTANT: usize = 20_000;
/// Records looked at for news.
const NEWS_HITS: usize = 50;
/// How long the server keeps a point in time after the last question.
const KEEP_ALIVE: &str = "2m";
/// How long the server works on one question before it answers with what it has.
const SEARCH_TIMEOUT: &str = "20s";
/// Words by which a log names its levels: there are few.
const MAX_LEVELS: usize = 100;

/// What `elasticsearch` in the config says.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where, as whom, how far back.
    pub common: Common,
    /// Index, data stream, alias, or a pattern or list of them.
    pub index: String,
    /// Field with a record's time.
    pub time_field: String,
    /// Field in which texts and regexes are looked for.
    pub message_field: String,
    /// Field with a record's level.
    pub level_field: String,
    /// A `query_string` that every record must match.
    pub filter: Option<String>,
    /// Ask for texts in the message field: right for fields of type `keyword`, `wildcard`, and `text` with the
    /// standard analyser; not for one that stems words.
    pub push_text: bool,
}

/// A server.
#[derive(Debug)]
pub struct Elasticsearch {
    settings: Settings,
    client: Arc<HttpClient>,
    /// See [`Store::earliest`]; fixed between renewals.
    earliest: AtomicI64,
    fields: Mutex<Option<Mapped>>,
    /// Times came in nanoseconds, whatever is known of the fields.
    has_nanos: AtomicBool,
    moment: Mutex<Moment>,
}

/// What is known of the mappings.
#[derive(Debug, Clone, Copy)]
enum Mapped {
    /// The server said it.
    Told(Fields),
    /// The server does not say it to this user, for as long as the connection holds.
    Secret,
}

impl Mapped {
    fn fields(self) -> Fields {
        match self {
            Self::Told(fields) => fields,
            // Records are read all the same, and texts are looked for here.
            Self::Secret => Fields::default(),
        }
    }
}

impl Elasticsearch {
    /// Makes the store; nothing is asked yet.
    pub fn new(settings: Settings) -> Self {
        let store = Self {
            client: Arc::new(HttpClient::new(settings.common.access.clone())),
            earliest: AtomicI64::new(0),
            fields: Mutex::default(),
            has_nanos: AtomicBool::new(false),
            moment: Mutex::default(),
            settings,
        };
        store.renew();
        store
    }

    /// What the mappings say of the fields, asked until the server says it, or that it does not say it.
    fn fields(&self, stop: &Stop) -> Result<Fields, StoreError> {
        let learned = |it: Fields| Fields { has_nanos: it.has_nanos || self.has_nanos.load(Ordering::Relaxed), ..it };
        if let Some(known) = *lock(&self.fields) {
            return Ok(learned(known.fields()));
        }
        let Settings { index, time_field, message_field, level_field, .. } = &self.settings;
        let names = format!("{time_field},{message_field},{level_field}");
        let call = Call::get(format!("/{}/_field_caps", path_of(index)), vec![("fields", names)]);
        let answer = self.client.call(&call, stop)?;
        match answer.status {
            200 => {}
            401 | 404 | 429 | 500.. => return Err(self.refused(&answer)),
            // Not allowed to look.
            _ => {
                *lock(&self.fields) = Some(Mapped::Secret);
                return Ok(learned(Mapped::Secret.fields()));
            }
        }
        let said: Value = self.parse(&answer, "field capabilities")?;
        let fields = self.read_fields(&said);
        // An index that is not there yet may say something else when it is.
        if said["fields"].get(time_field).is_some() {
            *lock(&self.fields) = Some(Mapped::Told(fields));
        }
        Ok(learned(fields))
    }

    fn parse<T: DeserializeOwned>(&self, answer: &Answer, wanted: &str) -> Result<T, StoreError> {
        serde_json::from_slice(&answer.body).map_err(|error| StoreError::Failed(self.client.misread(wanted, &error)))
    }

    fn read_fields(&self, said: &Value) -> Fields {
        let types = |name: &str| -> Vec<String> {
            let found = said["fields"][name].as_object();
            found.map(|it| it.keys().filter(|it| *it != "unmapped").cloned().collect()).unwrap_or_default()
        };
        let message: Vec<Text> = types(&self.settings.message_field)
            .iter()
            .map(|it| match it.as_str() {
                "text" | "match_only_text" => Text::Words,
                "keyword" => Text::Keyword,
                "wildcard" => Text::Wildcard,
                _ => Text::Unknown,
            })
            .collect();
        Fields {
            has_nanos: types(&self.settings.time_field).iter().any(|it| it == "date_nanos"),
            message: match message.as_slice() {
                [only] if self.settings.push_text => *only,
                _ => Text::Unknown,
            },
            level_is_word: types(&self.settings.level_field) == ["keyword"],
        }
    }

    /// The point in time that pages are read from, opened when there is none.
    fn moment(&self, stop: &Stop) -> Result<Option<Arc<Pit>>, StoreError> {
        let mut moment = lock(&self.moment);
        if let Some(open) = &moment.open {
            return Ok(Some(open.clone()));
        }
        let index = path_of(&self.settings.index);
        let dialects = match moment.dialect {
            Some(known) => vec![known],
            None => vec![Dialect::Elasticsearch, Dialect::OpenSearch, Dialect::Neither],
        };
        for dialect in dialects {
            let path = match dialect {
                Dialect::Elasticsearch => format!("/{index}/_pit"),
                Dialect::OpenSearch => format!("/{index}/_search/point_in_time"),
                Dialect::Neither => {
                    moment.dialect = Some(dialect);
                    return Ok(None);
                }
            };
            let answer = self.client.call(&Call::post(path, vec![("keep_alive", KEEP_ALIVE.into())], None), stop)?;
            let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let id = said["id"].as_str().or_else(|| said["pit_id"].as_str());
            match (answer.status, id) {
                (200, Some(id)) => {
                    let open = Arc::new(Pit::new(id.to_string(), dialect, self.client.clone()));
                    moment.dialect = Some(dialect);
                    moment.open = Some(open.clone());
                    return Ok(Some(open));
                }
                // The index is missing, not the path.
                (404, _) if said["error"]["type"] == "index_not_found_exception" => return Err(self.refused(&answer)),
                (401 | 429 | 500.., _) => return Err(self.refused(&answer)),
                // An unknown path is 400, 404 or 405; who may not open one reads without.
                _ => {}
            }
        }
        Ok(None)
    }

    fn refused(&self, answer: &Answer) -> StoreError {
        StoreError::Failed(self.client.refusal(answer))
    }

    /// The query of a range: what was asked for, its time, and the config's own filter.
    fn query(&self, text: &str, range: &Range<i64>, fields: Fields) -> Value {
        let mut filter = vec![json!({ "range": { &self.settings.time_field: time_range(range, fields) } })];
        if let Some(own) = &self.settings.filter {
            filter.push(json!({ "query_string": { "query": own } }));
        }
        let asked: Value = serde_json::from_str(text).unwrap_or_default();
        let more = |key: &str| asked[key].as_array().cloned().unwrap_or_default();
        filter.extend(more("filter").into_iter().map(|it| resolve(it, fields)).filter(|it| !it.is_null()));
        let must_not: Vec<Value> =
            more("must_not").into_iter().map(|it| resolve(it, fields)).filter(|it| !it.is_null()).collect();
        if must_not.is_empty() {
            json!({ "bool": { "filter": filter } })
        } else {
            json!({ "bool": { "filter": filter, "must_not": must_not } })
        }
    }

    /// One search, over a point in time if there is one. `after` are the sort values of the hit before.
    fn search(
        &self,
        (query, fields): (&Value, Fields),
        (direction, size): (Direction, usize),
        (pit, after): (Option<&Arc<Pit>>, Option<&[Value]>),
        stop: &Stop,
    ) -> Result<Found, Refused> {
        let order = if direction == Direction::Forward { "asc" } else { "desc" };
        let mut time = json!({ "order": order, "unmapped_type": "date" });
        if fields.has_nanos {
            // Of indices with milliseconds and with nanoseconds, all are then sorted by the finer.
            time["numeric_type"] = json!("date_nanos");
            time["unmapped_type"] = json!("date_nanos");
        }
        let tie = if pit.is_some_and(|it| it.has_order()) { "_shard_doc" } else { "_doc" };
        let mut body = json!({
            "size": size,
            "query": query,
            "sort": [{ &self.settings.time_field: time }, { tie: { "order": order } }],
            "track_total_hits": false,
            "timeout": SEARCH_TIMEOUT,
        });
        if let Some(after) = after {
            body["search_after"] = json!(after);
        }
        let path = match pit {
            Some(pit) => {
                body["pit"] = json!({ "id": pit.id(), "keep_alive": KEEP_ALIVE });
                "/_search".to_string()
            }
            None => format!("/{}/_search", path_of(&self.settings.index)),
        };
        let answer = self.client.call(&Call::post(path, Vec::new(), Some(body.to_string())), stop)?;
        match (answer.status, pit) {
            (200, _) => {}
            (404, Some(pit)) => {
                pit.forget();
                let mut moment = lock(&self.moment);
                if moment.open.as_ref().is_some_and(|it| Arc::ptr_eq(it, pit)) {
                    moment.open = None;
                }
                return Err(Refused::Gone);
            }
            _ => return Err(Refused::Error(self.refused(&answer))),
        }
        let mut found: Found = self.parse(&answer, "a search").map_err(Refused::Error)?;
        if let (Some(id), Some(pit)) = (found.pit_id.take(), pit) {
            pit.goes_on_as(id);
        }
        if !fields.has_nanos && found.hits.hits.iter().any(Hit::is_in_nanos) {
            self.has_nanos.store(true, Ordering::Relaxed);
            return Err(Refused::OtherUnit);
        }
        Ok(found)
    }

    /// A page, whole instants. Whatever point in time it began with, it ends with the same one.
    fn read(&self, ask: &Ask<'_>, range: &Range<i64>, fields: Fields, limit: usize) -> Result<Page, Refused> {
        let pit = self.moment(ask.stop).map_err(Refused::Error)?;
        let query = self.query(&ask.asking.text, range, fields);
        let found = self.search((&query, fields), (ask.direction, limit), (pit.as_ref(), None), ask.stop)?;
        let mut gap = trouble(found.shards, found.timed_out);
        let mut hits = found.hits.hits;
        let is_forward = ask.direction == Direction::Forward;
        let mut reached = if is_forward { range.end } else { range.start };
        if hits.len() >= limit
            && let Some(last) = hits.iter().rev().find_map(|it| instant(it, fields))
        {
            let unit = if fields.has_nanos { 1 } else { NANOS_PER_MS };
            if hits.iter().any(|it| instant(it, fields) != Some(last)) {
                // The far end may have been cut within an instant: that one comes with the next page.
                hits.retain(|it| instant(it, fields) != Some(last));
                reached = if is_forward { last } else { last + unit };
            } else {
                gap = self.rest_of_instant((&query, fields), ask, pit.as_ref(), (last, &mut hits))?.or(gap);
                reached = if is_forward { last + unit } else { last };
            }
        }
        if !is_forward {
            hits.reverse();
        }
        let count = hits.len();
        let entries: Vec<Entry> = hits.into_iter().filter_map(|it| self.entry(it, fields)).collect();
        let gap = gap.or_else(|| without_time(count - entries.len(), &self.settings.time_field));
        Ok(Page { entries, reached, gap })
    }

    /// Reads on within one instant that is larger than a page, over the page's point in time.
    fn rest_of_instant(
        &self,
        query: (&Value, Fields),
        ask: &Ask<'_>,
        pit: Option<&Arc<Pit>>,
        (last, hits): (i64, &mut Vec<Hit>),
    ) -> Result<Option<GapKind>, Refused> {
        let fields = query.1;
        if !pit.is_some_and(|it| it.has_order()) {
            // Without a tie-break that holds across shards the instant is read in one answer.
            let unit = if fields.has_nanos { 1 } else { NANOS_PER_MS };
            let whole = self.query(&ask.asking.text, &(last..last + unit), fields);
            let found = self.search((&whole, fields), (ask.direction, MAX_HITS), (pit, None), ask.stop)?;
            let gap = trouble(found.shards, found.timed_out);
            *hits = found.hits.hits;
            return Ok(if hits.len() >= MAX_HITS { Some(too_many(MAX_HITS)) } else { gap });
        }
        let mut gap = None;
        while let Some(after) = hits.last().map(|it| it.sort.clone()) {
            if hits.len() >= MAX_INSTANT {
                return Ok(Some(too_many(MAX_INSTANT)));
            }
            let size = ask.limit.max(500);
            let more = self.search(query, (ask.direction, size), (pit, Some(&after)), ask.stop)?;
            gap = trouble(more.shards, more.timed_out).or(gap);
            let count = more.hits.hits.len();
            let same: Vec<Hit> =
                more.hits.hits.into_iter().take_while(|it| instant(it, fields) == Some(last)).collect();
            let is_end = same.len() < count || count < size;
            hits.extend(same);
            if is_end {
                break;
            }
        }
        Ok(gap)
    }

    fn entry(&self, hit: Hit, fields: Fields) -> Option<Entry> {
        let nanos = instant(&hit, fields)?;
        let level = value_at(&hit.source, &self.settings.level_field).and_then(Value::as_str).and_then(level_of);
        let message = value_at(&hit.source, &self.settings.message_field).and_then(Value::as_str).unwrap_or_default();
        Some(Entry {
            nanos,
            tie: tie_of(&[hit.index.as_bytes(), hit.id.as_bytes()]),
            line: hit.source.to_string().into_bytes(),
            aside: Aside { level, text: Some(message.as_bytes().into()), fields: None },
        })
    }
}

impl Store for Elasticsearch {
    fn translate(&self, matcher: &Matcher) -> Asking {
        let (mut filter, mut must_not) = (Vec::new(), Vec::new());
        let mut is_exact = true;
        let field = &self.settings.message_field;
        let known = lock(&self.fields).map(Mapped::fields).unwrap_or_default();
        let finds_exactly = known.message == Text::Wildcard;
        for (out, demand) in matcher.demands() {
            match demand {
                Demand::Text(text) if out => must_not.push(contains(field, text, false)),
                Demand::Text(text) => filter.push(contains(field, text, false)),
                Demand::Regex { pattern, ignore_case } => {
                    let literals = pushdown::required(pattern);
                    // A pattern that is nothing but its literal is a text.
                    let is_text = matches!(literals.as_slice(), [only] if regex::escape(only) == pattern);
                    match (out, is_text) {
                        (true, true) => must_not.push(contains(field, &literals[0], ignore_case)),
                        (true, false) => {}
                        (false, _) => filter.extend(literals.iter().map(|it| contains(field, it, ignore_case))),
                    }
                    is_exact &= is_text;
                }
                Demand::Level(..) | Demand::Time => {}
                Demand::Other => is_exact = false,
            }
        }
        is_exact &= finds_exactly || (filter.is_empty() && must_not.is_empty());
        let left_out = words_left_out(matcher);
        if left_out.is_empty() {
            return Asking { text: said(&filter, &must_not), is_exact, doubtful: None };
        }
        // Levels in other words, or in none, are looked for in the text here.
        let level = &self.settings.level_field;
        let mut doubtful = must_not.clone();
        doubtful.push(words(level, pushdown::LEVEL_WORDS.iter().map(|(word, _)| *word)));
        must_not.push(words(level, left_out.into_iter()));
        let doubtful = (is_exact && known.level_is_word).then(|| said(&filter, &doubtful));
        Asking { text: said(&filter, &must_not), is_exact: false, doubtful }
    }

    fn page(&self, ask: &Ask<'_>) -> Result<Page, StoreError> {
        let mut fields = self.fields(ask.stop)?;
        let (_, newest) = horizon(self.settings.common.since);
        let range = ask.range.start.max(self.earliest())..ask.range.end.min(newest);
        let (done, end) = match ask.direction {
            Direction::Forward => (ask.range.end, range.end),
            Direction::Backward => (ask.range.start, range.start),
        };
        if range.start >= range.end {
            return Ok(Page { entries: Vec::new(), reached: done, gap: None });
        }
        let (mut limit, mut tries) = (ask.limit.clamp(1, MAX_HITS), 0);
        loop {
            match self.read(ask, &range, fields, limit) {
                Ok(mut page) => {
                    page.entries.retain(|it| range.contains(&it.nanos));
                    if page.reached == end {
                        page.reached = done;
                    }
                    return Ok(page);
                }
                Err(Refused::OtherUnit) if !fields.has_nanos => fields.has_nanos = true,
                Err(Refused::OtherUnit) => {
                    return Err(StoreError::Failed("the store tells times in no one unit".into()));
                }
                Err(Refused::Gone) if tries < 2 => tries += 1,
                Err(Refused::Gone) => return Err(StoreError::Failed("the store loses its points in time".into())),
                Err(Refused::TooLarge) if limit > 1 => limit = (limit / 4).max(1),
                Err(Refused::TooLarge) => return Err(Trouble::TooLarge.into()),
                Err(Refused::Error(error)) => return Err(error),
            }
        }
    }

    fn count(&self, ask: &Ask<'_>) -> Result<Option<StoreCount>, StoreError> {
        let fields = self.fields(ask.stop)?;
        let (_, newest) = horizon(self.settings.common.since);
        let range = ask.range.start.max(self.earliest())..ask.range.end.min(newest);
        if range.start >= range.end {
            return Ok(Some(StoreCount::all(0)));
        }
        let body = json!({ "query": self.query(&ask.asking.text, &range, fields) }).to_string();
        let path = format!("/{}/_count", path_of(&self.settings.index));
        let answer = self.client.call(&Call::post(path, Vec::new(), Some(body)), ask.stop)?;
        if answer.status != 200 {
            return Err(self.refused(&answer));
        }
        let Counted { count, shards } = self.parse(&answer, "a count")?;
        Ok(Some(StoreCount { matched: count, is_complete: shards.failed == 0 }))
    }

    fn histogram(&self, ask: &Ask<'_>, bucket_seconds: u64) -> Result<Option<StoreBuckets>, StoreError> {
        let fields = self.fields(ask.stop)?;
        let seconds = i64::try_from(bucket_seconds).unwrap_or(i64::MAX).max(1);
        if !fields.level_is_word || ask.range.is_empty() {
            return Ok(None);
        }
        let start = ask.range.start.div_euclid(NANOS_PER_SECOND);
        let length = (ask.range.end - ask.range.start).div_euclid(NANOS_PER_SECOND).div_euclid(seconds) + 1;
        let level = &self.settings.level_field;
        let body = json!({
            "size": 0,
            "_source": false,
            "track_total_hits": false,
            "query": self.query(&ask.asking.text, &ask.range, fields),
            "aggs": { "time": {
                "date_histogram": {
                    "field": &self.settings.time_field,
                    "fixed_interval": format!("{seconds}s"),
                    "offset": format!("{}s", start.rem_euclid(seconds)),
                    "min_doc_count": 1,
                },
                "aggs": { "level": { "terms": { "field": level, "size": MAX_LEVELS } } },
            } },
        });
        let path = format!("/{}/_search", path_of(&self.settings.index));
        let answer = self.client.call(&Call::post(path, Vec::new(), Some(body.to_string())), ask.stop)?;
        if answer.status != 200 {
            return Err(self.refused(&answer));
        }
        let said: Value = self.parse(&answer, "a search")?;
        let shards: Shards = serde_json::from_value(said["_shards"].clone()).unwrap_or_default();
        let is_complete = shards.failed == 0 && said["timed_out"] != json!(true);
        let mut buckets = vec![Bucket::default(); usize::try_from(length).unwrap_or(0)];
        for found in said["aggregations"]["time"]["buckets"].as_array().into_iter().flatten() {
            let (Some(key), Some(mut left)) = (found["key"].as_i64(), found["doc_count"].as_u64()) else {
                return Ok(None);
            };
            let index = (key.div_euclid(1000) - start).div_euclid(seconds);
            let Some(bucket) = usize::try_from(index).ok().and_then(|it| buckets.get_mut(it)) else { return Ok(None) };
            for term in found["level"]["buckets"].as_array().into_iter().flatten() {
                let known = term["key"].as_str().and_then(level_of);
                let (Some(level), Some(count)) = (known, term["doc_count"].as_u64()) else { return Ok(None) };
                left = left.saturating_sub(count);
                let place = &mut bucket.by_level[Bucket::index(Some(level))];
                *place = place.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
            }
            // The others name their level in their text, if at all: they are looked at here.
            if left > 0 {
                return Ok(None);
            }
        }
        Ok(Some(StoreBuckets { buckets, is_complete }))
    }

    fn earliest(&self) -> i64 {
        self.earliest.load(Ordering::Relaxed)
    }

    fn newest(&self, stop: &Stop) -> Result<u64, StoreError> {
        let found = self.mark_of_newest(stop);
        if let Err(StoreError::Failed(_)) = &found {
            // Who logs in anew, or to a server that came back, may be allowed to know more.
            lock(&self.fields).take_if(|it| matches!(it, Mapped::Secret));
        }
        found
    }

    fn renew(&self) {
        let (earliest, _) = horizon(self.settings.common.since);
        self.earliest.store(earliest, Ordering::Relaxed);
        // Pages that are being read from the old one keep it open until they are done.
        lock(&self.moment).open = None;
    }
}

impl Elasticsearch {
    /// What the newest records are, as one number that changes with them.
    fn mark_of_newest(&self, stop: &Stop) -> Result<u64, StoreError> {
        let fields = self.fields(stop)?;
        let (_, end) = horizon(self.settings.common.since);
        let query = self.query("{}", &(self.earliest()..end), fields);
        // Not over a point in time: what came after that is what is asked for.
        let body = json!({
            "size": NEWS_HITS,
            "query": query,
            "sort": [{ &self.settings.time_field: { "order": "desc", "unmapped_type": "date" } }],
            "track_total_hits": false,
            "_source": false,
        });
        let path = format!("/{}/_search", path_of(&self.settings.index));
        let answer = self.client.call(&Call::post(path, Vec::new(), Some(body.to_string())), stop)?;
        if answer.status != 200 {
            return Err(self.refused(&answer));
        }
        let found: Found = self.parse(&answer, "a search")?;
        let mark = |it: &Hit| tie_of(&[it.index.as_bytes(), it.id.as_bytes()]);
        Ok(found.hits.hits.iter().fold(1, |sum, it| sum.wrapping_add(mark(it))))
    }
}
