//! Stands for Elasticsearch or OpenSearch; neither is in Debian, PyPI or npm as a server that a test could start.
//!
//! What of the public REST APIs it stands for, by the documentation of Elasticsearch 7.10 to 9 and OpenSearch 2:
//!
//! * `POST /index/_pit?keep_alive=…` and `DELETE /_pit` with `id` (Elasticsearch), or
//!   `POST /index/_search/point_in_time?keep_alive=…` and `DELETE /_search/point_in_time` with `pit_id` (OpenSearch);
//!   each knows nothing of the other's. A point in time does not see what comes after it, and may be gone: 404;
//! * `POST /_search` with a `pit` and without an index, `POST /index/_search` without one: `size` up to 10,000,
//!   `query`, `sort` by the time field and `_shard_doc` (Elasticsearch, only over a point in time) or `_doc`,
//!   `search_after`, `_source`, `track_total_hits`, `timeout`, `aggs` with a `date_histogram` and `terms` in it;
//! * `POST /index/_count` with a `query`; `GET /index/_field_caps?fields=…`;
//! * queries: `bool` (`filter`, `must_not`, `should`), `range` with `epoch_millis` or
//!   `strict_date_optional_time_nanos`, `term`, `terms`, `wildcard` with `case_insensitive`, `query_string` of the form
//!   `field:value`. A `text` field is cut into lower-case terms as the standard analyser does, and a wildcard must
//!   match one whole term; a `keyword` is one term;
//! * times of `date` fields are whole milliseconds, those of `date_nanos` nanoseconds; sort values are in that unit.
//!
//! An unknown path, parameter or key is answered with 400 and fails the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::web::{Asked, Said, Web};

const SHARDS: usize = 2;

/// What the server has and how it behaves.
#[derive(Debug)]
pub struct Ways {
    pub index: String,
    /// Id and source, in the order of indexing.
    pub documents: Vec<(String, Value)>,
    /// Types by field.
    pub mapping: BTreeMap<String, String>,
    pub is_opensearch: bool,
    /// Open points in time: what they see.
    pub moments: BTreeMap<String, Vec<(String, Value)>>,
    pub moments_opened: usize,
    /// Answers questions for the fields with this status.
    pub field_caps_status: u16,
    /// Called when a page is read on; documents stand in another order from then on.
    pub between: Option<Between>,
    /// Shards that fail.
    pub failed_shards: usize,
    pub login: Option<String>,
    pub instead: Vec<Said>,
}

/// What happens while a page is read.
pub struct Between(pub Box<dyn Fn() + Send>);

impl std::fmt::Debug for Between {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Between")
    }
}

/// The server.
pub struct Elastic {
    pub web: Web,
    ways: Arc<Mutex<Ways>>,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Elastic {
    pub fn start(documents: Vec<(String, Value)>) -> Self {
        let types = [("@timestamp", "date"), ("message", "text"), ("log.level", "keyword"), ("status", "long")];
        let ways = Ways {
            index: "logs".into(),
            documents,
            mapping: types.iter().map(|(name, kind)| (name.to_string(), kind.to_string())).collect(),
            is_opensearch: false,
            moments: BTreeMap::new(),
            moments_opened: 0,
            field_caps_status: 200,
            between: None,
            failed_shards: 0,
            login: None,
            instead: Vec::new(),
        };
        let (ways, complaints) = (Arc::new(Mutex::new(ways)), Arc::new(Mutex::new(Vec::new())));
        let (its_ways, its_complaints) = (ways.clone(), complaints.clone());
        let web = Web::start(move |asked| {
            let mut ways = lock(&its_ways);
            if !ways.instead.is_empty() {
                return ways.instead.remove(0);
            }
            if ways.login.as_deref().is_some_and(|it| asked.header("authorization") != Some(it)) {
                let error = json!({ "type": "security_exception", "reason": "missing authentication credentials" });
                return Said::status(401, json!({ "error": { "root_cause": [error] }, "status": 401 }));
            }
            answer(&mut ways, asked).unwrap_or_else(|refused| match refused {
                Refused::Answer(said) => said,
                Refused::Foreign(text) => {
                    lock(&its_complaints).push(format!("{text} in {asked:?}"));
                    error(400, "parsing_exception", &text)
                }
            })
        });
        Self { web, ways, complaints }
    }

    pub fn ways(&self) -> MutexGuard<'_, Ways> {
        lock(&self.ways)
    }

