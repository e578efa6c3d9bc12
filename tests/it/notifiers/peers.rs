//! Notifiers beside the real thing: official SDKs, a mail server, an Alertmanager.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hotseat::domain::alert::delivery::{Action, Delivery};
use hotseat::domain::alert::quiet::Silence;
use hotseat::service::notify::sample;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{PATIENCE, SECRET, send, spec};
use crate::support::faults::{Fault, FaultServer, Identity, Sent};

/// A Python that has a module: that of `HOTSEAT_PYTHON`, else the one in the PATH.
fn python(module: &str) -> Option<String> {
    let python = std::env::var("HOTSEAT_PYTHON").unwrap_or_else(|_| "python3".into());
    let import = format!("import {module}");
    let has_it =
        Command::new(&python).args(["-c", &import]).stderr(Stdio::null()).status().is_ok_and(|it| it.success());
    if has_it {
        return Some(python);
    }
    skip(&format!("PyPI {module}"));
    None
}

fn skip(name: &str) {
    assert!(std::env::var_os("HOTSEAT_REQUIRE_PEERS").is_none(), "`{name}` is not installed");
    // The harness shows it with `--nocapture`.
    let _ = std::io::stderr().write_all(format!("skipped: {name} not found\n").as_bytes());
}

fn script(name: &str) -> String {
    format!("{}/tests/it/notifiers/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Ended and reaped when dropped, also when a test fails.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets the SDK send and returns its request.
fn by_sdk(python: &str, service: &str, server: &FaultServer, folder: &Path, given: &Value) -> Sent {
    let mut child = Command::new(python)
        .args([&script("sdk.py"), service, &server.url()])
        .env("REQUESTS_CA_BUNDLE", folder.join("certificate.pem"))
        .env("SSL_CERT_FILE", folder.join("certificate.pem"))
        .env("NO_PROXY", "localhost")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{service}: {}", String::from_utf8_lossy(&output.stderr));
    server.sent().pop().unwrap()
}

/// A form in the order of its names.
fn form(body: &str) -> Vec<(String, String)> {
    let url = reqwest::Url::parse(&format!("http://x/?{body}")).unwrap();
    let mut pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    pairs.sort();
    pairs
}

/// A content type without the blanks and the case that mean nothing.
fn content_type(sent: &Sent) -> String {
    sent.header("content-type").replace(' ', "").to_ascii_lowercase()
}

#[tokio::test]
async fn an_sms_is_the_request_of_twilios_own_sdk() {
    let Some(python) = python("twilio") else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = FaultServer::start(|_, _| {
        Fault::answer("201 Created", "Content-Type: application/json\r\n", r#"{"sid":"SM1","status":"queued"}"#)
    });
    for (key, value, name) in
        [("from", "+15557654321", "from_"), ("service", "MG0123456789abcdef0123456789abcdef", "messaging_service_sid")]
    {
        let spec = spec(&format!(
            "[[notifier]]\nname = 'sms'\ntwilio = {{ url = '{}', account = 'AC01', token = '{SECRET}', {key} = '{value}', to = '+15551230000' }}\n",
            server.url()
        ));
        let mut delivery = sample::delivery(Action::Trigger);
        delivery.message.text = "api DOWN: ünïcode & + % = 日本\nsecond line".into();
        send(&spec, &delivery, &[], PATIENCE).await.unwrap();
        let ours = server.sent().pop().unwrap();
        let body = form(&ours.body).into_iter().find(|(name, _)| name == "Body").unwrap().1;
        let given = json!({ "account": "AC01", "token": SECRET, "message": { "to": "+15551230000", name: value, "body": body } });
        let theirs = by_sdk(&python, "twilio", &server, folder.path(), &given);
        assert_eq!(
            (&ours.method, &ours.target, form(&ours.body)),
            (&theirs.method, &theirs.target, form(&theirs.body))
        );
        for header in ["authorization", "accept"] {
            assert_eq!(ours.header(header), theirs.header(header), "{header}");
        }
        assert_eq!(content_type(&ours), content_type(&theirs));
    }
}

#[tokio::test]
async fn a_slack_message_is_the_request_of_slacks_own_sdk() {
    let Some(python) = python("slack_sdk") else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = FaultServer::start(|_, _| Fault::answer("200 OK", "Content-Type: text/html\r\n", "ok"));
    let spec = spec(&format!("[[notifier]]\nname = 'chat'\nslack = '{}/services/T1/B1/{SECRET}'\n", server.url()));
    for action in [Action::Trigger, Action::Resolve] {
        send(&spec, &sample::delivery(action), &[], PATIENCE).await.unwrap();
        let ours = server.sent().pop().unwrap();
        let message: Value = serde_json::from_str(&ours.body).unwrap();
        let given = json!({ "path": format!("/services/T1/B1/{SECRET}"), "message": message });
        let theirs = by_sdk(&python, "slack", &server, folder.path(), &given);
        assert_eq!((&ours.method, &ours.target), (&theirs.method, &theirs.target));
        assert_eq!(message, serde_json::from_str::<Value>(&theirs.body).unwrap());
        assert_eq!(content_type(&ours), content_type(&theirs));
    }
}

#[tokio::test]
async fn an_event_is_the_request_of_pagerdutys_own_sdk() {
    let Some(python) = python("pagerduty") else { return };
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::new();
    identity.write(folder.path());
    // Their SDK speaks https only.
    let server = FaultServer::start_tls(&identity, |_, it| {
        let key = serde_json::from_str::<Value>(&it.body).unwrap_or_default()["dedup_key"].clone();
        let body = json!({ "status": "success", "message": "Event processed", "dedup_key": key });
        Fault::answer("202 Accepted", "Content-Type: application/json\r\n", &body.to_string())
    });
    let spec = spec(&format!(
        "[[notifier]]\nname = 'page'\npagerduty = {{ url = '{}', key = '{SECRET}', ca = '{}' }}\n",
        server.url(),
        folder.path().join("certificate.pem").display()
    ));
    for action in [Action::Trigger, Action::Acknowledge, Action::Resolve] {
        let receipt = send(&spec, &sample::delivery(action), &[], PATIENCE).await.unwrap();
        assert_eq!((receipt.id.as_deref(), receipt.text.as_str()), (Some("host/api/17"), "Event processed"));
        let ours = server.sent().pop().unwrap();
        let event: Value = serde_json::from_str(&ours.body).unwrap();
        let mut arguments = json!({ "dedup_key": event["dedup_key"] });
        if action == Action::Trigger {
            let mut payload = event["payload"].clone();
            for key in ["summary", "source", "severity", "custom_details"] {
                arguments[key] = payload.as_object_mut().unwrap().remove(key).unwrap();
            }
            arguments["payload"] = payload;
        }
        let given = json!({ "key": SECRET, "action": action.word(), "event": arguments });
        let theirs = by_sdk(&python, "pagerduty", &server, folder.path(), &given);
        assert_eq!((&ours.method, &ours.target), (&theirs.method, &theirs.target));
        assert_eq!(event, serde_json::from_str::<Value>(&theirs.body).unwrap());
        assert_eq!(content_type(&ours), content_type(&theirs));
        // The key is in the body; neither of us sends a header with it.
        assert_eq!((ours.header("authorization"), theirs.header("authorization")), ("", ""));
    }
}

/// A mail server: its port, and its lines.
fn mail_server(python: &str, arguments: &[String]) -> (Peer, u16, impl Iterator<Item = String> + use<>) {
    let mut child = Peer(
        Command::new(python)
            .arg(script("smtp.py"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let port = lines.next().unwrap().parse().unwrap();
    (child, port, lines)
}

#[tokio::test]
async fn mail_arrives_as_a_thread_and_a_bad_address_keeps_it_from_nobody() {
    let Some(python) = python("aiosmtpd") else { return };
    let (_peer, port, mut mails) = mail_server(&python, &[]);
    let entry = |to: &str| {
        spec(&format!(
            "[[notifier]]\nname = 'mail'\nsmtp = {{ host = '127.0.0.1', port = {port}, tls = 'none', from = 'Hotseat <hotseat@example.com>', to = {to} }}\n"
        ))
    };
    let both = entry("['a@example.com', 'b@example.com']");
    let mut trigger = sample::delivery(Action::Trigger);
    trigger.message.title = "ünïcode 日本 DOWN".into();
    let receipt = send(&both, &trigger, &[], PATIENCE).await.unwrap();
    assert!(receipt.text.ends_with("queued as 17"), "{receipt:?}");
    let (id, follows) = ("host/api/17/notifier/2".to_string(), Some(trigger.id.clone()));
    send(&both, &Delivery { id, follows, ..sample::delivery(Action::Resolve) }, &[], PATIENCE).await.unwrap();
    let mut mail = || serde_json::from_str::<Value>(&mails.next().unwrap()).unwrap();
    let (first, second) = (mail(), mail());
    assert_eq!(first["to"], json!(["a@example.com", "b@example.com"]));
    let header = |mail: &Value, name: &str| {
        let text = mail["text"].as_str().unwrap().to_string();
        text.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(": ").map(str::to_string)).unwrap_or_default()
    };
    let root = header(&first, "Message-ID");
    assert!(root.starts_with('<') && root.ends_with("@host.hotseat>"), "{root}");
    assert_eq!((header(&second, "In-Reply-To"), header(&second, "References")), (root.clone(), root.clone()));
    assert_ne!(header(&second, "Message-ID"), root);
    assert_eq!((header(&first, "In-Reply-To"), header(&first, "References")), (String::new(), String::new()));
    assert_eq!(header(&first, "Auto-Submitted"), "auto-generated");
    assert!(first["text"].as_str().unwrap().contains("=?utf-8?"), "{first}");

    let mixed = entry("['a@example.com', 'nobody@example.com']");
    let error = send(&mixed, &trigger, &[], PATIENCE).await.unwrap_err();
    assert!(error.permanent && error.text.contains("nobody@example.com: 127.0.0.1 answered 550"), "{error:?}");
    assert_eq!(error.done, ["a@example.com"]);
    assert_eq!(mail()["to"], json!(["a@example.com"]));
    let again = send(&mixed, &trigger, &error.done, PATIENCE).await.unwrap_err();
    assert_eq!((again.permanent, again.done), (true, error.done));
}

#[tokio::test]
async fn mail_goes_out_after_starttls_and_a_login_or_not_at_all() {
    let Some(python) = python("aiosmtpd") else { return };
    let folder = tempfile::tempdir().unwrap();
    Identity::new().write(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (_peer, port, mut mails) = mail_server(&python, &[path("certificate.pem"), path("key.pem")]);
    let entry = |more: &str| {
        spec(&format!(
            "[[notifier]]\nname = 'mail'\nsmtp = {{ host = 'localhost', port = {port}, from = 'h@example.com', to = 'a@example.com', {more} }}\n"
        ))
    };
    let trusted = format!("ca = '{}'", path("certificate.pem"));
    let delivery = sample::delivery(Action::Trigger);
    let good = entry(&format!("tls = 'starttls', user = 'hotseat', password = 's3cr3t-mail', {trusted}"));
    send(&good, &delivery, &[], PATIENCE).await.unwrap();
    let mail: Value = serde_json::from_str(&mails.next().unwrap()).unwrap();
    assert_eq!((&mail["tls"], &mail["from"]), (&json!(true), &json!("h@example.com")));

    let wrong = entry(&format!("tls = 'starttls', user = 'hotseat', password = '{SECRET}', {trusted}"));
    let error = send(&wrong, &delivery, &[], PATIENCE).await.unwrap_err();
    assert!(error.permanent && error.text.contains("535"), "{error:?}");
    let stranger = entry("tls = 'starttls', user = 'hotseat', password = 's3cr3t-mail'");
    let error = send(&stranger, &delivery, &[], PATIENCE).await.unwrap_err();
    assert!(!error.permanent && !error.ambiguous && error.text.contains("certificate"), "{error:?}");
}

/// A port that was free a moment ago; an Alertmanager cannot choose one itself.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn alertmanager(folder: &Path, port: u16) -> Option<Peer> {
    let program =
        ["/usr/bin/prometheus-alertmanager", "/usr/bin/alertmanager"].into_iter().find(|it| Path::new(it).exists());
    let Some(program) = program else {
        skip("prometheus-alertmanager");
        return None;
    };
    let config = folder.join("a.yml");
    std::fs::write(&config, "route:\n  receiver: none\nreceivers:\n  - name: none\n").unwrap();
    let storage = tempfile::tempdir_in(folder).unwrap().keep();
    let peer = Peer(
        Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", storage.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    wait_for("the Alertmanager to start", async || get(port, "/-/ready").await).await;
    Some(peer)
}

/// Asks for a path; `None` while nobody answers with 200.
async fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    // An answer to 1.0 is not chunked.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.to_string())
}

/// Asks until there is an answer; a minute is more than any of it takes.
async fn wait_for<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let answer = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| panic!("waited for {what}"))
}

#[tokio::test]
async fn an_alertmanager_shows_what_lasts_also_after_its_restart_and_until_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let Some(peer) = alertmanager(folder.path(), port).await else { return };
    let spec = spec(&format!(
        "[[notifier]]\nname = 'team'\nalertmanager = {{ url = 'http://127.0.0.1:{port}', resend = '1s', labels = {{ env = 'prod' }} }}\n"
    ));
    let alerts = async || serde_json::from_str::<Vec<Value>>(&get(port, "/api/v2/alerts").await?).ok();
    let mut trigger = sample::delivery(Action::Trigger);
    trigger.message.alerts[0].since = hotseat::clock::now();
    send(&spec, &trigger, &[], PATIENCE).await.unwrap();
    let shown = wait_for("the alert", async || alerts().await?.into_iter().next()).await;
    let labels = json!({ "alertname": "ProbeDown", "probe": "host/api", "severity": "critical", "host": "host", "group": "edge", "kind": "http", "team": "core", "env": "prod" });
    assert_eq!(shown["labels"], labels);
    assert_eq!(shown["annotations"]["summary"], trigger.message.title);
    // It keeps no alerts over a restart; the keeper tells it again.
    drop(peer);
    let _peer = alertmanager(folder.path(), port).await;
    let again = wait_for("the alert again", async || alerts().await?.into_iter().next()).await;
    assert_eq!((&again["labels"], &again["startsAt"]), (&labels, &shown["startsAt"]));
    let mut resolve = sample::delivery(Action::Resolve);
    resolve.message.alerts[0].since = trigger.message.alerts[0].since;
    resolve.message.alerts[0].ended = Some(hotseat::clock::now());
    send(&spec, &resolve, &[], PATIENCE).await.unwrap();
    wait_for("the end of the alert", async || alerts().await?.is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_silence_is_made_changed_and_ended_in_an_alertmanager_once_however_often_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let Some(_peer) = alertmanager(folder.path(), port).await else { return };
    let spec = spec(&format!(
        "[[notifier]]\nname = 'team'\nalertmanager = {{ url = 'http://127.0.0.1:{port}', labels = {{ env = 'prod' }} }}\n"
    ));
    let list = async |what: &str| serde_json::from_str::<Vec<Value>>(&get(port, what).await?).ok();
    let mut trigger = sample::delivery(Action::Trigger);
    trigger.message.alerts[0].since = hotseat::clock::now();
    send(&spec, &trigger, &[], PATIENCE).await.unwrap();
    let state = async || Some(list("/api/v2/alerts").await?.first()?["status"]["state"].clone());
    wait_for("the alert", async || state().await.filter(|it| *it == json!("active"))).await;
    let silence = |minutes: i64| {
        let now = hotseat::clock::now();
        let silence = Silence {
            id: "s1".into(),
            matchers: vec!["group=edge".parse().unwrap(), "team!=infra".parse().unwrap()],
            from: now,
            until: now + jiff::SignedDuration::from_mins(minutes),
            by: "alice".into(),
            comment: "known".into(),
        };
        Delivery {
            key: "host/silence/s1".into(),
            silence: Some(Box::new(silence)),
            ..sample::delivery(Action::Silence)
        }
    };
    let first = silence(60);
    let receipt = send(&spec, &first, &[], PATIENCE).await.unwrap();
    let alive = async || {
        let all = list("/api/v2/silences").await.unwrap();
        all.into_iter().filter(|it| it["status"]["state"] != "expired").collect::<Vec<Value>>()
    };
    let there = alive().await;
    assert_eq!(there.len(), 1);
    assert_eq!((there[0]["id"].as_str(), &there[0]["createdBy"]), (receipt.id.as_deref(), &json!("alice")));
    assert_eq!(there[0]["comment"], "known [hotseat host/silence/s1]");
    let matchers: Vec<String> =
        there[0]["matchers"].as_array().unwrap().iter().map(|it| it["name"].to_string()).collect();
    assert_eq!(matchers.len(), 5, "{matchers:?}");
    wait_for("the alert to be silenced", async || state().await.filter(|it| *it == json!("suppressed"))).await;

    // Sent again, as after an answer that was lost, and changed: there is still one.
    send(&spec, &first, &[], PATIENCE).await.unwrap();
    let longer = silence(120);
    send(&spec, &longer, &[], PATIENCE).await.unwrap();
    let there = alive().await;
    let ends: jiff::Timestamp = there[0]["endsAt"].as_str().unwrap().parse().unwrap();
    let wanted = longer.silence.as_ref().unwrap().until;
    assert!(there.len() == 1 && ends.duration_since(wanted).as_secs().abs() <= 1, "{there:?}");

    let end = Delivery { action: Action::Unsilence, ..longer };
    for _ in 0..2 {
        send(&spec, &end, &[], PATIENCE).await.unwrap();
        assert_eq!(alive().await.len(), 0);
    }
    wait_for("the alert to be active", async || state().await.filter(|it| *it == json!("active"))).await;
}
