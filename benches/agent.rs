//! What an agent costs while nobody looks, and whether screens can slow it.
//!
//! `cargo bench --bench agent [-- NAME…]` runs all or the named ones: `idle` (a minute), `screens` (two minutes),
//! `attach` (two minutes). The agent is the real binary in a process of its own; what it probes is here, and who
//! attaches to it, except for `attach`, where that is the real binary in a pseudo-terminal.

mod measure;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/support/pty.rs"]
mod pty;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hotseat::agent::protocol::{Hello, ToAgent};
use hotseat::agent::socket::{self, Places};
use hotseat::agent::{client, codec};
use hotseat::clock;
use hotseat::domain::ids::{HostId, ProbeId};
use hotseat::domain::log::{Anchor, ViewId, WindowRequest};
use hotseat::domain::presence::{Via, Visitor};
use hotseat::domain::probe::outcome::{Cause, Evidence, Outcome, Phases, ProbeResult, Trouble};
use hotseat::domain::probe::{ProbeKept, Sample};
use hotseat::domain::request::{Inbound, Request};
use hotseat::store::Store;
use hotseat::store::reader::Reader;
use hotseat::store::rollup::Limits;
use jiff::SignedDuration;
use measure::{process_cpu_s, report, share, time};
use pty::Launch;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

const PROBES: usize = 40;
const SCREENS: usize = 20;
/// Lines that the log grows by, per second.
const LINES_PER_S: u32 = 10_000;
/// Rows of a screen's log pane.
const ROWS: u32 = 40;
/// Starting is not what is measured: connections, the first windows, allocations that stay.
const SETTLE: Duration = Duration::from_secs(15);
/// Screens that come one after the other.
const ATTACHES: usize = 20;
/// How long `idle` looks.
const LOOK: Duration = Duration::from_secs(30);
/// How long each part of `screens` takes: at one run a second, six hundred delays of forty probes.
const PART: Duration = Duration::from_secs(20);

