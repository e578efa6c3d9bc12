//! What an agent costs while nobody looks, and whether screens can slow it.
//!
//! `cargo bench --bench agent [-- NAME…]` runs all or the named ones: `idle` (a minute), `screens` (two minutes). The
//! agent is the real binary in a process of its own; what it probes and who attaches to it is here.

mod measure;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hotseat::agent::client;
use hotseat::agent::socket::{self, Places};
use hotseat::clock;
use hotseat::domain::log::{Anchor, ViewId, WindowRequest};
use hotseat::domain::presence::{Via, Visitor};
use hotseat::domain::request::{Inbound, Request};
use hotseat::store::reader::Reader;
use measure::{process_cpu_s, report, share, time};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const PROBES: usize = 40;
const SCREENS: usize = 20;
/// Lines that the log grows by, per second.
const LINES_PER_S: u32 = 10_000;
/// Rows of a screen's log pane.
const ROWS: u32 = 40;
/// Starting is not what is measured: connections, the first windows, allocations that stay.
const SETTLE: Duration = Duration::from_secs(15);
/// How long `idle` looks.
const LOOK: Duration = Duration::from_secs(30);
/// How long each part of `screens` takes: at one run a second, six hundred delays of forty probes.
const PART: Duration = Duration::from_secs(20);

fn main() {
    measure::run(&[("idle", idle), ("screens", screens)]);
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
            std::thread::sleep(Duration::from_secs(2));
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

/// What a screen does whose log pane follows the end.
async fn look(places: Places, received: Arc<AtomicU64>) {
    let stream = socket::connect(&places).await.expect("connected");
    let visitor = Visitor { user: "bench".into(), readonly: false, via: Via::Local };
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
        let dir = tempfile::tempdir().expect("a directory");
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
