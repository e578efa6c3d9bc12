//! What the screen costs, measured on the real binary in a pseudo-terminal.
//!
//! `cargo bench --bench terminal [-- NAME…]` runs all or the named ones: `paint`, `open`, `keys`, `line`,
//! `idle`, `frame`. Figures are medians unless they say otherwise; `benches/README.md` says what to make of them.

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/support/pty.rs"]
mod pty;

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hotseat::clock;
use hotseat::tui::capabilities::{ColorDepth, Glyphs};
use hotseat::tui::draw::Painter;
use pty::{Launch, Pty};
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};

const MIB: usize = 1 << 20;
/// Starts of each program per figure.
const STARTS: usize = 15;
/// Keys pressed per figure.
const KEYS: usize = 200;
/// Lines appended per figure.
const LINES: usize = 20;

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let all: [(&str, fn()); 6] =
        [("paint", paint), ("open", open), ("keys", keys), ("line", line), ("idle", idle), ("frame", frame)];
    for (name, bench) in all {
        if named.is_empty() || named.iter().any(|it| it == name) {
            bench();
        }
    }
}

/// Prints a figure with its name.
fn report(name: &str, figure: &str) {
    let _ = writeln!(std::io::stdout(), "{name:<52} {figure}");
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

fn ms(it: Duration) -> String {
    format!("{:.2} ms", it.as_secs_f64() * 1000.0)
}

/// Start to the first picture: title rows of all panes.
fn paint() {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let launch = Launch::new(&["/dev/null"]);
        let start = clock::monotonic();
        let pty = launch.start();
        pty.wait_until("the first frame", |screen| {
            let text = screen.contents();
            text.contains("SERVICES") && text.contains("INCIDENT")
        });
        times.push(start.elapsed());
    }
    report("start to first paint, 80x24", &ms(median(times)));
}

/// Start to the newest lines of a large file, beside `less +G` on the same file in the same run.
fn open() {
    let dir = tempfile::tempdir().expect("temporary directory");
    for (name, bytes) in [("100 MB", 100 * MIB), ("1 GB", 1024 * MIB)] {
        let path = dir.path().join("app.log");
        let last = write_log(&path, bytes);
        let file = path.display().to_string();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            ours.push(until_shown(Launch::new(&[&file]), &last));
            theirs.push(until_shown(Launch::program("less", &["+G", &file]), &last));
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        report(
            &format!("newest lines of {name}, 80x24"),
            &format!("{} (less {}, ratio {ratio:.1})", ms(ours), ms(theirs)),
        );
        fs::remove_file(&path).expect("removed");
    }
}

fn until_shown(launch: Launch, text: &str) -> Duration {
    let start = clock::monotonic();
    let pty = launch.start();
    pty.wait_for(text);
    start.elapsed()
}

/// Key to frame while lines pour in: `z` gives the pane the whole screen and takes it back.
fn keys() {
    for rate in [0u32, 10_000, 100_000] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("app.log");
        write_log(&path, MIB);
        let mut pty = Launch::new(&[&path.display().to_string()]).size(120, 40).start();
        pty.wait_for("marker-");
        let flood = Flood::start(&path, rate);
        let mut times = Vec::new();
        for press in 0..KEYS {
            std::thread::sleep(Duration::from_millis(20));
            let start = clock::monotonic();
            pty.keys("z");
            if press % 2 == 0 {
                pty.wait_for("zoomed]");
            } else {
                pty.wait_gone("zoomed]");
            }
            times.push(start.elapsed());
        }
        let written = flood.stop();
        times.sort_unstable();
        let at = |share: f64| ms(times[(times.len() as f64 * share) as usize]);
        report(
            &format!("key to frame, 120x40, {rate} lines/s"),
            &format!("p50 {}, p99 {}, max {} ({written} lines written)", at(0.5), at(0.99), ms(times[times.len() - 1])),
        );
    }
}

/// Bytes that one appended line costs.
fn line() {
    for (width, height) in [(80, 24), (200, 60)] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("app.log");
        write_log(&path, MIB);
        let pty = Launch::new(&[&path.display().to_string()]).size(width, height).start();
        pty.wait_for("marker-");
        pty.wait_silent(Duration::from_secs(1));
        let mut file = BufWriter::new(OpenOptions::new().append(true).open(&path).expect("opened"));
        let mut sizes = Vec::new();
        for number in 0..LINES {
            let before = pty.bytes();
            file.write_all(log_line(10_000_000 + number).as_bytes()).and_then(|()| file.flush()).expect("appended");
            pty.wait_for(&format!("marker-{}", 10_000_000 + number));
            pty.wait_silent(Duration::from_millis(300));
            sizes.push(pty.bytes() - before);
        }
        let most = sizes.iter().max().copied().unwrap_or(0);
        report(&format!("one appended line, {width}x{height}"), &format!("{} bytes (most {most})", median(sizes)));
    }
}

