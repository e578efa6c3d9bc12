//! The outbox on disk: deliveries, what became of them, and every attempt.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use crate::domain::alert::delivery::{Action, Delivery, DeliveryState};
use crate::store::samples::{json, timestamp};

/// Deliveries kept, also those of which nothing more comes: a year of a bad service, and what `explain` reads.
pub const ROWS_MAX: i64 = 10_000;

/// What is to be written of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// The delivery's id.
    pub id: String,
    /// What became of it.
    pub state: DeliveryState,
    /// When.
    pub at: Timestamp,
    /// Recipients that have it already.
    pub reached: Vec<String>,
    /// The attempt that this is about.
    pub attempt: Option<Attempt>,
}

/// One attempt to send a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Counts from 1.
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// When it ended; `None` while it is under way, and for ever when the process ended in the middle.
    pub ended: Option<Timestamp>,
    /// What came of it, redacted.
    pub text: String,
}

/// A delivery as the outbox keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// What was to be sent.
    pub delivery: Delivery,
    /// What became of it.
    pub state: DeliveryState,
    /// When that was so.
    pub changed: Timestamp,
    /// Recipients that have it already.
    pub reached: Vec<String>,
}

/// True until nothing more is done about a delivery.
pub fn is_open(state: &DeliveryState) -> bool {
    match state {
        DeliveryState::Queued | DeliveryState::Sending { .. } | DeliveryState::Retrying { .. } => true,
        DeliveryState::Sent { .. } | DeliveryState::Failed { .. } | DeliveryState::Expired | DeliveryState::Merged => {
            false
        }
    }
}

/// Puts a delivery in; one that is there stays as it is.
pub(super) fn insert(connection: &Connection, delivery: &Delivery) -> rusqlite::Result<()> {
    let at = delivery.at.as_microsecond();
    connection
        .prepare_cached(
            "INSERT INTO outbox (id, alert, notifier, delivery, state, reached, open, at, changed) \
             VALUES (?,?,?,?,?,'[]',1,?,?) ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            delivery.id,
            delivery.key,
            delivery.notifier,
            json(delivery)?,
            json(&DeliveryState::Queued)?,
            at,
            at
        ])?;
    Ok(())
}

/// Writes what became of a delivery.
pub(super) fn mark(connection: &Connection, mark: &Mark) -> rusqlite::Result<()> {
    let sql = "UPDATE outbox SET state = ?, reached = ?, open = ?, changed = ? WHERE id = ?";
    connection.prepare_cached(sql)?.execute(params![
        json(&mark.state)?,
        json(&mark.reached)?,
        is_open(&mark.state),
        mark.at.as_microsecond(),
        mark.id
    ])?;
    Ok(())
}

/// Takes a delivery that is not on its way out of the queue: what it says is in a later one.
pub(super) fn supersede(connection: &Connection, id: &str, at: Timestamp) -> rusqlite::Result<()> {
    let merged = json(&DeliveryState::Merged)?;
    connection
        .prepare_cached(
            "UPDATE outbox SET state = ?, open = 0, changed = ? \
             WHERE id = ? AND open = 1 AND state NOT LIKE '{\"sending\"%'",
        )?
        .execute(params![merged, at.as_microsecond(), id])?;
    Ok(())
}

/// Writes an attempt.
pub(super) fn attempt(connection: &Connection, delivery: &str, attempt: &Attempt) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO attempt (delivery, number, at, ended, text) VALUES (?,?,?,?,?)")?
        .execute(params![
            delivery,
            attempt.number,
            attempt.at.as_microsecond(),
            attempt.ended.map(Timestamp::as_microsecond),
            attempt.text
        ])?;
    Ok(())
}

/// Drops the oldest of those that are done past [`ROWS_MAX`].
pub(super) fn trim(connection: &Connection) -> rusqlite::Result<()> {
    let border: Option<i64> =
        connection.prepare_cached("SELECT max(seq) - ? FROM outbox")?.query_row([ROWS_MAX], |row| row.get(0))?;
    let Some(border) = border.filter(|it| *it > 0) else { return Ok(()) };
    connection
        .prepare_cached("DELETE FROM attempt WHERE delivery IN (SELECT id FROM outbox WHERE seq <= ? AND open = 0)")?
        .execute([border])?;
    connection.prepare_cached("DELETE FROM outbox WHERE seq <= ? AND open = 0")?.execute([border])?;
    Ok(())
}

