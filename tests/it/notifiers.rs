//! Notifiers against servers that misbehave: what is retried, what is not, and what never gets out.

mod peers;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use hotseat::clock;
use hotseat::domain::alert::delivery::{Action, Delivery};
use hotseat::service::notify::{Attempt, NotifierSpec, Receipt, RetryAfter, SendError, sample};
use tokio::net::TcpListener;

use crate::support::faults::{Fault, FaultServer, Identity, Sent};
use crate::support::tls::{Authority, accept};

/// Stands in every token, key and secret URL of these tests.
const SECRET: &str = "s3cr3tS3cr3tS3cr3tS3cr3tS3cr3t00";
/// Long enough for every answer on loopback that comes at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// One `[[notifier]]` of each kind that speaks HTTP; `tls` is more keys of their tables.
fn entries(base: &str, more: &str) -> Vec<(&'static str, String)> {
    let entry = |table: String| format!("[[notifier]]\nname = 'n'\n{table}\n");
    vec![
        (
            "twilio",
            entry(format!(
                "twilio = {{ url = '{base}', account = 'AC01', token = '{SECRET}', from = '+15557654321', to = '+15551230000'{more} }}"
            )),
        ),
        ("slack", entry(format!("slack = {{ url = '{base}/services/T1/B1/{SECRET}'{more} }}"))),
        ("pagerduty", entry(format!("pagerduty = {{ url = '{base}', key = '{SECRET}'{more} }}"))),
        ("ntfy", entry(format!("ntfy = {{ url = '{base}/oncall', token = '{SECRET}'{more} }}"))),
        (
            "webhook",
            entry(format!(
                "webhook = {{ url = '{base}/hook/{SECRET}', headers = {{ Authorization = 'Bearer {SECRET}' }}{more} }}"
            )),
        ),
        ("alertmanager", entry(format!("alertmanager = {{ url = '{base}', token = '{SECRET}'{more} }}"))),
    ]
}

fn spec(entry: &str) -> NotifierSpec {
    let (config, errors) = hotseat::config::parse("c.toml", entry);
    assert!(errors.is_empty(), "{errors:?}");
    config.notifiers.into_iter().next().expect("a notifier")
}

async fn send(
    spec: &NotifierSpec,
    delivery: &Delivery,
    done: &[String],
    within: Duration,
) -> Result<Receipt, SendError> {
    let attempt = Attempt { delivery, number: 1, done, deadline: clock::timer() + within, facts: None };
    let result = spec.notifier.send(attempt).await;
    let said = format!("{result:?} {}", spec.notifier.describe());
    assert!(!said.contains(SECRET), "a secret got out: {said}");
    result
}

/// Sends a page through each kind to a server with this fault and returns what came of it.
async fn through_each(
    fault: impl Fn(usize, &Sent) -> Fault + Clone + Send + Sync + 'static,
    within: Duration,
) -> Vec<(&'static str, Result<Receipt, SendError>, Vec<Sent>)> {
    let mut results = Vec::new();
    for index in 0..entries("http://x", "").len() {
        let server = FaultServer::start(fault.clone());
        let (kind, entry) = entries(&server.url(), "").swap_remove(index);
        let result = send(&spec(&entry), &sample::delivery(Action::Trigger), &[], within).await;
        results.push((kind, result, server.sent()));
    }
    results
}

fn accepted() -> Fault {
    Fault::answer("202 Accepted", "Content-Type: application/json\r\n", "{}")
}

/// An error page that repeats everything it was sent, as debug pages do.
fn echo(status: &str, headers: &str, sent: &Sent) -> Fault {
    let said = format!("you sent {} {:?} {}", sent.target, sent.headers, sent.body);
    Fault::answer(status, headers, &serde_json::json!({ "message": said }).to_string())
}

#[tokio::test]
async fn a_channel_that_hangs_leaves_open_whether_it_took_the_message() {
    for (kind, result, sent) in through_each(|_, _| Fault::Hang, Duration::from_millis(400)).await {
        let error = result.expect_err(kind);
        assert!(error.ambiguous && !error.permanent, "{kind}: {error:?}");
        assert!(sent.len() <= 1, "{kind}");
    }
}

