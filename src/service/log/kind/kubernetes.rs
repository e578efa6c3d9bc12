//! `kubernetes` in the config: the containers of pods, found by selector, deployment or name.
//!
//! One `kubectl logs` follows all of them; each container becomes a source of its own, so that it has a
//! colour, can be muted, and its stack traces are not torn by those of its neighbours. The list of pods is
//! looked at again and again; when it changes, all logs are asked for again from a little before the last
//! line, and what was heard before is left out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::domain::log::{GapKind, SourceState};
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::log::child::{self, Call, Complaint, End, Heard, Lines, Next, Pipe, Whole};
use crate::service::log::dress::Dress;
use crate::service::log::producer::{Feed, MAX_OUTLETS, Producer};
use crate::service::log::retry::{Again, Connection, Lost, keep_up};
use crate::service::log::seam::{self, Seam};
use crate::service::log::spec::LogInputs;

/// Lines of each container that are wanted at first.
const DEFAULT_LINES: i64 = 200;
/// Most that may be wanted at first.
const MAX_LINES: i64 = 1_000_000;
/// The list of pods is looked at so often.
const LIST_INTERVAL: Duration = Duration::from_secs(10);
/// While there is no pod.
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// A cluster that is slow answers within this.
const ASK_DEADLINE: Duration = Duration::from_secs(15);
/// Longest list: a thousand pods.
const ASK_BYTES: usize = 1 << 20;
/// Logs followed at the same time by one `kubectl`.
const MAX_LOG_REQUESTS: &str = "100";
/// Lists in which a pod may be missing before its source is closed: ten minutes to read its last words.
const GONE_LISTS: u32 = 60;
/// So far before the newest line of all the logs are asked for again together, for containers that lag:
/// each of them sends all of that once more. One that was quiet for longer is asked alone.
const MAX_BACK: SignedDuration = SignedDuration::from_mins(10);
/// Containers that are asked alone when a connection returns: each is a call of its own before the logs go on.
const MAX_ASKED_ALONE: usize = 64;
/// All of those calls together may take so long; most take a tenth of a second.
const ALONE_DEADLINE: Duration = Duration::from_secs(30);
/// What such a container may say; it was quiet.
const ALONE_BYTES: usize = 1 << 20;
/// What of a pod tells that its logs have to be asked for again: its name, its containers, their restarts.
const POD_TEMPLATE: &str = "jsonpath={range .items[*]}{.metadata.name} {.status.phase} {range .status.containerStatuses[*]}{.name}:{.restartCount}:{.state.waiting.reason},{end}{\"\\n\"}{end}";

/// `kubernetes` in the config.
pub const KIND: Kind<LogInputs> = Kind {
    name: "kubernetes",
    summary: "the containers of pods by selector, deployment or pod name, over your own kubectl",
    example: "[[log]]\nname       = \"shop\"\nkubernetes = { namespace = \"prod\", selector = \"app=shop\", since = \"1h\" }\n",
    build,
};

/// Follows some pods.
#[derive(Debug)]
struct KubernetesLog {
    program: String,
    which: Which,
    namespace: Option<String>,
    context: Option<String>,
    container: Option<String>,
    lines: i64,
    since: Option<Duration>,
}

#[derive(Debug, PartialEq)]
enum Which {
    Selector(String),
    Pod(String),
    /// `deployment/shop`, or another that has a selector.
    Owner(String),
}

