//! 200 probes that go down together: few messages, every name, nothing lost when the process is killed.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use rustix::process::Signal;

use super::{TOKEN, beside, field, queued, sms, texts, wait};
use crate::support::pty::Launch;
use crate::support::web::{Said, Web};

const PROBES: usize = 200;

fn names() -> BTreeSet<String> {
    (0..PROBES).map(|it| format!("svc-{it:03}")).collect()
}

/// Probes of one service each, on one host; they go down within two seconds of each other.
fn probes(url: &str, notify: &str, group: &str) -> String {
    let head =
        format!("[defaults]\ninterval = '2s'\nretry = '2s'\nfail = '1/1'\nrecover = '1/1'\nnotify = [{notify}]\n");
    let probe = |name: &String| {
        format!("[[probe]]\nname = '{name}'\nhttp = '{url}/{name}'\nexpect = ['status == 200']\n{group}")
    };
    head + &names().iter().map(probe).collect::<String>()
}

/// Names of probes in a text, ranges as `svc-001..020` written out.
fn named(text: &str) -> BTreeSet<String> {
    text.split(|it: char| !it.is_ascii_alphanumeric() && it != '-' && it != '.')
        .filter_map(|it| it.trim_end_matches('.').strip_prefix("svc-"))
        .flat_map(|it| {
            let (first, last) = it.split_once("..").unwrap_or((it, it));
            let number = |it: &str| it.parse::<usize>().expect("a number");
            (number(first)..=number(last)).map(|it| format!("svc-{it:03}")).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn a_storm_is_one_sms_and_names_everything() {
    let is_down = Arc::new(AtomicBool::new(false));
    let its = Arc::clone(&is_down);
    let services = Web::start(move |_| Said::status(if its.load(Ordering::Relaxed) { 503 } else { 200 }, ""));
    let (phone, chat) = (super::twilio(), Web::start(|_| Said::json("{}")));
    let config = format!(
        "{}[[person]]\nname = 'alice'\nnotify = ['sms']\n{}wait = '4s'\n[[notifier]]\nname = 'chat'\nwebhook = '${{env:CHAT}}'\nwait = '4s'\n",
        probes(&services.url(), "'alice', 'chat'", ""),
        sms(&phone),
    );
    let pty = Launch::new(&[])
        .variable("TWILIO_TOKEN", TOKEN)
        .variable("CHAT", &chat.url())
        .size(120, 40)
        .config(&config)
        .start();
    let rounds = |count: usize| {
        let until = services.asked().len() + count * PROBES;
        wait("rounds of all probes", || services.asked().len() >= until);
    };
    rounds(2);
    is_down.store(true, Ordering::Relaxed);
    wait("the SMS", || !texts(&phone).is_empty());
    wait("the chat", || !chat.asked().is_empty());
    // What is down stays down, and nobody is told again.
    rounds(3);
    let sent = texts(&phone);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].contains("200"), "{sent:?}");
    assert_eq!(named(&sent[0]), names(), "{sent:?}");
    let told: String = chat.asked().iter().map(|it| it.body.clone()).collect();
    assert_eq!(chat.asked().len(), 1, "{told}");
    assert_eq!(named(&told), names());
    // In the text as well, not only in the list beside it.
    let message: serde_json::Value = serde_json::from_str(&chat.asked()[0].body).expect("JSON");
    assert_eq!(named(message["text"].as_str().expect("a text")), names());
    wait("all of them among the alerts", || named(&beside(&pty, &["alerts"]).1) == names());
}

#[test]
fn the_first_minute_of_a_storm_is_one_sms_for_each_person() {
    // The same in time that is not waited for: the rules as they are when nothing is said, in the first minute and later.
    let home = tempfile::tempdir().expect("temporary directory");
    let phone = super::twilio();
    let other = sms(&phone).replace("'sms'", "'sms-bob'").replace("+15551230000", "+15551230001");
    let config = format!(
        "{}[[person]]\nname = 'alice'\nnotify = ['sms']\n[[person]]\nname = 'bob'\nnotify = ['sms-bob']\n{}{other}",
        probes("http://127.0.0.1:9", "'alice', 'bob'", "group = 'shop'\n"),
        sms(&phone),
    );
    let file = home.path().join("c.toml");
    std::fs::write(&file, config).expect("config");
    let begin: jiff::Timestamp = "2026-11-22T01:00:00Z".parse().expect("a time");
    let mut lines = String::new();
    for round in 0..30 {
        for (at, name) in names().iter().enumerate() {
            // 25 ms apart: all 200 within 5 s.
            let ms = round * 5_000 + 25 * i64::try_from(at).expect("small");
            let at = begin + jiff::SignedDuration::from_millis(ms);
            let result = if round < 20 { "fail" } else { "ok" };
            // Nothing in common: neither address nor reason.
            lines += &format!(
                "{{\"at\":\"{at}\",\"probe\":\"{name}\",\"result\":\"{result}\",\"text\":\"{name} is odd\"}}\n"
            );
        }
    }
    let recording = home.path().join("storm.ndjson");
    std::fs::write(&recording, lines).expect("recording");
    let output = Command::new(env!("CARGO_BIN_EXE_hotseat"))
        .env_clear()
        .env("HOME", home.path())
        .env("TWILIO_TOKEN", TOKEN)
        .args(["--config".as_ref(), file.as_os_str(), "replay".as_ref(), recording.as_os_str(), "--json".as_ref()])
        .output()
        .expect("the binary starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let replayed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(replayed["outcomes"], 6_000);
    for notifier in ["sms", "sms-bob"] {
        let pages = replayed["pages"].as_array().expect("pages").iter().filter(|it| it["notifier"] == notifier);
        let triggers: Vec<_> = pages.filter(|it| it["action"] != "resolve").collect();
        let at = |it: &serde_json::Value| {
            it["at"].as_str().and_then(|it| it.parse::<jiff::Timestamp>().ok()).expect("a time")
        };
        let minute = begin + jiff::SignedDuration::from_secs(60);
        let first: Vec<_> = triggers.iter().filter(|it| at(it) < minute).collect();
        assert_eq!(first.len(), 1, "{notifier}: {text}");
        let alerts: String = first[0]["message"].to_string();
        assert_eq!(named(&alerts), names(), "{notifier}");
        // All that it is over in one message as well.
        let pages = replayed["pages"].as_array().expect("pages").iter().filter(|it| it["notifier"] == notifier);
        let titles: Vec<&str> = pages.map(|it| it["message"]["title"].as_str().expect("a title")).collect();
        assert_eq!(titles, ["200 probes DOWN: shop (200)", "200 recovered: shop (200)"], "{notifier}");
    }
}

#[test]
fn names_that_have_little_in_common_are_all_said_by_sms() {
    // No two share a word: no SMS holds 200 of them.
    let word = |seed: usize| -> String {
        let mut state = seed as u64 + 1;
        let mut letter = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + u8::try_from((state >> 33) % 26).expect("a letter"))
        };
        (0..16).map(|_| letter()).collect()
    };
    let names: Vec<String> = (0..PROBES).map(word).collect();
    let services = Web::start(|_| Said::status(503, ""));
    let home = tempfile::tempdir().expect("temporary directory");
    let phone = super::twilio();
    let probe = |name: &String| format!("[[probe]]\nname = '{name}'\nhttp = '{}/'\n", services.url());
    let probes: String = names.iter().map(probe).collect();
    let file = home.path().join("c.toml");
    std::fs::write(&file, format!("[defaults]\nfail = '1/1'\nnotify = ['sms']\n{probes}{}", sms(&phone)))
        .expect("config");
    let mut lines = String::new();
    for (second, result) in [(0, "fail"), (300, "fail")] {
        let begin: jiff::Timestamp = "2026-11-22T01:00:00Z".parse().expect("a time");
        for (at, name) in names.iter().enumerate() {
            let at = begin + jiff::SignedDuration::from_secs(second) + jiff::SignedDuration::from_millis(at as i64);
            let why = format!("{name} is odd");
            lines += &format!("{{\"at\":\"{at}\",\"probe\":\"{name}\",\"result\":\"{result}\",\"text\":\"{why}\"}}\n");
        }
    }
    let recording = home.path().join("storm.ndjson");
    std::fs::write(&recording, lines).expect("recording");
    let output = Command::new(env!("CARGO_BIN_EXE_hotseat"))
        .env_clear()
        .env("HOME", home.path())
        .env("TWILIO_TOKEN", TOKEN)
        .args(["--config".as_ref(), file.as_os_str(), "replay".as_ref(), recording.as_os_str(), "--json".as_ref()])
        .output()
        .expect("the binary starts");
    let replayed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let pages = replayed["pages"].as_array().expect("pages");
    let times: Vec<jiff::Timestamp> =
        pages.iter().map(|it| it["at"].as_str().and_then(|it| it.parse().ok()).expect("a time")).collect();
    assert!(pages.len() > 1, "{pages:?}");
    assert!(times.windows(2).all(|it| it[1].duration_since(it[0]).as_secs() >= 60), "{times:?}");
    let brief = |it: &serde_json::Value| it["message"]["brief"].as_str().expect("a short form").to_string();
    let told: Vec<String> = pages.iter().map(brief).collect();
    let told = told.join("\n");
    let missing: Vec<&String> = names.iter().filter(|it| !told.contains(it.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?} of {told}");
}

#[test]
fn killed_in_the_middle_of_a_storm_it_loses_no_page() {
    let services = Web::start(|_| Said::status(503, ""));
    // The first message to each hangs, as when a network breaks: what it has taken nobody knows.
    let stalls = Arc::new(AtomicBool::new(true));
    let (its, count) = (Arc::clone(&stalls), AtomicU16::new(0));
    let stalling = move || its.load(Ordering::Relaxed);
    let also = stalling.clone();
    let phone = Web::start(move |_| if stalling() { Said { stalls: true, ..Said::default() } } else { queued(&count) });
    let chat = Web::start(move |_| if also() { Said { stalls: true, ..Said::default() } } else { Said::json("{}") });
    let config = format!(
        "{}{}wait = '1s'\n[[notifier]]\nname = 'chat'\nwebhook = '${{env:CHAT}}'\nwait = '1s'\n",
        probes(&services.url(), "'sms', 'chat'", "group = 'shop'\n"),
        sms(&phone),
    );
    let pty = Launch::new(&[]).variable("TWILIO_TOKEN", TOKEN).variable("CHAT", &chat.url());
    let mut pty = pty.config(&config).start();
    wait("the first messages under way", || !phone.asked().is_empty() && !chat.asked().is_empty());
    pty.signal(Signal::KILL);
    pty.exit_code();
    let before = chat.asked();
    let hanging: BTreeSet<String> = before.iter().map(|it| id(&it.body)).collect();

    stalls.store(false, Ordering::Relaxed);
    let again = Launch::again(&pty).variable("TWILIO_TOKEN", TOKEN).variable("CHAT", &chat.url()).start();
    let all = |web: &Web, from: usize| {
        let bodies: Vec<String> = web.asked().iter().skip(from).map(|it| it.body.clone()).collect();
        bodies
    };
    wait("every probe to be told", || {
        let told: String = all(&chat, before.len()).concat();
        named(&told) == names()
    });
    wait("the SMS", || phone.asked().iter().any(|it| field(it, "Body").contains("probe")) && !texts(&phone).is_empty());
    let until = services.asked().len() + 3 * PROBES;
    wait("rounds of all probes", || services.asked().len() >= until);
    // What was under way is repeated under the same id, once; nothing else is.
    let after: Vec<String> = all(&chat, before.len()).iter().map(|it| id(it)).collect();
    let unique: BTreeSet<String> = after.iter().cloned().collect();
    assert_eq!(unique.len(), after.len(), "{after:?}");
    assert!(hanging.is_subset(&unique), "{hanging:?} {unique:?}");
    // Each alert is told under one key, before and after.
    let keys = |bodies: &[String]| -> BTreeSet<(String, String)> {
        let alerts = bodies.iter().flat_map(|it| {
            let body: serde_json::Value = serde_json::from_str(it).expect("JSON");
            body["alerts"].as_array().cloned().unwrap_or_default()
        });
        let text = |it: &serde_json::Value| it.as_str().unwrap_or_default().to_string();
        alerts.map(|it| (text(&it["subject"]), text(&it["key"]))).collect()
    };
    let all_keys = keys(&all(&chat, 0));
    let subjects: BTreeSet<&String> = all_keys.iter().map(|(subject, _)| subject).collect();
    assert_eq!(all_keys.len(), subjects.len(), "a subject with two keys: {all_keys:?}");
    drop(again);
}

/// The id of a webhook's message.
fn id(body: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    body["id"].as_str().expect("an id").to_string()
}