#[tokio::test]
async fn a_connection_reset_after_the_request_is_ambiguous_and_not_repeated_in_secret() {
    for (kind, result, sent) in through_each(|_, _| Fault::Reset, PATIENCE).await {
        let error = result.expect_err(kind);
        assert!(error.ambiguous && !error.permanent, "{kind}: {error:?}");
        assert_eq!(sent.len(), 1, "{kind}");
    }
}

#[tokio::test]
async fn a_closed_port_is_no_ambiguity() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for (kind, entry) in entries(&base, "") {
        let error = send(&spec(&entry), &sample::delivery(Action::Trigger), &[], PATIENCE).await.expect_err(kind);
        assert!(!error.ambiguous && !error.permanent && error.text.contains("nothing listens"), "{kind}: {error:?}");
    }
}

#[tokio::test]
async fn a_channel_that_asks_for_a_pause_is_heard_in_both_forms() {
    let seconds = through_each(|_, it| echo("429 Too Many Requests", "Retry-After: 7\r\n", it), PATIENCE).await;
    for (kind, result, _) in seconds {
        let error = result.expect_err(kind);
        assert!(!error.permanent && !error.ambiguous, "{kind}: {error:?}");
        assert_eq!(error.retry_after, Some(RetryAfter::In(Duration::from_secs(7))), "{kind}");
    }
    let header = "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    for (kind, result, _) in through_each(move |_, it| echo("503 Unavailable", header, it), PATIENCE).await {
        let error = result.expect_err(kind);
        let wanted = RetryAfter::At("1994-11-06T08:49:37Z".parse().unwrap());
        assert!(!error.permanent && error.retry_after == Some(wanted), "{kind}: {error:?}");
    }
}

#[tokio::test]
async fn two_failures_of_the_server_are_followed_by_the_same_request() {
    for index in 0..6 {
        let server = FaultServer::start(|earlier, it| match earlier {
            0 | 1 => echo("500 Internal Server Error", "", it),
            _ => accepted(),
        });
        let (kind, entry) = entries(&server.url(), "").swap_remove(index);
        let (spec, delivery) = (spec(&entry), sample::delivery(Action::Trigger));
        for _ in 0..2 {
            let error = send(&spec, &delivery, &[], PATIENCE).await.expect_err(kind);
            assert!(!error.permanent && !error.ambiguous, "{kind}: {error:?}");
        }
        send(&spec, &delivery, &[], PATIENCE).await.expect(kind);
        let mut sent = server.sent();
        if kind == "alertmanager" {
            // The end of a firing alert moves on with the time.
            for request in &mut sent {
                let mut alerts: serde_json::Value = serde_json::from_str(&request.body).unwrap();
                alerts[0]["endsAt"] = serde_json::Value::Null;
                request.body = alerts.to_string();
                request.headers.retain(|(name, _)| name != "content-length");
            }
        }
        assert!(sent.len() == 3 && sent.iter().all(|it| *it == sent[0]), "{kind}: {sent:#?}");
    }
}

#[tokio::test]
async fn a_refusal_is_final_and_says_why_without_repeating_what_it_was_sent() {
    let refused = through_each(|_, it| echo("400 Bad Request", "Retry-After: 5\r\n", it), PATIENCE).await;
    for (kind, result, _) in refused {
        let error = result.expect_err(kind);
        assert!(error.permanent && error.text.contains("400: you sent"), "{kind}: {error:?}");
    }
}

