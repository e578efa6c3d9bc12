//! What the log engine costs, measured on the library without a screen.
//!
//! `cargo bench --bench logstore [-- NAME…]` runs all or the named ones: `open`, `page`, `far`, `count`, `jump`,
//! `summary`, `merge`, `follow`. Files are generated with a fixed seed into a temporary directory and read from the page cache.
//! `benches/README.md` says what to make of the figures.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use hotseat::clock;
use hotseat::domain::ids::{HostId, SourceId};
use hotseat::domain::log::{Anchor, Counts, HistogramRequest, ViewId, Window, WindowRequest, WindowSource};
use hotseat::domain::query::Query;
use hotseat::domain::query::matcher::Matcher;
use hotseat::logstore::engine::Engine;
use hotseat::logstore::scan::Depth;
use hotseat::logstore::source::Source;
use hotseat::logstore::stream::Stream;
use hotseat::logstore::tail::FileTail;
use hotseat::service::log::{LogService, from_operands};
use hotseat::service::{FactSender, ServiceSetup};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

const MB: u64 = 1_000_000;
/// Repetitions of a figure in milliseconds.
const WINDOWS: usize = 25;
/// Repetitions of a pass over a whole file.
const PASSES: usize = 5;
/// Time of the first line.
const START_MS: i64 = 1_724_025_600_000;
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let is_wanted = |name: &str| named.is_empty() || named.iter().any(|it| it == name);
    let dir = tempfile::tempdir().expect("temporary directory");
    if ["open", "page", "far", "count", "jump"].into_iter().any(is_wanted) {
        let files =
            [("100 MB", 100 * MB), ("1 GB", 1000 * MB)].map(|(name, bytes)| Log::write(dir.path(), name, bytes));
        for (name, bench) in
            [("open", open as fn(&Log)), ("page", page), ("far", far), ("count", count), ("jump", jump)]
        {
            if is_wanted(name) {
                files.iter().for_each(bench);
            }
        }
    }
    if is_wanted("summary") {
        for (name, shape) in [("app", Shape::App), ("access", Shape::Access), ("json", Shape::Json)] {
            summary(&Log::write_shaped(dir.path(), name, 1000 * MB, shape));
        }
    }
    if is_wanted("merge") {
        merge(dir.path());
    }
    if is_wanted("follow") {
        follow(dir.path());
    }
}

/// The newest 50 records, from a file that is not open yet.
fn open(log: &Log) {
    let time = median(WINDOWS, || until_rows(&Engine::new(TimeZone::UTC), log, request("", Anchor::Tail)));
    report(&format!("newest window of {}", log.name), &ms(time));
}

/// The newest 50 matches: of one line in seven hundred, of errors, and of one line in a million.
fn page(log: &Log) {
    for query in ["timeout", "level>=error", "needle"] {
        let time = median(WINDOWS, || until_rows(&Engine::new(TimeZone::UTC), log, request(query, Anchor::Tail)));
        report(&format!("first page of `{query}` in {}", log.name), &ms(time));
        let time = median(WINDOWS, || until_a_row(&Engine::new(TimeZone::UTC), log, request(query, Anchor::Tail)));
        report(&format!("first row of `{query}` in {}", log.name), &ms(time));
    }
}

/// The only match, at one hundredth of the file: everything behind it has to be searched. Beside the least that this
/// takes: all of the file read by two threads, and searched for the text as it stands.
fn far(log: &Log) {
    let mut near = vec![0; 4096];
    File::open(&log.path).expect("opened").read_exact_at(&mut near, log.bytes / 100).expect("read");
    let near = String::from_utf8(near).expect("text");
    let at = near.find(" req=").expect("a request") + 1;
    let wanted = &near[at..at + "req=0123456789ab".len()];
    let mut figures: [Vec<Duration>; 3] = Default::default();
    for _ in 0..WINDOWS {
        figures[0].push(until_a_row(&Engine::new(TimeZone::UTC), log, request(wanted, Anchor::Tail)));
        figures[1].push(read_by_two(&log.path, None));
        figures[2].push(read_by_two(&log.path, Some(wanted)));
    }
    let [row, read, searched] = figures.map(|mut it| {
        it.sort_unstable();
        it[it.len() / 2]
    });
    report(
        &format!("first row of one match at 1 % of {}", log.name),
        &format!("{}; read by two threads {}, and searched {}", ms(row), ms(read), ms(searched)),
    );
}

