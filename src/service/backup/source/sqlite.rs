//! A SQLite database, copied with SQLite's backup API while others write to it.
//!
//! The copy goes into a private scratch file, page slice by page slice, and is checked with
//! `integrity_check` before a byte of it is stored.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::clock;
use crate::domain::backup::run::{Progress, Stage};
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::backup::folder::io_text;
use crate::service::backup::source::file::open_regular;
use crate::service::backup::source::{BackupSource, Consistency, Opened, SourceContext, SourceError, SourceReader};
use crate::store::file_system;

/// `sqlite = "/path/to.db"`.
pub const KIND: Kind<dyn BackupSource> = Kind {
    name: "sqlite",
    summary: "a SQLite database, copied while it is in use",
    example: "[[backup]]\nname = \"orders-db\"\nsqlite = \"/var/lib/app/orders.db\"\nat = \"daily 01:00\"\nto = \"/backup/orders\"\nkeep = { last = 7, weekly = 4, monthly = 6 }\n",
    build,
};

/// Pages copied at once: 4 MiB of 4 KiB pages, a few milliseconds during which a writer waits.
const SLICE_PAGES: i32 = 1024;
/// Restarts forced by other writers before the rest is copied in one step, during which they wait.
const RESTARTS_MAX: u32 = 5;
/// Wait before a busy database is asked again.
const BUSY_WAIT: Duration = Duration::from_millis(25);
/// Time without a single page copied after which a busy database is given up.
const BUSY_MAX: Duration = Duration::from_secs(60);
/// How often a long check looks whether the run was cancelled.
const CANCEL_TICK: Duration = Duration::from_millis(50);

fn build(node: &Node<'_>) -> Option<Box<dyn BackupSource>> {
    let path = super::read_path(node)?;
    Some(Box::new(SqliteSource { path }))
}

/// A SQLite database.
pub struct SqliteSource {
    /// Which.
    pub path: PathBuf,
}

impl BackupSource for SqliteSource {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn open(&self, cx: &SourceContext<'_>) -> Result<Opened, SourceError> {
        // SQLite would make a missing database, and copy it as an empty one.
        let file = open_regular(&self.path).map_err(|error| SourceError::io(&self.path, &error))?;
        let size_bytes = file.metadata().map_err(|error| SourceError::io(&self.path, &error))?.len();
        if size_bytes == 0 {
            return Err(SourceError::Failed(format!("`{}` is empty", self.path.display())));
        }
        let scratch = cx.scratch.map_err(|error| cx.not_copied(&self.path, Some(size_bytes), io_text(error)))?;
        let copy_path = scratch.join("copy.sqlite");
        let (consistent_at, consistency) = self.copy(cx, &copy_path, size_bytes)?;
        let copy = open_regular(&copy_path).map_err(|error| SourceError::on(&copy_path, error))?;
        let size_bytes = copy.metadata().map_err(|error| SourceError::on(&copy_path, error))?.len();
        Ok(Opened {
            reader: Box::new(ScratchFile(copy)),
            size_bytes: Some(size_bytes),
            consistent_at,
            kind: KIND.name,
            version: format!("sqlite {}", rusqlite::version()),
            consistency,
            extension: "sqlite".into(),
        })
    }
}

