//! Faults of backups, each with what must hold afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::backup::retention::Keep;
use crate::domain::backup::run::{CopyState, Run, RunState, Verification};
use crate::domain::ids::HostId;
use crate::service::backup::artefact;
use crate::service::backup::destination::local::{LocalFolder, MARKER};
use crate::service::backup::destination::{Destination, Place, PlaceFile};
use crate::service::backup::execute::{Observed, Refusal, Report, Runner};
use crate::service::backup::history::{self, History};
use crate::service::backup::source::file::FileSource;
use crate::service::backup::source::sqlite::SqliteSource;
use crate::service::backup::source::{BackupSource, Consistency, Opened, SourceContext, SourceError, SourceReader};
use crate::service::backup::spec::{JobSpec, NamedDestination};
use crate::service::backup::state::{BackupState, Record};
use crate::service::backup::steps;

struct World {
    host: HostId,
    state: BackupState,
    spec: JobSpec,
    cancel: CancellationToken,
    root: PathBuf,
}

impl World {
    /// A job `job` that copies `root/source.bin` to `root/disk`.
    fn new(root: &Path) -> Self {
        let source = FileSource { path: root.join("source.bin") };
        if !source.path.exists() {
            fs::write(&source.path, noise(600_000)).unwrap();
        }
        let spec = JobSpec {
            name: "job".into(),
            source: Arc::new(source),
            schedule: None,
            destinations: vec![folder(root, "disk")],
            keep: None,
            level: 1,
        };
        let state = BackupState::create(&root.join("state")).unwrap();
        Self { host: HostId::new("h"), state, spec, cancel: CancellationToken::new(), root: root.to_path_buf() }
    }

    fn runner<'a>(&'a self, observe: &'a dyn Fn(Observed<'_>)) -> Runner<'a> {
        Runner { host: &self.host, state: &self.state, spec: &self.spec, cancel: &self.cancel, observe }
    }

    fn run(&self) -> Report {
        self.runner(&|_| {}).run(None).unwrap()
    }

    fn history(&self) -> History {
        history::load(&self.state, &self.state.remembered(), &self.host, &self.spec)
    }

    fn verify(&self, run: &Run) -> Run {
        self.runner(&|_| {}).verify(&run.id).unwrap()
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.root.join(folder))
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn folder(root: &Path, name: &str) -> NamedDestination {
    NamedDestination { name: name.into(), destination: Arc::new(LocalFolder { path: root.join(name) }) }
}

/// Bytes that do not compress, the same every time.
fn noise(count: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..)).take(count).collect()
}

#[test]
fn a_run_stores_verifies_and_reads_back_on_an_empty_host() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path());
    world.spec.destinations.push(folder(dir.path(), "nas"));
    let report = world.run();
    assert_eq!((report.run.state, report.run.verification()), (RunState::Ok, Verification::Verified));
    let manifest = report.run.manifest.clone().unwrap();
    let stored = fs::read(dir.path().join("nas").join(&manifest.artefact)).unwrap();
    assert_eq!(zstd::decode_all(stored.as_slice()).unwrap(), noise(600_000));
    fs::remove_dir_all(dir.path().join("state")).unwrap();
    let history = World { state: BackupState::create(&dir.path().join("state")).unwrap(), ..world }.history();
    assert_eq!(history.runs.len(), 1);
    assert_eq!(history.runs[0].id, report.run.id);
    assert_eq!(history.runs[0].verification(), Verification::Verified);
}

