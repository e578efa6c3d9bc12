//! The http probe against a real nginx and beside blackbox_exporter, and delays that belong to one phase.

use std::time::Duration;

use hotseat::domain::probe::outcome::{Cause, Outcome, Phase, ProbeResult};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::probes::{look, words};
use crate::support::peer::{Blackbox, Certificates, Nginx, blackbox_phase};
use crate::support::tls::{Authority, accept};

/// How long a delay is that a phase must show.
const DELAY: Duration = Duration::from_millis(300);
/// How often a measurement is made again, because the machine was busy with something else.
const TRIES: usize = 5;

struct Peers {
    nginx: Nginx,
    ca: String,
    client: String,
    _dir: tempfile::TempDir,
}

fn nginx(upstream: u16) -> Option<Peers> {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(dir.path());
    let (certificate, key) = authority.write(dir.path(), "server", &["127.0.0.1"], 2099);
    let (cert, client_key) = authority.client(dir.path());
    let certificates = Certificates { certificate, key, authority: authority.file().to_path_buf() };
    let nginx = Nginx::start(Some(&certificates), upstream)?;
    let ca = format!("ca = '{}'", authority.file().display());
    let client = format!("client = {{ cert = '{}', key = '{}' }}", cert.display(), client_key.display());
    Some(Peers { nginx, ca, client, _dir: dir })
}

#[tokio::test]
async fn a_real_nginx_is_spoken_to_in_every_way() {
    let Some(peers) = nginx(1) else { return };
    let Nginx { plain, h2c, tls, mutual, .. } = peers.nginx;
    let (ca, client) = (&peers.ca, &peers.client);
    for (entry, protocol) in [
        (format!("http = 'http://127.0.0.1:{plain}/health'\nexpect = \"json.status == 'ok'\""), "HTTP/1.1"),
        (format!("http = {{ url = 'http://127.0.0.1:{h2c}/health', http2 = true }}"), "HTTP/2"),
        (
            format!("http = {{ url = 'https://127.0.0.1:{tls}/health', {ca} }}\nexpect = 'cert.days > 7'"),
            "HTTP/2 TLSv1.3",
        ),
        (format!("http = {{ url = 'https://127.0.0.1:{tls}/health', {ca}, http2 = false }}"), "HTTP/1.1 TLSv1.3"),
        (format!("http = {{ url = 'https://127.0.0.1:{mutual}/health', {ca}, {client} }}"), "HTTP/1.1 TLSv1.3"),
    ] {
        let outcome = look(&entry).await;
        assert_eq!(
            (words(&outcome), outcome.evidence.protocol.as_deref()),
            ((ProbeResult::Ok, "ok", ""), Some(protocol))
        );
    }
    // nginx answers a client without a certificate in words.
    let outcome = look(&format!("http = {{ url = 'https://127.0.0.1:{mutual}/health', {ca} }}")).await;
    assert_eq!(outcome.brief(), "400");

    for base in [format!("url = 'http://127.0.0.1:{plain}"), format!("{ca}, url = 'https://127.0.0.1:{tls}")] {
        let outcome = look(&format!("http = {{ {base}/r1' }}")).await;
        let statuses: Vec<_> = outcome.evidence.hops.iter().map(|it| it.status).collect();
        assert_eq!((words(&outcome), statuses), ((ProbeResult::Ok, "ok", ""), vec![Some(302), Some(301), Some(200)]));
        let outcome = look(&format!("http = {{ {base}/loop' }}")).await;
        assert_eq!((outcome.brief(), outcome.evidence.hops.len()), ("redirects", 6));
        let outcome = look(&format!("http = {{ {base}/error' }}")).await;
        assert_eq!((outcome.brief(), outcome.evidence.body.as_str()), ("503", "no backend"));
        assert!(outcome.evidence.headers.contains(&("set-cookie".into(), "***".into())));
    }
}

/// True when a phase took the delay and most of the whole run.
fn is_in(outcome: &Outcome, phase: Phase) -> bool {
    let took = outcome.phases.get(phase).unwrap_or_default();
    took >= DELAY && took * 10 >= outcome.total() * 7
}

