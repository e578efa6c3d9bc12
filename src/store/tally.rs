//! Sums over a stretch of time: counts, availability and the spread of times.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use crate::domain::probe::history::Point;
use crate::domain::probe::outcome::ProbeResult;
use crate::store::samples::Raw;
use crate::store::spread::Spread;

/// The grain called `minutes`, in seconds: every zone's days begin on such a border.
pub const MINUTES_S: i64 = 300;
/// The grain called `hours`, in seconds.
pub const HOURS_S: i64 = 3600;
/// How long an outcome speaks for a probe when it is not known when the next was due.
const DUE_DEFAULT: Duration = Duration::from_secs(300);

/// What is known of a stretch of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Results that were fine.
    pub ok: u32,
    /// Results that were degraded.
    pub degraded: u32,
    /// Results that failed.
    pub fail: u32,
    /// Results that say nothing.
    pub unknown: u32,
    /// Milliseconds for which an outcome speaks.
    pub known_ms: i64,
    /// Those of them for which a failed one does.
    pub down_ms: i64,
    /// Milliseconds for which any outcome speaks, also one that says nothing. Not kept: where there were such, all of a
    /// row counts.
    pub watched_ms: i64,
    /// Least total time.
    pub least: Option<Duration>,
    /// Most total time.
    pub most: Option<Duration>,
    /// Total times. Runs that failed and those that our own load delayed say nothing about the service's pace.
    pub spread: Spread,
}

impl Tally {
    /// Adds what an outcome says, without the time for which it speaks.
    pub fn add(&mut self, raw: &Raw) {
        let count = match raw.result {
            ProbeResult::Ok => &mut self.ok,
            ProbeResult::Degraded => &mut self.degraded,
            ProbeResult::Fail => &mut self.fail,
            ProbeResult::Unknown => &mut self.unknown,
        };
        *count = count.saturating_add(1);
        if raw.suspect || !matches!(raw.result, ProbeResult::Ok | ProbeResult::Degraded) {
            return;
        }
        let total = raw.phases.total();
        self.least = self.least.into_iter().chain([total]).min();
        self.most = self.most.max(Some(total));
        self.spread.add(total);
    }

    /// Adds what another stretch says.
    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in [
            (&mut self.ok, other.ok),
            (&mut self.degraded, other.degraded),
            (&mut self.fail, other.fail),
            (&mut self.unknown, other.unknown),
        ] {
            *sum = sum.saturating_add(count);
        }
        self.known_ms += other.known_ms;
        self.down_ms += other.down_ms;
        self.watched_ms += other.watched_ms;
        self.least = self.least.into_iter().chain(other.least).min();
        self.most = self.most.max(other.most);
        self.spread.merge(&other.spread);
    }

    /// As a screen draws it.
    pub fn point(&self) -> Point {
        // The middle of a bucket may lie outside of what was measured.
        let within = |it: Option<Duration>| match (it, self.least, self.most) {
            (Some(it), Some(least), Some(most)) => Some(it.clamp(least, most)),
            (it, ..) => it,
        };
        Point {
            ok: self.ok,
            degraded: self.degraded,
            fail: self.fail,
            unknown: self.unknown,
            least: self.least,
            p50: within(self.spread.percentile(50)),
            p95: within(self.spread.percentile(95)),
            p99: within(self.spread.percentile(99)),
            most: self.most,
            unwatched: false,
        }
    }

    /// True when there is nothing to keep.
    fn is_empty(&self) -> bool {
        let runs = [self.ok, self.degraded, self.fail, self.unknown];
        runs == [0; 4] && self.known_ms == 0
    }

    /// Reads a row that begins with `start, ok, degraded, fail, unknown, known, down, least, most, spread`.
    pub fn read(row: &Row<'_>) -> rusqlite::Result<(i64, Self)> {
        let took = |it: Option<i64>| it.map(|it| Duration::from_micros(it.unsigned_abs()));
        Ok((
            row.get(0)?,
            Self {
                ok: row.get(1)?,
                degraded: row.get(2)?,
                fail: row.get(3)?,
                unknown: row.get(4)?,
                known_ms: row.get(5)?,
                watched_ms: row.get(5)?,
                down_ms: row.get(6)?,
                least: took(row.get(7)?),
                most: took(row.get(8)?),
                spread: Spread::decode(row.get_ref(9)?.as_blob()?),
            },
        ))
    }

    /// Writes the row of a probe and a time into `table`; nothing known removes it.
    pub fn write(&self, connection: &Connection, table: Table, probe: i64, start: i64) -> rusqlite::Result<()> {
        if self.is_empty() {
            let sql = match table {
                Table::Minutes => "DELETE FROM minutes WHERE probe = ? AND start = ?",
                Table::Hours => "DELETE FROM hours WHERE probe = ? AND start = ?",
            };
            connection.prepare_cached(sql)?.execute(params![probe, start])?;
            return Ok(());
        }
        let sql = match table {
            Table::Minutes => "INSERT OR REPLACE INTO minutes VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            Table::Hours => "INSERT OR REPLACE INTO hours VALUES (?,?,?,?,?,?,?,?,?,?,?)",
        };
        let us = |it: Option<Duration>| it.map(|it| i64::try_from(it.as_micros()).unwrap_or(i64::MAX));
        connection.prepare_cached(sql)?.execute(params![
            probe,
            start,
            self.ok,
            self.degraded,
            self.fail,
            self.unknown,
            self.known_ms,
            self.down_ms,
            us(self.least),
            us(self.most),
            self.spread.encode()
        ])?;
        Ok(())
    }
}

