//! `command` in the config: what a program says on its standard output and standard error.

use std::path::PathBuf;

use crate::domain::log::GapKind;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::registry::reference::split_words;
use crate::service::log::child::{self, Call, Complaint, End, Heard, Lines, Next, Pipe, TICK, Whole};
use crate::service::log::producer::{Feed, Producer};
use crate::service::log::retry::{Again, Connection, Lost, keep_up};
use crate::service::log::spec::LogInputs;
use crate::service::probe::redact;

/// `command` in the config.
pub const KIND: Kind<LogInputs> = Kind {
    name: "command",
    summary: "what a program prints, started again when it ends; no shell",
    example: "[[log]]\nname    = \"mail\"\ncommand = [\"mailq-watch\", \"--every\", \"10s\"]\n",
    build,
};

/// Follows a program.
#[derive(Debug)]
struct CommandLog {
    call: Call,
    restart: bool,
}

fn build(value: &Node<'_>) -> Option<Box<LogInputs>> {
    if !value.is_table() {
        let call = Call::new(argv(value)?);
        return Some(LogInputs::producer(CommandLog { call, restart: true }));
    }
    let argv = value.require("argv").and_then(|it| argv(&it));
    let folder = value.get("cwd").map(|it| it.string());
    let environment = value.get("env").map(|table| {
        if !table.expect_table() {
            return None;
        }
        let pair = |(key, _): (String, _)| Some((key.clone(), table.get(&key)?.string()?));
        table.keys().into_iter().map(pair).collect::<Option<Vec<_>>>()
    });
    let restart = value.get("restart").map(|it| it.boolean());
    value.finish(&[]);
    let folder = folder.map_or(Some(None), |it| it.map(|it| Some(PathBuf::from(it))))?;
    let environment = environment.unwrap_or_else(|| Some(Vec::new()))?;
    let restart = restart.unwrap_or(Some(true))?;
    Some(LogInputs::producer(CommandLog { call: Call { argv: argv?, environment, folder }, restart }))
}

/// Reads a program with its arguments: an array, or a string that is split at blanks outside of quotes.
pub fn argv(node: &Node<'_>) -> Option<Vec<String>> {
    let words = if node.is_array() {
        node.items().iter().map(Node::string).collect::<Option<Vec<String>>>()?
    } else {
        match split_words(&node.string()?) {
            Ok(words) => words,
            Err(message) => {
                node.error_with_hint(
                    format!("could not split the command: {message}"),
                    "close the quote, or write an array as `[\"program\", \"argument\"]`",
                );
                return None;
            }
        }
    };
    if words.first().is_none_or(String::is_empty) || words.iter().any(|it| it.contains('\0')) {
        node.error_with_hint("the command names no program", "write `[\"program\", \"argument\"]`");
        return None;
    }
    Some(words)
}

impl Producer for CommandLog {
    fn origin(&self) -> String {
        redact::redact(&self.call.argv.join(" "), &[])
    }

    fn program(&self) -> &str {
        self.call.program()
    }

    fn run(&self, feed: &mut Feed) {
        keep_up(feed, |feed, connection| self.attempt(feed, connection));
    }
}

impl CommandLog {
    fn attempt(&self, feed: &mut Feed, connection: &mut Connection) -> Lost {
        let lost = follow_lines(feed, &self.call, connection);
        if self.restart { lost } else { Lost { again: Again::Never, ..lost } }
    }
}

