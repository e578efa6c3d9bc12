//! The log view beside the programs that people use today, in one run: less, lnav, ripgrep, `tail | grep`.
//!
//! `cargo bench --bench peers [-- NAME…]` runs all or the named ones: `open`, `filter`, `sum`, `count`, `print`,
//! `memory`, `live`, `flood`, `many`, `idle`. A peer that is not installed is left out. Data is generated with a
//! fixed seed below the temporary directory (`TMPDIR`), up to 4 GB of it with `open` and `memory`; files are read
//! from the page cache. `benches/README.md` says what to make of the figures.

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/support/pty.rs"]
mod pty;

mod measure;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hotseat::clock;
use jiff::Timestamp;
use measure::report;
use pty::{Launch, Pty};

const MB: u64 = 1_000_000;
/// Repetitions of a figure.
const ROUNDS: usize = 7;
/// What a live figure watches.
const WATCHED: Duration = Duration::from_secs(20);
/// Time of the first line.
const START_MS: i64 = 1_787_149_800_000;
/// The only line that has it is the last one.
const LAST: &str = "the-last-line";

fn main() {
    measure::run(&[
        ("open", open),
        ("filter", filter),
        ("sum", sum),
        ("count", count),
        ("print", print),
        ("memory", memory),
        ("live", live),
        ("flood", flood),
        ("many", many),
        ("idle", idle),
    ]);
}

/// Start of the program to the newest line on the screen.
fn open() {
    for bytes in [100 * MB, 1000 * MB, 4000 * MB] {
        let log = Log::write(Shape::App, bytes);
        let ours = median(ROUNDS, || until_shown(Launch::new(&[log.name()]), LAST));
        beside(&format!("newest rows of {}", log.size()), ours, "less +G", "less", || {
            median(ROUNDS, || until_shown(Launch::program("less", &["+G", log.name()]), LAST))
        });
        if bytes <= 1000 * MB {
            beside(&format!("newest rows of {}", log.size()), ours, "lnav", "lnav", || {
                median(3, || until_shown(Launch::program("lnav", &["-q", log.name()]), LAST))
            });
        }
    }
}

/// A filter typed in one go, with Enter behind it, to a first page of nothing but matches.
fn filter() {
    let log = Log::write(Shape::App, 1000 * MB);
    let time = median(ROUNDS, || {
        let mut pty = Launch::new(&[log.name()]).size(120, 40).start();
        pty.wait_for(LAST);
        // The log filters while it is typed: behind a pause before Enter there would be nothing left to wait for.
        let start = clock::monotonic();
        pty.keys("f/ERROR.*timeout/\r");
        pty.wait_until("a page of matches", |screen| {
            let text = screen.contents();
            text.matches(" ERROR ").count() >= 10 && !text.contains(" INFO ")
        });
        start.elapsed()
    });
    report(&format!("filter {} to the first page", log.size()), &ms(time));
}

/// The whole file by time and level.
fn sum() {
    for shape in [Shape::App, Shape::Access, Shape::Json] {
        let log = Log::write(shape, 1000 * MB);
        let ours = median(ROUNDS, || wall(&mut ours(&["logs", log.name(), "--histogram", "--json"])));
        let what = format!("histogram of {} {}", log.size(), shape.name());
        beside(&what, ours, "lnav -n (index)", "lnav", || {
            let select = ";SELECT log_level, count(*) FROM all_logs GROUP BY log_level";
            median(1, || wall(Command::new("lnav").args(["-n", "-q", "-c", select, log.name()])))
        });
    }
}

/// How many records match.
fn count() {
    let log = Log::write(Shape::App, 1000 * MB);
    for pattern in ["ERROR.*timeout", "timeout", "(?i)pool (nearly )?exhausted"] {
        let query = format!("/{pattern}/");
        let ours = median(ROUNDS, || wall(&mut ours(&["logs", log.name(), "--count", "-q", &query])));
        beside(&format!("count {query} in {}", log.size()), ours, "rg -c", "rg", || {
            median(ROUNDS, || wall(Command::new("rg").args(["-c", pattern, log.name()])))
        });
    }
}

/// All matches into a pipe that is read.
fn print() {
    let log = Log::write(Shape::App, 1000 * MB);
    for pattern in ["ERROR", "ERROR.*timeout", "INFO"] {
        let query = format!("/{pattern}/");
        let ours = median(ROUNDS, || wall_read(&mut ours(&["logs", log.name(), "-q", &query])));
        beside(&format!("print {query} of {}", log.size()), ours, "rg", "rg", || {
            median(ROUNDS, || wall_read(Command::new("rg").args([pattern, log.name()])))
        });
    }
    let ours = median(ROUNDS, || wall_read(&mut ours(&["logs", log.name()])));
    beside(&format!("print all of {}", log.size()), ours, "rg ''", "rg", || {
        median(ROUNDS, || wall_read(Command::new("rg").args(["", log.name()])))
    });
}

