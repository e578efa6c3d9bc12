//! What a backup costs, against the sum of its parts measured in the same run.
//!
//! `cargo bench --bench backup [-- NAME…]` runs all or the named ones: `pass`, `verify`, `sqlite`, `job`.
//! Parts are measured alone over the same bytes; what a part reads or writes only to be fed is taken off
//! again. Processor time is the figure: wall time on a shared machine is the neighbours' business.

mod measure;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use hotseat::clock;
use hotseat::domain::ids::HostId;
use hotseat::service::backup::artefact::{self, Verdict};
use hotseat::service::backup::destination::local::LocalFolder;
use hotseat::service::backup::destination::{Destination, Place};
use hotseat::service::backup::execute::Runner;
use hotseat::service::backup::pass::{self, BLOCK_BYTES, FanOut, PassSums};
use hotseat::service::backup::source::file::FileSource;
use hotseat::service::backup::source::sqlite::SqliteSource;
use hotseat::service::backup::source::{BackupSource, SourceContext};
use hotseat::service::backup::spec::{JobSpec, NamedDestination};
use hotseat::service::backup::state::BackupState;
use measure::{peak_rss, report, reset_peak_rss, timed};
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

const MB: usize = 1_000_000;
/// Size of the text that is backed up.
const TEXT_BYTES: usize = 512 * MB;
/// Size of the database that is backed up.
const DATABASE_BYTES: u64 = 200 * MB as u64;
/// Each figure is the best of so many runs: processor time is only ever added to by others.
const ROUNDS: usize = 3;
/// zstd level of a job that names none.
const LEVEL: i32 = 1;

fn main() {
    measure::run(&[("pass", one_pass), ("verify", verify), ("sqlite", sqlite), ("job", job)]);
}

/// Read, hash, compress, hash, write, sync in one pass.
fn one_pass() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let source = text(dir.path());
    let place = disk(dir.path());
    let read = best(|| read_only(&source));
    let hash_raw = best(|| hashed(&source)) - read;
    let compress = best(|| compressed(&source, &mut io::sink())) - read;
    let stored = dir.path().join("stored.zst");
    compressed(&source, &mut File::create(&stored).expect("created"));
    let read_stored = best(|| read_only(&stored));
    let hash_stored = best(|| hashed(&stored)) - read_stored;
    let write = best(|| written(&stored, &dir.path().join("copy.zst"))) - read_stored;
    let parts = read + hash_raw + compress + hash_stored + write;
    let before = reset_peak_rss();
    let whole = best(|| {
        place.remove("pass").expect("removed");
        run_pass(&FileSource { path: source.clone() }, place.as_ref(), dir.path(), "pass");
    });
    let peak = peak_rss();
    report(
        "backup pass of 512 MB of SQL text, parts",
        &format!(
            "{parts:.2} CPU s: read {read:.2}, sha256 {hash_raw:.2}, zstd {compress:.2}, sha256 {hash_stored:.2}, write and sync {write:.2}"
        ),
    );
    report("backup pass of 512 MB of SQL text", &format!("{whole:.2} CPU s, {:.3} of its parts", whole / parts));
    report("memory of the pass", &format!("{:.1} MiB at most, {:.1} MiB before", mib(peak), mib(before)));
}

/// Reading an artefact back: hash, decode, hash.
fn verify() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let source = text(dir.path());
    let spec = job_spec(FileSource { path: source.clone() }, dir.path());
    let run = run_job(&spec, dir.path());
    let place = disk(dir.path());
    let manifest = artefact::list(place.as_ref(), &spec.name).expect("listed").remove(0).manifest.expect("a manifest");
    let cancel = CancellationToken::new();
    let before = reset_peak_rss();
    let (verdict, mut cpu, mut wall) = (Verdict::Whole, f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        let (found, its_cpu, its_wall) = timed(|| artefact::verify(place.as_ref(), &manifest, &cancel, &mut |_| {}));
        assert_eq!(found, verdict);
        (cpu, wall) = (cpu.min(its_cpu), wall.min(its_wall));
    }
    let peak = peak_rss();
    let stored = dir.path().join("disk").join(&manifest.artefact);
    let plain_raw = best(|| hashed(&source));
    let plain_stored = best(|| hashed(&stored));
    let decode = best(|| decoded(&stored));
    let tool = sha256sum(&source);
    let rate = |seconds: f64| manifest.raw_bytes as f64 / MB as f64 / seconds;
    report(
        "verify of the artefact of 512 MB",
        &format!("{cpu:.2} CPU s, {wall:.2} s, {:.0} MB/s of the source's bytes, verified: {}", rate(wall), run),
    );
    report(
        "against its parts (sha256 both ways, zstd -d)",
        &format!("{:.3} of {:.2} CPU s", cpu / (plain_raw + decode), plain_raw + decode),
    );
    report(
        "against sha256 of the source alone, in this process",
        &format!("{plain_raw:.2} CPU s, {:.0} MB/s; of the artefact alone {plain_stored:.2} CPU s", rate(plain_raw)),
    );
    if let Some(tool) = tool {
        report(
            "against `sha256sum` of the source",
            &format!("{tool:.2} s, verify has {:.2} of its speed", tool / wall),
        );
    }
    report("memory of verify", &format!("{:.1} MiB at most, {:.1} MiB before", mib(peak), mib(before)));
    assert_eq!(verdict, Verdict::Whole);
}

