//! What probes cost, and whether a thousand of them run on time.
//!
//! `cargo bench --bench probes [-- NAME…]` runs all or the named ones: `cost`, `beside` (needs nginx and
//! blackbox_exporter), `policy`, `scale` (a minute long). The server of the others is this program again in a process of
//! its own, so that its processor time can be told apart.

mod measure;
#[path = "../tests/it/support/peer.rs"]
mod peer;

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hotseat::clock;
use hotseat::config;
use hotseat::domain::alert::AlertFact;
use hotseat::domain::alert::delivery::{DeliveryNews, DeliveryState};
use hotseat::domain::board::Board;
use hotseat::domain::effect::Effect;
use hotseat::domain::fact::{Actor, Envelope, Fact};
use hotseat::domain::ids::{HostId, ProbeId};
use hotseat::domain::probe::health::Health;
use hotseat::domain::probe::outcome::{Cause, Evidence, Outcome, Phase, Phases, ProbeResult, Trouble};
use hotseat::domain::probe::{ProbeFact, ProbeState};
use hotseat::service::probe::run::run_once;
use hotseat::service::probe::{Place, ProbeSpec, Prober};
use hotseat::service::{FactSender, ServiceSetup};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use measure::{process_cpu_s, report, share, thread_cpu_s, time};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

/// Runs per figure of `cost`.
const RUNS: usize = 20_000;
/// Runs under way at once.
const AT_ONCE: usize = 64;
/// What the server answers.
const BODY: &str = "{\"status\":\"ok\",\"version\":\"2024.8.19\",\"uptime_s\":81234}";
/// Runs of each of which the phases are compared.
const PHASE_RUNS: usize = 101;
/// How long the server behind nginx thinks.
const THINKS: Duration = Duration::from_millis(20);
/// Argument that makes this program the server.
const SERVE: &str = "--serve";

fn main() {
    if std::env::args().any(|it| it == SERVE) {
        runtime().block_on(serve());
        return;
    }
    measure::run(&[("cost", cost), ("beside", beside), ("policy", policy), ("scale", scale)]);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

/// Processor time of one fresh probe and probes per second.
fn cost() {
    let server = Server::start();
    let address = server.address;
    let runtime = runtime();
    let plain = spec("plain", &format!("http = \"http://{address}/health\"\nexpect = [\"status == 200\"]"));
    let json = spec("json", &format!("http = \"http://{address}/health\"\nexpect = [\"json.status == 'ok'\"]"));
    for (name, spec, at_once) in [
        ("fresh HTTP probe, one at a time", &plain, 1),
        ("fresh HTTP probe, 64 at once", &plain, AT_ONCE),
        ("fresh HTTP probe that reads JSON, 64 at once", &json, AT_ONCE),
    ] {
        let run = |spec: ProbeSpec| async move {
            let outcome = run_once(&spec, &place(), Duration::ZERO).await;
            assert_eq!(outcome.result, ProbeResult::Ok, "{outcome:?}");
        };
        measure(name, &runtime, RUNS, at_once, [("the server", server.child.id())], || run(spec.clone()));
    }
    // What no HTTP client can go below: connect, send, read to the end, close.
    let floor = move || async move {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::with_capacity(512);
        stream.read_to_end(&mut answer).await.expect("read");
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    };
    let server = [("the server", server.child.id())];
    measure("the floor: a bare socket, 64 at once", &runtime, RUNS, AT_ONCE, server, floor);
}

/// The same nginx looked at by us and by blackbox_exporter, in turn.
fn beside() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let certificates = certificates(dir.path());
    let (Some(nginx), Some(blackbox)) = (peer::Nginx::start(Some(&certificates), thinker()), peer::Blackbox::start())
    else {
        return;
    };
    let runtime = runtime();
    phases(&runtime, &nginx, &blackbox);
    let (theirs, web) = (blackbox.running.id(), nginx.running.id());
    for (kind, module, url, runs) in [
        ("HTTP", "http", format!("http://127.0.0.1:{}/health", nginx.plain), RUNS),
        ("HTTPS", "https", format!("https://127.0.0.1:{}/health", nginx.tls), RUNS / 4),
    ] {
        let verify = if module == "https" { ", verify = false" } else { "" };
        let spec = spec("beside", &format!("http = {{ url = \"{url}\"{verify} }}\nexpect = [\"status == 200\"]"));
        let ours = || {
            let spec = spec.clone();
            async move {
                let outcome = run_once(&spec, &place(), Duration::ZERO).await;
                assert_eq!(outcome.result, ProbeResult::Ok, "{outcome:?}");
            }
        };
        let request = format!("GET /probe?module={module}&target={url} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let port = blackbox.port;
        let asked = || {
            let request = request.clone();
            async move {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
                stream.write_all(request.as_bytes()).await.expect("sent");
                let mut answer = Vec::with_capacity(8 << 10);
                stream.read_to_end(&mut answer).await.expect("read");
                let found = answer.windows(15).any(|it| it == b"probe_success 1");
                assert!(found, "{}", String::from_utf8_lossy(&answer));
            }
        };
        // In turn, so that what else the machine does meets both.
        for _ in 0..2 {
            measure(&format!("hotseat, fresh {kind}, 64 at once"), &runtime, runs, AT_ONCE, [("nginx", web)], ours);
            let of_both = [("blackbox_exporter", theirs), ("nginx", web)];
            measure(&format!("the asker of blackbox_exporter, {kind}"), &runtime, runs, AT_ONCE, of_both, asked);
        }
    }
}

/// Where the time of a run goes, by us and by blackbox_exporter, in turn and one at a time.
fn phases(runtime: &tokio::runtime::Runtime, nginx: &peer::Nginx, blackbox: &peer::Blackbox) {
    for (module, base) in
        [("http", format!("http://127.0.0.1:{}", nginx.plain)), ("https", format!("https://127.0.0.1:{}", nginx.tls))]
    {
        for (path, runs) in [("/health", PHASE_RUNS), ("/late", PHASE_RUNS), ("/slow", PHASE_RUNS / 10)] {
            let url = format!("{base}{path}");
            let verify = if module == "https" { ", verify = false" } else { "" };
            let spec = spec("phases", &format!("http = {{ url = \"{url}\"{verify} }}\nexpect = [\"status == 200\"]"));
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..runs {
                let outcome = runtime.block_on(run_once(&spec, &place(), Duration::ZERO));
                assert_eq!(outcome.result, ProbeResult::Ok, "{outcome:?}");
                ours.push(outcome.phases);
                theirs.push(blackbox.probe(module, &url));
            }
            for (phase, name) in [
                (Phase::Connect, "connect"),
                (Phase::Tls, "tls"),
                (Phase::Wait, "processing"),
                (Phase::Body, "transfer"),
            ] {
                let own = median(ours.iter().map(|it| it.get(phase).unwrap_or_default().as_secs_f64()).collect());
                let other = median(theirs.iter().map(|it| peer::blackbox_phase(it, name)).collect());
                if own == 0.0 && other == 0.0 {
                    continue;
                }
                let apart = (own - other).abs();
                let verdict = if apart > 0.001 && apart > other * 0.2 { "apart" } else { "agree" };
                let took = |it: f64| time(Duration::from_secs_f64(it));
                report(&format!("{module} {path}, {name}"), &format!("{}, its {}: {verdict}", took(own), took(other)));
            }
        }
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// A server behind nginx that thinks before it answers; answers its port.
fn thinker() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // Whoever hangs up has no need of an answer.
                let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
                std::thread::sleep(THINKS);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate");
            });
        }
    });
    port
}