impl SqliteSource {
    fn copy(
        &self,
        cx: &SourceContext<'_>,
        copy_path: &std::path::Path,
        size_bytes: u64,
    ) -> Result<(jiff::Timestamp, String), SourceError> {
        let fail = |error: rusqlite::Error| SourceError::on(&self.path, error);
        let not_copied = |why: &dyn std::fmt::Display| cx.not_copied(&self.path, Some(size_bytes), why);
        // Only the copy is written to: what a disk refuses to take was meant for it.
        let fail_copying = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => not_copied(&"no space left on device"),
            Some(ErrorCode::ReadOnly) => not_copied(&"the filesystem is read-only"),
            Some(ErrorCode::SystemIoFailure) if file_system::is_full(cx.scratch_path) => {
                not_copied(&"no space left on device")
            }
            _ => fail(error),
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let source = Connection::open_with_flags(&self.path, flags).map_err(fail)?;
        source.busy_timeout(Duration::ZERO).map_err(fail)?;
        let mode: String = retry_busy(cx, || source.query_row("PRAGMA journal_mode", [], |row| row.get(0)))
            .map_err(|error| error.map_or(SourceError::Cancelled, fail))?;
        let wal = mode.eq_ignore_ascii_case("wal");
        let mut consistent_at = clock::now();
        if wal {
            // A read transaction fixes the snapshot: writers go on, and none of them restarts the copy.
            let begin = || source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;");
            retry_busy(cx, begin).map_err(|error| error.map_or(SourceError::Cancelled, fail))?;
        }
        let mut copy = Connection::open(copy_path).map_err(|error| not_copied(&error))?;
        let mut restarts = 0;
        {
            let backup = Backup::new(&source, &mut copy).map_err(fail)?;
            let mut idle_since = clock::monotonic();
            let mut remaining_before = i32::MAX;
            loop {
                if cx.cancel.is_cancelled() {
                    return Err(SourceError::Cancelled);
                }
                let slice = if restarts > RESTARTS_MAX { -1 } else { SLICE_PAGES };
                match backup.step(slice).map_err(fail_copying)? {
                    StepResult::Done => break,
                    StepResult::More => {
                        idle_since = clock::monotonic();
                        let progress = backup.progress();
                        if progress.remaining >= remaining_before {
                            restarts += 1;
                            consistent_at = clock::now();
                        }
                        remaining_before = progress.remaining;
                        (cx.progress)(copy_progress(&progress));
                    }
                    // Busy, locked, and whatever SQLite adds to them.
                    _ => {
                        if clock::monotonic().duration_since(idle_since) > BUSY_MAX {
                            let busy = format!("the database was locked for {} s", BUSY_MAX.as_secs());
                            return Err(SourceError::on(&self.path, busy));
                        }
                        std::thread::sleep(BUSY_WAIT);
                    }
                }
            }
        }
        check(cx, &copy).map_err(|error| match error {
            SourceError::Failed(why) => SourceError::Failed(format!("the copy of `{}` {why}", self.path.display())),
            SourceError::Cancelled => SourceError::Cancelled,
        })?;
        copy.close().map_err(|(_, error)| not_copied(&error))?;
        let how = match (wal, restarts) {
            (true, _) => "sqlite backup API on a WAL snapshot, integrity_check ok".to_string(),
            (false, 0) => "sqlite backup API, integrity_check ok".to_string(),
            (false, _) => format!("sqlite backup API, restarted {restarts} times by writers, integrity_check ok"),
        };
        Ok((consistent_at, how))
    }
}

fn copy_progress(progress: &rusqlite::backup::Progress) -> Progress {
    let pages = |it: i32| u64::try_from(it).unwrap_or_default();
    // The page size is not known here; a ratio is all that is drawn of this stage.
    let total = pages(progress.pagecount) * 4096;
    Progress {
        stage: Stage::Copying,
        done_bytes: total.saturating_sub(pages(progress.remaining) * 4096),
        total_bytes: Some(total),
    }
}

/// Tries again while the database is busy. `Err(None)` is a cancelled run.
fn retry_busy<T>(
    cx: &SourceContext<'_>,
    mut action: impl FnMut() -> rusqlite::Result<T>,
) -> Result<T, Option<rusqlite::Error>> {
    let begun = clock::monotonic();
    loop {
        match action() {
            Err(error) if is_busy(&error) && clock::monotonic().duration_since(begun) < BUSY_MAX => {
                if cx.cancel.is_cancelled() {
                    return Err(None);
                }
                std::thread::sleep(BUSY_WAIT);
            }
            other => return other.map_err(Some),
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
}

/// Runs `integrity_check`; a cancelled run interrupts it.
fn check(cx: &SourceContext<'_>, copy: &Connection) -> Result<(), SourceError> {
    let interrupt = copy.get_interrupt_handle();
    let done = AtomicBool::new(false);
    let verdict = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                if cx.cancel.is_cancelled() {
                    interrupt.interrupt();
                }
                std::thread::park_timeout(CANCEL_TICK);
            }
        });
        let verdict = copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
        done.store(true, Ordering::Release);
        watcher.thread().unpark();
        verdict
    });
    if cx.cancel.is_cancelled() {
        return Err(SourceError::Cancelled);
    }
    match verdict {
        Ok(word) if word == "ok" => Ok(()),
        Ok(found) => Err(SourceError::Failed(format!("fails its integrity check: {found}"))),
        Err(error) => Err(SourceError::Failed(format!("could not be checked: {error}"))),
    }
}

/// The finished copy; nobody else writes to it.
struct ScratchFile(std::fs::File);

impl std::io::Read for ScratchFile {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl SourceReader for ScratchFile {
    fn finish(&mut self) -> Result<Consistency, SourceError> {
        Ok(Consistency::Consistent)
    }
}
