//! What probes cost, and whether a thousand of them run on time.
//!
//! `cargo bench --bench probes [-- NAME…]` runs all or the named ones: `cost`, `scale` (a minute long). The
//! server is this program again in a process of its own, so that its processor time can be told apart.

mod measure;

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hotseat::clock;
use hotseat::config;
use hotseat::domain::board::Board;
use hotseat::domain::fact::{Envelope, Fact};
use hotseat::domain::ids::HostId;
use hotseat::domain::probe::ProbeFact;
use hotseat::domain::probe::health::Health;
use hotseat::domain::probe::outcome::ProbeResult;
use hotseat::service::probe::run::run_once;
use hotseat::service::probe::{Place, ProbeSpec, Prober};
use hotseat::service::{FactSender, ServiceSetup};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use measure::{process_cpu_s, report, share, time};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

/// Runs per figure of `cost`.
const RUNS: usize = 20_000;
/// Runs under way at once.
const AT_ONCE: usize = 64;
/// What the server answers.
const BODY: &str = "{\"status\":\"ok\",\"version\":\"2024.8.19\",\"uptime_s\":81234}";
/// Argument that makes this program the server.
const SERVE: &str = "--serve";

fn main() {
    if std::env::args().any(|it| it == SERVE) {
        runtime().block_on(serve());
        return;
    }
    measure::run(&[("cost", cost), ("scale", scale)]);
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
        measure(name, &runtime, &server, at_once, || run(spec.clone()));
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
    measure("the floor: a bare socket, 64 at once", &runtime, &server, AT_ONCE, floor);
}

fn measure<F: Future<Output = ()> + Send + 'static>(
    name: &str,
    runtime: &tokio::runtime::Runtime,
    server: &Server,
    at_once: usize,
    run: impl Fn() -> F,
) {
    let (own, theirs, wall) = (process_cpu_s(std::process::id()), server.cpu_s(), clock::monotonic());
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..RUNS {
            if tasks.len() == at_once {
                tasks.join_next().await.expect("a task").expect("it ran");
            }
            tasks.spawn(run());
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("it ran");
        }
    });
    let each = |seconds: f64| time(Duration::from_secs_f64(seconds / RUNS as f64));
    report(
        name,
        &format!(
            "{} CPU, {:.0} probes/s (the server: {} CPU)",
            each(process_cpu_s(std::process::id()) - own),
            RUNS as f64 / wall.elapsed().as_secs_f64(),
            each(server.cpu_s() - theirs),
        ),
    );
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

    fn cpu_s(&self) -> f64 {
        process_cpu_s(self.child.id())
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