fn build(value: &Node<'_>) -> Option<Box<LogInputs>> {
    if !value.expect_table() {
        return None;
    }
    let text = |key: &str| value.get(key).map(|it| word(&it));
    let kinds: Vec<(&str, Option<String>)> =
        ["selector", "pod", "deployment"].into_iter().filter_map(|key| Some((key, text(key)?))).collect();
    let (namespace, context, container) = (text("namespace"), text("context"), text("container"));
    let lines = value.get("lines").map(|it| it.integer(0..MAX_LINES + 1));
    let since = value.get("since").map(|it| it.duration());
    value.finish(&[]);
    if kinds.len() != 1 {
        let message = match kinds.as_slice() {
            [] => "`kubernetes` names no pods".to_string(),
            [first, second, ..] => format!("`kubernetes` has one of `{}` and `{}`, not both", first.0, second.0),
            [_] => String::new(),
        };
        value.error_with_hint(message, "write one of `selector = \"app=x\"`, `deployment = \"x\"`, `pod = \"x\"`");
        return None;
    }
    let optional = |it: Option<Option<String>>| it.map_or(Some(None), |it| it.map(Some));
    let (key, name) = kinds.into_iter().next()?;
    let name = name?;
    Some(LogInputs::producer(KubernetesLog {
        program: "kubectl".into(),
        which: match key {
            "selector" => Which::Selector(name),
            "pod" => Which::Pod(name),
            _ => Which::Owner(format!("deployment/{name}")),
        },
        namespace: optional(namespace)?,
        context: optional(context)?,
        container: optional(container)?,
        lines: lines.unwrap_or(Some(DEFAULT_LINES))?,
        since: since.map_or(Some(None), |it| it.map(Some))?,
    }))
}

/// A word for a command line that can not be taken for an option.
fn word(node: &Node<'_>) -> Option<String> {
    let text = node.string()?;
    if text.is_empty() || text.starts_with('-') || text.chars().any(|it| it.is_control()) {
        node.error_with_hint(
            format!("`{}` is no name in a cluster", sanitise::text(&text)),
            "write it as `kubectl` shows it",
        );
        return None;
    }
    Some(text)
}

impl Producer for KubernetesLog {
    fn origin(&self) -> String {
        let what = match &self.which {
            Which::Selector(it) => format!("pods with {it}"),
            Which::Pod(it) => format!("pod {it}"),
            Which::Owner(it) => it.clone(),
        };
        let place: Vec<&str> = [&self.context, &self.namespace].into_iter().flatten().map(String::as_str).collect();
        if place.is_empty() { what } else { format!("{what} in {}", place.join("/")) }
    }

    fn program(&self) -> &str {
        &self.program
    }

    fn run(&self, feed: &mut Feed) {
        let mut pods = Pods::default();
        keep_up(feed, |feed, connection| self.attempt(feed, connection, &mut pods));
    }
}

/// What is known over all connections.
#[derive(Default)]
struct Pods {
    /// As listed when the logs were asked for.
    listed: String,
    selector: Option<String>,
    containers: HashMap<String, Container>,
    newest: Option<Timestamp>,
}

/// One container of a pod.
struct Container {
    seam: Seam,
    dress: Dress,
    /// Time of its last line of this connection.
    at: Option<Timestamp>,
    /// Of its source.
    suffix: String,
    pod: String,
    /// New lines of the piece at hand.
    pending: Vec<u8>,
    gone_lists: u32,
}

impl KubernetesLog {
    fn call(&self, words: &[&str]) -> Call {
        let mut argv = vec![self.program.clone()];
        for (option, value) in [("--context", &self.context), ("--namespace", &self.namespace)] {
            if let Some(value) = value {
                argv.extend([option.to_string(), value.clone()]);
            }
        }
        argv.extend(words.iter().map(ToString::to_string));
        Call::new(argv)
    }

