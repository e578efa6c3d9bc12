//! The outbox against a stand-in for a channel, with the process killed at every step: no page is lost, and one
//! is repeated only when nobody could know whether it arrived, with the same key.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hotseat::config;
use hotseat::domain::alert::delivery::DeliveryState;
use hotseat::domain::ids::{HostId, ProbeId};
use hotseat::registry::node::Commands;
use hotseat::runtime::{Runtime, RuntimeSetup};
use hotseat::service::notify::outbox::fault::Step;
use hotseat::store::outbox::is_open;
use hotseat::store::reader::{Reader, Trace};
use jiff::Timestamp;

use crate::support::web::{Said, Web};

/// How long a test waits before it says that nothing comes.
const PATIENCE: Duration = Duration::from_secs(150);
/// Names the directory of the child that is to be a runtime.
const CHILD: &str = "HOTSEAT_TEST_RUNTIME";

/// Not a test: what the other tests here start as a process of its own, to be killed.
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
    let _runtime = Runtime::start(setup);
    std::future::pending::<()>().await;
}

/// The process; killed when dropped.
struct Prey(Child);

impl Prey {
    fn start(dir: &Path, fault: Option<Step>) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "outbox::the_process_that_is_killed"]).env(CHILD, dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(step) = fault {
            command.env("HOTSEAT_FAULT", format!("outbox:{}", step.word()));
        }
        Self(command.spawn().expect("started"))
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
        let dir = tempfile::tempdir().expect("a directory");
        // Nobody listens on port 1 of this address, and nobody can be made to.
        let mut text =
            format!("[[notifier]]\nname = 'hook'\nwebhook = '{}'\nwait = '0s'\ntimeout = '20s'\n", web.url());
        for probe in 0..probes {
            text += &format!(
                "[[probe]]\nname = 'p{probe}'\ntcp = '127.0.0.1:1'\ninterval = '1s'\nretry = '1s'\nfail = '1/1'\nnotify = ['hook']\n"
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

#[test]
fn a_process_killed_at_any_step_loses_no_page_and_doubles_only_what_may_not_have_arrived() {
    for step in Step::ALL {
        let web = Web::start(|_| Said::json("{}"));
        let world = World::new(&web, 1);
        Prey::start(world.dir.path(), Some(*step)).dies();
        let before = asked(&web).len();
        let second = Prey::start(world.dir.path(), None);
        let trace = world.settled(1);
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
    let web = Web::start(|_| Said::json("{}"));
    let world = World::new(&web, PROBES);
    // The time at which the channel has seen so many requests is chance enough.
    for seen in [1, 2, 3] {
        let _prey = Prey::start(world.dir.path(), None);
        let outcomes = world.trace(0).outcomes.len();
        until(|| (web.asked().len() >= seen || world.trace(0).outcomes.len() > outcomes + 2).then_some(()));
    }
    let last = Prey::start(world.dir.path(), None);
    let named = || -> BTreeSet<String> {
        let bodies = web.asked();
        let alerts = bodies.iter().flat_map(|it| {
            let body: serde_json::Value = serde_json::from_str(&it.body).expect("JSON");
            body["alerts"].as_array().cloned().unwrap_or_default()
        });
        alerts.filter_map(|it| it["subject"].as_str().map(ToString::to_string)).collect()
    };
    until(|| (0..PROBES).all(|it| named().contains(&format!("h/p{it}"))).then_some(()));
    drop(last);
    let mut ids = asked(&web);
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert!(all - ids.len() <= 3, "a kill repeats at most what was under way: {all} of {}", ids.len());
}
