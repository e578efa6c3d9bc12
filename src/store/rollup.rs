//! Keeps the history small: sums up what is old enough, and drops the oldest of the finest grain first.
//!
//! Sums are derived: `minutes` from outcomes, `hours` from `minutes`. Up to `rolled_minutes` and
//! `rolled_hours` they are written; after that the finer grain speaks. An outcome that comes in behind
//! (a clock that was set back) has the sums of its five minutes made again.

use rusqlite::{Connection, OptionalExtension, params};

use crate::store::samples;
use crate::store::tally::{HOURS_S, MINUTES_S, Table, Tally, floor, raws, slots};

/// A run may take this long until its outcome is there; only then its five minutes are summed up.
const GRACE_S: i64 = 120;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Every run, in days.
    pub raw_days: i64,
    /// Sums of five minutes, in days.
    pub minutes_days: i64,
    /// Sums of an hour, in days.
    pub hours_days: i64,
    /// Bytes of the file that are in use; past that the oldest of the finest grain goes first.
    pub bytes_max: u64,
    /// Bytes that the file never grows past, whatever comes.
    pub file_max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // Forty probes at 15 s write 13 MB a day; a thousand at 30 s write 150 MB and keep two days of runs.
        let bytes_max = 1 << 30;
        Self { raw_days: 7, minutes_days: 35, hours_days: 3 * 366, bytes_max, file_max_bytes: bytes_max + (64 << 20) }
    }
}

/// Borders in the history, in seconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// `minutes` is complete up to here.
    pub rolled_minutes: i64,
    /// `hours` is complete up to here.
    pub rolled_hours: i64,
    /// Outcomes before this are dropped.
    pub raw_since: i64,
    /// Rows of `minutes` before this are dropped.
    pub minutes_since: i64,
}

impl Marks {
    const NAMES: [&str; 4] = ["rolled_minutes", "rolled_hours", "raw_since", "minutes_since"];

    /// Reads them; all 0 in a new file.
    pub fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut marks = Self::default();
        let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?")?;
        for (name, mark) in Self::NAMES.iter().zip(marks.all_mut()) {
            *mark = statement.query_row([name], |row| row.get(0)).optional()?.unwrap_or(0);
        }
        Ok(marks)
    }

    fn write(mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?,?)")?;
        for (name, mark) in Self::NAMES.iter().zip(self.all_mut()) {
            statement.execute(params![name, *mark])?;
        }
        Ok(())
    }

    fn all_mut(&mut self) -> [&mut i64; 4] {
        [&mut self.rolled_minutes, &mut self.rolled_hours, &mut self.raw_since, &mut self.minutes_since]
    }
}

/// Sums up what is old enough. Call it every five minutes, in a transaction.
pub fn roll(connection: &Connection, now_s: i64) -> rusqlite::Result<()> {
    let mut marks = Marks::read(connection)?;
    let until = floor(now_s - GRACE_S, MINUTES_S);
    // A new file, or a clock that ran ahead when the mark was set: what comes behind it is summed up one by one.
    if marks.rolled_minutes == 0 || marks.rolled_minutes > until + 2 * MINUTES_S {
        marks.rolled_minutes = floor(until, HOURS_S);
        marks.rolled_hours = marks.rolled_hours.min(marks.rolled_minutes);
        if marks.rolled_hours == 0 {
            marks.rolled_hours = marks.rolled_minutes;
        }
    }
    let hours_until = floor(until, HOURS_S);
    for (probe, _) in samples::all(connection)? {
        if marks.rolled_minutes < until {
            sum_minutes(connection, probe, marks.rolled_minutes, until)?;
        }
        if marks.rolled_hours < hours_until {
            sum_hours(connection, probe, marks.rolled_hours, hours_until)?;
        }
    }
    marks.rolled_minutes = marks.rolled_minutes.max(until);
    marks.rolled_hours = marks.rolled_hours.max(hours_until);
    marks.write(connection)
}

/// Sums up again what an outcome belongs to that came in behind the mark.
pub fn roll_late(connection: &Connection, marks: &Marks, probe: i64, at_us: i64) -> rusqlite::Result<()> {
    let start = floor(at_us.div_euclid(1_000_000), MINUTES_S);
    // What the sums were made of is gone from there on; they must stay.
    if start >= marks.rolled_minutes || start < marks.raw_since + MINUTES_S {
        return Ok(());
    }
    sum_minutes(connection, probe, start, start + MINUTES_S)?;
    let hour = floor(start, HOURS_S);
    if hour < marks.rolled_hours && hour >= marks.minutes_since {
        sum_hours(connection, probe, hour, hour + HOURS_S)?;
    }
    Ok(())
}

/// Makes all sums again from what they are derived from. In a transaction.
pub fn rebuild(connection: &Connection) -> rusqlite::Result<()> {
    let marks = Marks::read(connection)?;
    // The first stretch that is whole: what was dropped before it may have spoken for its beginning.
    let minutes_from = ceil(marks.raw_since, HOURS_S);
    let hours_from = ceil(marks.minutes_since, HOURS_S);
    for (probe, _) in samples::all(connection)? {
        let first: Option<i64> =
            connection.query_row("SELECT min(at) FROM outcome WHERE probe = ?", [probe], |row| row.get(0))?;
        let from = first.map_or(minutes_from, |it| floor(it.div_euclid(1_000_000), HOURS_S).max(minutes_from));
        connection.execute("DELETE FROM minutes WHERE probe = ? AND start >= ?", params![probe, minutes_from])?;
        if from < marks.rolled_minutes {
            sum_minutes(connection, probe, from, marks.rolled_minutes)?;
        }
        let first: Option<i64> =
            connection.query_row("SELECT min(start) FROM minutes WHERE probe = ?", [probe], |row| row.get(0))?;
        if let Some(from) = first.map(|it| floor(it, HOURS_S).max(hours_from)).filter(|it| *it < marks.rolled_hours) {
            connection.execute("DELETE FROM hours WHERE probe = ? AND start >= ?", params![probe, from])?;
            sum_hours(connection, probe, from, marks.rolled_hours)?;
        }
    }
    Ok(())
}

