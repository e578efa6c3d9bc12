//! The outbox against a stand-in for a channel, with the process killed at every step: no page is lost, and one
//! is repeated only when nobody could know whether it arrived, with the same key. Also on a full disk, and with
//! two processes on one state directory.

mod full_disk;

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use hotseat::config;
use hotseat::domain::alert::delivery::DeliveryState;
use hotseat::domain::fact::{Fact, RuntimeFact};
use hotseat::domain::ids::{HostId, ProbeId};
use hotseat::domain::request::Inbound;
use hotseat::registry::node::Commands;
use hotseat::runtime::{Runtime, RuntimeSetup};
use hotseat::service::notify::outbox::fault::Step;
use hotseat::store;
use hotseat::store::outbox::is_open;
use hotseat::store::reader::{Reader, Trace};
use jiff::Timestamp;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::support::web::{Said, Web};

/// How long a test waits before it says that nothing comes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Names the directory of the child that is to be a runtime.
const CHILD: &str = "HOTSEAT_TEST_RUNTIME";

/// Not a test: what the other tests here start as a process of its own, to be killed. It says on its standard
/// output what its board hears of the store and of who holds the state directory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_killed() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let loaded = config::load(Some(&dir.join("config.toml")), Commands::Run);
    assert!(loaded.errors.is_empty(), "{:?}", loaded.errors);
    let setup = RuntimeSetup {
        host: HostId::new("h"),
        user: "alice".into(),
        state_dir: dir.join("state"),
        loaded,
        reader: None,
    };
    // A write past the limit of a file's size is to fail, not to end the process.
    let _handled = signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).expect("a handler");
    let runtime = Runtime::start(setup);
    let mut link = runtime.attach(hotseat::domain::presence::Visitor::inside("alice"));
    while let Some(inbound) = link.facts_rx.recv().await {
        let line = match inbound {
            Inbound::Snapshot(board) if board.standby.is_some() => "standby",
            Inbound::Snapshot(board) if board.not_durable.is_some() => "not durable",
            Inbound::Fact(envelope) => match &envelope.fact {
                Fact::Runtime(RuntimeFact::NotDurable { why: Some(_) }) => "not durable",
                Fact::Runtime(RuntimeFact::NotDurable { why: None }) => "durable",
                Fact::Runtime(RuntimeFact::Standby { .. }) => "standby",
                Fact::Runtime(RuntimeFact::Active) => "active",
                _ => continue,
            },
            _ => continue,
        };
        // Most tests do not listen.
        let _ = writeln!(std::io::stdout(), "\nhotseat: {line}");
    }
}

/// The process; killed when dropped.
struct Prey(Child);

impl Prey {
    fn start(dir: &Path, fault: Option<Step>) -> Self {
        let mut command = Self::command(dir);
        command.stdout(Stdio::null());
        if let Some(step) = fault {
            command.env("HOTSEAT_FAULT", format!("outbox:{}", step.word()));
        }
        Self(command.spawn().expect("started"))
    }

    /// Starts it and hands on what it says.
    fn overheard(dir: &Path) -> (Self, Receiver<String>) {
        let mut child = Self::command(dir).stdout(Stdio::piped()).spawn().expect("started");
        let (said_tx, said_rx) = channel();
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(said) = line.strip_prefix("hotseat: ")
                    && said_tx.send(said.to_string()).is_err()
                {
                    return;
                }
            }
        });
        (Self(child), said_rx)
    }

    fn command(dir: &Path) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "--nocapture", "outbox::the_process_that_is_killed"]).env(CHILD, dir);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Lets its files grow to `bytes` and no further; `None` is without a limit.
    fn limit_files(&self, bytes: Option<u64>) {
        let pid = Pid::from_raw(self.0.id().try_into().expect("a pid")).expect("a pid");
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(pid), Resource::Fsize, limit).expect("limited");
    }

    fn dies(&mut self) {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.0.try_wait().expect("a child") {
                assert_eq!(status.signal(), Some(9), "it died of the fault");
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not die");
    }
}

impl Drop for Prey {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory with a config: probes of a port that nobody listens on, and a channel.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new(web: &Web, probes: usize) -> Self {
        let hook = format!("webhook = '{}'\nwait = '0s'\ntimeout = '20s'", web.url());
        // Nobody listens on port 1 of this address, and nobody can be made to.
        Self::with(&hook, probes, "tcp = '127.0.0.1:1'")
    }

    fn with(notifier: &str, probes: usize, kind: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut text = format!("[alerts]\ncommon = false\n[[notifier]]\nname = 'hook'\n{notifier}\n");
        for probe in 0..probes {
            text += &format!(
                "[[probe]]\nname = 'p{probe}'\n{kind}\ninterval = '1s'\nretry = '1s'\nfail = '1/1'\nnotify = ['hook']\n"
            );
        }
        // The address of a webhook is a secret, and the config holds it.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.path().join("config.toml"));
        file.as_mut().expect("made").write_all(text.as_bytes()).expect("written");
        Self { dir }
    }

