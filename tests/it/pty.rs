//! The real binary in a pseudo-terminal: how it starts, lives and ends.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::pty::Launch;

/// Long enough that only a machine that stands still could take a torn key for Esc.
const PATIENT_ESC: &[&str] = &["--esc-wait", "5000"];

#[test]
fn the_screen_opens_and_quitting_gives_the_terminal_back() {
    let mut pty = Launch::new(&[]).start();
    pty.wait_for("SERVICES");
    pty.wait_for("LOGS");
    assert!(pty.look(|screen| screen.alternate_screen() && screen.hide_cursor() && screen.bracketed_paste()));
    pty.keys("\x03");
    assert_eq!(pty.exit_code(), 0);
    pty.assert_given_back();
}

#[test]
fn q_quits_at_the_first_press_however_early() {
    // Before the first frame, and while the screen tells something by itself.
    let mut pty = Launch::new(&[]).start();
    pty.keys("q");
    assert_eq!(pty.exit_code(), 0);
    pty.assert_given_back();

    let mut pty = Launch::new(&[]).start();
    pty.wait_for("no config yet");
    pty.keys("q");
    assert_eq!(pty.exit_code(), 0);
    pty.assert_given_back();
}

#[test]
fn esc_takes_a_notice_away() {
    let mut pty = Launch::new(PATIENT_ESC).start();
    pty.wait_for("no config yet");
    pty.keys("\x1b\x1b");
    pty.wait_gone("no config yet");
}

#[test]
fn a_screen_that_is_killed_is_no_longer_here() {
    let alice = Launch::new(&[]).size(120, 40).start();
    alice.wait_for("SERVICES");
    let bob = Launch::beside(&alice, &[]).variable("HOTSEAT_USER", "bob").size(120, 40).start();
    alice.wait_for("2 here: alice, bob");
    bob.wait_for("2 here: bob, alice");
    bob.signal(Signal::KILL);
    alice.wait_gone("2 here");
}

#[test]
fn a_config_that_comes_after_the_start_is_taken_into_use() {
    let mut pty = Launch::new(&[]).start();
    pty.wait_for("no config yet");
    pty.keys("\x12");
    pty.wait_for("there is no config yet:");
    let dir = pty.home().join("config/hotseat");
    std::fs::create_dir_all(&dir).expect("config directory");
    std::fs::write(dir.join("config.toml"), "[[probe]]\nname = 'late-comer'\ncommand = ['true']\n").expect("config");
    pty.wait_for("late-comer");
    pty.keys("q");
    assert_eq!(pty.exit_code(), 0);
}

#[test]
fn another_theme_in_the_config_is_taken_into_use() {
    let pty = Launch::new(&[]).config("[screen]\ntheme = 'mono'\n").start();
    pty.wait_for("SERVICES");
    let coloured = |screen: &vt100::Screen| cells(screen).any(|it| it.fgcolor() != vt100::Color::Default);
    assert!(!pty.look(coloured));
    std::fs::write(pty.home().join("config/hotseat/config.toml"), "[screen]\ntheme = 'dark'\n").expect("config");
    pty.wait_until("colours", coloured);
}

#[test]
fn a_signal_gives_the_terminal_back_and_is_told_by_the_exit_code() {
    // Also a hang-up of a terminal that is still there: who reloads an agent by name hits the screens as well.
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::QUIT, 131), (Signal::HUP, 129)] {
        let mut pty = Launch::new(&["--mouse"]).start();
        pty.wait_for("SERVICES");
        pty.signal(signal);
        assert_eq!(pty.exit_code(), code);
        pty.assert_given_back();
    }
}

#[test]
fn a_dropped_connection_ends_it() {
    let pty = Launch::new(&[]).start();
    pty.wait_for("SERVICES");
    assert_eq!(pty.hang_up(), 129);
}

#[test]
fn a_dropped_connection_is_noticed_when_sighup_is_ignored() {
    // As under nohup: the shell's `trap ''` is inherited, and only the terminal itself tells.
    let pty = Launch::shell("trap '' HUP; \"$HOTSEAT\"; exit $?").start();
    pty.wait_for("SERVICES");
    assert_eq!(pty.hang_up(), 129);
}

#[test]
fn a_storm_of_sizes_ends_with_the_last_one_drawn() {
    let mut pty = Launch::new(&[]).start();
    pty.wait_for("SERVICES");
    for step in 0..100u16 {
        pty.resize(40 + step, 12 + step % 30);
    }
    pty.resize(120, 40);
    // What was drawn for sizes in between may have hit the emulated screen in another size; the last word counts.
    pty.keys("\x0c");
    pty.wait_until("a title row of 120 columns", |screen| {
        screen.size() == (40.try_into().expect("rows"), 120.try_into().expect("columns"))
            && screen.contents().contains("SERVICES")
            && screen.contents().contains("INCIDENT")
    });
    pty.keys("\x03");
    assert_eq!(pty.exit_code(), 0);
}

