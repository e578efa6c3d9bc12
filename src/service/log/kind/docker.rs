//! `docker` and `podman` in the config: what containers say.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock;
use crate::domain::log::{GapKind, SourceState};
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::log::child::{self, Call, Complaint, End, Heard, Lines, Next, Pipe, TICK, Whole};
use crate::service::log::dress::Dress;
use crate::service::log::producer::{Branches, Feed, MAX_OUTLETS, Producer};
use crate::service::log::retry::{Again, Connection, Lost, keep_up};
use crate::service::log::seam::{self, Seam};
use crate::service::log::spec::LogInputs;

/// Lines of a container that are wanted at first.
const DEFAULT_LINES: i64 = 1000;
/// Most that may be wanted at first.
const MAX_LINES: i64 = 1_000_000;
/// A container that is not there or does not run is looked for again so often.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Containers of a label are looked for so often.
const LIST_INTERVAL: Duration = Duration::from_secs(5);
/// The engine answers a question within this.
const ASK_DEADLINE: Duration = Duration::from_secs(10);
/// Longest answer: 40 names of 200 bytes fit many times.
const ASK_BYTES: usize = 256 * 1024;

/// `docker` in the config.
pub const KIND: Kind<LogInputs> = Kind {
    name: "docker",
    summary: "containers by name or label, through restarts; those that do not exist yet are waited for",
    example: "[[log]]\nname   = \"shop\"\ndocker = [\"shop-api\", \"shop-db\"]\n",
    build: |value| build(value, "docker"),
};

/// `podman` in the config.
pub const PODMAN: Kind<LogInputs> = Kind {
    name: "podman",
    summary: "as docker",
    example: "[[log]]\nname   = \"shop\"\npodman = { label = \"app=shop\", since = \"2h\" }\n",
    build: |value| build(value, "podman"),
};

#[derive(Debug, Clone, PartialEq)]
struct Settings {
    /// `docker`, `podman`, or a stand-in.
    program: String,
    context: Option<String>,
    lines: i64,
    since: Option<Duration>,
}

impl Settings {
    fn call(&self, words: &[&str]) -> Call {
        let mut argv = vec![self.program.clone()];
        if let Some(context) = &self.context {
            let option = if self.program.ends_with("podman") { "--connection" } else { "--context" };
            argv.extend([option.to_string(), context.clone()]);
        }
        argv.extend(words.iter().map(ToString::to_string));
        Call::new(argv)
    }
}

fn build(value: &Node<'_>, program: &str) -> Option<Box<LogInputs>> {
    let mut settings = Settings { program: program.into(), context: None, lines: DEFAULT_LINES, since: None };
    if !value.is_table() {
        return containers(value, &settings);
    }
    let names = value.get("container");
    let label = value.get("label").map(|it| it.string());
    let context = value.get("context").map(|it| it.string());
    let lines = value.get("lines").map(|it| it.integer(0..MAX_LINES + 1));
    let since = value.get("since").map(|it| it.duration());
    value.finish(&[]);
    settings.context = context.map_or(Some(None), |it| it.map(Some))?;
    settings.lines = lines.unwrap_or(Some(DEFAULT_LINES))?;
    settings.since = since.map_or(Some(None), |it| it.map(Some))?;
    match (names, label) {
        (Some(names), None) => containers(&names, &settings),
        (None, Some(label)) => Some(LogInputs::producer(LabelLog { settings, label: label? })),
        (Some(_), Some(_)) => {
            let hint = "make two entries of it".to_string();
            value.error_at_key("label", format!("`{program}` has a `container` or a `label`, not both"), Some(hint));
            None
        }
        (None, None) => {
            value.error_with_hint(
                format!("`{program}` names no container"),
                "add `container = \"name\"` or `label = \"key=value\"`",
            );
            None
        }
    }
}

