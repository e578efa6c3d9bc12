//! Logs in stores elsewhere: windows, counts, following and troubles, over HTTP against servers of this test.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use hotseat::clock;
use hotseat::config;
use hotseat::domain::fact::Fact;
use hotseat::domain::ids::HostId;
use hotseat::domain::log::{
    Anchor, Bucket, Find, GapKind, Histogram, HistogramRequest, Level, LogFact, Row, SourceState, ViewId, Window,
    WindowRequest, WindowSource,
};
use hotseat::service::log::LogService;
use hotseat::service::{FactSender, ServiceSetup};
use jiff::Timestamp;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::support::loki::{Loki, Pushed};
use crate::support::web::Said;

mod elastic;

/// Ends a test that would hang.
const PATIENCE: Duration = Duration::from_secs(60);
const SECOND: i64 = 1_000_000_000;

/// A log service over a config, in this process.
pub struct Desk {
    service: LogService,
    facts_rx: tokio::sync::mpsc::Receiver<(hotseat::domain::fact::Actor, Fact)>,
    cancel: CancellationToken,
    _directory: tempfile::TempDir,
}

impl Desk {
    pub fn new(config: &str) -> Self {
        let (config, errors) = config::parse("c.toml", config);
        assert!(errors.is_empty(), "{errors:?}");
        let directory = tempfile::tempdir().expect("a directory");
        let (facts, facts_rx) = FactSender::channel();
        let cancel = CancellationToken::new();
        let setup = ServiceSetup {
            host: HostId::new("h"),
            user: "tester".into(),
            state_dir: directory.path().join("state"),
            facts,
            cancel: cancel.clone(),
        };
        let service = LogService::start_opened(&setup, config.logs);
        Self { service, facts_rx, cancel, _directory: directory }
    }

    pub fn start(&self, request: WindowRequest) -> Receiver<Window> {
        let (windows_tx, windows_rx) = sync_channel(1000);
        self.service.engine().request(request, Box::new(move |window| windows_tx.send(window).is_ok()));
        windows_rx
    }

    /// The final window with its counts.
    pub fn ask(&self, request: WindowRequest) -> Window {
        let windows_rx = self.start(WindowRequest { count: true, ..request });
        let mut rows = None;
        loop {
            let mut window = windows_rx.recv_timeout(PATIENCE).expect("a window");
            if window.rows.is_some() {
                rows = Some(window);
            } else if window.counts.complete {
                let mut rows = rows.expect("rows before counts");
                std::mem::swap(&mut rows.counts, &mut window.counts);
                return rows;
            }
        }
    }

    /// The complete histogram of everything.
    pub fn histogram(&self, query: &str) -> Histogram {
        let histogram = Some(HistogramRequest { from: None, until: None, buckets: 40 });
        let windows_rx = self.start(WindowRequest { histogram, ..request(query, Anchor::Tail, (10, 0)) });
        loop {
            let window = windows_rx.recv_timeout(PATIENCE).expect("a window");
            if let Some(histogram) = window.histogram.filter(|it| it.complete) {
                return histogram;
            }
        }
    }

    /// Waits for rows, of a request that may bring several windows.
    pub fn until(windows_rx: &Receiver<Window>, holds: impl Fn(&[Row]) -> bool) -> Vec<Row> {
        let mut last = None;
        loop {
            match windows_rx.recv_timeout(PATIENCE) {
                Ok(Window { rows: Some(rows), .. }) if holds(&rows) => return rows,
                Ok(window) => last = window.rows.or(last),
                Err(_) => panic!("the window does not come: {last:#?}"),
            }
        }
    }

