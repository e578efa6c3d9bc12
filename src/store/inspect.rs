//! What a person can ask of the file: what is in it, whether it is sound, and to have its sums made again.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};
use serde::Serialize;

use crate::domain::alert::delivery::Delivery;
use crate::domain::{format, sanitise};
use crate::store::database::{self, Database, FILE_NAME, Opened, StoreError};
use crate::store::rollup;
use crate::store::samples::timestamp;

/// Faults that are listed; a file with more is lost.
const FAULTS_MAX: usize = 100;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stat {
    /// Where it is.
    pub path: String,
    /// Bytes on disk, with its log.
    pub disk_bytes: u64,
    /// Bytes in use; what is free in it is used again.
    pub used_bytes: u64,
    /// Probes that anything is known of.
    pub probes: u64,
    /// Runs.
    pub outcomes: u64,
    /// Runs that were not fine, with what was seen.
    pub failures: u64,
    /// When the oldest run began.
    pub since: Option<Timestamp>,
    /// When the newest run began.
    pub until: Option<Timestamp>,
    /// Sums of five minutes.
    pub minutes: u64,
    /// Sums of an hour.
    pub hours: u64,
    /// Rows of the alert policy.
    pub alert_rows: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Of those, deliveries that are still to be sent.
    pub open_deliveries: u64,
    /// Attempts to send them.
    pub attempts: u64,
}

/// Counts what the file of a state directory holds; `None` when there is none.
///
/// # Errors
/// When it cannot be read.
pub fn stat(state_dir: &Path) -> Result<Option<Stat>, StoreError> {
    let path = state_dir.join(FILE_NAME);
    let Some(Opened { connection, .. }) = database::open_to_read(state_dir)? else { return Ok(None) };
    let read = || {
        // One transaction, so that the numbers fit together.
        let _transaction = connection.unchecked_transaction()?;
        let border = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
        let bytes =
            |ending: &str| fs::metadata(state_dir.join(format!("{FILE_NAME}{ending}"))).map_or(0, |it| it.len());
        Ok(Stat {
            path: path.display().to_string(),
            disk_bytes: bytes("") + bytes("-wal"),
            used_bytes: rollup::used_bytes(&connection)?,
            probes: count(&connection, "probe")?,
            outcomes: count(&connection, "outcome")?,
            failures: count(&connection, "evidence")?,
            since: border("SELECT min(at) FROM outcome")?.map(timestamp),
            until: border("SELECT max(at) FROM outcome")?.map(timestamp),
            minutes: count(&connection, "minutes")?,
            hours: count(&connection, "hours")?,
            alert_rows: count(&connection, "alert_row")?,
            deliveries: count(&connection, "outbox")?,
            open_deliveries: count(&connection, "outbox WHERE open = 1")?,
            attempts: count(&connection, "attempt")?,
        })
    };
    read().map(Some).map_err(|error| StoreError::of(&path, error))
}

/// Looks for faults in the file of a state directory, in words; `None` when there is no file.
///
/// # Errors
/// When it cannot be read at all.
pub fn check(state_dir: &Path) -> Result<Option<Vec<String>>, StoreError> {
    let path = state_dir.join(FILE_NAME);
    let Some(Opened { connection, .. }) = database::open_to_read(state_dir)? else { return Ok(None) };
    faults(&connection).map(Some).map_err(|error| StoreError::of(&path, error))
}

fn faults(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check({FAULTS_MAX})"))?;
    let found: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut faults: Vec<String> = found.iter().filter(|it| *it != "ok").map(|it| sanitise::text(it)).collect();
    let lost = count(connection, "outcome WHERE probe NOT IN (SELECT id FROM probe)")?;
    if lost > 0 {
        faults.push(format!("{} belong to no probe", format::plural(lost, "outcome")));
    }
    let mut statement = connection.prepare("SELECT delivery FROM outbox")?;
    let mut rows = statement.query([])?;
    let mut unreadable = 0;
    while let Some(row) = rows.next()? {
        unreadable += u64::from(serde_json::from_str::<Delivery>(row.get_ref(0)?.as_str()?).is_err());
    }
    match unreadable {
        0 => {}
        1 => faults.push("1 delivery cannot be read".into()),
        more => faults.push(format!("{more} deliveries cannot be read")),
    }
    Ok(faults)
}

/// Makes all sums of the file of a state directory again from what they are derived from, and says how many there
/// are. Nobody else may write meanwhile: the caller holds the lock of the state directory.
///
/// # Errors
/// When it cannot be written; then it is as it was.
pub fn rebuild(state_dir: &Path) -> Result<u64, StoreError> {
    let mut database = Database::open(state_dir)?;
    let mut make = || {
        let transaction = database.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        rollup::rebuild(&transaction)?;
        let sums = count(&transaction, "minutes")? + count(&transaction, "hours")?;
        transaction.commit()?;
        Ok(sums)
    };
    make().map_err(|error| StoreError::of(&state_dir.join(FILE_NAME), error))
}

fn count(connection: &Connection, of: &str) -> rusqlite::Result<u64> {
    connection.query_row(&format!("SELECT count(*) FROM {of}"), [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}