async fn delayed(what: &str, phase: Phase, entry: &str) {
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let outcome = look(entry).await;
        assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""), "{what}");
        if is_in(&outcome, phase) {
            return;
        }
        seen.push(outcome.phases);
    }
    panic!("the delay in {what} is not in {}: {seen:?}", phase.word());
}

#[tokio::test]
async fn a_slow_body_and_a_late_first_byte_of_nginx_show_in_their_phase() {
    let late = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = late.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = late.accept().await {
            tokio::spawn(slow_answer(stream, DELAY, Duration::ZERO));
        }
    });
    let Some(peers) = nginx(upstream) else { return };
    let (plain, tls, ca) = (peers.nginx.plain, peers.nginx.tls, &peers.ca);
    for base in [format!("url = 'http://127.0.0.1:{plain}"), format!("{ca}, url = 'https://127.0.0.1:{tls}")] {
        delayed("the body", Phase::Body, &format!("http = {{ {base}/slow' }}")).await;
        delayed("the first byte", Phase::Wait, &format!("http = {{ {base}/late' }}")).await;
    }
}

async fn slow_answer(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, before: Duration, within: Duration) {
    let mut buffer = [0; 4096];
    if stream.read(&mut buffer).await.is_ok_and(|it| it > 0) {
        tokio::time::sleep(before).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha").await;
        let _ = stream.flush().await;
        tokio::time::sleep(within).await;
        let _ = stream.write_all(b"lf").await;
        let _ = stream.flush().await;
        let _ = stream.read(&mut buffer).await;
    }
}

#[tokio::test]
async fn a_late_handshake_shows_in_tls_and_a_late_proxy_in_proxy() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(dir.path());
    let acceptor = authority.acceptor(&["127.0.0.1"], 2099);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let quick = acceptor.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                tokio::time::sleep(DELAY).await;
                if let Some(stream) = accept(&acceptor, stream).await {
                    slow_answer(stream, Duration::ZERO, Duration::ZERO).await;
                }
            });
        }
    });
    let ca = format!("ca = '{}'", authority.file().display());
    delayed("the handshake", Phase::Tls, &format!("http = {{ url = 'https://{address}/', {ca} }}")).await;

    let proxy = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = proxy.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = proxy.accept().await {
            let acceptor = quick.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                tokio::time::sleep(DELAY).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                // It plays the server behind it as well.
                if let Some(stream) = accept(&acceptor, stream).await {
                    slow_answer(stream, Duration::ZERO, Duration::ZERO).await;
                }
            });
        }
    });
    let entry = format!("http = {{ url = 'https://127.0.0.1:9/', proxy = 'http://{address}', {ca} }}");
    delayed("the proxy", Phase::Proxy, &entry).await;
}

#[tokio::test]
async fn a_listener_that_takes_nobody_shows_in_connect() {
    for _ in 0..TRIES {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let listener = socket.listen(1).expect("a listener");
        let address = listener.local_addr().expect("bound");
        // The queue of those who wait to be taken is full; who comes later is asked to come again after a second.
        let mut held = Vec::new();
        while let Ok(Ok(stream)) = tokio::time::timeout(DELAY, TcpStream::connect(address)).await {
            held.push(stream);
        }
        let entry = format!("http = 'http://{address}/'\ntimeout = '20s'\ninterval = '30s'");
        let serve = async {
            tokio::time::sleep(DELAY).await;
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                tokio::spawn(slow_answer(stream, Duration::ZERO, Duration::ZERO));
            }
        };
        let outcome = tokio::select! {
            outcome = look(&entry) => outcome,
            () = serve => panic!("the listener ended"),
        };
        assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""));
        if is_in(&outcome, Phase::Connect) {
            return;
        }
    }
    panic!("the wait for a place in the queue is in no run's connect phase");
}