    fn trace(&self, probe: usize) -> Trace {
        let range = Timestamp::UNIX_EPOCH..Timestamp::MAX;
        let id = ProbeId::new(&HostId::new("h"), &format!("p{probe}"));
        // While it is being made or written there may be nothing to read for a moment.
        Reader::new(&self.dir.path().join("state"), None).trace(&id, range).unwrap_or_default()
    }

    /// Deliveries that are on their way as far as the alert policy has written down.
    fn unsettled(&self) -> Vec<String> {
        let path = self.dir.path().join("state").join(store::database::FILE_NAME);
        let file = rusqlite::Connection::open(path).expect("the store");
        let rows = store::alerts::read(&file).expect("rows");
        rows.into_iter().map(|(key, _)| key).filter(|it| it.starts_with("out/")).collect()
    }

    /// Waits until everything was delivered and the probe has run so often since.
    fn settled(&self, runs: usize) -> Trace {
        let mut since = None;
        until(|| {
            let trace = self.trace(0);
            let is_done = !trace.deliveries.is_empty() && trace.deliveries.iter().all(|(it, _)| !is_open(&it.state));
            if !is_done {
                return None;
            }
            let since = *since.get_or_insert(trace.outcomes.len());
            (trace.outcomes.len() >= since + runs).then_some(trace)
        })
    }
}

fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it does not come");
}

/// The ids and keys of what the channel was asked, in order.
fn asked(web: &Web) -> Vec<(String, String)> {
    let read = |body: &str| {
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let text = |name: &str| body[name].as_str().expect("a text").to_string();
        (text("id"), text("key"))
    };
    web.asked().iter().map(|it| read(&it.body)).collect()
}

/// Waits until the process says it.
fn hear(said_rx: &Receiver<String>, what: &str) {
    let until = Instant::now() + PATIENCE;
    while let Ok(said) = said_rx.recv_timeout(until.saturating_duration_since(Instant::now())) {
        if said == what {
            return;
        }
    }
    panic!("it does not say `{what}`");
}

#[test]
fn a_process_killed_at_any_step_loses_no_page_and_doubles_only_what_may_not_have_arrived() {
    // Each in a world of its own, so all at once.
    std::thread::scope(|scope| Step::ALL.iter().for_each(|step| drop(scope.spawn(|| killed_at(*step)))));
}

fn killed_at(step: Step) {
    let web = Web::start(|_| Said::json("{}"));
    let world = World::new(&web, 1);
    Prey::start(world.dir.path(), Some(step)).dies();
    let before = asked(&web).len();
    let second = Prey::start(world.dir.path(), None);
    let trace = world.settled(3);
    // What the policy takes for unsent would have it fall back, and remind nobody any more.
    until(|| world.unsettled().is_empty().then_some(()));
    drop(second);
    let asked = asked(&web);
    let expected = match step {
        // Nothing was sent when it died, or the receipt was written: once.
        Step::Decided | Step::Committed | Step::Marked => (0, 1),
        Step::Received => (1, 1),
        // The answer was lost with the process: nobody can know.
        Step::Sent => (1, 2),
    };
    assert_eq!((before, asked.len()), expected, "{step:?}: {asked:?}");
    assert!(asked.windows(2).all(|it| it[0] == it[1]), "{step:?}: the same key: {asked:?}");
    assert_eq!(trace.deliveries.len(), 1, "{step:?}: decided once");
    assert!(matches!(trace.deliveries[0].0.state, DeliveryState::Sent { .. }), "{step:?}");
}

#[test]
fn a_process_killed_while_it_sends_repeats_it_once_with_the_same_key() {
    let stalls = Arc::new(AtomicBool::new(true));
    let hangs = Arc::clone(&stalls);
    let web = Web::start(move |_| Said { status: 200, stalls: hangs.load(Ordering::SeqCst), ..Said::default() });
    let world = World::new(&web, 1);
    let first = Prey::start(world.dir.path(), None);
    until(|| (!web.asked().is_empty()).then_some(()));
    drop(first);
    stalls.store(false, Ordering::SeqCst);
    let second = Prey::start(world.dir.path(), None);
    let trace = world.settled(2);
    drop(second);
    let asked = asked(&web);
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[0], asked[1]);
    let attempts = &trace.deliveries[0].1;
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0].ended, None, "the first attempt was never ended");
}

