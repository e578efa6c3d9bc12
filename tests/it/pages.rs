//! From a probe to a person's telephone, end to end: the real binary, a config, and stand-ins on loopback.

mod faults;
mod secrets;
mod storm;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use hotseat::clock;

use crate::support::pty::{Launch, PATIENCE, Pty, said};
use crate::support::web::{Asked, Said, Web};

/// A secret that must not be seen anywhere.
const TOKEN: &str = "9f86d081884c7d659a2feaa0c55ad015";

/// A service that answers with a status that the test can change.
struct Service {
    web: Web,
    status: Arc<AtomicU16>,
}

impl Service {
    fn start() -> Self {
        let status = Arc::new(AtomicU16::new(200));
        let its = Arc::clone(&status);
        Self { web: Web::start(move |_| Said::status(its.load(Ordering::Relaxed), "")), status }
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    fn runs(&self) -> usize {
        self.web.asked().len()
    }

    /// Waits until it was asked so often again.
    #[track_caller]
    fn wait_runs(&self, count: usize) {
        let until = self.runs() + count;
        wait(&format!("{count} more runs"), || self.runs() >= until);
    }
}

/// Twilio, as far as we speak to it.
fn twilio() -> Web {
    let count = AtomicU16::new(0);
    Web::start(move |_| queued(&count))
}

fn queued(count: &AtomicU16) -> Said {
    let number = count.fetch_add(1, Ordering::Relaxed);
    Said::status(201, format!(r#"{{"sid":"SM{number:032}","status":"queued"}}"#))
}

/// A field of a form.
fn field(asked: &Asked, name: &str) -> String {
    let url = reqwest::Url::parse(&format!("http://x/?{}", asked.body)).expect("a form");
    url.query_pairs().find(|(it, _)| it == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// Texts of the SMS so far, in their order.
fn texts(twilio: &Web) -> Vec<String> {
    twilio.asked().iter().map(|it| field(it, "Body")).collect()
}

/// Waits for something outside of the screen.
#[track_caller]
fn wait(what: &str, holds: impl Fn() -> bool) {
    let deadline = clock::monotonic() + PATIENCE;
    while !holds() {
        assert!(clock::monotonic() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A command beside the screen, on the same home; its exit code and both streams.
fn beside(pty: &Pty, arguments: &[&str]) -> (Option<i32>, String) {
    said(pty.command(arguments).env("TWILIO_TOKEN", TOKEN))
}

/// All files below a directory.
fn walk(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|it| it.path());
    entries.flat_map(|it| if it.is_dir() { walk(&it) } else { vec![it] }).collect()
}

/// Asserts that no file below a directory holds a text.
#[track_caller]
fn assert_nowhere(directory: &Path, text: &str) {
    for entry in std::fs::read_dir(directory).expect("read") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            assert_nowhere(&path, text);
        } else if let Ok(mut bytes) = std::fs::read(&path) {
            if path.extension().is_some_and(|it| it == "zst") {
                let mut packed = zstd::Decoder::new(bytes.as_slice()).expect("packed");
                let mut text = Vec::new();
                // One that is still written ends where it was flushed last.
                let _ = std::io::Read::read_to_end(&mut packed, &mut text);
                assert!(!text.is_empty(), "{} cannot be looked into", path.display());
                bytes = text;
            }
            let found = bytes.windows(text.len()).any(|it| it == text.as_bytes());
            assert!(!found, "{} holds what it must not", path.display());
        }
    }
}

/// The config at the head of the README's chapter about alerts.
fn example() -> &'static str {
    let readme = include_str!("../../README.md");
    let chapter = readme.split("\n## Alerts\n").nth(1).expect("a chapter about alerts");
    chapter.split("```toml\n").nth(1).and_then(|it| it.split("```").next()).expect("its config")
}

#[test]
fn the_example_of_the_readme_sends_an_sms_when_a_page_is_not_200() {
    let (service, twilio) = (Service::start(), twilio());
    // Only where it looks, how often, and where Twilio is.
    let config = example()
        .replace("https://shop.example.com/", &service.web.url())
        .replace("\"10m\"", "\"1s\"")
        .replace("{ account", &format!("{{ url = \"{}\", account", twilio.url()));
    assert!(config.contains(&service.web.url()) && config.contains(&twilio.url()), "{config}");
    let config = format!("{config}wait = \"1s\"\n");
    let launch = Launch::new(&["-vv"]).variable("TWILIO_TOKEN", TOKEN).size(120, 40).config(&config);
    let mut pty = launch.start();
    pty.wait_for("shop");
    service.wait_runs(3);
    assert_eq!(texts(&twilio), [""; 0], "all is well and nobody is told");

    service.answer(503);
    wait("the SMS", || !texts(&twilio).is_empty());
    let asked = twilio.asked().remove(0);
    assert_eq!(asked.path, "/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages.json");
    assert_eq!((field(&asked, "From").as_str(), field(&asked, "To").as_str()), ("+15557654321", "+15551230000"));
    let body = field(&asked, "Body");
    assert!(body.starts_with("shop DOWN since ") && body.contains("503") && body.contains(" #1"), "{body}");
    let login = reqwest::header::HeaderValue::from_str(asked.header("authorization").expect("a login")).expect("text");
    assert!(login.to_str().expect("ASCII").starts_with("Basic "));

    // More of the same is no news.
    service.wait_runs(5);
    assert_eq!(texts(&twilio).len(), 1);
    service.answer(200);
    wait("the word that it is over", || texts(&twilio).len() == 2);
    let body = texts(&twilio).remove(1);
    assert!(body.starts_with("shop recovered after "), "{body}");
    service.wait_runs(3);
    assert_eq!(texts(&twilio).len(), 2);

    // What led to it can be asked, and the token is nowhere: not on the screen, in no file, in no output.
    wait("the page in the journal", || beside(&pty, &["explain", "shop"]).1.contains("paged at "));
    let (code, explained) = beside(&pty, &["explain", "shop"]);
    assert_eq!(code, Some(0), "{explained}");
    for part in ["shop: ", "paged at ", "fail after", "503", "to `sms`", "down when 1 of the last 1"] {
        assert!(explained.contains(part), "no `{part}` in:\n{explained}");
    }
    let mut said = vec![explained, pty.text()];
    for arguments in [
        &["check"][..],
        &["check", "--json"],
        &["status"],
        &["alerts", "--json"],
        &["explain", "shop", "--json"],
        &["replay", "--since", "-1h", "--why"],
        &["test-notify", "sms"],
        &["doctor"],
    ] {
        said.push(beside(&pty, arguments).1);
    }
    pty.keys("q");
    assert_eq!(pty.exit_code(), 0);
    for text in &said {
        assert!(!text.contains(TOKEN), "{text}");
    }
    assert_nowhere(pty.home(), TOKEN);
}

#[test]
fn a_silence_and_an_ack_from_another_shell_count_at_once() {
    let (service, twilio) = (Service::start(), twilio());
    let config = format!(
        "[[probe]]\nname = 'shop'\nhttp = '{}'\nexpect = ['status == 200']\ninterval = '1s'\nretry = '1s'\nfail = '1/1'\n\
         recover = '1/1'\ngroup = 'edge'\nnotify = ['sms']\n{}wait = '0s'\nremind = ['1s']\n",
        service.web.url(),
        sms(&twilio),
    );
    let pty = Launch::new(&[]).variable("TWILIO_TOKEN", TOKEN).config(&config).start();
    pty.wait_for("shop");
    service.wait_runs(1);
    let (code, says) = beside(&pty, &["silence", "add", "shop", "--for", "1h", "--comment", "deploy"]);
    assert!(code == Some(2) && says.contains("did you mean `probe=shop`?"), "{says}");
    let (code, id) = beside(&pty, &["silence", "add", "group=edge", "--for", "1h", "--comment", "deploy"]);
    assert_eq!(code, Some(0), "{id}");
    let id = id.lines().next().unwrap_or_default().to_string();
    wait("the silence on the board", || !waiting_files(&pty));
    service.answer(500);
    service.wait_runs(4);
    // What a command reads reaches the disk within a second or so: it is waited for, not expected at once.
    wait("the alert that is held back", || {
        let (_, alerts) = beside(&pty, &["alerts"]);
        alerts.contains("shop  down since ") && alerts.contains(&format!("held back: silenced by `{id}`"))
    });
    wait("why nobody was paged", || {
        let (_, explained) = beside(&pty, &["explain", "shop"]);
        explained.starts_with(&format!("shop: not paged: held back: silenced by `{id}`"))
    });
    assert_eq!(texts(&twilio), [""; 0]);

    // What lasts when it ends is told, and told again until somebody has seen it.
    assert_eq!(beside(&pty, &["silence", "end", &id]).0, Some(0));
    wait("the page and a reminder", || texts(&twilio).len() >= 2);
    assert!(texts(&twilio)[1].starts_with("shop still DOWN since "), "{:?}", texts(&twilio));
    assert_eq!(beside(&pty, &["ack", "shop", "--sticky"]).0, Some(0));
    wait("the ack on the board", || beside(&pty, &["alerts"]).1.contains("acknowledged by alice"));
    // The files are not asked while somebody watches: they may be behind, on a full disk or after a clock was set back.
    let journals =
        walk(pty.home()).into_iter().filter(|it| it.extension().is_some_and(|it| it == "ndjson" || it == "zst"));
    journals.for_each(|it| drop(std::fs::remove_file(it)));
    assert!(beside(&pty, &["alerts"]).1.contains("acknowledged by alice"));
    assert!(beside(&pty, &["explain", "shop"]).1.contains("acknowledged by alice"));
    // One that was on its way when the mark came may still arrive.
    service.wait_runs(2);
    let told = texts(&twilio).len();
    service.wait_runs(4);
    assert_eq!(texts(&twilio).len(), told, "an ack ends the reminders");
}

/// True while something that was asked for on a command line was not settled yet.
fn waiting_files(pty: &Pty) -> bool {
    let folder = pty.home().join("state/hotseat").join(hotseat::service::notify::asked::FOLDER);
    std::fs::read_dir(folder).is_ok_and(|it| it.count() > 0)
}

/// A `[[notifier]]` named `sms`, open for more keys.
fn sms(twilio: &Web) -> String {
    format!(
        "[[notifier]]\nname = 'sms'\ntwilio = {{ url = '{}', account = 'AC0123456789abcdef0123456789abcdef', \
         token = '${{env:TWILIO_TOKEN}}', from = '+15557654321', to = ['+15551230000'] }}\n",
        twilio.url()
    )
}
