//! `hotseat logs` as a script uses it: the real binary on real files, pipes and rotations.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

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
    told(&command(home, arguments).output().expect("the binary starts"))
}

/// What [`run`] gives, with `input` on standard input.
fn piped(home: &Path, input: &[u8], arguments: &[&str]) -> (String, String, Option<i32>) {
    let mut child = command(home, arguments);
    child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().expect("the binary starts");
    child.stdin.take().expect("a pipe").write_all(input).expect("written");
    told(&child.wait_with_output().expect("it ends"))
}

fn told(output: &Output) -> (String, String, Option<i32>) {
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
    let expected = "api: 2026-08-19T14:30:00Z ERROR pool timeout\napi: \tat x.Y\n\
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
fn times_have_one_width_so_that_their_text_can_be_sorted() {
    let home = home();
    let text = "2026-08-19T14:00:00.12Z a\n2026-08-19T14:00:00.123456789Z b\n2026-08-19T14:00:01Z c\n";
    fs::write(home.path().join("t.log"), text).expect("t.log");
    let times = "2026-08-19T14:00:00.120000000Z\n2026-08-19T14:00:00.123456789Z\n2026-08-19T14:00:01.000000000Z\n";
    assert_eq!(run(home.path(), &["t.log", "--columns", "time"]).0, times);
    let json = run(home.path(), &["t.log", "--json"]).0;
    let time = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("an object")["time"].clone();
    assert_eq!(json.lines().map(time).collect::<Vec<_>>(), times.lines().collect::<Vec<_>>());
}

#[test]
fn what_is_packed_is_unpacked_from_a_pipe_as_from_a_file() {
    let home = home();
    let read = |bytes: &[u8], arguments: &[&str]| piped(home.path(), bytes, arguments);
    let packed = gzipped(&(0..1000).map(|it| format!("line {it}\n")).collect::<String>());
    assert_eq!(read(&packed, &["-", "--count"]), ("1000\n".into(), String::new(), Some(0)));
    assert_eq!(read(&packed, &["-q", "line 77", "-n", "1"]).0, "line 779\n");
    let (out, says, code) = read(&packed[..packed.len() / 2], &["-"]);
    assert!(
        out.starts_with("line 0\n") && says.contains("it ends in the middle") && code == Some(4),
        "{says} {code:?}"
    );
}

#[test]
fn what_is_harmless_is_printed_byte_by_byte_with_its_tabs() {
    let home = home();
    let text = "2026-08-19T14:00:00Z INFO a\tb\n\tat x.Y\n2026-08-19T14:00:01Z {\"a\":\t1}\n{\"ts\":1787121001,\t\"msg\":\"é\"}\n";
    fs::write(home.path().join("tabs.log"), text).expect("tabs.log");
    assert_eq!(run(home.path(), &["tabs.log"]).0, text);
    assert_eq!(run(home.path(), &["tabs.log", "--original"]).0, text);
    assert_eq!(run(home.path(), &["tabs.log", "-o", "out"]).2, Some(0));
    assert_eq!(fs::read_to_string(home.path().join("out")).expect("out"), text);
    let json = run(home.path(), &["tabs.log", "-n", "3", "--json"]).0;
    let record: serde_json::Value = serde_json::from_str(json.lines().next().expect("a record")).expect("an object");
    assert_eq!(record["text"], "2026-08-19T14:00:00Z INFO a\tb\n\tat x.Y");
    // Between columns a tab is a separator.
    let columns = run(home.path(), &["tabs.log", "-q", "INFO", "--columns", "level,source"]).0;
    assert_eq!(columns, "info\ttabs\n");
}

#[test]
fn a_level_that_was_coloured_before_it_became_json_is_a_level_everywhere() {
    let home = home();
    let line = |minute: usize, colour: usize, level: &str| {
        let level = format!("\\u001b[{colour}m{level}\\u001b[39m");
        format!("{{\"level\":\"{level}\",\"message\":\"x\",\"timestamp\":\"2026-08-19T14:{minute}:00Z\"}}\n")
    };
    let lines: String =
        (10..50).map(|it| if it % 4 == 0 { line(it, 31, "error") } else { line(it, 32, "info") }).collect();
    fs::write(home.path().join("winston.log"), lines).expect("winston.log");
    let logs = |arguments: &[&str]| run(home.path(), &[&["winston.log"], arguments].concat()).0;
    assert_eq!(logs(&["-q", "level>=error", "--count"]), "10\n");
    assert_eq!(logs(&["-q", "level=info", "--count"]), "30\n");
    let newest: serde_json::Value = serde_json::from_str(&logs(&["-n", "1", "--json"])).expect("one object");
    assert_eq!(newest["level"], "info");
    let histogram: serde_json::Value = serde_json::from_str(&logs(&["--histogram", "--json"])).expect("one object");
    let buckets = histogram["buckets"].as_array().expect("buckets");
    let sum = |level: &str| buckets.iter().filter_map(|it| it[level].as_u64()).sum::<u64>();
    assert_eq!((sum("error"), sum("info")), (10, 30), "{histogram}");
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
fn what_cannot_be_read_among_others_is_named_and_ends_with_4() {
    let home = home();
    let check = |arguments: &[&str], expected: &str, named: &str| {
        let (stdout, stderr, code) = run(home.path(), arguments);
        assert_eq!((stdout.as_str(), code), (expected, Some(4)), "{arguments:?}: {stderr}");
        assert!(stderr.contains(named), "{arguments:?}: {stderr}");
    };
    check(&["edge.log", "nope.log"], "edge: 2026-08-19T14:35:00Z ERROR 502\n", "~ nope does not exist yet ~");
    check(&["nope.log", "edge.log", "-c"], "1\n", "~ nope does not exist yet ~");
    check(&["edge.log", "none*.log", "-c"], "1\n", "no log matches `none*.log`");
    // What is no program, and a store behind a port that nobody serves.
    let config = "[[log]]\nname = \"queue\"\ncommand = [\"/no/such/program\"]\n\
                  [[log]]\nname = \"edge\"\nfile = \"edge.log\"\n\
                  [[log]]\nname = \"store\"\nloki = { url = \"http://127.0.0.1:1\", query = '{a=\"b\"}' }\n";
    fs::create_dir_all(home.path().join(".config/hotseat")).expect("a directory");
    let config = config.replace("edge.log", &home.path().join("edge.log").to_string_lossy());
    fs::write(home.path().join(".config/hotseat/config.toml"), config).expect("a config");
    check(&["queue", "edge", "-c"], "1\n", "queue: ");
    check(&["store", "edge", "-c"], "1\n", "not everything was counted");
    check(&["store", "edge", "-c", "-q", "nothing"], "0\n", "not everything was counted");
    let (_, says, code) = run(home.path(), &["store", "edge", "--histogram"]);
    assert_eq!(code, Some(4), "{says}");
    let (found, says, code) = run(home.path(), &["store", "-c"]);
    assert!(found == "0\n" && code == Some(2) && says.contains("store: "), "{found} {says} {code:?}");
}

#[test]
fn a_file_under_several_names_is_read_once() {
    let home = home();
    let directory = home.path().join("d");
    fs::create_dir(&directory).expect("a directory");
    fs::write(directory.join("app-1.log"), "one\n").expect("a log");
    std::os::unix::fs::symlink("app-1.log", directory.join("aa-current.log")).expect("a link");
    fs::hard_link(directory.join("app-1.log"), directory.join("zz.log")).expect("a link");
    for arguments in [&["d", "-c"][..], &["d/*.log", "-c"], &["d/app-1.log", "d/../d/app-1.log", "d", "-c"]] {
        let (found, says, code) = run(home.path(), arguments);
        assert_eq!((found.as_str(), code), ("1\n", Some(0)), "{arguments:?}: {says}");
        assert!(says.contains("app-1.log`, read once"), "{says}");
    }
    assert_eq!(run(home.path(), &["d", "--columns", "source"]).0, "app-1\n");
}

#[test]
fn every_line_of_a_long_record_is_printed() {
    let home = home();
    let lines: String = (1..=500).map(|it| format!("\tat l{it}\n")).collect();
    let text = format!("2026-08-19T14:00:00Z ERROR b\n{lines}");
    fs::write(home.path().join("long-trace.log"), &text).expect("a log");
    assert_eq!(run(home.path(), &["long-trace.log"]), (text, String::new(), Some(0)));
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
        let read = piped(home.path(), b"x 1\ny 2\nx 3", arguments);
        assert_eq!(read, (expected.into(), String::new(), Some(0)), "{arguments:?}");
    }
}

#[test]
fn a_pipe_or_a_file_on_standard_input_is_read_without_being_named() {
    let home = home();
    fs::create_dir_all(home.path().join(".config/hotseat")).expect("a directory");
    let config = format!("[[log]]\nname = \"api\"\nfile = {:?}\n", home.path().join("api.log"));
    fs::write(home.path().join(".config/hotseat/config.toml"), config).expect("a config");
    let read = |arguments: &[&str], stdin: Stdio, text: &str| {
        let mut child = command(home.path(), arguments)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        if let Some(mut pipe) = child.stdin.take() {
            // What reads something else is gone before it is written to.
            let _ = pipe.write_all(text.as_bytes());
        }
        let output = child.wait_with_output().expect("it ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr), output.status.code())
    };
    let quiet = |out: &str| (out.to_string(), String::new(), Some(0));
    assert_eq!(read(&["-q", "b"], Stdio::piped(), "a\nb\n"), quiet("b\n"));
    let edge = fs::File::open(home.path().join("edge.log")).expect("edge.log");
    assert_eq!(read(&["--count"], edge.into(), ""), quiet("1\n"));
    // What is named has the word, and `/dev/null` is nothing that anybody pipes.
    assert_eq!(read(&["edge.log", "--count"], Stdio::piped(), "a\nb\n"), quiet("1\n"));
    assert_eq!(read(&["--source", "api", "--count"], Stdio::piped(), "a\nb\n"), quiet("3\n"));
    assert_eq!(read(&["--count"], Stdio::null(), ""), quiet("3\n"));
    let (out, says, code) = read(&["-q", "b"], Stdio::piped(), "");
    assert!(out.is_empty() && says.contains("standard input is empty") && code == Some(1), "{out} {says} {code:?}");
}

#[test]
fn following_standard_input_ends_with_it() {
    let home = home();
    let mut child = command(home.path(), &["-", "-f"]);
    let child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut follower = Follower(child);
    follower.0.stdin.take().expect("a pipe").write_all(b"one\ntwo").expect("written");
    let mut text = String::new();
    follower.0.stdout.take().expect("a pipe").read_to_string(&mut text).expect("readable");
    assert_eq!((text.as_str(), follower.0.wait().expect("it ends").code()), ("one\ntwo\n", Some(0)));
}

#[test]
fn a_very_long_line_is_written_whole_as_it_is_and_said_where_it_was_not_searched() {
    let home = home();
    let path = home.path().join("long.log");
    let mut bytes = b"2026-08-19T14:00:00Z begin ".to_vec();
    bytes.extend(std::iter::repeat_n(b'x', 20_000_000));
    bytes.extend(b" needle\n2026-08-19T14:00:01Z end without its line end");
    fs::write(&path, &bytes).expect("long.log");
    let output = command(home.path(), &["long.log", "--raw"]).output().expect("the binary starts");
    assert!(output.stdout == bytes, "{} of {} bytes", output.stdout.len(), bytes.len());
    let mut child = command(home.path(), &["-", "--raw"])
        .stdin(fs::File::open(&path).expect("long.log"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut piped = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut piped).expect("readable");
    assert!(piped == bytes && child.wait().expect("it ends").success(), "{} of {}", piped.len(), bytes.len());
    for arguments in [&["long.log", "-q", "needle"][..], &["long.log", "-q", "needle", "-c"]] {
        let (_, says, code) = run(home.path(), arguments);
        assert!(says.contains("were not searched") && code == Some(4), "{arguments:?}: {says} {code:?}");
    }
    // Where not all of it is printed, that is no success either; what asks for no more than is there is one.
    for (arguments, expected) in [
        (&["long.log"][..], 4),
        (&["long.log", "--json"], 4),
        (&["long.log", "--columns", "time"], 0),
        (&["long.log", "--raw"], 0),
        (&["long.log", "--count"], 0),
        (&["api.log", "-q", "timeout"], 0),
    ] {
        assert_eq!(run(home.path(), arguments).2, Some(expected), "{arguments:?}");
    }
}

#[test]
fn a_record_that_goes_on_says_so_to_a_script() {
    let home = home();
    let mut child = command(home.path(), &["-f", "api.log", "--json", "-q", "boom"]);
    let mut follower = Follower(child.stdout(Stdio::piped()).spawn().expect("the binary starts"));
    let mut lines = BufReader::new(follower.0.stdout.take().expect("a pipe")).lines();
    let mut next = || {
        let line = lines.next().expect("a line").expect("readable");
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        (value["text"].as_str().unwrap_or_default().to_string(), value["continues"].as_bool())
    };
    let append = |text: &str| {
        let mut file = OpenOptions::new().append(true).open(home.path().join("api.log")).expect("api.log");
        file.write_all(text.as_bytes()).expect("api.log");
    };
    append("2026-08-19T14:50:00Z ERROR boom\n");
    assert_eq!(next(), ("2026-08-19T14:50:00Z ERROR boom".into(), None));
    append("\tat a.B\n\tat c.D\n");
    assert_eq!(next(), ("\tat a.B\n\tat c.D".into(), Some(true)));
}

#[test]
fn a_pipe_beside_a_file_is_read_to_its_end() {
    let home = home();
    let check = |arguments: &[&str], expected: &str| {
        let read = piped(home.path(), b"2026-08-19T14:50:00Z piped\n", arguments);
        assert_eq!(read, (expected.into(), String::new(), Some(0)), "{arguments:?}");
    };
    let both = "edge: 2026-08-19T14:35:00Z ERROR 502\nstdin: 2026-08-19T14:50:00Z piped\n";
    check(&["-", "edge.log"], both);
    check(&["edge.log", "-", "-n", "2"], both);
    check(&["-", "edge.log", "-n", "1"], "stdin: 2026-08-19T14:50:00Z piped\n");
    check(&["-", "edge.log", "--count"], "2\n");
}

#[test]
fn what_matches_nothing_and_what_cannot_be_read_is_said() {
    let home = home();
    fs::create_dir(home.path().join("none")).expect("none");
    let check = |arguments: &[&str], printed: &str, says: &str, expected: i32| {
        let (stdout, stderr, code) = run(home.path(), arguments);
        assert_eq!((stdout.as_str(), code), (printed, Some(expected)), "{arguments:?} {stderr}");
        assert!(stderr.contains(says), "{arguments:?} {stderr}");
    };
    check(&["no/such/*.log"], "", "no log matches `no/such/*.log`", 2);
    let edge = "2026-08-19T14:35:00Z ERROR 502\n";
    check(&["edge.log", "no/such/*.log"], edge, "no log matches `no/such/*.log`", 4);
    check(&["none"], "", "no log is in `none`", 2);
    let config = "[[log]]\nname = \"gone\"\nfile = \"gone.log\"\n\n[[log]]\nname = \"rest\"\nfile = \"no/*.log\"\n\n\
                  [[log]]\nname = \"fails\"\ncommand = [\"./no-such-program\"]\n\n\
                  [[log]]\nname = \"edge\"\nfile = \"edge.log\"\n";
    fs::write(home.path().join("c.toml"), config).expect("c.toml");
    for (option, nothing) in [("-n2", ""), ("--count", "0\n"), ("-qx", "")] {
        check(&["--config", "c.toml", option, "gone"], nothing, "~ gone does not exist yet ~\n", 2);
        check(&["--config", "c.toml", option, "rest"], nothing, "~ rest: no log matches `no/*.log` ~\n", 2);
        check(&["--config", "c.toml", option, "fails", "gone"], nothing, "~ fails: ", 2);
    }
    let (_, says, code) = run(home.path(), &["--config", "c.toml", "gone", "--histogram"]);
    assert_eq!((says.as_str(), code), ("~ gone does not exist yet ~\n", Some(2)));
    check(&["--config", "c.toml", "edge", "gone"], &format!("edge: {edge}"), "~ gone does not exist yet ~\n", 0);
    check(&["--config", "c.toml", "edge", "rest"], edge, "~ rest: no log matches `no/*.log` ~\n", 0);
}

#[test]
fn a_follower_says_what_it_waits_for_and_that_a_file_went_away() {
    let home = home();
    let mut child = command(home.path(), &["-f", "no/*.log", "edge.log", "--json"]);
    let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut follower = Follower(child);
    let mut says = BufReader::new(follower.0.stderr.take().expect("a pipe")).lines();
    let mut said = || says.next().expect("a line").expect("readable");
    assert_eq!(said(), "~ no log matches `no/*.log` yet, waiting for one ~");
    let mut lines = BufReader::new(follower.0.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line").expect("readable");
    assert!(next().contains("502"));
    fs::remove_file(home.path().join("edge.log")).expect("removed");
    assert_eq!(said(), "~ edge deleted, read on if it comes back ~");
    fs::create_dir(home.path().join("no")).expect("no");
    fs::write(home.path().join("no/late.log"), "2026-08-19T14:50:00Z late\n").expect("late.log");
    assert!(next().contains("late"));
    fs::write(home.path().join("edge.log"), "2026-08-19T14:51:00Z again\n").expect("edge.log");
    assert!(next().contains("rotated"));
    assert!(next().contains("again"));
    fs::remove_file(home.path().join("edge.log")).expect("removed");
    assert_eq!(said(), "~ edge deleted, read on if it comes back ~");
}

#[test]
fn nothing_found_exits_with_1_and_everything_else_with_0() {
    let home = home();
    let code = |arguments: &[&str]| run(home.path(), arguments).2;
    assert_eq!(code(&["api.log", "-q", "pool"]), Some(0));
    assert_eq!(code(&["api.log", "-q", "nowhere"]), Some(1));
    assert_eq!(code(&["api.log", "-q", "nowhere", "--count"]), Some(1));
    assert_eq!(code(&["api.log", "--since", "2027-01-01"]), Some(1));
    fs::write(home.path().join("empty.log"), "").expect("empty.log");
    assert_eq!(code(&["empty.log"]), Some(0), "nothing was asked for");
}

#[test]
fn sources_of_the_config_are_named_like_files() {
    let home = home();
    let config = "[[log]]\nname = \"gate\"\nfile = \"edge.log\"\n\n[[log]]\nname = \"app\"\nfile = \"api.log\"\n";
    fs::write(home.path().join("c.toml"), config).expect("c.toml");
    let logs = |arguments: &[&str]| run(home.path(), &[&["--config", "c.toml"], arguments].concat());
    assert_eq!(logs(&["gate"]).0, "2026-08-19T14:35:00Z ERROR 502\n");
    assert_eq!(logs(&["--source", "gate", "--count"]).0, "1\n");
    assert_eq!(logs(&["app", "gate", "-l", "error", "--columns", "source,level"]).0, "app\terror\ngate\terror\n");
    assert_eq!(logs(&["--count"]).0, "4\n");
    let missing = "[[log]]\nname = \"gone\"\nfile = \"gone.log\"\n\n[[log]]\nname = \"app\"\nfile = \"api.log\"\n";
    fs::write(home.path().join("m.toml"), missing).expect("m.toml");
    let (stdout, says, code) = run(home.path(), &["--config", "m.toml", "-q", "start"]);
    assert_eq!((stdout.as_str(), code), ("app: 2026-08-19T14:00:00Z INFO start\n", Some(0)));
    assert_eq!(says, "~ gone does not exist yet ~\n");
    let (_, says, code) = logs(&["gaet"]);
    assert!(says.contains("did you mean the config's log `gate`?") && code == Some(2), "{says}");
    let (_, says, code) = run(home.path(), &["ERROR", "api.log"]);
    assert!(says.contains("text to search for is named as `-q ERROR`") && code == Some(2), "{says}");
}

#[test]
fn a_program_is_read_to_its_end_and_leaves_nothing_behind() {
    let home = home();
    let config = "[[log]]\nname = \"job\"\ncommand = [\"sh\", \"-c\", \"seq 3; sleep 1000 & echo $! >pid\"]\n\n\
                  [[log]]\nname = \"ends\"\ncommand = [\"seq\", \"7\", \"9\"]\n\n\
                  [[query]]\nname = \"odd\"\nquery = \"/[13579]/\"\n";
    fs::write(home.path().join("c.toml"), config).expect("c.toml");
    let logs = |arguments: &[&str]| run(home.path(), &[&["--config", "c.toml"], arguments].concat());
    assert_eq!(logs(&["ends", "-q", "@odd"]), ("7\n9\n".into(), String::new(), Some(0)));
    assert_eq!(logs(&["ends", "-q", "7 @odd"]), ("7\n".into(), String::new(), Some(0)));
    assert_eq!(logs(&["ends", "-q", "-@odd"]).0, "8\n");
    assert_eq!(logs(&["ends", "-n", "1"]).0, "9\n");
    assert_eq!(logs(&["ends", "--count"]).0, "3\n");
    let (_, says, code) = logs(&["ends", "-q", "@ood"]);
    assert!(says.contains("did you mean `odd`?") && code == Some(2), "{says}");
    // Ended by a signal: the program that it started has to go with it.
    let child = command(home.path(), &["--config", "c.toml", "-f", "job"]).stdout(Stdio::piped()).spawn();
    let mut follower = Follower(child.expect("the binary starts"));
    let mut lines = BufReader::new(follower.0.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.nth(2).expect("a line").expect("readable"), "3");
    let pid = loop {
        let text = fs::read_to_string(home.path().join("pid")).unwrap_or_default();
        match text.trim().parse() {
            Ok(pid) if text.ends_with('\n') => break rustix::process::Pid::from_raw(pid).expect("a process"),
            _ => std::thread::yield_now(),
        }
    };
    let itself = rustix::process::Pid::from_child(&follower.0);
    rustix::process::kill_process(itself, rustix::process::Signal::TERM).expect("signalled");
    assert_eq!(follower.0.wait().expect("it ends").code(), Some(143));
    // It was killed before the command ended; the kernel may take a moment to clear it away.
    let deadline = hotseat::clock::monotonic() + std::time::Duration::from_secs(30);
    loop {
        let state = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            break;
        }
        assert!(hotseat::clock::monotonic() < deadline, "left behind: {state}");
        std::thread::yield_now();
    }
}

#[test]
fn a_format_is_forced_by_its_name() {
    let home = home();
    fs::write(home.path().join("plain.log"), "2026-08-19T14:00:00Z one\n  two\n").expect("plain.log");
    let count = |arguments: &[&str]| run(home.path(), &[&["plain.log", "--count", "--json"], arguments].concat()).0;
    assert!(count(&[]).contains("\"scanned\":1,"), "{}", count(&[]));
    let (_, says, code) = run(home.path(), &["plain.log", "--format", "jsn"]);
    assert!(says.contains("unknown log format `jsn`") && says.contains("did you mean `json`?"), "{says}");
    assert_eq!(code, Some(2));
    assert_eq!(run(home.path(), &["plain.log", "--format", "plain", "--columns", "time", "-n", "1"]).0, "\n");
}

#[test]
fn json_lines_stay_objects_in_a_pipe_and_become_text_and_columns_when_asked() {
    let home = home();
    let line =
        "{\"time\":\"2026-08-19T14:00:00Z\",\"level\":\"warn\",\"msg\":\"slow\",\"status\":502,\"user\":\"sid\"}\n";
    fs::write(home.path().join("o.log"), line).expect("o.log");
    let logs = |arguments: &[&str]| run(home.path(), &[&["o.log"], arguments].concat()).0;
    assert_eq!(logs(&[]), line);
    assert_eq!(logs(&["--original"]), line);
    let readable = logs(&["--readable"]);
    assert!(
        readable.contains(" WARN  slow") && readable.contains("status=502") && !readable.contains('{'),
        "{readable}"
    );
    assert!(readable.starts_with("2026-"), "when it happened: {readable}");
    assert_eq!(logs(&["-q", "status>=500", "--columns", "level,status,user"]), "warn\t502\tsid\n");
    let object: serde_json::Value = serde_json::from_str(&logs(&["--columns", "user", "--json"])).expect("an object");
    assert_eq!(object["fields"]["user"], "sid");
}

#[test]
fn a_histogram_counts_by_time_and_level() {
    let home = home();
    let (text, _, code) = run(home.path(), &["*.log", "--histogram", "-q", "level>=warn", "--buckets", "3"]);
    assert!(text.lines().count() > 1 && text.is_ascii() && text.contains("2 errors"), "{text}");
    assert_eq!(code, Some(0));
    let json = run(home.path(), &["*.log", "--histogram", "--json"]).0;
    let chart: serde_json::Value = serde_json::from_str(&json).expect("an object");
    let sum = |level: &str| -> u64 {
        chart["buckets"].as_array().expect("buckets").iter().filter_map(|it| it[level].as_u64()).sum()
    };
    assert_eq!((sum("total"), sum("error"), sum("warn"), sum("info")), (4, 2, 1, 1), "{json}");
    assert_eq!(run(home.path(), &["*.log", "--histogram", "-q", "nowhere"]).2, Some(1));
}

#[test]
fn an_export_is_a_new_file_of_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let home = home();
    let out = home.path().join("out.txt");
    let (stdout, says, code) = run(home.path(), &["api.log", "-q", "pool", "--output", "out.txt"]);
    assert_eq!((stdout.as_str(), code), ("", Some(0)));
    assert_eq!(says, "1 record in `out.txt` (48B)\n");
    let text = fs::read_to_string(&out).expect("out.txt");
    assert_eq!(text, "2026-08-19T14:30:00Z ERROR pool timeout\n\tat x.Y\n");
    assert_eq!(fs::metadata(&out).expect("out.txt").permissions().mode() & 0o777, 0o600);
    let (_, says, code) = run(home.path(), &["api.log", "-o", "out.txt"]);
    assert!(says.contains("`out.txt` is there already") && code == Some(2), "{says}");
    assert_eq!(fs::read_to_string(&out).expect("out.txt"), text);
    assert_eq!(run(home.path(), &["edge.log", "--raw", "-o", "out.txt", "--force"]).2, Some(0));
    assert_eq!(fs::read_to_string(&out).expect("out.txt"), "2026-08-19T14:35:00Z ERROR 502\n");
    let before = fs::read_to_string(home.path().join("api.log")).expect("api.log");
    let (_, says, code) = run(home.path(), &["api.log", "-o", "api.log", "--force"]);
    assert!(says.contains("is one of the logs that are read") && code == Some(2), "{says}");
    assert_eq!(fs::read_to_string(home.path().join("api.log")).expect("api.log"), before);
}

#[test]
fn a_follower_ends_when_its_reader_goes_and_when_it_is_interrupted() {
    let home = home();
    let start = || {
        let mut child = command(home.path(), &["-f", "api.log"]);
        let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut follower = Follower(child);
        let mut lines = BufReader::new(follower.0.stdout.take().expect("a pipe")).lines();
        assert_eq!(lines.next().expect("a line").expect("readable"), "2026-08-19T14:00:00Z INFO start");
        (follower, lines)
    };
    let ends = |follower: &mut Follower| {
        let mut says = String::new();
        follower.0.stderr.take().expect("a pipe").read_to_string(&mut says).expect("readable");
        assert_eq!(says, "");
        follower.0.wait().expect("it ends").code()
    };
    // Nothing is written any more: that the reader is gone has to be noticed without it.
    let (mut unread, lines) = start();
    drop(lines);
    assert_eq!(ends(&mut unread), Some(0));
    let (mut interrupted, mut lines) = start();
    let pid = rustix::process::Pid::from_child(&interrupted.0);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signalled");
    assert_eq!(ends(&mut interrupted), Some(130));
    assert!(lines.all(|it| it.is_ok()), "whole lines up to the end");
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

#[test]
fn what_a_follower_waits_for_in_vain_and_what_is_no_text_is_said() {
    let home = home();
    let mut child = command(home.path(), &["-f", "api.log", "-q", "source:nope"]);
    let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut follower = Follower(child);
    let mut says = BufReader::new(follower.0.stderr.take().expect("a pipe")).lines();
    let said = says.next().expect("a line").expect("readable");
    assert_eq!(said, "~ no source is called `nope`, there are `api` ~");
    fs::write(home.path().join("tool"), [b"\x7fELF\x02\x01\x01", &[0_u8, 1, 2, 3].repeat(50)[..], b"\n"].concat())
        .expect("tool");
    for arguments in [&["tool"][..], &["tool", "-n", "1"], &["tool", "--count"]] {
        let says = run(home.path(), arguments).1;
        assert_eq!(says.matches("binary").count(), 1, "{arguments:?} {says}");
    }
}

#[test]
fn a_cut_archive_is_printed_up_to_the_cut_and_exits_with_4() {
    let home = home();
    let text: String = (0..300).map(|it| format!("2026-08-19T14:00:00Z INFO line {it} {:x}\n", it * 7_919)).collect();
    let mut packer = liblzma::write::XzEncoder::new(Vec::new(), 6);
    let packed = packer.write_all(text.as_bytes()).and_then(|()| packer.finish()).expect("packed");
    fs::write(home.path().join("cut.log.xz"), &packed[..packed.len() * 2 / 3]).expect("cut.log.xz");
    let (found, says, code) = run(home.path(), &["cut.log.xz"]);
    assert!(text.starts_with(found.trim_end()) && found.len() > text.len() / 2, "{} of {}", found.len(), text.len());
    assert_eq!((says.contains("it ends in the middle"), code), (true, Some(4)), "{says}");
    assert_eq!(run(home.path(), &["cut.log.xz", "--count"]).2, Some(4));
}

#[test]
fn the_one_file_of_a_pattern_that_is_called_as_its_log_is_named_once() {
    let home = home();
    fs::write(home.path().join("c.toml"), "[[log]]\nname = \"api\"\nfile = \"a*.log\"\n").expect("c.toml");
    let json = run(home.path(), &["--config", "c.toml", "api", "-n1", "--json"]).0;
    let record: serde_json::Value = serde_json::from_str(&json).expect("one object");
    assert_eq!(record["source"], "api");
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(text.as_bytes()).expect("packed");
    writer.finish().expect("packed")
}