#[test]
fn kills_during_a_storm_lose_no_page() {
    const PROBES: usize = 20;
    const ANSWERED: usize = 4;
    // A channel that keeps alerts apart has a delivery for each. In every life it answers a few and then no more,
    // so that the kill meets some that are sent, some that are under way and some that wait.
    let left = Arc::new(AtomicUsize::new(0));
    let answers = Arc::clone(&left);
    let web = Web::start(move |_| {
        let answers = answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1));
        Said { stalls: answers.is_err(), ..Said::status(202, r#"{"status":"success"}"#) }
    });
    let key = "0123456789abcdef0123456789abcdef";
    let page = format!("pagerduty = {{ key = '{key}', url = '{}' }}\nwait = '0s'\ntimeout = '20s'", web.url());
    let world = World::with(&page, PROBES, "tcp = '127.0.0.1:1'");
    for _ in 0..3 {
        let asked = web.asked().len();
        left.store(ANSWERED, Ordering::SeqCst);
        let _prey = Prey::start(world.dir.path(), None);
        until(|| (web.asked().len() > asked + ANSWERED).then_some(()));
    }
    left.store(usize::MAX, Ordering::SeqCst);
    let last = Prey::start(world.dir.path(), None);
    let traces = until(|| {
        let traces: Vec<Trace> = (0..PROBES).map(|it| world.trace(it)).collect();
        let is_sent =
            |it: &Trace| matches!(&it.deliveries[..], [(it, _)] if matches!(it.state, DeliveryState::Sent { .. }));
        traces.iter().all(is_sent).then_some(traces)
    });
    drop(last);
    let keys: Vec<String> = web
        .asked()
        .iter()
        .map(|it| {
            let body: serde_json::Value = serde_json::from_str(&it.body).expect("JSON");
            assert_eq!(body["event_action"], "trigger");
            body["dedup_key"].as_str().expect("a key").to_string()
        })
        .collect();
    let different: BTreeSet<&String> = keys.iter().collect();
    let expected: BTreeSet<String> = traces.iter().map(|it| it.deliveries[0].0.delivery.key.clone()).collect();
    assert!(different.into_iter().eq(&expected), "all of them and nothing else: {keys:?}");
    let attempts = traces.iter().flat_map(|it| &it.deliveries[0].1);
    let cut_short = attempts.filter(|it| it.ended.is_none()).count();
    assert!(cut_short >= 3, "each kill met one that was under way");
    assert!(keys.len() - PROBES <= cut_short, "only what was under way is repeated: {keys:?}");
}

#[test]
fn one_that_stands_by_takes_over_what_was_under_way() {
    let stalls = Arc::new(AtomicBool::new(true));
    let hangs = Arc::clone(&stalls);
    let web = Web::start(move |_| Said { status: 200, stalls: hangs.load(Ordering::SeqCst), ..Said::default() });
    let world = World::new(&web, 1);
    let first = Prey::start(world.dir.path(), None);
    until(|| (!web.asked().is_empty()).then_some(()));
    let (second, said_rx) = Prey::overheard(world.dir.path());
    hear(&said_rx, "standby");
    assert_eq!(web.asked().len(), 1, "two on one store page once");
    stalls.store(false, Ordering::SeqCst);
    drop(first);
    hear(&said_rx, "active");
    let trace = world.settled(2);
    drop(second);
    let asked = asked(&web);
    assert_eq!((asked.len(), trace.deliveries.len()), (2, 1), "{asked:?}");
    assert_eq!(asked[0], asked[1]);
}

#[test]
fn a_full_disk_is_said_and_neither_probes_nor_pages_stop_for_it() {
    let fails = Arc::new(AtomicBool::new(false));
    let is_down = Arc::clone(&fails);
    let web = Web::start(move |it| match it.method.as_str() {
        "GET" if is_down.load(Ordering::SeqCst) => Said::status(503, "down"),
        _ => Said::json("{}"),
    });
    let hook = format!("webhook = '{}/hook'\nwait = '0s'\ntimeout = '20s'", web.url());
    let kind = format!("http = '{}/health'\nexpect = ['status == 200']", web.url());
    let world = World::with(&hook, 1, &kind);
    let paged = || web.asked().iter().filter(|it| it.path == "/hook").count();
    let probed = || web.asked().len() - paged();
    let (prey, said_rx) = Prey::overheard(world.dir.path());
    until(|| (!world.trace(0).outcomes.is_empty()).then_some(()));

    // Every file of it is larger than this already, or may not become so.
    prey.limit_files(Some(4096));
    hear(&said_rx, "not durable");
    fails.store(true, Ordering::SeqCst);
    until(|| (paged() == 1).then_some(()));
    let runs = probed();
    until(|| (probed() >= runs + 2).then_some(()));
    let during = world.trace(0);
    assert!(during.deliveries.is_empty(), "nothing could be written: {:?}", during.deliveries);

    prey.limit_files(None);
    hear(&said_rx, "durable");
    let after = world.settled(1);
    drop(prey);
    assert_eq!(paged(), 1, "what went from memory does not go again");
    assert!(matches!(after.deliveries[0].0.state, DeliveryState::Sent { .. }), "{:?}", after.deliveries);
    assert!(after.outcomes.len() > during.outcomes.len() + 2, "what was seen meanwhile is written");
}