/// Private memory with a filter on and everything counted.
fn memory() {
    for bytes in [1000 * MB, 4000 * MB] {
        let log = Log::write(Shape::App, bytes);
        let mut pty = Launch::new(&[log.name()]).size(120, 40).start();
        pty.wait_for(LAST);
        let idle = private_bytes(&pty);
        pty.keys("f/ERROR.*timeout/\r");
        pty.wait_silent(Duration::from_secs(3));
        let after = private_bytes(&pty);
        let per_line = after as f64 / log.lines as f64;
        let figure =
            format!("{:.1} MB open, {:.1} MB filtered and counted, {per_line:.2} B per line", mb(idle), mb(after));
        report(&format!("private memory with {}", log.size()), &figure);
    }
}

/// How old the newest line on the screen is while 10,000 lines a second come.
fn live() {
    let log = Log::write(Shape::App, MB);
    let pty = Launch::new(&[log.name()]).size(120, 40).start();
    pty.wait_for(LAST);
    let writer = Writer::start(log.path.clone(), 10_000);
    pty.wait_for("written-at=");
    let (mut ages, bytes, cpu) = (Vec::new(), pty.bytes(), measure::process_cpu_s(pty.pid()));
    let start = clock::monotonic();
    while start.elapsed() < WATCHED {
        let newest = newest_written_at(&pty);
        ages.extend(newest.map(|it| Duration::from_micros(writer.now_micros().saturating_sub(it))));
        std::thread::sleep(Duration::from_millis(7));
    }
    let seconds = start.elapsed().as_secs_f64();
    let (bytes, cpu) = ((pty.bytes() - bytes) as f64 / seconds, measure::process_cpu_s(pty.pid()) - cpu);
    writer.stop();
    ages.sort_unstable();
    let at = |share: f64| ms(ages[((ages.len() - 1) as f64 * share) as usize]);
    let figure =
        format!("p50 {}, p99 {}, {:.1} kB/s, {:.1} % of a core", at(0.5), at(0.99), bytes / 1e3, 100.0 * cpu / seconds);
    report("behind 10,000 lines/s, 120x40", &figure);
}

/// A filter on 100,000 lines a second: what it costs and what is lost, numbered lines checked end to end.
fn flood() {
    for (name, peer) in [("hotseat logs -f", None), ("tail -F | grep", Some("tail"))] {
        let log = Log::write(Shape::App, MB);
        let mut command = match peer {
            None => ours(&["logs", log.name(), "-f", "-q", "/number=[0-9]*7 /"]),
            Some(_) => {
                let mut command = Command::new("sh");
                let script = r#"tail -n +1 -F "$1" 2>/dev/null | grep --line-buffered 'number=[0-9]*7 '"#;
                command.args(["-c", script, "sh", log.name()]);
                command
            }
        };
        let mut child = command.stdout(Stdio::piped()).spawn().expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let writer = Writer::start(log.path.clone(), 100_000);
        let start = clock::monotonic();
        let (mut expected, mut lost) = (7, 0);
        while start.elapsed() < WATCHED {
            let Some(Ok(line)) = lines.next() else { break };
            let Some(number) = field(&line, "number=") else { continue };
            lost += number.saturating_sub(expected) / 10;
            expected = number + 10;
        }
        let (seconds, cpu) = (start.elapsed().as_secs_f64(), tree_cpu_s(child.id()));
        writer.stop();
        let _ = child.kill();
        let _ = child.wait();
        let figure = format!("{:.1} % of a core, {lost} of {} lost", 100.0 * cpu / seconds, expected / 10);
        report(&format!("filter on 100,000 lines/s, {name}"), &figure);
    }
}