/// Runs a program once; whole lines of both of its pipes become lines of the feed's own source.
pub fn follow_lines(feed: &mut Feed, call: &Call, connection: &mut Connection) -> Lost {
    let (mut out, mut err, mut complaint) = (Lines::default(), Lines::default(), Complaint::default());
    let end = child::run(feed, call, TICK, &mut |feed, heard| {
        // Also when it says nothing: it runs.
        connection.is_up_with(feed, away);
        if let Heard::Bytes(pipe, bytes) = heard {
            let lines = match pipe {
                Pipe::Out => &mut out,
                Pipe::Err => {
                    complaint.hear(bytes);
                    &mut err
                }
            };
            lines.feed(bytes, &mut |whole| append(feed, pipe, &whole));
        }
        Next::On
    });
    out.finish(&mut |whole| append(feed, Pipe::Out, &whole));
    err.finish(&mut |whole| append(feed, Pipe::Err, &whole));
    match end {
        Ok(End::Exited(status)) => {
            connection.is_up_with(feed, away);
            let words = child::ended_words(call.program(), status, &complaint.words());
            if status.success() && !feed.follows() { Lost::ended() } else { Lost::failed(words) }
        }
        Ok(End::Stopped | End::Asked) => Lost::ended(),
        Err(error) => Lost::failed(child::start_words(call.program(), &error)),
    }
}

fn away(away_seconds: u64, why: &str) -> GapKind {
    let when = if away_seconds == 0 { "at once".to_string() } else { format!("after {away_seconds} s") };
    GapKind::Failed(format!("{why}, started again {when}"))
}

