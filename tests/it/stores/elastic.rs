//! Elasticsearch and OpenSearch.

use std::collections::BTreeSet;
use std::sync::Arc;

use hotseat::domain::ids::{HostId, SourceId};
use hotseat::domain::log::{Anchor, Bucket, GapKind, HistogramRequest, Row, SourceState, WindowRequest};
use hotseat::domain::query::matcher::Matcher;
use hotseat::logstore::store::{Ask, Stop};
use hotseat::logstore::walk::Direction;
use hotseat::service::log::LogInput;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Desk, PATIENCE, base, request, texts};
use crate::support::elasticsearch::{Between, Elastic};
use crate::support::web::Said;

fn config_of(elastic: &Elastic, more: &str) -> String {
    let url = elastic.web.url();
    format!("[[log]]\nname = 'shop'\nelasticsearch = {{ url = '{url}', index = 'logs', poll = '200ms'{more} }}\n")
}

const WORDS: [(&str, &str); 4] =
    [("info", "all is well"), ("error", "Connection timeout"), ("WARN", "slow query"), ("info", "timeouts: 0")];

fn document(base: Timestamp, ms: u64, number: usize) -> (String, Value) {
    let at = base + std::time::Duration::from_millis(ms);
    let (level, words) = WORDS[number % 4];
    let source = json!({
        "@timestamp": format!("{at:.3}"), "log": { "level": level }, "message": format!("{words} n{number}."), "status": 500,
    });
    (format!("id{}", (number * 7919) % 100_003), source)
}

fn documents(base: Timestamp, count: usize) -> Vec<(String, Value)> {
    (0..count).map(|it| document(base, it as u64 * 400, it)).collect()
}

/// The numbers of the records in rows.
fn numbers(rows: &[Row]) -> Vec<usize> {
    let number =
        |text: &str| text.split_once(" n").or_else(|| text.split_once("\"n"))?.1.split('.').next()?.parse().ok();
    let numbers = |row: &Row| match row {
        Row::Record(record) => number(&record.lines.join(" ")),
        _ => None,
    };
    rows.iter().filter_map(numbers).collect()
}

/// Waits until every point in time is closed.
fn until_closed(elastic: &Elastic) {
    let started = std::time::Instant::now();
    while !elastic.ways().moments.is_empty() {
        assert!(started.elapsed() < PATIENCE, "a point in time stays open");
        std::thread::yield_now();
    }
}

#[test]
fn the_query_is_pushed_down_to_elasticsearch_and_only_the_window_comes_back() {
    let elastic = Elastic::start(documents(base(), 2000));
    let desk = Desk::new(&config_of(&elastic, ""));
    let window = desk.ask(request("timeout -n5 level>=error", Anchor::Tail, (10, 0)));
    let expected: Vec<usize> = (0..2000).filter(|it| it % 4 == 1 && !it.to_string().starts_with('5')).collect();
    assert_eq!(numbers(window.rows.as_ref().expect("rows")), expected[expected.len() - 10..]);
    assert_eq!((window.counts.matched, window.counts.scanned), (expected.len() as u64, 2000));
    for search in elastic.searches() {
        let filter = search["query"]["bool"]["filter"].to_string();
        assert!(
            filter.contains("{\"wildcard\":{\"message\":{\"case_insensitive\":true,\"value\":\"*timeout*\"}}}"),
            "{search}"
        );
        assert!(search["query"]["bool"]["must_not"].to_string().contains("\"INFO\""), "{search}");
        assert_eq!(search["sort"][1], json!({ "_shard_doc": { "order": "desc" } }));
    }
    let record = window.rows.expect("rows").into_iter().find_map(|it| match it {
        Row::Record(record) => Some(record),
        _ => None,
    });
    assert_eq!(record.expect("a record").level, Some(hotseat::domain::log::Level::Error));
    drop(desk);
    until_closed(&elastic);
}

#[test]
fn opensearch_is_asked_in_its_own_way() {
    let elastic = Elastic::start(documents(base(), 300));
    elastic.ways().is_opensearch = true;
    let desk = Desk::new(&config_of(&elastic, ""));
    let window = desk.ask(request("", Anchor::Head, (0, 50)));
    assert_eq!(numbers(&window.rows.expect("rows")), (0..50).collect::<Vec<_>>());
    assert_eq!(window.counts.matched, 300);
    drop(desk);
    until_closed(&elastic);
}