fn main() {
    measure::run(&[("idle", idle), ("screens", screens), ("attach", attach)]);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Forty probes as often as by default, nothing else.
fn idle() {
    let runtime = runtime();
    let port = runtime.block_on(serve());
    let world = World::start(&probes(port, ""));
    std::thread::sleep(SETTLE);
    let (cpu, wakes) = (process_cpu_s(world.agent.id()), world.wakes());
    std::thread::sleep(LOOK);
    let (cpu, wakes) = (process_cpu_s(world.agent.id()) - cpu, world.wakes() - wakes);
    let seconds = LOOK.as_secs_f64();
    report("idle with 40 probes, processor", &format!("{:.2} % of a core", cpu / seconds * 100.0));
    report("idle with 40 probes, wake-ups of all threads", &format!("{:.1}/s", wakes as f64 / seconds));
    report("idle with 40 probes, memory", &world.memory());
}

/// Twenty screens that follow a log of ten thousand lines a second, beside none.
fn screens() {
    let runtime = runtime();
    let port = runtime.block_on(serve());
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("flood.log");
    fs::write(&log, "").expect("written");
    let world =
        World::start(&(probes(port, "interval = \"1s\"\n") + &format!("[[log]]\nname = \"flood\"\nfile = {log:?}\n")));
    let ends = Arc::new(AtomicBool::new(false));
    let flood = std::thread::spawn({
        let ends = Arc::clone(&ends);
        move || flood(File::options().append(true).open(log).expect("the log"), &ends)
    });
    std::thread::sleep(SETTLE);
    // In turn, so that what else the machine does meets both.
    for _ in 0..2 {
        for count in [0, SCREENS] {
            let received = Arc::new(AtomicU64::new(0));
            let looking: Vec<_> = (0..count).map(|_| runtime.spawn(look(world.places(), received.clone()))).collect();
            std::thread::sleep(PART / 10);
            let (from, cpu, before) = (clock::now(), process_cpu_s(world.agent.id()), received.load(Ordering::Relaxed));
            std::thread::sleep(PART);
            let (until, cpu) = (clock::now(), process_cpu_s(world.agent.id()) - cpu);
            let received = received.load(Ordering::Relaxed) - before;
            let attached = looking.iter().filter(|it| !it.is_finished()).count();
            looking.iter().for_each(tokio::task::JoinHandle::abort);
            // What was recorded last is on its way to the disk.
            std::thread::sleep(Duration::from_secs(5));
            let mut lags = Vec::new();
            let mut reader = Reader::new(&world.state(), None);
            let each = |_: &_, outcome: hotseat::domain::probe::outcome::Outcome| {
                lags.push(outcome.lag);
                true
            };
            reader.walk(from..until, each).expect("the store");
            lags.sort_unstable();
            assert!(!lags.is_empty(), "no outcome was recorded");
            report(
                &format!("{attached} of {count} screens under {LINES_PER_S} lines/s"),
                &format!(
                    "probe lag p50 {} p99 {} of {} runs; agent {:.1} % of a core, {}; {} messages/s to screens",
                    time(share(&lags, 0.5)),
                    time(share(&lags, 0.99)),
                    lags.len(),
                    cpu / PART.as_secs_f64() * 100.0,
                    world.memory(),
                    received / PART.as_secs(),
                ),
            );
        }
    }
    ends.store(true, Ordering::Relaxed);
    flood.join().expect("the writer");
}

/// A screen that comes to an agent of forty probes with thirty days behind it: start of its process to the full screen,
/// and the bytes that it is sent until then.
fn attach() {
    let runtime = runtime();
    let port = runtime.block_on(serve());
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("app.log");
    let mut text = String::new();
    for line in 0..20_000 {
        text += &format!("2026-08-19T14:00:00Z INFO edge request {line} took 12ms\n");
    }
    fs::write(&log, text + "2026-08-19T14:00:01Z WARN edge the newest line\n").expect("written");
    let more = format!("[[log]]\nname = \"app\"\nfile = {log:?}\n");
    let promises = "interval = \"1s\"\nslo = \"99.9% / 30d\"\nbaseline = true\n";
    let config = "[host]\nname = \"bench\"\n".to_string() + &probes(port, promises) + &more;
    let world = World::start_in(tempfile::tempdir().expect("a directory"), &config, remember);
    // Until each probe has as many outcomes as are kept.
    std::thread::sleep(Duration::from_secs(70));
    let mut times: Vec<Duration> = (0..ATTACHES)
        .map(|_| {
            let began = clock::monotonic();
            let state_dir = world.state().display().to_string();
            let screen = Launch::new(&["--state-dir", &state_dir]).size(120, 40).start();
            screen.wait_until("the full screen", |screen| {
                let text = screen.contents();
                ["40 ok", "the newest line", "INCIDENT", "BACKUPS"].iter().all(|it| text.contains(it))
            });
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    report(
        "start of a screen to all of it, 120x40",
        &format!("p50 {}, most {}", time(share(&times, 0.5)), time(share(&times, 1.0))),
    );
    for glimpses in [true, false] {
        let hello = Hello { glimpses, ..client::hello(Visitor { via: Via::Local, ..Visitor::inside("bench") }) };
        let sent = runtime.block_on(until_snapshot(&world.places(), &hello));
        // As `ssh -C` does.
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        let packed = packed.write_all(&sent).and_then(|()| packed.finish()).expect("packed").len();
        report(
            &format!("to a screen until it is full, glimpses: {glimpses}"),
            &format!("{} bytes, packed {packed}: {:.2} s at 256 kbit/s", sent.len(), packed as f64 * 8.0 / 256e3),
        );
    }
}

/// Thirty days of the probes, one run in a hundred failed, with what is derived of it. What is older than a week is
/// summed up by five minutes anyway, and has a run in each; after that there is one a minute.
fn remember(state_dir: &Path) {
    const OLD_RUNS: i64 = 23 * 24 * 12;
    const RUNS: i64 = OLD_RUNS + 7 * 24 * 60;
    let ago_s = |run: i64| if run < OLD_RUNS { (OLD_RUNS - run) * 300 + 7 * 86_400 } else { (RUNS - run) * 60 };
    fs::create_dir_all(state_dir).expect("a directory");
    let (opened_tx, opened_rx) = std::sync::mpsc::channel();
    let opened = move |_| opened_tx.send(()).expect("awaited");
    let store = Store::start(state_dir, Limits::default(), Box::new(|_| true), opened);
    opened_rx.recv().expect("opened");
    let now = clock::now();
    let mut kept = vec![ProbeKept::default(); PROBES];
    for run in 0..RUNS {
        for probe in 0..PROBES {
            let at = now - SignedDuration::from_secs(ago_s(run));
            let pace = SignedDuration::from_secs(ago_s(run) - ago_s(run + 1));
            let failed = (run as usize + probe).is_multiple_of(100);
            let result = if failed { ProbeResult::Fail } else { ProbeResult::Ok };
            let trouble = failed.then(|| Trouble::new(Cause::Refused, "refused", "connection refused"));
            let phases = Phases { wait: Some(Duration::from_micros(12_000 + probe as u64)), ..Phases::default() };
            let evidence = Evidence { status: Some(200), ..Evidence::default() };
            let outcome =
                Outcome { at, result, phases, trouble, evidence, lag: Duration::ZERO, latency_suspect: false };
            let next = Some(at + pace);
            kept[probe].slo.push(at, failed, next, pace.unsigned_abs());
            kept[probe].baseline.push(at, outcome.total());
            let kept = kept[probe].clone();
            let probe = ProbeId::new(&HostId::new("bench"), &format!("p{probe}"));
            store.record(Sample { probe, outcome: outcome.into(), next, kept });
        }
        if run % 100 == 99 || run == RUNS - 1 {
            let (done_tx, done_rx) = std::sync::mpsc::channel();
            store.flush(Box::new(move |is_kept| done_tx.send(is_kept).expect("awaited")));
            assert!(done_rx.recv().expect("an answer"), "on disk");
        }
    }
}

/// What a runtime says up to its snapshot.
async fn until_snapshot(places: &Places, hello: &Hello) -> Vec<u8> {
    let mut stream = socket::connect(places).await.expect("connected");
    let line = codec::encode(&ToAgent::Hello(Box::new(hello.clone())), 1 << 16).expect("a line");
    stream.write_all(&line).await.expect("written");
    let mut lines = BufReader::new(stream);
    let mut sent = Vec::new();
    loop {
        let start = sent.len();
        assert!(lines.read_until(b'\n', &mut sent).await.expect("read") > 0, "it says more");
        if sent[start..].starts_with(b"{\"inbound\":{\"snapshot\"") {
            return sent;
        }
    }
}

/// What a screen does whose log pane follows the end.
async fn look(places: Places, received: Arc<AtomicU64>) {
    let stream = socket::connect(&places).await.expect("connected");
    let visitor = Visitor { via: Via::Local, ..Visitor::inside("bench") };
    let mut attached = client::attach(stream, &client::hello(visitor)).await.expect("attached");
    let window =
        WindowRequest { follow: true, count: true, ..WindowRequest::new(ViewId(1), 1, Anchor::Tail, (ROWS, 0)) };
    let asked = attached.link.requests_tx.send(Request::Window(Box::new(window))).await;
    asked.expect("the agent listens");
    while let Some(inbound) = attached.link.facts_rx.recv().await {
        assert!(!matches!(inbound, Inbound::Missed { .. }), "it reads fast enough");
        received.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets a log grow until it ends.
fn flood(mut log: File, ends: &AtomicBool) {
    const STEP: Duration = Duration::from_millis(10);
    let per_step = LINES_PER_S / 100;
    let (began, mut steps) = (clock::monotonic(), 0_u32);
    while !ends.load(Ordering::Relaxed) {
        let mut text = String::new();
        for line in 0..per_step {
            let at = clock::now();
            text +=
                &format!("{at:.3} INFO edge request id={steps:08x}{line:04x} status=200 took=12ms path=/v1/items\n");
        }
        log.write_all(text.as_bytes()).expect("written");
        steps += 1;
        std::thread::sleep((STEP * steps).saturating_sub(began.elapsed()));
    }
}

/// Answers every request with 200, on a port of its own.
async fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async move {
                let mut request = [0; 4096];
                // Who asks may hang up.
                while stream.read(&mut request).await.is_ok_and(|it| it > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n").await;
                }
            });
        }
    });
    port
}