    /// Waits for a state of a source.
    pub fn until_state(&mut self, holds: impl Fn(&SourceState) -> bool) -> SourceState {
        loop {
            match self.facts_rx.blocking_recv().expect("facts").1 {
                Fact::Log(LogFact::State { state, .. }) if holds(&state) => return state,
                _ => {}
            }
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.service.reload(Vec::new());
    }
}

pub fn request(query: &str, anchor: Anchor, (before, after): (u32, u32)) -> WindowRequest {
    WindowRequest { query: query.into(), ..WindowRequest::new(ViewId(1), 1, anchor, (before, after)) }
}

pub fn texts(rows: &[Row]) -> Vec<String> {
    let text = |row: &Row| match row {
        Row::Record(record) => format!("{}{}", if record.context { "+" } else { "" }, record.lines.join("|")),
        Row::Gap(gap) => format!("{:?}", gap.kind),
        Row::Break => "--".into(),
    };
    rows.iter().map(text).collect()
}

fn shown(window: &Window) -> Vec<String> {
    texts(window.rows.as_ref().expect("rows"))
}

/// An hour ago, in whole seconds: stores forget what is old.
pub fn base() -> Timestamp {
    Timestamp::from_second(clock::now().as_second() - 3600).expect("a time")
}

fn pushed(base: Timestamp, second: i64, text: &str, labels: &[(&str, &str)]) -> Pushed {
    let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Pushed { labels, nanos: (base.as_second() + second) * SECOND, text: text.to_string() }
}

fn line(base: Timestamp, second: i64, number: usize) -> String {
    let (level, word) = [("INFO", "ok"), ("ERROR", "timeout"), ("WARN", "slow"), ("INFO", "Timeout")][number % 4];
    format!("{} {level} {word} n{number}.", Timestamp::from_second(base.as_second() + second).expect("a time"))
}

fn config_of(loki: &Loki, more: &str) -> String {
    format!(
        "[[log]]\nname = 'api'\nloki = {{ url = '{}', query = '{{app=\"api\"}}', poll = '200ms'{more} }}\n",
        loki.web.url()
    )
}

/// `count` lines, one a second, in two streams.
fn lines(base: Timestamp, count: usize) -> Vec<Pushed> {
    let stream = |number: usize| ["a", "b"][number % 2];
    (0..count)
        .map(|it| pushed(base, it as i64, &line(base, it as i64, it), &[("app", "api"), ("pod", stream(it))]))
        .collect()
}

#[test]
fn the_query_is_pushed_down_to_loki_and_only_the_window_comes_back() {
    let base = base();
    let mut all = lines(base, 3000);
    all.push(pushed(base, 5000, "of another app", &[("app", "web")]));
    let loki = Loki::start(all);
    let desk = Desk::new(&config_of(&loki, ""));
    let window = desk.ask(request("timeout -n5 level>=error", Anchor::Tail, (20, 0)));
    let expected: Vec<String> = (0..3000)
        .map(|it| line(base, it, it as usize))
        .filter(|it| it.contains("ERROR") && !it.contains("n5"))
        .collect();
    assert_eq!(shown(&window), expected[expected.len() - 20..]);
    assert_eq!((window.counts.matched, window.counts.scanned), (expected.len() as u64, 3000));
    let queries = loki.queries();
    let pushed = queries.iter().find(|(query, _)| query.contains("timeout")).expect("the window's query");
    assert!(pushed.0.starts_with("{app=\"api\"} |~ \"(?i)timeout\" !~ \"(?i)n5\" | level!~"), "{}", pushed.0);
    // Nothing but the look for news is asked without the chips.
    assert!(queries.iter().all(|(query, limit)| query == &pushed.0 || *limit <= 50), "{queries:?}");
}

#[test]
fn the_command_lets_the_server_count() {
    let loki = Loki::start(lines(base(), 3000));
    let home = tempfile::tempdir().expect("temporary directory");
    let config = home.path().join("config.toml");
    std::fs::write(&config, config_of(&loki, "")).expect("config.toml");
    let count = |log: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_hotseat"));
        command.args(["logs", log, "-q", "timeout", "--count"]).env_clear().env("HOME", home.path());
        let output = command.env("HOTSEAT_CONFIG", &config).output().expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(count("api"), ("1500\n".into(), String::new()));
    // No more than the look for news was fetched.
    assert!(loki.queries().iter().all(|(_, limit)| *limit <= 50), "{:?}", loki.queries());
    drop(loki);
    let (stdout, stderr) = count("api");
    assert_eq!(stdout, "0\n");
    assert!(stderr.contains("nothing listens on") && stderr.contains("not everything was counted"), "{stderr}");
}

#[test]
fn a_level_in_a_label_counts_more_than_words_in_the_text() {
    let base = base();
    let loki = Loki::start(vec![
        pushed(base, 1, "error budget is fine", &[("app", "api"), ("level", "info")]),
        pushed(base, 2, "it broke", &[("app", "api"), ("detected_level", "Error")]),
        pushed(base, 3, "2026-08-19T00:00:00Z ERROR by its text", &[("app", "api"), ("detected_level", "unknown")]),
    ]);
    let desk = Desk::new(&config_of(&loki, ""));
    let window = desk.ask(request("level>=error", Anchor::Tail, (10, 0)));
    assert_eq!(shown(&window), ["it broke", "2026-08-19T00:00:00Z ERROR by its text"]);
    assert_eq!(window.counts.matched, 2);
}

#[test]
fn lines_of_one_instant_are_neither_lost_nor_doubled_across_pages() {
    let base = base();
    // Twelve lines an instant, in three streams, with a server that gives ten at a time.
    let all: Vec<Pushed> = (0..240)
        .map(|it| {
            pushed(base, it / 12, &format!("n{it:03}"), &[("app", "api"), ("pod", ["a", "b", "c"][it as usize % 3])])
        })
        .collect();
    let loki = Loki::start(all);
    loki.ways().max_entries = 30;
    let desk = Desk::new(&config_of(&loki, ""));
    let mut expected: Vec<String> = Vec::new();
    for second in 0..20 {
        for pod in 0..3 {
            expected.extend((0..12).filter(|it| it % 3 == pod).map(|it| format!("n{:03}", second * 12 + it)));
        }
    }
    let tail = desk.ask(request("", Anchor::Tail, (240, 0)));
    assert_eq!(shown(&tail), expected);
    let head = desk.ask(request("", Anchor::Head, (0, 240)));
    assert_eq!(shown(&head), expected);
    assert_eq!(tail.counts.matched, 240);
    // From any of them on, in a filtered view as well.
    let position = tail.rows.expect("rows")[101].position().expect("a record").clone();
    let number = expected[101].clone();
    let around = desk.ask(request(&number, Anchor::At(position), (1, 1)));
    assert_eq!(shown(&around), [number]);
}

#[test]
fn more_lines_of_one_instant_than_the_server_gives_are_said_to_be_missing() {
    let base = base();
    let loki = Loki::start((0..50).map(|it| pushed(base, 1, &format!("n{it}"), &[("app", "api")])).collect());
    loki.ways().max_entries = 20;
    let desk = Desk::new(&config_of(&loki, ""));
    let rows = desk.ask(request("", Anchor::Tail, (100, 0))).rows.expect("rows");
    let gaps: Vec<String> = texts(&rows).into_iter().filter(|it| it.starts_with("Failed")).collect();
    assert_eq!(gaps, ["Failed(\"the store gives no more than 20 lines of one instant: there may be others\")"]);
}

#[test]
fn a_server_that_lets_a_query_cover_little_time_is_asked_in_pieces() {
    let base = base();
    let loki = Loki::start(lines(base, 30));
    loki.ways().max_length_nanos = 10 * 60 * SECOND;
    let desk = Desk::new(&config_of(&loki, ", since = '3h'"));
    let window = desk.ask(request("", Anchor::Head, (0, 10)));
    assert_eq!(shown(&window), (0..10).map(|it| line(base, it, it as usize)).collect::<Vec<_>>());
    assert_eq!(window.counts.matched, 30);
}

#[test]
fn news_are_found_where_a_query_may_cover_little_time() {
    let at = |back: i64| pushed(clock::now(), -back, &format!("{back} s ago"), &[("app", "api")]);
    let loki = Loki::start(vec![at(60)]);
    loki.ways().max_length_nanos = 10 * 60 * SECOND;
    let mut desk = Desk::new(&config_of(&loki, ", since = '2h'"));
    desk.until_state(|it| *it == SourceState::Connected);
    let windows_rx = desk.start(WindowRequest { follow: true, ..request("", Anchor::Tail, (10, 0)) });
    Desk::until(&windows_rx, |rows| texts(rows) == ["60 s ago"]);
    loki.ways().lines.push(at(5));
    Desk::until(&windows_rx, |rows| texts(rows) == ["60 s ago", "5 s ago"]);
}

#[test]
fn large_records_of_one_instant_are_read_as_far_as_they_fit() {
    let base = base();
    // Each fits in an answer; two of them do not.
    let large = |name: &str| format!("{name} {}", "x".repeat(20 << 20));
    let all = ["a", "b"].map(|it| pushed(base, 1, &large(it), &[("app", "api")]));
    let loki = Loki::start(all.to_vec());
    let mut desk = Desk::new(&config_of(&loki, "").replace("200ms", "1h"));
    desk.until_state(|it| *it == SourceState::Connected);
    let windows_rx = desk.start(request("", Anchor::Tail, (5, 0)));
    let rows = Desk::until(&windows_rx, |rows| rows.iter().any(|it| matches!(it, Row::Record(_))));
    let gaps: Vec<String> = texts(&rows).into_iter().filter(|it| it.starts_with("Failed")).collect();
    assert_eq!(gaps, ["Failed(\"of one instant 1 line read: the others are too large\")"]);
}

#[test]
fn a_followed_store_shows_new_lines_and_those_that_come_late() {
    let base = base();
    let recent = clock::now();
    let at = |back: i64| (recent.as_second() - back - base.as_second(), format!("{back} s ago"));
    let new = |(second, text): (i64, String)| pushed(base, second, &text, &[("app", "api")]);
    let loki = Loki::start(vec![new(at(60))]);
    let desk = Desk::new(&config_of(&loki, ""));
    let windows_rx = desk.start(WindowRequest { follow: true, ..request("", Anchor::Tail, (10, 0)) });
    Desk::until(&windows_rx, |rows| texts(rows) == ["60 s ago"]);
    loki.ways().lines.push(new(at(5)));
    Desk::until(&windows_rx, |rows| texts(rows) == ["60 s ago", "5 s ago"]);
    loki.ways().lines.push(new(at(7)));
    Desk::until(&windows_rx, |rows| texts(rows) == ["60 s ago", "7 s ago", "5 s ago"]);
}

#[test]
fn a_busy_server_is_asked_again_and_a_broken_one_leaves_a_row() {
    let base = base();
    let loki = Loki::start(lines(base, 5));
    let again =
        Said { headers: vec![("Retry-After", "0".into())], ..Said::status(429, "too many outstanding requests") };
    loki.ways().instead = vec![again.clone(), again];
    let desk = Desk::new(&config_of(&loki, ", poll = '1h'").replace("poll = '200ms', ", ""));
    let window = desk.ask(request("", Anchor::Tail, (10, 0)));
    assert_eq!(shown(&window).len(), 5);
    for (said, words) in [
        (Said::status(500, "panic: s3cret-pass"), "the store answered 500: panic: ***"),
        (
            Said::json("{\"status\":"),
            "the store's answer is not that of Loki: EOF while parsing a value at line 1 column 10",
        ),
        (Said::status(401, ""), "the store wants other credentials (401)"),
    ] {
        let loki = Loki::start(Vec::new());
        // One for the look for news, one for the window, one for the count.
        loki.ways().instead = vec![said.clone(), said.clone(), said.clone(), said.clone()];
        let config =
            config_of(&loki, ", user = 'me', password = 's3cret-pass'").replace("poll = '200ms'", "poll = '1h'");
        let mut desk = Desk::new(&config);
        let windows_rx = desk.start(WindowRequest { follow: true, ..request("", Anchor::Tail, (10, 0)) });
        let rows = Desk::until(&windows_rx, |rows| !rows.is_empty());
        assert_eq!(texts(&rows), [format!("{:?}", GapKind::Failed(words.into()))]);
        let state = desk.until_state(|it| matches!(it, SourceState::Reconnecting { .. }));
        assert!(matches!(&state, SourceState::Reconnecting { why, .. } if why == words), "{state:?}");
        // And when it is back, nothing is missing.
        desk.until_state(|it| *it == SourceState::Connected);
        Desk::until(&windows_rx, <[Row]>::is_empty);
    }
}

#[test]
fn tenant_and_credentials_are_sent() {
    let base = base();
    let loki = Loki::start(lines(base, 3));
    loki.ways().tenant = Some("team".into());
    loki.ways().login = Some("Bearer t0ken".into());
    let desk = Desk::new(&config_of(&loki, ", tenant = 'team', token = 't0ken'"));
    assert_eq!(shown(&desk.ask(request("", Anchor::Tail, (10, 0)))).len(), 3);
    let source = desk.service.engine().sources()[0].clone();
    assert_eq!(source.origin, format!("loki {} {{app=\"api\"}}", loki.web.url()));
}

#[test]
fn a_newer_request_does_not_wait_for_a_server_that_hangs() {
    let base = base();
    let loki = Loki::start(lines(base, 3));
    let desk = Desk::new(&config_of(&loki, "").replace("poll = '200ms'", "poll = '1h'"));
    assert_eq!(shown(&desk.ask(request("", Anchor::Tail, (10, 0)))).len(), 3);
    loki.ways().instead = vec![Said { stalls: true, ..Said::default() }];
    let hanging_rx = desk.start(request("timeout", Anchor::Tail, (10, 0)));
    while !loki.ways().instead.is_empty() {
        std::thread::yield_now();
    }
    let window = desk.ask(WindowRequest { generation: 2, ..request("slow", Anchor::Tail, (10, 0)) });
    assert_eq!(shown(&window).len(), 1);
    assert!(hanging_rx.try_recv().is_err());
}

#[test]
fn a_file_and_loki_are_merged_on_one_clock_with_context() {
    let base = base();
    let loki = Loki::start(lines(base, 40));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("f.log");
    let text: String =
        (0..40).map(|it| format!("{} INFO file {it}\n", base + Duration::from_millis(it * 1000 + 500))).collect();
    std::fs::write(&path, text).expect("a file");
    let config = format!("{}[[log]]\nname = 'f'\nfile = '{}'\n", config_of(&loki, ""), path.display());
    let desk = Desk::new(&config);
    let window = desk.ask(request("", Anchor::Tail, (6, 0)));
    let file = |it: u64| format!("{} INFO file {it}", base + Duration::from_millis(it * 1000 + 500));
    let store = |it: i64| line(base, it, it as usize);
    assert_eq!(shown(&window), [store(37), file(37), store(38), file(38), store(39), file(39)]);
    assert_eq!((window.counts.matched, window.counts.scanned), (80, 80));
    let context = desk.ask(WindowRequest { context: 1, ..request("n21. source:api", Anchor::Tail, (6, 0)) });
    assert_eq!(shown(&context), [format!("+{}", store(20)), store(21), format!("+{}", store(22))]);
    let find = Anchor::Find { from: None, backwards: true, find: Find::LevelAtLeast(Level::Error) };
    let found = desk.ask(request("", find, (0, 1)));
    assert_eq!(shown(&found), [store(37)]);
}

#[test]
fn the_histogram_is_counted_by_the_server_where_labels_name_the_levels() {
    let base = base();
    let level = |it: usize| ["info", "error", "warning", "info"][it % 4];
    let all: Vec<Pushed> = (0..4000)
        .map(|it| {
            pushed(
                base,
                it as i64 / 4,
                &format!("n{it}"),
                &[("app", "api"), ("level", level(it)), ("pod", ["a", "b"][it % 2])],
            )
        })
        .collect();
    let loki = Loki::start(all.clone());
    let desk = Desk::new(&config_of(&loki, ""));
    let histogram = desk.histogram("-n39");
    let wanted = all.iter().filter(|it| !it.text.contains("n39"));
    let errors = wanted.clone().filter(|it| it.labels["level"] == "error").count() as u64;
    assert_eq!(histogram.buckets.iter().map(Bucket::total).sum::<u64>(), wanted.clone().count() as u64);
    assert_eq!(histogram.buckets.iter().map(Bucket::errors).sum::<u64>(), errors);
    for (index, bucket) in histogram.buckets.iter().enumerate() {
        let from = histogram.from.as_second() + index as i64 * histogram.bucket_seconds as i64;
        let span = from * SECOND..(from + histogram.bucket_seconds as i64) * SECOND;
        assert_eq!(
            bucket.total(),
            wanted.clone().filter(|it| span.contains(&it.nanos)).count() as u64,
            "bucket {index}"
        );
    }
    // Two screens of lines at most were fetched: the server did the counting.
    assert!(loki.queries().iter().all(|(_, limit)| *limit <= 200), "{:?}", loki.queries());
    // One line that only its text gives a level to, and the lines are looked at.
    loki.ways().lines.push(pushed(base, 5, "2026-08-19T00:00:00Z ERROR by its text", &[("app", "api")]));
    let histogram = desk.histogram("since:-2h");
    assert_eq!(histogram.buckets.iter().map(Bucket::total).sum::<u64>(), 4001);
    assert_eq!(histogram.buckets.iter().map(Bucket::errors).sum::<u64>(), 1001);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_window_of_loki_is_that_of_a_file_with_the_same_lines(
        steps in prop::collection::vec(0_i64..3, 1..40),
        max_entries in 8_usize..40,
        query in prop::sample::select(vec![
            "", "timeout", "-timeout", "Timeout", "level>=warn", "/t[a-z]+t n\\d/", "timeout -n1", "nothing",
            "/Slow|TIME\\w+/", "-/ok n\\d\\./", "-level=info slow", "/\\bslow\\b/", "/^2.*ok/", "\"ok n\"",
        ]),
        which in 0_usize..3,
        second in 0_i64..60,
        size in 1_u32..12,
    ) {
        let base = base();
        let mut at = 0;
        let seconds: Vec<i64> = steps.iter().map(|it| { at += it; at }).collect();
        // One stream: of several, a file does not know how the lines of one instant stand.
        let all: Vec<(i64, String)> =
            seconds.iter().enumerate().map(|(number, it)| (*it, line(base, *it, number))).collect();
        let loki = Loki::start(all.iter().map(|(at, text)| pushed(base, *at, text, &[("app", "api")])).collect());
        loki.ways().max_entries = max_entries;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f.log");
        std::fs::write(&path, all.iter().map(|it| it.1.clone() + "\n").collect::<String>()).expect("a file");
        let store = Desk::new(&config_of(&loki, ""));
        let file = Desk::new(&format!("[[log]]\nname = 'api'\nfile = '{}'\n", path.display()));
        let anchor = || match which {
            0 => Anchor::Tail,
            1 => Anchor::Head,
            _ => Anchor::Time(base + Duration::from_secs(second.unsigned_abs())),
        };
        let window = |desk: &Desk| desk.ask(request(query, anchor(), (size, size)));
        let (from_store, from_file) = (window(&store), window(&file));
        prop_assert_eq!(shown(&from_store), shown(&from_file));
        prop_assert_eq!(from_store.anchor_row, from_file.anchor_row);
        prop_assert_eq!(from_store.counts.matched, from_file.counts.matched);
    }
}

#[test]
fn mistakes_in_the_config_are_named_with_their_place() {
    let check = |entry: &str, expected: &str| {
        let text = format!("[[log]]\nname = 'a'\n{entry}\n");
        let (_, errors) = config::parse("c.toml", &text);
        let said: Vec<String> = errors.iter().map(|it| format!("{}:{} {}", it.line, it.column, it.message)).collect();
        assert_eq!(said, [expected], "{entry}");
    };
    check("loki = 'http://x'", "3:8 `log.loki` must be a table, not a string");
    check("loki = { url = 'http://x' }", "3:8 `query` is missing in log.loki");
    check("loki = { url = 'ftp://x', query = '{a=\"b\"}' }", "3:16 a store is asked over http or https, not `ftp`");
    check("loki = { url = 'http://x', query = 'api' }", "3:36 this does not begin with a stream selector");
    check("loki = { url = 'http://x', query = '{a=\"b\"}', user = 'u' }", "3:54 `user` without `password`");
    check(
        "loki = { url = 'http://x', query = '{a=\"b\"}', user = 'u', password = 'hunter22', token = 'hunter22' }",
        "3:90 a store takes one kind of credentials",
    );
    check("loki = { url = 'http://x', query = '{a=\"b\"}', poll = '1ms' }", "3:54 `poll` is too short");
    check("elasticsearch = { url = 'http://x' }", "3:17 `index` is missing in log.elasticsearch");
    check("elasticsearch = { url = 'http://x', index = '_all' }", "3:45 `_all` is no index for logs");
    check(
        "elasticsearch = { url = 'http://x', index = 'a', ca = '/nonexistent' }",
        "3:55 could not read certificates from `/nonexistent`: I/O error: No such file or directory (os error 2)",
    );
}