#[test]
fn an_arrow_torn_by_the_link_is_still_an_arrow() {
    let mut pty = Launch::new(PATIENT_ESC).start();
    pty.wait_for("SERVICES");
    pty.keys(":zo");
    pty.wait_for(":zo");
    pty.keys("\x1b");
    pty.wait_silent(Duration::from_millis(100));
    pty.keys("[D");
    pty.wait_silent(Duration::from_millis(100));
    pty.keys("x");
    pty.wait_for(":zxo");
    pty.keys("\x03");
}

#[test]
fn a_lone_esc_closes_what_is_open() {
    let mut pty = Launch::new(&[]).start();
    pty.wait_for("SERVICES");
    pty.keys(":qqq");
    pty.wait_for(":qqq");
    pty.keys("\x1b");
    pty.wait_gone(":qqq");
}

#[test]
fn a_paste_is_typed_and_never_obeyed() {
    let mut pty = Launch::new(&[]).start();
    pty.wait_for("SERVICES");
    pty.keys(":");
    pty.keys("\x1b[200~quit\r\nq\x1b[31m\x1b[201~");
    pty.wait_for(":quit q[31m");
}

#[test]
fn an_idle_screen_sends_nothing() {
    let pty = Launch::new(&[]).start();
    pty.wait_for("SERVICES");
    pty.wait_silent(Duration::from_secs(2));
}

#[test]
fn keys_work_while_standard_input_is_a_pipe_of_logs() {
    let mut pty = Launch::shell("printf 'one\\ntwo\\n' | \"$HOTSEAT\" -; echo exit $?").start();
    pty.wait_for("SERVICES");
    pty.keys("\x03");
    pty.wait_for("exit 0");
}

#[test]
fn without_colours_the_selection_still_shows() {
    let mut pty = Launch::new(&[]).variable("NO_COLOR", "1").variable("COLORTERM", "truecolor").start();
    pty.wait_for("SERVICES");
    pty.keys("\x10");
    pty.wait_until("something in reverse", |screen| cells(screen).any(|it| it.inverse()));
    pty.look(|screen| {
        for cell in cells(screen) {
            assert_eq!((cell.fgcolor(), cell.bgcolor()), (vt100::Color::Default, vt100::Color::Default));
        }
    });
}

fn cells(screen: &vt100::Screen) -> impl Iterator<Item = &vt100::Cell> {
    let (rows, columns) = screen.size();
    (0..rows.get()).flat_map(move |row| (0..columns.get()).filter_map(move |column| screen.cell(row, column)))
}

#[test]
fn a_terminal_that_cannot_draw_is_refused_with_the_way_out() {
    let mut pty = Launch::shell("\"$HOTSEAT\"; echo exit $?").variable("TERM", "dumb").start();
    pty.wait_for("exit 2");
    let text = pty.text();
    assert!(text.contains("hotseat status") && text.contains("hotseat logs"), "{text}");
    assert_eq!(pty.exit_code(), 0);
}

#[test]
fn a_panic_of_the_screen_gives_the_terminal_back_and_says_what_happened() {
    let mut pty = Launch::new(&[]).variable("HOTSEAT_TEST_PANIC", "screen").start();
    assert_eq!(pty.exit_code(), 3);
    pty.assert_given_back();
    let text = pty.text();
    assert!(text.contains("a panic on purpose") && text.contains("error: the screen failed"), "{text}");
}

#[test]
fn a_panic_of_a_task_is_told_on_a_screen_that_lives_on() {
    let mut pty = Launch::new(&[]).variable("HOTSEAT_TEST_PANIC", "task").start();
    pty.wait_for("a task of the screen failed");
    assert!(!pty.text().contains("panicked at"));
    pty.keys("\x03");
    assert_eq!(pty.exit_code(), 0);
    pty.assert_given_back();
}

#[test]
fn it_can_be_suspended_and_comes_back_painted() {
    let script = "set -m; \"$HOTSEAT\"; echo stopped; read answer; fg; echo exit $?";
    let mut pty = Launch::shell(script).start();
    pty.wait_for("SERVICES");
    pty.keys("\x1a");
    pty.wait_for("stopped");
    assert!(pty.look(|screen| !screen.alternate_screen() && !screen.hide_cursor()));
    pty.keys("\r");
    pty.wait_until("the screen", |screen| screen.alternate_screen() && screen.contents().contains("INCIDENT"));
    pty.keys("\x03");
    pty.wait_for("exit 0");
}