#[test]
fn a_run_killed_at_any_step_leaves_whole_artefacts_and_is_cleaned_up_without_a_command() {
    const CHILD: &str = "HOTSEAT_TEST_KILL";
    const NAME: &str =
        "service::backup::tests::a_run_killed_at_any_step_leaves_whole_artefacts_and_is_cleaned_up_without_a_command";
    let keep_one = |root: &Path| {
        let mut world = World::new(root);
        world.spec.keep = Some(Keep { last: 1, ..Keep::default() });
        world
    };
    if let Ok(order) = std::env::var(CHILD) {
        let (step, root) = order.split_once(':').unwrap();
        steps::KILL_AT.store(step.parse().unwrap(), Ordering::SeqCst);
        keep_one(Path::new(root)).run();
        return;
    }
    // A run has about a dozen steps; a loop without end would be the failure.
    for step in 1..40 {
        let dir = tempfile::tempdir().unwrap();
        let world = keep_one(dir.path());
        let first = world.run().run;
        let order = format!("{step}:{}", dir.path().display());
        let child =
            Command::new(std::env::current_exe().unwrap()).args(["--exact", NAME]).env(CHILD, order).output().unwrap();
        let history = world.history();
        let good: Vec<&Run> = history.runs.iter().filter(|it| it.state == RunState::Ok).collect();
        assert!(!good.is_empty(), "step {step}: no artefact is left");
        for run in &good {
            let whole = world.verify(run);
            assert_eq!(whole.verification(), Verification::Verified, "step {step}: {whole:?}");
        }
        assert!(history.runs.iter().all(|it| it.state != RunState::Running), "step {step}");
        if child.status.success() {
            assert!(step > 10, "only {} steps were cut", step - 1);
            assert!(!good.iter().any(|it| it.id == first.id), "the retention did not run");
            return;
        }
        // The next run needs no unlock and sweeps.
        let report = world.run();
        assert_eq!(report.run.verification(), Verification::Verified, "step {step}");
        let names = world.names("disk");
        assert!(
            !names.iter().any(|it| it.ends_with(".partial") || it.ends_with(".deleting")),
            "step {step}: {names:?}"
        );
        let artefacts: Vec<&String> = names.iter().filter(|it| it.ends_with(".zst")).collect();
        assert!(artefacts.iter().all(|it| names.contains(&format!("{it}.manifest.json"))), "step {step}: {names:?}");
        assert_eq!(artefacts.len(), 1, "step {step}: {names:?}");
        let states: Vec<RunState> = world.history().runs.iter().map(|it| it.state).collect();
        assert!(states.iter().all(|it| matches!(it, RunState::Ok | RunState::Interrupted)), "step {step}: {states:?}");
    }
    panic!("the run never got to its end");
}

#[test]
fn what_a_run_left_that_was_cut_off_goes_at_the_next_start_and_a_running_one_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let good = world.run().run;
    let id = crate::domain::ids::RunId::new(&world.host, "job@cut");
    let cut = Run::begin(id, crate::domain::ids::JobId::new(&world.host, "job"), None, clock::now());
    world.state.append(&Record::Started(Box::new(cut))).unwrap();
    let partial = dir.path().join("disk/job_backup_20261122T010000Z.bin.zst.partial");
    fs::write(&partial, "half").unwrap();
    let lock = world.state.lock_job("job", clock::now()).unwrap().unwrap();
    world.runner(&|_| {}).clean_up();
    assert!(partial.exists());
    drop(lock);
    world.runner(&|_| {}).clean_up();
    assert!(!partial.exists());
    assert!(world.state.remembered().begun.is_empty());
    let rows: Vec<_> = world.history().runs.into_iter().map(|it| (it.state, it.error)).collect();
    assert_eq!(rows, [(RunState::Interrupted, Some(history::CUT_OFF.to_string())), (RunState::Ok, None)]);
    assert_eq!(world.verify(&good).verification(), Verification::Verified);
}

