//! What keeping the history costs: a start with much of it, recording, a commit, a graph.
//!
//! `cargo bench --bench store [-- NAME…]` runs all or the named ones: `restore`, `record` (half a minute long),
//! `commit`, `history`.

mod measure;

use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

use hotseat::clock;
use hotseat::domain::ids::{HostId, ProbeId};
use hotseat::domain::probe::health::Thresholds;
use hotseat::domain::probe::history::HistoryRequest;
use hotseat::domain::probe::outcome::{Evidence, Outcome, Phase, Phases, ProbeResult};
use hotseat::domain::probe::{ProbeKept, Sample};
use hotseat::store::reader::Reader;
use hotseat::store::rollup::Limits;
use hotseat::store::{Commit, Opened, Store};
use jiff::{SignedDuration, Timestamp};
use measure::{process_cpu_s, report, share, time};

/// Probes of a large config.
const PROBES: usize = 1_000;
/// Their pace.
const PACE: Duration = Duration::from_secs(30);
/// Runs of each that are kept before `restore` and `history`: an hour.
const RUNS: i64 = 120;

fn main() {
    measure::run(&[("restore", restore), ("record", record), ("commit", commit), ("history", history)]);
}

/// From the start of the store to what it held.
fn restore() {
    let dir = tempfile::tempdir().expect("temporary directory");
    fill(dir.path());
    let mut took: Vec<Duration> = (0..20)
        .map(|_| {
            let start = clock::monotonic();
            let (store, opened) = open(dir.path());
            let took = start.elapsed();
            assert_eq!(opened.restored.probes.len(), PROBES);
            drop(store);
            took
        })
        .collect();
    took.sort_unstable();
    report("1,000 probes restored", &format!("p50 {}, max {}", time(share(&took, 0.5)), time(share(&took, 1.0))));
}

/// Processor time of keeping a thousand probes at 30 s, as they come.
fn record() {
    let dir = tempfile::tempdir().expect("temporary directory");
    fill(dir.path());
    let (store, _) = open(dir.path());
    settle(&store);
    let (own, start) = (process_cpu_s(std::process::id()), clock::monotonic());
    for probe in 0..PROBES {
        std::thread::sleep((PACE / PROBES as u32 * probe as u32).saturating_sub(start.elapsed()));
        store.record(sample(probe, clock::now(), ProbeResult::Ok));
    }
    std::thread::sleep(PACE.saturating_sub(start.elapsed()));
    settle(&store);
    let share = (process_cpu_s(std::process::id()) - own) / start.elapsed().as_secs_f64();
    report("recording 1,000 probes at 30 s", &format!("{:.2} % of one core", share * 100.0));
}

/// One change of an alert, on disk.
fn commit() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (store, _) = open(dir.path());
    let mut took: Vec<Duration> = (0..500)
        .map(|number| {
            // A row that is as it was would not be written at all.
            let rows = vec![(format!("alert/{}", number % 50), Some(format!("{number:0600}")))];
            let start = clock::monotonic();
            done(&store, Commit { rows, ..Commit::default() });
            start.elapsed()
        })
        .collect();
    took.sort_unstable();
    let at = |it| time(share(&took, it));
    report("a commit that waits for the disk", &format!("p50 {}, p99 {}", at(0.5), at(0.99)));
}

/// The graph of one probe among a thousand.
fn history() {
    let dir = tempfile::tempdir().expect("temporary directory");
    fill(dir.path());
    let mut reader = Reader::new(dir.path(), None);
    let until = clock::now();
    for (name, hours) in [("an hour", 1), ("a day", 24)] {
        let mut took: Vec<Duration> = (0..200)
            .map(|probe| {
                let request = HistoryRequest {
                    generation: 1,
                    probe: id(probe),
                    from: until - SignedDuration::from_hours(hours),
                    until,
                    points: 160,
                    zone: "UTC".into(),
                    as_of: None,
                };
                let start = clock::monotonic();
                assert!(reader.history(&request).expect("read").whole.ok > 0);
                start.elapsed()
            })
            .collect();
        took.sort_unstable();
        let at = |it| time(share(&took, it));
        report(&format!("a graph of {name}, 160 points"), &format!("p50 {}, p99 {}", at(0.5), at(0.99)));
    }
}

/// An hour of a thousand probes, one run in a hundred failed.
fn fill(dir: &Path) {
    let (store, _) = open(dir);
    let begin = clock::now() - SignedDuration::from_secs(RUNS * 30);
    for run in 0..RUNS {
        for probe in 0..PROBES {
            let at = begin + SignedDuration::from_millis(run * 30_000 + probe as i64 * 30);
            let result = if (run as usize + probe).is_multiple_of(100) { ProbeResult::Fail } else { ProbeResult::Ok };
            store.record(sample(probe, at, result));
        }
        settle(&store);
    }
}

fn open(dir: &Path) -> (Store, Opened) {
    let (opened_tx, opened_rx) = channel();
    let store =
        Store::start(dir, Limits::default(), Box::new(|_| true), move |it| opened_tx.send(it).expect("awaited"));
    let opened = opened_rx.recv().expect("opened");
    (store, opened)
}

fn settle(store: &Store) {
    done(store, Commit::default());
}

fn done(store: &Store, commit: Commit) {
    let (done_tx, done_rx) = channel();
    store.commit(commit, Box::new(move |durable| done_tx.send(durable).expect("awaited")));
    assert!(done_rx.recv().expect("an answer"), "on disk");
}

fn id(probe: usize) -> ProbeId {
    ProbeId::new(&HostId::new("bench"), &format!("probe-{probe:04}"))
}

fn sample(probe: usize, at: Timestamp, result: ProbeResult) -> Sample {
    let mut phases = Phases::default();
    for (phase, us) in
        [(Phase::Dns, 700), (Phase::Connect, 900), (Phase::Tls, 4_000), (Phase::Wait, 30_000), (Phase::Body, 300)]
    {
        phases.add(phase, Duration::from_micros(us + probe as u64));
    }
    let evidence = Evidence { status: Some(200), ..Evidence::default() };
    let outcome = Outcome { at, result, phases, trouble: None, evidence, lag: Duration::ZERO, latency_suspect: false };
    let mut kept = ProbeKept::default();
    kept.health.set_thresholds(Thresholds::default());
    for _ in 0..5 {
        kept.health.apply(at, result);
    }
    Sample { probe: id(probe), outcome: outcome.into(), next: Some(at + SignedDuration::from_secs(30)), kept }
}
