//! Runs the program of a producer and hands over what it says, until it ends or is to stop.
//!
//! It gets a process group of its own, which is ended with it: nothing that it started is left behind.
//! Its pipes are read only as fast as the spool takes the bytes, so a fast program waits.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::service::log::producer::{Feed, SETTLE_PAUSE};
use crate::service::probe::redact;

/// Bytes taken from a pipe in one go: what a pipe of Linux holds.
const READ_BYTES: usize = 64 * 1024;
/// A program that is told to stop gets so long to do it: less than what quitting hotseat may take.
const TERM_GRACE: Duration = Duration::from_millis(150);
/// Steps in which it is asked whether it has.
const TERM_STEP: Duration = Duration::from_millis(5);
/// How often a program is asked whether it has ended while something that it started keeps its pipes open.
pub const TICK: Duration = Duration::from_secs(5);
/// Longest line that is kept whole in memory until its end comes.
pub const MAX_LINE_BYTES: usize = 1 << 20;
/// Characters of a program's last words that fit a line of the screen.
const COMPLAINT_CHARS: usize = 160;

/// What to run. No shell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Call {
    /// The program and its arguments; never empty.
    pub argv: Vec<String>,
    /// Added to the environment.
    pub environment: Vec<(String, String)>,
    /// Where it runs; `None` is here.
    pub folder: Option<PathBuf>,
}

impl Call {
    /// A call in this process's environment.
    pub fn new(argv: Vec<String>) -> Self {
        Self { argv, ..Self::default() }
    }

    /// The program.
    pub fn program(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }

    fn start(&self) -> io::Result<Group> {
        let mut command = Command::new(self.program());
        command.args(self.argv.iter().skip(1)).envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Group { child: command.process_group(0).spawn()? })
    }
}

/// Which pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipe {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// What is handed over.
#[derive(Debug)]
pub enum Heard<'a> {
    /// Bytes as they came.
    Bytes(Pipe, &'a [u8]),
    /// Nothing came for the tick.
    Quiet,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    On,
    /// End the program.
    Stop,
}

/// How it ended.
#[derive(Debug)]
pub enum End {
    /// The feed is stopped.
    Stopped,
    /// The hearer wanted that.
    Asked,
    /// By itself.
    Exited(ExitStatus),
}

/// The words for a program that ended by itself, with its last complaint.
pub fn ended_words(program: &str, status: ExitStatus, complaint: &str) -> String {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("`{}` ended with {code}", base(program)),
        (None, signal) => format!("`{}` was ended by signal {}", base(program), signal.unwrap_or_default()),
    };
    if complaint.is_empty() { how } else { format!("{how}: {complaint}") }
}

/// The words for a program that could not be started.
pub fn start_words(program: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound if program.contains('/') => {
            format!("`{}` does not exist", crate::domain::sanitise::text(program))
        }
        io::ErrorKind::NotFound => format!("`{}` is not installed, or not in the PATH", base(program)),
        _ => format!("could not run `{}`: {error}", base(program)),
    }
}

fn base(program: &str) -> String {
    crate::domain::sanitise::text(program.rsplit('/').next().unwrap_or(program))
}