#[test]
fn a_missing_an_empty_and_a_special_source_fail_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path());
    fs::write(dir.path().join("empty"), "").unwrap();
    let fifo = Command::new("mkfifo").arg(dir.path().join("fifo")).status().unwrap();
    assert!(fifo.success());
    for (name, why) in [
        ("gone", "no such file or directory"),
        ("empty", "is empty"),
        ("fifo", "not a regular file"),
        ("state", "not a regular file"),
    ] {
        let path = dir.path().join(name);
        for source in [
            Arc::new(FileSource { path: path.clone() }) as Arc<dyn BackupSource>,
            Arc::new(SqliteSource { path: path.clone() }),
        ] {
            world.spec.source = source;
            let run = world.run().run;
            assert_eq!(run.state, RunState::Failed, "{name}");
            assert!(run.error.unwrap().contains(why), "{name}");
        }
    }
    assert_eq!(world.names("disk"), [MARKER]);
    assert!(world.history().runs.iter().all(|it| it.state == RunState::Failed));
}

#[test]
fn a_destination_whose_marker_vanished_is_not_written_to_and_the_other_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path());
    world.spec.destinations.push(folder(dir.path(), "nas"));
    let first = world.run().run;
    // An unmounted disk: the mount point is there and empty.
    fs::rename(dir.path().join("nas"), dir.path().join("unplugged")).unwrap();
    fs::create_dir(dir.path().join("nas")).unwrap();
    let run = world.run().run;
    assert_eq!(run.state, RunState::Partial);
    let CopyState::Failed { error } = &run.copies[1].state else { panic!("{run:?}") };
    assert!(error.contains("its marker `.hotseat-destination` is gone"), "{error}");
    assert!(matches!(run.copies[0].state, CopyState::Verified { .. }));
    assert!(world.names("nas").is_empty());
    let history = world.history();
    let old = history.runs.iter().find(|it| it.id == first.id).unwrap();
    assert!(matches!(old.copies[1].state, CopyState::Missing { .. }));
    fs::remove_dir(dir.path().join("nas")).unwrap();
    fs::rename(dir.path().join("unplugged"), dir.path().join("nas")).unwrap();
    assert_eq!(world.run().run.state, RunState::Ok);
}

/// A folder that has room for so many bytes.
struct SmallDisk {
    folder: LocalFolder,
    room_bytes: usize,
}

impl Destination for SmallDisk {
    fn kind(&self) -> &'static str {
        "small"
    }
    fn default_name(&self) -> String {
        "small".into()
    }
    fn location(&self) -> String {
        self.folder.location()
    }
    fn open(&self, known_id: Option<&str>) -> io::Result<Box<dyn Place>> {
        Ok(Box::new(SmallPlace { place: self.folder.open(known_id)?, room_bytes: self.room_bytes }))
    }
    fn open_existing(&self, known_id: Option<&str>) -> io::Result<Box<dyn Place>> {
        self.folder.open_existing(known_id)
    }
}

struct SmallPlace {
    place: Box<dyn Place>,
    room_bytes: usize,
}

impl Place for SmallPlace {
    fn id(&self) -> &str {
        self.place.id()
    }
    fn names(&self) -> io::Result<Vec<String>> {
        self.place.names()
    }
    fn size_bytes(&self, name: &str) -> io::Result<Option<u64>> {
        self.place.size_bytes(name)
    }
    fn free_bytes(&self) -> Option<u64> {
        Some(self.room_bytes as u64)
    }
    fn create_new(&self, name: &str) -> io::Result<Box<dyn PlaceFile>> {
        Ok(Box::new(SmallFile { file: self.place.create_new(name)?, room_bytes: self.room_bytes }))
    }
    fn read(&self, name: &str) -> io::Result<Box<dyn Read>> {
        self.place.read(name)
    }
    fn read_text(&self, name: &str, max_bytes: u64) -> io::Result<String> {
        self.place.read_text(name, max_bytes)
    }
    fn replace(&self, name: &str, text: &str) -> io::Result<()> {
        self.place.replace(name, text)
    }
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        self.place.rename_new(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.place.remove(name)
    }
    fn sync(&self) -> io::Result<()> {
        self.place.sync()
    }
}

