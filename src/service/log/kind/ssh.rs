//! `ssh` in the config: a file of another host, or what a program says there.
//!
//! Everything goes through the person's own `ssh` with their own config, agent and jump hosts. A file is
//! followed by a small POSIX script on the other side (see `script`), so that a rotation there is seen
//! and a lost connection goes on at the very byte where it stopped.

mod frame;
pub mod script;

use std::time::Duration;

use crate::domain::format;
use crate::domain::log::{GapKind, SourceState};
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::log::child::{self, Call, Complaint, End, Heard, Next, Pipe};
use crate::service::log::kind::command::{self, follow_lines};
use crate::service::log::producer::{Feed, Producer};
use crate::service::log::retry::{Connection, Lost, keep_up};
use crate::service::log::spec::LogInputs;
use crate::service::probe::redact;
use frame::{Frame, Piece};

/// Bytes of a file that are fetched at first: more than a screen, a second on a thin line.
const DEFAULT_TAIL_BYTES: u64 = 256 * 1024;
/// Most that may be wanted at first: half of what a spool holds.
const MAX_TAIL_BYTES: i64 = 128 << 20;
/// Hosts of one entry: each has a process and a thread.
const MAX_HOSTS: usize = 64;
/// The script says something at least every 15 s; a connection without a word for so long is dead.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// What makes `ssh` a program without a person: it never asks, never hangs for long, and leaves nothing behind.
const OPTIONS: &[&str] = &[
    "BatchMode=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "RequestTTY=no",
    "RemoteCommand=none",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "ControlMaster=no",
];

/// The words of a call of `ssh` that runs `remote` at `host`, in the shell there. `config` is an ssh config other than
/// the person's own; `options` are further words for `ssh`.
pub fn argv(program: &str, config: Option<&str>, options: &[String], host: &str, remote: &str) -> Vec<String> {
    let mut argv = vec![program.to_string(), "-T".to_string()];
    for option in OPTIONS {
        argv.extend(["-o".to_string(), (*option).to_string()]);
    }
    if let Some(config) = config {
        argv.extend(["-F".to_string(), config.to_string()]);
    }
    argv.extend(options.iter().cloned());
    argv.extend(["--".to_string(), host.to_string(), remote.to_string()]);
    argv
}

/// `ssh` in the config.
pub const KIND: Kind<LogInputs> = Kind {
    name: "ssh",
    summary: "a file or a program of other hosts, over your own `ssh` and its config",
    example: "[[log]]\nname = \"web\"\nssh  = { host = [\"web1\", \"web2\"], path = \"/var/log/nginx/error.log\" }\n",
    build,
};

/// Follows one file or program of one host.
#[derive(Debug, Clone)]
struct SshLog {
    program: String,
    host: String,
    config: Option<String>,
    options: Vec<String>,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    File { path: String, tail_bytes: u64 },
    Command(Vec<String>),
}

fn build(value: &Node<'_>) -> Option<Box<LogInputs>> {
    if !value.expect_table() {
        return None;
    }
    let hosts = value.require("host").and_then(|it| hosts(&it));
    let path = value.get("path").map(|it| path(&it));
    let argv = value.get("command").map(|it| command::argv(&it));
    let tail = value.get("tail_bytes").map(|it| it.integer(0..MAX_TAIL_BYTES + 1));
    let config = value.get("config").map(|it| it.string());
    let options = value.get("options").map(|it| it.items().iter().map(Node::string).collect::<Option<Vec<_>>>());
    let tail_bytes = tail.unwrap_or_else(|| i64::try_from(DEFAULT_TAIL_BYTES).ok());
    let what = match (path, argv) {
        (Some(path), None) => {
            path.zip(tail_bytes).map(|(path, it)| What::File { path, tail_bytes: u64::try_from(it).unwrap_or(0) })
        }
        (None, Some(argv)) => argv.map(What::Command),
        (Some(_), Some(_)) => {
            value.error_at_key(
                "command",
                "`ssh` has a `path` or a `command`, not both",
                Some("make two entries of it".into()),
            );
            None
        }
        (None, None) => {
            value.error_with_hint(
                "`ssh` names nothing to read",
                "add `path = \"/var/log/syslog\"` or `command = [\"journalctl\", \"-f\"]`",
            );
            None
        }
    };
    value.finish(&[]);
    let config = config.map_or(Some(None), |it| it.map(Some))?;
    let options = options.unwrap_or_else(|| Some(Vec::new()))?;
    let (hosts, what) = (hosts?, what?);
    let is_one = hosts.len() == 1 && !value.peek("host").is_some_and(|it| it.is_array());
    let producers = hosts.into_iter().map(|host| {
        let suffix = if is_one { String::new() } else { short_host(&host) };
        let (config, options, what) = (config.clone(), options.clone(), what.clone());
        (suffix, SshLog { program: "ssh".into(), host, config, options, what })
    });
    Some(LogInputs::producers(producers))
}