/// What folding a result costs, and all that the alerts decide by it, with 1,000 probes up, falling and down.
fn policy() {
    const PROBES: usize = 1_000;
    const ROUNDS: usize = 40;
    const PACE_S: i64 = 30;
    let mut text = String::from(
        "[[notifier]]\nname = \"sms\"\nwebhook = \"http://127.0.0.1:1/\"\nremind = [\"10m\"]\nlimit = \"5 / 10m\"\n\
         [[notifier]]\nname = \"chat\"\nslack = \"http://127.0.0.1:1/services/T/B/x\"\n\
         [[person]]\nname = \"alice\"\nnotify = [\"sms\"]\n[[person]]\nname = \"bob\"\nnotify = [\"sms\"]\n\
         [[rotation]]\nname = \"primary\"\npeople = [\"alice\", \"bob\"]\n\
         [defaults]\nnotify = [\"primary\", \"chat\"]\nslo = \"99.9% / 30d\"\n",
    );
    for number in 0..PROBES {
        let (group, parent) = (number % 20, number / 50 * 50);
        text.push_str(&format!(
            "[[probe]]\nname = \"probe-{number:04}\"\ntcp = \"203.0.113.{}:{}\"\n",
            number % 250,
            number + 1
        ));
        text.push_str(&format!("group = \"group-{group}\"\n"));
        if number != parent {
            text.push_str(&format!("after = [\"probe-{parent:04}\"]\n"));
        }
    }
    let (config, errors) = config::parse("c.toml", &text);
    assert!(errors.is_empty(), "{errors:?}");
    let host = HostId::new("bench");
    let ids: Vec<ProbeId> = config.probes.iter().map(|it| ProbeId::new(&host, &it.name)).collect();
    let mut folded = Folded { board: Board::default(), host, at: Timestamp::UNIX_EPOCH, rows: 0, deliveries: 0 };
    folded.fact(Fact::Alert(AlertFact::Configured { rules: Box::new(config.alerts.clone()) }));
    for (probe, spec) in ids.iter().zip(&config.probes) {
        folded.fact(Fact::Probe(ProbeFact::Configured { probe: probe.clone(), setup: spec.setup() }));
    }
    let start = Timestamp::from_second(1_800_000_000).expect("a time");
    for (name, result, rounds) in [
        ("1,000 probes that are up", ProbeResult::Ok, ROUNDS),
        ("1,000 probes that fall", ProbeResult::Fail, 2),
        ("1,000 probes that are down", ProbeResult::Fail, ROUNDS),
        ("1,000 probes that recover", ProbeResult::Ok, 2),
    ] {
        let (before, rows, deliveries) = (thread_cpu_s(), folded.rows, folded.deliveries);
        for _ in 0..rounds {
            folded.at = folded.at.max(start) + SignedDuration::from_secs(PACE_S);
            for probe in &ids {
                let trouble = Trouble::new(Cause::Timeout(Phase::Connect), "timeout", "no answer within 5 s");
                let outcome = Outcome {
                    at: folded.at,
                    result,
                    phases: Phases::default(),
                    trouble: (result == ProbeResult::Fail).then_some(trouble),
                    evidence: Evidence::default(),
                    lag: Duration::ZERO,
                    latency_suspect: false,
                };
                let fact = ProbeFact::Outcome { probe: probe.clone(), outcome: Box::new(outcome), next: None };
                folded.fact(Fact::Probe(fact));
            }
        }
        let each = time(Duration::from_secs_f64((thread_cpu_s() - before) / (rounds * PROBES) as f64));
        let (rows, deliveries) = (folded.rows - rows, folded.deliveries - deliveries);
        let share = (thread_cpu_s() - before) / (rounds as i64 * PACE_S) as f64 * 100.0;
        report(
            name,
            &format!("{each} CPU a result, {share:.2} % of a core at 30 s, {rows} rows kept, {deliveries} messages"),
        );
    }
}