struct SmallFile {
    file: Box<dyn PlaceFile>,
    room_bytes: usize,
}

impl Write for SmallFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.room_bytes);
        if count == 0 && !buffer.is_empty() {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        self.room_bytes -= count;
        self.file.write(&buffer[..count])
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl PlaceFile for SmallFile {
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

#[test]
fn a_full_disk_fails_with_the_bytes_needed_and_free_and_deletes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path());
    world.spec.keep = Some(Keep { last: 1, ..Keep::default() });
    let first = world.run().run;
    let small = |room_bytes| NamedDestination {
        name: "disk".into(),
        destination: Arc::new(SmallDisk { folder: LocalFolder { path: dir.path().join("disk") }, room_bytes }),
    };
    // From no room at all over the middle of the data to the manifest.
    for room_bytes in [0, 1, 300_000, 600_000] {
        world.spec.destinations = vec![small(room_bytes)];
        let report = world.run();
        assert_eq!(report.run.state, RunState::Failed);
        let error = report.run.error.unwrap();
        assert!(error.contains("no space left on device: about 586K needed, "), "{error}");
        assert!(
            report.run.warnings.iter().any(|it| it.contains("the last artefact took 586K")),
            "{:?}",
            report.run.warnings
        );
        assert!(report.deleted.is_empty());
        assert_eq!(world.names("disk").iter().filter(|it| it.contains("_backup_")).count(), 3);
    }
    world.spec.destinations = vec![small(300_000), folder(dir.path(), "nas")];
    assert_eq!(world.run().run.state, RunState::Partial);
    assert_eq!(world.verify(&first).copies[0].state.word(), "verified");
}

#[test]
fn every_truncation_and_a_swapped_manifest_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let run = world.run().run;
    let path = dir.path().join("disk").join(&run.manifest.as_ref().unwrap().artefact);
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, 4096, whole.len() / 2, whole.len() - 4, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(world.verify(&run).verification(), Verification::Corrupt, "{length}");
    }
    fs::write(&path, [whole.as_slice(), &[0]].concat()).unwrap();
    assert_eq!(world.verify(&run).verification(), Verification::Corrupt);
    fs::remove_file(&path).unwrap();
    assert!(matches!(world.verify(&run).copies[0].state, CopyState::Missing { .. }));
    fs::write(&path, &whole).unwrap();
    assert_eq!(world.verify(&run).verification(), Verification::Verified);
}

