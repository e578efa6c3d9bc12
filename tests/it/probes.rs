//! Every kind of probe against real listeners and processes of this test: what it finds, and in which words.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hotseat::config;
use hotseat::domain::ids::HostId;
use hotseat::domain::probe::outcome::{Cause, Outcome, Phase, ProbeResult};
use hotseat::service::probe::run::run_once;
use hotseat::service::probe::{Place, ProbeSpec};
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub(crate) fn spec(entry: &str) -> ProbeSpec {
    let text = format!("[[probe]]\nname = \"it\"\n{entry}\n");
    let (mut config, errors) = config::parse("c.toml", &text);
    assert!(errors.is_empty(), "{errors:?}");
    config.probes.remove(0)
}

pub(crate) async fn look(entry: &str) -> Outcome {
    let place = Place::alone(HostId::new("h"), Path::new("/nonexistent"));
    run_once(&spec(entry), &place, Duration::ZERO).await
}

pub(crate) fn words(outcome: &Outcome) -> (ProbeResult, &str, &str) {
    let trouble = outcome.trouble.as_ref();
    (outcome.result, outcome.brief(), trouble.map_or("", |it| it.text.as_str()))
}

/// What a server does with a request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Sends this and hangs up.
    Close(Vec<u8>),
    /// Sends this and says nothing more.
    Stall(Vec<u8>),
    /// Answers by path.
    Routes(Vec<(&'static str, String)>),
}

pub(crate) fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Starts a server that gives every connection the same answer; returns `127.0.0.1:port`.
pub(crate) async fn serve(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, answer.clone()));
        }
    });
    address
}

pub(crate) async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: Answer) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|it| it == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(length) if length > 0 => request.extend_from_slice(&buffer[..length]),
            _ => return,
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let (bytes, stall) = match answer {
        Answer::Close(bytes) => (bytes, false),
        Answer::Stall(bytes) => (bytes, true),
        Answer::Routes(routes) => {
            let path = request.split(' ').nth(1).unwrap_or_default();
            let found = routes.iter().find(|(route, _)| *route == path);
            // What came is sent back, so that a test sees which headers travelled.
            let echo = http("200 OK", "", &request);
            (found.map_or(echo, |(_, answer)| answer.clone()).into_bytes(), false)
        }
    };
    let _ = stream.write_all(&bytes).await;
    let _ = stream.flush().await;
    if stall {
        std::future::pending::<()>().await;
    }
    let _ = stream.shutdown().await;
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let wanted = format!("refused: nothing listens on {address}");
    for entry in [format!("tcp = '{address}'"), format!("http = 'http://{address}/'")] {
        let outcome = look(&entry).await;
        assert_eq!(words(&outcome), (ProbeResult::Fail, "refused", wanted.as_str()), "{entry}");
        assert!(outcome.phases.connect.is_some() && outcome.phases.wait.is_none());
    }
}

#[tokio::test]
async fn an_open_port_is_up() {
    let address = serve(Answer::Stall(Vec::new())).await;
    let outcome = look(&format!("tcp = '{address}'")).await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""));
    assert_eq!(outcome.evidence.address.as_deref(), Some(address.as_str()));
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_a_timeout_in_wait() {
    let address = serve(Answer::Stall(Vec::new())).await;
    let outcome = look(&format!("http = 'http://{address}/'\ntimeout = '1s'")).await;
    assert_eq!(outcome.trouble.as_ref().map(|it| it.cause), Some(Cause::Timeout(Phase::Wait)));
    assert_eq!(outcome.brief(), "timeout");
    assert!(outcome.phases.body.is_none());
}

#[tokio::test]
async fn a_body_that_does_not_end_is_a_timeout_in_body() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec();
    let address = serve(Answer::Stall(head)).await;
    let outcome = look(&format!("http = 'http://{address}/'\ntimeout = '1s'")).await;
    assert_eq!(outcome.trouble.as_ref().map(|it| it.cause), Some(Cause::Timeout(Phase::Body)));
    assert_eq!((outcome.evidence.status, outcome.evidence.text.as_str()), (Some(200), "half"));
}

#[tokio::test]
async fn a_body_that_ends_early_is_short() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec();
    let address = serve(Answer::Close(head)).await;
    let outcome = look(&format!("http = 'http://{address}/'")).await;
    let wanted = "short body: 4 of 100 bytes came, then the server hung up";
    assert_eq!(words(&outcome), (ProbeResult::Fail, "short body", wanted));
}

