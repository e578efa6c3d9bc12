//! The way to an agent of another host: the person's own `ssh`, and `hotseat agent pipe` at its other end.
//!
//! No port is opened and nothing is installed: their config, their keys, their jump hosts. What a login prints there
//! (a message of the day, a profile that talks) is passed over until the pipe says [`GREETING`].

use std::collections::VecDeque;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::agent::client::{self, AttachError, Ended};
use crate::agent::connector::{Attachment, Home, NoWay, World};
use crate::agent::local::keep_draft;
use crate::config::remotes::Remote;
use crate::domain::format;
use crate::domain::ids::HostId;
use crate::domain::presence::Visitor;
use crate::domain::request::Request;
use crate::domain::sanitise;
use crate::runtime::Link;
use crate::service::log::kind::ssh::{self, script};

/// The first line that `hotseat agent pipe` says.
pub const GREETING: &str = "hotseat agent pipe 1";
/// What it begins with in every version; a number follows.
const GREETING_WORDS: &str = "hotseat agent pipe";
/// How `hotseat agent pipe` exits when there is no agent: `EX_UNAVAILABLE` of `sysexits.h`. It is worth another try.
pub const EXIT_ABSENT: u8 = 69;

/// Until then the pipe must have greeted: a connection over several jump hosts with a slow directory service.
const GREETING_DEADLINE: Duration = Duration::from_secs(30);
/// What a login may print before: a long message of the day.
const NOISE_MAX_BYTES: u64 = 64 << 10;
/// Lines of `ssh`'s complaints that are kept, and of each so much.
const COMPLAINT_LINES: usize = 3;
const COMPLAINT_MAX_CHARS: usize = 200;
/// How long an `ssh` whose work is over gets to say how it ended.
const EXIT_WAIT: Duration = Duration::from_millis(500);
/// As [`EXIT_WAIT`], of one whose link has just ended: the connector waits no longer than 300 ms for the reason, and an
/// `ssh` whose way is gone hangs.
const LOSS_WAIT: Duration = Duration::from_millis(200);
/// How long its last words may take to come behind its end.
const WORDS_WAIT: Duration = Duration::from_millis(50);

/// The world of a connector whose host is reached by ssh: nothing but attaching is possible there.
pub struct Ssh {
    remote: Remote,
    visitor: Visitor,
    /// Where drafts are kept that the host could not be given.
    state_dir: PathBuf,
    /// An attempt outlives the patience of whoever waits for it: the way may be long.
    under_way: Option<JoinHandle<Result<Attachment, NoWay>>>,
}

impl Ssh {
    /// The way to a host, for a person whose own state lives in `state_dir`.
    pub fn new(remote: Remote, visitor: Visitor, state_dir: PathBuf) -> Self {
        Self { remote, visitor, state_dir, under_way: None }
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        if let Some(attempt) = &self.under_way {
            attempt.abort();
        }
    }
}

impl World for Ssh {
    type Home = Nowhere;

    async fn attach(&mut self) -> Result<Attachment, NoWay> {
        let (remote, visitor) = (self.remote.clone(), self.visitor.clone());
        let attempt = self.under_way.get_or_insert_with(|| tokio::spawn(attach(remote, visitor)));
        let ended = attempt.await;
        self.under_way = None;
        ended.unwrap_or_else(|_| Err(NoWay::Silent("the attempt to attach failed".into())))
    }

    async fn begin(&mut self) -> Result<Nowhere, String> {
        Err("another host".into())
    }

    async fn read(&mut self, _holder: &str) -> Option<Nowhere> {
        None
    }

    fn may_begin(&self) -> bool {
        false
    }

    fn is_free(&mut self) -> bool {
        false
    }

    fn is_far(&self) -> bool {
        true
    }

    fn configured(&mut self) {}

    async fn keep(&mut self, draft: Request) {
        keep_draft(&self.state_dir, &HostId::new(&self.remote.name), &self.visitor.user, draft).await;
    }
}

/// A runtime of another host never runs in this process.
pub enum Nowhere {}

impl Home for Nowhere {
    fn attach(&self) -> Link {
        match *self {}
    }

    async fn asked_to_yield(&mut self) {
        match *self {}
    }

    async fn end(self, _why: &str) {
        match self {}
    }
}