/// Where sums are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Of five minutes.
    Minutes,
    /// Of an hour.
    Hours,
}

impl Table {
    /// How long a row is, in seconds.
    pub fn length_s(self) -> i64 {
        match self {
            Self::Minutes => MINUTES_S,
            Self::Hours => HOURS_S,
        }
    }

    /// Hands the rows of a probe that begin in a range (seconds) to `each`, oldest first.
    pub fn walk(
        self,
        connection: &Connection,
        probe: i64,
        range: Range<i64>,
        mut each: impl FnMut(i64, Tally),
    ) -> rusqlite::Result<()> {
        let sql = match self {
            Self::Minutes => {
                "SELECT start, ok, degraded, fail, unknown, known, down, least, most, spread \
                 FROM minutes WHERE probe = ? AND start >= ? AND start < ? ORDER BY start"
            }
            Self::Hours => {
                "SELECT start, ok, degraded, fail, unknown, known, down, least, most, spread \
                 FROM hours WHERE probe = ? AND start >= ? AND start < ? ORDER BY start"
            }
        };
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![probe, range.start, range.end])?;
        while let Some(row) = rows.next()? {
            let (start, mut tally) = Tally::read(row)?;
            if tally.unknown > 0 {
                tally.watched_ms = self.length_s() * 1000;
            }
            each(start, tally);
        }
        Ok(())
    }
}

/// The stretch for which an outcome speaks: until the next one, but not longer than twice until it was due.
///
/// What comes later was missed, and of a time in which nobody looked nothing is known.
pub fn speaks_until(raw: &Raw, next: Option<Timestamp>) -> Timestamp {
    let due = raw.due.unwrap_or(DUE_DEFAULT).max(Duration::from_secs(1));
    let most = raw.at.saturating_add(due * 2).unwrap_or(Timestamp::MAX);
    next.map_or(most, |next| next.clamp(raw.at, most))
}

