//! Several screens on one state directory: who watches, what the others see of it, and what they do when it dies.

use rustix::process::Signal;

use crate::support::pty::{Launch, Pty};

const QUIT: &str = "\x03";
/// The corner of a screen that watches by itself, and of one that is attached to it.
const WATCHES: &str = "no agent: watches while open";
const ATTACHED: &str = "at alice's screen";

const PROBES: &str = "[[probe]]\nname = 'api'\ncommand = ['true']\ninterval = '1s'\n";

/// A screen that watches, and one more that is attached to it.
fn two(config: &str) -> (Pty, Pty) {
    let first = Launch::new(&[]).config(config).size(120, 40).start();
    first.wait_for(WATCHES);
    let second = Launch::again(&first).size(120, 40).start();
    second.wait_for(ATTACHED);
    (first, second)
}

#[test]
fn what_one_screen_writes_the_other_shows() {
    let (mut first, mut second) = two(PROBES);
    second.keys(":note storage is slow\r");
    first.wait_for("storage is slow");
    first.keys(":declare sev2 edge answers 502\r");
    second.wait_for("edge answers 502");
    // Losing one changes nothing for the other.
    second.signal(Signal::KILL);
    second.exit_code();
    first.keys(":note still here\r");
    first.wait_for("still here");
    first.keys(QUIT);
    assert_eq!(first.exit_code(), 0);
}

#[test]
fn a_killed_holder_is_lost_and_a_person_takes_over_without_losing_a_note() {
    let (mut first, mut second) = two(PROBES);
    first.keys(":note asked storage to fail over\r");
    second.wait_for("asked storage to fail over");
    // Half typed while the other dies: it stays.
    second.keys("ihalf a sen");
    second.wait_for("half a sen");
    first.signal(Signal::KILL);
    first.exit_code();
    second.wait_for("LOST");
    second.wait_for("as of");
    assert!(second.text().contains("half a sen"));
    second.keys("tence\r");
    second.wait_for("not done, kept here");
    second.keys("\x1b");
    second.wait_gone("not done, kept here");
    second.wait_for("R send 1 again");
    second.wait_for("W take over");
    second.keys("W");
    second.wait_for("from this screen?");
    second.keys("y");
    second.wait_for(WATCHES);
    second.wait_gone("LOST");
    second.wait_for("asked storage to fail over");
    // What was refused meanwhile is sent again by its key.
    second.keys("4R");
    second.wait_gone("not saved");
    second.wait_for("half a sentence");
    second.keys(QUIT);
    assert_eq!(second.exit_code(), 0);
}

#[test]
fn when_the_holder_quits_another_screen_goes_on_by_itself() {
    let (mut first, mut second) = two(PROBES);
    let third = Launch::again(&first).size(120, 40).start();
    third.wait_for(ATTACHED);
    first.keys(QUIT);
    assert_eq!(first.exit_code(), 0);
    // One of them does, and the other is attached to it.
    let watches = |pty: &Pty| pty.text().contains(WATCHES);
    second.wait_until("one that watches", |screen| {
        let text = screen.contents();
        text.contains(WATCHES) || text.contains(&format!("pid {}", third.pid()))
    });
    let (one, other) = if watches(&second) { (&second, &third) } else { (&third, &second) };
    one.wait_for(WATCHES);
    other.wait_for(&format!("pid {}", one.pid()));
    second.keys(QUIT);
    assert_eq!(second.exit_code(), 0);
}

#[test]
fn a_holder_that_is_stopped_is_lost_until_it_goes_on_or_is_ended_and_taken_over() {
    let (mut first, mut second) = two(PROBES);
    let held = format!("held by pid {}, which is stopped", first.pid());
    first.signal(Signal::STOP);
    second.wait_for("LOST");
    second.wait_for("W take over");
    second.wait_for(&held);
    first.signal(Signal::CONT);
    second.wait_for(ATTACHED);
    second.wait_gone("LOST");
    // This time a person does not wait for it; what it holds it gives back in order.
    first.signal(Signal::STOP);
    second.wait_for(&held);
    second.keys("W");
    second.wait_for(&format!("end pid {}, which is stopped, and watch", first.pid()));
    second.keys("y");
    second.wait_for(WATCHES);
    second.wait_gone("LOST");
    assert_eq!(first.exit_code(), 143, "it was told to end, and did");
    second.keys(QUIT);
    assert_eq!(second.exit_code(), 0);
}