/// Appends whole lines, and says when one was cut.
fn append(feed: &mut Feed, pipe: Pipe, whole: &Whole<'_>) {
    feed.main().append_from(pipe, whole.bytes);
    if whole.cut_bytes > 0 {
        feed.main().gap(GapKind::Cut { bytes: whole.cut_bytes });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::log::SourceState;
    use crate::service::log::rig::{Rig, check_mistakes};

    fn shell(rig: &Rig, script: &str) -> CommandLog {
        CommandLog { call: Call::new(rig.script("prog", script)), restart: true }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let check =
            |entry: &str, expected: &[&str]| check_mistakes(&format!("[[log]]\nname = \"a\"\n{entry}\n"), expected);
        check("command = \"tail 'x\"", &["3:11 could not split the command: ' is not closed"]);
        check("command = []", &["3:11 the command names no program"]);
        check("command = { argv = [\"x\"], cmd = 1 }", &["3:27 unknown key `cmd` in `log.command`"]);
        check(
            "command = { restart = 1 }",
            &[
                "3:11 `argv` is missing in log.command",
                "3:23 `log.command.restart` must be true or false, not an integer",
            ],
        );
    }

    #[test]
    fn lines_of_both_pipes_are_kept_whole_and_the_last_one_gets_its_end() {
        let rig = Rig::new();
        let script = "echo one; echo two >&2; printf 'half'; sleep 0.01; echo ' done'; printf 'no end'";
        rig.start(CommandLog { restart: false, ..shell(&rig, script) });
        rig.wait_for_state("log", |it| *it == SourceState::Ended);
        let mut lines: Vec<String> = rig.lines("log");
        lines.sort_unstable();
        assert_eq!(lines, ["half done", "no end", "one", "two"]);
    }

    #[test]
    fn what_comes_by_standard_error_is_no_part_of_a_record_of_standard_output() {
        let rig = Rig::new();
        // Each pipe waits until what the other one said was taken.
        let script = "seen() { until [ -e $1 ]; do sleep 0.01; done; }; \
            echo '2026-08-19T00:00:00Z ERROR boom'; echo '  at a'; seen one; \
            echo 'a warning' >&2; echo '  of two lines' >&2; seen two; \
            echo 'plain'; echo '2026-08-19T00:00:01Z INFO next'";
        rig.start(CommandLog { restart: false, ..shell(&rig, script) });
        for (line, file) in [("  at a", "one"), ("  of two lines", "two")] {
            rig.wait_until(|rig| rig.lines("log").last().is_some_and(|it| it == line));
            std::fs::write(rig.path(file), "").unwrap();
        }
        rig.wait_for_state("log", |it| *it == SourceState::Ended);
        let lines = "2026-08-19T00:00:00Z ERROR boom\n  at a\n|a warning\n  of two lines\n|plain\n|2026-08-19T00:00:01Z INFO next\n";
        assert_eq!(rig.records("log").join("|"), lines);
    }

    #[test]
    fn a_program_that_ends_says_why_and_is_started_again() {
        let rig = Rig::new();
        // Numbered by how often it ran.
        let script = "echo x >> runs; n=$(wc -l < runs); echo line $n; echo trouble $n >&2; [ $n -ge 3 ] && exec sleep 600; exit 7";
        rig.start(shell(&rig, script));
        rig.wait_until(|rig| rig.lines("log").contains(&"line 3".to_string()));
        // Nobody can know after how many seconds.
        let gaps: Vec<String> =
            rig.gaps("log").iter().filter_map(|it| Some(it.split_once(" again ")?.0.to_string())).collect();
        let expected = |n: u8| format!("Failed(\"`prog` ended with 7: trouble {n}, started");
        assert_eq!(gaps, [expected(1), expected(2)]);
        let states = rig.states("log");
        let shown: Vec<&str> = states
            .iter()
            .map(|it| match it {
                SourceState::Reconnecting { why, .. } => why.as_str(),
                SourceState::Connected => "connected",
                _ => "other",
            })
            .collect();
        assert_eq!(
            shown,
            [
                "other",
                "connected",
                "`prog` ended with 7: trouble 1",
                "connected",
                "`prog` ended with 7: trouble 2",
                "connected"
            ]
        );
    }

    #[test]
    fn a_short_absence_is_told_without_counting_nothing() {
        let words = |seconds| match away(seconds, "ended") {
            GapKind::Failed(words) => words,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            (words(0), words(2)),
            ("ended, started again at once".into(), "ended, started again after 2 s".into())
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_looked_for_again() {
        let rig = Rig::new();
        rig.start(CommandLog { call: Call::new(vec!["/nonexistent/prog".into()]), restart: true });
        rig.wait_for_state(
            "log",
            |it| matches!(it, SourceState::Reconnecting { why, .. } if why == "`/nonexistent/prog` does not exist"),
        );
    }

    #[test]
    fn stopping_takes_everything_along_that_the_program_started() {
        let mut rig = Rig::new();
        rig.start(shell(&rig, "trap '' TERM; sleep 600 & echo $!; echo $$; wait; wait; sleep 600"));
        rig.wait_until(|rig| rig.lines("log").len() == 2);
        let pids = rig.lines("log");
        rig.stop();
        for pid in pids {
            // It was killed; the kernel may take a moment over it.
            let lives = || {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                !(stat.is_empty() || stat.contains(") Z ") || stat.contains(") X "))
            };
            let looks = (0..6000).take_while(|_| lives()).inspect(|_| std::thread::sleep(Duration::from_millis(10)));
            assert!(looks.count() < 6000, "{pid} lives on");
        }
    }

    #[test]
    fn a_killed_program_and_one_that_closes_its_pipes_are_started_again() {
        let rig = Rig::new();
        let script = "echo x >> runs; n=$(wc -l < runs); echo line $n; case $n in 1) kill -9 $$;; 2) exec sleep 600 >/dev/null 2>&1;; *) exec sleep 600;; esac";
        rig.start(shell(&rig, script));
        rig.wait_until(|rig| rig.lines("log").contains(&"line 3".to_string()));
        let gaps = rig.gaps("log");
        assert!(gaps[0].contains("`prog` was ended by signal 9"), "{gaps:?}");
        assert!(gaps[1].contains("`prog` was ended by signal 15"), "{gaps:?}");
    }

    #[test]
    fn a_flood_is_taken_completely_and_garbage_does_no_harm() {
        let rig = Rig::new();
        let script =
            "seq 1 200000; head -c 100000 /dev/urandom; echo; head -c 3000000 /dev/zero | tr '\\0' y; echo; echo end";
        rig.start(CommandLog { restart: false, ..shell(&rig, script) });
        rig.wait_for_state("log", |it| *it == SourceState::Ended);
        let text = rig.bytes("log");
        let numbers: String = (1..=200_000).map(|it| format!("{it}\n")).collect();
        assert!(text.starts_with(numbers.as_bytes()));
        assert!(text.ends_with(b"y\nend\n"));
        let cut = 3_000_000 - child::MAX_LINE_BYTES;
        assert_eq!(rig.gaps("log"), [format!("Cut {{ bytes: {cut} }}")]);
    }
}
