//! `hotseat logs` where no disk has room for a pipe or for what an archive unpacks to: nothing is lost, and what is, is
//! told and exits with a code of its own.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::mounts::{is_inside, mount_disk, run_inside};

/// Room for a fifth of what comes through the pipe; with what memory holds there is still too little.
const DISK_BYTES: u64 = 6 << 20;

#[test]
fn a_pipe_and_archives_lose_nothing_when_the_disk_is_full() {
    run_inside("logs_full_disk::on_a_small_disk");
}

#[test]
fn on_a_small_disk() {
    if !is_inside() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let state = home.path().join("state");
    fs::create_dir(&state).expect("made");
    mount_disk(&state, DISK_BYTES);
    mount_disk(Path::new("/var/tmp"), 1 << 20);
    let text = noise();
    fs::write(home.path().join("pipe.log"), &text).expect("pipe.log");
    let half = text.len() / 2;
    let half = half + text[half..].find('\n').expect("a line end") + 1;
    for (name, part) in [("a.log.gz", &text[..half]), ("b.log.gz", &text[half..])] {
        let file = fs::File::create(home.path().join(name)).expect("made");
        let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        packer.write_all(part.as_bytes()).and_then(|()| packer.finish().map(drop)).expect("packed");
    }

    let (found, says, code) = logs(home.path(), &["-"]);
    assert!(found == text, "{} of {} bytes: {says}", found.len(), text.len());
    assert_eq!((says.matches("kept in memory").count(), says.lines().count(), code), (1, 1, Some(0)), "{says}");

    let (found, says, code) = logs(home.path(), &["-", "--count"]);
    assert_eq!((found, code), (format!("{}\n", text.lines().count()), Some(0)), "{says}");

    // What passes is among what would have made room first.
    let (found, says, code) = logs(home.path(), &["-", "--histogram", "--json", "-q", "/n000[01]/"]);
    let chart: serde_json::Value = serde_json::from_str(&found).expect("an object");
    let total: u64 = chart["buckets"].as_array().expect("buckets").iter().filter_map(|it| it["total"].as_u64()).sum();
    assert_eq!((total, code), (2_000, Some(0)), "{says}");
    let (found, says, code) = logs(home.path(), &["-", "--count", "--json", "-q", "/n000[01]/"]);
    let counts: serde_json::Value = serde_json::from_str(&found).expect("an object");
    let (matched, scanned) = (counts["matched"].as_u64(), counts["scanned"].as_u64());
    assert_eq!((matched, scanned, code), (Some(2_000), Some(8_000), Some(0)), "{says}");

    // The newest are wanted, the oldest make room: it matters only when they are among what is asked for.
    let (found, says, code) = logs(home.path(), &["-", "-n1"]);
    assert_eq!(
        (found.as_str(), says.as_str(), code),
        (&text[text.trim_end().rfind('\n').expect("lines") + 1..], "", Some(0))
    );
    // With a query they are looked for as they come.
    let (found, says, code) = logs(home.path(), &["-", "-n2", "-q", "/n000000[012]/"]);
    let ends: Vec<usize> = text.match_indices('\n').take(3).map(|it| it.0 + 1).collect();
    assert_eq!((found.as_str(), code), (&text[ends[0]..ends[2]], Some(0)), "{says}");
    let (found, says, code) = logs(home.path(), &["-", "-n1", "-C1", "-q", "n0000000"]);
    assert_eq!((found.as_str(), code), ("", Some(4)), "{says}");
    assert!(says.contains("stdin outgrew its spool"), "{says}");

    let (found, says, code) = logs(home.path(), &["a.log.gz"]);
    assert!(found == text[..half], "{} of {half} bytes: {says}", found.len());
    assert_eq!(code, Some(0), "{says}");
    let (found, says, code) = logs(home.path(), &["a.log.gz", "b.log.gz", "--count"]);
    assert_eq!((found, code), (format!("{}\n", text.lines().count()), Some(0)), "{says}");
}

/// Numbered lines that do not get much smaller when they are packed: more than the disk and the memory of a pipe hold.
fn noise() -> String {
    const LINE_BYTES: usize = 4 << 10;
    let mut state = 1_u64;
    let mut sign = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + u8::try_from((state >> 58) & 63).expect("six bits"))
    };
    let line = |number: usize| -> String {
        format!("n{number:07} ").chars().chain((0..LINE_BYTES).map(|_| sign())).chain(['\n']).collect()
    };
    (0..8_000).map(line).collect()
}

/// Runs `hotseat logs` with the pipe's text on its standard input.
fn logs(home: &Path, arguments: &[&str]) -> (String, String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_hotseat"))
        .args(["--state-dir", "state", "logs"])
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .env("TZ", "UTC")
        .env("TMPDIR", home.join("state"))
        .current_dir(home)
        .stdin(Stdio::from(fs::File::open(home.join("pipe.log")).expect("pipe.log")))
        .output()
        .expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}
