//! `command = ["check_disk", "-w", "10%"]`: a program of one's own or a Nagios plugin, unchanged.
//!
//! No shell. The exit code says 0 ok, 1 degraded, 2 fail, 3 unknown; the first line is the text, what
//! stands after `|` is performance data. The program gets its own process group, an environment without
//! what our own holds, no input, no terminal, no core dump and bounded CPU time. At the deadline the group
//! gets SIGTERM, a moment later SIGKILL. What it prints is read to its end but kept only up to 8 KiB, as Nagios does.

use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::clock;
use crate::domain::probe::expect::{CRITS, FieldValue, Subjects, WARNS, shorten};
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Phase, ProbeResult, Trouble};
use crate::domain::probe::perfdata::{self, take_apart};
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::lack;
use crate::service::probe::net::{self, Verdict, fail};
use crate::service::probe::{Observing, Probe, Run, redact};
use crate::service::program::{self, Program};

/// Bytes of output that are kept, as many as Nagios keeps.
const OUTPUT_MAX: usize = 8 << 10;
/// Between SIGTERM and SIGKILL: enough to remove a temporary file, short enough to stay within the run's own overrun.
const TERM_GRACE: Duration = Duration::from_millis(500);
/// How long the rest of the output may take after the exit; a grandchild that keeps the pipe open is not waited for.
const OUTPUT_GRACE: Duration = Duration::from_millis(100);
/// Variables that a plugin needs to find its files and to write plain text. Everything else may be a secret.
const ENVIRONMENT: &[&str] = &["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER"];
/// Where plugins live; added to the PATH, because packages put them nowhere else.
const PLUGIN_PATHS: &[&str] = &["/usr/lib/nagios/plugins", "/usr/lib64/nagios/plugins", "/usr/lib/monitoring-plugins"];
/// CPU time beyond the timeout: what the cleaning up after SIGTERM may take.
const CPU_SPARE: Duration = Duration::from_secs(2);
/// Characters of a plugin's first line in a narrow column.
const BRIEF_MAX: usize = 40;

/// `command` in the config.
pub const KIND: Kind<dyn Probe> = Kind {
    name: "command",
    summary: "run a program or a Nagios plugin: exit code and performance data, no shell",
    example: "[[probe]]\nname = \"disk\"\ncommand = [\"check_disk\", \"-w\", \"10%\", \"-c\", \"5%\", \"-p\", \"/\"]\ninterval = \"5m\"\n",
    build,
};

/// Runs a program.
#[derive(Debug, Clone, Hash)]
struct CommandProbe {
    // Never empty.
    argv: Vec<String>,
    folder: Option<PathBuf>,
    environment: Vec<(String, String)>,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    let Program { argv, folder, environment } = program::read(node, Node::string)?;
    Some(Box::new(CommandProbe { argv, folder, environment }))
}

impl Probe for CommandProbe {
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a> {
        let deadline = run.deadline;
        Box::pin(async move {
            let mut seen = Observation::default();
            let begun = clock::monotonic();
            let verdict = self.look(deadline, &mut seen).await;
            seen.values.phases.add(Phase::Run, clock::monotonic() - begun);
            seen.verdict = verdict;
            seen
        })
    }

    fn target(&self) -> String {
        sanitise::text(&redact::redact(&self.argv.join(" "), &[]))
    }

    fn subjects(&self) -> Subjects {
        Subjects::Command
    }

    fn hide(&self, text: &str, chars_max: usize) -> String {
        redact::excerpt(text, &self.secrets(), chars_max)
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }
}

impl CommandProbe {
    /// What was given to the program and to nobody else.
    fn secrets(&self) -> Vec<String> {
        self.environment.iter().map(|(_, value)| value.clone()).collect()
    }

    async fn look(&self, deadline: Instant, seen: &mut Observation) -> Option<Verdict> {
        let begun = clock::timer();
        let mut child = match self.start() {
            Ok(child) => child,
            Err(error) => return Some(start_trouble(&self.argv[0], &error)),
        };
        let mut group = Group::of(&child);
        group.limit(deadline.saturating_duration_since(begun));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (mut output, mut complaint) = (Capture::default(), Capture::default());
        let mut ended = None;
        {
            let reading = async {
                tokio::join!(drain(stdout, &mut output), drain(stderr, &mut complaint));
            };
            tokio::pin!(reading);
            let mut read_all = false;
            let waited = tokio::time::timeout_at(deadline, async {
                loop {
                    tokio::select! {
                        () = &mut reading, if !read_all => read_all = true,
                        status = child.wait() => return status,
                    }
                }
            })
            .await;
            match waited {
                Ok(status) => {
                    ended = Some(status);
                    if !read_all && tokio::time::timeout(OUTPUT_GRACE, &mut reading).await.is_ok() {
                        read_all = true;
                    }
                    if read_all {
                        // Nobody holds the pipes: the group is empty and its number may already be another's.
                        group.release();
                    }
                }
                Err(_) => {
                    group.signal(Signal::TERM);
                    let _ = tokio::time::timeout(TERM_GRACE, child.wait()).await;
                    group.signal(Signal::KILL);
                    // Reaped, so that nothing is left behind; SIGKILL does not fail to end it.
                    let _ = tokio::time::timeout(TERM_GRACE, child.wait()).await;
                }
            }
        }
        drop(group);
        let secrets = self.secrets();
        let text = output.text();
        let (line, perf) = take_apart(&text);
        seen.evidence.text = match redact::evidence(&line, &secrets) {
            it if it.is_empty() => redact::evidence(&complaint.text(), &secrets),
            it => it,
        };
        seen.evidence.body_bytes = output.total;
        seen.evidence.cut = output.total > output.bytes.len() as u64;
        seen.evidence.parts = perfdata::parts(&perf);
        // What the plugin's own ranges say, for `expect` and `prefer`; the exit code stands above it where neither asks.
        let count = |what: &dyn Fn(ProbeResult) -> bool| {
            FieldValue::Number(seen.evidence.parts.iter().filter(|it| what(it.result)).count() as f64)
        };
        let (crits, warns) = (count(&|it| it == ProbeResult::Fail), count(&|it| it != ProbeResult::Ok));
        seen.values.fields.extend([(CRITS.name, crits), (WARNS.name, warns)]);
        seen.evidence.perf.clone_from(&perf);
        seen.values.perf = perf;
        seen.values.text = text;
        let said = seen.evidence.text.clone();
        match ended {
            // What it took to end it is not counted.
            None => Some(net::timeout(Phase::Run, net::whole(deadline).unwrap_or(deadline - begun))),
            Some(Err(error)) => Some(start_trouble(&self.argv[0], &error)),
            Some(Ok(status)) => {
                seen.values.exit = status.code();
                seen.evidence.exit = status.code();
                verdict(&self.argv[0], status, &said)
            }
        }
    }

    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).env_clear();
        for name in ENVIRONMENT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".into());
        command.env("PATH", format!("{path}:{}", PLUGIN_PATHS.join(":")));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true).spawn()
    }
}

