//! `hotseat agent pipe`: the other end of an ssh, between a screen elsewhere and the agent here.
//!
//! Standard input and output become the agent's socket. The first line says that this is it: what a login prints
//! before must not be taken for frames.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::agent::protocol::{HELLO_DEADLINE, ToAgent, ToScreen};
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
/// What the last bytes of one side get when the other has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Connect standard input and output with this host's agent, for a screen at the other end of an ssh
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Carries both ways until one side ends.
///
/// # Errors
/// When the services of the process cannot be started. That there is no agent is said to the screen instead.
pub fn run(_args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let failed = |error: std::io::Error| Failure::internal("could not start").caused_by(error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let places = Places::of(&cx.state_dir());
    let code = runtime.block_on(async {
        let _ = writeln!(out.stdout, "{GREETING}");
        let _ = out.stdout.flush();
        match socket::connect(&places).await {
            Ok(stream) => {
                carry(stream).await;
                ExitCode::SUCCESS
            }
            Err(error) => {
                let why = format!(
                    "no agent answers there: {error} (run `hotseat agent` on that host, or `hotseat agent install`)"
                );
                let refused = serde_json::to_string(&ToScreen::Refused(why));
                if let Ok(line) = refused {
                    // Nobody is left to tell when the ssh is gone.
                    let _ = writeln!(out.stdout, "{line}");
                    let _ = out.stdout.flush();
                }
                ExitCode::from(EXIT_ABSENT)
            }
        }
    });
    // Reading standard input goes on in a thread that nothing can wake.
    runtime.shutdown_background();
    Ok(code)
}

async fn carry(stream: UnixStream) {
    let (from_agent, mut to_agent) = stream.into_split();
    let mut from_screen = BufReader::new(tokio::io::stdin());
    let up = async {
        // A screen says hello first, and at once.
        let line = timeout(HELLO_DEADLINE, hello(&mut from_screen)).await.unwrap_or_default();
        if to_agent.write_all(&line).await.is_ok() {
            copy(from_screen, &mut to_agent).await;
        }
        // The agent hears that the screen has left.
        let _ = to_agent.shutdown().await;
    };
    let down = copy(from_agent, tokio::io::stdout());
    tokio::pin!(up, down);
    tokio::select! {
        () = &mut up => {
            let _ = timeout(LAST_WORDS, down).await;
        }
        () = &mut down => {}
    }
}

/// The hello of the screen, with where it comes from: only this end knows the address.
async fn hello(from_screen: &mut (impl AsyncRead + Unpin + tokio::io::AsyncBufRead)) -> Vec<u8> {
    let mut line = Vec::new();
    // What is no hello goes on as it is: the agent says what is wrong with it.
    let _ = from_screen.take(HELLO_MAX_BYTES).read_until(b'\n', &mut line).await;
    let address = std::env::var("SSH_CONNECTION").unwrap_or_default();
    named(&line, &address).unwrap_or(line)
}

fn named(line: &[u8], connection: &str) -> Option<Vec<u8>> {
    let ToAgent::Hello(mut hello) = serde_json::from_slice(line).ok()? else { return None };
    let address = connection.split(' ').next().unwrap_or_default();
    hello.visitor.via = Via::Ssh(sanitise::text(address));
    let mut line = serde_json::to_vec(&ToAgent::Hello(hello)).ok()?;
    line.push(b'\n');
    Some(line)
}

/// Carries bytes until the end of either side, each as soon as it is there.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let Ok(read @ 1..) = from.read(&mut chunk).await else { return };
        if to.write_all(&chunk[..read]).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::protocol::Hello;
    use crate::domain::presence::Visitor;

    #[test]
    fn the_agent_learns_where_a_screen_comes_from() {
        let hello = Hello { protocol: 1, least: 1, version: "0".into(), visitor: Visitor::inside("alice") };
        let line = serde_json::to_vec(&ToAgent::Hello(Box::new(hello))).expect("JSON");
        let named = named(&line, "203.0.113.7 51712 198.51.100.2 22").expect("a hello");
        let ToAgent::Hello(hello) = serde_json::from_slice(&named).expect("JSON") else { panic!("a hello") };
        assert_eq!(hello.visitor.via, Via::Ssh("203.0.113.7".into()));
        assert!(named.ends_with(b"\n") && super::named(b"\"alive\"\n", "").is_none());
    }
}