/// Sums outcomes (oldest first) over slots of `length_s`, counting only what lies in `range` (microseconds).
pub fn slots(raws: &[Raw], range: Range<i64>, length_s: i64) -> BTreeMap<i64, Tally> {
    let mut slots: BTreeMap<i64, Tally> = BTreeMap::new();
    for (index, raw) in raws.iter().enumerate() {
        let at = raw.at.as_microsecond();
        if range.contains(&at) {
            slots.entry(floor(at.div_euclid(1_000_000), length_s)).or_default().add(raw);
        }
        let until = speaks_until(raw, raws.get(index + 1).map(|it| it.at)).as_microsecond().min(range.end);
        let mut from = at.max(range.start);
        while from < until {
            let start = floor(from.div_euclid(1_000_000), length_s);
            let end = until.min((start + length_s) * 1_000_000);
            let tally = slots.entry(start).or_default();
            let ms = (end - from) / 1000;
            tally.watched_ms += ms;
            if raw.result != ProbeResult::Unknown {
                tally.known_ms += ms;
            }
            if raw.result == ProbeResult::Fail {
                tally.down_ms += ms;
            }
            from = end;
        }
    }
    slots
}

/// Rounds down to a multiple.
pub fn floor(seconds: i64, length_s: i64) -> i64 {
    seconds.div_euclid(length_s) * length_s
}

/// The outcomes of a probe in a range of microseconds, oldest first, with the last one before it.
pub fn raws(connection: &Connection, probe: i64, range: Range<i64>) -> rusqlite::Result<Vec<Raw>> {
    let mut raws = Vec::new();
    let mut before = connection.prepare_cached(
        "SELECT at, result, phases, lag, suspect, due FROM outcome WHERE probe = ? AND at < ? ORDER BY at DESC LIMIT 1",
    )?;
    let mut rows = before.query(params![probe, range.start])?;
    if let Some(row) = rows.next()? {
        raws.push(Raw::read(row)?);
    }
    let mut statement = connection.prepare_cached(
        "SELECT at, result, phases, lag, suspect, due FROM outcome WHERE probe = ? AND at >= ? AND at < ? ORDER BY at",
    )?;
    let mut rows = statement.query(params![probe, range.start, range.end])?;
    while let Some(row) = rows.next()? {
        raws.push(Raw::read(row)?);
    }
    Ok(raws)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::probe::outcome::{Phase, Phases};

    fn raw(at_s: i64, result: ProbeResult, ms: u64) -> Raw {
        let mut phases = Phases::default();
        phases.add(Phase::Wait, Duration::from_millis(ms));
        let at = Timestamp::from_second(at_s).expect("a time");
        Raw { at, result, phases, lag: Duration::ZERO, suspect: false, due: Some(Duration::from_secs(60)) }
    }

    #[test]
    fn an_outcome_speaks_until_the_next_and_not_for_a_gap() {
        let raws = [
            raw(0, ProbeResult::Ok, 10),
            raw(60, ProbeResult::Fail, 10),
            raw(120, ProbeResult::Ok, 20),
            // The machine slept: of 240 to 3600 nothing is known.
            raw(3600, ProbeResult::Ok, 30),
        ];
        let slots = slots(&raws, 0..3_700_000_000, HOURS_S);
        assert_eq!(slots[&0].known_ms, 240_000);
        assert_eq!(slots[&0].down_ms, 60_000);
        assert_eq!((slots[&0].ok, slots[&0].fail), (2, 1));
        assert_eq!(slots[&0].most, Some(Duration::from_millis(20)), "a failed run says nothing about the pace");
        assert_eq!(slots[&3600].known_ms, 100_000, "not beyond the range");
    }

    #[test]
    fn five_minutes_added_up_are_the_hour() {
        let raws: Vec<Raw> = (0..100)
            .map(|it| raw(it * 37, if it % 7 == 0 { ProbeResult::Fail } else { ProbeResult::Ok }, it as u64))
            .collect();
        let range = 0..3_600_000_000;
        let mut sum = Tally::default();
        for tally in slots(&raws, range.clone(), MINUTES_S).values() {
            sum.merge(tally);
        }
        assert_eq!(sum, slots(&raws, range, HOURS_S)[&0]);
    }
}
