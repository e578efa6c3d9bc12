//! The same on a disk that is really full, or read-only: a tmpfs in a mount namespace of the test's own. What was kept
//! is gone on with, what was paged is not paged again, what is over is told, and writing goes on when there is room.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::sync::mpsc::RecvTimeoutError;

use hotseat::store::rollup::Limits;
use hotseat::store::{News, Store, inspect};

use super::*;
use crate::support::mounts::{is_inside, run_inside};

/// Room for a store, its log and a lock file.
const DISK_BYTES: u64 = 12 << 20;
/// Named in the config of nothing: what fills the disk.
const FILL: &str = "fill";

#[test]
fn a_runtime_on_a_full_or_read_only_disk_goes_on_where_it_was() {
    run_inside("outbox::full_disk::on_disks_that_take_nothing");
}

#[test]
fn a_process_killed_at_any_step_on_a_nearly_full_disk_loses_no_page() {
    run_inside("outbox::full_disk::on_disks_that_take_little");
}

/// A world whose state directory is a disk of its own, and a channel that it pages through.
struct Tight {
    world: World,
    web: Web,
    is_down: Arc<AtomicBool>,
}

impl Tight {
    fn new() -> Self {
        let is_down = Arc::new(AtomicBool::new(false));
        let fails = Arc::clone(&is_down);
        let web = Web::start(move |it| match it.method.as_str() {
            "GET" if fails.load(Ordering::SeqCst) => Said::status(503, "down"),
            _ => Said::json("{}"),
        });
        let hook = format!("webhook = '{}/hook'\nwait = '0s'\ntimeout = '20s'", web.url());
        let kind = format!("http = '{}/health'\nexpect = ['status == 200']", web.url());
        let world = World::with(&hook, 1, &kind);
        fs::create_dir(world.dir.path().join("state")).expect("made");
        let tight = Self { world, web, is_down };
        tight.mount(&["-t", "tmpfs", "-o", &format!("size={DISK_BYTES},mode=700"), "none"]);
        tight
    }

    fn mount(&self, arguments: &[&str]) {
        let status = Command::new("mount").args(arguments).arg(self.state()).status().expect("mount");
        assert!(status.success(), "{arguments:?}");
    }

    fn state(&self) -> PathBuf {
        self.world.dir.path().join("state")
    }

    /// Fills the disk but for so many bytes.
    fn fill_but(&self, bytes: u64) {
        let mut file = File::create(self.state().join(FILL)).expect("made");
        let mut chunk = vec![b'x'; 64 << 10];
        while !chunk.is_empty() {
            if file.write_all(&chunk).is_err() {
                chunk.truncate(chunk.len() / 2);
            }
        }
        let length = file.metadata().expect("there").len();
        file.set_len(length.saturating_sub(bytes)).expect("cut");
    }

    /// What the channel was told, as id, key and action.
    fn told(&self) -> Vec<(String, String, String)> {
        let read = |body: &str| {
            let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
            let text = |name: &str| body[name].as_str().expect("a text").to_string();
            (text("id"), text("key"), text("action"))
        };
        self.web.asked().iter().filter(|it| it.path == "/hook").map(|it| read(&it.body)).collect()
    }

    fn is_told(&self, count: usize) -> Vec<(String, String, String)> {
        until(|| (self.told().len() >= count).then_some(()));
        self.told()
    }

    /// Waits until the probe has run so often more.
    fn runs(&self, more: usize) {
        let probed = || self.web.asked().iter().filter(|it| it.path == "/health").count();
        let before = probed();
        until(|| (probed() >= before + more).then_some(()));
    }

    /// Runs until the probe's first outcome is on disk, then ends it as by `kill -9`.
    fn lives_and_dies(&self) {
        let _prey = Prey::start(self.world.dir.path(), None);
        until(|| (!self.world.trace(0).outcomes.is_empty()).then_some(()));
    }
}

fn action(it: &(String, String, String)) -> (&str, &str) {
    (&it.1, &it.2)
}