/// Reads a file by two threads, a block at a time.
fn read_by_two(path: &Path, wanted: Option<&str>) -> Duration {
    let started = clock::monotonic();
    let file = File::open(path).expect("opened");
    let (next, found) = (AtomicU64::new(0), AtomicU64::new(0));
    let finder = wanted.map(memchr::memmem::Finder::new);
    let work = || {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let offset = next.fetch_add(buffer.len() as u64, Ordering::Relaxed);
            let count = file.read_at(&mut buffer, offset).expect("read");
            if count == 0 {
                return;
            }
            let is_found = finder.as_ref().is_some_and(|it| it.find(&buffer[..count]).is_some());
            found.fetch_add(u64::from(is_found), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    std::hint::black_box(found.into_inner());
    started.elapsed()
}

/// All matches, beside what it takes to read the file and to find its line ends.
fn count(log: &Log) {
    let plain = median(PASSES, || {
        let started = clock::monotonic();
        std::hint::black_box(count_newlines(&log.path));
        started.elapsed()
    });
    let rate = |time: Duration| format!("{:.2} GB/s", log.bytes as f64 / 1e9 / time.as_secs_f64());
    report(&format!("line ends of {}, one thread", log.name), &format!("{} {}", ms(plain), rate(plain)));
    let cases = [("timeout", Depth::Matches), ("/time(d )?out/", Depth::Matches), ("timeout", Depth::Records)];
    for (query, depth) in cases.into_iter().chain([("level>=warn", Depth::Matches), ("", Depth::Matches)]) {
        let mut counts = Counts::default();
        let time = median(PASSES, || {
            let engine = Engine::new(TimeZone::UTC);
            log.open(&engine);
            let started = clock::monotonic();
            counts = Stream::new(&engine, matcher(query), 0).count(depth);
            started.elapsed()
        });
        let what = if depth == Depth::Records { " and all records" } else { "" };
        let ratio = time.as_secs_f64() / plain.as_secs_f64();
        report(
            &format!("count `{query}`{what} in {}", log.name),
            &format!("{} {} ratio {ratio:.2} ({} matches)", ms(time), rate(time), counts.matched),
        );
    }
}

/// Everything counted by time and level, then queries on top of it.
fn summary(log: &Log) {
    let all = |query: &str| WindowRequest {
        count: true,
        chip_counts: true,
        histogram: Some(HistogramRequest { from: None, until: None, buckets: 200 }),
        ..request(query, Anchor::Tail)
    };
    let mut bytes_per_line = 0.0;
    let time = median(PASSES, || {
        let engine = Engine::new(TimeZone::UTC);
        let (time, window) = until_counted(&engine, log, all(""));
        let kept = engine.inner().everything(true).counts.size_bytes();
        bytes_per_line = kept as f64 / window.counts.scanned as f64;
        time
    });
    let rate = log.bytes as f64 / 1e9 / time.as_secs_f64();
    report(
        &format!("1 GB of {} summed up", log.name),
        &format!("{} {rate:.2} GB/s, {bytes_per_line:.2} bytes a line", ms(time)),
    );
    let engine = Engine::new(TimeZone::UTC);
    until_counted(&engine, log, all(""));
    for query in ["/ERROR.*timeout/", "/ERROR.*timeout/ 30000", "level>=warn", "level>=warn timeout", ""] {
        let (time, window) = until_counted(&engine, log, all(query));
        report(&format!("then count `{query}`"), &format!("{} ({} matches)", ms(time), window.counts.matched));
    }
}

/// 200 files of 5 MB on one clock: the newest screen, then page by page. Files that say the same at the same time have
/// their pages and blocks end at the same time as well, which is the worst that can be.
fn merge(dir: &Path) {
    const PAGES: usize = 300;
    for (what, seeds) in [("200 files", 200), ("200 files alike", 1)] {
        let write = |number: u64| {
            let lines = Lines { random: fastrand::Rng::with_seed(20_240_819 + number % seeds), ..Lines::new() };
            Log::write_lines(dir, &format!("merge-{number}"), 5 * MB, lines)
        };
        let logs: Vec<Log> = (0..200).map(write).collect();
        for query in ["", "timeout"] {
            let mut engine = Engine::new(TimeZone::UTC);
            let mut first = None;
            let time = median(PASSES, || {
                engine = Engine::new(TimeZone::UTC);
                let started = clock::monotonic();
                logs.iter().for_each(|it| it.open(&engine));
                first = Some(answer(&engine, request(query, Anchor::Tail)));
                started.elapsed()
            });
            report(&format!("newest window of {what} `{query}`"), &ms(time));
            let mut window = first.expect("a window");
            let mut processor = Vec::with_capacity(PAGES);
            let mut times: Vec<Duration> = (0..PAGES)
                .map(|_| {
                    let top = window.rows.as_ref().and_then(|it| it.first()?.position().cloned()).expect("a row");
                    let (started, before) = (clock::monotonic(), processor_time());
                    window = answer(&engine, request(query, Anchor::At(top)));
                    let time = started.elapsed();
                    processor.push(processor_time() - before);
                    time
                })
                .collect();
            times.sort_unstable();
            processor.sort_unstable();
            let of = |it: &[Duration]| format!("p50 {}, p99 {}", ms(it[PAGES / 2]), ms(it[PAGES * 99 / 100]));
            report(&format!("a page of {what} `{query}`"), &format!("{}; processor {}", of(&times), of(&processor)));
        }
    }
}

/// Processor time of this process.
fn processor_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(spent.tv_sec).unwrap_or(0), u32::try_from(spent.tv_nsec).unwrap_or(0))
}