#[test]
fn without_a_shell_to_come_back_from_it_does_not_suspend() {
    let mut pty = Launch::new(&[]).start();
    pty.wait_for("SERVICES");
    pty.keys("\x1a");
    pty.wait_for("suspend is off");
    pty.keys("\x03");
    assert_eq!(pty.exit_code(), 0);
}

#[test]
fn without_a_shell_to_come_back_from_no_signal_suspends_it_either() {
    // As when Ctrl-Z is pressed in an editor that it has started.
    let mut pty = Launch::new(&[]).start();
    pty.wait_for("SERVICES");
    pty.signal(Signal::TSTP);
    pty.wait_for("suspend is off");
    assert!(pty.look(vt100::Screen::alternate_screen));
    pty.keys("\x03");
    assert_eq!(pty.exit_code(), 0);
}

#[test]
fn a_mode_that_another_program_has_set_is_put_right_with_the_picture() {
    let config = "[[probe]]\nname = 'still-there'\ncommand = ['true']\ninterval = '1s'\n";
    let mut pty = Launch::new(&[]).config(config).start();
    pty.wait_for("still-there");
    let ours = pty.modes();
    pty.disturb();
    pty.wait_until("the mode and the picture", |screen| {
        pty.modes() == ours && screen.alternate_screen() && screen.contents().contains("still-there")
    });
    pty.wait_for("another program changed the mode of this terminal");
    pty.keys("\x03");
    assert_eq!(pty.exit_code(), 0);
    pty.assert_given_back();
}

#[test]
fn a_key_that_ends_the_input_of_a_disturbed_terminal_is_no_hang_up() {
    let mut pty = Launch::new(&[]).start();
    pty.wait_for("no config yet");
    pty.keys("\x1b");
    pty.wait_gone("no config yet");
    pty.wait_silent(Duration::from_millis(200));
    let ours = pty.modes();
    pty.disturb();
    pty.keys("\x04");
    pty.wait_for("another program changed the mode of this terminal");
    pty.wait_for("SERVICES");
    assert_eq!(pty.modes(), ours);
    pty.keys("\x03");
    assert_eq!(pty.exit_code(), 0);
    pty.assert_given_back();
}

#[test]
fn ssh_is_not_in_the_group_that_has_the_terminal() {
    let launch = Launch::new(&["--host", "far"]).size(120, 40);
    let bin = launch.home().join("bin");
    std::fs::create_dir_all(&bin).expect("folder");
    let script = "#!/bin/sh\necho \"group $(cut -d' ' -f5 /proc/$$/stat).\" >&2\nexit 255\n";
    std::fs::write(bin.join("ssh"), script).expect("an ssh");
    std::fs::set_permissions(bin.join("ssh"), std::fs::Permissions::from_mode(0o700)).expect("made to run");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("a path"));
    let pty = launch.variable("PATH", &path).start();
    pty.wait_for("group ");
    let text = pty.text();
    let group: String = text.split("group ").nth(1).expect("said").chars().take_while(char::is_ascii_digit).collect();
    assert!(!group.is_empty() && group != pty.pid().to_string(), "{text}");
}

#[test]
fn a_stop_that_nobody_announced_is_repaired() {
    let mut pty = Launch::new(&[]).start();
    pty.wait_for("SERVICES");
    pty.wait_silent(Duration::from_millis(200));
    let before = pty.bytes();
    pty.signal(Signal::STOP);
    pty.signal(Signal::CONT);
    pty.wait_until("a full repaint", |_| true);
    while pty.bytes() < before + 200 {
        pty.wait_silent(Duration::from_millis(20));
    }
    pty.wait_for("SERVICES");
    pty.keys("\x03");
    assert_eq!(pty.exit_code(), 0);
}

#[test]
fn it_opens_at_every_size_it_was_designed_for() {
    for (width, height) in [(40, 12), (120, 40), (200, 60)] {
        let mut pty = Launch::new(&[]).size(width, height).start();
        pty.wait_for("SERVICES");
        pty.keys("\x03");
        assert_eq!(pty.exit_code(), 0, "{width}x{height}");
    }
}