#[test]
fn one_flipped_bit_anywhere_is_found_and_remembered() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("source.bin"), "some text, some text, some text").unwrap();
    let world = World::new(dir.path());
    let run = world.run().run;
    let artefact = dir.path().join("disk").join(&run.manifest.as_ref().unwrap().artefact);
    let manifest = PathBuf::from(format!("{}.manifest.json", artefact.display()));
    let flips = (any::<bool>(), any::<prop::sample::Index>(), 0u8..8);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
    let outcome = runner.run(&flips, |(of_manifest, at, bit)| {
        let path = if of_manifest { &manifest } else { &artefact };
        let whole = fs::read(path).unwrap();
        let mut damaged = whole.clone();
        let at = at.index(whole.len());
        damaged[at] ^= 1 << bit;
        fs::write(path, damaged).unwrap();
        let found = world.verify(&run);
        prop_assert_eq!(found.verification(), Verification::Corrupt);
        prop_assert_eq!(world.history().runs[0].verification(), Verification::Corrupt);
        fs::write(path, whole).unwrap();
        prop_assert_eq!(world.verify(&run).verification(), Verification::Verified);
        Ok(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[test]
fn sqlite_under_a_writer_is_copied_in_one_state_also_when_it_is_named_as_a_file() {
    for mode in ["wal", "delete"] {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::new(dir.path());
        let path = dir.path().join("bank.db");
        let bank = Connection::open(&path).unwrap();
        bank.execute_batch(&format!(
            "PRAGMA journal_mode={mode}; CREATE TABLE account(id INTEGER PRIMARY KEY, cents INTEGER, pad BLOB);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
             INSERT INTO account SELECT i, 100, randomblob(3000) FROM n;"
        ))
        .unwrap();
        bank.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
        world.spec.source = Arc::new(FileSource { path });
        let done = CancellationToken::new();
        let stop = done.clone();
        std::thread::scope(|scope| {
            // Also when an assertion fails: the writer must not outlive it.
            let _stop = done.drop_guard();
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(1);
                while !stop.is_cancelled() {
                    let (from, to) = (random.u32(1..=2000), random.u32(1..=2000));
                    let moved = format!(
                        "BEGIN IMMEDIATE; UPDATE account SET cents = cents - 1 WHERE id = {from};
                         UPDATE account SET cents = cents + 1, pad = randomblob(3000) WHERE id = {to}; COMMIT;"
                    );
                    bank.execute_batch(&moved).unwrap();
                }
            });
            for _ in 0..3 {
                let run = world.run().run;
                assert_eq!(run.verification(), Verification::Verified, "{mode}: {:?}", run.error);
                let manifest = run.manifest.unwrap();
                assert_eq!(manifest.source_kind, "sqlite");
                let stored = fs::read(dir.path().join("disk").join(&manifest.artefact)).unwrap();
                let restored = dir.path().join("restored.db");
                fs::write(&restored, zstd::decode_all(stored.as_slice()).unwrap()).unwrap();
                let copy = Connection::open(&restored).unwrap();
                let sum: i64 = copy.query_row("SELECT sum(cents) FROM account", [], |row| row.get(0)).unwrap();
                assert_eq!(sum, 200_000, "{mode}");
                copy.close().unwrap();
            }
        });
    }
}

/// A source that changes under the reader for so many reads, and counts them.
struct Restless {
    changes: u32,
    reads: std::sync::atomic::AtomicU32,
}

struct RestlessReader(io::Cursor<Vec<u8>>, Consistency);

impl Read for RestlessReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl SourceReader for RestlessReader {
    fn finish(&mut self) -> Result<Consistency, SourceError> {
        Ok(self.1)
    }
}

impl BackupSource for Restless {
    fn kind(&self) -> &'static str {
        "restless"
    }
    fn describe(&self) -> String {
        "restless".into()
    }
    fn open(&self, _cx: &SourceContext<'_>) -> Result<Opened, SourceError> {
        let read = self.reads.fetch_add(1, Ordering::SeqCst);
        let verdict = if read < self.changes { Consistency::Changed } else { Consistency::Consistent };
        Ok(Opened {
            reader: Box::new(RestlessReader(io::Cursor::new(noise(1000)), verdict)),
            size_bytes: None,
            consistent_at: clock::now(),
            kind: "restless",
            version: String::new(),
            consistency: String::new(),
            extension: "bin".into(),
        })
    }
}

#[test]
fn a_file_that_keeps_changing_is_kept_as_inconsistent_and_frees_no_older_copy() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path());
    world.spec.keep = Some(Keep { last: 1, ..Keep::default() });
    world.spec.source = Arc::new(Restless { changes: 2, reads: 0.into() });
    assert_eq!(world.run().run.state, RunState::Ok);
    world.spec.source = Arc::new(Restless { changes: 100, reads: 0.into() });
    let report = world.run();
    assert_eq!(report.run.state, RunState::Inconsistent);
    assert!(report.deleted.is_empty());
    assert_eq!(report.held.as_deref(), Some("`disk`: nothing is deleted: the newest copy is not verified"));
    assert_eq!(world.names("disk").iter().filter(|it| it.ends_with(".zst")).count(), 2);
}