/// A board that is told facts, and notifiers that take everything.
struct Folded {
    board: Board,
    host: HostId,
    at: Timestamp,
    rows: usize,
    deliveries: usize,
}

impl Folded {
    fn fact(&mut self, fact: Fact) {
        while let Some(wake) = self.board.alerts.next_wake().filter(|it| *it <= self.at) {
            self.fold(Fact::Alert(AlertFact::Tick { at: wake }));
        }
        self.fold(fact);
    }

    fn fold(&mut self, fact: Fact) {
        let (host, seq, at) = (self.host.clone(), self.board.seq + 1, self.at);
        let envelope = Envelope { host, seq, at, actor: Actor::Runtime, fact };
        for effect in self.board.apply(at, &envelope) {
            let Effect::Commit(change) = effect else { continue };
            self.rows += change.rows.len();
            self.deliveries += change.deliveries.len();
            for it in change.deliveries {
                let state = DeliveryState::Sent { receipt: None, attempts: 1 };
                let news = DeliveryNews {
                    id: it.id,
                    key: it.key,
                    notifier: it.notifier,
                    action: it.action,
                    at,
                    state,
                    durable: true,
                };
                self.fold(Fact::Alert(AlertFact::Delivery(Box::new(news))));
            }
        }
    }
}

/// A certificate for the loopback, signed by itself.
fn certificates(dir: &Path) -> peer::Certificates {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let (certificate_file, key_file) = (dir.join("server.pem"), dir.join("server.key"));
    std::fs::write(&certificate_file, certificate.pem()).expect("written");
    std::fs::write(&key_file, key.serialize_pem()).expect("written");
    peer::Certificates { authority: certificate_file.clone(), certificate: certificate_file, key: key_file }
}

/// Runs something many times; reports processor time of this and other processes, and runs per second.
fn measure<F: Future<Output = ()> + Send + 'static, const N: usize>(
    name: &str,
    runtime: &tokio::runtime::Runtime,
    runs: usize,
    at_once: usize,
    others: [(&str, u32); N],
    run: impl Fn() -> F,
) {
    let before = others.map(|(_, pid)| process_cpu_s(pid));
    let (own, wall) = (process_cpu_s(std::process::id()), clock::monotonic());
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..runs {
            if tasks.len() == at_once {
                tasks.join_next().await.expect("a task").expect("it ran");
            }
            tasks.spawn(run());
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("it ran");
        }
    });
    let each = |seconds: f64| time(Duration::from_secs_f64(seconds / runs as f64));
    let rate = runs as f64 / wall.elapsed().as_secs_f64();
    let own = each(process_cpu_s(std::process::id()) - own);
    let others: Vec<String> = others
        .iter()
        .zip(before)
        .map(|((name, pid), before)| format!("{name}: {} CPU", each(process_cpu_s(*pid) - before)))
        .collect();
    report(name, &format!("{own} CPU, {rate:.0} probes/s ({})", others.join(", ")));
}