#[test]
fn on_disks_that_take_nothing() {
    if !is_inside() {
        return;
    }
    std::thread::scope(|scope| {
        scope.spawn(on_a_full_disk);
        scope.spawn(idle_on_a_full_disk);
        scope.spawn(on_a_read_only_disk);
        scope.spawn(backups_beside_a_full_disk);
    });
}

fn on_a_full_disk() {
    let tight = Tight::new();
    tight.is_down.store(true, Ordering::SeqCst);
    let first = Prey::start(tight.world.dir.path(), None);
    tight.is_told(1);
    tight.world.settled(1);
    drop(first);
    // Whether it is still there is up to how the process ended; without it the disk must have room for another.
    fs::remove_file(tight.state().join("store.db-shm")).expect("a kill leaves it");
    tight.fill_but(0);

    let (second, said_rx) = Prey::overheard(tight.world.dir.path());
    hear(&said_rx, "not durable");
    tight.runs(3);
    assert_eq!(tight.told().len(), 1, "what was paged is not paged again: {:?}", tight.told());
    tight.is_down.store(false, Ordering::SeqCst);
    let told = tight.is_told(2);
    assert_eq!(action(&told[1]), (told[0].1.as_str(), "resolve"), "what is over is told");
    tight.is_down.store(true, Ordering::SeqCst);
    let told = tight.is_told(3);
    assert_eq!(action(&told[2]), ("h/p0/2", "trigger"), "under a number of its own");
    // A command reads past the full disk what is on it.
    let stat = inspect::stat(&tight.state()).expect("read").expect("a store");
    assert_eq!((stat.deliveries, stat.open_deliveries), (1, 0));

    fs::remove_file(tight.state().join(FILL)).expect("removed");
    hear(&said_rx, "durable");
    let trace = until(|| {
        let trace = tight.world.trace(0);
        let is_sent = |it: &hotseat::store::outbox::Kept| matches!(it.state, DeliveryState::Sent { .. });
        (trace.deliveries.len() == 3 && trace.deliveries.iter().all(|(it, _)| is_sent(it))).then_some(trace)
    });
    drop(second);
    let _third = Prey::start(tight.world.dir.path(), None);
    tight.runs(3);
    let told = tight.told();
    assert_eq!(told.len(), 3, "nothing is said twice: {told:?}");
    let ids: BTreeSet<&str> = told.iter().map(|it| it.0.as_str()).collect();
    assert!(trace.deliveries.iter().map(|(it, _)| it.delivery.id.as_str()).collect::<BTreeSet<_>>() == ids, "{ids:?}");
}

/// Nothing is to be written, and yet it is said: later is too late to make room.
fn idle_on_a_full_disk() {
    let tight = Tight::new();
    tight.lives_and_dies();
    tight.fill_but(0);
    let (news_tx, news_rx) = channel();
    let news = move |it: &News| {
        let News::NotDurable(why) = it else { return true };
        news_tx.send(why.clone()).is_ok()
    };
    let store = Store::start(&tight.state(), Limits::default(), Box::new(news), |_| {});
    let why = news_rx.recv_timeout(PATIENCE).expect("news").expect("a reason");
    assert!(why.contains("make room on its disk"), "{why}");
    // It is asked again every five seconds, and a transaction without a change would always be taken.
    assert_eq!(news_rx.recv_timeout(Duration::from_secs(7)), Err(RecvTimeoutError::Timeout));
    fs::remove_file(tight.state().join(FILL)).expect("removed");
    assert_eq!(news_rx.recv_timeout(PATIENCE), Ok(None), "there is room again");
    drop(store);
}

