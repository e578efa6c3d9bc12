//! `hotseat agent pipe`: the other end of an ssh, between a screen elsewhere and the agent here.
//!
//! Standard input and output become the agent's socket. The first line says that this is it: what a login prints
//! before must not be taken for frames.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use crate::agent::protocol::{ToAgent, ToScreen};
use crate::agent::socket::{self, Places};
use crate::agent::ssh::{EXIT_ABSENT, GREETING};
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::domain::presence::Via;
use crate::domain::sanitise;

/// Bytes carried at a time.
const CHUNK_BYTES: usize = 32 << 10;
/// Longest hello: a name and a few numbers.
const HELLO_MAX_BYTES: u64 = 64 << 10;
/// What the last bytes of the agent get when the screen has left.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Connect standard input and output with this host's agent, for a screen at the other end of an ssh
///
/// As `command="hotseat agent pipe --readonly"` before a key in `authorized_keys` it lets whoever has that key look and
/// change nothing, whatever their screen says.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Let the screen look and change nothing, whatever it says of itself
    #[arg(long)]
    pub readonly: bool,
}

/// Carries both ways until one side ends.
///
/// # Errors
/// When the services of the process cannot be started. That there is no agent is said to the screen instead.
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let failed = |error: io::Error| Failure::internal("could not start").caused_by(error);
    let _ = writeln!(out.stdout, "{GREETING}");
    let _ = out.stdout.flush();
    match connect(&Places::of(&cx.state_dir())).map_err(failed)? {
        Ok(stream) => {
            let to_agent = stream.try_clone().map_err(failed)?;
            // Nothing can wake it while it reads; it ends with the process.
            let readonly = args.readonly;
            thread::Builder::new().name("up".into()).spawn(move || up(&to_agent, readonly)).map_err(failed)?;
            copy(&stream, &mut out.stdout);
            Ok(ExitCode::SUCCESS)
        }
        Err(why) => {
            let why =
                format!("no agent answers there: {why} (run `hotseat agent` on that host, or `hotseat agent install`)");
            if let Ok(line) = serde_json::to_string(&ToScreen::Refused(why)) {
                // Nobody is left to tell when the ssh is gone.
                let _ = writeln!(out.stdout, "{line}");
                let _ = out.stdout.flush();
            }
            Ok(ExitCode::from(EXIT_ABSENT))
        }
    }
}

/// The agent's socket, or in words why there is none.
fn connect(places: &Places) -> io::Result<Result<UnixStream, String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(socket::connect(places)) {
        Ok(stream) => {
            let _inside = runtime.enter();
            let stream = stream.into_std()?;
            // A thread for each way: standard input may be a pipe, a socket or a terminal, and only waits for itself.
            stream.set_nonblocking(false)?;
            Ok(Ok(stream))
        }
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// Carries what the screen says; who waits for it too long is the agent.
fn up(mut to_agent: &UnixStream, readonly: bool) {
    let mut from_screen = BufReader::with_capacity(CHUNK_BYTES, io::stdin());
    let line = hello(&mut from_screen, readonly);
    if line.is_some_and(|it| to_agent.write_all(&it).is_ok()) {
        copy(from_screen, &mut to_agent);
    }
    // The agent hears that the screen has left, and may answer.
    let _ = to_agent.shutdown(Shutdown::Write);
    thread::sleep(LAST_WORDS);
    let _ = to_agent.shutdown(Shutdown::Both);
}

/// The hello of the screen, with where it comes from: only this end knows the address.
///
/// `None` when nothing may be passed on: what is no hello cannot be made one that only reads.
fn hello(from_screen: &mut impl io::BufRead, readonly: bool) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let _ = from_screen.take(HELLO_MAX_BYTES).read_until(b'\n', &mut line);
    let address = std::env::var("SSH_CONNECTION").unwrap_or_default();
    // Else it goes on as it is: the agent says what is wrong with it.
    named(&line, &address, readonly).or_else(|| (!readonly).then_some(line))
}

fn named(line: &[u8], connection: &str, readonly: bool) -> Option<Vec<u8>> {
    let ToAgent::Hello(mut hello) = serde_json::from_slice(line).ok()? else { return None };
    let address = connection.split(' ').next().unwrap_or_default();
    hello.visitor.via = Via::Ssh(sanitise::text(address));
    hello.visitor.readonly |= readonly;
    let mut line = serde_json::to_vec(&ToAgent::Hello(hello)).ok()?;
    line.push(b'\n');
    Some(line)
}

/// Carries bytes until the end of either side, each as soon as it is there.
fn copy(mut from: impl Read, to: &mut impl Write) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = match from.read(&mut chunk) {
            Ok(read @ 1..) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            _ => return,
        };
        if to.write_all(&chunk[..read]).is_err() || to.flush().is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::presence::Visitor;

    #[test]
    fn the_agent_learns_where_a_screen_comes_from() {
        let hello = crate::agent::client::hello(Visitor::inside("alice"));
        let line = serde_json::to_vec(&ToAgent::Hello(Box::new(hello))).expect("JSON");
        let named = named(&line, "203.0.113.7 51712 198.51.100.2 22", false).expect("a hello");
        let ToAgent::Hello(hello) = serde_json::from_slice(&named).expect("JSON") else { panic!("a hello") };
        assert_eq!((hello.visitor.via, hello.visitor.readonly), (Via::Ssh("203.0.113.7".into()), false));
        assert!(named.ends_with(b"\n") && super::named(b"\"alive\"\n", "", false).is_none());
    }

    #[test]
    fn a_pipe_that_only_reads_passes_nothing_on_that_it_cannot_make_so() {
        let said = crate::agent::client::hello(Visitor::inside("alice"));
        let mut line = serde_json::to_vec(&ToAgent::Hello(Box::new(said))).expect("JSON");
        line.extend_from_slice(b"\n\"alive\"\n");
        let passed = hello(&mut line.as_slice(), true).expect("a hello");
        let ToAgent::Hello(it) = serde_json::from_slice(&passed).expect("JSON") else { panic!("a hello") };
        assert!(it.visitor.readonly);
        for other in [&b"\"alive\"\n"[..], b"{\"hello\":1}\n", b"", &vec![b' '; 1 << 20]] {
            assert_eq!(hello(&mut &*other, true), None);
        }
    }
}