/// The records around a time in the middle, without an index.
fn jump(log: &Log) {
    let anchor = || Anchor::Time(log.middle);
    let time = median(WINDOWS, || until_rows(&Engine::new(TimeZone::UTC), log, request("", anchor())));
    report(&format!("jump to a time in {}", log.name), &ms(time));
}

/// A followed and filtered tail while a file grows by 100,000 lines a second.
fn follow(dir: &Path) {
    const SECONDS: u64 = 5;
    const LINES_PER_SECOND: u64 = 100_000;
    let path = dir.join("flood.log");
    File::create(&path).expect("created");
    let (facts, _) = FactSender::channel();
    let setup = ServiceSetup {
        host: HostId::new("bench"),
        user: "bench".into(),
        state_dir: dir.to_path_buf(),
        facts,
        cancel: CancellationToken::new(),
    };
    let service = LogService::start_opened(&setup, from_operands(&[path.display().to_string()]));
    let matched = Arc::new(AtomicU64::new(0));
    let windows = Arc::new(AtomicU64::new(0));
    let (seen, shown) = (Arc::clone(&matched), Arc::clone(&windows));
    let take = move |window: Window| {
        seen.fetch_max(window.counts.matched, Ordering::Relaxed);
        shown.fetch_add(u64::from(window.rows.is_some()), Ordering::Relaxed);
        true
    };
    let request = WindowRequest { follow: true, count: true, ..request("timeout", Anchor::Tail) };
    service.engine().request(request, Box::new(take));
    let mut file = OpenOptions::new().append(true).open(&path).expect("opened");
    let mut lines = Lines::new();
    let (mut written, mut matching) = (0, 0);
    let mut text = String::new();
    let started = clock::monotonic();
    while written < SECONDS * LINES_PER_SECOND {
        let due = (started.elapsed().as_secs_f64() * LINES_PER_SECOND as f64) as u64;
        text.clear();
        while written < due.min(SECONDS * LINES_PER_SECOND) {
            let from = text.len();
            lines.push(&mut text);
            matching += u64::from(text[from..].to_ascii_lowercase().contains("timeout"));
            written += 1;
        }
        file.write_all(text.as_bytes()).expect("appended");
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = started.elapsed();
    let cpu = engine_cpu();
    let deadline = clock::monotonic() + PATIENCE;
    while matched.load(Ordering::Relaxed) < matching && clock::monotonic() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let lost = matching - matched.load(Ordering::Relaxed).min(matching);
    let share = 100.0 * cpu.as_secs_f64() / took.as_secs_f64();
    let shown = windows.load(Ordering::Relaxed) as f64 / took.as_secs_f64();
    report(
        "follow 100,000 lines/s with a filter",
        &format!("{share:.1} % of one core, {lost} of {matching} matches lost, {shown:.0} windows/s"),
    );
    setup.cancel.cancel();
}

/// Processor time of the engine's threads; Linux only.
fn engine_cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        let spent = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let watches = name.starts_with("log-") || name.starts_with("notify");
        watches.then(|| spent.split(' ').next()?.parse::<u64>().ok()).flatten()
    });
    Duration::from_nanos(nanos.sum())
}