/// A database: copied, checked, stored.
fn sqlite() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = database(dir.path());
    let vacuumed = dir.path().join("vacuumed.sqlite");
    let vacuum = best(|| {
        let _ = std::fs::remove_file(&vacuumed);
        let connection = Connection::open(&path).expect("opened");
        connection.execute("VACUUM INTO ?1", [vacuumed.display().to_string()]).expect("vacuumed");
    });
    let check = best(|| {
        let connection = Connection::open(&vacuumed).expect("opened");
        let answer: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
        assert_eq!(answer, "ok");
    });
    let place = disk(dir.path());
    let pass = best(|| {
        place.remove("plain").expect("removed");
        run_pass(&Plain(vacuumed.clone()), place.as_ref(), dir.path(), "plain");
    });
    let before = reset_peak_rss();
    let source = SqliteSource { path };
    let whole = best(|| {
        place.remove("sqlite").expect("removed");
        run_pass(&source, place.as_ref(), dir.path(), "sqlite");
    });
    let peak = peak_rss();
    let parts = vacuum + check + pass;
    report(
        "backup of a 200 MB database, parts",
        &format!("{parts:.2} CPU s: VACUUM INTO {vacuum:.2}, integrity_check {check:.2}, pass {pass:.2}"),
    );
    report("backup of a 200 MB database", &format!("{whole:.2} CPU s, {:.3} of its parts", whole / parts));
    report("memory of the database's backup", &format!("{:.1} MiB at most, {:.1} MiB before", mib(peak), mib(before)));
}

/// A whole job: the pass, the manifest, the history, and the copy read back.
fn job() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let source = text(dir.path());
    let spec = job_spec(FileSource { path: source }, dir.path());
    let before = reset_peak_rss();
    let (state, cpu, wall) = timed(|| run_job(&spec, dir.path()));
    report(
        "whole job of 512 MB, verified",
        &format!(
            "{cpu:.2} CPU s, {wall:.2} s, {state}; {:.1} MiB at most, {:.1} MiB before",
            mib(peak_rss()),
            mib(before)
        ),
    );
}

/// Least processor seconds of an action.
fn best(mut action: impl FnMut()) -> f64 {
    (0..ROUNDS).map(|_| timed(&mut action).1).fold(f64::MAX, f64::min)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn disk(root: &Path) -> Box<dyn Place> {
    LocalFolder { path: root.join("disk") }.open(None).expect("a destination")
}

fn job_spec(source: impl BackupSource + 'static, root: &Path) -> JobSpec {
    let destination =
        NamedDestination { name: "disk".into(), destination: Arc::new(LocalFolder { path: root.join("disk") }) };
    JobSpec {
        name: "bench".into(),
        source: Arc::new(source),
        schedule: None,
        destinations: vec![destination],
        keep: None,
        level: LEVEL,
    }
}

fn run_job(spec: &JobSpec, root: &Path) -> String {
    let state = BackupState::create(&root.join("state")).expect("a state directory");
    let (host, cancel) = (HostId::new("bench"), CancellationToken::new());
    let runner = Runner { host: &host, state: &state, spec, cancel: &cancel, observe: &|_| {} };
    let report = runner.run(None).expect("it ran");
    report.run.verification().word().to_string()
}

/// The pass of a job, without its manifest.
fn run_pass(source: &dyn BackupSource, place: &dyn Place, scratch: &Path, name: &str) -> PassSums {
    let cancel = CancellationToken::new();
    let _ = std::fs::remove_file(scratch.join("copy.sqlite"));
    let cx = SourceContext { scratch: Ok(scratch), scratch_path: scratch, cancel: &cancel, progress: &|_| {} };
    let mut opened = source.open(&cx).unwrap_or_else(|error| panic!("{error:?}"));
    let mut fan = FanOut::default();
    fan.push(0, place.create_new(name).expect("created"));
    let sums = pass::run(&mut opened.reader, LEVEL, &mut fan, &cancel, &mut |_| {});
    for (_, written) in fan.finish() {
        written.expect("synced");
    }
    sums.unwrap_or_else(|error| panic!("{error:?}"))
}

/// A file source that takes a database for a file like any other.
struct Plain(PathBuf);

impl BackupSource for Plain {
    fn kind(&self) -> &'static str {
        "plain"
    }
    fn describe(&self) -> String {
        self.0.display().to_string()
    }
    fn open(
        &self,
        _cx: &SourceContext<'_>,
    ) -> Result<hotseat::service::backup::source::Opened, hotseat::service::backup::source::SourceError> {
        use hotseat::service::backup::source::{Consistency, Opened, SourceError, SourceReader};
        struct PlainReader(File);
        impl Read for PlainReader {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.read(buffer)
            }
        }
        impl SourceReader for PlainReader {
            fn finish(&mut self) -> Result<Consistency, SourceError> {
                Ok(Consistency::Consistent)
            }
        }
        Ok(Opened {
            reader: Box::new(PlainReader(File::open(&self.0).expect("opened"))),
            size_bytes: None,
            consistent_at: clock::now(),
            kind: "plain",
            version: String::new(),
            consistency: String::new(),
            extension: "bin".into(),
        })
    }
}