/// Starts the program and hands over what it says. `tick` is how often the hearer is called when nothing comes.
///
/// # Errors
/// When the program can not be started or its pipes can not be waited for.
pub fn run(
    feed: &mut Feed,
    call: &Call,
    tick: Duration,
    hear: &mut dyn FnMut(&mut Feed, Heard<'_>) -> Next,
) -> io::Result<End> {
    let mut group = call.start()?;
    let mut pipes: Vec<(Pipe, Box<dyn Source>)> = Vec::new();
    if let Some(stdout) = group.child.stdout.take() {
        pipes.push((Pipe::Out, Box::new(stdout)));
    }
    if let Some(stderr) = group.child.stderr.take() {
        pipes.push((Pipe::Err, Box::new(stderr)));
    }
    let mut buffer = vec![0; READ_BYTES];
    let mut quiet = Duration::ZERO;
    while !pipes.is_empty() {
        let pause = if feed.settle() { SETTLE_PAUSE } else { tick };
        let (stop, ready) = wait(feed, &pipes, pause)?;
        if stop {
            return Ok(End::Stopped);
        }
        if ready.is_empty() {
            quiet += pause;
            if quiet >= tick {
                quiet = Duration::ZERO;
                if hear(feed, Heard::Quiet) == Next::Stop {
                    return Ok(End::Asked);
                }
                // Something that it started may hold the pipes for ever.
                if let Some(status) = group.child.try_wait()? {
                    return Ok(End::Exited(status));
                }
            }
            continue;
        }
        quiet = Duration::ZERO;
        // Standard output first: what a program says last, on standard error, is why it ends.
        let mut closed = Vec::new();
        for index in ready {
            let (pipe, source) = &mut pipes[index];
            match source.read(&mut buffer) {
                Ok(0) => closed.push(*pipe),
                Ok(count) => {
                    if hear(feed, Heard::Bytes(*pipe, &buffer[..count])) == Next::Stop {
                        return Ok(End::Asked);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        pipes.retain(|(pipe, _)| !closed.contains(pipe));
    }
    // Without pipes it is of no use; most programs end at the same moment.
    for _ in 0..TERM_GRACE.as_millis() / TERM_STEP.as_millis() {
        if let Some(status) = group.child.try_wait()? {
            return Ok(End::Exited(status));
        }
        if feed.wait(TERM_STEP) {
            return Ok(End::Stopped);
        }
    }
    group.end().map(End::Exited)
}

/// Runs the program to its end and returns its standard output, or why there is none in words.
///
/// # Errors
/// In words: it could not be started, did not end in time, failed, or said too much.
pub fn ask(feed: &mut Feed, call: &Call, deadline: Duration, max_bytes: usize) -> Result<Vec<u8>, String> {
    let (mut output, mut complaint) = (Vec::new(), Complaint::default());
    let until = crate::clock::monotonic() + deadline;
    let mut late = false;
    let end = run(feed, call, deadline / 10, &mut |_, heard| {
        match heard {
            Heard::Bytes(Pipe::Out, bytes) => output.extend_from_slice(bytes),
            Heard::Bytes(Pipe::Err, bytes) => complaint.hear(bytes),
            Heard::Quiet => {}
        }
        late = crate::clock::monotonic() >= until;
        if late || output.len() > max_bytes { Next::Stop } else { Next::On }
    });
    match end {
        Ok(End::Exited(status)) if status.success() => Ok(output),
        Ok(End::Exited(status)) => Err(ended_words(call.program(), status, &complaint.words())),
        Ok(End::Stopped) => Err("stopped".into()),
        Ok(End::Asked) if late => Err(format!("`{}` did not answer in {} s", base(call.program()), deadline.as_secs())),
        Ok(End::Asked) => Err(format!("`{}` said more than {max_bytes} bytes", base(call.program()))),
        Err(error) => Err(start_words(call.program(), &error)),
    }
}

/// What can be waited for and read.
trait Source: Read + AsFd {}
impl<T: Read + AsFd> Source for T {}

/// Waits for bytes. Returns whether the feed is stopped, and which pipes are ready.
fn wait(feed: &Feed, pipes: &[(Pipe, Box<dyn Source>)], pause: Duration) -> io::Result<(bool, Vec<usize>)> {
    let stop = feed.stop_fd();
    let mut fds = vec![PollFd::new(&stop, PollFlags::IN)];
    fds.extend(pipes.iter().map(|(_, it)| PollFd::from_borrowed_fd(it.as_fd(), PollFlags::IN)));
    match poll(&mut fds, Timespec::try_from(pause).ok().as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let is_ready = |it: &PollFd<'_>| !it.revents().is_empty();
    let ready = (0..pipes.len()).filter(|it| is_ready(&fds[it + 1])).collect();
    Ok((is_ready(&fds[0]), ready))
}

/// A child with everything that it starts; ended when dropped.
struct Group {
    child: Child,
}

impl Group {
    fn signal(&self, signal: Signal) {
        let leader = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(leader) = leader {
            // An empty group is what is wanted.
            let _ = kill_process_group(leader, signal);
        }
    }

    /// Ends it: politely, then not.
    fn end(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM);
        for _ in 0..TERM_GRACE.as_millis() / TERM_STEP.as_millis() {
            if let Some(status) = self.child.try_wait()? {
                // Ends what it left in its group.
                self.signal(Signal::KILL);
                return Ok(status);
            }
            std::thread::sleep(TERM_STEP);
        }
        self.signal(Signal::KILL);
        // Reaped, so that nothing is left behind; SIGKILL does not fail to end it.
        self.child.wait()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        match self.child.try_wait() {
            // Its number may be another's once it is reaped, its group's is not while a member lives.
            Ok(Some(_)) => self.signal(Signal::KILL),
            _ => {
                let _ = self.end();
            }
        }
    }
}

/// Makes whole lines of the pieces that come from a pipe.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
    /// Bytes of the line at hand that were left out.
    cut_bytes: u64,
}

/// A stretch of whole lines, each with its end.
#[derive(Debug)]
pub struct Whole<'a> {
    /// The lines.
    pub bytes: &'a [u8],
    /// Bytes left out of the last of them.
    pub cut_bytes: u64,
}

impl Lines {
    /// Takes a piece and hands over what is whole by now.
    pub fn feed(&mut self, mut piece: &[u8], take: &mut dyn FnMut(Whole<'_>)) {
        if !self.partial.is_empty() || self.cut_bytes > 0 {
            let Some(end) = memchr::memchr(b'\n', piece) else {
                self.keep(piece);
                return;
            };
            self.keep(&piece[..end]);
            piece = &piece[end + 1..];
            self.end(take);
        }
        let Some(end) = memchr::memrchr(b'\n', piece) else {
            self.keep(piece);
            return;
        };
        take(Whole { bytes: &piece[..=end], cut_bytes: 0 });
        self.keep(&piece[end + 1..]);
    }

    /// Hands over the last line when it has no end.
    pub fn finish(&mut self, take: &mut dyn FnMut(Whole<'_>)) {
        if !self.partial.is_empty() {
            self.end(take);
        }
    }

    fn end(&mut self, take: &mut dyn FnMut(Whole<'_>)) {
        self.partial.push(b'\n');
        take(Whole { bytes: &self.partial, cut_bytes: std::mem::take(&mut self.cut_bytes) });
        self.partial.clear();
        self.partial.shrink_to(READ_BYTES);
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = MAX_LINE_BYTES.saturating_sub(self.partial.len()).min(piece.len());
        self.partial.extend_from_slice(&piece[..room]);
        self.cut_bytes += (piece.len() - room) as u64;
    }
}

/// Keeps the last line of a program's standard error, which says why it ended.
#[derive(Debug, Default)]
pub struct Complaint {
    lines: Lines,
    last: String,
}

impl Complaint {
    /// Takes a piece.
    pub fn hear(&mut self, piece: &[u8]) {
        let last = &mut self.last;
        self.lines.feed(piece, &mut |whole| keep_last(last, whole.bytes));
    }

    /// The last line, without secrets and control characters, short.
    pub fn words(&mut self) -> String {
        let last = &mut self.last;
        self.lines.finish(&mut |whole| keep_last(last, whole.bytes));
        crate::domain::probe::expect::shorten(&redact::evidence(&self.last, &[]), COMPLAINT_CHARS)
    }
}

fn keep_last(last: &mut String, lines: &[u8]) {
    let line = lines.split(|it| *it == b'\n').rev().find(|it| !it.trim_ascii().is_empty());
    if let Some(line) = line {
        *last = String::from_utf8_lossy(&line[..line.len().min(4096)]).into_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(pieces: &[&str]) -> Vec<(String, u64)> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        let mut take = |it: Whole<'_>| found.push((String::from_utf8_lossy(it.bytes).into_owned(), it.cut_bytes));
        for piece in pieces {
            lines.feed(piece.as_bytes(), &mut take);
        }
        lines.finish(&mut take);
        found
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let check = |pieces: &[&str], expected: &[&str]| {
            let found: Vec<String> = whole(pieces).into_iter().map(|it| it.0).collect();
            assert_eq!(found, expected, "{pieces:?}");
        };
        check(&["a\nb\n"], &["a\nb\n"]);
        check(&["a", "b", "c\nd\ne"], &["abc\n", "d\n", "e\n"]);
        check(&["a\n", "\n", ""], &["a\n", "\n"]);
        check(&["no end"], &["no end\n"]);
    }

    #[test]
    fn a_line_beyond_the_bound_is_cut_and_says_by_how_much() {
        let long = "x".repeat(MAX_LINE_BYTES + 10);
        let found = whole(&["a\n", &long, "yz\nb\n"]);
        assert_eq!(found.len(), 3);
        assert_eq!((found[1].0.len(), found[1].1), (MAX_LINE_BYTES + 1, 12));
        assert_eq!(found[2], ("b\n".into(), 0));
    }

    #[test]
    fn the_last_words_are_one_clean_short_line() {
        let mut complaint = Complaint::default();
        complaint.hear(b"first\nsecond \x1b[31mred\x1b[0m password=hunter2\n\n");
        assert_eq!(complaint.words(), "second red password=***");
        complaint.hear(b"and more");
        assert_eq!(complaint.words(), "and more");
    }
}
