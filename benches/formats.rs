//! What reading a line costs: its timestamp, its level, one of its fields, and making it readable.
//!
//! `cargo bench --bench formats [-- NAME]`. Lines are generated, of the lengths that real ones have; a figure
//! is the time for `LINES` lines. `benches/README.md` says what to make of it.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use hotseat::logstore::format::readable::{self, Known};
use hotseat::logstore::format::{Reading, fields};
use hotseat::logstore::record::count_records;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Lines of a sample: two megabytes or so.
const LINES: usize = 10_000;
/// Time of the first line.
const START_MS: i64 = 1_793_491_200_000;

const FORMATS: [&str; 6] = ["app", "access", "json", "zap", "syslog", "plain"];

fn main() {
    divan::main();
}

/// Lines as one of the usual programs writes them.
fn sample(format: &str) -> Vec<String> {
    (0..LINES)
        .map(|number| {
            let at = Timestamp::from_millisecond(START_MS + number as i64 * 17).unwrap_or_default();
            let (level, status) = [("INFO", 200), ("DEBUG", 204), ("WARN", 404), ("ERROR", 502)][number * 7 % 4];
            let (low, took) = (level.to_lowercase(), number * 37 % 900);
            match format {
                "app" => format!(
                    "{at:.3} {level:<5} [shipping] [worker-{}] req=d294ce2b{number:04x} handled method=PUT path=/api/v1/search status={status} latency_ms={took}.5 bytes=77549 user=u18408\n",
                    number % 16
                ),
                "access" => format!(
                    "154.23.135.{} - - [{}] \"GET /api/v1/payments/intent?id={number} HTTP/1.1\" {status} {took} \"-\" \"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36\"\n",
                    number % 250,
                    at.strftime("%d/%b/%Y:%H:%M:%S +0000")
                ),
                "json" => format!(
                    "{{\"level\":\"{low}\",\"time\":\"{at:.3}\",\"logger\":\"auth\",\"caller\":\"server/handler.go:44\",\"msg\":\"feature flag evaluated\",\"request_id\":\"37e9671c4567{number:04x}\",\"method\":\"PUT\",\"path\":\"/api/v2/users/profile\",\"status\":{status},\"duration_ms\":{took},\"user\":\"u25669\"}}\n"
                ),
                "zap" => format!(
                    "{{\"level\":\"{low}\",\"ts\":{}.{:03},\"caller\":\"server/handler.go:44\",\"msg\":\"feature flag evaluated\",\"status\":{status},\"user\":\"u25669\"}}\n",
                    at.as_second(),
                    number % 1000
                ),
                "syslog" => format!("{} web-1 sshd[{number}]: Accepted publickey for app from 10.0.0.1 port {took}\n", at.strftime("%b %e %H:%M:%S")),
                _ => format!("a line of text without a time, number {number}, status={status}\n"),
            }
        })
        .collect()
}

fn reader() -> hotseat::logstore::stamp::StampReader {
    let reference = Timestamp::from_millisecond(START_MS).unwrap_or_default();
    Reading::default().stamp_reader(&TimeZone::UTC, reference)
}

/// What a summary needs of every line.
#[divan::bench(args = FORMATS)]
fn stamp_and_level(bencher: Bencher<'_, '_>, format: &str) {
    let lines = sample(format);
    bencher.counter(ItemsCount::new(LINES)).bench_local(|| {
        let mut reader = reader();
        for line in &lines {
            let stamp = reader.read(line.as_bytes());
            let end = stamp.as_ref().map_or(0, |it| it.range.end);
            black_box(reader.level(line.as_bytes(), line.len(), end));
        }
    });
}

/// What counting needs of every line.
#[divan::bench(args = FORMATS)]
fn records(bencher: Bencher<'_, '_>, format: &str) {
    let text = sample(format).concat();
    bencher.counter(ItemsCount::new(LINES)).bench_local(|| black_box(count_records(text.as_bytes(), 0, &mut reader())));
}

/// What a field chip that nothing leads needs of every line.
#[divan::bench(args = FORMATS)]
fn field(bencher: Bencher<'_, '_>, format: &str) {
    let lines = sample(format);
    let reading = Reading::default();
    let ends: Vec<usize> = {
        let mut reader = reader();
        lines.iter().map(|it| reader.read(it.as_bytes()).map_or(0, |it| it.range.end)).collect()
    };
    bencher.counter(ItemsCount::new(LINES)).bench_local(|| {
        for (line, end) in lines.iter().zip(&ends) {
            black_box(fields::find(line.as_bytes(), *end, &reading, "status"));
        }
    });
}

/// What a JSON line on the screen needs.
#[divan::bench(args = ["json", "zap"])]
fn made_readable(bencher: Bencher<'_, '_>, format: &str) {
    let lines = sample(format);
    let reading = Reading::default();
    bencher.counter(ItemsCount::new(LINES)).bench_local(|| {
        for line in &lines {
            black_box(readable::read(line.as_bytes(), 0, &reading, Known { time: true, level: true }));
        }
    });
}
