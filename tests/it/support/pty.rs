//! The real binary in a pseudo-terminal: keys in, an emulated screen out.
//!
//! Waiting is always for something that shows; deadlines only end tests that would hang and are far longer
//! than anything takes.

use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use hotseat::clock;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long something may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(30);

const BINARY: &str = env!("CARGO_BIN_EXE_hotseat");

/// The exit code of a command, and what it printed on both streams.
pub fn said(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().expect("the program starts");
    let text = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
    (output.status.code(), text)
}

/// What is to be started.
pub struct Launch {
    program: String,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    size: (u16, u16),
    home: Arc<TempDir>,
}

impl Launch {
    /// hotseat with `arguments`, at 80×24, with a home of its own and nothing else in its environment.
    pub fn new(arguments: &[&str]) -> Self {
        Self::program(BINARY, arguments)
    }

    /// A shell script; in it `$HOTSEAT` is the binary.
    pub fn shell(script: &str) -> Self {
        Self::program("/bin/sh", &["-c", script])
    }

    /// Any program.
    pub fn program(program: &str, arguments: &[&str]) -> Self {
        Self::at(Arc::new(tempfile::tempdir().expect("temporary directory")), program, arguments)
    }

    /// hotseat once more, with the home that another one had.
    pub fn again(pty: &Pty) -> Self {
        Self::at(Arc::clone(&pty.home), BINARY, &[])
    }

    /// hotseat with `arguments` beside another one, in the same home.
    pub fn beside(pty: &Pty, arguments: &[&str]) -> Self {
        Self::at(Arc::clone(&pty.home), BINARY, arguments)
    }

    fn at(home: Arc<TempDir>, program: &str, arguments: &[&str]) -> Self {
        let path = |it: &str| home.path().join(it).display().to_string();
        let variables = [
            ("HOME", path("")),
            ("XDG_CONFIG_HOME", path("config")),
            ("XDG_STATE_HOME", path("state")),
            ("HOTSEAT_USER", "alice".into()),
            ("TERM", "xterm-256color".into()),
            ("LANG", "C.UTF-8".into()),
            ("TZ", "UTC".into()),
            ("PATH", std::env::var("PATH").expect("a path")),
        ];
        Self {
            program: program.into(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            variables: variables.map(|(name, value)| (name.into(), value)).into(),
            size: (80, 24),
            home,
        }
    }

    /// Sets a variable.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Columns and rows.
    pub fn size(mut self, width: u16, height: u16) -> Self {
        self.size = (width, height);
        self
    }

    /// The home directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes the config.
    pub fn config(self, text: &str) -> Self {
        let dir = self.home().join("config/hotseat");
        std::fs::create_dir_all(&dir).expect("config directory");
        std::fs::write(dir.join("config.toml"), text).expect("config");
        self
    }

    /// Starts it.
    pub fn start(self) -> Pty {
        let pair = native_pty_system().openpty(pty_size(self.size)).expect("pty");
        let modes_before = format!("{:?}", pair.master.get_termios());
        let mut command = CommandBuilder::new(&self.program);
        command.args(&self.arguments);
        command.env_clear();
        self.variables.iter().for_each(|(name, value)| command.env(name, value));
        command.env("HOTSEAT", BINARY);
        command.cwd(self.home.path());
        let child = pair.slave.spawn_command(command).expect("started");
        // Kept open, the slave would hide that the child is gone.
        drop(pair.slave);
        let (width, height) = self.size;
        let output = Arc::new(Output {
            state: Mutex::new(State {
                terminal: vt100::Parser::new(cells(height), cells(width), 0),
                bytes: 0,
                ended: false,
                hanging_up: false,
            }),
            changed: Condvar::new(),
        });
        let mut reader = pair.master.try_clone_reader().expect("reader");
        let shared = Arc::clone(&output);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0u8; 65536];
            loop {
                let count = reader.read(&mut buffer).unwrap_or(0);
                let mut state = shared.lock();
                state.bytes += count as u64;
                state.terminal.process(&buffer[..count]);
                state.ended = count == 0 || state.hanging_up;
                let ended = state.ended;
                drop(state);
                shared.changed.notify_all();
                if ended {
                    return;
                }
            }
        });
        Pty {
            writer: Some(pair.master.take_writer().expect("writer")),
            master: Some(pair.master),
            child,
            output,
            thread: Some(thread),
            modes_before,
            home: self.home,
        }
    }
}

struct Output {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    terminal: vt100::Parser,
    bytes: u64,
    ended: bool,
    hanging_up: bool,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no reader panicked")
    }
}

/// A running binary and its terminal.
pub struct Pty {
    master: Option<Box<dyn MasterPty + Send>>,
    writer: Option<Box<dyn Write + Send>>,
    child: Box<dyn Child + Send + Sync>,
    output: Arc<Output>,
    thread: Option<JoinHandle<()>>,
    modes_before: String,
    home: Arc<TempDir>,
}