/// The process group of a command: killed when dropped, so that a cancelled run leaves nothing behind.
struct Group {
    leader: Option<Pid>,
}

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|it| i32::try_from(it).ok());
        Self { leader: id.and_then(Pid::from_raw) }
    }

    /// Bounds what the program may use; what it starts inherits it, and only root could raise it again.
    fn limit(&self, timeout: Duration) {
        let seconds = timeout.as_secs() + CPU_SPARE.as_secs();
        let both = |it: u64| Rlimit { current: Some(it), maximum: Some(it) };
        // A core would hold the environment; a loop ends also when it has left the group.
        for (resource, limit) in [(Resource::Core, both(0)), (Resource::Cpu, both(seconds))] {
            // One that has ended already needs no limit.
            let _ = prlimit(self.leader, resource, limit);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            // An empty group is what is wanted.
            let _ = kill_process_group(leader, signal);
        }
    }

    fn release(&mut self) {
        self.leader = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The beginning of a stream, and how much there was.
#[derive(Default)]
struct Capture {
    bytes: Vec<u8>,
    total: u64,
}

impl Capture {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Reads a stream to its end and keeps its beginning. A plugin that is not read would wait for ever.
async fn drain(stream: Option<impl AsyncRead + Unpin>, capture: &mut Capture) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; OUTPUT_MAX];
    loop {
        let Ok(length) = stream.read(&mut buffer).await else { return };
        if length == 0 {
            return;
        }
        let room = OUTPUT_MAX - capture.bytes.len();
        capture.bytes.extend_from_slice(&buffer[..length.min(room)]);
        capture.total += length as u64;
    }
}

fn start_trouble(program: &str, error: &io::Error) -> Verdict {
    // Whatever keeps us from running the plugin says nothing about the service.
    if let Some(lack) = lack::of_start(error) {
        return net::lacking(lack, &format!("could not run `{program}`"), error);
    }
    let text = match error.kind() {
        io::ErrorKind::NotFound => format!("could not run `{program}`: no such program in the PATH"),
        _ => format!("could not run `{program}`: {error}"),
    };
    (ProbeResult::Unknown, Trouble::new(Cause::Own, "cannot run", sanitise::text(&text)))
}

fn verdict(program: &str, status: ExitStatus, said: &str) -> Option<Verdict> {
    let own = |brief: String, text: String| {
        Some((ProbeResult::Unknown, Trouble::new(Cause::Own, brief, sanitise::text(&text))))
    };
    let words = |code: i32| if said.is_empty() { format!("exit {code}") } else { said.to_string() };
    let brief = |code: i32| {
        // Plugins begin with `DISK CRITICAL - `; the column already says how bad it is.
        let rest = said.split_once(" - ").map_or(said, |(_, rest)| rest);
        if rest.is_empty() { format!("exit {code}") } else { shorten(rest, BRIEF_MAX) }
    };
    match status.code() {
        Some(0) => None,
        Some(1) => Some((ProbeResult::Degraded, Trouble::new(Cause::Exit, brief(1), words(1)))),
        Some(2) => Some(fail(Cause::Exit, &brief(2), words(2))),
        Some(3) => Some((ProbeResult::Unknown, Trouble::new(Cause::Exit, brief(3), words(3)))),
        Some(code) => {
            let text = format!("`{program}` ended with {code}, plugins end with 0 to 3: {}", words(code));
            Some((ProbeResult::Unknown, Trouble::new(Cause::Exit, format!("exit {code}"), sanitise::text(&text))))
        }
        None => {
            let signal = status.signal().unwrap_or_default();
            own(format!("signal {signal}"), format!("`{program}` was ended by signal {signal}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brief_leaves_out_what_the_column_says() {
        let status = ExitStatus::from_raw(2 << 8);
        let (result, trouble) = verdict("check_disk", status, "DISK CRITICAL - free space: / 1%").expect("a verdict");
        assert_eq!((result, trouble.brief.as_str()), (ProbeResult::Fail, "free space: / 1%"));
    }
}