#[tokio::test]
async fn a_truncated_answer_of_a_success_is_a_success() {
    let cut = b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{\"sid\":".to_vec();
    for (kind, result, _) in through_each(move |_, _| Fault::Answer(cut.clone()), PATIENCE).await {
        result.expect(kind);
    }
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{\"id\"".to_vec();
    for (kind, result, _) in through_each(move |_, _| Fault::Answer(chunked.clone()), PATIENCE).await {
        result.expect(kind);
    }
    let headless = b"HTTP/1.1 20".to_vec();
    for (kind, result, _) in through_each(move |_, _| Fault::Answer(headless.clone()), PATIENCE).await {
        assert!(result.expect_err(kind).ambiguous, "{kind}");
    }
}

#[tokio::test]
async fn two_megabytes_of_an_error_are_read_to_their_bound_and_said_in_a_line() {
    let body = format!("{SECRET}\u{1b}[31m{}", "x".repeat(2 << 20));
    for (kind, result, _) in through_each(move |_, _| Fault::answer("502 Bad Gateway", "", &body), PATIENCE).await {
        let error = result.expect_err(kind);
        assert!(!error.permanent && error.text.chars().count() < 400, "{kind}: {}", error.text.len());
        assert!(error.text.chars().all(|it| !it.is_control()), "{kind}: {:?}", error.text);
    }
}

#[tokio::test]
async fn a_redirect_elsewhere_gets_nothing() {
    for index in 0..6 {
        let elsewhere = FaultServer::start(|_, _| accepted());
        let place = elsewhere.url();
        let headers = format!("Location: {place}/{SECRET}\r\n");
        let server = FaultServer::start(move |_, _| Fault::answer("307 Temporary Redirect", &headers, ""));
        let (kind, entry) = entries(&server.url(), "").swap_remove(index);
        let error = send(&spec(&entry), &sample::delivery(Action::Trigger), &[], PATIENCE).await.expect_err(kind);
        assert!(error.permanent && error.text.contains(&format!("redirects to {place}")), "{kind}: {error:?}");
        assert_eq!((server.sent().len(), elsewhere.sent()), (1, Vec::new()), "{kind}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_to_be_trusted_gets_nothing_and_may_be_mended() {
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("certificate.pem");
    let trusted = format!(", ca = '{}'", pem.display());
    let (good, old) = (Identity::new(), Identity::expired());
    for (identity, more, is_taken) in
        [(&good, "", false), (&old, trusted.as_str(), false), (&good, trusted.as_str(), true)]
    {
        identity.write(folder.path());
        for index in 0..6 {
            let server = FaultServer::start_tls(identity, |_, _| accepted());
            let (kind, entry) = entries(&server.url(), more).swap_remove(index);
            let result = send(&spec(&entry), &sample::delivery(Action::Trigger), &[], PATIENCE).await;
            if is_taken {
                result.expect(kind);
                continue;
            }
            let error = result.expect_err(kind);
            assert!(!error.permanent && !error.ambiguous && error.text.contains("certificate"), "{kind}: {error:?}");
            assert_eq!(server.sent(), Vec::new(), "{kind}");
        }
    }
}

#[tokio::test]
async fn a_mail_server_that_is_not_to_be_trusted_is_told_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let trusted = format!(", ca = '{}'", authority.file().display());
    for (names, last_year, more, wanted) in [
        (&["127.0.0.1"], 2099, "", "its issuer is not trusted: name its CA with `ca`"),
        (&["127.0.0.1"], 2021, trusted.as_str(), "it has expired"),
        (&["other.example"], 2099, trusted.as_str(), "it is for another name"),
    ] {
        let acceptor = authority.acceptor(names, last_year);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // It hears why, and that is all.
                let _ = accept(&acceptor, stream).await;
            }
        });
        let entry = format!(
            "[[notifier]]\nname = 'mail'\nsmtp = {{ host = '127.0.0.1', port = {port}, from = 'h@example.com', \
             to = 'a@example.com', tls = 'tls'{more} }}\n"
        );
        let error = send(&spec(&entry), &sample::delivery(Action::Trigger), &[], PATIENCE).await.expect_err(wanted);
        let words = format!("could not connect to 127.0.0.1: the certificate is not valid: {wanted}");
        assert_eq!((error.text, error.permanent, error.ambiguous), (words, false, false));
        server.abort();
    }
    let gone = spec(
        "[[notifier]]\nname = 'mail'\nsmtp = { host = '127.0.0.1', port = 1, from = 'h@example.com', to = 'a@example.com' }\n",
    );
    let error = send(&gone, &sample::delivery(Action::Trigger), &[], PATIENCE).await.expect_err("nobody is there");
    assert_eq!((error.text.as_str(), error.ambiguous), ("nothing listens on 127.0.0.1:1", false));
}

