//! Config mistakes and sessions of the ssh kind, with a stand-in for `ssh` that runs the script on this host.

use std::fs::{self, File, OpenOptions};
use std::io::Write;

use rustix::process::{Pid, Signal, kill_process_group};

use super::*;
use crate::service::log::rig::{Rig, check_mistakes};

#[test]
fn mistakes_are_named_with_their_place() {
    let check = |value: &str, expected: &[&str]| {
        check_mistakes(&format!("[[log]]\nname = \"a\"\nssh = {value}\n"), expected);
    };
    check("{ host = \"alice@web1\", path = \"~/x.log\", config = \"/x\", options = [\"-p\", \"2222\"] }", &[]);
    check("{ host = [\"a\", \"b\"], command = \"dmesg -w\" }", &[]);
    check("\"web1\"", &["3:7 `log.ssh` must be a table, not a string"]);
    check("{ path = \"/x\" }", &["3:7 `host` is missing in log.ssh"]);
    check("{ host = \"-oProxyCommand=x\", path = \"/x\" }", &["3:16 `-oProxyCommand=x` is no host"]);
    check("{ host = [], path = \"/x\" }", &["3:16 `host` must name from 1 to 64 hosts, not 0"]);
    check("{ host = [\"a\", \"a\"], path = \"/x\" }", &["3:22 `a` is named twice"]);
    check("{ host = \"a\", path = \"x.log\" }", &["3:28 `path` must be a whole path on the other host"]);
    check("{ host = \"a\" }", &["3:7 `ssh` names nothing to read"]);
    check("{ host = \"a\", path = \"/x\", command = [\"x\"] }", &["3:34 `ssh` has a `path` or a `command`, not both"]);
}

/// Runs the command line for the other host as `sshd` does, and tells its process group.
const STAND_IN: &str = "while [ -e hold ]; do sleep 0.01; done; for it; do :; done; echo $$ > pid; exec sh -c \"$it\"";

fn log(rig: &Rig, path: &str) -> SshLog {
    SshLog {
        program: rig.script("ssh", STAND_IN).remove(0),
        host: "web1".into(),
        config: None,
        options: Vec::new(),
        what: What::File { path: rig.path(path).to_str().unwrap().into(), tail_bytes: 1 << 20 },
    }
}