fn containers(node: &Node<'_>, settings: &Settings) -> Option<Box<LogInputs>> {
    let mut names = Vec::new();
    for item in node.one_or_many() {
        let name = item.string()?;
        let is_good = |it: char| it.is_ascii_alphanumeric() || "_.-".contains(it);
        if !name.starts_with(|it: char| it.is_ascii_alphanumeric()) || !name.chars().all(is_good) {
            let shown = sanitise::text(&name);
            item.error_with_hint(
                format!("`{shown}` is no name of a container"),
                format!("write it as `{} ps` shows it", settings.program),
            );
            return None;
        }
        names.push(name);
    }
    if names.is_empty() {
        node.error_with_hint(
            format!("`{}` names no container", settings.program),
            "write a name as `\"shop-api\"`, or several in brackets",
        );
        return None;
    }
    let is_one = !node.is_array();
    let producer = |name: String| {
        let suffix = if is_one { String::new() } else { name.clone() };
        (suffix, ContainerLog { settings: settings.clone(), container: name })
    };
    Some(LogInputs::producers(names.into_iter().map(producer)))
}

/// One container.
#[derive(Debug)]
struct ContainerLog {
    settings: Settings,
    container: String,
}

impl Producer for ContainerLog {
    fn origin(&self) -> String {
        format!("{} container {}", self.settings.program, self.container)
    }

    fn program(&self) -> &str {
        &self.settings.program
    }

    fn run(&self, feed: &mut Feed) {
        let mut heard = Hearing::default();
        keep_up(feed, |feed, connection| self.attempt(feed, connection, &mut heard));
    }
}

/// What is known of a container's lines over all connections.
#[derive(Default)]
struct Hearing {
    seam: Seam,
    /// Of standard output and of standard error: no line of one continues one of the other.
    dresses: [Dress; 2],
    line: Vec<u8>,
    /// Time of the last line on standard output of this connection.
    at: Option<Timestamp>,
    /// What the engine said of itself although nothing failed.
    said: String,
    /// It had stopped when it was last looked at.
    rests: bool,
}

impl Hearing {
    /// Takes whole lines. Those without a time are the container's own, on standard error the engine's.
    fn hear(&mut self, pipe: Pipe, lines: &[u8], complaint: &mut Complaint) -> &[u8] {
        self.line.clear();
        for line in lines.split_inclusive(|it| *it == b'\n') {
            let bare = line.strip_suffix(b"\n").unwrap_or(line);
            let Some((at, time, message)) = seam::split(bare) else {
                if pipe == Pipe::Err {
                    complaint.hear(line);
                } else if self.seam.is_new_untimed(self.at, bare) {
                    self.line.extend_from_slice(bare);
                    self.line.push(b'\n');
                }
                continue;
            };
            if pipe == Pipe::Out {
                self.at = Some(at);
            }
            if self.seam.is_new(at, message) {
                self.dresses[usize::from(pipe == Pipe::Err)].put(at, time, message, &mut self.line);
            }
        }
        &self.line
    }
}