    /// The bodies of the searches that asked for records.
    pub fn searches(&self) -> Vec<Value> {
        let searches = self.web.asked().into_iter().filter(|it| it.path.ends_with("/_search"));
        let bodies = searches.filter_map(|it| serde_json::from_str::<Value>(&it.body).ok());
        bodies.filter(|it| it["_source"] != json!(false)).collect()
    }
}

impl Drop for Elastic {
    fn drop(&mut self) {
        let complaints = lock(&self.complaints);
        if !std::thread::panicking() {
            assert!(complaints.is_empty(), "not in the API: {complaints:#?}");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Refused {
    Answer(Said),
    Foreign(String),
}

fn foreign(text: impl Into<String>) -> Refused {
    Refused::Foreign(text.into())
}

fn error(status: u16, kind: &str, reason: &str) -> Said {
    let cause = json!({ "type": kind, "reason": reason });
    Said::status(
        status,
        json!({ "error": { "root_cause": [cause], "type": kind, "reason": reason }, "status": status }),
    )
}

fn known(asked: &Asked, parameters: &[&str]) -> Result<(), Refused> {
    match asked.query.iter().find(|(name, _)| !parameters.contains(&name.as_str())) {
        Some((name, _)) => Err(foreign(format!("unknown parameter {name}"))),
        None => Ok(()),
    }
}

fn answer(ways: &mut Ways, asked: &Asked) -> Result<Said, Refused> {
    let body = || serde_json::from_str::<Value>(&asked.body).map_err(|error| foreign(error.to_string()));
    let (method, path) = (asked.method.as_str(), asked.path.as_str());
    let (index, rest) = match path[1..].split_once('/') {
        Some((index, rest)) if !index.starts_with('_') => (Some(index), format!("/{rest}")),
        _ => (None, path.to_string()),
    };
    if index.is_some_and(|it| it != ways.index) {
        let reason = format!("no such index [{}]", index.unwrap_or_default());
        return Err(Refused::Answer(error(404, "index_not_found_exception", &reason)));
    }
    let open = match (method, index.is_some(), rest.as_str(), ways.is_opensearch) {
        ("POST", true, "/_pit", false) | ("POST", true, "/_search/point_in_time", true) => true,
        // Each answers so where it knows no such path.
        ("POST", true, "/_pit", true) => return Ok(error(405, "method", "Incorrect HTTP method for uri")),
        ("POST", true, "/_search/point_in_time", false) => {
            return Ok(error(400, "handler", "no handler found for uri"));
        }
        _ => false,
    };
    if open {
        known(asked, &["keep_alive"])?;
        asked.parameter("keep_alive").ok_or_else(|| foreign("keep_alive is missing"))?;
        ways.moments_opened += 1;
        let id = format!("moment-{}", ways.moments_opened);
        let seen = ways.documents.clone();
        ways.moments.insert(id.clone(), seen);
        return Ok(Said::json(if ways.is_opensearch { json!({ "pit_id": id }) } else { json!({ "id": id }) }));
    }
    match (method, index.is_some(), rest.as_str()) {
        ("DELETE", false, "/_pit") if !ways.is_opensearch => {
            let id = body()?["id"].as_str().unwrap_or_default().to_string();
            ways.moments.remove(&id).ok_or_else(|| foreign("no such point in time"))?;
            Ok(Said::json(json!({ "succeeded": true, "num_freed": 1 })))
        }
        ("DELETE", false, "/_search/point_in_time") if ways.is_opensearch => {
            let id = body()?["pit_id"][0].as_str().unwrap_or_default().to_string();
            ways.moments.remove(&id).ok_or_else(|| foreign("no such point in time"))?;
            Ok(Said::json(json!({ "pits": [{ "pit_id": id, "successful": true }] })))
        }
        ("GET", true, "/_field_caps") => {
            known(asked, &["fields"])?;
            if ways.field_caps_status != 200 {
                return Ok(error(ways.field_caps_status, "exception", "no fields today"));
            }
            let mut fields = json!({});
            for name in asked.parameter("fields").unwrap_or_default().split(',') {
                if let Some(kind) = ways.mapping.get(name) {
                    fields[name] =
                        json!({ kind: { "type": kind, "searchable": true, "aggregatable": kind != "text" } });
                }
            }
            Ok(Said::json(json!({ "indices": [ways.index], "fields": fields })))
        }
        ("POST", true, "/_count") => {
            known(asked, &[])?;
            let body = body()?;
            keys(&body, &["query"])?;
            let mut count = 0;
            for (_, source) in &ways.documents {
                count += usize::from(matches(ways, &body["query"], source)?);
            }
            let failed = ways.failed_shards;
            let shards = json!({ "total": SHARDS, "successful": SHARDS - failed, "failed": failed });
            Ok(Said::json(json!({ "count": count, "_shards": shards })))
        }
        ("POST", has_index, "/_search") => {
            known(asked, &[])?;
            let body = body()?;
            if body.get("search_after").is_some()
                && let Some(Between(between)) = &ways.between
            {
                between();
                ways.documents.reverse();
            }
            search(ways, &body, has_index)
        }
        _ => Err(foreign(format!("no handler found for uri [{path}] and method [{method}]"))),
    }
}

fn keys(body: &Value, allowed: &[&str]) -> Result<(), Refused> {
    let body = body.as_object().ok_or_else(|| foreign("an object is wanted"))?;
    match body.keys().find(|it| !allowed.contains(&it.as_str())) {
        Some(key) => Err(foreign(format!("unknown key [{key}]"))),
        None => Ok(()),
    }
}

fn search(ways: &Ways, body: &Value, has_index: bool) -> Result<Said, Refused> {
    keys(body, &["size", "query", "sort", "search_after", "pit", "track_total_hits", "timeout", "_source", "aggs"])?;
    let size = usize::try_from(body["size"].as_u64().unwrap_or(10)).unwrap_or(usize::MAX);
    if size > 10_000 {
        return Err(foreign("Result window is too large"));
    }
    let (mut documents, mut moment) = (&ways.documents, None);
    if let Some(pit) = body.get("pit") {
        keys(pit, &["id", "keep_alive"])?;
        if has_index {
            return Err(foreign("[indices] cannot be used with point in time"));
        }
        let id = pit["id"].as_str().unwrap_or_default();
        let Some(known) = ways.moments.get(id) else {
            return Err(Refused::Answer(error(404, "search_context_missing_exception", "No search context found")));
        };
        (documents, moment) = (known, Some(id.to_string()));
    } else if !has_index {
        return Err(foreign("a search over everything"));
    }
    let mut found: Vec<(Vec<i64>, usize)> = Vec::new();
    let sort = body["sort"].as_array().cloned().unwrap_or_default();
    for (at, (_, source)) in documents.iter().enumerate() {
        if matches(ways, &body["query"], source)? {
            let mut values = Vec::new();
            for key in &sort {
                values.push(sort_value(ways, key, at, source, moment.is_some())?);
            }
            found.push((values, at));
        }
    }
    let mut said = json!({
        "took": 1,
        "timed_out": false,
        "_shards": { "total": SHARDS, "successful": SHARDS - ways.failed_shards, "failed": ways.failed_shards },
    });
    if let Some(aggregations) = body.get("aggs") {
        said["aggregations"] = aggregate(ways, documents, aggregations, &found)?;
    }
    let descending =
        sort.first().is_some_and(|it| it.as_object().is_some_and(|it| it.values().any(|it| it["order"] == "desc")));
    // What stands beside each other with equal values is not promised: the later one first.
    found.sort_by(|left, right| left.0.cmp(&right.0).then(right.1.cmp(&left.1)));
    if descending {
        found.reverse();
    }
    if let Some(after) = body.get("search_after").and_then(Value::as_array) {
        let after: Vec<i64> = after.iter().filter_map(Value::as_i64).collect();
        if after.len() != sort.len() {
            return Err(foreign("search_after has not as many values as sort"));
        }
        found.retain(|(values, _)| if descending { *values < after } else { *values > after });
    }
    found.truncate(size);
    let shows_source = body.get("_source") != Some(&json!(false));
    let hits: Vec<Value> = found
        .into_iter()
        .map(|(values, at)| {
            let (id, source) = &documents[at];
            let mut hit = json!({ "_index": ways.index, "_id": id, "_score": null, "sort": values });
            if shows_source {
                hit["_source"] = source.clone();
            }
            hit
        })
        .collect();
    said["hits"] = json!({ "max_score": null, "hits": hits });
    if let Some(id) = moment {
        said["pit_id"] = json!(id);
    }
    Ok(Said::json(said))
}

fn sort_value(ways: &Ways, key: &Value, at: usize, source: &Value, has_moment: bool) -> Result<i64, Refused> {
    let key = key.as_object().ok_or_else(|| foreign("a sort that is no object"))?;
    let (field, how) = key.iter().next().ok_or_else(|| foreign("an empty sort"))?;
    keys(how, &["order", "unmapped_type", "numeric_type", "format"])?;
    let (shard, number) = ((at % SHARDS) as i64, (at / SHARDS) as i64);
    match field.as_str() {
        "_shard_doc" if ways.is_opensearch || !has_moment => Err(Refused::Answer(error(
            400,
            "query_shard_exception",
            "No mapping found for [_shard_doc] in order to sort on",
        ))),
        "_shard_doc" => Ok(shard << 32 | number),
        "_doc" => Ok(number),
        name if ways.mapping.get(name).is_some_and(|it| it == "date_nanos") => Ok(nanos_of(source, name)),
        name if ways.mapping.get(name).is_some_and(|it| it == "date") => {
            if how.get("numeric_type").is_some_and(|it| it == "date_nanos") {
                return Ok(nanos_of(source, name) / 1_000_000 * 1_000_000);
            }
            Ok(nanos_of(source, name) / 1_000_000)
        }
        name => Err(foreign(format!("No mapping found for [{name}] in order to sort on"))),
    }
}

fn value<'a>(source: &'a Value, field: &str) -> Option<&'a Value> {
    source.get(field).or_else(|| source.pointer(&format!("/{}", field.replace('.', "/"))))
}

fn nanos_of(source: &Value, field: &str) -> i64 {
    let text = value(source, field).and_then(Value::as_str).unwrap_or_default();
    text.parse::<Timestamp>().map_or(0, |it| it.as_nanosecond() as i64)
}

/// The terms of a field: one for a keyword, words for text.
fn terms(ways: &Ways, source: &Value, field: &str) -> Vec<String> {
    let Some(text) = value(source, field).and_then(Value::as_str) else { return Vec::new() };
    match ways.mapping.get(field).map(String::as_str) {
        Some("text") => text
            .split(|it: char| !(it.is_alphanumeric() || it == '_' || it == '.'))
            .map(|it| it.trim_matches('.').to_lowercase())
            .filter(|it| !it.is_empty())
            .collect(),
        Some(_) => vec![text.to_string()],
        None => Vec::new(),
    }
}

fn matches(ways: &Ways, query: &Value, source: &Value) -> Result<bool, Refused> {
    let query = query.as_object().filter(|it| it.len() == 1).ok_or_else(|| foreign(format!("no query: {query}")))?;
    let (kind, body) = query.iter().next().ok_or_else(|| foreign("an empty query"))?;
    let single = || {
        let found = body.as_object().filter(|it| it.len() == 1).and_then(|it| it.iter().next());
        found.ok_or_else(|| foreign(format!("[{kind}] wants one field")))
    };
    let clauses = |name: &str| body[name].as_array().cloned().unwrap_or_default();
    match kind.as_str() {
        "bool" => {
            keys(body, &["filter", "must_not", "should", "minimum_should_match"])?;
            for clause in clauses("filter") {
                if !matches(ways, &clause, source)? {
                    return Ok(false);
                }
            }
            for clause in clauses("must_not") {
                if matches(ways, &clause, source)? {
                    return Ok(false);
                }
            }
            let should = clauses("should");
            for clause in &should {
                if matches(ways, clause, source)? {
                    return Ok(true);
                }
            }
            Ok(should.is_empty())
        }
        "range" => {
            let (field, bounds) = single()?;
            keys(bounds, &["gte", "lt", "format"])?;
            let is_nanos = ways.mapping.get(field).is_some_and(|it| it == "date_nanos");
            let bound = |name: &str| -> Result<i64, Refused> {
                let given = &bounds[name];
                let nanos = match bounds["format"].as_str() {
                    Some("epoch_millis") => given.as_i64().map(|it| it * 1_000_000),
                    Some("strict_date_optional_time_nanos") => {
                        given.as_str().and_then(|it| it.parse::<Timestamp>().ok()).map(|it| it.as_nanosecond() as i64)
                    }
                    _ => None,
                };
                nanos.ok_or_else(|| foreign(format!("failed to parse date field [{given}]")))
            };
            let unit = if is_nanos { 1 } else { 1_000_000 };
            let at = nanos_of(source, field) / unit;
            Ok(at >= bound("gte")? / unit && at < bound("lt")? / unit)
        }
        "query_string" => {
            keys(body, &["query"])?;
            let (field, wanted) =
                body["query"].as_str().and_then(|it| it.split_once(':')).ok_or_else(|| foreign("no query string"))?;
            Ok(terms(ways, source, field).iter().any(|it| it == wanted))
        }
        "term" => {
            let (field, wanted) = single()?;
            if field == "_ignored" {
                return Ok(false);
            }
            Ok(terms(ways, source, field).iter().any(|it| *wanted == json!(it)))
        }
        "terms" => {
            let (field, wanted) = single()?;
            let wanted = wanted.as_array().ok_or_else(|| foreign("[terms] wants an array"))?;
            Ok(terms(ways, source, field).iter().any(|it| wanted.contains(&json!(it))))
        }
        "wildcard" => {
            let (field, how) = single()?;
            keys(how, &["value", "case_insensitive"])?;
            let pattern = how["value"].as_str().ok_or_else(|| foreign("[wildcard] wants a value"))?;
            let ignore_case = how["case_insensitive"].as_bool().unwrap_or(false);
            Ok(terms(ways, source, field).iter().any(|it| {
                if ignore_case { wildcard(&pattern.to_lowercase(), &it.to_lowercase()) } else { wildcard(pattern, it) }
            }))
        }
        other => Err(foreign(format!("unknown query [{other}]"))),
    }
}

/// `*` is any text, `?` any letter, a backslash makes either plain.
fn wildcard(pattern: &str, text: &str) -> bool {
    let mut regex = String::from("^(?s:");
    let mut chars = pattern.chars();
    while let Some(it) = chars.next() {
        match it {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '\\' => regex.push_str(&regex::escape(&chars.next().unwrap_or('\\').to_string())),
            other => regex.push_str(&regex::escape(&other.to_string())),
        }
    }
    regex.push_str(")$");
    regex::Regex::new(&regex).is_ok_and(|it| it.is_match(text))
}

fn aggregate(
    ways: &Ways,
    documents: &[(String, Value)],
    wanted: &Value,
    found: &[(Vec<i64>, usize)],
) -> Result<Value, Refused> {
    keys(wanted, &["time"])?;
    keys(&wanted["time"], &["date_histogram", "aggs"])?;
    let how = &wanted["time"]["date_histogram"];
    keys(how, &["field", "fixed_interval", "offset", "min_doc_count"])?;
    let seconds = |text: &Value| -> Result<i64, Refused> {
        let text = text.as_str().and_then(|it| it.strip_suffix('s')).and_then(|it| it.parse().ok());
        text.ok_or_else(|| foreign("an interval that is no number of seconds"))
    };
    let (interval, offset) = (seconds(&how["fixed_interval"])?, seconds(&how["offset"])?);
    let inner = &wanted["time"]["aggs"]["level"]["terms"];
    keys(inner, &["field", "size"])?;
    let (field, level) = (how["field"].as_str().unwrap_or_default(), inner["field"].as_str().unwrap_or_default());
    let mut buckets: BTreeMap<i64, BTreeMap<String, u64>> = BTreeMap::new();
    let mut totals: BTreeMap<i64, u64> = BTreeMap::new();
    for (_, at) in found {
        let source = &documents[*at].1;
        let second = nanos_of(source, field) / 1_000_000_000;
        let key = ((second - offset).div_euclid(interval) * interval + offset) * 1000;
        *totals.entry(key).or_default() += 1;
        for term in terms(ways, source, level) {
            *buckets.entry(key).or_default().entry(term).or_default() += 1;
        }
    }
    let buckets: Vec<Value> = totals
        .iter()
        .map(|(key, count)| {
            let levels = buckets.get(key).cloned().unwrap_or_default();
            let levels: Vec<Value> =
                levels.iter().map(|(key, count)| json!({ "key": key, "doc_count": count })).collect();
            json!({ "key": key, "doc_count": count, "level": { "sum_other_doc_count": 0, "buckets": levels } })
        })
        .collect();
    Ok(json!({ "time": { "buckets": buckets } }))
}