#[test]
fn records_of_one_instant_are_neither_lost_nor_doubled_across_pages() {
    for is_opensearch in [false, true] {
        // 700 records in two instants: more than a page each.
        let base = base();
        let all: Vec<(String, Value)> = (0..700).map(|it| document(base, it as u64 / 350, it)).collect();
        let elastic = Elastic::start(all);
        elastic.ways().is_opensearch = is_opensearch;
        let desk = Desk::new(&config_of(&elastic, ""));
        let mut head = numbers(&desk.ask(request("", Anchor::Head, (0, 1000))).rows.expect("rows"));
        let tail = numbers(&desk.ask(request("", Anchor::Tail, (1000, 0))).rows.expect("rows"));
        assert_eq!(head, tail);
        assert!(head[..350].iter().all(|it| *it < 350));
        head.sort_unstable();
        assert_eq!(head, (0..700).collect::<Vec<_>>());
        drop(desk);
        until_closed(&elastic);
    }
}

#[test]
fn nanoseconds_are_kept_apart_where_the_index_keeps_them() {
    let base = base();
    let at = |nanos: i64| Timestamp::from_nanosecond(base.as_nanosecond() + i128::from(nanos)).expect("a time");
    let source = |it: usize| json!({ "@timestamp": format!("{:.9}", at(it as i64)), "message": format!("x n{it}.") });
    let elastic = Elastic::start((0..500).rev().map(|it| (format!("id{it}"), source(it))).collect());
    elastic.ways().mapping.insert("@timestamp".into(), "date_nanos".into());
    let desk = Desk::new(&config_of(&elastic, ""));
    let window = desk.ask(request("", Anchor::Time(at(100)), (10, 300)));
    assert_eq!(numbers(&window.rows.expect("rows")), (90..400).collect::<Vec<_>>());
}

#[test]
fn nanoseconds_are_told_by_the_times_when_the_fields_are_kept_secret() {
    let base = base();
    let source = |it: usize| {
        let at = Timestamp::from_nanosecond(base.as_nanosecond() + it as i128).expect("a time");
        json!({ "@timestamp": format!("{at:.9}"), "message": format!("x n{it}.") })
    };
    for status in [403, 500] {
        let elastic = Elastic::start((0..50).map(|it| (format!("id{it}"), source(it))).collect());
        elastic.ways().mapping.insert("@timestamp".into(), "date_nanos".into());
        elastic.ways().field_caps_status = status;
        let mut desk = Desk::new(&config_of(&elastic, ""));
        if status == 500 {
            desk.until_state(|it| matches!(it, SourceState::Reconnecting { .. }));
            elastic.ways().field_caps_status = 200;
        }
        desk.until_state(|it| *it == SourceState::Connected);
        let window = desk.ask(request("", Anchor::Tail, (100, 0)));
        assert_eq!(numbers(&window.rows.expect("rows")), (0..50).collect::<Vec<_>>(), "{status}");
    }
}

#[test]
fn fields_that_are_kept_secret_are_asked_for_once_until_the_connection_is_lost() {
    let elastic = Elastic::start(documents(base(), 300));
    elastic.ways().field_caps_status = 403;
    let mut desk = Desk::new(&config_of(&elastic, ""));
    let asked = || elastic.web.asked().iter().filter(|it| it.path.ends_with("/_field_caps")).count();
    desk.until_state(|it| *it == SourceState::Connected);
    for query in ["", "timeout", "level=error"] {
        for anchor in [Anchor::Tail, Anchor::Head] {
            desk.ask(request(query, anchor, (20, 20)));
        }
    }
    assert_eq!(asked(), 1);
    // Another user, who may look.
    elastic.ways().login = Some("nobody".into());
    desk.until_state(|it| matches!(it, SourceState::Reconnecting { .. }));
    elastic.ways().field_caps_status = 200;
    elastic.ways().login = None;
    desk.until_state(|it| *it == SourceState::Connected);
    desk.ask(request("", Anchor::Tail, (20, 20)));
    let told = asked();
    assert!(told > 1, "asked again");
    desk.ask(request("slow", Anchor::Head, (20, 20)));
    assert_eq!(asked(), told);
}

#[test]
fn a_record_without_a_time_leaves_a_row() {
    let elastic = Elastic::start(documents(base(), 3));
    let desk = Desk::new(&config_of(&elastic, "").replace("200ms", "1h"));
    assert_eq!(desk.ask(request("", Anchor::Tail, (5, 0))).rows.expect("rows").len(), 3);
    let hits = json!([{ "_index": "logs", "_id": "x", "_source": { "message": "lost" }, "sort": [null, 1] }]);
    elastic.ways().instead = vec![Said::json(json!({ "hits": { "hits": hits } }))];
    let windows_rx = desk.start(request("lost", Anchor::Tail, (5, 0)));
    let rows = Desk::until(&windows_rx, |rows| !rows.is_empty());
    assert_eq!(texts(&rows), ["Failed(\"1 record without a time in `@timestamp` left out here\")"]);
}

