//! `hotseat logs` as a script uses it: the real binary on real files, pipes and rotations.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotseat"));
    command
        .arg("logs")
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .env("TZ", "UTC")
        .env("HOTSEAT_FIXED_TIME", "2026-08-19T14:51:30Z")
        .current_dir(home)
        .stdin(Stdio::null());
    command
}

/// Standard output, standard error and the exit code.
fn run(home: &Path, arguments: &[&str]) -> (String, String, Option<i32>) {
    let output = command(home, arguments).output().expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("temporary directory");
    let api = "2026-08-19T14:00:00Z INFO start\n2026-08-19T14:30:00Z ERROR pool timeout\n\tat x.Y\n\
               2026-08-19T14:40:00Z WARN slow \x1b]52;c;x\x07\n";
    fs::write(home.path().join("api.log"), api).expect("api.log");
    fs::write(home.path().join("edge.log"), "2026-08-19T14:35:00Z ERROR 502\n").expect("edge.log");
    home
}

#[test]
fn records_of_several_files_are_filtered_merged_and_harmless() {
    let home = home();
    let found = run(home.path(), &["*.log", "--level", "warn"]).0;
    let expected = "api: 2026-08-19T14:30:00Z ERROR pool timeout\napi:         at x.Y\n\
                    edge: 2026-08-19T14:35:00Z ERROR 502\napi: 2026-08-19T14:40:00Z WARN slow \n";
    assert_eq!(found, expected);
    assert_eq!(run(home.path(), &["api.log", "-q", "timeout", "-q", "-slow", "--count"]).0, "1\n");
    assert_eq!(run(home.path(), &[".", "--since", "-20m", "-n", "1"]).0, "api: 2026-08-19T14:40:00Z WARN slow \n");
    let json = run(home.path(), &["api.log", "-q", "pool", "--json"]).0;
    let record: serde_json::Value = serde_json::from_str(&json).expect("one object");
    assert_eq!((&record["level"], &record["source"]), (&"error".into(), &"api".into()));
    let raw = run(home.path(), &["api.log", "-q", "slow", "--raw"]).0;
    assert_eq!(raw, "2026-08-19T14:40:00Z WARN slow \x1b]52;c;x\x07\n");
}

#[test]
fn a_mistake_is_shown_where_it_is_and_exits_with_2() {
    let home = home();
    let check = |arguments: &[&str], says: &str| {
        let (stdout, stderr, code) = run(home.path(), arguments);
        assert_eq!((stdout.as_str(), code), ("", Some(2)), "{arguments:?}");
        assert!(stderr.contains(says), "{stderr}");
    };
    check(&["api.log", "-q", "x /a(b/"], "  x /a(b/\n     ^^^\n");
    check(&["api.log", "--level", "wran"], "did you mean `warn`?");
    check(&["api.log", "--since", "soon"], "`soon` is not a point in time");
    check(&["nope.log"], "could not read `nope.log`");
}

#[test]
fn the_newest_matches_come_with_the_context_before_the_first_of_them() {
    let home = home();
    let lines = |name: &str, of: std::ops::Range<usize>| -> String {
        of.map(|it| format!("2026-08-19T14:00:{it:02}Z INFO {name}{it}.\n")).collect()
    };
    fs::write(home.path().join("one.log"), lines("n", 0..10)).expect("one.log");
    let found = run(home.path(), &["one.log", "-q", "/n[258]/", "-n", "2", "-C", "1"]).0;
    assert_eq!(found, lines("n", 4..7) + &lines("n", 7..10));
    fs::write(home.path().join("two.log"), "2026-08-19T14:00:07.5Z INFO between\n").expect("two.log");
    let found = run(home.path(), &["one.log", "two.log", "-q", "n8", "-n", "1", "-C", "1"]).0;
    assert_eq!(
        found,
        "two: 2026-08-19T14:00:07.5Z INFO between\none: 2026-08-19T14:00:08Z INFO n8.\none: 2026-08-19T14:00:09Z INFO n9.\n"
    );
}

#[test]
fn a_pipe_is_read_to_its_end() {
    let home = home();
    for (arguments, expected) in
        [(&["-", "-q", "x"][..], "x 1\nx 3\n"), (&["-", "-n", "1"], "x 3\n"), (&["-", "--count"], "3\n")]
    {
        let mut child = command(home.path(), arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        child.stdin.take().expect("a pipe").write_all(b"x 1\ny 2\nx 3").expect("written");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{arguments:?}");
        assert!(output.status.success());
    }
}

/// Ends a follower even when the test fails.
struct Follower(Child);

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn following_goes_on_through_a_rotation_and_a_new_file_of_a_pattern() {
    let home = home();
    let mut child = command(home.path(), &["-f", "*.log", "-q", "new", "-q", "-unwanted"]);
    let mut follower = Follower(child.stdout(Stdio::piped()).spawn().expect("the binary starts"));
    let mut lines = BufReader::new(follower.0.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line").expect("readable");
    let append = |name: &str, text: &str| {
        let mut file = OpenOptions::new().append(true).create(true).open(home.path().join(name)).expect(name);
        file.write_all(text.as_bytes()).expect(name);
    };
    append("api.log", "2026-08-19T14:50:00Z INFO new 1\n");
    assert_eq!(next(), "api: 2026-08-19T14:50:00Z INFO new 1");
    fs::rename(home.path().join("api.log"), home.path().join("api.log.1")).expect("renamed");
    append("api.log.1", "2026-08-19T14:50:01Z INFO unwanted new\n2026-08-19T14:50:01Z INFO new 2\n");
    append("api.log", "2026-08-19T14:50:02Z INFO new 3\n");
    assert_eq!(next(), "api: 2026-08-19T14:50:01Z INFO new 2");
    assert_eq!(next(), "api: 2026-08-19T14:50:02Z INFO new 3");
    append("late.log", "2026-08-19T14:50:03Z INFO new 4\n");
    assert_eq!(next(), "late: 2026-08-19T14:50:03Z INFO new 4");
}
