//! `dns`, `prometheus`, `alertmanager`, `pool` and `host` against dnsmasq, Prometheus, Alertmanager and this host.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hotseat::config;
use hotseat::domain::ids::HostId;
use hotseat::domain::probe::beside::verdict;
use hotseat::domain::probe::outcome::{Cause, Outcome, Phase, ProbeResult};
use hotseat::service::probe::Place;
use hotseat::service::probe::run::run_once;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::peers::{Peer, free_port, program};

pub async fn look(entry: &str) -> Outcome {
    let text = format!("[[probe]]\nname = \"it\"\n{entry}\n");
    let (config, errors) = config::parse("c.toml", &text);
    assert!(errors.is_empty(), "{errors:?}");
    let place = Place::alone(HostId::new("h"), Path::new("/nonexistent"));
    run_once(&config.probes[0], &place, Duration::ZERO).await
}

fn words(outcome: &Outcome) -> (ProbeResult, &str, &str) {
    (outcome.result, outcome.brief(), outcome.trouble.as_ref().map_or("", |it| it.text.as_str()))
}

fn dnsmasq() -> Option<Peer> {
    dnsmasq_with(|_| {})
}

fn dnsmasq_with(change: impl Fn(&mut Command)) -> Option<Peer> {
    let program = program("dnsmasq")?;
    Some(Peer::start(|port| {
        let mut command = Command::new(&program);
        command.args([
            "-k",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
            "-a",
            "127.0.0.1",
        ]);
        command.args(["--pid-file=", "-p", &port.to_string(), "--user=root", "--local=/test/", "--local-ttl=77"]);
        change(&mut command);
        command.args(["--host-record=two.test,203.0.113.7", "--host-record=two.test,203.0.113.8"]);
        command.args(["--mx-host=two.test,mail.test,10", "--ptr-record=7.113.0.203.in-addr.arpa,two.test"]);
        for number in 0..60 {
            // More than fits into a datagram.
            command.arg(format!("--txt-record=long.test,{number}-{}", "x".repeat(60)));
        }
        command
    }))
}

#[tokio::test]
async fn a_name_server_is_asked_and_every_answer_is_an_answer() {
    let Some(server) = dnsmasq() else { return };
    let at = server.address();
    let ask = |name: &str, kind: &str, expect: &str| {
        format!("dns = {{ name = '{name}', type = '{kind}', server = '{at}' }}\nexpect = [{expect}]\ntimeout = '20s'")
    };
    let outcome = look(&ask("two.test", "A", "'answer contains 203.0.113.7', 'answers == 2', 'ttl <= 77s'")).await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""));
    assert!(outcome.phases.dns.is_some());
    assert!(outcome.evidence.text.starts_with("NOERROR: 203.0.113."), "{}", outcome.evidence.text);
    let outcome = look(&ask("two.test", "A", "'answer contains 203.0.113.9'")).await;
    assert_eq!((outcome.result, outcome.trouble.map(|it| it.cause)), (ProbeResult::Fail, Some(Cause::Value)));
    let outcome = look(&ask("none.test", "A", "")).await;
    assert_eq!(words(&outcome), (ProbeResult::Fail, "NXDOMAIN", "rcode is 'NXDOMAIN', expected rcode == NOERROR"));
    assert_eq!(look(&ask("none.test", "A", "'rcode == NXDOMAIN'")).await.result, ProbeResult::Ok);
    let outcome = look(&ask("two.test", "MX", "\"answer =~ 'mail.test'\"")).await;
    assert_eq!(words(&outcome).0, ProbeResult::Ok, "{outcome:?}");
    assert_eq!(look(&ask("203.0.113.7", "PTR", "'answer contains two.test'")).await.result, ProbeResult::Ok);
    let outcome = look(&ask("long.test", "TXT", "'answers == 60'")).await;
    assert_eq!((words(&outcome).0, outcome.evidence.protocol.as_deref()), (ProbeResult::Ok, Some("TCP")));
}

#[tokio::test]
async fn a_silent_name_server_is_a_timeout_in_dns_and_one_that_is_gone_refuses() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap();
    let outcome = look(&format!("dns = {{ name = 'x.test', server = '{at}' }}\ntimeout = '200ms'")).await;
    let trouble = outcome.trouble.expect("trouble");
    assert_eq!((outcome.result, trouble.cause), (ProbeResult::Fail, Cause::Timeout(Phase::Dns)));
    let at = format!("127.0.0.1:{}", free_port());
    let outcome = look(&format!("dns = {{ name = 'x.test', server = '{at}' }}")).await;
    assert_eq!(outcome.trouble.map(|it| it.cause), Some(Cause::Refused));
}