fn blocks(path: &Path, mut each: impl FnMut(&[u8])) {
    let mut file = File::open(path).expect("opened");
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        match file.read(&mut block).expect("read") {
            0 => return,
            count => each(&block[..count]),
        }
    }
}

fn read_only(path: &Path) {
    let mut sum = 0_usize;
    blocks(path, |block| sum += block.len());
    std::hint::black_box(sum);
}

fn hashed(path: &Path) {
    let mut hash = Sha256::new();
    blocks(path, |block| hash.update(block));
    std::hint::black_box(hash.finalize());
}

fn compressed(path: &Path, out: &mut dyn Write) {
    let mut encoder = zstd::Encoder::new(out, LEVEL).expect("an encoder");
    encoder.include_checksum(true).expect("a checksum");
    blocks(path, |block| encoder.write_all(block).expect("compressed"));
    encoder.finish().expect("compressed");
}

fn decoded(path: &Path) {
    let mut decoder = zstd::Decoder::new(File::open(path).expect("opened")).expect("a decoder");
    io::copy(&mut decoder, &mut io::sink()).expect("decoded");
}

fn written(from: &Path, to: &Path) {
    let _ = std::fs::remove_file(to);
    let mut out = File::create_new(to).expect("created");
    blocks(from, |block| out.write_all(block).expect("written"));
    out.sync_all().expect("synced");
}

/// Wall seconds of the tool, when there is one.
fn sha256sum(path: &Path) -> Option<f64> {
    let mut least = f64::MAX;
    for _ in 0..ROUNDS {
        let start = clock::monotonic();
        let status = Command::new("sha256sum").arg(path).stdout(Stdio::null()).status().ok()?;
        if !status.success() {
            return None;
        }
        least = least.min(start.elapsed().as_secs_f64());
    }
    Some(least)
}

/// Writes a dump as a database tool would.
fn text(dir: &Path) -> PathBuf {
    const CITIES: [&str; 6] = ["Hangzhou", "Shanghai", "Beijing", "Guangzhou", "Chengdu", "Nanjing"];
    const STATES: [&str; 4] = ["paid", "open", "sent", "returned"];
    let path = dir.join("dump.sql");
    let mut random = fastrand::Rng::with_seed(11);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&path).expect("created"));
    let (mut bytes, mut id) = (0, 0_u64);
    while bytes < TEXT_BYTES {
        id += 1;
        let line = format!(
            "INSERT INTO orders VALUES({id},'2024-08-{:02} {:02}:{:02}:{:02}','{}','{}',{}.{:02},'{:016x}','customer {} of {}');\n",
            random.u8(1..29),
            random.u8(0..24),
            random.u8(0..60),
            random.u8(0..60),
            STATES[random.usize(..STATES.len())],
            CITIES[random.usize(..CITIES.len())],
            random.u32(1..9_000),
            random.u8(0..100),
            random.u64(..),
            random.u32(1..200_000),
            CITIES[random.usize(..CITIES.len())],
        );
        bytes += line.len();
        out.write_all(line.as_bytes()).expect("written");
    }
    out.flush().expect("written");
    path
}

fn database(dir: &Path) -> PathBuf {
    let path = dir.join("orders.db");
    let connection = Connection::open(&path).expect("opened");
    connection
        .execute_batch(
            "PRAGMA synchronous=OFF;
             CREATE TABLE orders(id INTEGER PRIMARY KEY, at TEXT, state TEXT, city TEXT, cents INTEGER, token TEXT);
             CREATE INDEX orders_by_city ON orders(city, at);",
        )
        .expect("made");
    let mut first = 1;
    while std::fs::metadata(&path).expect("there").len() < DATABASE_BYTES {
        connection
            .execute(
                "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 + 49999)
                 INSERT INTO orders SELECT i, datetime(1724000000 + i, 'unixepoch'), 'paid', 'city ' || (i * 7919 % 600),
                 i * 31 % 900000, hex(randomblob(24)) FROM n",
                [first],
            )
            .expect("filled");
        first += 50_000;
    }
    connection.close().expect("closed");
    path
}