/// Start to the newest line of 200 files.
fn many() {
    let dir = tempfile::tempdir().expect("temporary directory");
    for number in 0..200 {
        Log::write_in(dir.path(), &format!("s{number:03}.log"), Shape::App, 5 * MB);
    }
    let names: Vec<String> =
        (0..200).map(|it| dir.path().join(format!("s{it:03}.log")).display().to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ours = median(ROUNDS, || until_shown(Launch::new(&names), LAST));
    beside("newest rows of 200 files of 5 MB", ours, "lnav", "lnav", || {
        let arguments = [&["-q"], names.as_slice()].concat();
        median(1, || until_shown(Launch::program("lnav", &arguments), LAST))
    });
}

/// What an open file of 1 GB costs while nothing happens.
fn idle() {
    let log = Log::write(Shape::App, 1000 * MB);
    for (name, launch) in [
        ("hotseat", Launch::new(&[log.name()])),
        ("less", Launch::program("less", &["+G", log.name()])),
        ("lnav", Launch::program("lnav", &["-q", log.name()])),
    ] {
        if name != "hotseat" && !is_installed(name) {
            continue;
        }
        let pty = launch.start();
        pty.wait_for(LAST);
        std::thread::sleep(Duration::from_secs(8));
        let (bytes, wakes) = (pty.bytes(), wake_ups(&pty));
        std::thread::sleep(WATCHED);
        let rate = (wake_ups(&pty) - wakes) as f64 / WATCHED.as_secs_f64();
        report(
            &format!("idle with {}, {name}", log.size()),
            &format!("{rate:.2} wake-ups/s, {} bytes", pty.bytes() - bytes),
        );
    }
}

/// The shape of generated lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    App,
    Access,
    Json,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Self::App => "of services",
            Self::Access => "of nginx",
            Self::Json => "of JSON lines",
        }
    }
}

/// A generated file.
struct Log {
    _dir: Option<tempfile::TempDir>,
    path: PathBuf,
    name: String,
    bytes: u64,
    lines: u64,
}

impl Log {
    fn write(shape: Shape, bytes: u64) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let log = Self::write_in(dir.path(), "app.log", shape, bytes);
        Self { _dir: Some(dir), ..log }
    }

    fn write_in(dir: &Path, name: &str, shape: Shape, bytes: u64) -> Self {
        let path = dir.join(name);
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).expect("created"));
        let mut random = fastrand::Rng::with_seed(20_260_819);
        let (mut at_ms, mut written, mut lines, mut text) = (START_MS, 0, 0, String::new());
        while written < bytes {
            text.clear();
            line(&mut text, &mut random, &mut at_ms, shape);
            file.write_all(text.as_bytes()).expect("written");
            written += text.len() as u64;
            lines += 1;
        }
        let at = Timestamp::from_millisecond(at_ms).expect("a time");
        let last = match shape {
            Shape::App => format!("{at:.3} INFO [marker] [main] {LAST}\n"),
            Shape::Access => access(at, &format!("/{LAST}"), 200),
            Shape::Json => format!(r#"{{"level":"info","time":"{at:.3}","msg":"{LAST}"}}"#) + "\n",
        };
        file.write_all(last.as_bytes()).expect("written");
        // What the kernel still has to write would be measured with the first figures.
        file.into_inner().expect("written").sync_all().expect("synced");
        Self { _dir: None, name: path.display().to_string(), path, bytes: written, lines }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> String {
        hotseat::domain::format::bytes(self.bytes)
    }
}

fn line(text: &mut String, random: &mut fastrand::Rng, at_ms: &mut i64, shape: Shape) {
    use std::fmt::Write as _;
    const SERVICES: [&str; 6] = ["gateway", "checkout", "ledger", "mailer", "search", "storage"];
    const MESSAGES: [&str; 4] = [
        "handled method=GET path=/api/v1/orders status=200 latency_ms=29",
        "cache hit for key took_us=6352 shard=31",
        "reconciled ledger batch took_us=12750 shard=24",
        "consumer lag sampled topic=orders partition=7 lag=112",
    ];
    *at_ms += random.i64(0..20);
    let at = Timestamp::from_millisecond(*at_ms).unwrap_or_default();
    let service = SERVICES[random.usize(..SERVICES.len())];
    let request = random.u64(..) >> 16;
    let (level, message) = match random.u32(..1000) {
        0..2 => ("ERROR", "upstream timeout after 30000 ms"),
        2..7 => ("ERROR", "connection refused"),
        7..20 => ("WARN", "pool nearly exhausted (60/64)"),
        _ => ("INFO", MESSAGES[random.usize(..MESSAGES.len())]),
    };
    let written = match shape {
        Shape::App => {
            let written =
                writeln!(text, "{at:.3} {level:5} [{service}] [worker-{}] req={request:012x} {message}", request % 16);
            if level == "ERROR" && random.u8(..10) == 0 {
                text.push_str("java.net.SocketTimeoutException: read\n\tat com.example.Client.call(Client.java:81)\n\tat com.example.Pay.run(Pay.java:7)\n");
            }
            written
        }
        Shape::Access => {
            text.push_str(&access(at, "/api/v1/orders", if level == "ERROR" { 502 } else { 200 }));
            Ok(())
        }
        Shape::Json => {
            let level = level.to_ascii_lowercase();
            writeln!(
                text,
                r#"{{"level":"{level}","time":"{at:.3}","svc":"{service}","req":"{request:012x}","msg":"{message}"}}"#
            )
        }
    };
    written.expect("memory takes everything");
}