#[tokio::test]
async fn a_forged_answer_is_passed_over() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = server.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = server.recv_from(&mut buffer).await {
            let mut answer = buffer[..length].to_vec();
            // An answer, but not to this question.
            answer[0] ^= 0xff;
            answer[2] |= 0x80;
            let _ = server.send_to(&answer, from).await;
            let _ = server.send_to(b"\x00", from).await;
        }
    });
    let outcome = look(&format!("dns = {{ name = 'x.test', server = '{at}' }}\ntimeout = '200ms'")).await;
    assert_eq!(outcome.trouble.map(|it| it.cause), Some(Cause::Timeout(Phase::Dns)));
}

async fn until<F: Future<Output = Outcome>>(look: impl Fn() -> F, holds: impl Fn(&Outcome) -> bool) -> Outcome {
    // The peer needs a moment to have something to say; a broken one is ended by the test harness' patience.
    for _ in 0..10_000 {
        let outcome = look().await;
        if holds(&outcome) {
            return outcome;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    look().await
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_is_asked_and_its_alert_reaches_alertmanager() {
    let (Some(prometheus), Some(alertmanager)) = (program("prometheus"), program("prometheus-alertmanager")) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("a.yml", "route: {receiver: none}\nreceivers: [{name: none}]\n");
    let alerts = Peer::start(|port| {
        let mut command = Command::new(&alertmanager);
        command.arg(format!("--config.file={}", dir.path().join("a.yml").display()));
        command.arg(format!("--storage.path={}", dir.path().join("alerts").display()));
        command.args([format!("--web.listen-address=127.0.0.1:{port}"), "--cluster.listen-address=".into()]);
        command
    });
    write(
        "p.yml",
        &format!(
            "global: {{evaluation_interval: 100ms}}\nrule_files: [rules.yml]\nalerting: {{alertmanagers: [{{static_configs: [{{targets: ['{}']}}]}}]}}\n",
            alerts.address()
        ),
    );
    let severity = |name: &str, severity: &str| {
        format!(
            "  - {{alert: {name}, expr: 'vector(1)', labels: {{severity: {severity}, team: core}}, annotations: {{summary: 'it is so'}}}}\n"
        )
    };
    write(
        "rules.yml",
        &format!(
            "groups:\n- name: g\n  rules:\n{}{}",
            severity("ApiDown", "critical"),
            severity("DiskFills", "warning")
        ),
    );
    let server = Peer::start(|port| {
        let mut command = Command::new(&prometheus);
        command.arg(format!("--config.file={}", dir.path().join("p.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
        command.args([format!("--web.listen-address=127.0.0.1:{port}"), "--rules.alert.resend-delay=100ms".into()]);
        command
    });
    let at = server.address();
    let ask = |query: &str, more: &str| {
        format!("prometheus = {{ url = 'http://{at}', query = \"{query}\" }}\n{more}\ntimeout = '20s'")
    };
    // It answers 503 until it has read its data.
    let outcome = until(
        || async { look(&ask("vector(0.2)", "expect = 'value < 0.05'")).await },
        |it| it.brief() != "503" && it.evidence.status == Some(200),
    )
    .await;
    assert_eq!(words(&outcome), (ProbeResult::Fail, "value 0.2", "value is 0.2, expected value < 0.05"));
    let both = "label_replace(vector(1),'i','a','','') or label_replace(vector(9),'i','b','','')";
    let outcome = look(&ask(both, "expect = 'value < 5'")).await;
    assert_eq!(words(&outcome).2, "1 of 2 at {i=\"b\"}: value is 9, expected value < 5");
    let parts: Vec<_> = outcome.evidence.parts.iter().map(|it| (it.name.as_str(), it.result)).collect();
    assert_eq!(parts, [("{i=\"a\"}", ProbeResult::Ok), ("{i=\"b\"}", ProbeResult::Fail)]);
    assert_eq!(outcome.evidence.perf.len(), 2);
    let outcome = look(&ask("nothing_at_all", "expect = 'value < 5'")).await;
    assert_eq!((outcome.result, outcome.brief()), (ProbeResult::Unknown, "empty"));
    let empty_is_ok =
        ask("nothing_at_all", "expect = 'value < 5'\nprefer = 'value > 1'").replace("\" }", "\", empty = 'ok' }");
    let outcome = look(&empty_is_ok).await;
    assert_eq!((words(&outcome), outcome.evidence.text.as_str()), ((ProbeResult::Ok, "ok", ""), "no sample"));
    let outcome = look(&ask("vector(0)/0", "expect = 'value < 5'")).await;
    assert_eq!((outcome.result, outcome.brief()), (ProbeResult::Unknown, "NaN"));
    let outcome = look(&ask("up{", "")).await;
    assert_eq!((outcome.result, outcome.brief()), (ProbeResult::Unknown, "bad query"), "{outcome:?}");

    let at = alerts.address();
    let all = format!("alertmanager = 'http://{at}'");
    let outcome = until(|| async { look(&all).await }, |it| it.evidence.parts.len() == 2).await;
    assert_eq!(words(&outcome), (ProbeResult::Fail, "2 alerts", "2 alerts fire: ApiDown, DiskFills"));
    let parts: Vec<_> =
        outcome.evidence.parts.iter().map(|it| (it.name.as_str(), it.result, it.text.as_str())).collect();
    assert_eq!(parts, [("ApiDown", ProbeResult::Fail, "it is so"), ("DiskFills", ProbeResult::Degraded, "it is so")]);
    let warnings = format!("alertmanager = {{ url = 'http://{at}', filter = ['team=core', 'severity!=critical'] }}");
    assert_eq!(words(&look(&warnings).await), (ProbeResult::Degraded, "1 alert", "1 alert fires: DiskFills"));
    assert_eq!(words(&look(&format!("{warnings}\nexpect = 'alerts == 0'")).await).0, ProbeResult::Fail);
    assert_eq!(words(&look(&format!("{all}\nexpect = 'alerts < 5'")).await).0, ProbeResult::Ok);
}

/// Answers every request with this and hangs up.
async fn serve(status: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; 4096];
            let _ = stream.read(&mut buffer).await;
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn what_is_no_prometheus_fails_and_its_token_is_never_shown() {
    let at = serve("502 Bad Gateway", "<html>token=topsecret99").await;
    let outcome = look(&format!(
        "prometheus = {{ url = 'http://{at}', query = 'up', bearer = 'topsecret99' }}\nexpect = 'value > 0'"
    ))
    .await;
    assert_eq!((outcome.result, outcome.brief()), (ProbeResult::Fail, "502"));
    assert!(!format!("{outcome:?}").contains("topsecret99"), "{outcome:?}");
}

#[tokio::test]
async fn a_pool_says_whether_it_survives_the_loss_of_one() {
    let (good, bad) = (serve("200 OK", "fine").await, serve("503 Service Unavailable", "").await);
    let gone = format!("127.0.0.1:{}", free_port());
    let pool = |members: &[&str], need: u32| format!("pool = {{ members = {members:?}, need = {need} }}");
    let url = |at: &str| format!("http://{at}/health");
    let outcome = look(&pool(&[&url(&good), &good, &url(&good)], 2)).await;
    assert_eq!(
        (outcome.result, outcome.evidence.text.as_str()),
        (ProbeResult::Ok, "3 of 3 well, 2 needed: survives the loss of one")
    );
    let outcome = look(&pool(&[&url(&good), &good, &url(&bad)], 2)).await;
    assert_eq!((outcome.result, outcome.brief()), (ProbeResult::Degraded, "no spare left"));
    assert_eq!(outcome.evidence.parts[2].text, "status is 503, expected status < 400");
    let outcome = look(&pool(&[&url(&good), &gone, &url(&bad)], 2)).await;
    assert_eq!((outcome.result, outcome.brief()), (ProbeResult::Fail, "1/3, need 2"));
}

#[tokio::test]
async fn this_host_is_looked_at() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for (entry, wanted) in [
        ("host = 'load'\nexpect = 'per_core < 100000'".to_string(), "load1"),
        ("host = 'memory'\nexpect = 'available > 0'".into(), "available"),
        ("host = 'swap'\nexpect = 'used <= 100'".into(), "used"),
        ("host = { disk = '/' }\nexpect = ['free >= 0', 'inodes <= 100']".into(), "free_gib"),
        ("host = { interface = 'lo' }\nexpect = ['errors == 0', 'state == up']".into(), "rx_mbit"),
        (format!("host = {{ port = {port} }}"), "listening"),
        (format!("host = {{ port = '127.0.0.1:{port}' }}"), "listening"),
    ] {
        let outcome = look(&entry).await;
        assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""), "{entry}");
        assert!(outcome.evidence.perf.iter().any(|it| it.label == wanted), "{entry}: {outcome:?}");
    }
    let gone = free_port();
    let absent = "host = { process = 'not-running' }";
    for (entry, brief, text) in [
        (format!("host = {{ port = {gone} }}"), "listening 0", format!("nothing listens on port {gone}")),
        (
            format!("host = {{ port = '127.0.0.1:{gone}' }}"),
            "listening 0",
            format!("nothing listens on 127.0.0.1:{gone}"),
        ),
        (absent.into(), "count 0", "no process is called `not-running`".into()),
        (format!("{absent}\nexpect = 'count >= 2'"), "count 0", "count is 0, expected count >= 2".into()),
    ] {
        assert_eq!(words(&look(&entry).await), (ProbeResult::Fail, brief, text.as_str()), "{entry}");
    }
    let outcome = look("host = { disk = '/surely/not/there' }").await;
    assert_eq!(outcome.result, ProbeResult::Fail);
    let outcome = look("host = { interface = 'none0' }").await;
    assert_eq!((outcome.result, outcome.brief()), (ProbeResult::Fail, "no interface"));
}

/// The agent's resolver does not know what the one of this session knows, or nobody does: these are two outages.
#[tokio::test]
async fn two_resolvers_tell_a_service_that_is_down_from_an_agent_that_cannot_find_it() {
    // Of a name that only one of them has.
    let knows = |command: &mut Command| {
        command.arg("--host-record=moved.test,203.0.113.9");
    };
    let (Some(agents), Some(ours)) = (dnsmasq(), dnsmasq_with(knows)) else { return };
    let ask = |server: &Peer, name: &str| {
        format!(
            "dns = {{ name = '{name}', server = '{}' }}\nexpect = 'rcode == NOERROR'\ntimeout = '20s'",
            server.address()
        )
    };
    let both = async |name: &str| {
        let (agent, here) = (look(&ask(&agents, name)).await, look(&ask(&ours, name)).await);
        (verdict(&agent, &here), verdict(&here, &agent))
    };
    let (agents_fault, ours_fault) = both("moved.test").await;
    assert!(agents_fault.starts_with("here it answers in "), "{agents_fault}");
    assert!(
        agents_fault.contains("NXDOMAIN") && agents_fault.ends_with("its resolver answers otherwise"),
        "{agents_fault}"
    );
    assert!(ours_fault.starts_with("the agent is answered in "), "{ours_fault}");
    assert!(ours_fault.ends_with("this session's resolver answers otherwise"), "{ours_fault}");
    let (down, _) = both("gone.test").await;
    assert!(
        down.starts_with("it fails from both in the same way (") && down.ends_with("it is not the agent"),
        "{down}"
    );
    let (well, _) = both("two.test").await;
    assert!(well.starts_with("it answers both: "), "{well}");
}

#[tokio::test]
async fn this_host_answers_a_ping_and_the_way_is_said() {
    let outcome = look("icmp = { host = '127.0.0.1', count = 2 }\nexpect = ['loss == 0', 'rtt < 5s']").await;
    let way = outcome.evidence.protocol.clone().unwrap_or_default();
    assert!(["ICMP", "TCP"].iter().any(|it| way.starts_with(it)), "{way}");
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""), "{way}");
    assert!(outcome.evidence.perf.iter().any(|it| it.label == "rtt"), "{outcome:?}");
    let outcome = look("icmp = 'surely-not-there.invalid'").await;
    assert_eq!((outcome.result, outcome.brief()), (ProbeResult::Fail, "dns"));
}

/// A network of its own in which anybody may ping: the kernels of most hosts allow a socket to root's group only.
#[test]
fn a_socket_of_our_own_pings_where_the_kernel_allows_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    std::fs::write(&file, "[[probe]]\nname = 'p'\nicmp = { host = '127.0.0.1', count = 2 }\n").unwrap();
    let inside = |allow: &str| {
        let script =
            format!("ip link set lo up && {allow} || exit 77; exec \"$0\" --config \"$1\" --state-dir \"$2\" probe p");
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "sh", "-c", &script, env!("CARGO_BIN_EXE_hotseat")])
            .args([&file, &dir.path().join("state")])
            .output();
        let output =
            output.ok().filter(|it| !matches!(it.status.code(), Some(1 | 77 | 127) | None) || !it.stdout.is_empty());
        output.map(|it| (it.status.code(), String::from_utf8_lossy(&it.stdout).into_owned()))
    };
    let Some((code, said)) = inside("echo '0 0' > /proc/sys/net/ipv4/ping_group_range") else {
        let said = "skipped: no network namespace of one's own (unshare, ip, or the kernel's leave)\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes());
        return;
    };
    assert!(code == Some(0) && said.contains("2 of 2 answered"), "{said}");
    assert!(said.lines().any(|it| it.trim_end().ends_with(", ICMP")), "by a socket: {said}");
    // Without that leave it goes another way and says which.
    let (_, said) = inside("true").unwrap();
    assert!(said.contains("ICMP by `ping`") || said.contains("TCP"), "{said}");
}