fn probes(port: u16, more: &str) -> String {
    let probe = |at: usize| {
        format!(
            "[[probe]]\nname = \"p{at}\"\nhttp = \"http://127.0.0.1:{port}/{at}\"\nexpect = [\"status == 200\"]\n{more}"
        )
    };
    (0..PROBES).map(probe).collect()
}

/// A state directory and its agent; that ends with this value.
struct World {
    dir: tempfile::TempDir,
    agent: Child,
}

impl World {
    fn start(config: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), config, |_| {})
    }

    /// Starts it when `prepare` has filled the state directory.
    fn start_in(dir: tempfile::TempDir, config: &str, prepare: impl Fn(&Path)) -> Self {
        prepare(&dir.path().join("state"));
        let file = dir.path().join("config.toml");
        fs::write(&file, config).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its owner's");
        let mut command = Command::new(env!("CARGO_BIN_EXE_hotseat"));
        command.arg("--config").arg(file).arg("--state-dir").arg(dir.path().join("state")).arg("agent");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { dir, agent: command.spawn().expect("started") }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn places(&self) -> Places {
        Places::of(&self.state())
    }

    /// Times that a thread of the agent went to sleep so far: each was woken up before.
    fn wakes(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.agent.id())).expect("/proc/PID/task");
        let wakes = |task: fs::DirEntry| {
            let status = fs::read_to_string(task.path().join("status")).ok()?;
            status.lines().find_map(|it| it.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok())
        };
        tasks.filter_map(Result::ok).filter_map(wakes).sum()
    }

    /// Its memory, of which files are a part that the kernel takes back as it needs it.
    fn memory(&self) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.agent.id())).expect("/proc/PID/status");
        let mib = |key: &str| {
            let value = status.lines().find_map(|it| it.strip_prefix(key)?.trim().strip_suffix(" kB"));
            value.and_then(|it| it.trim().parse::<f64>().ok()).expect("a size in kB") / 1024.0
        };
        format!("{:.1} MiB resident ({:.1} anonymous), at most {:.1}", mib("VmRSS:"), mib("RssAnon:"), mib("VmHWM:"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}
