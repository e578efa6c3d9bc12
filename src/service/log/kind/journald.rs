//! `journald` in the config: the journal of this host, taken up again where it was left.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clock;
use crate::domain::log::GapKind;
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::log::child::{self, Call, Complaint, End, Heard, Lines, Next, Pipe, TICK, Whole};
use crate::service::log::producer::{Feed, Producer};
use crate::service::log::retry::{Again, Connection, Lost, keep_up};
use crate::service::log::spec::LogInputs;
use crate::service::private_file;

/// Entries that are wanted at first.
const DEFAULT_LINES: i64 = 1000;
/// Most that may be wanted at first.
const MAX_LINES: i64 = 1_000_000;
/// The cursor is brought to disk so often.
const SAVE_INTERVAL: Duration = Duration::from_secs(5);
/// A cursor has about 200 bytes.
const MAX_CURSOR_BYTES: usize = 1024;
/// The fields that are of use on a screen; others (a core dump) can have hundreds of megabytes.
const FIELDS: &str = "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_SYSTEMD_UNIT,_SYSTEMD_USER_UNIT,UNIT,_PID,_UID,_COMM,_HOSTNAME,_TRANSPORT,CODE_FILE,CODE_LINE,CODE_FUNC,ERRNO,EXIT_CODE,EXIT_STATUS,JOB_RESULT,MESSAGE_ID";
/// Syslog's words for how bad it is.
const PRIORITIES: &[(&str, &str)] = &[
    ("emerg", "0"),
    ("alert", "1"),
    ("crit", "2"),
    ("err", "3"),
    ("warning", "4"),
    ("notice", "5"),
    ("info", "6"),
    ("debug", "7"),
];

/// `journald` in the config.
pub const KIND: Kind<LogInputs> = Kind {
    name: "journald",
    summary: "the journal of this host, of all or some units, taken up again where it was left",
    example: "[[log]]\nname     = \"nginx\"\njournald = { unit = \"nginx.service\", since = \"2h\" }\n",
    build,
};

/// Follows the journal.
#[derive(Debug)]
struct JournalLog {
    program: String,
    /// `--unit=nginx.service` and so on.
    matches: Vec<String>,
    lines: i64,
    since: Option<Duration>,
}

fn build(value: &Node<'_>) -> Option<Box<LogInputs>> {
    let mut matches = Vec::new();
    let (mut lines, mut since) = (Some(DEFAULT_LINES), Some(None));
    let mut is_good = true;
    if !value.is_table() {
        if !value.boolean()? {
            value.error_with_hint("`journald = false` reads nothing", "remove the entry, or write `journald = true`");
            return None;
        }
    } else {
        for (key, option) in [("unit", "--unit"), ("user_unit", "--user-unit"), ("identifier", "--identifier")] {
            for node in value.get(key).map(|it| it.one_or_many()).unwrap_or_default() {
                match word(&node) {
                    Some(word) => matches.push(format!("{option}={word}")),
                    None => is_good = false,
                }
            }
        }
        if let Some(node) = value.get("priority") {
            match node.one_of(PRIORITIES) {
                Some(priority) => matches.push(format!("--priority={priority}")),
                None => is_good = false,
            }
        }
        if let Some(node) = value.get("user") {
            match node.boolean() {
                Some(true) => matches.push("--user".into()),
                Some(false) => {}
                None => is_good = false,
            }
        }
        if let Some(node) = value.get("directory") {
            match word(&node) {
                Some(folder) => matches.push(format!("--directory={folder}")),
                None => is_good = false,
            }
        }
        lines = value.get("lines").map_or(lines, |it| it.integer(0..MAX_LINES + 1));
        since = value.get("since").map_or(since, |it| it.duration().map(Some));
        value.finish(&[]);
    }
    let log = JournalLog { program: "journalctl".into(), matches, lines: lines?, since: since? };
    is_good.then(|| LogInputs::producer(log))
}

fn word(node: &Node<'_>) -> Option<String> {
    let text = node.string()?;
    if text.is_empty() || text.chars().any(char::is_control) {
        node.error_with_hint("an empty name", "write it as `systemctl` shows it: `nginx.service`");
        return None;
    }
    Some(text)
}

impl Producer for JournalLog {
    fn origin(&self) -> String {
        let what: Vec<&str> = self.matches.iter().map(|it| it.trim_start_matches('-')).collect();
        if what.is_empty() { "journal".into() } else { format!("journal {}", what.join(" ")) }
    }

    fn program(&self) -> &str {
        &self.program
    }