/// The words of the call.
pub fn argv(remote: &Remote) -> Vec<String> {
    // The shell there splits it into words again, whichever shell it is.
    let mut words = vec![remote.hotseat.as_str()];
    if let Some(state_dir) = &remote.state_dir {
        words.extend(["--state-dir", state_dir.as_str()]);
    }
    words.extend(["agent", "pipe"]);
    let call = words.into_iter().map(quote).collect::<Vec<_>>().join(" ");
    // A board is text that repeats itself.
    let options: Vec<String> = std::iter::once("-C".to_string()).chain(remote.options.iter().cloned()).collect();
    ssh::argv("ssh", remote.config.as_deref(), &options, &remote.ssh, &call)
}

/// A word for the shell of the other host; a `~/` at its start is left to it.
fn quote(word: &str) -> String {
    match word.strip_prefix("~/") {
        Some(rest) => format!("~/{}", script::quote(rest)),
        None => script::quote(word),
    }
}

async fn attach(remote: Remote, visitor: Visitor) -> Result<Attachment, NoWay> {
    let argv = argv(&remote);
    let started = Command::new(&argv[0])
        .args(&argv[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Not in the group that has the screen's terminal: it cannot set its mode, and Ctrl-C in an editor is not for it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = started.map_err(|error| {
        NoWay::Refused(format!(
            "could not start `ssh`: {error} (install the OpenSSH client, or see that it is in PATH)"
        ))
    })?;
    let complaint = Complaint::default();
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(NoWay::Silent("could not talk to `ssh`".into()));
    };
    let heard = tokio::spawn(complaint.clone().hear(stderr));
    let mut stdout = BufReader::new(stdout);
    match timeout(GREETING_DEADLINE, greeting(&mut stdout)).await {
        Ok(Greeted::Yes) => {}
        Ok(Greeted::Otherwise(it)) => {
            return Err(NoWay::Refused(format!(
                "the hotseat there says `{it}`, this one knows `{GREETING}` (update the older one)"
            )));
        }
        Ok(Greeted::Noise) => {
            return Err(NoWay::Refused(format!(
                "a login there prints more than {} before `hotseat agent pipe` can speak (see `{} true`)",
                format::bytes(NOISE_MAX_BYTES),
                by_hand(&remote)
            )));
        }
        Ok(Greeted::Ended) => {
            // Closed: how `ssh` ended says why, and its last words come with its end.
            let status = timeout(EXIT_WAIT, child.wait()).await.ok().and_then(Result::ok);
            let _ = timeout(EXIT_WAIT, heard).await;
            return Err(no_way(&remote, status.and_then(|it| it.code()), &complaint.words()));
        }
        Err(_) => {
            let seconds = GREETING_DEADLINE.as_secs();
            return Err(NoWay::Silent(format!(
                "`hotseat agent pipe` said nothing for {seconds} s (see `{} {} --version`)",
                by_hand(&remote),
                sanitise::text(&remote.hotseat)
            )));
        }
    }
    let hello = client::hello(visitor);
    let attached = match client::attach(tokio::io::join(stdout, stdin), &hello).await {
        Ok(attached) => attached,
        Err(error) => {
            let status = timeout(EXIT_WAIT, child.wait()).await.ok().and_then(Result::ok);
            let is_absent = status.and_then(|it| it.code()) == Some(i32::from(EXIT_ABSENT));
            return Err(match error {
                // An agent that is not there now may be in a moment.
                AttachError::Refused(why) if is_absent => NoWay::Silent(why),
                AttachError::Refused(why) => NoWay::Refused(why),
                error @ AttachError::NotUnderstood(_) => NoWay::Refused(error.to_string()),
                AttachError::Lost(error) => NoWay::Silent(complaint.or(&error.to_string())),
            });
        }
    };
    complaint.forget();
    Ok(Attachment {
        host: attached.welcome.host,
        peer: attached.welcome.peer,
        readonly: attached.welcome.visitor.readonly,
        ahead_ms: attached.ahead_ms,
        heard: attached.heard,
        link: attached.link,
        ended: ended(child, heard, complaint, attached.ended),
    })
}

/// How an attachment ends: what the agent said, else why `ssh` says that the way is gone.
fn ended(
    mut child: Child,
    heard: JoinHandle<()>,
    complaint: Complaint,
    ended_rx: tokio::sync::oneshot::Receiver<Ended>,
) -> Pin<Box<dyn Future<Output = Ended> + Send>> {
    // A task of its own: the child must be reaped also when nobody waits for this.
    let (said_tx, said_rx) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let ended = ended_rx.await;
        let _ = timeout(LOSS_WAIT, child.wait()).await;
        let _ = child.start_kill();
        let _ = timeout(WORDS_WAIT, heard).await;
        let ended = match ended {
            Ok(Ended::Lost(why)) => Ended::Lost(complaint.or(&why)),
            Ok(ended) => ended,
            Err(_) => Ended::Lost(complaint.or("the connection ended")),
        };
        // Nobody waits when the screen has left.
        let _ = said_tx.send(ended);
    });
    Box::pin(async move { said_rx.await.unwrap_or_else(|_| Ended::Lost("the connection ended".into())) })
}

