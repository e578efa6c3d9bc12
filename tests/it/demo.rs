//! `hotseat demo` from its first frame to its last word: the whole outage on the real screen.

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::support::pty::{Launch, Pty};

/// Starts the demo with a folder of its own for temporary files.
fn demo(arguments: &[&str]) -> (Pty, PathBuf) {
    let launch = Launch::new(&[&["demo", "--speed", "20"], arguments].concat()).size(200, 60);
    let temporary = launch.home().join("tmp");
    std::fs::create_dir(&temporary).expect("made");
    let pty = launch.variable("TMPDIR", &temporary.display().to_string()).start();
    (pty, temporary)
}

/// Waits for a row of the screen with all these words in it.
fn wait_for_row(pty: &Pty, words: &[&str]) {
    pty.wait_until(&format!("a row with {words:?}"), |screen| {
        screen.contents().lines().any(|row| words.iter().all(|it| row.contains(it)))
    });
}

fn left_in(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).expect("folder").map(|it| it.expect("entry").path()).collect()
}

#[test]
fn the_whole_outage_is_seen_and_nothing_is_left_behind() {
    let (mut pty, temporary) = demo(&[]);
    wait_for_row(&pty, &["all 6 ok"]);
    assert_eq!(left_in(&temporary).len(), 1);
    wait_for_row(&pty, &["orders-db", "backups✓"]);
    wait_for_row(&pty, &["I api", "SongController"]);
    wait_for_row(&pty, &["storage", "down", "refused"]);
    wait_for_row(&pty, &["api", "down", "timeout"]);
    wait_for_row(&pty, &["edge", "down", "502"]);
    wait_for_row(&pty, &["SEV2", "INC-", "login and search fail", "investigating"]);
    wait_for_row(&pty, &["F storage", "mount /data/vol"]);
    wait_for_row(&pty, &["resolved", "INC-"]);
    wait_for_row(&pty, &["all 6 ok"]);
    pty.keys("q");
    assert_eq!(pty.exit_code(), 0);
    pty.assert_given_back();
    assert!(pty.text().contains("demo: removed `"), "{}", pty.text());
    assert_eq!(left_in(&temporary), [] as [PathBuf; 0]);
}

#[test]
fn what_is_kept_opens_with_the_command_it_names() {
    let (mut pty, temporary) = demo(&["--keep"]);
    wait_for_row(&pty, &["orders-db", "backups✓"]);
    pty.keys("q");
    assert_eq!(pty.exit_code(), 0);
    pty.assert_given_back();
    let said = pty.text().replace('\n', "");
    let (_, command) = said.split_once("open it with `hotseat").expect("a command");
    let (command, _) = command.split_once('`').expect("its end");
    assert_eq!(left_in(&temporary).len(), 1);

    let mut pty = Launch::shell(&format!("\"$HOTSEAT\"{command}")).size(200, 60).start();
    wait_for_row(&pty, &["orders-db", "backups✓"]);
    wait_for_row(&pty, &["edge", "refused"]);
    pty.keys("q");
    assert_eq!(pty.exit_code(), 0);
}

#[test]
fn a_demo_that_is_cut_off_cleans_up_too() {
    let (mut pty, temporary) = demo(&[]);
    wait_for_row(&pty, &["all 6 ok"]);
    pty.signal(Signal::TERM);
    assert_eq!(pty.exit_code(), 143);
    assert_eq!(left_in(&temporary), [] as [PathBuf; 0]);

    let (pty, temporary) = demo(&[]);
    wait_for_row(&pty, &["all 6 ok"]);
    // The home and all in it goes with the terminal; a second owner keeps it to be looked at.
    let home = Launch::again(&pty);
    pty.signal(Signal::HUP);
    assert_eq!(pty.hang_up(), 129);
    assert_eq!(left_in(&temporary), [] as [PathBuf; 0]);
    drop(home);
}