#[test]
fn what_the_program_says_about_itself_goes_to_a_private_file() {
    let mut pty = Launch::new(&[]).start();
    pty.wait_for("SERVICES");
    // As an answering terminal would: no synchronized update, then the answer that every terminal gives.
    pty.keys("\x1b[?2026;0$y\x1b[?62;22c");
    pty.wait_silent(Duration::from_millis(100));
    pty.keys("\x03");
    assert_eq!(pty.exit_code(), 0);
    let log = pty.home().join("state/hotseat/hotseat.log");
    let text = std::fs::read_to_string(&log).expect("a log file");
    assert!(text.contains("the terminal has answered"), "{text}");
    assert_eq!(std::fs::metadata(&log).expect("metadata").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_mistake_in_the_config_is_shown_on_a_screen_that_works() {
    let mut pty = Launch::new(&[]).config("[screen]\nmouze = true\n").start();
    pty.wait_for("mouze");
    pty.keys("\x03");
    assert_eq!(pty.exit_code(), 0);
}

#[test]
fn an_editor_gets_the_terminal_and_every_key_and_its_text_comes_back() {
    let launch = Launch::new(&[]);
    let editor = launch.home().join("editor.sh");
    let script = "#!/bin/sh\necho in the editor\nread answer\necho \"typed $answer\" >> \"$2\"\n";
    std::fs::write(&editor, script).expect("an editor");
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o700)).expect("made to run");
    let mut pty = launch.variable("VISUAL", &format!("'{}' --wait", editor.display())).start();
    pty.wait_for("INCIDENT");
    pty.keys("I");
    pty.wait_until("the editor's cursor", |screen| !screen.hide_cursor());
    pty.keys("\x18");
    pty.wait_for("in the editor");
    assert!(pty.look(|screen| !screen.alternate_screen() && !screen.bracketed_paste()));
    pty.keys("hello\r");
    pty.wait_until("the screen with the text", |screen| {
        screen.alternate_screen() && screen.bracketed_paste() && screen.contents().contains("typed hello")
    });
    let left = std::fs::read_dir(pty.home().join("state/hotseat/edit")).expect("a folder").count();
    assert_eq!(left, 0, "a text that came back leaves no file");
}

#[test]
fn what_was_being_written_survives_a_kill_and_a_dropped_connection() {
    let mut pty = Launch::new(&[]).start();
    pty.wait_for("INCIDENT");
    pty.keys("I");
    pty.wait_until("the editor's cursor", |screen| !screen.hide_cursor());
    pty.keys("half a sentence");
    pty.wait_for("half a sentence");
    pty.signal(Signal::TERM);
    assert_eq!(pty.exit_code(), 143);

    let mut pty = Launch::again(&pty).start();
    pty.wait_for("INCIDENT");
    pty.keys("I");
    pty.wait_for("half a sentence");
    pty.keys(" and more");
    pty.wait_for("and more");
    let next = Launch::again(&pty);
    assert_eq!(pty.hang_up(), 129);

    let mut pty = next.start();
    pty.wait_for("INCIDENT");
    pty.keys("I");
    pty.wait_for("and more");
}

#[test]
fn a_log_that_takes_nothing_writes_nothing_into_the_screen() {
    let launch = Launch::shell("\"$HOTSEAT\" 2>errors; exit $?").variable("HOTSEAT_LOG", "trace");
    let state = launch.home().join("state/hotseat");
    std::fs::create_dir_all(&state).expect("state directory");
    // Every write to it fails as on a full disk.
    std::os::unix::fs::symlink("/dev/full", state.join("hotseat.log")).expect("link");
    let mut pty = launch.start();
    pty.wait_for("SERVICES");
    pty.keys("\x03");
    assert_eq!(pty.exit_code(), 0);
    assert_eq!(std::fs::read_to_string(pty.home().join("errors")).expect("errors"), "");
}

#[test]
fn a_half_typed_note_survives_a_kill() {
    let mut pty = Launch::new(&[]).start();
    pty.wait_for("SERVICES");
    pty.keys("i");
    pty.wait_for("log-book >");
    pty.keys("pool is gro");
    let drafts = pty.home().join("state/hotseat/incidents/.drafts");
    let kept = || {
        // The temporary file holds the text as well, but it is no draft before it has its name.
        let files = std::fs::read_dir(&drafts).into_iter().flatten().flatten();
        let drafts = files.map(|it| it.path()).filter(|it| it.extension().is_some_and(|it| it == "draft"));
        drafts.filter_map(|it| std::fs::read_to_string(it).ok()).any(|it| it.contains("pool is gro"))
    };
    // The screen shows nothing of it, so there is nothing else to wait on.
    for _ in 0..2_000 {
        if kept() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(kept());
    pty.signal(Signal::KILL);
    pty.exit_code();
    let mut pty = Launch::again(&pty).start();
    pty.wait_for("SERVICES");
    pty.keys("i");
    pty.wait_for("log-book > pool is gro");
    pty.keys("\x03y");
    pty.exit_code();
}

#[test]
fn every_source_of_a_directory_reaches_the_screen() {
    let dir = tempfile::tempdir().expect("temporary directory");
    for number in 0..200 {
        std::fs::write(dir.path().join(format!("s{number:03}.log")), "x\n").expect("written");
    }
    // More facts than the screen takes at once: none may fall between two turns.
    let mut pty = Launch::new(&[dir.path().to_str().expect("UTF-8")]).start();
    pty.wait_for("200 sources");
    pty.keys("\x03");
    assert_eq!(pty.exit_code(), 0);
}