    fn attempt(&self, feed: &mut Feed, connection: &mut Connection, pods: &mut Pods) -> Lost {
        let listed = match self.list(feed, pods) {
            Ok(listed) => listed,
            Err(why) => return Lost::failed(why),
        };
        if listed.trim().is_empty() {
            feed.main().tail(Some(GapKind::Missing));
            feed.main().state(SourceState::Waiting("no such pod yet".into()));
            return Lost { why: String::new(), again: Again::After(LOOK_AGAIN) };
        }
        pods.listed = listed;
        let (mut since, quiet) = pods.since();
        pods.take_up();
        // The list has changed: nothing was lost, the calls for the logs only begin anew.
        let is_whole = connection.knows_up() || self.ask_quiet(feed, pods, &quiet);
        if !is_whole {
            since = since.min(pods.newest.map(|it| it - MAX_BACK - seam::MARGIN));
        }
        connection.is_up(feed, is_whole);
        feed.main().tail(None);
        feed.main().state(SourceState::Connected);
        pods.flush(feed);
        pods.take_up();
        let call = self.call_logs(feed, pods, since);
        let (mut out, mut complaint) = (Lines::default(), Complaint::default());
        let mut listed_at = clock::monotonic();
        let mut changed = false;
        let mut said = None;
        let end = child::run(feed, &call, LIST_INTERVAL, &mut |feed, heard| {
            match heard {
                Heard::Bytes(Pipe::Out, bytes) => {
                    out.feed(bytes, &mut |whole| said = pods.take(feed, &whole).or(said.take()));
                }
                Heard::Bytes(Pipe::Err, bytes) => complaint.hear(bytes),
                Heard::Quiet => {}
            }
            if said.is_some() {
                return Next::Stop;
            }
            changed = self.list_again(feed, pods, &mut listed_at);
            if changed { Next::Stop } else { Next::On }
        });
        // Half a line of a lost connection comes again with the next one.
        if matches!(&end, Ok(End::Exited(status)) if status.success()) || !feed.follows() {
            out.finish(&mut |whole| said = pods.take(feed, &whole).or(said.take()));
        }
        let words = complaint.words();
        match end {
            Ok(End::Asked) if changed => Lost::at_once(),
            Ok(End::Asked) => Lost::failed(said.unwrap_or_default()),
            // All containers have ended; new ones may come.
            Ok(End::Exited(status)) if status.success() => {
                Lost { why: String::new(), again: Again::After(LIST_INTERVAL) }
            }
            Ok(End::Exited(status)) => Lost::failed(child::ended_words("kubectl", status, &words)),
            Ok(End::Stopped) => Lost::ended(),
            Err(error) => Lost::failed(child::start_words(&self.program, &error)),
        }
    }