/// 1,000 probes at 30 s, 300 of which get no answer, for a minute.
fn scale() {
    const WATCHED: Duration = Duration::from_secs(60);
    let server = Server::start();
    let dir = tempfile::tempdir().expect("temporary directory");
    runtime().block_on(async {
        // Takes the connection and never says a word.
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let silent_address = silent.local_addr().expect("bound");
        let (full, _held) = full_listener().await;
        let mut text = String::from("[defaults]\ninterval = \"30s\"\ntimeout = \"5s\"\n");
        for number in 0..1000 {
            let address = match number % 10 {
                0 | 3 => silent_address,
                6 => full,
                _ => server.address,
            };
            text.push_str(&format!(
                "[[probe]]\nname = \"probe-{number:04}\"\nhttp = \"http://{address}/health\"\nexpect = [\"status == 200\"]\n"
            ));
        }
        let (config, errors) = config::parse("c.toml", &text);
        assert!(errors.is_empty(), "{errors:?}");
        let (facts, mut facts_rx) = FactSender::channel();
        let cancel = CancellationToken::new();
        let host = HostId::new("bench");
        let state_dir = dir.path().to_path_buf();
        let setup = ServiceSetup { host: host.clone(), user: "bench".into(), state_dir, facts, cancel: cancel.clone() };
        let own = process_cpu_s(std::process::id());
        let _prober = Prober::start(&setup, None, config.probes, Vec::new());
        let mut board = Board::default();
        let (mut lags, mut missed, mut unknown) = (Vec::new(), 0, 0);
        let end = tokio::time::sleep(WATCHED);
        tokio::pin!(end);
        loop {
            let (actor, fact) = tokio::select! {
                () = &mut end => break,
                fact = facts_rx.recv() => fact.expect("the prober runs"),
            };
            match &fact {
                Fact::Probe(ProbeFact::Outcome { outcome, .. }) => {
                    lags.push(outcome.lag);
                    unknown += u32::from(outcome.result == ProbeResult::Unknown);
                }
                Fact::Probe(ProbeFact::Missed { count, .. }) => missed += count,
                _ => {}
            }
            let at = clock::now();
            let envelope = Envelope { host: host.clone(), seq: board.seq + 1, at, actor, fact };
            board.apply(at, &envelope);
        }
        cancel.cancel();
        lags.sort_unstable();
        let cpu = (process_cpu_s(std::process::id()) - own) / WATCHED.as_secs_f64();
        let at = |it| time(share(&lags, it));
        report(
            "1,000 probes at 30 s, 200 silent and 100 unreachable",
            &format!(
                "lag p50 {}, p99 {}, max {}; {} runs, {missed} missed, {unknown} unknown, {} down",
                at(0.5),
                at(0.99),
                at(1.0),
                lags.len(),
                board.probes.count(Health::Down),
            ),
        );
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let rss = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).expect("told").trim().to_string();
        report("its memory", &rss);
        let healthy = |name: &str| !matches!(name.as_bytes().last(), Some(b'0' | b'3' | b'6'));
        let is_down = |(probe, state): &(&ProbeId, &ProbeState)| healthy(probe.name()) && state.health() == Health::Down;
        report("healthy probes that were down", &board.probes.iter().filter(is_down).count().to_string());
        report("its processor time", &format!("{:.1} % of one core", cpu * 100.0));
    });
}

/// A listener whose queue is full: a connection to it is never answered.
async fn full_listener() -> (SocketAddr, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let listener = socket.listen(1).expect("listening");
    let address = listener.local_addr().expect("bound");
    let mut held = Vec::new();
    // Linux takes one more than the queue holds; the first that hangs is the proof.
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        held.push(stream);
    }
    // It must stay open and never be asked.
    std::mem::forget(listener);
    (address, held)
}

/// Nothing but the network is looked at.
fn place() -> Place {
    Place::alone(HostId::new("bench"), Path::new("/nonexistent"))
}

fn spec(name: &str, entry: &str) -> ProbeSpec {
    let (mut config, errors) = config::parse("c.toml", &format!("[[probe]]\nname = \"{name}\"\n{entry}\n"));
    assert!(errors.is_empty(), "{errors:?}");
    config.probes.remove(0)
}

/// The server in its own process; ends with this one.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .arg(SERVE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a second process");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an address");
        Self { child, address: line.trim().parse().expect("an address") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    writeln!(std::io::stdout(), "{address}").and_then(|()| std::io::stdout().flush()).expect("said");
    // Ends when the one who asked is gone.
    std::thread::spawn(|| {
        let _ = std::io::stdin().lines().next();
        std::process::exit(0);
    });
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            let answer = service_fn(|_: Request<Incoming>| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(BODY.as_bytes()))))
            });
            // A client that hangs up is no news.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}