/// How the other end begins.
enum Greeted {
    Yes,
    /// As another version of hotseat does; its words.
    Otherwise(String),
    /// The login said more than is passed over.
    Noise,
    /// It ended before.
    Ended,
}

/// Passes over what a login prints.
async fn greeting(stdout: impl AsyncBufRead + Unpin) -> Greeted {
    let mut noise = stdout.take(NOISE_MAX_BYTES);
    let mut line = Vec::new();
    loop {
        line.clear();
        match noise.read_until(b'\n', &mut line).await {
            Ok(1..) => {}
            _ if noise.limit() == 0 => return Greeted::Noise,
            _ => return Greeted::Ended,
        }
        let said = String::from_utf8_lossy(line.trim_ascii_end());
        // A prompt or a colour may stand before it on its line.
        if said.ends_with(GREETING) {
            return Greeted::Yes;
        }
        let (other, version) = said.rsplit_once(' ').unwrap_or_default();
        if other.ends_with(GREETING_WORDS) && version.bytes().all(|it| it.is_ascii_digit()) {
            return Greeted::Otherwise(sanitise::text(&format!("{GREETING_WORDS} {version}")));
        }
    }
}

/// The call by which a person looks at a host themselves.
fn by_hand(remote: &Remote) -> String {
    let config = remote.config.as_ref().map_or_else(String::new, |it| format!("-F {it} "));
    sanitise::text(&format!("ssh {config}{}", remote.ssh))
}

/// Why there is no pipe, and what to do, by how `ssh` ended and what it said last.
fn no_way(remote: &Remote, code: Option<i32>, words: &str) -> NoWay {
    let (ssh, hotseat) = (by_hand(remote), sanitise::text(&remote.hotseat));
    let said = |otherwise: &str| if words.is_empty() { otherwise.to_string() } else { words.to_string() };
    let has = |it: &str| words.contains(it);
    match code {
        // Trying again and again would get the person locked out.
        Some(255) if has("Permission denied") || has("Too many authentication failures") => {
            NoWay::Barred(format!("{words} (`{ssh}` must log in without asking: load your key with `ssh-add`)"))
        }
        Some(255) if has("has changed") || has("HAS CHANGED") => NoWay::Barred(format!(
            "its host key is another one than before: it was set up anew, or somebody is in between (ask who runs it; \
             `{ssh}` says which line to remove)"
        )),
        Some(255) if has("Host key verification failed") => NoWay::Barred(format!(
            "its host key is not known here (run `{ssh}` once, and compare the key that it shows)"
        )),
        // `ssh` itself: the way may come back.
        Some(255) => NoWay::Silent(said("`ssh` could not connect")),
        Some(126) => NoWay::Refused(format!("`{hotseat}` there cannot be executed (see `{ssh} ls -l {hotseat}`)")),
        Some(127) if hotseat.contains('/') => NoWay::Refused(format!(
            "there is no `{hotseat}` there (install it, or say where it is by `hotseat` in `[[remote]]`)"
        )),
        Some(127) => NoWay::Refused(format!(
            "`{hotseat}` is not in the PATH there (install it, or say where it is by `hotseat` in `[[remote]]`)"
        )),
        // What follows is how that version is to be called, which helps nobody here.
        Some(2) if has("unrecognized subcommand") || has("unexpected argument") => NoWay::Refused(format!(
            "the hotseat there knows no `agent pipe`: update it (it is the one of `{ssh} {hotseat} --version`)"
        )),
        Some(2) => NoWay::Refused(format!(
            "{} (see `{ssh} {hotseat} --version`)",
            said("`hotseat agent pipe` is not known there")
        )),
        Some(code) => NoWay::Silent(said(&format!("`hotseat agent pipe` ended with {code}"))),
        None => NoWay::Silent(said("`ssh` was stopped")),
    }
}