    fn run(&self, feed: &mut Feed) {
        let name = feed.main().name().to_string();
        let path = cursor_path(feed.state_dir(), &name);
        let mut cursor =
            Cursor { path, text: String::new(), saved_at: None, saved: String::new(), is_kept: feed.follows() };
        let left_at = fs::read_to_string(&cursor.path).ok().filter(|it| is_cursor(it));
        cursor.saved = left_at.clone().unwrap_or_default();
        // Until the first entry: what the last session saw to its end.
        let mut left_at = left_at;
        keep_up(feed, |feed, connection| self.attempt(feed, connection, &mut cursor, &mut left_at));
        cursor.save();
    }
}

/// Where a session left the journal.
fn cursor_path(state_dir: &Path, name: &str) -> PathBuf {
    state_dir.join("spool").join(format!("{}.cursor", sanitise::file_name(name)))
}

fn is_cursor(text: &str) -> bool {
    text.len() <= MAX_CURSOR_BYTES && text.starts_with("s=") && text.chars().all(|it| it.is_ascii_graphic())
}

/// How far the journal was read.
struct Cursor {
    path: PathBuf,
    /// Empty before the first entry.
    text: String,
    saved: String,
    /// Only a session that follows leaves the journal somewhere.
    is_kept: bool,
    saved_at: Option<Instant>,
}

impl Cursor {
    fn hear(&mut self, lines: &[u8]) {
        if let Some(cursor) = last_cursor(lines) {
            self.text = cursor.to_string();
        }
        if self.saved_at.is_none_or(|it| clock::monotonic().duration_since(it) >= SAVE_INTERVAL) {
            self.save();
        }
    }

    fn save(&mut self) {
        self.saved_at = Some(clock::monotonic());
        if !self.is_kept || self.text.is_empty() || self.text == self.saved {
            return;
        }
        match private_file::write(&self.path, self.text.as_bytes()) {
            Ok(()) => self.saved.clone_from(&self.text),
            Err(error) => tracing::warn!("could not keep where the journal was left: {error}"),
        }
    }
}

/// The cursor of the last entry in some whole lines.
fn last_cursor(lines: &[u8]) -> Option<&str> {
    lines.split(|it| *it == b'\n').rev().find_map(cursor_of)
}

fn cursor_of(line: &[u8]) -> Option<&str> {
    // The names of trusted fields are the journal's own, so no message has this key outside of a string.
    const KEY: &[u8] = b"\"__CURSOR\":\"";
    let at = memchr::memmem::find(line, KEY)? + KEY.len();
    let end = memchr::memchr(b'"', &line[at..])?;
    std::str::from_utf8(&line[at..at + end]).ok().filter(|it| is_cursor(it))
}

/// The time in a cursor: `t=` microseconds since the epoch, in hexadecimal.
fn time_of(cursor: &str) -> Option<Timestamp> {
    let micros = cursor.split(';').find_map(|it| it.strip_prefix("t="))?;
    Timestamp::from_microsecond(i64::from_str_radix(micros, 16).ok()?).ok()
}

impl JournalLog {
    fn call(&self, feed: &Feed, from: &[String]) -> Call {
        let mut argv: Vec<String> =
            [self.program.as_str(), "--output=json", "--all", "--no-pager", "--quiet"].map(|it| it.to_string()).into();
        argv.push(format!("--output-fields={FIELDS}"));
        if feed.follows() {
            argv.push("--follow".into());
        }
        argv.extend(self.matches.iter().cloned());
        argv.extend(from.iter().cloned());
        Call::new(argv)
    }

    fn attempt(
        &self,
        feed: &mut Feed,
        connection: &mut Connection,
        cursor: &mut Cursor,
        left_at: &mut Option<String>,
    ) -> Lost {
        let after = |cursor: &str| vec![format!("--after-cursor={cursor}"), "--no-tail".to_string()];
        if !cursor.text.is_empty() {
            return self.follow(feed, connection, cursor, &after(&cursor.text.clone()), None);
        }
        let first = match self.since.and_then(|it| jiff::SignedDuration::try_from(it).ok()) {
            Some(since) => vec![format!("--since=@{}", (clock::now() - since).as_second()), "--no-tail".into()],
            None => vec![format!("--lines={}", self.lines)],
        };
        let Some(left) = left_at.clone() else {
            return self.follow(feed, connection, cursor, &first, None);
        };
        // What was not seen by the last session is shown as well, however much that is.
        match self.follow(feed, connection, cursor, &first, time_of(&left)) {
            Lost { again: Again::AtOnce, .. } => {
                let lost = self.follow(feed, connection, cursor, &after(&left), None);
                // A journal that can not find its place would never be read.
                if cursor.text.is_empty() && lost.why.contains("cursor") {
                    *left_at = None;
                    let why = "the journal does not know where the last session left it".to_string();
                    feed.main().gap(GapKind::Failed(why));
                }
                lost
            }
            lost => lost,
        }
    }