#[tokio::test]
async fn who_has_an_sms_does_not_get_it_again() {
    let server = FaultServer::start(|earlier, it| match it.body.as_str() {
        body if body.contains("0001") => Fault::answer("201 Created", "", r#"{"sid":"SM1"}"#),
        body if body.contains("0002") && earlier < 3 => Fault::Reset,
        body if body.contains("0003") => {
            Fault::answer("400 Bad Request", "", r#"{"code":21211,"message":"not a number"}"#)
        }
        _ => Fault::answer("201 Created", "", r#"{"sid":"SM2"}"#),
    });
    let spec = spec(&format!(
        "[[notifier]]\nname = 'sms'\ntwilio = {{ url = '{}', account = 'AC01', token = '{SECRET}', from = 'ACME', \
         to = ['+15550000001', '+15550000002', '+15550000003'] }}\n",
        server.url()
    ));
    let delivery = sample::delivery(Action::Trigger);
    let first = send(&spec, &delivery, &[], PATIENCE).await.expect_err("one is lost, one is refused");
    assert_eq!(
        (first.permanent, first.ambiguous, first.done.as_slice()),
        (false, true, &["+15550000001".to_string()][..])
    );
    assert!(
        first.text.starts_with("1 of 3 reached; ") && first.text.contains("not a number (code 21211)"),
        "{first:?}"
    );
    let second = send(&spec, &delivery, &first.done, PATIENCE).await.expect_err("one is refused for good");
    assert!(second.permanent && second.done.len() == 2, "{second:?}");
    let to: Vec<String> = server.sent().iter().map(|it| it.body.clone()).collect();
    assert_eq!(to.iter().filter(|it| it.contains("0001")).count(), 1, "{to:?}");
    // The number at the end of the key: whoever gets it twice sees that it is one.
    assert!(to.iter().all(|it| it.ends_with("+%2317")), "{to:?}");
}

#[tokio::test]
async fn a_command_gets_the_text_and_nothing_that_it_says_can_hurt() {
    let spec = spec(
        "[[notifier]]\nname = 'c'\ncommand = { argv = ['/bin/sh', '-c', 'cat; printf \"%s|%s\" \"$HOTSEAT_ACTION\" \"$HOTSEAT_KEY\"; printf \"\\033[31m$PASS\"'], env = { PASS = 'hunter22' } }\n",
    );
    let mut delivery = sample::delivery(Action::Resolve);
    delivery.message.title = "$(touch /tmp/hotseat-surely-not) `id`".into();
    delivery.message.text = delivery.message.title.clone();
    let receipt = send(&spec, &delivery, &[], PATIENCE).await.unwrap();
    assert_eq!(receipt.text, "`/bin/sh` ended with 0: $(touch /tmp/hotseat-surely-not) `id` resolve|host/api/17***");
    assert!(!std::path::Path::new("/tmp/hotseat-surely-not").exists());
}

#[tokio::test]
async fn a_command_that_hangs_is_ended_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let spec = spec(&format!(
        "[[notifier]]\nname = 'c'\ncommand = ['/bin/sh', '-c', 'sleep 1000 & echo $! >{}; wait']\n",
        file.display()
    ));
    let error = send(&spec, &sample::delivery(Action::Trigger), &[], Duration::from_secs(1)).await.unwrap_err();
    assert!(error.ambiguous && error.text.contains("did not end in time"), "{error:?}");
    let pid: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    // A killed child of a killed shell is reaped by whoever adopted it, which takes a moment.
    let gone = |_: &()| rustix::process::test_kill_process(pid).is_err() || is_zombie(pid);
    while !gone(&()) {
        tokio::task::yield_now().await;
    }
}

fn is_zombie(pid: rustix::process::Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|it| it.starts_with('Z'))
}

#[tokio::test]
async fn a_terminal_rings_through_a_fact() {
    use hotseat::domain::alert::{AlertFact, Ring};
    use hotseat::domain::fact::Fact;
    let spec = spec("[[notifier]]\nname = 't'\nterminal = 'both'\n");
    let (facts, mut facts_rx) = hotseat::service::FactSender::channel();
    let delivery = sample::delivery(Action::Trigger);
    let attempt =
        Attempt { delivery: &delivery, number: 1, done: &[], deadline: clock::timer() + PATIENCE, facts: Some(&facts) };
    spec.notifier.send(attempt).await.unwrap();
    let ring = Ring { text: delivery.message.title.clone(), bell: true, notification: true };
    assert_eq!(facts_rx.recv().await.unwrap().1, Fact::Alert(AlertFact::Rang(ring)));
}

/// Runs the program on a config with these permissions.
fn hotseat(config: &str, mode: u32, arguments: &[&str]) -> (Option<i32>, String) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config.toml");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(config.as_bytes()).unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_hotseat"))
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .env("HOTSEAT_CONFIG", &path)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_literal_secret_in_a_file_for_all_is_refused_and_the_rest_runs() {
    let secret_entries: String = entries("https://example.com", "")
        .iter()
        .map(|(kind, entry)| entry.replace("name = 'n'", &format!("name = '{kind}'")))
        .collect();
    let config = format!("{secret_entries}[[notifier]]\nname = 'bell'\nterminal = 'bell'\n");
    let (code, said) = hotseat(&config, 0o644, &["check"]);
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(said.matches("is written out and every user of this host can read the file").count(), 7, "{said}");
    assert!(said.contains("chmod 600") && !said.contains(SECRET), "{said}");
    for mode in [0o600, 0o640] {
        let (code, said) = hotseat(&config, mode, &["check"]);
        assert_eq!(code, Some(0), "{said}");
        assert!(!said.contains(SECRET), "{said}");
    }
}