fn hosts(node: &Node<'_>) -> Option<Vec<String>> {
    let mut hosts: Vec<String> = Vec::new();
    for item in node.one_or_many() {
        let host = item.string()?;
        let is_bad = |it: char| it.is_whitespace() || it.is_control();
        // `ssh` would take it for an option, whatever stands before it.
        if host.is_empty() || host.starts_with('-') || host.contains(is_bad) {
            item.error_with_hint(
                format!("`{}` is no host", sanitise::text(&host)),
                "write it as for `ssh`: `web1`, `alice@web1` or a `Host` of your ssh config",
            );
            return None;
        }
        if hosts.contains(&host) {
            item.error_with_hint(format!("`{host}` is named twice"), "remove one of them");
            return None;
        }
        hosts.push(host);
    }
    if hosts.is_empty() || hosts.len() > MAX_HOSTS {
        node.error_with_hint(
            format!("`host` must name from 1 to {MAX_HOSTS} hosts, not {}", hosts.len()),
            "make more entries of it",
        );
        return None;
    }
    Some(hosts)
}

fn path(node: &Node<'_>) -> Option<String> {
    let path = node.string()?;
    if !(path.starts_with('/') || path.starts_with("~/")) || path.contains(['\0', '\n']) {
        node.error_with_hint("`path` must be a whole path on the other host", "begin it with `/` or `~/`");
        return None;
    }
    Some(path)
}

/// What stands behind the log's name: the host without user and port.
fn short_host(host: &str) -> String {
    let host = host.strip_prefix("ssh://").unwrap_or(host);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    sanitise::text(host).replace([':', '/'], "-")
}

impl Producer for SshLog {
    fn origin(&self) -> String {
        match &self.what {
            What::File { path, .. } => format!("{}:{path}", self.host),
            What::Command(argv) => format!("{}: {}", self.host, redact::redact(&argv.join(" "), &[])),
        }
    }

    fn program(&self) -> &str {
        &self.program
    }

    fn run(&self, feed: &mut Feed) {
        match &self.what {
            What::Command(argv) => {
                let words: Vec<String> = argv.iter().map(|it| script::quote(it)).collect();
                let call = self.call(&words.join(" "));
                keep_up(feed, |feed, connection| follow_lines(feed, &call, connection));
            }
            What::File { path, tail_bytes } => {
                let mut place = Place { tail_bytes: *tail_bytes, ..Place::default() };
                keep_up(feed, |feed, connection| self.follow_file(feed, connection, path, &mut place));
            }
        }
    }
}

/// Where the reading of the remote file stands.
#[derive(Debug, Default)]
struct Place {
    /// Device and inode there; empty before the first byte.
    id: String,
    /// Everything before was received.
    offset: u64,
    /// What the file begins with, in the words of the script.
    mark: String,
    tail_bytes: u64,
    /// The beginning is in the middle of a line, which is left out.
    skips_line: bool,
    /// Size there, while it is far ahead of us.
    ahead_to: u64,
}

impl SshLog {
    fn call(&self, remote: &str) -> Call {
        Call::new(argv(&self.program, self.config.as_deref(), &self.options, &self.host, remote))
    }

    fn follow_file(&self, feed: &mut Feed, connection: &mut Connection, path: &str, place: &mut Place) -> Lost {
        // Nobody who writes to the log can guess it, so nothing in the log is taken for our own words.
        let nonce = format!("{:016x}", fastrand::u64(..));
        let wanted = script::Wanted {
            path,
            id: &place.id,
            offset: place.offset,
            mark: &place.mark,
            tail_bytes: place.tail_bytes,
            nonce: &nonce,
            follow: feed.follows(),
        };
        let call = self.call(&script::remote(&wanted));
        let (mut frame, mut complaint) = (Frame::new(&nonce), Complaint::default());
        let mut session = Session { place, connection, is_open: false, done: None };
        let mut quiet = false;
        let end = child::run(feed, &call, SILENCE_MAX, &mut |feed, heard| match heard {
            Heard::Bytes(Pipe::Out, bytes) => {
                frame.feed(bytes, &mut |piece| session.hear(feed, piece));
                if session.done.is_some() { Next::Stop } else { Next::On }
            }
            Heard::Bytes(Pipe::Err, bytes) => {
                complaint.hear(bytes);
                Next::On
            }
            Heard::Quiet => {
                quiet = true;
                Next::Stop
            }
        });
        let done = session.done.take();
        match end {
            Ok(End::Asked) if quiet => Lost::failed(format!("`{}` says nothing any more", short_host(&self.host))),
            Ok(End::Asked | End::Stopped) => done.unwrap_or_else(Lost::ended),
            Ok(End::Exited(status)) if status.success() && !feed.follows() => Lost::ended(),
            Ok(End::Exited(status)) => {
                let words = complaint.words();
                let is_ours = status.code() == Some(255) && !words.is_empty();
                // 255 is `ssh` itself, and its last words say more than the number.
                Lost::failed(if is_ours { words } else { child::ended_words(&self.program, status, &words) })
            }
            Err(error) => Lost::failed(child::start_words(&self.program, &error)),
        }
    }
}