impl ContainerLog {
    fn attempt(&self, feed: &mut Feed, connection: &mut Connection, hearing: &mut Hearing) -> Lost {
        let since = match (hearing.seam.newest(), self.settings.since) {
            (Some(newest), _) => Some(newest - seam::MARGIN),
            (None, Some(since)) => jiff::SignedDuration::try_from(since).ok().map(|it| clock::now() - it),
            (None, None) => None,
        };
        hearing.seam.take_up();
        hearing.at = None;
        let lines = self.settings.lines.to_string();
        let since = since.map(|it: Timestamp| it.to_string());
        let mut words = vec!["logs", "--timestamps"];
        if feed.follows() {
            words.push("--follow");
        }
        match &since {
            Some(since) => words.extend(["--since", since.as_str()]),
            None => words.extend(["--tail", lines.as_str()]),
        }
        words.push(self.container.as_str());
        let call = self.settings.call(&words);
        let (mut out, mut err, mut complaint) = (Lines::default(), Lines::default(), Complaint::default());
        let mut take = |feed: &mut Feed, connection: &mut Connection, pipe, whole: &Whole<'_>| {
            let new = hearing.hear(pipe, whole.bytes, &mut complaint);
            if !new.is_empty() {
                connection.is_up(feed, true);
                feed.main().append_from(pipe, new);
            }
            if whole.cut_bytes > 0 {
                feed.main().gap(GapKind::Cut { bytes: whole.cut_bytes });
            }
        };
        let end = child::run(feed, &call, TICK, &mut |feed, heard| {
            match heard {
                Heard::Bytes(pipe, bytes) => {
                    let lines = if pipe == Pipe::Out { &mut out } else { &mut err };
                    lines.feed(bytes, &mut |whole| take(feed, connection, pipe, &whole));
                }
                // It says nothing, but it is not refused either.
                Heard::Quiet => connection.is_up(feed, true),
            }
            Next::On
        });
        let is_whole = matches!(&end, Ok(End::Exited(status)) if status.success()) || !feed.follows();
        for (pipe, lines) in [(Pipe::Out, &mut out), (Pipe::Err, &mut err)] {
            lines.finish(&mut |whole| {
                // Half a line of the container comes again with the next connection.
                if is_whole || pipe == Pipe::Err && seam::split(whole.bytes).is_none() {
                    take(feed, connection, pipe, &whole);
                }
            });
        }
        let words = complaint.words();
        match end {
            Ok(End::Exited(status)) if status.success() => {
                if !words.is_empty() && words != hearing.said {
                    feed.main().gap(GapKind::Failed(words.clone()));
                    hearing.said = words;
                }
                self.stopped(feed, connection, hearing)
            }
            // It is not waited for.
            Ok(End::Exited(_)) if is_absent(&words) && !feed.follows() => {
                Lost::failed(format!("no container `{}`", self.container))
            }
            Ok(End::Exited(_)) if is_absent(&words) => {
                feed.tail(Some(&GapKind::Missing));
                feed.state(&SourceState::Waiting(format!("no container `{}` yet", self.container)));
                Lost { why: String::new(), again: Again::After(LOOK_AGAIN) }
            }
            Ok(End::Exited(status)) => Lost::failed(child::ended_words(&self.settings.program, status, &words)),
            Ok(End::Stopped | End::Asked) => Lost::ended(),
            Err(error) => Lost::failed(child::start_words(&self.settings.program, &error)),
        }
    }

    /// The container has stopped: that is no trouble of the connection, and it may be started again.
    fn stopped(&self, feed: &mut Feed, connection: &mut Connection, hearing: &mut Hearing) -> Lost {
        // Looked at again and nothing has happened: nothing is said either.
        let is_news = connection.knows_up() || !hearing.rests;
        if is_news && feed.follows() {
            connection.is_up(feed, true);
            feed.tail(Some(&GapKind::Ended));
            feed.state(&SourceState::Waiting(format!("container `{}` has stopped", self.container)));
            connection.rests();
            hearing.rests = true;
        }
        Lost { why: String::new(), again: Again::After(LOOK_AGAIN) }
    }
}

fn is_absent(words: &str) -> bool {
    // `No such container: x`, `no container with name or ID "x" found`.
    let words = words.to_lowercase();
    words.contains("no such container") || words.contains("no container with name")
}

/// The containers of a label, as they come and go.
#[derive(Debug)]
struct LabelLog {
    settings: Settings,
    label: String,
}

impl Producer for LabelLog {
    fn origin(&self) -> String {
        format!("{} containers with {}", self.settings.program, self.label)
    }

    fn program(&self) -> &str {
        &self.settings.program
    }