#[tokio::test]
async fn silent_servers_do_not_hold_up_the_handshakes_of_others() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(dir.path());
    let acceptor = authority.acceptor(&["127.0.0.1"], 2099);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let well = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Some(stream) = accept(&acceptor, stream).await {
                    slow_answer(stream, Duration::ZERO, Duration::ZERO).await;
                }
            });
        }
    });
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("bound");
    let held: Vec<_> = (0..64)
        .map(|_| {
            tokio::spawn(async move { look(&format!("tls = '{address}'\ntimeout = '30s'\ninterval = '60s'")).await })
        })
        .collect();
    // All of them have sent their half and wait.
    let mut taken = Vec::new();
    while taken.len() < held.len() {
        let (mut stream, _) = silent.accept().await.expect("a connection");
        let mut first = [0];
        stream.read_exact(&mut first).await.expect("a greeting");
        taken.push(stream);
    }
    let outcome = look(&format!("tls = {{ address = '{well}', ca = '{}' }}", authority.file().display())).await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""));
    assert!(held.iter().all(|it| !it.is_finished()), "they still hold theirs");
    held.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Runs of each that a median is taken of.
const RUNS: usize = 5;

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn phases_agree_with_those_of_blackbox_exporter() {
    let late = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = late.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = late.accept().await {
            tokio::spawn(slow_answer(stream, DELAY / 3, Duration::ZERO));
        }
    });
    let (Some(peers), Some(blackbox)) = (nginx(upstream), Blackbox::start()) else { return };
    let (plain, tls, ca) = (peers.nginx.plain, peers.nginx.tls, &peers.ca);
    for (module, base) in [("http", format!("http://127.0.0.1:{plain}")), ("https", format!("https://127.0.0.1:{tls}"))]
    {
        for path in ["/health", "/late", "/slow"] {
            let url = format!("{base}{path}");
            let entry =
                if module == "https" { format!("http = {{ url = '{url}', {ca} }}") } else { format!("http = '{url}'") };
            let mut apart = Vec::new();
            for _ in 0..TRIES {
                apart = disagreements(module, &url, &entry, &blackbox).await;
                if apart.is_empty() {
                    break;
                }
            }
            assert!(apart.is_empty(), "{url}: {apart:?}");
        }
    }
}

/// The phases whose medians are further apart than a fifth and a millisecond: name, ours, theirs.
async fn disagreements(module: &str, url: &str, entry: &str, blackbox: &Blackbox) -> Vec<(&'static str, f64, f64)> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let outcome = look(entry).await;
        assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""));
        ours.push(outcome.phases);
        theirs.push(tokio::task::block_in_place(|| blackbox.probe(module, url)));
    }
    let phases =
        [(Phase::Connect, "connect"), (Phase::Tls, "tls"), (Phase::Wait, "processing"), (Phase::Body, "transfer")];
    let apart = phases.into_iter().filter_map(|(phase, name)| {
        let own = median(ours.iter().map(|it| it.get(phase).unwrap_or_default().as_secs_f64()).collect());
        let other = median(theirs.iter().map(|it| blackbox_phase(it, name)).collect());
        let difference = (own - other).abs();
        (difference > 0.001 && difference > other * 0.2).then_some((name, own, other))
    });
    apart.collect()
}

#[tokio::test]
async fn a_reset_and_a_wrong_issuer_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut first = [0];
            let _ = stream.read_exact(&mut first).await;
            // Closing with unread bytes is a reset.
            drop(stream);
        }
    });
    for entry in [format!("http = 'http://{address}/'"), format!("tls = '{address}'")] {
        assert_eq!(look(&entry).await.trouble.map(|it| it.cause), Some(Cause::Reset), "{entry}");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let other = tempfile::tempdir().expect("a directory");
    let (authority, stranger) = (Authority::new(dir.path()), Authority::new(other.path()));
    let acceptor = authority.acceptor(&["127.0.0.1"], 2099);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = accept(&acceptor, stream).await;
        }
    });
    let outcome = look(&format!("tls = {{ address = '{address}', ca = '{}' }}", stranger.file().display())).await;
    assert_eq!((outcome.brief(), outcome.evidence.chain.len()), ("tls", 1));
    let outcome = look(&format!(
        "tls = {{ address = '{address}', ca = '{}', server_name = 'h.example' }}",
        authority.file().display()
    ))
    .await;
    assert!(outcome.trouble.expect("trouble").text.starts_with("the certificate is not for `h.example`"));
}
