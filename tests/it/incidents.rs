//! Incidents through the real binary: the commands, and notes that survive being killed, full disks and each other.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

const BIN: &str = env!("CARGO_BIN_EXE_hotseat");

fn hotseat(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BIN);
    command.args(arguments).env_clear().env("HOME", dir).env("HOTSEAT_STATE_DIR", dir.join("state"));
    command.env("HOTSEAT_USER", "alice").env("TZ", "UTC").stdin(Stdio::null());
    command
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    hotseat(dir, arguments).env("HOTSEAT_FIXED_TIME", "2024-08-19T06:52:00Z").output().expect("it starts")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// All notes of the log-book or incident shown, and the whole answer.
fn notes(dir: &Path) -> (Vec<String>, Value) {
    let shown = hotseat(dir, &["incident", "show", "--json"]).output().expect("it starts");
    let shown: Value = serde_json::from_str(&stdout(&shown)).expect("JSON");
    let entries = shown["entries"].as_array().expect("entries").iter();
    let notes = entries.filter(|it| it["kind"] == "note").map(|it| it["body"]["text"].as_str().unwrap().to_string());
    (notes.collect(), shown)
}

#[test]
fn an_incident_is_declared_noted_changed_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let name = stdout(&run(dir, &["declare", "edge", "502", "--severity", "2", "--impact-start", "-8m"]));
    let name = name.trim();
    assert_eq!(stdout(&run(dir, &["note", "@-12m asked", "storage"])).trim(), name);
    assert_eq!(stdout(&run(dir, &["note", "--at", "06:50", "数据库连接失败"])).trim(), name);
    let changes = ["incident", "set", "--action-taken", "Switched to backup server", "--severity", "1", "--resolve"];
    assert_eq!(stdout(&run(dir, &changes)).trim(), name);
    let shown = stdout(&run(dir, &["incident", "show"]));
    let shown = shown.replace(name, "INC").replace(&dir.display().to_string(), "DIR");
    insta::assert_snapshot!(shown, @r"
    INC  edge 502
    SEV1 resolved · declared 2024-08-19 06:52:00 +00:00 by alice · took 8m00s
    impact since: 2024-08-19 06:44:00 +00:00
    mitigated: 2024-08-19 06:52:00 +00:00
    resolved: 2024-08-19 06:52:00 +00:00
    action taken: Switched to backup server
    folder: DIR/state/incidents/2024/INC

    2024-08-19 +00:00
    06:40:00 alice    asked storage
    06:50:00 alice    数据库连接失败
    06:52:00 alice    declared SEV2 edge 502
    06:52:00 alice    action taken: Switched to backup server
    06:52:00 alice    severity SEV1
    06:52:00 alice    status resolved
    ");
    let listed = stdout(&run(dir, &["incident", "list"])).replace(name, "INC-20240819-0652-xxxx");
    insta::assert_snapshot!(listed, @"INC-20240819-0652-xxxx SEV1  resolved      2024-08-19 06:52    8m00s  edge 502");
}

#[test]
fn mistakes_are_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let cases: [(&[&str], &str); 4] = [
        (
            &["incident", "show", "nope"],
            "error: there is no incident `nope`\nhint: `hotseat incident list` shows them all\n",
        ),
        (
            &["note", "@-12x hm"],
            "error: `@-12x` is not a time, write `-12m`, `14:05`, `2024-08-19 14:05` or RFC 3339\n",
        ),
        (&["note", " "], "error: an empty note was not saved\n"),
        (
            &["incident", "set"],
            "error: nothing to change\nhint: name a change: `--title`, `--summary`, `--action-taken`, `--severity`, `--status` or `--resolve`\n",
        ),
    ];
    for (arguments, expected) in cases {
        let output = run(dir.path(), arguments);
        assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
    }
}

#[test]
fn a_corrupt_line_is_skipped_counted_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let name = stdout(&run(dir, &["declare", "t"]));
    for text in ["one", "two", "three"] {
        stdout(&run(dir, &["note", text]));
    }
    let entries = dir.join("state/incidents/2024").join(name.trim()).join("entries");
    let journal = std::fs::read_dir(entries).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&journal).unwrap();
    let at = bytes.windows(5).position(|it| it == b"\"two\"").unwrap();
    bytes[at + 1] = 0xff;
    std::fs::write(&journal, bytes).unwrap();
    let shown = stdout(&run(dir, &["incident", "show"]));
    assert!(shown.contains("damaged: 1 line skipped\n"), "{shown}");
    assert!(shown.contains("one") && shown.contains("three") && !shown.contains("tw"), "{shown}");
}

#[test]
fn a_full_disk_refuses_the_note_and_hurts_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    stdout(&run(dir, &["note", "before"]));
    // A limit on the size of files acts like a full disk; without the trap its signal would end the program.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" note \"$1\"", BIN, &"x".repeat(5_000)]);
    limited.env("HOME", dir).env("HOTSEAT_STATE_DIR", dir.join("state")).env("HOTSEAT_USER", "alice");
    let output = limited.env("HOTSEAT_FIXED_TIME", "2024-08-19T06:52:00Z").output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{words}");
    assert!(words.starts_with("error: the note was not saved\ncaused by: could not write `"), "{words}");
    assert!(words.contains(".ndjson`: ") && words.contains("hint: "), "{words}");
    stdout(&run(dir, &["note", "after"]));
    let (notes, shown) = notes(dir);
    assert_eq!(notes, ["before", "after"]);
    assert_eq!((&shown["damaged_lines"], &shown["broken_links"]), (&0.into(), &0.into()));
}

#[test]
fn a_note_that_was_acknowledged_survives_kill_9_and_other_writers() {
    const WRITERS: usize = 4;
    const NOTES: usize = 20;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    stdout(&hotseat(dir, &["declare", "torture"]).output().unwrap());
    let acknowledged: BTreeSet<String> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let mut saved = Vec::new();
                    for number in 0..NOTES {
                        let text = format!("writer {writer} note {number}");
                        let mut child = hotseat(dir, &["note", &text]).stdout(Stdio::null()).spawn().unwrap();
                        // Every third one lives; the others die somewhere between their start and their end.
                        if number % 3 != 0 {
                            std::thread::sleep(Duration::from_micros(fastrand::u64(0..25_000)));
                            // It may have ended by itself.
                            let _ = child.kill();
                        }
                        if child.wait().unwrap().success() {
                            saved.push(text);
                        }
                        let listed = hotseat(dir, &["incident", "list"]).output().unwrap();
                        assert!(listed.status.success(), "a reader failed: {listed:?}");
                    }
                    saved
                })
            })
            .collect();
        writers.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    let (notes, shown) = notes(dir);
    let found: BTreeSet<String> = notes.iter().cloned().collect();
    assert_eq!(found.len(), notes.len(), "no note is there twice");
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(acknowledged.len() >= WRITERS * NOTES / 3);
    assert_eq!(shown["broken_links"], 0, "all writers share one chain");
}
