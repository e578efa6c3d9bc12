//! What `${file:…}` and `${cmd:…}` in a config stand for: a small file, the output of a program.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Largest file or output: a secret, not a data set.
const VALUE_MAX_BYTES: u64 = 64 * 1024;
/// A password manager may have to be unlocked; a program that asks a person on the terminal hangs.
pub const COMMAND_DEADLINE: Duration = Duration::from_secs(5);

/// Reads a file that holds one value.
///
/// # Errors
/// When it cannot be read, is too large or is not UTF-8.
pub fn read_file(path: &str) -> io::Result<String> {
    bounded(File::open(path)?)
}

fn bounded(from: impl Read) -> io::Result<String> {
    let mut value = String::new();
    from.take(VALUE_MAX_BYTES + 1).read_to_string(&mut value)?;
    if value.len() as u64 > VALUE_MAX_BYTES {
        return Err(io::Error::other(format!("larger than {} KiB", VALUE_MAX_BYTES >> 10)));
    }
    Ok(value)
}

/// Runs a program and returns what it prints. No shell, no standard input, no terminal output.
///
/// # Errors
/// In words: it could not be started, did not end in time, exited with another code than 0.
pub fn run_command(line: &str) -> Result<String, String> {
    let words = split_words(line)?;
    let Some((program, arguments)) = words.split_first() else { return Err("it is empty".into()) };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // It could hold the secret, and it would land on the screen.
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| error.to_string())?;
    let Some(stdout) = child.stdout.take() else { return Err("it has no output".into()) };
    let (value_tx, value_rx) = sync_channel(1);
    let reader = std::thread::Builder::new().name("reference".into()).spawn(move || {
        // The receiver is gone when the deadline has passed.
        let _ = value_tx.send(bounded(stdout));
    });
    if let Err(error) = reader {
        stop(&mut child);
        return Err(error.to_string());
    }
    let value = value_rx.recv_timeout(COMMAND_DEADLINE);
    if !matches!(value, Ok(Ok(_))) {
        stop(&mut child);
    }
    match value {
        Ok(Ok(value)) => {
            // Its output is at the end, so the exit follows at once or never; then it is stopped.
            let status = wait_briefly(&mut child)?;
            if status.success() { Ok(value) } else { Err(status.to_string()) }
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(RecvTimeoutError::Timeout) => Err(format!("it did not end within {} s", COMMAND_DEADLINE.as_secs())),
        Err(RecvTimeoutError::Disconnected) => Err("its output could not be read".into()),
    }
}

/// How often, in steps of 5 ms, a program that closed its output is asked whether it has ended: one second.
const WAIT_STEPS: u32 = 200;

fn wait_briefly(child: &mut Child) -> Result<std::process::ExitStatus, String> {
    for _ in 0..WAIT_STEPS {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    stop(child);
    Err("it closed its output and did not end".into())
}

/// Ends the program with everything that it started.
fn stop(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    // Reaps it; after SIGKILL this does not take long.
    let _ = child.kill();
    let _ = child.wait();
}

/// Splits at blanks; single and double quotes keep blanks together and are removed. No shell.
///
/// # Errors
/// When a quote is not closed.
pub fn split_words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for it in line.chars() {
        match quote {
            Some(open) if it == open => quote = None,
            Some(_) => word.get_or_insert_default().push(it),
            None if it == '\'' || it == '"' => {
                quote = Some(it);
                word.get_or_insert_default();
            }
            None if it.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(it),
        }
    }
    words.extend(word);
    match quote {
        Some(open) => Err(format!("{open} is not closed")),
        None => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_blanks_together() {
        assert_eq!(
            split_words(" pass  show 'a b'\"c d\" '' "),
            Ok(vec!["pass".into(), "show".into(), "a bc d".into(), String::new()])
        );
        assert!(split_words("pass 'a").is_err());
    }

    #[test]
    fn a_command_gives_its_output_and_needs_no_shell() {
        assert_eq!(run_command("printf '%s' '$HOME; ls'"), Ok("$HOME; ls".into()));
        assert_eq!(run_command("false"), Err("exit status: 1".into()));
        assert!(run_command("").is_err());
        assert!(run_command("hotseat-surely-not-installed").is_err());
    }
}