fn access(at: Timestamp, path: &str, status: u16) -> String {
    let at = at.strftime("%d/%b/%Y:%H:%M:%S +0000");
    format!("192.0.2.7 - - [{at}] \"GET {path} HTTP/1.1\" {status} 1571 \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\"\n")
}

/// A thread that appends numbered lines with the time of their writing, at a steady rate.
struct Writer {
    started: Instant,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Writer {
    fn start(path: PathBuf, lines_per_second: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopping, started) = (stop.clone(), clock::monotonic());
        let thread = std::thread::spawn(move || {
            use std::fmt::Write as _;
            let mut file = OpenOptions::new().append(true).open(path).expect("opened");
            let (mut number, mut text) = (0, String::new());
            while !stopping.load(Ordering::Relaxed) {
                let micros = started.elapsed().as_micros() as u64;
                text.clear();
                while number < micros * lines_per_second / 1_000_000 {
                    number += 1;
                    let at = clock::now();
                    writeln!(text, "{at:.3} INFO [writer] number={number} written-at={micros:012} pool fine")
                        .expect("written");
                }
                file.write_all(text.as_bytes()).expect("appended");
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self { started, stop, thread }
    }

    fn now_micros(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer ended by itself");
    }
}

/// The newest time of writing that is on the screen.
fn newest_written_at(pty: &Pty) -> Option<u64> {
    pty.look(|screen| screen.contents().lines().filter_map(|it| field(it, "written-at=")).max())
}

fn field(line: &str, key: &str) -> Option<u64> {
    let digits: String = line.split_once(key)?.1.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn ours(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotseat"));
    command.args(arguments).env("TZ", "UTC").stdin(Stdio::null());
    command
}

fn wall(command: &mut Command) -> Duration {
    let start = clock::monotonic();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("started");
    assert!(status.success(), "{command:?}");
    start.elapsed()
}

/// As `wall`, with the output read: some programs print less when nobody can see it.
fn wall_read(command: &mut Command) -> Duration {
    let start = clock::monotonic();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("started");
    let mut buffer = vec![0; 1 << 20];
    let mut stdout = child.stdout.take().expect("a pipe");
    while stdout.read(&mut buffer).expect("read") > 0 {}
    assert!(child.wait().expect("it ends").success(), "{command:?}");
    start.elapsed()
}

fn until_shown(launch: Launch, text: &str) -> Duration {
    let start = clock::monotonic();
    let pty = launch.start();
    pty.wait_for(text);
    start.elapsed()
}

/// Reports our figure with that of a peer and the ratio of both; without the peer when it is not installed.
fn beside(what: &str, ours: Duration, peer: &str, program: &str, theirs: impl FnOnce() -> Duration) {
    if !is_installed(program) {
        report(what, &format!("{} ({program} not found)", ms(ours)));
        return;
    }
    let theirs = theirs();
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    report(what, &format!("{} ({peer} {}, ratio {ratio:.2})", ms(ours), ms(theirs)));
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|it| it.join(program).is_file())
}

/// Memory of a process that is its own and not a page of a file, in bytes; Linux only.
fn private_bytes(pty: &Pty) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", pty.pid())).expect("/proc/PID/smaps_rollup");
    let kib = text
        .lines()
        .find_map(|it| it.strip_prefix("Anonymous:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.expect("a size in kB") * 1024
}

/// Times that any thread of the process gave the processor away by itself; Linux only.
fn wake_ups(pty: &Pty) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", pty.pid())).into_iter().flatten().flatten();
    let switches = |text: String| {
        text.lines().find_map(|it| it.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok())
    };
    tasks.filter_map(|it| switches(fs::read_to_string(it.path().join("status")).ok()?)).sum()
}

/// Processor seconds of a process and its children.
fn tree_cpu_s(pid: u32) -> f64 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let below = children.split(' ').filter_map(|it| it.trim().parse().ok()).map(tree_cpu_s).sum::<f64>();
    measure::process_cpu_s(pid) + below
}

fn median(times: usize, mut measure: impl FnMut() -> Duration) -> Duration {
    let mut measured: Vec<Duration> = (0..times).map(|_| measure()).collect();
    measured.sort_unstable();
    measured[times / 2]
}

fn ms(it: Duration) -> String {
    format!("{:.1} ms", it.as_secs_f64() * 1000.0)
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
