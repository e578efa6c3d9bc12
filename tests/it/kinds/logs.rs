//! `logs`: lines counted on the runtime's own engine, in files of this test.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hotseat::config;
use hotseat::domain::ids::HostId;
use hotseat::domain::probe::outcome::{Outcome, ProbeResult};
use hotseat::service::log::LogService;
use hotseat::service::probe::Place;
use hotseat::service::probe::run::run_once;
use hotseat::service::{FactSender, ServiceSetup};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

/// Writes a log with one line for each age in seconds, oldest first.
fn write(path: &Path, ages: &[i64], text: &str) {
    let now = Timestamp::now();
    let line = |age: &i64| format!("{:.3} ERROR {text} {age}\n", now - SignedDuration::from_secs(*age));
    fs::write(path, ages.iter().map(line).collect::<String>()).unwrap();
}

async fn look(directory: &Path, probe: &str) -> Outcome {
    let log = directory.join("*.log");
    let text = format!(
        "[[log]]\nname = \"api\"\nfile = {log:?}\n[[query]]\nname = \"out\"\nquery = \"timeout\"\n[[probe]]\nname = \"it\"\nlogs = {probe}\n"
    );
    let (config, errors) = config::parse("c.toml", &text);
    assert!(errors.is_empty(), "{errors:?}");
    let (facts, _) = FactSender::channel();
    let (host, state_dir, cancel) = (HostId::new("h"), directory.join("state"), CancellationToken::new());
    let mut place = Place::alone(host.clone(), &state_dir);
    let setup = ServiceSetup { host, user: "tester".into(), state_dir, facts, cancel: cancel.clone() };
    let _stopped = cancel.drop_guard();
    place.logs = Some(LogService::start(&setup, config.logs.clone()));
    run_once(&config.probes[0], &place, Duration::ZERO).await
}

fn words(outcome: &Outcome) -> (ProbeResult, String) {
    (outcome.result, outcome.trouble.as_ref().map(|it| it.text.clone()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_lines_within_the_time_fail_and_the_newest_are_shown() {
    let directory = tempfile::tempdir().unwrap();
    let mut ages: Vec<i64> = (600..3600).rev().collect();
    ages.extend([50, 40, 30, 20, 12, 10]);
    write(&directory.path().join("a.log"), &ages, "timeout password=hunter22");
    write(&directory.path().join("b.log"), &[400, 11], "\u{1b}[31mtimeout");
    let outcome = look(directory.path(), "{ query = '@out', source = 'api', more_than = '6 in 5m' }").await;
    assert_eq!(words(&outcome), (ProbeResult::Fail, "7 lines in 5m match `@out`, more than 6".into()));
    let lines: Vec<&str> = outcome.evidence.body.lines().collect();
    let ends: Vec<&str> = lines.iter().map(|it| it.rsplit(' ').next().unwrap_or_default()).collect();
    assert_eq!(ends, ["10", "11", "12", "20", "30"], "{lines:?}");
    assert!(!outcome.evidence.body.contains("hunter22") && !outcome.evidence.body.contains('\u{1b}'), "{lines:?}");
    assert_eq!(outcome.evidence.perf[0].value, 7.0);
    let outcome = look(directory.path(), "{ query = '@out', more_than = '7 in 5m' }").await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_fails_and_a_line_within_the_time_does_not() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory.path().join("a.log"), &[5000, 300], "tick");
    let outcome = look(directory.path(), "{ query = 'tick', none_for = '2m' }").await;
    assert_eq!(outcome.result, ProbeResult::Fail);
    assert!(words(&outcome).1.starts_with("no line matches `tick` for 2m"), "{outcome:?}");
    assert_eq!(look(directory.path(), "{ query = 'tick', none_for = '10m' }").await.result, ProbeResult::Ok);
    let outcome = look(directory.path(), "{ query = 'tock', none_for = '10m' }").await;
    assert_eq!(outcome.result, ProbeResult::Fail);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_there_is_unknown_and_never_silent() {
    let directory = tempfile::tempdir().unwrap();
    let outcome = look(directory.path(), "{ query = 'tick', none_for = '2m' }").await;
    assert_eq!(outcome.result, ProbeResult::Unknown, "{outcome:?}");
}