#[test]
fn a_page_that_is_renewed_meanwhile_ends_as_it_began() {
    let base = base();
    let elastic = Elastic::start((0..1200).map(|it| document(base, 0, it)).collect());
    let (config, errors) = hotseat::config::parse("c.toml", &config_of(&elastic, ""));
    assert!(errors.is_empty(), "{errors:?}");
    let LogInput::Store(remote) = &config.logs[0].inputs[0] else { panic!("{:?}", config.logs) };
    let id = SourceId::new(&HostId::new("h"), "shop");
    let (_, store) = remote.open((id, "shop"), TimeZone::UTC, Arc::default());
    let renewed = store.clone();
    elastic.ways().between = Some(Between(Box::new(move || renewed.renew())));
    let asking = store.translate(&Matcher::default());
    let stop = Stop::default();
    let ask = Ask { asking: &asking, range: 0..i64::MAX, direction: Direction::Backward, limit: 200, stop: &stop };
    let page = store.page(&ask).expect("a page");
    let ties: BTreeSet<u64> = page.entries.iter().map(|it| it.tie).collect();
    assert_eq!((page.entries.len(), ties.len(), page.gap), (1200, 1200, None));
    // Two pages were searched with the same point in time, and another was opened for none of them.
    assert!(elastic.searches().len() > 2 && elastic.ways().moments_opened == 1);
    elastic.ways().between = None;
    drop(store);
    until_closed(&elastic);
}

#[test]
fn a_count_and_a_histogram_without_some_shards_are_not_complete() {
    let elastic = Elastic::start(documents(base(), 40));
    elastic.ways().failed_shards = 1;
    let desk = Desk::new(&config_of(&elastic, ""));
    let histogram = Some(HistogramRequest { from: None, until: None, buckets: 10 });
    let windows_rx = desk.start(WindowRequest { count: true, histogram, ..request("", Anchor::Tail, (5, 0)) });
    // The engine lets go of its end when there is no more to come.
    let windows: Vec<_> = windows_rx.iter().collect();
    assert!(windows.iter().all(|it| !it.counts.complete), "{windows:#?}");
    let last = windows.iter().rev().find_map(|it| it.histogram.as_ref()).expect("a histogram");
    let total = last.buckets.iter().map(Bucket::total).sum::<u64>();
    assert_eq!((windows.last().map(|it| it.counts.matched), total, last.complete), (Some(40), 40, false));
}

#[test]
fn a_lost_point_in_time_is_opened_again() {
    let elastic = Elastic::start(documents(base(), 300));
    let desk = Desk::new(&config_of(&elastic, "").replace("200ms", "1h"));
    assert_eq!(desk.ask(request("", Anchor::Tail, (5, 0))).rows.expect("rows").len(), 5);
    elastic.ways().moments.clear();
    assert_eq!(desk.ask(request("slow", Anchor::Head, (0, 5))).rows.expect("rows").len(), 5);
}

#[test]
fn a_followed_index_shows_what_comes_late_once() {
    let base = base();
    let elastic = Elastic::start(vec![document(base, 1000, 1)]);
    let desk = Desk::new(&config_of(&elastic, ""));
    let windows_rx = desk.start(WindowRequest { follow: true, ..request("", Anchor::Tail, (10, 0)) });
    Desk::until(&windows_rx, |rows| numbers(rows) == [1]);
    elastic.ways().documents.push(document(base, 3000, 3));
    Desk::until(&windows_rx, |rows| numbers(rows) == [1, 3]);
    elastic.ways().documents.push(document(base, 2000, 2));
    Desk::until(&windows_rx, |rows| numbers(rows) == [1, 2, 3]);
}

#[test]
fn troubles_are_told_in_words_and_without_secrets() {
    let reason = "missing authentication credentials";
    let elastic = Elastic::start(documents(base(), 3));
    elastic.ways().login = Some("ApiKey other".into());
    let mut desk = Desk::new(&config_of(&elastic, ", api_key = 'k3y-k3y'"));
    let words = format!("the store wants other credentials (401): {reason}");
    let state = desk.until_state(|it| matches!(it, SourceState::Reconnecting { .. }));
    assert!(matches!(&state, SourceState::Reconnecting { why, .. } if *why == words), "{state:?}");
    elastic.ways().login = Some("ApiKey k3y-k3y".into());
    desk.until_state(|it| *it == SourceState::Connected);
    let elastic = Elastic::start(Vec::new());
    let desk = Desk::new(&config_of(&elastic, "").replace("'logs'", "'other'"));
    let windows_rx = desk.start(request("", Anchor::Tail, (5, 0)));
    let rows = Desk::until(&windows_rx, |rows| !rows.is_empty());
    let words = "the store answered 404: no such index [other]";
    assert_eq!(texts(&rows), [format!("{:?}", GapKind::Failed(words.into()))]);
}

