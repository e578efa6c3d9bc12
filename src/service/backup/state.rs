//! What this host remembers of its jobs: the journal of runs, the locks, the scratch folders.
//!
//! The manifests in the destinations are the truth about what exists; the journal adds what they cannot say:
//! runs that failed, were missed or cut off, what was deleted on purpose, which marker a destination had.
//! It is append-only JSON lines; a line that cannot be read is skipped and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::backup::RUNS_MAX;
use crate::domain::backup::run::Run;
use crate::domain::ids::RunId;

/// Size from which the journal is rewritten at a start: some ten thousand runs.
const JOURNAL_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Tries for a job's lock: who only looks whether the job runs holds it for some microseconds.
const LOCK_TRIES: u32 = 5;
/// Wait between them.
const LOCK_WAIT: Duration = Duration::from_millis(5);

/// The `backups` folder of the state directory.
#[derive(Debug, Clone)]
pub struct BackupState {
    folder: PathBuf,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// A job got a schedule.
    Scheduled {
        /// Its name.
        job: String,
        /// The schedule and its zone; empty without one.
        schedule: String,
        /// From when on its slots count.
        since: Timestamp,
    },
    /// A destination was written to.
    Marker {
        /// The job's name.
        job: String,
        /// Where.
        location: String,
        /// The id in its marker.
        id: String,
    },
    /// A run began.
    Started(Box<Run>),
    /// A run ended, or a slot was missed.
    Ended(Box<Run>),
    /// A copy was deleted by the retention.
    Deleted {
        /// From which destination.
        destination: String,
        /// Whose.
        run: RunId,
    },
}

/// The journal, read.
#[derive(Debug, Default)]
pub struct Remembered {
    /// Per job: its schedule and since when.
    pub schedules: BTreeMap<String, (String, Timestamp)>,
    /// Per job and location: the marker's id.
    pub markers: BTreeMap<(String, String), String>,
    /// Runs that began, without those that ended.
    pub begun: BTreeMap<RunId, Run>,
    /// Runs that ended.
    pub ended: BTreeMap<RunId, Run>,
    /// Copies that were deleted on purpose.
    pub deleted: BTreeSet<(String, RunId)>,
    /// Lines that could not be read.
    pub skipped: usize,
}

impl BackupState {
    /// Opens the folder and makes it when it is not there.
    pub fn create(state_dir: &Path) -> io::Result<Self> {
        let folder = state_dir.join("backups");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder })
    }

    /// Names the folder without making it, for reading.
    pub fn existing(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("backups") }
    }

    fn journal_path(&self) -> PathBuf {
        self.folder.join("history.ndjson")
    }

    /// Bytes of the journal: changes when another process adds to it.
    pub fn journal_bytes(&self) -> u64 {
        std::fs::metadata(self.journal_path()).map_or(0, |it| it.len())
    }

    /// Appends a line and syncs it.
    pub fn append(&self, record: &Record) -> io::Result<()> {
        let _lock = self.lock_journal()?;
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(self.journal_path())?;
        let mut line = serde_json::to_vec(record).map_err(io::Error::other)?;
        line.push(b'\n');
        if !ends_with_newline(&mut file)? {
            // The last writer was cut off within its line.
            line.insert(0, b'\n');
        }
        file.write_all(&line)?;
        file.sync_data()
    }

    /// Reads the journal; one that is not there is empty.
    pub fn remembered(&self) -> Remembered {
        let mut remembered = Remembered::default();
        let Ok(bytes) = std::fs::read(self.journal_path()) else { return remembered };
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(record) => remembered.add(record),
                Err(_) => remembered.skipped += 1,
            }
        }
        remembered
    }

    /// Rewrites a journal that has grown large, with the newest runs of every job.
    pub fn compact(&self) -> io::Result<()> {
        if self.journal_bytes() < JOURNAL_BYTES_MAX {
            return Ok(());
        }
        let _lock = self.lock_journal()?;
        let records = self.remembered().newest();
        let partial = self.folder.join("history.ndjson.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        for record in records {
            let mut line = serde_json::to_vec(&record).map_err(io::Error::other)?;
            line.push(b'\n');
            file.write_all(&line)?;
        }
        file.sync_all()?;
        std::fs::rename(partial, self.journal_path())
    }

    fn lock_journal(&self) -> io::Result<File> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.folder.join("history.lock"))?;
        // Held only while a line is written.
        file.lock()?;
        Ok(file)
    }

    /// Takes a job's lock: kernel-held, so that a killed run leaves it free.
    ///
    /// # Errors
    /// The inner one says in words who holds it.
    pub fn lock_job(&self, job: &str, now: Timestamp) -> io::Result<Result<JobLock, String>> {
        let path = self.folder.join(format!("{job}.lock"));
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut tries = 1;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                    tries += 1;
                    std::thread::sleep(LOCK_WAIT);
                }
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    (&mut file).take(200).read_to_string(&mut holder)?;
                    return Ok(Err(holder.trim().to_string()));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        // From here on it is given back on every way out.
        let mut lock = JobLock { file };
        let line = format!("process {} since {now:.0}\n", std::process::id());
        lock.file.seek(SeekFrom::Start(0))?;
        // Over what stands there, so that a full disk takes it; where it does not, the lock is held all the same, and a
        // backup goes where there is room.
        if let Err(error) = lock.file.write_all(line.as_bytes()).and_then(|()| lock.file.set_len(line.len() as u64)) {
            tracing::warn!("could not write down who runs the backup job `{job}`: {error}");
        }
        Ok(Ok(lock))
    }

    /// True while some process runs the job.
    pub fn is_running(&self, job: &str) -> bool {
        let Ok(file) = File::open(self.folder.join(format!("{job}.lock"))) else { return false };
        let looked = file.try_lock_shared();
        if looked.is_ok() {
            give_back(&file);
        }
        matches!(looked, Err(TryLockError::WouldBlock))
    }

    /// Where a job's scratch folder is while it runs.
    pub fn scratch_path(&self, job: &str) -> PathBuf {
        self.folder.join(format!("{job}.scratch"))
    }

    /// Makes the job's scratch folder anew; the caller holds the job's lock.
    pub fn scratch(&self, job: &str) -> io::Result<Scratch> {
        let path = self.scratch_path(job);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Scratch { path })
    }
}