#[tokio::test]
async fn a_bad_status_says_which_and_shows_the_answer_without_escapes() {
    let answer = http("502 Bad Gateway", "", "upstream \u{1b}]0;x\u{7}down, token=abcdef");
    let address = serve(Answer::Close(answer.into_bytes())).await;
    let outcome = look(&format!("http = 'http://{address}/'\nexpect = 'status == 200'")).await;
    assert_eq!(words(&outcome), (ProbeResult::Fail, "502", "status is 502, expected status == 200"));
    assert_eq!(outcome.evidence.text, "upstream down, token=***");
}

#[tokio::test]
async fn a_server_that_hangs_up_or_speaks_something_else_is_told_apart() {
    let address = serve(Answer::Close(Vec::new())).await;
    assert_eq!(look(&format!("http = 'http://{address}/'")).await.brief(), "reset");
    let address = serve(Answer::Close(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec())).await;
    assert_eq!(look(&format!("http = 'http://{address}/'")).await.brief(), "not http");
    let outcome = look(&format!("http = 'https://{address}/'\ntimeout = '1s'")).await;
    assert_eq!(outcome.trouble.map(|it| it.cause), Some(Cause::Timeout(Phase::Tls)), "it waits for a request");
}

#[tokio::test]
async fn headers_and_body_are_capped() {
    let huge = format!("HTTP/1.1 200 OK\r\nX-Huge: {}\r\n\r\n", "x".repeat(2 << 20));
    let address = serve(Answer::Close(huge.into_bytes())).await;
    assert_eq!(look(&format!("http = 'http://{address}/'")).await.brief(), "headers");

    let address = serve(Answer::Close(http("200 OK", "", &"y".repeat(3 << 20)).into_bytes())).await;
    let outcome = look(&format!("http = 'http://{address}/'")).await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""));
    assert_eq!((outcome.evidence.cut, outcome.evidence.body_bytes), (true, 1 << 20));
}

#[tokio::test]
async fn redirects_are_followed_with_a_bound_and_without_credentials_to_others() {
    let other = serve(Answer::Routes(Vec::new())).await;
    let away = http("302 Found", &format!("Location: http://{other}/there\r\n"), "");
    let routes = vec![
        ("/a", http("301 Moved", "Location: b\r\n", "")),
        ("/away", away),
        ("/loop", http("302 Found", "Location: /loop\r\n", "")),
    ];
    let address = serve(Answer::Routes(routes)).await;
    let with = |path: &str, more: &str| {
        format!("http = {{ url = 'http://{address}{path}', headers = {{ Authorization = 'Bearer sesame' }}{more} }}")
    };
    let outcome = look(&format!("{}\nexpect = \"body contains 'sesame'\"", with("/a", ""))).await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""), "the same host gets the header");
    assert_eq!(outcome.evidence.redirects, [format!("http://{address}/b")]);
    assert!(!outcome.evidence.text.contains("sesame"), "{}", outcome.evidence.text);

    let outcome = look(&format!("{}\nexpect = \"body not contains 'sesame'\"", with("/away", ""))).await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""), "another host does not");

    let outcome = look(&with("/loop", "")).await;
    assert_eq!(outcome.brief(), "redirects");
    let outcome = look(&with("/loop", ", redirects = 0")).await;
    assert_eq!((outcome.result, outcome.evidence.status), (ProbeResult::Ok, Some(302)));
}

#[tokio::test]
async fn method_headers_and_body_are_sent() {
    let address = serve(Answer::Routes(Vec::new())).await;
    let entry = format!(
        "http = {{ url = 'http://bob:hunter2@{address}/x?y=1', method = 'post', json = {{ user = 'probe' }} }}\n\
         expect = [\"body =~ '^POST /x\\\\?y=1 '\", \"body contains 'authorization: Basic Ym9iOmh1bnRlcjI='\", \
         \"body contains 'content-type: application/json'\"]"
    );
    assert_eq!(words(&look(&entry).await), (ProbeResult::Ok, "ok", ""));
    assert_eq!(spec(&entry).probe.target(), format!("POST http://{address}/x?…"));
}

/// A TLS server with a certificate of its own; returns its address and writes the certificate to `ca.pem`.
async fn serve_tls(dir: &Path, names: &[&str], last_year: i32) -> String {
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("names");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    std::fs::write(dir.join("ca.pem"), certificate.pem()).expect("written");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .expect("a server");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream): Result<tokio_rustls::server::TlsStream<TcpStream>, _> = acceptor.accept(stream).await
                else {
                    return;
                };
                converse(stream, Answer::Close(http("200 OK", "", "ok").into_bytes())).await;
            });
        }
    });
    address
}

fn https(dir: &Path, address: &str, more: &str) -> String {
    format!("http = {{ url = 'https://{address}/', ca = '{}'{more} }}", dir.join("ca.pem").display())
}

