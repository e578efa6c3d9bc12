//! A dialogue with a server: `{ expect = "^220" }, { send = "QUIT\r\n" }`.
//!
//! `expect` waits for a line that matches; lines that do not are passed over. What its groups capture stands in
//! later sends as `{1}` or `{name}`. A prompt without a line end counts when nothing more comes.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use regex::{Regex, RegexBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::domain::probe::expect::shorten;
use crate::domain::probe::outcome::{Cause, EVIDENCE_BODY_MAX};
use crate::domain::sanitise;
use crate::registry::node::Node;
use crate::service::probe::net::{Stream, Verdict, fail};

/// Steps of one script: a login and a question take six.
const STEPS_MAX: usize = 32;
/// Bytes that a server may say in all.
const RECEIVED_MAX: usize = 64 << 10;
/// How long a line without its end is waited for, before it counts as a prompt.
const PROMPT_WAIT: Duration = Duration::from_millis(100);
/// Memory of a compiled pattern.
const PATTERN_MAX_BYTES: usize = 1 << 20;
/// Characters of a line that a message shows.
const SHOWN_MAX: usize = 80;
/// Commands whose arguments are credentials in the protocols that have them.
const LOGINS: &[&str] = &["PASS ", "AUTH ", "LOGIN ", "AUTHINFO PASS "];

/// The steps of a dialogue.
#[derive(Debug, Clone, Default)]
pub struct Script {
    steps: Vec<Step>,
    /// Words of sends that must never be shown.
    pub secrets: Vec<String>,
}

#[derive(Debug, Clone)]
enum Step {
    Expect(Regex),
    // What is sent, and how it was written: only that is shown.
    Send { text: String, written: String },
}

impl Hash for Script {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for step in &self.steps {
            match step {
                Step::Expect(pattern) => (0, pattern.as_str()).hash(state),
                Step::Send { text, .. } => (1, text.as_str()).hash(state),
            }
        }
    }
}

/// How far a dialogue came.
#[derive(Debug, Default)]
pub struct Dialogue {
    /// Both sides, line by line, what was sent as it was written.
    pub transcript: String,
    /// What the server said, line by line.
    pub said: Vec<String>,
    // The step that waits, for a message.
    waiting: Option<String>,
}

impl Dialogue {
    /// Says what was waited for when the deadline passed.
    pub fn waited_for(&self) -> Option<String> {
        let waiting = self.waiting.as_ref()?;
        Some(match self.said.last() {
            Some(line) => format!("{waiting}, the last that came was `{}`", shown(line)),
            None => format!("{waiting}, nothing came"),
        })
    }

    fn note(&mut self, sign: char, text: &str) {
        if self.transcript.len() < EVIDENCE_BODY_MAX {
            self.transcript.push_str(&format!("{sign} {text}\n"));
        }
    }
}

impl Script {
    /// Reads the array; a mistake is reported at its place.
    pub fn read(node: &Node<'_>) -> Option<Self> {
        let mut script = Self::default();
        let items = node.items();
        if items.len() > STEPS_MAX {
            node.error_with_hint(format!("more than {STEPS_MAX} steps"), "ask for less, or make two probes of it");
            return None;
        }
        let mut good = node.is_array();
        for item in items {
            let step = script.step(&item);
            good &= step.is_some();
            script.steps.extend(step);
        }
        good.then_some(script)
    }

    fn step(&mut self, item: &Node<'_>) -> Option<Step> {
        if !item.expect_table() {
            return None;
        }
        let (expect, send) = (item.get("expect"), item.get("send"));
        item.finish(&[]);
        match (expect, send) {
            (Some(expect), None) => {
                let text = expect.string()?;
                match RegexBuilder::new(&text).size_limit(PATTERN_MAX_BYTES).build() {
                    Ok(pattern) => Some(Step::Expect(pattern)),
                    Err(error) => {
                        let why = error.to_string();
                        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_string();
                        expect.error_with_hint(
                            format!("bad regex: {why}"),
                            "write a pattern for one line, as in `^220 `",
                        );
                        None
                    }
                }
            }
            (None, Some(send)) => {
                let (text, written) = (send.string()?, send.raw_string()?);
                self.keep_login(&text);
                let login = LOGINS.iter().find(|it| {
                    let start = written.get(..it.len());
                    start.is_some_and(|start| start.eq_ignore_ascii_case(it))
                });
                let written = login.map_or(written, |it| format!("{it}***"));
                Some(Step::Send { text, written })
            }
            _ => {
                let hint = "write `{ expect = \"^220\" }` or `{ send = \"QUIT\\r\\n\" }`";
                item.error_with_hint("a step has either `expect` or `send`", hint);
                None
            }
        }
    }

    /// What a login sends is a secret, also where it is written out.
    fn keep_login(&mut self, text: &str) {
        let is_login = |it: &&&str| text.get(..it.len()).is_some_and(|start| start.eq_ignore_ascii_case(it));
        let Some(login) = LOGINS.iter().find(is_login) else { return };
        self.secrets.extend(text[login.len()..].split_whitespace().map(str::to_string));
    }