#[test]
fn a_screen_that_is_suspended_lets_others_watch_and_asks_first_when_there_are_none() {
    // Under a shell with job control, which it comes back from.
    let script = "set -m; \"$HOTSEAT\"; echo stopped; read answer; fg; echo exit $?";
    let mut first = Launch::shell(script).config(PROBES).size(120, 40).start();
    first.wait_for(WATCHES);
    first.keys("\x1a");
    first.wait_for("nobody else is here");
    first.keys("n");
    first.wait_gone("Suspend?");
    let mut second = Launch::again(&first).size(120, 40).start();
    second.wait_for(ATTACHED);
    first.keys("\x1a");
    second.wait_for(WATCHES);
    first.wait_for("stopped");
    second.keys(":note while it sleeps\r");
    second.wait_for("while it sleeps");
    first.keys("\r");
    first.wait_for(ATTACHED);
    first.wait_for("while it sleeps");
    second.keys(QUIT);
    assert_eq!(second.exit_code(), 0);
    first.wait_for(WATCHES);
    first.keys(QUIT);
    first.wait_for("exit 0");
}

#[test]
fn beside_a_holder_that_does_not_answer_a_new_screen_reads_and_can_end_it() {
    let mut first = Launch::new(&[]).config(PROBES).size(120, 40).start();
    first.wait_for(WATCHES);
    first.signal(Signal::STOP);
    let mut second = Launch::again(&first).size(120, 40).start();
    second.wait_for("reading only");
    second.wait_for("W take over");
    second.keys("W");
    second.wait_for("unless it answers");
    second.keys("y");
    second.wait_for(WATCHES);
    assert_eq!(first.exit_code(), 143);
    second.keys(QUIT);
    assert_eq!(second.exit_code(), 0);
}

#[test]
fn logs_that_are_named_are_read_here_and_everything_else_is_shared() {
    let first = Launch::new(&[]).config(PROBES).size(120, 40).start();
    first.wait_for(WATCHES);
    let file = first.home().join("named.log");
    std::fs::write(&file, "the named line\n").expect("written");
    let mut second = Launch::beside(&first, &[file.to_str().expect("UTF-8")]).size(120, 40).start();
    second.wait_for("the named line");
    second.wait_for(ATTACHED);
    second.wait_for("api");
    assert!(!first.text().contains("the named line"));
    std::fs::write(&file, "the named line\nand the next\n").expect("written");
    second.wait_for("and the next");
    second.keys(QUIT);
    assert_eq!(second.exit_code(), 0);
}

#[test]
fn a_read_only_screen_changes_nothing_and_says_when_nobody_watches() {
    let mut alone = Launch::new(&["--readonly"]).config(PROBES).size(120, 40).start();
    alone.wait_for("nobody watches this host");
    let mut holder = Launch::beside(&alone, &[]).size(120, 40).start();
    holder.wait_for(WATCHES);
    // It finds whoever comes.
    alone.wait_for("read-only, at alice's screen");
    alone.keys(":note not mine to write\r");
    alone.wait_for("read-only");
    assert!(!holder.text().contains("not mine to write"));
    holder.keys(QUIT);
    assert_eq!(holder.exit_code(), 0);
    alone.wait_for("LOST");
    assert!(!alone.text().contains("W take over"));
    alone.keys(QUIT);
    assert_eq!(alone.exit_code(), 0);
}

#[test]
fn a_page_that_could_not_be_sent_is_sent_by_whoever_takes_over() {
    let config = "[[probe]]\nname = 'api'\ncommand = ['false']\ninterval = '1s'\nretry = '1s'\nfail = '1/1'\n\
                  notify = ['script']\n\
                  [[notifier]]\nname = 'script'\ncommand = ['sh', '-c', 'test -e ok && cat >> pages']\n";
    let (mut first, mut second) = two(config);
    second.wait_for("unsent");
    first.signal(Signal::KILL);
    first.exit_code();
    std::fs::write(second.home().join("ok"), "").expect("written");
    second.wait_for("W take over");
    second.keys("Wy");
    second.wait_for(WATCHES);
    second.wait_gone("unsent");
    let pages = std::fs::read_to_string(second.home().join("pages")).expect("a page");
    assert!(pages.contains("api"), "{pages}");
    second.keys(QUIT);
    assert_eq!(second.exit_code(), 0);
}

#[test]
fn who_takes_over_begins_with_the_config_of_now_and_not_with_that_of_its_start() {
    let (mut first, mut second) = two(&PROBES.replace("api", "oldname"));
    second.wait_for("oldname");
    let config = second.home().join("config/hotseat/config.toml");
    std::fs::write(config, PROBES.replace("api", "newname")).expect("written");
    second.wait_for("newname");
    second.wait_gone("oldname");
    first.signal(Signal::KILL);
    first.exit_code();
    second.wait_for("W take over");
    second.keys("Wy");
    second.wait_for(WATCHES);
    second.keys("[");
    second.wait_for("PAST");
    second.wait_for("hotseat started");
    let text = second.text();
    assert!(text.contains("newname") && !text.contains("oldname"), "{text}");
    second.keys(QUIT);
    second.keys(QUIT);
    assert_eq!(second.exit_code(), 0);
}
