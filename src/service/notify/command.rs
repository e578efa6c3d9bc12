//! `command = ["apprise", "--config", "/etc/apprise.conf"]`: a program of one's own.
//!
//! The text comes on standard input and in variables `HOTSEAT_*`, never in an argument: no shell and no option
//! of the program can be reached by what a service said. Exit code 0 means sent. The program has its own
//! process group, which is ended at the deadline.

use std::hash::{Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::domain::alert::delivery::Delivery;
use crate::domain::probe::expect::shorten;
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::notify::{Attempt, Notifier, Receipt, SendError, Sending, payload, text};
use crate::service::probe::redact::redact;
use crate::service::program::{self, Program};

/// Bytes of output that are kept.
const OUTPUT_MAX: usize = 4 << 10;
/// Characters of its words that are shown.
const WORDS_MAX: usize = 240;
/// Bytes of one variable: Linux takes 128 KiB each, and all of them together with the arguments 2 MiB.
const VARIABLE_MAX: usize = 100 << 10;
/// How long the rest of the output may take after the exit.
const OUTPUT_GRACE: Duration = Duration::from_millis(100);
/// Between SIGTERM and SIGKILL.
const TERM_GRACE: Duration = Duration::from_millis(500);

/// `command` in the config.
pub const KIND: Kind<dyn Notifier> = Kind {
    name: "command",
    summary: "run a program with the text on its standard input and in HOTSEAT_* variables, no shell",
    example: "[[notifier]]\nname = \"rest\"\ncommand = [\"apprise\", \"--config\", \"/etc/apprise.conf\"]\n",
    build,
};

/// Runs a program for each message.
#[derive(Debug, Clone, Hash)]
struct CommandNotifier {
    // Never empty.
    argv: Vec<String>,
    folder: Option<PathBuf>,
    environment: Vec<(String, String)>,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Notifier>> {
    // Secrets go into `env`, because arguments are shown by `ps`.
    let Program { argv, folder, environment } = program::read(node, Node::secret)?;
    Some(Box::new(CommandNotifier { argv, folder, environment }))
}

impl Notifier for CommandNotifier {
    fn send<'a>(&'a self, attempt: Attempt<'a>) -> Sending<'a> {
        Box::pin(async move {
            let program = sanitise::text(&self.argv[0]);
            let mut child = self.start(&attempt).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => SendError::permanent(format!("there is no program `{program}`")),
                _ => SendError::transient(format!("could not run `{program}`: {error}")),
            })?;
            let mut group = Group::of(&child);
            let input = text::whole(&attempt.delivery.message) + "\n";
            let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            let (mut said, mut complaint) = (Vec::new(), Vec::new());
            let ended = tokio::time::timeout_at(attempt.deadline, async {
                let write = async {
                    if let Some(mut stdin) = stdin {
                        // A program that does not read its input is none the worse for it.
                        let _ = stdin.write_all(input.as_bytes()).await;
                    }
                };
                let talk = async { tokio::join!(write, drain(stdout, &mut said), drain(stderr, &mut complaint)) };
                tokio::pin!(talk);
                let mut is_over = false;
                let status = loop {
                    tokio::select! {
                        _ = &mut talk, if !is_over => is_over = true,
                        status = child.wait() => break status,
                    }
                };
                if !is_over {
                    // What it started in the background keeps the pipes; its own words are there by now.
                    is_over = tokio::time::timeout(OUTPUT_GRACE, &mut talk).await.is_ok();
                }
                if is_over {
                    // Nobody holds the pipes: the group is empty and its number may already be another's.
                    group.release();
                }
                status
            })
            .await;
            let words = |bytes: &[u8]| self.clean(&String::from_utf8_lossy(bytes));
            let said_last = if complaint.is_empty() { words(&said) } else { words(&complaint) };
            let with_words = |text: String| if said_last.is_empty() { text } else { format!("{text}: {said_last}") };
            match ended {
                Ok(Ok(status)) if status.success() => {
                    Ok(Receipt { id: None, text: with_words(format!("`{program}` ended with 0")) })
                }
                Ok(Ok(status)) => Err(SendError::transient(with_words(match status.code() {
                    Some(code) => format!("`{program}` ended with {code}"),
                    None => format!("`{program}` was ended by a signal"),
                }))),
                Ok(Err(error)) => Err(SendError::transient(format!("could not wait for `{program}`: {error}"))),
                Err(_) => {
                    group.signal(Signal::TERM);
                    let _ = tokio::time::timeout(TERM_GRACE, child.wait()).await;
                    group.signal(Signal::KILL);
                    // Reaped, so that nothing is left behind.
                    let _ = tokio::time::timeout(TERM_GRACE, child.wait()).await;
                    Err(SendError::ambiguous(with_words(format!("`{program}` did not end in time"))))
                }
            }
        })
    }

    fn describe(&self) -> String {
        shorten(&self.clean(&self.argv.join(" ")), WORDS_MAX)
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }
}

impl CommandNotifier {
    fn start(&self, attempt: &Attempt<'_>) -> io::Result<Child> {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.envs(variables(attempt.delivery)).env("HOTSEAT_ATTEMPT", attempt.number.to_string());
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true).spawn()
    }

    fn clean(&self, text: &str) -> String {
        let secrets: Vec<String> = self.environment.iter().map(|(_, value)| value.clone()).collect();
        shorten(sanitise::text(&redact(text, &secrets)).trim(), WORDS_MAX)
    }
}

/// What a program can look at; texts are sanitised and cut.
fn variables(delivery: &Delivery) -> Vec<(&'static str, String)> {
    let message = &delivery.message;
    let subjects: Vec<&str> = message.alerts.iter().map(|it| it.subject.as_str()).collect();
    let json = payload::json(delivery).to_string();
    let values = [
        ("HOTSEAT_ACTION", delivery.action.word().to_string()),
        ("HOTSEAT_TITLE", sanitise::text(&message.title)),
        ("HOTSEAT_TEXT", sanitise::multiline(&message.text)),
        ("HOTSEAT_SEVERITY", message.severity.word().to_string()),
        ("HOTSEAT_HOST", message.host.clone()),
        ("HOTSEAT_KEY", delivery.key.clone()),
        ("HOTSEAT_DELIVERY", delivery.id.clone()),
        ("HOTSEAT_NOTIFIER", delivery.notifier.clone()),
        ("HOTSEAT_SUBJECTS", sanitise::text(&subjects.join(" "))),
        // Half a JSON text is of no use.
        ("HOTSEAT_JSON", if json.len() > VARIABLE_MAX { String::new() } else { json }),
    ];
    // A NUL cannot stand in a variable.
    values.map(|(name, value)| (name, text::cut_bytes(&value.replace('\0', ""), VARIABLE_MAX))).to_vec()
}

/// The process group: killed when dropped, so that nothing it started is left behind.
struct Group {
    leader: Option<Pid>,
}

impl Group {
    fn of(child: &Child) -> Self {
        Self { leader: child.id().and_then(|it| i32::try_from(it).ok()).and_then(Pid::from_raw) }
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

/// Reads a stream to its end and keeps its beginning.
async fn drain(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; OUTPUT_MAX];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let room = OUTPUT_MAX - kept.len();
        kept.extend_from_slice(&buffer[..length.min(room)]);
    }
}