    /// Follows the journal. Ends at once, with nothing taken, when its first entry is after `not_after`.
    fn follow(
        &self,
        feed: &mut Feed,
        connection: &mut Connection,
        cursor: &mut Cursor,
        from: &[String],
        not_after: Option<Timestamp>,
    ) -> Lost {
        let call = self.call(feed, from);
        let (mut lines, mut complaint) = (Lines::default(), Complaint::default());
        let mut starts_late = false;
        let mut is_first = true;
        let end = child::run(feed, &call, TICK, &mut |feed, heard| {
            match heard {
                Heard::Bytes(Pipe::Out, bytes) => lines.feed(bytes, &mut |whole: Whole<'_>| {
                    let first = whole.bytes.split(|it| *it == b'\n').next().unwrap_or_default();
                    if std::mem::take(&mut is_first)
                        && let (Some(limit), Some(at)) = (not_after, cursor_of(first).and_then(time_of))
                        && at > limit
                    {
                        starts_late = true;
                    }
                    if starts_late {
                        return;
                    }
                    connection.is_up(feed, true);
                    feed.main().append(whole.bytes);
                    if whole.cut_bytes > 0 {
                        feed.main().gap(GapKind::Cut { bytes: whole.cut_bytes });
                    }
                    cursor.hear(whole.bytes);
                }),
                Heard::Bytes(Pipe::Err, bytes) => complaint.hear(bytes),
                Heard::Quiet => {
                    connection.is_up(feed, true);
                    cursor.save();
                }
            }
            if starts_late { Next::Stop } else { Next::On }
        });
        let words = complaint.words();
        match end {
            Ok(End::Asked) => Lost::at_once(),
            Ok(End::Stopped) => Lost::ended(),
            Ok(End::Exited(status)) if status.success() && !feed.follows() => Lost::ended(),
            Ok(End::Exited(status)) => Lost::failed(child::ended_words("journalctl", status, &words)),
            Err(error) => Lost::failed(child::start_words(&self.program, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::log::SourceState;
    use crate::service::log::rig::{Rig, check_mistakes};

    /// As systemd 252 prints it with `--output-fields`; the cursor names the entry and its time.
    fn entry(number: i64) -> String {
        format!(
            "{{\"_SYSTEMD_UNIT\":\"nginx.service\",\"__CURSOR\":\"s=4ad8a2dd01c14f9eb3dd2f0b6a5c7c53;i={number:x};b=5b1b1c3a7d2e4c49a2b5c5a0d3f6a7b8;m=1f4;t={:x};x=9ad4a5b3c2d1e0f\",\"__REALTIME_TIMESTAMP\":\"{}\",\"PRIORITY\":\"6\",\"__MONOTONIC_TIMESTAMP\":\"500\",\"_BOOT_ID\":\"5b1b1c3a7d2e4c49a2b5c5a0d3f6a7b8\",\"MESSAGE\":\"line {number} says __CURSOR\"}}",
            time(number),
            time(number)
        )
    }

    fn time(number: i64) -> i64 {
        1_714_979_289_000_000 + number * 1_000_000
    }

    /// A stand-in that knows entries 1 to 40 and then waits, or ends with its `die`-th start.
    fn journal(rig: &Rig, lines: i64, die: &str) -> JournalLog {
        let all: String = (1..=40).map(|it| entry(it) + "\n").collect();
        fs::write(rig.path("journal"), all).unwrap();
        let script = format!(
            "echo \"$@\" >> calls; n=$(wc -l < calls); from=1\n\
             for it in \"$@\"; do case $it in\n\
             --lines=*) from=$((41 - ${{it#--lines=}}));;\n\
             --after-cursor=*) hex=${{it#*;i=}}; from=$((0x${{hex%%;*}} + 1));;\n\
             esac; done\n\
             case $n in {die}) tail -n +$from journal | head -n 7; echo 'Journal file is truncated' >&2; exit 1;; esac\n\
             tail -n +$from journal; exec sleep 600"
        );
        JournalLog {
            program: rig.script("journalctl", &script).remove(0),
            matches: vec!["--unit=nginx.service".into()],
            lines,
            since: None,
        }
    }

    fn numbers(rig: &Rig) -> Vec<i64> {
        let number =
            |line: String| line.split("line ").nth(1).and_then(|it| it.split(' ').next()?.parse().ok()).unwrap_or(-1);
        rig.lines("log").into_iter().map(number).collect()
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let check = |value: &str, expected: &[&str]| {
            check_mistakes(&format!("[[log]]\nname = \"a\"\njournald = {value}\n"), expected);
        };
        check("true", &[]);
        check("{ unit = [\"a.service\", \"b.service\"], priority = \"err\", user = true }", &[]);
        check("false", &["3:12 `journald = false` reads nothing"]);
        check("{ unit = \"\" }", &["3:21 an empty name"]);
        check("{ priority = \"bad\" }", &["3:25 unknown value `bad` for `log.journald.priority`"]);
        check(
            "{ since = 3, unti = 1 }",
            &[
                "3:22 `log.journald.since` must be a duration with its unit, not an integer",
                "3:25 unknown key `unti` in `log.journald`",
            ],
        );
    }

    #[test]
    fn a_journalctl_that_ends_is_resumed_after_the_last_entry() {
        let rig = Rig::new();
        rig.start(journal(&rig, 30, "1|2"));
        rig.wait_until(|rig| numbers(rig).last() == Some(&40));
        assert_eq!(numbers(&rig), (11..=40).collect::<Vec<_>>());
        assert_eq!(rig.gaps("log"), ["Reconnected { resumed: true }"; 2]);
        let why = "`journalctl` ended with 1: Journal file is truncated";
        assert!(
            rig.states("log").iter().any(|it| matches!(it, SourceState::Reconnecting { why: it, .. } if it == why))
        );
        let calls = fs::read_to_string(rig.path("calls")).unwrap();
        assert!(
            calls.lines().all(|it| it.contains("--output=json --all --no-pager --quiet --output-fields=MESSAGE,")),
            "{calls}"
        );
        assert!(calls.lines().all(|it| it.contains("--follow --unit=nginx.service")), "{calls}");
    }

    #[test]
    fn the_next_session_shows_the_newest_entries_and_whatever_the_last_one_did_not_see() {
        use std::os::unix::fs::PermissionsExt;
        let mut rig = Rig::new();
        rig.start(journal(&rig, 30, "none"));
        rig.wait_until(|rig| numbers(rig).last() == Some(&40));
        rig.stop();
        let path = rig.path("state/spool/log.cursor");
        assert!(fs::read_to_string(&path).unwrap().contains(";i=28;"), "40 is 28 in hexadecimal");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // Nothing happened in between: the newest entries.
        rig.start(journal(&rig, 5, "none"));
        rig.wait_until(|rig| numbers(rig).len() == 5);
        rig.stop();
        // It was left at 20: everything since then, although fewer are wanted.
        let left = entry(20);
        fs::write(&path, cursor_of(left.as_bytes()).unwrap()).unwrap();
        rig.start(journal(&rig, 5, "none"));
        rig.wait_until(|rig| numbers(rig).last() == Some(&40));
        assert_eq!(numbers(&rig), (21..=40).collect::<Vec<_>>());
    }

    #[test]
    fn where_the_last_session_left_is_kept_until_an_entry_has_come() {
        let rig = Rig::new();
        let path = rig.path("state/spool/log.cursor");
        private_file::write(&path, cursor_of(entry(20).as_bytes()).unwrap().as_bytes()).unwrap();
        let JournalLog { program, matches, lines, since } = journal(&rig, 5, "none");
        // Fails at first, and also when it is asked for what came since.
        let script = format!(
            "echo x >> starts; case $(wc -l < starts) in 1|3) echo 'Failed to open' >&2; exit 1;; esac; exec {program} \"$@\""
        );
        let program = rig.script("flaky", &script).remove(0);
        rig.start(JournalLog { program, matches, lines, since });
        rig.wait_until(|rig| numbers(rig).last() == Some(&40));
        assert_eq!(numbers(&rig), (21..=40).collect::<Vec<_>>());
    }

    #[test]
    fn a_place_that_the_journal_does_not_know_is_given_up_and_told() {
        let rig = Rig::new();
        let path = rig.path("state/spool/log.cursor");
        private_file::write(&path, cursor_of(entry(20).as_bytes()).unwrap().as_bytes()).unwrap();
        let JournalLog { program, matches, lines, since } = journal(&rig, 5, "none");
        let script = format!(
            "case $* in *--after-cursor*) echo 'Failed to seek to cursor: Invalid argument' >&2; exit 1;; esac; exec {program} \"$@\""
        );
        let program = rig.script("flaky", &script).remove(0);
        rig.start(JournalLog { program, matches, lines, since });
        rig.wait_until(|rig| numbers(rig).last() == Some(&40));
        assert_eq!(numbers(&rig), (36..=40).collect::<Vec<_>>());
        assert_eq!(rig.gaps("log"), ["Failed(\"the journal does not know where the last session left it\")"]);
    }

    #[test]
    fn cursors_are_found_and_garbage_is_none() {
        assert_eq!(last_cursor(format!("{}\n{}\nhalf", entry(1), entry(2)).as_bytes()), cursor_of(entry(2).as_bytes()));
        assert_eq!(time_of(cursor_of(entry(3).as_bytes()).unwrap()).unwrap().as_microsecond(), time(3));
        for garbage in ["", "{\"__CURSOR\":\"", "{\"__CURSOR\":\"--output=cat\"}", "{\"__CURSOR\":\"s=\u{1b}\"}"] {
            assert_eq!(cursor_of(garbage.as_bytes()), None, "{garbage}");
        }
    }
}