impl Pty {
    /// The home directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// hotseat with `arguments` as a command beside this screen: the same home, a clean environment, no terminal.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments).env_clear().envs(Launch::beside(self, arguments).variables).stdin(Stdio::null());
        command
    }

    /// Types bytes.
    pub fn keys(&mut self, keys: &str) {
        let writer = self.writer.as_mut().expect("not hung up");
        writer.write_all(keys.as_bytes()).and_then(|()| writer.flush()).expect("typed");
    }

    /// Waits until the screen shows a text.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.wait_until(&format!("`{text}`"), |screen| screen.contents().contains(text));
    }

    /// Waits until the screen no longer shows a text.
    #[track_caller]
    pub fn wait_gone(&self, text: &str) {
        self.wait_until(&format!("no `{text}`"), |screen| !screen.contents().contains(text));
    }

    /// Waits until something is true of the screen.
    #[track_caller]
    pub fn wait_until(&self, what: &str, holds: impl Fn(&vt100::Screen) -> bool) {
        let deadline = clock::monotonic() + PATIENCE;
        let mut state = self.output.lock();
        while !holds(state.terminal.screen()) {
            let left = deadline.saturating_duration_since(clock::monotonic());
            assert!(
                !left.is_zero() && !state.ended,
                "waited for {what}; the screen shows:\n{}",
                state.terminal.screen().contents()
            );
            state = self.output.changed.wait_timeout(state, left).expect("no reader panicked").0;
        }
    }

    /// What the screen shows.
    pub fn text(&self) -> String {
        self.output.lock().terminal.screen().contents()
    }

    /// Looks at the screen.
    pub fn look<R>(&self, look: impl FnOnce(&vt100::Screen) -> R) -> R {
        look(self.output.lock().terminal.screen())
    }

    /// Bytes that were sent to the terminal so far.
    pub fn bytes(&self) -> u64 {
        self.output.lock().bytes
    }

    /// Waits until nothing was sent for `still`.
    #[track_caller]
    pub fn wait_silent(&self, still: Duration) {
        let deadline = clock::monotonic() + PATIENCE;
        let mut before = self.bytes();
        loop {
            let state = self.output.lock();
            let (state, _) = self
                .output
                .changed
                .wait_timeout_while(state, still, |it| it.bytes == before && !it.ended)
                .expect("no reader panicked");
            if state.bytes == before {
                return;
            }
            before = state.bytes;
            assert!(clock::monotonic() < deadline, "it never was silent:\n{}", state.terminal.screen().contents());
        }
    }

    /// Sets the mode that shells have and empties the screen, as another program that shares the terminal would.
    pub fn disturb(&self) {
        let terminal = self.master.as_ref().expect("not hung up").tty_name().expect("a name");
        let set = Command::new("stty").arg("-F").arg(&terminal).arg("sane").status().expect("stty starts");
        assert!(set.success(), "{set}");
        std::fs::write(terminal, "\x1b[H\x1b[2J").expect("written");
    }

    /// How the device is set.
    pub fn modes(&self) -> String {
        format!("{:?}", self.master.as_ref().expect("not hung up").get_termios())
    }

    /// Gives the terminal another size.
    pub fn resize(&self, width: u16, height: u16) {
        // The emulated screen first: what is drawn for the new size must not meet the old one.
        self.output.lock().terminal.screen_mut().set_size(cells(height), cells(width));
        self.master.as_ref().expect("not hung up").resize(pty_size((width, height))).expect("resized");
    }

    /// The process that was started.
    pub fn pid(&self) -> u32 {
        self.child.process_id().expect("running")
    }

    /// Sends a signal to the process that was started.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid() as i32).expect("not 0");
        kill_process(pid, signal).expect("sent");
    }

    /// Closes the terminal's other end, as a dropped connection does, and returns the exit code.
    #[track_caller]
    pub fn hang_up(mut self) -> u32 {
        // The reader sleeps in a read that holds the terminal open; a repaint wakes it to let go.
        self.output.lock().hanging_up = true;
        self.master.as_ref().expect("once").resize(pty_size((41, 13))).expect("resized");
        self.thread.take().expect("once").join().expect("no reader panicked");
        self.writer = None;
        self.master = None;
        self.exit_code()
    }

    /// Waits for the end and returns the exit code.
    #[track_caller]
    pub fn exit_code(&mut self) -> u32 {
        let deadline = clock::monotonic() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("waited") {
                return status.exit_code();
            }
            assert!(clock::monotonic() < deadline, "it did not end; the screen shows:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asserts, after the end, that the terminal is as it was found.
    #[track_caller]
    pub fn assert_given_back(&mut self) {
        // All output is in when the reader has seen the end.
        self.thread.take().expect("once").join().expect("no reader panicked");
        self.look(|screen| {
            assert!(!screen.alternate_screen(), "still on the alternate screen");
            assert!(!screen.hide_cursor(), "the cursor is still hidden");
            assert!(!screen.bracketed_paste(), "bracketed paste is still on");
            assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        });
        assert_eq!(self.modes(), self.modes_before);
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cells(it: u16) -> NonZero<u16> {
    it.try_into().expect("a terminal has cells")
}

fn pty_size((cols, rows): (u16, u16)) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}