#[test]
fn test_notify_says_what_the_channel_answered() {
    let server = FaultServer::start(|_, it| match it.target.as_str() {
        target if target.contains("T1") => echo("403 Forbidden", "", it),
        _ => Fault::answer("200 OK", "", r#"{"id":"xE73Iyuabi"}"#),
    });
    let url = server.url();
    let config = format!(
        "[[notifier]]\nname = 'phone'\nntfy = {{ url = '{url}/oncall', token = '{SECRET}' }}\n\
         [[notifier]]\nname = 'chat'\nslack = '{url}/services/T1/B1/{SECRET}'\n"
    );
    let (code, said) = hotseat(&config, 0o600, &["test-notify", "phone"]);
    assert_eq!(
        (code, said.lines().next()),
        (Some(0), Some("phone sent: localhost published it (xE73Iyuabi)")),
        "{said}"
    );
    let body: serde_json::Value = serde_json::from_str(&server.sent()[0].body).unwrap();
    assert!(body["title"].as_str().unwrap().starts_with("test of `phone` from "), "{body}");
    let (code, said) = hotseat(&config, 0o600, &["test-notify", "--all"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("chat not sent: localhost answered 403: you sent") && !said.contains(SECRET), "{said}");
    let with_bell = format!("{config}[[notifier]]\nname = 'bell'\nterminal = 'bell'\n");
    for arguments in [&["test-notify", "--all"][..], &["test-notify", "chat"]] {
        let (code, said) = hotseat(&with_bell, 0o644, arguments);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("chat not sent: mistake in the config") && !said.contains(SECRET), "{said}");
    }
    let (code, said) = hotseat(&config, 0o600, &["test-notify", "fone"]);
    assert!(code == Some(2) && said.contains("there is no notifier `fone`"), "{said}");
}