/// One connection of a followed file.
struct Session<'a> {
    place: &'a mut Place,
    connection: &'a mut Connection,
    /// Bytes belong to the file; before that they are what a login prints.
    is_open: bool,
    done: Option<Lost>,
}

impl Session<'_> {
    fn hear(&mut self, feed: &mut Feed, piece: Piece<'_>) {
        match piece {
            Piece::Data(bytes) => self.data(feed, bytes),
            Piece::Mark(mark) => {
                let words: Vec<&str> = mark.split(' ').collect();
                self.mark(feed, &words);
            }
        }
    }

    fn data(&mut self, feed: &mut Feed, mut bytes: &[u8]) {
        if !self.is_open {
            return;
        }
        let place = &mut *self.place;
        place.offset += bytes.len() as u64;
        if place.skips_line {
            let Some(end) = memchr::memchr(b'\n', bytes) else { return };
            bytes = &bytes[end + 1..];
            place.skips_line = false;
        }
        feed.main().append(bytes);
        if place.ahead_to > 0 {
            let behind = place.ahead_to.saturating_sub(place.offset);
            // Told in steps of a mebibyte, so that catching up is not a flood of facts.
            let state = SourceState::Lagging { bytes: behind >> 20 << 20 };
            feed.main().state(if behind == 0 { SourceState::Connected } else { state });
            if behind == 0 {
                place.ahead_to = 0;
            }
        }
    }

    fn mark(&mut self, feed: &mut Feed, words: &[&str]) {
        let number = |it: &str| it.parse::<u64>().unwrap_or(0);
        let place = &mut *self.place;
        match *words {
            // What follows are the bytes of this file from here on.
            ["open", id, offset, beginning] => {
                let offset = number(offset);
                let is_first = place.id.is_empty();
                let goes_on = place.id == id && place.offset == offset;
                self.connection.is_up(feed, is_first || goes_on);
                if !goes_on && !is_first && self.is_open {
                    feed.main().end_line();
                }
                place.skips_line = is_first && offset > 0;
                place.id = id.to_string();
                place.offset = offset;
                place.mark = beginning.to_string();
                self.is_open = true;
                feed.main().tail(None);
                feed.main().state(SourceState::Connected);
            }
            // The rest of the file that was rotated away while nobody was connected comes first.
            ["rest"] => {
                self.connection.is_up(feed, true);
                self.is_open = true;
            }
            ["rotated"] => {
                self.connection.is_up(feed, true);
                self.is_open = true;
                feed.main().gap(GapKind::Rotated);
            }
            ["lost"] if self.connection.knows_up() => {
                feed.main().gap(GapKind::Failed("rotated more than once while the connection was lost".into()));
            }
            ["lost"] => {
                self.connection.is_up(feed, false);
                self.is_open = true;
            }
            ["truncated", size, sure] => {
                self.connection.is_up(feed, false);
                self.is_open = true;
                // Whether it was emptied before or behind them, nobody saw.
                let unsure = place.offset.saturating_sub(number(sure));
                if unsure > 0 {
                    let bytes = format::bytes(unsure);
                    let why = format!("emptied while it was sent, the last {bytes} may follow once more");
                    feed.main().gap(GapKind::Failed(why));
                }
                feed.main().gap(GapKind::Truncated {
                    unread_bytes: number(size).saturating_sub(place.offset),
                    gone_bytes: 0,
                    looked_at: None,
                    times: 1,
                });
            }
            ["mark", beginning] => place.mark = beginning.to_string(),
            ["size", size] => place.ahead_to = number(size),
            ["missing"] => {
                self.connection.is_up(feed, true);
                feed.main().tail(Some(GapKind::Missing));
                feed.main().state(SourceState::Waiting("no such file there yet".into()));
            }
            ["denied"] => {
                feed.main().tail(Some(GapKind::PermissionDenied));
                self.done = Some(Lost::failed("permission denied there"));
            }
            ["folder"] => self.done = Some(Lost::failed("the path is a directory there")),
            // `tick`: the connection lives.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