#[tokio::test]
async fn a_trusted_certificate_shows_its_days_and_the_tls_phase() {
    let dir = tempfile::tempdir().expect("a directory");
    let address = serve_tls(dir.path(), &["127.0.0.1"], 2099).await;
    let outcome = look(&format!("{}\nexpect = 'cert.days > 7'", https(dir.path(), &address, ""))).await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""));
    assert!(outcome.phases.tls.is_some());
    assert_eq!(outcome.evidence.protocol.as_deref(), Some("HTTP/1.1 TLSv1.3"));
}

#[tokio::test]
async fn an_untrusted_certificate_fails_and_still_shows_its_days() {
    let dir = tempfile::tempdir().expect("a directory");
    let address = serve_tls(dir.path(), &["127.0.0.1"], 2099).await;
    let outcome = look(&format!("http = 'https://{address}/'")).await;
    assert_eq!((outcome.result, outcome.brief()), (ProbeResult::Fail, "tls"));
    let text = outcome.trouble.expect("trouble").text;
    assert!(text.starts_with("the certificate's issuer is not trusted (") && text.ends_with(" d left)"), "{text}");
    assert!(outcome.evidence.certificate.expect("recorded").days > 365);
}

#[tokio::test]
async fn an_expired_certificate_says_since_when() {
    let dir = tempfile::tempdir().expect("a directory");
    let address = serve_tls(dir.path(), &["127.0.0.1"], 2021).await;
    let outcome = look(&https(dir.path(), &address, "")).await;
    assert_eq!((outcome.result, outcome.brief()), (ProbeResult::Fail, "cert expired"));
    let text = outcome.trouble.expect("trouble").text;
    assert!(text.contains("ended ") && text.ends_with(" d ago)"), "{text}");

    // Not verified it answers, and what was asked about its days still holds.
    let entry = format!("{}\nexpect = 'cert.days > 7'", https(dir.path(), &address, ", verify = false"));
    let outcome = look(&entry).await;
    assert_eq!((outcome.result, outcome.brief()), (ProbeResult::Fail, "cert expired"));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_accepted() {
    let dir = tempfile::tempdir().expect("a directory");
    let address = serve_tls(dir.path(), &["other.example"], 2099).await;
    let outcome = look(&https(dir.path(), &address, "")).await;
    let text = outcome.trouble.expect("trouble").text;
    assert!(text.starts_with("the certificate is not for `127.0.0.1` but for other.example ("), "{text}");
}

#[tokio::test]
async fn plain_http_on_a_tls_url_is_named() {
    let address = serve(Answer::Close(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())).await;
    // The server of this test waits for a request; one that answers at once is a plain web server.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let plain = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let mut sink = [0; 1024];
            let _ = stream.read(&mut sink).await;
        }
    });
    assert_eq!(look(&format!("http = 'https://{plain}/'")).await.brief(), "not tls");
    assert_eq!(look(&format!("http = 'http://{address}/'")).await.brief(), "400");
}

async fn shell(script: &str, more: &str) -> Outcome {
    look(&format!("command = [\"sh\", \"-c\", '''{script}''']\n{more}")).await
}

#[tokio::test]
async fn exit_codes_are_those_of_nagios() {
    for (script, wanted) in [
        ("echo 'DISK OK - fine'", (ProbeResult::Ok, "ok", "")),
        ("echo 'DISK WARNING - 9% free'; exit 1", (ProbeResult::Degraded, "9% free", "DISK WARNING - 9% free")),
        ("echo 'DISK CRITICAL - 1% free'; exit 2", (ProbeResult::Fail, "1% free", "DISK CRITICAL - 1% free")),
        ("echo 'no such device' >&2; exit 3", (ProbeResult::Unknown, "no such device", "no such device")),
        ("exit 42", (ProbeResult::Unknown, "exit 42", "`sh` ended with 42, plugins end with 0 to 3: exit 42")),
        ("kill -9 $$", (ProbeResult::Unknown, "signal 9", "`sh` was ended by signal 9")),
    ] {
        assert_eq!(words(&shell(script, "").await), wanted, "{script}");
    }
}

#[tokio::test]
async fn a_missing_program_is_our_own_fault() {
    let outcome = look("command = ['hotseat-surely-not-there']").await;
    let text = "could not run `hotseat-surely-not-there`: no such program in the PATH";
    assert_eq!(words(&outcome), (ProbeResult::Unknown, "cannot run", text));
}

#[tokio::test]
async fn expectations_stand_above_the_convention() {
    let expect = "expect = ['exit in [0, 1]', 'perf.load < 4']";
    assert_eq!(shell("echo 'OK | load=3.5;4;8'; exit 1", expect).await.result, ProbeResult::Ok);
    let outcome = shell("echo 'OK | load=5.5;4;8'", expect).await;
    assert_eq!(words(&outcome), (ProbeResult::Fail, "load 5.5", "perf.load is 5.5, expected perf.load < 4"));
    assert_eq!(outcome.evidence.perf.len(), 1);
}