    /// True without steps.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Plays the script. `dialogue` holds what was said also when it does not end.
    ///
    /// # Errors
    /// When the server hangs up or says too much.
    pub async fn play(&self, stream: &mut Stream, dialogue: &mut Dialogue) -> Result<(), Verdict> {
        let mut captured: Vec<(String, String)> = Vec::new();
        let mut rest: Vec<u8> = Vec::new();
        let mut received = 0;
        for (index, step) in self.steps.iter().enumerate() {
            match step {
                Step::Send { text, written } => {
                    dialogue.note('>', written.trim_end());
                    let text = filled(text, &captured);
                    let sent = async {
                        stream.write_all(text.as_bytes()).await?;
                        stream.flush().await
                    };
                    sent.await.map_err(|error| {
                        let text = format!("step {}: the server hung up while it was spoken to: {error}", index + 1);
                        fail(Cause::Reset, "reset", text)
                    })?;
                }
                Step::Expect(pattern) => {
                    dialogue.waiting = Some(format!("step {} expected `{}`", index + 1, pattern.as_str()));
                    expect(pattern, stream, &mut rest, &mut received, dialogue, &mut captured).await?;
                    dialogue.waiting = None;
                }
            }
        }
        Ok(())
    }
}

async fn expect(
    pattern: &Regex,
    stream: &mut Stream,
    rest: &mut Vec<u8>,
    received: &mut usize,
    dialogue: &mut Dialogue,
    captured: &mut Vec<(String, String)>,
) -> Result<(), Verdict> {
    let mut buffer = [0; 2048];
    loop {
        while let Some(end) = rest.iter().position(|it| *it == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if heard(pattern, &line, dialogue, captured) {
                return Ok(());
            }
        }
        let length = if rest.is_empty() {
            stream.read(&mut buffer).await
        } else {
            match tokio::time::timeout(PROMPT_WAIT, stream.read(&mut buffer)).await {
                Ok(read) => read,
                Err(_) if pattern.is_match(&String::from_utf8_lossy(rest)) => {
                    heard(pattern, &std::mem::take(rest), dialogue, captured);
                    return Ok(());
                }
                Err(_) => stream.read(&mut buffer).await,
            }
        };
        let length = match length {
            Ok(length) if length > 0 => length,
            ended => {
                if !rest.is_empty() && heard(pattern, &std::mem::take(rest), dialogue, captured) {
                    return Ok(());
                }
                let why = ended.err().map_or_else(String::new, |it| format!(" ({it})"));
                let text = format!("{}; then the server hung up{why}", dialogue.waited_for().unwrap_or_default());
                return Err(fail(Cause::Reset, "hung up", text));
            }
        };
        *received += length;
        if *received > RECEIVED_MAX {
            let text = format!("the server said more than {RECEIVED_MAX} bytes without what was expected");
            return Err(fail(Cause::Protocol, "too much", text));
        }
        rest.extend_from_slice(&buffer[..length]);
    }
}

/// Takes a line; true when it is the one.
fn heard(pattern: &Regex, line: &[u8], dialogue: &mut Dialogue, captured: &mut Vec<(String, String)>) -> bool {
    let line = String::from_utf8_lossy(line).trim_end_matches(['\r', '\n']).to_string();
    let found = pattern.captures(&line).map(|groups| {
        let names = pattern.capture_names().enumerate().skip(1);
        names
            .filter_map(|(index, name)| {
                let value = groups.get(index)?.as_str().to_string();
                Some((name.map_or_else(|| index.to_string(), str::to_string), value))
            })
            .collect::<Vec<_>>()
    });
    let clean = sanitise::text(&line);
    dialogue.note('<', &clean);
    dialogue.said.push(clean);
    let Some(found) = found else { return false };
    for (name, value) in found {
        captured.retain(|(it, _)| *it != name);
        captured.push((name, value));
    }
    true
}

/// Puts captured values in; what was captured by nothing stays as it is.
fn filled(text: &str, captured: &[(String, String)]) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let (before, after) = rest.split_at(start);
        result.push_str(before);
        let value = after.find('}').and_then(|end| {
            let (_, value) = captured.iter().find(|(name, _)| *name == after[1..end])?;
            Some((end, value))
        });
        match value {
            Some((end, value)) => {
                // A server must not add lines to what we say.
                result.extend(value.chars().filter(|it| !it.is_control()));
                rest = &after[end + 1..];
            }
            None => {
                result.push('{');
                rest = &after[1..];
            }
        }
    }
    result + rest
}

fn shown(line: &str) -> String {
    shorten(line, SHOWN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_groups_stand_in_later_sends() {
        let captured = vec![("1".to_string(), "ab\r\nQUIT".to_string()), ("id".to_string(), "7".to_string())];
        assert_eq!(filled("PONG {1} {id} {2} {\"a\":{id}}", &captured), "PONG abQUIT 7 {2} {\"a\":7}");
    }
}