fn on_a_read_only_disk() {
    let tight = Tight::new();
    tight.is_down.store(true, Ordering::SeqCst);
    let first = Prey::start(tight.world.dir.path(), None);
    tight.is_told(1);
    tight.world.settled(1);
    drop(first);
    fs::remove_file(tight.state().join("store.db-shm")).expect("a kill leaves it");
    tight.mount(&["-o", "remount,ro"]);
    let (_second, said_rx) = Prey::overheard(tight.world.dir.path());
    hear(&said_rx, "not durable");
    tight.runs(3);
    assert_eq!(tight.told().len(), 1, "what was paged is not paged again: {:?}", tight.told());
    tight.is_down.store(false, Ordering::SeqCst);
    let told = tight.is_told(2);
    assert_eq!(action(&told[1]), (told[0].1.as_str(), "resolve"), "what is over is told");
    tight.mount(&["-o", "remount,rw"]);
    hear(&said_rx, "durable");
    until(|| (tight.world.trace(0).deliveries.len() == 2).then_some(()));
}

#[test]
fn on_disks_that_take_little() {
    if !is_inside() {
        return;
    }
    std::thread::scope(|scope| {
        for step in Step::ALL {
            // A few pages of the log; the shared memory and little more.
            for bytes in [12 << 10, 48 << 10] {
                scope.spawn(move || killed_on_a_tight_disk(*step, bytes));
            }
        }
    });
}

fn killed_on_a_tight_disk(step: Step, bytes: u64) {
    let tight = Tight::new();
    tight.lives_and_dies();
    tight.fill_but(bytes);
    tight.is_down.store(true, Ordering::SeqCst);
    Prey::start(tight.world.dir.path(), Some(step)).dies();
    let before = tight.told().len();
    let second = Prey::start(tight.world.dir.path(), None);
    tight.is_told(1);
    tight.runs(3);
    let told = tight.told();
    // What could not be written down that it was sent is sent once more, as the same.
    assert!(told.len() <= before + 1, "{step:?} with {bytes} bytes: {told:?}");
    assert!(told.windows(2).all(|it| it[0] == it[1]), "{step:?} with {bytes} bytes: the same key: {told:?}");
    // With room all of it is written, and the next life has nothing to say.
    fs::remove_file(tight.state().join(FILL)).expect("removed");
    let trace = tight.world.settled(2);
    drop(second);
    assert_eq!(trace.deliveries.len(), 1, "{step:?} with {bytes} bytes: decided once");
    let _third = Prey::start(tight.world.dir.path(), None);
    tight.runs(3);
    assert_eq!(tight.told().len(), told.len(), "{step:?} with {bytes} bytes");
}

/// The state directory is full and the destination is not.
fn backups_beside_a_full_disk() {
    let tight = Tight::new();
    let root = tight.world.dir.path();
    let database = rusqlite::Connection::open(root.join("orders.db")).expect("made");
    database.execute_batch("CREATE TABLE t(a); INSERT INTO t VALUES (zeroblob(200000))").expect("filled");
    drop(database);
    fs::write(root.join("plain.txt"), "plain").expect("written");
    let jobs = [("orders", "sqlite", "orders.db"), ("plain", "file", "plain.txt")];
    let config: String = jobs
        .iter()
        .map(|(name, kind, source)| {
            format!("[[backup]]\nname = '{name}'\n{kind} = '{0}/{source}'\nto = '{0}/disk'\n", root.display())
        })
        .collect();
    fs::write(root.join("backups.toml"), config).expect("written");
    tight.fill_but(0);
    let backup = |job: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_hotseat"))
            .args(["backup", "run", job])
            .env("HOTSEAT_CONFIG", root.join("backups.toml"))
            .env("HOTSEAT_STATE_DIR", tight.state())
            .stdin(Stdio::null())
            .output()
            .expect("started");
        let said = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
        (output.status.success(), said)
    };
    let (done, said) = backup("plain");
    assert!(done, "what needs no room there is copied: {said}");
    let (done, said) = backup("orders");
    assert!(!done, "{said}");
    let place = format!("into the state directory at `{}/backups`", tight.state().display());
    for word in ["could not copy `", &place, "no space left on device", "needed", "free", "HOTSEAT_STATE_DIR"] {
        assert!(said.contains(word), "`{word}` is missing: {said}");
    }
}