    fn run(&self, feed: &mut Feed) {
        let mut branches = Branches::default();
        let mut gone: HashMap<String, u32> = HashMap::new();
        let filter = format!("label={}", self.label);
        let call = self.settings.call(&["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"]);
        keep_up(feed, |feed, connection| {
            let answer = match child::ask(feed, &call, ASK_DEADLINE, ASK_BYTES) {
                Ok(answer) => answer,
                Err(why) => return Lost::failed(why),
            };
            connection.is_up(feed, true);
            let text = String::from_utf8_lossy(&answer).into_owned();
            // A container that is replaced is away for a moment.
            let names: Vec<&str> =
                text.lines().filter_map(|it| it.split(',').next()).map(str::trim).filter(|it| !it.is_empty()).collect();
            for name in names.iter().take(MAX_OUTLETS) {
                gone.remove(*name);
                let producer = ContainerLog { settings: self.settings.clone(), container: (*name).to_string() };
                branches.open(feed, name, Arc::new(producer));
            }
            for name in branches.names().into_iter().filter(|it| !names.contains(&it.as_str())) {
                let count = gone.entry(name.clone()).or_default();
                *count += 1;
                if *count > 12 {
                    branches.close(&name);
                    gone.remove(&name);
                }
            }
            Lost { why: String::new(), again: Again::After(LIST_INTERVAL) }
        });
        if !feed.is_stopped() {
            feed.wait_for_stop();
        }
        branches.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::log::rig::{Rig, check_mistakes};

    fn settings(program: String) -> Settings {
        Settings { program, context: None, lines: 1000, since: None }
    }

    /// What `docker logs --timestamps` prints for line `number`: nanoseconds in UTC, then the message.
    fn line(number: i64) -> String {
        let at = Timestamp::from_millisecond(1_714_979_289_000 + number / 3 * 100).unwrap();
        format!("{at:.9} line {number}")
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let check = |entry: &str, expected: &[&str]| {
            check_mistakes(&format!("[[log]]\nname = \"a\"\n{entry}\n"), expected);
        };
        check("docker = \"api\"", &[]);
        check("podman = [\"api\", \"db\"]", &[]);
        check("docker = \"--help\"", &["3:10 `--help` is no name of a container"]);
        check("docker = []", &["3:10 `docker` names no container"]);
        check("podman = { since = \"1h\" }", &["3:10 `podman` names no container"]);
        check(
            "docker = { container = \"a\", label = \"b\" }",
            &["3:29 `docker` has a `container` or a `label`, not both"],
        );
        check("docker = { container = \"a\", lines = -1 }", &["3:37 `log.docker.lines` must be from 0 to 1000000"]);
    }

    #[test]
    fn a_lost_connection_goes_on_without_loss_and_without_repeats() {
        let rig = Rig::new();
        let all: String = (0..300).map(|it| line(it) + "\n").collect();
        fs_write(&rig, "all", &all);
        // The engine cuts what it is asked for to whole seconds, and the first two connections break.
        let script = "echo \"$@\" >> calls; n=$(wc -l < calls); from=1\n\
             while [ $# -gt 0 ]; do case $1 in --since) t=$2; from=$(grep -n \"${t%%.*}\" all | head -n 1 | cut -d: -f1);; esac; shift; done\n\
             [ -n \"$from\" ] || from=1\n\
             case $n in 1) tail -n +$from all | head -n 100;; 2) tail -n +$from all | head -n 201;; *) tail -n +$from all; exec sleep 600;; esac\n\
             echo 'error during connect: EOF' >&2; exit 1";
        let program = rig.script("docker", script).remove(0);
        rig.start(ContainerLog { settings: settings(program), container: "api".into() });
        rig.wait_until(|rig| rig.lines("log").len() >= 300);
        let numbers: Vec<String> =
            rig.lines("log").iter().filter_map(|it| it.rsplit(' ').next().map(String::from)).collect();
        assert_eq!(numbers, (0..300).map(|it| it.to_string()).collect::<Vec<_>>());
        assert_eq!(rig.gaps("log"), ["Reconnected { resumed: true }"; 2]);
        let calls = std::fs::read_to_string(rig.path("calls")).unwrap();
        assert_eq!(calls.lines().next(), Some("logs --timestamps --follow --tail 1000 api"));
        assert!(calls.lines().nth(1).unwrap().starts_with("logs --timestamps --follow --since 2024-05-06T"), "{calls}");
    }

    fn fs_write(rig: &Rig, name: &str, text: &str) {
        std::fs::write(rig.path(name), text).unwrap();
    }

    #[test]
    fn a_container_is_waited_for_and_followed_through_its_restart() {
        let rig = Rig::new();
        let script = "echo x >> calls; n=$(wc -l < calls)\n\
             [ $n = 1 ] && { echo 'Error response from daemon: No such container: api' >&2; exit 1; }\n\
             echo '2024-05-06T07:08:09.000000001Z first'; echo '2024-05-06T07:08:09.000000002Z to stderr' >&2\n\
             [ $n -lt 6 ] && exit 0\n\
             echo '2024-05-06T07:09:09.5Z again'; exec sleep 600";
        let program = rig.script("docker", script).remove(0);
        rig.start(ContainerLog { settings: settings(program), container: "api".into() });
        rig.wait_until(|rig| rig.lines("log").iter().any(|it| it.ends_with("again")));
        let mut lines = rig.lines("log");
        lines[..2].sort_unstable();
        assert_eq!(
            lines,
            [
                "2024-05-06T07:08:09.000000001Z first",
                "2024-05-06T07:08:09.000000002Z to stderr",
                "2024-05-06T07:09:09.5Z again"
            ]
        );
        let words: Vec<String> = rig
            .states("log")
            .iter()
            .filter_map(|it| match it {
                SourceState::Waiting(why) => Some(why.clone()),
                _ => None,
            })
            .collect();
        // Looked at again and again while it rests, and told once.
        assert_eq!(words, ["connecting", "no container `api` yet", "container `api` has stopped"]);
    }

    #[test]
    fn lines_from_before_the_wanted_ones_stay_out_when_the_connection_returns() {
        let rig = Rig::new();
        fs_write(&rig, "all", &(0..21).map(|it| line(it) + "\n").collect::<String>());
        let script = "echo x >> calls; [ $(wc -l < calls) = 1 ] && { tail -n 3 all; exit 1; }\n\
             cat all; echo '2024-05-06T07:08:30.5Z line 21'; exec sleep 600";
        let program = rig.script("docker", script).remove(0);
        rig.start(ContainerLog { settings: Settings { lines: 3, ..settings(program) }, container: "api".into() });
        rig.wait_until(|rig| rig.lines("log").iter().any(|it| it.ends_with(" 21")));
        let numbers: Vec<String> =
            rig.lines("log").iter().filter_map(|it| it.rsplit(' ').next().map(String::from)).collect();
        assert_eq!(numbers, ["18", "19", "20", "21"]);
    }

    #[test]
    fn the_last_line_needs_no_end_and_lines_without_a_time_are_kept_once() {
        let rig = Rig::new();
        let script = "echo x >> calls; echo '2024-05-06T07:08:09Z first'; echo 'no time'\n\
             echo 'a word of the engine' >&2\n\
             [ $(wc -l < calls) -lt 4 ] && { printf '2024-05-06T07:08:10Z panic: boom'; exit 0; }; echo '2024-05-06T07:09:09Z again'; exec sleep 600";
        let program = rig.script("docker", script).remove(0);
        rig.start(ContainerLog { settings: settings(program), container: "api".into() });
        rig.wait_until(|rig| rig.lines("log").iter().any(|it| it.ends_with("again")));
        assert_eq!(
            rig.lines("log"),
            ["2024-05-06T07:08:09Z first", "no time", "2024-05-06T07:08:10Z panic: boom", "2024-05-06T07:09:09Z again"]
        );
        assert_eq!(rig.gaps("log"), ["Failed(\"a word of the engine\")"]);
    }

    #[test]
    fn containers_of_a_label_join_as_they_come() {
        let rig = Rig::new();
        let script = "if [ \"$1\" = ps ]; then echo \"$@\" >> asked; echo shop-1; [ -e second ] && echo shop-2; exit 0; fi\n\
             for it; do :; done; echo \"2024-05-06T07:08:09Z I am $it\"; exec sleep 600";
        let program = rig.script("docker", script).remove(0);
        rig.start(LabelLog { settings: settings(program), label: "app=shop".into() });
        rig.wait_until(|rig| rig.lines("log:shop-1") == ["2024-05-06T07:08:09Z I am shop-1"]);
        fs_write(&rig, "second", "");
        rig.wait_until(|rig| rig.lines("log:shop-2") == ["2024-05-06T07:08:09Z I am shop-2"]);
        let asked = std::fs::read_to_string(rig.path("asked")).unwrap();
        assert_eq!(asked.lines().next(), Some("ps --all --filter label=app=shop --format {{.Names}}"));
    }
}