fn ceil(seconds: i64, length_s: i64) -> i64 {
    floor(seconds + length_s - 1, length_s)
}

fn sum_minutes(connection: &Connection, probe: i64, from: i64, until: i64) -> rusqlite::Result<()> {
    let range = from * 1_000_000..until * 1_000_000;
    for (start, tally) in slots(&raws(connection, probe, range.clone())?, range, MINUTES_S) {
        tally.write(connection, Table::Minutes, probe, start)?;
    }
    Ok(())
}

fn sum_hours(connection: &Connection, probe: i64, from: i64, until: i64) -> rusqlite::Result<()> {
    let mut hours: Vec<(i64, Tally)> = Vec::new();
    Table::Minutes.walk(connection, probe, from..until, |start, tally| {
        let hour = floor(start, HOURS_S);
        match hours.last_mut() {
            Some((last, sum)) if *last == hour => sum.merge(&tally),
            _ => hours.push((hour, tally)),
        }
    })?;
    for (start, tally) in hours {
        tally.write(connection, Table::Hours, probe, start)?;
    }
    Ok(())
}

/// Rows of one probe that can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chore {
    probe: i64,
    raw_before: i64,
    minutes_before: i64,
    hours_before: i64,
}

/// Decides what can go and moves the marks; the rows themselves go by [`Chore::run`], a few probes at a time.
pub fn plan(connection: &Connection, limits: &Limits, now_s: i64) -> rusqlite::Result<Vec<Chore>> {
    let mut marks = Marks::read(connection)?;
    let before = marks;
    let days_ago = |days: i64| floor(now_s - days * 86_400, HOURS_S);
    // What is not summed up yet must stay, also after a clock that ran ahead.
    marks.raw_since = marks.raw_since.max(days_ago(limits.raw_days)).min(marks.rolled_minutes);
    marks.minutes_since = marks.minutes_since.max(days_ago(limits.minutes_days)).min(marks.rolled_hours);
    let mut hours_before = days_ago(limits.hours_days);
    if used_bytes(connection)? > limits.bytes_max {
        let twentieth = |since: i64, least_s: i64| {
            let span = now_s - since;
            (span > least_s).then(|| ceil(since + (span / 20).max(HOURS_S), HOURS_S))
        };
        // A day of runs and a week of minutes stay as long as there is something older to drop.
        let raw_from = oldest(connection, "SELECT min(at) / 1000000 FROM outcome WHERE probe = ?")?;
        let minutes_from = oldest(connection, "SELECT min(start) FROM minutes WHERE probe = ?")?;
        let hours_from = oldest(connection, "SELECT min(start) FROM hours WHERE probe = ?")?;
        if let Some(cut) = raw_from.and_then(|it| twentieth(it, 86_400)) {
            marks.raw_since = cut.min(marks.rolled_minutes);
        } else if let Some(cut) = minutes_from.and_then(|it| twentieth(it, 7 * 86_400)) {
            marks.minutes_since = cut.min(marks.rolled_hours);
        } else if let Some(cut) = hours_from.and_then(|it| twentieth(it, 30 * 86_400)) {
            hours_before = cut;
        } else if let Some(cut) = raw_from.and_then(|it| twentieth(it, HOURS_S)) {
            marks.raw_since = cut.min(marks.rolled_minutes);
        }
    }
    marks.write(connection)?;
    if marks == before
        && hours_before <= oldest(connection, "SELECT min(start) FROM hours WHERE probe = ?")?.unwrap_or(i64::MAX)
    {
        return Ok(Vec::new());
    }
    let chore = |probe| Chore { probe, raw_before: marks.raw_since, minutes_before: marks.minutes_since, hours_before };
    Ok(samples::all(connection)?.into_iter().map(|(probe, _)| chore(probe)).collect())
}

impl Chore {
    /// Drops the rows.
    pub fn run(&self, connection: &Connection) -> rusqlite::Result<()> {
        let raw_before = self.raw_before * 1_000_000;
        for (sql, before) in [
            ("DELETE FROM outcome WHERE probe = ? AND at < ?", raw_before),
            ("DELETE FROM evidence WHERE probe = ? AND at < ?", raw_before),
            ("DELETE FROM minutes WHERE probe = ? AND start < ?", self.minutes_before),
            ("DELETE FROM hours WHERE probe = ? AND start < ?", self.hours_before),
            // The newest turn says since when it is as it is.
            (
                "DELETE FROM turn WHERE probe = ?1 AND at < ?2 AND at < (SELECT max(at) FROM turn WHERE probe = ?1)",
                self.minutes_before * 1_000_000,
            ),
        ] {
            connection.prepare_cached(sql)?.execute(params![self.probe, before])?;
        }
        Ok(())
    }
}

fn oldest(connection: &Connection, sql: &str) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut oldest: Option<i64> = None;
    for (probe, _) in samples::all(connection)? {
        let first: Option<i64> = statement.query_row([probe], |row| row.get(0))?;
        oldest = oldest.into_iter().chain(first).min();
    }
    Ok(oldest)
}

/// Bytes of the file that hold something.
pub fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok((pages * pragma("page_size")?).unsigned_abs())
}
