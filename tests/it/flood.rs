//! A flood of numbered lines through the real binary: every line that passes the filter comes out exactly once.
//!
//! The writer waits for nobody, the test waits for the last number. Nothing here depends on how fast either is.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::support::pty::Launch;

/// Lines of a flood: some megabytes, more than any pipe or page holds.
const LINES: u64 = 60_000;
/// One in so many passes the filter.
const EACH: u64 = 3;
/// Lines given away in one write.
const LINES_PER_WRITE: u64 = 100;

fn line(number: u64) -> String {
    let word = if number.is_multiple_of(EACH) { "keep" } else { "skip" };
    format!("2026-08-19T14:00:00.{:03}Z INFO {word} number {number}.\n", number * 1000 / LINES)
}

fn kept() -> Vec<u64> {
    (0..LINES).filter(|it| it.is_multiple_of(EACH)).collect()
}

/// Writes all lines, in pieces that end inside of lines too.
fn write_all(mut to: impl Write) {
    let mut rest = Vec::new();
    for first in (0..LINES).step_by(LINES_PER_WRITE as usize) {
        let text: String = (first..(first + LINES_PER_WRITE).min(LINES)).map(line).collect();
        rest.extend_from_slice(text.as_bytes());
        let half = rest.len() - 7;
        to.write_all(&rest[..half]).expect("written");
        rest.drain(..half);
    }
    to.write_all(&rest).expect("written");
}

fn number_of(line: &str) -> u64 {
    let number = line.rsplit_once("keep number ").and_then(|(_, it)| it.strip_suffix('.'));
    number.and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("not a line of the flood: {line}"))
}

/// Ends the process even when the test fails.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn follow(home: &Path, path: &str, stdin: Stdio) -> Ended {
    let child = Command::new(env!("CARGO_BIN_EXE_hotseat"))
        .args(["logs", "-f", "-q", "keep", path])
        .env_clear()
        .env("HOME", home)
        .env("TZ", "UTC")
        .current_dir(home)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    Ended(child.expect("the binary starts"))
}

/// Reads to the last number, ends the follower, and returns the numbers and what it said besides.
fn read_to_the_last(mut follower: Ended) -> (Vec<u64>, String) {
    let last = *kept().last().expect("some are kept");
    let lines = BufReader::new(follower.0.stdout.take().expect("a pipe")).lines();
    let mut numbers = Vec::new();
    for line in lines {
        let line = line.expect("readable");
        // The writer was kept waiting inside of a line for so long that its beginning was shown; it comes again whole.
        if !line.ends_with('.') {
            continue;
        }
        let number = number_of(&line);
        numbers.push(number);
        if number == last {
            break;
        }
    }
    let mut said = follower.0.stderr.take().expect("a pipe");
    drop(follower);
    let mut says = String::new();
    said.read_to_string(&mut says).expect("readable");
    (numbers, says)
}

/// What is not as it should be, in words; nothing when each number came once and in order.
fn mistakes(numbers: &[u64]) -> String {
    if numbers == kept() {
        return String::new();
    }
    let missing: Vec<u64> = kept().into_iter().filter(|it| !numbers.contains(it)).take(5).collect();
    let doubled: Vec<u64> =
        (1..numbers.len()).filter(|at| numbers[..*at].contains(&numbers[*at])).map(|at| numbers[at]).take(5).collect();
    let place = numbers.windows(2).find(|it| it[1] != it[0] + EACH).map(<[u64]>::to_vec);
    format!("{} of {}; missing {missing:?}, doubled {doubled:?}, first odd step {place:?}", numbers.len(), kept().len())
}

#[test]
fn a_file_that_is_flooded_is_followed_without_a_loss() {
    let home = tempfile::tempdir().expect("temporary directory");
    let file = File::create(home.path().join("flood.log")).expect("flood.log");
    let follower = follow(home.path(), "flood.log", Stdio::null());
    let writer = thread::spawn(move || write_all(file));
    let (numbers, says) = read_to_the_last(follower);
    writer.join().expect("written");
    assert_eq!((mistakes(&numbers).as_str(), says.as_str()), ("", ""));
}

#[test]
fn a_pipe_that_is_flooded_is_followed_without_a_loss() {
    let home = tempfile::tempdir().expect("temporary directory");
    let mut follower = follow(home.path(), "-", Stdio::piped());
    let pipe = follower.0.stdin.take().expect("a pipe");
    let writer = thread::spawn(move || write_all(pipe));
    let (numbers, says) = read_to_the_last(follower);
    writer.join().expect("written");
    assert_eq!((mistakes(&numbers).as_str(), says.as_str()), ("", ""));
}

/// What the screen shows counts every line, and what passes its filter is written out once each.
fn check_screen(launch: Launch, write: impl FnOnce(&Path) + Send + 'static) {
    let home = launch.home().to_path_buf();
    let mut pty = launch.size(120, 30).start();
    pty.wait_for("LOGS");
    pty.keys("fkeep\r");
    let writer = thread::spawn({
        let home = home.clone();
        move || write(&home)
    });
    let last = *kept().last().expect("some are kept");
    pty.wait_for(&format!("keep number {last}."));
    writer.join().expect("written");
    pty.wait_for("20,000 of 60.0k");
    pty.keys("Y");
    pty.wait_for("write all that passes to:");
    pty.keys("out.txt\r");
    pty.wait_for("20,000 records");
    let numbers: Vec<u64> = fs::read_to_string(home.join("out.txt")).expect("out.txt").lines().map(number_of).collect();
    assert_eq!(mistakes(&numbers), "");
    pty.keys("\x03");
    assert_eq!(pty.exit_code(), 0);
}

#[test]
fn a_screen_on_a_flooded_file_shows_every_line_that_passes() {
    let launch = Launch::new(&["flood.log"]);
    let file = File::create(launch.home().join("flood.log")).expect("flood.log");
    check_screen(launch, move |_| write_all(file));
}

#[test]
fn a_screen_on_a_flooded_pipe_shows_every_line_that_passes() {
    let launch = Launch::shell("cat flood.fifo | \"$HOTSEAT\" -");
    let path = launch.home().join("flood.fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("a pipe");
    // Opening waits for the reader, which is there before the screen is.
    check_screen(launch, |home| write_all(File::options().write(true).open(home.join("flood.fifo")).expect("opened")));
}