#[test]
fn shards_that_do_not_answer_leave_a_row() {
    let elastic = Elastic::start(documents(base(), 3));
    elastic.ways().failed_shards = 1;
    let desk = Desk::new(&config_of(&elastic, ""));
    let windows_rx = desk.start(request("", Anchor::Tail, (5, 0)));
    let rows = Desk::until(&windows_rx, |rows| rows.len() > 2);
    let failed = GapKind::Failed("1 of 2 shards did not answer: records are missing here".into());
    assert!(texts(&rows).contains(&format!("{failed:?}")), "{rows:#?}");
}

#[test]
fn a_server_that_answers_nonsense_is_no_search() {
    let elastic = Elastic::start(documents(base(), 3));
    let desk = Desk::new(&config_of(&elastic, "").replace("200ms", "1h"));
    assert_eq!(desk.ask(request("", Anchor::Tail, (5, 0))).rows.expect("rows").len(), 3);
    elastic.ways().instead = vec![Said::json("<html>")];
    let windows_rx = desk.start(request("slow", Anchor::Tail, (5, 0)));
    let rows = Desk::until(&windows_rx, |rows| !rows.is_empty());
    assert!(texts(&rows)[0].contains("not that of a search"), "{rows:?}");
}

#[test]
fn the_histogram_is_counted_by_the_server_where_a_field_names_the_levels() {
    for is_opensearch in [false, true] {
        let elastic = Elastic::start(documents(base(), 4000));
        elastic.ways().is_opensearch = is_opensearch;
        let desk = Desk::new(&config_of(&elastic, ""));
        let histogram = desk.histogram("");
        assert_eq!(histogram.buckets.iter().map(Bucket::total).sum::<u64>(), 4000);
        assert_eq!(histogram.buckets.iter().map(Bucket::errors).sum::<u64>(), 1000);
        assert!(elastic.searches().iter().all(|it| it["size"].as_u64() <= Some(200)));
        drop(desk);
        until_closed(&elastic);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_window_of_an_index_is_what_a_filter_of_its_messages_finds(
        steps in prop::collection::vec(0_u64..3, 1..40),
        kind in prop::sample::select(vec!["text", "keyword", "wildcard", "long"]),
        is_opensearch: bool,
        query in prop::sample::select(vec![
            "", "timeout", "-timeout", "Connection", "/time[a-z]+:? /", "/conn.*OUT/", "imeou", "\"well n\"", "-slow -\"n1\"", "nothing",
        ]),
        which in 0_usize..3,
        size in 1_u32..12,
    ) {
        let base = base();
        let mut ms = 0;
        let all: Vec<(String, Value)> =
            steps.iter().enumerate().map(|(number, it)| { ms += it; document(base, ms, number) }).collect();
        let passes = |source: &Value| {
            let text = source["message"].as_str().unwrap();
            let has = |it: &str| text.to_lowercase().contains(it);
            match query {
                "-timeout" => !has("timeout"),
                "Connection" => text.contains("Connection"),
                "/time[a-z]+:? /" => has("timeouts: ") || has("timeout "),
                "/conn.*OUT/" | "nothing" => false,
                "\"well n\"" => has("well n"),
                "-slow -\"n1\"" => !has("slow") && !has("n1"),
                other => has(other),
            }
        };
        let expected: Vec<usize> = (0..all.len()).filter(|it| passes(&all[*it].1)).collect();
        let elastic = Elastic::start(all);
        elastic.ways().is_opensearch = is_opensearch;
        elastic.ways().mapping.insert("message".into(), kind.into());
        let desk = Desk::new(&config_of(&elastic, ""));
        let anchor = [Anchor::Tail, Anchor::Head, Anchor::Time(base)][which].clone();
        let window = desk.ask(request(query, anchor, (size, size)));
        let found = numbers(window.rows.as_ref().unwrap());
        let wanted = expected.len().min(2 * size as usize);
        let mut sorted = found.clone();
        sorted.sort_unstable();
        // Records of one instant stand in the order of their shards.
        let whole = expected.len() <= 2 * size as usize;
        prop_assert_eq!(found.len(), wanted);
        prop_assert!(!whole || sorted == expected, "{:?} is not {:?}", sorted, expected);
        prop_assert!(sorted.iter().all(|it| expected.contains(it)));
        prop_assert_eq!(window.counts.matched, expected.len() as u64);
    }
}