/// Deliveries that are still to be sent, in their order.
///
/// # Errors
/// When SQLite refuses.
pub fn open(connection: &Connection) -> rusqlite::Result<Vec<Kept>> {
    let mut all = Vec::new();
    open_into(connection, &mut all)?;
    Ok(all)
}

/// As [`open`], until a row cannot be read; those before it are in `all`.
///
/// # Errors
/// When SQLite refuses.
pub fn open_into(connection: &Connection, all: &mut Vec<Kept>) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare_cached("SELECT delivery, state, changed, reached FROM outbox WHERE open = 1 ORDER BY seq")?;
    collect_into(statement.query([])?, all)
}

/// Of every alert and notifier, what was sent last, where that was not that it is over.
///
/// # Errors
/// When SQLite refuses.
pub fn lasting(connection: &Connection) -> rusqlite::Result<Vec<Delivery>> {
    let mut statement = connection.prepare_cached(
        "SELECT delivery, state, changed, reached FROM outbox \
         WHERE state LIKE '{\"sent\"%' AND seq IN \
         (SELECT max(seq) FROM outbox WHERE state LIKE '{\"sent\"%' GROUP BY alert, notifier) ORDER BY seq",
    )?;
    let lasts = |it: &Delivery| matches!(it.action, Action::Trigger | Action::Remind | Action::Acknowledge);
    Ok(collect(statement.query([])?)?.into_iter().map(|it| it.delivery).filter(lasts).collect())
}

/// Deliveries that are done with and on their way as far as the alert policy has written down.
///
/// # Errors
/// When SQLite refuses.
pub fn settled(connection: &Connection) -> rusqlite::Result<Vec<Kept>> {
    // The rows of the policy about deliveries begin with `out/`; `0` comes after `/`.
    let mut statement = connection.prepare_cached(
        "SELECT delivery, state, changed, reached FROM alert_row JOIN outbox ON outbox.id = substr(key, 5) \
         WHERE key > 'out/' AND key < 'out0' AND open = 0 ORDER BY seq",
    )?;
    collect(statement.query([])?)
}

/// Deliveries decided in a range of time that are about a subject (a probe's id), in their order.
///
/// # Errors
/// When SQLite refuses.
pub fn about(
    connection: &Connection,
    subject: &str,
    range: std::ops::Range<Timestamp>,
) -> rusqlite::Result<Vec<(Kept, Vec<Attempt>)>> {
    let mut statement = connection
        .prepare_cached("SELECT delivery, state, changed, reached FROM outbox WHERE at >= ? AND at < ? ORDER BY seq")?;
    let all = collect(statement.query(params![range.start.as_microsecond(), range.end.as_microsecond()])?)?;
    all.into_iter()
        .filter(|it| it.delivery.message.alerts.iter().any(|it| it.subject == subject))
        .map(|it| Ok((attempts(connection, &it.delivery.id)?, it)))
        .map(|it| it.map(|(attempts, kept)| (kept, attempts)))
        .collect()
}

/// The attempts to send a delivery, first to last.
///
/// # Errors
/// When SQLite refuses.
pub fn attempts(connection: &Connection, delivery: &str) -> rusqlite::Result<Vec<Attempt>> {
    let mut statement =
        connection.prepare_cached("SELECT number, at, ended, text FROM attempt WHERE delivery = ? ORDER BY number")?;
    let read = |row: &Row<'_>| {
        Ok(Attempt {
            number: row.get(0)?,
            at: timestamp(row.get(1)?),
            ended: row.get::<_, Option<i64>>(2)?.map(timestamp),
            text: row.get(3)?,
        })
    };
    statement.query_map([delivery], read)?.collect()
}

fn collect(rows: rusqlite::Rows<'_>) -> rusqlite::Result<Vec<Kept>> {
    let mut all = Vec::new();
    collect_into(rows, &mut all)?;
    Ok(all)
}

fn collect_into(mut rows: rusqlite::Rows<'_>, all: &mut Vec<Kept>) -> rusqlite::Result<()> {
    while let Some(row) = rows.next()? {
        let (delivery, state) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
        match (serde_json::from_str(delivery), serde_json::from_str(state)) {
            (Ok(delivery), Ok(state)) => {
                let reached = serde_json::from_str(row.get_ref(3)?.as_str()?).unwrap_or_default();
                all.push(Kept { delivery, state, changed: timestamp(row.get(2)?), reached });
            }
            // Of another version in which a field was different; it stays in the file.
            _ => tracing::error!("a delivery in the outbox cannot be read"),
        }
    }
    Ok(())
}