fn ends_with_newline(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// A job's lock; free again when dropped.
#[derive(Debug)]
pub struct JobLock {
    file: File,
}

impl Drop for JobLock {
    fn drop(&mut self) {
        give_back(&self.file);
    }
}

/// Unlocks in so many words. Closing is not enough: a child process between its fork and its exec (a command probe)
/// has the descriptor as well, and would keep the lock for that long.
fn give_back(file: &File) {
    // Should it fail, the lock goes with the last descriptor.
    let _ = file.unlock();
}

/// A private folder for copies; removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Where.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the job's next run.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

impl Remembered {
    fn add(&mut self, record: Record) {
        match record {
            Record::Scheduled { job, schedule, since } => {
                self.schedules.insert(job, (schedule, since));
            }
            Record::Marker { job, location, id } => {
                self.markers.insert((job, location), id);
            }
            Record::Started(run) => {
                self.begun.insert(run.id.clone(), *run);
            }
            Record::Ended(run) => {
                self.begun.remove(&run.id);
                self.ended.insert(run.id.clone(), *run);
            }
            Record::Deleted { destination, run } => {
                self.deleted.insert((destination, run));
            }
        }
    }

    fn newest(self) -> Vec<Record> {
        let mut records = Vec::new();
        for (job, (schedule, since)) in self.schedules {
            records.push(Record::Scheduled { job, schedule, since });
        }
        for ((job, location), id) in self.markers {
            records.push(Record::Marker { job, location, id });
        }
        let mut runs: Vec<Run> = self.ended.into_values().collect();
        runs.sort_by(|left, right| (&left.job, right.started).cmp(&(&right.job, left.started)));
        let mut count = 0;
        let mut job = None;
        for run in runs {
            count = if job.as_ref() == Some(&run.job) { count + 1 } else { 1 };
            job = Some(run.job.clone());
            if count <= RUNS_MAX {
                let deleted = self.deleted.iter().filter(|(_, id)| *id == run.id);
                records.extend(
                    deleted.map(|(destination, run)| Record::Deleted {
                        destination: destination.clone(),
                        run: run.clone(),
                    }),
                );
                records.push(Record::Ended(Box::new(run)));
            }
        }
        records.extend(self.begun.into_values().map(|run| Record::Started(Box::new(run))));
        records
    }
}