/// A file that does not change.
struct Log {
    name: String,
    path: PathBuf,
    bytes: u64,
    middle: Timestamp,
}

impl Log {
    fn write(dir: &Path, name: &str, bytes: u64) -> Self {
        Self::write_shaped(dir, name, bytes, Shape::App)
    }

    fn write_shaped(dir: &Path, name: &str, bytes: u64, shape: Shape) -> Self {
        Self::write_lines(dir, name, bytes, Lines { shape, ..Lines::new() })
    }

    fn write_lines(dir: &Path, name: &str, bytes: u64, mut lines: Lines) -> Self {
        let path = dir.join(name);
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).expect("created"));
        let (mut written, mut middle) = (0, 0);
        let mut text = String::new();
        while written < bytes {
            text.clear();
            lines.push(&mut text);
            file.write_all(text.as_bytes()).expect("written");
            written += text.len() as u64;
            if written <= bytes / 2 {
                middle = lines.at_ms;
            }
        }
        // What the kernel still has to write would be measured with the first figures.
        file.into_inner().expect("written").sync_all().expect("synced");
        count_newlines(&path);
        let middle = Timestamp::from_millisecond(middle).expect("a time");
        Self { name: name.into(), path, bytes: written, middle }
    }

    fn open(&self, engine: &Engine) {
        let name = self.name.as_str();
        let source = Source::new(SourceId::new(&HostId::new("bench"), name), name, name);
        let mut tail = FileTail::new(Arc::new(source), &self.path);
        engine.add(Arc::clone(&tail.source));
        tail.look(clock::now(), clock::monotonic());
    }
}

/// What lines look like.
#[derive(Clone, Copy)]
enum Shape {
    /// Text, one line in twenty JSON.
    App,
    /// What nginx writes of requests.
    Access,
    /// JSON as zap writes it.
    Json,
}

/// Lines as services write them: one in seven hundred a timeout.
struct Lines {
    shape: Shape,
    random: fastrand::Rng,
    at_ms: i64,
}

impl Lines {
    fn new() -> Self {
        Self { shape: Shape::App, random: fastrand::Rng::with_seed(20_240_819), at_ms: START_MS }
    }

    fn push(&mut self, text: &mut String) {
        use std::fmt::Write as _;
        const SERVICES: [&str; 6] = ["gateway", "checkout", "ledger", "mailer", "search", "storage"];
        const MESSAGES: [&str; 5] = [
            "handled method=GET path=/api/v1/orders status=200 latency_ms=29",
            "cache hit for key took_us=6352 shard=31",
            "reconciled ledger batch took_us=12750 shard=24",
            "warmed up connection pool size=64 took_us=14333",
            "consumer lag sampled topic=orders partition=7 lag=112",
        ];
        let random = &mut self.random;
        self.at_ms += random.i64(0..20);
        let at = Timestamp::from_millisecond(self.at_ms).unwrap_or_default();
        let service = SERVICES[random.usize(..SERVICES.len())];
        let request = random.u64(..) >> 16;
        let (level, message) = match random.u32(..7_000_000) {
            0..7 => ("ERROR", "needle in the haystack"),
            7..10_000 => ("ERROR", "upstream timeout after 30000 ms"),
            10_000..100_000 => ("WARN ", "pool nearly exhausted (60/64)"),
            100_000..1_000_000 => ("DEBUG", MESSAGES[random.usize(..MESSAGES.len())]),
            _ => ("INFO ", MESSAGES[random.usize(..MESSAGES.len())]),
        };
        if let Shape::Access = self.shape {
            let status = match level {
                "ERROR" => 502,
                "WARN " => 404,
                _ => 200,
            };
            let (time, size) = (at.strftime("%d/%b/%Y:%H:%M:%S +0000"), request % 40_000);
            let client = format!("10.{}.{}.{}", size % 7, size % 211, size % 250);
            writeln!(
                text,
                "{client} - - [{time}] \"GET /api/v1/{service}/{request:x} HTTP/1.1\" {status} {size} \"-\" \"curl/7.88.1\""
            )
            .expect("memory takes everything");
            return;
        }
        let written = if matches!(self.shape, Shape::Json) || random.u32(..20) == 0 {
            let level = level.trim_end().to_ascii_lowercase();
            writeln!(
                text,
                r#"{{"ts":"{at:.3}","level":"{level}","svc":"{service}","req":"{request:012x}","msg":"{message}"}}"#
            )
        } else {
            writeln!(text, "{at:.3} {level} [{service}] [worker-{}] req={request:012x} {message}", request % 16)
        };
        written.expect("memory takes everything");
    }
}

