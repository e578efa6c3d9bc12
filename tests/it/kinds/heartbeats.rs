//! Heartbeats from the job's command line to the board: by the socket, by the file, by HTTP, over a restart.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hotseat::config::{self, Loaded};
use hotseat::domain::ids::{HostId, ProbeId};
use hotseat::domain::probe::outcome::{Outcome, ProbeResult};
use hotseat::runtime::{Runtime, RuntimeSetup};
use hotseat::service::probe::Place;
use hotseat::service::probe::heartbeat::{file, serve};
use hotseat::service::probe::run::run_once;

/// A deadline that only a broken test meets.
const LONG: Duration = Duration::from_secs(60);
const TOKEN: &str = "0123456789abcdef";

fn config(listen: Option<SocketAddr>) -> String {
    let beat = listen.map(|it| format!("[beat]\nlisten = \"{it}\"\ntoken = \"{TOKEN}\"\n")).unwrap_or_default();
    format!(
        "{beat}[[probe]]\nname = \"nightly job\"\nheartbeat = {{ every = \"24h\", grace = \"1h\" }}\ninterval = \"1h\"\nretry = \"1h\"\n"
    )
}

fn start(state_dir: &Path, listen: Option<SocketAddr>) -> Runtime {
    let (config, errors) = config::parse("c.toml", &config(listen));
    assert!(errors.is_empty(), "{errors:?}");
    Runtime::start(RuntimeSetup {
        host: HostId::new("h"),
        user: "tester".into(),
        state_dir: state_dir.to_path_buf(),
        loaded: Loaded { config, readable: true, ..Loaded::default() },
        reader: None,
    })
}

/// Waits until the last outcome of the heartbeat is so.
async fn until(runtime: &Runtime, holds: impl Fn(&Outcome) -> bool) -> Outcome {
    let mut link = runtime.attach(hotseat::domain::presence::Visitor::inside("alice"));
    let id = ProbeId::new(&HostId::new("h"), "nightly job");
    let waiting = async {
        loop {
            let last = runtime.board().probes.get(&id).and_then(|it| it.last().cloned());
            if let Some(last) = last.filter(&holds) {
                return last;
            }
            link.facts_rx.recv().await.expect("the runtime runs");
        }
    };
    tokio::time::timeout(LONG, waiting).await.expect("it is observed")
}

fn beat(directory: &Path, arguments: &[&str], input: Option<&[u8]>) -> (Option<i32>, String) {
    beat_with(&config(None), directory, arguments, input)
}