#[tokio::test]
async fn a_command_sees_a_clean_environment_and_no_terminal() {
    // Cargo sets this one for every test; nothing of ours may reach a plugin.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let outcome = shell(
        "test -z \"$CARGO_MANIFEST_DIR\" && ! test -t 0 && test -n \"$PATH\" && read x; exit $(( $? * 2 - 2 ))",
        "",
    )
    .await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""), "read finds the end of the input");
}

#[tokio::test]
async fn a_hanging_command_is_killed_with_its_children() {
    let dir = tempfile::tempdir().expect("a directory");
    let pids = dir.path().join("pids");
    let script = format!("trap '' TERM; sleep 600 & echo $$ $! > {}; wait; sleep 600", pids.display());
    let outcome = shell(&script, "timeout = '1s'").await;
    assert_eq!((outcome.result, outcome.brief()), (ProbeResult::Fail, "timeout"));
    for pid in std::fs::read_to_string(&pids).expect("started").split_whitespace() {
        let pid = rustix::process::Pid::from_raw(pid.parse().expect("a number")).expect("a process");
        // The signal was sent before the run ended; dying takes the kernel a moment longer, and a killed child of
        // a dead parent may wait to be reaped by init.
        let dead = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
            rustix::process::test_kill_process(pid).is_err() || stat.is_ok_and(|it| it.contains(") Z "))
        };
        let died = async {
            while !dead() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), died).await.expect("the whole group is killed");
    }
}

#[tokio::test]
async fn a_child_that_keeps_the_pipe_open_is_not_waited_for() {
    let outcome = shell("sleep 600 & echo fine", "timeout = '30s'\ninterval = '60s'").await;
    assert_eq!((outcome.result, outcome.evidence.text.as_str()), (ProbeResult::Ok, "fine"));
}

#[tokio::test]
async fn a_flood_of_output_is_read_but_not_kept() {
    let outcome = shell("head -c 1000000 /dev/zero | tr '\\0' x", "timeout = '20s'").await;
    assert_eq!(outcome.result, ProbeResult::Ok);
    assert_eq!((outcome.evidence.cut, outcome.evidence.body_bytes), (true, 1_000_000));
    assert!(outcome.evidence.text.chars().count() < 300);
}

/// Runs the binary on a config in a home of its own; returns its exit code and standard output.
fn hotseat(dir: &Path, config: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let file = dir.join("config.toml");
    std::fs::write(&file, config).expect("written");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_hotseat"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", dir)
        .env("HOTSEAT_USER", "bob")
        .env("HOTSEAT_STATE_DIR", dir.join("state"))
        .env("HOTSEAT_CONFIG", &file)
        .args(arguments)
        .output()
        .expect("started");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_command_line_exits_like_a_nagios_plugin() {
    let dir = tempfile::tempdir().expect("a directory");
    let entry =
        |name: &str, script: &str| format!("[[probe]]\nname = '{name}'\ncommand = ['sh', '-c', \"{script}\"]\n");
    let config = [
        entry("ok", "echo fine"),
        entry("slow", "echo 'X WARNING - slow'; exit 1"),
        entry("bad", "echo 'X CRITICAL - gone | n=3'; exit 2"),
        entry("odd", "exit 3"),
    ]
    .concat();
    for (name, code, word) in [
        ("ok", 0, "ok OK - fine"),
        ("slow", 1, "slow WARNING - "),
        ("bad", 2, "bad CRITICAL - "),
        ("odd", 3, "odd UNKNOWN - "),
    ] {
        let (found, stdout) = hotseat(dir.path(), &config, &["probe", name]);
        assert_eq!(found, Some(code), "{stdout}");
        assert!(stdout.starts_with(word), "{stdout}");
    }
    assert_eq!(hotseat(dir.path(), &config, &["probe", "--all"]).0, Some(2), "a failure is the worst");
    assert_eq!(hotseat(dir.path(), &config, &["probe", "nope"]).0, Some(3), "usage is unknown to a monitoring");

    let (code, stdout) = hotseat(dir.path(), &config, &["probe", "bad", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((code, &found["result"], &found["perf"][0]["value"]), (Some(2), &"fail".into(), &3.0.into()));

    let (code, stdout) = hotseat(dir.path(), &config, &["status", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((code, found["probes"].as_array().map(Vec::len), &found["failed"]), (Some(1), Some(4), &true.into()));

    assert_eq!(hotseat(dir.path(), &config, &["ack", "bad"]).0, Some(0));
    let acks = hotseat::service::probe::acks::read(&dir.path().join("state")).expect("read");
    assert_eq!(acks.get("bad").map(|it| it.by.as_str()), Some("bob"));
}