fn cut(rig: &Rig) {
    let pid = fs::read_to_string(rig.path("pid")).unwrap().trim().parse().unwrap();
    fs::remove_file(rig.path("pid")).unwrap();
    kill_process_group(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

fn write(file: &mut File, numbers: std::ops::Range<u32>) {
    let text: String = numbers.map(|it| format!("line {it}\n")).collect();
    file.write_all(text.as_bytes()).unwrap();
}

fn open(rig: &Rig, name: &str) -> File {
    OpenOptions::new().create(true).append(true).open(rig.path(name)).unwrap()
}

fn wait_for(rig: &Rig, number: u32) {
    rig.wait_until(|rig| rig.lines("log").last().is_some_and(|it| *it == format!("line {number}")));
}

/// The gaps, without the word that bytes may follow twice: whether it is due depends on who is faster.
fn told(rig: &Rig) -> Vec<String> {
    rig.gaps("log").into_iter().filter(|it| !it.contains("may follow once more")).collect()
}

fn check_lines(rig: &Rig, count: u32) {
    assert_eq!(rig.lines("log"), (0..count).map(|it| format!("line {it}")).collect::<Vec<_>>());
}

#[test]
fn a_file_is_followed_through_rotation_and_truncation_line_by_line() {
    let rig = Rig::new();
    let mut file = open(&rig, "it's a.log");
    write(&mut file, 0..100);
    rig.start(log(&rig, "it's a.log"));
    wait_for(&rig, 99);
    write(&mut file, 100..110);
    wait_for(&rig, 109);
    // Renamed; its writer goes on for a moment.
    fs::rename(rig.path("it's a.log"), rig.path("it's a.log.1")).unwrap();
    write(&mut file, 110..120);
    let mut file = open(&rig, "it's a.log");
    write(&mut file, 120..130);
    wait_for(&rig, 129);
    assert_eq!(rig.gaps("log"), ["Rotated"]);
    file.set_len(0).unwrap();
    write(&mut file, 130..132);
    wait_for(&rig, 131);
    check_lines(&rig, 132);
    assert_eq!(told(&rig), ["Rotated", "Truncated { unread_bytes: 0, gone_bytes: 0, looked_at: None, times: 1 }"]);
}

#[test]
fn a_lost_connection_goes_on_at_the_byte_where_it_stopped() {
    let rig = Rig::new();
    let mut file = open(&rig, "a.log");
    write(&mut file, 0..5000);
    rig.start(log(&rig, "a.log"));
    wait_for(&rig, 4999);
    cut(&rig);
    write(&mut file, 5000..5100);
    wait_for(&rig, 5099);
    cut(&rig);
    // Rotated while nobody was connected: the rest of the old file comes first.
    write(&mut file, 5100..5200);
    fs::rename(rig.path("a.log"), rig.path("a.log.1")).unwrap();
    let mut file = open(&rig, "a.log");
    write(&mut file, 5200..5300);
    wait_for(&rig, 5299);
    check_lines(&rig, 5300);
    let gaps = rig.gaps("log");
    let resumed = "Reconnected { resumed: true }";
    // The stand-in may have been back before the rotation.
    assert!(gaps == [resumed, resumed, "Rotated"], "{gaps:?}");
    let reasons: Vec<String> = rig
        .states("log")
        .iter()
        .filter_map(|it| match it {
            SourceState::Reconnecting { why, .. } => Some(why.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, ["`ssh` was ended by signal 9"; 2]);
}

#[test]
fn a_file_that_was_replaced_while_nobody_was_connected_is_told_as_a_loss() {
    let rig = Rig::new();
    let mut file = open(&rig, "a.log");
    write(&mut file, 0..10);
    rig.start(log(&rig, "a.log"));
    wait_for(&rig, 9);
    fs::remove_file(rig.path("a.log")).unwrap();
    cut(&rig);
    write(&mut open(&rig, "a.log"), 50..60);
    wait_for(&rig, 59);
    assert_eq!(rig.lines("log").len(), 20);
    let gaps = rig.gaps("log");
    assert!(gaps == ["Reconnected { resumed: false }"] || gaps == ["Rotated"], "{gaps:?}");
}

#[test]
fn a_file_that_was_emptied_and_has_grown_past_its_old_end_is_read_from_its_beginning() {
    let rig = Rig::new();
    // The `cat` that was at work may have sent some of the new bytes already; all of them come from the beginning.
    let wait_for_all = |numbers: std::ops::Range<u32>| {
        let all: Vec<String> = numbers.map(|it| format!("line {it}")).collect();
        rig.wait_until(|rig| rig.lines("log").ends_with(&all));
    };
    let mut file = open(&rig, "a.log");
    write(&mut file, 0..10);
    rig.start(log(&rig, "a.log"));
    wait_for(&rig, 9);
    // It grows past the bytes that tell it, and only then is emptied.
    write(&mut file, 10..50);
    wait_for(&rig, 49);
    check_lines(&rig, 50);
    file.set_len(0).unwrap();
    write(&mut file, 50..150);
    wait_for_all(50..150);
    let truncated = "Truncated { unread_bytes: 0, gone_bytes: 0, looked_at: None, times: 1 }";
    assert_eq!(told(&rig), [truncated]);
    // And again while nobody is connected.
    fs::write(rig.path("hold"), "").unwrap();
    cut(&rig);
    file.set_len(0).unwrap();
    write(&mut file, 150..350);
    fs::remove_file(rig.path("hold")).unwrap();
    wait_for_all(150..350);
    assert_eq!(told(&rig), [truncated, "Reconnected { resumed: false }", truncated]);
}

#[test]
fn only_the_end_of_a_long_file_is_fetched_and_begins_with_a_whole_line() {
    let rig = Rig::new();
    write(&mut open(&rig, "a.log"), 0..10_000);
    let what = What::File { path: rig.path("a.log").to_str().unwrap().into(), tail_bytes: 95 };
    rig.start(SshLog { what, ..log(&rig, "a.log") });
    wait_for(&rig, 9999);
    assert_eq!(rig.lines("log"), (9991..10_000).map(|it| format!("line {it}")).collect::<Vec<_>>());
}

#[test]
fn a_file_is_waited_for_and_a_directory_is_refused() {
    let rig = Rig::new();
    rig.start(log(&rig, "a.log"));
    rig.wait_for_state("log", |it| *it == SourceState::Waiting("no such file there yet".into()));
    write(&mut open(&rig, "a.log"), 0..1);
    wait_for(&rig, 0);
    let other = Rig::new();
    fs::create_dir(other.path("folder")).unwrap();
    other.start(log(&other, "folder"));
    let refused = |it: &SourceState| matches!(it, SourceState::Reconnecting { why, .. } if why == "the path is a directory there");
    other.wait_for_state("log", refused);
}

#[test]
fn what_a_login_prints_is_no_line_of_the_log_and_refusals_are_told_in_the_words_of_ssh() {
    let rig = Rig::new();
    write(&mut open(&rig, "a.log"), 0..3);
    let script = format!("echo 'Welcome to web1'; echo 'a banner' >&2; {STAND_IN}");
    rig.start(SshLog { program: rig.script("banner", &script).remove(0), ..log(&rig, "a.log") });
    wait_for(&rig, 2);
    check_lines(&rig, 3);
    let other = Rig::new();
    let script = "echo 'alice@web1: Permission denied (publickey).' >&2; exit 255";
    other.start(SshLog { program: other.script("refuses", script).remove(0), ..log(&other, "a.log") });
    let refused = |it: &SourceState| matches!(it, SourceState::Reconnecting { why, .. } if why == "alice@web1: Permission denied (publickey).");
    other.wait_for_state("log", refused);
}

#[test]
fn a_program_of_another_host_gets_its_words_as_they_are() {
    let rig = Rig::new();
    let argv = ["printf", "%s|", "a b", "it's", "$HOME", "*"].map(String::from).into();
    rig.start(SshLog { what: What::Command(argv), ..log(&rig, "x") });
    rig.wait_until(|rig| rig.lines("log").first().is_some_and(|it| it == "a b|it's|$HOME|*|"));
}

#[test]
fn a_reader_that_is_far_behind_says_by_how_much_until_it_has_caught_up() {
    let rig = Rig::new();
    let mut file = open(&rig, "a.log");
    let what = What::File { path: rig.path("a.log").to_str().unwrap().into(), tail_bytes: 64 << 20 };
    write(&mut file, 0..150_000);
    rig.start(SshLog { what, ..log(&rig, "a.log") });
    wait_for(&rig, 149_999);
    let states = rig.states("log");
    assert!(states.iter().any(|it| matches!(it, SourceState::Lagging { bytes } if *bytes >= 1 << 20)), "{states:?}");
    rig.wait_for_state("log", |it| *it == SourceState::Connected);
    assert_eq!(rig.states("log").last(), Some(&SourceState::Connected));
    check_lines(&rig, 150_000);
}