fn beat_with(config: &str, directory: &Path, arguments: &[&str], input: Option<&[u8]>) -> (Option<i32>, String) {
    let file = directory.join("c.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotseat"));
    command.arg("--config").arg(file).arg("--state-dir").arg(directory.join("state")).args(["-v", "beat"]);
    let mut child = command
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    if let Some(input) = input {
        child.stdin.take().unwrap().write_all(input).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

async fn socket(state_dir: &Path) {
    while std::os::unix::net::UnixStream::connect(state_dir.join(serve::SOCKET)).is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_reports_failure_is_down_at_once_and_up_when_it_is_well() {
    let directory = tempfile::tempdir().unwrap();
    let state_dir = directory.path().join("state");
    let runtime = start(&state_dir, None);
    let first = until(&runtime, |_| true).await;
    assert_eq!(first.result, ProbeResult::Ok);
    assert!(first.evidence.text.starts_with("new: no beat has ever come, the first is due in "), "{first:?}");
    socket(&state_dir).await;
    let mode = std::fs::metadata(state_dir.join(serve::SOCKET)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // More than a pipe holds and more than is kept, with a colour in it: the job must not be ended by it.
    let mut said = b"\x1b[31mdisk full password=hunter22\n".to_vec();
    said.resize(1 << 20, b'x');
    assert_eq!(beat(directory.path(), &["nightly job", "--start"], None), (Some(0), String::new()));
    assert_eq!(beat(directory.path(), &["nightly job", "--exit", "3"], Some(&said)), (Some(0), String::new()));
    let down = until(&runtime, |it| it.result == ProbeResult::Fail).await;
    let trouble = down.trouble.expect("a reason");
    assert_eq!(trouble.brief, "exit 3");
    assert!(trouble.text.contains("disk full password=***"), "{}", trouble.text);
    assert!(down.evidence.body.len() <= 10 << 10 && !down.evidence.body.contains("hunter22"));
    assert!(down.evidence.perf.iter().any(|it| it.label == "took"), "{:?}", down.evidence.perf);

    assert_eq!(beat(directory.path(), &["nightly job", "-m", "42 tables"], None).0, Some(0));
    until(&runtime, |it| it.result == ProbeResult::Ok && it.evidence.body == "42 tables").await;
    runtime.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_beat_is_lost_while_nothing_runs() {
    let directory = tempfile::tempdir().unwrap();
    let state_dir = directory.path().join("state");
    let (code, said) = beat(directory.path(), &["nightly job", "--fail", "-m", "no space"], None);
    assert_eq!(code, Some(0));
    assert!(said.contains("written to the state directory"), "{said}");
    let runtime = start(&state_dir, None);
    let down = until(&runtime, |it| it.result == ProbeResult::Fail).await;
    assert!(down.trouble.is_some_and(|it| it.text.ends_with("ago: no space")));
    runtime.shutdown().await;
    // The socket of one that is gone takes nothing.
    assert_eq!(beat(directory.path(), &["nightly job"], None).0, Some(0));
    let (config, _) = config::parse("c.toml", &config(None));
    let outcome = run_once(&config.probes[0], &Place::alone(HostId::new("h"), &state_dir), Duration::ZERO).await;
    assert_eq!(outcome.result, ProbeResult::Ok, "{outcome:?}");
}

#[test]
fn a_name_that_is_no_heartbeat_is_a_mistake_of_the_caller() {
    let directory = tempfile::tempdir().unwrap();
    let (code, said) = beat(directory.path(), &["nightly jobb"], None);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("there is no heartbeat `nightly jobb`") && said.contains("did you mean `nightly job`?"),
        "{said}"
    );
    assert!(!file::path(&directory.path().join("state"), "nightly jobb").exists());
}

#[test]
fn a_beat_under_a_config_with_mistakes_is_kept_and_its_name_doubted() {
    let directory = tempfile::tempdir().unwrap();
    let good = config(None);
    for (config, why) in [
        (format!("{good}odd = 1\n"), "c.toml` has a mistake, so whether there is a heartbeat `nightly jobb`"),
        (format!("{good}[[probe\n"), "c.toml` could not be read, so whether there is a heartbeat `nightly jobb`"),
    ] {
        let (code, said) = beat_with(&config, directory.path(), &["nightly jobb"], None);
        assert!(code == Some(0) && said.contains(why), "{said}");
    }
    assert!(file::path(&directory.path().join("state"), "nightly jobb").exists());
    // One that can be read among the mistakes is known.
    let config = format!("{good}[[probe]]\nname = 'x'\n");
    let (code, said) = beat_with(&config, directory.path(), &["nightly job"], None);
    assert!(code == Some(0) && !said.contains("warning"), "{said}");
}

fn ask(address: SocketAddr, head: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LONG))?;
    write!(stream, "{head}\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn beats_by_http_need_the_token() {
    let directory = tempfile::tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let runtime = start(&directory.path().join("state"), Some(address));
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let status = |head: String, body: &str| loop {
        match ask(address, &head, body) {
            Ok(answer) => return answer.split(' ').nth(1).unwrap_or_default().to_string(),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(status("POST /beat/nightly%20job HTTP/1.1".into(), ""), "401");
    assert_eq!(status(format!("POST /beat/nightly%20job HTTP/1.1\r\n{bearer}x"), ""), "401");
    assert_eq!(status(format!("POST /beat/other HTTP/1.1\r\n{bearer}"), ""), "404");
    assert_eq!(status(format!("DELETE /beat/nightly%20job HTTP/1.1\r\n{bearer}"), ""), "405");
    assert_eq!(status(format!("POST /beat/nightly%20job/7 HTTP/1.1\r\n{bearer}"), "out of tapes"), "200");
    let down = until(&runtime, |it| it.result == ProbeResult::Fail).await;
    assert_eq!(down.brief(), "exit 7");
    assert!(down.trouble.is_some_and(|it| it.text.ends_with("out of tapes")));
    runtime.shutdown().await;
}