    fn call_logs(&self, feed: &Feed, pods: &Pods, again_since: Option<Timestamp>) -> Call {
        let mut words: Vec<String> = ["logs", "--prefix", "--timestamps", "--ignore-errors"].map(String::from).into();
        words.extend(["--max-log-requests".into(), MAX_LOG_REQUESTS.into()]);
        if feed.follows() {
            words.push("--follow".into());
        }
        match &self.container {
            Some(container) => words.extend(["--container".into(), container.clone()]),
            None => words.push("--all-containers".into()),
        }
        let first = self.since.and_then(|it| SignedDuration::try_from(it).ok()).map(|it| clock::now() - it);
        match again_since.or(first) {
            Some(since) => words.extend(["--since-time".into(), since.to_string(), "--tail".into(), "-1".into()]),
            None => words.extend(["--tail".into(), self.lines.to_string()]),
        }
        match (&self.which, &pods.selector) {
            (Which::Selector(selector), _) | (_, Some(selector)) => {
                words.extend(["--selector".into(), selector.clone()]);
            }
            (Which::Pod(name) | Which::Owner(name), None) => words.push(name.clone()),
        }
        self.call(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Asks containers that were quiet for long for what they said since their last line; it waits to be handed on.
    /// False when that is not known of all of them.
    fn ask_quiet(&self, feed: &mut Feed, pods: &mut Pods, quiet: &[Quiet]) -> bool {
        let until = clock::monotonic() + ALONE_DEADLINE;
        let mut is_whole = quiet.len() <= MAX_ASKED_ALONE;
        for it in quiet.iter().take(MAX_ASKED_ALONE) {
            let left = until.saturating_duration_since(clock::monotonic()).min(ASK_DEADLINE);
            let Some((pod, container)) = it.prefix.split_once('/') else { continue };
            if left.is_zero() || feed.is_stopped() {
                return false;
            }
            let since = (it.last - seam::MARGIN).to_string();
            let call = self.call(&[
                "logs",
                "--prefix",
                "--timestamps",
                "--since-time",
                &since,
                "--tail",
                "-1",
                "--container",
                container,
                pod,
            ]);
            match child::ask(feed, &call, left, ALONE_BYTES) {
                Ok(lines) => is_whole &= hear(pods, &lines).is_none(),
                Err(_) => is_whole = false,
            }
        }
        is_whole
    }

    /// The pods as they are now, one a line.
    fn list(&self, feed: &mut Feed, pods: &mut Pods) -> Result<String, String> {
        if let (Which::Owner(owner), None) = (&self.which, &pods.selector) {
            let call = self.call(&["get", owner, "--output", "jsonpath={.spec.selector.matchLabels}"]);
            let answer = child::ask(feed, &call, ASK_DEADLINE, ASK_BYTES)?;
            let labels: HashMap<String, String> = serde_json::from_slice(&answer)
                .map_err(|_| format!("`{owner}` does not say which pods are its own"))?;
            let mut terms: Vec<String> = labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
            terms.sort_unstable();
            pods.selector = Some(terms.join(","));
        }
        let name;
        let which: [&str; 2] = match (&self.which, &pods.selector) {
            (Which::Selector(selector), _) | (_, Some(selector)) => ["--selector", selector],
            (Which::Pod(pod) | Which::Owner(pod), None) => {
                name = format!("metadata.name={pod}");
                ["--field-selector", &name]
            }
        };
        let call = self.call(&["get", "pods", which[0], which[1], "--output", POD_TEMPLATE]);
        let answer = child::ask(feed, &call, ASK_DEADLINE, ASK_BYTES)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Looks whether the pods have changed, when that is due.
    fn list_again(&self, feed: &mut Feed, pods: &mut Pods, listed_at: &mut Instant) -> bool {
        if clock::monotonic().duration_since(*listed_at) < LIST_INTERVAL {
            return false;
        }
        // A list that can not be had says nothing about the logs, which still come.
        let listed = self.list(feed, pods);
        *listed_at = clock::monotonic();
        listed.is_ok_and(|listed| {
            pods.close_gone(feed, &listed);
            listed != pods.listed
        })
    }
}

/// Takes lines of `[pod/name/container] time message`; gives back what `kubectl` itself says of trouble.
fn hear(pods: &mut Pods, lines: &[u8]) -> Option<String> {
    let mut said = None;
    for line in lines.split(|it| *it == b'\n').filter(|it| !it.is_empty()) {
        let Some((prefix, rest)) = split_prefix(line) else {
            let words = sanitise::text(&String::from_utf8_lossy(&line[..line.len().min(300)]));
            // A container that is about to start is found with the next list.
            let is_starting = ["waiting to start", "ContainerCreating", "PodInitializing", "not found"];
            if words.starts_with("error: ") && !is_starting.iter().any(|it| words.contains(it)) {
                said = Some(words);
            }
            continue;
        };
        let Some((at, time, message)) = seam::split(rest) else {
            let container = pods.container(prefix);
            if container.seam.is_new_untimed(container.at, rest) {
                container.pending.extend_from_slice(rest);
                container.pending.push(b'\n');
            }
            continue;
        };
        let container = pods.container(prefix);
        container.at = Some(at);
        if !container.seam.is_new(at, message) {
            continue;
        }
        container.dress.put(at, time, message, &mut container.pending);
        pods.newest = Some(pods.newest.map_or(at, |it| it.max(at)));
    }
    said
}

/// `[pod/name/container] rest`.
fn split_prefix(line: &[u8]) -> Option<(&str, &[u8])> {
    // The longest names of a pod and a container are 253 and 63 bytes.
    let end = memchr::memmem::find(&line[..line.len().min(400)], b"] ")?;
    let prefix = std::str::from_utf8(line[..end].strip_prefix(b"[pod/")?).ok()?;
    prefix.contains('/').then_some((prefix, &line[end + 2..]))
}

/// A container that runs and whose last line is older than [`MAX_BACK`] before the newest of all.
#[derive(Debug, PartialEq)]
struct Quiet {
    /// `pod/container`.
    prefix: String,
    last: Timestamp,
}

impl Pods {
    /// From when on the logs are asked for again: a little before the last line of the container that is
    /// furthest behind, [`MAX_BACK`] at most. And those that have to be asked alone, being further behind.
    fn since(&self) -> (Option<Timestamp>, Vec<Quiet>) {
        let Some(newest) = self.newest else { return (None, Vec::new()) };
        let (mut oldest, mut quiet) = (newest, Vec::new());
        for (prefix, container) in &self.containers {
            let of_pod = |it: &&str| it.split(' ').next() == Some(&container.pod);
            let (Some(listed), Some(last)) = (self.listed.lines().find(of_pod), container.seam.newest()) else {
                continue;
            };
            if newest.duration_since(last) <= MAX_BACK {
                oldest = oldest.min(last);
            } else if listed.split(' ').nth(1) == Some("Running") {
                quiet.push(Quiet { prefix: prefix.clone(), last });
            }
        }
        quiet.sort_unstable_by(|a, b| b.last.cmp(&a.last).then_with(|| a.prefix.cmp(&b.prefix)));
        (Some(oldest - seam::MARGIN), quiet)
    }

    /// What was heard before comes once more.
    fn take_up(&mut self) {
        for container in self.containers.values_mut() {
            container.seam.take_up();
            container.at = None;
        }
    }

    /// Takes whole lines; gives back what `kubectl` says of trouble.
    fn take(&mut self, feed: &mut Feed, whole: &Whole<'_>) -> Option<String> {
        let said = hear(self, whole.bytes);
        self.flush(feed);
        if whole.cut_bytes > 0 {
            feed.main().gap(GapKind::Cut { bytes: whole.cut_bytes });
        }
        said
    }

    fn container(&mut self, prefix: &str) -> &mut Container {
        let suffix = match self.containers.get(prefix) {
            Some(known) => known.suffix.clone(),
            None => self.suffix(prefix),
        };
        self.containers.entry(prefix.to_string()).or_insert_with(|| Container {
            seam: Seam::default(),
            dress: Dress::default(),
            at: None,
            suffix,
            pod: prefix.split('/').next().unwrap_or(prefix).to_string(),
            pending: Vec::new(),
            gone_lists: 0,
        })
    }

    /// A short name for the source of a container.
    fn suffix(&self, prefix: &str) -> String {
        let (pod, name) = prefix.split_once('/').unwrap_or((prefix, ""));
        // The end of a pod's name tells it from the others; all of it when that is not enough.
        let short = pod.rsplit('-').next().unwrap_or(pod);
        let is_single = !self.containers.values().any(|it| it.pod == pod);
        let choices = [short.to_string(), format!("{short}-{name}"), format!("{pod}-{name}")];
        let is_free = |it: &&String| !self.containers.values().any(|other| other.suffix == **it);
        choices[usize::from(!is_single)..].iter().find(is_free).unwrap_or(&choices[2]).clone()
    }

    /// Hands new lines on to the sources.
    fn flush(&mut self, feed: &mut Feed) {
        for (prefix, container) in self.containers.iter_mut().filter(|(_, it)| !it.pending.is_empty()) {
            feed.outlet(&container.suffix, &format!("pod {prefix}")).append(&container.pending);
            container.pending.clear();
        }
    }

    /// Says of pods that are gone that they are, and closes their sources after a while.
    fn close_gone(&mut self, feed: &mut Feed, listed: &str) {
        let is_there = |pod: &str| listed.lines().any(|it| it.split(' ').next() == Some(pod));
        let room = self.containers.len() < MAX_OUTLETS;
        self.containers.retain(|prefix, container| {
            if is_there(&container.pod) {
                container.gone_lists = 0;
                return true;
            }
            container.gone_lists += 1;
            if container.gone_lists == 1 {
                let outlet = feed.outlet(&container.suffix, prefix);
                outlet.tail(Some(GapKind::Ended));
                outlet.state(SourceState::Ended);
            }
            let stays = container.gone_lists < GONE_LISTS && room;
            if !stays {
                feed.close(&container.suffix);
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::log::rig::{Rig, check_mistakes};

    fn log(program: String, which: Which) -> KubernetesLog {
        KubernetesLog {
            program,
            which,
            namespace: Some("prod".into()),
            context: None,
            container: None,
            lines: 200,
            since: None,
        }
    }

    /// What `kubectl logs --prefix --timestamps` prints.
    fn line(pod: &str, number: i64) -> String {
        let at = Timestamp::from_millisecond(1_714_979_289_000 + number / 4 * 50).unwrap();
        format!("[pod/shop-7d9f8b6c5d-{pod}/app] {at:.9} line {number}\n")
    }

    fn numbers(rig: &Rig, source: &str) -> Vec<i64> {
        rig.lines(source).iter().filter_map(|it| it.rsplit(' ').next()?.parse().ok()).collect()
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let check = |value: &str, expected: &[&str]| {
            check_mistakes(&format!("[[log]]\nname = \"a\"\nkubernetes = {value}\n"), expected);
        };
        check("{ pod = \"x\", container = \"c\", context = \"y\" }", &[]);
        check("\"x\"", &["3:14 `log.kubernetes` must be a table, not a string"]);
        check("{ namespace = \"x\" }", &["3:14 `kubernetes` names no pods"]);
        check("{ pod = \"x\", selector = \"a=b\" }", &["3:14 `kubernetes` has one of `selector` and `pod`, not both"]);
        check("{ selector = \"--all\" }", &["3:27 `--all` is no name in a cluster"]);
        check(
            "{ deployment = \"x\", lines = \"1\" }",
            &["3:42 `log.kubernetes.lines` must be an integer, not a string"],
        );
    }

    #[test]
    fn every_container_is_a_source_and_a_lost_connection_loses_and_repeats_nothing() {
        let rig = Rig::new();
        // Two pods, interleaved; the second one's lines run late over the first connection.
        let (mut first, mut all) = (String::new(), String::new());
        for number in 0..200 {
            all.push_str(&line("aaaaa", number));
            all.push_str(&line("bbbbb", number));
            if number < 120 {
                first.push_str(&line("aaaaa", number));
            }
            if number < 90 {
                first.push_str(&line("bbbbb", number));
            }
        }
        std::fs::write(rig.path("first"), first).unwrap();
        std::fs::write(rig.path("all"), all).unwrap();
        let script = "case $* in *' get '*) echo 'shop-7d9f8b6c5d-aaaaa Running app:0:,'; exit 0;; esac\n\
             echo \"$@\" >> calls; n=$(wc -l < calls)\n\
             case $n in 1) cat first; echo 'error: unexpected EOF'; exec sleep 600;; 2) cat all; exec sleep 600;; esac";
        let program = rig.script("kubectl", script).remove(0);
        rig.start(log(program, Which::Selector("app=shop".into())));
        let whole: Vec<i64> = (0..200).collect();
        rig.wait_until(|rig| numbers(rig, "log:aaaaa").len() >= 200 && numbers(rig, "log:bbbbb").len() >= 200);
        assert_eq!(numbers(&rig, "log:aaaaa"), whole);
        assert_eq!(numbers(&rig, "log:bbbbb"), whole);
        assert_eq!(rig.gaps("log:bbbbb"), ["Reconnected { resumed: true }"]);
        assert!(rig.lines("log:aaaaa")[0].starts_with("2024-05-06T07:08:09.000000000Z line 0"));
        let calls = std::fs::read_to_string(rig.path("calls")).unwrap();
        let logs = "--namespace prod logs --prefix --timestamps --ignore-errors --max-log-requests 100 --follow --all-containers";
        assert_eq!(calls.lines().next(), Some(format!("{logs} --tail 200 --selector app=shop").as_str()));
        assert!(
            calls.lines().nth(1).unwrap().starts_with(&format!("{logs} --since-time 2024-05-06T07:07:")),
            "{calls}"
        );
    }

    #[test]
    fn a_pod_that_lags_loses_nothing_when_the_connection_returns() {
        let rig = Rig::new();
        // A line a second. The tail begins at 5; one pod is heard up to 120 and the other up to 20.
        let line = |pod: &str, number: i64| {
            let at = Timestamp::from_second(1_714_979_289 + number).unwrap();
            format!("[pod/shop-{pod}/app] {at:.9} line {number}\n")
        };
        let first = (5..=120).map(|it| line("a", it)).chain((5..=20).map(|it| line("b", it))).collect::<String>();
        let all = (0..=130).map(|it| line("a", it) + &line("b", it)).collect::<String>();
        std::fs::write(rig.path("first"), first).unwrap();
        std::fs::write(rig.path("all"), all).unwrap();
        let script = "case $* in *' get '*) printf 'shop-a Running app:0:,\\nshop-b Running app:0:,\\n'; exit 0;; esac\n\
             echo x >> calls; [ $(wc -l < calls) = 1 ] && { cat first; echo 'error: unexpected EOF'; exec sleep 600; }\n\
             while [ $# -gt 0 ]; do [ \"$1\" = --since-time ] && since=$2; shift; done\n\
             awk -v since=\"$since\" 'substr($2, 1, 19) >= substr(since, 1, 19)' all; exec sleep 600";
        let program = rig.script("kubectl", script).remove(0);
        rig.start(log(program, Which::Selector("app=shop".into())));
        let is_whole = |rig: &Rig, source: &str| numbers(rig, source).last() == Some(&130);
        rig.wait_until(|rig| is_whole(rig, "log:a") && is_whole(rig, "log:b"));
        let wanted: Vec<i64> = (5..=130).collect();
        assert_eq!(numbers(&rig, "log:a"), wanted);
        assert_eq!(numbers(&rig, "log:b"), wanted);
    }

    /// One pod writes a line a minute; its sidecar said something first, and again while nobody listened.
    fn check_quiet_sidecar(alone: &str, expected: &[&str], gaps: &[&str]) -> String {
        let rig = Rig::new();
        let at = |minute: i64| Timestamp::from_second(1_714_979_289 + minute * 60).unwrap();
        let app = |minute: i64| format!("[pod/shop-a/app] {:.9} line {minute}\n", at(minute));
        let side = |minute: i64| format!("[pod/shop-a/side] {:.9} line {minute}\n", at(minute));
        let first = app(0) + &side(0) + &(1..=60).map(app).collect::<String>();
        std::fs::write(rig.path("first"), first).unwrap();
        std::fs::write(rig.path("all"), (55..=70).map(app).collect::<String>() + &side(65)).unwrap();
        std::fs::write(rig.path("side"), side(0) + &side(20) + &side(65)).unwrap();
        let script = format!(
            "case $* in *' get '*) echo 'shop-a Running app:0:,side:0:,'; exit 0;; esac\n\
             echo \"$@\" >> calls; case $* in *' --container side '*) {alone};; esac\n\
             [ $(grep -c all-containers calls) = 1 ] && {{ cat first; echo 'error: unexpected EOF'; exec sleep 600; }}\n\
             cat all; exec sleep 600"
        );
        let program = rig.script("kubectl", &script).remove(0);
        rig.start(log(program, Which::Selector("app=shop".into())));
        rig.wait_until(|rig| numbers(rig, "log:a").last() == Some(&70));
        rig.wait_until(|rig| numbers(rig, "log:a-side").last() == Some(&65));
        let lines = rig.lines("log:a-side");
        assert_eq!(lines.iter().map(|it| &it[it.len() - 2..]).collect::<Vec<_>>(), expected);
        assert_eq!(numbers(&rig, "log:a"), (0..=70).collect::<Vec<_>>());
        assert_eq!(rig.gaps("log:a-side"), gaps);
        std::fs::read_to_string(rig.path("calls")).unwrap()
    }

    #[test]
    fn a_quiet_sidecar_is_asked_alone_from_its_last_line_on() {
        let calls = check_quiet_sidecar("cat side; exit 0", &[" 0", "20", "65"], &["Reconnected { resumed: true }"]);
        let alone: Vec<&str> = calls.lines().filter(|it| it.contains("--container")).collect();
        let since = "--since-time 2024-05-06T07:07:39Z --tail -1";
        assert_eq!(alone, [format!("--namespace prod logs --prefix --timestamps {since} --container side shop-a")]);
        // The others send no more again than they have to.
        assert!(calls.lines().last().unwrap().contains("--since-time 2024-05-06T08:07:39Z"), "{calls}");
    }

    #[test]
    fn a_quiet_sidecar_that_can_not_be_asked_is_told() {
        let calls = check_quiet_sidecar(
            "echo 'no such container' >&2; exit 1",
            &[" 0", "65"],
            &["Reconnected { resumed: false }"],
        );
        assert!(calls.lines().last().unwrap().contains("--since-time 2024-05-06T07:57:39Z"), "{calls}");
    }

    #[test]
    fn a_running_pod_that_is_too_far_behind_is_asked_alone_and_one_that_is_gone_holds_nothing_up() {
        let check = |listed: &str, since: &str, quiet: &[&str]| {
            let mut pods = Pods { listed: listed.into(), ..Pods::default() };
            for (pod, time) in [("a", "07:00:00"), ("b", "07:55:00"), ("c", "08:00:00")] {
                hear(&mut pods, format!("[pod/{pod}/app] 2024-05-06T{time}Z x\n").as_bytes());
            }
            let since = format!("2024-05-06T{since}Z").parse().ok();
            let found = pods.since();
            let names: Vec<&str> = found.1.iter().map(|it| it.prefix.as_str()).collect();
            assert_eq!((found.0, names.as_slice()), (since, quiet), "{listed}");
        };
        check("c Running\n", "07:59:30", &[]);
        check("b Running\nc Running\n", "07:54:30", &[]);
        check("a Succeeded\nb Running\nc Running\n", "07:54:30", &[]);
        check("a Running\nc Running\n", "07:59:30", &["a/app"]);
        assert_eq!(Pods::default().since(), (None, Vec::new()));
    }

    #[test]
    fn the_last_line_needs_no_end_and_lines_without_a_time_are_kept_once() {
        let rig = Rig::new();
        let script = "case $* in *' get '*) echo 'shop-a Running app:0:,'; exit 0;; esac\n\
             echo x >> calls; echo '[pod/shop-a/app] 2024-05-06T07:08:09Z first'; echo '[pod/shop-a/app] no time'\n\
             [ $(wc -l < calls) -lt 3 ] && { printf '[pod/shop-a/app] 2024-05-06T07:08:10Z panic: boom'; exit 0; }\n\
             echo '[pod/shop-a/app] 2024-05-06T07:09:09Z again'; exec sleep 600";
        let program = rig.script("kubectl", script).remove(0);
        rig.start(log(program, Which::Selector("app=shop".into())));
        rig.wait_until(|rig| rig.lines("log:a").iter().any(|it| it.ends_with("again")));
        assert_eq!(
            rig.lines("log:a"),
            ["2024-05-06T07:08:09Z first", "no time", "2024-05-06T07:08:10Z panic: boom", "2024-05-06T07:09:09Z again"]
        );
    }

    #[test]
    fn pods_are_waited_for_and_the_selector_of_a_deployment_is_asked_for() {
        let rig = Rig::new();
        let script = "echo \"$@\" >> calls\n\
             case $* in\n\
             *' get deployment/shop '*) printf '{\"app\":\"shop\",\"tier\":\"web\"}'; exit 0;;\n\
             *' get pods '*) [ $(grep -c ' get pods ' calls) -gt 1 ] && echo 'shop-1 Running app:0:,'; exit 0;;\n\
             esac; printf '[pod/shop-1/app] 2024-05-06T07:08:09Z hello\\n[pod/shop-1/side] 2024-05-06T07:08:09Z beside\\n'; exec sleep 600";
        let program = rig.script("kubectl", script).remove(0);
        rig.start(log(program, Which::Owner("deployment/shop".into())));
        rig.wait_until(|rig| {
            rig.lines("log:1-side") == ["2024-05-06T07:08:09Z beside"]
                && rig.lines("log:1") == ["2024-05-06T07:08:09Z hello"]
        });
        assert!(rig.states("log").contains(&SourceState::Waiting("no such pod yet".into())));
        let calls = std::fs::read_to_string(rig.path("calls")).unwrap();
        assert!(calls.lines().last().unwrap().ends_with("--tail 200 --selector app=shop,tier=web"), "{calls}");
    }

    #[test]
    fn trouble_of_kubectl_is_told_in_its_own_words() {
        let rig = Rig::new();
        let why = "The connection to the server localhost:8080 was refused - did you specify the right host or port?";
        let program = rig.script("kubectl", &format!("echo '{why}' >&2; exit 1")).remove(0);
        rig.start(log(program, Which::Pod("shop".into())));
        let told = format!("`kubectl` ended with 1: {why}");
        rig.wait_for_state("log", |it| matches!(it, SourceState::Reconnecting { why, .. } if *why == told));
    }

    #[test]
    fn garbage_between_the_lines_does_no_harm() {
        let mut pods = Pods::default();
        for garbage in
            ["[pod/", "[pod/x] ", "[pod/x/y] no time", "\u{1b}[31m", "] ", "[pod/\u{fffd}/x] 2024-05-06T07:08:09Z y"]
        {
            assert_eq!(hear(&mut pods, garbage.as_bytes()), None, "{garbage}");
        }
        assert_eq!(
            hear(&mut pods, b"error: container \"a\" in pod \"b\" is waiting to start: ContainerCreating\n"),
            None
        );
        assert_eq!(hear(&mut pods, b"error: unexpected EOF\n"), Some("error: unexpected EOF".into()));
    }
}