#[test]
fn a_stopped_run_leaves_nothing_and_says_that_it_was_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("source.bin"), noise(3_000_000)).unwrap();
    let world = World::new(dir.path());
    let cancel = world.cancel.clone();
    let observe = move |observed: Observed<'_>| {
        if matches!(observed, Observed::Progress(..)) {
            cancel.cancel();
        }
    };
    let report = world.runner(&observe).run(None).unwrap();
    assert_eq!(report.run.state, RunState::Interrupted);
    assert_eq!(world.names("disk"), [MARKER]);
    assert_eq!(world.history().runs[0].state, RunState::Interrupted);
}

#[test]
fn a_job_that_runs_elsewhere_is_refused_and_a_slot_is_served_once() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let lock = world.state.lock_job("job", clock::now()).unwrap().unwrap();
    let Err(Refusal::Busy(holder)) = world.runner(&|_| {}).run(None) else { panic!("it ran") };
    assert!(holder.starts_with(&format!("process {}", std::process::id())), "{holder}");
    let slot = Some("2026-11-22T01:00:00Z".parse().unwrap());
    // A slot is tried again and again; its row is one.
    for _ in 0..3 {
        assert!(matches!(world.runner(&|_| {}).run(slot), Err(Refusal::Busy(_))));
    }
    let rows: Vec<_> = world.history().runs.into_iter().map(|it| (it.state, it.slot, it.error.unwrap())).collect();
    let why = format!("held on `h` by {holder}");
    assert_eq!(rows, [(RunState::Skipped, slot, why.clone()), (RunState::Skipped, None, why)]);
    drop(lock);
    let run = world.runner(&|_| {}).run(slot).unwrap().run;
    assert_eq!(world.runner(&|_| {}).run(slot), Err(Refusal::SlotDone(run.id)));
}

#[test]
fn what_is_deleted_is_what_was_planned_and_strangers_files_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path());
    fs::create_dir(dir.path().join("disk")).unwrap();
    let strangers = ["job_backup_20200101T000000Z.bin.zst", "notes.txt", "other_backup_x.partial"];
    for name in strangers {
        fs::write(dir.path().join("disk").join(name), "mine").unwrap();
    }
    let runs: Vec<Run> = (0..4).map(|_| world.run().run).collect();
    world.spec.keep = Some(Keep { last: 2, ..Keep::default() });
    let report = world.run();
    let planned: BTreeSet<_> = runs[..3].iter().map(|it| it.id.clone()).collect();
    let deleted: Vec<(String, BTreeSet<_>)> =
        report.deleted.iter().map(|(name, runs)| (name.clone(), runs.iter().cloned().collect())).collect();
    assert_eq!(deleted, [("disk".to_string(), planned)]);
    let left: Vec<_> = world.history().runs.iter().map(|it| it.id.clone()).collect();
    assert_eq!(left, [report.run.id, runs[3].id.clone()]);
    let names = world.names("disk");
    assert!(strangers.iter().all(|it| names.contains(&(*it).to_string())), "{names:?}");
    let place = LocalFolder { path: dir.path().join("disk") }.open_existing(None).unwrap();
    assert_eq!(artefact::list(place.as_ref(), "job").unwrap().len(), 2);
}

#[test]
fn a_damaged_journal_loses_only_its_damaged_lines() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let journal = dir.path().join("state/backups/history.ndjson");
    let run = |name: &str| {
        let id = crate::domain::ids::RunId::new(&world.host, name);
        let job = crate::domain::ids::JobId::new(&world.host, "job");
        Box::new(Run { state: RunState::Failed, ..Run::begin(id, job, None, clock::now()) })
    };
    world.state.append(&Record::Ended(run("job@1"))).unwrap();
    fs::OpenOptions::new().append(true).open(&journal).unwrap().write_all(b"{\"ended\":{\"id\":\"h/jo").unwrap();
    world.state.append(&Record::Ended(run("job@2"))).unwrap();
    let remembered = world.state.remembered();
    assert_eq!((remembered.ended.len(), remembered.skipped), (2, 1));
}