/// The last words of `ssh`.
#[derive(Debug, Clone, Default)]
struct Complaint {
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Complaint {
    /// Keeps the last lines of a stream until it ends; a line without an end is cut.
    async fn hear(self, stream: impl AsyncRead + Unpin) {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut stream).take(4 * COMPLAINT_MAX_CHARS as u64).read_until(b'\n', &mut line).await;
            let Ok(1..) = read else { return };
            let text = sanitise::text(String::from_utf8_lossy(&line).trim().trim_end_matches('.'));
            if text.is_empty() {
                continue;
            }
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() == COMPLAINT_LINES {
                lines.pop_front();
            }
            lines.push_back(text.chars().take(COMPLAINT_MAX_CHARS).collect());
        }
    }

    /// What was said last, in one line; empty when nothing was.
    fn words(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("; ")
    }

    /// What was said so far kept nobody from attaching (a banner, a key that was new): it is no reason of a loss later.
    fn forget(&self) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn or(&self, otherwise: &str) -> String {
        let words = self.words();
        if words.is_empty() { otherwise.to_string() } else { words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_ssh_said_before_it_was_attached_is_no_reason_of_a_loss() {
        let complaint = Complaint::default();
        complaint.clone().hear(&b"Warning: Permanently added 'db1' to the list of known hosts.\n"[..]).await;
        assert!(complaint.or("the connection ended").starts_with("Warning"), "of an attempt that failed it may be");
        complaint.forget();
        assert_eq!(complaint.or("the connection ended"), "the connection ended");
        complaint.clone().hear(&b"Timeout, server db1 not responding.\n"[..]).await;
        assert_eq!(complaint.or("the connection ended"), "Timeout, server db1 not responding");
    }

    #[test]
    fn every_word_reaches_the_other_host_as_it_is() {
        let remote = Remote {
            ssh: "ops@web1".into(),
            hotseat: "~/bin/hot seat".into(),
            state_dir: Some("/srv/it's".into()),
            ..Remote::of("web")
        };
        let argv = argv(&remote);
        assert_eq!(argv[argv.len() - 3..argv.len() - 1], ["--", "ops@web1"]);
        assert_eq!(argv.last().map(String::as_str), Some(r"~/'bin/hot seat' --state-dir '/srv/it'\''s' agent pipe"));
    }

    #[test]
    fn what_a_person_must_do_first_is_said_and_waits_for_them() {
        let remote = Remote::of("web1");
        let why = |code, words: &str| no_way(&remote, Some(code), words);
        assert!(matches!(why(255, "alice@web1: Permission denied (publickey)."), NoWay::Barred(_)));
        let unknown = why(255, "No ED25519 host key is known for web1; Host key verification failed.");
        let text = "its host key is not known here (run `ssh web1` once, and compare the key that it shows)";
        assert_eq!(unknown, NoWay::Barred(text.into()));
        let changed = "ssh-keygen -f \"/home/a/.ssh/known_hosts\" -R \"web1\"; Host key for web1 has changed and you have \
                       requested strict checking; Host key verification failed";
        let NoWay::Barred(text) = why(255, changed) else { panic!("it waits for a person") };
        assert!(text.starts_with("its host key is another one than before: "), "{text}");
        // What is put right there alone is tried again, seldom.
        assert!(matches!(why(127, "bash: hotseat: command not found"), NoWay::Refused(_)));
        let usage =
            "error: unrecognized subcommand 'pipe'; Usage: hotseat agent [OPTIONS]; For more information, try '--help'";
        let NoWay::Refused(text) = why(2, usage) else { panic!("an older one") };
        assert!(text.starts_with("the hotseat there knows no `agent pipe`: update it"), "{text}");
        assert!(matches!(why(255, "ssh: connect to host web1 port 22: Connection refused"), NoWay::Silent(_)));
        assert!(matches!(why(1, ""), NoWay::Silent(_)));
    }

    #[tokio::test]
    async fn what_a_login_prints_is_passed_over_and_another_version_is_told_at_once() {
        let greeted = async |said: &[u8]| greeting(BufReader::new(said)).await;
        assert!(matches!(greeted(b"Welcome\n\x1b[0mhotseat agent pipe 1\n{}").await, Greeted::Yes));
        let other = greeted(b"Welcome\nhotseat agent pipe 23\n").await;
        assert!(matches!(other, Greeted::Otherwise(it) if it == "hotseat agent pipe 23"));
        assert!(matches!(greeted(b"hotseat agent pipe says hello\n").await, Greeted::Ended));
        assert!(matches!(greeted(&b"Welcome\n".repeat(1 << 13)).await, Greeted::Noise));
    }
}