fn request(query: &str, anchor: Anchor) -> WindowRequest {
    WindowRequest { query: query.into(), ..WindowRequest::new(ViewId(1), 1, anchor, (25, 25)) }
}

fn matcher(query: &str) -> Matcher {
    let query = Query::parse(query).expect("a query");
    Matcher::new(&query, Timestamp::UNIX_EPOCH, &TimeZone::UTC).expect("a query that runs")
}

/// Opens the file and asks: how long until the last rows of the answer.
fn until_rows(engine: &Engine, log: &Log, request: WindowRequest) -> Duration {
    let started: Instant = clock::monotonic();
    log.open(engine);
    let (windows_tx, windows_rx) = sync_channel(100);
    engine.request(request, Box::new(move |window| windows_tx.send(window).is_ok()));
    // The engine drops its end when the answer is complete; interim windows come before.
    let mut last = None;
    while let Ok(window) = windows_rx.recv_timeout(PATIENCE) {
        last = Some((window, started.elapsed()));
    }
    let (window, time) = last.expect("an answer");
    assert!(window.rows.is_some_and(|it| !it.is_empty()), "no rows");
    time
}

/// Asks: how long until there is a row, also while the others are still looked for.
fn until_a_row(engine: &Engine, log: &Log, request: WindowRequest) -> Duration {
    let started = clock::monotonic();
    log.open(engine);
    let (windows_tx, windows_rx) = sync_channel(100);
    engine.request(request, Box::new(move |window| windows_tx.send(window).is_ok()));
    loop {
        let window = windows_rx.recv_timeout(PATIENCE).expect("a row");
        if window.rows.is_some_and(|it| !it.is_empty()) {
            return started.elapsed();
        }
    }
}

/// Asks for counts of a file that is open or not yet: how long until they are complete.
fn until_counted(engine: &Engine, log: &Log, request: WindowRequest) -> (Duration, Window) {
    let started = clock::monotonic();
    if engine.sources().is_empty() {
        log.open(engine);
    }
    let (windows_tx, windows_rx) = sync_channel(1000);
    engine.request(request, Box::new(move |window| windows_tx.send(window).is_ok()));
    loop {
        let window = windows_rx.recv_timeout(PATIENCE).expect("an answer");
        if window.counts.complete {
            return (started.elapsed(), window);
        }
    }
}

/// The final window of a request without counts.
fn answer(engine: &Engine, request: WindowRequest) -> Window {
    let (windows_tx, windows_rx) = sync_channel(100);
    engine.request(request, Box::new(move |window| windows_tx.send(window).is_ok()));
    let mut last = None;
    while let Ok(window) = windows_rx.recv_timeout(PATIENCE) {
        last = Some(window);
    }
    last.expect("an answer")
}

fn count_newlines(path: &Path) -> usize {
    let file = File::open(path).expect("opened");
    let mut buffer = vec![0; 256 * 1024];
    let (mut offset, mut lines) = (0, 0);
    loop {
        let count = file.read_at(&mut buffer, offset).expect("read");
        if count == 0 {
            return lines;
        }
        lines += memchr::memchr_iter(b'\n', &buffer[..count]).count();
        offset += count as u64;
    }
}

fn median(times: usize, mut measure: impl FnMut() -> Duration) -> Duration {
    let mut measured: Vec<Duration> = (0..times).map(|_| measure()).collect();
    measured.sort_unstable();
    measured[times / 2]
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// Prints a figure with its name.
fn report(name: &str, figure: &str) {
    let _ = writeln!(std::io::stdout(), "{name:<52} {figure}");
}