/// Bytes and wake-ups while nothing happens.
fn idle() {
    const WATCHED: Duration = Duration::from_secs(10);
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("app.log");
    write_log(&path, MIB);
    let pty = Launch::new(&[&path.display().to_string()]).start();
    pty.wait_for("marker-");
    pty.wait_silent(Duration::from_secs(6));
    let (bytes, switches) = (pty.bytes(), context_switches(&pty));
    std::thread::sleep(WATCHED);
    let rate = (context_switches(&pty) - switches) as f64 / WATCHED.as_secs_f64();
    report("idle on a log of 1 MiB", &format!("{} bytes, {rate:.1} wake-ups/s", pty.bytes() - bytes));
}

/// Times that any thread of the process gave the processor away by itself; Linux only.
fn context_switches(pty: &Pty) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", pty.pid())) else { return 0 };
    tasks
        .flatten()
        .filter_map(|it| fs::read_to_string(it.path().join("status")).ok())
        .filter_map(|text| {
            text.lines().find_map(|it| it.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok())
        })
        .sum()
}

/// What a frame costs the processor, without a terminal: a screen of text and one line more.
fn frame() {
    const FRAMES: usize = 2000;
    for (width, height) in [(80, 24), (200, 60)] {
        let mut painter = Painter::new(width, height, ColorDepth::True, Glyphs::Unicode);
        let lines: Vec<String> = (0..FRAMES + usize::from(height)).map(log_line).collect();
        let mut out = Vec::new();
        let mut bytes = 0;
        let start = clock::monotonic();
        for first in 0..FRAMES {
            out.clear();
            painter.frame(&mut out, |area: Rect, buf| {
                for (y, line) in (0..area.height).zip(&lines[first..]) {
                    buf.set_stringn(0, y, &line[..8], 8, Style::new().fg(Color::DarkGray));
                    buf.set_stringn(9, y, line.trim_end(), usize::from(area.width) - 9, Style::new());
                }
                None
            });
            bytes += out.len();
        }
        let each = start.elapsed() / FRAMES as u32;
        report(
            &format!("draw and diff a frame of one line more, {width}x{height}"),
            &format!("{:.0} µs, {} bytes", each.as_secs_f64() * 1e6, bytes / FRAMES),
        );
    }
}

fn log_line(number: usize) -> String {
    const LEVELS: [&str; 5] = ["INFO", "INFO", "WARN", "INFO", "ERROR"];
    let (second, level) = (number / 50 % 60, LEVELS[number % LEVELS.len()]);
    let (minute, hour) = (number / 3000 % 60, number / 180_000 % 24);
    format!(
        "2024-08-19T{hour:02}:{minute:02}:{second:02}.{:03}Z {level} marker-{number} pool exhausted (64/64) waiting={} req={:08x}\n",
        number % 1000,
        number % 977,
        number.wrapping_mul(2_654_435_761) as u32,
    )
}

/// Writes a log of about this size and returns a text that only its last line has.
fn write_log(path: &Path, bytes: usize) -> String {
    let mut file = BufWriter::with_capacity(MIB, File::create(path).expect("created"));
    let (mut written, mut number) = (0, 0);
    while written < bytes {
        let line = log_line(number);
        written += line.len();
        number += 1;
        file.write_all(line.as_bytes()).expect("written");
    }
    // What the kernel still has to write would be measured with the first start.
    file.into_inner().expect("written").sync_all().expect("synced");
    format!("marker-{} ", number - 1)
}

/// A thread that appends lines at a steady rate.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<usize>,
}

impl Flood {
    fn start(path: &Path, lines_per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let path: PathBuf = path.into();
        let thread = std::thread::spawn(move || {
            let mut file = OpenOptions::new().append(true).open(path).expect("opened");
            let start: Instant = clock::monotonic();
            let mut number = 0;
            let mut text = String::new();
            while !stopping.load(Ordering::Relaxed) {
                let wanted = (start.elapsed().as_secs_f64() * f64::from(lines_per_second)) as usize;
                text.clear();
                while number < wanted {
                    text.push_str(&log_line(20_000_000 + number));
                    number += 1;
                }
                file.write_all(text.as_bytes()).expect("appended");
                std::thread::sleep(Duration::from_millis(5));
            }
            number
        });
        Self { stop, thread }
    }

    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the flood ended by itself")
    }
}
